#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#include "pool/text.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static void expect_text(const struct text *text, const char *expected)
{
	cr_expect(text->len == strlen(expected) && memcmp(text->data, expected, text->len) == 0,
		"\"%.*s\", not \"%s\"", (int)text->len, text->data, expected);
}

Test(text, is_added_at_the_end)
{
	char data[16];
	struct text text = {.data = data, .size = sizeof(data)};

	text_add(&text, "one");
	text_add(&text, "");
	text_add_bytes(&text, "twofold", 3);
	expect_text(&text, "onetwo");
	cr_expect_not(text.cut);
}

Test(text, that_fits_exactly_is_not_cut)
{
	char data[5] = {[4] = '#'};
	struct text text = {.data = data, .size = 4};

	text_add(&text, "four");
	cr_expect_not(text.cut);
	text_add(&text, "");
	cr_expect_not(text.cut);
	cr_expect_eq(data[4], '#');
}

Test(text, that_does_not_fit_is_left_out_and_cut_says_so)
{
	char data[6] = {[4] = '#'};
	struct text text = {.data = data, .size = 4};

	text_add(&text, "abcdefg");
	expect_text(&text, "abcd");
	cr_expect(text.cut);
	text_add_number(&text, 1);
	expect_text(&text, "abcd");
	cr_expect_eq(data[4], '#');
}

Test(text, numbers_are_decimal)
{
	static const struct {
		int64_t number;
		const char *expected;
	} rows[] = {
		{0, "0"},
		{9, "9"},
		{10, "10"},
		{-1, "-1"},
		{100000, "100000"},
		{INT64_MAX, "9223372036854775807"},
		{INT64_MIN, "-9223372036854775808"},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		char data[32];
		struct text text = {.data = data, .size = sizeof(data)};

		text_add_number(&text, rows[i].number);
		expect_text(&text, rows[i].expected);
	}
}

Test(text, json_strings_escape_what_json_cannot_hold)
{
	static const struct {
		const char *claim, *string, *expected;
	} rows[] = {
		{"empty", "", "\"\""},
		{"plain", "GET /", "\"GET /\""},
		{"a quote and a backslash", "a\"b\\c", "\"a\\\"b\\\\c\""},
		{"control characters", "\x01\n\x1f\x20", "\"\\u0001\\u000a\\u001f \""},
		{"DEL is allowed", "\x7f", "\"\x7f\""},
		{"two bytes, the smallest and the largest", "\xc2\x80\xdf\xbf",
			"\"\xc2\x80\xdf\xbf\""},
		{"three bytes", "\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80",
			"\"\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\""},
		{"four bytes", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf",
			"\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\""},
		{"overlong, two bytes", "\xc1\xbf", "\"\\ufffd\\ufffd\""},
		{"overlong, three bytes", "\xe0\x9f\x80", "\"\\ufffd\\ufffd\\ufffd\""},
		{"overlong, four bytes", "\xf0\x8f\xbf\xbf", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
		{"a surrogate", "\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""},
		{"beyond U+10FFFF", "\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
		{"a continuation byte alone", "a\x80z", "\"a\\ufffdz\""},
		{"a lead byte at the end", "a\xc3", "\"a\\ufffd\""},
		{"three of four bytes at the end", "\xf0\x9f\x98", "\"\\ufffd\\ufffd\\ufffd\""},
		{"a lead byte before another character", "\xe2\x82z", "\"\\ufffd\\ufffdz\""},
		{"bytes that are in no UTF-8", "\xfe\xff", "\"\\ufffd\\ufffd\""},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		char data[64];
		struct text text = {.data = data, .size = sizeof(data)};

		text_add_json(&text, rows[i].string);
		cr_expect(text.len == strlen(rows[i].expected) &&
				  memcmp(data, rows[i].expected, text.len) == 0,
			"%s: %.*s", rows[i].claim, (int)text.len, data);
	}
}

#include "pool/text.h"

#include <string.h>

void text_add_bytes(struct text *text, const char *bytes, size_t len)
{
	if (len > text->size - text->len) {
		len = text->size - text->len;
		text->cut = true;
	}
	memcpy(text->data + text->len, bytes, len);
	text->len += len;
}

void text_add(struct text *text, const char *string)
{
	text_add_bytes(text, string, strlen(string));
}

void text_add_number(struct text *text, int64_t number)
{
	char digits[20];
	size_t first = sizeof(digits);
	uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;

	do {
		digits[--first] = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest);
	if (number < 0)
		text_add_bytes(text, "-", 1);
	text_add_bytes(text, digits + first, sizeof(digits) - first);
}

const char *text_nth(const char *strings, unsigned number)
{
	while (number--)
		strings += strlen(strings) + 1;
	return strings;
}

/* The length of the UTF-8 sequence that s begins with (RFC 3629 section 4), 0 if it is none. */
static size_t utf8_length(const unsigned char *s)
{
	static const struct {
		unsigned char first, last, second_from, second_to, length;
	} forms[] = {
		{0xc2, 0xdf, 0x80, 0xbf, 2},
		{0xe0, 0xe0, 0xa0, 0xbf, 3},
		{0xe1, 0xec, 0x80, 0xbf, 3},
		{0xed, 0xed, 0x80, 0x9f, 3},
		{0xee, 0xef, 0x80, 0xbf, 3},
		{0xf0, 0xf0, 0x90, 0xbf, 4},
		{0xf1, 0xf3, 0x80, 0xbf, 4},
		{0xf4, 0xf4, 0x80, 0x8f, 4},
	};

	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (s[0] < forms[i].first || s[0] > forms[i].last)
			continue;
		if (s[1] < forms[i].second_from || s[1] > forms[i].second_to)
			return 0;
		for (size_t k = 2; k < forms[i].length; k++)
			if ((s[k] & 0xc0) != 0x80)
				return 0;
		return forms[i].length;
	}
	return 0;
}

void text_add_json(struct text *text, const char *string)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *s = (const unsigned char *)string;

	text_add_bytes(text, "\"", 1);
	while (*s) {
		size_t length = 1;
		if (*s == '"' || *s == '\\') {
			text_add_bytes(text, "\\", 1);
			text_add_bytes(text, (const char *)s, 1);
		} else if (*s < 0x20) {
			const char escape[] = {'\\', 'u', '0', '0', hex[*s >> 4], hex[*s & 15]};
			text_add_bytes(text, escape, sizeof(escape));
		} else if (*s < 0x80) {
			text_add_bytes(text, (const char *)s, 1);
		} else if ((length = utf8_length(s)) != 0) {
			text_add_bytes(text, (const char *)s, length);
		} else {
			text_add(text, "\\ufffd");
			length = 1;
		}
		s += length;
	}
	text_add_bytes(text, "\"", 1);
}

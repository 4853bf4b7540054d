#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pool/rules.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define ROOM         64

struct parsed {
	struct rules rules;
	struct rule list[ROOM];
	unsigned complaints;
	struct complaint first; /* with its problem kept */
	char problem[PROBLEM_MAX];
};

static void keep_first(const struct complaint *complaint, void *context)
{
	struct parsed *parsed = context;

	if (parsed->complaints++ > 0)
		return;
	parsed->first = *complaint;
	strncpy(parsed->problem, complaint->problem, sizeof(parsed->problem) - 1);
}

/* A copy of the text that ends where a page ends, and has a page before it that is not there: to
 * read a byte too far crashes, at least at one end. */
static const char *guarded(const char *text, size_t len)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	const size_t size = (len + page - 1) / page * page;
	char *area = mmap(NULL, size + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	cr_assert(area != MAP_FAILED);
	cr_assert_eq(mprotect(area + page, size, PROT_READ | PROT_WRITE), 0);
	char *copy = area + page + size - len;
	memcpy(copy, text, len);
	return copy;
}

static void parse_bytes(struct parsed *parsed, const char *text, size_t len)
{
	const char *copy = guarded(text, len);

	memset(parsed, 0, sizeof(*parsed));
	parsed->rules = (struct rules){.list = parsed->list, .room = ROOM};
	rules_parse(&parsed->rules, copy, len, keep_first, parsed);
}

static void parse(struct parsed *parsed, const char *text)
{
	parse_bytes(parsed, text, strlen(text));
}

/* With an address of any family, "" for none. */
static struct endpoint endpoint_at(const char *address, unsigned port)
{
	struct endpoint endpoint = {.family = AF_INET, .port = htons((uint16_t)port)};

	if (!*address || inet_pton(AF_INET, address, endpoint.address) == 1)
		return endpoint;
	endpoint.family = AF_INET6;
	cr_assert_eq(inet_pton(AF_INET6, address, endpoint.address), 1, "%s", address);
	return endpoint;
}

/* ---- what is read ---- */

Test(rules, are_read_with_everything_that_they_say)
{
	static const char text[] = "www.contoso.com:80 idle=5000 limit=4 ;"
				   "*.internal:8080 lease=-1 uses=7 wait=0 off=1 proto=raw\n"
				   "[2001:db8::]:* proto=http;10.0.0.0/8:1 proto=auto; *:* idle=0";
	static const struct {
		enum pattern_kind kind;
		unsigned port;
		const char *name;
		uint16_t family, bits;
		int keys;
		struct point_settings values;
	} rows[] = {
		{PATTERN_NAME, 80, "www.contoso.com", 0, 0, 2, {.idle_ms = 5000, .limit = 4}},
		{PATTERN_BELOW, 8080, "internal", 0, 0, 5,
			{.lease_ms = -1, .uses = 7, .off = 1, .proto = PROTO_RAW}},
		{PATTERN_ADDRESS, 0, "", AF_INET6, 128, 1, {.proto = PROTO_HTTP}},
		{PATTERN_ADDRESS, 1, "", AF_INET, 8, 1, {.proto = PROTO_AUTO}},
		{PATTERN_ANY, 0, "", 0, 0, 1, {.idle_ms = 0}},
	};
	struct parsed parsed;

	parse(&parsed, text);
	cr_expect_eq(parsed.complaints, 0, "%s", parsed.problem);
	cr_assert_eq(parsed.rules.count, COUNT(rows));
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct rule *rule = &parsed.list[i];
		const struct pattern *pattern = &rule->pattern;

		cr_expect_eq(pattern->kind, rows[i].kind, "%zu", i);
		cr_expect_eq(pattern->port, rows[i].port, "%zu", i);
		cr_expect_eq(pattern->family, rows[i].family, "%zu", i);
		cr_expect_eq(pattern->bits, rows[i].bits, "%zu", i);
		cr_expect(pattern->name_len == strlen(rows[i].name) &&
				  memcmp(pattern->name ? pattern->name : "", rows[i].name,
					  pattern->name_len) == 0,
			"%zu", i);
		cr_expect_eq(__builtin_popcount(rule->keys), rows[i].keys, "%zu", i);
		cr_expect_eq(
			memcmp(&rule->values, &rows[i].values, sizeof(rule->values)), 0, "%zu", i);
	}
}

Test(rules, a_key_says_which_field_of_the_values_is_set)
{
	struct parsed parsed;

	for (size_t i = 0; i < setting_count; i++) {
		const struct setting *setting = &setting_table[i];
		char text[64];

		if (!setting->key)
			continue;
		snprintf(text, sizeof(text), "*:* %s=%s", setting->key,
			strcmp(setting->key, "proto") == 0 ? "raw" : "1");
		parse(&parsed, text);
		cr_assert_eq(parsed.rules.count, 1, "%s: %s", text, parsed.problem);
		size_t field = (setting->offset - offsetof(struct settings, point)) / sizeof(long);
		cr_expect_eq(parsed.list[0].keys, 1u << field, "%s", text);
		for (size_t n = 0; n < sizeof(struct point_settings) / sizeof(long); n++)
			cr_expect_eq(((const long *)(const void *)&parsed.list[0].values)[n] != 0,
				n == field, "%s", text);
	}
}

Test(rules, stand_one_a_line_or_behind_semicolons_with_comments_and_blanks_between)
{
	static const struct {
		const char *text;
		size_t count;
	} rows[] = {
		{"", 0},
		{" ", 0},
		{"\n", 0},
		{";", 0},
		{" ;\t; \n\n;\r\n", 0},
		{"#", 0},
		{"# *:* off=1", 0},
		{"#*:* off=1; *:* off=1", 0},
		{"#\n*:* off=1", 1},
		{"*:* off=1", 1},
		{"*:* off=1\n", 1},
		{"*:* off=1;", 1},
		{"*:* off=1;;;*:* off=1", 2},
		{"*:* off=1\n*:* off=1", 2},
		{"*:* off=1\r\n*:* off=1\r\n", 2},
		{"\t*:*\t\toff=1\t;\t*:*  off=1  ", 2},
		{"*:* off=1 # not more; *:* off=1\n*:* off=1", 2},
		{"*:* off=1;# not more\n*:* off=1", 2},
		{"*:* off=1 #", 1},
		{"*:* off=1 ## #\n#\n#*:* off=1\n\n*:* off=1", 2},
	};
	struct parsed parsed;

	for (size_t i = 0; i < COUNT(rows); i++) {
		parse(&parsed, rows[i].text);
		cr_expect_eq(parsed.complaints, 0, "%s: %s", rows[i].text, parsed.problem);
		cr_expect_eq(parsed.rules.count, rows[i].count, "%s", rows[i].text);
		cr_expect_eq(rules_room_needed(rows[i].text, strlen(rows[i].text)), rows[i].count,
			"%s", rows[i].text);
	}
}

Test(rules, a_text_of_no_length_need_not_be_anywhere)
{
	struct parsed parsed = {.rules = {.list = parsed.list, .room = ROOM}};

	rules_parse(&parsed.rules, NULL, 0, keep_first, &parsed);
	cr_expect_eq(parsed.rules.count, 0);
	cr_expect_eq(parsed.complaints, 0);
	cr_expect_eq(rules_room_needed(NULL, 0), 0);
}

Test(rules, are_added_to_those_that_are_there)
{
	struct parsed parsed = {.rules = {.list = parsed.list, .room = ROOM}};
	static const char one[] = "*:1 idle=1", two[] = "*:2 idle=2;*:3 idle=3";

	rules_parse(&parsed.rules, one, sizeof(one) - 1, keep_first, &parsed);
	rules_parse(&parsed.rules, two, sizeof(two) - 1, keep_first, &parsed);
	cr_expect_eq(parsed.complaints, 0);
	cr_assert_eq(parsed.rules.count, 3);
	for (unsigned i = 0; i < 3; i++)
		cr_expect_eq(parsed.list[i].pattern.port, i + 1);
}

/* ---- what is not ---- */

#define KEYS   "keys are idle, lease, uses, limit, wait, off, proto"
#define PORT   "is no port: 1 to 65535, or *"
#define HOST   "is neither a host name nor an address"
#define IPV4   "is no IPv4 address or prefix"
#define IPV6   "is no IPv6 address or prefix"
#define SQUARE "is not [address]:port or [address/bits]:port"
#define BARE   "is IPv6 without brackets: write [address]:port"
#define NUMBER "is not allowed: -1 to 2147483647"
#define TEN    "0123456789"

static const struct {
	const char *text;
	unsigned column;
	const char *word, *what;
} bad_rules[] = {
	/* the port */
	{"www.contoso.com idle=5", 1, "www.contoso.com", "has no port"},
	{"www.contoso.com: idle=5", 1, "www.contoso.com:", "has no port"},
	{"[::1] idle=5", 1, "[::1]", "has no port"},
	{"[::1]: idle=5", 1, "[::1]:", "has no port"},
	{"* idle=5", 1, "*", "has no port"},
	{"idle=5", 1, "idle=5", "has no port"},
	{"h:0 idle=5", 3, "0", PORT},
	{"h:65536 idle=5", 3, "65536", PORT},
	{"h:4294967376 idle=5", 3, "4294967376", PORT},
	{"h:18446744073709551696 idle=5", 3, "18446744073709551696", PORT},
	{"h:-1 idle=5", 3, "-1", PORT},
	{"h:+1 idle=5", 3, "+1", PORT},
	{"h:http idle=5", 3, "http", PORT},
	{"h:80x idle=5", 3, "80x", PORT},
	{"h:8*0 idle=5", 3, "8*0", PORT},
	{"h:** idle=5", 3, "**", PORT},
	{"*:0 idle=5", 3, "0", PORT},
	{"[::1]:0 idle=5", 7, "0", PORT},
	{"[::1]:8:1 idle=5", 7, "8:1", PORT},
	{"www.contoso.com:80, idle=5", 17, "80,", PORT},
	/* names */
	{":80 idle=5", 1, ":80", "has no host"},
	{": idle=5", 1, ":", "has no host"},
	{"http://www.contoso.com:80 idle=5", 1, "http://www.contoso.com", HOST},
	{"www.contoso.com:80:80 idle=5", 1, "www.contoso.com:80", HOST},
	{"www..com:80 idle=5", 1, "www..com", HOST},
	{".com:80 idle=5", 1, ".com", HOST},
	{"www.com..:80 idle=5", 1, "www.com..", HOST},
	{"www.*.com:80 idle=5", 1, "www.*.com", HOST},
	{"*internal:80 idle=5", 1, "*internal", HOST},
	{"*.:80 idle=5", 1, "*.", HOST},
	{"*..com:80 idle=5", 1, "*..com", HOST},
	{"*.*:80 idle=5", 1, "*.*", HOST},
	{"**:80 idle=5", 1, "**", HOST},
	{"*.1:80 idle=5", 1, "*.1", HOST},
	{"*.10.0.0.1:80 idle=5", 1, "*.10.0.0.1", HOST},
	{"10.0.*:80 idle=5", 1, "10.0.*", HOST},
	{"a@b:80 idle=5", 1, "a@b", HOST},
	{"www/24:80 idle=5", 1, "www/24", HOST},
	{"fe80::1%3:80 idle=5", 1, "fe80::1%3", HOST},
	/* IPv4 addresses */
	{"10.0.0:80 idle=5", 1, "10.0.0", IPV4},
	{"10.0.0.0.0:80 idle=5", 1, "10.0.0.0.0", IPV4},
	{"10.0.0.256:80 idle=5", 1, "10.0.0.256", IPV4},
	{"10.0.0.4294967297:80 idle=5", 1, "10.0.0.4294967297", IPV4},
	{"10.0.0.01:80 idle=5", 1, "10.0.0.01", IPV4},
	{"00.0.0.0:80 idle=5", 1, "00.0.0.0", IPV4},
	{"10.0.0.:80 idle=5", 1, "10.0.0.", IPV4},
	{"10.0.0.1.:80 idle=5", 1, "10.0.0.1.", IPV4},
	{".10.0.0.1:80 idle=5", 1, ".10.0.0.1", IPV4},
	{"10..0.1:80 idle=5", 1, "10..0.1", IPV4},
	{".:80 idle=5", 1, ".", IPV4},
	{"167772161:80 idle=5", 1, "167772161", IPV4},
	{"10.0.0.0/33:80 idle=5", 1, "10.0.0.0/33", IPV4},
	{"10.0.0.0/:80 idle=5", 1, "10.0.0.0/", IPV4},
	{"10.0.0.0/08:80 idle=5", 1, "10.0.0.0/08", IPV4},
	{"10.0.0.0/8/8:80 idle=5", 1, "10.0.0.0/8/8", IPV4},
	{"10.0.0.0/255.0.0.0:80 idle=5", 1, "10.0.0.0/255.0.0.0", IPV4},
	{"10/8:80 idle=5", 1, "10/8", IPV4},
	{"/8:80 idle=5", 1, "/8", IPV4},
	{"10.0.0.0/-8:80 idle=5", 1, "10.0.0.0/-8", HOST},
	/* IPv6 addresses */
	{"::1:80 idle=5", 1, "::1:80", BARE},
	{"::1 idle=5", 1, "::1", BARE},
	{":: idle=5", 1, "::", BARE},
	{"2001:db8::1:* idle=5", 1, "2001:db8::1:*", BARE},
	{"2001:db8::/32:443 idle=5", 1, "2001:db8::/32:443", BARE},
	{"1:2:3:4:5:6:7:8 idle=5", 1, "1:2:3:4:5:6:7:8", BARE},
	{"[]:80 idle=5", 1, "[]:80", IPV6},
	{"[:]:80 idle=5", 2, ":", IPV6},
	{"[:::]:80 idle=5", 2, ":::", IPV6},
	{"[1]:80 idle=5", 2, "1", IPV6},
	{"[:1::]:80 idle=5", 2, ":1::", IPV6},
	{"[1:]:80 idle=5", 2, "1:", IPV6},
	{"[1::2::3]:80 idle=5", 2, "1::2::3", IPV6},
	{"[1:2:3:4:5:6:7]:80 idle=5", 2, "1:2:3:4:5:6:7", IPV6},
	{"[1:2:3:4:5:6:7:8:9]:80 idle=5", 2, "1:2:3:4:5:6:7:8:9", IPV6},
	{"[1:2:3:4::5:6:7:8]:80 idle=5", 2, "1:2:3:4::5:6:7:8", IPV6},
	{"[1:2:3:4:5:6:7:8::]:80 idle=5", 2, "1:2:3:4:5:6:7:8::", IPV6},
	{"[::12345]:80 idle=5", 2, "::12345", IPV6},
	{"[::g]:80 idle=5", 2, "::g", IPV6},
	{"[fe80::1%eth0]:80 idle=5", 2, "fe80::1%eth0", IPV6},
	{"[10.0.0.1]:80 idle=5", 2, "10.0.0.1", IPV6},
	{"[::10.0.0]:80 idle=5", 2, "::10.0.0", IPV6},
	{"[::10.0.0.1:1]:80 idle=5", 2, "::10.0.0.1:1", IPV6},
	{"[1:2:3:4:5:6:7:10.0.0.1]:80 idle=5", 2, "1:2:3:4:5:6:7:10.0.0.1", IPV6},
	{"[www.contoso.com]:80 idle=5", 2, "www.contoso.com", IPV6},
	{"[*]:80 idle=5", 2, "*", IPV6},
	{"[::/129]:80 idle=5", 2, "::/129", IPV6},
	{"[::/]:80 idle=5", 2, "::/", IPV6},
	{"[::/032]:80 idle=5", 2, "::/032", IPV6},
	{"[/32]:80 idle=5", 2, "/32", IPV6},
	{"[::]/32:80 idle=5", 1, "[::]/32:80", SQUARE},
	{"[::1]80 idle=5", 1, "[::1]80", SQUARE},
	{"[::1:80 idle=5", 1, "[::1:80", SQUARE},
	{"[ idle=5", 1, "[", SQUARE},
	/* keys */
	{"h:80", 1, "h:80", "has no key=value behind it"},
	{"  h:80  # idle=5", 3, "h:80", "has no key=value behind it"},
	{"h:80 idel=5", 6, "idel", "is no key: " KEYS},
	{"h:80 IDLE=5", 6, "IDLE", "is no key: " KEYS},
	{"h:80 idl=5", 6, "idl", "is no key: " KEYS},
	{"h:80 idle_ms=5", 6, "idle_ms", "is no key: " KEYS},
	{"h:80 SP_LOG=1", 6, "SP_LOG", "is no key: " KEYS},
	{"h:80 =5", 6, "=5", "is no key: " KEYS},
	{"h:80 =", 6, "=", "is no key: " KEYS},
	{"h:80 5", 6, "5", "is no key: " KEYS},
	{"h:80 limit=1 h:81 idle=5", 14, "h:81", "is no key: " KEYS},
	{"h:80\tidle=5\tlimit=4\tidel=5", 21, "idel", "is no key: " KEYS},
	/* values */
	{"h:80 idle", 6, "idle", "has no value: -1 to 2147483647"},
	{"h:80 idle=", 6, "idle=", "has no value: -1 to 2147483647"},
	{"h:80 idle = 5", 6, "idle", "has no value: -1 to 2147483647"},
	{"h:80 proto", 6, "proto", "has no value: auto, http, raw, resp or memcached"},
	{"h:80 idle=-5", 6, "idle=-5", NUMBER},
	{"h:80 idle=5 idle=-5", 13, "idle=-5", NUMBER},
	{"h:80 idle=5#no", 6, "idle=5#no", NUMBER},
	{"h:80 idle==5", 6, "idle==5", NUMBER},
	{"h:80 off=2", 6, "off=2", "is not allowed: 0 to 1"},
	{"h:80 off=yes", 6, "off=yes", "is not allowed: 0 to 1"},
	{"h:80 limit=-1", 6, "limit=-1", "is not allowed: 0 to 2147483647"},
	{"h:80 proto=tls", 6, "proto=tls", "is not allowed: auto, http, raw, resp or memcached"},
	{"h:80 proto=RAW", 6, "proto=RAW", "is not allowed: auto, http, raw, resp or memcached"},
	{"h:80 proto=ra", 6, "proto=ra", "is not allowed: auto, http, raw, resp or memcached"},
	{"h:80 proto=raww", 6, "proto=raww", "is not allowed: auto, http, raw, resp or memcached"},
	{"h:80 proto=2", 6, "proto=2", "is not allowed: auto, http, raw, resp or memcached"},
};

static void expect_complaint(const struct parsed *parsed, const char *text, unsigned line,
	unsigned column, const char *word, const char *what)
{
	const struct complaint *complaint = &parsed->first;
	char expected[2 * PROBLEM_MAX];

	snprintf(expected, sizeof(expected), "%s %s", word, what);
	cr_expect_eq(parsed->complaints, 1, "%s: %u complaints", text, parsed->complaints);
	if (!parsed->complaints)
		return;
	cr_expect_eq(complaint->line, line, "%s: line %u", text, complaint->line);
	cr_expect_eq(complaint->column, column, "%s: column %u", text, complaint->column);
	cr_expect(complaint->word_len == strlen(word) &&
			  memcmp(complaint->word, word, complaint->word_len) == 0,
		"%s: word %.*s", text, (int)complaint->word_len, complaint->word);
	cr_expect_str_eq(parsed->problem, expected, "%s", text);
}

Test(rules, a_bad_one_is_complained_of_once_where_it_is_bad_and_ignored)
{
	struct parsed parsed;

	for (size_t i = 0; i < COUNT(bad_rules); i++) {
		parse(&parsed, bad_rules[i].text);
		expect_complaint(&parsed, bad_rules[i].text, 1, bad_rules[i].column,
			bad_rules[i].word, bad_rules[i].what);
		cr_expect_eq(parsed.rules.count, 0, "%s", bad_rules[i].text);
	}
}

Test(rules, around_a_bad_one_are_read_all_the_same)
{
	struct parsed parsed;

	for (size_t i = 0; i < COUNT(bad_rules); i++) {
		char text[200];

		snprintf(text, sizeof(text),
			"*:1 idle=1\r\n#;\n*:2 idle=2; %s\n*:3 idle=3;*:4 idle=4",
			bad_rules[i].text);
		parse(&parsed, text);
		expect_complaint(&parsed, bad_rules[i].text, 3, bad_rules[i].column + 12,
			bad_rules[i].word, bad_rules[i].what);
		cr_assert_eq(parsed.rules.count, 4, "%s", text);
		for (unsigned k = 0; k < 4; k++)
			cr_expect_eq(parsed.list[k].pattern.port, k + 1, "%s", text);
		cr_expect_eq(rules_room_needed(text, strlen(text)), 5, "%s", text);
	}
}

Test(rules, each_bad_one_has_its_own_complaint)
{
	struct parsed parsed;

	parse(&parsed, "h:80 idel=5 idle=-5;www;\n:::;*:* off=1");
	cr_expect_eq(parsed.complaints, 3);
	cr_expect_eq(parsed.rules.count, 1);
}

Test(rules, no_bytes_of_a_bad_one_reach_a_terminal)
{
	static const struct {
		const char *text;
		size_t len;
		const char *problem;
	} rows[] = {
		{"h\0t:80 off=1", 12, "h?t " HOST},
		{"\x1b[2J:80 off=1", 12, "?[2J " HOST},
		{"h:80 \xff=1", 8, "? is no key: " KEYS},
		{"h:80 off=\x7f", 10, "off=? is not allowed: 0 to 1"},
		{"\xef\xbb\xbf*:80 off=1", 13, "???* " HOST},
		{"h:80 off=1\x0b", 11, "off=1? is not allowed: 0 to 1"},
		{"h:80 off=1\0", 11, "off=1? is not allowed: 0 to 1"},
	};
	struct parsed parsed;

	for (size_t i = 0; i < COUNT(rows); i++) {
		parse_bytes(&parsed, rows[i].text, rows[i].len);
		cr_expect_eq(parsed.rules.count, 0, "%zu", i);
		cr_expect_str_eq(parsed.problem, rows[i].problem);
	}
}

Test(rules, a_long_word_is_cut_where_it_is_shown_and_only_there)
{
	static const char word[] = "www.contoso.com/" TEN TEN TEN "12";
	struct parsed parsed;
	char text[200];

	cr_assert_eq(strlen(word), 48);
	for (size_t extra = 0; extra < 2; extra++) {
		snprintf(text, sizeof(text), "h:80 %s%s", word, extra ? "x" : "");
		parse(&parsed, text);
		cr_expect_eq(parsed.first.word_len, 48 + extra);
		snprintf(text, sizeof(text), "%s%s is no key: " KEYS, word, extra ? "..." : "");
		cr_expect_str_eq(parsed.problem, text);
	}
}

/* ---- limits ---- */

static bool is_read(const char *text)
{
	struct rule rule;
	struct parsed parsed = {.rules = {.list = &rule, .room = 1}};

	rules_parse(&parsed.rules, text, strlen(text), keep_first, &parsed);
	cr_expect_eq(parsed.rules.count + parsed.complaints, 1, "%s", text);
	return parsed.rules.count == 1;
}

Test(rules, every_port_is_one_from_1_to_65535)
{
	struct rule rule;

	for (unsigned port = 0; port <= 70000; port++) {
		struct parsed parsed = {.rules = {.list = &rule, .room = 1}};
		char text[32];
		int len = snprintf(text, sizeof(text), "*:%u off=1", port);

		rules_parse(&parsed.rules, text, (size_t)len, keep_first, &parsed);
		cr_assert_eq(parsed.rules.count, port >= 1 && port <= 65535, "%s", text);
		if (parsed.rules.count)
			cr_assert_eq(rule.pattern.port, port, "%s", text);
	}
	cr_expect(is_read("*:0080 off=1"));
}

Test(rules, values_have_the_ranges_of_the_table)
{
	for (size_t i = 0; i < setting_count; i++) {
		const struct setting *setting = &setting_table[i];

		if (!setting->key || strcmp(setting->key, "proto") == 0)
			continue;
		for (int beyond = 0; beyond < 2; beyond++) {
			char text[64];

			snprintf(text, sizeof(text), "*:* %s=%ld", setting->key,
				setting->least - beyond);
			cr_expect_eq(is_read(text), !beyond, "%s", text);
			snprintf(text, sizeof(text), "*:* %s=%ld", setting->key,
				setting->most + beyond);
			cr_expect_eq(is_read(text), !beyond, "%s", text);
		}
	}
}

Test(rules, values_are_numbers_where_they_are_numbers_in_the_environment)
{
	static const char *const values[] = {"0", "-0", "00", "-00", "1", "-1", "01", "-01", "+1",
		"0x1", "1.0", "1e1", "1s", "--1", "-", "--", "1-", "one", "2147483647",
		"2147483648", "-2147483647", "-2147483648", "-2147483649", "4294967296",
		"4294967297", "9223372036854775807", "9223372036854775808", "18446744073709551616",
		"18446744073709551617", "-18446744073709551615", "00000000000000000000000000000001",
		TEN TEN TEN TEN TEN TEN TEN TEN};

	for (size_t i = 0; i < setting_count; i++) {
		const struct setting *setting = &setting_table[i];

		if (!setting->key || strcmp(setting->key, "proto") == 0)
			continue;
		for (size_t k = 0; k < COUNT(values); k++) {
			struct settings expected = {0};
			struct parsed parsed;
			char text[128];

			snprintf(text, sizeof(text), "*:* %s=%s", setting->key, values[k]);
			parse(&parsed, text);
			cr_expect_eq(parsed.rules.count == 1,
				setting_parse(&expected, setting, values[k]), "%s", text);
			cr_expect_eq(memcmp(&parsed.list[0].values, &expected.point,
					     sizeof(expected.point)),
				0, "%s", text);
		}
	}
}

Test(rules, names_are_as_long_as_the_dns_lets_them_be)
{
	char name[300];

	memset(name, 'a', sizeof(name));
	for (size_t len = 252; len <= 255; len++) {
		char text[400];

		snprintf(text, sizeof(text), "%.*s:80 off=1", (int)len, name);
		cr_expect_eq(is_read(text), len <= 253, "%zu", len);
		snprintf(text, sizeof(text), "%.*s.:80 off=1", (int)len, name);
		cr_expect_eq(is_read(text), len <= 253, "%zu", len);
	}
}

Test(rules, that_there_is_no_room_for_are_complained_of_once)
{
	static const char text[] = "*:1 idle=1;*:2 idle=2;*:x;  *:3 idle=3;*:4 idle=4;*:5 idel=5";

	for (size_t room = 0; room <= 4; room++) {
		struct parsed parsed = {.rules = {.list = parsed.list, .room = room}};

		rules_parse(&parsed.rules, text, sizeof(text) - 1, keep_first, &parsed);
		cr_expect_eq(parsed.rules.count, room);
		cr_expect_eq(parsed.complaints, room < 4 ? 3 : 2, "%zu", room);
		cr_expect_eq(parsed.list[room].keys, 0, "it wrote beyond its room");
	}

	static const char more[] = "\n  *:3 idle=3;*:4 idle=4";
	struct parsed parsed = {.rules = {.list = parsed.list, .count = 2, .room = 2}};
	rules_parse(&parsed.rules, more, sizeof(more) - 1, keep_first, &parsed);
	expect_complaint(&parsed, "no room", 2, 3, "*:3",
		"is one rule too many: it and those after it are left out");
}

/* ---- addresses ---- */

Test(rules, addresses_are_those_that_inet_pton_knows)
{
	static const char *const addresses[] = {"0.0.0.0", "255.255.255.255", "192.0.2.1",
		"1.2.3.4", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "1.2.3.00", "1..3.4",
		".1.2.3", "1.2.3.", "1.2.3.4.", "1", "999.1.1.1", "1111.1.1.1", "::", "::1",
		"1::", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:2:3::5:6:7:8",
		"1:2:3::6:7:8", "1::8", "1::7:8", "1:2::", "::8", "::7:8", "1:2:3:4:5:6:7",
		"1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8", "1:2:3:4::5:6:7:8",
		"1::2::3", ":", ":::", "::::", ":1", "1:", ":1::", "::1:", "1:::2", "2001:DB8::A",
		"2001:dB8::aF", "g::", "::g", "00001::", "0001::", "::00000", "::ffff:1.2.3.4",
		"::1.2.3.4", "1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:7::1.2.3.4",
		"1:2:3:4:5:6:7:8::1.2.3.4", "1::2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7::8:9",
		"1:2:3:4:5:6:7:1.2.3.4", "1:2:3:4:5:1.2.3.4", "1:2:3:4:5::1.2.3.4",
		"1:2:3:4:5:6::1.2.3.4", "::1.2.3.4:5", "1.2.3.4::", "1.2.3.4:1::", "::1.2.3",
		"::1.2.3.04", "::1.2.3.256", "::1.2.3.4.", "::.1.2.3", "::1234.2.3.4", "::ffff:0:0",
		"fe80::1%1", "::-1", "::+1", "::0x1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255"};

	for (size_t i = 0; i < COUNT(addresses); i++) {
		const bool six = strchr(addresses[i], ':') != NULL;
		uint8_t expected[16] = {0};
		struct parsed parsed;
		char text[100];

		snprintf(text, sizeof(text), six ? "[%s]:80 off=1" : "%s:80 off=1", addresses[i]);
		parse(&parsed, text);
		cr_expect_eq(parsed.rules.count == 1,
			inet_pton(six ? AF_INET6 : AF_INET, addresses[i], expected) == 1, "%s",
			text);
		if (!parsed.rules.count)
			continue;
		cr_expect_eq(parsed.list[0].pattern.kind, PATTERN_ADDRESS, "%s", text);
		cr_expect_eq(parsed.list[0].pattern.family, six ? AF_INET6 : AF_INET, "%s", text);
		cr_expect_eq(parsed.list[0].pattern.bits, six ? 128 : 32, "%s", text);
		cr_expect_eq(memcmp(parsed.list[0].pattern.address, expected, six ? 16 : 4), 0,
			"%s", text);
	}
}

static bool applies(const struct rules *rules, const struct endpoint *endpoint)
{
	struct point_settings settings = {0};

	rules_apply(rules, NULL, endpoint, &settings);
	return settings.off;
}

Test(rules, of_a_prefix_exactly_its_bits_count)
{
	static const struct {
		const char *format, *address;
		unsigned bits;
	} rows[] = {
		{"170.85.240.15/%u:80 off=1", "170.85.240.15", 32},
		{"[aaaa:5555:f0f0:0f0f:1234:5678:9abc:def0/%u]:80 off=1",
			"aaaa:5555:f0f0:0f0f:1234:5678:9abc:def0", 128},
	};
	struct parsed parsed;

	for (size_t i = 0; i < COUNT(rows); i++) {
		for (unsigned bits = 0; bits <= rows[i].bits; bits++) {
			char text[80];

			snprintf(text, sizeof(text), rows[i].format, bits);
			parse(&parsed, text);
			cr_assert_eq(parsed.rules.count, 1, "%s", text);
			for (unsigned flipped = 0; flipped < rows[i].bits; flipped++) {
				struct endpoint endpoint = endpoint_at(rows[i].address, 80);

				endpoint.address[flipped / 8] ^= 0x80 >> flipped % 8;
				cr_expect_eq(applies(&parsed.rules, &endpoint), flipped >= bits,
					"%s, bit %u", text, flipped);
			}
		}
	}
}

/* ---- what matches what ---- */

Test(rules, match_what_their_patterns_say)
{
	static const struct {
		const char *pattern, *name, *address;
		unsigned port;
		bool expected;
	} rows[] = {
		/* everything */
		{"*:*", NULL, "192.0.2.1", 80, true},
		{"*:*", "www.contoso.com", "2001:db8::1", 65535, true},
		{"*:80", NULL, "192.0.2.1", 80, true},
		{"*:80", "www.contoso.com", "192.0.2.1", 80, true},
		{"*:80", NULL, "192.0.2.1", 81, false},
		{"*:80", NULL, "192.0.2.1", 80 << 8, false},
		{"*:80", NULL, "::1", 80, true},
		{"*:1", NULL, "::1", 1, true},
		{"*:65535", NULL, "::1", 65535, true},
		/* a name */
		{"www.contoso.com:80", "www.contoso.com", "192.0.2.1", 80, true},
		{"www.contoso.com:80", "www.contoso.com", "::1", 80, true},
		{"www.contoso.com:80", "www.contoso.com", "192.0.2.1", 81, false},
		{"www.contoso.com:*", "www.contoso.com", "192.0.2.1", 81, true},
		{"WWW.Contoso.COM:80", "www.contoso.com", "192.0.2.1", 80, true},
		{"ABCDEFGHIJKLMNOPQRSTUVWXYZ:80", "abcdefghijklmnopqrstuvwxyz", "::1", 80, true},
		{"abcdefghijklmnopqrstuvwxyz:80", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "::1", 80, true},
		{"www.contoso.com.:80", "www.contoso.com", "192.0.2.1", 80, true},
		{"www.contoso.com:80", "www.contoso.com.", "192.0.2.1", 80, true},
		{"www.contoso.com.:80", "www.contoso.com.", "192.0.2.1", 80, true},
		{"www.contoso.com:80", "www.contoso.com..", "192.0.2.1", 80, false},
		{"www.contoso.com:80", NULL, "192.0.2.1", 80, false},
		{"www.contoso.com:80", "", "192.0.2.1", 80, false},
		{"www.contoso.com:80", ".", "192.0.2.1", 80, false},
		{"www.contoso.com:80", "contoso.com", "192.0.2.1", 80, false},
		{"www.contoso.com:80", "xwww.contoso.com", "192.0.2.1", 80, false},
		{"www.contoso.com:80", "www.contoso.co", "192.0.2.1", 80, false},
		{"www.contoso.com:80", "www.contoso.comm", "192.0.2.1", 80, false},
		{"www.contoso.com:80", "www-contoso.com", "192.0.2.1", 80, false},
		{"www.contoso.com:80", "a.www.contoso.com", "192.0.2.1", 80, false},
		{"a:80", "a", "192.0.2.1", 80, true},
		{"a:80", "b", "192.0.2.1", 80, false},
		{"a_b-c.1:80", "a_b-c.1", "192.0.2.1", 80, true},
		{"1a:80", "1a", "192.0.2.1", 80, true},
		{"1.a:80", "1.a", "192.0.2.1", 80, true},
		{"a[b:80", "a{b", "192.0.2.1", 80, false},
		{"b\xc3\xbc"
		 "cher.de:80",
			"b\xc3\xbc"
			"cher.de",
			"192.0.2.1", 80, true},
		{"b\xc3\x9c.de:80", "b\xc3\xbc.de", "192.0.2.1", 80, false},
		/* names below a name */
		{"*.internal:80", "a.internal", "192.0.2.1", 80, true},
		{"*.internal:80", "a.b.c.internal", "192.0.2.1", 80, true},
		{"*.internal:80", "a.internal", "192.0.2.1", 81, false},
		{"*.internal:*", "a.internal", "192.0.2.1", 81, true},
		{"*.Internal.:80", "a.internal", "192.0.2.1", 80, true},
		{"*.internal:80", "a.internal.", "192.0.2.1", 80, true},
		{"*.internal:80", "internal", "192.0.2.1", 80, false},
		{"*.internal:80", ".internal", "192.0.2.1", 80, false},
		{"*.internal:80", "ainternal", "192.0.2.1", 80, false},
		{"*.internal:80", "a-internal", "192.0.2.1", 80, false},
		{"*.internal:80", "a.internal.com", "192.0.2.1", 80, false},
		{"*.internal:80", "internal.a", "192.0.2.1", 80, false},
		{"*.internal:80", "a.internam", "192.0.2.1", 80, false},
		{"*.internal:80", "nternal", "192.0.2.1", 80, false},
		{"*.internal:80", NULL, "192.0.2.1", 80, false},
		{"*.a.b:80", "x.a.b", "192.0.2.1", 80, true},
		{"*.a.b:80", "x.c.b", "192.0.2.1", 80, false},
		/* an IPv4 address */
		{"192.0.2.1:80", NULL, "192.0.2.1", 80, true},
		{"192.0.2.1:80", "www.contoso.com", "192.0.2.1", 80, true},
		{"192.0.2.1:80", NULL, "192.0.2.1", 81, false},
		{"192.0.2.1:*", NULL, "192.0.2.1", 81, true},
		{"192.0.2.1:80", NULL, "192.0.2.2", 80, false},
		{"192.0.2.1:80", NULL, "::ffff:192.0.2.1", 80, true},
		{"192.0.2.1:80", NULL, "::ffff:192.0.2.2", 80, false},
		{"192.0.2.1:80", NULL, "::192.0.2.1", 80, false},
		{"192.0.2.1:80", NULL, "64:ff9b::192.0.2.1", 80, false},
		{"192.0.2.1:80", NULL, "c000:201::", 80, false},
		{"0.0.0.0:80", NULL, "::", 80, false},
		{"192.0.2.1:80", "192.0.2.1", "198.51.100.1", 80, false},
		{"10.0.0.0/8:*", NULL, "10.255.255.255", 80, true},
		{"10.0.0.0/8:*", NULL, "11.0.0.0", 80, false},
		{"10.0.0.0/8:*", NULL, "::ffff:10.1.2.3", 80, true},
		{"10.0.0.0/8:*", NULL, "::ffff:11.1.2.3", 80, false},
		{"10.1.2.3/8:*", NULL, "10.9.9.9", 80, true},
		{"0.0.0.0/0:*", NULL, "192.0.2.1", 80, true},
		{"0.0.0.0/0:*", NULL, "::ffff:192.0.2.1", 80, true},
		{"0.0.0.0/0:*", NULL, "::1", 80, false},
		/* an IPv6 address */
		{"[::1]:80", NULL, "::1", 80, true},
		{"[::1]:80", "localhost", "::1", 80, true},
		{"[::1]:80", NULL, "::1", 81, false},
		{"[::1]:*", NULL, "::1", 81, true},
		{"[::1]:80", NULL, "::2", 80, false},
		{"[0:0:0:0:0:0:0:1]:80", NULL, "::1", 80, true},
		{"[2001:DB8::1]:80", NULL, "2001:db8::1", 80, true},
		{"[::ffff:192.0.2.1]:80", NULL, "::ffff:192.0.2.1", 80, true},
		{"[::ffff:192.0.2.1]:80", NULL, "192.0.2.1", 80, false},
		{"[2001:db8::/32]:443", NULL, "2001:db8:1::1", 443, true},
		{"[2001:db8::/32]:443", NULL, "2001:db9::1", 443, false},
		{"[::/0]:*", NULL, "2001:db8::1", 80, true},
		{"[::/0]:*", NULL, "192.0.2.1", 80, false},
		{"[c000:201::]:80", NULL, "192.0.2.1", 80, false},
	};
	struct parsed parsed;

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct endpoint endpoint = endpoint_at(rows[i].address, rows[i].port);
		struct point_settings settings = {.idle_ms = 1, .uses = 2}, expected = settings;
		char text[80];

		snprintf(text, sizeof(text), "%s uses=9", rows[i].pattern);
		parse(&parsed, text);
		if (rows[i].expected) {
			cr_assert_eq(parsed.rules.count, 1, "%s: %s", text, parsed.problem);
			expected.uses = 9;
		}
		rules_apply(&parsed.rules, rows[i].name, &endpoint, &settings);
		cr_expect_eq(memcmp(&settings, &expected, sizeof(settings)), 0, "%s and %s, %s, %u",
			rows[i].pattern, rows[i].name ? rows[i].name : "no name", rows[i].address,
			rows[i].port);
	}
}

Test(rules, an_address_matches_on_every_interface)
{
	struct endpoint endpoint = endpoint_at("fe80::1", 80);
	struct parsed parsed;

	parse(&parsed, "[fe80::1]:80 off=1");
	endpoint.scope_id = 3;
	endpoint.flow_info = 7;
	endpoint.local_address[15] = 1;
	cr_expect(applies(&parsed.rules, &endpoint));
}

Test(rules, no_address_matches_an_endpoint_without_one)
{
	struct endpoint endpoint = endpoint_at("::ffff:192.0.2.1", 80);
	struct parsed parsed;

	endpoint.family = 0;
	parse(&parsed, "0.0.0.0/0:80 off=1; [::/0]:80 off=1");
	cr_expect_eq(parsed.rules.count, 2);
	cr_expect_not(applies(&parsed.rules, &endpoint));
}

/* ---- which of them wins ---- */

Test(rules, for_each_key_the_last_one_that_matches_wins)
{
	static const struct {
		const char *text;
		struct point_settings expected;
	} rows[] = {
		{"", {.idle_ms = 1, .limit = 1}},
		{"*:* idle=2", {.idle_ms = 2, .limit = 1}},
		{"*:* idle=2;*:* idle=3", {.idle_ms = 3, .limit = 1}},
		{"*:* idle=2;*:81 idle=3", {.idle_ms = 2, .limit = 1}},
		{"*:80 idle=2;*:* idle=3", {.idle_ms = 3, .limit = 1}},
		{"*:* idle=2 limit=2;*:80 idle=3", {.idle_ms = 3, .limit = 2}},
		{"*:80 idle=3;*:* idle=2 limit=2", {.idle_ms = 2, .limit = 2}},
		{"*:* idle=2;a.b:80 limit=3;192.0.2.1:80 idle=4", {.idle_ms = 4, .limit = 3}},
		{"a.b:80 idle=0;*.b:80 limit=0", {.idle_ms = 0, .limit = 0}},
		{"*:* idle=9;*:* idle=0", {.idle_ms = 0, .limit = 1}},
		{"*:* off=1;a.b:80 off=0", {.idle_ms = 1, .limit = 1, .off = 0}},
		{"*:* off=0;a.b:80 off=1", {.idle_ms = 1, .limit = 1, .off = 1}},
		{"*:* proto=raw;a.b:80 proto=auto", {.idle_ms = 1, .limit = 1}},
		{"*:* idle=2 idle=3", {.idle_ms = 3, .limit = 1}},
		{"*:* idle=2;*:* idle=-2;*:* limit=2", {.idle_ms = 2, .limit = 2}},
		{"*:* limit=5 idle=-2;*:* idle=3", {.idle_ms = 3, .limit = 1}},
		{"*:* idle=1 lease=2 uses=3 limit=4 wait=5 off=1 proto=http",
			{.idle_ms = 1,
				.lease_ms = 2,
				.uses = 3,
				.limit = 4,
				.wait_ms = 5,
				.off = 1,
				.proto = PROTO_HTTP}},
	};
	const struct endpoint endpoint = endpoint_at("192.0.2.1", 80);
	struct parsed parsed;

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct point_settings settings = {.idle_ms = 1, .limit = 1};

		parse(&parsed, rows[i].text);
		rules_apply(&parsed.rules, "a.b", &endpoint, &settings);
		cr_expect_eq(memcmp(&settings, &rows[i].expected, sizeof(settings)), 0, "%s",
			rows[i].text);
	}
}

Test(rules, none_leave_everything_as_it_is)
{
	const struct endpoint endpoint = endpoint_at("192.0.2.1", 80);
	const struct rules none = {0};
	struct point_settings settings, before;

	memset(&settings, 0x33, sizeof(settings));
	before = settings;
	rules_apply(&none, "a.b", &endpoint, &settings);
	cr_expect_eq(memcmp(&settings, &before, sizeof(settings)), 0);
}

Test(rules, the_header_comment_is_true)
{
	static const char text[] =
		"www.contoso.com:80 idle=5000 limit=4; *.internal:80 lease=60000\n"
		"10.0.0.0/8:* off=1        # a comment\n";
	struct parsed parsed;

	parse(&parsed, text);
	cr_expect_eq(parsed.complaints, 0, "%s", parsed.problem);
	cr_expect_eq(parsed.rules.count, 3);
}

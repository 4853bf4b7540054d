#include "pool/rules.h"

#include <string.h>

#include "pool/names.h"
#include "pool/text.h"

#define WORD_SHOWN_MAX 48

/* A struct point_settings is all longs. */
#define FIELDS POINT_SETTING_COUNT

_Static_assert(FIELDS <= 32, "there is a bit for each in rule.keys");

static const char *const proto_words[] = {
	[PROTO_AUTO] = "auto",
	[PROTO_HTTP] = "http",
	[PROTO_RAW] = "raw",
	[PROTO_RESP] = "resp",
	[PROTO_MEMCACHED] = "memcached",
};

#define PROTO_WORDS (sizeof(proto_words) / sizeof(proto_words[0]))

/* ---- words ---- */

struct word {
	const char *start;
	size_t len;
};

struct reader {
	const char *at, *end, *line_start;
	unsigned line;
	void (*complain)(const struct complaint *complaint, void *context);
	void *context;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static bool ends_rule(char c)
{
	return c == ';' || c == '\n';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* tolower() depends on the locale. */
static char lower_case(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_word(struct word word, const char *expected)
{
	return word.len == strlen(expected) && memcmp(word.start, expected, word.len) == 0;
}

static struct word without_first(struct word word, size_t len)
{
	return (struct word){word.start + len, word.len - len};
}

/* Takes what is before the separator off the front of rest, and the separator; all, if there is
 * none, and false. */
static bool split(struct word *rest, char separator, struct word *part)
{
	const char *found = memchr(rest->start, separator, rest->len);

	*part = *rest;
	if (found)
		part->len = (size_t)(found - rest->start);
	*rest = without_first(*rest, part->len + (found != NULL));
	return found != NULL;
}

/* ---- the text ---- */

/* The next word of this rule; false: there is none, and reader is where the rule ends. */
static bool next_word(struct reader *reader, struct word *word)
{
	while (reader->at < reader->end && is_blank(*reader->at))
		reader->at++;
	if (reader->at < reader->end && *reader->at == '#')
		while (reader->at < reader->end && *reader->at != '\n')
			reader->at++;
	word->start = reader->at;
	while (reader->at < reader->end && !is_blank(*reader->at) && !ends_rule(*reader->at))
		reader->at++;
	word->len = (size_t)(reader->at - word->start);
	return word->len > 0;
}

/* The first word of the next rule that has one; false: there is none. */
static bool next_rule(struct reader *reader, struct word *word)
{
	while (!next_word(reader, word)) {
		if (reader->at == reader->end)
			return false;
		if (*reader->at++ == '\n') {
			reader->line++;
			reader->line_start = reader->at;
		}
	}
	return true;
}

static void skip_rule(struct reader *reader)
{
	struct word word;

	while (next_word(reader, &word))
		;
}

static struct reader read_from(const char *text, size_t len)
{
	/* An empty file may be no memory at all, and NULL + 0 is undefined in C. */
	return (struct reader){
		.at = text,
		.end = len ? text + len : text,
		.line_start = text,
		.line = 1,
	};
}

/* ---- complaints ---- */

static void add_shown(struct text *text, struct word word)
{
	size_t shown = word.len <= WORD_SHOWN_MAX ? word.len : WORD_SHOWN_MAX;

	for (size_t i = 0; i < shown; i++) {
		bool printable = word.start[i] >= ' ' && word.start[i] <= '~';
		text_add_bytes(text, printable ? &word.start[i] : "?", 1);
	}
	if (shown < word.len)
		text_add(text, "...");
}

/* Always false. Not inlined, so that its buffer is not part of its callers' frames. */
#define REFUSAL __attribute__((cold, noinline)) static bool

/* The word, and what about it. */
REFUSAL refuse(const struct reader *reader, struct word word, const char *what)
{
	char data[PROBLEM_MAX];
	struct text text = {.data = data, .size = sizeof(data) - 1};

	add_shown(&text, word);
	text_add(&text, " ");
	text_add(&text, what);
	data[text.len] = '\0';
	reader->complain(
		&(struct complaint){
			.line = reader->line,
			.column = (unsigned)(word.start - reader->line_start) + 1,
			.word = word.start,
			.word_len = word.len,
			.problem = data,
		},
		reader->context);
	return false;
}

REFUSAL refuse_key(const struct reader *reader, struct word key)
{
	char data[PROBLEM_MAX];
	struct text text = {.data = data, .size = sizeof(data) - 1};
	const char *between = "is no key: keys are ";

	for (size_t i = 0; i < setting_count; i++) {
		if (!setting_table[i].key)
			continue;
		text_add(&text, between);
		text_add(&text, setting_table[i].key);
		between = ", ";
	}
	data[text.len] = '\0';
	return refuse(reader, key, data);
}

static bool is_proto(const struct setting *setting)
{
	return setting->offset == offsetof(struct settings, point.proto);
}

REFUSAL refuse_value(const struct reader *reader, struct word word, const struct setting *setting,
	const char *what)
{
	char data[PROBLEM_MAX];
	struct text text = {.data = data, .size = sizeof(data) - 1};

	text_add(&text, what);
	if (is_proto(setting)) {
		for (size_t i = 0; i < PROTO_WORDS; i++) {
			text_add(&text, i == 0 ? ": " : i + 1 < PROTO_WORDS ? ", " : " or ");
			text_add(&text, proto_words[i]);
		}
	} else {
		text_add(&text, ": ");
		text_add_number(&text, setting->least);
		text_add(&text, " to ");
		text_add_number(&text, setting->most);
	}
	data[text.len] = '\0';
	return refuse(reader, word, data);
}

/* ---- numbers and addresses ---- */

/* Digits and nothing else; most is no more than 2^31, so that nothing overflows. */
static bool read_number(struct word word, int64_t most, int64_t *number)
{
	*number = 0;
	for (size_t i = 0; i < word.len; i++) {
		if (!is_digit(word.start[i]))
			return false;
		*number = *number * 10 + (word.start[i] - '0');
		if (*number > most)
			return false;
	}
	return word.len > 0;
}

/* No zeros at its front, which some would take for octal. */
static bool read_plain_number(struct word word, int64_t most, int64_t *number)
{
	return read_number(word, most, number) && (word.len == 1 || *word.start != '0');
}

static bool read_ipv4(struct word word, uint8_t *address)
{
	for (int i = 0; i < 4; i++) {
		struct word part;
		int64_t octet;
		bool more = split(&word, '.', &part);
		if (more != (i < 3) || !read_plain_number(part, 255, &octet))
			return false;
		address[i] = (uint8_t)octet;
	}
	return true;
}

static int hex_digit(char c)
{
	if (is_digit(c))
		return c - '0';
	c = lower_case(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_group(struct word word, uint8_t *address)
{
	unsigned group = 0;

	if (word.len < 1 || word.len > 4)
		return false;
	for (size_t i = 0; i < word.len; i++) {
		int digit = hex_digit(word.start[i]);
		if (digit < 0)
			return false;
		group = group << 4 | (unsigned)digit;
	}
	address[0] = (uint8_t)(group >> 8);
	address[1] = (uint8_t)group;
	return true;
}

/* RFC 4291 2.2. */
static bool read_ipv6(struct word word, uint8_t *address)
{
	int filled = 0, gap = -1; /* bytes; where :: stands among them */
	bool more = word.len > 0;

	if (word.len >= 2 && memcmp(word.start, "::", 2) == 0) {
		gap = 0;
		word = without_first(word, 2);
		more = word.len > 0;
	}
	while (more) {
		struct word part;
		more = split(&word, ':', &part);
		if (!more && filled <= 12 && read_ipv4(part, address + filled)) {
			filled += 4;
			break;
		}
		if (filled == 16 || !read_group(part, address + filled))
			return false;
		filled += 2;
		if (more && word.len > 0 && *word.start == ':') {
			if (gap >= 0)
				return false;
			gap = filled;
			word = without_first(word, 1);
			more = word.len > 0;
		}
	}
	if (gap < 0)
		return filled == 16;
	/* It stands for one group at least. */
	if (filled == 16)
		return false;
	memmove(address + 16 - (filled - gap), address + gap, (size_t)(filled - gap));
	memset(address + gap, 0, (size_t)(16 - filled));
	return true;
}

static bool read_address(struct word word, uint16_t family, struct pattern *pattern)
{
	const bool ipv4 = family == AF_INET;
	int64_t bits = ipv4 ? 32 : 128;
	struct word address;

	if (split(&word, '/', &address) && !read_plain_number(word, bits, &bits))
		return false;
	if (!(ipv4 ? read_ipv4 : read_ipv6)(address, pattern->address))
		return false;
	pattern->kind = PATTERN_ADDRESS;
	pattern->family = family;
	pattern->bits = (uint16_t)bits;
	return true;
}

/* ---- patterns ---- */

/* Names in UTF-8 are for the resolver to understand. */
static bool is_name_byte(char c)
{
	const char lower = lower_case(c);

	return (lower >= 'a' && lower <= 'z') || is_digit(c) || c == '-' || c == '_' ||
	       (unsigned char)c >= 0x80;
}

static bool is_name(struct word word)
{
	size_t label = 0;
	bool numeric = true;

	/* No longer one is ever learned. */
	if (word.len > NAME_TEXT_MAX)
		return false;
	for (size_t i = 0; i < word.len; i++) {
		if (word.start[i] == '.' ? label == 0 : !is_name_byte(word.start[i]))
			return false;
		label = word.start[i] == '.' ? 0 : label + 1;
		numeric &= word.start[i] == '.' || is_digit(word.start[i]);
	}
	return label > 0 && !numeric;
}

static bool read_name(struct word word, struct pattern *pattern)
{
	pattern->kind = PATTERN_NAME;
	if (word.len >= 2 && memcmp(word.start, "*.", 2) == 0) {
		pattern->kind = PATTERN_BELOW;
		word = without_first(word, 2);
	}
	if (word.len > 0 && word.start[word.len - 1] == '.')
		word.len--;
	pattern->name = word.start;
	pattern->name_len = word.len;
	return is_name(word);
}

/* Can it be nothing but an IPv4 address, or an attempt at one? */
static bool looks_like_ipv4(struct word word)
{
	for (size_t i = 0; i < word.len; i++)
		if (!is_digit(word.start[i]) && word.start[i] != '.' && word.start[i] != '/')
			return false;
	return true;
}

static bool read_host(const struct reader *reader, struct word word, struct pattern *pattern)
{
	if (is_word(word, "*")) {
		pattern->kind = PATTERN_ANY;
		return true;
	}
	if (looks_like_ipv4(word))
		return read_address(word, AF_INET, pattern) ||
		       refuse(reader, word, "is no IPv4 address or prefix");
	return read_name(word, pattern) ||
	       refuse(reader, word, "is neither a host name nor an address");
}

static bool read_port(const struct reader *reader, struct word word, struct pattern *pattern)
{
	int64_t port = 0;

	if (!is_word(word, "*") && (!read_number(word, 65535, &port) || port == 0))
		return refuse(reader, word, "is no port: 1 to 65535, or *");
	pattern->port = (uint16_t)port;
	return true;
}

static bool read_bracketed(const struct reader *reader, struct word word, struct pattern *pattern)
{
	struct word rest = without_first(word, 1), address;

	if (!split(&rest, ']', &address) || (rest.len > 0 && *rest.start != ':'))
		return refuse(reader, word, "is not [address]:port or [address/bits]:port");
	if (rest.len <= 1)
		return refuse(reader, word, "has no port");
	if (!read_address(address, AF_INET6, pattern))
		return refuse(reader, address.len ? address : word, "is no IPv6 address or prefix");
	return read_port(reader, without_first(rest, 1), pattern);
}

/* ::1 is no address by itself: is it ::1 and a port, or the address ::1? */
static bool is_bare_ipv6(struct word word)
{
	struct pattern unused;

	return read_address(word, AF_INET6, &unused);
}

static bool read_pattern(const struct reader *reader, struct word word, struct pattern *pattern)
{
	const char *colon = memrchr(word.start, ':', word.len);
	struct word host = word;

	if (*word.start == '[')
		return read_bracketed(reader, word, pattern);
	if (!colon)
		return refuse(reader, word, "has no port");
	host.len = (size_t)(colon - word.start);
	if (is_bare_ipv6(host) || is_bare_ipv6(word))
		return refuse(reader, word, "is IPv6 without brackets: write [address]:port");
	if (host.len == 0)
		return refuse(reader, word, "has no host");
	if (host.len + 1 == word.len)
		return refuse(reader, word, "has no port");
	return read_host(reader, host, pattern) &&
	       read_port(reader, without_first(word, host.len + 1), pattern);
}

/* ---- settings ---- */

static size_t field_of(const struct setting *setting)
{
	return (setting->offset - offsetof(struct settings, point)) / sizeof(long);
}

static long *field(struct point_settings *settings, size_t number)
{
	return (long *)(void *)settings + number;
}

static const struct setting *setting_of_key(struct word key)
{
	for (size_t i = 0; i < setting_count; i++)
		if (setting_table[i].key && is_word(key, setting_table[i].key))
			return &setting_table[i];
	return NULL;
}

/* As setting_parse() does, but for the words of proto. */
static bool read_value(struct word word, const struct setting *setting, int64_t *value)
{
	if (is_proto(setting)) {
		for (*value = 0; *value < (int64_t)PROTO_WORDS; (*value)++)
			if (is_word(word, proto_words[*value]))
				return true;
		return false;
	}
	const bool negative = word.len > 0 && *word.start == '-';
	if (!read_number(without_first(word, negative), INT32_MAX, value))
		return false;
	if (negative)
		*value = -*value;
	return *value >= setting->least && *value <= setting->most;
}

void rule_set_value(struct rule *rule, const struct setting *setting, long value)
{
	rule->keys |= UINT32_C(1) << field_of(setting);
	*field(&rule->values, field_of(setting)) = value;
}

static bool read_setting(const struct reader *reader, struct word word, struct rule *rule)
{
	struct word value = word, key;

	split(&value, '=', &key);
	const struct setting *setting = setting_of_key(key);
	int64_t number;

	if (!setting)
		return refuse_key(reader, key.len ? key : word);
	if (value.len == 0)
		return refuse_value(reader, word, setting, "has no value");
	if (!read_value(value, setting, &number))
		return refuse_value(reader, word, setting, "is not allowed");
	rule_set_value(rule, setting, (long)number);
	return true;
}

/* ---- rules ---- */

static bool read_rule(struct reader *reader, struct word first, struct rule *rule)
{
	struct word word;

	*rule = (struct rule){0};
	if (!read_pattern(reader, first, &rule->pattern))
		return false;
	while (next_word(reader, &word))
		if (!read_setting(reader, word, rule))
			return false;
	return rule->keys || refuse(reader, first, "has no key=value behind it");
}

size_t rules_room_needed(const char *text, size_t len)
{
	struct reader reader = read_from(text, len);
	struct word word;
	size_t needed = 0;

	for (; next_rule(&reader, &word); needed++)
		skip_rule(&reader);
	return needed;
}

void rules_parse(struct rules *rules, const char *text, size_t len,
	void (*complain)(const struct complaint *complaint, void *context), void *context)
{
	struct reader reader = read_from(text, len);
	bool full = false;
	struct rule rule;
	struct word word;

	reader.complain = complain;
	reader.context = context;
	for (; next_rule(&reader, &word); skip_rule(&reader)) {
		if (!read_rule(&reader, word, &rule))
			continue;
		if (rules->count < rules->room) {
			rules->list[rules->count++] = rule;
			rules->addresses += rule.pattern.kind == PATTERN_ADDRESS;
		} else if (!full) {
			refuse(&reader, word,
				"is one rule too many: it and those after it are left out");
			full = true;
		}
	}
}

/* ---- a part of a rule ---- */

static struct reader read_part(const char *text, size_t len,
	void (*complain)(const struct complaint *complaint, void *context), void *context)
{
	struct reader reader = read_from(text, len);

	reader.complain = complain;
	reader.context = context;
	return reader;
}

static bool is_over(struct reader *reader)
{
	struct word word;

	return (!next_word(reader, &word) && reader->at == reader->end) ||
	       refuse(reader, word, "is too much");
}

bool pattern_parse(const char *text, size_t len, struct pattern *pattern,
	void (*complain)(const struct complaint *complaint, void *context), void *context)
{
	struct reader reader = read_part(text, len, complain, context);
	struct word word;

	*pattern = (struct pattern){.kind = PATTERN_ANY};
	if (!next_word(&reader, &word))
		return refuse(&reader, word, "host:port is missing");
	return read_pattern(&reader, word, pattern) && is_over(&reader);
}

bool rule_parse_settings(const char *text, size_t len, struct rule *rule,
	void (*complain)(const struct complaint *complaint, void *context), void *context)
{
	struct reader reader = read_part(text, len, complain, context);
	struct word word;

	*rule = (struct rule){0};
	while (next_word(&reader, &word))
		if (!read_setting(&reader, word, rule))
			return false;
	if (!rule->keys)
		return refuse(&reader, word, "key=value is missing");
	return is_over(&reader);
}

/* ---- matches ---- */

static bool is_same_name(const char *one, const char *other, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (lower_case(one[i]) != lower_case(other[i]))
			return false;
	return true;
}

static bool matches_name(const struct pattern *pattern, const char *name)
{
	size_t len = name ? strlen(name) : 0, above = 0;

	if (len > 0 && name[len - 1] == '.')
		len--;
	if (len < pattern->name_len)
		return false;
	above = len - pattern->name_len;
	if (!is_same_name(name + above, pattern->name, pattern->name_len))
		return false;
	return pattern->kind == PATTERN_NAME ? above == 0 : above > 1 && name[above - 1] == '.';
}

static bool is_mapped(const struct endpoint *endpoint)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	return endpoint->family == AF_INET6 &&
	       memcmp(endpoint->address, mapped, sizeof(mapped)) == 0;
}

static bool matches_address(const struct pattern *pattern, const struct endpoint *endpoint)
{
	const uint8_t *address = endpoint->address;
	const size_t bytes = pattern->bits / 8, rest = pattern->bits % 8;

	if (endpoint->family != pattern->family) {
		if (!is_mapped(endpoint))
			return false;
		address += 12;
	}
	if (memcmp(address, pattern->address, bytes) != 0)
		return false;
	return rest == 0 || (address[bytes] ^ pattern->address[bytes]) >> (8 - rest) == 0;
}

bool pattern_matches(
	const struct pattern *pattern, const char *name, const struct endpoint *endpoint)
{
	if (pattern->port != 0 && pattern->port != endpoint_port(endpoint))
		return false;
	switch (pattern->kind) {
	case PATTERN_ANY:
		return true;
	case PATTERN_NAME:
	case PATTERN_BELOW:
		return matches_name(pattern, name);
	case PATTERN_ADDRESS:
		return matches_address(pattern, endpoint);
	}
	return false;
}

static void set_fields(
	struct point_settings *settings, struct point_settings *values, uint32_t keys)
{
	for (size_t n = 0; n < FIELDS; n++)
		if (keys >> n & 1)
			__atomic_store_n(field(settings, n), *field(values, n), __ATOMIC_RELAXED);
}

void rule_set(const struct rule *rule, struct point_settings *settings)
{
	struct point_settings values = rule->values;

	set_fields(settings, &values, rule->keys);
}

void rule_merge(struct rule *rule, const struct rule *other)
{
	rule_set(other, &rule->values);
	rule->keys |= other->keys;
}

bool rules_tell_address(const struct rules *rules, const struct endpoint *endpoint)
{
	for (size_t i = 0; rules->addresses > 0 && i < rules->count; i++)
		if (rules->list[i].pattern.kind == PATTERN_ADDRESS &&
			pattern_matches(&rules->list[i].pattern, NULL, endpoint))
			return true;
	return false;
}

void rules_apply(const struct rules *rules, const char *name, const struct endpoint *endpoint,
	struct point_settings *settings)
{
	uint32_t decided = 0;

	/* The last one first: what it sets is not for those before it. */
	for (size_t i = rules->count; i-- > 0;) {
		struct rule *rule = &rules->list[i];
		uint32_t keys = rule->keys & ~decided;
		if (!keys || !pattern_matches(&rule->pattern, name, endpoint))
			continue;
		set_fields(settings, &rule->values, keys);
		decided |= keys;
	}
}

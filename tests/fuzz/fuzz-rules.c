/* Of any text, each rule is read or complained of once, where the complaint says; what was read,
 * written down, is read as the same; its pattern matches what it was made for; for each key the
 * last rule wins; and addresses and numbers are those that inet_pton() and setting_parse() know. */
#include "tests/fuzz/fuzz.h"

#include <arpa/inet.h>

#include "pool/names.h"
#include "pool/rules.h"

#define FIELDS (sizeof(struct point_settings) / sizeof(long))

/* What one rule may take, written down. */
#define WRITTEN_MAX 600

struct told {
	const char *text;
	size_t len, bad, left_out;
};

static void complain(const struct complaint *complaint, void *context)
{
	struct told *told = context;
	const char *word = complaint->word, *line = told->text;
	unsigned number = 1;

	MUST(complaint->word_len > 0 && word >= told->text);
	MUST(complaint->word_len <= told->len - (size_t)(word - told->text));
	for (const char *c = told->text; c < word; c++) {
		if (*c == '\n') {
			line = c + 1;
			number++;
		}
	}
	MUST(complaint->line == number);
	MUST(complaint->column == (unsigned)(word - line) + 1);

	const size_t problem_len = strlen(complaint->problem);
	/* Were it one byte shorter, it might have been cut. */
	MUST(problem_len < PROBLEM_MAX - 1);
	for (size_t i = 0; i < problem_len; i++)
		MUST(complaint->problem[i] >= ' ' && complaint->problem[i] <= '~');
	if (strstr(complaint->problem, "is one rule too many"))
		told->left_out++;
	else
		told->bad++;
}

/* Each list and text is in memory of its own, where the address sanitizer sees a byte too far. */
static struct rules parse(struct told *told, const char *text, size_t len, size_t room)
{
	struct rules rules = {.list = malloc(room * sizeof(struct rule)), .room = room};

	MUST(rules.list || !room);
	*told = (struct told){.text = text, .len = len};
	rules_parse(&rules, text, len, complain, told);
	MUST(rules.count <= room);
	return rules;
}

static const struct setting *setting_of_field(size_t number)
{
	const size_t offset = offsetof(struct settings, point) + number * sizeof(long);

	for (size_t i = 0; i < setting_count; i++)
		if (setting_table[i].offset == offset)
			return &setting_table[i];
	MUST(!"a field without a setting");
	return NULL;
}

static long value(const struct point_settings *settings, size_t number)
{
	return ((const long *)(const void *)settings)[number];
}

static void must_be_same_pattern(const struct pattern *one, const struct pattern *other)
{
	MUST(one->kind == other->kind);
	MUST(one->port == other->port);
	MUST(one->family == other->family);
	MUST(one->bits == other->bits);
	MUST(one->name_len == other->name_len);
	if (one->name)
		MUST(memcmp(one->name, other->name, one->name_len) == 0);
	if (one->kind == PATTERN_ADDRESS)
		MUST(memcmp(one->address, other->address, one->family == AF_INET ? 4 : 16) == 0);
}

static void must_be_same(const struct rule *one, const struct rule *other)
{
	must_be_same_pattern(&one->pattern, &other->pattern);
	MUST(one->keys == other->keys);
	MUST(memcmp(&one->values, &other->values, sizeof(one->values)) == 0);
}

/* ---- written down and read again ---- */

static size_t write_pattern(char *line, const struct pattern *pattern)
{
	char host[300] = "*", port[8] = "*", address[INET6_ADDRSTRLEN];

	if (pattern->kind == PATTERN_NAME || pattern->kind == PATTERN_BELOW)
		snprintf(host, sizeof(host), "%s%.*s.", pattern->kind == PATTERN_BELOW ? "*." : "",
			(int)pattern->name_len, pattern->name);
	MUST(pattern->name_len <= NAME_TEXT_MAX);
	MUST(pattern->bits <= (pattern->family == AF_INET ? 32 : 128));
	if (pattern->kind == PATTERN_ADDRESS) {
		MUST(inet_ntop(pattern->family, pattern->address, address, INET6_ADDRSTRLEN));
		snprintf(host, sizeof(host), pattern->family == AF_INET ? "%s/%u" : "[%s/%u]",
			address, pattern->bits);
	}
	if (pattern->port)
		snprintf(port, sizeof(port), "%u", pattern->port);
	return (size_t)snprintf(line, WRITTEN_MAX, "%s:%s", host, port);
}

static void must_be_written_and_read_again(const struct rule *rule)
{
	static const char *const protocols[] = {"auto", "http", "raw"};
	char line[WRITTEN_MAX], number[24];
	size_t len = write_pattern(line, &rule->pattern);
	struct told told;

	MUST(rule->keys != 0 && rule->keys >> FIELDS == 0);
	for (size_t n = 0; n < FIELDS; n++) {
		const struct setting *setting = setting_of_field(n);
		const long field = value(&rule->values, n);

		if (!(rule->keys >> n & 1)) {
			MUST(field == 0);
			continue;
		}
		MUST(field >= setting->least && field <= setting->most);
		snprintf(number, sizeof(number), "%ld", field);
		len += (size_t)snprintf(line + len, WRITTEN_MAX - len, " %s=%s", setting->key,
			strcmp(setting->key, "proto") == 0 ? protocols[field] : number);
	}
	MUST(len < WRITTEN_MAX);

	struct rules again = parse(&told, line, len, 1);
	MUST(again.count == 1 && told.bad == 0);
	must_be_same(rule, &again.list[0]);
	free(again.list);
}

/* ---- applied ---- */

/* An endpoint, and a name, that the pattern is for. */
static struct endpoint endpoint_of(const struct pattern *pattern, char name[300])
{
	struct endpoint endpoint = {.family = AF_INET, .port = htons(pattern->port)};

	name[0] = '\0';
	if (pattern->kind == PATTERN_ADDRESS) {
		endpoint.family = pattern->family;
		memcpy(endpoint.address, pattern->address, sizeof(endpoint.address));
	}
	if (pattern->kind == PATTERN_NAME || pattern->kind == PATTERN_BELOW)
		snprintf(name, 300, "%s%.*s", pattern->kind == PATTERN_BELOW ? "some." : "",
			(int)pattern->name_len, pattern->name);
	return endpoint;
}

/* By another way than rules_apply(): the first one first, each overruling those before it. */
static void apply_forwards(const struct rules *rules, const char *name,
	const struct endpoint *endpoint, struct point_settings *settings)
{
	for (size_t i = 0; i < rules->count; i++) {
		const struct rules one = {.list = &rules->list[i], .count = 1};

		rules_apply(&one, name, endpoint, settings);
	}
}

static void must_match_its_own(const struct rules *rules, const struct rule *rule)
{
	struct point_settings before, alone, last, each;
	const struct rules one = {.list = (struct rule *)rule, .count = 1};
	char name[300];
	struct endpoint endpoint = endpoint_of(&rule->pattern, name);

	memset(&before, 0x33, sizeof(before));
	alone = last = each = before;
	rules_apply(&one, name, &endpoint, &alone);
	for (size_t n = 0; n < FIELDS; n++)
		MUST(value(&alone, n) == value(rule->keys >> n & 1 ? &rule->values : &before, n));

	rules_apply(rules, name, &endpoint, &last);
	apply_forwards(rules, name, &endpoint, &each);
	MUST(memcmp(&last, &each, sizeof(last)) == 0);

	if (rule->pattern.port == 0)
		return;
	endpoint.port ^= htons(1);
	alone = before;
	rules_apply(&one, name, &endpoint, &alone);
	MUST(memcmp(&alone, &before, sizeof(alone)) == 0);
}

/* ---- what others read, too ---- */

static bool is_accepted(const char *format, const char *word, struct rule *rule)
{
	struct told told;
	char *text;
	const int len = asprintf(&text, format, word);

	MUST(len > 0);
	struct rules rules = parse(&told, text, (size_t)len, 1);
	const bool accepted = rules.count == 1 && told.bad == 0;
	if (accepted)
		*rule = rules.list[0];
	free(rules.list);
	free(text);
	return accepted;
}

static void must_be_as_others_read_it(const char *word)
{
	struct settings settings = {0};
	struct rule rule;
	uint8_t address[16];

	if (!strpbrk(word, "/]")) {
		const bool accepted = is_accepted("[%s]:80 off=1", word, &rule);
		MUST(accepted == (inet_pton(AF_INET6, word, address) == 1));
		MUST(!accepted || memcmp(rule.pattern.address, address, 16) == 0);
	}
	if (word[strspn(word, "0123456789.")] == '\0') {
		const bool accepted = is_accepted("%s:80 off=1", word, &rule);
		MUST(accepted == (inet_pton(AF_INET, word, address) == 1));
		MUST(!accepted || memcmp(rule.pattern.address, address, 4) == 0);
	}
	for (size_t n = 0; n < FIELDS; n++) {
		const struct setting *setting = setting_of_field(n);
		char format[40];

		if (strcmp(setting->key, "proto") == 0)
			continue;
		snprintf(format, sizeof(format), "*:80 %s=%%s", setting->key);
		const bool accepted = is_accepted(format, word, &rule);
		MUST(accepted == setting_parse(&settings, setting, word));
		MUST(!accepted || value(&rule.values, n) == value(&settings.point, n));
	}
}

/* The words of the text, with what stands around addresses and values taken for blanks. */
static void must_be_read_as_others_do(const char *text, size_t len)
{
	char *copy = strndup(text, len), *rest, *word;

	MUST(copy);
	for (word = strtok_r(copy, " \t\r\n;#[]/=", &rest); word;
		word = strtok_r(NULL, " \t\r\n;#[]/=", &rest))
		must_be_as_others_read_it(word);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size);
	struct told told, told_in_less_room;

	MUST(text || !size);
	if (size)
		memcpy(text, data, size);

	const size_t room = rules_room_needed(text, size);
	struct rules rules = parse(&told, text, size, room);
	struct rules fewer = parse(&told_in_less_room, text, size, rules.count / 2);

	MUST(rules.count + told.bad == room && told.left_out == 0);
	MUST(fewer.count == rules.count / 2 && told_in_less_room.bad == told.bad);
	MUST(told_in_less_room.left_out == (rules.count > fewer.count));
	for (size_t i = 0; i < fewer.count; i++)
		must_be_same(&fewer.list[i], &rules.list[i]);
	for (size_t i = 0; i < rules.count && i < 32; i++) {
		must_be_written_and_read_again(&rules.list[i]);
		must_match_its_own(&rules, &rules.list[i]);
	}
	must_be_read_as_others_do(text, size < 200 ? size : 200);
	free(fewer.list);
	free(rules.list);
	free(text);
	return 0;
}

#include "pool/requests.h"

#include <errno.h>
#include <string.h>

#include "pool/manager.h"

/* The first thing that is wrong. */
static void complain(const struct complaint *complaint, void *context)
{
	struct text *problem = context;

	if (problem->len == 0)
		text_add(problem, complaint->problem);
}

static long refuse(struct text *problem, const char *why, long error)
{
	problem->len = 0;
	text_add(problem, why);
	return error;
}

static long serve_set(struct pool *pool, const char *text, size_t len, struct text *problem)
{
	struct rule rule;
	struct rules rules = {.list = &rule, .room = 1};

	rules_parse(&rules, text, len, complain, problem);
	if (problem->len > 0)
		return -EINVAL;
	if (rules.count == 0)
		return refuse(problem, "host:port is missing", -EINVAL);
	return manager_set(pool, &rule);
}

static long serve_default(struct pool *pool, const char *text, size_t len, struct text *problem)
{
	struct rule rule;

	if (!rule_parse_settings(text, len, &rule, complain, problem))
		return -EINVAL;
	return manager_set_defaults(pool, &rule);
}

static long serve_cap(struct pool *pool, const char *text, size_t len, struct text *problem)
{
	char number[16] = "";
	struct settings settings;

	/* A 0 in it would end the number, and hide what comes after. */
	if (len < sizeof(number) && !memchr(text, 0, len))
		memcpy(number, text, len);
	if (setting_parse(&settings, setting_find("SP_MAX_SERVICE_POINTS"), number))
		return manager_set_cap(pool, settings.max_service_points);
	return refuse(problem, "how many service points? 0 to 1000000", -EINVAL);
}

static long serve_flush(struct pool *pool, const char *text, size_t len, struct text *problem)
{
	struct pattern pattern;

	if (!pattern_parse(text, len, &pattern, complain, problem))
		return -EINVAL;
	return manager_flush(pool, &pattern);
}

static const struct {
	const char *word;
	long (*serve)(struct pool *pool, const char *text, size_t len, struct text *problem);
} verbs[] = {
	{"set ", serve_set},
	{"default ", serve_default},
	{"cap ", serve_cap},
	{"flush ", serve_flush},
};

static long serve(struct pool *pool, const char *text, size_t len, struct text *problem)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		size_t word_len = strlen(verbs[i].word);
		if (len >= word_len && memcmp(text, verbs[i].word, word_len) == 0)
			return verbs[i].serve(pool, text + word_len, len - word_len, problem);
	}
	return refuse(problem, "that is no request: set, default, cap or flush", -EINVAL);
}

long request_serve(struct pool *pool, const char *text, size_t len, char *problem)
{
	struct text said = {.data = problem, .size = REQUEST_PROBLEM_SIZE - 1};
	long result = serve(pool, text, len, &said);

	if (result == -ENOENT)
		refuse(&said, "there is no such service point", result);
	else if (result == -ENOMEM)
		refuse(&said, "there is no memory to keep that", result);
	else if (result == -EAGAIN)
		refuse(&said, "the pool was busy: try again", result);
	problem[said.len] = '\0';
	return result;
}

/* The public functions (shim/sppool.h): arguments are checked and translated, the pool does the
 * rest. */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "pool/manager.h"
#include "shim/interposed.h"
#include "shim/process.h"

#define SPPOOL_API EXPORTED
#include "shim/sppool.h"

/* A setting of the library's, and the numbers for it here. */
struct field {
	const char *variable;
	int least, most;
};

static const struct field fields[SPPOOL_SETTING_COUNT] = {
	[SPPOOL_CONNECTION_LIMIT] = {"SP_CONNECTION_LIMIT", 1, INT_MAX},
	[SPPOOL_MAX_IDLE_TIME] = {"SP_MAX_IDLE_MS", -1, INT_MAX},
	[SPPOOL_LEASE_TIMEOUT] = {"SP_LEASE_MS", -1, INT_MAX},
	[SPPOOL_MAX_USES] = {"SP_MAX_USES", 0, INT_MAX},
	[SPPOOL_LIMIT_WAIT_TIMEOUT] = {"SP_LIMIT_WAIT_MS", 0, INT_MAX},
	[SPPOOL_MAX_SERVICE_POINTS] = {"SP_MAX_SERVICE_POINTS", 0, INT_MAX},
};

static bool is_allowed(enum sppool_setting setting, int value)
{
	return (unsigned)setting < SPPOOL_SETTING_COUNT && value >= fields[setting].least &&
	       value <= fields[setting].most;
}

/* "No limit" is a large number there, and 0 here. */
static long limit_from(int value)
{
	return value == INT_MAX ? 0 : value;
}

static int limit_to(long limit)
{
	return limit == 0 ? INT_MAX : (int)limit;
}

static struct rule make_rule(const struct pattern *pattern, enum sppool_setting setting, int value)
{
	struct rule rule = {.pattern = *pattern};

	rule_set_value(&rule, setting_find(fields[setting].variable),
		setting == SPPOOL_CONNECTION_LIMIT ? limit_from(value) : value);
	return rule;
}

static void ignore(const struct complaint *complaint, void *unused)
{
	(void)complaint;
	(void)unused;
}

/* The pattern points into text, which is room for host:port. */
#define PLACE_SIZE (NAME_TEXT_MAX + 16)

static bool read_place(const char *host, int port, char *text, struct pattern *pattern)
{
	struct text place = {.data = text, .size = PLACE_SIZE};
	bool ipv6 = host && strchr(host, ':');

	if (!host || port < 1 || port > 65535)
		return false;
	text_add(&place, ipv6 ? "[" : "");
	text_add(&place, host);
	text_add(&place, ipv6 ? "]:" : ":");
	text_add_number(&place, port);
	if (place.cut || !pattern_parse(text, place.len, pattern, ignore, NULL))
		return false;
	/* One host, and not many. */
	return pattern->kind == PATTERN_NAME ||
	       (pattern->kind == PATTERN_ADDRESS && !strchr(host, '/'));
}

static void describe(const struct point_view *view, struct sppool_service_point *point)
{
	const struct point_settings *settings = &view->settings;
	const struct sppool_service_point all = {
		.size = point->size,
		.connection_limit = limit_to(settings->limit),
		.max_idle_time = (int)settings->idle_ms,
		.lease_timeout = (int)settings->lease_ms,
		.limit_wait_timeout = (int)settings->wait_ms,
		.max_uses = (int)settings->uses,
		.current_connections = view->in_use + view->parked,
		.parked = view->parked,
		.waiting = view->waiting,
		.opened = view->opened,
		.reused = view->reused,
		.idle_since = view->idle_since_ms,
	};

	/* An older program, or a newer one, knows of less, or of more. */
	memcpy(point, &all, point->size < sizeof(all) ? point->size : sizeof(all));
}

int sppool_find(const char *host, int port, struct sppool_service_point *point)
{
	char text[PLACE_SIZE];
	struct pattern pattern;
	struct point_view view;

	if (!point || point->size < sizeof(point->size) || !read_place(host, port, text, &pattern))
		return -EINVAL;
	if (!process_may_pool())
		return -ENOSYS;
	long result = manager_find(&process_pool, &pattern, &view);
	if (result == 0)
		describe(&view, point);
	return (int)result;
}

int sppool_set(const char *host, int port, enum sppool_setting setting, int value)
{
	char text[PLACE_SIZE];
	struct pattern pattern;

	if (setting == SPPOOL_MAX_SERVICE_POINTS || !is_allowed(setting, value) ||
		!read_place(host, port, text, &pattern))
		return -EINVAL;
	if (!process_may_pool())
		return -ENOSYS;
	const struct rule rule = make_rule(&pattern, setting, value);
	long result = manager_find(&process_pool, &pattern, NULL);
	if (result == 0)
		result = manager_set(&process_pool, &rule);
	return result > 0 ? 0 : (int)result;
}

int sppool_close(const char *host, int port)
{
	char text[PLACE_SIZE];
	struct pattern pattern;

	if (!read_place(host, port, text, &pattern))
		return -EINVAL;
	if (!process_may_pool())
		return -ENOSYS;
	long result = manager_flush(&process_pool, &pattern);
	if (result == -ENOENT)
		return 0;
	return result < 0 ? (int)result : 1;
}

int sppool_set_default(enum sppool_setting setting, int value)
{
	const struct pattern any = {.kind = PATTERN_ANY};

	if (!is_allowed(setting, value))
		return -EINVAL;
	if (!process_may_pool())
		return -ENOSYS;
	if (setting == SPPOOL_MAX_SERVICE_POINTS) {
		long result = manager_set_cap(&process_pool, value);
		return result < 0 ? (int)result : 0;
	}
	const struct rule rule = make_rule(&any, setting, value);
	long result = manager_set_defaults(&process_pool, &rule);
	return result < 0 ? (int)result : 0;
}

int sppool_get_default(enum sppool_setting setting, int *value)
{
	struct settings settings;

	if ((unsigned)setting >= SPPOOL_SETTING_COUNT || !value)
		return -EINVAL;
	if (!process_may_pool())
		return -ENOSYS;
	long result = manager_get_defaults(&process_pool, &settings);
	if (result < 0)
		return (int)result;
	const struct setting *found = setting_find(fields[setting].variable);
	long number = setting_of((const long *)((const char *)&settings + found->offset));
	*value = setting == SPPOOL_CONNECTION_LIMIT ? limit_to(number) : (int)number;
	return 0;
}

const char *sppool_version(void)
{
	return SPPOOL_VERSION;
}

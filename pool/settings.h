/* The settings, as numbers. The table is settings.inc; where they come from is the shim's affair.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum proto {
	PROTO_AUTO = 0, /* by the first bytes that the client sends */
	PROTO_HTTP,
	PROTO_RAW, /* whatever it is: the user knows that its connections have no state */
	PROTO_RESP,
	PROTO_MEMCACHED,
};

/* What each service point has of its own. */
struct point_settings {
#define SETTING(field, variable, default_value, least, most, meaning)
#define POINT_SETTING(field, variable, key, default_value, least, most, meaning) long field;
#define RULE_SETTING(field, key, default_value, least, most, meaning)            long field;
#include "pool/settings.inc"
#undef SETTING
#undef POINT_SETTING
};

#define POINT_SETTING_COUNT (sizeof(struct point_settings) / sizeof(long))

struct settings {
#define SETTING(field, variable, default_value, least, most, meaning) long field;
#define POINT_SETTING(field, variable, key, default_value, least, most, meaning)
#include "pool/settings.inc"
#undef SETTING
#undef POINT_SETTING
	struct point_settings point; /* of service points that are still to come */
};

struct setting {
	const char *variable; /* NULL: only rules set it */
	const char *key;      /* in rules; NULL: not of a service point */
	long default_value, least, most;
	const char *meaning;
	size_t offset; /* in struct settings */
};

/* A service point's own may be changed at any time, by who has the pool's lock; so who has not
 * reads them by this. */
static inline long setting_of(const long *field)
{
	return __atomic_load_n(field, __ATOMIC_RELAXED);
}

extern const struct setting setting_table[];
extern const size_t setting_count;

/* By its variable. */
const struct setting *setting_find(const char *variable);

/* Does each service point have one of its own? */
static inline bool setting_is_of_point(const struct setting *setting)
{
	return setting->offset >= offsetof(struct settings, point);
}

struct settings settings_default(void);

/* Reads a whole decimal number, with nothing before or after it, within the setting's range.
 * false leaves *settings as it was. */
bool setting_parse(struct settings *settings, const struct setting *setting, const char *value);

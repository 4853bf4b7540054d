#include "pool/settings.h"

#include <string.h>

const struct setting setting_table[] = {
#define SETTING(field, variable, default_value, least, most, meaning)                              \
	{variable, NULL, default_value, least, most, meaning, offsetof(struct settings, field)},
#define POINT_SETTING(field, variable, key, default_value, least, most, meaning)                   \
	{variable, key, default_value, least, most, meaning,                                       \
		offsetof(struct settings, point.field)},
#define RULE_SETTING(field, key, default_value, least, most, meaning)                              \
	{NULL, key, default_value, least, most, meaning, offsetof(struct settings, point.field)},
#include "pool/settings.inc"

#include "pool/layout.h"
#undef SETTING
#undef POINT_SETTING
};

const size_t setting_count = sizeof(setting_table) / sizeof(setting_table[0]);

const struct setting *setting_find(const char *variable)
{
	for (size_t i = 0; i < setting_count; i++)
		if (setting_table[i].variable && strcmp(setting_table[i].variable, variable) == 0)
			return &setting_table[i];
	return NULL;
}

static void set(struct settings *settings, const struct setting *setting, long value)
{
	*(long *)(void *)((char *)settings + setting->offset) = value;
}

HOT struct settings settings_default(void)
{
	struct settings settings;

	for (size_t i = 0; i < setting_count; i++)
		set(&settings, &setting_table[i], setting_table[i].default_value);
	return settings;
}

bool setting_parse(struct settings *settings, const struct setting *setting, const char *value)
{
	bool negative = *value == '-';
	const char *digit = value + negative;
	long number = 0;

	if (!*digit)
		return false;
	for (; *digit; digit++) {
		if (*digit < '0' || *digit > '9')
			return false;
		number = number * 10 + (*digit - '0');
		/* No setting goes beyond 2^31, so this cannot have overflowed yet. */
		if (number > 2147483647L)
			return false;
	}
	if (negative)
		number = -number;
	if (number < setting->least || number > setting->most)
		return false;
	set(settings, setting, number);
	return true;
}

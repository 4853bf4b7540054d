/* The settings, as numbers. The table is settings.inc; where they come from is the shim's affair.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct settings {
#define SETTING(field, variable, default_value, least, most, meaning) long field;
#include "pool/settings.inc"
#undef SETTING
};

struct setting {
	const char *variable;
	long default_value, least, most;
	const char *meaning;
	size_t offset; /* in struct settings */
};

extern const struct setting setting_table[];
extern const size_t setting_count;

struct settings settings_default(void);

/* Reads a whole decimal number, with nothing before or after it, within the setting's range.
 * false leaves *settings as it was. */
bool setting_parse(struct settings *settings, const struct setting *setting, const char *value);

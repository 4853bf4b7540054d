#include <criterion/criterion.h>
#include <string.h>

#include "pool/settings.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static const struct setting *setting_named(const char *variable)
{
	for (size_t i = 0; i < setting_count; i++)
		if (setting_table[i].variable && strcmp(setting_table[i].variable, variable) == 0)
			return &setting_table[i];
	cr_assert_fail("there is no setting %s", variable);
	return NULL;
}

Test(settings, the_defaults_are_what_the_readme_promises)
{
	struct settings settings = settings_default();

	cr_expect_eq(settings.max_service_points, 256);
	cr_expect_eq(settings.point.idle_ms, 100000);
	cr_expect_eq(settings.max_parked, 64);
	cr_expect_eq(settings.point.lease_ms, -1);
	cr_expect_eq(settings.point.uses, 0);
	cr_expect_eq(settings.disable, 0);
	cr_expect_eq(settings.log, 0);
}

Test(settings, each_row_of_the_table_makes_sense)
{
	for (size_t i = 0; i < setting_count; i++) {
		const struct setting *setting = &setting_table[i];

		cr_expect_gt(strlen(setting->meaning), 0);
		if (!setting->variable)
			continue;
		cr_expect_eq(strncmp(setting->variable, "SP_", 3), 0);
		cr_expect_leq(setting->least, setting->default_value, "%s", setting->variable);
		cr_expect_leq(setting->default_value, setting->most, "%s", setting->variable);
		cr_expect_leq(setting->most, 2147483647, "setting_parse() stops there");
		cr_expect_geq(setting->least, -2147483647);
		cr_expect_gt(strlen(setting->meaning), 0);
		cr_expect_eq(setting_named(setting->variable), setting, "%s is there twice",
			setting->variable);
	}
}

Test(settings, a_number_in_the_range_is_read_and_anything_else_changes_nothing)
{
	static const struct {
		const char *variable, *value;
		bool expected;
		long number;
	} rows[] = {
		{"SP_MAX_IDLE_MS", "0", true, 0},
		{"SP_MAX_IDLE_MS", "-1", true, -1},
		{"SP_MAX_IDLE_MS", "2147483647", true, 2147483647},
		{"SP_MAX_IDLE_MS", "007", true, 7},
		{"SP_MAX_IDLE_MS", "-2", false, 0},
		{"SP_MAX_IDLE_MS", "2147483648", false, 0},
		{"SP_MAX_IDLE_MS", "99999999999999999999999999", false, 0},
		{"SP_MAX_IDLE_MS", "-99999999999999999999999999", false, 0},
		{"SP_MAX_IDLE_MS", "18446744073709551617", false, 0},
		{"SP_MAX_IDLE_MS", "", false, 0},
		{"SP_MAX_IDLE_MS", "-", false, 0},
		{"SP_MAX_IDLE_MS", "--1", false, 0},
		{"SP_MAX_IDLE_MS", "+1", false, 0},
		{"SP_MAX_IDLE_MS", " 1", false, 0},
		{"SP_MAX_IDLE_MS", "1 ", false, 0},
		{"SP_MAX_IDLE_MS", "1s", false, 0},
		{"SP_MAX_IDLE_MS", "0x10", false, 0},
		{"SP_MAX_IDLE_MS", "1.5", false, 0},
		{"SP_MAX_IDLE_MS", "1e3", false, 0},
		{"SP_MAX_IDLE_MS", "on", false, 0},
		{"SP_DISABLE", "1", true, 1},
		{"SP_DISABLE", "2", false, 0},
		{"SP_DISABLE", "-1", false, 0},
		{"SP_LOG", "3", true, 3},
		{"SP_LOG", "4", false, 0},
		{"SP_MAX_PARKED", "65536", true, 65536},
		{"SP_MAX_PARKED", "65537", false, 0},
		{"SP_MAX_SERVICE_POINTS", "1000000", true, 1000000},
		{"SP_MAX_SERVICE_POINTS", "-1", false, 0},
		{"SP_LEASE_MS", "-1", true, -1},
		{"SP_MAX_USES", "-1", false, 0},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct setting *setting = setting_named(rows[i].variable);
		struct settings before, settings, expected;

		memset(&before, 0x33, sizeof(before));
		settings = expected = before;
		if (rows[i].expected)
			memcpy((char *)&expected + setting->offset, &rows[i].number, sizeof(long));
		cr_expect_eq(setting_parse(&settings, setting, rows[i].value), rows[i].expected,
			"%s=%s", rows[i].variable, rows[i].value);
		cr_expect_eq(memcmp(&settings, &expected, sizeof(settings)), 0, "%s=%s",
			rows[i].variable, rows[i].value);
	}
}

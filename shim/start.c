/* What happens when the library is loaded: the environment is read, once, and the pool begins. */

#include <errno.h>
#include <stdlib.h>
#include <sys/auxv.h>

#include "shim/libc.h"
#include "shim/log.h"
#include "shim/plugins.h"
#include "shim/process.h"
#include "shim/statistics.h"

static void complain(const struct setting *setting, const char *value)
{
	char data[64], shown[64];
	struct text range = {.data = data, .size = sizeof(data) - 1};
	struct text start = {.data = shown, .size = sizeof(shown) - 1};

	text_add_number(&range, setting->least);
	text_add(&range, " to ");
	text_add_number(&range, setting->most);
	text_add(&range, "; using ");
	text_add_number(&range, setting->default_value);
	data[range.len] = '\0';
	for (const char *c = value; *c && !start.cut; c++)
		text_add_bytes(&start, *c < ' ' || *c == 0x7f ? "?" : c, 1);
	shown[start.len] = '\0';
	log_always(setting->variable, "=", shown, start.cut ? "..." : "",
		" is not allowed: a whole number from ", data, NULL);
}

static struct settings read_environment(void)
{
	struct settings settings = settings_default();

	for (size_t i = 0; i < setting_count; i++) {
		const struct setting *setting = &setting_table[i];
		const char *value = secure_getenv(setting->variable);
		/* VARIABLE= is how a shell user says "not set". */
		if (value && *value && !setting_parse(&settings, setting, value))
			complain(setting, value);
	}
	return settings;
}

static void open_statistics(void)
{
	const char *where = secure_getenv("SP_STATS");

	if (!where || !*where)
		return;
	if (!statistics_open(where))
		log_always(
			"SP_STATS is longer than a file's name can be; nothing is written", NULL);
	else
		atexit(statistics_write);
}

/* A second copy of the library, from another place, would park what this one has hidden. The one
 * that is nearer to libc does the work. */
EXPORTED const char sppool_is_here[] = "sppool";

static bool is_another_below(void)
{
	bool found = dlsym(RTLD_NEXT, "sppool_is_here");

	/* What dlsym() has to say is not for the program to read. */
	if (!found)
		dlerror();
	return found;
}

__attribute__((constructor)) static void start(void)
{
	int saved_errno = errno;

	libc_load();
	if (is_another_below())
		return;
	/* A program with more rights than its user takes no orders from that user's environment. */
	if (getauxval(AT_SECURE))
		return;
	log_open(1);
	struct settings settings = read_environment();
	log_open((int)settings.log);
	if (process_begin(&settings)) {
		open_statistics();
		if (settings.see_plugins)
			plugins_see();
	}
	errno = saved_errno;
}

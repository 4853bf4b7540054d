/* What happens when the library is loaded: the environment is read, once, and the pool begins. */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#include "pool/layout.h"
#include "shim/keeper.h"
#include "shim/libc.h"
#include "shim/log.h"
#include "shim/os.h"
#include "shim/plugins.h"
#include "shim/process.h"
#include "shim/raw.h"
#include "shim/statistics.h"
#include "shim/status.h"

COLD static void complain(const struct setting *setting, const char *value)
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
		const char *value = setting->variable ? secure_getenv(setting->variable) : NULL;
		/* VARIABLE= is how a shell user says "not set". */
		if (value && *value && !setting_parse(&settings, setting, value))
			complain(setting, value);
	}
	return settings;
}

/* ---- rules ---- */

#define RULES_FILE_MOST (1 << 20) /* bytes */
#define RULES_MOST      10000     /* of one source; all are looked at for each new service point */
#define COMPLAINTS_MOST 10        /* lines about one source */

struct source {
	const char *name;
	unsigned long complaints;
};

COLD static void complain_of_rule(const struct complaint *complaint, void *context)
{
	struct source *source = context;
	char data[64];
	struct text where = {.data = data, .size = sizeof(data) - 1};

	if (++source->complaints > COMPLAINTS_MOST)
		return;
	text_add(&where, ", line ");
	text_add_number(&where, complaint->line);
	text_add(&where, ", column ");
	text_add_number(&where, complaint->column);
	text_add(&where, ": ");
	data[where.len] = '\0';
	log_always(source->name, data, complaint->problem, NULL);
}

COLD static void say_how_many_more(const struct source *source)
{
	char data[24];
	struct text number = {.data = data, .size = sizeof(data) - 1};

	if (source->complaints <= COMPLAINTS_MOST)
		return;
	text_add_number(&number, (long)(source->complaints - COMPLAINTS_MOST));
	data[number.len] = '\0';
	log_always(source->name, ": and ", data, " more like these", NULL);
}

COLD static void add_rules(struct rules *rules, const char *text, size_t len, const char *name)
{
	struct source source = {.name = name};
	size_t needed = rules_room_needed(text, len);
	size_t room = rules->count + (needed < RULES_MOST ? needed : RULES_MOST);
	struct rule *list = real_os.map(room * sizeof(*list) + 1);

	if (!list)
		return;
	memcpy(list, rules->list, rules->count * sizeof(*list));
	rules->list = list;
	rules->room = room;
	rules_parse(rules, text, len, complain_of_rule, &source);
	say_how_many_more(&source);
}

/* A file that is too long, or cannot be read, is one line, and none of its rules holds. */
COLD static void add_rules_of_file(struct rules *rules, const char *name)
{
	int fd = (int)RAW4(openat, AT_FDCWD, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0);
	char *text = fd < 0 ? NULL : real_os.map(RULES_FILE_MOST + 1);
	size_t len = 0;
	long more = text ? 1 : -1;

	while (more > 0 && len <= RULES_FILE_MOST) {
		more = RAW3(read, fd, text + len, RULES_FILE_MOST + 1 - len);
		len += more > 0 ? (size_t)more : 0;
	}
	if (fd >= 0)
		RAW1(close, fd);
	if (more < 0 || len > RULES_FILE_MOST)
		log_always("SP_RULES_FILE: ", name,
			more < 0 ? " cannot be read" : " is longer than 1 MiB", NULL);
	else
		add_rules(rules, text, len, "SP_RULES_FILE");
}

/* The file first, so that SP_RULES has the last word. */
static struct rules read_rules(void)
{
	const char *file = secure_getenv("SP_RULES_FILE"), *value = secure_getenv("SP_RULES");
	struct rules rules = {.list = NULL};

	if (file && *file)
		add_rules_of_file(&rules, file);
	size_t len = value ? strlen(value) : 0;
	/* The program may change its environment. */
	char *text = len > 0 ? real_os.map(len) : NULL;
	if (text) {
		memcpy(text, value, len);
		add_rules(&rules, text, len, "SP_RULES");
	}
	return rules;
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

static void want_status(void)
{
	const char *directory = secure_getenv("SP_STATUS_DIR");

	if (!directory || !*directory)
		return;
	if (!status_want(directory))
		log_always("SP_STATUS_DIR=", directory,
			" is not allowed: a directory's name that begins with /", NULL);
	else
		atexit(status_end);
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
	struct rules rules = read_rules();
	if (process_begin(&settings, &rules)) {
		if (settings.keeper)
			keeper_want();
		open_statistics();
		want_status();
		if (settings.see_plugins)
			plugins_see();
	}
	errno = saved_errno;
}

#include "shim/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pool/layout.h"
#include "pool/text.h"
#include "shim/output.h"
#include "shim/raw.h"

static int wanted_level;
static struct stat standard_error;
static bool has_standard_error;

HOT void log_open(int level)
{
	wanted_level = level;
	has_standard_error = RAW2(fstat, STDERR_FILENO, &standard_error) == 0;
}

static bool standard_error_is_unchanged(void)
{
	struct stat now;

	return has_standard_error && RAW2(fstat, STDERR_FILENO, &now) == 0 &&
	       now.st_dev == standard_error.st_dev && now.st_ino == standard_error.st_ino;
}

static void write_line(const char *first, va_list rest)
{
	char line[240];
	/* Room for the newline is kept. */
	struct text text = {.data = line, .size = sizeof(line) - 1};

	if (!standard_error_is_unchanged())
		return;
	text_add(&text, "sppool[");
	text_add_number(&text, RAW0(getpid));
	text_add(&text, "]: ");
	for (const char *part = first; part; part = va_arg(rest, const char *))
		text_add(&text, part);
	line[text.len] = '\n';
	output_write(STDERR_FILENO, line, text.len + 1);
}

bool log_wants(int level)
{
	return level <= wanted_level;
}

void log_line(int level, ...)
{
	va_list rest;

	if (level > wanted_level)
		return;
	va_start(rest, level);
	const char *first = va_arg(rest, const char *);
	if (first)
		write_line(first, rest);
	va_end(rest);
}

void log_always(const char *first, ...)
{
	va_list rest;

	va_start(rest, first);
	write_line(first, rest);
	va_end(rest);
}

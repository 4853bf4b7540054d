#include "shim/fdinfo.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "pool/text.h"
#include "shim/raw.h"

/* One line, of ep_show_fdinfo() in fs/eventpoll.c:
 *
 *      tfd:        5 events:       19 data: ...
 */
#define LINE_MOST 160

static int open_fdinfo(int fd)
{
	char path[48];
	struct text text = {.data = path, .size = sizeof(path) - 1};

	text_add(&text, "/proc/thread-self/fdinfo/");
	text_add_number(&text, fd);
	path[text.len] = '\0';
	return (int)RAW3(openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
}

static const char *skip(const char *line, const char *word)
{
	size_t len = strlen(word);

	if (!line || strncmp(line, word, len) != 0)
		return NULL;
	for (line += len; *line == ' ';)
		line++;
	return line;
}

/* The digits at the beginning, and where they end; NULL if there is none. */
static const char *number(const char *text, unsigned base, uint32_t *value)
{
	static const char digits[] = "0123456789abcdef";
	const char *start = text;

	*value = 0;
	for (; text && *text; text++) {
		const char *digit = memchr(digits, *text, base);
		if (!digit)
			break;
		*value = *value * base + (uint32_t)(digit - digits);
	}
	return text == start ? NULL : text;
}

static bool is_of(const char *line, int fd, uint32_t *events)
{
	uint32_t target;
	const char *rest = number(skip(line, "tfd:"), 10, &target);

	while (rest && *rest == ' ')
		rest++;
	return number(skip(rest, "events:"), 16, events) && target == (uint32_t)fd;
}

int fdinfo_watched_events(int epfd, int fd, uint32_t *events)
{
	char line[LINE_MOST], some[256];
	size_t len = 0;
	long count;
	int file = open_fdinfo(epfd), result = -ENOENT;

	/* Without /proc nothing is known: that is not to be taken for what is. */
	if (file < 0)
		return -EACCES;
	while (result < 0 && (count = RAW3(read, file, some, sizeof(some))) > 0) {
		for (long i = 0; result < 0 && i < count; i++) {
			if (some[i] != '\n') {
				if (len < sizeof(line) - 1)
					line[len++] = some[i];
				continue;
			}
			line[len] = '\0';
			len = 0;
			if (is_of(line, fd, events))
				result = 0;
		}
	}
	RAW1(close, file);
	return result;
}

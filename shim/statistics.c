#include "shim/statistics.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shim/log.h"
#include "shim/output.h"
#include "shim/process.h"
#include "shim/raw.h"

/* What a service point takes at most in JSON, and all the rest. */
#define POINT_SIZE 640
#define REST_SIZE  8192

static char path[PATH_MAX];
static bool to_standard_output, wanted;
static struct stat standard_output;

bool statistics_open(const char *where)
{
	struct text text = {.data = path, .size = sizeof(path) - 1};

	if (strcmp(where, "-") == 0) {
		to_standard_output = true;
		wanted = RAW2(fstat, STDOUT_FILENO, &standard_output) == 0;
		return true;
	}
	/* The program may be somewhere else when it ends. The kernel counts the final zero. */
	if (where[0] != '/') {
		long size = RAW2(getcwd, path, sizeof(path) - 1);
		if (size > 1) {
			text.len = (size_t)size - 1;
			text_add(&text, "/");
		}
	}
	text_add(&text, where);
	path[text.len] = '\0';
	wanted = !text.cut;
	return wanted;
}

/* The file's name with %p replaced. */
static bool expand(char *name, size_t size)
{
	struct text text = {.data = name, .size = size - 1};

	for (const char *c = path; *c; c++) {
		if (c[0] == '%' && c[1] == 'p') {
			text_add_number(&text, RAW0(getpid));
			c++;
		} else {
			text_add_bytes(&text, c, 1);
		}
	}
	name[text.len] = '\0';
	return !text.cut;
}

/* Did the program call no connect()? Then it may be a helper of the one that matters, whose output
 * somebody reads. */
static bool is_idle(void)
{
	return atomic_load_explicit(&process_pool.stats.connects, memory_order_relaxed) == 0;
}

/* A descriptor to write to, or -1. O_NONBLOCK, as to open a FIFO that nobody reads would take until
 * somebody does. *buffer is room for a file's name. */
static int open_target(char *buffer)
{
	struct stat now;

	if (to_standard_output) {
		bool same = RAW2(fstat, STDOUT_FILENO, &now) == 0 &&
			    now.st_dev == standard_output.st_dev &&
			    now.st_ino == standard_output.st_ino;
		return same ? STDOUT_FILENO : -1;
	}
	if (!expand(buffer, PATH_MAX))
		return -1;
	int fd = (int)RAW4(openat, AT_FDCWD, buffer,
		O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666);
	if (fd < 0) {
		log_line(1, "SP_STATS: ", buffer, " cannot be written", NULL);
		return -1;
	}
	if (is_idle() && RAW2(fstat, fd, &now) == 0 && now.st_size > 0) {
		RAW1(close, fd);
		return -1;
	}
	RAW2(ftruncate, fd, 0);
	return fd;
}

static void compose(struct text *text)
{
	text_add(text, "{\"version\":1,\"pid\":");
	text_add_number(text, RAW0(getpid));
	text_add(text, ",\"program\":");
	text_add_json(text, program_invocation_short_name);
	text_add(text, ",");
	pool_add_json(&process_pool, text);
	text_add(text, "}\n");
}

void statistics_write(void)
{
	bool one_each = to_standard_output || strstr(path, "%p");

	if (!wanted || !process_may_pool() || (one_each && is_idle()))
		return;
	size_t size = PATH_MAX + REST_SIZE + POINT_SIZE * (process_pool.points.count + 1UL);
	char *memory = process_pool.os->map(size);
	if (!memory)
		return;
	int fd = open_target(memory);
	if (fd >= 0) {
		struct text text = {.data = memory + PATH_MAX, .size = size - PATH_MAX};
		compose(&text);
		output_write(fd, text.data, text.len);
		if (!to_standard_output)
			RAW1(close, fd);
	}
	RAW2(munmap, memory, size);
}

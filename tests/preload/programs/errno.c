/* The walk over the table: what each function gives and what it does to errno when it succeeds,
 * in every situation of calls.h, or before any library's constructor: SITUATION PORT DIRECTORY.
 */
#include <stdio.h>

#define SENTINEL 4711

static void note(const char *name, long result, int error);

#define CALL(name, before, call)                                                                   \
	static void try_##name(void)                                                               \
	{                                                                                          \
		before;                                                                            \
		errno = SENTINEL;                                                                  \
		long result = (long)(call);                                                        \
		int error = errno;                                                                 \
		note(#name, result, error);                                                        \
	}

#define EXEC(name, call_fails, call_works)                                                         \
	CALL(name##_in_vain, , call_fails)                                                         \
	static void try_##name(void)                                                               \
	{                                                                                          \
		try_##name##_in_vain();                                                            \
		fflush(stdout);                                                                    \
		child = fork();                                                                    \
		if (!child)                                                                        \
			_exit((call_works) + 100);                                                 \
	}

#include "calls.h"

static void note(const char *name, long result, int error)
{
	printf("%s: %ld, errno %s\n", name, result,
		error == SENTINEL ? "untouched" : strerrorname_np(error));
}

static void try_row(const struct row *row)
{
	prepare();
	row->attempt();
}

/* Runs before the constructors of all libraries. */
static void early(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "early"))
		exit(for_each_row(argc, argv, try_row));
}

__attribute__((section(".preinit_array"), used)) static void (*const before_all)(
	int, char **) = early;

int main(int argc, char **argv)
{
	return for_each_row(argc, argv, try_row);
}

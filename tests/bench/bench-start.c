/* How long a program takes from its start to its end, under one preloaded library and another in
 * turn: ROUNDS LIBRARY LIBRARY PROGRAM [ARGUMENT...]. Prints a line per round: nanoseconds under
 * the first, and under the second.
 */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "tests/bench/bench.h"

static double time_of(const char *library, char **argv)
{
	char preload[4096];
	char *environment[] = {preload, NULL};
	int status;
	pid_t pid;

	if (snprintf(preload, sizeof(preload), "LD_PRELOAD=%s", library) >= (int)sizeof(preload))
		errx(1, "%s: too long a name", library);
	double start = now_ns();
	if (posix_spawn(&pid, argv[0], NULL, NULL, argv, environment) != 0)
		errx(1, "%s: cannot be started", argv[0]);
	if (waitpid(pid, &status, 0) < 0)
		err(1, "waitpid");
	double end = now_ns();
	if (status)
		errx(1, "%s: wait status %d under %s", argv[0], status, library);
	return end - start;
}

int main(int argc, char **argv)
{
	if (argc < 5)
		errx(2, "usage: bench-start ROUNDS LIBRARY LIBRARY PROGRAM [ARGUMENT...]");
	for (int round = 0; round < atoi(argv[1]); round++) {
		double first = time_of(argv[2], argv + 4);
		double second = time_of(argv[3], argv + 4);
		printf("%.0f %.0f\n", first, second);
	}
	return 0;
}

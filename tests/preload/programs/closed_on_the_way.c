/* close() finds its number closed by a signal handler just when it had found out what that is.
 *
 * This program's own pthread_testcancel() stands for the handler: glibc's close() does not call it,
 * but whoever stands in front of close(), to be a cancellation point as well, does.
 */
#include "client.h"
#include <pthread.h>

#define ROUNDS 6

static int victim = -1;

__attribute__((visibility("default"))) void pthread_testcancel(void)
{
	int number = victim;

	victim = -1;
	if (number >= 0)
		close(number);
}

int main(int argc, char **argv)
{
	int opened[3];

	if (argc != 2)
		return 3;
	port = atoi(argv[1]);
	for (int round = 0; round < ROUNDS; round++) {
		for (size_t i = 0; i < COUNT(opened); i++)
			opened[i] = dial();
		for (size_t i = 0; i < COUNT(opened); i++)
			fetch(opened[i], "/bytes/10");
		victim = opened[0];
		for (size_t i = 0; i < COUNT(opened); i++)
			close(opened[i]);
		victim = -1;
	}
	return 0;
}

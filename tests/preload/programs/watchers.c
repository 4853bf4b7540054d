/* A program that has closed its connection and calls nothing any more: who closes what is parked?
 * SCENARIO PORT CONTROL-PORT.
 */
#include "client.h"
#include "onlooker.h"
#include <signal.h>
#include <sys/wait.h>

static void expires(void)
{
	visit("/echo/once");
	await(0);
}

static void sees_the_end(void)
{
	visit("/echo/once");
	/* which leaves a connection of its own parked */
	release();
	await(1);
}

/* Signals are for the program's own threads. */
static void handle(int signal)
{
	static pid_t first;

	(void)signal;
	if (!first)
		first = gettid();
	if (gettid() != first)
		_exit(7);
}

static void threads(void)
{
	signal(SIGUSR1, handle);
	raise(SIGUSR1);
	visit("/echo/once");
	printf("threads: %d\n", count_threads());
	for (int i = 0; i < 1000; i++)
		kill(getpid(), SIGUSR1);
	fflush(stdout);
	pid_t pid = fork();
	if (!pid) {
		printf("in the child: %d\n", count_threads());
		visit("/echo/child");
		printf("threads: %d\n", count_threads());
		await(0);
		fflush(stdout);
		_exit(0);
	}
	int status = -1;
	waitpid(pid, &status, 0);
	printf("child: %d\n", status);
	await(0);
}

static const struct scenario scenarios[] = {
	{"expires", expires},
	{"sees_the_end", sees_the_end},
	{"threads", threads},
};

int main(int argc, char **argv)
{
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}

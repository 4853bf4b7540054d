/* What a program sees where a place may have one connection only (SP_CONNECTION_LIMIT=1), and it
 * has that one already: SCENARIO PORT.
 */
#include "client.h"
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

static int held = -1, waiting = -1;
static pthread_t main_thread;
static atomic_int handled;
static atomic_bool over;

static void hold(void)
{
	held = dial();
	fetch(held, "/echo/held");
	waiting = socket(AF_INET, SOCK_STREAM, 0);
}

static bool is_waiting(void)
{
	char path[64], text[256] = "";
	/* its alarm is there */
	for (int fd = 0; fd < 4096; fd++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		ssize_t len = readlink(path, text, sizeof(text) - 1);
		if (len > 0 && strstr(text, "timerfd"))
			return true;
		memset(text, 0, sizeof(text));
	}
	return false;
}

static void *release_when_handled(void *unused)
{
	(void)unused;
	while (!is_waiting())
		sched_yield();
	while (handled < 3) {
		pthread_kill(main_thread, SIGUSR1);
		sched_yield();
	}
	close(held);
	return NULL;
}

static void *signal_until_it_is_over(void *unused)
{
	(void)unused;
	while (!over) {
		pthread_kill(main_thread, SIGUSR1);
		sched_yield();
	}
	return NULL;
}

static void handle(int signal)
{
	(void)signal;
	handled++;
}

static void handle_signals(int flags)
{
	struct sigaction action = {.sa_handler = handle, .sa_flags = flags};

	sigaction(SIGUSR1, &action, NULL);
	main_thread = pthread_self();
}

static void times_out(void)
{
	hold();
	report("connect", connect_to(waiting, port));
	report("once more", connect_to(waiting, port));
	report("close", close(waiting));
	close(held);
	visit("/echo/next");
}

/* A signal is sent again and again; it must be one that comes while connect() waits that ends it.
 */
static void is_interrupted(void)
{
	pthread_t thread;

	hold();
	handle_signals(0);
	pthread_create(&thread, NULL, signal_until_it_is_over, NULL);
	int result = connect_to(waiting, port);
	int error = errno;
	over = true;
	pthread_join(thread, NULL);
	close(held);
	printf("connect: %d %s\n", result, result ? strerrorname_np(error) : "");
	close(waiting);
	visit("/echo/next");
}

static void is_restarted(void)
{
	pthread_t thread;

	hold();
	handle_signals(SA_RESTART);
	pthread_create(&thread, NULL, release_when_handled, NULL);
	report("connect", connect_to(waiting, port));
	pthread_join(thread, NULL);
	fetch(waiting, "/echo/next");
	close(waiting);
}

static void *connect_waiting(void *result)
{
	*(int *)result = connect_to(waiting, port) ? errno : 0;
	return NULL;
}

static void is_cancelled(void)
{
	pthread_t thread;
	void *how;
	int result = 4711;

	hold();
	pthread_create(&thread, NULL, connect_waiting, &result);
	while (!is_waiting())
		sched_yield();
	pthread_cancel(thread);
	pthread_join(thread, &how);
	printf("cancelled: %d\n", how == PTHREAD_CANCELED);
	printf("alarm left: %d\n", is_waiting());
	close(waiting);
	close(held);
	visit("/echo/next");
}

/* As without the pool: connect() goes on with a number that is no socket any more. */
static void is_closed_by_another(void)
{
	pthread_t thread;
	int result = 4711;

	hold();
	pthread_create(&thread, NULL, connect_waiting, &result);
	while (!is_waiting())
		sched_yield();
	close(waiting);
	pthread_join(thread, NULL);
	printf("connect: %s\n", result ? strerrorname_np(result) : "done");
	printf("alarm left: %d\n", is_waiting());
	close(held);
	visit("/echo/next");
}

static void non_blocking_passes(void)
{
	hold();
	fcntl(waiting, F_SETFL, O_NONBLOCK);
	int result = connect_to(waiting, port);
	printf("under way: %d\n", result == 0 || errno == EINPROGRESS);
	fcntl(waiting, F_SETFL, 0);
	fetch(waiting, "/echo/other");
	close(waiting);
	close(held);
}

static const struct scenario scenarios[] = {
	{"times_out", times_out},
	{"is_interrupted", is_interrupted},
	{"is_restarted", is_restarted},
	{"is_cancelled", is_cancelled},
	{"is_closed_by_another", is_closed_by_another},
	{"non_blocking_passes", non_blocking_passes},
};

int main(int argc, char **argv)
{
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}

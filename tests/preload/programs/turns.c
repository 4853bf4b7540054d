/* What a program sees where a place may have one connection only (SP_CONNECTION_LIMIT=1), and it
 * has that one already: SCENARIO PORT.
 */
#include "client.h"
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/wait.h>

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

/* Is another thread in futex(2)? */
static bool is_waiting(void)
{
	DIR *tasks = opendir("/proc/self/task");
	bool found = false;

	for (struct dirent *task; !found && (task = readdir(tasks));) {
		char path[300], text[64] = "";
		if (atoi(task->d_name) == 0 || atoi(task->d_name) == gettid())
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%s/syscall", task->d_name);
		FILE *file = fopen(path, "r");
		found = file && fgets(text, sizeof(text), file) && atoi(text) == SYS_futex;
		if (file)
			fclose(file);
	}
	closedir(tasks);
	return found;
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

/* connect(2), EINPROGRESS and EINTR: it goes on, and says by SO_ERROR how it went. */
static void is_under_way(void)
{
	struct pollfd writable = {.fd = waiting, .events = POLLOUT};
	int error = -1;
	socklen_t size = sizeof(error);

	report("poll", poll(&writable, 1, 10000));
	printf("events: %#x\n", (unsigned)writable.revents);
	getsockopt(waiting, SOL_SOCKET, SO_ERROR, &error, &size);
	printf("error: %d\n", error);
	fetch(waiting, "/echo/late");
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
	printf("connect: %d %s\n", result, result ? strerrorname_np(error) : "");
	is_under_way();
	close(waiting);
	close(held);
	visit("/echo/next");
}

static void is_interrupted_among_others(void)
{
	struct sigaction other = {.sa_handler = handle, .sa_flags = SA_RESTART};

	sigaction(SIGUSR2, &other, NULL);
	is_interrupted();
}

static void has_a_time_of_its_own(void)
{
	const struct timeval time = {.tv_usec = 20000};

	hold();
	setsockopt(waiting, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time));
	report("connect", connect_to(waiting, port));
	is_under_way();
	close(waiting);
	close(held);
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

/* As after any connect() that is restarted, with handlers of both kinds. */
static void is_restarted_among_others(void)
{
	struct sigaction other = {.sa_handler = handle, .sa_flags = 0};

	sigaction(SIGUSR2, &other, NULL);
	is_restarted();
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
	close(held);
	visit("/echo/next");
}

static void is_shut_down_by_another(void)
{
	pthread_t thread;
	int result = 4711;

	hold();
	pthread_create(&thread, NULL, connect_waiting, &result);
	while (!is_waiting())
		sched_yield();
	report("shutdown", shutdown(waiting, SHUT_RDWR));
	pthread_join(thread, NULL);
	printf("connect: %s\n", result ? strerrorname_np(result) : "done");
	close(waiting);
	close(held);
	visit("/echo/next");
}

static void *connect_after_that(void *result)
{
	connect_waiting(result);
	fetch(waiting, "/echo/next");
	return NULL;
}

/* A ring turns the pool off: whoever waits goes on without. */
static void the_pool_is_turned_off(void)
{
	char parameters[256] = "";
	pthread_t thread;
	int result = 4711;

	hold();
	pthread_create(&thread, NULL, connect_after_that, &result);
	while (!is_waiting())
		sched_yield();
	long ring = syscall(SYS_io_uring_setup, 1, parameters);
	if (ring >= 0)
		close((int)ring);
	pthread_join(thread, NULL);
	printf("connect: %s\n", result ? strerrorname_np(result) : "done");
	close(waiting);
	close(held);
}

static void is_dissolved(void)
{
	struct sockaddr nowhere = {.sa_family = AF_UNSPEC};

	hold();
	report("dissolve", connect(held, &nowhere, sizeof(nowhere)));
	report("connect", connect_to(waiting, port));
	fetch(waiting, "/echo/next");
	close(waiting);
	close(held);
}

static void handle_and_fork(int signal)
{
	(void)signal;
	if (!handled++ && fork() == 0)
		_exit(connect_to(socket(AF_INET, SOCK_STREAM, 0), port) ? 1 : 0);
}

/* The child has a pool of its own. */
static void forks_in_a_handler(void)
{
	struct sigaction action = {.sa_handler = handle_and_fork, .sa_flags = SA_RESTART};
	pthread_t thread;
	int status = -1;

	hold();
	sigaction(SIGUSR1, &action, NULL);
	main_thread = pthread_self();
	pthread_create(&thread, NULL, release_when_handled, NULL);
	report("connect", connect_to(waiting, port));
	pthread_join(thread, NULL);
	wait(&status);
	printf("child: %d\n", status);
	fetch(waiting, "/echo/next");
	close(waiting);
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
	{"is_interrupted_among_others", is_interrupted_among_others},
	{"is_restarted", is_restarted},
	{"is_restarted_among_others", is_restarted_among_others},
	{"has_a_time_of_its_own", has_a_time_of_its_own},
	{"is_cancelled", is_cancelled},
	{"is_closed_by_another", is_closed_by_another},
	{"is_shut_down_by_another", is_shut_down_by_another},
	{"the_pool_is_turned_off", the_pool_is_turned_off},
	{"is_dissolved", is_dissolved},
	{"forks_in_a_handler", forks_in_a_handler},
	{"non_blocking_passes", non_blocking_passes},
};

int main(int argc, char **argv)
{
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}

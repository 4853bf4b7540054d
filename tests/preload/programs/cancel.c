/* The walk over the table with a cancellation pending: does the function act on it, and what has
 * become of the descriptors? In every situation of calls.h: SITUATION PORT DIRECTORY.
 *
 * With a fourth argument only those that wait, and the cancellation comes while they do.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

static bool while_waiting;
static atomic_bool is_waiting, went_on;
static void await_cancellation(void);

#define CALL(name, before, call)                                                                   \
	static void try_##name(void)                                                               \
	{                                                                                          \
		before;                                                                            \
		await_cancellation();                                                              \
		(void)(call);                                                                      \
		went_on = true;                                                                    \
	}
#define EXEC(name, call_fails, call_works) CALL(name, , call_fails)

#include "calls.h"

/* For this thread, which meets it at its next cancellation point; or for the main thread. */
static void await_cancellation(void)
{
	int unused;

	if (while_waiting) {
		is_waiting = true;
		return;
	}
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &unused);
	pthread_cancel(pthread_self());
	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &unused);
}

static pid_t thread_id;

static void *attempt(void *row)
{
	int unused;

	thread_id = gettid();
	((const struct row *)row)->attempt();
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &unused);
	return NULL;
}

/* Does the other thread sleep in its call? */
static bool sleeps(void)
{
	char name[64], text[256] = "";
	int file;

	if (!is_waiting)
		return false;
	snprintf(name, sizeof(name), "/proc/self/task/%d/stat", thread_id);
	file = open(name, O_RDONLY);
	if (read(file, text, sizeof(text) - 1) < 0)
		die("stat");
	close(file);
	return strstr(text, ") S");
}

static bool waits_for_bytes(const struct row *row)
{
	static const char *const names[] = {"read", "__read", "__read_chk", "readv", "recv",
		"__recv_chk", "recvfrom", "__recvfrom_chk", "recvmsg", "recvmmsg"};

	for (size_t i = 0; i < COUNT(names); i++) {
		if (!strcmp(row->name, names[i]))
			return true;
	}
	return false;
}

static void show_descriptor(const char *name, int number)
{
	if (number >= 0 && !now->closed)
		printf(", %s is %s", name, is_open(number) ? "open" : "closed");
}

static void *run(const struct row *row)
{
	pthread_t thread;
	void *result;

	is_waiting = went_on = false;
	if (pthread_create(&thread, NULL, attempt, (void *)row))
		die("pthread_create");
	if (while_waiting) {
		while (!sleeps())
			sched_yield();
		pthread_cancel(thread);
	}
	if (pthread_join(thread, &result))
		die("pthread_join");
	return result;
}

static void try_row(const struct row *row)
{
	if (while_waiting && !waits_for_bytes(row))
		return;
	prepare();
	if (while_waiting)
		receive(fd, true);
	void *result = run(row);
	printf("%s: %s", row->name, went_on ? "went on" : "stopped");
	if (went_on != (result == NULL))
		printf(", but joined with %s", result ? "a cancellation" : "none");
	show_descriptor("the connection", fd);
	show_descriptor("the other", made);
	printf("\n");
}

int main(int argc, char **argv)
{
	while_waiting = argc == 5;
	return for_each_row(while_waiting ? 4 : argc, argv, try_row);
}

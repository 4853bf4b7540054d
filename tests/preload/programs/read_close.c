/* One thread waits in a read while another closes the descriptor under it.
 *
 * In the kernel the reader keeps the connection: close() takes only the number away. So the reader
 * stays where it is, and whoever connects next has a connection of his own.
 */
#include "client.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/uio.h>

static int shared;
static _Atomic pid_t reader_id;
static long (*wait_in)(void);

static void wake(int number)
{
	(void)number;
}

static long in_recv(void)
{
	return recv(shared, (char[64]){0}, 64, 0);
}

static long in_read(void)
{
	return read(shared, (char[64]){0}, 64);
}

static long in_recvmsg(void)
{
	char data[64];
	struct iovec part = {.iov_base = data, .iov_len = sizeof(data)};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

	return recvmsg(shared, &message, 0);
}

static void *reader(void *unused)
{
	(void)unused;
	reader_id = gettid();
	report("reader", wait_in());
	return NULL;
}

/* Until the thread sleeps inside a system call on the shared descriptor. */
static void await_reader(void)
{
	char path[64], state[64];

	while (!reader_id)
		;
	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", reader_id);
	do {
		int file = open(path, O_RDONLY);
		ssize_t length = read(file, state, sizeof(state) - 1);

		close(file);
		state[length > 0 ? length : 0] = '\0';
	} while (!strchr(state, ' ') || (int)strtol(strchr(state, ' '), NULL, 16) != shared ||
		 !strncmp(state, "running", 7));
}

static void close_under(long (*wait)(void))
{
	pthread_t thread;
	int next;

	wait_in = wait;
	shared = dial();
	fetch(shared, "/bytes/100");
	pthread_create(&thread, NULL, reader, NULL);
	await_reader();
	report("close", close(shared));
	next = dial();
	fetch(next, "/bytes/200");
	pthread_kill(thread, SIGUSR1);
	pthread_join(thread, NULL);
	fetch(next, "/bytes/300");
	report("close", close(next));
	visit("/bytes/400");
}

static void with_recv(void)
{
	close_under(in_recv);
}

static void with_read(void)
{
	close_under(in_read);
}

static void with_recvmsg(void)
{
	close_under(in_recvmsg);
}

static const struct scenario scenarios[] = {
	{"with_recv", with_recv},
	{"with_read", with_read},
	{"with_recvmsg", with_recvmsg},
};

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = wake};

	sigaction(SIGUSR1, &action, NULL);
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}

/* What the calls that wait say of a connection, and what can be read then: SCENARIO PORT
 * CONTROL-PORT. The server is to end a connection at its second request.
 */
#include "client.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>

#define SENTINEL 4711
#define LONG_MS  20000 /* never over, unless something hangs */
#define SHORT_MS 100
#define DATA     0x123456789abcdefULL /* of the connection, for epoll */

int __poll_chk(struct pollfd *fds, nfds_t count, int timeout, size_t room);
int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
	const sigset_t *mask, size_t room);

/* One call that waits: for fd, and for beside if that is a number. */
struct wait {
	int fd, beside;
	int ms;
	sigset_t *mask;
	int result, error;
	char said[128];
};

static struct timespec in_timespec(int ms)
{
	return (struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
}

/* ---- poll ---- */

static nfds_t fill(const struct wait *wait, struct pollfd *fds)
{
	fds[0] = (struct pollfd){.fd = wait->fd, .events = POLLIN | POLLRDHUP};
	fds[1] = (struct pollfd){.fd = wait->beside, .events = POLLIN};
	return 2;
}

static int told(struct wait *wait, const struct pollfd *fds, int result)
{
	snprintf(wait->said, sizeof(wait->said), "%x and %x", fds[0].revents, fds[1].revents);
	return result;
}

static int by_poll(struct wait *wait)
{
	struct pollfd fds[2];

	return told(wait, fds, poll(fds, fill(wait, fds), wait->ms));
}

static int by_poll_chk(struct wait *wait)
{
	struct pollfd fds[2];

	return told(wait, fds, __poll_chk(fds, fill(wait, fds), wait->ms, sizeof(fds)));
}

static int by_ppoll(struct wait *wait)
{
	struct timespec limit = in_timespec(wait->ms);
	struct pollfd fds[2];

	return told(wait, fds, ppoll(fds, fill(wait, fds), &limit, wait->mask));
}

static int by_ppoll_chk(struct wait *wait)
{
	struct timespec limit = in_timespec(wait->ms);
	struct pollfd fds[2];

	return told(wait, fds, __ppoll_chk(fds, fill(wait, fds), &limit, wait->mask, sizeof(fds)));
}

/* ---- select ---- */

struct sets {
	fd_set sets[3];
	int count;
};

static struct sets sets_of(const struct wait *wait)
{
	struct sets sets = {.count = wait->fd + 1};

	FD_SET(wait->fd, &sets.sets[0]);
	FD_SET(wait->fd, &sets.sets[2]);
	if (wait->beside >= 0) {
		FD_SET(wait->beside, &sets.sets[0]);
		if (wait->beside >= sets.count)
			sets.count = wait->beside + 1;
	}
	return sets;
}

static int selected(struct wait *wait, const struct sets *sets, int result)
{
	snprintf(wait->said, sizeof(wait->said), "%d, %d and %d",
		FD_ISSET(wait->fd, &sets->sets[0]), FD_ISSET(wait->fd, &sets->sets[2]),
		wait->beside >= 0 && FD_ISSET(wait->beside, &sets->sets[0]));
	return result;
}

static int by_select(struct wait *wait)
{
	struct timeval limit = {.tv_sec = wait->ms / 1000, .tv_usec = wait->ms % 1000 * 1000};
	struct sets sets = sets_of(wait);
	int result = selected(
		wait, &sets, select(sets.count, &sets.sets[0], NULL, &sets.sets[2], &limit));

	/* Linux leaves what is left. */
	if ((result == 0) != (limit.tv_sec == 0 && limit.tv_usec == 0) ||
		limit.tv_sec * 1000 + limit.tv_usec / 1000 > wait->ms)
		strcat(wait->said, ", and a time that cannot be");
	return result;
}

static int by_pselect(struct wait *wait)
{
	struct timespec limit = in_timespec(wait->ms);
	struct sets sets = sets_of(wait);

	return selected(wait, &sets,
		pselect(sets.count, &sets.sets[0], NULL, &sets.sets[2], &limit, wait->mask));
}

/* ---- epoll ---- */

static int set_of(const struct wait *wait)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.u64 = DATA};
	int set = epoll_create1(0);

	if (epoll_ctl(set, EPOLL_CTL_ADD, wait->fd, &event))
		die("epoll_ctl");
	event = (struct epoll_event){.events = EPOLLIN, .data.u64 = 1};
	if (wait->beside >= 0 && epoll_ctl(set, EPOLL_CTL_ADD, wait->beside, &event))
		die("epoll_ctl");
	return set;
}

static int reported(struct wait *wait, int set, const struct epoll_event *events, int result)
{
	int error = errno;

	for (int i = 0; i < result; i++)
		snprintf(wait->said + strlen(wait->said), sizeof(wait->said) - strlen(wait->said),
			"%x of %s, ", events[i].events,
			events[i].data.u64 == DATA ? "it" : "the other");
	close(set);
	errno = error;
	return result;
}

static int by_epoll_wait(struct wait *wait)
{
	struct epoll_event events[3];
	int set = set_of(wait);

	return reported(wait, set, events, epoll_wait(set, events, 3, wait->ms));
}

static int by_epoll_pwait(struct wait *wait)
{
	struct epoll_event events[3];
	int set = set_of(wait);

	return reported(wait, set, events, epoll_pwait(set, events, 3, wait->ms, wait->mask));
}

static int by_epoll_pwait2(struct wait *wait)
{
	struct timespec limit = in_timespec(wait->ms);
	struct epoll_event events[3];
	int set = set_of(wait);

	return reported(wait, set, events, epoll_pwait2(set, events, 3, &limit, wait->mask));
}

static const struct call {
	const char *name;
	int (*wait)(struct wait *wait);
	bool has_mask;
} calls[] = {
	{"poll", by_poll, false},
	{"__poll_chk", by_poll_chk, false},
	{"ppoll", by_ppoll, true},
	{"__ppoll_chk", by_ppoll_chk, true},
	{"select", by_select, false},
	{"pselect", by_pselect, true},
	{"epoll_wait", by_epoll_wait, false},
	{"epoll_pwait", by_epoll_pwait, true},
	{"epoll_pwait2", by_epoll_pwait2, true},
};

static void make(const struct call *call, struct wait *wait)
{
	errno = SENTINEL;
	wait->result = call->wait(wait);
	wait->error = errno;
}

static void show_wait(const struct call *call, const struct wait *wait)
{
	printf("%s: %d, errno %s: %s\n", call->name, wait->result,
		wait->error == SENTINEL ? "untouched" : strerrorname_np(wait->error), wait->said);
}

static void make_and_show(const struct call *call, struct wait *wait)
{
	make(call, wait);
	show_wait(call, wait);
}

/* ---- connections ---- */

/* Each on an address of its own, as where one has failed others are not reused for a while. */
static int dial_next(int address)
{
	struct sockaddr_in peer = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	peer.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 0x100 + (uint32_t)address);
	if (fd < 0 || connect(fd, (struct sockaddr *)&peer, sizeof(peer)))
		die("connect");
	return fd;
}

/* One that may have been used before, and has been asked for path. */
static int ask(const char *path)
{
	static int addresses;
	int fd = dial_next(++addresses);

	fetch(fd, "/first");
	close(fd);
	fd = dial_next(addresses);
	if (!request(fd, "GET", path))
		die("send");
	return fd;
}

static void set_blocking(int fd, bool blocking)
{
	int flags = fcntl(fd, F_GETFL);

	if (fcntl(fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK))
		die("fcntl");
}

/* Without waiting, and without asking the connection. */
static void show_bytes(int fd)
{
	int bytes = 0;

	if (ioctl(fd, FIONREAD, &bytes))
		die("FIONREAD");
	printf("something to read: %s\n", bytes > 0 ? "yes" : "no");
}

/* ---- scenarios ---- */

static const char *const ends[] = {"/fin", "/rst"};

static void wait_and_read(const struct call *call, const char *path, bool blocking)
{
	struct wait wait = {.fd = ask(path), .beside = -1, .ms = LONG_MS};

	set_blocking(wait.fd, blocking);
	printf("%s, %s\n", path, blocking ? "blocking" : "non-blocking");
	make_and_show(call, &wait);
	show_bytes(wait.fd);
	set_blocking(wait.fd, true);
	show("read", receive(wait.fd, true));
	close(wait.fd);
}

static void answered(void)
{
	for (size_t i = 0; i < COUNT(calls); i++)
		for (size_t j = 0; j < COUNT(ends); j++)
			for (int blocking = 0; blocking < 2; blocking++)
				wait_and_read(&calls[i], ends[j], blocking);
}

static void wait_in_vain(const struct call *call, const char *end, bool blocking)
{
	char path[32];

	snprintf(path, sizeof(path), "%s/silent", end);
	struct wait wait = {.fd = ask(path), .beside = -1, .ms = SHORT_MS};
	set_blocking(wait.fd, blocking);
	printf("%s, %s\n", path, blocking ? "blocking" : "non-blocking");
	make_and_show(call, &wait);
	show_bytes(wait.fd);
	close(wait.fd);
}

static void silent(void)
{
	for (size_t i = 0; i < COUNT(calls); i++)
		for (size_t j = 0; j < COUNT(ends); j++)
			for (int blocking = 0; blocking < 2; blocking++)
				wait_in_vain(&calls[i], ends[j], blocking);
}

static atomic_int handled;

static void handle(int signal)
{
	(void)signal;
	handled++;
}

/* That a reused connection has ended, without a function of libc's; a fresh one does not. */
static void await_end_unseen(int fd, int ms)
{
	const struct timespec limit = in_timespec(ms);
	struct pollfd ended = {.fd = fd, .events = POLLIN};

	syscall(SYS_ppoll, &ended, 1, &limit, NULL, 8);
}

/* A signal that only the mask of the call lets through, if it has one. */
static void be_interrupted(const struct call *call)
{
	struct wait wait = {.fd = ask("/fin/silent"), .beside = -1, .ms = LONG_MS};
	const struct itimerval once = {.it_value.tv_usec = 50000};
	sigset_t alarm, all;

	sigemptyset(&alarm);
	sigaddset(&alarm, SIGALRM);
	pthread_sigmask(call->has_mask ? SIG_BLOCK : SIG_UNBLOCK, &alarm, &all);
	sigdelset(&all, SIGALRM);
	wait.mask = &all;
	handled = 0;
	await_end_unseen(wait.fd, SHORT_MS);
	setitimer(ITIMER_REAL, &once, NULL);
	make_and_show(call, &wait);
	printf("handled %d times\n", handled);
	close(wait.fd);
}

static void interrupted(void)
{
	const struct sigaction action = {.sa_handler = handle};

	sigaction(SIGALRM, &action, NULL);
	for (size_t i = 0; i < COUNT(calls); i++)
		be_interrupted(&calls[i]);
}

/* Something else is ready, when the connection has ended as well. */
static void wait_for_both(const struct call *call, const char *path)
{
	int pipe_[2];

	if (pipe(pipe_) || write(pipe_[1], "x", 1) != 1)
		die("pipe");
	struct wait wait = {.fd = ask(path), .beside = pipe_[0], .ms = LONG_MS};
	await_end_unseen(wait.fd, SHORT_MS);
	make_and_show(call, &wait);
	show_bytes(wait.fd);
	close(wait.fd);
	close(pipe_[0]);
	close(pipe_[1]);
}

static void beside(void)
{
	for (size_t i = 0; i < COUNT(calls); i++)
		for (size_t j = 0; j < COUNT(ends); j++)
			wait_for_both(&calls[i], j ? "/rst/silent" : "/fin/silent");
}

/* ---- two threads ---- */

struct thread {
	pthread_t thread;
	_Atomic pid_t id;
	const struct call *call;
	struct wait wait;
};

static void *wait_in_thread(void *argument)
{
	struct thread *self = argument;

	self->id = gettid();
	make(self->call, &self->wait);
	return NULL;
}

static void *peek_in_thread(void *argument)
{
	struct thread *self = argument;
	char bytes[8];

	self->id = gettid();
	self->wait.result = (int)recv(self->wait.fd, bytes, sizeof(bytes), MSG_PEEK);
	return NULL;
}

static bool sleeps(const struct thread *thread)
{
	char name[64], text[256] = "";

	if (!thread->id)
		return false;
	snprintf(name, sizeof(name), "/proc/self/task/%d/stat", thread->id);
	int file = open(name, O_RDONLY);
	if (read(file, text, sizeof(text) - 1) < 0)
		die("stat");
	close(file);
	return strstr(text, ") S");
}

/* The connection ends when both sleep; the one that reads has it renewed. */
static void while_another_reads(const char *name)
{
	static struct thread waiter, reader;

	for (size_t i = 0; i < COUNT(calls); i++)
		if (!strcmp(calls[i].name, name))
			waiter.call = &calls[i];
	waiter.wait = (struct wait){.fd = ask("/fin/told"), .beside = -1, .ms = LONG_MS};
	reader.wait = waiter.wait;
	if (pthread_create(&waiter.thread, NULL, wait_in_thread, &waiter) ||
		pthread_create(&reader.thread, NULL, peek_in_thread, &reader))
		die("pthread_create");
	while (!sleeps(&waiter) || !sleeps(&reader))
		sched_yield();
	release();
	pthread_join(waiter.thread, NULL);
	pthread_join(reader.thread, NULL);
	show_wait(waiter.call, &waiter.wait);
	printf("peeked: %d\n", reader.wait.result);
	show("read", receive(waiter.wait.fd, true));
	close(waiter.wait.fd);
}

static void poll_while_another_reads(void)
{
	while_another_reads("poll");
}

static void select_while_another_reads(void)
{
	while_another_reads("select");
}

static void epoll_while_another_reads(void)
{
	while_another_reads("epoll_wait");
}

static const struct scenario scenarios[] = {
	{"answered", answered},
	{"silent", silent},
	{"interrupted", interrupted},
	{"beside", beside},
	{"poll_while_another_reads", poll_while_another_reads},
	{"select_while_another_reads", select_while_another_reads},
	{"epoll_while_another_reads", epoll_while_another_reads},
};

int main(int argc, char **argv)
{
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}

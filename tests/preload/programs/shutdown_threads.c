/* Threads that share a connection which one of them shuts down:
 *
 *	shutdown_threads SCENARIO PORT CONTROL_PORT RD|WR|RDWR [ROW]
 */
#include "shutdowns.h"
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/uio.h>

#define N_THREADS 8
#define N_TURNS   100

static int how;
static int fd = -1, set = -1, outer = -1;
static atomic_int tid;
static atomic_bool woken;
static char room[64], said[64], outcome[160];

/* ---- one that waits is woken ---- */

#define WAITS(name, expression)                                                                    \
	static long name(void)                                                                     \
	{                                                                                          \
		return (expression);                                                               \
	}

static struct iovec vector = {.iov_base = room, .iov_len = sizeof(room)};
static struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
static struct epoll_event event;

WAITS(in_recv, recv(fd, room, sizeof(room), 0))
WAITS(in_recv_whole, recv(fd, room, sizeof(room), MSG_WAITALL))
WAITS(in_read, read(fd, room, sizeof(room)))
WAITS(in_readv, readv(fd, &vector, 1))
WAITS(in_recvfrom, recvfrom(fd, room, sizeof(room), 0, NULL, NULL))
WAITS(in_recvmsg, recvmsg(fd, &message, 0))
WAITS(in_read_syscall, syscall(SYS_read, fd, room, sizeof(room)))
WAITS(in_raw_read, RAW_CALL(SYS_read, fd, room, sizeof(room)))
WAITS(in_epoll_wait, epoll_wait(set, &event, 1, -1))
WAITS(in_epoll_pwait, epoll_pwait(set, &event, 1, -1, NULL))
WAITS(in_epoll_pwait2, epoll_pwait2(set, &event, 1, NULL, NULL))
WAITS(in_epoll_syscall, syscall(SYS_epoll_wait, set, &event, 1, -1))
WAITS(in_outer_epoll, epoll_wait(outer, &event, 1, -1))

static long in_poll(void)
{
	struct pollfd polled = {.fd = fd, .events = POLLIN | POLLRDHUP};
	int result = poll(&polled, 1, -1);

	snprintf(said, sizeof(said), ", events %x", (unsigned)polled.revents);
	return result;
}

static long in_ppoll(void)
{
	struct pollfd polled = {.fd = fd, .events = POLLIN | POLLRDHUP};

	return ppoll(&polled, 1, NULL, NULL);
}

static long in_poll_of_epoll(void)
{
	struct pollfd polled = {.fd = set, .events = POLLIN};

	return poll(&polled, 1, -1);
}

static long select_on(int number)
{
	fd_set reading;

	FD_ZERO(&reading);
	FD_SET(number, &reading);
	return select(number + 1, &reading, NULL, NULL, NULL);
}

static long in_select(void)
{
	return select_on(fd);
}

static long in_select_of_epoll(void)
{
	return select_on(set);
}

static long in_pselect(void)
{
	fd_set reading;

	FD_ZERO(&reading);
	FD_SET(fd, &reading);
	return pselect(fd + 1, &reading, NULL, NULL, NULL, NULL);
}

static long in_splice(void)
{
	int ends[2];
	ssize_t result;

	if (pipe(ends))
		die("pipe");
	result = splice(fd, NULL, ends[1], NULL, 1, 0);
	close(ends[0]);
	close(ends[1]);
	return result;
}

static long in_fgetc(void)
{
	FILE *stream = fdopen(dup(fd), "r");
	int result = fgetc(stream);

	fclose(stream);
	return result;
}

static const struct waiting {
	const char *name;
	long (*wait)(void);
	bool unseen; /* by anyone: it is enough that it is woken when it is joined */
} waitings[] = {
	{"in_recv", in_recv, false},
	{"in_recv_whole", in_recv_whole, false},
	{"in_read", in_read, false},
	{"in_readv", in_readv, false},
	{"in_recvfrom", in_recvfrom, false},
	{"in_recvmsg", in_recvmsg, false},
	{"in_read_syscall", in_read_syscall, false},
	{"in_raw_read", in_raw_read, true},
	{"in_poll", in_poll, false},
	{"in_ppoll", in_ppoll, false},
	{"in_select", in_select, false},
	{"in_pselect", in_pselect, false},
	{"in_epoll_wait", in_epoll_wait, false},
	{"in_epoll_pwait", in_epoll_pwait, false},
	{"in_epoll_pwait2", in_epoll_pwait2, false},
	{"in_epoll_syscall", in_epoll_syscall, false},
	{"in_outer_epoll", in_outer_epoll, false},
	{"in_poll_of_epoll", in_poll_of_epoll, false},
	{"in_select_of_epoll", in_select_of_epoll, false},
	{"in_splice", in_splice, false},
	{"in_fgetc", in_fgetc, false},
};

static const struct waiting *waiting;

static void *wait_for_it(void *unused)
{
	long result;

	tid = gettid();
	result = waiting->wait();
	snprintf(outcome, sizeof(outcome), "%s: %ld %s%s", waiting->name, result,
		result < 0 ? strerrorname_np(errno) : "", said);
	woken = true;
	return unused;
}

static void await_sleep(void)
{
	char name[64], text[256];

	while (!tid)
		sched_yield();
	snprintf(name, sizeof(name), "/proc/self/task/%d/stat", tid);
	for (;;) {
		int file = open(name, O_RDONLY);
		ssize_t length = read(file, text, sizeof(text) - 1);

		close(file);
		text[length > 0 ? length : 0] = '\0';
		if (strstr(text, ") S"))
			return;
		sched_yield();
	}
}

static void make_sets(bool with_connection)
{
	struct epoll_event one = {.events = EPOLLIN | EPOLLRDHUP};

	set = epoll_create1(EPOLL_CLOEXEC);
	outer = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_ctl(outer, EPOLL_CTL_ADD, set, &one))
		die("epoll_ctl");
	if (with_connection && epoll_ctl(set, EPOLL_CTL_ADD, fd, &one))
		die("epoll_ctl");
}

static void close_sets(void)
{
	close(set);
	close(outer);
}

static void wake(const struct waiting *one)
{
	pthread_t thread;

	waiting = one;
	tid = 0;
	woken = false;
	said[0] = '\0';
	fd = dial_and_fetch();
	make_sets(true);
	pthread_create(&thread, NULL, wait_for_it, NULL);
	await_sleep();
	report("shutdown", shutdown(fd, how));
	while (!one->unseen && !woken)
		;
	pthread_join(thread, NULL);
	printf("%s\n", outcome);
	report("close", close(fd));
	close_sets();
}

static const char *row = "";

static void one_that_waits(void)
{
	for (size_t i = 0; i < COUNT(waitings); i++) {
		if (!strcmp(row, waitings[i].name))
			wake(&waitings[i]);
	}
}

/* ---- one that comes when it has been shut down sees that it has been ---- */

static atomic_int stage;

static void *look_at_it(void *unused)
{
	struct pollfd polled = {.events = POLLIN | POLLOUT | POLLRDHUP};

	while (stage != 1)
		;
	polled.fd = fd;
	report("poll", poll(&polled, 1, -1));
	printf("events %x\n", (unsigned)polled.revents);
	report("recv", recv(fd, room, sizeof(room), MSG_DONTWAIT));
	report("send", send(fd, "x", 1, MSG_NOSIGNAL));
	stage = 2;
	return unused;
}

static void one_that_comes(void)
{
	pthread_t thread;

	for (int i = 0; i < 20; i++) {
		stage = 0;
		pthread_create(&thread, NULL, look_at_it, NULL);
		fd = dial_and_fetch();
		shutdown(fd, how);
		stage = 1;
		while (stage != 2)
			;
		pthread_join(thread, NULL);
		report("close", close(fd));
	}
}

/* One that comes to wait, for this connection among others, while another one has shut it down and
 * does nothing more. */
static void *come_to_wait(void *unused)
{
	while (stage != 1)
		;
	report("epoll_wait", epoll_wait(set, &event, 1, -1));
	stage = 2;
	return unused;
}

static void one_that_comes_to_a_set(void)
{
	pthread_t thread;

	for (int i = 0; i < 20; i++) {
		stage = 0;
		fd = dial_and_fetch();
		make_sets(true);
		pthread_create(&thread, NULL, come_to_wait, NULL);
		shutdown(fd, how);
		stage = 1;
		while (stage != 2)
			;
		pthread_join(thread, NULL);
		report("close", close(fd));
		close_sets();
	}
}

/* ---- many, with epoll in others ---- */

static atomic_int answered, wrong;
static atomic_bool stop;

static bool ask(int number, int thread, int turn)
{
	struct response got;
	char path[64];

	snprintf(path, sizeof(path), "/echo/%d-%d", thread, turn);
	if (!request(number, "GET", path))
		return false;
	got = receive(number, true);
	return got.status == 200 && !strcmp(got.start, path + strlen("/echo/"));
}

/* Every third looks at it afterwards, and must find its end. */
static void *converse(void *number)
{
	int thread = (int)(intptr_t)number;
	struct epoll_event one = {.events = EPOLLIN | EPOLLONESHOT};

	for (int turn = 0; turn < N_TURNS; turn++) {
		int mine = dial();
		bool good = ask(mine, thread, turn);

		if (thread % 2)
			epoll_ctl(set, EPOLL_CTL_ADD, mine, &one);
		good = good && !shutdown(mine, how);
		if (turn % 3 == 0)
			good = good && recv(mine, room, 1, 0) == 0;
		if (thread % 2)
			epoll_ctl(set, EPOLL_CTL_DEL, mine, &one);
		good = good && !close(mine);
		answered += good;
		wrong += !good;
	}
	return NULL;
}

static void *watch(void *limit)
{
	struct epoll_event events[4];

	while (!stop)
		epoll_wait(set, events, 4, (int)(intptr_t)limit);
	return NULL;
}

static void many(void)
{
	pthread_t threads[N_THREADS], watchers[2];

	make_sets(false);
	for (int i = 0; i < 2; i++)
		pthread_create(&watchers[i], NULL, watch, (void *)(intptr_t)i);
	for (int i = 0; i < N_THREADS; i++)
		pthread_create(&threads[i], NULL, converse, (void *)(intptr_t)i);
	for (int i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
	stop = true;
	for (int i = 0; i < 2; i++)
		pthread_join(watchers[i], NULL);
	printf("%d answered, %d wrong\n", answered, wrong);
	close_sets();
}

/* One closes what another one shuts down: both may, in either order, and nothing of it is in what
 * comes next. */
static pthread_barrier_t together;

static void *shut_down_too(void *unused)
{
	for (int turn = 0; turn < N_TURNS; turn++) {
		pthread_barrier_wait(&together);
		shutdown(fd, how);
		pthread_barrier_wait(&together);
	}
	return unused;
}

static void closed_by_another(void)
{
	pthread_t thread;

	pthread_barrier_init(&together, NULL, 2);
	pthread_create(&thread, NULL, shut_down_too, NULL);
	for (int turn = 0; turn < N_TURNS; turn++) {
		fd = dial();
		wrong += !ask(fd, 0, turn);
		pthread_barrier_wait(&together);
		wrong += close(fd) != 0;
		pthread_barrier_wait(&together);
		fd = dial();
		wrong += !ask(fd, 1, turn);
		wrong += close(fd) != 0;
	}
	pthread_join(thread, NULL);
	printf("%d wrong\n", wrong);
}

/* Two threads shut down, and one reads: an end, whoever was first. */
static void shut_down_by_both(void)
{
	pthread_t thread;

	pthread_barrier_init(&together, NULL, 2);
	pthread_create(&thread, NULL, shut_down_too, NULL);
	for (int turn = 0; turn < N_TURNS; turn++) {
		fd = dial();
		wrong += !ask(fd, 0, turn);
		pthread_barrier_wait(&together);
		wrong += shutdown(fd, how) != 0;
		wrong += recv(fd, room, 1, 0) != 0;
		pthread_barrier_wait(&together);
		wrong += recv(fd, room, 1, 0) != 0;
		wrong += close(fd) != 0;
	}
	pthread_join(thread, NULL);
	printf("%d wrong\n", wrong);
}

static const struct scenario scenarios[] = {
	{"one_that_waits", one_that_waits},
	{"one_that_comes", one_that_comes},
	{"one_that_comes_to_a_set", one_that_comes_to_a_set},
	{"many", many},
	{"closed_by_another", closed_by_another},
	{"shut_down_by_both", shut_down_by_both},
};

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	alarm(LIMIT_S);
	how = how_of(argc > 4 ? argv[4] : "RDWR");
	row = argc > 5 ? argv[5] : "";
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}

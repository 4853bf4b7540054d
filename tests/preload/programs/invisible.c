/* Programs that make system calls by their number: SCENARIO PORT SECOND_PORT WAY.
 *
 * WAY is "syscall" (libc's syscall(), as libuv does) or "inline" (as compiled-in runtimes do).
 * What nobody saw must cost nothing but a connection: no file of the program's may be closed,
 * taken for another or have its bytes mixed up.
 */
#include "client.h"
#include "numbers.h"
#include "rawcall.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

static bool by_syscall;

static long call(long number, long a, long b, long c, long d, long e, long f)
{
	if (by_syscall)
		return syscall(number, a, b, c, d, e, f);
	return raw_call(number, a, b, c, d, e, f);
}

#define CALL(number, ...) CALL_6(number, __VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define CALL_6(number, a, b, c, d, e, f, ...)                                                      \
	call(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

static void visit_again(void)
{
	visit("/echo/again1");
	visit("/echo/again2");
}

static ssize_t read_all(int fd, char *data, size_t length, bool unseen)
{
	size_t done = 0;

	while (done < length) {
		ssize_t got = unseen ? CALL(SYS_read, fd, data + done, length - done)
				     : read(fd, data + done, length - done);
		if (got <= 0)
			return got;
		done += (size_t)got;
	}
	return (ssize_t)done;
}

#define HEAD "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
#define ASK  "GET /bytes/100 HTTP/1.1\r\nHost: loopback\r\n\r\n"

/* ---- closing ---- */

static void closes(void)
{
	for (int i = 0; i < 5; i++) {
		int fd = dial();

		fetch(fd, "/bytes/100");
		report("close", CALL(SYS_close, fd));
		report("close again", CALL(SYS_close, fd));
	}
	visit_again();
}

/* what takes the number of a connection that was closed */
static int replacement(int kind, int *other)
{
	int ends[2] = {-1, -1};

	*other = -1;
	switch (kind) {
	case 0:
		return open("/dev/zero", O_RDWR);
	case 1:
		return (int)CALL(SYS_openat, AT_FDCWD, "/dev/zero", O_RDWR);
	case 2:
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
			return -1;
		break;
	case 3:
		if (pipe(ends) || dup2(ends[0], ends[0]) < 0)
			return -1;
		break;
	default:
		return socket(AF_INET, SOCK_DGRAM, 0);
	}
	*other = ends[1];
	return ends[0];
}

static void number_is_something_else(void)
{
	for (int kind = 0; kind < 5; kind++) {
		struct stat before, after;
		int fd = dial();
		int next, other;

		fetch(fd, "/bytes/100");
		CALL(SYS_close, fd);
		next = replacement(kind, &other);
		printf("kind %d, same number: %d\n", kind, next == fd);
		fstat(next, &before);
		visit("/echo/meanwhile");
		fstat(next, &after);
		printf("same file: %d\n", before.st_ino == after.st_ino);
		report("flags", fcntl(next, F_GETFD));
		if (other >= 0)
			report("write", write(other, "x", 1));
		report("read", recv(next, (char[1]){0}, 1, MSG_DONTWAIT));
		report("close", close(next));
		report("close again", close(next));
		close(other);
	}
	visit_again();
}

/* The next connection gets the number of one that was in the middle of an exchange. */
static void number_is_next_connection(void)
{
	for (int i = 0; i < 3; i++) {
		int fd = dial();
		int next;

		request(fd, "GET", "/echo/never-read");
		CALL(SYS_close, fd);
		next = i == 1 ? dial_port(control_port) : dial();
		printf("same number: %d\n", next == fd);
		fetch(next, "/echo/next");
		report("close", close(next));
	}
	visit_again();
}

/* Here it is made unseen, too, so that the number's past is all that is known of it. */
static void number_is_unseen_connection(void)
{
	for (int i = 0; i < 6; i++) {
		struct sockaddr_in address = loopback(i % 2 ? control_port : port);
		int fd, next;

		visit("/echo/parked");
		fd = dial();
		if (i < 3)
			fetch(fd, "/echo/first");
		else
			request(fd, "GET", "/echo/never-read");
		CALL(SYS_close, fd);
		next = (int)CALL(SYS_socket, AF_INET, SOCK_STREAM, 0);
		printf("same number: %d\n", next == fd);
		if (i % 3)
			report("connect", CALL(SYS_connect, next, &address, sizeof(address)));
		else
			report("connect", connect_to(next, ntohs(address.sin_port)));
		fetch(next, "/echo/next");
		report("close", close(next));
	}
	visit_again();
}

/* A connection to somewhere else on the number of one that was closed, with as many bytes moved in
 * either direction: only its identity tells it from the one that was there.
 */
static void number_is_a_double(void)
{
	for (int i = 0; i < 3; i++) {
		struct sockaddr_in address = loopback(control_port);
		char answer[256] = "";
		int fd = dial();
		int twin;

		fetch(fd, "/bytes/100");
		RAW_CALL(SYS_close, fd);
		twin = (int)RAW_CALL(SYS_socket, AF_INET, SOCK_STREAM, 0);
		printf("same number: %d\n", twin == fd);
		RAW_CALL(SYS_connect, twin, &address, sizeof(address));
		RAW_CALL(SYS_write, twin, ASK, sizeof(ASK) - 1);
		report("answer", read_all(twin, answer, sizeof(HEAD) - 1 + 100, true));
		report("close", close(twin));
		visit("/echo/to-the-first-server");
	}
}

/* A socket that is connected unseen, on a number that is known. */
static void connects(void)
{
	struct sockaddr_in address = loopback(port);

	for (int i = 0; i < 3; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		report("connect", CALL(SYS_connect, fd, &address, sizeof(address)));
		report("again", connect(fd, (struct sockaddr *)&address, sizeof(address)));
		fetch(fd, "/echo/connected");
		report("close", close(fd));
	}
	visit_again();
}

static void closes_range(void)
{
	for (int i = 0; i < 3; i++) {
		int fd = dial();

		visit("/echo/parked");
		fetch(fd, "/echo/open");
		report("close_range", CALL(SYS_close_range, 3, ~0U, 0));
		report("closed", close(fd));
		printf("number: %d\n", open("/dev/null", O_RDWR) == 3);
		report("close", close(3));
	}
	visit_again();
}

/* ---- bytes ---- */

/* Which of request, head and body are moved unseen: each combination, and what comes after it. */
static void moves_bytes(void)
{
	for (int unseen = 0; unseen < 8; unseen++) {
		char data[sizeof(HEAD) + 100] = "";
		size_t head = sizeof(HEAD) - 1;
		int fd = dial();

		report("ask", unseen & 1 ? CALL(SYS_write, fd, ASK, sizeof(ASK) - 1)
					 : write(fd, ASK, sizeof(ASK) - 1));
		report("head", read_all(fd, data, head, unseen & 2));
		report("body", read_all(fd, data + head, 100, unseen & 4));
		printf("%d: %s\n", unseen, data);
		report("close", close(fd));
		visit("/echo/after");
	}
}

/* A whole exchange that nobody saw, between two that were seen. */
static void exchanges(void)
{
	for (int i = 0; i < 3; i++) {
		char data[sizeof(HEAD) + 100] = "";
		int fd = dial();

		fetch(fd, "/echo/before");
		report("ask", CALL(SYS_write, fd, ASK, sizeof(ASK) - 1));
		if (i)
			report("answer", read_all(fd, data, sizeof(HEAD) - 1 + 100, true));
		printf("%s\n", data);
		if (i == 1)
			fetch(fd, "/echo/after");
		report("close", close(fd));
		visit_again();
	}
}

/* ---- second holders ---- */

/* dup2() over a live connection closes it: the number is a file's now. */
static void over_connection(void)
{
	int null = open("/dev/null", O_RDWR);

	for (int i = 0; i < 4; i++) {
		int fd = dial();

		if (i % 2)
			fetch(fd, "/echo/over");
		else
			request(fd, "GET", "/echo/never-read");
		if (i < 2)
			printf("dup2: %d\n", CALL(SYS_dup2, null, fd) == fd);
		else
			printf("dup3: %d\n", CALL(SYS_dup3, null, fd, O_CLOEXEC) == fd);
		report("write", write(fd, "x", 1));
		report("read", read(fd, (char[1]){0}, 1));
		report("flags", fcntl(fd, F_GETFD));
		visit("/echo/meanwhile");
		report("close", close(fd));
		report("close again", close(fd));
	}
	visit_again();
}

/* One connection takes the number of another, and both numbers are used and closed. */
static void connection_over_connection(void)
{
	for (int i = 0; i < 4; i++) {
		int kept = dial();
		int over = i % 2 ? dial_port(control_port) : dial();
		int next;

		fetch(kept, "/echo/kept");
		fetch(over, "/echo/over");
		CALL(SYS_dup2, kept, over);
		fetch(over, "/echo/kept-by-second-number");
		report("close", close(i < 2 ? kept : over));
		next = dial();
		request(i < 2 ? over : kept, "GET", "/echo/still");
		fetch(next, "/echo/next");
		show("still", receive(i < 2 ? over : kept, true));
		report("close", close(i < 2 ? over : kept));
		report("close", close(next));
	}
	visit_again();
}

static int dup_of(int fd, int way)
{
	switch (way) {
	case 0:
		return (int)CALL(SYS_dup, fd);
	case 1:
		return (int)CALL(SYS_dup2, fd, 300);
	case 2:
		return (int)CALL(SYS_dup3, fd, 300, O_CLOEXEC);
	case 3:
		return (int)CALL(SYS_fcntl, fd, F_DUPFD, 300);
	default:
		return (int)CALL(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 300);
	}
}

/* The second number goes on with the connection while the next one is under way. */
static void second_goes_on(int fd, int second, int round)
{
	char path[32];
	int next;

	report("close", close(fd));
	next = dial();
	snprintf(path, sizeof(path), "/echo/second%d", round);
	request(second, "GET", path);
	snprintf(path, sizeof(path), "/echo/next%d", round);
	request(next, "GET", path);
	show("next", receive(next, true));
	show("second", receive(second, true));
	close(next);
	close(second);
}

static void dups(void)
{
	for (int way = 0; way < 5; way++) {
		int fd = dial();

		fetch(fd, "/echo/first");
		second_goes_on(fd, dup_of(fd, way), way);
	}
	visit_again();
}

static void pass(int channel, int fd)
{
	char byte = 'x', control[CMSG_SPACE(sizeof(int))] = "";
	struct msghdr message = {
		.msg_iov = &(struct iovec){&byte, 1},
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *rights = CMSG_FIRSTHDR(&message);

	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(rights), &fd, sizeof(fd));
	report("sendmsg", CALL(SYS_sendmsg, channel, &message, 0));
}

static int passed(int channel)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct msghdr message = {
		.msg_iov = &(struct iovec){&byte, 1},
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	int fd = -1;

	report("recvmsg", recvmsg(channel, &message, 0));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	return fd;
}

static void passes(void)
{
	int channel[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, channel))
		die("socketpair");
	for (int i = 0; i < 3; i++) {
		int fd = dial();

		fetch(fd, "/echo/first");
		pass(channel[0], fd);
		second_goes_on(fd, passed(channel[1]), i);
	}
	visit_again();
}

/* ---- the state of a connection ---- */

static void shuts_down(void)
{
	static const int hows[] = {SHUT_RD, SHUT_WR, SHUT_RDWR};

	for (size_t i = 0; i < COUNT(hows); i++) {
		int fd = dial();

		fetch(fd, "/echo/first");
		report("shutdown", CALL(SYS_shutdown, fd, hows[i]));
		report("close", close(fd));
		visit("/echo/next");
	}
}

static void sets_flags(void)
{
	for (int i = 0; i < 6; i++) {
		int fd = dial();
		int next;

		fetch(fd, "/echo/first");
		switch (i) {
		case 0:
			CALL(SYS_fcntl, fd, F_SETFL, O_NONBLOCK);
			break;
		case 1:
			CALL(SYS_fcntl, fd, F_SETFD, FD_CLOEXEC);
			break;
		case 2:
			CALL(SYS_ioctl, fd, FIONBIO, &(int){1});
			break;
		case 3:
			CALL(SYS_ioctl, fd, FIOCLEX);
			break;
		case 4:
			CALL(SYS_fcntl, fd, F_SETFL, O_ASYNC);
			break;
		default:
			CALL(SYS_ioctl, fd, FIOASYNC, &(int){1});
		}
		report("close", close(fd));
		next = dial();
		printf("status flags %x, descriptor flags %x\n", fcntl(next, F_GETFL),
			fcntl(next, F_GETFD));
		fetch(next, "/echo/next");
		close(next);
	}
}

static void sets_owner(void)
{
	for (int i = 0; i < 2; i++) {
		int fd = dial();
		int next;

		fetch(fd, "/echo/first");
		if (i)
			CALL(SYS_ioctl, fd, FIOSETOWN, &(int){getpid()});
		else
			CALL(SYS_fcntl, fd, F_SETOWN, getpid());
		close(fd);
		next = dial();
		printf("owner: %d\n", fcntl(next, F_GETOWN) != 0);
		fetch(next, "/echo/next");
		close(next);
	}
}

static int timeout_of(int fd)
{
	struct timeval timeout = {0};
	socklen_t size = sizeof(timeout);

	getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, &size);
	return (int)timeout.tv_sec;
}

static void sets_options(void)
{
	for (int i = 0; i < 3; i++) {
		struct timeval timeout = {.tv_sec = 50 + i};
		int fd = dial();

		printf("timeout: %d\n", timeout_of(fd));
		report("setsockopt", CALL(SYS_setsockopt, fd, SOL_SOCKET, SO_RCVTIMEO, &timeout,
					     sizeof(timeout)));
		printf("timeout: %d\n", timeout_of(fd));
		fetch(fd, "/echo/first");
		close(fd);
	}
	visit_again();
}

static void watches(void)
{
	int set = epoll_create1(0);

	for (int i = 0; i < 3; i++) {
		struct epoll_event event = {.events = EPOLLOUT, .data.u32 = 77};
		int fd = dial();

		report("add", CALL(SYS_epoll_ctl, set, EPOLL_CTL_ADD, fd, &event));
		fetch(fd, "/echo/first");
		report("close", close(fd));
		report("events", epoll_wait(set, &event, 1, 0));
		visit("/echo/next");
		report("events", epoll_wait(set, &event, 1, 0));
	}
}

/* ---- hidden numbers ---- */

#define FREE_NUMBER 700

/* Files of the program's on numbers that something hidden had a moment ago, and their life. */
struct taken {
	int number;
	int other; /* the other end, if it has one */
	ino_t inode;
};

static int unseen_connection(void)
{
	struct sockaddr_in address = loopback(port);
	int fd = (int)CALL(SYS_socket, AF_INET, SOCK_STREAM, 0);

	if (CALL(SYS_connect, fd, &address, sizeof(address)))
		die("connect");
	return fd;
}

static struct taken take(int number, int kind)
{
	struct taken taken = {.number = number};
	int fd = kind == 5 ? unseen_connection() : replacement(kind, &taken.other);
	struct stat status;

	if (kind == 5)
		taken.other = -1;
	CALL(SYS_dup2, fd, number);
	CALL(SYS_close, fd);
	fstat(number, &status);
	taken.inode = status.st_ino;
	return taken;
}

static void check(struct taken taken, int kind)
{
	struct stat status = {0};
	char byte = 0;

	fstat(taken.number, &status);
	printf("kind %d, same file: %d\n", kind, status.st_ino == taken.inode);
	report("flags", fcntl(taken.number, F_GETFD));
	if (kind == 5) {
		fetch(taken.number, "/echo/taken");
		return;
	}
	if (taken.other >= 0)
		report("write", write(taken.other, "z", 1));
	if (taken.other >= 0 || kind < 2)
		report("read", read(taken.number, &byte, 1));
	printf("byte: %02x\n", (unsigned char)byte);
}

static void six_at_once(int to_port)
{
	int fds[6];

	for (size_t i = 0; i < COUNT(fds); i++)
		fds[i] = dial_port(to_port);
	for (size_t i = 0; i < COUNT(fds); i++) {
		fetch(fds[i], "/bytes/10");
		report("close", close(fds[i]));
	}
}

#define KINDS 6

/* The numbers that are hidden, and as many that are free where nothing is. */
static void find_hidden(int *found)
{
	static int open_ones[MAX_HIDDEN];
	size_t n = open_numbers(3, open_ones);

	for (size_t i = 0; i < KINDS; i++)
		found[i] = i < n ? open_ones[i] : FREE_NUMBER + (int)i;
}

/* Hidden numbers are the program's now; what is left of their past is used, found out, evicted. */
static void take_hidden_numbers(bool closed_first, int first_kind)
{
	struct taken taken[KINDS];
	int found[KINDS];

	six_at_once(port);
	find_hidden(found);
	if (closed_first)
		CALL(SYS_close_range, 100, ~0U, 0);
	for (int i = 0; i < KINDS; i++)
		taken[i] = take(found[i], (first_kind + i) % KINDS);
	for (int i = 0; i < KINDS; i++)
		check(taken[i], (first_kind + i) % KINDS);
	/* What is parked now drives out the oldest, where there is no room for all. */
	six_at_once(control_port);
	for (int i = 0; i < KINDS; i++)
		check(taken[i], (first_kind + i) % KINDS);
	six_at_once(port);
	visit_again();
	for (int i = 0; i < KINDS; i++) {
		check(taken[i], (first_kind + i) % KINDS);
		report("close", close(taken[i].number));
		report("close again", close(taken[i].number));
		close(taken[i].other);
	}
	six_at_once(port);
	visit_again();
}

static void hidden_numbers_taken(bool closed_first)
{
	for (int first_kind = 0; first_kind < KINDS; first_kind++)
		take_hidden_numbers(closed_first, first_kind);
}

static void hidden_replaced(void)
{
	hidden_numbers_taken(false);
}

static void hidden_closed(void)
{
	hidden_numbers_taken(true);
}

static const struct scenario scenarios[] = {
	{"closes", closes},
	{"number_is_something_else", number_is_something_else},
	{"number_is_next_connection", number_is_next_connection},
	{"number_is_unseen_connection", number_is_unseen_connection},
	{"number_is_a_double", number_is_a_double},
	{"connects", connects},
	{"closes_range", closes_range},
	{"moves_bytes", moves_bytes},
	{"exchanges", exchanges},
	{"over_connection", over_connection},
	{"connection_over_connection", connection_over_connection},
	{"dups", dups},
	{"passes", passes},
	{"shuts_down", shuts_down},
	{"sets_flags", sets_flags},
	{"sets_owner", sets_owner},
	{"sets_options", sets_options},
	{"watches", watches},
	{"hidden_replaced", hidden_replaced},
	{"hidden_closed", hidden_closed},
};

int main(int argc, char **argv)
{
	by_syscall = argc > 4 && !strcmp(argv[4], "syscall");
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}

/* Non-blocking clients: how connect() answers, and what poll, select and epoll say after it. */
#include "client.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>

#define ROUNDS 5

static int start_connect(int fd)
{
	int result = connect_to(fd, port);

	report("connect", result);
	return result;
}

static void report_so_error(int fd)
{
	int error = -1;
	socklen_t length = sizeof(error);

	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
	printf("SO_ERROR: %d\n", error);
}

static int new_socket(void)
{
	return socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static void await(int fd, short events)
{
	struct pollfd one = {.fd = fd, .events = events};

	poll(&one, 1, -1);
	printf("poll: %x\n", (unsigned)one.revents);
}

/* The rest of a life, in blocking style: what matters here is over. */
static void finish(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	fetch(fd, "/bytes/100");
	report("close", close(fd));
}

static void with_poll(void)
{
	int fd = new_socket();

	start_connect(fd);
	await(fd, POLLIN | POLLOUT | POLLRDHUP);
	report_so_error(fd);
	finish(fd);
}

static void with_select(void)
{
	int fd = new_socket();
	fd_set readable, writable;
	struct timeval no_time = {0};

	start_connect(fd);
	FD_ZERO(&writable);
	FD_SET(fd, &writable);
	report("select", select(fd + 1, NULL, &writable, NULL, NULL));
	FD_ZERO(&readable);
	FD_SET(fd, &readable);
	report("select readable", select(fd + 1, &readable, NULL, NULL, &no_time));
	report_so_error(fd);
	finish(fd);
}

/* 0 once, then EISCONN: how ab, lynx, ruby and redis-cli collect the result */
static void with_second_connect(void)
{
	int fd = new_socket();

	start_connect(fd);
	await(fd, POLLOUT);
	start_connect(fd);
	start_connect(fd);
	report_so_error(fd);
	finish(fd);
}

static void with_so_error_before(void)
{
	int fd = new_socket();

	report_so_error(fd);
	start_connect(fd);
	await(fd, POLLOUT);
	report_so_error(fd);
	report_so_error(fd);
	finish(fd);
}

/* The life before asked only once how its connect() went: nothing of that is left for this one. */
static void with_blocking_next(void)
{
	int fd = new_socket();

	start_connect(fd);
	await(fd, POLLOUT);
	finish(fd);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	for (int i = 0; i < 3; i++)
		start_connect(fd);
	finish(fd);
}

/* FIONBIO-like: made non-blocking after socket(), blocking again after connect() */
static void with_toggles(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);

	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	start_connect(fd);
	await(fd, POLLOUT);
	report_so_error(fd);
	printf("flags: %x\n", (unsigned)fcntl(fd, F_GETFL));
	finish(fd);
}

/* Nothing to read on a connection that was never asked for anything. */
static void with_early_read(void)
{
	int fd = new_socket();
	char byte;

	start_connect(fd);
	await(fd, POLLOUT);
	report("recv", recv(fd, &byte, 1, 0));
	finish(fd);
}

static void watch(int epfd, int operation, int fd, unsigned events, uint64_t data)
{
	struct epoll_event event = {.events = events, .data.u64 = data};

	report("epoll_ctl", epoll_ctl(epfd, operation, fd, &event));
}

/* Until one of events comes for the data that was registered; anything else is printed. */
static void await_event(int epfd, unsigned events, uint64_t data)
{
	struct epoll_event event = {0};

	do {
		int n = epoll_wait(epfd, &event, 1, 10000);

		if (n != 1 || event.data.u64 != data) {
			printf("epoll_wait: %d, data %llu\n", n,
				(unsigned long long)event.data.u64);
			return;
		}
	} while (!(event.events & events));
	printf("epoll_wait: %x\n", event.events & (events | EPOLLERR | EPOLLHUP | EPOLLRDHUP));
}

/* A whole life on one epoll set: registered before or after connect(), level or edge. */
static void with_epoll(int epfd, bool before, unsigned edge)
{
	static uint64_t life;
	unsigned events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | edge;
	int fd = new_socket();

	life++;
	if (before)
		watch(epfd, EPOLL_CTL_ADD, fd, events, life);
	start_connect(fd);
	if (!before)
		watch(epfd, EPOLL_CTL_ADD, fd, events, life);
	await_event(epfd, EPOLLOUT, life);
	report_so_error(fd);
	request(fd, "GET", "/bytes/100");
	await_event(epfd, EPOLLIN, life);
	show("/bytes/100", receive(fd, true));
	watch(epfd, EPOLL_CTL_MOD, fd, EPOLLIN | edge, life + 1000);
	request(fd, "GET", "/bytes/200");
	await_event(epfd, EPOLLIN, life + 1000);
	show("/bytes/200", receive(fd, true));
	watch(epfd, EPOLL_CTL_ADD, fd, EPOLLIN, 0);
	watch(epfd, EPOLL_CTL_DEL, fd, 0, 0);
	report("close", close(fd));
}

static int epoll_set(void)
{
	static int epfd = -1;

	return epfd >= 0 ? epfd : (epfd = epoll_create1(EPOLL_CLOEXEC));
}

static void with_epoll_after_level(void)
{
	with_epoll(epoll_set(), false, 0);
}

static void with_epoll_after_edge(void)
{
	with_epoll(epoll_set(), false, EPOLLET);
}

static void with_epoll_before_level(void)
{
	with_epoll(epoll_set(), true, 0);
}

static void with_epoll_before_edge(void)
{
	with_epoll(epoll_set(), true, EPOLLET);
}

/* ONESHOT is spent state inside the kernel: it must not come back to life */
static void with_epoll_oneshot(void)
{
	int fd = new_socket();
	struct epoll_event event;

	watch(epoll_set(), EPOLL_CTL_ADD, fd, EPOLLOUT | EPOLLONESHOT, 7);
	start_connect(fd);
	await_event(epoll_set(), EPOLLOUT, 7);
	report("again", epoll_wait(epoll_set(), &event, 1, 0));
	watch(epoll_set(), EPOLL_CTL_MOD, fd, EPOLLOUT | EPOLLONESHOT, 8);
	await_event(epoll_set(), EPOLLOUT, 8);
	finish(fd);
	report("after close", epoll_wait(epoll_set(), &event, 1, 0));
}

/* One socket in two sets, under different data, before it is connected. */
static void with_two_sets(void)
{
	int other = epoll_create1(0);
	int fd = new_socket();

	watch(epoll_set(), EPOLL_CTL_ADD, fd, EPOLLOUT, 1);
	watch(other, EPOLL_CTL_ADD, fd, EPOLLOUT | EPOLLET, 2);
	start_connect(fd);
	await_event(epoll_set(), EPOLLOUT, 1);
	await_event(other, EPOLLOUT, 2);
	finish(fd);
	close(other);
}

static void refused(void)
{
	int unused = socket(AF_INET, SOCK_STREAM, 0);
	int fd = new_socket();
	struct sockaddr_in address = loopback(0);
	socklen_t length = sizeof(address);

	/* bound but not listening: nobody else can start to listen there meanwhile */
	bind(unused, (struct sockaddr *)&address, length);
	getsockname(unused, (struct sockaddr *)&address, &length);
	report("connect", connect(fd, (struct sockaddr *)&address, length));
	await(fd, POLLOUT);
	report_so_error(fd);
	report_so_error(fd);
	close(fd);
	close(unused);
}

static const struct scenario scenarios[] = {
	{"poll", with_poll},
	{"select", with_select},
	{"second_connect", with_second_connect},
	{"so_error_before", with_so_error_before},
	{"blocking_next", with_blocking_next},
	{"toggles", with_toggles},
	{"early_read", with_early_read},
	{"epoll_after_level", with_epoll_after_level},
	{"epoll_after_edge", with_epoll_after_edge},
	{"epoll_before_level", with_epoll_before_level},
	{"epoll_before_edge", with_epoll_before_edge},
	{"epoll_oneshot", with_epoll_oneshot},
	{"two_sets", with_two_sets},
	{"refused", refused},
};

int main(int argc, char **argv)
{
	int status = 0;

	for (int i = 0; i < ROUNDS && !status; i++)
		status = run_scenario(argc, argv, scenarios, COUNT(scenarios));
	return status;
}

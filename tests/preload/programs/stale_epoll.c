/* Clients that close() a descriptor while an epoll set still watches it. */
#include "client.h"
#include <sys/epoll.h>

static void watch(int epfd, int fd, uint64_t data)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.u64 = data};

	report("add", epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event));
}

static void report_events(const char *when, int epfd)
{
	struct epoll_event events[4];
	int n = epoll_wait(epfd, events, COUNT(events), 0);

	printf("%s: %d events\n", when, n);
	for (int i = 0; i < n; i++)
		printf("data %llu\n", (unsigned long long)events[i].data.u64);
}

/* The server goes on sending to (or ends) the connection that was closed here. */
static void after_close(void)
{
	int epfd = epoll_create1(0);
	int fd = dial();

	watch(epfd, fd, 1);
	fetch(fd, "/bytes/100");
	report("close", close(fd));
	report_events("before", epfd);
	release();
	report_events("after", epfd);
}

/* The same descriptor number lives again, and is watched again. */
static void reconnected(void)
{
	int epfd = epoll_create1(0);

	for (uint64_t life = 1; life <= 5; life++) {
		int fd = dial();

		watch(epfd, fd, life);
		request(fd, "GET", "/bytes/100");
		recv(fd, &(char){0}, 1, MSG_PEEK);
		report_events("answered", epfd);
		show("/bytes/100", receive(fd, true));
		report_events("read", epfd);
		report("close", close(fd));
		report_events("closed", epfd);
	}
}

/* The set is watched through another number than the program's first one. */
static void through_dup_of_set(void)
{
	int first = epoll_create1(0);
	int epfd = dup(first);
	int fd = dial();

	watch(epfd, fd, 1);
	close(epfd);
	fetch(fd, "/bytes/100");
	report("close", close(fd));
	release();
	report_events("after", first);
	visit("/bytes/100");
	report_events("again", first);
}

/* The set is itself watched by another set. */
static void nested(void)
{
	int inner = epoll_create1(0);
	int outer = epoll_create1(0);
	int fd = dial();

	watch(outer, inner, 1);
	watch(inner, fd, 2);
	fetch(fd, "/bytes/100");
	report("close", close(fd));
	release();
	report_events("outer", outer);
	report_events("inner", inner);
}

/* The set is gone, and its number is something else, before the socket is closed. */
static void set_closed_first(void)
{
	int epfd = epoll_create1(0);
	int fd = dial();
	int other, quiet[2];

	report("pipe", pipe(quiet));
	watch(epfd, fd, 1);
	fetch(fd, "/bytes/100");
	close(epfd);
	other = epoll_create1(0);
	watch(other, quiet[0], 3);
	report("close", close(fd));
	report_events("other", other);
	visit("/bytes/100");
}

/* The set goes on under another number, and its old one is another set, which watches as well. */
static void set_moved(void)
{
	int number = epoll_create1(0);
	int moved = dup(number);
	int fd = dial();

	watch(number, fd, 1);
	close(number);
	printf("same number: %d\n", epoll_create1(0) == number);
	watch(number, fd, 2);
	fetch(fd, "/bytes/100");
	report("close", close(fd));
	fd = dial();
	request(fd, "GET", "/bytes/100");
	recv(fd, &(char){0}, 1, MSG_PEEK);
	report_events("moved", moved);
	report_events("other", number);
	show("/bytes/100", receive(fd, true));
	close(fd);
}

static const struct scenario scenarios[] = {
	{"after_close", after_close},
	{"reconnected", reconnected},
	{"through_dup_of_set", through_dup_of_set},
	{"nested", nested},
	{"set_closed_first", set_closed_first},
	{"set_moved", set_moved},
};

int main(int argc, char **argv)
{
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}

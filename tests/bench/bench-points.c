/* What a connection to one of many places costs, in nanoseconds: COUNT. Exchanges something with
 * each of COUNT addresses of one server, each on a connection of its own, and then connects to
 * them and closes. Prints a line per measurement: its name and the nanoseconds of one round; and
 * how many connections the server has seen in all.
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/bench.h"

#define ROUNDS 20000

static struct sockaddr_in server = {.sin_family = AF_INET};
static _Atomic int *accepted;
static int count;

/* ---- the server, a process of its own ---- */

static void add(int epfd, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	check(epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) < 0, "epoll_ctl");
}

static void answer(int fd)
{
	char request[sizeof(REQUEST)];

	if (recv(fd, request, sizeof(REQUEST) - 1, MSG_WAITALL) > 0)
		check(send(fd, RESPONSE, sizeof(RESPONSE) - 1, MSG_NOSIGNAL) < 0, "send");
	else
		close(fd);
}

static void serve(int listener)
{
	struct epoll_event event;
	int epfd = epoll_create1(0);

	check(epfd < 0, "epoll_create1");
	add(epfd, listener);
	for (;;) {
		check(epoll_wait(epfd, &event, 1, -1) < 0, "epoll_wait");
		if (event.data.fd != listener) {
			answer(event.data.fd);
			continue;
		}
		int fd = accept(listener, NULL, NULL);
		check(fd < 0, "accept");
		atomic_fetch_add(accepted, 1);
		add(epfd, fd);
	}
}

static pid_t start_server(void)
{
	/* At its end thousands of connections are reset, instead of lying in TIME_WAIT. */
	const struct linger linger = {.l_onoff = 1};
	socklen_t size = sizeof(server);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	accepted = mmap(
		NULL, sizeof(*accepted), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(accepted == MAP_FAILED, "mmap");
	check(listener < 0, "socket");
	check(setsockopt(listener, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) < 0,
		"setsockopt");
	check(bind(listener, (struct sockaddr *)&server, size) < 0, "bind");
	check(listen(listener, 4096) < 0, "listen");
	check(getsockname(listener, (struct sockaddr *)&server, &size) < 0, "getsockname");
	pid_t child = fork();
	check(child < 0, "fork");
	if (child == 0) {
		check(prctl(PR_SET_PDEATHSIG, SIGKILL) < 0, "prctl");
		serve(listener);
	}
	close(listener);
	return child;
}

/* ---- the client ---- */

/* To address NUMBER of the server: 127.1.0.0 and those that follow. */
static int open_connection(int number)
{
	struct sockaddr_in address = server;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(0x7f010000 + (unsigned)number);
	check(fd < 0, "socket");
	check(connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0, "connect");
	return fd;
}

static void exchange_with(int number)
{
	char response[sizeof(RESPONSE)];
	int fd = open_connection(number);

	check(send(fd, REQUEST, sizeof(REQUEST) - 1, MSG_NOSIGNAL) < 0, "send");
	check(recv(fd, response, sizeof(RESPONSE) - 1, MSG_WAITALL) < 0, "recv");
	close(fd);
}

static int same_one(int round)
{
	(void)round;
	return count / 2;
}

static int each_in_turn(int round)
{
	return round % count;
}

static void measure(const char *name, int (*choose)(int))
{
	for (int round = 0; round < count; round++)
		close(open_connection(choose(round)));
	double start = now_ns();
	for (int round = 0; round < ROUNDS; round++)
		close(open_connection(choose(round)));
	printf("%s %.1f\n", name, (now_ns() - start) / ROUNDS);
}

int main(int argc, char **argv)
{
	count = argc == 2 ? atoi(argv[1]) : 0;
	if (count < 1 || count > 65536)
		errx(2, "usage: bench-points COUNT");
	pid_t child = start_server();
	for (int number = 0; number < count; number++)
		exchange_with(number);
	measure("points-same", same_one);
	measure("points-in-turn", each_in_turn);
	printf("connections %d\n", atomic_load(accepted));
	check(kill(child, SIGKILL) < 0 || waitpid(child, NULL, 0) < 0, "kill");
	return 0;
}

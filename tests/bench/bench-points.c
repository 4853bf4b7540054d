/* What a reused connection costs among many that are parked: COUNT ROUNDS WHERE. Exchanges
 * something on COUNT connections, and then connects and closes, ROUNDS times. WHERE is
 *
 *      apart           each to an address of its own, of one server, one after the other
 *      together        all to one address, and all at the same time
 *
 * Prints a line per measurement: its name and the nanoseconds of one round; and how many bytes of
 * memory this process has to itself when all are parked, and how many connections the server has
 * seen in all.
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/bench.h"

static struct sockaddr_in server = {.sin_family = AF_INET};
static _Atomic int *accepted;
static int count, rounds, together;

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

/* To address NUMBER of the server: 127.1.0.0 and those that follow, if there are more. */
static int open_connection(int number)
{
	struct sockaddr_in address = server;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(0x7f010000 + (together ? 0 : (unsigned)number));
	check(fd < 0, "socket");
	check(connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0, "connect");
	return fd;
}

static int exchange_with(int number)
{
	char response[sizeof(RESPONSE)];
	int fd = open_connection(number);

	check(send(fd, REQUEST, sizeof(REQUEST) - 1, MSG_NOSIGNAL) < 0, "send");
	check(recv(fd, response, sizeof(RESPONSE) - 1, MSG_WAITALL) < 0, "recv");
	return fd;
}

static void park_all(void)
{
	int *open = calloc((size_t)count, sizeof(*open));

	check(!open, "calloc");
	for (int number = 0; number < count; number++) {
		open[number] = exchange_with(number);
		if (!together)
			close(open[number]);
	}
	for (int number = 0; together && number < count; number++)
		close(open[number]);
	free(open);
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
	for (int round = 0; round < rounds; round++)
		close(open_connection(choose(round)));
	printf("%s %.1f\n", name, (now_ns() - start) / rounds);
}

/* Bytes; of what has been written to. */
static long private_memory(void)
{
	char line[256];
	long kib = 0, size;
	FILE *file = fopen("/proc/self/smaps_rollup", "re");

	check(!file, "/proc/self/smaps_rollup");
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "Private_Dirty: %ld kB", &size) == 1)
			kib += size;
	fclose(file);
	return kib * 1024;
}

int main(int argc, char **argv)
{
	count = argc == 4 ? atoi(argv[1]) : 0;
	rounds = argc == 4 ? atoi(argv[2]) : 0;
	together = argc == 4 && strcmp(argv[3], "together") == 0;
	if (count < 1 || count > 65536 || rounds < 1 ||
		(!together && strcmp(argv[3], "apart") != 0))
		errx(2, "usage: bench-points COUNT ROUNDS apart|together");
	pid_t child = start_server();
	park_all();
	printf("private %ld\n", private_memory());
	measure("points-same", same_one);
	measure("points-in-turn", each_in_turn);
	printf("connections %d\n", atomic_load(accepted));
	check(kill(child, SIGKILL) < 0 || waitpid(child, NULL, 0) < 0, "kill");
	return 0;
}

/* How long the first byte of an answer takes on a reused connection, in nanoseconds: from before
 * the request is sent. For each line that it reads it opens, uses and closes connections to a
 * server of its own, one after the other, and prints the median of them. scripts/bench runs it
 * with SP_REPLAY=1 and 0 in turn.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/bench.h"

#define ROUNDS 101

static unsigned accepted;

/* One connection after the other. */
static void *serve(void *listener)
{
	char request[sizeof(REQUEST)];

	for (;;) {
		int fd = accept(*(int *)listener, NULL, NULL);
		check(fd < 0, "accept");
		accepted++;
		while (recv(fd, request, sizeof(REQUEST) - 1, MSG_WAITALL) > 0)
			check(send(fd, RESPONSE, sizeof(RESPONSE) - 1, MSG_NOSIGNAL) < 0, "send");
		close(fd);
	}
	return NULL;
}

static struct sockaddr_in start_server(void)
{
	static int listener;
	struct sockaddr_in server = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(server);
	pthread_t thread;

	listener = socket(AF_INET, SOCK_STREAM, 0);
	check(listener < 0, "socket");
	check(bind(listener, (struct sockaddr *)&server, size) < 0, "bind");
	check(listen(listener, 16) < 0, "listen");
	check(getsockname(listener, (struct sockaddr *)&server, &size) < 0, "getsockname");
	check(pthread_create(&thread, NULL, serve, &listener) != 0, "pthread_create");
	return server;
}

static double use(const struct sockaddr_in *server)
{
	char response[sizeof(RESPONSE)];
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	check(fd < 0, "socket");
	check(connect(fd, (const struct sockaddr *)server, sizeof(*server)) < 0, "connect");
	double start = now_ns();
	check(send(fd, REQUEST, sizeof(REQUEST) - 1, MSG_NOSIGNAL) < 0, "send");
	check(recv(fd, response, sizeof(response), 0) != sizeof(RESPONSE) - 1, "recv");
	double taken = now_ns() - start;
	close(fd);
	return taken;
}

static int compare(const void *one, const void *other)
{
	double left = *(const double *)one, right = *(const double *)other;

	return left < right ? -1 : left > right;
}

int main(void)
{
	const struct sockaddr_in server = start_server();
	double taken[ROUNDS];

	use(&server);
	for (int byte; (byte = getchar()) != EOF;) {
		if (byte != '\n')
			continue;
		for (int round = 0; round < ROUNDS; round++)
			taken[round] = use(&server);
		qsort(taken, ROUNDS, sizeof(taken[0]), compare);
		printf("%.1f %u\n", taken[ROUNDS / 2], accepted);
		fflush(stdout);
	}
	return 0;
}

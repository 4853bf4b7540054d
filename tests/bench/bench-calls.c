/* What a call costs, in nanoseconds: run without and with the library by scripts/bench. Prints a
 * line per measurement: its name and the nanoseconds of one round. With a number N it makes an Nth
 * of the rounds.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/bench.h"

static struct sockaddr_in server;

/* Answers one request after the other on one connection after the other. */
static void *serve(void *listener)
{
	char request[sizeof(REQUEST)];

	for (;;) {
		int fd = accept(*(int *)listener, NULL, NULL);
		check(fd < 0, "accept");
		while (recv(fd, request, sizeof(REQUEST) - 1, MSG_WAITALL) > 0)
			check(send(fd, RESPONSE, sizeof(RESPONSE) - 1, MSG_NOSIGNAL) < 0, "send");
		close(fd);
	}
	return NULL;
}

static void start_server(void)
{
	static int listener;
	socklen_t size = sizeof(server);
	pthread_t thread;

	server = (struct sockaddr_in){
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	listener = socket(AF_INET, SOCK_STREAM, 0);
	check(listener < 0, "socket");
	check(bind(listener, (struct sockaddr *)&server, size) < 0, "bind");
	check(listen(listener, 4096) < 0, "listen");
	check(getsockname(listener, (struct sockaddr *)&server, &size) < 0, "getsockname");
	check(pthread_create(&thread, NULL, serve, &listener) != 0, "pthread_create");
}

static int open_connection(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	check(fd < 0, "socket");
	check(connect(fd, (struct sockaddr *)&server, sizeof(server)) < 0, "connect");
	return fd;
}

static void exchange(int fd)
{
	char response[sizeof(RESPONSE)];

	check(send(fd, REQUEST, sizeof(REQUEST) - 1, MSG_NOSIGNAL) < 0, "send");
	check(recv(fd, response, sizeof(RESPONSE) - 1, MSG_WAITALL) < 0, "recv");
}

static void read_file(void)
{
	static int fd = -1;
	char byte;

	if (fd < 0)
		fd = open("/dev/zero", O_RDONLY);
	check(read(fd, &byte, 1) != 1, "read");
}

static void write_file(void)
{
	static int fd = -1;

	if (fd < 0)
		fd = open("/dev/null", O_WRONLY);
	check(write(fd, "", 1) != 1, "write");
}

/* A byte that stays where it is. */
static void recv_unix(void)
{
	static int pair[2];
	char byte;

	if (!pair[0]) {
		check(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0, "socketpair");
		check(send(pair[1], "", 1, 0) != 1, "send");
	}
	check(recv(pair[0], &byte, 1, MSG_PEEK) != 1, "recv");
}

static void close_file(void)
{
	int fd = open("/dev/null", O_RDONLY);

	check(fd < 0 || close(fd) < 0, "close");
}

static void close_bad_number(void)
{
	close(-1);
}

static void connect_and_close(void)
{
	static int used;
	int fd = open_connection();

	/* Only a connection on which something was exchanged is parked. */
	if (!used++)
		exchange(fd);
	close(fd);
}

static void connect_exchange_and_close(void)
{
	int fd = open_connection();

	exchange(fd);
	close(fd);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*round)(void);
		int rounds;
	} measurements[] = {
		{"read-file", read_file, 1000000},
		{"write-file", write_file, 1000000},
		{"recv-unix", recv_unix, 500000},
		{"open-close-file", close_file, 300000},
		{"close-bad-number", close_bad_number, 1000000},
		{"socket-connect-close", connect_and_close, 3000},
		{"socket-connect-exchange-close", connect_exchange_and_close, 5000},
	};

	int share = argc > 1 ? atoi(argv[1]) : 1;

	if (argc > 2 || share < 1 || share > 1000)
		errx(2, "usage: bench-calls [N]");
	start_server();
	for (size_t i = 0; i < sizeof(measurements) / sizeof(measurements[0]); i++) {
		measurements[i].round();
		int rounds = measurements[i].rounds / share;
		double start = now_ns();
		for (int round = 0; round < rounds; round++)
			measurements[i].round();
		printf("%s %.1f\n", measurements[i].name, (now_ns() - start) / rounds);
	}
	return 0;
}

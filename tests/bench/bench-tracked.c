/* What reading and writing 1 KB costs on a connection whose bytes are looked at: in the midst of a
 * long response, and of a long request. Reads only what has arrived already, and writes only what
 * there is room for, so that nothing waits. Prints a line per measurement: its name and the
 * nanoseconds of one call, the median of many short series.
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/sockios.h>

#include "tests/bench/bench.h"

#define PIECE  1024
#define SERIES 32        /* calls */
#define BUFFER (1 << 18) /* what a series moves fits into it many times */
#define LENGTH "1099511627776"

static struct sockaddr_in server = {.sin_family = AF_INET};
static char piece[65536];

/* ---- the server, a process of its own: who says G gets, who says P gives ---- */

static void serve_one(int fd)
{
	static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: " LENGTH "\r\n\r\n";

	check(recv(fd, piece, sizeof(piece), 0) < 0, "recv");
	if (piece[0] == 'G') {
		check(send(fd, head, sizeof(head) - 1, MSG_NOSIGNAL) < 0, "send");
		while (send(fd, piece, sizeof(piece), MSG_NOSIGNAL) > 0)
			;
	}
	while (recv(fd, piece, sizeof(piece), 0) > 0)
		;
	close(fd);
}

static pid_t start_server(void)
{
	socklen_t size = sizeof(server);
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	check(listener < 0, "socket");
	check(bind(listener, (struct sockaddr *)&server, size) < 0, "bind");
	check(listen(listener, 16) < 0, "listen");
	check(getsockname(listener, (struct sockaddr *)&server, &size) < 0, "getsockname");
	pid_t child = fork();
	check(child < 0, "fork");
	while (child == 0) {
		check(prctl(PR_SET_PDEATHSIG, SIGKILL) < 0, "prctl");
		serve_one(accept(listener, NULL, NULL));
	}
	close(listener);
	return child;
}

/* ---- the client ---- */

static void read_piece(int fd)
{
	check(read(fd, piece, PIECE) != PIECE, "read");
}

static void recv_piece(int fd)
{
	check(recv(fd, piece, PIECE, 0) != PIECE, "recv");
}

static void write_piece(int fd)
{
	check(write(fd, piece, PIECE) != PIECE, "write");
}

static void send_piece(int fd)
{
	check(send(fd, piece, PIECE, MSG_NOSIGNAL) != PIECE, "send");
}

static int has_arrived(int fd)
{
	int waiting = 0;

	check(ioctl(fd, SIOCINQ, &waiting) < 0, "SIOCINQ");
	return waiting >= SERIES * PIECE;
}

static int has_room(int fd)
{
	int waiting = 0;

	check(ioctl(fd, SIOCOUTQ, &waiting) < 0, "SIOCOUTQ");
	return waiting < BUFFER / 4;
}

static int compare(const void *one, const void *other)
{
	double left = *(const double *)one, right = *(const double *)other;

	return left < right ? -1 : left > right;
}

static double measure(int fd, void (*call)(int), int (*can)(int), double *taken, int series)
{
	for (int i = 0; i < series; i++) {
		while (!can(fd))
			usleep(20);
		double start = now_ns();
		for (int round = 0; round < SERIES; round++)
			call(fd);
		taken[i] = (now_ns() - start) / SERIES;
	}
	qsort(taken, (size_t)series, sizeof(taken[0]), compare);
	return taken[series / 2];
}

static int open_connection(const char *request)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	const int size = BUFFER;

	check(fd < 0, "socket");
	check(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)) < 0, "SO_RCVBUF");
	check(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) < 0, "SO_SNDBUF");
	check(connect(fd, (struct sockaddr *)&server, sizeof(server)) < 0, "connect");
	check(send(fd, request, strlen(request), MSG_NOSIGNAL) < 0, "send");
	return fd;
}

int main(int argc, char **argv)
{
	static const char get[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
	static const char put[] =
		"PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: " LENGTH "\r\n\r\n";
	static const struct {
		const char *name, *request;
		void (*call)(int fd);
		int (*can)(int fd);
	} measurements[] = {
		{"read-1k", get, read_piece, has_arrived},
		{"recv-1k", get, recv_piece, has_arrived},
		{"write-1k", put, write_piece, has_room},
		{"send-1k", put, send_piece, has_room},
	};
	int series = argc == 2 ? atoi(argv[1]) : 0;

	if (series < 1)
		errx(2, "usage: bench-tracked SERIES");
	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	pid_t child = start_server();
	double *taken = calloc((size_t)series, sizeof(*taken));
	check(!taken, "calloc");
	for (size_t i = 0; i < sizeof(measurements) / sizeof(measurements[0]); i++) {
		int fd = open_connection(measurements[i].request);
		printf("%s %.1f\n", measurements[i].name,
			measure(fd, measurements[i].call, measurements[i].can, taken, series));
		close(fd);
	}
	check(kill(child, SIGKILL) < 0 || waitpid(child, NULL, 0) < 0, "kill");
	return 0;
}

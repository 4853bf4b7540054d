/* Connects to the same place again and again: PORT ROUNDS WHAT, where WHAT is
 *
 *      cycle           socket(), connect() and close(), with nothing in between
 *      exchange        the same, with a request and its response
 *
 * after one exchange, so that with the library there is a connection to be reused. Prints the
 * nanoseconds of one round. scripts/bench also has it counted by strace and by callgrind: with some
 * rounds and with more, as then what does not belong to a round is the same.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/bench.h"

#define RESPONSE_MOST 65536

static struct sockaddr_in server = {.sin_family = AF_INET};

static void cycle(int with_exchange)
{
	static const char request[] = "GET /1k HTTP/1.1\r\nHost: localhost\r\n\r\n";
	char response[RESPONSE_MOST];
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	check(fd < 0, "socket");
	check(connect(fd, (struct sockaddr *)&server, sizeof(server)) < 0, "connect");
	if (with_exchange) {
		check(send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) < 0, "send");
		/* A response of 1 KB from the same machine comes in one piece. */
		check(recv(fd, response, sizeof(response), 0) <= 1024, "recv");
	}
	close(fd);
}

int main(int argc, char **argv)
{
	if (argc != 4 || (strcmp(argv[3], "cycle") != 0 && strcmp(argv[3], "exchange") != 0))
		errx(2, "usage: bench-cycle PORT ROUNDS cycle|exchange");
	int rounds = atoi(argv[2]), with_exchange = strcmp(argv[3], "exchange") == 0;
	server.sin_port = htons((uint16_t)atoi(argv[1]));
	server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	cycle(1);
	double start = now_ns();
	for (int round = 0; round < rounds; round++)
		cycle(with_exchange);
	printf("nanoseconds %.1f\n", (now_ns() - start) / rounds);
	return 0;
}

/* What the programs that shut connections down share: a look at a connection that no library sees,
 * and a server of their own that says how each connection ended, and does something then.
 */
#ifndef SHUTDOWNS_H
#define SHUTDOWNS_H

#include "client.h"
#include "rawcall.h"
#include <fcntl.h>
#include <netinet/tcp.h>

#define LIMIT_S 20 /* ends a program that hangs, decides nothing else */

static inline int how_of(const char *name)
{
	if (!strcmp(name, "RD"))
		return SHUT_RD;
	return strcmp(name, "WR") ? SHUT_RDWR : SHUT_WR;
}

/* Has the end of this side been sent? */
static inline bool has_ended(int fd)
{
	struct tcp_info info = {0};
	socklen_t size = sizeof(info);

	if (RAW_CALL(SYS_getsockopt, fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
		return true;
	return info.tcpi_state != TCP_ESTABLISHED && info.tcpi_state != TCP_CLOSE_WAIT;
}

/* A connection on which one request has been answered. */
static inline int dial_and_fetch(void)
{
	int fd = dial();

	if (!request(fd, "GET", "/bytes/10") || receive(fd, true).status != 200)
		printf("no answer\n");
	return fd;
}

/* ---- a server ---- */

#define SERVED_ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static FILE *server_says; /* NULL: nothing */

static inline int listen_on(const struct sockaddr *address, socklen_t size)
{
	int fd = socket(address->sa_family, SOCK_STREAM, 0);

	if (fd < 0 || bind(fd, address, size) || listen(fd, 16))
		die("listen");
	return fd;
}

static inline int port_of(int fd)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof(address);

	if (getsockname(fd, (struct sockaddr *)&address, &size))
		die("getsockname");
	return ntohs(((struct sockaddr_in *)&address)->sin_port);
}

/* Answers every request on a connection, until it ends. */
static inline void serve_connection(int fd)
{
	char data[4096] = "";
	size_t length = 0;
	int requests = 0;
	ssize_t got;

	while ((got = recv(fd, data + length, sizeof(data) - 1 - length, 0)) > 0) {
		length += (size_t)got;
		data[length] = '\0';
		if (length >= 4 && !strcmp(data + length - 4, "\r\n\r\n")) {
			send_text(fd, SERVED_ANSWER);
			requests++;
			length = 0;
		}
	}
	if (!server_says)
		return;
	fprintf(server_says, "server: %d requests, %zu bytes more, then %s\n", requests, length,
		got ? strerrorname_np(errno) : "the end");
	fflush(server_says);
}

#endif

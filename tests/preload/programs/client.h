/* What these clients share: blocking loopback connections and strict HTTP/1.1 in a few lines.
 *
 * None of it knows of any pool. Everything a client observes it prints, so that two runs can be
 * compared; nothing it prints may depend on time, on port numbers or on addresses in memory.
 */
#ifndef CLIENT_H
#define CLIENT_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct response {
	int status;        /* 0: no response; see problem */
	size_t length;     /* of the body */
	uint32_t checksum; /* of the body */
	char start[32];    /* of the body, as text */
	const char *problem;
};

struct scenario {
	const char *name;
	void (*run)(void);
};

/* argv[2] and argv[3]: the server under test, and the one that tells it when */
static int port __attribute__((unused));
static int control_port __attribute__((unused));

static inline void die(const char *what)
{
	printf("%s: %s\n", what, strerrorname_np(errno));
	fflush(stdout);
	_exit(2);
}

/* what happened, with errno by name where it failed */
static inline void report(const char *what, long result)
{
	if (result < 0)
		printf("%s: %ld %s\n", what, result, strerrorname_np(errno));
	else
		printf("%s: %ld\n", what, result);
}

static inline struct sockaddr_in loopback(int to_port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)to_port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
}

static inline int connect_to(int fd, int to_port)
{
	struct sockaddr_in address = loopback(to_port);

	return connect(fd, (struct sockaddr *)&address, sizeof(address));
}

static inline int dial_port(int to_port)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0)
		die("socket");
	if (connect_to(fd, to_port) < 0)
		die("connect");
	return fd;
}

static inline int dial(void)
{
	return dial_port(port);
}

/* false, and errno, when the peer does not take it; never SIGPIPE, so that it can be printed */
static inline bool send_all(int fd, const char *data, size_t length)
{
	while (length) {
		ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);

		if (sent < 0)
			return false;
		data += sent;
		length -= (size_t)sent;
	}
	return true;
}

static inline bool send_text(int fd, const char *text)
{
	return send_all(fd, text, strlen(text));
}

static inline bool request(int fd, const char *method, const char *path)
{
	char text[512];
	int length = snprintf(
		text, sizeof(text), "%s %s HTTP/1.1\r\nHost: loopback\r\n\r\n", method, path);

	return send_all(fd, text, (size_t)length);
}

/* One byte at a time up to the empty line, so that nothing beyond the head is taken. */
static inline bool receive_head(int fd, char *head, size_t size)
{
	size_t length = 0;

	while (length + 1 < size) {
		if (recv(fd, head + length, 1, 0) != 1)
			return false;
		head[++length] = '\0';
		if (length >= 4 && !strcmp(head + length - 4, "\r\n\r\n"))
			return true;
	}
	return false;
}

static inline void note_body(struct response *got, const char *data, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (got->length + i < sizeof(got->start) - 1)
			got->start[got->length + i] = data[i];
		got->checksum = got->checksum * 31 + (unsigned char)data[i];
	}
	got->length += length;
}

static inline bool receive_body(int fd, struct response *got, size_t length)
{
	char data[16384];

	while (length) {
		size_t want = length < sizeof(data) ? length : sizeof(data);
		ssize_t received = recv(fd, data, want, 0);

		if (received <= 0)
			return false;
		note_body(got, data, (size_t)received);
		length -= (size_t)received;
	}
	return true;
}

static inline bool receive_chunks(int fd, struct response *got)
{
	char end[2];

	for (;;) {
		char line[16] = "";
		size_t length = 0;

		while (length < sizeof(line) - 1 && !strchr(line, '\n')) {
			if (recv(fd, line + length++, 1, 0) != 1)
				return false;
		}
		length = strtoul(line, NULL, 16);
		if (!receive_body(fd, got, length))
			return false;
		if (recv(fd, end, 2, MSG_WAITALL) != 2)
			return false;
		if (!length)
			return true;
	}
}

/* Exactly one response, not a byte more. */
static inline struct response receive(int fd, bool has_body)
{
	struct response got = {.problem = "no whole response"};
	char head[1024] = "";
	char *length;

	if (!receive_head(fd, head, sizeof(head)))
		return got;
	got.status = atoi(head + sizeof("HTTP/1.1"));
	length = strstr(head, "Content-Length: ");
	if (!has_body)
		return got;
	if (length ? !receive_body(fd, &got, strtoul(length + 16, NULL, 10))
		   : !receive_chunks(fd, &got))
		got.status = 0;
	return got;
}

static inline void show(const char *what, struct response got)
{
	if (!got.status)
		printf("%s: %s\n", what, got.problem);
	else
		printf("%s: %d, %zu bytes, %08x, %s\n", what, got.status, got.length, got.checksum,
			got.start);
}

/* a request and its response, printed */
static inline void fetch(int fd, const char *path)
{
	if (!request(fd, "GET", path)) {
		report(path, -1);
		return;
	}
	show(path, receive(fd, true));
}

/* a whole life: connect, one exchange, close */
static inline void visit(const char *path)
{
	int fd = dial();

	fetch(fd, path);
	report("close", close(fd));
}

/* Opens the gate; when this returns, what waited for it has happened. */
static inline void release(void)
{
	int fd = dial_port(control_port);

	fetch(fd, "/release");
	close(fd);
}

/* PROGRAM SCENARIO PORT [CONTROL_PORT] */
static inline int run_scenario(
	int argc, char **argv, const struct scenario *scenarios, size_t n_scenarios)
{
	port = argc > 2 ? atoi(argv[2]) : 0;
	control_port = argc > 3 ? atoi(argv[3]) : 0;
	for (size_t i = 0; argc > 1 && i < n_scenarios; i++) {
		if (strcmp(argv[1], scenarios[i].name))
			continue;
		scenarios[i].run();
		return fflush(stdout) ? 1 : 0;
	}
	fprintf(stderr, "%s: no such scenario\n", argc > 1 ? argv[1] : "(none)");
	return 3;
}

#endif

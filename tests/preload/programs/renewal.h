/* What the clients share whose reused connections die: SCENARIO PORT CONTROL-PORT TARGET [HOW].
 *
 * The target says what the server does with the request (tests/preload/scripted.py).
 */
#ifndef RENEWAL_H
#define RENEWAL_H

#include "client.h"
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/time.h>
#include <sys/uio.h>

#define PATIENCE_MS 10000 /* ends a program that hangs, decides nothing else */
#define LIMIT_MS    200   /* where a limit is what it is about */
#define MOMENT_MS   30    /* where nothing more must come */

static const char *target __attribute__((unused)) = "";
static const char *how __attribute__((unused)) = "";

/* How to do something, by the word that the command line says. */
struct way {
	const char *name;
	long (*go)(int fd, char *buffer, size_t size);
};

static inline const struct way *find_way(const struct way *ways, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (!strcmp(ways[i].name, name))
			return &ways[i];
	}
	fprintf(stderr, "%s: no such way\n", name);
	_exit(3);
}

/* Tells the server's other half, or waits for it. */
static inline void tell(const char *what)
{
	int fd = dial_port(control_port);

	if (!request(fd, "GET", what) || receive(fd, true).status != 200)
		printf("%s: no answer\n", what);
	close(fd);
}

/* Leaves a connection that can be used again. */
static inline void prime(void)
{
	int fd = dial();

	if (!request(fd, "GET", "/prime") || receive(fd, true).status != 200)
		printf("no connection\n");
	close(fd);
}

static inline void set_blocking(int fd, bool blocking)
{
	int flags = fcntl(fd, F_GETFL);

	fcntl(fd, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
}

static inline int await_events(int fd, short events, int ms)
{
	struct pollfd polled = {.fd = fd, .events = events};

	return poll(&polled, 1, ms);
}

/* All of the text, however often the socket says that it cannot take more now. */
static inline bool send_patiently(int fd, const char *text, size_t length)
{
	while (length) {
		ssize_t sent = send(fd, text, length, MSG_NOSIGNAL);

		if (sent < 0 && errno == EAGAIN && await_events(fd, POLLOUT, PATIENCE_MS) == 1)
			continue;
		if (sent < 0)
			return false;
		text += sent;
		length -= (size_t)sent;
	}
	return true;
}

static inline bool request_of(int fd, const char *method, const char *path, const char *host)
{
	char text[512];
	int length = snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", method,
		path, host, strcmp(method, "POST") ? "" : "Content-Length: 0\r\n");

	return send_patiently(fd, text, (size_t)length);
}

/* The whole answer by recv(), waiting for it where the socket does not; -1 and errno, or what came
 * before the end. */
static inline ssize_t answer(int fd, char *buffer, size_t size)
{
	size_t length = 0;

	while (length + 1 < size) {
		ssize_t received = recv(fd, buffer + length, size - 1 - length, 0);

		if (received < 0 && errno == EAGAIN && await_events(fd, POLLIN, PATIENCE_MS) == 1)
			continue;
		if (received < 0)
			return -1;
		length += (size_t)received;
		buffer[length] = '\0';
		/* what it was for, and nothing else, is the body */
		if (received == 0 || strstr(buffer, "\r\n\r\n/"))
			break;
	}
	return (ssize_t)length;
}

/* The buffer has room for one more. */
static inline void show_bytes(const char *what, char *buffer, ssize_t length)
{
	const char *body;

	if (length >= 0)
		buffer[length] = '\0';
	body = strstr(buffer, "\r\n\r\n");

	if (length < 0)
		printf("%s: %s\n", what, strerrorname_np(errno));
	else if (length == 0)
		printf("%s: end\n", what);
	else
		printf("%s: %zd bytes, %.12s%s\n", what, length, buffer, body ? body + 4 : "");
}

static inline void show_answer(int fd)
{
	char buffer[4096] = "";
	ssize_t length = answer(fd, buffer, sizeof(buffer));

	show_bytes("answer", buffer, length);
}

static inline int main_of(int argc, char **argv, const struct scenario *scenarios, size_t count)
{
	target = argc > 4 ? argv[4] : "";
	how = argc > 5 ? argv[5] : "";
	setvbuf(stdout, NULL, _IOLBF, 0);
	return run_scenario(argc, argv, scenarios, count);
}

#endif

/* The server of the stress programs: says back what it was asked for, and tells who shared what.
 *
 *      echo-server PORTS
 *
 * prints so many port numbers, serves until its standard input ends, and prints one line of JSON.
 * It is never run under the library, so what it counts is what was really opened.
 *
 * A target is /PROCESS/TAG/WORD/SIZE. The answer's body is the index of the port and the target,
 * over and over, SIZE bytes in all; of WORD "hang" there is none. What must not be is counted:
 * "mixed" if two processes asked on one connection, or if, after a request with a TAG other than
 * "-", one with another TAG came; "malformed" if what came is no request. The connections on which
 * TAG "last" was asked for are listed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST_PORTS   4
#define MOST_REQUEST 512
#define MOST_LISTED  64
#define NAME_SIZE    32
#define EVENTS       64

struct client {
	int fd;
	int place; /* the index of the port that it came to */
	int id;    /* how many came before it */
	bool listens;
	char process[NAME_SIZE], tag[NAME_SIZE];
	char request[MOST_REQUEST + 1];
	size_t length;
	char *answer; /* what could not be sent yet; nothing is read meanwhile */
	size_t waiting;
};

struct target {
	char process[NAME_SIZE], tag[NAME_SIZE], word[NAME_SIZE];
	size_t size;
};

static int epoll;
static long connections, requests, mixed, malformed;
static int listed[MOST_LISTED], n_listed;

static void need(bool holds, const char *what)
{
	if (holds)
		return;
	perror(what);
	exit(1);
}

static void watch(struct client *client, int operation, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = client};

	need(epoll_ctl(epoll, operation, client->fd, &event) == 0, "epoll_ctl");
}

static struct client *new_client(int fd, int place, bool listens)
{
	struct client *client = calloc(1, sizeof(*client));

	need(client, "calloc");
	client->fd = fd;
	client->place = place;
	client->listens = listens;
	watch(client, EPOLL_CTL_ADD, EPOLLIN);
	return client;
}

static void end_client(struct client *client)
{
	close(client->fd);
	free(client->answer);
	free(client);
}

static void listen_at(int place)
{
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	socklen_t size = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	need(fd >= 0, "socket");
	need(bind(fd, (struct sockaddr *)&address, size) == 0, "bind");
	need(listen(fd, 4096) == 0, "listen");
	need(getsockname(fd, (struct sockaddr *)&address, &size) == 0, "getsockname");
	printf("%d ", ntohs(address.sin_port));
	new_client(fd, place, true);
}

static void accept_all(const struct client *listener)
{
	int one = 1, fd;

	while ((fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct client *client = new_client(fd, listener->place, false);

		client->id = (int)connections++;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	}
}

/* ---- answering ---- */

/* As much as the client takes now; the rest when it takes more. */
static bool send_or_keep(struct client *client, const char *data, size_t length)
{
	ssize_t sent = client->waiting ? 0 : send(client->fd, data, length, MSG_NOSIGNAL);

	if (sent < 0 && errno != EAGAIN)
		return false;
	if (sent < 0)
		sent = 0;
	data += sent;
	length -= (size_t)sent;
	if (!length)
		return true;
	client->answer = realloc(client->answer, client->waiting + length);
	need(client->answer, "realloc");
	memcpy(client->answer + client->waiting, data, length);
	if (!client->waiting)
		watch(client, EPOLL_CTL_MOD, EPOLLOUT);
	client->waiting += length;
	return true;
}

static bool send_waiting(struct client *client)
{
	ssize_t sent = send(client->fd, client->answer, client->waiting, MSG_NOSIGNAL);

	if (sent < 0)
		return errno == EAGAIN;
	client->waiting -= (size_t)sent;
	memmove(client->answer, client->answer + sent, client->waiting);
	if (!client->waiting)
		watch(client, EPOLL_CTL_MOD, EPOLLIN);
	return true;
}

/* Head and body are sent apart, so that a client may meet the one without the other. */
static bool answer(struct client *client, const char *path, size_t size)
{
	char text[MOST_REQUEST + 16], head[128];
	size_t period = (size_t)snprintf(text, sizeof(text), "%d %s ", client->place, path);
	size_t length = (size_t)snprintf(
		head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", size);
	char *body = malloc(size + 1);

	need(body, "malloc");
	for (size_t i = 0; i < size; i++)
		body[i] = text[i % period];
	bool taken = send_or_keep(client, head, length) && send_or_keep(client, body, size);
	free(body);
	return taken;
}

/* Whom does the connection belong to? */
static void note(struct client *client, const struct target *target)
{
	bool exclusive = client->tag[0] && strcmp(client->tag, "-");

	if ((client->process[0] && strcmp(client->process, target->process)) ||
		(exclusive && strcmp(client->tag, target->tag))) {
		if (mixed++ < MOST_LISTED)
			fprintf(stderr, "echo-server: /%s/%s asked for /%s/%s/%s\n",
				client->process, client->tag, target->process, target->tag,
				target->word);
	}
	strcpy(client->process, target->process);
	strcpy(client->tag, target->tag);
	if (!strcmp(target->tag, "last") && n_listed < MOST_LISTED)
		listed[n_listed++] = client->id;
}

static bool serve(struct client *client, char *request)
{
	struct target target = {.size = 0};
	char path[MOST_REQUEST + 1];

	if (sscanf(request, "GET %s HTTP/1.1\r\nHost: stress", path) != 1 ||
		sscanf(path, "/%31[^/]/%31[^/]/%31[^/]/%zu", target.process, target.tag,
			target.word, &target.size) != 4) {
		if (malformed++ < MOST_LISTED)
			fprintf(stderr, "echo-server: malformed: %s\n", request);
		return false;
	}
	requests++;
	note(client, &target);
	return !strcmp(target.word, "hang") || answer(client, path, target.size);
}

/* All the requests that are there. */
static bool serve_all(struct client *client)
{
	char *end;

	client->request[client->length] = '\0';
	while ((end = strstr(client->request, "\r\n\r\n")) != NULL) {
		size_t length = (size_t)(end - client->request) + 4;

		*end = '\0';
		if (!serve(client, client->request))
			return false;
		client->length -= length;
		memmove(client->request, client->request + length, client->length + 1);
	}
	malformed += client->length == MOST_REQUEST;
	return client->length < MOST_REQUEST;
}

static bool receive(struct client *client)
{
	ssize_t received = recv(
		client->fd, client->request + client->length, MOST_REQUEST - client->length, 0);

	if (received < 0)
		return errno == EAGAIN;
	client->length += (size_t)received;
	return received > 0 && serve_all(client);
}

static void attend(struct client *client)
{
	if (client->listens)
		accept_all(client);
	else if (client->waiting ? !send_waiting(client) : !receive(client))
		end_client(client);
}

/* Until standard input ends. Who came until then is counted. */
static void serve_until_told(void)
{
	struct epoll_event events[EVENTS], input = {.events = EPOLLIN, .data.ptr = NULL};
	bool told = false;

	need(epoll_ctl(epoll, EPOLL_CTL_ADD, STDIN_FILENO, &input) == 0, "standard input");
	for (;;) {
		int n = epoll_wait(epoll, events, EVENTS, told ? 0 : -1);

		if (told && n == 0)
			return;
		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr) {
				attend(events[i].data.ptr);
			} else {
				told = true;
				epoll_ctl(epoll, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
			}
		}
	}
}

int main(int argc, char **argv)
{
	int ports = argc == 2 ? atoi(argv[1]) : 0;

	if (ports < 1 || ports > MOST_PORTS)
		return 2;
	epoll = epoll_create1(EPOLL_CLOEXEC);
	need(epoll >= 0, "epoll_create1");
	for (int place = 0; place < ports; place++)
		listen_at(place);
	printf("\n");
	fflush(stdout);
	serve_until_told();
	printf("{\"connections\": %ld, \"requests\": %ld, \"mixed\": %ld, \"malformed\": %ld, "
	       "\"last\": [",
		connections, requests, mixed, malformed);
	for (int i = 0; i < n_listed; i++)
		printf("%s%d", i ? ", " : "", listed[i]);
	printf("]}\n");
	return 0;
}

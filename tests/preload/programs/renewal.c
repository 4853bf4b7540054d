/* A program of one thread whose reused connection dies: SCENARIO PORT CONTROL-PORT TARGET [HOW]. */
#include "renewal.h"
#include "onlooker.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* ---- the ways to receive ---- */

static long by_read(int fd, char *buffer, size_t size)
{
	return read(fd, buffer, size);
}

static long by_readv(int fd, char *buffer, size_t size)
{
	struct iovec vector[2] = {{buffer, 3}, {buffer + 3, size - 3}};

	return readv(fd, vector, 2);
}

static long by_recv(int fd, char *buffer, size_t size)
{
	return recv(fd, buffer, size, 0);
}

static long by_recvfrom(int fd, char *buffer, size_t size)
{
	struct sockaddr_in from;
	socklen_t length = sizeof(from);

	return recvfrom(fd, buffer, size, 0, (struct sockaddr *)&from, &length);
}

static long by_recvmsg(int fd, char *buffer, size_t size)
{
	struct iovec vector = {buffer, size};
	struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};

	return recvmsg(fd, &message, 0);
}

static long by_recvmmsg(int fd, char *buffer, size_t size)
{
	struct iovec vector = {buffer, size};
	struct mmsghdr message = {.msg_hdr = {.msg_iov = &vector, .msg_iovlen = 1}};
	int count = recvmmsg(fd, &message, 1, 0, NULL);

	return count < 0 ? -1 : (long)message.msg_len;
}

static long by_splice(int fd, char *buffer, size_t size)
{
	int ends[2];
	ssize_t moved, length = -1;

	if (pipe(ends))
		return -1;
	moved = splice(fd, NULL, ends[1], NULL, size, 0);
	if (moved > 0)
		length = read(ends[0], buffer, size);
	close(ends[0]);
	close(ends[1]);
	return moved <= 0 ? moved : length;
}

static long by_peek(int fd, char *buffer, size_t size)
{
	ssize_t length = recv(fd, buffer, size, MSG_PEEK);

	return length <= 0 ? length : recv(fd, buffer, (size_t)length, 0);
}

static long by_peek_at_one(int fd, char *buffer, size_t size)
{
	ssize_t length = recv(fd, buffer, 1, MSG_PEEK);

	return length <= 0 ? length : recv(fd, buffer, size, 0);
}

static long by_dontwait(int fd, char *buffer, size_t size)
{
	ssize_t length;

	do
		length = recv(fd, buffer, size, MSG_DONTWAIT);
	while (length < 0 && errno == EAGAIN && await_events(fd, POLLIN, PATIENCE_MS) == 1);
	return length;
}

static long by_waitall(int fd, char *buffer, size_t size)
{
	(void)size;
	return recv(fd, buffer, 20, MSG_WAITALL);
}

/* Is it readable? As libraries ask before they reuse a connection of their own. */
static long by_fionread(int fd, char *buffer, size_t size)
{
	int count = 0;

	if (await_events(fd, POLLIN, PATIENCE_MS) != 1 || ioctl(fd, FIONREAD, &count))
		return -1;
	printf("there is something: %d\n", count > 0);
	return recv(fd, buffer, size, 0);
}

/* tcp(7): the bytes are thrown away, and nobody looks at the buffer. */
static long by_trunc(int fd, char *buffer, size_t size)
{
	ssize_t length = recv(fd, (char *)8, size, MSG_TRUNC);

	memcpy(buffer, "(nothing)", sizeof("(nothing)"));
	return length;
}

static const struct way receivers[] = {
	{"read", by_read},
	{"readv", by_readv},
	{"recv", by_recv},
	{"recvfrom", by_recvfrom},
	{"recvmsg", by_recvmsg},
	{"recvmmsg", by_recvmmsg},
	{"splice", by_splice},
	{"peek", by_peek},
	{"peek_at_one", by_peek_at_one},
	{"dontwait", by_dontwait},
	{"waitall", by_waitall},
	{"fionread", by_fionread},
	{"trunc", by_trunc},
};

/* One call on a socket that waits. */
static void receives(void)
{
	const struct way *way = find_way(receivers, COUNT(receivers), how);
	char buffer[4096] = "";
	long length;
	int fd;

	prime();
	fd = dial();
	request(fd, "GET", target);
	length = way->go(fd, buffer, sizeof(buffer) - 1);
	show_bytes(how, buffer, length);
	close(fd);
	visit("/again");
}

/* ---- the ways to send ---- */

static long write_all(int fd, char *text, size_t length)
{
	return write(fd, text, length);
}

static long write_pieces(int fd, char *text, size_t length)
{
	for (size_t i = 0; i < length; i += 7) {
		if (write(fd, text + i, length - i < 7 ? length - i : 7) < 0)
			return -1;
	}
	return (long)length;
}

/* As many pieces as a vector may have. */
static long write_vector(int fd, char *text, size_t length)
{
	static struct iovec vector[1024];
	size_t count = 0;

	for (; count < COUNT(vector) && count + 1 < length; count++)
		vector[count] = (struct iovec){text + count, 1};
	vector[count - 1].iov_len = length - (count - 1);
	return writev(fd, vector, (int)count);
}

static long send_more(int fd, char *text, size_t length)
{
	ssize_t first = send(fd, text, 10, MSG_MORE);

	return first < 0 ? -1 : first + send(fd, text + 10, length - 10, 0);
}

static long send_to(int fd, char *text, size_t length)
{
	return sendto(fd, text, length, MSG_NOSIGNAL, NULL, 0);
}

static long send_message(int fd, char *text, size_t length)
{
	struct iovec vector[2] = {{text, 5}, {text + 5, length - 5}};
	struct msghdr message = {.msg_iov = vector, .msg_iovlen = 2};

	return sendmsg(fd, &message, 0);
}

static long send_messages(int fd, char *text, size_t length)
{
	struct iovec vector[2] = {{text, 5}, {text + 5, length - 5}};
	struct mmsghdr messages[2] = {
		{.msg_hdr = {.msg_iov = vector, .msg_iovlen = 1}},
		{.msg_hdr = {.msg_iov = vector + 1, .msg_iovlen = 1}},
	};
	int count = sendmmsg(fd, messages, 2, 0);

	return count < 0 ? -1
			 : (long)(messages[0].msg_len + (count == 2 ? messages[1].msg_len : 0));
}

/* libc writes this where nobody sees it. */
static long print_to(int fd, char *text, size_t length)
{
	return dprintf(fd, "%.*s", (int)length, text);
}

static long print_stream(int fd, char *text, size_t length)
{
	FILE *stream = fdopen(dup(fd), "w");
	long result = stream && fwrite(text, 1, length, stream) == length ? (long)length : -1;

	fclose(stream);
	return result;
}

static const struct way senders[] = {
	{"write", write_all},
	{"pieces", write_pieces},
	{"writev", write_vector},
	{"more", send_more},
	{"sendto", send_to},
	{"sendmsg", send_message},
	{"sendmmsg", send_messages},
	{"dprintf", print_to},
	{"stream", print_stream},
};

static void sends(void)
{
	const struct way *way = find_way(senders, COUNT(senders), how);
	char text[2048];
	int length = snprintf(text, sizeof(text),
		"GET %s HTTP/1.1\r\nHost: loopback\r\nX: %01100d\r\n\r\n", target, 0);
	int fd;

	prime();
	fd = dial();
	report(how, way->go(fd, text, (size_t)length));
	show_answer(fd);
	close(fd);
}

/* ---- the ways to wait ---- */

static void note_events(char *buffer, const char *name, bool there)
{
	if (there)
		strcat(strcat(buffer, " "), name);
}

static long show_polled(struct pollfd *polled, int count, char *buffer)
{
	if (count > 0) {
		note_events(buffer, "in", polled->revents & POLLIN);
		note_events(buffer, "rdhup", polled->revents & POLLRDHUP);
		note_events(buffer, "hup", polled->revents & POLLHUP);
		note_events(buffer, "err", polled->revents & POLLERR);
	}
	return count;
}

static long show_epolled(const struct epoll_event *event, int count, char *buffer)
{
	if (count > 0) {
		note_events(buffer, "in", event->events & EPOLLIN);
		note_events(buffer, "rdhup", event->events & EPOLLRDHUP);
		note_events(buffer, "hup", event->events & EPOLLHUP);
		note_events(buffer, "err", event->events & EPOLLERR);
	}
	return count;
}

/* In all of these the size of the buffer is how long to wait, in milliseconds. */

static long by_poll(int fd, char *buffer, size_t ms)
{
	struct pollfd polled = {.fd = fd, .events = POLLIN | POLLRDHUP};

	return show_polled(&polled, poll(&polled, 1, (int)ms), buffer);
}

static long by_ppoll(int fd, char *buffer, size_t ms)
{
	struct pollfd polled = {.fd = fd, .events = POLLIN | POLLRDHUP};
	struct timespec limit = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};

	return show_polled(&polled, ppoll(&polled, 1, &limit, NULL), buffer);
}

static long by_select(int fd, char *buffer, size_t ms)
{
	fd_set in, odd;
	struct timeval limit = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000};

	FD_ZERO(&in);
	FD_SET(fd, &in);
	odd = in;
	int count = select(fd + 1, &in, NULL, &odd, &limit);

	note_events(buffer, "in", count > 0 && FD_ISSET(fd, &in));
	note_events(buffer, "odd", count > 0 && FD_ISSET(fd, &odd));
	return count;
}

static long by_pselect(int fd, char *buffer, size_t ms)
{
	fd_set in;
	struct timespec limit = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};

	FD_ZERO(&in);
	FD_SET(fd, &in);
	int count = pselect(fd + 1, &in, NULL, NULL, &limit, NULL);

	note_events(buffer, "in", count > 0 && FD_ISSET(fd, &in));
	return count;
}

static int set_with(int fd, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.fd = fd};
	int set = epoll_create1(0);

	epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
	return set;
}

/* The set is made once, before the request. */
static int epoll_set = -1;

static long by_epoll(int fd, char *buffer, size_t ms)
{
	struct epoll_event event;

	(void)fd;
	return show_epolled(&event, epoll_wait(epoll_set, &event, 1, (int)ms), buffer);
}

static long by_epoll_pwait(int fd, char *buffer, size_t ms)
{
	struct epoll_event event;

	(void)fd;
	return show_epolled(&event, epoll_pwait(epoll_set, &event, 1, (int)ms, NULL), buffer);
}

/* What says that a set has something to say may have said so of the connection's end, of which the
 * set then does not speak: so it is asked again, as programs do that wait in a loop. That is rare:
 * it does not go round and round. */
#define MOST_IN_VAIN 20

static long look_into_set(bool (*await_set)(int ms), int fd, char *buffer, size_t ms)
{
	for (int i = 0; i < MOST_IN_VAIN; i++) {
		if (!await_set((int)ms))
			return 0;
		long count = by_epoll(fd, buffer, 0);
		if (count)
			return count;
	}
	printf("nothing again and again\n");
	return 0;
}

static bool await_by_set(int ms)
{
	int outer = set_with(epoll_set, EPOLLIN);
	struct epoll_event event;
	int count = epoll_wait(outer, &event, 1, ms);

	close(outer);
	return count == 1;
}

static bool await_by_poll(int ms)
{
	return await_events(epoll_set, POLLIN, ms) == 1;
}

/* A set in a set. */
static long by_nested(int fd, char *buffer, size_t ms)
{
	return look_into_set(await_by_set, fd, buffer, ms);
}

/* The set is only a descriptor that is readable. */
static long by_poll_of_set(int fd, char *buffer, size_t ms)
{
	return look_into_set(await_by_poll, fd, buffer, ms);
}

static const struct waiter {
	struct way way;
	uint32_t events; /* of the set that is made for it; 0: none */
} waiters[] = {
	{{"poll", by_poll}, 0},
	{{"ppoll", by_ppoll}, 0},
	{{"select", by_select}, 0},
	{{"pselect", by_pselect}, 0},
	{{"epoll", by_epoll}, EPOLLIN | EPOLLRDHUP},
	{{"epoll_edge", by_epoll}, EPOLLIN | EPOLLRDHUP | EPOLLET},
	{{"epoll_oneshot", by_epoll}, EPOLLIN | EPOLLRDHUP | EPOLLONESHOT},
	{{"epoll_pwait", by_epoll_pwait}, EPOLLIN | EPOLLRDHUP},
	{{"epoll_nested", by_nested}, EPOLLIN | EPOLLRDHUP},
	{{"epoll_polled", by_poll_of_set}, EPOLLIN | EPOLLRDHUP},
};

static const struct waiter *find_waiter(void)
{
	for (size_t i = 0; i < COUNT(waiters); i++) {
		if (!strcmp(waiters[i].way.name, how))
			return &waiters[i];
	}
	fprintf(stderr, "%s: no such way\n", how);
	_exit(3);
}

static void show_wait(const struct waiter *waiter, int fd, size_t ms)
{
	char events[64] = "";
	long count = waiter->way.go(fd, events, ms);

	report(how, count);
	printf("events:%s\n", events);
}

static int dial_for(const struct waiter *waiter, bool blocking)
{
	int fd;

	prime();
	fd = dial();
	set_blocking(fd, blocking);
	if (waiter->events)
		epoll_set = set_with(fd, waiter->events);
	request(fd, "GET", target);
	return fd;
}

/* An event, what it is about, and no more of it. */
static void wait_for_answer(bool blocking)
{
	const struct waiter *waiter = find_waiter();
	int fd = dial_for(waiter, blocking);
	char buffer[4096] = "";
	long length;

	show_wait(waiter, fd, PATIENCE_MS);
	length = recv(fd, buffer, sizeof(buffer) - 1, 0);
	show_bytes("recv", buffer, length);
	show_wait(waiter, fd, MOMENT_MS);
	close(fd);
}

static void waits(void)
{
	wait_for_answer(false);
}

/* What poll() says is readable can be read without waiting. */
static void waits_blocking(void)
{
	wait_for_answer(true);
}

/* The answer does not come in time on the new connection either: the program's limit is kept. */
static void waits_in_vain(void)
{
	const struct waiter *waiter = find_waiter();
	int fd = dial_for(waiter, true);

	show_wait(waiter, fd, LIMIT_MS);
	tell("/let-go");
	show_wait(waiter, fd, PATIENCE_MS);
	show_answer(fd);
	close(fd);
}

/* The registration goes on: a second request's answer is an event, too. */
static void waits_twice(void)
{
	const struct waiter *waiter = find_waiter();
	int fd = dial_for(waiter, false);

	show_wait(waiter, fd, PATIENCE_MS);
	show_answer(fd);
	if (waiter->events & EPOLLONESHOT) {
		struct epoll_event event = {.events = waiter->events, .data.fd = fd};

		report("again", epoll_ctl(epoll_set, EPOLL_CTL_MOD, fd, &event));
	}
	request(fd, "GET", "/second");
	show_wait(waiter, fd, PATIENCE_MS);
	show_answer(fd);
	report("taken out", waiter->events ? epoll_ctl(epoll_set, EPOLL_CTL_DEL, fd, NULL) : 0);
	close(fd);
}

/* ---- limits of the socket's own ---- */

/* As PHP does: connect without waiting, then limits for each call. */
static void socket_limits(void)
{
	const struct timeval limit = {.tv_usec = LIMIT_MS * 1000};
	char buffer[4096] = "";
	ssize_t length;
	int fd;

	prime();
	fd = dial();
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (!strcmp(how, "both"))
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	request(fd, "GET", target);
	length = read(fd, buffer, sizeof(buffer) - 1);
	show_bytes("read", buffer, length);
	tell("/let-go");
	for (int i = 0; i < 20; i++) {
		length = read(fd, buffer, sizeof(buffer) - 1);
		if (length >= 0 || errno != EAGAIN)
			break;
	}
	show_bytes("read", buffer, length);
	close(fd);
}

/* ---- what else is on the socket ---- */

static void errno_stays(void)
{
	char buffer[4096];
	ssize_t length;
	int fd;

	prime();
	fd = dial();
	errno = 0;
	request(fd, "GET", target);
	length = recv(fd, buffer, sizeof(buffer), 0);
	printf("answer: %d, errno %d\n", length > 0, errno);
	close(fd);
}

/* Read the byte at a time. */
static void byte_by_byte(void)
{
	int fd;

	prime();
	fd = dial();
	fetch(fd, target);
	close(fd);
	visit("/after");
}

/* shutdown(SHUT_WR) is part of what was said. */
static void half_closed(void)
{
	char buffer[100];
	int fd;

	prime();
	fd = dial();
	request(fd, "GET", target);
	report("shutdown", shutdown(fd, SHUT_WR));
	show_answer(fd);
	report("end", recv(fd, buffer, sizeof(buffer), 0));
	close(fd);
}

/* As nc -N does with nothing to send. */
static void nothing_sent(void)
{
	char buffer[100];
	int fd;

	prime();
	fd = dial();
	report("shutdown", shutdown(fd, SHUT_WR));
	report("recv", recv(fd, buffer, sizeof(buffer), 0));
	close(fd);
}

static volatile sig_atomic_t pipes;

static void count_pipe(int signal)
{
	(void)signal;
	pipes++;
}

static void after_shutdown(void)
{
	int fd;

	signal(SIGPIPE, count_pipe);
	prime();
	fd = dial();
	shutdown(fd, SHUT_WR);
	report("write", write(fd, "x", 1));
	report("send", send(fd, "x", 1, MSG_NOSIGNAL));
	printf("signals: %d\n", pipes);
	close(fd);
}

/* Both numbers are one socket, whatever has become of it. */
static void duplicated(void)
{
	struct stat one, other;
	char buffer[100];
	int fd, copy;

	prime();
	fd = dial();
	request(fd, "GET", target);
	copy = dup(fd);
	await_events(fd, POLLIN, PATIENCE_MS);
	recv(fd, buffer, 1, 0);
	fstat(fd, &one);
	fstat(copy, &other);
	printf("one socket: %d\n", one.st_ino == other.st_ino);
	close(fd);
	close(copy);
}

/* The connection was dead already when it was given to the program. */
static void dead_at_once(void)
{
	int fd;

	prime();
	fd = dial();
	set_blocking(fd, strcmp(how, "nonblocking") != 0);
	tell("/end-idle");
	if (!request_of(fd, "GET", target, "loopback"))
		report("request", -1);
	show_answer(fd);
	close(fd);
}

/* The same, and who wants to connect is not heard for a while: a call on a socket that does not
 * wait must not. */
static void connecting(void)
{
	const char *wanted = "GET /ok HTTP/1.1\r\nHost: loopback\r\n\r\n";
	ssize_t sent;
	int fd;

	prime();
	fd = dial();
	set_blocking(fd, false);
	tell("/end-idle");
	tell("/lose");
	sent = send(fd, wanted, strlen(wanted), MSG_NOSIGNAL);
	if (sent < 0 && errno == EAGAIN)
		sent = 0;
	printf("%s\n", sent < 0 ? strerrorname_np(errno) : "as a socket may");
	tell("/let-go");
	if (!send_patiently(fd, wanted + sent, strlen(wanted) - (size_t)sent))
		report("send", -1);
	show_answer(fd);
	close(fd);
}

/* It dies while a program waits for nothing but a banner, as one does that does not know yet what
 * is spoken: nothing was sent. */
static void dead_unused(void)
{
	int fd;

	prime();
	fd = dial();
	tell("/end-idle");
	report("poll", await_events(fd, POLLIN, LIMIT_MS));
	if (!request_of(fd, "GET", target, "loopback"))
		report("request", -1);
	show_answer(fd);
	close(fd);
}

/* A connection is a host's; each way to send finds out when it says whose request it is. */
static void another_host(void)
{
	for (int i = 0; i < 4; i++) {
		int fd = dial();

		set_blocking(fd, strcmp(how, "nonblocking") != 0);
		if (!request_of(fd, i % 3 ? "GET" : "POST", target, i % 2 ? "other" : "one"))
			report("request", -1);
		show_answer(fd);
		close(fd);
	}
}

static bool is_option_right(int fd, int level, int option, int value)
{
	int is = 0;
	socklen_t length = sizeof(is);

	return getsockopt(fd, level, option, &is, &length) == 0 && is == value;
}

static void show_socket(int fd)
{
	struct sockaddr_in peer, own;
	socklen_t length = sizeof(peer);
	struct timeval limit = {0};
	socklen_t limit_length = sizeof(limit);

	report("getpeername", getpeername(fd, (struct sockaddr *)&peer, &length));
	report("getsockname", getsockname(fd, (struct sockaddr *)&own, &length));
	printf("port: %d, own address: %s\n", ntohs(peer.sin_port) == port,
		inet_ntoa(own.sin_addr));
	printf("keepalive: %d %d\n", is_option_right(fd, SOL_SOCKET, SO_KEEPALIVE, 1),
		is_option_right(fd, IPPROTO_TCP, TCP_KEEPIDLE, 77));
	printf("service: %d\n", is_option_right(fd, IPPROTO_IP, IP_TOS, 0x10));
	printf("error: %d\n", !is_option_right(fd, SOL_SOCKET, SO_ERROR, 0));
	getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, &limit_length);
	printf("limit: %ld\n", (long)limit.tv_sec);
	printf("flags: %x %x\n", (unsigned)fcntl(fd, F_GETFD), (unsigned)fcntl(fd, F_GETFL));
}

/* Some options are set before connect(), some behind it; the address is the program's own choice.
 */
static void looks_the_same(void)
{
	static const int on = 1, idle = 77, service = 0x10;
	static const struct timeval limit = {.tv_sec = 9};
	struct sockaddr_in own = loopback(0);
	int fd;

	own.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 6);
	for (int i = 0; i < 2; i++) {
		fd = socket(AF_INET, SOCK_STREAM | (i ? SOCK_CLOEXEC : 0), 0);
		setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
		setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
		bind(fd, (struct sockaddr *)&own, sizeof(own));
		if (connect_to(fd, port))
			die("connect");
		setsockopt(fd, IPPROTO_IP, IP_TOS, &service, sizeof(service));
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
		request(fd, "GET", target);
		show_answer(fd);
		show_socket(fd);
		close(fd);
	}
}

/* ---- descriptors and memory ---- */

/* A set that is closed while the socket is in it; its number becomes another set. */
static void set_closed(void)
{
	struct epoll_event event;
	int fd, set, other;

	prime();
	fd = dial();
	set_blocking(fd, false);
	set = set_with(fd, EPOLLOUT);
	report("writable", epoll_wait(set, &event, 1, PATIENCE_MS));
	close(set);
	other = epoll_create1(0);
	printf("same number: %d\n", other == set);
	request(fd, "GET", target);
	show_answer(fd);
	report("events of the empty set", epoll_wait(other, &event, 1, 0));
	close(fd);
}

/* All descriptors are in use when the connection turns out dead: the program's own, and others.
 * HOW: how many connections there are besides. */
static void no_more_descriptors(void)
{
	struct rlimit limit = {256, 256};
	int besides[8], n = atoi(how), fd;

	setrlimit(RLIMIT_NOFILE, &limit);
	for (int i = 0; i <= n; i++) {
		besides[i] = dial();
		request(besides[i], "GET", "/prime");
		receive(besides[i], true);
	}
	for (int i = 0; i <= n; i++)
		close(besides[i]);
	fd = dial();
	/* 0, 1, 2 and the socket are there already */
	for (int i = 4; i < 256 - n; i++) {
		if (dup(0) < 0)
			die("dup");
	}
	request(fd, "GET", target);
	show_answer(fd);
	close(fd);
}

static long memory_kib(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	long pages = 0;

	if (fscanf(file, "%ld", &pages) != 1)
		pages = -1;
	fclose(file);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* Requests for two hosts in turn, the answers of some of which are not waited for. */
static bool turn_of_hosts(int turn)
{
	char buffer[4096] = "";
	int fd = dial();
	bool good = request_of(fd, "GET", target, turn % 2 ? "other" : "one");

	if (good && turn % 7 != 6)
		good = answer(fd, buffer, sizeof(buffer)) > 0;
	close(fd);
	return good;
}

/* Each address is a service point of its own, and has a connection that dies. */
static bool turn_of_addresses(int turn)
{
	struct sockaddr_in address = loopback(port);
	char buffer[4096] = "";
	bool good = true;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 256 + (unsigned)turn);
	for (int i = 0; i < 2; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
			die("connect");
		good = request_of(fd, "GET", target, "loopback");
		if (good && turn % 7 != 6)
			good = answer(fd, buffer, sizeof(buffer)) > 0;
		close(fd);
	}
	return good;
}

static void grow(bool (*turn)(int number), int turns)
{
	long memory = 0, descriptors = 0;
	int bad = 0;

	for (int i = 0; i < turns; i++) {
		if (i == turns / 2) {
			memory = memory_kib();
			descriptors = count_sockets();
		}
		bad += !turn(i);
	}
	printf("%d bad\n", bad);
	printf("grows: %ld KiB, %ld descriptors\n", memory_kib() - memory,
		count_sockets() - descriptors);
}

static void grow_by_hosts(void)
{
	grow(turn_of_hosts, 1000);
}

static void grow_by_addresses(void)
{
	grow(turn_of_addresses, 600);
}

/* The sandbox allows write(), and nothing else that sends. */
static void sandboxed(void)
{
	static const char text[] = "HTTP/1.1\r\nHost: loopback\r\n\r\n";
	char line[200], buffer[4096] = "";
	int fd, length = snprintf(line, sizeof(line), "GET %s %s", target, text);

	for (int i = 0; i < 2; i++) {
		fd = dial();
		ssize_t written = write(fd, line, (size_t)length);

		report("write", written);
		if (written > 0)
			show_bytes("read", buffer, read(fd, buffer, sizeof(buffer) - 1));
		close(fd);
	}
}

static void enter_sandbox(void)
{
	static struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sendmsg, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_sendto, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {COUNT(filter), filter};
	char ports[2][16];

	snprintf(ports[0], sizeof(ports[0]), "%d", port);
	snprintf(ports[1], sizeof(ports[1]), "%d", control_port);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		die("seccomp");
	execl("/proc/self/exe", "renewal", "sandboxed", ports[0], ports[1], target, NULL);
	die("exec");
}

/* ---- arguments that are wrong ---- */

static void wrong_arguments(void)
{
	struct msghdr message = {.msg_iov = (struct iovec *)8, .msg_iovlen = 3};
	/* not known to the compiler, which would complain */
	char *volatile bad = (char *)8;
	volatile int too_few = -1;
	int fd;

	prime();
	fd = dial();
	report("write", write(fd, bad, 10));
	report("send", send(fd, bad, 10, 0));
	report("writev", writev(fd, (struct iovec *)bad, 2));
	report("writev of 1025", writev(fd, (struct iovec *)bad, 1025));
	report("writev of too few", writev(fd, (struct iovec *)bad, too_few));
	report("sendmsg", sendmsg(fd, &message, 0));
	report("sendmsg of nothing", sendmsg(fd, (struct msghdr *)(bad - 8), 0));
	message.msg_iovlen = 1025;
	report("sendmsg of 1025", sendmsg(fd, &message, 0));
	report("write nothing", write(fd, bad, 0));
	request(fd, "GET", target);
	show_answer(fd);
	close(fd);
}

/* ---- what the pool makes of it ---- */

static void pause_ms(int ms)
{
	nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000L}, NULL);
}

/* One request fails on a connection that was hardly idle. No connection is used again for a
 * second; then they are, and are idle for longer. */
static void dies_once(void)
{
	int fd;

	prime();
	fd = dial();
	request(fd, "GET", target);
	show_answer(fd);
	close(fd);
	pause_ms(1050);
	for (int i = 0; i < 3; i++) {
		visit("/after");
		pause_ms(60);
	}
	fd = dial();
	report("sent", request_of(fd, "POST", "/posted", "loopback"));
	show_answer(fd);
	close(fd);
}

/* A request that must not be repeated; what the program sees of it is the kernel's to say. */
static void sent_once(void)
{
	int fd;

	prime();
	fd = dial();
	report("sent", request_of(fd, how, target, "loopback"));
	show_answer(fd);
	close(fd);
}

/* The server keeps connections for two seconds, so that after more than half of one nothing that
 * must not be repeated is sent on it. */
static void too_old(void)
{
	for (int i = 0; i < 2; i++) {
		int fd = dial();

		report("sent", request_of(fd, i ? how : "GET", target, "loopback"));
		show_answer(fd);
		close(fd);
		if (!i)
			pause_ms(600);
	}
}

/* More than is kept of a request. */
static void too_long(void)
{
	static char text[70000];
	const size_t body = 65000;
	int head = snprintf(text, sizeof(text),
		"GET %s HTTP/1.1\r\nHost: loopback\r\nX: %01000d\r\nContent-Length: %zu\r\n\r\n",
		target, 0, body);
	int fd;

	memset(text + head, 'x', body);
	prime();
	fd = dial();
	report("sent", send_all(fd, text, (size_t)head + body));
	show_answer(fd);
	close(fd);
}

/* Several requests at once. */
static void pipelined(void)
{
	char buffer[4096] = "";
	ssize_t length = 0;
	int fd;

	prime();
	fd = dial();
	for (int i = 0; i < 3; i++)
		request(fd, i == 2 ? how : "GET", target);
	for (int answers = 0; answers < 3 && length >= 0; answers++) {
		memset(buffer, 0, sizeof(buffer));
		length = recv(fd, buffer,
			strlen("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n") + strlen(target),
			MSG_WAITALL);
		show_bytes("answer", buffer, length);
	}
	close(fd);
}

static const struct scenario scenarios[] = {
	{"after_shutdown", after_shutdown},
	{"another_host", another_host},
	{"byte_by_byte", byte_by_byte},
	{"connecting", connecting},
	{"dead_at_once", dead_at_once},
	{"dead_unused", dead_unused},
	{"dies_once", dies_once},
	{"duplicated", duplicated},
	{"enter_sandbox", enter_sandbox},
	{"errno_stays", errno_stays},
	{"grow_by_addresses", grow_by_addresses},
	{"grow_by_hosts", grow_by_hosts},
	{"half_closed", half_closed},
	{"looks_the_same", looks_the_same},
	{"no_more_descriptors", no_more_descriptors},
	{"nothing_sent", nothing_sent},
	{"pipelined", pipelined},
	{"receives", receives},
	{"sandboxed", sandboxed},
	{"sends", sends},
	{"sent_once", sent_once},
	{"set_closed", set_closed},
	{"socket_limits", socket_limits},
	{"too_long", too_long},
	{"too_old", too_old},
	{"waits", waits},
	{"waits_blocking", waits_blocking},
	{"waits_in_vain", waits_in_vain},
	{"waits_twice", waits_twice},
	{"wrong_arguments", wrong_arguments},
};

int main(int argc, char **argv)
{
	return main_of(argc, argv, scenarios, COUNT(scenarios));
}

/* A random walk over everything that a program does with descriptors: KIND SEED STEPS PORT PORT.
 *
 * The walk compares its model of each number with the kernel after each step (walk.h), checks every
 * byte that it is given, and prints what each call answered: the same seed prints the same, with a
 * library that hides connections or without. KIND says which operations there are:
 *
 *   descriptors  dup and its family, ranges, numbers of every kind
 *   limits       the same with few descriptors, and a limit that changes
 *   invisible    the same calls by libc, by syscall() and by instructions of the program's own
 *   stdio        streams on connections and files
 *   environment  between changes of user and root
 */
#include "walk.h"
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum walk {
	DESCRIPTORS = 1,
	LIMITS = 2,
	INVISIBLE = 4,
	STDIO = 8,
	ENVIRONMENT = 16,
	EVERY = 31,
};

static enum walk walk;
static int ports[2];

/* ---- three ways to make a call ---- */

enum way {
	BY_LIBC,
	BY_SYSCALL,
	INLINE,
};

/* Mostly by libc, or next to nothing would be parked that could be got wrong. */
static enum way any_way(void)
{
	static const enum way ways[10] = {[8] = BY_SYSCALL, [9] = INLINE};

	return walk == INVISIBLE ? ways[below(COUNT(ways))] : BY_LIBC;
}

/* A second holder of a connection, or an option of it, must not be made where nobody sees it. */
static enum way any_seen_way(void)
{
	return walk == INVISIBLE ? (enum way)below(2) : BY_LIBC;
}

#define BY(way, libc, number, ...)                                                                 \
	((way) == BY_LIBC         ? (long)(libc)                                                   \
		: (way) == INLINE ? RAW_CALL(number, __VA_ARGS__)                                  \
				  : syscall(number, __VA_ARGS__))

static int close_by(enum way way, int fd)
{
	return (int)BY(way, close(fd), SYS_close, fd);
}

static int dup2_by(enum way way, int fd, int to)
{
	return (int)BY(way, dup2(fd, to), SYS_dup2, fd, to);
}

/* ---- connections ---- */

/* Whose it is, so that the server's log shows who had which connection. */
static int name_request(char *name, size_t size, const struct object *object, unsigned id)
{
	return snprintf(name, size, "%u-%u-%u", object->user, object->id, id);
}

static void send_request(enum way way, struct slot *slot, unsigned id)
{
	char name[40], text[128];
	int length;

	name_request(name, sizeof(name), slot->object, id);
	length = snprintf(text, sizeof(text), "GET /echo/%s HTTP/1.1\r\nHost: walk\r\n\r\n", name);
	if (slot->stream) {
		fputs(text, slot->stream);
		fflush(slot->stream);
	} else if (BY(way, write(slot->fd, text, (size_t)length), SYS_write, slot->fd, text,
			   length) != length) {
		broken("a request was not sent", slot->fd);
	}
}

static ssize_t read_some(enum way way, struct slot *slot, char *data, size_t length)
{
	struct pollfd ready = {.fd = slot->fd, .events = POLLIN};
	ssize_t got;

	if (slot->stream)
		return (ssize_t)fread(data, 1, length, slot->stream);
	do {
		got = BY(way, read(slot->fd, data, length), SYS_read, slot->fd, data, length);
	} while (got < 0 && errno == EAGAIN && poll(&ready, 1, -1) > 0);
	return got;
}

/* The whole response, and nothing else: its length is known, as what was asked for is. */
static void read_response(enum way way, struct slot *slot, unsigned id)
{
	char body[40], wanted[128], data[128] = "";
	int body_length = name_request(body, sizeof(body), slot->object, id);
	int length = snprintf(wanted, sizeof(wanted),
		"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", body_length, body);

	for (int done = 0; done < length;) {
		ssize_t got = read_some(way, slot, data + done, (size_t)(length - done));

		if (got <= 0)
			broken("a response did not come", slot->fd);
		done += (int)got;
	}
	if (strcmp(data, wanted))
		broken("a response was another's", slot->fd);
}

static void read_pending(struct object *object, struct slot *slot)
{
	read_response(any_way(), slot, object->pending[0]);
	memmove(object->pending, object->pending + 1, sizeof(object->pending[0]) * 3);
	object->n_pending--;
}

static void exchange_on(struct slot *slot)
{
	unsigned id = ++last_id;

	while (slot->object->n_pending)
		read_pending(slot->object, slot);
	send_request(any_way(), slot, id);
	read_response(any_way(), slot, id);
	say("exchange", id);
}

/* What a new connection is like must not depend on what was done to others. */
static void say_options(int fd)
{
	struct timeval timeout = {.tv_sec = -1};
	socklen_t size = sizeof(timeout);
	int keepalive = -1, nodelay = -1;

	getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, &size);
	size = sizeof(int);
	getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &keepalive, &size);
	getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &nodelay, &size);
	printf("%u like %x %x %ld %d %d\n", step, fcntl(fd, F_GETFL), fcntl(fd, F_GETFD),
		(long)timeout.tv_sec, keepalive, nodelay);
}

static void connect_slot(struct slot *slot)
{
	struct object *object = slot->object;
	struct sockaddr_in address;
	int result;

	object->user = n_users;
	address = loopback(ports[below(2)]);
	result = (int)BY(any_way(), connect(slot->fd, (struct sockaddr *)&address, sizeof(address)),
		SYS_connect, slot->fd, &address, sizeof(address));
	say("connect", result);
	if (result < 0 && errno == EINPROGRESS) {
		struct pollfd ready = {.fd = slot->fd, .events = POLLOUT};
		socklen_t size = sizeof(result);

		poll(&ready, 1, -1);
		getsockopt(slot->fd, SOL_SOCKET, SO_ERROR, &result, &size);
		say("connected", result);
	} else if (result < 0) {
		return;
	}
	object->kind = CONNECTION;
	/* The one moment at which a number may get another socket; but not if somebody else holds
	 * the one that it had. */
	if (object->holders == 1)
		object->identity = identity_of(slot->fd);
	say_options(slot->fd);
}

static void op_socket(void)
{
	int type = SOCK_STREAM | (below(4) ? 0 : SOCK_CLOEXEC) | (below(4) ? 0 : SOCK_NONBLOCK);
	int fd = (int)BY(any_way(), socket(AF_INET, type, 0), SYS_socket, AF_INET, type, 0);

	say_number("socket", fd);
	if (fd >= 0)
		opened(fd, new_object(SOCKET));
}

static void op_connect(void)
{
	struct slot *slot = any(OF(SOCKET));

	if (slot)
		connect_slot(slot);
}

static void op_dial(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	say_number("dial", fd);
	if (fd < 0)
		return;
	opened(fd, new_object(SOCKET));
	connect_slot(slot_of(fd));
}

static void op_exchange(void)
{
	struct slot *slot = any(OF(CONNECTION));

	if (slot)
		exchange_on(slot);
}

static void op_ask(void)
{
	struct slot *slot = any(OF(CONNECTION));

	if (!slot || slot->object->n_pending == MAX_PENDING)
		return;
	slot->object->pending[slot->object->n_pending++] = ++last_id;
	send_request(any_way(), slot, last_id);
	say("ask", last_id);
}

static void op_answer(void)
{
	struct slot *slot = any(OF(CONNECTION));

	if (!slot || !slot->object->n_pending)
		return;
	say("answer", slot->object->pending[0]);
	read_pending(slot->object, slot);
}

/* the whole of what most programs do */
static void op_visit(void)
{
	struct slot *slot;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	say_number("visit", fd);
	if (fd < 0)
		return;
	opened(fd, new_object(SOCKET));
	slot = slot_of(fd);
	connect_slot(slot);
	exchange_on(slot);
	say("close", close_by(any_way(), fd));
	closed(slot);
}

static void op_shutdown(void)
{
	static const int hows[] = {SHUT_RD, SHUT_WR, SHUT_RDWR};
	struct slot *slot = any(OF(CONNECTION));
	int how = hows[below(3)];

	if (!slot)
		return;
	say("shutdown", BY(any_way(), shutdown(slot->fd, how), SYS_shutdown, slot->fd, how));
	slot->object->kind = FINISHED;
}

static void op_option(void)
{
	struct slot *slot = any(OF(CONNECTION) | OF(SOCKET));
	struct timeval timeout = {.tv_sec = 100 + below(100)};
	enum way way = any_seen_way();
	int on = 1;

	if (!slot)
		return;
	if (below(2))
		say("timeout", BY(way,
				       setsockopt(slot->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout,
					       sizeof(timeout)),
				       SYS_setsockopt, slot->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout,
				       sizeof(timeout)));
	else
		say("keepalive",
			BY(way, setsockopt(slot->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)),
				SYS_setsockopt, slot->fd, SOL_SOCKET, SO_KEEPALIVE, &on,
				sizeof(on)));
}

static void op_flags(void)
{
	struct slot *slot = any(OF(CONNECTION) | OF(SOCKET) | OF(BYTES));
	enum way way = any_way();
	int flags;

	if (!slot)
		return;
	flags = fcntl(slot->fd, F_GETFL) ^ O_NONBLOCK;
	if (below(2))
		say("nonblock", BY(way, fcntl(slot->fd, F_SETFL, flags), SYS_fcntl, slot->fd,
					F_SETFL, flags));
	else
		say("cloexec", BY(way, fcntl(slot->fd, F_SETFD, FD_CLOEXEC), SYS_fcntl, slot->fd,
				       F_SETFD, FD_CLOEXEC));
}

/* ---- files and pipes ---- */

static void op_bytes(void)
{
	int fd = memfd_create("walk", 0);
	struct object *object;

	say_number("bytes", fd);
	if (fd < 0)
		return;
	object = new_object(BYTES);
	object->word = ++last_id;
	opened(fd, object);
	if (pwrite(fd, &object->word, sizeof(object->word), 0) != sizeof(object->word))
		broken("a file was not written", fd);
}

static void op_zero(void)
{
	int fd = (int)BY(walk == LIMITS ? BY_LIBC : any_way(), open("/dev/zero", O_RDWR),
		SYS_openat, AT_FDCWD, "/dev/zero", O_RDWR);

	say_number("zero", fd);
	if (fd >= 0)
		opened(fd, new_object(ZERO));
}

static void op_pipe(void)
{
	int ends[2];
	struct object *end, *start;

	if (!has_room(2))
		return;
	if (below(2) ? pipe(ends) : pipe2(ends, O_CLOEXEC)) {
		say("pipe", -1);
		return;
	}
	say_number("pipe", ends[0]);
	say_number("pipe", ends[1]);
	end = new_object(PIPE_END);
	opened(ends[0], end);
	start = new_object(PIPE_START);
	opened(ends[1], start);
	end->peer = start;
	start->peer = end;
}

static void op_write(void)
{
	struct slot *slot = any(OF(BYTES) | OF(PIPE_START));
	unsigned word = ++last_id;
	enum way way = any_way();

	if (!slot)
		return;
	if (slot->object->kind == BYTES) {
		slot->object->word = word;
		say("write", pwrite(slot->fd, &word, sizeof(word), 0));
		return;
	}
	if (slot->object->peer) {
		if (slot->object->peer->n_pending == MAX_PENDING)
			return;
		slot->object->peer->pending[slot->object->peer->n_pending++] = word;
	}
	say("put", BY(way, write(slot->fd, &word, sizeof(word)), SYS_write, slot->fd, &word,
			   sizeof(word)));
}

static void op_read(void)
{
	struct slot *slot = any(OF(BYTES) | OF(ZERO) | OF(PIPE_END));
	unsigned word = 1, wanted = 0;
	struct object *object;
	ssize_t got;

	if (!slot)
		return;
	object = slot->object;
	if (object->kind == PIPE_END && !object->n_pending && object->peer)
		return; /* it would wait for ever */
	if (object->kind == BYTES) {
		wanted = object->word;
		got = pread(slot->fd, &word, sizeof(word), 0);
	} else {
		got = BY(any_way(), read(slot->fd, &word, sizeof(word)), SYS_read, slot->fd, &word,
			sizeof(word));
	}
	if (object->kind == PIPE_END && object->n_pending) {
		wanted = object->pending[0];
		memmove(object->pending, object->pending + 1, sizeof(wanted) * 3);
		object->n_pending--;
	}
	say("read", got);
	if (got && word != wanted)
		broken("a file has another's bytes", slot->fd);
}

/* ---- closing ---- */

static void op_close(void)
{
	struct slot *slot = any(ANYTHING);

	if (!slot)
		return;
	say("close", close_by(any_way(), slot->fd));
	closed(slot);
}

/* a number that is not open, for all that this program knows */
static int any_absent(void)
{
	int fd = 3 + (int)below(below(2) ? 60 : HIGHEST - 3);

	return slot_of(fd) ? -1 : fd;
}

static void op_close_absent(void)
{
	int fd = any_absent();

	say("close absent", close_by(any_seen_way(), fd));
}

static void forget_range(int first, int last)
{
	for (size_t i = 0; i < MAX_SLOTS; i++) {
		if (slots[i].object && slots[i].fd >= first && slots[i].fd <= last)
			closed(&slots[i]);
	}
}

static void op_close_range(void)
{
	int first = 3 + (int)below(below(2) ? 60 : HIGHEST);
	int last = first + (int)below(below(2) ? 20 : HIGHEST);

	say("close_range", BY(any_way(), close_range((unsigned)first, (unsigned)last, 0),
				   SYS_close_range, first, last, 0));
	forget_range(first, last);
}

static void op_closefrom(void)
{
	int first = 20 + (int)below(HIGHEST);

	closefrom(first);
	say("closefrom", first);
	forget_range(first, HIGHEST);
}

/* ---- second numbers ---- */

static void op_dup(void)
{
	struct slot *slot = any(ANYTHING);
	enum way way = any_seen_way();
	/* Above what is hidden F_DUPFD finds other numbers: a difference that is known of. */
	int fd, least = 3 + (int)below(walk == LIMITS ? 8 : 100);

	if (!slot)
		return;
	switch (below(3)) {
	case 0:
		fd = (int)BY(way, dup(slot->fd), SYS_dup, slot->fd);
		break;
	case 1:
		fd = (int)BY(
			way, fcntl(slot->fd, F_DUPFD, least), SYS_fcntl, slot->fd, F_DUPFD, least);
		break;
	default:
		fd = (int)BY(way, fcntl(slot->fd, F_DUPFD_CLOEXEC, least), SYS_fcntl, slot->fd,
			F_DUPFD_CLOEXEC, least);
	}
	say_number("dup", fd);
	opened(fd, slot->object);
}

/* where a library that hides connections would begin, under a common limit */
static int likely_hidden(void)
{
	return 958 + (int)below(8);
}

/* onto a number that is free, or seems so: it may be a hidden one */
static void op_dup2(void)
{
	struct slot *slot = any(ANYTHING);
	int to = below(2) ? likely_hidden() : any_absent();
	int result;

	if (!slot || to < 0 || slot_of(to))
		return;
	if (below(2))
		result = dup2_by(any_seen_way(), slot->fd, to);
	else
		result = dup3(slot->fd, to, O_CLOEXEC);
	say_number("dup2", result);
	opened(result, slot->object);
}

/* over a number that is open, whatever it is */
static void op_dup2_over(void)
{
	struct slot *slot = any(ANYTHING);
	struct slot *over = any(ANYTHING);
	bool is_file;
	int result;

	if (!slot || !over || slot->fd == over->fd)
		return;
	is_file = slot->object->kind != CONNECTION && slot->object->kind != SOCKET;
	result = dup2_by(is_file ? any_way() : any_seen_way(), slot->fd, over->fd);
	say_number("dup2 over", result);
	if (result < 0)
		return;
	let_go(over->object);
	hold(over, over->fd, slot->object);
}

/* ---- what cannot be seen at all ---- */

static void op_close_hidden(void)
{
	int fd = likely_hidden();

	/* What this gives is the library's own affair. */
	if (!slot_of(fd))
		RAW_CALL(SYS_close, fd);
}

/* A file of the program's is on a number that was hidden a moment ago. */
static void op_take_hidden(void)
{
	struct slot *slot = any(OF(BYTES) | OF(ZERO) | OF(PIPE_END) | OF(PIPE_START));
	int to = likely_hidden();

	if (!slot || slot_of(to))
		return;
	say_number("take", dup2_by(INLINE, slot->fd, to));
	opened(to, slot->object);
	say("flags", fcntl(to, F_GETFD));
}

/* ---- epoll ---- */

static void op_watcher(void)
{
	int fd = epoll_create1(0);

	say_number("watcher", fd);
	if (fd >= 0)
		opened(fd, new_object(WATCHER));
}

static void op_watch(void)
{
	struct slot *set = any(OF(WATCHER));
	struct slot *slot = any(OF(CONNECTION) | OF(SOCKET));
	struct epoll_event event = {.events = EPOLLOUT};

	if (!set || !slot)
		return;
	event.data.u32 = slot->object->id;
	say("watch", BY(any_seen_way(), epoll_ctl(set->fd, EPOLL_CTL_ADD, slot->fd, &event),
			     SYS_epoll_ctl, set->fd, EPOLL_CTL_ADD, slot->fd, &event));
}

/* How many are ready and whose they are; their order is nobody's promise. */
static void op_events(void)
{
	struct slot *set = any(OF(WATCHER));
	struct epoll_event events[MAX_SLOTS * 2];
	unsigned long ids = 0;
	int n;

	if (!set)
		return;
	n = epoll_wait(set->fd, events, MAX_SLOTS * 2, 0);
	for (int i = 0; i < n; i++)
		ids += events[i].data.u32;
	say("events", n);
	say("of", (long)ids);
}

/* ---- limits ---- */

static void op_limit(void)
{
	static const rlim_t limits[] = {16, 20, 24, 32, 50, 64, 100, 300, 1024};
	struct rlimit now;

	getrlimit(RLIMIT_NOFILE, &now);
	now.rlim_cur = limits[below(COUNT(limits))];
	say("limit",
		below(2) ? setrlimit(RLIMIT_NOFILE, &now) : prlimit(0, RLIMIT_NOFILE, &now, NULL));
}

/* everything that there is, and how much that was */
static void op_hog(void)
{
	int hogged[HIGHEST];
	int n = 0;

	while (n < HIGHEST && (hogged[n] = open("/dev/null", O_RDONLY)) >= 0)
		n++;
	say("hog", n);
	while (n)
		close(hogged[--n]);
}

/* ---- stdio ---- */

static void op_fdopen(void)
{
	struct slot *slot = any(OF(CONNECTION) | OF(BYTES) | OF(ZERO));

	if (!slot)
		return;
	slot->stream = fdopen(slot->fd, "r+");
	say("fdopen", slot->stream ? 0 : -1);
	if (slot->stream)
		setvbuf(slot->stream, NULL, below(2) ? _IOFBF : _IONBF, 512);
}

static void op_fopen(void)
{
	FILE *stream = fopen("/dev/zero", "r+");
	int fd = stream ? fileno(stream) : -1;

	say_number("fopen", fd);
	if (!stream)
		return;
	opened(fd, new_object(ZERO));
	slot_of(fd)->stream = stream;
}

static void op_stream(void)
{
	struct slot *slot = any_stream();

	if (!slot)
		return;
	switch (slot->object->kind) {
	case CONNECTION:
		/* A stream must not change its direction without being told. */
		if (fcntl(slot->fd, F_GETFL) & O_NONBLOCK)
			fcntl(slot->fd, F_SETFL, O_RDWR);
		clearerr(slot->stream);
		exchange_on(slot);
		break;
	case ZERO:
		say("getc", getc(slot->stream));
		break;
	default:
		break;
	}
}

static void op_fclose(void)
{
	struct slot *slot = any_stream();

	if (!slot)
		return;
	say("fclose", fclose(slot->stream));
	slot->stream = NULL;
	closed(slot);
}

/* What many do by mistake: fclose() finds its number closed. */
static void op_close_under_stream(void)
{
	struct slot *slot = any_stream();

	if (!slot)
		return;
	say("close", close(slot->fd));
	say("fclose", fclose(slot->stream));
	slot->stream = NULL;
	closed(slot);
}

static void op_freopen(void)
{
	struct slot *slot = any_stream();
	FILE *stream;

	if (!slot)
		return;
	stream = freopen("/dev/zero", "r+", slot->stream);
	slot->stream = NULL;
	closed(slot);
	say_number("freopen", stream ? fileno(stream) : -1);
	if (!stream)
		return;
	opened(fileno(stream), new_object(ZERO));
	slot_of(fileno(stream))->stream = stream;
}

/* ---- environment ---- */

#define NOBODY 65534

static int become(uid_t id)
{
	/* Not setfsuid(), after which there is no pool any more. */
	switch (below(5)) {
	case 0:
		return setresuid(-1U, id, 0);
	case 1:
		return setegid(id);
	case 2:
		return setgroups(1, &id);
	case 3:
		return chroot("/");
	default:
		return seteuid(id);
	}
}

static void op_user(void)
{
	int result = become(below(2) ? NOBODY : 0);

	say("become", result);
	if (result == 0)
		n_users++;
}

/* ---- the walk ---- */

struct operation {
	void (*run)(void);
	unsigned walks;
	unsigned weight;
	bool needs_room;
};

static const struct operation operations[] = {
	{op_socket, EVERY, 2, true},
	{op_connect, EVERY, 4, false},
	{op_dial, EVERY, 8, true},
	{op_visit, EVERY, 8, true},
	{op_exchange, EVERY, 10, false},
	{op_ask, EVERY, 3, false},
	{op_answer, EVERY, 3, false},
	{op_shutdown, EVERY, 1, false},
	{op_option, EVERY, 2, false},
	{op_flags, EVERY, 2, false},
	{op_bytes, EVERY, 3, true},
	{op_zero, EVERY, 2, true},
	{op_pipe, EVERY, 2, true},
	{op_write, EVERY, 3, false},
	{op_read, EVERY, 4, false},
	{op_close, EVERY, 16, false},
	{op_dup, DESCRIPTORS | LIMITS | INVISIBLE | ENVIRONMENT, 3, true},
	{op_dup2, DESCRIPTORS | INVISIBLE, 3, true},
	{op_dup2_over, DESCRIPTORS | LIMITS | INVISIBLE, 3, false},
	{op_close_absent, DESCRIPTORS | INVISIBLE, 3, false},
	{op_close_range, DESCRIPTORS | INVISIBLE, 1, false},
	{op_closefrom, DESCRIPTORS, 1, false},
	{op_watcher, DESCRIPTORS | LIMITS | INVISIBLE, 1, true},
	{op_watch, DESCRIPTORS | LIMITS | INVISIBLE, 5, false},
	{op_events, DESCRIPTORS | LIMITS | INVISIBLE, 5, false},
	{op_limit, LIMITS, 6, false},
	{op_hog, LIMITS, 3, false},
	{op_close_hidden, INVISIBLE, 5, false},
	{op_take_hidden, INVISIBLE, 5, true},
	{op_fdopen, STDIO, 6, false},
	{op_fopen, STDIO, 2, true},
	{op_stream, STDIO, 12, false},
	{op_fclose, STDIO, 5, false},
	{op_close_under_stream, STDIO, 1, false},
	{op_freopen, STDIO, 2, false},
	{op_user, ENVIRONMENT, 6, false},
};

static const struct operation *any_operation(void)
{
	unsigned total = 0, chosen;

	for (size_t i = 0; i < COUNT(operations); i++)
		total += operations[i].walks & walk ? operations[i].weight : 0;
	chosen = below(total);
	for (size_t i = 0;; i++) {
		unsigned weight = operations[i].walks & walk ? operations[i].weight : 0;

		if (chosen < weight)
			return &operations[i];
		chosen -= weight;
	}
}

static void take_steps(unsigned steps)
{
	for (step = 1; step <= steps; step++) {
		const struct operation *operation = any_operation();

		if (!operation->needs_room || has_room(1))
			operation->run();
		compare_with_kernel();
	}
}

/* Afterwards nothing is open but what is hidden, whose number the driver compares. */
static void end(void)
{
	struct slot *slot;

	while ((slot = any_stream())) {
		fclose(slot->stream);
		slot->stream = NULL;
		closed(slot);
	}
	while ((slot = any(ANYTHING))) {
		if (close(slot->fd))
			broken("close", slot->fd);
		closed(slot);
	}
	printf("hidden: %d\n", count_hidden());
}

static enum walk walk_by_name(const char *name)
{
	static const char *const names[] = {
		"descriptors", "limits", "invisible", "stdio", "environment"};

	for (size_t i = 0; i < COUNT(names); i++) {
		if (!strcmp(names[i], name))
			return (enum walk)(1 << i);
	}
	return 0;
}

int main(int argc, char **argv)
{
	walk = argc == 6 ? walk_by_name(argv[1]) : 0;
	if (!walk) {
		fprintf(stderr, "usage: stress-walk KIND SEED STEPS PORT PORT\n");
		return 3;
	}
	chance = strtoull(argv[2], NULL, 10) * 0x9e3779b97f4a7c15ULL + 1;
	ports[0] = atoi(argv[4]);
	ports[1] = atoi(argv[5]);
	signal(SIGPIPE, SIG_IGN);
	take_steps((unsigned)atoi(argv[3]));
	/* who may write, where somebody wants to know how it went */
	if (walk == ENVIRONMENT && geteuid() != 0 && seteuid(0))
		return 4;
	end();
	return 0;
}

/* A strict HTTP/1.1 client: a connection for each request, and every byte of a response checked.
 *
 *      fault-client PORT MODE SEED REQUESTS THREADS IO PIECES FAILURES
 *      fault-client --list             the words for IO
 *
 * MODE and SEED are those of the fault server, and say what the requests are like (faults.h).
 * PIECES is 1, or more: then a request is cut wherever it happens, its head and its body apart. One
 * line for each request that did not end well is written to the file FAILURES:
 *
 *      ID METHOD FAULT PHASE ERROR PORT WROTE FAILED
 *
 * Prints one line of JSON. "wrong" is a response that is not this request's, or an event of another
 * socket's; a request that gets no further for 20 s hangs, and ends the program.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "faults.h"

#define PATIENCE_MS  20000
#define MOST_THREADS 64
#define MOST_BUFFER  (2 * MOST_BODY + 8192)
#define MOST_HEAD    2048
#define MOST_REFUSED 5000
#define MOST_IDLING  100000 /* events after which there was nothing to do */

enum phase { CONNECTING, WRITING, READING_HEAD, READING_BODY, CLOSING, N_PHASES };
static const char *const phase_words[] = {"connect", "write", "head", "body", "close"};

/* How a request ended: an errno, or one of these. */
enum ending { WELL = 0, AT_EOF = 1000, MALFORMED, WRONG, TIMED_OUT, HUNG };

struct thread;

/* A way of waiting. */
struct io {
	const char *word;
	bool blocking, timeouts;
	bool registers, registers_before; /* it has an epoll set: before connect(), or after it */
	uint32_t flags;                   /* of epoll */
	bool (*wait)(struct thread *t, short events);
};

struct thread {
	pthread_t thread;
	int number, epoll;
	uint32_t done;      /* requests of its own */
	atomic_llong since; /* when it last got further; 0: it has done its work */

	/* the request */
	uint32_t id;
	struct work work;
	int fd;
	enum phase phase;
	int ending;
	int port;
	int64_t wrote_at;
	bool armed; /* EPOLLONESHOT */
	bool edge_in, edge_out;
	long idling;
	char out[MOST_BODY + MOST_HEAD];
	size_t head_size, out_size;

	/* the response */
	char in[MOST_BUFFER];
	size_t in_size;
	size_t at;        /* where the response's head begins, behind those of interim ones */
	size_t body_at;   /* where its body begins; 0 if its head is not there yet */
	size_t body_size; /* of it as seen so far, without the chunks' framing */
	size_t chunks_at; /* where the next chunk begins */
	bool at_eof;
};

static enum fault mode;
static uint64_t seed;
static uint32_t n_requests;
static int server_port, n_pieces, n_threads;
static const struct io *io;
static struct thread *threads[MOST_THREADS];
static FILE *failures;
static pthread_mutex_t failures_lock = PTHREAD_MUTEX_INITIALIZER;

static atomic_uint next_id;
static atomic_long well, wrong, errors, refused, beyond;

static void need(bool holds, const char *what)
{
	if (holds)
		return;
	perror(what);
	exit(1);
}

static uint32_t chance(const struct thread *t, unsigned what, uint32_t limit)
{
	return draw(seed, t->id, what, limit);
}

static bool ends(struct thread *t, int how)
{
	t->ending = how;
	return false;
}

static void gets_further(struct thread *t)
{
	atomic_store(&t->since, now_ns());
	t->idling = 0;
}

/* ---- waiting: false if nothing comes ---- */

static bool wait_not(struct thread *t, short events)
{
	(void)t;
	(void)events;
	return true;
}

static bool wait_poll(struct thread *t, short events)
{
	struct pollfd ready = {.fd = t->fd, .events = events};

	return poll(&ready, 1, PATIENCE_MS) > 0 || ends(t, HUNG);
}

static bool wait_select(struct thread *t, short events)
{
	struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
	fd_set set;

	FD_ZERO(&set);
	FD_SET(t->fd, &set);
	return select(t->fd + 1, events & POLLIN ? &set : NULL, events & POLLOUT ? &set : NULL,
		       NULL, &patience) > 0 ||
	       ends(t, HUNG);
}

static bool control(struct thread *t, int operation, uint32_t events)
{
	struct epoll_event event = {.events = events | io->flags, .data.u64 = t->id};

	return epoll_ctl(t->epoll, operation, t->fd, &event) == 0 || ends(t, errno);
}

/* One event of this socket, and of no other. */
static bool next_event(struct thread *t, uint32_t *events)
{
	struct epoll_event event;

	if (epoll_wait(t->epoll, &event, 1, PATIENCE_MS) <= 0)
		return ends(t, HUNG);
	*events = event.events;
	return event.data.u64 == t->id || ends(t, WRONG);
}

/* Also EPOLLONESHOT, which is armed again each time anyway. */
static bool wait_level(struct thread *t, short events)
{
	uint32_t got;

	return control(t, EPOLL_CTL_MOD, events & POLLIN ? EPOLLIN : EPOLLOUT) &&
	       next_event(t, &got);
}

/* Only events of which nothing is known yet are waited for. */
static bool wait_edge(struct thread *t, short events)
{
	bool *edge = events & POLLIN ? &t->edge_in : &t->edge_out;
	uint32_t got;

	while (!*edge) {
		if (!next_event(t, &got))
			return false;
		if (got & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
			t->edge_in = true;
		if (got & (EPOLLOUT | EPOLLHUP | EPOLLERR))
			t->edge_out = true;
	}
	*edge = false;
	return true;
}

static const struct io ios[] = {
	{"blocking", .blocking = true, .wait = wait_not},
	{"timeouts", .blocking = true, .timeouts = true, .wait = wait_not},
	{"poll", .wait = wait_poll},
	{"select", .wait = wait_select},
	{"level", .registers = true, .wait = wait_level},
	{"level-before", .registers = true, .registers_before = true, .wait = wait_level},
	{"edge", .registers = true, .flags = EPOLLET, .wait = wait_edge},
	{"edge-before", .registers = true, .registers_before = true, .flags = EPOLLET,
		.wait = wait_edge},
	{"oneshot-before", .registers = true, .registers_before = true, .flags = EPOLLONESHOT,
		.wait = wait_level},
};

static bool watch(struct thread *t)
{
	return control(
		t, EPOLL_CTL_ADD, io->flags & EPOLLET ? EPOLLIN | EPOLLOUT | EPOLLRDHUP : EPOLLOUT);
}

/* Waits after a call that would have blocked; where it should not have, that is a hang. */
static bool wait_again(struct thread *t, short events)
{
	if (io->blocking || ++t->idling > MOST_IDLING)
		return ends(t, HUNG);
	return io->wait(t, events);
}

/* ---- connecting ---- */

/* Half of a thread's requests go to an address that it shares with the others; the other half have
 * one for each 4, so that much is new. */
static struct sockaddr_in server_address(const struct thread *t)
{
	uint32_t own = 0x7f010000 + (uint32_t)t->number * 0x10000 + t->done / 4 % 0x10000;

	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)server_port),
		.sin_addr.s_addr = htonl(t->done / 16 % 2 ? own : INADDR_LOOPBACK),
	};
}

static bool make_socket(struct thread *t)
{
	struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};

	t->edge_in = t->edge_out = false;
	t->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | (io->blocking ? 0 : SOCK_NONBLOCK), 0);
	need(t->fd >= 0, "socket");
	if (io->timeouts) {
		setsockopt(t->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		setsockopt(t->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	}
	return !io->registers_before || watch(t);
}

static bool finish_connect(struct thread *t)
{
	socklen_t size = sizeof(int);
	int error;

	/* Registered and not connected yet, a socket is said to have hung up. */
	if (io->registers && !io->registers_before && !watch(t))
		return false;
	if (!io->wait(t, POLLOUT))
		return false;
	need(getsockopt(t->fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0, "SO_ERROR");
	return !error || ends(t, error);
}

static bool dial(struct thread *t)
{
	struct sockaddr_in address = server_address(t);

	t->phase = CONNECTING;
	if (!make_socket(t))
		return false;
	if (connect(t->fd, (struct sockaddr *)&address, sizeof(address)) < 0 &&
		(errno != EINPROGRESS || io->blocking))
		return ends(t, errno);
	if (!io->blocking) {
		/* What was reported before connect() is of a socket without a connection. */
		t->edge_in = t->edge_out = false;
		if (!finish_connect(t))
			return false;
	}
	gets_further(t);
	return true;
}

static int own_port(const struct thread *t)
{
	struct sockaddr_in own = {.sin_port = 0};
	socklen_t size = sizeof(own);

	getsockname(t->fd, (struct sockaddr *)&own, &size);
	return ntohs(own.sin_port);
}

/* ---- writing ---- */

static void make_request(struct thread *t)
{
	char filler[400];
	uint32_t n_filler = chance(t, DRAW_FILLER, sizeof(filler));
	unsigned workload = mode == FAULT_all ? 0 : fault_rows[mode].workload;
	unsigned host = workload & HOSTS ? chance(t, DRAW_HOST, 3) : 0;
	bool expects = workload & EXPECTS && t->work.sends;
	bool asks = workload & ASKS && chance(t, DRAW_ASKS, 2);
	char length[64] = "";

	memset(filler, '-', n_filler);
	if (t->work.method->has_body)
		snprintf(length, sizeof(length), "Content-Length: %u\r\n", t->work.sends);
	t->head_size = (size_t)snprintf(t->out, MOST_HEAD,
		"%s /%u HTTP/1.1\r\nHost: host%u\r\nX-Filler: %.*s\r\n%s%s%s\r\n",
		t->work.method->word, t->id, host, (int)n_filler, filler, length,
		expects ? "Expect: 100-continue\r\n" : "", asks ? "Connection: close\r\n" : "");
	fill_body(t->out + t->head_size, t->work.sends, t->id);
	t->out_size = t->head_size + t->work.sends;
}

static ssize_t write_some(struct thread *t, const char *data, size_t length)
{
	struct iovec parts[2] = {
		{(void *)data, length / 2}, {(void *)(data + length / 2), length - length / 2}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

	switch (chance(t, DRAW_WRITE_WITH, 5)) {
	case 0:
		return write(t->fd, data, length);
	case 1:
		return writev(t->fd, parts, 2);
	case 2:
		return sendmsg(t->fd, &message, MSG_NOSIGNAL);
	case 3:
		return sendto(t->fd, data, length, MSG_NOSIGNAL, NULL, 0);
	default:
		return send(t->fd, data, length, MSG_NOSIGNAL);
	}
}

static bool write_all(struct thread *t, const char *data, size_t length)
{
	while (length) {
		ssize_t written = write_some(t, data, length);

		if (written < 0 && errno != EAGAIN)
			return ends(t, errno);
		if (written < 0) {
			if (!wait_again(t, POLLOUT))
				return false;
			continue;
		}
		gets_further(t);
		data += written;
		length -= (size_t)written;
	}
	return true;
}

/* At random places, with pauses sometimes; the end of the head is one of those places. */
static bool write_pieces(struct thread *t, size_t from, size_t to)
{
	for (unsigned n = 0; from < to; n++) {
		size_t size = to - from;

		if (n_pieces > 1 && from < t->head_size && n < 3)
			size = 1 + chance(t, DRAW_PIECE + n, (uint32_t)(t->head_size - from));
		else if (n_pieces > 1 && from < t->head_size && t->head_size < to)
			size = t->head_size - from;
		if (!write_all(t, t->out + from, size))
			return false;
		from += size;
		if (n_pieces > 1 && !chance(t, DRAW_PAUSE + 100 + n, 8))
			pause_us(chance(t, DRAW_PAUSE + 200 + n, 1500));
	}
	return true;
}

/* ---- reading ---- */

static ssize_t peek_and_read(struct thread *t, char *data, size_t length)
{
	ssize_t there = recv(t->fd, data, length, MSG_PEEK);
	size_t take = (size_t)there;
	char *end;

	if (there <= 0)
		return there;
	/* No more than the head, so that the rest is left to the next read. */
	data[there] = '\0';
	end = t->body_at ? NULL : strstr(data, "\r\n\r\n");
	if (end)
		take = (size_t)(end + 4 - data);
	return recv(t->fd, data, take, 0);
}

static ssize_t read_some(struct thread *t, char *data, size_t length)
{
	struct iovec parts[2] = {{data, 100}, {data + 100, length - 100}};
	struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

	switch (chance(t, DRAW_READ_WITH, 6)) {
	case 0:
		return read(t->fd, data, length);
	case 1:
		return readv(t->fd, parts, 2);
	case 2:
		return recvmsg(t->fd, &message, 0);
	case 3:
		return recvfrom(t->fd, data, length, 0, NULL, NULL);
	case 4:
		return peek_and_read(t, data, length);
	default:
		return recv(t->fd, data, length, 0);
	}
}

/* Some more; sets at_eof. */
static bool read_more(struct thread *t)
{
	bool wait_first = !io->blocking && chance(t, DRAW_BEFORE_READ + 200, 2);
	size_t room = sizeof(t->in) - 1 - t->in_size;
	ssize_t received;

	if (room < 1000)
		return ends(t, MALFORMED);
	if (wait_first && !(io->flags & EPOLLET) && !io->wait(t, POLLIN))
		return false;
	while ((received = read_some(t, t->in + t->in_size, room)) < 0) {
		if (errno != EAGAIN)
			return ends(t, errno);
		if (!wait_again(t, POLLIN))
			return false;
	}
	gets_further(t);
	t->at_eof = received == 0;
	t->in_size += (size_t)received;
	t->in[t->in_size] = '\0';
	return true;
}

/* ---- understanding ---- */

static const char *header(struct thread *t, const char *name)
{
	static const size_t colon = 2;
	char *end = t->in + t->body_at - 2, kept = *end;
	const char *found;

	*end = '\0';
	found = strcasestr(t->in + t->at, name);
	*end = kept;
	return found ? found + strlen(name) + colon : NULL;
}

/* Finds the head, behind interim ones; t->body_at says whether it is there. */
static bool find_head(struct thread *t)
{
	char *end;

	while ((end = strstr(t->in + t->at, "\r\n\r\n")) != NULL) {
		const char *line = t->in + t->at;

		if (strncmp(line, "HTTP/1.1 ", 9) && strncmp(line, "HTTP/1.0 ", 9))
			return ends(t, MALFORMED);
		if (line[9] != '1') {
			t->body_at = (size_t)(end - t->in) + 4;
			t->chunks_at = t->body_at;
			return true;
		}
		t->at = (size_t)(end - t->in) + 4;
	}
	return true;
}

/* A response must say that it is this request's. */
static bool check_head(struct thread *t)
{
	const char *id = header(t, "\r\nX-Id"), *method = header(t, "\r\nX-Method");
	const char *word = t->work.method->word, *length = header(t, "\r\nContent-Length");
	int status = atoi(t->in + t->at + 9);

	if (status == 408)
		return ends(t, TIMED_OUT);
	if (!id || strtoul(id, NULL, 10) != t->id || !method ||
		strncmp(method, word, strlen(word)) || method[strlen(word)] != '\r')
		return ends(t, WRONG);
	if (status != 200 && status != 204 && status != 304 && status != 417)
		return ends(t, WRONG);
	if (length && strtoul(length, NULL, 10) != t->work.returns)
		return ends(t, WRONG);
	return true;
}

static bool has_no_body(struct thread *t)
{
	int status = atoi(t->in + t->at + 9);

	return status == 204 || status == 304 || !strcmp(t->work.method->word, "HEAD");
}

static bool check_body(struct thread *t, const char *part, size_t length)
{
	if (t->body_size + length > t->work.returns || !body_is(part, length, t->id, t->body_size))
		return ends(t, WRONG);
	t->body_size += length;
	return true;
}

/* Chunks that are there in full; done after the last one and its trailers. */
static bool check_chunks(struct thread *t, bool *done)
{
	for (;;) {
		char *line = t->in + t->chunks_at, *end = strstr(line, "\r\n");
		size_t size = strtoul(line, NULL, 16), left, framed;

		if (!end)
			return true;
		if (!isxdigit((unsigned char)*line))
			return ends(t, MALFORMED);
		if (!size) {
			char *last = strstr(line, "\r\n\r\n");

			if (!last)
				return true;
			*done = true;
			t->chunks_at = (size_t)(last + 4 - t->in);
			return t->body_size == t->work.returns || ends(t, WRONG);
		}
		left = t->in_size - (size_t)(end + 2 - t->in);
		framed = size + 2;
		if (left < framed)
			return true;
		if (!check_body(t, end + 2, size))
			return false;
		if (strncmp(end + 2 + size, "\r\n", 2))
			return ends(t, MALFORMED);
		t->chunks_at = (size_t)(end + 2 - t->in) + framed;
	}
}

/* Is the body there? What is behind it is not looked at: it is not asked for. */
static bool check_response(struct thread *t, bool *done)
{
	size_t there = t->in_size - t->body_at;

	if (has_no_body(t)) {
		*done = true;
		return true;
	}
	if (header(t, "\r\nTransfer-Encoding"))
		return check_chunks(t, done);
	if (!header(t, "\r\nContent-Length")) {
		*done = t->at_eof;
		return !*done ||
		       (there == t->work.returns && check_body(t, t->in + t->body_at, there)) ||
		       ends(t, t->ending ? t->ending : WRONG);
	}
	*done = there >= t->work.returns;
	return !*done || check_body(t, t->in + t->body_at, t->work.returns);
}

static bool read_head(struct thread *t)
{
	t->phase = READING_HEAD;
	for (;;) {
		if (!find_head(t))
			return false;
		if (t->body_at)
			return check_head(t);
		if (t->at_eof)
			return ends(t, AT_EOF);
		if (!read_more(t))
			return false;
	}
}

static bool read_body(struct thread *t)
{
	bool done = false;

	t->phase = READING_BODY;
	for (;;) {
		if (!check_response(t, &done))
			return false;
		if (done)
			break;
		if (t->at_eof)
			return ends(t, AT_EOF);
		if (!read_more(t))
			return false;
	}
	return true;
}

/* Does it leave before it has the response, or before it has its body? */
static bool leaves_now(struct thread *t, unsigned now)
{
	unsigned workload = mode == FAULT_all ? 0 : fault_rows[mode].workload;

	return workload & LEAVES && chance(t, DRAW_LEAVES, 12) == now;
}

static bool read_response(struct thread *t)
{
	if (leaves_now(t, 0))
		return true;
	if (!read_head(t))
		return false;
	return leaves_now(t, 1) || read_body(t);
}

/* ---- a request's life ---- */

/* The head first; the body when it is asked for, and not where there is a final response already.
 */
static bool write_expecting(struct thread *t)
{
	if (!write_pieces(t, 0, t->head_size))
		return false;
	t->phase = READING_HEAD;
	while (!strstr(t->in, "HTTP/1.1 100 Continue\r\n\r\n") && !t->body_at) {
		if (t->at_eof)
			return ends(t, AT_EOF);
		if (!read_more(t) || !find_head(t))
			return false;
	}
	t->phase = WRITING;
	return t->body_at || write_pieces(t, t->head_size, t->out_size);
}

static bool write_request(struct thread *t)
{
	unsigned workload = mode == FAULT_all ? 0 : fault_rows[mode].workload;

	t->phase = WRITING;
	/* A pause in which the server may do what it likes. */
	if (workload & WAITS || !chance(t, DRAW_BEFORE_WRITE, 32))
		pause_us(chance(t, DRAW_BEFORE_WRITE + 200, 6000));
	t->wrote_at = now_ns();
	if (strstr(t->out, "\r\nExpect: "))
		return write_expecting(t);
	return write_pieces(t, 0, t->out_size);
}

/* A server may answer, and close, before it has read all; then the answer is there to be read. */
static bool converse(struct thread *t)
{
	int failed;

	if (write_request(t)) {
		if (!chance(t, DRAW_BEFORE_READ, 32))
			pause_us(chance(t, DRAW_BEFORE_READ + 100, 4000));
		return read_response(t);
	}
	if (t->ending != EPIPE && t->ending != ECONNRESET)
		return false;
	failed = t->ending;
	t->ending = WELL;
	if (read_response(t))
		return true;
	if (t->ending == WRONG)
		return false;
	t->phase = WRITING;
	return ends(t, failed);
}

static bool live(struct thread *t)
{
	t->ending = WELL;
	t->at = t->body_at = t->body_size = t->in_size = 0;
	t->at_eof = false;
	t->in[0] = '\0';
	t->wrote_at = 0;
	bool lived = dial(t) && converse(t);
	t->port = lived ? 0 : own_port(t);
	if (lived &&
		t->in_size > (t->chunks_at > t->body_at ? t->chunks_at : t->body_at + t->body_size))
		atomic_fetch_add(&beyond, 1);
	if (close(t->fd) < 0 && lived) {
		t->phase = CLOSING;
		return ends(t, errno);
	}
	return lived;
}

static const char *ending_word(int ending)
{
	switch (ending) {
	case AT_EOF:
		return "EOF";
	case MALFORMED:
		return "MALFORMED";
	case WRONG:
		return "WRONG";
	case TIMED_OUT:
		return "408";
	case HUNG:
		return "HUNG";
	default:
		return strerrorname_np(ending);
	}
}

static void note_failure(const struct thread *t)
{
	const struct fault_row *row = &fault_rows[fault_of(seed, mode, t->id)];

	pthread_mutex_lock(&failures_lock);
	fprintf(failures, "%u %s %s %s %s %d %ld %ld\n", t->id, t->work.method->word, row->word,
		phase_words[t->phase], ending_word(t->ending), t->port, (long)t->wrote_at,
		(long)now_ns());
	if ((t->ending == WRONG || t->ending == MALFORMED) && row->kind != FATAL)
		fprintf(stderr, "fault-client: request %u: %s: %.300s\n", t->id,
			ending_word(t->ending), t->in + t->at);
	pthread_mutex_unlock(&failures_lock);
}

static void think(struct thread *t)
{
	unsigned workload = mode == FAULT_all ? THINKS : fault_rows[mode].workload;
	uint32_t throw = chance(t, DRAW_THINK, 256);

	if (workload & SLEEPS && throw == 0)
		return pause_us(fault_rows[mode].plan.keep_timeout * 1000000 - 30000 +
				chance(t, DRAW_THINK_TIME, 60000));
	if (workload & THINKS && throw < 64)
		return pause_us(chance(t, DRAW_THINK_TIME, 30000));
	if (throw < 96)
		pause_us(chance(t, DRAW_THINK_TIME, 600));
}

/* A server that starts again is asked again; the request has failed once. */
static void request(struct thread *t)
{
	bool was_refused = false;

	t->work = work_of(seed, t->id);
	make_request(t);
	for (int i = 0; !live(t); i++) {
		if (t->ending != ECONNREFUSED || mode != FAULT_restart || i == MOST_REFUSED) {
			atomic_fetch_add(t->ending == WRONG ? &wrong : &errors, 1);
			note_failure(t);
			return;
		}
		if (!was_refused)
			note_failure(t);
		was_refused = true;
		pause_us(1000);
	}
	atomic_fetch_add(was_refused ? &refused : &well, 1);
}

static void *work(void *argument)
{
	struct thread *t = argument;

	prctl(PR_SET_TIMERSLACK, 1UL);
	while ((t->id = atomic_fetch_add(&next_id, 1)) < n_requests) {
		gets_further(t);
		request(t);
		t->done++;
		atomic_store(&t->since, now_ns());
		think(t);
	}
	atomic_store(&t->since, 0);
	return NULL;
}

/* ---- the whole ---- */

static int report(long hangs)
{
	printf("{\"well\": %ld, \"wrong\": %ld, \"errors\": %ld, \"refused\": %ld, "
	       "\"hangs\": %ld, \"beyond\": %ld}\n",
		atomic_load(&well), atomic_load(&wrong), atomic_load(&errors),
		atomic_load(&refused), hangs, atomic_load(&beyond));
	fflush(stdout);
	fflush(failures);
	return hangs ? 1 : 0;
}

static void say_where_it_hangs(const struct thread *t)
{
	fprintf(stderr, "fault-client: request %u hangs: %s, %s\n", t->id, t->work.method->word,
		phase_words[t->phase]);
}

/* Waits for the threads, as long as they get further. */
static void watch_over(void)
{
	for (;;) {
		long hang = 0, busy = 0;
		int64_t now = now_ns();

		for (int i = 0; i < n_threads; i++) {
			int64_t since = atomic_load(&threads[i]->since);

			busy += since != 0;
			if (since && now - since > (PATIENCE_MS + 5000) * 1000000LL) {
				say_where_it_hangs(threads[i]);
				hang++;
			}
		}
		if (hang)
			_exit(report(hang));
		if (!busy)
			return;
		pause_us(n_requests < 1000 ? 500 : 5000);
	}
}

static long count_hangs(void)
{
	long hangs = 0;

	rewind(failures);
	for (char line[256]; fgets(line, sizeof(line), failures);)
		hangs += strstr(line, " HUNG ") != NULL;
	return hangs;
}

static void start(int number)
{
	struct thread *t = calloc(1, sizeof(*t));

	need(t, "calloc");
	threads[number] = t;
	t->number = number;
	t->epoll = io->registers ? epoll_create1(EPOLL_CLOEXEC) : -1;
	need(!io->registers || t->epoll >= 0, "epoll_create1");
	gets_further(t);
}

static bool io_named(const char *word)
{
	for (size_t i = 0; i < COUNT(ios); i++) {
		if (!strcmp(word, ios[i].word))
			io = &ios[i];
	}
	return io;
}

int main(int argc, char **argv)
{
	for (size_t i = 0; argc == 2 && i < COUNT(ios); i++)
		puts(ios[i].word);
	if (argc == 2)
		return 0;
	if (argc != 9 || !mode_named(argv[2], &mode) || !io_named(argv[6]))
		return 2;
	server_port = atoi(argv[1]);
	seed = strtoull(argv[3], NULL, 10);
	n_requests = (uint32_t)strtoul(argv[4], NULL, 10);
	n_threads = atoi(argv[5]);
	n_pieces = atoi(argv[7]);
	failures = fopen(argv[8], "w+e");
	need(failures, argv[8]);
	need(n_threads >= 1 && n_threads <= MOST_THREADS && n_requests <= MOST_IDS, "arguments");
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* or it would soon talk to another's server */
	for (int i = 0; i < n_threads; i++)
		start(i);
	for (int i = 0; i < n_threads; i++)
		need(!pthread_create(&threads[i]->thread, NULL, work, threads[i]),
			"pthread_create");
	watch_over();
	for (int i = 0; i < n_threads; i++)
		pthread_join(threads[i]->thread, NULL);
	return report(count_hangs());
}

/* An HTTP/1.1 server on loopback that misbehaves, by a seed, repeatably.
 *
 *      fault-server MODE SEED          a row of faults.inc, or "all"
 *      fault-server --list             those rows: word, kind, what it does
 *
 * prints its port, serves until its standard input ends, and prints one line of JSON. It listens on
 * all addresses of the loopback device, so that a client has as many servers to talk to as it
 * likes.
 *
 * A target is /ID: who asks, so to speak. What befalls a request hangs on it alone (faults.h), not
 * on the connection or on time, except that what is STALE spares a connection's first request. Each
 * response says whose it is, in its head and all through its body.
 *
 * A thread serves one connection at a time; there are as many as it takes.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "faults.h"

#define MOST_REQUEST   8192
#define MOST_RESPONSE  (2 * MOST_BODY + 4096)
#define MOST_LISTED    (1 << 20)
#define MOST_OPEN      4096
#define STACK          (256 * 1024)
#define BACKLOG        4096
#define SHORT_BACKLOG  5
#define CLOSED_FOR_US  3000
#define SECONDS_TO_END 5
#define END_TAKES      2000000 /* ns; by then the client's kernel knows of it, surely */

struct request {
	uint32_t id;
	struct work work;
	enum fault fault;
	const struct plan *plan;
};

/* A connection as it was. The times are those by which the client's kernel knew. */
struct past {
	int port;
	int64_t accepted_at;
	_Atomic int64_t ended_at; /* by us; 0: by the client */
	int64_t stray_at;         /* the last bytes that nobody asked for; 0: there were none */
};

struct connection {
	int fd, number;
	struct past past;
	uint32_t requests; /* that were read */
	bool goodbye;      /* nobody should have any more to ask */
	bool ends;         /* we close it, unasked */
	bool stray;        /* bytes were sent since that belong to no request */
	enum deed idle;    /* when it has been idle for so long */
	uint32_t idle_us;
	struct request current; /* or the latest */
	char host[32];          /* that it is for */
	char head[MOST_REQUEST + 1];
	size_t head_size;
	char *out; /* a response is made here */
	size_t out_size;
};

static enum fault mode;
static uint64_t seed;
static int listener;

static atomic_int accepting, live, connections;
static atomic_bool ending, restarting;
static atomic_long requests, responses, malformed, mixed, after_goodbye, strays_met;
static _Atomic uint8_t *arrivals; /* of each id, with a whole head: nothing can be done before */

static atomic_uint highest; /* id */

static struct past *pasts;
static atomic_uint n_pasts;

/* Those that wait for a request that is not their first: a restart ends them. */
static pthread_mutex_t idle_lock = PTHREAD_MUTEX_INITIALIZER;
static struct connection *idle_now[MOST_OPEN];

static pthread_mutex_t end_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t all_ended = PTHREAD_COND_INITIALIZER;

static void need(bool holds, const char *what)
{
	if (holds)
		return;
	perror(what);
	exit(1);
}

static uint32_t chance(const struct connection *c, unsigned what, uint32_t limit)
{
	return draw(seed, c->current.id, what, limit);
}

/* ---- sending ---- */

static bool send_all(const struct connection *c, const char *data, size_t length)
{
	while (length) {
		ssize_t sent = send(c->fd, data, length, MSG_NOSIGNAL);

		if (sent <= 0)
			return false;
		data += sent;
		length -= (size_t)sent;
	}
	return true;
}

/* A reset takes back what was not sent yet. */
static void wait_until_sent(const struct connection *c)
{
	int unsent = 0;

	for (int i = 0; i < 1000; i++) {
		if (ioctl(c->fd, SIOCOUTQNSD, &unsent) < 0 || !unsent)
			return;
		pause_us(200);
	}
}

static void add(struct connection *c, const char *data, size_t length)
{
	need(c->out_size + length <= MOST_RESPONSE, "a response too long");
	memcpy(c->out + c->out_size, data, length);
	c->out_size += length;
}

static void add_text(struct connection *c, const char *text)
{
	add(c, text, strlen(text));
}

static void add_body(struct connection *c, size_t length)
{
	need(c->out_size + length + PATTERN <= MOST_RESPONSE, "a body too long");
	fill_body(c->out + c->out_size, length, c->current.id);
	c->out_size += length;
}

/* In chunks of 1 to 4000 bytes, some with extensions, some followed by trailers. */
static void add_chunks(struct connection *c, size_t length)
{
	size_t start = c->out_size, done = 0, size;
	char *body = malloc(length + PATTERN), line[32];

	need(body, "malloc");
	fill_body(body, length, c->current.id);
	for (unsigned n = 0; done < length; n++, done += size) {
		size = 1 + chance(c, DRAW_PIECE + n, 4000);
		size = size < length - done ? size : length - done;
		snprintf(line, sizeof(line), n % 3 ? "%zx\r\n" : "%zX;of=\"%u\"\r\n", size, n);
		add_text(c, line);
		add(c, body + done, size);
		add_text(c, "\r\n");
	}
	add_text(c, chance(c, DRAW_PIECE, 2) ? "0\r\n\r\n" : "0\r\nX-Trailer: yes\r\n\r\n");
	free(body);
	need(c->out_size > start, "chunks");
}

/* ---- responses ---- */

static const char *status_of(const struct connection *c, unsigned form)
{
	if (form & NO_BODY)
		return chance(c, DRAW_VARIANT, 2) ? "204 No Content" : "304 Not Modified";
	return "200 OK";
}

static void add_length(struct connection *c, uint32_t length)
{
	char line[64];

	snprintf(line, sizeof(line), "Content-Length: %u\r\n", length);
	add_text(c, line);
}

static void add_framing(struct connection *c, unsigned form)
{
	uint32_t length = c->current.work.returns;

	if (form & CHUNKED)
		add_text(c, "Transfer-Encoding: chunked\r\n");
	if (!(form & (CHUNKED | NO_BODY | UNTIL_EOF)) || form & HAS_LENGTH)
		add_length(c, length);
	if (form & TWO_LENGTHS)
		add_length(c, length + 5);
	if (form & AUTHENTICATES)
		add_text(c, "WWW-Authenticate: Negotiate b2s=\r\n");
}

static void add_persistence(struct connection *c, unsigned form)
{
	const struct plan *plan = c->current.plan;
	char line[64];

	if (form & SAYS_CLOSE)
		add_text(c, "Connection: close\r\n");
	if (form & SAYS_KEEP_ALIVE)
		add_text(c, "Connection: keep-alive\r\n");
	if (plan->keep_max) {
		unsigned left = plan->keep_max > c->requests ? plan->keep_max - c->requests : 0;

		snprintf(line, sizeof(line), "Keep-Alive: timeout=%u, max=%u\r\n",
			plan->keep_timeout, left);
		add_text(c, line);
	}
}

static void add_identity(struct connection *c)
{
	char lines[256];

	snprintf(lines, sizeof(lines),
		"X-Id: %u\r\nX-Method: %s\r\nX-Connection: %d\r\nX-Request: %u\r\nX-Count: %ld\r\n",
		c->current.id, c->current.work.method->word, c->number, c->requests,
		atomic_load(&responses));
	add_text(c, lines);
}

/* Returns how long the head is, from where it begins. */
static size_t add_response(struct connection *c, const char *status, unsigned form)
{
	size_t start = c->out_size, head;

	add_text(c, form & VERSION_1_0 ? "HTTP/1.0 " : "HTTP/1.1 ");
	add_text(c, status);
	add_text(c, "\r\n");
	add_identity(c);
	add_framing(c, form);
	add_persistence(c, form);
	add_text(c, "\r\n");
	head = c->out_size - start;
	bool empty = form & NO_BODY || !strcmp(c->current.work.method->word, "HEAD");
	if (empty && !(form & BODY_ANYWAY))
		return head;
	if (form & CHUNKED)
		add_chunks(c, c->current.work.returns);
	else
		add_body(c, c->current.work.returns);
	return head;
}

static void add_interim(struct connection *c)
{
	if (chance(c, DRAW_VARIANT, 3) < 2)
		add_text(c, "HTTP/1.1 100 Continue\r\n\r\n");
	if (chance(c, DRAW_VARIANT, 3) > 0)
		add_text(c, "HTTP/1.1 103 Early Hints\r\nLink: </style>; rel=preload\r\n\r\n");
}

/* In 2 to 8 pieces, with up to a millisecond between them. */
static bool send_in_pieces(struct connection *c, size_t length)
{
	unsigned pieces = 2 + chance(c, DRAW_PIECES, 7);
	size_t done = 0;

	for (unsigned n = 0; n < pieces && done < length; n++) {
		/* half of them fall into the head */
		uint32_t most = n % 2 ? (uint32_t)length : 200;
		size_t size = 1 + chance(c, DRAW_PIECE + n, most);

		if (n == pieces - 1 || size > length - done)
			size = length - done;
		if (!send_all(c, c->out + done, size))
			return false;
		done += size;
		pause_us(chance(c, DRAW_PAUSE + 100 + n, 1000));
	}
	return true;
}

/* How much of what was made is sent. */
static size_t cut_at(struct connection *c, enum cut cut, size_t interim, size_t head)
{
	size_t body = c->out_size - interim - head;

	switch (cut) {
	case CUT_NOT:
		return c->out_size;
	case CUT_INTERIM:
		return interim;
	case CUT_HEAD:
		return interim + 1 + chance(c, DRAW_CUT, (uint32_t)head - 1);
	default:
		/* Where there is no body, in the head. */
		if (!body)
			return interim + head - 1;
		return interim + head + chance(c, DRAW_CUT, (uint32_t)body);
	}
}

static void add_stray(struct connection *c, enum deed deed);

static bool respond(struct connection *c)
{
	const struct plan *plan = c->current.plan;
	size_t interim, head, length;
	bool glued = chance(c, DRAW_VARIANT + 200, 2);

	c->out_size = 0;
	if (plan->form & INTERIM)
		add_interim(c);
	interim = c->out_size;
	if (plan->form & GARBAGE)
		add_text(c, "220 smtp.example ESMTP\r\n");
	head = add_response(c, status_of(c, plan->form), plan->form);
	length = cut_at(c, plan->cut, interim, head);
	c->goodbye = c->goodbye || plan->form & NO_REUSE;
	atomic_fetch_add(&responses, 1);
	if (plan->form & IN_PIECES)
		return send_in_pieces(c, length);
	if (glued && plan->after >= DEED_TRAIL) {
		c->stray = true;
		add_stray(c, plan->after);
		length = c->out_size;
	}
	if (!send_all(c, c->out, length))
		return false;
	if (c->stray)
		c->past.stray_at = now_ns();
	return true;
}

/* ---- deeds: each says whether the connection goes on ---- */

static void note_end(struct connection *c)
{
	int64_t not_yet = 0;

	/* A restart may have said so at the same time. */
	atomic_compare_exchange_strong(&c->past.ended_at, &not_yet, now_ns() + END_TAKES);
}

static bool do_close(struct connection *c)
{
	c->ends = true;
	return false;
}

static bool do_reset(struct connection *c)
{
	struct linger none = {.l_onoff = 1, .l_linger = 0};

	wait_until_sent(c);
	setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	return do_close(c);
}

static bool do_half_close(struct connection *c)
{
	char rest[4096];

	shutdown(c->fd, SHUT_WR);
	note_end(c);
	while (recv(c->fd, rest, sizeof(rest), 0) > 0)
		;
	return false;
}

static bool do_408(struct connection *c)
{
	static const char text[] = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n"
				   "Connection: close\r\n\r\n";

	c->stray = true;
	send_all(c, text, sizeof(text) - 1);
	return do_close(c);
}

static void add_stray(struct connection *c, enum deed deed)
{
	static const char *const trails[] = {"\r\n", "0\r\n\r\n", "HTTP/1.1 ", "<!-- the end -->"};

	if (deed == DEED_TRAIL)
		add_text(c, trails[chance(c, DRAW_VARIANT, COUNT(trails))]);
	else
		add_response(c, "200 OK", 0);
}

static bool do_stray(struct connection *c, enum deed deed)
{
	if (c->stray)
		return true; /* it came together with the response */
	c->out_size = 0;
	add_stray(c, deed);
	c->stray = send_all(c, c->out, c->out_size);
	c->past.stray_at = now_ns();
	return c->stray;
}

static bool do_trail(struct connection *c)
{
	return do_stray(c, DEED_TRAIL);
}

static bool do_second(struct connection *c)
{
	return do_stray(c, DEED_SECOND);
}

static bool do_nothing(struct connection *c)
{
	(void)c;
	return true;
}

static bool (*const deeds[N_DEEDS])(struct connection *) = {
	[DEED_NONE] = do_nothing,
	[DEED_CLOSE] = do_close,
	[DEED_RESET] = do_reset,
	[DEED_HALF_CLOSE] = do_half_close,
	[DEED_408] = do_408,
	[DEED_TRAIL] = do_trail,
	[DEED_SECOND] = do_second,
};

/* ---- receiving ---- */

static void complain(struct connection *c, const char *what)
{
	if (atomic_fetch_add(&malformed, 1) < 20)
		fprintf(stderr, "fault-server: request %u: %s\n", c->current.id, what);
}

static void mark_idle(struct connection *c, bool idle)
{
	pthread_mutex_lock(&idle_lock);
	idle_now[c->fd] = idle ? c : NULL;
	pthread_mutex_unlock(&idle_lock);
}

/* Until something comes; what befalls an idle connection befalls it here. */
static bool wait_for_request(struct connection *c)
{
	struct timespec time = {c->idle_us / 1000000, c->idle_us % 1000000 * 1000L};
	struct pollfd ready = {.fd = c->fd, .events = POLLIN};
	enum deed idle = c->idle;

	if (idle == DEED_NONE || ppoll(&ready, 1, &time, NULL) != 0)
		return true;
	c->idle = DEED_NONE;
	return deeds[idle](c);
}

/* Looks at what has come until this text is in it, and leaves it where it is. Returns the text's
 * place; NULL if it does not come. */
static char *look_for(struct connection *c, const char *text)
{
	bool raised = false;
	char *found;

	while (!(found = strstr(c->head, text))) {
		int more = (int)c->head_size + 1;

		raised = more > 1;
		if (raised)
			setsockopt(c->fd, SOL_SOCKET, SO_RCVLOWAT, &more, sizeof(more));
		ssize_t length = recv(c->fd, c->head, MOST_REQUEST, MSG_PEEK);
		if (length < more)
			return NULL; /* it has ended */
		c->head_size = (size_t)length;
		c->head[length] = '\0';
	}
	if (raised)
		setsockopt(c->fd, SOL_SOCKET, SO_RCVLOWAT, &(int){1}, sizeof(int));
	return found;
}

static bool parse(struct connection *c)
{
	struct request *request = &c->current;
	char word[16];

	if (sscanf(c->head, "%15s /%u HTTP/1.1\r\n", word, &request->id) != 2 ||
		request->id >= MOST_IDS) {
		complain(c, c->head);
		return false;
	}
	request->work = work_of(seed, request->id);
	if (strcmp(word, request->work.method->word)) {
		complain(c, "another's method");
		return false;
	}
	request->fault = fault_of(seed, mode, request->id);
	if (fault_rows[request->fault].kind == STALE && !c->requests)
		request->fault = FAULT_none;
	request->plan = &fault_rows[request->fault].plan;
	return true;
}

static void note_arrival(struct connection *c)
{
	uint32_t most = atomic_load(&highest);

	atomic_fetch_add(&requests, 1);
	while (most < c->current.id &&
		!atomic_compare_exchange_weak(&highest, &most, c->current.id))
		;
	atomic_fetch_add(&after_goodbye, c->goodbye);
	atomic_fetch_add(&strays_met, c->stray);
	c->stray = false;
}

static void note_whole_head(const struct connection *c)
{
	if (arrivals[c->current.id] < UINT8_MAX)
		atomic_fetch_add(&arrivals[c->current.id], 1);
}

/* Takes the head, and no more than that. */
static bool read_head(struct connection *c)
{
	const char *end = look_for(c, "\r\n\r\n");

	if (!end)
		return false;
	note_whole_head(c);
	c->head_size = (size_t)(end - c->head) + 4;
	c->head[c->head_size] = '\0';
	return recv(c->fd, c->head, c->head_size, MSG_WAITALL) == (ssize_t)c->head_size;
}

/* Takes what the head announces, and sees whether it is whole and of this request. */
static bool read_body(struct connection *c)
{
	const char *length = strstr(c->head, "\r\nContent-Length: ");
	size_t size = length ? strtoul(length + 18, NULL, 10) : 0, done = 0;
	char data[16384];

	if (size != c->current.work.sends) {
		complain(c, "another's length");
		return false;
	}
	while (done < size) {
		size_t want = size - done < sizeof(data) ? size - done : sizeof(data);
		ssize_t received = recv(c->fd, data, want, 0);

		if (received <= 0)
			return false;
		if (!body_is(data, (size_t)received, c->current.id, done)) {
			complain(c, "another's body");
			return false;
		}
		done += (size_t)received;
	}
	return true;
}

/* What is not taken was there nevertheless. */
static void look_at_head(struct connection *c)
{
	ssize_t length = recv(c->fd, c->head, MOST_REQUEST, MSG_PEEK | MSG_DONTWAIT);

	c->head[length > 0 ? length : 0] = '\0';
	if (strstr(c->head, "\r\n\r\n"))
		note_whole_head(c);
}

static void read_part(struct connection *c)
{
	char data[MOST_REQUEST];

	(void)!recv(c->fd, data, c->head_size / 2, 0);
}

/* The connection is for the host of its first request. */
static bool is_for_this_host(struct connection *c)
{
	char host[32] = "";

	sscanf(c->head + strcspn(c->head, "\n"), "\nHost: %31s", host);
	if (!c->host[0])
		strcpy(c->host, host);
	return !strcmp(c->host, host);
}

/* ---- one exchange ---- */

/* Nobody listens for a moment, and nobody is idle after it. */
static void restart(void)
{
	if (atomic_exchange(&restarting, true))
		return;
	shutdown(listener, SHUT_RDWR);
	pthread_mutex_lock(&idle_lock);
	for (int fd = 0; fd < MOST_OPEN; fd++) {
		if (!idle_now[fd])
			continue;
		shutdown(fd, SHUT_RDWR);
		note_end(idle_now[fd]);
	}
	pthread_mutex_unlock(&idle_lock);
}

static void listen_again(void)
{
	pause_us(CLOSED_FOR_US);
	if (!atomic_load(&ending))
		need(listen(listener, BACKLOG) == 0, "listen");
	atomic_store(&restarting, false);
}

/* Expect: 100-continue. A final response in its place, and the client keeps the body to itself. */
static bool answer_expectation(struct connection *c, bool *body_follows)
{
	static const char *const finals[] = {"417 Expectation Failed", "200 OK"};
	uint32_t how = chance(c, DRAW_VARIANT, 5);

	*body_follows = how >= 2;
	c->out_size = 0;
	if (how < 2)
		add_response(c, finals[how], 0);
	else if (how < 4)
		add_text(c, "HTTP/1.1 100 Continue\r\n\r\n");
	else
		add_text(c, "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
	atomic_fetch_add(&responses, how < 2);
	return send_all(c, c->out, c->out_size);
}

static bool misdirected(struct connection *c)
{
	atomic_fetch_add(&mixed, 1);
	c->out_size = 0;
	add_response(c, "421 Misdirected Request", 0);
	return send_all(c, c->out, c->out_size);
}

static bool fail_instead(struct connection *c)
{
	const struct plan *plan = c->current.plan;

	if (plan->reads == READS_ALL && (!read_head(c) || !read_body(c)))
		return false;
	if (chance(c, DRAW_PAUSE, 2))
		pause_us(chance(c, DRAW_PAUSE + 1, 3000));
	if (plan->reads != READS_ALL)
		look_at_head(c);
	if (plan->reads == READS_PART)
		read_part(c);
	return deeds[plan->instead](c);
}

/* Returns whether there is more to do, that is, what comes after the response. */
static bool exchange(struct connection *c)
{
	unsigned form = c->current.plan->form;
	bool body_follows = true, early;

	if (!read_head(c))
		return false;
	if (form & ANSWERS_EXPECT && strstr(c->head, "\r\nExpect: 100-continue\r\n")) {
		if (!answer_expectation(c, &body_follows))
			return false;
		if (!body_follows) {
			/* It may come nevertheless, and nothing else may. */
			c->requests++;
			return chance(c, DRAW_PAUSE, 2) && read_body(c);
		}
	}
	early = form & EARLY && c->current.work.sends;
	if (!early && !read_body(c))
		return false;
	c->requests++;
	if (form & IS_ASKED)
		c->goodbye = strstr(c->head, "\r\nConnection: close\r\n");
	if (form & ONE_HOST && !is_for_this_host(c))
		return misdirected(c);
	if (form & RESTARTS)
		restart();
	if (!respond(c))
		return false;
	/* Closed with the body unread, or read now. */
	return !early || c->current.plan->after != DEED_NONE || read_body(c);
}

static bool serve(struct connection *c)
{
	const struct plan *plan;

	c->head_size = 0;
	c->head[0] = '\0';
	if (c->requests)
		mark_idle(c, true);
	bool came = wait_for_request(c) && look_for(c, "\n");
	if (c->requests)
		mark_idle(c, false);
	if (!came || !parse(c))
		return false;
	note_arrival(c);
	plan = c->current.plan;
	if (plan->instead != DEED_NONE)
		return fail_instead(c);
	if (!exchange(c))
		return false;
	c->idle = plan->idle;
	c->idle_us = plan->idle_least;
	if (plan->idle_most > plan->idle_least)
		c->idle_us += chance(c, DRAW_IDLE, plan->idle_most - plan->idle_least);
	if (plan->keep_max && c->requests >= plan->keep_max)
		return do_close(c);
	if (plan->form & IS_ASKED && c->goodbye && chance(c, DRAW_VARIANT, 2))
		return do_close(c);
	return deeds[plan->after](c);
}

/* ---- connections ---- */

static void serve_connection(struct connection *c)
{
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	while (serve(c))
		;
	bool restarts = c->current.plan && c->current.plan->form & RESTARTS;
	unsigned n = atomic_fetch_add(&n_pasts, 1);
	close(c->fd);
	if (c->ends)
		note_end(c);
	if (n < MOST_LISTED)
		pasts[n] = c->past;
	if (restarts && atomic_load(&restarting))
		listen_again();
	if (atomic_fetch_sub(&live, 1) == 1 && atomic_load(&ending)) {
		pthread_mutex_lock(&end_lock);
		pthread_cond_signal(&all_ended);
		pthread_mutex_unlock(&end_lock);
	}
}

static void *work(void *unused);

static void add_thread(void)
{
	pthread_attr_t attributes;
	pthread_t thread;

	atomic_fetch_add(&accepting, 1);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	need(pthread_create(&thread, &attributes, work, NULL) == 0, "pthread_create");
	pthread_attr_destroy(&attributes);
}

static void *work(void *unused)
{
	struct connection *c = malloc(sizeof(*c));
	char *out = malloc(MOST_RESPONSE);

	need(c && out, "malloc");
	prctl(PR_SET_TIMERSLACK, 1UL);
	while (!atomic_load(&ending)) {
		struct sockaddr_in peer = {.sin_port = 0};
		socklen_t size = sizeof(peer);
		int fd = accept4(listener, (struct sockaddr *)&peer, &size, SOCK_CLOEXEC);

		if (fd < 0) {
			pause_us(200); /* nobody listens at the moment */
			continue;
		}
		need(fd < MOST_OPEN, "too many connections");
		atomic_fetch_add(&live, 1);
		if (atomic_fetch_sub(&accepting, 1) == 1 && mode != FAULT_backlog)
			add_thread();
		memset(c, 0, sizeof(*c));
		c->fd = fd;
		c->past = (struct past){.port = ntohs(peer.sin_port), .accepted_at = now_ns()};
		c->number = atomic_fetch_add(&connections, 1);
		c->out = out;
		serve_connection(c);
		atomic_fetch_add(&accepting, 1);
	}
	return unused;
}

/* ---- the whole ---- */

static void list(void)
{
	static const char *const kinds[] = {"harmless", "stale", "fatal", "rate"};

	for (size_t i = 0; i < N_FAULTS; i++)
		printf("%s\t%s\t%s\n", fault_rows[i].word, kinds[fault_rows[i].kind],
			fault_rows[i].what);
	printf("all\tstale\tany of those that need no workload of their own\n");
}

static bool bind_to(int port)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(INADDR_ANY)};

	if (listener)
		close(listener);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	need(listener >= 0, "socket");
	need(setsockopt(listener, SOL_SOCKET, SO_BINDTODEVICE, "lo", 2) == 0, "SO_BINDTODEVICE");
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
	return bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0;
}

static int own_port(void)
{
	struct sockaddr_in address;
	socklen_t size = sizeof(address);

	need(getsockname(listener, (struct sockaddr *)&address, &size) == 0, "getsockname");
	return ntohs(address.sin_port);
}

/* A port that was not asked for by its number is lost by shutdown(). */
static void listen_on_loopback(void)
{
	do
		need(bind_to(0), "bind");
	while (!bind_to(own_port()));
	need(listen(listener, mode == FAULT_backlog ? SHORT_BACKLOG : BACKLOG) == 0, "listen");
	printf("%d\n", own_port());
	fflush(stdout);
}

/* The client is gone, so all its connections end by themselves. */
static void end_all(void)
{
	struct timespec until;

	atomic_store(&ending, true);
	shutdown(listener, SHUT_RDWR);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += SECONDS_TO_END;
	pthread_mutex_lock(&end_lock);
	while (atomic_load(&live) &&
		pthread_cond_timedwait(&all_ended, &end_lock, &until) != ETIMEDOUT)
		;
	pthread_mutex_unlock(&end_lock);
}

static void report(void)
{
	long again = 0, duplicates = 0, thrice = 0;
	unsigned n = atomic_load(&n_pasts);

	for (uint32_t id = 0; id <= atomic_load(&highest); id++) {
		if (arrivals[id] < 2)
			continue;
		if (!work_of(seed, id).method->repeatable)
			duplicates++;
		else if (arrivals[id] == 2)
			again++;
		else
			thrice++;
	}
	printf("{\"connections\": %d, \"requests\": %ld, \"responses\": %ld, \"again\": %ld, "
	       "\"thrice\": %ld, \"duplicates\": %ld, \"malformed\": %ld, \"mixed\": %ld, "
	       "\"after_goodbye\": %ld, \"strays_met\": %ld, \"left\": %d, \"pasts\": [",
		atomic_load(&connections), atomic_load(&requests), atomic_load(&responses), again,
		thrice, duplicates, atomic_load(&malformed), atomic_load(&mixed),
		atomic_load(&after_goodbye), atomic_load(&strays_met), atomic_load(&live));
	for (unsigned i = 0; i < n && i < MOST_LISTED; i++)
		printf("%s[%d, %ld, %ld, %ld]", i ? ", " : "", pasts[i].port,
			(long)pasts[i].accepted_at, (long)pasts[i].ended_at,
			(long)pasts[i].stray_at);
	printf("]}\n");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	char input[64];

	if (argc == 2 && !strcmp(argv[1], "--list")) {
		list();
		return 0;
	}
	if (argc != 3 || !mode_named(argv[1], &mode))
		return 2;
	seed = strtoull(argv[2], NULL, 10);
	arrivals = calloc(MOST_IDS, sizeof(*arrivals));
	pasts = calloc(MOST_LISTED, sizeof(*pasts));
	need(arrivals && pasts, "calloc");
	listen_on_loopback();
	add_thread();
	while (read(STDIN_FILENO, input, sizeof(input)) > 0)
		;
	end_all();
	report();
	_exit(0); /* threads may still be in what they do */
}

/* Renewal, as two programs of tests see it: reused connections that die, and what the program, the
 * server and the books say to that.
 */
#pragma once

#include "tests/unit/program.h"

#include <fcntl.h>

#include "pool/manager.h"
#include "pool/succession.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

#define GET       "GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
#define GET_OF(h) "GET /x HTTP/1.1\r\nHost: " h "\r\n\r\n"
#define POST      "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"

/* A request in two pieces; of another host than GET. */
#define FIRST_PIECE "GET / HTTP/1.1\r\n"
#define OTHER_HOST  "Host: b\r\n\r\n"

static inline void setup(void)
{
	pool_with(settings_default());
}

/* As close() does it in the shim, whatever is under way. */
static inline void close_whatever(int fd)
{
	struct connection *connection = connection_on(fd);
	struct call call = connection_enter(connection);
	uint64_t signals = fake_os.block_signals();
	enum closing closing = connection_begin_close(call);

	if (closing == CLOSING_CLAIMED) {
		pool_close_blocked(&pool, connection, fd, signals);
		return;
	}
	if (closing == CLOSING_BUSY) {
		fake.descriptors[fd].connection = NULL;
		if (connection_lost_number(call))
			pool_release(&pool, connection);
	}
	connection_leave(call);
	fake_os.restore_signals(signals);
	fake_close(fd);
}

/* Every connection that there ever was is a socket's, parked, or free, with nothing of its own; and
 * those that are in use are so many as their service point thinks. */
static inline void expect_all_accounted_for(void)
{
	const struct connection *connection = atomic_load(&pool.made);
	long in_use = 0, of_points = 0;
	unsigned free = 0, in_list = 0;

	for (; connection; connection = connection->next_made) {
		enum connection_state state = connection_state(connection);
		cr_expect_neq(state, CONNECTION_TAKEN);
		cr_expect_neq(state, CONNECTION_DIALLING);
		in_use += state == CONNECTION_LIVE && connection->point;
		free += state == CONNECTION_FREE;
		if (state != CONNECTION_FREE)
			continue;
		cr_expect_null(connection->kept);
		cr_expect_null(connection->point);
		cr_expect_eq(atomic_load(&connection->hidden), -1);
	}
	for (connection = pool.free; connection; connection = connection->next_free)
		in_list++;
	for (const struct service_point *point = pool.points.used; point; point = point->next)
		of_points += point->in_use;
	cr_expect_eq(free, in_list);
	cr_expect_eq(in_use, of_points);
}

static inline void check_books(void)
{
	expect_books_in_order();
	expect_all_accounted_for();
	cr_expect_eq(fake.signals_blocked, 0);
}

/* A reused connection, on the program's number, that was idle for so long. */
static inline int reused_after(uint64_t ms)
{
	use_and_close(1);
	fake.now_ms += ms;
	int fd = open_socket();
	cr_assert_neq(connect_socket(fd, endpoint_number(1)), TAKEN_NONE);
	cr_assert_eq(connection_risk(connection_on(fd)), RISK_UNUSED);
	return fd;
}

static inline int reused(void)
{
	return reused_after(0);
}

static inline void make_non_blocking(int fd)
{
	fake_socket_on(fd)->status_flags |= O_NONBLOCK;
}

/* The peer has closed it, or has reset it: what receiving, and sending, says. */
static inline void kill_with(int fd, int receiving, int sending)
{
	struct fake_socket *socket = fake_socket_on(fd);

	/* The FIN is counted as a byte. */
	if (receiving == 0 && socket->peek == -EAGAIN)
		socket->info.tcpi_bytes_received++;
	socket->info.tcpi_state = receiving == 0 ? FAKE_CLOSE_WAIT : FAKE_CLOSE;
	socket->peek = receiving;
	socket->send_error = sending;
}

static inline void kill_it(int fd)
{
	kill_with(fd, 0, -EPIPE);
}

static inline long send_text(int fd, const char *text)
{
	return try_to_send(fd, text, strlen(text));
}

/* In pieces of so many bytes. */
static inline void send_in_pieces(int fd, const char *text, size_t piece)
{
	for (size_t at = 0, len = strlen(text), some; at < len; at += some) {
		some = len - at < piece ? len - at : piece;
		cr_assert_eq(try_to_send(fd, text + at, some), (long)some);
	}
}

static inline long receive(int fd)
{
	char room[4096];

	return try_to_receive(fd, room, sizeof(room));
}

static inline void receive_answer(int fd)
{
	receive_bytes(fd, ANSWER, sizeof(ANSWER) - 1);
}

/* In this use, or, where it has a new socket, on that. */
static inline void expect_sent(int fd, const char *text, const char *claim)
{
	const struct fake_socket *socket = fake_socket_on(fd);
	const uint8_t *sent = socket->sent + connection_on(fd)->sent_before;
	size_t len = socket->sent_len - connection_on(fd)->sent_before;

	cr_expect(len == strlen(text) && memcmp(sent, text, len) == 0, "%s: %.*s", claim, (int)len,
		(const char *)sent);
}

static inline void expect_counted(uint64_t slipped_in, uint64_t replayed, uint64_t failed)
{
	cr_expect_eq(
		pool.stats.slipped_in, slipped_in, "slipped in: %d", (int)pool.stats.slipped_in);
	cr_expect_eq(pool.stats.replayed, replayed, "replayed: %d", (int)pool.stats.replayed);
	cr_expect_eq(pool.stats.failed, failed, "failed: %d", (int)pool.stats.failed);
}

/* And no call that wants it is left behind. */
static inline void expect_nobody_renews(struct connection *connection)
{
	struct call call = connection_enter(connection);

	cr_expect_null(atomic_load(&connection->successor));
	cr_expect_eq(atomic_load(&connection->renewer), 0);
	cr_expect(connection_want_renewal(call));
	cr_expect(connection_begin_renewal(call), "no call, and no wish, but this one");
	cr_expect_not(connection_end_connect(call));
	connection_want_no_renewal(call);
	connection_leave(call);
}

/* Nothing is at risk, or kept, any more, and no number of ours is left. */
static inline void expect_settled(int fd)
{
	struct connection *connection = connection_on(fd);

	cr_expect_eq(connection_risk(connection), RISK_NONE);
	cr_expect_null(connection->kept);
	expect_nobody_renews(connection);
	cr_expect_eq(fake_hidden_count(), pool.parked_count);
}

static inline void forget_what_was_learned(int fd)
{
	connection_on(fd)->point->learning = (struct learning){0};
}

static inline char *request_of(size_t len)
{
	static const char before[] = "GET / HTTP/1.1\r\nHost: a\r\nA: ", after[] = "\r\n\r\n";
	static char request[70000];

	memset(request, 'a', len);
	memcpy(request, before, sizeof(before) - 1);
	memcpy(request + len - (sizeof(after) - 1), after, sizeof(after));
	return request;
}

/* shutdown(SHUT_WR), as in the shim. */
static inline void half_close(int fd)
{
	atomic_store(&connection_on(fd)->half_closed, true);
}

/* ---- what happens meanwhile ---- */

static int contested;
static struct call other_call;
static long other_result;

/* A signal, whose handler runs when it can: the next time that signals are let through. */
static void (*handler)(void);

static inline void send_signal(void)
{
	cr_assert_gt(fake.signals_blocked, 0);
	fake.after[FAKE_RESTORE_SIGNALS] = handler;
}

/* From beginning to end. */
static inline void as_another_thread(void (*deed)(void))
{
	unsigned signals_blocked = fake.signals_blocked;

	fake.thread_id++;
	fake.signals_blocked = 0;
	deed();
	cr_assert_eq(fake.signals_blocked, 0);
	fake.signals_blocked = signals_blocked;
	fake.thread_id--;
}

static inline void leave_other_call(void)
{
	connection_leave(other_call);
}

static inline void receive_contested(void)
{
	other_result = receive(contested);
}

/* A reused connection that is dead when GET was sent on it, and whose call will wait like that. */
static inline int dead_of(enum fake_call wait)
{
	int fd = contested = reused();

	send_text(fd, GET);
	if (wait == FAKE_AWAIT_CONNECTION)
		make_non_blocking(fd);
	kill_it(fd);
	return fd;
}

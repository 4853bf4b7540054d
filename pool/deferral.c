#include "pool/deferral.h"

#include <string.h>
#include <sys/socket.h>

#include "pool/layout.h"
#include "pool/pool_private.h"
#include "pool/proof.h"

/* What is held back: connection.deferred. The first two are SHUT_RD + 1 and SHUT_WR + 1, and
 * SHUT_RDWR + 1 is both. */
enum {
	DEFERRED_BOTH = 3,
	DEFERRED_GOODBYE = 4,
};

/* More than these are not held back at a time. */
#define DEFERRALS_MOST 16

/* Nobody closes after so long who does nothing else: the thread may have ended. */
#define LONG_MS 2

/* How often to try again to have a connection that another thread is just noting an option of. */
#define TRIES 1000

/* How often to look again while another thread carries it out, which takes microseconds: only one
 * that is stopped by a debugger takes longer than this. */
#define PATIENCE 1000000

struct deferral {
	_Atomic(struct connection *) connection; /* NULL: unused, or not anymore */
	_Atomic uint32_t thread;                 /* that has done it */
	_Atomic uint64_t since_ms;
};

_Atomic uint32_t deferral_count;
static struct deferral deferrals[DEFERRALS_MOST];

/* By port, of any address. */
static _Atomic uint64_t listeners[65536 / 64];

void deferral_note_listener(uint16_t port)
{
	atomic_fetch_or_explicit(
		&listeners[port / 64], UINT64_C(1) << (port % 64), memory_order_relaxed);
}

static bool is_listener(uint16_t port)
{
	return atomic_load_explicit(&listeners[port / 64], memory_order_relaxed) >> (port % 64) & 1;
}

/* ---- the list ---- */

static bool add(const struct pool_os *os, struct connection *connection)
{
	for (size_t i = 0; i < DEFERRALS_MOST; i++) {
		struct connection *none = NULL;
		if (!atomic_compare_exchange_strong(&deferrals[i].connection, &none, connection))
			continue;
		atomic_store(&deferrals[i].thread, os->thread_id());
		atomic_store(&deferrals[i].since_ms, os->now_ms());
		atomic_fetch_add(&deferral_count, 1);
		return true;
	}
	return false;
}

static void forget(struct connection *connection)
{
	for (size_t i = 0; i < DEFERRALS_MOST; i++) {
		struct connection *expected = connection;
		if (atomic_compare_exchange_strong(&deferrals[i].connection, &expected, NULL))
			atomic_fetch_sub(&deferral_count, 1);
	}
}

void deferral_forget(struct connection *connection)
{
	if (connection->deferred == 0)
		return;
	connection->deferred = 0;
	forget(connection);
}

HOT void deferral_after_fork_in_child(void)
{
	for (size_t i = 0; i < DEFERRALS_MOST; i++)
		atomic_store(&deferrals[i].connection, NULL);
	atomic_store(&deferral_count, 0);
}

/* ---- holding back ---- */

/* Is it idle by every proof? The caller has claimed it. */
static bool is_idle(
	struct pool *pool, const struct connection *connection, int fd, enum refusal *why)
{
	enum refusal refusal = pool_judge(pool, connection);

	if (refusal == REFUSED_NOT)
		refusal = proof_before_parking(pool->os, connection, fd);
	if (refusal != REFUSED_NOT)
		*why = refusal;
	return refusal == REFUSED_NOT && !is_listener(endpoint_port(&connection->peer));
}

/* What carries all out may have been here after is_idle() looked, and before this was on the list.
 */
static bool is_overtaken(struct pool *pool, const struct connection *connection)
{
	return atomic_load(&pool->off) || atomic_load(&pool->copies_under_way) > 0 ||
	       connection->fork_epoch != atomic_load(&pool->fork_epoch);
}

/* What a thread has held back its own next call carries out; so not two of them hold back. */
static bool is_own(struct pool *pool, const struct connection *connection)
{
	for (size_t i = 0; i < DEFERRALS_MOST; i++)
		if (atomic_load(&deferrals[i].connection) == connection)
			return atomic_load(&deferrals[i].thread) == pool->os->thread_id();
	return false;
}

/* With the claim, which is over then. */
static bool hold_back(struct pool *pool, struct call call, uint8_t what)
{
	struct connection *connection = call.connection;
	const uint8_t before = connection->deferred;

	if (before || add(pool->os, connection)) {
		connection->deferred |= what;
		if (connection_defer(call)) {
			if (!before)
				stats_count(&pool->stats.deferred);
			if (is_overtaken(pool, connection) || !is_own(pool, connection))
				deferral_carry_out(pool, call);
			return true;
		}
		connection->deferred &= (uint8_t)(before | ~what);
		if (!before)
			forget(connection);
	}
	if (connection_unclaim(connection))
		pool_release(pool, connection);
	return false;
}

struct goodbye {
	const void *data;
	size_t len;
};

static bool is_goodbye(const struct connection *connection, const void *what)
{
	const struct goodbye *goodbye = what;
	const struct tracker *tracker = connection->tracker;
	enum refusal refusal = tracker->verdict(connection->tracker_state);

	return !connection->deferred && (refusal == REFUSED_NOT || refusal == REFUSED_STATE) &&
	       tracker->is_goodbye(connection->tracker_state, goodbye->data, goodbye->len);
}

static bool is_shutdown(const struct connection *connection, const void *what)
{
	(void)connection, (void)what;
	return true;
}

/* Claims it, if what is about to be done may be held back. */
static bool begin(struct pool *pool, struct call call, int fd,
	bool (*fits)(const struct connection *connection, const void *what), const void *what,
	enum refusal *why)
{
	struct connection *connection = call.connection;

	if (atomic_load(&pool->off) || connection_refused(connection) ||
		connection_state(connection) != CONNECTION_LIVE || connection_is_shared(call) ||
		!connection_try_claim(call))
		return false;
	if (fits(connection, what) && (connection->deferred ? is_own(pool, connection)
							    : is_idle(pool, connection, fd, why)))
		return true;
	if (connection_unclaim(connection))
		pool_release(pool, connection);
	return false;
}

bool deferral_of_shutdown(struct pool *pool, struct call call, int fd, int how, enum refusal *why)
{
	if (how < SHUT_RD || how > SHUT_RDWR || !pool->settings.defer_shutdown)
		return false;
	uint64_t signals = pool->os->block_signals();
	bool held = begin(pool, call, fd, is_shutdown, NULL, why) &&
		    hold_back(pool, call, (uint8_t)(how + 1));
	pool->os->restore_signals(signals);
	return held;
}

bool deferral_of_goodbye(struct pool *pool, struct call call, int fd, const void *data, size_t len)
{
	struct connection *connection = call.connection;
	const struct goodbye goodbye = {data, len};
	enum refusal why;

	/* At risk, it is not known whether there is anybody to say it to. */
	if (!pool->settings.defer_quit || connection_risk(connection) != RISK_NONE)
		return false;
	uint64_t signals = pool->os->block_signals();
	bool held = begin(pool, call, fd, is_goodbye, &goodbye, &why);
	if (held) {
		memcpy(connection->goodbye, data, len);
		connection->goodbye_len = (uint8_t)len;
		held = hold_back(pool, call, DEFERRED_GOODBYE);
	}
	pool->os->restore_signals(signals);
	return held;
}

/* ---- carrying out ---- */

/* What it says is what the kernel would have said then: that it is done. */
static void carry_out_now(struct pool *pool, struct connection *connection, int fd)
{
	uint8_t what = connection->deferred;

	deferral_forget(connection);
	if (what == 0 || proof_cookie(pool->os, fd) != connection->cookie)
		return;
	stats_count(&pool->stats.carried_out);
	if (what & DEFERRED_GOODBYE) {
		const struct iovec goodbye = {connection->goodbye, connection->goodbye_len};
		/* Into an empty buffer. */
		long sent = pool->os->send(fd, goodbye.iov_base, goodbye.iov_len, 0);
		if (sent > 0)
			connection_feed_vector(connection, SENT, &goodbye, (size_t)sent);
		/* The program has been told that it was, and may wait for what comes of it. */
		if (sent != (long)goodbye.iov_len)
			what |= DEFERRED_BOTH;
	}
	if (what & DEFERRED_BOTH) {
		int how = (what & DEFERRED_BOTH) - 1;
		if (how == SHUT_WR)
			atomic_store(&connection->half_closed, true);
		else
			connection_refuse(connection, REFUSED_SHUTDOWN);
		pool->os->shut_down(fd, how);
	}
}

/* Claims what is held back, to carry it out. false: there is nothing, or close() has it. */
static bool begin_carrying_out(struct pool *pool, struct call call, bool *claimed)
{
	for (int tries = 0; connection_is_deferred(call); tries++) {
		/* Who has it may be what a signal handler, that is here now, has interrupted. */
		*claimed = tries < TRIES;
		if (connection_begin_carrying_out(call, claimed))
			return true;
		pool->os->yield();
	}
	return false;
}

/* Another thread may be at it: what the caller does next comes after that, and the number is not
 * closed meanwhile. */
static void await_end(struct pool *pool, struct call call)
{
	for (int tries = 0; tries < PATIENCE && connection_is_current(call) &&
			    connection_is_connecting(call.connection);
		tries++)
		pool->os->yield();
}

void deferral_carry_out(struct pool *pool, struct call call)
{
	struct connection *connection = call.connection;
	bool claimed;

	/* Whoever names the number meanwhile waits. */
	uint64_t signals = pool->os->block_signals();
	if (begin_carrying_out(pool, call, &claimed)) {
		carry_out_now(pool, connection,
			atomic_load_explicit(&connection->fd, memory_order_relaxed));
		if (claimed && connection_end_connect(call))
			pool_release(pool, connection);
	} else {
		await_end(pool, call);
	}
	pool->os->restore_signals(signals);
}

static void carry_out_of(struct pool *pool, struct connection *connection)
{
	struct call call = connection_enter(connection);

	if (!call.connection)
		return;
	deferral_carry_out(pool, call);
	connection_leave(call);
}

void deferral_carry_out_before(struct pool *pool, int fd)
{
	const uint32_t thread = pool->os->thread_id();
	const uint64_t now = pool->os->now_ms();

	for (size_t i = 0; i < DEFERRALS_MOST; i++) {
		const struct deferral *deferral = &deferrals[i];
		struct connection *connection = atomic_load(&deferral->connection);
		if (connection && (atomic_load(&deferral->thread) == thread ||
					  atomic_load(&connection->fd) == fd ||
					  atomic_load(&deferral->since_ms) + LONG_MS <= now))
			carry_out_of(pool, connection);
	}
}

void deferral_carry_out_all(struct pool *pool)
{
	for (size_t i = 0; i < DEFERRALS_MOST; i++) {
		struct connection *connection = atomic_load(&deferrals[i].connection);
		if (connection)
			carry_out_of(pool, connection);
	}
}

void deferral_carry_out_where(struct pool *pool,
	bool (*concerns)(const struct connection *connection, int fd, const void *what),
	const void *what)
{
	for (size_t i = 0; i < DEFERRALS_MOST; i++) {
		struct connection *connection = atomic_load(&deferrals[i].connection);
		if (!connection)
			continue;
		struct call call = connection_enter(connection);
		if (!call.connection)
			continue;
		/* Else it may be parked, or free, and is not to be claimed. */
		if (!connection_is_deferred(call)) {
			connection_leave(call);
			continue;
		}
		bool claimed = connection_try_claim(call);
		bool concerned =
			!claimed || concerns(connection, atomic_load(&connection->fd), what);
		if (claimed && connection_unclaim(connection))
			pool_release(pool, connection);
		if (concerned)
			deferral_carry_out(pool, call);
		connection_leave(call);
	}
}

void deferral_close(struct pool *pool, struct connection *connection, int fd, bool parked)
{
	if (connection->deferred == 0)
		return;
	if (parked)
		forget(connection);
	else
		carry_out_now(pool, connection, fd);
}

/* close(): a connection is parked, or closed for real. */

#include "pool/pool_private.h"

#include <errno.h>
#include <utlist.h>

#include "pool/deferral.h"
#include "pool/proof.h"
#include "pool/reset.h"
#include "pool/turn.h"

static enum refusal check_settings(const struct pool *pool, const struct connection *connection)
{
	if (!connection->point)
		return REFUSED_OVERFLOW;
	const struct point_settings *settings = &connection->point->settings;
	long uses = setting_of(&settings->uses);
	if (setting_of(&settings->off))
		return REFUSED_RULE;
	if (setting_of(&settings->idle_ms) == 0)
		return REFUSED_IDLE_ZERO;
	if (atomic_load_explicit(&pool->parked_most, memory_order_relaxed) == 0)
		return REFUSED_NO_ROOM;
	if (uses > 0 && connection->uses >= (uint32_t)uses)
		return REFUSED_USES;
	if (pool_lease_is_over(connection, pool->os->now_ms()))
		return REFUSED_LEASE;
	return REFUSED_NOT;
}

static void note_protocol(const struct connection *connection)
{
	if (connection->point && connection->tracker)
		atomic_store_explicit(&connection->point->protocol, connection_protocol(connection),
			memory_order_relaxed);
}

static int hide(struct pool *pool, struct connection *connection, int fd)
{
	int number = pool->os->hide(connection, fd);

	if (number != -EMFILE)
		return number;
	/* The process is short of descriptors: one that is parked makes room. */
	pool_make_room(pool, 1);
	return pool->os->hide(connection, fd);
}

/* Gives the connection on fd its hidden number, and takes it out of every epoll set, if the
 * kernel speaks for it. The proofs are of the hidden number, which nobody else can exchange. */
static enum refusal prepare_to_park(struct pool *pool, struct connection *connection, int fd)
{
	int hidden = hide(pool, connection, fd);

	if (hidden < 0)
		return REFUSED_NO_ROOM;
	enum refusal refusal = proof_before_parking(pool->os, connection, hidden);
	if (refusal == REFUSED_NOT && !watches_remove(pool->os, &connection->watches, fd))
		refusal = REFUSED_WATCHED;
	/* In a child that a signal handler forked just now it is gone already. */
	if (refusal != REFUSED_NOT && connection_hides(connection, hidden))
		pool->os->discard(connection);
	return refusal;
}

/* Is it the server that is to blame? What it answers to requests that were sent unseen, or by
 * another thread, is none that nobody asked for. */
static bool speaks_unasked(
	const struct pool *pool, const struct connection *connection, int fd, enum refusal refusal)
{
	return (refusal == REFUSED_UNSOLICITED || refusal == REFUSED_EARLY_RESPONSE) &&
	       !connection->order_unknown && proof_flow(pool->os, connection, fd).all_sent_seen;
}

/* What is left to do is to close the number. */
static void give_up(struct pool *pool, struct connection *connection, int fd, enum refusal refusal)
{
	/* A non-blocking connect() that nothing was moved on: did it come to anything? */
	if (!atomic_load_explicit(&connection->opened, memory_order_relaxed) &&
		connection_state(connection) == CONNECTION_LIVE) {
		if (proof_connected(pool->os, fd))
			connection_opened(connection);
		else
			refusal = REFUSED_NOT_CONNECTED;
	}
	note_protocol(connection);
	/* A socket that was never to be a connection is none that was refused. */
	if (connection_state(connection) != CONNECTION_FRESH) {
		stats_count(&pool->stats.refused[refusal]);
		if (connection->point)
			service_point_refuses(connection->point, refusal);
		if (connection->point && speaks_unasked(pool, connection, fd, refusal))
			pool_learn(pool, connection->point, 0, DISCARDED_UNSOLICITED,
				pool->os->now_ms());
		pool_note(pool, connection, "closed", refusal_word(refusal));
	}
	pool->os->forget(connection, fd);
	pool_release(pool, connection);
}

/* Has the service point more connections than its limit allows, without this one? It was lowered.
 */
static bool is_beyond_limit(const struct service_point *point)
{
	long limit = point->settings.limit;

	return limit > 0 && service_point_open(point) >= limit;
}

/* Why a connection that has been found fit is not parked after all; DISCARD_COUNT if it is. */
static enum discard too_late(const struct connection *connection)
{
	const struct service_point *point = connection->point;

	if (connection->peer.name && !name_has(connection->peer.name, &connection->peer))
		return DISCARDED_RETIRED;
	if (connection->flushes != point->flushes)
		return DISCARDED_FLUSHED;
	return is_beyond_limit(point) ? DISCARDED_LIMIT : DISCARD_COUNT;
}

static void keep_most_locked(struct pool *pool, struct connection **doomed) REQUIRES(pool->lock)
{
	if (pool->parked_count > atomic_load_explicit(&pool->parked_most, memory_order_relaxed))
		pool_doom_locked(pool, pool->parked->prev, DISCARDED_EVICTED, doomed);
}

static void link_locked(struct pool *pool, struct connection *connection) REQUIRES(pool->lock)
{
	atomic_store_explicit(&connection->state, CONNECTION_PARKED, memory_order_relaxed);
	connection->point->parked_count++;
	pool->parked_count++;
}

/* It was found fit, and is not parked after all. Whoever has the file still, in a call or in a
 * child, gets what was held back. */
static void discard_instead(struct pool *pool, struct connection *connection, enum discard why)
{
	deferral_close(pool, connection,
		atomic_load_explicit(&connection->hidden, memory_order_relaxed), false);
	pool_discard(pool, connection, why);
}

/* The connection is on its hidden number only, and nobody's. */
static void park(struct pool *pool, struct connection *connection)
{
	struct connection *doomed = NULL;
	struct service_point *point = connection->point;

	connection->parked_ms = pool->os->now_ms();
	if (!pool_enter(pool)) {
		discard_instead(pool, connection, DISCARDED_DISTURBED);
		return;
	}
	/* A fork that came after the proofs has seen it on two numbers. */
	if (connection->fork_epoch != pool_fork_epoch(pool) || atomic_load(&pool->off)) {
		pool_leave(pool);
		discard_instead(pool, connection, DISCARDED_DISTURBED);
		return;
	}
	status_note_locked(pool, point);
	service_point_left(point, connection->parked_ms);
	enum discard why = too_late(connection);
	if (why != DISCARD_COUNT) {
		service_point_discards(point, why);
		connection->point = NULL;
		turn_pass_on_locked(pool, point);
		pool_leave(pool);
		discard_instead(pool, connection, why);
		return;
	}
	note_protocol(connection);
	deferral_forget(connection);
	connection_set_risk(connection, RISK_NONE);
	if (connection->tracker && connection->tracker->facts)
		connection->keeps_ms =
			connection->tracker->facts(connection->tracker_state).keeps_ms;
	if (connection->keeps_ms > 0)
		__atomic_store_n(&pool->points_differ, true, __ATOMIC_RELAXED);
	DL_PREPEND2(point->parked, connection, point_prev, point_next);
	DL_PREPEND(pool->parked, connection);
	link_locked(pool, connection);
	keep_most_locked(pool, &doomed);
	turn_pass_on_locked(pool, point);
	/* Last, as it may be this very service point that is recycled. */
	pool_expire_locked(pool, connection->parked_ms, &doomed);
	pool_leave(pool);
	pool_bury(pool, doomed);
}

/* Puts it where it was in the lists, which are in the order in which connections were parked. */
static void link_again_locked(struct pool *pool, struct connection *connection) REQUIRES(pool->lock)
{
	struct connection *after;

	DL_FOREACH2(connection->point->parked, after, point_next)
	{
		if (after->parked_ms <= connection->parked_ms)
			break;
	}
	DL_PREPEND_ELEM2(connection->point->parked, after, connection, point_prev, point_next);
	DL_FOREACH(pool->parked, after)
	{
		if (after->parked_ms <= connection->parked_ms)
			break;
	}
	DL_PREPEND_ELEM(pool->parked, after, connection);
	link_locked(pool, connection);
}

void pool_park_again(struct pool *pool, struct connection *connection)
{
	struct connection *doomed = NULL;
	enum discard why = DISCARDED_DISTURBED;

	if (pool_enter(pool)) {
		if (!atomic_load(&pool->off))
			connection->point = pool_find_point_locked(
				pool, &connection->peer, pool->os->now_ms(), &doomed);
		if (connection->point)
			why = too_late(connection);
		if (connection->point)
			status_note_locked(pool, connection->point);
		if (why == DISCARD_COUNT)
			link_again_locked(pool, connection);
		else if (connection->point)
			service_point_discards(connection->point, why);
		if (why != DISCARD_COUNT)
			connection->point = NULL;
		keep_most_locked(pool, &doomed);
		pool_leave(pool);
	}
	pool_bury(pool, doomed);
	if (why != DISCARD_COUNT)
		pool_discard(pool, connection, why);
}

/* The connection was found fit, and has its hidden number. */
static int close_and_park(struct pool *pool, struct connection *connection, int fd)
{
	deferral_close(pool, connection, fd, true);
	connection_opened(connection);
	stats_count(&pool->stats.parked);
	pool_note(pool, connection, "parked", "");
	/* The table forgets the number after it was closed, so that a call that comes in between is
	 * one on this connection, and found out. */
	int result = pool->os->close(fd);
	pool->os->forget(connection, fd);
	if (!connection_settle(connection)) {
		discard_instead(pool, connection, DISCARDED_DISTURBED);
	} else if (!reset_ask(pool, connection)) {
		service_point_discards(connection->point, DISCARDED_NOT_RESET);
		pool_discard(pool, connection, DISCARDED_NOT_RESET);
	} else
		park(pool, connection);
	return result;
}

enum refusal pool_judge(struct pool *pool, const struct connection *connection)
{
	enum refusal refusal = connection_verdict(connection, pool_fork_epoch(pool));

	if (refusal == REFUSED_STATE && reset_helps(connection))
		refusal = REFUSED_NOT;
	if (refusal == REFUSED_NOT && atomic_load(&pool->copies_under_way) > 0)
		refusal = REFUSED_FORKED;
	if (refusal == REFUSED_FORKED && connection->credentials != pool_credentials(pool))
		refusal = REFUSED_CREDENTIALS;
	return refusal == REFUSED_NOT ? check_settings(pool, connection) : refusal;
}

/* Its number, and the hidden one that it has for a while, are both free when this returns. */
static int try_to_park(struct pool *pool, struct connection *connection, int fd)
{
	enum refusal refusal = prepare_to_park(pool, connection, fd);

	if (refusal == REFUSED_NOT)
		return close_and_park(pool, connection, fd);
	deferral_close(pool, connection, fd, false);
	give_up(pool, connection, fd, refusal);
	return pool->os->close(fd);
}

/* A handler that jumped away would leave the connection to nobody, and its place at the service
 * point's limit with it. But signals are not blocked while a number is closed for real that is not
 * fit to be parked anyway, which may take its time (SO_LINGER). */
int pool_close_blocked(
	struct pool *pool, struct connection *connection, int fd, uint64_t signals_before)
{
	status_serve(pool);
	enum refusal refusal = pool_judge(pool, connection);
	if (refusal != REFUSED_NOT) {
		deferral_close(pool, connection, fd, false);
		give_up(pool, connection, fd, refusal);
		pool->os->restore_signals(signals_before);
		return pool->os->close(fd);
	}
	atomic_fetch_add(&pool->on_the_way, 1);
	int result = try_to_park(pool, connection, fd);
	atomic_fetch_sub(&pool->on_the_way, 1);
	pool->os->restore_signals(signals_before);
	return result;
}

int pool_close(struct pool *pool, struct connection *connection, int fd)
{
	return pool_close_blocked(pool, connection, fd, pool->os->block_signals());
}

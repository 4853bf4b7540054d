/* connect(): a parked connection for a program's new socket. */

#include "pool/pool_private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <utlist.h>

#include "pool/proof.h"
#include "pool/reset.h"
#include "pool/turn.h"

/* Of those whose answers are not there; where the oldest is never answered, others may be. */
#define RESETTING_MOST 4

/* What fresh may be given. */
struct wish {
	bool reuse;         /* another connection in the place of its socket */
	bool may_wait;      /* for its turn */
	unsigned resetting; /* so many at most of those that are being reset are looked at */
	uint32_t serial;    /* of this wish, by which those that were are known */
};

struct service_point *pool_find_point_locked(struct pool *pool, const struct endpoint *endpoint,
	uint64_t now, struct connection **doomed)
{
	if (!service_points_peek(&pool->points, endpoint) && pool_is_full_locked(pool)) {
		pool_recycle_locked(pool, doomed);
		if (pool_is_full_locked(pool))
			return NULL;
	}
	return service_points_find(&pool->points, endpoint, now);
}

/* A name has many addresses, but getpeername() must say the one that connect() was given. */
static bool same_address(const struct connection *one, const struct connection *other)
{
	return memcmp(&one->peer, &other->peer, sizeof(one->peer)) == 0;
}

/* May fresh have this one, which is parked? If not for good, it is doomed. */
static bool fits_locked(struct pool *pool, struct connection *connection,
	const struct connection *fresh, uint64_t now, struct connection **doomed)
	REQUIRES(pool->lock)
{
	enum discard why;

	if (pool_idle_for_too_long(connection, now))
		why = DISCARDED_IDLE;
	else if (pool_lease_is_over(connection, now))
		why = DISCARDED_LEASE;
	else if (connection->credentials != pool_credentials(pool))
		why = DISCARDED_DROPPED;
	else
		return same_address(connection, fresh) &&
		       options_match(&connection->options, &fresh->options);
	pool_doom_locked(pool, connection, why, doomed);
	return false;
}

/* The newest parked connection that can be made like fresh: it is the warmest, and the others grow
 * old. Of those that are being reset the oldest, as its answer is the likeliest to be there. */
static struct connection *choose_locked(struct pool *pool, struct service_point *point,
	const struct connection *fresh, const struct wish *wish, uint64_t now,
	struct connection **doomed) REQUIRES(pool->lock)
{
	struct connection *connection, *next, *chosen = NULL;

	DL_FOREACH_SAFE2(point->parked, connection, next, point_next)
	{
		if ((connection->resetting &&
			    (wish->resetting == 0 || connection->looked_at == wish->serial)) ||
			!fits_locked(pool, connection, fresh, now, doomed))
			continue;
		chosen = connection;
		if (!connection->resetting)
			break;
	}
	if (!chosen)
		return NULL;
	chosen->looked_at = wish->serial;
	pool_unlink_locked(pool, chosen);
	chosen->idle_ms = pool_idle_ms(chosen, now);
	return chosen;
}

/* Gives the hidden connection everything that the program gave its socket on fd. */
static bool make_alike(struct pool *pool, struct connection *connection,
	const struct connection *fresh, int fd, int status_flags)
{
	const struct pool_os *os = pool->os;
	int hidden = atomic_load_explicit(&connection->hidden, memory_order_relaxed);
	int has = os->get_status_flags(hidden);

	if (has < 0 || (status_flags != has && os->set_status_flags(hidden, status_flags) < 0))
		return false;
	return options_apply(os, hidden, &connection->options, fd, &fresh->options) == 0;
}

/* Counts, or uncounts, a reuse. */
static void count_reuse(struct pool *pool, struct service_point *point, int64_t change)
{
	atomic_fetch_add_explicit(&pool->stats.reused, (uint64_t)change, memory_order_relaxed);
	atomic_fetch_add_explicit(&point->reused, (uint64_t)change, memory_order_relaxed);
}

/* Puts connection on fd. From the moment that it is there other threads can find it, and end it: so
 * everything about it is settled before, and only fresh is looked at after. */
static int put_in_place(
	struct pool *pool, struct connection *connection, struct connection *fresh, int fd)
{
	int close_on_exec = pool->os->get_descriptor_flags(fd);
	struct service_point *point = fresh->point;

	if (close_on_exec < 0)
		return close_on_exec;
	atomic_store_explicit(&connection->fd, fd, memory_order_relaxed);
	connection->point = point;
	connection->watches = fresh->watches;
	connection->fork_epoch = atomic_load(&fresh->fork_epoch);
	connection->flushes = fresh->flushes;
	connection->uses++;
	connection->sent_before = atomic_load(&connection->sent);
	connection_set_risk(connection, pool->settings.replay ? RISK_UNUSED : RISK_NONE);
	atomic_store_explicit(&connection->state, CONNECTION_LIVE, memory_order_release);
	int error = pool->os->reveal(connection, fd, close_on_exec & FD_CLOEXEC);
	if (error == 0) {
		/* Each set had fd in it a moment ago, so each has room for it. */
		watches_restore(pool->os, &fresh->watches, fd);
		error = pool->os->exchange(connection, fresh, fd);
	}
	if (error < 0) {
		connection->point = NULL;
		return error;
	}
	/* It is in use in fresh's stead. */
	fresh->point = NULL;
	pool_note(pool, fresh, "reused", "");
	return 0;
}

/* Gives connection, which is out of the pool, and counted as reused, to the program. 0; -EAGAIN if
 * it was not fit for that and is gone; -EINPROGRESS if it is parked again, as it is not reset yet;
 * another error if fd is not to be had. */
static int give(struct pool *pool, struct connection *connection, struct connection *fresh, int fd,
	int status_flags)
{
	struct service_point *point = fresh->point;
	enum discard why = DISCARDED_NOT_RESET;
	int error = -EAGAIN;
	enum reset reset = reset_look(pool, connection, point);

	if (reset == RESET_AWAITED) {
		count_reuse(pool, point, -1);
		pool_park_again(pool, connection);
		return -EINPROGRESS;
	}
	if (reset == RESET_DONE)
		why = DISCARDED_UNLIKE;
	if (reset == RESET_DONE && proof_before_reuse(pool->os, connection, &why) &&
		make_alike(pool, connection, fresh, fd, status_flags)) {
		connection->result_pending = status_flags & O_NONBLOCK;
		error = put_in_place(pool, connection, fresh, fd);
		why = DISCARDED_UNLIKE;
	}
	if (error == 0)
		return 0;
	count_reuse(pool, point, -1);
	pool_learn(pool, point, connection->idle_ms, why, pool->os->now_ms());
	if (error == -ESTALE) {
		pool_release(pool, connection);
	} else {
		service_point_discards(point, why);
		pool_discard(pool, connection, why);
	}
	return error;
}

/* Does anything about the program's new socket forbid to put another in its place? */
static bool replaceable(struct pool *pool, struct connection *fresh, int fd, int status_flags)
{
	/* Signals are sent for the socket, not for the number: fcntl(2), F_SETOWN. */
	return status_flags >= 0 && !(status_flags & O_ASYNC) && !connection_refused(fresh) &&
	       proof_fresh(pool->os, fresh, fd) && fresh->fork_epoch == pool_fork_epoch(pool) &&
	       watches_hold(pool->os, &fresh->watches, fd);
}

/* Which service point fresh is for. Where that is not known it is served, and counted, as one to
 * the address alone, and not pooled. */
static void find_peer_locked(struct pool *pool, struct connection *fresh,
	const struct endpoint *endpoint) REQUIRES(pool->lock)
{
	if (!names_tell(&pool->names, endpoint, &fresh->peer.name))
		connection_refuse(fresh, REFUSED_AMBIGUOUS);
	fresh->peer.apart = fresh->peer.name && rules_tell_address(&pool->rules, endpoint);
}

/* Counts fresh in with the service point, and finds a parked connection for it, if one is wanted
 * and there is one. TAKEN_NONE with a connection: to be given; TAKEN_NONE without: there is none.
 */
static enum taken take_one(struct pool *pool, struct connection *fresh,
	const struct endpoint *endpoint, const struct wish *wish, struct connection **connection)
{
	struct connection *doomed = NULL;
	uint64_t now = pool->os->now_ms();
	enum taken taken = TAKEN_NONE;

	*connection = NULL;
	if (atomic_load(&pool->off) || !pool_enter(pool))
		return TAKEN_NONE;
	pool_expire_locked(pool, now, &doomed);
	/* Once, as in between it might be learned by another name. */
	if (!fresh->point && fresh->turn == TURN_NONE)
		find_peer_locked(pool, fresh, endpoint);
	struct service_point *point = pool_find_point_locked(pool, &fresh->peer, now, &doomed);
	if (point && !turn_admit_locked(pool, point, fresh, wish->may_wait))
		taken = TAKEN_LIMITED;
	else if (point && wish->reuse && !connection_refused(fresh) && !point->settings.off &&
		 !learning_is_quarantined(&point->learning, now))
		*connection = choose_locked(pool, point, fresh, wish, now, &doomed);
	if (*connection) {
		count_reuse(pool, point, 1);
		atomic_fetch_add(&pool->on_the_way, 1);
	}
	if (point)
		status_note_locked(pool, point);
	/* Those that do not fit make room for a new one. */
	if (point && taken == TAKEN_NONE && !*connection)
		turn_keep_limit_locked(pool, point, &doomed);
	pool_leave(pool);
	pool_bury(pool, doomed);
	return taken;
}

enum taken pool_take(
	struct pool *pool, struct connection *fresh, int fd, const struct endpoint *endpoint)
{
	int status_flags = pool->os->get_status_flags(fd);
	struct wish wish = {
		.reuse = replaceable(pool, fresh, fd, status_flags),
		.resetting = RESETTING_MOST,
		.serial = atomic_fetch_add_explicit(&pool->wishes, 1, memory_order_relaxed) + 1,
		.may_wait = status_flags >= 0 && !(status_flags & O_NONBLOCK),
	};
	struct connection *connection;
	enum taken taken;

	status_serve(pool);
	const struct endpoint before = fresh->peer;
	const bool again = fresh->point || fresh->turn != TURN_NONE;
	fresh->peer = *endpoint;
	fresh->peer.name = again ? before.name : NULL;
	fresh->peer.apart = again ? before.apart : 0;
	fresh->opened_counters[0] = &pool->stats.opened;
	while ((taken = take_one(pool, fresh, endpoint, &wish, &connection)) == TAKEN_NONE &&
		connection) {
		int error = give(pool, connection, fresh, fd, status_flags);
		atomic_fetch_sub(&pool->on_the_way, 1);
		if (error == 0)
			return status_flags & O_NONBLOCK ? TAKEN_PENDING : TAKEN_DONE;
		if (error != -EAGAIN && error != -EINPROGRESS)
			break;
		if (error == -EINPROGRESS)
			wish.resetting--;
	}
	return taken;
}

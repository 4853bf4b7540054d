#include "pool/turn.h"

#include <utlist.h>

#include "pool/pool_private.h"

static bool has_room(const struct service_point *point)
{
	long limit = point->settings.limit;

	return limit == 0 || point->in_use < limit;
}

static void count_in(struct service_point *point, struct connection *fresh)
{
	fresh->point = point;
	fresh->flushes = point->flushes;
	fresh->opened_counters[1] = &point->opened;
	fresh->tracker = tracker_of(point->settings.proto);
	if (point->settings.off)
		connection_refuse(fresh, REFUSED_RULE);
	point->in_use++;
}

static enum turn turn_of(const struct connection *fresh)
{
	return (enum turn)atomic_load_explicit(&fresh->turn, memory_order_relaxed);
}

/* Its word has changed. */
static void wake_later_locked(struct pool *pool, struct connection *fresh) REQUIRES(pool->lock)
{
	if (pool->woken.count < WOKEN_MOST)
		pool->woken.words[pool->woken.count++] = &fresh->turn;
	else
		pool->os->wake_all(&fresh->turn);
}

/* Its turn has come, and is used, or given up. */
static void take_turn_locked(struct connection *fresh)
{
	if (turn_of(fresh) == TURN_COME)
		fresh->point->come--;
	atomic_store(&fresh->turn, TURN_NONE);
}

/* It is counted out again. */
static void leave_locked(struct pool *pool, struct connection *fresh, uint64_t now)
	REQUIRES(pool->lock)
{
	struct service_point *point = fresh->point;

	if (!point)
		return;
	take_turn_locked(fresh);
	fresh->point = NULL;
	fresh->opened_counters[1] = NULL;
	fresh->tracker = NULL;
	service_point_left(point, now);
	status_note_locked(pool, point);
	turn_pass_on_locked(pool, point);
}

/* For how long, and what ends it. */
static void note_patience(struct connection *fresh, const struct service_point *point)
{
	long own = options_timeout_ms(&fresh->options, SO_SNDTIMEO);

	fresh->may_wait_ms = point->settings.wait_ms;
	fresh->own_time = own > 0 && own < fresh->may_wait_ms;
	if (fresh->own_time)
		fresh->may_wait_ms = own;
}

static void begin_waiting_locked(
	struct pool *pool, struct service_point *point, struct connection *fresh)
{
	stats_count(&pool->stats.waited);
	note_patience(fresh, point);
	fresh->waits_at = point;
	atomic_store(&fresh->turn, TURN_WAITING);
	DL_APPEND2(point->waiting, fresh, point_prev, point_next);
	point->waiting_count++;
}

bool turn_admit_locked(
	struct pool *pool, struct service_point *point, struct connection *fresh, bool may_wait)
{
	/* The same socket may connect elsewhere when it was refused. */
	if (fresh->point && fresh->point != point)
		leave_locked(pool, fresh, pool->now_ms);
	if (fresh->point) {
		take_turn_locked(fresh);
		/* There may have been more turns than could be told at once. */
		turn_pass_on_locked(pool, point);
		return true;
	}
	if (turn_of(fresh) == TURN_WAITING)
		return false;
	if (!has_room(point) || point->waiting) {
		if (may_wait && !fresh->impatient) {
			begin_waiting_locked(pool, point, fresh);
			return false;
		}
		stats_count(&pool->stats.over_limit);
	}
	count_in(point, fresh);
	return true;
}

void turn_keep_limit_locked(
	struct pool *pool, struct service_point *point, struct connection **doomed)
{
	long limit = point->settings.limit;

	while (limit > 0 && point->parked && service_point_open(point) > limit)
		pool_doom_locked(pool, point->parked->point_prev, DISCARDED_LIMIT, doomed);
}

static void stop_waiting_locked(struct pool *pool, struct connection *fresh) REQUIRES(pool->lock)
{
	status_note_locked(pool, fresh->waits_at);
	fresh->waits_at->waiting_count--;
	DL_DELETE2(fresh->waits_at->waiting, fresh, point_prev, point_next);
	fresh->waits_at = NULL;
	atomic_store(&fresh->turn, TURN_NONE);
}

void turn_pass_on_locked(struct pool *pool, struct service_point *point)
{
	while (point->waiting && has_room(point) && pool->woken.count < WOKEN_MOST / 2) {
		struct connection *fresh = point->waiting;
		stop_waiting_locked(pool, fresh);
		atomic_store(&fresh->turn, TURN_COME);
		count_in(point, fresh);
		point->come++;
		wake_later_locked(pool, fresh);
	}
}

void turn_end_locked(struct pool *pool, struct connection *fresh)
{
	if (turn_of(fresh) == TURN_WAITING) {
		stop_waiting_locked(pool, fresh);
		wake_later_locked(pool, fresh);
	}
	take_turn_locked(fresh);
}

/* Some of those who wait; false if nobody does. */
static bool end_some_locked(struct pool *pool) REQUIRES(pool->lock)
{
	struct service_point *point;

	DL_FOREACH(pool->points.used, point)
	{
		while (point->waiting) {
			if (pool->woken.count == WOKEN_MOST)
				return true;
			turn_end_locked(pool, point->waiting);
		}
	}
	return false;
}

void turn_end_all(struct pool *pool)
{
	bool more = true;

	while (more && pool_enter(pool)) {
		more = end_some_locked(pool);
		pool_leave(pool);
	}
}

/* ---- the one who waits ---- */

static bool is_waiting_locked(struct call call)
{
	return connection_is_current(call) && turn_of(call.connection) == TURN_WAITING;
}

bool pool_stop_waiting(struct pool *pool, struct call call)
{
	if (!pool_enter(pool))
		return false;
	bool waits = is_waiting_locked(call);
	if (waits)
		stop_waiting_locked(pool, call.connection);
	pool_leave(pool);
	return waits;
}

void pool_let_through(struct pool *pool, struct call call)
{
	call.connection->impatient = true;
	pool_stop_waiting(pool, call);
}

bool pool_shut_down_waiting(struct pool *pool, struct call call)
{
	if (!pool_enter(pool))
		return false;
	bool waits = is_waiting_locked(call);
	if (waits) {
		stop_waiting_locked(pool, call.connection);
		atomic_store(&call.connection->turn, TURN_STOPPED);
		wake_later_locked(pool, call.connection);
	}
	pool_leave(pool);
	return waits;
}

void pool_give_up_turn(struct pool *pool, struct call call)
{
	uint64_t now = pool->os->now_ms();

	if (!pool_enter(pool))
		return;
	if (connection_is_current(call) && turn_of(call.connection) == TURN_COME)
		leave_locked(pool, call.connection, now);
	pool_leave(pool);
}

void pool_dissolve(struct pool *pool, struct call call)
{
	uint64_t now = pool->os->now_ms();

	if (!pool_enter(pool))
		return;
	if (connection_is_current(call))
		leave_locked(pool, call.connection, now);
	pool_leave(pool);
}

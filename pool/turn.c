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

static void wake_later_locked(struct pool *pool, struct connection *fresh) REQUIRES(pool->lock)
{
	atomic_fetch_add(&fresh->wakers, 1);
	fresh->next_woken = pool->woken;
	pool->woken = fresh;
}

/* Its turn has come, and is used, or given up. */
static void take_turn_locked(struct connection *fresh)
{
	if (fresh->turn == TURN_COME)
		fresh->point->come--;
	fresh->turn = TURN_NONE;
}

bool turn_admit_locked(
	struct pool *pool, struct service_point *point, struct connection *fresh, bool may_wait)
{
	if (fresh->point) {
		take_turn_locked(fresh);
		return true;
	}
	if (fresh->turn == TURN_WAITING)
		return false;
	if (!has_room(point) || point->waiting) {
		/* One that is still being woken from its last life cannot be in a list of those to
		 * be woken. */
		if (may_wait && atomic_load(&fresh->wakers) == 0) {
			stats_count(&pool->stats.waited);
			atomic_store(&fresh->alarm, -1);
			fresh->turn = TURN_WAITING;
			fresh->may_wait_ms = point->settings.wait_ms;
			fresh->waits_at = point;
			DL_APPEND2(point->waiting, fresh, point_prev, point_next);
			point->waiting_count++;
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
	fresh->turn = TURN_NONE;
}

void turn_pass_on_locked(struct pool *pool, struct service_point *point)
{
	while (point->waiting && has_room(point)) {
		struct connection *fresh = point->waiting;
		stop_waiting_locked(pool, fresh);
		fresh->turn = TURN_COME;
		count_in(point, fresh);
		point->come++;
		wake_later_locked(pool, fresh);
	}
}

void turn_end_locked(struct pool *pool, struct connection *fresh)
{
	if (fresh->turn == TURN_WAITING) {
		stop_waiting_locked(pool, fresh);
		wake_later_locked(pool, fresh);
	}
	take_turn_locked(fresh);
}

void turn_wake(struct pool *pool, struct connection *woken)
{
	while (woken) {
		struct connection *fresh = woken;
		woken = fresh->next_woken;
		int alarm = atomic_load(&fresh->alarm);
		if (alarm >= 0)
			pool->os->wake_up(alarm);
		atomic_fetch_sub(&fresh->wakers, 1);
	}
}

/* ---- the one who waits ---- */

static bool is_waiting_locked(struct call call)
{
	return connection_is_current(call) && call.connection->turn == TURN_WAITING;
}

bool pool_set_alarm(struct pool *pool, struct call call, int alarm)
{
	if (!pool_enter(pool))
		return false;
	bool waits = is_waiting_locked(call);
	if (waits)
		atomic_store(&call.connection->alarm, alarm);
	pool_leave(pool);
	return waits;
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

void pool_give_up_turn(struct pool *pool, struct call call)
{
	struct connection *fresh = call.connection;
	uint64_t now = pool->os->now_ms();

	if (!pool_enter(pool))
		return;
	if (connection_is_current(call) && fresh->turn == TURN_COME) {
		struct service_point *point = fresh->point;
		take_turn_locked(fresh);
		fresh->point = NULL;
		service_point_left(point, now);
		status_note_locked(pool, point);
		turn_pass_on_locked(pool, point);
	}
	pool_leave(pool);
}

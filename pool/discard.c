/* Leaving the pool without another use. */

#include "pool/pool_private.h"

#include <limits.h>
#include <utlist.h>

#include "pool/deferral.h"
#include "pool/proof.h"
#include "pool/reset.h"
#include "pool/succession.h"
#include "pool/turn.h"

/* How many of those that were parked longest are looked at in one call. */
#define EXPIRE_AT_ONCE 8

/* How many service points, where each has a time of its own. */
#define POINTS_AT_ONCE 4

void pool_note(
	struct pool *pool, const struct connection *connection, const char *event, const char *why)
{
	if (pool->os->note)
		pool->os->note(connection, event, why);
}

void pool_unlink_locked(struct pool *pool, struct connection *connection)
{
	status_note_locked(pool, connection->point);
	DL_DELETE2(connection->point->parked, connection, point_prev, point_next);
	connection->point->parked_count--;
	connection->point = NULL;
	DL_DELETE(pool->parked, connection);
	pool->parked_count--;
	atomic_store_explicit(&connection->state, CONNECTION_TAKEN, memory_order_relaxed);
}

void pool_doom_locked(struct pool *pool, struct connection *connection, enum discard why,
	struct connection **doomed)
{
	service_point_discards(connection->point, why);
	pool_unlink_locked(pool, connection);
	connection->discard = (uint8_t)why;
	DL_APPEND(*doomed, connection);
	atomic_fetch_add(&pool->on_the_way, 1);
}

void pool_discard(struct pool *pool, struct connection *connection, enum discard why)
{
	int hidden = atomic_load_explicit(&connection->hidden, memory_order_relaxed);

	stats_count(&pool->stats.discarded[why]);
	pool_note(pool, connection, "discarded", discard_word(why));
	if (why != DISCARDED_IDENTITY && proof_cookie(pool->os, hidden) == connection->cookie)
		pool->os->discard(connection);
	else
		pool->os->lose(connection);
	pool_release(pool, connection);
}

void pool_bury(struct pool *pool, struct connection *doomed)
{
	while (doomed) {
		struct connection *connection = doomed;
		DL_DELETE(doomed, connection);
		pool_discard(pool, connection, (enum discard)connection->discard);
		atomic_fetch_sub(&pool->on_the_way, 1);
	}
}

/* Another thread may have written down a later time than this one has read. */
static uint64_t elapsed(uint64_t since, uint64_t now)
{
	return now > since ? now - since : 0;
}

/* The setting, what is learned, and what its server has announced. */
static uint64_t may_idle_ms(const struct connection *connection, uint64_t now)
{
	long setting = connection->point->settings.idle_ms;
	uint32_t learned = learning_keeps_ms(&connection->point->learning, now);
	uint64_t most = setting >= 0 ? (uint64_t)setting : UINT64_MAX;

	if (learned > 0 && learned < most)
		most = learned;
	if (connection->keeps_ms > 0 && connection->keeps_ms < most)
		most = connection->keeps_ms;
	return most;
}

bool pool_idle_for_too_long(const struct connection *connection, uint64_t now)
{
	return elapsed(connection->parked_ms, now) > may_idle_ms(connection, now);
}

uint32_t pool_idle_ms(const struct connection *connection, uint64_t now)
{
	uint64_t idle = elapsed(connection->parked_ms, now);

	return idle < UINT32_MAX ? (uint32_t)idle : UINT32_MAX;
}

void pool_learn(struct pool *pool, struct service_point *point, uint32_t idle_ms, enum discard why,
	uint64_t now)
{
	if (why == DISCARDED_DEAD)
		learning_death(&point->learning, idle_ms, now);
	else if (why == DISCARDED_UNSOLICITED && learning_failure(&point->learning, now))
		stats_count(&pool->stats.quarantined);
	else
		return;
	/* Others may be too old now that were parked later. */
	__atomic_store_n(&pool->points_differ, true, __ATOMIC_RELAXED);
}

bool pool_lease_is_over(const struct connection *connection, uint64_t now)
{
	long lease = setting_of(&connection->point->settings.lease_ms);

	if (lease < 0)
		return false;
	uint64_t percent = 90 + connection->cookie % 21;
	return elapsed(connection->created_ms, now) * 100 >= (uint64_t)lease * percent;
}

static void expire_at_locked(struct pool *pool, struct service_point *point, uint64_t now,
	struct connection **doomed) REQUIRES(pool->lock)
{
	for (int i = 0; i < EXPIRE_AT_ONCE && point->parked; i++) {
		struct connection *oldest = point->parked->point_prev;
		if (!pool_idle_for_too_long(oldest, now))
			return;
		pool_doom_locked(pool, oldest, DISCARDED_IDLE, doomed);
	}
}

/* Where service points allow different times, the one that was parked longest is not always the
 * first whose time is over. */
static void expire_in_turn_locked(struct pool *pool, uint64_t now, struct connection **doomed)
	REQUIRES(pool->lock)
{
	for (int i = 0; i < POINTS_AT_ONCE; i++) {
		struct service_point *point = service_points_next(&pool->points);
		if (point)
			expire_at_locked(pool, point, now, doomed);
	}
}

bool pool_recycle_locked(struct pool *pool, struct connection **doomed)
{
	struct service_point *oldest = service_points_oldest_idle(&pool->points);

	if (!oldest)
		return false;
	while (oldest->parked)
		pool_doom_locked(pool, oldest->parked, DISCARDED_RECYCLED, doomed);
	status_forget_locked(pool, oldest);
	service_points_remove(&pool->points, oldest);
	return true;
}

bool pool_is_full_locked(const struct pool *pool)
{
	long most = pool->settings.max_service_points;

	return most > 0 && pool->points.count >= (unsigned long)most;
}

/* The cap was lowered, and those that were in use have become idle. */
static void keep_cap_locked(struct pool *pool, struct connection **doomed) REQUIRES(pool->lock)
{
	long most = pool->settings.max_service_points;

	for (int i = 0; i < POINTS_AT_ONCE; i++)
		if (most == 0 || pool->points.count <= (unsigned long)most ||
			!pool_recycle_locked(pool, doomed))
			return;
}

void pool_expire_locked(struct pool *pool, uint64_t now, struct connection **doomed)
{
	pool->now_ms = now;
	keep_cap_locked(pool, doomed);
	if (__atomic_load_n(&pool->points_differ, __ATOMIC_RELAXED))
		expire_in_turn_locked(pool, now, doomed);
	for (int i = 0; i < EXPIRE_AT_ONCE && pool->parked; i++) {
		/* utlist: the head's prev is the last of the list, here the one parked longest. */
		struct connection *oldest = pool->parked->prev;
		if (!pool_idle_for_too_long(oldest, now))
			return;
		pool_doom_locked(pool, oldest, DISCARDED_IDLE, doomed);
	}
}

/* Takes a parked connection out of the pool, if it is parked on this hidden number. What was heard
 * of one that is being reset may be the answer, which was not asked for when it was heard: only who
 * evicts it takes that one. */
static bool unpark(struct pool *pool, struct connection *connection, int hidden, enum discard why)
{
	uint64_t now = pool->os->now_ms();

	if (!pool_enter(pool))
		return false;
	bool parked = connection_state(connection) == CONNECTION_PARKED &&
		      connection_hides(connection, hidden) &&
		      (why == DISCARDED_DROPPED || !connection->resetting);
	if (parked) {
		pool_learn(pool, connection->point, pool_idle_ms(connection, now), why, now);
		service_point_discards(connection->point, why);
		pool_unlink_locked(pool, connection);
	}
	pool_leave(pool);
	return parked;
}

void pool_evict(struct pool *pool, struct connection *connection, int hidden)
{
	if (unpark(pool, connection, hidden, DISCARDED_DROPPED))
		pool_discard(pool, connection, DISCARDED_DROPPED);
	else
		succession_make_way(pool, connection, hidden);
}

/* Those to addresses that the name does not have any more. */
static void retire_locked(struct pool *pool, const struct name *name, struct connection **doomed)
	REQUIRES(pool->lock)
{
	struct connection *connection, *next;

	DL_FOREACH_SAFE(pool->parked, connection, next)
	{
		if (connection->peer.name == name && !name_has(name, &connection->peer))
			pool_doom_locked(pool, connection, DISCARDED_RETIRED, doomed);
	}
}

const struct name *pool_learn_name(
	struct pool *pool, const char *text, size_t len, const struct answer *answer)
{
	struct connection *doomed = NULL;

	if (!pool_enter_for_names(pool)) {
		atomic_store_explicit(&pool->names.forgot, true, memory_order_relaxed);
		return NULL;
	}
	bool lost;
	const struct name *name = names_learn(&pool->names, text, len, answer, &lost);
	if (lost)
		retire_locked(pool, name, &doomed);
	pool_leave(pool);
	pool_bury(pool, doomed);
	return name;
}

void pool_learn_more(struct pool *pool, const struct name *name, const struct answer *answer)
{
	if (!pool_enter_for_names(pool)) {
		atomic_store_explicit(&pool->names.forgot, true, memory_order_relaxed);
		return;
	}
	names_learn_more(&pool->names, name, answer);
	pool_leave(pool);
}

long pool_expire(struct pool *pool)
{
	struct connection *connection, *next, *doomed = NULL;
	uint64_t now = pool->os->now_ms(), soonest = UINT64_MAX;

	status_serve(pool);
	if (!pool_enter(pool))
		return -1;
	pool->now_ms = now;
	DL_FOREACH_SAFE(pool->parked, connection, next)
	{
		uint64_t most = may_idle_ms(connection, now);
		if (pool_idle_for_too_long(connection, now))
			pool_doom_locked(pool, connection, DISCARDED_IDLE, &doomed);
		else if (most < UINT64_MAX && connection->parked_ms + most < soonest)
			soonest = connection->parked_ms + most;
	}
	pool_leave(pool);
	pool_bury(pool, doomed);
	if (soonest == UINT64_MAX)
		return -1;
	return soonest > now ? (long)(soonest - now) : 0;
}

/* Takes one out of the pool whose server has something to say, which may be that it is reset. */
static bool unpark_resetting(struct pool *pool, struct connection *connection, int hidden)
{
	if (!pool_enter(pool))
		return false;
	bool parked = connection_state(connection) == CONNECTION_PARKED &&
		      connection_hides(connection, hidden) && connection->resetting;
	if (parked)
		pool_unlink_locked(pool, connection);
	pool_leave(pool);
	return parked;
}

/* Its service point may be gone by now. */
static void discard_unreset(struct pool *pool, struct connection *connection)
{
	if (pool_enter(pool)) {
		struct service_point *point = service_points_peek(&pool->points, &connection->peer);
		if (point) {
			service_point_discards(point, DISCARDED_NOT_RESET);
			status_note_locked(pool, point);
		}
		pool_leave(pool);
	}
	pool_discard(pool, connection, DISCARDED_NOT_RESET);
}

void pool_end_of(struct pool *pool, struct connection *connection, int hidden)
{
	/* Who finds no number waits for one that is out of the pool for a moment. */
	atomic_fetch_add(&pool->on_the_way, 1);
	bool resetting = unpark_resetting(pool, connection, hidden);
	if (resetting && reset_look(pool, connection, NULL) == RESET_FAILED)
		discard_unreset(pool, connection);
	else if (resetting)
		pool_park_again(pool, connection);
	atomic_fetch_sub(&pool->on_the_way, 1);
	if (resetting)
		return;
	/* If it is not its own any more, what is said of it does not matter. */
	enum discard why = pool->os->peek(hidden) > 0 ? DISCARDED_UNSOLICITED : DISCARDED_DEAD;

	if (unpark(pool, connection, hidden, why))
		pool_discard(pool, connection, why);
}

/* Takes the lock to doom those parked longest until only so many are left, and buries them. */
static unsigned shrink(struct pool *pool, unsigned left, unsigned at_most, enum discard why)
{
	struct connection *doomed = NULL;
	unsigned count = 0;

	if (!pool_enter(pool))
		return 0;
	for (; pool->parked_count > left && count < at_most; count++)
		pool_doom_locked(pool, pool->parked->prev, why, &doomed);
	pool_leave(pool);
	pool_bury(pool, doomed);
	return count;
}

unsigned pool_make_room(struct pool *pool, unsigned count)
{
	return shrink(pool, 0, count, DISCARDED_EVICTED);
}

void pool_set_parked_most(struct pool *pool, unsigned most)
{
	atomic_store_explicit(&pool->parked_most, most, memory_order_relaxed);
	shrink(pool, most, UINT_MAX, DISCARDED_EVICTED);
}

void pool_drop(struct pool *pool)
{
	shrink(pool, 0, UINT_MAX, DISCARDED_DROPPED);
}

void pool_change_credentials(struct pool *pool)
{
	/* Where the lock is not to be had just now, this is what keeps them from being used. */
	atomic_fetch_add_explicit(&pool->credentials, 1, memory_order_seq_cst);
	pool_shared_descriptors(pool);
	pool_drop(pool);
}

void pool_turn_off(struct pool *pool)
{
	/* In this order, as nothing more is held back then. */
	atomic_store(&pool->off, true);
	deferral_carry_out_all(pool);
	turn_end_all(pool);
	pool_drop(pool);
}

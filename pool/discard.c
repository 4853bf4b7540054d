/* Leaving the pool without another use. */

#include "pool/pool_private.h"

#include <limits.h>
#include <utlist.h>

#include "pool/proof.h"

/* How many of those that were parked longest are looked at in one call. */
#define EXPIRE_AT_ONCE 8

void pool_note(
	struct pool *pool, const struct connection *connection, const char *event, const char *why)
{
	if (pool->os->note)
		pool->os->note(connection, event, why);
}

void pool_unlink_locked(struct pool *pool, struct connection *connection)
{
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
	pool_unlink_locked(pool, connection);
	connection->discard = (uint8_t)why;
	DL_APPEND(*doomed, connection);
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
	}
}

/* Another thread may have written down a later time than this one has read. */
static uint64_t elapsed(uint64_t since, uint64_t now)
{
	return now > since ? now - since : 0;
}

bool pool_idle_for_too_long(
	const struct pool *pool, const struct connection *connection, uint64_t now)
{
	long most = pool->settings.max_idle_ms;

	return most >= 0 && elapsed(connection->parked_ms, now) > (uint64_t)most;
}

bool pool_lease_is_over(const struct pool *pool, const struct connection *connection, uint64_t now)
{
	long lease = pool->settings.lease_ms;

	if (lease < 0)
		return false;
	uint64_t percent = 90 + connection->cookie % 21;
	return elapsed(connection->created_ms, now) * 100 >= (uint64_t)lease * percent;
}

void pool_expire_locked(struct pool *pool, uint64_t now, struct connection **doomed)
{
	for (int i = 0; i < EXPIRE_AT_ONCE && pool->parked; i++) {
		/* utlist: the head's prev is the last of the list, here the one parked longest. */
		struct connection *oldest = pool->parked->prev;
		if (!pool_idle_for_too_long(pool, oldest, now))
			return;
		pool_doom_locked(pool, oldest, DISCARDED_IDLE, doomed);
	}
}

void pool_evict(struct pool *pool, struct connection *connection, int hidden)
{
	struct connection *doomed = NULL;

	if (!pool_enter(pool))
		return;
	if (connection_state(connection) == CONNECTION_PARKED &&
		connection_hides(connection, hidden))
		pool_doom_locked(pool, connection, DISCARDED_DROPPED, &doomed);
	pool_leave(pool);
	pool_bury(pool, doomed);
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
	atomic_store(&pool->off, true);
	pool_drop(pool);
}

/* What the files of the pool share: pool.c (the lock and the memory), take.c, park.c, discard.c,
 * fork.c and pool_json.c.
 */
#pragma once

#include "pool/pool.h"

/* Takes the lock, with memory at hand and everything in its place. */
bool pool_enter(struct pool *pool) TRY_ACQUIRES(pool->lock);
void pool_leave(struct pool *pool) RELEASES(pool->lock);

/* The same with memory for names_learn(). */
bool pool_enter_for_names(struct pool *pool) TRY_ACQUIRES(pool->lock);

static inline uint32_t pool_credentials(const struct pool *pool)
{
	return atomic_load_explicit(&pool->credentials, memory_order_relaxed);
}

/* For the log. */
void pool_note(
	struct pool *pool, const struct connection *connection, const char *event, const char *why);

/* Of a connection that is parked; the time that it has been counts also where its service point
 * allows less since. */
bool pool_idle_for_too_long(const struct connection *connection, uint64_t now);

/* For how long it has been parked, or as much of that as 32 bits hold. */
uint32_t pool_idle_ms(const struct connection *connection, uint64_t now);

/* What there is to learn from a parked connection of this service point that is discarded. */
void pool_learn(struct pool *pool, struct service_point *point, uint32_t idle_ms, enum discard why,
	uint64_t now);

/* The lease runs from the connection's creation. Up to a tenth more or less, so that connections
 * that were made together do not all end together. */
bool pool_lease_is_over(const struct connection *connection, uint64_t now);

/* Takes a parked connection out of the pool's lists. */
void pool_unlink_locked(struct pool *pool, struct connection *connection) REQUIRES(pool->lock);

/* What there is against parking it before it has a hidden number. The caller has claimed it. */
enum refusal pool_judge(struct pool *pool, const struct connection *connection);

/* Parks one again that was taken out of the pool, and not used. */
void pool_park_again(struct pool *pool, struct connection *connection);

/* Moves a parked connection to a list of those that pool_bury() closes without the lock. */
void pool_doom_locked(struct pool *pool, struct connection *connection, enum discard why,
	struct connection **doomed) REQUIRES(pool->lock);
void pool_bury(struct pool *pool, struct connection *doomed);

/* Dooms some of those that have been parked for too long. */
void pool_expire_locked(struct pool *pool, uint64_t now, struct connection **doomed)
	REQUIRES(pool->lock);

/* Removes the least recently used service point that is idle; false if none is. */
bool pool_recycle_locked(struct pool *pool, struct connection **doomed) REQUIRES(pool->lock);

/* Are there as many service points as there may be? */
bool pool_is_full_locked(const struct pool *pool) REQUIRES(pool->lock);

/* The service point of endpoint. NULL if there is neither room for a new one nor an idle one to
 * recycle: the endpoint is then served without the pool. */
struct service_point *pool_find_point_locked(struct pool *pool, const struct endpoint *endpoint,
	uint64_t now, struct connection **doomed) REQUIRES(pool->lock);

/* Closes the hidden number of a connection that is out of the pool, if it is still its own, and
 * gives back its memory. */
void pool_discard(struct pool *pool, struct connection *connection, enum discard why);

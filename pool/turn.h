/* Turns: who waits for a connection at a service point's limit (ServicePoint.ConnectionLimit).
 *
 * First come, first served. Parked connections count as available, as one of them may be taken, or
 * closed to make room. Whose turn it is, is counted in at once, so nobody can come in between; and
 * is woken when the lock has been released.
 */
#pragma once

#include "pool/pool.h"

/* Counts fresh in with its service point. false: the point has as many connections as it may; then
 * fresh waits if it may wait, or else is counted in all the same, and true. */
bool turn_admit_locked(struct pool *pool, struct service_point *point, struct connection *fresh,
	bool may_wait) REQUIRES(pool->lock);

/* Of parked connections and those in use there are no more than the limit, if that can be done by
 * closing parked ones. */
void turn_keep_limit_locked(struct pool *pool, struct service_point *point,
	struct connection **doomed) REQUIRES(pool->lock);

/* A connection is no longer in use: its service point's next one has its turn. */
void turn_pass_on_locked(struct pool *pool, struct service_point *point) REQUIRES(pool->lock);

/* fresh is no more: it does not wait, and takes nobody's place. */
void turn_end_locked(struct pool *pool, struct connection *fresh) REQUIRES(pool->lock);

/* All who wait are told to try again, as there is no pool any more. */
void turn_end_all(struct pool *pool);

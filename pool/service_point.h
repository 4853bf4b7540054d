/* A service point, after System.Net.ServicePoint: one host and port, and the parked connections to
 * it. The functions here keep the books; they make no system call, and the pool's lock is held.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "pool/connection.h"
#include "pool/endpoint.h"
#include "pool/hash.h"
#include "pool/learning.h"
#include "pool/rules.h"
#include "pool/settings.h"
#include "pool/stats.h"

struct service_point {
	struct endpoint key;      /* endpoint_key() */
	struct endpoint endpoint; /* of the latest connection */
	struct point_settings settings;
	UT_hash_handle hh;
	struct service_point *prev, *next; /* service_points.used, the latest used first */
	struct connection *parked;         /* connection.point_prev, .point_next; newest first */
	unsigned parked_count;
	unsigned come; /* of in_use: those whose turn has come, and that have nothing yet */
	struct connection *waiting; /* .point_prev, .point_next; longest waiting first */
	unsigned waiting_count;
	unsigned in_use;        /* connections of it that are live, or may become so */
	uint32_t flushes;       /* what was connected before the last one is not parked */
	uint64_t made_ms;       /* ServicePoint.IdleSince, if it never was in use */
	uint64_t idle_since_ms; /* when in_use became 0 the last time */

	/* Counted without the lock. */
	_Atomic(const char *) protocol; /* of the last one that was closed */
	_Atomic uint64_t opened, reused;
	struct learning learning;
	_Atomic bool resets; /* its server has reset a connection */
	_Atomic uint32_t discarded[DISCARD_COUNT], refused[REFUSAL_COUNT];

	/* What others are shown of it: pool/status.h */
	uint64_t id;
	unsigned row; /* from 1; 0: none */
	bool changed;
	struct service_point *next_changed;
};

struct service_points {
	struct slab *slab;
	const struct point_settings *defaults; /* of new ones */
	const struct rules *rules;             /* what some of them have instead; may be NULL */
	struct service_point *by_key;          /* uthash */
	struct service_point *used;            /* service_point.prev, .next */
	struct service_point *next_looked_at;  /* by service_points_next() */
	unsigned count;
	uint64_t made; /* ever */
};

/* FindServicePoint: the service point of this endpoint, made if there is none, as the latest used.
 * NULL without memory. */
struct service_point *service_points_find(
	struct service_points *points, const struct endpoint *endpoint, uint64_t now_ms);

/* Is there one already? */
struct service_point *service_points_peek(
	struct service_points *points, const struct endpoint *endpoint);

/* The least recently used one that has no connection in use; NULL if all have. */
struct service_point *service_points_oldest_idle(struct service_points *points);

/* One after the other, all of them in turn; NULL: there is none. */
struct service_point *service_points_next(struct service_points *points);

/* Removes a service point that has no connections, neither in use nor parked. */
void service_points_remove(struct service_points *points, struct service_point *point);

/* Connections that there are: in use or parked. */
static inline long service_point_open(const struct service_point *point)
{
	return (long)point->in_use - point->come + point->parked_count;
}

/* One connection less is in use. */
static inline void service_point_left(struct service_point *point, uint64_t now_ms)
{
	if (--point->in_use == 0)
		point->idle_since_ms = now_ms;
}

/* For what others are shown; the pool counts all of them together (stats.h). */
static inline void service_point_discards(struct service_point *point, enum discard why)
{
	atomic_fetch_add_explicit(&point->discarded[why], 1, memory_order_relaxed);
}

static inline void service_point_refuses(struct service_point *point, enum refusal why)
{
	atomic_fetch_add_explicit(&point->refused[why], 1, memory_order_relaxed);
}

/* Memory that the next _find() may need, in bytes. */
size_t service_points_need(const struct service_points *points);

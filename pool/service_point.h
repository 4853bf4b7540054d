/* A service point, after System.Net.ServicePoint: one host and port, and the parked connections to
 * it. The functions here keep the books; they make no system call, and the pool's lock is held.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "pool/connection.h"
#include "pool/endpoint.h"
#include "pool/hash.h"

struct service_point {
	struct endpoint endpoint;
	UT_hash_handle hh;
	struct service_point *prev, *next; /* service_points.used, the latest used first */
	struct connection *parked;         /* connection.point_prev, .point_next; newest first */
	unsigned parked_count;
	unsigned in_use;                /* connections of it that are live */
	_Atomic(const char *) protocol; /* of the last one that was closed */
	_Atomic uint64_t opened, reused;
};

struct service_points {
	struct slab *slab;
	struct service_point *by_endpoint; /* uthash */
	struct service_point *used;        /* service_point.prev, .next */
	unsigned count;
};

/* FindServicePoint: the service point of this endpoint, made if there is none, as the latest used.
 * NULL without memory. */
struct service_point *service_points_find(
	struct service_points *points, const struct endpoint *endpoint);

/* Is there one already? */
struct service_point *service_points_peek(
	struct service_points *points, const struct endpoint *endpoint);

/* The least recently used one that has no connection in use; NULL if all have. */
struct service_point *service_points_oldest_idle(struct service_points *points);

/* Removes a service point that has no connections, neither in use nor parked. */
void service_points_remove(struct service_points *points, struct service_point *point);

/* Memory that the next _find() may need, in bytes. */
size_t service_points_need(const struct service_points *points);

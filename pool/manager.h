/* What can be changed of service points while they are in use, after
 * System.Net.ServicePointManager: for requests from outside (pool/requests.h) and for programs that
 * know the library (shim/sppool.h).
 *
 * All functions are thread-safe and safe in signal handlers, as those of pool/pool.h. -EAGAIN: the
 * lock was not to be had.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "pool/pool.h"
#include "pool/rules.h"

/* Sets what the rule says for the service points that its pattern matches, and keeps it for those
 * that are made later. Returns how many there were; -ENOENT: none, and nothing is kept; -ENOMEM: it
 * could not be kept, and nothing was done.
 *
 * A lower limit: idle connections beyond it are closed at once, those in use when they are
 * released; a higher one: those who wait have their turn. A shorter idle time holds for connections
 * that are idle already, with the time that they have been. The lease is that of the connection's
 * whole life. */
long manager_set(struct pool *pool, const struct rule *rule);

/* The same for service points that are still to come, whatever the rule's pattern. Those that there
 * are stay as they are. 1, or -EAGAIN. */
long manager_set_defaults(struct pool *pool, const struct rule *rule);

/* What they are now. 0, or -EAGAIN. */
long manager_get_defaults(struct pool *pool, struct settings *settings);

/* MaxServicePoints: those beyond it go, the least recently used first, as far as they are idle, and
 * the others when they are. 0: no cap. Returns how many went. */
long manager_set_cap(struct pool *pool, long most);

/* CloseConnectionGroup: closes the idle connections of the service points that match; those in use
 * are closed when they are released. Returns how many were closed; -ENOENT: there is no such
 * service point. */
long manager_flush(struct pool *pool, const struct pattern *pattern);

struct point_view {
	struct point_settings settings;
	unsigned in_use, parked, waiting;
	uint64_t opened, reused;
	uint64_t idle_since_ms; /* pool_os.now_ms(); 0: it is in use */
};

/* FindServicePoint: the service point of one host and port, made if there is none. -ENOMEM: there
 * are as many as there may be, and all of them are in use. view may be NULL. */
long manager_find(struct pool *pool, const struct pattern *pattern, struct point_view *view);

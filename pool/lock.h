/* The pool's lock: a mutex that is never waited for in vain.
 *
 * close() and connect() may be called in a signal handler, also in one that interrupted the
 * holder of this lock. So lock_acquire() says no, at once, to a thread that holds it already, and
 * to any thread after a second: pooling is an optimisation, and the caller goes on without it. Who
 * holds it for that long is stopped, or forks a giant, or is a frame that a handler has jumped out
 * of; until it is released again nobody else waits for it.
 *
 * Thread-safe; safe in signal handlers; a forked child calls lock_reset() or lock_break().
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "pool/os.h"

/* clang checks these at compile time (-Wthread-safety); gcc ignores them. */
#ifdef __clang__
#define LOCK_ATTRIBUTE(attribute) __attribute__((attribute))
#else
#define LOCK_ATTRIBUTE(attribute)
#endif
#define REQUIRES(lock)     LOCK_ATTRIBUTE(requires_capability(lock))
#define TRY_ACQUIRES(lock) LOCK_ATTRIBUTE(try_acquire_capability(true, lock))
#define RELEASES(lock)     LOCK_ATTRIBUTE(release_capability(lock))

struct LOCK_ATTRIBUTE(capability("mutex")) lock {
	_Atomic uint32_t word; /* the holder's thread_id, and whether somebody waits; 0: free */
	_Atomic bool broken;
	_Atomic bool stuck; /* somebody has waited in vain */
};

bool lock_acquire(struct lock *lock, const struct pool_os *os) TRY_ACQUIRES(lock);
void lock_release(struct lock *lock, const struct pool_os *os) RELEASES(lock);

/* In a forked child, whose threads but one are gone: free, whoever held it. */
void lock_reset(struct lock *lock);

/* Nobody gets it any more. */
void lock_break(struct lock *lock);

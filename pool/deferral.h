/* Deferral: shutdown(), or a goodbye (QUIT to redis, quit to memcached), on a connection that is
 * idle by every proof is held back, as most programs do nothing after it but close(): then the
 * connection is parked, and the server never hears of it. Whatever else the program does, it is
 * carried out first, so that nobody can tell the difference: anything with the descriptor, and, of
 * the thread that has done it, any call that we see. Other threads wait on it by calls that the
 * shim knows of (shim/waits.h).
 *
 * All functions are safe in signal handlers, and leave errno alone.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pool/connection.h"

struct pool;

/* How many connections of the process have something held back. */
extern _Atomic uint32_t deferral_count;

static inline __attribute__((always_inline)) bool deferral_any(void)
{
	return __builtin_expect(atomic_load_explicit(&deferral_count, memory_order_relaxed) > 0, 0);
}

/* false: it cannot be held back, and is to be done now. The call is on the connection, which is on
 * fd; how is that of shutdown(2). *why is changed where the connection could not be parked anyway.
 */
bool deferral_of_shutdown(struct pool *pool, struct call call, int fd, int how, enum refusal *why);
bool deferral_of_goodbye(struct pool *pool, struct call call, int fd, const void *data, size_t len);

/* Something is held back on the connection, and somebody waits for it, as was found out only now.
 */
void deferral_carry_out(struct pool *pool, struct call call);

/* Those of the calling thread, that on fd, whoever has done it (-1: none), and those of threads
 * that have not closed it for a while, as they may have ended; or all of them. */
void deferral_carry_out_before(struct pool *pool, int fd);
void deferral_carry_out_all(struct pool *pool);

/* Those of other threads that the calling one is about to wait for: where concerns() says so, of a
 * connection that it is given with its number. */
void deferral_carry_out_where(struct pool *pool,
	bool (*concerns)(const struct connection *connection, int fd, const void *what),
	const void *what);

/* Its number is about to be closed, and the caller has claimed it: what is held back is done first
 * where it is not going to be parked; else it is nobody's but the caller's to do, or to forget. */
void deferral_close(struct pool *pool, struct connection *connection, int fd, bool parked);

/* It has ended otherwise. */
void deferral_forget(struct connection *connection);

/* This process listens on a TCP port: a thread of its own may be at the other end, so nothing is
 * held back on connections to that port. */
void deferral_note_listener(uint16_t port);

/* Nothing is held back in a child of fork(). */
void deferral_after_fork_in_child(void);

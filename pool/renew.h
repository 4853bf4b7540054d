/* Renewal: a new socket in the place of a reused one that turns out not to fit, or dead.
 *
 * Programs that connect afresh each time do not know the race between a server that closes an idle
 * connection and a client that uses it; so they do not expect it. Until the first byte of the
 * answer has come on a reused connection (connection.risk), these functions keep it from them:
 *
 * - Before the first byte is sent a new connection is put in its place where the old one is dead,
 *   was for another host, or has been idle for so long that a request which must not be repeated
 *   had better not rely on it.
 * - When it fails after that, what was sent is sent once more on a new connection: if it may be
 *   (tracker_facts.repeatable), or was only the beginning of a request. Once, as the new connection
 *   is none that is at risk.
 *
 * The program may have several calls under way on the socket; those that find it dead wait for one
 * another, and one of them renews it (pool/succession.h).
 *
 * The new socket is then one that is still connecting, and the program's call waits, or does not,
 * as the kernel has it for those. Where something is to be sent again the call waits: on a blocking
 * socket as connect() would, on a non-blocking one for SUCCESSION_WAIT_MS at most.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#include "pool/connection.h"

struct pool;

/* The answers of the functions below: that; or -errno, with which the call fails; or */
enum {
	RENEW_NOT = 0, /* go on: what the kernel says, stands */
	RENEW_AGAIN,   /* the call's connection is not on the number any more. If its successor is
			* (connection_succeeds()), make the call (again), as one on that */
	RENEW_LATER,   /* of renew_while_waiting() alone */
};

/* The program is about to send; the vector, which may have no pieces, is the beginning of it. Not
 * to wait: also where the socket is a blocking one. Of RISK_UNUSED. */
int renew_before_sending(struct pool *pool, struct call call, int fd, const struct iovec *vector,
	size_t count, bool not_to_wait);

/* A call has found the connection at its end, or reset. */
int renew_after_failure(struct pool *pool, struct call call, int fd, bool not_to_wait);

/* A call that waits is about to say that the connection is at its end. It does not wait for a new
 * connection as connect() would, but for wait_ms at most (0: as others that are not to wait); nor
 * for another thread that renews it, and will have done so later. */
int renew_while_waiting(struct pool *pool, struct call call, int fd, long wait_ms);

/* The first byte of an answer has come, which the program has not seen yet; data is what came, or
 * NULL. Where it is none to what was sent, the connection is renewed. */
int renew_after_answer(struct pool *pool, struct call call, int fd, const uint8_t *data, size_t len,
	bool not_to_wait);

/* These bytes were sent while the connection was at risk: what connection_moved() does, and its
 * result. */
bool renew_sent(struct pool *pool, struct call call, const struct iovec *vector, size_t total);

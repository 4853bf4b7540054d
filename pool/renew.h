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
 * another, and one of them renews it. Where another one goes on using it nothing is done, and the
 * program sees what the kernel says.
 *
 * A blocking socket waits for the new connection as connect() would; a non-blocking one is then
 * one that is still connecting, except where something is to be sent again: then it is waited for,
 * for RENEW_WAIT_MS at most.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#include "pool/connection.h"

struct pool;

#define RENEW_WAIT_MS 1000

/* The answers of the functions below: that; or -errno, with which the call fails; or */
enum {
	RENEW_NOT = 0, /* go on: what the kernel says, stands */
	RENEW_AGAIN,   /* the socket is another one: make the call (again) */
};

/* The program is about to send; the vector, which may have no pieces, is the beginning of it. Not
 * to wait: also where the socket is a blocking one. Of RISK_UNUSED. */
int renew_before_sending(struct pool *pool, struct call call, int fd, const struct iovec *vector,
	size_t count, bool not_to_wait);

/* A call has found the connection at its end, or reset. */
int renew_after_failure(struct pool *pool, struct call call, int fd, bool not_to_wait);

/* The first byte of an answer has come, which the program has not seen yet; data is what came, or
 * NULL. Where it is none to what was sent, the connection is renewed. */
int renew_after_answer(struct pool *pool, struct call call, int fd, const uint8_t *data, size_t len,
	bool not_to_wait);

/* The connection has ended: what somebody who jumped out of all this has left behind is closed. */
void renew_abandon(struct pool *pool, struct connection *connection);

/* These bytes were sent while the connection was at risk: what connection_moved() does, and its
 * result. */
bool renew_sent(struct pool *pool, struct call call, const struct iovec *vector, size_t total);

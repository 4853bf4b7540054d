/* What the calls that move bytes do with a reused connection before its first answer has come:
 * pool/renew.h. */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

#include "pool/connection.h"

static inline bool is_at_risk(struct call call)
{
	return __builtin_expect(
		call.connection && connection_risk(call.connection) != RISK_NONE, false);
}

/* Or has another one taken its place, while the call was under way? */
static inline bool may_be_made_again(struct call call)
{
	return __builtin_expect(call.connection && (connection_risk(call.connection) != RISK_NONE ||
							   !connection_is_current(call)),
		false);
}

/* After a call that received result bytes, or failed with errno; vector is where they are, NULL if
 * that is not known. true: make the call again, which may be on another connection now. Else
 * *result, and errno, are the program's. */
bool renewal_after_receiving(
	struct call *call, int fd, int flags, const struct iovec *vector, ssize_t *result);

static inline bool renewed_after_receiving(
	struct call *call, int fd, int flags, const struct iovec *vector, ssize_t *result)
{
	return may_be_made_again(*call) && renewal_after_receiving(call, fd, flags, vector, result);
}

/* A call that waits is about to say that the socket on fd, which may be anybody's, is at its end.
 * RENEW_AGAIN: it was one at risk, and is another one now; or RENEW_LATER; else RENEW_NOT. wait_ms:
 * as of renew_while_waiting(). */
int renewal_while_waiting(int fd, long wait_ms);

/* send(2) and sendmsg(2), on a connection at risk. The vector, of one piece or more, and the buffer
 * may be anything. */
ssize_t renewal_send_buffer(struct call *call, int fd, const void *buf, size_t len, int flags);
ssize_t renewal_send(
	struct call *call, int fd, const struct iovec *vector, size_t count, int flags);

/* Before a call that sends what cannot be looked at. false: it fails with errno. */
bool renewal_before_sending(struct call *call, int fd);

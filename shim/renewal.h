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

/* After a call that received result bytes, or failed with errno; vector is where they are, NULL if
 * that is not known. true: the socket is another one, make the call again. Else *result, and errno,
 * are the program's. */
bool renewal_after_receiving(
	struct call call, int fd, int flags, const struct iovec *vector, ssize_t *result);

static inline bool renewed_after_receiving(
	struct call call, int fd, int flags, const struct iovec *vector, ssize_t *result)
{
	return is_at_risk(call) && renewal_after_receiving(call, fd, flags, vector, result);
}

/* sendmsg(2), on a connection at risk, of a vector that may be anything. */
ssize_t renewal_send(struct call call, int fd, const struct iovec *vector, size_t count, int flags);

/* Before a call that sends what cannot be looked at. false: it fails with errno. */
bool renewal_before_sending(struct call call, int fd);

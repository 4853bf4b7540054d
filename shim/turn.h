/* Waiting for one's turn at a service point's limit, as a blocking connect() waits. */
#pragma once

#include "pool/connection.h"

/* After TAKEN_LIMITED. 0: try again. EINTR, or EINPROGRESS (the socket's SO_SNDTIMEO is over): the
 * call ends with that, and its connection is to be under way; it waits for its turn no longer.
 * ETIMEDOUT: SP_LIMIT_WAIT_MS is over. ECONNRESET: another thread has shut it down. A cancellation
 * point. */
int turn_wait(struct call call);

/* Waiting for one's turn in connect(), at a service point's limit. */
#pragma once

#include "pool/connection.h"

/* After TAKEN_LIMITED. 0: try again. TURN_NO_WAITING: there is nothing to wait by, so go on without
 * the pool. Else errno for the program: ETIMEDOUT, or EINTR where a connect() that waits for the
 * network would have been interrupted, too. A cancellation point. */
#define TURN_NO_WAITING -1
int turn_wait(struct call call);

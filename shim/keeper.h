/* The keeper: an optional thread (SP_KEEPER=1) that closes parked connections when their time is
 * over, or their peer has closed, and not at the next call only.
 */
#pragma once

#include "pool/connection.h"

/* At start, if it is wanted. */
void keeper_want(void);

/* A connection is on a hidden number from now on, or no longer. Safe in signal handlers. */
void keeper_watch(int hidden);
void keeper_forget(int hidden);

/* Where the program makes a socket: the thread is started, if there is none in this process. */
void keeper_start(void);

/* In a forked child, which has no such thread. */
void keeper_after_fork_in_child(void);

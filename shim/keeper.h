/* The keeper: an optional thread (SP_KEEPER=1) that closes parked connections when their time is
 * over, or their peer has closed, and not at the next call only.
 *
 * It is one that libc does not know of (shim/bare_thread.h), and it is not there while the program
 * makes a call for which one thread more would be one too many. What the program does by calls that
 * nobody sees is not helped by that: who must be the only thread then has no keeper.
 */
#pragma once

#include <stdbool.h>

/* At start, if it is wanted. */
void keeper_want(void);

/* A connection is on a hidden number from now on, or no longer. Safe in signal handlers. */
void keeper_watch(int hidden);
void keeper_forget(int hidden);

/* Where the program makes a socket: the thread is started, if there is none in this process. Safe
 * in signal handlers, and in a child made by vfork(), which has none. */
void keeper_start(void);

/* There is no such thread from now on, until keeper_resume() is told so; without it, for good. */
bool keeper_pause(void);
void keeper_resume(bool paused);

/* There is none any more, soon, in this process. */
void keeper_give_up(void);

/* There is none until the program makes a socket. */
void keeper_rest(void);

/* In a forked child, which has no such thread. */
void keeper_after_fork_in_child(void);

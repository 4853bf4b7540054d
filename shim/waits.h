/* Which calls that wait for several descriptors are under way, in which threads: what is held back
 * (pool/deferral.h) on a connection must not be what another thread waits for.
 *
 * Each such call is on a list before it looks whether anything is held back, and whoever holds
 * something back looks at the list after that; so one of them sees the other. A call that is jumped
 * out of stays on the list, and does no more harm than that what it is about is not held back.
 */
#pragma once

#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "pool/connection.h"

/* At start; and in a child, in which no other thread waits. */
void waits_begin_process(void);
void waits_after_fork_in_child(void);

enum wait_kind {
	WAIT_NONE = 0,
	WAIT_POLL,   /* where: the program's array */
	WAIT_SELECT, /* count: numbers below that */
	WAIT_EPOLL,  /* count: the set */
};

/* Before such a call, and after it: where it is on the list, or less than 0. What is held back on
 * what it waits for has been carried out then, and all that this thread has held back. */
int waits_begin(enum wait_kind kind, uintptr_t where, long count);
void waits_end(const int *place);

/* From here on to the end of the block, also where the thread is cancelled. */
#define WAITS(kind, where, count)                                                                  \
	__attribute__((cleanup(waits_end))) int place =                                            \
		waits_begin(kind, (uintptr_t)(where), count);                                      \
	(void)place

/* May this thread hold something back? Not in a signal handler, as far as can be told: the call
 * that it has interrupted may go on to wait, unseen. */
bool waits_allow_deferral(void);

/* Something has been held back on the connection of this call, which is on fd: it is carried out if
 * another call under way waits for that, as far as can be told, or when this thread ends. */
void waits_check_deferral(struct call call, int fd);

/* A call that waits was made by its number, so it is not on the list: nothing is held back any more
 * that it may wait for. */
void waits_note_unseen(void);

/* fd is a new epoll set; another file than it was; or about to be put into a set. */
void waits_note_set(int fd);
void waits_forget_set(int fd);
void waits_note_watch(int fd, int op);

/* copy is a second number of fd's file. */
void waits_note_copy(int fd, int copy);

/* This process accepts connections on fd. */
void waits_note_listener(int fd);

/* Descriptor to connection: one array, one load, no lock.
 *
 * A number's entry is the connection that is on it: live, if it is the program's number, or parked,
 * if it is a hidden one of ours. An entry may be stale, as descriptors can be closed without our
 * seeing it; whoever is about to rely on one asks for the socket's identity first (pool/proof.h).
 *
 * Who takes a connection off its number (all but fdtable_enter can) decides with it what becomes of
 * the connection; so every change is a compare-and-swap, and exactly one of two competitors wins.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "pool/connection.h"
#include "pool/deferral.h"

/* Higher numbers are never pooled. The array is 512 KiB of which only the pages in use exist. */
#define FDTABLE_SIZE 65536

extern _Atomic(struct connection *) fdtable[FDTABLE_SIZE];

static inline struct connection *fdtable_get(int fd)
{
	if (__builtin_expect((unsigned)fd >= FDTABLE_SIZE, 0))
		return NULL;
	return atomic_load_explicit(&fdtable[fd], memory_order_acquire);
}

struct call fdtable_enter_tracked(int fd);

/* For calls that may come between shutdown() and close(), and change nothing. */
static inline struct call fdtable_enter_quietly(int fd)
{
	if (__builtin_expect(!fdtable_get(fd), 1))
		return (struct call){0};
	return fdtable_enter_tracked(fd);
}

/* Carries out what is held back on fd, and what this thread has held back; or all that is. */
void fdtable_carry_out_before(int fd);
void fdtable_carry_out_all(void);
void fdtable_carry_out(struct call call);

struct call fdtable_enter_loudly(int fd);

/* Every call on a descriptor begins with this and ends with connection_leave(), if it has a
 * connection. */
static inline struct call fdtable_enter(int fd)
{
	if (deferral_any())
		fdtable_carry_out_before(fd);
	if (__builtin_expect(!fdtable_get(fd), 1))
		return (struct call){0};
	return fdtable_enter_loudly(fd);
}

/* Is there a hidden number of ours? */
bool fdtable_hides(int fd);

/* Around a look at a number, where nothing of ours may be found, and the call that then closes it;
 * and around the choice of a hidden number and its entry in the table. The ones and the others
 * exclude each other; else a number could be closed just after it was chosen. A thread is not
 * cancelled while it closes. A close that is jumped out of never ends; then nothing is hidden any
 * more. */
int fdtable_begin_closing(void);
void fdtable_end_closing(int cancel_state);
bool fdtable_begin_hiding(void);
void fdtable_end_hiding(void);

/* In a forked child, where nobody else is at it. */
void fdtable_after_fork_in_child(void);

/* Puts a connection on a number, which may be NULL or a stale entry before; returns that. */
struct connection *fdtable_replace(int fd, struct connection *connection);

/* Changes an entry if it still is what the caller thinks. */
bool fdtable_change(int fd, struct connection *from, struct connection *to);

/* No number above this one was ever in the table. */
int fdtable_highest(void);

/* The process that we are a guest in: its one pool, and what becomes of it at start, fork and exit.
 */
#pragma once

#include <stdbool.h>

#include "pool/pool.h"
#include "shim/fdtable.h"

extern struct pool process_pool;
extern _Atomic bool process_on;

/* Begins the pool, at start; false if the settings or the system do not want one. */
bool process_begin(const struct settings *settings, const struct rules *rules);

/* Is there a pool at all? */
static inline bool process_is_on(void)
{
	return atomic_load_explicit(&process_on, memory_order_acquire);
}

/* May this call use the pool? Not where it is off, and not in a child made by vfork(), which has
 * our memory but not our descriptors: that one must touch nothing. One system call, so only for
 * what is about to change something. A child that has a copy of our memory, and was not made by
 * fork(), finds out here that it is one, and closes what it has of ours. */
bool process_may_pool(void);

/* The same question where the pool may be off. */
bool process_is_own(void);

/* fd is a new TCP stream socket of this address family: it is tracked from now on. epoch is
 * pool_fork_epoch() from before it was made. */
void process_track(int fd, int family, uint32_t epoch);

/* fd is a new descriptor of another kind: what the table knows of its number is out of date. */
void process_forget(int fd);

/* The same, of one that nobody knows yet, and that the kernel chose the number of: the lowest that
 * was free. Returns its number: where it would be a lower one without us, it is that. */
int process_opened(int fd);

/* The same of two that were made together. */
void process_opened_pair(int numbers[2]);

/* The same question without the answer: false if there is a lower number now, so that it is worth
 * being made once more. */
bool process_opened_at_lowest(int fd);

/* There is a descriptor to be had, if parked connections can make room for it; for calls that
 * cannot be made once more. */
void process_ensure_room(void);

/* A call that makes a descriptor, or two, has failed with errno: shall it be made once more? True
 * if it was for want of descriptors, and parked connections have made room. */
bool process_made_room(void);

/* How often that is worth it, for one call. */
#define TRIES_MOST 8

/* The same for a call that wants a number above some other: all of them make room. The other one is
 * for a call that wants a number where they are. */
bool process_made_all_room(void);
void process_make_all_room(void);

/* RLIMIT_NOFILE has changed. */
void process_limit_changed(void);

/* The process has become another one: its user, its groups or its root. */
void process_credentials_changed(void);

/* Puts connection, or nothing, on fd, and ends what the table had there. */
void process_displace(int fd, struct connection *connection);

/* The number on which this call found its connection is closed by other means: it ends here. */
void process_end(int fd, struct call call);

/* The pool is emptied, and stays off. */
void process_turn_off(const char *why);

/* Before clone(2) with these flags: does the child get copies of our descriptors? Where it will
 * share what the pool goes by in an unusual way, the pool is turned off. */
bool process_copies(unsigned flags);

/* For calls that name one of our hidden numbers: errno EBADF, and -1. The second is for those that
 * are cancellation points. */
int process_bad_descriptor(void);
int process_bad_descriptor_here(void);

/* Descriptors may come with a message, as many as SCM_RIGHTS can bring: unix(7). */
void process_ensure_room_for_many(void);

/* Is this number hidden, for calls that are none on a connection? -1 is not. */
static inline bool process_hides(int fd)
{
	return fdtable_get(fd) && fdtable_hides(fd);
}

/* What a call names is about to be closed, or replaced, by other means than close(). A connect()
 * that is at work on it is waited for, and none begins until process_end_call(). */
static inline void process_end_call(int fd, struct call call)
{
	if (!call.connection)
		return;
	process_end(fd, call);
	connection_leave(call);
}

/* A call is over; connection.h said whether its connection is to be given back. */
static inline void process_leave(struct call call, bool give_back)
{
	if (give_back)
		pool_release(&process_pool, call.connection);
	connection_leave(call);
}

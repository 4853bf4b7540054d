#include "shim/fdtable.h"

#include <errno.h>
#include <pthread.h>

#include "pool/layout.h"
#include "pool/proof.h"
#include "shim/os.h"
#include "shim/own.h"
#include "shim/process.h"
#include "shim/raw.h"

/* How often a call looks again while a connect() exchanges the socket on its number. That takes a
 * few microseconds, in another thread (signals are blocked meanwhile): so only a thread that is
 * stopped by a debugger takes longer than this. */
#define PATIENCE 1000000

_Atomic(struct connection *) fdtable[FDTABLE_SIZE];
static _Atomic int highest = -1;

/* A number that is hidden, unless it was closed behind our back and is another file's now. */
COLD static struct call enter_hidden(int fd, struct connection *connection)
{
	uint64_t cookie = connection->cookie;

	if (connection_hides(connection, fd) && proof_cookie(&real_os, fd) != cookie &&
		connection_hides(connection, fd))
		return (struct call){0};
	return (struct call){.hidden = true};
}

COLD struct call fdtable_enter_tracked(int fd)
{
	/* Turned off, nothing is done that needs a system call: a sandbox may forbid it. */
	if (!process_is_on())
		return (struct call){0};
	for (int tries = 0; tries < PATIENCE; tries++) {
		struct connection *connection = fdtable_get(fd);
		if (!connection)
			break;
		if (own_is_entry(connection))
			return (struct call){.hidden = own_hides(fd, connection)};
		if (connection_hides(connection, fd))
			return enter_hidden(fd, connection);
		struct call call = connection_enter(connection);
		if (!call.connection)
			break;
		bool connecting = connection_is_connecting(connection);
		if (fdtable_get(fd) == connection && !connecting &&
			!connection_hides(connection, fd)) {
			call.saved_errno = (int16_t)errno;
			return call;
		}
		connection_leave(call);
		if (!connecting)
			continue;
		/* In a child that got a copy of this memory nobody is at work on it. */
		if (!process_may_pool())
			break;
		RAW0(sched_yield);
	}
	return (struct call){0};
}

COLD void fdtable_carry_out_before(int fd)
{
	if (process_may_pool())
		deferral_carry_out_before(&process_pool, fd);
}

COLD void fdtable_carry_out(struct call call)
{
	if (process_may_pool())
		deferral_carry_out(&process_pool, call);
}

COLD void fdtable_carry_out_all(void)
{
	if (process_may_pool())
		deferral_carry_out_all(&process_pool);
}

COLD struct call fdtable_enter_loudly(int fd)
{
	struct call call = fdtable_enter_tracked(fd);

	/* Another thread may have held something back since it was asked whether any has. */
	if (call.connection && connection_is_deferred(call))
		fdtable_carry_out(call);
	return call;
}

COLD bool fdtable_hides(int fd)
{
	struct call call = fdtable_enter_quietly(fd);

	if (call.connection)
		connection_leave(call);
	return call.hidden;
}

static _Atomic uint32_t closings, hidings;
static _Atomic bool closing_for_ever;

int fdtable_begin_closing(void)
{
	int cancel_state;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	atomic_fetch_add(&closings, 1);
	/* It takes a few microseconds, in another thread, as signals are blocked. */
	for (int tries = 0; tries < PATIENCE && atomic_load(&hidings) > 0; tries++)
		RAW0(sched_yield);
	return cancel_state;
}

void fdtable_end_closing(int cancel_state)
{
	atomic_fetch_sub(&closings, 1);
	pthread_setcancelstate(cancel_state, NULL);
}

COLD bool fdtable_begin_hiding(void)
{
	for (int tries = 0; tries < PATIENCE; tries++) {
		atomic_fetch_add(&hidings, 1);
		if (atomic_load(&closings) == 0)
			return true;
		atomic_fetch_sub(&hidings, 1);
		if (atomic_load_explicit(&closing_for_ever, memory_order_relaxed))
			return false;
		RAW0(sched_yield);
	}
	atomic_store(&closing_for_ever, true);
	return false;
}

COLD void fdtable_end_hiding(void)
{
	atomic_fetch_sub(&hidings, 1);
}

void fdtable_after_fork_in_child(void)
{
	atomic_store(&closings, 0);
	atomic_store(&hidings, 0);
	atomic_store(&closing_for_ever, false);
}

static void note_highest(int fd)
{
	int known = atomic_load_explicit(&highest, memory_order_relaxed);

	while (fd > known && !atomic_compare_exchange_weak_explicit(&highest, &known, fd,
				     memory_order_relaxed, memory_order_relaxed))
		;
}

COLD struct connection *fdtable_replace(int fd, struct connection *connection)
{
	if (connection)
		note_highest(fd);
	return atomic_exchange_explicit(&fdtable[fd], connection, memory_order_acq_rel);
}

COLD bool fdtable_change(int fd, struct connection *from, struct connection *to)
{
	if ((unsigned)fd >= FDTABLE_SIZE)
		return false;
	return atomic_compare_exchange_strong_explicit(
		&fdtable[fd], &from, to, memory_order_acq_rel, memory_order_relaxed);
}

int fdtable_highest(void)
{
	return atomic_load_explicit(&highest, memory_order_relaxed);
}

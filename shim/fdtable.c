#include "shim/fdtable.h"

#include <sched.h>

#include "shim/raw.h"

/* How long a call waits for a connect() that is exchanging the socket on its number: that takes a
 * few microseconds. A signal handler that interrupted the connect() waits in vain, and goes on. */
#define PATIENCE 100

_Atomic(struct connection *) fdtable[FDTABLE_SIZE];
static _Atomic int highest = -1;

struct call fdtable_enter_tracked(int fd)
{
	for (int tries = 0;; tries++) {
		struct connection *connection = fdtable_get(fd);
		if (!connection)
			return (struct call){0};
		struct call call = connection_enter(connection);
		bool connecting = connection_is_connecting(connection) && tries < PATIENCE;
		if (fdtable_get(fd) == connection && !connecting) {
			if (!connection_hides(connection, fd))
				return call;
			connection_leave(call);
			return (struct call){.hidden = true};
		}
		connection_leave(call);
		if (connecting)
			RAW0(sched_yield);
	}
}

static void note_highest(int fd)
{
	int known = atomic_load_explicit(&highest, memory_order_relaxed);

	while (fd > known && !atomic_compare_exchange_weak_explicit(&highest, &known, fd,
				     memory_order_relaxed, memory_order_relaxed))
		;
}

struct connection *fdtable_replace(int fd, struct connection *connection)
{
	if (connection)
		note_highest(fd);
	return atomic_exchange_explicit(&fdtable[fd], connection, memory_order_acq_rel);
}

bool fdtable_change(int fd, struct connection *from, struct connection *to)
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

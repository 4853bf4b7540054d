/* What waits, and is no call on a descriptor: blockers.inc, tail_call.S. */

#include <time.h>

#include "pool/layout.h"
#include "shim/fdtable.h"
#include "shim/libc.h"
#include "shim/memory.h"
#include "shim/tail_call.h"

/* Threads of an interpreter wait so for their turn, with this limit and again and again. */
#define SOON_NS 10000000

COLD static bool is_soon_by(clockid_t clock, const struct timespec *until)
{
	struct timespec now;

	clock_gettime(clock, &now);
	long seconds = until->tv_sec - now.tv_sec;
	return seconds >= -1 && seconds <= 1 &&
	       seconds * 1000000000 + until->tv_nsec - now.tv_nsec < SOON_NS;
}

/* Which clock it is by is the program's to know; the other one's time is far from it. */
COLD static bool is_soon(const struct timespec *until)
{
	return memory_is_readable(until, sizeof(*until)) && until->tv_sec > 0 &&
	       (is_soon_by(CLOCK_MONOTONIC, until) || is_soon_by(CLOCK_REALTIME, until));
}

/* Others may be in the midst of closing theirs. */
COLD static void carry_out_unless_soon(const struct timespec *until)
{
	if (is_soon(until))
		fdtable_carry_out_before(-1);
	else
		fdtable_carry_out_all();
}

/* tail_call.S */
#define SPINS 7

COLD TAIL_CALL_HOOK(blockers_before)
{
	const long row = registers[0], until = row >> 16;

	if (deferral_any()) {
		if (until == SPINS)
			fdtable_carry_out_before(-1);
		else if (until)
			carry_out_unless_soon((const struct timespec *)registers[until]);
		else
			fdtable_carry_out_all();
	}
	return *(void **)(void *)((char *)libc() + (row & 0xffff));
}

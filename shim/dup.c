/* dup() and its family, and fcntl(): a second holder makes a connection unpoolable. */

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>

#include "pool/layout.h"
#include "shim/libc.h"
#include "shim/os.h"
#include "shim/own.h"
#include "shim/process.h"
#include "shim/raw.h"
#include "shim/waits.h"

/* How often to look again, with the processor given up in between. */
#define PATIENCE 100000

static int dup_untracked(int fd)
{
	int saved_errno = errno, result = libc()->dup(fd);

	if (result < 0 && process_made_room()) {
		result = libc()->dup(fd);
		if (result >= 0)
			errno = saved_errno;
	}
	if (result < 0)
		return result;
	result = process_opened(result);
	waits_note_copy(fd, result);
	return result;
}

int dup(int fd)
{
	struct call call = fdtable_enter(fd);

	if (call.hidden)
		return process_bad_descriptor();
	if (!call.connection)
		return dup_untracked(fd);
	connection_refuse(call.connection, REFUSED_DUPLICATED);
	int result = dup_untracked(fd);
	process_leave(call, false);
	return result;
}

/* Enters a number that the program wants for something else: if it is a hidden one of ours, that is
 * given up. One that another thread is just giving to the program, or closing, takes it a few
 * microseconds. */
COLD static struct call enter_unhidden(int number)
{
	struct call call = fdtable_enter(number);

	for (int tries = 0; call.hidden && tries < PATIENCE; tries++) {
		struct connection *parked = fdtable_get(number);
		if (parked && own_is_entry(parked))
			own_make_way(number);
		else if (parked)
			pool_evict(&process_pool, parked, number);
		RAW0(sched_yield);
		call = fdtable_enter(number);
	}
	return call;
}

static void leave_if_any(struct call call)
{
	if (call.connection)
		connection_leave(call);
}

/* Puts fd's file on a number, which may have a connection; or a hidden one of ours, and then it is
 * the program's for the asking. */
static int replace_now(int fd, int to, int flags, bool is_dup3)
{
	struct call call = fdtable_enter(fd), replaced = {0};

	if (call.hidden)
		return process_bad_descriptor();
	if (call.connection && fd != to)
		connection_refuse(call.connection, REFUSED_DUPLICATED);
	if (fd != to && fdtable_get(to) && process_may_pool())
		replaced = enter_unhidden(to);
	if (replaced.hidden) {
		/* dup2(2): it is in the middle of being opened or closed. */
		leave_if_any(call);
		errno = EBUSY;
		return -1;
	}
	int result = is_dup3 ? libc()->dup3(fd, to, flags) : libc()->dup2(fd, to);
	if (result >= 0) {
		process_end_call(to, replaced);
		if (fd != to)
			waits_note_copy(fd, to);
	} else {
		leave_if_any(replaced);
	}
	leave_if_any(call);
	return result;
}

/* dup2() and dup3() are no cancellation points. */
static int replace(int fd, int to, int flags, bool is_dup3)
{
	if (fd == to || !os_may_hide(to))
		return replace_now(fd, to, flags, is_dup3);
	int cancel_state = fdtable_begin_closing();
	int result = replace_now(fd, to, flags, is_dup3);
	fdtable_end_closing(cancel_state);
	return result;
}

int dup2(int fd, int to)
{
	return replace(fd, to, 0, false);
}

INTERPOSED_AS(dup2, __dup2);

int dup3(int fd, int to, int flags)
{
	return replace(fd, to, flags, true);
}

static enum refusal refusal_for(int command, const void *argument)
{
	switch (command) {
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		return REFUSED_DUPLICATED;
	case F_SETOWN:
	case F_SETOWN_EX:
	case F_SETSIG:
		return REFUSED_ASYNC_OWNER;
	case F_SETFL:
		return (long)argument & O_ASYNC ? REFUSED_ASYNC_OWNER : REFUSED_NOT;
	default:
		return REFUSED_NOT;
	}
}

/* F_DUPFD makes a descriptor at or above a number that the program chose. */
static int control_untracked(int (*real)(int, int, ...), int fd, int command, void *argument)
{
	bool makes_one = command == F_DUPFD || command == F_DUPFD_CLOEXEC;
	int saved_errno = errno;

	if (makes_one && os_may_hide((int)(long)argument))
		process_make_all_room();
	int result = real(fd, command, argument);
	if (!makes_one)
		return result;
	if (result < 0 && process_made_all_room()) {
		result = real(fd, command, argument);
		if (result >= 0)
			errno = saved_errno;
	}
	/* Only the parked ones between the number that was asked for and this one are in the way,
	 * but which those are is not known. */
	if (result >= 0 && !process_opened_at_lowest(result)) {
		RAW1(close, result);
		result = real(fd, command, argument);
	}
	if (result >= 0) {
		process_forget(result);
		waits_note_copy(fd, result);
	}
	return result;
}

static int control(int (*real)(int, int, ...), int fd, int command, void *argument)
{
	struct call call = fdtable_enter(fd);

	if (call.hidden)
		return process_bad_descriptor();
	if (!call.connection)
		return control_untracked(real, fd, command, argument);
	enum refusal refusal = refusal_for(command, argument);
	if (refusal != REFUSED_NOT)
		connection_refuse(call.connection, refusal);
	int result = control_untracked(real, fd, command, argument);
	process_leave(call, false);
	return result;
}

/* As glibc does: whatever the third argument is, or is not, it is passed on. */

int fcntl(int fd, int command, ...)
{
	va_list arguments;

	va_start(arguments, command);
	void *argument = va_arg(arguments, void *);
	va_end(arguments);
	return control(libc()->fcntl, fd, command, argument);
}

INTERPOSED_AS(fcntl, __fcntl);

int fcntl64(int fd, int command, ...)
{
	va_list arguments;

	va_start(arguments, command);
	void *argument = va_arg(arguments, void *);
	va_end(arguments);
	return control(libc()->fcntl64, fd, command, argument);
}

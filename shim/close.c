/* close() and its family: parks a connection, or lets it go. */

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <stdio.h>

#include "pool/layout.h"
#include "pool/succession.h"
#include "shim/libc.h"
#include "shim/os.h"
#include "shim/process.h"
#include "shim/raw.h"
#include "shim/renewal.h"
#include "shim/waits.h"

static int to_libc_result(int result)
{
	if (result >= 0)
		return result;
	errno = -result;
	return -1;
}

COLD static int close_tracked(int fd, struct call call)
{
	uint64_t signals = real_os.block_signals();

	switch (connection_begin_close(call)) {
	case CLOSING_CLAIMED:
		return to_libc_result(
			pool_close_blocked(&process_pool, call.connection, fd, signals));
	case CLOSING_BUSY:
		stats_count(&process_pool.stats.refused[REFUSED_IN_FLIGHT]);
		fdtable_carry_out(call);
		process_end(fd, call);
		break;
	case CLOSING_ELSEWHERE:
		break;
	}
	connection_leave(call);
	real_os.restore_signals(signals);
	return libc()->close(fd);
}

/* A number above all, as a rule, that the program has: perhaps it is not open at all, and another
 * thread is just about to hide a connection there. */
static int close_beside_hidden(int fd)
{
	pthread_testcancel();
	/* Turned off, it makes no system call of its own. */
	if (!process_is_on())
		return libc()->close(fd);
	int cancel_state = fdtable_begin_closing();
	struct call call = fdtable_enter_quietly(fd);
	bool is_open = RAW2(fcntl, fd, F_GETFD) >= 0;
	fdtable_end_closing(cancel_state);
	process_end_call(fd, call);
	if (call.hidden || !is_open)
		return process_bad_descriptor();
	/* It is the program's, so nothing can be hidden there before it is closed; which may take
	 * its time (SO_LINGER), and is nobody's to wait for. */
	return libc()->close(fd);
}

int close(int fd)
{
	if (!fdtable_get(fd))
		return os_may_hide(fd) ? close_beside_hidden(fd) : libc()->close(fd);
	if (!process_may_pool())
		return libc()->close(fd);
	/* A cancellation point as ever, but before anything is begun. */
	pthread_testcancel();
	struct call call = fdtable_enter_quietly(fd);
	if (call.hidden)
		return process_bad_descriptor();
	if (call.connection)
		return close_tracked(fd, call);
	return os_may_hide(fd) ? close_beside_hidden(fd) : libc()->close(fd);
}

INTERPOSED_AS(close, __close);

/* Is it held back? Not if another thread waits for what it does. */
COLD static bool shutdown_later(struct call call, int fd, int how, enum refusal *why)
{
	if (!waits_allow_deferral() || !deferral_of_shutdown(&process_pool, call, fd, how, why))
		return false;
	waits_check_deferral(call, fd);
	return true;
}

COLD static int shutdown_tracked(struct call call, int fd, int how)
{
	enum refusal why = REFUSED_SHUTDOWN;

	if (shutdown_later(call, fd, how, &why)) {
		process_leave(call, false);
		return 0;
	}
	/* In order. */
	fdtable_carry_out(call);
	bool at_risk = is_at_risk(call);
	/* Half closed, it may still be renewed, and that knows of this from here on. */
	if (how == SHUT_WR && connection_state(call.connection) == CONNECTION_LIVE) {
		call.connection->half_why = (uint8_t)why;
		atomic_store(&call.connection->half_closed, true);
	} else {
		connection_refuse(call.connection, why);
	}
	/* One that waits for its turn is, for the program, one that is connecting. */
	if (how >= SHUT_RD && how <= SHUT_RDWR && process_may_pool() &&
		pool_shut_down_waiting(&process_pool, call)) {
		process_leave(call, false);
		return 0;
	}
	/* Who waits for a new connection in its place is woken; the old one is at its end. */
	bool woken =
		how != SHUT_WR && process_may_pool() && succession_shut_down(&process_pool, call);
	ssize_t result;
	do
		result = libc()->shutdown(fd, how);
	while (result < 0 && how == SHUT_WR &&
		renewed_after_receiving(&call, fd, MSG_DONTWAIT, NULL, &result));
	/* The end that it has come to is not for the program to see. */
	if (result < 0 && errno == ENOTCONN && at_risk && how != SHUT_WR) {
		errno = call.saved_errno;
		woken = true;
	}
	process_leave(call, false);
	return woken ? 0 : (int)result;
}

int shutdown(int fd, int how)
{
	struct call call = fdtable_enter_quietly(fd);

	if (call.hidden)
		return process_bad_descriptor();
	return call.connection ? shutdown_tracked(call, fd, how) : libc()->shutdown(fd, how);
}

/* ---- stdio ---- */

FILE *fdopen(int fd, const char *mode)
{
	struct call call = fdtable_enter(fd);

	if (call.hidden) {
		errno = EBADF;
		return NULL;
	}
	if (!call.connection)
		return libc()->fdopen(fd, mode);
	/* libc reads, writes and closes it from now on by calls that cannot be seen. */
	connection_refuse(call.connection, REFUSED_STDIO);
	FILE *stream = libc()->fdopen(fd, mode);
	process_leave(call, false);
	return stream;
}

INTERPOSED_AS(fdopen, _IO_fdopen);

int fclose(FILE *stream)
{
	int saved_errno = errno;
	int fd = stream ? fileno_unlocked(stream) : -1;

	errno = saved_errno;
	/* Of popen() it waits for a child. */
	if (deferral_any())
		fdtable_carry_out_all();
	if (!fdtable_get(fd) || !process_may_pool())
		return libc()->fclose(stream);
	struct call call = fdtable_enter(fd);
	if (call.connection)
		stats_count(&process_pool.stats.refused[REFUSED_STDIO]);
	process_end_call(fd, call);
	return libc()->fclose(stream);
}

INTERPOSED_AS(fclose, _IO_fclose);

/* ---- many at once ---- */

/* Closes first to last, all but the hidden ones, through close_some, as long as that gives 0. */
static int close_around_hidden(
	unsigned first, unsigned last, int (*close_some)(unsigned, unsigned, int), int flags)
{
	int cancel_state = fdtable_begin_closing();
	unsigned highest = (unsigned)(fdtable_highest() + 1), start = first;
	int result = 0;

	for (unsigned fd = first; fd < highest && fd <= last && result == 0; fd++) {
		struct call call = fdtable_enter((int)fd);
		if (!call.hidden) {
			process_end_call((int)fd, call);
			continue;
		}
		if (fd > start)
			result = close_some(start, fd - 1, flags);
		start = fd + 1;
	}
	if (result == 0 && start <= last && start >= first)
		result = close_some(start, last, flags);
	fdtable_end_closing(cancel_state);
	return result;
}

int close_range(unsigned first, unsigned last, int flags)
{
	if (!libc()->close_range) {
		errno = ENOSYS;
		return -1;
	}
	/* Hidden numbers have CLOEXEC already; and a range that is none, or a flag, is the kernel's
	 * to refuse. */
	if (first > last || flags & ~(int)CLOSE_RANGE_UNSHARE || !process_may_pool())
		return libc()->close_range(first, last, flags);
	if (flags & (int)CLOSE_RANGE_UNSHARE) {
		/* This thread is about to have descriptors of its own: no table can hold both. */
		process_turn_off("close_range() with CLOSE_RANGE_UNSHARE");
		return libc()->close_range(first, last, flags);
	}
	return close_around_hidden(first, last, libc()->close_range, flags);
}

static int close_some_from(unsigned first, unsigned last, int flags)
{
	/* closefrom() has no upper end, and is no cancellation point. */
	if (last == ~0U)
		libc()->closefrom((int)first);
	else if (libc()->close_range(first, last, flags) < 0)
		for (unsigned fd = first; fd <= last; fd++)
			RAW1(close, fd);
	return 0;
}

void closefrom(int low)
{
	int saved_errno = errno;
	unsigned first = low > 0 ? (unsigned)low : 0;

	if (!process_may_pool()) {
		libc()->closefrom(low);
		return;
	}
	close_around_hidden(first, ~0U, close_some_from, 0);
	errno = saved_errno;
}

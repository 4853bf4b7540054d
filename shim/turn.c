#include "shim/turn.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "shim/os.h"
#include "shim/process.h"
#include "shim/raw.h"

/* futex(2) with a timeout ends with EINTR after every signal handler; connect() does not where the
 * handler was installed with SA_RESTART (signal(7)). So those handlers that are to end the wait are
 * told from those that are not; and where the program has both kinds, the latter are held back for
 * no longer than this, so that what ends the wait is one of the former. */
#define SLICE_MS 20

#define SIGNALS     64
#define BIT(signal) (1ULL << ((signal)-1))
#define OF_LIBC     (BIT(32) | BIT(33)) /* SIGCANCEL and SIGSETXID: nptl(7) */
#define RESTARTS    0x10000000UL        /* SA_RESTART, in what the kernel says */

/* struct sigaction as rt_sigaction(2) has it on x86-64. */
struct kernel_action {
	uintptr_t handler;
	unsigned long flags;
	uintptr_t restorer;
	uint64_t mask;
};

/* Signals that have handlers, and are not blocked. */
struct handled {
	uint64_t restart, interrupt;
};

static struct handled handled_signals(void)
{
	struct handled handled = {0};
	uint64_t blocked = 0;

	RAW4(rt_sigprocmask, SIG_BLOCK, NULL, &blocked, sizeof(blocked));
	for (int signal = 1; signal <= SIGNALS; signal++) {
		struct kernel_action action;
		if (BIT(signal) & (blocked | OF_LIBC) ||
			RAW4(rt_sigaction, signal, NULL, &action, sizeof(action.mask)) < 0 ||
			action.handler == (uintptr_t)SIG_DFL ||
			action.handler == (uintptr_t)SIG_IGN)
			continue;
		if (action.flags & RESTARTS)
			handled.restart |= BIT(signal);
		else
			handled.interrupt |= BIT(signal);
	}
	return handled;
}

static void stop_and_leave(void *call)
{
	const struct call *waiting = call;

	if (!pool_stop_waiting(&process_pool, *waiting))
		pool_give_up_turn(&process_pool, *waiting);
	connection_leave(*waiting);
}

static long wait_for_change(_Atomic uint32_t *word, long ms)
{
	const struct timespec timeout = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
	int type;

	/* A raw call is no cancellation point; this is what libc does around its own. */
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &type);
	long result = RAW4(futex, word, FUTEX_WAIT_PRIVATE, TURN_WAITING, &timeout);
	pthread_setcanceltype(type, NULL);
	return result;
}

/* One look. -EINTR: a handler has run that ends the wait. */
static long wait_a_while(_Atomic uint32_t *word, long ms)
{
	const struct handled handled = handled_signals();
	const bool both = handled.restart && handled.interrupt;
	uint64_t before = 0;

	if (both)
		RAW4(rt_sigprocmask, SIG_BLOCK, &handled.restart, &before, sizeof(before));
	long result = wait_for_change(word, both && ms > SLICE_MS ? SLICE_MS : ms);
	if (both)
		RAW4(rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof(before));
	return result == -EINTR && handled.interrupt ? -EINTR : 0;
}

static bool still_waits(struct call call)
{
	return connection_is_current(call) && atomic_load(&call.connection->turn) == TURN_WAITING;
}

/* 0 when it waits no longer; EINTR; or ETIMEDOUT. */
static int wait_until(struct call call, uint64_t deadline)
{
	while (still_waits(call)) {
		uint64_t now = real_os.now_ms();
		if (now >= deadline)
			return ETIMEDOUT;
		if (wait_a_while(&call.connection->turn, (long)(deadline - now)) == -EINTR)
			return EINTR;
		pthread_testcancel();
	}
	return 0;
}

static int wait_or_be_cancelled(struct call call)
{
	int error;

	pthread_cleanup_push(stop_and_leave, &call);
	error = wait_until(call, real_os.now_ms() + (uint64_t)call.connection->may_wait_ms);
	pthread_cleanup_pop(0);
	return error;
}

int turn_wait(struct call call)
{
	struct connection *fresh = call.connection;
	int error = wait_or_be_cancelled(call);

	if (connection_is_current(call) && atomic_load(&fresh->turn) == TURN_STOPPED) {
		atomic_store(&fresh->turn, TURN_NONE);
		return ECONNRESET;
	}
	/* Its turn has come at the last moment. */
	if (error == ETIMEDOUT && !pool_stop_waiting(&process_pool, call))
		return 0;
	if (error == ETIMEDOUT && fresh->own_time)
		error = EINPROGRESS;
	if (error == EINTR || error == EINPROGRESS)
		pool_let_through(&process_pool, call);
	return error;
}

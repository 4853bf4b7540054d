#include "shim/keeper.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <time.h>

#include "pool/layout.h"
#include "shim/bare_thread.h"
#include "shim/log.h"
#include "shim/os.h"
#include "shim/own.h"
#include "shim/process.h"
#include "shim/raw.h"

#define EVENTS_AT_ONCE 16

/* It does not learn of every connection that is parked, so it looks again after this long. */
#define TICK_MS 1000

/* How often to look for its end, each time some milliseconds long: for more than a tick, after
 * which it ends where the bell was not heard. */
#define PATIENCE 500

static bool wanted;
static struct bare_thread thread;
static _Atomic bool starting, failed;
static _Atomic uint32_t pauses; /* under way, or for good */

void keeper_want(void)
{
	wanted = true;
}

/* ---- what it looks at ---- */

/* Once, until asked for again: of a file that was closed behind our back, and that somebody has a
 * copy of, the set goes on to tell, and cannot be told to forget it. */
static void change(int set, int op, int hidden)
{
	struct epoll_event event = {
		.events = EPOLLIN | EPOLLRDHUP | EPOLLONESHOT,
		.data.fd = hidden,
	};

	if (set >= 0)
		RAW4(epoll_ctl, set, op, hidden, &event);
}

void keeper_watch(int hidden)
{
	if (wanted)
		change(own_number(OWN_SET), EPOLL_CTL_ADD, hidden);
}

/* Whoever else holds the socket would keep it in the set. */
void keeper_forget(int hidden)
{
	if (wanted)
		change(own_number(OWN_SET), EPOLL_CTL_DEL, hidden);
}

static bool is_hidden_at(const struct connection *connection, int number)
{
	return connection && !own_is_entry(connection) && connection_hides(connection, number);
}

static void watch_all(void)
{
	for (int number = 0; number <= fdtable_highest(); number++)
		if (is_hidden_at(fdtable_get(number), number))
			keeper_watch(number);
}

/* ---- the thread ---- */

/* False if it is to be looked at again: one that is not parked yet, or is just being taken. */
static bool look_at(int hidden)
{
	struct connection *connection = fdtable_get(hidden);

	if (!is_hidden_at(connection, hidden))
		return true;
	if (real_os.peek(hidden) != -EAGAIN)
		pool_end_of(&process_pool, connection, hidden);
	if (!is_hidden_at(fdtable_get(hidden), hidden))
		return true;
	change(own_number(OWN_SET), EPOLL_CTL_MOD, hidden);
	return false;
}

static bool look_at_all(const struct epoll_event *events, long count)
{
	bool done = true;

	for (long i = 0; i < count; i++)
		if (events[i].data.fd >= 0)
			done &= look_at(events[i].data.fd);
	return done;
}

static void keep(void)
{
	const struct timespec soon = {.tv_nsec = 1000000};
	struct epoll_event events[EVENTS_AT_ONCE];

	os_in_bare_thread();
	for (;;) {
		/* In this order, as the first stills the bell. */
		int set = own_number(OWN_SET);
		if (set < 0 || atomic_load(&pauses) > 0 || atomic_load(&failed) || !process_is_on())
			return;
		long next = pool_expire(&process_pool);
		int timeout = next >= 0 && next < TICK_MS ? (int)next + 1 : TICK_MS;
		long count = RAW6(
			epoll_pwait, set, events, EVENTS_AT_ONCE, timeout, NULL, sizeof(uint64_t));
		if (count < 0 && count != -EINTR)
			return;
		if (!look_at_all(events, count))
			RAW2(nanosleep, &soon, NULL);
	}
}

/* ---- begin and end ---- */

static bool has_set(void)
{
	if (own_number(OWN_SET) >= 0)
		return true;
	if (!own_open_set())
		return false;
	watch_all();
	return true;
}

/* Who pauses it sees that it is being started, or is seen here. */
static void start_unless_paused(void)
{
	if (atomic_load(&pauses) > 0 || atomic_load(&thread.id) || !process_is_on())
		return;
	os_before_bare_thread();
	if (has_set() && bare_thread_start(&thread, keep))
		return;
	atomic_store(&failed, true);
	log_line(1, "SP_KEEPER: there is no thread to be had", NULL);
}

void keeper_start(void)
{
	if (!wanted || atomic_load(&thread.id) || atomic_load(&failed) || !process_may_pool())
		return;
	/* A handler that came in between would wait for itself, or jump out of it. */
	uint64_t signals = real_os.block_signals();
	if (!atomic_exchange(&starting, true)) {
		start_unless_paused();
		atomic_store(&starting, false);
	}
	real_os.restore_signals(signals);
}

static bool may_be_there(void)
{
	return atomic_load(&starting) || atomic_load(&thread.id);
}

COLD static void await_end(void)
{
	for (int tries = 0; tries < PATIENCE && atomic_load(&starting); tries++)
		RAW0(sched_yield);
	for (int tries = 0; tries < PATIENCE; tries++) {
		/* Somebody else's question may have stilled it. */
		own_ring(true);
		if (bare_thread_has_ended(&thread))
			return;
	}
}

HOT bool keeper_pause(void)
{
	/* Where the pool is off, no system call is made without need. */
	if (!wanted || (!process_is_on() && !may_be_there()))
		return false;
	if (!process_is_own() || atomic_load(&thread.id) == real_os.thread_id())
		return false;
	atomic_fetch_add(&pauses, 1);
	if (may_be_there()) {
		/* Not by real_os, which turns the pool off where that is refused, and so comes
		 * here. */
		const uint64_t all = ~UINT64_C(0);
		uint64_t before = 0;
		bool blocked = RAW4(rt_sigprocmask, SIG_BLOCK, &all, &before, sizeof(all)) == 0;
		await_end();
		if (blocked)
			RAW4(rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof(before));
	}
	return true;
}

HOT void keeper_resume(bool paused)
{
	if (!paused)
		return;
	atomic_fetch_sub(&pauses, 1);
	/* There is something left that the program may not come back to. */
	if (process_pool.parked_count > 0)
		keeper_start();
}

void keeper_give_up(void)
{
	atomic_store(&failed, true);
	own_ring(true);
}

void keeper_rest(void)
{
	if (keeper_pause())
		atomic_fetch_sub(&pauses, 1);
}

HOT void keeper_after_fork_in_child(void)
{
	bare_thread_after_fork_in_child(&thread);
	atomic_store(&starting, false);
	atomic_store(&failed, false);
	atomic_store(&pauses, 0);
}

#include "shim/process.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sys/eventfd.h>

#include "pool/layout.h"
#include "pool/proof.h"
#include "shim/keeper.h"
#include "shim/libc.h"
#include "shim/log.h"
#include "shim/os.h"
#include "shim/own.h"
#include "shim/raw.h"
#include "shim/status.h"
#include "shim/waits.h"

struct pool process_pool;

_Atomic bool process_on;
static _Atomic int pid;

/* How many parked connections are closed where one call found no descriptor: enough for a pair, and
 * for what libc opens on the way. */
#define ROOM 8

/* How often to look again, with the processor given up in between. */
#define PATIENCE 10000

static void begin_anew(void);

bool process_is_own(void)
{
	if (!os_claim_copied_memory())
		return RAW0(getpid) == atomic_load_explicit(&pid, memory_order_acquire);
	/* A child of _Fork(), or of a clone(2) of the program's own; or one of fork() in which
	 * another library's handler is ahead of ours. */
	begin_anew();
	return true;
}

bool process_may_pool(void)
{
	return process_is_on() && process_is_own();
}

int process_bad_descriptor(void)
{
	errno = EBADF;
	return -1;
}

static long wanted_parked;

/* SP_MAX_PARKED, but no more than the limit on descriptors allows. */
static unsigned parked_most(void)
{
	long room = os_measure_room();

	return (unsigned)(wanted_parked < room ? wanted_parked : room);
}

int process_bad_descriptor_here(void)
{
	pthread_testcancel();
	return process_bad_descriptor();
}

COLD void process_displace(int fd, struct connection *connection)
{
	struct connection *old = fdtable_replace(fd, connection);

	/* A parked one, whose hidden number was closed behind our back, is the pool's: it will find
	 * that out before it uses the number. */
	if (old && !connection_hides(old, fd) && connection_displaced(old, fd))
		pool_release(&process_pool, old);
}

COLD void process_end(int fd, struct call call)
{
	if (fdtable_change(fd, call.connection, NULL) && connection_lost_number(call))
		pool_release(&process_pool, call.connection);
}

void process_forget(int fd)
{
	waits_forget_set(fd);
	if (fdtable_get(fd) && process_may_pool())
		process_displace(fd, NULL);
}

/* To the lowest number that is free now. */
COLD static int move_down(int fd)
{
	int close_on_exec = (int)RAW2(fcntl, fd, F_GETFD) & FD_CLOEXEC;
	int lower = (int)RAW3(fcntl, fd, close_on_exec ? F_DUPFD_CLOEXEC : F_DUPFD, 0);

	if (lower < 0)
		return fd;
	RAW1(close, lower < fd ? fd : lower);
	return lower < fd ? lower : fd;
}

/* Ours that are no connections go where those are not enough. */
static unsigned make_room(unsigned count)
{
	unsigned made = pool_make_room(&process_pool, count);

	return made > 0 && made == count ? made : made + own_give_way();
}

bool process_opened_at_lowest(int fd)
{
	/* The program is running short, and may be about to open files by calls that cannot be seen
	 * to fail: so all of them go. */
	return !os_is_crowded(fd) || !process_may_pool() || make_room(UINT_MAX) == 0;
}

/* SCM_MAX_FD: include/net/scm.h */
#define MANY 253

/* The highest number of those that the kernel chose. */
static _Atomic int highest_opened;

void process_ensure_room_for_many(void)
{
	/* No system call is made to find out: a datagram may be what is received. */
	if (os_is_crowded(atomic_load_explicit(&highest_opened, memory_order_relaxed) + MANY) &&
		process_may_pool())
		make_room(UINT_MAX);
}

void process_opened_pair(int numbers[2])
{
	int higher = numbers[0] < numbers[1] ? numbers[1] : numbers[0];
	bool lowest = process_opened_at_lowest(higher);

	for (int i = 0; i < 2; i++) {
		if (!lowest)
			numbers[i] = move_down(numbers[i]);
		numbers[i] = process_opened(numbers[i]);
	}
}

int process_opened(int fd)
{
	if (fd > atomic_load_explicit(&highest_opened, memory_order_relaxed))
		atomic_store_explicit(&highest_opened, fd, memory_order_relaxed);
	if (!process_opened_at_lowest(fd))
		fd = move_down(fd);
	process_forget(fd);
	return fd;
}

void process_ensure_room(void)
{
	int saved_errno = errno;
	long probe = RAW2(eventfd2, 0, EFD_CLOEXEC);

	if (probe >= 0)
		RAW1(close, probe);
	errno = probe < 0 ? (int)-probe : 0;
	process_made_room();
	errno = saved_errno;
}

/* Another thread is just parking one, and has two numbers for it until that is done. */
COLD static bool awaited_room(unsigned count)
{
	bool awaited = false;

	for (int tries = 0; tries < PATIENCE && atomic_load(&process_pool.on_the_way) > 0;
		tries++) {
		RAW0(sched_yield);
		awaited = true;
	}
	return make_room(count) > 0 || awaited;
}

/* Also where there is nothing left to close, as that may have been done since the call failed. */
static bool made_room(unsigned count)
{
	return (errno == EMFILE || errno == ENFILE) && process_may_pool() &&
	       (make_room(count) > 0 || awaited_room(count) ||
		       atomic_load_explicit(&process_pool.stats.connects, memory_order_relaxed) >
			       0);
}

bool process_made_room(void)
{
	return made_room(ROOM);
}

bool process_made_all_room(void)
{
	return made_room(UINT_MAX);
}

void process_make_all_room(void)
{
	if (process_pool.parked_count > 0 && process_may_pool())
		pool_make_room(&process_pool, UINT_MAX);
}

COLD void process_limit_changed(void)
{
	if (!process_may_pool())
		return;
	pool_set_parked_most(&process_pool, parked_most());
	/* They are no longer where the last fifth is. */
	pool_make_room(&process_pool, UINT_MAX);
}

COLD void process_credentials_changed(void)
{
	if (process_may_pool())
		pool_change_credentials(&process_pool);
}

COLD void process_track(int fd, int family, uint32_t epoch)
{
	if (fd >= FDTABLE_SIZE || !process_may_pool())
		return;
	struct connection *connection = pool_adopt(&process_pool, family, epoch);
	if (connection) {
		atomic_store_explicit(&connection->fd, fd, memory_order_relaxed);
		connection->cookie = proof_cookie(&real_os, fd);
	}
	if (connection || fdtable_get(fd))
		process_displace(fd, connection);
}

COLD void process_turn_off(const char *why)
{
	bool first = process_may_pool() && atomic_exchange(&process_on, false);

	/* For good; and if another thread is just turning it off, not before the keeper has ended:
	 * a sandbox may be for all threads, and kill. */
	keeper_pause();
	if (!first)
		return;
	log_line(1, "the pool is off: ", why, NULL);
	status_show_off(&process_pool);
	pool_turn_off(&process_pool);
	own_close_set();
}

/* ---- fork ---- */

/* Turned off, no system call is made: a sandbox may kill for it. */

static void prepare_fork(void)
{
	if (process_is_on())
		pool_prepare_fork(&process_pool);
}

static void after_fork_in_parent(void)
{
	pool_after_fork_in_parent(&process_pool);
}

static void begin_anew(void)
{
	/* The keeper's set is the parent's, too: what the child closes must stay in it. */
	own_after_fork_in_child();
	/* It goes by the thread's number in the parent. */
	pool_after_fork_in_child(&process_pool);
	os_after_fork_in_child();
	keeper_after_fork_in_child();
	status_after_fork_in_child();
	fdtable_after_fork_in_child();
	waits_after_fork_in_child();
	/* Last, as until then nobody else may use the pool. */
	atomic_store_explicit(&pid, (int)RAW0(getpid), memory_order_release);
}

static void after_fork_in_child(void)
{
	if (!process_is_on())
		return;
	if (os_claim_copied_memory() || RAW0(getpid) != atomic_load(&pid))
		begin_anew();
}

bool process_begin(const struct settings *settings, const struct rules *rules)
{
	struct settings possible = *settings;

	wanted_parked = settings->max_parked;
	possible.max_parked = parked_most();
	pool_init(&process_pool, &real_os, &possible);
	pool_set_rules(&process_pool, rules);
	if (settings->disable ||
		pthread_atfork(prepare_fork, after_fork_in_parent, after_fork_in_child) != 0)
		return false;
	waits_begin_process();
	os_mark_memory();
	atomic_store(&pid, (int)RAW0(getpid));
	atomic_store_explicit(&process_on, true, memory_order_release);
	return true;
}

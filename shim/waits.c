#include "shim/waits.h"

#include <errno.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <time.h>

#include "pool/deferral.h"
#include "pool/layout.h"
#include "shim/os.h"
#include "shim/process.h"
#include "shim/raw.h"

#define PLACES 64

/* So many numbers are looked at, at a system call each. */
#define LOOKS_MOST 64

/* Threads write to theirs all the time, so each has a line of its own. */
struct place {
	_Alignas(64) _Atomic uint32_t kind; /* enum wait_kind; WAIT_NONE: it is being filled */
	_Atomic bool taken;
	_Atomic uintptr_t where;
	_Atomic long count;
};

static struct place places[PLACES];
static _Atomic bool some_are_unseen;
static _Atomic uint32_t without_place; /* calls under way of which nothing is known */

/* ---- epoll sets ---- */

/* By number: those that were made by calls that we have seen, under the number that they got. */
static _Atomic uint64_t sets[FDTABLE_SIZE / 64];
static _Atomic bool sets_are_mixed; /* one is in another, or has two numbers */

static bool is_set(long fd)
{
	return fd >= 0 && fd < FDTABLE_SIZE &&
	       atomic_load_explicit(&sets[fd / 64], memory_order_relaxed) >> (fd % 64) & 1;
}

void waits_note_set(int fd)
{
	if (fd >= 0 && fd < FDTABLE_SIZE)
		atomic_fetch_or(&sets[fd / 64], UINT64_C(1) << (fd % 64));
}

HOT void waits_forget_set(int fd)
{
	if (is_set(fd))
		atomic_fetch_and(&sets[fd / 64], ~(UINT64_C(1) << (fd % 64)));
}

void waits_note_copy(int fd, int copy)
{
	if (is_set(fd))
		atomic_store_explicit(&sets_are_mixed, true, memory_order_relaxed);
	waits_forget_set(copy);
}

void waits_note_watch(int fd, int op)
{
	if (op == EPOLL_CTL_ADD && is_set(fd))
		atomic_store_explicit(&sets_are_mixed, true, memory_order_relaxed);
}

/* ---- what a call is about ---- */

/* Whoever asks has claimed the connection. */
struct question {
	const struct connection *connection;
	int fd;
	unsigned budget; /* of looks */
};

COLD static bool is_watched_by(const struct connection *connection, long number)
{
	for (unsigned i = 0; i < connection->watches.count; i++)
		if (connection->watches.entries[i].epfd == number)
			return true;
	return false;
}

/* Is this number in another thread's memory? It is there for as long as the call is under way; so
 * the kernel is asked to compare, and what it cannot read may be anything: futex(2),
 * FUTEX_CMP_REQUEUE, of nobody to nowhere. */
COLD static bool may_be(const int *address, int number, struct question *question)
{
	return question->budget-- == 0 ||
	       RAW6(futex, address, FUTEX_CMP_REQUEUE_PRIVATE, 0, 0, address, number) != -EAGAIN;
}

COLD static bool poll_concerns(const struct pollfd *fds, long count, struct question *question)
{
	const struct watches *watches = &question->connection->watches;

	for (long i = 0; i < count; i++) {
		if (may_be(&fds[i].fd, question->fd, question))
			return true;
		for (unsigned j = 0; j < watches->count; j++)
			if (may_be(&fds[i].fd, watches->entries[j].epfd, question))
				return true;
	}
	return false;
}

COLD static bool select_concerns(long count, struct question *question)
{
	for (unsigned i = 0; i < question->connection->watches.count; i++)
		if (question->connection->watches.entries[i].epfd < count)
			return true;
	return question->fd < count;
}

/* Of a set that was not seen to be made, or was copied since, it is not known which it is. */
COLD static bool epoll_concerns(long set, struct question *question)
{
	return question->connection->watches.count > 0 &&
	       (!is_set(set) || is_watched_by(question->connection, set));
}

COLD static bool concerns(uint32_t kind, uintptr_t where, long count, struct question *question)
{
	if (kind != WAIT_NONE && question->connection->watches.count > 0 &&
		atomic_load_explicit(&sets_are_mixed, memory_order_relaxed))
		return true;
	switch ((enum wait_kind)kind) {
	case WAIT_POLL:
		return poll_concerns((const struct pollfd *)where, count, question);
	case WAIT_SELECT:
		return select_concerns(count, question);
	case WAIT_EPOLL:
		return epoll_concerns(count, question);
	case WAIT_NONE:
		break;
	}
	return false;
}

/* ---- the list ---- */

struct beginning {
	enum wait_kind kind;
	uintptr_t where;
	long count;
};

COLD static bool beginning_concerns(const struct connection *connection, int fd, const void *what)
{
	const struct beginning *beginning = what;
	struct question question = {connection, fd, LOOKS_MOST};

	return concerns(beginning->kind, beginning->where, beginning->count, &question);
}

COLD static void carry_out_before(enum wait_kind kind, uintptr_t where, long count)
{
	const struct beginning beginning = {kind, where, count};

	fdtable_carry_out_before(-1);
	if (process_may_pool())
		deferral_carry_out_where(&process_pool, beginning_concerns, &beginning);
}

static int take_place(enum wait_kind kind, uintptr_t where, long count)
{
	const unsigned first = real_os.thread_id();

	for (unsigned i = 0; i < PLACES; i++) {
		struct place *place = &places[(first + i) % PLACES];
		if (atomic_load_explicit(&place->taken, memory_order_relaxed) ||
			atomic_exchange_explicit(&place->taken, true, memory_order_acquire))
			continue;
		atomic_store_explicit(&place->where, where, memory_order_relaxed);
		atomic_store_explicit(&place->count, count, memory_order_relaxed);
		atomic_store(&place->kind, kind);
		return (int)((first + i) % PLACES);
	}
	atomic_fetch_add(&without_place, 1);
	return PLACES;
}

int waits_begin(enum wait_kind kind, uintptr_t where, long count)
{
	/* In a child of vfork() it is soon over, and changes nothing. */
	int place = process_is_on() ? take_place(kind, where, count) : -1;

	if (__builtin_expect(atomic_load(&deferral_count) > 0, 0))
		carry_out_before(kind, where, count);
	return place;
}

void waits_end(const int *place)
{
	if (*place == PLACES)
		atomic_fetch_sub(&without_place, 1);
	if (*place < 0 || *place >= PLACES)
		return;
	atomic_store_explicit(&places[*place].kind, WAIT_NONE, memory_order_relaxed);
	atomic_store_explicit(&places[*place].taken, false, memory_order_release);
}

COLD static bool is_waited_for(struct question *question)
{
	if (atomic_load(&without_place) > 0 ||
		atomic_load_explicit(&some_are_unseen, memory_order_relaxed))
		return true;
	for (int i = 0; i < PLACES; i++) {
		uint32_t kind = atomic_load(&places[i].kind);
		if (kind != WAIT_NONE && concerns(kind, atomic_load(&places[i].where),
						 atomic_load(&places[i].count), question))
			return true;
	}
	return false;
}

void waits_after_fork_in_child(void)
{
	for (int i = 0; i < PLACES; i++) {
		atomic_store_explicit(&places[i].kind, WAIT_NONE, memory_order_relaxed);
		atomic_store_explicit(&places[i].taken, false, memory_order_relaxed);
	}
	atomic_store(&without_place, 0);
}

void waits_note_unseen(void)
{
	atomic_store_explicit(&some_are_unseen, true, memory_order_relaxed);
}

/* ---- threads ---- */

/* glibc has room for so many keys in each thread: nptl/descr.h, PTHREAD_KEY_2NDLEVEL_SIZE. For more
 * it allocates memory. */
#define KEYS_WITH_ROOM 32

static pthread_key_t end_of_thread;
static bool has_key;

COLD static void carry_out_at_end(void *unused)
{
	(void)unused;
	fdtable_carry_out_before(-1);
}

void waits_begin_process(void)
{
	has_key = pthread_key_create(&end_of_thread, carry_out_at_end) == 0 &&
		  end_of_thread < KEYS_WITH_ROOM;
}

/* Is the signal's handler the program's? Then it may be at work, and that is why it is blocked. */
COLD static bool has_handler(int signal)
{
	struct {
		uintptr_t handler;
		unsigned long flags, restorer;
		uint64_t mask;
	} action = {0};

	return RAW4(rt_sigaction, signal, NULL, &action, sizeof(action.mask)) == 0 &&
	       action.handler != (uintptr_t)SIG_DFL && action.handler != (uintptr_t)SIG_IGN;
}

COLD bool waits_allow_deferral(void)
{
	uint64_t blocked = 0;

	if (!has_key || !process_may_pool() ||
		RAW4(rt_sigprocmask, SIG_BLOCK, NULL, &blocked, sizeof(blocked)) < 0)
		return false;
	/* The JVM blocks this one in all threads but one. */
	blocked &= ~(UINT64_C(1) << (SIGQUIT - 1));
	for (; blocked; blocked &= blocked - 1)
		if (has_handler(__builtin_ctzl(blocked) + 1))
			return false;
	return true;
}

COLD void waits_check_deferral(struct call call, int fd)
{
	struct question question = {call.connection, fd, LOOKS_MOST};
	bool claimed = connection_try_claim(call);
	bool waited_for = !claimed || is_waited_for(&question);

	if (claimed && connection_unclaim(call.connection))
		pool_release(&process_pool, call.connection);
	if (waited_for)
		deferral_carry_out(&process_pool, call);
	else
		pthread_setspecific(end_of_thread, &end_of_thread);
}

void waits_note_listener(int fd)
{
	struct sockaddr_storage address;
	socklen_t len = sizeof(address);

	if (!process_is_on() || RAW3(getsockname, fd, &address, &len) < 0)
		return;
	if (address.ss_family == AF_INET)
		deferral_note_listener(ntohs(((struct sockaddr_in *)(void *)&address)->sin_port));
	else if (address.ss_family == AF_INET6)
		deferral_note_listener(ntohs(((struct sockaddr_in6 *)(void *)&address)->sin6_port));
}

/* poll() and select(): shim/waiting.h.
 *
 * The program's memory is looked at only after the kernel has used it, which says EFAULT where it
 * is not there.
 */
#include <limits.h>
#include <string.h>

#include "pool/layout.h"
#include "shim/libc.h"
#include "shim/memory.h"
#include "shim/os.h"
#include "shim/process.h"
#include "shim/waiting.h"
#include "shim/waits.h"

/* ---- calls under way ----
 *
 * The kernel looks a number up whenever it is woken; so a thread that waits on one would go on to
 * look at the socket that another thread has put there meanwhile, of which nothing wakes it. So it
 * has a call under way on each connection at risk that it waits for, and nothing is put there
 * before it has come back, as the end of a connection makes it do.
 */

#define CALLS_MOST 4 /* of many at risk, which none but the same few threads can be busy with */

struct calls {
	unsigned count;
	struct call calls[CALLS_MOST];
};

COLD static void enter(struct calls *calls, int fd)
{
	const struct connection *connection = fdtable_get(fd);

	if (!connection || connection_risk(connection) == RISK_NONE || calls->count == CALLS_MOST)
		return;
	struct call call = fdtable_enter(fd);
	if (call.connection)
		calls->calls[calls->count++] = call;
}

COLD static void leave(struct calls *calls)
{
	while (calls->count > 0)
		connection_leave(calls->calls[--calls->count]);
}

/* ---- poll ---- */

/* What a connection says that has ended. */
#define ENDS (POLLIN | POLLRDNORM | POLLHUP | POLLERR | POLLRDHUP)

/* A number that is hidden is not open. */
static int without_hidden(struct pollfd *fds, nfds_t count, int result)
{
	const int first = os_hidden_from();

	if (result < 0 || fdtable_highest() < first)
		return result;
	for (nfds_t i = 0; i < count; i++) {
		if (fds[i].fd < first || !process_hides(fds[i].fd))
			continue;
		result += fds[i].revents == 0;
		fds[i].revents = POLLNVAL;
	}
	return result;
}

/* Looks again at what was said of connections at risk. How many entries have nothing to say any
 * more. */
COLD static int take_back(struct waiting *waiting, struct pollfd *fds, nfds_t count)
{
	int taken_back = 0;

	for (nfds_t i = 0; i < count; i++) {
		const struct pollfd entry = fds[i];
		if (!(entry.revents & ENDS) || !waiting_doubts(waiting, entry.fd))
			continue;
		fds[i].revents = waiting_ask_again(waiting, entry.fd, entry.events, entry.revents);
		taken_back += fds[i].revents == 0;
	}
	return taken_back;
}

/* The kernel has not said yet that they are there. */
COLD static void enter_each(struct calls *calls, const struct pollfd *fds, nfds_t count)
{
	const nfds_t page = 4096 / sizeof(*fds);

	calls->count = 0;
	/* More than that the kernel refuses. */
	if (count > INT_MAX / sizeof(*fds) || !process_may_pool())
		return;
	for (nfds_t i = 0; i < count; i++) {
		if (i % page == 0 && !memory_is_readable(&fds[i],
					     (count - i < page ? count - i : page) * sizeof(*fds)))
			return;
		enter(calls, fds[i].fd);
	}
}

COLD static int ppoll_entered(
	struct pollfd *fds, nfds_t count, const struct timespec *limit, const sigset_t *mask)
{
	struct calls calls;

	enter_each(&calls, fds, count);
	int result = libc()->ppoll(fds, count, limit, mask);
	leave(&calls);
	return result;
}

/* After a call with this result. */
COLD static int wait_on(struct waiting *waiting, struct pollfd *fds, nfds_t count, int64_t limit_ns,
	const sigset_t *mask, int result)
{
	int64_t left_ns;

	waiting->limit_ns = limit_ns;
	while (result > 0) {
		result -= take_back(waiting, fds, count);
		if (result > 0)
			break;
		if (!waiting_may_go_on(waiting, &left_ns))
			return 0;
		const struct timespec left = waiting_timespec(left_ns);
		result = ppoll_entered(fds, count, left_ns < 0 ? NULL : &left, mask);
	}
	return without_hidden(fds, count, result);
}

COLD static struct waiting begin(void)
{
	return (struct waiting){
		.began_ns = waiting_now_ns(),
		.exchanges = waiting_count_exchanges(),
	};
}

COLD static int poll_at_risk(struct pollfd *fds, nfds_t count, int timeout)
{
	struct waiting waiting = begin();
	struct calls calls;

	enter_each(&calls, fds, count);
	int result = libc()->poll(fds, count, timeout);
	leave(&calls);
	return wait_on(&waiting, fds, count, waiting_limit_of_ms(timeout), NULL, result);
}

COLD static int ppoll_at_risk(
	struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
	struct waiting waiting = begin();
	int result = ppoll_entered(fds, count, timeout, mask);

	if (result <= 0)
		return without_hidden(fds, count, result);
	return wait_on(&waiting, fds, count, waiting_limit_of(timeout), mask, result);
}

int poll(struct pollfd *fds, nfds_t count, int timeout)
{
	WAITS(WAIT_POLL, fds, (long)count);
	if (connection_any_at_risk())
		return poll_at_risk(fds, count, timeout);
	return without_hidden(fds, count, libc()->poll(fds, count, timeout));
}

INTERPOSED_AS(poll, __poll);

int ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
	WAITS(WAIT_POLL, fds, (long)count);
	if (connection_any_at_risk())
		return ppoll_at_risk(fds, count, timeout, mask);
	return without_hidden(fds, count, libc()->ppoll(fds, count, timeout, mask));
}

/* Those that are built with _FORTIFY_SOURCE end the program where there is not room for so many. */

COLD int __poll_chk(struct pollfd *fds, nfds_t count, int timeout, size_t room)
{
	WAITS(WAIT_POLL, fds, (long)count);
	if (connection_any_at_risk() && count <= room / sizeof(*fds))
		return poll_at_risk(fds, count, timeout);
	return without_hidden(fds, count, libc()->__poll_chk(fds, count, timeout, room));
}

COLD int __ppoll_chk(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
	const sigset_t *mask, size_t room)
{
	WAITS(WAIT_POLL, fds, (long)count);
	if (connection_any_at_risk() && count <= room / sizeof(*fds))
		return ppoll_at_risk(fds, count, timeout, mask);
	return without_hidden(fds, count, libc()->__ppoll_chk(fds, count, timeout, mask, room));
}

/* ---- select ----
 *
 * Of a hidden number it says nothing: as of any that is beyond the kernel's table of descriptors,
 * as these numbers are in most processes without us.
 */

enum { READ, WRITE, EXCEPT, SETS };

/* fs/select.c: what poll() says for each. */
static const short backing[SETS] = {
	[READ] = POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR | POLLNVAL,
	[WRITE] = POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR | POLLNVAL,
	[EXCEPT] = POLLPRI | POLLNVAL,
};

typedef unsigned long word;
#define WORD_BITS ((int)sizeof(word) * CHAR_BIT)
#define WORDS     (FD_SETSIZE / WORD_BITS)

/* A call of select() or pselect(). Programs make sets beyond FD_SETSIZE, too: count decides. */
struct selecting {
	int count;
	word *sets[SETS];             /* may be NULL */
	struct timeval *time;         /* select(): the kernel leaves what is left of it */
	const struct timespec *limit; /* pselect() */
	const sigset_t *mask;
	bool is_pselect;
};

static inline word bit_of(int fd)
{
	return (word)1 << (fd % WORD_BITS);
}

static int select_with(const struct selecting *call, const struct timespec *limit)
{
	fd_set *read = (fd_set *)call->sets[READ], *write = (fd_set *)call->sets[WRITE],
	       *except = (fd_set *)call->sets[EXCEPT];

	return call->is_pselect
		       ? libc()->pselect(call->count, read, write, except, limit, call->mask)
		       : libc()->select(call->count, read, write, except, call->time);
}

/* The sets are overwritten, but needed again. false if they are not there, or too big. */
COLD static bool copy_sets(const struct selecting *call, word (*copies)[WORDS])
{
	const size_t size = (size_t)(call->count + WORD_BITS - 1) / WORD_BITS * sizeof(word);

	if (call->count <= 0 || call->count > FD_SETSIZE)
		return false;
	for (int i = 0; i < SETS; i++) {
		if (!call->sets[i])
			continue;
		if (!memory_is_readable(call->sets[i], size))
			return false;
		memcpy(copies[i], call->sets[i], size);
	}
	return true;
}

/* Only what has been changed: the kernel leaves alone what is beyond its table of descriptors. */
COLD static void restore_sets(const struct selecting *call, const word (*copies)[WORDS])
{
	for (int i = 0; i < SETS; i++)
		for (int j = 0; call->sets[i] && j * WORD_BITS < call->count; j++)
			if (call->sets[i][j] != copies[i][j])
				call->sets[i][j] = copies[i][j];
}

/* How many bits of fd are no longer set. */
COLD static int take_back_bits(struct waiting *waiting, const struct selecting *call, int fd)
{
	const short said = POLLIN | POLLOUT | POLLPRI;
	const short now = waiting_ask_again(waiting, fd, said, said);
	int taken_back = 0;

	for (int i = 0; i < SETS; i++) {
		word *one = call->sets[i] ? &call->sets[i][fd / WORD_BITS] : NULL;
		if (one && *one & bit_of(fd) && !(now & backing[i])) {
			*one &= ~bit_of(fd);
			taken_back++;
		}
	}
	return taken_back;
}

/* The bits that are set in a set, one by one: the lowest one from first on, or -1. */
COLD static int next_of(const word *set, int first, int count)
{
	for (int fd = first; fd < count;) {
		word rest = set[fd / WORD_BITS] >> (fd % WORD_BITS);
		if (rest && fd + __builtin_ctzl(rest) < count)
			return fd + __builtin_ctzl(rest);
		fd += WORD_BITS - fd % WORD_BITS;
	}
	return -1;
}

/* As take_back(); what has ended can be read. */
COLD static int take_back_from_sets(struct waiting *waiting, const struct selecting *call)
{
	const word *set = call->sets[READ];
	int taken_back = 0;

	for (int fd = -1; set && (fd = next_of(set, fd + 1, call->count)) >= 0;)
		if (waiting_doubts(waiting, fd))
			taken_back += take_back_bits(waiting, call, fd);
	return taken_back;
}

COLD static int64_t limit_of(const struct selecting *call)
{
	if (call->is_pselect)
		return waiting_limit_of(call->limit);
	if (!call->time)
		return -1;
	const struct timespec limit = {
		.tv_sec = call->time->tv_sec, .tv_nsec = call->time->tv_usec * 1000};
	return waiting_limit_of(&limit);
}

COLD static int select_entered(
	const struct selecting *call, const struct timespec *limit, const word (*copies)[WORDS])
{
	struct calls calls = {.count = 0};
	bool may_enter = call->sets[READ] && process_may_pool();

	for (int fd = -1; may_enter && (fd = next_of(copies[READ], fd + 1, call->count)) >= 0;)
		enter(&calls, fd);
	int result = select_with(call, limit);
	leave(&calls);
	return result;
}

COLD static int select_again(
	const struct selecting *call, int64_t left_ns, const word (*copies)[WORDS])
{
	const struct timespec left = waiting_timespec(left_ns);

	if (call->time && left_ns >= 0)
		*call->time = (struct timeval){
			.tv_sec = left.tv_sec, .tv_usec = (left.tv_nsec + 999) / 1000};
	return select_entered(call, left_ns < 0 ? NULL : &left, copies);
}

/* After a call with this result, that has overwritten the sets. */
COLD static int select_on(struct waiting *waiting, const struct selecting *call, int64_t limit_ns,
	const word (*copies)[WORDS], int result)
{
	int64_t left_ns;

	waiting->limit_ns = limit_ns;
	while (result > 0) {
		result -= take_back_from_sets(waiting, call);
		if (result > 0)
			break;
		if (!waiting_may_go_on(waiting, &left_ns))
			return 0;
		restore_sets(call, copies);
		result = select_again(call, left_ns, copies);
	}
	return result;
}

COLD static int select_at_risk(const struct selecting *call)
{
	word copies[SETS][WORDS];
	struct waiting waiting = begin();
	const bool copied = copy_sets(call, copies);
	if (!copied)
		return select_with(call, call->limit);
	int result = select_entered(call, call->limit, copies);
	if (result <= 0)
		return result;
	/* What select() leaves of its time is as of now. */
	if (!call->is_pselect)
		waiting.began_ns = waiting_now_ns();
	return select_on(&waiting, call, limit_of(call), copies, result);
}

static int select_any(const struct selecting *call)
{
	WAITS(WAIT_SELECT, NULL, call->count);
	return connection_any_at_risk() ? select_at_risk(call) : select_with(call, call->limit);
}

int select(int count, fd_set *restrict read, fd_set *restrict write, fd_set *restrict except,
	struct timeval *restrict timeout)
{
	const struct selecting call = {
		.count = count,
		.sets = {(word *)read, (word *)write, (word *)except},
		.time = timeout,
	};

	return select_any(&call);
}

INTERPOSED_AS(select, __select);

int pselect(int count, fd_set *restrict read, fd_set *restrict write, fd_set *restrict except,
	const struct timespec *restrict timeout, const sigset_t *restrict mask)
{
	const struct selecting call = {
		.count = count,
		.sets = {(word *)read, (word *)write, (word *)except},
		.limit = timeout,
		.mask = mask,
		.is_pselect = true,
	};

	return select_any(&call);
}

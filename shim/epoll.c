/* epoll_ctl(): which sets a connection is in; and the calls that wait for one: shim/waiting.h. */

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "pool/layout.h"
#include "shim/libc.h"
#include "shim/os.h"
#include "shim/process.h"
#include "shim/waiting.h"
#include "shim/waits.h"

int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	struct call call = op == EPOLL_CTL_DEL ? fdtable_enter_quietly(fd) : fdtable_enter(fd);

	if (call.hidden)
		return process_bad_descriptor();
	waits_note_watch(fd, op);
	int result = libc()->epoll_ctl(epfd, op, fd, event);
	if (call.connection)
		process_leave(call, result == 0 && connection_watch(call, epfd, op, event));
	return result;
}

/* ---- waiting ---- */

/* What a connection says that has ended; not EPOLLIN, as the program reads then, and does not wait
 * for that. */
#define ENDS (EPOLLRDHUP | EPOLLHUP | EPOLLERR)

/* Is the connection on fd in the set with this event's data? With which events, then. */
COLD static bool is_watched(int fd, int epfd, const struct epoll_event *event, uint32_t *events)
{
	struct call call = fdtable_enter(fd);
	bool watched = false;

	if (!call.connection)
		return false;
	bool claimed = connection_try_claim(call);
	const struct watches *watches = &call.connection->watches;
	for (unsigned i = 0; claimed && i < watches->count; i++) {
		const struct watch *watch = &watches->entries[i];
		if (watch->epfd != epfd || watch->data != event->data.u64)
			continue;
		watched = true;
		*events = watch->events;
	}
	process_leave(call, claimed && connection_unclaim(call.connection));
	return watched;
}

/* The number that the event is about, if it is in doubt; -1 if there is none, or more than one. */
COLD static int find(
	const struct waiting *waiting, int epfd, const struct epoll_event *event, uint32_t *events)
{
	const int highest = fdtable_highest();
	int found = -1;

	for (int fd = 0; fd <= highest; fd++) {
		if (!waiting_doubts(waiting, fd) || !is_watched(fd, epfd, event, events))
			continue;
		if (found >= 0)
			return -1;
		found = fd;
	}
	return found;
}

/* An event of one that is reported once only is not to be lost. */
COLD static bool will_come_again(int epfd, int fd, const struct epoll_event *event, uint32_t events)
{
	struct epoll_event again = {.events = events, .data = event->data};

	if (!(events & (EPOLLONESHOT | EPOLLET)))
		return true;
	struct call call = fdtable_enter(fd);
	if (!call.connection)
		return false;
	bool armed = real_os.watch(epfd, EPOLL_CTL_MOD, fd, &again) >= 0;
	process_leave(call, armed && connection_watch(call, epfd, EPOLL_CTL_MOD, &again));
	return armed;
}

COLD static bool is_taken_back(struct waiting *waiting, int epfd, const struct epoll_event *event)
{
	const short said = POLLIN | POLLRDHUP;
	uint32_t events = 0;
	int fd = event->events & ENDS ? find(waiting, epfd, event, &events) : -1;

	/* Others may be in the set with the same data. */
	return fd >= 0 && !(events & EPOLLEXCLUSIVE) && waiting_was_about(waiting, fd) &&
	       !(waiting_ask_again(waiting, fd, said, said) & (POLLRDHUP | POLLHUP | POLLERR)) &&
	       will_come_again(epfd, fd, event, events);
}

/* How many events are left. */
COLD static int take_back(struct waiting *waiting, int epfd, struct epoll_event *events, int count)
{
	for (int i = 0; i < count;) {
		if (!is_taken_back(waiting, epfd, &events[i])) {
			i++;
			continue;
		}
		count--;
		memmove(&events[i], &events[i + 1], (size_t)(count - i) * sizeof(*events));
	}
	return count;
}

COLD static int in_ms(int64_t ns)
{
	int64_t ms = (ns + 999999) / 1000000;

	return ns < 0 ? -1 : ms > INT_MAX ? INT_MAX : (int)ms;
}

COLD static int wait_on(struct waiting *waiting, int epfd, struct epoll_event *events, int most,
	int64_t limit_ns, const sigset_t *mask, int result)
{
	int64_t left_ns;

	if (!process_may_pool())
		return result;
	waiting->limit_ns = limit_ns;
	while (result > 0) {
		result = take_back(waiting, epfd, events, result);
		if (result > 0)
			break;
		if (!waiting_may_go_on(waiting, &left_ns))
			return 0;
		result = libc()->epoll_pwait(epfd, events, most, in_ms(left_ns), mask);
	}
	return result;
}

/* Is there anything to look at again? */
static inline bool may_doubt(
	const struct waiting *waiting, const struct epoll_event *events, int count)
{
	uint32_t all = 0;

	if (count <= 0 || !waiting_may_doubt(waiting))
		return false;
	for (int i = 0; i < count; i++)
		all |= events[i].events;
	return all & ENDS;
}

static inline struct waiting begin(bool has_limit)
{
	/* What is at risk at the end need not have been at the beginning. */
	bool may_doubt = process_is_on() && atomic_load_explicit(&process_pool.stats.connects,
						    memory_order_relaxed) > 0;

	return (struct waiting){
		.began_ns = has_limit && may_doubt ? waiting_now_ns() : 0,
		.exchanges = waiting_count_exchanges(),
	};
}

/* A number that is hidden is not open; what else it is does not matter. */
static int without_hidden(int epfd, int result)
{
	if (result < 0 && errno == EINVAL && process_hides(epfd))
		errno = EBADF;
	return result;
}

int epoll_wait(int epfd, struct epoll_event *events, int most, int timeout)
{
	WAITS(WAIT_EPOLL, NULL, epfd);
	struct waiting waiting = begin(timeout > 0);
	int result = libc()->epoll_wait(epfd, events, most, timeout);

	if (may_doubt(&waiting, events, result))
		return wait_on(
			&waiting, epfd, events, most, waiting_limit_of_ms(timeout), NULL, result);
	return without_hidden(epfd, result);
}

int epoll_pwait(int epfd, struct epoll_event *events, int most, int timeout, const sigset_t *mask)
{
	WAITS(WAIT_EPOLL, NULL, epfd);
	struct waiting waiting = begin(timeout > 0);
	int result = libc()->epoll_pwait(epfd, events, most, timeout, mask);

	if (may_doubt(&waiting, events, result))
		return wait_on(
			&waiting, epfd, events, most, waiting_limit_of_ms(timeout), mask, result);
	return without_hidden(epfd, result);
}

COLD int epoll_pwait2(int epfd, struct epoll_event *events, int most,
	const struct timespec *timeout, const sigset_t *mask)
{
	WAITS(WAIT_EPOLL, NULL, epfd);
	struct waiting waiting = begin(timeout);

	if (!libc()->epoll_pwait2) {
		errno = ENOSYS;
		return -1;
	}
	int result = libc()->epoll_pwait2(epfd, events, most, timeout, mask);
	if (may_doubt(&waiting, events, result))
		return wait_on(
			&waiting, epfd, events, most, waiting_limit_of(timeout), mask, result);
	return without_hidden(epfd, result);
}

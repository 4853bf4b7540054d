/* What the calls that wait (shim/poll.c, shim/epoll.c) do about reused connections at risk
 * (pool/renew.h).
 *
 * Such a call must not say that a connection has ended, or failed, where a new one can take its
 * place: a program that then reads without its time limit would wait for ever, and one that looks
 * at POLLHUP would see what it would not have seen. So what is said of a connection at risk is
 * looked at before the program sees it, and the call waits on, for the rest of its time, if nothing
 * is left of it. Where nothing is at risk, nothing of that is done.
 */
#pragma once

#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "pool/connection.h"

/* How often a socket of this process was put in the place of another: what a call says that began
 * before may be of the other one. */
extern _Atomic uint32_t waiting_exchanges;

/* A call under way. */
struct waiting {
	int64_t began_ns; /* 0: not asked for */
	int64_t limit_ns; /* from then; less than 0: none */
	uint32_t exchanges;
	uint32_t naps;
	bool over;  /* its time */
	bool later; /* another thread is at work on what was said, which would be said again at once
		     */
};

static inline uint32_t waiting_count_exchanges(void)
{
	return atomic_load_explicit(&waiting_exchanges, memory_order_acquire);
}

/* A socket is about to be put in the place of another. */
static inline void waiting_note_exchange(void)
{
	atomic_fetch_add_explicit(&waiting_exchanges, 1, memory_order_release);
}

int64_t waiting_now_ns(void);

/* A time limit in nanoseconds; less than 0 is none. */
static inline int64_t waiting_limit_of_ms(int ms)
{
	return ms < 0 ? -1 : (int64_t)ms * 1000000;
}

/* NULL is none. */
int64_t waiting_limit_of(const struct timespec *limit);

/* Nothing is left of what a call has said: the time that is left for it to wait on, or less than 0
 * for no limit. false if it has waited for long enough. */
bool waiting_may_go_on(struct waiting *waiting, int64_t *left_ns);

static inline struct timespec waiting_timespec(int64_t ns)
{
	return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

/* May what a call has said be out of date, or be about a connection at risk? */
static inline bool waiting_may_doubt(const struct waiting *waiting)
{
	return connection_any_at_risk() || waiting_count_exchanges() != waiting->exchanges;
}

/* Is the end that a call has spoken of that of fd, as far as can be told? */
bool waiting_was_about(const struct waiting *waiting, int fd);

/* The same of what it has said of fd. */
bool waiting_doubts(const struct waiting *waiting, int fd);

/* What poll() would say of fd now, as it has just said so; a connection at risk that is at its end
 * has been renewed by then, if it can be. */
short waiting_ask_again(struct waiting *waiting, int fd, short events, short said);

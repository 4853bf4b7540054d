#include "shim/keeper.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>

#include "pool/layout.h"
#include "shim/libc.h"
#include "shim/log.h"
#include "shim/os.h"
#include "shim/process.h"
#include "shim/raw.h"

#define STACK_SIZE     65536
#define EVENTS_AT_ONCE 16

/* It does not learn of every connection that is parked, so it looks again after this long. */
#define TICK_MS 1000

static bool wanted;
static _Atomic bool started;
static _Atomic int epfd = -1;

void keeper_want(void)
{
	wanted = true;
}

static void change(int op, int hidden)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.fd = hidden};
	int set = atomic_load(&epfd);

	if (set >= 0)
		RAW4(epoll_ctl, set, op, hidden, &event);
}

void keeper_watch(int hidden)
{
	change(EPOLL_CTL_ADD, hidden);
}

/* Whoever else holds the socket would keep it in the set. */
void keeper_forget(int hidden)
{
	change(EPOLL_CTL_DEL, hidden);
}

/* One that is not parked yet, or is just being taken, is reported again. */
static void look_at(int hidden)
{
	struct connection *connection = fdtable_get(hidden);

	if (connection)
		pool_end_of(&process_pool, connection, hidden);
}

static void *keep(void *unused)
{
	struct epoll_event events[EVENTS_AT_ONCE];

	(void)unused;
	while (process_is_on()) {
		long next = pool_expire(&process_pool);
		int timeout = next >= 0 && next < TICK_MS ? (int)next + 1 : TICK_MS;
		long count = RAW6(epoll_pwait, atomic_load(&epfd), events, EVENTS_AT_ONCE, timeout,
			NULL, sizeof(uint64_t));
		/* The program has closed it behind our back, or it is another process's. */
		if (count < 0 && count != -EINTR)
			break;
		for (long i = 0; i < count; i++)
			look_at(events[i].data.fd);
		if (count > 0)
			RAW0(sched_yield);
	}
	return NULL;
}

static bool start_thread(void)
{
	pthread_attr_t attributes;
	pthread_t thread;
	sigset_t all, before;

	if (pthread_attr_init(&attributes))
		return false;
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, STACK_SIZE);
	/* It inherits the mask: no handler of the program's ever runs in it. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int error = pthread_create(&thread, &attributes, keep, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return error == 0;
}

void keeper_start(void)
{
	if (!wanted || atomic_exchange(&started, true))
		return;
	int saved_errno = errno;
	atomic_store(&epfd, os_open_set());
	if (atomic_load(&epfd) < 0 || !start_thread())
		log_line(1, "SP_KEEPER: there is no thread to be had", NULL);
	errno = saved_errno;
}

HOT void keeper_after_fork_in_child(void)
{
	int set = atomic_exchange(&epfd, -1);

	if (set >= 0)
		RAW1(close, set);
	atomic_store(&started, false);
}

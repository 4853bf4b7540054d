#include "shim/turn.h"

#include <errno.h>
#include <pthread.h>

#include "shim/libc.h"
#include "shim/os.h"
#include "shim/process.h"
#include "shim/raw.h"

struct wait {
	struct call call;
	int alarm;
};

static void close_alarm(const struct wait *wait)
{
	/* Who is about to use it has taken its number down. */
	while (atomic_load(&wait->call.connection->wakers) > 0)
		RAW0(sched_yield);
	os_close_alarm(wait->alarm);
}

static void stop(struct wait *wait)
{
	if (!pool_stop_waiting(&process_pool, wait->call))
		pool_give_up_turn(&process_pool, wait->call);
	close_alarm(wait);
}

static void stop_and_leave(void *wait)
{
	stop(wait);
	connection_leave(((struct wait *)wait)->call);
}

/* A read() of a timer: it is restarted after signals, or not, just as connect() is (SA_RESTART, see
 * signal(7)), and ends in time; neither futex(2) nor poll(2) does both. */
static int wait_for_alarm(struct wait *wait)
{
	uint64_t expirations;
	ssize_t result;

	pthread_cleanup_push(stop_and_leave, wait);
	result = libc()->read(wait->alarm, &expirations, sizeof(expirations));
	pthread_cleanup_pop(0);
	return result < 0 ? errno : 0;
}

int turn_wait(struct call call)
{
	struct wait wait = {.call = call};
	int saved_errno = errno;

	if (call.connection->may_wait_ms == 0)
		return pool_stop_waiting(&process_pool, call) ? ETIMEDOUT : 0;
	wait.alarm = os_open_alarm(call.connection->may_wait_ms);
	if (wait.alarm < 0) {
		pool_stop_waiting(&process_pool, call);
		return TURN_NO_WAITING;
	}
	int error = 0;
	if (pool_set_alarm(&process_pool, call, wait.alarm)) {
		error = wait_for_alarm(&wait);
		if (error == 0 && pool_stop_waiting(&process_pool, call))
			error = ETIMEDOUT;
	}
	if (error)
		stop(&wait);
	else
		close_alarm(&wait);
	errno = saved_errno;
	return error == 0 || error == ETIMEDOUT || error == EINTR ? error : TURN_NO_WAITING;
}

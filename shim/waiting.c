#include "shim/waiting.h"

#include <errno.h>

#include "pool/renew.h"
#include "pool/succession.h"
#include "shim/fdtable.h"
#include "shim/os.h"
#include "shim/process.h"
#include "shim/raw.h"
#include "shim/renewal.h"

#define SECOND      1000000000
#define MILLISECOND 1000000

/* For longer than the kernel tries to connect no other thread is waited for: tcp(7),
 * tcp_syn_retries. */
#define NAPS_MOST 150000

_Atomic uint32_t waiting_exchanges;

int64_t waiting_now_ns(void)
{
	struct timespec now;

	/* vDSO: no system call, and it cannot fail. */
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * SECOND + now.tv_nsec;
}

int64_t waiting_limit_of(const struct timespec *limit)
{
	/* A hundred years. */
	return !limit || limit->tv_sec > INT64_MAX / SECOND / 3
		       ? -1
		       : (int64_t)limit->tv_sec * SECOND + limit->tv_nsec;
}

/* A millisecond. */
static void nap(void)
{
	_Atomic uint32_t word = 0;

	real_os.wait(&word, 0, 1);
}

bool waiting_may_go_on(struct waiting *waiting, int64_t *left_ns)
{
	const int64_t limit_ns = waiting->limit_ns;

	/* Once more, even if there is no time left: what is said now may be of another socket. */
	if (waiting->over)
		return false;
	if (waiting->later)
		nap();
	waiting->naps += waiting->later;
	waiting->later = false;
	*left_ns = limit_ns;
	if (limit_ns < 0)
		return true;
	/* Nothing was expected when it began. */
	if (waiting->began_ns == 0)
		waiting->began_ns = waiting_now_ns();
	*left_ns -= waiting_now_ns() - waiting->began_ns;
	if (*left_ns < 0)
		*left_ns = 0;
	waiting->over = *left_ns == 0;
	return true;
}

bool waiting_doubts(const struct waiting *waiting, int fd)
{
	const struct connection *connection = fdtable_get(fd);

	return connection && (connection_risk(connection) != RISK_NONE ||
				     waiting_count_exchanges() != waiting->exchanges);
}

static bool look(struct pollfd *entry)
{
	const struct timespec at_once = {0};

	long result;

	do
		result = RAW5(ppoll, entry, 1, &at_once, NULL, sizeof(uint64_t));
	while (result == -EINTR);
	return result >= 0;
}

bool waiting_was_about(const struct waiting *waiting, int fd)
{
	struct pollfd now = {.fd = fd, .events = POLLRDHUP};

	/* Or it has another socket since. */
	return waiting_count_exchanges() != waiting->exchanges ||
	       (look(&now) && now.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

/* For how long a new connection may be waited for; 0: as long as it is ever. */
static long wait_ms_of(struct waiting *waiting)
{
	int64_t left_ns;

	if (waiting->limit_ns < 0)
		return 0;
	if (waiting->began_ns == 0)
		waiting->began_ns = waiting_now_ns();
	left_ns = waiting->limit_ns - (waiting_now_ns() - waiting->began_ns);
	/* What is begun now, the next call goes on with. */
	if (left_ns < MILLISECOND)
		return 1;
	return left_ns < (int64_t)SUCCESSION_WAIT_MS * MILLISECOND ? left_ns / MILLISECOND : 0;
}

short waiting_ask_again(struct waiting *waiting, int fd, short events, short said)
{
	struct pollfd now = {.fd = fd, .events = (short)(events | POLLRDHUP)};

	if (!process_is_on() || !look(&now))
		return said;
	if (now.revents & (POLLRDHUP | POLLHUP | POLLERR)) {
		int answer = renewal_while_waiting(fd, wait_ms_of(waiting));
		if (answer == RENEW_LATER && waiting->naps < NAPS_MOST) {
			waiting->later = true;
			return 0;
		}
		/* Whatever it said: another thread may have been quicker. */
		if (!look(&now))
			return said;
	}
	return now.revents & (short)(events | POLLHUP | POLLERR | POLLNVAL);
}

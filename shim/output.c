#include "shim/output.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <time.h>

#include "shim/raw.h"

#define BIT(signal) (1ULL << ((signal)-1))

/* Takes back what was raised since, of what was not waiting before. */
static void swallow(uint64_t raised)
{
	static const struct timespec at_once;

	if (raised)
		RAW4(rt_sigtimedwait, &raised, NULL, &at_once, sizeof(raised));
}

void output_write(int fd, const char *data, size_t len)
{
	const uint64_t ours = BIT(SIGPIPE) | BIT(SIGXFSZ);
	uint64_t blocked_before = 0, waiting_before = 0, raised = 0;

	RAW4(rt_sigprocmask, SIG_BLOCK, &ours, &blocked_before, sizeof(ours));
	RAW2(rt_sigpending, &waiting_before, sizeof(waiting_before));
	while (len > 0) {
		long written = RAW3(write, fd, data, len);
		if (written == -EINTR)
			continue;
		if (written == -EPIPE)
			raised = BIT(SIGPIPE);
		if (written == -EFBIG)
			raised = BIT(SIGXFSZ);
		if (written <= 0)
			break;
		data += written;
		len -= (size_t)written;
	}
	swallow(raised & ~waiting_before);
	RAW4(rt_sigprocmask, SIG_SETMASK, &blocked_before, NULL, sizeof(blocked_before));
}

/* RLIMIT_NOFILE, set while the program runs: the share of it that may be parked changes. */

#include "shim/libc.h"
#include "shim/process.h"

EARLY static int changed(int result, int resource, const void *limit)
{
	/* Of another process, prlimit() may as well have been about this one. */
	if (result == 0 && limit && resource == RLIMIT_NOFILE)
		process_limit_changed();
	return result;
}

EARLY int setrlimit(__rlimit_resource_t resource, const struct rlimit *limit)
{
	return changed(libc()->setrlimit(resource, limit), resource, limit);
}

EARLY int setrlimit64(__rlimit_resource_t resource, const struct rlimit64 *limit)
{
	return changed(libc()->setrlimit64(resource, limit), resource, limit);
}

EARLY int prlimit(
	pid_t pid, __rlimit_resource_t resource, const struct rlimit *limit, struct rlimit *before)
{
	return changed(libc()->prlimit(pid, resource, limit, before), resource, limit);
}

EARLY int prlimit64(pid_t pid, __rlimit_resource_t resource, const struct rlimit64 *limit,
	struct rlimit64 *before)
{
	return changed(libc()->prlimit64(pid, resource, limit, before), resource, limit);
}

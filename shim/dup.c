/* dup() and its family, and fcntl(): a second holder makes a connection unpoolable. */

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>

#include "shim/libc.h"
#include "shim/process.h"

int dup(int fd)
{
	struct call call = fdtable_enter(fd);

	if (call.hidden)
		return process_bad_descriptor();
	if (!call.connection)
		return libc()->dup(fd);
	connection_refuse(call.connection, REFUSED_DUPLICATED);
	int result = libc()->dup(fd);
	process_leave(call, false);
	return result;
}

/* Puts fd's file on a number, which may have a connection; or a hidden one of ours, and then it is
 * the program's for the asking. */
static int replace(int fd, int to, int flags, bool is_dup3)
{
	struct call call = fdtable_enter(fd), replaced = {0};

	if (call.hidden)
		return process_bad_descriptor();
	if (call.connection && fd != to)
		connection_refuse(call.connection, REFUSED_DUPLICATED);
	if (fd != to && fdtable_get(to) && process_may_pool()) {
		replaced = fdtable_enter(to);
		if (replaced.hidden)
			pool_evict(&process_pool, fdtable_get(to), to);
	}
	int result = is_dup3 ? libc()->dup3(fd, to, flags) : libc()->dup2(fd, to);
	if (result >= 0)
		process_end_call(to, replaced);
	else if (replaced.connection)
		connection_leave(replaced);
	if (call.connection)
		connection_leave(call);
	return result;
}

int dup2(int fd, int to)
{
	return replace(fd, to, 0, false);
}

int dup3(int fd, int to, int flags)
{
	return replace(fd, to, flags, true);
}

static enum refusal refusal_for(int command, const void *argument)
{
	switch (command) {
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		return REFUSED_DUPLICATED;
	case F_SETOWN:
	case F_SETOWN_EX:
	case F_SETSIG:
		return REFUSED_ASYNC_OWNER;
	case F_SETFL:
		return (long)argument & O_ASYNC ? REFUSED_ASYNC_OWNER : REFUSED_NOT;
	default:
		return REFUSED_NOT;
	}
}

static int control(int (*real)(int, int, ...), int fd, int command, void *argument)
{
	struct call call = fdtable_enter(fd);

	if (call.hidden)
		return process_bad_descriptor();
	if (!call.connection)
		return real(fd, command, argument);
	enum refusal refusal = refusal_for(command, argument);
	if (refusal != REFUSED_NOT)
		connection_refuse(call.connection, refusal);
	int result = real(fd, command, argument);
	process_leave(call, false);
	return result;
}

/* As glibc does: whatever the third argument is, or is not, it is passed on. */

int fcntl(int fd, int command, ...)
{
	va_list arguments;

	va_start(arguments, command);
	void *argument = va_arg(arguments, void *);
	va_end(arguments);
	return control(libc()->fcntl, fd, command, argument);
}

int fcntl64(int fd, int command, ...)
{
	va_list arguments;

	va_start(arguments, command);
	void *argument = va_arg(arguments, void *);
	va_end(arguments);
	return control(libc()->fcntl64, fd, command, argument);
}

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

/* Before something is put on a number: if the number is a hidden one of ours, it is the program's
 * for the asking. */
static void make_way(int number)
{
	struct connection *connection = fdtable_get(number);

	if (connection && connection_hides(connection, number) && process_may_pool())
		pool_evict(&process_pool, connection, number);
}

/* After it: what was on that number is closed. */
static void note_replaced(int fd, int number)
{
	struct connection *connection = fdtable_get(number);

	if (connection && fd != number && !connection_hides(connection, number) &&
		process_may_pool())
		process_end(number, connection);
}

int dup2(int fd, int to)
{
	struct call call = fdtable_enter(fd);

	if (call.hidden)
		return process_bad_descriptor();
	if (call.connection && fd != to)
		connection_refuse(call.connection, REFUSED_DUPLICATED);
	make_way(to);
	int result = libc()->dup2(fd, to);
	if (result >= 0)
		note_replaced(fd, to);
	if (call.connection)
		process_leave(call, false);
	return result;
}

int dup3(int fd, int to, int flags)
{
	struct call call = fdtable_enter(fd);

	if (call.hidden)
		return process_bad_descriptor();
	if (call.connection && fd != to)
		connection_refuse(call.connection, REFUSED_DUPLICATED);
	make_way(to);
	int result = libc()->dup3(fd, to, flags);
	if (result >= 0)
		note_replaced(fd, to);
	if (call.connection)
		process_leave(call, false);
	return result;
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

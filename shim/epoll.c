/* epoll_ctl(): which sets a connection is in. */

#include "shim/libc.h"
#include "shim/process.h"

int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	struct call call = fdtable_enter(fd);

	if (call.hidden)
		return process_bad_descriptor();
	int result = libc()->epoll_ctl(epfd, op, fd, event);
	if (call.connection)
		process_leave(call, result == 0 && connection_watch(call, epfd, op, event));
	return result;
}

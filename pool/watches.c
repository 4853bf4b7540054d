#include "pool/watches.h"

#include <errno.h>
#include <stddef.h>

static struct watch *find(struct watches *watches, int epfd)
{
	for (unsigned i = 0; i < watches->count; i++)
		if (watches->entries[i].epfd == epfd)
			return &watches->entries[i];
	return NULL;
}

bool watches_record(struct watches *watches, int epfd, int op, const struct epoll_event *event)
{
	struct watch *watch = find(watches, epfd);

	if (op == EPOLL_CTL_DEL) {
		if (watch)
			*watch = watches->entries[--watches->count];
		return true;
	}
	/* Added twice: so the number now means another set than the one that was noted. */
	if (watch && op == EPOLL_CTL_ADD)
		return false;
	if (!watch) {
		if (watches->count == WATCHES_MAX)
			return false;
		watch = &watches->entries[watches->count++];
	}
	*watch = (struct watch){.epfd = epfd, .events = event->events, .data = event->data.u64};
	return true;
}

bool watches_remove(const struct pool_os *os, struct watches *watches, int fd)
{
	struct epoll_event unused = {0}; /* Linux before 2.6.9 wanted one: epoll_ctl(2), BUGS */

	/* Only a success shows that the number still means the set that was meant: where a set was
	 * closed and the number used again, the answer is an error. */
	while (watches->count > 0) {
		if (os->watch(watches->entries[watches->count - 1].epfd, EPOLL_CTL_DEL, fd,
			    &unused) < 0)
			return false;
		watches->count--;
	}
	return true;
}

bool watches_restore(const struct pool_os *os, const struct watches *watches, int fd)
{
	for (unsigned i = 0; i < watches->count; i++) {
		const struct watch *watch = &watches->entries[i];
		struct epoll_event event = {.events = watch->events, .data.u64 = watch->data};
		if (os->watch(watch->epfd, EPOLL_CTL_ADD, fd, &event) < 0)
			return false;
	}
	return true;
}

/* A one-shot registration may have fired, and an exclusive one cannot be changed: epoll_ctl(2). */
static bool is_asked_for(const struct watch *watch)
{
	return watch->events & (EPOLLONESHOT | EPOLLEXCLUSIVE);
}

/* Is fd in this set? 0; or what the kernel says. */
static int ask(const struct pool_os *os, struct watch *watch, int fd)
{
	struct epoll_event event = {.events = watch->events, .data.u64 = watch->data};

	return is_asked_for(watch) ? os->watched_events(watch->epfd, fd, &watch->events)
				   : os->watch(watch->epfd, EPOLL_CTL_MOD, fd, &event);
}

bool watches_hold(const struct pool_os *os, struct watches *watches, int fd)
{
	for (unsigned i = 0; i < watches->count; i++)
		if (ask(os, &watches->entries[i], fd) < 0)
			return false;
	return true;
}

void watches_forget_closed(const struct pool_os *os, struct watches *watches, int fd)
{
	for (unsigned i = watches->count; i-- > 0;) {
		int error = ask(os, &watches->entries[i], fd);
		/* epoll_ctl(2): not in that set; not open; no epoll set. */
		if (error == -ENOENT || error == -EBADF || error == -EINVAL || error == -EPERM)
			watches->entries[i] = watches->entries[--watches->count];
	}
}

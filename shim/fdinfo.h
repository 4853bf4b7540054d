/* What the kernel says of an epoll set, and no call does: proc(5), /proc/PID/fdinfo. */
#pragma once

#include <stdint.h>

/* The events that fd is registered for in this set now: a registration with EPOLLONESHOT that has
 * fired has nothing left but its flags. 0, or -errno: -ENOENT if fd is not in it. */
int fdinfo_watched_events(int epfd, int fd, uint32_t *events);

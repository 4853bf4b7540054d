/* The epoll sets that one connection is in, as far as the program's epoll_ctl() calls show.
 *
 * The kernel keys a registration by open file and number (epoll(7), question 6), so it must be
 * taken out before the file is kept under another number, or it would go on firing with a pointer
 * that the program has freed; and it must be made again when another file takes the number.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "pool/os.h"

#define WATCHES_MAX 3

struct watch {
	int epfd;
	uint32_t events;
	uint64_t data;
};

struct watches {
	uint8_t count;
	struct watch entries[WATCHES_MAX];
};

/* The program's epoll_ctl(epfd, op, ...) has succeeded; event may be NULL for EPOLL_CTL_DEL.
 * false if it cannot be remembered: there is no room, or epfd was another set before. */
bool watches_record(struct watches *watches, int epfd, int op, const struct epoll_event *event);

/* Takes fd out of every set. false if one of them did not say that fd was in it. */
bool watches_remove(const struct pool_os *os, struct watches *watches, int fd);

/* Is fd in each of these sets, and can it be put back as if nothing had happened? What is noted of
 * them is as they are now, then. */
bool watches_hold(const struct pool_os *os, struct watches *watches, int fd);

/* Forgets the sets that are not open any more; or whose numbers mean others, in which fd is not. */
void watches_forget_closed(const struct pool_os *os, struct watches *watches, int fd);

/* Puts fd into each of these sets. */
bool watches_restore(const struct pool_os *os, const struct watches *watches, int fd);

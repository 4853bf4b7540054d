/* Descriptors of our own that are no connections. As connections are, they are on hidden numbers,
 * with entries in the table: to name one gives EBADF, who closes all leaves them alone, and who
 * wants the number for something else gets it.
 *
 * A program may still close one by means that cannot be seen, and then the number is its own: so
 * nothing is done to one whose identity has not been looked at just before.
 */
#pragma once

#include <stdbool.h>

#include "pool/connection.h"

enum own {
	OWN_SET,  /* epoll set: the keeper's */
	OWN_BELL, /* eventfd, always readable, and in that set; to wake the keeper */
	OWN_PAGE, /* memfd: shim/status.h */
	OWN_COUNT
};

/* An entry of the table that is none of a connection. */
extern struct connection own_entries[OWN_COUNT];

static inline bool own_is_entry(const struct connection *entry)
{
	return entry >= own_entries && entry < own_entries + OWN_COUNT;
}

/* Is what the table has such an entry for still ours? If not, the entry is forgotten. */
bool own_hides(int fd, const struct connection *entry);

/* The number, if it is still ours, else -1. */
int own_number(enum own which);

/* What was just opened, and is nobody's yet, moves to a hidden number. Returns that, or -errno. */
int own_keep(enum own which, int low);

/* Opens OWN_SET and OWN_BELL, of which each is known by the other. */
bool own_open_set(void);

/* Makes the set report the bell, or not. False if there is no set. */
bool own_ring(bool on);

/* Closes both of them, if they are still ours. */
void own_close_set(void);
void own_close_page(void);

/* The program is short of descriptors: closes all that are ours, for good. Returns how many. */
unsigned own_give_way(void);

/* The number is wanted by the program. */
void own_make_way(int fd);

/* In a forked child, which has copies of the parent's: before anything is done to connections, as
 * those copies are of the same set. */
void own_after_fork_in_child(void);

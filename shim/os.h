/* The real system, for the pool: struct pool_os over raw system calls and the descriptor table. */
#pragma once

#include "pool/os.h"

extern const struct pool_os real_os;

/* Reads RLIMIT_NOFILE: hidden numbers begin where four fifths of it end, if it is a low one.
 * Returns how many descriptors may be parked at most: a fifth. At start, and whenever it has
 * changed. */
long os_measure_room(void);

/* Is this number, the lowest that was free, in the last fifth, or nearly? */
bool os_is_crowded(int fd);

/* No hidden number is below this one. */
int os_hidden_from(void);

/* May this be the hidden number of a connection? */
bool os_may_hide(int fd);

/* At start: the memory of this process is the one that os_claim_copied_memory() is about. */
void os_mark_memory(void);

/* Is this a child that has a copy of that memory, and does not know it yet? True once, for the
 * thread that is then to begin anew. Where the kernel is older than Linux 4.14 this is never known.
 */
bool os_claim_copied_memory(void);

/* A line in the log about a connection; why may be empty. */
void os_log(int level, const struct connection *connection, const char *event, const char *why);

/* Moves a new descriptor of ours out of the program's way. -errno is handed on. */
int os_move_to_hidden(int low);
int os_copy_to_hidden(int number);

/* A thread of ours (shim/bare_thread.h) does not call clock_gettime(), which may be another
 * preloaded library's; but goes by the same time: it is set before by the thread that makes it. */
void os_before_bare_thread(void);
void os_in_bare_thread(void);

/* In a forked child: it has another thread id, and memory of its own. */
void os_after_fork_in_child(void);

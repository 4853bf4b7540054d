/* The real system, for the pool: struct pool_os over raw system calls and the descriptor table. */
#pragma once

#include "pool/os.h"

extern const struct pool_os real_os;

/* Where hidden numbers begin, and how many parked connections there may be at most: a fifth of the
 * descriptors that the process may have. */
struct descriptor_room {
	int hidden_base;
	long parked_most;
};

/* Reads RLIMIT_NOFILE. Called once, at start. */
struct descriptor_room os_measure_room(void);

/* A line in the log about a connection; why may be empty. */
void os_log(int level, const struct connection *connection, const char *event, const char *why);

/* In a forked child: it has another thread id. */
void os_after_fork_in_child(void);

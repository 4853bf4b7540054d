/* The socket options that a program set on one connection, and how to make a parked connection
 * like the fresh socket that it is to replace.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "pool/os.h"

#define OPTIONS_MAX      12
#define OPTION_VALUE_MAX 16

struct option {
	int level, name;
	uint8_t size;
	uint8_t value[OPTION_VALUE_MAX];
};

struct options {
	uint8_t count;
	bool lends_nodelay; /* TCP_NODELAY is on, and the program does not know: options_apply() */
	struct option entries[OPTIONS_MAX]; /* one per level and name, the latest value */
};

/* The program has set this option, with success. false if the connection can no longer be pooled:
 * the option is one that cannot be undone, or would keep every later socket from being like it (a
 * FIXED one after connect()), or its size is odd, or there are too many. No more of value is read
 * than the kernel has read. */
bool options_record(struct options *options, int level, int name, const void *value, socklen_t size,
	bool connected);

/* Was this option, an int, set to this value? */
bool options_have(const struct options *options, int level, int name, int value);

/* Sets every one of them on a socket that has none of them yet. 0, or -errno. */
int options_set_all(const struct pool_os *os, int fd, const struct options *options);

/* SO_SNDTIMEO or SO_RCVTIMEO, as far as it was set, in milliseconds, rounded up; 0: none. */
long options_timeout_ms(const struct options *options, int name);

/* Can a connection with options parked be made like a socket with options fresh? Pure. */
bool options_match(const struct options *parked, const struct options *fresh);

/* Where the program says nothing of TCP_NODELAY it is switched on. On a fresh connection the server
 * acknowledges at once, so a small write after another is not held back; on a used one it delays
 * its acknowledgement (tcp(7), TCP_QUICKACK), and Nagle's algorithm would wait for that: 40 ms.
 *
 * Makes the connection on parked_fd, of which options_match() said that it can be done, like the
 * socket on fresh_fd, and *parked like *fresh. 0, or -errno with some options changed. */
int options_apply(const struct pool_os *os, int parked_fd, struct options *parked, int fresh_fd,
	const struct options *fresh);

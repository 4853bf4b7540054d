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
	struct option entries[OPTIONS_MAX]; /* one per level and name, the latest value */
};

/* The program has set this option, with success. false if the connection can no longer be pooled:
 * the option is one that cannot be undone, its value is too long, or there are too many. */
bool options_record(
	struct options *options, int level, int name, const void *value, socklen_t size);

/* Was this option, an int, set to this value? */
bool options_have(const struct options *options, int level, int name, int value);

/* Can a connection with options parked be made like a socket with options fresh? Pure. */
bool options_match(const struct options *parked, const struct options *fresh);

/* Makes the connection on parked_fd, of which options_match() said that it can be done, like the
 * socket on fresh_fd, and *parked like *fresh. 0, or -errno with some options changed. */
int options_apply(const struct pool_os *os, int parked_fd, struct options *parked, int fresh_fd,
	const struct options *fresh);

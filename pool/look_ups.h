/* What one thread has resolved lately, to tell which name its next connect() is for where an
 * address has several. It belongs to the thread: no lock, and no system call.
 *
 * Who resolves a name connects next, as a rule, in the same thread, and to the answer's other
 * addresses if the first one fails. A program that resolves several names first, and connects then,
 * or connects later to what it remembers, cannot be followed; and is not.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "pool/names.h"

#define LOOK_UPS_MAX 4

struct look_up {
	const struct name *name; /* or name_itself, name_stranger; NULL: there was none */
	bool used;               /* by a connect() */
	uint8_t count;
	uint32_t addresses[NAME_ADDRESSES_MAX]; /* hashes; 0: connected to since */
};

/* Zero is none. */
struct look_ups {
	struct look_up list[LOOK_UPS_MAX]; /* the latest first */
	bool batch; /* more were made than are remembered, before the first of them was used */
};

/* The thread has resolved this name; NULL: it was not learned. */
void look_ups_note(struct look_ups *ups, const struct name *name, const struct answer *answer);

/* The thread connects to this endpoint. The result is the name that it was resolved by, for
 * endpoint.name of names_tell(); NULL: that is not certain. A look-up tells of each of its
 * addresses once. */
const struct name *look_ups_use(struct look_ups *ups, const struct endpoint *endpoint);

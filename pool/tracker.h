/* A protocol tracker: follows one protocol on one connection, to know when it is idle.
 *
 * A tracker never allocates, never blocks, never fails and never sees a descriptor. It may be
 * stopped at any byte. Not understanding is not an error: it is a refusal, and a connection for
 * which a tracker has once refused is never reused. That is the safety argument of this project.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "pool/refusal.h"

/* Room for any tracker's state, inside the connection. */
#define TRACKER_STATE_MAX 192

/* Enough of a client's first bytes for every tracker to know its own. */
#define TRACKER_PREFIX_MAX 24

enum recognition {
	RECOGNISED_NO,   /* another protocol */
	RECOGNISED_MORE, /* so far it could be ours */
	RECOGNISED_YES,
};

struct tracker {
	const char *name;  /* as written in settings, statistics and the README */
	size_t state_size; /* at most TRACKER_STATE_MAX; all-zero is the initial state */

	/* Are these the first bytes that a client of this protocol sends? len is at least 1 and at
	 * most TRACKER_PREFIX_MAX; at TRACKER_PREFIX_MAX the answer is not RECOGNISED_MORE. */
	enum recognition (*recognise)(const uint8_t *data, size_t len);

	/* The program sent or received these bytes, in this order on the connection. data is NULL
	 * where len bytes moved that nobody could see (sendfile, splice, MSG_TRUNC): allowed only
	 * where their content does not matter. */
	void (*sent)(void *state, const uint8_t *data, size_t len);
	void (*received)(void *state, const uint8_t *data, size_t len);

	/* REFUSED_NOT if the connection is idle: every request answered in full, nobody asked to
	 * close. REFUSED_BUSY while an exchange is under way; any other refusal is for good. */
	enum refusal (*verdict)(const void *state);
};

/* The tracker that a rule prescribes, as enum proto; NULL: by the first bytes. */
const struct tracker *tracker_of(long proto);

/* The tracker that knows these first bytes of a client. Returns NULL with *undecided true while
 * more bytes are needed, NULL with *undecided false if no tracker knows them. */
const struct tracker *tracker_for(const uint8_t *data, size_t len, _Bool *undecided);

/* A protocol tracker: follows one protocol on one connection, to know when it is idle.
 *
 * A tracker never allocates, never blocks, never fails and never sees a descriptor. It may be
 * stopped at any byte. Not understanding is not an error: it is a refusal, and a connection for
 * which a tracker has once refused is never reused. That is the safety argument of this project.
 */
#pragma once

#include <stdbool.h>
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

/* What the bytes of a connection tell besides whether it is idle. */
struct tracker_facts {
	/* There is a request without its answer, perhaps partly sent, and neither it nor any that
	 * follows it changes anything when it is sent once more. */
	bool repeatable;
	/* All that was sent since the last answer is the beginning of one request, which nobody can
	 * act on before the rest has come. */
	bool unfinished;
	bool lost; /* where a message begins or ends is not known any more */
	/* Hashes of the host that the first request was for, and the latest one; 0: not known, or
	 * it does not matter. */
	uint32_t first_host, host;
	uint32_t keeps_ms; /* how long the server keeps the connection when it is idle; 0: not known
			    */
};

/* What makes a connection as it was when it was new. */
struct tracker_reset {
	const char *question;
	size_t question_len;
	const char *answer; /* the only one that will do, at most TRACKER_ANSWER_MAX bytes */
	size_t answer_len;
	bool costs; /* until it is reset the connection costs the server something, or others: asked
		     * only of one that has answered so before */
};

#define TRACKER_ANSWER_MAX 32

/* A goodbye is no longer than this: that of memcached's binary protocol is the longest. */
#define GOODBYE_MAX 24

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
	 * close. REFUSED_BUSY while an exchange is under way; REFUSED_STATE if it is idle, but is
	 * not, or may not be, as a new one: reset() may help. Any other refusal is for good. */
	enum refusal (*verdict)(const void *state);

	/* Asked while the verdict is REFUSED_STATE: what the server must be asked for, and must
	 * have answered, with not a byte more or less, before the connection is used again. NULL:
	 * nothing helps, in this state. The function is NULL where the protocol has no such thing.
	 */
	const struct tracker_reset *(*reset)(const void *state);

	/* The server has answered so. NULL: the state is all-zero again. */
	void (*was_reset)(void *state);

	/* Are these bytes, whole, a goodbye: a command after which the server closes the
	 * connection, and which does nothing else? Asked while the verdict is REFUSED_NOT or
	 * REFUSED_STATE, about bytes that were not sent. NULL: the protocol has none. */
	bool (*is_goodbye)(const void *state, const uint8_t *data, size_t len);
	uint32_t goodbye_lens; /* 1 << n: one may be n bytes long; at most GOODBYE_MAX */

	/* NULL: it knows nothing. */
	struct tracker_facts (*facts)(const void *state);
};

/* The tracker that a rule prescribes, as enum proto; NULL: by the first bytes. */
const struct tracker *tracker_of(long proto);

/* The tracker that knows these first bytes of a client. Returns NULL with *undecided true while
 * more bytes are needed, NULL with *undecided false if no tracker knows them. */
const struct tracker *tracker_for(const uint8_t *data, size_t len, _Bool *undecided);

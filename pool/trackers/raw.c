#include "pool/trackers/raw.h"

/* Whose turn it was last. What was sent, and how much, is not known; only the order is. */
enum raw_state {
	NOTHING_YET = 0,
	ASKED,    /* the program sent last: an answer is outstanding */
	ANSWERED, /* the server sent last */
	GREETED,  /* it did before it was asked, and will not again: for ever */
};

struct raw {
	uint8_t state; /* enum raw_state */
};

_Static_assert(sizeof(struct raw) <= TRACKER_STATE_MAX, "");

/* Never by its first bytes. */
static enum recognition recognise(const uint8_t *data, size_t len)
{
	(void)data, (void)len;
	return RECOGNISED_NO;
}

static void sent(void *state, const uint8_t *data, size_t len)
{
	struct raw *raw = state;

	(void)data, (void)len;
	if (raw->state != GREETED)
		raw->state = ASKED;
}

static void received(void *state, const uint8_t *data, size_t len)
{
	struct raw *raw = state;

	(void)data, (void)len;
	if (raw->state == NOTHING_YET)
		raw->state = GREETED;
	else if (raw->state == ASKED)
		raw->state = ANSWERED;
}

/* That the answer was all there, and was the last one, is for the user to know, who wrote the rule;
 * and for the kernel to deny: nothing unread, nothing unsent, no end. */
static enum refusal verdict(const void *state)
{
	static const enum refusal refusals[] = {
		[NOTHING_YET] = REFUSED_UNUSED,
		[ASKED] = REFUSED_BUSY,
		[ANSWERED] = REFUSED_NOT,
		[GREETED] = REFUSED_SERVER_FIRST,
	};

	return refusals[((const struct raw *)state)->state];
}

const struct tracker raw_tracker = {
	.name = "raw",
	.state_size = sizeof(struct raw),
	.recognise = recognise,
	.sent = sent,
	.received = received,
	.verdict = verdict,
};

/* Conversations between a client and a server, for tests of trackers: what went each way, and the
 * verdict at the end. The verdict must not depend on how the bytes came in pieces, so each
 * conversation is fed whole, cut in two at every byte of every step, and byte by byte. */
#pragma once

#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pool/tracker.h"

#define CONVERSATION_STEPS_MAX 12

struct step {
	char direction;    /* > sent, < received, 0 after the last step */
	const char *bytes; /* NULL: they moved unseen */
	size_t len;
};

struct conversation {
	const char *claim;
	struct step steps[CONVERSATION_STEPS_MAX];
	const char *verdict; /* a word of refusals.inc, or "none" */
};

#define SENT(text)                                                                                 \
	{                                                                                          \
		'>', text, sizeof(text) - 1                                                        \
	}
#define RECEIVED(text)                                                                             \
	{                                                                                          \
		'<', text, sizeof(text) - 1                                                        \
	}
#define SENT_UNSEEN(count)                                                                         \
	{                                                                                          \
		'>', NULL, count                                                                   \
	}
#define RECEIVED_UNSEEN(count)                                                                     \
	{                                                                                          \
		'<', NULL, count                                                                   \
	}

/* The size of the pieces, or the place of the only cut. */
struct cut {
	size_t step, at; /* if piece is 0 */
	size_t piece;
};

/* A copy of the bytes that ends where a page ends, so that reading one byte more crashes. */
static const uint8_t *at_end_of_page(const char *bytes, size_t len)
{
	static uint8_t *end;

	if (!end) {
		const size_t page = sysconf(_SC_PAGESIZE), room = 512 * 1024;
		uint8_t *area = mmap(NULL, room + page, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		cr_assert(area != MAP_FAILED);
		end = area + room;
		cr_assert(mprotect(end, page, PROT_NONE) == 0);
	}
	return memcpy(end - len, bytes, len);
}

static void feed_piece(
	const struct tracker *tracker, void *state, char direction, const char *bytes, size_t len)
{
	const uint8_t *data = bytes ? at_end_of_page(bytes, len) : NULL;

	if (len == 0)
		return;
	if (direction == '>')
		tracker->sent(state, data, len);
	else
		tracker->received(state, data, len);
}

static void feed_step(
	const struct tracker *tracker, void *state, const struct step *step, size_t piece)
{
	for (size_t at = 0, len; at < step->len; at += len) {
		len = step->len - at < piece ? step->len - at : piece;
		feed_piece(tracker, state, step->direction, step->bytes ? step->bytes + at : NULL,
			len);
	}
}

static const char *verdict_after(
	const struct tracker *tracker, const struct conversation *told, struct cut cut)
{
	_Alignas(max_align_t) uint8_t state[TRACKER_STATE_MAX] = {0};

	for (size_t i = 0; i < CONVERSATION_STEPS_MAX && told->steps[i].direction; i++) {
		const struct step *step = &told->steps[i];

		if (cut.piece) {
			feed_step(tracker, state, step, cut.piece);
		} else if (i == cut.step) {
			feed_piece(tracker, state, step->direction, step->bytes, cut.at);
			feed_piece(tracker, state, step->direction,
				step->bytes ? step->bytes + cut.at : NULL, step->len - cut.at);
		} else {
			feed_step(tracker, state, step, step->len);
		}
	}
	return refusal_word(tracker->verdict(state));
}

static void expect_verdict(
	const struct tracker *tracker, const struct conversation *told, struct cut cut)
{
	const char *verdict = verdict_after(tracker, told, cut);

	cr_expect_str_eq(verdict, told->verdict,
		"%s: \"%s\", not \"%s\" (in pieces of %zu, or step %zu cut at %zu)", told->claim,
		verdict, told->verdict, cut.piece, cut.step, cut.at);
}

static void expect_verdict_however_cut(
	const struct tracker *tracker, const struct conversation *told)
{
	expect_verdict(tracker, told, (struct cut){.piece = SIZE_MAX});
	expect_verdict(tracker, told, (struct cut){.piece = 1});
	for (size_t i = 0; i < CONVERSATION_STEPS_MAX && told->steps[i].direction; i++) {
		for (size_t at = 1; at < told->steps[i].len; at++)
			expect_verdict(tracker, told, (struct cut){.step = i, .at = at});
	}
}

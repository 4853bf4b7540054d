/* However the bytes of a conversation are cut into pieces, the HTTP/1.x tracker knows the same of
 * it; what it refused stays refused; and it never calls a connection idle that it would not have
 * recognised. */
#include "tests/fuzz/fuzz.h"

#include "pool/trackers/http1.h"

struct tracked {
	_Alignas(max_align_t) uint8_t state[TRACKER_STATE_MAX];
	uint32_t cuts; /* varies the lengths of pieces; 0: as they are */
	size_t largest;
};

/* Each in memory of its own, where the address sanitizer sees a byte read too far. */
static void feed_copy(struct tracked *tracked, const struct piece *piece, size_t at, size_t len)
{
	uint8_t *copy = NULL;

	if (!piece->unseen) {
		copy = malloc(len);
		MUST(copy);
		memcpy(copy, piece->bytes + at, len);
	}
	if (piece->sent)
		http1_tracker.sent(tracked->state, copy, len);
	else
		http1_tracker.received(tracked->state, copy, len);
	free(copy);
}

static void feed(struct tracked *tracked, const struct piece *piece)
{
	for (size_t at = 0, len; at < piece->len; at += len) {
		const size_t rest = piece->len - at;

		tracked->cuts = tracked->cuts * 1664525 + 1013904223;
		len = tracked->largest ? 1 + (tracked->cuts >> 16) % tracked->largest : rest;
		if (len > rest)
			len = rest;
		feed_copy(tracked, piece, at, len);
	}
}

static void must_agree(const struct tracked *one, const struct tracked *other)
{
	const struct http1_facts facts = http1_facts(one->state);
	const struct http1_facts others = http1_facts(other->state);

	MUST(http1_tracker.verdict(one->state) == http1_tracker.verdict(other->state));
	MUST(facts.exchanges == others.exchanges);
	MUST(facts.keep_alive_timeout == others.keep_alive_timeout);
	MUST(facts.keep_alive_max == others.keep_alive_max);
	MUST(facts.general.repeatable == others.general.repeatable);
	MUST(facts.general.unfinished == others.general.unfinished);
	MUST(facts.general.first_host == others.general.first_host);
	MUST(facts.general.host == others.general.host);
	MUST(facts.general.keeps_ms == others.general.keeps_ms);
}

static bool is_for_good(enum refusal refusal)
{
	return refusal != REFUSED_NOT && refusal != REFUSED_BUSY && refusal != REFUSED_UNUSED;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tracked whole = {0}, bytewise = {.largest = 1}, cut = {.largest = 13, .cuts = size};
	uint8_t prefix[TRACKER_PREFIX_MAX];
	size_t prefix_len = 0;
	struct piece piece;

	while (next_piece(&data, &size, &piece)) {
		const enum refusal before = http1_tracker.verdict(whole.state);

		feed(&whole, &piece);
		feed(&bytewise, &piece);
		feed(&cut, &piece);
		must_agree(&whole, &bytewise);
		must_agree(&whole, &cut);

		for (size_t i = 0; piece.sent && i < piece.len; i++) {
			if (prefix_len < sizeof(prefix))
				prefix[prefix_len++] = piece.bytes[i];
		}

		const enum refusal after = http1_tracker.verdict(whole.state);

		MUST(!is_for_good(before) || after == before);
		if (after == REFUSED_NOT)
			MUST(http1_tracker.recognise(prefix, prefix_len) == RECOGNISED_YES);
	}
	return 0;
}

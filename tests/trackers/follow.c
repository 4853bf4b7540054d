/* Follows a conversation that somebody else has, as the pool would: says the tracker's verdict
 *after each piece of it.
 *
 * Standard input is records: a byte for what it is, the length of the rest (4 bytes, the lowest
 * first), and the rest. A line of standard output answers each.
 *
 *	>	the client sent this          the verdict
 *	<	the client received this      the verdict
 *	?	what is the server asked?     question and answer, in hexadecimal
 *	!	it has answered so            the verdict
 *	g	is this a goodbye?            yes or no
 *
 * The tracker is the one that knows the first bytes sent; until there is one, the verdict is
 * "unknown_protocol". */
#include <stdio.h>
#include <stdlib.h>

#include "pool/tracker.h"

struct followed {
	const struct tracker *tracker;
	uint8_t prefix[TRACKER_PREFIX_MAX]; /* sent while there is no tracker */
	size_t prefix_len;
	_Alignas(max_align_t) uint8_t state[TRACKER_STATE_MAX];
};

static const char *verdict_on(const struct followed *followed)
{
	if (!followed->tracker)
		return refusal_word(REFUSED_UNKNOWN_PROTOCOL);
	return refusal_word(followed->tracker->verdict(followed->state));
}

static void print_hexadecimal(const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		printf("%02x", (uint8_t)bytes[i]);
}

static void print_reset(const struct followed *followed)
{
	const struct tracker_reset *reset = followed->tracker->reset(followed->state);

	print_hexadecimal(reset->question, reset->question_len);
	printf(" ");
	print_hexadecimal(reset->answer, reset->answer_len);
	printf("\n");
}

static void recognise(struct followed *followed, const uint8_t *bytes, size_t len)
{
	size_t taken = 0;
	bool undecided;

	while (taken < len && followed->prefix_len < TRACKER_PREFIX_MAX)
		followed->prefix[followed->prefix_len++] = bytes[taken++];
	followed->tracker = tracker_for(followed->prefix, followed->prefix_len, &undecided);
	if (!followed->tracker)
		return;
	followed->tracker->sent(followed->state, followed->prefix, followed->prefix_len);
	if (taken < len)
		followed->tracker->sent(followed->state, bytes + taken, len - taken);
}

static void follow(struct followed *followed, int what, const uint8_t *bytes, size_t len)
{
	const struct tracker *tracker = followed->tracker;

	if (!tracker) {
		if (what == '>')
			recognise(followed, bytes, len);
		puts(verdict_on(followed));
		return;
	}
	if (what == '?') {
		print_reset(followed);
		return;
	}
	if (what == 'g') {
		puts(tracker->is_goodbye(followed->state, bytes, len) ? "yes" : "no");
		return;
	}
	if (what == '!')
		tracker->was_reset(followed->state);
	else if (what == '>')
		tracker->sent(followed->state, bytes, len);
	else
		tracker->received(followed->state, bytes, len);
	puts(verdict_on(followed));
}

static size_t length_of(const uint8_t *head)
{
	return head[1] | head[2] << 8 | head[3] << 16 | (size_t)head[4] << 24;
}

int main(void)
{
	static struct followed followed;
	uint8_t head[5];

	while (fread(head, 1, sizeof(head), stdin) == sizeof(head)) {
		const size_t len = length_of(head);
		uint8_t *bytes = malloc(len + 1);

		if (!bytes || fread(bytes, 1, len, stdin) != len)
			return 1;
		follow(&followed, head[0], bytes, len);
		free(bytes);
		fflush(stdout);
	}
	return 0;
}

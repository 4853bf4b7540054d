/* What the tracker of redis says of conversations, told on standard input as records: a byte for
 * what it is, four for its length (little endian), and its bytes.
 *
 *   > or <  sent or received
 *   n       a new connection
 *   r       it was reset
 *   ?       prints the verdict, what RESET would do, and what may be sent again */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pool/trackers/resp.h"

static _Alignas(max_align_t) unsigned char state[TRACKER_STATE_MAX];

static void say(void)
{
	const enum refusal refusal = resp_tracker.verdict(state);
	const bool helps = refusal == REFUSED_STATE && resp_tracker.reset(state);

	printf("%s %s %s\n", refusal_word(refusal), helps ? "reset" : "-",
		resp_tracker.facts(state).repeatable ? "repeatable" : "-");
}

static void obey(int what, const unsigned char *bytes, size_t len)
{
	if (what == '>')
		resp_tracker.sent(state, bytes, len);
	else if (what == '<')
		resp_tracker.received(state, bytes, len);
	else if (what == 'n')
		memset(state, 0, sizeof(state));
	else if (what == 'r')
		resp_tracker.was_reset(state);
	else
		say();
}

int main(void)
{
	unsigned char head[5];

	while (fread(head, sizeof(head), 1, stdin) == 1) {
		const size_t len = head[1] | head[2] << 8 | head[3] << 16;
		unsigned char *bytes = malloc(len + 1);

		if (!bytes || fread(bytes, 1, len, stdin) != len)
			return 1;
		obey(head[0], bytes, len);
		fflush(stdout);
		free(bytes);
	}
	return 0;
}

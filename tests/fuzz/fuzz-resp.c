/* However the bytes of a conversation are cut into pieces, the tracker of redis knows the same of
 * it; what it refused stays refused. And where it says idle, or that only a state is to be undone,
 * two others that read all the bytes at once must have found nothing but whole commands and as many
 * whole replies: a simple one here, and hiredis, which knows RESP 2. */
#include "tests/fuzz/fuzz.h"

#include <hiredis/read.h>

#include "pool/trackers/resp.h"

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
		resp_tracker.sent(tracked->state, copy, len);
	else
		resp_tracker.received(tracked->state, copy, len);
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

static const struct tracker_reset *reset_of(const struct tracked *tracked)
{
	return resp_tracker.verdict(tracked->state) == REFUSED_STATE
		       ? resp_tracker.reset(tracked->state)
		       : NULL;
}

static void must_agree(const struct tracked *one, const struct tracked *other)
{
	static const uint8_t quit[] = "QUIT\r\n";
	const struct tracker_facts facts = resp_tracker.facts(one->state);
	const struct tracker_facts others = resp_tracker.facts(other->state);

	MUST(resp_tracker.verdict(one->state) == resp_tracker.verdict(other->state));
	MUST(reset_of(one) == reset_of(other));
	MUST(facts.repeatable == others.repeatable);
	MUST(facts.unfinished == others.unfinished);
	MUST(facts.lost == others.lost);
	MUST(resp_tracker.is_goodbye(one->state, quit, sizeof(quit) - 1) ==
		resp_tracker.is_goodbye(other->state, quit, sizeof(quit) - 1));
}

static bool is_for_good(const struct tracked *tracked)
{
	const enum refusal refusal = resp_tracker.verdict(tracked->state);

	return refusal != REFUSED_NOT && refusal != REFUSED_BUSY && refusal != REFUSED_UNUSED &&
	       !reset_of(tracked);
}

/* ---- a simple reader of all the bytes at once ---- */

struct text {
	const uint8_t *at, *end;
};

/* A line without its end, as a string that lives until the next one. NULL: there is none. */
static const char *line_of(struct text *text)
{
	static char line[512];
	const uint8_t *lf = memchr(text->at, '\n', text->end - text->at);

	if (!lf)
		return NULL;
	size_t len = lf - text->at;
	if (len > 0 && lf[-1] == '\r')
		len--;
	snprintf(line, sizeof(line), "%.*s", (int)len, (const char *)text->at);
	text->at = lf + 1;
	return line;
}

static bool skip_bulk(struct text *text, long len)
{
	if (len < 0)
		return true;
	if (text->end - text->at < len + 2 || memcmp(text->at + len, "\r\n", 2) != 0)
		return false;
	text->at += len + 2;
	return true;
}

/* How many whole commands there are; -1: something else is, too. */
static long count_commands(struct text text)
{
	long commands = 0;

	while (text.at < text.end) {
		const char *line = line_of(&text);

		if (!line)
			return -1;
		if (line[0] != '*') {
			commands += line[strspn(line, " \t")] != '\0';
			continue;
		}
		const long arguments = atol(line + 1);

		for (long i = 0; i < arguments; i++) {
			line = line_of(&text);
			if (!line || line[0] != '$' || !skip_bulk(&text, atol(line + 1)))
				return -1;
		}
		commands += arguments > 0;
	}
	return commands;
}

/* Something that hiredis, which is of before RESP 3, does not know. */
static bool is_new;

static bool skip_reply(struct text *text);

static bool skip_replies(struct text *text, long count)
{
	for (long i = 0; i < count; i++) {
		/* Pushes stand by themselves. */
		if (text->at < text->end && *text->at == '>')
			return false;
		if (!skip_reply(text))
			return false;
	}
	return true;
}

static bool skip_chunks(struct text *text)
{
	for (;;) {
		const char *line = line_of(text);

		if (!line || line[0] != ';')
			return false;
		const long len = atol(line + 1);
		if (len == 0)
			return true;
		if (!skip_bulk(text, len))
			return false;
	}
}

static bool skip_stream(struct text *text, bool pairs)
{
	for (;;) {
		if (text->at < text->end && *text->at == '.')
			return line_of(text);
		if (!skip_replies(text, pairs ? 2 : 1))
			return false;
	}
}

static bool skip_reply(struct text *text)
{
	const char *line = line_of(text);

	if (!line || !line[0])
		return false;
	const char type = line[0];
	const long count = atol(line + 1);
	is_new |= !strchr("+-:$*", type) || line[1] == '?';
	if (strchr("+-:,(#_", type))
		return true;
	if (line[1] == '?')
		return type == '$' ? skip_chunks(text) : skip_stream(text, type == '%');
	if (strchr("$!=", type))
		return skip_bulk(text, count);
	if (type == '|')
		return skip_replies(text, 2 * count) && skip_reply(text);
	return strchr("*~%>", type) && skip_replies(text, type == '%' ? 2 * count : count);
}

/* How many whole replies there are, without pushes; -1: something else is, too. */
static long count_replies(struct text text)
{
	long replies = 0;

	while (text.at < text.end) {
		replies += *text.at != '>';
		if (!skip_reply(&text))
			return -1;
	}
	return replies;
}

/* What hiredis says; -2: there is what it does not know. */
static long count_with_hiredis(struct text text)
{
	redisReader *reader = redisReaderCreateWithFunctions(NULL);
	long replies = 0;
	void *reply;

	MUST(reader && redisReaderFeed(reader, (const char *)text.at, text.end - text.at) == 0);
	do {
		reply = NULL;
		if (redisReaderGetReply(reader, &reply) != REDIS_OK)
			replies = -2;
		else if (reply)
			replies++;
	} while (reply && replies > 0);
	/* Too deep for it, or an integer with zeros in front. */
	if (replies == -2)
		MUST(is_new || strstr(reader->errstr, "nested") ||
			strstr(reader->errstr, "Bad integer"));
	else if (reader->pos != reader->len)
		replies = -1;
	redisReaderFree(reader);
	return replies;
}

struct bytes {
	uint8_t *data;
	size_t len;
};

static void append(struct bytes *bytes, const struct piece *piece)
{
	bytes->data = realloc(bytes->data, bytes->len + piece->len + 1);
	MUST(bytes->data);
	memcpy(bytes->data + bytes->len, piece->bytes, piece->len);
	bytes->len += piece->len;
}

static struct text text_of(const struct bytes *bytes)
{
	return (struct text){bytes->data, bytes->data + bytes->len};
}

/* Are there commands among them whose replies cannot be counted? */
static bool may_be_uncounted(const struct bytes *sent)
{
	static const char *const words[] = {"subscribe", "monitor", "reply"};

	for (size_t at = 0; at < sent->len; at++)
		for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
			if (strlen(words[i]) <= sent->len - at &&
				strncasecmp((char *)sent->data + at, words[i], strlen(words[i])) ==
					0)
				return true;
	return false;
}

static void must_be_idle(const struct bytes *sent, const struct bytes *received)
{
	const long commands = count_commands(text_of(sent));
	const size_t prefix = sent->len < TRACKER_PREFIX_MAX ? sent->len : TRACKER_PREFIX_MAX;

	MUST(commands > 0);
	is_new = false;
	MUST(count_replies(text_of(received)) == commands);
	const long hiredis = count_with_hiredis(text_of(received));
	MUST(is_new || hiredis == commands || hiredis == -2);
	if (sent->data[0] == '*' && sent->data[1] != '0' && sent->data[1] != '-')
		MUST(resp_tracker.recognise(sent->data, prefix) == RECOGNISED_YES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tracked whole = {0}, bytewise = {.largest = 1}, cut = {.largest = 13, .cuts = size};
	struct bytes sent = {0}, received = {0};
	struct piece piece;

	while (next_piece(&data, &size, &piece)) {
		const enum refusal before = resp_tracker.verdict(whole.state);
		const bool was_for_good = is_for_good(&whole);

		feed(&whole, &piece);
		feed(&bytewise, &piece);
		feed(&cut, &piece);
		must_agree(&whole, &bytewise);
		must_agree(&whole, &cut);
		MUST(!was_for_good || resp_tracker.verdict(whole.state) == before);
		append(piece.sent ? &sent : &received, &piece);
		if (resp_tracker.verdict(whole.state) == REFUSED_NOT ||
			(reset_of(&whole) && !may_be_uncounted(&sent)))
			must_be_idle(&sent, &received);
	}
	free(sent.data);
	free(received.data);
	return 0;
}

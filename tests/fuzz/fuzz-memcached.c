/* However the bytes of a conversation are cut into pieces, the memcached tracker knows the same of
 * it; what it refused stays refused; and where it calls a connection idle, a parser that has the
 * whole conversation in hand, and that knows nothing of when what came, finds that every command is
 * answered, to the last byte on both sides. */
#include "tests/fuzz/fuzz.h"

#include "pool/trackers/memcached.h"

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
		memcached_tracker.sent(tracked->state, copy, len);
	else
		memcached_tracker.received(tracked->state, copy, len);
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
	const struct tracker_facts facts = memcached_tracker.facts(one->state);
	const struct tracker_facts others = memcached_tracker.facts(other->state);

	MUST(memcached_tracker.verdict(one->state) == memcached_tracker.verdict(other->state));
	MUST(facts.repeatable == others.repeatable);
	MUST(facts.unfinished == others.unfinished);
	MUST(facts.lost == others.lost);
	MUST(!facts.lost || (!facts.repeatable && !facts.unfinished));
	MUST(!facts.host && !facts.first_host && !facts.keeps_ms);
}

static bool is_for_good(enum refusal refusal)
{
	return refusal != REFUSED_NOT && refusal != REFUSED_BUSY && refusal != REFUSED_UNUSED &&
	       refusal != REFUSED_STATE;
}

/* ---- another parser ---- */

/* All that went one way. Unseen bytes are dots. */
struct heard {
	uint8_t bytes[64 * 1024];
	size_t len, at;
};

static void hear(struct heard *heard, const struct piece *piece)
{
	MUST(piece->len <= sizeof(heard->bytes) - heard->len);
	if (piece->unseen)
		memset(heard->bytes + heard->len, '.', piece->len);
	else
		memcpy(heard->bytes + heard->len, piece->bytes, piece->len);
	heard->len += piece->len;
}

static bool is_over(const struct heard *heard)
{
	return heard->at == heard->len;
}

static void skip(struct heard *heard, size_t len)
{
	MUST(len <= heard->len - heard->at);
	heard->at += len;
}

/* The words of a line, as strings. */
struct words {
	char line[64 * 1024];
	const char *word[8];
	const char *last;
	unsigned count;
	bool quiet; /* a later one begins with q */
};

static void read_words(struct heard *heard, struct words *words)
{
	const uint8_t *begin = heard->bytes + heard->at;
	const uint8_t *end = memchr(begin, '\n', heard->len - heard->at);
	char *rest;

	MUST(end);
	memcpy(words->line, begin, end - begin);
	words->line[end - begin] = '\0';
	if (end > begin && end[-1] == '\r')
		words->line[end - begin - 1] = '\0';
	heard->at += end + 1 - begin;

	words->count = 0;
	words->quiet = false;
	words->last = "";
	for (char *word = strtok_r(words->line, " ", &rest); word;
		word = strtok_r(NULL, " ", &rest)) {
		if (words->count < 8)
			words->word[words->count] = word;
		words->quiet = words->quiet || (words->count > 1 && *word == 'q');
		words->count++;
		words->last = word;
	}
	for (unsigned i = words->count; i < 8; i++)
		words->word[i] = "";
}

static bool is_one_of(const char *word, const char *list)
{
	const size_t len = strlen(word);

	for (const char *at = list; len && (at = strstr(at, word)); at++) {
		if ((at == list || at[-1] == ' ') && (at[len] == ' ' || !at[len]))
			return true;
	}
	return false;
}

static void skip_data(struct heard *heard, const char *length)
{
	skip(heard, strtoul(length, NULL, 10));
	MUST(heard->at + 2 <= heard->len);
	MUST(memcmp(heard->bytes + heard->at, "\r\n", 2) == 0);
	heard->at += 2;
}

/* A command, of which only its name is needed, and whether it may be silent. */
static bool next_command(struct heard *sent, char *name, size_t size)
{
	static struct words words;

	read_words(sent, &words);
	snprintf(name, size, "%s%s", words.word[0],
		strcmp(words.word[1], "reset") == 0 && *words.word[0] == 's' ? " reset" : "");
	if (is_one_of(name, "set add replace append prepend cas"))
		skip_data(sent, words.word[4]);
	else if (strcmp(name, "ms") == 0)
		skip_data(sent, words.word[2]);
	if (*name == 'm')
		return words.quiet && !is_one_of(name, "me mn");
	return words.count > 1 && strcmp(words.last, "noreply") == 0 &&
	       is_one_of(name,
		       "set add replace append prepend cas incr decr touch flush_all verbosity "
		       "delete") &&
	       (words.count > 2 || strcmp(name, "delete") != 0);
}

/* Reads one answer to a command of this name, if there is one. */
static bool next_answer(struct heard *received, const char *name)
{
	static struct words words;
	const size_t begin = received->at;
	bool more = true;

	while (more && !is_over(received)) {
		read_words(received, &words);
		const char *word = words.word[0];

		more = false;
		if (strcmp(word, "VALUE") == 0 && is_one_of(name, "get gets gat gats")) {
			MUST(words.count == (name[strlen(name) - 1] == 's' ? 5 : 4));
			skip_data(received, words.word[3]);
			more = true;
		} else if (strcmp(word, "STAT") == 0 && strcmp(name, "stats") == 0) {
			more = true;
		} else if (strcmp(word, "VA") == 0 && is_one_of(name, "mg ma")) {
			skip_data(received, words.word[1]);
		} else if (is_one_of(name, "get gets gat gats stats") ? strcmp(word, "END") != 0
			   : is_one_of(name, "set add replace append prepend cas")
				   ? !is_one_of(word, "STORED NOT_STORED EXISTS NOT_FOUND")
			   : strcmp(name, "delete") == 0 ? !is_one_of(word, "DELETED NOT_FOUND")
			   : strcmp(name, "touch") == 0  ? !is_one_of(word, "TOUCHED NOT_FOUND")
			   : is_one_of(name, "incr decr")
				   ? strcmp(word, "NOT_FOUND") != 0 && (*word < '0' || *word > '9')
			   : is_one_of(name, "flush_all verbosity") ? strcmp(word, "OK") != 0
			   : strcmp(name, "version") == 0           ? strcmp(word, "VERSION") != 0
			   : strcmp(name, "stats reset") == 0       ? strcmp(word, "RESET") != 0
			   : strcmp(name, "mg") == 0                ? !is_one_of(word, "HD EN")
			   : strcmp(name, "ms") == 0 ? !is_one_of(word, "HD NS EX NF")
			   : strcmp(name, "md") == 0 ? !is_one_of(word, "HD NF EX")
			   : strcmp(name, "ma") == 0 ? !is_one_of(word, "HD NF NS EX")
			   : strcmp(name, "me") == 0 ? !is_one_of(word, "ME EN")
						     : strcmp(word, "MN") != 0) {
			received->at = begin;
			return false;
		}
	}
	MUST(!more || begin == received->at);
	return received->at > begin;
}

static uint32_t big_endian(const uint8_t *bytes, unsigned count)
{
	uint32_t number = 0;

	for (unsigned i = 0; i < count; i++)
		number = number << 8 | bytes[i];
	return number;
}

static bool is_quiet(uint8_t opcode)
{
	return opcode == 0x09 || opcode == 0x0d || (opcode >= 0x11 && opcode <= 0x1a) ||
	       opcode == 0x1e || opcode == 0x24;
}

static const uint8_t *next_frame(struct heard *heard, uint8_t magic)
{
	const uint8_t *frame = heard->bytes + heard->at;

	skip(heard, 24);
	MUST(frame[0] == magic);
	skip(heard, big_endian(frame + 8, 4));
	return frame;
}

static bool next_binary_answer(struct heard *received, uint8_t opcode)
{
	while (!is_over(received)) {
		const size_t begin = received->at;
		const uint8_t *frame = next_frame(received, 0x81);

		if (frame[1] != opcode) {
			received->at = begin;
			return false;
		}
		if (opcode != 0x10 || big_endian(frame + 2, 2) == 0)
			return true;
	}
	return false;
}

/* Every command in turn takes the answer that comes next, if it could be its. */
static void must_be_over(struct heard *sent, struct heard *received)
{
	const bool binary = sent->len && sent->bytes[0] == 0x80;
	char name[32];

	sent->at = received->at = 0;
	while (!is_over(sent)) {
		if (binary) {
			const uint8_t opcode = next_frame(sent, 0x80)[1];

			MUST(next_binary_answer(received, opcode) || is_quiet(opcode));
		} else {
			const bool may_be_silent = next_command(sent, name, sizeof(name));

			if (!may_be_silent || *name == 'm')
				MUST(next_answer(received, name) || may_be_silent);
		}
	}
	MUST(is_over(received));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tracked whole = {0}, bytewise = {.largest = 1}, cut = {.largest = 13, .cuts = size};
	static struct heard sent, received;
	uint8_t prefix[TRACKER_PREFIX_MAX];
	struct piece piece;

	if (size > sizeof(sent.bytes))
		return 0;
	sent.len = received.len = 0;
	while (next_piece(&data, &size, &piece)) {
		const enum refusal before = memcached_tracker.verdict(whole.state);

		feed(&whole, &piece);
		feed(&bytewise, &piece);
		feed(&cut, &piece);
		must_agree(&whole, &bytewise);
		must_agree(&whole, &cut);
		hear(piece.sent ? &sent : &received, &piece);

		const enum refusal after = memcached_tracker.verdict(whole.state);

		MUST(!is_for_good(before) || after == before);
		if (after != REFUSED_NOT && after != REFUSED_STATE)
			continue;
		must_be_over(&sent, &received);

		const size_t prefix_len = sent.len < sizeof(prefix) ? sent.len : sizeof(prefix);

		memcpy(prefix, sent.bytes, prefix_len);
		MUST(memcached_tracker.recognise(prefix, prefix_len) == RECOGNISED_YES);
		MUST(memcached_tracker.reset(whole.state));
	}
	return 0;
}

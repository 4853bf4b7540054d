#include "pool/trackers/memcached.h"

#include <assert.h>
#include <string.h>

#include "pool/trackers/memcached_parts.h"

static_assert(sizeof(struct memcached) <= TRACKER_STATE_MAX, "the state lives inside a connection");
static_assert(REFUSAL_COUNT <= UINT8_MAX, "memcached.refusal");

/* ---- what is outstanding ---- */

static struct run *oldest(struct memcached *memcached)
{
	return &memcached->queue[memcached->first];
}

static void drop_oldest(struct memcached *memcached)
{
	memcached->first = (memcached->first + 1) % RUNS_MAX;
	memcached->runs--;
}

/* i counts from the oldest. */
static const struct run *run_at(const struct memcached *memcached, unsigned i)
{
	return &memcached->queue[(memcached->first + i) % RUNS_MAX];
}

void memcached_asked(struct memcached *memcached, uint8_t kind, uint8_t flags)
{
	const unsigned end = (memcached->first + memcached->runs) % RUNS_MAX;
	struct run *last = &memcached->queue[(end + RUNS_MAX - 1) % RUNS_MAX];

	if (memcached->runs && last->kind == kind && last->flags == flags &&
		last->count < UINT16_MAX) {
		last->count++;
	} else if (memcached->runs == RUNS_MAX) {
		lose(memcached, REFUSED_BUSY);
	} else {
		memcached->queue[end] = (struct run){.count = 1, .kind = kind, .flags = flags};
		memcached->runs++;
	}
}

/* Where it could be the answer of several commands it is taken for that of the oldest: at worst
 * something seems outstanding that is not. */
bool memcached_answers(struct memcached *memcached, uint64_t kinds)
{
	while (memcached->runs) {
		if (kinds >> oldest(memcached)->kind & 1)
			return true;
		if (!(oldest(memcached)->flags & SILENT)) {
			lose(memcached, REFUSED_MALFORMED);
			return false;
		}
		drop_oldest(memcached);
	}
	lose(memcached, REFUSED_UNSOLICITED);
	return false;
}

void memcached_answered(struct memcached *memcached)
{
	if (--oldest(memcached)->count == 0)
		drop_oldest(memcached);
	memcached->open = true;
}

void memcached_begin(struct memcached *memcached, struct message *message, enum phase phase)
{
	*message = (struct message){.phase = phase};
	if (message == &memcached->request || memcached->runs)
		return;
	lose(memcached,
		memcached->request.phase == START ? REFUSED_UNSOLICITED : REFUSED_EARLY_RESPONSE);
}

/* Is there a command that must be answered? */
static bool is_awaited(const struct memcached *memcached)
{
	for (unsigned i = 0; i < memcached->runs; i++) {
		if (!(run_at(memcached, i)->flags & SILENT))
			return true;
	}
	return false;
}

static bool changes_nothing(const struct memcached *memcached)
{
	for (unsigned i = 0; i < memcached->runs; i++) {
		if (run_at(memcached, i)->flags & CHANGES)
			return false;
	}
	return true;
}

/* ---- the tracker ---- */

static enum recognition recognise(const uint8_t *data, size_t len)
{
	return data[0] == BINARY_REQUEST ? memcached_recognise_binary(data, len)
					 : memcached_recognise_text(data, len);
}

static void read_message(
	struct memcached *memcached, struct message *message, const uint8_t *data, size_t len)
{
	if (memcached->lost)
		return;
	if (memcached->binary)
		memcached_read_binary(memcached, message, data, len);
	else
		memcached_read_text(memcached, message, data, len);
}

static void sent(void *state, const uint8_t *data, size_t len)
{
	struct memcached *memcached = state;

	if (!memcached->begun) {
		memcached->begun = true;
		memcached->binary = data && data[0] == BINARY_REQUEST;
	}
	read_message(memcached, &memcached->request, data, len);
}

static void received(void *state, const uint8_t *data, size_t len)
{
	struct memcached *memcached = state;

	read_message(memcached, &memcached->answer, data, len);
}

static enum refusal verdict(const void *state)
{
	const struct memcached *memcached = state;

	if (memcached->refusal)
		return memcached->refusal;
	if (!memcached->begun)
		return REFUSED_UNUSED;
	if (memcached->request.phase != START || memcached->answer.phase != START ||
		is_awaited(memcached))
		return REFUSED_BUSY;
	/* Whether silent commands are done, and have said nothing, only a later answer tells. */
	return memcached->runs ? REFUSED_STATE : REFUSED_NOT;
}

/* Commands that do nothing and are answered in turn, "mn" since memcached 1.6: what came before
 * them is done, and has said nothing where theirs is the first answer. */
static const struct tracker_reset *reset(const void *state)
{
	static const struct tracker_reset text = {"mn\r\n", 4, "MN\r\n", 4, false};
	static const struct tracker_reset binary = {
		"\x80\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", BINARY_HEADER_SIZE,
		"\x81\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", BINARY_HEADER_SIZE, false};

	return ((const struct memcached *)state)->binary ? &binary : &text;
}

static_assert(BINARY_HEADER_SIZE <= TRACKER_ANSWER_MAX, "the answer to a no-op");

static void was_reset(void *state)
{
	struct memcached *memcached = state;

	*memcached = (struct memcached){.begun = true, .binary = memcached->binary, .open = true};
}

static bool is_goodbye(const void *state, const uint8_t *data, size_t len)
{
	const struct memcached *memcached = state;
	const enum refusal idle = verdict(state);

	if (idle != REFUSED_NOT && idle != REFUSED_STATE)
		return false;
	if (memcached->binary)
		return memcached_is_binary_goodbye(data, len);
	return len == 6 && memcmp(data, "quit\r\n", 6) == 0;
}

static bool is_repeatable(const struct memcached *memcached)
{
	const struct message *request = &memcached->request;

	if (memcached->lost || !changes_nothing(memcached))
		return false;
	if (request->phase == START)
		return memcached->runs > 0;
	return memcached->binary ? memcached_reads_binary(request) : memcached_reads_text(request);
}

/* memcached looks for a key as soon as it is there, and makes room for the value. */
static bool is_unfinished(const struct memcached *memcached)
{
	const struct message *request = &memcached->request;

	if (memcached->lost || memcached->runs)
		return false;
	switch ((enum phase)request->phase) {
	case WORD:
	case BETWEEN:
	case ARGUMENT:
	case LINE_LF:
	case HEADER:
		return true;
	case BODY:
		return request->left > request->size;
	default:
		return false;
	}
}

static struct tracker_facts facts(const void *state)
{
	const struct memcached *memcached = state;

	return (struct tracker_facts){
		.repeatable = is_repeatable(memcached),
		.unfinished = is_unfinished(memcached),
		.lost = memcached->lost,
	};
}

const struct tracker memcached_tracker = {
	.name = "memcached",
	.state_size = sizeof(struct memcached),
	.recognise = recognise,
	.sent = sent,
	.received = received,
	.verdict = verdict,
	.reset = reset,
	.was_reset = was_reset,
	.is_goodbye = is_goodbye,
	.goodbye_lens = 1U << 6 | 1U << 24,
	.facts = facts,
};

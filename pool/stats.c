#include "pool/stats.h"

const char *discard_word(enum discard discard)
{
	/* In the order of the enum. */
	static const char words[] =
#define DISCARD(identifier, word, meaning) word "\0"
#include "pool/discards.inc"
#undef DISCARD
		;

	return text_nth(words, discard);
}

static const char *discard_word_at(unsigned discard)
{
	return discard_word((enum discard)discard);
}

static const char *refusal_word_at(unsigned refusal)
{
	return refusal_word((enum refusal)refusal);
}

static void add_member(struct text *text, const char *word, uint64_t value)
{
	text_add_json(text, word);
	text_add(text, ":");
	text_add_number(text, (int64_t)value);
}

static void add_reasons(struct text *text, const char *name, const _Atomic uint64_t *counters,
	unsigned count, const char *(*word)(unsigned))
{
	bool first = true;

	text_add_json(text, name);
	text_add(text, ":{");
	for (unsigned i = 0; i < count; i++) {
		uint64_t value = atomic_load_explicit(&counters[i], memory_order_relaxed);
		if (value == 0)
			continue;
		if (!first)
			text_add(text, ",");
		first = false;
		add_member(text, word(i), value);
	}
	text_add(text, "}");
}

void stats_add_json(struct text *text, const struct stats *stats)
{
#define COUNTER(field, word, meaning)                                                              \
	add_member(text, word, atomic_load_explicit(&stats->field, memory_order_relaxed));         \
	text_add(text, ",");
#include "pool/counters.inc"
#undef COUNTER
	add_reasons(text, "discarded", stats->discarded, DISCARD_COUNT, discard_word_at);
	text_add(text, ",");
	add_reasons(text, "refused", stats->refused, REFUSAL_COUNT, refusal_word_at);
}

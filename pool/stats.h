/* What the pool has done, in numbers. All of them only grow; they may be read at any time. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "pool/refusal.h"
#include "pool/text.h"

enum discard {
#define DISCARD(identifier, word, meaning) DISCARDED_##identifier,
#include "pool/discards.inc"
#undef DISCARD
	DISCARD_COUNT,
};

struct stats {
#define COUNTER(field, word, meaning) _Atomic uint64_t field;
#include "pool/counters.inc"
#undef COUNTER
	_Atomic uint64_t discarded[DISCARD_COUNT];
	_Atomic uint64_t refused[REFUSAL_COUNT];
};

const char *discard_word(enum discard discard);

static inline void stats_count(_Atomic uint64_t *counter)
{
	atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* The counters as members of a JSON object, without its braces; of the reasons only those that
 * occurred. */
void stats_add_json(struct text *text, const struct stats *stats);

#include "pool/refusal.h"

static const struct {
	const char *word, *meaning;
} refusals[REFUSAL_COUNT] = {
	[REFUSED_NOT] = {"none", "nothing speaks against it"},
#define REFUSAL(identifier, word, meaning) [REFUSED_##identifier] = {word, meaning},
#include "pool/refusals.inc"
#undef REFUSAL
};

const char *refusal_word(enum refusal refusal)
{
	return refusals[refusal].word;
}

const char *refusal_meaning(enum refusal refusal)
{
	return refusals[refusal].meaning;
}

#include "pool/refusal.h"

#include "pool/text.h"

/* In the order of the enum. */
static const char words[] = "none\0"
#define REFUSAL(identifier, word, meaning) word "\0"
#include "pool/refusals.inc"
#undef REFUSAL
	;

static const char meanings[] = "nothing speaks against it\0"
#define REFUSAL(identifier, word, meaning) meaning "\0"
#include "pool/refusals.inc"
#undef REFUSAL
	;

const char *refusal_word(enum refusal refusal)
{
	return text_nth(words, refusal);
}

const char *refusal_meaning(enum refusal refusal)
{
	return text_nth(meanings, refusal);
}

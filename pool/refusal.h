/* Refusals: the reasons why a close() was a real close. The table is refusals.inc. */
#pragma once

enum refusal {
	REFUSED_NOT = 0, /* nothing speaks against it */
#define REFUSAL(identifier, word, meaning) REFUSED_##identifier,
#include "pool/refusals.inc"
#undef REFUSAL
	REFUSAL_COUNT,
};

/* The word by which logs, statistics and the README know this refusal; never NULL. */
const char *refusal_word(enum refusal refusal);

/* One plain sentence for people; never NULL. */
const char *refusal_meaning(enum refusal refusal);

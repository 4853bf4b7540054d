/* What is learned of a service point's server: for how long it keeps connections that are idle, and
 * whether connections of it can be relied on. What is learned is forgotten after a while, as
 * servers change.
 *
 * Without the lock; thread-safe.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct learning {
	_Atomic uint32_t keeps_ms;       /* 0: nothing is known */
	_Atomic uint32_t deaths;         /* that it is known by, at separate moments */
	_Atomic uint64_t died_ms;        /* the last one of them */
	_Atomic uint32_t quarantine_ms;  /* how long the next quarantine will be, at least */
	_Atomic uint64_t keeps_until_ms; /* when that is forgotten */
	_Atomic uint64_t quarantined_until_ms;
};

#define LEARNING_KEEPS_MS           600000
#define LEARNING_DEATHS             3    /* that make a habit; a server may just start again */
#define LEARNING_MOMENT_MS          1000 /* all in such a time are one */
#define LEARNING_QUARANTINE_FIRST   1000
#define LEARNING_QUARANTINE_LONGEST 300000

/* A connection that was idle for so long was found dead: others get four fifths of that. */
void learning_death(struct learning *learning, uint32_t idle_ms, uint64_t now_ms);

/* A reused connection has failed, or said what nobody had asked for: none is reused for a second,
 * then for two, and so on, up to five minutes. true if a new quarantine has begun. */
bool learning_failure(struct learning *learning, uint64_t now_ms);

/* A reused connection that was idle for so long has answered: the next quarantine is half as long;
 * and if others had died younger, that was not for their age. */
void learning_success(struct learning *learning, uint32_t idle_ms);

/* For how long its server keeps an idle connection, as far as is known: 0 is not known. By the
 * first death, for who would rather be careful; and when it has become a habit. */
uint32_t learning_strict_ms(const struct learning *learning, uint64_t now_ms);
uint32_t learning_keeps_ms(const struct learning *learning, uint64_t now_ms);

bool learning_is_quarantined(const struct learning *learning, uint64_t now_ms);

/* All of that, to be shown. */
struct learned {
	uint32_t keeps_ms; /* learning_strict_ms() */
	bool is_habit;     /* learning_keeps_ms() says so, too */
	uint64_t keeps_until_ms, quarantined_until_ms;
};

struct learned learning_learned(const struct learning *learning, uint64_t now_ms);

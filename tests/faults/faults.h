/* What the fault server and its client agree on: the faults, and what request so and so is like.
 *
 * All of it follows from a seed and the request's id, so two runs meet the same, whatever
 * connections they have and however fast they are.
 */
#ifndef FAULTS_H
#define FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define MOST_IDS     (1u << 20)
#define MOST_BODY    (72 * 1024)
#define PATTERN      9 /* characters that a body repeats */

enum kind { HARMLESS, STALE, FATAL, RATE };

/* What a client has to do for a fault to show: a set. */
enum workload {
	THINKS = 1,  /* pauses of up to 30 ms between the requests, more than otherwise */
	SLEEPS = 2,  /* now and then one for as long as the server waits */
	EXPECTS = 4, /* Expect: 100-continue with each body */
	HOSTS = 8,   /* several names for the same address */
	ASKS = 16,   /* Connection: close, now and then */
	WAITS = 64,  /* up to 6 ms before it writes */
	LEAVES = 32, /* closes now and then before it has all of the response */
};

/* What is done to a connection. */
enum deed {
	DEED_NONE,
	DEED_CLOSE,
	DEED_RESET,
	DEED_HALF_CLOSE,
	DEED_408,    /* said unasked, and closed */
	DEED_TRAIL,  /* some bytes */
	DEED_SECOND, /* a response that nobody asked for */
	N_DEEDS
};

enum reads { READS_ALL, READS_PART, READS_NOTHING };
enum cut { CUT_NOT, CUT_INTERIM, CUT_HEAD, CUT_BODY };

/* The form of a response: a set. */
enum form {
	CHUNKED = 1,
	UNTIL_EOF = 2,
	NO_BODY = 4,
	INTERIM = 8,
	IN_PIECES = 16,
	SAYS_CLOSE = 32,
	SAYS_KEEP_ALIVE = 64,
	VERSION_1_0 = 128,
	EARLY = 256,
	ANSWERS_EXPECT = 512,
	ONE_HOST = 1024,
	GARBAGE = 2048,
	RESTARTS = 4096,
	HAS_LENGTH = 8192, /* where there should be none */
	TWO_LENGTHS = 16384,
	BODY_ANYWAY = 32768,
	AUTHENTICATES = 65536,
	IS_ASKED = 131072,
	NO_REUSE = 262144, /* it says so, or leaves it in doubt, but does not see to it itself */
};

struct plan {
	enum reads reads;
	enum deed instead; /* of a response; if none, one is given */
	unsigned form;
	enum cut cut;
	enum deed after;                 /* right after it */
	enum deed idle;                  /* when nothing came for a while */
	uint32_t idle_least, idle_most;  /* in microseconds */
	unsigned keep_timeout, keep_max; /* as announced */
};

enum fault {
#define FAULT(word, ...) FAULT_##word,
#include "faults.inc"
#undef FAULT
	N_FAULTS,
	FAULT_all = N_FAULTS /* as a mode: any of those that need no workload of their own */
};

static const struct fault_row {
	const char *word;
	enum kind kind;
	unsigned percent, workload;
	const char *what;
	struct plan plan;
} fault_rows[] __attribute__((unused)) = {
#define FAULT(word, kind, percent, workload, what, ...)                                            \
	{#word, kind, percent, workload, what, {__VA_ARGS__}},
#include "faults.inc"
#undef FAULT
};

/* ---- chance ---- */

/* What is drawn for a request; each draw is independent of the others. */
enum draw {
	DRAW_FAULT,
	DRAW_STRUCK,
	DRAW_METHOD,
	DRAW_SENDS,
	DRAW_SENDS_SIZE,
	DRAW_RETURNS,
	DRAW_RETURNS_SIZE,
	DRAW_IDLE,
	DRAW_VARIANT,
	DRAW_PAUSE,
	DRAW_PIECES,
	DRAW_CUT,
	DRAW_THINK,
	DRAW_THINK_TIME,
	DRAW_BEFORE_WRITE,
	DRAW_BEFORE_READ,
	DRAW_READ_WITH,
	DRAW_WRITE_WITH,
	DRAW_HOST,
	DRAW_FILLER,
	DRAW_ASKS,
	DRAW_LEAVES,
	DRAW_PIECE, /* and those after it, one for each piece */
};

/* splitmix64 */
static inline uint64_t mix(uint64_t z)
{
	z += 0x9e3779b97f4a7c15;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

/* from 0 to limit - 1 */
static inline uint32_t draw(uint64_t seed, uint32_t id, unsigned what, uint32_t limit)
{
	return (uint32_t)(mix(mix(mix(seed) + id) + what) >> 32) % limit;
}

/* The fault that is meant for a request. */
static inline enum fault fault_of(uint64_t seed, enum fault mode, uint32_t id)
{
	if (mode != FAULT_all) {
		bool struck = draw(seed, id, DRAW_STRUCK, 100) < fault_rows[mode].percent;
		return struck ? mode : FAULT_none;
	}
	enum fault fault = draw(seed, id, DRAW_FAULT, N_FAULTS);
	bool fits = fault_rows[fault].kind != RATE && !(fault_rows[fault].workload & ~THINKS);
	return fits && draw(seed, id, DRAW_STRUCK, 2) ? fault : FAULT_none;
}

static inline bool mode_named(const char *word, enum fault *mode)
{
	*mode = FAULT_all;
	if (!strcmp(word, "all"))
		return true;
	for (size_t i = 0; i < N_FAULTS; i++) {
		if (strcmp(word, fault_rows[i].word))
			continue;
		*mode = (enum fault)i;
		return true;
	}
	return false;
}

/* ---- requests ---- */

struct method {
	const char *word;
	unsigned percent;
	bool repeatable, has_body;
};

static const struct method methods[] __attribute__((unused)) = {
	{"GET", 60, true, false},
	{"HEAD", 8, true, false},
	{"OPTIONS", 5, true, false},
	{"TRACE", 2, true, false},
	{"POST", 18, false, true},
	{"PUT", 4, false, true},
	{"DELETE", 3, false, false},
};

struct work {
	const struct method *method;
	uint32_t sends;   /* bytes of the request's body */
	uint32_t returns; /* bytes of the response's body */
};

/* Mostly little, sometimes more than one read takes, seldom more than 64 KiB. */
static inline uint32_t draw_size(uint64_t seed, uint32_t id, unsigned what)
{
	static const uint32_t limits[] = {
		300, 300, 300, 300, 300, 6000, 6000, 6000, 20000, MOST_BODY};

	return draw(seed, id, what + 1, limits[draw(seed, id, what, COUNT(limits))]);
}

static inline struct work work_of(uint64_t seed, uint32_t id)
{
	uint32_t throw = draw(seed, id, DRAW_METHOD, 100);
	struct work work = {.method = methods};

	while (throw >= work.method->percent)
		throw -= (work.method++)->percent;
	work.returns = draw_size(seed, id, DRAW_RETURNS);
	if (work.method->has_body)
		work.sends = draw_size(seed, id, DRAW_SENDS) + 1;
	return work;
}

/* A body says throughout whose it is. */
static inline void fill_body(char *body, size_t length, uint32_t id)
{
	char pattern[PATTERN + 1];

	snprintf(pattern, sizeof(pattern), "%08x ", id);
	for (size_t i = 0; i < length; i += PATTERN)
		memcpy(body + i, pattern, length - i < PATTERN ? length - i : PATTERN);
}

/* The part of it that begins at offset. */
static inline bool body_is(const char *part, size_t length, uint32_t id, size_t offset)
{
	char pattern[PATTERN + 1];

	snprintf(pattern, sizeof(pattern), "%08x ", id);
	for (size_t i = 0; i < length; i++) {
		if (part[i] != pattern[(offset + i) % PATTERN])
			return false;
	}
	return true;
}

/* ---- time ---- */

static inline int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static inline void pause_us(uint32_t us)
{
	struct timespec time = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000L};

	if (us)
		nanosleep(&time, NULL);
}

#endif

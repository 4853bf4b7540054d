/* What the two protocols of memcached have in common. Which of them a connection speaks is settled
 * by its first byte, for good: memcached, too, looks at no other. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pool/refusal.h"
#include "pool/tracker.h"

/* The first byte of every binary request, and of every answer to one. */
#define BINARY_REQUEST 0x80
#define BINARY_ANSWER  0x81

#define BINARY_HEADER_SIZE 24

/* More runs of commands of one kind than this are not followed. */
#define RUNS_MAX 20

enum phase {
	START, /* nothing of the next message yet */

	/* text */
	WORD,
	BETWEEN, /* before an argument, or the end of the line */
	ARGUMENT,
	LINE_LF,
	DATA,
	DATA_CR,
	DATA_LF,

	/* binary */
	HEADER,
	BODY,

	GONE, /* the client has said goodbye: what it sends now nobody reads */
};

/* Of a command. */
enum {
	SILENT = 1 << 0,  /* it may get no answer even if all is well: noreply, quiet */
	CHANGES = 1 << 1, /* sending it twice may not be the same as sending it once */
};

/* The message that one direction is in the midst of. */
struct message {
	uint64_t number; /* the argument's value so far */
	uint32_t left;   /* bytes of the data or the body still to come */
	uint32_t size; /* text: bytes of the line so far; binary: of the value, at the body's end */
	uint8_t bytes[12]; /* the word, or the part of the header that matters */
	uint8_t count;     /* how many of them were read; or of the argument, or of the header */
	uint8_t phase;     /* enum phase */
	uint8_t row;       /* of the word, in its table */
	uint8_t argument;  /* which of the row's is next */
	uint8_t kind;      /* of command, see struct run */
	uint8_t flags;     /* of the command, and what else text has */
};

/* Commands of one kind, one right after the other, whose answers have not come. */
struct run {
	uint16_t count;
	uint8_t kind;  /* text: enum kind; binary: the opcode. Below 64 */
	uint8_t flags; /* of each of them */
};

struct memcached {
	struct message request, answer;
	struct run queue[RUNS_MAX]; /* a ring, the oldest run at first */
	uint8_t first, runs;
	uint16_t login_count; /* bytes of the user or the password so far */
	uint8_t login;        /* enum login: whether the value looks like one */
	bool binary;
	bool begun;      /* something was sent: binary says what it is */
	bool open;       /* it is known that this connection needs no login */
	bool lost;       /* nothing is known of where a message begins or ends */
	uint8_t refusal; /* the first one */
};

/* The messages can still be followed. */
static inline void refuse(struct memcached *memcached, enum refusal refusal)
{
	if (!memcached->refusal)
		memcached->refusal = refusal;
}

/* They cannot. */
static inline void lose(struct memcached *memcached, enum refusal refusal)
{
	refuse(memcached, refusal);
	memcached->lost = true;
}

/* A message begins, with this byte. */
void memcached_begin(struct memcached *memcached, struct message *message, enum phase phase);

/* A command was sent in full. */
void memcached_asked(struct memcached *memcached, uint8_t kind, uint8_t flags);

/* An answer has come that only commands of these kinds, a bit each, can have. Returns whether the
 * oldest command that must be answered is, or one may be that was sent before it and could have
 * been silent: then that is the oldest one now, and those before it have been silent. */
bool memcached_answers(struct memcached *memcached, uint64_t kinds);

/* The oldest command is answered in full. */
void memcached_answered(struct memcached *memcached);

void memcached_read_text(
	struct memcached *memcached, struct message *message, const uint8_t *data, size_t len);
void memcached_read_binary(
	struct memcached *memcached, struct message *message, const uint8_t *data, size_t len);

/* Are these, at least one and at most 24, the first bytes that a client of this protocol sends? */
enum recognition memcached_recognise_text(const uint8_t *data, size_t len);
enum recognition memcached_recognise_binary(const uint8_t *data, size_t len);

/* Is it known of the request, which is partly sent, that it will not change anything? */
bool memcached_reads_text(const struct message *request);
bool memcached_reads_binary(const struct message *request);

bool memcached_is_binary_goodbye(const uint8_t *data, size_t len);

/* A protocol that is nobody's, for what the pool does with any: a letter is a command, and '.' the
 * answer to each. Not a test of the trackers that there are.
 */
#pragma once

#include "tests/unit/program.h"

#define TOY_COMMAND "c"
#define TOY_LOGIN   "l" /* can be undone */
#define TOY_LISTEN  "m" /* cannot */
#define TOY_BURDEN  "b" /* costs the server something until it is undone */
#define TOY_GOODBYE "quit"
#define TOY_ANSWER  "."

#define TOY_QUESTION "undo"
#define TOY_UNDONE   "+done\r\n"

struct toy {
	uint8_t outstanding, said_goodbye;
	uint8_t logged_in, listens, burdens;
	uint8_t resets; /* was_reset() keeps it */
};

static inline enum recognition toy_recognise(const uint8_t *data, size_t len)
{
	(void)data, (void)len;
	return RECOGNISED_NO;
}

static inline void toy_sent(void *state, const uint8_t *data, size_t len)
{
	struct toy *toy = state;

	/* In pieces it is one, too, as far as the tests go. */
	if (memchr(data, TOY_GOODBYE[0], len)) {
		toy->said_goodbye = true;
		return;
	}
	for (size_t i = 0; i < len; i++) {
		toy->outstanding++;
		toy->logged_in |= data[i] == TOY_LOGIN[0];
		toy->listens |= data[i] == TOY_LISTEN[0];
		toy->burdens |= data[i] == TOY_BURDEN[0];
	}
}

static inline void toy_received(void *state, const uint8_t *data, size_t len)
{
	(void)data;
	((struct toy *)state)->outstanding -= (uint8_t)len;
}

static inline enum refusal toy_verdict(const void *state)
{
	const struct toy *toy = state;

	if (toy->said_goodbye)
		return REFUSED_SAID_GOODBYE;
	if (toy->outstanding)
		return REFUSED_BUSY;
	return toy->logged_in || toy->listens || toy->burdens ? REFUSED_STATE : REFUSED_NOT;
}

static inline const struct tracker_reset *toy_reset(const void *state)
{
#define UNDO(costs_)                                                                               \
	{                                                                                          \
		.question = TOY_QUESTION, .question_len = sizeof(TOY_QUESTION) - 1,                \
		.answer = TOY_UNDONE, .answer_len = sizeof(TOY_UNDONE) - 1, .costs = (costs_),     \
	}
	static const struct tracker_reset undo = UNDO(false), undo_burden = UNDO(true);
	const struct toy *toy = state;

	if (toy->listens)
		return NULL;
	return toy->burdens ? &undo_burden : &undo;
}

static inline void toy_was_reset(void *state)
{
	const struct toy *toy = state;

	*(struct toy *)state = (struct toy){.resets = toy->resets + 1};
}

/* What happens while it is asked whether bytes are a goodbye. */
static void (*toy_meanwhile)(void);

static inline bool toy_is_goodbye(const void *state, const uint8_t *data, size_t len)
{
	void (*meanwhile)(void) = toy_meanwhile;

	cr_assert(toy_verdict(state) == REFUSED_NOT || toy_verdict(state) == REFUSED_STATE);
	toy_meanwhile = NULL;
	if (meanwhile)
		meanwhile();
	return len == sizeof(TOY_GOODBYE) - 1 && memcmp(data, TOY_GOODBYE, len) == 0;
}

static const struct tracker toy = {
	.name = "toy",
	.state_size = sizeof(struct toy),
	.recognise = toy_recognise,
	.sent = toy_sent,
	.received = toy_received,
	.verdict = toy_verdict,
	.reset = toy_reset,
	.was_reset = toy_was_reset,
	.is_goodbye = toy_is_goodbye,
	.goodbye_lens = 1U << (sizeof(TOY_GOODBYE) - 1),
};

/* Without what is optional. */
static const struct tracker toy_that_forgets = {
	.name = "toy",
	.state_size = sizeof(struct toy),
	.recognise = toy_recognise,
	.sent = toy_sent,
	.received = toy_received,
	.verdict = toy_verdict,
	.reset = toy_reset,
};

static inline const struct toy *toy_on(int fd)
{
	return (const struct toy *)(const void *)connection_on(fd)->tracker_state;
}

/* A connection that has just been made, to speak it. */
static inline int toy_connected_to(unsigned number)
{
	int fd = connected_to(number);

	connection_on(fd)->tracker = &toy;
	return fd;
}

static inline void toy_ask(int fd, const char *commands)
{
	send_bytes(fd, commands, strlen(commands));
	for (size_t i = 0; commands[i]; i++)
		receive_bytes(fd, TOY_ANSWER, 1);
}

static inline int toy_idle(unsigned number)
{
	int fd = toy_connected_to(number);

	toy_ask(fd, TOY_COMMAND);
	return fd;
}

/* Did the server get just this, in the end? */
static inline bool toy_heard_last(const struct fake_socket *socket, const char *text)
{
	size_t len = strlen(text);

	return socket->sent_len >= len &&
	       memcmp(socket->sent + socket->sent_len - len, text, len) == 0;
}

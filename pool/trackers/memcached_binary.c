#include "pool/trackers/memcached_parts.h"

#include <string.h>

/* As in protocol_binary.h of memcached. */
enum opcode {
	GET = 0x00,
	SET = 0x01,
	ADD = 0x02,
	REPLACE = 0x03,
	DELETE = 0x04,
	INCREMENT = 0x05,
	DECREMENT = 0x06,
	QUIT = 0x07,
	FLUSH = 0x08,
	GETQ = 0x09,
	NOOP = 0x0a,
	VERSION = 0x0b,
	GETK = 0x0c,
	GETKQ = 0x0d,
	APPEND = 0x0e,
	PREPEND = 0x0f,
	STAT = 0x10,
	SETQ = 0x11,
	ADDQ = 0x12,
	REPLACEQ = 0x13,
	DELETEQ = 0x14,
	INCREMENTQ = 0x15,
	DECREMENTQ = 0x16,
	QUITQ = 0x17,
	FLUSHQ = 0x18,
	APPENDQ = 0x19,
	PREPENDQ = 0x1a,
	TOUCH = 0x1c,
	GAT = 0x1d,
	GATQ = 0x1e,
	SASL_LIST = 0x20,
	SASL_AUTH = 0x21,
	SASL_STEP = 0x22,
	GATK = 0x23,
	GATKQ = 0x24,
};

enum {
	QUIET = SILENT,
	/* and CHANGES */
	KEYED = 1 << 2, /* it has a key */
	MAY_BE_KEYED = 1 << 3,
	VALUED = 1 << 4,    /* it may have a value */
	TELLS = 1 << 5,     /* its answer may have extras */
	TELLS_KEY = 1 << 6, /* its answer may have a key */
	LOGS_IN = 1 << 7,
	GOODBYE = 1 << 8,
	NO_EXTRAS_TOO = 1 << 9,
	KNOWN = 1 << 10,
};

struct command {
	uint16_t flags;
	uint8_t extras; /* how many bytes of them it has */
};

#define STORES  (KNOWN | CHANGES | KEYED | VALUED)
#define CHANGED (KNOWN | CHANGES | KEYED)
#define READ    (KNOWN | KEYED | TELLS)

/* clang-format off */
/* What memcached asks of each, see proto_bin.c. */
static const struct command commands[] = {
	[GET]        = {READ, 0},
	[GETQ]       = {READ | QUIET, 0},
	[GETK]       = {READ | TELLS_KEY, 0},
	[GETKQ]      = {READ | TELLS_KEY | QUIET, 0},
	[SET]        = {STORES, 8},
	[SETQ]       = {STORES | QUIET, 8},
	[ADD]        = {STORES, 8},
	[ADDQ]       = {STORES | QUIET, 8},
	[REPLACE]    = {STORES, 8},
	[REPLACEQ]   = {STORES | QUIET, 8},
	[APPEND]     = {STORES, 0},
	[APPENDQ]    = {STORES | QUIET, 0},
	[PREPEND]    = {STORES, 0},
	[PREPENDQ]   = {STORES | QUIET, 0},
	[DELETE]     = {CHANGED, 0},
	[DELETEQ]    = {CHANGED | QUIET, 0},
	[INCREMENT]  = {CHANGED, 20},
	[INCREMENTQ] = {CHANGED | QUIET, 20},
	[DECREMENT]  = {CHANGED, 20},
	[DECREMENTQ] = {CHANGED | QUIET, 20},
	[TOUCH]      = {CHANGED | TELLS, 4},
	[GAT]        = {CHANGED | TELLS, 4},
	[GATQ]       = {CHANGED | TELLS | QUIET, 4},
	[GATK]       = {CHANGED | TELLS | TELLS_KEY, 4},
	[GATKQ]      = {CHANGED | TELLS | TELLS_KEY | QUIET, 4},
	[FLUSH]      = {KNOWN | CHANGES | NO_EXTRAS_TOO, 4},
	[FLUSHQ]     = {KNOWN | CHANGES | NO_EXTRAS_TOO | QUIET, 4},
	[STAT]       = {KNOWN | MAY_BE_KEYED | TELLS_KEY, 0},
	[NOOP]       = {KNOWN, 0},
	[VERSION]    = {KNOWN, 0},
	[QUIT]       = {KNOWN | GOODBYE, 0},
	[QUITQ]      = {KNOWN | GOODBYE | QUIET, 0},
	[SASL_LIST]  = {KNOWN | LOGS_IN, 0},
	[SASL_AUTH]  = {KNOWN | LOGS_IN, 0},
	[SASL_STEP]  = {KNOWN | LOGS_IN, 0},
};
/* clang-format on */

enum status {
	SUCCESS = 0x00,
	NOT_FOUND = 0x01,
	EXISTS = 0x02,
	NOT_STORED = 0x05,
	NOT_NUMERIC = 0x06,
	LOGIN_FAILED = 0x20,
	LOGIN_GOES_ON = 0x21,
};

#define KEY_SIZE_MAX 250

/* The part of a header that matters. What follows is only handed back: opaque, and the version of
 * the value. */
struct header {
	uint8_t magic, opcode;
	uint16_t key;
	uint8_t extras, data_type;
	uint16_t status; /* of an answer; a request has the number of a bucket there, or 0 */
	uint32_t body;   /* extras, key and value */
};

#define HEADER_PART sizeof(((struct message *)NULL)->bytes)

static struct header header_of(const uint8_t *bytes)
{
	return (struct header){
		.magic = bytes[0],
		.opcode = bytes[1],
		.key = bytes[2] << 8 | bytes[3],
		.extras = bytes[4],
		.data_type = bytes[5],
		.status = bytes[6] << 8 | bytes[7],
		.body = (uint32_t)bytes[8] << 24 | bytes[9] << 16 | bytes[10] << 8 | bytes[11],
	};
}

/* The row of no command has no flags. */
static struct command command_of(uint8_t opcode)
{
	static const struct command none;

	return opcode < sizeof(commands) / sizeof(commands[0]) ? commands[opcode] : none;
}

static uint32_t value_size(const struct header *header)
{
	return header->body - header->extras - header->key;
}

static bool fits_in_body(const struct header *header)
{
	return (uint32_t)header->extras + header->key <= header->body;
}

static bool has_right_sizes(const struct header *header, struct command command)
{
	if (!fits_in_body(header) || header->key > KEY_SIZE_MAX)
		return false;
	if (header->extras != command.extras &&
		(header->extras || !(command.flags & NO_EXTRAS_TOO)))
		return false;
	if (command.flags & KEYED ? !header->key : header->key && !(command.flags & MAY_BE_KEYED))
		return false;
	return command.flags & VALUED || value_size(header) == 0;
}

static enum refusal check_request(const struct header *header)
{
	const struct command command = command_of(header->opcode);

	if (header->magic != BINARY_REQUEST || header->data_type)
		return REFUSED_MALFORMED;
	if (!(command.flags & KNOWN))
		return REFUSED_UNKNOWN_COMMAND;
	if (command.flags & LOGS_IN)
		return REFUSED_AUTHENTICATED;
	return has_right_sizes(header, command) ? REFUSED_NOT : REFUSED_LENGTH;
}

/* What is not named here may be followed by the end of the connection, as after a header that
 * memcached did not like, or by that of what it knows of it. */
static enum refusal check_status(uint16_t status)
{
	switch (status) {
	case SUCCESS:
	case NOT_FOUND:
	case EXISTS:
	case NOT_STORED:
	case NOT_NUMERIC:
		return REFUSED_NOT;
	case LOGIN_FAILED:
	case LOGIN_GOES_ON:
		return REFUSED_AUTHENTICATED;
	default:
		return REFUSED_UNKNOWN_COMMAND;
	}
}

static enum refusal check_answer(const struct header *header)
{
	const struct command command = command_of(header->opcode);

	if (header->magic != BINARY_ANSWER || header->data_type || !(command.flags & KNOWN))
		return REFUSED_MALFORMED;
	if (!fits_in_body(header) || (header->extras && !(command.flags & TELLS)) ||
		(header->key && !(command.flags & TELLS_KEY)))
		return REFUSED_LENGTH;
	return check_status(header->status);
}

static void end_header_part(struct memcached *memcached, struct message *message)
{
	const struct header header = header_of(message->bytes);
	const bool is_request = message == &memcached->request;
	const enum refusal refusal = is_request ? check_request(&header) : check_answer(&header);

	if (refusal) {
		lose(memcached, refusal);
	} else if (is_request || memcached_answers(memcached, 1ull << header.opcode)) {
		message->left = header.body;
		message->size = value_size(&header);
	}
}

static void end_request(struct memcached *memcached, const struct header *header)
{
	const struct command command = command_of(header->opcode);
	/* What a key asks for may be that the statistics are reset. */
	const bool changes = command.flags & CHANGES || (header->opcode == STAT && header->key);

	if (header->opcode != QUITQ)
		memcached_asked(memcached, header->opcode,
			(command.flags & QUIET ? SILENT : 0) | (changes ? CHANGES : 0));
	if (command.flags & GOODBYE) {
		refuse(memcached, REFUSED_SAID_GOODBYE);
		memcached->request.phase = GONE;
	}
}

static void end_message(struct memcached *memcached, struct message *message)
{
	const struct header header = header_of(message->bytes);

	message->phase = START;
	if (message == &memcached->request)
		end_request(memcached, &header);
	else if (header.opcode != STAT || !header.key)
		memcached_answered(memcached);
}

static void read_header(struct memcached *memcached, struct message *message, uint8_t byte)
{
	const bool is_request = message == &memcached->request;

	/* At once, as the server would wait for the rest: text on a connection that an earlier use
	 * has begun in binary. */
	if (message->count == 0 && byte != (is_request ? BINARY_REQUEST : BINARY_ANSWER)) {
		lose(memcached, REFUSED_MALFORMED);
		return;
	}
	if (message->count < HEADER_PART)
		message->bytes[message->count] = byte;
	message->count++;
	if (message->count == HEADER_PART)
		end_header_part(memcached, message);
	if (message->count == BINARY_HEADER_SIZE)
		message->phase = BODY;
}

void memcached_read_binary(
	struct memcached *memcached, struct message *message, const uint8_t *data, size_t len)
{
	for (size_t at = 0; at < len && !memcached->lost && message->phase != GONE;) {
		if (message->phase == BODY) {
			const size_t rest = len - at;
			const size_t count = rest < message->left ? rest : message->left;

			message->left -= count;
			at += count;
		} else if (!data) {
			lose(memcached, REFUSED_UNSEEN);
		} else {
			if (message->phase == START)
				memcached_begin(memcached, message, HEADER);
			if (!memcached->lost)
				read_header(memcached, message, data[at++]);
		}
		if (message->phase == BODY && !message->left && !memcached->lost)
			end_message(memcached, message);
	}
}

enum recognition memcached_recognise_binary(const uint8_t *data, size_t len)
{
	if (len >= 2 && !(command_of(data[1]).flags & KNOWN))
		return RECOGNISED_NO;
	if (len < HEADER_PART)
		return RECOGNISED_MORE;

	const struct header header = header_of(data);
	const enum refusal refusal = check_request(&header);

	return refusal == REFUSED_NOT || refusal == REFUSED_AUTHENTICATED ? RECOGNISED_YES
									  : RECOGNISED_NO;
}

bool memcached_reads_binary(const struct message *request)
{
	const struct header header = header_of(request->bytes);

	if (request->phase != BODY || header.opcode == STAT)
		return false;
	return !(command_of(header.opcode).flags & (CHANGES | GOODBYE));
}

bool memcached_is_binary_goodbye(const uint8_t *data, size_t len)
{
	if (len != BINARY_HEADER_SIZE)
		return false;

	const struct header header = header_of(data);

	return check_request(&header) == REFUSED_NOT && command_of(header.opcode).flags & GOODBYE;
}

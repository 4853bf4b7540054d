#include "pool/trackers/resp.h"

#include <assert.h>
#include <string.h>

/* proto-max-bulk-len, as redis has it unless it is told otherwise. */
#define BULK_MAX (512u * 1024 * 1024)

/* Arguments of a command, elements of a reply, pairs of a map. Servers before 7.0 take no more. */
#define ELEMENTS_MAX (1024u * 1024)

/* PROTO_INLINE_MAX_SIZE: where it is longer, redis closes the connection. */
#define INLINE_MAX (64u * 1024)

/* Of a count or a length. One more would not fit BULK_MAX, nor ELEMENTS_MAX. */
#define DIGITS_MAX 9

/* Of an integer: 64 bits. */
#define INTEGER_DIGITS_MAX 19

/* Replies of redis itself are no deeper than 4 or so; those of scripts may be. */
#define DEPTH_MAX 16

/* Commands without their replies: more than any memory has room for. */
#define OUTSTANDING_MAX (1u << 30)

/* As much of a line as tells whether a transaction is over, and what an error is. */
#define LINE_MAX_KEPT 24

/* ---- commands ---- */

enum {
	CHANGES = 0,
	READS = 1 << 0,
	STATE = 1 << 1,
	PUSHES = 1 << 2,
	UNCOUNTED = 1 << 3,
	MUTES = 1 << 4,
	BLOCKS = 1 << 5,
	OPENS = 1 << 6,
	EXECUTES = 1 << 7,
	CLOSES = 1 << 8,
	GOODBYE = 1 << 9,
	NEVER = 1 << 10,
	SUBCOMMANDS = 1 << 11,
	OTHERS = 1 << 12,
	RIGHTS = 1 << 13,
	UNKNOWN = 1 << 14, /* it is not in the table */
};

struct row {
	char name[34]; /* with at least one NUL; a subcommand's is after a | */
	uint16_t meaning;
};

static const struct row rows[] = {
#define COMMAND(name, meaning) {name, meaning},
#include "pool/trackers/resp_commands.inc"
#undef COMMAND
};

#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

/* Where this word stands in the table, or would. */
static const struct row *first_not_before(const char *word)
{
	size_t first = 0, end = ROW_COUNT;

	while (first < end) {
		const size_t middle = first + (end - first) / 2;

		if (strcmp(rows[middle].name, word) < 0)
			first = middle + 1;
		else
			end = middle;
	}
	return rows + first;
}

/* ---- state ---- */

enum phase {
	START, /* nothing of the next command or reply yet */

	/* of both */
	NUMBER,
	NUMBER_LF,
	BODY,
	BODY_CR,
	BODY_LF,

	/* of a command */
	ARGUMENT, /* a $ is next */
	INLINE,
	INLINE_LF,

	/* of a reply */
	ELEMENT, /* a type is next */
	CHUNK,   /* a ; is next */
	TEXT,
	SCALAR,
	LINE_LF,
};

/* Which word of a command. */
enum place {
	NAME,
	SUBCOMMAND,
	REST,
};

/* Where one direction is. */
struct side {
	uint32_t number; /* of a line that says how many or how long; or bytes of an inline command
			  */
	uint32_t left;   /* bytes of the bulk still to come */
	uint8_t phase;   /* enum phase */
	uint8_t type;    /* of what is being read: the byte that it began with */
	uint8_t digits;  /* of the number so far */
	uint8_t sign;    /* before them: 0, '-', '+', or '?' instead of them */
};

struct command {
	struct side side;
	uint32_t arguments; /* still to come */
	uint16_t meaning;   /* of the words so far */
	uint8_t place;      /* enum place */
	bool in_word;       /* of an inline command */
	uint8_t word_len;   /* WORD_TOO_LONG: it is none that is known */
	char word[sizeof(rows[0].name)];
};

#define WORD_TOO_LONG sizeof(((struct command *)0)->word)

/* In a level: how many elements are still to come, and */
#define STREAMED  (1u << 31) /* they end with a dot */
#define MAP       (1u << 30) /* ... and are pairs */
#define ODD       (1u << 29) /* ... of which one half is there */
#define ATTRIBUTE (1u << 28) /* it is not an element itself, but belongs to the next one */

struct reply {
	struct side side;
	uint32_t levels[DEPTH_MAX]; /* the outermost first */
	uint8_t depth;
	bool attributed; /* what belongs to the attribute is still to come */
	uint8_t type;    /* of the whole */
	uint8_t line_len;
	char line[LINE_MAX_KEPT]; /* how it begins, if it is one */
};

struct resp {
	struct command command;
	struct reply reply;
	uint32_t outstanding; /* commands fully sent, but not fully answered */
	/* How many answers there are until the latest of its kind has its own; 0: it has. */
	uint32_t unrepeatable, blocking, closing;
	uint16_t closes_by; /* EXECUTES or CLOSES: the one that is closing */
	uint8_t refusal;    /* the first one */
	bool lost;          /* nothing is known of where a command or reply begins or ends */
	bool used;          /* a command was answered, in this use or an earlier one */
	bool state;
	bool settled; /* an answer has come since: it is not only in what is outstanding */
	bool open;    /* there may be a transaction */
	bool pushes;
	bool uncounted;
	bool muted; /* the latest command may take away the next reply */
};

static_assert(sizeof(struct resp) <= TRACKER_STATE_MAX, "the state lives inside a connection");
static_assert(REFUSAL_COUNT <= UINT8_MAX, "resp.refusal");
static_assert(ELEMENTS_MAX * 2 < ATTRIBUTE, "resp.reply.levels");

/* Commands and replies can still be followed. */
static void refuse(struct resp *resp, enum refusal refusal)
{
	if (!resp->refusal)
		resp->refusal = refusal;
}

/* They cannot. */
static void lose(struct resp *resp, enum refusal refusal)
{
	refuse(resp, refusal);
	resp->lost = true;
}

static void expect(struct resp *resp, struct side *side, uint8_t byte, uint8_t expected, int next)
{
	if (byte != expected)
		lose(resp, REFUSED_MALFORMED);
	side->phase = next;
}

static inline bool is_digit(uint8_t byte)
{
	return byte >= '0' && byte <= '9';
}

/* ---- counts and lengths ---- */

static void begin_number(struct side *side, uint8_t type)
{
	side->phase = NUMBER;
	side->type = type;
	side->number = 0;
	side->digits = 0;
	side->sign = 0;
}

/* As string2ll() of redis: no zeros before, no plus. And -1, for nothing, or a question mark. */
static void read_number(struct resp *resp, struct side *side, uint8_t byte)
{
	if (byte == '\r') {
		const bool negative = side->sign == '-';

		if ((!side->digits && side->sign != '?') || (negative && side->number != 1))
			lose(resp, REFUSED_MALFORMED);
		side->phase = NUMBER_LF;
	} else if ((byte == '-' || byte == '?') && !side->sign && !side->digits) {
		side->sign = byte;
	} else if (!is_digit(byte) || side->sign == '?' || (side->digits && !side->number)) {
		lose(resp, REFUSED_MALFORMED);
	} else if (side->digits++ == DIGITS_MAX) {
		lose(resp, REFUSED_LENGTH);
	} else {
		side->number = side->number * 10 + (byte - '0');
	}
}

static void begin_bulk(struct resp *resp, struct side *side)
{
	if (side->number > BULK_MAX)
		lose(resp, REFUSED_LENGTH);
	side->left = side->number;
	side->phase = side->left ? BODY : BODY_CR;
}

static size_t skip_some_body(struct side *side, size_t len)
{
	const size_t count = len < side->left ? len : side->left;

	side->left -= count;
	if (!side->left)
		side->phase = BODY_CR;
	return count;
}

/* ---- what commands do ---- */

static void begin_command(struct command *command)
{
	command->place = NAME;
	command->meaning = UNKNOWN;
	command->word_len = 0;
	command->in_word = false;
}

static void read_word(struct command *command, uint8_t byte)
{
	/* The names of subcommands have a bar, and it is not for the program to put it there. */
	if (byte == '\0' || byte == '|' || command->word_len >= sizeof(command->word) - 1)
		command->word_len = WORD_TOO_LONG;
	else
		command->word[command->word_len++] =
			byte >= 'A' && byte <= 'Z' ? byte - 'A' + 'a' : byte;
}

static const struct row *row_of(struct command *command)
{
	if (command->word_len == WORD_TOO_LONG)
		return NULL;
	command->word[command->word_len] = '\0';
	const struct row *row = first_not_before(command->word);
	return row < rows + ROW_COUNT && strcmp(row->name, command->word) == 0 ? row : NULL;
}

static void end_word(struct command *command)
{
	if (command->place == REST)
		return;
	const struct row *row = row_of(command);
	if (row)
		command->meaning = row->meaning;
	else if (!(command->meaning & OTHERS))
		command->meaning = UNKNOWN;
	const bool more = row && command->place == NAME && row->meaning & SUBCOMMANDS;
	command->place = more ? SUBCOMMAND : REST;
	if (more)
		command->word[command->word_len++] = '|';
}

static void refuse_command(struct resp *resp, unsigned meaning)
{
	if (meaning & UNKNOWN)
		refuse(resp, REFUSED_UNKNOWN_COMMAND);
	else if (meaning & GOODBYE)
		refuse(resp, REFUSED_SAID_GOODBYE);
	else if (meaning & NEVER)
		refuse(resp, REFUSED_STATE);
}

static void end_command(struct resp *resp)
{
	const unsigned meaning = resp->command.meaning;

	resp->command.side.phase = START;
	refuse_command(resp, meaning);
	if (resp->outstanding == OUTSTANDING_MAX) {
		lose(resp, REFUSED_BUSY);
		return;
	}
	resp->outstanding++;
	if (!(meaning & (READS | STATE)))
		resp->unrepeatable = resp->outstanding;
	if (meaning & BLOCKS)
		resp->blocking = resp->outstanding;
	if (meaning & OPENS) {
		resp->open = true;
		resp->closing = 0;
	}
	if (meaning & (EXECUTES | CLOSES)) {
		resp->closing = resp->outstanding;
		resp->closes_by = meaning;
	}
	resp->state |= !!(meaning & (STATE | RIGHTS));
	resp->pushes |= !!(meaning & PUSHES);
	resp->uncounted |= !!(meaning & UNCOUNTED);
	resp->muted = meaning & MUTES;
	/* It may be unanswered, and nobody would know. */
	if (resp->uncounted && resp->blocking)
		refuse(resp, REFUSED_STATE);
}

/* ---- bytes into commands ---- */

/* The line that says how many arguments there are, or how long one is, has ended. */
static void end_command_number(struct resp *resp, struct command *command)
{
	struct side *side = &command->side;

	if (side->sign == '?' || (side->sign && side->type == '$')) {
		lose(resp, REFUSED_MALFORMED);
	} else if (side->type == '$') {
		begin_bulk(resp, side);
	} else if (side->sign || !side->number) {
		side->phase = START; /* redis takes it for nothing */
	} else {
		if (side->number > ELEMENTS_MAX)
			lose(resp, REFUSED_LENGTH);
		command->arguments = side->number;
		side->phase = ARGUMENT;
	}
}

static void end_argument(struct resp *resp, struct command *command)
{
	end_word(command);
	command->side.phase = ARGUMENT;
	if (--command->arguments == 0)
		end_command(resp);
}

static void end_inline_word(struct command *command)
{
	if (command->in_word)
		end_word(command);
	command->in_word = false;
}

/* sdssplitargs() of redis, without its quotes, which programs do not send: where they are wrong the
 * server closes the connection. */
static void read_inline(struct resp *resp, struct command *command, uint8_t byte)
{
	if (++command->side.number > INLINE_MAX) {
		lose(resp, REFUSED_LENGTH);
	} else if (byte == '\r' && command->side.phase == INLINE) {
		command->side.phase = INLINE_LF;
	} else if (byte == '\n') {
		end_inline_word(command);
		if (command->place == NAME)
			command->side.phase = START; /* an empty line is nothing */
		else
			end_command(resp);
	} else if (command->side.phase == INLINE_LF) {
		lose(resp, REFUSED_MALFORMED);
	} else if (byte == ' ' || byte == '\t') {
		end_inline_word(command);
	} else if (byte < ' ' || byte == 0x7f || byte == '"' || byte == '\'') {
		lose(resp, REFUSED_MALFORMED);
	} else {
		command->in_word = true;
		if (command->place != REST)
			read_word(command, byte);
	}
}

static void read_command_byte(struct resp *resp, uint8_t byte)
{
	struct command *command = &resp->command;
	struct side *side = &command->side;

	switch ((enum phase)side->phase) {
	case START:
		begin_command(command);
		begin_number(side, byte);
		if (byte == '*')
			return;
		side->phase = INLINE;
		/* fall through */
	case INLINE:
	case INLINE_LF:
		read_inline(resp, command, byte);
		break;
	case NUMBER:
		read_number(resp, side, byte);
		break;
	case NUMBER_LF:
		expect(resp, side, byte, '\n', START);
		if (!resp->lost)
			end_command_number(resp, command);
		break;
	case ARGUMENT:
		if (byte != '$')
			lose(resp, REFUSED_MALFORMED);
		begin_number(side, '$');
		break;
	case BODY:
		read_word(command, byte);
		if (--side->left == 0)
			side->phase = BODY_CR;
		break;
	case BODY_CR:
		expect(resp, side, byte, '\r', BODY_LF);
		break;
	case BODY_LF:
		expect(resp, side, byte, '\n', ARGUMENT);
		if (!resp->lost)
			end_argument(resp, command);
		break;
	default:
		__builtin_unreachable();
	}
}

/* Its bytes do not matter. */
static bool may_skip(const struct command *command)
{
	return command->side.phase == BODY &&
	       (command->place == REST || command->word_len == WORD_TOO_LONG);
}

static void sent(void *state, const uint8_t *data, size_t len)
{
	struct resp *resp = state;

	for (size_t at = 0; at < len && !resp->lost;) {
		if (may_skip(&resp->command))
			at += skip_some_body(&resp->command.side, len - at);
		else if (data)
			read_command_byte(resp, data[at++]);
		else
			lose(resp, REFUSED_UNSEEN);
	}
}

/* ---- what replies mean ---- */

/* In its full length, but for what an error says behind its first word. */
static bool says(const struct reply *reply, char type, const char *words)
{
	const size_t len = strlen(words);

	return reply->type == type && reply->line_len >= len &&
	       memcmp(reply->line, words, len) == 0 && (type == '-' || reply->line_len == len);
}

/* To EXEC in a transaction: what its commands gave, nil because of WATCH, or that they were wrong.
 * All else leaves things as they were. DISCARD, and UNWATCH where it was not queued, say OK. */
static bool is_closed_by(const struct reply *reply, unsigned meaning)
{
	if (meaning & EXECUTES)
		return reply->type == '*' || reply->type == '_' || says(reply, '-', "EXECABORT ");
	return says(reply, '+', "OK");
}

/* Errors after which redis closes the connection, or says that another server is meant, to which a
 * new connection may lead. */
static const char *const last_errors[] = {
	"ERR Protocol error",
	"ERR max number of client",
	"DENIED ",
	"READONLY ",
	"LOADING ",
	"MASTERDOWN ",
};

static void refuse_after_error(struct resp *resp)
{
	for (size_t i = 0; i < sizeof(last_errors) / sizeof(last_errors[0]); i++)
		if (says(&resp->reply, '-', last_errors[i]))
			refuse(resp, REFUSED_SERVER_ERROR);
}

static void end_reply(struct resp *resp)
{
	resp->reply.side.phase = START;
	refuse_after_error(resp);
	if (resp->uncounted || resp->reply.type == '>')
		return;
	if (resp->closing == 1 && is_closed_by(&resp->reply, resp->closes_by))
		resp->open = false;
	resp->closing -= resp->closing > 0;
	resp->unrepeatable -= resp->unrepeatable > 0;
	resp->blocking -= resp->blocking > 0;
	resp->outstanding--;
	resp->settled |= resp->state;
	resp->used = true;
}

/* ---- bytes into replies ---- */

static void expect_element(struct reply *reply, bool attributed)
{
	reply->side.phase = ELEMENT;
	reply->attributed = attributed;
}

/* An element has ended, and all those that end with it. */
static void end_element(struct resp *resp)
{
	struct reply *reply = &resp->reply;

	while (reply->depth > 0) {
		uint32_t *level = &reply->levels[reply->depth - 1];

		if (*level & STREAMED) {
			*level ^= ODD;
			expect_element(reply, false);
			return;
		}
		if ((--*level & ~ATTRIBUTE) > 0) {
			expect_element(reply, false);
			return;
		}
		reply->depth--;
		if (*level & ATTRIBUTE) {
			expect_element(reply, true);
			return;
		}
	}
	end_reply(resp);
}

static void end_stream(struct resp *resp)
{
	resp->reply.depth--;
	end_element(resp);
}

/* Is this the place for a dot? */
static bool may_end_stream(const struct reply *reply)
{
	const uint32_t level = reply->depth > 0 ? reply->levels[reply->depth - 1] : 0;

	return level & STREAMED && !reply->attributed && (level & (MAP | ODD)) != (MAP | ODD);
}

static void begin_level(struct resp *resp, uint32_t level)
{
	struct reply *reply = &resp->reply;

	if (reply->depth == DEPTH_MAX) {
		lose(resp, REFUSED_MALFORMED);
		return;
	}
	reply->levels[reply->depth++] = level;
	expect_element(reply, false);
}

/* The line that says how many elements there are has ended. */
static void begin_elements(struct resp *resp, const struct side *side)
{
	const bool pairs = side->type == '%' || side->type == '|';

	if (side->sign == '?') {
		begin_level(resp, side->type == '%' ? STREAMED | MAP : STREAMED);
	} else if (side->number > ELEMENTS_MAX) {
		lose(resp, REFUSED_LENGTH);
	} else if (side->sign || (!side->number && side->type != '|')) {
		end_element(resp);
	} else if (!side->number) {
		expect_element(&resp->reply, true);
	} else {
		begin_level(resp, (pairs ? 2 * side->number : side->number) |
					  (side->type == '|' ? ATTRIBUTE : 0));
	}
}

static void begin_reply_bulk(struct resp *resp, struct side *side)
{
	if (side->sign == '-') {
		end_element(resp);
	} else if (side->sign == '?') {
		side->phase = CHUNK;
	} else if (side->type == ';' && !side->number) {
		end_element(resp);
	} else {
		/* Three letters and a colon. */
		if (side->type == '=' && side->number < 4)
			lose(resp, REFUSED_MALFORMED);
		begin_bulk(resp, side);
	}
}

static void end_reply_number(struct resp *resp, struct side *side)
{
	/* Which may be nothing, and which may be streamed. */
	const bool may_be_null = side->type == '$' || side->type == '*';
	const bool may_stream = may_be_null || side->type == '%' || side->type == '~';

	if ((side->sign == '-' && !may_be_null) || (side->sign == '?' && !may_stream) ||
		(side->type == '>' && !side->number))
		lose(resp, REFUSED_MALFORMED);
	else if (memchr("$!=;", side->type, 4))
		begin_reply_bulk(resp, side);
	else
		begin_elements(resp, side);
}

/* May a reply begin here? */
static void begin_reply(struct resp *resp, uint8_t type)
{
	struct reply *reply = &resp->reply;

	reply->depth = 0;
	reply->line_len = 0;
	reply->attributed = false;
	if (type == '>' ? resp->pushes : resp->uncounted || resp->outstanding)
		return;
	if (type == '>' || resp->command.side.phase == START)
		lose(resp, REFUSED_UNSOLICITED);
	else
		lose(resp, REFUSED_EARLY_RESPONSE);
}

static void begin_element(struct resp *resp, uint8_t type)
{
	struct reply *reply = &resp->reply;
	struct side *side = &reply->side;
	/* Pushes stand by themselves. */
	const bool nested = reply->depth > 0 || reply->attributed;
	const bool dot = type == '.' && may_end_stream(reply);

	if (reply->depth == 0)
		reply->type = type;
	begin_number(side, type);
	if (type == '+' || type == '-')
		side->phase = TEXT;
	else if (dot || (type && memchr(":(,#_", type, 5)))
		side->phase = SCALAR;
	else if (!type || !memchr("$!=*~%|>", type, 8) || (type == '>' && nested))
		lose(resp, REFUSED_MALFORMED);
}

/* A line that is short. What it says does not matter, if it ends where it should. */
static void read_scalar(struct resp *resp, struct side *side, uint8_t byte)
{
	const bool none = side->type == '_' || side->type == '.';
	bool ok = false;

	if (byte == '\r') {
		ok = none || side->digits > 0;
		side->phase = LINE_LF;
	} else if (side->type == '#') {
		ok = (byte == 't' || byte == 'f') && side->digits++ == 0;
	} else if (side->type == ',') {
		ok = byte && (is_digit(byte) || strchr("+-.eEinfa", byte));
		side->digits = 1;
	} else if (!none && (byte == '-' || byte == '+')) {
		ok = !side->sign && !side->digits;
		side->sign = byte;
	} else if (!none) {
		ok = is_digit(byte) && (side->type == '(' || side->digits < INTEGER_DIGITS_MAX);
		side->digits = side->type == '(' ? 1 : side->digits + 1;
	}
	if (!ok)
		lose(resp, REFUSED_MALFORMED);
}

/* Some of a line that may say anything. Returns how many bytes there are up to its CR. */
static size_t read_text(struct resp *resp, const uint8_t *data, size_t len)
{
	struct reply *reply = &resp->reply;
	const uint8_t *cr = memchr(data, '\r', len);
	const size_t count = cr ? (size_t)(cr - data) : len;

	if (memchr(data, '\n', count))
		lose(resp, REFUSED_MALFORMED);
	for (size_t i = 0; reply->depth == 0 && i < count && reply->line_len < LINE_MAX_KEPT; i++)
		reply->line[reply->line_len++] = data[i];
	if (cr)
		reply->side.phase = LINE_LF;
	return count + !!cr;
}

static void read_reply_byte(struct resp *resp, uint8_t byte)
{
	struct side *side = &resp->reply.side;

	switch ((enum phase)side->phase) {
	case START:
		begin_reply(resp, byte);
		if (resp->lost)
			return;
		/* fall through */
	case ELEMENT:
		begin_element(resp, byte);
		break;
	case CHUNK:
		if (byte != ';')
			lose(resp, REFUSED_MALFORMED);
		begin_number(side, ';');
		break;
	case NUMBER:
		read_number(resp, side, byte);
		break;
	case NUMBER_LF:
		expect(resp, side, byte, '\n', START);
		if (!resp->lost)
			end_reply_number(resp, side);
		break;
	case SCALAR:
		read_scalar(resp, side, byte);
		break;
	case LINE_LF:
		expect(resp, side, byte, '\n', START);
		if (resp->lost)
			return;
		if (side->type == '.')
			end_stream(resp);
		else
			end_element(resp);
		break;
	case BODY_CR:
		expect(resp, side, byte, '\r', BODY_LF);
		break;
	case BODY_LF:
		expect(resp, side, byte, '\n', CHUNK);
		if (!resp->lost && side->type != ';')
			end_element(resp);
		break;
	default:
		__builtin_unreachable();
	}
}

static void received(void *state, const uint8_t *data, size_t len)
{
	struct resp *resp = state;
	struct side *side = &resp->reply.side;

	for (size_t at = 0; at < len && !resp->lost;) {
		if (side->phase == BODY)
			at += skip_some_body(side, len - at);
		else if (!data)
			lose(resp, REFUSED_UNSEEN);
		else if (side->phase == TEXT)
			at += read_text(resp, data + at, len - at);
		else
			read_reply_byte(resp, data[at++]);
	}
}

/* ---- the tracker ---- */

/* Is it a name in the table, or the beginning of one? */
static enum recognition recognise_name(struct command *command)
{
	if (command->word_len == WORD_TOO_LONG)
		return RECOGNISED_NO;
	if (command->side.phase != BODY)
		return row_of(command) ? RECOGNISED_YES : RECOGNISED_NO;
	command->word[command->word_len] = '\0';
	const struct row *row = first_not_before(command->word);
	return row < rows + ROW_COUNT && memcmp(row->name, command->word, command->word_len) == 0
		       ? RECOGNISED_MORE
		       : RECOGNISED_NO;
}

/* Inline commands look like those of many protocols. This one is in no other whose client speaks
 * first. */
static enum recognition recognise_inline(const uint8_t *data, size_t len)
{
	static const char ping[] = "PING\r\n";
	const size_t whole = sizeof(ping) - 1;

	if (memcmp(data, ping, len < whole ? len : whole) != 0)
		return RECOGNISED_NO;
	return len < whole ? RECOGNISED_MORE : RECOGNISED_YES;
}

static enum recognition recognise(const uint8_t *data, size_t len)
{
	struct resp resp = {0};
	const struct side *side = &resp.command.side;

	if (data[0] != '*')
		return recognise_inline(data, len);
	for (size_t i = 0; i < len; i++) {
		read_command_byte(&resp, data[i]);
		if (resp.lost || side->phase == START)
			return RECOGNISED_NO;
		if (side->phase != BODY && side->phase != BODY_CR)
			continue;
		const enum recognition name = recognise_name(&resp.command);
		if (name != RECOGNISED_MORE)
			return name;
	}
	if (len < TRACKER_PREFIX_MAX)
		return RECOGNISED_MORE;
	/* No other protocol begins like that. */
	return side->phase == BODY && resp.command.word_len ? RECOGNISED_YES : RECOGNISED_NO;
}

static bool is_at_boundary(const struct resp *resp)
{
	return resp->command.side.phase == START && resp->reply.side.phase == START;
}

static enum refusal verdict(const void *state)
{
	const struct resp *resp = state;

	if (resp->refusal)
		return resp->refusal;
	if (!is_at_boundary(resp) || resp->muted || (resp->outstanding && !resp->uncounted))
		return REFUSED_BUSY;
	if (resp->uncounted || resp->state || resp->open)
		return REFUSED_STATE;
	if (!resp->used)
		return REFUSED_UNUSED;
	return REFUSED_NOT;
}

#define RESET_QUESTION "*1\r\n$5\r\nRESET\r\n"
#define RESET_ANSWER   "+RESET\r\n"
#define RESET          RESET_QUESTION, sizeof(RESET_QUESTION) - 1, RESET_ANSWER, sizeof(RESET_ANSWER) - 1

static_assert(sizeof(RESET_ANSWER) - 1 <= TRACKER_ANSWER_MAX, "the answer to RESET");

/* https://redis.io/docs/latest/commands/reset/; since 6.2. A subscriber is counted, and written to,
 * until then. */
static const struct tracker_reset *reset(const void *state)
{
	static const struct tracker_reset of_state = {RESET, false}, of_subscriber = {RESET, true};
	const struct resp *resp = state;

	if (resp->refusal)
		return NULL;
	return resp->uncounted ? &of_subscriber : &of_state;
}

/* As new, but it has been used: a program that sends nothing on it leaves it as it is. */
static void was_reset(void *state)
{
	struct resp *resp = state;

	*resp = (struct resp){.used = true};
}

/* But for the case of letters. */
static bool is_text(const uint8_t *data, size_t len, const char *upper)
{
	if (len != strlen(upper))
		return false;
	for (size_t i = 0; i < len; i++) {
		const uint8_t byte = data[i];

		if ((byte >= 'a' && byte <= 'z' ? byte - 'a' + 'A' : byte) != upper[i])
			return false;
	}
	return true;
}

static bool is_goodbye(const void *state, const uint8_t *data, size_t len)
{
	const struct resp *resp = state;

	if (!data || resp->refusal || resp->uncounted || resp->outstanding || !is_at_boundary(resp))
		return false;
	return is_text(data, len, "*1\r\n$4\r\nQUIT\r\n") || is_text(data, len, "QUIT\r\n");
}

static bool is_repeatable(const struct resp *resp)
{
	const struct command *command = &resp->command;

	if (resp->refusal || resp->uncounted || resp->open || resp->settled || resp->unrepeatable)
		return false;
	if (command->side.phase == START)
		return resp->outstanding > 0;
	return command->place == REST && command->meaning & (READS | STATE);
}

static struct tracker_facts facts(const void *state)
{
	const struct resp *resp = state;

	return (struct tracker_facts){
		.repeatable = is_repeatable(resp),
		/* Nothing is done before the last byte is there. */
		.unfinished = !resp->lost && !resp->uncounted && !resp->outstanding &&
			      resp->command.side.phase != START,
		.lost = resp->lost,
	};
}

const struct tracker resp_tracker = {
	.name = "resp",
	.state_size = sizeof(struct resp),
	.recognise = recognise,
	.sent = sent,
	.received = received,
	.verdict = verdict,
	.reset = reset,
	.was_reset = was_reset,
	.is_goodbye = is_goodbye,
	.goodbye_lens = 1U << 6 | 1U << 14,
	.facts = facts,
};

#include "pool/trackers/memcached_parts.h"

#include <assert.h>
#include <string.h>

/* memcached closes a connection on which no line ends for 2048 bytes, unless it is a get of many
 * keys (try_read_command_ascii()). An answer's longest line is that of a statistic. */
#define LINE_MAX           2048
#define RETRIEVAL_LINE_MAX (64u * 1024)

#define KEY_SIZE_MAX 250

/* A user and a password stand in one line of 255 bytes, with a colon between; one that ends in CR
 * and LF ends before them (authfile.c). */
#define LOGIN_WORD_MAX 254

/* ---- words ---- */

/* Commands that have the same answers. */
enum kind {
	RETRIEVES,
	RETRIEVES_CAS,
	STORES,
	LOGS_IN, /* a set that is a login where the server wants one */
	DELETES,
	COUNTS,
	TOUCHES,
	OBEYS,
	TELLS_VERSION,
	TELLS_STATISTICS,
	RESETS_STATISTICS,
	META_GETS,
	META_SETS,
	META_DELETES,
	META_COUNTS,
	META_SHOWS,
	META_NOTHING,
	ANSWERS_NOTHING, /* with noreply */
	KIND_COUNT,
};

static_assert(KIND_COUNT <= 64, "memcached_answers() takes a bit for each");

#define KIND(name) (1ull << (name))
#define EVERY_KIND (KIND(KIND_COUNT) - 1)
#define META_KEYED (KIND(META_GETS) | KIND(META_SETS) | KIND(META_DELETES) | KIND(META_COUNTS))
#define STORING    (KIND(STORES) | KIND(LOGS_IN))

/* Of message.flags, beside SILENT and CHANGES, which have the first two bits. */
enum {
	MAY_BE_SILENT = 1 << 2, /* its last argument may be "noreply" */
	VALUED = 1 << 3,        /* a block of data follows */
	READS = 1 << 4,         /* whatever its arguments are, nothing is changed */
	REPEATED = 1 << 5,      /* an argument that there may be many of was there */
	NOT_LAST = 1 << 6,      /* of an answer: more of the same answer follows */
	IS_ERROR = 1 << 7,
};

/* The arguments of a row, a letter each. */
enum argument {
	KEY = 'k',
	KEYS = 'K', /* one or more, to the end */
	UNSIGNED = 'u',
	SIGNED = 'i',
	UNIQUE = 'c', /* 64 bits */
	LENGTH = 'n', /* of the data */

	/* may be missing */
	ZERO = '0',
	MAYBE_SIGNED = 'I',
	MAYBE_UNIQUE = 'C',
	MAYBE_SUBJECT = 's', /* of statistics */
	FLAGS = 'f',         /* of a meta command, any number of them */
	BASE64 = 'b',        /* one of them */
	ANYTHING = '*',      /* to the end */

	/* in no row */
	NONE = '\0',
	NOREPLY = 'N',
};

struct word {
	char text[12]; /* a longer one is unknown */
	char arguments[6];
	uint8_t kind; /* of a command */
	uint8_t flags;
	uint64_t kinds; /* of commands that may have this answer */
};

static_assert(sizeof(((struct word *)NULL)->text) == sizeof(((struct message *)NULL)->bytes), "");

/* clang-format off */
static const struct word commands[] = {
	{"get",       "K",     RETRIEVES,        READS, 0},
	{"gets",      "K",     RETRIEVES_CAS,    READS, 0},
	{"gat",       "iK",    RETRIEVES,        CHANGES, 0},
	{"gats",      "iK",    RETRIEVES_CAS,    CHANGES, 0},
	{"set",       "kuin",  STORES,           CHANGES | MAY_BE_SILENT | VALUED, 0},
	{"add",       "kuin",  STORES,           CHANGES | MAY_BE_SILENT | VALUED, 0},
	{"replace",   "kuin",  STORES,           CHANGES | MAY_BE_SILENT | VALUED, 0},
	{"append",    "kuin",  STORES,           CHANGES | MAY_BE_SILENT | VALUED, 0},
	{"prepend",   "kuin",  STORES,           CHANGES | MAY_BE_SILENT | VALUED, 0},
	{"cas",       "kuinc", STORES,           CHANGES | MAY_BE_SILENT | VALUED, 0},
	{"delete",    "k0",    DELETES,          CHANGES | MAY_BE_SILENT, 0},
	{"incr",      "kc",    COUNTS,           CHANGES | MAY_BE_SILENT, 0},
	{"decr",      "kc",    COUNTS,           CHANGES | MAY_BE_SILENT, 0},
	{"touch",     "ki",    TOUCHES,          CHANGES | MAY_BE_SILENT, 0},
	{"flush_all", "I",     OBEYS,            CHANGES | MAY_BE_SILENT, 0},
	{"verbosity", "u",     OBEYS,            CHANGES | MAY_BE_SILENT, 0},
	{"version",   "",      TELLS_VERSION,    READS, 0},
	{"stats",     "s",     TELLS_STATISTICS, 0, 0},
	{"mg",        "kf",    META_GETS,        CHANGES, 0}, /* the first one of a stale item wins */
	{"ms",        "knf",   META_SETS,        CHANGES | VALUED, 0},
	{"md",        "kf",    META_DELETES,     CHANGES, 0},
	{"ma",        "kf",    META_COUNTS,      CHANGES, 0},
	{"me",        "kb",    META_SHOWS,       READS, 0},
	{"mn",        "",      META_NOTHING,     READS, 0},
	{"quit",      "",      KIND_COUNT,       0, 0},
};

static const struct word answers[] = {
	{"VALUE",        "kunC", 0, VALUED | NOT_LAST, KIND(RETRIEVES)}, /* and see end_answer() */
	{"END",          "",     0, 0, KIND(RETRIEVES) | KIND(RETRIEVES_CAS) | KIND(TELLS_STATISTICS)},
	{"STORED",       "",     0, 0, STORING},
	{"NOT_STORED",   "",     0, 0, STORING},
	{"EXISTS",       "",     0, 0, STORING},
	{"NOT_FOUND",    "",     0, 0, STORING | KIND(DELETES) | KIND(COUNTS) | KIND(TOUCHES)},
	{"DELETED",      "",     0, 0, KIND(DELETES)},
	{"TOUCHED",      "",     0, 0, KIND(TOUCHES)},
	{"OK",           "",     0, 0, KIND(OBEYS)},
	{"VERSION",      "*",    0, 0, KIND(TELLS_VERSION)},
	{"STAT",         "*",    0, NOT_LAST, KIND(TELLS_STATISTICS)},
	{"RESET",        "",     0, 0, KIND(RESETS_STATISTICS)},
	{"HD",           "f",    0, 0, META_KEYED},
	{"VA",           "nf",   0, VALUED, KIND(META_GETS) | KIND(META_COUNTS)},
	{"EN",           "f",    0, 0, KIND(META_GETS) | KIND(META_SHOWS)},
	{"NF",           "f",    0, 0, KIND(META_SETS) | KIND(META_DELETES) | KIND(META_COUNTS)},
	{"NS",           "f",    0, 0, KIND(META_SETS) | KIND(META_COUNTS)},
	{"EX",           "f",    0, 0, KIND(META_SETS) | KIND(META_DELETES) | KIND(META_COUNTS)},
	{"ME",           "*",    0, 0, KIND(META_SHOWS)},
	{"MN",           "",     0, 0, KIND(META_NOTHING)},
	{"ERROR",        "*",    0, IS_ERROR, EVERY_KIND},
	{"CLIENT_ERROR", "*",    0, IS_ERROR, EVERY_KIND},
	{"SERVER_ERROR", "*",    0, IS_ERROR, EVERY_KIND},
	{"",             "",     0, 0, KIND(COUNTS)}, /* a number */
};

/* Those that are answered by lines and END. Not detail, which may be turned on, nor cachedump. */
static const struct word subjects[] = {
	{"conns",    "", TELLS_STATISTICS,  0, 0},
	{"items",    "", TELLS_STATISTICS,  0, 0},
	{"reset",    "", RESETS_STATISTICS, CHANGES, 0},
	{"settings", "", TELLS_STATISTICS,  0, 0},
	{"sizes",    "", TELLS_STATISTICS,  0, 0},
	{"slabs",    "", TELLS_STATISTICS,  0, 0},
};

static const struct word noreply[] = {{"noreply", "", 0, 0, 0}};
/* clang-format on */

#define COUNT(table)     (sizeof(table) / sizeof((table)[0]))
#define NUMBER_ANSWER    (COUNT(answers) - 1)
#define ROW(table, word) find((table), COUNT(table), (word))

/* The row of the word that stands in message->bytes; the table's length if there is none. */
static size_t find(const struct word *table, size_t rows, const struct message *message)
{
	for (size_t row = 0; row < rows; row++) {
		if (memcmp(table[row].text, message->bytes, sizeof(message->bytes)) == 0)
			return row;
	}
	return rows;
}

static bool is_request(const struct memcached *memcached, const struct message *message)
{
	return message == &memcached->request;
}

static const struct word *word_of(const struct memcached *memcached, const struct message *message)
{
	return is_request(memcached, message) ? &commands[message->row] : &answers[message->row];
}

static bool is_digit(uint8_t byte)
{
	return byte >= '0' && byte <= '9';
}

static bool is_letter(uint8_t byte)
{
	return (byte | 0x20) >= 'a' && (byte | 0x20) <= 'z';
}

/* Neither control nor space. Keys are in any encoding. */
static bool is_printable(uint8_t byte)
{
	return byte > ' ' && byte != 0x7f;
}

/* Keeps it, if it is not too long for any table. */
static bool keep(struct message *message, uint8_t byte)
{
	if (message->count == sizeof(message->bytes))
		return false;
	message->bytes[message->count++] = byte;
	return true;
}

static void keep_none(struct message *message)
{
	memset(message->bytes, 0, sizeof(message->bytes));
	message->count = 0;
}

static bool add_digit(struct message *message, uint8_t byte)
{
	const uint64_t digit = byte - '0';

	if (!is_digit(byte) || message->number > (UINT64_MAX - digit) / 10)
		return false;
	message->number = message->number * 10 + digit;
	return true;
}

/* ---- logins ---- */

/* With -Y, memcached takes a connection's first set for a login: its value is a user and a
 * password, any spaces before and between, and what comes after another one does not matter
 * (try_read_command_asciiauth()). */
enum login {
	LOGIN_NOT,
	LOGIN_BEGINS,
	LOGIN_USER,
	LOGIN_SPACE,
	LOGIN_PASSWORD,
	LOGIN_LIKELY,
};

/* Returns the next state. */
static enum login read_login(struct memcached *memcached, uint8_t byte)
{
	const enum login login = memcached->login;

	if (byte == ' ') {
		memcached->login_count = 0;
		return login == LOGIN_USER       ? LOGIN_SPACE
		       : login == LOGIN_PASSWORD ? LOGIN_LIKELY
						 : login;
	}
	if (++memcached->login_count > LOGIN_WORD_MAX || byte == '\n')
		return LOGIN_NOT;
	if (login == LOGIN_SPACE || login == LOGIN_PASSWORD)
		return byte == '\r' ? LOGIN_NOT : LOGIN_PASSWORD;
	return byte == ':' ? LOGIN_NOT : LOGIN_USER;
}

static void look_for_login(struct memcached *memcached, const uint8_t *data, size_t len)
{
	if (memcached->login != LOGIN_NOT && !data)
		memcached->login = LOGIN_LIKELY;
	for (size_t i = 0;
		i < len && memcached->login != LOGIN_NOT && memcached->login != LOGIN_LIKELY; i++)
		memcached->login = read_login(memcached, data[i]);
}

static bool may_be_login(const struct memcached *memcached)
{
	return memcached->login == LOGIN_PASSWORD || memcached->login == LOGIN_LIKELY;
}

/* ---- arguments ---- */

static bool may_be_missing(enum argument argument)
{
	switch (argument) {
	case NONE:
	case ZERO:
	case MAYBE_SIGNED:
	case MAYBE_UNIQUE:
	case MAYBE_SUBJECT:
	case FLAGS:
	case BASE64:
	case ANYTHING:
		return true;
	default:
		return false;
	}
}

/* What is being read, or comes next. */
static enum argument argument_of(const struct memcached *memcached, const struct message *message)
{
	return message->flags & SILENT && message->argument == UINT8_MAX
		       ? NOREPLY
		       : (enum argument)word_of(memcached, message)->arguments[message->argument];
}

static bool begin_argument(struct memcached *memcached, struct message *message, uint8_t byte)
{
	const enum argument argument = argument_of(memcached, message);

	keep_none(message);
	message->number = 0;
	message->phase = ARGUMENT;
	/* No other argument that may be missing begins so. */
	if (byte == 'n' && message->flags & MAY_BE_SILENT && may_be_missing(argument)) {
		message->flags |= SILENT;
		message->argument = UINT8_MAX;
		return true;
	}
	return argument != NONE && argument != NOREPLY;
}

static bool read_flag(struct message *message, uint8_t byte)
{
	if (message->count)
		return true;
	message->count = 1;
	if (byte == 'q')
		message->flags |= SILENT;
	return is_letter(byte);
}

static bool read_argument(struct memcached *memcached, struct message *message, uint8_t byte)
{
	if (!is_printable(byte))
		return false;
	switch (argument_of(memcached, message)) {
	case KEY:
	case KEYS:
		return message->count++ < KEY_SIZE_MAX;
	case SIGNED:
	case MAYBE_SIGNED:
		if (byte == '-' && message->count == 0) {
			message->count = '-';
			return true;
		}
		/* fall through */
	case UNSIGNED:
	case UNIQUE:
	case MAYBE_UNIQUE:
	case LENGTH:
	case ZERO:
		if (message->count != UINT8_MAX)
			message->count = UINT8_MAX; /* there is a digit */
		return add_digit(message, byte);
	case FLAGS:
		return read_flag(message, byte);
	case BASE64:
		return byte == 'b' && message->count++ == 0;
	case MAYBE_SUBJECT:
	case NOREPLY:
		return keep(message, byte);
	case ANYTHING:
		return true;
	case NONE:
		break;
	}
	return false;
}

static bool is_number_within(const struct message *message, uint64_t most)
{
	return message->count == UINT8_MAX && message->number <= most;
}

static enum refusal end_length(struct message *message)
{
	if (!is_number_within(message, INT32_MAX - 2)) /* process_update_command() */
		return REFUSED_LENGTH;
	message->left = message->number;
	return REFUSED_NOT;
}

static enum refusal end_subject(struct message *message)
{
	const size_t row = ROW(subjects, message);

	if (row == COUNT(subjects))
		return REFUSED_UNKNOWN_COMMAND;
	message->kind = subjects[row].kind;
	message->flags |= subjects[row].flags;
	return REFUSED_NOT;
}

static enum refusal check_argument(struct memcached *memcached, struct message *message)
{
	bool ok = true;

	switch (argument_of(memcached, message)) {
	case UNSIGNED:
		ok = is_number_within(message, UINT32_MAX);
		break;
	case SIGNED:
	case MAYBE_SIGNED:
		ok = is_number_within(message, INT32_MAX);
		break;
	case UNIQUE:
	case MAYBE_UNIQUE:
		ok = is_number_within(message, UINT64_MAX);
		break;
	case ZERO:
		ok = is_number_within(message, 0);
		break;
	case LENGTH:
		return end_length(message);
	case MAYBE_SUBJECT:
		return end_subject(message);
	case NOREPLY:
		ok = ROW(noreply, message) == 0;
		break;
	default:
		break;
	}
	return ok ? REFUSED_NOT : REFUSED_MALFORMED;
}

static void end_argument(struct memcached *memcached, struct message *message)
{
	const enum refusal refusal = check_argument(memcached, message);

	message->phase = BETWEEN;
	if (refusal) {
		lose(memcached, refusal);
		return;
	}
	switch (argument_of(memcached, message)) {
	case KEYS:
		message->flags |= REPEATED;
		break;
	case FLAGS:
	case ANYTHING:
	case NOREPLY:
		break;
	default:
		message->argument++;
	}
}

/* ---- lines ---- */

static void end_word(struct memcached *memcached, struct message *message)
{
	const bool is_command = is_request(memcached, message);
	size_t row = is_command ? ROW(commands, message) : ROW(answers, message);

	message->phase = BETWEEN;
	if (is_command && row == COUNT(commands)) {
		lose(memcached, REFUSED_UNKNOWN_COMMAND);
		return;
	}
	if (!is_command && is_digit(message->bytes[0]))
		row = NUMBER_ANSWER;
	if (!message->count || (!is_command && row == COUNT(answers))) {
		lose(memcached, REFUSED_MALFORMED);
		return;
	}
	message->row = row;
	message->kind = word_of(memcached, message)->kind;
	message->flags = word_of(memcached, message)->flags;
	/* With the wrong length, or too great a one, memcached may have taken data for commands, or
	 * commands for data. */
	if (!is_command && message->flags & IS_ERROR)
		lose(memcached, REFUSED_UNKNOWN_COMMAND);
}

static void read_word(struct memcached *memcached, struct message *message, uint8_t byte)
{
	if (is_request(memcached, message)) {
		if (byte != '_' && !(byte >= 'a' && byte <= 'z'))
			lose(memcached, REFUSED_MALFORMED);
		else if (!keep(message, byte))
			lose(memcached, REFUSED_UNKNOWN_COMMAND);
	} else if (is_digit(byte)) {
		/* incr and decr answer with digits, and nothing else does. */
		if (message->count && !is_digit(message->bytes[0]))
			lose(memcached, REFUSED_MALFORMED);
		else if (!add_digit(message, byte))
			lose(memcached, REFUSED_MALFORMED);
		message->bytes[0] = byte;
		message->count = 1;
	} else if (is_digit(message->bytes[0]) || (byte != '_' && !(byte >= 'A' && byte <= 'Z')) ||
		   !keep(message, byte)) {
		lose(memcached, REFUSED_MALFORMED);
	}
}

static void end_command(struct memcached *memcached, struct message *request)
{
	uint8_t kind = request->kind;

	request->phase = START;
	/* A login is answered even with noreply. */
	if (commands[request->row].flags & VALUED && may_be_login(memcached))
		kind = LOGS_IN;
	else if (kind < META_GETS && request->flags & SILENT)
		kind = ANSWERS_NOTHING;
	memcached->login = LOGIN_NOT;
	memcached_asked(memcached, kind, request->flags & (SILENT | CHANGES));
}

/* Is it a login that has been answered now? */
static bool is_login(const struct memcached *memcached)
{
	const struct run *oldest = &memcached->queue[memcached->first];

	return oldest->kind == LOGS_IN && (!memcached->open || oldest->flags & SILENT);
}

/* What stands before the data, if any, is over. */
static void end_answer_line(struct memcached *memcached, struct message *answer)
{
	const struct word *word = &answers[answer->row];
	uint64_t kinds = word->kinds;

	if (kinds == KIND(RETRIEVES) && word->arguments[answer->argument] == NONE)
		kinds = KIND(RETRIEVES_CAS); /* only with it VALUE has the fourth argument */
	answer->phase = START;
	if (!memcached_answers(memcached, kinds))
		return;
	if (is_login(memcached))
		lose(memcached, REFUSED_AUTHENTICATED);
	if (!(word->flags & NOT_LAST))
		memcached_answered(memcached);
}

static void end_line(struct memcached *memcached, struct message *message)
{
	const enum argument next = argument_of(memcached, message);
	const bool valued = word_of(memcached, message)->flags & VALUED;

	if (!may_be_missing(next) && next != NOREPLY && !(message->flags & REPEATED)) {
		lose(memcached, REFUSED_MALFORMED);
		return;
	}
	if (!is_request(memcached, message)) {
		end_answer_line(memcached, message);
	} else if (message->kind == KIND_COUNT) {
		refuse(memcached, REFUSED_SAID_GOODBYE);
		message->phase = GONE;
		return;
	} else if (!valued) {
		end_command(memcached, message);
	} else if (message->kind == STORES && memcmp(commands[message->row].text, "set", 4) == 0) {
		memcached->login = memcached->open ? LOGIN_NOT : LOGIN_BEGINS;
		memcached->login_count = 0;
	}
	if (valued)
		message->phase = message->left ? DATA : DATA_CR;
}

static void end_data(struct memcached *memcached, struct message *message)
{
	message->phase = START;
	if (is_request(memcached, message))
		end_command(memcached, message);
}

/* Reads the end of a line, or of its word, or an argument's first byte. */
static void read_between(struct memcached *memcached, struct message *message, uint8_t byte)
{
	if (byte == '\r') {
		message->phase = LINE_LF;
	} else if (byte == '\n' && is_request(memcached, message)) {
		end_line(memcached, message); /* memcached takes it, too */
	} else if (byte != ' ' && (!begin_argument(memcached, message, byte) ||
					  !read_argument(memcached, message, byte))) {
		lose(memcached, REFUSED_MALFORMED);
	}
}

static bool ends_word(uint8_t byte)
{
	return byte == ' ' || byte == '\r' || byte == '\n';
}

static void read_byte(struct memcached *memcached, struct message *message, uint8_t byte)
{
	switch ((enum phase)message->phase) {
	case WORD:
		if (!ends_word(byte)) {
			read_word(memcached, message, byte);
			return;
		}
		end_word(memcached, message);
		break;
	case ARGUMENT:
		if (!ends_word(byte)) {
			if (!read_argument(memcached, message, byte))
				lose(memcached, REFUSED_MALFORMED);
			return;
		}
		end_argument(memcached, message);
		break;
	case LINE_LF:
	case DATA_LF:
		if (byte != '\n')
			lose(memcached, REFUSED_MALFORMED);
		else if (message->phase == LINE_LF)
			end_line(memcached, message);
		else
			end_data(memcached, message);
		return;
	case DATA_CR:
		if (byte != '\r')
			lose(memcached, REFUSED_MALFORMED);
		message->phase = DATA_LF;
		return;
	default:
		break;
	}
	if (!memcached->lost)
		read_between(memcached, message, byte);
}

static bool is_in_line(const struct message *message)
{
	return message->phase >= WORD && message->phase <= LINE_LF;
}

static uint32_t line_max(const struct memcached *memcached, const struct message *message)
{
	const bool many_keys = is_request(memcached, message) && message->phase > WORD &&
			       message->kind <= RETRIEVES_CAS;

	return many_keys ? RETRIEVAL_LINE_MAX : LINE_MAX;
}

static void read_line_byte(struct memcached *memcached, struct message *message, uint8_t byte)
{
	if (message->phase == START)
		memcached_begin(memcached, message, WORD);
	if (memcached->lost)
		return;
	read_byte(memcached, message, byte);
	if (!is_in_line(message))
		message->size = 0;
	else if (++message->size == line_max(memcached, message))
		lose(memcached, REFUSED_LENGTH);
}

static size_t skip_data(
	struct memcached *memcached, struct message *message, const uint8_t *data, size_t len)
{
	const size_t count = len < message->left ? len : message->left;

	if (is_request(memcached, message))
		look_for_login(memcached, data, count);
	message->left -= count;
	if (!message->left)
		message->phase = DATA_CR;
	return count;
}

void memcached_read_text(
	struct memcached *memcached, struct message *message, const uint8_t *data, size_t len)
{
	for (size_t at = 0; at < len && !memcached->lost && message->phase != GONE;) {
		if (message->phase == DATA)
			at += skip_data(memcached, message, data ? data + at : NULL, len - at);
		else if (!data)
			lose(memcached, REFUSED_UNSEEN);
		else
			read_line_byte(memcached, message, data[at++]);
	}
}

enum recognition memcached_recognise_text(const uint8_t *data, size_t len)
{
	struct message word = {0};

	for (size_t i = 0; i < len; i++) {
		if (!ends_word(data[i])) {
			if (!is_printable(data[i]) || !keep(&word, data[i]))
				return RECOGNISED_NO;
			continue;
		}
		if (ROW(commands, &word) == COUNT(commands))
			return RECOGNISED_NO;
		if (data[i] != '\r')
			return RECOGNISED_YES;
		if (i + 1 == len)
			return RECOGNISED_MORE;
		return data[i + 1] == '\n' ? RECOGNISED_YES : RECOGNISED_NO;
	}
	for (size_t row = 0; row < COUNT(commands); row++) {
		if (memcmp(commands[row].text, word.bytes, word.count) == 0)
			return RECOGNISED_MORE;
	}
	return RECOGNISED_NO;
}

bool memcached_reads_text(const struct message *request)
{
	return request->phase > WORD && request->phase <= LINE_LF && request->flags & READS;
}

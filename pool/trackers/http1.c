#include "pool/trackers/http1.h"

#include <assert.h>

/* The head of one message, or its trailers, may be this long. */
#define HEAD_MAX (256u * 1024)

/* A larger chunk would not fit 60 bits; nobody sends one. */
#define CHUNK_DIGITS_MAX 15

/* What there is a bit for in http1.heads. */
#define OUTSTANDING_MAX 64

/* ---- bytes ---- */

enum {
	TOKEN = 1 << 0,  /* tchar, RFC 9110 5.6.2 */
	TARGET = 1 << 1, /* neither control nor space; clients are sloppy with non-ASCII */
	VALUE = 1 << 2,  /* HTAB, SP, VCHAR and obs-text, RFC 9110 5.5 */
};

#define DELIMITER (VALUE | TARGET)
#define TCHAR     (VALUE | TARGET | TOKEN)

/* clang-format off */
static const uint8_t byte_class[256] = {
	['\t'] = VALUE,
	[' ']  = VALUE,
	['!']  = TCHAR,
	['"']  = DELIMITER,
	['#' ... '\''] = TCHAR,
	['(' ... ')']  = DELIMITER,
	['*' ... '+']  = TCHAR,
	[',']  = DELIMITER,
	['-' ... '.']  = TCHAR,
	['/']  = DELIMITER,
	['0' ... '9']  = TCHAR,
	[':' ... '@']  = DELIMITER,
	['A' ... 'Z']  = TCHAR,
	['[' ... ']']  = DELIMITER,
	['^' ... 'z']  = TCHAR,
	['{']  = DELIMITER,
	['|']  = TCHAR,
	['}']  = DELIMITER,
	['~']  = TCHAR,
	[0x80 ... 0xff] = DELIMITER,
};
/* clang-format on */

static inline bool is(uint8_t byte, uint8_t class)
{
	return byte_class[byte] & class;
}

static inline bool is_digit(uint8_t byte)
{
	return byte >= '0' && byte <= '9';
}

/* Optional whitespace. */
static inline bool is_ows(uint8_t byte)
{
	return byte == ' ' || byte == '\t';
}

/* Only for token bytes: CR would become a hyphen. */
static inline uint8_t lower_case(uint8_t token)
{
	return token | 0x20;
}

static int hex_digit(uint8_t byte)
{
	if (is_digit(byte))
		return byte - '0';
	byte |= 0x20;
	return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* ---- words ---- */

/* A row of a table of known words, which are compared as they come, byte by byte: no word is ever
 * kept, so none can be too long. The tables are sorted, so that the rows that begin with the same
 * bytes stand together, the shortest of them first. */
struct word {
	char text[20]; /* with at least one NUL */
	uint8_t meaning;
};

/* The rows that begin with the bytes read so far. */
struct candidates {
	uint8_t first, end;
	uint8_t position; /* bytes read, while there are rows */
};

#define EVERY_ROW(table) ((struct candidates){.end = sizeof(table) / sizeof((table)[0])})

/* Leaves those whose next byte is this one, if any. */
static inline bool narrow(const struct word *table, struct candidates *candidates, uint8_t byte)
{
	uint8_t before = 0, not_after = 0;

	/* No branch on what the table holds: none of them could be predicted. */
	for (unsigned row = candidates->first; row < candidates->end; row++) {
		const uint8_t known = table[row].text[candidates->position];

		before += known < byte;
		not_after += known <= byte;
	}
	candidates->end = candidates->first + not_after;
	candidates->first += before;
	if (!byte) /* it would match the end of a text */
		candidates->end = candidates->first;
	candidates->position++;
	return candidates->first < candidates->end;
}

/* The row that is exactly the bytes read so far, or NULL. */
static inline const struct word *whole_word(
	const struct word *table, const struct candidates *candidates)
{
	const struct word *word = &table[candidates->first];

	return candidates->first < candidates->end && !word->text[candidates->position] ? word
											: NULL;
}

/* What a method means for the connection. */
enum {
	BODILESS = 1 << 0,   /* its response has no body, whatever the head says */
	REPEATABLE = 1 << 1, /* safe, RFC 9110 9.2.1: sending it twice changes nothing */
	TUNNEL = 1 << 2,     /* what follows is not HTTP */
};

/* clang-format off */
/* Those of RFC 9110, and WebDAV (RFC 4918) with its versions (3253), access control (3744),
 * calendars (4791) and search (5323), of which some are safe too, but nobody would miss it. */
static const struct word methods[] = {
	{"ACL",              0},
	{"BASELINE-CONTROL", 0},
	{"CHECKIN",          0},
	{"CHECKOUT",         0},
	{"CONNECT",          TUNNEL},
	{"COPY",             0},
	{"DELETE",           0},
	{"GET",              REPEATABLE},
	{"HEAD",             REPEATABLE | BODILESS},
	{"LABEL",            0},
	{"LOCK",             0},
	{"MERGE",            0},
	{"MKACTIVITY",       0},
	{"MKCALENDAR",       0},
	{"MKCOL",            0},
	{"MKWORKSPACE",      0},
	{"MOVE",             0},
	{"OPTIONS",          REPEATABLE},
	{"PATCH",            0},
	{"POST",             0},
	{"PROPFIND",         0},
	{"PROPPATCH",        0},
	{"PUT",              0},
	{"REPORT",           0},
	{"SEARCH",           0},
	{"TRACE",            REPEATABLE},
	{"UNCHECKOUT",       0},
	{"UNLOCK",           0},
	{"UPDATE",           0},
	{"VERSION-CONTROL",  0},
};

/* The headers that matter, by how their values are read. */
enum header {
	CONTENT_LENGTH,
	TRANSFER_ENCODING,
	CONNECTION,
	CREDENTIALS,
	KEEP_ALIVE,
	HOST,
};

static const struct word headers[] = {
	{"authorization",       CREDENTIALS},
	{"connection",          CONNECTION},
	{"content-length",      CONTENT_LENGTH},
	{"host",                HOST},
	{"keep-alive",          KEEP_ALIVE},
	{"proxy-authenticate",  CREDENTIALS},
	{"proxy-authorization", CREDENTIALS},
	{"proxy-connection",    CONNECTION},
	{"transfer-encoding",   TRANSFER_ENCODING},
	{"www-authenticate",    CREDENTIALS},
};

static const struct word transfer_codings[] = {{"chunked", 0}};

enum { OPTION_CLOSE, OPTION_KEEP_ALIVE };

static const struct word connection_options[] = {
	{"close",      OPTION_CLOSE},
	{"keep-alive", OPTION_KEEP_ALIVE},
};

/* They authenticate the connection, not the request (RFC 4559 section 6). */
static const struct word connection_schemes[] = {
	{"credssp", 0}, {"kerberos", 0}, {"nego2", 0}, {"negotiate", 0}, {"ntlm", 0},
};

enum { PARAMETER_TIMEOUT, PARAMETER_MAX };

static const struct word keep_alive_parameters[] = {
	{"max",     PARAMETER_MAX},
	{"timeout", PARAMETER_TIMEOUT},
};
/* clang-format on */

/* ---- state ---- */

enum phase {
	START, /* nothing of the next message yet */

	METHOD,
	TARGET_FIRST,
	TARGET_REST,
	VERSION,
	VERSION_MINOR,
	VERSION_END,
	STATUS,
	STATUS_END,
	REASON,
	LINE_LF,

	HEADER, /* the first byte of a header line, or the CR of the empty one */
	NAME,
	OTHER_NAME,
	NAMED_VALUE,
	OTHER_VALUE,
	HEAD_LF,

	/* from here on the head is over */
	BODY,
	CHUNK_SIZE,
	CHUNK_SIZE_LF,
	CHUNK_DATA,
	CHUNK_CR,
	CHUNK_LF,
};

/* Where in the value of a header that matters, or in one element of its list. */
enum spot {
	BEFORE,
	WITHIN,
	AFTER,
	NUMBER_FIRST,
	NUMBER_REST,
};

/* Whether there is anything where an element of a list belongs. */
enum element {
	ELEMENT_NONE, /* the value begins here: there may be no elements at all */
	ELEMENT_DUE,  /* after a comma */
	ELEMENT_SEEN,
};

enum {
	VERSION_1_0 = 1 << 0,
	LENGTH_KNOWN = 1 << 1,
	CHUNKED = 1 << 2,
	KEPT_ALIVE = 1 << 3,
	TRAILERS = 1 << 4,
	EARLY = 1 << 5,      /* a response that began before its request was fully sent */
	HOST_KNOWN = 1 << 6, /* of a request */
	MAX_KNOWN = 1 << 6,  /* of a response: it says how many requests are left */
	ABSOLUTE = 1 << 7,   /* the target says which host, or it is none: RFC 9112 3.2 */
};

/* The message that one direction is in the midst of. */
struct message {
	uint64_t left;      /* bytes of the body or chunk still to come, once its length is known */
	uint32_t head_size; /* bytes of the head, or of the trailers, so far */
	uint32_t number;    /* the value of a Keep-Alive parameter */
	struct candidates word;
	uint16_t status;
	uint8_t phase;    /* enum phase */
	uint8_t position; /* in the version, the status or the chunk size */
	uint8_t method;   /* its meaning */
	uint8_t header;   /* enum header: whose value is being read */
	uint8_t spot;     /* enum spot */
	uint8_t element;  /* enum element */
	uint8_t flags;
};

struct http1 {
	struct message request, response;
	uint64_t heads;        /* a bit for each outstanding request, the oldest lowest: BODILESS */
	uint64_t unrepeatable; /* likewise: not REPEATABLE */
	uint64_t exchanges;
	uint32_t keep_alive_timeout, keep_alive_max;
	uint32_t first_host, host; /* hashes */
	uint8_t outstanding;       /* requests fully sent, but not yet fully answered */
	uint8_t refusal;           /* the first one */
	bool lost;                 /* nothing is known of where a message begins or ends */
};

static_assert(sizeof(struct http1) <= TRACKER_STATE_MAX, "the state lives inside a connection");
static_assert(REFUSAL_COUNT <= UINT8_MAX, "http1.refusal");
static_assert(OUTSTANDING_MAX <= sizeof(uint64_t) * 8, "http1.heads");

/* The messages can still be followed. */
static void refuse(struct http1 *http1, enum refusal refusal)
{
	if (!http1->refusal)
		http1->refusal = refusal;
}

/* They cannot. Returns 0, for a parser to return: nothing more is read. */
static size_t lose(struct http1 *http1, enum refusal refusal)
{
	refuse(http1, refusal);
	http1->lost = true;
	return 0;
}

static bool head_is_over(const struct message *message)
{
	return message->phase >= BODY || message->flags & TRAILERS;
}

/* ---- the values of headers that matter; each sees every byte up to and including the CR ---- */

static void read_content_length(struct http1 *http1, struct message *message, uint8_t byte)
{
	if (is_digit(byte) && message->spot != AFTER) {
		const uint64_t digit = byte - '0';

		if (message->left > (INT64_MAX - digit) / 10)
			lose(http1, REFUSED_LENGTH);
		message->left = message->left * 10 + digit;
		message->spot = WITHIN;
	} else if (is_ows(byte) || byte == '\r') {
		if (message->spot == WITHIN)
			message->spot = AFTER;
		if (byte == '\r' && message->spot != AFTER)
			lose(http1, REFUSED_LENGTH);
	} else {
		lose(http1, REFUSED_LENGTH);
	}
}

static void read_transfer_encoding(struct http1 *http1, struct message *message, uint8_t byte)
{
	if (is(byte, TOKEN) && message->spot != AFTER) {
		message->spot = WITHIN;
		narrow(transfer_codings, &message->word, lower_case(byte));
	} else if (is_ows(byte) || byte == '\r') {
		if (message->spot == WITHIN)
			message->spot = AFTER;
		if ((byte == '\r' || message->spot == AFTER) &&
			!whole_word(transfer_codings, &message->word))
			lose(http1, REFUSED_LENGTH);
	} else {
		lose(http1, REFUSED_LENGTH);
	}
}

/* A list without anything before, between or after its commas is one that its sender may not make
 * (RFC 9110 5.6.1.1), and that parsers read in different ways: some give up at such a comma, and
 * never see the options behind it. */
static void read_comma(struct http1 *http1, struct message *message, uint8_t byte)
{
	if (is_ows(byte))
		return;
	if ((byte == ',' && message->element != ELEMENT_SEEN) ||
		(byte == '\r' && message->element == ELEMENT_DUE))
		lose(http1, REFUSED_MALFORMED);
	message->element = byte == ',' ? ELEMENT_DUE : ELEMENT_SEEN;
}

/* Reads a byte of one word of a list. */
static void read_word(struct message *message, const struct word *table,
	struct candidates every_row, uint8_t byte)
{
	if (message->spot != WITHIN) {
		message->spot = WITHIN;
		message->word = every_row;
	}
	narrow(table, &message->word, lower_case(byte));
}

static void read_connection(struct http1 *http1, struct message *message, uint8_t byte)
{
	if (is(byte, TOKEN) && message->spot != AFTER) {
		read_word(message, connection_options, EVERY_ROW(connection_options), byte);
		return;
	}
	if (!is_ows(byte) && byte != ',' && byte != '\r') {
		lose(http1, REFUSED_MALFORMED);
		return;
	}
	if (message->spot == WITHIN) {
		const struct word *option = whole_word(connection_options, &message->word);

		if (option && option->meaning == OPTION_CLOSE)
			refuse(http1, REFUSED_ASKED_TO_CLOSE);
		else if (option)
			message->flags |= KEPT_ALIVE;
		message->spot = AFTER;
	}
	if (byte == ',')
		message->spot = BEFORE;
}

/* Any word counts, wherever it stands: challenges, their parameters and the list of them are hard
 * to tell apart, and a needless refusal does no harm. */
static void read_credentials(struct http1 *http1, struct message *message, uint8_t byte)
{
	if (is(byte, TOKEN)) {
		read_word(message, connection_schemes, EVERY_ROW(connection_schemes), byte);
		return;
	}
	if (message->spot == WITHIN && whole_word(connection_schemes, &message->word))
		refuse(http1, REFUSED_AUTHENTICATED);
	message->spot = BEFORE;
}

static void keep_alive_announced(struct http1 *http1, struct message *message)
{
	const struct word *parameter = whole_word(keep_alive_parameters, &message->word);

	if (parameter->meaning == PARAMETER_TIMEOUT) {
		http1->keep_alive_timeout = message->number;
		if (message->number <= 1)
			refuse(http1, REFUSED_ASKED_TO_CLOSE);
	} else {
		http1->keep_alive_max = message->number;
		message->flags |= MAX_KNOWN;
		if (message->number == 0)
			refuse(http1, REFUSED_ASKED_TO_CLOSE);
	}
}

/* RFC 2068 19.7.1.1; parameters other than the two are passed over. */
static void read_keep_alive(struct http1 *http1, struct message *message, uint8_t byte)
{
	const bool at_end = is_ows(byte) || byte == ',' || byte == ';' || byte == '\r';

	switch ((enum spot)message->spot) {
	case BEFORE:
	case WITHIN:
		if (is(byte, TOKEN)) {
			read_word(message, keep_alive_parameters, EVERY_ROW(keep_alive_parameters),
				byte);
			return;
		}
		if (message->spot == WITHIN && whole_word(keep_alive_parameters, &message->word)) {
			if (byte == '=')
				message->spot = NUMBER_FIRST;
			else
				lose(http1, REFUSED_MALFORMED);
			return;
		}
		break;
	case NUMBER_FIRST:
	case NUMBER_REST:
		if (is_digit(byte)) {
			if (message->spot == NUMBER_FIRST)
				message->number = 0;
			message->spot = NUMBER_REST;
			if (message->number < UINT32_MAX / 10 - 1)
				message->number = message->number * 10 + (byte - '0');
			return;
		}
		if (message->spot == NUMBER_FIRST || !at_end) {
			lose(http1, REFUSED_MALFORMED);
			return;
		}
		keep_alive_announced(http1, message);
		break;
	case AFTER:
		break;
	}
	message->spot = at_end ? BEFORE : AFTER;
}

/* RFC 9112 3.2. FNV-1a, as in pool/hash.c. */
static void read_host(struct http1 *http1, struct message *message, uint8_t byte)
{
	if (is_ows(byte) || byte == '\r')
		return;
	if (byte >= 'A' && byte <= 'Z')
		byte = lower_case(byte);
	if (!(message->flags & ABSOLUTE))
		http1->host = (http1->host ^ byte) * 16777619u;
}

/* The colon is read. */
static void end_name(struct http1 *http1, struct message *message)
{
	const struct word *name = whole_word(headers, &message->word);

	message->phase = OTHER_VALUE;
	if (!name)
		return;

	/* RFC 9110 6.5.1: nothing that frames, routes or authenticates belongs into trailers. */
	if (message->flags & TRAILERS) {
		lose(http1, REFUSED_MALFORMED);
		return;
	}
	if (name->meaning == KEEP_ALIVE && message == &http1->request)
		return; /* it is the server who decides */
	if (name->meaning == HOST && message == &http1->response)
		return;

	message->phase = NAMED_VALUE;
	message->header = name->meaning;
	message->spot = BEFORE;
	message->element = ELEMENT_NONE;
	message->word = (struct candidates){0};
	if (name->meaning == HOST) {
		if (message->flags & HOST_KNOWN)
			lose(http1, REFUSED_MALFORMED);
		message->flags |= HOST_KNOWN;
		http1->host = message->flags & ABSOLUTE ? 0 : 2166136261u;
	} else if (name->meaning == CONTENT_LENGTH) {
		if (message->flags & (LENGTH_KNOWN | CHUNKED))
			lose(http1, REFUSED_LENGTH);
		message->flags |= LENGTH_KNOWN;
	} else if (name->meaning == TRANSFER_ENCODING) {
		if (message->flags & (LENGTH_KNOWN | CHUNKED | VERSION_1_0))
			lose(http1, REFUSED_LENGTH);
		message->flags |= CHUNKED;
		message->word = EVERY_ROW(transfer_codings);
	}
}

static void read_value(struct http1 *http1, struct message *message, uint8_t byte)
{
	switch ((enum header)message->header) {
	case CONTENT_LENGTH:
		read_content_length(http1, message, byte);
		break;
	case TRANSFER_ENCODING:
		read_transfer_encoding(http1, message, byte);
		break;
	case CONNECTION:
		read_connection(http1, message, byte);
		read_comma(http1, message, byte);
		break;
	case CREDENTIALS:
		read_credentials(http1, message, byte);
		break;
	case KEEP_ALIVE:
		read_keep_alive(http1, message, byte);
		read_comma(http1, message, byte);
		break;
	case HOST:
		read_host(http1, message, byte);
		break;
	}
}

/* ---- messages ---- */

static void begin_message(struct http1 *http1, struct message *message)
{
	*message = (struct message){.phase = METHOD, .word = EVERY_ROW(methods)};
	if (message == &http1->request) {
		http1->host = 0;
		return;
	}
	message->phase = VERSION;
	if (http1->outstanding)
		return;
	if (http1->request.phase == START)
		lose(http1, REFUSED_UNSOLICITED);
	else if (!head_is_over(&http1->request))
		lose(http1, REFUSED_EARLY_RESPONSE);
	message->flags = EARLY;
}

static void end_message(struct http1 *http1, struct message *message)
{
	message->phase = START;
	if (message == &http1->request) {
		if (http1->outstanding == OUTSTANDING_MAX) {
			lose(http1, REFUSED_BUSY);
			return;
		}
		http1->heads |= (uint64_t) !!(message->method & BODILESS) << http1->outstanding;
		http1->unrepeatable |= (uint64_t) !(message->method & REPEATABLE)
				       << http1->outstanding;
		http1->outstanding++;
	} else if (message->status >= 200) {
		http1->heads >>= 1;
		http1->unrepeatable >>= 1;
		http1->outstanding--;
		http1->exchanges++;
		/* Where it is not said again, it is one less. */
		if (http1->keep_alive_max > 0 && !(message->flags & MAX_KNOWN) &&
			--http1->keep_alive_max == 0)
			refuse(http1, REFUSED_ASKED_TO_CLOSE);
	}
}

static void end_method(struct http1 *http1, struct message *request)
{
	const struct word *method = whole_word(methods, &request->word);

	if (!method)
		lose(http1, REFUSED_MALFORMED);
	else if (method->meaning & TUNNEL)
		lose(http1, REFUSED_TUNNEL);
	else
		request->method = method->meaning;
	request->phase = TARGET_FIRST;
}

static void end_status(struct http1 *http1, struct message *response)
{
	response->phase = STATUS_END;
	if (response->status < 100 || response->status > 599) /* RFC 9110 15: invalid */
		lose(http1, REFUSED_MALFORMED);
	else if (response->status == 101)
		lose(http1, REFUSED_TUNNEL);
	else if (response->status == 408 || response->status == 421)
		lose(http1, REFUSED_REQUEST_TIMEOUT);
	else if (response->status >= 200 && response->flags & EARLY)
		lose(http1, REFUSED_EARLY_RESPONSE);
}

/* RFC 9112 6.3. */
static bool response_has_body(struct http1 *http1, const struct message *response)
{
	if (response->status < 200 || response->status == 204) {
		if (response->flags & CHUNKED || response->left)
			lose(http1, REFUSED_LENGTH);
		return false;
	}
	if (response->status == 304 || http1->heads & 1)
		return false;
	if (!(response->flags & (LENGTH_KNOWN | CHUNKED)))
		lose(http1, REFUSED_UNTIL_EOF);
	return true;
}

static void end_head(struct http1 *http1, struct message *message)
{
	if (message->flags & TRAILERS) {
		end_message(http1, message);
		return;
	}
	if (message->flags & VERSION_1_0 && !(message->flags & KEPT_ALIVE))
		refuse(http1, REFUSED_HTTP_1_0);

	const bool may_have_body = message == &http1->request || response_has_body(http1, message);

	message->position = 0;
	if (message == &http1->request && !http1->exchanges && !http1->outstanding)
		http1->first_host = http1->host;
	if (http1->lost)
		return;
	if (may_have_body && message->flags & CHUNKED)
		message->phase = CHUNK_SIZE;
	else if (may_have_body && message->left)
		message->phase = BODY;
	else
		end_message(http1, message);
}

/* ---- bytes into messages ---- */

static inline const uint8_t *skip(const uint8_t *at, const uint8_t *end, uint8_t class)
{
	while (at < end && is(*at, class))
		at++;
	return at;
}

/* As narrow(), for as many bytes as there are; stops at the first that leaves no rows. */
static inline const uint8_t *skip_word(const struct word *table, struct candidates *candidates,
	const uint8_t *at, const uint8_t *end)
{
	struct candidates left = *candidates;

	while (at < end && is(*at, TOKEN) && narrow(table, &left, lower_case(*at)))
		at++;
	*candidates = left;
	return at;
}

/* Reads a head, or trailers, up to its end or that of the data. Returns the bytes read. */
static size_t read_head(
	struct http1 *http1, struct message *message, const uint8_t *data, size_t len)
{
	static const char version[] = "HTTP/1.";
	const bool is_request = message == &http1->request;
	const uint8_t *const end = data + len;
	bool ok = true;

	for (const uint8_t *at = data; at < end; at++) {
		switch ((enum phase)message->phase) {
		case METHOD:
			if (*at != ' ')
				ok = narrow(methods, &message->word, *at);
			else
				end_method(http1, message);
			break;
		case TARGET_FIRST:
			ok = is(*at, TARGET);
			if (*at != '/')
				message->flags |= ABSOLUTE;
			message->phase = TARGET_REST;
			break;
		case TARGET_REST:
			at = skip(at, end, TARGET);
			if (at == end)
				return len;
			ok = *at == ' ';
			message->phase = VERSION;
			break;
		case VERSION:
			ok = *at == version[message->position++];
			if (message->position == sizeof(version) - 1)
				message->phase = VERSION_MINOR;
			break;
		case VERSION_MINOR:
			ok = *at == '0' || *at == '1';
			if (*at == '0')
				message->flags |= VERSION_1_0;
			message->phase = VERSION_END;
			break;
		case VERSION_END:
			ok = *at == (is_request ? '\r' : ' ');
			message->phase = is_request ? LINE_LF : STATUS;
			message->position = 0;
			break;
		case STATUS:
			ok = is_digit(*at);
			message->status = message->status * 10 + (*at - '0');
			if (ok && ++message->position == 3)
				end_status(http1, message);
			break;
		case STATUS_END:
			ok = *at == ' ';
			message->phase = REASON;
			break;
		case LINE_LF:
			ok = *at == '\n';
			message->phase = HEADER;
			break;
		case HEADER:
			if (*at == '\r') {
				message->phase = HEAD_LF;
				break;
			}
			message->word = EVERY_ROW(headers);
			message->phase = NAME;
			if (!is(*at, TOKEN)) /* obs-fold, or an empty name */
				return lose(http1, REFUSED_MALFORMED);
			message->phase = NAME;
			message->word = EVERY_ROW(headers);
			/* fall through */
		case NAME:
			at = skip_word(headers, &message->word, at, end);
			if (at == end)
				return len;
			if (*at == ':')
				end_name(http1, message);
			else
				ok = is(*at, TOKEN);
			if (message->phase == NAME)
				message->phase = OTHER_NAME;
			break;
		case OTHER_NAME:
			at = skip(at, end, TOKEN);
			if (at == end)
				return len;
			ok = *at == ':';
			message->phase = OTHER_VALUE;
			break;
		case NAMED_VALUE:
			ok = is(*at, VALUE) || *at == '\r';
			if (ok)
				read_value(http1, message, *at);
			if (*at == '\r')
				message->phase = LINE_LF;
			break;
		case REASON:
		case OTHER_VALUE:
			at = skip(at, end, VALUE);
			if (at == end)
				return len;
			ok = *at == '\r';
			message->phase = LINE_LF;
			break;
		case HEAD_LF:
			if (*at != '\n')
				return lose(http1, REFUSED_MALFORMED);
			end_head(http1, message);
			return at + 1 - data;
		default:
			__builtin_unreachable();
		}
		if (!ok)
			return lose(http1, REFUSED_MALFORMED);
		if (http1->lost)
			return 0;
	}
	return len;
}

/* Reads a byte of what is around the data of chunks. */
static void read_chunk_framing(struct http1 *http1, struct message *message, uint8_t byte)
{
	int digit;

	switch ((enum phase)message->phase) {
	case CHUNK_SIZE:
		if (byte == '\r' && message->position > 0) {
			message->phase = CHUNK_SIZE_LF;
			break;
		}
		/* Extensions are refused too: their quoting is where parsers disagree. */
		digit = hex_digit(byte);
		if (digit < 0) {
			lose(http1, REFUSED_MALFORMED);
		} else if (message->position++ == CHUNK_DIGITS_MAX) {
			lose(http1, REFUSED_LENGTH);
		} else {
			message->left = message->left * 16 + digit;
		}
		break;
	case CHUNK_SIZE_LF:
		if (byte != '\n')
			lose(http1, REFUSED_MALFORMED);
		message->position = 0;
		message->phase = CHUNK_DATA;
		if (!message->left) {
			message->flags |= TRAILERS;
			message->phase = HEADER;
		}
		break;
	case CHUNK_CR:
		if (byte != '\r')
			lose(http1, REFUSED_MALFORMED);
		message->phase = CHUNK_LF;
		break;
	case CHUNK_LF:
		if (byte != '\n')
			lose(http1, REFUSED_MALFORMED);
		message->phase = CHUNK_SIZE;
		break;
	default:
		__builtin_unreachable();
	}
}

static size_t read_some_head(
	struct http1 *http1, struct message *message, const uint8_t *data, size_t len)
{
	const size_t room = HEAD_MAX - message->head_size;
	const size_t count = read_head(http1, message, data, len < room ? len : room);

	if (message->phase == START || message->phase >= BODY) {
		message->head_size = 0;
		return count;
	}
	message->head_size += count;
	if (message->head_size == HEAD_MAX)
		lose(http1, REFUSED_MALFORMED);
	return count;
}

/* The content of these bytes does not matter. Returns how many of them there are. */
static size_t skip_some_body(struct http1 *http1, struct message *message, size_t len)
{
	const size_t count = len < message->left ? len : message->left;

	message->left -= count;
	if (!message->left && message->phase == BODY)
		end_message(http1, message);
	else if (!message->left)
		message->phase = CHUNK_CR;
	return count;
}

static void read_message(
	struct http1 *http1, struct message *message, const uint8_t *data, size_t len)
{
	for (size_t at = 0; at < len && !http1->lost;) {
		if (message->phase == BODY || message->phase == CHUNK_DATA) {
			at += skip_some_body(http1, message, len - at);
			continue;
		}
		if (!data) {
			lose(http1, REFUSED_UNSEEN);
			return;
		}
		if (message->phase > BODY) {
			read_chunk_framing(http1, message, data[at++]);
			continue;
		}
		if (message->phase == START)
			begin_message(http1, message);
		if (!http1->lost)
			at += read_some_head(http1, message, data + at, len - at);
	}
}

/* ---- the tracker ---- */

static enum recognition recognise(const uint8_t *data, size_t len)
{
	struct candidates word = EVERY_ROW(methods);

	for (size_t i = 0; i < len; i++) {
		if (data[i] == ' ')
			return whole_word(methods, &word) ? RECOGNISED_YES : RECOGNISED_NO;
		if (!narrow(methods, &word, data[i]))
			return RECOGNISED_NO;
	}
	return RECOGNISED_MORE;
}

static void sent(void *state, const uint8_t *data, size_t len)
{
	struct http1 *http1 = state;

	read_message(http1, &http1->request, data, len);
}

static void received(void *state, const uint8_t *data, size_t len)
{
	struct http1 *http1 = state;

	read_message(http1, &http1->response, data, len);
}

static enum refusal verdict(const void *state)
{
	const struct http1 *http1 = state;

	if (http1->refusal)
		return http1->refusal;
	if (http1->outstanding || http1->request.phase != START || http1->response.phase != START)
		return REFUSED_BUSY;
	if (!http1->exchanges)
		return REFUSED_UNUSED;
	return REFUSED_NOT;
}

static bool is_repeatable(const struct http1 *http1)
{
	const struct message *request = &http1->request;

	if (http1->lost || http1->unrepeatable)
		return false;
	if (request->phase == START)
		return http1->outstanding > 0;
	return request->phase > METHOD && request->method & REPEATABLE;
}

/* At half a second or less nobody should rely on it: see keep_alive_announced(). */
static uint32_t keeps_ms(const struct http1 *http1)
{
	const uint32_t seconds = http1->keep_alive_timeout;

	/* As .NET does it: one less, for the time that the way takes. */
	if (seconds <= 1)
		return 0;
	return seconds > UINT32_MAX / 1000 ? UINT32_MAX : (seconds - 1) * 1000;
}

/* Half of its name is another host's. */
static bool is_in_host(const struct message *request)
{
	return request->phase == NAMED_VALUE && request->header == HOST;
}

static struct tracker_facts facts(const void *state)
{
	const struct http1 *http1 = state;

	return (struct tracker_facts){
		.repeatable = is_repeatable(http1),
		.unfinished = !http1->lost && !http1->outstanding &&
			      http1->request.phase != START && !head_is_over(&http1->request),
		.lost = http1->lost,
		.first_host = http1->first_host,
		.host = is_in_host(&http1->request) ? 0 : http1->host,
		.keeps_ms = keeps_ms(http1),
	};
}

const struct tracker http1_tracker = {
	.name = "http",
	.state_size = sizeof(struct http1),
	.recognise = recognise,
	.sent = sent,
	.received = received,
	.verdict = verdict,
	.facts = facts,
};

struct http1_facts http1_facts(const void *state)
{
	const struct http1 *http1 = state;

	return (struct http1_facts){
		.exchanges = http1->exchanges,
		.keep_alive_timeout = http1->keep_alive_timeout,
		.keep_alive_max = http1->keep_alive_max,
		.general = facts(state),
	};
}

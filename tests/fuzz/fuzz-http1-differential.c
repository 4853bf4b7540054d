/* Whenever the HTTP/1.x tracker calls a connection idle, another parser that was told the same has
 * seen exactly complete messages, as many answers as requests, and would keep it alive. */
#include "tests/fuzz/fuzz.h"

#include <http_parser.h>
#include <strings.h>

#include "pool/trackers/http1.h"

#define REQUESTS_MAX 256

struct peer {
	http_parser requests, responses;
	struct {
		char start[32];
		size_t len;
	} name[2]; /* of the header being read, by enum http_parser_type */
	bool is_head[REQUESTS_MAX];
	unsigned begun, ended;    /* messages */
	unsigned asked, answered; /* requests and final responses in full */
	bool closes;              /* one of them was not to be kept alive */
	bool differs;             /* refused for what the tracker is right to allow */
};

static int message_begins(http_parser *parser)
{
	struct peer *peer = parser->data;

	peer->begun++;
	return 0;
}

/* 1: no body follows, whatever the headers say. */
static int response_head_ends(http_parser *parser)
{
	const struct peer *peer = parser->data;

	if (parser->status_code == 304)
		return 1;
	return parser->status_code >= 200 && peer->answered < peer->asked &&
	       peer->is_head[peer->answered];
}

static int message_ends(http_parser *parser)
{
	struct peer *peer = parser->data;

	peer->ended++;
	if (!http_should_keep_alive(parser))
		peer->closes = true;
	if (parser == &peer->responses) {
		peer->answered += parser->status_code >= 200;
	} else {
		MUST(peer->asked < REQUESTS_MAX);
		peer->is_head[peer->asked++] = parser->method == HTTP_HEAD;
	}
	return 0;
}

/* It takes any name that begins with Transfer-Encoding for a Transfer-Encoding. */
static int field_name(http_parser *parser, const char *bytes, size_t len)
{
	static const char prefix[] = "transfer-encoding";
	struct peer *peer = parser->data;

	char *start = peer->name[parser->type].start;
	size_t *known = &peer->name[parser->type].len;

	for (size_t i = 0; i < len && *known < sizeof(peer->name[0].start); i++)
		start[(*known)++] = bytes[i];
	if (*known > sizeof(prefix) - 1 && strncasecmp(start, prefix, sizeof(prefix) - 1) == 0)
		peer->differs = true;
	return 0;
}

static int field_value(http_parser *parser, const char *bytes, size_t len)
{
	struct peer *peer = parser->data;

	(void)bytes;
	(void)len;
	peer->name[parser->type].len = 0;
	return 0;
}

static const http_parser_settings request_settings = {
	.on_message_begin = message_begins,
	.on_header_field = field_name,
	.on_header_value = field_value,
	.on_message_complete = message_ends,
};

static const http_parser_settings response_settings = {
	.on_message_begin = message_begins,
	.on_header_field = field_name,
	.on_header_value = field_value,
	.on_headers_complete = response_head_ends,
	.on_message_complete = message_ends,
};

/* It takes no HTAB after a Content-Length: RFC 9110 5.6.3 says that a space is as good. */
static char *with_spaces_for_tabs(const struct piece *piece)
{
	char *bytes = malloc(piece->len);

	MUST(bytes || !piece->len);
	for (size_t i = 0; i < piece->len; i++)
		bytes[i] = piece->bytes[i] == '\t' ? ' ' : piece->bytes[i];
	return bytes;
}

static void tell(struct peer *peer, const struct piece *piece)
{
	http_parser *parser = piece->sent ? &peer->requests : &peer->responses;
	char *bytes = with_spaces_for_tabs(piece);

	for (size_t at = 0; at < piece->len && !HTTP_PARSER_ERRNO(parser);) {
		at += http_parser_execute(parser,
			piece->sent ? &request_settings : &response_settings, bytes + at,
			piece->len - at);
		/* It stops where a request asks for an upgrade, which nobody has answered yet. */
		parser->upgrade = 0;
	}
	free(bytes);

	/* It knows fewer methods, and wants targets to be in ASCII and of a known form. */
	if (HTTP_PARSER_ERRNO(parser) == HPE_INVALID_METHOD ||
		HTTP_PARSER_ERRNO(parser) == HPE_INVALID_URL)
		peer->differs = true;
}

static void must_be_idle(const struct peer *peer, unsigned exchanges)
{
	MUST(HTTP_PARSER_ERRNO(&peer->requests) == HPE_OK);
	MUST(HTTP_PARSER_ERRNO(&peer->responses) == HPE_OK);
	MUST(peer->begun == peer->ended);
	MUST(peer->asked == exchanges);
	MUST(peer->answered == exchanges);
	MUST(!peer->closes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_Alignas(max_align_t) uint8_t state[TRACKER_STATE_MAX] = {0};
	struct peer peer = {0};
	struct piece piece;

	http_parser_init(&peer.requests, HTTP_REQUEST);
	http_parser_init(&peer.responses, HTTP_RESPONSE);
	peer.requests.data = peer.responses.data = &peer;

	while (!peer.differs && peer.asked < REQUESTS_MAX / 2 && next_piece(&data, &size, &piece)) {
		const uint8_t *bytes = piece.unseen ? NULL : piece.bytes;

		if (piece.sent)
			http1_tracker.sent(state, bytes, piece.len);
		else
			http1_tracker.received(state, bytes, piece.len);
		if (http1_tracker.verdict(state) != REFUSED_NOT &&
			http1_tracker.verdict(state) != REFUSED_BUSY)
			break;
		tell(&peer, &piece);
		if (http1_tracker.verdict(state) == REFUSED_NOT && !peer.differs)
			must_be_idle(&peer, http1_facts(state).exchanges);
	}
	return 0;
}

/* Uses connections as standard input says, a step a line: PORT [CONTROL]
 *
 *     on N           what follows is for connection N (0 to 7; 0 at first)
 *     open, close    a blocking connection to PORT
 *     send TEXT      \r, \n, \0 and \\ stand for themselves
 *     fill N         sends N bytes that depend on N alone
 *     replies N      receives and shows so many RESP replies, pushes among them
 *     lines N        receives and shows so many lines that end in CRLF
 *     bytes N        receives exactly so many bytes, and shows them
 *     some N         one recv() of at most N bytes; shows how many there were
 *     end            receives until the server ends it, and shows what came and how it ended
 *     shutdown HOW   0, 1, 2: SHUT_RD, SHUT_WR, SHUT_RDWR
 *     tell WORD      says WORD to the test, at the UNIX socket CONTROL; shows its answer
 *
 * A test does at the server what it is told to, and answers when that has happened: so nothing
 * here needs to wait for any time.
 */
#include "client.h"
#include <ctype.h>
#include <sys/un.h>

#define SLOTS 8
#define SHOWN 400 /* of what was received, byte by byte; of the rest its length and checksum */

static int fds[SLOTS], chosen;
static const char *control;

static struct {
	size_t length;
	uint32_t checksum;
	char start[SHOWN];
} got;

static void note(const char *data, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (got.length + i < SHOWN)
			got.start[got.length + i] = data[i];
		got.checksum = got.checksum * 31 + (unsigned char)data[i];
	}
	got.length += length;
}

static void show_bytes(const char *data, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		unsigned char byte = (unsigned char)data[i];

		if (byte == '\r')
			printf("\\r");
		else if (byte == '\n')
			printf("\\n");
		else if (isprint(byte))
			putchar(byte);
		else
			printf("\\x%02x", byte);
	}
}

static void show_got(const char *what)
{
	printf("%d %s: ", chosen, what);
	show_bytes(got.start, got.length < SHOWN ? got.length : SHOWN);
	if (got.length > SHOWN)
		printf("... %zu bytes, %08x", got.length, got.checksum);
	putchar('\n');
	got.length = got.checksum = 0;
}

static void show_result(const char *what, long result)
{
	printf("%d ", chosen);
	report(what, result);
}

static void show_end(const char *what, ssize_t received)
{
	show_got(what);
	printf("%d ended: %s\n", chosen, received ? strerrorname_np(errno) : "end");
}

/* a line with its CRLF, byte by byte so that nothing behind it is taken; false: it ended */
static bool take_line(char *line, size_t size)
{
	size_t length = 0;

	while (length < size - 1) {
		ssize_t received = recv(fds[chosen], line + length, 1, 0);

		if (received != 1) {
			note(line, length);
			show_end("part", received);
			return false;
		}
		line[++length] = '\0';
		if (length >= 2 && !strcmp(line + length - 2, "\r\n"))
			break;
	}
	note(line, length);
	return true;
}

static bool take_bytes(size_t length)
{
	char data[16384];

	while (length) {
		size_t want = length < sizeof(data) ? length : sizeof(data);
		ssize_t received = recv(fds[chosen], data, want, 0);

		if (received <= 0) {
			show_end("part", received);
			return false;
		}
		note(data, (size_t)received);
		length -= (size_t)received;
	}
	return true;
}

/* how many more replies belong to the one that begins with this line */
static bool take_reply_rest(const char *line, long *left)
{
	long length = atol(line + 1);

	switch (line[0]) {
	case '$':
	case '=':
	case '!':
		return length < 0 || take_bytes((size_t)length + 2);
	case '*':
	case '~':
	case '>':
		*left += length > 0 ? length : 0;
		return true;
	case '%':
		*left += 2 * length;
		return true;
	default:
		return true;
	}
}

static void take_replies(char *rest)
{
	long n = atol(rest);
	char line[512];

	while (n-- > 0) {
		for (long left = 1; left > 0; left--) {
			if (!take_line(line, sizeof(line)) || !take_reply_rest(line, &left))
				return;
		}
		show_got("reply");
	}
}

static void take_lines(char *rest)
{
	long n = atol(rest);
	char line[512];

	while (n-- > 0) {
		if (!take_line(line, sizeof(line)))
			return;
		show_got("line");
	}
}

static void take_some(char *rest)
{
	long n = atol(rest);
	char data[16384];
	size_t want = (size_t)n < sizeof(data) ? (size_t)n : sizeof(data);
	ssize_t received = recv(fds[chosen], data, want, 0);

	show_result("some", received);
}

static void take_exactly(char *rest)
{
	if (take_bytes((size_t)atol(rest)))
		show_got("bytes");
}

static void take_all(char *rest)
{
	char data[16384];
	ssize_t received;

	(void)rest;
	while ((received = recv(fds[chosen], data, sizeof(data), 0)) > 0)
		note(data, (size_t)received);
	show_end("rest", received);
}

/* in place; the length */
static size_t unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; from++) {
		if (*from != '\\') {
			*to++ = *from;
			continue;
		}
		from++;
		*to++ = *from == 'r' ? '\r' : *from == 'n' ? '\n' : *from == '0' ? '\0' : *from;
	}
	return (size_t)(to - text);
}

static void send_it(char *text)
{
	size_t length = unescape(text);

	show_result("send", send_all(fds[chosen], text, length) ? (long)length : -1);
}

static void fill(char *rest)
{
	long n = atol(rest);
	char data[16384];
	long left = n;

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (char)('a' + (i + (size_t)n) % 26);
	while (left > 0) {
		size_t part = (size_t)left < sizeof(data) ? (size_t)left : sizeof(data);

		if (!send_all(fds[chosen], data, part))
			break;
		left -= (long)part;
	}
	show_result("fill", left > 0 ? -1 : n);
}

static void tell(char *word)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char answer[512];
	ssize_t received;

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", control);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)))
		die("control");
	send_text(fd, word);
	send_text(fd, "\n");
	printf("%s: ", word);
	while ((received = recv(fd, answer, sizeof(answer), 0)) > 0)
		show_bytes(answer, (size_t)received);
	putchar('\n');
	close(fd);
}

static void shut(char *rest)
{
	show_result("shutdown", shutdown(fds[chosen], atoi(rest)));
}

static void open_it(char *rest)
{
	(void)rest;
	fds[chosen] = socket(AF_INET, SOCK_STREAM, 0);
	if (fds[chosen] < 0)
		die("socket");
	show_result("open", connect_to(fds[chosen], port));
}

static void close_it(char *rest)
{
	(void)rest;
	show_result("close", close(fds[chosen]));
}

static void choose(char *rest)
{
	chosen = atoi(rest) % SLOTS;
}

static const struct {
	const char *name;
	void (*run)(char *rest);
} steps[] = {
	{"on", choose},
	{"open", open_it},
	{"close", close_it},
	{"send", send_it},
	{"fill", fill},
	{"replies", take_replies},
	{"lines", take_lines},
	{"bytes", take_exactly},
	{"some", take_some},
	{"end", take_all},
	{"shutdown", shut},
	{"tell", tell},
};

static bool do_line(char *line)
{
	char *rest = line + strcspn(line, " ");

	if (*rest)
		*rest++ = '\0';
	for (size_t i = 0; i < COUNT(steps); i++) {
		if (!strcmp(line, steps[i].name)) {
			steps[i].run(rest);
			return true;
		}
	}
	return false;
}

int main(int argc, char **argv)
{
	static char line[65536];

	if (argc < 2)
		return 3;
	port = atoi(argv[1]);
	control = argc > 2 ? argv[2] : "";
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		if (!do_line(line)) {
			fprintf(stderr, "no such step: %s\n", line);
			return 3;
		}
	}
	return 0;
}

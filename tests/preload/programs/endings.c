/* The ways in which real clients end a connection, each followed by a new one. */
#include "client.h"

static void read_to_end(int fd)
{
	char data[4096];
	size_t total = 0;
	ssize_t length;

	while ((length = recv(fd, data, sizeof(data), 0)) > 0)
		total += (size_t)length;
	report("end", length);
	printf("%zu bytes\n", total);
}

/* nc -N, socat: the server answers when it has seen the client's end */
static void half_close(void)
{
	for (int i = 0; i < 3; i++) {
		int fd = dial();

		send_text(fd, "some input");
		report("shutdown", shutdown(fd, SHUT_WR));
		read_to_end(fd);
		report("close", close(fd));
	}
}

static void after_shutdown(int how)
{
	for (int i = 0; i < 3; i++) {
		int fd = dial();

		fetch(fd, "/bytes/100");
		report("shutdown", shutdown(fd, how));
		report("close", close(fd));
	}
	visit("/bytes/200");
}

/* aria2, libmemcached: no FIN has come back yet, and none will for a while */
static void shutdown_write(void)
{
	after_shutdown(SHUT_WR);
}

static void shutdown_read(void)
{
	after_shutdown(SHUT_RD);
}

static void shutdown_both(void)
{
	after_shutdown(SHUT_RDWR);
}

/* one exchange per connection, as each side may decide */
static void each_time(void)
{
	for (int i = 0; i < 5; i++)
		visit("/bytes/100");
}

/* The client said it: an old server may not repeat it. */
static void client_says_close(void)
{
	for (int i = 0; i < 3; i++) {
		int fd = dial();

		send_text(fd, "GET /bytes/50 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
		show("/bytes/50", receive(fd, true));
		report("close", close(fd));
	}
}

static void read_line(int fd)
{
	char line[128] = "";

	for (size_t at = 0; at < sizeof(line) - 1 && !strchr(line, '\n'); at++) {
		if (recv(fd, line + at, 1, 0) != 1)
			break;
	}
	line[strcspn(line, "\r\n")] = '\0';
	printf("< %s\n", line);
}

static void say(int fd, const char *line)
{
	send_text(fd, line);
	send_text(fd, "\r\n");
}

/* libpq's X, MySQL's COM_QUIT, memcached's quit: the server ends, but has not yet */
static void line_quit(void)
{
	for (int i = 0; i < 3; i++) {
		int fd = dial();

		say(fd, "echo hello");
		read_line(fd);
		say(fd, "quit");
		report("close", close(fd));
	}
}

static void http_quit(void)
{
	for (int i = 0; i < 3; i++) {
		int fd = dial();

		fetch(fd, "/bytes/100");
		say(fd, "quit");
		report("close", close(fd));
	}
}

/* redis' SELECT: what one life set must not be there in the next */
static void line_state(void)
{
	for (int i = 0; i < 3; i++) {
		int fd = dial();

		say(fd, "which");
		read_line(fd);
		say(fd, "select 3");
		read_line(fd);
		report("close", close(fd));
	}
}

/* SMTP, MySQL: the server speaks first, once per connection */
static void greeted(void)
{
	for (int i = 0; i < 3; i++) {
		int fd = dial();

		read_line(fd);
		fetch(fd, "/bytes/100");
		report("close", close(fd));
	}
}

static void record(int fd, unsigned char type, const char *payload)
{
	char data[64] = {(char)type, 3, 3, 0, (char)strlen(payload)};
	unsigned char reply[64];
	ssize_t length;

	memcpy(data + 5, payload, strlen(payload));
	send_all(fd, data, 5 + strlen(payload));
	length = recv(fd, reply, sizeof(reply), 0);
	printf("reply: %zd bytes, type %d\n", length, length > 0 ? reply[0] : -1);
}

/* requests' way of ending TLS: no close_notify */
static void tls(void)
{
	for (int i = 0; i < 3; i++) {
		int fd = dial();

		record(fd, 22, "hello");
		record(fd, 23, "data");
		report("close", close(fd));
	}
}

/* asked, and gone before the answer: it belongs to nobody */
static void unanswered(void)
{
	int fd = dial();

	request(fd, "GET", "/echo/first");
	report("close", close(fd));
	fd = dial();
	request(fd, "GET", "/echo/second");
	release();
	show("second", receive(fd, true));
	close(fd);
}

/* half a request: the rest would be taken from the next life */
static void half_a_request(void)
{
	int fd = dial();

	fetch(fd, "/bytes/10");
	send_text(fd, "GET /echo/half HTTP/1.1\r\nHo");
	close(fd);
	visit("/echo/whole");
}

static void half_a_body(void)
{
	int fd = dial();

	send_text(fd, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf");
	close(fd);
	visit("/echo/whole");
}

/* most of the answer is never read */
static void unread(void)
{
	for (int i = 0; i < 3; i++) {
		int fd = dial();

		request(fd, "GET", i % 2 ? "/chunked/100000" : "/bytes/100000");
		report("recv", recv(fd, (char[10]){0}, 10, MSG_WAITALL));
		report("close", close(fd));
	}
	visit("/echo/next");
}

/* the whole body is read, but not the end of the last chunk */
static void unread_chunk_end(void)
{
	char head[1024];
	int fd = dial();

	request(fd, "GET", "/chunked/10");
	receive_head(fd, head, sizeof(head));
	recv(fd, head, 3 + 10, MSG_WAITALL);
	close(fd);
	visit("/echo/next");
}

static void framed_then_end(void)
{
	for (int i = 0; i < 3; i++) {
		int fd = dial();

		fetch(fd, "/bytes/100");
		read_to_end(fd);
		report("close", close(fd));
	}
}

static void to_end(void)
{
	for (int i = 0; i < 3; i++) {
		int fd = dial();

		request(fd, "GET", "/bytes/100");
		read_to_end(fd);
		report("close", close(fd));
	}
}

/* The second user of a connection reads to the end, and the end comes. */
static void end_in_second_life(void)
{
	int fd;

	visit("/bytes/100");
	fd = dial();
	fetch(fd, "/bytes/200");
	release();
	read_to_end(fd);
	report("close", close(fd));
	visit("/bytes/300");
}

/* The server ends, or goes on talking on, a connection that is parked. */
static void changed_while_parked(void)
{
	visit("/bytes/100");
	release();
	visit("/bytes/200");
	visit("/bytes/300");
}

/* ... or that is still open, but will not be read again */
static void changed_before_close(void)
{
	int fd = dial();

	fetch(fd, "/bytes/100");
	release();
	report("close", close(fd));
	visit("/bytes/200");
}

static void linger_zero(void)
{
	struct linger now = {.l_onoff = 1};

	for (int i = 0; i < 3; i++) {
		int fd = dial();

		fetch(fd, "/bytes/100");
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		report("close", close(fd));
	}
}

static int last = -1;

static void close_last(void)
{
	fetch(last, "/echo/atexit");
	report("close", close(last));
	visit("/echo/atexit2");
	fflush(stdout);
}

static void in_atexit(void)
{
	atexit(close_last);
	visit("/echo/before");
	last = dial();
}

/* never closed at all: the kernel does it */
static void left_open(void)
{
	visit("/bytes/100");
	fetch(dial(), "/bytes/200");
}

static void quick_exit_open(void)
{
	visit("/bytes/100");
	fflush(stdout);
	_exit(7);
}

static const struct scenario scenarios[] = {
	{"half_close", half_close},
	{"shutdown_write", shutdown_write},
	{"shutdown_read", shutdown_read},
	{"shutdown_both", shutdown_both},
	{"each_time", each_time},
	{"client_says_close", client_says_close},
	{"line_quit", line_quit},
	{"http_quit", http_quit},
	{"line_state", line_state},
	{"greeted", greeted},
	{"tls", tls},
	{"unanswered", unanswered},
	{"half_a_request", half_a_request},
	{"half_a_body", half_a_body},
	{"unread", unread},
	{"unread_chunk_end", unread_chunk_end},
	{"framed_then_end", framed_then_end},
	{"to_end", to_end},
	{"end_in_second_life", end_in_second_life},
	{"changed_while_parked", changed_while_parked},
	{"changed_before_close", changed_before_close},
	{"linger_zero", linger_zero},
	{"in_atexit", in_atexit},
	{"left_open", left_open},
	{"quick_exit_open", quick_exit_open},
};

int main(int argc, char **argv)
{
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}

/* A client that says goodbye: SCENARIO PORT 0 text|binary|resp|inline.
 *
 * The server answers at once, and says what it was told. What it answers to a goodbye, and its end,
 * are read, or not.
 */
#include "client.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#define LIMIT_S 20
#define N_LIVES 5

struct words {
	const char *data;
	size_t length;
};

#define WORDS(text)                                                                                \
	{                                                                                          \
		text, sizeof(text) - 1                                                             \
	}

static const struct protocol {
	const char *name;
	struct words ask, answer, goodbye, farewell;
} protocols[] = {
	{"text", WORDS("get a\r\n"), WORDS("END\r\n"), WORDS("quit\r\n"), WORDS("")},
	{"binary", WORDS("\x80\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
		WORDS("\x81\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
		WORDS("\x80\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
		WORDS("\x81\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0")},
	{"resp", WORDS("*1\r\n$4\r\nPING\r\n"), WORDS("+PONG\r\n"), WORDS("*1\r\n$4\r\nQUIT\r\n"),
		WORDS("+OK\r\n")},
	{"inline", WORDS("PING\r\n"), WORDS("+PONG\r\n"), WORDS("QUIT\r\n"), WORDS("+OK\r\n")},
};

static const struct protocol *protocol = &protocols[0];

static void say(int fd, struct words words)
{
	report("send", send(fd, words.data, words.length, MSG_NOSIGNAL));
}

static void hear(int fd, struct words words)
{
	char data[64];
	ssize_t length = recv(fd, data, words.length, MSG_WAITALL);

	printf("heard: %d\n",
		length == (ssize_t)words.length && !memcmp(data, words.data, words.length));
}

static void exchange(int fd)
{
	say(fd, protocol->ask);
	hear(fd, protocol->answer);
}

static int dial_and_ask(void)
{
	int fd = dial();

	exchange(fd);
	return fd;
}

static int dial_and_quit(void)
{
	int fd = dial_and_ask();

	say(fd, protocol->goodbye);
	return fd;
}

static void leave(int fd)
{
	report("close", close(fd));
}

/* The server's last words, and its end. */
static void hear_farewell(int fd)
{
	if (protocol->farewell.length)
		hear(fd, protocol->farewell);
	report("recv", recv(fd, (char[8]){0}, 8, 0));
}

/* ---- nothing but close() ---- */

static void lives(void)
{
	for (int i = 0; i < N_LIVES; i++)
		leave(dial_and_quit());
}

static void lives_by_write(void)
{
	for (int i = 0; i < N_LIVES; i++) {
		int fd = dial_and_ask();

		report("write", write(fd, protocol->goodbye.data, protocol->goodbye.length));
		leave(fd);
	}
}

/* as libmemcached does */
static void lives_shut_down(void)
{
	for (int i = 0; i < N_LIVES; i++) {
		int fd = dial_and_quit();

		report("shutdown", shutdown(fd, SHUT_WR));
		/* whether it fails depends on whether the server's end has come */
		shutdown(fd, SHUT_RD);
		leave(fd);
	}
}

static void lives_in_set(void)
{
	struct epoll_event event = {.events = EPOLLIN};
	int set = epoll_create1(EPOLL_CLOEXEC);

	for (int i = 0; i < N_LIVES; i++) {
		int fd = dial_and_ask();

		epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
		say(fd, protocol->goodbye);
		report("epoll_ctl", epoll_ctl(set, EPOLL_CTL_DEL, fd, NULL));
		leave(fd);
	}
	close(set);
}

/* ---- something else ---- */

static void reads(void)
{
	for (int i = 0; i < N_LIVES; i++) {
		int fd = dial_and_quit();

		hear_farewell(fd);
		leave(fd);
	}
}

static void polls(void)
{
	for (int i = 0; i < N_LIVES; i++) {
		int fd = dial_and_quit();
		struct pollfd polled = {.fd = fd, .events = POLLIN};

		report("poll", poll(&polled, 1, -1));
		hear_farewell(fd);
		leave(fd);
	}
}

static void selects(void)
{
	for (int i = 0; i < N_LIVES; i++) {
		int fd = dial_and_quit();
		fd_set set;

		FD_ZERO(&set);
		FD_SET(fd, &set);
		report("select", select(fd + 1, &set, NULL, NULL, NULL));
		hear_farewell(fd);
		leave(fd);
	}
}

static void waits_by_epoll(void)
{
	struct epoll_event event = {.events = EPOLLIN};
	int set = epoll_create1(EPOLL_CLOEXEC);

	for (int i = 0; i < N_LIVES; i++) {
		int fd = dial_and_ask();

		epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
		say(fd, protocol->goodbye);
		report("epoll_wait", epoll_wait(set, &event, 1, -1));
		hear_farewell(fd);
		leave(fd);
	}
	close(set);
}

static void shuts_down_and_reads(void)
{
	int fd = dial_and_quit();

	report("shutdown", shutdown(fd, SHUT_WR));
	hear_farewell(fd);
	leave(fd);
}

static void looks_how_much(void)
{
	int fd = dial_and_quit();
	int unread = -1;

	while (!ioctl(fd, FIONREAD, &unread) && unread < (int)protocol->farewell.length)
		poll(NULL, 0, 1);
	hear_farewell(fd);
	leave(fd);
}

static void sleeps(void)
{
	struct timespec instant = {.tv_nsec = 1};
	int fd = dial_and_quit();

	nanosleep(&instant, NULL);
	leave(fd);
}

static void opens_another(void)
{
	int fd = dial_and_quit(), other = dial_and_ask();

	hear_farewell(fd);
	exchange(other);
	leave(fd);
	leave(other);
}

static void forks(void)
{
	int fd = dial_and_quit();
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid) {
		waitpid(pid, NULL, 0);
		leave(fd);
		return;
	}
	hear_farewell(fd);
	leave(fd);
	fflush(stdout);
	_exit(0);
}

static void exits(void)
{
	dial_and_quit();
	fflush(stdout);
	_exit(0);
}

/* ---- goodbyes that are none, or not that alone ---- */

static void in_two_pieces(void)
{
	struct words first = {protocol->goodbye.data, 3};
	struct words rest = {protocol->goodbye.data + 3, protocol->goodbye.length - 3};

	for (int i = 0; i < 2; i++) {
		int fd = dial_and_ask();

		say(fd, first);
		say(fd, rest);
		if (i)
			hear_farewell(fd);
		leave(fd);
	}
}

static void by_vector(void)
{
	struct iovec pieces[] = {{(char *)protocol->goodbye.data, 3},
		{(char *)protocol->goodbye.data + 3, protocol->goodbye.length - 3}};

	for (int i = 0; i < 2; i++) {
		int fd = dial_and_ask();

		report("writev", writev(fd, pieces, 2));
		if (i)
			hear_farewell(fd);
		leave(fd);
	}
}

static void after_another(void)
{
	size_t length = protocol->ask.length;
	char both[128];
	int fd;

	memcpy(both, protocol->ask.data, length);
	memcpy(both + length, protocol->goodbye.data, protocol->goodbye.length);
	length += protocol->goodbye.length;
	fd = dial_and_ask();
	say(fd, (struct words){both, length});
	hear(fd, protocol->answer);
	hear_farewell(fd);
	leave(fd);
}

/* The one before has not been answered yet, for this program. */
static void while_busy(void)
{
	int fd = dial_and_ask();

	say(fd, protocol->ask);
	say(fd, protocol->goodbye);
	hear(fd, protocol->answer);
	hear_farewell(fd);
	leave(fd);
}

/* What comes after a goodbye the server does not look at any more. */
static void before_another(void)
{
	int fd = dial_and_quit();

	say(fd, protocol->ask);
	if (protocol->farewell.length)
		hear(fd, protocol->farewell);
	leave(fd);
}

static void twice(void)
{
	int fd = dial_and_quit();

	say(fd, protocol->goodbye);
	if (protocol->farewell.length)
		hear(fd, protocol->farewell);
	leave(fd);
}

static void at_first(void)
{
	for (int i = 0; i < 2; i++) {
		int fd = dial();

		say(fd, protocol->goodbye);
		if (i)
			hear_farewell(fd);
		leave(fd);
	}
}

static void with_more_to_come(void)
{
	int fd = dial_and_ask();

	report("send", send(fd, protocol->goodbye.data, protocol->goodbye.length,
			       MSG_MORE | MSG_NOSIGNAL));
	hear_farewell(fd);
	leave(fd);
}

static void to_duplicate(void)
{
	int fd = dial_and_ask(), copy = dup(fd);

	say(fd, protocol->goodbye);
	leave(fd);
	hear_farewell(copy);
	leave(copy);
}

static const struct scenario scenarios[] = {
	{"lives", lives},
	{"lives_by_write", lives_by_write},
	{"lives_shut_down", lives_shut_down},
	{"lives_in_set", lives_in_set},
	{"reads", reads},
	{"polls", polls},
	{"selects", selects},
	{"waits_by_epoll", waits_by_epoll},
	{"shuts_down_and_reads", shuts_down_and_reads},
	{"looks_how_much", looks_how_much},
	{"sleeps", sleeps},
	{"opens_another", opens_another},
	{"forks", forks},
	{"exits", exits},
	{"in_two_pieces", in_two_pieces},
	{"by_vector", by_vector},
	{"after_another", after_another},
	{"while_busy", while_busy},
	{"before_another", before_another},
	{"twice", twice},
	{"at_first", at_first},
	{"with_more_to_come", with_more_to_come},
	{"to_duplicate", to_duplicate},
};

int main(int argc, char **argv)
{
	alarm(LIMIT_S);
	for (size_t i = 0; argc > 4 && i < COUNT(protocols); i++) {
		if (!strcmp(argv[4], protocols[i].name))
			protocol = &protocols[i];
	}
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}

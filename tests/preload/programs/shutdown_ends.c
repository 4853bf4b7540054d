/* What becomes of a connection after shutdown() in the end:
 *
 *	shutdown_ends SCENARIO PORT CONTROL_PORT RD|WR|RDWR [SCRATCH]
 *
 * With a port of 0 there is a server of this program's own, in a child, for one connection; it
 * writes to SCRATCH/output how that ended.
 */
#include "shutdowns.h"
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#define N_LIVES 5

static int how;
static char room[64];
static char **arguments;

static int dial_and_shut_down(void)
{
	int fd = dial_and_fetch();

	report("shutdown", shutdown(fd, how));
	return fd;
}

static void start_server(const char *directory)
{
	struct sockaddr_in any = loopback(0);
	char name[512];
	int ready[2], listener, fd;

	if (pipe2(ready, O_CLOEXEC))
		die("pipe");
	if (fork()) {
		close(ready[1]);
		if (read(ready[0], &port, sizeof(port)) != sizeof(port))
			die("no server");
		close(ready[0]);
		return;
	}
	alarm(2 * LIMIT_S);
	listener = listen_on((struct sockaddr *)&any, sizeof(any));
	port = port_of(listener);
	if (write(ready[1], &port, sizeof(port)) < 0)
		die("write");
	snprintf(name, sizeof(name), "%s/output", directory);
	server_says = fopen(name, "a");
	fd = accept(listener, NULL, NULL);
	if (fd < 0 || !server_says)
		die("server");
	serve_connection(fd);
	_exit(0);
}

/* ---- ends of the process: the kernel ends the connection, if nobody did ---- */

static void returns(void)
{
	dial_and_shut_down();
}

/* The one who asked for it does not get to see it any more. */
static void closes(void)
{
	report("close", close(dial_and_shut_down()));
}

static void exits(void)
{
	dial_and_shut_down();
	exit(5);
}

static void exits_at_once(void)
{
	dial_and_shut_down();
	fflush(stdout);
	_exit(5);
}

static void exits_quickly(void)
{
	dial_and_shut_down();
	fflush(stdout);
	quick_exit(5);
}

static void aborts(void)
{
	dial_and_shut_down();
	fflush(stdout);
	abort();
}

static void is_killed(void)
{
	dial_and_shut_down();
	fflush(stdout);
	kill(getpid(), SIGKILL);
}

/* by SIGPIPE */
static void writes(void)
{
	int fd = dial_and_shut_down();

	fflush(stdout);
	report("write", write(fd, "x", 1));
}

static int of_atexit = -1;

static void shut_down_at_exit(void)
{
	report("shutdown", shutdown(of_atexit, how));
	fflush(stdout);
}

static void at_exit(void)
{
	of_atexit = dial_and_fetch();
	atexit(shut_down_at_exit);
}

/* ---- other processes ---- */

/* A server of our own says it, and ends when it likes. */
static void show_end(int fd)
{
	struct pollfd polled = {.fd = fd, .events = POLLIN | POLLRDHUP};

	if (!control_port)
		return;
	report("poll", poll(&polled, 1, 0));
	printf("events: %x\n", (unsigned)polled.revents);
	if (how != SHUT_RD)
		printf("sent: %d\n", has_ended(fd));
	report("recv", recv(fd, room, sizeof(room), MSG_DONTWAIT));
	report("send", send(fd, "x", 1, MSG_NOSIGNAL));
}

static void execute(int fd)
{
	char number[16];

	snprintf(number, sizeof(number), "%d", fd);
	fflush(stdout);
	execl("/proc/self/exe", arguments[0], "after_exec", number, arguments[3], arguments[4],
		(char *)NULL);
	die("execl");
}

static void after_exec(void)
{
	show_end(port);
}

static void executes(void)
{
	execute(dial_and_shut_down());
}

static void executes_and_closes(void)
{
	int fd = dial_and_fetch();

	fcntl(fd, F_SETFD, FD_CLOEXEC);
	report("shutdown", shutdown(fd, how));
	fflush(stdout);
	execl("/bin/echo", "echo", "executed", (char *)NULL);
	die("execl");
}

static void forks(void)
{
	int fd = dial_and_shut_down();
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid) {
		waitpid(pid, NULL, 0);
		report("close", close(fd));
		return;
	}
	show_end(fd);
	report("close in the child", close(fd));
	fflush(stdout);
	_exit(0);
}

/* The child closes all: the connection is the parent's to end, and was ended. */
static void vforks(void)
{
	int fd = dial_and_shut_down();
	pid_t pid = vfork();

	if (!pid) {
		close(fd);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	show_end(fd);
	report("close", close(fd));
}

/* One that was there before: there is more than one who holds it. */
static void forked_before(void)
{
	int fd = dial_and_fetch(), ends[2];
	char byte;
	pid_t pid;

	if (pipe(ends))
		die("pipe");
	fflush(stdout);
	pid = fork();
	if (!pid) {
		close(ends[1]);
		if (read(ends[0], &byte, 1) != 1)
			printf("not told\n");
		show_end(fd);
		fflush(stdout);
		_exit(0);
	}
	report("shutdown", shutdown(fd, how));
	report("close", close(fd));
	if (write(ends[1], "x", 1) != 1)
		die("write");
	waitpid(pid, NULL, 0);
}

/* ---- other numbers ---- */

static void duplicated_before(void)
{
	int fd = dial_and_fetch(), copy = dup(fd);

	report("shutdown", shutdown(fd, how));
	report("close", close(fd));
	show_end(copy);
	report("close", close(copy));
}

static void duplicated_over(void)
{
	int fd = dial_and_shut_down(), file = open("/dev/zero", O_RDONLY);

	report("dup2", dup2(file, fd) == fd);
	report("read", read(fd, room, 8));
	report("close", close(fd));
	report("close", close(file));
}

static void closed_in_range(void)
{
	int fd = dial_and_shut_down();

	report("close_range", close_range((unsigned)fd, (unsigned)fd, 0));
	report("close", close(fd));
}

/* Nobody saw that it was closed, and the number is another connection's, or a file's. */
static void closed_unseen(void)
{
	struct sockaddr_in address = loopback(port);
	int fd = dial_and_shut_down(), other;

	RAW_CALL(SYS_close, fd);
	other = (int)RAW_CALL(SYS_socket, AF_INET, SOCK_STREAM, 0);
	printf("same number: %d\n", other == fd);
	RAW_CALL(SYS_connect, other, &address, sizeof(address));
	poll(NULL, 0, 0);
	fetch(other, "/echo/other");
	usleep(1);
	fetch(other, "/echo/other-again");
	report("shutdown", shutdown(other, SHUT_WR));
	report("close", close(other));
}

static void closed_unseen_for_pair(void)
{
	int fd = dial_and_shut_down(), pair[2];

	RAW_CALL(SYS_close, fd);
	RAW_CALL(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, pair);
	printf("same number: %d\n", pair[0] == fd);
	poll(NULL, 0, 0);
	report("write", write(pair[0], "hello", 5));
	report("read", read(pair[1], room, sizeof(room)));
	report("close", close(pair[0]));
	report("close", close(pair[1]));
}

static void by_stream(void)
{
	int fd = dial_and_fetch();
	FILE *stream = fdopen(fd, "r+");

	report("shutdown", shutdown(fd, how));
	report("fgetc", how == SHUT_WR ? EOF : fgetc(stream));
	report("fclose", fclose(stream));
}

static void stream_after(void)
{
	int fd = dial_and_shut_down();
	FILE *stream = fdopen(fd, "r");

	report("fgetc", how == SHUT_WR ? EOF : fgetc(stream));
	report("fclose", fclose(stream));
}

/* ---- other states ---- */

/* The end comes first, and is followed by a reset. */
static void lingers_for_nothing(void)
{
	struct linger now = {.l_onoff = 1};
	int fd = dial_and_shut_down();

	report("SO_LINGER", setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)));
	report("close", close(fd));
}

static void lingered_for_nothing(void)
{
	struct linger now = {.l_onoff = 1};
	int fd = dial_and_fetch();

	report("SO_LINGER", setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)));
	report("shutdown", shutdown(fd, how));
	report("close", close(fd));
}

/* What was answered is not read, or not all of it. */
static void answer_unread(void)
{
	char head[1024];

	for (int i = 0; i < 2; i++) {
		int fd = dial();

		request(fd, "GET", "/bytes/1000");
		receive_head(fd, head, sizeof(head));
		recv(fd, room, i ? 10 : 1, MSG_WAITALL);
		report("shutdown", shutdown(fd, how));
		if (how != SHUT_RD)
			printf("sent: %d\n", has_ended(fd));
		report("close", close(fd));
	}
}

/* release(), by calls that nobody sees */
static void release_unseen(void)
{
	struct sockaddr_in address = loopback(control_port);
	const char text[] = "GET /release HTTP/1.1\r\nHost: loopback\r\n\r\n";
	int fd = (int)RAW_CALL(SYS_socket, AF_INET, SOCK_STREAM, 0);

	if (RAW_CALL(SYS_connect, fd, &address, sizeof(address)) < 0 ||
		RAW_CALL(SYS_write, fd, text, sizeof(text) - 1) < 0 ||
		RAW_CALL(SYS_read, fd, room, sizeof(room)) <= 0)
		die("release");
	RAW_CALL(SYS_close, fd);
}

/* The server says more, or ends, in between: what follows is a real close(). */
static void server_acts_in_between(void)
{
	int fd = dial_and_shut_down();

	release_unseen();
	report("close", close(fd));
	visit("/echo/next");
}

/* ---- signals ---- */

static int of_handler = -1;
static sigjmp_buf outside;

static void shut_down_in_handler(int signal)
{
	(void)signal;
	shutdown(of_handler, how);
}

static void shut_down_and_jump(int signal)
{
	(void)signal;
	shutdown(of_handler, how);
	siglongjmp(outside, 1);
}

static void in_handler(void)
{
	signal(SIGUSR1, shut_down_in_handler);
	for (int i = 0; i < N_LIVES; i++) {
		of_handler = dial_and_fetch();
		raise(SIGUSR1);
		show_end(of_handler);
		report("close", close(of_handler));
	}
}

static void jumps_out(void)
{
	signal(SIGUSR1, shut_down_and_jump);
	for (volatile int i = 0; i < N_LIVES; i++) {
		of_handler = dial_and_fetch();
		if (!sigsetjmp(outside, 1))
			raise(SIGUSR1);
		show_end(of_handler);
		report("close", close(of_handler));
	}
}

/* ---- nothing but close(): of no use to anyone but the server ---- */

static void nothing(int fd)
{
	(void)fd;
}

static void options(int fd)
{
	struct linger linger;
	socklen_t size = sizeof(linger);

	report("getsockopt", getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &size));
	report("setsockopt", setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
}

static void again(int fd)
{
	report("shutdown", shutdown(fd, how));
}

static void other_half(int fd)
{
	report("shutdown", shutdown(fd, how == SHUT_WR ? SHUT_RD : SHUT_WR));
}

static void live(void (*meanwhile)(int), bool in_set, bool by_handler)
{
	struct epoll_event event = {.events = EPOLLIN};
	int set = epoll_create1(EPOLL_CLOEXEC);

	signal(SIGUSR1, shut_down_in_handler);
	for (int i = 0; i < N_LIVES; i++) {
		int fd = of_handler = dial();

		if (in_set && epoll_ctl(set, EPOLL_CTL_ADD, fd, &event))
			die("epoll_ctl");
		fetch(fd, "/bytes/100");
		if (by_handler)
			raise(SIGUSR1);
		else
			report("shutdown", shutdown(fd, how));
		meanwhile(fd);
		if (in_set && epoll_ctl(set, EPOLL_CTL_DEL, fd, &event))
			die("epoll_ctl");
		report("close", close(fd));
		report("close", close(fd));
	}
	report("epoll_wait", epoll_wait(set, &event, 1, 0));
	close(set);
}

static void lives(void)
{
	live(nothing, false, false);
}

static void lives_with_options(void)
{
	live(options, false, false);
}

static void lives_shut_down_again(void)
{
	live(again, false, false);
}

static void lives_by_halves(void)
{
	live(other_half, false, false);
}

static void lives_in_set(void)
{
	live(nothing, true, false);
}

static void lives_by_handler(void)
{
	live(nothing, false, true);
}

/* In the second life it is read to its end, which has to come. */
static void second_life_to_end(void)
{
	int fd;

	for (int i = 0; i < N_LIVES; i++) {
		fd = dial_and_shut_down();
		report("close", close(fd));
		fd = dial();
		fetch(fd, "/echo/second");
		report("shutdown", shutdown(fd, how));
		show_end(fd);
		report("close", close(fd));
	}
}

/* Two at a time, ended in the order of their beginning. */
static void two_lives(void)
{
	for (int i = 0; i < N_LIVES; i++) {
		int first = dial_and_fetch(), second = dial_and_fetch();

		report("shutdown", shutdown(first, how));
		report("shutdown", shutdown(second, how));
		report("close", close(first));
		report("close", close(second));
	}
}

static const struct scenario scenarios[] = {
	{"returns", returns},
	{"closes", closes},
	{"exits", exits},
	{"exits_at_once", exits_at_once},
	{"exits_quickly", exits_quickly},
	{"aborts", aborts},
	{"is_killed", is_killed},
	{"writes", writes},
	{"at_exit", at_exit},
	{"after_exec", after_exec},
	{"executes", executes},
	{"executes_and_closes", executes_and_closes},
	{"forks", forks},
	{"vforks", vforks},
	{"forked_before", forked_before},
	{"duplicated_before", duplicated_before},
	{"duplicated_over", duplicated_over},
	{"closed_in_range", closed_in_range},
	{"closed_unseen", closed_unseen},
	{"closed_unseen_for_pair", closed_unseen_for_pair},
	{"by_stream", by_stream},
	{"stream_after", stream_after},
	{"lingers_for_nothing", lingers_for_nothing},
	{"lingered_for_nothing", lingered_for_nothing},
	{"answer_unread", answer_unread},
	{"server_acts_in_between", server_acts_in_between},
	{"in_handler", in_handler},
	{"jumps_out", jumps_out},
	{"lives", lives},
	{"lives_with_options", lives_with_options},
	{"lives_shut_down_again", lives_shut_down_again},
	{"lives_by_halves", lives_by_halves},
	{"lives_in_set", lives_in_set},
	{"lives_by_handler", lives_by_handler},
	{"second_life_to_end", second_life_to_end},
	{"two_lives", two_lives},
};

int main(int argc, char **argv)
{
	static char own[16];

	alarm(LIMIT_S);
	arguments = argv;
	how = how_of(argc > 4 ? argv[4] : "RDWR");
	if (argc > 5) {
		start_server(argv[5]);
		snprintf(own, sizeof(own), "%d", port);
		argv[2] = own;
	}
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}

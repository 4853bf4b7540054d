/* Signal handlers that use connections: close() and connect() are async-signal-safe. */
#include "client.h"
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>

#define ROUNDS           300
#define UNFINISHED       2000
#define MANY_JUMPS       200000
#define MOST_DESCRIPTORS 1024

static volatile sig_atomic_t handed = -1, handled;
static sigjmp_buf back;

static void on_signal(int number, void (*handler)(int))
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};

	sigaction(number, &action, NULL);
}

static void close_handed(int number)
{
	(void)number;
	if (handed >= 0)
		close(handed);
	handed = -1;
}

static void handler_closes(void)
{
	on_signal(SIGUSR1, close_handed);
	for (int i = 0; i < ROUNDS; i++) {
		int fd = dial();

		fetch(fd, "/bytes/100");
		handed = fd;
		raise(SIGUSR1);
		report("closed", close(fd));
	}
}

/* a whole life inside the handler, wherever the program happens to be */
static void live_in_handler(int number)
{
	int error = errno;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	char head[1024];

	(void)number;
	if (!connect_to(fd, port)) {
		send_text(fd, "GET /bytes/7 HTTP/1.1\r\nHost: h\r\n\r\n");
		if (receive_head(fd, head, sizeof(head)) && recv(fd, head, 7, MSG_WAITALL) == 7)
			handled++;
	}
	close(fd);
	errno = error;
}

static void start_timer(void (*handler)(int))
{
	struct itimerval often = {{0, 500}, {0, 500}};

	on_signal(SIGALRM, handler);
	setitimer(ITIMER_REAL, &often, NULL);
}

static void stop_timer(void)
{
	setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
}

static void handler_connects(void)
{
	start_timer(live_in_handler);
	for (int i = 0; i < ROUNDS || handled < 10; i++) {
		int fd = dial();

		request(fd, "GET", "/echo/main");
		if (strcmp(receive(fd, true).start, "main"))
			die("wrong answer");
		close(fd);
	}
	stop_timer();
	printf("done\n");
}

/* A handler that leaves by siglongjmp() may leave in the middle of any call. */
static void jump(int number)
{
	(void)number;
	handled++;
	siglongjmp(back, 1);
}

static void handler_jumps(void)
{
	static int fd;

	fd = -1;
	start_timer(jump);
	while (handled < 100) {
		if (sigsetjmp(back, 1) && fd >= 0) {
			close(fd);
			fd = -1;
		}
		if (handled >= 100)
			break;
		fd = dial();
		request(fd, "GET", "/echo/main");
		receive(fd, true);
		close(fd);
		fd = -1;
	}
	stop_timer();
	signal(SIGALRM, SIG_IGN);
	visit("/echo/afterwards");
	visit("/echo/again");
}

static int open_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < MOST_DESCRIPTORS; fd++)
		n += syscall(SYS_fcntl, fd, F_GETFD) >= 0;
	return n;
}

/* An exchange in which a timer may strike anywhere, then close(): how daemons time out. */
static void exchange_against_time(int fd, long microseconds)
{
	if (!sigsetjmp(back, 1)) {
		setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, microseconds}}, NULL);
		if (!connect_to(fd, port) && request(fd, "GET", "/bytes/10"))
			read(fd, (char[64]){0}, 64);
	}
	stop_timer();
	close(fd);
}

/* What a pool may keep is little; each connection that was lost would be one more. */
static void jumps_leak_nothing(void)
{
	int before = open_descriptors();
	unsigned seed = 7;
	int more;

	on_signal(SIGALRM, jump);
	for (int i = 0; i < UNFINISHED; i++) {
		seed = seed * 1103515245 + 12345;
		exchange_against_time(socket(AF_INET, SOCK_STREAM, 0), 1 + (seed >> 16) % 200);
		if (i % 3 == 0)
			live_in_handler(0);
	}
	signal(SIGALRM, SIG_IGN);
	more = open_descriptors() - before;
	printf("interrupted: %d, leaked: %d\n", handled > 100, more > 8 ? more : 0);
}

/* SIGPIPE comes inside the call, so this needs no time between two jumps. */
static void many_jumps(void)
{
	static int fd;

	fd = dial();
	fetch(fd, "/bytes/10");
	sigaction(SIGPIPE, &(struct sigaction){.sa_handler = jump, .sa_flags = SA_NODEFER}, NULL);
	report("shutdown", shutdown(fd, SHUT_WR));
	sigsetjmp(back, 0);
	if (handled < MANY_JUMPS)
		write(fd, "x", 1);
	report("close", close(fd));
	report("still open", syscall(SYS_fcntl, fd, F_GETFD));
	report("close again", close(fd));
}

static const struct scenario scenarios[] = {
	{"handler_closes", handler_closes},
	{"handler_connects", handler_connects},
	{"handler_jumps", handler_jumps},
	{"jumps_leak_nothing", jumps_leak_nothing},
	{"many_jumps", many_jumps},
};

int main(int argc, char **argv)
{
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}

/* Signal handlers that use connections: close() and connect() are async-signal-safe. */
#include "client.h"
#include <setjmp.h>
#include <signal.h>
#include <sys/time.h>

#define ROUNDS 300

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

static const struct scenario scenarios[] = {
	{"handler_closes", handler_closes},
	{"handler_connects", handler_connects},
	{"handler_jumps", handler_jumps},
};

int main(int argc, char **argv)
{
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}

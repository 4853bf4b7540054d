/* A handler that runs on a stack of MINSIGSTKSZ and uses the socket while read() waits for a new connection. */
#include "p.h"
static int fd; static volatile int n1 = -5; static int e1;
static void h(int s) { char b[64]; int e = errno; n1 = recv(fd, b, sizeof(b), MSG_DONTWAIT); e1 = errno; errno = e; }
int main(int argc, char **argv)
{
	init(argv);
	static char stack[2048] __attribute__((aligned(64)));
	stack_t st = {.ss_sp = malloc(MINSIGSTKSZ), .ss_size = MINSIGSTKSZ};
	if (argc > 3) sigaltstack(&st, NULL);
	struct sigaction sa = {.sa_handler = h, .sa_flags = SA_RESTART | (argc > 3 ? SA_ONSTACK : 0)};
	sigaction(SIGALRM, &sa, NULL);
	one("GET", "ok");
	fd = dial();
	request(fd, "GET", argv[2]);
	struct itimerval it = {.it_value.tv_usec = 600000};
	setitimer(ITIMER_REAL, &it, NULL);
	ssize_t n = answer(fd);
	printf("answer: %s; handler: %d\n", n > 0 ? got : n == 0 ? "EOF" : strerrorname_np(errno), n1);
	return 0;
}

/* A handler without SA_RESTART runs while a blocking read() has the request sent once more, over a connection whose
 * SYN is dropped for a while. The program calls read() again, as programs do. */
#include "p.h"
static volatile int ticks;
static void tick(int s) { (void)s; ticks++; }
int main(int argc, char **argv)
{
	init(argv);
	one("GET", "ok");
	int fd = dial();
	/* its second request makes the accept queue full for a while, then it dies of its own */
	request(fd, "GET", argc > 2 ? argv[2] : "full=2/stale-fin");
	struct sigaction sa = {.sa_handler = tick};
	sigaction(SIGALRM, &sa, NULL);
	struct itimerval it = {.it_value.tv_usec = 700000};
	setitimer(ITIMER_REAL, &it, NULL);
	char buf[4096];
	ssize_t n;
	double t = now();
	while ((n = read(fd, buf, sizeof(buf))) < 0 && errno == EINTR)
		printf("EINTR after %.1f s\n", now() - t);
	printf("read: %zd %s after %.0f s\n", n, n < 0 ? strerror(errno) : "", now() - t);
	return 0;
}

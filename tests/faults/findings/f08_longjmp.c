/* The classic time limit: alarm() and siglongjmp() out of a blocking call, then close(). Descriptors afterwards. */
#include "p.h"
static sigjmp_buf env;
static void out(int s) { (void)s; siglongjmp(env, 1); }
int main(int argc, char **argv)
{
	init(argv);
	signal(SIGALRM, out);
	int before = 0;
	for (volatile int i = 0; i < 4; i++) {
		one("GET", "ok");
		if (i == 0) before = count_fds();
		volatile int fd = dial();
		if (sigsetjmp(env, 1) == 0) {
			request(fd, "GET", "full=2/stale-fin");
			struct itimerval it = {.it_value.tv_usec = 500000};
			setitimer(ITIMER_REAL, &it, NULL);
			char buf[4096];
			read(fd, buf, sizeof(buf));
			struct itimerval off = {0}; setitimer(ITIMER_REAL, &off, NULL);
		}
		close(fd);
		usleep(2500000);
		printf("descriptors more than at first: %d\n", count_fds() - before);
	}
	return 0;
}

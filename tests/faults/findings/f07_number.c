/* While the new connection is being made, another thread closes all descriptors that are not its own (as daemons do), and
 * opens a file of its own, which it puts where it wants it (F_DUPFD at 1000, as shells do). Is it still open afterwards? */
#include "p.h"
static int mine = -1;
static void *thread(void *arg)
{
	int *keep = arg;
	usleep(700000);
	int pair[2]; socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	for (int fd = 3; fd < 4096; fd++)
		if (fd != *keep && fd != pair[0] && fd != pair[1]) close(fd);
	/* put it at every number from 150 on that is free: 64 of them */
	for (int i = 0; i < 3000; i++) {
		int fd = fcntl(pair[0], F_DUPFD, 700 + i);
		if (fd >= 0) mine = fd;
		if (fd >= 1100) break;
	}
	printf("mine: up to %d\n", mine > 0);
	char b[2000];
	for (int i = 0; i < 60; i++) {
		usleep(100000);
		ssize_t n = recv(pair[1], b, sizeof(b), MSG_DONTWAIT);
		if (n > 0) printf("my socket pair was sent %zd bytes that I did not send: %.20s\n", n, b);
		for (int fd = 700; fd <= mine; fd++)
			if (fcntl(fd, F_GETFD) < 0 && fd != *keep) { printf("a descriptor of mine was closed\n"); return NULL; }
	}
	printf("all of mine are still open\n");
	return NULL;
}
int main(int argc, char **argv)
{
	init(argv);
	one("GET", "ok");
	int fd = dial();
	pthread_t t; pthread_create(&t, NULL, thread, &fd);
	request(fd, "GET", "full=2/stale-fin");
	char buf[4096];
	ssize_t n = read(fd, buf, sizeof(buf));
	printf("read: %d %s\n", n > 0, n < 0 ? strerror(errno) : "");
	pthread_join(t, NULL);
	return 0;
}

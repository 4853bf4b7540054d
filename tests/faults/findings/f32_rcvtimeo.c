/* connect() without waiting, with a limit of the program's own; then blocking, with SO_RCVTIMEO of 1 s, as PHP and others do. */
#include "p.h"
int main(int argc, char **argv)
{
	init(argv);
	one("GET", "ok");
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	connect(fd, (void *)&addr, sizeof(addr));
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	if (poll(&p, 1, 1000) != 1) { printf("connect: my limit of 1 s\n"); return 0; }
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
	struct timeval tv = {.tv_sec = 1};
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	double t = now();
	request(fd, "GET", "full=100/stale-fin");
	ssize_t n = read(fd, got, 1000);
	printf("read: %s after %.1f s\n", n > 0 ? "answer" : n == 0 ? "EOF" : strerrorname_np(errno), now() - t);
	return 0;
}

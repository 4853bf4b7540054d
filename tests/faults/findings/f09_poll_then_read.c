/* A blocking socket with a time limit by poll(): poll(fd, 3 s) says readable, so read() will not block. The server
 * closes the reused connection, and accepts but never answers on the new one. */
#include "p.h"
int main(int argc, char **argv)
{
	init(argv);
	one("GET", "ok");
	int fd = dial();
	double t = now();
	request(fd, "GET", argc > 2 ? argv[2] : "stale-fin/hang-new");
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int r = poll(&p, 1, 2000);
	printf("poll: %d\n", r);
	if (r == 1) {
		char buf[4096];
		ssize_t n = read(fd, buf, sizeof(buf));
		printf("read: %zd\n", n);
	}
	printf("done after %.0f s\n", now() - t);
	return 0;
}

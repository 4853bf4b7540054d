#include "p.h"
int main(int argc, char **argv)
{
	init(argv);
	struct timeval tv = {.tv_sec = 1};
	one("GET", "ok");
	int fd = dial();
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	request(fd, "GET", "full=2.5/stale-fin");
	for (int i = 0; i < 12; i++) {
		ssize_t n = read(fd, got, 1000);
		printf("read: %s\n", n > 0 ? "answer" : n == 0 ? "EOF" : strerrorname_np(errno));
		if (n >= 0) break;
	}
	return 0;
}

#include "p.h"
int main(int argc, char **argv)
{
	init(argv);
	one("GET", "ok");
	int fd = dial(); request(fd, "GET", argv[2]);
	struct iovec v = {got, 1000}; struct mmsghdr m = {.msg_hdr = {.msg_iov = &v, .msg_iovlen = 1}};
	if (!strcmp(argv[3], "recvmmsg")) {
		int n = recvmmsg(fd, &m, 1, 0, NULL);
		printf("recvmmsg: %d %s, %s\n", n, n < 0 ? strerrorname_np(errno) : "", n > 0 ? m.msg_len ? "data" : "EOF" : "");
	} else {
		int p[2]; pipe(p);
		ssize_t n = splice(fd, NULL, p[1], NULL, 1000, 0);
		printf("splice: %s\n", n > 0 ? "data" : n == 0 ? "EOF" : strerrorname_np(errno));
	}
	close(fd);
	one("GET", "log"); printf("%s\n", got);
	return 0;
}

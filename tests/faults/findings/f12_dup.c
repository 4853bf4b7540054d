/* shutdown(SHUT_WR), then dup(): both numbers are one socket. */
#include "p.h"
int main(int argc, char **argv)
{
	init(argv);
	one("GET", "ok");
	int fd = dial();
	request(fd, "GET", "stale-fin/slow=0.3");
	shutdown(fd, SHUT_WR);
	int other = dup(fd);
	char c;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	poll(&p, 1, 3000);
	ssize_t n = read(fd, &c, 1);
	printf("read of the one: %zd\n", n);
	n = recv(other, got, 1000, 0);
	printf("recv of the other: %d\n", n > 0);
	return 0;
}

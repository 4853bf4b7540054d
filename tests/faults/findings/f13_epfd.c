/* A set that is closed while the socket is in it; its number becomes another set, that the socket was never in. */
#include "p.h"
int main(int argc, char **argv)
{
	init(argv);
	one("GET", "ok");
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	int ep = epoll_create1(0);
	struct epoll_event e = {.events = EPOLLOUT, .data.u64 = 0xdead};
	connect(fd, (void *)&addr, sizeof(addr));
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
	printf("writable: %d\n", epoll_wait(ep, &e, 1, 3000));
	close(ep);
	int other = epoll_create1(0);
	printf("same number: %d\n", other == ep);
	request(fd, "GET", "stale-fin");
	struct pollfd p = {.fd = fd, .events = POLLIN};
	poll(&p, 1, 3000);
	ssize_t n = read(fd, got, 1000);
	printf("read: %s\n", n > 0 ? "answer" : n == 0 ? "EOF" : strerror(errno));
	poll(&p, 1, 3000);
	int k = epoll_wait(other, &e, 1, 300);
	printf("events of the set that is empty: %d%s\n", k, k > 0 ? ", with data of the one that was closed" : "");
	return 0;
}

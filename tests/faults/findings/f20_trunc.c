/* tcp(7): MSG_TRUNC throws the bytes away; the buffer is not looked at. */
#include "p.h"
int main(int argc, char **argv)
{
	init(argv);
	one("GET", "ok");
	int fd = dial(); request(fd, "GET", "ok");
	ssize_t n = recv(fd, (void *)8, 1000, MSG_TRUNC);
	printf("recv: %d\n", n > 0);
	return 0;
}

/* The first request by write(), the next on a reused connection by dprintf(), which libc writes where it cannot be seen. */
#include "p.h"
int main(int argc, char **argv)
{
	init(argv);
	one("GET", "ok");
	int fd = dial();
	dprintf(fd, "POST /%s HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", argc > 2 ? argv[2] : "ok");
	ssize_t n = answer(fd);
	printf("answer: %d %s\n", n > 0, got);
	return 0;
}

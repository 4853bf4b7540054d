#include "p.h"
int main(int argc, char **argv)
{
	init(argv);
	one("GET", "ok");
	int fd = dial();
	errno = 0;
	request(fd, "GET", "stale-rst");
	ssize_t n = answer(fd);
	printf("answer %d, errno %s\n", n > 0, strerrorname_np(errno));
	close(fd);
	return 0;
}

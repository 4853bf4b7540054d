/* All descriptors are in use when the reused connection turns out dead. */
#include "p.h"
int main(int argc, char **argv)
{
	init(argv);
	struct rlimit l = {256, 256}; setrlimit(RLIMIT_NOFILE, &l);
	one("GET", "ok");
	int fd = dial(), n = 0;
	while (dup(0) >= 0) n++;
	printf("no more descriptors: %s\n", strerrorname_np(errno));
	request(fd, "GET", "stale-fin");
	ssize_t r = answer(fd);
	printf("answer: %s\n", r > 0 ? got : r == 0 ? "EOF" : strerrorname_np(errno));
	return 0;
}

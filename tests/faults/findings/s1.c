#include "p.h"
int main(int argc, char **argv)
{
	init(argv);
	one("GET", "ok");
	int fd = dial();
	if (argc > 3) fcntl(fd, F_SETFL, O_NONBLOCK);
	double t = now();
	ssize_t n = request(fd, "GET", argv[2]);
	printf("write: %s\n", n > 0 ? "ok" : strerrorname_np(errno));
	struct pollfd w = {.fd = fd, .events = POLLIN};
	do { poll(&w, 1, 3000); n = read(fd, got, 1000); } while (n < 0 && errno == EAGAIN && now() - t < 5);
	struct rusage u; getrusage(RUSAGE_SELF, &u);
	printf("read: %s, %.1f s, CPU %.1f s\n", n > 0 ? "answer" : n == 0 ? "EOF" : strerrorname_np(errno), now() - t, u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6);
	return 0;
}

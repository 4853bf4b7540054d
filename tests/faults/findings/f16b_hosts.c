/* Requests for two hosts in turn: each reuse is renewed. */
#include "p.h"
static long rss(int w) { long a, b; FILE *f = fopen("/proc/self/statm", "r"); fscanf(f, "%ld %ld", &a, &b); fclose(f); return (w ? a : b) * 4; }
int main(int argc, char **argv)
{
	init(argv);
	int N = atoi(argv[2]), bad = 0;
	char buf[500];
	for (int i = 0; i < N; i++) {
		int fd = dial();
		int len = sprintf(buf, "GET /ok HTTP/1.1\r\nHost: h%d\r\n\r\n", i & 1);
		if (i % 5 == 4) { write(fd, buf, 10); write(fd, buf + 10, len - 10); } else write(fd, buf, len);
		if (i % 7 != 6) { if (answer(fd) <= 0) bad++; }
		close(fd);
		if (i == N / 10 || i == N / 2 || i == N - 1) printf("%d: bad %d, descriptors %d, rss %ld KiB, size %ld KiB\n", i, bad, count_fds(), rss(0), rss(1));
	}
	return 0;
}

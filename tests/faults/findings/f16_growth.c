/* N requests each of which has to be sent again on a new connection: memory and descriptors. */
#include "p.h"
static long rss(void) { long a, b; FILE *f = fopen("/proc/self/statm", "r"); fscanf(f, "%ld %ld", &a, &b); fclose(f); return b * 4; }
static long maps(void) { long a; FILE *f = fopen("/proc/self/statm", "r"); fscanf(f, "%ld", &a); fclose(f); return a * 4; }
int main(int argc, char **argv)
{
	init(argv);
	int N = argc > 2 ? atoi(argv[2]) : 1000, bad = 0;
	size_t big = argc > 3 ? atoi(argv[3]) : 0;
	static char buf[100000];
	for (int i = 0; i < N; i++) {
		int fd = dial();
		int len = sprintf(buf, "GET /stale-fin HTTP/1.1\r\nHost: a\r\n");
		if (big) { len += sprintf(buf + len, "X: "); memset(buf + len, 'x', big * (1 + i % 7) / 7); len += big * (1 + i % 7) / 7; len += sprintf(buf + len, "\r\n"); }
		len += sprintf(buf + len, "\r\n");
		write(fd, buf, len);
		if (i % 3 != 2) { if (answer(fd) <= 0) bad++; }
		close(fd);
		if (i == N / 10 || i == N / 2 || i == N - 1) printf("%d: bad %d, descriptors %d, rss %ld KiB, size %ld KiB\n", i, bad, count_fds(), rss(), maps());
	}
	return 0;
}

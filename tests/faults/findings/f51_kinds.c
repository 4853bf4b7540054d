/* EFAULT, long vectors, SIGPIPE, POST not repeated */
#include "p.h"
static volatile int pipes; static void sp(int s) { pipes++; }
int main(int argc, char **argv)
{
	init(argv);
	ssize_t k; signal(SIGPIPE, sp);
	one("GET", "ok"); int fd = dial();
	errno = 0; k = write(fd, NULL, 10); printf("write NULL: %zd %s\n", k, strerrorname_np(errno));
	errno = 0; k = write(fd, (void *)0x1000, 10); printf("write bad: %zd %s\n", k, strerrorname_np(errno));
	errno = 0; k = writev(fd, (void *)8, 2); printf("writev bad: %zd %s\n", k, strerrorname_np(errno));
	errno = 0; k = writev(fd, (void *)got, 1025); printf("writev 1025: %zd %s\n", k, strerrorname_np(errno));
	errno = 0; k = writev(fd, (void *)got, -1); printf("writev -1: %zd %s\n", k, strerrorname_np(errno));
	struct msghdr m = {.msg_iov = (void *)8, .msg_iovlen = 3};
	errno = 0; k = sendmsg(fd, &m, 0); printf("sendmsg bad: %zd %s\n", k, strerrorname_np(errno));
	errno = 0; k = sendmsg(fd, NULL, 0); printf("sendmsg NULL: %zd %s\n", k, strerrorname_np(errno));
	m.msg_iovlen = 1025;
	errno = 0; k = sendmsg(fd, &m, 0); printf("sendmsg 1025: %zd %s\n", k, strerrorname_np(errno));
	errno = 0; k = write(fd, NULL, 0); printf("write 0: %zd %s\n", k, strerrorname_np(errno));
	errno = 0; k = write(fd, got, (size_t)-1); printf("write huge: %zd %s\n", k, strerrorname_np(errno));
	struct iovec v[1024]; char *r = "GET /stale-rst HTTP/1.1\r\nHost: a\r\nX: "; int n = 0;
	for (char *c = r; *c; c++) v[n++] = (struct iovec){c, 1};
	while (n < 1020) v[n++] = (struct iovec){"y", 1};
	for (char *c = "\r\n\r\n"; *c; c++) v[n++] = (struct iovec){c, 1};
	printf("writev 1024: %zd\n", writev(fd, v, n)); printf("%d %s\n", answer(fd) > 0, got); close(fd);
	sleep(2);
	one("GET", "ok"); fd = dial(); shutdown(fd, SHUT_WR);
	errno = 0; printf("write after shutdown: %zd %s, SIGPIPE %d\n", write(fd, "x", 1), strerrorname_np(errno), pipes);
	return 0;
}

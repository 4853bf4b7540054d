/* A filter that says EPERM to one system call. */
#include "p.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
int main(int argc, char **argv)
{
	init(argv);
	one("GET", "ok");
	int fd = dial(), nr = atoi(argv[2]);
	if (argc > 4) fcntl(fd, F_SETFL, O_NONBLOCK);
	struct sock_filter f[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
	struct sock_fprog p = {4, f};
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p);
	double t = now();
	ssize_t n = request(fd, "GET", argv[3]);
	printf("write: %s\n", n > 0 ? "ok" : strerrorname_np(errno));
	struct pollfd w = {.fd = fd, .events = POLLIN};
	do { poll(&w, 1, 3000); n = read(fd, got, 1000); } while (n < 0 && errno == EAGAIN && now() - t < 5);
	struct rusage u; getrusage(RUSAGE_SELF, &u);
	printf("read: %s, %.0f s, CPU %.1f s\n", n > 0 ? "answer" : n == 0 ? "EOF" : strerrorname_np(errno), now() - t, u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6);
	return 0;
}

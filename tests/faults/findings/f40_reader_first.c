/* A healthy server, and a program with a thread that is in recv() before another thread sends the request (full duplex,
 * as proxies and RPC libraries do). The answer may come before the sending call has returned. argv: port method N [idle] */
#include "p.h"
#include <sched.h>
static int fd;
static _Atomic int state; /* 1: got, 2: over */
static char rbuf[4096]; static ssize_t rlen; static int rerr;
static void *reader(void *arg)
{
	ssize_t n; rlen = 0; rerr = 0;
	do {
		n = recv(fd, rbuf + rlen, sizeof(rbuf) - 1 - rlen, 0);
		if (n <= 0) { rerr = n < 0 ? errno : 0; break; }
		rlen += n;
		rbuf[rlen] = 0;
		/* the answer is one line with END */
	} while (!strstr(rbuf, "END"));
	state = 1;
	return NULL;
}
static void *server(void *arg)
{
	int l = *(int *)arg;
	for (;;) {
		int c = accept(l, NULL, NULL); char b[4096];
		/* one connection at a time, read until its end; others wait */
		pthread_t t; extern void *serve(void *);
		pthread_create(&t, NULL, serve, (void *)(long)c); pthread_detach(t);
	}
}
static _Atomic int posts;
void *serve(void *arg)
{
	int c = (long)arg; char b[4096]; ssize_t n;
	while ((n = recv(c, b, sizeof(b), 0)) > 0) {
		posts++;
		static const char a[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nEND";
		send(c, a, sizeof(a) - 1, MSG_NOSIGNAL);
	}
	close(c);
	return NULL;
}
int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	/* the server is another process, without the library */
	if (!strcmp(argv[1], "server")) {
		int l = socket(AF_INET, SOCK_STREAM, 0); struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		bind(l, (void *)&a, sizeof a); listen(l, 100); socklen_t len = sizeof a; getsockname(l, (void *)&a, &len);
		printf("%d\n", ntohs(a.sin_port)); server(&l);
	}
	init(argv);
	const char *method = argv[2]; int N = atoi(argv[3]), lost = 0, eof = 0, ok = 0;
	cpu_set_t set; CPU_ZERO(&set); CPU_SET(0, &set);
	if (argc > 4) { sched_setaffinity(0, sizeof set, &set); }
	for (int i = 0; i < N; i++) {
		fd = dial(); state = 0; rbuf[0] = 0;
		pthread_t t;
		pthread_create(&t, NULL, reader, NULL);
		usleep(300);
		if (argc > 4) { struct sched_param p = {0}; sched_setscheduler(0, SCHED_IDLE, &p); }
		request(fd, method, "x");
		if (argc > 4) { struct sched_param p = {0}; sched_setscheduler(0, SCHED_OTHER, &p); }
		double t0 = now();
		while (!state && now() - t0 < 2) usleep(100);
		if (!state) { lost++; if (lost <= 3) printf("%d: NO ANSWER in 2 s, got %zd bytes\n", i, rlen); shutdown(fd, SHUT_RDWR); }
		else if (!strstr(rbuf, "END")) { eof++; if (eof <= 3) printf("%d: got %zd bytes, then %s: %.20s\n", i, rlen, rerr ? strerrorname_np(rerr) : "EOF", rbuf); } else ok++;
		if (!state) { for (int k = 0; k < 20 && !state; k++) usleep(100000); if (!state) { printf("stuck\n"); break; } }
		pthread_join(t, NULL);
		close(fd);
	}
	printf("%s: ok %d, no answer %d, cut %d\n", method, ok, lost, eof);
	return 0;
}

/* A thread in recv() on a reused connection, which the server resets; at the same moment another thread closes the socket
 * and connects a new one to another server, to which nobody sends anything. What does that one get? */
#include "p.h"
static int l1, l2; static _Atomic int leaked;
static void *serve1(void *a) { int c = (long)a; char b[4096]; int n = 0; while (recv(c, b, sizeof b, 0) > 0) { if (n++) { usleep(500); struct linger lg = {1, 0}; setsockopt(c, SOL_SOCKET, SO_LINGER, &lg, sizeof lg); break; } send(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nEND", 42 - 1, MSG_NOSIGNAL); } close(c); return NULL; }
static void *serve2(void *a) { int c = (long)a; char b[4096]; ssize_t n = recv(c, b, sizeof b - 1, 0); if (n > 0) { b[n] = 0; printf("the other server got: %.30s\n", b); } close(c); return NULL; }
static void *acc(void *p) { int two = (long)p; for (;;) { int c = accept(two ? l2 : l1, NULL, NULL); pthread_t t; pthread_create(&t, NULL, two ? serve2 : serve1, (void *)(long)c); pthread_detach(t); } }
static int lst(int *p) { int l = socket(AF_INET, SOCK_STREAM, 0); struct sockaddr_in a = {.sin_family = AF_INET}; bind(l, (void *)&a, sizeof a); listen(l, 500); socklen_t n = sizeof a; getsockname(l, (void *)&a, &n); *p = a.sin_port; return l; }
static int fd;
static _Atomic int go;
static void *rd(void *a) { char b[1000]; go = 1; recv(fd, b, sizeof b, 0); return NULL; }
int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!strcmp(argv[1], "server")) { int p1, p2; l1 = lst(&p1); l2 = lst(&p2); printf("%d %d\n", p1, p2); pthread_t t; pthread_create(&t, 0, acc, (void *)0); acc((void *)1); }
	struct sockaddr_in a1 = {.sin_family = AF_INET, .sin_port = atoi(argv[1])}, a2 = {.sin_family = AF_INET, .sin_port = atoi(argv[2])};
	char b[1000]; unsigned seed = 1;
	for (int i = 0; i < atoi(argv[3]); i++) {
		a1.sin_addr.s_addr = a2.sin_addr.s_addr = htonl(0x7f010000 + i % 200000);
		int s = socket(AF_INET, SOCK_STREAM, 0); connect(s, (void *)&a1, sizeof a1);
		write(s, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n", 28); recv(s, b, sizeof b, 0); close(s);
		fd = socket(AF_INET, SOCK_STREAM, 0); connect(fd, (void *)&a1, sizeof a1);
		write(fd, "GET /secret HTTP/1.1\r\nHost: a\r\n\r\n", 33);
		pthread_t t; go = 0; pthread_create(&t, NULL, rd, NULL); while (!go); usleep(100);
		struct pollfd p = {.fd = fd, .events = POLLIN}; poll(&p, 1, 1000);
		for (volatile int k = rand_r(&seed) % 3000; k > 0; k--);
		close(fd);
		int o[2]; for (int k = 0; k < 2; k++) { o[k] = socket(AF_INET, SOCK_STREAM, 0); connect(o[k], (void *)&a2, sizeof a2); }
		usleep(200); shutdown(o[0], 2); shutdown(o[1], 2); pthread_join(t, NULL);
		close(o[0]); close(o[1]);
	}
	printf("over\n");
	return 0;
}

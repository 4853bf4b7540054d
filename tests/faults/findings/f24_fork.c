/* fork() while another thread waits for a new connection; the child lives on. Does the server see the end? */
#include "p.h"
#include <sys/wait.h>
static void *thread(void *arg) { char b[100]; ssize_t n = read(*(int *)arg, b, 100); printf("read: %s\n", n > 0 ? "data" : n == 0 ? "EOF" : strerrorname_np(errno)); return NULL; }
int main(int argc, char **argv)
{
	init(argv);
	one("GET", "ok");
	int fd = dial();
	request(fd, "GET", "full=1/stale-fin");
	pthread_t t; pthread_create(&t, NULL, thread, &fd);
	usleep(600000);
	if (fork() == 0) { sleep(4); char c[300]; snprintf(c, sizeof c, "for f in /proc/%d/fd/*; do readlink $f | grep -q socket && echo child has $f; done | grep -vc '/[0-9]$' ", getpid()); printf("child, hidden sockets:\n"); system(c); _exit(0); }
	pthread_join(t, NULL);
	close(fd);
	while (wait(NULL) > 0);
	return 0;
}

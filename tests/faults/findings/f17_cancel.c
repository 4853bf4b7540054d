/* pthread_cancel() of a thread in read(), a cancellation point, while the new connection's SYN is dropped. */
#include "p.h"
static void *thread(void *arg) { char b[100]; printf("read: %zd\n", read(*(int *)arg, b, 100)); return NULL; }
int main(int argc, char **argv)
{
	init(argv);
	one("GET", "ok");
	int fd = dial();
	request(fd, "GET", "full=4/stale-fin");
	pthread_t t; pthread_create(&t, NULL, thread, &fd);
	usleep(600000);
	double b = now();
	pthread_cancel(t);
	void *r; pthread_join(t, &r);
	printf("%s, %.0f s after pthread_cancel()\n", r == PTHREAD_CANCELED ? "cancelled" : "not cancelled", now() - b);
	b = now(); int before = count_fds(); close(fd);
	printf("close: %d descriptors less\n", before - count_fds());
	return 0;
}

/* Another thread sets O_NONBLOCK and an option while the new connection is being made; both calls succeed. */
#include "p.h"
static void *thread(void *arg) { char b[100]; printf("read: %d\n", read(*(int *)arg, b, 100) > 0); return NULL; }
int main(int argc, char **argv)
{
	init(argv);
	one("GET", "ok");
	int fd = dial(), on = 1; socklen_t len = sizeof(on);
	request(fd, "GET", "full=2/stale-fin");
	pthread_t t; pthread_create(&t, NULL, thread, &fd);
	usleep(600000);
	printf("fcntl %d ", fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK));
	printf("setsockopt %d\n", setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)));
	pthread_join(t, NULL);
	on = 0; getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, &len);
	printf("O_NONBLOCK %d SO_KEEPALIVE %d\n", !!(fcntl(fd, F_GETFL) & O_NONBLOCK), on);
	return 0;
}

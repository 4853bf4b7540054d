/* close() by another thread while the first waits in read() for a new connection; the next socket() gets the record. */
#include "p.h"
static void *thread(void *arg) { char b[100]; ssize_t n = read(*(int *)arg, b, 100); printf("first read: %s\n", n > 0 ? "data" : n == 0 ? "EOF" : strerrorname_np(errno)); return NULL; }
int main(int argc, char **argv)
{
	init(argv);
	one("GET", "ok");
	int fd = dial();
	request(fd, "GET", "full=1/stale-fin");
	pthread_t t; pthread_create(&t, NULL, thread, &fd);
	usleep(600000);
	close(fd);
	int next = socket(AF_INET, SOCK_STREAM, 0);    /* gets its record */
	int others[3]; for (int i = 0; i < 3; i++) others[i] = socket(AF_INET, SOCK_STREAM, 0);
	pthread_join(t, NULL);
	sleep(5); /* the quarantine, and the full queue, are over */
	for (int i = 0; i < 4; i++) {
		int s = i ? others[i - 1] : next;
		if (connect(s, (void *)&addr, sizeof(addr)) < 0) perror("connect");
		request(s, "GET", "ok"); answer(s);
	}
	for (int i = 0; i < 3; i++) close(others[i]); close(next);

	for (int i = 0; i < 1; i++) {
		fd = dial(); others[i % 3] = fd;
		request(fd, "GET", "stale-fin"); 
		ssize_t n = answer(fd);
		printf("answer %s\n", n > 0 ? "ok" : n == 0 ? "EOF" : strerrorname_np(errno));
		sleep(3);
	}
	return 0;
}

/* argv: port, other port. close() while another thread is in recv() on the socket; then a connection to the other server. */
#include "p.h"
static int fd;
static void *rd(void *a) { char b[1000]; recv(fd, b, sizeof b, 0); return NULL; }
int main(int argc, char **argv)
{
	init(argv); struct sockaddr_in other = addr; other.sin_port = htons(atoi(argv[2]));
	one("GET", "ok"); fd = dial();
	pthread_t t; pthread_create(&t, NULL, rd, NULL); usleep(200000);
	request(fd, "GET", "slow=0.5/stale-rst/secret");
	struct pollfd p = {.fd = fd, .events = POLLIN}; poll(&p, 1, 5000);
	usleep(atoi(argv[3]));
	close(fd);
	int s = socket(AF_INET, SOCK_STREAM, 0); connect(s, (void *)&other, sizeof other);
	sleep(4);
	return 0;
}

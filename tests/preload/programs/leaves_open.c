/* Ends with descriptors open, of some kinds, half of them CLOEXEC, and would hear of a child: PORT.
 */
#include "client.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>

static void hear(int number)
{
	(void)number;
	if (write(STDOUT_FILENO, "a child!\n", 9) < 0)
		_exit(9);
}

int main(int argc, char **argv)
{
	int fd;

	if (argc != 2)
		return 3;
	port = atoi(argv[1]);
	signal(SIGCHLD, hear);
	report("file", open("/dev/null", O_RDONLY));
	report("file", open("/dev/null", O_RDONLY | O_CLOEXEC));
	report("epoll", epoll_create1(0));
	report("datagram", socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	report("connection", dial());
	report("connection", fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	report("connect", connect_to(fd, port));
	for (int i = 0; i < 2; i++)
		visit("/bytes/100");
	return 0;
}

/* A library that leaves descriptors behind, in ways that each is one too many: LEAK says which. */
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void put(int fd, int number, int command)
{
	fcntl(fd, command, number);
	close(fd);
}

static int tcp(void)
{
	return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

__attribute__((destructor)) static void leak(void)
{
	const char *what = getenv("LEAK");

	if (!what)
		return;
	if (!strcmp(what, "low"))
		put(tcp(), 100, F_DUPFD_CLOEXEC);
	else if (!strcmp(what, "inherited"))
		put(tcp(), 1000, F_DUPFD);
	else if (!strcmp(what, "file"))
		put(open("/dev/null", O_RDONLY), 1000, F_DUPFD_CLOEXEC);
	else if (!strcmp(what, "parked"))
		put(tcp(), 1000, F_DUPFD_CLOEXEC);
	else if (!strcmp(what, "lost"))
		close(STDIN_FILENO);
	else if (!strcmp(what, "changed"))
		dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), STDIN_FILENO);
	else if (!strcmp(what, "killed"))
		_exit(fflush(stdout));
}

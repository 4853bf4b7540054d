/* Descriptor flags, status flags, errno and names, as each next user of a connection sees them. */
#include "client.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>

static const int combinations[] = {
	0,
	SOCK_NONBLOCK,
	SOCK_CLOEXEC,
	SOCK_NONBLOCK | SOCK_CLOEXEC,
};

static void show_flags(const char *when, int fd)
{
	printf("%s: status %x, descriptor %x\n", when, (unsigned)fcntl(fd, F_GETFL),
		(unsigned)fcntl(fd, F_GETFD));
}

static int dial_with(int type_flags)
{
	int fd = socket(AF_INET, SOCK_STREAM | type_flags, 0);

	connect_to(fd, port);
	poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
	return fd;
}

/* An exchange in blocking style; the flags are as they were when it closes. */
static void leave(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
	fetch(fd, "/bytes/10");
	fcntl(fd, F_SETFL, flags);
	close(fd);
}

/* every combination after every other */
static void of_socket(void)
{
	for (size_t i = 0; i < COUNT(combinations) * COUNT(combinations); i++) {
		int first = dial_with(combinations[i / COUNT(combinations)]);
		int second;

		leave(first);
		second = dial_with(combinations[i % COUNT(combinations)]);
		show_flags("connected", second);
		leave(second);
	}
}

/* set by fcntl and ioctl before connect(), and left behind by the life before */
static void of_fcntl(void)
{
	for (int i = 0; i < 4; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		if (i & 1)
			fcntl(fd, F_SETFD, FD_CLOEXEC);
		if (i & 2)
			ioctl(fd, FIONBIO, &(int){1});
		connect_to(fd, port);
		poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
		show_flags("connected", fd);
		ioctl(fd, FIONBIO, &(int){0});
		fetch(fd, "/bytes/10");
		ioctl(fd, i & 2 ? FIONCLEX : FIOCLEX);
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
		show_flags("left", fd);
		close(fd);
	}
}

/* O_ASYNC and an owner would signal whoever comes next */
static void of_async(void)
{
	for (int i = 0; i < 3; i++) {
		int fd = dial();

		show_flags("connected", fd);
		report("owner", fcntl(fd, F_GETOWN));
		report("signal", fcntl(fd, F_GETSIG));
		fetch(fd, "/bytes/10");
		fcntl(fd, F_SETOWN, i ? getpid() : 0);
		fcntl(fd, F_SETFL, i ? O_ASYNC : 0);
		close(fd);
	}
}

/* success leaves errno alone */
static void of_errno(void)
{
	struct sockaddr_in address = loopback(port);
	char byte;

	printf("at main: %d\n", errno);
	for (int i = 0; i < 5; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		errno = 4711;
		connect(fd, (struct sockaddr *)&address, sizeof(address));
		printf("connect: %d\n", errno);
		request(fd, "GET", "/bytes/10");
		printf("send: %d\n", errno);
		recv(fd, &byte, 1, MSG_PEEK);
		receive(fd, true);
		printf("recv: %d\n", errno);
		close(fd);
		printf("close: %d\n", errno);
	}
}

static void show_name(const char *what, struct sockaddr_in name, socklen_t length, bool with_port)
{
	printf("%s: %d, %s, %u\n", what, name.sin_family, inet_ntoa(name.sin_addr), length);
	if (with_port)
		printf("expected port: %d\n", ntohs(name.sin_port) == port);
}

static void of_names(void)
{
	for (int i = 0; i < 3; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		struct sockaddr_in name = {0};
		socklen_t length = sizeof(name);

		report("peer", getpeername(fd, (struct sockaddr *)&name, &length));
		getsockname(fd, (struct sockaddr *)&name, &length);
		show_name("own, before", name, length, false);
		connect_to(fd, port);
		getpeername(fd, (struct sockaddr *)&name, &length);
		show_name("peer", name, length, true);
		getsockname(fd, (struct sockaddr *)&name, &length);
		show_name("own", name, length, false);
		fetch(fd, "/bytes/10");
		close(fd);
	}
}

/* descriptor numbers: always the lowest free one, whatever is parked where */
static void of_numbers(void)
{
	int opened[4];

	for (int round = 0; round < 3; round++) {
		for (size_t i = 0; i < COUNT(opened); i++) {
			opened[i] = dial();
			report("number", opened[i]);
			fetch(opened[i], "/bytes/10");
		}
		for (size_t i = 0; i < COUNT(opened); i++)
			report("close", close(opened[i]));
		report("file", opened[0] = open("/dev/null", O_RDONLY | O_CLOEXEC));
		close(opened[0]);
	}
}

static const struct scenario scenarios[] = {
	{"of_socket", of_socket},
	{"of_fcntl", of_fcntl},
	{"of_async", of_async},
	{"of_errno", of_errno},
	{"of_names", of_names},
	{"of_numbers", of_numbers},
};

int main(int argc, char **argv)
{
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}

/* A program with functions of its own under libc's names, made of syscall(2): whoever calls close()
 * by name gets this one. Libraries for old systems bring such fallbacks along.
 */
#include "client.h"
#include <fcntl.h>
#include <sys/syscall.h>

#define NUMBER 50

/* What is compiled here is hidden unless it says otherwise. */
#define EXPORTED __attribute__((visibility("default")))

static int calls;

static int counted(long result)
{
	calls++;
	return (int)result;
}

EXPORTED int close(int fd)
{
	return counted(syscall(SYS_close, fd));
}

EXPORTED int close_range(unsigned first, unsigned last, int flags)
{
	return counted(syscall(SYS_close_range, first, last, flags));
}

EXPORTED int dup2(int fd, int to)
{
	return counted(syscall(SYS_dup3, fd, to, 0));
}

EXPORTED int setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
	return counted(syscall(SYS_setsockopt, fd, level, name, value, length));
}

EXPORTED int shutdown(int fd, int how)
{
	return counted(syscall(SYS_shutdown, fd, how));
}

static void with_close(void)
{
	for (int i = 0; i < 5; i++)
		visit("/bytes/100");
	report("again", close(1000));
}

static void with_close_range(void)
{
	for (int i = 0; i < 3; i++) {
		fetch(dial(), "/bytes/100");
		report("close_range", close_range(3, ~0U, 0));
		visit("/bytes/100");
	}
}

static void with_dup2(void)
{
	for (int i = 0; i < 3; i++) {
		int fd = dial();

		fetch(fd, "/echo/first");
		report("dup2", dup2(fd, NUMBER));
		report("close", close(fd));
		fetch(NUMBER, "/echo/second");
		report("dup2", dup2(STDIN_FILENO, NUMBER));
		report("close", close(NUMBER));
	}
}

static void with_setsockopt(void)
{
	for (int i = 0; i < 3; i++) {
		int fd = dial();

		report("option", setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)));
		fetch(fd, "/bytes/100");
		report("close", close(fd));
	}
}

static void with_shutdown(void)
{
	for (int i = 0; i < 3; i++) {
		int fd = dial();

		fetch(fd, "/bytes/100");
		report("shutdown", shutdown(fd, SHUT_WR));
		report("end", recv(fd, (char[8]){0}, 8, 0));
		report("close", close(fd));
	}
}

static const struct scenario scenarios[] = {
	{"close", with_close},
	{"close_range", with_close_range},
	{"dup2", with_dup2},
	{"setsockopt", with_setsockopt},
	{"shutdown", with_shutdown},
};

/* A call too many, by whoever takes these for libc's, shows as well. */
int main(int argc, char **argv)
{
	int status;

	puts("start");
	fflush(stdout);
	status = run_scenario(argc, argv, scenarios, COUNT(scenarios));
	printf("own functions called: %d\n", calls);
	return status;
}

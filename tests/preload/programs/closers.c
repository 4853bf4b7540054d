/* Programs that close what they did not open, and numbers that were never theirs.
 *
 * A descriptor that is open and that this program did not open is one the library hides. Without
 * the library there is none; whatever is done to it must look as if there were none with it too.
 */
#include "client.h"
#include "numbers.h"
#include "rawcall.h"
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#define LOOP_END    1000000
#define FREE_NUMBER 700

/* The open descriptors above standard error: this program has none of its own when it asks. */
static size_t hidden(int *found)
{
	return open_numbers(3, found);
}

static void visit_again(void)
{
	visit("/bytes/200");
	visit("/bytes/300");
}

static void range_all(void)
{
	visit("/bytes/100");
	report("close_range", close_range(3, ~0U, 0));
	visit_again();
}

/* one live connection in the middle of the range */
static void range_active(void)
{
	int fd;

	visit("/bytes/100");
	fd = dial();
	fetch(fd, "/bytes/150");
	report("close_range", close_range(3, ~0U, 0));
	report("closed", send(fd, "", 1, MSG_NOSIGNAL));
	report("close", close(fd));
	visit_again();
}

static void range_cloexec(void)
{
	int fd = dial();

	visit("/bytes/100");
	fetch(fd, "/bytes/150");
	report("close_range", close_range(3, ~0U, CLOSE_RANGE_CLOEXEC));
	report("flags", fcntl(fd, F_GETFD));
	close(fd);
	visit_again();
}

static void range_bad(void)
{
	visit("/bytes/100");
	report("first beyond last", close_range(10, 5, 0));
	report("unknown flag", close_range(3, ~0U, 1 << 20));
	report("nothing there", close_range(5, 6, 0));
	report("one number", close_range(INT_MAX, INT_MAX, 0));
	visit_again();
}

static void from(void)
{
	int fd;

	visit("/bytes/100");
	fd = dial();
	closefrom(3);
	report("closed", close(fd));
	visit_again();
}

/* daemons do this with the limit of descriptors, which may be a million */
static void loop(void)
{
	int closed = 0, strange = 0;
	int fd;

	visit("/bytes/100");
	fd = dial();
	fetch(fd, "/bytes/150");
	for (int number = 3; number < LOOP_END; number++) {
		if (!close(number))
			closed++;
		else if (errno != EBADF)
			strange++;
	}
	printf("closed %d, strange errors %d\n", closed, strange);
	visit_again();
}

/* Chromium's and python's way: only what is open according to /proc */
static void loop_over_proc(void)
{
	int found[MAX_HIDDEN];

	visit("/bytes/100");
	for (size_t n = hidden(found); n--;) {
		if (!close(found[n]))
			printf("closed what was not open\n");
	}
	visit_again();
}

static void impossible(void)
{
	static const int numbers[] = {-1, INT_MIN, INT_MAX, INT_MAX - 1, -2, 1 << 20, 1 << 30};

	visit("/bytes/100");
	for (size_t i = 0; i < COUNT(numbers); i++) {
		report("close", close(numbers[i]));
		report("dup", dup(numbers[i]));
		report("dup2", dup2(1, numbers[i]));
		report("dup2 from", dup2(numbers[i], 500));
		report("shutdown", shutdown(numbers[i], SHUT_RDWR));
		report("send", send(numbers[i], "", 1, 0));
		report("recv", recv(numbers[i], (char[1]){0}, 1, 0));
		report("read", read(numbers[i], (char[1]){0}, 1));
		report("write", write(numbers[i], "", 1));
		report("fcntl", fcntl(numbers[i], F_GETFD));
	}
	visit_again();
}

static void twice(void)
{
	int fd = dial();

	fetch(fd, "/bytes/100");
	report("close", close(fd));
	report("close again", close(fd));
	report("write", write(fd, "", 1));
	visit_again();
}

/* each call on a hidden number, in an order in which the later ones can still find it */
static long probe(int number, int call)
{
	struct stat status;

	switch (call) {
	case 0:
		return write(number, "x", 1);
	case 1:
		return send(number, "x", 1, MSG_NOSIGNAL);
	case 2:
		return read(number, (char[1]){0}, 1);
	case 3:
		return fcntl(number, F_GETFD);
	case 4:
		return fcntl(number, F_SETFD, 0);
	case 5:
		return dup(number);
	case 6:
		return shutdown(number, SHUT_RDWR);
	case 7:
		return fstat(number, &status);
	default:
		return close(number);
	}
}

static void hidden_calls(int first, int last)
{
	static const char *const names[] = {
		"write", "send", "read", "F_GETFD", "F_SETFD", "dup", "shutdown", "fstat", "close"};

	for (int call = first; call <= last; call++) {
		int found[MAX_HIDDEN] = {FREE_NUMBER};
		int number;
		long result;

		visit("/bytes/100");
		hidden(found);
		number = found[0];
		result = probe(number, call);
		report(names[call], result);
	}
	visit_again();
}

static void hidden_close(void)
{
	hidden_calls(8, 8);
}

static void hidden_io(void)
{
	hidden_calls(0, 2);
}

static void hidden_descriptor_calls(void)
{
	hidden_calls(3, 6);
}

/* dup2() onto a number that is free for all the program knows */
static void onto_hidden(void)
{
	int ends[2];
	char byte = 0;

	for (int round = 0; round < 3; round++) {
		int found[MAX_HIDDEN] = {FREE_NUMBER};
		int number;

		visit("/bytes/100");
		hidden(found);
		number = found[0];
		if (pipe(ends))
			die("pipe");
		printf("dup: %d\n", (round ? dup3(ends[1], number, O_CLOEXEC)
					   : dup2(ends[1], number)) == number);
		report("write", write(number, "y", 1));
		report("read", read(ends[0], &byte, 1));
		visit_again();
		report("write", write(number, "z", 1));
		report("close", close(number));
		close(ends[0]);
		close(ends[1]);
	}
}

static void dup_onto_itself(void)
{
	int fd = dial();

	printf("dup2: %d\n", dup2(fd, fd) == fd);
	report("dup3", dup3(fd, fd, 0));
	fetch(fd, "/bytes/100");
	close(fd);
	report("dup2 closed", dup2(fd, fd));
	visit_again();
}

/* dup2() over a live connection closes it without close() */
static void dup_over_connection(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int round = 0; round < 3; round++) {
		int fd = dial();

		fetch(fd, "/bytes/100");
		printf("dup2: %d\n", dup2(null, fd) == fd);
		report("write", write(fd, "x", 1));
		report("read", read(fd, (char[1]){0}, 1));
		report("close", close(fd));
	}
	visit_again();
}

/* libuv closes by the system call itself; then the number is a socket of another kind. */
static void number_is_datagram(void)
{
	for (int round = 0; round < 3; round++) {
		int type = -1, one;
		socklen_t length = sizeof(type);

		visit("/bytes/100");
		one = socket(AF_INET, SOCK_STREAM, 0);
		RAW_CALL(SYS_close, one);
		printf("same number: %d\n", socket(AF_INET, SOCK_DGRAM, 0) == one);
		report("connect", connect_to(one, port));
		getsockopt(one, SOL_SOCKET, SO_TYPE, &type, &length);
		printf("datagram: %d\n", type == SOCK_DGRAM);
		report("close", close(one));
	}
	visit_again();
}

/* Hidden numbers are closed by the system call itself, and taken by what is the program's own. */
static void hidden_taken(void)
{
	int found[MAX_HIDDEN] = {FREE_NUMBER};
	int ends[2], own;
	char byte = 0;

	visit("/bytes/100");
	hidden(found);
	report("close_range", RAW_CALL(SYS_close_range, 3, ~0U, 0));
	if (pipe(ends))
		die("pipe");
	own = fcntl(ends[1], F_DUPFD, found[0]);
	printf("lowest free number: %d\n", own == found[0]);
	report("write", write(own, "y", 1));
	report("read", read(ends[0], &byte, 1));
	report("flags", fcntl(own, F_GETFD));
	report("close", close(own));
	report("close again", close(own));
	visit_again();
}

static int dup_of(int fd, int way)
{
	switch (way) {
	case 0:
		return dup(fd);
	case 1:
		return dup2(fd, 300);
	case 2:
		return dup3(fd, 300, O_CLOEXEC);
	case 3:
		return fcntl(fd, F_DUPFD, 300);
	default:
		return fcntl(fd, F_DUPFD_CLOEXEC, 300);
	}
}

/* The first number is closed, the second goes on; the next connection is another one. */
static void dup_goes_on(void)
{
	for (int way = 0; way < 5; way++) {
		int fd = dial();
		int second = dup_of(fd, way);
		char path[32];
		int next;

		snprintf(path, sizeof(path), "/echo/second%d", way);
		fetch(second, path);
		report("close", close(fd));
		next = dial();
		request(second, "GET", path);
		snprintf(path, sizeof(path), "/echo/next%d", way);
		request(next, "GET", path);
		show("next", receive(next, true));
		show("second", receive(second, true));
		close(next);
		close(second);
	}
}

static const struct scenario scenarios[] = {
	{"range_all", range_all},
	{"range_active", range_active},
	{"range_cloexec", range_cloexec},
	{"range_bad", range_bad},
	{"from", from},
	{"loop", loop},
	{"loop_over_proc", loop_over_proc},
	{"impossible", impossible},
	{"twice", twice},
	{"hidden_close", hidden_close},
	{"hidden_io", hidden_io},
	{"hidden_descriptor_calls", hidden_descriptor_calls},
	{"onto_hidden", onto_hidden},
	{"dup_onto_itself", dup_onto_itself},
	{"dup_over_connection", dup_over_connection},
	{"dup_goes_on", dup_goes_on},
	{"number_is_datagram", number_is_datagram},
	{"hidden_taken", hidden_taken},
};

int main(int argc, char **argv)
{
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}

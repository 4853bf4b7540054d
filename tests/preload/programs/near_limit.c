/* A program near its limit of descriptors, or near a number that others may use: SCENARIO PORT
 * [N_OPEN N_PASSED]. What it is given it reports; where a number is not what it is without a
 * library in the way, that shows.
 */
#include "client.h"
#include "rawcall.h"
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/select.h>

#define MANY   64
#define VISITS 2000
#define PASSED 253

static int n_open, n_passed;

/* n connections at once, each used, so that so many can be parked */
static void use_and_close(int n)
{
	int fds[MANY];

	for (int i = 0; i < n; i++)
		fds[i] = dial();
	for (int i = 0; i < n; i++) {
		if (!request(fds[i], "GET", "/bytes/100") || !receive(fds[i], true).status)
			printf("no answer\n");
	}
	for (int i = 0; i < n; i++)
		close(fds[i]);
}

static int open_file(void)
{
	return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* select(2) takes numbers below 1024, so a program that uses it stays below. */
static void for_select(void)
{
	fd_set set;
	int last = 0;

	use_and_close(MANY);
	for (int i = 0; i < 1015; i++)
		last = open_file();
	report("last", last);
	if (last >= FD_SETSIZE)
		return;
	FD_ZERO(&set);
	FD_SET(last, &set);
	report("select", select(last + 1, &set, NULL, NULL, NULL));
}

/* ---- two threads that need one number each, where there are two ---- */

static _Atomic bool over;
static int failed_visits;

static void *visits(void *unused)
{
	(void)unused;
	for (int i = 0; i < VISITS; i++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (fd < 0 || connect_to(fd, port) || !request(fd, "GET", "/bytes/100") ||
			receive(fd, true).status != 200)
			failed_visits++;
		if (fd >= 0)
			close(fd);
	}
	over = true;
	return NULL;
}

static void two_free_numbers(void)
{
	int first = open_file(), fd, last = -1, failed = 0;
	pthread_t thread;

	while ((fd = open_file()) >= 0)
		last = fd;
	close(first);
	close(last);
	if (pthread_create(&thread, NULL, visits, NULL))
		die("thread");
	while (!over) {
		fd = open_file();
		failed += fd < 0;
		if (fd >= 0)
			close(fd);
	}
	pthread_join(thread, NULL);
	printf("failed: %d opens, %d visits\n", failed, failed_visits);
}

/* ---- descriptors that come, and that do not ---- */

union control {
	char space[CMSG_SPACE(PASSED * sizeof(int))];
	struct cmsghdr header;
};

static void many_come(void)
{
	char byte = 'x';
	struct iovec part = {&byte, 1};
	union control control = {.header = {.cmsg_level = SOL_SOCKET,
					 .cmsg_type = SCM_RIGHTS,
					 .cmsg_len = CMSG_LEN((size_t)n_passed * sizeof(int))}};
	struct msghdr message = {.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = CMSG_SPACE((size_t)n_passed * sizeof(int))};
	int ends[2], numbers[PASSED] = {0};

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
		die("socketpair");
	use_and_close(MANY);
	for (int last = 0; last >= 0 && last < n_open - 1;)
		last = open_file();
	memcpy(CMSG_DATA(&control.header), numbers, sizeof(numbers));
	report("sendmsg", sendmsg(ends[0], &message, 0));
	memset(&control, 0, sizeof(control));
	message.msg_controllen = sizeof(control);
	report("recvmsg", recvmsg(ends[1], &message, 0));
	printf("came: %d, cut off: %d\n",
		(int)((control.header.cmsg_len - CMSG_LEN(0)) / sizeof(int)),
		!!(message.msg_flags & MSG_CTRUNC));
	memcpy(numbers, CMSG_DATA(&control.header), sizeof(numbers));
	for (int i = 0; i < n_passed; i++)
		printf("%d ", numbers[i]);
	printf("\n");
}

static void try_to_send(int fd, const struct msghdr *message)
{
	report("sendmsg", sendmsg(fd, message, MSG_NOSIGNAL));
	report("syscall", syscall(SYS_sendmsg, fd, message, MSG_NOSIGNAL));
	report("sendmsg nowhere", sendmsg(-1, message, MSG_NOSIGNAL));
	report("syscall nowhere", syscall(SYS_sendmsg, -1, message, MSG_NOSIGNAL));
}

/* Lengths that are wrong, at the end of what can be read, and addresses of nothing. */
static void malformed(void)
{
	static const size_t lengths[] = {0, 1, 8, 15, 16, 17, 20, 48, 63, 64, 65, 4096, 1 << 20,
		SIZE_MAX / 2, SIZE_MAX - 7, SIZE_MAX};
	const size_t page = (size_t)sysconf(_SC_PAGESIZE), size = 64;
	char *memory =
		mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char byte = 'x', *control = memory + page - size;
	struct cmsghdr header = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
	struct iovec part = {&byte, 1};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = size};
	int ends[2];

	if (memory == MAP_FAILED || munmap(memory + page, page) ||
		socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
		die("memory");
	visit("/bytes/100");
	for (size_t i = 0; i < COUNT(lengths); i++) {
		printf("length %zu\n", lengths[i]);
		memset(control, 0xff, size);
		header.cmsg_len = lengths[i];
		memcpy(control, &header, sizeof(header));
		try_to_send(ends[0], &message);
	}
	printf("no control data there\n");
	message.msg_control = memory + page;
	try_to_send(ends[0], &message);
	printf("too little of it\n");
	message.msg_control = control;
	message.msg_controllen = page;
	header.cmsg_len = page;
	memcpy(control, &header, sizeof(header));
	try_to_send(ends[0], &message);
	printf("no message there\n");
	try_to_send(ends[0], (struct msghdr *)(memory + page));
	visit("/bytes/100");
}

/* ---- errno, and numbers that are named ---- */

/* Filled by calls that nobody sees, so that the first that is seen finds no number. */
static void errno_after_room(void)
{
	int held = 0, fd;

	use_and_close(12);
	while (held < 58 && RAW_CALL(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY | O_CLOEXEC) >= 0)
		held++;
	errno = 0;
	fd = open_file();
	printf("open: %d, errno: %d\n", fd >= 0, errno);
	errno = EDOM;
	visit("/bytes/100");
	printf("errno: %s\n", strerrorname_np(errno));
}

/* With a whole path, any number will do for a directory, also one that is not open. */
static void openat_whole_path(void)
{
	use_and_close(5);
	for (int at = -2; at < 1100; at++) {
		int fd = openat(at, "/dev/null", O_RDONLY | O_CLOEXEC);

		if (fd != 3)
			printf("openat(%d): %d %s\n", at, fd, fd < 0 ? strerrorname_np(errno) : "");
		close(fd);
	}
	report("openat", openat(1100, "null", O_RDONLY));
}

/* The lowest free number from a minimum on is that number, as nothing of ours is there. */
static void dup_from_minimum(void)
{
	static const int commands[] = {F_DUPFD, F_DUPFD_CLOEXEC};

	for (size_t i = 0; i < COUNT(commands); i++) {
		use_and_close(5);
		for (int minimum = 3; minimum < 1100; minimum++) {
			int fd = fcntl(STDIN_FILENO, commands[i], minimum);

			if (fd != minimum)
				printf("at least %d: %d %s\n", minimum, fd,
					fd < 0 ? strerrorname_np(errno) : "");
			close(fd);
		}
	}
}

static const struct scenario scenarios[] = {
	{"for_select", for_select},
	{"two_free_numbers", two_free_numbers},
	{"many_come", many_come},
	{"malformed", malformed},
	{"errno_after_room", errno_after_room},
	{"openat_whole_path", openat_whole_path},
	{"dup_from_minimum", dup_from_minimum},
};

int main(int argc, char **argv)
{
	n_open = argc > 3 ? atoi(argv[3]) : 0;
	n_passed = argc > 4 ? atoi(argv[4]) : 0;
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}

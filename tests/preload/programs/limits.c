/* Programs with few descriptors, with very many, and with a limit that changes:
 * SCENARIO PORT [SECOND_PORT or FUNCTION [FREE]].
 *
 * Without a library that hides some, all of RLIMIT_NOFILE is the program's own: so must it be with
 * one. Fillers are opened by calls that nobody sees, so that only the call under test meets the
 * limit.
 */
#include "client.h"
#include "numbers.h"
#include "rawcall.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>

#define MOST     400
#define ATTEMPTS 24
#define SOURCE   0 /* what is duplicated: standard input is as good as any */

static int found[MAX_HIDDEN];
static int filled[MAX_HIDDEN];
static size_t n_filled;
static char template[64];
static int listener;
static FILE *stream;

static int limit(void)
{
	struct rlimit now = {0};

	getrlimit(RLIMIT_NOFILE, &now);
	return now.rlim_cur > INT32_MAX ? INT32_MAX : (int)now.rlim_cur;
}

/* n at the same time, so that n are parked afterwards */
static void visit_at_once(int n)
{
	static int opened[MOST];

	for (int i = 0; i < n; i++)
		opened[i] = dial();
	for (int i = 0; i < n; i++) {
		request(opened[i], "GET", "/bytes/10");
		if (receive(opened[i], true).length != 10)
			printf("no answer\n");
	}
	for (int i = 0; i < n; i++) {
		if (close(opened[i]))
			report("close", -1);
	}
}

/* ---- what makes descriptors: each gives the numbers it made, or -1 and errno ---- */

static int one(int fd, int *numbers)
{
	numbers[0] = fd;
	return fd < 0 ? -1 : 1;
}

static int two(int result, const int *ends, int *numbers)
{
	numbers[0] = ends[0];
	numbers[1] = ends[1];
	return result < 0 ? -1 : 2;
}

static int of_stream(FILE *made, int *numbers)
{
	return one(made ? fileno(made) : -1, numbers);
}

/* mkstemp() and its family write the name into the template, whose end may be a suffix. */
static int of_template(int fd, const char *suffix, int *numbers)
{
	struct stat by_name = {0}, by_number = {0};
	size_t length = strlen(template) - strlen(suffix);

	if (fd < 0)
		return -1;
	if (stat(template, &by_name) || fstat(fd, &by_number) || by_name.st_ino != by_number.st_ino)
		printf("the template is not the file's name\n");
	if (strcmp(template + length, suffix) || !memcmp(template + length - 6, "XXXXXX", 6))
		printf("the template is %s\n", template);
	unlink(template);
	return one(fd, numbers);
}

static char *fresh_template(const char *suffix)
{
	snprintf(template, sizeof(template), P_tmpdir "/sppool-limits-XXXXXX%s", suffix);
	return template;
}

extern int __open(const char *path, int flags, ...);
extern int __open64(const char *path, int flags, ...);
extern int __open_2(const char *path, int flags);
extern int __open64_2(const char *path, int flags);
extern int __openat_2(int directory, const char *path, int flags);
extern int __openat64_2(int directory, const char *path, int flags);
extern int __pipe(int ends[2]);

/* clang-format off */
#define MAKES(name, expression)                                                                    \
	static int make_##name(int *numbers)                                                       \
	{                                                                                          \
		return expression;                                                                 \
	}
#define MAKES_TWO(name, expression)                                                                \
	static int make_##name(int *numbers)                                                       \
	{                                                                                          \
		int ends[2] = {-1, -1};                                                            \
		int result = expression;                                                           \
		return two(result, ends, numbers);                                                 \
	}
#define EACH(MAKES, MAKES_TWO)                                                                     \
	MAKES(open, one(open("/dev/null", O_RDONLY), numbers))                                     \
	MAKES(open64, one(open64("/dev/null", O_RDONLY), numbers))                                 \
	MAKES(openat, one(openat(AT_FDCWD, "/dev/null", O_RDONLY), numbers))                       \
	MAKES(openat64, one(openat64(AT_FDCWD, "/dev/null", O_RDONLY), numbers))                   \
	MAKES(creat, one(creat("/dev/null", 0600), numbers))                                       \
	MAKES(creat64, one(creat64("/dev/null", 0600), numbers))                                   \
	MAKES(__open, one(__open("/dev/null", O_RDONLY), numbers))                                 \
	MAKES(__open64, one(__open64("/dev/null", O_RDONLY), numbers))                             \
	MAKES(__open_2, one(__open_2("/dev/null", O_RDONLY), numbers))                             \
	MAKES(__open64_2, one(__open64_2("/dev/null", O_RDONLY), numbers))                         \
	MAKES(__openat_2, one(__openat_2(AT_FDCWD, "/dev/null", O_RDONLY), numbers))               \
	MAKES(__openat64_2, one(__openat64_2(AT_FDCWD, "/dev/null", O_RDONLY), numbers))           \
	MAKES(socket, one(socket(AF_INET, SOCK_STREAM, 0), numbers))                               \
	MAKES(socket_datagram, one(socket(AF_INET, SOCK_DGRAM, 0), numbers))                       \
	MAKES(socket_local, one(socket(AF_UNIX, SOCK_STREAM, 0), numbers))                         \
	MAKES(accept, one(accept(listener, NULL, NULL), numbers))                                  \
	MAKES(accept4, one(accept4(listener, NULL, NULL, SOCK_CLOEXEC), numbers))                  \
	MAKES_TWO(pipe, pipe(ends))                                                                \
	MAKES_TWO(pipe2, pipe2(ends, O_CLOEXEC))                                                   \
	MAKES_TWO(__pipe, __pipe(ends))                                                            \
	MAKES_TWO(socketpair, socketpair(AF_UNIX, SOCK_STREAM, 0, ends))                           \
	MAKES(eventfd, one(eventfd(0, 0), numbers))                                                \
	MAKES(epoll_create, one(epoll_create(1), numbers))                                         \
	MAKES(epoll_create1, one(epoll_create1(0), numbers))                                       \
	MAKES(timerfd_create, one(timerfd_create(CLOCK_MONOTONIC, 0), numbers))                    \
	MAKES(signalfd, one(signalfd(-1, &(sigset_t){0}, 0), numbers))                             \
	MAKES(inotify_init, one(inotify_init(), numbers))                                          \
	MAKES(inotify_init1, one(inotify_init1(0), numbers))                                       \
	MAKES(memfd_create, one(memfd_create("limits", 0), numbers))                               \
	MAKES(dup, one(dup(SOURCE), numbers))                                                      \
	MAKES(F_DUPFD, one(fcntl(SOURCE, F_DUPFD, 0), numbers))                                    \
	MAKES(F_DUPFD_CLOEXEC, one(fcntl(SOURCE, F_DUPFD_CLOEXEC, 5), numbers))                    \
	MAKES(fcntl64, one(fcntl64(SOURCE, F_DUPFD, 3), numbers))                                  \
	MAKES(fopen, of_stream(fopen("/dev/null", "r"), numbers))                                  \
	MAKES(fopen64, of_stream(fopen64("/dev/null", "r"), numbers))                              \
	MAKES(freopen, of_stream(stream = freopen("/dev/zero", "r", stream), numbers))             \
	MAKES(freopen64, of_stream(stream = freopen64("/dev/zero", "r", stream), numbers))         \
	MAKES(opendir, one(opendir_number(), numbers))                                             \
	MAKES(tmpfile, of_stream(tmpfile(), numbers))                                              \
	MAKES(tmpfile64, of_stream(tmpfile64(), numbers))                                          \
	MAKES(popen, of_stream(popen("exit 0", "r"), numbers))                                     \
	MAKES(mkstemp, of_template(mkstemp(fresh_template("")), "", numbers))                      \
	MAKES(mkstemp64, of_template(mkstemp64(fresh_template("")), "", numbers))                  \
	MAKES(mkostemp, of_template(mkostemp(fresh_template(""), O_CLOEXEC), "", numbers))         \
	MAKES(mkostemp64, of_template(mkostemp64(fresh_template(""), O_CLOEXEC), "", numbers))     \
	MAKES(mkstemps, of_template(mkstemps(fresh_template(".c"), 2), ".c", numbers))             \
	MAKES(mkstemps64, of_template(mkstemps64(fresh_template(".c"), 2), ".c", numbers))         \
	MAKES(mkostemps, of_template(mkostemps(fresh_template(".c"), 2, 0), ".c", numbers))        \
	MAKES(mkostemps64, of_template(mkostemps64(fresh_template(".c"), 2, 0), ".c", numbers))
/* clang-format on */

static int opendir_number(void)
{
	DIR *directory = opendir("/");

	return directory ? dirfd(directory) : -1;
}

EACH(MAKES, MAKES_TWO)

struct function {
	const char *name;
	int (*make)(int *numbers);
};

#define ROW(name, expression) {#name, make_##name},

static const struct function functions[] = {EACH(ROW, ROW)};

static const struct function *chosen;
static int left_free;

/* Makes until it fails; every result is printed, the last one with errno by name. */
static void make_until_full(void)
{
	for (int i = 0; i < ATTEMPTS; i++) {
		int numbers[2] = {-1, -1};
		int made;

		errno = 0;
		made = chosen->make(numbers);
		if (made < 0) {
			report(chosen->name, -1);
			return;
		}
		printf("%s: %d %d\n", chosen->name, numbers[0], made > 1 ? numbers[1] : 0);
	}
}

/* ---- filling ---- */

static bool is_null(int fd)
{
	struct stat status, null;

	return !stat("/dev/null", &null) && !fstat(fd, &status) && status.st_rdev == null.st_rdev;
}

static void fill_up_to(int open_already, int wanted)
{
	for (n_filled = 0; open_already + (int)n_filled < wanted; n_filled++) {
		int fd = (int)RAW_CALL(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR);

		if (fd < 0)
			die("filling");
		filled[n_filled] = fd;
	}
}

static void empty(void)
{
	for (size_t i = 0; i < n_filled; i++) {
		if (!is_null(filled[i]))
			printf("%d is another file now\n", filled[i]);
		if (RAW_CALL(SYS_close, filled[i]) < 0)
			report("close", -1);
	}
}

/* As many connections as accept() will want: they may be closed, they are in the queue. */
static void listen_with_callers(void)
{
	struct sockaddr_in address = loopback(0);
	socklen_t length = sizeof(address);

	listener = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) || listen(listener, 50))
		die("listen");
	getsockname(listener, (struct sockaddr *)&address, &length);
	for (int i = 0; i < ATTEMPTS; i++)
		close(dial_port(ntohs(address.sin_port)));
}

/* The program leaves as many numbers free as a library has taken, and no more. */
static void room(void)
{
	stream = fopen("/dev/null", "r");
	listen_with_callers();
	visit_at_once(left_free);
	fill_up_to(5, limit() - left_free);
	make_until_full();
	empty();
	/* What was made, on whatever numbers. */
	for (int fd = 5; fd < limit(); fd++)
		close(fd);
	visit("/bytes/20");
	visit("/bytes/30");
}

/* All that the program may have, beside what a library may have taken. */
static void numbers(void)
{
	stream = fopen("/dev/null", "r");
	listen_with_callers();
	visit_at_once(limit() / 5);
	make_until_full();
}

/* Nothing is parked: the error is the kernel's own. */
static void refused(void)
{
	stream = fopen("/dev/null", "r");
	listen_with_callers();
	fill_up_to(5, limit());
	make_until_full();
	empty();
	visit("/bytes/20");
	visit("/bytes/30");
}

/* ---- descriptors that come from somebody else ---- */

#define PASSED 6

union rights {
	struct cmsghdr header;
	char space[CMSG_SPACE(sizeof(int[PASSED]))];
};

static void pass_many(int channel)
{
	union rights rights = {0};
	struct msghdr message = {
		.msg_iov = &(struct iovec){&(char){'x'}, 1},
		.msg_iovlen = 1,
		.msg_control = &rights,
		.msg_controllen = sizeof(rights.space),
	};

	rights.header = (struct cmsghdr){
		.cmsg_level = SOL_SOCKET,
		.cmsg_type = SCM_RIGHTS,
		.cmsg_len = CMSG_LEN(sizeof(int[PASSED])),
	};
	/* six times standard input, which is number 0 */
	report("sendmsg", sendmsg(channel, &message, 0));
}

static void receive_many(int channel)
{
	union rights rights = {0};
	struct msghdr message = {
		.msg_iov = &(struct iovec){&(char){0}, 1},
		.msg_iovlen = 1,
		.msg_control = &rights,
		.msg_controllen = sizeof(rights.space),
	};

	report("recvmsg", recvmsg(channel, &message, 0));
	printf("%zu descriptors, cut off: %d\n",
		(rights.header.cmsg_len - CMSG_LEN(0)) / sizeof(int),
		!!(message.msg_flags & MSG_CTRUNC));
}

/* The kernel drops those for which there is no number, and says so only by a flag. */
static void receives(void)
{
	int channel[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, channel))
		die("socketpair");
	pass_many(channel[0]);
	visit_at_once(limit() / 5);
	/* All that is done here can be seen. */
	for (n_filled = 0; 5 + (int)n_filled < limit() - PASSED; n_filled++)
		filled[n_filled] = open("/dev/null", O_RDWR);
	receive_many(channel[1]);
	empty();
	visit("/bytes/20");
}

/* ---- numbers ---- */

static void open_all(void)
{
	int opened[64];
	int n = 0;

	while (n < 64 && (opened[n] = open("/dev/null", O_RDONLY)) >= 0)
		printf("%d ", opened[n++]);
	printf("%s\n", strerrorname_np(errno));
	while (n)
		close(opened[--n]);
}

static void count_all(void)
{
	int opened[64];
	int n = 0;

	while (n < 64 && (opened[n] = open("/dev/null", O_RDONLY)) >= 0)
		n++;
	printf("room for %d: %s\n", n, strerrorname_np(errno));
	while (n)
		close(opened[--n]);
}

/* Every number up to the limit, from the lowest on, whatever is hidden where. */
static void numbers_in_order(void)
{
	for (int round = 0; round < 3; round++) {
		open_all();
		visit_at_once(limit() / 5);
	}
	open_all();
}

/* The one parked longest is not the one with the lowest number. */
static void numbers_out_of_order(void)
{
	int first = dial();
	int second = dial_port(control_port);

	fetch(first, "/bytes/1");
	fetch(second, "/bytes/2");
	close(first);
	close(second);
	visit("/bytes/3");
	open_all();
}

/* No hole is left below what is open, by whatever is hidden. */
static void numbers_among_connections(void)
{
	for (int round = 0; round < 3; round++) {
		int fds[24];
		int n = 0;

		visit_at_once(limit() / 5);
		while (n < 24 && (fds[n] = n < 8 || n % 2 ? open("/dev/null", O_RDONLY)
							  : socket(AF_INET, SOCK_STREAM, 0)) >= 0)
			printf("%d ", fds[n++]);
		printf("%s\n", strerrorname_np(errno));
		for (int i = 8; i < n; i += 2) {
			if (connect_to(fds[i], port))
				report("connect", -1);
			fetch(fds[i], "/bytes/4");
		}
		while (n)
			close(fds[--n]);
	}
}

/* ---- how much is hidden, and what it costs ---- */

static void at_most_a_fifth(void)
{
	int many = limit() > 2 * MOST ? MOST : limit() / 2;

	visit_at_once(many);
	printf("hidden at most: %d\n", open_numbers(3, found) <= (size_t)limit() / 5);
	for (int i = 0; i < 10; i++)
		visit("/bytes/20");
}

static long private_kib(void)
{
	FILE *rollup = fopen("/proc/self/smaps_rollup", "r");
	char line[256];
	long kib = -1;

	while (rollup && fgets(line, sizeof(line), rollup))
		sscanf(line, "Private_Dirty: %ld", &kib);
	if (rollup)
		fclose(rollup);
	return kib;
}

static void memory(void)
{
	visit_at_once(10);
	for (int i = 0; i < 10; i++)
		visit("/bytes/20");
	printf("limit: %d\n", limit());
	printf("private: %ld KiB\n", private_kib());
}

/* ---- a limit that changes ---- */

static int by_setrlimit(const struct rlimit *new)
{
	return setrlimit(RLIMIT_NOFILE, new);
}

static int by_setrlimit64(const struct rlimit *new)
{
	return setrlimit64(RLIMIT_NOFILE, (const struct rlimit64 *)new);
}

static int by_prlimit(const struct rlimit *new)
{
	struct rlimit old = {0};

	return prlimit(0, RLIMIT_NOFILE, new, &old);
}

static int by_prlimit64(const struct rlimit *new)
{
	return prlimit64(getpid(), RLIMIT_NOFILE, (const struct rlimit64 *)new, NULL);
}

/* as another process would: nothing shows it */
static int by_another(const struct rlimit *new)
{
	return (int)RAW_CALL(SYS_prlimit64, 0, RLIMIT_NOFILE, new, NULL);
}

static int (*const changers[])(const struct rlimit *new) = {
	by_setrlimit, by_setrlimit64, by_prlimit, by_prlimit64, by_another};

static void change(size_t way, rlim_t soft)
{
	struct rlimit now;

	getrlimit(RLIMIT_NOFILE, &now);
	now.rlim_cur = soft;
	printf("limit %llu: %d\n", (unsigned long long)soft, changers[way](&now));
}

static void live_with(size_t way, rlim_t soft)
{
	change(way, soft);
	visit_at_once(5);
	visit_at_once(soft < 64 ? 10 : 40);
	visit("/bytes/20");
	/* Who changes it unseen cannot expect that what is hidden already goes away. */
	if (changers[way] != by_another)
		printf("hidden at most: %d\n", open_numbers(3, found) <= soft / 5);
	if (soft < 64)
		count_all();
	visit("/bytes/30");
}

static void changing(size_t way)
{
	static const rlim_t limits[] = {40, 900, 16, 1000, 25, 20, 512, 64, 1024};

	visit_at_once(30);
	for (size_t i = 0; i < COUNT(limits); i++)
		live_with(way, limits[i]);
}

static void changed_by_setrlimit(void)
{
	changing(0);
}

static void changed_by_setrlimit64(void)
{
	changing(1);
}

static void changed_by_prlimit(void)
{
	changing(2);
}

static void changed_by_prlimit64(void)
{
	changing(3);
}

static void changed_unseen(void)
{
	changing(4);
}

/* A limit below what is open: nothing can be opened, what is open goes on. */
static void to_nothing(void)
{
	for (size_t way = 0; way < COUNT(changers); way++) {
		int kept = dial();

		fetch(kept, "/bytes/1");
		visit_at_once(3);
		change(way, 0);
		report("socket", socket(AF_INET, SOCK_STREAM, 0));
		report("open", open("/dev/null", O_RDONLY));
		fetch(kept, "/bytes/2");
		report("close", close(kept));
		change(way, 3);
		report("socket", socket(AF_INET, SOCK_STREAM, 0));
		change(way, 1024);
		visit("/bytes/3");
		visit("/bytes/4");
	}
}

/* ---- errors that somebody else makes: see test_limits.py ---- */

static void no_files(void)
{
	visit("/bytes/10");
	report("socket", socket(AF_INET, SOCK_STREAM, 0));
	report("eventfd", eventfd(0, 0));
	report("open", open("/dev/null", O_RDONLY));
	visit("/bytes/20");
}

static const struct scenario scenarios[] = {
	{"room", room},
	{"refused", refused},
	{"numbers", numbers},
	{"receives", receives},
	{"numbers_in_order", numbers_in_order},
	{"numbers_out_of_order", numbers_out_of_order},
	{"numbers_among_connections", numbers_among_connections},
	{"at_most_a_fifth", at_most_a_fifth},
	{"memory", memory},
	{"changed_by_setrlimit", changed_by_setrlimit},
	{"changed_by_setrlimit64", changed_by_setrlimit64},
	{"changed_by_prlimit", changed_by_prlimit},
	{"changed_by_prlimit64", changed_by_prlimit64},
	{"changed_unseen", changed_unseen},
	{"to_nothing", to_nothing},
	{"no_files", no_files},
};

static void list_functions(void)
{
	for (size_t i = 0; i < COUNT(functions); i++)
		puts(functions[i].name);
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		list_functions();
		return 0;
	}
	left_free = argc > 4 ? atoi(argv[4]) : 0;
	for (size_t i = 0; argc > 3 && i < COUNT(functions); i++) {
		if (!strcmp(functions[i].name, argv[3]))
			chosen = &functions[i];
	}
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}

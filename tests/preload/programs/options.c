/* Socket options: what one life sets, the next must not see; what it sets itself, it must. */
#include "client.h"
#include <sys/mman.h>
#include <sys/time.h>

union value {
	int number;
	struct linger linger;
	struct timeval time;
	char text[16];
};

struct option {
	const char *name;
	int level, id;
	socklen_t length;
	union value value;
};

#define NUMBER(level, id, n)                                                                       \
	{                                                                                          \
#id, level, id, sizeof(int),                                                       \
		{                                                                                  \
			.number = n                                                                \
		}                                                                                  \
	}

/* clang-format off */
static const struct option options[] = {
	NUMBER(IPPROTO_TCP, TCP_NODELAY,      1),
	NUMBER(IPPROTO_TCP, TCP_KEEPIDLE,     11),
	NUMBER(IPPROTO_TCP, TCP_KEEPINTVL,    7),
	NUMBER(IPPROTO_TCP, TCP_KEEPCNT,      3),
	NUMBER(IPPROTO_TCP, TCP_USER_TIMEOUT, 5000),
	NUMBER(IPPROTO_TCP, TCP_CORK,         1),
	NUMBER(IPPROTO_TCP, TCP_LINGER2,      5),
	NUMBER(IPPROTO_TCP, TCP_SYNCNT,       3),
	NUMBER(IPPROTO_TCP, TCP_NOTSENT_LOWAT, 4096),
	NUMBER(IPPROTO_TCP, TCP_WINDOW_CLAMP, 30000),
	NUMBER(IPPROTO_IP,  IP_TOS,           8),
	NUMBER(IPPROTO_IP,  IP_TTL,           33),
	NUMBER(SOL_SOCKET,  SO_KEEPALIVE,     1),
	NUMBER(SOL_SOCKET,  SO_OOBINLINE,     1),
	NUMBER(SOL_SOCKET,  SO_REUSEADDR,     1),
	NUMBER(SOL_SOCKET,  SO_PRIORITY,      3),
	NUMBER(SOL_SOCKET,  SO_RCVLOWAT,      2),
	NUMBER(SOL_SOCKET,  SO_RCVBUF,        9000),
	NUMBER(SOL_SOCKET,  SO_SNDBUF,        9000),
	NUMBER(SOL_SOCKET,  SO_TIMESTAMP,     1),
	NUMBER(SOL_SOCKET,  SO_DONTROUTE,     1),
	{"SO_RCVTIMEO", SOL_SOCKET, SO_RCVTIMEO, sizeof(struct timeval), {.time = {20, 0}}},
	{"SO_SNDTIMEO", SOL_SOCKET, SO_SNDTIMEO, sizeof(struct timeval), {.time = {30, 0}}},
	{"SO_LINGER",   SOL_SOCKET, SO_LINGER,   sizeof(struct linger),  {.linger = {1, 0}}},
	{"TCP_CONGESTION", IPPROTO_TCP, TCP_CONGESTION, 4, {.text = "reno"}},
};
/* clang-format on */

static void set(int fd, const struct option *option)
{
	report(option->name,
		setsockopt(fd, option->level, option->id, &option->value, option->length));
}

static void show_all(int fd)
{
	for (size_t i = 0; i < COUNT(options); i++) {
		union value value = {0};
		socklen_t length = sizeof(value);
		int result = getsockopt(fd, options[i].level, options[i].id, &value, &length);

		printf("%s %d %u:", options[i].name, result, length);
		for (socklen_t at = 0; !result && at < length; at++)
			printf(" %02x", (unsigned char)value.text[at]);
		putchar('\n');
	}
}

/* a life that sets nothing sees a new socket */
static void look(void)
{
	int fd = dial();

	show_all(fd);
	fetch(fd, "/bytes/10");
	close(fd);
}

static void left_before_connect(void)
{
	for (size_t i = 0; i < COUNT(options); i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		set(fd, &options[i]);
		connect_to(fd, port);
		fetch(fd, "/bytes/10");
		close(fd);
		look();
	}
}

static void left_after_connect(void)
{
	for (size_t i = 0; i < COUNT(options); i++) {
		int fd = dial();

		set(fd, &options[i]);
		fetch(fd, "/bytes/10");
		close(fd);
		look();
	}
}

static void own_before_connect(void)
{
	for (size_t i = 0; i < COUNT(options); i++) {
		int fd;

		look();
		fd = socket(AF_INET, SOCK_STREAM, 0);
		set(fd, &options[i]);
		connect_to(fd, port);
		show_all(fd);
		fetch(fd, "/bytes/10");
		close(fd);
	}
}

/* the setters of real clients, the same in every life: these may be reused */
static void same_every_time(void)
{
	for (int life = 0; life < 20; life++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
		setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &(int){1}, sizeof(int));
		setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &(int){60}, sizeof(int));
		connect_to(fd, port);
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){30, 0},
			sizeof(struct timeval));
		show_all(fd);
		fetch(fd, "/bytes/10");
		close(fd);
	}
}

/* what the kernel refuses, it refuses in every life */
static void refused_by_kernel(void)
{
	for (int life = 0; life < 3; life++) {
		int fd = dial();
		int one = 1;

		report("short", setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, 1));
		report("unknown", setsockopt(fd, IPPROTO_TCP, 9999, &one, sizeof(one)));
		report("level", setsockopt(fd, 9999, 1, &one, sizeof(one)));
		report("null", setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, NULL, sizeof(one)));
		report("huge", setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, (socklen_t)-1));
		report("closed", setsockopt(-1, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)));
		show_all(fd);
		fetch(fd, "/bytes/10");
		close(fd);
	}
}

/* what a life that sets no TCP_NODELAY is told of it, before its exchange and after */
static void nodelay_unset(void)
{
	for (int life = 0; life < 5; life++) {
		int fd = dial();

		for (int i = 0; i < 2; i++) {
			int value = -1;
			socklen_t length = sizeof(value);

			getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &length);
			printf("TCP_NODELAY: %d\n", value);
			fetch(fd, "/bytes/10");
		}
		close(fd);
	}
}

static void set_in_ten_lives(int level, int id, int value)
{
	for (int life = 0; life < 10; life++) {
		int fd = dial();

		report("set", setsockopt(fd, level, id, &value, sizeof(value)));
		fetch(fd, "/bytes/10");
		close(fd);
	}
	look();
}

static void tos_after_connect(void)
{
	set_in_ten_lives(IPPROTO_IP, IP_TOS, 8);
}

static void buffer_after_connect(void)
{
	set_in_ten_lives(SOL_SOCKET, SO_SNDBUF, 9000);
}

/* The kernel reads as much of a value as the option needs, whatever its length is said to be. */
static void value_at_page_end(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *memory =
		mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *value = memory + page - sizeof(int);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	memcpy(value, &(int){1}, sizeof(int));
	mprotect(memory + page, page, PROT_NONE);
	for (int life = 0; life < 2; life++) {
		report("keepalive", setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, value, 16));
		report("nodelay", setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, value, 12));
		report("buffer", setsockopt(fd, SOL_SOCKET, SO_SNDBUF, value, 4096));
		report("timeout", setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, value, 16));
		report("beyond", setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, value + 4, 4));
		connect_to(fd, port);
		show_all(fd);
		fetch(fd, "/bytes/10");
		close(fd);
		fd = socket(AF_INET, SOCK_STREAM, 0);
	}
	close(fd);
}

static const struct scenario scenarios[] = {
	{"left_before_connect", left_before_connect},
	{"left_after_connect", left_after_connect},
	{"own_before_connect", own_before_connect},
	{"same_every_time", same_every_time},
	{"refused_by_kernel", refused_by_kernel},
	{"nodelay_unset", nodelay_unset},
	{"tos_after_connect", tos_after_connect},
	{"buffer_after_connect", buffer_after_connect},
	{"value_at_page_end", value_at_page_end},
};

int main(int argc, char **argv)
{
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}

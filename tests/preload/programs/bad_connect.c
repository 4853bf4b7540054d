/* connect() as the kernel answers it, for right and wrong arguments. */
#include "client.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/un.h>

static struct sockaddr_in target;

static int tcp(void)
{
	return socket(AF_INET, SOCK_STREAM, 0);
}

static void try(const char *what, int fd, const void *address, socklen_t length)
{
	report(what, connect(fd, address, length));
}

/* The address and its length, wrong in each way; then the socket must still be good. */
static void arguments(void)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = target.sin_port};
	struct sockaddr_un local = {.sun_family = AF_UNIX, .sun_path = "/nonexistent"};
	struct sockaddr_in strange = {.sin_family = 77, .sin_port = target.sin_port};
	char large[1024] = {0};
	int fd = tcp();

	memcpy(large, &target, sizeof(target));
	try("null", fd, NULL, sizeof(target));
	try("null, empty", fd, NULL, 0);
	try("wild", fd, (void *)16, sizeof(target));
	try("empty", fd, &target, 0);
	try("one byte", fd, &target, 1);
	try("family only", fd, &target, 2);
	try("short", fd, &target, sizeof(target) - 1);
	try("too long", fd, large, sizeof(large));
	try("negative", fd, &target, (socklen_t)-1);
	try("IPv6", fd, &six, sizeof(six));
	try("local", fd, &local, sizeof(local));
	try("no such family", fd, &strange, sizeof(strange));
	try("longer than needed", fd, large, 100);
	fetch(fd, "/bytes/10");
	close(fd);
}

/* Each on a socket of its own: no connect() of it has failed before. */
static void lengths(void)
{
	static const socklen_t tried[] = {sizeof(target), sizeof(target) + 1,
		sizeof(struct sockaddr_storage), sizeof(struct sockaddr_storage) + 1, 200, 4096};
	static char large[4096];

	memcpy(large, &target, sizeof(target));
	for (size_t i = 0; i < COUNT(tried); i++) {
		int fd = tcp();

		printf("length %u: ", tried[i]);
		try("connect", fd, large, tried[i]);
		fetch(fd, "/bytes/10");
		close(fd);
	}
}

/* an address that ends where readable memory does */
static void at_page_end(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *memory =
		mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *address = memory + page - sizeof(target);
	int fd = tcp();

	mprotect(memory + page, page, PROT_NONE);
	memcpy(address, &target, sizeof(target));
	try("beyond the end", fd, address + 4, sizeof(target));
	try("across the end", fd, address, sizeof(target) + 1);
	try("to the end", fd, address, sizeof(target));
	fetch(fd, "/bytes/10");
	close(fd);
	munmap(memory, 2 * page);
}

static void descriptors(void)
{
	int file = open("/dev/null", O_RDWR | O_CLOEXEC);
	int closed = tcp();

	close(closed);
	try("closed", closed, &target, sizeof(target));
	try("negative", -1, &target, sizeof(target));
	try("huge", 0x7fffffff, &target, sizeof(target));
	try("file", file, &target, sizeof(target));
	close(file);
}

static void states(void)
{
	struct sockaddr_in nothing = {.sin_family = AF_UNSPEC};
	int fd = tcp();

	try("unspecified, new", fd, &nothing, sizeof(nothing));
	try("connect", fd, &target, sizeof(target));
	try("twice", fd, &target, sizeof(target));
	try("thrice", fd, &target, sizeof(target));
	try("twice, null", fd, NULL, sizeof(target));
	fetch(fd, "/bytes/10");
	try("unspecified", fd, &nothing, sizeof(nothing));
	report("send", send(fd, "x", 1, MSG_NOSIGNAL));
	try("after unspecified", fd, &target, sizeof(target));
	fetch(fd, "/bytes/20");
	close(fd);
	fd = tcp();
	listen(fd, 1);
	try("listening", fd, &target, sizeof(target));
	close(fd);
}

static void refused(void)
{
	int unused = tcp();
	struct sockaddr_in nobody = loopback(0);
	socklen_t length = sizeof(nobody);
	int fd = tcp();

	bind(unused, (struct sockaddr *)&nobody, length);
	getsockname(unused, (struct sockaddr *)&nobody, &length);
	try("nobody there", fd, &nobody, sizeof(nobody));
	try("somebody, after that", fd, &target, sizeof(target));
	fetch(fd, "/bytes/10");
	close(fd);
	close(unused);
}

static void datagram(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	try("udp", fd, &target, sizeof(target));
	try("udp again", fd, &target, sizeof(target));
	close(fd);
}

/* a bound socket keeps the name it was bound to */
static void bound(void)
{
	struct sockaddr_in own = loopback(0);
	struct sockaddr_in wanted, name;
	socklen_t length = sizeof(own);
	int fd = tcp();

	report("bind", bind(fd, (struct sockaddr *)&own, sizeof(own)));
	getsockname(fd, (struct sockaddr *)&wanted, &length);
	try("bound port", fd, &target, sizeof(target));
	getsockname(fd, (struct sockaddr *)&name, &length);
	printf("same port: %d\n", name.sin_port == wanted.sin_port);
	fetch(fd, "/bytes/10");
	close(fd);

	fd = tcp();
	own.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1);
	report("bind", bind(fd, (struct sockaddr *)&own, sizeof(own)));
	try("bound address", fd, &target, sizeof(target));
	getsockname(fd, (struct sockaddr *)&name, &length);
	printf("name: %s\n", inet_ntoa(name.sin_addr));
	fetch(fd, "/bytes/10");
	close(fd);
}

static void (*const groups[])(void) = {
	arguments, lengths, at_page_end, descriptors, states, refused, datagram, bound};

/* All of it before anything is parked, and again when something is. */
int main(int argc, char **argv)
{
	if (argc != 2)
		return 3;
	port = atoi(argv[1]);
	target = loopback(port);
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < COUNT(groups); i++)
			groups[i]();
		visit("/bytes/30");
	}
	return 0;
}

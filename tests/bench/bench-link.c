/* A link between two network namespaces that takes time, and lets so many bytes through a second:
 * what the kernel's netem does, where there is one. Needs root, and /dev/net/tun.
 *
 * Each namespace has a TUN device, an address of TEST-NET-1 and lo. What one end sends is read from
 * its device, kept for half of the round trip, and written to the other's. Packets are as long as
 * on Ethernet, are never lost, and never overtake one another. When the link is there it prints the
 * numbers of two descriptors by which others enter the namespaces, /proc/PID/fd/NUMBER; it ends,
 * and they with it, at the end of its standard input.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/bench/bench.h"

#define MTU 1500

/* Packets on the way. What is more waits in the device, or is dropped there. */
#define WAITING 8192

struct packet {
	double due_ns;
	ssize_t size;
	char bytes[MTU];
};

/* One direction. */
struct way {
	int from, to;
	double free_ns; /* when the last packet has left */
	unsigned first, count;
	struct packet *waiting; /* WAITING of them, a ring */
};

struct end {
	const char *address;
	int device, namespace;
};

static double delay_ns, ns_per_byte;

/* ---- the two ends ---- */

static void bring_up(int control, struct ifreq *request)
{
	check(ioctl(control, SIOCGIFFLAGS, request) < 0, "SIOCGIFFLAGS");
	request->ifr_flags |= IFF_UP;
	check(ioctl(control, SIOCSIFFLAGS, request) < 0, "SIOCSIFFLAGS");
}

static void set_address(
	int control, struct ifreq *request, unsigned long operation, const char *address)
{
	struct sockaddr_in in = {.sin_family = AF_INET};

	inet_aton(address, &in.sin_addr);
	memcpy(&request->ifr_addr, &in, sizeof(in));
	check(ioctl(control, operation, request) < 0, address);
}

static int open_device(int control, const char *address)
{
	struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
	struct ifreq loopback = {.ifr_name = "lo"};
	int device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	check(device < 0, "/dev/net/tun");
	check(ioctl(device, TUNSETIFF, &request) < 0, "TUNSETIFF");
	set_address(control, &request, SIOCSIFADDR, address);
	set_address(control, &request, SIOCSIFNETMASK, "255.255.255.0");
	request.ifr_qlen = WAITING;
	check(ioctl(control, SIOCSIFTXQLEN, &request) < 0, "SIOCSIFTXQLEN");
	bring_up(control, &request);
	bring_up(control, &loopback);
	return device;
}

static void make_end(struct end *end)
{
	if (unshare(CLONE_NEWNET) < 0)
		err(1, "a link needs root: unshare");
	int control = socket(AF_INET, SOCK_DGRAM, 0);
	check(control < 0, "socket");
	end->device = open_device(control, end->address);
	end->namespace = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	check(end->namespace < 0, "/proc/self/ns/net");
	close(control);
}

/* ---- what is between them ---- */

static struct way make_way(int from, int to)
{
	struct way way = {.from = from, .to = to, .waiting = calloc(WAITING, sizeof(*way.waiting))};

	check(!way.waiting, "calloc");
	return way;
}

static void take_in(struct way *way)
{
	while (way->count < WAITING) {
		struct packet *packet = &way->waiting[(way->first + way->count) % WAITING];
		packet->size = read(way->from, packet->bytes, MTU);
		if (packet->size < 0) {
			check(errno != EAGAIN && errno != EINTR, "read");
			return;
		}
		double now = now_ns();
		way->free_ns = (way->free_ns > now ? way->free_ns : now) +
			       (double)packet->size * ns_per_byte;
		packet->due_ns = way->free_ns + delay_ns;
		way->count++;
	}
}

/* Returns how long it is until the next packet is due: nanoseconds, or -1 if there is none. */
static double let_out(struct way *way)
{
	while (way->count) {
		struct packet *packet = &way->waiting[way->first];
		double early = packet->due_ns - now_ns();
		if (early > 0)
			return early;
		/* One that the other end does not want is lost, as on any link. */
		if (write(way->to, packet->bytes, (size_t)packet->size) < 0 && errno == EBADF)
			err(1, "write");
		way->first = (way->first + 1) % WAITING;
		way->count--;
	}
	return -1;
}

static double sooner(double one, double other)
{
	if (one < 0 || other < 0)
		return one < 0 ? other : one;
	return one < other ? one : other;
}

static void forward(struct way *ways)
{
	struct pollfd waited[] = {
		{.fd = STDIN_FILENO, .events = POLLIN},
		{.fd = ways[0].from},
		{.fd = ways[1].from},
	};

	for (;;) {
		double wait = sooner(let_out(&ways[0]), let_out(&ways[1]));
		struct timespec limit = {
			.tv_sec = (time_t)(wait / 1e9), .tv_nsec = (long)wait % 1000000000};
		for (int i = 0; i < 2; i++)
			waited[1 + i].events = ways[i].count < WAITING ? POLLIN : 0;
		check(ppoll(waited, 3, wait < 0 ? NULL : &limit, NULL) < 0, "ppoll");
		if (waited[0].revents)
			return;
		for (int i = 0; i < 2; i++)
			take_in(&ways[i]);
	}
}

static const char usage[] =
	"usage: bench-link [--round-trip MILLISECONDS] [--rate BYTES-PER-SECOND]";

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"round-trip", required_argument, NULL, 't'},
		{"rate", required_argument, NULL, 'r'},
		{0},
	};
	struct end ends[] = {{.address = "192.0.2.1"}, {.address = "192.0.2.2"}};

	for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (option == 't')
			delay_ns = atof(optarg) * 1e6 / 2;
		else if (option == 'r' && atof(optarg) > 0)
			ns_per_byte = 1e9 / atof(optarg);
		else
			errx(2, "%s", usage);
	}
	if (optind != argc)
		errx(2, "%s", usage);
	/* Otherwise the kernel wakes us up to 50 microseconds late. */
	check(prctl(PR_SET_TIMERSLACK, 1) < 0, "PR_SET_TIMERSLACK");
	for (int i = 0; i < 2; i++)
		make_end(&ends[i]);
	struct way ways[] = {
		make_way(ends[0].device, ends[1].device), make_way(ends[1].device, ends[0].device)};
	printf("%d %d\n", ends[0].namespace, ends[1].namespace);
	fflush(stdout);
	forward(ways);
	return 0;
}

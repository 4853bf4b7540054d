/* io_uring on tracked sockets: SCENARIO PORT SECOND_PORT WAY (see invisible.c).
 *
 * The ring's own two calls are made in that way; what the ring does then is never to be seen.
 */
#include "client.h"
#include "rawcall.h"
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdatomic.h>
#include <sys/mman.h>

#define ENTRIES 4

static bool by_syscall;
static int ring;
static struct io_uring_params parameters = {0};
static char *submissions, *completions;
static struct io_uring_sqe *entries;

static long call(long number, long a, long b, long c, long d)
{
	return by_syscall ? syscall(number, a, b, c, d, 0, 0) : raw_call(number, a, b, c, d, 0, 0);
}

static char *map(size_t size, off_t offset)
{
	void *memory =
		mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring, offset);

	if (memory == MAP_FAILED)
		die("mmap");
	return memory;
}

static void make_ring(void)
{
	ring = (int)call(SYS_io_uring_setup, ENTRIES, (long)&parameters, 0, 0);
	if (ring < 0)
		die("io_uring_setup");
	submissions = map(parameters.sq_off.array + parameters.sq_entries * sizeof(unsigned),
		IORING_OFF_SQ_RING);
	completions =
		map(parameters.cq_off.cqes + parameters.cq_entries * sizeof(struct io_uring_cqe),
			IORING_OFF_CQ_RING);
	entries = (void *)map(parameters.sq_entries * sizeof(*entries), IORING_OFF_SQES);
}

static void close_ring(void)
{
	munmap(entries, parameters.sq_entries * sizeof(*entries));
	close(ring);
}

static _Atomic unsigned *word(char *area, unsigned offset)
{
	return (_Atomic unsigned *)(area + offset);
}

/* One operation from beginning to end; as system calls do, -1 and errno where it failed. */
static long by_ring(struct io_uring_sqe operation)
{
	unsigned tail = atomic_load(word(submissions, parameters.sq_off.tail));
	unsigned head = atomic_load(word(completions, parameters.cq_off.head));
	unsigned slot = tail & *word(submissions, parameters.sq_off.ring_mask);
	struct io_uring_cqe *done = (void *)(completions + parameters.cq_off.cqes);

	entries[slot] = operation;
	*word(submissions, parameters.sq_off.array + slot * sizeof(unsigned)) = slot;
	atomic_store(word(submissions, parameters.sq_off.tail), tail + 1);
	if (call(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS) != 1)
		die("io_uring_enter");
	done += head & *word(completions, parameters.cq_off.ring_mask);
	atomic_store(word(completions, parameters.cq_off.head), head + 1);
	if (done->res >= 0)
		return done->res;
	errno = -done->res;
	return -1;
}

static long move(int operation, int fd, const void *data, size_t length)
{
	return by_ring((struct io_uring_sqe){
		.opcode = (unsigned char)operation,
		.fd = fd,
		.addr = (unsigned long)data,
		.len = (unsigned)length,
	});
}

static long close_by_ring(int fd)
{
	return by_ring((struct io_uring_sqe){.opcode = IORING_OP_CLOSE, .fd = fd});
}

static long connect_by_ring(int fd)
{
	struct sockaddr_in address = loopback(port);

	return by_ring((struct io_uring_sqe){
		.opcode = IORING_OP_CONNECT,
		.fd = fd,
		.addr = (unsigned long)&address,
		.off = sizeof(address),
	});
}

static void visit_again(void)
{
	visit("/echo/again1");
	visit("/echo/again2");
}

/* One connection is parked, where it can be, before there is a ring. */
static void begin(void)
{
	visit("/echo/before");
	make_ring();
	printf("number of the ring: %d\n", ring);
}

static void end(void)
{
	visit_again();
	close_ring();
	visit_again();
}

static void idle(void)
{
	begin();
	for (int i = 0; i < 5; i++)
		visit("/echo/idle");
	end();
}

#define ASK  "GET /bytes/100 HTTP/1.1\r\nHost: loopback\r\n\r\n"
#define HEAD "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"

static void show_received(int fd, bool ring_reads)
{
	char data[sizeof(HEAD) + 100] = "";
	size_t done = 0;

	while (done < sizeof(data) - 1) {
		ssize_t got =
			ring_reads ? move(IORING_OP_RECV, fd, data + done, sizeof(data) - 1 - done)
				   : recv(fd, data + done, sizeof(data) - 1 - done, 0);
		if (got <= 0)
			break;
		done += (size_t)got;
	}
	printf("%s\n", data);
}

static void moves_bytes(void)
{
	begin();
	for (int unseen = 0; unseen < 4; unseen++) {
		int fd = dial();

		if (unseen & 1)
			report("send", move(IORING_OP_SEND, fd, ASK, sizeof(ASK) - 1));
		else
			report("send", send(fd, ASK, sizeof(ASK) - 1, 0));
		show_received(fd, unseen & 2);
		report("close", close(fd));
		visit("/echo/after");
	}
	end();
}

static void closes(void)
{
	begin();
	for (int i = 0; i < 3; i++) {
		int fd = dial();
		int file;

		fetch(fd, "/echo/first");
		report("close", close_by_ring(fd));
		file = open("/dev/zero", O_RDWR);
		printf("same number: %d\n", file == fd);
		visit("/echo/meanwhile");
		report("read", read(file, (char[8]){0}, 8));
		report("close", close(file));
		report("close", close_by_ring(fd));
	}
	end();
}

static void connects(void)
{
	begin();
	for (int i = 0; i < 3; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		report("connect", connect_by_ring(fd));
		fetch(fd, "/echo/connected");
		report("close", close(fd));
	}
	end();
}

static const struct scenario scenarios[] = {
	{"idle", idle},
	{"moves_bytes", moves_bytes},
	{"closes", closes},
	{"connects", connects},
};

int main(int argc, char **argv)
{
	by_syscall = argc > 4 && !strcmp(argv[4], "syscall");
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}

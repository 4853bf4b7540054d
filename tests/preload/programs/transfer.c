/* The same exchange through each of the calls that move bytes. */
#ifdef __OPTIMIZE__
#define _FORTIFY_SOURCE 2 /* read() becomes __read_chk() where the buffer's size is known */
#endif
#include "client.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/uio.h>

#define LIVES 4

static const char ask[] = "GET /bytes/500 HTTP/1.1\r\nHost: loopback\r\n\r\n";

static void finish(int fd)
{
	show("answer", receive(fd, true));
	report("close", close(fd));
}

static void with_write(void)
{
	int fd = dial();

	report("write", write(fd, ask, sizeof(ask) - 1));
	finish(fd);
}

static void with_sendto(void)
{
	int fd = dial();

	report("sendto", sendto(fd, ask, sizeof(ask) - 1, MSG_NOSIGNAL, NULL, 0));
	finish(fd);
}

static struct iovec *halves(const char *data, size_t length)
{
	static struct iovec parts[3];

	parts[0] = (struct iovec){(void *)(uintptr_t)data, length / 2};
	parts[1] = (struct iovec){NULL, 0};
	parts[2] = (struct iovec){(void *)(uintptr_t)(data + length / 2), length - length / 2};
	return parts;
}

static void with_writev(void)
{
	int fd = dial();

	report("writev", writev(fd, halves(ask, sizeof(ask) - 1), 3));
	finish(fd);
}

static void with_sendmsg(void)
{
	struct msghdr message = {.msg_iov = halves(ask, sizeof(ask) - 1), .msg_iovlen = 3};
	int fd = dial();

	report("sendmsg", sendmsg(fd, &message, 0));
	finish(fd);
}

static void with_sendmmsg(void)
{
	struct iovec *parts = halves(ask, sizeof(ask) - 1);
	struct mmsghdr messages[] = {
		{.msg_hdr = {.msg_iov = parts, .msg_iovlen = 1}},
		{.msg_hdr = {.msg_iov = parts + 1, .msg_iovlen = 2}},
	};
	int fd = dial();

	report("sendmmsg", sendmmsg(fd, messages, COUNT(messages), 0));
	printf("lengths: %u %u\n", messages[0].msg_len, messages[1].msg_len);
	finish(fd);
}

static void with_send_more(void)
{
	int fd = dial();

	report("send", send(fd, ask, 10, MSG_MORE));
	report("send", send(fd, ask + 10, sizeof(ask) - 1 - 10, 0));
	finish(fd);
}

static int memory_file(const char *content, size_t length)
{
	int file = memfd_create("request", MFD_CLOEXEC);

	if (file < 0 || write(file, content, length) != (ssize_t)length)
		die("memfd_create");
	lseek(file, 0, SEEK_SET);
	return file;
}

static void with_sendfile_head(void)
{
	int file = memory_file(ask, sizeof(ask) - 1);
	int fd = dial();

	report("sendfile", sendfile(fd, file, NULL, sizeof(ask) - 1));
	close(file);
	finish(fd);
}

/* what uploads do: the head by write(), the body by sendfile() */
static void with_sendfile_body(void)
{
	static const char body[] = "a body of forty characters, no more, no ";
	int file = memory_file(body, 40);
	int fd = dial();

	send_text(fd, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 40\r\n\r\n");
	report("sendfile", sendfile(fd, file, &(off_t){0}, 40));
	close(file);
	finish(fd);
}

static void with_splice_out(void)
{
	int fd = dial();
	int ends[2];

	if (pipe(ends) || write(ends[1], ask, sizeof(ask) - 1) < 0)
		die("pipe");
	report("splice", splice(ends[0], NULL, fd, NULL, sizeof(ask) - 1, 0));
	close(ends[0]);
	close(ends[1]);
	finish(fd);
}

static void with_splice_in(void)
{
	char head[1024], body[500];
	int fd = dial();
	size_t got = 0;
	int ends[2];

	if (pipe(ends))
		die("pipe");
	send_text(fd, ask);
	receive_head(fd, head, sizeof(head));
	while (got < sizeof(body)) {
		ssize_t moved = splice(fd, NULL, ends[1], NULL, sizeof(body) - got, 0);

		if (moved <= 0 || read(ends[0], body, (size_t)moved) != moved)
			die("splice");
		got += (size_t)moved;
	}
	close(ends[0]);
	close(ends[1]);
	printf("spliced %zu\n", got);
	report("close", close(fd));
}

/* Reads the whole answer with a call that takes (fd, buffer, length). */
static void read_with(ssize_t (*take)(int fd, char *data, size_t length))
{
	struct response got = {.status = 200};
	char head[1024], body[500];
	int fd = dial();

	send_text(fd, ask);
	receive_head(fd, head, sizeof(head));
	while (got.length < sizeof(body)) {
		ssize_t length = take(fd, body, sizeof(body) - got.length);

		if (length <= 0)
			die("read");
		note_body(&got, body, (size_t)length);
	}
	show("answer", got);
	report("close", close(fd));
}

static ssize_t by_read(int fd, char *data, size_t length)
{
	return read(fd, data, length);
}

/* a buffer of known size: the fortified name */
static ssize_t by_checked_read(int fd, char *data, size_t length)
{
	char known[500];
	ssize_t got = read(fd, known, length);

	if (got > 0)
		memcpy(data, known, (size_t)got);
	return got;
}

static ssize_t by_checked_recv(int fd, char *data, size_t length)
{
	char known[500];
	ssize_t got = recv(fd, known, length, 0);

	if (got > 0)
		memcpy(data, known, (size_t)got);
	return got;
}

static ssize_t by_recvfrom(int fd, char *data, size_t length)
{
	return recvfrom(fd, data, length, 0, NULL, NULL);
}

static ssize_t by_readv(int fd, char *data, size_t length)
{
	return readv(fd, halves(data, length), 3);
}

static ssize_t by_recvmsg(int fd, char *data, size_t length)
{
	struct msghdr message = {.msg_iov = halves(data, length), .msg_iovlen = 3};

	return recvmsg(fd, &message, 0);
}

static ssize_t by_recvmmsg(int fd, char *data, size_t length)
{
	struct mmsghdr message = {.msg_hdr = {.msg_iov = halves(data, length), .msg_iovlen = 3}};
	int n = recvmmsg(fd, &message, 1, MSG_WAITFORONE, NULL);

	return n == 1 ? (ssize_t)message.msg_len : -1;
}

static ssize_t by_waitall(int fd, char *data, size_t length)
{
	return recv(fd, data, length, MSG_WAITALL);
}

/* looked at twice, taken once */
static ssize_t by_peek(int fd, char *data, size_t length)
{
	ssize_t seen = recv(fd, data, length, MSG_PEEK);

	if (recv(fd, data, length, MSG_PEEK | MSG_DONTWAIT) < seen)
		return -1;
	return recv(fd, data, (size_t)seen, 0);
}

static ssize_t by_single_bytes(int fd, char *data, size_t length)
{
	(void)length;
	return read(fd, data, 1);
}

/* thrown away by the kernel: the program sees a count and no bytes */
static ssize_t by_truncation(int fd, char *data, size_t length)
{
	ssize_t got = recv(fd, NULL, length, MSG_TRUNC);

	memset(data, '.', length);
	return got;
}

static void with_read(void)
{
	read_with(by_read);
}

static void with_checked_read(void)
{
	read_with(by_checked_read);
}

static void with_checked_recv(void)
{
	read_with(by_checked_recv);
}

static void with_recvfrom(void)
{
	read_with(by_recvfrom);
}

static void with_readv(void)
{
	read_with(by_readv);
}

static void with_recvmsg(void)
{
	read_with(by_recvmsg);
}

static void with_recvmmsg(void)
{
	read_with(by_recvmmsg);
}

static void with_waitall(void)
{
	read_with(by_waitall);
}

static void with_peek(void)
{
	read_with(by_peek);
}

static void with_single_bytes(void)
{
	read_with(by_single_bytes);
}

static void with_truncation(void)
{
	read_with(by_truncation);
}

/* volatile, or the compiler would see that it is wrong */
static void *volatile nowhere = (void *)16;
static volatile int negative = -1;

/* the kernel's EFAULT, and no crash; the connection is good after it */
static void with_bad_buffers(void)
{
	int fd = dial();

	report("write", write(fd, nowhere, 10));
	report("send", send(fd, NULL, 10, 0));
	report("writev", writev(fd, nowhere, 2));
	report("writev", writev(fd, halves(ask, 4), negative));
	report("sendmsg", sendmsg(fd, NULL, 0));
	report("nothing", write(fd, NULL, 0));
	send_text(fd, ask);
	recv(fd, (char[1]){0}, 1, MSG_PEEK);
	report("read", read(fd, nowhere, 10));
	report("readv", readv(fd, nowhere, 2));
	report("recvmsg", recvmsg(fd, NULL, 0));
	report("nothing", read(fd, NULL, 0));
	finish(fd);
}

/* The vector lies where its own bytes go: the kernel has copied it before it writes there. */
union overlapping {
	struct iovec parts[2];
	char data[2048];
};

static void receive_over_vector(bool as_message)
{
	union overlapping all;
	struct msghdr message = {.msg_iov = all.parts, .msg_iovlen = COUNT(all.parts)};
	int fd = dial();
	ssize_t got;

	all.parts[0] = (struct iovec){all.data, 40};
	all.parts[1] = (struct iovec){all.data + 40, sizeof(all) - 40};
	send_text(fd, ask);
	while (recv(fd, (char[512]){0}, 512, MSG_PEEK) < 512)
		;
	got = as_message ? recvmsg(fd, &message, 0) : readv(fd, all.parts, COUNT(all.parts));
	report("received", got);
	printf("%.15s\n", all.data);
	report("close", close(fd));
}

static void with_readv_over_vector(void)
{
	receive_over_vector(false);
}

static void with_recvmsg_over_vector(void)
{
	receive_over_vector(true);
}

static void with_urgent(void)
{
	int fd = dial();

	fetch(fd, "/bytes/10");
	report("send", send(fd, "!", 1, MSG_OOB));
	report("close", close(fd));
}

static const struct scenario scenarios[] = {
	{"with_write", with_write},
	{"with_sendto", with_sendto},
	{"with_writev", with_writev},
	{"with_sendmsg", with_sendmsg},
	{"with_sendmmsg", with_sendmmsg},
	{"with_send_more", with_send_more},
	{"with_sendfile_head", with_sendfile_head},
	{"with_sendfile_body", with_sendfile_body},
	{"with_splice_out", with_splice_out},
	{"with_splice_in", with_splice_in},
	{"with_read", with_read},
	{"with_checked_read", with_checked_read},
	{"with_checked_recv", with_checked_recv},
	{"with_recvfrom", with_recvfrom},
	{"with_readv", with_readv},
	{"with_recvmsg", with_recvmsg},
	{"with_recvmmsg", with_recvmmsg},
	{"with_waitall", with_waitall},
	{"with_peek", with_peek},
	{"with_single_bytes", with_single_bytes},
	{"with_truncation", with_truncation},
	{"with_bad_buffers", with_bad_buffers},
	{"with_readv_over_vector", with_readv_over_vector},
	{"with_recvmsg_over_vector", with_recvmsg_over_vector},
	{"with_urgent", with_urgent},
};

int main(int argc, char **argv)
{
	int status = 0;

	for (int i = 0; i < LIVES && !status; i++)
		status = run_scenario(argc, argv, scenarios, COUNT(scenarios));
	return status;
}

/* Clients that put stdio on a socket: libc then reads, writes and closes where nobody sees it. */
#include "client.h"
#include "rawcall.h"
#include <fcntl.h>

static void exchange(FILE *stream, const char *path)
{
	char line[256];
	size_t length = 0;
	char body[1024];

	fprintf(stream, "GET %s HTTP/1.1\r\nHost: loopback\r\n\r\n", path);
	fflush(stream);
	while (fgets(line, sizeof(line), stream) && strcmp(line, "\r\n"))
		sscanf(line, "Content-Length: %zu", &length);
	printf("%s: %zu of %zu\n", path, fread(body, 1, length, stream), length);
}

static void with_fclose(void)
{
	for (int i = 0; i < 5; i++) {
		FILE *stream = fdopen(dial(), "r+");

		setvbuf(stream, NULL, i % 2 ? _IOFBF : _IONBF, 4096);
		exchange(stream, "/bytes/100");
		report("fclose", fclose(stream));
	}
}

/* The number that fclose() freed is a file, a pipe, another socket. */
static void number_again(void)
{
	for (int i = 0; i < 5; i++) {
		int fd = dial();
		FILE *stream = fdopen(fd, "r+");
		char byte = 'x';
		int ends[2];

		exchange(stream, "/bytes/100");
		fclose(stream);
		if (pipe(ends))
			die("pipe");
		printf("same number: %d\n", ends[0] == fd);
		report("write", write(ends[1], &byte, 1));
		report("read", read(ends[0], &byte, 1));
		report("close", close(ends[0]));
		report("close", close(ends[1]));
		visit("/bytes/200");
	}
}

/* Two streams, one for each direction: the usual idiom needs a dup(). */
static void two_streams(void)
{
	for (int i = 0; i < 3; i++) {
		int fd = dial();
		FILE *in = fdopen(fd, "r");
		FILE *out = fdopen(dup(fd), "w");
		char line[64] = "";

		fprintf(out, "GET /bytes/10 HTTP/1.1\r\nHost: loopback\r\n\r\n");
		report("fclose", fclose(out));
		printf("%s", fgets(line, sizeof(line), in) ? line : "nothing\n");
		report("fclose", fclose(in));
	}
	visit("/bytes/10");
}

/* close() first, fclose() after: the stream's close fails, and hits nothing else. */
static void close_before_fclose(void)
{
	int fd = dial();
	FILE *stream = fdopen(fd, "r+");

	exchange(stream, "/bytes/100");
	report("close", close(fd));
	report("fclose", fclose(stream));
	visit("/bytes/10");
	visit("/bytes/20");
}

/* A file takes the number of a socket that was closed with the raw system call. */
static void closed_unseen(void)
{
	for (int i = 0; i < 3; i++) {
		int fd = dial();
		int file;

		fetch(fd, "/bytes/100");
		RAW_CALL(SYS_close, fd);
		file = (int)RAW_CALL(SYS_open, "/dev/zero", O_RDWR | O_CLOEXEC, 0);
		printf("same number: %d\n", file == fd);
		report("read", read(file, (char[8]){0}, 8));
		report("write", write(file, "x", 1));
		report("close", close(file));
		report("close again", close(file));
	}
	visit("/bytes/10");
}

/* The same with another connection in its place, that is still in the middle of an exchange. */
static void replaced_unseen(void)
{
	int fd = dial();
	int next;

	fetch(fd, "/echo/first");
	RAW_CALL(SYS_close, fd);
	next = dial();
	printf("same number: %d\n", next == fd);
	request(next, "GET", "/echo/unread");
	report("close", close(next));
	visit("/echo/third");
}

static const struct scenario scenarios[] = {
	{"with_fclose", with_fclose},
	{"number_again", number_again},
	{"two_streams", two_streams},
	{"close_before_fclose", close_before_fclose},
	{"closed_unseen", closed_unseen},
	{"replaced_unseen", replaced_unseen},
};

int main(int argc, char **argv)
{
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}

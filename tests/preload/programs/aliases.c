/* Programs that call libc's functions by their second names, which libc exports as well. */
#include "client.h"
#include <fcntl.h>
#include <sys/wait.h>

extern int __close(int fd);
extern int __connect(int fd, const struct sockaddr *address, socklen_t length);
extern ssize_t __read(int fd, void *data, size_t length);
extern ssize_t __write(int fd, const void *data, size_t length);
extern ssize_t __send(int fd, const void *data, size_t length, int flags);
extern int __dup2(int fd, int to);
extern int __fcntl(int fd, int command, ...);
extern int __open(const char *path, int flags, ...);
extern pid_t __fork(void);
extern pid_t __vfork(void);
extern FILE *_IO_fdopen(int fd, const char *mode);
extern int _IO_fclose(FILE *stream);
extern FILE *_IO_popen(const char *command, const char *mode);

static void visit_again(void)
{
	visit("/echo/again1");
	visit("/echo/again2");
}

static void closes(void)
{
	for (int i = 0; i < 5; i++) {
		int fd = dial();
		int file;

		fetch(fd, "/bytes/100");
		report("close", __close(fd));
		file = __open("/dev/zero", O_RDWR);
		printf("same number: %d\n", file == fd);
		visit("/echo/meanwhile");
		report("read", __read(file, (char[8]){0}, 8));
		report("close", i % 2 ? close(file) : __close(file));
		report("close again", i % 2 ? __close(file) : close(file));
	}
	visit_again();
}

static void connects(void)
{
	struct sockaddr_in address = loopback(port);

	for (int i = 0; i < 5; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		report("connect", __connect(fd, (struct sockaddr *)&address, sizeof(address)));
		report("again", __connect(fd, (struct sockaddr *)&address, sizeof(address)));
		fetch(fd, "/bytes/100");
		report("close", close(fd));
	}
	visit_again();
}

#define ASK  "GET /bytes/100 HTTP/1.1\r\nHost: loopback\r\n\r\n"
#define HEAD "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"

static void moves_bytes(void)
{
	for (int way = 0; way < 8; way++) {
		char data[sizeof(HEAD) + 100] = "";
		size_t done = 0;
		int fd = dial();

		report("ask", way & 1 ? __send(fd, ASK, sizeof(ASK) - 1, 0)
				      : __write(fd, ASK, sizeof(ASK) - 1));
		while (done < sizeof(data) - 1) {
			size_t left = sizeof(data) - 1 - done;
			ssize_t got = done || way & 2 ? __read(fd, data + done, left)
						      : read(fd, data, 10);

			if (got <= 0)
				break;
			done += (size_t)got;
		}
		printf("%s\n", data);
		report("close", way & 4 ? __close(fd) : close(fd));
		visit("/echo/after");
	}
}

/* A second holder, made by a second name: it goes on while the next connection is under way. */
static void dups(void)
{
	for (int i = 0; i < 4; i++) {
		int fd = dial();
		int second, next;

		fetch(fd, "/echo/first");
		second = i % 2 ? __dup2(fd, 300) : __fcntl(fd, i ? F_DUPFD : F_DUPFD_CLOEXEC, 300);
		report("close", close(fd));
		next = dial();
		request(second, "GET", "/echo/second");
		request(next, "GET", "/echo/next");
		show("next", receive(next, true));
		show("second", receive(second, true));
		close(next);
		close(second);
	}
	visit_again();
}

static void over_connection(void)
{
	int null = open("/dev/null", O_RDWR);

	for (int i = 0; i < 3; i++) {
		int fd = dial();

		fetch(fd, "/echo/over");
		printf("dup2: %d\n", __dup2(null, fd) == fd);
		report("write", __write(fd, "x", 1));
		visit("/echo/meanwhile");
		report("close", __close(fd));
		report("close again", __close(fd));
	}
	visit_again();
}

static void flags(void)
{
	for (int i = 0; i < 4; i++) {
		int fd = dial();
		int next;

		fetch(fd, "/echo/first");
		__fcntl(fd, F_SETFL, i % 2 ? O_NONBLOCK : O_ASYNC);
		__fcntl(fd, F_SETOWN, getpid());
		close(fd);
		next = dial();
		printf("status flags %x, owner %d\n", __fcntl(next, F_GETFL),
			__fcntl(next, F_GETOWN) != 0);
		fetch(next, "/echo/next");
		close(next);
	}
}

/* A child that holds a connection until its standard input ends. */
static void child_keeps(void)
{
	for (int i = 0; i < 2; i++) {
		int fd = dial();
		int ends[2];
		pid_t pid;

		fetch(fd, i ? "/echo/kept-over-vfork" : "/echo/kept-over-fork");
		if (pipe(ends) || dup2(ends[0], STDIN_FILENO) < 0)
			die("pipe");
		fcntl(ends[1], F_SETFD, FD_CLOEXEC);
		close(ends[0]);
		fflush(stdout);
		pid = i ? __vfork() : __fork();
		if (!pid) {
			execl("/bin/cat", "cat", NULL);
			_exit(127);
		}
		report("close", close(fd));
		visit(i ? "/echo/beside-vfork" : "/echo/beside-fork");
		close(ends[1]);
		report("child", waitpid(pid, NULL, 0) == pid);
	}
	visit_again();
}

/* A child of popen() holds what was open when it began. */
static void popen_keeps(void)
{
	int fd = dial();
	FILE *child;

	fetch(fd, "/echo/kept-over-popen");
	fflush(stdout);
	child = _IO_popen("cat >/dev/null", "w");
	report("close", close(fd));
	visit("/echo/beside-popen");
	report("pclose", pclose(child));
	visit_again();
}

static void streams(void)
{
	for (int i = 0; i < 4; i++) {
		FILE *stream = _IO_fdopen(dial(), "r+");
		char line[256];
		size_t length = 0;

		fprintf(stream, ASK);
		fflush(stream);
		while (fgets(line, sizeof(line), stream) && strcmp(line, "\r\n"))
			sscanf(line, "Content-Length: %zu", &length);
		while (length && fgetc(stream) != EOF)
			length--;
		printf("missing: %zu\n", length);
		report("close", i % 2 ? fclose(stream) : _IO_fclose(stream));
		visit("/echo/after");
	}
	visit_again();
}

static const struct scenario scenarios[] = {
	{"closes", closes},
	{"connects", connects},
	{"moves_bytes", moves_bytes},
	{"dups", dups},
	{"over_connection", over_connection},
	{"flags", flags},
	{"child_keeps", child_keeps},
	{"popen_keeps", popen_keeps},
	{"streams", streams},
};

int main(int argc, char **argv)
{
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}

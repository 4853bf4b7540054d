/* A program in a sandbox that it made for itself: SCENARIO PORT WAY CALL...
 *
 * It needs socket, connect, read, write and close; any other call it can do without. WAY is how the
 * sandbox is made: "prctl", "syscall" and "syscall_prctl" can be seen by a library, "inline"
 * cannot.
 */
#include "client.h"
#include "rawcall.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>

struct call {
	const char *name;
	unsigned number;
};

#define CALL(name)                                                                                 \
	{                                                                                          \
#name, SYS_##name                                                                  \
	}

static const struct call calls[] = {
	CALL(fstat),
	CALL(getpid),
	CALL(gettid),
	CALL(clock_gettime),
	CALL(dup3),
	CALL(fcntl),
	CALL(getsockopt),
	CALL(setsockopt),
	CALL(epoll_ctl),
	CALL(recvfrom),
	CALL(prlimit64),
	CALL(sched_yield),
	CALL(mmap),
	CALL(madvise),
	CALL(futex),
	CALL(poll),
	CALL(rt_sigprocmask),
};

static const char *way;
static char **denied;

static bool is_way(const char *name)
{
	return !strcmp(way, name);
}

static long confine(unsigned mode, struct sock_fprog *program)
{
	unsigned operation =
		mode == SECCOMP_MODE_STRICT ? SECCOMP_SET_MODE_STRICT : SECCOMP_SET_MODE_FILTER;

	if (is_way("syscall"))
		return syscall(SYS_seccomp, operation, 0, program);
	if (is_way("syscall_prctl"))
		return syscall(SYS_prctl, PR_SET_SECCOMP, mode, program);
	if (is_way("inline"))
		return RAW_CALL(SYS_seccomp, operation, 0, program);
	return prctl(PR_SET_SECCOMP, mode, program);
}

static void deny(unsigned number, unsigned action)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = COUNT(filter), .filter = filter};

	if (confine(SECCOMP_MODE_FILTER, &program))
		die("seccomp");
}

static void deny_all(unsigned action)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		die("no_new_privs");
	for (; *denied; denied++) {
		for (size_t i = 0; i < COUNT(calls); i++) {
			if (!strcmp(calls[i].name, *denied))
				deny(calls[i].number, action);
		}
	}
}

/* ---- traffic with the few calls that are left ---- */

#define ASK  "GET /bytes/100 HTTP/1.1\r\nHost: loopback\r\n\r\n"
#define HEAD "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"

static void exchange(int fd)
{
	char data[sizeof(HEAD) + 100] = "";
	size_t done = 0;

	report("ask", write(fd, ASK, sizeof(ASK) - 1));
	while (done < sizeof(data) - 1) {
		ssize_t got = read(fd, data + done, sizeof(data) - 1 - done);

		if (got <= 0)
			break;
		done += (size_t)got;
	}
	printf("%s\n", data);
}

static void go(void)
{
	int fd = dial();

	exchange(fd);
	report("close", close(fd));
}

/* One connection is parked when the sandbox closes, and one is in use. */
static void confined(unsigned action)
{
	int kept = dial();

	exchange(kept);
	go();
	deny_all(action);
	exchange(kept);
	report("close", close(kept));
	for (int i = 0; i < 5; i++)
		go();
}

static void refuse(void)
{
	confined(SECCOMP_RET_ERRNO | EPERM);
}

static void refuse_unknown(void)
{
	confined(SECCOMP_RET_ERRNO | ENOSYS);
}

static void refuse_early(void)
{
	deny_all(SECCOMP_RET_ERRNO | ENOSYS);
	for (int i = 0; i < 5; i++)
		go();
}

static void kill_process(void)
{
	confined(SECCOMP_RET_KILL_PROCESS);
}

static volatile sig_atomic_t n_traps;

static void count_trap(int number)
{
	(void)number;
	n_traps++;
}

/* Chromium's way: each call that is not allowed is a signal. */
static void trap(void)
{
	signal(SIGSYS, count_trap);
	confined(SECCOMP_RET_TRAP);
	printf("traps: %d\n", (int)n_traps);
}

/* The sandbox is older than the program, as a service's is. */
static void before_exec(void)
{
	char self[4096] = "";
	char text[16];

	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		die("readlink");
	snprintf(text, sizeof(text), "%d", port);
	deny_all(SECCOMP_RET_ERRNO | EPERM);
	execl(self, self, "open", text, way, (char *)NULL);
	die("execl");
}

static void open_sandbox(void)
{
	for (int i = 0; i < 5; i++)
		go();
}

/* ---- only read and write are left ---- */

static void say(const char *text)
{
	if (write(STDOUT_FILENO, text, strlen(text)) < 0)
		RAW_CALL(SYS_exit, 9);
}

static void strict(void)
{
	char data[sizeof(HEAD) + 100] = "";
	int kept = dial();

	exchange(kept);
	go();
	fflush(stdout);
	if (confine(SECCOMP_MODE_STRICT, NULL))
		die("seccomp");
	if (write(kept, ASK, sizeof(ASK) - 1) != sizeof(ASK) - 1)
		say("not written\n");
	for (size_t done = 0; done < sizeof(data) - 1;) {
		ssize_t got = read(kept, data + done, sizeof(data) - 1 - done);

		if (got <= 0)
			say("not read\n");
		done += got > 0 ? (size_t)got : sizeof(data);
	}
	say(data);
	/* exit_group(), which _exit() calls, is not allowed. */
	RAW_CALL(SYS_exit, 0);
}

static const struct scenario scenarios[] = {
	{"refuse", refuse},
	{"refuse_unknown", refuse_unknown},
	{"refuse_early", refuse_early},
	{"kill", kill_process},
	{"trap", trap},
	{"before_exec", before_exec},
	{"open", open_sandbox},
	{"strict", strict},
};

/* stdout is given its buffer before the sandbox closes */
int main(int argc, char **argv)
{
	static char buffer[65536];

	setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
	way = argc > 3 ? argv[3] : "";
	denied = argv + (argc < 4 ? argc : 4);
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}

/* A program in a sandbox that it made for itself: SCENARIO PORT CALL...
 *
 * It needs socket, connect, sendto, recvfrom, close and write; any other call it can do without.
 */
#include "client.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

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
	CALL(mmap),
	CALL(madvise),
	CALL(futex),
	CALL(poll),
	CALL(rt_sigprocmask),
};

static char **denied;

static void deny(unsigned number, unsigned action)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = COUNT(filter), .filter = filter};

	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
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

/* once with the sandbox closed before the first connection, once with one parked already */
static void refuse(void)
{
	visit("/bytes/10");
	deny_all(SECCOMP_RET_ERRNO | EPERM);
	for (int i = 0; i < 5; i++)
		visit("/bytes/100");
}

static void refuse_early(void)
{
	deny_all(SECCOMP_RET_ERRNO | ENOSYS);
	for (int i = 0; i < 5; i++)
		visit("/bytes/100");
}

static void kill_process(void)
{
	visit("/bytes/10");
	deny_all(SECCOMP_RET_KILL_PROCESS);
	for (int i = 0; i < 5; i++)
		visit("/bytes/100");
}

static const struct scenario scenarios[] = {
	{"refuse", refuse},
	{"refuse_early", refuse_early},
	{"kill", kill_process},
};

/* stdout is given its buffer before the sandbox closes */
int main(int argc, char **argv)
{
	static char buffer[65536];

	setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
	denied = argv + (argc < 3 ? argc : 3);
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}

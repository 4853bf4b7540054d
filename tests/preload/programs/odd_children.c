/* Children that are made in rare ways, or under rare conditions. */
#include "client.h"
#include "rawcall.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define MANY        20
#define ROUNDS      10
#define THREADS     3
#define GENERATIONS 50
#define EACH        8

static char stack[1 << 16] __attribute__((aligned(16)));

static void end(const char *what, pid_t child)
{
	int status = -1;

	if (child < 0)
		die("no child");
	waitpid(child, &status, 0);
	printf("%s: child's status %#x\n", what, status);
}

/* n connections at once, each used */
static void use_and_close(int n)
{
	int fds[MANY];

	for (int i = 0; i < n; i++)
		fds[i] = dial();
	for (int i = 0; i < n; i++)
		printf("%d ",
			request(fds[i], "GET", "/bytes/100") ? receive(fds[i], true).status : 0);
	for (int i = 0; i < n; i++)
		close(fds[i]);
	printf("\n");
}

/* ---- fork() in a sandbox that kills for a call that fork() does not need ---- */

static void kill_for(unsigned number)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = COUNT(filter), .filter = filter};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		die("seccomp");
}

static void *fork_here(void *who)
{
	pid_t child;

	fflush(stdout);
	child = fork();
	if (!child) {
		visit("/bytes/100");
		fflush(stdout);
		_exit(0);
	}
	end(who, child);
	return NULL;
}

static void fork_in_sandbox(unsigned number)
{
	static char main_thread[] = "main", other[] = "thread";
	pthread_t thread;

	visit("/bytes/100");
	kill_for(number);
	fork_here(main_thread);
	if (pthread_create(&thread, NULL, fork_here, other) || pthread_join(thread, NULL))
		die("thread");
	visit("/bytes/100");
}

static void fork_without_getpid(void)
{
	fork_in_sandbox(SYS_getpid);
}

static void fork_without_gettid(void)
{
	fork_in_sandbox(SYS_gettid);
}

/* ---- a child of the system call, whose threads make its first calls at once ---- */

static int ports_of_parent[MANY];
static pthread_barrier_t barrier;
static _Atomic int n_of_parent;

static int own_port(int fd)
{
	struct sockaddr_in address;
	socklen_t length = sizeof(address);

	if (getsockname(fd, (struct sockaddr *)&address, &length))
		return -1;
	return ntohs(address.sin_port);
}

static void *first_calls(void *unused)
{
	(void)unused;
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < 6; i++) {
		int fd = dial(), its = own_port(fd);

		for (int k = 0; k < MANY; k++)
			n_of_parent += ports_of_parent[k] == its;
	}
	return NULL;
}

/* What it opens stays open until it ends, so that no port comes twice. */
static void live_as_child(void)
{
	pthread_t threads[THREADS];

	pthread_barrier_init(&barrier, NULL, THREADS);
	for (int i = 0; i < THREADS; i++)
		pthread_create(threads + i, NULL, first_calls, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	_exit(n_of_parent > 100 ? 100 : n_of_parent);
}

static void first_calls_at_once(void)
{
	for (int round = 0; round < ROUNDS; round++) {
		int fds[MANY];
		pid_t child;

		for (int i = 0; i < MANY; i++) {
			fds[i] = dial();
			ports_of_parent[i] = own_port(fds[i]);
		}
		for (int i = 0; i < MANY; i++) {
			if (!request(fds[i], "GET", "/bytes/100") || !receive(fds[i], true).status)
				printf("no answer\n");
		}
		for (int i = 0; i < MANY; i++)
			close(fds[i]);
		child = (pid_t)syscall(SYS_fork);
		if (!child)
			live_as_child();
		end("connections of the parent's", child);
	}
}

/* ---- clone(2) with flags that nobody uses ---- */

static int to_child[2], to_parent[2];

static void say(const int pipe_of[2], int number)
{
	if (write(pipe_of[1], &number, sizeof(number)) != sizeof(number))
		die("write");
}

static int hear(const int pipe_of[2])
{
	int number = -1;

	if (read(pipe_of[0], &number, sizeof(number)) != sizeof(number))
		die("read");
	return number;
}

static void make_pipes(void)
{
	if (pipe(to_child) || pipe(to_parent))
		die("pipe");
}

static int hold_second_number(void *unused)
{
	int second = dup(hear(to_child));

	(void)unused;
	say(to_parent, second);
	hear(to_child);
	return !send_text(second, "GET /bytes/7 HTTP/1.1\r\n");
}

/* A child with memory of its own and the descriptors of us both: what it does to them is done, and
 * is not known here. Its half of a request belongs to the connection that was there before. */
static void same_descriptors(void)
{
	int before, after;
	pid_t child;

	make_pipes();
	fflush(stdout);
	child = clone(hold_second_number, stack + sizeof(stack), CLONE_FILES | SIGCHLD, NULL);
	before = dial();
	fetch(before, "/bytes/100");
	say(to_child, before);
	hear(to_parent);
	report("close", close(before));
	after = dial();
	say(to_child, 0);
	end("same descriptors", child);
	fetch(after, "/bytes/100");
	report("close", close(after));
}

/* On the thread-local memory of its parent, which waits for it meanwhile. */
static int live_as_thread(void *unused)
{
	int fd = dial();
	struct response got = {0};

	(void)unused;
	if (request(fd, "GET", "/bytes/100"))
		got = receive(fd, true);
	RAW_CALL(SYS_close, fd);
	say(to_parent, got.status);
	RAW_CALL(SYS_exit, 0);
	return 0;
}

/* A thread with descriptors of its own from the start: same process id, other numbers. */
static void thread_of_other_descriptors(void)
{
	const int flags = CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;

	make_pipes();
	visit("/bytes/100");
	if (clone(live_as_thread, stack + sizeof(stack), flags, NULL) < 0)
		die("clone");
	report("thread's answer", hear(to_parent));
	for (int i = 0; i < 3; i++)
		visit("/bytes/100");
}

static int kept;

static int live_in_own_namespace(void *unused)
{
	(void)unused;
	say(to_parent, (int)getpid());
	close(kept);
	say(to_parent, dial() < 0);
	for (int fd = 3; fd < 1100; fd++)
		close(fd);
	_exit(0);
}

/* Our process id is 1, and so is the child's, which has our memory. */
static void first_of_its_namespace(void)
{
	const int flags = CLONE_VM | CLONE_VFORK | CLONE_NEWPID | SIGCHLD;
	pid_t child;

	make_pipes();
	report("pid", getpid());
	use_and_close(3);
	kept = dial();
	fetch(kept, "/bytes/100");
	child = clone(live_in_own_namespace, stack + sizeof(stack), flags, NULL);
	end("own namespace", child);
	report("its pid", hear(to_parent));
	report("no connection", hear(to_parent));
	fetch(kept, "/bytes/100");
	report("close", close(kept));
	for (int i = 0; i < 5; i++)
		visit("/bytes/100");
}

/* ---- memory from generation to generation ---- */

static int memory_kib(void)
{
	FILE *file = fopen("/proc/self/status", "re");
	char line[200];
	int kib = -1;

	while (file && fgets(line, sizeof(line), file)) {
		if (!strncmp(line, "VmSize:", 7))
			kib = atoi(line + 7);
	}
	if (file)
		fclose(file);
	return kib;
}

static void chain(void)
{
	pid_t child = 0;
	int generation = 0;

	use_and_close(EACH);
	printf("first: %d KiB\n", memory_kib());
	fflush(stdout);
	do {
		child = fork();
		if (!child)
			use_and_close(EACH);
	} while (!child && ++generation < GENERATIONS);
	if (generation == GENERATIONS)
		printf("last: %d KiB\n", memory_kib());
	if (child)
		end("generation", child);
	fflush(stdout);
	if (generation)
		_exit(0);
}

static const struct scenario scenarios[] = {
	{"fork_without_getpid", fork_without_getpid},
	{"fork_without_gettid", fork_without_gettid},
	{"first_calls_at_once", first_calls_at_once},
	{"same_descriptors", same_descriptors},
	{"thread_of_other_descriptors", thread_of_other_descriptors},
	{"first_of_its_namespace", first_of_its_namespace},
	{"chain", chain},
};

int main(int argc, char **argv)
{
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}

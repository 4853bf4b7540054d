/* Programs for which one thread more than their own would be one too many: SCENARIO PORT
 * CONTROL-PORT. Each has closed a connection, which somebody may still have.
 */
#include "client.h"
#include "onlooker.h"
#include "rawcall.h"
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

/* ---- ends ---- */

static pthread_t first_thread;

static void *outlive_first(void *unused)
{
	pthread_join(first_thread, NULL);
	visit("/echo/last");
	fflush(stdout);
	return unused;
}

/* With its last thread the process is over. */
static void leaves_main(void)
{
	pthread_t thread;

	first_thread = pthread_self();
	pthread_create(&thread, NULL, outlive_first, NULL);
	pthread_detach(thread);
	pthread_exit(NULL);
}

static void exits_by_number(void)
{
	visit("/echo/once");
	fflush(stdout);
	syscall(SYS_exit, 0);
}

/* ---- handlers ---- */

static volatile sig_atomic_t handled;

static void make_socket(int signal)
{
	(void)signal;
	close(socket(AF_INET, SOCK_STREAM, 0));
	handled++;
}

static void *idle(void *unused)
{
	pause();
	return unused;
}

/* The first socket is made while malloc() is at work, as a rule; which has locks where there is
 * more than one thread. */
static void socket_in_handler(void)
{
	pthread_t thread;
	const struct itimerval once = {.it_value = {.tv_usec = 3000}};
	void *memory[64] = {0};
	unsigned random = 0;

	pthread_create(&thread, NULL, idle, NULL);
	signal(SIGALRM, make_socket);
	setitimer(ITIMER_REAL, &once, NULL);
	while (!handled) {
		random = random * 1103515245 + 12345;
		free(memory[random >> 8 & 63]);
		memory[random >> 8 & 63] = malloc(2000 + (random >> 16) % 3000);
	}
	visit("/echo/once");
}

/* ---- sandboxes and namespaces ---- */

#define ALLOW(number)                                                                              \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),                                         \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* The filter is for all threads, and kills for whatever this one does not call. */
static void kills_all(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		ALLOW(SYS_write),
		ALLOW(SYS_clock_nanosleep),
		ALLOW(SYS_exit_group),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = {.len = COUNT(filter), .filter = filter};
	const struct timespec while_others_work = {.tv_sec = 1, .tv_nsec = 500000000};

	visit("/echo/once");
	fflush(stdout);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program))
		die("seccomp");
	clock_nanosleep(CLOCK_MONOTONIC, 0, &while_others_work, NULL);
	if (write(STDOUT_FILENO, "alive\n", 6) != 6)
		_exit(1);
	_exit(0);
}

static void new_user_namespace(void)
{
	visit("/echo/once");
	report("unshare", unshare(CLONE_NEWUSER));
	visit("/echo/twice");
	report("unshare", unshare(CLONE_NEWUSER));
}

static void enters_mount_namespace(void)
{
	int own = open("/proc/self/ns/mnt", O_RDONLY);

	visit("/echo/once");
	report("setns", setns(own, CLONE_NEWNS));
}

/* ---- rights ---- */

/* How many threads have this line in their status. */
static int count_tasks_with(const char *line)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *entry;
	int count = 0;

	while ((entry = readdir(tasks))) {
		char name[64], text[256];

		snprintf(name, sizeof(name), "/proc/self/task/%.20s/status", entry->d_name);
		FILE *status = entry->d_name[0] == '.' ? NULL : fopen(name, "r");
		while (status && fgets(text, sizeof(text), status))
			count += !strcmp(text, line);
		if (status)
			fclose(status);
	}
	closedir(tasks);
	return count;
}

static void are_all(const char *what, const char *line)
{
	int with = count_tasks_with(line), threads = count_threads();

	printf("%s: %s\n", what, with == threads ? "all" : "not all");
}

static void changes_rights(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};

	visit("/echo/once");
	report("no new privileges", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	are_all("no new privileges", "NoNewPrivs:\t1\n");
	visit("/echo/twice");
	report("setgid", setgid(4711));
	are_all("setgid", "Gid:\t4711\t4711\t4711\t4711\n");
	visit("/echo/three");
	report("setuid", setuid(4711));
	are_all("setuid", "Uid:\t4711\t4711\t4711\t4711\n");
	visit("/echo/four");
	are_all("setuid", "Uid:\t4711\t4711\t4711\t4711\n");
	report("setuid", setuid(0));
	report("capset", syscall(SYS_capset, &header, none));
	are_all("capset", "CapPrm:\t0000000000000000\n");
}

/* After a call that fails everything is as before. */
static void fails_to_change(void)
{
	visit("/echo/once");
	printf("threads: %d\n", count_threads());
	report("setuid", setuid((uid_t)-1));
	printf("threads: %d\n", count_threads());
	report("unshare", unshare(1));
	printf("threads: %d\n", count_threads());
	release();
	await(1);
}

/* ---- children ---- */

/* What the child does at its start must not be felt in the parent. */
static void forks_meanwhile(void)
{
	visit("/echo/once");
	pid_t pid = fork();
	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
	release();
	await(1);
}

static void makes_socket_in_vfork(void)
{
	pid_t pid = vfork();

	if (!pid) {
		close(socket(AF_INET, SOCK_STREAM, 0));
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	visit("/echo/once");
	release();
	await(1);
}

/* ---- what goes on for ever ---- */

static char state_of_other(void)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *entry;
	char state = '?';

	while ((entry = readdir(tasks))) {
		char name[64];

		if (entry->d_name[0] == '.' || atoi(entry->d_name) == gettid())
			continue;
		snprintf(name, sizeof(name), "/proc/self/task/%.20s/stat", entry->d_name);
		FILE *status = fopen(name, "r");
		if (status && fscanf(status, "%*d (%*[^)]) %c", &state) != 1)
			state = '?';
		if (status)
			fclose(status);
	}
	closedir(tasks);
	return state;
}

/* Who has nothing to do sleeps whenever one looks. */
static void await_rest(void)
{
	int asleep = 0;

	for (int i = 0; i < MOST_LOOKS / 10 && asleep < 50; i++) {
		poll(NULL, 0, 1);
		asleep = state_of_other() == 'S' ? asleep + 1 : 0;
	}
	printf("asleep: %d\n", asleep == 50);
}

/* A number is closed where nobody sees it, but another process has the socket. */
static void closed_behind(void)
{
	visit("/echo/once");
	int parked = find_link(200, "socket:");
	long pid = RAW_CALL(SYS_clone, SIGCHLD, 0);
	if (pid == 0)
		for (;;)
			RAW_CALL(SYS_pause, 0);
	report("closed", RAW_CALL(SYS_close, parked));
	release();
	await_rest();
	kill((pid_t)pid, SIGKILL);
	waitpid((pid_t)pid, NULL, 0);
}

static const struct scenario scenarios[] = {
	{"leaves_main", leaves_main},
	{"exits_by_number", exits_by_number},
	{"socket_in_handler", socket_in_handler},
	{"kills_all", kills_all},
	{"new_user_namespace", new_user_namespace},
	{"enters_mount_namespace", enters_mount_namespace},
	{"changes_rights", changes_rights},
	{"fails_to_change", fails_to_change},
	{"forks_meanwhile", forks_meanwhile},
	{"makes_socket_in_vfork", makes_socket_in_vfork},
	{"closed_behind", closed_behind},
};

int main(int argc, char **argv)
{
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}

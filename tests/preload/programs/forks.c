/* Children of every kind, made while a connection is parked: each must begin with nothing. */
#include "client.h"
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

extern char **environ;

/* the program beside this one that lists its descriptors */
static char lister[4096];

static void find_lister(void)
{
	ssize_t length = readlink("/proc/self/exe", lister, sizeof(lister) - 16);
	char *slash;

	if (length < 0)
		die("readlink");
	lister[length] = '\0';
	slash = strrchr(lister, '/');
	strcpy(slash + 1, "descriptors");
}

static void wait_for(pid_t pid)
{
	int status = -1;

	waitpid(pid, &status, 0);
	printf("child: %x\n", (unsigned)status);
}

static void leave_child(void)
{
	fflush(stdout);
	_exit(0);
}

static void parent_goes_on(pid_t pid)
{
	wait_for(pid);
	visit("/echo/parent2");
	visit("/echo/parent3");
}

static pid_t fork_quietly(void)
{
	fflush(stdout);
	return fork();
}

static void child_connects(void)
{
	pid_t pid;

	visit("/echo/parent1");
	pid = fork_quietly();
	if (!pid) {
		visit("/echo/child1");
		visit("/echo/child2");
		leave_child();
	}
	parent_goes_on(pid);
}

static void child_closes_everything(void)
{
	pid_t pid;

	visit("/echo/parent1");
	pid = fork_quietly();
	if (!pid) {
		for (int fd = 3; fd < 70000; fd++)
			close(fd);
		visit("/echo/child1");
		leave_child();
	}
	parent_goes_on(pid);
}

static void child_exits(void)
{
	pid_t pid;

	visit("/echo/parent1");
	pid = fork_quietly();
	if (!pid)
		exit(0);
	parent_goes_on(pid);
}

/* no atfork handler runs for this one */
static void raw_clone(void)
{
	pid_t pid;

	visit("/echo/parent1");
	fflush(stdout);
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (!pid) {
		visit("/echo/child1");
		visit("/echo/child2");
		leave_child();
	}
	parent_goes_on(pid);
}

/* shares our memory, not our descriptors: what it closes is closed for it alone */
static void vfork_closes(void)
{
	int kept = dial();
	pid_t pid;

	fetch(kept, "/echo/kept");
	visit("/echo/parent1");
	pid = vfork();
	if (!pid) {
		for (int fd = 3; fd < 70000; fd++)
			close(fd);
		_exit(0);
	}
	wait_for(pid);
	fetch(kept, "/echo/kept2");
	parent_goes_on(pid);
	close(kept);
	visit("/echo/parent4");
}

static void vfork_closes_range(void)
{
	int kept = dial();
	pid_t pid;

	fetch(kept, "/echo/kept");
	visit("/echo/parent1");
	pid = vfork();
	if (!pid) {
		close_range(3, ~0U, 0);
		_exit(0);
	}
	wait_for(pid);
	fetch(kept, "/echo/kept2");
	close(kept);
	visit("/echo/parent2");
}

/* The child inherits an open connection over exec(), because it has no CLOEXEC. */
static void fork_exec(void)
{
	pid_t pid;

	visit("/echo/parent1");
	pid = fork_quietly();
	if (!pid) {
		execl(lister, lister, NULL);
		_exit(127);
	}
	parent_goes_on(pid);
}

static void vfork_exec(void)
{
	pid_t pid;

	visit("/echo/parent1");
	fflush(stdout);
	pid = vfork();
	if (!pid) {
		execl(lister, lister, NULL);
		_exit(127);
	}
	parent_goes_on(pid);
}

/* The program that vfork() started holds the socket until its standard input ends. */
static void vfork_exec_keeps(void)
{
	int fd = dial();
	int ends[2];
	pid_t pid;

	fetch(fd, "/echo/kept");
	if (pipe(ends) || dup2(ends[0], STDIN_FILENO) < 0)
		die("pipe");
	fcntl(ends[1], F_SETFD, FD_CLOEXEC);
	fflush(stdout);
	pid = vfork();
	if (!pid) {
		execlp("cat", "cat", NULL);
		_exit(127);
	}
	close(fd);
	visit("/echo/next");
	close(ends[1]);
	parent_goes_on(pid);
}

static void spawn(void)
{
	char *arguments[] = {lister, NULL};
	pid_t pid = -1;

	visit("/echo/parent1");
	fflush(stdout);
	report("spawn", posix_spawn(&pid, lister, NULL, NULL, arguments, environ));
	parent_goes_on(pid);
}

static void spawn_closefrom(void)
{
	char *arguments[] = {lister, NULL};
	posix_spawn_file_actions_t actions;
	pid_t pid = -1;

	visit("/echo/parent1");
	fflush(stdout);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addclosefrom_np(&actions, 3);
	report("spawn", posix_spawn(&pid, lister, &actions, NULL, arguments, environ));
	parent_goes_on(pid);
}

static void with_system(void)
{
	visit("/echo/parent1");
	fflush(stdout);
	report("system", system(lister));
	visit("/echo/parent2");
}

static void with_popen(void)
{
	char line[256];
	FILE *pipe;

	visit("/echo/parent1");
	pipe = popen(lister, "r");
	while (fgets(line, sizeof(line), pipe))
		fputs(line, stdout);
	report("pclose", pclose(pipe));
	visit("/echo/parent2");
}

static void exec_self(void)
{
	visit("/echo/parent1");
	fflush(stdout);
	execl(lister, lister, NULL);
	die("execl");
}

/* A program's own connection goes over exec() if it says so, and only then. */
static void exec_with_connection(void)
{
	int kept = dial();

	fetch(kept, "/echo/kept");
	visit("/echo/parent1");
	fcntl(dial(), F_SETFD, FD_CLOEXEC);
	fflush(stdout);
	execl(lister, lister, NULL);
	die("execl");
}

/* The descriptor table comes apart while a connection is parked. */
static void unshared(void)
{
	visit("/echo/parent1");
	report("unshare", unshare(CLONE_FILES));
	visit("/echo/parent2");
	report("close_range", close_range(100, ~0U, CLOSE_RANGE_UNSHARE));
	visit("/echo/parent3");
}

static void many_children(void)
{
	for (int i = 0; i < 50; i++) {
		pid_t pid;

		visit("/echo/parent");
		pid = fork_quietly();
		if (!pid) {
			visit("/echo/child");
			leave_child();
		}
		wait_for(pid);
	}
}

static const struct scenario scenarios[] = {
	{"child_connects", child_connects},
	{"child_closes_everything", child_closes_everything},
	{"child_exits", child_exits},
	{"raw_clone", raw_clone},
	{"vfork_closes", vfork_closes},
	{"vfork_closes_range", vfork_closes_range},
	{"fork_exec", fork_exec},
	{"vfork_exec", vfork_exec},
	{"vfork_exec_keeps", vfork_exec_keeps},
	{"spawn", spawn},
	{"spawn_closefrom", spawn_closefrom},
	{"with_system", with_system},
	{"with_popen", with_popen},
	{"exec_self", exec_self},
	{"exec_with_connection", exec_with_connection},
	{"unshared", unshared},
	{"many_children", many_children},
};

int main(int argc, char **argv)
{
	find_lister();
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}

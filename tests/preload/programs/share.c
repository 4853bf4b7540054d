/* A parent and its child on one connection: the parent closes its copy and connects again, while
 * the child goes on using the old one. Pipes order the steps: both have asked before either reads.
 */
#include "client.h"
#include <sys/wait.h>

static int to_child[2], to_parent[2];

static void step(int *pair)
{
	if (write(pair[1], "", 1) != 1)
		die("write");
}

static void await_step(int *pair)
{
	char byte;

	if (read(pair[0], &byte, 1) != 1)
		die("read");
}

/* The child asks first and reads last: the first answer on a shared connection is not its own. */
static void child(int fd)
{
	await_step(to_child);
	request(fd, "GET", "/echo/child");
	step(to_parent);
	await_step(to_child);
	show("child", receive(fd, true));
	close(fd);
	fflush(stdout);
	_exit(0);
}

static void close_in_parent(int fd)
{
	pid_t pid;

	if (pipe(to_child) || pipe(to_parent))
		die("pipe");
	fflush(stdout);
	pid = fork();
	if (!pid)
		child(fd);
	report("close", close(fd));
	fd = dial();
	step(to_child);
	await_step(to_parent);
	request(fd, "GET", "/echo/parent");
	show("parent", receive(fd, true));
	step(to_child);
	waitpid(pid, NULL, 0);
	fetch(fd, "/echo/afterwards");
	report("close", close(fd));
}

static void used_before(void)
{
	int fd = dial();

	fetch(fd, "/echo/before");
	close_in_parent(fd);
}

static void fresh(void)
{
	close_in_parent(dial());
}

/* The other way round: the child closes its copy and connects again, the parent goes on. */
static void close_in_child(void)
{
	int fd = dial();
	pid_t pid;

	fetch(fd, "/echo/before");
	if (pipe(to_child) || pipe(to_parent))
		die("pipe");
	fflush(stdout);
	pid = fork();
	if (!pid) {
		close(fd);
		fd = dial();
		request(fd, "GET", "/echo/child");
		step(to_parent);
		await_step(to_child);
		show("child", receive(fd, true));
		close(fd);
		fflush(stdout);
		_exit(0);
	}
	await_step(to_parent);
	request(fd, "GET", "/echo/parent");
	show("parent", receive(fd, true));
	fflush(stdout);
	step(to_child);
	waitpid(pid, NULL, 0);
	close(fd);
	visit("/echo/parent2");
}

static const struct scenario scenarios[] = {
	{"used_before", used_before},
	{"fresh", fresh},
	{"close_in_child", close_in_child},
};

int main(int argc, char **argv)
{
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}

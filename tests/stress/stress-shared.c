/* Connections that a parent and its child both have, as they were open when the child was made:
 * whoever closes first, they are good for nobody else.
 *
 * The two take turns as a script says, which is another one in each round. Capitals are the
 * parent's steps: A asks on the shared connection, C closes it, N connects anew, asks and closes.
 */
#include "stress.h"
#include <ctype.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define STEPS         10
#define QUIT          'q'
#define CHILD_SECONDS 60

extern char **environ;

static char self[4096]; /* this program */
static unsigned chance = 11;
static unsigned words;

/* one side's view */
struct side {
	const char *process; /* of its own connections */
	char tag[32];        /* of the shared one */
	int shared;          /* -1: closed */
};

static void take_step(struct side *side, char step)
{
	const struct question of_both = {"parent", side->tag, 0, words++, 60};
	const struct question of_its_own = {side->process, "-", 0, words++, 60};

	switch (toupper(step)) {
	case 'A':
		if (side->shared >= 0)
			must_ask(side->shared, &of_both);
		break;
	case 'C':
		if (side->shared >= 0 && close(side->shared))
			complain("close: %s", strerrorname_np(errno));
		side->shared = -1;
		break;
	case 'N':
		must_visit(&of_its_own);
		break;
	}
}

/* ---- the child ---- */

/* Where its steps come from, and where it says that each is done. */
struct orders {
	int in, out;
};

/* Words that no other child asks for, and the parent does not reach. */
static void obey(struct orders orders, int shared, int round)
{
	struct side side = {.shared = shared};
	char name[32], step;

	alarm(CHILD_SECONDS);
	wrong = 0;
	words = 1000000 + (unsigned)round * STEPS * 4;
	snprintf(name, sizeof(name), "child%d", round);
	snprintf(side.tag, sizeof(side.tag), "shared%d", round);
	side.process = name;
	while (read(orders.in, &step, 1) == 1 && step != QUIT) {
		take_step(&side, step);
		if (write(orders.out, &step, 1) != 1)
			break;
	}
	_exit(wrong != 0);
}

/* What a program is told that is to do the same. */
struct numbers {
	char text[6][16];
	char *arguments[9];
};

static void tell_numbers(struct numbers *numbers, struct orders orders, int shared, int round)
{
	static char scenario[] = "child";
	const int values[] = {port, control_port, orders.in, orders.out, shared, round};

	numbers->arguments[0] = self;
	numbers->arguments[1] = scenario;
	for (size_t i = 0; i < COUNT(values); i++) {
		snprintf(numbers->text[i], sizeof(numbers->text[i]), "%d", values[i]);
		numbers->arguments[i + 2] = numbers->text[i];
	}
	numbers->arguments[8] = NULL;
}

/* PROGRAM child PORT PORT IN OUT SHARED ROUND */
static int be_the_child(char **argv)
{
	port = atoi(argv[2]);
	control_port = atoi(argv[3]);
	obey((struct orders){atoi(argv[4]), atoi(argv[5])}, atoi(argv[6]), atoi(argv[7]));
	return 1;
}

static pid_t by_fork(struct orders orders, int shared, int round)
{
	pid_t pid = fork();

	if (!pid)
		obey(orders, shared, round);
	return pid;
}

static pid_t by_quiet_fork(struct orders orders, int shared, int round)
{
	pid_t pid = _Fork();

	if (!pid)
		obey(orders, shared, round);
	return pid;
}

static pid_t by_clone(struct orders orders, int shared, int round)
{
	pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (!pid)
		obey(orders, shared, round);
	return pid;
}

/* A grandchild, whose parent is soon no more: it comes to be a child of ours. */
static pid_t by_forking_twice(struct orders orders, int shared, int round)
{
	pid_t pid = fork(), grandchild = -1;
	int status = -1;

	if (!pid) {
		grandchild = fork();
		if (!grandchild)
			obey(orders, shared, round);
		_exit(grandchild < 0);
	}
	if (waitpid(pid, &status, 0) != pid || status)
		return -1;
	return 0;
}

static pid_t by_fork_and_exec(struct orders orders, int shared, int round)
{
	pid_t pid = fork();

	if (!pid) {
		struct numbers numbers;

		tell_numbers(&numbers, orders, shared, round);
		execve(numbers.arguments[0], numbers.arguments, environ);
		_exit(127);
	}
	return pid;
}

static pid_t by_vfork_and_exec(struct orders orders, int shared, int round)
{
	struct numbers numbers;
	pid_t pid;

	tell_numbers(&numbers, orders, shared, round);
	pid = vfork();
	if (!pid) {
		execve(numbers.arguments[0], numbers.arguments, environ);
		_exit(127);
	}
	return pid;
}

static pid_t by_spawn(struct orders orders, int shared, int round)
{
	struct numbers numbers;
	pid_t pid = -1;

	tell_numbers(&numbers, orders, shared, round);
	return posix_spawn(&pid, numbers.arguments[0], NULL, NULL, numbers.arguments, environ)
		       ? -1
		       : pid;
}

static pid_t (*const kinds[])(struct orders, int, int) = {
	by_fork,
	by_quiet_fork,
	by_clone,
	by_forking_twice,
	by_fork_and_exec,
	by_vfork_and_exec,
	by_spawn,
};

/* ---- what is shared ---- */

/* It goes over exec(). */
static int plain_socket(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0)
		die("socket");
	return fd;
}

enum when_connected {
	ASKED,  /* before there is a child, and used */
	UNUSED, /* before */
	AFTER,  /* after, by the parent: the child has it, too */
	MOMENTS,
};

static void connect_shared(struct side *side)
{
	if (connect_to(side->shared, port))
		complain("connect: %s", strerrorname_np(errno));
}

static void open_shared(struct side *side, enum when_connected when)
{
	side->shared = plain_socket();
	if (when != AFTER)
		connect_shared(side);
	if (when == ASKED)
		take_step(side, 'A');
}

/* ---- a round ---- */

static void follow_script(struct side *side, int to_child, int from_child)
{
	char script[STEPS + 3], done;

	for (int i = 0; i < STEPS; i++)
		script[i] = "AaAaCcNnNn"[random_below(&chance, 10)];
	/* whatever was not closed yet */
	strcpy(script + STEPS, random_below(&chance, 2) ? "Cc" : "cC");
	for (const char *step = script; *step; step++) {
		if (isupper(*step)) {
			take_step(side, *step);
		} else if (write(to_child, step, 1) != 1 || read(from_child, &done, 1) != 1) {
			complain("%s: the child is gone at %s", side->tag, step);
			return;
		}
	}
}

static void await(int round)
{
	int status = -1;

	if (waitpid(-1, &status, 0) < 0 || status)
		complain("round %d: the child's status is %x", round, (unsigned)status);
}

static void share(int round)
{
	struct side side = {.process = "parent"};
	enum when_connected when = (enum when_connected)((unsigned)round / COUNT(kinds) % MOMENTS);
	int to_child[2], from_child[2];

	snprintf(side.tag, sizeof(side.tag), "shared%d", round);
	/* two that are parked, of which the child knows nothing */
	take_step(&side, 'N');
	open_shared(&side, when);
	take_step(&side, 'N');
	if (pipe(to_child) || pipe(from_child))
		die("pipe");
	fcntl(to_child[1], F_SETFD, FD_CLOEXEC);
	fcntl(from_child[0], F_SETFD, FD_CLOEXEC);
	if (kinds[(unsigned)round % COUNT(kinds)](
		    (struct orders){to_child[0], from_child[1]}, side.shared, round) < 0)
		die("child");
	close(to_child[0]);
	close(from_child[1]);
	if (when == AFTER)
		connect_shared(&side);
	follow_script(&side, to_child[1], from_child[0]);
	if (write(to_child[1], &(char){QUIT}, 1) != 1)
		complain("round %d: the child is gone", round);
	close(to_child[1]);
	close(from_child[0]);
	await(round);
}

static void in_turns(void)
{
	struct descriptors before = count_descriptors();

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	for (int round = 0; round < rounds; round++)
		share(round);
	last_visits();
	finish(before);
}

static const struct scenario scenarios[] = {
	{"in_turns", in_turns},
};

int main(int argc, char **argv)
{
	find_beside("stress-shared", self);
	signal(SIGPIPE, SIG_IGN);
	if (argc == 8 && !strcmp(argv[1], "child"))
		return be_the_child(argv);
	return run_stress(argc, argv, scenarios, COUNT(scenarios));
}

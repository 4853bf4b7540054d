/* Children of every kind, while threads hammer the pool.
 *
 * Two threads make the children: one does nothing else, the other is in the middle of an exchange.
 * No child may hang, get another's answer or hand on a connection, and neither may the threads.
 */
#include "stress.h"
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define HAMMERS       7
#define AT_ONCE       4  /* children of one thread that are waited for together */
#define CHILD_SECONDS 30 /* one that hangs is ended, and its status shows it */

extern char **environ;

/* the program beside this one that looks for sockets it was born with */
static char looker[4096];
static atomic_int made, failed;
static atomic_bool stop;

/* ---- what children do ---- */

static void quit(unsigned serial)
{
	(void)serial;
}

/* Its third connection may be its first again, but never its parent's. */
static void talk(unsigned serial)
{
	char name[32];

	snprintf(name, sizeof(name), "child%u", serial);
	for (unsigned i = 0; i < 3; i++)
		must_visit(&(struct question){name, "-", i % 2, i, 40});
}

static void close_range_and_talk(unsigned serial)
{
	close_range(3, ~0U, 0);
	talk(serial);
}

static void close_each_and_talk(unsigned serial)
{
	for (int fd = 3; fd < 1100; fd++)
		close(fd);
	talk(serial);
}

static void run_another(unsigned serial)
{
	char *arguments[] = {looker, NULL};

	(void)serial;
	execve(looker, arguments, environ);
	_exit(127);
}

/* In the child of a vfork() this is done with the memory of the threads that use them. */
static void close_each_and_run_another(unsigned serial)
{
	for (int fd = 3; fd < 1100; fd++)
		close(fd);
	run_another(serial);
}

static void close_all_and_run_another(unsigned serial)
{
	close_range(3, ~0U, 0);
	run_another(serial);
}

/* ---- how children come to be ---- */

static void live(void (*deed)(unsigned), unsigned serial)
{
	alarm(CHILD_SECONDS);
	wrong = 0;
	deed(serial);
	_exit(wrong != 0);
}

static pid_t by_fork(void (*deed)(unsigned), unsigned serial)
{
	pid_t pid = fork();

	if (!pid)
		live(deed, serial);
	return pid;
}

/* It has our memory, so it changes nothing there. */
static pid_t by_vfork(void (*deed)(unsigned), unsigned serial)
{
	pid_t pid = vfork();

	if (!pid) {
		deed(serial);
		_exit(0);
	}
	return pid;
}

static pid_t by_spawn(void (*deed)(unsigned), unsigned serial)
{
	char *arguments[] = {looker, NULL};
	pid_t pid = -1;

	(void)deed;
	(void)serial;
	return posix_spawn(&pid, looker, NULL, NULL, arguments, environ) ? -1 : pid;
}

/* The thread sanitizer does not know of these: its locks may be held when they copy its memory. */
#ifndef __SANITIZE_THREAD__

static pid_t by_quiet_fork(void (*deed)(unsigned), unsigned serial)
{
	pid_t pid = _Fork();

	if (!pid)
		live(deed, serial);
	return pid;
}

static pid_t by_clone(void (*deed)(unsigned), unsigned serial)
{
	pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (!pid)
		live(deed, serial);
	return pid;
}

#endif

static const struct kind {
	const char *name;
	pid_t (*make)(void (*deed)(unsigned), unsigned serial);
	void (*deed)(unsigned);
} kinds[] = {
	{"fork, quit", by_fork, quit},
	{"fork, talk", by_fork, talk},
	{"fork, close_range, talk", by_fork, close_range_and_talk},
	{"fork, close each, talk", by_fork, close_each_and_talk},
	{"fork, exec", by_fork, run_another},
	{"vfork, quit", by_vfork, quit},
	{"vfork, exec", by_vfork, run_another},
	{"vfork, close_range, exec", by_vfork, close_all_and_run_another},
	{"vfork, close each, exec", by_vfork, close_each_and_run_another},
	{"posix_spawn", by_spawn, NULL},
#ifndef __SANITIZE_THREAD__
	{"_Fork, quit", by_quiet_fork, quit},
	{"_Fork, talk", by_quiet_fork, talk},
	{"_Fork, close_range, talk", by_quiet_fork, close_range_and_talk},
	{"_Fork, exec", by_quiet_fork, run_another},
	{"clone, quit", by_clone, quit},
	{"clone, talk", by_clone, talk},
	{"clone, close each, talk", by_clone, close_each_and_talk},
	{"clone, exec", by_clone, run_another},
#endif
};

/* ---- those who make them ---- */

struct nursery {
	struct child {
		pid_t pid;
		const struct kind *kind;
	} children[AT_ONCE];
	unsigned next;
	unsigned random;
};

static void await(struct child *child)
{
	int status = -1;

	if (!child->kind)
		return;
	if (waitpid(child->pid, &status, 0) != child->pid || status) {
		failed++;
		fprintf(stderr, "%s: status %x\n", child->kind->name, (unsigned)status);
	}
	child->kind = NULL;
}

/* false when there have been enough of them */
static bool make_child(struct nursery *nursery)
{
	const struct kind *kind = &kinds[random_below(&nursery->random, COUNT(kinds))];
	struct child *child = &nursery->children[nursery->next++ % AT_ONCE];
	int serial = made++;

	if (serial >= rounds)
		return false;
	await(child);
	*child = (struct child){kind->make(kind->deed, (unsigned)serial), kind};
	return true;
}

static void await_all(struct nursery *nursery)
{
	for (size_t i = 0; i < AT_ONCE; i++)
		await(&nursery->children[i]);
}

/* A child for each question, after it was put and before its answer is read. */
static void *make_children_amid_exchanges(void *unused)
{
	struct nursery nursery = {.random = 77};
	bool more = true;

	(void)unused;
	for (unsigned i = 0; more; i++) {
		const struct question question = {"parent", "-", i % 2, i, 300};
		int fd = dial_place(question.place);

		put_question(fd, &question);
		more = make_child(&nursery);
		if (get_answer(fd, &question) == CUT)
			complain("no answer amid a fork");
		close(fd);
	}
	await_all(&nursery);
	return NULL;
}

static void make_children(void)
{
	struct nursery nursery = {.random = 7};

	while (make_child(&nursery))
		;
	await_all(&nursery);
}

/* Most connections are clean at the end, some are not, and one is kept for a while. */
static void *hammer(void *index)
{
	unsigned random = (unsigned)(intptr_t)index;
	int kept = dial_place(0);

	for (unsigned i = 0; !stop; i++) {
		struct question question = {"parent", "-", 0, i, random_below(&random, 400)};
		int fd;

		question.word = i * HAMMERS + (unsigned)(intptr_t)index;
		question.place = (int)random_below(&random, 2);
		fd = dial_place(question.place);
		must_ask(fd, &question);
		if (i % 16 == 0)
			put_question(fd, &question);
		close(fd);
		question.place = 0;
		must_ask(kept, &question);
		if (i % 8 == 0) {
			close(kept);
			kept = dial_place(0);
		}
	}
	close(kept);
	return NULL;
}

static void storm(void)
{
	struct descriptors before = count_descriptors();
	pthread_t threads[HAMMERS + 1];

	for (intptr_t i = 0; i < HAMMERS; i++)
		pthread_create(&threads[i], NULL, hammer, (void *)i);
	pthread_create(&threads[HAMMERS], NULL, make_children_amid_exchanges, NULL);
	make_children();
	pthread_join(threads[HAMMERS], NULL);
	stop = true;
	for (size_t i = 0; i < HAMMERS; i++)
		pthread_join(threads[i], NULL);
	last_visits();
	printf("%d children, %d failed\n", rounds, failed);
	wrong += failed;
	finish(before);
}

static const struct scenario scenarios[] = {
	{"storm", storm},
};

int main(int argc, char **argv)
{
	find_beside("holds-sockets", looker);
	return run_stress(argc, argv, scenarios, COUNT(scenarios));
}

/* Threads at odds over one number. Whatever the order, what happened last to it holds. */
#include "client.h"
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define CLOSED_ROUNDS    2000
#define REPLACED_ROUNDS  2000
#define LONGEST_DELAY    200 /* turns of a loop: up to the time that connect() takes */
#define COPIES           300
#define WORKERS          3
#define COOKIES          (1 << 17)
#define MOST_DESCRIPTORS 256

extern char **environ;

static atomic_int wrong;

/* true when the answer is this one */
static bool asked_well(int fd, const char *word)
{
	char path[64];
	struct response got;

	snprintf(path, sizeof(path), "/echo/%s", word);
	request(fd, "GET", path);
	got = receive(fd, true);
	return got.status == 200 && !strcmp(got.start, word);
}

/* ---- a round of two threads ---- */

static atomic_uint arrived;
static volatile int number;
static atomic_bool stop;
static void (*turn)(void);

/* Not a pthread_barrier_t: who sleeps in one wakes far later than the few microseconds that matter.
 */
static void meet(void)
{
	unsigned mine = arrived++;
	unsigned both = (mine | 1) + 1;

	for (unsigned spins = 1; (int)(arrived - both) < 0; spins++) {
		if (spins % 1024 == 0)
			sched_yield();
	}
}

static void *take_turns(void *unused)
{
	(void)unused;
	for (;;) {
		meet();
		if (stop)
			return NULL;
		turn();
		meet();
	}
}

static void begin(pthread_t *thread, void (*what)(void))
{
	turn = what;
	if (pthread_create(thread, NULL, take_turns, NULL))
		die("pthread_create");
}

static void end(pthread_t thread)
{
	stop = true;
	meet();
	pthread_join(thread, NULL);
}

/* a different moment in every round, the same in every run */
static void dawdle(void)
{
	static unsigned seed = 1;

	seed = seed * 1103515245 + 12345;
	for (volatile unsigned i = (seed >> 16) % LONGEST_DELAY; i; i--)
		;
}

/* ---- two threads close one number, and one of them connects another at once ---- */

static atomic_int closed;

static void close_number(void)
{
	if (!close(number))
		closed++;
}

/* No number is made meanwhile, so none can be closed by mistake. */
static void closed_by_two(void)
{
	pthread_t thread;

	begin(&thread, close_number);
	for (int round = 0; round < CLOSED_ROUNDS; round++) {
		int next;

		number = dial();
		if (!asked_well(number, "closed"))
			wrong++;
		next = socket(AF_INET, SOCK_STREAM, 0);
		meet();
		close_number();
		if (connect_to(next, port))
			wrong++;
		meet();
		if (!asked_well(next, "next"))
			wrong++;
		close(next);
	}
	end(thread);
	printf("%d closed, %d wrong\n", closed, wrong);
}

/* ---- a number is made something else while connect() is under way on it ---- */

static int other_end[2];
static int put_there;

static void put_pipe(void)
{
	dawdle();
	while (dup2(other_end[0], number) < 0)
		;
	put_there = number;
}

/* another number than before if the connection was given another one meanwhile */
static void close_and_put_pipe(void)
{
	dawdle();
	close_range((unsigned)number, (unsigned)number, 0);
	put_there = fcntl(other_end[0], F_DUPFD, 3);
}

static void replaced(void (*what)(void))
{
	struct stat wanted, found;
	pthread_t thread;
	int lost = 0;

	if (pipe(other_end))
		die("pipe");
	fstat(other_end[0], &wanted);
	begin(&thread, what);
	for (int round = 0; round < REPLACED_ROUNDS; round++) {
		int fd = dial();

		if (!asked_well(fd, "parked"))
			wrong++;
		close(fd);
		number = socket(AF_INET, SOCK_STREAM, 0);
		meet();
		connect_to(number, port);
		meet();
		lost += fstat(put_there, &found) || found.st_ino != wanted.st_ino;
		close(put_there);
	}
	end(thread);
	printf("%d lost, %d wrong\n", lost, wrong);
}

static void dup2_over_connect(void)
{
	replaced(put_pipe);
}

static void close_range_over_connect(void)
{
	replaced(close_and_put_pipe);
}

/* ---- sockets are made while the process is copied ---- */

/* Which copy had it, by the socket's cookie; 0: none. */
static _Atomic uint64_t cookies[COOKIES];
static atomic_int holders[COOKIES];
static atomic_int copies;
static atomic_int shared;
static atomic_bool copying;

/* by the kernel's word for it, which no library stands in front of */
static uint64_t cookie_of(int fd)
{
	uint64_t cookie = 0;
	socklen_t length = sizeof(cookie);

	syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_COOKIE, &cookie, &length);
	return cookie;
}

static void tell_cookies(int to)
{
	for (int fd = 3; fd < MOST_DESCRIPTORS; fd++) {
		uint64_t cookie = cookie_of(fd);

		if (cookie)
			syscall(SYS_write, to, &cookie, sizeof(cookie));
	}
}

static size_t place_of(uint64_t cookie)
{
	size_t place = cookie % COOKIES;

	while (cookies[place] && cookies[place] != cookie)
		place = (place + 1) % COOKIES;
	return place;
}

static void note_cookies(int from, int copy)
{
	uint64_t cookie;

	while (read(from, &cookie, sizeof(cookie)) == sizeof(cookie)) {
		size_t place = place_of(cookie);

		if (!holders[place])
			holders[place] = copy;
		cookies[place] = cookie;
	}
}

/* Shared is a connection that a copy held which was over before this connect() began. */
static void connect_amid_copies(int fd)
{
	uint64_t own = cookie_of(fd);
	int over = copies;
	uint64_t cookie;
	size_t place;

	if (connect_to(fd, port))
		return;
	cookie = cookie_of(fd);
	place = place_of(cookie);
	if (cookie != own && cookies[place] && holders[place] <= over)
		shared++;
	if (!asked_well(fd, "copied"))
		wrong++;
}

/* Only sockets made amid a copy are of interest. */
static void *connect_until_stopped(void *unused)
{
	(void)unused;
	while (!stop) {
		bool amid = copying;
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		if (amid)
			connect_amid_copies(fd);
		close(fd);
	}
	return NULL;
}

static void copied(pid_t (*copy)(const int ends[2]))
{
	pthread_t threads[WORKERS];

	for (size_t i = 0; i < COUNT(threads); i++)
		pthread_create(&threads[i], NULL, connect_until_stopped, NULL);
	for (int i = 1; i <= COPIES; i++) {
		int ends[2];
		pid_t pid;

		if (pipe(ends))
			die("pipe");
		copying = true;
		pid = copy(ends);
		copying = false;
		close(ends[1]);
		note_cookies(ends[0], i);
		close(ends[0]);
		waitpid(pid, NULL, 0);
		copies = i;
	}
	stop = true;
	for (size_t i = 0; i < COUNT(threads); i++)
		pthread_join(threads[i], NULL);
	printf("%d shared, %d wrong\n", shared, wrong);
}

static pid_t by_fork(const int ends[2])
{
	pid_t pid = fork();

	if (!pid) {
		close(ends[0]);
		tell_cookies(ends[1]);
		_exit(0);
	}
	return pid;
}

static pid_t by_spawn(const int ends[2])
{
	static char self[] = "/proc/self/exe", scenario[] = "tell";
	char *arguments[] = {self, scenario, NULL};
	char *nothing[] = {NULL};
	posix_spawn_file_actions_t actions;
	pid_t pid = -1;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
	posix_spawn_file_actions_addclose(&actions, ends[0]);
	if (posix_spawn(&pid, self, &actions, NULL, arguments, nothing))
		die("posix_spawn");
	posix_spawn_file_actions_destroy(&actions);
	return pid;
}

static void while_forking(void)
{
	copied(by_fork);
}

static void while_spawning(void)
{
	copied(by_spawn);
}

static void tell(void)
{
	tell_cookies(STDOUT_FILENO);
}

static const struct scenario scenarios[] = {
	{"closed_by_two", closed_by_two},
	{"dup2_over_connect", dup2_over_connect},
	{"close_range_over_connect", close_range_over_connect},
	{"while_forking", while_forking},
	{"while_spawning", while_spawning},
	{"tell", tell},
};

int main(int argc, char **argv)
{
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}

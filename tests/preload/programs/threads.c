/* Many threads, a connection per request: SCENARIO PORT THREADS REQUESTS. */
#include "client.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

#define MAX_THREADS 64

static int n_threads, n_requests;
static atomic_int answered, wrong;
static atomic_bool stop;

/* each asks for what only it asks for: an answer to someone else shows */
static void ask(int thread, int turn)
{
	char path[64];
	int fd = dial();
	struct response got;

	snprintf(path, sizeof(path), "/echo/%d-%d", thread, turn);
	request(fd, "GET", path);
	got = receive(fd, true);
	if (got.status == 200 && !strcmp(got.start, path + strlen("/echo/")))
		answered++;
	else
		wrong++;
	close(fd);
}

static void *ask_all(void *number)
{
	for (int turn = 0; turn < n_requests; turn++)
		ask((int)(intptr_t)number, turn);
	return NULL;
}

static void *ask_until_stopped(void *number)
{
	for (int turn = 0; !stop; turn++)
		ask((int)(intptr_t)number, turn);
	return NULL;
}

static void *ask_until_cancelled(void *number)
{
	for (int turn = 0;; turn++) {
		ask((int)(intptr_t)number, turn);
		pthread_testcancel();
	}
	return NULL;
}

static void start(pthread_t *threads, void *(*body)(void *))
{
	for (int i = 0; i < n_threads; i++) {
		if (pthread_create(&threads[i], NULL, body, (void *)(intptr_t)i))
			die("pthread_create");
	}
}

static void join(pthread_t *threads)
{
	for (int i = 0; i < n_threads; i++)
		pthread_join(threads[i], NULL);
}

static void plain(void)
{
	pthread_t threads[MAX_THREADS];

	start(threads, ask_all);
	join(threads);
	printf("%d answered, %d wrong\n", answered, wrong);
}

/* The main thread forks while the others hammer; each child must be able to go on. */
static void forking(void)
{
	pthread_t threads[MAX_THREADS];
	int good = 0;

	start(threads, ask_until_stopped);
	for (int i = 0; i < n_requests; i++) {
		int status = -1;
		pid_t pid = fork();

		if (!pid) {
			wrong = 0;
			for (int turn = 0; turn < 3; turn++)
				ask(99, turn);
			_exit(wrong != 0);
		}
		waitpid(pid, &status, 0);
		good += status == 0;
	}
	stop = true;
	join(threads);
	printf("%d children good, %d wrong\n", good, wrong);
}

/* Threads are cancelled wherever they happen to be; a lock left held would stop the next. */
static void cancelled(void)
{
	pthread_t threads[MAX_THREADS];

	for (int i = 0; i < n_requests; i++) {
		int before = answered;

		start(threads, ask_until_cancelled);
		while (answered == before)
			sched_yield();
		for (int j = 0; j < n_threads; j++)
			pthread_cancel(threads[j]);
		join(threads);
	}
	ask(0, 0);
	printf("%d wrong\n", wrong);
}

/* Others open and close files meanwhile: no number may be mistaken for a socket. */
static void *open_files(void *unused)
{
	(void)unused;
	while (!stop) {
		int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
		char bytes[16];

		if (read(fd, bytes, sizeof(bytes)) != sizeof(bytes) || close(fd))
			wrong++;
	}
	return NULL;
}

static void among_files(void)
{
	pthread_t threads[MAX_THREADS], files[4];

	for (size_t i = 0; i < COUNT(files); i++)
		pthread_create(&files[i], NULL, open_files, NULL);
	start(threads, ask_all);
	join(threads);
	stop = true;
	for (size_t i = 0; i < COUNT(files); i++)
		pthread_join(files[i], NULL);
	printf("%d answered, %d wrong\n", answered, wrong);
}

/* One number, and every thread closes it: one close() succeeds, whoever comes later gets EBADF. */
static atomic_int contested = -1, closed;
static pthread_barrier_t together;

static void *close_contested(void *unused)
{
	(void)unused;
	for (int turn = 0; turn < n_requests; turn++) {
		pthread_barrier_wait(&together);
		if (!close(contested))
			closed++;
		pthread_barrier_wait(&together);
	}
	return NULL;
}

static void closing_together(void)
{
	pthread_t threads[MAX_THREADS];

	pthread_barrier_init(&together, NULL, (unsigned)n_threads + 1);
	start(threads, close_contested);
	for (int turn = 0; turn < n_requests; turn++) {
		/* Lower numbers are free for a runtime that opens files of its own accord, as the
		 * thread sanitizer does to report: it would be given the contested one. */
		int lower[] = {dup(STDERR_FILENO), dup(STDERR_FILENO)};
		int fd = dial();

		close(lower[0]);
		close(lower[1]);
		request(fd, "GET", "/echo/x");
		if (receive(fd, true).status != 200)
			wrong++;
		contested = fd;
		pthread_barrier_wait(&together);
		pthread_barrier_wait(&together);
	}
	join(threads);
	printf("%d closed, %d wrong\n", closed, wrong);
}

static const struct scenario scenarios[] = {
	{"plain", plain},
	{"forking", forking},
	{"cancelled", cancelled},
	{"among_files", among_files},
	{"closing_together", closing_together},
};

int main(int argc, char **argv)
{
	if (argc != 5)
		return 3;
	n_threads = atoi(argv[3]);
	n_requests = atoi(argv[4]);
	if (n_threads > MAX_THREADS)
		return 3;
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}

/* What waits, after shutdown(), for what the server does when it has seen the end:
 *
 *	shutdown_waits WAIT 0 0 WR|RDWR SERVER SCRATCH WHO
 *
 * WAIT is a row of the table below. SERVER is "process", a child, or says how a thread of this
 * process comes to listen. WHO shuts down: "itself", or, while it waits already, a "leaver", which
 * is a thread that ends then, or a signal's "handler". What was not sent
 * is waited for in vain, until an alarm.
 */
#include "shutdowns.h"
#include <linux/futex.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <threads.h>

#define LONG_S 3600 /* never over */

/* Of both processes. */
static struct shared {
	atomic_int told;
	sem_t semaphore;
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	pthread_barrier_t barrier;
	mtx_t c_mutex;
	cnd_t c_changed;
	atomic_int futex;
	atomic_bool held; /* the server has what is to be waited for */
} * shared;

static const char *scratch;
static char file_name[512], fifo_name[512], lock_name[512];
static int ends[2], pair[2], event = -1, queue = -1, semaphores = -1, watch = -1, second = -1;
static int full[2];   /* a pipe that takes no more before the server reads from it */
static int lock = -1; /* a file */
static mqd_t mq = (mqd_t)-1;
static pid_t server = -1;
static int server_port;
static int how;
static pthread_t server_thread;

static struct timespec in_time(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	now.tv_sec += LONG_S;
	return now;
}

/* ---- what the server does ---- */

static void tell_nothing(void)
{
}

static void tell_by_pipe(void)
{
	if (write(ends[1], "told\n", 5) != 5)
		die("write");
}

static void tell_by_pair(void)
{
	if (write(pair[1], "told\n", 5) != 5)
		die("write");
}

static void tell_by_file(void)
{
	close(open(file_name, O_WRONLY | O_CREAT, 0600));
}

static void tell_by_fifo(void)
{
	int fifo = open(fifo_name, O_WRONLY);

	if (fifo < 0 || write(fifo, "told\n", 5) != 5)
		die("fifo");
	close(fifo);
}

static void tell_by_event(void)
{
	if (eventfd_write(event, 1))
		die("eventfd");
}

static void tell_by_semaphore(void)
{
	sem_post(&shared->semaphore);
}

static void tell_by_unlocking(void)
{
	pthread_mutex_unlock(&shared->mutex);
}

static void tell_by_condition(void)
{
	pthread_mutex_lock(&shared->mutex);
	shared->told = 1;
	pthread_cond_broadcast(&shared->changed);
	pthread_mutex_unlock(&shared->mutex);
}

static void tell_by_c_condition(void)
{
	mtx_lock(&shared->c_mutex);
	shared->told = 1;
	cnd_broadcast(&shared->c_changed);
	mtx_unlock(&shared->c_mutex);
}

static void tell_by_barrier(void)
{
	pthread_barrier_wait(&shared->barrier);
}

static void tell_by_futex(void)
{
	shared->futex = 1;
	syscall(SYS_futex, &shared->futex, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static void tell_by_word(void)
{
	shared->told = 1;
}

static void tell_by_signal(void)
{
	kill(server ? getpid() : getppid(), SIGUSR1);
}

static void tell_by_message(void)
{
	struct {
		long type;
		char text[4];
	} message = {1, "told"};

	if (msgsnd(queue, &message, sizeof(message.text), 0))
		die("msgsnd");
}

static void tell_by_posix_message(void)
{
	if (mq_send(mq, "told", 4, 0))
		die("mq_send");
}

static void tell_by_semop(void)
{
	struct sembuf up = {.sem_op = 1};

	if (semop(semaphores, &up, 1))
		die("semop");
}

static void tell_by_connecting(void)
{
	int fd = dial_port(port_of(second));

	send_text(fd, "told\n");
	close(fd);
}

/* Makes room in the pipe, until its end. */
static void tell_by_reading(void)
{
	char data[65536];

	close(full[1]);
	while (read(full[0], data, sizeof(data)) > 0)
		;
}

static void tell_by_unlocking_file(void)
{
	close(lock);
}

/* ---- what the server has from the beginning ---- */

static void hold_mutex(void)
{
	pthread_mutex_lock(&shared->mutex);
}

static void hold_flock(void)
{
	lock = open(lock_name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (flock(lock, LOCK_EX))
		die("flock");
}

static void hold_record(void)
{
	lock = open(lock_name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (lockf(lock, F_LOCK, 0))
		die("lockf");
}

static void hold_nothing(void)
{
}

/* ---- what waits ---- */

#define WAIT(name, expression)                                                                     \
	static void name(void)                                                                     \
	{                                                                                          \
		report(#name, (long)(expression));                                                 \
	}

static char room[16];
static struct iovec vector = {.iov_base = room, .iov_len = sizeof(room)};
static struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};

WAIT(by_read, read(ends[0], room, sizeof(room)))
WAIT(by_readv, readv(ends[0], &vector, 1))
WAIT(by_read_syscall, syscall(SYS_read, ends[0], room, sizeof(room)))
WAIT(by_recv, recv(pair[0], room, sizeof(room), 0))
WAIT(by_recvmsg, recvmsg(pair[0], &message, 0))
WAIT(by_eventfd, eventfd_read(event, &(eventfd_t){0}))
WAIT(by_splice, splice(ends[0], NULL, full[1], NULL, 5, 0))
WAIT(by_open, open(fifo_name, O_RDONLY) >= 0)
WAIT(by_openat, openat(AT_FDCWD, fifo_name, O_RDONLY) >= 0)
WAIT(by_fopen, fopen(fifo_name, "r") != NULL)
WAIT(by_accept, accept(second, NULL, NULL) >= 0)
WAIT(by_accept4, accept4(second, NULL, NULL, SOCK_CLOEXEC) >= 0)
WAIT(by_waitpid, waitpid(server, NULL, 0) == server)
WAIT(by_wait, wait(NULL) == server)
WAIT(by_wait3, wait3(NULL, 0, NULL) == server)
WAIT(by_wait4, wait4(server, NULL, 0, NULL) == server)
WAIT(by_waitid, waitid(P_ALL, 0, &(siginfo_t){0}, WEXITED))
WAIT(by_wait_syscall, syscall(SYS_wait4, server, NULL, 0, NULL) == server)
WAIT(by_sem_wait, sem_wait(&shared->semaphore))
WAIT(by_mutex, pthread_mutex_lock(&shared->mutex))
WAIT(by_futex, syscall(SYS_futex, &shared->futex, FUTEX_WAIT, 0, NULL, NULL, 0) * 0)
WAIT(by_raw_futex, RAW_CALL(SYS_futex, &shared->futex, FUTEX_WAIT, 0, NULL, NULL, 0) * 0)
WAIT(by_msgrcv, msgrcv(queue, room, 8, 0, 0))
WAIT(by_mq_receive, mq_receive(mq, room, sizeof(room), NULL))
WAIT(by_semop, semop(semaphores, &(struct sembuf){.sem_op = -1}, 1))
WAIT(by_full_write, write(full[1], room, 1))
WAIT(by_flock, flock(open(lock_name, O_RDWR), LOCK_EX))
WAIT(by_lockf, lockf(open(lock_name, O_RDWR), F_LOCK, 0))
WAIT(by_fcntl_lock, fcntl(open(lock_name, O_RDWR), F_SETLKW,
			    &(struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET}))
WAIT(by_ofd_lock, fcntl(open(lock_name, O_RDWR), F_OFD_SETLKW,
			  &(struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET}))
WAIT(by_inotify, read(watch, (char[1024]){0}, 1024) > 0)

/* what gives up after a time that is never over */
#define TIMED(name, clock, expression)                                                             \
	static void name(void)                                                                     \
	{                                                                                          \
		struct timespec limit = in_time(clock);                                            \
                                                                                                   \
		report(#name, (long)(expression));                                                 \
	}

TIMED(by_sem_timedwait, CLOCK_REALTIME, sem_timedwait(&shared->semaphore, &limit))
TIMED(by_sem_clockwait, CLOCK_MONOTONIC, sem_clockwait(&shared->semaphore, CLOCK_MONOTONIC, &limit))
TIMED(by_mq_timedreceive, CLOCK_REALTIME, mq_timedreceive(mq, room, sizeof(room), NULL, &limit))
TIMED(by_semtimedop, CLOCK_REALTIME,
	semtimedop(semaphores, &(struct sembuf){.sem_op = -1}, 1, &limit))

static void by_barrier(void)
{
	pthread_barrier_wait(&shared->barrier);
	report("by_barrier", 0);
}

static void by_condition(void)
{
	pthread_mutex_lock(&shared->mutex);
	while (!shared->told)
		pthread_cond_wait(&shared->changed, &shared->mutex);
	pthread_mutex_unlock(&shared->mutex);
	report("by_condition", shared->told);
}

static void by_timed_condition(void)
{
	struct timespec limit = in_time(CLOCK_REALTIME);

	pthread_mutex_lock(&shared->mutex);
	while (!shared->told)
		pthread_cond_timedwait(&shared->changed, &shared->mutex, &limit);
	pthread_mutex_unlock(&shared->mutex);
	report("by_timed_condition", shared->told);
}

static void by_clock_condition(void)
{
	struct timespec limit = in_time(CLOCK_MONOTONIC);

	pthread_mutex_lock(&shared->mutex);
	while (!shared->told)
		pthread_cond_clockwait(&shared->changed, &shared->mutex, CLOCK_MONOTONIC, &limit);
	pthread_mutex_unlock(&shared->mutex);
	report("by_clock_condition", shared->told);
}

static void by_c_condition(void)
{
	mtx_lock(&shared->c_mutex);
	while (!shared->told)
		cnd_wait(&shared->c_changed, &shared->c_mutex);
	mtx_unlock(&shared->c_mutex);
	report("by_c_condition", shared->told);
}

static void by_c_timed_condition(void)
{
	struct timespec limit = in_time(CLOCK_REALTIME);

	mtx_lock(&shared->c_mutex);
	while (!shared->told)
		cnd_timedwait(&shared->c_changed, &shared->c_mutex, &limit);
	mtx_unlock(&shared->c_mutex);
	report("by_c_timed_condition", shared->told);
}

/* again and again, each for a moment only */
static void by_short_condition(void)
{
	pthread_mutex_lock(&shared->mutex);
	while (!shared->told) {
		struct timespec soon;

		clock_gettime(CLOCK_REALTIME, &soon);
		pthread_cond_timedwait(&shared->changed, &shared->mutex, &soon);
	}
	pthread_mutex_unlock(&shared->mutex);
	report("by_short_condition", shared->told);
}

static void by_short_semaphore(void)
{
	struct timespec soon;

	do
		clock_gettime(CLOCK_REALTIME, &soon);
	while (sem_timedwait(&shared->semaphore, &soon));
	report("by_short_semaphore", 0);
}

/* streams read and write by calls of libc's own */
static void by_fgets(void)
{
	FILE *stream = fdopen(ends[0], "r");

	printf("by_fgets: %s", fgets(room, sizeof(room), stream));
}

static void by_getc(void)
{
	FILE *stream = fdopen(ends[0], "r");

	report("by_getc", getc(stream));
}

static void by_fread(void)
{
	FILE *stream = fdopen(ends[0], "r");

	report("by_fread", (long)fread(room, 1, 5, stream));
}

static void by_fscanf(void)
{
	FILE *stream = fdopen(ends[0], "r");

	report("by_fscanf", fscanf(stream, "%15s", room));
}

static void by_getline(void)
{
	FILE *stream = fdopen(ends[0], "r");
	char *line = NULL;
	size_t size = 0;

	report("by_getline", getline(&line, &size, stream));
}

static void by_fflush(void)
{
	FILE *stream = fdopen(full[1], "w");

	fputs("x", stream);
	report("by_fflush", fflush(stream));
}

static void by_fputs(void)
{
	FILE *stream = fdopen(full[1], "w");

	setvbuf(stream, NULL, _IONBF, 0);
	report("by_fputs", fputs("x", stream) >= 0);
}

static void by_popen(void)
{
	char command[600];
	FILE *stream;

	snprintf(command, sizeof(command), "cat %s", fifo_name);
	stream = popen(command, "r");
	printf("by_popen: %s", fgets(room, sizeof(room), stream));
	report("pclose", pclose(stream));
}

static void by_system(void)
{
	char command[600];

	snprintf(command, sizeof(command), "cat %s", fifo_name);
	fflush(stdout);
	report("by_system", system(command));
}

/* loops that look for a file */
#define LOOP(name, step)                                                                           \
	static void name(void)                                                                     \
	{                                                                                          \
		struct timespec pause_for = {.tv_nsec = 1000000};                                  \
		struct timeval limit = {.tv_usec = 1000};                                          \
                                                                                                   \
		(void)pause_for, (void)limit;                                                      \
		while (access(file_name, F_OK))                                                    \
			step;                                                                      \
		report(#name, 0);                                                                  \
	}

LOOP(by_sleep, sleep(1))
LOOP(by_usleep, usleep(1000))
LOOP(by_nanosleep, nanosleep(&pause_for, NULL))
LOOP(by_clock_nanosleep, clock_nanosleep(CLOCK_MONOTONIC, 0, &pause_for, NULL))
LOOP(by_thrd_sleep, thrd_sleep(&pause_for, NULL))
LOOP(by_poll_timeout, poll(NULL, 0, 1))
LOOP(by_select_timeout, select(0, NULL, NULL, NULL, (limit.tv_usec = 1000, &limit)))
LOOP(by_sched_yield, sched_yield())

/* of a word, with and without a call */
#define SPIN(name, step)                                                                           \
	static void name(void)                                                                     \
	{                                                                                          \
		while (!shared->told)                                                              \
			step;                                                                      \
		report(#name, 0);                                                                  \
	}

SPIN(by_yielding, sched_yield())
SPIN(by_spinning, __asm__ volatile("pause"))

static void by_trylock(void)
{
	while (pthread_mutex_trylock(&shared->mutex))
		sched_yield();
	report("by_trylock", 0);
}

static void by_sem_trywait(void)
{
	while (sem_trywait(&shared->semaphore))
		sched_yield();
	report("by_sem_trywait", 0);
}

static void by_waitpid_nohang(void)
{
	while (waitpid(server, NULL, WNOHANG) != server)
		sched_yield();
	report("by_waitpid_nohang", 0);
}

/* descriptors that are waited for */
static void by_poll(void)
{
	struct pollfd polled = {.fd = ends[0], .events = POLLIN};

	report("by_poll", poll(&polled, 1, -1));
}

static void by_ppoll_syscall(void)
{
	struct pollfd polled = {.fd = ends[0], .events = POLLIN};

	report("by_ppoll_syscall", syscall(SYS_ppoll, &polled, 1, NULL, NULL, 0));
}

static void by_select(void)
{
	fd_set set;

	FD_ZERO(&set);
	FD_SET(ends[0], &set);
	report("by_select", select(ends[0] + 1, &set, NULL, NULL, NULL));
}

static void by_epoll(void)
{
	struct epoll_event one = {.events = EPOLLIN};
	int set = epoll_create1(EPOLL_CLOEXEC);

	epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &one);
	report("by_epoll", epoll_wait(set, &one, 1, -1));
	close(set);
}

/* signals */
static sigset_t usr1;
static sigjmp_buf outside;

static void jump_out(int signal)
{
	(void)signal;
	siglongjmp(outside, 1);
}

static void note(int signal)
{
	(void)signal;
	shared->told = 1;
}

WAIT(by_sigwait, sigwait(&usr1, &(int){0}))
WAIT(by_sigwaitinfo, sigwaitinfo(&usr1, NULL) == SIGUSR1)
WAIT(by_sigtimedwait, sigtimedwait(&usr1, NULL, &(struct timespec){.tv_sec = LONG_S}) == SIGUSR1)

static void by_signalfd(void)
{
	struct signalfd_siginfo info;
	int fd = signalfd(-1, &usr1, SFD_CLOEXEC);

	report("by_signalfd", read(fd, &info, sizeof(info)) == sizeof(info));
}

static void by_sigsuspend(void)
{
	sigset_t none;

	sigemptyset(&none);
	signal(SIGUSR1, note);
	report("by_sigsuspend", sigsuspend(&none));
}

/* The signal may come before the call. */
static void by_pause(void)
{
	signal(SIGUSR1, jump_out);
	if (!sigsetjmp(outside, 1)) {
		pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
		for (;;)
			pause();
	}
	report("by_pause", 0);
}

/* threads that have been waiting before */
static atomic_int tid_of_helper;
static pthread_t helper;
static thrd_t c_helper;

static void *read_pipe(void *unused)
{
	tid_of_helper = gettid();
	if (RAW_CALL(SYS_read, ends[0], room, sizeof(room)) != 5)
		printf("nothing read\n");
	return unused;
}

static int c_read_pipe(void *unused)
{
	read_pipe(unused);
	return 7;
}

static void start_helper(void *(*body)(void *))
{
	if (pthread_create(&helper, NULL, body, NULL))
		die("pthread_create");
}

static void start_reader(void)
{
	start_helper(read_pipe);
}

static void start_c_reader(void)
{
	thrd_create(&c_helper, c_read_pipe, NULL);
}

WAIT(by_join, pthread_join(helper, NULL))
WAIT(by_thrd_join, thrd_join(c_helper, &(int){0}))
TIMED(by_timedjoin, CLOCK_REALTIME, pthread_timedjoin_np(helper, NULL, &limit))
TIMED(by_clockjoin, CLOCK_MONOTONIC, pthread_clockjoin_np(helper, NULL, CLOCK_MONOTONIC, &limit))

static void by_tryjoin(void)
{
	while (pthread_tryjoin_np(helper, NULL))
		sched_yield();
	report("by_tryjoin", 0);
}

/* The server's thread itself, or, of a child, what it writes. */
static void by_joining_server(void)
{
	if (server > 0)
		by_read();
	else
		report("by_joining_server", pthread_join(server_thread, NULL));
}

/* A server that serves one after the other: the first has to end. */
static void by_second_connection(void)
{
	int fd = dial_port(server_port);

	send_text(fd, "GET /second HTTP/1.1\r\nHost: h\r\n\r\n");
	show("second", (receive(fd, true)));
	close(fd);
}

/* The process ends with output that only the server makes room for. */
static void by_output_at_exit(void)
{
	FILE *stream = fdopen(full[1], "w");

	fputs("x", stream);
	printf("by_output_at_exit\n");
	exit(0);
}

/* ---- the table ---- */

static const struct row {
	const char *name;
	void (*wait)(void);
	void (*tell)(void);
	void (*hold)(void);  /* by the server, before it listens */
	void (*start)(void); /* by the client, before it connects */
} rows[] = {
#define ROW(name, ...)                                                                             \
	{                                                                                          \
#name, name, __VA_ARGS__                                                           \
	}
	ROW(by_read, tell_by_pipe, NULL, NULL),
	ROW(by_readv, tell_by_pipe, NULL, NULL),
	ROW(by_read_syscall, tell_by_pipe, NULL, NULL),
	ROW(by_recv, tell_by_pair, NULL, NULL),
	ROW(by_recvmsg, tell_by_pair, NULL, NULL),
	ROW(by_eventfd, tell_by_event, NULL, NULL),
	ROW(by_splice, tell_by_pipe, NULL, NULL),
	ROW(by_open, tell_by_fifo, NULL, NULL),
	ROW(by_openat, tell_by_fifo, NULL, NULL),
	ROW(by_fopen, tell_by_fifo, NULL, NULL),
	ROW(by_accept, tell_by_connecting, NULL, NULL),
	ROW(by_accept4, tell_by_connecting, NULL, NULL),
	ROW(by_waitpid, tell_nothing, NULL, NULL),
	ROW(by_wait, tell_nothing, NULL, NULL),
	ROW(by_wait3, tell_nothing, NULL, NULL),
	ROW(by_wait4, tell_nothing, NULL, NULL),
	ROW(by_waitid, tell_nothing, NULL, NULL),
	ROW(by_wait_syscall, tell_nothing, NULL, NULL),
	ROW(by_waitpid_nohang, tell_nothing, NULL, NULL),
	ROW(by_sem_wait, tell_by_semaphore, NULL, NULL),
	ROW(by_sem_timedwait, tell_by_semaphore, NULL, NULL),
	ROW(by_sem_clockwait, tell_by_semaphore, NULL, NULL),
	ROW(by_sem_trywait, tell_by_semaphore, NULL, NULL),
	ROW(by_mutex, tell_by_unlocking, hold_mutex, NULL),
	ROW(by_trylock, tell_by_unlocking, hold_mutex, NULL),
	ROW(by_barrier, tell_by_barrier, NULL, NULL),
	ROW(by_condition, tell_by_condition, NULL, NULL),
	ROW(by_timed_condition, tell_by_condition, NULL, NULL),
	ROW(by_clock_condition, tell_by_condition, NULL, NULL),
	ROW(by_short_condition, tell_by_condition, NULL, NULL),
	ROW(by_short_semaphore, tell_by_semaphore, NULL, NULL),
	ROW(by_c_condition, tell_by_c_condition, NULL, NULL),
	ROW(by_c_timed_condition, tell_by_c_condition, NULL, NULL),
	ROW(by_futex, tell_by_futex, NULL, NULL),
	ROW(by_raw_futex, tell_by_futex, NULL, NULL),
	ROW(by_msgrcv, tell_by_message, NULL, NULL),
	ROW(by_mq_receive, tell_by_posix_message, NULL, NULL),
	ROW(by_mq_timedreceive, tell_by_posix_message, NULL, NULL),
	ROW(by_semop, tell_by_semop, NULL, NULL),
	ROW(by_semtimedop, tell_by_semop, NULL, NULL),
	ROW(by_full_write, tell_by_reading, NULL, NULL),
	ROW(by_flock, tell_by_unlocking_file, hold_flock, NULL),
	ROW(by_lockf, tell_by_unlocking_file, hold_record, NULL),
	ROW(by_fcntl_lock, tell_by_unlocking_file, hold_record, NULL),
	ROW(by_ofd_lock, tell_by_unlocking_file, hold_record, NULL),
	ROW(by_inotify, tell_by_file, NULL, NULL),
	ROW(by_fgets, tell_by_pipe, NULL, NULL),
	ROW(by_getc, tell_by_pipe, NULL, NULL),
	ROW(by_fread, tell_by_pipe, NULL, NULL),
	ROW(by_fscanf, tell_by_pipe, NULL, NULL),
	ROW(by_getline, tell_by_pipe, NULL, NULL),
	ROW(by_fflush, tell_by_reading, NULL, NULL),
	ROW(by_fputs, tell_by_reading, NULL, NULL),
	ROW(by_popen, tell_by_fifo, NULL, NULL),
	ROW(by_system, tell_by_fifo, NULL, NULL),
	ROW(by_sleep, tell_by_file, NULL, NULL),
	ROW(by_usleep, tell_by_file, NULL, NULL),
	ROW(by_nanosleep, tell_by_file, NULL, NULL),
	ROW(by_clock_nanosleep, tell_by_file, NULL, NULL),
	ROW(by_thrd_sleep, tell_by_file, NULL, NULL),
	ROW(by_poll_timeout, tell_by_file, NULL, NULL),
	ROW(by_select_timeout, tell_by_file, NULL, NULL),
	ROW(by_sched_yield, tell_by_file, NULL, NULL),
	ROW(by_yielding, tell_by_word, NULL, NULL),
	ROW(by_spinning, tell_by_word, NULL, NULL),
	ROW(by_poll, tell_by_pipe, NULL, NULL),
	ROW(by_ppoll_syscall, tell_by_pipe, NULL, NULL),
	ROW(by_select, tell_by_pipe, NULL, NULL),
	ROW(by_epoll, tell_by_pipe, NULL, NULL),
	ROW(by_sigwait, tell_by_signal, NULL, NULL),
	ROW(by_sigwaitinfo, tell_by_signal, NULL, NULL),
	ROW(by_sigtimedwait, tell_by_signal, NULL, NULL),
	ROW(by_signalfd, tell_by_signal, NULL, NULL),
	ROW(by_sigsuspend, tell_by_signal, NULL, NULL),
	ROW(by_pause, tell_by_signal, NULL, NULL),
	ROW(by_join, tell_by_pipe, NULL, start_reader),
	ROW(by_timedjoin, tell_by_pipe, NULL, start_reader),
	ROW(by_clockjoin, tell_by_pipe, NULL, start_reader),
	ROW(by_tryjoin, tell_by_pipe, NULL, start_reader),
	ROW(by_thrd_join, tell_by_pipe, NULL, start_c_reader),
	ROW(by_joining_server, tell_by_pipe, NULL, NULL),
	ROW(by_second_connection, tell_nothing, NULL, NULL),
	ROW(by_output_at_exit, tell_by_reading, NULL, NULL),
};

/* ---- both sides ---- */

static const struct row *row;

static void make_shared(void)
{
	pthread_mutexattr_t mutex;
	pthread_condattr_t condition;
	pthread_barrierattr_t barrier;

	shared = mmap(
		NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		die("mmap");
	pthread_mutexattr_init(&mutex);
	pthread_mutexattr_setpshared(&mutex, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&shared->mutex, &mutex);
	/* those of C11 have no attributes, and are the same underneath */
	pthread_mutex_init((pthread_mutex_t *)&shared->c_mutex, &mutex);
	pthread_condattr_init(&condition);
	pthread_condattr_setpshared(&condition, PTHREAD_PROCESS_SHARED);
	pthread_cond_init(&shared->changed, &condition);
	pthread_cond_init((pthread_cond_t *)&shared->c_changed, &condition);
	pthread_barrierattr_init(&barrier);
	pthread_barrierattr_setpshared(&barrier, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&shared->barrier, &barrier, 2);
	sem_init(&shared->semaphore, 1, 0);
}

static void make_pipes(void)
{
	struct sockaddr_in any = loopback(0);

	if (pipe2(ends, O_CLOEXEC) || pipe2(full, O_CLOEXEC))
		die("pipe");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		die("socketpair");
	event = eventfd(0, EFD_CLOEXEC);
	second = listen_on((struct sockaddr *)&any, sizeof(any));
	if (row->tell == tell_by_reading) {
		fcntl(full[1], F_SETPIPE_SZ, 4096);
		if (write(full[1], (char[4096]){0}, 4096) != 4096)
			die("write");
	}
}

static void make_names(void)
{
	snprintf(file_name, sizeof(file_name), "%s/made", scratch);
	snprintf(fifo_name, sizeof(fifo_name), "%s/fifo", scratch);
	snprintf(lock_name, sizeof(lock_name), "%s/lock", scratch);
	if (mkfifo(fifo_name, 0600))
		die("mkfifo");
	watch = inotify_init1(IN_CLOEXEC);
	inotify_add_watch(watch, scratch, IN_CREATE);
}

static void make_queues(void)
{
	struct mq_attr attributes = {.mq_maxmsg = 1, .mq_msgsize = sizeof(room)};
	char name[32];

	snprintf(name, sizeof(name), "/sppool-test-%d", getpid());
	mq = mq_open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600, &attributes);
	mq_unlink(name);
	queue = msgget(IPC_PRIVATE, 0600);
	semaphores = semget(IPC_PRIVATE, 1, 0600);
	if (mq < 0 || queue < 0 || semaphores < 0)
		die("queues");
	if (semctl(semaphores, 0, SETVAL, 0))
		die("semctl");
}

/* They outlive the process. */
static void remove_queues(void)
{
	msgctl(queue, IPC_RMID, NULL);
	semctl(semaphores, 0, IPC_RMID);
}

static void give_up(int signal)
{
	(void)signal;
	remove_queues();
	_exit(9);
}

static void serve(int listener)
{
	int turns = row->wait == by_second_connection ? 2 : 1;

	for (int turn = 0; turn < turns; turn++) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			die("accept");
		serve_connection(fd);
		if (!turn)
			row->tell();
		close(fd);
	}
}

static void serve_in_child(void)
{
	struct sockaddr_in any = loopback(0);
	int ready[2], listener;

	if (pipe(ready))
		die("pipe");
	server = fork();
	if (server) {
		close(ready[1]);
		if (read(ready[0], &server_port, sizeof(server_port)) != sizeof(server_port))
			die("no server");
		close(ready[0]);
		return;
	}
	alarm(2 * LIMIT_S);
	listener = listen_on((struct sockaddr *)&any, sizeof(any));
	(row->hold ? row->hold : hold_nothing)();
	server_port = port_of(listener);
	if (write(ready[1], &server_port, sizeof(server_port)) < 0)
		die("write");
	close(ready[1]);
	serve(listener);
	_exit(0);
}

/* ---- the ways in which this process itself comes to listen ---- */

static int listen_here(void)
{
	struct sockaddr_in any = loopback(0);

	return listen_on((struct sockaddr *)&any, sizeof(any));
}

static int listen_anywhere(void)
{
	struct sockaddr_in any = {.sin_family = AF_INET};

	return listen_on((struct sockaddr *)&any, sizeof(any));
}

static int listen_for_both(void)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6};

	return listen_on((struct sockaddr *)&any, sizeof(any));
}

static int listen_without_bind(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (listen(fd, 16))
		die("listen");
	return fd;
}

/* as a socket that another process has passed */
static int listen_passed(void)
{
	char control[CMSG_SPACE(sizeof(int))] = "";
	struct msghdr passing = {.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&passing);
	int fd;

	if (!fork()) {
		fd = listen_here();
		*header = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
			.cmsg_len = CMSG_LEN(sizeof(int))};
		memcpy(CMSG_DATA(header), &fd, sizeof(fd));
		_exit(sendmsg(pair[1], &passing, 0) < 0);
	}
	wait(NULL);
	if (recvmsg(pair[0], &passing, 0) < 0)
		die("recvmsg");
	memcpy(&fd, CMSG_DATA(header), sizeof(fd));
	return fd;
}

/* as one that was there when the program began, as systemd starts programs */
static char **arguments;

static int listen_inherited(void)
{
	static char number[16];

	if (arguments[8])
		return atoi(arguments[8]);
	snprintf(number, sizeof(number), "%d", listen_here());
	remove_queues();
	unlink(fifo_name);
	execv("/proc/self/exe",
		(char *[]){arguments[0], arguments[1], arguments[2], arguments[3], arguments[4],
			arguments[5], arguments[6], arguments[7], number, NULL});
	die("execv");
	return -1;
}

static const struct {
	const char *name;
	int (*listen)(void);
} listeners[] = {
	{"here", listen_here},
	{"closed", listen_here}, /* as soon as it has accepted */
	{"anywhere", listen_anywhere},
	{"both_families", listen_for_both},
	{"without_bind", listen_without_bind},
	{"passed", listen_passed},
	{"inherited", listen_inherited},
};

static int listener = -1;
static bool closes_listener;

static void *serve_in_thread(void *unused)
{
	int fd = accept(listener, NULL, NULL);

	if (closes_listener) {
		close(listener);
		shared->held = true;
	}
	serve_connection(fd);
	row->tell();
	close(fd);
	return unused;
}

static void *hold_and_serve(void *unused)
{
	(row->hold ? row->hold : hold_nothing)();
	shared->held = true;
	return serve_in_thread(unused);
}

static void serve_here(const char *by)
{
	for (size_t i = 0; i < COUNT(listeners); i++) {
		if (!strcmp(by, listeners[i].name))
			listener = listeners[i].listen();
	}
	closes_listener = !strcmp(by, "closed");
	server_port = port_of(listener);
	pthread_create(
		&server_thread, NULL, closes_listener ? serve_in_thread : hold_and_serve, NULL);
	while (!closes_listener && !shared->held)
		sched_yield();
}

/* Until a thread has come to where it waits. */
static void await_sleep(int tid)
{
	char name[64], text[256];

	snprintf(name, sizeof(name), "/proc/self/task/%d/stat", tid);
	for (;;) {
		int fd = open(name, O_RDONLY);
		ssize_t length = read(fd, text, sizeof(text) - 1);

		close(fd);
		text[length > 0 ? length : 0] = '\0';
		if (strstr(text, ") S"))
			return;
		sched_yield();
	}
}

static void await_helper(void)
{
	while (!atomic_load(&tid_of_helper))
		sched_yield();
	await_sleep(tid_of_helper);
}

/* ---- others that shut down while the first thread waits ---- */

static int connection = -1;
static atomic_bool waits, over;

static void shut_down_in_handler(int signal)
{
	(void)signal;
	shutdown(connection, how);
}

static void *shut_down(void *who)
{
	struct sigaction action = {.sa_handler = shut_down_in_handler, .sa_flags = SA_RESTART};

	while (!waits)
		;
	await_sleep(getpid());
	if (!strcmp(who, "handler")) {
		sigaction(SIGUSR2, &action, NULL);
		RAW_CALL(SYS_tgkill, getpid(), getpid(), SIGUSR2);
	} else {
		shutdown(connection, how);
	}
	while (strcmp(who, "leaver") && !over)
		;
	return NULL;
}

static void wait_while_shut_down(char *who)
{
	pthread_t other;

	pthread_create(&other, NULL, shut_down, who);
	waits = true;
	row->wait();
	over = true;
	pthread_join(other, NULL);
}

static void converse(char *who)
{
	int fd;

	if (row->start)
		row->start();
	if (row->start)
		await_helper();
	fd = dial_port(server_port);
	send_text(fd, "GET /first HTTP/1.1\r\nHost: h\r\n\r\n");
	show("first", receive(fd, true));
	while (closes_listener && !shared->held)
		sched_yield();
	connection = fd;
	if (strcmp(who, "itself")) {
		wait_while_shut_down(who);
	} else {
		report("shutdown", shutdown(fd, how));
		row->wait();
	}
	report("close", close(fd));
	if (server < 0 && row->wait != by_joining_server)
		pthread_join(server_thread, NULL);
}

int main(int argc, char **argv)
{
	const char *by = argc > 5 ? argv[5] : "process";

	arguments = argv;
	scratch = argc > 6 ? argv[6] : ".";
	how = how_of(argc > 4 ? argv[4] : "WR");
	for (size_t i = 0; argc > 1 && i < COUNT(rows); i++) {
		if (!strcmp(argv[1], rows[i].name))
			row = &rows[i];
	}
	if (!row)
		return 3;
	make_shared();
	make_names();
	make_pipes();
	make_queues();
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &usr1, NULL);
	signal(SIGALRM, give_up);
	atexit(remove_queues);
	if (strcmp(by, "process"))
		serve_here(by);
	else
		serve_in_child();
	alarm(LIMIT_S);
	converse(argc > 7 ? argv[7] : (char[]){"itself"});
	return fflush(stdout) ? 1 : 0;
}

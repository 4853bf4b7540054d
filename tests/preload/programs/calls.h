/* Every function of the library's table, called once in a way that succeeds.
 *
 * A row of shim/interposed.inc for which there is no call here does not compile, and neither does a
 * call for which there is no row. Whoever includes this defines, before:
 *
 *	CALL(name, before, call)           makes a function try_name() of the call
 *	EXEC(name, call_fails, call_works) the same of one that does not return
 *
 * What a call needs is in these variables, and what it makes is put there, to be cleaned up.
 */
#ifndef CALLS_H
#define CALLS_H

#include "client.h"
#include <linux/capability.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "shim/interposed.h"
#include "shim/raw.h"

#define INTERPOSED(returns, name, parameters)
#define INTERPOSED_ALIAS(returns, name, parameters, function) returns name parameters;
#include "shim/interposed.inc"
#undef INTERPOSED

static int fd = -1; /* a connection, with a response to be read */
static int made = -1, pair[2] = {-1, -1};
static FILE *stream;
static DIR *directory;
static pid_t child;
static const struct addrinfo four = {.ai_family = AF_INET};
static struct addrinfo *list;
static struct hostent host, *found;
static char host_room[1024];
static int host_error;
static char bytes[16] = "GET / HTTP/1.1\r\n";

/* ---- situations ---- */

static const struct situation {
	const char *name;
	bool tracked; /* or made by calls that nobody can see */
	bool reused;  /* a connection was closed that could be used again */
	bool parked;  /* and another one, which is there beside it */
	bool closed;  /* that one's number is what is called, if it has one in this process */
} situations[] = {
	{"untracked", false, false, false, false},
	{"untracked_beside_parked", false, false, true, false},
	{"tracked", true, false, false, false},
	{"tracked_beside_parked", true, false, true, false},
	{"reused", true, true, true, false},
	{"closed", true, false, true, true},
};

static const struct situation *now = &situations[0];

static int new_socket(void)
{
	return now->tracked ? socket(AF_INET, SOCK_STREAM, 0)
			    : (int)RAW3(socket, AF_INET, SOCK_STREAM, 0);
}

static const struct sockaddr *server(void)
{
	static struct sockaddr_in address;

	address = loopback(port);
	return (const struct sockaddr *)&address;
}

#define ADDRESS_SIZE sizeof(struct sockaddr_in)

static void leave_one_to_reuse(void)
{
	int used = dial();

	request(used, "GET", "/bytes/10");
	receive(used, true);
	close(used);
}

/* The next connection is a new one. */
static void leave_none_to_reuse(void)
{
	int used = dial();

	shutdown(used, SHUT_RDWR);
	close(used);
}

static bool is_open(int number)
{
	return RAW2(fcntl, number, F_GETFD) >= 0;
}

static int number_of_parked(void)
{
	for (int number = 100; number < 2000; number++) {
		if (is_open(number))
			return number;
	}
	return 1000;
}

static void prepare(void)
{
	char text[] = "GET /bytes/100 HTTP/1.1\r\nHost: loopback\r\n\r\n";
	struct pollfd answered = {.events = POLLIN};

	if (now->closed) {
		leave_one_to_reuse();
		fd = number_of_parked();
		return;
	}
	if (now->reused)
		leave_one_to_reuse();
	else if (now->tracked)
		leave_none_to_reuse();
	fd = answered.fd = new_socket();
	if (now->tracked ? connect_to(fd, port) : RAW3(connect, fd, server(), ADDRESS_SIZE) < 0)
		die("connect");
	if (now->parked)
		leave_one_to_reuse();
	if (now->tracked)
		send_text(fd, text);
	else
		RAW3(write, fd, text, sizeof(text) - 1);
	poll(&answered, 1, -1);
}

static void close_if_open(int *number)
{
	if (*number >= 0 && is_open(*number))
		close(*number);
	*number = -1;
}

static void end_signals(void);
static void end_alarms(void);

static void clean_up(void)
{
	end_signals();
	end_alarms();
	if (stream)
		fclose(stream);
	if (directory)
		closedir(directory);
	if (child > 0)
		waitpid(child, NULL, 0);
	stream = NULL;
	directory = NULL;
	child = 0;
	close_if_open(&made);
	close_if_open(&pair[0]);
	close_if_open(&pair[1]);
	if (now->closed)
		fd = -1;
	close_if_open(&fd);
}

/* ---- what calls need ---- */

static struct iovec *vector(size_t length)
{
	static struct iovec one;

	one = (struct iovec){.iov_base = bytes, .iov_len = length};
	return &one;
}

static struct msghdr *message(size_t length)
{
	static struct msghdr one;

	one = (struct msghdr){.msg_iov = vector(length), .msg_iovlen = 1};
	return &one;
}

static struct mmsghdr *messages(size_t length)
{
	static struct mmsghdr one;

	one = (struct mmsghdr){.msg_hdr = *message(length)};
	return &one;
}

static int file_with_bytes(void)
{
	int file = memfd_create("bytes", 0);

	if (write(file, bytes, sizeof(bytes)) != sizeof(bytes))
		die("write");
	return file;
}

static void pipe_with_bytes(void)
{
	if (pipe(pair) || write(pair[1], bytes, sizeof(bytes)) != sizeof(bytes))
		die("pipe");
}

static void wait_to_be_accepted(void)
{
	struct sockaddr_in address = loopback(0);
	socklen_t size = sizeof(address);

	made = new_socket();
	if (bind(made, (struct sockaddr *)&address, size) || listen(made, 1) ||
		getsockname(made, (struct sockaddr *)&address, &size))
		die("listen");
	pair[0] = dial_port(ntohs(address.sin_port));
}

static const struct sockaddr *any_port(void)
{
	static struct sockaddr_in address;

	address = loopback(0);
	return (const struct sockaddr *)&address;
}

static char *template(const char *text)
{
	static char name[32];

	return strcpy(name, text);
}

static struct epoll_event *event(void)
{
	static struct epoll_event one = {.events = EPOLLIN};

	return &one;
}

static void *limit(void)
{
	static struct rlimit one;

	getrlimit(RLIMIT_NOFILE, &one);
	return &one;
}

static gid_t groups[256];

static size_t group_count(void)
{
	int count = getgroups(COUNT(groups), groups);

	return count < 0 ? 0 : (size_t)count;
}

/* What it says is shown, too. */
static struct pollfd entry;

static struct pollfd *for_poll(void)
{
	entry = (struct pollfd){.fd = fd, .events = POLLIN};
	return &entry;
}

/* Hidden numbers may be above FD_SETSIZE. */
static fd_set sets[4];

static fd_set *for_select(void)
{
	unsigned long *words = (unsigned long *)sets;

	memset(sets, 0, sizeof(sets));
	words[fd / 64] = 1UL << fd % 64;
	return sets;
}

static const struct timespec no_time;
static struct epoll_event events[1];

static void watch(void)
{
	made = epoll_create1(0);
	epoll_ctl(made, EPOLL_CTL_ADD, fd, event());
}

static int option = 1;
static socklen_t option_size = sizeof(option);
static struct sockaddr_in peer;
static socklen_t peer_size = sizeof(peer);
static sigset_t no_signals;

/* ---- what waits ---- */

static const struct timespec never = {.tv_sec = INT64_MAX / 4};
static sigset_t the_signal;
static int signal_number;
static pthread_mutex_t mutex;
static pthread_cond_t condition;
static pthread_barrier_t barrier;
static sem_t semaphore;
static struct sembuf operation;
static eventfd_t event_value;
static char *line;
static size_t line_size;
static _Atomic bool signalling;

static void do_nothing(int unused)
{
	(void)unused;
}

/* Sent, and not delivered. */
static void signal_itself(void)
{
	signal(SIGUSR1, do_nothing);
	sigemptyset(&the_signal);
	sigaddset(&the_signal, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &the_signal, NULL);
	raise(SIGUSR1);
}

static void alarm_soon(void)
{
	const struct itimerval often = {{.tv_usec = 1000}, {.tv_usec = 1000}};

	signal(SIGALRM, do_nothing);
	setitimer(ITIMER_REAL, &often, NULL);
}

static void end_alarms(void)
{
	setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
}

static pid_t start_child(void)
{
	pid_t started = fork();

	if (started == 0)
		_exit(0);
	return started;
}

static void *tell_number(void *number)
{
	atomic_store((_Atomic pid_t *)number, gettid());
	return NULL;
}

/* One that has ended: so whether joining it is a cancellation point does not depend on luck. */
static pthread_t start_thread(void)
{
	_Atomic pid_t number = 0;
	pthread_t thread;

	if (pthread_create(&thread, NULL, tell_number, &number))
		die("pthread_create");
	while (!atomic_load(&number) || tgkill(getpid(), atomic_load(&number), 0) == 0)
		sched_yield();
	return thread;
}

static void *signal_again_and_again(void *unused)
{
	while (atomic_load(&signalling)) {
		pthread_cond_broadcast(&condition);
		usleep(100);
	}
	return unused;
}

static pthread_t signaller;

static void begin_signals(void)
{
	pthread_mutex_init(&mutex, NULL);
	pthread_cond_init(&condition, NULL);
	pthread_mutex_lock(&mutex);
	atomic_store(&signalling, true);
	if (pthread_create(&signaller, NULL, signal_again_and_again, NULL))
		die("pthread_create");
}

/* Its errno is the call's. */
static void end_signals(void)
{
	if (atomic_exchange(&signalling, false))
		pthread_join(signaller, NULL);
}

static FILE *take_stream(void)
{
	FILE *taken = stream;

	stream = NULL;
	return taken;
}

static FILE *stream_with_bytes(void)
{
	return fmemopen(bytes, sizeof(bytes), "r");
}

static char stack[65536] __attribute__((aligned(16)));

static int end_at_once(void *unused)
{
	(void)unused;
	_exit(0);
}

/* what a child runs, and what a call that fails wants to run */
static char word[] = "a word";
static char *words[] = {word, word, NULL};
static char *no_environment[] = {NULL};

/* A stream that somebody else closes. */
static FILE *taken_stream(void)
{
	FILE *taken = stream;

	stream = NULL;
	return taken;
}

/* ---- the calls ---- */

/* What it may do, which it may still do then. */
static void *capabilities(void)
{
	static struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

	return &header;
}

static void *all_of_them(void)
{
	static struct __user_cap_data_struct all[_LINUX_CAPABILITY_U32S_3];

	RAW2(capget, capabilities(), all);
	return all;
}

/* clang-format off */
CALL(socket,         , made = socket(AF_INET, SOCK_STREAM, 0))
CALL(connect,        made = new_socket(), connect(made, server(), ADDRESS_SIZE))
CALL(__connect,      made = new_socket(), __connect(made, server(), ADDRESS_SIZE))
CALL(close,          receive(fd, true), close(fd))
CALL(__close,        receive(fd, true), __close(fd))

CALL(read,           , read(fd, bytes, 3))
CALL(__read,         , __read(fd, bytes, 3))
CALL(__read_chk,     , __read_chk(fd, bytes, 3, sizeof(bytes)))
CALL(readv,          , readv(fd, vector(3), 1))
CALL(recv,           , recv(fd, bytes, 3, 0))
CALL(__recv_chk,     , __recv_chk(fd, bytes, 3, sizeof(bytes), 0))
CALL(recvfrom,       , recvfrom(fd, bytes, 3, 0, NULL, NULL))
CALL(__recvfrom_chk, , __recvfrom_chk(fd, bytes, 3, sizeof(bytes), 0, NULL, NULL))
CALL(recvmsg,        , recvmsg(fd, message(3), 0))
CALL(recvmmsg,       , recvmmsg(fd, messages(3), 1, 0, NULL))
CALL(write,          , write(fd, bytes, 3))
CALL(__write,        , __write(fd, bytes, 3))
CALL(writev,         , writev(fd, vector(3), 1))
CALL(send,           , send(fd, bytes, 3, 0))
CALL(__send,         , __send(fd, bytes, 3, 0))
CALL(sendto,         , sendto(fd, bytes, 3, 0, NULL, 0))
CALL(sendmsg,        , sendmsg(fd, message(3), 0))
CALL(sendmmsg,       , sendmmsg(fd, messages(3), 1, 0))
CALL(sendfile,       made = file_with_bytes(), sendfile(fd, made, &(off_t){0}, 3))
CALL(sendfile64,     made = file_with_bytes(), sendfile64(fd, made, &(off64_t){0}, 3))
CALL(splice,         pipe_with_bytes(), splice(pair[0], NULL, fd, NULL, 3, 0))

CALL(poll,           , poll(for_poll(), 1, 0) * 1000 + entry.revents)
CALL(__poll,         , __poll(for_poll(), 1, 0) * 1000 + entry.revents)
CALL(__poll_chk,     , __poll_chk(for_poll(), 1, 0, sizeof(entry)) * 1000 + entry.revents)
CALL(ppoll,          , ppoll(for_poll(), 1, &no_time, NULL) * 1000 + entry.revents)
CALL(__ppoll_chk,    , __ppoll_chk(for_poll(), 1, &no_time, NULL, sizeof(entry)) * 1000 + entry.revents)
CALL(select,         , select(fd + 1, for_select(), NULL, NULL, &(struct timeval){0}))
CALL(__select,       , __select(fd + 1, for_select(), NULL, NULL, &(struct timeval){0}))
CALL(pselect,        , pselect(fd + 1, for_select(), NULL, NULL, &no_time, NULL))
CALL(epoll_wait,     watch(), epoll_wait(made, events, 1, 0))
CALL(epoll_pwait,    watch(), epoll_pwait(made, events, 1, 0, NULL))
CALL(epoll_pwait2,   watch(), epoll_pwait2(made, events, 1, &no_time, NULL))

CALL(sleep,          , sleep(0))
CALL(usleep,         , usleep(1))
CALL(nanosleep,      , nanosleep(&no_time, NULL))
CALL(clock_nanosleep, , clock_nanosleep(CLOCK_MONOTONIC, 0, &no_time, NULL))
CALL(sched_yield,    , sched_yield())
CALL(pause,          alarm_soon(), pause())
CALL(sigsuspend,     signal_itself(), sigsuspend(&no_signals))
CALL(sigwait,        signal_itself(), sigwait(&the_signal, &signal_number))
CALL(sigwaitinfo,    signal_itself(), sigwaitinfo(&the_signal, NULL))
CALL(sigtimedwait,   signal_itself(), sigtimedwait(&the_signal, NULL, &no_time))
CALL(wait,           start_child(), wait(NULL) > 0)
CALL(waitpid,        , waitpid(start_child(), NULL, 0) > 0)
CALL(wait3,          start_child(), wait3(NULL, 0, NULL) > 0)
CALL(wait4,          , wait4(start_child(), NULL, 0, NULL) > 0)
CALL(waitid,         , waitid(P_PID, (id_t)start_child(), NULL, WEXITED))
CALL(pthread_join,   , pthread_join(start_thread(), NULL))
CALL(pthread_timedjoin_np, , pthread_timedjoin_np(start_thread(), NULL, &never))
CALL(pthread_clockjoin_np, , pthread_clockjoin_np(start_thread(), NULL, CLOCK_MONOTONIC, &never))
CALL(thrd_join,      , thrd_join((thrd_t)start_thread(), NULL))
CALL(pthread_cond_wait, begin_signals(), pthread_cond_wait(&condition, &mutex))
CALL(pthread_cond_timedwait, begin_signals(), pthread_cond_timedwait(&condition, &mutex, &never))
CALL(pthread_cond_clockwait, begin_signals(), pthread_cond_clockwait(&condition, &mutex, CLOCK_MONOTONIC, &never))
CALL(pthread_barrier_wait, pthread_barrier_init(&barrier, NULL, 1), pthread_barrier_wait(&barrier))
CALL(thrd_sleep,     , thrd_sleep(&no_time, NULL))
CALL(cnd_timedwait,  begin_signals(), cnd_timedwait((cnd_t *)&condition, (mtx_t *)&mutex, &never))
CALL(cnd_wait,       begin_signals(), cnd_wait((cnd_t *)&condition, (mtx_t *)&mutex))
CALL(sem_wait,       sem_init(&semaphore, 0, 1), sem_wait(&semaphore))
CALL(sem_timedwait,  sem_init(&semaphore, 0, 1), sem_timedwait(&semaphore, &never))
CALL(sem_clockwait,  sem_init(&semaphore, 0, 1), sem_clockwait(&semaphore, CLOCK_MONOTONIC, &never))
CALL(flock,          made = file_with_bytes(), flock(made, LOCK_EX))
CALL(lockf,          made = file_with_bytes(), lockf(made, F_TLOCK, 0))
CALL(lockf64,        made = file_with_bytes(), lockf64(made, F_TLOCK, 0))
CALL(semop,          , semop(-1, &operation, 1))
CALL(semtimedop,     , semtimedop(-1, &operation, 1, &no_time))
CALL(msgrcv,         , msgrcv(-1, bytes, 1, 0, 0))
CALL(mq_receive,     , mq_receive(-1, bytes, 1, NULL))
CALL(mq_timedreceive, , mq_timedreceive(-1, bytes, 1, NULL, &no_time))
CALL(eventfd_read,   made = eventfd(1, 0), eventfd_read(made, &event_value))
CALL(fread,          stream = stream_with_bytes(), fread(bytes, 1, 3, stream))
CALL(fread_unlocked, stream = stream_with_bytes(), fread_unlocked(bytes, 1, 3, stream))
CALL(__fread_chk,    stream = stream_with_bytes(), __fread_chk(bytes, sizeof(bytes), 1, 3, stream))
CALL(__fgets_chk,    stream = stream_with_bytes(), __fgets_chk(bytes, sizeof(bytes), 4, stream) != NULL)
CALL(fgets_unlocked, stream = stream_with_bytes(), fgets_unlocked(bytes, 4, stream) != NULL)
CALL(getc_unlocked,  stream = stream_with_bytes(), getc_unlocked(stream))
CALL(__uflow,        stream = stream_with_bytes(), __uflow(stream))
CALL(_IO_getc,       stream = stream_with_bytes(), _IO_getc(stream))
CALL(pclose,         stream = popen("true", "r"), pclose(take_stream()))
CALL(fgets,          stream = stream_with_bytes(), fgets(bytes, 4, stream) != NULL)
CALL(fgetc,          stream = stream_with_bytes(), fgetc(stream))
CALL(getc,           stream = stream_with_bytes(), (getc)(stream))
CALL(getchar,        , (getchar)())
CALL(getline,        stream = stream_with_bytes(), getline(&line, &line_size, stream))
CALL(getdelim,       stream = stream_with_bytes(), getdelim(&line, &line_size, 'T', stream))
CALL(__getdelim,     stream = stream_with_bytes(), __getdelim(&line, &line_size, 'T', stream))

CALL(setsockopt,     , setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &option, option_size))
CALL(getpeername,    , getpeername(fd, (struct sockaddr *)&peer, &peer_size) * 1000 + peer.sin_family)
CALL(getsockopt,     , getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &option, &option_size))
CALL(bind,           made = new_socket(), bind(made, any_port(), ADDRESS_SIZE))
CALL(listen,         made = new_socket(), listen(made, 1))
CALL(shutdown,       , shutdown(fd, SHUT_WR))
CALL(epoll_ctl,      made = epoll_create1(0), epoll_ctl(made, EPOLL_CTL_ADD, fd, event()))
CALL(ioctl,          , ioctl(fd, FIONBIO, &(int){0}))
CALL(fcntl,          , fcntl(fd, F_SETFD, FD_CLOEXEC))
CALL(__fcntl,        , made = __fcntl(fd, F_DUPFD, 100))
CALL(fcntl64,        , made = fcntl64(fd, F_DUPFD_CLOEXEC, 100))
CALL(dup,            , made = dup(fd))
CALL(dup2,           , made = dup2(fd, 100))
CALL(__dup2,         , made = __dup2(fd, fd))
CALL(dup3,           , made = dup3(fd, 100, O_CLOEXEC))
CALL(fdopen,         , (stream = fdopen(fd, "r")) != NULL)
CALL(_IO_fdopen,     , (stream = _IO_fdopen(fd, "r")) != NULL)
CALL(fclose,         stream = fdopen(fd, "r"), fclose(taken_stream()))
CALL(_IO_fclose,     stream = fdopen(fd, "r"), _IO_fclose(taken_stream()))
CALL(close_range,    , close_range((unsigned)fd, ~0U, 0))
CALL(closefrom,      , (closefrom(fd), 0))

CALL(vfork,          , (child = vfork()) ? child > 0 : (_exit(0), 0))
CALL(__vfork,        , (child = __vfork()) ? child > 0 : (_exit(0), 0))
CALL(_Fork,          , (child = _Fork()) ? child > 0 : (_exit(0), 0))
CALL(clone,          , (child = clone(end_at_once, stack + sizeof(stack), SIGCHLD, NULL)) > 0)
CALL(__clone,        , (child = __clone(end_at_once, stack + sizeof(stack), SIGCHLD, NULL)) > 0)
CALL(posix_spawn,    , posix_spawn(&child, "/bin/true", NULL, NULL, words, environ))
CALL(posix_spawnp,   , posix_spawnp(&child, "true", NULL, NULL, words, environ))
CALL(popen,          , (stream = popen("exit 0", "r")) != NULL)
CALL(_IO_popen,      , (stream = _IO_popen("exit 0", "r")) != NULL)
CALL(system,         , system("exit 0"))
EXEC(execve,         execve("nowhere", words, no_environment),
                     execve("/bin/echo", words, no_environment))
EXEC(execv,          execv("nowhere", words), execv("/bin/echo", words))
EXEC(execvp,         execvp("nowhere", words), execvp("echo", words))
EXEC(execvpe,        execvpe("nowhere", words, no_environment),
                     execvpe("echo", words, no_environment))
EXEC(fexecve,        fexecve(fd, words, no_environment),
                     fexecve(open("/bin/echo", O_RDONLY), words, no_environment))
EXEC(execl,          execl("nowhere", "", "1", "2", "3", "4", "5", "6", "7", NULL),
                     execl("/bin/echo", "", "1", "2", "3", "4", "5", "6", "7", NULL))
EXEC(execlp,         execlp("nowhere", "", "1", "2", "3", "4", "5", "6", "7", NULL),
                     execlp("echo", "", "1", "2", "3", "4", "5", "6", "7", NULL))
EXEC(execle,         execle("nowhere", "", "1", "2", "3", "4", "5", "6", NULL, no_environment),
                     execle("/usr/bin/env", "", "sh", "-c", "echo $0 $#", "4", "5", "6", NULL,
                           no_environment))

CALL(open,           , made = open("/dev/null", O_RDONLY))
CALL(__open,         , made = __open("/dev/null", O_RDONLY))
CALL(__open64,       , made = __open64("/dev/null", O_RDONLY))
CALL(open64,         , made = open64("new", O_RDWR | O_CREAT, 0600))
CALL(__open_2,       , made = __open_2("/dev/null", O_RDONLY))
CALL(__open64_2,     , made = __open64_2("/dev/null", O_RDONLY))
CALL(openat,         , made = openat(AT_FDCWD, "/dev/null", O_RDONLY))
CALL(openat64,       , made = openat64(AT_FDCWD, "new", O_RDWR | O_CREAT, 0600))
CALL(__openat_2,     , made = __openat_2(AT_FDCWD, "/dev/null", O_RDONLY))
CALL(__openat64_2,   , made = __openat64_2(AT_FDCWD, "/dev/null", O_RDONLY))
CALL(creat,          , made = creat("new", 0600))
CALL(creat64,        , made = creat64("new", 0600))
CALL(mkstemp,        , made = mkstemp(template("XXXXXX")))
CALL(mkstemp64,      , made = mkstemp64(template("XXXXXX")))
CALL(mkostemp,       , made = mkostemp(template("XXXXXX"), O_CLOEXEC))
CALL(mkostemp64,     , made = mkostemp64(template("XXXXXX"), O_CLOEXEC))
CALL(mkstemps,       , made = mkstemps(template("XXXXXX.end"), 4))
CALL(mkstemps64,     , made = mkstemps64(template("XXXXXX.end"), 4))
CALL(mkostemps,      , made = mkostemps(template("XXXXXX.end"), 4, O_CLOEXEC))
CALL(mkostemps64,    , made = mkostemps64(template("XXXXXX.end"), 4, O_CLOEXEC))
CALL(accept,         wait_to_be_accepted(), pair[1] = accept(made, NULL, NULL))
CALL(accept4,        wait_to_be_accepted(), pair[1] = accept4(made, NULL, NULL, SOCK_CLOEXEC))
CALL(socketpair,     , socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
CALL(pipe,           , pipe(pair))
CALL(__pipe,         , __pipe(pair))
CALL(pipe2,          , pipe2(pair, O_CLOEXEC))
CALL(epoll_create,   , made = epoll_create(1))
CALL(epoll_create1,  , made = epoll_create1(EPOLL_CLOEXEC))
CALL(eventfd,        , made = eventfd(1, 0))
CALL(signalfd,       , made = signalfd(-1, &no_signals, 0))
CALL(timerfd_create, , made = timerfd_create(CLOCK_MONOTONIC, 0))
CALL(inotify_init,   , made = inotify_init())
CALL(inotify_init1,  , made = inotify_init1(0))
CALL(memfd_create,   , made = memfd_create("memory", 0))
CALL(fopen,          , (stream = fopen("/dev/null", "r")) != NULL)
CALL(fopen64,        , (stream = fopen64("/dev/null", "r")) != NULL)
CALL(freopen,        stream = fopen("/dev/null", "r"), freopen("/dev/zero", "r", stream) == stream)
CALL(freopen64,      stream = fopen("/dev/null", "r"), freopen64("/dev/zero", "r", stream) == stream)
CALL(_IO_fopen,      , (stream = _IO_fopen("/dev/null", "r")) != NULL)
CALL(tmpfile,        , (stream = tmpfile()) != NULL)
CALL(tmpfile64,      , (stream = tmpfile64()) != NULL)
CALL(opendir,        , (directory = opendir(".")) != NULL)

CALL(setrlimit,      , setrlimit(RLIMIT_NOFILE, limit()))
CALL(setrlimit64,    , setrlimit64(RLIMIT_NOFILE, limit()))
CALL(prlimit,        , prlimit(0, RLIMIT_NOFILE, limit(), NULL))
CALL(prlimit64,      , prlimit64(0, RLIMIT_NOFILE, limit(), NULL))

CALL(setuid,         , setuid(getuid()))
CALL(seteuid,        , seteuid(geteuid()))
CALL(setreuid,       , setreuid(getuid(), geteuid()))
CALL(setresuid,      , setresuid(getuid(), geteuid(), geteuid()))
CALL(setgid,         , setgid(getgid()))
CALL(setegid,        , setegid(getegid()))
CALL(setregid,       , setregid(getgid(), getegid()))
CALL(setresgid,      , setresgid(getgid(), getegid(), getegid()))
CALL(setgroups,      , setgroups(group_count(), groups))
CALL(initgroups,     , initgroups("root", getgid()))
CALL(setfsuid,       , setfsuid(geteuid()) == (int)geteuid())
CALL(setfsgid,       , setfsgid(getegid()) == (int)getegid())
CALL(chroot,         , chroot("/"))
CALL(unshare,        , unshare(CLONE_FS))
CALL(setns,          made = open("/proc/self/ns/net", O_RDONLY), setns(made, CLONE_NEWNET))
CALL(prctl,          , prctl(PR_GET_DUMPABLE))
CALL(capset,         , capset(capabilities(), all_of_them()))

CALL(getaddrinfo,    , getaddrinfo("localhost", NULL, &four, &list) || (freeaddrinfo(list), false))
CALL(gethostbyname,  , gethostbyname("localhost") != NULL)
CALL(gethostbyname2, , gethostbyname2("localhost", AF_INET) != NULL)
CALL(gethostbyname_r, , gethostbyname_r("localhost", &host, host_room, sizeof(host_room), &found, &host_error))
CALL(gethostbyname2_r, , gethostbyname2_r("localhost", AF_INET, &host, host_room, sizeof(host_room), &found, &host_error))

CALL(syscall,        , syscall(SYS_getpid) == getpid())
CALL(dlopen,         , dlopen("libm.so.6", RTLD_LAZY) != NULL)
CALL(dlmopen,        , dlmopen(LM_ID_BASE, "libm.so.6", RTLD_LAZY) != NULL)

/* more of one function */
CALL(syscall_close,  receive(fd, true), syscall(SYS_close, fd))
CALL(syscall_dup,    , made = (int)syscall(SYS_dup, fd))
CALL(syscall_fcntl,  , syscall(SYS_fcntl, fd, F_SETFD, FD_CLOEXEC))
CALL(epoll_wait_on_it, , epoll_wait(fd, events, 1, 0))
CALL(epoll_pwait_on_it, , epoll_pwait(fd, events, 1, 0, NULL))
CALL(epoll_pwait2_on_it, , epoll_pwait2(fd, events, 1, &no_time, NULL))
CALL(accept_on_it,   , accept(fd, NULL, NULL))
CALL(accept4_on_it,  , accept4(fd, NULL, NULL, 0))
CALL(openat_in_it,   , openat(fd, "name", O_RDONLY))
CALL(signalfd_of_it, , signalfd(fd, &no_signals, 0))
CALL(setns_to_it,    , setns(fd, 0))
CALL(no_connection,  made = (int)RAW3(socket, AF_UNIX, SOCK_DGRAM, 0), close(made))
CALL(bad_number,     , close(-1))

#define MORE_CALLS(ROW) \
	ROW(syscall_close) ROW(syscall_dup) ROW(syscall_fcntl) ROW(epoll_wait_on_it) \
	ROW(epoll_pwait_on_it) ROW(epoll_pwait2_on_it) ROW(accept_on_it) \
	ROW(accept4_on_it) ROW(openat_in_it) ROW(signalfd_of_it) ROW(setns_to_it) \
	ROW(no_connection) ROW(bad_number)

/* Those of the table, and the others. */
static const struct row {
	const char *name;
	void (*attempt)(void);
} rows[] = {
#define ROW(name) {#name, try_##name},
#define INTERPOSED(returns, name, parameters) ROW(name)
#define INTERPOSED_ALIAS(returns, name, parameters, function) ROW(name)
#include "shim/interposed.inc"
	MORE_CALLS(ROW)
};
/* clang-format on */

/* Afterwards the process would be another one. */
static bool needs_a_child(const struct row *row)
{
	return !strncmp(row->name, "setns", 5) || !strncmp(row->name, "setfs", 5);
}

/* There is no stream of what is closed. */
static bool is_possible(const struct row *row)
{
	return !now->closed || !strstr(row->name, "fclose");
}

static void in_a_child(void (*try_row)(const struct row *row), const struct row *row)
{
	fflush(stdout);
	child = fork();
	if (child)
		return;
	try_row(row);
	fflush(stdout);
	_exit(0);
}

/* PROGRAM SITUATION PORT DIRECTORY: what makes files makes them in that directory. */
static int for_each_row(int argc, char **argv, void (*try_row)(const struct row *row))
{
	if (argc != 4 || chdir(argv[3]))
		return 3;
	port = atoi(argv[2]);
	for (size_t i = 0; i < COUNT(situations); i++) {
		if (!strcmp(argv[1], situations[i].name))
			now = &situations[i];
	}
	for (size_t i = 0; i < COUNT(rows); i++) {
		if (!is_possible(&rows[i]))
			continue;
		if (needs_a_child(&rows[i]))
			in_a_child(try_row, &rows[i]);
		else
			try_row(&rows[i]);
		clean_up();
	}
	return fflush(stdout) ? 1 : 0;
}

#endif

/* What a program sees of a connection that it has shut down, call by call:
 *
 *	shutdown_calls CALLS PORT CONTROL_PORT RD|WR|RDWR apart|in_set
 *
 * The server keeps its end open. "in_set": the connection is in an epoll set from the beginning.
 */
#include "shutdowns.h"
#include <linux/sockios.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <threads.h>

static int how;
static int set = -1; /* of epoll */
static volatile sig_atomic_t pipe_signals;
static char room[16] = "x";
static int copy = -1;

static struct iovec vector = {.iov_base = room, .iov_len = 1};
static struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
static struct mmsghdr messages[1];
static struct timespec instant = {.tv_nsec = 1};

static void count_signal(int signal)
{
	(void)signal;
	pipe_signals++;
}

/* ---- calls with the descriptor ---- */

#define ON(name, expression)                                                                       \
	static void name(int fd)                                                                   \
	{                                                                                          \
		report(#name, (long)(expression));                                                 \
	}

ON(on_read, read(fd, room, 1))
ON(on_readv, readv(fd, &vector, 1))
ON(on_recv, recv(fd, room, 1, 0))
ON(on_recv_now, recv(fd, room, 1, MSG_DONTWAIT))
ON(on_recv_peek, recv(fd, room, 1, MSG_PEEK))
ON(on_recvfrom, recvfrom(fd, room, 1, 0, NULL, NULL))
ON(on_recvmsg, recvmsg(fd, &message, 0))
ON(on_recvmmsg, recvmmsg(fd, messages, 1, 0, NULL))
ON(on_read_by_syscall, syscall(SYS_read, fd, room, 1))
ON(on_write, write(fd, "x", 1))
ON(on_writev, writev(fd, &vector, 1))
ON(on_send, send(fd, "x", 1, 0))
ON(on_send_nothing, send(fd, "x", 0, 0))
ON(on_send_silently, send(fd, "x", 1, MSG_NOSIGNAL))
ON(on_sendto, sendto(fd, "x", 1, 0, NULL, 0))
ON(on_sendmsg, sendmsg(fd, &message, 0))
ON(on_sendmmsg, sendmmsg(fd, messages, 1, 0))
ON(on_write_by_syscall, syscall(SYS_write, fd, "x", 1))
ON(on_ioctl, ioctl(fd, FIONREAD, &(int){0}))
ON(on_getfl, fcntl(fd, F_GETFL) & O_NONBLOCK)
ON(on_getfd, fcntl(fd, F_GETFD))
ON(on_setfl, fcntl(fd, F_SETFL, O_NONBLOCK))
ON(on_listen, listen(fd, 1))
ON(on_connect, connect_to(fd, port))
ON(on_dup, (copy = dup(fd)) >= 0)
ON(on_dup2, (copy = dup2(fd, 200)))
ON(on_dup3, (copy = dup3(fd, 201, O_CLOEXEC)))
ON(on_dupfd, (copy = fcntl(fd, F_DUPFD, 202)))
ON(on_nodelay, setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)))
ON(on_shutdown_read, shutdown(fd, SHUT_RD))
ON(on_shutdown_write, shutdown(fd, SHUT_WR))
ON(on_shutdown_both, shutdown(fd, SHUT_RDWR))
ON(on_shutdown_wrongly, shutdown(fd, 3))

static void on_sendfile(int fd)
{
	int file = open("/proc/self/exe", O_RDONLY);

	report("on_sendfile", sendfile(fd, file, NULL, 1));
	close(file);
}

static void on_splice(int fd)
{
	int ends[2];

	if (pipe(ends))
		die("pipe");
	report("on_splice", splice(fd, NULL, ends[1], NULL, 1, SPLICE_F_NONBLOCK));
	close(ends[0]);
	close(ends[1]);
}

static void on_outq(int fd)
{
	int unsent = -1;

	report("on_outq", ioctl(fd, SIOCOUTQNSD, &unsent));
	printf("unsent: %d\n", unsent);
}

static void on_names(int fd)
{
	struct sockaddr_in name = {0};
	socklen_t size = sizeof(name);

	report("getpeername", getpeername(fd, (struct sockaddr *)&name, &size));
	printf("the peer: %d\n", ntohs(name.sin_port) == port);
	report("getsockname", getsockname(fd, (struct sockaddr *)&name, &size));
}

static void on_tcp_info(int fd)
{
	struct tcp_info info = {0};
	socklen_t size = sizeof(info);

	report("getsockopt", getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size));
	printf("established: %d\n", info.tcpi_state == TCP_ESTABLISHED);
}

static void on_error(int fd)
{
	int error = -1;
	socklen_t size = sizeof(error);

	report("getsockopt", getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size));
	printf("SO_ERROR: %d\n", error);
}

static void on_poll(int fd)
{
	struct pollfd polled = {.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP};

	report("poll", poll(&polled, 1, 0));
	printf("events: %x\n", (unsigned)polled.revents);
	polled.revents = 0;
	report("ppoll", ppoll(&polled, 1, &instant, NULL));
	printf("events: %x\n", (unsigned)polled.revents);
}

static void on_select(int fd)
{
	fd_set reading, writing, other;
	struct timeval none = {0};

	FD_ZERO(&reading);
	FD_SET(fd, &reading);
	writing = other = reading;
	report("select", select(fd + 1, &reading, &writing, &other, &none));
	printf("ready: %d %d %d\n", FD_ISSET(fd, &reading), FD_ISSET(fd, &writing),
		FD_ISSET(fd, &other));
	FD_SET(fd, &reading);
	report("pselect", pselect(fd + 1, &reading, NULL, NULL, &instant, NULL));
}

static void show_events(int from)
{
	struct epoll_event events[2] = {0};
	int ready = epoll_wait(from, events, 2, 0);

	report("epoll_wait", ready);
	for (int i = 0; i < ready; i++)
		printf("events: %x, data: %x\n", events[i].events, events[i].data.u32);
}

static void on_epoll(int fd)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.u32 = 0x1234};
	int other = epoll_create1(EPOLL_CLOEXEC);

	report("epoll_ctl", epoll_ctl(other, EPOLL_CTL_ADD, fd, &event));
	show_events(other);
	close(other);
}

static void on_epoll_mod(int fd)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.u32 = 0x4321};

	report("epoll_ctl", epoll_ctl(set, EPOLL_CTL_MOD, fd, &event));
	show_events(set);
}

/* The rest is told by a new shutdown(). */
static void on_options(int fd)
{
	struct linger linger = {.l_onoff = 0};
	int type = 0;
	socklen_t size = sizeof(type);

	report("SO_TYPE", getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size));
	report("SO_LINGER", setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)));
}

static void on_passing(int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = "";
	struct msghdr passing = {.msg_iov = &vector,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&passing);
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		die("socketpair");
	*header = (struct cmsghdr){.cmsg_level = SOL_SOCKET,
		.cmsg_type = SCM_RIGHTS,
		.cmsg_len = CMSG_LEN(sizeof(int))};
	memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	report("sendmsg", sendmsg(pair[0], &passing, 0));
	report("recvmsg", recvmsg(pair[1], &passing, 0));
	memcpy(&copy, CMSG_DATA(header), sizeof(copy));
	close(pair[0]);
	close(pair[1]);
}

static void on_stream(int fd)
{
	int number = dup(fd);
	FILE *stream = fdopen(number, "r");

	report("fgetc", fgetc(stream));
	fclose(stream);
}

/* ---- calls elsewhere ---- */

#define ELSEWHERE(name, expression)                                                                \
	static void name(int fd)                                                                   \
	{                                                                                          \
		(void)fd;                                                                          \
		report(#name, (long)(expression));                                                 \
	}

static struct timeval no_time;

ELSEWHERE(no_poll, poll(NULL, 0, 0))
ELSEWHERE(no_ppoll, ppoll(NULL, 0, &instant, NULL))
ELSEWHERE(no_select, select(0, NULL, NULL, NULL, &no_time))
ELSEWHERE(no_pselect, pselect(0, NULL, NULL, NULL, &instant, NULL))
ELSEWHERE(no_usleep, usleep(1))
ELSEWHERE(no_sleep, (alarm(0), alarm(LIMIT_S), sleep(1)))
ELSEWHERE(no_nanosleep, nanosleep(&instant, NULL))
ELSEWHERE(no_clock_nanosleep, clock_nanosleep(CLOCK_MONOTONIC, 0, &instant, NULL))
ELSEWHERE(no_thrd_sleep, thrd_sleep(&instant, NULL))
ELSEWHERE(no_sleep_by_syscall, syscall(SYS_nanosleep, &instant, NULL))
ELSEWHERE(no_wait, wait(NULL))
ELSEWHERE(no_waitpid, waitpid(-1, NULL, WNOHANG))
ELSEWHERE(no_waitid, waitid(P_ALL, 0, &(siginfo_t){0}, WEXITED))
ELSEWHERE(no_wait3, wait3(NULL, 0, NULL))
ELSEWHERE(no_wait4, wait4(-1, NULL, 0, NULL))

static int spare_set = -1;

ELSEWHERE(no_epoll_wait, epoll_wait(spare_set, &(struct epoll_event){0}, 1, 0))
ELSEWHERE(no_epoll_pwait, epoll_pwait(spare_set, &(struct epoll_event){0}, 1, 0, NULL))
ELSEWHERE(no_epoll_pwait2, epoll_pwait2(spare_set, &(struct epoll_event){0}, 1, &instant, NULL))

static int ends[2];

ELSEWHERE(no_read, read(ends[0], room, 1))
ELSEWHERE(no_readv, readv(ends[0], &vector, 1))

static int pair[2];

ELSEWHERE(no_recv, recv(pair[0], room, 1, 0))
ELSEWHERE(no_recvmsg, recvmsg(pair[0], &message, 0))

static void *nothing(void *argument)
{
	return argument;
}

static pthread_t ended_thread;

static void no_join(int fd)
{
	(void)fd;
	report("no_join", pthread_join(ended_thread, NULL));
	pthread_create(&ended_thread, NULL, nothing, NULL);
}

static void in_child(const char *what, pid_t pid)
{
	int status = -1;

	if (!pid)
		_exit(0);
	waitpid(pid, &status, 0);
	printf("%s: %d, %d\n", what, pid > 0, status);
}

/* The child looks first: what was to be before fork() was. */
static void no_fork(int fd)
{
	pid_t pid = fork();
	int status = -1;

	if (!pid)
		_exit(how != SHUT_RD && !has_ended(fd));
	waitpid(pid, &status, 0);
	printf("no_fork: %d, %d\n", pid > 0, status);
}

static void no_vfork(int fd)
{
	(void)fd;
	in_child("no_vfork", vfork());
}

static void no_spawn(int fd)
{
	char *const argv[] = {(char[]){"true"}, NULL};
	pid_t pid = -1;

	(void)fd;
	report("no_spawn", posix_spawnp(&pid, "true", NULL, NULL, argv, NULL));
	in_child("no_spawn", pid);
}

static void no_system(int fd)
{
	(void)fd;
	report("no_system", system("true"));
}

static void no_exec(int fd)
{
	(void)fd;
	report("no_exec", execl("/nonexistent/program", "program", (char *)NULL));
}

/* ---- the table ---- */

#define CALL(name)                                                                                 \
	{                                                                                          \
#name, name                                                                        \
	}

struct call {
	const char *name;
	void (*make)(int fd);
};

static const struct call on_it[] = {
	CALL(on_read),
	CALL(on_readv),
	CALL(on_recv),
	CALL(on_recv_peek),
	CALL(on_recvfrom),
	CALL(on_recvmsg),
	CALL(on_recvmmsg),
	CALL(on_read_by_syscall),
	CALL(on_write),
	CALL(on_writev),
	CALL(on_send),
	CALL(on_send_nothing),
	CALL(on_send_silently),
	CALL(on_sendto),
	CALL(on_sendmsg),
	CALL(on_sendmmsg),
	CALL(on_write_by_syscall),
	CALL(on_sendfile),
	CALL(on_splice),
	CALL(on_ioctl),
	CALL(on_outq),
	CALL(on_getfl),
	CALL(on_getfd),
	CALL(on_setfl),
	CALL(on_listen),
	CALL(on_connect),
	CALL(on_names),
	CALL(on_tcp_info),
	CALL(on_poll),
	CALL(on_select),
	CALL(on_epoll),
	CALL(on_dup),
	CALL(on_dup2),
	CALL(on_dup3),
	CALL(on_dupfd),
	CALL(on_passing),
	CALL(on_stream),
};

static const struct call elsewhere[] = {
	CALL(no_poll),
	CALL(no_ppoll),
	CALL(no_select),
	CALL(no_pselect),
	CALL(no_epoll_wait),
	CALL(no_epoll_pwait),
	CALL(no_epoll_pwait2),
	CALL(no_usleep),
	CALL(no_nanosleep),
	CALL(no_clock_nanosleep),
	CALL(no_thrd_sleep),
	CALL(no_sleep_by_syscall),
	CALL(no_wait),
	CALL(no_waitpid),
	CALL(no_waitid),
	CALL(no_wait3),
	CALL(no_wait4),
	CALL(no_read),
	CALL(no_readv),
	CALL(no_recv),
	CALL(no_recvmsg),
	CALL(no_join),
	CALL(no_fork),
	CALL(no_vfork),
	CALL(no_spawn),
	CALL(no_system),
	CALL(no_exec),
	CALL(no_sleep),
};

/* After these nothing need have been sent: only what comes next tells. */
static const struct call of_no_account[] = {
	CALL(on_error),
	CALL(on_options),
	CALL(on_nodelay),
	CALL(on_shutdown_read),
	CALL(on_shutdown_write),
	CALL(on_shutdown_both),
	CALL(on_shutdown_wrongly),
};

static int dial_for(const struct call *call)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.u32 = 0x5678};
	int fd = dial_and_fetch();

	printf("-- %s\n", call->name);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	if (set >= 0)
		epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
	pipe_signals = 0;
	return fd;
}

static void show_aftermath(int fd)
{
	on_poll(fd);
	if (set >= 0)
		show_events(set);
	on_recv(fd);
	on_send(fd);
	printf("SIGPIPE: %d\n", (int)pipe_signals);
}

static void make(const struct call *call, bool must)
{
	int fd = dial_for(call);

	report("shutdown", shutdown(fd, how));
	call->make(fd);
	if (must && how != SHUT_RD)
		printf("sent: %d\n", has_ended(fd));
	show_aftermath(fd);
	if (copy >= 0)
		report("close the copy", close(copy));
	copy = -1;
	report("close", close(fd));
}

static void make_all(const struct call *calls, size_t count, bool must)
{
	messages[0].msg_hdr = message;
	spare_set = epoll_create1(EPOLL_CLOEXEC);
	pthread_create(&ended_thread, NULL, nothing, NULL);
	if (pipe(ends) || write(ends[1], room, 16) != 16)
		die("pipe");
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || write(pair[1], room, 16) != 16)
		die("socketpair");
	for (size_t i = 0; i < count; i++)
		make(&calls[i], must);
}

static void with_it(void)
{
	make_all(on_it, COUNT(on_it), true);
	if (set >= 0)
		make(&(struct call)CALL(on_epoll_mod), true);
}

static void with_others(void)
{
	make_all(elsewhere, COUNT(elsewhere), true);
}

static void without_account(void)
{
	make_all(of_no_account, COUNT(of_no_account), false);
}

/* One is shut down, and another one's calls come before its close(). */
static void two_at_once(void)
{
	for (int i = 0; i < 2; i++) {
		int first = dial_and_fetch(), second = dial_and_fetch();

		report("shutdown", shutdown(first, how));
		report("shutdown", shutdown(second, how));
		on_poll(i ? first : second);
		if (how != SHUT_RD)
			printf("sent: %d %d\n", has_ended(first), has_ended(second));
		report("close", close(first));
		report("close", close(second));
	}
}

/* More than anyone would make a list of. */
static void forty_at_once(void)
{
	int fds[40], sent = 0;

	for (size_t i = 0; i < COUNT(fds); i++)
		fds[i] = dial_and_fetch();
	for (size_t i = 0; i < COUNT(fds); i++)
		report("shutdown", shutdown(fds[i], how));
	poll(NULL, 0, 0);
	for (size_t i = 0; i < COUNT(fds); i++) {
		sent += how == SHUT_RD || has_ended(fds[i]);
		on_recv_now(fds[i]);
		report("close", close(fds[i]));
	}
	printf("sent: %d\n", sent);
}

/* Nothing has been answered on it, or something is still to come. */
static void not_idle(void)
{
	int fd = dial();

	report("shutdown", shutdown(fd, how));
	printf("sent: %d\n", how == SHUT_RD || has_ended(fd));
	close(fd);
	fd = dial();
	request(fd, "GET", "/bytes/10");
	report("shutdown", shutdown(fd, how));
	printf("sent: %d\n", how == SHUT_RD || has_ended(fd));
	close(fd);
	fd = dial_and_fetch();
	send_text(fd, "GET /half HTT");
	report("shutdown", shutdown(fd, how));
	printf("sent: %d\n", how == SHUT_RD || has_ended(fd));
	close(fd);
}

static const struct scenario scenarios[] = {
	{"with_it", with_it},
	{"with_others", with_others},
	{"without_account", without_account},
	{"two_at_once", two_at_once},
	{"forty_at_once", forty_at_once},
	{"not_idle", not_idle},
};

int main(int argc, char **argv)
{
	alarm(LIMIT_S);
	signal(SIGPIPE, count_signal);
	how = how_of(argc > 4 ? argv[4] : "WR");
	if (argc > 5 && !strcmp(argv[5], "in_set"))
		set = epoll_create1(EPOLL_CLOEXEC);
	return run_scenario(argc, argv, scenarios, COUNT(scenarios));
}

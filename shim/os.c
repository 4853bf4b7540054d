#include "shim/os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

#include "pool/connection.h"
#include "pool/layout.h"
#include "pool/proof.h"
#include "shim/fdinfo.h"
#include "shim/fdtable.h"
#include "shim/keeper.h"
#include "shim/libc.h"
#include "shim/log.h"
#include "shim/process.h"
#include "shim/raw.h"
#include "shim/waiting.h"

/* High, so that the program's own numbers stay as low as they would be, also those for select(2),
 * which end at 1024; but no higher, as the kernel's table of descriptors reaches to the highest,
 * and fork copies it. */
#define HIDDEN_BASE_MOST 1024

/* Where hidden numbers begin, and where they end: a part of the last fifth stays free for files
 * that are opened by calls which cannot be seen, and so find no room made. */
static _Atomic int hidden_base = HIDDEN_BASE_MOST;
static _Atomic int hidden_end = FDTABLE_SIZE;
static _Atomic int crowded_from = INT_MAX;

#define CROWDED_MARGIN 8

static int at_most(rlim_t value, int most)
{
	return value < (rlim_t)most ? (int)value : most;
}

HOT long os_measure_room(void)
{
	struct rlimit limit = {.rlim_cur = 1024};

	RAW4(prlimit64, 0, RLIMIT_NOFILE, NULL, &limit);
	rlim_t fifth = limit.rlim_cur / 5, quarter = limit.rlim_cur / 4;
	/* A little before, as libc may need some at a time where it is not seen. */
	rlim_t margin = quarter < CROWDED_MARGIN ? quarter : CROWDED_MARGIN;
	atomic_store(&crowded_from, at_most(limit.rlim_cur - fifth - margin, INT_MAX));
	atomic_store(&hidden_base, at_most(limit.rlim_cur - fifth, HIDDEN_BASE_MOST));
	atomic_store(&hidden_end, at_most(limit.rlim_cur - fifth / 4, FDTABLE_SIZE));
	return at_most(fifth, FDTABLE_SIZE);
}

HOT bool os_is_crowded(int fd)
{
	return fd >= atomic_load_explicit(&crowded_from, memory_order_relaxed);
}

HOT int os_hidden_from(void)
{
	return atomic_load_explicit(&hidden_base, memory_order_relaxed);
}

HOT bool os_may_hide(int fd)
{
	return fd >= atomic_load_explicit(&hidden_base, memory_order_relaxed) &&
	       fd < atomic_load_explicit(&hidden_end, memory_order_relaxed);
}

/* A page that a forked child finds empty: madvise(2), MADV_WIPEONFORK. */
static _Atomic uint32_t *memory_mark;

HOT void os_mark_memory(void)
{
	const size_t page = 4096;
	long mark =
		RAW6(mmap, NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mark < 0)
		return;
	if (RAW3(madvise, mark, page, MADV_WIPEONFORK) < 0) {
		RAW2(munmap, mark, page);
		return;
	}
	memory_mark = (_Atomic uint32_t *)mark;
	atomic_store(memory_mark, 1);
}

HOT bool os_claim_copied_memory(void)
{
	uint32_t wiped = 0;

	return memory_mark && atomic_load_explicit(memory_mark, memory_order_relaxed) == 0 &&
	       atomic_compare_exchange_strong(memory_mark, &wiped, 1);
}

static uint64_t in_ms(const struct timespec *time)
{
	return (uint64_t)time->tv_sec * 1000 + (uint64_t)time->tv_nsec / 1000000;
}

static uint64_t kernels_now_ms(void)
{
	struct timespec now = {0};

	RAW2(clock_gettime, CLOCK_BOOTTIME, &now);
	return in_ms(&now);
}

static _Thread_local bool is_bare;
static _Atomic uint64_t ahead_of_kernel;

static uint64_t now_ms(void)
{
	struct timespec now = {0};

	if (is_bare)
		return kernels_now_ms() + atomic_load(&ahead_of_kernel);
	/* vDSO: no system call, and it cannot fail. */
	clock_gettime(CLOCK_BOOTTIME, &now);
	return in_ms(&now);
}

void os_before_bare_thread(void)
{
	atomic_store(&ahead_of_kernel, now_ms() - kernels_now_ms());
}

void os_in_bare_thread(void)
{
	is_bare = true;
}

static void *map(size_t size)
{
	long result =
		RAW6(mmap, NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return result < 0 ? NULL : (void *)result;
}

static _Thread_local uint32_t cached_thread_id;

HOT static uint32_t thread_id(void)
{
	if (!cached_thread_id)
		cached_thread_id = (uint32_t)RAW0(gettid);
	return cached_thread_id;
}

HOT void os_after_fork_in_child(void)
{
	cached_thread_id = 0;
}

static void wait_on(_Atomic uint32_t *word, uint32_t expected, unsigned timeout_ms)
{
	struct timespec timeout = {
		.tv_sec = timeout_ms / 1000,
		.tv_nsec = (long)(timeout_ms % 1000) * 1000000,
	};

	RAW4(futex, word, FUTEX_WAIT_PRIVATE, expected, &timeout);
}

static void wake_one(_Atomic uint32_t *word)
{
	RAW3(futex, word, FUTEX_WAKE_PRIVATE, 1);
}

/* What the pool cannot do without is forbidden by a sandbox (seccomp(2), a security module): then
 * it does nothing any more. */
HOT static long permitted(long result)
{
	if (result == -EPERM || result == -ENOSYS || result == -EACCES)
		process_turn_off("a system call that it needs is not permitted");
	return result;
}

#define BIT(signal) (1ULL << ((signal)-1))

/* How often they are blocked, by this thread. */
static _Thread_local uint32_t blocked;

static uint64_t block_signals(void)
{
	/* Not those that an instruction or a system call of our own may raise: while blocked they
	 * kill (signal(7)), and a sandbox may answer system calls by SIGSYS. */
	const uint64_t block = ~(BIT(SIGSYS) | BIT(SIGSEGV) | BIT(SIGBUS) | BIT(SIGILL) |
				 BIT(SIGFPE) | BIT(SIGTRAP));
	uint64_t before = 0;

	if (blocked == 0)
		permitted(RAW4(rt_sigprocmask, SIG_BLOCK, &block, &before, sizeof(block)));
	/* Only now, as a handler that jumps away just before would leave it behind. */
	blocked++;
	return before;
}

static void restore_signals(uint64_t blocked_before)
{
	if (--blocked == 0)
		RAW4(rt_sigprocmask, SIG_SETMASK, &blocked_before, NULL, sizeof(blocked_before));
}

HOT static int get_option(int fd, int level, int name, void *value, socklen_t *size)
{
	return (int)permitted(RAW5(getsockopt, fd, level, name, value, size));
}

static int set_option(int fd, int level, int name, const void *value, socklen_t size)
{
	return (int)RAW5(setsockopt, fd, level, name, value, size);
}

static int get_status_flags(int fd)
{
	return (int)permitted(RAW2(fcntl, fd, F_GETFL));
}

static int set_status_flags(int fd, int flags)
{
	return (int)RAW3(fcntl, fd, F_SETFL, flags);
}

static int get_descriptor_flags(int fd)
{
	return (int)permitted(RAW2(fcntl, fd, F_GETFD));
}

static int watch(int epfd, int op, int fd, struct epoll_event *event)
{
	return (int)RAW4(epoll_ctl, epfd, op, fd, event);
}

static int peek(int fd)
{
	char byte;

	return (int)permitted(RAW6(recvfrom, fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT, NULL, NULL));
}

static int unacknowledged(int fd)
{
	int bytes = 0;
	long result = RAW3(ioctl, fd, SIOCOUTQ, &bytes);

	return result < 0 ? (int)result : bytes;
}

/* Makes the table forget the hidden number. */
static void unhide(struct connection *connection, int number)
{
	fdtable_change(number, connection, NULL);
	atomic_store_explicit(&connection->hidden, -1, memory_order_release);
}

static int hide_now(struct connection *connection, int fd)
{
	int number = (int)permitted(RAW3(fcntl, fd, F_DUPFD_CLOEXEC, atomic_load(&hidden_base)));

	if (number < 0)
		return number;
	if (number >= atomic_load(&hidden_end)) {
		RAW1(close, number);
		return -EMFILE;
	}
	atomic_store_explicit(&connection->hidden, number, memory_order_release);
	process_displace(number, connection);
	return number;
}

static int hide(struct connection *connection, int fd)
{
	if (!fdtable_begin_hiding())
		return -EBUSY;
	int number = hide_now(connection, fd);
	if (number >= 0)
		keeper_watch(number);
	fdtable_end_hiding();
	return number;
}

/* It is closed before it is forgotten: as long as it is open nobody else can close it. Whoever has
 * a file there in the next instant is told from us by the socket's identity. */
static void discard(struct connection *connection)
{
	int number = atomic_load_explicit(&connection->hidden, memory_order_relaxed);

	keeper_forget(number);
	RAW1(close, number);
	unhide(connection, number);
}

static void lose(struct connection *connection)
{
	int number = atomic_load_explicit(&connection->hidden, memory_order_relaxed);

	keeper_forget(number);
	unhide(connection, number);
}

static int reveal(struct connection *connection, int fd, bool close_on_exec)
{
	int number = atomic_load_explicit(&connection->hidden, memory_order_relaxed);

	if (connection->predecessor && connection->uses == 1)
		waiting_note_exchange();
	/* Also where it says EBUSY, as somebody else is opening a file with that number: then fd is
	 * not the socket any more that it was. */
	long result = permitted(RAW3(dup3, number, fd, close_on_exec ? O_CLOEXEC : 0));

	if (result < 0)
		return (int)result;
	/* Before it is in the table, where another thread can close it, and hide it again. */
	discard(connection);
	return 0;
}

static int exchange(struct connection *connection, struct connection *fresh, int fd)
{
	return fdtable_change(fd, fresh, connection) ? 0 : -ESTALE;
}

static void forget(struct connection *connection, int fd)
{
	fdtable_change(fd, connection, NULL);
}

static int close_number(int fd)
{
	int saved_errno = errno, cancel_state;

	/* The next one in line, as a library below us may keep books of its own; but cancelled in
	 * the middle of parking the connection would be lost. */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
	int result = libc()->close(fd) < 0 ? -errno : 0;
	errno = saved_errno;
	pthread_setcancelstate(cancel_state, NULL);
	return result;
}

/* ---- a new socket in the place of a reused one ---- */

static int open_now(struct connection *connection)
{
	int low = (int)permitted(RAW3(
		socket, atomic_load(&connection->family), SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP));

	if (low < 0)
		return low;
	connection->cookie = proof_cookie(&real_os, low);
	int number = hide_now(connection, low);
	if (number == -EMFILE || number == -EINVAL) {
		/* The last number there is will do, for the moment that it takes. */
		atomic_store_explicit(&connection->hidden, low, memory_order_release);
		process_displace(low, connection);
		return low;
	}
	RAW1(close, low);
	return number;
}

/* Closed in between, the low number could be another file's. */
static int open_hidden(struct connection *connection)
{
	if (!fdtable_begin_hiding())
		return -EBUSY;
	int number = open_now(connection);
	fdtable_end_hiding();
	return number;
}

static int bind_to(int fd, const struct endpoint *local)
{
	struct sockaddr_storage address;
	socklen_t len = endpoint_to(local, &address);

	return (int)RAW3(bind, fd, &address, len);
}

static int connect_to(int fd, const struct endpoint *peer)
{
	struct sockaddr_storage address;
	socklen_t len = endpoint_to(peer, &address);

	return (int)RAW3(connect, fd, &address, len);
}

#define AFTER_SIGNAL_MS 4000

/* 0; -ETIMEDOUT; or how that failed. A signal handler that runs meanwhile does not end it, but
 * shortens it. */
static int await_writable(int fd, long timeout_ms, bool *interrupted)
{
	struct pollfd writable = {.fd = fd, .events = POLLOUT};
	uint64_t now = now_ms(), deadline = now + (uint64_t)timeout_ms;

	for (; now < deadline; now = now_ms()) {
		struct timespec left = {
			.tv_sec = (time_t)(deadline - now) / 1000,
			.tv_nsec = (long)((deadline - now) % 1000) * 1000000,
		};
		long result = RAW5(ppoll, &writable, 1, &left, NULL, sizeof(uint64_t));
		if (result > 0)
			return 0;
		if (result < 0 && result != -EINTR)
			return (int)result;
		if (result == 0 || !interrupted)
			continue;
		if (!*interrupted && now + AFTER_SIGNAL_MS < deadline)
			deadline = now + AFTER_SIGNAL_MS;
		*interrupted = true;
	}
	return -ETIMEDOUT;
}

static int await_connection(int fd, long timeout_ms, bool *interrupted)
{
	int error = 0;
	socklen_t size = sizeof(error);
	int result = await_writable(fd, timeout_ms, interrupted);

	if (result == 0)
		result = (int)RAW5(getsockopt, fd, SOL_SOCKET, SO_ERROR, &error, &size);
	return result < 0 ? result : -error;
}

static int connect_patiently(
	int fd, const struct endpoint *peer, void (*abandon)(void *), void *what)
{
	struct sockaddr_storage address;
	socklen_t len = endpoint_to(peer, &address);
	int saved_errno = errno, error;

	pthread_cleanup_push(abandon, what);
	error = libc()->connect(fd, (const struct sockaddr *)&address, len) < 0 ? errno : 0;
	pthread_cleanup_pop(0);
	errno = saved_errno;
	return error == EISCONN ? 0 : -error;
}

/* Signals are blocked, so SIGPIPE stays pending, and is taken away. */
static long write_to(int fd, const void *data, size_t len)
{
	const uint64_t pipe = BIT(SIGPIPE);
	const struct timespec at_once = {0};
	uint64_t pending = 0;

	RAW2(rt_sigpending, &pending, sizeof(pending));
	long sent = RAW3(write, fd, data, len);
	if (sent == -EPIPE && !(pending & pipe))
		RAW4(rt_sigtimedwait, &pipe, NULL, &at_once, sizeof(pipe));
	return sent;
}

static long send_to(int fd, const void *data, size_t len, long timeout_ms)
{
	const int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
	long sent;

	while ((sent = RAW6(sendto, fd, data, len, flags, NULL, 0)) == -EAGAIN)
		if (await_writable(fd, timeout_ms, NULL) < 0)
			return -ETIMEDOUT;
	/* A sandbox may know write() only, as the program does. */
	return sent == -EPERM ? write_to(fd, data, len) : sent;
}

static long look_ahead(int fd, void *data, size_t len)
{
	return RAW6(recvfrom, fd, data, len, MSG_PEEK | MSG_DONTWAIT, NULL, NULL);
}

static long receive_now(int fd, void *data, size_t len)
{
	return RAW6(recvfrom, fd, data, len, MSG_DONTWAIT, NULL, NULL);
}

static int shut_down(int fd, int how)
{
	return (int)RAW2(shutdown, fd, how);
}

static void yield(void)
{
	RAW0(sched_yield);
}

static void wake_all(_Atomic uint32_t *word)
{
	RAW3(futex, word, FUTEX_WAKE_PRIVATE, INT_MAX);
}

int os_copy_to_hidden(int number)
{
	return (int)RAW3(fcntl, number, F_DUPFD_CLOEXEC, atomic_load(&hidden_base));
}

int os_move_to_hidden(int low)
{
	if (low < 0)
		return low;
	int number = os_copy_to_hidden(low);
	RAW1(close, low);
	return number;
}

void os_log(int level, const struct connection *connection, const char *event, const char *why)
{
	char data[96];
	struct text peer = {.data = data, .size = sizeof(data) - 1};

	if (!log_wants(level))
		return;
	if (connection->peer.family) {
		endpoint_add_address(&peer, &connection->peer);
		text_add(&peer, " port ");
		text_add_number(&peer, endpoint_port(&connection->peer));
	}
	data[peer.len] = '\0';
	log_line(level, event, " ", data, *why ? ": " : "", why, NULL);
}

static void note(const struct connection *connection, const char *event, const char *why)
{
	os_log(2, connection, event, why);
}

const struct pool_os real_os = {
	.now_ms = now_ms,
	.may_act = process_may_pool,
	.map = map,
	.thread_id = thread_id,
	.wait = wait_on,
	.wake = wake_one,
	.block_signals = block_signals,
	.restore_signals = restore_signals,
	.get_option = get_option,
	.set_option = set_option,
	.get_status_flags = get_status_flags,
	.set_status_flags = set_status_flags,
	.get_descriptor_flags = get_descriptor_flags,
	.watch = watch,
	.watched_events = fdinfo_watched_events,
	.peek = peek,
	.unacknowledged = unacknowledged,
	.hide = hide,
	.reveal = reveal,
	.exchange = exchange,
	.discard = discard,
	.lose = lose,
	.forget = forget,
	.close = close_number,
	.open_hidden = open_hidden,
	.bind = bind_to,
	.connect = connect_to,
	.await_connection = await_connection,
	.connect_patiently = connect_patiently,
	.send = send_to,
	.shut_down = shut_down,
	.receive = receive_now,
	.look_ahead = look_ahead,
	.yield = yield,
	.wake_all = wake_all,
	.note = note,
};

#include "tests/unit/fake_os.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define AT_BEGINNING                                                                               \
	{                                                                                          \
		.now_ms = 1000000, .thread_id = 1                                                  \
	}

struct fake fake = AT_BEGINNING;

void fake_reset(void)
{
	fake = (struct fake)AT_BEGINNING;
}

static void run_once(void (**happening)(void))
{
	void (*run)(void) = *happening;

	*happening = NULL;
	if (run)
		run();
}

/* 0, or the error that the test wants. */
static int begin_waiting(enum fake_call call)
{
	fake.calls[call]++;
	run_once(&fake.before[call]);
	if (!fake.error[call])
		return 0;
	if (fake.skip[call] > 0) {
		fake.skip[call]--;
		return 0;
	}
	return fake.error[call];
}

/* The same, for a call that is not to be made under the lock: a forked child has no other threads,
 * and works through its lists with the lock that its parent took. */
static int begin(enum fake_call call)
{
	if (fake.pool && atomic_load(&fake.pool->fork_owner) == 0)
		cr_assert_eq(atomic_load(&fake.pool->lock.word), 0,
			"system call %d was made under the lock", call);
	return begin_waiting(call);
}

static int end(enum fake_call call, int result)
{
	run_once(&fake.after[call]);
	return result;
}

static struct fake_socket *socket_of(int fd)
{
	return fd >= 0 && fd < FAKE_DESCRIPTORS ? fake.descriptors[fd].socket : NULL;
}

/* ---- descriptors ---- */

static int lowest_free(int first, int last)
{
	for (int fd = first; fd <= last; fd++)
		if (!fake.descriptors[fd].socket)
			return fd;
	return -EMFILE;
}

static struct fake_socket *new_socket(void)
{
	struct fake_socket *socket = mmap(
		NULL, sizeof(*socket), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	cr_assert(socket != MAP_FAILED);
	/* Those of consecutive sockets have the same remainder by 21, on which the lease's length
	 * depends: all have just the lease that the settings say. */
	fake.last_cookie += fake.last_cookie ? 21 : 31;
	/* The rest is 0, and most of it is never touched. */
	socket->references = 1;
	socket->cookie = fake.last_cookie;
	socket->status_flags = O_RDWR;
	socket->peek = -EAGAIN;
	socket->info_size = sizeof(socket->info);
	socket->info.tcpi_state = FAKE_CLOSE;
	return socket;
}

int fake_socket(void)
{
	int fd = lowest_free(3, FAKE_HIDDEN_FIRST - 1);

	cr_assert_geq(fd, 0, "no descriptor is left");
	fake.descriptors[fd] = (struct fake_descriptor){.socket = new_socket()};
	return fd;
}

static void let_go(struct fake_socket *socket)
{
	if (--socket->references > 0)
		return;
	for (unsigned i = 0; i < FAKE_REGISTRATIONS; i++)
		if (fake.registrations[i].socket == socket)
			fake.registrations[i].socket = NULL;
	munmap(socket, sizeof(*socket));
}

void fake_close(int fd)
{
	struct fake_socket *socket = socket_of(fd);

	cr_assert(socket, "number %d was closed, and is not open", fd);
	fake.descriptors[fd].socket = NULL;
	let_go(socket);
}

void fake_replace(int fd)
{
	fake_close(fd);
	fake.descriptors[fd].socket = new_socket();
}

unsigned fake_hidden_count(void)
{
	unsigned count = 0;

	for (int fd = FAKE_HIDDEN_FIRST; fd < FAKE_DESCRIPTORS; fd++)
		count += fake_is_open(fd);
	return count;
}

unsigned fake_registered(const struct fake_socket *socket)
{
	unsigned count = 0;

	for (unsigned i = 0; i < FAKE_REGISTRATIONS; i++)
		count += fake.registrations[i].socket == socket;
	return count;
}

/* ---- options ---- */

static struct fake_option *find_option(struct fake_socket *socket, int level, int name)
{
	for (unsigned i = 0; i < socket->option_count; i++)
		if (socket->options[i].level == level && socket->options[i].name == name)
			return &socket->options[i];
	return NULL;
}

static int give_value(void *value, socklen_t *size, const void *from, socklen_t from_size)
{
	if (*size > from_size)
		*size = from_size;
	memcpy(value, from, *size);
	return 0;
}

static int read_option(int fd, int level, int name, void *value, socklen_t *size)
{
	static const int unset = FAKE_DEFAULT;
	struct fake_socket *socket = socket_of(fd);

	if (!socket)
		return -EBADF;
	if (level == SOL_SOCKET && name == SO_COOKIE)
		return give_value(value, size, &socket->cookie, sizeof(socket->cookie));
	if (level == IPPROTO_TCP && name == TCP_INFO)
		return give_value(value, size, &socket->info, socket->info_size);
	const struct fake_option *option = find_option(socket, level, name);
	return option ? give_value(value, size, option->value, option->size)
		      : give_value(value, size, &unset, sizeof(unset));
}

int fake_option(int fd, int level, int name)
{
	int value = 0;
	socklen_t size = sizeof(value);

	cr_assert_eq(read_option(fd, level, name, &value, &size), 0);
	return value;
}

static uint64_t block_signals(void)
{
	fake.signals_blocked++;
	return 1;
}

static void restore_signals(uint64_t blocked_before)
{
	cr_assert_eq(blocked_before, 1);
	if (--fake.signals_blocked == 0)
		end(FAKE_RESTORE_SIGNALS, 0);
}

static int get_option(int fd, int level, int name, void *value, socklen_t *size)
{
	int error = begin(FAKE_GET_OPTION);

	return end(FAKE_GET_OPTION, error ? error : read_option(fd, level, name, value, size));
}

static int set_option(int fd, int level, int name, const void *value, socklen_t size)
{
	int error = begin(FAKE_SET_OPTION);
	struct fake_socket *socket = socket_of(fd);

	if (error)
		return error;
	if (!socket)
		return -EBADF;
	struct fake_option *option = find_option(socket, level, name);
	if (!option) {
		cr_assert_lt(socket->option_count, FAKE_OPTIONS);
		option = &socket->options[socket->option_count++];
	}
	*option = (struct fake_option){.level = level, .name = name, .size = size};
	memcpy(option->value, value, size);
	return end(FAKE_SET_OPTION, 0);
}

static int get_status_flags(int fd)
{
	int error = begin(FAKE_GET_STATUS_FLAGS);
	struct fake_socket *socket = socket_of(fd);

	return error ? error : socket ? socket->status_flags : -EBADF;
}

static int set_status_flags(int fd, int flags)
{
	int error = begin(FAKE_SET_STATUS_FLAGS);
	struct fake_socket *socket = socket_of(fd);

	if (error || !socket)
		return error ? error : -EBADF;
	socket->status_flags = flags;
	return 0;
}

static int get_descriptor_flags(int fd)
{
	int error = begin(FAKE_GET_DESCRIPTOR_FLAGS);

	return error ? error : socket_of(fd) ? fake.descriptors[fd].flags : -EBADF;
}

/* ---- epoll ---- */

static struct fake_registration *find_registration(int epfd, int fd, struct fake_socket *socket)
{
	for (unsigned i = 0; i < FAKE_REGISTRATIONS; i++) {
		struct fake_registration *registration = &fake.registrations[i];
		if (registration->socket == socket && registration->epfd == epfd &&
			registration->fd == fd)
			return registration;
	}
	return NULL;
}

static int change_registration(int epfd, int op, int fd, const struct epoll_event *event)
{
	struct fake_socket *socket = socket_of(fd);
	struct fake_registration *registration = find_registration(epfd, fd, socket);

	if (!socket)
		return -EBADF;
	if (op != EPOLL_CTL_ADD && !registration)
		return -ENOENT;
	if (op == EPOLL_CTL_ADD && registration)
		return -EEXIST;
	for (unsigned i = 0; !registration; i++) {
		cr_assert_lt(i, FAKE_REGISTRATIONS);
		if (!fake.registrations[i].socket)
			registration = &fake.registrations[i];
	}
	*registration = (struct fake_registration){
		.epfd = epfd,
		.fd = fd,
		.socket = op == EPOLL_CTL_DEL ? NULL : socket,
		.event = *event,
	};
	return 0;
}

static int watch(int epfd, int op, int fd, struct epoll_event *event)
{
	int error = begin(FAKE_WATCH);

	return end(FAKE_WATCH, error ? error : change_registration(epfd, op, fd, event));
}

static int watched_events(int epfd, int fd, uint32_t *events)
{
	const struct fake_registration *registration = find_registration(epfd, fd, socket_of(fd));

	if (!registration || !socket_of(fd))
		return -ENOENT;
	*events = registration->event.events;
	return 0;
}

/* ---- what happens to connections ---- */

/* What recv(2) says without a byte; or 1. */
static int next_of(const struct fake_socket *socket)
{
	if (!socket)
		return -EBADF;
	return socket->coming_len > 0 ? 1 : socket->peek;
}

static int peek(int fd)
{
	int error = begin(FAKE_PEEK);

	return end(FAKE_PEEK, error ? error : next_of(socket_of(fd)));
}

static int unacknowledged(int fd)
{
	const struct fake_socket *socket = socket_of(fd);

	if (!socket)
		return -EBADF;
	/* The SYN is counted in what was acknowledged. */
	return (int)(socket->sent_len + 1 - socket->info.tcpi_bytes_acked);
}

static long look_ahead(int fd, void *data, size_t len)
{
	int error = begin(FAKE_LOOK_AHEAD);
	const struct fake_socket *socket = socket_of(fd);

	if (error)
		return error;
	if (!socket || socket->coming_len == 0)
		return next_of(socket);
	if (len > socket->coming_len)
		len = socket->coming_len;
	memcpy(data, socket->coming, len);
	return end(FAKE_LOOK_AHEAD, (int)len);
}

void fake_say(int fd, const char *text, size_t len)
{
	struct fake_socket *socket = socket_of(fd);

	cr_assert(socket);
	/* What is still unread goes on with it. */
	if (socket->coming_len > 0)
		cr_assert_eq(socket->coming + socket->coming_len, text);
	else
		socket->coming = text;
	socket->coming_len += len;
	socket->info.tcpi_bytes_received += len;
}

long fake_receive(int fd, void *data, size_t len)
{
	struct fake_socket *socket = socket_of(fd);
	int next = next_of(socket);

	if (next <= 0)
		return next;
	cr_assert(socket->coming_len > 0, "what has come was not said");
	if (len > socket->coming_len)
		len = socket->coming_len;
	memcpy(data, socket->coming, len);
	socket->coming += len;
	socket->coming_len -= len;
	return (long)len;
}

static long receive_now(int fd, void *data, size_t len)
{
	int error = begin(FAKE_RECEIVE);

	return error ? error : end(FAKE_RECEIVE, (int)fake_receive(fd, data, len));
}

static void establish(struct fake_socket *socket)
{
	socket->info.tcpi_state = FAKE_ESTABLISHED;
	socket->info.tcpi_bytes_acked = 1;
}

long fake_send(int fd, const void *data, size_t len, bool not_to_wait)
{
	struct fake_socket *socket = socket_of(fd);

	if (!socket)
		return -EBADF;
	if (socket->send_error)
		return socket->send_error;
	if (socket->info.tcpi_state == FAKE_SYN_SENT) {
		if (not_to_wait || socket->status_flags & O_NONBLOCK)
			return -EAGAIN;
		establish(socket);
	}
	cr_assert_leq(len, FAKE_SENT_MOST - socket->sent_len);
	memcpy(socket->sent + socket->sent_len, data, len);
	socket->sent_len += len;
	socket->info.tcpi_bytes_sent += len;
	socket->info.tcpi_bytes_acked += len;
	return (long)len;
}

static int hide(struct connection *connection, int fd)
{
	int error = begin(FAKE_HIDE);
	int number = lowest_free(FAKE_HIDDEN_FIRST, FAKE_DESCRIPTORS - 1);
	struct fake_socket *socket = socket_of(fd);

	if (error || number < 0)
		return error ? error : number;
	socket->references++;
	fake.descriptors[number] = (struct fake_descriptor){
		.socket = socket, .flags = FD_CLOEXEC, .connection = connection};
	atomic_store(&connection->hidden, number);
	return end(FAKE_HIDE, number);
}

static int unhide(struct connection *connection)
{
	int number = atomic_exchange(&connection->hidden, -1);

	if (number >= 0 && fake.descriptors[number].connection == connection)
		fake.descriptors[number].connection = NULL;
	return number;
}

static void put_on(int fd, struct fake_socket *socket, bool close_on_exec)
{
	if (fake_is_open(fd))
		fake_close(fd);
	socket->references++;
	fake.descriptors[fd].socket = socket;
	fake.descriptors[fd].flags = close_on_exec ? FD_CLOEXEC : 0;
}

static int reveal(struct connection *connection, int fd, bool close_on_exec)
{
	int error = begin(FAKE_REVEAL);
	int number = atomic_load(&connection->hidden);

	if (error)
		return error;
	cr_assert(fake_is_open(number));
	put_on(fd, fake_socket_on(number), close_on_exec);
	/* Before it is in the table, where another thread can close it, and hide it again. */
	fake_close(unhide(connection));
	return end(FAKE_REVEAL, 0);
}

static int exchange(struct connection *connection, struct connection *fresh, int fd)
{
	int error = begin(FAKE_EXCHANGE);

	if (error || fake.descriptors[fd].connection != fresh)
		return -ESTALE;
	fake.descriptors[fd].connection = connection;
	return end(FAKE_EXCHANGE, 0);
}

static void discard(struct connection *connection)
{
	begin(FAKE_DISCARD);
	fake_close(unhide(connection));
	end(FAKE_DISCARD, 0);
}

static void lose(struct connection *connection)
{
	begin(FAKE_LOSE);
	unhide(connection);
	end(FAKE_LOSE, 0);
}

static void forget(struct connection *connection, int fd)
{
	begin(FAKE_FORGET);
	if (fake.descriptors[fd].connection == connection)
		fake.descriptors[fd].connection = NULL;
	end(FAKE_FORGET, 0);
}

/* Like close(2), it closes the number whatever it says. */
static int close_number(int fd)
{
	int error = begin(FAKE_CLOSE_NUMBER);

	fake_close(fd);
	return end(FAKE_CLOSE_NUMBER, error);
}

/* ---- a new socket in the place of a reused one ---- */

static int open_hidden(struct connection *connection)
{
	int error = begin(FAKE_OPEN_HIDDEN);
	int number = lowest_free(FAKE_HIDDEN_FIRST, FAKE_DESCRIPTORS - 1);

	if (error || number < 0)
		return error ? error : number;
	fake.descriptors[number] = (struct fake_descriptor){
		.socket = new_socket(), .flags = FD_CLOEXEC, .connection = connection};
	fake_socket_on(number)->family = atomic_load(&connection->family);
	connection->cookie = fake_socket_on(number)->cookie;
	atomic_store(&connection->hidden, number);
	return end(FAKE_OPEN_HIDDEN, number);
}

static int bind_to(int fd, const struct endpoint *local)
{
	int error = begin(FAKE_BIND);
	struct fake_socket *socket = socket_of(fd);

	if (error || !socket)
		return error ? error : -EBADF;
	socket->local = *local;
	return end(FAKE_BIND, 0);
}

/* As Linux does it, a non-blocking one never connects at once. */
static int connect_to(int fd, const struct endpoint *peer)
{
	int error = begin(FAKE_CONNECT);
	struct fake_socket *socket = socket_of(fd);

	if (error || !socket)
		return error ? error : -EBADF;
	socket->peer = *peer;
	if (!(socket->status_flags & O_NONBLOCK)) {
		establish(socket);
		return end(FAKE_CONNECT, 0);
	}
	socket->info.tcpi_state = FAKE_SYN_SENT;
	return end(FAKE_CONNECT, -EINPROGRESS);
}

/* Who waits has the open file, whatever becomes of its number meanwhile: that is what happens
 * before the call. */
static int begin_waiting_for(enum fake_call call, struct fake_socket *socket)
{
	if (!socket)
		return -EBADF;
	socket->references++;
	return begin(call);
}

static int end_waiting_for(enum fake_call call, struct fake_socket *socket, int error)
{
	if (!socket)
		return error;
	if (error == 0)
		establish(socket);
	let_go(socket);
	return error ? error : end(call, 0);
}

static int await_connection(int fd, long timeout_ms, bool *interrupted)
{
	struct fake_socket *socket = socket_of(fd);
	int error = begin_waiting_for(FAKE_AWAIT_CONNECTION, socket);

	fake.awaited_ms = timeout_ms;
	if (interrupted && fake.interrupts)
		*interrupted = true;
	return end_waiting_for(FAKE_AWAIT_CONNECTION, socket, error);
}

/* The thread that is cancelled ends in that: what happens is fake.cancelled(). */
static int connect_patiently(
	int fd, const struct endpoint *peer, void (*abandon)(void *), void *what)
{
	struct fake_socket *socket = socket_of(fd);

	cr_assert_eq(fake.signals_blocked, 0, "handlers run meanwhile");
	cr_assert(!socket || !(socket->status_flags & O_NONBLOCK), "it would not wait");
	cr_assert(!socket || memcmp(&socket->peer, peer, sizeof(*peer)) == 0);
	int error = begin_waiting_for(FAKE_CONNECT_PATIENTLY, socket);
	if (fake.cancelled) {
		abandon(what);
		fake.cancelled();
	}
	return end_waiting_for(FAKE_CONNECT_PATIENTLY, socket, error);
}

static long send_to(int fd, const void *data, size_t len, long timeout_ms)
{
	int error = begin(FAKE_SEND);

	cr_assert(timeout_ms >= 0);
	if (error)
		return error;
	if (fake.send_most > 0 && len > fake.send_most)
		len = fake.send_most;
	long sent = fake_send(fd, data, len, true);
	end(FAKE_SEND, 0);
	return sent;
}

static int half_close(int fd)
{
	int error = begin(FAKE_HALF_CLOSE);
	struct fake_socket *socket = socket_of(fd);

	if (error || !socket)
		return error ? error : -EBADF;
	socket->half_closed = true;
	/* One that is connecting is not, any more: inet_shutdown() in net/ipv4/af_inet.c. */
	if (socket->info.tcpi_state == FAKE_SYN_SENT)
		socket->info.tcpi_state = FAKE_CLOSE;
	return end(FAKE_HALF_CLOSE, 0);
}

/* Both ways, or only what comes: of that the peer learns nothing. */
static int shut_down(int fd, int how)
{
	if (how == SHUT_WR)
		return half_close(fd);
	int error = begin(FAKE_SHUT_DOWN);
	struct fake_socket *socket = socket_of(fd);

	if (error || !socket)
		return error ? error : -EBADF;
	socket->peek = 0;
	socket->deaf = true;
	if (how == SHUT_RDWR) {
		socket->shut_down = true;
		socket->info.tcpi_state = FAKE_FIN_WAIT;
		socket->send_error = -EPIPE;
	}
	return end(FAKE_SHUT_DOWN, 0);
}

static void yield(void)
{
	begin(FAKE_YIELD);
	end(FAKE_YIELD, 0);
}

static void wake_all(_Atomic uint32_t *word)
{
	begin(FAKE_WAKE_ALL);
	fake.last_woken = word;
	end(FAKE_WAKE_ALL, 0);
}

static void note(const struct connection *connection, const char *event, const char *why)
{
	(void)connection;
	cr_assert(!fake.pool || atomic_load(&fake.pool->lock.word) == 0);
	fake.event = event;
	fake.why = why;
}

/* ---- another thread ---- */

#define STACK (256 * 1024)

static ucontext_t of_this, of_other;
static void (*what_other_runs)(void);
static uint32_t others_id;
static unsigned others_signals_blocked;
static bool other_is_over;

static void run_other(void)
{
	what_other_runs();
	other_is_over = true;
}

void other_thread(void (*run)(void))
{
	void *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	cr_assert(stack != MAP_FAILED);
	cr_assert_eq(getcontext(&of_other), 0);
	of_other.uc_stack.ss_sp = stack;
	of_other.uc_stack.ss_size = STACK;
	of_other.uc_link = &of_this;
	what_other_runs = run;
	others_id = fake.thread_id + 1;
	others_signals_blocked = 0;
	other_is_over = false;
	makecontext(&of_other, run_other, 0);
}

/* What is a thread's own. */
static void swap_threads(void)
{
	uint32_t id = fake.thread_id;
	unsigned signals_blocked = fake.signals_blocked;

	fake.thread_id = others_id;
	fake.signals_blocked = others_signals_blocked;
	others_id = id;
	others_signals_blocked = signals_blocked;
}

void let_other_run(void)
{
	cr_assert_not(other_is_over, "it ended before");
	swap_threads();
	cr_assert_eq(swapcontext(&of_this, &of_other), 0);
	swap_threads();
}

void hand_back(void)
{
	cr_assert_eq(swapcontext(&of_other, &of_this), 0);
}

/* ---- the clock, memory, threads ---- */

static bool may_act(void)
{
	return !fake.shares_memory;
}

static uint64_t now_ms(void)
{
	begin_waiting(FAKE_NOW_MS);
	uint64_t now = fake.now_ms;
	end(FAKE_NOW_MS, 0);
	return now;
}

static void *map(size_t size)
{
	if (begin(FAKE_MAP))
		return NULL;
	void *chunk = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return chunk == MAP_FAILED ? NULL : chunk;
}

static uint32_t thread_id(void)
{
	begin_waiting(FAKE_THREAD_ID);
	return fake.thread_id;
}

static void wait_on(_Atomic uint32_t *word, uint32_t expected, unsigned timeout_ms)
{
	cr_assert_eq(atomic_load(word), expected, "futex(2) would not wait for this");
	begin_waiting(FAKE_WAIT);
	fake.now_ms += fake.waited_ms ? fake.waited_ms : timeout_ms;
	end(FAKE_WAIT, 0);
}

static void wake(_Atomic uint32_t *word)
{
	(void)word;
	begin(FAKE_WAKE);
	end(FAKE_WAKE, 0);
}

LOCK_ATTRIBUTE(no_thread_safety_analysis) bool fake_acquire(struct lock *lock)
{
	return lock_acquire(lock, &fake_os);
}

LOCK_ATTRIBUTE(no_thread_safety_analysis) void fake_release(struct lock *lock)
{
	lock_release(lock, &fake_os);
}

const struct pool_os fake_os = {
	.may_act = may_act,
	.now_ms = now_ms,
	.map = map,
	.thread_id = thread_id,
	.wait = wait_on,
	.wake = wake,
	.block_signals = block_signals,
	.restore_signals = restore_signals,
	.get_option = get_option,
	.set_option = set_option,
	.get_status_flags = get_status_flags,
	.set_status_flags = set_status_flags,
	.get_descriptor_flags = get_descriptor_flags,
	.watch = watch,
	.watched_events = watched_events,
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
	.look_ahead = look_ahead,
	.receive = receive_now,
	.yield = yield,
	.wake_all = wake_all,
	.note = note,
};

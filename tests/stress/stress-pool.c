/* Threads that open, connect, use and close connections of one pool at once, and meddle with each
 * other's, on a fake system that is safe for threads. A plain program, as Criterion does not start
 * under the thread sanitizer.
 *
 *      stress-pool [rounds of each thread]
 *
 * Shown: no connection is ever on two of the program's numbers, a number's bytes are never another
 * connection's, and at the end every socket, every connection and every count is accounted for.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "pool/pool.h"
#include "pool/proof.h"

#define ROUNDS       10000
#define THREADS      4
#define OWN_NUMBERS  4 /* numbers on which only one thread opens sockets */
#define NUMBERS      (THREADS * OWN_NUMBERS)
#define HIDDEN_FIRST NUMBERS
#define HIDDEN_LAST  255
#define ENDPOINTS    5

#define REQUEST "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define ANSWER  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

#define REQUIRE(condition)                                                                         \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* An open file. Never freed while threads run, so that a late look at it is no crash. */
struct file {
	_Atomic int references;
	_Atomic int number; /* the program's number that it is on; -1: none */
	_Atomic bool established;
	_Atomic uint64_t sent, received;
	_Atomic int endpoint; /* 0: not connected */
	uint64_t cookie;
	struct file *next;
};

static struct pool pool;
static _Atomic(struct file *) files[HIDDEN_LAST + 1];
static _Atomic(struct connection *) table[HIDDEN_LAST + 1];
static _Atomic(struct file *) all_files;
static _Atomic uint64_t last_cookie, open_files, connects, real_connects, lost;
static _Thread_local uint32_t self, random_state;

static unsigned random_below(unsigned limit)
{
	random_state = random_state * 1664525 + 1013904223;
	return (random_state >> 8) % limit;
}

/* ---- files ---- */

static struct file *new_file(void)
{
	struct file *file = calloc(1, sizeof(*file));

	REQUIRE(file);
	file->references = 1;
	file->number = -1;
	file->cookie = ++last_cookie;
	file->next = all_files;
	while (!atomic_compare_exchange_weak(&all_files, &file->next, file))
		;
	open_files++;
	return file;
}

static struct file *file_on(int fd)
{
	return fd >= 0 ? atomic_load(&files[fd]) : NULL;
}

/* Another descriptor of it; false if its last one was just closed. */
static bool refer_to(struct file *file)
{
	int references = file->references;

	while (references > 0)
		if (atomic_compare_exchange_weak(&file->references, &references, references + 1))
			return true;
	return false;
}

/* A stranger's close of the number that it was on may not be quite over. */
static void come_to(struct file *file, int fd)
{
	int nowhere = -1;

	for (int tries = 0; !atomic_compare_exchange_strong(&file->number, &nowhere, fd); tries++) {
		REQUIRE(tries < 1000000);
		nowhere = -1;
		sched_yield();
	}
}

static int close_number(int fd)
{
	struct file *file = fd >= 0 ? atomic_exchange(&files[fd], NULL) : NULL;

	if (!file)
		return -EBADF;
	if (fd < HIDDEN_FIRST)
		file->number = -1;
	if (--file->references == 0)
		open_files--;
	return 0;
}

/* ---- the system ---- */

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void *map(size_t size)
{
	void *chunk = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return chunk == MAP_FAILED ? NULL : chunk;
}

static uint32_t thread_id(void)
{
	return self;
}

static void wait_on(_Atomic uint32_t *word, uint32_t expected, unsigned timeout_ms)
{
	struct timespec timeout = {.tv_nsec = (long)timeout_ms * 1000000};

	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, &timeout);
}

static void wake(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1);
}

/* The calls that follow must not be made under the lock. */
static void require_no_lock(void)
{
	REQUIRE((atomic_load(&pool.lock.word) & ~(1U << 31)) != self);
}

static int get_option(int fd, int level, int name, void *value, socklen_t *size)
{
	struct file *file = file_on(fd);

	require_no_lock();
	if (!file)
		return -EBADF;
	if (level == SOL_SOCKET && name == SO_COOKIE) {
		memcpy(value, &file->cookie, sizeof(file->cookie));
	} else if (level == IPPROTO_TCP && name == TCP_INFO) {
		struct tcp_info info = {
			.tcpi_state = file->established ? 1 : 7,
			.tcpi_bytes_acked = file->sent + file->established,
			.tcpi_bytes_received = file->received,
		};
		memcpy(value, &info, sizeof(info));
	} else {
		memset(value, 0, *size);
	}
	return 0;
}

static int set_option(int fd, int level, int name, const void *value, socklen_t size)
{
	(void)level;
	(void)name;
	(void)value;
	(void)size;
	require_no_lock();
	return file_on(fd) ? 0 : -EBADF;
}

static int get_status_flags(int fd)
{
	require_no_lock();
	return file_on(fd) ? O_RDWR : -EBADF;
}

static int set_status_flags(int fd, int flags)
{
	(void)flags;
	return file_on(fd) ? 0 : -EBADF;
}

static int get_descriptor_flags(int fd)
{
	require_no_lock();
	return file_on(fd) ? 0 : -EBADF;
}

static int watch(int epfd, int op, int fd, struct epoll_event *event)
{
	(void)epfd;
	(void)op;
	(void)event;
	return file_on(fd) ? 0 : -EBADF;
}

/* Now and then the peer has gone, or says something. */
static int peek(int fd)
{
	require_no_lock();
	if (!file_on(fd))
		return -EBADF;
	unsigned dice = random_below(40);
	return dice < 2 ? (int)dice : -EAGAIN;
}

static bool change_table(int fd, struct connection *from, struct connection *to)
{
	return atomic_compare_exchange_strong(&table[fd], &from, to);
}

static int hide(struct connection *connection, int fd)
{
	struct file *file = file_on(fd);

	require_no_lock();
	if (!file || !refer_to(file))
		return -EBADF;
	for (int number = HIDDEN_FIRST; number <= HIDDEN_LAST; number++) {
		struct file *none = NULL;
		if (!atomic_compare_exchange_strong(&files[number], &none, file))
			continue;
		atomic_store(&connection->hidden, number);
		atomic_store(&table[number], connection);
		return number;
	}
	REQUIRE(!"hidden numbers are more than SP_MAX_PARKED allows");
	return -EMFILE;
}

static int unhide(struct connection *connection)
{
	int number = atomic_load(&connection->hidden);

	REQUIRE(number >= HIDDEN_FIRST);
	REQUIRE(change_table(number, connection, NULL));
	atomic_store(&connection->hidden, -1);
	return number;
}

static void discard(struct connection *connection)
{
	require_no_lock();
	REQUIRE(close_number(unhide(connection)) == 0);
}

/* Where two threads close one number, a third may open it in between, and the wrong socket be
 * hidden: its number is left open, as the pool cannot know whose it is. */
static void lose(struct connection *connection)
{
	unhide(connection);
	lost++;
}

static int reveal(struct connection *connection, int fd, bool close_on_exec)
{
	struct file *file = file_on(atomic_load(&connection->hidden));

	(void)close_on_exec;
	require_no_lock();
	REQUIRE(refer_to(file));
	close_number(fd);
	come_to(file, fd);
	struct file *none = NULL;
	/* Only this thread opens sockets on fd. */
	REQUIRE(atomic_compare_exchange_strong(&files[fd], &none, file));
	/* Before it is in the table, where another thread can close it, and hide it again. */
	discard(connection);
	return 0;
}

static int exchange(struct connection *connection, struct connection *fresh, int fd)
{
	require_no_lock();
	return change_table(fd, fresh, connection) ? 0 : -ESTALE;
}

static void forget(struct connection *connection, int fd)
{
	require_no_lock();
	change_table(fd, connection, NULL);
}

static int close_for_pool(int fd)
{
	require_no_lock();
	return close_number(fd);
}

/* No handlers here. */
static uint64_t block_signals(void)
{
	return 0;
}

static void restore_signals(uint64_t blocked_before)
{
	REQUIRE(blocked_before == 0);
}

static const struct pool_os os = {
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
	.peek = peek,
	.hide = hide,
	.reveal = reveal,
	.exchange = exchange,
	.discard = discard,
	.lose = lose,
	.forget = forget,
	.close = close_for_pool,
};

/* ---- the shim ---- */

static struct call enter(int fd)
{
	for (;;) {
		struct connection *connection = atomic_load(&table[fd]);
		if (!connection)
			return (struct call){0};
		struct call call = connection_enter(connection);
		bool connecting = connection_is_connecting(connection);
		if (atomic_load(&table[fd]) == connection && !connecting)
			return call;
		connection_leave(call);
		if (connecting)
			sched_yield();
	}
}

static void leave(struct call call, bool give_back)
{
	if (give_back)
		pool_release(&pool, call.connection);
	connection_leave(call);
}

static void end(int fd, struct connection *connection)
{
	if (change_table(fd, connection, NULL) && connection_displaced(connection, fd))
		pool_release(&pool, connection);
}

static void close_tracked(int fd)
{
	struct call call = enter(fd);

	if (!call.connection) {
		close_number(fd);
		return;
	}
	switch (connection_begin_close(call)) {
	case CLOSING_CLAIMED:
		pool_close(&pool, call.connection, fd);
		return;
	case CLOSING_BUSY:
		end(fd, call.connection);
		break;
	case CLOSING_ELSEWHERE:
		break;
	}
	connection_leave(call);
	close_number(fd);
}

static void open_tracked(int fd)
{
	struct connection *connection = pool_adopt(&pool, AF_INET, pool_fork_epoch(&pool));
	struct file *file = new_file();

	REQUIRE(connection);
	connection->cookie = file->cookie;
	come_to(file, fd);
	REQUIRE(!atomic_exchange(&files[fd], file));
	atomic_store(&connection->fd, fd);
	struct connection *old = atomic_exchange(&table[fd], connection);
	if (old && connection_displaced(old, fd))
		pool_release(&pool, old);
}

static void connect_for_real(struct call call, int fd, int endpoint)
{
	struct file *file = file_on(fd);

	call.connection->uses++;
	atomic_store(&call.connection->state, CONNECTION_LIVE);
	if (connection_end_connect(call)) {
		pool_release(&pool, call.connection);
		return;
	}
	if (file) {
		file->endpoint = endpoint;
		file->established = true;
	}
	real_connects++;
	leave(call, connection_connected(call));
}

static void connect_tracked(int fd, int endpoint)
{
	const struct endpoint to = {.family = AF_INET, .port = htons((uint16_t)endpoint)};
	struct call call = enter(fd);

	if (!call.connection)
		return;
	if (!connection_begin_connect(call)) {
		connection_refuse(call.connection, REFUSED_IN_FLIGHT);
		leave(call, false);
		return;
	}
	REQUIRE(connection_state(call.connection) == CONNECTION_FRESH);
	connects++;
	if (pool_take(&pool, call.connection, fd, &to) == TAKEN_NONE) {
		connect_for_real(call, fd, endpoint);
		return;
	}
	struct file *file = file_on(fd);
	/* Unless it was closed by a stranger since. */
	REQUIRE(!file || file->endpoint == endpoint);
	if (connection_end_connect(call) || connection_displaced(call.connection, fd))
		pool_release(&pool, call.connection);
}

static void move(int fd, enum direction direction, const char *bytes, size_t len)
{
	const struct iovec vector = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
	struct call call = enter(fd);
	struct file *file = file_on(fd);

	if (!call.connection)
		return;
	if (file && file->established) {
		if (direction == SENT)
			file->sent += len;
		else
			file->received += len;
		leave(call, connection_moved(call, direction, &vector, len));
	} else {
		leave(call, false);
	}
}

/* ---- the program ---- */

/* What one thread does to another's numbers: all of it is a program's mistake, and none of it may
 * harm the pool. */
static void meddle(int fd)
{
	struct call call;

	switch (random_below(3)) {
	case 0:
		call = enter(fd);
		if (call.connection)
			leave(call, false);
		break;
	case 1:
		move(fd, SENT, "x", 1);
		break;
	case 2:
		close_tracked(fd);
		break;
	}
}

static void use_once(int fd)
{
	close_tracked(fd);
	if (file_on(fd))
		return;
	open_tracked(fd);
	connect_tracked(fd, 1 + (int)random_below(ENDPOINTS));
	for (unsigned i = random_below(3); i > 0; i--) {
		move(fd, SENT, REQUEST, sizeof(REQUEST) - 1);
		move(fd, RECEIVED, ANSWER, sizeof(ANSWER) - 1);
	}
}

struct thread {
	pthread_t thread;
	unsigned index;
	long rounds;
	bool meddles;
};

static void *run(void *argument)
{
	const struct thread *thread = argument;

	self = thread->index + 1;
	random_state = thread->index * 7919 + 1;
	for (long round = 0; round < thread->rounds; round++) {
		use_once((int)(thread->index * OWN_NUMBERS + random_below(OWN_NUMBERS)));
		if (thread->meddles && random_below(8) == 0)
			meddle((int)random_below(NUMBERS));
		if (random_below(500) == 0)
			pool_shared_descriptors(&pool);
		if (random_below(1000) == 0)
			pool_drop(&pool);
	}
	return NULL;
}

static uint64_t sum(const _Atomic uint64_t *counters, unsigned count)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < count; i++)
		total += counters[i];
	return total;
}

static void require_all_accounted_for(void)
{
	unsigned made = 0, spare = 0;

	for (int fd = 0; fd < NUMBERS; fd++)
		close_tracked(fd);
	pool_drop(&pool);
	/* Any call takes in what was given back without the lock. */
	pool_release(&pool, pool_adopt(&pool, AF_INET, 0));
	REQUIRE(!pool.lock.broken && pool.lock.word == 0);
	for (int fd = 0; fd <= HIDDEN_LAST; fd++) {
		REQUIRE(!table[fd]);
		if (close_number(fd) == 0)
			REQUIRE(fd >= HIDDEN_FIRST && lost-- > 0);
	}
	REQUIRE(lost == 0 && open_files == 0);
	REQUIRE(!pool.parked && pool.parked_count == 0);
	for (struct connection *c = pool.made; c; c = c->next_made)
		made++;
	for (struct connection *c = pool.free; c; c = c->next_free)
		spare++;
	REQUIRE(made == spare);
	for (struct service_point *p = pool.points.used; p; p = p->next)
		REQUIRE(p->in_use == 0 && p->parked_count == 0 && !p->parked);
	/* What was parked was reused or discarded, and what was connected was opened or reused. */
	REQUIRE(pool.stats.parked == pool.stats.reused + sum(pool.stats.discarded, DISCARD_COUNT));
	REQUIRE(connects >= real_connects + pool.stats.reused);
}

static void stress(long rounds, bool meddles, long most_points)
{
	struct thread threads[THREADS];
	struct settings settings = settings_default();

	settings.max_service_points = most_points;
	settings.max_parked = 6;
	settings.point.idle_ms = 20;
	pool_init(&pool, &os, &settings);
	connects = real_connects = 0;
	for (unsigned i = 0; i < THREADS; i++) {
		threads[i] = (struct thread){.index = i, .rounds = rounds, .meddles = meddles};
		REQUIRE(pthread_create(&threads[i].thread, NULL, run, &threads[i]) == 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i].thread, NULL);
	self = THREADS + 1;
	require_all_accounted_for();
	/* Otherwise this has shown nothing. */
	REQUIRE(pool.stats.reused > 0 && pool.stats.discarded[DISCARDED_EVICTED] > 0);
	REQUIRE(meddles || pool.stats.discarded[DISCARDED_IDENTITY] == 0);
	if (!meddles)
		REQUIRE(connects == real_connects + pool.stats.reused &&
			real_connects == pool.stats.opened);
	printf("%s: %lu connects, %lu reused, %lu discarded\n",
		meddles ? "meddling" : "each its own", (unsigned long)connects,
		(unsigned long)pool.stats.reused,
		(unsigned long)sum(pool.stats.discarded, DISCARD_COUNT));
}

int main(int argc, char **argv)
{
	long rounds = argc > 1 ? strtol(argv[1], NULL, 10) : ROUNDS;

	stress(rounds, false, 4);
	stress(rounds, false, 0);
	stress(rounds, true, 4);
	for (struct file *file = all_files, *next; file; file = next) {
		next = file->next;
		free(file);
	}
	return 0;
}

/* A program, and the shim around it, as the pool sees them: sockets are opened, connected, used and
 * closed on the fake system, in the same order of calls as in shim/.
 */
#pragma once

#include "tests/unit/fake_os.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "pool/pool.h"
#include "pool/proof.h"
#include "pool/renew.h"

#define REQUEST "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define ANSWER  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

static struct pool pool;

/* A new process, with a pool of these settings. */
static inline void pool_with(struct settings settings)
{
	fake_reset();
	fake.pool = &pool;
	pool_init(&pool, &fake_os, &settings);
}

static inline struct endpoint endpoint_number(unsigned number)
{
	return (struct endpoint){
		.family = AF_INET,
		.port = htons(80),
		.address = {10, (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number},
	};
}

static inline struct connection *connection_on(int fd)
{
	return fake.descriptors[fd].connection;
}

static inline uint64_t cookie_on(int fd)
{
	return fake_socket_on(fd)->cookie;
}

static inline int open_socket_of(int family)
{
	int fd = fake_socket();
	struct connection *connection = pool_adopt(&pool, family, pool_fork_epoch(&pool));

	if (connection) {
		atomic_store(&connection->fd, fd);
		connection->cookie = cookie_on(fd);
	}
	fake.descriptors[fd].connection = connection;
	return fd;
}

static inline int open_socket(void)
{
	return open_socket_of(AF_INET);
}

static inline void connect_for_real(struct call call, int fd)
{
	fake_socket_on(fd)->info.tcpi_state = FAKE_ESTABLISHED;
	fake_socket_on(fd)->info.tcpi_bytes_acked = 1;
	call.connection->uses++;
	atomic_store(&call.connection->state, CONNECTION_LIVE);
	cr_assert_not(connection_end_connect(call));
	cr_assert_not(connection_connected(call));
	connection_leave(call);
}

static inline enum taken connect_socket(int fd, struct endpoint to)
{
	struct call call = connection_enter(connection_on(fd));

	cr_assert(connection_begin_connect(call));
	if (!endpoint_bind(&to, &call.connection->local))
		connection_refuse(call.connection, REFUSED_BOUND);
	stats_count(&pool.stats.connects);
	enum taken taken = pool_take(&pool, call.connection, fd, &to);
	if (taken == TAKEN_NONE) {
		connect_for_real(call, fd);
		return taken;
	}
	cr_assert_not(connection_end_connect(call));
	cr_assert(connection_displaced(call.connection, fd));
	pool_release(&pool, call.connection);
	return taken;
}

/* socket() and connect(), to a service point that has no fitting connection, or to one that has. */
static inline int connected_to(unsigned number)
{
	int fd = open_socket();

	connect_socket(fd, endpoint_number(number));
	return fd;
}

/* A thread that connects: what it was told, and the call that it has under way while it waits. */
struct caller {
	int fd;
	struct endpoint to;
	struct call call;
	enum taken taken;
};

static inline void try_again(struct caller *caller)
{
	cr_assert(connection_begin_connect(caller->call));
	caller->taken = pool_take(&pool, caller->call.connection, caller->fd, &caller->to);
	switch (caller->taken) {
	case TAKEN_NONE:
		connect_for_real(caller->call, caller->fd);
		break;
	case TAKEN_LIMITED:
		cr_assert_not(connection_end_connect(caller->call));
		break;
	default:
		cr_assert_not(connection_end_connect(caller->call));
		cr_assert(connection_displaced(caller->call.connection, caller->fd));
		pool_release(&pool, caller->call.connection);
	}
}

static inline struct caller call_connect_to(int fd, struct endpoint to)
{
	struct caller caller = {.fd = fd, .to = to};

	caller.call = connection_enter(connection_on(caller.fd));
	try_again(&caller);
	return caller;
}

/* Does a new socket's connect() give this very connection? */
static inline bool is_reused_by(int fd, uint64_t cookie)
{
	return connect_socket(fd, endpoint_number(1)) != TAKEN_NONE && cookie_on(fd) == cookie;
}

static inline bool is_at_risk(struct call call)
{
	return connection_risk(call.connection) != RISK_NONE;
}

/* As go_on() in the shim: the call's connection is not on the number any more; another may be, that
 * has taken its place. */
static inline bool go_on(struct call *call, int fd)
{
	if (!connection_on(fd))
		return false;
	struct call next = connection_enter(connection_on(fd));
	cr_assert_not_null(next.connection);
	cr_assert_not(connection_is_connecting(next.connection));
	if (!connection_succeeds(next.connection, *call)) {
		connection_leave(next);
		return false;
	}
	connection_leave(*call);
	*call = next;
	return true;
}

static inline bool conclude(struct call *call, int fd, int answer, long *result)
{
	if (answer == RENEW_AGAIN)
		return go_on(call, fd);
	if (answer < 0)
		*result = answer;
	return false;
}

static inline bool is_dead(long result)
{
	return result == 0 || result == -EPIPE || result == -ECONNRESET;
}

/* As renewal_send() in the shim. */
static inline long send_at_risk(
	struct call *call, int fd, const struct iovec *vector, size_t count, bool not_to_wait)
{
	long result = 0;
	int answer = renew_before_sending(&pool, *call, fd, vector, count, not_to_wait);

	conclude(call, fd, answer, &result);
	if (result < 0)
		return result;
	do {
		result = fake_send(fd, vector->iov_base, vector->iov_len, not_to_wait);
		if (!is_dead(result) || !is_at_risk(*call))
			return result;
		answer = renew_after_failure(&pool, *call, fd, not_to_wait);
	} while (conclude(call, fd, answer, &result));
	return result;
}

/* A sending call under way: its result, as the program sees it, or -errno. */
static inline long send_in_call(
	struct call *call, int fd, const void *bytes, size_t len, bool not_to_wait)
{
	const struct iovec vector = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
	long result = is_at_risk(*call) ? send_at_risk(call, fd, &vector, 1, not_to_wait)
					: fake_send(fd, bytes, len, not_to_wait);

	if (result > 0) {
		size_t total = (size_t)result;
		cr_assert_not(is_at_risk(*call) ? renew_sent(&pool, *call, &vector, total)
						: connection_moved(*call, SENT, &vector, total));
	}
	return result;
}

static inline long try_to_send(int fd, const void *bytes, size_t len)
{
	struct call call = connection_enter(connection_on(fd));
	long result = send_in_call(&call, fd, bytes, len, false);

	connection_leave(call);
	cr_assert_eq(fake.signals_blocked, 0);
	return result;
}

/* As renewal_after_receiving() in the shim. */
static inline long receive_in_call(
	struct call *call, int fd, void *data, size_t len, bool not_to_wait)
{
	const struct iovec vector = {.iov_base = data, .iov_len = len};
	int answer;
	long result;

	do {
		result = fake_receive(fd, data, len);
		answer = RENEW_NOT;
		if (is_at_risk(*call) && result > 0)
			answer = renew_after_answer(
				&pool, *call, fd, data, (size_t)result, not_to_wait);
		else if (is_at_risk(*call) && is_dead(result))
			answer = renew_after_failure(&pool, *call, fd, not_to_wait);
	} while (conclude(call, fd, answer, &result));
	if (result > 0)
		cr_assert_not(connection_moved(*call, RECEIVED, &vector, (size_t)result));
	return result;
}

static inline long try_to_receive(int fd, void *data, size_t len)
{
	struct call call = connection_enter(connection_on(fd));
	long result = receive_in_call(&call, fd, data, len, false);

	connection_leave(call);
	cr_assert_eq(fake.signals_blocked, 0);
	return result;
}

static inline void send_bytes(int fd, const char *bytes, size_t len)
{
	cr_assert_eq(try_to_send(fd, bytes, len), (long)len);
}

static inline void receive_bytes(int fd, const char *bytes, size_t len)
{
	char room[4096];

	if (len == 0)
		return;
	cr_assert_leq(len, sizeof(room));
	fake_say(fd, bytes, len);
	cr_assert_eq(try_to_receive(fd, room, len), (long)len);
	cr_assert(memcmp(room, bytes, len) == 0);
}

static inline void exchange(int fd)
{
	send_bytes(fd, REQUEST, sizeof(REQUEST) - 1);
	receive_bytes(fd, ANSWER, sizeof(ANSWER) - 1);
}

static inline enum closing begin_close(struct connection *connection)
{
	return connection_begin_close(connection_enter(connection));
}

static inline int close_socket(int fd)
{
	struct connection *connection = connection_on(fd);

	cr_assert_eq(begin_close(connection), CLOSING_CLAIMED);
	int result = pool_close(&pool, connection, fd);
	cr_assert_eq(fake.signals_blocked, 0);
	return result;
}

static inline void finish(int fd)
{
	exchange(fd);
	close_socket(fd);
}

/* A whole use: the result is the connection's cookie. */
static inline uint64_t use_and_close(unsigned number)
{
	int fd = connected_to(number);
	uint64_t cookie = cookie_on(fd);

	finish(fd);
	return cookie;
}

/* As a thread does that resolves a name to count addresses, from first on; those of IPv6 begin with
 * the same bytes. */
static inline const struct name *learn_of(
	int family, const char *text, unsigned first, unsigned count)
{
	struct answer answer = {.families = family == AF_INET ? FAMILY_IPV4 : FAMILY_IPV6};
	const struct name *name = NULL;
	bool begun = false;

	for (unsigned i = 0; i < count; begun = true) {
		answer.count = 0;
		for (; i < count && answer.count < NAME_ADDRESSES_MAX; i++) {
			const struct endpoint endpoint = endpoint_number(first + i);
			const struct host_address address = host_address(family, endpoint.address);
			cr_assert(answer_add(&answer, &address));
		}
		answer.more = i < count;
		if (begun)
			pool_learn_more(&pool, name, &answer);
		else
			name = pool_learn_name(&pool, text, strlen(text), &answer);
	}
	return name;
}

static inline const struct name *learn(const char *text, unsigned first, unsigned count)
{
	return learn_of(AF_INET, text, first, count);
}

static inline void set_option(int fd, int level, int name, int value)
{
	struct call call = connection_enter(connection_on(fd));

	cr_assert_eq(fake_os.set_option(fd, level, name, &value, sizeof(value)), 0);
	cr_assert_not(connection_set_option(call, level, name, &value, sizeof(value)));
	connection_leave(call);
}

static inline void watch_socket(int fd, int epfd, uint32_t events, uint64_t data)
{
	struct epoll_event event = {.events = events, .data.u64 = data};
	struct call call = connection_enter(connection_on(fd));

	cr_assert_eq(fake_os.watch(epfd, EPOLL_CTL_ADD, fd, &event), 0);
	cr_assert_not(connection_watch(call, epfd, EPOLL_CTL_ADD, &event));
	connection_leave(call);
}

/* bind() to an address of the host, without a port. */
static inline void bind_socket(int fd, uint8_t last_byte)
{
	const struct endpoint local = {.family = AF_INET, .address = {127, 0, 0, last_byte}};
	struct call call = connection_enter(connection_on(fd));

	set_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
	cr_assert_not(connection_bound(call, &local));
	connection_leave(call);
}

static inline uint64_t refused(enum refusal refusal)
{
	return pool.stats.refused[refusal];
}

static inline uint64_t discarded(enum discard discard)
{
	return pool.stats.discarded[discard];
}

static inline uint64_t discarded_in_all(void)
{
	uint64_t sum = 0;

	for (int i = 0; i < DISCARD_COUNT; i++)
		sum += pool.stats.discarded[i];
	return sum;
}

/* The lists and counts agree with each other, and with the numbers that are open. */
static inline void expect_books_in_order(void)
{
	const struct service_point *point = pool.points.used;
	unsigned parked = 0, points = 0;

	for (; point; point = point->next, points++) {
		unsigned here = 0;
		const struct connection *connection = point->parked;
		for (; connection; connection = connection->point_next, here++)
			cr_expect_eq(connection_state(connection), CONNECTION_PARKED);
		cr_expect_eq(here, point->parked_count);
		parked += here;
	}
	cr_expect_eq(points, pool.points.count);
	cr_expect_eq(parked, pool.parked_count);
	cr_expect_eq(fake_hidden_count(), parked);
	cr_expect_eq(atomic_load(&pool.lock.word), 0);
}

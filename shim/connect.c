/* connect(): answered from the pool, or for real. */

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>

#include "pool/proof.h"
#include "shim/libc.h"
#include "shim/os.h"
#include "shim/process.h"
#include "shim/raw.h"

/* May these bytes be read? The kernel says EFAULT of an address that is wild, and so must we. It
 * reads them for a sigprocmask() that it then rejects, as it knows no such `how`. */
static bool is_readable(const void *memory, size_t len)
{
	if (!memory || len < sizeof(uint64_t))
		return false;
	const char *first = memory, *last = first + len - sizeof(uint64_t);
	if (RAW4(rt_sigprocmask, -1, first, NULL, sizeof(uint64_t)) == -EFAULT)
		return false;
	bool one_page = ((uintptr_t)first ^ (uintptr_t)(first + len - 1)) < 4096;
	return one_page || RAW4(rt_sigprocmask, -1, last, NULL, sizeof(uint64_t)) != -EFAULT;
}

static bool is_under_way(int result)
{
	return result == 0 || errno == EINPROGRESS || errno == EINTR;
}

/* A socket that was made or duplicated where we could not see it. */
static int connect_untracked(int fd, const struct sockaddr *address, socklen_t len)
{
	int result = libc()->connect(fd, address, len);
	int protocol = 0;
	socklen_t size = sizeof(protocol);

	if (!is_under_way(result) || !process_may_pool())
		return result;
	if (real_os.get_option(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) == 0 &&
		protocol == IPPROTO_TCP) {
		stats_count(&process_pool.stats.connects);
		stats_count(&process_pool.stats.opened);
	}
	return result;
}

static int connect_for_real(struct call call, int fd, const struct sockaddr *address, socklen_t len)
{
	os_log(3, call.connection, "opening", "");
	int result = libc()->connect(fd, address, len);

	if (!is_under_way(result)) {
		connection_refuse(call.connection, REFUSED_NOT_CONNECTED);
		process_leave(call, false);
		return result;
	}
	bool give_back = connection_connected(call, proof_cookie(&real_os, fd), result == 0);
	process_leave(call, give_back);
	return result;
}

/* fresh has been replaced on its number by a parked connection. */
static int answer_from_pool(struct call call, int fd, enum taken taken)
{
	enum connecting end = connection_end_connect(call);

	if (end == CONNECTING_ENDED || connection_displaced(call.connection, fd))
		pool_release(&process_pool, call.connection);
	if (end == CONNECTING_CLOSED) {
		close(fd);
		return process_bad_descriptor();
	}
	if (taken == TAKEN_DONE)
		return 0;
	/* As Linux always says for TCP; the socket is writable at once and SO_ERROR is 0. */
	errno = EINPROGRESS;
	return -1;
}

/* The first connect() of a socket. The caller has begun it. */
static int connect_first(struct call call, int fd, const struct sockaddr *address, socklen_t len,
	const struct endpoint *endpoint)
{
	struct connection *fresh = call.connection;

	stats_count(&process_pool.stats.connects);
	enum taken taken = pool_take(&process_pool, fresh, fd, endpoint);
	if (taken != TAKEN_NONE)
		return answer_from_pool(call, fd, taken);
	fresh->uses++;
	atomic_store_explicit(&fresh->state, CONNECTION_LIVE, memory_order_release);
	switch (connection_end_connect(call)) {
	case CONNECTING_CLOSED:
		connection_leave(call);
		close(fd);
		return process_bad_descriptor();
	case CONNECTING_ENDED:
		pool_release(&process_pool, fresh);
		return libc()->connect(fd, address, len);
	case CONNECTING_DONE:
		break;
	}
	return connect_for_real(call, fd, address, len);
}

/* A socket that is connected, or was, or an address that is none. A program that has a connect()
 * under way may ask again how it went: the kernel says 0 once, and EISCONN after that
 * (tcp_v4_connect() and inet_stream_connect() in net/ipv4). */
static int connect_again(
	struct call call, int fd, const struct sockaddr *address, socklen_t len, bool is_address)
{
	bool pending = call.connection->result_pending && is_address;
	bool give_back = false;

	if (pending)
		call.connection->result_pending = false;
	/* AF_UNSPEC dissolves the association: connect(2). */
	if (!is_address)
		connection_refuse(call.connection, REFUSED_NOT_CONNECTED);
	enum connecting end = connection_end_connect(call);
	if (end == CONNECTING_CLOSED) {
		connection_leave(call);
		close(fd);
		return process_bad_descriptor();
	}
	if (end == CONNECTING_ENDED)
		pool_release(&process_pool, call.connection);
	int result = pending ? 0 : libc()->connect(fd, address, len);
	if (end == CONNECTING_DONE && result == 0 && !pending)
		give_back = connection_connected(call, proof_cookie(&real_os, fd), true);
	process_leave(call, give_back);
	return result;
}

static int connect_tracked(struct call call, int fd, const struct sockaddr *address, socklen_t len)
{
	struct endpoint endpoint;

	if (process_may_pool() && connection_begin_connect(call)) {
		bool is_address = is_readable(address, len) &&
				  endpoint_from(&endpoint, address, len) &&
				  endpoint.family == call.connection->family;
		if (!is_address || connection_state(call.connection) != CONNECTION_FRESH)
			return connect_again(call, fd, address, len, is_address);
		if (!endpoint_bind(&endpoint, &call.connection->local))
			connection_refuse(call.connection, REFUSED_BOUND);
		return connect_first(call, fd, address, len, &endpoint);
	}
	connection_refuse(call.connection, REFUSED_IN_FLIGHT);
	int result = libc()->connect(fd, address, len);
	process_leave(call, false);
	return result;
}

int connect(int fd, const struct sockaddr *address, socklen_t len)
{
	/* A cancellation point, also where no system call is needed; before anything is begun. */
	if (fdtable_get(fd))
		pthread_testcancel();
	struct call call = fdtable_enter(fd);
	if (call.hidden)
		return process_bad_descriptor();
	if (!call.connection)
		return connect_untracked(fd, address, len);
	return connect_tracked(call, fd, address, len);
}

/* connect(): answered from the pool, or for real. */

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>

#include "pool/layout.h"
#include "pool/proof.h"
#include "shim/libc.h"
#include "shim/log.h"
#include "shim/memory.h"
#include "shim/names.h"
#include "shim/os.h"
#include "shim/process.h"
#include "shim/status.h"
#include "shim/turn.h"

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

COLD static int connect_for_real(
	struct call call, int fd, const struct sockaddr *address, socklen_t len)
{
	if (log_wants(3))
		os_log(3, call.connection, "opening", "");
	int result = libc()->connect(fd, address, len);

	/* The last two are said of a socket that is connected, or about to be. */
	if (!is_under_way(result) && errno != EISCONN && errno != EALREADY) {
		connection_refuse(call.connection, REFUSED_NOT_CONNECTED);
		process_leave(call, false);
		return result;
	}
	bool give_back = result == 0 && connection_connected(call);
	if (result == 0 && !give_back)
		status_opened(&process_pool, &call);
	process_leave(call, give_back);
	return result;
}

/* The answer of a call that was interrupted, with its connection under way: who gets EINTR waits
 * for the socket to be writable, and asks how it went (connect(2)). It does not wait here, and is
 * non-blocking for as long as it takes to say so. */
static int connect_in_background(
	struct call call, int fd, const struct sockaddr *address, socklen_t len, int error)
{
	int flags = real_os.get_status_flags(fd);

	if (flags >= 0)
		real_os.set_status_flags(fd, flags | O_NONBLOCK);
	int result = connect_for_real(call, fd, address, len);
	if (flags >= 0)
		real_os.set_status_flags(fd, flags);
	if (result < 0 && errno == EINPROGRESS)
		errno = error;
	return result;
}

/* The caller has begun to connect, and ends it. */
COLD static enum taken take(struct call call, int fd, struct endpoint *endpoint)
{
	struct connection *fresh = call.connection;

	if (!endpoint_bind(endpoint, &fresh->local))
		connection_refuse(fresh, REFUSED_BOUND);
	enum taken taken = pool_take(&process_pool, fresh, fd, endpoint);
	if (taken == TAKEN_NONE) {
		fresh->uses++;
		atomic_store_explicit(&fresh->state, CONNECTION_LIVE, memory_order_release);
	}
	return taken;
}

/* Is the first connect() of a socket answered from the pool? */
COLD static enum taken try_to_take(struct call call, int fd, struct endpoint *endpoint)
{
	uint64_t signals = real_os.block_signals();

	if (!connection_begin_connect(call)) {
		real_os.restore_signals(signals);
		return TAKEN_BUSY;
	}
	enum taken taken = take(call, fd, endpoint);
	bool give_back = connection_end_connect(call);
	/* Where it was answered, fresh is no longer on its number. */
	if (!give_back && (taken == TAKEN_DONE || taken == TAKEN_PENDING))
		give_back = connection_displaced(call.connection, fd);
	if (give_back)
		pool_release(&process_pool, call.connection);
	real_os.restore_signals(signals);
	return taken;
}

COLD static int connect_first(struct call call, int fd, const struct sockaddr *address,
	socklen_t len, struct endpoint *endpoint)
{
	/* Before it can be seen that it came to something. */
	stats_count(&process_pool.stats.connects);
	status_begin();
	enum taken taken = try_to_take(call, fd, endpoint);
	bool waited = taken == TAKEN_LIMITED;
	int error = 0;

	while (taken == TAKEN_LIMITED && (error = turn_wait(call)) == 0)
		taken = try_to_take(call, fd, endpoint);
	/* It is let through now. */
	if (error == EINTR || error == EINPROGRESS)
		taken = try_to_take(call, fd, endpoint);
	if (taken == TAKEN_BUSY && connection_is_current(call))
		connection_refuse(call.connection, REFUSED_IN_FLIGHT);
	if (taken == TAKEN_BUSY) {
		bool ended = waited && !connection_is_current(call);
		connection_leave(call);
		/* What is on the number now may be anything. */
		if (ended)
			return process_bad_descriptor();
		atomic_fetch_sub_explicit(&process_pool.stats.connects, 1, memory_order_relaxed);
		return connect_untracked(fd, address, len);
	}
	switch (taken) {
	case TAKEN_DONE:
		return 0;
	case TAKEN_PENDING:
		/* As Linux always says for TCP; the socket is writable at once, SO_ERROR is 0. */
		errno = EINPROGRESS;
		return -1;
	case TAKEN_LIMITED:
		connection_leave(call);
		errno = error;
		return -1;
	default:
		return error ? connect_in_background(call, fd, address, len, error)
			     : connect_for_real(call, fd, address, len);
	}
}

/* A program that has a connect() under way may ask again how it went. The kernel says 0 once, and
 * EISCONN after that (inet_stream_connect() in net/ipv4/af_inet.c); of a reused connection it would
 * say what the use before left to be said. */
COLD static int connect_reused_again(struct call call)
{
	bool pending = atomic_exchange(&call.connection->result_pending, false);

	process_leave(call, false);
	if (pending)
		return 0;
	errno = EISCONN;
	return -1;
}

COLD static int connect_tracked(
	struct call call, int fd, const struct sockaddr *address, socklen_t len)
{
	struct connection *connection = call.connection;
	struct endpoint endpoint;
	bool is_address = memory_is_readable(address, len) &&
			  endpoint_from(&endpoint, address, len) &&
			  endpoint.family == connection->family;
	bool reused = connection->uses > 1 && proof_cookie(&real_os, fd) == connection->cookie;
	bool fresh = connection_state(connection) == CONNECTION_FRESH;

	/* Another thread has put something else on its number: all this was another's. */
	if (!connection_is_current(call)) {
		connection_leave(call);
		return connect_untracked(fd, address, len);
	}
	if (is_address && fresh && process_may_pool()) {
		endpoint.name = names_latest(&endpoint);
		return connect_first(call, fd, address, len, &endpoint);
	}
	if (is_address && reused && process_may_pool())
		return connect_reused_again(call);
	/* Not an address, or AF_UNSPEC, which dissolves the association: connect(2). */
	if (!is_address) {
		connection_refuse(connection, REFUSED_NOT_CONNECTED);
		if (process_may_pool())
			pool_dissolve(&process_pool, call);
	}
	return connect_for_real(call, fd, address, len);
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

INTERPOSED_AS(connect, __connect);

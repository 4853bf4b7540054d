/* socket(), and what a program does to a socket before it uses it. */

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>

#include "pool/layout.h"
#include "pool/proof.h"
#include "shim/keeper.h"
#include "shim/libc.h"
#include "shim/memory.h"
#include "shim/os.h"
#include "shim/process.h"
#include "shim/renewal.h"
#include "shim/waits.h"

static bool is_tcp(int domain, int type, int protocol)
{
	return (domain == AF_INET || domain == AF_INET6) &&
	       (type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) == SOCK_STREAM &&
	       (protocol == 0 || protocol == IPPROTO_TCP);
}

int socket(int domain, int type, int protocol)
{
	uint32_t epoch = pool_fork_epoch(&process_pool);
	int saved_errno = errno, fd = libc()->socket(domain, type, protocol);

	for (int tries = 0; fd < 0 && tries < TRIES_MOST && process_made_room(); tries++) {
		fd = libc()->socket(domain, type, protocol);
		if (fd >= 0)
			errno = saved_errno;
	}
	if (fd < 0)
		return fd;
	fd = process_opened(fd);
	if (is_tcp(domain, type, protocol)) {
		keeper_start();
		process_track(fd, domain, epoch);
	}
	return fd;
}

int bind(int fd, const struct sockaddr *address, socklen_t len)
{
	struct call call = fdtable_enter(fd);
	struct endpoint local;

	if (call.hidden)
		return process_bad_descriptor();
	int result = libc()->bind(fd, address, len);
	if (!call.connection)
		return result;
	bool give_back = false;
	/* The kernel has read the address, so it may be read. */
	if (result == 0 && endpoint_from(&local, address, len))
		give_back = connection_bound(call, &local);
	else if (result == 0)
		connection_refuse(call.connection, REFUSED_BOUND);
	process_leave(call, give_back);
	return result;
}

static int note_listener(int fd, int result)
{
	if (result == 0)
		waits_note_listener(fd);
	return result;
}

int listen(int fd, int backlog)
{
	struct call call = fdtable_enter(fd);

	if (call.hidden)
		return process_bad_descriptor();
	if (!call.connection)
		return note_listener(fd, libc()->listen(fd, backlog));
	connection_refuse(call.connection, REFUSED_NOT_CONNECTED);
	int result = note_listener(fd, libc()->listen(fd, backlog));
	/* A server's socket is none of ours. */
	if (result == 0 && process_may_pool())
		process_end(fd, call);
	connection_leave(call);
	return result;
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
	struct call call = fdtable_enter_quietly(fd);

	if (call.hidden)
		return process_bad_descriptor();
	int result = libc()->setsockopt(fd, level, name, value, size);
	if (!call.connection)
		return result;
	process_leave(call, result == 0 && connection_set_option(call, level, name, value, size));
	return result;
}

/* Who is told that something is wrong with a reused connection may ask what, before it reads. */
COLD static void ask_after_renewal(struct call *call, int fd, void *value, socklen_t size)
{
	int error = 0;
	ssize_t result = -1;

	if (size != sizeof(error))
		return;
	memcpy(&error, value, sizeof(error));
	if (error == 0)
		return;
	int saved_errno = errno;
	errno = error;
	if (renewal_after_receiving(call, fd, MSG_DONTWAIT, NULL, &result))
		error = 0;
	else if (errno == EAGAIN)
		error = 0; /* another thread is at it */
	else if (errno != error)
		error = errno;
	errno = saved_errno;
	memcpy(value, &error, sizeof(error));
}

/* Of the socket's own options, not the protocol's, shutdown() changes none. */
static inline struct call enter_for_option(int fd, int level)
{
	return level == SOL_SOCKET ? fdtable_enter_quietly(fd) : fdtable_enter(fd);
}

int getsockopt(int fd, int level, int name, void *restrict value, socklen_t *restrict size)
{
	struct call call = enter_for_option(fd, level);

	if (call.hidden)
		return process_bad_descriptor();
	/* This may find its end, and renew it. */
	if (deferral_any() && is_at_risk(call))
		fdtable_carry_out(call);
	int result = libc()->getsockopt(fd, level, name, value, size);
	if (!call.connection)
		return result;
	if (result == 0 && level == SOL_SOCKET && name == SO_ERROR && is_at_risk(call))
		ask_after_renewal(&call, fd, value, *size);
	/* It is on without the program's doing, which is to see what it did: pool/options.h. */
	if (result == 0 && level == IPPROTO_TCP && name == TCP_NODELAY &&
		call.connection->options.lends_nodelay &&
		proof_cookie(&real_os, fd) == call.connection->cookie)
		memset(value, 0, *size);
	process_leave(call, false);
	return result;
}

/* One at risk that is reset, and one that takes its place and goes on connecting, have the peer
 * that the program connected to. */
COLD static int name_peer(
	int fd, const struct connection *connection, struct sockaddr *address, socklen_t *len)
{
	struct sockaddr_storage peer;
	socklen_t room = memory_is_readable(len, sizeof(*len)) ? *len : 0;
	socklen_t size = endpoint_to(&connection->peer, &peer);

	/* The kernel writes, and so says whether that can be done. */
	if (getsockname(fd, address, len) < 0)
		return -1;
	memcpy(address, &peer, room < size ? room : size);
	*len = size;
	return 0;
}

COLD static int name_tracked_peer(
	struct call call, int fd, struct sockaddr *address, socklen_t *len, int result)
{
	bool connects = call.connection->predecessor && !atomic_load(&call.connection->opened);

	if (result < 0 && errno == ENOTCONN && (is_at_risk(call) || connects) &&
		proof_cookie(&real_os, fd) == call.connection->cookie) {
		errno = call.saved_errno;
		result = name_peer(fd, call.connection, address, len);
	}
	process_leave(call, false);
	return result;
}

int getpeername(int fd, struct sockaddr *restrict address, socklen_t *restrict len)
{
	struct call call = fdtable_enter(fd);

	if (call.hidden)
		return process_bad_descriptor();
	int result = libc()->getpeername(fd, address, len);
	return call.connection ? name_tracked_peer(call, fd, address, len, result) : result;
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list arguments;

	/* As glibc does: whatever the third argument is, or is not, it is passed on. */
	va_start(arguments, request);
	void *argument = va_arg(arguments, void *);
	va_end(arguments);
	struct call call = fdtable_enter(fd);
	if (call.hidden)
		return process_bad_descriptor();
	if (!call.connection)
		return libc()->ioctl(fd, request, argument);
	/* FIONBIO and FIOCLEX need no notes: reuse looks at the flags themselves. */
	if (request == FIOASYNC || request == FIOSETOWN || request == SIOCSPGRP)
		connection_refuse(call.connection, REFUSED_ASYNC_OWNER);
	int result = libc()->ioctl(fd, request, argument);
	process_leave(call, false);
	return result;
}

/* The system as the pool may use it: the real one in shim/, fakes in unit tests.
 *
 * Every call returns a value of 0 or more, or -errno. errno itself is left alone, none of the
 * calls is a cancellation point, and all are safe in a signal handler.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>

struct connection;
struct endpoint;

struct pool_os {
	/* Milliseconds of a clock that also counts while the machine sleeps (CLOCK_BOOTTIME): the
	 * peer's timers went on, too. */
	uint64_t (*now_ms)(void);

	/* Is the pool on, and this not a child that shares its memory (vfork(2))? */
	bool (*may_act)(void);

	/* Zeroed pages, or NULL. They are never given back. */
	void *(*map)(size_t size);

	/* For the lock: a non-zero number of this thread below 2^30, and futex(2). */
	uint32_t (*thread_id)(void);
	void (*wait)(_Atomic uint32_t *word, uint32_t expected, unsigned timeout_ms);
	void (*wake)(_Atomic uint32_t *word);

	/* No signal handler runs in this thread between these two, so none can jump out of what is
	 * half done. They may be nested. */
	uint64_t (*block_signals)(void);
	void (*restore_signals)(uint64_t blocked_before);

	int (*get_option)(int fd, int level, int name, void *value, socklen_t *size);
	int (*set_option)(int fd, int level, int name, const void *value, socklen_t size);
	int (*get_status_flags)(int fd);
	int (*set_status_flags)(int fd, int flags);
	int (*get_descriptor_flags)(int fd);
	int (*watch)(int epfd, int op, int fd, struct epoll_event *event);
	/* What fd is registered for in the set now: no more than flags, where it was with
	 * EPOLLONESHOT and has fired. */
	int (*watched_events)(int epfd, int fd, uint32_t *events);

	/* Looks at the next byte without waiting or taking it: 1 if there is one, 0 at the end of
	 * file, -EAGAIN if the connection is quiet. */
	int (*peek)(int fd);

	/* How many of the bytes that were sent the peer has not acknowledged: tcp(7), SIOCOUTQ. */
	int (*unacknowledged)(int fd);

	/* Gives the connection on fd a second, hidden number, of which connection->hidden and the
	 * descriptor table know when this returns. */
	int (*hide)(struct connection *connection, int fd);

	/* Puts the hidden connection's socket on fd, and gives up the hidden number. What was on fd
	 * is closed by that. An error changes nothing. */
	int (*reveal)(struct connection *connection, int fd, bool close_on_exec);

	/* The descriptor table has connection on fd from now on, in place of fresh: other threads
	 * find it. -ESTALE if one has put a socket of its own there meanwhile. */
	int (*exchange)(struct connection *connection, struct connection *fresh, int fd);

	/* Makes the descriptor table forget the hidden number, and closes it. */
	void (*discard)(struct connection *connection);

	/* The same without closing it: it is not this connection any more. */
	void (*lose)(struct connection *connection);

	/* Makes the descriptor table forget that connection is on fd. */
	void (*forget)(struct connection *connection, int fd);
	int (*close)(int fd);

	/* A new socket of connection->family on a hidden number, which connection->hidden and the
	 * descriptor table have when this returns, as they have its identity. The number or -errno.
	 */
	int (*open_hidden)(struct connection *connection);
	int (*bind)(int fd, const struct endpoint *local);
	int (*connect)(int fd, const struct endpoint *peer);
	/* 0; how it failed; or -ETIMEDOUT. Where interrupted is not NULL it is told of a signal
	 * handler, and after that it takes four seconds at most. */
	int (*await_connection)(int fd, long timeout_ms, bool *interrupted);
	/* Goes on with that as the program's own connect() on a blocking socket does: a signal
	 * handler may end it, or jump out of it; and it is a cancellation point. Cancelled, it
	 * calls abandon(what). */
	int (*connect_patiently)(
		int fd, const struct endpoint *peer, void (*abandon)(void *), void *what);
	/* Without a signal; -ETIMEDOUT of a socket that takes nothing for so long. */
	long (*send)(int fd, const void *data, size_t len, long timeout_ms);
	int (*shut_down)(int fd, int how); /* shutdown(2) */
	/* What is there, without waiting; how much that was. */
	long (*receive)(int fd, void *data, size_t len);
	/* As peek(), of as many bytes as there are; how many that were. */
	long (*look_ahead)(int fd, void *data, size_t len);
	void (*yield)(void);

	/* All threads that wait for this word to change: for its turn, pool/turn.h. */
	void (*wake_all)(_Atomic uint32_t *word);

	/* What happened to a connection, for the log; may be NULL. No lock is held. */
	void (*note)(const struct connection *connection, const char *event, const char *why);
};

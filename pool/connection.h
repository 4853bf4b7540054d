/* A connection: all that is known of one TCP socket, from socket() to the last close().
 *
 * Who owns it. A connection is *live* while it is on a number of the program's, and any thread, or
 * signal handler, may have a call on it under way; it is *parked* while the pool has it, on a
 * hidden number. Its memory is never given back to the system (pool_release() puts it on a list for
 * the next socket), so that a call that comes back late can always look at it. The word `use`
 * decides everything between those calls: it counts the calls under way, says who has the
 * connection for himself, and carries a generation that changes when the connection ends. A call
 * that comes back to another generation does nothing.
 *
 * Nobody ever waits for a connection: who cannot have it at once makes it unpoolable and goes on.
 * All functions here are thread-safe and safe in signal handlers, unless they say that the caller
 * must have claimed the connection.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "pool/endpoint.h"
#include "pool/options.h"
#include "pool/refusal.h"
#include "pool/tracker.h"
#include "pool/watches.h"

struct service_point;

enum connection_state {
	CONNECTION_FREE = 0, /* pool.free */
	CONNECTION_FRESH,    /* a socket that has not been connected */
	CONNECTION_LIVE,     /* connect() was called, or answered from the pool */
	CONNECTION_PARKED,   /* service_point.parked and pool.parked */
	CONNECTION_TAKEN,    /* out of the pool: to be given to the program, or to be closed */
	CONNECTION_DIALLING, /* as TAKEN, of a successor that waits for its server: its number may
			      * be taken away */
};

/* A reused connection may have been dead when the program got it: pool/renew.h. */
enum risk {
	RISK_NONE = 0, /* it is not a reused one, or its first answer has come */
	RISK_UNUSED,   /* nothing was sent in this use */
	RISK_KEPT,     /* what was sent is kept, and can be sent once more */
	RISK_TAKEN,    /* it cannot: what becomes of it is learned from */
};

#define RENEWER_LEFT UINT32_MAX

enum turn {
	TURN_NONE = 0,
	TURN_WAITING, /* service_point.waiting */
	TURN_COME,    /* it is counted in with its service point, and may connect */
	TURN_STOPPED, /* it was shut down while it waited */
};

struct connection {
	_Atomic uint64_t use;
	_Atomic uint8_t state;       /* enum connection_state */
	_Atomic uint8_t refusal;     /* enum refusal: the first thing that made it unpoolable */
	_Atomic bool opened;         /* counted as opened */
	_Atomic int fd;              /* the program's number while live, else -1 */
	_Atomic int hidden;          /* our number while parked, else -1 */
	_Atomic uint8_t risk;        /* enum risk, of this use */
	_Atomic bool half_closed;    /* by the program: shutdown(SHUT_WR) */
	_Atomic uint8_t half_why;    /* enum refusal: why that was not held back; 0: SHUTDOWN */
	_Atomic bool order_unknown;  /* something was received while another call was under way */
	_Atomic bool failure_known;  /* that it has died is learned, or was our own doing */
	_Atomic bool result_pending; /* a second connect() is still to be answered with 0 */
	uint8_t discard;             /* enum discard: why it is to be closed, while TAKEN */
	_Atomic bool impatient;      /* it waits for its turn no longer: pool_let_through() */
	uint8_t prefix_len;
	_Atomic uint16_t family;      /* of the socket: AF_INET or AF_INET6 */
	_Atomic uint32_t fork_epoch;  /* pool.fork_epoch at socket() */
	_Atomic uint32_t credentials; /* pool.credentials then */
	uint32_t flushes;             /* its service point's, at connect() */
	_Atomic uint32_t uses;        /* connect() calls that it has answered */
	_Atomic uint64_t created_ms;
	uint64_t parked_ms;              /* or when it was given back */
	_Atomic uint64_t cookie;         /* SO_COOKIE of its socket; 0: not known */
	_Atomic uint64_t sent, received; /* the ledger: bytes that moved through the library */
	_Atomic uint64_t sent_before;    /* of sent: in earlier uses */
	uint32_t looked_at;              /* by which wish of pool_take(), while PARKED */
	uint32_t idle_ms;                /* for which it was parked before this use */
	uint32_t keeps_ms;               /* what its server announced; 0: nothing */

	/* The connection that is to take the place of this one, and the thread that makes it: 0,
	 * none; RENEWER_LEFT, it connects, and whoever comes next goes on with it.
	 * pool/succession.h */
	_Atomic(struct connection *) successor;
	_Atomic uint32_t renewer;
	/* The one whose place it has taken, of which generation. */
	_Atomic(struct connection *) predecessor;
	_Atomic uint32_t predecessor_generation;

	/* What was sent in this use, while RISK_KEPT: pool/kept.h */
	uint8_t *kept;
	uint32_t kept_len, kept_size;

	struct service_point *point;
	struct connection *point_prev, *point_next; /* service_point.parked or .waiting */
	struct connection *prev, *next;             /* pool.parked, or a list of doomed ones */
	struct connection *next_free;               /* pool.free or pool.orphans */
	struct connection *next_made;               /* pool.made */

	/* While it is FRESH, and waits for its turn: pool/turn.h */
	_Atomic uint32_t turn; /* enum turn; what pool_os.wake_all() is told of */
	struct service_point *waits_at;
	long may_wait_ms;
	bool own_time; /* that is the socket's SO_SNDTIMEO */

	struct endpoint peer;                 /* where connect() was asked to go */
	struct endpoint local;                /* what the program bound it to; family 0: nothing */
	_Atomic uint64_t *opened_counters[2]; /* what grows when it is opened; may be NULL */
	struct watches watches;
	struct options options;

	/* What is held back, and the goodbye of it: pool/deferral.h */
	uint8_t deferred, goodbye_len;
	uint8_t goodbye[GOODBYE_MAX];

	_Atomic(const struct tracker *) tracker; /* NULL: not known yet */
	/* What its server was asked for, and has not answered yet, while PARKED: pool/reset.h */
	const struct tracker_reset *resetting;
	uint8_t prefix[TRACKER_PREFIX_MAX];
	_Alignas(8) uint8_t tracker_state[TRACKER_STATE_MAX];
};

/* A call of the program's that is under way on a connection. */
struct call {
	struct connection *connection; /* NULL: the descriptor is none of ours */
	uint32_t generation;
	bool hidden;         /* the program names a number that it cannot know: EBADF */
	int16_t saved_errno; /* as it was before, for who makes the call again */
};

enum direction { SENT, RECEIVED };

/* ---- calls under way ---- */

/* Without a connection in the result if there are too many already. */
struct call connection_enter(struct connection *connection);
void connection_leave(struct call call);

/* Has the connection not ended since the call began? */
bool connection_is_current(struct call call);

/* Has somebody else a call under way? */
bool connection_is_shared(struct call call);

/* ---- having it for oneself ---- */

/* connect() is at work on its number, and may put another socket there: between these two others
 * keep off the number (shim/fdtable.h). _begin_connect() is false if another call is under way. The
 * result of _end_connect() is that of _moved(). */
bool connection_begin_connect(struct call call);
bool connection_end_connect(struct call call);
bool connection_is_connecting(const struct connection *connection);

/* A real connect() has succeeded. The result is that of _moved(). */
bool connection_connected(struct call call);

/* A call that wants another connection in the place of this one, and waits for that, or makes it.
 * false if the connection has ended, or there are too many. */
bool connection_want_renewal(struct call call);
void connection_want_no_renewal(struct call call);

/* Has nobody else a call under way, but those that want it renewed, too? Then it is as after
 * _begin_connect(). */
bool connection_begin_renewal(struct call call);

/* The same of one that has ended, so that every call under way has returned: what is still counted
 * was jumped out of, or is one that this very call has interrupted. */
bool connection_force_renewal(struct call call);

/* Something is held back from here on (pool/deferral.h). The caller has claimed it, and has not any
 * more; false, and it still has, if another call is under way, or it has ended. */
bool connection_defer(struct call call);
bool connection_is_deferred(struct call call);

/* Nothing is held back any more: the caller is about to do it, with the connection as after
 * _begin_connect(). false if somebody has claimed it, unless *claimed is false: then the caller
 * does it all the same, and *claimed says whether it has it; or if close() has, or nothing is held
 * back. */
bool connection_begin_carrying_out(struct call call, bool *claimed);

/* Did this connection take the place of the one that the call was on? */
bool connection_succeeds(const struct connection *connection, struct call call);

/* For what succeeded on the connection and is to be written down: false if that is too late, or if
 * it cannot be done now, and is refused for that. The result of _unclaim() is that of _moved(). */
bool connection_claim(struct call call);
bool connection_try_claim(struct call call); /* nothing is refused */
bool connection_unclaim(struct connection *connection);

/* What _moved() does with the bytes. The caller has claimed it. data may be NULL. */
void connection_feed(
	struct connection *connection, enum direction direction, const uint8_t *data, size_t len);
void connection_feed_vector(struct connection *connection, enum direction direction,
	const struct iovec *vector, size_t total);

/* The connection came to be, as was now seen. Counted once. The caller has claimed it. */
void connection_opened(struct connection *connection);

enum closing {
	CLOSING_CLAIMED,  /* the caller has it, and no call is under way */
	CLOSING_BUSY,     /* a call is under way: end it, then close the number */
	CLOSING_ELSEWHERE /* another close() has it; the number may be another file's by now */
};

/* For close(), of a call that found the connection on the number. If it is claimed, the call is
 * over; else connection_leave() is still to come. */
enum closing connection_begin_close(struct call call);

/* After _begin_close() claimed it and its number was closed: has nobody touched it since? Then the
 * claim is over, and the caller may give it to the pool. */
bool connection_settle(struct connection *connection);

/* The connection is no longer on the program's number fd, where something else is now; for the one
 * who took it out of the descriptor table. If nobody is closing it, it ends. true if the caller is
 * to give its memory back (pool_release); false if somebody who has it for himself will. Every call
 * under way has lost it. */
bool connection_displaced(struct connection *connection, int fd);

/* The same for one who found it on its number in a call of his own: if it has ended since, by a
 * close() that came first, nothing is left to do. */
bool connection_lost_number(struct call call);

/* All-new, for a socket that nobody knows of yet. */
void connection_reset(
	struct connection *connection, int family, uint32_t fork_epoch, uint64_t now_ms);

/* No call under way has it any more, and nobody has it for himself. The caller owns it. */
void connection_end(struct connection *connection);

/* ---- what the program does ---- */

/* It can no longer be pooled. The first reason stays. */
void connection_refuse(struct connection *connection, enum refusal refusal);

/* total bytes have moved; they are the first ones of the vector, or nobody saw them if vector is
 * NULL. Returns true if the connection ended meanwhile and the caller is to give its memory back.
 */
bool connection_moved(
	struct call call, enum direction direction, const struct iovec *vector, size_t total);

/* setsockopt(), epoll_ctl() and bind() have succeeded. The result is that of _moved(). */
bool connection_set_option(
	struct call call, int level, int name, const void *value, socklen_t size);
bool connection_watch(struct call call, int epfd, int op, const struct epoll_event *event);
bool connection_bound(struct call call, const struct endpoint *local);

/* ---- questions ---- */

static inline enum risk connection_risk(const struct connection *connection)
{
	return (enum risk)atomic_load_explicit(&connection->risk, memory_order_relaxed);
}

void connection_set_risk(struct connection *connection, enum risk risk);

/* May so many bytes be a goodbye? */
static inline bool connection_may_say_goodbye(const struct connection *connection, size_t len)
{
	const struct tracker *tracker =
		atomic_load_explicit(&connection->tracker, memory_order_relaxed);

	return tracker && len <= GOODBYE_MAX && tracker->goodbye_lens >> len & 1;
}

/* How many connections of the process are at risk: while none is, the calls that wait have nothing
 * to look for. */
extern _Atomic uint32_t connections_at_risk;

static inline bool connection_any_at_risk(void)
{
	return atomic_load_explicit(&connections_at_risk, memory_order_relaxed) > 0;
}

/* Is number the hidden one of this connection, which the program does not know of? */
static inline bool connection_hides(const struct connection *connection, int number)
{
	return atomic_load_explicit(&connection->hidden, memory_order_acquire) == number;
}

static inline enum connection_state connection_state(const struct connection *connection)
{
	return (enum connection_state)atomic_load_explicit(
		&connection->state, memory_order_acquire);
}

static inline bool connection_refused(const struct connection *connection)
{
	return atomic_load_explicit(&connection->refusal, memory_order_relaxed) != REFUSED_NOT;
}

/* What the connection itself has against being parked: what the program did, and what the
 * protocol tracker says. No system call. The caller has claimed it. */
enum refusal connection_verdict(const struct connection *connection, uint32_t fork_epoch);

/* The name of its protocol, "unknown" if it is not known. */
const char *connection_protocol(const struct connection *connection);

/* The pool: the connections of one process that are parked, by service point, and the memory of all
 * connections. After System.Net.ServicePointManager.
 *
 * Verbs: a program's close() *parks* a connection, or closes it; its connect() *takes* one; the
 * pool *evicts* the least recently used. One lock, pool.lock; no system call is made under it.
 * Every function is thread-safe and safe in signal handlers; where the lock is not to be had the
 * answer is the one that makes the caller go on as without a pool.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "pool/connection.h"
#include "pool/kept.h"
#include "pool/lock.h"
#include "pool/names.h"
#include "pool/os.h"
#include "pool/service_point.h"
#include "pool/settings.h"
#include "pool/slab.h"
#include "pool/stats.h"
#include "pool/status.h"

/* Words that somebody waits for, of connections. Those whose turn has come are not more than half;
 * they go on with it. */
#define WOKEN_MOST 16
struct woken {
	unsigned count;
	_Atomic uint32_t *words[WOKEN_MOST];
};

struct pool {
	const struct pool_os *os;
	struct settings settings;
	struct rules rules; /* list and count change under the lock */
	size_t rules_given; /* the first of them; then come those that manager_set() has kept */
	struct stats stats;
	_Atomic uint32_t copies_under_way; /* pool_begin_copy() without its _end_copy() */
	_Atomic uint32_t fork_epoch;  /* changes when somebody may get copies of our descriptors */
	_Atomic uint32_t credentials; /* changes with the process's user, groups or root */
	_Atomic unsigned parked_most;
	_Atomic unsigned on_the_way; /* connections that have a number which they are about to give
				      * up: being parked, taken or discarded */
	_Atomic bool off;            /* for good: pool_turn_off() */
	_Atomic(struct connection *) made;    /* all there ever were: connection.next_made */
	_Atomic(struct connection *) orphans; /* given back without the lock: .next_free */
	struct kept_spare kept;

	struct lock lock; /* covers all that follows, and the lists in connections */
	struct slab slab;
	struct service_points points;
	struct names names;
	struct connection *free;   /* connection.next_free */
	struct connection *parked; /* connection.prev, .next; latest parked first */
	struct woken woken;        /* when the lock is released */
	unsigned parked_count;
	bool points_differ;          /* not all service points have the same settings.idle_ms */
	_Atomic uint32_t wishes;     /* calls of pool_take() */
	_Atomic uint32_t fork_owner; /* thread_id of who holds it over a fork; 0: nobody */
	uint64_t signals_before;     /* what the holder had blocked */
	uint64_t now_ms;             /* about */
	struct status status;
};

void pool_init(struct pool *pool, const struct pool_os *os, const struct settings *settings);

/* After pool_init(), before anything else: the rules' memory and text are the caller's for ever. */
void pool_set_rules(struct pool *pool, const struct rules *rules);

/* A connection for a new socket of this address family, FRESH, on no number yet. epoch is
 * pool_fork_epoch() from before the socket was made, as a fork may come at any moment. NULL if
 * there is no memory. */
uint32_t pool_fork_epoch(struct pool *pool);
struct connection *pool_adopt(struct pool *pool, int family, uint32_t epoch);

/* Gives back the memory of a connection that has ended and is on no number. Only the one to whom
 * connection.h says so may call it. */
void pool_release(struct pool *pool, struct connection *connection);

enum taken {
	TAKEN_BUSY,    /* another call is under way on the socket */
	TAKEN_NONE,    /* connect for real */
	TAKEN_DONE,    /* connected; the program's socket is a blocking one */
	TAKEN_PENDING, /* connected; the program's socket is a non-blocking one */
	TAKEN_LIMITED, /* the service point has as many connections as it may: wait until
			* fresh->turn is not TURN_WAITING, for up to fresh->may_wait_ms, then try
			* again */
};

/* connect(): the service point of endpoint gets one more connection in use, by fresh; and if it has
 * a parked one that fits and passes every proof, that one is now on fd in the place of fresh, which
 * the caller still has. The caller is between connection_begin_connect() and _end_connect() with
 * fresh. */
enum taken pool_take(
	struct pool *pool, struct connection *fresh, int fd, const struct endpoint *endpoint);

/* Its time is over. false if it did not wait any more: its turn has come just now, or somebody has
 * closed it. */
bool pool_stop_waiting(struct pool *pool, struct call call);

/* It connects at once from now on, at the limit or not. */
void pool_let_through(struct pool *pool, struct call call);

/* shutdown() of a socket that waits: the thread that waits learns of it, as TURN_STOPPED. false if
 * none does. */
bool pool_shut_down_waiting(struct pool *pool, struct call call);

/* It is no connection of its service point any more: connect(2), AF_UNSPEC. */
void pool_dissolve(struct pool *pool, struct call call);

/* Its turn has come, but it does not want to connect any more. */
void pool_give_up_turn(struct pool *pool, struct call call);

/* close(): parks the connection on fd, or closes it. Either way fd is closed and the connection no
 * longer the caller's when this returns. The caller has claimed it for close(). 0, or what close(2)
 * said, as -errno. */
int pool_close(struct pool *pool, struct connection *connection, int fd);

/* The same for who has blocked signals (pool_os.block_signals) before he claimed it; they are
 * restored. */
int pool_close_blocked(
	struct pool *pool, struct connection *connection, int fd, uint64_t signals_before);

/* Closes this connection if it is parked on this hidden number. */
void pool_evict(struct pool *pool, struct connection *connection, int hidden);

/* Closes up to count connections that were parked longest, and says how many that were. */
unsigned pool_make_room(struct pool *pool, unsigned count);

/* Closes the connections that have been parked for too long. Returns in how many milliseconds the
 * next one will have been; -1: none, as far as is known. */
long pool_expire(struct pool *pool);

/* Something has come on this connection, or its end: closes it, if it is parked on this number. */
void pool_end_of(struct pool *pool, struct connection *connection, int hidden);

/* Closes every parked connection. */
void pool_drop(struct pool *pool);

/* From now on no more than this are parked. Those beyond are closed, longest parked first. */
void pool_set_parked_most(struct pool *pool, unsigned most);

/* The process is another one for its peers: what is parked is closed, and what is open will not be
 * parked. */
void pool_change_credentials(struct pool *pool);

/* Closes every parked connection, and nothing is parked or taken any more. */
void pool_turn_off(struct pool *pool);

/* The program has resolved a name (names_learn()). Connections to addresses that it does not have
 * any more are retired: closed if they are parked, or when they are released. The result is the
 * name, for look_ups_note(); NULL if it was not learned. */
const struct name *pool_learn_name(
	struct pool *pool, const char *text, size_t len, const struct answer *answer);
void pool_learn_more(struct pool *pool, const struct name *name, const struct answer *answer);

/* Around fork(), in this order; the child starts with an empty pool. What was open at the fork is
 * not parked by either side. */
void pool_prepare_fork(struct pool *pool);
void pool_after_fork_in_parent(struct pool *pool);
void pool_after_fork_in_child(struct pool *pool);

/* Somebody else may hold a copy of every descriptor that is open now: none of the live connections
 * is parked any more. */
void pool_shared_descriptors(struct pool *pool);

/* Around a call that makes such copies at a moment that cannot be known: nothing is parked in
 * between, and what was made before the end is never parked. */
void pool_begin_copy(struct pool *pool);
void pool_end_copy(struct pool *pool);

/* The pool as members of a JSON object, without its braces. Returns false without the lock: then
 * the service points are left out. */
bool pool_add_json(struct pool *pool, struct text *text);

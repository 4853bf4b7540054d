/* Succession: a new connection takes the place of one that is on a number of the program's.
 *
 * One call at a time makes a successor: a connection of its own, on a hidden number, with the peer,
 * the options and the epoll sets of the old one. Nothing is claimed while it waits for its server,
 * so signal handlers may run, and jump away, and other threads may close the number; who finds the
 * successor useless after that drops it. Only when it is connected, and what was kept has been sent
 * on it, all other calls are kept off the number, and it is put there, as connect() puts a parked
 * connection in the place of a new socket (pool/take.c).
 *
 * Other calls that want the same wait for that: those on blocking sockets. They go on with the
 * successor.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "pool/connection.h"

struct pool;

/* For how long a call on a non-blocking socket waits for a successor that has something to send
 * again, or is to be half closed: with it a SYN may be lost twice (RFC 6298: after one second, and
 * two more). */
#define SUCCESSION_WAIT_MS 4000

/* One renewal, by the call that makes it. */
struct renewal {
	struct pool *pool;
	struct call call; /* on the connection whose place is to be taken */
	int fd;
	bool not_to_wait;
	long wait_ms;              /* for which it waits where it is not to wait; 0: the usual */
	bool is_alive;             /* that connection, which is ended first */
	enum risk risk;            /* at which it was found */
	bool only_waits;           /* for another thread that renews it */
	_Atomic uint64_t *counter; /* of what it is for */
	/* The rest is succession()'s. */
	struct call successor; /* of which there is no call: it is for the generation */
	uint64_t sent;         /* on the old one, when the successor got its copy */
	bool has_ended;        /* the old one, by our doing */
	bool is_dialling;      /* the successor was left connecting by another call */
	bool is_left;          /* and is again */
	bool is_interrupted;   /* by a signal handler, which the call is to say */
	bool is_connected;     /* the successor; else it goes on connecting */
	int status_flags;      /* of fd */
	uint64_t signals;      /* what was blocked before */
};

/* The answer, or -errno with which the program's call fails. */
enum {
	SUCCESSION_NOT = 0, /* nothing has changed, but that one that was alive may have ended */
	SUCCESSION_DONE,    /* the connection of the call is not on its number any more */
	SUCCESSION_RETRY,   /* another thread has tried, in vain, or has sent something */
};

int succession(struct renewal *renewal);

/* The connection has ended: what somebody in this thread who jumped out of succession(), or was
 * interrupted in it, has left behind is closed. */
void succession_abandon(struct pool *pool, struct connection *connection);

/* shutdown() of a connection that is being renewed: whoever waits for its successor waits no
 * longer, and sees what it does of the old one. false if nobody does. */
bool succession_shut_down(struct pool *pool, struct call call);

/* The hidden number of a successor is wanted by the program. If it is not to be had just now, it
 * will be in a moment. */
void succession_make_way(struct pool *pool, struct connection *successor, int hidden);

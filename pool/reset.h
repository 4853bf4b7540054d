/* Reset: a connection on which a program has left a state (a login, a database) is parked with the
 * server asked to undo that, and is used again only when it has said that it did. Nobody waits for
 * the answer. What is asked, and what must be answered, is the tracker's to know: pool/tracker.h.
 */
#pragma once

#include <stdbool.h>

#include "pool/connection.h"

struct pool;

/* Is the connection idle, but for a state that the server can be asked to undo? The caller has
 * claimed it. */
bool reset_helps(const struct connection *connection);

/* Asks for it, if it is needed, on the hidden number. false if that cannot be done at once. The
 * caller has the connection, which is nobody's. */
bool reset_ask(struct pool *pool, struct connection *connection);

enum reset {
	RESET_DONE,    /* or there was no need */
	RESET_AWAITED, /* the answer is not there yet, or not all of it */
	RESET_FAILED,  /* something else is there */
};

/* Takes the answer, if it is there. The caller has the connection, which is out of the pool; point
 * is its service point, which learns from it, or NULL. */
enum reset reset_look(
	struct pool *pool, struct connection *connection, struct service_point *point);

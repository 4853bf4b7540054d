/* The proofs: what the kernel says of a connection before it is parked and before it is reused.
 * Invariants 2 and 3 of the design.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "pool/connection.h"
#include "pool/os.h"
#include "pool/stats.h"

/* SO_COOKIE (Linux 4.12, net/core/sock_diag.c): a number that no other socket of this boot has
 * had or will have. 0 if fd is not a socket. */
uint64_t proof_cookie(const struct pool_os *os, int fd);

/* Is the fresh socket on fd still this one, and has it not been connected behind our back? */
bool proof_fresh(const struct pool_os *os, const struct connection *fresh, int fd);

/* Was a connection ever made on fd? */
bool proof_connected(const struct pool_os *os, int fd);

/* What the kernel has counted on a socket, against what was seen of the connection. */
struct proof_flow {
	bool all_sent_seen; /* nothing was sent that was not seen: else it is none of our business
			     */
	bool heard;         /* the peer has acknowledged something of what was sent in this use */
	bool open;          /* ESTABLISHED: neither side has ended it */
	bool quiet;         /* nothing has come that was not received, and seen */
};

/* All false if it cannot be known, or if it is no TCP socket. */
struct proof_flow proof_flow(const struct pool_os *os, const struct connection *connection, int fd);

/* Before parking: fd is this connection, every byte that the kernel counts was seen, none is left
 * in either direction, the peer has not closed it, and no signal is sent for it. Where the server
 * is going to be asked to reset it, its answer will acknowledge what was sent. */
enum refusal proof_before_parking(
	const struct pool_os *os, const struct connection *connection, int fd);

/* Before reuse: the hidden number is still this connection, and it is quiet and alive. If not,
 * *why says what it is. */
bool proof_before_reuse(
	const struct pool_os *os, const struct connection *connection, enum discard *why);

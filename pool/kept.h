/* What a program has sent on a reused connection, kept until the first byte of the answer comes, so
 * that it can be sent once more. At most KEPT_BYTES_MOST bytes; the memory is the slab's, or one of
 * a few spare pieces, which are had without a lock.
 *
 * The caller has claimed the connection, or nobody else has it.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#define KEPT_BYTES_MOST 65536
#define KEPT_PIECE      2048 /* the size of a spare piece */
#define KEPT_SPARE      8

struct pool;
struct connection;

struct kept_spare {
	_Atomic(void *) pieces[KEPT_SPARE];
};

/* Keeps the first total bytes of the vector. false if there is no room, or no memory: then nothing
 * is kept any more. */
bool kept_add(
	struct pool *pool, struct connection *connection, const struct iovec *vector, size_t total);

void kept_drop(struct pool *pool, struct connection *connection);

/* Gives back a piece of this size that was taken out of a connection; it may be NULL. */
void kept_give(struct pool *pool, void *piece, size_t size);

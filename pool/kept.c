#include "pool/kept.h"

#include <string.h>

#include "pool/pool_private.h"

static void *take_spare(struct pool *pool)
{
	for (unsigned i = 0; i < KEPT_SPARE; i++) {
		_Atomic(void *) *piece = &pool->kept.pieces[i];
		void *taken = atomic_load_explicit(piece, memory_order_relaxed)
				      ? atomic_exchange_explicit(piece, NULL, memory_order_acquire)
				      : NULL;
		if (taken)
			return taken;
	}
	return NULL;
}

static bool give_spare(struct pool *pool, void *piece)
{
	for (unsigned i = 0; i < KEPT_SPARE; i++) {
		void *none = NULL;
		if (atomic_compare_exchange_strong_explicit(&pool->kept.pieces[i], &none, piece,
			    memory_order_release, memory_order_relaxed))
			return true;
	}
	return false;
}

static void *take(struct pool *pool, size_t size)
{
	void *piece = size == KEPT_PIECE ? take_spare(pool) : NULL;

	if (piece || !pool_enter(pool))
		return piece;
	piece = slab_alloc(&pool->slab, size);
	pool_leave(pool);
	if (piece)
		return piece;
	/* A chunk of which the rest is for others. */
	void *chunk = pool->os->map(2 * KEPT_BYTES_MOST);
	if (!chunk || !pool_enter(pool))
		return NULL;
	slab_feed(&pool->slab, chunk, 2 * KEPT_BYTES_MOST);
	piece = slab_alloc(&pool->slab, size);
	pool_leave(pool);
	return piece;
}

void kept_give(struct pool *pool, void *piece, size_t size)
{
	if (!piece || (size == KEPT_PIECE && give_spare(pool, piece)))
		return;
	/* Without the lock it is lost, which is no harm. */
	if (!pool_enter(pool))
		return;
	slab_free(&pool->slab, piece, size);
	pool_leave(pool);
}

void kept_drop(struct pool *pool, struct connection *connection)
{
	void *piece = connection->kept;
	size_t size = connection->kept_size;

	connection->kept = NULL;
	connection->kept_len = connection->kept_size = 0;
	kept_give(pool, piece, size);
}

static bool make_room(struct pool *pool, struct connection *connection, size_t total)
{
	size_t size = connection->kept_size ? connection->kept_size : KEPT_PIECE;
	size_t need = connection->kept_len + total;

	if (need > KEPT_BYTES_MOST)
		return false;
	while (size < need)
		size *= 2;
	if (size == connection->kept_size)
		return true;
	void *piece = take(pool, size);
	if (!piece)
		return false;
	if (connection->kept_len > 0)
		memcpy(piece, connection->kept, connection->kept_len);
	kept_give(pool, connection->kept, connection->kept_size);
	connection->kept = piece;
	connection->kept_size = (uint32_t)size;
	return true;
}

bool kept_add(
	struct pool *pool, struct connection *connection, const struct iovec *vector, size_t total)
{
	if (!vector || !make_room(pool, connection, total)) {
		kept_drop(pool, connection);
		return false;
	}
	for (; total > 0; vector++) {
		size_t len = vector->iov_len < total ? vector->iov_len : total;
		if (len > 0)
			memcpy(connection->kept + connection->kept_len, vector->iov_base, len);
		connection->kept_len += (uint32_t)len;
		total -= len;
	}
	return true;
}

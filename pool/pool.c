#include "pool/pool.h"

#include <string.h>

#include "pool/deferral.h"
#include "pool/layout.h"
#include "pool/pool_private.h"
#include "pool/succession.h"
#include "pool/turn.h"

/* Bytes that are mapped at a time. */
#define MEMORY_CHUNK 65536

HOT void pool_init(struct pool *pool, const struct pool_os *os, const struct settings *settings)
{
	*pool = (struct pool){.os = os, .settings = *settings};
	atomic_store(&pool->parked_most, (unsigned)settings->max_parked);
	pool->points.slab = &pool->slab;
	pool->points.defaults = &pool->settings.point;
	pool->points.rules = &pool->rules;
	pool->names.slab = &pool->slab;
}

HOT void pool_set_rules(struct pool *pool, const struct rules *rules)
{
	pool->rules = *rules;
	pool->rules_given = rules->count;
	pool->points_differ = rules->count > 0;
}

HOT uint32_t pool_fork_epoch(struct pool *pool)
{
	return atomic_load_explicit(&pool->fork_epoch, memory_order_relaxed);
}

/* Bytes to be mapped so that whatever is done under the lock finds its memory; 0 if there is
 * enough. */
static size_t shortage_locked(struct pool *pool, size_t more) REQUIRES(pool->lock)
{
	size_t need = sizeof(struct connection) * 2 + service_points_need(&pool->points) + more;

	if (slab_room(&pool->slab) >= need)
		return 0;
	return need * 2 > MEMORY_CHUNK ? need * 2 : MEMORY_CHUNK;
}

static void free_locked(struct pool *pool, struct connection *connection) REQUIRES(pool->lock)
{
	struct service_point *point = connection->point;

	turn_end_locked(pool, connection);
	if (point) {
		service_point_left(point, connection->parked_ms);
		status_note_locked(pool, point);
		turn_pass_on_locked(pool, point);
	}
	connection->point = NULL;
	atomic_store_explicit(&connection->state, CONNECTION_FREE, memory_order_relaxed);
	connection->next_free = pool->free;
	pool->free = connection;
}

/* What was given back while the lock was not to be had. */
static void free_orphans_locked(struct pool *pool) REQUIRES(pool->lock)
{
	struct connection *orphan =
		atomic_exchange_explicit(&pool->orphans, NULL, memory_order_acquire);

	while (orphan) {
		struct connection *next = orphan->next_free;
		free_locked(pool, orphan);
		orphan = next;
	}
}

/* With the lock, a handler that jumps out of here by siglongjmp() would take it along. */
static bool lock_pool(struct pool *pool) TRY_ACQUIRES(pool->lock)
{
	uint64_t signals_before = pool->os->block_signals();

	if (!lock_acquire(&pool->lock, pool->os)) {
		pool->os->restore_signals(signals_before);
		return false;
	}
	pool->signals_before = signals_before;
	return true;
}

static void unlock_pool(struct pool *pool) RELEASES(pool->lock)
{
	uint64_t signals_before = pool->signals_before;

	lock_release(&pool->lock, pool->os);
	pool->os->restore_signals(signals_before);
}

static bool enter_with(struct pool *pool, bool for_names) TRY_ACQUIRES(pool->lock)
{
	if (!lock_pool(pool))
		return false;
	size_t shortage = shortage_locked(pool, for_names ? names_need(&pool->names) : 0);
	if (shortage) {
		/* mmap() is a system call, and not for under the lock. */
		unlock_pool(pool);
		void *chunk = pool->os->map(shortage);
		if (!lock_pool(pool))
			return false;
		if (chunk)
			slab_feed(&pool->slab, chunk, shortage);
	}
	free_orphans_locked(pool);
	return true;
}

bool pool_enter(struct pool *pool)
{
	return enter_with(pool, false);
}

bool pool_enter_for_names(struct pool *pool)
{
	return enter_with(pool, true);
}

void pool_leave(struct pool *pool)
{
	const struct woken woken = pool->woken;
	uint64_t signals_before = pool->signals_before;

	pool->woken.count = 0;
	status_show_locked(pool);
	lock_release(&pool->lock, pool->os);
	/* Before a signal handler can run, and jump away: nobody else would wake them. */
	for (unsigned i = 0; i < woken.count; i++)
		pool->os->wake_all(woken.words[i]);
	pool->os->restore_signals(signals_before);
}

static struct connection *make_locked(struct pool *pool) REQUIRES(pool->lock)
{
	struct connection *connection = pool->free;

	if (connection) {
		pool->free = connection->next_free;
		return connection;
	}
	connection = slab_alloc(&pool->slab, sizeof(*connection));
	if (!connection)
		return NULL;
	/* It stays a connection's for ever, so no late call can be looking at it yet. */
	memset(connection, 0, sizeof(*connection));
	connection->next_made = atomic_load_explicit(&pool->made, memory_order_relaxed);
	atomic_store_explicit(&pool->made, connection, memory_order_release);
	return connection;
}

struct connection *pool_adopt(struct pool *pool, int family, uint32_t epoch)
{
	uint64_t now = pool->os->now_ms();

	if (!pool_enter(pool))
		return NULL;
	struct connection *connection = make_locked(pool);
	/* Under the lock, so that a fork finds no memory as free that is in somebody's hands. */
	if (connection) {
		connection_reset(connection, family, epoch, now);
		connection->credentials = pool_credentials(pool);
	}
	pool_leave(pool);
	return connection;
}

void pool_release(struct pool *pool, struct connection *connection)
{
	kept_drop(pool, connection);
	succession_abandon(pool, connection);
	deferral_forget(connection);
	connection_end(connection);
	connection->parked_ms = pool->os->now_ms();
	if (pool_enter(pool)) {
		pool->now_ms = connection->parked_ms;
		free_locked(pool, connection);
		pool_leave(pool);
		return;
	}
	struct connection *top = atomic_load_explicit(&pool->orphans, memory_order_relaxed);
	do {
		connection->next_free = top;
	} while (!atomic_compare_exchange_weak_explicit(
		&pool->orphans, &top, connection, memory_order_release, memory_order_relaxed));
}

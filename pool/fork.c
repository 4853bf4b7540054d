/* fork(): one process, one pool. */

#include "pool/layout.h"
#include "pool/pool_private.h"

#include "pool/deferral.h"
#include "pool/proof.h"

/* A copy would keep the peer from hearing of a close(). */
HOT static void carry_out_all(struct pool *pool)
{
	if (atomic_load(&deferral_count) > 0 && pool->os->may_act())
		deferral_carry_out_all(pool);
}

HOT void pool_shared_descriptors(struct pool *pool)
{
	atomic_fetch_add_explicit(&pool->fork_epoch, 1, memory_order_seq_cst);
	/* In this order, as nothing more is held back on what was open before. */
	carry_out_all(pool);
}

HOT void pool_begin_copy(struct pool *pool)
{
	atomic_fetch_add_explicit(&pool->copies_under_way, 1, memory_order_seq_cst);
	pool_shared_descriptors(pool);
}

HOT void pool_end_copy(struct pool *pool)
{
	pool_shared_descriptors(pool);
	atomic_fetch_sub_explicit(&pool->copies_under_way, 1, memory_order_seq_cst);
}

/* The lock is held over the fork, so that the child's lists are whole. It is not to be had where a
 * signal handler that interrupted the pool forks: such a child does without a pool. */
LOCK_ATTRIBUTE(no_thread_safety_analysis) HOT void pool_prepare_fork(struct pool *pool)
{
	/* Before the lock, under which no system call is made; whoever parks one in between finds
	 * out. */
	pool_shared_descriptors(pool);
	bool locked = lock_acquire(&pool->lock, pool->os);

	if (locked)
		atomic_store(&pool->fork_owner, pool->os->thread_id());
}

LOCK_ATTRIBUTE(no_thread_safety_analysis) HOT void pool_after_fork_in_parent(struct pool *pool)
{
	/* Once more, as the child has also what was opened after the first time. */
	atomic_fetch_add_explicit(&pool->fork_epoch, 1, memory_order_seq_cst);
	/* Another thread may be forking at the same time, and hold it. */
	uint32_t owner = atomic_load(&pool->fork_owner);
	if (owner != 0 && owner == pool->os->thread_id()) {
		atomic_store(&pool->fork_owner, 0);
		lock_release(&pool->lock, pool->os);
	}
	carry_out_all(pool);
}

/* One connection as the child finds it. Its copy of a hidden number is closed: that says nothing to
 * the peer, as the parent has it open. Calls that other threads had under way are no more. */
static void inherit(struct pool *pool, struct connection *connection)
{
	int hidden = atomic_load_explicit(&connection->hidden, memory_order_relaxed);

	if (hidden >= 0) {
		if (proof_cookie(pool->os, hidden) == connection->cookie)
			pool->os->discard(connection);
		else
			pool->os->lose(connection);
	}
	connection->point = NULL;
	connection->deferred = 0;
	atomic_store(&connection->successor, NULL);
	atomic_store(&connection->renewer, 0);
	connection->kept = NULL;
	connection->kept_len = connection->kept_size = 0;
	atomic_store(&connection->turn, TURN_NONE);
	connection_refuse(connection, REFUSED_FORKED);
	connection_end(connection);
}

LOCK_ATTRIBUTE(no_thread_safety_analysis) HOT void pool_after_fork_in_child(struct pool *pool)
{
	struct connection *connection = atomic_load(&pool->made);
	bool whole = atomic_load(&pool->fork_owner) == pool->os->thread_id();

	for (; connection; connection = connection->next_made)
		inherit(pool, connection);
	deferral_after_fork_in_child();
	atomic_store(&pool->fork_owner, 0);
	atomic_store(&pool->copies_under_way, 0);
	atomic_store(&pool->on_the_way, 0);
	pool->stats = (struct stats){0};
	/* The page is the parent's. */
	pool->status = (struct status){.page = NULL};
	if (!whole) {
		lock_break(&pool->lock);
		return;
	}
	lock_reset(&pool->lock);
	pool->points = (struct service_points){
		.slab = &pool->slab,
		.defaults = &pool->settings.point,
		.rules = &pool->rules,
	};
	pool->parked = pool->free = NULL;
	pool->woken.count = 0;
	pool->parked_count = 0;
	atomic_store(&pool->orphans, NULL);
	/* Those that were taken out of the pool are left lying, as one of them may be in the hands
	 * of the very thread that forks. */
	for (connection = atomic_load(&pool->made); connection;
		connection = connection->next_made) {
		if (connection_state(connection) == CONNECTION_PARKED)
			atomic_store(&connection->state, CONNECTION_FREE);
		if (connection_state(connection) != CONNECTION_FREE)
			continue;
		connection->next_free = pool->free;
		pool->free = connection;
	}
}

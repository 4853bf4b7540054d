#include "pool/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <utlist.h>

#include "pool/proof.h"

#define MEMORY_CHUNK 65536

/* How many of those that were parked longest are looked at in one call. */
#define EXPIRE_AT_ONCE 8

void pool_init(struct pool *pool, const struct pool_os *os, const struct settings *settings)
{
	*pool = (struct pool){.os = os, .settings = *settings};
	pool->points.slab = &pool->slab;
	atomic_store(&pool->memory_wanted, MEMORY_CHUNK);
}

/* ---- memory ---- */

static uint32_t fork_epoch(struct pool *pool)
{
	return atomic_load_explicit(&pool->fork_epoch, memory_order_relaxed);
}

/* Maps what was found wanting under the lock the last time: mmap() is a system call. */
static void *map_wanted(struct pool *pool, size_t *size)
{
	*size = atomic_exchange_explicit(&pool->memory_wanted, 0, memory_order_relaxed);
	return *size ? pool->os->map(*size) : NULL;
}

static void check_memory_locked(struct pool *pool) REQUIRES(pool->lock)
{
	size_t need = sizeof(struct connection) * 2 + service_points_need(&pool->points);

	if (slab_room(&pool->slab) >= need)
		return;
	size_t size = need * 2 > MEMORY_CHUNK ? need * 2 : MEMORY_CHUNK;
	atomic_store_explicit(&pool->memory_wanted, size, memory_order_relaxed);
}

static void free_locked(struct pool *pool, struct connection *connection) REQUIRES(pool->lock)
{
	if (connection->point)
		connection->point->in_use--;
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

/* Takes the lock, with memory at hand and everything in its place. */
static bool enter(struct pool *pool) TRY_ACQUIRES(pool->lock)
{
	size_t size;
	void *chunk = map_wanted(pool, &size);

	/* Where the lock is not to be had the chunk is lost; that is rare, and a few pages. */
	if (!lock_acquire(&pool->lock, pool->os))
		return false;
	if (chunk)
		slab_feed(&pool->slab, chunk, size);
	free_orphans_locked(pool);
	return true;
}

static void leave(struct pool *pool) RELEASES(pool->lock)
{
	check_memory_locked(pool);
	lock_release(&pool->lock, pool->os);
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

struct connection *pool_adopt(struct pool *pool, int family)
{
	uint64_t now = pool->os->now_ms();

	if (!enter(pool))
		return NULL;
	struct connection *connection = make_locked(pool);
	leave(pool);
	if (connection)
		connection_reset(connection, family, fork_epoch(pool), now);
	return connection;
}

void pool_release(struct pool *pool, struct connection *connection)
{
	connection_end(connection);
	if (enter(pool)) {
		free_locked(pool, connection);
		leave(pool);
		return;
	}
	struct connection *top = atomic_load_explicit(&pool->orphans, memory_order_relaxed);
	do {
		connection->next_free = top;
	} while (!atomic_compare_exchange_weak_explicit(
		&pool->orphans, &top, connection, memory_order_release, memory_order_relaxed));
}

/* ---- leaving the pool ---- */

static void note(
	struct pool *pool, const struct connection *connection, const char *event, const char *why)
{
	if (pool->os->note)
		pool->os->note(connection, event, why);
}

static void unlink_locked(struct pool *pool, struct connection *connection) REQUIRES(pool->lock)
{
	DL_DELETE2(connection->point->parked, connection, point_prev, point_next);
	connection->point->parked_count--;
	DL_DELETE(pool->parked, connection);
	pool->parked_count--;
	atomic_store_explicit(&connection->state, CONNECTION_TAKEN, memory_order_relaxed);
}

/* Moves a parked connection to a list of those that will be closed without the lock. */
static void doom_locked(struct pool *pool, struct connection *connection, enum discard why,
	struct connection **doomed) REQUIRES(pool->lock)
{
	unlink_locked(pool, connection);
	connection->point = NULL;
	connection->discard = (uint8_t)why;
	DL_APPEND(*doomed, connection);
}

/* Closes the hidden number of a connection that is out of the pool, if it is still its own. */
static void discard(struct pool *pool, struct connection *connection, enum discard why)
{
	int hidden = atomic_load_explicit(&connection->hidden, memory_order_relaxed);

	stats_count(&pool->stats.discarded[why]);
	note(pool, connection, "discarded", discard_word(why));
	if (why != DISCARDED_IDENTITY && proof_cookie(pool->os, hidden) == connection->cookie)
		pool->os->discard(connection);
	else
		pool->os->lose(connection);
	pool_release(pool, connection);
}

static void bury(struct pool *pool, struct connection *doomed)
{
	while (doomed) {
		struct connection *connection = doomed;
		DL_DELETE(doomed, connection);
		discard(pool, connection, (enum discard)connection->discard);
	}
}

static bool idle_for_too_long(
	const struct pool *pool, const struct connection *connection, uint64_t now)
{
	long most = pool->settings.max_idle_ms;

	return most >= 0 && now - connection->parked_ms > (uint64_t)most;
}

/* The lease runs from the connection's creation. Up to a tenth more or less, so that connections
 * that were made together do not all end together. */
static bool lease_is_over(
	const struct pool *pool, const struct connection *connection, uint64_t now)
{
	long lease = pool->settings.lease_ms;

	if (lease < 0)
		return false;
	uint64_t percent = 90 + connection->cookie % 21;
	return (now - connection->created_ms) * 100 >= (uint64_t)lease * percent;
}

static void expire_locked(struct pool *pool, uint64_t now, struct connection **doomed)
	REQUIRES(pool->lock)
{
	for (int i = 0; i < EXPIRE_AT_ONCE && pool->parked; i++) {
		/* utlist: the head's prev is the last of the list, here the one parked longest. */
		struct connection *oldest = pool->parked->prev;
		if (!idle_for_too_long(pool, oldest, now))
			return;
		doom_locked(pool, oldest, DISCARDED_IDLE, doomed);
	}
}

void pool_evict(struct pool *pool, struct connection *connection)
{
	struct connection *doomed = NULL;

	if (!enter(pool))
		return;
	if (connection_state(connection) == CONNECTION_PARKED)
		doom_locked(pool, connection, DISCARDED_DROPPED, &doomed);
	leave(pool);
	bury(pool, doomed);
}

void pool_drop(struct pool *pool)
{
	struct connection *doomed = NULL;

	if (!enter(pool))
		return;
	while (pool->parked)
		doom_locked(pool, pool->parked, DISCARDED_DROPPED, &doomed);
	leave(pool);
	bury(pool, doomed);
}

/* ---- taking ---- */

static void recycle_oldest_locked(struct pool *pool, struct connection **doomed)
	REQUIRES(pool->lock)
{
	struct service_point *oldest = service_points_oldest_idle(&pool->points);

	if (!oldest)
		return;
	while (oldest->parked)
		doom_locked(pool, oldest->parked, DISCARDED_RECYCLED, doomed);
	service_points_remove(&pool->points, oldest);
}

/* The service point of endpoint. NULL if there is neither room for a new one nor an idle one to
 * recycle: the endpoint is then served without the pool. */
static struct service_point *find_point_locked(struct pool *pool, const struct endpoint *endpoint,
	struct connection **doomed) REQUIRES(pool->lock)
{
	unsigned most = (unsigned)pool->settings.max_service_points;

	if (!service_points_peek(&pool->points, endpoint)) {
		if (most > 0 && pool->points.count >= most)
			recycle_oldest_locked(pool, doomed);
		if (most > 0 && pool->points.count >= most)
			return NULL;
	}
	return service_points_find(&pool->points, endpoint);
}

/* The newest parked connection that can be made like fresh: it is the warmest, and the others grow
 * old. */
static struct connection *choose_locked(struct pool *pool, struct service_point *point,
	const struct connection *fresh, uint64_t now, struct connection **doomed)
	REQUIRES(pool->lock)
{
	struct connection *connection, *next;

	DL_FOREACH_SAFE2(point->parked, connection, next, point_next)
	{
		if (idle_for_too_long(pool, connection, now)) {
			doom_locked(pool, connection, DISCARDED_IDLE, doomed);
		} else if (lease_is_over(pool, connection, now)) {
			doom_locked(pool, connection, DISCARDED_LEASE, doomed);
		} else if (options_match(&connection->options, &fresh->options)) {
			unlink_locked(pool, connection);
			return connection;
		}
	}
	return NULL;
}

/* Gives the hidden connection everything that the program gave its socket on fd, which may be seen
 * through. *nonblocking says which kind of connect() this is. */
static bool make_alike(struct pool *pool, struct connection *connection,
	const struct connection *fresh, int fd, bool *nonblocking)
{
	const struct pool_os *os = pool->os;
	int hidden = atomic_load_explicit(&connection->hidden, memory_order_relaxed);
	int wanted = os->get_status_flags(fd);
	int has = os->get_status_flags(hidden);

	if (wanted < 0 || has < 0 || wanted & O_ASYNC)
		return false;
	if (wanted != has && os->set_status_flags(hidden, wanted) < 0)
		return false;
	*nonblocking = wanted & O_NONBLOCK;
	return options_apply(os, hidden, &connection->options, fd, &fresh->options) == 0;
}

/* Puts a connection that is out of the pool on fd. 0; -EAGAIN if it was not fit for that and is
 * gone; another error if fd is not to be had. */
static int give(struct pool *pool, struct connection *connection, struct connection *fresh, int fd)
{
	enum discard why = DISCARDED_UNLIKE;
	bool nonblocking;

	if (!proof_before_reuse(pool->os, connection, &why) ||
		!make_alike(pool, connection, fresh, fd, &nonblocking)) {
		discard(pool, connection, why);
		return -EAGAIN;
	}
	int close_on_exec = pool->os->get_descriptor_flags(fd);
	/* All before it is on fd, where other threads can find it. */
	atomic_store_explicit(&connection->fd, fd, memory_order_relaxed);
	connection->watches = fresh->watches;
	connection->fork_epoch = fresh->fork_epoch;
	connection->result_pending = nonblocking;
	connection->uses++;
	atomic_store_explicit(&connection->state, CONNECTION_LIVE, memory_order_release);
	int error = close_on_exec < 0
			    ? close_on_exec
			    : pool->os->reveal(connection, fresh, fd, close_on_exec & FD_CLOEXEC);
	if (error == -ESTALE)
		pool_release(pool, connection);
	else if (error < 0)
		discard(pool, connection, DISCARDED_UNLIKE);
	if (error < 0)
		return error;
	watches_restore(pool->os, &connection->watches, fd);
	return 0;
}

/* Does anything about the program's new socket forbid to put another in its place? */
static bool replaceable(struct pool *pool, const struct connection *fresh, int fd)
{
	return !connection_refused(fresh) && fresh->fork_epoch == fork_epoch(pool) &&
	       watches_hold(pool->os, &fresh->watches, fd);
}

/* Counts fresh in with the service point, and returns a parked connection for it if there is one.
 */
static struct connection *take_one(
	struct pool *pool, struct connection *fresh, const struct endpoint *endpoint, bool wanted)
{
	struct connection *connection = NULL, *doomed = NULL;
	uint64_t now = pool->os->now_ms();

	if (!enter(pool))
		return NULL;
	expire_locked(pool, now, &doomed);
	struct service_point *point = find_point_locked(pool, endpoint, &doomed);
	if (point && !fresh->point) {
		fresh->point = point;
		fresh->opened_counters[1] = &point->opened;
		point->in_use++;
	}
	if (point && wanted)
		connection = choose_locked(pool, point, fresh, now, &doomed);
	leave(pool);
	bury(pool, doomed);
	return connection;
}

struct connection *pool_take(
	struct pool *pool, struct connection *fresh, int fd, const struct endpoint *endpoint)
{
	bool wanted = replaceable(pool, fresh, fd);
	struct connection *connection;

	fresh->peer = *endpoint;
	fresh->opened_counters[0] = &pool->stats.opened;

	while ((connection = take_one(pool, fresh, endpoint, wanted)) != NULL) {
		int error = give(pool, connection, fresh, fd);
		if (error == -EAGAIN)
			continue;
		if (error < 0)
			return NULL;
		/* It is in use in fresh's stead. */
		fresh->point = NULL;
		stats_count(&pool->stats.reused);
		stats_count(&connection->point->reused);
		note(pool, connection, "reused", "");
		return connection;
	}
	return NULL;
}

/* ---- parking ---- */

static enum refusal check_settings(const struct pool *pool, const struct connection *connection)
{
	const struct settings *settings = &pool->settings;

	if (settings->max_idle_ms == 0)
		return REFUSED_IDLE_ZERO;
	if (settings->max_parked == 0)
		return REFUSED_NO_ROOM;
	if (settings->max_uses > 0 && connection->uses >= (uint32_t)settings->max_uses)
		return REFUSED_USES;
	if (lease_is_over(pool, connection, pool->os->now_ms()))
		return REFUSED_LEASE;
	if (!connection->point)
		return REFUSED_OVERFLOW;
	return REFUSED_NOT;
}

/* Moves the connection on fd out of every epoll set and to a hidden number, if everything speaks
 * for it. */
static enum refusal prepare_to_park(struct pool *pool, struct connection *connection, int fd)
{
	enum refusal refusal = connection_verdict(connection, fork_epoch(pool));

	if (refusal == REFUSED_NOT)
		refusal = check_settings(pool, connection);
	if (refusal == REFUSED_NOT)
		refusal = proof_before_parking(pool->os, connection, fd);
	if (refusal == REFUSED_NOT && !watches_remove(pool->os, &connection->watches, fd))
		refusal = REFUSED_WATCHED;
	if (refusal == REFUSED_NOT && pool->os->hide(connection, fd) < 0)
		refusal = REFUSED_NO_ROOM;
	return refusal;
}

static int close_for_real(
	struct pool *pool, struct connection *connection, int fd, enum refusal refusal)
{
	/* A non-blocking connect() that nothing was moved on: did it come to anything? */
	if (!atomic_load_explicit(&connection->opened, memory_order_relaxed) &&
		connection->cookie && proof_connected(pool->os, fd))
		connection_opened(connection);
	/* A socket that was never to be a connection is none that was refused. */
	if (connection_state(connection) != CONNECTION_FRESH) {
		stats_count(&pool->stats.refused[refusal]);
		note(pool, connection, "closed", refusal_word(refusal));
	}
	pool->os->forget(connection, fd);
	pool_release(pool, connection);
	return pool->os->close(fd);
}

/* The connection is on its hidden number only, and nobody's. */
static void park(struct pool *pool, struct connection *connection)
{
	struct connection *doomed = NULL;
	struct service_point *point = connection->point;

	connection->parked_ms = pool->os->now_ms();
	if (!enter(pool)) {
		discard(pool, connection, DISCARDED_DISTURBED);
		return;
	}
	/* A fork that came after the proofs has seen it on two numbers. */
	if (connection->fork_epoch != fork_epoch(pool)) {
		leave(pool);
		discard(pool, connection, DISCARDED_DISTURBED);
		return;
	}
	point->in_use--;
	point->protocol = connection_protocol(connection);
	atomic_store_explicit(&connection->state, CONNECTION_PARKED, memory_order_relaxed);
	DL_PREPEND2(point->parked, connection, point_prev, point_next);
	point->parked_count++;
	DL_PREPEND(pool->parked, connection);
	pool->parked_count++;
	if (pool->parked_count > (unsigned)pool->settings.max_parked)
		doom_locked(pool, pool->parked->prev, DISCARDED_EVICTED, &doomed);
	expire_locked(pool, connection->parked_ms, &doomed);
	leave(pool);
	bury(pool, doomed);
}

int pool_close(struct pool *pool, struct connection *connection, int fd)
{
	enum refusal refusal = prepare_to_park(pool, connection, fd);

	if (refusal != REFUSED_NOT)
		return close_for_real(pool, connection, fd, refusal);
	connection_opened(connection);
	stats_count(&pool->stats.parked);
	note(pool, connection, "parked", "");
	/* The table forgets the number after it was closed, so that a call that comes in between is
	 * one on this connection, and found out. */
	int result = pool->os->close(fd);
	pool->os->forget(connection, fd);
	if (connection_settle(connection))
		park(pool, connection);
	else
		discard(pool, connection, DISCARDED_DISTURBED);
	return result;
}

/* ---- fork ---- */

void pool_shared_descriptors(struct pool *pool)
{
	atomic_fetch_add_explicit(&pool->fork_epoch, 1, memory_order_seq_cst);
}

/* The lock is held over the fork, so that the child's lists are whole. It is not to be had where a
 * signal handler that interrupted the pool forks: such a child does without a pool. */
LOCK_ATTRIBUTE(no_thread_safety_analysis) void pool_prepare_fork(struct pool *pool)
{
	bool locked = lock_acquire(&pool->lock, pool->os);

	pool_shared_descriptors(pool);
	if (locked)
		pool->fork_holds_lock = true;
}

LOCK_ATTRIBUTE(no_thread_safety_analysis) void pool_after_fork_in_parent(struct pool *pool)
{
	if (!pool->fork_holds_lock)
		return;
	pool->fork_holds_lock = false;
	lock_release(&pool->lock, pool->os);
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
	connection_refuse(connection, REFUSED_FORKED);
	connection_end(connection);
}

LOCK_ATTRIBUTE(no_thread_safety_analysis) void pool_after_fork_in_child(struct pool *pool)
{
	struct connection *connection = atomic_load(&pool->made);
	bool whole = pool->fork_holds_lock;

	for (; connection; connection = connection->next_made)
		inherit(pool, connection);
	pool->fork_holds_lock = false;
	pool->stats = (struct stats){0};
	if (!whole) {
		lock_break(&pool->lock);
		return;
	}
	lock_reset(&pool->lock);
	pool->slab = (struct slab){0};
	pool->points = (struct service_points){.slab = &pool->slab};
	pool->parked = pool->free = NULL;
	pool->parked_count = 0;
	atomic_store(&pool->orphans, NULL);
	atomic_store(&pool->memory_wanted, MEMORY_CHUNK);
	/* Those that were in the pool are left lying, as one of them may be in the hands of the
	 * very thread that forks. */
	for (connection = atomic_load(&pool->made); connection;
		connection = connection->next_made) {
		if (connection_state(connection) != CONNECTION_FREE)
			continue;
		connection->next_free = pool->free;
		pool->free = connection;
	}
}

/* ---- statistics ---- */

static void add_point_json(struct text *text, const struct service_point *point)
{
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = {
		{"opened", atomic_load_explicit(&point->opened, memory_order_relaxed)},
		{"reused", atomic_load_explicit(&point->reused, memory_order_relaxed)},
		{"parked", point->parked_count},
		{"in_use", point->in_use},
	};
	char address[80];
	struct text name = {.data = address, .size = sizeof(address) - 1};

	endpoint_add_address(&name, &point->endpoint);
	address[name.len] = '\0';
	text_add(text, "{\"host\":");
	text_add_json(text, address);
	text_add(text, ",\"address\":");
	text_add_json(text, address);
	text_add(text, ",\"port\":");
	text_add_number(text, endpoint_port(&point->endpoint));
	text_add(text, ",\"protocol\":");
	text_add_json(text, point->protocol);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		text_add(text, ",");
		text_add_json(text, numbers[i].name);
		text_add(text, ":");
		text_add_number(text, (int64_t)numbers[i].value);
	}
	text_add(text, "}");
}

bool pool_add_json(struct pool *pool, struct text *text)
{
	const struct service_point *point;

	stats_add_json(text, &pool->stats);
	text_add(text, ",\"service_points\":[");
	bool locked = enter(pool);
	if (locked) {
		DL_FOREACH(pool->points.used, point)
		{
			if (point != pool->points.used)
				text_add(text, ",");
			add_point_json(text, point);
		}
		leave(pool);
	}
	text_add(text, "]");
	return locked;
}

#include "pool/reset.h"

#include <errno.h>
#include <string.h>

#include "pool/pool.h"
#include "pool/proof.h"

static const struct tracker_reset *reset_of(const struct connection *connection)
{
	const struct tracker *tracker = connection->tracker;

	return tracker && tracker->reset &&
			       tracker->verdict(connection->tracker_state) == REFUSED_STATE
		       ? tracker->reset(connection->tracker_state)
		       : NULL;
}

bool reset_helps(const struct connection *connection)
{
	const struct tracker_reset *reset = reset_of(connection);
	const struct service_point *point = connection->point;

	return reset && (!reset->costs || (point && atomic_load_explicit(
							    &point->resets, memory_order_relaxed)));
}

bool reset_ask(struct pool *pool, struct connection *connection)
{
	const struct tracker_reset *reset = reset_of(connection);
	int hidden = atomic_load_explicit(&connection->hidden, memory_order_relaxed);

	if (!reset)
		return true;
	if (pool->os->send(hidden, reset->question, reset->question_len, 0) !=
		(long)reset->question_len)
		return false;
	connection->sent += reset->question_len;
	connection->resetting = reset;
	return true;
}

static void note_done(struct connection *connection)
{
	connection->received += connection->resetting->answer_len;
	connection->resetting = NULL;
	if (connection->tracker->was_reset)
		connection->tracker->was_reset(connection->tracker_state);
	else
		memset(connection->tracker_state, 0, sizeof(connection->tracker_state));
}

/* What is there, of at most one byte more than the answer, which must not be there. */
static enum reset look(const struct pool_os *os, const struct tracker_reset *reset, int hidden)
{
	char found[TRACKER_ANSWER_MAX + 1];
	long len = os->look_ahead(hidden, found, reset->answer_len + 1);

	if (len == -EAGAIN)
		return RESET_AWAITED;
	if (len <= 0 || (size_t)len > reset->answer_len ||
		memcmp(found, reset->answer, (size_t)len) != 0)
		return RESET_FAILED;
	if ((size_t)len < reset->answer_len)
		return RESET_AWAITED;
	return os->receive(hidden, found, reset->answer_len) == len ? RESET_DONE : RESET_FAILED;
}

enum reset reset_look(struct pool *pool, struct connection *connection, struct service_point *point)
{
	const struct tracker_reset *reset = connection->resetting;
	int hidden = atomic_load_explicit(&connection->hidden, memory_order_relaxed);

	if (!reset)
		return RESET_DONE;
	/* Nothing is taken from a file that is not ours any more. */
	if (proof_cookie(pool->os, hidden) != connection->cookie)
		return RESET_FAILED;
	enum reset result = look(pool->os, reset, hidden);
	if (result == RESET_DONE) {
		note_done(connection);
		stats_count(&pool->stats.reset);
		if (point)
			atomic_store_explicit(&point->resets, true, memory_order_relaxed);
	}
	return result;
}

#include "pool/renew.h"

#include <errno.h>
#include <string.h>

#include "pool/kept.h"
#include "pool/learning.h"
#include "pool/pool_private.h"
#include "pool/proof.h"
#include "pool/succession.h"

/* How often to look again whether what another thread has just sent has been noted. */
#define YIELDS 1000

/* Where nothing is known of how long a server keeps idle connections: design.md, section 6. */
#define KEEPS_MS 4000

/* As much of an answer as says whether it is one to a connection that was idle. */
#define STATUS_LINE 12

/* ---- what is known ---- */

/* Of a connection, at one moment. */
struct known {
	_Alignas(8) uint8_t state[TRACKER_STATE_MAX];
	const struct tracker *tracker;
	bool too_old;    /* for a request that must not be repeated */
	bool prescribed; /* by a rule, whatever the first bytes look like */
};

static bool is_too_old(const struct connection *connection, uint64_t now)
{
	uint32_t keeps = connection->keeps_ms, learned = 0;

	if (connection->point)
		learned = learning_strict_ms(&connection->point->learning, now);
	if (keeps == 0 || (learned > 0 && learned < keeps))
		keeps = learned;
	uint32_t most = (keeps ? keeps : KEEPS_MS) / 2;
	/* Where they die at once, none is young enough. */
	return most == 0 || pool_idle_ms(connection, now) > most;
}

/* Other threads tell the tracker what they send, and close. false if it is not to be had. */
static bool look_up(struct pool *pool, struct call call, struct known *known)
{
	const struct connection *connection = call.connection;
	uint64_t now = pool->os->now_ms();

	if (!connection_try_claim(call))
		return false;
	memcpy(known->state, connection->tracker_state, TRACKER_STATE_MAX);
	known->tracker = connection->tracker;
	known->too_old = is_too_old(connection, now);
	known->prescribed =
		connection->point && setting_of(&connection->point->settings.proto) != PROTO_AUTO;
	if (connection_unclaim(call.connection))
		pool_release(pool, call.connection);
	return true;
}

static struct tracker_facts facts_of(const struct tracker *tracker, const void *state)
{
	return tracker && tracker->facts ? tracker->facts(state) : (struct tracker_facts){0};
}

/* Once for each use, and not where the library, or the program, has ended it. */
static void learn_failure(struct pool *pool, struct call call)
{
	struct connection *connection = call.connection;
	uint64_t now = pool->os->now_ms();

	if (atomic_load(&connection->half_closed) || connection_refused(connection) ||
		!connection_try_claim(call))
		return;
	struct service_point *point = connection->point;
	if (point && !atomic_exchange(&connection->failure_known, true)) {
		/* It was alive when it was taken, and has been idle in the program's hands since.
		 */
		learning_death(&point->learning, pool_idle_ms(connection, now), now);
		if (learning_failure(&point->learning, now))
			stats_count(&pool->stats.quarantined);
	}
	if (connection_unclaim(connection))
		pool_release(pool, connection);
}

/* ---- before the first byte ---- */

enum misfit {
	MISFIT_NONE,
	MISFIT_UNSEEN, /* nothing is known of it */
	MISFIT_DEAD,
	MISFIT_OTHER_HOST,
	MISFIT_OTHER_PROTOCOL,
	MISFIT_OLD, /* for a request that must not be repeated */
};

/* A server may tell protocols apart by the first bytes of a connection, so that what begins like
 * another one needs a new connection. */
static bool is_other_protocol(const struct known *known, const struct iovec *vector, size_t count)
{
	_Bool undecided;

	if (!known->tracker || known->prescribed || count == 0 || vector->iov_len == 0)
		return false;
	const size_t len =
		vector->iov_len < TRACKER_PREFIX_MAX ? vector->iov_len : TRACKER_PREFIX_MAX;
	const struct tracker *tracker = tracker_for(vector->iov_base, len, &undecided);
	return tracker && tracker != known->tracker;
}

/* Not inlined, as it needs a copy of what is known. */
__attribute__((noinline)) static enum misfit fits(
	struct pool *pool, struct call call, const struct iovec *vector, size_t count)
{
	struct known known;

	if (!look_up(pool, call, &known))
		return MISFIT_NONE;
	if (connection_risk(call.connection) == RISK_UNUSED &&
		is_other_protocol(&known, vector, count))
		return MISFIT_OTHER_PROTOCOL;
	for (size_t i = 0; known.tracker && i < count; i++)
		known.tracker->sent(known.state, vector[i].iov_base, vector[i].iov_len);
	const struct tracker_facts facts = facts_of(known.tracker, known.state);
	if (facts.lost)
		return MISFIT_OTHER_PROTOCOL;
	if (facts.host && facts.first_host && facts.host != facts.first_host)
		return MISFIT_OTHER_HOST;
	/* Another call would have to return first, and it may be one in this thread, which a signal
	 * handler has interrupted. For what is only a matter of age that is not risked. */
	bool old = !facts.repeatable && known.too_old && !connection_is_shared(call);
	return old ? MISFIT_OLD : MISFIT_NONE;
}

static bool is_unfinished(struct pool *pool, struct call call)
{
	struct known known;

	return look_up(pool, call, &known) && facts_of(known.tracker, known.state).unfinished;
}

static enum misfit look(
	struct pool *pool, struct call call, int fd, const struct iovec *vector, size_t count)
{
	const struct connection *connection = call.connection;

	/* The host may stand in a later piece than the first: nobody has acted on that. */
	bool begun = connection_risk(connection) == RISK_KEPT;
	if (begun && !is_unfinished(pool, call))
		return MISFIT_NONE;
	/* As a rule it is quiet, and fits: that is all there is to ask. */
	int next = pool->os->peek(fd);
	bool quiet = next == -EAGAIN;
	/* An answer to the beginning is one. */
	if (begun && next > 0)
		return MISFIT_NONE;
	enum misfit misfit = quiet ? fits(pool, call, vector, count) : MISFIT_DEAD;
	if (misfit == MISFIT_NONE || (begun && misfit == MISFIT_OLD))
		return MISFIT_NONE;
	const struct proof_flow flow = proof_flow(pool->os, connection, fd);
	/* Where it is open, and nothing is there to be read, somebody else may have read it. */
	if (!flow.all_sent_seen || (quiet && !flow.quiet))
		return MISFIT_UNSEEN;
	return misfit;
}

/* What becomes of it now is for the program to see. */
static void end_risk(struct pool *pool, struct call call, bool answered)
{
	struct connection *connection = call.connection;

	if (!connection_claim(call))
		return;
	connection_set_risk(connection, RISK_NONE);
	kept_drop(pool, connection);
	if (answered && connection->point)
		learning_success(&connection->point->learning, connection->idle_ms);
	if (connection_unclaim(connection))
		pool_release(pool, connection);
}

/* What is done with the socket is not seen, or it is another one: things take their course. */
static int keep_off(struct pool *pool, struct call call)
{
	end_risk(pool, call, false);
	return RENEW_NOT;
}

/* By another thread. */
static bool is_being_renewed(const struct pool *pool, const struct connection *connection)
{
	uint32_t renewer = atomic_load_explicit(&connection->renewer, memory_order_relaxed);

	/* This thread has jumped out of that, if it is itself. */
	return renewer != 0 && renewer != RENEWER_LEFT && renewer != pool->os->thread_id();
}

static int answer_of(int result)
{
	return result == SUCCESSION_DONE ? RENEW_AGAIN : result;
}

int renew_before_sending(struct pool *pool, struct call call, int fd, const struct iovec *vector,
	size_t count, bool not_to_wait)
{
	struct connection *connection = call.connection;
	int result;

	do {
		enum risk risk = connection_risk(connection);
		/* What is sent while another thread sends the beginning again would be lost. */
		bool only_waits = is_being_renewed(pool, connection);
		/* Half closed, nothing can be sent on it, nor on another in its place. */
		if ((risk != RISK_UNUSED && risk != RISK_KEPT && !only_waits) ||
			connection->half_closed)
			return RENEW_NOT;
		enum misfit misfit = only_waits ? MISFIT_DEAD : look(pool, call, fd, vector, count);
		if (misfit == MISFIT_NONE)
			return RENEW_NOT;
		if (misfit == MISFIT_UNSEEN)
			return keep_off(pool, call);
		if (misfit == MISFIT_DEAD && !only_waits)
			learn_failure(pool, call);
		struct renewal renewal = {
			.pool = pool,
			.call = call,
			.fd = fd,
			.not_to_wait = not_to_wait,
			.is_alive = misfit != MISFIT_DEAD,
			.risk = risk,
			.only_waits = only_waits,
			.counter = risk == RISK_KEPT && misfit == MISFIT_DEAD
					   ? &pool->stats.replayed
					   : &pool->stats.slipped_in,
		};
		result = succession(&renewal);
	} while (result == SUCCESSION_RETRY);
	return answer_of(result);
}

/* ---- afterwards ---- */

static bool may_be_sent_again(const struct tracker_facts *facts)
{
	return facts->repeatable || facts->unfinished;
}

static bool may_send_again(struct pool *pool, struct call call)
{
	struct known known;

	if (!look_up(pool, call, &known))
		return false;
	const struct tracker_facts facts = facts_of(known.tracker, known.state);
	return may_be_sent_again(&facts);
}

/* It is dead, or as good as dead. */
static int recover(struct pool *pool, struct call call, int fd, bool not_to_wait, long wait_ms)
{
	struct connection *connection = call.connection;
	int result;

	do {
		enum risk risk = connection_risk(connection);
		struct renewal renewal = {
			.pool = pool,
			.call = call,
			.fd = fd,
			.not_to_wait = not_to_wait,
			.wait_ms = wait_ms,
			.risk = risk,
			.counter = risk == RISK_UNUSED ? &pool->stats.slipped_in
						       : &pool->stats.replayed,
		};
		learn_failure(pool, call);
		/* One that is being renewed is at RISK_TAKEN for a while. */
		bool may = risk == RISK_UNUSED || is_being_renewed(pool, connection) ||
			   (risk == RISK_KEPT && may_send_again(pool, call));
		result = may ? succession(&renewal) : SUCCESSION_NOT;
	} while (result == SUCCESSION_RETRY);
	if (result == SUCCESSION_NOT && connection_is_current(call)) {
		stats_count(&pool->stats.failed);
		end_risk(pool, call, false);
	}
	return answer_of(result);
}

/* "HTTP/1.1 408" is what some servers say before they close an idle connection. The answer begins
 * with what the program has read, if that is known, and goes on with what has come. */
static bool says_timeout(const struct pool_os *os, int fd, const uint8_t *data, size_t len)
{
	uint8_t line[STATUS_LINE];

	if (!data && len > 0)
		return false;
	if (len > sizeof(line))
		len = sizeof(line);
	if (len > 0)
		memcpy(line, data, len);
	if (len < sizeof(line)) {
		long more = os->look_ahead(fd, line + len, sizeof(line) - len);
		len += more > 0 ? (size_t)more : 0;
	}
	return len == sizeof(line) && memcmp(line, "HTTP/1.", 7) == 0 &&
	       memcmp(line + 8, " 408", 4) == 0;
}

/* Another thread has just sent something, perhaps, and not told yet. */
static struct proof_flow flow_of(const struct pool *pool, struct call call, int fd)
{
	struct proof_flow flow = proof_flow(pool->os, call.connection, fd);

	for (int i = 0; i < YIELDS && !flow.all_sent_seen && connection_is_shared(call); i++) {
		pool->os->yield();
		flow = proof_flow(pool->os, call.connection, fd);
	}
	return flow;
}

int renew_after_failure(struct pool *pool, struct call call, int fd, bool not_to_wait)
{
	struct connection *connection = call.connection;

	/* Another call, in a signal handler that has interrupted this one, was quicker. */
	if (!connection_is_current(call))
		return RENEW_AGAIN;
	if (connection_risk(connection) == RISK_NONE)
		return RENEW_NOT;
	const struct proof_flow flow = flow_of(pool, call, fd);
	int next = pool->os->peek(fd);
	if (!flow.all_sent_seen || (!flow.quiet && next <= 0))
		return keep_off(pool, call);
	/* A call that asked for no bytes, or something came before the end: an answer? */
	bool answered = next > 0 && connection_risk(connection) != RISK_UNUSED && flow.heard &&
			!says_timeout(pool->os, fd, NULL, 0);
	if (next == -EAGAIN || answered)
		return RENEW_NOT;
	return recover(pool, call, fd, not_to_wait, 0);
}

int renew_while_waiting(struct pool *pool, struct call call, int fd, long wait_ms)
{
	if (connection_risk(call.connection) == RISK_NONE)
		return RENEW_NOT;
	/* No look at what is next: that would take an error from the socket which is for the
	 * program, where the connection is not renewed. */
	const struct proof_flow flow = flow_of(pool, call, fd);
	if (!flow.all_sent_seen || !flow.quiet || flow.open)
		return RENEW_NOT;
	int answer = recover(pool, call, fd, true, wait_ms);
	/* There was no time for more, but it is not lost yet. */
	bool later = (answer == -EAGAIN && is_being_renewed(pool, call.connection)) ||
		     (answer == -ETIMEDOUT && wait_ms > 0);
	return later ? RENEW_LATER : answer;
}

/* Has the peer, as a rule, acknowledged some of what was sent in this use? */
static bool is_heard(const struct pool *pool, struct call call, int fd)
{
	const struct connection *connection = call.connection;
	int left = pool->os->unacknowledged(fd);

	return left >= 0 && connection_risk(connection) != RISK_UNUSED &&
	       (uint64_t)left < connection->sent - connection->sent_before;
}

int renew_after_answer(struct pool *pool, struct call call, int fd, const uint8_t *data, size_t len,
	bool not_to_wait)
{
	struct connection *connection = call.connection;

	if (connection_risk(connection) == RISK_NONE)
		return RENEW_NOT;
	bool mute = !is_heard(pool, call, fd);
	if (mute) {
		const struct proof_flow flow = flow_of(pool, call, fd);
		if (!flow.all_sent_seen)
			return keep_off(pool, call);
		mute = connection_risk(connection) == RISK_UNUSED || !flow.heard;
	}
	/* As it is now, when what others have sent is known. */
	enum risk risk = connection_risk(connection);
	if (mute || (risk == RISK_KEPT && says_timeout(pool->os, fd, data, len))) {
		int result = recover(pool, call, fd, not_to_wait, 0);
		/* It is another's answer, or none: not for the program. */
		return result == RENEW_NOT && mute ? -ECONNRESET : result;
	}
	end_risk(pool, call, true);
	return RENEW_NOT;
}

bool renew_sent(struct pool *pool, struct call call, const struct iovec *vector, size_t total)
{
	struct connection *connection = call.connection;

	if (!connection_claim(call))
		return false;
	enum risk risk = connection_risk(connection);
	if (risk == RISK_UNUSED || risk == RISK_KEPT)
		connection_set_risk(connection,
			kept_add(pool, connection, vector, total) ? RISK_KEPT : RISK_TAKEN);
	connection_opened(connection);
	connection_feed_vector(connection, SENT, vector, total);
	const struct tracker_facts facts = facts_of(connection->tracker, connection->tracker_state);
	if (connection_risk(connection) == RISK_KEPT && !may_be_sent_again(&facts)) {
		connection_set_risk(connection, RISK_TAKEN);
		kept_drop(pool, connection);
	}
	return connection_unclaim(connection);
}

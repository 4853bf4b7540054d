#include "pool/renew.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "pool/kept.h"
#include "pool/learning.h"
#include "pool/pool_private.h"
#include "pool/proof.h"

/* How often to look again whether other calls have left the socket, or want a new one, too. They do
 * at once, if it is dead; the processor is given up in between. */
#define PATIENCE 2000

/* Where nothing is known of how long a server keeps idle connections: design.md, section 6. */
#define KEEPS_MS 4000

/* ---- what is known ---- */

static struct tracker_facts facts_of(const struct connection *connection, const void *state)
{
	const struct tracker *tracker = connection->tracker;

	return tracker && tracker->facts ? tracker->facts(state) : (struct tracker_facts){0};
}

/* May another socket take the place of this one, for all that the program, and others, did with it?
 */
static bool may_renew(const struct pool *pool, struct call call, int fd)
{
	const struct connection *connection = call.connection;
	const uint8_t refusal = atomic_load_explicit(&connection->refusal, memory_order_relaxed);

	return connection_is_current(call) &&
	       (refusal == REFUSED_NOT ||
		       (refusal == REFUSED_SHUTDOWN && connection->half_closed)) &&
	       atomic_load(&connection->fd) == fd &&
	       connection->fork_epoch ==
		       atomic_load_explicit(&pool->fork_epoch, memory_order_relaxed) &&
	       atomic_load(&pool->copies_under_way) == 0 &&
	       connection->credentials == pool_credentials(pool) && !atomic_load(&pool->off);
}

static void set_risk(struct connection *connection, enum risk risk)
{
	atomic_store_explicit(&connection->risk, (uint8_t)risk, memory_order_relaxed);
}

static void learn_failure(struct pool *pool, const struct connection *connection)
{
	struct service_point *point = connection->point;
	uint64_t now = pool->os->now_ms();

	if (!point)
		return;
	/* It was alive when it was taken, and has been idle in the program's hands since. */
	learning_death(&point->learning, pool_idle_ms(connection, now), now);
	if (learning_failure(&point->learning, now))
		stats_count(&pool->stats.quarantined);
}

/* ---- a new socket ---- */

/* What was sent, on its way to the new socket. */
struct letter {
	uint8_t *bytes;
	uint32_t len, size;
	_Atomic uint64_t *counter; /* of what it is for */
	bool is_alive;             /* the old one */
};

struct dialled {
	int number; /* or -errno */
	uint64_t cookie;
	bool pending; /* it is not connected yet */
};

static int prepare_socket(const struct pool_os *os, const struct connection *connection, int number)
{
	int error = options_set_all(os, number, &connection->options);

	if (error == 0 && connection->local.family)
		error = os->bind(number, &connection->local);
	return error;
}

static int connect_socket(const struct pool_os *os, const struct connection *connection, int number,
	int status_flags, long wait_ms)
{
	int nonblocking = wait_ms >= 0 ? O_NONBLOCK : 0;
	int error = os->set_status_flags(number, status_flags | nonblocking);

	if (error < 0)
		return error;
	error = os->connect(number, &connection->peer);
	if (error == -EINPROGRESS && wait_ms > 0)
		error = os->await_connection(number, wait_ms);
	if (nonblocking && !(status_flags & O_NONBLOCK))
		os->set_status_flags(number, status_flags);
	return error;
}

/* The connection knows of it, as a signal handler may jump away while it connects. */
static struct dialled open_socket(struct pool *pool, struct connection *connection)
{
	uint64_t signals = pool->os->block_signals();
	struct dialled dialled = {.number = pool->os->open_socket(connection->family)};
	int none = -1;

	if (dialled.number >= 0) {
		dialled.cookie = proof_cookie(pool->os, dialled.number);
		/* Another thread may be at it, too. */
		if (atomic_compare_exchange_strong(&connection->dialled, &none, dialled.number))
			connection->dialled_cookie = dialled.cookie;
	}
	pool->os->restore_signals(signals);
	return dialled;
}

/* It is the program's now. */
static void forget(struct connection *connection, const struct dialled *dialled)
{
	int number = dialled->number;

	atomic_compare_exchange_strong(&connection->dialled, &number, -1);
}

/* Its number is closed, if it is still its own. */
static void give_up(struct pool *pool, struct connection *connection, const struct dialled *dialled)
{
	forget(connection, dialled);
	if (proof_cookie(pool->os, dialled->number) == dialled->cookie)
		pool->os->close_hidden(dialled->number);
}

void renew_abandon(struct pool *pool, struct connection *connection)
{
	int number = atomic_load_explicit(&connection->dialled, memory_order_relaxed);
	const struct dialled dialled = {.number = number, .cookie = connection->dialled_cookie};

	if (number >= 0)
		give_up(pool, connection, &dialled);
}

/* Like the old one, but not connected. */
static struct dialled make_socket(struct pool *pool, struct connection *connection)
{
	struct dialled dialled = open_socket(pool, connection);

	if (dialled.number < 0)
		return dialled;
	int error = prepare_socket(pool->os, connection, dialled.number);
	if (error < 0) {
		give_up(pool, connection, &dialled);
		dialled.number = error;
	}
	return dialled;
}

/* wait_ms: 0 not at all, -1 as the socket's own connect() would. */
static void dial(struct pool *pool, struct connection *connection, struct dialled *dialled,
	int status_flags, long wait_ms)
{
	int error = connect_socket(pool->os, connection, dialled->number, status_flags, wait_ms);

	dialled->pending = error == -EINPROGRESS && wait_ms == 0;
	if (error == 0 || dialled->pending)
		return;
	give_up(pool, connection, dialled);
	dialled->number = error;
}

/* Only what is wholly there can be answered; a socket that takes no more in time is given up. */
static bool send_letter(const struct pool_os *os, const struct connection *connection, int number,
	const uint8_t *bytes, size_t len)
{
	while (len > 0) {
		long sent = os->send(number, bytes, len, RENEW_WAIT_MS);
		if (sent <= 0)
			return false;
		bytes += sent;
		len -= (size_t)sent;
	}
	return !connection->half_closed || os->half_close(number) == 0;
}

/* ---- the exchange ---- */

/* Has another call renewed it, or given it up? */
static bool is_settled(struct call call)
{
	return connection_is_current(call) && connection_risk(call.connection) == RISK_NONE;
}

/* Keeps every other call off the number; false if that cannot be had, or is not wanted any more. */
static bool begin(struct pool *pool, struct call call)
{
	for (int tries = 0; tries < PATIENCE; tries++) {
		if (connection_risk(call.connection) == RISK_NONE || !connection_is_current(call))
			return false;
		if (connection_begin_renewal(call))
			return true;
		pool->os->yield();
	}
	return false;
}

/* The connection goes on with the new socket; letter is what it has sent there. Whoever names the
 * number waits. false if the number is not what it was. */
static bool exchange(struct pool *pool, struct connection *connection, int fd,
	const struct dialled *dialled, const struct letter *letter)
{
	const struct pool_os *os = pool->os;
	int close_on_exec = os->get_descriptor_flags(fd);

	if (close_on_exec < 0 || proof_cookie(os, fd) != connection->cookie ||
		proof_cookie(os, dialled->number) != dialled->cookie ||
		os->replace(dialled->number, fd, close_on_exec & FD_CLOEXEC) < 0)
		return false;
	forget(connection, dialled);
	watches_restore(os, &connection->watches, fd);
	connection_renewed(connection, dialled->cookie, os->now_ms());
	if (connection->point)
		connection->tracker = tracker_of(setting_of(&connection->point->settings.proto));
	if (!dialled->pending)
		connection_opened(connection);
	if (letter->len > 0)
		connection_feed(connection, SENT, letter->bytes, letter->len);
	return true;
}

static int put_in_place(struct pool *pool, struct call call, int fd, const struct dialled *dialled,
	const struct letter *letter)
{
	struct connection *connection = call.connection;
	uint64_t signals = pool->os->block_signals();
	bool begun = begin(pool, call), done = false;

	if (begun) {
		/* Another thread may have sent more meanwhile. */
		done = connection->kept_len == 0 && may_renew(pool, call, fd) &&
		       exchange(pool, connection, fd, dialled, letter);
		if (!done)
			set_risk(connection, RISK_NONE);
		kept_drop(pool, connection);
	}
	if (done)
		stats_count(letter->counter);
	else
		give_up(pool, connection, dialled);
	if (begun && connection_end_connect(call))
		pool_release(pool, connection);
	pool->os->restore_signals(signals);
	return done || (!begun && is_settled(call)) ? RENEW_AGAIN : RENEW_NOT;
}

/* Takes what is kept out of the connection. */
static bool take_letter(struct call call, struct letter *letter)
{
	struct connection *connection = call.connection;

	if (!connection_claim(call))
		return false;
	letter->bytes = connection->kept;
	letter->len = connection->kept_len;
	letter->size = connection->kept_size;
	connection->kept = NULL;
	connection->kept_len = connection->kept_size = 0;
	/* If it has ended, whoever ends it is told by the caller's own call. */
	return !connection_unclaim(connection);
}

/* It has not gone anywhere: it may be sent when there is a connection to be had. */
static void put_back(struct pool *pool, struct call call, struct letter *letter)
{
	struct connection *connection = call.connection;

	if (!connection_claim(call))
		return;
	if (connection_risk(connection) == RISK_KEPT && connection->kept_len == 0) {
		connection->kept = letter->bytes;
		connection->kept_len = letter->len;
		connection->kept_size = letter->size;
		letter->bytes = NULL;
	}
	if (connection_unclaim(connection))
		pool_release(pool, connection);
}

/* Those that say that there is no socket to be had, not that the server is not. */
static bool is_want_of_means(int error)
{
	return error == -EMFILE || error == -ENFILE || error == -ENOBUFS || error == -ENOMEM ||
	       error == -EACCES || error == -EPERM;
}

/* What is kept has been taken out by another call, which is about to send it again. */
static int await_other(struct pool *pool, struct call call)
{
	for (int tries = 0; tries < PATIENCE && !is_settled(call); tries++)
		pool->os->yield();
	return is_settled(call) ? RENEW_AGAIN : RENEW_NOT;
}

static int renew_with(
	struct pool *pool, struct call call, int fd, bool not_to_wait, const struct letter *letter)
{
	const struct pool_os *os = pool->os;
	int status_flags = os->get_status_flags(fd);

	/* Signals are sent for the socket, not for the number: fcntl(2), F_SETOWN. */
	if (status_flags < 0 || status_flags & O_ASYNC)
		return RENEW_NOT;
	if (letter->len == 0 && connection_risk(call.connection) == RISK_KEPT)
		return await_other(pool, call);
	bool waits = !(status_flags & O_NONBLOCK) && !not_to_wait;
	long wait_ms = waits ? -1 : letter->len > 0 ? RENEW_WAIT_MS : 0;
	struct dialled dialled = make_socket(pool, call.connection);
	if (dialled.number < 0)
		return is_want_of_means(dialled.number) ? RENEW_NOT : dialled.number;
	/* A server with few workers may be waiting for more on it, and take no new connection
	 * before it has seen its end; so it ends first. That also makes another thread's call
	 * return which waits on it. From here on there is no way back. */
	if (letter->is_alive)
		os->shut_down(fd);
	dial(pool, call.connection, &dialled, status_flags, wait_ms);
	if (dialled.number < 0)
		return !letter->is_alive && is_want_of_means(dialled.number) ? RENEW_NOT
									     : dialled.number;
	if (letter->len > 0 &&
		!send_letter(os, call.connection, dialled.number, letter->bytes, letter->len)) {
		give_up(pool, call.connection, &dialled);
		return RENEW_NOT;
	}
	return put_in_place(pool, call, fd, &dialled, letter);
}

/* letter: nothing but what it is for. */
static int renew(
	struct pool *pool, struct call call, int fd, bool not_to_wait, struct letter letter)
{
	struct connection *connection = call.connection;

	if (!may_renew(pool, call, fd) || !take_letter(call, &letter))
		return RENEW_NOT;
	atomic_fetch_add(&connection->renewing, 1);
	int result = renew_with(pool, call, fd, not_to_wait, &letter);
	/* If it has ended it may be another socket's by now. */
	if (connection_is_current(call))
		atomic_fetch_sub(&connection->renewing, 1);
	if (result < 0 && letter.len > 0)
		put_back(pool, call, &letter);
	else if (letter.len > 0 && connection_is_current(call) &&
		 connection_risk(connection) == RISK_KEPT)
		/* The rest of it alone must not be sent again. */
		set_risk(connection, RISK_TAKEN);
	kept_give(pool, letter.bytes, letter.size);
	return result;
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

static bool is_too_old(const struct pool *pool, const struct connection *connection)
{
	uint64_t now = pool->os->now_ms();
	uint32_t keeps = connection->keeps_ms, learned = 0;

	if (connection->point)
		learned = learning_keeps_ms(&connection->point->learning, now);
	if (keeps == 0 || (learned > 0 && learned < keeps))
		keeps = learned;
	return pool_idle_ms(connection, now) > (keeps ? keeps : KEEPS_MS) / 2;
}

/* Not inlined, as it needs a copy of the tracker's state. */
__attribute__((noinline)) static enum misfit fits(const struct pool *pool,
	const struct connection *connection, const struct iovec *vector, size_t count)
{
	_Alignas(8) uint8_t state[TRACKER_STATE_MAX];
	const struct tracker *tracker = connection->tracker;
	struct tracker_facts facts = {.repeatable = false};

	if (tracker && tracker->facts) {
		memcpy(state, connection->tracker_state, sizeof(state));
		for (size_t i = 0; i < count; i++)
			tracker->sent(state, vector[i].iov_base, vector[i].iov_len);
		facts = tracker->facts(state);
	}
	if (facts.lost)
		return MISFIT_OTHER_PROTOCOL;
	if (facts.host && facts.first_host && facts.host != facts.first_host)
		return MISFIT_OTHER_HOST;
	return !facts.repeatable && is_too_old(pool, connection) ? MISFIT_OLD : MISFIT_NONE;
}

static enum misfit look(const struct pool *pool, const struct connection *connection, int fd,
	const struct iovec *vector, size_t count)
{
	if (connection_risk(connection) == RISK_KEPT) {
		/* The host may stand in a later piece than the first: nobody has acted on that. */
		bool unfinished = facts_of(connection, connection->tracker_state).unfinished;
		enum misfit misfit =
			unfinished ? fits(pool, connection, vector, count) : MISFIT_NONE;
		return misfit == MISFIT_OLD ? MISFIT_NONE : misfit;
	}
	const struct proof_flow flow = proof_flow(pool->os, connection, fd);
	if (!flow.all_sent_seen)
		return MISFIT_UNSEEN;
	if (flow.open && flow.quiet)
		return fits(pool, connection, vector, count);
	/* Where it is open, and nothing is there to be read, somebody else has read it. */
	return flow.open && pool->os->peek(fd) == -EAGAIN ? MISFIT_UNSEEN : MISFIT_DEAD;
}

/* What becomes of it now is for the program to see. */
static void end_risk(struct pool *pool, struct call call, bool answered)
{
	struct connection *connection = call.connection;

	if (!connection_claim(call))
		return;
	set_risk(connection, RISK_NONE);
	kept_drop(pool, connection);
	if (answered && connection->point)
		learning_success(&connection->point->learning);
	if (connection_unclaim(connection))
		pool_release(pool, connection);
}

/* What is done with the socket is not seen, or it is another one: things take their course. */
static int keep_off(struct pool *pool, struct call call)
{
	end_risk(pool, call, false);
	return RENEW_NOT;
}

int renew_before_sending(struct pool *pool, struct call call, int fd, const struct iovec *vector,
	size_t count, bool not_to_wait)
{
	struct connection *connection = call.connection;
	enum risk risk = connection_risk(connection);

	if (risk != RISK_UNUSED && risk != RISK_KEPT)
		return RENEW_NOT;
	enum misfit misfit = look(pool, connection, fd, vector, count);
	if (misfit == MISFIT_NONE)
		return RENEW_NOT;
	if (misfit == MISFIT_UNSEEN)
		return keep_off(pool, call);
	if (misfit == MISFIT_DEAD)
		learn_failure(pool, connection);
	const struct letter letter = {
		.counter = &pool->stats.slipped_in,
		.is_alive = misfit != MISFIT_DEAD,
	};
	return renew(pool, call, fd, not_to_wait, letter);
}

/* ---- afterwards ---- */

static bool may_send_again(const struct connection *connection)
{
	const struct tracker_facts facts = facts_of(connection, connection->tracker_state);

	return facts.repeatable || facts.unfinished;
}

/* It is dead, or as good as dead. */
static int recover(struct pool *pool, struct call call, int fd, bool not_to_wait)
{
	struct connection *connection = call.connection;
	enum risk risk = connection_risk(connection);
	const struct letter letter = {
		.counter = risk == RISK_UNUSED ? &pool->stats.slipped_in : &pool->stats.replayed,
	};
	int result = RENEW_NOT;

	learn_failure(pool, connection);
	if (risk == RISK_UNUSED || (risk == RISK_KEPT && may_send_again(connection)))
		result = renew(pool, call, fd, not_to_wait, letter);
	if (result == RENEW_NOT) {
		stats_count(&pool->stats.failed);
		end_risk(pool, call, false);
	}
	return result;
}

/* "HTTP/1.1 408" is what some servers say before they close an idle connection. */
static bool says_timeout(const uint8_t *data, size_t len)
{
	return data && len >= 12 && memcmp(data, "HTTP/1.", 7) == 0 &&
	       memcmp(data + 8, " 408", 4) == 0;
}

/* Something came before the end: an answer to what was sent? */
static bool is_answered(const struct pool *pool, const struct connection *connection, int fd,
	const struct proof_flow *flow)
{
	uint8_t data[12];
	long len = pool->os->look_ahead(fd, data, sizeof(data));

	return connection_risk(connection) != RISK_UNUSED && flow->heard &&
	       !(len > 0 && says_timeout(data, (size_t)len));
}

int renew_after_failure(struct pool *pool, struct call call, int fd, bool not_to_wait)
{
	struct connection *connection = call.connection;

	if (connection_risk(connection) == RISK_NONE)
		return RENEW_NOT;
	const struct proof_flow flow = proof_flow(pool->os, connection, fd);
	int next = pool->os->peek(fd);
	if (!flow.all_sent_seen || (!flow.quiet && next <= 0))
		return keep_off(pool, call);
	/* A call that asked for no bytes, or there are some left. */
	if (next == -EAGAIN || (next > 0 && is_answered(pool, connection, fd, &flow)))
		return RENEW_NOT;
	return recover(pool, call, fd, not_to_wait);
}

int renew_after_answer(struct pool *pool, struct call call, int fd, const uint8_t *data, size_t len,
	bool not_to_wait)
{
	struct connection *connection = call.connection;
	enum risk risk = connection_risk(connection);

	if (risk == RISK_NONE)
		return RENEW_NOT;
	const struct proof_flow flow = proof_flow(pool->os, connection, fd);
	if (!flow.all_sent_seen)
		return keep_off(pool, call);
	bool mute = risk == RISK_UNUSED || !flow.heard;
	if (mute || (risk == RISK_KEPT && says_timeout(data, len))) {
		int result = recover(pool, call, fd, not_to_wait);
		/* It is another's answer, or none: not for the program. */
		return result == RENEW_NOT && mute && risk != RISK_UNUSED ? -ECONNRESET : result;
	}
	end_risk(pool, call, true);
	return RENEW_NOT;
}

bool renew_sent(struct pool *pool, struct call call, const struct iovec *vector, size_t total)
{
	struct connection *connection = call.connection;

	if (!connection_claim(call))
		return false;
	if (connection_risk(connection) != RISK_NONE && connection_risk(connection) != RISK_TAKEN)
		set_risk(connection,
			kept_add(pool, connection, vector, total) ? RISK_KEPT : RISK_TAKEN);
	connection_opened(connection);
	connection_feed_vector(connection, SENT, vector, total);
	if (connection_risk(connection) == RISK_KEPT && !may_send_again(connection)) {
		set_risk(connection, RISK_TAKEN);
		kept_drop(pool, connection);
	}
	return connection_unclaim(connection);
}

#include "pool/succession.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "pool/kept.h"
#include "pool/pool_private.h"
#include "pool/proof.h"

/* How often to look again at what another thread does: at first the processor is given up in
 * between, then a millisecond passes. */
#define YIELDS     200
#define NAPS       1000
#define NAPS_FEW   200  /* for what should be over by now */
#define NAPS_ROUND 1000 /* after which what another thread does is judged anew */

/* Longer than that only the kernel's last attempts to connect take. */
#define LOST_MS 10000

/* How many are tried for the successor. */
#define NUMBERS 3

/* ---- who may ---- */

/* May another connection take the place of this one, for all that the program, and others, did with
 * it? One that is open to others is left to them: after a fork, say. If it is dead they have
 * nothing of it, either. */
static bool may_renew(const struct renewal *renewal)
{
	const struct pool *pool = renewal->pool;
	const struct connection *connection = renewal->call.connection;
	bool shared = connection->fork_epoch !=
			      atomic_load_explicit(&pool->fork_epoch, memory_order_relaxed) ||
		      atomic_load(&pool->copies_under_way) > 0;

	return connection_is_current(renewal->call) && !connection_refused(connection) &&
	       atomic_load(&connection->fd) == renewal->fd && !(shared && renewal->is_alive) &&
	       connection->credentials == pool_credentials(pool) && !atomic_load(&pool->off);
}

static void nap(const struct pool_os *os)
{
	_Atomic uint32_t word = 0;

	os->wait(&word, 0, 1);
}

/* Waits a little for another thread, which is at it; the more, the longer that has taken. */
static void be_patient(const struct pool_os *os, int tries)
{
	if (tries < YIELDS)
		os->yield();
	else
		nap(os);
}

/* Those who have it for themselves tell a tracker something, or copy what was kept. */
static bool claim(const struct pool *pool, struct call call)
{
	for (int tries = 0; connection_is_current(call) && tries < YIELDS + NAPS; tries++) {
		if (connection_try_claim(call))
			return true;
		be_patient(pool->os, tries);
	}
	return false;
}

static void unclaim(struct pool *pool, struct connection *connection)
{
	if (connection_unclaim(connection))
		pool_release(pool, connection);
}

/* ---- the successor ---- */

static struct connection *successor_of(const struct renewal *renewal)
{
	return renewal->successor.connection;
}

/* It is not to take any place after all. Signals are blocked. */
static void drop(struct pool *pool, struct connection *successor)
{
	int hidden = atomic_load(&successor->hidden);

	if (hidden >= 0 && proof_cookie(pool->os, hidden) == successor->cookie)
		pool->os->discard(successor);
	else if (hidden >= 0)
		pool->os->lose(successor);
	pool_release(pool, successor);
}

/* It waits for its server no longer. false if its number has been taken away. */
static bool take_back(const struct pool_os *os, struct connection *successor)
{
	uint8_t dialling = CONNECTION_DIALLING;

	if (atomic_compare_exchange_strong(&successor->state, &dialling, CONNECTION_TAKEN))
		return true;
	/* Somebody is just at it. */
	for (int tries = 0; atomic_load(&successor->hidden) >= 0 && tries < YIELDS + NAPS; tries++)
		be_patient(os, tries);
	return false;
}

void succession_abandon(struct pool *pool, struct connection *connection)
{
	struct connection *successor = atomic_load(&connection->successor);

	if (!successor)
		return;
	/* Another thread will see that it has come too late; if it has not jumped out of that. */
	uint32_t renewer = atomic_load(&connection->renewer);
	if (renewer != RENEWER_LEFT && renewer != pool->os->thread_id()) {
		succession_make_way(pool, successor, atomic_load(&successor->hidden));
		return;
	}
	uint64_t signals = pool->os->block_signals();
	atomic_store(&connection->successor, NULL);
	atomic_store(&connection->renewer, 0);
	take_back(pool->os, successor);
	drop(pool, successor);
	pool->os->restore_signals(signals);
}

void succession_make_way(struct pool *pool, struct connection *connection, int hidden)
{
	uint8_t dialling = CONNECTION_DIALLING;

	if (!connection_hides(connection, hidden) ||
		!atomic_compare_exchange_strong(&connection->state, &dialling, CONNECTION_TAKEN))
		return;
	if (proof_cookie(pool->os, hidden) == connection->cookie)
		pool->os->discard(connection);
	else
		pool->os->lose(connection);
}

bool succession_shut_down(struct pool *pool, struct call call)
{
	bool done = false;

	if (!connection_claim(call))
		return false;
	struct connection *successor = atomic_load(&call.connection->successor);
	int hidden = successor ? atomic_load(&successor->hidden) : -1;
	if (successor && connection_state(successor) == CONNECTION_DIALLING && hidden >= 0 &&
		proof_cookie(pool->os, hidden) == successor->cookie)
		done = pool->os->shut_down(hidden, SHUT_RDWR) == 0;
	if (connection_unclaim(call.connection))
		pool_release(pool, call.connection);
	return done;
}

/* What it is to be like. The old one has been claimed. */
static bool copy(struct renewal *renewal)
{
	const struct connection *old = renewal->call.connection;
	struct connection *successor = successor_of(renewal);
	const struct iovec letter = {.iov_base = old->kept, .iov_len = old->kept_len};

	successor->peer = old->peer;
	successor->local = old->local;
	successor->options = old->options;
	successor->options.lends_nodelay = false;
	successor->watches = old->watches;
	renewal->sent = old->sent;
	successor->sent_before = atomic_load(&old->sent);
	return old->kept_len == 0 || kept_add(renewal->pool, successor, &letter, old->kept_len);
}

/* Has the call that renews it been jumped out of, in another thread? If so, its number is closed;
 * the rest is that thread's. The old one has been claimed. */
static void forget_if_lost(const struct renewal *renewal)
{
	struct connection *old = renewal->call.connection;
	struct connection *successor = atomic_load(&old->successor);

	/* One that was left is not: take_left(). */
	if (!successor || atomic_load(&old->renewer) == RENEWER_LEFT ||
		renewal->pool->os->now_ms() < successor->created_ms + LOST_MS)
		return;
	succession_make_way(renewal->pool, successor, atomic_load(&successor->hidden));
	/* In the midst of something it is not lost. */
	if (atomic_load(&successor->hidden) >= 0)
		return;
	atomic_store(&old->successor, NULL);
	atomic_store(&old->renewer, 0);
}

/* A successor that was left connecting, if it is what is wanted now; else it is dropped. */
static bool take_left(struct renewal *renewal)
{
	struct connection *old = renewal->call.connection;
	struct connection *left = atomic_load(&old->successor);

	if (left->kept_len != old->kept_len || left->sent_before != old->sent ||
		!take_back(renewal->pool->os, left)) {
		succession_abandon(renewal->pool, old);
		return false;
	}
	renewal->successor = connection_enter(left);
	connection_leave(renewal->successor);
	renewal->sent = old->sent;
	renewal->is_dialling = true;
	atomic_store(&old->renewer, renewal->pool->os->thread_id());
	return true;
}

enum role {
	ROLE_NONE,  /* nobody is to renew it */
	ROLE_STALE, /* it is not as it was found any more */
	ROLE_OWN,
	ROLE_ANOTHERS,
};

static enum role take_role_claimed(struct renewal *renewal)
{
	struct connection *old = renewal->call.connection;
	uint32_t own = renewal->pool->os->thread_id();

	/* A signal handler has jumped out of that call, or interrupts it. */
	if (atomic_load(&old->renewer) == own)
		succession_abandon(renewal->pool, old);
	forget_if_lost(renewal);
	uint32_t renewer = atomic_load(&old->renewer);
	if (renewer != 0 && renewer != RENEWER_LEFT)
		return ROLE_ANOTHERS;
	if (renewal->only_waits)
		return ROLE_STALE;
	if (connection_risk(old) != renewal->risk)
		return ROLE_STALE;
	if (renewer == RENEWER_LEFT && take_left(renewal))
		return ROLE_OWN;
	if (renewal->risk == RISK_TAKEN || !copy(renewal))
		return ROLE_NONE;
	atomic_store(&old->renewer, own);
	atomic_store(&old->successor, successor_of(renewal));
	return ROLE_OWN;
}

/* One call at a time renews a connection. With ROLE_OWN, and only then, there is a successor. */
static enum role take_role(struct renewal *renewal)
{
	struct pool *pool = renewal->pool;
	struct connection *successor =
		pool_adopt(pool, renewal->call.connection->family, pool_fork_epoch(pool));

	if (!successor)
		return ROLE_NONE;
	atomic_store(&successor->state, CONNECTION_TAKEN);
	renewal->successor = connection_enter(successor);
	connection_leave(renewal->successor);
	enum role role = ROLE_NONE;
	if (claim(pool, renewal->call)) {
		role = take_role_claimed(renewal);
		unclaim(pool, renewal->call.connection);
	}
	if (role != ROLE_OWN || renewal->is_dialling)
		drop(pool, successor);
	return role;
}

/* Does it still exist? A signal handler that interrupted this call may have closed the program's
 * number, and with it what was to come there. */
static bool is_there(const struct renewal *renewal)
{
	return connection_is_current(renewal->successor);
}

static void give_up(struct renewal *renewal)
{
	struct connection *old = renewal->call.connection;

	if (!is_there(renewal))
		return;
	if (claim(renewal->pool, renewal->call)) {
		/* Unless somebody else has it by now, who took this one for lost. */
		if (atomic_load(&old->successor) == successor_of(renewal)) {
			atomic_store(&old->successor, NULL);
			atomic_store(&old->renewer, 0);
		}
		unclaim(renewal->pool, old);
	} else if (connection_is_current(renewal->call)) {
		return; /* it still points to it */
	}
	drop(renewal->pool, successor_of(renewal));
}

/* The call's time is over, but not the successor's: whoever comes next goes on with it. */
static void leave_dialling(struct renewal *renewal)
{
	struct connection *old = renewal->call.connection;
	struct connection *successor = successor_of(renewal);
	bool left = false;

	if (is_there(renewal) && claim(renewal->pool, renewal->call)) {
		left = atomic_load(&old->successor) == successor;
		if (left) {
			atomic_store(&successor->state, CONNECTION_DIALLING);
			atomic_store(&old->renewer, RENEWER_LEFT);
		}
		unclaim(renewal->pool, old);
	}
	if (!left)
		give_up(renewal);
}

/* The thread is cancelled while it waits. */
static void abandon(void *cancelled)
{
	struct renewal *renewal = cancelled;
	uint64_t signals = renewal->pool->os->block_signals();

	if (is_there(renewal)) {
		take_back(renewal->pool->os, successor_of(renewal));
		give_up(renewal);
	}
	renewal->pool->os->restore_signals(signals);
}

/* ---- a new socket ---- */

static int open_hidden(const struct renewal *renewal)
{
	const struct pool_os *os = renewal->pool->os;
	int number = os->open_hidden(successor_of(renewal));

	if (number != -EMFILE && number != -ENFILE)
		return number;
	pool_make_room(renewal->pool, 1);
	return os->open_hidden(successor_of(renewal));
}

/* Its number, if it is still its own, or -errno. */
static int number_of(const struct renewal *renewal)
{
	const struct connection *successor = successor_of(renewal);
	int number = is_there(renewal) ? atomic_load(&successor->hidden) : -1;

	if (number < 0 || proof_cookie(renewal->pool->os, number) != successor->cookie)
		return -ECANCELED;
	return number;
}

/* Like the old one, but not connected. */
static int make_socket(const struct renewal *renewal)
{
	const struct pool_os *os = renewal->pool->os;
	const struct connection *successor = successor_of(renewal);
	int number = open_hidden(renewal);

	if (number < 0)
		return number;
	int error = options_set_all(os, number, &successor->options) < 0 ? -ECANCELED : 0;
	if (error == 0 && successor->local.family)
		error = os->bind(number, &successor->local);
	if (error == 0)
		error = os->set_status_flags(number, renewal->status_flags | O_NONBLOCK);
	return error;
}

/* The socket's own limits, in milliseconds; 0: none. */
static long limit_of(const struct connection *successor)
{
	long sends = options_timeout_ms(&successor->options, SO_SNDTIMEO);
	long receives = options_timeout_ms(&successor->options, SO_RCVTIMEO);

	return sends == 0 || (receives > 0 && receives < sends) ? receives : sends;
}

/* Until the successor is connected. A blocking socket waits as connect() would. */
static int await_connection(struct renewal *renewal, int number)
{
	const struct pool_os *os = renewal->pool->os;
	const struct connection *successor = successor_of(renewal);
	long limit = limit_of(successor);
	int error = 0;

	if (renewal->not_to_wait || renewal->status_flags & O_NONBLOCK) {
		error = os->await_connection(
			number, renewal->wait_ms ? renewal->wait_ms : SUCCESSION_WAIT_MS, NULL);
		/* The next call may have more time. */
		renewal->is_left = error == -ETIMEDOUT && renewal->wait_ms > 0 &&
				   os->now_ms() < successor->created_ms + SUCCESSION_WAIT_MS;
		return error;
	}
	/* Where signals come faster than answers, each would begin anew; so a call that is
	 * interrupted goes on for a while, and says so then. */
	if (limit == 0) {
		error = os->connect_patiently(number, &successor->peer, abandon, renewal);
		if (error != -EINTR)
			return error;
		renewal->is_interrupted = true;
	}
	error = os->await_connection(
		number, limit > 0 ? limit : SUCCESSION_WAIT_MS, &renewal->is_interrupted);
	if (error == -ETIMEDOUT) {
		renewal->is_left = true;
		return renewal->is_interrupted ? -EINTR : -EAGAIN;
	}
	return error;
}

/* Signal handlers run while it waits, and the number may be taken away. */
static int wait_for_server(struct renewal *renewal, int number)
{
	const struct pool_os *os = renewal->pool->os;
	struct connection *successor = successor_of(renewal);
	int error = os->set_status_flags(number, renewal->status_flags);

	if (error < 0)
		return error;
	atomic_store(&successor->state, CONNECTION_DIALLING);
	os->restore_signals(renewal->signals);
	/* A handler that was due has run, and the number may be another file's by now. */
	error = number_of(renewal) == number ? await_connection(renewal, number) : -ECANCELED;
	renewal->signals = os->block_signals();
	/* Shut down meanwhile, it has waited in vain. */
	if (!is_there(renewal) || !take_back(os, successor) ||
		connection_refused(renewal->call.connection)) {
		renewal->is_left = false;
		return -ECANCELED;
	}
	return error;
}

/* Only what is wholly there can be answered; a socket that takes no more in time is given up. */
static int send_letter(struct renewal *renewal, int number)
{
	const struct connection *successor = successor_of(renewal);
	const uint8_t *bytes = successor->kept;
	size_t left = successor->kept_len;

	/* It will never be sent a third time, whatever becomes of this. If the old one has ended,
	 * it is of no use to send it at all, and that memory another's. */
	if (!claim(renewal->pool, renewal->call))
		return -ECANCELED;
	connection_set_risk(renewal->call.connection, RISK_TAKEN);
	unclaim(renewal->pool, renewal->call.connection);
	while (left > 0) {
		long sent = renewal->pool->os->send(number, bytes, left, SUCCESSION_WAIT_MS);
		if (sent <= 0)
			return -ECANCELED;
		bytes += sent;
		left -= (size_t)sent;
	}
	return 0;
}

/* Where nothing is to be sent again it goes on connecting in the program's hands: the kernel lets
 * the program's own call wait, or not, as it has it for a socket that connects. But one that
 * connects cannot be half closed: inet_shutdown() in net/ipv4/af_inet.c ends it. */
static int dial(struct renewal *renewal)
{
	const struct pool_os *os = renewal->pool->os;
	const struct connection *successor = successor_of(renewal);
	bool has_letter = successor->kept_len > 0;
	int number = number_of(renewal);
	int error = number < 0             ? number
		    : renewal->is_dialling ? -EINPROGRESS
					   : os->connect(number, &successor->peer);

	if (error == -EINPROGRESS && !has_letter && !renewal->call.connection->half_closed)
		return 0;
	if (error == -EINPROGRESS)
		error = wait_for_server(renewal, number);
	renewal->is_connected = error == 0;
	if (error < 0 || !has_letter)
		return error;
	number = number_of(renewal);
	return number < 0 ? number : send_letter(renewal, number);
}

/* Another thread's call that waits on it must return. And where the new one is waited for, a server
 * with few workers may be waiting for more on this one, and take no other before it has seen its
 * end. From here on there is no way back. */
static void end_old(struct renewal *renewal)
{
	struct connection *old = renewal->call.connection;

	if (!connection_is_shared(renewal->call) && successor_of(renewal)->kept_len == 0)
		return;
	renewal->has_ended = true;
	renewal->is_alive = false;
	atomic_store(&old->failure_known, true);
	if (proof_cookie(renewal->pool->os, renewal->fd) == old->cookie)
		renewal->pool->os->shut_down(renewal->fd, SHUT_RDWR);
}

/* ---- the exchange ---- */

/* Keeps every other call off the number; false if that cannot be had, or is not wanted any more. */
static bool begin(const struct renewal *renewal)
{
	for (int tries = 0; tries < YIELDS + NAPS_FEW; tries++) {
		if (!connection_is_current(renewal->call))
			return false;
		if (connection_begin_renewal(renewal->call))
			return true;
		be_patient(renewal->pool->os, tries);
	}
	return !renewal->is_alive && connection_force_renewal(renewal->call);
}

static bool same_options(const struct options *one, const struct options *other)
{
	return one->count == other->count &&
	       memcmp(one->entries, other->entries, one->count * sizeof(*one->entries)) == 0;
}

/* What the program has done to the old one meanwhile; nothing was sent. */
static bool catch_up(const struct renewal *renewal, int number)
{
	const struct pool_os *os = renewal->pool->os;
	const struct connection *old = renewal->call.connection;
	struct connection *successor = successor_of(renewal);
	int status_flags = os->get_status_flags(renewal->fd);

	if (old->sent != renewal->sent || (old->half_closed && !renewal->is_connected) ||
		status_flags < 0 || os->set_status_flags(number, status_flags) < 0)
		return false;
	if (!same_options(&old->options, &successor->options)) {
		successor->options = old->options;
		successor->options.lends_nodelay = false;
		if (options_set_all(os, number, &successor->options) < 0)
			return false;
	}
	successor->watches = old->watches;
	successor->half_closed = old->half_closed;
	watches_forget_closed(os, &successor->watches, renewal->fd);
	if (!watches_hold(os, &successor->watches, renewal->fd))
		return false;
	return !successor->half_closed || os->shut_down(number, SHUT_WR) == 0;
}

/* The successor is what the old one was, to the service point and to the program. */
static void succeed(const struct renewal *renewal)
{
	struct connection *old = renewal->call.connection;
	struct connection *successor = successor_of(renewal);

	successor->sent_before = 0;
	successor->predecessor = old;
	successor->predecessor_generation = renewal->call.generation;
	successor->point = old->point;
	successor->flushes = old->flushes;
	successor->uses = 1;
	for (int i = 0; i < 2; i++)
		successor->opened_counters[i] = old->opened_counters[i];
	if (successor->point)
		successor->tracker = tracker_of(setting_of(&successor->point->settings.proto));
	if (successor->kept_len > 0) {
		connection_opened(successor);
		connection_feed(successor, SENT, successor->kept, successor->kept_len);
		kept_drop(renewal->pool, successor);
	}
	atomic_store(&successor->fd, renewal->fd);
	atomic_store_explicit(&successor->state, CONNECTION_LIVE, memory_order_release);
}

/* From the moment that the successor is in the table others can find it, and end it. false if the
 * number is not what it was. */
static bool exchange(const struct renewal *renewal)
{
	const struct pool_os *os = renewal->pool->os;
	struct connection *old = renewal->call.connection;
	struct connection *successor = successor_of(renewal);
	int number = number_of(renewal);
	int close_on_exec = os->get_descriptor_flags(renewal->fd);

	if (number < 0 || close_on_exec < 0 || proof_cookie(os, renewal->fd) != old->cookie ||
		!catch_up(renewal, number))
		return false;
	const struct watches watches = successor->watches;
	succeed(renewal);
	if (os->reveal(successor, renewal->fd, close_on_exec & FD_CLOEXEC) < 0) {
		successor->point = NULL;
		return false;
	}
	watches_restore(os, &watches, renewal->fd);
	old->point = NULL;
	/* It keeps its renewer for as long as it lasts, so that no other call takes it for lost. */
	atomic_store(&old->successor, NULL);
	if (os->exchange(successor, old, renewal->fd) < 0) {
		/* Somebody has put another socket there, which is no business of these two. */
		pool_release(renewal->pool, successor);
	}
	return true;
}

static int put_in_place(struct renewal *renewal)
{
	struct connection *old = renewal->call.connection;

	/* Others may have come meanwhile. */
	if (renewal->is_alive)
		end_old(renewal);
	if (!begin(renewal))
		return SUCCESSION_NOT;
	bool done = may_renew(renewal) && exchange(renewal);
	if (done) {
		stats_count(renewal->counter);
		pool_note(renewal->pool, old, "renewed",
			renewal->counter == &renewal->pool->stats.replayed ? "sent again"
									   : "slipped in");
		connection_displaced(old, renewal->fd);
	}
	if (connection_end_connect(renewal->call))
		pool_release(renewal->pool, old);
	return done ? SUCCESSION_DONE : SUCCESSION_NOT;
}

/* Those that say that there is no socket to be had, not that the server is not. */
static bool is_want_of_means(int error)
{
	return error == -EMFILE || error == -ENFILE || error == -ENOBUFS || error == -ENOMEM ||
	       error == -EACCES || error == -EPERM || error == -EBADF || error == -EBUSY ||
	       error == -ECANCELED;
}

/* Or has another thread taken it for lost? */
static bool has_role(const struct renewal *renewal)
{
	return connection_is_current(renewal->call) &&
	       atomic_load(&renewal->call.connection->successor) == successor_of(renewal);
}

/* Again where the program wanted the number for itself. */
static int make_and_dial(struct renewal *renewal)
{
	struct connection *successor = successor_of(renewal);
	int error = -ECANCELED;

	for (int tries = 0; tries < NUMBERS && error == -ECANCELED; tries++) {
		/* What was sent again once is not sent a third time. */
		if (!is_there(renewal) || !has_role(renewal) ||
			connection_risk(renewal->call.connection) != renewal->risk)
			return -ECANCELED;
		renewal->is_dialling = renewal->is_dialling && number_of(renewal) >= 0;
		/* It is another file's, which was put there unseen. */
		if (!renewal->is_dialling && atomic_load(&successor->hidden) >= 0)
			renewal->pool->os->lose(successor);
		error = renewal->is_dialling ? 0 : make_socket(renewal);
		if (error < 0)
			return error;
		if (!may_renew(renewal))
			return -ECANCELED;
		if (renewal->is_alive)
			end_old(renewal);
		error = dial(renewal);
		if (number_of(renewal) >= 0)
			return error;
	}
	return error;
}

static int make_and_exchange(struct renewal *renewal)
{
	const struct pool_os *os = renewal->pool->os;

	renewal->status_flags = os->get_status_flags(renewal->fd);
	/* Signals are sent for the socket, not for the number: fcntl(2), F_SETOWN. */
	watches_forget_closed(os, &successor_of(renewal)->watches, renewal->fd);
	if (renewal->status_flags < 0 || renewal->status_flags & O_ASYNC ||
		!watches_hold(os, &successor_of(renewal)->watches, renewal->fd))
		return SUCCESSION_NOT;
	int error = make_and_dial(renewal);
	/* Nobody would understand that one: the old one, which has ended, says it better. */
	if (error == -ECANCELED)
		return has_role(renewal) ? SUCCESSION_NOT : SUCCESSION_RETRY;
	if (error < 0)
		return !renewal->has_ended && is_want_of_means(error) ? SUCCESSION_NOT : error;
	return put_in_place(renewal);
}

/* Another thread renews it. */
static int await_other(const struct renewal *renewal)
{
	const struct pool_os *os = renewal->pool->os;
	struct call call = renewal->call;

	if (renewal->not_to_wait || os->get_status_flags(renewal->fd) & O_NONBLOCK)
		return -EAGAIN;
	for (int tries = 0; tries < YIELDS + NAPS_ROUND; tries++) {
		if (!connection_is_current(call))
			return SUCCESSION_DONE;
		uint32_t renewer = atomic_load(&call.connection->renewer);
		if (renewer == 0 || renewer == RENEWER_LEFT)
			return SUCCESSION_RETRY;
		be_patient(os, tries);
	}
	return SUCCESSION_RETRY;
}

int succession(struct renewal *renewal)
{
	const struct pool_os *os = renewal->pool->os;
	int result = SUCCESSION_NOT;

	if (!may_renew(renewal) || !os->may_act())
		return SUCCESSION_NOT;
	/* As long as it waits it is no obstacle to who renews it. */
	if (!connection_want_renewal(renewal->call))
		return SUCCESSION_NOT;
	renewal->signals = os->block_signals();
	enum role role = take_role(renewal);
	if (role == ROLE_OWN) {
		result = make_and_exchange(renewal);
		if (renewal->is_left)
			leave_dialling(renewal);
		else if (result != SUCCESSION_DONE)
			give_up(renewal);
	}
	os->restore_signals(renewal->signals);
	if (role == ROLE_ANOTHERS)
		result = await_other(renewal);
	if (role == ROLE_STALE)
		result = SUCCESSION_RETRY;
	connection_want_no_renewal(renewal->call);
	if (result == SUCCESSION_DONE && renewal->is_interrupted)
		return -EINTR; /* and the next call finds the successor */
	/* Somebody was quicker, whom it did not wait for: a signal handler, or another thread. */
	bool is_settled = result == SUCCESSION_NOT || result == SUCCESSION_RETRY;
	return is_settled && !connection_is_current(renewal->call) ? SUCCESSION_DONE : result;
}

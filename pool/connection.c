#include "pool/connection.h"

#include <netinet/in.h>
#include <stddef.h>
#include <string.h>

/* The word `use`: generation, flags, calls under way. */
#define CALLS      0xffffULL
#define CLAIMED    (1ULL << 16) /* one call, or close(), has it for itself */
#define CONNECTING (1ULL << 17) /* with CLAIMED: connect() is at work on its number */
#define DEFERRED   (1ULL << 18) /* something is held back: pool/deferral.h */
#define ORPHANED   (1ULL << 19) /* with CLAIMED: it has ended; who has it gives it back */
#define CLOSING    (1ULL << 20) /* with CLAIMED: by close() */
#define WANTING    (1ULL << 21) /* the lowest bit of how many calls want it renewed */
#define GENERATION 32

#define WANTING_MOST ((1ULL << (GENERATION - 21)) - 1)

/* More calls under way than this are not counted: far below CALLS, so that it cannot overflow. */
#define CALLS_MOST 0x7fff

/* How often to try again to have a connection that another thread is just telling its tracker
 * about; that takes well under a microsecond unless the thread loses its processor. */
#define SPINS 200

static uint32_t generation_of(uint64_t use)
{
	return (uint32_t)(use >> GENERATION);
}

static uint64_t load_use(const struct connection *connection)
{
	return atomic_load_explicit(&connection->use, memory_order_relaxed);
}

static bool change_use(struct connection *connection, uint64_t *from, uint64_t to)
{
	return atomic_compare_exchange_weak_explicit(
		&connection->use, from, to, memory_order_acq_rel, memory_order_relaxed);
}

/* The next generation, with no flags and no calls. */
static uint64_t next_generation(uint64_t use)
{
	return (uint64_t)(generation_of(use) + 1) << GENERATION;
}

static void pause_briefly(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#else
	atomic_signal_fence(memory_order_seq_cst);
#endif
}

struct call connection_enter(struct connection *connection)
{
	uint64_t use = atomic_fetch_add_explicit(&connection->use, 1, memory_order_acquire);
	struct call call = {.connection = connection, .generation = generation_of(use)};

	if ((use & CALLS) < CALLS_MOST)
		return call;
	/* A program that jumps out of calls by siglongjmp() never leaves them. */
	connection_leave(call);
	connection_refuse(connection, REFUSED_IN_FLIGHT);
	return (struct call){0};
}

void connection_leave(struct call call)
{
	uint64_t use = load_use(call.connection);

	while (generation_of(use) == call.generation)
		if (change_use(call.connection, &use, use - 1))
			return;
}

bool connection_is_current(struct call call)
{
	return generation_of(atomic_load_explicit(&call.connection->use, memory_order_acquire)) ==
	       call.generation;
}

bool connection_is_shared(struct call call)
{
	uint64_t use = load_use(call.connection);

	return generation_of(use) == call.generation && (use & CALLS) > 1;
}

/* Sets flags if the connection is still the call's and nobody has it. */
static bool claim(struct call call, uint64_t flags)
{
	uint64_t use = load_use(call.connection);
	int tries = SPINS;

	while (generation_of(use) == call.generation) {
		if (!(use & CLAIMED)) {
			if (change_use(call.connection, &use, use | flags))
				return true;
			continue;
		}
		if (tries-- == 0)
			return false;
		pause_briefly();
		use = load_use(call.connection);
	}
	return false;
}

/* Gives up a claim. true if the connection ended meanwhile and is the caller's to give back. */
static bool unclaim(struct connection *connection)
{
	uint64_t use = load_use(connection), to;

	do
		to = use & ORPHANED ? next_generation(use) : use & ~(CLAIMED | CONNECTING);
	while (!change_use(connection, &use, to));
	return use & ORPHANED;
}

static void refuse_contended(struct call call)
{
	if (generation_of(load_use(call.connection)) == call.generation)
		connection_refuse(call.connection, REFUSED_CONTENDED);
}

bool connection_begin_connect(struct call call)
{
	uint64_t use = load_use(call.connection);

	/* Another call under way would go on with a socket that is no more. */
	while (generation_of(use) == call.generation && (use & (CALLS | CLAIMED)) == 1)
		if (change_use(call.connection, &use, use | CLAIMED | CONNECTING))
			return true;
	return false;
}

static uint64_t wanting(uint64_t use)
{
	return use / WANTING & WANTING_MOST;
}

bool connection_want_renewal(struct call call)
{
	uint64_t use = load_use(call.connection);

	while (generation_of(use) == call.generation && wanting(use) < WANTING_MOST)
		if (change_use(call.connection, &use, use + WANTING))
			return true;
	return false;
}

void connection_want_no_renewal(struct call call)
{
	uint64_t use = load_use(call.connection);

	while (generation_of(use) == call.generation)
		if (change_use(call.connection, &use, use - WANTING))
			return;
}

static bool begin_renewal(struct call call, bool forced)
{
	struct connection *connection = call.connection;
	uint64_t use = load_use(connection);

	while (generation_of(use) == call.generation && !(use & CLAIMED) &&
		(forced || (use & CALLS) == wanting(use)))
		if (change_use(connection, &use, use | CLAIMED | CONNECTING))
			return true;
	return false;
}

bool connection_begin_renewal(struct call call)
{
	return begin_renewal(call, false);
}

bool connection_force_renewal(struct call call)
{
	return begin_renewal(call, true);
}

bool connection_defer(struct call call)
{
	uint64_t use = load_use(call.connection);

	while (generation_of(use) == call.generation && (use & CALLS) == 1 && !(use & ORPHANED))
		if (change_use(call.connection, &use, (use & ~CLAIMED) | DEFERRED))
			return true;
	return false;
}

bool connection_is_deferred(struct call call)
{
	uint64_t use = load_use(call.connection);

	return generation_of(use) == call.generation && use & DEFERRED && !(use & CLOSING);
}

bool connection_begin_carrying_out(struct call call, bool *claimed)
{
	const bool forced = !*claimed;
	uint64_t use = load_use(call.connection);

	while (generation_of(use) == call.generation && use & DEFERRED && !(use & CLOSING)) {
		*claimed = !(use & CLAIMED);
		if (!*claimed && !forced)
			return false;
		uint64_t to = *claimed ? use | CLAIMED | CONNECTING : use;
		if (change_use(call.connection, &use, to & ~DEFERRED))
			return true;
	}
	return false;
}

bool connection_succeeds(const struct connection *connection, struct call call)
{
	return connection->predecessor == call.connection &&
	       connection->predecessor_generation == call.generation;
}

bool connection_end_connect(struct call call)
{
	return unclaim(call.connection);
}

bool connection_is_connecting(const struct connection *connection)
{
	return load_use(connection) & CONNECTING;
}

enum closing connection_begin_close(struct call call)
{
	struct connection *connection = call.connection;
	uint64_t use = load_use(connection);

	while (generation_of(use) == call.generation) {
		if (use & CLOSING)
			return CLOSING_ELSEWHERE;
		if ((use & CALLS) != 1 || use & CLAIMED)
			return CLOSING_BUSY;
		if (change_use(connection, &use, (use - 1) | CLAIMED | CLOSING))
			return CLOSING_CLAIMED;
	}
	return CLOSING_ELSEWHERE;
}

bool connection_settle(struct connection *connection)
{
	uint64_t use = load_use(connection);

	atomic_store_explicit(&connection->fd, -1, memory_order_relaxed);
	do {
		if (use & CALLS || connection_refused(connection))
			return false;
	} while (!change_use(connection, &use, next_generation(use)));
	return true;
}

bool connection_lost_number(struct call call)
{
	uint64_t use = load_use(call.connection);

	while (generation_of(use) == call.generation && !(use & CLOSING)) {
		if (use & CLAIMED) {
			if (change_use(call.connection, &use, use | ORPHANED))
				return false;
		} else if (change_use(call.connection, &use, next_generation(use))) {
			return true;
		}
	}
	return false;
}

bool connection_displaced(struct connection *connection, int fd)
{
	uint64_t use = load_use(connection);

	for (;;) {
		if (use & CLOSING ||
			atomic_load_explicit(&connection->fd, memory_order_relaxed) != fd)
			return false;
		if (use & CLAIMED) {
			if (change_use(connection, &use, use | ORPHANED))
				return false;
		} else if (change_use(connection, &use, next_generation(use))) {
			return true;
		}
	}
}

_Atomic uint32_t connections_at_risk;

void connection_set_risk(struct connection *connection, enum risk risk)
{
	uint8_t before =
		atomic_exchange_explicit(&connection->risk, (uint8_t)risk, memory_order_relaxed);

	if (before == RISK_NONE && risk != RISK_NONE)
		atomic_fetch_add_explicit(&connections_at_risk, 1, memory_order_relaxed);
	if (before != RISK_NONE && risk == RISK_NONE)
		atomic_fetch_sub_explicit(&connections_at_risk, 1, memory_order_relaxed);
}

void connection_end(struct connection *connection)
{
	uint64_t use = load_use(connection);

	connection_set_risk(connection, RISK_NONE);
	while (!change_use(connection, &use, next_generation(use)))
		;
}

void connection_reset(
	struct connection *connection, int family, uint32_t fork_epoch, uint64_t now_ms)
{
	/* Not `use`: a call that comes back late may be looking at it just now. */
	atomic_store_explicit(&connection->refusal, REFUSED_NOT, memory_order_relaxed);
	atomic_store_explicit(&connection->opened, false, memory_order_relaxed);
	atomic_store_explicit(&connection->fd, -1, memory_order_relaxed);
	atomic_store_explicit(&connection->hidden, -1, memory_order_relaxed);
	connection_set_risk(connection, RISK_NONE);
	atomic_store_explicit(&connection->half_closed, false, memory_order_relaxed);
	connection->half_why = 0;
	atomic_store_explicit(&connection->failure_known, false, memory_order_relaxed);
	atomic_store_explicit(&connection->order_unknown, false, memory_order_relaxed);
	atomic_store_explicit(&connection->successor, NULL, memory_order_relaxed);
	atomic_store_explicit(&connection->renewer, 0, memory_order_relaxed);
	connection->predecessor = NULL;
	connection->sent_before = 0;
	connection->idle_ms = connection->keeps_ms = 0;
	connection->result_pending = false;
	atomic_store_explicit(&connection->turn, TURN_NONE, memory_order_relaxed);
	connection->impatient = false;
	connection->prefix_len = 0;
	connection->family = (uint16_t)family;
	connection->fork_epoch = fork_epoch;
	connection->uses = 0;
	connection->created_ms = now_ms;
	connection->cookie = 0;
	connection->sent = connection->received = 0;
	connection->point = NULL;
	connection->peer.family = connection->local.family = 0;
	connection->opened_counters[0] = connection->opened_counters[1] = NULL;
	connection->watches.count = 0;
	connection->options.count = 0;
	connection->options.lends_nodelay = false;
	connection->deferred = 0;
	connection->tracker = NULL;
	connection->resetting = NULL;
	memset(connection->tracker_state, 0, sizeof(connection->tracker_state));
	atomic_store_explicit(&connection->state, CONNECTION_FRESH, memory_order_release);
}

void connection_refuse(struct connection *connection, enum refusal refusal)
{
	uint8_t none = REFUSED_NOT;

	atomic_compare_exchange_strong_explicit(&connection->refusal, &none, (uint8_t)refusal,
		memory_order_relaxed, memory_order_relaxed);
}

/* Looks for the protocol in the first bytes sent. */
static void detect(struct connection *connection, const uint8_t *data, size_t len)
{
	_Bool undecided;

	if (!data) {
		connection_refuse(connection, REFUSED_UNSEEN);
		return;
	}
	size_t before = connection->prefix_len;
	while (connection->prefix_len < TRACKER_PREFIX_MAX &&
		connection->prefix_len - before < len) {
		connection->prefix[connection->prefix_len] = data[connection->prefix_len - before];
		connection->prefix_len++;
	}
	connection->tracker = tracker_for(connection->prefix, connection->prefix_len, &undecided);
	if (!connection->tracker) {
		/* RFC 8446 section 5.1: a handshake record, version 3.something. */
		bool tls = connection->prefix[0] == 0x16 &&
			   (connection->prefix_len < 2 || connection->prefix[1] == 0x03);
		if (!undecided)
			connection_refuse(connection, tls ? REFUSED_TLS : REFUSED_UNKNOWN_PROTOCOL);
		return;
	}
	/* What was kept of earlier calls goes first, then all of this call's. */
	if (before > 0)
		connection->tracker->sent(connection->tracker_state, connection->prefix, before);
	connection->tracker->sent(connection->tracker_state, data, len);
}

/* Others look at it, but nobody else writes. */
static void count_moved(_Atomic uint64_t *ledger, size_t len)
{
	atomic_store_explicit(ledger, atomic_load_explicit(ledger, memory_order_relaxed) + len,
		memory_order_relaxed);
}

void connection_feed(
	struct connection *connection, enum direction direction, const uint8_t *data, size_t len)
{
	const struct tracker *tracker = connection->tracker;

	if (direction == SENT) {
		count_moved(&connection->sent, len);
		if (tracker)
			tracker->sent(connection->tracker_state, data, len);
		else
			detect(connection, data, len);
	} else {
		count_moved(&connection->received, len);
		if (tracker)
			tracker->received(connection->tracker_state, data, len);
		else
			connection_refuse(connection, connection->prefix_len
							      ? REFUSED_UNKNOWN_PROTOCOL
							      : REFUSED_SERVER_FIRST);
	}
}

void connection_opened(struct connection *connection)
{
	if (atomic_exchange_explicit(&connection->opened, true, memory_order_relaxed))
		return;
	for (int i = 0; i < 2; i++)
		if (connection->opened_counters[i])
			atomic_fetch_add_explicit(
				connection->opened_counters[i], 1, memory_order_relaxed);
}

void connection_feed_vector(struct connection *connection, enum direction direction,
	const struct iovec *vector, size_t total)
{
	if (!vector)
		connection_feed(connection, direction, NULL, total);
	for (; vector && total > 0; vector++) {
		size_t len = vector->iov_len < total ? vector->iov_len : total;
		if (len > 0)
			connection_feed(connection, direction, vector->iov_base, len);
		total -= len;
	}
}

static bool is_opened(const struct connection *connection)
{
	return atomic_load_explicit(&connection->opened, memory_order_relaxed);
}

bool connection_moved(
	struct call call, enum direction direction, const struct iovec *vector, size_t total)
{
	struct connection *connection = call.connection;

	if (total == 0 || (connection_refused(connection) && is_opened(connection)))
		return false;
	if (!claim(call, CLAIMED)) {
		refuse_contended(call);
		return false;
	}
	connection_opened(connection);
	/* What that one has sent before may be noted after this. */
	if (direction == RECEIVED && connection_is_shared(call))
		atomic_store_explicit(&connection->order_unknown, true, memory_order_relaxed);
	connection_feed_vector(connection, direction, vector, total);
	return unclaim(connection);
}

bool connection_unclaim(struct connection *connection)
{
	return unclaim(connection);
}

bool connection_try_claim(struct call call)
{
	return claim(call, CLAIMED);
}

bool connection_claim(struct call call)
{
	if (claim(call, CLAIMED))
		return true;
	refuse_contended(call);
	return false;
}

bool connection_set_option(struct call call, int level, int name, const void *value, socklen_t size)
{
	if (!connection_claim(call))
		return false;
	bool connected = connection_state(call.connection) != CONNECTION_FRESH;
	if (!options_record(&call.connection->options, level, name, value, size, connected))
		connection_refuse(call.connection, REFUSED_SOCKET_OPTION);
	return unclaim(call.connection);
}

bool connection_connected(struct call call)
{
	if (!connection_claim(call))
		return false;
	connection_opened(call.connection);
	return unclaim(call.connection);
}

bool connection_watch(struct call call, int epfd, int op, const struct epoll_event *event)
{
	if (!connection_claim(call))
		return false;
	if (!watches_record(&call.connection->watches, epfd, op, event))
		connection_refuse(call.connection, REFUSED_WATCHED);
	return unclaim(call.connection);
}

bool connection_bound(struct call call, const struct endpoint *local)
{
	if (!connection_claim(call))
		return false;
	call.connection->local = *local;
	/* bind() chooses a port at once, and the program may ask which; unless it said that it
	 * wants none before connect(): ip(7). */
	if (local->port != 0 ||
		!options_have(&call.connection->options, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1))
		connection_refuse(call.connection, REFUSED_BOUND);
	return unclaim(call.connection);
}

enum refusal connection_verdict(const struct connection *connection, uint32_t fork_epoch)
{
	enum refusal refusal =
		(enum refusal)atomic_load_explicit(&connection->refusal, memory_order_relaxed);

	if (refusal != REFUSED_NOT)
		return refusal;
	if (atomic_load_explicit(&connection->half_closed, memory_order_relaxed))
		return connection->half_why ? (enum refusal)connection->half_why : REFUSED_SHUTDOWN;
	if (connection_state(connection) != CONNECTION_LIVE)
		return REFUSED_NOT_CONNECTED;
	if (connection->fork_epoch != fork_epoch)
		return REFUSED_FORKED;
	if (!connection->tracker)
		return connection->prefix_len ? REFUSED_UNKNOWN_PROTOCOL : REFUSED_UNUSED;
	return connection->tracker->verdict(connection->tracker_state);
}

const char *connection_protocol(const struct connection *connection)
{
	return connection->tracker ? connection->tracker->name : "unknown";
}

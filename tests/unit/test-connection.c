#include "tests/unit/fake_os.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <string.h>

#include "pool/connection.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

#define FD      7
#define REQUEST "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define ANSWER  "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

static struct connection connection;

static void setup(void)
{
	connection_reset(&connection, AF_INET, 0, 0);
	atomic_store(&connection.fd, FD);
	atomic_store(&connection.state, CONNECTION_LIVE);
}

TestSuite(connection, .init = setup);

static enum closing begin_close(void)
{
	struct call call = connection_enter(&connection);
	enum closing closing = connection_begin_close(call);

	if (closing != CLOSING_CLAIMED)
		connection_leave(call);
	return closing;
}

static bool move(struct call call, enum direction direction, const char *bytes, size_t len)
{
	const struct iovec vector = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};

	return connection_moved(call, direction, &vector, len);
}

/* One call of the program's, from its beginning to its end. */
static void moved(enum direction direction, const char *bytes, size_t len)
{
	struct call call = connection_enter(&connection);

	cr_expect_not(move(call, direction, bytes, len));
	connection_leave(call);
}

static const char *refusal_now(void)
{
	return refusal_word((enum refusal)atomic_load(&connection.refusal));
}

static const char *verdict(void)
{
	return refusal_word(connection_verdict(&connection, 0));
}

/* ---- a tracker to which something happens while it is fed ---- */

static void (*while_feeding)(void);
static size_t fed;

static void feed_slowly(void *state, const uint8_t *data, size_t len)
{
	void (*happening)(void) = while_feeding;

	(void)state;
	(void)data;
	fed += len;
	while_feeding = NULL;
	if (happening)
		happening();
}

static enum refusal always_idle(const void *state)
{
	(void)state;
	return REFUSED_NOT;
}

static const struct tracker slow_tracker = {
	.name = "slow",
	.sent = feed_slowly,
	.received = feed_slowly,
	.verdict = always_idle,
};

/* ---- calls under way ---- */

Test(connection, a_call_under_way_keeps_close_from_having_it)
{
	struct call call = connection_enter(&connection);

	cr_expect_eq(call.connection, &connection);
	cr_expect_eq(begin_close(), CLOSING_BUSY);
	connection_leave(call);
	cr_expect_eq(begin_close(), CLOSING_CLAIMED);
}

Test(connection, every_call_under_way_counts)
{
	struct call one = connection_enter(&connection), two = connection_enter(&connection);

	connection_leave(two);
	cr_expect_eq(begin_close(), CLOSING_BUSY);
	connection_leave(one);
	cr_expect_eq(begin_close(), CLOSING_CLAIMED);
}

Test(connection, a_call_that_comes_back_late_does_not_leave_for_another)
{
	struct call late = connection_enter(&connection);

	connection_end(&connection);
	struct call now = connection_enter(&connection);
	cr_expect_neq(late.generation, now.generation);
	connection_leave(late);
	cr_expect_eq(begin_close(), CLOSING_BUSY);
	connection_leave(now);
	cr_expect_eq(begin_close(), CLOSING_CLAIMED);
}

Test(connection, an_end_forgets_calls_and_claims)
{
	connection_enter(&connection);
	connection_end(&connection);
	cr_assert_eq(begin_close(), CLOSING_CLAIMED);
	connection_end(&connection);
	cr_expect_eq(begin_close(), CLOSING_CLAIMED);
}

/* ---- connect() ---- */

Test(connection, a_connect_is_begun_by_the_only_call_under_way)
{
	struct call call = connection_enter(&connection);

	cr_expect_not(connection_is_connecting(&connection));
	cr_expect(connection_begin_connect(call));
	cr_expect(connection_is_connecting(&connection));
	cr_expect_not(connection_end_connect(call));
	cr_expect_not(connection_is_connecting(&connection));
	connection_leave(call);
	cr_expect_eq(begin_close(), CLOSING_CLAIMED);
}

Test(connection, a_connect_is_not_begun_while_another_call_is_under_way)
{
	struct call call = connection_enter(&connection), other = connection_enter(&connection);

	cr_expect_not(connection_begin_connect(call));
	connection_leave(other);
	cr_expect(connection_begin_connect(call));
}

Test(connection, a_connect_is_not_begun_twice)
{
	struct call call = connection_enter(&connection);

	cr_expect(connection_begin_connect(call));
	cr_expect_not(connection_begin_connect(call));
	struct call other = connection_enter(&connection);
	cr_expect_not(connection_begin_connect(other));
}

Test(connection, a_connect_is_not_begun_on_what_has_ended_or_is_being_closed)
{
	struct call late = connection_enter(&connection);

	connection_end(&connection);
	cr_expect_not(connection_begin_connect(late));
	cr_assert_eq(begin_close(), CLOSING_CLAIMED);
	struct call call = connection_enter(&connection);
	cr_expect_not(connection_begin_connect(call));
}

Test(connection, a_close_during_a_connect_does_not_get_it)
{
	struct call call = connection_enter(&connection);

	cr_assert(connection_begin_connect(call));
	cr_expect_eq(begin_close(), CLOSING_BUSY);
	cr_expect_not(connection_end_connect(call));
	connection_leave(call);
	cr_expect_eq(begin_close(), CLOSING_CLAIMED);
}

Test(connection, calls_that_never_end_do_not_overflow)
{
	struct call call;

	for (unsigned i = 0; i < 200000; i++)
		call = connection_enter(&connection);
	cr_expect_null(call.connection);
	cr_expect_not(connection_is_connecting(&connection));
	cr_expect_eq(atomic_load(&connection.refusal), REFUSED_IN_FLIGHT);
}

Test(connection, that_ends_during_a_connect_is_given_back_by_that)
{
	struct call call = connection_enter(&connection);

	cr_assert(connection_begin_connect(call));
	cr_expect_not(connection_displaced(&connection, FD));
	cr_expect(connection_end_connect(call));
	struct call next = connection_enter(&connection);
	cr_expect_neq(next.generation, call.generation);
	connection_leave(call);
	cr_expect_eq(begin_close(), CLOSING_BUSY);
}

/* ---- another connection in its place ---- */

static struct call enter(void)
{
	return connection_enter(&connection);
}

Test(connection, a_renewal_is_begun_when_all_calls_under_way_want_it)
{
	struct call call = enter(), other = enter();

	cr_assert(connection_want_renewal(call));
	cr_expect_not(connection_begin_renewal(call), "the other one goes on using it");
	cr_assert(connection_want_renewal(other));
	cr_expect(connection_begin_renewal(call));
	cr_expect(connection_is_connecting(&connection), "all others keep off the number");
	cr_expect_not(connection_begin_renewal(other), "and only one does it");
	cr_expect_not(connection_end_connect(call));
	cr_expect_not(connection_is_connecting(&connection));
	connection_want_no_renewal(other);
	cr_expect_not(connection_begin_renewal(call));
	connection_leave(other);
	cr_expect(connection_begin_renewal(call));
}

Test(connection, a_renewal_is_not_begun_while_somebody_has_it)
{
	struct call call = enter();

	cr_assert(connection_want_renewal(call));
	cr_assert(connection_try_claim(call));
	cr_expect_not(connection_begin_renewal(call));
	cr_expect_not(connection_unclaim(&connection));
	cr_expect(connection_begin_renewal(call));
}

Test(connection, a_renewal_of_one_that_has_ended_is_neither_wanted_nor_begun)
{
	struct call late = enter();

	cr_assert(connection_want_renewal(late));
	connection_end(&connection);
	uint64_t use = atomic_load(&connection.use);
	cr_expect_not(connection_begin_renewal(late));
	connection_want_no_renewal(late);
	cr_expect_not(connection_want_renewal(late));
	cr_expect_eq(atomic_load(&connection.use), use);
}

Test(connection, wishes_that_never_end_do_not_overflow)
{
	struct call call = enter();
	unsigned count = 0;

	while (count < 200000 && connection_want_renewal(call))
		count++;
	cr_expect_eq(count, 2047);
	cr_expect(connection_is_current(call));
	cr_expect_not(connection_is_shared(call));
	for (; count > 1; count--)
		connection_want_no_renewal(call);
	cr_expect(connection_begin_renewal(call));
}

Test(connection, a_wish_hides_no_close_and_no_connect)
{
	struct call call = enter();

	cr_assert(connection_want_renewal(call));
	cr_expect_eq(begin_close(), CLOSING_BUSY);
	connection_want_no_renewal(call);
	cr_expect(connection_begin_connect(call));
}

Test(connection, one_that_is_displaced_in_a_renewal_is_given_back_by_that)
{
	struct call call = enter();

	cr_assert(connection_want_renewal(call));
	cr_assert(connection_begin_renewal(call));
	cr_expect_not(connection_displaced(&connection, FD));
	cr_expect(connection_end_connect(call));
	cr_expect_not(connection_is_current(call));
}

Test(connection, succeeds_the_one_of_that_generation_and_no_other)
{
	static struct connection successor, stranger;
	struct call call = enter();

	connection_reset(&successor, AF_INET, 0, 0);
	cr_expect_not(connection_succeeds(&successor, call));
	successor.predecessor = &connection;
	successor.predecessor_generation = call.generation;
	cr_expect(connection_succeeds(&successor, call));
	cr_expect_not(connection_succeeds(&successor, connection_enter(&stranger)));
	connection_end(&connection);
	cr_expect(connection_succeeds(&successor, call), "that has ended, as a rule");
	cr_expect_not(connection_succeeds(&successor, enter()), "it is another's memory");
	connection_reset(&successor, AF_INET, 0, 0);
	cr_expect_not(connection_succeeds(&successor, call));
}

Test(connection, one_that_is_claimed_only_if_it_can_be_had_refuses_nothing)
{
	struct call call = enter(), other = enter();

	cr_assert(connection_try_claim(call));
	cr_expect_not(connection_try_claim(other));
	cr_expect_str_eq(refusal_now(), "none");
	cr_expect_not(connection_unclaim(&connection));
	cr_assert(connection_try_claim(other));
	cr_expect_not(connection_displaced(&connection, FD));
	cr_expect(connection_unclaim(&connection), "it ended meanwhile");
	cr_expect_not(connection_try_claim(call));
}

Test(connection, is_shared_while_another_call_is_under_way)
{
	struct call call = enter();

	cr_expect_not(connection_is_shared(call));
	struct call other = enter();
	cr_expect(connection_is_shared(call));
	cr_assert(connection_want_renewal(other));
	cr_expect(connection_is_shared(call), "whatever that wants");
	connection_leave(other);
	cr_expect_not(connection_is_shared(call));
	connection_end(&connection);
	enter();
	enter();
	cr_expect_not(connection_is_shared(call), "nor those of the next one");
}

/* ---- close() ---- */

Test(connection, a_close_that_nobody_disturbs_is_settled_and_its_claim_over)
{
	cr_assert_eq(begin_close(), CLOSING_CLAIMED);
	cr_expect(connection_settle(&connection));
	cr_expect_eq(atomic_load(&connection.fd), -1, "it is on no number of the program's");
	cr_expect(connection_begin_connect(connection_enter(&connection)));
}

Test(connection, a_second_close_is_told_that_another_one_has_it)
{
	cr_assert_eq(begin_close(), CLOSING_CLAIMED);
	cr_expect_eq(begin_close(), CLOSING_ELSEWHERE);
	struct call call = connection_enter(&connection);
	cr_expect_eq(begin_close(), CLOSING_ELSEWHERE);
	connection_leave(call);
}

Test(connection, a_call_that_is_under_way_when_the_number_was_closed_unsettles_it)
{
	cr_assert_eq(begin_close(), CLOSING_CLAIMED);
	connection_enter(&connection);
	cr_expect_not(connection_settle(&connection));
}

Test(connection, a_refusal_while_it_is_closed_unsettles_it)
{
	cr_assert_eq(begin_close(), CLOSING_CLAIMED);
	struct call call = connection_enter(&connection);
	connection_refuse(&connection, REFUSED_SHUTDOWN);
	connection_leave(call);
	cr_expect_not(connection_settle(&connection));
}

Test(connection, bytes_that_move_while_it_is_closed_unsettle_it_though_the_call_is_over)
{
	cr_assert_eq(begin_close(), CLOSING_CLAIMED);
	moved(SENT, REQUEST, sizeof(REQUEST) - 1);
	cr_expect_str_eq(refusal_now(), "contended");
	cr_expect_not(connection_settle(&connection));
}

Test(connection, a_call_that_looked_it_up_before_the_close_finds_another_generation_after_it)
{
	cr_assert_eq(begin_close(), CLOSING_CLAIMED);
	struct call early = connection_enter(&connection);
	connection_leave(early);
	cr_assert(connection_settle(&connection));
	struct call late = connection_enter(&connection);
	cr_expect_neq(early.generation, late.generation);
}

/* ---- displaced: something else is on its number ---- */

Test(connection, that_is_displaced_is_the_displacers_to_give_back)
{
	struct call call = connection_enter(&connection);

	cr_expect(connection_displaced(&connection, FD));
	struct call next = connection_enter(&connection);
	cr_expect_neq(next.generation, call.generation, "every call under way has lost it");
}

Test(connection, that_is_displaced_from_a_number_that_it_has_left_lives_on)
{
	struct call call = connection_enter(&connection);

	cr_expect_not(connection_displaced(&connection, FD + 1));
	cr_expect_eq(connection_enter(&connection).generation, call.generation);
}

Test(connection, that_is_displaced_while_it_is_closed_is_the_closers)
{
	cr_assert_eq(begin_close(), CLOSING_CLAIMED);
	cr_expect_not(connection_displaced(&connection, FD));
	cr_expect(connection_settle(&connection), "the number was closed and opened again");
}

static void displace(void)
{
	cr_expect_not(connection_displaced(&connection, FD), "the call that has it gives it back");
}

Test(connection, that_is_displaced_while_a_call_has_it_is_that_calls_to_give_back)
{
	struct call call = connection_enter(&connection);

	connection.tracker = &slow_tracker;
	while_feeding = displace;
	cr_expect(move(call, SENT, "abc", 3));
	struct call next = connection_enter(&connection);
	cr_expect_neq(next.generation, call.generation);
	connection_leave(call);
	cr_expect_eq(begin_close(), CLOSING_BUSY);
}

/* ---- what is told too late, or while somebody has it ---- */

static const char option_value[] = {1, 0, 0, 0};
static const struct epoll_event epoll_event = {.events = EPOLLIN};
static const struct endpoint bound_to_port = {.family = AF_INET, .port = 1};

static bool tell_moved(struct call call)
{
	return move(call, SENT, REQUEST, sizeof(REQUEST) - 1);
}

static bool tell_moved_unseen(struct call call)
{
	return connection_moved(call, SENT, NULL, 1);
}

static bool tell_connected(struct call call)
{
	return connection_connected(call);
}

static bool tell_option(struct call call)
{
	return connection_set_option(
		call, SOL_SOCKET, SO_KEEPALIVE, option_value, sizeof(option_value));
}

static bool tell_barred_option(struct call call)
{
	return connection_set_option(
		call, SOL_SOCKET, SO_PEEK_OFF, option_value, sizeof(option_value));
}

static bool tell_watch(struct call call)
{
	return connection_watch(call, 50, EPOLL_CTL_ADD, &epoll_event);
}

static bool tell_bound(struct call call)
{
	return connection_bound(call, &bound_to_port);
}

static const struct {
	const char *name;
	bool (*tell)(struct call call);
} tellers[] = {
	{"moved", tell_moved},
	{"moved unseen", tell_moved_unseen},
	{"connected", tell_connected},
	{"set an option", tell_option},
	{"set a barred option", tell_barred_option},
	{"watched", tell_watch},
	{"bound", tell_bound},
};

static bool is_untouched(void)
{
	return connection.sent == 0 && connection.received == 0 && connection.prefix_len == 0 &&
	       !connection.tracker && connection.options.count == 0 &&
	       connection.watches.count == 0 && connection.local.family == 0 &&
	       !atomic_load(&connection.opened);
}

Test(connection, whatever_comes_back_to_another_generation_does_nothing)
{
	for (size_t i = 0; i < COUNT(tellers); i++) {
		struct call late = connection_enter(&connection);

		connection_end(&connection);
		cr_expect_not(tellers[i].tell(late), "%s", tellers[i].name);
		cr_expect(is_untouched(), "%s", tellers[i].name);
		cr_expect_str_eq(refusal_now(), "none", "%s", tellers[i].name);
	}
}

Test(connection, whatever_is_told_while_somebody_has_it_makes_it_unpoolable_and_does_not_wait)
{
	for (size_t i = 0; i < COUNT(tellers); i++) {
		connection_end(&connection);
		setup();
		cr_assert_eq(begin_close(), CLOSING_CLAIMED);
		struct call call = connection_enter(&connection);
		cr_expect_not(tellers[i].tell(call), "%s", tellers[i].name);
		cr_expect(is_untouched(), "%s", tellers[i].name);
		cr_expect_str_eq(refusal_now(), "contended", "%s", tellers[i].name);
	}
}

Test(connection, whatever_is_told_leaves_it_to_the_next)
{
	for (size_t i = 0; i < COUNT(tellers); i++) {
		connection_end(&connection);
		setup();
		struct call call = connection_enter(&connection);
		cr_expect_not(tellers[i].tell(call), "%s", tellers[i].name);
		cr_expect_not(
			is_untouched() && !connection_refused(&connection), "%s", tellers[i].name);
		connection_leave(call);
		cr_expect_eq(begin_close(), CLOSING_CLAIMED, "%s", tellers[i].name);
	}
}

Test(connection, two_calls_at_once_are_told_one_after_the_other)
{
	struct call one = connection_enter(&connection), two = connection_enter(&connection);

	connection.tracker = &slow_tracker;
	cr_expect_not(move(one, SENT, "abc", 3));
	cr_expect_not(move(two, RECEIVED, "de", 2));
	cr_expect_eq(fed, 5);
	cr_expect_str_eq(refusal_now(), "none");
}

static struct call second_call;

static void move_meanwhile(void)
{
	cr_expect_not(move(second_call, RECEIVED, "de", 2));
}

Test(connection, a_call_that_interrupts_the_tracker_is_not_fed_to_it)
{
	struct call call = connection_enter(&connection);

	second_call = connection_enter(&connection);
	connection.tracker = &slow_tracker;
	while_feeding = move_meanwhile;
	cr_expect_not(move(call, SENT, "abc", 3));
	cr_expect_eq(fed, 3);
	cr_expect_str_eq(refusal_now(), "contended");
}

/* ---- refusals ---- */

Test(connection, the_first_refusal_stays)
{
	cr_expect_not(connection_refused(&connection));
	connection_refuse(&connection, REFUSED_SHUTDOWN);
	connection_refuse(&connection, REFUSED_DUPLICATED);
	cr_expect(connection_refused(&connection));
	cr_expect_str_eq(refusal_now(), "shutdown");
	cr_expect_str_eq(verdict(), "shutdown");
}

Test(connection, a_barred_option_refuses)
{
	struct call call = connection_enter(&connection);

	tell_option(call);
	cr_expect_eq(connection.options.count, 1);
	cr_expect_str_eq(refusal_now(), "none");
	tell_barred_option(call);
	cr_expect_str_eq(refusal_now(), "socket_option");
}

Test(connection, more_epoll_sets_than_can_be_remembered_refuse)
{
	struct call call = connection_enter(&connection);

	for (int epfd = 0; epfd < WATCHES_MAX; epfd++)
		connection_watch(call, epfd, EPOLL_CTL_ADD, &epoll_event);
	cr_expect_str_eq(refusal_now(), "none");
	connection_watch(call, WATCHES_MAX, EPOLL_CTL_ADD, &epoll_event);
	cr_expect_str_eq(refusal_now(), "watched");
}

/* bind() to a host's address only: Linux chooses a port unless it is told to wait with that. */
static const struct endpoint bound_to_address = {.family = AF_INET, .address = {127, 0, 0, 2}};

Test(connection, a_bound_address_without_a_port_is_kept)
{
	const int yes = 1;
	struct call call = connection_enter(&connection);

	atomic_store(&connection.state, CONNECTION_FRESH);
	connection_set_option(call, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof(yes));
	cr_expect_not(connection_bound(call, &bound_to_address));
	cr_expect_eq(memcmp(&connection.local, &bound_to_address, sizeof(bound_to_address)), 0);
	cr_expect_not(connection_refused(&connection));
	tell_bound(call);
	cr_expect_str_eq(refusal_now(), "bound", "a port of its own");
}

Test(connection, a_bound_address_for_which_the_kernel_chose_a_port_refuses)
{
	const int no = 0;
	struct call call = connection_enter(&connection);

	atomic_store(&connection.state, CONNECTION_FRESH);
	connection_set_option(call, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &no, sizeof(no));
	cr_expect_not(connection_bound(call, &bound_to_address));
	cr_expect_str_eq(refusal_now(), "bound");
}

Test(connection, the_verdict_begins_with_what_the_program_did)
{
	cr_expect_str_eq(verdict(), "unused");
	atomic_store(&connection.state, CONNECTION_FRESH);
	connection.fork_epoch = 1;
	cr_expect_str_eq(verdict(), "not_connected");
	atomic_store(&connection.state, CONNECTION_LIVE);
	cr_expect_str_eq(verdict(), "forked");
	connection.fork_epoch = 0;
	connection.tracker = &slow_tracker;
	cr_expect_str_eq(verdict(), "none");
	connection_refuse(&connection, REFUSED_STDIO);
	cr_expect_str_eq(verdict(), "stdio");
}

/* ---- the ledger ---- */

Test(connection, the_ledger_counts_what_was_seen_each_way)
{
	moved(SENT, REQUEST, sizeof(REQUEST) - 1);
	moved(RECEIVED, ANSWER, sizeof(ANSWER) - 1);
	moved(SENT, REQUEST, sizeof(REQUEST) - 1);
	cr_expect_eq(connection.sent, 2 * (sizeof(REQUEST) - 1));
	cr_expect_eq(connection.received, sizeof(ANSWER) - 1);
}

Test(connection, only_the_bytes_that_moved_are_counted_and_fed)
{
	const struct iovec vector[] = {
		{.iov_base = (char[]){'G', 'E', 'T', ' '}, .iov_len = 4},
		{.iov_base = NULL, .iov_len = 0},
		{.iov_base = (char[]){'/', 'n', 'o'}, .iov_len = 3},
		{.iov_base = NULL, .iov_len = 1000},
	};
	struct call call = connection_enter(&connection);

	cr_expect_not(connection_moved(call, SENT, vector, 5));
	cr_expect_eq(connection.sent, 5);
	cr_expect_eq(connection.prefix_len, 4, "the first piece was enough to know the protocol");
	connection_leave(call);
	moved(SENT, &REQUEST[5], sizeof(REQUEST) - 1 - 5);
	moved(RECEIVED, ANSWER, sizeof(ANSWER) - 1);
	cr_expect_str_eq(verdict(), "none");
}

Test(connection, a_call_that_moved_nothing_changes_nothing)
{
	moved(RECEIVED, "", 0);
	cr_expect(is_untouched());
	cr_expect_str_eq(refusal_now(), "none");
}

Test(connection, bytes_that_nobody_saw_are_counted_and_their_tracker_is_told)
{
	struct call call = connection_enter(&connection);

	moved(SENT, REQUEST, sizeof(REQUEST) - 1);
	moved(RECEIVED, ANSWER, sizeof(ANSWER) - 1 - 2);
	cr_expect_str_eq(verdict(), "busy");
	cr_expect_not(connection_moved(call, RECEIVED, NULL, 2));
	cr_expect_eq(connection.received, sizeof(ANSWER) - 1);
	cr_expect_str_eq(verdict(), "none", "a body need not be seen");
}

/* ---- detection ---- */

struct detection_row {
	const char *claim, *bytes;
	size_t len;
	const char *verdict, *protocol;
};

#define BYTES(text) text, sizeof(text) - 1

static const struct detection_row detections[] = {
	{"HTTP/1.1", BYTES(REQUEST), "busy", "http/1.1"},
	{"a long method", BYTES("PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n"), "busy", "http/1.1"},
	{"TLS 1.2", BYTES("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), "tls", "unknown"},
	{"redis", BYTES("*1\r\n$4\r\nPING\r\n"), "busy", "resp"},
	{"something like redis", BYTES("*1\r\n$4\r\nPINK\r\n"), "unknown_protocol", "unknown"},
	{"HTTP/2 with prior knowledge", BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
		"unknown_protocol", "unknown"},
	{"more bytes than are kept, with no method among them",
		BYTES("XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX"), "unknown_protocol",
		"unknown"},
};

static void expect_detection(const struct detection_row *row, size_t cut)
{
	cr_expect_str_eq(verdict(), row->verdict, "%s, cut at %zu: %s", row->claim, cut, verdict());
	cr_expect_eq(connection.tracker != NULL, strcmp(row->protocol, "unknown") != 0, "%s",
		row->claim);
}

Test(connection, a_protocol_is_known_however_its_first_bytes_are_cut)
{
	for (size_t i = 0; i < COUNT(detections); i++) {
		const struct detection_row *row = &detections[i];

		for (size_t cut = 0; cut <= row->len; cut++) {
			setup();
			moved(SENT, row->bytes, cut);
			moved(SENT, row->bytes + cut, row->len - cut);
			expect_detection(row, cut);
		}
		setup();
		for (size_t at = 0; at < row->len; at++)
			moved(SENT, row->bytes + at, 1);
		expect_detection(row, row->len);
	}
}

Test(connection, the_tracker_gets_every_byte_once_however_the_first_ones_are_cut)
{
	for (size_t cut = 0; cut < sizeof(REQUEST); cut++) {
		setup();
		moved(SENT, REQUEST, cut);
		moved(SENT, &REQUEST[cut], sizeof(REQUEST) - 1 - cut);
		cr_expect_str_eq(verdict(), "busy", "cut at %zu", cut);
		moved(RECEIVED, ANSWER, sizeof(ANSWER) - 1);
		cr_expect_str_eq(verdict(), "none", "cut at %zu: %s", cut, verdict());
		cr_expect_eq(connection.sent, sizeof(REQUEST) - 1);
	}
}

Test(connection, a_vector_of_single_bytes_is_like_one_piece)
{
	char request[] = REQUEST;
	struct iovec vector[sizeof(REQUEST) - 1];
	struct call call = connection_enter(&connection);

	for (size_t i = 0; i < COUNT(vector); i++)
		vector[i] = (struct iovec){.iov_base = &request[i], .iov_len = 1};
	cr_expect_not(connection_moved(call, SENT, vector, COUNT(vector)));
	moved(RECEIVED, ANSWER, sizeof(ANSWER) - 1);
	cr_expect_str_eq(verdict(), "none");
	cr_expect_str_eq(connection_protocol(&connection), connection.tracker->name);
}

Test(connection, a_method_that_may_still_come_is_not_idle)
{
	moved(SENT, "GE", 2);
	cr_expect_str_eq(refusal_now(), "none", "it is still undecided");
	cr_expect_str_eq(verdict(), "unknown_protocol");
	cr_expect_str_eq(connection_protocol(&connection), "unknown");
}

Test(connection, a_server_that_speaks_first_is_refused)
{
	moved(RECEIVED, "220 mail\r\n", 10);
	cr_expect_str_eq(verdict(), "server_first");
	moved(SENT, REQUEST, sizeof(REQUEST) - 1);
	cr_expect_str_eq(verdict(), "server_first");
}

Test(connection, a_server_that_speaks_before_the_protocol_is_known_is_refused)
{
	moved(SENT, "GE", 2);
	moved(RECEIVED, ANSWER, sizeof(ANSWER) - 1);
	cr_expect_str_eq(verdict(), "unknown_protocol");
}

Test(connection, first_bytes_that_nobody_saw_are_refused)
{
	struct call call = connection_enter(&connection);

	cr_expect_not(connection_moved(call, SENT, NULL, 10));
	cr_expect_str_eq(verdict(), "unseen");
}

/* ---- counted as opened ---- */

static _Atomic uint64_t of_pool, of_point;

static void count_it(void)
{
	connection.opened_counters[0] = &of_pool;
	connection.opened_counters[1] = &of_point;
}

Test(connection, is_counted_as_opened_once_by_both_counters)
{
	count_it();
	connection_opened(&connection);
	connection_opened(&connection);
	moved(SENT, REQUEST, sizeof(REQUEST) - 1);
	cr_expect_eq(of_pool, 1);
	cr_expect_eq(of_point, 1);
}

Test(connection, one_that_is_still_being_made_is_counted_when_its_first_byte_moves)
{
	struct call call = connection_enter(&connection);

	count_it();
	connection_leave(call);
	cr_expect_eq(of_pool, 0);
	moved(SENT, REQUEST, sizeof(REQUEST) - 1);
	cr_expect_eq(of_pool, 1);
}

Test(connection, an_established_one_is_counted_at_once)
{
	struct call call = connection_enter(&connection);

	count_it();
	cr_expect_not(connection_connected(call));
	cr_expect_eq(of_pool, 1);
}

Test(connection, an_unpoolable_one_is_counted_too_and_then_followed_no_further)
{
	count_it();
	connection_refuse(&connection, REFUSED_STDIO);
	moved(SENT, REQUEST, sizeof(REQUEST) - 1);
	cr_expect_eq(of_pool, 1);
	uint64_t sent = connection.sent;
	moved(SENT, REQUEST, sizeof(REQUEST) - 1);
	cr_expect_eq(connection.sent, sent);
}

/* ---- a new socket in its memory ---- */

Test(connection, reset_leaves_nothing_of_the_one_before_but_the_generation)
{
	struct call late = connection_enter(&connection);

	count_it();
	tell_moved(late);
	tell_connected(late);
	tell_barred_option(late);
	tell_option(late);
	tell_watch(late);
	tell_bound(late);
	connection.uses = 3;
	connection.result_pending = true;
	atomic_store(&connection.successor, &connection);
	atomic_store(&connection.renewer, 1);
	connection.predecessor = &connection;
	connection.sent_before = 3;
	connection.idle_ms = connection.keeps_ms = 4;
	atomic_store(&connection.risk, RISK_TAKEN);
	atomic_store(&connection.half_closed, true);
	atomic_store(&connection.failure_known, true);
	connection.options.lends_nodelay = true;
	atomic_store(&connection.hidden, 200);
	connection_end(&connection);
	uint64_t use = atomic_load(&connection.use);
	connection_reset(&connection, AF_INET6, 5, 77);

	cr_expect(is_untouched());
	cr_expect_eq(atomic_load(&connection.use), use, "a late call may be looking at it");
	cr_expect_eq(connection_state(&connection), CONNECTION_FRESH);
	cr_expect_str_eq(refusal_now(), "none");
	cr_expect_eq(atomic_load(&connection.hidden), -1);
	cr_expect_eq(atomic_load(&connection.fd), -1);
	cr_expect_eq(connection.family, AF_INET6);
	cr_expect_eq(connection.fork_epoch, 5);
	cr_expect_eq(connection.created_ms, 77);
	cr_expect_eq(connection.uses, 0);
	cr_expect_not(connection.result_pending);
	cr_expect_null(atomic_load(&connection.successor));
	cr_expect_eq(atomic_load(&connection.renewer), 0);
	cr_expect_null(connection.predecessor);
	cr_expect_eq(connection.sent_before, 0);
	cr_expect_eq(connection.idle_ms, 0);
	cr_expect_eq(connection.keeps_ms, 0);
	cr_expect_eq(connection_risk(&connection), RISK_NONE);
	cr_expect_not(connection.half_closed);
	cr_expect_not(connection.failure_known);
	cr_expect_not(connection.options.lends_nodelay);
	cr_expect_null(connection.opened_counters[0]);
	cr_expect_null(connection.opened_counters[1]);
	for (size_t i = 0; i < TRACKER_STATE_MAX; i++)
		cr_expect_eq(connection.tracker_state[i], 0);
}

Test(connection, hides_its_hidden_number_and_no_other)
{
	cr_expect_not(connection_hides(&connection, 200));
	atomic_store(&connection.hidden, 200);
	cr_expect(connection_hides(&connection, 200));
	cr_expect_not(connection_hides(&connection, FD));
}

/* ---- losing the number ---- */

Test(connection, that_ended_before_it_lost_its_number_is_not_given_back_twice)
{
	struct call late = connection_enter(&connection);

	connection_end(&connection);
	cr_expect_not(connection_lost_number(late));
}

Test(connection, that_loses_its_number_in_a_call_is_given_back_once)
{
	struct call call = connection_enter(&connection), other = connection_enter(&connection);

	cr_expect(connection_lost_number(call));
	cr_expect_not(connection_lost_number(other));
}

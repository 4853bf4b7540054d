/* A reused connection that does not fit, or is dead: a new socket takes its place, and the program
 * does not learn of it. */
#include "tests/unit/program.h"

#include <fcntl.h>
#include <stdio.h>

#include "pool/manager.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

#define GET       "GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
#define GET_OF(h) "GET /x HTTP/1.1\r\nHost: " h "\r\n\r\n"
#define POST      "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
#define TIMEOUT   "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

static void setup(void)
{
	pool_with(settings_default());
}

static void check_books(void)
{
	expect_books_in_order();
	cr_expect_eq(fake.signals_blocked, 0);
}

TestSuite(renew, .init = setup, .fini = check_books);

/* A reused connection, on the program's number, that was idle for so long. */
static int reused_after(uint64_t ms)
{
	use_and_close(1);
	fake.now_ms += ms;
	int fd = open_socket();
	cr_assert_neq(connect_socket(fd, endpoint_number(1)), TAKEN_NONE);
	cr_assert_eq(connection_risk(connection_on(fd)), RISK_UNUSED);
	return fd;
}

static int reused(void)
{
	return reused_after(0);
}

static void make_non_blocking(int fd)
{
	fake_socket_on(fd)->status_flags |= O_NONBLOCK;
}

/* The peer has closed it, or has reset it: what receiving, and sending, says. */
static void kill_with(int fd, int receiving, int sending)
{
	struct fake_socket *socket = fake_socket_on(fd);

	/* The FIN is counted as a byte. */
	if (receiving == 0 && socket->peek == -EAGAIN)
		socket->info.tcpi_bytes_received++;
	socket->info.tcpi_state = receiving == 0 ? FAKE_CLOSE_WAIT : FAKE_CLOSE;
	socket->peek = receiving;
	socket->send_error = sending;
}

static void kill_it(int fd)
{
	kill_with(fd, 0, -EPIPE);
}

static long send_text(int fd, const char *text)
{
	return try_to_send(fd, text, strlen(text));
}

/* In pieces of so many bytes. */
static void send_in_pieces(int fd, const char *text, size_t piece)
{
	for (size_t at = 0, len = strlen(text), some; at < len; at += some) {
		some = len - at < piece ? len - at : piece;
		cr_assert_eq(try_to_send(fd, text + at, some), (long)some);
	}
}

static long receive(int fd)
{
	char room[4096];

	return try_to_receive(fd, room, sizeof(room));
}

static void receive_answer(int fd)
{
	receive_bytes(fd, ANSWER, sizeof(ANSWER) - 1);
}

/* In this use, or, where it has a new socket, on that. */
static void expect_sent(int fd, const char *text, const char *claim)
{
	const struct fake_socket *socket = fake_socket_on(fd);
	const uint8_t *sent = socket->sent + connection_on(fd)->sent_before;
	size_t len = socket->sent_len - connection_on(fd)->sent_before;

	cr_expect(len == strlen(text) && memcmp(sent, text, len) == 0, "%s: %.*s", claim, (int)len,
		(const char *)sent);
}

static void expect_counted(uint64_t slipped_in, uint64_t replayed, uint64_t failed)
{
	cr_expect_eq(
		pool.stats.slipped_in, slipped_in, "slipped in: %d", (int)pool.stats.slipped_in);
	cr_expect_eq(pool.stats.replayed, replayed, "replayed: %d", (int)pool.stats.replayed);
	cr_expect_eq(pool.stats.failed, failed, "failed: %d", (int)pool.stats.failed);
}

/* Nothing is at risk, or kept, any more, and no number of ours is left. */
static void expect_settled(int fd)
{
	const struct connection *connection = connection_on(fd);

	cr_expect_eq(connection_risk(connection), RISK_NONE);
	cr_expect_null(connection->kept);
	cr_expect_eq(atomic_load(&connection->renewing), 0);
	cr_expect_eq(fake_hidden_count(), pool.parked_count);
}

static void forget_what_was_learned(int fd)
{
	connection_on(fd)->point->learning = (struct learning){0};
}

/* ---- which connections are at risk ---- */

Test(renew, a_connection_of_its_own_is_not_at_risk)
{
	int fd = connected_to(1);

	cr_expect_eq(connection_risk(connection_on(fd)), RISK_NONE);
	send_text(fd, GET);
	kill_it(fd);
	cr_expect_eq(receive(fd), 0);
	cr_expect_eq(fake.calls[FAKE_OPEN_SOCKET], 0);
	expect_counted(0, 0, 0);
}

Test(renew, a_setting_switches_all_of_it_off)
{
	struct settings settings = settings_default();

	settings.replay = 0;
	pool_with(settings);
	use_and_close(1);
	int fd = connected_to(1);
	cr_assert_eq(pool.stats.reused, 1);
	cr_expect_eq(connection_risk(connection_on(fd)), RISK_NONE);
	cr_assert_gt(send_text(fd, GET_OF("b")), 0);
	cr_expect_null(connection_on(fd)->kept);
	kill_it(fd);
	cr_expect_eq(receive(fd), 0);
	cr_expect_eq(send_text(fd, GET), -EPIPE);
	cr_expect_eq(fake.calls[FAKE_OPEN_SOCKET], 0);
	expect_counted(0, 0, 0);
}

/* ---- before the first byte ---- */

Test(renew, one_that_is_found_dead_by_a_last_look_is_replaced)
{
	static const struct {
		const char *claim;
		int peek;
		const char *coming;
	} rows[] = {
		{"the peer's end of file", 0, ""},
		{"a reset", -ECONNRESET, ""},
		{"unsolicited bytes", -EAGAIN, "HTTP/1.1 408 Request Timeout\r\n\r\n"},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		pool_with(settings_default());
		int fd = reused();
		uint64_t dead = cookie_on(fd);
		if (rows[i].peek != -EAGAIN)
			kill_with(fd, rows[i].peek, -EPIPE);
		fake_say(fd, rows[i].coming, strlen(rows[i].coming));
		cr_expect_eq(send_text(fd, POST), (long)sizeof(POST) - 1, "%s", rows[i].claim);
		cr_expect_neq(cookie_on(fd), dead, "%s", rows[i].claim);
		expect_sent(fd, POST, rows[i].claim);
		expect_counted(1, 0, 0);
		cr_expect_eq(pool.stats.quarantined, 1, "%s", rows[i].claim);
		expect_settled(fd);
		receive_answer(fd);
		close_socket(fd);
		cr_expect_eq(pool.parked_count, 1, "%s", rows[i].claim);
		expect_books_in_order();
	}
}

Test(renew, also_before_what_cannot_be_looked_at)
{
	int fd = reused();
	struct call call = connection_enter(connection_on(fd));
	uint64_t dead = cookie_on(fd);

	cr_expect_eq(renew_before_sending(&pool, call, fd, NULL, 0, false), RENEW_NOT);
	kill_it(fd);
	cr_expect_eq(renew_before_sending(&pool, call, fd, NULL, 0, false), RENEW_AGAIN);
	cr_expect_neq(cookie_on(fd), dead);
	connection_leave(call);
	expect_counted(1, 0, 0);
}

Test(renew, one_that_is_quiet_and_fits_stays)
{
	int fd = reused();
	uint64_t cookie = cookie_on(fd);

	send_text(fd, GET);
	cr_expect_eq(cookie_on(fd), cookie);
	cr_expect_eq(fake.calls[FAKE_OPEN_SOCKET], 0);
	cr_expect_eq(connection_risk(connection_on(fd)), RISK_KEPT);
	receive_answer(fd);
	expect_counted(0, 0, 0);
	expect_settled(fd);
}

/* The program sees what it would see if it had written too early. */
Test(renew, a_non_blocking_socket_is_a_connecting_one_then)
{
	int fd = reused();
	const struct connection *connection = connection_on(fd);
	uint64_t dead = cookie_on(fd), opened = pool.stats.opened;

	make_non_blocking(fd);
	connection_on(fd)->result_pending = true;
	kill_it(fd);
	cr_expect_eq(send_text(fd, GET), -EAGAIN);
	cr_expect_neq(cookie_on(fd), dead);
	cr_expect_eq(fake_socket_on(fd)->info.tcpi_state, FAKE_SYN_SENT);
	cr_expect_eq(fake_socket_on(fd)->status_flags, O_RDWR | O_NONBLOCK);
	cr_expect_eq(fake.calls[FAKE_AWAIT_CONNECTION], 0);
	cr_expect_eq(pool.stats.opened, opened, "it may come to nothing");
	cr_expect_not(connection->result_pending, "it is the kernel that says how it went");
	expect_counted(1, 0, 0);
	expect_settled(fd);
	cr_expect_eq(send_text(fd, GET), -EAGAIN);
	cr_expect_eq(fake.calls[FAKE_OPEN_SOCKET], 1);
	fake_socket_on(fd)->info.tcpi_state = FAKE_ESTABLISHED;
	fake_socket_on(fd)->info.tcpi_bytes_acked = 1;
	cr_expect_gt(send_text(fd, GET), 0);
	cr_expect_eq(pool.stats.opened, opened + 1);
	receive_answer(fd);
	close_socket(fd);
	cr_expect_eq(pool.parked_count, 1);
}

Test(renew, a_call_that_is_not_to_wait_does_not)
{
	int fd = reused();
	struct call call = connection_enter(connection_on(fd));

	kill_it(fd);
	cr_expect_eq(send_in_call(call, fd, GET, sizeof(GET) - 1, true), -EAGAIN);
	connection_leave(call);
	cr_expect_eq(fake_socket_on(fd)->info.tcpi_state, FAKE_SYN_SENT);
	cr_expect_eq(fake_socket_on(fd)->status_flags, O_RDWR, "it is a blocking one all the same");
	cr_expect_eq(fake.calls[FAKE_AWAIT_CONNECTION], 0);
}

Test(renew, reading_first_finds_it_dead_too)
{
	static const int rows[] = {0, -ECONNRESET};

	for (size_t i = 0; i < COUNT(rows); i++) {
		pool_with(settings_default());
		int fd = reused();
		uint64_t dead = cookie_on(fd);
		kill_with(fd, rows[i], -EPIPE);
		cr_expect_eq(receive(fd), -EAGAIN);
		cr_expect_neq(cookie_on(fd), dead);
		expect_counted(1, 0, 0);
		expect_settled(fd);
		finish(fd);
		expect_books_in_order();
	}
}

/* ---- another host ---- */

Test(renew, a_request_for_another_host_gets_a_connection_of_its_own)
{
	static const struct {
		const char *claim, *request;
		bool another;
	} rows[] = {
		{"the same", GET_OF("a"), false},
		{"in capitals", GET_OF("A"), false},
		{"another", GET_OF("b"), true},
		{"a longer one", GET_OF("aa"), true},
		{"with a port", GET_OF("a:80"), true},
		{"none", "GET / HTTP/1.1\r\n\r\n", false},
		{"in the target", "GET http://b/ HTTP/1.1\r\nHost: b\r\n\r\n", false},
		{"of a request that changes things",
			"POST / HTTP/1.1\r\nHost: b\r\nContent-Length: 0\r\n\r\n", true},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		for (size_t piece = 1; piece < 100; piece += 7) {
			pool_with(settings_default());
			int fd = reused();
			uint64_t cookie = cookie_on(fd);
			send_in_pieces(fd, rows[i].request, piece);
			cr_expect_eq(cookie_on(fd) != cookie, rows[i].another, "%s", rows[i].claim);
			cr_expect_eq(pool.stats.slipped_in, rows[i].another, "%s", rows[i].claim);
			expect_sent(fd, rows[i].request, rows[i].claim);
			cr_expect_eq(pool.stats.quarantined, 0, "%s", rows[i].claim);
			receive_answer(fd);
			expect_settled(fd);
			close_socket(fd);
			expect_books_in_order();
		}
	}
}

/* ---- another protocol ---- */

Test(renew, what_is_not_the_same_protocol_gets_a_connection_of_its_own)
{
	static const char *const rows[] = {
		"\x16\x03\x01\x02\x00\x01\x00\x01",
		"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n",
		"*1\r\n$4\r\nPING\r\n",
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		pool_with(settings_default());
		int fd = reused();
		uint64_t cookie = cookie_on(fd);
		cr_expect_gt(try_to_send(fd, rows[i], 8), 0);
		cr_expect_neq(cookie_on(fd), cookie, "%zu", i);
		cr_expect_eq(fake_socket_on(fd)->sent_len, 8);
		cr_expect_eq(pool.stats.quarantined, 0);
		expect_counted(1, 0, 0);
		expect_settled(fd);
		close_socket(fd);
		cr_expect_eq(pool.parked_count, 0, "%zu", i);
		expect_books_in_order();
	}
}

Test(renew, where_a_rule_says_which_the_new_one_has_it_from_the_beginning)
{
	struct settings settings = settings_default();

	settings.point.proto = PROTO_RAW;
	pool_with(settings);
	int fd = reused_after(3000);
	uint64_t cookie = cookie_on(fd);
	send_text(fd, "PING");
	cr_expect_neq(cookie_on(fd), cookie, "it may be one that must not be repeated");
	cr_expect_str_eq(connection_protocol(connection_on(fd)), "raw");
	receive_bytes(fd, "PONG", 4);
	close_socket(fd);
	cr_expect_eq(pool.parked_count, 1);
	fd = connected_to(1);
	send_text(fd, "PING");
	cr_expect_eq(connection_risk(connection_on(fd)), RISK_TAKEN);
	kill_it(fd);
	cr_expect_eq(receive(fd), 0, "and is not");
	expect_counted(1, 0, 1);
}

/* ---- too old ---- */

#define KEEPS(seconds)                                                                             \
	"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nKeep-Alive: timeout=" seconds "\r\n\r\n"

static int reused_of(const char *first_answer, uint32_t dead_after_ms, uint64_t idle_ms)
{
	int fd = connected_to(1);

	send_text(fd, GET);
	receive_bytes(fd, first_answer, strlen(first_answer));
	if (dead_after_ms > 0)
		learning_death(&connection_on(fd)->point->learning, dead_after_ms, fake.now_ms);
	close_socket(fd);
	cr_assert_eq(pool.parked_count, 1);
	fake.now_ms += idle_ms;
	fd = connected_to(1);
	cr_assert_eq(pool.stats.reused, 1);
	return fd;
}

Test(renew, a_request_that_must_not_be_repeated_has_a_connection_of_half_the_age_at_most)
{
	static const struct {
		const char *claim, *first_answer;
		uint32_t dead_after_ms;
		uint64_t idle_ms; /* that is good, and a millisecond more is not */
	} rows[] = {
		{"nothing is known", ANSWER, 0, 2000},
		{"4 s were announced", KEEPS("5"), 0, 2000},
		{"30 s were announced", KEEPS("31"), 0, 15000},
		{"1 s was announced", KEEPS("2"), 0, 500},
		{"8 s were learned", ANSWER, 10000, 4000},
		{"less was learned than announced", KEEPS("31"), 10000, 4000},
		{"less was announced than learned", KEEPS("5"), 10000, 2000},
		{"very little was learned", ANSWER, 10, 4},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		for (unsigned more = 0; more <= 1; more++) {
			pool_with(settings_default());
			int fd = reused_of(rows[i].first_answer, rows[i].dead_after_ms,
				rows[i].idle_ms + more);
			uint64_t cookie = cookie_on(fd);
			cr_expect_gt(send_text(fd, POST), 0, "%s", rows[i].claim);
			cr_expect_eq(
				cookie_on(fd) != cookie, more, "%s, and %u", rows[i].claim, more);
			expect_sent(fd, POST, rows[i].claim);
			expect_counted(more, 0, 0);
			cr_expect_eq(pool.stats.quarantined, 0, "%s", rows[i].claim);
			expect_books_in_order();
		}
	}
}

Test(renew, which_requests_may_be_repeated)
{
	static const struct {
		const char *method;
		bool repeatable;
	} rows[] = {
		{"GET", true},
		{"HEAD", true},
		{"OPTIONS", true},
		{"TRACE", true},
		{"POST", false},
		{"PUT", false},
		{"PATCH", false},
		{"DELETE", false},
		{"PROPFIND", false},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		char request[100];
		snprintf(request, sizeof(request), "%s / HTTP/1.1\r\nHost: a\r\n\r\n",
			rows[i].method);
		pool_with(settings_default());
		int fd = reused_after(60000);
		uint64_t cookie = cookie_on(fd);
		cr_expect_gt(send_text(fd, request), 0);
		cr_expect_eq(cookie_on(fd) == cookie, rows[i].repeatable, "%s", rows[i].method);

		pool_with(settings_default());
		fd = reused();
		cookie = cookie_on(fd);
		cr_expect_gt(send_text(fd, request), 0);
		cr_expect_eq(connection_risk(connection_on(fd)),
			rows[i].repeatable ? RISK_KEPT : RISK_TAKEN, "%s", rows[i].method);
		kill_it(fd);
		cr_expect_eq(receive(fd), rows[i].repeatable ? -EAGAIN : 0, "%s", rows[i].method);
		cr_expect_eq(cookie_on(fd) != cookie, rows[i].repeatable, "%s", rows[i].method);
		expect_counted(0, rows[i].repeatable, !rows[i].repeatable);
	}
}

Test(renew, the_time_between_connecting_and_sending_counts)
{
	int fd = reused_after(1000);
	uint64_t cookie = cookie_on(fd);

	fake.now_ms += 1001;
	cr_expect_gt(send_text(fd, POST), 0);
	cr_expect_neq(cookie_on(fd), cookie);
	expect_counted(1, 0, 0);
}

Test(renew, what_died_in_the_programs_hands_was_as_old_as_it_was_then)
{
	int fd = reused_after(1000);

	fake.now_ms += 9000;
	kill_it(fd);
	cr_expect_gt(send_text(fd, GET), 0);
	cr_expect_eq(learning_keeps_ms(&connection_on(fd)->point->learning, fake.now_ms), 8000);
}

/* ---- where no new one is to be had ---- */

Test(renew, what_a_new_connection_would_have_got_is_passed_on)
{
	/* EINPROGRESS: a blocking one's SO_SNDTIMEO was over. */
	static const int errors[] = {-ECONNREFUSED, -ETIMEDOUT, -EHOSTUNREACH, -ENETUNREACH,
		-EADDRNOTAVAIL, -EINTR, -EINPROGRESS};

	for (size_t i = 0; i < COUNT(errors); i++) {
		pool_with(settings_default());
		int fd = reused();
		uint64_t cookie = cookie_on(fd);
		kill_it(fd);
		fake.error[FAKE_CONNECT] = errors[i];
		cr_expect_eq(send_text(fd, GET), errors[i]);
		cr_expect_eq(receive(fd), errors[i]);
		cr_expect_eq(cookie_on(fd), cookie);
		expect_counted(0, 0, 0);
		fake.error[FAKE_CONNECT] = 0;
		cr_expect_eq(send_text(fd, GET), (long)sizeof(GET) - 1, "it may try again");
		expect_sent(fd, GET, "again");
		expect_settled(fd);
		expect_books_in_order();
	}
}

Test(renew, an_address_that_is_not_there_any_more_is_an_error)
{
	int fd = open_socket();
	bind_socket(fd, 5);
	connect_socket(fd, endpoint_number(1));
	finish(fd);
	fd = open_socket();
	bind_socket(fd, 5);
	cr_assert_neq(connect_socket(fd, endpoint_number(1)), TAKEN_NONE);
	kill_it(fd);
	fake.error[FAKE_BIND] = -EADDRNOTAVAIL;
	cr_expect_eq(send_text(fd, GET), -EADDRNOTAVAIL);
	cr_expect_eq(fake.calls[FAKE_CONNECT], 0);
	expect_counted(0, 0, 0);
}

Test(renew, another_host_is_never_asked_for_on_the_old_one)
{
	int fd = reused();

	fake.error[FAKE_CONNECT] = -ECONNREFUSED;
	cr_expect_eq(send_text(fd, GET_OF("b")), -ECONNREFUSED);
	expect_sent(fd, "", "nothing");
	expect_counted(0, 0, 0);
}

/* There is no other to be had, and this one may be good all the same. */
Test(renew, what_does_not_fit_goes_on_where_no_socket_can_be_made)
{
	static const int errors[] = {-EMFILE, -ENFILE, -ENOBUFS, -ENOMEM, -EACCES, -EPERM};
	static const char *const requests[] = {POST, GET_OF("b")};

	for (size_t i = 0; i < COUNT(errors) * COUNT(requests); i++) {
		const char *request = requests[i / COUNT(errors)];
		pool_with(settings_default());
		int fd = reused_after(60000);
		fake.error[FAKE_OPEN_SOCKET] = errors[i % COUNT(errors)];
		cr_expect_gt(send_text(fd, request), 0);
		expect_sent(fd, request, "on the old one");
		cr_expect_not(fake_socket_on(fd)->shut_down);
		expect_counted(0, 0, 0);
		receive_answer(fd);
		expect_settled(fd);
	}
}

static int contested;

static void expect_that_it_has_ended(void)
{
	cr_expect(fake_socket_on(contested)->shut_down);
}

Test(renew, what_does_not_fit_ends_before_there_is_a_new_one)
{
	static const int errors[] = {0, -ECONNREFUSED, -ETIMEDOUT, -ENOBUFS, -EPERM};
	static const char *const requests[] = {POST, GET_OF("b"), "PING\r\n"};

	for (size_t i = 0; i < COUNT(errors) * COUNT(requests); i++) {
		const char *request = requests[i / COUNT(errors)];
		int error = errors[i % COUNT(errors)];
		pool_with(settings_default());
		int fd = contested = reused_after(60000);
		fake.before[FAKE_CONNECT] = expect_that_it_has_ended;
		fake.error[FAKE_CONNECT] = error;
		cr_expect_eq(send_text(fd, request), error ? error : (long)strlen(request));
		cr_expect_eq(fake.calls[FAKE_CONNECT], 1);
		cr_expect_eq(fake.calls[FAKE_SHUT_DOWN], 1);
		expect_counted(!error, 0, 0);
		expect_sent(fd, error ? "" : request, "request");
	}
}

Test(renew, what_is_dead_need_not_be_ended)
{
	int fd = reused();

	kill_it(fd);
	send_text(fd, GET);
	cr_expect_eq(fake.calls[FAKE_SHUT_DOWN], 0);
	receive_answer(fd);
	forget_what_was_learned(fd);
	close_socket(fd);
	fd = connected_to(1);
	send_text(fd, GET);
	kill_it(fd);
	receive(fd);
	cr_expect_eq(fake.calls[FAKE_SHUT_DOWN], 0);
	expect_counted(1, 1, 0);
}

Test(renew, without_a_socket_to_be_had_the_kernel_speaks)
{
	static const int errors[] = {-EMFILE, -ENFILE, -ENOBUFS, -ENOMEM, -EACCES, -EPERM};
	static const enum fake_call calls[] = {FAKE_OPEN_SOCKET, FAKE_CONNECT};

	for (size_t i = 0; i < COUNT(errors) * COUNT(calls); i++) {
		pool_with(settings_default());
		int fd = reused();
		kill_it(fd);
		fake.error[calls[i % COUNT(calls)]] = errors[i / COUNT(calls)];
		cr_expect_eq(send_text(fd, GET), -EPIPE);
		expect_counted(0, 0, 1);
		expect_settled(fd);
		cr_expect_eq(receive(fd), 0);
		expect_counted(0, 0, 1);

		pool_with(settings_default());
		fd = reused();
		send_text(fd, GET);
		kill_it(fd);
		fake.error[calls[i % COUNT(calls)]] = errors[i / COUNT(calls)];
		cr_expect_eq(receive(fd), 0);
		expect_counted(0, 0, 1);
		expect_settled(fd);
	}
}

/* ---- sent once more ---- */

Test(renew, what_was_sent_is_sent_once_more_as_it_was)
{
	static const char *const requests[] = {
		GET,
		"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
		"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc",
		"GET / HTTP/1.1\r\nHo",
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Len",
		"POS",
	};
	static const int ends[] = {0, -ECONNRESET};

	for (size_t i = 0; i < COUNT(requests) * COUNT(ends); i++) {
		const char *request = requests[i / COUNT(ends)];
		for (size_t piece = 1; piece < 100; piece += 9) {
			pool_with(settings_default());
			int fd = reused();
			uint64_t dead = cookie_on(fd);
			send_in_pieces(fd, request, piece);
			expect_sent(fd, request, "first");
			kill_with(fd, ends[i % COUNT(ends)], -EPIPE);
			cr_expect_eq(receive(fd), -EAGAIN, "%s", request);
			cr_expect_neq(cookie_on(fd), dead, "%s", request);
			expect_sent(fd, request, "again");
			expect_counted(0, 1, 0);
			cr_expect_eq(pool.stats.quarantined, 1);
			expect_settled(fd);
			close_socket(fd);
			expect_books_in_order();
		}
	}
}

Test(renew, several_requests_are_sent_once_more_in_their_order)
{
	static const char first[] = GET_OF("a"), rest[] = "HEAD /2 HTTP/1.1\r\n\r\n" GET;
	int fd = reused();

	send_text(fd, first);
	send_text(fd, rest);
	kill_it(fd);
	cr_expect_eq(receive(fd), -EAGAIN);
	expect_sent(fd, GET_OF("a") "HEAD /2 HTTP/1.1\r\n\r\n" GET, "again");
	expect_counted(0, 1, 0);
}

Test(renew, the_answer_is_that_to_the_second_time)
{
	int fd = reused();

	send_text(fd, GET);
	kill_it(fd);
	cr_assert_eq(receive(fd), -EAGAIN);
	receive_answer(fd);
	close_socket(fd);
	cr_expect_eq(pool.parked_count, 1);
	cr_expect_eq(refused(REFUSED_LEDGER), 0);
}

Test(renew, what_fails_while_it_is_still_sent_goes_on_behind_what_was_sent)
{
	static const int errors[] = {-EPIPE, -ECONNRESET};

	for (size_t i = 0; i < COUNT(errors); i++) {
		pool_with(settings_default());
		int fd = reused();
		send_text(fd, "GET / HTTP/1.1\r\n");
		kill_with(fd, 0, errors[i]);
		cr_expect_gt(send_text(fd, "Host: a\r\n\r\n"), 0);
		expect_sent(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "both");
		expect_counted(0, 1, 0);
		receive_answer(fd);
		expect_settled(fd);
	}
}

Test(renew, once_and_never_twice)
{
	int fd = reused();

	send_text(fd, GET);
	kill_it(fd);
	cr_assert_eq(receive(fd), -EAGAIN);
	kill_it(fd);
	cr_expect_eq(receive(fd), 0);
	cr_expect_eq(send_text(fd, GET), -EPIPE);
	cr_expect_eq(fake.calls[FAKE_OPEN_SOCKET], 1);
	expect_counted(0, 1, 0);
}

static char *request_of(size_t len)
{
	static const char before[] = "GET / HTTP/1.1\r\nHost: a\r\nA: ", after[] = "\r\n\r\n";
	static char request[70000];

	memset(request, 'a', len);
	memcpy(request, before, sizeof(before) - 1);
	memcpy(request + len - (sizeof(after) - 1), after, sizeof(after));
	return request;
}

Test(renew, sixty_four_kilobytes_can_be_sent_again_and_not_more)
{
	static const size_t pieces[] = {1000, 4096, 70000};

	for (size_t i = 0; i < COUNT(pieces); i++) {
		for (size_t len = 65536; len <= 65537; len++) {
			pool_with(settings_default());
			const char *request = request_of(len);
			int fd = reused();
			send_in_pieces(fd, request, pieces[i]);
			expect_sent(fd, request, "first");
			kill_it(fd);
			cr_expect_eq(receive(fd), len > 65536 ? 0 : -EAGAIN);
			expect_counted(0, len <= 65536, len > 65536);
			if (len <= 65536)
				expect_sent(fd, request, "again");
			expect_settled(fd);
		}
	}
}

Test(renew, a_new_connection_that_takes_little_at_a_time_gets_all_of_it)
{
	const char *request = request_of(60000);
	int fd = reused();

	send_text(fd, request);
	kill_it(fd);
	fake.send_most = 999;
	cr_expect_eq(receive(fd), -EAGAIN);
	cr_expect_eq(fake.calls[FAKE_SEND], 61);
	expect_sent(fd, request, "again");
	expect_counted(0, 1, 0);
}

Test(renew, what_the_new_connection_does_not_take_is_not_tried_again)
{
	static const struct {
		int error;
		unsigned skip;
	} rows[] = {{-EPIPE, 0}, {-ETIMEDOUT, 3}, {-ECONNRESET, 1}};

	for (size_t i = 0; i < COUNT(rows); i++) {
		pool_with(settings_default());
		int fd = reused();
		uint64_t cookie = cookie_on(fd);
		send_text(fd, request_of(60000));
		kill_it(fd);
		fake.send_most = 10000;
		fake.error[FAKE_SEND] = rows[i].error;
		fake.skip[FAKE_SEND] = rows[i].skip;
		cr_expect_eq(receive(fd), 0);
		cr_expect_eq(cookie_on(fd), cookie);
		cr_expect_eq(receive(fd), 0);
		cr_expect_eq(fake.calls[FAKE_OPEN_SOCKET], 1);
		expect_counted(0, 0, 1);
		expect_settled(fd);
	}
}

Test(renew, what_must_not_be_repeated_never_is)
{
	static const char *const requests[] = {
		POST,
		"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
		"DELETE / HTTP/1.1\r\nHost: a\r\n\r\n",
		GET POST,
		POST GET,
		GET "POST / HTTP/1.1\r\nHos",
	};
	static const struct {
		int receiving, sending;
	} ends[] = {{0, -EPIPE}, {-ECONNRESET, -ECONNRESET}};

	for (size_t i = 0; i < COUNT(requests) * COUNT(ends); i++) {
		const char *request = requests[i / COUNT(ends)];
		int receiving = ends[i % COUNT(ends)].receiving,
		    sending = ends[i % COUNT(ends)].sending;
		for (size_t piece = 1; piece < 100; piece += 9) {
			pool_with(settings_default());
			int fd = reused();
			uint64_t cookie = cookie_on(fd);
			send_in_pieces(fd, request, piece);
			cr_expect_eq(connection_risk(connection_on(fd)), RISK_TAKEN, "%s", request);
			cr_expect_null(connection_on(fd)->kept, "%s", request);
			kill_with(fd, receiving, sending);
			cr_expect_eq(receive(fd), receiving, "the kernel's own error");
			cr_expect_eq(send_text(fd, "x"), sending);
			cr_expect_eq(cookie_on(fd), cookie);
			cr_expect_eq(fake.calls[FAKE_OPEN_SOCKET], 0, "%s", request);
			expect_counted(0, 0, 1);
			cr_expect_eq(pool.stats.quarantined, 1);
			expect_settled(fd);
		}
	}
}

Test(renew, what_nobody_saw_is_never_repeated)
{
	int fd = reused();
	struct call call = connection_enter(connection_on(fd));

	cr_assert_not(renew_sent(&pool, call, NULL, 100));
	connection_leave(call);
	fake_socket_on(fd)->info.tcpi_bytes_sent += 100;
	fake_socket_on(fd)->info.tcpi_bytes_acked += 100;
	kill_it(fd);
	cr_expect_eq(receive(fd), 0);
	cr_expect_eq(fake.calls[FAKE_OPEN_SOCKET], 0);
	expect_counted(0, 0, 1);
}

Test(renew, a_non_blocking_socket_waits_for_a_second_at_most)
{
	int fd = reused();

	make_non_blocking(fd);
	send_text(fd, GET);
	kill_it(fd);
	cr_expect_eq(receive(fd), -EAGAIN);
	cr_expect_eq(fake.calls[FAKE_AWAIT_CONNECTION], 1);
	cr_expect_eq(fake.awaited_ms, RENEW_WAIT_MS);
	cr_expect_eq(fake_socket_on(fd)->status_flags, O_RDWR | O_NONBLOCK);
	cr_expect_eq(fake_socket_on(fd)->info.tcpi_state, FAKE_ESTABLISHED);
	expect_sent(fd, GET, "again");
	expect_counted(0, 1, 0);

	pool_with(settings_default());
	fd = reused();
	make_non_blocking(fd);
	send_text(fd, GET);
	kill_it(fd);
	fake.error[FAKE_AWAIT_CONNECTION] = -ETIMEDOUT;
	cr_expect_eq(receive(fd), -ETIMEDOUT);
	expect_counted(0, 0, 0);
}

Test(renew, a_blocking_socket_waits_as_its_own_connect_would)
{
	int fd = reused();

	send_text(fd, GET);
	kill_it(fd);
	cr_expect_eq(receive(fd), -EAGAIN);
	cr_expect_eq(fake.calls[FAKE_AWAIT_CONNECTION], 0);
	cr_expect_eq(fake_socket_on(fd)->status_flags, O_RDWR);
}

Test(renew, a_call_that_is_not_to_wait_does_for_a_second_to_send_again)
{
	int fd = reused();
	char room[10];

	send_text(fd, GET);
	kill_it(fd);
	struct call call = connection_enter(connection_on(fd));
	cr_expect_eq(receive_in_call(call, fd, room, sizeof(room), true), -EAGAIN);
	connection_leave(call);
	cr_expect_eq(fake.awaited_ms, RENEW_WAIT_MS);
	cr_expect_eq(fake_socket_on(fd)->status_flags, O_RDWR);
	expect_counted(0, 1, 0);
}

/* shutdown(SHUT_WR), as in the shim. */
static void half_close(int fd)
{
	connection_refuse(connection_on(fd), REFUSED_SHUTDOWN);
	connection_on(fd)->half_closed = true;
}

Test(renew, a_half_closed_connection_is_half_closed_again)
{
	int fd = reused();

	send_text(fd, GET);
	half_close(fd);
	kill_it(fd);
	cr_expect_eq(receive(fd), -EAGAIN);
	cr_expect(fake_socket_on(fd)->half_closed);
	expect_sent(fd, GET, "again");
	expect_counted(0, 1, 0);
}

Test(renew, one_that_cannot_be_half_closed_again_is_not_used)
{
	int fd = reused();

	send_text(fd, GET);
	half_close(fd);
	kill_it(fd);
	fake.error[FAKE_HALF_CLOSE] = -ENOTCONN;
	cr_expect_eq(receive(fd), 0);
	expect_counted(0, 0, 1);
	expect_settled(fd);
}

Test(renew, one_that_was_shut_down_in_any_other_way_stays_so)
{
	int fd = reused();

	send_text(fd, GET);
	connection_refuse(connection_on(fd), REFUSED_SHUTDOWN);
	kill_it(fd);
	cr_expect_eq(receive(fd), 0);
	cr_expect_eq(fake.calls[FAKE_OPEN_SOCKET], 0);
}

/* ---- the answer ---- */

Test(renew, with_the_first_byte_of_the_answer_the_risk_is_over)
{
	int fd = reused();

	send_text(fd, GET);
	const void *kept = connection_on(fd)->kept;
	cr_assert_not_null(kept);
	connection_on(fd)->point->learning.quarantine_ms = 4000;
	receive_bytes(fd, ANSWER, 1);
	expect_settled(fd);
	cr_expect_eq(pool.kept.pieces[0], kept, "the memory is there for others");
	cr_expect_eq(connection_on(fd)->point->learning.quarantine_ms, 2000);
	kill_it(fd);
	cr_expect_eq(receive(fd), 0);
	cr_expect_eq(fake.calls[FAKE_OPEN_SOCKET], 0);
	expect_counted(0, 0, 0);
}

Test(renew, the_answer_may_be_looked_at_first)
{
	int fd = reused();

	send_text(fd, GET);
	fake_say(fd, ANSWER, sizeof(ANSWER) - 1);
	struct call call = connection_enter(connection_on(fd));
	cr_expect_eq(renew_after_answer(&pool, call, fd, NULL, 0, false), RENEW_NOT);
	connection_leave(call);
	expect_settled(fd);
	char room[sizeof(ANSWER) - 1];
	cr_expect_eq(try_to_receive(fd, room, sizeof(room)), (long)sizeof(room));
	close_socket(fd);
	cr_expect_eq(pool.parked_count, 1);
}

Test(renew, an_answer_that_comes_before_the_end_is_the_programs)
{
	static const char answer[] = "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n";
	static const char *const requests[] = {GET, POST, "POST / HTTP/1.1\r\nA: a"};

	for (size_t i = 0; i < COUNT(requests); i++) {
		pool_with(settings_default());
		int fd = reused();
		send_text(fd, requests[i]);
		kill_it(fd);
		fake_say(fd, answer, sizeof(answer) - 1);
		cr_expect_eq(send_text(fd, "x"), -EPIPE);
		cr_expect_eq(receive(fd), (long)sizeof(answer) - 1);
		cr_expect_eq(fake.calls[FAKE_OPEN_SOCKET], 0);
		expect_counted(0, 0, 0);
		expect_settled(fd);
	}
}

Test(renew, a_408_that_crossed_the_request_is_not_its_answer)
{
	static const struct {
		const char *claim, *request, *answer;
		bool replayed;
	} rows[] = {
		{"to a GET", GET, TIMEOUT, true},
		{"of HTTP/1.0", GET, "HTTP/1.0 408 Request Time-out\r\n\r\n", true},
		{"to half a POST", "POST / HTTP/1.1\r\nHost: a\r\n", TIMEOUT, true},
		{"to a whole POST", POST, TIMEOUT, false},
		{"another status", GET, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
			false},
		{"another protocol's", GET, "ICAP/1.0 408 Request Timeout\r\n\r\n", false},
		{"a 408 elsewhere", GET,
			"HTTP/1.1 200 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", false},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		for (int while_sending = 0; while_sending <= 1; while_sending++) {
			pool_with(settings_default());
			int fd = reused();
			send_text(fd, rows[i].request);
			fake_say(fd, rows[i].answer, strlen(rows[i].answer));
			kill_it(fd);
			if (while_sending)
				cr_expect_eq(send_text(fd, "x"), rows[i].replayed ? 1 : -EPIPE,
					"%s", rows[i].claim);
			cr_expect_eq(receive(fd),
				rows[i].replayed ? -EAGAIN : (long)strlen(rows[i].answer), "%s",
				rows[i].claim);
			cr_expect_eq(pool.stats.replayed, rows[i].replayed, "%s", rows[i].claim);
			cr_expect(while_sending || pool.stats.failed == 0, "%s", rows[i].claim);
			cr_expect(!rows[i].replayed || pool.stats.quarantined == 1, "%s",
				rows[i].claim);
			expect_settled(fd);
		}
	}
}

/* The peer has acknowledged nothing of this use. */
static void send_unheard(int fd, const char *text)
{
	send_text(fd, text);
	fake_socket_on(fd)->info.tcpi_bytes_acked -= strlen(text);
}

Test(renew, what_comes_before_anything_was_heard_is_no_answer)
{
	static const struct {
		const char *request;
		long result;
	} rows[] = {
		{GET, -EAGAIN},
		{"POST / HTTP/1.1\r\nHost: a", -EAGAIN},
		{POST, -ECONNRESET},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		pool_with(settings_default());
		int fd = reused();
		uint64_t cookie = cookie_on(fd);
		send_unheard(fd, rows[i].request);
		fake_say(fd, ANSWER, sizeof(ANSWER) - 1);
		cr_expect_eq(receive(fd), rows[i].result);
		cr_expect_eq(cookie_on(fd) != cookie, rows[i].result == -EAGAIN);
		expect_counted(0, rows[i].result == -EAGAIN, rows[i].result != -EAGAIN);
		cr_expect_eq(pool.stats.quarantined, 1);
		expect_settled(fd);
	}
}

Test(renew, nor_is_it_one_where_it_is_found_while_more_is_sent)
{
	int fd = reused();

	send_unheard(fd, GET);
	fake_say(fd, ANSWER, sizeof(ANSWER) - 1);
	kill_it(fd);
	cr_expect_eq(send_text(fd, GET), (long)sizeof(GET) - 1);
	expect_sent(fd, GET GET, "both");
	expect_counted(0, 1, 0);
	receive_answer(fd);
	expect_settled(fd);
}

/* Another call has ended the risk just before this one says what it has sent. */
Test(renew, what_is_sent_when_the_risk_is_over_is_not_kept)
{
	int fd = connected_to(1);
	struct call call = connection_enter(connection_on(fd));
	const struct iovec vector = {
		.iov_base = (void *)(uintptr_t)GET, .iov_len = sizeof(GET) - 1};

	cr_expect_not(renew_sent(&pool, call, &vector, sizeof(GET) - 1));
	connection_leave(call);
	cr_expect_eq(connection_on(fd)->sent, sizeof(GET) - 1);
	expect_settled(fd);
}

Test(renew, what_comes_before_anything_was_sent_is_no_answer_either)
{
	int fd = reused();
	uint64_t cookie = cookie_on(fd);

	fake_say(fd, ANSWER, sizeof(ANSWER) - 1);
	cr_expect_eq(receive(fd), -EAGAIN);
	cr_expect_neq(cookie_on(fd), cookie);
	expect_counted(1, 0, 0);
	finish(fd);
	cr_expect_eq(pool.parked_count, 1);
}

Test(renew, a_call_for_no_bytes_finds_nothing)
{
	int fd = reused();
	struct call call = connection_enter(connection_on(fd));

	cr_expect_eq(renew_after_failure(&pool, call, fd, false), RENEW_NOT);
	connection_leave(call);
	cr_expect_eq(connection_risk(connection_on(fd)), RISK_UNUSED);
	cr_expect_eq(pool.stats.quarantined, 0);
	expect_counted(0, 0, 0);
}

/* ---- what is learned ---- */

Test(renew, a_failure_is_learned_from)
{
	static const char *const requests[] = {"", GET, POST};

	for (size_t i = 0; i < COUNT(requests); i++) {
		pool_with(settings_default());
		int fd = reused_after(1500);
		if (*requests[i])
			send_text(fd, requests[i]);
		kill_it(fd);
		receive(fd);
		const struct learning *learning = &connection_on(fd)->point->learning;
		cr_expect_eq(learning_keeps_ms(learning, fake.now_ms), 1200, "%zu", i);
		cr_expect(learning_is_quarantined(learning, fake.now_ms), "%zu", i);
		cr_expect_eq(pool.stats.quarantined, 1, "%zu", i);
	}
}

/* ---- where nothing is done ---- */

static void share_it(int fd)
{
	(void)fd;
	pool_shared_descriptors(&pool);
}

static void begin_copy(int fd)
{
	(void)fd;
	pool_begin_copy(&pool);
}

static void duplicate_it(int fd)
{
	connection_refuse(connection_on(fd), REFUSED_DUPLICATED);
}

static void change_user(int fd)
{
	(void)fd;
	atomic_fetch_add(&pool.credentials, 1);
}

static void turn_off(int fd)
{
	(void)fd;
	pool_turn_off(&pool);
}

static void ask_for_signals(int fd)
{
	fake_socket_on(fd)->status_flags |= O_ASYNC;
}

static void move_it(int fd)
{
	atomic_store(&connection_on(fd)->fd, fd + 1);
}

static const struct {
	const char *claim;
	void (*make)(int fd);
} obstacles[] = {
	{"a fork has a copy", share_it},
	{"somebody may be making a copy", begin_copy},
	{"it has another number", duplicate_it},
	{"the process is another user", change_user},
	{"the pool is off", turn_off},
	{"it sends signals", ask_for_signals},
};

Test(renew, what_others_have_or_know_is_not_replaced)
{
	for (size_t i = 0; i < COUNT(obstacles); i++) {
		for (int sent = 0; sent <= 1; sent++) {
			pool_with(settings_default());
			int fd = reused();
			uint64_t cookie = cookie_on(fd);
			if (sent)
				send_text(fd, GET);
			kill_it(fd);
			obstacles[i].make(fd);
			cr_expect_eq(sent ? receive(fd) : send_text(fd, GET), sent ? 0 : -EPIPE,
				"%s", obstacles[i].claim);
			cr_expect_eq(cookie_on(fd), cookie, "%s", obstacles[i].claim);
			cr_expect_eq(fake.calls[FAKE_OPEN_SOCKET], 0, "%s", obstacles[i].claim);
			expect_counted(0, 0, 1);
			expect_settled(fd);
		}
	}
}

static void (*obstacle)(int fd);

static void meet_obstacle(void)
{
	obstacle(contested);
}

Test(renew, nor_is_what_becomes_so_while_the_new_one_connects)
{
	for (size_t i = 0; i < COUNT(obstacles); i++) {
		if (obstacles[i].make == ask_for_signals)
			continue;
		for (int sent = 0; sent <= 1; sent++) {
			pool_with(settings_default());
			int fd = contested = reused();
			uint64_t cookie = cookie_on(fd);
			if (sent)
				send_text(fd, GET);
			kill_it(fd);
			obstacle = obstacles[i].make;
			fake.after[FAKE_CONNECT] = meet_obstacle;
			cr_expect_eq(sent ? receive(fd) : send_text(fd, GET), sent ? 0 : -EPIPE,
				"%s", obstacles[i].claim);
			cr_expect_eq(cookie_on(fd), cookie, "%s", obstacles[i].claim);
			cr_expect_eq(fake.calls[FAKE_OPEN_SOCKET], 1, "%s", obstacles[i].claim);
			expect_settled(fd);
			cr_expect_eq(pool.stats.slipped_in + pool.stats.replayed, 0, "%s",
				obstacles[i].claim);
		}
	}
}

/* What was opened in the midst of it has the epoch of now. */
Test(renew, nor_is_what_is_made_while_somebody_makes_copies)
{
	use_and_close(1);
	pool_begin_copy(&pool);
	int fd = connected_to(1);
	cr_assert_eq(pool.stats.reused, 1);
	kill_it(fd);
	cr_expect_eq(send_text(fd, GET), -EPIPE);
	cr_expect_eq(fake.calls[FAKE_OPEN_SOCKET], 0);
	pool_end_copy(&pool);
}

Test(renew, one_that_is_on_another_number_is_not_replaced)
{
	int fd = reused();

	kill_it(fd);
	move_it(fd);
	cr_expect_eq(send_text(fd, GET), -EPIPE);
	cr_expect_eq(fake.calls[FAKE_OPEN_SOCKET], 0);
}

/* ---- the number is another's ---- */

static void replace_contested(void)
{
	fake_replace(contested);
}

static void close_contested_number(void)
{
	fake_close(contested);
}

Test(renew, a_number_that_is_another_socket_meanwhile_is_not_touched)
{
	for (int sent = 0; sent <= 1; sent++) {
		pool_with(settings_default());
		int fd = contested = reused();
		if (sent)
			send_text(fd, GET);
		kill_it(fd);
		fake.after[FAKE_CONNECT] = replace_contested;
		cr_expect_eq(sent ? receive(fd) : send_text(fd, "x"), sent ? 0 : 1);
		cr_expect_eq(fake.calls[FAKE_REPLACE], 0);
		cr_expect_eq(fake_socket_on(fd)->sent_len, !sent);
		cr_expect_eq(pool.stats.slipped_in + pool.stats.replayed, 0);
		expect_settled(fd);
	}
}

Test(renew, a_number_that_was_closed_meanwhile_is_not_opened_again)
{
	int fd = contested = reused();

	kill_it(fd);
	fake.after[FAKE_CONNECT] = close_contested_number;
	cr_expect_eq(send_text(fd, GET), -EBADF);
	cr_expect_not(fake_is_open(fd));
	cr_expect_eq(fake.calls[FAKE_REPLACE], 0);
	expect_settled(fd);
}

static void replace_hidden(void)
{
	cr_assert(fake_is_open(FAKE_HIDDEN_FIRST));
	fake_replace(FAKE_HIDDEN_FIRST);
}

Test(renew, a_hidden_number_that_is_anothers_meanwhile_is_neither_used_nor_closed)
{
	static const enum fake_call moments[] = {FAKE_CONNECT, FAKE_SEND};

	for (size_t i = 0; i < COUNT(moments); i++) {
		pool_with(settings_default());
		int fd = reused();
		uint64_t cookie = cookie_on(fd);
		send_text(fd, GET);
		kill_it(fd);
		fake.after[moments[i]] = replace_hidden;
		cr_expect_eq(receive(fd), 0);
		cr_expect_eq(cookie_on(fd), cookie);
		cr_expect_eq(fake.calls[FAKE_CLOSE_HIDDEN], 0);
		cr_assert(fake_is_open(FAKE_HIDDEN_FIRST));
		fake_close(FAKE_HIDDEN_FIRST);
		expect_settled(fd);
	}
}

/* ---- what was done unseen ---- */

static void send_unseen(int fd)
{
	fake_socket_on(fd)->info.tcpi_bytes_sent += 5;
}

static void leave_unsent_unseen(int fd)
{
	fake_socket_on(fd)->info.tcpi_notsent_bytes += 5;
}

static void receive_unseen(int fd)
{
	fake_socket_on(fd)->info.tcpi_bytes_received += 5;
}

static void know_no_numbers(int fd)
{
	fake_socket_on(fd)->info_size = offsetof(struct tcp_info, tcpi_bytes_retrans);
}

Test(renew, what_was_done_unseen_is_none_of_its_business)
{
	static void (*const deeds[])(int fd) = {
		send_unseen, leave_unsent_unseen, receive_unseen, know_no_numbers};

	for (size_t i = 0; i < COUNT(deeds) * 2; i++) {
		void (*deed)(int fd) = deeds[i / 2];
		bool sent = i % 2;
		pool_with(settings_default());
		int fd = reused();
		uint64_t cookie = cookie_on(fd);
		if (sent)
			send_text(fd, GET);
		if (sent || deed != receive_unseen)
			kill_it(fd);
		deed(fd);
		cr_expect_eq(sent ? receive(fd) : send_text(fd, GET),
			sent                     ? 0
			: deed == receive_unseen ? (long)sizeof(GET) - 1
						 : -EPIPE);
		cr_expect_eq(cookie_on(fd), cookie, "%zu", i);
		cr_expect_eq(fake.calls[FAKE_OPEN_SOCKET], 0, "%zu", i);
		cr_expect_eq(pool.stats.quarantined, 0, "%zu", i);
		expect_counted(0, 0, 0);
		expect_settled(fd);
	}
}

Test(renew, what_was_sent_twice_by_the_kernel_was_sent_once)
{
	int fd = reused();
	uint64_t cookie = cookie_on(fd);

	send_text(fd, GET);
	fake_socket_on(fd)->info.tcpi_bytes_sent += 100;
	fake_socket_on(fd)->info.tcpi_bytes_retrans += 100;
	kill_it(fd);
	cr_expect_eq(receive(fd), -EAGAIN);
	cr_expect_neq(cookie_on(fd), cookie);
	expect_counted(0, 1, 0);
}

static void end_contested(void)
{
	struct connection *connection = connection_on(contested);

	fake.descriptors[contested].connection = NULL;
	cr_assert(connection_displaced(connection, contested));
	pool_release(&pool, connection);
	fake_replace(contested);
	/* Its memory is another socket's. */
	cr_assert_eq(pool_adopt(&pool, AF_INET, pool_fork_epoch(&pool)), connection);
}

Test(renew, a_connection_that_ended_meanwhile_is_left_alone)
{
	static const enum fake_call moments[] = {FAKE_OPEN_SOCKET, FAKE_CONNECT, FAKE_SEND};

	for (size_t i = 0; i < COUNT(moments); i++) {
		pool_with(settings_default());
		int fd = contested = reused();
		struct connection *connection = connection_on(fd);
		send_text(fd, GET);
		kill_it(fd);
		struct call call = connection_enter(connection);
		char room[10];
		fake.after[moments[i]] = end_contested;
		receive_in_call(call, fd, room, sizeof(room), false);
		connection_leave(call);
		cr_expect_eq(connection_risk(connection), RISK_NONE);
		cr_expect_eq(fake.calls[FAKE_REPLACE], 0);
		cr_expect_eq(fake_hidden_count(), 0);
		cr_expect_eq(connection_state(connection), CONNECTION_FRESH);
		cr_expect_eq(connection->renewing, 0);
		cr_expect_eq(pool.points.used->in_use, 0);
		cr_expect_eq(pool.stats.replayed, 0);
		expect_books_in_order();
	}
}

/* ---- several calls ---- */

static struct call other_call;
static long other_result;

static void leave_other_call(void)
{
	connection_leave(other_call);
}

Test(renew, while_another_call_goes_on_using_it_nothing_is_done)
{
	for (int sent = 0; sent <= 1; sent++) {
		pool_with(settings_default());
		int fd = reused();
		uint64_t cookie = cookie_on(fd);
		if (sent)
			send_text(fd, GET);
		kill_it(fd);
		other_call = connection_enter(connection_on(fd));
		cr_expect_eq(sent ? receive(fd) : send_text(fd, GET), sent ? 0 : -EPIPE);
		cr_expect_eq(cookie_on(fd), cookie);
		cr_expect_gt(fake.calls[FAKE_YIELD], 100, "it was patient");
		cr_expect_lt(fake.calls[FAKE_YIELD], 10000, "but not for ever");
		expect_counted(0, 0, 1);
		expect_settled(fd);
		connection_leave(other_call);
	}
}

Test(renew, when_the_other_call_is_over_it_is)
{
	for (int sent = 0; sent <= 1; sent++) {
		pool_with(settings_default());
		int fd = reused();
		if (sent)
			send_text(fd, GET);
		kill_it(fd);
		other_call = connection_enter(connection_on(fd));
		fake.after[FAKE_YIELD] = leave_other_call;
		cr_expect_eq(sent ? receive(fd) : send_text(fd, GET),
			sent ? -EAGAIN : (long)sizeof(GET) - 1);
		expect_counted(!sent, sent, 0);
		expect_settled(fd);
	}
}

/* A second thread's call that finds it dead while the first one's connects. */
static void read_in_other_call(void)
{
	char room[10];

	fake.thread_id++;
	other_result = receive_in_call(other_call, contested, room, sizeof(room), false);
	connection_leave(other_call);
	fake.thread_id--;
}

Test(renew, of_two_calls_that_find_it_dead_one_renews_it)
{
	int fd = contested = reused();

	kill_it(fd);
	other_call = connection_enter(connection_on(fd));
	fake.after[FAKE_CONNECT] = read_in_other_call;
	cr_expect_eq(send_text(fd, GET), (long)sizeof(GET) - 1);
	cr_expect_eq(other_result, -EAGAIN);
	expect_sent(fd, GET, "once");
	expect_counted(1, 0, 0);
	expect_settled(fd);
	receive_answer(fd);
	close_socket(fd);
	cr_expect_eq(pool.parked_count, 1);
}

Test(renew, of_two_that_wait_for_what_the_server_says_both_wait_on)
{
	int fd = contested = reused();

	kill_it(fd);
	other_call = connection_enter(connection_on(fd));
	fake.after[FAKE_CONNECT] = read_in_other_call;
	cr_expect_eq(receive(fd), -EAGAIN);
	cr_expect_eq(other_result, -EAGAIN);
	expect_counted(1, 0, 0);
	expect_settled(fd);
}

/* One has what is to be sent again, and the other has nothing. */
Test(renew, of_two_calls_that_want_it_sent_again_neither_loses_it)
{
	int fd = contested = reused();

	send_text(fd, GET);
	kill_it(fd);
	other_call = connection_enter(connection_on(fd));
	fake.after[FAKE_CONNECT] = read_in_other_call;
	long result = receive(fd);
	if (pool.stats.replayed > 0) {
		cr_expect_eq(result, -EAGAIN);
		expect_sent(fd, GET, "again");
	} else {
		cr_expect_eq(result, 0, "the program sees it");
	}
	cr_expect_leq(pool.stats.replayed, 1);
	expect_settled(fd);
}

static void send_more(void)
{
	fake.thread_id++;
	fake_socket_on(contested)->send_error = 0;
	cr_assert_gt(send_in_call(other_call, contested, GET, sizeof(GET) - 1, false), 0);
	connection_leave(other_call);
	fake.thread_id--;
}

Test(renew, what_another_call_sends_meanwhile_is_not_lost_between_two_sockets)
{
	int fd = contested = reused();
	uint64_t cookie = cookie_on(fd);

	send_text(fd, GET);
	kill_it(fd);
	other_call = connection_enter(connection_on(fd));
	fake.after[FAKE_CONNECT] = send_more;
	cr_expect_eq(receive(fd), 0);
	cr_expect_eq(cookie_on(fd), cookie);
	expect_sent(fd, GET GET, "all on the old one");
	expect_counted(0, 0, 1);
	expect_settled(fd);
}

/* ---- a new one that was not to be had, and is then ---- */

Test(renew, what_could_not_be_sent_again_yet_is_whole_the_next_time)
{
	static const int errors[] = {-EINTR, -ECONNREFUSED, -ETIMEDOUT};

	for (size_t i = 0; i < COUNT(errors); i++) {
		pool_with(settings_default());
		int fd = reused();
		send_text(fd, GET);
		kill_it(fd);
		fake.error[FAKE_CONNECT] = errors[i];
		cr_expect_eq(receive(fd), errors[i]);
		fake.error[FAKE_CONNECT] = 0;
		/* Its memory is not another's. */
		int other = connected_to(2);
		finish(other);
		other = connected_to(2);
		send_text(other, "OPTIONS * HTTP/1.1\r\nHost: other\r\n\r\n");
		cr_assert_eq(connection_risk(connection_on(other)), RISK_KEPT);
		cr_expect_eq(receive(fd), -EAGAIN);
		expect_sent(fd, GET, "again");
		expect_counted(0, 1, 0);
		expect_settled(fd);
	}
}

#define FIRST_PIECE "GET / HTTP/1.1\r\n"
#define OTHER_HOST  "Host: b\r\n\r\n"

Test(renew, another_hosts_request_that_could_not_be_sent_yet_is_whole_the_next_time)
{
	int fd = reused();

	send_text(fd, FIRST_PIECE);
	fake.error[FAKE_CONNECT] = -EINTR;
	cr_expect_eq(send_text(fd, OTHER_HOST), -EINTR);
	fake.error[FAKE_CONNECT] = 0;
	cr_expect_eq(send_text(fd, OTHER_HOST), (long)sizeof(OTHER_HOST) - 1);
	expect_sent(fd, FIRST_PIECE OTHER_HOST, "both");
	expect_counted(1, 0, 0);
	expect_settled(fd);
}

Test(renew, where_it_goes_on_with_the_old_one_it_is_not_half_of_it_that_is_sent_again)
{
	int fd = reused();

	send_text(fd, FIRST_PIECE);
	fake.error[FAKE_OPEN_SOCKET] = -EMFILE;
	cr_expect_gt(send_text(fd, OTHER_HOST), 0);
	expect_sent(fd, FIRST_PIECE OTHER_HOST, "on the old one");
	fake.error[FAKE_OPEN_SOCKET] = 0;
	uint64_t cookie = cookie_on(fd);
	kill_it(fd);
	receive(fd);
	if (cookie_on(fd) != cookie)
		expect_sent(fd, FIRST_PIECE OTHER_HOST, "both");
	expect_settled(fd);
}

Test(renew, what_was_half_sent_when_it_failed_is_not_sent_again)
{
	static const struct {
		enum fake_call call;
		int error;
	} rows[] = {
		{FAKE_SEND, -EPIPE},
		{FAKE_REPLACE, -EBUSY},
		{FAKE_GET_DESCRIPTOR_FLAGS, -EBADF},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		pool_with(settings_default());
		int fd = reused();
		uint64_t cookie = cookie_on(fd);
		send_text(fd, FIRST_PIECE);
		fake.error[rows[i].call] = rows[i].error;
		cr_expect_eq(send_text(fd, OTHER_HOST), -EPIPE);
		fake.error[rows[i].call] = 0;
		cr_expect_eq(receive(fd), 0);
		cr_expect_eq(send_text(fd, OTHER_HOST), -EPIPE);
		cr_expect_eq(cookie_on(fd), cookie);
		cr_expect_eq(pool.stats.slipped_in + pool.stats.replayed, 0);
		expect_settled(fd);
	}
}

/* ---- like the old one ---- */

Test(renew, the_new_one_is_all_that_the_program_made_of_its_socket)
{
	static const int flags[] = {O_RDWR, O_RDWR | O_NONBLOCK};

	for (size_t i = 0; i < COUNT(flags) * 4; i++) {
		bool sent = i & 1, close_on_exec = i & 2;
		pool_with(settings_default());
		int fd = open_socket();
		bind_socket(fd, 5);
		connect_socket(fd, endpoint_number(1));
		finish(fd);
		fd = open_socket();
		bind_socket(fd, 5);
		set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
		watch_socket(fd, 50, EPOLLIN | EPOLLET, 77);
		watch_socket(fd, 51, EPOLLOUT | EPOLLRDHUP, 78);
		fake_socket_on(fd)->status_flags = flags[i / 4];
		fake.descriptors[fd].flags = close_on_exec ? FD_CLOEXEC : 0;
		cr_assert_neq(connect_socket(fd, endpoint_number(1)), TAKEN_NONE);
		set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
		uint64_t dead = cookie_on(fd);
		if (sent)
			send_text(fd, GET);
		kill_it(fd);
		receive(fd);
		cr_assert_neq(cookie_on(fd), dead);

		const struct fake_socket *socket = fake_socket_on(fd);
		const struct endpoint peer = endpoint_number(1);
		cr_expect_eq(socket->family, AF_INET);
		cr_expect_eq(socket->status_flags, flags[i / 4]);
		cr_expect_eq(fake.descriptors[fd].flags, close_on_exec ? FD_CLOEXEC : 0);
		cr_expect_eq(fake_option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
		cr_expect_eq(fake_option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
		cr_expect_eq(fake_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT), 1);
		cr_expect_eq(socket->local.address[3], 5);
		cr_expect_eq(socket->local.port, 0);
		cr_expect_eq(memcmp(socket->peer.address, peer.address, 16), 0);
		cr_expect_eq(socket->peer.port, peer.port);
		cr_expect_eq(fake_registered(socket), 2);
		unsigned seen = 0;
		for (unsigned k = 0; k < FAKE_REGISTRATIONS; k++) {
			const struct fake_registration *one = &fake.registrations[k];
			if (one->socket != socket)
				continue;
			bool first = one->epfd == 50;
			seen += first ? 1 : 10;
			cr_expect_eq(one->fd, fd);
			cr_expect_eq(one->event.events,
				first ? (EPOLLIN | EPOLLET) : (EPOLLOUT | EPOLLRDHUP));
			cr_expect_eq(one->event.data.u64, first ? 77 : 78);
		}
		cr_expect_eq(seen, 11);
		expect_counted(!sent, sent, 0);
		expect_books_in_order();
	}
}

Test(renew, what_was_not_set_is_not_set)
{
	int fd = reused();

	cr_assert_eq(fake_option(fd, IPPROTO_TCP, TCP_NODELAY), 1, "lent");
	kill_it(fd);
	receive(fd);
	cr_expect_eq(fake_option(fd, IPPROTO_TCP, TCP_NODELAY), FAKE_DEFAULT);
	cr_expect_eq(fake.calls[FAKE_BIND], 0);
}

Test(renew, books_begin_anew)
{
	int fd = reused();
	const struct connection *connection = connection_on(fd);
	uint64_t opened = pool.stats.opened, connects = pool.stats.connects;

	cr_assert_eq(connection->uses, 2);
	send_text(fd, GET);
	fake.now_ms += 500;
	kill_it(fd);
	receive(fd);
	cr_expect_eq(connection_on(fd), connection, "it is the same to the program");
	cr_expect_eq(connection->uses, 1);
	cr_expect_eq(connection->sent, sizeof(GET) - 1);
	cr_expect_eq(connection->received, 0);
	cr_expect_eq(connection->created_ms, fake.now_ms, "its lease, too");
	cr_expect_eq(connection->cookie, cookie_on(fd));
	cr_expect_eq(pool.stats.opened, opened + 1);
	cr_expect_eq(pool.stats.connects, connects);
	cr_expect_eq(connection->point->opened, opened + 1);
	cr_expect_eq(connection->point->in_use, 1);
	receive_answer(fd);
	uint64_t cookie = cookie_on(fd);
	forget_what_was_learned(fd);
	close_socket(fd);
	cr_expect_eq(pool.parked_count, 1);
	cr_expect_eq(pool.points.used->in_use, 0);
	cr_expect(is_reused_by(open_socket(), cookie));
}

Test(renew, the_new_ones_first_host_is_that_of_its_first_request)
{
	int fd = reused();

	send_text(fd, GET_OF("b"));
	receive_answer(fd);
	close_socket(fd);
	fd = connected_to(1);
	uint64_t cookie = cookie_on(fd);
	send_text(fd, GET_OF("b"));
	cr_expect_eq(cookie_on(fd), cookie);
	receive_answer(fd);
	close_socket(fd);
	fd = connected_to(1);
	send_text(fd, GET_OF("a"));
	cr_expect_neq(cookie_on(fd), cookie);
	expect_counted(2, 0, 0);
}

Test(renew, what_a_connection_after_a_replay_announced_is_forgotten)
{
	int fd = reused_of(KEEPS("5"), 0, 0);

	send_text(fd, GET);
	kill_it(fd);
	receive(fd);
	cr_expect_eq(connection_on(fd)->keeps_ms, 0);
}

/* ---- every system call may fail ---- */

Test(renew, whatever_call_fails_no_number_is_left_and_the_program_has_its_socket)
{
	static const enum fake_call calls[] = {FAKE_GET_STATUS_FLAGS, FAKE_OPEN_SOCKET,
		FAKE_SET_OPTION, FAKE_BIND, FAKE_SET_STATUS_FLAGS, FAKE_CONNECT,
		FAKE_AWAIT_CONNECTION, FAKE_SEND, FAKE_HALF_CLOSE, FAKE_GET_DESCRIPTOR_FLAGS,
		FAKE_REPLACE, FAKE_WATCH, FAKE_PEEK, FAKE_LOOK_AHEAD};

	for (size_t i = 0; i < COUNT(calls) * 4; i++) {
		enum fake_call failing = calls[i / 4];
		bool sent = i & 1, non_blocking = i & 2;
		for (unsigned skip = 0; skip < 4; skip++) {
			pool_with(settings_default());
			int fd = open_socket();
			bind_socket(fd, 5);
			connect_socket(fd, endpoint_number(1));
			finish(fd);
			fd = open_socket();
			bind_socket(fd, 5);
			watch_socket(fd, 50, EPOLLIN, 0);
			cr_assert_neq(connect_socket(fd, endpoint_number(1)), TAKEN_NONE);
			if (non_blocking)
				make_non_blocking(fd);
			if (sent) {
				send_text(fd, GET);
				half_close(fd);
			}
			kill_it(fd);
			fake.error[failing] = -EBADF;
			fake.skip[failing] = skip;
			if (sent)
				receive(fd);
			else
				send_text(fd, GET);
			fake.error[failing] = 0;
			cr_expect(fake_is_open(fd), "call %d", failing);
			cr_expect_eq(fake_hidden_count(), 0, "call %d", failing);
			cr_expect_eq(atomic_load(&connection_on(fd)->renewing), 0);
			cr_expect_eq(fake.signals_blocked, 0);
			cr_expect_eq(close_socket(fd), 0, "call %d", failing);
			cr_expect_not(fake_is_open(fd));
			cr_expect_eq(pool.points.used->in_use, 0);
			expect_books_in_order();
		}
	}
}

/* ---- memory ---- */

Test(renew, no_memory_is_lost_in_ten_thousand_rounds)
{
	static const size_t sizes[] = {100, 3000, 65536, 65537};
	unsigned calls = 0;

	for (unsigned round = 0; round < 10000; round++) {
		int fd = reused();
		size_t len = sizes[round % COUNT(sizes)];
		if (round % 5 > 0)
			send_text(fd, request_of(len));
		if (round % 3 > 0)
			kill_it(fd);
		if (round % 3 > 0)
			receive(fd);
		forget_what_was_learned(fd);
		kill_with(fd, -EAGAIN, 0);
		close_socket(fd);
		pool_drop(&pool);
		if (round == 60)
			calls = fake.calls[FAKE_MAP];
	}
	cr_expect_eq(fake.calls[FAKE_MAP], calls);
	cr_expect_eq(fake_hidden_count(), 0);
	cr_expect_gt(pool.stats.replayed, 3000);
	cr_expect_gt(pool.stats.slipped_in, 1000);
	cr_expect_gt(pool.stats.failed, 1000);
}

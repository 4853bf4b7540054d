/* A reused connection that does not fit, or is dead: what is done about it, so that the program
 * does not learn of it. */
#include "tests/unit/renewal.h"

#include <stdio.h>

#define TIMEOUT "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

TestSuite(renew, .init = setup, .fini = check_books);

static const struct iovec get = {.iov_base = (void *)(uintptr_t)GET, .iov_len = sizeof(GET) - 1};

/* ---- which connections are at risk ---- */

Test(renew, a_connection_of_its_own_is_not_at_risk)
{
	int fd = connected_to(1);

	cr_expect_eq(connection_risk(connection_on(fd)), RISK_NONE);
	send_text(fd, GET);
	kill_it(fd);
	cr_expect_eq(receive(fd), 0);
	cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 0);
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
	cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 0);
	expect_counted(0, 0, 0);
}

Test(renew, one_that_is_not_at_risk_costs_no_system_call)
{
	int fd = connected_to(1);
	struct call call = connection_enter(connection_on(fd));

	kill_it(fd);
	fake.calls[FAKE_GET_OPTION] = fake.calls[FAKE_PEEK] = 0;
	cr_expect_eq(renew_before_sending(&pool, call, fd, NULL, 0, false), RENEW_NOT);
	cr_expect_eq(renew_after_failure(&pool, call, fd, false), RENEW_NOT);
	cr_expect_eq(renew_after_answer(&pool, call, fd, NULL, 0, false), RENEW_NOT);
	cr_expect_eq(renew_while_waiting(&pool, call, fd, 0), RENEW_NOT);
	cr_expect_eq(fake.calls[FAKE_GET_OPTION] + fake.calls[FAKE_PEEK], 0);
	connection_leave(call);
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
	cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 0);
	cr_expect_eq(connection_risk(connection_on(fd)), RISK_KEPT);
	receive_answer(fd);
	expect_counted(0, 0, 0);
	expect_settled(fd);
}

/* The program sees what it would see if it had written too early. */
Test(renew, a_non_blocking_socket_is_a_connecting_one_then)
{
	int fd = reused();
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
	cr_expect_not(connection_on(fd)->result_pending, "it is the kernel that says how it went");
	expect_counted(1, 0, 0);
	expect_settled(fd);
	cr_expect_eq(send_text(fd, GET), -EAGAIN);
	cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 1);
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
	cr_expect_eq(send_in_call(&call, fd, GET, sizeof(GET) - 1, true), -EAGAIN);
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

Test(renew, where_the_first_request_said_no_host_any_will_do)
{
	static const char no_host[] = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
	static const char answer[] = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n"
				     "Content-Length: 0\r\n\r\n";
	int fd = connected_to(1);

	send_text(fd, no_host);
	receive_bytes(fd, answer, sizeof(answer) - 1);
	close_socket(fd);
	fd = connected_to(1);
	cr_assert_eq(connection_risk(connection_on(fd)), RISK_UNUSED);
	uint64_t cookie = cookie_on(fd);
	send_text(fd, GET_OF("b"));
	cr_expect_eq(cookie_on(fd), cookie);
	expect_counted(0, 0, 0);
}

Test(renew, while_somebody_has_the_connection_for_himself_a_request_goes_as_it_comes)
{
	static const struct iovec vector = {
		.iov_base = (void *)(uintptr_t)GET_OF("b"), .iov_len = sizeof(GET_OF("b")) - 1};
	int fd = reused_after(60000);
	struct call call = connection_enter(connection_on(fd));

	other_call = connection_enter(connection_on(fd));
	cr_assert(connection_try_claim(other_call));
	cr_expect_eq(renew_before_sending(&pool, call, fd, &vector, 1, false), RENEW_NOT);
	cr_expect_not(connection_try_claim(call), "it still has it");
	cr_expect_eq(fake.calls[FAKE_YIELD], 0);
	cr_expect_eq(fake.calls[FAKE_SHUT_DOWN], 0);
	cr_expect_not(connection_unclaim(connection_on(fd)));
	connection_leave(other_call);
	connection_leave(call);
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

Test(renew, where_they_die_at_once_none_is_young_enough)
{
	int fd = reused_of(ANSWER, 0, 0);
	uint64_t cookie = cookie_on(fd);

	learning_death(&connection_on(fd)->point->learning, 0, fake.now_ms);
	cr_expect_gt(send_text(fd, POST), 0);
	cr_expect_neq(cookie_on(fd), cookie);
	expect_counted(1, 0, 0);
}

/* A part of it may have been acted on. */
Test(renew, a_request_that_grows_old_while_it_is_sent_goes_on)
{
	int fd = reused_after(1000);
	uint64_t cookie = cookie_on(fd);

	send_text(fd, "POST /x HTTP/1.1\r\nHost: a\r\n");
	cr_assert_eq(connection_risk(connection_on(fd)), RISK_KEPT);
	fake.now_ms += 60000;
	send_text(fd, "Content-Length: 0\r\n\r\n");
	cr_expect_eq(cookie_on(fd), cookie);
	expect_counted(0, 0, 0);
}

Test(renew, age_alone_is_no_reason_while_another_call_is_under_way)
{
	static const char *const requests[] = {POST, GET_OF("b")};

	for (size_t i = 0; i < COUNT(requests); i++) {
		pool_with(settings_default());
		int fd = reused_after(60000);
		uint64_t cookie = cookie_on(fd);
		other_call = connection_enter(connection_on(fd));
		fake.before[FAKE_YIELD] = leave_other_call;
		cr_expect_gt(send_text(fd, requests[i]), 0);
		cr_expect_eq(cookie_on(fd) != cookie, i, "another host is one");
		expect_counted(i, 0, 0);
		if (fake.before[FAKE_YIELD])
			leave_other_call();
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
	cr_expect_eq(learning_strict_ms(&connection_on(fd)->point->learning, fake.now_ms), 8000);
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
	cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 1);
	expect_counted(0, 1, 0);
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
			cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 0, "%s", request);
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
	cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 0);
	expect_counted(0, 0, 1);
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
	cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 0);
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

Test(renew, an_answer_while_somebody_has_the_connection_for_himself_changes_nothing)
{
	int fd = reused();
	struct call call = connection_enter(connection_on(fd));

	send_text(fd, GET);
	fake_say(fd, ANSWER, sizeof(ANSWER) - 1);
	other_call = connection_enter(connection_on(fd));
	cr_assert(connection_try_claim(other_call));
	cr_expect_eq(renew_after_answer(&pool, call, fd, NULL, 0, false), RENEW_NOT);
	cr_expect_eq(connection_risk(connection_on(fd)), RISK_KEPT);
	cr_expect_not(connection_try_claim(call), "it still has it");
	cr_expect_not(connection_unclaim(connection_on(fd)));
	connection_leave(other_call);
	connection_leave(call);
}

static void lose_contested(void)
{
	struct connection *connection = connection_on(contested);

	fake.descriptors[contested].connection = NULL;
	cr_expect_not(connection_displaced(connection, contested), "who has it gives it back");
}

/* While its memory is given back, for which signals are blocked for a moment. */
Test(renew, one_that_loses_its_number_as_it_is_answered_is_given_back)
{
	int fd = contested = reused();
	struct connection *connection = connection_on(fd);
	struct call call = connection_enter(connection);

	send_text(fd, request_of(60000));
	fake_say(fd, ANSWER, sizeof(ANSWER) - 1);
	fake.after[FAKE_RESTORE_SIGNALS] = lose_contested;
	cr_expect_eq(renew_after_answer(&pool, call, fd, NULL, 0, false), RENEW_NOT);
	cr_expect_eq(connection_state(connection), CONNECTION_FREE);
	cr_expect_eq(pool.points.used->in_use, 0);
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
		cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 0);
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

Test(renew, a_408_is_known_in_whatever_pieces_the_program_reads_it)
{
	for (size_t piece = 1; piece <= sizeof(TIMEOUT); piece++) {
		pool_with(settings_default());
		int fd = reused();
		char room[sizeof(TIMEOUT)];
		send_text(fd, GET);
		fake_say(fd, TIMEOUT, sizeof(TIMEOUT) - 1);
		kill_it(fd);
		cr_expect_eq(try_to_receive(fd, room, piece), -EAGAIN, "%zu", piece);
		expect_sent(fd, GET, "again");
		expect_counted(0, 1, 0);
		expect_settled(fd);
	}
}

/* Nothing is kept of an answer, so what has come with its first byte decides. */
Test(renew, a_408_that_comes_in_pieces_is_known_by_its_first_twelve_bytes)
{
	for (size_t piece = 1; piece < 20; piece++) {
		pool_with(settings_default());
		int fd = reused();
		send_text(fd, GET);
		fake_say(fd, TIMEOUT, piece);
		bool is_known = piece >= sizeof("HTTP/1.1 408") - 1;
		cr_expect_eq(receive(fd), is_known ? -EAGAIN : (long)piece, "%zu", piece);
		expect_counted(0, is_known, 0);
		expect_settled(fd);
	}
}

Test(renew, a_408_is_the_programs_where_nothing_can_be_sent_again)
{
	int fd = reused();

	send_text(fd, GET);
	fake_say(fd, TIMEOUT, sizeof(TIMEOUT) - 1);
	kill_it(fd);
	fake.error[FAKE_OPEN_HIDDEN] = -EMFILE;
	cr_expect_eq(receive(fd), (long)sizeof(TIMEOUT) - 1);
	expect_counted(0, 0, 1);
	expect_settled(fd);
}

Test(renew, nothing_is_known_of_a_408_that_was_thrown_away)
{
	int fd = reused();
	struct call call = connection_enter(connection_on(fd));

	send_text(fd, GET);
	fake_say(fd, TIMEOUT, sizeof(TIMEOUT) - 1);
	cr_expect_eq(renew_after_answer(&pool, call, fd, NULL, 12, false), RENEW_NOT);
	connection_leave(call);
	cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 0);
	expect_settled(fd);
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

Test(renew, what_is_sent_while_somebody_has_the_connection_for_himself_is_not_counted)
{
	int fd = reused();
	struct call call = connection_enter(connection_on(fd));
	uint64_t sent = connection_on(fd)->sent;

	other_call = connection_enter(connection_on(fd));
	cr_assert(connection_try_claim(other_call));
	cr_expect_not(renew_sent(&pool, call, &get, sizeof(GET) - 1));
	cr_expect_eq(connection_on(fd)->sent, sent);
	cr_expect_eq(connection_on(fd)->refusal, REFUSED_CONTENDED);
	cr_expect_not(connection_try_claim(call), "it still has it");
	cr_expect_not(connection_unclaim(connection_on(fd)));
	connection_leave(other_call);
	connection_leave(call);
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

/* Else it would be the answer to what the program is going to send. */
Test(renew, what_is_no_answer_is_never_the_programs)
{
	for (int sent = 0; sent <= 1; sent++) {
		pool_with(settings_default());
		int fd = reused();
		if (sent)
			send_unheard(fd, GET);
		fake_say(fd, ANSWER, sizeof(ANSWER) - 1);
		fake.error[FAKE_OPEN_HIDDEN] = -EMFILE;
		cr_expect_eq(receive(fd), -ECONNRESET);
		expect_counted(0, 0, 1);
		cr_expect_eq(pool.stats.quarantined, 1);
		expect_settled(fd);
	}
}

/* ---- what another thread has just sent ---- */

static void tell_what_was_sent(void)
{
	cr_assert_not(renew_sent(&pool, other_call, &get, sizeof(GET) - 1));
	connection_leave(other_call);
}

/* The kernel has it, and the other call has not come to tell. */
static void send_in_other_call(int fd)
{
	contested = fd;
	other_call = connection_enter(connection_on(fd));
	cr_assert_gt(fake_send(fd, GET, sizeof(GET) - 1, true), 0);
}

Test(renew, who_finds_it_dead_waits_for_the_other_call_to_tell_what_it_has_sent)
{
	int fd = reused();

	send_in_other_call(fd);
	kill_it(fd);
	fake.after[FAKE_YIELD] = tell_what_was_sent;
	cr_expect_eq(receive(fd), -EAGAIN);
	expect_sent(fd, GET, "again");
	expect_counted(0, 1, 0);
	expect_settled(fd);
}

Test(renew, who_reads_the_answer_waits_for_that_too)
{
	int fd = reused();
	uint64_t cookie = cookie_on(fd);

	send_in_other_call(fd);
	fake_say(fd, ANSWER, sizeof(ANSWER) - 1);
	fake.after[FAKE_YIELD] = tell_what_was_sent;
	cr_expect_eq(receive(fd), (long)sizeof(ANSWER) - 1);
	cr_expect_eq(cookie_on(fd), cookie);
	cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 0);
	expect_settled(fd);
	expect_counted(0, 0, 0);
	close_socket(fd);
	cr_expect_eq(pool.parked_count, 1);
}

Test(renew, it_waits_for_no_call_that_never_tells)
{
	for (int answered = 0; answered <= 1; answered++) {
		pool_with(settings_default());
		int fd = reused();
		send_in_other_call(fd);
		if (answered)
			fake_say(fd, ANSWER, sizeof(ANSWER) - 1);
		else
			kill_it(fd);
		cr_expect_eq(receive(fd), answered ? (long)sizeof(ANSWER) - 1 : 0);
		cr_expect_leq(fake.calls[FAKE_YIELD], 1000);
		cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 0);
		cr_expect_eq(connection_risk(connection_on(fd)), RISK_NONE);
		connection_leave(other_call);
	}
}

Test(renew, nor_for_one_where_there_is_none)
{
	int fd = reused();

	send_in_other_call(fd);
	connection_leave(other_call);
	kill_it(fd);
	cr_expect_eq(receive(fd), 0);
	cr_expect_eq(fake.calls[FAKE_YIELD], 0);
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

/* ---- calls that wait: poll(2) and the like ---- */

static int look_while_waiting_for(int fd, long wait_ms)
{
	struct call call = connection_enter(connection_on(fd));
	int answer = renew_while_waiting(&pool, call, fd, wait_ms);

	connection_leave(call);
	return answer;
}

static int look_while_waiting(int fd)
{
	return look_while_waiting_for(fd, 0);
}

Test(renew, a_call_that_waits_renews_what_is_at_its_end)
{
	static const struct {
		const char *request;
		int receiving;
		int answer;
	} rows[] = {
		{"", 0, RENEW_AGAIN},
		{"", -ECONNRESET, RENEW_AGAIN},
		{GET, 0, RENEW_AGAIN},
		{GET, -ECONNRESET, RENEW_AGAIN},
		{POST, 0, RENEW_NOT},
		{POST, -ECONNRESET, RENEW_NOT},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		bool renewed = rows[i].answer == RENEW_AGAIN, sent = *rows[i].request;
		pool_with(settings_default());
		int fd = reused();
		uint64_t cookie = cookie_on(fd);
		if (sent)
			send_text(fd, rows[i].request);
		kill_with(fd, rows[i].receiving, -EPIPE);
		fake.calls[FAKE_PEEK] = 0;
		cr_expect_eq(look_while_waiting(fd), rows[i].answer, "%zu", i);
		cr_expect_eq(cookie_on(fd) != cookie, renewed, "%zu", i);
		cr_expect_eq(fake.calls[FAKE_PEEK], 0, "an error would be gone");
		cr_expect_eq(fake.calls[FAKE_CONNECT_PATIENTLY], 0, "it has a limit of its own");
		cr_expect(!renewed || !sent || fake.awaited_ms == SUCCESSION_WAIT_MS);
		expect_counted(renewed && !sent, renewed && sent, !renewed);
		expect_settled(fd);
	}
}

Test(renew, a_call_that_waits_waits_no_longer_than_it_may)
{
	static const struct {
		long wait_ms, awaited_ms;
		int error, answer;
	} rows[] = {
		{0, SUCCESSION_WAIT_MS, 0, RENEW_AGAIN},
		{70, 70, 0, RENEW_AGAIN},
		{70, 70, -ETIMEDOUT, RENEW_LATER},
		{70, 70, -ECONNREFUSED, -ECONNREFUSED},
		{0, SUCCESSION_WAIT_MS, -ETIMEDOUT, -ETIMEDOUT},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		pool_with(settings_default());
		int fd = reused();
		send_text(fd, GET);
		kill_it(fd);
		fake.error[FAKE_AWAIT_CONNECTION] = rows[i].error;
		cr_expect_eq(look_while_waiting_for(fd, rows[i].wait_ms), rows[i].answer, "%zu", i);
		cr_expect_eq(fake.awaited_ms, rows[i].awaited_ms, "%zu", i);
		expect_counted(0, rows[i].answer == RENEW_AGAIN, 0);
		/* Where there was no time it goes on connecting, and the next call goes on with it.
		 */
		fake.error[FAKE_AWAIT_CONNECTION] = 0;
		if (rows[i].answer == RENEW_LATER) {
			cr_expect_eq(look_while_waiting_for(fd, 70), RENEW_AGAIN);
			cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 1);
		}
		expect_nobody_renews(connection_on(fd));
	}
}

static void let_it_be(int fd)
{
	(void)fd;
}

static void receive_unseen_and_die(int fd)
{
	fake_socket_on(fd)->info.tcpi_bytes_received += 5;
	kill_it(fd);
}

static void send_unseen_and_die(int fd)
{
	fake_socket_on(fd)->info.tcpi_bytes_sent += 5;
	kill_it(fd);
}

static void be_answered_and_die(int fd)
{
	fake_say(fd, ANSWER, sizeof(ANSWER) - 1);
	kill_it(fd);
}

static void be_past_risk_and_die(int fd)
{
	connection_set_risk(connection_on(fd), RISK_NONE);
	kill_it(fd);
}

Test(renew, a_call_that_waits_leaves_all_others_alone)
{
	static void (*const deeds[])(int fd) = {let_it_be, receive_unseen_and_die,
		send_unseen_and_die, be_answered_and_die, be_past_risk_and_die};

	for (size_t i = 0; i < COUNT(deeds); i++) {
		pool_with(settings_default());
		int fd = reused();
		send_text(fd, GET);
		enum risk risk = connection_risk(connection_on(fd));
		deeds[i](fd);
		cr_expect_eq(look_while_waiting(fd), RENEW_NOT, "%zu", i);
		cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 0, "%zu", i);
		cr_expect(connection_risk(connection_on(fd)) == risk ||
			  deeds[i] == be_past_risk_and_die);
		expect_counted(0, 0, 0);
	}
}

static void begin_to_renew(void)
{
	atomic_store(&connection_on(contested)->renewer, 99);
}

Test(renew, nor_does_a_call_that_waits_say_that_it_is_at_its_end_where_another_has_just_begun)
{
	int fd = contested = reused();

	send_text(fd, GET);
	kill_it(fd);
	fake.after[FAKE_GET_OPTION] = begin_to_renew;
	cr_expect_eq(look_while_waiting(fd), RENEW_LATER);
	cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 0);
	atomic_store(&connection_on(fd)->renewer, 0);
	expect_counted(0, 0, 0);
}

static int answer_meanwhile;

static void look_meanwhile(void)
{
	fake.thread_id++;
	answer_meanwhile = look_while_waiting(contested);
	fake.thread_id--;
}

Test(renew, a_call_that_waits_looks_again_later_where_another_thread_is_at_it)
{
	static const enum fake_call moments[] = {FAKE_CONNECT, FAKE_CONNECT_PATIENTLY, FAKE_SEND};

	for (size_t i = 0; i < COUNT(moments); i++) {
		pool_with(settings_default());
		int fd = contested = reused();
		send_text(fd, GET);
		kill_it(fd);
		fake.before[moments[i]] = look_meanwhile;
		answer_meanwhile = RENEW_NOT;
		cr_expect_eq(receive(fd), -EAGAIN);
		cr_expect_eq(answer_meanwhile, RENEW_LATER, "%zu", i);
		cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 1);
		expect_counted(0, 1, 0);
		expect_settled(fd);
	}
}

/* ---- half closed by the program ---- */

Test(renew, a_program_that_writes_after_it_has_half_closed_is_told_so)
{
	for (int sent = 0; sent <= 1; sent++) {
		pool_with(settings_default());
		int fd = reused();
		uint64_t cookie = cookie_on(fd);
		if (sent)
			send_text(fd, FIRST_PIECE);
		half_close(fd);
		fake_socket_on(fd)->info.tcpi_state = FAKE_FIN_WAIT;
		fake_socket_on(fd)->send_error = -EPIPE;
		cr_expect_eq(send_text(fd, OTHER_HOST), -EPIPE);
		cr_expect_eq(cookie_on(fd), cookie);
		cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 0);
		cr_expect_eq(pool.stats.quarantined, 0, "it is not dead");
		expect_counted(0, 0, 0);
	}
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
		cr_expect_eq(learning_strict_ms(learning, fake.now_ms), 1200, "%zu", i);
		cr_expect(learning_is_quarantined(learning, fake.now_ms), "%zu", i);
		cr_expect_eq(pool.stats.quarantined, 1, "%zu", i);
	}
}

Test(renew, a_failure_is_learned_from_once)
{
	for (int sent = 0; sent <= 1; sent++) {
		pool_with(settings_default());
		int fd = reused_after(1500);
		const struct learning *learning = &connection_on(fd)->point->learning;
		if (sent)
			send_text(fd, GET);
		kill_it(fd);
		fake.error[FAKE_CONNECT] = -ECONNREFUSED;
		for (int i = 0; i < 3; i++, fake.now_ms += 5000)
			cr_expect_eq(sent ? receive(fd) : send_text(fd, GET), -ECONNREFUSED);
		cr_expect_eq(atomic_load(&learning->deaths), 1);
		cr_expect_eq(pool.stats.quarantined, 1);
	}
}

static void refuse_it(int fd)
{
	connection_refuse(connection_on(fd), REFUSED_SHUTDOWN);
}

/* The server has done what it was asked to. */
Test(renew, the_end_of_what_the_program_has_ended_is_no_failure)
{
	static void (*const deeds[])(int fd) = {half_close, refuse_it};

	for (size_t i = 0; i < COUNT(deeds) * 2; i++) {
		pool_with(settings_default());
		int fd = reused();
		if (i % 2)
			send_text(fd, GET);
		deeds[i / 2](fd);
		kill_it(fd);
		receive(fd);
		cr_expect_eq(pool.stats.quarantined, 0, "%zu", i);
		cr_expect_eq(atomic_load(&pool.points.used->learning.deaths), 0, "%zu", i);
	}
}

/* A call that comes late may find that the connection has left it already. */
Test(renew, without_a_service_point_nothing_is_learned_and_nothing_breaks)
{
	static const char *const requests[] = {"", GET, POST};

	for (size_t i = 0; i < COUNT(requests) * 2; i++) {
		bool answered = i % 2;
		pool_with(settings_default());
		int fd = reused_after(2001);
		struct service_point *point = connection_on(fd)->point;
		connection_on(fd)->point = NULL;
		if (*requests[i / 2])
			send_text(fd, requests[i / 2]);
		if (answered)
			fake_say(fd, ANSWER, sizeof(ANSWER) - 1);
		else
			kill_it(fd);
		receive(fd);
		cr_expect_eq(pool.stats.quarantined, 0);
		connection_on(fd)->point = point;
	}
}

Test(renew, what_a_connection_after_a_replay_announced_is_forgotten)
{
	int fd = reused_of(KEEPS("5"), 0, 0);

	send_text(fd, GET);
	kill_it(fd);
	receive(fd);
	cr_expect_eq(connection_on(fd)->keeps_ms, 0);
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
		/* Nobody asks before it fails. */
		if (deed == receive_unseen && !sent) {
			kill_it(fd);
			cr_expect_eq(receive(fd), 0);
		}
		cr_expect_eq(cookie_on(fd), cookie, "%zu", i);
		cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 0, "%zu", i);
		cr_expect_eq(pool.stats.quarantined, 0, "%zu", i);
		expect_counted(0, 0, 0);
		expect_settled(fd);
	}
}

Test(renew, what_was_done_unseen_says_nothing_good_of_the_server_either)
{
	int fd = reused();

	connection_on(fd)->point->learning.quarantine_ms = 4000;
	send_unseen(fd);
	send_text(fd, GET);
	cr_expect_eq(connection_on(fd)->point->learning.quarantine_ms, 4000);
}

/* What is to be sent on it, as nothing of it can be sent again. */
Test(renew, one_that_cannot_be_helped_any_more_is_not_looked_at)
{
	int fd = reused();

	send_text(fd, POST);
	cr_assert_eq(connection_risk(connection_on(fd)), RISK_TAKEN);
	fake.calls[FAKE_GET_OPTION] = 0;
	cr_expect_gt(send_text(fd, GET_OF("b")), 0);
	cr_expect_eq(fake.calls[FAKE_GET_OPTION], 0);
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

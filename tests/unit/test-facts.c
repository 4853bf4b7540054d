/* What others know of service points, fact by fact: what ServicePointManager's own tests and the
 * sources of other pools say, or where this pool differs from them on purpose. Each test has the
 * name of its fact; tests/structure/facts.txt lists them all.
 *
 * Other tests go deeper into most of these; here a fact is found by its name.
 */
#include "tests/unit/program.h"

#include "pool/manager.h"
#include "pool/requests.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static void setup(void)
{
	pool_with(settings_default());
}

static void check_books(void)
{
	expect_books_in_order();
}

TestSuite(facts, .init = setup, .fini = check_books);

static struct endpoint endpoint_on(unsigned number, uint16_t port)
{
	struct endpoint endpoint = endpoint_number(number);

	endpoint.port = htons(port);
	return endpoint;
}

static int connected_on(unsigned number, uint16_t port)
{
	int fd = open_socket();

	connect_socket(fd, endpoint_on(number, port));
	return fd;
}

static const struct service_point *point_on(int fd)
{
	return connection_on(fd)->point;
}

static const struct service_point *point_number(unsigned number)
{
	const struct endpoint endpoint = endpoint_number(number);

	return service_points_peek(&pool.points, &endpoint);
}

static void cap(long most)
{
	cr_assert_geq(manager_set_cap(&pool, most), 0);
}

static long request(const char *text)
{
	char problem[REQUEST_PROBLEM_SIZE];

	return request_serve(&pool, text, strlen(text), problem);
}

static struct point_view find(const char *text)
{
	struct pattern pattern;
	struct point_view view;

	cr_assert(pattern_parse(text, strlen(text), &pattern, NULL, NULL));
	cr_assert_eq(manager_find(&pool, &pattern, &view), 0);
	return view;
}

static bool next_one_is_new(void)
{
	return connect_socket(open_socket(), endpoint_number(1)) == TAKEN_NONE;
}

/* ---- which service point: section 1.0 (2), .NET: FindServicePoint_ReturnsCachedServicePoint ----
 */

Test(facts, same_host_and_port_are_the_same_service_point)
{
	const struct service_point *point = point_on(connected_to(1));

	cr_expect_eq(point_on(connected_to(1)), point);
	use_and_close(1);
	cr_expect_eq(point_on(connected_to(1)), point);
	cr_expect_eq(pool.points.count, 1);
}

Test(facts, a_host_is_found_in_upper_and_lower_case)
{
	learn("www.contoso.com", 1, 1);
	connected_to(1);
	cr_expect_eq(find("WWW.Contoso.com:80").in_use, 1);
	cr_expect_eq(pool.points.count, 1);
}

Test(facts, another_port_is_another_service_point)
{
	cr_expect_neq(point_on(connected_on(1, 80)), point_on(connected_on(1, 443)));
	cr_expect_eq(pool.points.count, 2);
}

Test(facts, another_host_is_another_service_point)
{
	cr_expect_neq(point_on(connected_to(1)), point_on(connected_to(2)));
	learn("a.example", 3, 1);
	const struct service_point *point = point_on(connected_to(3));
	learn("b.example", 3, 1);
	cr_expect_neq(point_on(connected_to(3)), point, "two names are two, on one address, too");
}

/* A proxy's service point is the proxy: to the pool it is the host that is connected to. */
Test(facts, different_hosts_through_one_proxy_share_its_service_point)
{
	static const char asked[] = "GET http://b.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n";
	uint64_t cookie = use_and_close(1);
	int fd = connected_to(1);

	send_bytes(fd, asked, sizeof(asked) - 1);
	receive_bytes(fd, ANSWER, sizeof(ANSWER) - 1);
	cr_expect_eq(cookie_on(fd), cookie);
	close_socket(fd);
	cr_expect_eq(pool.points.count, 1);
	cr_expect_eq(pool.parked_count, 1);
}

/* ---- how many: section 1.0 (1), Mono: MaxServicePointManagers, All ---- */

/* .NET's default is 0; this pool's is 256, as it does enforce it. */
Test(facts, zero_service_points_at_most_is_no_limit)
{
	cr_expect_eq(settings_default().max_service_points, 256);
	cap(0);
	for (unsigned i = 1; i <= 1000; i++)
		use_and_close(i);
	cr_expect_eq(pool.points.count, 1000);
	cr_expect_eq(discarded(DISCARDED_RECYCLED), 0);
	cr_expect_eq(refused(REFUSED_OVERFLOW), 0);
}

Test(facts, with_two_alive_and_one_allowed_both_are_still_found)
{
	const int fds[] = {connected_to(1), connected_to(2)};

	cap(1);
	cr_expect_eq(point_on(connected_to(1)), point_on(fds[0]));
	cr_expect_eq(point_on(connected_to(2)), point_on(fds[1]));
	cr_expect_eq(pool.points.count, 2);
}

Test(facts, a_new_host_at_the_cap_recycles_the_least_recently_used_idle_one)
{
	cap(2);
	use_and_close(1);
	use_and_close(2);
	use_and_close(1);
	use_and_close(3);
	cr_expect_null(point_number(2));
	cr_expect_not_null(point_number(1));
	cr_expect_eq(discarded(DISCARDED_RECYCLED), 1, "with its connections");
}

Test(facts, at_the_cap_a_busy_one_survives_until_it_is_idle)
{
	const int fds[] = {connected_to(1), connected_to(2)};

	cap(1);
	cr_expect_not_null(point_number(1));
	finish(fds[0]);
	cr_expect_null(point_number(1));
	cr_expect_eq(pool.parked_count, 0);
	finish(fds[1]);
	cr_expect_not_null(point_number(2));
}

/* .NET Framework and Mono throw InvalidOperationException here. */
Test(facts, where_none_is_idle_a_new_host_is_served_unpooled_and_gets_no_error)
{
	cap(1);
	connected_to(1);
	int fd = connected_to(2);
	cr_expect_null(point_on(fd));
	exchange(fd);
	cr_expect_eq(close_socket(fd), 0);
	cr_expect_eq(refused(REFUSED_OVERFLOW), 1);
	cr_expect_eq(pool.stats.opened, 2);
}

/* ---- how long: section 1.1, MaxIdleTime and ConnectionLeaseTimeout ---- */

Test(facts, an_idle_time_of_0_never_reuses)
{
	uint64_t cookie = use_and_close(1);

	cr_assert_eq(request("set 10.0.0.1:80 idle=0"), 1);
	cr_expect_neq(use_and_close(1), cookie, "also in this very millisecond");
	cr_expect_eq(refused(REFUSED_IDLE_ZERO), 1);
	cr_expect(next_one_is_new());
}

Test(facts, an_idle_time_of_minus_1_never_expires)
{
	uint64_t cookie = use_and_close(1);

	cr_assert_eq(request("set 10.0.0.1:80 idle=-1"), 1);
	fake.now_ms += UINT64_C(1) << 48;
	cr_expect_eq(pool_expire(&pool), -1);
	cr_expect(is_reused_by(open_socket(), cookie));
}

static void expect_not_allowed(const char *variable, const char *key, const char *value)
{
	struct settings settings = settings_default();
	char text[80];

	cr_expect_not(setting_parse(&settings, setting_find(variable), value), "%s", variable);
	snprintf(text, sizeof(text), "set 10.0.0.1:80 %s=%s", key, value);
	cr_expect_eq(request(text), -EINVAL, "%s", text);
	snprintf(text, sizeof(text), "default %s=%s", key, value);
	cr_expect_eq(request(text), -EINVAL, "%s", text);
}

Test(facts, an_idle_time_of_minus_2_is_not_allowed)
{
	use_and_close(1);
	expect_not_allowed("SP_MAX_IDLE_MS", "idle", "-2");
}

/* .NET: InvalidArguments_Throw. A limit of 0 is invalid there and no limit here, as is that of
 * sppool.h, where it is invalid, too. */
Test(facts, what_is_out_of_range_is_refused)
{
	struct settings settings = settings_default();

	use_and_close(1);
	expect_not_allowed("SP_LEASE_MS", "lease", "-2");
	expect_not_allowed("SP_CONNECTION_LIMIT", "limit", "-1");
	expect_not_allowed("SP_MAX_USES", "uses", "-1");
	cr_expect_not(setting_parse(&settings, setting_find("SP_MAX_SERVICE_POINTS"), "-1"));
	cr_expect_eq(request("cap -1"), -EINVAL);
}

Test(facts, shortening_the_idle_time_while_idle_counts_what_has_elapsed)
{
	uint64_t cookie = use_and_close(1);

	fake.now_ms += 6000;
	cr_assert_eq(request("set 10.0.0.1:80 idle=10000"), 1);
	cr_expect_eq(pool_expire(&pool), 4000, "what remains");
	cr_expect(is_reused_by(open_socket(), cookie));
	pool_with(settings_default());
	use_and_close(1);
	fake.now_ms += 6000;
	cr_assert_eq(request("set 10.0.0.1:80 idle=5000"), 1);
	cr_expect_eq(pool_expire(&pool), -1);
	cr_expect_eq(discarded(DISCARDED_IDLE), 1, "nothing remained");
}

Test(facts, while_busy_the_idle_time_has_no_effect)
{
	int fd = connected_to(1);

	cr_assert_eq(request("set 10.0.0.1:80 idle=10"), 1);
	fake.now_ms += 1000000;
	finish(fd);
	cr_expect_eq(pool.parked_count, 1);
}

Test(facts, a_lease_of_0_never_reuses)
{
	cr_assert_eq(request("default lease=0"), 1);
	use_and_close(1);
	cr_expect_eq(refused(REFUSED_LEASE), 1);
	cr_expect(next_one_is_new());
}

Test(facts, a_lease_that_is_over_never_cuts_a_use_short)
{
	cr_assert_eq(request("default lease=1000"), 1);
	int fd = connected_to(1);
	fake.now_ms += 1000000;
	pool_expire(&pool);
	use_and_close(2);
	cr_assert(fake_is_open(fd));
	exchange(fd);
	cr_expect_eq(connection_state(connection_on(fd)), CONNECTION_LIVE);
	close_socket(fd);
	cr_expect_eq(refused(REFUSED_LEASE), 1);
}

/* .NET: DefaultConnectionLimit_Roundtrips and the like; ReturnedServicePointMatchesExpectedValues.
 */
Test(facts, a_new_service_point_has_the_values_that_are_expected)
{
	const uint64_t begin = fake.now_ms;
	const struct point_view view = find("www.contoso.com:80");

	cr_expect_geq(view.idle_since_ms, begin);
	cr_expect_eq(view.settings.lease_ms, -1);
	cr_expect_eq(view.settings.idle_ms, 100000);
	cr_expect_eq(view.settings.limit, 0, "2 in .NET, which would queue: section 1.0 (5)");
	cr_expect_eq(view.in_use + view.parked, 0);
}

Test(facts, what_is_set_is_what_is_seen)
{
	find("www.contoso.com:80");
	cr_assert_eq(
		request("set www.contoso.com:80 idle=42 lease=43 limit=20 uses=44 wait=45"), 1);
	const struct point_settings settings = find("www.contoso.com:80").settings;
	cr_expect_eq(settings.idle_ms, 42);
	cr_expect_eq(settings.lease_ms, 43);
	cr_expect_eq(settings.limit, 20);
	cr_expect_eq(settings.uses, 44);
	cr_expect_eq(settings.wait_ms, 45);
	cr_assert_eq(request("set www.contoso.com:80 limit=2"), 1);
	cr_expect_eq(find("www.contoso.com:80").settings.limit, 2);
}

/* .NET: FindServicePoint_Collectible. Its settings are lost there with the service point. */
Test(facts, what_is_set_outlives_the_service_point)
{
	find("www.contoso.com:80");
	cr_assert_eq(request("set www.contoso.com:80 limit=20"), 1);
	cap(1);
	use_and_close(1);
	cr_expect_eq(pool.points.count, 1);
	cr_expect_eq(find("www.contoso.com:80").settings.limit, 20);
}

/* .NET: FindServicePoint_NewServicePointsInheritCurrentValues. */
Test(facts, later_changes_of_the_manager_leave_service_points_alone)
{
	use_and_close(1);
	cr_assert_eq(request("default idle=42 limit=20"), 1);
	cr_expect_eq(find("10.0.0.1:80").settings.idle_ms, 100000);
	cr_expect_eq(find("10.0.0.1:80").settings.limit, 0);
	cr_expect_eq(find("10.0.0.2:80").settings.idle_ms, 42);
	cr_expect_eq(find("10.0.0.2:80").settings.limit, 20);
}

/* Mono: ServicePointTest.All. Connections that are parked are open, and idle. */
Test(facts, connections_are_counted_while_they_are_out_and_idle_since_moves)
{
	const uint64_t begin = find("10.0.0.1:80").idle_since_ms;
	int fd = connected_to(1);

	cr_expect_eq(find("10.0.0.1:80").in_use, 1);
	cr_expect_eq(find("10.0.0.1:80").idle_since_ms, 0);
	fake.now_ms += 50;
	finish(fd);
	cr_expect_eq(find("10.0.0.1:80").in_use, 0);
	cr_expect_eq(find("10.0.0.1:80").parked, 1);
	cr_expect_eq(find("10.0.0.1:80").idle_since_ms, begin + 50);
}

/* ---- the limit: section 1.1, ConnectionLimit; section 1.4 ---- */

Test(facts, a_lower_limit_closes_excess_idle_ones_now_and_busy_ones_at_release)
{
	const int fds[] = {connected_to(1), connected_to(1), connected_to(1), connected_to(1)};

	finish(fds[0]);
	finish(fds[1]);
	cr_assert_eq(request("set 10.0.0.1:80 limit=1"), 1);
	cr_expect_eq(pool.parked_count, 0);
	finish(fds[2]);
	cr_expect_eq(pool.parked_count, 0);
	finish(fds[3]);
	cr_expect_eq(pool.parked_count, 1);
	cr_expect_eq(discarded(DISCARDED_LIMIT), 3);
}

/* Mono: ServicePointTest.ConnectionLimit. */
Test(facts, five_unread_responses_at_a_limit_of_five_do_not_deadlock)
{
	struct caller callers[5];

	cr_assert_eq(request("default limit=5"), 1);
	for (unsigned i = 0; i < COUNT(callers); i++) {
		callers[i] = call_connect_to(open_socket(), endpoint_number(1));
		cr_assert_eq(callers[i].taken, TAKEN_NONE);
		send_bytes(callers[i].fd, REQUEST, sizeof(REQUEST) - 1);
	}
	for (unsigned i = 0; i < COUNT(callers); i++) {
		receive_bytes(callers[i].fd, ANSWER, sizeof(ANSWER) - 1);
		close_socket(callers[i].fd);
	}
	cr_expect_eq(pool.parked_count, 5);
	cr_expect_eq(pool.stats.waited, 0);
}

/* The classic hang of HttpWebRequest, where two is what there is unless it is changed. */
Test(facts, without_a_limit_that_was_asked_for_nobody_ever_waits)
{
	for (unsigned i = 0; i < 50; i++)
		cr_expect_eq(call_connect_to(open_socket(), endpoint_number(1)).taken, TAKEN_NONE);
	cr_expect_eq(pool.stats.waited, 0);
}

Test(facts, at_the_limit_the_first_to_come_is_the_first_to_be_served)
{
	struct caller callers[3];

	cr_assert_eq(request("default limit=1"), 1);
	int fd = connected_to(1);
	for (unsigned i = 0; i < COUNT(callers); i++) {
		callers[i] = call_connect_to(open_socket(), endpoint_number(1));
		cr_assert_eq(callers[i].taken, TAKEN_LIMITED);
	}
	for (unsigned i = 0; i < COUNT(callers); i++) {
		finish(fd);
		cr_expect_eq(fake.last_woken, &callers[i].call.connection->turn);
		try_again(&callers[i]);
		cr_expect_eq(callers[i].taken, TAKEN_DONE);
		fd = callers[i].fd;
	}
}

/* ---- what is not reused: IsConnectionReusable(), section 2.3 ---- */

/* One exchange, or part of one, and close(). */
static void expect_not_parked(const char *sent, const char *received, enum refusal why)
{
	const uint64_t before = refused(why);
	int fd = connected_to(1);

	send_bytes(fd, sent, strlen(sent));
	receive_bytes(fd, received, strlen(received));
	close_socket(fd);
	cr_expect_eq(pool.parked_count, 0);
	cr_expect_eq(refused(why), before + 1, "%s, not %s", fake.why, refusal_word(why));
	cr_expect(next_one_is_new());
}

Test(facts, with_an_unread_byte_it_is_not_reused)
{
	int fd = connected_to(1);

	exchange(fd);
	fake_socket_on(fd)->info.tcpi_bytes_received++;
	close_socket(fd);
	cr_expect_eq(refused(REFUSED_LEDGER), 1);
	cr_expect(next_one_is_new());
}

static void expect_discarded(int peek, enum discard why)
{
	use_and_close(1);
	fake_socket_on(atomic_load(&pool.parked->hidden))->peek = peek;
	cr_expect(next_one_is_new());
	cr_expect_eq(discarded(why), 1);
}

Test(facts, after_an_unsolicited_byte_it_is_not_reused)
{
	expect_discarded(1, DISCARDED_UNSOLICITED);
}

Test(facts, after_a_fin_it_is_not_reused)
{
	int fd = connected_to(1);

	exchange(fd);
	fake_socket_on(fd)->info.tcpi_state = FAKE_CLOSE_WAIT;
	close_socket(fd);
	cr_expect_eq(refused(REFUSED_CLOSING), 1);
	expect_discarded(0, DISCARDED_DEAD);
}

Test(facts, after_a_reset_it_is_not_reused)
{
	int fd = connected_to(1);

	exchange(fd);
	fake_socket_on(fd)->info.tcpi_state = FAKE_CLOSE;
	close_socket(fd);
	cr_expect_eq(refused(REFUSED_CLOSING), 1);
	expect_discarded(-ECONNRESET, DISCARDED_DEAD);
}

Test(facts, after_a_half_written_request_it_is_not_reused)
{
	expect_not_parked("GET / HTTP/1.1\r\nHo", "", REFUSED_BUSY);
	expect_not_parked("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab", ANSWER,
		REFUSED_EARLY_RESPONSE);
}

Test(facts, after_101_it_is_not_reused)
{
	expect_not_parked(
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
		"\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
		"\r\n",
		REFUSED_TUNNEL);
}

Test(facts, after_connect_it_is_not_reused)
{
	expect_not_parked("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
		"HTTP/1.1 200 OK\r\n\r\n", REFUSED_TUNNEL);
}

Test(facts, after_408_it_is_not_reused)
{
	expect_not_parked(REQUEST, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n",
		REFUSED_REQUEST_TIMEOUT);
}

Test(facts, after_http_1_0_it_is_not_reused)
{
	expect_not_parked("GET / HTTP/1.0\r\n\r\n",
		"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", REFUSED_HTTP_1_0);
}

Test(facts, after_transfer_encoding_and_content_length_it_is_not_reused)
{
	expect_not_parked(REQUEST,
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
		"2\r\nhi\r\n0\r\n\r\n",
		REFUSED_LENGTH);
}

Test(facts, after_a_body_that_ends_with_the_connection_it_is_not_reused)
{
	expect_not_parked(REQUEST, "HTTP/1.1 200 OK\r\n\r\nhi", REFUSED_UNTIL_EOF);
}

Test(facts, after_ntlm_it_is_not_reused)
{
	expect_not_parked("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: NTLM TlRMTVNTUAAB\r\n\r\n",
		ANSWER, REFUSED_AUTHENTICATED);
	expect_not_parked(REQUEST,
		"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Negotiate\r\n"
		"Content-Length: 0\r\n\r\n",
		REFUSED_AUTHENTICATED);
}

Test(facts, tls_is_not_reused)
{
	expect_not_parked("\x16\x03\x01\x02", "\x16\x03\x03", REFUSED_TLS);
}

Test(facts, where_the_server_speaks_first_it_is_not_reused)
{
	int fd = connected_to(1);

	receive_bytes(fd, "220 mail.example ESMTP\r\n", 24);
	exchange(fd);
	close_socket(fd);
	cr_expect_eq(refused(REFUSED_SERVER_FIRST), 1);
	cr_expect(next_one_is_new());
}

Test(facts, in_a_forked_child_it_is_not_reused)
{
	int fd = connected_to(1);

	use_and_close(2);
	exchange(fd);
	pool_prepare_fork(&pool);
	pool_after_fork_in_child(&pool);
	cr_expect_eq(pool.parked_count, 0);
	cr_expect_eq(fake_hidden_count(), 0, "the copy is closed");
	close_socket(fd);
	cr_expect_eq(refused(REFUSED_FORKED), 1);
	cr_expect(next_one_is_new());
}

Test(facts, what_a_fork_has_seen_is_not_reused_in_the_parent_either)
{
	int fd = connected_to(1);

	exchange(fd);
	pool_prepare_fork(&pool);
	pool_after_fork_in_parent(&pool);
	close_socket(fd);
	cr_expect_eq(refused(REFUSED_FORKED), 1);
	cr_expect(next_one_is_new());
}

/* Whatever is executed finds no hidden number; what it may have found open is never parked. */
Test(facts, in_an_executed_program_it_is_not_reused)
{
	use_and_close(2);
	cr_expect(fake.descriptors[atomic_load(&pool.parked->hidden)].flags & FD_CLOEXEC);
	int fd = connected_to(1);
	exchange(fd);
	pool_begin_copy(&pool);
	pool_end_copy(&pool);
	close_socket(fd);
	cr_expect_eq(refused(REFUSED_FORKED), 1);
}

Test(facts, the_newest_one_is_reused_first)
{
	const int fds[] = {connected_to(1), connected_to(1), connected_to(1)};
	uint64_t cookies[COUNT(fds)];

	for (unsigned i = 0; i < COUNT(fds); i++) {
		cookies[i] = cookie_on(fds[i]);
		finish(fds[i]);
	}
	for (unsigned i = COUNT(fds); i-- > 0;)
		cr_expect(is_reused_by(open_socket(), cookies[i]));
}

/* ---- CloseConnectionGroup() ---- */

Test(facts, closing_a_group_closes_idle_ones_now)
{
	const int fds[] = {connected_to(1), connected_to(1)};

	finish(fds[0]);
	finish(fds[1]);
	cr_expect_eq(request("flush 10.0.0.1:80"), 2);
	cr_expect_eq(fake_hidden_count(), 0);
	cr_expect_eq(discarded(DISCARDED_FLUSHED), 2);
}

Test(facts, closing_a_group_closes_busy_ones_at_release)
{
	int fd = connected_to(1);

	cr_expect_eq(request("flush 10.0.0.1:80"), 0);
	cr_assert(fake_is_open(fd));
	finish(fd);
	cr_expect_eq(discarded(DISCARDED_FLUSHED), 1);
	cr_expect(next_one_is_new());
	use_and_close(1);
	cr_expect_eq(pool.parked_count, 1, "those that came later are not meant");
}

Test(facts, closing_a_group_that_there_is_not_says_so)
{
	cr_expect_eq(request("flush 10.0.0.1:80"), -ENOENT);
}

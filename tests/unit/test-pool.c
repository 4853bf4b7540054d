/* The pool's policy: which connection is parked, which is taken, which goes. */
#include "tests/unit/program.h"

#include <fcntl.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static void setup(void)
{
	pool_with(settings_default());
}

static void check_books(void)
{
	expect_books_in_order();
}

TestSuite(pool, .init = setup, .fini = check_books);

static struct service_point *point_number(unsigned number)
{
	const struct endpoint endpoint = endpoint_number(number);

	return service_points_peek(&pool.points, &endpoint);
}

/* ---- parking and taking ---- */

Test(pool, a_clean_connection_is_parked_and_taken_again)
{
	uint64_t cookie = use_and_close(1);

	cr_expect_eq(pool.parked_count, 1);
	cr_expect_eq(fake_hidden_count(), 1);
	int fd = open_socket();
	cr_expect(is_reused_by(fd, cookie));
	cr_expect_eq(pool.parked_count, 0);
	cr_expect_eq(fake_hidden_count(), 0, "the hidden number is given up");
	cr_expect_eq(connection_on(fd)->uses, 2);
	cr_expect_eq(atomic_load(&connection_on(fd)->fd), fd);
	cr_expect_eq(connection_state(connection_on(fd)), CONNECTION_LIVE);
}

Test(pool, a_close_that_parks_closes_the_programs_number)
{
	int fd = connected_to(1);

	exchange(fd);
	cr_expect_eq(close_socket(fd), 0);
	cr_expect_not(fake_is_open(fd));
	cr_expect_null(connection_on(fd));
	cr_expect_eq(pool.parked_count, 1);
}

Test(pool, a_connection_is_used_again_and_again)
{
	uint64_t cookie = use_and_close(1);

	for (int i = 0; i < 20; i++)
		cr_assert_eq(use_and_close(1), cookie);
	cr_expect_eq(pool.stats.opened, 1);
	cr_expect_eq(pool.stats.reused, 20);
	cr_expect_eq(pool.stats.parked, 21);
	cr_expect_eq(point_number(1)->in_use, 0);
}

Test(pool, a_connection_that_was_taken_and_not_used_is_parked_again)
{
	uint64_t cookie = use_and_close(1);

	close_socket(connected_to(1));
	cr_expect(is_reused_by(open_socket(), cookie));
}

Test(pool, the_newest_one_is_taken_first)
{
	int fds[3];
	uint64_t cookies[3];

	for (int i = 0; i < 3; i++) {
		fds[i] = connected_to(1);
		cookies[i] = cookie_on(fds[i]);
		exchange(fds[i]);
	}
	for (int i = 0; i < 3; i++)
		close_socket(fds[i]);
	for (int i = 2; i >= 0; i--)
		cr_expect(is_reused_by(open_socket(), cookies[i]));
	cr_expect_eq(connect_socket(open_socket(), endpoint_number(1)), TAKEN_NONE);
}

struct endpoint_row {
	const char *claim;
	struct endpoint endpoint;
	uint8_t bound_to; /* 127.0.0.x, or nothing */
};

#define IPV6 .family = AF_INET6, .address = {0xfe, 0x80, [15] = 1}
#define IPV4 .family = AF_INET, .address = {10, 0, 0, 1}

Test(pool, take_never_crosses_endpoints)
{
	const struct endpoint_row rows[] = {
		{"an IPv4 address", {IPV4, .port = htons(80)}, 0},
		{"another port", {IPV4, .port = htons(81)}, 0},
		{"another address",
			{.family = AF_INET, .address = {10, 0, 0, 2}, .port = htons(80)}, 0},
		{"bound to a local address", {IPV4, .port = htons(80)}, 2},
		{"bound to another one", {IPV4, .port = htons(80)}, 3},
		{"an IPv4-mapped address",
			{.family = AF_INET6,
				.address = {[10] = 0xff, 0xff, 10, 0, 0, 1},
				.port = htons(80)},
			0},
		{"an IPv6 address in scope 1", {IPV6, .port = htons(80), .scope_id = 1}, 0},
		{"in scope 2", {IPV6, .port = htons(80), .scope_id = 2}, 0},
		{"with flow information", {IPV6, .port = htons(80), .flow_info = 1, .scope_id = 1},
			0},
	};
	uint64_t cookies[COUNT(rows)];

	for (size_t i = 0; i < COUNT(rows); i++) {
		int fd = open_socket_of(rows[i].endpoint.family);
		if (rows[i].bound_to)
			bind_socket(fd, rows[i].bound_to);
		cr_expect_eq(connect_socket(fd, rows[i].endpoint), TAKEN_NONE, "%s", rows[i].claim);
		cookies[i] = cookie_on(fd);
		exchange(fd);
		close_socket(fd);
	}
	cr_assert_eq(pool.parked_count, COUNT(rows));
	for (size_t i = 0; i < COUNT(rows); i++) {
		int fd = open_socket_of(rows[i].endpoint.family);
		if (rows[i].bound_to)
			bind_socket(fd, rows[i].bound_to);
		cr_expect_neq(
			connect_socket(fd, rows[i].endpoint), TAKEN_NONE, "%s", rows[i].claim);
		cr_expect_eq(cookie_on(fd), cookies[i], "%s", rows[i].claim);
	}
}

Test(pool, the_kind_of_socket_says_how_connect_is_to_answer)
{
	use_and_close(1);
	int fd = open_socket();
	cr_expect_eq(connect_socket(fd, endpoint_number(1)), TAKEN_DONE);
	cr_expect_not(connection_on(fd)->result_pending);
	close_socket(fd);
	fd = open_socket();
	fake_socket_on(fd)->status_flags |= O_NONBLOCK;
	cr_expect_eq(connect_socket(fd, endpoint_number(1)), TAKEN_PENDING);
	cr_expect(connection_on(fd)->result_pending);
	close_socket(fd);
	fd = open_socket();
	cr_expect_eq(connect_socket(fd, endpoint_number(1)), TAKEN_DONE);
	cr_expect_not(connection_on(fd)->result_pending);
}

/* ---- how many ---- */

Test(pool, one_more_than_max_parked_closes_the_least_recently_used)
{
	struct settings settings = settings_default();
	uint64_t cookies[4];

	settings.max_parked = 3;
	pool_with(settings);
	for (unsigned i = 0; i < 3; i++)
		cookies[i] = use_and_close(i + 1);
	cr_expect_eq(use_and_close(1), cookies[0], "the first one is now the latest used");
	cookies[3] = use_and_close(4);
	cr_expect_eq(pool.parked_count, 3);
	cr_expect_eq(discarded(DISCARDED_EVICTED), 1);
	cr_expect_eq(use_and_close(1), cookies[0]);
	cr_expect_eq(use_and_close(3), cookies[2]);
	cr_expect_eq(use_and_close(4), cookies[3]);
	cr_expect_neq(use_and_close(2), cookies[1]);
}

Test(pool, max_parked_of_zero_parks_nothing)
{
	struct settings settings = settings_default();

	settings.max_parked = 0;
	pool_with(settings);
	use_and_close(1);
	cr_expect_eq(pool.parked_count, 0);
	cr_expect_eq(refused(REFUSED_NO_ROOM), 1);
}

static void cap_service_points(long most)
{
	struct settings settings = settings_default();

	settings.max_service_points = most;
	pool_with(settings);
}

Test(pool, one_service_point_too_many_recycles_the_least_recently_used_and_closes_its_connections)
{
	cap_service_points(2);
	int one = connected_to(1), other = connected_to(1);
	exchange(one);
	exchange(other);
	close_socket(one);
	close_socket(other);
	uint64_t second = use_and_close(2);

	cr_assert_eq(pool.parked_count, 3);
	use_and_close(3);
	cr_expect_eq(pool.points.count, 2);
	cr_expect_null(point_number(1));
	cr_expect_eq(discarded(DISCARDED_RECYCLED), 2);
	cr_expect_eq(pool.parked_count, 2);
	cr_expect_eq(use_and_close(2), second);
}

Test(pool, a_busy_service_point_is_never_recycled)
{
	cap_service_points(2);
	int oldest = connected_to(1);
	use_and_close(2);

	use_and_close(3);
	cr_expect_not_null(point_number(1));
	cr_expect_null(point_number(2));
	exchange(oldest);
	close_socket(oldest);
	cr_expect_eq(refused(REFUSED_OVERFLOW), 0);
}

Test(pool, where_all_service_points_are_busy_a_new_endpoint_is_served_unpooled)
{
	cap_service_points(2);
	int busy[] = {connected_to(1), connected_to(2)};

	use_and_close(3);
	cr_expect_null(point_number(3));
	cr_expect_eq(refused(REFUSED_OVERFLOW), 1);
	cr_expect_eq(pool.stats.opened, 3, "it is counted like any other");
	exchange(busy[0]);
	close_socket(busy[0]);
	use_and_close(3);
	cr_expect_not_null(point_number(3), "the other one has become idle");
	cr_expect_eq(refused(REFUSED_OVERFLOW), 1);
}

Test(pool, a_known_service_point_is_found_at_the_cap_and_recycles_none)
{
	cap_service_points(1);
	uint64_t cookie = use_and_close(1);

	for (int i = 0; i < 3; i++)
		cr_expect_eq(use_and_close(1), cookie);
	cr_expect_eq(discarded_in_all(), 0);
}

Test(pool, a_cap_of_zero_is_none)
{
	cap_service_points(0);
	for (unsigned i = 0; i < 2000; i++)
		use_and_close(i);
	cr_expect_eq(pool.points.count, 2000);
	cr_expect_eq(discarded(DISCARDED_RECYCLED), 0);
	cr_expect_eq(refused(REFUSED_OVERFLOW), 0);
}

Test(pool, a_failed_connect_leaves_its_service_point_idle)
{
	cap_service_points(1);
	int fd = connected_to(1);

	connection_refuse(connection_on(fd), REFUSED_NOT_CONNECTED);
	close_socket(fd);
	cr_expect_eq(point_number(1)->in_use, 0);
	use_and_close(2);
	cr_expect_eq(refused(REFUSED_OVERFLOW), 0);
}

/* ---- how long ---- */

static void set_idle(long max_idle_ms)
{
	struct settings settings = settings_default();

	settings.point.idle_ms = max_idle_ms;
	pool_with(settings);
}

Test(pool, max_idle_of_zero_never_reuses)
{
	set_idle(0);
	use_and_close(1);
	cr_expect_eq(pool.parked_count, 0);
	cr_expect_eq(refused(REFUSED_IDLE_ZERO), 1);
}

Test(pool, max_idle_of_minus_one_never_expires)
{
	set_idle(-1);
	uint64_t cookie = use_and_close(1);

	fake.now_ms += 10ULL * 365 * 24 * 3600 * 1000;
	cr_expect(is_reused_by(open_socket(), cookie));
}

Test(pool, one_that_is_idle_for_just_max_idle_is_reused)
{
	set_idle(1000);
	uint64_t cookie = use_and_close(1);

	fake.now_ms += 1000;
	cr_expect(is_reused_by(open_socket(), cookie));
}

Test(pool, one_that_is_idle_for_a_millisecond_more_is_closed)
{
	set_idle(1000);
	use_and_close(1);
	fake.now_ms += 1001;
	cr_expect_eq(connect_socket(open_socket(), endpoint_number(1)), TAKEN_NONE);
	cr_expect_eq(discarded(DISCARDED_IDLE), 1);
	cr_expect_eq(fake_hidden_count(), 0);
}

Test(pool, idling_is_counted_from_the_last_close)
{
	set_idle(1000);
	uint64_t cookie = use_and_close(1);

	for (int i = 0; i < 5; i++) {
		fake.now_ms += 900;
		cr_expect_eq(use_and_close(1), cookie);
	}
}

Test(pool, what_has_expired_is_closed_when_another_one_is_parked_or_connected)
{
	set_idle(1000);
	int fd = connected_to(3);
	use_and_close(1);
	fake.now_ms += 1001;
	exchange(fd);
	close_socket(fd);
	cr_expect_eq(discarded(DISCARDED_IDLE), 1);
	cr_expect_eq(pool.parked_count, 1);
	fake.now_ms += 1001;
	connected_to(2);
	cr_expect_eq(discarded(DISCARDED_IDLE), 2);
	cr_expect_eq(pool.parked_count, 0);
}

/* The clock is read before the lock is taken: another thread may park in between. */
Test(pool, one_that_was_parked_after_the_clock_was_read_has_not_expired)
{
	set_idle(1000);
	uint64_t cookie = use_and_close(1);

	fake.now_ms--;
	cr_expect(is_reused_by(open_socket(), cookie));
	cr_expect_eq(discarded_in_all(), 0);
}

/* ---- the lease ---- */

static void set_lease(long lease_ms)
{
	struct settings settings = settings_default();

	settings.point.lease_ms = lease_ms;
	settings.point.idle_ms = -1;
	pool_with(settings);
}

Test(pool, a_lease_of_zero_closes_after_every_use)
{
	set_lease(0);
	use_and_close(1);
	cr_expect_eq(refused(REFUSED_LEASE), 1);
	cr_expect_eq(pool.parked_count, 0);
}

Test(pool, a_lease_of_minus_one_is_never_over)
{
	set_lease(-1);
	uint64_t cookie = use_and_close(1);

	fake.now_ms += 10ULL * 365 * 24 * 3600 * 1000;
	cr_expect_eq(use_and_close(1), cookie);
}

/* Sockets of the fake system have cookies whose leases are just as long as the setting says. */
Test(pool, a_lease_is_looked_at_when_a_connection_is_to_be_handed_out)
{
	set_lease(1000);
	uint64_t cookie = use_and_close(1);

	fake.now_ms += 999;
	cr_expect_eq(use_and_close(1), cookie);
	fake.now_ms += 1;
	cr_expect_neq(use_and_close(1), cookie);
	cr_expect_eq(discarded(DISCARDED_LEASE), 1);
}

Test(pool, a_lease_is_looked_at_when_a_connection_comes_back_and_never_cuts_a_use_short)
{
	set_lease(1000);
	int fd = connected_to(1);

	fake.now_ms += 5000;
	exchange(fd);
	connected_to(1);
	cr_expect(fake_is_open(fd));
	cr_expect_eq(connection_state(connection_on(fd)), CONNECTION_LIVE);
	close_socket(fd);
	cr_expect_eq(refused(REFUSED_LEASE), 1);
}

Test(pool, a_lease_runs_from_the_beginning_and_not_from_the_last_use)
{
	set_lease(1000);
	uint64_t cookie = use_and_close(1);

	fake.now_ms += 600;
	cr_expect_eq(use_and_close(1), cookie);
	fake.now_ms += 600;
	cr_expect_neq(use_and_close(1), cookie);
}

/* A connection that differs from others in nothing but its cookie is parked after so long. */
static bool is_parked_at_age(uint64_t cookie, uint64_t age)
{
	fake.last_cookie = cookie - 21;
	int fd = connected_to(1);
	uint64_t before = pool.stats.parked;

	cr_assert_eq(cookie_on(fd), cookie);
	exchange(fd);
	fake.now_ms += age;
	close_socket(fd);
	bool parked = pool.stats.parked > before;
	pool_drop(&pool);
	return parked;
}

Test(pool, a_lease_is_a_tenth_shorter_or_longer_at_most_and_not_the_same_for_all)
{
	unsigned shorter = 0, longer = 0;

	set_lease(1000);
	for (uint64_t cookie = 1000; cookie < 1050; cookie++) {
		cr_expect(is_parked_at_age(cookie, 899), "%lu", cookie);
		cr_expect_not(is_parked_at_age(cookie, 1100), "%lu", cookie);
		shorter += !is_parked_at_age(cookie, 950);
		longer += is_parked_at_age(cookie, 1050);
	}
	cr_expect_gt(shorter, 5);
	cr_expect_gt(longer, 5);
}

Test(pool, one_that_was_made_after_the_clock_was_read_still_has_its_lease)
{
	set_lease(1000);
	uint64_t cookie = use_and_close(1);

	fake.now_ms--;
	cr_expect(is_reused_by(open_socket(), cookie));
	cr_expect_eq(discarded_in_all(), 0);
}

Test(pool, a_connection_retires_after_max_uses)
{
	struct settings settings = settings_default();

	settings.point.uses = 3;
	pool_with(settings);
	uint64_t cookie = use_and_close(1);
	cr_expect_eq(use_and_close(1), cookie);
	cr_expect_eq(refused(REFUSED_USES), 0);
	cr_expect_eq(use_and_close(1), cookie);
	cr_expect_eq(refused(REFUSED_USES), 1);
	cr_expect_neq(use_and_close(1), cookie);
}

/* ---- evicting ---- */

Test(pool, evicting_closes_a_parked_connection_and_no_other)
{
	int fd = connected_to(1);
	struct connection *connection = connection_on(fd);

	exchange(fd);
	pool_evict(&pool, connection, atomic_load(&connection->hidden));
	cr_expect(fake_is_open(fd), "it is live");
	close_socket(fd);
	use_and_close(2);
	pool_evict(&pool, connection, atomic_load(&connection->hidden));
	cr_expect_eq(pool.parked_count, 1);
	cr_expect_eq(discarded(DISCARDED_DROPPED), 1);
	pool_evict(&pool, connection, atomic_load(&connection->hidden));
	cr_expect_eq(discarded(DISCARDED_DROPPED), 1, "it is gone already");
}

Test(pool, dropping_closes_all_that_are_parked_and_none_that_are_live)
{
	int live = connected_to(9);

	for (unsigned i = 0; i < 20; i++)
		use_and_close(i);
	cr_assert_eq(pool.parked_count, 20);
	pool_drop(&pool);
	cr_expect_eq(pool.parked_count, 0);
	cr_expect_eq(fake_hidden_count(), 0);
	cr_expect_eq(discarded(DISCARDED_DROPPED), 20);
	cr_expect(fake_is_open(live));
}

/* ---- memory ---- */

Test(pool, the_memory_of_connections_is_used_again)
{
	set_idle(0);
	use_and_close(1);
	char *next = pool.slab.next;
	for (unsigned i = 0; i < 1000; i++)
		use_and_close(1);
	cr_expect_eq(pool.slab.next, next);
	cr_expect_eq(fake.calls[FAKE_MAP], 1);
}

Test(pool, a_socket_that_is_never_connected_is_not_counted_as_refused)
{
	int fd = open_socket();

	close_socket(fd);
	cr_expect_eq(refused(REFUSED_NOT_CONNECTED), 0);
	cr_expect_not(fake_is_open(fd));
}

/* A program that opens, uses and closes four connections, in a world in which every allocation
 * after the first few fails. */
static void live_without_memory(unsigned allocations)
{
	struct settings settings = settings_default();

	settings.max_service_points = 0;
	pool_with(settings);
	fake.error[FAKE_MAP] = 1;
	fake.skip[FAKE_MAP] = allocations;
	for (unsigned i = 0; i < 1000; i++) {
		int fd = open_socket();
		if (!connection_on(fd)) {
			fake_close(fd);
			continue;
		}
		connect_socket(fd, endpoint_number(i / 2));
		exchange(fd);
		close_socket(fd);
		cr_assert_not(fake_is_open(fd));
	}
	pool_drop(&pool);
	expect_books_in_order();
}

Test(pool, runs_on_wherever_memory_ends)
{
	live_without_memory(0);
	cr_expect_null(pool_adopt(&pool, AF_INET, pool_fork_epoch(&pool)));
	for (unsigned allocations = 1; allocations < 12; allocations++) {
		live_without_memory(allocations);
		cr_expect_neq(pool.stats.parked, 0);
		fake.error[FAKE_MAP] = 0;
		pool_adopt(&pool, AF_INET, pool_fork_epoch(&pool));
		cr_expect_not_null(
			pool_adopt(&pool, AF_INET, pool_fork_epoch(&pool)), "memory came back");
	}
}

/* Memory for connections, but none for service points, of any size. */
Test(pool, an_endpoint_without_memory_for_its_service_point_is_served_unpooled)
{
	int fds[20];

	for (size_t i = 0; i < COUNT(fds); i++)
		fds[i] = open_socket();
	fake.error[FAKE_MAP] = 1;
	pool.slab.next = pool.slab.end;
	for (size_t i = 0; i < COUNT(fds); i++) {
		cr_expect_eq(connect_socket(fds[i], endpoint_number(1)), TAKEN_NONE);
		exchange(fds[i]);
		cr_expect_eq(close_socket(fds[i]), 0);
	}
	cr_expect_eq(pool.parked_count, 0);
	cr_expect_eq(pool.points.count, 0);
}

/* ---- statistics ---- */

static const char *json_of(bool *whole)
{
	static char data[4096];
	struct text text = {.data = data, .size = sizeof(data) - 1};

	*whole = pool_add_json(&pool, &text);
	cr_assert_not(text.cut);
	data[text.len] = '\0';
	return data;
}

Test(pool, tells_its_service_points_as_json_the_latest_used_first)
{
	bool whole;
	const struct endpoint six = {
		.family = AF_INET6, .address = {[15] = 1}, .port = htons(8080)};
	int fd = open_socket_of(AF_INET6);

	connect_socket(fd, six);
	use_and_close(1);
	use_and_close(1);
	cr_expect_str_eq(json_of(&whole),
		"\"connects\":3,\"opened\":2,\"reused\":1,\"waited\":0,\"over_limit\":0,\"parked\":"
		"2,\"reset\":0,\"deferred\":0,\"carried_out\":0,\"replayed\":0,\"slipped_in\":0,"
		"\"failed\":0,\"quarantined\":0,\"discarded\":{},"
		"\"refused\":{},\"service_points\":["
		"{\"host\":\"10.0.0.1\",\"address\":\"10.0.0.1\",\"port\":80,"
		"\"protocol\":\"http\",\"opened\":1,\"reused\":1,"
		"\"parked\":1,\"in_use\":0,"
		"\"keeps_ms\":0,\"quarantined_ms\":0,\"habit\":false},"
		"{\"host\":\"::1\",\"address\":\"::1\",\"port\":8080,"
		"\"protocol\":\"unknown\",\"opened\":1,\"reused\":0,"
		"\"parked\":0,\"in_use\":1,"
		"\"keeps_ms\":0,\"quarantined_ms\":0,\"habit\":false}]");
	cr_expect(whole);
}

Test(pool, tells_what_it_has_learned_of_a_server_as_json)
{
	static const struct {
		unsigned deaths;
		uint64_t later_ms;
		const char *said;
	} rows[] = {
		{1, 0, "\"keeps_ms\":4000,\"quarantined_ms\":1000,\"habit\":false}]"},
		{2, 400, "\"keeps_ms\":4000,\"quarantined_ms\":600,\"habit\":false}]"},
		{3, 0, "\"keeps_ms\":4000,\"quarantined_ms\":1000,\"habit\":true}]"},
		{3, 1000, "\"keeps_ms\":4000,\"quarantined_ms\":0,\"habit\":true}]"},
		{3, 600000, "\"keeps_ms\":0,\"quarantined_ms\":0,\"habit\":false}]"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		bool whole;
		pool_with(settings_default());
		use_and_close(1);
		for (unsigned n = 0; n < rows[i].deaths; n++) {
			fake.now_ms += 1000;
			learning_death(&pool.points.used->learning, 5000, fake.now_ms);
		}
		learning_failure(&pool.points.used->learning, fake.now_ms);
		fake.now_ms += rows[i].later_ms;
		cr_expect_not_null(
			strstr(json_of(&whole), rows[i].said), "%zu: %s", i, json_of(&whole));
	}
}

Test(pool, tells_no_service_points_when_there_are_none)
{
	bool whole;

	cr_expect_str_eq(json_of(&whole),
		"\"connects\":0,\"opened\":0,\"reused\":0,\"waited\":0,"
		"\"over_limit\":0,\"parked\":0,"
		"\"reset\":0,\"deferred\":0,\"carried_out\":0,\"replayed\":0,\"slipped_in\":0,"
		"\"failed\":0,\"quarantined\":0,"
		"\"discarded\":{},\"refused\":{},\"service_points\":[]");
	cr_expect(whole);
}

Test(pool, tells_its_counters_without_the_lock_and_says_what_is_missing)
{
	bool whole;

	use_and_close(1);
	lock_break(&pool.lock);
	cr_expect_str_eq(json_of(&whole),
		"\"connects\":1,\"opened\":1,\"reused\":0,\"waited\":0,"
		"\"over_limit\":0,\"parked\":1,"
		"\"reset\":0,\"deferred\":0,\"carried_out\":0,\"replayed\":0,\"slipped_in\":0,"
		"\"failed\":0,\"quarantined\":0,"
		"\"discarded\":{},\"refused\":{},\"service_points\":[]");
	cr_expect_not(whole);
}

/* ---- the process around it ---- */

Test(pool, room_is_made_by_those_parked_longest)
{
	uint64_t cookies[3];

	for (unsigned i = 0; i < 3; i++)
		cookies[i] = use_and_close(i + 1);
	cr_expect_eq(pool_make_room(&pool, 2), 2);
	cr_expect_eq(discarded(DISCARDED_EVICTED), 2);
	cr_expect_eq(fake_hidden_count(), 1);
	cr_expect_eq(use_and_close(3), cookies[2]);
	cr_expect_neq(use_and_close(1), cookies[0]);
	cr_expect_eq(pool_make_room(&pool, 100), 2);
	cr_expect_eq(pool_make_room(&pool, 100), 0, "there is no more to give");
	cr_expect_eq(fake_hidden_count(), 0);
}

Test(pool, a_lower_limit_closes_those_beyond_and_holds_from_then_on)
{
	for (unsigned i = 1; i <= 4; i++)
		use_and_close(i);
	pool_set_parked_most(&pool, 2);
	cr_expect_eq(pool.parked_count, 2);
	cr_expect_eq(discarded(DISCARDED_EVICTED), 2);
	use_and_close(5);
	cr_expect_eq(pool.parked_count, 2);
	pool_set_parked_most(&pool, 4);
	use_and_close(6);
	cr_expect_eq(pool.parked_count, 3);
}

Test(pool, other_credentials_close_what_is_parked_and_what_is_open_is_not_parked)
{
	uint64_t cookie = use_and_close(1);
	int fd = connected_to(2);

	exchange(fd);
	pool_change_credentials(&pool);
	cr_expect_eq(pool.parked_count, 0);
	cr_expect_eq(discarded(DISCARDED_DROPPED), 1);
	close_socket(fd);
	cr_expect_eq(pool.parked_count, 0);
	cr_expect_eq(refused(REFUSED_CREDENTIALS), 1);
	cr_expect_neq(use_and_close(1), cookie);
	cr_expect_eq(pool.parked_count, 1, "what is opened afterwards is the new user's");
}

/* As from a signal handler that interrupted the pool. */
Test(pool, other_credentials_keep_what_is_parked_from_use_also_without_the_lock)
{
	uint64_t cookie = use_and_close(1);

	cr_assert(fake_acquire(&pool.lock));
	pool_change_credentials(&pool);
	fake_release(&pool.lock);
	cr_expect_eq(pool.parked_count, 1);
	int fd = open_socket();
	cr_expect_not(is_reused_by(fd, cookie));
	cr_expect_eq(discarded(DISCARDED_DROPPED), 1);
}

Test(pool, turned_off_it_parks_and_gives_nothing)
{
	uint64_t cookie = use_and_close(1);
	int fd = connected_to(2);

	exchange(fd);
	pool_turn_off(&pool);
	cr_expect_eq(fake_hidden_count(), 0);
	/* A close() that was on its way when it happened. */
	close_socket(fd);
	cr_expect_eq(fake_hidden_count(), 0);
	cr_expect_eq(pool.parked_count, 0);
	cr_expect_neq(use_and_close(1), cookie);
	cr_expect_eq(pool.stats.reused, 0);
}

/* Turns at a service point's limit: who waits, who is next, and who lets whom pass. */
#include "tests/unit/program.h"

#include "pool/manager.h"

#include <fcntl.h>

static void limit_to(long limit)
{
	struct settings settings = settings_default();

	settings.point.limit = limit;
	pool_with(settings);
}

static void check_books(void)
{
	expect_books_in_order();
}

TestSuite(turn, .fini = check_books);

/* While it is in use. */
static void lower_or_raise_to(long limit)
{
	const struct rule rule = {.keys = UINT32_MAX, .values = pool.settings.point};
	struct rule changed = rule;

	changed.values.limit = limit;
	cr_assert_eq(manager_set(&pool, &changed), 1);
}

static struct caller call_connect(void)
{
	return call_connect_to(open_socket(), endpoint_number(1));
}

static bool was_woken(const struct caller *caller)
{
	return fake.last_woken == &caller->call.connection->turn;
}

static struct caller call_that_waits(void)
{
	struct caller caller = call_connect();

	cr_assert_eq(caller.taken, TAKEN_LIMITED);
	cr_expect_eq(caller.call.connection->may_wait_ms, 100000);
	return caller;
}

Test(turn, without_a_limit_nobody_waits)
{
	limit_to(0);
	for (int i = 0; i < 20; i++)
		cr_expect_eq(call_connect().taken, TAKEN_NONE);
	cr_expect_eq(pool.stats.waited, 0);
}

Test(turn, at_the_limit_a_connect_waits_and_gets_what_is_parked)
{
	limit_to(1);
	int fd = connected_to(1);
	uint64_t cookie = cookie_on(fd);
	struct caller caller = call_that_waits();

	cr_expect_eq(fake.calls[FAKE_WAKE_ALL], 0);
	finish(fd);
	cr_expect_eq(fake.calls[FAKE_WAKE_ALL], 1);
	cr_expect(was_woken(&caller));
	try_again(&caller);
	cr_expect_eq(caller.taken, TAKEN_DONE);
	cr_expect_eq(cookie_on(caller.fd), cookie);
	cr_expect_eq(pool.stats.waited, 1);
	cr_expect_eq(pool.points.used->in_use, 1);
}

Test(turn, it_gets_the_place_of_one_that_was_closed_for_real)
{
	limit_to(1);
	int fd = connected_to(1);
	struct caller caller = call_that_waits();

	close_socket(fd);
	cr_expect_eq(fake.calls[FAKE_WAKE_ALL], 1);
	try_again(&caller);
	cr_expect_eq(caller.taken, TAKEN_NONE);
}

Test(turn, first_come_first_served_and_nobody_comes_in_between)
{
	limit_to(1);
	int fd = connected_to(1);
	struct caller first = call_that_waits(), second = call_that_waits();

	finish(fd);
	cr_expect(was_woken(&first));
	cr_expect_eq(fake.calls[FAKE_WAKE_ALL], 1, "one place, one turn");
	struct caller third = call_that_waits();
	try_again(&second);
	cr_expect_eq(second.taken, TAKEN_LIMITED, "it is not its turn yet");
	try_again(&first);
	cr_expect_eq(first.taken, TAKEN_DONE);
	finish(first.fd);
	cr_expect(was_woken(&second));
	try_again(&second);
	finish(second.fd);
	cr_expect(was_woken(&third));
	try_again(&third);
	cr_expect_eq(third.taken, TAKEN_DONE);
	cr_expect_eq(pool.stats.opened, 1);
}

Test(turn, one_whose_time_is_over_lets_the_next_one_pass)
{
	limit_to(1);
	int fd = connected_to(1);
	struct caller first = call_that_waits(), second = call_that_waits();

	cr_expect(pool_stop_waiting(&pool, first.call));
	cr_expect_not(pool_stop_waiting(&pool, first.call));
	finish(fd);
	cr_expect(was_woken(&second));
	try_again(&second);
	cr_expect_eq(second.taken, TAKEN_DONE);
	connection_leave(first.call);
	close_socket(first.fd);
}

Test(turn, one_whose_turn_came_too_late_hands_it_on)
{
	limit_to(1);
	int fd = connected_to(1);
	struct caller first = call_that_waits(), second = call_that_waits();

	finish(fd);
	cr_expect_not(pool_stop_waiting(&pool, first.call), "its turn came just before");
	pool_give_up_turn(&pool, first.call);
	cr_expect(was_woken(&second));
	pool_give_up_turn(&pool, first.call);
	try_again(&second);
	cr_expect_eq(second.taken, TAKEN_DONE);
	connection_leave(first.call);
	close_socket(first.fd);
	cr_expect_eq(pool.points.used->in_use, 1);
}

Test(turn, a_socket_that_another_thread_closes_does_not_wait_any_more)
{
	limit_to(1);
	int fd = connected_to(1);
	struct caller first = call_that_waits(), second = call_that_waits();
	struct connection *fresh = first.call.connection;

	cr_assert(connection_displaced(fresh, first.fd));
	pool_release(&pool, fresh);
	cr_expect_eq(fake.last_woken, &fresh->turn, "it is told");
	cr_expect_not(pool_stop_waiting(&pool, first.call));
	fake.descriptors[first.fd].connection = NULL;
	finish(fd);
	cr_expect(was_woken(&second));
	try_again(&second);
	cr_expect_eq(second.taken, TAKEN_DONE);
}

Test(turn, a_non_blocking_connect_is_let_through_and_counted)
{
	limit_to(1);
	connected_to(1);
	int fd = open_socket();

	fake_os.set_status_flags(fd, O_RDWR | O_NONBLOCK);
	cr_expect_eq(connect_socket(fd, endpoint_number(1)), TAKEN_NONE);
	cr_expect_eq(pool.stats.over_limit, 1);
	cr_expect_eq(pool.points.used->in_use, 2);
	cr_expect_eq(connected_to(2) >= 0, true, "another service point has a limit of its own");
}

Test(turn, a_parked_connection_that_does_not_fit_makes_room)
{
	limit_to(1);
	int fd = open_socket();

	set_option(fd, SOL_SOCKET, SO_RCVBUF, 4096);
	connect_socket(fd, endpoint_number(1));
	finish(fd);
	cr_expect_eq(pool.parked_count, 1);
	cr_expect_eq(call_connect().taken, TAKEN_NONE);
	cr_expect_eq(pool.parked_count, 0);
	cr_expect_eq(pool.stats.discarded[DISCARDED_LIMIT], 1);
}

Test(turn, lowering_the_limit_closes_idle_ones_at_once_and_busy_ones_when_they_are_released)
{
	int fds[3];

	limit_to(4);
	for (int i = 0; i < 3; i++)
		fds[i] = connected_to(1);
	use_and_close(1);
	cr_expect_eq(pool.parked_count, 1);
	lower_or_raise_to(2);
	cr_expect_eq(pool.parked_count, 0);
	finish(fds[0]);
	cr_expect_eq(pool.parked_count, 0);
	cr_expect_eq(pool.stats.discarded[DISCARDED_LIMIT], 2);
	finish(fds[1]);
	cr_expect_eq(pool.parked_count, 1);
}

Test(turn, raising_the_limit_gives_those_who_wait_their_turn)
{
	limit_to(1);
	connected_to(1);
	struct caller first = call_that_waits(), second = call_that_waits(),
		      third = call_that_waits();

	lower_or_raise_to(3);
	cr_expect_eq(fake.calls[FAKE_WAKE_ALL], 2);
	try_again(&first);
	try_again(&second);
	try_again(&third);
	cr_expect_eq(first.taken, TAKEN_NONE);
	cr_expect_eq(second.taken, TAKEN_NONE);
	cr_expect_eq(third.taken, TAKEN_LIMITED);
	cr_expect(pool_stop_waiting(&pool, third.call));
	connection_leave(third.call);
	close_socket(third.fd);
}

Test(turn, a_forked_child_waits_for_nobody)
{
	limit_to(1);
	connected_to(1);
	struct caller caller = call_that_waits();

	pool_prepare_fork(&pool);
	pool_after_fork_in_child(&pool);
	cr_expect_eq(caller.call.connection->turn, TURN_NONE);
	cr_expect_eq(connected_to(1) >= 0, true);
	cr_expect_eq(pool.points.used->in_use, 1);
}

Test(turn, one_that_gave_up_its_turn_counts_nowhere)
{
	limit_to(1);
	int fd = connected_to(1);
	struct caller caller = call_that_waits();

	finish(fd);
	cr_expect_not(pool_stop_waiting(&pool, caller.call));
	pool_give_up_turn(&pool, caller.call);
	cr_expect_null(caller.call.connection->opened_counters[1]);
	cr_expect_null(caller.call.connection->point);
	connection_leave(caller.call);
	close_socket(caller.fd);
}

Test(turn, one_that_is_let_through_is_counted_over_the_limit)
{
	limit_to(1);
	connected_to(1);
	struct caller caller = call_that_waits();

	pool_let_through(&pool, caller.call);
	try_again(&caller);
	cr_expect_eq(caller.taken, TAKEN_NONE);
	cr_expect_eq(pool.stats.over_limit, 1);
	cr_expect_eq(pool.points.used->in_use, 2);
}

Test(turn, the_sockets_own_time_is_the_shorter_one)
{
	const struct timeval short_time = {.tv_usec = 300500}, long_time = {.tv_sec = 1000};
	const struct {
		struct timeval time;
		long ms;
		bool own;
	} rows[] = {{short_time, 301, true}, {long_time, 100000, false}, {{0}, 100000, false}};

	limit_to(1);
	connected_to(1);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct caller caller = {.fd = open_socket(), .to = endpoint_number(1)};
		caller.call = connection_enter(connection_on(caller.fd));
		cr_assert_not(connection_set_option(
			caller.call, SOL_SOCKET, SO_SNDTIMEO, &rows[i].time, sizeof(rows[i].time)));
		try_again(&caller);
		cr_expect_eq(caller.taken, TAKEN_LIMITED);
		cr_expect_eq(caller.call.connection->may_wait_ms, rows[i].ms);
		cr_expect_eq(caller.call.connection->own_time, rows[i].own);
		cr_expect(pool_stop_waiting(&pool, caller.call));
		connection_leave(caller.call);
		close_socket(caller.fd);
	}
}

Test(turn, one_that_is_shut_down_is_told)
{
	limit_to(1);
	connected_to(1);
	struct caller caller = call_that_waits();

	cr_expect(pool_shut_down_waiting(&pool, caller.call));
	cr_expect(was_woken(&caller));
	cr_expect_eq(caller.call.connection->turn, TURN_STOPPED);
	cr_expect_not(pool_shut_down_waiting(&pool, caller.call));
	connection_leave(caller.call);
	close_socket(caller.fd);
	cr_expect_eq(pool.points.used->waiting_count, 0);
}

Test(turn, nobody_waits_for_a_pool_that_is_off)
{
	enum { COUNT = 40 };
	struct caller callers[COUNT];

	limit_to(1);
	connected_to(1);
	for (int i = 0; i < COUNT; i++)
		callers[i] = call_that_waits();
	pool_turn_off(&pool);
	cr_expect_eq(fake.calls[FAKE_WAKE_ALL], COUNT);
	for (int i = 0; i < COUNT; i++) {
		cr_expect_eq(callers[i].call.connection->turn, TURN_NONE);
		try_again(&callers[i]);
		cr_expect_eq(callers[i].taken, TAKEN_NONE);
	}
}

Test(turn, many_turns_at_once_are_handed_on_by_those_who_have_one)
{
	enum { COUNT = 40 };
	struct caller callers[COUNT];

	limit_to(1);
	connected_to(1);
	for (int i = 0; i < COUNT; i++)
		callers[i] = call_that_waits();
	lower_or_raise_to(COUNT + 1);
	cr_expect_lt(fake.calls[FAKE_WAKE_ALL], COUNT);
	for (int i = 0; i < COUNT; i++) {
		cr_expect_eq(callers[i].call.connection->turn, TURN_COME, "%d", i);
		try_again(&callers[i]);
		cr_expect_eq(callers[i].taken, TAKEN_NONE);
	}
	cr_expect_eq(fake.calls[FAKE_WAKE_ALL], COUNT);
}

Test(turn, a_socket_that_was_refused_may_connect_elsewhere)
{
	limit_to(1);
	int fd = open_socket();
	struct call call = connection_enter(connection_on(fd));
	struct endpoint one = endpoint_number(1), two = endpoint_number(2);

	cr_assert(connection_begin_connect(call));
	cr_expect_eq(pool_take(&pool, call.connection, fd, &one), TAKEN_NONE);
	cr_expect_eq(pool_take(&pool, call.connection, fd, &two), TAKEN_NONE);
	cr_assert_not(connection_end_connect(call));
	cr_expect_eq(pool.points.used->in_use, 1);
	cr_expect_eq(endpoint_port(&pool.points.used->endpoint), endpoint_port(&two));
	cr_expect_eq(pool.points.used->next->in_use, 0);
	pool_dissolve(&pool, call);
	cr_expect_eq(pool.points.used->in_use, 0);
	connection_leave(call);
	close_socket(fd);
}

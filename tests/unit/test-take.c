/* connect(): what a parked connection must be like, and what is made of it. */
#include "tests/unit/program.h"

#include <errno.h>
#include <fcntl.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static void setup(void)
{
	pool_with(settings_default());
}

TestSuite(take, .init = setup);

/* The hidden number of the connection that was parked last. */
static int hidden_number(void)
{
	cr_assert_not_null(pool.parked);
	return atomic_load(&pool.parked->hidden);
}

/* Two connections, parked one after the other: the cookie of the older one. */
static uint64_t park_two(void)
{
	int older = connected_to(1), newer = connected_to(1);
	uint64_t cookie = cookie_on(older);

	exchange(older);
	exchange(newer);
	close_socket(older);
	close_socket(newer);
	return cookie;
}

/* ---- proof before reuse ---- */

Test(take, what_is_not_quiet_is_discarded_and_the_next_one_is_tried)
{
	static const struct {
		const char *claim;
		int peek;
		enum discard expected;
	} rows[] = {
		{"the peer's end of file", 0, DISCARDED_DEAD},
		{"a reset", -ECONNRESET, DISCARDED_DEAD},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		pool_with(settings_default());
		uint64_t older = park_two();
		fake_socket_on(hidden_number())->peek = rows[i].peek;
		int fd = open_socket();
		cr_expect(is_reused_by(fd, older), "%s", rows[i].claim);
		cr_expect_eq(discarded(rows[i].expected), 1, "%s", rows[i].claim);
		cr_expect_eq(discarded_in_all(), 1, "%s", rows[i].claim);
		cr_expect_eq(fake_hidden_count(), 0, "%s", rows[i].claim);
		expect_books_in_order();
	}
}

Test(take, who_speaks_unasked_is_not_trusted_for_a_while)
{
	park_two();
	fake_socket_on(hidden_number())->peek = 1;
	int fd = open_socket();
	cr_expect_eq(connect_socket(fd, endpoint_number(1)), TAKEN_NONE);
	cr_expect_eq(discarded(DISCARDED_UNSOLICITED), 1);
	cr_expect_eq(pool.stats.quarantined, 1);
	fake.now_ms += LEARNING_QUARANTINE_FIRST;
	fd = open_socket();
	cr_expect_eq(connect_socket(fd, endpoint_number(1)), TAKEN_DONE, "a second later");
}

Test(take, where_none_is_quiet_the_connection_is_a_real_one)
{
	park_two();
	fake_socket_on(hidden_number())->peek = 0;
	fake_socket_on(atomic_load(&pool.parked->next->hidden))->peek = 1;
	int fd = open_socket();
	cr_expect_eq(connect_socket(fd, endpoint_number(1)), TAKEN_NONE);
	cr_expect_eq(pool.parked_count, 0);
	cr_expect_eq(pool.stats.opened, 3);
	cr_expect_eq(pool.stats.reused, 0);
	cr_expect_eq(connection_on(fd)->point->in_use, 1);
	exchange(fd);
	close_socket(fd);
	cr_expect_eq(pool.points.used->in_use, 0);
	expect_books_in_order();
}

Test(take, a_hidden_number_that_is_another_socket_is_neither_used_nor_closed)
{
	uint64_t older = park_two();
	int hidden = hidden_number();

	fake_replace(hidden);
	uint64_t stranger = cookie_on(hidden);
	cr_expect(is_reused_by(open_socket(), older));
	cr_expect_eq(discarded(DISCARDED_IDENTITY), 1);
	cr_assert(fake_is_open(hidden));
	cr_expect_eq(cookie_on(hidden), stranger);
	cr_expect_null(connection_on(hidden));
}

Test(take, a_hidden_number_that_was_closed_is_not_closed_again)
{
	uint64_t older = park_two();

	fake_close(hidden_number());
	cr_expect(is_reused_by(open_socket(), older));
	cr_expect_eq(discarded(DISCARDED_IDENTITY), 1);
	cr_expect_eq(fake.calls[FAKE_DISCARD], 0);
}

Test(take, eviction_does_not_close_a_number_that_is_another_socket)
{
	use_and_close(1);
	int hidden = hidden_number();
	struct connection *connection = pool.parked;

	fake_replace(hidden);
	pool_evict(&pool, connection, atomic_load(&connection->hidden));
	cr_expect(fake_is_open(hidden));
	cr_expect_eq(pool.parked_count, 0);
	cr_expect_eq(fake.calls[FAKE_DISCARD], 0);
	cr_expect_eq(fake.calls[FAKE_LOSE], 1);
}

/* ---- made like the fresh socket ---- */

Test(take, status_flags_and_close_on_exec_are_those_of_the_fresh_socket)
{
	static const struct {
		int parked_flags, fresh_flags, close_on_exec;
	} rows[] = {
		{O_RDWR, O_RDWR | O_NONBLOCK, 0},
		{O_RDWR | O_NONBLOCK, O_RDWR, FD_CLOEXEC},
		{O_RDWR | O_NONBLOCK, O_RDWR | O_NONBLOCK, FD_CLOEXEC},
		{O_RDWR, O_RDWR, 0},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		uint64_t cookie = use_and_close(1);
		fake_socket_on(hidden_number())->status_flags = rows[i].parked_flags;
		int fd = open_socket();
		fake_socket_on(fd)->status_flags = rows[i].fresh_flags;
		fake.descriptors[fd].flags = rows[i].close_on_exec;
		cr_expect(is_reused_by(fd, cookie));
		cr_expect_eq(fake_socket_on(fd)->status_flags, rows[i].fresh_flags);
		cr_expect_eq(fake.descriptors[fd].flags, rows[i].close_on_exec);
		close_socket(fd);
	}
}

Test(take, flags_that_are_alike_cost_no_system_call)
{
	use_and_close(1);
	connected_to(1);
	cr_expect_eq(fake.calls[FAKE_SET_STATUS_FLAGS], 0);
}

Test(take, options_are_set_and_undone)
{
	int fd = connected_to(1);
	uint64_t cookie = cookie_on(fd);

	set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	exchange(fd);
	close_socket(fd);
	fd = open_socket();
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	cr_assert(is_reused_by(fd, cookie));
	cr_expect_eq(fake_option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
	cr_expect_eq(fake_option(fd, SOL_SOCKET, SO_KEEPALIVE), FAKE_DEFAULT);
	close_socket(fd);
	fd = open_socket();
	cr_assert(is_reused_by(fd, cookie));
	cr_expect_eq(fake_option(fd, IPPROTO_TCP, TCP_NODELAY), 1, "lent");
}

Test(take, one_whose_fixed_options_do_not_fit_stays_parked_and_an_older_one_is_taken)
{
	int older = connected_to(1), newer = open_socket();
	uint64_t plain = cookie_on(older), special = cookie_on(newer);

	set_option(newer, SOL_SOCKET, SO_SNDBUF, 65536);
	connect_socket(newer, endpoint_number(1));
	exchange(older);
	exchange(newer);
	close_socket(older);
	close_socket(newer);
	cr_expect(is_reused_by(open_socket(), plain));
	cr_expect_eq(discarded_in_all(), 0);
	cr_expect_eq(connect_socket(open_socket(), endpoint_number(1)), TAKEN_NONE);
	int fd = open_socket();
	set_option(fd, SOL_SOCKET, SO_SNDBUF, 65536);
	cr_expect(is_reused_by(fd, special));
}

Test(take, one_that_cannot_be_made_alike_is_discarded_and_the_next_one_is_tried)
{
	static const struct {
		const char *claim;
		enum fake_call call;
		unsigned skip;
	} rows[] = {
		{"its options are not to be set", FAKE_SET_OPTION, 0},
		{"its flags are not to be had", FAKE_GET_STATUS_FLAGS, 1},
		{"its flags are not to be set", FAKE_SET_STATUS_FLAGS, 0},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		pool_with(settings_default());
		park_two();
		int fd = open_socket();
		set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
		fake_socket_on(fd)->status_flags |= O_NONBLOCK;
		fake.error[rows[i].call] = -EPERM;
		fake.skip[rows[i].call] = rows[i].skip;
		cr_expect_eq(
			connect_socket(fd, endpoint_number(1)), TAKEN_NONE, "%s", rows[i].claim);
		cr_expect_eq(discarded(DISCARDED_UNLIKE), 2, "%s", rows[i].claim);
		cr_expect_eq(pool.points.used->in_use, 1, "%s", rows[i].claim);
		fake.error[rows[i].call] = 0;
		expect_books_in_order();
	}
}

/* ---- what the program's own socket has against it ---- */

static void refuse_it(int fd)
{
	connection_refuse(connection_on(fd), REFUSED_DUPLICATED);
}

static void share_it(int fd)
{
	(void)fd;
	pool_shared_descriptors(&pool);
}

static void forget_its_watch(int fd)
{
	struct epoll_event event = {0};

	watch_socket(fd, 50, EPOLLIN, 0);
	cr_assert_eq(fake_os.watch(50, EPOLL_CTL_DEL, fd, &event), 0);
}

static void bind_it_to_another_family(int fd)
{
	connection_on(fd)->local.family = AF_INET6;
}

Test(take, a_socket_that_cannot_be_replaced_gets_a_real_connection_and_costs_no_parked_one)
{
	static const struct {
		const char *claim;
		void (*make)(int fd);
	} rows[] = {
		{"unpoolable", refuse_it},
		{"copied by a fork", share_it},
		{"in an epoll set that does not know it", forget_its_watch},
		{"bound to another family", bind_it_to_another_family},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		pool_with(settings_default());
		uint64_t parked = use_and_close(1);
		int fd = open_socket();
		rows[i].make(fd);
		cr_expect_eq(
			connect_socket(fd, endpoint_number(1)), TAKEN_NONE, "%s", rows[i].claim);
		cr_expect_eq(pool.parked_count, 1, "%s", rows[i].claim);
		cr_expect(is_reused_by(open_socket(), parked), "%s", rows[i].claim);
	}
}

Test(take, a_socket_that_signals_gets_a_real_connection_and_costs_no_parked_one)
{
	uint64_t parked = use_and_close(1);
	int fd = open_socket();

	fake_socket_on(fd)->status_flags |= O_ASYNC;
	cr_expect_eq(connect_socket(fd, endpoint_number(1)), TAKEN_NONE);
	cr_expect_eq(discarded_in_all(), 0);
	cr_expect(is_reused_by(open_socket(), parked));
}

/* ---- epoll ---- */

Test(take, the_programs_registrations_are_those_of_the_connection_then)
{
	uint64_t cookie = use_and_close(1);
	int fd = open_socket();

	watch_socket(fd, 50, EPOLLIN | EPOLLET, 5);
	watch_socket(fd, 51, EPOLLOUT, 6);
	cr_assert(is_reused_by(fd, cookie));
	cr_expect_eq(fake_registered(fake_socket_on(fd)), 2);
	close_socket(fd);
	cr_expect_eq(pool.parked_count, 1);
	cr_expect_eq(fake_registered(fake_socket_on(hidden_number())), 0);
}

/* ---- the number ---- */

Test(take, a_number_that_cannot_be_had_gets_a_real_connection)
{
	static const struct {
		const char *claim;
		enum fake_call call;
		int error;
	} rows[] = {
		{"closed meanwhile", FAKE_GET_DESCRIPTOR_FLAGS, -EBADF},
		{"beyond the limit meanwhile", FAKE_REVEAL, -EBADF},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		pool_with(settings_default());
		use_and_close(1);
		int fd = open_socket();
		fake.error[rows[i].call] = rows[i].error;
		cr_expect_eq(
			connect_socket(fd, endpoint_number(1)), TAKEN_NONE, "%s", rows[i].claim);
		fake.error[rows[i].call] = 0;
		cr_expect_eq(pool.stats.reused, 0, "%s", rows[i].claim);
		cr_expect_eq(pool.points.used->in_use, 1, "%s", rows[i].claim);
		cr_expect_eq(pool.points.used->reused, 0, "%s", rows[i].claim);
		expect_books_in_order();
		exchange(fd);
		close_socket(fd);
		cr_expect_eq(pool.points.used->in_use, 0, "%s", rows[i].claim);
	}
}

Test(take, a_number_on_which_another_thread_opened_something_is_left_to_it)
{
	use_and_close(1);
	int fd = open_socket();
	struct connection *fresh = connection_on(fd);
	struct call call = connection_enter(fresh);
	struct endpoint endpoint = endpoint_number(1);

	cr_assert(connection_begin_connect(call));
	fake.error[FAKE_EXCHANGE] = -ESTALE;
	cr_expect_eq(pool_take(&pool, fresh, fd, &endpoint), TAKEN_NONE);
	cr_expect_eq(pool.stats.reused, 0);
	cr_expect_eq(pool.points.used->in_use, 1, "fresh is still counted, and nothing else");
	cr_expect_eq(fake.calls[FAKE_CLOSE_NUMBER], 1, "that of use_and_close()");
	cr_expect_eq(fake.calls[FAKE_DISCARD], 0);
	expect_books_in_order();
}

/* ---- races ---- */

static int contested;

/* From the moment that it is on the number, another thread may close it. */
static void close_contested(void)
{
	fake.thread_id++;
	close_socket(contested);
	pool_drop(&pool);
	fake.thread_id--;
}

Test(take, another_thread_may_close_the_number_as_soon_as_the_connection_is_there)
{
	use_and_close(1);
	int fd = contested = open_socket();
	struct connection *fresh = connection_on(fd);
	struct call call = connection_enter(fresh);
	struct endpoint endpoint = endpoint_number(1);

	cr_assert(connection_begin_connect(call));
	fake.after[FAKE_EXCHANGE] = close_contested;
	cr_expect_eq(pool_take(&pool, fresh, fd, &endpoint), TAKEN_DONE);
	cr_expect_not(connection_end_connect(call));
	cr_expect(connection_displaced(fresh, fd));
	pool_release(&pool, fresh);
	cr_expect_not(fake_is_open(fd));
	cr_expect_eq(pool.points.used->in_use, 0);
	cr_expect_eq(pool.points.used->reused, 1);
	expect_books_in_order();
}

static uint64_t raced;

/* Between the look at the clock and the lock another thread parks a connection. */
static void park_meanwhile(void)
{
	fake.now_ms += 5;
	fake.thread_id++;
	raced = use_and_close(1);
	fake.thread_id--;
}

Test(take, what_another_thread_parks_just_now_is_taken)
{
	int fd = open_socket();

	fake.after[FAKE_NOW_MS] = park_meanwhile;
	cr_expect_neq(connect_socket(fd, endpoint_number(1)), TAKEN_NONE);
	cr_expect_eq(cookie_on(fd), raced);
}

Test(take, without_the_lock_the_connection_is_a_real_one_and_is_not_parked)
{
	int fd = open_socket();

	lock_break(&pool.lock);
	cr_expect_eq(connect_socket(fd, endpoint_number(1)), TAKEN_NONE);
	exchange(fd);
	cr_expect_eq(close_socket(fd), 0);
	cr_expect_not(fake_is_open(fd));
	cr_expect_eq(fake_hidden_count(), 0);
}

/* connect() in a signal handler that interrupted the pool. */
Test(take, a_thread_that_holds_the_lock_gets_a_real_connection_at_once)
{
	use_and_close(1);
	int fd = open_socket();
	fake.pool = NULL;
	cr_assert(fake_acquire(&pool.lock));
	cr_expect_eq(connect_socket(fd, endpoint_number(1)), TAKEN_NONE);
	exchange(fd);
	close_socket(fd);
	cr_expect_eq(fake.calls[FAKE_WAIT], 0);
	cr_expect_null(pool_adopt(&pool, AF_INET, pool_fork_epoch(&pool)));
	fake_release(&pool.lock);
	cr_expect_neq(connect_socket(open_socket(), endpoint_number(1)), TAKEN_NONE);
	cr_expect_null(pool.orphans, "what was given back without the lock is free again");
}

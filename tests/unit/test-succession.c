/* Another connection in the place of one that is on the program's number: how that is made,
 * whatever happens meanwhile. */
#include "tests/unit/renewal.h"

TestSuite(succession, .init = setup, .fini = check_books);

/* While the call waits: as a blocking socket does, and as a non-blocking one. */
static const enum fake_call waits[] = {FAKE_CONNECT_PATIENTLY, FAKE_AWAIT_CONNECTION};

/* ---- where no new one is to be had ---- */

Test(succession, what_a_new_connection_would_have_got_is_passed_on)
{
	static const int errors[] = {
		-ECONNREFUSED, -ETIMEDOUT, -EHOSTUNREACH, -ENETUNREACH, -EADDRNOTAVAIL, -EINTR};

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

Test(succession, an_address_that_is_not_there_any_more_is_an_error)
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

Test(succession, another_host_is_never_asked_for_on_the_old_one)
{
	int fd = reused();

	fake.error[FAKE_CONNECT] = -ECONNREFUSED;
	cr_expect_eq(send_text(fd, GET_OF("b")), -ECONNREFUSED);
	expect_sent(fd, "", "nothing");
	expect_counted(0, 0, 0);
}

/* There is no other to be had, and this one may be good all the same. */
Test(succession, what_does_not_fit_goes_on_where_no_socket_can_be_made)
{
	static const int errors[] = {-EMFILE, -ENFILE, -ENOBUFS, -ENOMEM, -EACCES, -EPERM, -EBUSY};
	static const char *const requests[] = {POST, GET_OF("b")};

	for (size_t i = 0; i < COUNT(errors) * COUNT(requests); i++) {
		const char *request = requests[i / COUNT(errors)];
		pool_with(settings_default());
		int fd = reused_after(60000);
		fake.error[FAKE_OPEN_HIDDEN] = errors[i % COUNT(errors)];
		cr_expect_gt(send_text(fd, request), 0);
		expect_sent(fd, request, "on the old one");
		cr_expect_not(fake_socket_on(fd)->shut_down);
		expect_counted(0, 0, 0);
		receive_answer(fd);
		expect_settled(fd);
	}
}

static void expect_that_it_has_ended(void)
{
	cr_expect(fake_socket_on(contested)->shut_down);
}

/* With the exchange: what it was for goes to the new one, or on where there is none to be had. */
Test(succession, what_does_not_fit_ends_when_there_is_a_new_one)
{
	static const int errors[] = {0, -ECONNREFUSED, -ETIMEDOUT, -ENOBUFS, -EPERM};
	static const char *const requests[] = {POST, GET_OF("b"), "PING\r\n"};

	for (size_t i = 0; i < COUNT(errors) * COUNT(requests); i++) {
		const char *request = requests[i / COUNT(errors)];
		int error = errors[i % COUNT(errors)];
		pool_with(settings_default());
		bool refused = error == -ECONNREFUSED || error == -ETIMEDOUT;
		int fd = reused_after(60000);
		fake.error[FAKE_CONNECT] = error;
		cr_expect_eq(send_text(fd, request), refused ? error : (long)strlen(request));
		cr_expect_eq(fake.calls[FAKE_CONNECT], 1);
		cr_expect_eq(fake.calls[FAKE_SHUT_DOWN], 0);
		expect_counted(!error, 0, 0);
		expect_sent(fd, refused ? "" : request, "request");
	}
}

static void leave_ended_call(void)
{
	expect_that_it_has_ended();
	connection_leave(other_call);
}

Test(succession, another_call_on_what_does_not_fit_is_made_to_return_first)
{
	int fd = contested = reused();

	other_call = connection_enter(connection_on(fd));
	fake.before[FAKE_CONNECT] = expect_that_it_has_ended;
	fake.after[FAKE_CONNECT] = leave_ended_call;
	cr_expect_gt(send_text(fd, GET_OF("b")), 0);
	cr_expect_eq(fake.calls[FAKE_SHUT_DOWN], 1);
	expect_sent(fd, GET_OF("b"), "on the new one");
	expect_counted(1, 0, 0);
}

Test(succession, what_is_dead_need_not_be_ended)
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

Test(succession, without_a_socket_to_be_had_the_kernel_speaks)
{
	static const int errors[] = {-EMFILE, -ENFILE, -ENOBUFS, -ENOMEM, -EACCES, -EPERM, -EBUSY};
	static const enum fake_call calls[] = {FAKE_OPEN_HIDDEN, FAKE_CONNECT};

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

static void let_open(void)
{
	fake.error[FAKE_OPEN_HIDDEN] = 0;
}

static void let_open_the_next_time(void)
{
	fake.before[FAKE_OPEN_HIDDEN] = let_open;
}

Test(succession, where_no_number_is_left_a_parked_one_makes_room)
{
	static const struct {
		int error;
		bool has_room;
	} rows[] = {{-EMFILE, true}, {-ENFILE, true}, {-ENOBUFS, false}};

	for (size_t i = 0; i < COUNT(rows); i++) {
		pool_with(settings_default());
		use_and_close(2);
		use_and_close(3);
		int fd = reused();
		kill_it(fd);
		fake.error[FAKE_OPEN_HIDDEN] = rows[i].error;
		if (rows[i].has_room)
			fake.before[FAKE_OPEN_HIDDEN] = let_open_the_next_time;
		cr_expect_eq(send_text(fd, GET), rows[i].has_room ? (long)sizeof(GET) - 1 : -EPIPE);
		cr_expect_eq(discarded(DISCARDED_EVICTED), rows[i].has_room, "one is enough");
		cr_expect_eq(pool.parked_count, rows[i].has_room ? 1 : 2);
		fake.error[FAKE_OPEN_HIDDEN] = 0;
		check_books();
	}
}

Test(succession, without_memory_for_a_copy_the_kernel_speaks)
{
	use_and_close(2);
	int other = connected_to(2), fd = reused();
	struct connection *none[100];
	unsigned count = 0;

	send_text(fd, request_of(60000));
	send_text(other, request_of(60000));
	cr_assert_eq(connection_risk(connection_on(other)), RISK_KEPT);
	kill_it(fd);
	fake.error[FAKE_MAP] = 1;
	cr_expect_eq(receive(fd), 0);
	cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 0);
	expect_counted(0, 0, 1);
	expect_settled(fd);
	/* Nor is there a connection to be had then. */
	forget_what_was_learned(fd);
	close_socket(fd);
	fake.error[FAKE_MAP] = 0;
	fd = reused();
	fake.error[FAKE_MAP] = 1;
	while (count < COUNT(none) && (none[count] = pool_adopt(&pool, AF_INET, 0)))
		count++;
	cr_assert_lt(count, COUNT(none));
	kill_it(fd);
	cr_expect_eq(send_text(fd, GET), -EPIPE);
	cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 0);
	while (count > 0)
		pool_release(&pool, none[--count]);
}

/* ---- what is sent again ---- */

Test(succession, a_new_connection_that_takes_little_at_a_time_gets_all_of_it)
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

Test(succession, what_the_new_connection_does_not_take_is_not_tried_again)
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
		cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 1);
		expect_counted(0, 0, 1);
		expect_settled(fd);
	}
}

/* ---- how long it waits ---- */

Test(succession, a_non_blocking_socket_waits_for_a_second_at_most)
{
	int fd = reused();

	make_non_blocking(fd);
	send_text(fd, GET);
	kill_it(fd);
	cr_expect_eq(receive(fd), -EAGAIN);
	cr_expect_eq(fake.calls[FAKE_AWAIT_CONNECTION], 1);
	cr_expect_eq(fake.awaited_ms, SUCCESSION_WAIT_MS);
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

Test(succession, a_blocking_socket_waits_as_its_own_connect_would)
{
	int fd = reused();

	send_text(fd, GET);
	kill_it(fd);
	cr_expect_eq(receive(fd), -EAGAIN);
	cr_expect_eq(fake.calls[FAKE_AWAIT_CONNECTION], 0);
	cr_expect_eq(fake_socket_on(fd)->status_flags, O_RDWR);
}

Test(succession, a_call_that_is_not_to_wait_does_for_a_second_to_send_again)
{
	int fd = reused();
	char room[10];

	send_text(fd, GET);
	kill_it(fd);
	struct call call = connection_enter(connection_on(fd));
	cr_expect_eq(receive_in_call(&call, fd, room, sizeof(room), true), -EAGAIN);
	connection_leave(call);
	cr_expect_eq(fake.awaited_ms, SUCCESSION_WAIT_MS);
	cr_expect_eq(fake_socket_on(fd)->status_flags, O_RDWR);
	expect_counted(0, 1, 0);
}

Test(succession, a_sockets_own_limits_hold)
{
	static const struct {
		const char *claim;
		long sends_ms, receives_ms, awaited_ms; /* 0: none */
	} rows[] = {
		{"SO_SNDTIMEO", 1500, 0, 1500},
		{"SO_RCVTIMEO", 0, 2500, 2500},
		{"the shorter one", 1500, 2500, 1500},
		{"the shorter one", 2500, 1500, 1500},
		{"a longer one than that of a non-blocking one", 60000, 0, 60000},
		{"none", 0, 0, 0},
	};

	for (size_t i = 0; i < COUNT(rows) * 2; i++) {
		long limits[] = {rows[i / 2].sends_ms, rows[i / 2].receives_ms};
		bool in_time = i % 2;
		pool_with(settings_default());
		int fd = reused();
		for (int k = 0; k < 2; k++) {
			struct timeval time = {limits[k] / 1000, limits[k] % 1000 * 1000};
			struct call call = connection_enter(connection_on(fd));
			int name = k == 0 ? SO_SNDTIMEO : SO_RCVTIMEO;
			if (limits[k] > 0)
				cr_assert_not(connection_set_option(
					call, SOL_SOCKET, name, &time, sizeof(time)));
			connection_leave(call);
		}
		send_text(fd, GET);
		kill_it(fd);
		fake.error[FAKE_AWAIT_CONNECTION] = in_time ? 0 : -ETIMEDOUT;
		bool waits_for_ever = rows[i / 2].awaited_ms == 0;
		cr_expect_eq(receive(fd), -EAGAIN, "%s", rows[i / 2].claim);
		cr_expect_eq(fake.awaited_ms, rows[i / 2].awaited_ms, "%s", rows[i / 2].claim);
		cr_expect_eq(fake.calls[FAKE_CONNECT_PATIENTLY], waits_for_ever);
		expect_counted(0, in_time || waits_for_ever, 0);
		/* The next call goes on with what this one has begun. */
		fake.error[FAKE_AWAIT_CONNECTION] = 0;
		cr_expect_eq(receive(fd), -EAGAIN);
		cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 1);
		expect_counted(0, 1, 0);
		expect_nobody_renews(connection_on(fd));
		cr_expect_eq(fake_hidden_count(), 0);
	}
}

Test(succession, a_signal_and_then_the_limit_are_an_interrupted_call)
{
	int fd = dead_of(FAKE_CONNECT_PATIENTLY);
	struct timeval time = {.tv_sec = 1};
	struct call call = connection_enter(connection_on(fd));

	cr_assert_not(connection_set_option(call, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)));
	connection_leave(call);
	fake.interrupts = true;
	fake.error[FAKE_AWAIT_CONNECTION] = -ETIMEDOUT;
	cr_expect_eq(receive(fd), -EINTR);
	expect_counted(0, 0, 0);
	/* The next call goes on with what this one has begun. */
	fake.interrupts = false;
	fake.error[FAKE_AWAIT_CONNECTION] = 0;
	cr_expect_eq(receive(fd), -EAGAIN);
	cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 1);
	expect_nobody_renews(connection_on(fd));
	expect_counted(0, 1, 0);
}

/* Nobody has called setsockopt() just now. */
Test(succession, an_option_that_cannot_be_set_is_no_error_of_the_programs)
{
	int fd = reused();

	set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	kill_it(fd);
	fake.error[FAKE_SET_OPTION] = -EINVAL;
	cr_expect_eq(send_text(fd, GET), -EPIPE);
	expect_counted(0, 0, 1);
	expect_settled(fd);
}

Test(succession, only_what_ends_its_limit_is_said_as_the_kernel_says_that)
{
	int fd = reused();
	struct timeval time = {.tv_sec = 1};
	struct call call = connection_enter(connection_on(fd));

	cr_assert_not(connection_set_option(call, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time)));
	connection_leave(call);
	send_text(fd, GET);
	kill_it(fd);
	fake.error[FAKE_AWAIT_CONNECTION] = -ECONNREFUSED;
	cr_expect_eq(receive(fd), -ECONNREFUSED);
}

/* Where signals come faster than a server can answer, each call would begin anew. */
Test(succession, a_call_that_is_interrupted_says_so_when_it_has_the_new_one)
{
	for (int limited = 0; limited <= 1; limited++) {
		pool_with(settings_default());
		int fd = dead_of(FAKE_CONNECT_PATIENTLY);
		uint64_t cookie = cookie_on(fd);
		const struct timeval limit = {.tv_sec = 30};
		if (limited) {
			struct call call = connection_enter(connection_on(fd));
			cr_assert_not(connection_set_option(
				call, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)));
			connection_leave(call);
		}
		fake.error[FAKE_CONNECT_PATIENTLY] = -EINTR;
		fake.interrupts = limited;
		cr_expect_eq(receive(fd), -EINTR, "%d", limited);
		cr_expect_neq(cookie_on(fd), cookie, "%d", limited);
		cr_expect_eq(receive(fd), -EAGAIN);
		expect_sent(fd, GET, "again");
		expect_counted(0, 1, 0);
		expect_settled(fd);
	}
}

/* ---- half closed ---- */

Test(succession, a_half_closed_connection_is_half_closed_again)
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

/* A socket that is connecting cannot be half closed. */
Test(succession, where_nothing_was_sent_a_half_closed_one_waits_for_its_connection)
{
	for (int non_blocking = 0; non_blocking <= 1; non_blocking++) {
		pool_with(settings_default());
		int fd = reused();
		uint64_t cookie = cookie_on(fd);
		if (non_blocking)
			make_non_blocking(fd);
		half_close(fd);
		kill_it(fd);
		cr_expect_eq(receive(fd), -EAGAIN);
		cr_expect_neq(cookie_on(fd), cookie);
		cr_expect_eq(fake_socket_on(fd)->info.tcpi_state, FAKE_ESTABLISHED);
		cr_expect(fake_socket_on(fd)->half_closed);
		cr_expect(connection_on(fd)->half_closed);
		cr_expect_eq(
			fake.calls[non_blocking ? FAKE_AWAIT_CONNECTION : FAKE_CONNECT_PATIENTLY],
			1);
		expect_counted(1, 0, 0);
		expect_settled(fd);
	}
}

static void half_close_in_other_call(void)
{
	half_close(contested);
	connection_leave(other_call);
}

Test(succession, one_that_is_half_closed_while_another_is_already_connecting_is_left_alone)
{
	int fd = contested = reused();
	uint64_t cookie = cookie_on(fd);

	kill_it(fd);
	other_call = connection_enter(connection_on(fd));
	fake.calls[FAKE_YIELD] = 0;
	fake.before[FAKE_YIELD] = half_close_in_other_call;
	cr_expect_eq(receive(fd), 0);
	cr_expect_eq(cookie_on(fd), cookie);
	cr_expect_eq(fake.calls[FAKE_YIELD], 1);
	cr_expect_eq(fake.calls[FAKE_CONNECT], 1);
	expect_settled(fd);
}

Test(succession, one_that_cannot_be_half_closed_again_is_not_used)
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

Test(succession, one_that_was_shut_down_in_any_other_way_stays_so)
{
	int fd = reused();

	send_text(fd, GET);
	connection_refuse(connection_on(fd), REFUSED_SHUTDOWN);
	kill_it(fd);
	cr_expect_eq(receive(fd), 0);
	cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 0);
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
	{"it has another number", duplicate_it},
	{"the process is another user", change_user},
	{"the pool is off", turn_off},
	{"it sends signals", ask_for_signals},
};

Test(succession, what_others_have_or_know_is_not_replaced)
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
			cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 0, "%s", obstacles[i].claim);
			expect_counted(0, 0, 1);
			expect_settled(fd);
		}
	}
}

Test(succession, whatever_the_program_has_done_that_refuses_it_keeps_it_from_being_renewed)
{
	for (int refusal = 1; refusal < REFUSAL_COUNT * 2; refusal++) {
		bool sent = refusal & 1;
		pool_with(settings_default());
		int fd = reused();
		if (refusal / 2 == REFUSED_NOT)
			continue;
		if (sent)
			send_text(fd, GET);
		connection_refuse(connection_on(fd), (enum refusal)(refusal / 2));
		kill_it(fd);
		cr_expect_eq(sent ? receive(fd) : send_text(fd, GET), sent ? 0 : -EPIPE, "%s",
			refusal_word((enum refusal)(refusal / 2)));
		cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 0);
		expect_counted(0, 0, 1);
	}
}

Test(succession, a_child_that_shares_the_memory_changes_nothing)
{
	int fd = reused();

	kill_it(fd);
	fake.shares_memory = true;
	cr_expect_eq(send_text(fd, GET), -EPIPE);
	cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 0);
	fake.shares_memory = false;
}

static void (*obstacle)(int fd);

static void meet_obstacle(void)
{
	obstacle(contested);
}

Test(succession, nor_is_what_becomes_so_while_the_new_one_connects)
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
			cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 1, "%s", obstacles[i].claim);
			expect_settled(fd);
			cr_expect_eq(pool.stats.slipped_in + pool.stats.replayed, 0, "%s",
				obstacles[i].claim);
		}
	}
}

/* What others may have, too, is not to end. What is dead is of no use to them, either. */
Test(succession, what_others_may_have_is_renewed_only_where_it_is_dead)
{
	static void (*const deeds[])(int fd) = {share_it, begin_copy};

	for (size_t i = 0; i < COUNT(deeds) * 2; i++) {
		bool dead = i % 2;
		pool_with(settings_default());
		int fd = reused_after(60000);
		uint64_t cookie = cookie_on(fd);
		deeds[i / 2](fd);
		if (dead)
			kill_it(fd);
		cr_expect_eq(send_text(fd, POST), (long)sizeof(POST) - 1);
		cr_expect_eq(cookie_on(fd) != cookie, dead);
		cr_expect_eq(fake.calls[FAKE_SHUT_DOWN], 0);
		expect_counted(dead, 0, 0);
		expect_sent(fd, POST, "once");
	}
}

/* What was opened in the midst of it has the epoch of now. */
Test(succession, nor_is_one_ended_that_is_taken_while_somebody_makes_copies)
{
	use_and_close(1);
	pool_begin_copy(&pool);
	int fd = connected_to(1);
	cr_assert_eq(pool.stats.reused, 1);
	cr_expect_gt(send_text(fd, GET_OF("b")), 0);
	cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 0);
	pool_end_copy(&pool);
}

Test(succession, one_that_is_on_another_number_is_not_replaced)
{
	int fd = reused();

	kill_it(fd);
	move_it(fd);
	cr_expect_eq(send_text(fd, GET), -EPIPE);
	cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 0);
}

/* ---- a new one that was not to be had, and is then ---- */

Test(succession, what_could_not_be_sent_again_yet_is_whole_the_next_time)
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

/* As connect() may be interrupted, and has its limits. */
Test(succession, what_ends_the_wait_is_passed_on_and_the_next_call_tries_again)
{
	/* EINPROGRESS: a limit of the socket's that was set unseen. */
	static const int errors[] = {
		-EINTR, -ECONNREFUSED, -ETIMEDOUT, -EHOSTUNREACH, -EINPROGRESS};
	static const enum fake_call calls[] = {FAKE_CONNECT_PATIENTLY, FAKE_AWAIT_CONNECTION};

	for (size_t i = 0; i < COUNT(errors) * COUNT(calls); i++) {
		enum fake_call call = calls[i % COUNT(calls)];
		int error = errors[i / COUNT(calls)];
		if (call == FAKE_CONNECT_PATIENTLY && error == -EINTR)
			continue;
		pool_with(settings_default());
		int fd = reused();
		uint64_t cookie = cookie_on(fd);
		send_text(fd, GET);
		if (call == FAKE_AWAIT_CONNECTION)
			make_non_blocking(fd);
		kill_it(fd);
		fake.error[call] = error;
		cr_expect_eq(receive(fd), error);
		cr_expect_eq(cookie_on(fd), cookie);
		cr_expect_eq(fake_hidden_count(), 0);
		expect_nobody_renews(connection_on(fd));
		expect_counted(0, 0, 0);
		fake.error[call] = 0;
		cr_expect_eq(receive(fd), -EAGAIN);
		expect_sent(fd, GET, "again");
		expect_counted(0, 1, 0);
		expect_settled(fd);
		check_books();
	}
}

Test(succession, another_hosts_request_that_could_not_be_sent_yet_is_whole_the_next_time)
{
	int fd = reused();

	send_text(fd, FIRST_PIECE);
	fake.error[FAKE_CONNECT] = -EINTR;
	cr_expect_eq(send_text(fd, OTHER_HOST), -EINTR);
	fake.error[FAKE_CONNECT] = 0;
	cr_expect_eq(send_text(fd, OTHER_HOST), (long)sizeof(OTHER_HOST) - 1);
	expect_sent(fd, FIRST_PIECE OTHER_HOST, "both");
	expect_counted(0, 1, 0);
	expect_settled(fd);
}

Test(succession, where_it_goes_on_with_the_old_one_it_is_not_half_of_it_that_is_sent_again)
{
	int fd = reused();

	send_text(fd, FIRST_PIECE);
	fake.error[FAKE_OPEN_HIDDEN] = -EMFILE;
	cr_expect_gt(send_text(fd, OTHER_HOST), 0);
	expect_sent(fd, FIRST_PIECE OTHER_HOST, "on the old one");
	fake.error[FAKE_OPEN_HIDDEN] = 0;
	uint64_t cookie = cookie_on(fd);
	kill_it(fd);
	receive(fd);
	if (cookie_on(fd) != cookie)
		expect_sent(fd, FIRST_PIECE OTHER_HOST, "both");
	expect_settled(fd);
}

Test(succession, what_was_half_sent_when_it_failed_is_not_sent_again)
{
	static const struct {
		enum fake_call call;
		int error;
	} rows[] = {
		{FAKE_SEND, -EPIPE},
		{FAKE_REVEAL, -EBUSY},
		{FAKE_GET_DESCRIPTOR_FLAGS, -EBADF},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		pool_with(settings_default());
		int fd = reused();
		uint64_t cookie = cookie_on(fd);
		send_text(fd, FIRST_PIECE);
		fake.error[rows[i].call] = rows[i].error;
		cr_expect_eq(send_text(fd, OTHER_HOST), -EPIPE);
		cr_expect_eq(fake.calls[FAKE_SEND], 1);
		cr_expect_eq(pool.stats.quarantined, 0, "it was ended by the library");
		fake.error[rows[i].call] = 0;
		cr_expect_eq(receive(fd), 0);
		cr_expect_eq(send_text(fd, OTHER_HOST), -EPIPE);
		cr_expect_eq(cookie_on(fd), cookie);
		cr_expect_eq(pool.stats.slipped_in + pool.stats.replayed, 0);
		expect_settled(fd);
	}
}

/* ---- like the old one ---- */

Test(succession, the_new_one_is_all_that_the_program_made_of_its_socket)
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

/* ---- the service point ---- */

static void expect_one_in_use(void)
{
	cr_expect_eq(service_point_open(connection_on(contested)->point), 1);
}

Test(succession, at_the_limit_there_is_no_more_in_use_than_before)
{
	struct settings settings = settings_default();

	settings.point.limit = 1;
	for (size_t i = 0; i < COUNT(waits); i++) {
		pool_with(settings);
		int fd = dead_of(waits[i]);
		struct service_point *point = connection_on(fd)->point;
		expect_one_in_use();
		fake.before[waits[i]] = expect_one_in_use;
		cr_expect_eq(receive(fd), -EAGAIN);
		cr_expect_eq(connection_on(fd)->point, point);
		expect_one_in_use();
		struct caller other = call_connect_to(open_socket(), endpoint_number(1));
		cr_expect_eq(other.taken, TAKEN_LIMITED);
		receive_answer(fd);
		forget_what_was_learned(fd);
		close_socket(fd);
		cr_expect_eq(point->come, 1, "it is the other one's turn");
		try_again(&other);
		cr_expect_neq(other.taken, TAKEN_LIMITED);
		connection_leave(other.call);
	}
}

Test(succession, what_was_flushed_before_it_was_connected_is_not_what_is_flushed_after)
{
	use_and_close(1);
	pool.points.used->flushes = 5;
	for (int flushed = 0; flushed <= 1; flushed++) {
		int fd = open_socket();
		cr_assert_neq(connect_socket(fd, endpoint_number(1)), TAKEN_NONE);
		send_text(fd, GET);
		kill_it(fd);
		pool.points.used->flushes += (unsigned)flushed;
		for (struct connection *one = pool.free; one; one = one->next_free)
			one->flushes = 99;
		cr_expect_eq(receive(fd), -EAGAIN);
		cr_expect_eq(connection_on(fd)->flushes, 5);
		receive_answer(fd);
		forget_what_was_learned(fd);
		close_socket(fd);
		cr_expect_eq(pool.parked_count, flushed ? 0 : 1);
		cr_expect_eq(discarded(DISCARDED_FLUSHED), (uint64_t)flushed);
	}
}

Test(succession, what_was_not_set_is_not_set)
{
	int fd = reused();

	cr_assert_eq(fake_option(fd, IPPROTO_TCP, TCP_NODELAY), 1, "lent");
	kill_it(fd);
	receive(fd);
	cr_expect_eq(fake_option(fd, IPPROTO_TCP, TCP_NODELAY), FAKE_DEFAULT);
	cr_expect_not(connection_on(fd)->options.lends_nodelay);
	cr_expect_eq(fake.calls[FAKE_BIND], 0);
}

static void set_keepalive(void)
{
	set_option(contested, SOL_SOCKET, SO_KEEPALIVE, 1);
}

Test(succession, nor_is_it_where_another_option_was_set_meanwhile)
{
	int fd = dead_of(FAKE_CONNECT_PATIENTLY);

	cr_assert(connection_on(fd)->options.lends_nodelay);
	fake.before[FAKE_CONNECT_PATIENTLY] = set_keepalive;
	cr_expect_eq(receive(fd), -EAGAIN);
	cr_expect_eq(fake_option(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
	cr_expect_eq(fake_option(fd, IPPROTO_TCP, TCP_NODELAY), FAKE_DEFAULT);
	cr_expect_not(connection_on(fd)->options.lends_nodelay);
}

Test(succession, books_begin_anew)
{
	int fd = reused();
	struct connection *old = connection_on(fd);
	uint64_t opened = pool.stats.opened, connects = pool.stats.connects;

	cr_assert_eq(old->uses, 2);
	send_text(fd, GET);
	fake.now_ms += 500;
	kill_it(fd);
	receive(fd);
	const struct connection *connection = connection_on(fd);
	cr_assert_neq(connection, old);
	cr_expect_eq(connection_state(old), CONNECTION_FREE);
	cr_expect_null(old->kept);
	cr_expect_eq(connection_state(connection), CONNECTION_LIVE);
	cr_expect_eq(atomic_load(&connection->fd), fd);
	cr_expect_eq(atomic_load(&connection->hidden), -1);
	cr_expect_eq(connection->uses, 1);
	cr_expect_eq(connection->sent, sizeof(GET) - 1);
	cr_expect_eq(connection->sent_before, 0);
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

Test(succession, the_new_ones_first_host_is_that_of_its_first_request)
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

/* ---- every system call may fail ---- */

/* A dead connection of all that there is: bound, watched, half closed. */
static int dead_of_everything(bool sent, bool non_blocking)
{
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
	return fd;
}

/* Either it is renewed, or the program has what the kernel said of the old one. */
static void expect_renewed_or_not(int fd, uint64_t dead, bool sent, bool non_blocking, long result)
{
	bool renewed = fake_is_open(fd) && cookie_on(fd) != dead;
	long kernels = sent ? 0 : -EPIPE;
	long if_renewed = sent || non_blocking ? -EAGAIN : (long)sizeof(GET) - 1;

	cr_expect_eq(result, renewed ? if_renewed : kernels);
	cr_expect_eq(pool.stats.slipped_in + pool.stats.replayed, renewed);
}

/* But for getsockopt(2), by which it is known whose a number is: without it none is closed. */
Test(succession, whatever_call_fails_no_number_is_left_and_the_program_has_its_socket)
{
	static const enum fake_call calls[] = {FAKE_GET_STATUS_FLAGS, FAKE_OPEN_HIDDEN,
		FAKE_SET_OPTION, FAKE_BIND, FAKE_SET_STATUS_FLAGS, FAKE_CONNECT,
		FAKE_AWAIT_CONNECTION, FAKE_CONNECT_PATIENTLY, FAKE_SEND, FAKE_HALF_CLOSE,
		FAKE_GET_DESCRIPTOR_FLAGS, FAKE_REVEAL, FAKE_WATCH, FAKE_PEEK, FAKE_LOOK_AHEAD,
		FAKE_MAP};

	for (size_t i = 0; i < COUNT(calls) * 4; i++) {
		enum fake_call failing = calls[i / 4];
		bool sent = i & 1, non_blocking = i & 2;
		for (unsigned skip = 0; skip < 12; skip++) {
			pool_with(settings_default());
			int fd = dead_of_everything(sent, non_blocking);
			uint64_t dead = cookie_on(fd);
			fake.error[failing] = -EBADF;
			fake.skip[failing] = skip;
			long result = sent ? receive(fd) : send_text(fd, GET);
			fake.error[failing] = 0;
			expect_renewed_or_not(fd, dead, sent, non_blocking, result);
			cr_expect(fake_is_open(fd), "call %d", failing);
			cr_expect_eq(fake_hidden_count(), 0, "call %d", failing);
			expect_nobody_renews(connection_on(fd));
			check_books();
			cr_expect_eq(close_socket(fd), 0, "call %d", failing);
			cr_expect_not(fake_is_open(fd));
			cr_expect_eq(pool.points.used->in_use, 0);
			check_books();
		}
	}
}

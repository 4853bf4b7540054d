/* Another connection in the place of one that is on the program's number: what other threads,
 * signal handlers and the program do while it is made. */
#include "tests/unit/renewal.h"

#include <setjmp.h>

TestSuite(meanwhile, .init = setup, .fini = check_books);

/* While the call waits: as a blocking socket does, and as a non-blocking one. */
static const enum fake_call waits[] = {FAKE_CONNECT_PATIENTLY, FAKE_AWAIT_CONNECTION};

static void close_contested(void)
{
	close_whatever(contested);
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

Test(meanwhile, a_number_that_is_another_socket_meanwhile_is_not_touched)
{
	for (int sent = 0; sent <= 1; sent++) {
		pool_with(settings_default());
		int fd = contested = reused();
		if (sent)
			send_text(fd, GET);
		kill_it(fd);
		fake.calls[FAKE_REVEAL] = 0;
		fake.after[FAKE_CONNECT] = replace_contested;
		cr_expect_eq(sent ? receive(fd) : send_text(fd, "x"), sent ? 0 : 1);
		cr_expect_eq(fake.calls[FAKE_REVEAL], 0);
		cr_expect_eq(fake_socket_on(fd)->sent_len, !sent);
		cr_expect_eq(pool.stats.slipped_in + pool.stats.replayed, 0);
		expect_nobody_renews(connection_on(fd));
	}
}

Test(meanwhile, a_number_that_was_closed_meanwhile_is_not_opened_again)
{
	int fd = contested = reused();

	kill_it(fd);
	fake.calls[FAKE_REVEAL] = 0;
	fake.after[FAKE_CONNECT] = close_contested_number;
	cr_expect_eq(send_text(fd, GET), -EBADF);
	cr_expect_not(fake_is_open(fd));
	cr_expect_eq(fake.calls[FAKE_REVEAL], 0);
	expect_nobody_renews(connection_on(fd));
}

/* ---- the hidden number is wanted ---- */

static void replace_hidden(void)
{
	cr_assert(fake_is_open(FAKE_HIDDEN_FIRST));
	fake_replace(FAKE_HIDDEN_FIRST);
}

Test(meanwhile, a_hidden_number_that_is_anothers_meanwhile_is_neither_used_nor_closed)
{
	static const enum fake_call moments[] = {FAKE_CONNECT, FAKE_SEND};

	for (size_t i = 0; i < COUNT(moments); i++) {
		pool_with(settings_default());
		int fd = reused();
		uint64_t cookie = cookie_on(fd);
		send_text(fd, GET);
		kill_it(fd);
		fake.after[moments[i]] = replace_hidden;
		/* What was sent again once is not sent a third time. */
		bool goes_on = moments[i] == FAKE_CONNECT;
		cr_expect_eq(receive(fd), goes_on ? -EAGAIN : 0);
		cr_expect_eq(cookie_on(fd) != cookie, goes_on, "with another number");
		cr_expect_eq(fake.calls[FAKE_DISCARD], 0);
		cr_assert(fake_is_open(FAKE_HIDDEN_FIRST));
		fake_close(FAKE_HIDDEN_FIRST);
		expect_settled(fd);
	}
}

/* A handler's dup2(), as in the shim: the number is the program's for the asking. */
static void put_own_on_hidden(void)
{
	int number = FAKE_HIDDEN_FIRST;

	cr_assert_not_null(connection_on(number));
	pool_evict(&pool, connection_on(number), number);
	cr_assert_null(connection_on(number));
	if (fake_is_open(number))
		fake_replace(number);
	else
		fake.descriptors[number].socket = fake_socket_on(fake_socket());
	fake_socket_on(number)->status_flags = O_RDWR | O_NONBLOCK;
}

Test(meanwhile, a_handler_that_waited_for_its_turn_may_take_the_hidden_number)
{
	for (int non_blocking = 0; non_blocking <= 1; non_blocking++) {
		pool_with(settings_default());
		int fd = reused();
		uint64_t cookie = cookie_on(fd);
		send_text(fd, GET);
		if (non_blocking)
			make_non_blocking(fd);
		kill_it(fd);
		fake.after[FAKE_CONNECT] = send_signal;
		handler = put_own_on_hidden;
		cr_expect_eq(receive(fd), -EAGAIN, "nothing has come yet");
		cr_expect_neq(cookie_on(fd), cookie, "by another number");
		const struct fake_socket *socket = fake_socket_on(FAKE_HIDDEN_FIRST);
		cr_expect_eq(socket->status_flags, O_RDWR | O_NONBLOCK, "it is not touched");
		cr_expect_eq(socket->info.tcpi_state, FAKE_CLOSE, "nor connected");
		expect_counted(0, 1, 0);
		fake_close(FAKE_HIDDEN_FIRST);
		expect_settled(fd);
		check_books();
	}
}

Test(meanwhile, a_number_that_is_anothers_before_it_does_not_fit_is_not_ended)
{
	int fd = contested = reused();

	send_text(fd, FIRST_PIECE);
	fake.after[FAKE_OPEN_HIDDEN] = replace_contested;
	send_text(fd, OTHER_HOST);
	cr_expect_eq(fake.calls[FAKE_SHUT_DOWN], 0);
	cr_expect_not(fake_socket_on(fd)->shut_down);
	expect_counted(0, 0, 0);
	expect_nobody_renews(connection_on(fd));
}

Test(meanwhile, a_hidden_number_that_is_anothers_before_it_is_dialled_is_not)
{
	int fd = reused();

	fake.after[FAKE_OPEN_HIDDEN] = replace_hidden;
	cr_expect_gt(send_text(fd, GET_OF("b")), 0, "with the next one");
	cr_expect_eq(fake_socket_on(FAKE_HIDDEN_FIRST)->info.tcpi_state, FAKE_CLOSE);
	cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 2);
	expect_sent(fd, GET_OF("b"), "once");
	expect_counted(1, 0, 0);
	fake_close(FAKE_HIDDEN_FIRST);
}

Test(meanwhile, one_that_is_given_up_leaves_a_number_that_is_anothers)
{
	int fd = dead_of(FAKE_CONNECT_PATIENTLY);

	fake.before[FAKE_CONNECT] = replace_hidden;
	fake.error[FAKE_CONNECT] = -ECONNREFUSED;
	cr_expect_eq(receive(fd), -ECONNREFUSED);
	cr_expect_eq(fake.calls[FAKE_DISCARD], 0);
	cr_expect_eq(fake.calls[FAKE_LOSE], 1);
	cr_assert(fake_is_open(FAKE_HIDDEN_FIRST));
	cr_expect_null(connection_on(FAKE_HIDDEN_FIRST));
	fake_close(FAKE_HIDDEN_FIRST);
	expect_nobody_renews(connection_on(fd));
}

Test(meanwhile, what_was_begun_to_be_sent_on_a_number_that_was_lost_is_not_sent_a_third_time)
{
	int fd = dead_of(FAKE_CONNECT_PATIENTLY);

	fake.before[FAKE_SEND] = replace_hidden;
	fake.error[FAKE_SEND] = -EPIPE;
	cr_expect_eq(receive(fd), 0);
	cr_expect_eq(fake.calls[FAKE_SEND], 1);
	cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 1);
	expect_counted(0, 0, 1);
	fake_close(FAKE_HIDDEN_FIRST);
	expect_settled(fd);
}

/* Another thread has put a socket of its own on the number, unseen until the last moment. */
Test(meanwhile, one_that_loses_its_number_in_the_exchange_is_in_use_no_more)
{
	for (int sent = 0; sent <= 1; sent++) {
		pool_with(settings_default());
		int fd = reused();
		struct connection *old = connection_on(fd);
		if (sent)
			send_text(fd, GET);
		kill_it(fd);
		cr_assert_eq(pool.points.used->in_use, 1);
		fake.error[FAKE_EXCHANGE] = -ESTALE;
		sent ? receive(fd) : send_text(fd, GET);
		cr_expect_eq(pool.points.used->in_use, 0);
		cr_expect_eq(connection_state(old), CONNECTION_FREE);
		cr_expect_eq(fake_hidden_count(), 0);
		expect_all_accounted_for();
	}
}

static void evict_hidden(void)
{
	struct connection *connection = connection_on(FAKE_HIDDEN_FIRST);

	pool_evict(&pool, connection, FAKE_HIDDEN_FIRST);
}

static void evict_by_another_thread(void)
{
	as_another_thread(evict_hidden);
}

Test(meanwhile, for_a_hidden_number_that_is_wanted_while_it_waits_it_takes_another)
{
	static const struct {
		enum fake_call moment;
		bool given_up;
	} rows[] = {
		{FAKE_BIND, false},
		{FAKE_CONNECT, false},
		{FAKE_CONNECT_PATIENTLY, true},
		{FAKE_SEND, false},
		{FAKE_REVEAL, false},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		pool_with(settings_default());
		int fd = dead_of(FAKE_CONNECT_PATIENTLY);
		uint64_t cookie = cookie_on(fd);
		connection_on(fd)->local = (struct endpoint){.family = AF_INET};
		fake.before[rows[i].moment] = evict_by_another_thread;
		cr_expect_eq(receive(fd), -EAGAIN, "%zu", i);
		cr_expect_null(fake.before[rows[i].moment]);
		cr_expect_neq(cookie_on(fd), cookie, "%zu", i);
		cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 1 + rows[i].given_up, "%zu", i);
		cr_expect_eq(fake.calls[FAKE_DISCARD], rows[i].given_up, "%zu", i);
		expect_counted(0, 1, 0);
		expect_settled(fd);
		check_books();
	}
}

static void evict_again_and_again(void)
{
	evict_by_another_thread();
	fake.before[FAKE_CONNECT_PATIENTLY] = evict_again_and_again;
}

Test(meanwhile, it_does_not_take_another_for_ever)
{
	int fd = dead_of(FAKE_CONNECT_PATIENTLY);

	fake.before[FAKE_CONNECT_PATIENTLY] = evict_again_and_again;
	cr_expect_eq(receive(fd), 0);
	cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 3);
	expect_counted(0, 0, 1);
	fake.before[FAKE_CONNECT_PATIENTLY] = NULL;
	expect_settled(fd);
}

Test(meanwhile, one_that_did_not_fit_is_ended_once_however_many_are_tried)
{
	int fd = contested = reused();

	send_text(fd, FIRST_PIECE);
	fake.before[FAKE_CONNECT_PATIENTLY] = evict_by_another_thread;
	cr_expect_gt(send_text(fd, OTHER_HOST), 0);
	cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 2);
	cr_expect_eq(fake.calls[FAKE_SHUT_DOWN], 1);
	expect_sent(fd, FIRST_PIECE OTHER_HOST, "both");
	expect_counted(1, 0, 0);
}

static void evict_slowly(void)
{
	fake.before[FAKE_DISCARD] = hand_back;
	evict_hidden();
}

Test(meanwhile, one_whose_number_is_just_being_taken_away_waits_until_that_is_done)
{
	for (size_t i = 0; i < COUNT(waits); i++) {
		pool_with(settings_default());
		int fd = dead_of(waits[i]);
		other_thread(evict_slowly);
		fake.before[waits[i]] = let_other_run;
		fake.after[FAKE_YIELD] = let_other_run;
		cr_expect_eq(receive(fd), -EAGAIN);
		cr_expect_null(fake.after[FAKE_YIELD]);
		cr_expect_eq(fake.calls[FAKE_SEND], 1);
		cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 2);
		cr_expect_eq(fake.calls[FAKE_DISCARD], 1);
		cr_expect_eq(fake.calls[FAKE_LOSE], 0);
		expect_counted(0, 1, 0);
		expect_settled(fd);
		check_books();
	}
}

static void refuse_contested(void)
{
	connection_refuse(connection_on(contested), REFUSED_SHUTDOWN);
}

static void close_while_it_is_being_taken_away(void)
{
	let_other_run();
	fake.after[FAKE_YIELD] = let_other_run;
	close_whatever(contested);
}

/* Who closes a number twice closes another file. */
Test(meanwhile, one_that_is_dropped_while_its_number_is_wanted_is_closed_once)
{
	for (size_t i = 0; i < COUNT(waits); i++) {
		pool_with(settings_default());
		int fd = dead_of(waits[i]);
		fake.before[waits[i]] = refuse_contested;
		fake.before[FAKE_DISCARD] = evict_by_another_thread;
		cr_expect_eq(receive(fd), 0);
		cr_expect_null(fake.before[FAKE_DISCARD]);
		cr_expect_eq(fake.calls[FAKE_DISCARD], 1);
		expect_settled(fd);
		check_books();

		pool_with(settings_default());
		fd = dead_of(waits[i]);
		fake.before[waits[i]] = close_contested;
		fake.before[FAKE_DISCARD] = evict_by_another_thread;
		cr_expect_eq(receive(fd), 0);
		cr_expect_null(fake.before[FAKE_DISCARD]);
		cr_expect_eq(fake.calls[FAKE_DISCARD], 1);
		check_books();
	}
}

Test(meanwhile, one_whose_number_is_just_being_taken_away_is_dropped_when_that_is_done)
{
	for (size_t i = 0; i < COUNT(waits); i++) {
		pool_with(settings_default());
		int fd = dead_of(waits[i]);
		other_thread(evict_slowly);
		fake.before[waits[i]] = close_while_it_is_being_taken_away;
		cr_expect_eq(receive(fd), 0);
		cr_expect_null(fake.after[FAKE_YIELD]);
		cr_expect_eq(fake.calls[FAKE_DISCARD], 1);
		cr_expect_eq(fake.calls[FAKE_LOSE], 0);
		check_books();
	}
}

static void evict_what_is_anothers(void)
{
	fake_replace(FAKE_HIDDEN_FIRST);
	evict_hidden();
}

Test(meanwhile, a_hidden_number_that_is_wanted_and_was_anothers_already_is_not_closed)
{
	for (size_t i = 0; i < COUNT(waits); i++) {
		pool_with(settings_default());
		int fd = dead_of(waits[i]);
		fake.before[waits[i]] = evict_what_is_anothers;
		/* It is only half of one: connect() on it would tell. */
		fake.error[waits[i]] = -EBADF;
		cr_expect_eq(receive(fd), 0);
		cr_expect_eq(fake.calls[FAKE_DISCARD], 1, "of the other number that was tried");
		cr_expect_eq(fake.calls[FAKE_LOSE], 1);
		cr_assert(fake_is_open(FAKE_HIDDEN_FIRST));
		fake_close(FAKE_HIDDEN_FIRST);
		expect_settled(fd);
		check_books();
	}
}

static void evict_another_number(void)
{
	pool_evict(&pool, connection_on(FAKE_HIDDEN_FIRST), FAKE_HIDDEN_FIRST + 1);
}

Test(meanwhile, another_number_that_is_wanted_is_not_the_successors)
{
	int fd = dead_of(FAKE_CONNECT_PATIENTLY);

	fake.before[FAKE_CONNECT_PATIENTLY] = evict_another_number;
	cr_expect_eq(receive(fd), -EAGAIN);
	cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 1);
	cr_expect_eq(fake.calls[FAKE_LOSE], 0);
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

Test(meanwhile, a_connection_that_ended_meanwhile_is_left_alone)
{
	static const enum fake_call moments[] = {FAKE_OPEN_HIDDEN, FAKE_CONNECT, FAKE_SEND};

	for (size_t i = 0; i < COUNT(moments); i++) {
		pool_with(settings_default());
		int fd = contested = reused();
		struct connection *connection = connection_on(fd);
		send_text(fd, GET);
		kill_it(fd);
		struct call call = connection_enter(connection);
		char room[10];
		fake.calls[FAKE_REVEAL] = 0;
		fake.after[moments[i]] = end_contested;
		receive_in_call(&call, fd, room, sizeof(room), false);
		connection_leave(call);
		cr_expect_eq(connection_risk(connection), RISK_NONE);
		cr_expect_eq(fake.calls[FAKE_REVEAL], 0);
		cr_expect_eq(fake_hidden_count(), 0);
		cr_expect_eq(connection_state(connection), CONNECTION_FRESH);
		cr_expect_eq(atomic_load(&connection->renewer), 0);
		cr_expect_eq(pool.points.used->in_use, 0);
		cr_expect_eq(pool.stats.replayed, 0);
		expect_books_in_order();
	}
}

/* ---- several calls ---- */

Test(meanwhile, another_call_that_does_not_come_back_is_not_waited_for_long)
{
	for (int sent = 0; sent <= 1; sent++) {
		pool_with(settings_default());
		int fd = reused();
		uint64_t cookie = cookie_on(fd);
		if (sent)
			send_text(fd, GET);
		kill_it(fd);
		other_call = connection_enter(connection_on(fd));
		cr_expect_eq(sent ? receive(fd) : send_text(fd, GET),
			sent ? -EAGAIN : (long)sizeof(GET) - 1);
		cr_expect_neq(cookie_on(fd), cookie);
		cr_expect_gt(fake.calls[FAKE_YIELD], 100, "it was patient");
		cr_expect_lt(fake.calls[FAKE_YIELD], 10000, "but not for ever");
		expect_counted(!sent, sent, 0);
		connection_leave(other_call);
		expect_settled(fd);
	}
}

Test(meanwhile, when_the_other_call_is_over_it_is)
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

/* A second thread's call that finds it dead while the first one's connects, and waits for that. */
static void read_in_other_call(void)
{
	char room[10];

	fake.after[FAKE_YIELD] = hand_back;
	other_result = receive_in_call(&other_call, contested, room, sizeof(room), false);
	connection_leave(other_call);
}

Test(meanwhile, of_two_calls_that_find_it_dead_one_renews_it)
{
	int fd = contested = reused();

	kill_it(fd);
	other_call = connection_enter(connection_on(fd));
	other_thread(read_in_other_call);
	fake.after[FAKE_CONNECT] = let_other_run;
	cr_expect_eq(send_text(fd, GET), (long)sizeof(GET) - 1);
	let_other_run();
	cr_expect_eq(other_result, -EAGAIN);
	expect_sent(fd, GET, "once");
	expect_counted(1, 0, 0);
	receive_answer(fd);
	expect_settled(fd);
	close_socket(fd);
	cr_expect_eq(pool.parked_count, 1);
}

Test(meanwhile, of_two_that_wait_for_what_the_server_says_both_wait_on)
{
	int fd = contested = reused();

	kill_it(fd);
	other_call = connection_enter(connection_on(fd));
	other_thread(read_in_other_call);
	fake.after[FAKE_CONNECT] = let_other_run;
	cr_expect_eq(receive(fd), -EAGAIN);
	let_other_run();
	cr_expect_eq(other_result, -EAGAIN);
	expect_counted(1, 0, 0);
	expect_settled(fd);
}

/* One has what is to be sent again, and the other has nothing. */
Test(meanwhile, of_two_calls_that_want_it_sent_again_neither_loses_it)
{
	int fd = contested = reused();

	send_text(fd, GET);
	kill_it(fd);
	other_call = connection_enter(connection_on(fd));
	other_thread(read_in_other_call);
	fake.after[FAKE_CONNECT] = let_other_run;
	cr_expect_eq(receive(fd), -EAGAIN);
	let_other_run();
	cr_expect_eq(other_result, -EAGAIN);
	expect_sent(fd, GET, "again");
	expect_counted(0, 1, 0);
	expect_settled(fd);
}

/* Its call, which did not wait when it came, or does not any more. */
static char others_room[10];

static void read_without_waiting(void)
{
	other_result =
		receive_in_call(&other_call, contested, others_room, sizeof(others_room), true);
	connection_leave(other_call);
}

static void make_way_for_other(void)
{
	as_another_thread(read_without_waiting);
}

Test(meanwhile, who_is_not_to_wait_for_another_call_is_told_to_come_again)
{
	for (int non_blocking = 0; non_blocking <= 1; non_blocking++) {
		pool_with(settings_default());
		int fd = dead_of(non_blocking ? FAKE_AWAIT_CONNECTION : FAKE_CONNECT_PATIENTLY);
		other_call = connection_enter(connection_on(fd));
		fake.before[non_blocking ? FAKE_AWAIT_CONNECTION : FAKE_CONNECT_PATIENTLY] =
			make_way_for_other;
		other_result = 0;
		cr_expect_eq(receive(fd), -EAGAIN);
		cr_expect_eq(other_result, -EAGAIN);
		cr_expect_eq(fake.calls[FAKE_WAIT], 0);
		cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 1);
		expect_sent(fd, GET, "again");
		expect_counted(0, 1, 0);
		expect_settled(fd);
		check_books();
	}
}

/* What the first one gets is for the first one. */
Test(meanwhile, where_one_call_fails_to_renew_it_the_one_that_waited_tries)
{
	int fd = dead_of(FAKE_CONNECT_PATIENTLY);

	other_call = connection_enter(connection_on(fd));
	other_thread(read_in_other_call);
	fake.after[FAKE_CONNECT] = let_other_run;
	fake.error[FAKE_CONNECT_PATIENTLY] = -ECONNREFUSED;
	cr_expect_eq(receive(fd), -ECONNREFUSED);
	cr_expect_eq(fake_hidden_count(), 0);
	fake.error[FAKE_CONNECT_PATIENTLY] = 0;
	let_other_run();
	cr_expect_eq(other_result, -EAGAIN);
	cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 2);
	expect_sent(fd, GET, "again");
	expect_counted(0, 1, 0);
	expect_settled(fd);
}

/* It is not lost because it will not be sent a third time. */
Test(meanwhile, also_one_that_comes_while_the_request_is_sent_again_waits)
{
	for (size_t i = 0; i < COUNT(waits); i++) {
		pool_with(settings_default());
		int fd = dead_of(waits[i]);
		other_call = connection_enter(connection_on(fd));
		other_thread(read_in_other_call);
		fake.before[FAKE_SEND] = let_other_run;
		other_result = 0;
		cr_expect_eq(receive(fd), -EAGAIN);
		if (waits[i] == FAKE_CONNECT_PATIENTLY)
			let_other_run();
		cr_expect_eq(other_result, -EAGAIN);
		fake.after[FAKE_YIELD] = NULL;
		expect_sent(fd, GET, "again");
		expect_counted(0, 1, 0);
		expect_settled(fd);
	}
}

static void write_in_other_call(void)
{
	fake.after[FAKE_YIELD] = hand_back;
	other_result = send_in_call(&other_call, contested, GET, sizeof(GET) - 1, false);
	connection_leave(other_call);
}

Test(meanwhile, where_one_call_fails_to_renew_it_the_one_that_wants_to_send_tries)
{
	int fd = contested = reused();

	kill_it(fd);
	other_call = connection_enter(connection_on(fd));
	other_thread(write_in_other_call);
	fake.before[FAKE_CONNECT] = let_other_run;
	fake.error[FAKE_CONNECT] = -ECONNREFUSED;
	cr_expect_eq(receive(fd), -ECONNREFUSED);
	fake.error[FAKE_CONNECT] = 0;
	let_other_run();
	cr_expect_eq(other_result, (long)sizeof(GET) - 1);
	cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 2);
	expect_sent(fd, GET, "once");
	expect_counted(1, 0, 0);
	receive_answer(fd);
	expect_settled(fd);
}

Test(meanwhile, one_that_waited_goes_on_with_what_the_other_has_made)
{
	int fd = dead_of(FAKE_CONNECT_PATIENTLY);
	const struct connection *old = connection_on(fd);

	other_call = connection_enter(connection_on(fd));
	other_thread(read_in_other_call);
	fake.after[FAKE_CONNECT] = let_other_run;
	cr_expect_eq(receive(fd), -EAGAIN);
	cr_assert_neq(connection_on(fd), old);
	fake_say(fd, ANSWER, sizeof(ANSWER) - 1);
	let_other_run();
	cr_expect_eq(other_result, 10, "it reads the answer");
	cr_expect_eq(connection_on(fd)->received, 10, "and that is seen");
	cr_expect_lt(fake.calls[FAKE_WAIT], 10, "it did not wait for longer");
	cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 1);
	expect_nobody_renews(connection_on(fd));
}

static void send_more(void)
{
	fake.thread_id++;
	fake_socket_on(contested)->send_error = 0;
	cr_assert_eq(send_in_call(&other_call, contested, GET, sizeof(GET) - 1, true), -EAGAIN);
	connection_leave(other_call);
	fake.thread_id--;
}

Test(meanwhile, what_another_call_would_send_meanwhile_waits_until_it_is_done)
{
	int fd = contested = reused();

	send_text(fd, GET);
	kill_it(fd);
	other_call = connection_enter(connection_on(fd));
	fake.after[FAKE_CONNECT] = send_more;
	cr_expect_eq(receive(fd), -EAGAIN);
	expect_sent(fd, GET, "and no more");
	expect_counted(0, 1, 0);
	expect_settled(fd);
}

/* ---- who has it for himself ---- */

Test(meanwhile, one_that_somebody_has_for_himself_for_too_long_is_not_renewed)
{
	int fd = reused();
	struct call call = connection_enter(connection_on(fd)),
		    other = connection_enter(connection_on(fd));
	char room[10];

	kill_it(fd);
	cr_assert(connection_try_claim(other));
	cr_expect_eq(receive_in_call(&call, fd, room, sizeof(room), false), 0);
	cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 0);
	cr_expect_not(connection_try_claim(call), "it still has it");
	cr_expect_not(succession_shut_down(&pool, call));
	cr_expect_not(connection_try_claim(call));
	cr_expect_not(connection_unclaim(connection_on(fd)));
	connection_leave(call);
	connection_leave(other);
}

Test(meanwhile, where_too_many_want_it_renewed_nobody_does)
{
	int fd = reused();

	kill_it(fd);
	other_call = connection_enter(connection_on(fd));
	while (connection_want_renewal(other_call))
		;
	uint64_t use = atomic_load(&connection_on(fd)->use);
	cr_expect_eq(receive(fd), 0);
	cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 0);
	cr_expect_eq(atomic_load(&connection_on(fd)->use), use);
	expect_counted(0, 0, 1);
	close_whatever(fd);
}

static void give_up_meanwhile(void)
{
	atomic_store(&connection_on(contested)->renewer, 0);
}

static void give_up_when_a_successor_is_made(void)
{
	fake.before[FAKE_NOW_MS] = give_up_meanwhile;
}

static void give_up_when_it_is_judged(void)
{
	fake.before[FAKE_NOW_MS] = give_up_when_a_successor_is_made;
}

/* It was at RISK_TAKEN for what another thread did, which has just given up. */
Test(meanwhile, what_was_sent_again_in_vain_is_not_by_who_came_meanwhile)
{
	int fd = contested = reused();

	send_text(fd, GET);
	kill_it(fd);
	connection_set_risk(connection_on(fd), RISK_TAKEN);
	atomic_store(&connection_on(fd)->renewer, 99);
	fake.after[FAKE_PEEK] = give_up_when_it_is_judged;
	cr_expect_eq(receive(fd), 0);
	cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 0);
	expect_counted(0, 0, 1);
	expect_settled(fd);
}

/* It has looked before the end came, and was slow. */
static void send_late(void)
{
	static const struct iovec vector = {
		.iov_base = (void *)(uintptr_t)GET, .iov_len = sizeof(GET) - 1};

	fake_socket_on(contested)->send_error = 0;
	cr_assert_gt(fake_send(contested, GET, sizeof(GET) - 1, false), 0);
	cr_assert_not(renew_sent(&pool, other_call, &vector, sizeof(GET) - 1));
	connection_leave(other_call);
}

static void send_late_when_it_is_judged(void)
{
	fake.before[FAKE_NOW_MS] = send_late;
}

Test(meanwhile, what_is_sent_while_a_successor_is_thought_of_is_sent_again)
{
	int fd = contested = reused();

	kill_it(fd);
	other_call = connection_enter(connection_on(fd));
	fake.after[FAKE_PEEK] = send_late_when_it_is_judged;
	cr_expect_eq(receive(fd), -EAGAIN);
	expect_sent(fd, GET, "again");
	expect_counted(0, 1, 0);
	expect_settled(fd);
}

/* ---- signal handlers ---- */

Test(meanwhile, a_handler_that_interrupts_the_wait_and_renews_it_is_no_end_of_file)
{
	for (int non_blocking = 0; non_blocking <= 1; non_blocking++) {
		pool_with(settings_default());
		int fd = contested = reused();
		send_text(fd, GET);
		if (non_blocking)
			make_non_blocking(fd);
		kill_it(fd);
		fake.before[non_blocking ? FAKE_AWAIT_CONNECTION : FAKE_CONNECT_PATIENTLY] =
			receive_contested;
		cr_expect_eq(receive(fd), -EAGAIN, "it goes on with the handler's");
		cr_expect_eq(other_result, -EAGAIN);
		expect_sent(fd, GET, "once");
		expect_counted(0, 1, 0);
		receive_answer(fd);
		expect_settled(fd);
		check_books();
	}
}

static void close_contested_and_open_another(void)
{
	close_whatever(contested);
	cr_assert_eq(connected_to(2), contested);
}

Test(meanwhile, a_handler_may_close_the_number)
{
	static void (*const closes[])(void) = {close_contested, close_contested_and_open_another};

	for (size_t i = 0; i < COUNT(closes) * COUNT(waits); i++) {
		enum fake_call wait = waits[i % COUNT(waits)];
		bool reopened = i / COUNT(waits);
		pool_with(settings_default());
		int fd = dead_of(wait);
		fake.before[wait] = closes[i / COUNT(waits)];
		fake.calls[FAKE_REVEAL] = 0;
		cr_expect_eq(receive(fd), 0, "as it was before");
		cr_expect_eq(fake_is_open(fd), reopened);
		cr_expect(!reopened || fake_socket_on(fd)->info.tcpi_state == FAKE_ESTABLISHED);
		cr_expect_eq(fake.calls[FAKE_REVEAL], 0);
		cr_expect_eq(fake.calls[FAKE_SEND], 0);
		cr_expect_eq(fake_hidden_count(), 0);
		expect_counted(0, 0, 0);
		check_books();
	}
}

static void close_contested_by_another_thread(void)
{
	as_another_thread(close_contested);
}

static void expect_nothing_hidden_once_it_is_closed(void)
{
	close_contested_by_another_thread();
	cr_expect_eq(fake_hidden_count(), 0, "as the thread may have jumped out of it");
}

/* Its memory, and its number. */
static void reopen_contested(void)
{
	close_contested();
	use_and_close(2);
	cr_assert_eq(connected_to(2), contested);
}

static void reopen_contested_by_another_thread(void)
{
	as_another_thread(reopen_contested);
	atomic_store(&connection_on(contested)->renewer, 77);
}

Test(meanwhile, another_thread_that_closes_the_number_closes_the_hidden_one)
{
	for (size_t i = 0; i < COUNT(waits); i++) {
		pool_with(settings_default());
		dead_of(waits[i]);
		fake.before[waits[i]] = expect_nothing_hidden_once_it_is_closed;
		cr_expect_eq(receive(contested), 0);
		check_books();
	}
}

Test(meanwhile, another_thread_may_close_the_number)
{
	static void (*const closes[])(void) = {
		close_contested_by_another_thread, reopen_contested_by_another_thread};
	static const enum fake_call moments[] = {FAKE_OPEN_HIDDEN, FAKE_CONNECT,
		FAKE_CONNECT_PATIENTLY, FAKE_SEND, FAKE_GET_STATUS_FLAGS};

	for (size_t i = 0; i < COUNT(closes) * COUNT(moments); i++) {
		bool reopened = i / COUNT(moments);
		pool_with(settings_default());
		int fd = dead_of(FAKE_CONNECT_PATIENTLY);
		struct connection *old = connection_on(fd);
		fake.before[moments[i % COUNT(moments)]] = closes[i / COUNT(moments)];
		fake.calls[FAKE_REVEAL] = 0;
		cr_expect_eq(receive(fd), 0);
		cr_expect_eq(fake_is_open(fd), reopened);
		cr_expect_eq(fake.calls[FAKE_REVEAL], reopened, "of the other thread's own");
		cr_expect_eq(fake.calls[FAKE_YIELD], 0, "there is nothing to wait for");
		expect_counted(0, 0, 0);
		if (reopened) {
			cr_expect_eq(connection_on(fd), old, "as it is in this test");
			cr_expect_eq(atomic_load(&old->renewer), 77);
			atomic_store(&old->renewer, 0);
			cr_expect_eq(connection_on(fd)->peer.address[3], 2);
			cr_expect_eq(connection_risk(connection_on(fd)), RISK_UNUSED);
			expect_nobody_renews(connection_on(fd));
			finish(fd);
			cr_expect_eq(pool.parked_count, 1);
		} else {
			cr_expect_eq(connection_state(old), CONNECTION_FREE);
		}
		check_books();
	}
}

Test(meanwhile, one_that_is_closed_before_it_is_given_up_has_not_failed)
{
	int fd = contested = reused();

	send_text(fd, POST);
	kill_it(fd);
	fake.after[FAKE_PEEK] = close_contested_by_another_thread;
	cr_expect_eq(receive(fd), 0);
	cr_expect_not(fake_is_open(fd));
	expect_counted(0, 0, 0);
}

/* Which has the memory, and the number. */
Test(meanwhile, another_threads_socket_is_not_ended_for_one_that_does_not_fit)
{
	int fd = contested = reused();

	send_text(fd, FIRST_PIECE);
	fake.before[FAKE_OPEN_HIDDEN] = reopen_contested_by_another_thread;
	send_text(fd, OTHER_HOST);
	cr_expect_eq(fake.calls[FAKE_SHUT_DOWN], 0);
	cr_expect_not(connection_on(fd)->failure_known);
	expect_counted(0, 0, 0);
	atomic_store(&connection_on(fd)->renewer, 0);
}

/* Into the memory of the successor, and on its hidden number. */
static void close_contested_and_park_another(void)
{
	const struct connection *successor = connection_on(FAKE_HIDDEN_FIRST);

	close_contested();
	connected_to(3);
	int other = connected_to(2);
	cr_assert_eq(connection_on(other), successor);
	finish(other);
	cr_assert_eq(connection_on(FAKE_HIDDEN_FIRST), successor);
}

Test(meanwhile, what_a_handler_parks_is_not_taken_for_what_it_interrupted)
{
	for (size_t i = 0; i < COUNT(waits) * 2; i++) {
		enum fake_call wait = waits[i % COUNT(waits)];
		bool at_once = i / COUNT(waits);
		pool_with(settings_default());
		int fd = dead_of(wait);
		if (at_once) {
			fake.after[FAKE_CONNECT] = send_signal;
			handler = close_contested_and_park_another;
		} else {
			fake.before[wait] = close_contested_and_park_another;
		}
		cr_expect_eq(receive(fd), 0);
		cr_expect_eq(fake.calls[wait], !at_once);
		cr_expect_eq(fake.calls[FAKE_YIELD], 0);
		cr_expect_eq(fake.calls[FAKE_SEND], 0);
		cr_expect_eq(pool.parked_count, 1);
		check_books();
	}
}

static sigjmp_buf away;

static void jump_away(void)
{
	siglongjmp(away, 1);
}

/* What that leaves behind is a call that wants another connection, and a successor. */
static void jump_out_of_waiting(int fd)
{
	fake.before[FAKE_CONNECT_PATIENTLY] = jump_away;
	if (sigsetjmp(away, 0) == 0) {
		receive(fd);
		cr_assert_fail("it did not wait");
	}
	cr_assert_eq(fake.signals_blocked, 0);
	cr_assert_eq(fake_hidden_count(), 1);
}

Test(meanwhile, after_a_handler_has_jumped_out_the_same_thread_can_begin_again)
{
	int fd = dead_of(FAKE_CONNECT_PATIENTLY);

	jump_out_of_waiting(fd);
	jump_out_of_waiting(fd);
	cr_expect_eq(receive(fd), -EAGAIN);
	expect_sent(fd, GET, "again");
	expect_counted(0, 1, 0);
	receive_answer(fd);
	expect_settled(fd);
	close_socket(fd);
	cr_expect_eq(pool.parked_count, 1, "those calls were on the old one");
}

Test(meanwhile, after_a_handler_has_jumped_out_a_call_that_waits_does_not_wait_for_that)
{
	int fd = dead_of(FAKE_CONNECT_PATIENTLY);

	jump_out_of_waiting(fd);
	struct call call = connection_enter(connection_on(fd));
	fake.error[FAKE_AWAIT_CONNECTION] = -ETIMEDOUT;
	cr_expect_eq(renew_while_waiting(&pool, call, fd, 0), -ETIMEDOUT);
	fake.error[FAKE_AWAIT_CONNECTION] = 0;
	cr_expect_eq(renew_while_waiting(&pool, call, fd, 0), RENEW_AGAIN);
	connection_leave(call);
	expect_counted(0, 1, 0);
}

Test(meanwhile, after_a_handler_has_jumped_out_the_number_can_be_closed)
{
	int fd = dead_of(FAKE_CONNECT_PATIENTLY);

	jump_out_of_waiting(fd);
	close_whatever(fd);
	cr_expect_eq(fake_hidden_count(), 0);
}

/* The record of the one that was lost is that thread's for ever. */
Test(meanwhile, after_ten_seconds_one_that_was_jumped_out_of_is_lost_and_another_thread_begins,
	.fini = NULL)
{
	for (int later = 0; later <= 1; later++) {
		pool_with(settings_default());
		int fd = dead_of(FAKE_CONNECT_PATIENTLY);
		struct call call = connection_enter(connection_on(fd));
		char room[10];
		jump_out_of_waiting(fd);
		fake.now_ms += 9999 + (uint64_t)later;
		fake.thread_id++;
		cr_expect_eq(receive_in_call(&call, fd, room, sizeof(room), true), -EAGAIN);
		connection_leave(call);
		cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 1 + (unsigned)later);
		cr_expect_eq(fake_hidden_count(), !later, "that of the lost one is closed");
		expect_counted(0, (uint64_t)later, 0);
		if (later)
			expect_sent(fd, GET, "again");
	}
}

static void let_other_run_late(void)
{
	fake.now_ms += 10000;
	let_other_run();
}

static void receive_as_if_it_were_lost(void)
{
	char room[10];

	fake.after[FAKE_CONNECT] = hand_back;
	fake.after[FAKE_YIELD] = let_other_run;
	other_result = receive_in_call(&other_call, contested, room, sizeof(room), true);
	connection_leave(other_call);
}

/* It was only slow. */
Test(meanwhile, one_that_was_taken_for_lost_waits_for_who_has_begun_instead)
{
	int fd = dead_of(FAKE_CONNECT_PATIENTLY);

	other_call = connection_enter(connection_on(fd));
	other_thread(receive_as_if_it_were_lost);
	fake.before[FAKE_CONNECT_PATIENTLY] = let_other_run_late;
	cr_expect_eq(receive(fd), -EAGAIN);
	cr_expect_null(fake.after[FAKE_YIELD]);
	cr_expect_eq(other_result, -EAGAIN);
	cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 2);
	cr_expect_eq(fake.calls[FAKE_SEND], 1);
	expect_sent(fd, GET, "again");
	expect_counted(0, 1, 0);
	expect_settled(fd);
}

static void read_late_without_waiting(void)
{
	fake.now_ms += 20000;
	read_without_waiting();
}

static void let_other_read_late(void)
{
	as_another_thread(read_late_without_waiting);
}

Test(meanwhile, one_that_has_its_connection_is_not_lost_however_long_that_took)
{
	int fd = dead_of(FAKE_CONNECT_PATIENTLY);

	other_call = connection_enter(connection_on(fd));
	fake.before[FAKE_SEND] = let_other_read_late;
	cr_expect_eq(receive(fd), -EAGAIN);
	cr_expect_eq(other_result, -EAGAIN);
	cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 1);
	expect_counted(0, 1, 0);
	expect_settled(fd);
}

/* ---- what is sent meanwhile ---- */

Test(meanwhile, what_is_to_be_sent_while_the_beginning_is_sent_again_follows_it)
{
	static const enum fake_call moments[] = {FAKE_CONNECT, FAKE_SEND};

	for (size_t i = 0; i < COUNT(moments) * 2; i++) {
		bool blocking = i / COUNT(moments);
		pool_with(settings_default());
		int fd = dead_of(blocking ? FAKE_CONNECT_PATIENTLY : FAKE_AWAIT_CONNECTION);
		/* The old one would take it: its server has only closed its own half. */
		fake_socket_on(fd)->send_error = 0;
		other_call = connection_enter(connection_on(fd));
		other_thread(write_in_other_call);
		fake.before[moments[i % COUNT(moments)]] = let_other_run;
		other_result = 0;
		cr_expect_eq(receive(fd), -EAGAIN);
		if (blocking)
			let_other_run();
		fake.after[FAKE_YIELD] = NULL;
		cr_expect_eq(other_result, blocking ? (long)sizeof(GET) - 1 : -EAGAIN);
		expect_sent(fd, blocking ? GET GET : GET, "in order");
		cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 1);
		cr_expect_eq(pool.stats.quarantined, 1);
		expect_counted(0, 1, 0);
		expect_settled(fd);
		check_books();
	}
}

/* Another thread has looked at it, and given up, as that did not come to anything. */
Test(meanwhile, who_has_only_waited_for_another_looks_for_himself)
{
	int fd = contested = reused();
	uint64_t cookie = cookie_on(fd);

	atomic_store(&connection_on(fd)->renewer, 99);
	fake.before[FAKE_NOW_MS] = give_up_meanwhile;
	cr_expect_eq(send_text(fd, GET), (long)sizeof(GET) - 1);
	cr_expect_eq(cookie_on(fd), cookie, "it is alive, and fits");
	cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], 0);
	cr_expect_eq(pool.stats.quarantined, 0);
	expect_sent(fd, GET, "once");
}

static void enter_it(void)
{
	other_call = connection_enter(connection_on(contested));
}

static void leave_when_it_has_ended(void)
{
	cr_expect(fake_socket_on(contested)->shut_down);
	connection_leave(other_call);
}

Test(meanwhile, a_call_that_comes_to_what_does_not_fit_is_made_to_return)
{
	int fd = contested = reused();

	fake.after[FAKE_CONNECT] = enter_it;
	fake.before[FAKE_YIELD] = leave_when_it_has_ended;
	cr_expect_gt(send_text(fd, GET_OF("b")), 0);
	cr_expect_null(fake.before[FAKE_YIELD]);
	cr_expect_eq(fake.calls[FAKE_SHUT_DOWN], 1);
	expect_sent(fd, GET_OF("b"), "on the new one");
	expect_counted(1, 0, 0);
}

/* ---- shutdown() ---- */

static bool was_shut_down;

/* As in the shim. */
static void shut_down_contested(void)
{
	struct call call = connection_enter(connection_on(contested));

	connection_refuse(call.connection, REFUSED_SHUTDOWN);
	was_shut_down = succession_shut_down(&pool, call);
	connection_leave(call);
}

static void expect_shut_down_on_hidden(void)
{
	shut_down_contested();
	cr_expect(was_shut_down);
	cr_expect(fake_socket_on(FAKE_HIDDEN_FIRST)->shut_down);
}

Test(meanwhile, shutdown_ends_the_wait)
{
	for (size_t i = 0; i < COUNT(waits); i++) {
		pool_with(settings_default());
		int fd = dead_of(waits[i]);
		uint64_t cookie = cookie_on(fd);
		fake.before[waits[i]] = expect_shut_down_on_hidden;
		cr_expect_eq(receive(fd), 0);
		cr_expect_eq(cookie_on(fd), cookie);
		cr_expect_eq(fake.calls[FAKE_SEND], 0);
		expect_counted(0, 0, 1);
		expect_settled(fd);
		check_books();
	}
}

Test(meanwhile, shutdown_is_of_a_successor_that_waits_and_of_its_own_number)
{
	static const enum fake_call moments[] = {FAKE_CONNECT, FAKE_SEND};
	int fd;

	for (size_t i = 0; i < COUNT(moments); i++) {
		pool_with(settings_default());
		fd = dead_of(FAKE_CONNECT_PATIENTLY);
		fake.before[moments[i]] = shut_down_contested;
		was_shut_down = true;
		receive(fd);
		cr_expect_not(was_shut_down, "%zu", i);
		cr_expect_eq(fake.calls[FAKE_SHUT_DOWN], 0);
		check_books();
	}
	pool_with(settings_default());
	fd = contested = reused();
	shut_down_contested();
	cr_expect_not(was_shut_down, "there is none");
}

static void shut_down_where_the_number_is_anothers(void)
{
	replace_hidden();
	shut_down_contested();
}

Test(meanwhile, shutdown_is_not_of_another_file_on_the_hidden_number)
{
	int fd = dead_of(FAKE_AWAIT_CONNECTION);

	fake.before[FAKE_AWAIT_CONNECTION] = shut_down_where_the_number_is_anothers;
	was_shut_down = true;
	receive(fd);
	cr_expect_not(was_shut_down);
	cr_expect_eq(fake.calls[FAKE_SHUT_DOWN], 0);
	cr_expect_eq(fake.calls[FAKE_LOSE], 1);
	fake_close(FAKE_HIDDEN_FIRST);
	expect_settled(fd);
}

/* ---- cancellation ---- */

Test(meanwhile, a_thread_that_is_cancelled_while_it_waits_leaves_nothing_behind)
{
	int fd = dead_of(FAKE_CONNECT_PATIENTLY);
	uint64_t cookie = cookie_on(fd);

	fake.cancelled = jump_away;
	if (sigsetjmp(away, 0) == 0) {
		receive(fd);
		cr_assert_fail("it did not wait");
	}
	fake.cancelled = NULL;
	cr_expect_eq(fake_hidden_count(), 0);
	cr_expect_null(atomic_load(&connection_on(fd)->successor));
	cr_expect_eq(atomic_load(&connection_on(fd)->renewer), 0);
	cr_expect_eq(cookie_on(fd), cookie);
	fake.thread_id++;
	cr_expect_eq(receive(fd), -EAGAIN, "another one goes on");
	expect_sent(fd, GET, "again");
	expect_counted(0, 1, 0);
	receive_answer(fd);
	expect_settled(fd);
}

Test(meanwhile, a_thread_that_is_cancelled_while_the_number_is_wanted_closes_it_once)
{
	int fd = dead_of(FAKE_CONNECT_PATIENTLY);

	fake.before[FAKE_DISCARD] = evict_by_another_thread;
	fake.cancelled = jump_away;
	if (sigsetjmp(away, 0) == 0) {
		receive(fd);
		cr_assert_fail("it did not wait");
	}
	fake.cancelled = NULL;
	cr_expect_null(fake.before[FAKE_DISCARD]);
	cr_expect_eq(fake.calls[FAKE_DISCARD], 1);
	close_whatever(fd);
}

/* ---- fork ---- */

static void fork_as_parent(void)
{
	pool_prepare_fork(&pool);
	pool_after_fork_in_parent(&pool);
}

Test(meanwhile, a_fork_while_it_waits_is_none_of_a_dead_ones_business)
{
	for (size_t i = 0; i < COUNT(waits); i++) {
		pool_with(settings_default());
		int fd = dead_of(waits[i]);
		fake.before[waits[i]] = fork_as_parent;
		cr_expect_eq(receive(fd), -EAGAIN);
		expect_counted(0, 1, 0);
		receive_answer(fd);
		expect_settled(fd);
		close_socket(fd);
		cr_expect_eq(pool.parked_count, 0, "the child has had it, too");
		cr_expect_eq(refused(REFUSED_FORKED), 1);
		check_books();
	}
}

static void fork_as_child(void)
{
	pool_prepare_fork(&pool);
	pool_after_fork_in_child(&pool);
}

Test(meanwhile, in_a_child_that_a_handler_forks_nothing_is_renewed, .fini = NULL)
{
	for (size_t i = 0; i < COUNT(waits); i++) {
		pool_with(settings_default());
		int fd = dead_of(waits[i]);
		uint64_t cookie = cookie_on(fd);
		fake.before[waits[i]] = fork_as_child;
		cr_expect_eq(receive(fd), 0);
		cr_expect_eq(cookie_on(fd), cookie);
		cr_expect_eq(fake_hidden_count(), 0);
		cr_expect_eq(fake.calls[FAKE_SEND], 0);
		expect_counted(0, 0, 0);
		close_whatever(fd);
		use_and_close(1);
		cr_expect_eq(pool.parked_count, 1, "it has a pool of its own");
	}
}

Test(meanwhile, one_that_is_alive_is_not_ended_where_a_fork_has_it_by_now)
{
	int fd = reused_after(60000);
	uint64_t cookie = cookie_on(fd);

	fake.before[FAKE_OPEN_HIDDEN] = fork_as_parent;
	cr_expect_gt(send_text(fd, POST), 0);
	cr_expect_eq(cookie_on(fd), cookie);
	cr_expect_eq(fake.calls[FAKE_SHUT_DOWN], 0);
	cr_expect_eq(fake_hidden_count(), 0);
	expect_sent(fd, POST, "on the old one");
}

/* ---- what the program does meanwhile ---- */

static void change_everything(void)
{
	int fd = contested;

	set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 0);
	set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
	watch_socket(fd, 51, EPOLLOUT, 78);
	make_non_blocking(fd);
	fake.descriptors[fd].flags = FD_CLOEXEC;
	half_close(fd);
}

Test(meanwhile, what_the_program_does_to_the_old_one_meanwhile_the_new_one_has)
{
	for (size_t i = 0; i < COUNT(waits); i++) {
		pool_with(settings_default());
		int fd = contested = reused();
		set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
		watch_socket(fd, 50, EPOLLIN, 77);
		send_text(fd, GET);
		if (waits[i] == FAKE_AWAIT_CONNECTION)
			make_non_blocking(fd);
		kill_it(fd);
		uint64_t dead = cookie_on(fd);
		fake.before[waits[i]] = change_everything;
		cr_expect_eq(receive(fd), -EAGAIN);
		cr_assert_neq(cookie_on(fd), dead);
		const struct fake_socket *socket = fake_socket_on(fd);
		cr_expect_eq(fake_option(fd, SOL_SOCKET, SO_KEEPALIVE), 0);
		cr_expect_eq(fake_option(fd, IPPROTO_TCP, TCP_NODELAY), 1);
		cr_expect_eq(socket->status_flags, O_RDWR | O_NONBLOCK);
		cr_expect_eq(fake.descriptors[fd].flags, FD_CLOEXEC);
		cr_expect(socket->half_closed);
		cr_expect(connection_on(fd)->half_closed);
		cr_expect_eq(fake_registered(socket), 2);
		cr_expect_eq(connection_on(fd)->watches.count, 2);
		cr_expect(options_have(&connection_on(fd)->options, SOL_SOCKET, SO_KEEPALIVE, 0));
		expect_counted(0, 1, 0);
		expect_settled(fd);
	}
}

static void make_blocking_and_watch_no_more(void)
{
	struct epoll_event event = {.events = 0};
	struct call call = connection_enter(connection_on(contested));

	fake_socket_on(contested)->status_flags = O_RDWR;
	cr_assert_eq(fake_os.watch(50, EPOLL_CTL_DEL, contested, &event), 0);
	cr_assert_not(connection_watch(call, 50, EPOLL_CTL_DEL, &event));
	connection_leave(call);
}

Test(meanwhile, what_it_undoes_meanwhile_the_new_one_has_not)
{
	int fd = contested = reused();

	watch_socket(fd, 50, EPOLLIN, 77);
	send_text(fd, GET);
	make_non_blocking(fd);
	kill_it(fd);
	fake.before[FAKE_AWAIT_CONNECTION] = make_blocking_and_watch_no_more;
	cr_expect_eq(receive(fd), -EAGAIN);
	cr_expect_eq(fake_socket_on(fd)->status_flags, O_RDWR);
	cr_expect_eq(fake_registered(fake_socket_on(fd)), 0);
	expect_counted(0, 1, 0);
	expect_settled(fd);
}

static void fire(void)
{
	fake.registrations[0].event.events = EPOLLONESHOT;
}

/* Also where it has fired while the call waited. */
Test(meanwhile, a_one_shot_registration_that_has_fired_does_not_fire_again)
{
	for (size_t i = 0; i < COUNT(waits) * 2; i++) {
		bool before = i / COUNT(waits);
		enum fake_call wait = waits[i % COUNT(waits)];
		pool_with(settings_default());
		int fd = dead_of(wait);
		watch_socket(fd, 50, EPOLLIN | EPOLLONESHOT, 77);
		if (before)
			fire();
		else
			fake.before[wait] = fire;
		cr_expect_eq(receive(fd), -EAGAIN);
		cr_expect_eq(fake_registered(fake_socket_on(fd)), 1);
		for (unsigned k = 0; k < FAKE_REGISTRATIONS; k++)
			if (fake.registrations[k].socket == fake_socket_on(fd))
				cr_expect_eq(fake.registrations[k].event.events, EPOLLONESHOT);
		expect_counted(0, 1, 0);
	}
}

static void close_the_set(void)
{
	fake.registrations[0].socket = NULL;
}

/* A set that was closed watches nothing any more, whatever was noted. */
Test(meanwhile, a_set_that_was_closed_is_forgotten)
{
	for (size_t i = 0; i < COUNT(waits) * 2; i++) {
		bool before = i / COUNT(waits);
		enum fake_call wait = waits[i % COUNT(waits)];
		pool_with(settings_default());
		int fd = dead_of(wait);
		watch_socket(fd, 50, EPOLLIN, 77);
		watch_socket(fd, 51, EPOLLIN, 78);
		if (before)
			close_the_set();
		else
			fake.before[wait] = close_the_set;
		cr_expect_eq(receive(fd), -EAGAIN);
		cr_expect_eq(connection_on(fd)->watches.count, 1);
		cr_expect_eq(connection_on(fd)->watches.entries[0].epfd, 51);
		cr_expect_eq(fake_registered(fake_socket_on(fd)), 1);
		expect_counted(0, 1, 0);
	}
}

Test(meanwhile, one_in_a_set_that_cannot_be_asked_is_left_alone)
{
	for (unsigned skip = 0; skip < 4; skip++) {
		pool_with(settings_default());
		int fd = dead_of(FAKE_CONNECT_PATIENTLY);
		watch_socket(fd, 50, EPOLLIN, 77);
		fake.error[FAKE_WATCH] = -ENOMEM;
		fake.skip[FAKE_WATCH] = skip;
		cr_expect_eq(receive(fd), 0, "%u", skip);
		cr_expect_eq(fake.calls[FAKE_OPEN_HIDDEN], skip >= 2, "%u", skip);
		expect_counted(0, 0, 1);
		fake.error[FAKE_WATCH] = 0;
		expect_settled(fd);
		check_books();
	}
}

static void send_more_in_handler(void)
{
	fake_socket_on(contested)->send_error = 0;
	cr_assert_gt(send_text(contested, GET), 0);
	kill_it(contested);
}

/* By then the first part may have been answered twice. */
Test(meanwhile, where_more_is_sent_meanwhile_neither_is_sent_a_third_time)
{
	for (size_t i = 0; i < COUNT(waits); i++) {
		pool_with(settings_default());
		int fd = dead_of(waits[i]);
		uint64_t cookie = cookie_on(fd);
		fake.before[waits[i]] = send_more_in_handler;
		/* As what was sent has not been told yet, it cannot be seen to be dead. */
		fake.error[FAKE_LOOK_AHEAD] = 0;
		long result = receive(fd);
		if (cookie_on(fd) == cookie) {
			cr_expect_eq(result, 0);
			cr_expect_eq(fake.calls[FAKE_SEND], 1);
			cr_expect_eq(receive(fd), 0);
			cr_expect_eq(fake.calls[FAKE_SEND], 1);
			expect_counted(0, 0, 1);
		} else {
			expect_sent(fd, GET GET, "both");
		}
		check_books();
	}
}

/* A connection with a state is parked with the question to undo it, and is not used before exactly
 * the answer has come.
 */
#include "tests/unit/renewal.h"
#include "tests/unit/toy.h"

#include "pool/reset.h"

#define LOGGED_IN 1 /* numbers of service points */
#define CLEAN     2

#define TIMES(table) for (size_t i = 0; i < COUNT(table); i++)

static void check(void)
{
	check_books();
	cr_expect_eq(pool.on_the_way, 0);
}

TestSuite(reset, .init = setup, .fini = check);

static int hidden_of(const struct connection *connection)
{
	cr_assert_eq(connection_state(connection), CONNECTION_PARKED);
	return atomic_load(&connection->hidden);
}

static struct fake_socket *socket_of_parked(const struct connection *connection)
{
	return fake_socket_on(hidden_of(connection));
}

/* Parks one whose user has logged in. */
static struct connection *park_logged_in_to(unsigned number)
{
	int fd = toy_connected_to(number);
	struct connection *connection = connection_on(fd);

	toy_ask(fd, TOY_LOGIN);
	close_socket(fd);
	cr_assert_not(fake_is_open(fd));
	return connection;
}

static struct connection *park_logged_in(void)
{
	return park_logged_in_to(LOGGED_IN);
}

static struct connection *park_clean(void)
{
	int fd = toy_idle(LOGGED_IN);
	struct connection *connection = connection_on(fd);

	close_socket(fd);
	return connection;
}

static void say(const struct connection *connection, const char *text)
{
	fake_say(hidden_of(connection), text, strlen(text));
}

static void answer(const struct connection *connection)
{
	say(connection, TOY_UNDONE);
}

/* Which connection a new socket gets; NULL: its own, which is made. */
static const struct connection *connect_one(int *fd)
{
	*fd = open_socket();
	const struct connection *own = connection_on(*fd);

	enum taken taken = connect_socket(*fd, endpoint_number(LOGGED_IN));
	cr_assert(taken == TAKEN_NONE || taken == TAKEN_DONE);
	cr_assert_eq(taken == TAKEN_NONE, connection_on(*fd) == own);
	return taken == TAKEN_NONE ? NULL : connection_on(*fd);
}

static const struct connection *connect_another(void)
{
	int fd;

	return connect_one(&fd);
}

/* ---- what is asked ---- */

Test(reset, is_asked_for_when_a_connection_with_a_state_is_parked)
{
	const struct connection *connection = park_logged_in();

	cr_expect(toy_heard_last(socket_of_parked(connection), TOY_QUESTION));
	cr_expect_not_null(connection->resetting);
	cr_expect_eq(pool.stats.parked, 1);
	cr_expect_eq(pool.stats.reset, 0, "nobody has answered");
	cr_expect_eq(connection->sent, socket_of_parked(connection)->sent_len);
}

Test(reset, is_not_asked_for_without_a_state)
{
	const struct connection *connection = park_clean();

	cr_expect_null(connection->resetting);
	cr_expect_eq(socket_of_parked(connection)->sent_len, 1);
	cr_expect_eq(connect_another(), connection);
	cr_expect_eq(pool.stats.reset, 0);
	cr_expect_eq(fake.calls[FAKE_LOOK_AHEAD], 0, "nor looked for");
}

static void expect_refused_for_its_state(int fd)
{
	close_socket(fd);
	cr_expect_eq(refused(REFUSED_STATE), 1);
	cr_expect_eq(pool.parked_count, 0);
	cr_expect_eq(fake.calls[FAKE_SEND], 0);
}

Test(reset, is_not_asked_for_where_nothing_helps)
{
	int fd = toy_connected_to(LOGGED_IN);

	toy_ask(fd, TOY_LISTEN);
	expect_refused_for_its_state(fd);
}

Test(reset, is_not_asked_for_where_the_protocol_has_none)
{
	static struct tracker without;
	int fd = connected_to(LOGGED_IN);

	without = toy_that_forgets;
	without.reset = NULL;
	connection_on(fd)->tracker = &without;
	toy_ask(fd, TOY_LOGIN);
	expect_refused_for_its_state(fd);
}

Test(reset, is_not_asked_for_in_the_midst_of_an_exchange)
{
	int fd = toy_connected_to(LOGGED_IN);

	toy_ask(fd, TOY_LOGIN);
	send_bytes(fd, TOY_COMMAND, 1);
	close_socket(fd);
	cr_expect_eq(refused(REFUSED_BUSY), 1);
	cr_expect_eq(fake.calls[FAKE_SEND], 0);
}

static struct fake_socket *watched_socket;
static struct call late_call;

static void begin_late_call(void)
{
	late_call = connection_enter(connection_on(contested));
	watched_socket->references++;
}

/* Whoever has it still would get the answer. */
Test(reset, is_not_asked_for_where_another_call_came_just_before_the_number_was_closed)
{
	contested = toy_connected_to(LOGGED_IN);
	toy_ask(contested, TOY_LOGIN);
	watched_socket = fake_socket_on(contested);
	fake.before[FAKE_CLOSE_NUMBER] = begin_late_call;
	close_socket(contested);
	cr_expect_eq(discarded(DISCARDED_DISTURBED), 1);
	cr_expect_eq(watched_socket->sent_len, 1);
	connection_leave(late_call);
}

Test(reset, that_cannot_be_asked_for_ends_the_connection)
{
	static const struct {
		const char *claim;
		int error;
		size_t send_most;
	} rows[] = {
		{"the peer has reset it", -ECONNRESET, 0},
		{"the peer takes nothing now", -ETIMEDOUT, 0},
		{"it takes a part", 0, 3},
	};

	TIMES(rows)
	{
		setup();
		fake.error[FAKE_SEND] = rows[i].error;
		fake.send_most = rows[i].send_most;
		int fd = toy_connected_to(LOGGED_IN);
		toy_ask(fd, TOY_LOGIN);
		cr_expect_eq(close_socket(fd), 0, "%s", rows[i].claim);
		cr_expect_eq(discarded(DISCARDED_NOT_RESET), 1, "%s", rows[i].claim);
		cr_expect_eq(discarded_in_all(), 1, "%s", rows[i].claim);
		cr_expect_eq(fake_hidden_count(), 0, "%s", rows[i].claim);
		cr_expect_eq(pool.points.used->in_use, 0, "%s", rows[i].claim);
		check();
	}
}

/* ---- what is answered ---- */

Test(reset, makes_the_connection_as_new_once_it_is_answered)
{
	const struct connection *connection = park_logged_in();
	int fd;

	answer(connection);
	cr_assert_eq(connect_one(&fd), connection);
	cr_expect_eq(pool.stats.reset, 1);
	cr_expect_eq(pool.stats.reused, 1);
	cr_expect_eq(fake_socket_on(fd)->coming_len, 0, "the answer is not for the program");
	cr_expect_eq(toy_on(fd)->resets, 1);
	cr_expect_not(toy_on(fd)->logged_in);
	cr_expect_null(connection->resetting);
	toy_ask(fd, TOY_COMMAND);
	close_socket(fd);
	cr_expect_eq(pool.stats.parked, 2);
	cr_expect_eq(pool.parked->sent, 6, "and the question is asked once");
}

Test(reset, can_be_asked_for_again_and_again)
{
	const struct connection *connection = park_logged_in();

	for (unsigned i = 1; i <= 5; i++) {
		int fd;
		answer(connection);
		cr_assert_eq(connect_one(&fd), connection);
		cr_expect_eq(pool.stats.reset, i);
		toy_ask(fd, TOY_LOGIN);
		close_socket(fd);
		cr_expect_not_null(connection->resetting);
	}
}

Test(reset, begins_with_nothing_known_where_the_tracker_has_no_word)
{
	int fd = connected_to(LOGGED_IN);
	const struct connection *connection = connection_on(fd);

	connection_on(fd)->tracker = &toy_that_forgets;
	toy_ask(fd, TOY_LOGIN);
	close_socket(fd);
	answer(connection);
	cr_assert_eq(connect_one(&fd), connection);
	for (size_t i = 0; i < TRACKER_STATE_MAX; i++)
		cr_expect_eq(connection->tracker_state[i], 0);
}

static void expect_counts_of_not_reused(void)
{
	cr_expect_eq(pool.stats.reused, 0);
	cr_expect_eq(pool.points.used->reused, 0);
	cr_expect_eq(pool.stats.reset, 0);
	cr_expect_eq(discarded_in_all(), 0);
}

Test(reset, that_is_not_answered_yet_is_not_waited_for)
{
	const struct connection *connection = park_logged_in();

	cr_expect_null(connect_another());
	expect_counts_of_not_reused();
	cr_expect_eq(pool.stats.opened, 2);
	cr_expect_eq(pool.points.used->in_use, 1);
	cr_expect_eq(pool.parked_count, 1);
	cr_expect_eq(fake.calls[FAKE_WAIT], 0);
	answer(connection);
	cr_expect_eq(connect_another(), connection, "the next one has it");
}

Test(reset, that_is_answered_in_part_is_awaited)
{
	const struct connection *connection = park_logged_in();
	static const char undone[] = TOY_UNDONE;

	for (size_t i = 0; i < sizeof(undone) - 1; i++) {
		cr_expect_null(connect_another());
		expect_counts_of_not_reused();
		expect_books_in_order();
		fake_say(hidden_of(connection), undone + i, 1);
	}
	cr_expect_eq(connect_another(), connection);
	cr_expect_eq(pool.stats.reset, 1);
}

/* By whoever looks first: connect(), or the keeper. */
static void expect_discarded_as_not_reset(const char *claim)
{
	cr_expect_null(connect_another(), "%s", claim);
	cr_expect_eq(discarded(DISCARDED_NOT_RESET), 1, "%s", claim);
	cr_expect_eq(discarded_in_all(), 1, "%s", claim);
	cr_expect_eq(pool.stats.reset, 0, "%s", claim);
	cr_expect_eq(pool.stats.reused, 0, "%s", claim);
	cr_expect_eq(pool.points.used->reused, 0, "%s", claim);
	cr_expect_eq(fake_hidden_count(), 0, "%s", claim);
	check();
}

static const char *const wrong_answers[] = {
	"-ERR unknown command\r\n",
	"-",
	"+done\n",
	"+done\r\n.",
	"+done\r\n+done\r\n",
	".+done\r\n",
	"..",
	"\r\n+done\r\n",
	"+DONE\r\n",
	"+dons\r\n",
	"+donE",
};

Test(reset, that_is_answered_otherwise_ends_the_connection)
{
	TIMES(wrong_answers)
	{
		setup();
		struct connection *connection = park_logged_in();
		say(connection, wrong_answers[i]);
		expect_discarded_as_not_reset(wrong_answers[i]);
		setup();
		connection = park_logged_in();
		say(connection, wrong_answers[i]);
		pool_end_of(&pool, connection, hidden_of(connection));
		expect_discarded_as_not_reset(wrong_answers[i]);
	}
}

Test(reset, that_the_end_comes_instead_of_ends_the_connection)
{
	static const int ends[] = {0, -ECONNRESET, -ETIMEDOUT};

	TIMES(ends)
	{
		setup();
		struct connection *connection = park_logged_in();
		socket_of_parked(connection)->peek = ends[i];
		expect_discarded_as_not_reset("an end");
		setup();
		connection = park_logged_in();
		socket_of_parked(connection)->peek = ends[i];
		pool_end_of(&pool, connection, hidden_of(connection));
		expect_discarded_as_not_reset("an end, as the keeper sees it");
	}
}

Test(reset, that_is_followed_by_the_end_is_a_dead_connection)
{
	const struct connection *connection = park_logged_in();

	answer(connection);
	socket_of_parked(connection)->peek = 0;
	cr_expect_null(connect_another());
	cr_expect_eq(discarded(DISCARDED_DEAD), 1);
	cr_expect_eq(pool.stats.reset, 1, "it was reset, and died then");
}

static struct connection *contested_parked;

static void say_more(void)
{
	struct fake_socket *socket = fake_socket_on(atomic_load(&contested_parked->hidden));

	socket->coming = "x";
	socket->coming_len = 1;
	socket->info.tcpi_bytes_received++;
}

Test(reset, is_not_the_last_proof)
{
	contested_parked = park_logged_in();
	answer(contested_parked);
	fake.after[FAKE_RECEIVE] = say_more;
	cr_expect_null(connect_another());
	cr_expect_eq(discarded(DISCARDED_UNSOLICITED), 1);
}

Test(reset, is_not_taken_where_a_byte_moved_unseen)
{
	const struct connection *connection = park_logged_in();

	answer(connection);
	socket_of_parked(connection)->info.tcpi_bytes_acked++;
	cr_expect_null(connect_another());
	cr_expect_eq(discarded(DISCARDED_LEDGER), 1);
}

static void steal_answer(void)
{
	fake_socket_on(atomic_load(&contested_parked->hidden))->coming_len = 0;
}

Test(reset, is_not_done_where_somebody_else_has_read_the_answer)
{
	contested_parked = park_logged_in();
	answer(contested_parked);
	fake.before[FAKE_RECEIVE] = steal_answer;
	cr_expect_null(connect_another());
	cr_expect_eq(discarded(DISCARDED_NOT_RESET), 1);
	cr_expect_eq(pool.stats.reset, 0);
}

Test(reset, reads_nothing_from_a_number_that_is_anothers)
{
	for (int keeper = 0; keeper < 2; keeper++) {
		setup();
		struct connection *connection = park_logged_in();
		int hidden = hidden_of(connection);
		fake_replace(hidden);
		fake_say(hidden, TOY_UNDONE, strlen(TOY_UNDONE));
		uint64_t stranger = cookie_on(hidden);
		if (keeper)
			pool_end_of(&pool, connection, hidden);
		cr_expect_null(connect_another());
		cr_assert(fake_is_open(hidden));
		cr_expect_eq(cookie_on(hidden), stranger);
		cr_expect_eq(fake_socket_on(hidden)->coming_len, strlen(TOY_UNDONE));
		cr_expect_eq(pool.stats.reset, 0);
		cr_expect_eq(discarded_in_all(), 1);
		fake_close(hidden);
		check();
	}
}

/* ---- which one is taken ---- */

Test(reset, that_is_under_way_makes_a_connection_the_second_choice)
{
	const struct connection *older = park_clean(), *newer;
	int fd = toy_connected_to(LOGGED_IN);

	cr_expect_eq(connection_on(fd), older, "that is all there was");
	int other = toy_connected_to(LOGGED_IN);
	newer = connection_on(other);
	toy_ask(fd, TOY_COMMAND);
	toy_ask(other, TOY_LOGIN);
	close_socket(fd);
	close_socket(other);
	cr_expect_eq(pool.parked, newer);
	answer(newer);
	cr_expect_eq(connect_another(), older, "older, but ready");
	cr_expect_eq(connect_another(), newer);
}

#define PARKED_MOST 6

static void park_some(const struct connection **connections, int count)
{
	int numbers[PARKED_MOST];

	for (int i = 0; i < count; i++) {
		numbers[i] = toy_connected_to(LOGGED_IN);
		connections[i] = connection_on(numbers[i]);
		toy_ask(numbers[i], TOY_LOGIN);
	}
	for (int i = 0; i < count; i++) {
		fake.now_ms++;
		close_socket(numbers[i]);
	}
}

static struct connection *close_with_burden(void)
{
	int fd = toy_connected_to(LOGGED_IN);
	struct connection *connection = connection_on(fd);

	toy_ask(fd, TOY_BURDEN);
	close_socket(fd);
	return connection;
}

Test(reset, of_what_costs_the_server_something_is_asked_only_where_it_was_answered_before)
{
	close_with_burden();
	cr_expect_eq(pool.parked_count, 0);
	cr_expect_eq(pool.stats.refused[REFUSED_STATE], 1);
	answer(park_logged_in());
	cr_assert_not_null(connect_another());
	close_with_burden();
	cr_expect_eq(pool.parked_count, 1);
	cr_expect_eq(pool.stats.refused[REFUSED_STATE], 1);
}

Test(reset, is_looked_for_on_the_oldest_first)
{
	const struct connection *connections[3];

	park_some(connections, 3);
	answer(connections[0]);
	cr_expect_eq(connect_another(), connections[0]);
	cr_expect_eq(fake.calls[FAKE_LOOK_AHEAD], 1);
}

Test(reset, that_is_not_answered_does_not_keep_others_from_being_used)
{
	const struct connection *connections[3];

	park_some(connections, 3);
	answer(connections[2]);
	cr_expect_eq(connect_another(), connections[2]);
	cr_expect_eq(fake.calls[FAKE_LOOK_AHEAD], 3);
}

Test(reset, is_not_looked_for_on_more_than_a_few)
{
	const struct connection *connections[PARKED_MOST];

	park_some(connections, PARKED_MOST);
	answer(connections[PARKED_MOST - 1]);
	cr_expect_null(connect_another());
	cr_expect_eq(fake.calls[FAKE_LOOK_AHEAD], 4);
}

Test(reset, that_is_awaited_leaves_the_connection_where_it_was)
{
	const struct connection *connections[3];

	park_some(connections, 3);
	for (int i = 0; i < 3; i++) {
		struct connection *one = (struct connection *)(uintptr_t)connections[i];
		pool_end_of(&pool, one, hidden_of(one));
		cr_expect_eq(pool.parked, connections[2]);
		cr_expect_eq(pool.parked->next, connections[1]);
		cr_expect_eq(pool.parked->prev, connections[0]);
		cr_expect_eq(pool.points.used->parked, connections[2]);
		cr_expect_eq(pool.points.used->parked->point_next, connections[1]);
		cr_expect_eq(pool.points.used->parked->point_prev, connections[0]);
		expect_books_in_order();
	}
	fake.now_ms += 100000;
	pool_expire(&pool);
	cr_expect_eq(discarded(DISCARDED_IDLE), 2, "the time since they were parked counts");
}

Test(reset, that_never_is_answered_ends_with_the_connections_time)
{
	const struct connection *connection = park_logged_in();

	fake.now_ms += 60000;
	cr_expect_null(connect_another(), "looked for in between");
	fake.now_ms += 40001;
	pool_expire(&pool);
	cr_expect_eq(discarded(DISCARDED_IDLE), 1);
	cr_expect_eq(connection_state(connection), CONNECTION_FREE);
}

Test(reset, does_not_hide_that_a_connection_cannot_be_made_like_the_socket)
{
	int fd;

	answer(park_logged_in());
	fd = open_socket();
	make_non_blocking(fd);
	fake.error[FAKE_SET_STATUS_FLAGS] = -EPERM;
	cr_expect_eq(connect_socket(fd, endpoint_number(LOGGED_IN)), TAKEN_NONE);
	cr_expect_eq(pool.stats.reset, 1);
	cr_expect_eq(discarded(DISCARDED_UNLIKE), 1);
}

/* ---- the limit ---- */

static void limit_to(long limit)
{
	struct settings settings = settings_default();

	settings.point.limit = limit;
	pool_with(settings);
}

Test(reset, that_is_answered_serves_where_only_one_connection_may_be)
{
	limit_to(1);
	const struct connection *connection = park_logged_in();
	answer(connection);
	cr_expect_eq(connect_another(), connection);
	cr_expect_eq(pool.stats.waited + pool.stats.over_limit, 0);
}

Test(reset, that_is_not_answered_makes_room_where_no_more_connections_may_be)
{
	for (long limit = 1; limit <= 3; limit++) {
		limit_to(limit);
		int numbers[3];
		for (long i = 0; i < limit; i++) {
			numbers[i] = toy_connected_to(LOGGED_IN);
			toy_ask(numbers[i], TOY_LOGIN);
		}
		for (long i = 0; i < limit; i++)
			close_socket(numbers[i]);
		cr_expect_eq(pool.parked_count, limit);
		cr_expect_null(connect_another());
		cr_expect_eq(pool.points.used->in_use, 1);
		cr_expect_eq(pool.parked_count, limit - 1);
		cr_expect_eq(discarded(DISCARDED_LIMIT), 1);
		cr_expect_eq(pool.stats.waited + pool.stats.over_limit, 0);
		check();
	}
}

/* ---- the keeper ---- */

static void look(struct connection *connection)
{
	pool_end_of(&pool, connection, hidden_of(connection));
}

Test(reset, is_seen_by_the_keeper)
{
	struct connection *connection = park_logged_in();

	answer(connection);
	look(connection);
	cr_expect_eq(pool.stats.reset, 1);
	cr_expect_null(connection->resetting);
	cr_expect_eq(connection_state(connection), CONNECTION_PARKED);
	cr_expect_eq(pool.parked_count, 1);
	cr_expect_eq(discarded_in_all(), 0);
	cr_expect_eq(connect_another(), connection);
	cr_expect_eq(pool.stats.reset, 1);
}

Test(reset, that_is_answered_in_part_is_left_alone_by_the_keeper)
{
	struct connection *connection = park_logged_in();
	static const char undone[] = TOY_UNDONE;

	for (size_t i = 0; i < sizeof(undone) - 1; i++) {
		look(connection);
		expect_books_in_order();
		cr_expect_eq(pool.stats.reset, 0);
		cr_expect_eq(discarded_in_all(), 0);
		fake_say(hidden_of(connection), undone + i, 1);
	}
	look(connection);
	cr_expect_eq(pool.stats.reset, 1);
}

Test(reset, that_is_done_leaves_the_keeper_to_judge_what_comes_then)
{
	struct connection *connection = park_logged_in();

	answer(connection);
	look(connection);
	say(connection, ".");
	look(connection);
	cr_expect_eq(discarded(DISCARDED_UNSOLICITED), 1);
}

static const struct connection *given;

static void connect_meanwhile(void)
{
	given = connect_another();
}

Test(reset, that_the_keeper_looks_at_is_not_there_for_others)
{
	struct connection *connection = park_logged_in();

	answer(connection);
	fake.before[FAKE_LOOK_AHEAD] = connect_meanwhile;
	look(connection);
	cr_expect_null(given);
	cr_expect_eq(pool.stats.opened, 2);
	cr_expect_eq(pool.stats.reset, 1);
	cr_expect_eq(connect_another(), connection);
}

static void look_meanwhile(void)
{
	pool_end_of(&pool, contested_parked, atomic_load(&contested_parked->hidden));
}

Test(reset, that_a_connect_looks_at_is_not_there_for_the_keeper)
{
	contested_parked = park_logged_in();
	answer(contested_parked);
	fake.before[FAKE_LOOK_AHEAD] = look_meanwhile;
	cr_expect_eq(connect_another(), contested_parked);
	cr_expect_eq(pool.stats.reset, 1);
	cr_expect_eq(discarded_in_all(), 0);
}

/* ---- while it is looked for ---- */

static void flush_all(void)
{
	static const struct pattern any = {.kind = PATTERN_ANY};

	manager_flush(&pool, &any);
}

static void turn_off(void)
{
	pool_turn_off(&pool);
}

static void fork_meanwhile(void)
{
	pool_prepare_fork(&pool);
	pool_after_fork_in_parent(&pool);
}

static void keep_lock(void)
{
	cr_assert(fake_acquire(&pool.lock));
	fake.pool = NULL;
}

static const struct {
	const char *claim;
	void (*happens)(void);
	enum discard expected; /* DISCARD_COUNT: it is parked again */
} meanwhiles[] = {
	{"its service point is flushed", flush_all, DISCARDED_FLUSHED},
	{"the pool is turned off", turn_off, DISCARDED_DISTURBED},
	{"the process forks", fork_meanwhile, DISCARD_COUNT},
};

Test(reset, is_looked_for_whatever_happens_to_the_pool_meanwhile)
{
	for (int keeper = 0; keeper < 2; keeper++)
		TIMES(meanwhiles)
		{
			setup();
			struct connection *connection = park_logged_in();
			enum discard expected = meanwhiles[i].expected;
			fake.before[FAKE_LOOK_AHEAD] = meanwhiles[i].happens;
			if (keeper)
				look(connection);
			else
				cr_expect_null(connect_another());
			cr_expect_eq(pool.parked_count, expected == DISCARD_COUNT, "%s",
				meanwhiles[i].claim);
			cr_expect_eq(discarded_in_all(), expected != DISCARD_COUNT, "%s",
				meanwhiles[i].claim);
			if (expected != DISCARD_COUNT)
				cr_expect_eq(discarded(expected), 1, "%s", meanwhiles[i].claim);
			check();
		}
}

Test(reset, that_is_looked_for_by_who_has_interrupted_the_pool_ends_the_connection)
{
	struct connection *connection = park_logged_in();

	fake.before[FAKE_LOOK_AHEAD] = keep_lock;
	look(connection);
	cr_expect_eq(discarded(DISCARDED_DISTURBED), 1);
	fake_release(&pool.lock);
	fake.pool = &pool;
	/* What was given back without the lock is on the list of the next one who has it. */
	cr_expect_null(connect_another());
}

static void use_another_point(void)
{
	int fd = toy_idle(CLEAN);

	close_socket(fd);
}

static void begin_to_use_another_point(void)
{
	toy_idle(CLEAN);
}

/* It goes, as it has no connection but the one that is looked at. */
Test(reset, is_looked_for_while_its_service_point_is_recycled)
{
	static void (*const deeds[])(void) = {use_another_point, begin_to_use_another_point};

	TIMES(deeds)
	{
		struct settings settings = settings_default();
		settings.max_service_points = 1;
		pool_with(settings);
		struct connection *connection = park_logged_in();
		fake.before[FAKE_LOOK_AHEAD] = deeds[i];
		look(connection);
		/* It takes the place of one that is not in use, and only of that. */
		cr_expect_eq(pool.parked_count, deeds[i] == use_another_point);
		cr_expect_eq(discarded(DISCARDED_RECYCLED), deeds[i] == use_another_point);
		cr_expect_eq(discarded(DISCARDED_DISTURBED), deeds[i] != use_another_point);
		cr_expect_eq(pool.points.count, 1);
		check();
	}
}

Test(reset, is_not_known_of_in_a_forked_child)
{
	const struct connection *connection = park_logged_in();
	int fd;

	pool_prepare_fork(&pool);
	pool_after_fork_in_child(&pool);
	cr_expect_eq(fake_hidden_count(), 0);
	do
		fd = open_socket();
	while (connection_on(fd) != connection);
	cr_expect_null(connection->resetting, "its memory is used for another");
}

/* ---- hazards ---- */

static void park_in_another_thread(void)
{
	close_socket(contested);
}

static void answer_late(void)
{
	let_other_run();
	fake_say(atomic_load(&contested_parked->hidden), TOY_UNDONE, strlen(TOY_UNDONE));
}

/* The keeper is told of the answer, or of something, before the connection is in the pool. */
Test(reset, that_is_answered_before_the_connection_is_parked_is_no_unasked_answer)
{
	contested = toy_connected_to(LOGGED_IN);
	toy_ask(contested, TOY_LOGIN);
	contested_parked = connection_on(contested);
	other_thread(park_in_another_thread);
	fake.after[FAKE_SEND] = hand_back;
	let_other_run();
	fake.before[FAKE_PEEK] = answer_late;
	pool_end_of(&pool, contested_parked, atomic_load(&contested_parked->hidden));
	cr_expect_eq(discarded(DISCARDED_UNSOLICITED), 0);
	cr_expect_eq(pool.stats.quarantined, 0);
	cr_expect_eq(pool.parked_count, 1);
}

static void connect_in_another_thread(void)
{
	given = connect_another();
}

Test(reset, that_is_answered_while_a_connect_gives_it_back_is_no_unasked_answer)
{
	contested_parked = park_logged_in();
	other_thread(connect_in_another_thread);
	/* It has looked, and nothing was there. */
	fake.error[FAKE_LOOK_AHEAD] = -EAGAIN;
	fake.before[FAKE_LOOK_AHEAD] = hand_back;
	let_other_run();
	fake.before[FAKE_PEEK] = answer_late;
	pool_end_of(&pool, contested_parked, atomic_load(&contested_parked->hidden));
	cr_expect_eq(discarded(DISCARDED_UNSOLICITED), 0);
	cr_expect_eq(pool.stats.quarantined, 0);
}

Test(reset, that_is_looked_for_keeps_to_the_most_that_may_be_parked)
{
	struct settings settings = settings_default();

	settings.max_parked = 1;
	pool_with(settings);
	struct connection *connection = park_logged_in();
	fake.before[FAKE_LOOK_AHEAD] = use_another_point;
	look(connection);
	cr_expect_leq(pool.parked_count, 1, "%u", pool.parked_count);
}

Test(reset, that_is_looked_for_leaves_the_status_page_right)
{
	static struct status_page page;

	status_open(&pool, &page, 4242);
	struct connection *connection = park_logged_in();
	look(connection);
	for (unsigned i = 0; i < STATUS_ROWS; i++)
		if (page.rows[i].used)
			cr_expect_eq(page.rows[i].parked, 1);
}

Test(reset, that_fails_is_counted_with_its_service_point_whoever_finds_out)
{
	struct connection *connection = park_logged_in();

	say(connection, "-ERR\r\n");
	look(connection);
	cr_expect_eq(pool.points.used->discarded[DISCARDED_NOT_RESET], 1, "the keeper");
	fake.error[FAKE_SEND] = -ECONNRESET;
	int fd = toy_connected_to(LOGGED_IN);
	toy_ask(fd, TOY_LOGIN);
	close_socket(fd);
	cr_expect_eq(pool.points.used->discarded[DISCARDED_NOT_RESET], 2, "close()");
}

static void expect_on_the_way(void)
{
	cr_expect_eq(pool.on_the_way, 1);
}

/* Who finds no number waits for those. */
Test(reset, that_the_keeper_looks_for_is_on_the_way)
{
	struct connection *connection = park_logged_in();

	fake.before[FAKE_LOOK_AHEAD] = expect_on_the_way;
	look(connection);
}

/* shutdown() and goodbyes are held back on an idle connection: close() parks it then, and whatever
 * else happens carries them out first.
 */
#include "tests/unit/renewal.h"
#include "tests/unit/toy.h"

#include <limits.h>

#include "pool/deferral.h"

#define MOST 16 /* held back at a time */

#define TIMES(table) for (size_t i = 0; i < COUNT(table); i++)

static void check(void)
{
	check_books();
	cr_expect_eq(pool.on_the_way, 0);
	cr_expect_eq(atomic_load(&deferral_count), 0);
}

/* The fake system is new, and the list is the process's own. */
static void begin_anew(void)
{
	deferral_after_fork_in_child();
	setup();
}

TestSuite(deferral, .init = setup, .fini = check);

/* ---- a program ---- */

enum done { DONE_LATER, DONE_NOW };

static enum refusal why;

/* shutdown(), as in the shim. */
static enum done shut(int fd, int how)
{
	struct connection *connection = connection_on(fd);
	struct call call = connection_enter(connection);
	bool later = deferral_of_shutdown(&pool, call, fd, how, &why);

	if (!later) {
		deferral_carry_out(&pool, call);
		if (how == SHUT_WR)
			atomic_store(&connection->half_closed, true);
		else
			connection_refuse(connection, REFUSED_SHUTDOWN);
		fake_os.shut_down(fd, how);
	}
	connection_leave(call);
	return later ? DONE_LATER : DONE_NOW;
}

/* send(), as in the shim, of what may be a goodbye. */
static enum done say(int fd, const char *text)
{
	deferral_carry_out_before(&pool, fd);
	struct call call = connection_enter(connection_on(fd));
	bool later = connection_may_say_goodbye(call.connection, strlen(text)) &&
		     deferral_of_goodbye(&pool, call, fd, text, strlen(text));

	if (!later)
		send_in_call(&call, fd, text, strlen(text), false);
	connection_leave(call);
	return later ? DONE_LATER : DONE_NOW;
}

static enum done say_goodbye(int fd)
{
	return say(fd, TOY_GOODBYE);
}

/* Any call of this thread's that is none on a connection. */
static void call_anything(void)
{
	deferral_carry_out_before(&pool, -1);
}

static int idle(void)
{
	return toy_idle(1);
}

static bool heard_goodbye(const struct fake_socket *socket)
{
	return toy_heard_last(socket, TOY_GOODBYE);
}

/* Which halves are shut: 1 is what comes, 2 what goes. */
static unsigned shut_halves(const struct fake_socket *socket)
{
	if (socket->shut_down)
		return 3;
	return (socket->deaf ? 1 : 0) | (socket->half_closed ? 2 : 0);
}

static bool is_untouched(const struct fake_socket *socket)
{
	return shut_halves(socket) == 0 && !heard_goodbye(socket);
}

/* The file, as somebody else has it, too, to look at after it was closed. */
static struct fake_socket *hold(int fd)
{
	fake_socket_on(fd)->references++;
	return fake_socket_on(fd);
}

/* ---- held back ---- */

Test(deferral, of_shutdown_parks_what_is_closed_then)
{
	static const int hows[] = {SHUT_RD, SHUT_WR, SHUT_RDWR};

	TIMES(hows)
	{
		begin_anew();
		int fd = idle();
		const struct fake_socket *socket = fake_socket_on(fd);
		cr_expect_eq(shut(fd, hows[i]), DONE_LATER);
		cr_expect_eq(atomic_load(&deferral_count), 1);
		cr_expect(is_untouched(socket));
		cr_expect_eq(close_socket(fd), 0);
		cr_expect(is_untouched(socket));
		cr_expect_eq(pool.stats.parked, 1);
		cr_expect_eq(pool.stats.deferred, 1);
		cr_expect_eq(pool.stats.carried_out, 0);
		check();
	}
}

Test(deferral, of_a_goodbye_parks_what_is_closed_then)
{
	int fd = idle();
	const struct fake_socket *socket = fake_socket_on(fd);

	cr_expect_eq(say_goodbye(fd), DONE_LATER);
	cr_expect(is_untouched(socket));
	cr_expect_eq(connection_on(fd)->sent, 1);
	close_socket(fd);
	cr_expect_eq(socket->sent_len, 1);
	cr_expect_eq(pool.stats.parked, 1);
	cr_expect_eq(pool.stats.deferred, 1);
	cr_expect_eq(pool.stats.carried_out, 0);
}

Test(deferral, leaves_nothing_behind_on_the_connection)
{
	for (unsigned i = 0; i < 3 * MOST; i++) {
		int fd = i == 0 ? idle() : connected_to(1);
		toy_ask(fd, TOY_COMMAND);
		cr_expect_eq(say_goodbye(fd), DONE_LATER, "use %u", i);
		cr_expect_eq(shut(fd, SHUT_RDWR), DONE_LATER, "use %u", i);
		close_socket(fd);
		cr_expect_eq(pool.stats.reused, i);
		cr_expect_eq(pool.stats.parked, i + 1);
	}
	cr_expect_eq(pool.stats.deferred, 3 * MOST);
	cr_expect_eq(pool.stats.carried_out, 0);
}

/* The state is undone without it. */
Test(deferral, is_as_good_where_a_reset_helps)
{
	int fd = toy_connected_to(1);
	const struct fake_socket *socket = fake_socket_on(fd);

	toy_ask(fd, TOY_LOGIN);
	cr_expect_eq(say_goodbye(fd), DONE_LATER);
	cr_expect_eq(shut(fd, SHUT_WR), DONE_LATER);
	close_socket(fd);
	cr_expect(toy_heard_last(socket, TOY_LOGIN TOY_QUESTION));
	cr_expect_eq(shut_halves(socket), 0);
	cr_expect_eq(pool.parked_count, 1);
}

/* ---- not held back ---- */

static void ask(int fd)
{
	send_bytes(fd, TOY_COMMAND, 1);
}

static void listen_on(int fd)
{
	toy_ask(fd, TOY_LISTEN);
}

static void hear_what_is_unread(int fd)
{
	fake_say(fd, ".", 1);
}

static void lose_the_peer(int fd)
{
	kill_it(fd);
}

static void send_unseen(int fd)
{
	fake_send(fd, "x", 1, false);
}

static void leave_unacknowledged(int fd)
{
	fake_socket_on(fd)->info.tcpi_unacked = 1;
}

static void refuse(int fd)
{
	connection_refuse(connection_on(fd), REFUSED_DUPLICATED);
}

static void share_with_a_child(int fd)
{
	(void)fd;
	pool_shared_descriptors(&pool);
}

static void begin_copying(int fd)
{
	(void)fd;
	atomic_fetch_add(&pool.copies_under_way, 1);
}

static void change_user(int fd)
{
	(void)fd;
	pool_change_credentials(&pool);
}

static void turn_off(int fd)
{
	(void)fd;
	pool_turn_off(&pool);
}

static void forbid(int fd)
{
	connection_on(fd)->point->settings.off = 1;
}

static void ask_for_signals(int fd)
{
	fake_socket_on(fd)->status_flags |= O_ASYNC;
}

static void replace(int fd)
{
	fake_replace(fd);
}

static void listen_at_its_port(int fd)
{
	deferral_note_listener((uint16_t)endpoint_port(&connection_on(fd)->peer));
}

static void forbid_deferral(int fd)
{
	(void)fd;
	pool.settings.defer_shutdown = pool.settings.defer_quit = 0;
}

static void begin_other_call(int fd)
{
	other_call = connection_enter(connection_on(fd));
}

static void claim_it(int fd)
{
	cr_assert(connection_try_claim(connection_enter(connection_on(fd))));
}

static const struct {
	const char *claim;
	void (*happens)(int fd);
} reasons[] = {
	{"an exchange is under way", ask}, {"there is a state that nothing undoes", listen_on},
	{"something is unread", hear_what_is_unread}, {"the peer is gone", lose_the_peer},
	{"bytes were sent unseen", send_unseen}, {"the peer has not got all", leave_unacknowledged},
	{"there is another descriptor", refuse}, {"it is half closed already", half_close},
	{"a child has it, too", share_with_a_child}, {"a child is being made", begin_copying},
	{"the process is another user's", change_user}, {"the pool is off", turn_off},
	{"a rule says that it is not pooled", forbid}, {"signals are sent for it", ask_for_signals},
	{"it is another file", replace}, {"a setting says so", forbid_deferral},
	{"another call is under way", begin_other_call}, {"somebody has it", claim_it},
	{"the process listens at that port", listen_at_its_port}, /* for ever: the last */
};

static void expect_not_held_back(int fd, enum done done, const char *claim)
{
	cr_expect_eq(done, DONE_NOW, "%s", claim);
	cr_expect_eq(atomic_load(&deferral_count), 0, "%s", claim);
	cr_expect_eq(connection_on(fd)->deferred, 0, "%s", claim);
	cr_expect_eq(pool.stats.deferred, 0, "%s", claim);
	cr_expect_eq(pool.stats.carried_out, 0, "%s", claim);
}

Test(deferral, is_only_of_what_would_be_parked)
{
	TIMES(reasons)
	{
		begin_anew();
		int fd = idle();
		reasons[i].happens(fd);
		expect_not_held_back(fd, shut(fd, SHUT_WR), reasons[i].claim);
		cr_expect_eq(shut_halves(fake_socket_on(fd)), 2, "%s", reasons[i].claim);
	}
}

Test(deferral, of_a_goodbye_is_only_of_what_would_be_parked)
{
	/* The list of listeners is for ever, too. */
	for (size_t i = 0; i < COUNT(reasons) - 1; i++) {
		begin_anew();
		int fd = idle();
		reasons[i].happens(fd);
		struct call call = connection_enter(connection_on(fd));
		bool later = deferral_of_goodbye(&pool, call, fd, TOY_GOODBYE, strlen(TOY_GOODBYE));
		connection_leave(call);
		expect_not_held_back(fd, later ? DONE_LATER : DONE_NOW, reasons[i].claim);
	}
}

Test(deferral, is_of_no_other_port_than_that_of_a_listener)
{
	deferral_note_listener(81);
	deferral_note_listener(79);
	deferral_note_listener(0x5000); /* 80, the other way round */
	deferral_note_listener(80 + 64);
	int fd = idle();
	cr_expect_eq(shut(fd, SHUT_WR), DONE_LATER);
	close_socket(fd);
}

Test(deferral, of_shutdown_is_of_the_ways_that_there_are)
{
	static const int hows[] = {-1, 3, 4, INT_MAX, INT_MIN};
	int fd = idle();

	TIMES(hows)
	{
		struct call call = connection_enter(connection_on(fd));
		cr_expect_not(deferral_of_shutdown(&pool, call, fd, hows[i], &why));
		connection_leave(call);
	}
	close_socket(fd);
}

Test(deferral, is_of_a_goodbye_that_is_whole_and_nothing_else)
{
	static const char *const others[] = {"quix", "qui", "quit\n", "QUIT", "q", ""};

	TIMES(others)
	{
		begin_anew();
		int fd = idle();
		struct call call = connection_enter(connection_on(fd));
		bool later = connection_may_say_goodbye(connection_on(fd), strlen(others[i])) &&
			     deferral_of_goodbye(&pool, call, fd, others[i], strlen(others[i]));
		connection_leave(call);
		expect_not_held_back(fd, later ? DONE_LATER : DONE_NOW, others[i]);
		close_socket(fd);
		cr_expect_eq(pool.stats.parked, 1, "%s", others[i]);
	}
}

Test(deferral, of_a_goodbye_is_not_where_the_peer_may_be_gone)
{
	int fd = idle();

	close_socket(fd);
	fd = connected_to(1);
	cr_assert_eq(connection_risk(connection_on(fd)), RISK_UNUSED);
	cr_expect_eq(say_goodbye(fd), DONE_NOW);
	cr_expect(heard_goodbye(fake_socket_on(fd)));
}

Test(deferral, of_a_goodbye_is_not_after_that_of_a_shutdown)
{
	int fd = idle();
	struct fake_socket *socket = fake_socket_on(fd);

	cr_expect_eq(shut(fd, SHUT_WR), DONE_LATER);
	struct call call = connection_enter(connection_on(fd));
	cr_expect_not(deferral_of_goodbye(&pool, call, fd, TOY_GOODBYE, strlen(TOY_GOODBYE)));
	connection_leave(call);
	cr_expect_eq(connection_on(fd)->deferred, SHUT_WR + 1);
	cr_expect_eq(say_goodbye(fd), DONE_NOW, "it was carried out first");
	cr_expect_eq(shut_halves(socket), 2);
}

Test(deferral, of_a_goodbye_is_not_of_a_second_one)
{
	int fd = idle();

	cr_expect_eq(say_goodbye(fd), DONE_LATER);
	cr_expect_eq(say_goodbye(fd), DONE_NOW);
	cr_expect(toy_heard_last(fake_socket_on(fd), TOY_GOODBYE TOY_GOODBYE));
	cr_expect_eq(pool.stats.carried_out, 1);
	close_socket(fd);
	cr_expect_eq(refused(REFUSED_SAID_GOODBYE), 1);
}

static void begin_other_call_meanwhile(void)
{
	begin_other_call(contested);
}

Test(deferral, is_not_where_another_call_begins_meanwhile)
{
	contested = idle();
	toy_meanwhile = begin_other_call_meanwhile;
	cr_expect_eq(say_goodbye(contested), DONE_NOW);
	cr_expect(heard_goodbye(fake_socket_on(contested)));
	cr_expect_eq(atomic_load(&deferral_count), 0);
	cr_expect_eq(connection_on(contested)->deferred, 0);
	leave_other_call();
	contested = idle();
	fake.before[FAKE_GET_STATUS_FLAGS] = begin_other_call_meanwhile;
	cr_expect_eq(shut(contested, SHUT_RDWR), DONE_NOW);
	cr_expect_eq(atomic_load(&deferral_count), 0);
	leave_other_call();
}

static void displace_meanwhile(void)
{
	fake_replace(contested);
	fake.descriptors[contested].connection = NULL;
	cr_assert_not(connection_displaced(other_call.connection, contested), "somebody has it");
}

/* While its proofs are looked at, or after that. */
Test(deferral, is_not_of_one_that_loses_its_number_meanwhile)
{
	static const enum fake_call moments[] = {FAKE_GET_STATUS_FLAGS, FAKE_THREAD_ID};

	TIMES(moments)
	{
		begin_anew();
		contested = idle();
		struct connection *connection = connection_on(contested);
		struct call call = connection_enter(connection);
		other_call.connection = connection;
		fake.before[moments[i]] = displace_meanwhile;
		cr_expect_not(deferral_of_shutdown(&pool, call, contested, SHUT_RDWR, &why));
		connection_leave(call);
		cr_expect_null(fake.before[moments[i]]);
		cr_expect_eq(connection_state(connection), CONNECTION_FREE);
		cr_expect(is_untouched(fake_socket_on(contested)));
		check();
	}
}

Test(deferral, is_of_so_many_at_a_time_and_of_more_when_they_are_gone)
{
	int numbers[MOST + 1];

	for (int round = 0; round < 3; round++) {
		for (int i = 0; i <= MOST; i++)
			numbers[i] = toy_idle((unsigned)i);
		for (int i = 0; i < MOST; i++)
			cr_expect_eq(shut(numbers[i], SHUT_WR), DONE_LATER);
		cr_expect_eq(atomic_load(&deferral_count), MOST);
		cr_expect_eq(shut(numbers[MOST], SHUT_WR), DONE_NOW);
		cr_expect_eq(shut_halves(fake_socket_on(numbers[MOST])), 2);
		cr_expect_eq(connection_on(numbers[MOST])->deferred, 0);
		cr_expect_eq(shut(numbers[0], SHUT_RD), DONE_LATER, "what is there can grow");
		if (round == 1)
			deferral_carry_out_all(&pool);
		for (int i = 0; i <= MOST; i++)
			close_socket(numbers[i]);
		cr_expect_eq(atomic_load(&deferral_count), 0);
		pool_drop(&pool);
	}
	cr_expect_eq(pool.stats.parked, 2 * MOST);
	cr_expect_eq(pool.stats.carried_out, MOST);
	cr_expect_eq(pool.stats.deferred, 3 * MOST);
}

/* ---- carried out ---- */

Test(deferral, is_of_what_was_done_in_all)
{
	static const struct {
		int hows[3]; /* up to -1 */
		unsigned expected;
	} rows[] = {
		{{SHUT_RD, -1}, 1},
		{{SHUT_WR, -1}, 2},
		{{SHUT_RDWR, -1}, 3},
		{{SHUT_RD, SHUT_WR, -1}, 3},
		{{SHUT_WR, SHUT_RD, -1}, 3},
		{{SHUT_WR, SHUT_WR, -1}, 2},
		{{SHUT_RD, SHUT_RD, -1}, 1},
		{{SHUT_RDWR, SHUT_RD, -1}, 3},
		{{SHUT_RD, SHUT_RDWR, -1}, 3},
	};

	for (int goodbye = 0; goodbye < 2; goodbye++)
		TIMES(rows)
		{
			begin_anew();
			int fd = idle();
			const struct fake_socket *socket = fake_socket_on(fd);
			if (goodbye)
				cr_expect_eq(say_goodbye(fd), DONE_LATER);
			for (const int *how = rows[i].hows; *how >= 0; how++)
				cr_expect_eq(shut(fd, *how), DONE_LATER);
			cr_expect(is_untouched(socket));
			call_anything();
			cr_expect_eq(shut_halves(socket), rows[i].expected, "row %zu", i);
			cr_expect_eq(heard_goodbye(socket), goodbye, "row %zu", i);
			cr_expect_eq(pool.stats.deferred, 1);
			cr_expect_eq(pool.stats.carried_out, 1);
			cr_expect_eq(atomic_load(&deferral_count), 0);
			/* Half closed, a dead one may still be renewed: pool/renew.h */
			cr_expect_eq(connection_refused(connection_on(fd)), rows[i].expected != 2);
			cr_expect_eq(connection_on(fd)->half_closed, rows[i].expected == 2);
			call_anything();
			cr_expect_eq(pool.stats.carried_out, 1, "once");
			close_socket(fd);
			cr_expect_eq(pool.stats.parked, 0);
			cr_expect_eq(discarded_in_all(), 0);
			check();
		}
}

Test(deferral, of_a_goodbye_says_just_that_to_the_server_and_to_the_tracker)
{
	int fd = idle();

	say_goodbye(fd);
	call_anything();
	cr_expect(toy_heard_last(fake_socket_on(fd), TOY_COMMAND TOY_GOODBYE));
	cr_expect_eq(connection_on(fd)->sent, 5);
	cr_expect_eq(toy_on(fd)->said_goodbye, 1);
	receive_bytes(fd, "!", 1);
	close_socket(fd);
	cr_expect_eq(refused(REFUSED_SAID_GOODBYE), 1);
}

static void expect_goodbye_said(void)
{
	cr_expect(heard_goodbye(fake_socket_on(contested)), "before the end");
}

Test(deferral, is_carried_out_in_order)
{
	contested = idle();
	say_goodbye(contested);
	shut(contested, SHUT_RDWR);
	fake.before[FAKE_SHUT_DOWN] = expect_goodbye_said;
	call_anything();
	cr_expect_eq(fake.calls[FAKE_SEND], 1);
	cr_expect_eq(fake.calls[FAKE_SHUT_DOWN], 1);
	cr_expect_null(fake.before[FAKE_SHUT_DOWN]);
}

Test(deferral, of_a_shutdown_does_not_stay_where_the_next_is_not_held_back)
{
	int fd = idle();

	shut(fd, SHUT_RD);
	pool.settings.defer_shutdown = 0;
	cr_expect_eq(shut(fd, SHUT_WR), DONE_NOW);
	cr_expect_eq(shut_halves(fake_socket_on(fd)), 3);
}

static int others_number;

static void call_on_it(void)
{
	deferral_carry_out_before(&pool, contested);
}

static void call_on_another(void)
{
	deferral_carry_out_before(&pool, others_number);
}

Test(deferral, ends_by_any_call_of_its_thread_and_by_calls_of_others_on_its_number)
{
	contested = idle();
	others_number = idle();
	const struct fake_socket *socket = fake_socket_on(contested);

	shut(contested, SHUT_WR);
	as_another_thread(call_anything);
	as_another_thread(call_on_another);
	cr_expect(is_untouched(socket));
	as_another_thread(call_on_it);
	cr_expect_eq(shut_halves(socket), 2);
	contested = idle();
	shut(contested, SHUT_WR);
	call_on_another();
	cr_expect_eq(shut_halves(fake_socket_on(contested)), 2);
}

/* Its own may have ended. */
Test(deferral, ends_by_any_call_of_any_thread_after_a_while)
{
	int fd = idle();

	shut(fd, SHUT_WR);
	fake.now_ms++;
	as_another_thread(call_anything);
	cr_expect(is_untouched(fake_socket_on(fd)));
	fake.now_ms++;
	as_another_thread(call_anything);
	cr_expect_eq(shut_halves(fake_socket_on(fd)), 2);
}

static bool concerns_number(const struct connection *connection, int fd, const void *what)
{
	cr_assert_eq(connection_on(fd), connection);
	cr_expect_not(
		connection_try_claim(connection_enter((struct connection *)(uintptr_t)connection)),
		"who asks has it");
	connection_leave((struct call){(struct connection *)(uintptr_t)connection,
		(uint32_t)(atomic_load(&connection->use) >> 32), false, 0});
	return fd == *(const int *)what;
}

Test(deferral, ends_where_another_thread_waits_for_it_and_only_there)
{
	int awaited = idle(), other = idle();

	shut(awaited, SHUT_WR);
	shut(other, SHUT_WR);
	deferral_carry_out_where(&pool, concerns_number, &awaited);
	cr_expect_eq(shut_halves(fake_socket_on(awaited)), 2);
	cr_expect(is_untouched(fake_socket_on(other)));
	cr_expect_eq(atomic_load(&deferral_count), 1);
	close_socket(other);
	cr_expect_eq(pool.stats.parked, 1);
}

/* A claim of who cannot go on: a signal handler has interrupted it, say. */
Test(deferral, ends_even_where_somebody_has_the_connection_for_himself)
{
	int fd = idle();
	struct connection *connection = connection_on(fd);

	shut(fd, SHUT_WR);
	struct call call = connection_enter(connection);
	cr_assert(connection_try_claim(call));
	call_anything();
	cr_expect_eq(shut_halves(fake_socket_on(fd)), 2);
	cr_expect_gt(fake.calls[FAKE_YIELD], 100, "it was given time");
	cr_expect_not(connection_try_claim(call), "it is still that one's");
	cr_expect_not(connection_unclaim(connection));
	connection_leave(call);
	close_socket(fd);
}

static void end_claim(void)
{
	cr_assert_not(connection_unclaim(other_call.connection));
	connection_leave(other_call);
}

Test(deferral, waits_for_who_has_the_connection_for_a_moment)
{
	int fd = idle();

	shut(fd, SHUT_WR);
	other_call = connection_enter(connection_on(fd));
	cr_assert(connection_try_claim(other_call));
	fake.after[FAKE_YIELD] = end_claim;
	call_anything();
	cr_expect_eq(fake.calls[FAKE_YIELD], 1);
	cr_expect_eq(shut_halves(fake_socket_on(fd)), 2);
	cr_expect_not(connection_is_connecting(connection_on(fd)));
}

static void expect_taken_meanwhile(void)
{
	struct call call = connection_enter(connection_on(contested));

	cr_expect(connection_is_connecting(call.connection), "others keep off its number");
	cr_expect_gt(fake.signals_blocked, 0);
	connection_leave(call);
}

Test(deferral, ends_with_others_off_the_number)
{
	contested = idle();
	say_goodbye(contested);
	fake.before[FAKE_SEND] = expect_taken_meanwhile;
	call_anything();
	cr_expect_null(fake.before[FAKE_SEND]);
	cr_expect_not(connection_is_connecting(connection_on(contested)));
}

/* ---- close() ---- */

static void fail_to_hide(int fd)
{
	(void)fd;
	fake.error[FAKE_HIDE] = -EMFILE;
}

static void hear_something(int fd)
{
	fake_say(fd, "!", 1);
}

static const struct {
	const char *claim;
	void (*happens)(int fd);
} hindrances[] = {
	{"the server has spoken", hear_something},
	{"there is no number", fail_to_hide},
	{"another descriptor was made unseen", refuse},
	{"a copy is being made", begin_copying},
	{"a rule has come", forbid},
};

Test(deferral, ends_with_a_close_that_does_not_park)
{
	TIMES(hindrances)
	{
		begin_anew();
		int fd = idle();
		struct fake_socket *socket = hold(fd);
		say_goodbye(fd);
		shut(fd, SHUT_WR);
		hindrances[i].happens(fd);
		close_socket(fd);
		cr_expect(heard_goodbye(socket), "%s", hindrances[i].claim);
		cr_expect_eq(shut_halves(socket), 2, "%s", hindrances[i].claim);
		cr_expect_eq(pool.stats.parked, 0, "%s", hindrances[i].claim);
		cr_expect_eq(pool.stats.carried_out, 1, "%s", hindrances[i].claim);
		check();
	}
}

Test(deferral, ends_with_a_close_while_another_call_is_under_way)
{
	contested = idle();
	struct connection *connection = connection_on(contested);

	shut(contested, SHUT_WR);
	begin_other_call(contested);
	struct call call = connection_enter(connection);
	cr_assert_eq(connection_begin_close(call), CLOSING_BUSY);
	deferral_carry_out(&pool, call);
	cr_expect_eq(shut_halves(fake_socket_on(contested)), 2, "before its number is closed");
	connection_leave(call);
	leave_other_call();
	close_socket(contested);
	cr_expect_eq(refused(REFUSED_SHUTDOWN), 1);
}

Test(deferral, is_the_closes_once_that_has_begun)
{
	int fd = idle();
	struct connection *connection = connection_on(fd);
	struct fake_socket *socket = fake_socket_on(fd);

	shut(fd, SHUT_WR);
	cr_assert_eq(begin_close(connection), CLOSING_CLAIMED);
	call_anything();
	deferral_carry_out_all(&pool);
	cr_expect(is_untouched(socket));
	pool_close(&pool, connection, fd);
	cr_expect_eq(pool.stats.parked, 1);
	cr_expect(is_untouched(socket));
}

/* ---- what goes wrong ---- */

Test(deferral, of_a_goodbye_that_is_sent_in_part_leaves_an_unfinished_connection)
{
	int fd = idle();

	say_goodbye(fd);
	fake.send_most = 2;
	call_anything();
	cr_expect_eq(connection_on(fd)->sent, 3);
	close_socket(fd);
	cr_expect_eq(pool.stats.parked, 0);
}

Test(deferral, of_a_goodbye_that_cannot_be_sent_goes_on_to_the_end)
{
	int fd = idle();

	say_goodbye(fd);
	shut(fd, SHUT_RDWR);
	fake.error[FAKE_SEND] = -ECONNRESET;
	call_anything();
	cr_expect_eq(connection_on(fd)->sent, 1);
	cr_expect_eq(shut_halves(fake_socket_on(fd)), 3);
	close_socket(fd);
	cr_expect_eq(refused(REFUSED_SHUTDOWN), 1);
}

static void expect_stranger_untouched(int fd)
{
	cr_expect_eq(shut_halves(fake_socket_on(fd)), 0);
	cr_expect_eq(fake_socket_on(fd)->sent_len, 0);
}

Test(deferral, is_of_the_file_and_not_of_what_has_its_number)
{
	int fd = idle();

	say_goodbye(fd);
	shut(fd, SHUT_RDWR);
	fake_replace(fd);
	call_anything();
	expect_stranger_untouched(fd);
	cr_expect_eq(pool.stats.carried_out, 0);
	cr_expect_eq(atomic_load(&deferral_count), 0);
}

/* dup2(): a connection that lost its number is given back, with what was held back. */
Test(deferral, ends_with_its_connection)
{
	int fd = idle();
	struct connection *connection = connection_on(fd);

	say_goodbye(fd);
	fake_replace(fd);
	fake.descriptors[fd].connection = NULL;
	cr_assert(connection_displaced(connection, fd));
	pool_release(&pool, connection);
	cr_expect_eq(atomic_load(&deferral_count), 0);
	expect_stranger_untouched(fd);
	/* Its memory is another's now. */
	int next = idle();
	cr_assert_eq(connection_on(next), connection);
	call_anything();
	cr_expect(is_untouched(fake_socket_on(next)));
	close_socket(next);
	cr_expect_eq(pool.stats.parked, 1);
}

Test(deferral, is_not_carried_out_on_what_takes_its_number_meanwhile)
{
	contested = idle();
	other_call.connection = connection_on(contested);
	shut(contested, SHUT_RDWR);
	fake.before[FAKE_GET_OPTION] = displace_meanwhile;
	call_anything();
	expect_stranger_untouched(contested);
	cr_expect_eq(connection_state(other_call.connection), CONNECTION_FREE);
}

/* ---- the process ---- */

Test(deferral, ends_before_a_copy_of_the_process_is_made)
{
	int fd = idle();

	say_goodbye(fd);
	shut(fd, SHUT_WR);
	pool_begin_copy(&pool);
	cr_expect(heard_goodbye(fake_socket_on(fd)));
	cr_expect_eq(shut_halves(fake_socket_on(fd)), 2);
	pool_end_copy(&pool);
	close_socket(fd);
}

Test(deferral, is_not_a_childs_that_shares_the_memory)
{
	int fd = idle();

	shut(fd, SHUT_WR);
	fake.shares_memory = true;
	pool_shared_descriptors(&pool);
	cr_expect(is_untouched(fake_socket_on(fd)));
	fake.shares_memory = false;
	cr_expect_eq(atomic_load(&deferral_count), 1);
	close_socket(fd);
	cr_expect_eq(pool.stats.parked, 0);
}

Test(deferral, is_not_a_childs)
{
	int fd = idle();

	/* Between the handlers of fork(), by another thread. */
	cr_assert(fake_acquire(&pool.lock));
	atomic_store(&pool.fork_owner, fake.thread_id);
	shut(fd, SHUT_WR);
	pool_after_fork_in_child(&pool);
	cr_expect_eq(atomic_load(&deferral_count), 0);
	cr_expect_eq(connection_on(fd)->deferred, 0);
	call_anything();
	deferral_carry_out_all(&pool);
	close_socket(fd);
	cr_expect_eq(fake.calls[FAKE_SHUT_DOWN] + fake.calls[FAKE_HALF_CLOSE], 0);
	cr_expect_eq(refused(REFUSED_FORKED), 1);
	for (int i = 0; i < MOST; i++)
		cr_expect_eq(shut(idle(), SHUT_WR), DONE_LATER, "it may hold back its own");
	deferral_carry_out_all(&pool);
}

Test(deferral, ends_with_the_pool)
{
	int fd = idle();

	say_goodbye(fd);
	pool_turn_off(&pool);
	cr_expect(heard_goodbye(fake_socket_on(fd)));
	close_socket(fd);
}

/* ---- hazards ---- */

/* No system call is made under the lock; and what other threads do with it may take its time. */
Test(deferral, ends_before_a_fork)
{
	int fd = idle();

	say_goodbye(fd);
	shut(fd, SHUT_WR);
	pool_prepare_fork(&pool);
	cr_expect(heard_goodbye(fake_socket_on(fd)));
	cr_expect_eq(shut_halves(fake_socket_on(fd)), 2);
	pool_after_fork_in_parent(&pool);
	close_socket(fd);
}

static void share_meanwhile(void)
{
	pool_shared_descriptors(&pool);
}

static void turn_off_meanwhile(void)
{
	pool_turn_off(&pool);
}

/* What carries all out, and keeps others from holding back, comes between the look and the deed. */
Test(deferral, does_not_outlive_what_would_have_ended_it_just_before)
{
	static void (*const deeds[])(void) = {share_meanwhile, turn_off_meanwhile};

	TIMES(deeds)
	{
		begin_anew();
		int fd = idle();
		fake.before[FAKE_GET_STATUS_FLAGS] = deeds[i];
		shut(fd, SHUT_WR);
		cr_expect_eq(shut_halves(fake_socket_on(fd)), 2, "row %zu", i);
		cr_expect_eq(atomic_load(&deferral_count), 0, "row %zu", i);
		close_socket(fd);
	}
}

/* close(), as in the shim, while another thread carries out. */
static void close_as_in_shim(int fd)
{
	struct connection *connection = connection_on(fd);
	struct call call = connection_enter(connection);
	uint64_t signals = fake_os.block_signals();

	cr_assert_eq(connection_begin_close(call), CLOSING_BUSY);
	deferral_carry_out(&pool, call);
	fake.descriptors[fd].connection = NULL;
	if (connection_lost_number(call))
		pool_release(&pool, connection);
	connection_leave(call);
	fake_os.restore_signals(signals);
	fake_close(fd);
}

static bool other_is_done;

static void carry_out_and_say_so(void)
{
	call_on_it();
	other_is_done = true;
}

static void let_other_end(void)
{
	if (!other_is_done)
		let_other_run();
}

Test(deferral, is_never_carried_out_on_what_comes_after_a_close)
{
	contested = idle();
	shut(contested, SHUT_RDWR);
	other_thread(carry_out_and_say_so);
	/* It has proved that the number is the connection's, and is about to shut that down. */
	fake.before[FAKE_SHUT_DOWN] = hand_back;
	let_other_run();
	fake.after[FAKE_YIELD] = let_other_end;
	close_as_in_shim(contested);
	cr_assert_eq(fake_socket(), contested, "the number is another file's");
	let_other_end();
	expect_stranger_untouched(contested);
}

Test(deferral, is_carried_out_in_order_by_two_threads)
{
	contested = idle();
	struct fake_socket *socket = fake_socket_on(contested);
	say_goodbye(contested);
	struct call call = connection_enter(connection_on(contested));
	other_thread(carry_out_and_say_so);
	fake.before[FAKE_SEND] = hand_back;
	let_other_run();
	fake.after[FAKE_YIELD] = let_other_end;
	/* The end of shutdown() in the shim, that found that it cannot be held back. */
	deferral_carry_out(&pool, call);
	cr_expect(heard_goodbye(socket), "what was said before comes before");
	let_other_end();
	connection_leave(call);
}

static struct fake_socket *watched_socket;

static void fork_in_another_thread(void)
{
	/* The child has what is on the number. */
	watched_socket->references++;
	atomic_fetch_add(&pool.fork_epoch, 1);
	deferral_carry_out_all(&pool);
}

static void receive_in_another_thread(void)
{
	watched_socket->references++;
	deferral_carry_out_before(&pool, contested);
	begin_other_call(contested);
}

/* What close() has dropped as it is going to park the connection, and does not park it: whoever has
 * the file waits for its end. */
Test(deferral, is_carried_out_by_a_close_that_finds_out_late_that_it_cannot_park)
{
	static void (*const deeds[])(void) = {fork_in_another_thread, receive_in_another_thread};

	TIMES(deeds)
	{
		begin_anew();
		contested = idle();
		other_call.connection = NULL;
		watched_socket = fake_socket_on(contested);
		shut(contested, SHUT_RDWR);
		fake.before[FAKE_CLOSE_NUMBER] = deeds[i];
		close_socket(contested);
		cr_expect_eq(discarded(DISCARDED_DISTURBED), 1);
		cr_expect_eq(shut_halves(watched_socket), 3, "row %zu", i);
		if (other_call.connection)
			leave_other_call();
	}
}

static void shut_contested(void)
{
	shut(contested, SHUT_RDWR);
	call_anything();
}

/* Each thread's next call carries out what it has done. */
Test(deferral, by_two_threads_ends_by_the_calls_of_either)
{
	contested = idle();
	say_goodbye(contested);
	as_another_thread(shut_contested);
	cr_expect_eq(shut_halves(fake_socket_on(contested)), 3);
	cr_expect(heard_goodbye(fake_socket_on(contested)));
	close_socket(contested);
}

/* The program has been told that it was sent, and may wait for what comes of that. */
Test(deferral, of_a_goodbye_that_cannot_be_sent_ends_the_connection)
{
	static const size_t rows[] = {0, 2};

	TIMES(rows)
	{
		begin_anew();
		int fd = idle();
		say_goodbye(fd);
		fake.send_most = rows[i];
		fake.error[FAKE_SEND] = rows[i] ? 0 : -ETIMEDOUT;
		call_anything();
		cr_expect_eq(shut_halves(fake_socket_on(fd)), 3, "it waits for ever else");
		close_socket(fd);
		cr_expect_eq(pool.stats.parked, 0);
	}
}

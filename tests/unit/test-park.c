/* close(): what is parked, and what is closed for which reason. */
#include "tests/unit/program.h"

#include <errno.h>
#include <fcntl.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static void setup(void)
{
	pool_with(settings_default());
}

TestSuite(park, .init = setup);

/* ---- refusals ---- */

static void leave_it_clean(int fd)
{
	exchange(fd);
}

static void send_half_a_request(int fd)
{
	send_bytes(fd, REQUEST, 5);
}

static void leave_it_unanswered(int fd)
{
	exchange(fd);
	send_bytes(fd, REQUEST, sizeof(REQUEST) - 1);
}

static void leave_it_unused(int fd)
{
	(void)fd;
}

static void shut_it_down(int fd)
{
	exchange(fd);
	connection_refuse(connection_on(fd), REFUSED_SHUTDOWN);
}

static void half_close_it(int fd)
{
	exchange(fd);
	atomic_store(&connection_on(fd)->half_closed, true);
}

static void bar_it(int fd)
{
	exchange(fd);
	set_option(fd, SOL_SOCKET, SO_PEEK_OFF, 0);
}

static void share_it(int fd)
{
	exchange(fd);
	pool_shared_descriptors(&pool);
}

static void replace_it(int fd)
{
	exchange(fd);
	struct tcp_info clean = fake_socket_on(fd)->info;
	fake_replace(fd);
	fake_socket_on(fd)->info = clean;
}

static void make_it_signal(int fd)
{
	exchange(fd);
	fake_socket_on(fd)->status_flags |= O_ASYNC;
}

static void receive_unseen(int fd)
{
	exchange(fd);
	fake_socket_on(fd)->info.tcpi_bytes_received++;
}

static void see_what_never_came(int fd)
{
	exchange(fd);
	fake_socket_on(fd)->info.tcpi_bytes_received--;
}

static void send_unseen(int fd)
{
	exchange(fd);
	fake_socket_on(fd)->info.tcpi_bytes_acked++;
}

static void leave_it_unacknowledged(int fd)
{
	exchange(fd);
	fake_socket_on(fd)->info.tcpi_unacked = 1;
}

static void leave_it_unsent(int fd)
{
	exchange(fd);
	fake_socket_on(fd)->info.tcpi_notsent_bytes = 1;
}

static void receive_fin(int fd)
{
	exchange(fd);
	fake_socket_on(fd)->info.tcpi_state = FAKE_CLOSE_WAIT;
}

static void lose_its_watch(int fd)
{
	struct epoll_event event = {0};

	exchange(fd);
	watch_socket(fd, 50, EPOLLIN, 0);
	cr_assert_eq(fake_os.watch(50, EPOLL_CTL_DEL, fd, &event), 0);
}

static void take_all_hidden_numbers(int fd)
{
	exchange(fd);
	fake.error[FAKE_HIDE] = -EMFILE;
}

struct close_row {
	const char *claim;
	void (*make)(int fd);
	enum refusal expected;
};

static const struct close_row closes[] = {
	{"clean", leave_it_clean, REFUSED_NOT},
	{"half a request was sent", send_half_a_request, REFUSED_BUSY},
	{"an answer is missing", leave_it_unanswered, REFUSED_BUSY},
	{"nothing was sent", leave_it_unused, REFUSED_UNUSED},
	{"shutdown()", shut_it_down, REFUSED_SHUTDOWN},
	{"shutdown() of one direction", half_close_it, REFUSED_SHUTDOWN},
	{"an option that cannot be undone", bar_it, REFUSED_SOCKET_OPTION},
	{"copied by a fork", share_it, REFUSED_FORKED},
	{"another socket is on the number", replace_it, REFUSED_IDENTITY},
	{"O_ASYNC", make_it_signal, REFUSED_ASYNC_OWNER},
	{"more received than seen", receive_unseen, REFUSED_LEDGER},
	{"less received than seen", see_what_never_came, REFUSED_LEDGER},
	{"more sent than seen", send_unseen, REFUSED_LEDGER},
	{"not acknowledged", leave_it_unacknowledged, REFUSED_LEDGER},
	{"not sent", leave_it_unsent, REFUSED_LEDGER},
	{"the peer's FIN", receive_fin, REFUSED_CLOSING},
	{"an epoll set does not know it", lose_its_watch, REFUSED_WATCHED},
	{"no hidden number is left", take_all_hidden_numbers, REFUSED_NO_ROOM},
};

static void expect_close(const struct close_row *row, int fd)
{
	unsigned closes_before = fake.calls[FAKE_CLOSE_NUMBER];

	cr_expect_eq(close_socket(fd), 0, "%s", row->claim);
	cr_expect_not(fake_is_open(fd), "%s", row->claim);
	cr_expect_null(connection_on(fd), "%s", row->claim);
	cr_expect_eq(fake.calls[FAKE_CLOSE_NUMBER] - closes_before, 1, "%s", row->claim);
	cr_expect_eq(pool.parked_count, row->expected == REFUSED_NOT, "%s", row->claim);
	for (int i = 1; i < REFUSAL_COUNT; i++)
		cr_expect_eq(refused((enum refusal)i), i == (int)row->expected, "%s: %s",
			row->claim, refusal_word((enum refusal)i));
	cr_expect_str_eq(fake.event, row->expected ? "closed" : "parked", "%s", row->claim);
	cr_expect_str_eq(fake.why, row->expected ? refusal_word(row->expected) : "");
	cr_expect_eq(pool.points.used->in_use, 0, "%s", row->claim);
	expect_books_in_order();
}

Test(park, every_doubt_is_a_real_close_and_counted_with_its_reason)
{
	for (size_t i = 0; i < COUNT(closes); i++) {
		pool_with(settings_default());
		int fd = connected_to(1);
		closes[i].make(fd);
		expect_close(&closes[i], fd);
	}
}

Test(park, a_reused_connection_is_proven_like_a_new_one)
{
	/* All but "nothing was sent": the one before had sent something. */
	for (size_t i = 0; i < COUNT(closes); i++) {
		if (closes[i].expected == REFUSED_UNUSED || closes[i].make == send_half_a_request)
			continue;
		pool_with(settings_default());
		use_and_close(1);
		int fd = open_socket();
		cr_assert_eq(connect_socket(fd, endpoint_number(1)), TAKEN_DONE);
		closes[i].make(fd);
		expect_close(&closes[i], fd);
	}
}

Test(park, a_connection_whose_protocol_says_close_is_closed)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
				     "Connection: close\r\n\r\n";
	int fd = connected_to(1);

	send_bytes(fd, REQUEST, sizeof(REQUEST) - 1);
	receive_bytes(fd, answer, sizeof(answer) - 1);
	close_socket(fd);
	cr_expect_eq(refused(REFUSED_ASKED_TO_CLOSE), 1);
}

/* ---- epoll ---- */

Test(park, a_parked_connection_is_in_no_epoll_set)
{
	int fd = connected_to(1);

	watch_socket(fd, 50, EPOLLIN, 1);
	watch_socket(fd, 51, EPOLLOUT, 2);
	exchange(fd);
	struct fake_socket *parked = fake_socket_on(fd);
	close_socket(fd);
	cr_assert_eq(pool.parked_count, 1);
	cr_expect_eq(fake_registered(parked), 0);
	cr_expect_eq(pool.parked->watches.count, 0);
}

/* ---- what close() says ---- */

Test(park, what_close_says_is_told_whether_it_parked_or_not)
{
	int parked = connected_to(1), closed = connected_to(2);

	exchange(parked);
	fake.error[FAKE_CLOSE_NUMBER] = -EINTR;
	cr_expect_eq(close_socket(parked), -EINTR);
	cr_expect_eq(close_socket(closed), -EINTR);
	cr_expect_eq(pool.parked_count, 1);
}

Test(park, a_refused_connection_is_off_the_table_before_its_number_is_closed)
{
	/* Once closed, the number may be another thread's at any time. */
	int fd = connected_to(1);
	struct connection *connection = connection_on(fd);

	fake.error[FAKE_CLOSE_NUMBER] = -EIO;
	cr_assert_eq(begin_close(connection), CLOSING_CLAIMED);
	cr_expect_eq(pool_close(&pool, connection, fd), -EIO);
	cr_expect_null(connection_on(fd));
	cr_expect_eq(connection_state(connection), CONNECTION_FREE);
}

/* ---- a connect() that nothing was moved on ---- */

Test(park, a_connection_that_came_to_be_unseen_is_counted_as_opened_when_it_is_closed)
{
	static const struct {
		const char *claim;
		uint8_t state;
		uint64_t acked;
		uint64_t expected;
	} rows[] = {
		{"established", FAKE_ESTABLISHED, 1, 1},
		{"refused", FAKE_CLOSE, 0, 0},
		{"still under way", FAKE_SYN_SENT, 0, 0},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		pool_with(settings_default());
		int fd = open_socket();
		connect_socket(fd, endpoint_number(1));
		atomic_store(&connection_on(fd)->opened, false);
		pool.stats.opened = 0;
		fake_socket_on(fd)->info.tcpi_state = rows[i].state;
		fake_socket_on(fd)->info.tcpi_bytes_acked = rows[i].acked;
		close_socket(fd);
		cr_expect_eq(pool.stats.opened, rows[i].expected, "%s", rows[i].claim);
	}
}

/* ---- races: something happens while close() is at work ---- */

static struct connection *closing;
static struct call call_on_it;

static void enter_it(void)
{
	call_on_it = connection_enter(closing);
}

static void enter_and_leave_it_with_bytes(void)
{
	const struct iovec vector = {.iov_base = (char[]){'x'}, .iov_len = 1};

	call_on_it = connection_enter(closing);
	cr_expect_not(connection_moved(call_on_it, SENT, &vector, 1));
	connection_leave(call_on_it);
}

static void refuse_it(void)
{
	connection_refuse(closing, REFUSED_DUPLICATED);
}

static void fork_it(void)
{
	pool_shared_descriptors(&pool);
}

/* Everything that can happen, at every call that close() makes of the system from the one that
 * hides the connection on. */
Test(park, whoever_disturbs_a_close_is_found_out_and_the_connection_closed)
{
	static const struct {
		const char *claim;
		void (*disturb)(void);
	} disturbers[] = {
		{"a call that is still under way", enter_it},
		{"a call that moved a byte", enter_and_leave_it_with_bytes},
		{"a call that made it unpoolable", refuse_it},
		{"a fork", fork_it},
	};
	static const enum fake_call calls[] = {FAKE_HIDE, FAKE_CLOSE_NUMBER, FAKE_FORGET};

	for (size_t i = 0; i < COUNT(disturbers) * COUNT(calls) * 2; i++) {
		enum fake_call call = calls[i / 2 % COUNT(calls)];
		const char *claim = disturbers[i / 2 / COUNT(calls)].claim;
		void (*disturb)(void) = disturbers[i / 2 / COUNT(calls)].disturb;

		pool_with(settings_default());
		int fd = connected_to(1);
		closing = connection_on(fd);
		exchange(fd);
		(i % 2 ? fake.before : fake.after)[call] = disturb;
		cr_expect_eq(close_socket(fd), 0);
		cr_expect_eq(pool.parked_count, 0, "%s, at call %d", claim, call);
		cr_expect_eq(discarded(DISCARDED_DISTURBED), 1, "%s, at call %d", claim, call);
		cr_expect_eq(fake_hidden_count(), 0, "%s, at call %d", claim, call);
		cr_expect_eq(pool.points.used->in_use, 0, "%s, at call %d", claim, call);
		cr_expect_eq(connection_state(closing), CONNECTION_FREE);
		expect_books_in_order();
	}
}

static int closed_number, number_after;

/* As soon as the number is closed, another thread's socket() may be given it. */
static void open_again(void)
{
	number_after = open_socket();
	cr_assert_eq(number_after, closed_number);
	if (connection_displaced(closing, closed_number))
		cr_assert_fail("it is being closed, and its closer gives it back");
}

Test(park, a_number_that_is_opened_again_at_once_is_the_new_sockets)
{
	int fd = closed_number = connected_to(1);
	uint64_t cookie = cookie_on(fd);

	closing = connection_on(fd);
	exchange(fd);
	fake.after[FAKE_CLOSE_NUMBER] = open_again;
	close_socket(fd);
	cr_expect(fake_is_open(number_after));
	cr_assert_not_null(connection_on(number_after));
	cr_expect_neq(connection_on(number_after), closing);
	cr_expect(is_reused_by(number_after, cookie));
}

Test(park, a_lock_that_is_not_to_be_had_discards_it)
{
	int fd = connected_to(1);
	struct connection *connection = connection_on(fd);

	exchange(fd);
	lock_break(&pool.lock);
	cr_expect_eq(close_socket(fd), 0);
	cr_expect_not(fake_is_open(fd));
	cr_expect_eq(fake_hidden_count(), 0);
	cr_expect_eq(discarded(DISCARDED_DISTURBED), 1);
	lock_reset(&pool.lock);
	cr_expect_eq(pool_adopt(&pool, AF_INET, pool_fork_epoch(&pool)), connection,
		"its memory was not lost");
	cr_expect_eq(pool.points.used->in_use, 0);
}

/* fork(): one process, one pool. */
#include "tests/unit/program.h"

#define LIVE_NUMBER   1
#define PARKED_NUMBER 2

static int live;
static uint64_t parked;

/* A live connection and a parked one. */
static void setup(void)
{
	pool_with(settings_default());
	live = connected_to(LIVE_NUMBER);
	exchange(live);
	parked = use_and_close(PARKED_NUMBER);
}

TestSuite(fork, .init = setup);

static void fork_as_parent(void)
{
	pool_prepare_fork(&pool);
	pool_after_fork_in_parent(&pool);
}

static void fork_as_child(void)
{
	pool_prepare_fork(&pool);
	pool_after_fork_in_child(&pool);
}

static void close_refused_as_forked(int fd)
{
	close_socket(fd);
	cr_expect_eq(refused(REFUSED_FORKED), 1);
	cr_expect_not(fake_is_open(fd));
}

static bool is_taken(unsigned number)
{
	return connect_socket(open_socket(), endpoint_number(number)) != TAKEN_NONE;
}

/* ---- the parent ---- */

Test(fork, in_the_parent_what_is_live_is_not_parked)
{
	fork_as_parent();
	close_refused_as_forked(live);
	expect_books_in_order();
}

Test(fork, in_the_parent_what_is_parked_can_be_taken_and_parked_again)
{
	fork_as_parent();
	cr_expect_eq(use_and_close(PARKED_NUMBER), parked);
	cr_expect_eq(use_and_close(PARKED_NUMBER), parked);
	cr_expect_eq(refused(REFUSED_FORKED), 0);
	expect_books_in_order();
}

Test(fork, in_the_parent_what_is_opened_later_is_parked)
{
	fork_as_parent();
	uint64_t later = use_and_close(LIVE_NUMBER);
	cr_expect_eq(use_and_close(LIVE_NUMBER), later);
}

Test(fork, what_was_taken_from_the_pool_before_it_is_not_parked_after_it)
{
	int fd = open_socket();

	cr_assert_neq(connect_socket(fd, endpoint_number(PARKED_NUMBER)), TAKEN_NONE);
	fork_as_parent();
	exchange(fd);
	close_refused_as_forked(fd);
}

Test(fork, a_socket_that_was_opened_before_it_is_not_replaced_after_it)
{
	int fd = open_socket();

	fork_as_parent();
	cr_expect_eq(connect_socket(fd, endpoint_number(PARKED_NUMBER)), TAKEN_NONE);
	exchange(fd);
	close_refused_as_forked(fd);
}

Test(fork, sharing_descriptors_refuses_what_is_live_and_keeps_what_is_parked)
{
	pool_shared_descriptors(&pool);
	cr_expect_eq(use_and_close(PARKED_NUMBER), parked);
	close_refused_as_forked(live);
}

/* ---- the lock ---- */

Test(fork, holds_the_lock_until_it_is_over)
{
	pool_prepare_fork(&pool);
	cr_expect_neq(pool.lock.word, 0);
	pool_after_fork_in_parent(&pool);
	cr_expect_eq(pool.lock.word, 0);
}

Test(fork, from_a_handler_that_interrupted_the_pool_leaves_the_lock_to_the_one_interrupted)
{
	cr_assert(fake_acquire(&pool.lock));
	fork_as_parent();
	cr_expect_eq(pool.lock.word, fake.thread_id);
	fake_release(&pool.lock);
	close_refused_as_forked(live);
	cr_expect_eq(use_and_close(PARKED_NUMBER), parked);
}

/* ---- the child ---- */

Test(fork, in_the_child_the_pool_is_empty_and_its_hidden_numbers_closed)
{
	fork_as_child();
	cr_expect_eq(pool.parked_count, 0);
	cr_expect_eq(pool.points.count, 0);
	cr_expect_eq(fake_hidden_count(), 0);
	cr_expect_not(is_taken(PARKED_NUMBER));
	expect_books_in_order();
}

Test(fork, in_the_child_the_numbers_begin_anew)
{
	char data[512];
	struct text text = {.data = data, .size = sizeof(data)};

	fork_as_child();
	cr_expect(pool_add_json(&pool, &text));
	cr_expect_eq(strncmp(data,
			     "\"connects\":0,\"opened\":0,\"reused\":0,\"waited\":0,\"over_limit\":"
			     "0,\"parked\":0,"
			     "\"reset\":0,\"deferred\":0,\"carried_out\":0,\"replayed\":0,"
			     "\"slipped_in\":0,\"failed\":0,\"quarantined\":0,"
			     "\"discarded\":{},\"refused\":{},\"service_points\":[]",
			     text.len),
		0);
}

Test(fork, in_the_child_a_hidden_number_that_is_another_socket_is_left_open)
{
	int hidden = atomic_load(&pool.parked->hidden);

	fake_replace(hidden);
	fork_as_child();
	cr_expect(fake_is_open(hidden));
	cr_expect_null(connection_on(hidden));
	cr_expect_eq(fake.calls[FAKE_DISCARD], 0);
}

Test(fork, in_the_child_what_was_live_stays_open_and_is_not_parked)
{
	fork_as_child();
	cr_expect(fake_is_open(live));
	close_refused_as_forked(live);
	expect_books_in_order();
}

Test(fork, in_the_child_calls_that_other_threads_had_under_way_are_no_more)
{
	struct connection *connection = connection_on(live);

	connection_enter(connection);
	fork_as_child();
	cr_expect_eq(begin_close(connection), CLOSING_CLAIMED);
}

Test(fork, in_the_child_a_pool_of_its_own_begins)
{
	fork_as_child();
	for (int i = 0; i < 100; i++) {
		uint64_t own = use_and_close(PARKED_NUMBER);
		cr_expect_neq(own, parked);
		cr_expect_eq(use_and_close(PARKED_NUMBER), own);
	}
	expect_books_in_order();
	fork_as_child();
	cr_expect_not(is_taken(PARKED_NUMBER), "and so in its child");
}

Test(fork, in_the_child_free_memory_is_used_and_live_connections_memory_is_not)
{
	struct connection *of_live = connection_on(live), *of_parked = pool.parked;
	int fd = open_socket();
	struct connection *free_one = connection_on(fd);

	close_socket(fd);
	fork_as_child();
	struct connection *first = pool_adopt(&pool, AF_INET, pool_fork_epoch(&pool));
	struct connection *second = pool_adopt(&pool, AF_INET, pool_fork_epoch(&pool));
	cr_expect(first == free_one || second == free_one);
	cr_expect(first == of_parked || second == of_parked, "nobody has what was parked");
	for (int i = 0; i < 50; i++) {
		struct connection *other = pool_adopt(&pool, AF_INET, pool_fork_epoch(&pool));
		cr_assert_not_null(other);
		cr_expect_neq(other, of_live);
		cr_expect_neq(other, of_parked);
	}
}

Test(fork, a_child_of_a_handler_that_interrupted_the_pool_does_without_one)
{
	fake.pool = NULL;
	cr_assert(fake_acquire(&pool.lock));
	fork_as_child();
	cr_expect_eq(fake_hidden_count(), 0);
	fake_release(&pool.lock);
	cr_expect_null(pool_adopt(&pool, AF_INET, pool_fork_epoch(&pool)),
		"not even when the one interrupted is done");
	close_refused_as_forked(live);
	cr_expect_eq(fake.calls[FAKE_WAIT], 0);
}

static struct connection *of_handler;

static void fork_in_handler(void)
{
	fork_as_child();
	of_handler = pool_adopt(&pool, AF_INET, pool_fork_epoch(&pool));
}

/* The other thread is done, and so wakes us; the next wake is ours. */
static void release_by_other(void)
{
	fake_release(&pool.lock);
	fake.before[FAKE_WAKE] = fork_in_handler;
}

/* A handler that interrupts socket() after it gave up the lock, and before it made anything of the
 * memory that it was given, forks; and the child opens a socket. */
Test(fork, memory_that_an_interrupted_adoption_has_in_hand_is_not_given_to_another)
{
	close_socket(open_socket());
	fake.thread_id = 2;
	cr_assert(fake_acquire(&pool.lock));
	fake.thread_id = 1;
	fake.after[FAKE_WAIT] = release_by_other;
	fake.pool = NULL;
	struct connection *interrupted = pool_adopt(&pool, AF_INET, pool_fork_epoch(&pool));
	cr_assert_not_null(interrupted);
	cr_assert_not_null(of_handler);
	cr_expect_neq(interrupted, of_handler);
}

/* A handler that interrupts close() between two of its steps forks, and the child goes on. */
Test(fork, a_child_that_is_in_the_middle_of_a_close_parks_nothing)
{
	static const enum fake_call calls[] = {FAKE_HIDE, FAKE_CLOSE_NUMBER, FAKE_FORGET};

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		setup();
		fake.after[calls[i]] = fork_as_child;
		cr_expect_eq(close_socket(live), 0);
		cr_expect_not(fake_is_open(live));
		cr_expect_eq(fake_hidden_count(), 0);
		cr_expect_eq(pool.parked_count, 0);
		expect_books_in_order();
	}
}

Test(fork, while_a_copy_is_under_way_nothing_is_parked_and_what_was_made_then_never_is)
{
	int before = connected_to(1);

	pool_begin_copy(&pool);
	int meanwhile = connected_to(2), closed_meanwhile = connected_to(3);
	exchange(before);
	exchange(meanwhile);
	exchange(closed_meanwhile);
	close_socket(closed_meanwhile);
	cr_expect_eq(pool.parked_count, 0);
	pool_end_copy(&pool);
	close_socket(before);
	close_socket(meanwhile);
	cr_expect_eq(pool.parked_count, 0);
	cr_expect_eq(refused(REFUSED_FORKED), 3);
	use_and_close(4);
	cr_expect_eq(pool.parked_count, 1);
}

/* What was sent is kept, and its memory comes back. */
#include "tests/unit/program.h"

#include "pool/kept.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static struct connection connection;
static uint8_t bytes[2 * KEPT_BYTES_MOST];

static void setup(void)
{
	pool_with(settings_default());
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 31 + i / 251);
}

static void check(void)
{
	cr_expect_eq(atomic_load(&pool.lock.word), 0);
	cr_expect_eq(fake.signals_blocked, 0);
}

TestSuite(kept, .init = setup, .fini = check);

static bool add(struct connection *to, size_t at, size_t len)
{
	const struct iovec vector = {.iov_base = bytes + at, .iov_len = len};

	return kept_add(&pool, to, &vector, len);
}

/* All of bytes up to there. */
static void expect_kept(size_t len)
{
	cr_assert_eq(connection.kept_len, len);
	cr_expect(memcmp(connection.kept, bytes, len) == 0, "%zu bytes", len);
}

static void expect_nothing_kept(void)
{
	cr_expect_null(connection.kept);
	cr_expect_eq(connection.kept_len, 0);
	cr_expect_eq(connection.kept_size, 0);
}

/* ---- what is kept ---- */

Test(kept, it_is_what_was_sent_in_order_however_it_came)
{
	static const size_t pieces[] = {1, 7, 100, 2047, 2048, 2049, 10000, 32768, 65536};

	for (size_t i = 0; i < COUNT(pieces); i++) {
		for (size_t at = 0; at + pieces[i] <= KEPT_BYTES_MOST; at += pieces[i])
			cr_assert(add(&connection, at, pieces[i]));
		expect_kept(KEPT_BYTES_MOST / pieces[i] * pieces[i]);
		kept_drop(&pool, &connection);
		expect_nothing_kept();
	}
}

Test(kept, of_a_vector_it_is_only_what_was_sent)
{
	const struct iovec vector[] = {
		{bytes, 10}, {NULL, 0}, {bytes + 10, 3000}, {bytes + 3010, 5000},
		{NULL, 5}, /* nothing of this was sent, nor looked at */
	};

	cr_assert(kept_add(&pool, &connection, vector, 4));
	expect_kept(4);
	kept_drop(&pool, &connection);
	cr_assert(kept_add(&pool, &connection, vector, 3500));
	expect_kept(3500);
	kept_drop(&pool, &connection);
	cr_assert(kept_add(&pool, &connection, vector, 8010));
	expect_kept(8010);
}

Test(kept, sixty_four_kilobytes_and_not_one_byte_more)
{
	cr_assert(add(&connection, 0, 65536));
	expect_kept(65536);
	cr_expect_not(add(&connection, 65536, 1));
	expect_nothing_kept();
	cr_expect_not(add(&connection, 0, 65537));
	expect_nothing_kept();
}

Test(kept, what_nobody_saw_is_not_kept_and_neither_is_what_was_before)
{
	cr_assert(add(&connection, 0, 10));
	cr_expect_not(kept_add(&pool, &connection, NULL, 10));
	expect_nothing_kept();
}

/* ---- memory ---- */

Test(kept, a_short_request_needs_no_lock)
{
	cr_assert(add(&connection, 0, 100));
	kept_drop(&pool, &connection);
	unsigned calls = fake.calls[FAKE_MAP];
	fake.pool = NULL;
	cr_assert(fake_acquire(&pool.lock));
	for (int i = 0; i < 100; i++) {
		cr_assert(add(&connection, 0, KEPT_PIECE));
		kept_drop(&pool, &connection);
	}
	cr_expect_eq(fake.calls[FAKE_MAP], calls);
	fake_release(&pool.lock);
}

Test(kept, without_the_lock_nothing_more_is_kept_and_nothing_breaks)
{
	cr_assert(add(&connection, 0, 4000));
	fake.pool = NULL;
	cr_assert(fake_acquire(&pool.lock));
	cr_expect_not(add(&connection, 4000, 4000));
	expect_nothing_kept();
	cr_expect_not(add(&connection, 0, 10));
	expect_nothing_kept();
	fake_release(&pool.lock);
	cr_expect(add(&connection, 0, 10));
}

Test(kept, without_memory_nothing_more_is_kept)
{
	cr_assert(add(&connection, 0, 100));
	fake.error[FAKE_MAP] = -ENOMEM;
	cr_expect_not(add(&connection, 100, 65000));
	expect_nothing_kept();
	fake.error[FAKE_MAP] = 0;
	cr_expect(add(&connection, 0, 65000));
}

Test(kept, as_many_at_a_time_as_there_are_connections)
{
	static struct connection many[100];

	for (int round = 0; round < 2; round++) {
		unsigned calls = fake.calls[FAKE_MAP];
		for (size_t i = 0; i < COUNT(many); i++)
			cr_assert(add(&many[i], i, 100 + i * 300));
		for (size_t i = 0; i < COUNT(many); i++) {
			cr_assert_eq(many[i].kept_len, 100 + i * 300);
			cr_expect(memcmp(many[i].kept, bytes + i, many[i].kept_len) == 0, "%zu", i);
		}
		for (size_t i = 0; i < COUNT(many); i++)
			kept_drop(&pool, &many[i]);
		if (round > 0)
			cr_expect_eq(fake.calls[FAKE_MAP], calls, "no new memory");
	}
}

/* The sizes in turn, so that pieces grow, and are given back in each size. */
Test(kept, no_memory_is_lost_in_ten_thousand_rounds)
{
	static const size_t sizes[] = {1, 2048, 2049, 5000, 16384, 16385, 65536};
	unsigned calls = 0;

	for (unsigned i = 0; i < 10000; i++) {
		size_t len = sizes[i % COUNT(sizes)];
		cr_assert(add(&connection, 0, 1));
		cr_assert(len == 1 || add(&connection, 1, len - 1));
		expect_kept(len);
		if (i % 3 == 0) {
			/* As pool/renew.c takes it out. */
			kept_give(&pool, connection.kept, connection.kept_size);
			connection.kept = NULL;
			connection.kept_len = connection.kept_size = 0;
		} else if (i % 3 == 1) {
			cr_assert_not(add(&connection, 0, KEPT_BYTES_MOST));
		}
		kept_drop(&pool, &connection);
		if (i == 2 * COUNT(sizes))
			calls = fake.calls[FAKE_MAP];
	}
	cr_expect_eq(fake.calls[FAKE_MAP], calls);
}

Test(kept, to_drop_nothing_is_fine)
{
	kept_drop(&pool, &connection);
	kept_give(&pool, NULL, 0);
	kept_give(&pool, NULL, KEPT_PIECE);
	expect_nothing_kept();
	cr_expect_null(pool.kept.pieces[0]);
}

Test(kept, a_connection_that_ends_gives_it_back)
{
	struct connection *one = pool_adopt(&pool, AF_INET, pool_fork_epoch(&pool));

	cr_assert(add(one, 0, 100));
	const void *piece = one->kept;
	pool_release(&pool, one);
	cr_expect_null(one->kept);
	cr_expect_eq(pool.kept.pieces[0], piece);
}

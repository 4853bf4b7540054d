/* What is learned of a server: how long it keeps idle connections, and when to leave it alone. */
#include "tests/unit/program.h"

#include "pool/learning.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define NOW          UINT64_C(1000000)

static struct learning learning;

TestSuite(learning);

/* ---- for how long idle connections are kept ---- */

Test(learning, four_fifths_of_the_time_after_which_one_was_dead_are_good)
{
	static const struct {
		uint32_t idle_ms, keeps_ms;
	} rows[] = {
		{5000, 4000},
		{1000, 800},
		{9, 7},
		{2, 1},
		{1, 1},
		{0, 1}, /* 0 would be unknown */
		{UINT32_MAX, UINT32_MAX / 5 * 4},
	};

	cr_expect_eq(learning_strict_ms(&learning, NOW), 0, "nothing is known yet");
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct learning one = {0};
		learning_death(&one, rows[i].idle_ms, NOW);
		cr_expect_eq(
			learning_strict_ms(&one, NOW), rows[i].keeps_ms, "%u", rows[i].idle_ms);
	}
}

Test(learning, the_shortest_time_counts)
{
	learning_death(&learning, 5000, NOW);
	learning_death(&learning, 10000, NOW);
	cr_expect_eq(learning_strict_ms(&learning, NOW), 4000);
	learning_death(&learning, 1000, NOW);
	cr_expect_eq(learning_strict_ms(&learning, NOW), 800);
}

Test(learning, after_ten_minutes_it_is_forgotten)
{
	learning_death(&learning, 5000, NOW);
	cr_expect_eq(learning_strict_ms(&learning, NOW + 599999), 4000);
	cr_expect_eq(learning_strict_ms(&learning, NOW + 600000), 0);
	learning_death(&learning, 10000, NOW + 600000);
	cr_expect_eq(learning_strict_ms(&learning, NOW + 600000), 8000, "also where it was less");
}

Test(learning, another_death_is_another_ten_minutes)
{
	learning_death(&learning, 5000, NOW);
	learning_death(&learning, 10000, NOW + 300000);
	cr_expect_eq(learning_strict_ms(&learning, NOW + 899999), 4000);
	cr_expect_eq(learning_strict_ms(&learning, NOW + 900000), 0);
}

/* ---- a habit ---- */

static void die_at(const uint64_t *times, size_t count)
{
	for (size_t i = 0; i < count; i++)
		learning_death(&learning, 5000, NOW + times[i]);
}

Test(learning, three_deaths_at_separate_moments_make_a_habit)
{
	static const struct {
		const char *claim;
		uint64_t times[6];
		size_t count;
		bool is_habit;
	} rows[] = {
		{"one", {0}, 1, false},
		{"two", {0, 5000}, 2, false},
		{"three", {0, 5000, 10000}, 3, true},
		{"three within a second, of a server that starts again", {0, 1, 999}, 3, false},
		{"two moments", {0, 500, 1000, 1500, 1999}, 5, false},
		{"three moments, a second apart", {0, 1000, 2000}, 3, true},
		{"a second is from the first of a moment", {0, 600, 1200, 1800, 2400}, 5, true},
		{"one that came in late", {1000, 0, 2000}, 3, false},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		learning = (struct learning){0};
		die_at(rows[i].times, rows[i].count);
		cr_expect_eq(learning_keeps_ms(&learning, NOW + 10000), rows[i].is_habit ? 4000 : 0,
			"%s", rows[i].claim);
		cr_expect_eq(learning_strict_ms(&learning, NOW + 10000), 4000,
			"who would rather be careful goes by the first: %s", rows[i].claim);
	}
}

Test(learning, a_habit_is_forgotten_with_what_it_is)
{
	static const uint64_t times[] = {0, 1000, 2000};

	die_at(times, 3);
	cr_expect_eq(learning_keeps_ms(&learning, NOW + 2000 + 599999), 4000);
	cr_expect_eq(learning_keeps_ms(&learning, NOW + 2000 + 600000), 0);
	learning_death(&learning, 5000, NOW + 2000 + 600000);
	cr_expect_eq(learning_keeps_ms(&learning, NOW + 2000 + 600000), 0, "and begins anew");
	cr_expect_eq(atomic_load(&learning.deaths), 1);
}

Test(learning, an_answer_at_a_greater_age_says_that_it_was_not_the_age)
{
	static const uint64_t times[] = {0, 1000, 2000};

	die_at(times, 3);
	learning_success(&learning, 5000);
	cr_expect_eq(learning_keeps_ms(&learning, NOW + 2000), 4000, "not that much greater");
	learning_success(&learning, 5002);
	cr_expect_eq(learning_keeps_ms(&learning, NOW + 2000), 0);
	cr_expect_eq(learning_strict_ms(&learning, NOW + 2000), 4000, "but careful it is to be");
	die_at((const uint64_t[]){3000, 4000}, 2);
	cr_expect_eq(learning_keeps_ms(&learning, NOW + 4000), 0);
	die_at((const uint64_t[]){5000}, 1);
	cr_expect_eq(learning_keeps_ms(&learning, NOW + 5000), 4000, "three more make one again");
}

Test(learning, an_answer_of_any_age_changes_nothing_where_nothing_is_known)
{
	learning_success(&learning, 5000);
	cr_expect_eq(learning_strict_ms(&learning, NOW), 0);
	cr_expect_eq(learning_keeps_ms(&learning, NOW), 0);
	cr_expect_eq(atomic_load(&learning.deaths), 0);
}

/* ---- quarantine ---- */

/* Another failure, when the quarantine before is just over. Returns how long the next one is. */
static uint64_t fail_again(uint64_t *now)
{
	uint64_t length = 1;

	cr_expect(learning_failure(&learning, *now));
	while (learning_is_quarantined(&learning, *now + length))
		length *= 2;
	/* Between length / 2 and length. */
	for (uint64_t step = length / 2; step > 0; step /= 2)
		if (!learning_is_quarantined(&learning, *now + length - step))
			length -= step;
	*now += length;
	return length;
}

Test(learning, there_is_none_without_a_failure)
{
	cr_expect_not(learning_is_quarantined(&learning, 0));
	cr_expect_not(learning_is_quarantined(&learning, NOW));
	learning_death(&learning, 5000, NOW);
	learning_success(&learning, 0);
	cr_expect_not(learning_is_quarantined(&learning, NOW));
}

Test(learning, a_quarantine_is_a_second_then_two_and_so_on_up_to_five_minutes)
{
	static const uint64_t seconds[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300};
	uint64_t now = NOW;

	for (size_t i = 0; i < COUNT(seconds); i++)
		cr_expect_eq(fail_again(&now), seconds[i] * 1000, "number %zu", i);
}

Test(learning, it_ends_in_the_very_millisecond)
{
	learning_failure(&learning, NOW);
	cr_expect(learning_is_quarantined(&learning, NOW));
	cr_expect(learning_is_quarantined(&learning, NOW + 999));
	cr_expect_not(learning_is_quarantined(&learning, NOW + 1000));
}

Test(learning, failures_within_one_are_no_new_one)
{
	uint64_t now = NOW;

	cr_expect(learning_failure(&learning, NOW));
	for (int i = 0; i < 100; i++)
		cr_expect_not(learning_failure(&learning, NOW + 5));
	cr_expect_not(learning_is_quarantined(&learning, NOW + 1000), "it is not longer for that");
	now += 1000;
	cr_expect_eq(fail_again(&now), 2000, "and neither is the next one");
}

Test(learning, a_success_halves_the_next_one_but_a_second_is_the_least)
{
	uint64_t now = NOW;

	for (int i = 0; i < 4; i++)
		fail_again(&now);
	learning_success(&learning, 0);
	cr_expect_eq(fail_again(&now), 8000);
	for (int i = 0; i < 3; i++)
		learning_success(&learning, 0);
	cr_expect_eq(fail_again(&now), 2000);
	for (int i = 0; i < 3; i++)
		learning_success(&learning, 0);
	cr_expect_eq(fail_again(&now), 1000, "not half of it");
	for (int i = 0; i < 40; i++)
		learning_success(&learning, 0);
	cr_expect_eq(fail_again(&now), 1000);
	cr_expect_eq(fail_again(&now), 2000);
}

Test(learning, what_is_shown_is_what_is_acted_on)
{
	struct learned learned = learning_learned(&learning, NOW);

	cr_expect_eq(learned.keeps_ms, 0);
	cr_expect_not(learned.is_habit);
	cr_expect_eq(learned.quarantined_until_ms, 0);
	for (unsigned deaths = 1; deaths <= LEARNING_DEATHS; deaths++) {
		uint64_t now = NOW + deaths * LEARNING_MOMENT_MS;
		learning_death(&learning, 5000, now);
		learned = learning_learned(&learning, now);
		cr_expect_eq(learned.keeps_ms, 4000);
		cr_expect_eq(learned.is_habit, learning_keeps_ms(&learning, now) == 4000);
		cr_expect_eq(learned.keeps_until_ms, now + LEARNING_KEEPS_MS);
	}
	cr_expect(learned.is_habit);
	learning_failure(&learning, NOW);
	learned = learning_learned(&learning, learned.keeps_until_ms);
	cr_expect_eq(learned.keeps_ms, 0, "it is forgotten");
	cr_expect_not(learned.is_habit);
	cr_expect_eq(learned.quarantined_until_ms, NOW + LEARNING_QUARANTINE_FIRST);
}

Test(learning, a_success_does_not_end_one)
{
	learning_failure(&learning, NOW);
	learning_success(&learning, 0);
	cr_expect(learning_is_quarantined(&learning, NOW + 999));
}

/* ---- what the pool makes of it ---- */

static void setup(void)
{
	pool_with(settings_default());
}

static void check_books(void)
{
	expect_books_in_order();
}

TestSuite(learned, .init = setup, .fini = check_books);

static bool next_one_is_new(unsigned number)
{
	return connect_socket(open_socket(), endpoint_number(number)) == TAKEN_NONE;
}

/* One is parked at this service point, and dead when it is taken so much later. */
static void lose_only_one_after(unsigned number, uint64_t ms)
{
	int fd = connected_to(number);

	finish(fd);
	cr_assert_not_null(pool.parked);
	fake_socket_on(atomic_load(&pool.parked->hidden))->peek = 0;
	fake.now_ms += ms;
	close_socket(connected_to(number));
	cr_assert_eq(pool.parked_count, 0);
}

/* So many that it is a habit of the server's. */
static void lose_one_after(unsigned number, uint64_t ms)
{
	for (int i = 0; i < LEARNING_DEATHS; i++) {
		lose_only_one_after(number, ms);
		fake.now_ms += LEARNING_MOMENT_MS;
	}
}

Test(learned, a_single_death_is_none_of_a_habit)
{
	lose_only_one_after(1, 5000);
	uint64_t cookie = use_and_close(1);
	fake.now_ms += 60000;
	cr_expect(is_reused_by(open_socket(), cookie));
}

Test(learned, one_that_was_dead_when_it_was_taken_says_how_old_others_may_be)
{
	lose_one_after(1, 5000);
	use_and_close(1);
	fake.now_ms += 4000;
	cr_expect_not(next_one_is_new(1));
	use_and_close(1);
	fake.now_ms += 4001;
	cr_expect(next_one_is_new(1));
	cr_expect_eq(discarded(DISCARDED_IDLE), 1);
	cr_expect_eq(discarded(DISCARDED_DEAD), LEARNING_DEATHS);
}

Test(learned, another_service_point_is_another_server)
{
	lose_one_after(1, 5000);
	use_and_close(2);
	fake.now_ms += 60000;
	cr_expect_not(next_one_is_new(2));
}

Test(learned, what_was_learned_is_tried_again_after_ten_minutes)
{
	lose_one_after(1, 5000);
	fake.now_ms += LEARNING_KEEPS_MS;
	use_and_close(1);
	fake.now_ms += 60000;
	cr_expect_not(next_one_is_new(1));
}

Test(learned, those_that_have_become_too_old_are_closed_when_others_are_parked)
{
	lose_one_after(1, 5000);
	use_and_close(2);
	use_and_close(1);
	fake.now_ms += 4001;
	use_and_close(3);
	cr_expect_eq(discarded(DISCARDED_IDLE), 1, "also where an older one of another is not");
	cr_expect_eq(pool.parked_count, 2);
}

#define KEEPS_5 "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nKeep-Alive: timeout=5\r\n\r\n"

static void park_one_that_is_kept_for_5_seconds(void)
{
	int fd = connected_to(1);

	send_bytes(fd, REQUEST, sizeof(REQUEST) - 1);
	receive_bytes(fd, KEEPS_5, sizeof(KEEPS_5) - 1);
	close_socket(fd);
}

Test(learned, what_the_server_announces_holds_as_a_second_less)
{
	park_one_that_is_kept_for_5_seconds();
	fake.now_ms += 4000;
	cr_expect_not(next_one_is_new(1));
	park_one_that_is_kept_for_5_seconds();
	cr_assert_eq(pool.parked_count, 1);
	fake.now_ms += 4001;
	cr_expect(next_one_is_new(1));
	cr_expect_eq(discarded(DISCARDED_IDLE), 1);
}

Test(learned, one_whose_announced_time_is_over_is_closed_though_others_were_parked_before)
{
	use_and_close(2);
	park_one_that_is_kept_for_5_seconds();
	cr_expect(pool.points_differ);
	fake.now_ms += 4001;
	use_and_close(3);
	cr_expect_eq(discarded(DISCARDED_IDLE), 1);
	cr_expect_eq(pool.parked_count, 2);
}

Test(learned, where_nothing_is_announced_or_learned_service_points_do_not_differ)
{
	use_and_close(1);
	use_and_close(2);
	cr_expect_not(pool.points_differ);
}

/* For the keeper. */
Test(learned, the_next_time_that_one_expires_is_that_of_what_is_announced_and_learned)
{
	use_and_close(2);
	cr_expect_eq(pool_expire(&pool), 100000, "by the settings");
	park_one_that_is_kept_for_5_seconds();
	cr_expect_eq(pool_expire(&pool), 4000, "it was announced");
	fake.now_ms += 1500;
	cr_expect_eq(pool_expire(&pool), 2500);
	struct learning *known = &pool.points.used->learning;
	learning_death(known, 3000, fake.now_ms);
	cr_expect_eq(pool_expire(&pool), 2500, "that is none of a habit");
	learning_death(known, 3000, fake.now_ms + 1000);
	learning_death(known, 3000, fake.now_ms + 2000);
	cr_expect_eq(pool_expire(&pool), 900, "it was learned that it is less");
	fake.now_ms += 900;
	cr_expect_eq(pool_expire(&pool), 0, "in this millisecond it is still good");
	cr_expect_eq(pool.parked_count, 2);
	fake.now_ms++;
	cr_expect_eq(pool_expire(&pool), 100000 - 2401);
	cr_expect_eq(pool.parked_count, 1);
}

Test(learned, without_a_limit_of_the_settings_what_is_announced_is_one)
{
	struct settings settings = settings_default();

	settings.point.idle_ms = -1;
	pool_with(settings);
	use_and_close(2);
	cr_expect_eq(pool_expire(&pool), -1);
	park_one_that_is_kept_for_5_seconds();
	cr_expect_eq(pool_expire(&pool), 4000);
	fake.now_ms += 4001;
	cr_expect_eq(pool_expire(&pool), -1);
	cr_expect_eq(pool.parked_count, 1);
}

Test(learned, of_what_is_announced_and_what_is_learned_the_shorter_counts)
{
	lose_one_after(1, 1000);
	park_one_that_is_kept_for_5_seconds();
	fake.now_ms += 801;
	cr_expect(next_one_is_new(1));
	lose_one_after(2, 60000);
	park_one_that_is_kept_for_5_seconds();
	fake.now_ms += 4001;
	cr_expect(next_one_is_new(1));
}

Test(learned, a_longer_time_than_the_settings_allow_is_none)
{
	struct settings settings = settings_default();

	settings.point.idle_ms = 3000;
	pool_with(settings);
	park_one_that_is_kept_for_5_seconds();
	fake.now_ms += 3001;
	cr_expect(next_one_is_new(1));
}

/* Something was said that nobody had asked for. */
static void be_told_unasked(unsigned number)
{
	use_and_close(number);
	cr_assert_not_null(pool.parked);
	fake_socket_on(atomic_load(&pool.parked->hidden))->peek = 1;
	close_socket(connected_to(number));
}

Test(learned, in_quarantine_connections_are_parked_and_not_taken)
{
	be_told_unasked(1);
	cr_expect_eq(pool.stats.quarantined, 1);
	uint64_t cookie = use_and_close(1);
	cr_expect_eq(pool.parked_count, 1);
	fake.now_ms += 999;
	cr_expect(next_one_is_new(1));
	fake.now_ms += 1;
	cr_expect(is_reused_by(open_socket(), cookie));
}

Test(learned, quarantine_is_of_one_service_point)
{
	use_and_close(2);
	be_told_unasked(1);
	cr_expect_not(next_one_is_new(2));
}

Test(learned, the_next_quarantine_is_longer_and_an_answer_halves_it)
{
	be_told_unasked(1);
	fake.now_ms += 1000;
	be_told_unasked(1);
	use_and_close(1);
	fake.now_ms += 1999;
	cr_expect(next_one_is_new(1));
	fake.now_ms += 1;
	int fd = connected_to(1);
	cr_expect_eq(pool.stats.reused, 1);
	finish(fd);
	cr_expect_eq(pool.stats.quarantined, 2);
	be_told_unasked(1);
	use_and_close(1);
	fake.now_ms += 2000;
	cr_expect_not(next_one_is_new(1), "four would have been next");
}

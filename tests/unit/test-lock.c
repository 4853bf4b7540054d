#include "tests/unit/fake_os.h"

#include <criterion/criterion.h>

#define US    1
#define OTHER 2

static struct lock lock;

static void release_by_other(void)
{
	fake_release(&lock);
}

static bool acquire_as(uint32_t thread_id)
{
	uint32_t before = fake.thread_id;

	fake.thread_id = thread_id;
	bool acquired = fake_acquire(&lock);
	fake.thread_id = before;
	return acquired;
}

Test(lock, a_free_one_is_had_at_once_and_given_back)
{
	for (int i = 0; i < 2; i++) {
		cr_assert(fake_acquire(&lock));
		cr_expect_eq(lock.word, US);
		fake_release(&lock);
		cr_expect_eq(lock.word, 0);
	}
	cr_expect_eq(fake.calls[FAKE_WAIT], 0);
	cr_expect_eq(fake.calls[FAKE_WAKE], 0);
}

Test(lock, a_thread_that_has_it_is_refused_at_once)
{
	cr_assert(fake_acquire(&lock));
	cr_expect_not(fake_acquire(&lock));
	cr_expect_eq(fake.calls[FAKE_WAIT], 0);
	cr_expect_eq(lock.word, US, "it still has it");
}

Test(lock, a_thread_that_has_it_while_others_wait_is_refused_at_once)
{
	cr_assert(fake_acquire(&lock));
	lock.word |= 1U << 31;
	cr_expect_not(fake_acquire(&lock));
	cr_expect_eq(fake.calls[FAKE_WAIT], 0);
}

Test(lock, another_thread_waits_until_it_is_free)
{
	cr_assert(acquire_as(OTHER));
	fake.after[FAKE_WAIT] = release_by_other;
	cr_assert(fake_acquire(&lock));
	cr_expect_eq(fake.calls[FAKE_WAIT], 1);
	cr_expect_eq(fake.calls[FAKE_WAKE], 1, "the holder knew that somebody waited");
	cr_expect_eq(lock.word & ~(1U << 31), US);
}

Test(lock, whoever_waited_wakes_the_next_one_that_may_wait)
{
	cr_assert(acquire_as(OTHER));
	fake.after[FAKE_WAIT] = release_by_other;
	cr_assert(fake_acquire(&lock));
	fake_release(&lock);
	cr_expect_eq(fake.calls[FAKE_WAKE], 2);
	cr_expect_eq(lock.word, 0);
}

Test(lock, that_is_not_to_be_had_for_a_second_is_refused_without_a_wait_until_it_is_free)
{
	uint64_t begun = fake.now_ms;

	cr_assert(acquire_as(OTHER));
	cr_expect_not(fake_acquire(&lock));
	cr_expect_eq(fake.now_ms - begun, 1000);
	unsigned waits = fake.calls[FAKE_WAIT];
	cr_expect_not(fake_acquire(&lock));
	fake_release(&lock);
	cr_expect_eq(fake.calls[FAKE_WAIT], waits);
	cr_assert(fake_acquire(&lock), "it came free after all");
	fake_release(&lock);
}

Test(lock, that_is_broken_is_refused_for_good)
{
	lock_break(&lock);
	cr_expect_not(fake_acquire(&lock));
	cr_expect_eq(fake.calls[FAKE_WAIT], 0);
	lock_reset(&lock);
	cr_expect(fake_acquire(&lock));
}

/* A process that was stopped, or a machine that slept, while one thread waited for another. */
Test(lock, that_comes_free_during_one_very_long_wait_is_not_broken)
{
	cr_assert(acquire_as(OTHER));
	fake.waited_ms = 3600 * 1000;
	fake.after[FAKE_WAIT] = release_by_other;
	cr_expect(fake_acquire(&lock));
}

Test(lock, a_broken_one_is_had_by_nobody)
{
	lock_break(&lock);
	cr_expect_not(fake_acquire(&lock));
	cr_expect_not(acquire_as(OTHER));
	cr_expect_eq(fake.calls[FAKE_WAIT], 0);
}

Test(lock, reset_makes_it_free_whoever_held_or_broke_it)
{
	cr_assert(acquire_as(OTHER));
	lock_break(&lock);
	lock_reset(&lock);
	cr_expect(fake_acquire(&lock));
	cr_expect_eq(fake.calls[FAKE_WAIT], 0);
}

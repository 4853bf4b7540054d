#include "pool/service_point.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <utlist.h>

#define MANY 2000

static _Alignas(64) char memory[4 << 20];
static struct slab slab;
static const struct point_settings defaults = {.idle_ms = 1234};
static struct service_points points = {.slab = &slab, .defaults = &defaults};

static void setup(void)
{
	slab_feed(&slab, memory, sizeof(memory));
}

TestSuite(service_point, .init = setup);

static struct endpoint endpoint_number(unsigned number)
{
	return (struct endpoint){
		.family = AF_INET,
		.port = htons(80),
		.address = {10, (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number},
	};
}

static struct service_point *find(unsigned number)
{
	const struct endpoint endpoint = endpoint_number(number);

	return service_points_find(&points, &endpoint, 0);
}

static struct service_point *peek(unsigned number)
{
	const struct endpoint endpoint = endpoint_number(number);

	return service_points_peek(&points, &endpoint);
}

Test(service_point, is_made_at_the_first_look_and_found_at_the_next)
{
	struct service_point *point = find(1);

	cr_assert_not_null(point);
	cr_expect_eq(find(1), point);
	cr_expect_neq(find(2), point);
	cr_expect_eq(points.count, 2);
	cr_expect_eq(point->in_use, 0);
	cr_expect_eq(point->parked_count, 0);
	cr_expect_str_eq(point->protocol, "unknown");
}

Test(service_point, peeking_makes_none_and_does_not_count_as_use)
{
	cr_expect_null(peek(1));
	cr_expect_eq(points.count, 0);
	struct service_point *one = find(1), *two = find(2);
	cr_expect_eq(peek(1), one);
	cr_expect_eq(points.used, two);
}

Test(service_point, the_oldest_idle_one_is_the_one_that_was_looked_for_longest_ago)
{
	struct service_point *one = find(1), *two = find(2), *three = find(3);

	cr_expect_eq(service_points_oldest_idle(&points), one);
	find(1);
	cr_expect_eq(service_points_oldest_idle(&points), two);
	find(2);
	cr_expect_eq(service_points_oldest_idle(&points), three);
	find(3);
	cr_expect_eq(service_points_oldest_idle(&points), one);
}

Test(service_point, one_in_use_is_not_idle)
{
	cr_expect_null(service_points_oldest_idle(&points), "there is none at all");
	struct service_point *one = find(1), *two = find(2);
	one->in_use = 1;
	cr_expect_eq(service_points_oldest_idle(&points), two);
	two->in_use = 2;
	cr_expect_null(service_points_oldest_idle(&points));
	one->in_use = 0;
	cr_expect_eq(service_points_oldest_idle(&points), one);
}

Test(service_point, a_removed_one_is_gone_and_its_memory_is_used_again)
{
	struct service_point *one = find(1), *two = find(2);

	one->opened = 5;
	service_points_remove(&points, one);
	cr_expect_null(peek(1));
	cr_expect_eq(peek(2), two);
	cr_expect_eq(points.count, 1);
	size_t room = slab_room(&slab);
	cr_expect_eq(find(3), one);
	cr_expect_eq(slab_room(&slab), room);
	cr_expect_eq(find(3)->opened, 0);
}

Test(service_point, the_last_one_that_is_removed_leaves_an_empty_table_that_works)
{
	for (int round = 0; round < 3; round++) {
		service_points_remove(&points, find(1));
		cr_expect_eq(points.count, 0);
		cr_expect_null(points.used);
		cr_expect_null(peek(1));
		cr_expect_null(service_points_oldest_idle(&points));
	}
}

static void expect_whole(unsigned first, unsigned last)
{
	struct service_point *point;
	unsigned count = 0;

	for (unsigned i = first; i <= last; i++)
		cr_assert_not_null(peek(i), "%u", i);
	DL_FOREACH(points.used, point)
	count++;
	cr_expect_eq(count, last - first + 1);
	cr_expect_eq(points.count, count);
}

Test(service_point, two_thousand_of_them_are_told_apart)
{
	for (unsigned i = 0; i < MANY; i++)
		cr_assert_not_null(find(i), "%u", i);
	expect_whole(0, MANY - 1);
	for (unsigned i = 0; i < MANY / 2; i++)
		service_points_remove(&points, service_points_oldest_idle(&points));
	expect_whole(MANY / 2, MANY - 1);
	for (unsigned i = 0; i < MANY / 2; i++)
		cr_expect_null(peek(i));
}

/* Starts the slab anew, with room bytes of memory at next. */
static void feed_only(char *next, size_t room)
{
	cr_assert_leq(room, (size_t)(memory + sizeof(memory) - next));
	slab = (struct slab){0};
	slab_feed(&slab, next, room);
}

Test(service_point, the_memory_that_it_says_it_needs_is_enough)
{
	feed_only(memory, 0);
	for (unsigned i = 0; i < MANY; i++) {
		size_t need = service_points_need(&points);
		feed_only(slab.next ? slab.next : memory, need);
		cr_assert_not_null(find(i), "%u needed more than %zu", i, need);
	}
}

/* Every amount of memory from none to enough, also where the table grows: never a crash, and never
 * a table with a hole. */
Test(service_point, without_memory_there_is_none_and_the_others_stay)
{
	feed_only(memory, 0);
	for (unsigned made = 0; made < 400; made++) {
		char *next = slab.next;
		size_t room = 0;

		for (feed_only(next, room); !find(made); feed_only(next, room)) {
			cr_assert_eq(points.count, made);
			cr_assert_null(peek(made));
			room += 64;
		}
		cr_expect_gt(room, 0);
		expect_whole(0, made);
	}
}

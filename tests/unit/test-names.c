/* Names: which one an address goes by, and which service point that makes. */
#include "tests/unit/program.h"

#include <stdio.h>

static void setup(void)
{
	pool_with(settings_default());
}

static void check_books(void)
{
	expect_books_in_order();
}

TestSuite(names, .init = setup, .fini = check_books);

/* As in a thread that has resolved this name just now. */
static int connected_by(const struct name *name, unsigned number)
{
	struct endpoint endpoint = endpoint_number(number);
	int fd = open_socket();

	endpoint.name = name;
	connect_socket(fd, endpoint);
	return fd;
}

static const char *host_on(int fd)
{
	const struct service_point *point = connection_on(fd)->point;

	return point->key.name ? name_text(point->key.name) : "an address";
}

Test(names, an_address_that_was_not_resolved_stands_for_itself)
{
	learn("other.example", 9, 1);
	cr_expect_str_eq(host_on(connected_to(1)), "an address");
}

Test(names, an_address_goes_by_the_name_that_it_was_found_by)
{
	cr_assert_not_null(learn("www.contoso.com", 1, 1));
	cr_expect_str_eq(host_on(connected_to(1)), "www.contoso.com");
	cr_expect_str_eq(name_text(pool.points.used->key.name), "www.contoso.com");
}

Test(names, the_addresses_of_a_name_are_one_service_point_but_not_one_connection)
{
	learn("www.contoso.com", 1, 2);
	uint64_t first = use_and_close(1);

	uint64_t second = use_and_close(2);
	cr_expect_neq(first, second, "getpeername() must say what connect() was given");
	cr_expect_eq(pool.points.count, 1);
	cr_expect_eq(use_and_close(1), first);
	cr_expect_eq(use_and_close(2), second);
}

Test(names, two_names_on_one_address_are_two_service_points)
{
	const struct name *one = learn("one.example", 1, 1), *two = learn("two.example", 1, 1);
	int fd = connected_by(one, 1);
	uint64_t cookie = cookie_on(fd);

	finish(fd);
	fd = connected_by(two, 1);
	cr_expect_str_eq(host_on(fd), "two.example");
	cr_expect_neq(cookie_on(fd), cookie);
	finish(fd);
	fd = connected_by(one, 1);
	cr_expect_eq(cookie_on(fd), cookie);
	cr_expect_str_eq(host_on(connected_to(1)), "two.example", "the latest, without a hint");
}

Test(names, a_hint_that_does_not_have_the_address_is_none)
{
	const struct name *other = learn("other.example", 9, 1);

	cr_expect_str_eq(host_on(connected_by(other, 1)), "an address");
	const struct name *many = learn("many.example", 20, 30);
	cr_expect_str_eq(host_on(connected_by(many, 1)), "an address");
	cr_expect_str_eq(host_on(connected_by(many, 21)), "many.example");
}

Test(names, an_address_that_a_name_loses_is_retired)
{
	learn("www.contoso.com", 1, 2);
	uint64_t first = use_and_close(1), second = use_and_close(2);
	int busy = connected_to(1);

	exchange(busy);
	cr_expect_eq(cookie_on(busy), first);
	learn("www.contoso.com", 2, 2);
	close_socket(busy);
	cr_expect_eq(pool.stats.discarded[DISCARDED_RETIRED], 1, "when it is released");
	cr_expect_eq(use_and_close(2), second, "the other stays");
	learn("www.contoso.com", 3, 1);
	cr_expect_eq(pool.stats.discarded[DISCARDED_RETIRED], 2, "at once");
	cr_expect_eq(pool.parked_count, 0);
}

Test(names, a_name_with_more_addresses_than_are_noted_retires_none)
{
	learn("many.example", 1, 30);
	use_and_close(1);
	learn("many.example", 2, 30);
	cr_expect_eq(pool.stats.discarded[DISCARDED_RETIRED], 0);
}

Test(names, no_more_are_learned_than_there_may_be)
{
	char text[32];

	for (unsigned i = 0; i < NAMES_MAX; i++) {
		snprintf(text, sizeof(text), "host-%u.example", i);
		cr_assert_not_null(learn(text, i, 1), "%u", i);
	}
	cr_expect_null(learn("one-too-many.example", 1, 1));
	cr_expect_not_null(learn("host-7.example", 7, 1), "known ones are learned anew");
	cr_expect_str_eq(host_on(connected_to(1)), "host-1.example");
}

Test(names, too_long_or_empty_is_no_name)
{
	char text[NAME_TEXT_MAX + 2];

	memset(text, 'a', sizeof(text));
	text[NAME_TEXT_MAX + 1] = '\0';
	cr_expect_null(learn(text, 1, 1));
	text[NAME_TEXT_MAX] = '\0';
	cr_expect_not_null(learn(text, 1, 1));
	cr_expect_null(learn("", 1, 1));
}

Test(names, a_forked_child_knows_them_still)
{
	learn("www.contoso.com", 1, 1);
	pool_prepare_fork(&pool);
	pool_after_fork_in_child(&pool);
	cr_expect_str_eq(host_on(connected_to(1)), "www.contoso.com");
	cr_assert_not_null(learn("other.example", 2, 1));
}

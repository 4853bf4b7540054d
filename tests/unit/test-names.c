/* Names: which one an address goes by, and which service point that makes. */
#include "tests/unit/program.h"

#include <stdio.h>

#include "pool/requests.h"

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
}

static bool is_refused(int fd)
{
	const struct connection *connection = connection_on(fd);

	return connection_verdict(connection, pool_fork_epoch(&pool)) == REFUSED_AMBIGUOUS;
}

Test(names, of_an_address_with_two_names_it_must_be_said_which)
{
	const struct name *one = learn("one.example", 1, 1);
	uint64_t cookie = use_and_close(1);

	cr_expect_eq(use_and_close(1), cookie, "as long as there is only one name");
	learn("two.example", 1, 1);
	int fd = connected_to(1);
	cr_expect(is_refused(fd));
	cr_expect_str_eq(host_on(fd), "an address");
	cr_expect_neq(cookie_on(fd), cookie);
	finish(fd);
	cr_expect_eq(pool.stats.refused[REFUSED_AMBIGUOUS], 1);
	fd = connected_by(one, 1);
	cr_expect(is_refused(fd), "the program keeps answers, so the latest is none to go by");
}

Test(names, one_that_is_for_an_unknown_name_gets_none_of_the_addresss_own)
{
	finish(connected_by(&name_itself, 1));
	cr_expect_eq(pool.parked_count, 1);
	learn("one.example", 1, 1);
	learn("two.example", 1, 1);
	finish(connected_to(1));
	cr_expect_eq(pool.stats.reused, 0);
	cr_expect_eq(pool.parked_count, 1);
}

Test(names, a_program_that_always_says_which_goes_on_being_believed)
{
	const struct name *one = learn("one.example", 1, 1), *two = learn("two.example", 1, 1);

	for (int i = 0; i < 3; i++) {
		finish(connected_by(one, 1));
		finish(connected_by(two, 1));
	}
	cr_expect_eq(pool.stats.reused, 4);
	cr_expect_eq(pool.stats.refused[REFUSED_AMBIGUOUS], 0);
}

Test(names, one_that_kept_an_answer_once_is_not_believed_when_there_are_two)
{
	const struct name *one = learn("one.example", 1, 1);

	finish(connected_to(1));
	finish(connected_by(one, 1));
	cr_expect_eq(pool.stats.reused, 1);
	learn("two.example", 1, 1);
	cr_expect(is_refused(connected_by(one, 1)));
}

Test(names, two_names_that_had_it_one_after_the_other_are_two)
{
	learn("one.example", 1, 1);
	learn("one.example", 2, 1);
	learn("two.example", 1, 1);
	cr_expect(is_refused(connected_to(1)), "an answer may have been kept");
	cr_expect_not(is_refused(connected_to(2)));
}

Test(names, an_address_that_is_asked_for_as_it_is_stands_for_itself)
{
	learn("www.contoso.com", 1, 1);
	finish(connected_to(1));
	int fd = connected_by(&name_itself, 2);
	cr_expect_str_eq(host_on(fd), "an address");
	cr_expect_not(is_refused(fd));
	const struct name *other = learn("other.example", 3, 1);
	fd = connected_by(&name_itself, 3);
	cr_expect_str_eq(host_on(fd), "an address");
	cr_expect_not(is_refused(fd));
	cr_expect_str_eq(host_on(connected_by(other, 3)), "other.example");
	cr_expect(is_refused(connected_to(3)), "now it goes by two");
}

Test(names, a_mapped_address_is_the_address)
{
	const struct name *name = learn("www.contoso.com", 1, 1);
	struct endpoint mapped = {.family = AF_INET6, .port = htons(80), .name = name};

	memcpy(mapped.address, (uint8_t[12]){[10] = 0xff, [11] = 0xff}, 12);
	memcpy(mapped.address + 12, endpoint_number(1).address, 4);
	mapped.name = NULL;
	cr_expect(name_has(name, &mapped));
	int fd = open_socket_of(AF_INET6);
	connect_socket(fd, mapped);
	cr_expect_str_eq(host_on(fd), "www.contoso.com");
	finish(fd);
	cr_expect_neq(use_and_close(1), 0);
	cr_expect_eq(pool.stats.reused, 0, "getpeername() tells them apart");
}

Test(names, addresses_beyond_those_that_are_noted_have_the_name_all_the_same)
{
	const struct name *many = learn("many.example", 20, 30);

	cr_expect_str_eq(host_on(connected_to(49)), "many.example");
	cr_expect_str_eq(host_on(connected_by(many, 49)), "many.example");
	learn("two.example", 49, 1);
	cr_expect(is_refused(connected_to(49)));
}

Test(names, so_many_addresses_that_some_are_forgotten_leave_all_others_in_doubt)
{
	cr_expect_not(is_refused(connected_to(1)));
	const struct name *endless = learn("endless.example", 1000, NAMES_LOST_MAX + 100);
	cr_expect(is_refused(connected_to(1)), "it may be one of those");
	cr_expect(is_refused(connected_to(1020)));
	cr_expect_str_eq(host_on(connected_to(1000)), "endless.example");
	cr_expect_str_eq(host_on(connected_by(endless, 1020)), "endless.example");
	cr_expect(name_has(endless, &(struct endpoint){.family = AF_INET}));
	cr_expect_not(name_has(endless, &(struct endpoint){.family = AF_INET6}));
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

Test(names, an_answer_for_one_family_says_nothing_of_the_other)
{
	const struct name *both = learn("both.example", 1, 2);
	uint64_t first = use_and_close(1);
	const struct endpoint six = {.family = AF_INET6, .address = {0x20, 1}};
	struct answer answer = {.families = FAMILY_IPV6};
	const struct host_address address = host_address_of(&six);

	answer_add(&answer, &address);
	pool_learn_name(&pool, "both.example", 12, &answer);
	cr_expect(name_has(both, &six));
	cr_expect_eq(use_and_close(1), first);
	learn("both.example", 2, 1);
	cr_expect_eq(pool.stats.discarded[DISCARDED_RETIRED], 1);
	cr_expect(name_has(both, &six));
	answer.families |= FAMILY_IPV4;
	pool_learn_name(&pool, "both.example", 12, &answer);
	cr_expect_not(name_has(both, &(struct endpoint){.family = AF_INET}));
}

/* The answers take turns in being full. */
Test(names, both_families_share_the_room)
{
	for (unsigned i = 0; i < 20; i++) {
		const int family = i % 2 ? AF_INET6 : AF_INET;
		learn_of(family, "both.example", i, 1 + i * 7 % 40);
	}
	const struct name *both = learn_of(AF_INET6, "both.example", 1, 1);
	learn("both.example", 1, 1);
	learn("two.example", 1, 1);
	cr_expect(is_refused(connected_to(1)));
	cr_expect_not(is_refused(connected_by(both, 2)));
}

static void learn_all_that_there_may_be(void)
{
	char text[32];

	for (unsigned i = 0; i < NAMES_MAX; i++) {
		snprintf(text, sizeof(text), "host-%u.example", i);
		cr_assert_not_null(learn(text, i, 1), "%u", i);
	}
}

Test(names, no_more_are_learned_than_there_may_be)
{
	learn_all_that_there_may_be();
	cr_expect_str_eq(host_on(connected_to(1)), "host-1.example");
	cr_expect_null(learn("one-too-many.example", 1, 1));
	const struct name *known = learn("host-7.example", 7, 1);
	cr_expect_not_null(known, "known ones are learned anew");
	cr_expect_str_eq(host_on(connected_by(known, 7)), "host-7.example");
}

Test(names, an_address_of_a_name_that_is_not_learned_is_for_nobody_known)
{
	learn_all_that_there_may_be();
	learn("one-too-many.example", 1, 1);
	cr_expect(is_refused(connected_to(1)), "it had a name, and has another");
	learn("one-too-many.example", 9999, 1);
	cr_expect(is_refused(connected_to(9999)), "it had none");
	cr_expect(is_refused(connected_by(&name_stranger, 2)), "it was just resolved");
	cr_expect_not(is_refused(connected_to(2)));
	cr_expect_not(is_refused(connected_to(9998)));
	for (unsigned i = 0; i <= NAMES_LOST_MAX; i++)
		learn("one-too-many.example", 20000 + i, 1);
	cr_expect(is_refused(connected_to(9999)), "forgotten, but not that something was");
	cr_expect_not(is_refused(connected_by(&name_itself, 9999)));
}

Test(names, without_the_lock_nobody_knows_what_was_learned)
{
	cr_assert(fake_acquire(&pool.lock));
	cr_expect_null(learn("www.contoso.com", 1, 1));
	fake_release(&pool.lock);
	cr_expect(is_refused(connected_to(1)));
	const struct name *other = learn("other.example", 1, 1);
	cr_expect_not(is_refused(connected_by(other, 1)));
	cr_expect(is_refused(connected_to(1)), "it may be for the one that was not learned");
}

static char *memory_left(void)
{
	return pool.slab.next;
}

Test(names, answers_that_change_each_time_take_no_more_memory_than_the_first_ones)
{
	unsigned i = 0;

	for (; i < 200; i++)
		learn("rotating.example", i * NAME_ADDRESSES_MAX, NAME_ADDRESSES_MAX);
	const char *before = memory_left();
	for (; i < 20000; i++)
		learn("rotating.example", i * NAME_ADDRESSES_MAX, NAME_ADDRESSES_MAX);
	cr_expect_eq(memory_left(), before);
	cr_expect_eq(pool.names.lost_count, NAMES_LOST_MAX);
	cr_expect_not(atomic_load(&pool.names.forgot));
	cr_expect_str_eq(host_on(connected_to(i * NAME_ADDRESSES_MAX - 1)), "rotating.example");
	cr_expect_str_eq(host_on(connected_to(1)), "an address", "long forgotten");
}

Test(names, answers_of_many_addresses_that_change_are_bounded_too)
{
	unsigned i = 0;

	for (; i < 100; i++)
		learn("rotating.example", i * 40, 40);
	const char *before = memory_left();
	for (; i < 2000; i++)
		learn("rotating.example", i * 40, 40);
	cr_expect_eq(memory_left(), before);
	cr_expect_eq(pool.names.lost_count, NAMES_LOST_MAX);
}

Test(names, what_is_found_again_is_not_forgotten)
{
	for (unsigned i = 0; i < 2 * NAMES_LOST_MAX; i++) {
		learn("rotating.example", 1000 + i, 1);
		learn("many.example", 1, NAME_ADDRESSES_MAX + 1);
	}
	cr_expect_not(atomic_load(&pool.names.forgot));
	cr_expect_str_eq(host_on(connected_to(NAME_ADDRESSES_MAX + 1)), "many.example");
}

Test(names, a_loss_is_what_the_answer_denies)
{
	struct answer answer = {.families = FAMILY_IPV6};
	bool lost;

	learn("www.contoso.com", 1, 1);
	cr_assert(names_learn(&pool.names, "www.contoso.com", 15, &answer, &lost));
	cr_expect_not(lost);
	answer.families = FAMILY_IPV4;
	cr_assert(names_learn(&pool.names, "www.contoso.com", 15, &answer, &lost));
	cr_expect(lost);
}

static void rule_for(const char *text)
{
	static struct rule list[4];
	struct rules rules = {.list = list, .room = 4};

	rules_parse(&rules, text, strlen(text), NULL, NULL);
	pool_set_rules(&pool, &rules);
}

Test(names, a_rule_for_an_address_holds_for_it_and_not_for_the_names_others)
{
	rule_for("10.0.0.2:* off=1; *:* uses=3");
	learn("multi.example", 1, 3);
	uint64_t first = use_and_close(1);
	uint64_t second = use_and_close(2);
	cr_expect_neq(use_and_close(2), second, "never parked");
	cr_expect_eq(pool.stats.refused[REFUSED_RULE], 2);
	cr_expect_eq(use_and_close(1), first);
	use_and_close(3);
	cr_expect_eq(pool.points.count, 2, "that of the name, and that of the address apart");
	cr_expect_str_eq(host_on(connected_to(2)), "multi.example");
	cr_expect_eq(use_and_close(1), first);
	cr_expect_eq(pool.stats.refused[REFUSED_USES], 1, "the third use, as for all");
}

Test(names, a_rule_for_an_address_holds_also_if_it_is_the_first)
{
	rule_for("10.0.0.1:* off=1");
	learn("multi.example", 1, 2);
	use_and_close(1);
	uint64_t second = use_and_close(2);
	cr_expect_eq(use_and_close(2), second);
	cr_expect_eq(pool.parked_count, 1);
}

Test(names, addresses_apart_are_apart_from_each_other)
{
	rule_for("10.0.0.1:* uses=1; 10.0.0.2:* uses=2");
	learn("multi.example", 1, 3);
	for (unsigned number = 1; number <= 3; number++)
		cr_expect_eq(connection_on(connected_to(number))->point->settings.uses, number % 3);
	cr_expect_eq(pool.points.count, 3);
}

Test(names, a_rule_that_is_given_while_it_is_in_use_sets_an_address_apart)
{
	char problem[REQUEST_PROBLEM_SIZE];

	learn("multi.example", 1, 2);
	use_and_close(1);
	use_and_close(2);
	cr_expect_eq(request_serve(&pool, "set 10.0.0.2:80 uses=2", 22, problem), 1, "%s", problem);
	cr_expect_eq(pool.points.count, 1);
	const struct service_point *apart = connection_on(connected_to(2))->point;
	cr_expect_eq(pool.points.count, 2);
	cr_expect_eq(apart->settings.uses, 2);
}

Test(names, one_that_waits_for_its_turn_is_for_the_same_service_point_after)
{
	rule_for("10.0.0.2:* limit=1");
	learn("multi.example", 1, 2);
	int busy = connected_to(2), fd = open_socket();
	struct endpoint endpoint = endpoint_number(2);
	struct call call = connection_enter(connection_on(fd));

	cr_assert(connection_begin_connect(call));
	cr_assert_eq(pool_take(&pool, call.connection, fd, &endpoint), TAKEN_LIMITED);
	close_socket(busy);
	cr_expect_eq(pool_take(&pool, call.connection, fd, &endpoint), TAKEN_NONE);
	cr_expect_eq(pool.points.count, 1);
	cr_expect_eq(call.connection->point, pool.points.used);
	connect_for_real(call, fd);
	close_socket(fd);
}

Test(names, a_rule_for_another_port_sets_no_address_apart)
{
	rule_for("10.0.0.1:81 off=1");
	learn("multi.example", 1, 2);
	uint64_t first = use_and_close(1);
	use_and_close(2);
	cr_expect_eq(use_and_close(1), first);
	cr_expect_eq(pool.points.count, 1);
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

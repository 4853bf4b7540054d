/* The manager: service points that are changed while they are in use. */
#include "tests/unit/program.h"

#include "pool/manager.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static void setup(void)
{
	pool_with(settings_default());
}

static void check_books(void)
{
	expect_books_in_order();
}

TestSuite(manager, .init = setup, .fini = check_books);

/* ---- what a test says ---- */

static void fail_to_read(const struct complaint *complaint, void *unused)
{
	(void)unused;
	cr_assert_fail("%s", complaint->problem);
}

/* The patterns of the last one that was read point into its text. */
static struct rule rule_of(const char *text)
{
	struct rule rule;
	struct rules rules = {.list = &rule, .room = 1};

	rules_parse(&rules, text, strlen(text), fail_to_read, NULL);
	cr_assert_eq(rules.count, 1);
	return rule;
}

static long set(const char *text)
{
	const struct rule rule = rule_of(text);

	return manager_set(&pool, &rule);
}

/* The pattern does not matter. */
static long set_defaults(const char *text)
{
	const struct rule rule = rule_of(text);

	return manager_set_defaults(&pool, &rule);
}

static struct pattern pattern_of(const char *text)
{
	struct pattern pattern;

	cr_assert(pattern_parse(text, strlen(text), &pattern, fail_to_read, NULL));
	return pattern;
}

static long flush(const char *text)
{
	const struct pattern pattern = pattern_of(text);

	return manager_flush(&pool, &pattern);
}

static long find(const char *text, struct point_view *view)
{
	const struct pattern pattern = pattern_of(text);

	return manager_find(&pool, &pattern, view);
}

static struct service_point *point_number(unsigned number)
{
	const struct endpoint endpoint = endpoint_number(number);

	return service_points_peek(&pool.points, &endpoint);
}

/* A name's, by any of its addresses. */
static struct service_point *point_of(const struct name *name)
{
	struct endpoint endpoint = endpoint_number(0);

	endpoint.name = name;
	return service_points_peek(&pool.points, &endpoint);
}

static void park_number(unsigned number, unsigned count)
{
	int fds[16];

	cr_assert_leq(count, COUNT(fds));
	for (unsigned i = 0; i < count; i++)
		fds[i] = connected_to(number);
	for (unsigned i = 0; i < count; i++)
		finish(fds[i]);
}

static struct caller caller_that_waits(void)
{
	struct caller caller = call_connect_to(open_socket(), endpoint_number(1));

	cr_assert_eq(caller.taken, TAKEN_LIMITED);
	return caller;
}

static void give_up(struct caller *caller)
{
	cr_assert(pool_stop_waiting(&pool, caller->call));
	connection_leave(caller->call);
	close_socket(caller->fd);
}

/* As after fork() in a signal handler: nobody will ever have it again. */
static void break_the_lock(void)
{
	lock_break(&pool.lock);
}

/* ---- set ---- */

Test(manager, set_says_how_many_service_points_there_were)
{
	for (unsigned i = 1; i <= 3; i++)
		use_and_close(i);
	cr_expect_eq(set("10.0.0.1:80 limit=2"), 1);
	cr_expect_eq(set("10.0.0.0/8:80 limit=3"), 3);
	cr_expect_eq(set("*:* limit=4"), 3);
	cr_expect_eq(set("10.0.0.0/31:* limit=5"), 1);
	cr_expect_eq(point_number(1)->settings.limit, 5);
	cr_expect_eq(point_number(2)->settings.limit, 4);
}

Test(manager, what_a_rule_does_not_say_stays_as_it_is)
{
	use_and_close(1);
	set("10.0.0.1:80 limit=4 idle=7 lease=8 uses=9 wait=10 proto=http");
	set("10.0.0.1:80 idle=5");
	const struct point_settings expected = {.idle_ms = 5,
		.lease_ms = 8,
		.uses = 9,
		.limit = 4,
		.wait_ms = 10,
		.proto = PROTO_HTTP};
	cr_expect_eq(memcmp(&point_number(1)->settings, &expected, sizeof(expected)), 0);
}

Test(manager, of_no_service_point_nothing_is_set_and_nothing_kept)
{
	use_and_close(1);
	cr_expect_eq(set("10.0.0.2:80 limit=2"), -ENOENT);
	cr_expect_eq(set("10.0.0.1:81 limit=2"), -ENOENT);
	cr_expect_eq(set("www.contoso.com:80 limit=2"), -ENOENT);
	cr_expect_eq(pool.rules.count, 0);
	use_and_close(2);
	cr_expect_eq(point_number(1)->settings.limit, 0);
	cr_expect_eq(point_number(2)->settings.limit, 0);
}

Test(manager, names_are_matched_in_upper_and_lower_case)
{
	const struct name *name = learn("www.contoso.com", 1, 1);

	use_and_close(1);
	cr_expect_eq(set("WWW.Contoso.COM:80 limit=2"), 1);
	cr_expect_eq(point_of(name)->settings.limit, 2);
	cr_expect_eq(set("*.CONTOSO.com.:80 limit=3"), 1);
	cr_expect_eq(point_of(name)->settings.limit, 3);
	cr_expect_eq(flush("wWw.cOnToSo.CoM:80"), 1);
}

/* ---- the limit ---- */

Test(manager, a_lower_limit_closes_idle_ones_beyond_it_at_once)
{
	park_number(1, 4);
	park_number(2, 2);
	cr_expect_eq(set("10.0.0.1:80 limit=3"), 1);
	cr_expect_eq(pool.parked_count, 5);
	cr_expect_eq(set("10.0.0.1:80 limit=1"), 1);
	cr_expect_eq(point_number(1)->parked_count, 1);
	cr_expect_eq(discarded(DISCARDED_LIMIT), 3);
	cr_expect_eq(point_number(2)->parked_count, 2, "it is not meant");
}

Test(manager, a_lower_limit_closes_those_that_were_parked_longest)
{
	int older = connected_to(1), newer = connected_to(1);
	uint64_t cookie = cookie_on(newer);

	finish(older);
	finish(newer);
	set("10.0.0.1:80 limit=1");
	cr_expect(is_reused_by(open_socket(), cookie));
}

Test(manager, a_lower_limit_closes_busy_ones_beyond_it_when_they_are_released)
{
	int fds[4];

	for (unsigned i = 0; i < COUNT(fds); i++)
		fds[i] = connected_to(1);
	set("10.0.0.1:80 limit=2");
	for (unsigned i = 0; i < COUNT(fds); i++)
		cr_expect(fake_is_open(fds[i]), "its use is never cut short");
	for (unsigned i = 0; i < COUNT(fds); i++) {
		finish(fds[i]);
		cr_expect_eq(pool.parked_count, i < 2 ? 0 : i - 1);
	}
	cr_expect_eq(discarded(DISCARDED_LIMIT), 2);
}

Test(manager, a_lower_limit_makes_the_next_ones_wait)
{
	int fds[] = {connected_to(1), connected_to(1)};

	set("10.0.0.1:80 limit=1");
	struct caller caller = caller_that_waits();
	finish(fds[0]);
	cr_expect_eq(fake.calls[FAKE_WAKE_ALL], 0, "the other one is one already");
	finish(fds[1]);
	cr_expect_eq(fake.calls[FAKE_WAKE_ALL], 1);
	try_again(&caller);
	cr_expect_eq(caller.taken, TAKEN_DONE);
}

Test(manager, a_higher_limit_gives_as_many_of_those_who_wait_their_turn)
{
	connected_to(1);
	set("10.0.0.1:80 limit=1");
	struct caller first = caller_that_waits(), second = caller_that_waits(),
		      third = caller_that_waits();

	set("10.0.0.1:80 limit=3");
	cr_expect_eq(fake.calls[FAKE_WAKE_ALL], 2);
	try_again(&third);
	cr_expect_eq(third.taken, TAKEN_LIMITED);
	try_again(&second);
	try_again(&first);
	cr_expect_eq(first.taken, TAKEN_NONE);
	cr_expect_eq(second.taken, TAKEN_NONE);
	give_up(&third);
}

Test(manager, no_limit_gives_all_of_those_who_wait_their_turn)
{
	connected_to(1);
	set("10.0.0.1:80 limit=1");
	struct caller callers[] = {caller_that_waits(), caller_that_waits(), caller_that_waits()};

	set("10.0.0.1:80 limit=0");
	cr_expect_eq(fake.calls[FAKE_WAKE_ALL], 3);
	for (unsigned i = 0; i < COUNT(callers); i++) {
		try_again(&callers[i]);
		cr_expect_eq(callers[i].taken, TAKEN_NONE);
	}
}

/* There is room for so many words to be told of at a time. */
Test(manager, a_higher_limit_reaches_all_who_wait_wherever_they_do)
{
	struct caller callers[3 * WOKEN_MOST];

	set_defaults("*:* limit=1");
	for (unsigned number = 1; number <= 3; number++)
		connected_to(number);
	for (unsigned i = 0; i < COUNT(callers); i++) {
		callers[i] = call_connect_to(open_socket(), endpoint_number(1 + i % 3));
		cr_assert_eq(callers[i].taken, TAKEN_LIMITED);
	}
	cr_expect_eq(set("*:* limit=0"), 3);
	for (unsigned i = 0; i < 3; i++)
		cr_expect_eq(callers[i].call.connection->turn, TURN_COME, "the first of each");
	for (unsigned i = 0; i < COUNT(callers); i++) {
		cr_expect_eq(callers[i].call.connection->turn, TURN_COME);
		try_again(&callers[i]);
		cr_expect_eq(callers[i].taken, TAKEN_NONE);
	}
}

Test(manager, how_long_one_waits_is_what_was_set_last)
{
	connected_to(1);
	set("10.0.0.1:80 limit=1 wait=1234");
	struct caller caller = caller_that_waits();

	cr_expect_eq(caller.call.connection->may_wait_ms, 1234);
	give_up(&caller);
}

/* ---- the idle time and the lease ---- */

Test(manager, a_shorter_idle_time_counts_the_time_that_has_been)
{
	static const struct {
		unsigned been;
		long most;
		bool reused;
	} rows[] = {
		{5000, 4999, false},
		{5000, 5000, true},
		{5000, 6000, true},
		{99999, -1, true},
		{1, 0, false},
		{0, 0, false},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		char text[64];

		pool_with(settings_default());
		uint64_t cookie = use_and_close(1);
		fake.now_ms += rows[i].been;
		snprintf(text, sizeof(text), "10.0.0.1:80 idle=%ld", rows[i].most);
		cr_assert_eq(set(text), 1);
		cr_expect_eq(is_reused_by(open_socket(), cookie), rows[i].reused, "%u ms of %ld",
			rows[i].been, rows[i].most);
		cr_expect_eq(discarded(DISCARDED_IDLE), !rows[i].reused);
	}
}

Test(manager, a_longer_idle_time_counts_the_time_that_has_been)
{
	uint64_t cookie = use_and_close(1);

	fake.now_ms += 100000;
	set("10.0.0.1:80 idle=200000");
	fake.now_ms += 100000;
	cr_expect(is_reused_by(open_socket(), cookie));
	int other = connected_to(1);
	finish(other);
	fake.now_ms += 200001;
	cr_expect_eq(pool_expire(&pool), -1);
	cr_expect_eq(discarded(DISCARDED_IDLE), 1);
}

Test(manager, a_shorter_idle_time_is_kept_although_another_one_was_parked_longer)
{
	use_and_close(1);
	fake.now_ms += 10;
	use_and_close(2);
	set("10.0.0.2:80 idle=1000");
	fake.now_ms += 1001;
	/* What is not the longest parked is seen where service points are looked at in turn. */
	use_and_close(3);
	cr_expect_eq(point_number(2)->parked_count, 0);
	cr_expect_eq(point_number(1)->parked_count, 1);
}

Test(manager, while_it_is_in_use_the_idle_time_has_no_effect)
{
	int fd = connected_to(1);

	set("10.0.0.1:80 idle=10");
	fake.now_ms += 1000000;
	finish(fd);
	cr_expect_eq(pool.parked_count, 1, "the clock starts when the use is over");
}

Test(manager, a_lease_is_that_of_the_connections_whole_life)
{
	use_and_close(1);
	fake.now_ms += 5000;
	set("10.0.0.1:80 lease=5000");
	cr_expect_eq(connect_socket(open_socket(), endpoint_number(1)), TAKEN_NONE);
	cr_expect_eq(discarded(DISCARDED_LEASE), 1);
	int fd = connected_to(1);
	fake.now_ms += 5000;
	cr_expect(fake_is_open(fd));
	finish(fd);
	cr_expect_eq(refused(REFUSED_LEASE), 1);
}

Test(manager, what_is_turned_off_is_not_reused_and_its_connections_are_closed)
{
	use_and_close(1);
	set("10.0.0.1:80 off=1");
	cr_expect_eq(pool.parked_count, 0);
	use_and_close(1);
	cr_expect_eq(refused(REFUSED_RULE), 1);
	cr_expect_eq(pool.stats.reused, 0);
	set("10.0.0.1:80 off=0");
	uint64_t cookie = use_and_close(1);
	cr_expect(is_reused_by(open_socket(), cookie));
}

/* ---- kept ---- */

static void recycle_all(void)
{
	long most = pool.settings.max_service_points;

	manager_set_cap(&pool, 1);
	use_and_close(4000);
	manager_set_cap(&pool, most);
	cr_assert_eq(pool.points.count, 1);
}

Test(manager, what_was_set_is_kept_where_the_service_point_is_recycled)
{
	use_and_close(1);
	set("10.0.0.1:80 limit=7");
	recycle_all();
	cr_expect_null(point_number(1));
	use_and_close(1);
	cr_expect_eq(point_number(1)->settings.limit, 7);
}

Test(manager, what_was_set_is_kept_for_all_that_the_pattern_matches)
{
	use_and_close(1);
	set("10.0.0.0/8:80 limit=7");
	use_and_close(2);
	cr_expect_eq(point_number(2)->settings.limit, 7);
}

Test(manager, the_name_in_a_rule_is_kept_and_the_callers_text_is_not_needed)
{
	char text[] = "www.contoso.com:80 limit=7";

	learn("www.contoso.com", 1, 1);
	use_and_close(1);
	set(text);
	memset(text, 'x', sizeof(text));
	recycle_all();
	const struct name *name = learn("www.contoso.com", 1, 1);
	use_and_close(1);
	cr_expect_eq(point_of(name)->settings.limit, 7);
}

/* With room for more, as there is where some of them were bad. */
static struct rule given[4];

static void pool_with_rules(const char *text)
{
	struct rules rules = {.list = given, .room = COUNT(given)};

	setup();
	rules_parse(&rules, text, strlen(text), fail_to_read, NULL);
	pool_set_rules(&pool, &rules);
}

Test(manager, what_was_set_is_said_after_all_rules)
{
	pool_with_rules("10.0.0.0/8:80 limit=2 idle=3; 10.0.0.1:80 limit=4");
	use_and_close(1);
	cr_expect_eq(point_number(1)->settings.limit, 4);
	set("*:80 limit=9");
	recycle_all();
	use_and_close(1);
	cr_expect_eq(point_number(1)->settings.limit, 9);
	cr_expect_eq(point_number(1)->settings.idle_ms, 3, "nobody set another");
}

/* What some were set to, one after the other: those that there are, and those that are made later,
 * say the same. */
Test(manager, whoever_sets_last_has_the_last_word_also_with_those_made_later)
{
	static const struct {
		const char *claim, *texts[4];
	} rows[] = {
		{"twice", {"10.0.0.1:80 limit=4", "10.0.0.1:80 limit=5"}},
		{"a narrower one", {"*:80 limit=4", "10.0.0.1:80 limit=5"}},
		{"a wider one", {"10.0.0.1:80 limit=5", "*:80 limit=4"}},
		{"the first one again", {"*:80 limit=4", "10.0.0.1:80 limit=5", "*:80 limit=6"}},
		{"the first one again, of something else",
			{"*:80 limit=4", "10.0.0.1:80 limit=5", "*:80 idle=6"}},
		{"the first one again, of more",
			{"*:80 limit=4 idle=3", "10.0.0.1:80 limit=5 idle=7", "*:80 idle=6"}},
		{"the second one again, of something else",
			{"10.0.0.1:80 limit=4", "*:80 limit=5", "10.0.0.1:80 uses=3",
				"*:80 wait=7"}},
		{"in another case",
			{"A.EXAMPLE:80 limit=4", "a.example:80 limit=5", "A.EXAMPLE:80 idle=3"}},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		pool_with_rules("10.0.0.1:80 limit=100");
		learn("a.example", 2, 1);
		use_and_close(1);
		use_and_close(2);
		for (size_t t = 0; t < COUNT(rows[i].texts) && rows[i].texts[t]; t++)
			cr_assert_gt(set(rows[i].texts[t]), 0, "%s", rows[i].claim);
		const struct point_settings address = point_number(1)->settings;
		const struct point_settings named = point_of(learn("a.example", 2, 1))->settings;
		recycle_all();
		use_and_close(1);
		use_and_close(2);
		cr_expect_eq(memcmp(&point_number(1)->settings, &address, sizeof(address)), 0,
			"%s: limit %ld was %ld, idle %ld was %ld", rows[i].claim,
			point_number(1)->settings.limit, address.limit,
			point_number(1)->settings.idle_ms, address.idle_ms);
		const struct point_settings *later = &point_of(learn("a.example", 2, 1))->settings;
		cr_expect_eq(memcmp(later, &named, sizeof(named)), 0, "%s: %ld was %ld",
			rows[i].claim, later->limit, named.limit);
	}
}

Test(manager, setting_the_same_again_and_again_needs_no_more_room)
{
	use_and_close(1);
	for (int i = 0; i < 1000; i++) {
		set("10.0.0.1:80 limit=4");
		set("10.0.0.0/8:80 limit=5 idle=10");
		set("10.0.0.0/8:80 limit=6 uses=3");
	}
	cr_expect_leq(pool.rules.count, 6);
	cr_expect_eq(point_number(1)->settings.limit, 6);
	learn("a.example", 2, 1);
	use_and_close(2);
	size_t count = pool.rules.count;
	set("a.example:80 limit=4");
	set("A.EXAMPLE:80 limit=5");
	set("a.Example:80 limit=6 idle=7");
	cr_expect_eq(pool.rules.count, count + 1, "upper and lower case are the same");
}

Test(manager, the_rules_that_were_given_stay_as_they_are)
{
	struct rule before[2];

	pool_with_rules("10.0.0.1:80 limit=2; 10.0.0.0/8:80 limit=3");
	memcpy(before, given, sizeof(before));
	use_and_close(1);
	set("10.0.0.1:80 limit=4");
	set("10.0.0.0/8:80 limit=5");
	cr_expect_eq(memcmp(before, given, sizeof(before)), 0);
}

Test(manager, hundreds_of_patterns_are_kept_and_the_first_of_them_still_holds)
{
	char text[64];

	for (unsigned i = 1; i <= 500; i++) {
		use_and_close(i);
		snprintf(text, sizeof(text), "10.0.%u.%u:80 limit=%u", i >> 8, i & 255, 1000 + i);
		cr_assert_eq(set(text), 1);
	}
	recycle_all();
	for (unsigned i = 1; i <= 500; i++) {
		use_and_close(i);
		cr_expect_eq(point_number(i)->settings.limit, 1000 + i);
	}
}

Test(manager, a_forked_child_has_what_its_parent_had_set)
{
	use_and_close(1);
	set("10.0.0.1:80 limit=7");
	set_defaults("*:* idle=8");
	pool_prepare_fork(&pool);
	pool_after_fork_in_child(&pool);
	use_and_close(1);
	cr_expect_eq(point_number(1)->settings.limit, 7);
	cr_expect_eq(point_number(1)->settings.idle_ms, 8);
}

/* ---- defaults ---- */

Test(manager, defaults_are_those_of_later_service_points_only)
{
	use_and_close(1);
	cr_expect_eq(set_defaults("*:* limit=3 idle=2000"), 1);
	cr_expect_eq(set_defaults("*:* uses=9"), 1);
	cr_expect_eq(point_number(1)->settings.limit, 0);
	cr_expect_eq(point_number(1)->settings.idle_ms, 100000);
	use_and_close(1);
	cr_expect_eq(point_number(1)->settings.limit, 0, "it is found, not made");
	use_and_close(2);
	cr_expect_eq(point_number(2)->settings.limit, 3);
	cr_expect_eq(point_number(2)->settings.idle_ms, 2000);
	cr_expect_eq(point_number(2)->settings.uses, 9);
	cr_expect_eq(point_number(2)->settings.lease_ms, -1);
}

Test(manager, rules_and_what_was_set_have_more_to_say_than_defaults)
{
	pool_with_rules("10.0.0.1:80 limit=2");
	use_and_close(3);
	set("10.0.0.3:80 limit=4");
	recycle_all();
	set_defaults("*:* limit=9 idle=8");
	use_and_close(1);
	use_and_close(2);
	use_and_close(3);
	cr_expect_eq(point_number(1)->settings.limit, 2);
	cr_expect_eq(point_number(2)->settings.limit, 9);
	cr_expect_eq(point_number(3)->settings.limit, 4);
	cr_expect_eq(point_number(1)->settings.idle_ms, 8);
}

Test(manager, shorter_defaults_are_kept_although_others_were_parked_longer)
{
	use_and_close(1);
	set_defaults("*:* idle=1000");
	fake.now_ms += 10;
	use_and_close(2);
	fake.now_ms += 1001;
	use_and_close(3);
	cr_expect_eq(point_number(2)->parked_count, 0);
	cr_expect_eq(point_number(1)->parked_count, 1);
}

Test(manager, defaults_are_got_as_they_are_now)
{
	struct settings settings;

	set_defaults("*:* limit=3 idle=2000");
	manager_set_cap(&pool, 7);
	memset(&settings, 0x55, sizeof(settings));
	cr_assert_eq(manager_get_defaults(&pool, &settings), 0);
	cr_expect_eq(settings.point.limit, 3);
	cr_expect_eq(settings.point.idle_ms, 2000);
	cr_expect_eq(settings.point.lease_ms, -1);
	cr_expect_eq(settings.max_service_points, 7);
	break_the_lock();
	cr_expect_eq(manager_get_defaults(&pool, &settings), -EAGAIN);
}

/* ---- the cap ---- */

Test(manager, a_lower_cap_closes_the_least_recently_used_first)
{
	for (unsigned i = 1; i <= 5; i++)
		use_and_close(i);
	use_and_close(1);
	cr_expect_eq(manager_set_cap(&pool, 2), 3);
	cr_expect_eq(pool.points.count, 2);
	cr_expect_not_null(point_number(1));
	cr_expect_not_null(point_number(5));
	cr_expect_eq(discarded(DISCARDED_RECYCLED), 3);
	cr_expect_eq(manager_set_cap(&pool, 2), 0);
	use_and_close(6);
	cr_expect_eq(pool.points.count, 2);
	cr_expect_null(point_number(5));
}

Test(manager, beyond_a_lower_cap_busy_ones_go_when_they_become_idle)
{
	int busy[] = {connected_to(1), connected_to(2), connected_to(3)};

	use_and_close(4);
	cr_expect_eq(manager_set_cap(&pool, 1), 1);
	cr_expect_eq(pool.points.count, 3);
	finish(busy[1]);
	cr_expect_null(point_number(2));
	cr_expect_eq(pool.parked_count, 0);
	cr_expect_eq(discarded(DISCARDED_RECYCLED), 2);
	finish(busy[0]);
	cr_expect_null(point_number(1));
	finish(busy[2]);
	cr_expect_not_null(point_number(3), "one is allowed");
	cr_expect_eq(pool.parked_count, 1);
	cr_expect_eq(refused(REFUSED_OVERFLOW), 0);
}

Test(manager, one_for_which_somebody_waits_is_not_recycled)
{
	int fd = connected_to(1);

	set("10.0.0.1:80 limit=1");
	struct caller caller = caller_that_waits();
	use_and_close(2);
	close_socket(fd);
	/* Its turn has come: it is counted in. */
	cr_expect_eq(manager_set_cap(&pool, 1), 1);
	cr_expect_not_null(point_number(1));
	try_again(&caller);
	cr_expect_eq(caller.taken, TAKEN_NONE);
	cr_expect_eq(point_number(1)->in_use, 1);
}

Test(manager, no_cap_is_none)
{
	manager_set_cap(&pool, 1);
	cr_expect_eq(manager_set_cap(&pool, 0), 0);
	for (unsigned i = 1; i <= 300; i++)
		use_and_close(i);
	cr_expect_eq(pool.points.count, 300);
	cr_expect_eq(discarded(DISCARDED_RECYCLED), 0);
}

/* ---- flush ---- */

Test(manager, flushing_closes_idle_ones_now_and_busy_ones_when_they_are_released)
{
	int busy = connected_to(1);

	park_number(1, 3);
	park_number(2, 1);
	cr_expect_eq(flush("10.0.0.1:80"), 3);
	cr_expect_eq(point_number(1)->parked_count, 0);
	cr_expect_eq(point_number(2)->parked_count, 1);
	cr_expect(fake_is_open(busy));
	finish(busy);
	cr_expect_eq(point_number(1)->parked_count, 0);
	cr_expect_eq(discarded(DISCARDED_FLUSHED), 3 + 1);
	cr_expect_str_eq(fake.why, "flushed");
}

Test(manager, those_that_are_connected_after_a_flush_are_parked_again)
{
	int before = connected_to(1);

	cr_expect_eq(flush("10.0.0.1:80"), 0);
	int after = connected_to(1);
	uint64_t cookie = cookie_on(after);
	finish(before);
	finish(after);
	cr_expect_eq(pool.parked_count, 1);
	cr_expect(is_reused_by(open_socket(), cookie));
}

Test(manager, one_that_is_reused_after_a_flush_is_parked_again)
{
	flush("*:*");
	uint64_t cookie = use_and_close(1);

	cr_expect_eq(flush("10.0.0.2:80"), -ENOENT);
	cr_expect_eq(use_and_close(1), cookie);
	cr_expect_eq(use_and_close(1), cookie);
	cr_expect_eq(flush("*:*"), 1);
	cr_expect_neq(use_and_close(1), cookie);
}

Test(manager, flushing_says_how_many_were_closed_or_that_there_is_none_such)
{
	cr_expect_eq(flush("*:*"), -ENOENT);
	park_number(1, 2);
	park_number(2, 3);
	connected_to(3);
	cr_expect_eq(flush("10.0.0.9:80"), -ENOENT);
	cr_expect_eq(flush("10.0.0.3:80"), 0);
	cr_expect_eq(flush("*:*"), 5);
	cr_expect_eq(flush("*:*"), 0);
}

/* ---- find ---- */

Test(manager, finding_makes_a_service_point_and_then_finds_it)
{
	struct point_view view;
	struct settings settings = settings_default();

	fake.now_ms = 5000000;
	cr_expect_eq(find("10.0.0.1:80", &view), 0);
	cr_expect_eq(pool.points.count, 1);
	cr_expect_eq(memcmp(&view.settings, &settings.point, sizeof(settings.point)), 0);
	cr_expect_eq(view.in_use + view.parked + view.waiting, 0);
	cr_expect_eq(view.idle_since_ms, 5000000);
	cr_expect_eq(find("10.0.0.1:80", &view), 0);
	cr_expect_eq(pool.points.count, 1);
	connected_to(1);
	cr_expect_eq(pool.points.count, 1, "connect() finds the very same");
}

Test(manager, finding_shows_what_there_is)
{
	struct point_view view;

	set_defaults("*:* limit=2");
	int fds[] = {connected_to(1), connected_to(1)};
	struct caller caller = caller_that_waits();
	cr_assert_eq(find("10.0.0.1:80", &view), 0);
	cr_expect_eq(view.settings.limit, 2);
	cr_expect_eq(view.in_use, 2);
	cr_expect_eq(view.waiting, 1);
	cr_expect_eq(view.opened, 2);
	cr_expect_eq(view.idle_since_ms, 0);
	finish(fds[0]);
	find("10.0.0.1:80", &view);
	cr_expect_eq(view.in_use, 1, "one whose turn has come has nothing yet");
	cr_expect_eq(view.parked, 1);
	cr_expect_eq(view.waiting, 0);
	try_again(&caller);
	cr_expect_eq(caller.taken, TAKEN_DONE);
	finish(caller.fd);
	fake.now_ms += 1234;
	finish(fds[1]);
	find("10.0.0.1:80", &view);
	cr_expect_eq(view.in_use, 0);
	cr_expect_eq(view.parked, 2);
	cr_expect_eq(view.reused, 1);
	cr_expect_eq(view.idle_since_ms, fake.now_ms);
}

Test(manager, names_are_found_in_upper_and_lower_case)
{
	struct point_view view;
	const struct name *name = learn("www.contoso.com", 1, 2);

	cr_expect_eq(find("www.CONTOSO.com:80", &view), 0);
	cr_expect_eq(find("WWW.contoso.com.:80", &view), 0);
	cr_expect_eq(pool.points.count, 1);
	cr_expect_eq(find("www.contoso.com:81", &view), 0);
	cr_expect_eq(pool.points.count, 2);
	connected_to(1);
	connected_to(2);
	cr_expect_eq(point_of(name)->in_use, 2);
	cr_expect_eq(find("10.0.0.1:80", &view), 0);
	cr_expect_eq(view.in_use, 0, "the address by itself is another one");
}

Test(manager, a_name_may_be_found_before_it_is_resolved)
{
	struct point_view view;

	cr_expect_eq(find("www.contoso.com:80", &view), 0);
	cr_expect_eq(set("www.contoso.com:80 limit=3"), 1);
	const struct name *name = learn("www.contoso.com", 1, 1);
	connected_to(1);
	cr_expect_eq(pool.points.count, 1);
	cr_expect_eq(point_of(name)->settings.limit, 3);
	cr_expect_eq(point_of(name)->in_use, 1);
}

Test(manager, both_kinds_of_addresses_are_found)
{
	struct point_view view;
	struct endpoint endpoint = {.family = AF_INET6, .port = htons(443), .address = {0x20, 1}};

	cr_expect_eq(find("[2001::]:443", &view), 0);
	cr_expect_not_null(service_points_peek(&pool.points, &endpoint));
	cr_expect_eq(find("10.0.0.7:80", &view), 0);
	cr_expect_not_null(point_number(7));
}

Test(manager, finding_at_the_cap_recycles_the_least_recently_used_or_says_that_all_are_in_use)
{
	struct point_view view;

	manager_set_cap(&pool, 2);
	use_and_close(1);
	int busy = connected_to(2);
	cr_expect_eq(find("10.0.0.3:80", &view), 0);
	cr_expect_null(point_number(1));
	cr_expect_eq(discarded(DISCARDED_RECYCLED), 1);
	int other = connected_to(3);
	cr_expect_eq(find("10.0.0.4:80", &view), -ENOMEM);
	cr_expect_eq(find("www.contoso.com:80", &view), -ENOMEM);
	cr_expect_eq(find("10.0.0.2:80", &view), 0, "those that there are");
	cr_expect_eq(pool.points.count, 2);
	finish(busy);
	finish(other);
}

/* ---- memory and the lock ---- */

Test(manager, without_memory_to_keep_it_nothing_is_done)
{
	park_number(1, 2);
	fake.error[FAKE_MAP] = 1;
	cr_expect_eq(set("10.0.0.1:80 limit=1"), -ENOMEM);
	cr_expect_eq(point_number(1)->settings.limit, 0);
	cr_expect_eq(pool.parked_count, 2);
	cr_expect_eq(pool.rules.count, 0);
	cr_expect_eq(set("10.0.0.2:80 limit=1"), -ENOENT, "there is nothing to keep");
	fake.error[FAKE_MAP] = 0;
	cr_expect_eq(set("10.0.0.1:80 limit=1"), 1);
	cr_expect_eq(pool.parked_count, 1);
	fake.error[FAKE_MAP] = 1;
	cr_expect_eq(set("10.0.0.1:80 limit=2"), 1, "there is room for it already");
}

/* However much of the memory is used up by then. */
Test(manager, wherever_memory_ends_what_is_said_is_what_is_done)
{
	char text[300];
	unsigned refusals = 0;

	fake.error[FAKE_MAP] = 1;
	fake.skip[FAKE_MAP] = 2;
	use_and_close(1);
	for (unsigned i = 1; i < 2000; i++) {
		struct point_view view;
		char label[48];

		memset(label, 'n', sizeof(label));
		label[sizeof(label) - 1] = '\0';
		snprintf(text, sizeof(text), "%s.%u.example:80", label, i);
		if (find(text, &view) != 0) {
			refusals++;
			continue;
		}
		snprintf(text, sizeof(text), "%s.%u.example:80 limit=5", label, i);
		long result = set(text);
		snprintf(text, sizeof(text), "%s.%u.example:80", label, i);
		cr_assert(result == 1 || result == -ENOMEM);
		if (result == -ENOMEM)
			refusals++;
		if (find(text, &view) == 0)
			cr_expect_eq(view.settings.limit, result == 1 ? 5 : 0, "%s", text);
	}
	cr_expect_gt(refusals, 1000);
}

Test(manager, without_the_lock_nothing_is_done)
{
	struct point_view view;

	park_number(1, 2);
	break_the_lock();
	cr_expect_eq(set("10.0.0.1:80 limit=1"), -EAGAIN);
	cr_expect_eq(set_defaults("*:* limit=1"), -EAGAIN);
	cr_expect_eq(manager_set_cap(&pool, 1), -EAGAIN);
	cr_expect_eq(flush("*:*"), -EAGAIN);
	cr_expect_eq(find("10.0.0.1:80", &view), -EAGAIN);
	cr_expect_eq(point_number(1)->settings.limit, 0);
	cr_expect_eq(pool.settings.point.limit, 0);
	cr_expect_eq(pool.settings.max_service_points, 256);
	cr_expect_eq(pool.parked_count, 2);
}

/* As in a signal handler that interrupted the pool. */
Test(manager, a_thread_that_has_the_lock_is_told_to_try_again)
{
	struct point_view view;

	use_and_close(1);
	cr_assert(fake_acquire(&pool.lock));
	long results[] = {set("10.0.0.1:80 limit=1"), set_defaults("*:* limit=1"),
		manager_set_cap(&pool, 1), flush("*:*"), find("10.0.0.1:80", &view)};
	fake_release(&pool.lock);
	for (size_t i = 0; i < COUNT(results); i++)
		cr_expect_eq(results[i], -EAGAIN);
	cr_expect_eq(set("10.0.0.1:80 limit=1"), 1);
}

/* Two threads find no room at the same time. */
static void set_something_else(void)
{
	cr_assert_eq(set("10.0.0.0/8:80 uses=3"), 1);
}

Test(manager, another_thread_may_keep_something_meanwhile)
{
	use_and_close(1);
	fake.before[FAKE_MAP] = set_something_else;
	cr_expect_eq(set("10.0.0.1:80 limit=4"), 1);
	cr_assert_null(fake.before[FAKE_MAP]);
	recycle_all();
	use_and_close(1);
	cr_expect_eq(point_number(1)->settings.limit, 4);
	cr_expect_eq(point_number(1)->settings.uses, 3);
}

/* More than the list that this one maps has room for. */
static void set_many_things(void)
{
	char text[64];

	for (unsigned i = 0; i < 128; i++) {
		snprintf(text, sizeof(text), "10.0.0.%u/8:80 uses=3", i);
		cr_assert_eq(set(text), 1);
	}
}

Test(manager, another_thread_may_keep_more_meanwhile_than_there_would_have_been_room_for)
{
	use_and_close(1);
	fake.before[FAKE_MAP] = set_many_things;
	long result = set("10.0.0.1:80 limit=4");
	cr_expect(result == 1 || result == -ENOMEM);
	cr_expect_geq(pool.rules.room, pool.rules.count);
	cr_expect_eq(set("10.0.0.1:80 limit=4"), 1);
	recycle_all();
	use_and_close(1);
	cr_expect_eq(point_number(1)->settings.limit, 4);
	cr_expect_eq(point_number(1)->settings.uses, 3);
}

#include "tests/unit/fake_os.h"

#include <asm/socket.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* Copied, fixed, ignored, barred: see options.inc. */
#define COPIED SOL_SOCKET, SO_KEEPALIVE
#define FIXED  SOL_SOCKET, SO_SNDBUF

static bool record(struct options *options, int level, int name, int value)
{
	return options_record(options, level, name, &value, sizeof(value), false);
}

Test(options, are_recorded_once_each_with_the_latest_value)
{
	struct options options = {0};
	const int latest = 0;

	cr_expect(record(&options, COPIED, 1));
	cr_expect(record(&options, IPPROTO_TCP, TCP_NODELAY, 1));
	cr_expect(record(&options, COPIED, latest));
	cr_expect_eq(options.count, 2);
	cr_expect_eq(options.entries[0].size, sizeof(latest));
	cr_expect_eq(memcmp(options.entries[0].value, &latest, sizeof(latest)), 0);
}

Test(options, that_cannot_be_undone_are_refused_and_that_leave_no_trace_are_not_recorded)
{
	static const struct {
		int level, name;
		bool expected;
	} rows[] = {
		{IPPROTO_TCP, TCP_QUICKACK, true},
		{SOL_SOCKET, SO_ATTACH_FILTER, false},
		{SOL_SOCKET, SO_ATTACH_BPF, false},
		{SOL_SOCKET, SO_LOCK_FILTER, false},
		{SOL_SOCKET, SO_ZEROCOPY, false},
		{SOL_SOCKET, SO_PEEK_OFF, false},
		{SOL_SOCKET, SO_TIMESTAMPING_OLD, false},
		{SOL_SOCKET, SO_TIMESTAMPING_NEW, false},
		{IPPROTO_TCP, TCP_FASTOPEN, false},
		{IPPROTO_TCP, TCP_FASTOPEN_CONNECT, false},
		{IPPROTO_TCP, TCP_MD5SIG, false},
		{IPPROTO_TCP, TCP_MD5SIG_EXT, false},
		{IPPROTO_TCP, TCP_REPAIR, false},
		{IPPROTO_TCP, TCP_ULP, false},
		{IPPROTO_TCP, TCP_ZEROCOPY_RECEIVE, false},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct options options = {0};

		cr_expect_eq(record(&options, rows[i].level, rows[i].name, 1), rows[i].expected,
			"level %d, name %d", rows[i].level, rows[i].name);
		cr_expect_eq(options.count, 0);
	}
}

Test(options, every_copied_one_may_differ_between_the_two_sockets)
{
	static const struct {
		int level, name;
	} rows[] = {
		{SOL_SOCKET, SO_KEEPALIVE},
		{SOL_SOCKET, SO_RCVTIMEO},
		{SOL_SOCKET, SO_SNDTIMEO},
		{SOL_SOCKET, SO_RCVLOWAT},
		{SOL_SOCKET, SO_OOBINLINE},
		{SOL_SOCKET, SO_REUSEADDR},
		{SOL_SOCKET, SO_REUSEPORT},
		{IPPROTO_TCP, TCP_NODELAY},
		{IPPROTO_TCP, TCP_CORK},
		{IPPROTO_TCP, TCP_KEEPIDLE},
		{IPPROTO_TCP, TCP_KEEPINTVL},
		{IPPROTO_TCP, TCP_KEEPCNT},
		{IPPROTO_TCP, TCP_USER_TIMEOUT},
		{IPPROTO_TCP, TCP_LINGER2},
		{IPPROTO_TCP, TCP_SYNCNT},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct options parked = {0}, fresh = {0};

		/* Long enough for any of them. */
		const char value[OPTION_VALUE_MAX] = {1};
		cr_expect(options_record(
			&parked, rows[i].level, rows[i].name, value, sizeof(value), false));
		cr_expect_eq(parked.count, 1);
		cr_expect(options_match(&parked, &fresh), "level %d, name %d", rows[i].level,
			rows[i].name);
	}
}

Test(options, lingering_is_refused_only_when_it_is_switched_on)
{
	const struct linger off = {.l_linger = 5}, on = {.l_onoff = 1}, reset = {.l_onoff = 1};
	struct options options = {0};

	cr_expect(options_record(&options, SOL_SOCKET, SO_LINGER, &off, sizeof(off), false));
	cr_expect_eq(options.count, 0);
	cr_expect_not(options_record(&options, SOL_SOCKET, SO_LINGER, &on, sizeof(on), false));
	cr_expect_not(
		options_record(&options, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset), false));
	cr_expect_not(
		options_record(&options, SOL_SOCKET, SO_LINGER, &off, sizeof(off) - 1, false));
	/* The same number at another level is another option, IP_RECVTTL, here with an odd size. */
	cr_expect_not(options_record(&options, IPPROTO_IP, SO_LINGER, &on, sizeof(on), false));
}

Test(options, no_more_of_a_value_is_read_than_the_kernel_reads)
{
	const int value[4] = {1, 2, 3, 4};
	struct options options = {0};

	cr_expect(options_record(&options, COPIED, value, sizeof(value), false));
	cr_expect_eq(options.entries[0].size, sizeof(int));
	cr_expect_not(options_record(&options, FIXED, value, sizeof(value), false));
	cr_expect_not(options_record(&options, COPIED, value, 1, false));
	cr_expect_not(options_record(&options, COPIED, NULL, 0, false));
}

Test(options, a_fixed_one_set_after_connect_can_never_be_matched)
{
	struct options options = {0};
	const int one = 1, two = 2;

	cr_expect(options_record(&options, FIXED, &one, sizeof(one), false));
	cr_expect(options_record(&options, FIXED, &one, sizeof(one), true), "nothing changes");
	cr_expect_not(options_record(&options, FIXED, &two, sizeof(two), true));
	cr_expect(options_record(&options, COPIED, &one, sizeof(one), true));
}

Test(options, nodelay_is_lent_once_where_the_program_says_nothing)
{
	struct options parked = {0}, fresh = {0};
	int parked_fd = fake_socket(), fresh_fd = fake_socket();

	cr_assert_eq(options_apply(&fake_os, parked_fd, &parked, fresh_fd, &fresh), 0);
	cr_expect(parked.lends_nodelay);
	cr_expect_eq(fake_option(parked_fd, IPPROTO_TCP, TCP_NODELAY), 1);
	cr_assert_eq(options_apply(&fake_os, parked_fd, &parked, fresh_fd, &fresh), 0);
	cr_expect_eq(fake.calls[FAKE_SET_OPTION], 1);
	record(&fresh, IPPROTO_TCP, TCP_NODELAY, 0);
	cr_assert_eq(options_apply(&fake_os, parked_fd, &parked, fresh_fd, &fresh), 0);
	cr_expect_not(parked.lends_nodelay);
	cr_expect_eq(fake_option(parked_fd, IPPROTO_TCP, TCP_NODELAY), 0);
	fresh.count = 0;
	cr_assert_eq(options_apply(&fake_os, parked_fd, &parked, fresh_fd, &fresh), 0);
	cr_expect(parked.lends_nodelay);
	record(&parked, IPPROTO_TCP, TCP_NODELAY, 0);
	cr_expect_not(parked.lends_nodelay, "the program has its own will");
}

Test(options, one_too_many_is_refused_but_not_one_that_is_known)
{
	struct options options = {0};

	for (int name = 0; name < OPTIONS_MAX; name++)
		cr_assert(record(&options, 12345, name, 1));
	cr_expect_not(record(&options, 12345, OPTIONS_MAX, 1));
	cr_expect(record(&options, 12345, OPTIONS_MAX - 1, 2));
	cr_expect_eq(options.count, OPTIONS_MAX);
}

/* One option that each side may have set. */
struct match_row {
	const char *claim;
	int level, name;
	int parked, fresh; /* UNSET: that side has not set it */
	bool expected;
};

#define UNSET (-1)

Test(options, fixed_ones_must_be_equal_on_both_sides_and_copied_ones_need_not)
{
	static const struct match_row rows[] = {
		{"copied, set on both", COPIED, 1, 1, true},
		{"copied, other values", COPIED, 1, 0, true},
		{"copied, set on the parked one only", COPIED, 1, UNSET, true},
		{"copied, set on the fresh one only", COPIED, UNSET, 1, true},
		{"fixed, set on both", FIXED, 1, 1, true},
		{"fixed, other values", FIXED, 1, 2, false},
		{"fixed, set on the parked one only", FIXED, 1, UNSET, false},
		{"fixed, set on the fresh one only", FIXED, UNSET, 1, false},
		{"not in the table, set on both", 12345, 6, 1, 1, true},
		{"not in the table, other values", 12345, 6, 1, 2, false},
		{"not in the table, set on one", 12345, 6, 1, UNSET, false},
		{"nothing set", COPIED, UNSET, UNSET, true},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct options parked = {0}, fresh = {0};

		if (rows[i].parked != UNSET)
			record(&parked, rows[i].level, rows[i].name, rows[i].parked);
		if (rows[i].fresh != UNSET)
			record(&fresh, rows[i].level, rows[i].name, rows[i].fresh);
		cr_expect_eq(options_match(&parked, &fresh), rows[i].expected, "%s", rows[i].claim);
	}
}

Test(options, the_order_of_fixed_ones_does_not_matter)
{
	struct options parked = {0}, fresh = {0};

	record(&parked, FIXED, 1);
	record(&parked, 12345, 6, 2);
	record(&fresh, 12345, 6, 2);
	record(&fresh, FIXED, 1);
	cr_expect(options_match(&parked, &fresh));
}

Test(options, applying_sets_what_the_fresh_socket_has_and_undoes_what_it_has_not)
{
	struct options parked = {0}, fresh = {0};
	int parked_fd = fake_socket(), fresh_fd = fake_socket();
	const int one = 1, seven = 7, unlike_any_default = 4712;

	record(&parked, IPPROTO_TCP, TCP_KEEPIDLE, 60);
	record(&parked, COPIED, one);
	record(&fresh, COPIED, seven);
	record(&fresh, IPPROTO_TCP, TCP_NODELAY, one);
	fake_os.set_option(parked_fd, IPPROTO_TCP, TCP_KEEPIDLE, &one, sizeof(one));
	fake_os.set_option(fresh_fd, IPPROTO_TCP, TCP_KEEPIDLE, &unlike_any_default,
		sizeof(unlike_any_default));
	cr_assert_eq(options_apply(&fake_os, parked_fd, &parked, fresh_fd, &fresh), 0);
	cr_expect_eq(fake_option(parked_fd, COPIED), seven);
	cr_expect_eq(fake_option(parked_fd, IPPROTO_TCP, TCP_NODELAY), one);
	cr_expect_eq(fake_option(parked_fd, IPPROTO_TCP, TCP_KEEPIDLE), unlike_any_default);
	cr_expect_eq(memcmp(&parked, &fresh, sizeof(fresh)), 0);
}

Test(options, timeouts_are_undone_in_full)
{
	const struct timeval timeout = {.tv_sec = 5, .tv_usec = 7}, none = {0};
	struct options parked = {0}, fresh = {0};
	int parked_fd = fake_socket(), fresh_fd = fake_socket();

	options_record(&parked, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout), false);
	fake_os.set_option(parked_fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	fake_os.set_option(fresh_fd, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof(none));
	cr_assert_eq(options_apply(&fake_os, parked_fd, &parked, fresh_fd, &fresh), 0);
	cr_expect_eq(fake_socket_on(parked_fd)->options[0].size, sizeof(none));
	cr_expect_eq(memcmp(fake_socket_on(parked_fd)->options[0].value, &none, sizeof(none)), 0);
}

Test(options, what_is_alike_already_costs_no_system_call)
{
	struct options parked = {0}, fresh = {0};
	int parked_fd = fake_socket(), fresh_fd = fake_socket();

	record(&parked, COPIED, 1);
	record(&parked, FIXED, 1);
	record(&fresh, FIXED, 1);
	record(&fresh, COPIED, 1);
	parked.lends_nodelay = true;
	cr_assert_eq(options_apply(&fake_os, parked_fd, &parked, fresh_fd, &fresh), 0);
	cr_expect_eq(fake.calls[FAKE_SET_OPTION], 0);
	cr_expect_eq(fake.calls[FAKE_GET_OPTION], 0);
}

Test(options, the_first_error_is_told)
{
	struct options parked = {0}, fresh = {0};
	int parked_fd = fake_socket(), fresh_fd = fake_socket();

	record(&fresh, COPIED, 1);
	fake.error[FAKE_SET_OPTION] = -ENOPROTOOPT;
	cr_expect_eq(options_apply(&fake_os, parked_fd, &parked, fresh_fd, &fresh), -ENOPROTOOPT);
	fake.error[FAKE_SET_OPTION] = 0;
	fake.error[FAKE_GET_OPTION] = -ENOBUFS;
	record(&parked, IPPROTO_TCP, TCP_CORK, 1);
	cr_expect_eq(options_apply(&fake_os, parked_fd, &parked, fresh_fd, &fresh), -ENOBUFS);
	fake.error[FAKE_GET_OPTION] = 0;
	fake.error[FAKE_SET_OPTION] = -EPERM;
	fake.skip[FAKE_SET_OPTION] = 1;
	cr_expect_eq(options_apply(&fake_os, parked_fd, &parked, fresh_fd, &fresh), -EPERM);
}

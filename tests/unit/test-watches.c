#include "tests/unit/fake_os.h"

#include <criterion/criterion.h>
#include <errno.h>

static bool record(struct watches *watches, int epfd, int op, uint32_t events, uint64_t data)
{
	struct epoll_event event = {.events = events, .data.u64 = data};

	return watches_record(watches, epfd, op, op == EPOLL_CTL_DEL ? NULL : &event);
}

/* What the program does: it tells the kernel, and the library hears of it. */
static void watch(struct watches *watches, int epfd, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event event = {.events = events, .data.u64 = data};

	cr_assert_eq(fake_os.watch(epfd, EPOLL_CTL_ADD, fd, &event), 0);
	cr_assert(watches_record(watches, epfd, EPOLL_CTL_ADD, &event));
}

Test(watches, keep_the_latest_events_and_data_of_each_set)
{
	struct watches watches = {0};

	cr_expect(record(&watches, 50, EPOLL_CTL_ADD, EPOLLIN, 1));
	cr_expect(record(&watches, 51, EPOLL_CTL_ADD, EPOLLOUT, 2));
	cr_expect(record(&watches, 50, EPOLL_CTL_MOD, EPOLLOUT, 3));
	cr_expect_eq(watches.count, 2);
	cr_expect_eq(watches.entries[0].epfd, 50);
	cr_expect_eq(watches.entries[0].events, EPOLLOUT);
	cr_expect_eq(watches.entries[0].data, 3);
}

Test(watches, forget_a_set_that_the_program_took_the_number_out_of)
{
	struct watches watches = {0};

	record(&watches, 50, EPOLL_CTL_ADD, EPOLLIN, 1);
	record(&watches, 51, EPOLL_CTL_ADD, EPOLLIN, 2);
	cr_expect(record(&watches, 50, EPOLL_CTL_DEL, 0, 0));
	cr_expect_eq(watches.count, 1);
	cr_expect_eq(watches.entries[0].epfd, 51);
	cr_expect_eq(watches.entries[0].data, 2);
	cr_expect(record(&watches, 52, EPOLL_CTL_DEL, 0, 0), "one that was not known");
	cr_expect_eq(watches.count, 1);
}

Test(watches, one_set_too_many_is_told_but_not_one_that_is_known)
{
	struct watches watches = {0};

	for (int epfd = 50; epfd < 50 + WATCHES_MAX; epfd++)
		cr_assert(record(&watches, epfd, EPOLL_CTL_ADD, EPOLLIN, 0));
	cr_expect_not(record(&watches, 99, EPOLL_CTL_ADD, EPOLLIN, 0));
	cr_expect(record(&watches, 50, EPOLL_CTL_MOD, EPOLLOUT, 0));
	cr_expect(record(&watches, 50, EPOLL_CTL_DEL, 0, 0));
	cr_expect(record(&watches, 99, EPOLL_CTL_ADD, EPOLLIN, 0));
}

Test(watches, removing_takes_the_number_out_of_every_set)
{
	struct watches watches = {0};
	int fd = fake_socket();

	for (int epfd = 50; epfd < 50 + WATCHES_MAX; epfd++)
		watch(&watches, epfd, fd, EPOLLIN, 0);
	cr_expect(watches_remove(&fake_os, &watches, fd));
	cr_expect_eq(fake_registered(fake_socket_on(fd)), 0);
	cr_expect_eq(watches.count, 0);
}

Test(watches, removing_fails_if_a_set_does_not_say_that_the_number_was_in_it)
{
	struct watches watches = {0};
	int fd = fake_socket();

	watch(&watches, 50, fd, EPOLLIN, 0);
	/* As if 51 had been closed, and opened again as another set. */
	record(&watches, 51, EPOLL_CTL_ADD, EPOLLIN, 0);
	cr_expect_not(watches_remove(&fake_os, &watches, fd));
	record(&watches, 51, EPOLL_CTL_DEL, 0, 0);
	fake.error[FAKE_WATCH] = -EBADF;
	cr_expect_not(watches_remove(&fake_os, &watches, fd));
}

Test(watches, hold_if_the_number_is_in_every_set)
{
	struct watches watches = {0};
	int fd = fake_socket();

	cr_expect(watches_hold(&fake_os, &watches, fd), "there is none");
	watch(&watches, 50, fd, EPOLLIN, 1);
	watch(&watches, 51, fd, EPOLLIN | EPOLLET, 2);
	cr_expect(watches_hold(&fake_os, &watches, fd));
	record(&watches, 52, EPOLL_CTL_ADD, EPOLLIN, 0);
	cr_expect_not(watches_hold(&fake_os, &watches, fd));
}

Test(watches, asking_changes_no_registration)
{
	struct watches watches = {0};
	int fd = fake_socket();

	watch(&watches, 50, fd, EPOLLIN | EPOLLET, 77);
	cr_assert(watches_hold(&fake_os, &watches, fd));
	cr_expect_eq(fake.registrations[0].event.events, EPOLLIN | EPOLLET);
	cr_expect_eq(fake.registrations[0].event.data.u64, 77);
}

Test(watches, that_are_one_shot_or_exclusive_are_held_as_they_are_now)
{
	static const uint32_t flags[] = {EPOLLONESHOT, EPOLLEXCLUSIVE};

	for (int i = 0; i < 2; i++) {
		struct watches watches = {0};
		int fd = fake_socket();

		watch(&watches, 50, fd, EPOLLIN | flags[i], 0);
		fake.error[FAKE_WATCH] = -EINVAL;
		cr_expect(watches_hold(&fake_os, &watches, fd), "without a change");
		cr_expect_eq(watches.entries[0].events, EPOLLIN | flags[i]);
		/* It has fired. */
		fake.registrations[i].event.events = flags[i];
		cr_expect(watches_hold(&fake_os, &watches, fd));
		cr_expect_eq(watches.entries[0].events, flags[i]);
		fake.error[FAKE_WATCH] = 0;
		record(&watches, 51, EPOLL_CTL_ADD, EPOLLIN | flags[i], 0);
		cr_expect_not(watches_hold(&fake_os, &watches, fd), "in one it is not");
	}
}

Test(watches, restoring_puts_another_file_on_the_number_into_each_set)
{
	struct watches watches = {0};
	int fd = fake_socket();

	watch(&watches, 50, fd, EPOLLIN, 5);
	watch(&watches, 51, fd, EPOLLOUT | EPOLLET, 6);
	fake_replace(fd);
	cr_assert_eq(fake_registered(fake_socket_on(fd)), 0);
	cr_expect(watches_restore(&fake_os, &watches, fd));
	cr_expect_eq(fake_registered(fake_socket_on(fd)), 2);
	cr_expect_eq(fake.registrations[0].event.data.u64, 5);
	cr_expect_eq(fake.registrations[1].epfd, 51);
	cr_expect_eq(fake.registrations[1].event.events, EPOLLOUT | EPOLLET);
	cr_expect_eq(watches.count, 2, "they are remembered for the next close()");
	cr_expect_not(watches_restore(&fake_os, &watches, fd), "they are in there already");
}

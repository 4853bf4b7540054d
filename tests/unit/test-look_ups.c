#include "pool/look_ups.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>

static struct look_ups ups;

/* Names are told apart by where they are; what they say is no matter here. */
static const char names[10];

static const struct name *name_number(unsigned number)
{
	return (const struct name *)(const void *)&names[number];
}

static struct endpoint to(unsigned number)
{
	return (struct endpoint){
		.family = AF_INET,
		.port = htons(80),
		.address = {10, 0, (uint8_t)(number >> 8), (uint8_t)number},
	};
}

/* Resolved to these addresses. */
static void resolve(const struct name *name, unsigned first, unsigned count)
{
	struct answer answer = {.families = FAMILY_IPV4};

	for (unsigned i = 0; i < count; i++) {
		const struct endpoint endpoint = to(first + i);
		const struct host_address address = host_address_of(&endpoint);
		answer_add(&answer, &address);
	}
	look_ups_note(&ups, name, &answer);
}

/* R: resolves a name; C: connects to an address, for which name, or 0: that is not certain. Names
 * are digits, with the addresses behind them; the same digits mean the same. */
static const struct {
	const char *what, *steps;
} programs[] = {
	{"nothing was resolved", "C1=0"},
	{"resolves and connects", "R1:1 C1=1"},
	{"again and again", "R1:1 C1=1 R1:1 C1=1 R2:1 C1=2 R1:1 C1=1 R3:1 C1=3"},
	{"connects twice to one answer", "R1:1 C1=1 C1=0"},
	{"goes through the addresses", "R1:123 C1=1 C2=1 C3=1 C1=0"},
	{"one name after the other, with the same addresses", "R1:12 C1=1 R2:12 C2=2"},
	{"goes through the second name's", "R1:1 C1=1 R2:12 C2=2 C1=2"},
	{"somewhere else", "R1:1 C2=0 C1=1"},
	{"two names at first", "R1:1 R2:1 C1=0 C1=0"},
	{"two names at first, connected to elsewhere between", "R1:1 C9=0 R2:1 C1=0"},
	{"two names at first, with other addresses", "R1:1 R2:2 C1=0 C2=2"},
	{"three at first", "R1:1 R2:1 R3:1 C1=0 C1=0 C1=0"},
	{"the same name twice at first", "R1:1 R1:1 C1=1 C1=0"},
	{"five at first", "R1:1 R2:2 R3:3 R4:4 R5:1 C1=0 C1=0"},
	{"and it goes on being one that does so", "R1:1 R2:2 R3:3 R4:4 R5:5 C5=0 R6:6 C6=0"},
	{"many, each used", "R1:1 C1=1 R2:2 C2=2 R3:3 C3=3 R4:4 C4=4 R5:5 C5=5 R6:1 C1=6"},
	{"the first address of one fails when the next is resolved",
		"R1:12 C1=1 R2:12 C1=2 C2=0 C2=0"},
	{"the answer changes", "R1:1 R1:2 C1=0 C2=1"},
};

static void run(const char *what, const char *steps)
{
	ups = (struct look_ups){0};
	while (*steps) {
		unsigned number = (unsigned)(steps[1] - '0');
		const struct endpoint endpoint = to(number);
		if (*steps == 'R') {
			struct answer answer = {.families = FAMILY_IPV4};
			for (steps += 3; *steps && *steps != ' '; steps++) {
				const struct endpoint its = to((unsigned)(*steps - '0'));
				const struct host_address address = host_address_of(&its);
				answer_add(&answer, &address);
			}
			look_ups_note(&ups, name_number(number), &answer);
		} else {
			const struct name *expected = NULL;
			if (steps[3] != '0')
				expected = name_number((unsigned)(steps[3] - '0'));
			cr_expect_eq(look_ups_use(&ups, &endpoint), expected, "%s: before '%s'",
				what, steps);
			steps += 4;
		}
		steps += *steps == ' ';
	}
}

Test(look_ups, tell_of_each_address_once_where_nothing_else_can_be_meant)
{
	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++)
		run(programs[i].what, programs[i].steps);
}

Test(look_ups, an_answer_with_more_addresses_than_are_noted_leaves_the_others_in_doubt)
{
	const struct endpoint first = to(100), beyond = to(100 + NAME_ADDRESSES_MAX), other = to(1);

	resolve(name_number(1), 100, NAME_ADDRESSES_MAX + 1);
	cr_expect_null(look_ups_use(&ups, &beyond));
	resolve(name_number(2), 1, 1);
	cr_expect_null(look_ups_use(&ups, &other), "it may have been one of the first name's");
	resolve(name_number(1), 100, NAME_ADDRESSES_MAX + 1);
	cr_expect_eq(look_ups_use(&ups, &first), name_number(1));
	resolve(name_number(2), 1, 1);
	cr_expect_eq(look_ups_use(&ups, &other), name_number(2));
}

Test(look_ups, strangers_and_addresses_are_not_one_and_the_same)
{
	const struct endpoint one = to(1), two = to(2);

	resolve(NULL, 1, 1);
	cr_expect_eq(look_ups_use(&ups, &one), &name_stranger);
	resolve(NULL, 1, 1);
	resolve(NULL, 1, 1);
	cr_expect_null(look_ups_use(&ups, &one));
	resolve(&name_itself, 2, 1);
	cr_expect_eq(look_ups_use(&ups, &two), &name_itself);
	resolve(&name_itself, 2, 1);
	resolve(&name_itself, 1, 1);
	resolve(name_number(1), 2, 1);
	cr_expect_null(look_ups_use(&ups, &two), "or the address itself");
}

Test(look_ups, an_address_that_was_asked_for_and_not_connected_to_is_not_forgotten)
{
	for (unsigned number = 1; number <= LOOK_UPS_MAX + 1; number++)
		resolve(&name_itself, number, 1);
	for (unsigned number = 2; number <= LOOK_UPS_MAX + 1; number++) {
		const struct endpoint endpoint = to(number);
		look_ups_use(&ups, &endpoint);
	}
	resolve(name_number(1), 1, 1);
	const struct endpoint one = to(1);
	cr_expect_null(look_ups_use(&ups, &one));
}

Test(look_ups, a_mapped_address_is_the_address)
{
	struct endpoint mapped = {.family = AF_INET6, .address = {[10] = 0xff, [11] = 0xff, 10}};

	mapped.address[15] = 1;
	resolve(name_number(1), 1, 1);
	cr_expect_eq(look_ups_use(&ups, &mapped), name_number(1));
}

/* Requests: what text does, and that any other text does nothing. */
#include "tests/unit/program.h"

#include "pool/manager.h"
#include "pool/requests.h"

#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static void check_books(void)
{
	expect_books_in_order();
}

/* What there is before each request: one service point with a connection in use and two parked, one
 * that has a name, with one parked. */
static void setup(void)
{
	int fds[3];

	pool_with(settings_default());
	for (unsigned i = 0; i < COUNT(fds); i++)
		fds[i] = connected_to(1);
	finish(fds[0]);
	finish(fds[1]);
	learn("www.contoso.com", 2, 1);
	use_and_close(2);
}

TestSuite(requests, .init = setup, .fini = check_books);

static char problem[REQUEST_PROBLEM_SIZE + 1];

/* A copy of the text that ends where a page ends, so that reading one byte more crashes. */
static const char *at_end_of_page(const char *text, size_t len)
{
	static char *end;

	if (!end) {
		const size_t page = (size_t)sysconf(_SC_PAGESIZE), room = 16 * page;
		char *area = mmap(NULL, room + page, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		cr_assert(area != MAP_FAILED);
		end = area + room;
		cr_assert_eq(mprotect(end, page, PROT_NONE), 0);
	}
	return memcpy(end - len, text, len);
}

static long serve_bytes(const char *text, size_t len)
{
	memset(problem, 0x55, sizeof(problem));
	long result = request_serve(&pool, at_end_of_page(text, len), len, problem);
	cr_expect_eq(problem[REQUEST_PROBLEM_SIZE], 0x55, "beyond its size");
	const char *end = memchr(problem, '\0', REQUEST_PROBLEM_SIZE);
	cr_assert_not_null(end, "it is terminated");
	for (const char *c = problem; c < end; c++)
		cr_expect(*c >= ' ' && *c <= '~', "byte %d", *c);
	cr_expect_eq(end > problem, result < 0, "there is a problem if there is one");
	return result;
}

static long serve(const char *text)
{
	return serve_bytes(text, strlen(text));
}

static const struct service_point *point_number(unsigned number)
{
	const struct endpoint endpoint = endpoint_number(number);

	return service_points_peek(&pool.points, &endpoint);
}

/* Everything that a request can change. */
struct books {
	struct settings settings;
	struct point_settings points[8];
	unsigned flushes[8], parked[8];
	unsigned count, parked_count;
	size_t rules;
	uint64_t discarded;
};

static struct books books(void)
{
	struct books all = {
		.settings = pool.settings,
		.count = pool.points.count,
		.parked_count = pool.parked_count,
		.rules = pool.rules.count,
		.discarded = discarded_in_all(),
	};
	unsigned i = 0;

	for (const struct service_point *point = pool.points.used; point; point = point->next) {
		cr_assert_lt(i, COUNT(all.points));
		all.points[i] = point->settings;
		all.flushes[i] = point->flushes;
		all.parked[i++] = point->parked_count;
	}
	return all;
}

static bool is_as_before(const struct books *before)
{
	const struct books now = books();

	return memcmp(&now, before, sizeof(now)) == 0;
}

/* ---- what is asked for is done ---- */

Test(requests, set_is_of_service_points_that_there_are)
{
	cr_expect_eq(serve("set 10.0.0.1:80 limit=2 idle=5000"), 1);
	cr_expect_eq(point_number(1)->settings.limit, 2);
	cr_expect_eq(point_number(1)->settings.idle_ms, 5000);
	cr_expect_eq(point_number(1)->parked_count, 1, "it is manager_set()");
	cr_expect_eq(serve("set *:80 uses=3"), 2);
	cr_expect_eq(serve("set *.contoso.com:* lease=7"), 1);
	cr_expect_eq(serve("set WWW.contoso.com:80 proto=raw off=0"), 1);
}

Test(requests, set_of_none_is_no_such_service_point)
{
	const struct books before = books();

	cr_expect_eq(serve("set 10.0.0.9:80 limit=2"), -ENOENT);
	cr_expect_str_eq(problem, "there is no such service point");
	cr_expect_eq(serve("flush www.contoso.org:80"), -ENOENT);
	cr_expect_str_eq(problem, "there is no such service point");
	cr_expect(is_as_before(&before));
}

Test(requests, default_is_of_those_that_are_still_to_come)
{
	cr_expect_eq(serve("default limit=4 wait=9"), 1);
	cr_expect_eq(point_number(1)->settings.limit, 0);
	use_and_close(7);
	cr_expect_eq(point_number(7)->settings.limit, 4);
	cr_expect_eq(point_number(7)->settings.wait_ms, 9);
}

Test(requests, cap_says_how_many_service_points_have_gone)
{
	use_and_close(3);
	use_and_close(4);
	cr_expect_eq(serve("cap 3"), 1);
	cr_expect_eq(pool.settings.max_service_points, 3);
	cr_expect_eq(serve("cap 1"), 2, "the busy one stays");
	cr_expect_eq(pool.points.count, 1);
	cr_expect_eq(serve("cap 0"), 0);
	cr_expect_eq(serve("cap 1000000"), 0);
	cr_expect_eq(pool.settings.max_service_points, 1000000);
}

Test(requests, flush_says_how_many_connections_were_closed)
{
	cr_expect_eq(serve("flush 10.0.0.1:80"), 2);
	cr_expect_eq(discarded(DISCARDED_FLUSHED), 2);
	cr_expect_eq(serve("flush 10.0.0.1:80"), 0);
	cr_expect_eq(serve("flush www.CONTOSO.com:80"), 1);
	cr_expect_eq(serve("flush *:*"), 0);
}

Test(requests, blanks_and_a_comment_are_as_in_rules)
{
	cr_expect_eq(serve("set  10.0.0.1:80\tlimit=2  # for now; \x01 or not"), 1);
	cr_expect_eq(point_number(1)->settings.limit, 2);
	cr_expect_eq(serve("default  limit=3 "), 1);
	cr_expect_eq(serve("flush  10.0.0.1:80 # now"), 1);
}

Test(requests, for_each_value_the_ranges_of_the_settings_hold)
{
	for (size_t i = 0; i < setting_count; i++) {
		const struct setting *setting = &setting_table[i];
		const struct {
			long value;
			bool allowed;
		} rows[] = {
			{setting->least - 1, false},
			{setting->least, true},
			{setting->most, true},
			{setting->most + 1, false},
		};
		if (!setting->key || strcmp(setting->key, "proto") == 0)
			continue;
		for (size_t r = 0; r < COUNT(rows); r++) {
			char text[80];
			snprintf(text, sizeof(text), "set 10.0.0.1:80 %s=%ld", setting->key,
				rows[r].value);
			cr_expect_eq(serve(text), rows[r].allowed ? 1 : -EINVAL, "%s", text);
			snprintf(text, sizeof(text), "default %s=%ld", setting->key, rows[r].value);
			cr_expect_eq(serve(text), rows[r].allowed ? 1 : -EINVAL, "%s", text);
		}
	}
}

/* ---- what is no request ---- */

/* Bytes, as there may be zeros among them. */
#define BYTES(text) text, sizeof(text) - 1

static const struct {
	const char *text;
	size_t len;
	const char *problem; /* NULL: whatever it is */
} malformed[] = {
	{BYTES(""), "that is no request: set, default, cap or flush"},
	{BYTES("\0"), "that is no request: set, default, cap or flush"},
	{BYTES(" "), NULL},
	{BYTES("s"), NULL},
	{BYTES("set"), NULL},
	{BYTES("setx"), NULL},
	{BYTES("set\t10.0.0.1:80 limit=1"), NULL},
	{BYTES("SET 10.0.0.1:80 limit=1"), NULL},
	{BYTES(" set 10.0.0.1:80 limit=1"), NULL},
	{BYTES("10.0.0.1:80 limit=1"), NULL},
	{BYTES("reset 10.0.0.1:80 limit=1"), NULL},
	{BYTES("quit"), "that is no request: set, default, cap or flush"},

	{BYTES("set10.0.0.1:80 limit=1"), NULL},
	{BYTES("defaultlimit=1"), NULL},
	{BYTES("cap1"), NULL},
	{BYTES("flush10.0.0.1:80"), "that is no request: set, default, cap or flush"},

	{BYTES("set "), "host:port is missing"},
	{BYTES("set     "), "host:port is missing"},
	{BYTES("set ;;\n;"), "host:port is missing"},
	{BYTES("set # 10.0.0.1:80 limit=1"), "host:port is missing"},
	{BYTES("set 10.0.0.1:80"), "10.0.0.1:80 has no key=value behind it"},
	{BYTES("set 10.0.0.1 limit=1"), "10.0.0.1 has no port"},
	{BYTES("set 10.0.0.1:80 limit"), NULL},
	{BYTES("set 10.0.0.1:80 limit="), NULL},
	{BYTES("set 10.0.0.1:80 limit=-1"), "limit=-1 is not allowed: 0 to 2147483647"},
	{BYTES("set 10.0.0.1:80 limit=1 idle=-2"), "idle=-2 is not allowed: -1 to 2147483647"},
	{BYTES("set 10.0.0.1:80 limit=1x"), NULL},
	{BYTES("set 10.0.0.1:80 limit=99999999999999999999"), NULL},
	{BYTES("set 10.0.0.1:80 limit=1 colour=red"), NULL},
	{BYTES("set 10.0.0.1:80 limit=1; 10.0.0.1:80 idle=5"),
		"10.0.0.1:80 is one rule too many: it and those after it are left out"},
	{BYTES("set 10.0.0.1 limit=1; 10.0.0.2:80"), "10.0.0.1 has no port"},
	{BYTES("set 10.0.0.1:80 limit=1\n10.0.0.1:80 idle=5"), NULL},
	{BYTES("set 10.0.0.1:80 limit=1\nflush 10.0.0.1:80"), NULL},
	{BYTES("set 10.0.0.1:80 limit=1;x"), NULL},
	{BYTES("set 10.0.0.1:80 limit=1\0"), NULL},
	{BYTES("set 10.0.0.1:80 limit=1\0 idle=5"), NULL},
	{BYTES("set 10.0.0.1:80\0 limit=1"), NULL},
	{BYTES("set 10.0.0.1\0:80 limit=1"), NULL},
	{BYTES("set www.contoso.com\0:80 limit=1"), NULL},
	{BYTES("set www\0contoso.com:80 limit=1"), NULL},
	{BYTES("set \033[2J:80 limit=1"), "?[2J is neither a host name nor an address"},

	{BYTES("default "), NULL},
	{BYTES("default  # limit=1"), NULL},
	{BYTES("default 10.0.0.1:80 limit=1"), NULL},
	{BYTES("default limit=1 10.0.0.1:80"), NULL},
	{BYTES("default limit=-1"), NULL},
	{BYTES("default limit=1;"), NULL},
	{BYTES("default limit=1\n"), NULL},
	{BYTES("default limit=1\nidle=5"), NULL},
	{BYTES("default limit=1; idle=5"), NULL},
	{BYTES("default limit=1\0"), NULL},

	{BYTES("cap "), "how many service points? 0 to 1000000"},
	{BYTES("cap -1"), NULL},
	{BYTES("cap 1000001"), NULL},
	{BYTES("cap 99999999999999999999999999"), NULL},
	{BYTES("cap 000000000000000000000000001"), NULL},
	{BYTES("cap 0000000000000001"), NULL},
	{BYTES("cap 1 "), NULL},
	{BYTES("cap  1"), NULL},
	{BYTES("cap 1 2"), NULL},
	{BYTES("cap +1"), NULL},
	{BYTES("cap 1;"), NULL},
	{BYTES("cap 1\n"), NULL},
	{BYTES("cap 1\0"), NULL},
	{BYTES("cap 1\0002"), NULL},
	{BYTES("cap one"), NULL},

	{BYTES("flush "), NULL},
	{BYTES("flush 10.0.0.1"), NULL},
	{BYTES("flush 10.0.0.1:"), NULL},
	{BYTES("flush 10.0.0.1:0"), NULL},
	{BYTES("flush 10.0.0.1:65536"), NULL},
	{BYTES("flush 10.0.0.1:80 10.0.0.2:80"), NULL},
	{BYTES("flush 10.0.0.1:80 limit=1"), NULL},
	{BYTES("flush 10.0.0.1:80;"), NULL},
	{BYTES("flush 10.0.0.1:80\n"), NULL},
	{BYTES("flush 10.0.0.1:80\0"), NULL},
	{BYTES("flush ::1:80"), NULL},
};

Test(requests, what_is_malformed_changes_nothing_and_is_told_why)
{
	const struct books before = books();

	for (size_t i = 0; i < COUNT(malformed); i++) {
		cr_expect_eq(serve_bytes(malformed[i].text, malformed[i].len), -EINVAL, "%s",
			malformed[i].text);
		if (malformed[i].problem)
			cr_expect_str_eq(problem, malformed[i].problem, "%s: %s", malformed[i].text,
				problem);
		cr_expect(is_as_before(&before), "%s", malformed[i].text);
	}
}

/* The text of each good one ends where a page ends, too: nothing is looked for behind it. */
Test(requests, every_beginning_of_a_request_is_one_or_is_none)
{
	static const char *const texts[] = {
		"set www.contoso.com:80 limit=4 idle=5000 lease=10 uses=3 wait=4 off=1 proto=http",
		"default limit=4 idle=5000 proto=raw",
		"cap 1000000",
		"flush www.contoso.com:80",
	};

	for (size_t i = 0; i < COUNT(texts); i++)
		for (size_t len = 0; len < strlen(texts[i]); len++) {
			setup();
			const struct books before = books();
			long result = serve_bytes(texts[i], len);
			if (result == -EINVAL || result == -ENOENT)
				cr_expect(is_as_before(&before), "%.*s", (int)len, texts[i]);
			else
				cr_expect_geq(result, 0, "%.*s", (int)len, texts[i]);
		}
}

/* The same each time, and of every kind of byte. */
static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

Test(requests, garbage_changes_nothing)
{
	static const char *const verbs[] = {"", "set ", "default ", "cap ", "flush "};
	const struct books before = books();
	uint32_t random = 4711;
	char text[512];

	for (int round = 0; round < 2000; round++) {
		const char *verb = verbs[(unsigned)round % COUNT(verbs)];
		for (size_t i = 0; i < sizeof(text); i++)
			text[i] = (char)(next_random(&random) >> 8);
		memcpy(text, verb, strlen(verb));
		cr_expect_eq(serve_bytes(text, sizeof(text)), -EINVAL);
	}
	for (int byte = 0; byte < 256; byte++) {
		memset(text, byte, sizeof(text));
		cr_expect_eq(serve_bytes(text, sizeof(text)), -EINVAL, "%d", byte);
	}
	cr_expect(is_as_before(&before));
}

/* ---- memory and the lock ---- */

Test(requests, without_memory_or_the_lock_they_say_so)
{
	static const char *const texts[] = {
		"set 10.0.0.1:80 limit=1", "default limit=1", "cap 1", "flush 10.0.0.1:80"};
	const struct books before = books();

	fake.error[FAKE_MAP] = 1;
	cr_expect_eq(serve(texts[0]), -ENOMEM);
	cr_expect_str_eq(problem, "there is no memory to keep that");
	fake.error[FAKE_MAP] = 0;
	cr_expect(is_as_before(&before));
	cr_assert(fake_acquire(&pool.lock));
	for (size_t i = 0; i < COUNT(texts); i++) {
		cr_expect_eq(serve(texts[i]), -EAGAIN, "%s", texts[i]);
		cr_expect_str_eq(problem, "the pool was busy: try again");
	}
	fake_release(&pool.lock);
	cr_expect(is_as_before(&before));
}

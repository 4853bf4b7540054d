/* The status page: what it says of the pool, and that the pool believes nothing of it. */
#include "tests/unit/program.h"

#include "pool/manager.h"
#include "pool/requests.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static struct status_page page, before;

static void show(void)
{
	memset(&page, 0, sizeof(page));
	status_open(&pool, &page, 4242);
}

static void setup(void)
{
	pool_with(settings_default());
	show();
}

static void check_books(void)
{
	expect_books_in_order();
}

TestSuite(status, .init = setup, .fini = check_books);

/* ---- reading ---- */

static const struct status_row *row_named(const char *name)
{
	const struct status_row *found = NULL;

	for (unsigned i = 0; i < STATUS_ROWS; i++)
		if (page.rows[i].used && strcmp(page.rows[i].name, name) == 0) {
			cr_assert_null(found, "%s is there twice", name);
			found = &page.rows[i];
		}
	return found;
}

static const struct status_row *row_number(unsigned number)
{
	char name[32];

	snprintf(name, sizeof(name), "10.%u.%u.%u", number >> 16 & 255, number >> 8 & 255,
		number & 255);
	return row_named(name);
}

static unsigned rows_used(void)
{
	unsigned count = 0;

	for (unsigned i = 0; i < STATUS_ROWS; i++)
		count += page.rows[i].used;
	return count;
}

static uint32_t reason_sum(const uint32_t *reasons)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < STATUS_REASON_COUNT; i++)
		sum += reasons[i];
	return sum;
}

/* What a row is to say of connections. */
struct said {
	unsigned in_use, parked, waiting;
	uint64_t opened, reused;
};

static void expect_row(const char *when, struct said said)
{
	const struct status_row *row = row_number(1);

	cr_assert_not_null(row, "%s", when);
	cr_expect_eq(row->in_use, said.in_use, "%s: %u in use", when, row->in_use);
	cr_expect_eq(row->parked, said.parked, "%s: %u parked", when, row->parked);
	cr_expect_eq(row->waiting, said.waiting, "%s: %u waiting", when, row->waiting);
	cr_expect_eq(row->opened, said.opened, "%s: %lu opened", when, row->opened);
	cr_expect_eq(row->reused, said.reused, "%s: %lu reused", when, row->reused);
	cr_expect_eq(page.parked, pool.parked_count, "%s", when);
}

static void pretend_that_the_shim_says_opened(int fd)
{
	struct call call = connection_enter(connection_on(fd));

	status_opened(&pool, &call);
	connection_leave(call);
}

/* ---- the head ---- */

Test(status, the_head_says_where_everything_is)
{
	cr_expect_eq(memcmp(page.magic, "sppool\n", 8), 0);
	cr_expect_eq(page.layout, 1);
	cr_expect_eq(page.size, sizeof(page));
	cr_expect_eq(page.pid, 4242);
	cr_expect_eq(page.off, 0);
	cr_expect_eq(page.row_count, STATUS_ROWS);
	cr_expect_eq(page.row_size, sizeof(page.rows[0]));
	cr_expect_eq((char *)&page + page.rows_offset, (char *)page.rows);
	cr_expect_eq((char *)&page + page.words_offset, (char *)page.words);
	cr_expect_eq(page.words_size, sizeof(page.words));
	cr_expect_eq((char *)&page + page.request_offset, (char *)&page.request);
	cr_expect_eq((char *)&page + page.answer_offset, (char *)&page.answer);
	cr_expect_eq(page.made_ms, fake.now_ms);
	cr_expect_eq(page.changed_ms, fake.now_ms);
	cr_expect_eq(page.request.number, 0);
	cr_expect_eq(page.answer.number, 0);
}

Test(status, the_words_are_all_there_in_their_order_and_none_is_cut)
{
	const char *word = page.words, *end = page.words + sizeof(page.words);

	static const char *const counters[] = {
#define COUNTER(field, word, meaning) word,
#include "pool/counters.inc"
#undef COUNTER
	};

	cr_assert_eq(page.counter_count, COUNT(counters));
	cr_assert_eq(page.discard_count, DISCARD_COUNT);
	cr_assert_eq(page.refusal_count, REFUSAL_COUNT);
	cr_assert_eq(page.setting_count, POINT_SETTING_COUNT);
	for (unsigned i = 0; i < page.counter_count; i++, word += strlen(word) + 1)
		cr_expect_str_eq(word, counters[i]);
	for (unsigned i = 0; i < page.discard_count; i++, word += strlen(word) + 1)
		cr_expect_str_eq(word, discard_word((enum discard)i));
	for (unsigned i = 0; i < page.refusal_count; i++, word += strlen(word) + 1)
		cr_expect_str_eq(word, refusal_word((enum refusal)i));
	for (unsigned i = 0; i < page.setting_count; i++, word += strlen(word) + 1) {
		const size_t offset = offsetof(struct settings, point) + i * sizeof(long);
		const struct setting *setting = setting_table;
		while (setting->offset != offset)
			setting++;
		cr_expect_str_eq(word, setting->key, "the key of the number at its place");
	}
	cr_assert_lt(word, end, "there is room for all");
	for (; word < end; word++)
		cr_expect_eq(*word, 0);
}

Test(status, the_head_says_what_the_pool_counts)
{
	int fd = connected_to(1);

	use_and_close(1);
	use_and_close(1);
	use_and_close(2);
	close_socket(fd);
	fake.now_ms += 100001;
	connected_to(3);
	close_socket(connected_to(3));
	cr_expect_eq(page.counters[STATUS_COUNT_connects], 6);
	cr_expect_eq(page.counters[STATUS_COUNT_opened], pool.stats.opened);
	cr_expect_eq(page.counters[STATUS_COUNT_reused], 1);
	cr_expect_eq(page.counters[STATUS_COUNT_parked], pool.stats.parked);
	cr_expect_eq(page.service_points, 3);
	cr_expect_eq(page.parked, 0);
	cr_expect_eq(page.changed_ms, fake.now_ms);
	for (unsigned i = 0; i < DISCARD_COUNT; i++)
		cr_expect_eq(page.reasons[i], discarded((enum discard)i));
	for (unsigned i = 0; i < REFUSAL_COUNT; i++)
		cr_expect_eq(page.reasons[DISCARD_COUNT + i], refused((enum refusal)i));
	cr_expect_eq(page.reasons[DISCARDED_IDLE], 2);
	cr_expect_eq(page.reasons[DISCARD_COUNT + REFUSED_UNUSED], 2);
}

Test(status, the_head_says_the_settings_of_the_manager_as_they_are_now)
{
	struct rule rule = {0};

	cr_expect_eq(page.max_service_points, 256);
	cr_expect_eq(page.max_parked, 64);
	manager_set_cap(&pool, 7);
	pool_set_parked_most(&pool, 5);
	rule_set_value(&rule, setting_find("SP_CONNECTION_LIMIT"), 9);
	manager_set_defaults(&pool, &rule);
	cr_expect_eq(page.max_service_points, 7);
	cr_expect_eq(page.max_parked, 5);
	cr_expect_eq(memcmp(page.defaults, &pool.settings.point, sizeof(page.defaults)), 0);
	cr_expect_eq(page.defaults[offsetof(struct point_settings, limit) / sizeof(long)], 9);
}

Test(status, that_the_pool_is_off_is_said)
{
	use_and_close(1);
	pool_turn_off(&pool);
	status_show_off(&pool);
	cr_expect_eq(page.off, 1);
	cr_expect_eq(page.parked, 0);
}

/* ---- rows ---- */

Test(status, a_row_says_who_it_is)
{
	fake.now_ms += 77;
	connected_to(1);
	const struct status_row *row = row_number(1);
	cr_assert_not_null(row);
	cr_expect_str_eq(row->address, "10.0.0.1");
	cr_expect_eq(row->port, 80);
	cr_expect_eq(row->made_ms, fake.now_ms);
	cr_expect_str_eq(row->protocol, "unknown");
	cr_expect_eq(row->id, 1);
	cr_expect_eq(memcmp(row->settings, &pool.settings.point, sizeof(row->settings)), 0);
	cr_expect_eq(reason_sum(row->reasons), 0);
}

Test(status, a_row_has_the_name_and_the_address_of_the_latest_connection)
{
	learn("www.contoso.com", 1, 2);
	connected_to(1);
	const struct status_row *row = row_named("www.contoso.com");
	cr_assert_not_null(row);
	cr_expect_str_eq(row->address, "10.0.0.1");
	connected_to(2);
	cr_expect_str_eq(row->address, "10.0.0.2");
	cr_expect_eq(rows_used(), 1);
}

Test(status, the_longest_name_and_address_have_room)
{
	char name[NAME_TEXT_MAX + 1];
	const struct endpoint endpoint = {.family = AF_INET6,
		.port = htons(65535),
		.scope_id = UINT32_MAX,
		.address = {0xfe, 0x80, [2 ... 15] = 0x11}};

	for (size_t i = 0; i < NAME_TEXT_MAX; i++)
		name[i] = i % 2 ? '.' : 'a';
	name[NAME_TEXT_MAX] = '\0';
	learn(name, 1, 1);
	connected_to(1);
	cr_expect_not_null(row_named(name));
	connect_socket(open_socket_of(AF_INET6), endpoint);
	const char *address = "fe80:1111:1111:1111:1111:1111:1111:1111%4294967295";
	cr_assert_not_null(row_named(address));
	cr_expect_str_eq(row_named(address)->address, address);
	cr_expect_eq(row_named(address)->port, 65535);
}

Test(status, one_that_was_found_and_not_connected_to_has_a_name_only)
{
	static const char text[] = "WWW.contoso.com:80";
	struct pattern pattern;

	cr_assert(pattern_parse(text, strlen(text), &pattern, NULL, NULL));
	cr_assert_eq(manager_find(&pool, &pattern, NULL), 0);
	const struct status_row *row = row_named("www.contoso.com");
	cr_assert_not_null(row);
	cr_expect_str_eq(row->address, "");
	cr_expect_eq(row->port, 80);
	cr_expect_eq(row->idle_since_ms, fake.now_ms);
}

Test(status, a_row_follows_its_connections)
{
	int fd = connected_to(1);

	pretend_that_the_shim_says_opened(fd);
	expect_row("connected", (struct said){.in_use = 1, .opened = 1});
	cr_expect_eq(row_number(1)->idle_since_ms, 0);
	fake.now_ms += 5;
	finish(fd);
	expect_row("parked", (struct said){.parked = 1, .opened = 1});
	cr_expect_str_eq(row_number(1)->protocol, "http");
	cr_expect_eq(row_number(1)->idle_since_ms, fake.now_ms);
	fd = connected_to(1);
	expect_row("reused", (struct said){.in_use = 1, .opened = 1, .reused = 1});
	cr_expect_eq(row_number(1)->idle_since_ms, 0);
	send_bytes(fd, REQUEST, 5);
	close_socket(fd);
	expect_row("refused", (struct said){.opened = 1, .reused = 1});
	cr_expect_eq(row_number(1)->reasons[DISCARD_COUNT + REFUSED_BUSY], 1);
	cr_expect_eq(reason_sum(row_number(1)->reasons), 1);
	use_and_close(1);
	fake.now_ms += 100001;
	pool_expire(&pool);
	expect_row("expired", (struct said){.opened = 2, .reused = 1});
	cr_expect_eq(row_number(1)->reasons[DISCARDED_IDLE], 1);
}

Test(status, a_row_says_why_one_was_not_given)
{
	use_and_close(1);
	fake_socket_on(atomic_load(&pool.parked->hidden))->peek = 0;
	int fd = connected_to(1);
	pretend_that_the_shim_says_opened(fd);
	expect_row("the peer had closed it", (struct said){.in_use = 1, .opened = 2});
	cr_expect_eq(row_number(1)->reasons[DISCARDED_DEAD], 1);
}

Test(status, a_row_says_who_waits)
{
	static const char text[] = "set 10.0.0.1:80 limit=1";
	char problem[REQUEST_PROBLEM_SIZE];
	int fd = connected_to(1);

	cr_assert_eq(request_serve(&pool, text, strlen(text), problem), 1);
	cr_expect_eq(row_number(1)->settings[offsetof(struct point_settings, limit) / sizeof(long)],
		1, "what was set is shown");
	struct caller caller = call_connect_to(open_socket(), endpoint_number(1));
	struct caller other = call_connect_to(open_socket(), endpoint_number(1));
	expect_row("waiting", (struct said){.in_use = 1, .waiting = 2, .opened = 1});
	finish(fd);
	expect_row("its turn", (struct said){.parked = 1, .waiting = 1, .opened = 1});
	cr_expect_eq(row_number(1)->idle_since_ms, 0, "it is about to be used");
	try_again(&caller);
	expect_row("taken", (struct said){.in_use = 1, .waiting = 1, .opened = 1, .reused = 1});
	cr_assert(pool_stop_waiting(&pool, other.call));
	expect_row("given up", (struct said){.in_use = 1, .opened = 1, .reused = 1});
	connection_leave(other.call);
}

/* ---- what is learned ---- */

/* One is parked, and found to be dead when it has been idle for so long. */
static void let_one_die_after(uint64_t ms)
{
	use_and_close(1);
	fake.now_ms += ms;
	fake_socket_on(atomic_load(&pool.parked->hidden))->peek = 0;
	close_socket(connected_to(1));
}

Test(status, a_row_says_what_is_learned_of_its_server_and_until_when)
{
	use_and_close(1);
	const struct status_row *row = row_number(1);
	cr_assert_not_null(row);
	cr_expect_eq(row->keeps_ms, 0, "nothing yet");
	cr_expect_eq(row->quarantined_until_ms, 0);
	pool_drop(&pool);
	for (unsigned deaths = 1; deaths <= 3; deaths++) {
		let_one_die_after(5000);
		cr_expect_eq(row->keeps_ms, 4000, "%u", row->keeps_ms);
		cr_expect_eq(row->keeps_until_ms, fake.now_ms + 600000);
		cr_expect_eq(row->is_habit, deaths == 3, "after %u", deaths);
	}
	fake.now_ms += 599999;
	use_and_close(1);
	cr_expect_eq(row->keeps_ms, 4000);
	fake.now_ms += 1;
	use_and_close(1);
	cr_expect_eq(row->keeps_ms, 0, "it is forgotten");
	cr_expect_eq(row->is_habit, 0);
	use_and_close(2);
	cr_expect_eq(row_number(2)->keeps_until_ms, 0, "it is learned of the other one");
}

static void find_unsolicited(void)
{
	use_and_close(1);
	fake_socket_on(atomic_load(&pool.parked->hidden))->peek = 1;
	connected_to(1);
}

/* It begins without the lock, while the program sends; the page says it when the program closes. */
static void fail_in_the_programs_hands(void)
{
	use_and_close(1);
	int fd = connected_to(1);
	struct fake_socket *socket = fake_socket_on(fd);
	socket->info.tcpi_state = FAKE_CLOSE;
	socket->peek = -ECONNRESET;
	socket->send_error = -EPIPE;
	finish(fd);
}

static void fail_unseen(void)
{
	use_and_close(1);
	learning_failure(&pool.points.used->learning, fake.now_ms);
	connected_to(1);
}

Test(status, a_row_says_until_when_nothing_of_it_is_reused)
{
	static const struct {
		const char *claim;
		void (*fail)(void);
	} rows[] = {
		{"unsolicited bytes", find_unsolicited},
		{"in the program's hands", fail_in_the_programs_hands},
		{"noted without the lock", fail_unseen},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		pool_with(settings_default());
		show();
		rows[i].fail();
		cr_expect_eq(row_number(1)->quarantined_until_ms, fake.now_ms + 1000, "%s",
			rows[i].claim);
	}
}

Test(status, a_row_ends_with_its_service_point_and_is_used_again)
{
	for (unsigned i = 1; i <= 3; i++)
		use_and_close(i);
	const struct status_row *second = row_number(2);
	const uint64_t id = second->id;
	use_and_close(1);
	manager_set_cap(&pool, 2);
	cr_expect_not(second->used, "the least recently used");
	cr_expect_eq(rows_used(), 2);
	cr_expect_eq(page.service_points, 2);
	cr_expect_eq(page.reasons[DISCARDED_RECYCLED], 1);
	manager_set_cap(&pool, 0);
	use_and_close(7);
	cr_expect_eq(row_number(7), second);
	cr_expect_gt(second->id, id, "the row is, but not the number");
	cr_expect_eq(reason_sum(second->reasons), 0);
	cr_expect_eq(second->reused, 0);
}

Test(status, service_points_beyond_the_rows_are_counted_and_shown_when_there_is_room)
{
	manager_set_cap(&pool, 0);
	for (unsigned i = 1; i <= STATUS_ROWS + 3; i++)
		close_socket(connected_to(i));
	cr_expect_eq(rows_used(), STATUS_ROWS);
	cr_expect_eq(page.service_points, STATUS_ROWS + 3);
	cr_expect_not_null(row_number(STATUS_ROWS));
	for (unsigned i = STATUS_ROWS + 1; i <= STATUS_ROWS + 3; i++)
		cr_expect_null(row_number(i));
	manager_set_cap(&pool, STATUS_ROWS + 2);
	cr_expect_null(row_number(1));
	cr_expect_eq(rows_used(), STATUS_ROWS - 1);
	close_socket(connected_to(STATUS_ROWS + 2));
	cr_expect_not_null(row_number(STATUS_ROWS + 2));
	cr_expect_eq(rows_used(), STATUS_ROWS);
}

Test(status, every_row_is_a_service_point_and_never_two)
{
	manager_set_cap(&pool, 20);
	for (unsigned i = 0; i < 400; i++) {
		use_and_close(1 + i * 7 % 31);
		if (i % 50 == 49)
			manager_set_cap(&pool, 10 + i % 13);
	}
	const struct service_point *point = pool.points.used;
	for (; point; point = point->next) {
		cr_assert_gt(point->row, 0);
		const struct status_row *row = &page.rows[point->row - 1];
		cr_expect(row->used);
		cr_expect_eq(row->id, point->id);
		cr_expect_eq(row->parked, point->parked_count);
	}
	cr_expect_eq(rows_used(), pool.points.count);
}

Test(status, at_rest_every_sequence_is_even_and_with_each_writing_another_one)
{
	uint32_t head = page.sequence;

	for (unsigned i = 1; i < 20; i++) {
		use_and_close(1 + i % 3);
		if (i % 5 == 0)
			manager_set_cap(&pool, 1 + i % 2);
		cr_expect_gt(page.sequence, head);
		head = page.sequence;
		cr_expect_eq(head % 2, 0);
		for (unsigned r = 0; r < STATUS_ROWS; r++)
			cr_expect_eq(page.rows[r].sequence % 2, 0);
	}
	const struct status_row *row = row_number(2);
	uint32_t sequence = row->sequence;
	connected_to(2);
	cr_expect_neq(row->sequence, sequence);
}

/* Of which memory may be read only: its first writing is looked at. */
static const _Atomic uint32_t *watched;
static uint8_t *guarded;
static size_t guarded_size;
static volatile sig_atomic_t seen_even, seen_odd;

static void look_at_sequence(int signal)
{
	(void)signal;
	if (*watched % 2)
		seen_odd++;
	else
		seen_even++;
	mprotect(guarded, guarded_size, PROT_READ | PROT_WRITE);
}

/* A page whose memory may not be written to from 64 bytes behind this offset on. */
static struct status_page *page_guarded_from(size_t offset)
{
	const size_t unit = (size_t)sysconf(_SC_PAGESIZE);
	const size_t front = (offset + 64 + unit - 1) / unit * unit;
	uint8_t *area = mmap(NULL, front + sizeof(page) + unit, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	cr_assert(area != MAP_FAILED);
	guarded = area + front;
	guarded_size = sizeof(page) / unit * unit;
	return (struct status_page *)(void *)(guarded - 64 - offset);
}

Test(status, while_it_is_written_a_sequence_is_odd)
{
	static const size_t offsets[] = {0, offsetof(struct status_page, rows)};

	signal(SIGSEGV, look_at_sequence);
	for (size_t i = 0; i < COUNT(offsets); i++) {
		pool_with(settings_default());
		struct status_page *own = page_guarded_from(offsets[i]);
		status_open(&pool, own, 1);
		connected_to(1);
		use_and_close(2);
		watched = i == 0 ? &own->sequence : &own->rows[0].sequence;
		cr_assert((const uint8_t *)watched < guarded);
		cr_assert_eq(*watched % 2, 0);
		seen_odd = seen_even = 0;
		cr_assert_eq(mprotect(guarded, guarded_size, PROT_READ), 0);
		use_and_close(1);
		cr_expect_eq(seen_odd, 1, "%zu", i);
		cr_expect_eq(seen_even, 0, "%zu", i);
		cr_expect_eq(*watched % 2, 0);
	}
}

Test(status, a_page_that_begins_later_shows_what_there_is_already)
{
	pool_with(settings_default());
	use_and_close(1);
	int fd = connected_to(2);
	fake.now_ms += 9;
	show();
	cr_expect_eq(page.made_ms, fake.now_ms);
	cr_expect_eq(rows_used(), 2);
	cr_expect_eq(row_number(2)->in_use, 1);
	cr_expect_eq(page.service_points, 2);
	expect_row("parked before", (struct said){.parked = 1, .opened = 1});
	finish(fd);
}

/* ---- no page ---- */

Test(status, without_a_page_nothing_is_written_and_no_request_served)
{
	pool_with(settings_default());
	memset(&page, 0x5a, sizeof(page));
	before = page;
	status_show_off(&pool);
	status_serve(&pool);
	pretend_that_the_shim_says_opened(connected_to(1));
	use_and_close(1);
	manager_set_cap(&pool, 1);
	cr_expect_eq(memcmp(&page, &before, sizeof(page)), 0);
	cr_expect_null(pool.status.changed);
	cr_expect_eq(pool.status.writes, 0);
}

Test(status, without_the_lock_there_is_no_page)
{
	pool_with(settings_default());
	cr_assert(fake_acquire(&pool.lock));
	show();
	fake_release(&pool.lock);
	before = page;
	use_and_close(1);
	status_show_off(&pool);
	cr_expect_eq(memcmp(&page, &before, sizeof(page)), 0);
}

Test(status, a_forked_child_writes_nothing_on_its_parents_page_and_serves_none_of_its_requests)
{
	static struct status_page own;

	use_and_close(1);
	connected_to(2);
	page.request.len = (uint32_t)strlen("cap 1");
	memcpy(page.request.text, "cap 1", page.request.len);
	page.request.number = 1;
	pool_prepare_fork(&pool);
	pool_after_fork_in_child(&pool);
	before = page;
	use_and_close(1);
	use_and_close(3);
	status_show_off(&pool);
	cr_expect_eq(memcmp(&page, &before, sizeof(page)), 0);
	cr_expect_eq(pool.settings.max_service_points, 256);
	status_open(&pool, &own, 4343);
	cr_expect_eq(own.service_points, 2, "its own");
	use_and_close(3);
	cr_expect_eq(own.counters[STATUS_COUNT_reused], 1);
	cr_expect_eq(memcmp(&page, &before, sizeof(page)), 0);
}

Test(status, in_the_parent_the_page_is_what_it_was)
{
	use_and_close(1);
	pool_prepare_fork(&pool);
	pool_after_fork_in_parent(&pool);
	use_and_close(1);
	expect_row("after the fork", (struct said){.parked = 1, .opened = 1, .reused = 1});
}

/* ---- requests ---- */

static void ask(uint32_t number, const char *text)
{
	page.request.len = (uint32_t)strlen(text);
	memcpy(page.request.text, text, page.request.len);
	page.request.number = number;
}

static void expect_answer(uint32_t number, long result, const char *text)
{
	cr_expect_eq(page.answer.number, number, "%u", page.answer.number);
	cr_expect_eq(page.answer.result, result, "%d", page.answer.result);
	cr_expect_str_eq(page.answer.text, text, "%s", page.answer.text);
}

Test(status, a_request_is_served_by_the_next_connect_close_or_look_at_what_expires)
{
	ask(1, "cap 11");
	int fd = connected_to(1);
	expect_answer(1, 0, "");
	cr_expect_eq(pool.settings.max_service_points, 11);
	ask(2, "cap 12");
	finish(fd);
	expect_answer(2, 0, "");
	cr_expect_eq(pool.settings.max_service_points, 12);
	ask(3, "cap 13");
	pool_expire(&pool);
	expect_answer(3, 0, "");
	cr_expect_eq(pool.settings.max_service_points, 13);
}

Test(status, a_request_comes_before_what_serves_it)
{
	uint64_t cookie = use_and_close(1);

	ask(1, "flush 10.0.0.1:80");
	cr_expect_neq(use_and_close(1), cookie);
	expect_answer(1, 1, "");
	ask(2, "set 10.0.0.1:80 limit=4");
	connected_to(1);
	cr_expect_eq(pool.points.used->settings.limit, 4);
}

Test(status, a_request_is_served_once)
{
	use_and_close(1);
	ask(1, "flush 10.0.0.1:80");
	status_serve(&pool);
	expect_answer(1, 1, "");
	use_and_close(1);
	use_and_close(1);
	cr_expect_eq(pool.parked_count, 1);
	status_serve(&pool);
	cr_expect_eq(discarded(DISCARDED_FLUSHED), 1);
	ask(1, "cap 1");
	status_serve(&pool);
	cr_expect_eq(pool.settings.max_service_points, 256, "it was answered already");
}

Test(status, no_request_is_none)
{
	ask(0, "cap 1");
	use_and_close(1);
	cr_expect_eq(pool.settings.max_service_points, 256);
	expect_answer(0, 0, "");
}

Test(status, what_is_wrong_is_told_and_nothing_else_of_the_stack)
{
	static const char zeros[STATUS_ANSWER_SIZE];

	memset(page.answer.text, 0x55, sizeof(page.answer.text));
	ask(1, "cap");
	status_serve(&pool);
	expect_answer(1, -EINVAL, "that is no request: set, default, cap or flush");
	size_t len = strlen(page.answer.text);
	cr_expect_eq(memcmp(page.answer.text + len, zeros, sizeof(zeros) - len), 0);
	ask(2, "cap 2");
	status_serve(&pool);
	expect_answer(2, 0, "");
	cr_expect_eq(memcmp(page.answer.text, zeros, sizeof(zeros)), 0);
}

Test(status, a_number_that_goes_backwards_or_wild_is_a_request_like_any_other)
{
	static const uint32_t numbers[] = {
		1, 2, 1, UINT32_MAX, 0, UINT32_MAX, UINT32_MAX - 1, 1U << 31, 3};

	for (unsigned i = 0; i < COUNT(numbers); i++) {
		char text[16];
		snprintf(text, sizeof(text), "cap %u", 100 + i);
		ask(numbers[i], text);
		status_serve(&pool);
		status_serve(&pool);
		expect_answer(numbers[i], 0, "");
		cr_expect_eq(pool.settings.max_service_points, 100 + i);
	}
}

Test(status, a_length_beyond_the_size_is_the_size)
{
	static const uint32_t lengths[] = {
		STATUS_REQUEST_SIZE, STATUS_REQUEST_SIZE + 1, 1U << 31, UINT32_MAX};
	uint32_t number = 0;

	use_and_close(1);
	for (unsigned i = 0; i < COUNT(lengths); i++) {
		char text[40];
		/* All that there is: the answer's number is next to it. */
		memset(page.request.text, '#', sizeof(page.request.text));
		int len = snprintf(text, sizeof(text), "set 10.0.0.1:80 limit=%u ", 5 + i);
		memcpy(page.request.text, text, (size_t)len);
		page.request.len = lengths[i];
		page.request.number = ++number;
		status_serve(&pool);
		expect_answer(number, 1, "");
		cr_expect_eq(pool.points.used->settings.limit, 5 + i);
		memset(page.request.text, 0xff, sizeof(page.request.text));
		page.request.number = ++number;
		status_serve(&pool);
		expect_answer(number, -EINVAL, "that is no request: set, default, cap or flush");
	}
}

Test(status, the_number_of_the_answer_is_written_and_never_read)
{
	ask(1, "cap 11");
	status_serve(&pool);
	page.answer.number = 7;
	page.request.text[4] = '9';
	status_serve(&pool);
	cr_expect_eq(pool.settings.max_service_points, 11, "it was served");
	page.answer.number = 2;
	ask(2, "cap 12");
	status_serve(&pool);
	cr_expect_eq(pool.settings.max_service_points, 12, "it was not");
}

/* Who asked writes another text while his request is being served. */
static void write_another(void)
{
	memset(page.request.text, '9', sizeof(page.request.text));
	page.request.len = 0;
	fake.before[FAKE_THREAD_ID] = write_another;
}

Test(status, a_text_that_is_changed_while_it_is_served_is_the_one_that_it_was)
{
	learn("www.contoso.com", 1, 1);
	use_and_close(1);
	ask(1, "set www.contoso.com:80 limit=4");
	fake.before[FAKE_THREAD_ID] = write_another;
	status_serve(&pool);
	fake.before[FAKE_THREAD_ID] = NULL;
	cr_assert_eq(page.request.len, 0, "it was changed");
	expect_answer(1, 1, "");
	cr_expect_eq(pool.points.used->settings.limit, 4);
	manager_set_cap(&pool, 1);
	use_and_close(2);
	use_and_close(1);
	cr_expect_eq(pool.points.used->settings.limit, 4, "and what is kept of it, too");
}

/* Another thread, or a signal handler, comes in the middle. */
static void serve_meanwhile(void)
{
	status_serve(&pool);
}

Test(status, two_threads_that_see_a_request_serve_it_once)
{
	use_and_close(1);
	ask(1, "flush *:*");
	fake.before[FAKE_THREAD_ID] = serve_meanwhile;
	status_serve(&pool);
	expect_answer(1, 1, "");
	cr_expect_eq(pool.points.used->flushes, 1);
}

Test(status, where_the_lock_is_not_to_be_had_the_answer_is_to_try_again)
{
	use_and_close(1);
	ask(1, "flush *:*");
	cr_assert(fake_acquire(&pool.lock));
	status_serve(&pool);
	fake_release(&pool.lock);
	expect_answer(1, -EAGAIN, "the pool was busy: try again");
	ask(2, "flush *:*");
	status_serve(&pool);
	expect_answer(2, 1, "");
}

/* ---- scribbles ---- */

static uint32_t random_state;

static uint32_t next_random(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state;
}

static void scribble_nothing(void)
{
}

static void scribble_ones(void)
{
	memset(&page, 0xff, sizeof(page));
}

static void scribble_zeros(void)
{
	memset(&page, 0, sizeof(page));
}

static void scribble_anything(void)
{
	uint32_t *word = (uint32_t *)(void *)&page;

	for (size_t i = 0; i < sizeof(page) / sizeof(*word); i++)
		word[i] = next_random();
}

/* What could be taken for real: rows in use, numbers and sequences that are odd or large. */
static void scribble_a_page_like_ours(void)
{
	for (unsigned i = 0; i < STATUS_ROWS; i++) {
		page.rows[i].used = i % 2;
		page.rows[i].sequence = 2 * i + 1;
		page.rows[i].id = UINT64_MAX - i;
		page.rows[i].in_use = page.rows[i].parked = 1000000;
		page.rows[i].settings[i % POINT_SETTING_COUNT] = -2;
	}
	page.sequence = 7;
	page.off = 1;
	page.service_points = 0;
	page.rows_offset = page.row_size = page.row_count = UINT32_MAX;
	page.max_service_points = page.max_parked = 1;
}

/* All that the pool decides by, and what became of each connection. */
struct outcome {
	struct stats stats;
	struct settings settings;
	size_t rules;
	unsigned parked, points, hidden;
	struct {
		struct point_settings settings;
		unsigned in_use, parked, waiting;
		uint64_t opened, reused, idle_since;
		struct endpoint key;
	} point[32];
	uint64_t cookies[600];
};

static void note_outcome(struct outcome *outcome)
{
	const struct service_point *point = pool.points.used;

	outcome->stats = pool.stats;
	outcome->settings = pool.settings;
	outcome->rules = pool.rules.count;
	outcome->parked = pool.parked_count;
	outcome->points = pool.points.count;
	outcome->hidden = fake_hidden_count();
	for (unsigned i = 0; point; point = point->next, i++) {
		cr_assert_lt(i, COUNT(outcome->point));
		outcome->point[i].settings = point->settings;
		outcome->point[i].in_use = point->in_use;
		outcome->point[i].parked = point->parked_count;
		outcome->point[i].waiting = point->waiting_count;
		outcome->point[i].opened = point->opened;
		outcome->point[i].reused = point->reused;
		outcome->point[i].idle_since = point->idle_since_ms;
		outcome->point[i].key = point->key;
		outcome->point[i].key.name = NULL;
	}
}

/* A life, with the page scribbled over before each thing that is done. */
static void live(void (*scribble)(void), bool with_page, struct outcome *outcome)
{
	struct settings settings = settings_default();
	struct rule rule = {.pattern = {.kind = PATTERN_ANY}};
	const struct pattern all = {.kind = PATTERN_ANY};
	int fds[4] = {-1, -1, -1, -1};

	settings.max_service_points = 12;
	settings.max_parked = 9;
	settings.point.idle_ms = 500;
	pool_with(settings);
	if (with_page)
		show();
	random_state = 4711;
	memset(outcome, 0, sizeof(*outcome));
	uint32_t plan = 1;
	for (unsigned i = 0; i < COUNT(outcome->cookies); i++) {
		plan = plan * 1103515245 + 12345;
		unsigned what = plan >> 16 & 0xff, slot = what % COUNT(fds);
		scribble();
		fake.now_ms += what % 7 == 0 ? 200 : 1;
		if (fds[slot] < 0) {
			fds[slot] = connected_to(1 + (what >> 2) % 17);
			outcome->cookies[i] = cookie_on(fds[slot]);
		} else {
			if (what % 5)
				exchange(fds[slot]);
			scribble();
			close_socket(fds[slot]);
			fds[slot] = -1;
		}
		scribble();
		if (i % 97 == 96) {
			rule.keys = 0;
			rule_set_value(&rule, setting_find("SP_MAX_USES"), (long)(what % 9));
			manager_set(&pool, &rule);
			scribble();
			outcome->cookies[i] += (uint64_t)manager_flush(&pool, &all) << 32;
		}
		if (i % 41 == 40) {
			scribble();
			outcome->cookies[i] += (uint64_t)manager_set_cap(&pool, 6 + what % 7) << 48;
			pool_expire(&pool);
		}
	}
	expect_books_in_order();
	note_outcome(outcome);
}

Test(status, whatever_is_written_over_the_page_the_pool_does_the_same)
{
	static struct outcome expected, outcome;
	static const struct {
		const char *claim;
		void (*scribble)(void);
	} rows[] = {
		{"nothing", scribble_nothing},
		{"ones", scribble_ones},
		{"zeros", scribble_zeros},
		{"anything", scribble_anything},
		{"a page like ours", scribble_a_page_like_ours},
	};

	live(scribble_nothing, false, &expected);
	cr_assert_gt(expected.stats.reused, 20);
	cr_assert_gt(expected.stats.discarded[DISCARDED_RECYCLED], 10);
	cr_assert_gt(expected.stats.discarded[DISCARDED_IDLE], 5);
	cr_assert_gt(expected.stats.discarded[DISCARDED_FLUSHED], 5);
	for (size_t i = 0; i < COUNT(rows); i++) {
		live(rows[i].scribble, true, &outcome);
		cr_expect_eq(memcmp(&outcome.stats, &expected.stats, sizeof(expected.stats)), 0,
			"%s: what is counted", rows[i].claim);
		cr_expect_eq(memcmp(&outcome, &expected, sizeof(expected)), 0, "%s", rows[i].claim);
	}
}

Test(status, after_scribbles_what_changes_is_shown_as_it_is)
{
	use_and_close(1);
	scribble_anything();
	page.request.number = 0;
	memset(page.rows, 0, sizeof(page.rows));
	use_and_close(1);
	expect_row("written anew", (struct said){.parked = 1, .opened = 1, .reused = 1});
	cr_expect_eq(page.sequence % 2, 0);
	cr_expect_eq(page.service_points, 1);
}

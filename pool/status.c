#include "pool/status.h"

#include <errno.h>
#include <string.h>
#include <utlist.h>

#include "pool/pool_private.h"
#include "pool/requests.h"

_Static_assert(REQUEST_PROBLEM_SIZE <= STATUS_ANSWER_SIZE, "a problem fits into an answer");

static struct status_page *page_of(const struct pool *pool)
{
	return atomic_load_explicit(&pool->status.page, memory_order_acquire);
}

/* ---- writing ---- */

/* What others read by may have been written over, so the numbers are kept here. An exchange, as
 * nothing that is written after it may be seen before it. */
static void begin_writing(struct status *status, _Atomic uint32_t *sequence)
{
	atomic_exchange(sequence, ++status->writes);
}

static void end_writing(struct status *status, _Atomic uint32_t *sequence)
{
	atomic_store_explicit(sequence, ++status->writes, memory_order_release);
}

static void write_text(char *to, size_t size, const char *from)
{
	struct text text = {.data = to, .size = size - 1};

	text_add(&text, from);
	memset(to + text.len, 0, size - text.len);
}

static void write_endpoint(struct status_row *row, const struct service_point *point)
{
	struct text address = {.data = row->address, .size = sizeof(row->address) - 1};

	/* One that was found by its name, and not connected to yet, has none. */
	if (point->endpoint.family)
		endpoint_add_address(&address, &point->endpoint);
	row->address[address.len] = '\0';
	row->port = endpoint_port(&point->endpoint);
	write_text(row->name, sizeof(row->name),
		point->key.name ? name_text(point->key.name) : row->address);
}

static void write_numbers(struct status_row *row, const struct service_point *point)
{
	row->used = 1;
	row->id = point->id;
	row->made_ms = point->made_ms;
	row->idle_since_ms = point->in_use > 0 ? 0 : point->idle_since_ms;
	row->opened = atomic_load_explicit(&point->opened, memory_order_relaxed);
	row->reused = atomic_load_explicit(&point->reused, memory_order_relaxed);
	row->in_use = point->in_use - point->come;
	row->parked = point->parked_count;
	row->waiting = point->waiting_count;
	for (unsigned i = 0; i < DISCARD_COUNT; i++)
		row->reasons[i] = atomic_load_explicit(&point->discarded[i], memory_order_relaxed);
	for (unsigned i = 0; i < REFUSAL_COUNT; i++)
		row->reasons[DISCARD_COUNT + i] =
			atomic_load_explicit(&point->refused[i], memory_order_relaxed);
}

static void write_learned(struct status_row *row, const struct learned *learned)
{
	row->keeps_until_ms = learned->keeps_until_ms;
	row->quarantined_until_ms = learned->quarantined_until_ms;
	row->keeps_ms = learned->keeps_ms;
	row->is_habit = learned->is_habit;
}

static void write_row(struct pool *pool, struct status_page *page, struct service_point *point)
{
	struct status_row *row = &page->rows[point->row - 1];
	const struct learned learned = learning_learned(&point->learning, pool->now_ms);

	_Static_assert(sizeof(row->settings) == sizeof(point->settings), "both are all longs");
	begin_writing(&pool->status, &row->sequence);
	write_numbers(row, point);
	memcpy(row->settings, &point->settings, sizeof(row->settings));
	write_text(row->protocol, sizeof(row->protocol),
		atomic_load_explicit(&point->protocol, memory_order_relaxed));
	write_endpoint(row, point);
	write_learned(row, &learned);
	end_writing(&pool->status, &row->sequence);
}

static void write_head(struct pool *pool, struct status_page *page, uint64_t now)
{
	unsigned i = 0;

	begin_writing(&pool->status, &page->sequence);
	page->changed_ms = now;
	page->service_points = pool->points.count;
	page->parked = pool->parked_count;
	page->max_service_points = pool->settings.max_service_points;
	page->max_parked = atomic_load_explicit(&pool->parked_most, memory_order_relaxed);
	memcpy(page->defaults, &pool->settings.point, sizeof(page->defaults));
#define COUNTER(field, word, meaning)                                                              \
	page->counters[i++] = atomic_load_explicit(&pool->stats.field, memory_order_relaxed);
#include "pool/counters.inc"
#undef COUNTER
	for (i = 0; i < DISCARD_COUNT; i++)
		page->reasons[i] =
			atomic_load_explicit(&pool->stats.discarded[i], memory_order_relaxed);
	for (i = 0; i < REFUSAL_COUNT; i++)
		page->reasons[DISCARD_COUNT + i] =
			atomic_load_explicit(&pool->stats.refused[i], memory_order_relaxed);
	end_writing(&pool->status, &page->sequence);
}

/* ---- rows ---- */

static unsigned take_row(struct status *status)
{
	for (unsigned i = 0; i < STATUS_ROWS / 64; i++) {
		if (~status->rows_taken[i] == 0)
			continue;
		unsigned bit = (unsigned)__builtin_ctzll(~status->rows_taken[i]);
		status->rows_taken[i] |= UINT64_C(1) << bit;
		return i * 64 + bit + 1;
	}
	return 0;
}

void status_note_locked(struct pool *pool, struct service_point *point)
{
	if (point->changed || !page_of(pool))
		return;
	point->changed = true;
	point->next_changed = pool->status.changed;
	pool->status.changed = point;
}

static void drop_changed(struct status *status, const struct service_point *point)
{
	struct service_point **link = &status->changed;

	while (*link && *link != point)
		link = &(*link)->next_changed;
	if (*link)
		*link = point->next_changed;
}

void status_forget_locked(struct pool *pool, struct service_point *point)
{
	struct status *status = &pool->status;
	struct status_page *page = page_of(pool);

	if (point->changed)
		drop_changed(status, point);
	if (!page || !point->row)
		return;
	struct status_row *row = &page->rows[point->row - 1];
	begin_writing(status, &row->sequence);
	row->used = 0;
	end_writing(status, &row->sequence);
	status->rows_taken[(point->row - 1) / 64] &= ~(UINT64_C(1) << (point->row - 1) % 64);
}

void status_show_locked(struct pool *pool)
{
	struct status *status = &pool->status;
	struct status_page *page = page_of(pool);
	struct service_point *point;

	if (!page)
		return;
	while ((point = status->changed)) {
		status->changed = point->next_changed;
		point->changed = false;
		if (!point->row)
			point->row = take_row(status);
		if (point->row)
			write_row(pool, page, point);
	}
	write_head(pool, page, pool->now_ms);
}

/* ---- the page ---- */

static void write_words(struct status_page *page)
{
	struct text words = {.data = page->words, .size = sizeof(page->words)};

#define WORD(word)                    text_add_bytes(&words, word, strlen(word) + 1);
#define COUNTER(field, word, meaning) WORD(word)
#include "pool/counters.inc"
#undef COUNTER
	for (unsigned i = 0; i < DISCARD_COUNT; i++)
		WORD(discard_word((enum discard)i))
	for (unsigned i = 0; i < REFUSAL_COUNT; i++)
		WORD(refusal_word((enum refusal)i))
	for (size_t i = 0; i < setting_count; i++)
		if (setting_is_of_point(&setting_table[i]))
			WORD(setting_table[i].key)
#undef WORD
}

static void write_layout(struct status_page *page, uint32_t pid, uint64_t now)
{
	page->layout = STATUS_LAYOUT;
	page->size = sizeof(*page);
	page->pid = pid;
	page->rows_offset = offsetof(struct status_page, rows);
	page->row_size = sizeof(page->rows[0]);
	page->row_count = STATUS_ROWS;
	page->words_offset = offsetof(struct status_page, words);
	page->words_size = sizeof(page->words);
	page->counter_count = STATUS_COUNT_COUNT;
	page->discard_count = DISCARD_COUNT;
	page->refusal_count = REFUSAL_COUNT;
	page->setting_count = POINT_SETTING_COUNT;
	page->request_offset = offsetof(struct status_page, request);
	page->answer_offset = offsetof(struct status_page, answer);
	page->made_ms = now;
	memcpy(page->magic, STATUS_MAGIC, sizeof(page->magic));
}

void status_open(struct pool *pool, struct status_page *page, uint32_t pid)
{
	uint64_t now = pool->os->now_ms();
	struct service_point *point;

	write_words(page);
	write_layout(page, pid, now);
	if (!pool_enter(pool))
		return;
	if (!page_of(pool)) {
		pool->now_ms = now;
		atomic_store(&pool->status.served, 0);
		atomic_store_explicit(&pool->status.page, page, memory_order_release);
		DL_FOREACH(pool->points.used, point)
		{
			status_note_locked(pool, point);
		}
	}
	pool_leave(pool);
}

void status_show_off(struct pool *pool)
{
	struct status_page *page = page_of(pool);

	if (page)
		atomic_store(&page->off, 1);
}

void status_opened(struct pool *pool, const struct call *call)
{
	if (!page_of(pool) || !pool_enter(pool))
		return;
	if (connection_is_current(*call) && call->connection->point)
		status_note_locked(pool, call->connection->point);
	pool_leave(pool);
}

/* ---- requests ---- */

/* Not inlined, as it needs room on the stack that is seldom needed. */
__attribute__((cold, noinline)) static void serve(
	struct pool *pool, struct status_page *page, uint32_t number)
{
	/* All of it is shown: no bytes of this stack are. */
	char text[STATUS_REQUEST_SIZE], problem[REQUEST_PROBLEM_SIZE] = "";
	uint32_t len = *(volatile uint32_t *)&page->request.len;

	if (len > sizeof(text))
		len = sizeof(text);
	/* Looked at once, here: it may be another text by now. */
	memcpy(text, page->request.text, len);
	long result = request_serve(pool, text, len, problem);
	page->answer.result = (int32_t)result;
	memcpy(page->answer.text, problem, sizeof(problem));
	atomic_store_explicit(&page->answer.number, number, memory_order_release);
}

void status_serve(struct pool *pool)
{
	struct status_page *page = page_of(pool);

	if (!page)
		return;
	uint32_t number = atomic_load_explicit(&page->request.number, memory_order_acquire);
	uint32_t served = atomic_load(&pool->status.served);
	if (number != served &&
		atomic_compare_exchange_strong(&pool->status.served, &served, number))
		serve(pool, page, number);
}

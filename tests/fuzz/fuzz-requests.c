/* Of any life of a program, with any requests on its status page, and whatever else is written over
 * that page: the books are in order after each step; a connection that is given goes where it was
 * asked to; limits are kept; and the pool does the same as with a page that nobody scribbled over.
 *
 * An input is steps, with the byte 0x1e (record separator) between them. The first byte of a step
 * says what is done, those after it with what; any other byte stands for one of these.
 *
 *      cN  connect to place N, by a blocking socket      nN  by a non-blocking one
 *      xN  an exchange on connection N                   hN  half of one
 *      zN  close connection N                            wN  it waits: try again, or give up (wN-)
 *      tN  N * N milliseconds go by                      e   look at what has expired
 *      dN  the peer of what was parked last does N       f   fork; go on as the child
 *      rTEXT  a request                                  mN  the next request's number moves by N
 *      sONTEXT  bytes are written over the page again and again, from O * 1024 + N * 8 on, but
 *               for the request                          S   the same, and for that, too
 */
#include "tests/unit/program.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "pool/manager.h"

#define SLOTS  24
#define PLACES 8
#define STEPS  400

/* ---- memory that the next life does not need ---- */

static struct {
	void *address;
	size_t size;
} mapped[64];
static unsigned mapped_count;

static void *map_for_this_life(size_t size)
{
	void *address = mapped_count < 64 ? fake_os.map(size) : NULL;

	if (address) {
		mapped[mapped_count].address = address;
		mapped[mapped_count++].size = size;
	}
	return address;
}

static void unmap_all(void)
{
	for (int fd = 0; fd < FAKE_DESCRIPTORS; fd++)
		if (fake_is_open(fd))
			fake_close(fd);
	while (mapped_count > 0) {
		mapped_count--;
		munmap(mapped[mapped_count].address, mapped[mapped_count].size);
	}
}

/* ---- the program ---- */

static struct status_page page;
static struct pool_os os;

static struct slot {
	bool used, waits;
	struct caller caller; /* while it waits */
} slots[SLOTS];

/* Of each connection there ever was, by its cookie. */
static unsigned place_of_cookie[STEPS + 1];

/* What is compared between two lives. */
static struct diary {
	uint64_t words[STEPS * 4 + 64];
	unsigned count;
} diary, first_diary;

static void write_down(uint64_t word)
{
	MUST(diary.count < sizeof(diary.words) / sizeof(diary.words[0]));
	diary.words[diary.count++] = word;
}

static unsigned *place_of(uint64_t cookie)
{
	const uint64_t number = (cookie - 31) / 21;

	MUST(number <= STEPS);
	return &place_of_cookie[number];
}

/* Two of them have names. */
static void begin_life(void)
{
	struct settings settings = settings_default();

	settings.max_service_points = 6;
	settings.max_parked = 10;
	settings.point.idle_ms = 2000;
	fake_reset();
	fake.pool = &pool;
	os = fake_os;
	os.map = map_for_this_life;
	pool_init(&pool, &os, &settings);
	memset(&page, 0, sizeof(page));
	status_open(&pool, &page, 1);
	memset(slots, 0, sizeof(slots));
	diary.count = 0;
	learn("a.example", 1, 2);
	learn("b.example", 3, 1);
}

static struct slot *slot_of(uint8_t byte)
{
	return &slots[byte % SLOTS];
}

/* That of the name, or that of the address apart, for which a rule was set in between. */
static struct service_point *point_of(unsigned place, bool apart)
{
	struct endpoint endpoint = endpoint_number(place);
	const struct name *name;

	MUST(names_tell(&pool.names, &endpoint, &name));
	endpoint.name = name;
	endpoint.apart = name && apart;
	return service_points_peek(&pool.points, &endpoint);
}

static void settle(struct slot *slot, unsigned place)
{
	slot->waits = slot->caller.taken == TAKEN_LIMITED;
	write_down(slot->caller.taken);
	if (slot->waits)
		return;
	const uint64_t cookie = cookie_on(slot->caller.fd);
	if (slot->caller.taken == TAKEN_NONE)
		*place_of(cookie) = place;
	else
		MUST(*place_of(cookie) == place);
	write_down(cookie);
	struct service_point *point = connection_on(slot->caller.fd)->point;
	MUST(!point || point == point_of(place, false) || point == point_of(place, true));
}

static void start_connect(uint8_t byte, bool blocking)
{
	unsigned place = byte % PLACES, i = 0;
	struct slot *slot = slots;

	for (; i < SLOTS && slot->used; i++)
		slot++;
	if (i == SLOTS)
		return;
	slot->used = true;
	int fd = open_socket();
	MUST(connection_on(fd));
	if (!blocking)
		fake_socket_on(fd)->status_flags |= O_NONBLOCK;
	slot->caller = call_connect_to(fd, endpoint_number(place));
	settle(slot, place);
	MUST(blocking || !slot->waits);
}

static void wait_on(struct slot *slot, bool gives_up)
{
	if (!slot->used || !slot->waits)
		return;
	if (!gives_up) {
		try_again(&slot->caller);
		settle(slot, slot->caller.to.address[3]);
		return;
	}
	if (!pool_stop_waiting(&pool, slot->caller.call))
		pool_give_up_turn(&pool, slot->caller.call);
	connection_leave(slot->caller.call);
	close_socket(slot->caller.fd);
	slot->used = false;
}

static void talk(struct slot *slot, bool whole)
{
	if (!slot->used || slot->waits)
		return;
	if (whole)
		exchange(slot->caller.fd);
	else
		send_bytes(slot->caller.fd, REQUEST, 9);
	/* Another connection may have taken its place: one that is too old for what a rule says. */
	*place_of(cookie_on(slot->caller.fd)) = slot->caller.to.address[3];
}

static void end(struct slot *slot)
{
	if (!slot->used || slot->waits)
		return;
	close_socket(slot->caller.fd);
	slot->used = false;
}

static void have_peer_do(uint8_t byte)
{
	static const int peeks[] = {0, 1, -ECONNRESET};

	if (pool.parked)
		fake_socket_on(atomic_load(&pool.parked->hidden))->peek = peeks[byte % 3];
}

/* Those who wait have their calls in the parent. */
static void go_on_as_child(void)
{
	for (unsigned i = 0; i < SLOTS; i++)
		wait_on(&slots[i], true);
	pool_prepare_fork(&pool);
	pool_after_fork_in_child(&pool);
	memset(&page, 0, sizeof(page));
	status_open(&pool, &page, 2);
}

/* ---- the page ---- */

static uint32_t next_number;

/* Nothing was written over the number since, so this must be its answer. */
static void ask(const uint8_t *text, size_t len)
{
	if (len > sizeof(page.request.text))
		len = sizeof(page.request.text);
	memcpy(page.request.text, text, len);
	page.request.len = (uint32_t)len;
	page.request.number = ++next_number;
	const uint32_t served = pool.status.served;
	status_serve(&pool);
	write_down(pool.rules.count);
	if (served == next_number)
		return;
	MUST(page.answer.number == next_number);
	MUST(memchr(page.answer.text, '\0', sizeof(page.answer.text)));
	MUST((page.answer.result < 0) == (page.answer.text[0] != '\0'));
	for (const char *c = page.answer.text; *c; c++)
		MUST(*c >= ' ' && *c <= '~');
	write_down((uint64_t)page.answer.result);
	if (page.answer.result >= 0 && len > 4 && memcmp(text, "cap ", 4) == 0)
		MUST(!pool.settings.max_service_points ||
			pool.points.count <= (unsigned long)pool.settings.max_service_points ||
			!service_points_oldest_idle(&pool.points));
}

static void scribble(const uint8_t *bytes, size_t len, bool over_request)
{
	const struct status_request request = page.request;
	const size_t begin = len > 2 ? bytes[0] * 1024U + bytes[1] * 8U : 0;
	uint8_t *at = (uint8_t *)&page;

	for (size_t i = begin, from = 2; len > 2 && i < sizeof(page); i++, from++)
		at[i] = bytes[from < len ? from : (from = 2)];
	if (!over_request)
		page.request = request;
	else
		next_number = page.request.number;
}

/* ---- what must be so ---- */

static void check_point(const struct service_point *point)
{
	unsigned in_use = point->come, waiting = 0;
	long open = service_point_open(point), limit = point->settings.limit;

	for (unsigned i = 0; i < SLOTS; i++) {
		const struct slot *slot = &slots[i];
		if (!slot->used)
			continue;
		const struct connection *connection = connection_on(slot->caller.fd);
		in_use += !slot->waits && connection->point == point;
		waiting += slot->waits && connection->waits_at == point;
	}
	MUST(point->in_use == in_use);
	MUST(point->waiting_count == waiting);
	/* What is idle is never beyond the limit, and nobody waits for what is to be had, unless
	 * somebody's turn has come who hands it on. */
	MUST(limit == 0 || point->parked_count == 0 || open <= limit);
	MUST(!point->waiting || (limit > 0 && point->in_use >= limit) || point->come > 0);
	MUST(point->settings.idle_ms != 0 || point->parked_count == 0);
}

static void check(void)
{
	const struct service_point *point = pool.points.used;

	expect_books_in_order();
	MUST(pool.parked_count <= 10);
	MUST(fake.signals_blocked == 0);
	for (; point; point = point->next)
		check_point(point);
	for (unsigned i = 0; i < 2 * PLACES; i++) {
		const struct connection *parked;
		const unsigned place = i / 2;
		point = point_of(place, i % 2);
		for (parked = point ? point->parked : NULL; parked; parked = parked->point_next)
			MUST(endpoint_number(*place_of(parked->cookie)).address[3] ==
				parked->peer.address[3]);
	}
}

/* ---- a life ---- */

static void take_step(const uint8_t *step, size_t len, bool scribbles)
{
	static const char known[] = "cnxhzwtedfrmsS";
	const uint8_t first = len > 1 ? step[1] : 0, digit = first >= '0' ? first - '0' : first;
	const char *what = memchr(known, *step, sizeof(known) - 1);

	switch (what ? *what : known[*step % (sizeof(known) - 1)]) {
	case 'c':
		start_connect(digit, true);
		break;
	case 'n':
		start_connect(digit, false);
		break;
	case 'x':
		talk(slot_of(digit), true);
		break;
	case 'h':
		talk(slot_of(digit), false);
		break;
	case 'z':
		end(slot_of(digit));
		break;
	case 'w':
		wait_on(slot_of(digit), len > 2);
		break;
	case 't':
		fake.now_ms += digit * digit;
		break;
	case 'e':
		pool_expire(&pool);
		break;
	case 'd':
		have_peer_do(digit);
		break;
	case 'f':
		go_on_as_child();
		break;
	case 'r':
		ask(step + 1, len - 1);
		break;
	case 'm':
		next_number += digit * UINT32_C(0x01010101);
		break;
	case 's':
		if (scribbles)
			scribble(step + 1, len - 1, false);
		break;
	default:
		scribble(step + 1, len - 1, true);
	}
	write_down(pool.parked_count + ((uint64_t)pool.points.count << 32));
}

static void live(const uint8_t *data, size_t size, bool scribbles)
{
	begin_life();
	next_number = 0;
	for (unsigned i = 0; size > 0 && i < STEPS; i++) {
		const uint8_t *separator = memchr(data, PIECE_SEPARATOR, size);
		const size_t len = separator ? (size_t)(separator - data) : size;

		if (len > 0)
			take_step(data, len, scribbles);
		check();
		data += separator ? len + 1 : len;
		size -= separator ? len + 1 : len;
	}
	for (size_t i = 0; i < sizeof(pool.stats) / sizeof(uint64_t) && i < 60; i++)
		write_down(((const uint64_t *)(const void *)&pool.stats)[i]);
	unmap_all();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	live(data, size, true);
	first_diary = diary;
	live(data, size, false);
	MUST(diary.count == first_diary.count);
	MUST(memcmp(diary.words, first_diary.words, diary.count * sizeof(diary.words[0])) == 0);
	return 0;
}

/* The pool in JSON. */

#include "pool/pool_private.h"

#include <utlist.h>

static uint64_t left(uint64_t until, uint64_t now)
{
	return until > now ? until - now : 0;
}

static void add_point_json(struct text *text, const struct service_point *point, uint64_t now)
{
	const struct learned learned = learning_learned(&point->learning, now);
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = {
		{"opened", atomic_load_explicit(&point->opened, memory_order_relaxed)},
		{"reused", atomic_load_explicit(&point->reused, memory_order_relaxed)},
		{"parked", point->parked_count},
		{"in_use", point->in_use},
		{"keeps_ms", learned.keeps_ms},
		{"quarantined_ms", left(learned.quarantined_until_ms, now)},
	};
	char address[80];
	struct text name = {.data = address, .size = sizeof(address) - 1};

	endpoint_add_address(&name, &point->endpoint);
	address[name.len] = '\0';
	text_add(text, "{\"host\":");
	text_add_json(text, point->key.name ? name_text(point->key.name) : address);
	text_add(text, ",\"address\":");
	text_add_json(text, address);
	text_add(text, ",\"port\":");
	text_add_number(text, endpoint_port(&point->endpoint));
	text_add(text, ",\"protocol\":");
	text_add_json(text, atomic_load_explicit(&point->protocol, memory_order_relaxed));
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		text_add(text, ",");
		text_add_json(text, numbers[i].name);
		text_add(text, ":");
		text_add_number(text, (int64_t)numbers[i].value);
	}
	text_add(text, learned.is_habit ? ",\"habit\":true}" : ",\"habit\":false}");
}

bool pool_add_json(struct pool *pool, struct text *text)
{
	const struct service_point *point;
	uint64_t now = pool->os->now_ms();

	stats_add_json(text, &pool->stats);
	text_add(text, ",\"service_points\":[");
	bool locked = pool_enter(pool);
	if (locked) {
		DL_FOREACH(pool->points.used, point)
		{
			if (point != pool->points.used)
				text_add(text, ",");
			add_point_json(text, point, now);
		}
		pool_leave(pool);
	}
	text_add(text, "]");
	return locked;
}

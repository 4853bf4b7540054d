#include "pool/service_point.h"

#include "pool/names.h"

#include <utlist.h>

struct service_point *service_points_peek(
	struct service_points *points, const struct endpoint *endpoint)
{
	const struct endpoint key = endpoint_key(endpoint);
	struct service_point *point;

	HASH_FIND(hh, points->by_key, &key, sizeof(key), point);
	return point;
}

static struct service_point *make(
	struct service_points *points, const struct endpoint *endpoint, uint64_t now_ms)
{
	struct slab *slab = points->slab;
	struct service_point *point = slab_alloc(slab, sizeof(*point));

	if (!point)
		return NULL;
	*point = (struct service_point){
		.key = endpoint_key(endpoint),
		.endpoint = *endpoint,
		.settings = *points->defaults,
		.protocol = "unknown",
		.id = ++points->made,
		.made_ms = now_ms,
		.idle_since_ms = now_ms,
	};
	if (points->rules)
		rules_apply(points->rules, endpoint->name ? name_text(endpoint->name) : NULL,
			endpoint, &point->settings);
	HASH_ADD(hh, points->by_key, key, sizeof(point->key), point);
	if (!point->hh.tbl) {
		slab_free(slab, point, sizeof(*point));
		return NULL;
	}
	DL_PREPEND(points->used, point);
	points->count++;
	return point;
}

struct service_point *service_points_find(
	struct service_points *points, const struct endpoint *endpoint, uint64_t now_ms)
{
	struct service_point *point = service_points_peek(points, endpoint);

	if (!point)
		return make(points, endpoint, now_ms);
	point->endpoint = *endpoint;
	if (points->used != point) {
		DL_DELETE(points->used, point);
		DL_PREPEND(points->used, point);
	}
	return point;
}

struct service_point *service_points_oldest_idle(struct service_points *points)
{
	/* utlist: the head's prev is the last of the list. */
	struct service_point *point = points->used ? points->used->prev : NULL;

	while (point && (point->in_use > 0 || point->waiting))
		point = point == points->used ? NULL : point->prev;
	return point;
}

struct service_point *service_points_next(struct service_points *points)
{
	struct service_point *point = points->next_looked_at;

	if (!point)
		point = points->used;
	points->next_looked_at = point ? point->next : NULL;
	return point;
}

void service_points_remove(struct service_points *points, struct service_point *point)
{
	struct slab *slab = points->slab;

	if (points->next_looked_at == point)
		points->next_looked_at = point->next;
	HASH_DELETE(hh, points->by_key, point);
	DL_DELETE(points->used, point);
	points->count--;
	slab_free(slab, point, sizeof(*point));
}

size_t service_points_need(const struct service_points *points)
{
	return hash_need(points->by_key ? points->by_key->hh.tbl : NULL) +
	       2 * sizeof(struct service_point);
}

#include "pool/service_point.h"

#include <utlist.h>

struct service_point *service_points_peek(
	struct service_points *points, const struct endpoint *endpoint)
{
	struct service_point *point;

	HASH_FIND(hh, points->by_endpoint, endpoint, sizeof(*endpoint), point);
	return point;
}

static struct service_point *make(struct service_points *points, const struct endpoint *endpoint)
{
	struct slab *slab = points->slab;
	struct service_point *point = slab_alloc(slab, sizeof(*point));

	if (!point)
		return NULL;
	*point = (struct service_point){.endpoint = *endpoint, .protocol = "unknown"};
	HASH_ADD(hh, points->by_endpoint, endpoint, sizeof(point->endpoint), point);
	if (!point->hh.tbl) {
		slab_free(slab, point, sizeof(*point));
		return NULL;
	}
	DL_PREPEND(points->used, point);
	points->count++;
	return point;
}

struct service_point *service_points_find(
	struct service_points *points, const struct endpoint *endpoint)
{
	struct service_point *point = service_points_peek(points, endpoint);

	if (!point)
		return make(points, endpoint);
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

	while (point && point->in_use > 0)
		point = point == points->used ? NULL : point->prev;
	return point;
}

void service_points_remove(struct service_points *points, struct service_point *point)
{
	struct slab *slab = points->slab;

	HASH_DELETE(hh, points->by_endpoint, point);
	DL_DELETE(points->used, point);
	points->count--;
	slab_free(slab, point, sizeof(*point));
}

size_t service_points_need(const struct service_points *points)
{
	return hash_need(points->by_endpoint ? points->by_endpoint->hh.tbl : NULL) +
	       2 * sizeof(struct service_point);
}

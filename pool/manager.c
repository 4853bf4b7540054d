#include "pool/manager.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <utlist.h>

#include "pool/pool_private.h"
#include "pool/turn.h"

/* Rules that manager_set() keeps. */
#define KEPT_FIRST 64
#define KEPT_MOST  4096

/* ---- keeping ---- */

static char lower_case(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static bool is_same_name(const struct pattern *one, const struct pattern *other)
{
	if (one->name_len != other->name_len)
		return false;
	for (size_t i = 0; i < one->name_len; i++)
		if (lower_case(one->name[i]) != lower_case(other->name[i]))
			return false;
	return true;
}

static bool is_same_pattern(const struct pattern *one, const struct pattern *other)
{
	return one->kind == other->kind && one->port == other->port &&
	       one->family == other->family && one->bits == other->bits &&
	       memcmp(one->address, other->address, sizeof(one->address)) == 0 &&
	       is_same_name(one, other);
}

/* Room for one more, mapped without the lock. If there is none, keep_locked() will say so. */
static void make_room(struct pool *pool)
{
	if (!pool_enter(pool))
		return;
	bool full = pool->rules.count == pool->rules.room;
	size_t kept = pool->rules.count - pool->rules_given, count = pool->rules.count;
	pool_leave(pool);
	if (!full || kept >= KEPT_MOST)
		return;
	size_t room = count + (kept < KEPT_FIRST ? KEPT_FIRST : kept);
	struct rule *list = pool->os->map(room * sizeof(*list));
	if (!list || !pool_enter(pool))
		return;
	/* Another thread may have been here, too. */
	if (pool->rules.count == pool->rules.room && pool->rules.count < room) {
		if (pool->rules.count > 0)
			memcpy(list, pool->rules.list, pool->rules.count * sizeof(*list));
		pool->rules.list = list;
		pool->rules.room = room;
	}
	pool_leave(pool);
}

/* Where the rule can be kept without room for one more: with the last one, if that has its pattern;
 * else in the place of one that says nothing but what this one says. */
static struct rule *find_kept_locked(struct pool *pool, const struct rule *rule)
	REQUIRES(pool->lock)
{
	struct rule *found = NULL;

	for (size_t i = pool->rules_given; i < pool->rules.count; i++) {
		struct rule *kept = &pool->rules.list[i];
		if (is_same_pattern(&kept->pattern, &rule->pattern) &&
			(i + 1 == pool->rules.count || !(kept->keys & ~rule->keys)))
			found = kept;
	}
	return found;
}

/* With a copy of its name, as that is in the caller's text. */
static struct rule *add_kept_locked(struct pool *pool, const struct pattern *pattern)
	REQUIRES(pool->lock)
{
	char *name = NULL;

	if (pool->rules.count == pool->rules.room)
		return NULL;
	if (pattern->name_len > 0) {
		name = slab_alloc(&pool->slab, pattern->name_len);
		if (!name)
			return NULL;
		memcpy(name, pattern->name, pattern->name_len);
	}
	struct rule *kept = &pool->rules.list[pool->rules.count++];
	*kept = (struct rule){.pattern = *pattern};
	pool->rules.addresses += pattern->kind == PATTERN_ADDRESS;
	kept->pattern.name = name;
	return kept;
}

static struct rule *move_to_end_locked(struct pool *pool, struct rule *kept) REQUIRES(pool->lock)
{
	struct rule *last = pool->rules.list + pool->rules.count - 1;
	const struct rule moved = *kept;

	memmove(kept, kept + 1, (size_t)(last - kept) * sizeof(*kept));
	*last = moved;
	return last;
}

/* The last rule has the last word with each key that it has. So it goes to the end, but not with
 * what was said of the same pattern long ago: others may have had their say since. For each pattern
 * there are never more than there are keys, as each key is said by one of them. */
static bool keep_locked(struct pool *pool, const struct rule *rule) REQUIRES(pool->lock)
{
	struct rule *last = find_kept_locked(pool, rule);

	last = last ? move_to_end_locked(pool, last) : add_kept_locked(pool, &rule->pattern);
	if (!last)
		return false;
	for (struct rule *kept = pool->rules.list + pool->rules_given; kept < last; kept++)
		if (is_same_pattern(&kept->pattern, &rule->pattern))
			kept->keys &= ~rule->keys;
	rule_merge(last, rule);
	return true;
}

/* ---- the service points that match ---- */

static bool matches(const struct service_point *point, const struct pattern *pattern)
{
	return pattern_matches(
		pattern, point->key.name ? name_text(point->key.name) : NULL, &point->endpoint);
}

static long count_matches_locked(struct pool *pool, const struct pattern *pattern)
	REQUIRES(pool->lock)
{
	const struct service_point *point;
	long count = 0;

	DL_FOREACH(pool->points.used, point)
	{
		count += matches(point, pattern);
	}
	return count;
}

/* What is never to be reused need not wait until it has expired. */
static void close_useless_locked(struct pool *pool, struct service_point *point,
	struct connection **doomed) REQUIRES(pool->lock)
{
	bool off = point->settings.off;

	while (point->parked && (off || point->settings.idle_ms == 0))
		pool_doom_locked(
			pool, point->parked, off ? DISCARDED_DROPPED : DISCARDED_IDLE, doomed);
}

static void set_point_locked(struct pool *pool, struct service_point *point,
	const struct rule *rule, struct connection **doomed) REQUIRES(pool->lock)
{
	rule_set(rule, &point->settings);
	close_useless_locked(pool, point, doomed);
	turn_keep_limit_locked(pool, point, doomed);
	turn_pass_on_locked(pool, point);
	status_note_locked(pool, point);
}

/* No more than so many can be told of their turn while the lock is held. Those of one service point
 * hand it on, but not to those of another where nobody's turn has come yet. */
static void pass_on_all(struct pool *pool)
{
	struct service_point *point;
	bool more = true;

	while (more && pool_enter(pool)) {
		DL_FOREACH(pool->points.used, point)
		{
			if (point->come == 0)
				turn_pass_on_locked(pool, point);
		}
		more = pool->woken.count > 0;
		pool_leave(pool);
	}
}

long manager_set(struct pool *pool, const struct rule *rule)
{
	struct connection *doomed = NULL;
	struct service_point *point;

	make_room(pool);
	if (!pool_enter(pool))
		return -EAGAIN;
	long count = count_matches_locked(pool, &rule->pattern);
	if (count == 0)
		count = -ENOENT;
	else if (!keep_locked(pool, rule))
		count = -ENOMEM;
	else {
		DL_FOREACH(pool->points.used, point)
		{
			if (matches(point, &rule->pattern))
				set_point_locked(pool, point, rule, &doomed);
		}
		pool->points_differ = true;
	}
	bool more = pool->woken.count > 0;
	pool_leave(pool);
	if (more)
		pass_on_all(pool);
	pool_bury(pool, doomed);
	return count;
}

long manager_set_defaults(struct pool *pool, const struct rule *rule)
{
	if (!pool_enter(pool))
		return -EAGAIN;
	rule_set(rule, &pool->settings.point);
	pool->points_differ = true;
	pool_leave(pool);
	return 1;
}

long manager_get_defaults(struct pool *pool, struct settings *settings)
{
	if (!pool_enter(pool))
		return -EAGAIN;
	*settings = pool->settings;
	pool_leave(pool);
	return 0;
}

long manager_set_cap(struct pool *pool, long most)
{
	struct connection *doomed = NULL;
	long gone = 0;

	if (!pool_enter(pool))
		return -EAGAIN;
	pool->settings.max_service_points = most;
	while (most > 0 && pool->points.count > (unsigned long)most &&
		pool_recycle_locked(pool, &doomed))
		gone++;
	pool_leave(pool);
	pool_bury(pool, doomed);
	return gone;
}

long manager_flush(struct pool *pool, const struct pattern *pattern)
{
	struct connection *doomed = NULL;
	struct service_point *point;
	long closed = -ENOENT;

	if (!pool_enter(pool))
		return -EAGAIN;
	DL_FOREACH(pool->points.used, point)
	{
		if (!matches(point, pattern))
			continue;
		closed = (closed > 0 ? closed : 0) + point->parked_count;
		point->flushes++;
		while (point->parked)
			pool_doom_locked(pool, point->parked, DISCARDED_FLUSHED, &doomed);
		turn_pass_on_locked(pool, point);
	}
	pool_leave(pool);
	pool_bury(pool, doomed);
	return closed;
}

/* ---- FindServicePoint ---- */

static bool make_endpoint_locked(struct pool *pool, const struct pattern *pattern,
	struct endpoint *endpoint) REQUIRES(pool->lock)
{
	char name[NAME_TEXT_MAX];

	memset(endpoint, 0, sizeof(*endpoint));
	endpoint->port = htons(pattern->port);
	if (pattern->kind == PATTERN_ADDRESS) {
		endpoint->family = pattern->family;
		memcpy(endpoint->address, pattern->address, sizeof(endpoint->address));
		return true;
	}
	if (pattern->name_len > sizeof(name))
		return false;
	for (size_t i = 0; i < pattern->name_len; i++) {
		char c = pattern->name[i];
		name[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
	}
	endpoint->name = names_intern(&pool->names, name, pattern->name_len);
	return endpoint->name;
}

static void look_at(const struct service_point *point, struct point_view *view)
{
	*view = (struct point_view){
		.settings = point->settings,
		.in_use = point->in_use - point->come,
		.parked = point->parked_count,
		.waiting = point->waiting_count,
		.opened = atomic_load_explicit(&point->opened, memory_order_relaxed),
		.reused = atomic_load_explicit(&point->reused, memory_order_relaxed),
		.idle_since_ms = point->in_use > 0 ? 0 : point->idle_since_ms,
	};
}

long manager_find(struct pool *pool, const struct pattern *pattern, struct point_view *view)
{
	struct connection *doomed = NULL;
	struct service_point *point = NULL;
	struct endpoint endpoint;
	uint64_t now = pool->os->now_ms();

	if (!pool_enter_for_names(pool))
		return -EAGAIN;
	if (make_endpoint_locked(pool, pattern, &endpoint))
		point = pool_find_point_locked(pool, &endpoint, now, &doomed);
	if (point)
		status_note_locked(pool, point);
	if (point && view)
		look_at(point, view);
	pool_leave(pool);
	pool_bury(pool, doomed);
	return point ? 0 : -ENOMEM;
}

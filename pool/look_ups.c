#include "pool/look_ups.h"

#include <string.h>

#include "pool/hash.h"

/* Never 0. */
static uint32_t hash_of(const struct host_address *address)
{
	uint32_t hash = hash_bytes(address, sizeof(*address));

	return hash ? hash : 1;
}

/* The place of the look-up of this name; of the oldest one, if there is none. */
static unsigned place_of(const struct look_ups *ups, const struct name *name)
{
	unsigned place = 0;

	while (place < LOOK_UPS_MAX - 1 && ups->list[place].name != name)
		place++;
	return place;
}

void look_ups_note(struct look_ups *ups, const struct name *name, const struct answer *answer)
{
	struct look_up latest = {.name = name ? name : &name_stranger};
	/* One stranger is not another, nor is one address. */
	const bool is_text = !name || name == &name_itself;
	unsigned place = place_of(ups, is_text ? NULL : name);
	const struct look_up *gone = &ups->list[place];

	if (gone->name && (is_text || gone->name != name) && !gone->used)
		ups->batch = true;
	for (; latest.count < answer->count && latest.count < NAME_ADDRESSES_MAX; latest.count++)
		latest.addresses[latest.count] = hash_of(&answer->addresses[latest.count]);
	memmove(&ups->list[1], &ups->list[0], place * sizeof(latest));
	ups->list[0] = latest;
}

static bool has(const struct look_up *up, uint32_t hash)
{
	for (unsigned i = 0; i < up->count; i++)
		if (up->addresses[i] == hash)
			return true;
	return false;
}

static bool may_have(const struct look_up *up, uint32_t hash)
{
	return up->count == NAME_ADDRESSES_MAX || has(up, hash);
}

static void use_up(struct look_up *up, uint32_t hash)
{
	for (unsigned i = 0; i < up->count; i++)
		if (up->addresses[i] == hash)
			up->addresses[i] = 0;
}

/* The first connect() after a look-up is for it, if no other look-up still waits for its own; a
 * later one only if no other can be meant. */
static bool is_for_latest(const struct look_ups *ups, uint32_t hash)
{
	const struct look_up *latest = &ups->list[0];

	if (ups->batch || !has(latest, hash))
		return false;
	for (unsigned i = 1; i < LOOK_UPS_MAX; i++)
		if ((latest->used || !ups->list[i].used) && may_have(&ups->list[i], hash))
			return false;
	return true;
}

const struct name *look_ups_use(struct look_ups *ups, const struct endpoint *endpoint)
{
	const struct host_address address = host_address_of(endpoint);
	const uint32_t hash = hash_of(&address);
	const struct name *name = is_for_latest(ups, hash) ? ups->list[0].name : NULL;

	for (unsigned i = 0; i < LOOK_UPS_MAX; i++) {
		ups->list[i].used |= has(&ups->list[i], hash);
		use_up(&ups->list[i], hash);
	}
	return name;
}

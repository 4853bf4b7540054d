#include "pool/names.h"

#include <string.h>
#include <sys/socket.h>

#include "pool/hash.h"

struct name {
	UT_hash_handle hh;
	unsigned address_count;
	bool has_more; /* addresses than were noted */
	struct host_address addresses[NAME_ADDRESSES_MAX];
	char text[NAME_TEXT_MAX + 1];
};

struct named_address {
	struct host_address address;
	const struct name *latest;
	UT_hash_handle hh;
};

const char *name_text(const struct name *name)
{
	return name->text;
}

static struct host_address address_of(const struct endpoint *endpoint)
{
	struct host_address address = {.family = endpoint->family};

	memcpy(address.bytes, endpoint->address, sizeof(address.bytes));
	return address;
}

static bool has(const struct name *name, const struct host_address *address)
{
	for (unsigned i = 0; i < name->address_count; i++)
		if (memcmp(&name->addresses[i], address, sizeof(*address)) == 0)
			return true;
	return false;
}

bool name_has(const struct name *name, const struct endpoint *endpoint)
{
	const struct host_address address = address_of(endpoint);

	return name->has_more || has(name, &address);
}

/* Has it an address now that is not among these? */
static bool loses_any(const struct name *name, const struct host_address *addresses, unsigned count)
{
	for (unsigned i = 0; i < name->address_count; i++) {
		unsigned k = 0;
		while (k < count && memcmp(&name->addresses[i], &addresses[k], sizeof(*addresses)))
			k++;
		if (k == count)
			return true;
	}
	return name->has_more;
}

struct name *names_intern(struct names *names, const char *text, size_t len)
{
	struct slab *slab = names->slab;
	struct name *name;

	if (len == 0 || len > NAME_TEXT_MAX)
		return NULL;
	HASH_FIND(hh, names->by_text, text, len, name);
	if (name || names->count >= NAMES_MAX)
		return name;
	name = slab_alloc(slab, sizeof(*name));
	if (!name)
		return NULL;
	memset(name, 0, sizeof(*name));
	memcpy(name->text, text, len);
	HASH_ADD(hh, names->by_text, text[0], len, name);
	if (!name->hh.tbl) {
		slab_free(slab, name, sizeof(*name));
		return NULL;
	}
	names->count++;
	return name;
}

/* Without memory the address goes on standing for itself, or for the name before. */
static void note_latest(
	struct names *names, const struct host_address *address, const struct name *name)
{
	struct slab *slab = names->slab;
	struct named_address *named;

	HASH_FIND(hh, names->by_address, address, sizeof(*address), named);
	if (!named) {
		named = slab_alloc(slab, sizeof(*named));
		if (!named)
			return;
		*named = (struct named_address){.address = *address};
		HASH_ADD(hh, names->by_address, address, sizeof(named->address), named);
		if (!named->hh.tbl) {
			slab_free(slab, named, sizeof(*named));
			return;
		}
	}
	named->latest = name;
}

struct name *names_learn(struct names *names, const char *text, size_t len,
	const struct host_address *addresses, unsigned count, bool *lost)
{
	struct name *name = names_intern(names, text, len);

	*lost = false;
	if (!name)
		return NULL;
	*lost = loses_any(name, addresses, count);
	name->has_more = count > NAME_ADDRESSES_MAX;
	name->address_count = name->has_more ? NAME_ADDRESSES_MAX : count;
	memcpy(name->addresses, addresses, name->address_count * sizeof(*addresses));
	for (unsigned i = 0; i < name->address_count; i++)
		note_latest(names, &addresses[i], name);
	return name;
}

const struct name *names_find(
	const struct names *names, const struct endpoint *endpoint, const struct name *hint)
{
	const struct host_address address = address_of(endpoint);
	struct named_address *named;

	if (hint && has(hint, &address))
		return hint;
	if (!names->by_address)
		return NULL;
	HASH_FIND(hh, names->by_address, &address, sizeof(address), named);
	return named ? named->latest : NULL;
}

size_t names_need(const struct names *names)
{
	return hash_need(names->by_text ? names->by_text->hh.tbl : NULL) +
	       hash_need(names->by_address ? names->by_address->hh.tbl : NULL) +
	       2 * sizeof(struct name) + 2 * NAME_ADDRESSES_MAX * sizeof(struct named_address);
}

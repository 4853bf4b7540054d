#include "pool/names.h"

#include <string.h>
#include <sys/socket.h>
#include <utlist.h>

#include "pool/hash.h"

struct name {
	UT_hash_handle hh;
	unsigned address_count;
	unsigned more; /* FAMILY_...: of these it has addresses that were not noted here */
	struct host_address addresses[NAME_ADDRESSES_MAX];
	char text[NAME_TEXT_MAX + 1];
};

struct named_address {
	struct host_address address;
	bool shared;     /* more than one name was found to have it, or it was asked for as it is */
	bool stranger;   /* one of them was not learned */
	bool kept;       /* connected to by an answer that was not just there */
	unsigned owners; /* names that have noted it; 0: it is in names.lost */
	const struct name *name; /* one by which it was found; NULL: a stranger */
	struct named_address *prev, *next;
	UT_hash_handle hh;
};

const struct name name_itself, name_stranger;

const char *name_text(const struct name *name)
{
	return name->text;
}

/* ---- addresses ---- */

struct host_address host_address(int family, const void *bytes)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	struct host_address address = {.family = (uint16_t)family};

	if (family == AF_INET6 && memcmp(bytes, mapped, sizeof(mapped)) == 0) {
		address.family = AF_INET;
		bytes = (const uint8_t *)bytes + sizeof(mapped);
	}
	memcpy(address.bytes, bytes, address.family == AF_INET ? 4 : 16);
	return address;
}

struct host_address host_address_of(const struct endpoint *endpoint)
{
	return host_address(endpoint->family, endpoint->address);
}

unsigned host_address_family(const struct host_address *address)
{
	return address->family == AF_INET ? FAMILY_IPV4 : FAMILY_IPV6;
}

static bool is_among(
	const struct host_address *address, const struct host_address *addresses, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (memcmp(&addresses[i], address, sizeof(*address)) == 0)
			return true;
	return false;
}

bool answer_add(struct answer *answer, const struct host_address *address)
{
	if (is_among(address, answer->addresses, answer->count))
		return true;
	if (answer->count == NAME_ADDRESSES_MAX)
		return false;
	answer->addresses[answer->count++] = *address;
	return true;
}

static bool has(const struct name *name, const struct host_address *address)
{
	return is_among(address, name->addresses, name->address_count);
}

bool name_has(const struct name *name, const struct endpoint *endpoint)
{
	const struct host_address address = host_address_of(endpoint);

	return name->more & host_address_family(&address) || has(name, &address);
}

/* ---- addresses that have names ---- */

static struct named_address *find(const struct names *names, const struct host_address *address)
{
	struct named_address *named;

	HASH_FIND(hh, names->by_address, address, sizeof(*address), named);
	return named;
}

/* It may have been forgotten too early if a name has it still, or may have it. */
static void forget_oldest(struct names *names)
{
	struct slab *slab = names->slab;
	struct named_address *oldest = names->lost;

	if (oldest->stranger || oldest->name->more)
		atomic_store_explicit(&names->forgot, true, memory_order_relaxed);
	DL_DELETE(names->lost, oldest);
	names->lost_count--;
	HASH_DELETE(hh, names->by_address, oldest);
	slab_free(slab, oldest, sizeof(*oldest));
}

static void lose(struct names *names, struct named_address *named)
{
	DL_APPEND(names->lost, named);
	if (++names->lost_count > NAMES_LOST_MAX)
		forget_oldest(names);
}

static void find_again(struct names *names, struct named_address *named)
{
	DL_DELETE(names->lost, named);
	names->lost_count--;
}

/* The address, which this name was found to have; NULL: a name that was not learned. As one that no
 * name has noted, if it is new. NULL without memory. */
static struct named_address *note(
	struct names *names, const struct host_address *address, const struct name *name)
{
	struct slab *slab = names->slab;
	struct named_address *named = find(names, address);

	if (!named) {
		named = slab_alloc(slab, sizeof(*named));
		if (named) {
			*named = (struct named_address){.address = *address, .name = name};
			HASH_ADD(hh, names->by_address, address, sizeof(named->address), named);
		}
		if (!named || !named->hh.tbl) {
			slab_free(slab, named, sizeof(*named));
			atomic_store_explicit(&names->forgot, true, memory_order_relaxed);
			return NULL;
		}
		named->shared = atomic_load_explicit(&names->forgot, memory_order_relaxed);
		lose(names, named);
	} else if (named->owners == 0) {
		find_again(names, named);
		lose(names, named);
	}
	named->shared |= name != named->name;
	named->stranger |= !name;
	if (name)
		named->name = name;
	named->shared |= named->stranger;
	return named;
}

static void own(struct names *names, struct named_address *named)
{
	if (named->owners++ == 0)
		find_again(names, named);
}

static void disown(struct names *names, const struct host_address *address)
{
	struct named_address *named = find(names, address);

	if (named && --named->owners == 0)
		lose(names, named);
}

/* ---- names ---- */

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

/* Does this answer say of an address of the name's that it is not one any more? */
static bool denies(const struct answer *answer, const struct host_address *address)
{
	return answer->families & host_address_family(address) &&
	       !is_among(address, answer->addresses, answer->count);
}

static bool loses_any(const struct name *name, const struct answer *answer)
{
	for (unsigned i = 0; i < name->address_count; i++)
		if (denies(answer, &name->addresses[i]))
			return true;
	return name->more & answer->families;
}

static void replace_addresses(struct names *names, struct name *name, const struct answer *answer)
{
	struct host_address before[NAME_ADDRESSES_MAX];
	const unsigned count_before = name->address_count;

	memcpy(before, name->addresses, sizeof(before));
	name->address_count = 0;
	name->more &= ~answer->families;
	if (answer->more)
		name->more |= answer->families;
	for (unsigned i = 0; i < count_before; i++)
		if (!(answer->families & host_address_family(&before[i])))
			name->addresses[name->address_count++] = before[i];
	for (unsigned i = 0; i < answer->count; i++) {
		const struct host_address *address = &answer->addresses[i];
		struct named_address *named = note(names, address, name);
		if (has(name, address))
			continue;
		if (!named || name->address_count == NAME_ADDRESSES_MAX) {
			name->more |= host_address_family(address);
			continue;
		}
		name->addresses[name->address_count++] = *address;
		if (!is_among(address, before, count_before))
			own(names, named);
	}
	for (unsigned i = 0; i < count_before; i++)
		if (!has(name, &before[i]))
			disown(names, &before[i]);
}

struct name *names_learn(
	struct names *names, const char *text, size_t len, const struct answer *answer, bool *lost)
{
	struct name *name = names_intern(names, text, len);

	*lost = false;
	if (name) {
		*lost = loses_any(name, answer);
		replace_addresses(names, name, answer);
		return name;
	}
	names_learn_more(names, NULL, answer);
	return NULL;
}

void names_learn_more(struct names *names, const struct name *name, const struct answer *answer)
{
	for (unsigned i = 0; i < answer->count; i++)
		note(names, &answer->addresses[i], name);
}

bool names_tell(struct names *names, const struct endpoint *endpoint, const struct name **name)
{
	const struct host_address address = host_address_of(endpoint);
	const struct name *hint = endpoint->name;
	struct named_address *named = names->by_address ? find(names, &address) : NULL;

	*name = NULL;
	if (hint == &name_stranger)
		return false;
	if (named) {
		named->kept |= !hint;
		/* From now on it goes by itself, too. */
		named->shared |= hint == &name_itself;
		if (named->shared && (named->kept || !hint))
			return false;
	} else if (!hint) {
		return !atomic_load_explicit(&names->forgot, memory_order_relaxed);
	}
	if (hint == &name_itself)
		return true;
	*name = hint ? hint : named->name;
	return true;
}

size_t names_need(const struct names *names)
{
	return hash_need(names->by_text ? names->by_text->hh.tbl : NULL) +
	       hash_need(names->by_address ? names->by_address->hh.tbl : NULL) +
	       2 * sizeof(struct name) + 2 * NAME_ADDRESSES_MAX * sizeof(struct named_address);
}

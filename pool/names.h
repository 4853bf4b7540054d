/* Host names, as the program resolved them: which name an address was found by, and which addresses
 * a name has now. They make a service point `www.contoso.com:80` and not an address, and keep two
 * names on one address apart. The pool's lock is held, and no system call is made.
 *
 * Which name a connection is for is not said in connect(). It is known where only one name was ever
 * found to have the address; and where several were, if the thread resolved one of them just before
 * (pool/look_ups.h), and the program never yet connected to that address otherwise: one that did
 * keeps answers, or hands them to other threads, so what was resolved last does not tell. Else it
 * is not known, and the connection is not pooled.
 *
 * A name is kept for as long as the process lives, and there are NAMES_MAX at most: further ones
 * are not learned, and whether a connection to their addresses is for them is not known either.
 * Addresses that no name has any more are remembered, NAMES_LOST_MAX of them.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pool/endpoint.h"
#include "pool/slab.h"

#define NAMES_MAX          4096
#define NAMES_LOST_MAX     1024
#define NAME_TEXT_MAX      253 /* RFC 1035 section 2.3.4, without the lengths' bytes */
#define NAME_ADDRESSES_MAX 16

/* An IPv4-mapped IPv6 address is the IPv4 address here: programs that only know IPv6 (Java)
 * resolve to the one and connect to the other. Compared and hashed as bytes. */
struct host_address {
	uint16_t family;
	uint8_t bytes[16];
};

enum {
	FAMILY_IPV4 = 1,
	FAMILY_IPV6 = 2,
};

/* What the resolver said of a name, or the first part of it. */
struct answer {
	struct host_address addresses[NAME_ADDRESSES_MAX];
	unsigned count;
	bool more;         /* the rest is for names_learn_more() */
	unsigned families; /* FAMILY_...: those that were asked for; of others it says nothing */
};

struct name;
struct named_address;

/* Nothing is learned without it. slab is the caller's; all else is zero at first. */
struct names {
	struct slab *slab;
	struct name *by_text;             /* uthash */
	struct named_address *by_address; /* uthash */
	struct named_address *lost;       /* those that no name has: .prev, .next; oldest first */
	unsigned count, lost_count;
	/* There are addresses of names that are not in the table: one that is not may be such. Set
	 * without the lock, too. */
	atomic_bool forgot;
};

/* What a thread can have resolved that is no name: an address as it is written; a name that was not
 * learned. For endpoint.name of names_tell() only. */
extern const struct name name_itself, name_stranger;

struct host_address host_address(int family, const void *bytes);
struct host_address host_address_of(const struct endpoint *endpoint);

/* FAMILY_... */
unsigned host_address_family(const struct host_address *address);

/* Adds an address to an answer, once. false: there is no room. */
bool answer_add(struct answer *answer, const struct host_address *address);

/* The name has been resolved. text is lower case, of 1 to NAME_TEXT_MAX bytes. NULL if it is not
 * learned: the names of its addresses are not known from now on. *lost: it had an address, or may
 * have had one, that it does not have any more. */
struct name *names_learn(
	struct names *names, const char *text, size_t len, const struct answer *answer, bool *lost);

/* The next part of its answer, name or NULL being what _learn() said. */
void names_learn_more(struct names *names, const struct name *name, const struct answer *answer);

/* The name, new or not, with the addresses that it has. NULL if there is no memory, or too many. */
struct name *names_intern(struct names *names, const char *text, size_t len);

/* Which name a connection to this endpoint is for; endpoint->name is what look_ups_use() said.
 * NULL in *name: for none, the address stands for itself. false: that is not known. */
bool names_tell(struct names *names, const struct endpoint *endpoint, const struct name **name);

/* Did the name resolve to this address when it was resolved last, or to more than were noted? */
bool name_has(const struct name *name, const struct endpoint *endpoint);

/* Terminated. */
const char *name_text(const struct name *name);

/* Memory that the next names_learn() may need, in bytes. */
size_t names_need(const struct names *names);

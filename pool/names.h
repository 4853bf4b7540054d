/* Host names, as the program resolved them: which name an address was found by, and which addresses
 * a name has now. They make a service point `www.contoso.com:80` and not an address, and keep two
 * names on one address apart. The pool's lock is held, and no system call is made.
 *
 * A name is kept for as long as the process lives, and there are NAMES_MAX at most: further ones
 * are not learned, and their addresses stand for themselves.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "pool/endpoint.h"
#include "pool/slab.h"

#define NAMES_MAX          4096
#define NAME_TEXT_MAX      253 /* RFC 1035 section 2.3.4, without the lengths' bytes */
#define NAME_ADDRESSES_MAX 16

struct host_address {
	uint16_t family;
	uint8_t bytes[16];
};

struct name;
struct names;

/* Nothing is learned without it. slab is the caller's; *names all zero otherwise. */
struct names {
	struct slab *slab;
	struct name *by_text;             /* uthash */
	struct named_address *by_address; /* uthash */
	unsigned count;
};

/* The name has been resolved, to these addresses, of which no more than NAME_ADDRESSES_MAX are
 * noted. text is lower case, of 1 to NAME_TEXT_MAX bytes. NULL if it is not learned. *lost: it had
 * an address, or may have had one, that it does not have any more. */
struct name *names_learn(struct names *names, const char *text, size_t len,
	const struct host_address *addresses, unsigned count, bool *lost);

/* The name, new or not, with the addresses that it has. NULL if there is no memory, or too many. */
struct name *names_intern(struct names *names, const char *text, size_t len);

/* The name that this endpoint's address goes by: hint, if that name has it; else the one by which
 * it was found last; NULL: none. */
const struct name *names_find(
	const struct names *names, const struct endpoint *endpoint, const struct name *hint);

/* Did the name resolve to this address when it was resolved last, or to more than were noted? */
bool name_has(const struct name *name, const struct endpoint *endpoint);

/* Terminated. */
const char *name_text(const struct name *name);

/* Memory that the next names_learn() may need, in bytes. */
size_t names_need(const struct names *names);

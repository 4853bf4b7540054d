/* uthash, as it is used here: memory from the slab that the user has in `slab`, no exit() when that
 * runs out (uthash user guide, "Out of memory"), and a hash function that is not copied to each
 * place of use.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "pool/slab.h"

/* FNV-1a, 32 bits: RFC 9923. */
uint32_t hash_bytes(const void *key, size_t len);

#define HASH_NONFATAL_OOM                   1
#define HASH_FUNCTION(key, len, hash_value) ((hash_value) = hash_bytes(key, len))
#define uthash_malloc(size)                 slab_alloc(slab, size)
#define uthash_free(piece, size)            slab_free(slab, piece, size)
#include <uthash.h>

/* What the next HASH_ADD() to a table may need, in bytes: uthash doubles its buckets when one of
 * them holds more than ten. NULL: the first one. */
size_t hash_need(const UT_hash_table *table);

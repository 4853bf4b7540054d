/* Memory for the pool, without malloc: pieces of 64 bytes to 1 MiB, in powers of two, cut from
 * chunks of zeroed pages that the owner feeds in. Pieces can be freed and are used again; pages
 * are never given back. The owner locks.
 */
#pragma once

#include <stddef.h>

#define SLAB_CLASSES  15
#define SLAB_SMALLEST 64

struct slab {
	void *free[SLAB_CLASSES]; /* by class; each piece begins with a pointer to the next */
	char *next, *end;         /* what is left of the newest chunk */
};

/* NULL if nothing is left: slab_feed() first. Not zeroed. */
void *slab_alloc(struct slab *slab, size_t size);

/* size as it was asked for; piece may be NULL. */
void slab_free(struct slab *slab, void *piece, size_t size);

/* Takes over a chunk of zeroed memory. What was left of the chunk before is given up. */
void slab_feed(struct slab *slab, void *chunk, size_t size);

/* Bytes that are left of the newest chunk. */
size_t slab_room(const struct slab *slab);

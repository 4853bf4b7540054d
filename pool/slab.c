#include "pool/slab.h"

/* The class of the smallest pieces that hold size bytes; SLAB_CLASSES if there is none. */
static unsigned class_of(size_t size)
{
	unsigned class = 0;

	while (class < SLAB_CLASSES && ((size_t)SLAB_SMALLEST << class) < size)
		class ++;
	return class;
}

void *slab_alloc(struct slab *slab, size_t size)
{
	unsigned class = class_of(size);

	if (class == SLAB_CLASSES)
		return NULL;
	void **piece = slab->free[class];
	if (piece) {
		slab->free[class] = *piece;
		return piece;
	}
	size_t piece_size = (size_t)SLAB_SMALLEST << class;
	if (slab_room(slab) < piece_size)
		return NULL;
	char *fresh = slab->next;
	slab->next += piece_size;
	return fresh;
}

void slab_free(struct slab *slab, void *piece, size_t size)
{
	if (!piece)
		return;
	unsigned class = class_of(size);
	*(void **)piece = slab->free[class];
	slab->free[class] = piece;
}

void slab_feed(struct slab *slab, void *chunk, size_t size)
{
	slab->next = chunk;
	slab->end = slab->next + size;
}

size_t slab_room(const struct slab *slab)
{
	return (size_t)(slab->end - slab->next);
}

#include "pool/hash.h"

uint32_t hash_bytes(const void *key, size_t len)
{
	const uint8_t *bytes = key;
	uint32_t hash = 2166136261U;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ bytes[i]) * 16777619U;
	return hash;
}

size_t hash_need(const UT_hash_table *table)
{
	size_t buckets = table ? table->num_buckets : HASH_INITIAL_NUM_BUCKETS;

	return sizeof(UT_hash_table) + 4 * buckets * sizeof(UT_hash_bucket);
}

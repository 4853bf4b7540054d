#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#include "pool/slab.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static _Alignas(64) char chunk[65536];

static struct slab fed_with(size_t size)
{
	struct slab slab = {0};

	slab_feed(&slab, chunk, size);
	return slab;
}

Test(slab, has_nothing_to_give_before_it_is_fed)
{
	struct slab slab = {0};

	cr_expect_null(slab_alloc(&slab, 1));
	cr_expect_eq(slab_room(&slab), 0);
}

Test(slab, pieces_take_the_next_power_of_two_of_the_chunk)
{
	static const struct {
		size_t asked, taken;
	} rows[] = {
		{0, 64},
		{1, 64},
		{63, 64},
		{64, 64},
		{65, 128},
		{128, 128},
		{129, 256},
		{1000, 1024},
		{1024, 1024},
		{1025, 2048},
		{4097, 8192},
		{32768, 32768},
		{32769, 65536},
		{65536, 65536},
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct slab slab = fed_with(sizeof(chunk));

		cr_expect_eq(slab_alloc(&slab, rows[i].asked), chunk);
		cr_expect_eq(slab_room(&slab), sizeof(chunk) - rows[i].taken, "%zu took %zu",
			rows[i].asked, sizeof(chunk) - slab_room(&slab));
	}
}

Test(slab, a_piece_may_have_one_mebibyte_and_no_more)
{
	static char large[1 << 20];
	struct slab slab = {0};

	slab_feed(&slab, large, sizeof(large));
	cr_expect_null(slab_alloc(&slab, sizeof(large) + 1));
	cr_expect_null(slab_alloc(&slab, SIZE_MAX));
	cr_expect_eq(slab_alloc(&slab, sizeof(large)), large);
}

Test(slab, pieces_do_not_overlap)
{
	struct slab slab = fed_with(sizeof(chunk));
	char *end = chunk;

	for (size_t size = 1; size <= 2000; size += 111) {
		char *piece = slab_alloc(&slab, size);
		cr_assert_geq((uintptr_t)piece, (uintptr_t)end);
		cr_expect_eq((uintptr_t)piece % SLAB_SMALLEST, 0);
		end = piece + size;
		cr_assert_leq((uintptr_t)end, (uintptr_t)(chunk + sizeof(chunk)));
	}
}

Test(slab, a_chunk_is_used_to_its_end_and_not_beyond)
{
	struct slab slab = fed_with(256);

	for (int i = 0; i < 4; i++)
		cr_expect_not_null(slab_alloc(&slab, 64));
	cr_expect_null(slab_alloc(&slab, 64));
	cr_expect_eq(slab_room(&slab), 0);
}

Test(slab, a_freed_piece_is_given_again_latest_first)
{
	struct slab slab = fed_with(256);
	void *one = slab_alloc(&slab, 64), *two = slab_alloc(&slab, 50);

	memset(one, 0xff, 64);
	slab_free(&slab, one, 64);
	slab_free(&slab, two, 50);
	cr_expect_eq(slab_alloc(&slab, 1), two);
	cr_expect_eq(slab_alloc(&slab, 64), one);
	cr_expect_eq(slab_room(&slab), 128, "the chunk is left alone as long as pieces are free");
}

Test(slab, a_freed_piece_serves_its_own_size_only)
{
	struct slab slab = fed_with(192);
	void *small = slab_alloc(&slab, 64), *large = slab_alloc(&slab, 65);

	slab_free(&slab, small, 64);
	cr_expect_null(slab_alloc(&slab, 65));
	slab_free(&slab, large, 65);
	cr_expect_eq(slab_alloc(&slab, 128), large);
}

Test(slab, freeing_nothing_is_fine)
{
	struct slab slab = fed_with(64);

	slab_free(&slab, NULL, 64);
	cr_expect_eq(slab_alloc(&slab, 64), chunk);
}

Test(slab, a_new_chunk_replaces_what_was_left_and_keeps_what_was_freed)
{
	static _Alignas(64) char other[128];
	struct slab slab = fed_with(128);
	void *piece = slab_alloc(&slab, 64);

	slab_free(&slab, piece, 64);
	slab_feed(&slab, other, sizeof(other));
	cr_expect_eq(slab_room(&slab), sizeof(other));
	cr_expect_eq(slab_alloc(&slab, 64), piece);
	cr_expect_eq(slab_alloc(&slab, 64), other);
}

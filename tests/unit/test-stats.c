/* The statistics, and the two tables of reasons that they count: refusals and discards. */
#include <criterion/criterion.h>
#include <ctype.h>
#include <string.h>

#include "pool/refusal.h"
#include "pool/stats.h"

static const char *json_of(const struct stats *stats)
{
	static char data[8192];
	struct text text = {.data = data, .size = sizeof(data) - 1};

	stats_add_json(&text, stats);
	cr_assert_not(text.cut);
	data[text.len] = '\0';
	return data;
}

static const char *refusal_word_at(unsigned i)
{
	return refusal_word((enum refusal)i);
}

static const char *discard_word_at(unsigned i)
{
	return discard_word((enum discard)i);
}

/* Lower case, so that a word can be a JSON member and a column without quoting. */
static void expect_distinct_words(const char *(*word)(unsigned), unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		cr_assert_not_null(word(i));
		cr_expect_gt(strlen(word(i)), 0);
		for (const char *c = word(i); *c; c++)
			cr_expect(islower((unsigned char)*c) || isdigit((unsigned char)*c) ||
					  *c == '_',
				"%s", word(i));
		for (unsigned k = 0; k < i; k++)
			cr_expect_str_neq(word(i), word(k));
	}
}

Test(stats, every_refusal_has_a_word_of_its_own)
{
	expect_distinct_words(refusal_word_at, REFUSAL_COUNT);
	cr_expect_str_eq(refusal_word(REFUSED_NOT), "none");
	cr_expect_str_eq(refusal_word(REFUSED_LEDGER), "ledger");
}

Test(stats, every_discard_has_a_word_of_its_own)
{
	expect_distinct_words(discard_word_at, DISCARD_COUNT);
	cr_expect_str_eq(discard_word(DISCARDED_UNSOLICITED), "unsolicited");
}

Test(stats, every_refusal_has_a_meaning_of_its_own)
{
	for (unsigned i = 0; i < REFUSAL_COUNT; i++) {
		cr_assert_not_null(refusal_meaning((enum refusal)i));
		for (unsigned k = 0; k < i; k++)
			cr_expect_str_neq(
				refusal_meaning((enum refusal)i), refusal_meaning((enum refusal)k));
	}
}

Test(stats, refusals_fit_the_byte_that_a_connection_has_for_them)
{
	cr_expect_lt((int)REFUSAL_COUNT, 256);
	cr_expect_lt((int)DISCARD_COUNT, 256);
}

Test(stats, what_did_not_occur_is_zero_and_no_reason_is_listed)
{
	static struct stats stats;

	cr_expect_str_eq(json_of(&stats),
		"\"connects\":0,\"opened\":0,\"reused\":0,\"waited\":0,"
		"\"over_limit\":0,\"parked\":0,"
		"\"reset\":0,\"deferred\":0,\"carried_out\":0,\"replayed\":0,\"slipped_in\":0,"
		"\"failed\":0,\"quarantined\":0,"
		"\"discarded\":{},\"refused\":{}");
}

Test(stats, what_occurred_is_counted_in_the_order_of_the_tables)
{
	static struct stats stats;

	for (int i = 0; i < 3; i++)
		stats_count(&stats.connects);
	stats_count(&stats.opened);
	stats_count(&stats.reused);
	stats_count(&stats.reused);
	stats_count(&stats.parked);
	stats_count(&stats.discarded[DISCARDED_DROPPED]);
	stats_count(&stats.discarded[DISCARDED_IDLE]);
	stats_count(&stats.refused[REFUSED_NO_ROOM]);
	stats_count(&stats.refused[REFUSED_BUSY]);
	stats_count(&stats.refused[REFUSED_BUSY]);
	cr_expect_str_eq(json_of(&stats),
		"\"connects\":3,\"opened\":1,\"reused\":2,\"waited\":0,"
		"\"over_limit\":0,\"parked\":1,"
		"\"reset\":0,\"deferred\":0,\"carried_out\":0,\"replayed\":0,\"slipped_in\":0,"
		"\"failed\":0,\"quarantined\":0,"
		"\"discarded\":{\"idle\":1,\"dropped\":1},"
		"\"refused\":{\"busy\":2,\"no_room\":1}");
}

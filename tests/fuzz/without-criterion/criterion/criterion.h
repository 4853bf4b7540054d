/* What the fake system and the fake program (tests/unit/) ask of Criterion, for a fuzz target,
 * which has it not: what they assert must be so. */
#pragma once

#include "tests/fuzz/fuzz.h"

#define cr_assert(claim, ...)            MUST(claim)
#define cr_assert_not(claim, ...)        MUST(!(claim))
#define cr_assert_eq(one, other, ...)    MUST((one) == (other))
#define cr_assert_leq(one, other, ...)   MUST((one) <= (other))
#define cr_assert_lt(one, other, ...)    MUST((one) < (other))
#define cr_assert_geq(one, other, ...)   MUST((one) >= (other))
#define cr_assert_not_null(pointer, ...) MUST(pointer)
#define cr_expect_eq(one, other, ...)    MUST((one) == (other))

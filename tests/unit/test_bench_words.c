/* test_bench_words.c - what bench is asked in words, and what it calls noise.
 * Goal: --op and --bytes choose exactly what they name or say what there is; a share of overlap
 * outside of 0 to 1 is noise. Method: tables. Ranks: 1. Needs: nothing. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bench/suite.h"
#include "bench/suite_choice.h"

static const char *const names[] = {"barrier", "broadcast", "ring_pass"};

static const struct {
    const char *why, *ops, *bytes;
    uint64_t bits; /* 0: refused */
    int count;
    size_t first, last;
} choices[] = {
    {"nothing given: all", NULL, NULL, 7, 0, 0, 0},
    {"one", "broadcast", NULL, 2, 0, 0, 0},
    {"two, in any order", "ring_pass,barrier", NULL, 5, 0, 0, 0},
    {"an unknown one", "broadcast,cast", NULL, 0, 0, 0, 0},
    {"a beginning is no name", "broad", NULL, 0, 0, 0, 0},
    {"an empty one", "broadcast,", NULL, 0, 0, 0, 0},
    {"none at all", "", NULL, 0, 0, 0, 0},
    {"sizes with and without suffix", NULL, "64,32K,1M", 7, 3, 64, 1 << 20},
    {"the largest", NULL, "256M", 7, 1, 256 << 20, 256 << 20},
    {"more than that", NULL, "257M", 0, 0, 0, 0},
    {"digits without end", NULL, "99999999999999999999999", 0, 0, 0, 0},
    {"no whole word", NULL, "6", 0, 0, 0, 0},
    {"nothing", NULL, "0", 0, 0, 0, 0},
    {"a suffix alone", NULL, "K", 0, 0, 0, 0},
    {"another suffix", NULL, "4G", 0, 0, 0, 0},
    {"a sign", NULL, "-4", 0, 0, 0, 0},
    {"more sizes than there is room for", NULL,
     "4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4,4", 0, 0, 0, 0},
};

static void chooses_what_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        lt_bench_choice c;
        const lt_status st = lt_bench_choose(choices[i].ops, names, 3, choices[i].bytes, &c);
        const lt_status want = choices[i].bits != 0 ? LT_OK : LT_EUSAGE;
        if (st != want)
            fail_msg("%s: want %s, found %s: %s", choices[i].why, lt_status_name(want),
                     lt_status_name(st), lt_error_text());
        lt_error_clear();
        if (st != LT_OK)
            continue;
        if (c.ops != choices[i].bits || c.byte_count != choices[i].count ||
            (c.byte_count > 0 &&
             (c.bytes[0] != choices[i].first || c.bytes[c.byte_count - 1] != choices[i].last)))
            fail_msg("%s: found operations %llx and %d sizes", choices[i].why,
                     (unsigned long long)c.ops, c.byte_count);
    }
}

static const struct {
    const char *why;
    double exposed, hidden, overlap;
    int noise;
} shares[] = {
    {"all hidden", 0, 1, 1, 0},
    {"nothing hidden", 1, 0, 0, 0},
    {"half", 1, 1, 0.5, 0},
    {"faster than its compute", -0.09, 0.1, 91.97, 1},
    {"slower than both parts", 2, -1, -0.5, 1},
    {"medians that do not fit each other", -0.01, 1, 0.9, 1},
    {"no communication", 0, 0, NAN, 1},
};

static void shares_outside_are_noise(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++)
        if (lt_bench_is_noise(shares[i].exposed, shares[i].hidden, shares[i].overlap) !=
            shares[i].noise)
            fail_msg("%s: want %d", shares[i].why, shares[i].noise);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chooses_what_is_named),
        cmocka_unit_test(shares_outside_are_noise),
    };
    return cmocka_run_group_tests_name("bench_words", tests, NULL, NULL);
}

/* test_shard.c - who holds what: every size 1..16 with every remainder.
 * Goal: shares are contiguous, ascending, whole, as even as can be; owner is the inverse; heads
 * stay in whole key-value groups; overlaps are right at every border. Method: exhaustive, against
 * the definition. Ranks: 1. Needs: nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "parallel/shard.h"

enum { SIZE_MAX_TESTED = 16, TOTAL_MAX_TESTED = 5 * SIZE_MAX_TESTED };

static void shares_at(int64_t total, int size)
{
    int64_t next = 0, most = 0, least = total;
    for (int rank = 0; rank < size; rank++) {
        const lt_range r = lt_share(total, size, rank);
        if (r.first != next || r.count < 0)
            fail_msg("%lld on %d: rank %d begins at %lld, want %lld", (long long)total, size, rank,
                     (long long)r.first, (long long)next);
        next += r.count;
        most = r.count > most ? r.count : most;
        least = r.count < least ? r.count : least;
        for (int64_t i = r.first; i < r.first + r.count && total <= TOTAL_MAX_TESTED; i++)
            assert_int_equal(lt_share_owner(total, size, i), rank);
        if (rank > 0) /* the larger shares come first, so that rank 0 is never the idle one */
            assert_true(r.count <= lt_share(total, size, rank - 1).count);
    }
    assert_int_equal(next, total);
    assert_true(most - least <= 1);
    assert_int_equal(lt_share_max(total, size), most);
}

static void every_size_and_remainder(void **state)
{
    (void)state;
    for (int size = 1; size <= SIZE_MAX_TESTED; size++)
        for (int64_t total = 0; total <= TOTAL_MAX_TESTED; total++)
            shares_at(total, size);
}

/* Totals near the largest sizes: products of rank and base must not wrap. */
static void huge_totals(void **state)
{
    (void)state;
    for (int size = 1; size <= SIZE_MAX_TESTED; size++)
        for (int64_t less = 0; less < size; less++) {
            const int64_t total = INT64_MAX - less;
            shares_at(total, size);
            for (int rank = 0; rank < size; rank++) {
                const lt_range r = lt_share(total, size, rank);
                assert_int_equal(lt_share_owner(total, size, r.first), rank);
                assert_int_equal(lt_share_owner(total, size, r.first + (r.count - 1)), rank);
            }
        }
}

static void check_heads(int64_t heads, int64_t kv_heads, int size)
{
    const int64_t group = heads / kv_heads;
    int64_t next = 0;
    for (int rank = 0; rank < size; rank++) {
        const lt_range r = lt_share_heads(heads, kv_heads, size, rank);
        assert_int_equal(r.first, next);
        assert_int_equal(r.first % group, 0);
        assert_int_equal(r.count % group, 0);
        assert_int_equal(r.count / group, lt_share(kv_heads, size, rank).count);
        next += r.count;
    }
    assert_int_equal(next, heads);
}

static void heads_in_whole_groups(void **state)
{
    (void)state;
    for (int size = 1; size <= SIZE_MAX_TESTED; size++)
        for (int64_t kv = 1; kv <= 2 * SIZE_MAX_TESTED; kv++)
            for (int64_t group = 1; group <= 8; group++)
                check_heads(kv * group, kv, size);
}

/* The released models' heads where nothing divides, written out by hand. */
static const struct {
    const char *why;
    int64_t heads, kv_heads;
    int size;
    int64_t count[SIZE_MAX_TESTED];
} cases[] = {
    {"56 on 3: 18 2/3 each", 56, 56, 3, {19, 19, 18}},
    {"56 on 5: one rank more", 56, 56, 5, {12, 11, 11, 11, 11}},
    {"56 on 6", 56, 56, 6, {10, 10, 9, 9, 9, 9}},
    {"56 on 16: half and half", 56, 56, 16, {4, 4, 4, 4, 4, 4, 4, 4, 3, 3, 3, 3, 3, 3, 3, 3}},
    {"8 groups of 8 on 3", 64, 8, 3, {24, 24, 16}},
    {"8 groups on 16: half idle", 64, 8, 16, {8, 8, 8, 8, 8, 8, 8, 8}},
    {"3 on 4: the last is idle", 3, 3, 4, {1, 1, 1}},
};

static void heads_of_the_models(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int rank = 0; rank < cases[i].size; rank++) {
            const lt_range r =
                lt_share_heads(cases[i].heads, cases[i].kv_heads, cases[i].size, rank);
            if (r.count != cases[i].count[rank])
                fail_msg("%s: rank %d: want %lld heads, found %lld", cases[i].why, rank,
                         (long long)cases[i].count[rank], (long long)r.count);
        }
}

static void overlaps(void **state)
{
    (void)state;
    enum { END = 6 };
    for (int64_t a = 0; a <= END; a++)
        for (int64_t n = 0; a + n <= END; n++)
            for (int64_t b = 0; b <= END; b++)
                for (int64_t m = 0; b + m <= END; m++) {
                    const lt_range r = lt_overlap((lt_range){a, n}, (lt_range){b, m});
                    int64_t count = 0, first = -1;
                    for (int64_t i = 0; i < END; i++)
                        if (i >= a && i < a + n && i >= b && i < b + m) {
                            first = first < 0 ? i : first;
                            count++;
                        }
                    assert_int_equal(r.count, count);
                    if (count > 0)
                        assert_int_equal(r.first, first);
                }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_and_remainder),
        cmocka_unit_test(huge_totals),
        cmocka_unit_test(heads_in_whole_groups),
        cmocka_unit_test(heads_of_the_models),
        cmocka_unit_test(overlaps),
    };
    return cmocka_run_group_tests_name("shard", tests, NULL, NULL);
}

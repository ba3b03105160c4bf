/* test_distance.c - the comparison that other tests stand on: a NaN is the worst, wherever it is.
 * Goal: no tolerance lets a NaN, an infinity or a result of zeros alone pass. Ranks: 1. Needs:
 * nothing. */
#include "tests/support/check.h"
#include "tests/support/distance.h"

static const struct {
    const char *reason;
    float a[3], b[3];
    int64_t count;
    double wanted; /* NAN: fails any comparison */
} cases[] = {
    {"the same", {1, 2, 4}, {1, 2, 4}, 3, 0},
    {"a share of the largest of b", {1, 2, 3}, {1, 2, 4}, 3, 0.25},
    {"a NaN in front, good values behind", {NAN, 2, 4}, {1, 2, 4}, 3, NAN},
    {"a NaN at the end", {1, 2, NAN}, {1, 2, 4}, 3, NAN},
    {"a NaN in b", {1, 2, 4}, {1, NAN, 4}, 3, NAN},
    {"the same infinity", {INFINITY, 2, 4}, {INFINITY, 2, 4}, 3, NAN},
    {"one infinity", {INFINITY, 2, 4}, {1, 2, 4}, 3, INFINITY},
    {"zeros prove nothing", {0, 0, 0}, {0, 0, 0}, 3, NAN},
    {"nothing proves nothing", {0}, {0}, 0, NAN},
};

static void a_nan_stays(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const double found = distance(cases[i].a, cases[i].b, cases[i].count);
        const int same = isnan(cases[i].wanted) ? isnan(found) : found == cases[i].wanted;
        if (!same)
            fail_msg("%s: want %g, found %g", cases[i].reason, cases[i].wanted, found);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_nan_stays)};
    return cmocka_run_group_tests_name("distance", tests, NULL, NULL);
}

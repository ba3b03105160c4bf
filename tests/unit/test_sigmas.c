/* test_sigmas.c - noise levels against the published scheduler, and lists of timesteps.
 * Goal: every level equal to the published one (torch's linspace is one fused multiply-add), ends
 * exact; counts and shifts that cannot work are refused. Ranks: 1. Needs:
 * tests/parity/golden/sigmas.json. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "scheduler/sigmas.h"

enum { STEPS_MAX = 64 };

static void agrees_with_published(void **state)
{
    (void)state;
    json_t *document = NULL;
    lt_json_at cases;
    int seen = 0;
    assert_int_equal(lt_json_read(LT_SOURCE_DIR "/tests/parity/golden/sigmas.json", &document),
                     LT_OK);
    const lt_json_at root = lt_json_root(document, "sigmas.json");
    assert_int_equal(lt_json_member(&root, "cases", &cases), LT_OK);
    for (size_t i = 0; i < json_array_size(cases.value); i++) {
        lt_json_at at;
        int64_t steps;
        double shift;
        float sigmas[STEPS_MAX], timesteps[STEPS_MAX];
        assert_int_equal(lt_json_element(&cases, i, &at), LT_OK);
        assert_int_equal(lt_json_int(&at, "steps", 2, 100000, &steps), LT_OK);
        assert_int_equal(lt_json_real(&at, "shift", 0.1, 100, &shift), LT_OK);
        if (steps > STEPS_MAX)
            continue;
        const json_t *s = json_object_get(at.value, "sigmas"),
                     *t = json_object_get(at.value, "timesteps");
        assert_int_equal(json_array_size(s), steps);
        assert_int_equal(lt_sigmas_shifted((int)steps, shift, sigmas, timesteps), LT_OK);
        for (size_t k = 0; k < (size_t)steps; k++) {
            const double wanted = json_number_value(json_array_get(s, k));
            if (!((double)sigmas[k] == wanted))
                fail_msg("steps %d, shift %g: sigma %zu: found %a, wanted %a", (int)steps, shift, k,
                         (double)sigmas[k], wanted);
        }
        for (size_t k = 0; k + 1 < (size_t)steps; k++) {
            const double wanted = json_number_value(json_array_get(t, k));
            if (!((double)timesteps[k] == wanted))
                fail_msg("steps %d, shift %g: timestep %zu: found %a, wanted %a", (int)steps, shift,
                         k, (double)timesteps[k], wanted);
        }
        assert_true(sigmas[0] == 1.0f && sigmas[steps - 1] == 0.0f && timesteps[0] == 0.0f);
        seen++;
    }
    json_decref(document);
    assert_true(seen >= 9);
}

static void refuses(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int steps;
        double shift;
    } bad[] = {
        {"no level", 0, 12.0},
        {"only the clean one", 1, 12.0},
        {"negative", -3, 12.0},
        {"more than any run", LT_SIGMAS_MAX + 1, 12.0},
        {"no shift", 5, 0.0},
        {"negative shift", 5, -1.0},
        {"no number", 5, NAN},
        {"past f32", 5, 1e300},
        {"levels fall together", 1000, 1e12},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        float sigmas[1000], timesteps[1000];
        if (lt_sigmas_shifted(bad[i].steps, bad[i].shift, sigmas, timesteps) != LT_EUSAGE)
            fail_msg("%s: accepted", bad[i].name);
    }
}

static void timestep_lists(void **state)
{
    (void)state;
    float a[8], b[8], sigmas[9], all[16];
    assert_int_equal(lt_sigmas_shifted(9, 12.0, sigmas, a), LT_OK);
    assert_int_equal(lt_sigmas_shifted(9, 3.0, sigmas, b), LT_OK);
    const int count = lt_timesteps_union(a, 8, b, 8, all);
    assert_int_equal(count, 15); /* both begin at 0 */
    for (int i = 0; i < 8; i++) {
        assert_true(all[lt_timestep_find(all, count, a[i])] == a[i]);
        assert_true(all[lt_timestep_find(all, count, b[i])] == b[i]);
    }
    for (int i = 1; i < count; i++)
        assert_true(all[i - 1] < all[i]);
    assert_int_equal(lt_timestep_find(all, count, -1.0f), -1);
    assert_int_equal(lt_timestep_find(all, count, 2.0f), -1);
    assert_int_equal(lt_timestep_find(all, count, nextafterf(a[3], 1.0f)), -1);
    assert_int_equal(lt_timestep_find(all, count, NAN), -1);
    assert_int_equal(lt_timestep_find(all, 0, 0.0f), -1);
    assert_int_equal(lt_timesteps_union(a, 0, b, 0, all), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(agrees_with_published),
                                       cmocka_unit_test(refuses), cmocka_unit_test(timestep_lists)};
    return cmocka_run_group_tests_name("sigmas", tests, NULL, NULL);
}

/* test_auto_mode.c - what --mode auto takes, and that it says why.
 * Goal: one window while the model knows the length and memory holds; windows where either ends,
 * with the reason; what fits neither way is refused as one window; a job that names its mode is
 * never changed. Method: dry runs of the demo model's networks, told that they know 2,011 frames,
 * under limits of addresses from wide to narrow. Ranks: 1 and 2. Needs: models/demo. */
#include <jansson.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/support/run.h"
#include "tests/support/the_scratch.h"

#define DEMO LT_SOURCE_DIR "/models/demo"

/* The demo's networks under a longtake.json of ours. */
static void make_model(void)
{
    static const char *const parts[] = {
        "transformer", "vae",       "audio_vae",       "text_encoder",    "tokenizer",
        "scheduler",   "processor", "audio_scheduler", "model_index.json"};
    char from[512], to[512];
    scratch_folder(&s, "model");
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        (void)snprintf(from, sizeof from, DEMO "/%s", parts[i]);
        (void)snprintf(to, sizeof to, "%s/%s", scratch_path(&s, "model"), parts[i]);
        assert_int_equal(symlink(from, to), 0);
    }
    scratch_text(&s, "model/longtake.json",
                 "{\"format\": \"longtake-model\", \"version\": 1, \"steps\": 3, \"size\": [128, "
                 "128], \"window_frames\": 90, \"trained_frames\": [90, 2011]}");
}

/* A dry run under `ulimit -v mib`; the mode that it plans, "" where it is refused. */
static void plan_under(int ranks, int mib, const char *asked, char *mode, char *err, size_t bytes)
{
    struct rlimit was, limit;
    assert_int_equal(getrlimit(RLIMIT_AS, &was), 0);
    limit = was;
    limit.rlim_cur = mib > 0 ? (rlim_t)mib << 20 : was.rlim_cur;
    assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
    run_result r = run_longtake(&s, ranks,
                                RUN_WORDS("render", "--model", scratch_path(&s, "model"), "-p", "x",
                                          "--frames", "2011", "--mode", asked, "--threads", "1",
                                          "--dry-run", "--json", "-o", scratch_path(&s, "a.mp4")));
    assert_int_equal(setrlimit(RLIMIT_AS, &was), 0);
    json_t *plan = json_loads(r.out, 0, NULL);
    const char *found = json_string_value(json_object_get(plan, "mode"));
    (void)snprintf(mode, 16, "%s", r.code == 0 && found != NULL ? found : "");
    (void)snprintf(err, bytes, "%s%s", r.err, r.code == 0 ? "" : r.out);
    json_decref(plan);
    run_free(&r);
}

static void memory_decides_too(void **state)
{
    (void)state;
    char mode[16], err[4096], last[16] = "single";
    int windows = 0;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* shadow memory takes more addresses than any limit here */
#endif
    plan_under(1, 0, "auto", mode, err, sizeof err);
    assert_string_equal(mode, "single");
    /* From where it is single to where it is refused, in steps of a twentieth. */
    int mib = 2000;
    for (; mib > 100; mib -= mib / 20) {
        plan_under(1, mib, "auto", mode, err, sizeof err);
        if (strcmp(mode, "windows") == 0 && windows++ == 0) {
            if (strstr(err, "2011 frames do not fit in one window (") == NULL ||
                strstr(err, "--mode windows, 90 frames each, 39 shared") == NULL)
                fail_msg("want to be told why, found %s", err);
            char own[16], why[4096];
            plan_under(1, mib, "single", own, why, sizeof why);
            assert_string_equal(own, ""); /* asked for, so refused */
            assert_non_null(strstr(why, "GiB"));
        }
        if (strcmp(mode, "single") == 0)
            assert_string_equal(last, "single"); /* never back */
        (void)snprintf(last, sizeof last, "%s", mode);
        if (mode[0] == '\0')
            break;
    }
    if (windows == 0 || mode[0] != '\0')
        fail_msg("want windows on the way down to %d MiB and a refusal, found %d, '%s': %s", mib,
                 windows, mode, err);
}

static void lengths_decide(void **state)
{
    (void)state;
    static const struct {
        const char *frames, *mode, *says;
    } cases[] = {{"2011", "single", NULL},
                 {"2062", "windows", "longer than the 2011 that the model knows"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        run_result r = run_longtake(&s, 1,
                                    RUN_WORDS("render", "--model", scratch_path(&s, "model"), "-p",
                                              "x", "--frames", cases[i].frames, "--dry-run",
                                              "--json", "-o", scratch_path(&s, "b.mp4")));
        json_t *plan = json_loads(r.out, 0, NULL);
        assert_string_equal(json_string_value(json_object_get(plan, "mode")), cases[i].mode);
        assert_true(cases[i].says == NULL || strstr(r.err, cases[i].says) != NULL);
        json_decref(plan);
        run_free(&r);
    }
}

static int setup(void **state)
{
    (void)scratch_setup(state);
    make_model();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths_decide),
        cmocka_unit_test(memory_decides_too),
    };
    return cmocka_run_group_tests_name("auto_mode", tests, setup, scratch_teardown);
}

/* test_estimate.c - what a plan says of memory, against what the system counted.
 * Goal: peak_bytes of plan.json within 15 % of the largest resident set of a rank, for jobs whose
 * memory goes to different things; what cannot fit is refused before work, with numbers, at once
 * and leaving nothing. Method: renders small jobs alone and on two ranks and reads both numbers
 * from the manifest. Ranks: 1, 2. Needs: models/demo, tests/parity/nano*. Not under a sanitizer:
 * its shadow is no memory of ours. */
#include <sys/resource.h>

#include <jansson.h>

#include "run/state/state_file.h"
#include "tests/support/film.h"
#include "tests/support/the_scratch.h"

#define DEMO LT_SOURCE_DIR "/models/demo"
#define NANO LT_SOURCE_DIR "/tests/parity/nano"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

static const double tolerance = 0.15; /* of the measured peak; what plan.json promises */

/* The manifest's estimate and its largest measured peak. */
static void read_peaks(const char *run, double *estimated, double *measured)
{
    char path[256];
    size_t i = 0;
    json_t *peak = NULL;
    (void)snprintf(path, sizeof path, "%s/manifest.json", run);
    json_t *manifest = json_load_file(path, 0, NULL);
    json_t *memory = json_object_get(manifest, "memory");
    assert_non_null(memory);
    *estimated = (double)json_integer_value(json_object_get(memory, "estimated_peak_bytes"));
    *measured = 0;
    json_array_foreach (json_object_get(memory, "peak_bytes"), i, peak)
        *measured = (double)json_integer_value(peak) > *measured ? (double)json_integer_value(peak)
                                                                 : *measured;
    json_decref(manifest);
    (void)snprintf(path, sizeof path, "%s/plan.json", run);
    json_t *plan = json_load_file(path, 0, NULL);
    json_t *planned = json_object_get(json_object_get(plan, "memory"), "peak_bytes");
    assert_int_equal((int64_t)*estimated, json_integer_value(planned));
    json_decref(plan);
}

static const struct {
    const char *name, *model, *frames, *size, *steps, *codec, *suffix;
    int ranks;
} jobs[] = {
    {"base: program and libraries", DEMO, "5", "64x64", "2", "h264", "mp4", 1},
    {"modulation tables", DEMO, "5", "64x64", "600", "h264", "mp4", 1},
    {"a long film's rows", DEMO, "362", "32x64", "3", "h264", "mp4", 2},
    {"large frames to decode", DEMO, "5", "256x384", "2", "hevc", "mp4", 1},
    {"an encoder with much of its own", DEMO, "22", "192x192", "2", "ffv1", "mkv", 1},
    {"another model, in bf16", NANO "-bf16", "39", "96x64", "3", "prores", "mov", 2},
};

static void peak_is_as_estimated(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++) {
        char out[160], run[160];
        double estimated = 0, measured = 0;
        (void)snprintf(out, sizeof out, "%s/job%zu.%s", s.folder, i, jobs[i].suffix);
        (void)snprintf(run, sizeof run, "%s/job%zu.run", s.folder, i);
        run_well(&s, jobs[i].ranks,
                 RUN_WORDS("render", "--model", jobs[i].model, "-p", "A ball.", "--frames",
                           jobs[i].frames, "--size", jobs[i].size, "--steps", jobs[i].steps,
                           "--codec", jobs[i].codec, "--threads", "2", "-q", "-o", out));
        read_peaks(run, &estimated, &measured);
        const double ratio = estimated / measured;
        print_message("%-32s %d rank%s: estimated %6.1f MiB, measured %6.1f, ratio %.3f\n",
                      jobs[i].name, jobs[i].ranks, jobs[i].ranks == 1 ? " " : "s",
                      estimated / 1048576, measured / 1048576, ratio);
        if (!(ratio >= 1 - tolerance && ratio <= 1 + tolerance))
            fail_msg("%s: estimated %.0f, measured %.0f bytes: ratio %.3f, want 1 +- %.2f",
                     jobs[i].name, estimated, measured, ratio, tolerance);
    }
}

static void what_cannot_fit_is_refused_with_numbers(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    struct rlimit limit;
    char out[160], run[160];
    (void)snprintf(out, sizeof out, "%s/hour.mp4", s.folder);
    (void)snprintf(run, sizeof run, "%s/hour.run", s.folder);
    assert_int_equal(getrlimit(RLIMIT_AS, &limit), 0);
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = (rlim_t)8 << 30; /* so that no machine is large enough */
    assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
    run_result r = run_longtake(&s, 1,
                                RUN_WORDS("render", "--model", DEMO, "-p", "A ball.", "--frames",
                                          "21600", "--size", "1344x768", "-o", out));
    limit.rlim_cur = before;
    assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
    assert_int_equal(r.code, 69);
    if (strstr(r.err, "GiB") == NULL || (strstr(r.err, "ulimit -v leaves this process") == NULL &&
                                         strstr(r.err, "this host has") == NULL))
        fail_msg("want need and room in GiB, found: %s", r.err);
    assert_false(run_exists(out) || run_exists(run));
    run_free(&r);
}

/* As the real job: the same refusals, the same plan; nothing on the disk. */
static void dry_run_makes_nothing(void **state)
{
    (void)state;
    char out[160], run[160];
    (void)snprintf(out, sizeof out, "%s/dry.mp4", s.folder);
    (void)snprintf(run, sizeof run, "%s/dry.run", s.folder);
    for (int ranks = 1; ranks <= 2; ranks++) {
        run_result r =
            run_longtake(&s, ranks,
                         RUN_WORDS("render", "--model", DEMO, "-p", "A ball.", "--frames", "39",
                                   "--size", "64x64", "--dry-run", "--json", "-o", out));
        if (r.code != 0)
            fail_msg("--dry-run on %d ranks: exit code %d: %s", ranks, r.code, r.err);
        json_t *plan = json_loads(r.out, 0, NULL);
        json_t *memory = json_object_get(plan, "memory");
        json_t *time = json_object_get(plan, "estimate");
        assert_string_equal(json_string_value(json_object_get(plan, "format")), "longtake-plan");
        assert_true(json_integer_value(json_object_get(memory, "peak_bytes")) > 1 << 20);
        assert_true(json_real_value(json_object_get(time, "seconds")) > 0);
        assert_true(json_real_value(json_object_get(time, "denoise")) > 0);
        json_decref(plan);
        run_free(&r);
        assert_false(run_exists(out) || run_exists(run));
    }
    run_result r = run_longtake(&s, 1,
                                RUN_WORDS("render", "--model", DEMO, "-p", "A ball.", "--frames",
                                          "39", "--dry-run", "-o", out));
    assert_int_equal(r.code, 0);
    assert_true(strstr(r.out, "memory") != NULL && strstr(r.out, "time    about") != NULL);
    run_free(&r);
    r = run_longtake(&s, 1,
                     RUN_WORDS("render", "--model", DEMO, "-p", "A ball.", "--size", "100x64",
                               "--dry-run", "-o", out));
    assert_int_equal(r.code, 64);
    run_free(&r);
    assert_false(run_exists(out) || run_exists(run));
}

/* A job of hours says so before it begins. */
static void long_jobs_say_how_long(void **state)
{
    (void)state;
    char out[160];
    (void)snprintf(out, sizeof out, "%s/long.mp4", s.folder);
    run_result r =
        run_longtake(&s, 1,
                     RUN_WORDS("render", "--model", DEMO, "-p", "A ball.", "--frames", "2400",
                               "--size", "1024x768", "--dry-run", "--json", "-o", out));
    json_t *plan = json_loads(r.out, 0, NULL);
    json_t *seconds = json_object_get(json_object_get(plan, "estimate"), "seconds");
    if (r.code != 0 || !(json_real_value(seconds) > 3600)) /* hours on any machine: 10^18 flops */
        fail_msg("want hours, found %g s: %s", json_real_value(seconds), r.err);
    assert_non_null(strstr(r.err, "this job takes about"));
    json_decref(plan);
    run_free(&r);
}

/* Two ranks, each a group of windows; rank 1 in this folder. extra: the last word. */
static run_result on_two(const char *folder, const char *output, const char *extra)
{
    char script[300];
    const char *argv[RUN_WORDS_MAX];
    int n = run_launcher(2, argv);
    (void)snprintf(script, sizeof script,
                   "test $OMPI_COMM_WORLD_RANK = 0 || cd '%s'; exec \"$0\" \"$@\"", folder);
    const char *const words[] = {"sh",   "-c",     script,    LT_PROGRAM, "render", "--model",
                                 NANO,   "-p",     "A ball.", "--size",   "64x64",  "--frames",
                                 "141",  "--mode", "windows", "--window", "90",     "--steps",
                                 "3",    "--mesh", "win=2",   "-q",       "--json", "-o",
                                 output, extra};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        argv[n++] = words[i];
    argv[n] = NULL;
    run_result r = run_argv(&s, argv, RUN_LIMIT_S);
    if (r.code != 0)
        fail_msg("exit code %d: %s", r.code, r.err);
    return r;
}

/* Rank 0's buffers while it denoises, of a plan. */
static int64_t host_bytes(const char *folder)
{
    run_result r = on_two(folder, "none.mp4", "--dry-run");
    json_t *plan = json_loads(r.out, 0, NULL);
    const json_t *dit = json_object_get(json_object_get(plan, "memory"), "dit");
    const int64_t bytes = json_integer_value(json_object_get(dit, "host_bytes"));
    json_decref(plan);
    run_free(&r);
    assert_true(bytes > 0);
    return bytes;
}

/* What a rank that does not find RUN sends to rank 0 to be kept: as much as the state file holds
 * that is made of it. */
static void copies_for_others_count(void **state)
{
    (void)state;
    lt_state_reader *reader = NULL;
    char here[4096];
    int64_t wanted = 0;
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(s.folder), 0);
    const int64_t together = host_bytes("."), apart = host_bytes("/");
    run_result r = on_two("/", "sent.mp4", "--no-tags");
    run_free(&r);
    assert_int_equal(lt_state_reader_open("sent.run/state/step-000002.e001.w001.lt", &reader),
                     LT_OK);
    for (int i = 0; i < lt_state_reader_count(reader); i++)
        wanted += lt_state_elements(lt_state_reader_array(reader, i)) * (int64_t)sizeof(float);
    lt_state_reader_close(&reader);
    assert_true(wanted > 0);
    if (apart - together != wanted)
        fail_msg("want %lld bytes more, found %lld", (long long)wanted,
                 (long long)(apart - together));
    assert_int_equal(chdir(here), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(peak_is_as_estimated),
                                       cmocka_unit_test(what_cannot_fit_is_refused_with_numbers),
                                       cmocka_unit_test(dry_run_makes_nothing),
                                       cmocka_unit_test(copies_for_others_count),
                                       cmocka_unit_test(long_jobs_say_how_long)};
    return cmocka_run_group_tests_name("estimate", tests, scratch_setup, scratch_teardown);
}

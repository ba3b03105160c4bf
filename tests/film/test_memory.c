/* test_memory.c - memory and addresses that a job takes.
 * Goal: the peak of `longtake decode` for a clip five times as long grows by less than 5 %, and so
 * does each of two ranks' for a film of 60 s instead of 10, in windows and by extension; a render
 * works under the `ulimit -v` of a cluster's login node. Method: renders two clips, decodes both
 * alone and compares the resident peaks that the system counted; the ranks' are in the manifest;
 * sets RLIMIT_AS for what is started. Ranks: 1 and 2. Needs: mpirun, models/demo. Not under a
 * sanitizer: its shadow is no memory of ours. */
#include <jansson.h>
#include <sys/resource.h>

#include "tests/support/film.h"
#include "tests/support/the_scratch.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

#define DEMO LT_SOURCE_DIR "/models/demo"

/* 17n + 5 frames are 5n + 2 latents and round(40 frames / 24) ticks of audio. */
enum {
    SHORT = 141,
    LONG = 736
}; /* both longer than encoders look ahead and audio needs around it */

static void render(const char *frames, const char *out)
{
    run_well(&s, 1,
             RUN_WORDS("render", "--model", DEMO, "-p", "A ball bounces.", "--size", "64x64",
                       "--frames", frames, "--steps", "2", "-q", "-o", out));
}

static long decode_peak_kib(const char *run, const char *out, int64_t frames)
{
    run_result r = run_longtake(
        &s, 1, RUN_WORDS("decode", run, "-q", "--overwrite", "--threads", "2", "-o", out));
    if (r.code != 0)
        fail_msg("decode: %s", r.err);
    const long peak = r.peak_kib;
    run_free(&r);
    film f = {0};
    film_read(out, &f);
    assert_int_equal(f.frames, frames);
    film_free(&f);
    return peak;
}

static void does_not_grow_with_the_clip(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    char film_a[128], film_b[128], run_a[128], run_b[128], out[128];
    (void)snprintf(film_a, sizeof film_a, "%s/short.mp4", s.folder);
    (void)snprintf(film_b, sizeof film_b, "%s/long.mp4", s.folder);
    (void)snprintf(run_a, sizeof run_a, "%s/short.run", s.folder);
    (void)snprintf(run_b, sizeof run_b, "%s/long.run", s.folder);
    (void)snprintf(out, sizeof out, "%s/out.mp4", s.folder);
    render("141", film_a);
    render("736", film_b);
    const long once = decode_peak_kib(run_a, out, SHORT), ten = decode_peak_kib(run_b, out, LONG);
    print_message("peak: %ld KiB for %d frames, %ld KiB for %d: %+.1f %%\n", once, SHORT, ten, LONG,
                  100.0 * (double)(ten - once) / (double)once);
    if (!((double)ten <= 1.05 * (double)once))
        fail_msg("want at most 5 %% more memory, found %ld KiB after %ld KiB", ten, once);
}

/* The largest resident set of each rank, as the run's manifest has it. */
static void rank_peaks(const char *name, double peak[2])
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s.run/manifest.json", s.folder, name);
    json_t *manifest = json_load_file(path, 0, NULL);
    assert_non_null(manifest);
    const json_t *list = json_object_get(json_object_get(manifest, "memory"), "peak_bytes");
    assert_int_equal(json_array_size(list), 2);
    for (size_t i = 0; i < 2; i++)
        peak[i] = (double)json_integer_value(json_array_get(list, i));
    json_decref(manifest);
}

/* Beside what a rank holds of latents and velocities, nothing grows: two ranks, each with its
 * range. */
static void does_not_grow_with_a_rank_s_film(void **state)
{
    (void)state;
    static const char *const modes[] = {"windows", "extend"};
    if (SANITIZED)
        skip();
    for (size_t m = 0; m < 2; m++) {
        double peak[2][2];
        for (int i = 0; i < 2; i++) {
            static const char *const seconds[] = {"10", "60"};
            static const char *const name[] = {"ten", "sixty"};
            char out[128];
            (void)snprintf(out, sizeof out, "%s/%s.mp4", s.folder, name[i]);
            run_well(&s, 2,
                     RUN_WORDS("render", "--model", DEMO, "-p", "A ball bounces.", "--size",
                               "64x64", "--seconds", seconds[i], "--steps", "2", "--mode", modes[m],
                               "--mesh", "win=2", "--threads", "1", "--overwrite", "-q", "-o",
                               out));
            rank_peaks(name[i], peak[i]);
        }
        for (int r = 0; r < 2; r++) {
            print_message("%s, rank %d: %.1f MB for 10 s, %.1f MB for 60 s: %+.1f %%\n", modes[m],
                          r, peak[0][r] / 1e6, peak[1][r] / 1e6,
                          100 * (peak[1][r] / peak[0][r] - 1));
            if (!(peak[1][r] <= 1.05 * peak[0][r]))
                fail_msg("%s, rank %d: want at most 5 %% more memory, found %.0f bytes after %.0f",
                         modes[m], r, peak[1][r], peak[0][r]);
        }
    }
}

/* What a program may have of addresses from here on; what it could before. */
static rlim_t limit_addresses(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_AS, &limit), 0);
    const rlim_t before = limit.rlim_cur;
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
    return before;
}

static void renders_under_a_limit_of_addresses(void **state)
{
    (void)state;
    if (SANITIZED)
        skip();
    char out[128];
    (void)snprintf(out, sizeof out, "%s/limited.mp4", s.folder);
    const rlim_t before = limit_addresses((rlim_t)4000000 * 1024); /* ulimit -v 4000000 */
    run_result r = run_longtake(&s, 1,
                                RUN_WORDS("render", "--model", DEMO, "-p", "A ball.", "--size",
                                          "64x64", "--frames", "22", "--steps", "2", "--threads",
                                          "2", "-q", "-o", out));
    (void)limit_addresses(before);
    if (r.code != 0)
        fail_msg("under ulimit -v 4000000: exit code %d: %s", r.code, r.err);
    run_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(does_not_grow_with_the_clip),
                                       cmocka_unit_test(does_not_grow_with_a_rank_s_film),
                                       cmocka_unit_test(renders_under_a_limit_of_addresses)};
    return cmocka_run_group_tests_name("memory", tests, scratch_setup, scratch_teardown);
}

/* test_memory.c - decoding takes no more memory for a longer clip.
 * Goal: the peak of `longtake decode` for a clip ten times as long grows by less than 5 %. Method:
 * renders a clip of 46 latents' length, writes its latents ten times over into a second run,
 * decodes both alone and compares the resident peaks that the system counted. Ranks: 1. Needs:
 * models/demo. Not under a sanitizer: its shadow is no memory of ours. */
#include "tests/film/film.h"

#define DEMO LT_SOURCE_DIR "/models/demo"

static scratch s;

static int setup(void **state)
{
    (void)state;
    scratch_new(&s);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_free(&s);
    return 0;
}

/* 17n + 5 frames are 5n + 2 latents and round(40 frames / 24) ticks of sound. */
enum { SHORT = 39, LONG = 396, SIDE = 64 };

static void render(const char *frames, const char *out)
{
    run_well(&s, 1,
             RUN_WORDS("render", "--model", DEMO, "-p", "A ball bounces.", "--size", "64x64",
                       "--frames", frames, "--steps", "2", "-q", "-o", out));
}

static long decode_peak_kib(const char *run, const char *out, int64_t frames)
{
    run_result r = run_longtake(&s, 1, RUN_WORDS("decode", run, "-q", "--threads", "2", "-o", out));
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
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip();
#endif
    char film_a[128], film_b[128], run_a[128], run_b[128], out[128];
    (void)snprintf(film_a, sizeof film_a, "%s/short.mp4", s.folder);
    (void)snprintf(film_b, sizeof film_b, "%s/long.mp4", s.folder);
    (void)snprintf(run_a, sizeof run_a, "%s/short.run", s.folder);
    (void)snprintf(run_b, sizeof run_b, "%s/long.run", s.folder);
    (void)snprintf(out, sizeof out, "%s/out.mp4", s.folder);
    render("39", film_a);
    render("396", film_b);
    const long once = decode_peak_kib(run_a, out, SHORT), ten = decode_peak_kib(run_b, out, LONG);
    print_message("peak: %ld KiB for %d frames, %ld KiB for %d: %+.1f %%\n", once, SHORT, ten, LONG,
                  100.0 * (double)(ten - once) / (double)once);
    if (!((double)ten <= 1.05 * (double)once))
        fail_msg("want at most 5 %% more memory, found %ld KiB after %ld KiB", ten, once);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(does_not_grow_with_the_clip)};
    return cmocka_run_group_tests_name("memory", tests, setup, teardown);
}

/* test_loudness_film.c - --loudness: the finished film has it, as another meter hears it.
 * Goal: integrated loudness within 0.5 LU of what was asked, true peak about -1 dBTP at most, of a
 * render on one and two ranks and of a decode; the frames are the same as without; events and plan
 * tell of it. Method: films of the demo model, measured by FFmpeg's filter ebur128, which shares
 * nothing with ours. Ranks: 1 and 2. Needs: models/demo, the program ffmpeg, libebur128. */
#include <jansson.h>
#include <math.h>

#include "media/loudness.h"
#include "tests/support/run.h"
#include "tests/support/the_scratch.h"

#define PROMPT "A large red rubber ball drops and bounces on a wooden floor under a sunny sky."

/* What FFmpeg's last summary says behind this word. */
static double number_behind(const char *text, const char *word)
{
    const char *at = NULL; /* an earlier one is of a filter that saw nothing yet */
    for (const char *p = strstr(text, "Summary:"); p != NULL; p = strstr(p + 1, "Summary:"))
        at = p;
    at = at != NULL ? strstr(at, word) : NULL;
    if (at == NULL)
        fail_msg("want '%s' in %s", word, text);
    return atof(at + strlen(word));
}

static void want_loudness(const char *film, double lufs)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s", scratch_path(&s, film));
    const char *const argv[] = {
        "ffmpeg", "-hide_banner", "-nostats", "-i", path, "-filter_complex", "ebur128=peak=true",
        "-f",     "null",         "-",        NULL};
    run_result r = run_argv(&s, argv, RUN_LIMIT_S);
    assert_int_equal(r.code, 0);
    const double i = number_behind(r.err, "I:"), peak = number_behind(r.err, "Peak:");
    /* AAC may lift a peak that was limited by some tenths of a dB */
    if (!(fabs(i - lufs) <= 0.5 && peak <= LT_LOUDNESS_PEAK_DB + 1))
        fail_msg("%s: want %g LUFS, found %g, %g dBTP", film, lufs, i, peak);
    run_free(&r);
}

static void films_have_it(void **state)
{
    (void)state;
    if (lt_loudness_library() == NULL) {
        run_result r = run_longtake(&s, 1,
                                    RUN_WORDS("render", "-p", PROMPT, "--loudness", "-16", "-o",
                                              scratch_path(&s, "n.mp4")));
        assert_int_equal(r.code, 69);
        run_free(&r);
        return;
    }
    for (int ranks = 1; ranks <= 2; ranks++) {
        char name[32];
        (void)snprintf(name, sizeof name, "l%d.mp4", ranks);
        run_well(&s, ranks,
                 RUN_WORDS("render", "-p", PROMPT, "--frames", "90", "--loudness", "-16", "-q",
                           "--deterministic", "-o", scratch_path(&s, name)));
        want_loudness(name, -16);
    }
    run_well(&s, 1,
             RUN_WORDS("decode", scratch_path(&s, "l1.run"), "--loudness", "-30", "-q", "-o",
                       scratch_path(&s, "d.mov")));
    want_loudness("d.mov", -30);
    char *text = run_text(scratch_path(&s, "l1.run/events.ndjson"));
    char *told = strstr(text, "{\"event\":\"loudness\"");
    assert_non_null(told);
    json_t *event = json_loads(told, JSON_DISABLE_EOF_CHECK, NULL);
    assert_true(fabs(json_real_value(json_object_get(event, "after")) + 16) < 0.3);
    assert_true(json_real_value(json_object_get(event, "target")) == -16);
    assert_true(json_real_value(json_object_get(event, "true_peak")) < -0.8);
    json_decref(event);
    free(text);
    text = run_text(scratch_path(&s, "l1.run/plan.json"));
    assert_non_null(strstr(text, "\"loudness\": -16.0"));
    free(text);
}

/* A storyboard and chunks that could be decoded beside the denoising: the sound is whole first. */
static void long_films_have_it(void **state)
{
    (void)state;
    if (lt_loudness_library() == NULL)
        return;
    scratch_text(&s, "board.yaml",
                 "shots: [{prompt: " PROMPT ", frames: 56}, {prompt: A blue glass ball drops on a "
                 "stone floor., frames: 39}]\nloudness: -20\n");
    run_well(
        &s, 1,
        RUN_WORDS("render", scratch_path(&s, "board.yaml"), "-q", "-o", scratch_path(&s, "b.mp4")));
    want_loudness("b.mp4", -20);
    run_well(&s, 2,
             RUN_WORDS("render", "-p", PROMPT, "--frames", "141", "--mode", "extend", "--window",
                       "90", "--steps", "5", "--mesh", "win=2", "--loudness", "-23", "-q", "-o",
                       scratch_path(&s, "e.mp4")));
    want_loudness("e.mp4", -23);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(films_have_it),
        cmocka_unit_test(long_films_have_it),
    };
    return cmocka_run_group_tests_name("loudness_film", tests, scratch_setup, scratch_teardown);
}

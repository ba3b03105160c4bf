/* test_mux_choice.c - what codec, container and quality may be asked for.
 * Goal: what doctor lists is just what can be written, whatever FFmpeg is there; a codec's other
 * names and wrong qualities are answered with what there is. Method: every pair is checked by
 * opening its encoders. Ranks: 1. Needs: an FFmpeg with libx264. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "media/mux.h"

/* x265 3.5 forgets some of its parameters at each closing; asked by LeakSanitizer. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libx265"; }

static const lt_mux_spec plain = {.path = "a.mp4",
                                  .codec = "h264",
                                  .width = 128,
                                  .height = 128,
                                  .frames = 5,
                                  .sample_rate = 32000,
                                  .samples = 6667};

static void lists_what_can_be_written(void **state)
{
    (void)state;
    static const char *const paths[] = {"a.mp4", "a.mkv", "a.mov"};
    lt_mux_codec codec[16];
    const size_t count = lt_mux_codecs(codec, 16);
    int good = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < sizeof paths / sizeof *paths; k++) {
            lt_mux_spec spec = plain;
            spec.codec = codec[i].name;
            spec.path = paths[k];
            const int listed = strstr(codec[i].suffixes, paths[k] + 1) != NULL;
            const lt_status st = lt_mux_check(&spec);
            if ((st == LT_OK) != listed)
                fail_msg("%s in %s: listed \"%s\", found %d %s", codec[i].name, paths[k],
                         codec[i].suffixes, st, lt_error_text());
            if (st != LT_OK && codec[i].available) /* the line names what is listed, too */
                assert_non_null(strstr(lt_error_text(), codec[i].suffixes));
            good += st == LT_OK;
        }
    assert_true(good >= 3); /* H.264 is everywhere */
}

static void answers_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *reason, *codec, *preset;
        int crf;
        const char *error, *hint;
    } cases[] = {
        {"another name of hevc", "h265", NULL, 0, "found h265", "--codec hevc"},
        {"an encoder of hevc", "x265", NULL, 0, "found x265", "--codec hevc"},
        {"an encoder of h264", "libx264", NULL, 0, "found libx264", "--codec h264"},
        {"capitals", "AV1", NULL, 0, "found AV1", "--codec av1"},
        {"past the codec's end", "h264", NULL, 52, "--crf: h264 wants 1 to 51", ""},
        {"a preset that there is not", "h264", "quick", 0, "ultrafast superfast", ""},
        {"half a word", "h264", "fas", 0, "--preset: h264 wants one of", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lt_mux_spec spec = plain;
        spec.codec = cases[i].codec;
        spec.preset = cases[i].preset;
        spec.crf = cases[i].crf;
        lt_error_clear();
        const lt_status st = lt_mux_check(&spec);
        if (st != LT_EUSAGE || strstr(lt_error_text(), cases[i].error) == NULL ||
            strstr(lt_hint_text(), cases[i].hint) == NULL)
            fail_msg("%s: found %d %s (%s)", cases[i].reason, st, lt_error_text(), lt_hint_text());
    }
}

/* What has no such knob refuses it; skipped where this FFmpeg lacks the codec. */
static void lossless_has_no_quality(void **state)
{
    (void)state;
    lt_mux_spec spec = plain;
    spec.path = "a.mkv";
    spec.codec = "ffv1";
    if (lt_mux_check(&spec) != LT_OK)
        skip();
    spec.crf = 3;
    assert_int_equal(lt_mux_check(&spec), LT_EUSAGE);
    assert_non_null(strstr(lt_error_text(), "--crf 3: ffv1 has no such setting"));
    spec.crf = 0;
    spec.preset = "fast";
    assert_int_equal(lt_mux_check(&spec), LT_EUSAGE);
    assert_non_null(strstr(lt_error_text(), "--preset fast: ffv1 has no such setting"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_what_can_be_written),
        cmocka_unit_test(answers_what_is_wrong),
        cmocka_unit_test(lossless_has_no_quality),
    };
    return cmocka_run_group_tests_name("mux_choice", tests, NULL, NULL);
}

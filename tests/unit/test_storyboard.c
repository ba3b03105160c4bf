/* test_storyboard.c - a job's `shots:`: its checks, the shots that it makes, plan.json's list.
 * Goal: each field that is missing, of another type or out of its limits is refused by place,
 * entry, field, wanted and found; shots lie at exact frames and samples; the list of plan.json
 * comes back as it was, and one whose numbers contradict each other, or the grid, is refused before
 * anything of their size is made. Method: lists as text. Ranks: 1. Needs: nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/philox.h"
#include "run/shots.h"

enum { FPS = 24, RATE = 32000 };

static const lt_grid h3 = {15, 12, 5, 2, 7, 5, 4, 5, 3};

static json_t *list_of(const char *text)
{
    json_error_t error;
    json_t *list = json_loads(text, 0, &error);
    if (list == NULL)
        fail_msg("%s: %s", text, error.text);
    return list;
}

static lt_status read_list(const char *text, lt_storyboard *out)
{
    json_t *list = list_of(text);
    const lt_status st = lt_storyboard_read(list, "job.yaml:3: shots", FPS, out);
    json_decref(list);
    return st;
}

static void lists_are_read(void **state)
{
    (void)state;
    lt_storyboard b;
    assert_int_equal(read_list("[{\"prompt\": \"a\", \"frames\": 31},"
                               " {\"prompt\": \"b\", \"seconds\": 1.9, \"seed\": 9},"
                               " {\"prompt\": \"c\", \"seconds\": 2, \"transition\": \"blend\"},"
                               " {\"prompt\": \"d\", \"frames\": 1, \"transition\": \"cut\","
                               "  \"seed\": \"18446744073709551615\"}]",
                               &b),
                     LT_OK);
    assert_int_equal(lt_storyboard_place(&b, &h3, FPS, RATE, 5), LT_OK);
    assert_int_equal(b.entries, 4);
    assert_int_equal(b.shots, 3);
    static const struct {
        int64_t first, frames, grid, first_sample;
        int prompts;
    } want[] = {{0, 31, 39, 0, 1}, {31, 94, 107, 41333, 2}, {125, 1, 5, 166667, 1}};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(b.shot[i].frames.first, want[i].first);
        assert_int_equal(b.shot[i].frames.count, want[i].frames);
        assert_int_equal(b.shot[i].samples.first, want[i].first_sample);
        assert_int_equal(b.shot[i].entries, want[i].prompts);
        if (i < 2)
            assert_int_equal(b.shot[i].grid_frames, want[i].grid);
    }
    assert_true(b.shot[0].seed == lt_shot_seed(5, 0) && b.shot[1].seed == 9 &&
                b.shot[2].seed == UINT64_MAX);
    assert_int_equal(lt_storyboard_frames(&b), 126);
    assert_int_equal(lt_storyboard_longest(&b), 107);
    char *prompts = lt_storyboard_prompts(&b);
    assert_string_equal(prompts, "a | b | c | d");
    free(prompts);
    lt_storyboard_free(&b);
}

/* Any lengths: shots follow each other without a gap, in frames and in samples, and end with the
 * film. */
static void cuts_leave_no_gap(void **state)
{
    (void)state;
    static const int rates[] = {8000, 32000, 44100};
    for (int n = 1; n < 200; n++) {
        lt_board_entry entry[5] = {{.frames = n},
                                   {.frames = 1},
                                   {.frames = 3 * n + 1},
                                   {.frames = n, .blends = n % 2},
                                   {.frames = 7}};
        for (int r = 0; r < 3; r++) {
            lt_storyboard b = {.entries = 5, .entry = entry};
            int64_t frames = 0, samples = 0;
            assert_int_equal(lt_storyboard_place(&b, &h3, FPS, rates[r], 0), LT_OK);
            for (int i = 0; i < b.shots; i++) {
                assert_int_equal(b.shot[i].frames.first, frames);
                assert_int_equal(b.shot[i].samples.first, samples);
                assert_true(b.shot[i].grid_frames >= b.shot[i].frames.count);
                frames += b.shot[i].frames.count;
                samples += b.shot[i].samples.count;
            }
            assert_int_equal(frames, lt_storyboard_frames(&b));
            assert_int_equal(samples, lt_samples_of(frames, rates[r], FPS));
            free(b.shot);
        }
    }
}

static const struct {
    const char *list, *says;
} refused[] = {
    {"[]", "shots: want 1 to 256 entries, found 0"},
    {"[3]", "entry 1: want {seconds or frames, prompt, seed, transition}, found 3"},
    {"[{\"prompt\": \"a\", \"frames\": 5, \"colour\": 1}]",
     "entry 1: colour: want seconds, frames, prompt, seed or transition, found another field"},
    {"[{\"prompt\": \"a\"}]", "entry 1: seconds: want seconds or frames, found none"},
    {"[{\"prompt\": \"a\", \"frames\": 0}]", "frames: want an integer from 1 to 86400, found 0"},
    {"[{\"prompt\": \"a\", \"frames\": 5.0}]", "found 5.0"},
    {"[{\"prompt\": \"a\", \"frames\": 86401}]", "found 86401"},
    {"[{\"prompt\": \"a\", \"frames\": 86400}, {\"prompt\": \"a\", \"frames\": 1}]",
     "entry 2: frames: want at most 86400 of all entries, found 86401"},
    {"[{\"prompt\": \"a\", \"seconds\": 0}]",
     "seconds: want a number above 0, up to 3600, found 0"},
    {"[{\"prompt\": \"a\", \"seconds\": 0.001}]", "seconds: want 1 to 86400 frames of 24 a second"},
    {"[{\"prompt\": \"a\", \"seconds\": true}]", "found true"},
    {"[{\"prompt\": \"\\u3000 \", \"frames\": 5}]", "prompt: want some text"},
    {"[{\"prompt\": 3, \"frames\": 5}]", "prompt: want some text, found 3"},
    {"[{\"prompt\": \"a\", \"frames\": 5, \"seed\": -1}]",
     "seed: want an integer from 0 to 2^64 - 1, found -1"},
    {"[{\"prompt\": \"a\", \"frames\": 5, \"seed\": \"random\"}]", "found \"random\""},
    {"[{\"prompt\": \"a\", \"frames\": 5, \"seed\": \"18446744073709551616\"}]",
     "found \"18446744073709551616\""},
    {"[{\"prompt\": \"a\", \"frames\": 5, \"seed\": 1.5}]", "found 1.5"},
    {"[{\"prompt\": \"a\", \"frames\": 5, \"transition\": \"blend\"}]",
     "entry 1: transition: want none or cut: no entry is before it, found \"blend\""},
    {"[{\"prompt\": \"a\", \"frames\": 5, \"transition\": 1}]", "want cut or blend, found 1"},
    {"[{\"prompt\": \"a\", \"frames\": 5},"
     " {\"prompt\": \"a\", \"frames\": 5, \"transition\": \"blend\", \"seed\": 1}]",
     "entry 2: seed: want none in an entry that blends, found 1"},
};

static void wrong_lists_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        lt_storyboard b;
        lt_error_clear();
        const lt_status st = read_list(refused[i].list, &b);
        if (st != LT_EUSAGE || strstr(lt_error_text(), refused[i].says) == NULL ||
            strstr(lt_error_text(), "job.yaml:3: shots: ") == NULL)
            fail_msg("%s: want %s, found %d: %s", refused[i].list, refused[i].says, (int)st,
                     lt_error_text());
        lt_storyboard_free(&b);
    }
}

/* ---- plan.json ---- */

/* The draft's `shots` in a plan of 55 frames: 31, and 24 of two prompts. */
static json_t *plan_of_two(void)
{
    lt_storyboard b;
    assert_int_equal(read_list("[{\"prompt\": \"a\", \"frames\": 31},"
                               " {\"prompt\": \"b\", \"frames\": 10},"
                               " {\"prompt\": \"c\", \"frames\": 14, \"transition\": \"blend\"}]",
                               &b),
                     LT_OK);
    assert_int_equal(lt_storyboard_place(&b, &h3, FPS, RATE, 5), LT_OK);
    b.shot[1].mode = LT_MODE_WINDOWS;
    json_t *plan = json_pack("{s:i, s:o}", "frames", 55, "shots", lt_storyboard_json(&b));
    assert_non_null(plan);
    lt_storyboard_free(&b);
    return plan;
}

static lt_status parse(const json_t *plan, lt_storyboard *out)
{
    const lt_json_at root = lt_json_root(plan, "latents.h5");
    LT_TRY(lt_storyboard_parse(&root, out));
    return lt_storyboard_check(out, &h3, FPS, RATE, LT_MODE_WINDOWS, "latents.h5");
}

static void the_list_comes_back(void **state)
{
    (void)state;
    json_t *plan = plan_of_two();
    lt_storyboard b;
    assert_int_equal(parse(plan, &b), LT_OK);
    json_t *again = lt_storyboard_json(&b);
    assert_true(json_equal(again, json_object_get(plan, "shots")));
    json_decref(again);
    lt_storyboard_free(&b);
    json_object_del(plan, "shots"); /* a film without */
    assert_int_equal(parse(plan, &b), LT_OK);
    assert_int_equal(b.shots, 0);
    assert_null(lt_storyboard_json(&b));
    json_decref(plan);
}

static const struct {
    const char *why;
    int shot, prompt; /* -1: of the shot */
    const char *key, *value, *says;
} spoiled[] = {
    {"a gap", 1, -1, "first_frame", "32", "shots[1].first_frame"},
    {"an overlap", 1, -1, "first_frame", "30", "shots[1].first_frame"},
    {"no frames", 0, -1, "frames", "0", "shots[0].frames"},
    {"more frames than an hour", 0, -1, "frames", "86401", "shots[0].frames"},
    {"frames that its prompts lack", 1, -1, "frames", "25", "want prompts of 25 frames, found 24"},
    {"a grid that is none", 0, -1, "grid_frames", "56", "shots[0].grid_frames: want 39 for 31"},
    {"a huge grid", 0, -1, "grid_frames", "9223372036854775807", "shots[0].grid_frames"},
    {"samples of another rate", 1, -1, "samples", "8000", "shots[1].samples: want 32000"},
    {"samples elsewhere", 1, -1, "first_sample", "41334", "want 32000 from 41333 on"},
    {"an unknown mode", 0, -1, "mode", "\"loop\"", "shots[0].mode"},
    {"a mode of another film", 0, -1, "mode", "\"extend\"",
     "shots[0].mode: want the film's, windows, found extend"},
    {"a seed below 0", 0, -1, "seed", "-1", "shots[0].seed"},
    {"no prompts", 0, -1, "prompts", "[]", "shots[0].prompts"},
    {"a prompt that is no text", 1, 1, "prompt", "1", "shots[1].prompts[1].prompt"},
    {"a prompt elsewhere", 1, 1, "first_frame", "40", "shots[1].prompts[1].first_frame"},
    {"a prompt longer than its shot", 1, 0, "frames", "25", "shots[1].prompts[0].frames"},
};

static void lists_that_contradict_themselves_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof spoiled / sizeof *spoiled; i++) {
        json_t *plan = plan_of_two();
        json_t *at = json_array_get(json_object_get(plan, "shots"), (size_t)spoiled[i].shot);
        if (spoiled[i].prompt >= 0)
            at = json_array_get(json_object_get(at, "prompts"), (size_t)spoiled[i].prompt);
        assert_non_null(json_object_get(at, spoiled[i].key)); /* a case must not die with its key */
        json_object_set_new(at, spoiled[i].key,
                            json_loads(spoiled[i].value, JSON_DECODE_ANY, NULL));
        lt_storyboard b;
        lt_error_clear();
        const lt_status st = parse(plan, &b);
        if (st != LT_EDATA || strstr(lt_error_text(), spoiled[i].says) == NULL)
            fail_msg("%s: want %s, found %d: %s", spoiled[i].why, spoiled[i].says, (int)st,
                     lt_error_text());
        lt_storyboard_free(&b);
        json_decref(plan);
    }
}

static void more_than_a_film_has_is_refused(void **state)
{
    (void)state;
    lt_storyboard b;
    json_t *plan = plan_of_two();
    json_object_set_new(plan, "frames", json_integer(54));
    assert_int_equal(parse(plan, &b), LT_EDATA);
    lt_storyboard_free(&b);
    json_t *list = json_object_get(plan, "shots");
    for (int i = 0; i < LT_SHOTS_MAX; i++)
        json_array_append(list, json_array_get(list, 0));
    assert_int_equal(parse(plan, &b), LT_EDATA);
    assert_non_null(strstr(lt_error_text(), "want a list of 1 to 256, found 258"));
    lt_storyboard_free(&b);
    json_decref(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_are_read),
        cmocka_unit_test(cuts_leave_no_gap),
        cmocka_unit_test(wrong_lists_are_refused),
        cmocka_unit_test(the_list_comes_back),
        cmocka_unit_test(lists_that_contradict_themselves_are_refused),
        cmocka_unit_test(more_than_a_film_has_is_refused),
    };
    return cmocka_run_group_tests_name("storyboard", tests, NULL, NULL);
}

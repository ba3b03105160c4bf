/* test_plan_json.c - a plan as text, and back.
 * Goal: what is written is read as it was; each key that is missing, of another type or out of its
 * limits is refused by file, key, wanted and found; keys that older plans lack mean what they
 * meant. Method: one plan with a value of its own in every field; its text, changed key by key.
 * Ranks: 1. Needs: nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "run/plan_json.h"

static const lt_plan draft = {.model = "models/a b",
                              .prompt = "A b\xc3\xa4ll.",
                              .output = "out.mkv",
                              .run = "\xff.run", /* no UTF-8: a path may be any bytes */
                              .shape = {22, 64, 32},
                              .frames = 20,
                              .samples = 26667,
                              .fps = 24,
                              .sample_rate = 32000,
                              .steps = 3,
                              .evaluations = 2,
                              .threads = 2,
                              .seed = UINT64_MAX,
                              .mesh = {{1, 1, 2, 3, 1}},
                              .placement = LT_PLACEMENT_RANKS,
                              .decode_tp = 2,
                              .attention = LT_ATTENTION_2D,
                              .deterministic = 1,
                              .dtype = LT_BF16,
                              .device = "ref",
                              .codec = "ffv1",
                              .suffix = "mkv",
                              .preset = "slow",
                              .crf = 7};

static char *text_of(const lt_plan *plan, const lt_plan_found *found)
{
    char *text = NULL;
    assert_int_equal(lt_plan_to_text(plan, found, &text), LT_OK);
    return text;
}

static void same(const lt_plan *a, const lt_plan *b)
{
    assert_string_equal(a->model, b->model);
    assert_string_equal(a->prompt, b->prompt);
    assert_string_equal(a->output, b->output);
    assert_string_equal(a->run, b->run);
    assert_memory_equal(&a->shape, &b->shape, sizeof a->shape);
    assert_int_equal(a->frames, b->frames);
    assert_int_equal(a->samples, b->samples);
    assert_int_equal(a->fps, b->fps);
    assert_int_equal(a->sample_rate, b->sample_rate);
    assert_int_equal(a->steps, b->steps);
    assert_int_equal(a->evaluations, b->evaluations);
    assert_int_equal(a->threads, b->threads);
    assert_true(a->seed == b->seed);
    assert_memory_equal(&a->mesh, &b->mesh, sizeof a->mesh);
    assert_int_equal(a->placement, b->placement);
    assert_int_equal(a->decode_tp, b->decode_tp);
    assert_int_equal(a->attention, b->attention);
    assert_int_equal(a->deterministic, b->deterministic);
    assert_int_equal(a->dtype, b->dtype);
    assert_string_equal(a->device, b->device);
    assert_string_equal(a->codec, b->codec);
    assert_string_equal(a->suffix, b->suffix);
    assert_string_equal(a->preset, b->preset);
    assert_int_equal(a->crf, b->crf);
}

static void comes_back_as_it_was(void **state)
{
    (void)state;
    lt_plan back;
    char *text = text_of(&draft, NULL);
    assert_int_equal(lt_plan_from_json(text, strlen(text), &back), LT_OK);
    same(&draft, &back);
    assert_string_equal(back.text, text);
    free(text);
    text = text_of(&back, NULL); /* written again: the same bytes */
    assert_string_equal(back.text, text);
    free(text);
    lt_plan_free(&back);
}

/* What the ranks found is for readers: it is in the text. A plan that is read has its threads. */
static void holds_what_was_found(void **state)
{
    (void)state;
    static const int order[6] = {0, 2, 4, 1, 3, 5};
    const lt_footprint footprint = {.memory = {[LT_PHASE_DIT] = {.phase_bytes = 11}},
                                    .flops = {[LT_TIME_DENOISE] = 5e9, [LT_TIME_AUDIO] = 1},
                                    .seconds = {1, 2, 3, 4}};
    const lt_plan_found found = {
        .threads = 5, .order = order, .footprint = &footprint, .peak_bytes = 99};
    lt_plan back;
    json_t *json = NULL;
    char *text = text_of(&draft, &found);
    assert_int_equal(lt_plan_from_json(text, strlen(text), &back), LT_OK);
    assert_int_equal(back.threads, 5);
    assert_int_equal(lt_json_parse(text, strlen(text), "plan", &json), LT_OK);
    json_t *memory = json_object_get(json, "memory"), *dit = json_object_get(memory, "dit");
    assert_int_equal(json_integer_value(json_object_get(memory, "peak_bytes")), 99);
    assert_int_equal(json_integer_value(json_object_get(dit, "phase_bytes")), 11);
    assert_true(json_real_value(json_object_get(dit, "flops")) == 5e9);
    json_t *seconds = json_object_get(json_object_get(json, "estimate"), "seconds");
    assert_true(json_real_value(seconds) == 10);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(json, "order"), 1)), 2);
    json_decref(json);
    free(text);
    lt_plan_free(&back);
}

/* The draft's text with one key's value replaced (value in JSON; NULL: without the key), read. */
static lt_status read_with(const char *key, const char *value, lt_plan *out)
{
    json_t *json = NULL;
    char *text = text_of(&draft, NULL);
    assert_int_equal(lt_json_parse(text, strlen(text), "plan", &json), LT_OK);
    free(text);
    assert_non_null(json_object_get(json, key)); /* a case must not die with its key */
    if (value == NULL)
        assert_int_equal(json_object_del(json, key), 0);
    else
        assert_int_equal(json_object_set_new(json, key, json_loads(value, JSON_DECODE_ANY, NULL)),
                         0);
    text = json_dumps(json, 0);
    json_decref(json);
    assert_non_null(text);
    const lt_status st = lt_plan_from_json(text, strlen(text), out);
    free(text);
    return st;
}

static void wrong_values_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value, *says; /* value NULL: the key is left out */
    } cases[] = {
        {"model", "1", "model"},
        {"prompt", NULL, "prompt"},
        {"output", "null", "output"},
        {"run", "[]", "run"},
        {"frames", "0", "1 to 86400"},
        {"frames", "86401", "1 to 86400"},
        {"frames", "1.5", "frames"},
        {"grid_frames", "172801", "1 to 172800"},
        {"samples", "-1", "samples"},
        {"width", "65537", "1 to 65536"},
        {"height", "0", "1 to 65536"},
        {"fps", "1001", "1 to 1000"},
        {"sample_rate", "0", "1 to 1000000"},
        {"steps", "1", "2 to 100000"},
        {"steps", NULL, "steps"},
        {"threads", "4097", "0 to 4096"},
        {"seed", "-1", "seed"},
        {"seed", "\"18446744073709551616\"", "seed"},
        {"mesh", "\"uly=0\"", "uly"},
        {"mesh", "7", "mesh"},
        {"decode_tp", "0", "1 to 65536"},
        {"attention", "3", "attention"},
        {"attention", "\"12345678\"", "fewer than 8 bytes"},
        {"attention", "\"tree\"", "want auto, ring or 2d, found 'tree'"},
        {"attention", "\"\"", "want auto, ring or 2d, found ''"},
        {"deterministic", "1", "deterministic"},
        {"dtype", NULL, "dtype"},
        {"dtype", "\"float16x\"", "fewer than 8 bytes"},
        {"dtype", "\"f16\"", "want f32 or bf16, found 'f16'"},
        {"device", "\"0123456789abcdef\"", "fewer than 16 bytes"},
        {"codec", "{}", "codec"},
        {"suffix", "\"12345678\"", "fewer than 8 bytes"},
        {"preset", "\"0123456789abcdef\"", "fewer than 16 bytes"},
        {"crf", "64", "1 to 63"},
        {"placement", "\"nowhere!\"", "fewer than 8 bytes"},
        {"placement", "\"racks\"", "want nodes or ranks, found 'racks'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lt_plan plan;
        const lt_status st = read_with(cases[i].key, cases[i].value, &plan);
        const char *text = lt_error_text();
        const int is_mesh = strcmp(cases[i].says, "uly") == 0; /* --mesh's own words */
        if (st != (is_mesh ? LT_EUSAGE : LT_EDATA) || strstr(text, cases[i].says) == NULL ||
            (!is_mesh && strstr(text, cases[i].key) == NULL))
            fail_msg("%s = %s: want '%s', found %d: %s", cases[i].key,
                     cases[i].value != NULL ? cases[i].value : "(none)", cases[i].says, (int)st,
                     text);
        lt_plan_free(&plan);
    }
}

static void older_plans_mean_what_they_meant(void **state)
{
    (void)state;
    static const char *const keys[] = {"decode_tp",     "attention", "placement",
                                       "deterministic", "crf",       "preset"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        for (int is_null = 0; is_null < 2; is_null++) {
            lt_plan plan, want = draft;
            want.decode_tp = i == 0 ? 1 : want.decode_tp;
            want.attention = i == 1 ? LT_ATTENTION_AUTO : want.attention;
            want.placement = i == 2 ? LT_PLACEMENT_NODES : want.placement;
            want.deterministic = i == 3 ? 0 : want.deterministic;
            want.crf = i == 4 ? 0 : want.crf;
            want.preset[0] = i == 5 ? '\0' : want.preset[0];
            assert_int_equal(read_with(keys[i], is_null ? "null" : NULL, &plan), LT_OK);
            same(&want, &plan);
            lt_plan_free(&plan);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(comes_back_as_it_was),
                                       cmocka_unit_test(holds_what_was_found),
                                       cmocka_unit_test(wrong_values_are_refused),
                                       cmocka_unit_test(older_plans_mean_what_they_meant)};
    return cmocka_run_group_tests_name("plan_json", tests, NULL, NULL);
}

/* test_inspect.c - what inspect says of models, parts and files, whole and damaged.
 * Goal: the config's list of tensors is the published one, to the byte; what is absent is told,
 * what is wrong fails. Method: the published configs and indexes (skipped where ../shared isn't
 * there), the demo model, the nano checkpoints, and copies of a part with one fault each. Ranks: 1.
 * Needs: models/demo, tests/parity. */
#include "tests/support/scratch.h"

#include "base/file.h"
#include "base/json.h"
#include "cmd/inspect_report.h"
#include "model/h3/tensors.h"

#define SHARED LT_SOURCE_DIR "/../shared/h3-config/"
#define NANO   LT_SOURCE_DIR "/tests/parity/nano"

static json_t *inspected(const char *path, lt_status want)
{
    json_t *report = NULL;
    lt_error_clear();
    const lt_status st = lt_inspect(path, NULL, &report);
    if (st != want)
        fail_msg("%s: want %s, found %s: %s", path, lt_status_name(want), lt_status_name(st),
                 lt_error_text());
    return report;
}

static const json_t *part_of(const json_t *report, const char *name)
{
    size_t i;
    json_t *part;
    json_array_foreach (json_object_get(report, "parts"), i, part)
        if (strcmp(json_string_value(json_object_get(part, "name")), name) == 0)
            return part;
    fail_msg("no part %s", name);
    return NULL;
}

static int64_t int_at(const json_t *object, const char *key)
{
    if (!json_is_integer(json_object_get(object, key)))
        fail_msg("%s isn't an integer", key);
    return json_integer_value(json_object_get(object, key));
}

/* ---- the config's list ---- */

/* Bytes as released: bf16 but for 12 tensors of the DiT; the VAEs f32 (spec 1.3). */
typedef struct sum {
    int64_t tensors, bytes;
    int element_bytes, dit;
} sum;

static lt_status add(void *ctx, const lt_wanted *wanted)
{
    static const char *const f32[] = {"proj_in.", "audio_proj_in.", "time_embedder.", "proj_out.",
                                      "audio_proj_out."};
    sum *s = ctx;
    int64_t bytes = s->element_bytes;
    for (size_t i = 0; s->dit && i < sizeof f32 / sizeof *f32; i++)
        if (strncmp(wanted->name, f32[i], strlen(f32[i])) == 0)
            bytes = 4;
    for (int i = 0; i < wanted->dims.ndim; i++)
        bytes *= wanted->dims.dim[i];
    s->tensors++;
    s->bytes += bytes;
    return LT_OK;
}

static const struct {
    const char *folder;
    const lt_part_kind *part;
    int element_bytes;
    int64_t tensors, bytes; /* of the published index */
} released[] = {
    {"diffusers/transformer", &lt_h3_part_dit, 2, 638, 66280430080},
    {"FL2VA/transformer", &lt_h3_part_dit, 2, 638, 66280430080},
    {"diffusers/text_encoder", &lt_h3_part_text, 2, 1058, 66714780128},
    {"diffusers/vae", &lt_h3_part_video, 4, 703, 10415475936},
    {"FL2VA/video_vae", &lt_h3_part_video, 4, 703, 10415475936},
};

static void lists_are_the_released_ones(void **state)
{
    (void)state;
    if (!lt_file_is_dir(SHARED)) {
        print_message("skipped: no %s\n", SHARED);
        skip();
    }
    for (size_t i = 0; i < sizeof released / sizeof *released; i++) {
        char path[512];
        sum s = {.element_bytes = released[i].element_bytes,
                 .dit = released[i].part == &lt_h3_part_dit};
        (void)snprintf(path, sizeof path, SHARED "%s", released[i].folder);
        if (released[i].part->tensors(path, add, &s) != LT_OK)
            fail_msg("%s", lt_error_text());
        if (s.tensors != released[i].tensors || s.bytes != released[i].bytes)
            fail_msg("%s: want %lld tensors of %lld bytes, found %lld of %lld", released[i].folder,
                     (long long)released[i].tensors, (long long)released[i].bytes,
                     (long long)s.tensors, (long long)s.bytes);
    }
}

/* Configs and indexes without weights: every tensor accounted for, every shard told as missing. */
static void released_folders_without_weights(void **state)
{
    (void)state;
    static const struct {
        const char *folder, *layout, *part;
        int64_t shards, bytes;
    } cases[] = {
        {SHARED "diffusers", "diffusers", "transformer", 14, 66280430080},
        {SHARED "diffusers", "diffusers", "text_encoder", 14, 66714780128},
        {SHARED "diffusers", "diffusers", "vae", 3, 10415475936},
        {SHARED "FL2VA", "original", "transformer", 13, 66280430144},
    };
    if (!lt_file_is_dir(SHARED)) {
        print_message("skipped: no %s\n", SHARED);
        skip();
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *report = inspected(cases[i].folder, LT_OK);
        const json_t *part = part_of(report, cases[i].part);
        const json_t *weights = json_object_get(part, "weights"),
                     *tensors = json_object_get(part, "tensors");
        assert_string_equal(json_string_value(json_object_get(report, "layout")), cases[i].layout);
        assert_true(json_is_false(json_object_get(report, "complete")));
        assert_int_equal(int_at(json_object_get(weights, "shards"), "wanted"), cases[i].shards);
        assert_int_equal(int_at(json_object_get(weights, "shards"), "present"), 0);
        assert_int_equal(int_at(weights, "bytes"), cases[i].bytes);
        assert_int_equal(int_at(tensors, "missing_count"), 0);
        assert_int_equal(int_at(tensors, "unexpected_count"), 0);
        json_decref(report);
    }
}

/* ---- whole models ---- */

static void demo_is_complete(void **state)
{
    (void)state;
    json_t *report = inspected(LT_SOURCE_DIR "/models/demo", LT_OK);
    size_t i;
    json_t *part;
    assert_string_equal(json_string_value(json_object_get(report, "kind")), "model");
    assert_true(json_is_true(json_object_get(report, "complete")));
    json_array_foreach (json_object_get(report, "parts"), i, part)
        if (json_array_size(json_object_get(part, "problems")) != 0)
            fail_msg("%s", json_string_value(json_array_get(json_object_get(part, "problems"), 0)));
    const json_t *dtypes =
        json_object_get(json_object_get(part_of(report, "transformer"), "weights"), "dtypes");
    assert_int_equal(int_at(json_object_get(dtypes, "F32"), "tensors"), 12);
    json_decref(report);
}

static void nano_in_both_layouts(void **state)
{
    (void)state;
    static const char *const plain[] = {"transformer", "text_encoder", "vae", "audio_vae"};
    static const char *const original[] = {"transformer", "video_vae"};
    json_t *a = inspected(NANO, LT_OK), *b = inspected(NANO "-original", LT_OK);
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        assert_int_equal(json_array_size(json_object_get(part_of(a, plain[i]), "problems")), 0);
    for (size_t i = 0; i < sizeof original / sizeof *original; i++)
        assert_int_equal(json_array_size(json_object_get(part_of(b, original[i]), "problems")), 0);
    assert_string_equal(json_string_value(json_object_get(b, "layout")), "original");
    json_decref(a);
    json_decref(b);
}

/* ---- one part, with one fault ---- */

static void copy(const scratch *s, const char *from, const char *to)
{
    char *data = NULL;
    size_t bytes = 0;
    if (lt_file_read(from, 1 << 24, &data, &bytes) != LT_OK)
        fail_msg("%s", lt_error_text());
    scratch_write(s, to, data, bytes);
    free(data);
}

static void replace_in(const scratch *s, const char *name, const char *from, const char *to)
{
    char *data = NULL, *changed = NULL;
    size_t bytes = 0;
    assert_int_equal(lt_file_read(scratch_path(s, name), 1 << 24, &data, &bytes), LT_OK);
    const char *hit = strstr(data, from);
    assert_non_null(hit);
    changed = malloc(bytes + strlen(to) + 1);
    assert_non_null(changed);
    const int n = snprintf(changed, bytes + strlen(to) + 1, "%.*s%s%s", (int)(hit - data), data, to,
                           hit + strlen(from));
    scratch_write(s, name, changed, (size_t)n);
    free(changed);
    free(data);
}

static const struct {
    const char *name;      /* why */
    const char *from, *to; /* in config.json */
    const char *absent;    /* a file that isn't copied */
    int cut;               /* the second shard loses its end */
    lt_status want;
    const char *words; /* of the first problem */
} faults[] = {
    {"nothing", NULL, NULL, NULL, 0, LT_OK, NULL},
    {"another width", "\"ffn_dim\": 44", "\"ffn_dim\": 48", NULL, 0, LT_EDATA, "misshapen tensor"},
    {"one layer more", "\"num_layers\": 3", "\"num_layers\": 4", NULL, 0, LT_EDATA,
     "missing tensor transformer_blocks.3.attn.to_q.weight"},
    {"one layer less", "\"num_layers\": 3", "\"num_layers\": 2", NULL, 0, LT_EDATA,
     "unexpected tensor transformer_blocks.2"},
    {"two billion layers", "\"num_layers\": 3", "\"num_layers\": 2000000000", NULL, 0, LT_EDATA,
     "num_layers"},
    {"a shard missing", NULL, NULL, "diffusion_pytorch_model-00002-of-00003.safetensors", 0, LT_OK,
     "1 of 3 shards are missing"},
    {"the index missing", NULL, NULL, "diffusion_pytorch_model.safetensors.index.json", 0, LT_OK,
     "index"},
    {"a shard cut short", NULL, NULL, NULL, 1, LT_EDATA, "cut short"},
};

static void parts_with_a_fault(void **state)
{
    (void)state;
    static const char *const files[] = {"config.json",
                                        "diffusion_pytorch_model.safetensors.index.json",
                                        "diffusion_pytorch_model-00001-of-00003.safetensors",
                                        "diffusion_pytorch_model-00002-of-00003.safetensors",
                                        "diffusion_pytorch_model-00003-of-00003.safetensors"};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        scratch s;
        scratch_new(&s);
        for (size_t k = 0; k < sizeof files / sizeof *files; k++) {
            char from[512];
            (void)snprintf(from, sizeof from, NANO "/transformer/%s", files[k]);
            if (faults[i].absent == NULL || strcmp(files[k], faults[i].absent) != 0)
                copy(&s, from, files[k]);
        }
        if (faults[i].from != NULL)
            replace_in(&s, "config.json", faults[i].from, faults[i].to);
        if (faults[i].cut)
            assert_int_equal(truncate(scratch_path(&s, files[3]), 60000), 0);
        json_t *report = inspected(s.folder, faults[i].want);
        const json_t *problems = json_object_get(part_of(report, "part"), "problems");
        const char *first = json_string_value(json_array_get(problems, 0));
        if ((faults[i].words == NULL) != (first == NULL) ||
            (first != NULL && strstr(first, faults[i].words) == NULL))
            fail_msg("%s: want \"%s\", found \"%s\"", faults[i].name,
                     faults[i].words != NULL ? faults[i].words : "none",
                     first != NULL ? first : "none");
        if (faults[i].want != LT_OK && strcmp(lt_error_text(), first) != 0)
            fail_msg("%s: the error isn't the first problem: %s", faults[i].name, lt_error_text());
        json_decref(report);
        scratch_free(&s);
    }
}

/* ---- other paths ---- */

static void other_kinds(void **state)
{
    (void)state;
    scratch s;
    const char data[8] = {0};
    scratch_new(&s);
    assert_null(inspected(scratch_path(&s, "absent"), LT_ENOINPUT));
    assert_null(inspected(s.folder, LT_EDATA));
    scratch_text(&s, "x.txt", "not a model");
    assert_null(inspected(scratch_path(&s, "x.txt"), LT_EDATA));
    scratch_safetensors(&s, "x.safetensors", -1,
                        "{\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", data,
                        8);
    json_t *report = inspected(scratch_path(&s, "x.safetensors"), LT_OK);
    const json_t *one = json_array_get(json_object_get(report, "tensors"), 0);
    assert_string_equal(json_string_value(json_object_get(one, "name")), "w");
    assert_int_equal(int_at(json_object_get(report, "weights"), "parameters"), 2);
    json_decref(report);
    scratch_text(&s, "job.yaml", "prompt: x\n");
    report = inspected(s.folder, LT_OK);
    assert_string_equal(json_string_value(json_object_get(report, "kind")), "run");
    json_decref(report);
    report = inspected(NANO "/tokenizer", LT_OK);
    assert_string_equal(json_string_value(json_object_get(part_of(report, "tokenizer"), "class")),
                        "tokenizer");
    json_decref(report);
    scratch_free(&s);
}

/* The text form: one heading, each part, no line without its end. */
static void text_form(void **state)
{
    (void)state;
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);
    assert_non_null(to);
    assert_int_equal(lt_inspect(LT_SOURCE_DIR "/models/demo", to, NULL), LT_OK);
    assert_int_equal(fclose(to), 0);
    assert_non_null(strstr(text, "MiniMax-H3 model folder, diffusers layout\n"));
    assert_non_null(strstr(text, "  audio_vae: AutoencoderKLMiniMaxH3Audio\n"));
    assert_non_null(strstr(text, "F32 (12), BF16 (122)\n"));
    assert_non_null(strstr(text, "  complete\n"));
    assert_int_equal(text[bytes - 1], '\n');
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_are_the_released_ones),
        cmocka_unit_test(released_folders_without_weights),
        cmocka_unit_test(demo_is_complete),
        cmocka_unit_test(nano_in_both_layouts),
        cmocka_unit_test(parts_with_a_fault),
        cmocka_unit_test(other_kinds),
        cmocka_unit_test(text_form),
    };
    return cmocka_run_group_tests_name("inspect", tests, NULL, NULL);
}

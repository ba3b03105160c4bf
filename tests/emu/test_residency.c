/* test_residency.c - films whose weights do not fit into a device's memory.
 * Goal: a film of a nano H3 whose DiT has so many layers that they outgrow the rest has the bits of
 * the one with all layers in memory where the device has less: layers that take turns come out of
 * pinned memory, or are gathered from the ranks of ring and uly, over NCCL's stand-in and staged;
 * where not even that fits it is refused with numbers, before work. What the plan says of the
 * device's memory is what the stand-in's device has to have: it gives no byte more. Method:
 * program.h; plan.json's device_bytes tells the next film's memory. Ranks: mpirun with 1 and 2.
 * Needs: mpirun, tests/parity.
 */
#include <jansson.h>

#include "model/files/checkpoint.h"
#include "tests/support/film.h"

#include "tests/emu/program.h" /* the scratch's name comes behind film.h */

#define NANO LT_SOURCE_DIR "/tests/parity/nano"

enum { LAYERS_OF_NANO = 3, LAYERS = 24 };

/* ---- the model: nano's layers again and again ---- */

static void link_part(const char *name)
{
    char from[512], to[512];
    (void)snprintf(from, sizeof from, NANO "/%s", name);
    (void)snprintf(to, sizeof to, "%s/deep/%s", s.folder, name);
    assert_int_equal(symlink(from, to), 0);
}

static void write_config(void)
{
    static const char few[] = "\"num_layers\": 3,";
    size_t bytes = 0;
    char *text = program_file(NANO "/transformer/config.json", &bytes), *more = NULL;
    char *at = strstr(text, few);
    assert_non_null(at);
    *at = '\0';
    const int n =
        asprintf(&more, "%s\"num_layers\": %d,%s", text, (int)LAYERS, at + sizeof few - 1);
    assert_true(n > 0);
    scratch_write(&s, "deep/transformer/config.json", more, (size_t)n);
    free(more);
    free(text);
}

/* The tensor under another name. */
static lt_tensor copy_of(lt_checkpoint *file, const lt_tensor_info *info, char *name)
{
    lt_dims dims = {.ndim = info->ndim};
    size_t count = 1;
    for (int i = 0; i < info->ndim; i++)
        count *= (size_t)(dims.dim[i] = info->dim[i]);
    float *data = calloc(count, sizeof *data);
    assert_non_null(data);
    assert_int_equal(lt_checkpoint_read(file, info->name, dims, lt_slice_whole(dims), LT_F32, data),
                     LT_OK);
    return lt_tensor_wrap(data, name, LT_F32, dims);
}

static void write_layers(void)
{
    enum { TENSORS_MAX = 64 * LAYERS };
    static lt_tensor tensor[TENSORS_MAX];
    static char name[TENSORS_MAX][96];
    lt_checkpoint *file = NULL;
    int count = 0;
    assert_int_equal(lt_checkpoint_open(NANO "/transformer", NULL, &file), LT_OK);
    for (int64_t i = 0; i < lt_checkpoint_count(file); i++) {
        const lt_tensor_info info = lt_checkpoint_at(file, i);
        int layer = -1, rest = 0;
        const int is_layer =
            sscanf(info.name, "transformer_blocks.%d.%n", &layer, &rest) == 1 && rest > 0;
        for (int k = is_layer ? layer : 0; k < (is_layer ? LAYERS : 1); k += LAYERS_OF_NANO) {
            assert_true(count < TENSORS_MAX);
            if (is_layer)
                (void)snprintf(name[count], sizeof name[count], "transformer_blocks.%d.%s", k,
                               info.name + rest);
            else
                (void)snprintf(name[count], sizeof name[count], "%s", info.name);
            tensor[count] = copy_of(file, &info, name[count]);
            count++;
        }
    }
    lt_checkpoint_close(&file);
    assert_int_equal(lt_safetensors_write(
                         scratch_path(&s, "deep/transformer/diffusion_pytorch_model.safetensors"),
                         tensor, count, LT_KEEP),
                     LT_OK);
    for (int i = 0; i < count; i++)
        free(tensor[i].data);
}

static int deep_setup(void **state)
{
    static const char *const parts[] = {"audio_scheduler",
                                        "audio_vae",
                                        "model_index.json",
                                        "modular_model_index.json",
                                        "processor",
                                        "scheduler",
                                        "text_encoder",
                                        "tokenizer",
                                        "vae"};
    if (program_setup(state) != 0)
        return -1;
    scratch_folder(&s, "deep");
    scratch_folder(&s, "deep/transformer");
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        link_part(parts[i]);
    write_config();
    write_layers();
    return 0;
}

/* ---- films ---- */

/* memory: bytes of each device, 0: plenty. */
static run_result render(const char *name, const char *mesh, int devices, int64_t memory,
                         const char *layers, int is_whole)
{
    char output[512], model[512], bytes[32];
    const program_how how = {strcmp(mesh, "win=1") == 0 ? 1 : 2, devices, "3",
                             memory > 0 ? bytes : NULL};
    (void)snprintf(bytes, sizeof bytes, "%lldB", (long long)memory);
    (void)snprintf(output, sizeof output, "%s/%s.mkv", s.folder, name);
    (void)snprintf(model, sizeof model, "%s/deep", s.folder);
    if (!is_whole) /* ends once the latents are whole */
        (void)setenv("LONGTAKE_FAULT", "0:sound:error", 1);
    run_result r = program_run(
        &how, RUN_WORDS("render", "-p", "A ball.", "--frames", "5", "--size", "32x32", "--steps",
                        "3", "--dtype", "f32", "--no-tags", "--codec", "ffv1", "--model", model,
                        "--mesh", mesh, "--device", "cuda", "-o", output,
                        layers != NULL ? "--resident-layers" : NULL, layers));
    (void)unsetenv("LONGTAKE_FAULT");
    return r;
}

/* What the plan of that film says that its device gives, and (of the DiT's phase) its weights. */
static int64_t planned(const char *name, int64_t *weights)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s.run/plan.json", s.folder, name);
    json_t *plan = json_load_file(path, 0, NULL);
    const json_t *memory = json_object_get(plan, "memory");
    const int64_t bytes = json_integer_value(json_object_get(memory, "device_bytes"));
    *weights = json_integer_value(json_object_get(json_object_get(memory, "dit"), "phase_bytes"));
    assert_true(bytes > *weights && *weights > 0);
    json_decref(plan);
    return bytes;
}

/* The film, and how its latents differ from those of `like` (NULL: nothing to compare). */
static void make(const char *name, const char *mesh, int devices, int64_t memory,
                 const char *layers, int is_whole, const char *says, const char *like)
{
    char run[512];
    latents a, b;
    run_result r = render(name, mesh, devices, memory, layers, is_whole);
    if ((is_whole ? r.code != 0 : strstr(r.err, "a fault that LONGTAKE_FAULT") == NULL) ||
        (says != NULL && strstr(r.err, says) == NULL))
        fail_msg("%s: exit code %d, want '%s', said: %s", name, r.code, says, r.err);
    if (says == NULL && strstr(r.err, "take turns") != NULL)
        fail_msg("%s: said: %s", name, r.err);
    int64_t weights = 0;
    const int64_t device = planned(name, &weights);
    (void)printf("%-18s %-7s %7d %12lld %12lld %10lld  %s\n", name, mesh, devices,
                 (long long)memory, (long long)device, (long long)weights,
                 says != NULL     ? says
                 : layers != NULL ? "as asked"
                                  : "all stay");
    run_free(&r);
    if (like == NULL)
        return;
    (void)snprintf(run, sizeof run, "%s/%s.run", s.folder, like);
    latents_read(run, &a);
    (void)snprintf(run, sizeof run, "%s/%s.run", s.folder, name);
    latents_read(run, &b);
    const double apart = latents_differ(&a, &b);
    latents_free(&a);
    latents_free(&b);
    if (apart != 0)
        fail_msg("%s: latents are %.3g of the largest from those of %s", name, apart, like);
}

static const char from_host[] = "take turns, copied from the host's memory";
static const char from_peers[] = "take turns, gathered from the ranks of ring and uly";

static void same_files(const char *a, const char *b)
{
    size_t bytes[2];
    char *first = program_file(scratch_path(&s, a), &bytes[0]);
    char *second = program_file(scratch_path(&s, b), &bytes[1]);
    assert_int_equal(bytes[0], bytes[1]);
    assert_memory_equal(first, second, bytes[0]);
    free(first);
    free(second);
}

static void less_memory_has_the_same_bits(void **state)
{
    int64_t weights = 0;
    (void)state;
    (void)printf("%-18s %-7s %7s %12s %12s %10s\n", "film", "mesh", "devices", "memory", "planned",
                 "weights");
    make("all", "win=1", 1, 0, NULL, 1, NULL, NULL);
    const int64_t all = planned("all", &weights);
    make("exactly", "win=1", 1, all, NULL, 0, NULL, "all");
    make("one", "win=1", 1, all, "1", 0, NULL, "all");
    const int64_t one = planned("one", &weights);
    make("a byte less", "win=1", 1, all - 1, NULL, 0, from_host, "all");
    make("least", "win=1", 1, one, NULL, 1, from_host, "all");
    same_files("all.mkv", "least.mkv"); /* decoders too */
    run_result r = render("less", "win=1", 1, one - 1, NULL, 1);
    if (r.code == 0 || strstr(r.err, " phase needs 0.") == NULL ||
        strstr(r.err, "(an interpreter of PTX) has 0.") == NULL)
        fail_msg("less: exit code %d, said: %s", r.code, r.err);
    assert_false(run_exists(scratch_path(&s, "less.run/latents.h5")));
    assert_false(run_exists(scratch_path(&s, "less.mkv")));
    assert_null(strstr(r.err, "longtake: text: "));
    run_free(&r);
}

/* Between two ranks. A device that both share gives each a half. */
static void peers_gather_the_same_bits(void **state)
{
    static const char *const meshes[] = {"ring=2", "uly=2"};
    char name[32], like[32];
    (void)state;
    for (int devices = 1; devices <= PROGRAM_DEVICES; devices++)
        for (size_t m = 0; m < sizeof meshes / sizeof *meshes; m++) {
            int64_t weights = 0;
            const int64_t each = devices == 1 ? 2 : 1;
            if (devices == 1 && m == 1)
                continue; /* staged once */
            (void)snprintf(name, sizeof name, "%.4s%d", meshes[m], devices);
            make(name, meshes[m], devices, 0, NULL, 0, NULL, NULL);
            (void)snprintf(like, sizeof like, "%s", name);
            const int64_t all = planned(name, &weights);
            (void)snprintf(name, sizeof name, "%.4s%d peers", meshes[m], devices);
            make(name, meshes[m], devices, each * (all - weights / 4), NULL, 0, from_peers, like);
            if (m == 1)
                continue;
            (void)snprintf(name, sizeof name, "%.4s%d host", meshes[m], devices);
            make(name, meshes[m], devices, each * (all - weights / 2), NULL, 0, from_host, like);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(less_memory_has_the_same_bits),
        cmocka_unit_test(peers_gather_the_same_bits),
    };
    return cmocka_run_group_tests_name("residency", tests, deep_setup, scratch_teardown);
}

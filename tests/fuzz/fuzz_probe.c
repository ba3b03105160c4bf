/* fuzz_probe.c - any bytes as the tensors that a stage of probe reads, on the tiny model.
 * The first byte of an input picks the stage, the rest is the .safetensors file. Seeds have, for
 * each stage, what it wants, and tensors that are empty in one dim. */
#include "fuzz_strangers.h"

#include "cmd/verbs.h"
#include "model/files/checkpoint.h"

static const char *const stages[] = {"text",       "dit",          "layout",     "denoise",
                                     "vae-decode", "audio-decode", "vae-encode", "audio-encode"};
enum { STAGES = sizeof stages / sizeof *stages };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    lt_group *world = fuzz_begin();
    lt_job job;
    lt_options *options = NULL;
    const char *stage = stages[data[0] % STAGES];
    fuzz_write("in.safetensors", data + 1, size - 1);
    const char *const words[] = {"probe",
                                 "--model",
                                 NANO,
                                 "--in",
                                 fuzz_path("in.safetensors"),
                                 "--out",
                                 fuzz_path("out.safetensors"),
                                 "--frames",
                                 "22",
                                 "--size",
                                 "32x32",
                                 "--steps",
                                 "2",
                                 "--dtype",
                                 "f32",
                                 "--threads",
                                 "1",
                                 "-q"};
    fuzz_options(LT_VERB_PROBE, sizeof words / sizeof *words, words, &job, &options);
    const lt_status st = lt_verb_probe.run(&job, options, &stage, 1, world);
    lt_options_free(&options);
    (void)unlink(fuzz_path("out.safetensors"));
    require_ended_well(st);
    return 0;
}

/* ---- seeds ---- */

enum { TENSORS_MAX = 10, SEEDS_MAX = 2 * STAGES };

typedef struct named {
    const char *name;
    lt_dtype dtype;
    lt_dims dims;
} named;

/* Text 2, audio 2 x 3 ticks, video 2 x 2 rows: indices in that order. */
static void fill(const named *n, void *to, int64_t count)
{
    const int64_t text = 2, audio = 6;
    for (int64_t i = 0; i < count; i++) {
        int64_t whole = i % 3;
        if (strcmp(n->name, "audio_indices") == 0)
            whole = text + i;
        else if (strcmp(n->name, "video_indices") == 0)
            whole = text + audio + i;
        else if (strcmp(n->name, "text_indices") == 0)
            whole = i;
        else if (strcmp(n->name, "token_tags") == 0)
            whole = i < text ? 1 : i < text + audio ? 2 : 0;
        else if (strcmp(n->name, "timestep_indices") == 0)
            whole = 0;
        if (n->dtype == LT_I64)
            ((int64_t *)to)[i] = whole;
        else if (n->dtype == LT_F64)
            ((double *)to)[i] = (double)i;
        else
            ((float *)to)[i] = (float)(i % 7) / 7 - 0.4f;
    }
}

static fuzz_seed seed_of(char stage, const named *list)
{
    lt_tensor tensors[TENSORS_MAX];
    void *memory[TENSORS_MAX];
    int count = 0;
    for (; list[count].name != NULL; count++) {
        int64_t n = 1;
        for (int i = 0; i < list[count].dims.ndim; i++)
            n *= list[count].dims.dim[i];
        memory[count] = calloc((size_t)n + 1, 8);
        require(memory[count] != NULL);
        fill(&list[count], memory[count], n);
        tensors[count] =
            lt_tensor_wrap(memory[count], list[count].name, list[count].dtype, list[count].dims);
    }
    require(lt_safetensors_write(fuzz_path("in.safetensors"), tensors, count, LT_REPLACE) == LT_OK);
    while (count > 0)
        free(memory[--count]);
    return fuzz_seed_file(&stage, 1, fuzz_path("in.safetensors"), 0);
}

#define F32(name, ...)                                                                             \
    {                                                                                              \
        name, LT_F32, LT_DIMS(__VA_ARGS__)                                                         \
    }
#define I64(name, ...)                                                                             \
    {                                                                                              \
        name, LT_I64, LT_DIMS(__VA_ARGS__)                                                         \
    }

static fuzz_seed seeds[STAGES];

__attribute__((constructor)) static void seeds_make(void)
{
    const named wanted[STAGES][TENSORS_MAX] = {
        {I64("input_ids", 3)},
        {F32("hidden_states", 4, 24),
         F32("audio_hidden_states", 6, 4),
         F32("encoder_hidden_states", 2, 12),
         F32("timestep", 1),
         I64("timestep_indices", 12),
         I64("token_tags", 12),
         {"position_ids", LT_F64, LT_DIMS(12, 3)},
         I64("video_indices", 4),
         I64("audio_indices", 6),
         I64("text_indices", 2)},
        {I64("input_ids", 2)},
        {F32("latents", 6, 7, 2, 2), F32("audio_latents", 2, 4, 37), I64("input_ids", 2)},
        {F32("latents", 6, 7, 2, 2)},
        {F32("latents", 1, 4, 2)},
        {F32("sample", 3, 1, 32, 32)},
        {F32("sample", 1, 1, 200)},
    };
    (void)fuzz_begin();
    for (int i = 0; i < STAGES; i++) {
        named list[TENSORS_MAX + 1] = {{0}};
        memcpy(list, wanted[i], sizeof wanted[i]);
        seeds[i] = seed_of((char)i, list);
    }
}

FUZZ_MAIN("probe", seeds, 1 << 15)

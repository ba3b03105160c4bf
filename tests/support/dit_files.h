/* dit_files.h - an H3 DiT of any shape: config.json and one shard of values made here.
 * The tensors are those that src/model/h3/tensors.c derives from the config, in the dtypes that
 * the released model has. Values are an even spread; without them the shard is a hole of its size,
 * which takes no disk. */
#ifndef LT_TEST_DIT_FILES_H
#define LT_TEST_DIT_FILES_H

#include <jansson.h>

#include "model/h3/tensors.h"
#include "tests/support/scratch.h"

/* Heads and FFN divide by 4; what is whole on every rank (norms, projections, the time embedder) is
 * less than a hundredth of it. */
static const char dit_small[] =
    "{\"_class_name\": \"MiniMaxH3Transformer3DModel\", \"num_attention_heads\": 8,"
    " \"attention_head_dim\": 32, \"hidden_size\": 192, \"num_layers\": 8,"
    " \"num_refiner_layers\": 1, \"ffn_dim\": 512, \"in_channels\": 8, \"audio_in_channels\": 8,"
    " \"patch_size\": [1, 2, 2], \"text_dim\": 64, \"freq_dim\": 32,"
    " \"time_embed_hidden_dim\": 96, \"time_embed_dim\": 96, \"rope_freq_dim\": 4,"
    " \"rope_theta\": 10000.0, \"norm_eps\": 1e-05, \"qk_norm_eps\": 1e-05,"
    " \"final_norm_eps\": 1e-05}";

/* The released model: spec/minimax-h3.md 1.4. */
static const char dit_released[] =
    "{\"_class_name\": \"MiniMaxH3Transformer3DModel\", \"num_attention_heads\": 56,"
    " \"attention_head_dim\": 128, \"hidden_size\": 5376, \"num_layers\": 50,"
    " \"num_refiner_layers\": 2, \"ffn_dim\": 14336, \"in_channels\": 24,"
    " \"audio_in_channels\": 32, \"patch_size\": [1, 2, 2], \"text_dim\": 5120, \"freq_dim\": 256,"
    " \"time_embed_hidden_dim\": 5376, \"time_embed_dim\": 2688, \"rope_freq_dim\": 16,"
    " \"rope_theta\": 10000.0, \"norm_eps\": 1e-05, \"qk_norm_eps\": 1e-05,"
    " \"final_norm_eps\": 1e-05}";

typedef struct dit_writer {
    json_t *header;
    FILE *data;  /* NULL: no values */
    int64_t at;  /* bytes of data so far */
    int64_t end; /* of the data, once known */
} dit_writer;

static inline int dit_is_f32(const char *name)
{
    return strstr(name, "time_embedder.") != NULL || strncmp(name, "proj_", 5) == 0 ||
           strncmp(name, "audio_proj_", 11) == 0;
}

static inline lt_status dit_add(void *ctx, const lt_wanted *wanted)
{
    dit_writer *w = ctx;
    json_t *shape = json_array();
    const int f32 = dit_is_f32(wanted->name),
              is_norm = strstr(wanted->name, "norm") != NULL && wanted->dims.ndim == 1;
    int64_t count = 1;
    for (int i = 0; i < wanted->dims.ndim; i++) {
        count *= wanted->dims.dim[i];
        (void)json_array_append_new(shape, json_integer(wanted->dims.dim[i]));
    }
    const int64_t end = w->at + count * (f32 ? 4 : 2);
    (void)json_object_set_new(w->header, wanted->name,
                              json_pack("{s:s, s:o, s:[I, I]}", "dtype", f32 ? "F32" : "BF16",
                                        "shape", shape, "data_offsets", (json_int_t)w->at,
                                        (json_int_t)end));
    uint32_t seed = (uint32_t)w->at * 2654435761u + 12345u;
    w->at = end;
    for (int64_t i = 0; i < count && w->data != NULL; i++) {
        seed = seed * 1664525u + 1013904223u; /* Numerical Recipes' generator */
        const float spread = (float)(seed >> 8) / 8388608.0f - 1.0f;
        const float value = is_norm ? 1.0f + 0.1f * spread : 0.1f * spread;
        const uint16_t narrow = lt_f32_to_bf16(value);
        const size_t width = f32 ? sizeof value : sizeof narrow;
        assert_int_equal(fwrite(f32 ? (const void *)&value : &narrow, width, 1, w->data), 1);
    }
    return LT_OK;
}

/* Write config.json and the shard into a folder that is there. Returns the data's bytes; 0 where
 * the file system holds no hole of that size. */
static inline int64_t dit_files_write(const char *folder, const char *config, int values)
{
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/config.json", folder);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_true(fputs(config, f) >= 0 && fclose(f) == 0);
    dit_writer w = {.header = json_object()};
    assert_int_equal(lt_h3_part_dit.tensors(folder, dit_add, &w), LT_OK);
    char *text = json_dumps(w.header, JSON_COMPACT);
    assert_non_null(text);
    const uint64_t n = strlen(text);
    (void)snprintf(path, sizeof path, "%s/diffusion_pytorch_model.safetensors", folder);
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(&n, 1, sizeof n, f),
                     sizeof n); /* little endian, as these machines are */
    assert_int_equal(fwrite(text, 1, n, f), n);
    const int64_t data_bytes = w.at;
    if (values) {
        dit_writer again = {.header = w.header, .data = f};
        assert_int_equal(lt_h3_part_dit.tensors(folder, dit_add, &again), LT_OK);
    }
    assert_int_equal(fclose(f), 0);
    free(text);
    json_decref(w.header);
    return truncate(path, (off_t)(8 + n) + (off_t)data_bytes) == 0 ? data_bytes : 0;
}

#endif

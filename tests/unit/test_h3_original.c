/* test_h3_original.c - the release's original layout read under diffusers' names.
 * Goal: every name of one layout is a name of the other, and rows come out in the other's order.
 * Method: the published indexes (skipped where ../shared isn't there), runs of rows against the
 * order written out, the nano DiT in both layouts value by value, the nano video VAE's fused
 * layers. Ranks: 1. Needs: tests/parity. */
#include "tests/support/scratch.h"

#include "base/file.h"
#include "base/json.h"
#include "model/files/checkpoint.h"
#include "model/h3/names.h"

#define SHARED LT_SOURCE_DIR "/../shared/h3-config/"
#define PARITY LT_SOURCE_DIR "/tests/parity/"

static const struct {
    const lt_name_map *map;
    const char *stored;
    int count;
    const char *first;
    lt_row_order rows;
} names[] = {
    {&lt_h3_dit_names, "video_patch_proj.weight", 1, "proj_in.weight", LT_ROWS_SAME},
    {&lt_h3_dit_names, "blocks.49.attn.qkv_proj.weight", 3,
     "transformer_blocks.49.attn.to_q.weight", LT_ROWS_Q},
    {&lt_h3_dit_names, "token_refiner.blocks.1.mlp.fc1.weight", 1,
     "token_refiner.refiner_blocks.1.ff.net.0.proj.weight", LT_ROWS_SWAPPED},
    {&lt_h3_dit_names, "blocks.0.mlp.fc2.weight", 1, "transformer_blocks.0.ff.net.2.weight",
     LT_ROWS_SAME},
    {&lt_h3_dit_names, "blocks.7.adaln_proj.linear.bias", 1,
     "transformer_blocks.7.adaln_proj.linear.bias", LT_ROWS_SAME},
    {&lt_h3_dit_names, "final_layer.adaln_proj.linear.weight", 1, "norm_out.linear.weight",
     LT_ROWS_SAME},
    {&lt_h3_dit_names, "rope.inv_freq", 0, "", LT_ROWS_SAME},
    {&lt_h3_dit_names, "something.else", 1, "something.else", LT_ROWS_SAME},
    {&lt_h3_video_names, "encoder.down.2.block.1.nin_shortcut.bias", 1,
     "encoder.down_blocks.2.resnets.1.conv_shortcut.bias", LT_ROWS_SAME},
    {&lt_h3_video_names, "encoder.down.0.downsample.conv.weight", 1,
     "encoder.down_blocks.0.downsamplers.0.conv.weight", LT_ROWS_SAME},
    {&lt_h3_video_names, "decoder.transformer_blocks.3.attn.to_qkv.bias", 3,
     "decoder.transformer_blocks.3.attn.to_q.bias", LT_ROWS_Q},
    {&lt_h3_video_names, "decoder.transformer_blocks.3.attn.to_out.weight", 1,
     "decoder.transformer_blocks.3.attn.to_out.0.weight", LT_ROWS_SAME},
    {&lt_h3_video_names, "decoder.transformer_blocks.3.ff.w1.bias", 1,
     "decoder.transformer_blocks.3.ff.net.0.proj.bias", LT_ROWS_SWAPPED},
    {&lt_h3_video_names, "decoder.mask_token", 0, "", LT_ROWS_SAME},
    {&lt_h3_video_names, "decoder.x_embedder.weight", 1, "decoder.proj_in.weight", LT_ROWS_SAME},
};

static void names_are_rewritten(void **state)
{
    (void)state;
    lt_mapped_name out[3];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const int n = names[i].map->names(names[i].stored, out);
        if (n != names[i].count ||
            (n > 0 && (strcmp(out[0].name, names[i].first) != 0 || out[0].rows != names[i].rows)))
            fail_msg("%s: found %d names, the first %s", names[i].stored, n,
                     n > 0 ? out[0].name : "none");
    }
    assert_int_equal(lt_h3_dit_names.names("blocks.2.attn.qkv_proj.weight", out), 3);
    assert_string_equal(out[1].name, "transformer_blocks.2.attn.to_k.weight");
    assert_string_equal(out[2].name, "transformer_blocks.2.attn.to_v.weight");
    assert_int_equal(out[2].rows, LT_ROWS_V);
    /* A name near the limit, whose rewritten form would pass it, stays as it is. */
    char longest[LT_MAPPED_NAME_BYTES];
    memset(longest, 'x', sizeof longest);
    memcpy(longest, "blocks.", 7);
    longest[sizeof longest - 1] = '\0';
    assert_int_equal(lt_h3_dit_names.names(longest, out), 1);
    assert_string_equal(out[0].name, longest);
}

/* Every diffusers name stands on one original tensor, and none is left over. */
static void published_indexes_agree(void **state)
{
    (void)state;
    json_t *original = NULL, *diffusers = NULL;
    const char *name;
    json_t *value;
    if (!lt_file_is_dir(SHARED)) {
        print_message("skipped: no %s\n", SHARED);
        skip();
    }
    assert_int_equal(
        lt_json_read(SHARED "FL2VA/transformer/model.safetensors.index.json", &original), LT_OK);
    assert_int_equal(lt_json_read(SHARED "diffusers/transformer/"
                                         "diffusion_pytorch_model.safetensors.index.json",
                                  &diffusers),
                     LT_OK);
    json_t *wanted = json_deep_copy(json_object_get(diffusers, "weight_map"));
    assert_int_equal(json_object_size(wanted), 638);
    json_object_foreach (json_object_get(original, "weight_map"), name, value) {
        lt_mapped_name out[3];
        const int n = lt_h3_dit_names.names(name, out);
        for (int i = 0; i < n; i++)
            if (json_object_del(wanted, out[i].name) != 0)
                fail_msg("%s gives %s, which diffusers lacks or another gave", name, out[i].name);
    }
    json_object_foreach (wanted, name, value)
        fail_msg("%s: no original tensor gives it", name);
    json_decref(wanted);
    json_decref(original);
    json_decref(diffusers);
}

/* The order of rows, written out: 2 heads of 3 rows. */
static void rows_are_found(void **state)
{
    (void)state;
    static const int64_t want[5][6] = {
        {0, 1, 2, 3, 4, 5},    /* same */
        {0, 1, 2, 9, 10, 11},  /* q */
        {3, 4, 5, 12, 13, 14}, /* k */
        {6, 7, 8, 15, 16, 17}, /* v */
        {3, 4, 5, 0, 1, 2},    /* swapped */
    };
    static const int64_t longest[5] = {6, 3, 3, 3, 3};
    for (int order = 0; order < 5; order++)
        for (int64_t first = 0; first < 6; first++)
            for (int64_t limit = 1; limit <= 6 - first; limit++) {
                int64_t stored = -1;
                const int64_t n = lt_mapped_run((lt_row_order)order, 6, 3, first, limit, &stored);
                assert_true(n >= 1 && n <= limit);
                for (int64_t i = 0; i < n; i++)
                    assert_int_equal(stored + i, want[order][first + i]);
                if (first % longest[order] == 0 && limit >= longest[order])
                    assert_int_equal(n, longest[order]);
            }
}

static int64_t head_dim_of(const char *config, const char *key)
{
    json_t *root = NULL;
    int64_t n = 0;
    if (lt_json_read(config, &root) != LT_OK)
        fail_msg("%s", lt_error_text());
    const lt_json_at at = lt_json_root(root, config);
    if (lt_json_int(&at, key, 1, 1024, &n) != LT_OK)
        fail_msg("%s", lt_error_text());
    json_decref(root);
    return n;
}

static void read_whole(lt_checkpoint *c, const lt_tensor_info *info, lt_slice slice, float *out)
{
    lt_dims dims = {.ndim = info->ndim};
    for (int i = 0; i < info->ndim; i++)
        dims.dim[i] = info->dim[i];
    if (lt_checkpoint_read(c, info->name, dims, slice, LT_F32, out) != LT_OK)
        fail_msg("%s", lt_error_text());
}

/* Both layouts of one part hold the same values under the same names, whole and by odd slices. */
static void same_values(const char *plain_path, const char *original_path, const lt_name_map *map,
                        int64_t head_dim)
{
    lt_checkpoint *plain = NULL, *original = NULL;
    const lt_name_map names_of = lt_h3_names(map, head_dim);
    if (lt_checkpoint_open(plain_path, &names_of, &plain) != LT_OK ||
        lt_checkpoint_open(original_path, &names_of, &original) != LT_OK)
        fail_msg("%s", lt_error_text());
    assert_false(lt_checkpoint_is_mapped(plain));
    assert_true(lt_checkpoint_is_mapped(original));
    const int64_t count = lt_checkpoint_count(plain);
    assert_true(count > 20);
    for (int64_t i = 0; i < count; i++) {
        const lt_tensor_info a = lt_checkpoint_at(plain, i);
        lt_tensor_info b;
        if (!lt_checkpoint_find(original, a.name, &b))
            fail_msg("%s lacks %s", original_path, a.name);
        assert_int_equal(a.ndim, b.ndim);
        assert_memory_equal(a.dim, b.dim, (size_t)a.ndim * sizeof a.dim[0]);
        lt_slice slice = {{0, a.dim[0]}, {0, 1}};
        for (int k = 1; k < a.ndim; k++)
            slice.columns.count *= a.dim[k];
        const size_t n = (size_t)(slice.rows.count * slice.columns.count);
        float *x = malloc((n + 1) * sizeof *x), *y = malloc((n + 1) * sizeof *y);
        for (int part_only = 0; part_only < 2; part_only++) {
            if (part_only) /* begins inside a head, ends before the last row, leaves a column out */
                slice = (lt_slice){
                    {slice.rows.count / 3, slice.rows.count / 2},
                    {slice.columns.count > 1, slice.columns.count - (slice.columns.count > 1)}};
            read_whole(plain, &a, slice, x);
            read_whole(original, &b, slice, y);
            if (memcmp(x, y, (size_t)(slice.rows.count * slice.columns.count) * sizeof *x) != 0)
                fail_msg("%s differs", a.name);
        }
        free(x);
        free(y);
    }
    if (lt_checkpoint_all_used(original, NULL) != LT_OK) /* the dropped tensors don't count */
        fail_msg("%s", lt_error_text());
    lt_checkpoint_close(&plain);
    lt_checkpoint_close(&original);
}

static void nano_dit_is_the_same(void **state)
{
    (void)state;
    same_values(PARITY "nano/transformer", PARITY "nano-original/transformer", &lt_h3_dit_names,
                head_dim_of(PARITY "nano/transformer/config.json", "attention_head_dim"));
}

/* The nano video VAE has other sizes in the original layout (32 norm groups are fixed there), so
 * its fused layers are read a second time under their stored names, and put in order here. */
static void video_vae_rows_are_in_order(void **state)
{
    (void)state;
    enum { HEAD = 8, BYTES = 1 << 20 };
    const char *path = PARITY "nano-original/video_vae";
    static float stored[BYTES / 4], got[BYTES / 4];
    lt_checkpoint *raw = NULL, *mapped = NULL;
    int fused = 0;
    const lt_name_map video = lt_h3_names(&lt_h3_video_names, HEAD);
    if (lt_checkpoint_open(PARITY "nano-original/video_vae/source", NULL, &raw) != LT_OK ||
        lt_checkpoint_open(path, &video, &mapped) != LT_OK)
        fail_msg("%s", lt_error_text());
    for (int64_t i = 0; i < lt_checkpoint_count(raw); i++) {
        const lt_tensor_info a = lt_checkpoint_at(raw, i);
        lt_mapped_name out[3];
        const int n = lt_h3_video_names.names(a.name, out);
        if (n == 0 || out[0].rows == LT_ROWS_SAME || a.bytes > BYTES)
            continue;
        const int64_t columns = a.ndim > 1 ? a.dim[1] : 1;
        const lt_slice whole = {{0, a.dim[0]}, {0, columns}};
        read_whole(raw, &a, whole, stored);
        for (int k = 0; k < n; k++) {
            lt_tensor_info b;
            assert_true(lt_checkpoint_find(mapped, out[k].name, &b));
            assert_int_equal(b.dim[0] * n, a.dim[0]);
            read_whole(mapped, &b, (lt_slice){{0, b.dim[0]}, {0, columns}}, got);
            for (int64_t row = 0; row < b.dim[0]; row++) {
                const int64_t from = n == 3 ? row / HEAD * 3 * HEAD + k * HEAD + row % HEAD
                                            : (row + b.dim[0] / 2) % b.dim[0];
                if (memcmp(got + row * columns, stored + from * columns, (size_t)columns * 4) != 0)
                    fail_msg("%s: row %lld isn't stored row %lld", out[k].name, (long long)row,
                             (long long)from);
            }
        }
        fused++;
    }
    assert_true(fused >= 4); /* weight and bias of qkv and of the gated layer */
    lt_checkpoint_close(&raw);
    lt_checkpoint_close(&mapped);
}

/* Files that call themselves original and cannot be read so. */
static void rows_that_do_not_divide(void **state)
{
    (void)state;
    scratch s;
    lt_checkpoint *c = NULL;
    float out[8];
    const char data[64] = {0};
    scratch_new(&s);
    scratch_safetensors(&s, "w.safetensors", -1,
                        "{\"blocks.0.attn.qkv_proj.weight\":{\"dtype\":\"F32\",\"shape\":[4,2],"
                        "\"data_offsets\":[0,32]}}",
                        data, 32);
    assert_int_equal(lt_checkpoint_open(s.folder, &lt_h3_dit_names, &c), LT_EDATA);
    assert_non_null(strstr(lt_error_text(), "multiple of 3 rows, found [4, 2]"));
    scratch_safetensors(
        &s, "w.safetensors", -1,
        "{\"blocks.0.mlp.fc1.weight\":{\"dtype\":\"F32\",\"shape\":[3,2],\"data_offsets\":[0,24]}}",
        data, 24);
    assert_int_equal(lt_checkpoint_open(s.folder, &lt_h3_dit_names, &c), LT_EDATA);
    scratch_safetensors(&s, "w.safetensors", -1,
                        "{\"blocks.0.attn.qkv_proj.weight\":{\"dtype\":\"F32\",\"shape\":[12],"
                        "\"data_offsets\":[0,48]}}",
                        data, 48);
    assert_int_equal(lt_checkpoint_open(s.folder, &lt_h3_dit_names, &c), LT_OK);
    const char *q = "transformer_blocks.0.attn.to_q.weight";
    assert_int_equal(lt_checkpoint_check(c, q, LT_DIMS(4)), LT_EDATA); /* no head width was given */
    lt_checkpoint_close(&c);
    const lt_name_map three = lt_h3_names(&lt_h3_dit_names, 3),
                      two = lt_h3_names(&lt_h3_dit_names, 2);
    assert_int_equal(lt_checkpoint_open(s.folder, &three, &c), LT_OK);
    assert_int_equal(lt_checkpoint_read(c, q, LT_DIMS(4), lt_slice_whole(LT_DIMS(4)), LT_F32, out),
                     LT_EDATA);
    lt_checkpoint_close(&c);
    assert_int_equal(lt_checkpoint_open(s.folder, &two, &c), LT_OK);
    assert_int_equal(lt_checkpoint_read(c, q, LT_DIMS(4), lt_slice_whole(LT_DIMS(4)), LT_F32, out),
                     LT_OK);
    lt_checkpoint_close(&c);
    scratch_safetensors(
        &s, "w.safetensors", -1,
        "{\"blocks.0.norm1.weight\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
        "\"transformer_blocks.0.norm1.weight\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":["
        "8,16]}}",
        data, 16);
    assert_int_equal(lt_checkpoint_open(s.folder, &lt_h3_dit_names, &c), LT_EDATA);
    assert_non_null(strstr(lt_error_text(), "are both transformer_blocks.0.norm1.weight"));
    scratch_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_rewritten),
        cmocka_unit_test(published_indexes_agree),
        cmocka_unit_test(rows_are_found),
        cmocka_unit_test(nano_dit_is_the_same),
        cmocka_unit_test(video_vae_rows_are_in_order),
        cmocka_unit_test(rows_that_do_not_divide),
    };
    return cmocka_run_group_tests_name("h3_original", tests, NULL, NULL);
}

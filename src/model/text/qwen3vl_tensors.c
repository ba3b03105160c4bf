/* qwen3vl_tensors.c - the tensors of the text encoder.
 * Source: spec/minimax-h3.md 1.4, 3.1. The vision tower is listed for inspect alone. */
#include "model/text/qwen3vl_tensors.h"

#include <stdio.h>

#include "base/file.h"
#include "base/json.h"
#include "model/files/remote/source.h"

/* Far above any model's, and so small that products of three fit. */
static const int64_t size_max = 1 << 20;

static lt_status decoder_layer(const lt_wanter *to, const lt_qwen3vl_config *c, int64_t i)
{
    const int64_t E = c->hidden, D = c->head_dim, q = c->heads * D, kv = c->kv_heads * D;
    const struct {
        const char *tail;
        lt_dims dims;
    } wanted[] = {
        {"input_layernorm", LT_DIMS(E)},       {"self_attn.q_proj", LT_DIMS(q, E)},
        {"self_attn.k_proj", LT_DIMS(kv, E)},  {"self_attn.v_proj", LT_DIMS(kv, E)},
        {"self_attn.q_norm", LT_DIMS(D)},      {"self_attn.k_norm", LT_DIMS(D)},
        {"self_attn.o_proj", LT_DIMS(E, q)},   {"post_attention_layernorm", LT_DIMS(E)},
        {"mlp.gate_proj", LT_DIMS(c->ffn, E)}, {"mlp.up_proj", LT_DIMS(c->ffn, E)},
        {"mlp.down_proj", LT_DIMS(E, c->ffn)},
    };
    for (size_t k = 0; k < sizeof wanted / sizeof *wanted; k++)
        LT_TRY(lt_want(to, wanted[k].dims, LT_QWEN3VL_PREFIX "layers.%lld.%s.weight", (long long)i,
                       wanted[k].tail));
    return LT_OK;
}

lt_status lt_qwen3vl_tensors(const lt_qwen3vl_config *c, const lt_wanter *to)
{
    const lt_wanter later = {to->fn, to->ctx, LT_NEED_NOT};
    LT_TRY(lt_want(to, LT_DIMS(c->vocab, c->hidden), LT_QWEN3VL_PREFIX "embed_tokens.weight"));
    for (int64_t i = 0; i < c->layers; i++)
        LT_TRY(decoder_layer(i < c->hidden_state ? to : &later, c, i));
    LT_TRY(lt_want(&later, LT_DIMS(c->hidden), LT_QWEN3VL_PREFIX "norm.weight"));
    return lt_want(&later, LT_DIMS(c->vocab, c->hidden), "lm_head.weight");
}

/* ---- what a folder holds beside it ---- */

static lt_status merger(const lt_wanter *to, const char *name, int64_t norm_width, int64_t wide,
                        int64_t out)
{
    char full[96];
    (void)snprintf(full, sizeof full, "%s.norm", name);
    LT_TRY(lt_want_norm(to, full, norm_width));
    (void)snprintf(full, sizeof full, "%s.linear_fc1", name);
    LT_TRY(lt_want_linear(to, full, wide, wide));
    (void)snprintf(full, sizeof full, "%s.linear_fc2", name);
    LT_TRY(lt_want_linear(to, full, out, wide));
    return LT_OK;
}

static lt_status want_vision(const lt_wanter *to, const lt_json_at *v)
{
    static const struct {
        const char *name;
        int norm, out, in;
    } parts[] = {
        {"norm1", 1, 1, 0}, {"attn.qkv", 0, 3, 1}, {"attn.proj", 0, 1, 1}, {"norm2", 1, 1, 0}};
    int64_t depth, hidden, ffn, channels, patch, patch_time, merge, positions, out, deep[64];
    size_t deep_count = 0;
    char name[96];
    LT_TRY(lt_json_int(v, "depth", 1, 1024, &depth));
    LT_TRY(lt_json_int(v, "hidden_size", 1, size_max, &hidden));
    LT_TRY(lt_json_int(v, "intermediate_size", 1, size_max, &ffn));
    LT_TRY(lt_json_int(v, "in_channels", 1, 64, &channels));
    LT_TRY(lt_json_int(v, "patch_size", 1, 1024, &patch));
    LT_TRY(lt_json_int(v, "temporal_patch_size", 1, 64, &patch_time));
    LT_TRY(lt_json_int(v, "spatial_merge_size", 1, 16, &merge));
    LT_TRY(lt_json_int(v, "num_position_embeddings", 1, size_max, &positions));
    LT_TRY(lt_json_int(v, "out_hidden_size", 1, size_max, &out));
    LT_TRY(lt_json_ints(v, "deepstack_visual_indexes", 0, 1024, deep, 64, &deep_count));
    LT_TRY(lt_want(to, LT_DIMS(hidden, channels, patch_time, patch, patch),
                   "model.visual.patch_embed.proj.weight"));
    LT_TRY(lt_want(to, LT_DIMS(hidden), "model.visual.patch_embed.proj.bias"));
    LT_TRY(lt_want(to, LT_DIMS(positions, hidden), "model.visual.pos_embed.weight"));
    for (long long i = 0; i < depth; i++) {
        for (size_t k = 0; k < sizeof parts / sizeof *parts; k++) {
            (void)snprintf(name, sizeof name, "model.visual.blocks.%lld.%s", i, parts[k].name);
            LT_TRY(parts[k].norm ? lt_want_norm(to, name, hidden)
                                 : lt_want_linear(to, name, parts[k].out * hidden, hidden));
        }
        (void)snprintf(name, sizeof name, "model.visual.blocks.%lld.mlp.linear_fc1", i);
        LT_TRY(lt_want_linear(to, name, ffn, hidden));
        (void)snprintf(name, sizeof name, "model.visual.blocks.%lld.mlp.linear_fc2", i);
        LT_TRY(lt_want_linear(to, name, hidden, ffn));
    }
    const int64_t wide = hidden * merge * merge;
    LT_TRY(merger(to, "model.visual.merger", hidden, wide, out));
    for (size_t i = 0; i < deep_count; i++) {
        (void)snprintf(name, sizeof name, "model.visual.deepstack_merger_list.%zu", i);
        LT_TRY(merger(to, name, wide, wide, out));
    }
    return LT_OK;
}

lt_status lt_qwen3vl_folder_tensors(const char *folder, lt_want_fn fn, void *ctx)
{
    const lt_wanter run = {fn, ctx, LT_NEED_RUN}, unread = {fn, ctx, LT_NEED_NOT};
    lt_qwen3vl_config config;
    char path[LT_PATH_BYTES];
    json_t *document = NULL;
    lt_json_at vision;
    lt_status st = LT_OK;
    LT_TRY(lt_path_join(path, sizeof path, folder, "config.json"));
    LT_TRY(lt_qwen3vl_config_read(path, &config));
    LT_TRY(lt_qwen3vl_tensors(&config, &run));
    LT_TRY(lt_source_json(path, &document));
    const lt_json_at root = lt_json_root(document, path);
    if (lt_json_has(&root, "vision_config")) {
        LT_TRY_GOTO(lt_json_member(&root, "vision_config", &vision), st, done);
        LT_TRY_GOTO(want_vision(&unread, &vision), st, done);
    }
done:
    json_decref(document);
    return st;
}

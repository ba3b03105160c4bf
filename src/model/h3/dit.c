/* dit.c - opening H3's denoiser and loading this rank's slices.
 *
 * Names, shapes and slices: spec/minimax-h3.md 4.1, 4.9. Every name that the config promises is
 * checked at open, so that a missing, misshapen or extra tensor is refused before a value is read.
 *
 *   layer              whole             this rank (tp)
 *   to_q, to_k, to_v   [N*D, hidden]     rows of my heads, the three joined
 *   to_out.0           [hidden, N*D]     columns of my heads: partial sums
 *   ff.net.0.proj      [2*ffn, hidden]   rows of my columns, in the value half and in the gate half
 *   ff.net.2           [hidden, ffn]     my columns: partial sums
 *
 * Everything else is whole on every rank. Deterministic: the same rows and columns, a layer a chunk
 * (parallel/linear/split_linear.h); attention's keys are cut by rows (ordered.h). */
#include "model/h3/dit.h"

#include <assert.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "model/h3/dit_internal.h"
#include "model/h3/tensors.h"
#include "parallel/transport/agree.h"

enum { NAME_BYTES = 128 };

static const char *name_of(char *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static const char *name_of(char *buffer, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    const int length = vsnprintf(buffer, NAME_BYTES, format, list);
    va_end(list);
    assert(length > 0 && length < NAME_BYTES);
    (void)length;
    return buffer;
}

/* Everything that the config promises is there, with its shape, and nothing else is. */
static lt_status check_all(const lt_h3_dit *dit)
{
    const lt_wanter check = {lt_wanted_check, dit->checkpoint, LT_NEED_RUN};
    LT_TRY(lt_h3_dit_tensors(&dit->config, &check));
    static const char *const unread[] = {"rope.", NULL}; /* recomputed: spec 1.2 */
    return lt_checkpoint_all_used(dit->checkpoint, unread);
}

/* A dry run says nothing of it; the run does. */
static void say_shares(const lt_h3_dit *dit)
{
    const lt_h3_dit_config *c = &dit->config;
    const int size = lt_group_size(dit->tp), ordered = dit->heads.ordered;
    const int uly = lt_group_size(dit->engine->mesh->axis[LT_AXIS_ULY]);
    const int64_t heads =
        ordered ? lt_chunks_share_max(c->heads, size) : lt_share_max(c->heads, size);
    int idle = 0;
    for (int i = 0; i < size && ordered; i++)
        idle += lt_chunks_elements(c->heads, lt_chunks_of(size, i)).count == 0;
    if (idle > 0)
        lt_warn("--mesh tp=%d: the model has %lld heads: %d tp rank%s to nothing", size,
                (long long)c->heads, idle, idle == 1 ? " attends" : "s attend");
    if (size > 1 && ordered)
        lt_log0(1, "dit",
                "--deterministic over tp=%d: the largest share is %.0f %% (heads) and "
                "%.0f %% (columns) above the mean",
                size, 100 * lt_chunks_imbalance(c->heads, size),
                100 * lt_chunks_imbalance(c->ffn, size));
    if (size > c->heads && !ordered)
        lt_warn("--mesh tp=%d: the model has %lld heads: tp ranks from %lld on attend to nothing",
                size, (long long)c->heads, (long long)c->heads);
    if (uly > heads)
        lt_warn("--mesh uly=%d: %lld heads to share: uly ranks from %lld on attend to nothing", uly,
                (long long)heads, (long long)heads);
}

static void init_shares(lt_h3_dit *dit)
{
    const lt_mesh *mesh = dit->engine->mesh;
    dit->tokens = mesh->tokens;
    dit->tp = mesh->axis[LT_AXIS_TP];
    dit->heads = lt_split_of(dit->config.heads, dit->config.head_dim, dit->tp, mesh->deterministic);
    dit->ffn = lt_split_of(dit->config.ffn, 1, dit->tp, mesh->deterministic);
    if (!dit->dry)
        say_shares(dit);
}

lt_status lt_h3_dit_open(lt_checkpoint *checkpoint, lt_engine *engine,
                         const lt_h3_dit_config *config, lt_dtype compute, lt_h3_dit **out)
{
    assert(checkpoint && engine && config && out && (compute == LT_F32 || compute == LT_BF16));
    *out = NULL;
    lt_h3_dit *dit = calloc(1, sizeof *dit);
    if (!dit)
        LT_FAIL(LT_ENOMEM, "DiT: no memory for its description");
    dit->checkpoint = checkpoint;
    dit->engine = engine;
    dit->row_block = engine->row_block;
    dit->config = *config;
    dit->compute = compute;
    dit->dry = engine->backend->is_dry;
    lt_status st;
    init_shares(dit);
    LT_TRY_GOTO(check_all(dit), st, fail);
    *out = dit;
    return LT_OK;
fail:
    lt_h3_dit_close(&dit);
    return st;
}

void lt_h3_dit_close(lt_h3_dit **dit)
{
    if (!dit || !*dit)
        return;
    lt_h3_dit *d = *dit;
    assert(d->states == NULL);
    if (d->dry)
        lt_dry_host(-(int64_t)lt_h3_dit_tables_bytes(d, d->timestep_count));
    lt_layers_close(&d->turns);
    lt_weights_close(&d->weights);
    free(d->blocks);
    free(d->refiner);
    free(d->timesteps);
    free(d->tables);
    free(d);
    *dit = NULL;
}

void lt_h3_dit_set_tap(lt_h3_dit *dit, lt_h3_dit_tap fn, void *ctx)
{
    dit->tap = fn;
    dit->tap_ctx = ctx;
}

/* ---- weights ---- */

static lt_status load_norm(const lt_h3_dit *dit, const char *prefix, const char *name,
                           int64_t width, lt_tensor *out)
{
    char full[NAME_BYTES];
    return lt_weights_tensor(dit->weights, name_of(full, "%s%s.weight", prefix, name),
                             LT_DIMS(width), dit->compute, out);
}

static lt_status load_f32(const lt_h3_dit *dit, const char *name, int64_t out_width, int64_t in,
                          lt_linear **out)
{
    lt_layer_spec spec = lt_layer_whole(dit->weights, out_width, in, 1);
    spec.compute = LT_F32;
    return lt_weights_linear(dit->weights, name, &spec, out);
}

static lt_status load_attention(const lt_h3_dit *dit, const char *prefix, lt_h3_block *block)
{
    const lt_h3_dit_config *c = &dit->config;
    const int64_t inner = c->heads * c->head_dim;
    char q[NAME_BYTES], k[NAME_BYTES], v[NAME_BYTES], o[NAME_BYTES];
    const lt_column_part parts[] = {{name_of(q, "%sattn.to_q", prefix), inner, 0, &dit->heads},
                                    {name_of(k, "%sattn.to_k", prefix), inner, 0, &dit->heads},
                                    {name_of(v, "%sattn.to_v", prefix), inner, 0, &dit->heads}};
    LT_TRY(lt_column_linear_load(dit->weights, parts, 3, c->hidden, 0, &block->qkv));
    return lt_row_linear_load(dit->weights, name_of(o, "%sattn.to_out.0", prefix), c->hidden,
                              &dit->heads, 0, &block->out);
}

static lt_status load_ffn(const lt_h3_dit *dit, const char *prefix, lt_h3_block *block)
{
    const lt_h3_dit_config *c = &dit->config;
    char in[NAME_BYTES], out[NAME_BYTES];
    name_of(in, "%sff.net.0.proj", prefix);
    const lt_column_part parts[] = {{in, 2 * c->ffn, 0, &dit->ffn},
                                    {in, 2 * c->ffn, c->ffn, &dit->ffn}};
    LT_TRY(lt_column_linear_load(dit->weights, parts, 2, c->hidden, 0, &block->ff_in));
    return lt_row_linear_load(dit->weights, name_of(out, "%sff.net.2", prefix), c->hidden,
                              &dit->ffn, 0, &block->ff_out);
}

static lt_status load_block(const lt_h3_dit *dit, const char *prefix, lt_h3_block *block)
{
    const lt_h3_dit_config *c = &dit->config;
    LT_TRY(load_norm(dit, prefix, "norm1", c->hidden, &block->norm1));
    LT_TRY(load_norm(dit, prefix, "norm2", c->hidden, &block->norm2));
    LT_TRY(load_norm(dit, prefix, "attn.norm_q", c->head_dim, &block->norm_q));
    LT_TRY(load_norm(dit, prefix, "attn.norm_k", c->head_dim, &block->norm_k));
    LT_TRY(load_attention(dit, prefix, block));
    return load_ffn(dit, prefix, block);
}

static lt_status load_all(lt_h3_dit *dit, lt_loading *loading)
{
    const lt_h3_dit_config *c = &dit->config;
    char prefix[NAME_BYTES];
    dit->blocks = calloc((size_t)c->layers, sizeof *dit->blocks);
    dit->refiner = calloc((size_t)c->refiner_layers + 1, sizeof *dit->refiner);
    if (!dit->blocks || !dit->refiner)
        LT_FAIL(LT_ENOMEM, "DiT: no memory for its description");
    LT_TRY(lt_weights_open(dit->checkpoint, dit->engine, dit->compute, &dit->weights));
    lt_weights_load_with(dit->weights, loading);
    LT_TRY(load_f32(dit, "proj_in", c->hidden, lt_h3_dit_video_width(c), &dit->proj_in));
    LT_TRY(load_f32(dit, "audio_proj_in", c->hidden, c->audio_channels, &dit->audio_proj_in));
    LT_TRY(load_f32(dit, "proj_out", lt_h3_dit_video_width(c), c->hidden, &dit->proj_out));
    LT_TRY(load_f32(dit, "audio_proj_out", c->audio_channels, c->hidden, &dit->audio_proj_out));
    const lt_layer_spec context = lt_layer_whole(dit->weights, c->hidden, c->text_dim, 1);
    LT_TRY(lt_weights_linear(dit->weights, "context_embedder", &context, &dit->context));
    LT_TRY(load_norm(dit, "", "token_refiner.final_norm", c->hidden, &dit->refiner_norm));
    LT_TRY(load_norm(dit, "", "norm_out.norm", c->hidden, &dit->out_norm));
    for (int64_t i = 0; i < c->refiner_layers; i++)
        LT_TRY(load_block(dit, name_of(prefix, "token_refiner.refiner_blocks.%lld.", (long long)i),
                          &dit->refiner[i]));
    LT_TRY(lt_layers_new(dit->weights, "DiT's blocks", c->layers, &dit->turns));
    for (int64_t i = 0; i < c->layers; i++) {
        LT_TRY(lt_layers_begin(dit->turns, i));
        LT_TRY(load_block(dit, name_of(prefix, "transformer_blocks.%lld.", (long long)i),
                          &dit->blocks[i]));
        LT_TRY(lt_layers_end(dit->turns, i));
    }
    return LT_OK;
}

lt_status lt_h3_dit_load(lt_h3_dit *dit)
{
    assert(dit);
    if (dit->loaded)
        return LT_OK;
    lt_loading loading = lt_loading_new(dit->tp);
    lt_status st = dit->weights ? LT_EINTERNAL : load_all(dit, &loading);
    if (dit->weights) {
        lt_weights_load_with(dit->weights, NULL);
        lt_weights_rest(dit->weights);
    }
    if (!dit->dry) {
        st = lt_loading_end(&loading, st);
        LT_TRY(lt_agree(dit->engine->mesh->world, st));
        lt_log(3, "dit", "%.1f MB of weights so far, in %llu reads",
               1e-6 * (double)lt_checkpoint_bytes_read(),
               (unsigned long long)lt_checkpoint_reads());
    }
    LT_TRY(st);
    LT_TRY(lt_layers_check(dit->turns));
    dit->loaded = 1;
    return LT_OK;
}

/* h3_dit_leaves.c - H3's blocks by leaves: the same bits on every mesh.           Level 3: model
 * Heads and FFN columns are cut into 16 leaves each (parallel/leaves.h). Each leaf of q, k, v, of
 * the value and of the gate half is a layer of its own, and so is each leaf of what leads back:
 *
 *     to_q, to_k, to_v, ff value, ff gate   rows of a leaf: its own product, its own columns
 *     to_out, ff.net.2                      columns of a leaf: partial sums, added along the tree
 *
 * Attention's keys are cut by rows (leaf_attention.h). Everything else is local to a row. */
#include "model/h3_dit_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

enum { NAME_BYTES = 160 };

void lt_h3_leaves_note(lt_h3_dit *dit)
{
    const lt_h3_dit_config *c = &dit->config;
    const int size = lt_group_size(dit->tp), rank = lt_group_rank(dit->tp);
    dit->cut_heads = lt_cut_of(c->heads, c->head_dim, size, rank);
    dit->cut_ffn = lt_cut_of(c->ffn, 1, size, rank);
    dit->tp_heads = lt_leaves_things(c->heads, dit->cut_heads.leaves);
    dit->tp_ffn = lt_cut_mine(&dit->cut_ffn);
    int idle = 0;
    for (int i = 0; i < size; i++)
        idle += lt_leaves_things(c->heads, lt_leaves_of(size, i)).count == 0;
    if (idle > 0 && !dit->dry)
        lt_warn("--mesh tp=%d: the model has %lld heads: %d tp rank%s to nothing", size,
                (long long)c->heads, idle, idle == 1 ? " attends" : "s attend");
    if (size > 1 && !dit->dry)
        lt_log0(1, "dit",
                "--deterministic over tp=%d: the largest share is %.0f %% (heads) and "
                "%.0f %% (columns) above the mean",
                size, 100 * lt_leaves_imbalance(c->heads, size),
                100 * lt_leaves_imbalance(c->ffn, size));
}

static const char *name_of(char buffer[NAME_BYTES], const char *prefix, const char *name)
{
    const int length = snprintf(buffer, NAME_BYTES, "%s%s", prefix, name);
    assert(length > 0 && length < NAME_BYTES);
    (void)length;
    return buffer;
}

lt_status lt_h3_leaves_load(const lt_h3_dit *dit, const char *prefix, lt_h3_block *block)
{
    static const char *const parts[3] = {"attn.to_q", "attn.to_k", "attn.to_v"};
    const lt_h3_dit_config *c = &dit->config;
    const int64_t inner = c->heads * c->head_dim;
    char name[NAME_BYTES];
    lt_h3_leaves *l = calloc(1, sizeof *l);
    if (l == NULL)
        LT_FAIL(LT_ENOMEM, "DiT: no memory for a block's description");
    block->leaves = l;
    for (int i = 0; i < 3; i++)
        LT_TRY(lt_leaf_outputs_load(dit->weights, name_of(name, prefix, parts[i]), inner, c->hidden,
                                    0, &dit->cut_heads, &l->qkv[i]));
    LT_TRY(lt_leaf_inputs_load(dit->weights, name_of(name, prefix, "attn.to_out.0"), c->hidden,
                               inner, &dit->cut_heads, &l->out));
    for (int i = 0; i < 2; i++) /* value above gate */
        LT_TRY(lt_leaf_outputs_load(dit->weights, name_of(name, prefix, "ff.net.0.proj"),
                                    2 * c->ffn, c->hidden, i * c->ffn, &dit->cut_ffn,
                                    &l->ff_in[i]));
    return lt_leaf_inputs_load(dit->weights, name_of(name, prefix, "ff.net.2"), c->hidden, c->ffn,
                               &dit->cut_ffn, &l->ff_out);
}

lt_status lt_h3_leaves_qkv(const lt_h3_dit *dit, const lt_h3_leaves *leaves, const lt_tensor *u,
                           lt_tensor *qkv)
{
    const int64_t inner = dit->tp_heads.count * dit->config.head_dim;
    for (int i = 0; i < 3; i++) {
        lt_tensor y = lt_view_columns(qkv, (lt_range){i * inner, inner});
        LT_TRY(lt_leaf_outputs_apply(dit->engine->compute, &leaves->qkv[i], u, &y));
    }
    return LT_OK;
}

lt_status lt_h3_leaves_ff_in(const lt_h3_dit *dit, const lt_h3_leaves *leaves, const lt_tensor *u,
                             lt_tensor *p)
{
    const int64_t columns = dit->tp_ffn.count;
    for (int i = 0; i < 2; i++) {
        lt_tensor y = lt_view_columns(p, (lt_range){i * columns, columns});
        LT_TRY(lt_leaf_outputs_apply(dit->engine->compute, &leaves->ff_in[i], u, &y));
    }
    return LT_OK;
}

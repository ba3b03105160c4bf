/* qwen3vl.h - H3's text encoder: token ids to text rows.
 * Source: spec/minimax-h3.md 2.3 and 3.1; transformers 5.23, modeling_qwen3_vl.py (the text model).
 *
 * A text row is the residual stream after 50 decoder layers, before any norm. Later layers, the
 * last norm and the head of the published network are never read. Attention is causal, so a row
 * depends on itself and the rows before.
 *
 * Who holds what: whole key-value groups of heads and FFN columns are shared over
 * mesh->axis[LT_AXIS_TP] as unions of their 16 chunks (parallel/fixed_tree.h), so that the text
 * rows have the same bits on every mesh; a rank may have none of either. Rows are whole on every
 * rank; ranks along other axes do the same work again. Rounding in bf16: spec 3.1. Tested:
 * tests/parity/test_qwen3vl.c (published numbers). */
#ifndef LT_QWEN3VL_H
#define LT_QWEN3VL_H

#include "model/files/checkpoint.h"
#include "parallel/context.h"

typedef struct lt_qwen3vl_config {
    int64_t hidden, layers, ffn, vocab;
    int64_t heads, kv_heads, head_dim; /* heads * head_dim need not be hidden */
    int64_t
        mrope_section[3]; /* frequencies of T, H, W; for text alone all turn by the row's number */
    double rope_theta, rms_eps;
    int64_t hidden_state; /* how many layers run: 50 */
} lt_qwen3vl_config;

/* Read text_config of config.json. Every number is checked against limits that keep sizes far from
 * overflow; there must be more than 50 layers, since the library would norm the last layer's
 * output. Local, Blocking. Errors: LT_ENOINPUT; LT_EDATA: file, field, wanted, found. */
lt_status lt_qwen3vl_config_read(const char *config_json_path, lt_qwen3vl_config *out);

typedef struct lt_qwen3vl lt_qwen3vl;

/* Read this rank's slices of the layers that run into engine->phase. compute: LT_F32 or LT_BF16. A
 * layer that adds nothing (o_proj and down_proj are all zero) is left out, its other weights
 * unread; on dry it counts in full. checkpoint and engine are borrowed until close. Collective on
 * mesh->axis[LT_AXIS_TP] (on dry Local), Blocking. Errors: LT_EDATA: file, tensor, wanted, found
 * (also for a tensor that no Qwen3-VL has); LT_ENOMEM; LT_EPEER (another rank of tp failed). */
lt_status lt_qwen3vl_open(lt_checkpoint *checkpoint, lt_engine *engine,
                          const lt_qwen3vl_config *config, lt_dtype compute, lt_qwen3vl **out);
/* Gives engine->phase back to where it stood at open. Local, Blocking. */
void lt_qwen3vl_close(lt_qwen3vl **text);

/* rows [count, hidden] host f32 = the text rows of ids [count]; the same on every rank. No ids, no
 * rows. Only the used rows of the embedding table are read from the file. Takes scratch from
 * engine->step and gives it back. On dry ids and rows may be NULL. Collective on
 * mesh->axis[LT_AXIS_TP], Blocking. Errors: LT_EDATA: an id that the table lacks, and where it
 * stands; LT_ENOMEM, LT_EIO, LT_EPEER. */
lt_status lt_qwen3vl_encode(lt_qwen3vl *text, const int32_t *ids, int64_t count, float *rows);

#endif

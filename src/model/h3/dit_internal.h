/* dit_internal.h - what the files of H3's DiT share.
 * dit_config.c reads the config; dit.c opens and loads; dit_tables.c makes modulation
 * tables; dit_state.c prepares one text and one shape; dit_blocks.c runs blocks over
 * rows; dit_forward.c is one evaluation. */
#ifndef LT_H3_DIT_INTERNAL_H
#define LT_H3_DIT_INTERNAL_H

#include "model/h3/dit.h"
#include "model/weights/layers.h"
#include "model/weights/split_weights.h"
#include "parallel/attention/attention.h"

/* Six chunks of a block's table row (spec 4.5), in units of hidden columns. */
enum {
    LT_H3_SHIFT_ATTN,
    LT_H3_SCALE_ATTN,
    LT_H3_GATE_ATTN,
    LT_H3_SHIFT_FFN,
    LT_H3_SCALE_FFN,
    LT_H3_GATE_FFN,
    LT_H3_CHUNKS
};

/* One transformer or refiner block, this rank's slices. */
typedef struct lt_h3_block {
    lt_tensor norm1, norm2, norm_q, norm_k;
    lt_column_linear qkv, ff_in; /* ff_in: value, gate */
    lt_row_linear out, ff_out;
} lt_h3_block;

/* A kind of rows (text, audio, video) and who has them. Slot j of the kind is row indices[j]. */
typedef struct lt_h3_rows {
    int64_t width, count, mine, first; /* first: where my slots begin in order */
    int32_t *order;                    /* [count]: slots, rank by rank, ascending within a rank */
    int64_t *counts;                   /* [P]: slots of each rank of tokens */
    float *stage, *all;                /* host: my rows going up, all rows coming down */
    lt_tensor local;                   /* i32 [mine]: place of my slots among my rows */
} lt_h3_rows;

/* One text and one shape. States lie in engine->step in the order in which they began: `below` is
 * the one that began before. One that ended with others above it is kept until they have ended. */
struct lt_h3_dit_state {
    lt_h3_dit *dit;
    lt_h3_dit_state *below;
    int ended;
    const lt_h3_layout *layout;
    lt_mark mark; /* of step, before begin */
    lt_h3_rows video, audio, text;
    int covered;                  /* every row of mine is named by an index */
    lt_range share;               /* my rows */
    lt_attention_share attention; /* who holds which rows and heads */
    lt_tensor cos, sin;           /* [S/P, 3 * rope_freqs] */
    lt_tensor text_refined;       /* [my text rows, hidden] */
    int32_t *index_stage;         /* host [2 * S/P] */
    int32_t *timestep_map;        /* host [timesteps]: place in this forward's table, or -1 */
    int map_count;
    int64_t dry_bytes; /* dry: what the host arrays above would take */
};

struct lt_h3_dit {
    lt_checkpoint *checkpoint;
    lt_engine *engine;
    int64_t row_block; /* the device's; row-local work goes by it, whatever the mesh */
    lt_h3_dit_config config;
    lt_dtype compute;
    int dry;
    lt_group *tokens, *tp;
    lt_split heads, ffn; /* over tp; ordered where the mesh is deterministic */
    int loaded;
    lt_weights *weights;
    lt_layers *turns; /* the blocks' */
    lt_linear *proj_in, *audio_proj_in, *context, *proj_out, *audio_proj_out;
    lt_tensor refiner_norm, out_norm;
    lt_h3_block *blocks, *refiner; /* [layers], [refiner_layers] */
    float *timesteps;              /* [timestep_count] */
    int timestep_count;
    unsigned char *tables;   /* host; layer i at i * layer_bytes, norm_out last */
    lt_h3_dit_state *states; /* the one that began last */
    lt_h3_dit_tap tap;
    void *tap_ctx;
};

/* What it takes to run blocks over some rows; taken from step by lt_h3_pass_new. */
typedef struct lt_h3_pass {
    lt_tensor h;                     /* [rows, hidden]: the residual stream, in place */
    lt_tensor index;                 /* i32 [rows] into the tables; ndim 0: no modulation */
    lt_tensor cos, sin;              /* ndim 0: no rotation */
    const lt_attention_share *share; /* who has which rows and heads; NULL: attention stays here */
    lt_tensor u, qkv, attention_out, p, s;
    lt_row_scratch back; /* of the ways back into h; its first buffer serves the heads too */
} lt_h3_pass;

/* All functions are Local unless they say Collective.
 * Bytes of one block's table for count timesteps. */
size_t lt_h3_layer_bytes(const lt_h3_dit *dit, int count);
/* Scratch for h's rows, which must be taken already; attention's own comes and goes with each call.
 */
lt_status lt_h3_pass_new(const lt_h3_dit *dit, const lt_tensor *h, const lt_attention_share *share,
                         lt_h3_pass *out);
/* h = block(h). table: [timesteps * 3, 6 * hidden], NULL without modulation. Queued, Collective on
 * tp and, when the pass has a share, on tokens. */
lt_status lt_h3_block_run(const lt_h3_dit *dit, const lt_h3_block *block, const lt_tensor *table,
                          lt_h3_pass *pass);
/* Show rows to the tap, if there is one. Blocking. */
lt_status lt_h3_show_rows(const lt_h3_dit *dit, const char *what, int64_t layer, lt_range rows,
                          const lt_tensor *h);
/* Rows [first, first + count) of x. */
lt_tensor lt_h3_rows_at(const lt_tensor *x, int64_t first, int64_t count);
/* lt_upload and lt_download on compute; nothing on dry, where there may be no host array. */
lt_status lt_h3_up(const lt_h3_dit *dit, const lt_tensor *to, const void *from);
lt_status lt_h3_down(const lt_h3_dit *dit, void *to, const lt_tensor *from);

#endif

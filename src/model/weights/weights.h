/* weights.h - from named tensors to prepared layers of an engine.
 *
 * An lt_weights belongs to one part (DiT, text encoder, a VAE) while it is loaded: it reads slices
 * of the checkpoint into a staging buffer, prepares layers and tensors in engine->phase, and
 * remembers them, so that closing it frees all at once. On the backend `dry` nothing is read: names
 * and shapes are checked, memory is counted. Names: "transformer_blocks.3.attn.to_q" stands for
 * ".weight" and ".bias". Local, Blocking. Errors: as checkpoint.h, and LT_ENOMEM. */
#ifndef LT_WEIGHTS_H
#define LT_WEIGHTS_H

#include "model/files/checkpoint.h"
#include "model/weights/collective_read.h"
#include "parallel/context.h"

typedef struct lt_weights lt_weights;

/* compute: LT_F32 or LT_BF16, what lt_weights_linear prepares unless it says otherwise. Checkpoint
 * and engine are borrowed. Close waits for the queues, frees all layers and gives engine->phase
 * back to where it stood at open, with whatever others took from it since. */
lt_status lt_weights_open(lt_checkpoint *checkpoint, lt_engine *engine, lt_dtype compute,
                          lt_weights **out);
void lt_weights_close(lt_weights **weights);
lt_engine *lt_weights_engine(const lt_weights *weights);
lt_checkpoint *lt_weights_checkpoint(const lt_weights *weights);
int lt_weights_is_dry(const lt_weights *weights);
/* From here on layers are loaded together with the ranks of this loading (borrowed; NULL: alone).
 * On dry nothing is exchanged; lt_checkpoint_bytes_planned counts what this rank would read. */
void lt_weights_load_with(lt_weights *weights, lt_loading *loading);
/* What is prepared from here on comes from this arena of the backend's memory; NULL:
 * engine->phase, as at first. */
void lt_weights_into(lt_weights *weights, lt_arena *arena);
/* All that was asked is loaded: give back the host buffers of reading. Later reads take them again.
 */
void lt_weights_rest(lt_weights *weights);
/* The largest host buffer that loading took so far; on dry, that it would take. */
size_t lt_weights_staging_bytes(const lt_weights *weights);

/* How much of a layer this rank takes: rows of W are its outputs, columns its inputs. */
typedef struct lt_layer_spec {
    int64_t out, in;  /* of the whole layer */
    lt_range rows[2]; /* up to two ranges of output rows, one after the other (SwiGLU halves); count
                         0 = unused */
    lt_range columns; /* of the inputs */
    int bias; /* 1: name.bias [out] exists and is added (only pass it on one rank of a column split)
               */
    int bias_none;    /* 1: name.bias exists but this rank leaves it to another */
    lt_dtype compute; /* LT_F32 / LT_BF16 */
} lt_layer_spec;
/* The whole layer in the weights' compute dtype. */
lt_layer_spec lt_layer_whole(const lt_weights *weights, int64_t out, int64_t in, int bias);

lt_status lt_weights_linear(lt_weights *weights, const char *name, const lt_layer_spec *spec,
                            lt_linear **out);
/* Several layers with the same inputs joined along the outputs (q,k,v; gate,up), in the order
 * given. */
lt_status lt_weights_linear_joined(lt_weights *weights, const char *const *names,
                                   const lt_layer_spec *specs, int count, lt_linear **out);
/* spec->columns, maybe none, of all rows of a layer, as `count` layers, each with some of them:
 * cut[i] of the whole layer's inputs, inside the columns; an empty one leaves out[i] NULL. A bias
 * (spec->bias) is read by this rank alone and added by the first, whose cut is then not empty. Each
 * rank of the loading names its own columns, and all rows are read once over its group. Collective
 * on the loading's group, or Local without one; then the columns alone are read. */
lt_status lt_weights_linear_columns(lt_weights *weights, const char *name,
                                    const lt_layer_spec *spec, const lt_range *cut, int count,
                                    lt_linear **out);
/* A layer whose weights the caller computed, host memory (spec as backend.h; pointers NULL on dry).
 */
lt_status lt_weights_linear_from(lt_weights *weights, const char *name, const lt_linear_spec *spec,
                                 lt_linear **out);
lt_status lt_weights_conv_from(lt_weights *weights, const char *name, const lt_conv_spec *spec,
                               lt_conv **out);

/* A whole tensor "NAME" (full name) with these dims, as dtype, on the device. */
lt_status lt_weights_tensor(lt_weights *weights, const char *name, lt_dims dims, lt_dtype dtype,
                            lt_tensor *out);

#endif

/* ref.h - the reference's kernels, one function per op.
 *
 * Each takes an lt_op whose shapes the checked ops of kernels.h have checked, works on memory
 * that the CPU may read and write, on the caller's thread, and has finished when it returns.
 * Another backend whose tensors are host memory may put any of them into its table, but for
 * lt_ref_linear and lt_ref_conv, which read layers that lt_backend_ref prepared.
 * Contracts: kernels/kernels.h. Where a sum is long it is kept in f64; where kernels.h rounds, so
 * do they, and nowhere else.
 * All are Local. Errors: LT_ENOMEM from those that need scratch: linear, conv, attention. */
#ifndef LT_REF_H
#define LT_REF_H

#include "kernels/backend.h"

extern const lt_kernel lt_ref_kernels[LT_OP_COUNT];

/* linear.c */
lt_status lt_ref_linear(const lt_op *op);
size_t lt_ref_linear_bytes(const lt_linear_spec *spec);
lt_status lt_ref_linear_prepare(const lt_linear_spec *spec, void *memory, lt_linear **out);
void lt_ref_linear_release(lt_linear **linear);

/* conv.c */
lt_status lt_ref_conv(const lt_op *op);
size_t lt_ref_conv_bytes(const lt_conv_spec *spec);
lt_status lt_ref_conv_prepare(const lt_conv_spec *spec, void *memory, lt_conv **out);
void lt_ref_conv_release(lt_conv **conv);

/* rows.c */
lt_status lt_ref_copy(const lt_op *op);
lt_status lt_ref_fill(const lt_op *op);
lt_status lt_ref_axpby(const lt_op *op);
lt_status lt_ref_mul(const lt_op *op);
lt_status lt_ref_scale_add(const lt_op *op);
lt_status lt_ref_activation(const lt_op *op);
lt_status lt_ref_clamp(const lt_op *op);
lt_status lt_ref_swiglu(const lt_op *op);
lt_status lt_ref_gate_add(const lt_op *op);
lt_status lt_ref_gather_rows(const lt_op *op);
lt_status lt_ref_scatter_rows(const lt_op *op);
lt_status lt_ref_sum_parts(const lt_op *op);

/* norm.c */
lt_status lt_ref_rms_norm(const lt_op *op);
lt_status lt_ref_layer_norm(const lt_op *op);
lt_status lt_ref_group_norm(const lt_op *op);
lt_status lt_ref_norm_modulate(const lt_op *op);

/* rope.c */
lt_status lt_ref_head_norm_rope(const lt_op *op);

/* attention.c */
lt_status lt_ref_attention(const lt_op *op);
lt_status lt_ref_attention_merge(const lt_op *op);

/* media.c */
lt_status lt_ref_pad_reflect(const lt_op *op);
lt_status lt_ref_snake(const lt_op *op);
lt_status lt_ref_snake_aa(const lt_op *op);

#endif

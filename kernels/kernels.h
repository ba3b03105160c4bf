/* kernels.h - every numeric operation, with its contract.
 *
 * All functions are Local and Queued on q unless they say Blocking. All accept zero rows. Tensors
 * are device memory of q's backend; the last dim is dense, row strides are free unless "dense" is
 * said. Activations are f32 or bf16; "act" below means either, the same for all act arguments of a
 * call ("any act": not necessarily the same). Arithmetic is f32. With bf16, a result is rounded
 * where the contract says round(); with f32, round() does nothing. In-place use (y = x) is allowed
 * where it says so, else y must not overlap inputs.
 * Errors: LT_ESHAPE naming op, argument, wanted, found (checked before anything is queued).
 * Row independence: the result for a row depends on that row (and on weights and tables) alone: its
 * bits change with neither the number of rows nor that of threads.
 * Tested: tests/unit/test_kernels_*.c, each backend against ref; ref against values of torch. */
#ifndef LT_KERNELS_H
#define LT_KERNELS_H

#include "kernels/backend.h"

/* ---- memory and order ---- */
/* Copy count = elements(to) from host, dense, same dtype. `from` must stay unchanged until q
 * passed. NULL on a backend that is dry. */
lt_status lt_upload(lt_queue *q, const lt_tensor *to, const void *from);
lt_status lt_download(lt_queue *q, void *to, const lt_tensor *from);
lt_status lt_mark_event(lt_queue *q, lt_event *event);
lt_status lt_wait(lt_queue *q, const lt_event *event);
lt_status lt_sync(lt_queue *q); /* Blocking */
/* Queue the host function fn(work, call): exchanges with other ranks. work [bytes] is copied.
 * Errors: LT_ENOMEM; waits and syncs return what fn fails with. */
lt_status lt_host(lt_queue *q, lt_host_fn fn, const void *work, size_t bytes);
/* How far q has got: an event of q with a seq up to this has happened. Any thread, never blocks. */
uint64_t lt_queue_done(const lt_queue *q);
/* Cancel: this rank has failed, and nothing more of what q holds runs. Blocking until what runs has
 * ended. Keeps the error text. Local. */
void lt_cancel(lt_queue *q);

/* ---- prepared layers. Blocking. Device memory comes from arena; free before the arena. ---- */
lt_status lt_linear_prepare(const lt_backend *backend, lt_arena *arena, const char *name,
                            const lt_linear_spec *spec, lt_linear **out);
void lt_linear_free(lt_linear **linear);
lt_status lt_conv_prepare(const lt_backend *backend, lt_arena *arena, const char *name,
                          const lt_conv_spec *spec, lt_conv **out);
void lt_conv_free(lt_conv **conv);

/* y[S, out] = round(act(x[S, in] W^T + b)). x has linear->compute's dtype; y is f32 or bf16,
 * whatever x is. Accumulation f32 (or better), bias added in f32, one rounding at the end. x, y may
 * have any number of leading dims: only row count and width matter. in = 0 gives act(b). Tolerance
 * to ref: 2e-6 of the largest |y| per 1,000 of `in` in f32; 1 ulp of bf16 on top when y is bf16. */
lt_status lt_linear_apply(lt_queue *q, const lt_linear *w, const lt_tensor *x,
                          lt_activation activation, lt_tensor *y);

/* y[B, T', H', W', out] f32 = conv(x[B, T, H, W, in]) f32, both dense 5-D. */
lt_status lt_conv_apply(lt_queue *q, const lt_conv *w, const lt_tensor *x, lt_tensor *y);

/* ---- rows ---- */
/* y = x with y's dtype (any of f32, bf16, f16; or equal dtypes); same row count and width. */
lt_status lt_copy(lt_queue *q, const lt_tensor *x, lt_tensor *y);
lt_status lt_fill(lt_queue *q, lt_tensor *y, float value);
/* y = round(a*x + b*y); b = 0 does not read y. x, y act, may differ in dtype. In place allowed. */
lt_status lt_axpby(lt_queue *q, float a, const lt_tensor *x, float b, lt_tensor *y);
/* y = round(x * y). */
lt_status lt_mul(lt_queue *q, const lt_tensor *x, lt_tensor *y);
/* y[S, E] = round(y + x[S, E] * scale[E]); product in f32, one rounding. scale f32. x any act, y
 * any act. */
lt_status lt_scale_add(lt_queue *q, const lt_tensor *x, const lt_tensor *scale, lt_tensor *y);
/* y = round(f(x)); y may have another act dtype (silu of f32 into bf16: one rounding). In place
 * allowed. */
lt_status lt_activate(lt_queue *q, const lt_tensor *x, lt_activation f, lt_tensor *y);
/* y = min(max(x, lo), hi); NaN stays. In place allowed. */
lt_status lt_clamp(lt_queue *q, const lt_tensor *x, float lo, float hi, lt_tensor *y);

/* y = x * rsqrt(mean(x^2) + eps) [* w]; sums f32. w [E] of any act dtype or NULL.
 * LT_ROUND_ONCE: round(norm * w). LT_ROUND_TWICE: round(round(norm) * w). In place allowed.
 * x and y may differ in dtype (f32 residual, bf16 operand). */
lt_status lt_rms_norm(lt_queue *q, const lt_tensor *x, const lt_tensor *w, float eps,
                      lt_rounding rounding, lt_tensor *y);
/* y = round((x - mean) * rsqrt(var + eps) * w + b), var biased. w, b [E] f32. */
lt_status lt_layer_norm(lt_queue *q, const lt_tensor *x, const lt_tensor *w, const lt_tensor *b,
                        float eps, lt_tensor *y);
/* x, y [B, M, C] f32 dense: statistics over (M, C/groups) of each b and group; then w*x + b per
 * channel, then activation. In place allowed. */
lt_status lt_group_norm(lt_queue *q, const lt_tensor *x, const lt_tensor *w, const lt_tensor *b,
                        int64_t groups, float eps, lt_activation activation, lt_tensor *y);

/* adaLN. Row r of x uses row index[r] of table; shift and scale are E columns of it from the given
 * columns on: y = round(round(round(rms(x) * w) * round(1 + scale)) + shift).
 * x, y [S, E] act; w [E] of any act dtype; table [R, *] of x's dtype; index [S] i32 (device), each
 * in [0, R). */
lt_status lt_norm_modulate(lt_queue *q, const lt_tensor *x, const lt_tensor *w, float eps,
                           const lt_tensor *table, const lt_tensor *index, int64_t shift_column,
                           int64_t scale_column, lt_tensor *y);
/* y = round(y + round(gate * x)), gate picked as above. */
lt_status lt_gate_add(lt_queue *q, const lt_tensor *x, const lt_tensor *table,
                      const lt_tensor *index, int64_t gate_column, lt_tensor *y);
/* x [S, 2F] = [value | gate]; y [S, F] = round(value * round(silu(gate))). */
lt_status lt_swiglu(lt_queue *q, const lt_tensor *x, lt_tensor *y);

/* In place on x [S, heads*D] act: per head an RMS norm over D (skipped when eps < 0; w [D] of any
 * act dtype or NULL), then rotation of pairs (a, a + R) for a < R, R = width of cos and sin [S, R]
 * (skipped when cos is NULL): x'[a]     = round(round(x[a]   * cos) - round(x[a+R] * sin)) x'[a +
 * R] = round(round(x[a+R] * cos) + round(x[a]   * sin)) cos, sin: x's dtype. Channels from 2R on
 * pass. */
lt_status lt_head_norm_rope(lt_queue *q, lt_tensor *x, int64_t heads, const lt_tensor *w, float eps,
                            lt_rounding rounding, const lt_tensor *cos, const lt_tensor *sin);

/* Softmax attention. qx [Sq, heads*D], k, v [Sk, kv_heads*D] act; heads is a multiple of kv_heads,
 * head h uses kv head h / (heads/kv_heads). y [Sq, heads*D] act of qx's dtype, or f32 (a partial
 * result that is merged later: nothing is rounded). Logits scale*q.k in f32. causal:
 * query i sees key j when j <= i + q_first. lse: NULL or [heads, Sq] f32 dense: log of the sum of
 * exp(logit), natural; -inf where no key is seen (then y is 0; Sk = 0 is allowed). y is rounded
 * once. The bf16 fast path may round the probabilities to bf16 before the product with v.
 * Tolerance: f32 1e-6 * largest |v|; bf16 2^-7 of it. */
lt_status lt_attention(lt_queue *q, const lt_tensor *qx, const lt_tensor *k, const lt_tensor *v,
                       int64_t heads, int64_t kv_heads, float scale, int causal, int64_t q_first,
                       lt_tensor *y, lt_tensor *lse);
/* Merge a partial result over other keys into (y, lse): m = max, weights e^(lse - m); all f32 but
 * y2, which may be any act (a partial result that a library rounded). y, y2 [Sq, heads*D]. */
lt_status lt_attention_merge(lt_queue *q, const lt_tensor *y2, const lt_tensor *lse2, int64_t heads,
                             lt_tensor *y, lt_tensor *lse);

/* y[i] = x[index[i]] / y[index[i]] = x[i]; whole rows, casting; index i32 (device), checked on ref
 * and cpu (assert). Rows of y that no index names stay. */
lt_status lt_gather_rows(lt_queue *q, const lt_tensor *x, const lt_tensor *index, lt_tensor *y);
lt_status lt_scatter_rows(lt_queue *q, const lt_tensor *x, const lt_tensor *index, lt_tensor *y);
/* x [P, S, E] f32 dense: y [S, E] = round(((x0 + x1) + x2) + ...), in rank order. */
lt_status lt_sum_parts(lt_queue *q, const lt_tensor *x, lt_tensor *y);

/* ---- video and audio, f32, dense ---- */
/* x [B, T, H, W, C] -> y [B, T, H + top + bottom, W + left + right, C]; torch 'reflect' (edge not
 * repeated). */
lt_status lt_pad_reflect(lt_queue *q, const lt_tensor *x, int64_t top, int64_t bottom, int64_t left,
                         int64_t right, lt_tensor *y);
/* x, y [B, T, C]: x + sin^2(alpha x) / (alpha + 1e-9), alpha [C]. In place allowed. */
lt_status lt_snake(lt_queue *q, const lt_tensor *x, const lt_tensor *alpha, lt_tensor *y);
/* BigVGAN's anti-aliased activation (spec/minimax-h3.md 7.3): upsample x2 by `up` [12], SnakeBeta
 * with e^alpha, e^beta ([C], stored as logs), downsample x2 by `down` [12]; replicate edges. x, y
 * [B, T, C]. */
lt_status lt_snake_aa(lt_queue *q, const lt_tensor *x, const lt_tensor *alpha,
                      const lt_tensor *beta, const lt_tensor *up, const lt_tensor *down,
                      lt_tensor *y);

#endif

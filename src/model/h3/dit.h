/* dit.h - H3's denoiser: noisy rows of video and audio in, velocities out.
 * Source: spec/minimax-h3.md 4; the published MiniMaxH3Transformer3DModel (diffusers 0.42.1).
 *
 * Life of one: open -> tables -> load -> { begin -> forward ... -> end } ... ->
 * close. Several states, each of one text and one shape, may be alive at once. The tables hold
 * what the 13 B modulation weights say for the run's timesteps; those weights are read layer by
 * layer and dropped, so memory needs the larger of tables' one layer and load's blocks, never the
 * sum.
 *
 * Who holds what. Rows of the packed sequence: contiguous shares over mesh->tokens. Heads: over tp,
 * and the tp share over uly while attention runs; over ring, keys and values travel
 * (attention.h). FFN columns: over tp. Text rows are refined whole
 * on each rank of tokens. Latents and velocities are whole on every rank. Any share may be empty.
 * Rounding in bf16: spec 4.5.
 *
 * Unless a line says otherwise functions are Collective on engine->mesh->world, Blocking. After an
 * error the only calls allowed are end and close. On the backend `dry` host arrays may be NULL.
 * Tested: tests/parity/test_h3_dit.c (published numbers), tests/ranks/test_dit_ranks.c (1 to 4
 * ranks). */
#ifndef LT_H3_DIT_H
#define LT_H3_DIT_H

#include "model/files/checkpoint.h"
#include "model/h3/layout.h"
#include "parallel/context.h"

typedef struct lt_h3_dit_config {
    int64_t heads, head_dim; /* heads * head_dim need not be hidden */
    int64_t hidden, layers, refiner_layers, ffn;
    int64_t channels, audio_channels; /* of the latents; a video row is 4 * channels wide */
    int64_t text_dim, freq_dim, time_hidden, time_dim;
    int64_t rope_freqs; /* per axis; 6 * rope_freqs <= head_dim channels turn */
    double rope_theta, norm_eps, qk_norm_eps, final_norm_eps;
} lt_h3_dit_config;

/* Read config.json, under diffusers' or the original layout's names. Every number is checked
 * against limits that keep sizes far from overflow. Local, Blocking. Errors: LT_ENOINPUT; LT_EDATA:
 * file, field, wanted, found. */
lt_status lt_h3_dit_config_read(const char *config_json_path, lt_h3_dit_config *out);
/* Width of a video row: 4 * channels. Local. */
int64_t lt_h3_dit_video_width(const lt_h3_dit_config *config);

typedef struct lt_h3_dit lt_h3_dit;
typedef struct lt_h3_dit_state lt_h3_dit_state;

/* Check that the checkpoint holds exactly this config's tensors (headers only) and note the shares
 * of this rank. compute: LT_F32 or LT_BF16; the 12 tensors of patch projections, time and heads
 * stay f32. Checkpoint and engine are borrowed until close. Local, Blocking. Errors: LT_EDATA:
 * file, tensor, wanted, found. */
lt_status lt_h3_dit_open(lt_checkpoint *checkpoint, lt_engine *engine,
                         const lt_h3_dit_config *config, lt_dtype compute, lt_h3_dit **out);
/* Local. Its states have ended. Gives no arena back: release your mark of phase after it. */
void lt_h3_dit_close(lt_h3_dit **dit);

/* Make the modulation tables of these timesteps, in any order, on the host of every rank; earlier
 * ones are replaced. Rank i of the world makes layers i, i + P, ...; then each layer is broadcast.
 * Uses and gives back phase and step. Errors: LT_EDATA (weights), LT_ENOMEM, LT_EPEER. */
lt_status lt_h3_dit_tables(lt_h3_dit *dit, const float *timesteps, int count);
/* The tables as one host array (layers, then norm_out; the compute dtype): bytes() bytes, the same
 * on every rank, which tests hold them to. Local. */
size_t lt_h3_dit_tables_bytes(const lt_h3_dit *dit, int count);
lt_status lt_h3_dit_tables_get(const lt_h3_dit *dit, void *to, size_t bytes);
/* And back: tables of these timesteps that were made before, by a DiT of this config and dtype.
 * Local. Errors: LT_EDATA (another size), LT_ENOMEM. */
lt_status lt_h3_dit_tables_set(lt_h3_dit *dit, const float *timesteps, int count, const void *from,
                               size_t bytes);
/* The size that tables of so many timesteps have. Local. */
size_t lt_h3_tables_bytes(const lt_h3_dit_config *config, lt_dtype compute, int count);
/* The timesteps that the tables are for; *count 0 when there are none. Local. */
const float *lt_h3_dit_timesteps(const lt_h3_dit *dit, int *count);

/* Read this rank's slices of all other weights into phase; does nothing when they are there. Local
 * but for a closing agreement. Errors: LT_EDATA, LT_ENOMEM, LT_EPEER. */
lt_status lt_h3_dit_load(lt_h3_dit *dit);

/* Begin a state: rotary rows of my share, refined text rows, index rows; they stay in
 * engine->step until end, and forward works above them. text_rows [L, text_dim] host, dense. The
 * layout is borrowed until end. Loads if need be. *out NULL after an error. Collective on
 * mesh->tokens and tp, all ranks in the same order of states. Errors: LT_EDATA, LT_ENOMEM. */
lt_status lt_h3_dit_begin(lt_h3_dit *dit, const lt_h3_layout *layout, const void *text_rows,
                          lt_dtype text_dtype, lt_h3_dit_state **out);

/* One evaluation. video_rows [Nv, 4C] and audio_rows [Na, Ca] f32 in the order of the layout's
 * indices; timestep_index [S] names the tables' timestep of each row. Outputs, same shapes, whole
 * on every rank; a NaN in them is for the caller to see. Host arrays, none may overlap. What other
 * states are alive never shows. Collective on mesh->tokens and tp, Blocking. Errors: LT_EUSAGE when
 * tables are missing; LT_EDATA for an index outside the tables; LT_ENOMEM. */
lt_status lt_h3_dit_forward(lt_h3_dit *dit, lt_h3_dit_state *state, const float *video_rows,
                            const float *audio_rows, const int32_t *timestep_index,
                            float *video_out, float *audio_out);

/* On dry: one evaluation whose rows have so many different timesteps, as far as there are tables;
 * lt_h3_dit_forward without arrays has two, one a stream. Local. */
lt_status lt_h3_dit_forward_dry(lt_h3_dit *dit, lt_h3_dit_state *state, int levels);

/* End a state, in any order; NULL is fine. What it took of engine->step comes back when those that
 * began after it have ended too, and only if nothing else was taken of step since. Local. */
void lt_h3_dit_end(lt_h3_dit_state **state);

/* For parity of intermediates: fn is called in begin ("refiner", -1) and forward ("block", i) with
 * this rank's rows, [rows, hidden] as f32 on the host. NULL ends it. Local; slow. */
typedef void (*lt_h3_dit_tap)(void *ctx, const char *what, int64_t layer, lt_range rows,
                              const float *values);
void lt_h3_dit_set_tap(lt_h3_dit *dit, lt_h3_dit_tap fn, void *ctx);

#endif

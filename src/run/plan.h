/* plan.h - who computes what for one job on one set of ranks, decided before work.
 *
 * Rank 0 drafts a plan from the job and the opened model, and broadcasts its text. Each rank finds
 * what the draft takes there (estimate.h); rank 0 adds that to the text (plan_json.h) and
 * broadcasts it again. These bytes are the plan: every rank works from them and none changes them;
 * RUN/plan.json and latents.h5 hold them (session.h does all of this). What differs by rank is in
 * the session. */
#ifndef LT_PLAN_H
#define LT_PLAN_H

#include "media/mux.h"
#include "model/family.h"
#include "run/job.h"
#include "run/shots.h"
#include "scheduler/windowing.h"

enum { LT_PLAN_FRAMES_MAX = 24 * 3600 }; /* an hour; more is a mistake of units */

/* How the clip is cut into windows, as the options and plan.json have it: frames and pixels. */
typedef struct lt_windows_asked {
    lt_mode mode;
    int64_t window, overlap; /* frames; 0: mode single of a plan of before */
    int64_t fade;            /* frames of the overlap that `extend` fades into */
    lt_fuse_kind fuse;
    int dither, owner_cut_steps, global_positions;
    int64_t anchor[LT_ANCHORS_MAX]; /* frames, ascending */
    int anchors;
    double refine_from; /* sigma */
    int64_t coarse_width, coarse_height, tile_width, tile_height;
} lt_windows_asked;

/* When is decoded: once all is denoised, or beside it, what is final by then, with DiT and decoders
 * in memory together. */
typedef enum lt_decoding_when {
    LT_DECODING_AFTER,
    LT_DECODING_BESIDE,
    LT_DECODING_AUTO
} lt_decoding_when;

typedef struct lt_plan {
    char *model, *prompt, *output, *run; /* owned; run = folder */
    lt_storyboard board;                 /* the prompt is all of its prompts */
    lt_shape shape;                      /* on the grid; of a storyboard its longest shot's */
    int64_t frames, samples;             /* asked: what the file holds */
    int fps, sample_rate, steps;
    int evaluations; /* that the family makes of steps */
    int threads;     /* of a draft: asked for, 0 as many as fit; of a plan: rank 0's */
    uint64_t seed;
    lt_mesh_spec mesh;
    lt_placement_mode placement;      /* how ranks come to their positions of the mesh */
    int decode_tp;                    /* ranks that decode a chunk together; divides all ranks */
    lt_attention_algorithm attention; /* how it reaches over ring */
    int deterministic;                /* 1: the same bits on every mesh */
    int resident_layers, resident_text_layers; /* of the DiT, of the text encoder, that stay in
                                                  memory while they work; 0: all */
    int layers_at_peers; /* 1: of the DiT's other layers each rank of ring and uly keeps a share */
    lt_decoding_when decoding; /* of a plan never auto */
    lt_dtype dtype;
    char device[16], codec[16], suffix[8], preset[16]; /* preset "": the codec's default */
    int crf;                                           /* 0: the codec's default */
    double loudness;                                   /* LUFS; 0: as it is */
    double cut_fade_ms;                                /* of the sound at cuts; 0: none */
    lt_windows_asked asked;
    lt_stream stream[LT_STREAMS_MAX]; /* from here on what follows from the above and the model */
    int stream_count;
    const lt_grid *grid;
    lt_windowing windowing; /* of asked, in latents */
    char *text; /* the bytes that it was read from, NUL behind them, owned; NULL: a draft */
} lt_plan;

/* Rank 0 only. nodes: of the job's ranks; shots: where the job's storyboard was given, for
 * messages. Warns about lengths, sizes and words that the model doesn't know. Errors: LT_EUSAGE,
 * LT_EUNAVAIL. */
lt_status lt_plan_make(const lt_job *job, const char *shots, const lt_model *model,
                       const lt_nodes *nodes, lt_plan *out);
void lt_plan_free(lt_plan *plan);
/* The job's --decode-tp, for so many ranks. Local. Errors: LT_EUSAGE if it does not divide them. */
lt_status lt_plan_decode_tp(const lt_job *job, int ranks, lt_plan *out);
/* "after", "beside"; anything else: auto. Local. */
lt_decoding_when lt_plan_decoding(const char *word);
/* The job's --crf, --preset, --loudness and --cut-fade. Local. */
void lt_plan_quality(const lt_job *job, lt_plan *out);
/* The mesh of the decoding pool: groups of decode_tp ranks in a row. Local. */
lt_mesh_spec lt_plan_decode_mesh(const lt_plan *plan, int ranks);
/* What the muxer is asked for; of a deterministic plan, the encoder's threads do not follow
 * `threads`, since x264's and x265's bits do. Strings are the plan's and path. Local. */
void lt_plan_mux_spec(const lt_plan *plan, const char *path, int threads, lt_mux_spec *out);

/* "ranks" -> that placement; anything else: nodes. Local. */
lt_placement_mode lt_plan_placement(const char *name);
/* The job's --threads, and the name of its --device. Local. Errors: LT_EUNAVAIL. */
lt_status lt_plan_device(const lt_job *job, lt_plan *out);
/* These, --attention, --placement and --deterministic: all that lt_bind asks of a plan but the
 * mesh. Local. Errors: LT_EUNAVAIL. */
lt_status lt_plan_modes(const lt_job *job, lt_plan *out);
/* --dtype auto: bf16 where the weights are and the backend's device multiplies it. Local. */
lt_dtype lt_plan_dtype_auto(int weights_are_bf16, const lt_backend *backend);

/* What follows from the plan and the model: streams, grid, windowing; of a storyboard its longest
 * shot's (plan_shots.h has each). Local. Errors: LT_EUSAGE: a shape or windows that the model
 * refuses. */
lt_status lt_plan_streams(lt_plan *plan, const lt_model *model);

#endif

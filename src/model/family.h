/* family.h - a model architecture as one table of functions.
 *
 * The run (src/run) knows no architecture: it asks the table for the clip's streams (H3: video
 * and audio), their noise levels, text rows, velocities and frames. A model is opened once: its
 * configs, tensor headers and tokenizer are read and checked; weights are loaded by the *_open
 * functions, part by part, into the engine's phase arena, in the order in which the run releases
 * them: DiT and decoders may be open together, and what was opened last is closed first. Every
 * *_open and a forward work on the backend `dry` too: that is how memory is planned.
 *
 * Latents are host f32, one array per stream in the stream's dims, normalised (the DiT's space). */
#ifndef LT_FAMILY_H
#define LT_FAMILY_H

#include <jansson.h>

#include "model/folders.h"
#include "model/preview_map.h"
#include "parallel/context.h"
#include "scheduler/sampler.h"
#include "scheduler/window.h"

enum { LT_STREAMS_MAX = 4, LT_TRAINED_MAX = 32, LT_OWN_ANCHORS_MAX = 4 };

typedef struct lt_shape {
    int64_t frames;        /* on the family's grid */
    int64_t width, height; /* pixels */
} lt_shape;

typedef struct lt_stream {
    const char *name; /* "latents", "audio_latents": the datasets of latents.h5 */
    int ndim, time_axis;
    int64_t dim[4];
    int is_audio;
    const char *dims_text, *unit, *description;
} lt_stream;

/* What a model says of itself: longtake.json over the family's own values. */
typedef struct lt_model_facts {
    int steps; /* default --steps */
    int64_t trained_frames[LT_TRAINED_MAX];
    int trained_count; /* 0: unknown */
    int64_t window_frames;
    int64_t fade_frames; /* default --fade of `extend`; 0: none */
    int64_t anchor_frames[LT_OWN_ANCHORS_MAX];
    int anchor_count;        /* default --anchors of `extend`, ascending */
    json_t *words;           /* array or NULL: a prompt word outside gets a warning */
    lt_preview_map *preview; /* owned; NULL: none */
    int fps;
    int sample_rate;
    int weights_are_bf16; /* what --dtype auto looks at */
    int64_t heads;        /* of the DiT's attention: what --mesh auto deals out */
    int64_t default_width, default_height;
    int size_is_given; /* by longtake.json: the size that the model was trained at */
    int64_t size_multiple;
} lt_model_facts;

typedef struct lt_family lt_family;
/* What a DiT knows of one text and one shape; each family has its own. */
typedef struct lt_dit_state lt_dit_state;

/* Head of each family's model struct. */
typedef struct lt_model {
    const lt_family *family;
    char *path;
    lt_model_facts facts;
} lt_model;

/* What one forward sees of a shot: a window, or a tile of one, and where it stands for the position
 * encoding. A zeroed one with a shape is a clip by itself. Otherwise its latents have the positions
 * that they have in the shot, and so has the text (h3/layout.h says why). */
typedef struct lt_window {
    lt_shape shape; /* of the window alone, on the family's grid */
    /* Where its first latent (a multiple of grid->unit), latent row and latent column stand in the
     * shot; all 0: local positions. */
    int64_t latent, row, column;
    /* Pixels of the frame that a tile is cut from; 0, 0: the shape's own, with row = column = 0. */
    int64_t whole_width, whole_height;
    /* Extra latents of the video stream that it sees besides its own, by their distance from the
     * window's first latent (negative: before it); NULL, 0: none. */
    const int64_t *anchor;
    int anchors;
} lt_window;

/* One evaluation: the streams' latents at their timesteps -> velocities. Every timestep must be one
 * that dit_open was told. */
typedef struct lt_forward {
    const float *latent[LT_STREAMS_MAX];
    float timestep[LT_STREAMS_MAX]; /* the evaluation's level; text rows go by stream 0's */
    /* [units of the stream's time axis: latents, ticks]: where they are not all at timestep[s];
     * NULL: they are. Velocities of all units are put out, clean context's too. */
    const float *unit_timestep[LT_STREAMS_MAX];
    float *velocity[LT_STREAMS_MAX];
    /* Of a window with anchors: [C, anchors, h, w], all at one timestep; no velocity comes back. */
    const float *anchor_latent;
    float anchor_timestep;
} lt_forward;

/* Decoding: the film is a row of decode chunks in time. A chunk's raw frames need only its own
 * latents, its finished frames also the previous chunk's overlap frames. */
typedef struct lt_decode_chunk {
    int64_t first_latent, latents; /* range along the video stream's time axis */
    int64_t first_frame, frames;   /* what it finishes */
} lt_decode_chunk;

struct lt_family {
    const char *name;
    const lt_folders *folders;
    /* 1 if the folder looks like this family's (by its files, not its name). */
    int (*recognise)(const char *path);
    /* Local, Blocking. Reads configs and headers. Errors: LT_ENOINPUT, LT_EDATA. */
    lt_status (*open)(const char *path, lt_model **out);
    void (*close)(lt_model **model);

    const lt_grid *grid; /* on which windows lie */
    /* Next length on the grid that is at least frames. */
    int64_t (*frames_grid)(int64_t frames);
    /* Streams of a clip; *count <= LT_STREAMS_MAX. Errors: LT_EUSAGE (size, frames). */
    lt_status (*streams)(const lt_model *model, const lt_shape *shape, lt_stream *out, int *count);
    /* Evaluations that --steps asks for, 1 or more. H3 counts grid points: steps - 1. */
    int (*evaluations)(int steps);
    /* sigmas [evaluations + 1], timesteps [evaluations], of stream i. Errors: LT_EUSAGE (steps). */
    lt_status (*sigmas)(const lt_model *model, int stream, int steps, float *sigmas,
                        float *timesteps);
    float (*timestep_of)(float sigma); /* what the network is told of a level */
    lt_sampler_kind sampler;           /* what moves its latents by its velocities */
    /* Clean context (spec/long-video.md 12, M5), by stream: what the network is told of it, and how
     * much noise it gets: x = (1 - context_sigma) z + context_sigma noise, in f32. */
    float context_timestep[LT_STREAMS_MAX], context_sigma[LT_STREAMS_MAX];

    /* Text. ids: malloc'ed, the caller frees. rows [count, text_width] host f32. */
    lt_status (*tokenize)(const lt_model *model, const char *prompt, int32_t **ids, int64_t *count);
    int64_t (*text_width)(const lt_model *model);
    int (*text_ranks)(const lt_model *model, int ranks); /* how many ranks share the encoder */
    /* Text encoder, shared by engine->mesh's tp axis. text_encode serves any number of prompts
     * while it is open; on dry ids and rows may be NULL. text_close also after a failed open or
     * where nothing is open. The first two Collective on tp. */
    lt_status (*text_open)(lt_model *model, lt_engine *engine, lt_dtype dtype);
    lt_status (*text_encode)(lt_model *model, const int32_t *ids, int64_t count, float *rows);
    void (*text_close)(lt_model *model);

    /* DiT. Collective on the mesh. tables: what depends on the timesteps alone (sorted, unique);
     * may use and release much memory before dit_open loads the rest. */
    lt_status (*dit_open)(lt_model *model, lt_engine *engine, lt_dtype dtype,
                          const float *timesteps, int count);
    /* What dit_open makes of the timesteps alone: its size for so many of them, the same on all
     * ranks; what it made, while it is open; and to be given before it, borrowed until it returns,
     * in place of making them (NULL: it makes them). NULL where the family has none. Local. */
    size_t (*tables_bytes)(const lt_model *model, lt_dtype dtype, int count);
    lt_status (*tables_get)(const lt_model *model, void *to, size_t bytes);
    void (*tables_give)(lt_model *model, const void *from, size_t bytes);
    /* One text and one window, which is copied where it is needed. Several states may be alive at
     * once, in any order of forwards; all ranks begin and evaluate them in the same order. *out
     * NULL after an error. The model is open as long as they are. dit_end: NULL is fine. On dry a
     * forward needs timesteps alone, of which different ones count. */
    lt_status (*dit_begin)(lt_model *model, const lt_window *window, const float *text_rows,
                           int64_t text_count, lt_dit_state **out);
    lt_status (*dit_forward)(lt_model *model, lt_dit_state *state, const lt_forward *forward);
    void (*dit_end)(lt_dit_state **state);
    void (*dit_close)(lt_model *model);

    /* Decoders. Local, but for decode_open (not on dry) and chunk_raw: the ranks of engine->mesh's
     * tp axis share the video decoder's weights. They open together, and where one of them fails
     * the others get LT_EPEER: before the first chunk all must know that each has opened
     * (lt_agree). They call chunk_raw for the same chunks in the same order.
     * chunk_raw: latents of the chunk (contiguous [C, latents, h, w], normalised) -> raw frames,
     * decode_raw_bytes of them; raw NULL: this rank takes part and gets none.
     * chunk_overlap: copies the overlap frames, decode_overlap_bytes at the end of raw.
     * chunk_finish: raw + the previous chunk's overlap (NULL for chunk 0) -> frames, planar RGB
     * [frames, 3, H, W] of dtype LT_U8 or LT_U16. */
    lt_status (*decode_open)(lt_model *model, lt_engine *engine);
    int64_t (*decode_chunks)(const lt_model *model, const lt_shape *shape);
    lt_decode_chunk (*decode_chunk)(const lt_model *model, const lt_shape *shape, int64_t chunk);
    size_t (*decode_raw_bytes)(const lt_model *model, const lt_shape *shape);
    size_t (*decode_overlap_bytes)(const lt_model *model, const lt_shape *shape);
    lt_status (*chunk_raw)(lt_model *model, const lt_shape *shape, int64_t chunk,
                           const float *latents, void *raw);
    void (*chunk_overlap)(const lt_model *model, const lt_shape *shape, const void *raw,
                          void *overlap);
    lt_status (*chunk_finish)(const lt_model *model, const lt_shape *shape, int64_t chunk,
                              void *raw, const void *overlap, lt_dtype dtype, void *frames);
    /* Audio. To decode `ticks` of a clip of `total` ticks, the ticks that audio_context gives must
     * be known: latents [2, Ca, n] is that slice, and ticks then counts from its start. out [2,
     * samples] f32. */
    lt_range (*audio_context)(const lt_model *model, int64_t total, lt_range ticks);
    int64_t (*audio_samples)(const lt_model *model, int64_t ticks);
    lt_status (*audio_decode)(lt_model *model, const float *latents, int64_t n, lt_range ticks,
                              float *out);
    void (*decode_close)(lt_model *model);
};

/* The families, from 0 on; NULL behind the last (families.c). Local. */
const lt_family *lt_family_at(int i);
/* Find the family of a folder and open the model (families.c). Errors: LT_ENOINPUT, LT_EDATA: what
 * was looked for. */
lt_status lt_model_open(const char *path, lt_model **out);
void lt_model_close(lt_model **model);

/* Fill facts from MODEL/longtake.json if it is there. Errors: LT_EDATA. */
lt_status lt_model_facts_read(const char *path, lt_model_facts *facts);

#endif

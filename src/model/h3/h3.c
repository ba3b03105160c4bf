/* h3.c - MiniMax-H3 as a row of the table of families.
 *
 * Holds together what the networks' own files do: qwen3vl.c, dit*.c, video_vae.c,
 * audio_vae.c. Folders: diffusers' layout and the original one are told apart once, at open.
 * Every part's headers are checked at open, so that a film is refused before work starts; a part
 * that is missing matters only to the stage that needs it, so folders with single parts serve
 * probe. */
#include "model/h3/h3.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "model/files/remote/source.h"
#include "model/h3/dit_window.h"
#include "model/h3/folders.h"
#include "model/weights/collective_read.h"
#include "scheduler/sigmas.h"

/* Source: spec/minimax-h3.md 0, 8.1; 124 frames is diffusers' default length. */
enum { FPS = 24, STEPS = 50, DEFAULT_FRAMES = 124, WIDTH = 1344, HEIGHT = 768 };
/* The row of scheduler/window.h. Source: spec/minimax-h3.md 4.3, 6.4. */
static const lt_grid grid = {.unit = 15,
                             .tail = 12,
                             .step = 5,
                             .rest = 2,
                             .least = 7,
                             .period = 5,
                             .latent_frames = 4,
                             .ticks = 5,
                             .tick_frames = 3};
/* Source: spec/minimax-h3.md 4.4, 5: conditions are x = t z + (1 - t) noise, in f32 with
 * t = 0.999f; audio conditions get no noise. */
#define CONTEXT_TIMESTEP 0.999f
/* Below: fade_frames (10 latents of the shortest overlap's 12) and anchors, for `extend`, were
 * measured on the demo model (bench/LOG.md). */
static const int64_t trained[] = {124, 141, 158, 175, 192, 209, 226, 243,
                                  260, 277, 294, 311, 328, 345, 362};

static void h3_close(lt_model **model)
{
    lt_h3_model *m = (lt_h3_model *)*model;
    m->base.family->text_close(*model);
    m->base.family->dit_close(*model);
    m->base.family->decode_close(*model);
    lt_bpe_close(&m->bpe);
    lt_checkpoint_close(&m->text_files);
    lt_checkpoint_close(&m->dit_files);
    lt_checkpoint_close(&m->video_files);
    lt_checkpoint_close(&m->audio_files);
    json_decref(m->base.facts.words);
    lt_preview_map_free(&m->base.facts.preview);
    free(m->base.path);
    free(m);
    *model = NULL;
}

lt_status lt_h3_model_new(const char *path, lt_h3_model **out)
{
    char file[LT_PATH_BYTES];
    lt_h3_model *m = calloc(1, sizeof *m);
    if (m == NULL || (m->base.path = strdup(path)) == NULL) {
        free(m);
        LT_FAIL(LT_ENOMEM, "%s: no memory to open the model", path);
    }
    m->base.family = &lt_family_h3;
    lt_model *base = &m->base;
    lt_model_facts *facts = &m->base.facts;
    *facts = (lt_model_facts){.steps = STEPS,
                              .window_frames = DEFAULT_FRAMES,
                              .fade_frames = 34,
                              .anchor_frames = {0, 10, 20},
                              .anchor_count = 3,
                              .fps = FPS,
                              .sample_rate = 32000,
                              .default_width = WIDTH,
                              .default_height = HEIGHT,
                              .size_multiple = LT_H3_SIZE_MULTIPLE};
    memcpy(facts->trained_frames, trained, sizeof trained);
    facts->trained_count = (int)(sizeof trained / sizeof *trained);
    lt_status st = LT_OK;
    LT_TRY_GOTO(lt_path_join(file, sizeof file, path, "video_vae"), st, failed);
    m->original = lt_source_is_dir(file);
    LT_TRY_GOTO(lt_model_facts_read(path, facts), st, failed);
    *out = m;
    return LT_OK;
failed:
    h3_close(&base);
    return st;
}

static lt_status open_parts(lt_h3_model *m)
{
    LT_TRY(lt_h3_check_whole(m));
    LT_TRY(lt_h3_open_shifts(m));
    LT_TRY(lt_h3_open_bpe(m));
    LT_TRY(lt_h3_open_text(m));
    LT_TRY(lt_h3_open_dit(m));
    LT_TRY(lt_h3_open_video(m));
    LT_TRY(lt_h3_open_audio(m));
    lt_model_facts *facts = &m->base.facts;
    facts->sample_rate = (int)m->audio.sampling_rate;
    facts->heads = m->dit_config.heads;
    lt_tensor_info info;
    facts->weights_are_bf16 =
        lt_checkpoint_find(m->dit_files, "transformer_blocks.0.attn.to_q.weight", &info) &&
        info.dtype == LT_BF16;
    return lt_h3_check_parts(m);
}

static lt_status h3_open(const char *path, lt_model **out)
{
    lt_h3_model *m = NULL;
    LT_TRY(lt_h3_model_new(path, &m));
    const lt_status st = open_parts(m);
    lt_model *base = &m->base;
    if (st != LT_OK) {
        h3_close(&base);
        return lt_error_trace(st, "open_parts", __FILE__, __LINE__);
    }
    *out = base;
    return LT_OK;
}

/* ---- the clip ---- */

static int64_t frames_grid(int64_t frames) { return lt_h3_frames_next(frames); }

static lt_status streams(const lt_model *model, const lt_shape *shape, lt_stream *out, int *count)
{
    const lt_h3_model *m = (const lt_h3_model *)model;
    if (!lt_h3_frames_on_grid(shape->frames))
        LT_FAIL(LT_EUSAGE, "--frames %lld: want 17n + 5 (next: %lld)", (long long)shape->frames,
                (long long)lt_h3_frames_next(shape->frames));
    LT_TRY(lt_h3_size_check(shape->width, shape->height));
    out[0] =
        (lt_stream){.name = "latents",
                    .ndim = 4,
                    .time_axis = 1,
                    .dims_text = "C T h w",
                    .unit = "normalised",
                    .dim = {m->dit_config.channels, lt_h3_latent_frames(shape->frames),
                            shape->height / LT_H3_CELL_PIXELS, shape->width / LT_H3_CELL_PIXELS},
                    .description = "final picture latents, (z - mean) / std of the video VAE"};
    out[1] = (lt_stream){.name = "audio_latents",
                         .ndim = 3,
                         .time_axis = 2,
                         .is_audio = 1,
                         .dims_text = "ch Ca A",
                         .unit = "normalised",
                         .dim = {LT_H3_AUDIO_CHANNELS, m->dit_config.audio_channels,
                                 lt_h3_audio_ticks(shape->frames)},
                         .description = "final sound latents, left then right, 40 a second"};
    *count = 2;
    return LT_OK;
}

static int evaluations(int steps) { return steps - 1; }

static float timestep_of(float sigma) { return 1.0f - sigma; }

static lt_status sigmas(const lt_model *model, int stream, int steps, float *out, float *timesteps)
{
    const lt_h3_model *m = (const lt_h3_model *)model;
    return lt_sigmas_shifted(steps, stream == 0 ? m->video_shift : m->audio_shift, out, timesteps);
}

/* ---- text ---- */

static lt_status tokenize(const lt_model *model, const char *prompt, int32_t **ids, int64_t *count)
{
    const lt_h3_model *m = (const lt_h3_model *)model;
    return lt_bpe_encode(m->bpe, prompt, strlen(prompt), ids, count);
}

static int64_t text_width(const lt_model *model)
{
    return ((const lt_h3_model *)model)->text.hidden;
}

static int text_ranks(const lt_model *model, int ranks)
{
    const int64_t groups = ((const lt_h3_model *)model)->text.kv_heads;
    return groups < ranks ? (int)groups : ranks;
}

static lt_status text_open(lt_model *model, lt_engine *engine, lt_dtype dtype)
{
    lt_h3_model *m = (lt_h3_model *)model;
    assert(m->text_encoder == NULL);
    return lt_qwen3vl_open(m->text_files, engine, &m->text, dtype, &m->text_encoder);
}

static lt_status text_encode(lt_model *model, const int32_t *ids, int64_t count, float *rows)
{
    return lt_qwen3vl_encode(((lt_h3_model *)model)->text_encoder, ids, count, rows);
}

static void text_close(lt_model *model) { lt_qwen3vl_close(&((lt_h3_model *)model)->text_encoder); }

/* ---- DiT ---- */

static lt_status dit_open(lt_model *model, lt_engine *engine, lt_dtype dtype,
                          const float *timesteps, int count)
{
    lt_h3_model *m = (lt_h3_model *)model;
    assert(m->dit == NULL);
    m->dit_engine = engine;
    m->dit_mark = lt_arena_mark(engine->phase);
    LT_TRY(lt_h3_dit_open(m->dit_files, engine, &m->dit_config, dtype, &m->dit));
    if (m->given != NULL)
        LT_TRY(lt_h3_dit_tables_set(m->dit, timesteps, count, m->given, m->given_bytes));
    else
        LT_TRY(lt_h3_dit_tables(m->dit, timesteps, count));
    LT_TRY(lt_h3_dit_load(m->dit));
    return LT_OK;
}

static size_t tables_bytes(const lt_model *model, lt_dtype dtype, int count)
{
    return lt_h3_tables_bytes(&((const lt_h3_model *)model)->dit_config, dtype, count);
}

static lt_status tables_get(const lt_model *model, void *to, size_t bytes)
{
    const lt_h3_model *m = (const lt_h3_model *)model;
    assert(m->dit != NULL);
    return lt_h3_dit_tables_get(m->dit, to, bytes);
}

static void tables_give(lt_model *model, const void *from, size_t bytes)
{
    lt_h3_model *m = (lt_h3_model *)model;
    m->given = from;
    m->given_bytes = bytes;
}

static void dit_close(lt_model *model)
{
    lt_h3_model *m = (lt_h3_model *)model;
    if (m->dit == NULL)
        return;
    lt_h3_dit_close(&m->dit);
    lt_arena_release(m->dit_engine->phase, m->dit_mark);
}

/* ---- decoding ---- */

static lt_status decode_open(lt_model *model, lt_engine *engine)
{
    lt_h3_model *m = (lt_h3_model *)model;
    assert(m->video_decoder == NULL && m->audio_decoder == NULL);
    m->decode_engine = engine;
    m->decode_mark = lt_arena_mark(engine->phase);
    LT_TRY(lt_h3_video_decoder_open(m->video_files, engine, &m->video, &m->video_decoder));
    LT_TRY(lt_h3_audio_decoder_open(m->audio_files, engine, &m->audio, &m->audio_decoder));
    lt_checkpoint_rest(m->video_files);
    lt_checkpoint_rest(m->audio_files);
    return LT_OK;
}

static void decode_close(lt_model *model)
{
    lt_h3_model *m = (lt_h3_model *)model;
    const int opened = m->video_decoder != NULL || m->audio_decoder != NULL;
    lt_h3_video_decoder_close(&m->video_decoder);
    lt_h3_audio_decoder_close(&m->audio_decoder);
    if (opened)
        lt_arena_release(m->decode_engine->phase, m->decode_mark);
}

static int64_t decode_chunks(const lt_model *model, const lt_shape *shape)
{
    const lt_h3_model *m = (const lt_h3_model *)model;
    return lt_h3_video_chunk_count(&m->video, lt_h3_latent_frames(shape->frames));
}

static lt_decode_chunk decode_chunk(const lt_model *model, const lt_shape *shape, int64_t chunk)
{
    const lt_h3_model *m = (const lt_h3_model *)model;
    const int last = chunk + 1 == decode_chunks(model, shape);
    const int64_t body = m->video.clip_length;
    return (lt_decode_chunk){chunk * m->video.stride_latents, lt_h3_video_chunk_latents(&m->video),
                             chunk * body, last ? body + m->video.overlap_frames : body};
}

static size_t frame_floats(const lt_shape *shape)
{
    return (size_t)(3 * shape->width * shape->height);
}

static size_t decode_raw_bytes(const lt_model *model, const lt_shape *shape)
{
    const lt_h3_model *m = (const lt_h3_model *)model;
    return (size_t)lt_h3_video_chunk_frames(&m->video) * frame_floats(shape) * sizeof(float);
}

static size_t decode_overlap_bytes(const lt_model *model, const lt_shape *shape)
{
    const lt_h3_model *m = (const lt_h3_model *)model;
    return (size_t)m->video.overlap_frames * frame_floats(shape) * sizeof(float);
}

static lt_status chunk_raw(lt_model *model, const lt_shape *shape, int64_t chunk,
                           const float *latents, void *raw)
{
    (void)chunk;
    lt_h3_model *m = (lt_h3_model *)model;
    const int64_t t = lt_h3_video_chunk_latents(&m->video);
    const int64_t h = shape->height / LT_H3_CELL_PIXELS, w = shape->width / LT_H3_CELL_PIXELS;
    float *z = NULL;
    const int64_t bytes = m->video.latent_channels * t * h * w * (int64_t)sizeof *z;
    if (latents == NULL) { /* a dry run */
        lt_dry_host(bytes);
        const lt_status st = lt_h3_video_decode_chunk(m->video_decoder, NULL, t, h, w, raw);
        lt_dry_host(-bytes);
        return st;
    } else {
        z = malloc((size_t)(m->video.latent_channels * t * h * w) * sizeof *z);
        if (z == NULL)
            LT_FAIL(LT_ENOMEM, "decode: no memory for a clip's latents");
        lt_h3_video_denormalise(&m->video, latents, t * h * w, z);
    }
    const lt_status st = lt_h3_video_decode_chunk(m->video_decoder, z, t, h, w, raw);
    free(z);
    LT_TRY(st);
    return LT_OK;
}

static void chunk_overlap(const lt_model *model, const lt_shape *shape, const void *raw,
                          void *overlap)
{
    const lt_h3_model *m = (const lt_h3_model *)model;
    const int64_t h = shape->height / LT_H3_CELL_PIXELS, w = shape->width / LT_H3_CELL_PIXELS;
    memcpy(overlap, lt_h3_video_overlap(&m->video, raw, h, w), decode_overlap_bytes(model, shape));
}

static lt_status chunk_finish(const lt_model *model, const lt_shape *shape, int64_t chunk,
                              void *raw, const void *overlap, lt_dtype dtype, void *frames)
{
    const lt_h3_model *m = (const lt_h3_model *)model;
    const int64_t h = shape->height / LT_H3_CELL_PIXELS, w = shape->width / LT_H3_CELL_PIXELS;
    const int last = chunk + 1 == decode_chunks(model, shape);
    int64_t count = 0;
    const float *finished = lt_h3_video_finish_chunk(&m->video, raw, h, w, overlap, last, &count);
    assert(count == decode_chunk(model, shape, chunk).frames);
    if (dtype == LT_U8)
        lt_h3_video_to_u8(finished, count, shape->height * shape->width, m->decode_engine->threads,
                          frames);
    else
        lt_h3_video_to_u16(finished, count, shape->height * shape->width, m->decode_engine->threads,
                           frames);
    return LT_OK;
}

static lt_range audio_context(const lt_model *model, int64_t total, lt_range ticks)
{
    return lt_h3_audio_context(&((const lt_h3_model *)model)->audio, total, ticks.first,
                               ticks.count);
}

static int64_t audio_samples(const lt_model *model, int64_t ticks)
{
    return ticks * ((const lt_h3_model *)model)->audio.hop;
}

static lt_status audio_decode(lt_model *model, const float *latents, int64_t n, lt_range ticks,
                              float *out)
{
    lt_h3_model *m = (lt_h3_model *)model;
    float *z = NULL;
    if (latents != NULL) {
        z = malloc((size_t)(LT_H3_AUDIO_CHANNELS * m->audio.latent_channels * n) * sizeof *z);
        if (z == NULL)
            LT_FAIL(LT_ENOMEM, "decode: no memory for sound latents");
        for (int64_t channel = 0; channel < LT_H3_AUDIO_CHANNELS; channel++)
            lt_h3_audio_denormalise(&m->audio, latents + channel * m->audio.latent_channels * n, n,
                                    z + channel * m->audio.latent_channels * n);
    }
    const lt_status st = lt_h3_audio_decode_range(m->audio_decoder, z, LT_H3_AUDIO_CHANNELS, n,
                                                  ticks.first, ticks.count, out);
    free(z);
    LT_TRY(st);
    return LT_OK;
}

const lt_family lt_family_h3 = {.name = "minimax-h3",
                                .folders = &lt_h3_folders,
                                .recognise = lt_h3_recognise,
                                .open = h3_open,
                                .close = h3_close,
                                .grid = &grid,
                                .frames_grid = frames_grid,
                                .streams = streams,
                                .evaluations = evaluations,
                                .timestep_of = timestep_of,
                                .sigmas = sigmas,
                                .sampler = LT_SAMPLER_EULER,
                                .context_timestep = {CONTEXT_TIMESTEP, 1.0f},
                                .context_sigma = {1.0f - CONTEXT_TIMESTEP, 0.0f},
                                .tokenize = tokenize,
                                .text_width = text_width,
                                .text_ranks = text_ranks,
                                .text_open = text_open,
                                .text_encode = text_encode,
                                .text_close = text_close,
                                .dit_open = dit_open,
                                .tables_bytes = tables_bytes,
                                .tables_get = tables_get,
                                .tables_give = tables_give,
                                .dit_begin = lt_h3_window_begin,
                                .dit_forward = lt_h3_window_forward,
                                .dit_end = lt_h3_window_end,
                                .dit_close = dit_close,
                                .decode_open = decode_open,
                                .decode_chunks = decode_chunks,
                                .decode_chunk = decode_chunk,
                                .decode_raw_bytes = decode_raw_bytes,
                                .decode_overlap_bytes = decode_overlap_bytes,
                                .chunk_raw = chunk_raw,
                                .chunk_overlap = chunk_overlap,
                                .chunk_finish = chunk_finish,
                                .audio_context = audio_context,
                                .audio_samples = audio_samples,
                                .audio_decode = audio_decode,
                                .decode_close = decode_close};

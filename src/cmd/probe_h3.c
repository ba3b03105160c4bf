/* probe_h3.c - H3's stages of probe that run a network, and the table of all of them.
 * Under a mesh every rank reads the input file and holds the whole output; rank 0 writes it. */
#include "cmd/probe_h3.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cmd/probe_denoise.h"
#include "model/h3/audio_encoder.h"
#include "model/h3/h3.h"
#include "model/h3/video_encoder.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"
#include "parallel/transport/transport.h"

static lt_h3_model *h3(const lt_probe *p) { return (lt_h3_model *)p->model; }

/* Where a bf16 run is possible and not refused: as render's auto. */
static lt_dtype pick_dtype(const lt_probe *p, const lt_checkpoint *files, const char *witness)
{
    lt_tensor_info info;
    if (p->job->dtype != NULL && strcmp(p->job->dtype, "auto") != 0)
        return strcmp(p->job->dtype, "bf16") == 0 ? LT_BF16 : LT_F32;
    return lt_plan_dtype_auto(lt_checkpoint_find(files, witness, &info) && info.dtype == LT_BF16,
                              p->engine.backend);
}

static lt_status same_dim(lt_probe *p, const char *name, int64_t found, int64_t wanted,
                          const char *what)
{
    if (found != wanted)
        LT_FAIL(LT_EDATA, "%s: tensor '%s': want %s = %lld, found %lld", p->job->in, name, what,
                (long long)wanted, (long long)found);
    return LT_OK;
}

/* ---- text ---- */

/* input_ids as the text encoder takes them; whether they are in its vocabulary it checks itself. */
static lt_status read_ids(lt_probe *p, int32_t **ids, int64_t *count)
{
    lt_dims dims;
    void *wide = NULL, *narrow = NULL;
    LT_TRY(lt_probe_read(p, "input_ids", 1, LT_I64, &dims, &wide));
    *count = dims.dim[0];
    LT_TRY(lt_probe_take(p, (size_t)*count * sizeof(int32_t), &narrow));
    *ids = narrow;
    for (int64_t i = 0; i < *count; i++) {
        const int64_t id = ((const int64_t *)wide)[i];
        if (id < 0 || id > INT32_MAX)
            LT_FAIL(LT_EDATA, "%s: tensor 'input_ids': want 0 to %d, found %lld at %lld",
                    p->job->in, INT32_MAX, (long long)id, (long long)i);
        (*ids)[i] = (int32_t)id;
    }
    return LT_OK;
}

static lt_status probe_text(lt_probe *p)
{
    void *rows = NULL;
    int32_t *narrow = NULL;
    int64_t count = 0;
    LT_TRY(read_ids(p, &narrow, &count));
    LT_TRY(lt_h3_open_text(h3(p)));
    LT_TRY(lt_probe_make(p, "hidden_states", LT_F32, LT_DIMS(count, h3(p)->text.hidden), &rows));
    const lt_dtype dtype =
        pick_dtype(p, h3(p)->text_files, "model.language_model.layers.0.self_attn.q_proj.weight");
    lt_qwen3vl *text = NULL;
    LT_TRY(lt_qwen3vl_open(h3(p)->text_files, &p->engine, &h3(p)->text, dtype, &text));
    lt_status st = LT_OK;
    for (int64_t i = 0; i < p->job->repeat && st == LT_OK; i++) {
        const double began = lt_seconds();
        st = lt_qwen3vl_encode(text, narrow, count, rows);
        lt_probe_time(p, lt_seconds() - began);
    }
    lt_qwen3vl_close(&text);
    LT_TRY(st);
    return LT_OK;
}

/* ---- dit ---- */

typedef struct {
    lt_h3_layout arrays;
    void *video, *audio, *text, *timestep, *times;
    int64_t times_count, text_width, steps;
} dit_inputs;

static lt_status read_layout(lt_probe *p, dit_inputs *in)
{
    lt_dims d;
    void *x = NULL;
    lt_h3_layout *a = &in->arrays;
    LT_TRY(lt_probe_read(p, "position_ids", 2, LT_F64, &d, &x));
    LT_TRY(same_dim(p, "position_ids", d.dim[1], 3, "columns"));
    a->position_ids = x;
    a->rows = d.dim[0];
    LT_TRY(lt_probe_read(p, "token_tags", 1, LT_I64, &d, &x));
    LT_TRY(same_dim(p, "token_tags", d.dim[0], a->rows, "rows of position_ids"));
    a->token_tags = x;
    LT_TRY(lt_probe_read(p, "video_indices", 1, LT_I64, &d, &x));
    a->video_indices = x;
    a->video_rows = d.dim[0];
    LT_TRY(lt_probe_read(p, "audio_indices", 1, LT_I64, &d, &x));
    a->audio_indices = x;
    a->audio_rows = d.dim[0];
    LT_TRY(lt_probe_read(p, "text_indices", 1, LT_I64, &d, &x));
    a->text_indices = x;
    a->text_rows = d.dim[0];
    return LT_OK;
}

static lt_status read_dit(lt_probe *p, dit_inputs *in)
{
    lt_dims d;
    const lt_h3_dit_config *c = &h3(p)->dit_config;
    LT_TRY(read_layout(p, in));
    LT_TRY(lt_probe_read(p, "hidden_states", 2, LT_F32, &d, &in->video));
    LT_TRY(same_dim(p, "hidden_states", d.dim[0], in->arrays.video_rows, "rows of video_indices"));
    LT_TRY(same_dim(p, "hidden_states", d.dim[1], lt_h3_dit_video_width(c), "4 x in_channels"));
    LT_TRY(lt_probe_read(p, "audio_hidden_states", 2, LT_F32, &d, &in->audio));
    LT_TRY(same_dim(p, "audio_hidden_states", d.dim[0], in->arrays.audio_rows,
                    "rows of audio_indices"));
    LT_TRY(same_dim(p, "audio_hidden_states", d.dim[1], c->audio_channels, "audio_in_channels"));
    LT_TRY(lt_probe_read(p, "encoder_hidden_states", 2, LT_F32, &d, &in->text));
    LT_TRY(same_dim(p, "encoder_hidden_states", d.dim[0], in->arrays.text_rows,
                    "rows of text_indices"));
    LT_TRY(same_dim(p, "encoder_hidden_states", d.dim[1], c->text_dim, "text_dim"));
    LT_TRY(lt_probe_read(p, "timestep", 1, LT_F32, &d, &in->timestep));
    in->steps = d.dim[0];
    if (in->steps < 1 || in->steps > 1000000)
        LT_FAIL(LT_EDATA, "%s: tensor 'timestep': want 1 to 1000000 values, found %lld", p->job->in,
                (long long)in->steps);
    void *wide = NULL;
    LT_TRY(lt_probe_read(p, "timestep_indices", 1, LT_I64, &d, &wide));
    LT_TRY(same_dim(p, "timestep_indices", d.dim[0], in->arrays.rows, "rows of position_ids"));
    LT_TRY(lt_probe_take(p, (size_t)d.dim[0] * sizeof(int32_t), &in->times));
    for (int64_t i = 0; i < d.dim[0]; i++) {
        const int64_t t = ((const int64_t *)wide)[i];
        if (t < 0 || t >= in->steps)
            LT_FAIL(LT_EDATA, "%s: tensor 'timestep_indices': want 0 to %lld, found %lld at %lld",
                    p->job->in, (long long)in->steps - 1, (long long)t, (long long)i);
        ((int32_t *)in->times)[i] = (int32_t)t;
    }
    return LT_OK;
}

static lt_status forward_dit(lt_probe *p, lt_h3_dit *dit, lt_h3_dit_state *state,
                             const dit_inputs *in)
{
    void *video = NULL, *audio = NULL;
    const lt_h3_dit_config *c = &h3(p)->dit_config;
    LT_TRY(lt_probe_make(p, "sample", LT_F32,
                         LT_DIMS(in->arrays.video_rows, lt_h3_dit_video_width(c)), &video));
    LT_TRY(lt_probe_make(p, "audio_sample", LT_F32,
                         LT_DIMS(in->arrays.audio_rows, c->audio_channels), &audio));
    for (int64_t i = 0; i < p->job->repeat; i++) {
        LT_TRY(lt_barrier(p->world));
        const double began = lt_seconds();
        LT_TRY(lt_h3_dit_forward(dit, state, in->video, in->audio, in->times, video, audio));
        lt_probe_time(p, lt_seconds() - began);
    }
    return LT_OK;
}

static lt_status probe_dit(lt_probe *p)
{
    dit_inputs in = {0};
    lt_h3_dit *dit = NULL;
    lt_h3_dit_state *state = NULL;
    lt_h3_layout *layout = NULL;
    LT_TRY(lt_h3_open_dit(h3(p)));
    LT_TRY(read_dit(p, &in));
    const lt_dtype dtype = pick_dtype(p, h3(p)->dit_files, "transformer_blocks.0.attn.to_q.weight");
    LT_TRY(lt_h3_layout_from(p->job->in, &in.arrays, &layout));
    lt_status st = LT_OK;
    LT_TRY_GOTO(lt_h3_dit_open(h3(p)->dit_files, &p->engine, &h3(p)->dit_config, dtype, &dit), st,
                done);
    LT_TRY_GOTO(lt_h3_dit_tables(dit, in.timestep, (int)in.steps), st, done);
    LT_TRY_GOTO(lt_h3_dit_begin(dit, layout, in.text, LT_F32, &state), st, done);
    LT_TRY_GOTO(forward_dit(p, dit, state, &in), st, done);
done:
    lt_h3_dit_end(&state);
    lt_h3_dit_close(&dit);
    lt_h3_layout_free(&layout);
    return st;
}

/* ---- denoise ---- */

static lt_status denoise_text(lt_probe *p, lt_dtype dtype, float **rows, int64_t *count)
{
    lt_dims d;
    void *x = NULL;
    if (lt_probe_has(p, "encoder_hidden_states")) {
        LT_TRY(lt_probe_read(p, "encoder_hidden_states", 2, LT_F32, &d, &x));
        LT_TRY(
            same_dim(p, "encoder_hidden_states", d.dim[1], h3(p)->dit_config.text_dim, "text_dim"));
        *rows = x;
        *count = d.dim[0];
        return LT_OK;
    }
    void *out = NULL;
    int32_t *narrow = NULL;
    LT_TRY(read_ids(p, &narrow, count));
    LT_TRY(lt_h3_open_text(h3(p)));
    LT_TRY(lt_probe_take(p, (size_t)(*count * h3(p)->text.hidden) * sizeof(float), &out));
    lt_qwen3vl *text = NULL;
    LT_TRY(lt_qwen3vl_open(h3(p)->text_files, &p->engine, &h3(p)->text, dtype, &text));
    const lt_status st = lt_qwen3vl_encode(text, narrow, *count, out);
    lt_qwen3vl_close(&text);
    LT_TRY(st);
    *rows = out;
    return LT_OK;
}

static lt_status probe_denoise(lt_probe *p)
{
    lt_probe_denoise of = {.cell_pixels = LT_H3_CELL_PIXELS};
    float *rows = NULL;
    LT_TRY(lt_h3_open_dit(h3(p)));
    LT_TRY(lt_h3_open_shifts(h3(p)));
    of.dtype = pick_dtype(p, h3(p)->dit_files, "transformer_blocks.0.attn.to_q.weight");
    LT_TRY(denoise_text(p, of.dtype, &rows, &of.text_count));
    of.text_rows = rows;
    return lt_probe_denoise_run(p, &of);
}

/* ---- video ---- */

typedef struct {
    float *sample; /* [3, F, H, W] */
    int64_t frames, pixels;
} frame_sink;

static lt_status take_frames(void *ctx, int64_t first, int64_t count, const float *frames)
{
    const frame_sink *s = ctx;
    for (int64_t f = 0; f < count; f++)
        for (int64_t c = 0; c < 3; c++)
            memcpy(s->sample + (c * s->frames + first + f) * s->pixels,
                   frames + (f * 3 + c) * s->pixels, (size_t)s->pixels * sizeof(float));
    return LT_OK;
}

static lt_status probe_vae_decode(lt_probe *p)
{
    lt_dims d;
    void *z = NULL, *sample = NULL;
    LT_TRY(lt_h3_open_video(h3(p)));
    const lt_h3_video_config *c = &h3(p)->video;
    LT_TRY(lt_probe_read(p, "latents", 4, LT_F32, &d, &z));
    LT_TRY(same_dim(p, "latents", d.dim[0], c->latent_channels, "latent_channels"));
    const int64_t frames = lt_h3_video_frame_count(c, d.dim[1]);
    if (lt_h3_video_chunk_count(c, d.dim[1]) < 1)
        LT_FAIL(LT_EDATA, "%s: tensor 'latents': want 3 latent frames or more, found %lld",
                p->job->in, (long long)d.dim[1]);
    const int64_t height = d.dim[2] * c->space_ratio, width = d.dim[3] * c->space_ratio;
    LT_TRY(lt_probe_make(p, "sample", LT_F32, LT_DIMS(3, frames, height, width), &sample));
    frame_sink sink = {sample, frames, height * width};
    lt_h3_video_decoder *decoder = NULL;
    /* A rank whose files fail must not leave the others waiting in a sum. */
    lt_status st = lt_h3_video_decoder_open(h3(p)->video_files, &p->engine, c, &decoder);
    st = lt_agree(p->world, st);
    for (int64_t i = 0; i < p->job->repeat && st == LT_OK; i++) {
        const double began = lt_seconds();
        st = lt_h3_video_decode(decoder, z, d.dim[1], d.dim[2], d.dim[3], take_frames, &sink);
        lt_probe_time(p, lt_seconds() - began);
    }
    lt_h3_video_decoder_close(&decoder);
    LT_TRY(st);
    return LT_OK;
}

static lt_status probe_vae_encode(lt_probe *p)
{
    lt_dims d;
    int64_t shape[4];
    void *sample = NULL, *moments = NULL;
    LT_TRY(lt_h3_open_video(h3(p)));
    LT_TRY(lt_probe_read(p, "sample", 4, LT_F32, &d, &sample));
    LT_TRY(same_dim(p, "sample", d.dim[0], 3, "colours"));
    LT_TRY(lt_h3_video_moments_shape(&h3(p)->video, d.dim[1], d.dim[2], d.dim[3], shape));
    LT_TRY(lt_probe_make(p, "moments", LT_F32, LT_DIMS(shape[0], shape[1], shape[2], shape[3]),
                         &moments));
    lt_h3_video_encoder *encoder = NULL;
    LT_TRY(lt_h3_video_encoder_open(h3(p)->video_files, &p->engine, &h3(p)->video, &encoder));
    lt_status st = LT_OK;
    for (int64_t i = 0; i < p->job->repeat && st == LT_OK; i++) {
        const double began = lt_seconds();
        st = lt_h3_video_encode(encoder, sample, d.dim[1], d.dim[2], d.dim[3], moments);
        lt_probe_time(p, lt_seconds() - began);
    }
    lt_h3_video_encoder_close(&encoder);
    LT_TRY(st);
    return LT_OK;
}

/* ---- audio ---- */

static lt_status probe_audio_decode(lt_probe *p)
{
    lt_dims d;
    void *z = NULL, *sample = NULL;
    LT_TRY(lt_h3_open_audio(h3(p)));
    const lt_h3_audio_config *c = &h3(p)->audio;
    LT_TRY(lt_probe_read(p, "latents", 3, LT_F32, &d, &z));
    LT_TRY(same_dim(p, "latents", d.dim[1], c->latent_channels, "latent_channels"));
    LT_TRY(lt_probe_make(p, "sample", LT_F32, LT_DIMS(d.dim[0], 1, d.dim[2] * c->hop), &sample));
    lt_h3_audio_decoder *decoder = NULL;
    LT_TRY(lt_h3_audio_decoder_open(h3(p)->audio_files, &p->engine, c, &decoder));
    lt_status st = LT_OK;
    for (int64_t i = 0; i < p->job->repeat && st == LT_OK; i++) {
        const double began = lt_seconds();
        st = lt_h3_audio_decode(decoder, z, d.dim[0], d.dim[2], sample);
        lt_probe_time(p, lt_seconds() - began);
    }
    lt_h3_audio_decoder_close(&decoder);
    LT_TRY(st);
    return LT_OK;
}

static lt_status probe_audio_encode(lt_probe *p)
{
    lt_dims d;
    void *sample = NULL, *mean = NULL;
    LT_TRY(lt_h3_open_audio(h3(p)));
    const lt_h3_audio_config *c = &h3(p)->audio;
    LT_TRY(lt_probe_read(p, "sample", 3, LT_F32, &d, &sample));
    LT_TRY(same_dim(p, "sample", d.dim[1], 1, "channels"));
    const int64_t ticks = (d.dim[2] + c->hop - 1) / c->hop;
    LT_TRY(lt_probe_make(p, "mean", LT_F32, LT_DIMS(d.dim[0], c->latent_channels, ticks), &mean));
    lt_h3_audio_encoder *encoder = NULL;
    LT_TRY(lt_h3_audio_encoder_open(h3(p)->audio_files, &p->engine, c, &encoder));
    lt_status st = LT_OK;
    for (int64_t i = 0; i < p->job->repeat && st == LT_OK; i++) {
        const double began = lt_seconds();
        st = lt_h3_audio_encode(encoder, sample, d.dim[0], d.dim[2], mean);
        lt_probe_time(p, lt_seconds() - began);
    }
    lt_h3_audio_encoder_close(&encoder);
    LT_TRY(st);
    return LT_OK;
}

static lt_status open_model(const char *path, lt_model **out)
{
    lt_h3_model *model = NULL;
    LT_TRY(lt_h3_model_new(path, &model));
    *out = &model->base;
    return LT_OK;
}

const lt_probe_family lt_probe_h3 = {.recognise = lt_h3_recognise,
                                     .open = open_model,
                                     .run = {[LT_PROBE_TOKENIZE] = lt_probe_h3_tokenize,
                                             [LT_PROBE_TEXT] = probe_text,
                                             [LT_PROBE_DIT] = probe_dit,
                                             [LT_PROBE_LAYOUT] = lt_probe_h3_layout,
                                             [LT_PROBE_SIGMAS] = lt_probe_h3_sigmas,
                                             [LT_PROBE_DENOISE] = probe_denoise,
                                             [LT_PROBE_VAE_DECODE] = probe_vae_decode,
                                             [LT_PROBE_VAE_ENCODE] = probe_vae_encode,
                                             [LT_PROBE_AUDIO_DECODE] = probe_audio_decode,
                                             [LT_PROBE_AUDIO_ENCODE] = probe_audio_encode}};

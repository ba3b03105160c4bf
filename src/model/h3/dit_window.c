/* dit_window.c - one text and one window of H3: what its rows are, and when. */
#include "model/h3/dit_window.h"

#include <assert.h>
#include <stdlib.h>

#include "model/h3/h3.h"
#include "scheduler/sigmas.h"

struct lt_dit_state {
    lt_h3_dit_state *dit;
    lt_h3_layout *layout;
    float *rows, *video_rows, *audio_rows, *video_out, *audio_out; /* one allocation, rows */
    int32_t *row_times;
    int64_t dry_bytes; /* dry: host memory that the arrays would take */
};

void lt_h3_window_end(lt_dit_state **state)
{
    lt_dit_state *s = *state;
    if (s == NULL)
        return;
    lt_h3_dit_end(&s->dit);
    lt_h3_layout_free(&s->layout);
    lt_dry_host(-s->dry_bytes);
    free(s->rows);
    free(s->row_times);
    free(s);
    *state = NULL;
}

/* Host memory of the packed rows, in and out. */
static lt_status rows_new(const lt_h3_model *m, lt_dit_state *s, int dry)
{
    const lt_h3_layout *l = s->layout;
    const size_t video = (size_t)(l->video_rows * lt_h3_dit_video_width(&m->dit_config));
    const size_t audio = (size_t)(l->audio_rows * m->dit_config.audio_channels);
    const size_t rows_bytes = 2 * (video + audio) * sizeof *s->rows;
    const size_t times_bytes = (size_t)l->rows * sizeof *s->row_times;
    if (dry) {
        s->dry_bytes = (int64_t)(lt_h3_layout_bytes(l) + rows_bytes + times_bytes);
        lt_dry_host(s->dry_bytes);
        return LT_OK;
    }
    s->rows = malloc(rows_bytes);
    s->row_times = malloc(times_bytes);
    if (s->rows == NULL || s->row_times == NULL)
        LT_FAIL(LT_ENOMEM, "packed rows: no memory for %lld rows", (long long)l->rows);
    s->video_rows = s->rows;
    s->audio_rows = s->video_rows + video;
    s->video_out = s->audio_rows + audio;
    s->audio_out = s->video_out + video;
    return LT_OK;
}

lt_status lt_h3_window_begin(lt_model *model, const lt_window *window, const float *text_rows,
                             int64_t text_count, lt_dit_state **out)
{
    lt_h3_model *m = (lt_h3_model *)model;
    const lt_shape *shape = &window->shape;
    const int dry = m->dit_engine->backend->is_dry;
    lt_dit_state *s = calloc(1, sizeof *s);
    lt_status st = LT_OK;
    *out = NULL;
    if (window->latent != 0 || window->row != 0 || window->column != 0 || window->anchors != 0)
        LT_FAIL(LT_EUNAVAIL, "DiT: windows have local positions and no anchors yet");
    if (s == NULL)
        LT_FAIL(LT_ENOMEM, "DiT: no memory for a state's description");
    st = dry ? lt_h3_layout_dry(shape->frames, shape->width, shape->height, text_count, &s->layout)
             : lt_h3_layout_new(shape->frames, shape->width, shape->height, text_count, &s->layout);
    LT_TRY_GOTO(st, st, failed);
    LT_TRY_GOTO(rows_new(m, s, dry), st, failed);
    LT_TRY_GOTO(lt_h3_dit_begin(m->dit, s->layout, text_rows, LT_F32, &s->dit), st, failed);
    *out = s;
    return LT_OK;
failed:
    lt_h3_window_end(&s);
    return st;
}

/* Which of the tables' timesteps is t? */
static lt_status time_find(const lt_h3_model *m, float t, int32_t *out)
{
    int count = 0;
    const float *timesteps = lt_h3_dit_timesteps(m->dit, &count);
    *out = lt_timestep_find(timesteps, count, t);
    if (*out < 0)
        LT_FAIL(LT_EINTERNAL, "timestep %.9g: no table was made for it", (double)t);
    return LT_OK;
}

/* One entry a row: text and video by stream 0's level, audio by stream 1's, or unit by unit. */
static lt_status row_times(const lt_h3_model *m, lt_dit_state *s, const lt_forward *f)
{
    const lt_h3_layout *l = s->layout;
    int32_t level[2];
    for (int i = 0; i < 2; i++)
        LT_TRY(time_find(m, f->timestep[i], &level[i]));
    lt_h3_layout_timesteps(l, level[0], level[1], s->row_times);
    const int64_t frame_rows = l->video_rows / l->latent_frames;
    for (int64_t t = 0; f->unit_timestep[0] != NULL && t < l->latent_frames; t++) {
        LT_TRY(time_find(m, f->unit_timestep[0][t], &level[0]));
        for (int64_t i = 0; i < frame_rows; i++)
            s->row_times[l->video_indices[t * frame_rows + i]] = level[0];
    }
    for (int64_t t = 0; f->unit_timestep[1] != NULL && t < l->audio_ticks; t++) {
        LT_TRY(time_find(m, f->unit_timestep[1][t], &level[1]));
        for (int64_t c = 0; c < LT_H3_AUDIO_CHANNELS; c++)
            s->row_times[l->audio_indices[c * l->audio_ticks + t]] = level[1];
    }
    return LT_OK;
}

lt_status lt_h3_window_forward(lt_model *model, lt_dit_state *s, const lt_forward *f)
{
    lt_h3_model *m = (lt_h3_model *)model;
    const lt_h3_layout *l = s->layout;
    const int64_t C = m->dit_config.channels, Ca = m->dit_config.audio_channels;
    if (f->latent[0] == NULL) { /* a dry run */
        assert(m->dit_engine->backend->is_dry);
        return lt_h3_dit_forward(m->dit, s->dit, NULL, NULL, NULL, NULL, NULL);
    }
    LT_TRY(row_times(m, s, f));
    lt_h3_patchify(f->latent[0], C, l->latent_frames, l->latent_height, l->latent_width,
                   s->video_rows);
    lt_h3_audio_to_rows(f->latent[1], Ca, l->audio_ticks, s->audio_rows);
    LT_TRY(lt_h3_dit_forward(m->dit, s->dit, s->video_rows, s->audio_rows, s->row_times,
                             s->video_out, s->audio_out));
    lt_h3_unpatchify(s->video_out, C, l->latent_frames, l->latent_height, l->latent_width,
                     f->velocity[0]);
    lt_h3_rows_to_audio(s->audio_out, Ca, l->audio_ticks, f->velocity[1]);
    return LT_OK;
}

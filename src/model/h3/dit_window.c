/* dit_window.c - one text and one window of H3: its latents to packed rows and back.
 *
 *     anchors, latents -> video rows (anchors' first)      audio latents -> audio rows
 *                      -> lt_h3_dit_forward, a timestep for each row ->
 *     velocities of the window's own rows -> latents
 *
 * The row arrays live as long as the state, so that a forward takes no memory. */
#include "model/h3/dit_window.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

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
    const int dry = m->dit_engine->backend->is_dry;
    lt_dit_state *s = calloc(1, sizeof *s);
    lt_status st = LT_OK;
    *out = NULL;
    if (s == NULL)
        LT_FAIL(LT_ENOMEM, "DiT: no memory for a state's description");
    st = dry ? lt_h3_layout_dry(window, text_count, &s->layout)
             : lt_h3_layout_window(window, text_count, &s->layout);
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

/* One entry a row: text by stream 0's level; video and audio by their stream's, or unit by unit;
 * anchors by their own. */
static lt_status row_times(const lt_h3_model *m, lt_dit_state *s, const lt_forward *f)
{
    const lt_h3_layout *l = s->layout;
    const int64_t anchor_rows = lt_h3_layout_anchor_rows(l);
    const int64_t frame_rows = (l->video_rows - anchor_rows) / l->latent_frames;
    int32_t video, audio, anchor = 0;
    LT_TRY(time_find(m, f->timestep[0], &video));
    LT_TRY(time_find(m, f->timestep[1], &audio));
    lt_h3_layout_timesteps(l, video, audio, s->row_times);
    if (l->anchors > 0)
        LT_TRY(time_find(m, f->anchor_timestep, &anchor));
    for (int64_t i = 0; i < anchor_rows; i++)
        s->row_times[l->video_indices[i]] = anchor;
    for (int64_t t = 0; f->unit_timestep[0] != NULL && t < l->latent_frames; t++) {
        const int64_t *rows = l->video_indices + anchor_rows + t * frame_rows;
        LT_TRY(time_find(m, f->unit_timestep[0][t], &video));
        for (int64_t i = 0; i < frame_rows; i++)
            s->row_times[rows[i]] = video;
    }
    for (int64_t t = 0; f->unit_timestep[1] != NULL && t < l->audio_ticks; t++) {
        LT_TRY(time_find(m, f->unit_timestep[1][t], &audio));
        for (int64_t c = 0; c < LT_H3_AUDIO_CHANNELS; c++)
            s->row_times[l->audio_indices[c * l->audio_ticks + t]] = audio;
    }
    return LT_OK;
}

/* How many different timesteps an evaluation names, for a dry run. No arrays of rows are there to
 * count in, and tables cost the same whichever they are; past LEVELS_MAX all that have tables. */
enum { LEVELS_MAX = 32 };

typedef struct levels {
    float t[LEVELS_MAX];
    int count;
} levels;

static void level_add(levels *seen, float t)
{
    int i = 0;
    while (i < seen->count && memcmp(&seen->t[i], &t, sizeof t) != 0)
        i++;
    if (i == seen->count && i < LEVELS_MAX)
        seen->t[seen->count++] = t;
}

static int levels_of(const lt_h3_model *m, const lt_dit_state *s, const lt_forward *f)
{
    const int64_t units[2] = {s->layout->latent_frames, s->layout->audio_ticks};
    levels seen = {.count = 0};
    int all = 0;
    for (int i = 0; i < 2; i++) {
        const float *unit = f->unit_timestep[i];
        level_add(&seen, f->timestep[i]);
        for (int64_t k = 0; unit != NULL && k < units[i]; k++)
            level_add(&seen, unit[k]);
    }
    if (s->layout->anchors > 0)
        level_add(&seen, f->anchor_timestep);
    (void)lt_h3_dit_timesteps(m->dit, &all);
    return seen.count < LEVELS_MAX ? seen.count : all;
}

lt_status lt_h3_window_forward(lt_model *model, lt_dit_state *s, const lt_forward *f)
{
    lt_h3_model *m = (lt_h3_model *)model;
    const lt_h3_layout *l = s->layout;
    const int64_t C = m->dit_config.channels, Ca = m->dit_config.audio_channels;
    const int64_t h = l->latent_height, w = l->latent_width;
    const int64_t anchors = lt_h3_layout_anchor_rows(l) * lt_h3_dit_video_width(&m->dit_config);
    if (f->latent[0] == NULL) { /* a dry run */
        assert(m->dit_engine->backend->is_dry);
        return lt_h3_dit_forward_dry(m->dit, s->dit, levels_of(m, s, f));
    }
    assert((f->anchor_latent != NULL) == (l->anchors > 0));
    LT_TRY(row_times(m, s, f));
    if (l->anchors > 0)
        lt_h3_patchify(f->anchor_latent, C, l->anchors, h, w, s->video_rows);
    lt_h3_patchify(f->latent[0], C, l->latent_frames, h, w, s->video_rows + anchors);
    lt_h3_audio_to_rows(f->latent[1], Ca, l->audio_ticks, s->audio_rows);
    LT_TRY(lt_h3_dit_forward(m->dit, s->dit, s->video_rows, s->audio_rows, s->row_times,
                             s->video_out, s->audio_out));
    lt_h3_unpatchify(s->video_out + anchors, C, l->latent_frames, h, w, f->velocity[0]);
    lt_h3_rows_to_audio(s->audio_out, Ca, l->audio_ticks, f->velocity[1]);
    return LT_OK;
}

/* metrics_measure.c - a film file and where its joins are; its figures.
 * One pass over the film: frames go into lt_video_series, samples into lt_spectrum; all else is
 * computed from what they keep. */
#include "cmd/metrics_measure.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "metrics/statistics.h"

enum { PICK_WIDTH = 236, PICK_SIDE_MAX = 1024 };

static_assert((int)LT_AUDIO_BANDS == (int)LT_SPECTRUM_BANDS &&
                  (int)LT_AUDIO_HOPS == (int)LT_SPECTRUM_HOPS,
              "metrics and media mean the same blocks");

lt_audio_series lt_metrics_audio(const lt_metrics *m)
{
    if (m->spectrum == NULL)
        return (lt_audio_series){.rate = 1, .hop = 1, .window = 1};
    const lt_spectrum_view v = lt_spectrum_look(m->spectrum);
    return (lt_audio_series){.rate = v.rate,
                             .hop = v.hop,
                             .window = v.window,
                             .blocks = v.blocks,
                             .spectra = v.spectra,
                             .power = v.power,
                             .bands = v.bands,
                             .low = v.low,
                             .high = v.high};
}

double lt_metrics_sample(const lt_metrics *m, int64_t frame)
{
    return ((double)frame / m->facts.fps - m->facts.audio_start_s) * m->facts.sample_rate;
}

/* ---- one pass ---- */

/* Every stride-th frame, small; when there is no room for more, every other one goes. */
static lt_status keep_pick(lt_film *film, lt_metrics *m)
{
    const int64_t t = m->frames;
    if (t % m->pick_stride != 0)
        return LT_OK;
    if (m->pick_count == LT_METRICS_PICKS_MAX) {
        for (int i = 0; i < LT_METRICS_PICKS_MAX; i++)
            if (i % 2 == 1)
                free(m->pick[i]);
            else
                m->pick[i / 2] = m->pick[i];
        m->pick_count /= 2;
        m->pick_stride *= 2;
        memset(m->pick + m->pick_count, 0,
               (size_t)(LT_METRICS_PICKS_MAX - m->pick_count) * sizeof *m->pick);
        if (t % m->pick_stride != 0)
            return LT_OK;
    }
    const size_t pixels = (size_t)m->pick_width * (size_t)m->pick_height;
    uint8_t *rgb = malloc(3 * pixels);
    if (rgb == NULL)
        LT_FAIL(LT_ENOMEM, "metrics: no memory for a small frame");
    m->pick[m->pick_count++] = rgb;
    return lt_film_rgb(film, m->pick_width, m->pick_height, rgb);
}

static void size_picks(lt_metrics *m)
{
    const int w = m->facts.width, h = m->facts.height;
    m->pick_width = w < PICK_WIDTH ? w : PICK_WIDTH;
    const int64_t height = ((int64_t)h * m->pick_width + w / 2) / w;
    m->pick_height = height < 1 ? 1 : height > PICK_SIDE_MAX ? PICK_SIDE_MAX : (int)height;
    m->pick_stride = 1;
}

static lt_status take(const lt_metrics_ask *ask, lt_film *film, const lt_film_event *event,
                      lt_metrics *m)
{
    if (event->kind == LT_FILM_AUDIO) {
        m->samples += event->samples;
        return lt_spectrum_add(m->spectrum, event->pcm, event->samples);
    }
    const lt_frame_planes planes = {event->luma,         event->cb,     event->cr,
                                    event->width,        event->height, event->chroma_width,
                                    event->chroma_height};
    LT_TRY(lt_video_series_add(m->video, &planes));
    if (ask->picks)
        LT_TRY(keep_pick(film, m));
    if (ask->frame != NULL)
        ask->frame(m->frames);
    m->frames++;
    return LT_OK;
}

static lt_status pass_through(const lt_metrics_ask *ask, lt_film *film, lt_metrics *m)
{
    lt_film_event event;
    m->facts = *lt_film_look(film);
    size_picks(m);
    LT_TRY(lt_video_series_new(m->facts.width, m->facts.height, &m->video));
    if (m->facts.channels > 0)
        LT_TRY(lt_spectrum_new(m->facts.sample_rate, m->facts.channels, &m->spectrum));
    for (;;) {
        LT_TRY(lt_film_next(film, &event));
        if (event.kind == LT_FILM_END)
            break;
        LT_TRY(take(ask, film, &event, m));
    }
    m->facts = *lt_film_look(film);
    if (m->facts.frames > m->frames)
        lt_log0(1, "metrics", "%s: its index says %lld frames, %lld are there", ask->film,
                (long long)m->facts.frames, (long long)m->frames);
    return LT_OK;
}

/* ---- joins ---- */

static lt_status check_places(const lt_metrics_ask *ask, const lt_metrics *m)
{
    if (ask->join_count > 0 && ask->joins[ask->join_count - 1] >= m->frames)
        LT_FAIL(LT_EUSAGE, "%s: want joins from frame 1 to %lld, found %lld", ask->film,
                (long long)m->frames - 1, (long long)ask->joins[ask->join_count - 1]);
    if (ask->cut_count > 0 && ask->cuts[ask->cut_count - 1] >= m->frames)
        LT_FAIL(LT_EDATA, "%s: want cuts from frame 1 to %lld, found %lld", ask->film,
                (long long)m->frames - 1, (long long)ask->cuts[ask->cut_count - 1]);
    if (ask->column_count > 0 && ask->columns[ask->column_count - 1] >= m->facts.width)
        LT_FAIL(LT_EUSAGE, "%s: --tile-columns: want 1 to %d, found %lld", ask->film,
                m->facts.width - 1, (long long)ask->columns[ask->column_count - 1]);
    if (ask->row_count > 0 && ask->rows[ask->row_count - 1] >= m->facts.height)
        LT_FAIL(LT_EUSAGE, "%s: --tile-rows: want 1 to %d, found %lld", ask->film,
                m->facts.height - 1, (long long)ask->rows[ask->row_count - 1]);
    return LT_OK;
}

static lt_seams seams_of(const lt_metrics_ask *ask)
{
    return (lt_seams){ask->joins, ask->join_count, ask->period, ask->cuts, ask->cut_count};
}

/* One series held against the rest, into v [join_count]. */
static lt_status compare(const lt_metrics_ask *ask, const lt_metrics *m, const double *values,
                         lt_seam_value *v)
{
    const lt_seams seams = seams_of(ask);
    return lt_seam_compare(values, m->frames, &seams, v);
}

static lt_status measure_video(const lt_metrics_ask *ask, lt_metrics *m, lt_seam_value *v)
{
    const double *bend = lt_video_series_values(m->video, LT_SERIES_ACCELERATION);
    double *loss = malloc((size_t)m->frames * sizeof *loss);
    if (loss == NULL)
        LT_FAIL(LT_ENOMEM, "metrics: no memory for %lld frames", (long long)m->frames);
    lt_status st = compare(ask, m, m->e, v);
    for (size_t i = 0; i < m->join_count; i++) {
        m->joins[i].step_ratio = lt_seam_ratio(&v[i]);
        m->joins[i].step_share = v[i].share;
        m->joins[i].compared = v[i].compared;
        m->joins[i].same_phase = v[i].same_phase;
    }
    if (st == LT_OK)
        st = compare(ask, m, bend, v);
    for (size_t i = 0; i < m->join_count; i++)
        m->joins[i].acceleration_ratio = lt_seam_ratio(&v[i]);
    for (int64_t t = 0; t < m->frames; t++) /* so that the worse of two is the larger one */
        loss[t] = -lt_seam_psnr_db(bend[t]);
    if (st == LT_OK)
        st = compare(ask, m, loss, v);
    for (size_t i = 0; i < m->join_count; i++)
        m->joins[i].psnr_db = v[i].rest - v[i].at;
    free(loss);
    LT_TRY(st);
    LT_TRY(compare(ask, m, lt_video_series_values(m->video, LT_SERIES_FLOW_JUMP), v));
    for (size_t i = 0; i < m->join_count; i++)
        m->joins[i].flow_jump = v[i].at - v[i].rest;
    return LT_OK;
}

static void measure_audio(lt_metrics *m)
{
    const lt_audio_series audio = lt_metrics_audio(m);
    for (size_t i = 0; i < m->join_count; i++)
        m->joins[i].audio =
            audio.blocks > 0 ? lt_audio_jump_above(&audio, lt_metrics_sample(m, m->joins[i].frame))
                             : (lt_audio_jump){NAN, NAN, NAN};
}

/* Median, and with `largest` the largest, of a figure over the joins that count. */
static double over_joins(const lt_metrics *m, size_t offset, int largest, double *room)
{
    int64_t n = 0, joins = 0;
    double most = NAN;
    for (size_t i = 0; i < m->join_count; i++)
        joins += m->joins[i].kind == LT_JOIN;
    for (size_t i = 0; i < m->join_count; i++)
        if (joins == 0 || m->joins[i].kind == LT_JOIN) {
            memcpy(&room[n], (const char *)&m->joins[i] + offset, sizeof *room);
            most = fmax(most, room[n++]);
        }
    return largest ? most : lt_median(room, n);
}

static lt_status summarise(lt_metrics *m)
{
#define JOIN(field) offsetof(lt_join_figures, field)
    double *room = malloc((m->join_count + 1) * sizeof *room);
    if (room == NULL)
        LT_FAIL(LT_ENOMEM, "metrics: no memory for %zu joins", m->join_count);
    m->step_ratio = over_joins(m, JOIN(step_ratio), 0, room);
    m->step_ratio_max = over_joins(m, JOIN(step_ratio), 1, room);
    m->acceleration_ratio = over_joins(m, JOIN(acceleration_ratio), 0, room);
    m->acceleration_ratio_max = over_joins(m, JOIN(acceleration_ratio), 1, room);
    m->psnr_db = over_joins(m, JOIN(psnr_db), 0, room);
    m->flow_jump = over_joins(m, JOIN(flow_jump), 0, room);
    m->level_jump_db = over_joins(m, JOIN(audio.level_db), 0, room);
    m->level_jump_db_max = over_joins(m, JOIN(audio.level_db), 1, room);
    m->spectrum_jump_max = over_joins(m, JOIN(audio.spectrum_db), 1, room);
    free(room);
    for (size_t i = 0; i < m->join_count; i++) {
        lt_join_figures *j = &m->joins[i];
        j->step_over = j->step_ratio > LT_SEAM_RATIO_MAX;
        j->level_over = j->audio.level_db > LT_AUDIO_LEVEL_MAX_DB;
        j->stands_out = (j->step_over && j->step_share <= LT_SEAM_SHARE_MAX) ||
                        (j->level_over && j->audio.level_share <= LT_SEAM_SHARE_MAX);
        m->over_count += j->step_over || j->level_over;
        m->outstanding_count += (size_t)j->stands_out;
    }
    return LT_OK;
#undef JOIN
}

static lt_status measure_joins(const lt_metrics_ask *ask, lt_metrics *m)
{
    m->joins = calloc(ask->join_count + 1, sizeof *m->joins);
    lt_seam_value *v = calloc(ask->join_count + 1, sizeof *v);
    if (m->joins == NULL || v == NULL) {
        free(v);
        LT_FAIL(LT_ENOMEM, "metrics: no memory for %zu joins", ask->join_count);
    }
    m->join_count = ask->join_count;
    for (size_t i = 0; i < ask->join_count; i++) {
        m->joins[i].frame = ask->joins[i];
        m->joins[i].kind = ask->kinds[i];
    }
    const lt_status st = measure_video(ask, m, v);
    free(v);
    LT_TRY(st);
    measure_audio(m);
    return summarise(m);
}

/* ---- the whole film ---- */

int lt_metrics_onset_says(const lt_metrics *m)
{
    return lt_onset_says(&m->onset, (double)m->frames / m->facts.fps);
}

int lt_metrics_step_over(const lt_metrics *m) { return m->step_ratio > LT_SEAM_RATIO_MAX; }

int lt_metrics_level_over(const lt_metrics *m) { return m->level_jump_db > LT_AUDIO_LEVEL_MAX_DB; }

int lt_metrics_tiles_over(const lt_metrics *m)
{
    return m->column_ratio_max > LT_SEAM_RATIO_MAX || m->row_ratio_max > LT_SEAM_RATIO_MAX;
}

static lt_status measure_tiles(const lt_metrics_ask *ask, lt_metrics *m)
{
    double *columns = NULL, *rows = NULL;
    lt_status st = lt_video_series_columns(m->video, &columns);
    if (st == LT_OK)
        st = lt_video_series_rows(m->video, &rows);
    if (st == LT_OK)
        st = lt_tile_seams(columns, m->facts.width, ask->columns, ask->column_count, ask->cell,
                           &m->column_ratio, &m->column_ratio_max);
    if (st == LT_OK)
        st = lt_tile_seams(rows, m->facts.height, ask->rows, ask->row_count, ask->cell,
                           &m->row_ratio, &m->row_ratio_max);
    free(columns);
    free(rows);
    LT_TRY(st);
    return LT_OK;
}

static lt_status measure_onsets(lt_metrics *m)
{
    const lt_audio_series audio = lt_metrics_audio(m);
    const int64_t values = m->frames * LT_ONSET_PARTS;
    double *video = malloc(2 * (size_t)values * sizeof *video);
    if (video == NULL)
        LT_FAIL(LT_ENOMEM, "metrics: no memory for %lld frames", (long long)m->frames);
    lt_onsets_of_video(lt_video_series_values(m->video, LT_SERIES_STEP),
                       lt_video_series_values(m->video, LT_SERIES_ACCELERATION),
                       lt_video_series_values(m->video, LT_SERIES_SPAN), m->frames, video);
    lt_onsets_of_audio(&audio, m->facts.audio_start_s, m->frames, m->facts.fps, video + values);
    m->onset = lt_onset_offset_of(video, video + values, m->frames);
    free(video);
    return LT_OK;
}

static lt_status measure_clip(const lt_metrics_ask *ask, lt_metrics *m)
{
    const int64_t n = m->frames;
    const double fps = m->facts.fps, *step = lt_video_series_values(m->video, LT_SERIES_STEP);
    const double *bins[8];
    for (int i = 0; i < 8; i++)
        bins[i] = lt_video_series_values(m->video, (lt_series)(LT_SERIES_HISTOGRAM + i));
    for (int i = 0; i < LT_METRICS_DRIFTS; i++)
        m->drift[i] = lt_drift_of(
            lt_video_series_values(m->video, (lt_series)(LT_SERIES_LUMA_MEAN + i)), n, fps);
    m->histogram_chi2 = lt_drift_histogram(bins, n, fps);
    m->motion = lt_mean(lt_video_series_values(m->video, LT_SERIES_MOTION), 0, n);
    m->freeze_share = lt_freeze_share(step, n);
    int64_t count = 0, stride = 0;
    const uint8_t *thumbs = lt_video_series_thumbs(m->video, &count, &stride);
    LT_TRY(lt_loop_of(step, n - 1, &m->step_loop));
    LT_TRY(lt_loop_of_thumbs(thumbs, count, stride, LT_THUMB_SIDE * LT_THUMB_SIDE, &m->frame_loop));
    LT_TRY(measure_tiles(ask, m));
    return measure_onsets(m);
}

lt_status lt_metrics_measure(const lt_metrics_ask *ask, lt_metrics *out)
{
    lt_film *film = NULL;
    assert(ask->period >= 1 && ask->cell >= 1 && ask->join_count <= LT_METRICS_JOINS_MAX);
    *out = (lt_metrics){.period = ask->period, .cut_count = ask->cut_count};
    LT_TRY(lt_film_open(ask->film, &film));
    const lt_status st = pass_through(ask, film, out);
    lt_film_close(&film);
    LT_TRY(st);
    LT_TRY(check_places(ask, out));
    out->e = malloc((size_t)out->frames * sizeof *out->e);
    if (out->e == NULL)
        LT_FAIL(LT_ENOMEM, "metrics: no memory for %lld frames", (long long)out->frames);
    const lt_seams seams = seams_of(ask);
    LT_TRY(lt_seam_normalise(lt_video_series_values(out->video, LT_SERIES_STEP), out->frames,
                             &seams, out->e));
    LT_TRY(measure_joins(ask, out));
    LT_TRY(measure_clip(ask, out));
    return LT_OK;
}

void lt_metrics_free(lt_metrics *m)
{
    lt_video_series_free(&m->video);
    lt_spectrum_free(&m->spectrum);
    free(m->joins);
    free(m->e);
    for (int i = 0; i < m->pick_count; i++)
        free(m->pick[i]);
    *m = (lt_metrics){0};
}

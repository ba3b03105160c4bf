/* video_series.c - a film's frames, looked at one by one, as a few numbers each.
 *
 *   frame      t-2   t-1    t          when t arrives, these are known for the first time:
 *   step              [t-1]            t-1 -> t
 *   acceleration      [t-1]            needs t-2, t-1, t
 *   span        [t-2]                  t-3 -> t
 *   flow u            [t-1]            t-1 -> t, on the smaller frames
 *   flow jump   [t-2]                  needs u[t-3], u[t-2], u[t-1]
 * Thumbnails: when there are LT_THUMBS_MAX, every other one goes and the stride doubles. */
#include "metrics/video_series.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "metrics/flow.h"

enum { KEPT = 4, THUMB_BYTES = LT_THUMB_SIDE * LT_THUMB_SIDE, FIRST_ROOM = 1024 };

struct lt_video_series {
    int width, height;
    int factor, small_width, small_height; /* of flow */
    int64_t blocks;
    int64_t frames, room;
    double *values[LT_SERIES_COUNT]; /* [room] each */
    uint8_t *luma[KEPT];             /* frame t at [t % KEPT] */
    uint8_t *small[2];               /* frame t at [t % 2] */
    lt_shift *flow[KEPT];            /* u[t] at [t % KEPT] */
    uint64_t *columns, *rows;        /* sums of |difference| over all frames */
    uint8_t *thumbs;                 /* [LT_THUMBS_MAX, 32, 32] */
    int64_t thumb_count, thumb_stride;
};

lt_status lt_video_series_new(int width, int height, lt_video_series **out)
{
    *out = NULL;
    if (width < 1 || height < 1 || width > LT_SERIES_SIDE_MAX || height > LT_SERIES_SIDE_MAX)
        LT_FAIL(LT_ESHAPE, "metrics: want frames of 1 to %d pixels each way, found %dx%d",
                LT_SERIES_SIDE_MAX, width, height);
    lt_video_series *s = calloc(1, sizeof *s);
    if (s == NULL)
        LT_FAIL(LT_ENOMEM, "metrics: no memory");
    s->width = width;
    s->height = height;
    s->factor = lt_flow_factor(width);
    s->small_width = width / s->factor;
    s->small_height = height / s->factor;
    s->blocks = (int64_t)(s->small_width / LT_FLOW_BLOCK) * (s->small_height / LT_FLOW_BLOCK);
    s->thumb_stride = 1;
    const size_t pixels = (size_t)width * (size_t)height;
    int whole = 1;
    for (int i = 0; i < KEPT; i++) {
        whole &= (s->luma[i] = malloc(pixels)) != NULL;
        whole &= (s->flow[i] = calloc((size_t)s->blocks + 1, sizeof *s->flow[i])) != NULL;
    }
    for (int i = 0; i < 2; i++)
        whole &= (s->small[i] = malloc(pixels)) != NULL;
    whole &= (s->columns = calloc((size_t)width, sizeof *s->columns)) != NULL;
    whole &= (s->rows = calloc((size_t)height, sizeof *s->rows)) != NULL;
    whole &= (s->thumbs = malloc((size_t)LT_THUMBS_MAX * THUMB_BYTES)) != NULL;
    if (!whole) {
        lt_video_series_free(&s);
        LT_FAIL(LT_ENOMEM, "metrics: no memory for frames of %dx%d", width, height);
    }
    *out = s;
    return LT_OK;
}

void lt_video_series_free(lt_video_series **series)
{
    lt_video_series *s = *series;
    if (s != NULL) {
        for (int i = 0; i < LT_SERIES_COUNT; i++)
            free(s->values[i]);
        for (int i = 0; i < KEPT; i++) {
            free(s->luma[i]);
            free(s->flow[i]);
        }
        free(s->small[0]);
        free(s->small[1]);
        free(s->columns);
        free(s->rows);
        free(s->thumbs);
        free(s);
    }
    *series = NULL;
}

static lt_status grow(lt_video_series *s)
{
    if (s->frames >= LT_SERIES_FRAMES_MAX)
        LT_FAIL(LT_EDATA, "metrics: want at most %d frames, found more", LT_SERIES_FRAMES_MAX);
    if (s->frames < s->room)
        return LT_OK;
    const int64_t room = s->room > 0 ? 2 * s->room : FIRST_ROOM;
    for (int i = 0; i < LT_SERIES_COUNT; i++) {
        double *more = realloc(s->values[i], (size_t)room * sizeof *more);
        if (more == NULL)
            LT_FAIL(LT_ENOMEM, "metrics: no memory for %lld frames", (long long)room);
        s->values[i] = more;
    }
    s->room = room;
    return LT_OK;
}

/* ---- one frame alone ---- */

static void look_at_luma(lt_video_series *s, const uint8_t *y, double *const *to, int64_t t)
{
    uint64_t count[8] = {0}, sum = 0, square = 0;
    for (int r = 0; r < s->height; r++) {
        const uint8_t *row = y + (int64_t)r * s->width;
        for (int x = 0; x < s->width; x++) {
            sum += row[x];
            square += (uint64_t)(row[x] * row[x]);
            count[row[x] >> 5]++;
        }
    }
    const double n = (double)s->width * s->height, mean = (double)sum / n;
    to[LT_SERIES_LUMA_MEAN][t] = mean;
    to[LT_SERIES_LUMA_STD][t] = sqrt(fmax(0, (double)square / n - mean * mean));
    for (int i = 0; i < 8; i++)
        to[LT_SERIES_HISTOGRAM + i][t] = (double)count[i] / n;
}

/* Differences of neighbours for tile borders, and the Laplacian's variance. */
static double look_at_edges(lt_video_series *s, const uint8_t *y)
{
    const int w = s->width, h = s->height;
    int64_t sum = 0, square = 0;
    for (int r = 0; r < h; r++) {
        const uint8_t *row = y + (int64_t)r * w, *above = row - w, *below = row + w;
        for (int x = 1; x < w; x++)
            s->columns[x] += (uint64_t)abs(row[x] - row[x - 1]);
        uint64_t across = 0;
        for (int x = 0; r > 0 && x < w; x++)
            across += (uint64_t)abs(row[x] - above[x]);
        s->rows[r] += across;
        for (int x = 1; r > 0 && r + 1 < h && x + 1 < w; x++) {
            const int64_t v = row[x - 1] + row[x + 1] + above[x] + below[x] - 4 * row[x];
            sum += v;
            square += v * v;
        }
    }
    if (w < 3 || h < 3)
        return NAN;
    const double n = (double)(w - 2) * (h - 2), mean = (double)sum / n;
    return (double)square / n - mean * mean;
}

static void look_at_chroma(const lt_frame_planes *f, double *const *to, int64_t t)
{
    const int64_t n = (int64_t)f->chroma_width * f->chroma_height;
    int64_t blue = 0, red = 0;
    double saturation = 0;
    for (int64_t i = 0; i < n; i++) {
        const int b = f->cb[i] - 128, r = f->cr[i] - 128;
        blue += b;
        red += r;
        saturation += sqrt((double)(b * b + r * r));
    }
    to[LT_SERIES_CB_MEAN][t] = (double)blue / (double)n;
    to[LT_SERIES_CR_MEAN][t] = (double)red / (double)n;
    to[LT_SERIES_SATURATION][t] = saturation / (double)n;
}

/* Means of the squares that the 32 x 32 cells cover; a frame below 32 pixels repeats some. */
static void keep_thumb(lt_video_series *s, const uint8_t *y, int64_t t)
{
    if (t % s->thumb_stride != 0)
        return;
    if (s->thumb_count == LT_THUMBS_MAX) {
        for (int64_t i = 1; i < LT_THUMBS_MAX / 2; i++)
            memcpy(s->thumbs + i * THUMB_BYTES, s->thumbs + 2 * i * THUMB_BYTES, THUMB_BYTES);
        s->thumb_count = LT_THUMBS_MAX / 2;
        s->thumb_stride *= 2;
        if (t % s->thumb_stride != 0)
            return;
    }
    uint8_t *to = s->thumbs + s->thumb_count++ * THUMB_BYTES;
    for (int r = 0; r < LT_THUMB_SIDE; r++)
        for (int c = 0; c < LT_THUMB_SIDE; c++) {
            const int y0 = r * s->height / LT_THUMB_SIDE, x0 = c * s->width / LT_THUMB_SIDE;
            int y1 = (r + 1) * s->height / LT_THUMB_SIDE, x1 = (c + 1) * s->width / LT_THUMB_SIDE;
            y1 += y1 == y0;
            x1 += x1 == x0;
            uint64_t sum = 0;
            for (int i = y0; i < y1; i++)
                for (int k = x0; k < x1; k++)
                    sum += y[(int64_t)i * s->width + k];
            *to++ = (uint8_t)(sum / (uint64_t)((y1 - y0) * (x1 - x0)));
        }
}

/* ---- with the frames before ---- */

static double step_of(const lt_video_series *s, const uint8_t *now, const uint8_t *before)
{
    uint64_t sum = 0;
    for (int r = 0; r < s->height; r++) {
        const int64_t at = (int64_t)r * s->width;
        uint32_t row = 0;
        for (int x = 0; x < s->width; x++) {
            const int v = now[at + x] - before[at + x];
            row += (uint32_t)(v * v);
        }
        sum += row;
    }
    return (double)sum / ((double)s->width * s->height);
}

static double acceleration_of(const lt_video_series *s, const uint8_t *after, const uint8_t *now,
                              const uint8_t *before)
{
    static_assert((uint64_t)LT_SERIES_SIDE_MAX * 510 * 510 <= UINT32_MAX, "a row's sum fits");
    uint64_t sum = 0;
    for (int r = 0; r < s->height; r++) {
        const int64_t at = (int64_t)r * s->width;
        uint32_t row = 0;
        for (int x = 0; x < s->width; x++) {
            const int v = after[at + x] - 2 * now[at + x] + before[at + x];
            row += (uint32_t)(v * v);
        }
        sum += row;
    }
    return (double)sum / ((double)s->width * s->height);
}

static void look_at_flow(lt_video_series *s, double *const *to, int64_t t)
{
    lt_shift *now = s->flow[(t - 1) % KEPT];
    lt_flow_match(s->small[(t - 1) % 2], s->small[t % 2], s->small_width, s->small_height, now);
    to[LT_SERIES_MOTION][t - 1] = s->factor * lt_flow_length(now, s->blocks);
    if (t >= 3)
        to[LT_SERIES_FLOW_JUMP][t - 2] =
            s->factor *
            lt_flow_jump(s->flow[(t - 3) % KEPT], s->flow[(t - 2) % KEPT], now, s->blocks);
}

lt_status lt_video_series_add(lt_video_series *s, const lt_frame_planes *f)
{
    assert(f->chroma_width > 0 && f->chroma_height > 0);
    if (f->width != s->width || f->height != s->height)
        LT_FAIL(LT_ESHAPE, "metrics: frame %lld: want %dx%d, found %dx%d", (long long)s->frames,
                s->width, s->height, f->width, f->height);
    LT_TRY(grow(s));
    const int64_t t = s->frames++;
    double *const *to = s->values;
    for (int i = 0; i < LT_SERIES_COUNT; i++)
        to[i][t] = NAN;
    uint8_t *y = s->luma[t % KEPT];
    memcpy(y, f->luma, (size_t)s->width * (size_t)s->height);
    look_at_luma(s, y, to, t);
    to[LT_SERIES_SHARPNESS][t] = look_at_edges(s, y);
    look_at_chroma(f, to, t);
    keep_thumb(s, y, t);
    lt_flow_shrink(y, s->width, s->height, s->factor, s->small[t % 2]);
    if (t >= 1) {
        const uint8_t *before = s->luma[(t - 1) % KEPT];
        to[LT_SERIES_STEP][t - 1] = step_of(s, y, before);
        look_at_flow(s, to, t);
        if (t >= 2)
            to[LT_SERIES_ACCELERATION][t - 1] =
                acceleration_of(s, y, before, s->luma[(t - 2) % KEPT]);
        if (t >= 3)
            to[LT_SERIES_SPAN][t - 2] = step_of(s, y, s->luma[(t - 3) % KEPT]);
    }
    return LT_OK;
}

/* ---- what was seen ---- */

int64_t lt_video_series_frames(const lt_video_series *s) { return s->frames; }

const double *lt_video_series_values(const lt_video_series *s, lt_series which)
{
    assert(which < LT_SERIES_COUNT);
    return s->values[which];
}

static lt_status means(const lt_video_series *s, const uint64_t *sums, int count, int across,
                       double **out)
{
    *out = malloc((size_t)count * sizeof **out);
    if (*out == NULL)
        LT_FAIL(LT_ENOMEM, "metrics: no memory for %d borders", count);
    for (int i = 0; i < count; i++)
        (*out)[i] =
            i == 0 || s->frames == 0 ? NAN : (double)sums[i] / ((double)across * (double)s->frames);
    return LT_OK;
}

lt_status lt_video_series_columns(const lt_video_series *s, double **out)
{
    return means(s, s->columns, s->width, s->height, out);
}

lt_status lt_video_series_rows(const lt_video_series *s, double **out)
{
    return means(s, s->rows, s->height, s->width, out);
}

const uint8_t *lt_video_series_thumbs(const lt_video_series *s, int64_t *count, int64_t *stride)
{
    *count = s->thumb_count;
    *stride = s->thumb_stride;
    return s->thumbs;
}

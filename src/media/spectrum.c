/* spectrum.c - audio as short blocks: their power, their reach, and their power in bands.
 * Both channels go through one complex transform: of z = left + i right, |Z[k]|^2 + |Z[n - k]|^2 is
 * twice the sum of both channels' powers at k. Kept back are the last samples that a later spectrum
 * needs, in a buffer of one window. */
#include "media/spectrum.h"

#include <assert.h>
#include <libavutil/mem.h>
#include <libavutil/tx.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCKS_MAX = 60 * 3600 * LT_SPECTRUM_HOPS, FIRST_ROOM = 4096 };

struct lt_spectrum {
    int rate, channels, hop, window;
    int64_t samples;
    AVTXContext *transform;
    av_tx_fn run;
    AVComplexDouble *in, *out; /* [window], aligned for av_tx */
    double *hann;              /* [window] */
    int *band;                 /* [window / 2 + 1]: of a bin, -1: none */
    float *kept[2];            /* [window]: the samples from block `spectra` on */
    int kept_count;
    double square; /* of the block at work */
    float least, largest;
    int filled;
    int64_t blocks, spectra, room;
    float *power, *low, *high, *bands;
};

static int window_of(int rate)
{
    int n = 1;
    while (2 * n <= rate / 25)
        n *= 2;
    return n;
}

/* Bin k is at k rate / window Hz. */
static void make_tables(lt_spectrum *s)
{
    const double octaves = log2(0.5 * s->rate / LT_SPECTRUM_LOW_HZ);
    for (int k = 0; k <= s->window / 2; k++) {
        const double hz = (double)k * s->rate / s->window;
        const double at = hz > 0 ? log2(hz / LT_SPECTRUM_LOW_HZ) / octaves : -1;
        const int band = (int)floor(at * LT_SPECTRUM_BANDS);
        s->band[k] = band < 0 ? -1 : band < LT_SPECTRUM_BANDS ? band : LT_SPECTRUM_BANDS - 1;
    }
    for (int i = 0; i < s->window; i++)
        s->hann[i] = 0.5 - 0.5 * cos(2 * acos(-1) * (i + 0.5) / s->window);
}

lt_status lt_spectrum_new(int rate, int channels, lt_spectrum **out)
{
    *out = NULL;
    if (rate < LT_SPECTRUM_RATE_MIN || rate > LT_SPECTRUM_RATE_MAX || channels < 1 || channels > 2)
        LT_FAIL(LT_ESHAPE,
                "spectrum: want %d to %d samples a second, 1 or 2 channels, found %d, %d",
                LT_SPECTRUM_RATE_MIN, LT_SPECTRUM_RATE_MAX, rate, channels);
    lt_spectrum *s = calloc(1, sizeof *s);
    if (s == NULL)
        LT_FAIL(LT_ENOMEM, "spectrum: no memory");
    s->rate = rate;
    s->channels = channels;
    s->hop = rate / LT_SPECTRUM_HOPS;
    s->window = window_of(rate);
    const size_t n = (size_t)s->window;
    assert(s->window >= s->hop);
    s->in = av_malloc(n * sizeof *s->in);
    s->out = av_malloc(n * sizeof *s->out);
    s->hann = malloc(n * sizeof *s->hann);
    s->band = malloc((n / 2 + 1) * sizeof *s->band);
    s->kept[0] = malloc(n * sizeof **s->kept);
    s->kept[1] = malloc(n * sizeof **s->kept);
    const double scale = 1;
    if (s->in == NULL || s->out == NULL || s->hann == NULL || s->band == NULL ||
        s->kept[0] == NULL || s->kept[1] == NULL ||
        av_tx_init(&s->transform, &s->run, AV_TX_DOUBLE_FFT, 0, s->window, &scale, 0) < 0) {
        lt_spectrum_free(&s);
        LT_FAIL(LT_ENOMEM, "spectrum: no memory for a transform of %zu samples", n);
    }
    make_tables(s);
    *out = s;
    return LT_OK;
}

void lt_spectrum_free(lt_spectrum **spectrum)
{
    lt_spectrum *s = *spectrum;
    if (s != NULL) {
        av_tx_uninit(&s->transform);
        av_free(s->in);
        av_free(s->out);
        free(s->hann);
        free(s->band);
        free(s->kept[0]);
        free(s->kept[1]);
        free(s->power);
        free(s->low);
        free(s->high);
        free(s->bands);
        free(s);
    }
    *spectrum = NULL;
}

static int more(float **list, int64_t count)
{
    float *longer = realloc(*list, (size_t)count * sizeof *longer);
    if (longer != NULL)
        *list = longer;
    return longer != NULL;
}

/* Room for one more block, and its spectrum, which never comes before it. */
static lt_status grow(lt_spectrum *s)
{
    if (s->blocks >= BLOCKS_MAX)
        LT_FAIL(LT_EDATA, "spectrum: want at most 60 hours of audio, found more");
    if (s->blocks < s->room)
        return LT_OK;
    const int64_t room = s->room > 0 ? 2 * s->room : FIRST_ROOM;
    if (!more(&s->power, room) || !more(&s->low, room) || !more(&s->high, room) ||
        !more(&s->bands, room * LT_SPECTRUM_BANDS))
        LT_FAIL(LT_ENOMEM, "spectrum: no memory for %lld blocks", (long long)room);
    s->room = room;
    return LT_OK;
}

static void transform(lt_spectrum *s)
{
    float *to = s->bands + s->spectra * LT_SPECTRUM_BANDS;
    double sum[LT_SPECTRUM_BANDS] = {0};
    const int n = s->window;
    for (int i = 0; i < n; i++) {
        s->in[i].re = s->hann[i] * s->kept[0][i];
        s->in[i].im = s->channels == 2 ? s->hann[i] * s->kept[1][i] : 0;
    }
    s->run(s->transform, s->out, s->in, sizeof *s->in);
    for (int k = 1; k < n / 2; k++) {
        const AVComplexDouble a = s->out[k], b = s->out[n - k];
        if (s->band[k] >= 0)
            sum[s->band[k]] += a.re * a.re + a.im * a.im + b.re * b.re + b.im * b.im;
    }
    /* The Hann window's mean square is 3/8: a tone of power p sums to p over the bands. */
    const double unit = 1 / (0.375 * n * (double)n * s->channels);
    for (int b = 0; b < LT_SPECTRUM_BANDS; b++)
        to[b] = (float)(sum[b] * unit);
    s->spectra++;
    s->kept_count = n - s->hop;
    for (int c = 0; c < s->channels; c++)
        memmove(s->kept[c], s->kept[c] + s->hop, (size_t)s->kept_count * sizeof **s->kept);
}

static void end_block(lt_spectrum *s)
{
    s->power[s->blocks] = (float)(s->square / ((double)s->hop * s->channels));
    s->low[s->blocks] = s->least;
    s->high[s->blocks] = s->largest;
    s->blocks++;
    s->filled = 0;
    s->square = 0;
    s->least = s->largest = 0;
}

lt_status lt_spectrum_add(lt_spectrum *s, const float *const *pcm, int64_t count)
{
    assert(count >= 0);
    for (int64_t i = 0; i < count; i++) {
        LT_TRY(grow(s));
        for (int c = 0; c < s->channels; c++) {
            const float x = pcm[c][i];
            s->square += (double)x * x;
            s->least = x < s->least ? x : s->least;
            s->largest = x > s->largest ? x : s->largest;
            s->kept[c][s->kept_count] = x;
        }
        s->kept_count++;
        s->samples++;
        if (++s->filled == s->hop)
            end_block(s);
        if (s->kept_count == s->window)
            transform(s);
    }
    return LT_OK;
}

lt_spectrum_view lt_spectrum_look(const lt_spectrum *s)
{
    return (lt_spectrum_view){.rate = s->rate,
                              .hop = s->hop,
                              .window = s->window,
                              .samples = s->samples,
                              .blocks = s->blocks,
                              .spectra = s->spectra,
                              .power = s->power,
                              .low = s->low,
                              .high = s->high,
                              .bands = s->bands};
}

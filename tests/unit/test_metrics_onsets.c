/* test_metrics_onsets.c - things that are seen and heard, by how many frames apart.
 * Goal: the offset that was put in is found within half a frame, whatever happens (a ball bounces,
 * a flash, something moves and stops), through noise, and through files of all containers; what has
 * nothing to do with each other says nothing. Method: drawn films of six seconds, whose events lie
 * between frames. Ranks: 1. Needs: the encoders of mux.h; a missing one skips its case. */
#include <stdlib.h>

#include "base/philox.h"
#include "media/film_read.h"
#include "media/mux.h"
#include "media/spectrum.h"
#include "metrics/onsets.h"
#include "metrics/video_series.h"
#include "tests/support/check.h"
#include "tests/support/the_scratch.h"

enum { W = 96, H = 64, FRAMES = 144, RATE = 32000, SAMPLES = FRAMES * RATE / 24, EVENTS = 8 };
#define FPS     24.0
#define RADIUS  7.0
#define GRAVITY 0.9 /* pixels a frame, a frame */

typedef enum kind { BOUNCES, FLASHES, MOVES } kind;
static const char *const kind_names[] = {"bounces", "flashes", "moves"};

/* How fast the ball leaves the floor, pixels a frame: as high as it comes, as long is it away. */
static const double leaves[EVENTS] = {7.3, 9.1, 6.1, 8.2, 5.4, 9.4, 6.7, 8.6};
static const int flash_at[EVENTS] = {9, 21, 44, 58, 70, 93, 104, 131};

static double event(kind what, int k)
{
    double at = 6.37;
    if (what == FLASHES)
        return flash_at[k];
    for (int i = 0; i < k; i++)
        at += 2 * leaves[i] / GRAVITY;
    return at;
}

/* Pixels of the ball's lowest point above the floor. */
static double height(double t)
{
    int k = 0;
    while (k + 1 < EVENTS && event(BOUNCES, k + 1) <= t)
        k++;
    const double gone = fabs(t - event(BOUNCES, k)); /* before the first it falls as it will rise */
    return leaves[k] * gone - GRAVITY / 2 * gone * gone;
}

/* How far something has come that moves for six frames from each event on, forth and back. */
static double way(double t)
{
    double x = 0;
    for (int k = 0; k < EVENTS; k++)
        x += (k % 2 == 0 ? 3 : -3) * fmin(6, fmax(0, t - event(MOVES, k)));
    return x;
}

static int flashes_in(int t)
{
    for (int k = 0; k < EVENTS; k++)
        if (flash_at[k] == t)
            return 1;
    return 0;
}

/* Evenly from -1 to 1, of a place and a frame. */
static double noise(int i, int t)
{
    uint32_t out[4];
    lt_philox4x32((const uint32_t[4]){(uint32_t)i, (uint32_t)t, 0, 0}, (const uint32_t[2]){7, 7},
                  out);
    return out[0] / 2147483648.0 - 1;
}

static void draw(kind what, int t, double unrest, uint8_t *y)
{
    const double at_x = what == MOVES ? 36 + way(t) : 40 + 12 * sin(t / 31.0);
    const double at_y = what == BOUNCES ? 56 - RADIUS - height(t) : 34;
    const double light = what == FLASHES && flashes_in(t) ? 60 : 0;
    for (int r = 0; r < H; r++)
        for (int c = 0; c < W; c++) {
            const double far = hypot(c - at_x, r - at_y);
            const double ball = what == FLASHES ? 0 : fmin(1, fmax(0, RADIUS + 0.5 - far));
            const double ground = 90 + 12 * sin(c / 3.0) + 10 * sin(r / 2.0) + light;
            y[r * W + c] = (uint8_t)lrint(ground + ball * (200 - ground) +
                                          (unrest > 0 ? unrest * noise(r * W + c, t) : 0));
        }
}

/* What is heard, each event late by so many frames, above noise. */
static void audio_of(kind what, double late, double unrest, float *pcm)
{
    for (int i = 0; i < SAMPLES; i++)
        pcm[i] = (float)(unrest * noise(i, -1));
    for (int k = 0; k < EVENTS; k++) {
        const int first = (int)lrint((event(what, k) + late) / FPS * RATE);
        for (int i = 0; i < 9000 && first + i < SAMPLES; i++)
            if (first + i >= 0)
                pcm[first + i] += (float)(0.4 * exp(-i / 1500.0) * sin(i * 0.21));
    }
}

static lt_onset_offset offset_of(const lt_video_series *series, const lt_spectrum *spectrum,
                                 double start_s)
{
    static double video[FRAMES * LT_ONSET_PARTS], audio[FRAMES * LT_ONSET_PARTS];
    const lt_spectrum_view v = lt_spectrum_look(spectrum);
    const lt_audio_series a = {.rate = v.rate, .hop = v.hop, .blocks = v.blocks, .power = v.power};
    assert_int_equal(lt_video_series_frames(series), FRAMES);
    lt_onsets_of_video(lt_video_series_values(series, LT_SERIES_STEP),
                       lt_video_series_values(series, LT_SERIES_ACCELERATION),
                       lt_video_series_values(series, LT_SERIES_SPAN), FRAMES, video);
    lt_onsets_of_audio(&a, start_s, FRAMES, FPS, audio);
    return lt_onset_offset_of(video, audio, FRAMES);
}

static lt_video_series *drawn(kind what, double unrest)
{
    static uint8_t y[W * H];
    static const uint8_t grey = 128;
    lt_video_series *series = NULL;
    OK(lt_video_series_new(W, H, &series));
    for (int t = 0; t < FRAMES; t++) {
        draw(what, t, unrest, y);
        OK(lt_video_series_add(series, &(lt_frame_planes){y, &grey, &grey, W, H, 1, 1}));
    }
    return series;
}

static lt_spectrum *heard(kind what, double late, double unrest)
{
    static float pcm[SAMPLES];
    lt_spectrum *spectrum = NULL;
    OK(lt_spectrum_new(RATE, 1, &spectrum));
    audio_of(what, late, unrest, pcm);
    OK(lt_spectrum_add(spectrum, (const float *const[]){pcm}, SAMPLES));
    return spectrum;
}

/* Half a frame: an event lies anywhere between two frames, a flash fills one. */
static void offsets_are_found(void **state)
{
    (void)state;
    static const struct {
        kind what;
        double video, audio; /* noise: codes, share of full scale */
    } cases[] = {
        {BOUNCES, 0, 0},    {FLASHES, 0, 0},    {MOVES, 0, 0},
        {BOUNCES, 6, 0.02}, {FLASHES, 6, 0.02}, {MOVES, 2, 0.02}, /* a step there is 9 codes */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const kind what = cases[i].what;
        lt_video_series *series = drawn(what, cases[i].video);
        for (double late = -5; late <= 5; late += 0.5) {
            lt_spectrum *spectrum = heard(what, late, cases[i].audio);
            const lt_onset_offset o = offset_of(series, spectrum, 0);
            if (!(fabs(o.frames - late) <= 0.5 && lt_onset_says(&o, FRAMES / FPS)))
                fail_msg("%s, noise %g: want %g frames, found %g (%.3g, %.3g deviations)",
                         kind_names[what], cases[i].video, late, o.frames, o.correlation,
                         o.deviations);
            /* A stream that begins two frames late. */
            assert_true(fabs(offset_of(series, spectrum, 2 / FPS).frames - late - 2) <= 0.5);
            lt_spectrum_free(&spectrum);
        }
        lt_video_series_free(&series);
    }
}

static void strangers_say_nothing(void **state)
{
    (void)state;
    for (kind what = BOUNCES; what <= MOVES; what++) {
        lt_video_series *series = drawn(what, 6);
        for (int k = 0; k < 2; k++) { /* flashes with a bounce's sounds, and noise alone */
            const kind other = what == FLASHES ? BOUNCES : FLASHES;
            lt_spectrum *spectrum = heard(other, k == 0 ? 0 : FRAMES, 0.02);
            const lt_onset_offset o = offset_of(series, spectrum, 0);
            if (!(o.correlation < LT_ONSET_CORRELATION && !lt_onset_says(&o, FRAMES / FPS)))
                fail_msg("%s, %d: found %g frames (%.3g, %.3g deviations)", kind_names[what], k,
                         o.frames, o.correlation, o.deviations);
            lt_spectrum_free(&spectrum);
        }
        lt_video_series_free(&series);
    }
}

static void nothing_has_no_offset(void **state)
{
    (void)state;
    double video[FRAMES * LT_ONSET_PARTS] = {0}, audio[FRAMES * LT_ONSET_PARTS] = {0};
    audio[7] = 1;
    lt_onset_offset o = lt_onset_offset_of(video, audio, FRAMES);
    assert_true(o.frames == 0 && isnan(o.correlation) && isnan(o.deviations));
    assert_false(lt_onset_says(&o, FRAMES / FPS));
    o = lt_onset_offset_of(video, audio, 0);
    assert_true(isnan(o.correlation));
    /* Too short for further offsets. */
    video[3] = 1;
    o = lt_onset_offset_of(video, audio, 3);
    assert_true(o.frames == 1 && fabs(o.correlation - 1) < 1e-12 && isnan(o.deviations));
    lt_onsets_of_video(video, video, video, 1, audio);
    for (int i = 0; i < LT_ONSET_PARTS; i++)
        assert_true(audio[i] == 0);
}

/* ---- through files ---- */

static lt_status film_write(const char *path, const char *codec, int keep_fragments, double late)
{
    static uint8_t y[W * H], narrow[3 * W * H];
    static uint16_t wide[3 * W * H];
    static float pcm[SAMPLES];
    const lt_mux_spec spec = {.path = path,
                              .codec = codec,
                              .width = W,
                              .height = H,
                              .frames = FRAMES,
                              .sample_rate = RATE,
                              .channels = 2,
                              .samples = SAMPLES,
                              .keep_fragments = keep_fragments,
                              .replace = LT_REPLACE};
    const int is_wide = lt_mux_pixels(codec) == LT_U16;
    lt_mux *mux = NULL;
    LT_TRY(lt_mux_open(&spec, &mux));
    audio_of(BOUNCES, late, 0.001, pcm);
    for (int t = 0, at = 0; t < FRAMES; t++) {
        const int until = SAMPLES * (t + 1) / FRAMES;
        draw(BOUNCES, t, 0, y);
        for (int i = 0; i < 3 * W * H; i++) {
            narrow[i] = y[i % (W * H)];
            wide[i] = (uint16_t)(narrow[i] * 257);
        }
        LT_TRY(lt_mux_video(mux, is_wide ? (void *)wide : narrow, lt_mux_pixels(codec)));
        LT_TRY(lt_mux_audio(mux, (const float *const[]){pcm + at, pcm + at}, until - at));
        at = until;
    }
    return lt_mux_close(&mux);
}

static lt_onset_offset film_offset(const char *path)
{
    lt_film *film = NULL;
    lt_film_event e;
    lt_video_series *series = NULL;
    lt_spectrum *spectrum = NULL;
    OK(lt_film_open(path, &film));
    OK(lt_video_series_new(W, H, &series));
    OK(lt_spectrum_new(RATE, 2, &spectrum));
    for (;;) {
        OK(lt_film_next(film, &e));
        if (e.kind == LT_FILM_END)
            break;
        if (e.kind == LT_FILM_AUDIO)
            OK(lt_spectrum_add(spectrum, e.pcm, e.samples));
        else
            OK(lt_video_series_add(series, &(lt_frame_planes){e.luma, e.cb, e.cr, e.width, e.height,
                                                              e.chroma_width, e.chroma_height}));
    }
    const lt_onset_offset o = offset_of(series, spectrum, lt_film_look(film)->audio_start_s);
    lt_video_series_free(&series);
    lt_spectrum_free(&spectrum);
    lt_film_close(&film);
    return o;
}

static void files_have_the_same_offset(void **state)
{
    (void)state;
    static const struct {
        const char *name, *codec;
        int keep_fragments;
    } cases[] = {
        {"aac.mp4", "h264", 0},     /* priming in an edit list */
        {"growing.mp4", "h264", 1}, /* the same as it lies while the film grows */
        {"flac.mkv", "ffv1", 0},    {"pcm.mov", "prores", 0}, {"av1.mp4", "av1", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int late = -3; late <= 4; late += late < 0 ? 3 : 4) {
            const char *path = scratch_path(&s, cases[i].name);
            const lt_status made = film_write(path, cases[i].codec, cases[i].keep_fragments, late);
            if (made == LT_EUNAVAIL)
                continue;
            check_ok(made, cases[i].name);
            const lt_onset_offset o = film_offset(path);
            if (!(fabs(o.frames - late) <= 0.5 && o.correlation > 0.6))
                fail_msg("%s: want %d frames, found %g (%.3g)", cases[i].name, late, o.frames,
                         o.correlation);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offsets_are_found),
        cmocka_unit_test(strangers_say_nothing),
        cmocka_unit_test(nothing_has_no_offset),
        cmocka_unit_test(files_have_the_same_offset),
    };
    return cmocka_run_group_tests_name("metrics_onsets", tests, scratch_setup, scratch_teardown);
}

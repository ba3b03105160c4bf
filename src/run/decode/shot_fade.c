/* shot_fade.c - at a cut the sound of one shot fades into the next one's. */
#include "run/decode/shot_fade.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

struct lt_shot_fade {
    lt_shot_audio *audio; /* [shots] */
    int shots;
    int64_t samples;
    float *tail[2]; /* [samples]: what the shot at hand leaves behind its cut, fallen */
    float *over[2]; /* [samples]: the same of the shot before */
    int shot;       /* at hand */
};

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

lt_status lt_shot_fade_new(const lt_shot_audio *audio, int shots, int64_t samples,
                           lt_shot_fade **out)
{
    const size_t room = (size_t)samples + 1;
    lt_shot_fade *f = calloc(1, sizeof *f);
    int whole = f != NULL && (f->audio = calloc((size_t)shots + 1, sizeof *audio)) != NULL;
    assert(samples >= 0 && shots >= 0);
    *out = f;
    for (int c = 0; whole && c < 2; c++)
        whole = (f->tail[c] = calloc(room, sizeof *f->tail[c])) != NULL &&
                (f->over[c] = calloc(room, sizeof *f->over[c])) != NULL;
    if (!whole) {
        lt_shot_fade_free(out);
        LT_FAIL(LT_ENOMEM, "sound: no memory to fade over %lld samples", (long long)samples);
    }
    for (int i = 0; i < shots; i++)
        f->audio[i] = audio[i];
    f->shots = shots;
    f->samples = samples;
    return LT_OK;
}

void lt_shot_fade_free(lt_shot_fade **fade)
{
    lt_shot_fade *f = *fade;
    if (f != NULL) {
        free(f->audio);
        for (int c = 0; c < 2; c++) {
            free(f->tail[c]);
            free(f->over[c]);
        }
        free(f);
    }
    *fade = NULL;
}

/* Samples over which a shot rises: none of the first one. */
static int64_t rise_of(const lt_shot_fade *f, int shot)
{
    return shot == 0 ? 0 : least(f->samples, least(f->audio[shot].asked, f->audio[shot].made));
}

/* Where a shot has fallen to nothing, at most as far behind its cut as the next one rises; -1 of
 * the last one. */
static int64_t end_of(const lt_shot_fade *f, int shot)
{
    if (shot + 1 == f->shots)
        return -1;
    return least(f->audio[shot].made, f->audio[shot].asked + rise_of(f, shot + 1));
}

static double quarter(double share) { return acos(-1) / 2 * share; }

static void next_shot(lt_shot_fade *f, int shot)
{
    for (int c = 0; c < 2; c++) {
        float *const passed = f->over[c];
        f->over[c] = f->tail[c];
        f->tail[c] = passed;
        for (int64_t i = 0; i < f->samples; i++)
            passed[i] = 0;
    }
    f->shot = shot;
}

void lt_shot_fade_samples(lt_shot_fade *f, int shot, int64_t first, float *const channel[2],
                          int64_t count)
{
    const int64_t rise = rise_of(f, shot), end = end_of(f, shot), asked = f->audio[shot].asked;
    const int64_t fall = least(f->samples, end), falls = end - fall;
    assert(shot < f->shots && (shot == f->shot || shot == f->shot + 1));
    if (shot != f->shot)
        next_shot(f, shot);
    for (int64_t i = 0; i < count; i++) {
        const int64_t at = first + i;
        double gain = 1;
        if (at < rise)
            gain = sin(quarter(((double)at + 0.5) / (double)rise));
        if (end >= 0 && at >= end)
            gain = 0;
        else if (end >= 0 && at >= falls)
            gain *= cos(quarter(((double)(at - falls) + 0.5) / (double)fall));
        else if (at >= rise)
            continue;
        for (int c = 0; c < 2; c++) {
            const float x = (float)(gain * channel[c][i]);
            channel[c][i] = at < rise ? x + f->over[c][at] : x;
            if (at >= asked && at < end)
                f->tail[c][at - asked] = x;
        }
    }
}

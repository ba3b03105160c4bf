/* film_file.c - where finished frames and samples go.
 *
 * Sound lies on disk as one PCM timeline: audio chunks come before the frames that need them, not
 * with them, and sheet and WAV want all of it at the end. Where a loudness is asked for, all of it
 * is there before the first frame (chunks.h) and is set then. */
#include "run/decode/film_file.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/record.h"
#include "media/contact_sheet.h"
#include "media/loudness.h"
#include "media/mux.h"
#include "media/timeline.h"
#include "run/decode/chunks.h"
#include "run/film_tags.h"

struct lt_film_file {
    const lt_plan *plan;
    const lt_decode_outputs *outputs;
    lt_mux *mux;
    lt_timeline *audio; /* NULL: the film has no sound */
    lt_contact_sheet *sheet;
    float *pcm; /* a second of both channels */
    int64_t frame_at, sample_at;
};

/* What is made beside the film may fail without it: the first failure is kept, the rest goes on. */
static void keep_failure(lt_decode_extra *extra, const char *option, lt_status st)
{
    if (st != LT_OK && extra->status == LT_OK) {
        extra->status = st;
        (void)snprintf(extra->text, sizeof extra->text, "%s %s", option, lt_error_text());
    }
    if (st != LT_OK)
        lt_error_clear();
}

static json_t *number_or_null(double x) { return isfinite(x) ? json_real(x) : json_null(); }

static lt_status open_mux(lt_film_file *f, int threads)
{
    lt_mux_spec spec;
    lt_plan_mux_spec(f->plan, f->outputs->film, threads, &spec);
    spec.hidden = f->outputs->hidden;
    spec.replace = f->outputs->replace;
    lt_film_tags tags = {NULL, NULL};
    lt_status st = f->outputs->tags ? lt_film_tags_make(f->plan, &tags) : LT_OK;
    spec.title = tags.title;
    spec.comment = tags.comment;
    if (st == LT_OK)
        st = lt_mux_open(&spec, &f->mux);
    lt_film_tags_free(&tags);
    LT_TRY(st);
    return LT_OK;
}

static lt_status open_audio(lt_film_file *f)
{
    const lt_plan *plan = f->plan;
    if (lt_audio_stream(plan) < 0)
        return LT_OK;
    f->pcm = malloc(2 * (size_t)plan->sample_rate * sizeof *f->pcm);
    if (f->pcm == NULL)
        LT_FAIL(LT_ENOMEM, "decode: no memory for sound (%d samples)", plan->sample_rate);
    return lt_timeline_new(plan->sample_rate, 2, plan->samples, f->outputs->audio, &f->audio);
}

lt_status lt_film_file_open(const lt_plan *plan, const lt_decode_outputs *outputs, int threads,
                            lt_film_file **out)
{
    lt_film_file *f = calloc(1, sizeof *f);
    *out = NULL;
    if (f == NULL)
        LT_FAIL(LT_ENOMEM, "decode: no memory for the film's file");
    f->plan = plan;
    f->outputs = outputs;
    lt_status st = open_mux(f, threads);
    if (st == LT_OK)
        st = open_audio(f);
    if (st == LT_OK && outputs->sheet != NULL)
        keep_failure(outputs->extra, "--sheet",
                     lt_contact_sheet_new(plan->frames, plan->shape.width, plan->shape.height,
                                          LT_CONTACT_SHEET_COLUMNS, LT_CONTACT_SHEET_ROWS,
                                          &f->sheet));
    if (st != LT_OK)
        lt_film_file_close(&f);
    *out = f;
    return st;
}

lt_status lt_film_file_audio(lt_film_file *f, int64_t first, const float *const *channel,
                             int64_t count)
{
    return lt_timeline_write(f->audio, first, channel, count);
}

lt_status lt_film_file_silence(lt_film_file *f, int64_t first, int64_t count)
{
    float *silence = calloc((size_t)count, sizeof *silence);
    if (silence == NULL)
        LT_FAIL(LT_ENOMEM, "sound: no memory for %lld samples", (long long)count);
    const float *const channel[2] = {silence, silence};
    const lt_status st = lt_timeline_write(f->audio, first, channel, count);
    free(silence);
    LT_TRY(st);
    return LT_OK;
}

/* The whole timeline, before its first sample is muxed. */
static lt_status set_loudness(lt_film_file *f)
{
    const double target = f->plan->loudness;
    lt_loudness before, after;
    if (f->audio == NULL || !(fabs(target) > 0) || f->frame_at > 1)
        return LT_OK;
    LT_TRY(lt_loudness_set(f->audio, target, &before, &after));
    lt_record_event("loudness",
                    json_pack("{s:o, s:o, s:f, s:o}", "before", number_or_null(before.integrated),
                              "after", number_or_null(after.integrated), "target", target,
                              "true_peak", number_or_null(after.true_peak)));
    if (isfinite(after.integrated) && fabs(after.integrated - target) > LT_LOUDNESS_NEAR_LU)
        lt_warn("--loudness %g: the sound comes to %.1f LUFS: its peaks leave no more", target,
                after.integrated);
    else if (!isfinite(after.integrated))
        lt_warn("--loudness %g: the sound is silent, or shorter than 0.4 s, and stays as it is",
                target);
    return LT_OK;
}

/* Audio that belongs to the frames muxed so far. */
static lt_status mux_audio(lt_film_file *f)
{
    const int64_t until = lt_samples_until(f->plan, f->frame_at), most = f->plan->sample_rate;
    while (f->audio != NULL && f->sample_at < until) {
        const int64_t left = until - f->sample_at, count = left < most ? left : most;
        float *const channel[2] = {f->pcm, f->pcm + most};
        LT_TRY(lt_timeline_read(f->audio, f->sample_at, channel, count));
        const float *const from[2] = {channel[0], channel[1]};
        LT_TRY(lt_mux_audio(f->mux, from, count));
        f->sample_at += count;
    }
    return LT_OK;
}

lt_status lt_film_file_frame(lt_film_file *f, const void *rgb, lt_dtype pixels)
{
    LT_TRY(lt_mux_video(f->mux, rgb, pixels));
    if (f->sheet != NULL)
        LT_TRY(lt_contact_sheet_frame(f->sheet, f->frame_at, rgb, pixels));
    f->frame_at++;
    LT_TRY(set_loudness(f));
    return mux_audio(f);
}

int64_t lt_film_file_frames(const lt_film_file *f) { return f->frame_at; }

static lt_status write_sheet(lt_film_file *f)
{
    if (f->audio != NULL)
        LT_TRY(lt_contact_sheet_audio(f->sheet, f->audio));
    LT_TRY(lt_contact_sheet_write(f->sheet, f->outputs->sheet, f->outputs->replace));
    return LT_OK;
}

lt_status lt_film_file_finish(lt_film_file *f)
{
    const lt_decode_outputs *o = f->outputs;
    LT_TRY(lt_mux_close(&f->mux));
    if (o->whole != NULL)
        LT_TRY(o->whole(o->whole_ctx));
    if (o->wav != NULL && f->audio != NULL)
        keep_failure(o->extra, "--wav", lt_wav_write(o->wav, f->audio, o->replace));
    if (f->sheet != NULL)
        keep_failure(o->extra, "--sheet", write_sheet(f));
    return LT_OK;
}

void lt_film_file_close(lt_film_file **file)
{
    lt_film_file *f = *file;
    if (f == NULL)
        return;
    lt_mux_abort(&f->mux);
    lt_contact_sheet_free(&f->sheet);
    lt_timeline_free(&f->audio);
    free(f->pcm);
    free(f);
    *file = NULL;
}

size_t lt_frame_bytes(const lt_plan *plan)
{
    return (size_t)(3 * plan->shape.width * plan->shape.height) *
           lt_dtype_bytes(lt_mux_pixels(plan->codec));
}

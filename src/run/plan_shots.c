/* plan_shots.c - a film as a row of shots, each with a plan of its own. */
#include "run/plan_shots.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "run/plan_windowing.h"

/* Anchors are counted from the shot's start; a shot without that frame has no such anchor. */
static void keep_anchors(lt_windows_asked *asked, int64_t grid_frames)
{
    int kept = 0;
    for (int i = 0; i < asked->anchors; i++)
        if (asked->anchor[i] < grid_frames)
            asked->anchor[kept++] = asked->anchor[i];
    asked->anchors = asked->mode == LT_MODE_SINGLE ? 0 : kept;
}

static lt_status shot_of(const lt_plan *film, const lt_model *model, int i, lt_film_shot *out)
{
    const lt_board_shot *s = &film->board.shot[i];
    *out = (lt_film_shot){.plan = *film,
                          .first_frame = s->frames.first,
                          .first_sample = s->samples.first,
                          .first_prompt = s->first_entry,
                          .prompts = s->entries};
    (void)snprintf(out->group, sizeof out->group, "shot-%02d/", i + 1);
    out->plan.board = (lt_storyboard){0};
    out->plan.prompt = film->board.entry[s->first_entry].prompt;
    out->plan.frames = s->frames.count;
    out->plan.samples = s->samples.count;
    out->plan.shape.frames = s->grid_frames;
    out->plan.seed = s->seed;
    out->plan.asked.mode = s->mode;
    keep_anchors(&out->plan.asked, s->grid_frames);
    return lt_plan_streams(&out->plan, model);
}

lt_status lt_film_shots(const lt_plan *film, const lt_model *model, lt_film_shot **out, int *count)
{
    const int shots = film->board.shots;
    lt_status st = LT_OK;
    *count = shots > 0 ? shots : 1;
    *out = calloc((size_t)*count, sizeof **out);
    if (*out == NULL)
        LT_FAIL(LT_ENOMEM, "plan: no memory for %d shots", *count);
    if (shots == 0)
        (*out)[0] = (lt_film_shot){.plan = *film, .prompts = 1};
    for (int i = 0; i < shots && st == LT_OK; i++)
        st = shot_of(film, model, i, &(*out)[i]);
    if (st != LT_OK) {
        free(*out);
        *out = NULL;
        *count = 0;
    }
    LT_TRY(st);
    return LT_OK;
}

const char *lt_film_dataset(const lt_film_shot *shot, int stream, char out[LT_DATASET_BYTES])
{
    const int n =
        snprintf(out, LT_DATASET_BYTES, "%s%s", shot->group, shot->plan.stream[stream].name);
    assert(n > 0 && n < LT_DATASET_BYTES);
    return out;
}

int lt_film_prompts(const lt_plan *film)
{
    return film->board.entries > 0 ? film->board.entries : 1;
}

const char *lt_film_prompt(const lt_plan *film, int prompt)
{
    assert(prompt >= 0 && prompt < lt_film_prompts(film));
    return film->board.entries > 0 ? film->board.entry[prompt].prompt : film->prompt;
}

/* Latents of the video in shot i. */
static int64_t latents_of(const lt_plan *film, int i)
{
    return lt_grid_latents(film->grid, film->board.shot[i].grid_frames);
}

/* Positions of a stream's time axis that a clip of so many latents has. */
static int64_t units_of(const lt_plan *film, const lt_stream *s, int64_t latents)
{
    return s->is_audio ? lt_grid_tick_range(film->grid, (lt_range){0, latents}).count : latents;
}

static int64_t stream_bytes(const lt_stream *s)
{
    int64_t n = (int64_t)sizeof(float);
    for (int i = 0; i < s->ndim; i++)
        n *= s->dim[i];
    return n;
}

int64_t lt_film_longest_bytes(const lt_plan *film)
{
    int64_t all = 0;
    for (int s = 0; s < film->stream_count; s++)
        all += stream_bytes(&film->stream[s]);
    return all;
}

int64_t lt_film_clip_bytes(const lt_plan *film)
{
    int64_t all = 0;
    if (film->board.shots == 0)
        return lt_film_longest_bytes(film);
    for (int s = 0; s < film->stream_count; s++) {
        const lt_stream *stream = &film->stream[s];
        const int64_t unit = stream_bytes(stream) / stream->dim[stream->time_axis];
        for (int i = 0; i < film->board.shots; i++)
            all += unit * units_of(film, stream, latents_of(film, i));
    }
    return all;
}

int64_t lt_film_decode_chunks(const lt_plan *film, const lt_model *model)
{
    lt_shape shape = film->shape;
    int64_t chunks = 0;
    if (film->board.shots == 0)
        return model->family->decode_chunks(model, &shape);
    for (int i = 0; i < film->board.shots; i++) {
        shape.frames = film->board.shot[i].grid_frames;
        chunks += model->family->decode_chunks(model, &shape);
    }
    return chunks;
}

int64_t lt_film_audio_chunks(const lt_plan *film, int64_t ticks)
{
    const lt_stream *audio = NULL;
    int64_t chunks = 0;
    for (int s = 0; s < film->stream_count; s++)
        if (film->stream[s].is_audio)
            audio = &film->stream[s];
    if (audio == NULL)
        return 0;
    if (film->board.shots == 0)
        return (audio->dim[audio->time_axis] + ticks - 1) / ticks;
    for (int i = 0; i < film->board.shots; i++)
        chunks += (units_of(film, audio, latents_of(film, i)) + ticks - 1) / ticks;
    return chunks;
}

static void cut_and_move(lt_range *range, int64_t first_frame, int64_t frames)
{
    if (range->first + range->count > frames)
        range->count = frames - range->first;
    range->first += first_frame;
}

/* Ranges that begin in what is trimmed go; they are the last. */
static void to_film(lt_layout *layout, const lt_board_shot *s)
{
    while (layout->count > 1 && layout->own[layout->count - 1].first >= s->frames.count)
        layout->count--;
    for (int64_t k = 0; k < layout->count; k++) {
        cut_and_move(&layout->window[k], s->frames.first, s->frames.count);
        cut_and_move(&layout->own[k], s->frames.first, s->frames.count);
    }
}

static lt_status layout_of(const lt_plan *film, int shot, lt_layout *out)
{
    lt_windowing w = film->windowing;
    lt_layout latents = {0};
    if (film->board.shots > 0) {
        lt_windows_asked asked = film->asked;
        asked.anchors = 0;
        LT_TRY(lt_plan_time_windows(&asked, film->grid, film->board.shot[shot].mode,
                                    latents_of(film, shot), &w));
    }
    LT_TRY(lt_windowing_layout(&w, film->grid, 0, &latents));
    const lt_status st = lt_layout_in_frames(film->grid, &latents, out);
    lt_layout_free(&latents);
    return st;
}

lt_status lt_film_layout(const lt_plan *film, int shot, lt_layout *out)
{
    LT_TRY(layout_of(film, shot, out));
    if (film->board.shots > 0)
        to_film(out, &film->board.shot[shot]);
    return LT_OK;
}

lt_status lt_plan_check_blends(const lt_plan *film, const char *where)
{
    for (int i = 0; i < film->board.shots; i++) {
        const lt_board_shot *s = &film->board.shot[i];
        lt_layout layout = {0};
        if (s->entries == 1)
            continue;
        const int blends = s->mode == LT_MODE_WINDOWS || s->mode == LT_MODE_EXTEND;
        if (blends)
            LT_TRY(layout_of(film, i, &layout));
        const int64_t windows = layout.count;
        lt_layout_free(&layout);
        if (windows > 1)
            continue;
        lt_hint("a window sees one text: give the shot more frames, or --window fewer");
        if (blends)
            LT_FAIL(LT_EUSAGE,
                    "%s: entry %d: transition: blend: want a shot longer than a window of %lld "
                    "frames, found %lld frames",
                    where, s->first_entry + 2, (long long)film->asked.window,
                    (long long)s->frames.count);
        LT_FAIL(LT_EUSAGE,
                "%s: entry %d: transition: blend: want --mode windows or extend, found %s", where,
                s->first_entry + 2, lt_mode_names[s->mode]);
    }
    return LT_OK;
}

lt_status lt_plan_keep_shot(lt_plan *film, int64_t shot, const char *where)
{
    const int shots = film->board.shots;
    if (shots == 0) {
        lt_hint("`longtake render --help` says of `shots` what a storyboard is");
        LT_FAIL(LT_EUSAGE, "--shot %lld: want a job file with `shots:`, found none",
                (long long)shot);
    }
    if (shot < 1 || shot > shots)
        LT_FAIL(LT_EUSAGE, "--shot %lld: want 1 to %d, the shots of %s", (long long)shot, shots,
                where);
    lt_storyboard_keep(&film->board, (int)shot - 1, film->fps, film->sample_rate);
    free(film->prompt);
    film->prompt = lt_storyboard_prompts(&film->board);
    if (film->prompt == NULL)
        LT_FAIL(LT_ENOMEM, "plan: no memory for the prompts");
    film->frames = film->board.shot[0].frames.count;
    film->samples = lt_samples_of(film->frames, film->sample_rate, film->fps);
    film->shape.frames = film->board.shot[0].grid_frames;
    film->asked.mode = film->board.shot[0].mode;
    keep_anchors(&film->asked, film->shape.frames);
    return LT_OK;
}

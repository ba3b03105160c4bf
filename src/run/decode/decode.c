/* decode.c - the pool of decode chunks that decodes a film in order.
 *
 * The film is a row of chunks of video and of audio (chunks.h). Video chunk i (a few latent frames)
 * belongs to group i mod G: the ranks of one tp axis of the decoding mesh, by default one rank each
 * (G = P). The group
 *   1 decodes it to raw frames, all its ranks together;
 * and the group's first rank, the chunk's owner,
 *   2 sends its overlap frames, raw, to the owner of i + 1, which fades them into its first frames;
 *   3 takes the overlap frames of i - 1, finishes its own, and sends them to rank 0 as u8 or u16.
 * Audio chunk i belongs to rank i mod P, which decodes it alone and sends the samples to rank 0.
 * Rank 0, the first of group 0, takes the chunks in order: its own it finishes itself, the others
 * it receives, and all go to the film's file, which grows in film order while other ranks are ahead
 * by one finished chunk each: an owner waits for its last frames to be taken before it sends the
 * next (the credit).
 *
 *     rank 0   [0 dec]fin mux0 | take 1 mux1 | take 2 mux2 | [3 dec]fin mux3 ...
 *     rank 1   [1 dec] overlap<-0 fin send  [4 dec] ...
 *     rank 2   [2 dec] overlap<-1 fin send  [5 dec] ...
 *
 * No wait can be circular: overlap frames flow from lower to higher chunks, finished ones from
 * owners to rank 0, and rank 0 takes them in ascending order. Groups add none. Their collectives
 * lie all inside step 1, in which no rank waits for anything but its own group (and for latents,
 * which a thread sends, whatever its rank does); and every rank comes to its chunks in ascending
 * order. So step 1 of chunk i ends once its group's ranks have come to it: the helpers come
 * straight from their chunk before, and the owner's other waits (overlap frames taken, frames or
 * samples taken, or, on rank 0, all lower chunks received) are for lower chunks alone. By induction
 * over i each chunk gets done. While rank 0 muxes the chunks of others, the helpers of group 0
 * stand in the first sum of their next chunk, and no rank waits for them: they send nothing but
 * sums. That holds whichever thread moves the sums, since muxing needs no sum and when step 1 has
 * ended here its sums have.
 *
 * Beside denoising. Where a part of the film is final while the rest is denoised, all ranks walk on
 * as far as chunks are final, and denoise again. Where some ranks have no part in the denoising
 * (`extend` with several groups on `win`), the early chunks belong to these alone, in turn: they
 * walk while the others denoise, and rank 0 takes what has come between two steps. The list and its
 * owners are the same on all ranks, so the walk may stop behind any part and go on later.
 *
 * Memory: one raw chunk, overlap frames each way, two chunks of finished frames and of samples,
 * whatever the film's length; a helper has a chunk's latents.
 *
 * A storyboard's shots are decoded as films of their own: each is a row of chunks, these rows stand
 * one behind the other and are numbered through, and the first chunk of a row takes no overlap
 * frames. What a shot's grid has too many is dropped when its last chunk is muxed, so a cut is at
 * its frame; its samples are laid where they belong in the film's one timeline, cut or filled up
 * with silence. */
#include "run/decode/decode.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/stop.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/op_record.h"
#include "run/decode/shot_fade.h"
#include "run/resume/fence.h"

enum { TAG_OVERLAP = 1, TAG_FRAMES = 2, TAG_AUDIO = 3 };

struct lt_decoding {
    lt_decode_in in;
    const lt_family *family;
    lt_film_chunks chunks;
    int64_t at;    /* the next chunk of this rank's walk */
    int is_kept;   /* the latents are stored: progress is of this, a signal ends it */
    int64_t muxed; /* video chunks */
    lt_group *world;
    int rank, size;
    const lt_mesh *mesh;
    int groups, group, each;        /* of the video; mine; ranks of a group */
    int *early_group, early_groups; /* those that decode what is early; none: all */
    int *early_rank, early_ranks;
    lt_dtype pixels; /* LT_U8 or LT_U16: what the muxer takes */
    float *latents;  /* of a chunk, of video or audio */
    size_t latents_capacity, pcm_bytes;
    char *raw, *overlap_in, *overlap_out;
    char *frames[2]; /* finished; two, so that one may be on its way */
    float *pcm[2];
    int64_t made_video, made_audio; /* mine so far */
    lt_request *overlap_request, *frames_request[2], *pcm_request[2], *incoming;
    lt_film_file *file; /* rank 0, as are */
    lt_shot_fade *cuts;
};

static const lt_film_shot *shot_of(const lt_decoding *d, const lt_film_chunk *chunk)
{
    return &d->in.shot[chunk->shot];
}

/* Copy range [first, first + count) of the time axis of a shot's stream, dense. */
static lt_status take_latents(lt_decoding *d, const lt_film_chunk *chunk, int stream,
                              lt_range range)
{
    const lt_stream *s = &shot_of(d, chunk)->plan.stream[stream];
    assert((size_t)(lt_stream_outer(s) * range.count * lt_stream_inner(s)) <= d->latents_capacity);
    return lt_latent_take(d->in.source, chunk->shot, stream, range, d->latents);
}

/* Between two chunks rank 0 alone looks, so that it removes the half film before the job ends.
 * Beside denoising the loop does that. */
static lt_status stop_here(const lt_decoding *d)
{
    LT_TRY(lt_fence_check());
    if (d->rank != 0 || !d->is_kept || !lt_stop_asked())
        return LT_OK;
    if (lt_stop_hint()[0] != '\0')
        lt_hint("%s", lt_stop_hint());
    LT_FAIL(LT_ETEMP, "stopped by %s while decoding: the latents are kept",
            lt_stop_name(lt_stop_signal()));
}

/* ---- who does what ---- */

/* The group that a video chunk belongs to. */
static int group_of(const lt_decoding *d, const lt_film_chunk *chunk)
{
    if (chunk->is_early && d->early_groups > 0)
        return d->early_group[chunk->number % d->early_groups];
    return (int)(chunk->number % d->groups);
}

/* The rank that finishes it. */
static int owner_of(const lt_decoding *d, const lt_film_chunk *chunk)
{
    if (!chunk->is_audio)
        return d->mesh->rank_at[group_of(d, chunk) * d->each];
    if (chunk->is_early && d->early_ranks > 0)
        return d->early_rank[chunk->number % d->early_ranks];
    return (int)(chunk->number % d->size);
}

/* The video chunk `step` (-1, 1) from this one in its shot, NULL: there is none. */
static const lt_film_chunk *neighbour(const lt_decoding *d, const lt_film_chunk *chunk, int step)
{
    const lt_film_chunk *first = d->chunks.list, *end = first + d->chunks.count;
    for (const lt_film_chunk *p = chunk + step; p >= first && p < end; p += step)
        if (!p->is_audio)
            return p->shot == chunk->shot ? p : NULL;
    return NULL;
}

/* ---- audio ---- */

static lt_status make_audio(lt_decoding *d, const lt_film_chunk *chunk, float *pcm)
{
    const lt_film_shot *shot = shot_of(d, chunk);
    const int stream = lt_audio_stream(&shot->plan);
    const lt_range ticks = lt_audio_chunk(shot, chunk->index);
    const lt_range known =
        d->family->audio_context(d->in.model, lt_stream_units(&shot->plan.stream[stream]), ticks);
    LT_TRY(take_latents(d, chunk, stream, known));
    return d->family->audio_decode(d->in.model, d->latents, known.count,
                                   (lt_range){ticks.first - known.first, ticks.count}, pcm);
}

static size_t audio_bytes(const lt_decoding *d, const lt_film_chunk *chunk)
{
    const lt_range ticks = lt_audio_chunk(shot_of(d, chunk), chunk->index);
    return 2 * (size_t)d->family->audio_samples(d->in.model, ticks.count) * sizeof(float);
}

/* Rank 0: what falls into the shot goes to the timeline; of the rest of the grid cuts take what
 * they fade. The grid's audio may end a few milliseconds before the video (ticks are rounded):
 * silence fills it. */
static lt_status keep_audio(lt_decoding *d, const lt_film_chunk *chunk, float *pcm)
{
    const lt_film_shot *shot = shot_of(d, chunk);
    const lt_range ticks = lt_audio_chunk(shot, chunk->index);
    const int64_t first = d->family->audio_samples(d->in.model, ticks.first);
    const int64_t count = d->family->audio_samples(d->in.model, ticks.count);
    const int64_t left = shot->plan.samples - first, end = first + count;
    const int64_t kept = left < count ? left : count;
    const float *const channel[2] = {pcm, pcm + count};
    const int stream = lt_audio_stream(&shot->plan);
    const int is_last = ticks.first + ticks.count == lt_stream_units(&shot->plan.stream[stream]);
    lt_shot_fade_samples(d->cuts, chunk->shot, first, (float *const[]){pcm, pcm + count}, count);
    if (kept > 0)
        LT_TRY(lt_film_file_audio(d->file, shot->first_sample + first, channel, kept));
    if (is_last && end < shot->plan.samples)
        LT_TRY(lt_film_file_silence(d->file, shot->first_sample + end, shot->plan.samples - end));
    return LT_OK;
}

static lt_status open_cuts(lt_decoding *d)
{
    const lt_plan *film = d->in.plan;
    const int64_t samples = llrint(film->cut_fade_ms / 1000 * film->sample_rate);
    lt_shot_audio *audio = calloc((size_t)d->in.shots, sizeof *audio);
    if (audio == NULL)
        LT_FAIL(LT_ENOMEM, "decode: no memory for the sound of %d shots", d->in.shots);
    for (int i = 0; i < d->in.shots; i++) {
        const lt_plan *shot = &d->in.shot[i].plan;
        const int stream = lt_audio_stream(shot);
        audio[i].asked = shot->samples;
        if (stream >= 0)
            audio[i].made =
                d->family->audio_samples(d->in.model, lt_stream_units(&shot->stream[stream]));
    }
    const lt_status st = lt_shot_fade_new(audio, d->in.shots, samples, &d->cuts);
    free(audio);
    LT_TRY(st);
    return LT_OK;
}

/* ---- video ---- */

static lt_decode_chunk facts_of(const lt_decoding *d, const lt_film_chunk *chunk)
{
    return d->family->decode_chunk(d->in.model, &shot_of(d, chunk)->plan.shape, chunk->index);
}

static size_t video_bytes(const lt_decoding *d, const lt_film_chunk *chunk)
{
    return (size_t)facts_of(d, chunk).frames * lt_frame_bytes(d->in.plan);
}

/* Step 1 of the head comment. raw NULL: this rank only helps. */
static lt_status decode_chunk(lt_decoding *d, const lt_film_chunk *chunk, char *raw)
{
    const lt_decode_chunk facts = facts_of(d, chunk);
    LT_TRY(take_latents(d, chunk, 0, (lt_range){facts.first_latent, facts.latents}));
    return d->family->chunk_raw(d->in.model, &shot_of(d, chunk)->plan.shape, chunk->index,
                                d->latents, raw);
}

/* Steps 1 to 3 of the head comment for a chunk of mine; frames end up in d->frames[slot]. */
static lt_status make_video(lt_decoding *d, const lt_film_chunk *chunk, int slot)
{
    const lt_shape *shape = &shot_of(d, chunk)->plan.shape;
    const size_t overlap_bytes = d->family->decode_overlap_bytes(d->in.model, shape);
    const lt_film_chunk *before = neighbour(d, chunk, -1), *behind = neighbour(d, chunk, 1);
    if (before != NULL && owner_of(d, before) != d->rank)
        LT_TRY(lt_request_recv(d->world, owner_of(d, before), TAG_OVERLAP, d->overlap_in,
                               overlap_bytes, &d->incoming));
    else if (before != NULL)
        memcpy(d->overlap_in, d->overlap_out, overlap_bytes);
    LT_TRY(decode_chunk(d, chunk, d->raw));
    LT_TRY(lt_request_wait(&d->overlap_request));
    d->family->chunk_overlap(d->in.model, shape, d->raw, d->overlap_out);
    if (behind != NULL && owner_of(d, behind) != d->rank)
        LT_TRY(lt_request_send(d->world, owner_of(d, behind), TAG_OVERLAP, d->overlap_out,
                               overlap_bytes, &d->overlap_request));
    LT_TRY(lt_request_wait(&d->incoming));
    LT_TRY(lt_request_wait(&d->frames_request[slot]));
    return d->family->chunk_finish(d->in.model, shape, chunk->index, d->raw,
                                   before != NULL ? d->overlap_in : NULL, d->pixels,
                                   d->frames[slot]);
}

/* Rank 0 */
static lt_status keep_video(lt_decoding *d, const lt_film_chunk *chunk, const char *frames)
{
    const lt_film_shot *shot = shot_of(d, chunk);
    const int64_t end = shot->first_frame + shot->plan.frames; /* the rest is the grid's */
    const lt_decode_chunk facts = facts_of(d, chunk);
    for (int64_t i = 0; i < facts.frames && lt_film_file_frames(d->file) < end; i++)
        LT_TRY(lt_film_file_frame(d->file, frames + (size_t)i * lt_frame_bytes(d->in.plan),
                                  d->pixels));
    d->muxed++;
    if (d->is_kept && d->in.shots > 1)
        lt_progress_shot(d->in.progress, chunk->shot + 1, d->in.shots);
    if (d->is_kept)
        lt_progress_step(d->in.progress, d->muxed);
    else
        lt_progress_event(d->in.progress, "decoded",
                          json_pack("{s:I, s:I}", "frames",
                                    (json_int_t)lt_film_file_frames(d->file), "total",
                                    (json_int_t)d->in.plan->frames));
    return LT_OK;
}

/* ---- the walk ---- */

/* An chunk of mine: made, and kept here or sent to rank 0. */
static lt_status make_chunk(lt_decoding *d, const lt_film_chunk *chunk)
{
    if (chunk->is_audio) {
        const int slot = (int)(d->made_audio++ % 2);
        LT_TRY(lt_request_wait(&d->pcm_request[slot]));
        LT_TRY(make_audio(d, chunk, d->pcm[slot]));
        if (d->rank == 0)
            return keep_audio(d, chunk, d->pcm[slot]);
        return lt_request_send(d->world, 0, TAG_AUDIO, d->pcm[slot], audio_bytes(d, chunk),
                               &d->pcm_request[slot]);
    }
    const int slot = (int)(d->made_video++ % 2);
    LT_TRY(make_video(d, chunk, slot));
    if (d->rank == 0)
        return keep_video(d, chunk, d->frames[slot]);
    return lt_request_send(d->world, 0, TAG_FRAMES, d->frames[slot], video_bytes(d, chunk),
                           &d->frames_request[slot]);
}

/* Rank 0: another's chunk, once it has come: 1 in *done. */
static lt_status take_chunk(lt_decoding *d, const lt_film_chunk *chunk, int wait, int *done)
{
    void *to = chunk->is_audio ? (void *)d->pcm[0] : (void *)d->frames[0];
    const size_t bytes = chunk->is_audio ? audio_bytes(d, chunk) : video_bytes(d, chunk);
    *done = 1;
    if (d->incoming == NULL)
        LT_TRY(lt_request_recv(d->world, owner_of(d, chunk),
                               chunk->is_audio ? TAG_AUDIO : TAG_FRAMES, to, bytes, &d->incoming));
    if (wait)
        LT_TRY(lt_request_wait(&d->incoming));
    else
        LT_TRY(lt_request_test(&d->incoming, done));
    if (!*done)
        return LT_OK;
    return chunk->is_audio ? keep_audio(d, chunk, to) : keep_video(d, chunk, to);
}

static int helps(const lt_decoding *d, const lt_film_chunk *chunk)
{
    return !chunk->is_audio && group_of(d, chunk) == d->group;
}

static lt_status visit(lt_decoding *d, const lt_film_chunk *chunk)
{
    int done = 0;
    if (chunk->is_audio) {
        LT_TRY(lt_fault_at(d->rank, "sound"));
    } else {
        lt_operation_chunk((int)chunk->number + 1);
        LT_TRY(lt_fault_step(d->rank, -2 - (int)chunk->number));
    }
    LT_TRY(stop_here(d));
    if (owner_of(d, chunk) == d->rank)
        return make_chunk(d, chunk);
    if (helps(d, chunk))
        return decode_chunk(d, chunk, NULL);
    return d->rank == 0 ? take_chunk(d, chunk, 1, &done) : LT_OK;
}

lt_status lt_decoding_until(lt_decoding *d, int64_t parts)
{
    while (d->at < d->chunks.count && d->chunks.list[d->at].part < parts)
        LT_TRY(visit(d, &d->chunks.list[d->at++]));
    lt_operation_chunk(0);
    return LT_OK;
}

int lt_decoding_is_apart(const lt_decoding *d) { return d->early_groups > 0; }

lt_status lt_decoding_poll(lt_decoding *d, int64_t parts)
{
    int done = d->rank == 0;
    while (done && d->at < d->chunks.count && d->chunks.list[d->at].part < parts) {
        const lt_film_chunk *chunk = &d->chunks.list[d->at];
        assert(owner_of(d, chunk) != 0 && !helps(d, chunk));
        LT_TRY(take_chunk(d, chunk, 0, &done));
        d->at += done;
    }
    return LT_OK;
}

static lt_status wait_for_sent(lt_decoding *d)
{
    LT_TRY(lt_request_wait(&d->overlap_request));
    for (int i = 0; i < 2; i++) {
        LT_TRY(lt_request_wait(&d->frames_request[i]));
        LT_TRY(lt_request_wait(&d->pcm_request[i]));
    }
    return LT_OK;
}

/* Rank 0. Once begun it is not left: a film is whole then, or not there. */
static lt_status finish_file(lt_decoding *d)
{
    LT_TRY(lt_fault_at(d->rank, "mux"));
    LT_TRY(stop_here(d));
    return lt_film_file_finish(d->file);
}

/* The film has its name by now, and stays where the ranks do not meet any more. */
static lt_status agree_whole(const lt_decoding *d, lt_status mine)
{
    const lt_status st = lt_agree(d->world, mine);
    if (st != LT_OK && mine == LT_OK && d->rank == 0)
        LT_FAIL(st, "%s is whole, but %s", d->in.plan->output, lt_error_text());
    LT_TRY(st);
    return LT_OK;
}

lt_status lt_decoding_finish(lt_decoding *d)
{
    d->is_kept = 1;
    lt_stop_arm(d->rank == 0);
    lt_progress_stage(d->in.progress, "decode", "clip", d->chunks.video);
    lt_status st = lt_decoding_until(d, d->chunks.parts);
    if (st == LT_OK)
        st = wait_for_sent(d);
    if (st == LT_OK)
        st = agree_whole(d, d->rank == 0 ? finish_file(d) : LT_OK);
    lt_progress_shot(d->in.progress, 0, 0);
    lt_progress_done(d->in.progress);
    return st;
}

/* ---- opening and closing ---- */

static lt_status take(void *out, size_t bytes, const char *what)
{
    void *memory = malloc(bytes > 0 ? bytes : 1);
    if (memory == NULL)
        LT_FAIL(LT_ENOMEM, "decode: no memory for %s (%zu bytes)", what, bytes);
    memcpy(out, &memory, sizeof memory);
    return LT_OK;
}

/* Frames that a chunk of the longest shot finishes: its first or its last; shorter shots have the
 * same ones. */
lt_decode_buffers lt_decode_buffers_of(const lt_model *model, const lt_plan *plan)
{
    const lt_family *family = model->family;
    const lt_shape *shape = &plan->shape;
    const lt_decode_chunk first = family->decode_chunk(model, shape, 0);
    const lt_decode_chunk last =
        family->decode_chunk(model, shape, family->decode_chunks(model, shape) - 1);
    const int64_t most = last.frames > first.frames ? last.frames : first.frames;
    const int stream = lt_audio_stream(plan);
    size_t video = (size_t)first.latents, audio = 0, pcm = 0;
    for (int i = 0; i < plan->stream[0].ndim; i++)
        video *= i == plan->stream[0].time_axis ? 1 : (size_t)plan->stream[0].dim[i];
    if (stream >= 0) { /* a chunk in the middle of a long film needs the most around it */
        const int64_t middle = (int64_t)1 << 30;
        const lt_range known =
            family->audio_context(model, 2 * middle, (lt_range){middle, LT_AUDIO_CHUNK_TICKS});
        audio = (size_t)(2 * plan->stream[stream].dim[1] * known.count);
        pcm = 2 * (size_t)family->audio_samples(model, LT_AUDIO_CHUNK_TICKS) * sizeof(float);
    }
    return (lt_decode_buffers){.latents = video > audio ? video : audio,
                               .raw_bytes = family->decode_raw_bytes(model, shape),
                               .overlap_bytes = family->decode_overlap_bytes(model, shape),
                               .frames_bytes = (size_t)most * lt_frame_bytes(plan),
                               .pcm_bytes = pcm};
}

static lt_status buffers_new(lt_decoding *d)
{
    const lt_decode_buffers sizes = lt_decode_buffers_of(d->in.model, d->in.plan);
    d->latents_capacity = sizes.latents;
    LT_TRY(take(&d->latents, sizes.latents * sizeof(float), "latents"));
    LT_TRY(take(&d->pcm[0], sizes.pcm_bytes, "sound"));
    LT_TRY(take(&d->pcm[1], sizes.pcm_bytes, "sound"));
    if (d->mesh->position % d->each != 0) /* it only helps */
        return LT_OK;
    LT_TRY(take(&d->raw, sizes.raw_bytes, "raw frames"));
    LT_TRY(take(&d->overlap_in, sizes.overlap_bytes, "a tail"));
    LT_TRY(take(&d->overlap_out, sizes.overlap_bytes, "a tail"));
    LT_TRY(take(&d->frames[0], sizes.frames_bytes, "frames"));
    LT_TRY(take(&d->frames[1], sizes.frames_bytes, "frames"));
    return LT_OK;
}

/* Who decodes what is early: the groups, and ranks, that have no part in the denoising. */
static lt_status find_early(lt_decoding *d)
{
    const char *denoises = d->in.denoises;
    d->early_group = calloc((size_t)d->groups, sizeof *d->early_group);
    d->early_rank = calloc((size_t)d->size, sizeof *d->early_rank);
    if (d->early_group == NULL || d->early_rank == NULL)
        LT_FAIL(LT_ENOMEM, "decode: no memory for %d ranks", d->size);
    for (int g = 0; denoises != NULL && g < d->groups; g++) {
        int busy = 0;
        for (int i = 0; i < d->each; i++)
            busy |= denoises[d->mesh->rank_at[g * d->each + i]];
        if (!busy)
            d->early_group[d->early_groups++] = g;
    }
    for (int r = 0; d->early_groups > 0 && r < d->size; r++)
        if (!denoises[r])
            d->early_rank[d->early_ranks++] = r;
    return LT_OK;
}

static lt_status open_here(lt_decoding *d)
{
    LT_TRY(lt_film_chunks_new(d->in.model, d->in.shot, d->in.shots, &d->chunks));
    LT_TRY(find_early(d));
    LT_TRY(buffers_new(d));
    if (d->rank == 0)
        LT_TRY(open_cuts(d));
    if (d->rank == 0)
        LT_TRY(lt_film_file_open(d->in.plan, d->in.outputs, d->in.engine->threads, &d->file));
    return LT_OK;
}

lt_status lt_decoding_open(const lt_decode_in *in, lt_decoding **out)
{
    const lt_mesh *mesh = in->engine->mesh;
    lt_decoding *d = calloc(1, sizeof *d);
    lt_status st = LT_OK;
    *out = d;
    if (d == NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "decode: no memory");
    LT_TRY(lt_agree(mesh->world, st));
    assert(d != NULL);
    d->in = *in;
    d->family = in->model->family;
    d->mesh = mesh;
    d->world = mesh->world;
    d->rank = lt_group_rank(d->world);
    d->size = lt_group_size(d->world);
    d->each = lt_group_size(mesh->axis[LT_AXIS_TP]);
    d->groups = d->size / d->each;
    /* tp is the innermost axis: the positions of a group follow each other */
    d->group = mesh->position / d->each;
    assert(mesh->position % d->each == lt_group_rank(mesh->axis[LT_AXIS_TP]));
    d->pixels = lt_mux_pixels(in->plan->codec);
    return lt_agree(d->world, open_here(d));
}

/* After an error: messages that will not end any more may read or write what they were given until
 * the process ends. */
static void *keep(int is_used, void *given)
{
    static void *kept[8];
    static int count;
    if (!is_used)
        return given;
    if (count < (int)(sizeof kept / sizeof *kept))
        kept[count++] = given;
    return NULL;
}

void lt_decoding_close(lt_decoding **decoding)
{
    lt_decoding *d = *decoding;
    if (d == NULL)
        return;
    const int comes = d->incoming != NULL; /* to overlap_in or the first slot */
    free(keep(comes, d->overlap_in));
    free(keep(d->overlap_request != NULL, d->overlap_out));
    for (int i = 0; i < 2; i++) {
        free(keep((comes && i == 0) || d->frames_request[i] != NULL, d->frames[i]));
        free(keep((comes && i == 0) || d->pcm_request[i] != NULL, d->pcm[i]));
        lt_request_drop(&d->frames_request[i]);
        lt_request_drop(&d->pcm_request[i]);
    }
    lt_request_drop(&d->overlap_request);
    lt_request_drop(&d->incoming);
    lt_film_file_close(&d->file);
    lt_shot_fade_free(&d->cuts);
    lt_film_chunks_free(&d->chunks);
    free(d->early_group);
    free(d->early_rank);
    free(d->latents);
    free(d->raw);
    free(d);
    *decoding = NULL;
}

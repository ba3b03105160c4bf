/* decode.c - the pool of decode chunks that decodes a film in order.
 *
 * Chunk i of the film (a few latent frames) belongs to group i mod G: the ranks of one tp
 * axis of the decoding mesh, by default one rank each (G = P). The group
 *   1 decodes it to raw frames, all its ranks together;
 * and the group's first rank, the chunk's owner,
 *   2 sends its overlap frames, raw, to the owner of i + 1, which fades them into its first frames;
 *   3 takes the overlap frames of i - 1, finishes its own, and sends them to rank 0 as u8 or u16.
 * Rank 0, the first of group 0, takes the chunks in order: its own it finishes itself, the others
 * it receives, and all go to the muxer, so the file grows in film order while other ranks are ahead
 * by one finished chunk each: an owner waits for its last frames to be taken before it sends the
 * next (the credit).
 *
 *     rank 0   [0 dec]fin mux0 | take 1 mux1 | take 2 mux2 | [3 dec]fin mux3 ...
 *     rank 1   [1 dec] overlap<-0 fin send  [4 dec] ...
 *     rank 2   [2 dec] overlap<-1 fin send  [5 dec] ...
 *
 * No wait can be circular: overlap frames flow from lower to higher chunks, finished ones from
 * owners to rank 0, and rank 0 takes them in ascending order. Groups add none. Their collectives
 * lie all inside step 1, in which no rank waits for anything but its own group; and every rank
 * comes to its group's chunks in ascending order. So step 1 of chunk i ends once its group's ranks
 * have come to it: the helpers come straight from chunk i - G, and the owner's other waits (overlap
 * frames taken, frames taken, or, on rank 0, all lower chunks received) are for lower chunks alone.
 * By induction over i each chunk gets done. While rank 0 muxes the chunks of others, the helpers of
 * group 0 stand in the first sum of their next chunk, and no rank waits for them: they send nothing
 * but sums. That holds whichever thread moves the sums, since muxing needs no sum and when step 1
 * has ended here its sums have.
 *
 * Memory: one raw chunk, overlap frames each way, two chunks of finished frames, whatever the
 * film's length; a helper has a chunk's latents.
 *
 * A storyboard's shots are decoded as films of their own: each is a row of chunks, these rows stand
 * one behind the other and are numbered through, and the first chunk of a row takes no overlap
 * frames. What a shot's grid has too many is dropped when its last chunk is muxed, so a cut is at
 * its frame; its samples are laid where they belong in the film's one timeline, cut or filled up
 * with silence.
 *
 * Audio comes first: chunks of ticks go round the ranks, each alone, in the same way and land in
 * one PCM timeline, kept in a scratch file and fed to the muxer beside the frames. */
#include "run/decode.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/fault.h"
#include "base/log.h"
#include "base/stop.h"
#include "base/text.h"
#include "media/contact_sheet.h"
#include "media/mux.h"
#include "media/timeline.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/op_record.h"
#include "run/film_tags.h"
#include "run/resume/fence.h"

enum { TAG_OVERLAP = 1, TAG_FRAMES = 2, TAG_AUDIO = 3 };

typedef struct {
    lt_model *model;
    const lt_family *family;
    const lt_plan *plan; /* the film's */
    lt_film_shot *shot;  /* [shots] owned */
    int shots;
    const lt_latent_source *source;
    lt_group *world;
    int rank, size;
    const lt_mesh *mesh;
    int groups, group, each; /* of the video; mine; ranks of a group */
    lt_dtype pixels;         /* LT_U8 or LT_U16: what the muxer takes */
    int64_t chunks;
    float *latents; /* of a chunk, of video or audio */
    size_t latents_capacity;
    char *raw, *overlap_in, *overlap_out;
    char *frames[2]; /* finished; two, so that one may be on its way */
    lt_request *overlap_request, *frames_request[2], *incoming;
    /* rank 0 */
    lt_mux *mux;
    lt_timeline *audio;
    lt_contact_sheet *sheet;
    float *pcm;
    int64_t frame_at, sample_at;
    lt_progress *progress;
} pool;

/* A chunk of the film: of which shot, and its number there. */
typedef struct place {
    const lt_film_shot *shot;
    int64_t chunk, chunks; /* chunks: of the shot */
} place;

/* Copy range [first, first + count) of the time axis of a shot's stream, dense. */
static lt_status take_latents(const pool *p, const lt_film_shot *shot, int stream, lt_range range)
{
    const lt_latent_source *source = p->source;
    float *out = p->latents;
    if (source->store != NULL) {
        char name[LT_DATASET_BYTES];
        size_t index = 0;
        LT_TRY(lt_latents_find(source->store, lt_film_dataset(shot, stream, name), &index));
        LT_TRY(lt_latents_read_range(source->store, index, range.first, range.count, out,
                                     p->latents_capacity));
        return LT_OK;
    }
    const lt_stream *s = &shot->plan.stream[stream];
    const lt_clip *clip = &source->clip[shot - p->shot];
    assert((size_t)(lt_stream_outer(s) * range.count * lt_stream_inner(s)) <= p->latents_capacity);
    lt_stream_copy(s, range, clip->data[stream], clip->range[stream], out, range);
    return LT_OK;
}

/* Between two chunks rank 0 alone looks, so that it removes the half film before the job ends. */
static lt_status stop_here(const pool *p)
{
    LT_TRY(lt_fence_check());
    if (p->rank != 0 || !lt_stop_asked())
        return LT_OK;
    char run[LT_PATH_BYTES], out[LT_PATH_BYTES];
    lt_hint("the latents are kept: `longtake decode %s -o %s` makes the film",
            lt_text_quoted(p->plan->run, run, sizeof run),
            lt_text_quoted(p->plan->output, out, sizeof out));
    LT_FAIL(LT_ETEMP, "stopped by %s while decoding", lt_stop_name(lt_stop_signal()));
}

static int64_t audio_stream(const lt_plan *plan)
{
    for (int s = 0; s < plan->stream_count; s++)
        if (plan->stream[s].is_audio)
            return s;
    return -1;
}

/* The shot and the chunk in it of the film's chunk, where each shot has chunks_of chunks. */
static place place_of(const pool *p, int64_t chunk,
                      int64_t (*chunks_of)(const pool *p, const lt_film_shot *shot))
{
    place at = {.shot = p->shot, .chunk = chunk, .chunks = chunks_of(p, p->shot)};
    while (at.chunk >= at.chunks) {
        at.chunk -= at.chunks;
        at.shot++;
        assert(at.shot < p->shot + p->shots);
        at.chunks = chunks_of(p, at.shot);
    }
    return at;
}

static void tell_shot(const pool *p, const lt_film_shot *shot)
{
    if (p->shots > 1)
        lt_progress_shot(p->progress, (int)(shot - p->shot) + 1, p->shots);
}

/* ---- audio ---- */

static int64_t ticks_of(const lt_film_shot *shot)
{
    return shot->plan.stream[audio_stream(&shot->plan)].dim[2];
}

static int64_t audio_chunks_of(const pool *p, const lt_film_shot *shot)
{
    (void)p;
    return (ticks_of(shot) + LT_AUDIO_CHUNK_TICKS - 1) / LT_AUDIO_CHUNK_TICKS;
}

static lt_range audio_chunk_ticks(const place *at)
{
    const int64_t first = at->chunk * LT_AUDIO_CHUNK_TICKS, left = ticks_of(at->shot) - first;
    return (lt_range){first, left < LT_AUDIO_CHUNK_TICKS ? left : LT_AUDIO_CHUNK_TICKS};
}

static lt_status decode_audio_chunk(pool *p, const place *at, float *pcm)
{
    const lt_range ticks = audio_chunk_ticks(at);
    const lt_range known = p->family->audio_context(p->model, ticks_of(at->shot), ticks);
    LT_TRY(take_latents(p, at->shot, (int)audio_stream(&at->shot->plan), known));
    LT_TRY(p->family->audio_decode(p->model, p->latents, known.count,
                                   (lt_range){ticks.first - known.first, ticks.count}, pcm));
    return LT_OK;
}

/* Rank 0: what falls into the shot goes to the timeline; the rest of the grid is cut. */
static lt_status keep_audio_chunk(pool *p, const place *at, const float *pcm)
{
    const lt_range ticks = audio_chunk_ticks(at);
    const int64_t first = p->family->audio_samples(p->model, ticks.first);
    const int64_t count = p->family->audio_samples(p->model, ticks.count);
    const int64_t left = at->shot->plan.samples - first;
    const int64_t kept = left < count ? left : count;
    if (kept <= 0)
        return LT_OK;
    const float *const channel[2] = {pcm, pcm + count};
    LT_TRY(lt_timeline_write(p->audio, at->shot->first_sample + first, channel, kept));
    return LT_OK;
}

static lt_status audio_chunks(pool *p, int64_t chunks, float *pcm)
{
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        const int owner = (int)(chunk % p->size);
        const place at = place_of(p, chunk, audio_chunks_of);
        LT_TRY(stop_here(p));
        const size_t bytes =
            2 * (size_t)p->family->audio_samples(p->model, audio_chunk_ticks(&at).count) *
            sizeof(float);
        if (owner == p->rank) {
            LT_TRY(decode_audio_chunk(p, &at, pcm));
            if (owner != 0) {
                lt_request *request = NULL;
                LT_TRY(lt_request_send(p->world, 0, TAG_AUDIO, pcm, bytes, &request));
                LT_TRY(lt_request_wait(&request));
            }
        }
        if (p->rank != 0)
            continue;
        if (owner != 0) {
            lt_request *request = NULL;
            LT_TRY(lt_request_recv(p->world, owner, TAG_AUDIO, pcm, bytes, &request));
            LT_TRY(lt_request_wait(&request));
        }
        LT_TRY(keep_audio_chunk(p, &at, pcm));
        tell_shot(p, at.shot);
        lt_progress_step(p->progress, chunk + 1);
    }
    return LT_OK;
}

/* The grid's audio may end a few milliseconds before the video (ticks are rounded): silence fills
 * it. */
static lt_status pad_audio(pool *p, const lt_film_shot *shot)
{
    const int64_t have = p->family->audio_samples(p->model, ticks_of(shot));
    if (p->rank != 0 || have >= shot->plan.samples)
        return LT_OK;
    const int64_t missing = shot->plan.samples - have;
    float *silence = calloc((size_t)missing, sizeof *silence);
    if (silence == NULL)
        LT_FAIL(LT_ENOMEM, "sound: no memory for %lld samples", (long long)missing);
    const float *const channel[2] = {silence, silence};
    const lt_status st = lt_timeline_write(p->audio, shot->first_sample + have, channel, missing);
    free(silence);
    LT_TRY(st);
    return LT_OK;
}

static lt_status decode_audio(pool *p, const char *scratch)
{
    if (audio_stream(p->plan) < 0)
        return LT_OK;
    const int64_t samples = p->family->audio_samples(p->model, LT_AUDIO_CHUNK_TICKS);
    int64_t chunks = 0;
    for (int i = 0; i < p->shots; i++)
        chunks += audio_chunks_of(p, &p->shot[i]);
    lt_progress_stage(p->progress, "sound", "chunk", chunks);
    float *pcm = malloc(2 * (size_t)samples * sizeof *pcm);
    if (pcm == NULL)
        LT_FAIL(LT_ENOMEM, "sound: no memory for a chunk");
    lt_status st = LT_OK;
    if (p->rank == 0)
        LT_TRY_GOTO(lt_timeline_new(p->plan->sample_rate, 2, p->plan->samples, scratch, &p->audio),
                    st, done);
    LT_TRY_GOTO(audio_chunks(p, chunks, pcm), st, done);
    for (int i = 0; i < p->shots; i++)
        LT_TRY_GOTO(pad_audio(p, &p->shot[i]), st, done);
done:
    free(pcm);
    return st;
}

/* ---- video ---- */

static int64_t video_chunks_of(const pool *p, const lt_film_shot *shot)
{
    return p->family->decode_chunks(p->model, &shot->plan.shape);
}

static lt_decode_chunk facts_of(const pool *p, const place *at)
{
    return p->family->decode_chunk(p->model, &at->shot->plan.shape, at->chunk);
}

static size_t frame_bytes(const lt_plan *plan)
{
    return (size_t)(3 * plan->shape.width * plan->shape.height) *
           lt_dtype_bytes(lt_mux_pixels(plan->codec));
}

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

/* Audio that belongs to the frames muxed so far. */
static lt_status mux_audio(pool *p)
{
    if (p->audio == NULL)
        return LT_OK;
    const lt_plan *plan = p->plan;
    int64_t until =
        p->frame_at >= plan->frames ? plan->samples : p->frame_at * plan->sample_rate / plan->fps;
    until = until > plan->samples ? plan->samples : until;
    while (p->sample_at < until) {
        const int64_t left = until - p->sample_at, most = plan->sample_rate;
        const int64_t count = left < most ? left : most;
        float *const channel[2] = {p->pcm, p->pcm + most};
        LT_TRY(lt_timeline_read(p->audio, p->sample_at, channel, count));
        const float *const from[2] = {channel[0], channel[1]};
        LT_TRY(lt_mux_audio(p->mux, from, count));
        p->sample_at += count;
    }
    return LT_OK;
}

static lt_status mux_chunk(pool *p, int64_t chunk, const char *frames)
{
    const place at = place_of(p, chunk, video_chunks_of);
    const int64_t end = at.shot->first_frame + at.shot->plan.frames; /* the rest is the grid's */
    const lt_decode_chunk d = facts_of(p, &at);
    tell_shot(p, at.shot);
    for (int64_t i = 0; i < d.frames && p->frame_at < end; i++) {
        const char *frame = frames + (size_t)i * frame_bytes(p->plan);
        LT_TRY(lt_mux_video(p->mux, frame, p->pixels));
        if (p->sheet != NULL)
            LT_TRY(lt_contact_sheet_frame(p->sheet, p->frame_at, frame, p->pixels));
        p->frame_at++;
        LT_TRY(mux_audio(p));
    }
    lt_progress_step(p->progress, chunk + 1);
    return LT_OK;
}

/* The first rank of the group that a chunk belongs to. */
static int owner_of(const pool *p, int64_t chunk)
{
    return p->mesh->rank_at[(int)(chunk % p->groups) * p->each];
}

/* Step 1 of the head comment. raw NULL: this rank only helps. */
static lt_status decode_chunk(pool *p, const place *at, char *raw)
{
    const lt_decode_chunk d = facts_of(p, at);
    LT_TRY(take_latents(p, at->shot, 0, (lt_range){d.first_latent, d.latents}));
    return p->family->chunk_raw(p->model, &at->shot->plan.shape, at->chunk, p->latents, raw);
}

/* Steps 1 to 3 of the head comment for a chunk of mine; frames end up in p->frames[slot]. */
static lt_status make_chunk(pool *p, int64_t chunk, int slot)
{
    const place at = place_of(p, chunk, video_chunks_of);
    const lt_shape *shape = &at.shot->plan.shape;
    const size_t overlap_bytes = p->family->decode_overlap_bytes(p->model, shape);
    const int has_before = at.chunk > 0, has_behind = at.chunk + 1 < at.chunks;
    if (has_before && p->groups > 1)
        LT_TRY(lt_request_recv(p->world, owner_of(p, chunk - 1), TAG_OVERLAP, p->overlap_in,
                               overlap_bytes, &p->incoming));
    else if (has_before)
        memcpy(p->overlap_in, p->overlap_out, overlap_bytes);
    LT_TRY(decode_chunk(p, &at, p->raw));
    LT_TRY(lt_request_wait(&p->overlap_request));
    p->family->chunk_overlap(p->model, shape, p->raw, p->overlap_out);
    if (has_behind && p->groups > 1)
        LT_TRY(lt_request_send(p->world, owner_of(p, chunk + 1), TAG_OVERLAP, p->overlap_out,
                               overlap_bytes, &p->overlap_request));
    LT_TRY(lt_request_wait(&p->incoming));
    LT_TRY(lt_request_wait(&p->frames_request[slot]));
    LT_TRY(p->family->chunk_finish(p->model, shape, at.chunk, p->raw,
                                   has_before ? p->overlap_in : NULL, p->pixels, p->frames[slot]));
    return LT_OK;
}

static lt_status decode_video(pool *p)
{
    lt_progress_stage(p->progress, "decode", "clip", p->chunks);
    int64_t mine = 0;
    for (int64_t chunk = 0; chunk < p->chunks; chunk++) {
        const int owner = owner_of(p, chunk);
        const place at = place_of(p, chunk, video_chunks_of);
        lt_operation_chunk((int)chunk + 1);
        LT_TRY(lt_fault_step(p->rank, -2 - (int)chunk));
        LT_TRY(stop_here(p));
        const size_t bytes = (size_t)facts_of(p, &at).frames * frame_bytes(p->plan);
        if (owner == p->rank) {
            const int slot = (int)(mine++ % 2);
            LT_TRY(make_chunk(p, chunk, slot));
            if (p->rank == 0)
                LT_TRY(mux_chunk(p, chunk, p->frames[slot]));
            else
                LT_TRY(lt_request_send(p->world, 0, TAG_FRAMES, p->frames[slot], bytes,
                                       &p->frames_request[slot]));
        } else if (chunk % p->groups == p->group) {
            LT_TRY(decode_chunk(p, &at, NULL));
        } else if (p->rank == 0) {
            LT_TRY(lt_request_recv(p->world, owner, TAG_FRAMES, p->frames[0], bytes, &p->incoming));
            LT_TRY(lt_request_wait(&p->incoming));
            LT_TRY(mux_chunk(p, chunk, p->frames[0]));
        }
    }
    LT_TRY(lt_request_wait(&p->overlap_request));
    LT_TRY(lt_request_wait(&p->frames_request[0]));
    LT_TRY(lt_request_wait(&p->frames_request[1]));
    return LT_OK;
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
    const int stream = (int)audio_stream(plan);
    size_t video = (size_t)first.latents, audio = 0;
    for (int i = 0; i < plan->stream[0].ndim; i++)
        video *= i == plan->stream[0].time_axis ? 1 : (size_t)plan->stream[0].dim[i];
    if (stream >= 0) { /* a chunk in the middle of a long film needs the most around it */
        const int64_t middle = (int64_t)1 << 30;
        const lt_range known =
            family->audio_context(model, 2 * middle, (lt_range){middle, LT_AUDIO_CHUNK_TICKS});
        audio = (size_t)(2 * plan->stream[stream].dim[1] * known.count);
    }
    return (lt_decode_buffers){.latents = video > audio ? video : audio,
                               .raw_bytes = family->decode_raw_bytes(model, shape),
                               .overlap_bytes = family->decode_overlap_bytes(model, shape),
                               .frames_bytes = (size_t)most * frame_bytes(plan)};
}

static lt_status pool_buffers(pool *p)
{
    const lt_decode_buffers sizes = lt_decode_buffers_of(p->model, p->plan);
    p->latents_capacity = sizes.latents;
    LT_TRY(take(&p->latents, sizes.latents * sizeof(float), "latents"));
    if (p->mesh->position % p->each != 0) /* it only helps */
        return LT_OK;
    LT_TRY(take(&p->raw, sizes.raw_bytes, "raw frames"));
    LT_TRY(take(&p->overlap_in, sizes.overlap_bytes, "a tail"));
    LT_TRY(take(&p->overlap_out, sizes.overlap_bytes, "a tail"));
    LT_TRY(take(&p->frames[0], sizes.frames_bytes, "frames"));
    LT_TRY(take(&p->frames[1], sizes.frames_bytes, "frames"));
    if (p->rank == 0)
        LT_TRY(take(&p->pcm, 2 * (size_t)p->plan->sample_rate * sizeof(float), "sound"));
    return LT_OK;
}

static lt_status pool_outputs(pool *p, const lt_decode_outputs *outputs, int threads)
{
    lt_mux_spec spec;
    lt_plan_mux_spec(p->plan, outputs->film, threads, &spec);
    spec.hidden = outputs->hidden;
    spec.replace = outputs->replace;
    lt_film_tags tags = {NULL, NULL};
    lt_status st = outputs->tags ? lt_film_tags_make(p->plan, &tags) : LT_OK;
    spec.title = tags.title;
    spec.comment = tags.comment;
    if (st == LT_OK)
        st = lt_mux_open(&spec, &p->mux);
    lt_film_tags_free(&tags);
    LT_TRY(st);
    if (outputs->sheet != NULL)
        keep_failure(outputs->extra, "--sheet",
                     lt_contact_sheet_new(p->plan->frames, p->plan->shape.width,
                                          p->plan->shape.height, LT_CONTACT_SHEET_COLUMNS,
                                          LT_CONTACT_SHEET_ROWS, &p->sheet));
    return LT_OK;
}

static lt_status write_sheet(pool *p, const lt_decode_outputs *outputs)
{
    if (p->audio != NULL)
        LT_TRY(lt_contact_sheet_audio(p->sheet, p->audio));
    LT_TRY(lt_contact_sheet_write(p->sheet, outputs->sheet, outputs->replace));
    return LT_OK;
}

static lt_status pool_finish(pool *p, const lt_decode_outputs *outputs)
{
    if (p->rank != 0)
        return LT_OK;
    LT_TRY(lt_mux_close(&p->mux));
    if (outputs->whole != NULL)
        LT_TRY(outputs->whole(outputs->whole_ctx));
    if (outputs->wav != NULL && p->audio != NULL)
        keep_failure(outputs->extra, "--wav",
                     lt_wav_write(outputs->wav, p->audio, outputs->replace));
    if (p->sheet != NULL)
        keep_failure(outputs->extra, "--sheet", write_sheet(p, outputs));
    return LT_OK;
}

/* The film has its name by now, and stays where the ranks do not meet any more. */
static lt_status agree_whole(const pool *p, lt_status mine)
{
    const lt_status st = lt_agree(p->world, mine);
    if (st != LT_OK && mine == LT_OK && p->rank == 0)
        LT_FAIL(st, "%s is whole, but %s", p->plan->output, lt_error_text());
    LT_TRY(st);
    return LT_OK;
}

/* After an error: messages that will not end any more may read what they were given until the
 * process ends. */
static void keep_sent(lt_request **request, char **sent)
{
    static char *kept[3];
    static int count;
    if (*request == NULL)
        return;
    lt_request_drop(request);
    if (count < (int)(sizeof kept / sizeof *kept))
        kept[count++] = *sent;
    *sent = NULL;
}

static void pool_free(pool *p)
{
    lt_request_drop(&p->incoming);
    keep_sent(&p->overlap_request, &p->overlap_out);
    for (int i = 0; i < 2; i++)
        keep_sent(&p->frames_request[i], &p->frames[i]);
    lt_mux_abort(&p->mux);
    lt_contact_sheet_free(&p->sheet);
    lt_timeline_free(&p->audio);
    free(p->shot);
    free(p->latents);
    free(p->raw);
    free(p->overlap_in);
    free(p->overlap_out);
    free(p->frames[0]);
    free(p->frames[1]);
    free(p->pcm);
}

lt_status lt_decode(lt_model *model, lt_engine *engine, const lt_plan *plan,
                    const lt_latent_source *source, const lt_decode_outputs *outputs,
                    lt_progress *progress)
{
    lt_group *world = engine->mesh->world;
    const int each = lt_group_size(engine->mesh->axis[LT_AXIS_TP]);
    pool p = {.model = model,
              .family = model->family,
              .plan = plan,
              .source = source,
              .world = world,
              .mesh = engine->mesh,
              .rank = lt_group_rank(world),
              .size = lt_group_size(world),
              .each = each,
              .progress = progress};
    p.groups = p.size / each;
    /* tp is the innermost axis: the positions of a group follow each other */
    p.group = engine->mesh->position / each;
    assert(engine->mesh->position % each == lt_group_rank(engine->mesh->axis[LT_AXIS_TP]));
    p.pixels = lt_mux_pixels(plan->codec);
    p.chunks = lt_film_decode_chunks(plan, model);
    lt_stop_arm(p.rank == 0);
    lt_status st = lt_film_shots(plan, model, &p.shot, &p.shots);
    if (st == LT_OK)
        st = pool_buffers(&p);
    if (st == LT_OK && p.rank == 0)
        st = pool_outputs(&p, outputs, engine->threads);
    LT_TRY_GOTO(lt_agree(world, st), st, done);
    LT_TRY_GOTO(lt_agree(world, decode_audio(&p, outputs->audio)), st, done);
    LT_TRY_GOTO(decode_video(&p), st, done);
    LT_TRY_GOTO(agree_whole(&p, pool_finish(&p, outputs)), st, done);
done:
    if (st != LT_OK)
        lt_engine_cancel(engine);
    lt_progress_shot(progress, 0, 0);
    lt_progress_done(progress);
    pool_free(&p);
    return st;
}

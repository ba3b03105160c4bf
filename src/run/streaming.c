/* streaming.c - what becomes final goes out while the rest is denoised.
 *
 * Apart. Ranks that denoise agree among themselves (the team), since the others are busy for longer
 * than a step. Rank 0 sends each of the others a notice when a part is final, and one that nothing
 * more comes; it goes on to take what they have decoded until it is through with all it has told
 * them, also when the denoising has failed, so that they can come to the agreement that follows.
 * A notice that a rank has received is proof that the part is final where it asks for it: rank 0
 * answers for the first group, and wrote the latents before it sent the notice. */
#include "run/streaming.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/stop.h"
#include "parallel/transport/agree.h"
#include "run/denoise/parts.h"
#include "run/store_latents.h"

enum { TAG_NOTICE = 4, PUT_BYTES = 1 << 20 };

typedef struct notice {
    int64_t parts;
    int64_t is_last;
} notice;

struct lt_streaming {
    const lt_plan *plan;
    const lt_mesh *mesh;
    const lt_film_latents *latents;
    lt_latent_source *source;
    lt_decoding *decoding;
    lt_latents_writer *writer; /* rank 0 */
    int rank, size, shot;
    lt_parts of_shot;
    int64_t before, parts; /* of the shots before; final so far */
    int has_failed;        /* decoding has, here */
    /* apart */
    int is_apart;
    lt_group *team;       /* the ranks that denoise; NULL on the others */
    char *denoises;       /* [ranks] */
    notice *sent;         /* [notices_max] must stay until they have arrived */
    lt_request **request; /* [notices_max x ranks] */
    int64_t notices, notices_max;
};

/* ---- a film's latents ---- */

lt_status lt_film_latents_new(const lt_plan *plan, const lt_model *model, const lt_mesh *mesh,
                              lt_film_latents *out)
{
    *out = (lt_film_latents){0};
    LT_TRY(lt_film_shots(plan, model, &out->shot, &out->count));
    out->clip = calloc((size_t)out->count, sizeof *out->clip);
    out->holding = calloc((size_t)out->count, sizeof *out->holding);
    if (out->clip == NULL || out->holding == NULL)
        LT_FAIL(LT_ENOMEM, "latents: no memory for %d shots", out->count);
    for (int i = 0; i < out->count; i++) {
        LT_TRY(lt_denoise_holding(model, &out->shot[i].plan, mesh, &out->holding[i]));
        LT_TRY(lt_holding_clip(&out->holding[i], &out->shot[i].plan, &out->clip[i]));
    }
    return LT_OK;
}

void lt_film_latents_free(lt_film_latents *latents)
{
    for (int i = 0; latents->clip != NULL && i < latents->count; i++)
        lt_clip_free(&latents->clip[i]);
    for (int i = 0; latents->holding != NULL && i < latents->count; i++)
        lt_holding_free(&latents->holding[i]);
    free(latents->clip);
    free(latents->holding);
    free(latents->shot);
    *latents = (lt_film_latents){0};
}

void lt_streaming_denoises(const lt_mesh *mesh, char *out)
{
    const int size = lt_group_size(mesh->world);
    const int each = size / lt_group_size(mesh->axis[LT_AXIS_WIN]); /* win is the outermost axis */
    for (int position = 0; position < size; position++)
        out[mesh->rank_at[position]] = position < each;
}

/* ---- to latents.h5 ---- */

static int64_t values_of(const lt_stream *s, int64_t count)
{
    return lt_stream_outer(s) * count * lt_stream_inner(s);
}

/* Rank 0: a range of a stream, from whoever holds it, in blocks. */
static lt_status put_range(lt_streaming *s, int stream, lt_range range)
{
    const lt_stream *of = &s->latents->shot[s->shot].plan.stream[stream];
    const lt_clip *clip = &s->latents->clip[s->shot];
    const size_t index = (size_t)s->shot * (size_t)s->plan->stream_count + (size_t)stream;
    const int64_t n = PUT_BYTES / (values_of(of, 1) * (int64_t)sizeof(float));
    const int64_t most = n > 0 ? n : 1;
    if (range.count == lt_stream_units(of) && clip->range[stream].count == range.count)
        return lt_latents_put(s->writer, index, 0, range.count, clip->data[stream]);
    float *block =
        malloc((size_t)values_of(of, most < range.count ? most : range.count) * sizeof *block);
    lt_status st = LT_OK;
    if (block == NULL)
        LT_FAIL(LT_ENOMEM, "latents: no memory for %lld positions", (long long)most);
    for (int64_t done = 0; done < range.count && st == LT_OK; done += most) {
        const int64_t left = range.count - done;
        const lt_range part = {range.first + done, left < most ? left : most};
        st = lt_latent_take(s->source, s->shot, stream, part, block);
        if (st == LT_OK)
            st = lt_latents_put(s->writer, index, part.first, part.count, block);
    }
    free(block);
    LT_TRY(st);
    return LT_OK;
}

/* Rank 0: what a part of the shot at hand has made. */
static lt_status put_part(lt_streaming *s, int64_t part)
{
    lt_status st = LT_OK;
    if (s->rank != 0)
        return LT_OK;
    lt_stop_shield(1);
    for (int stream = 0; stream < s->plan->stream_count && st == LT_OK; stream++)
        st = put_range(s, stream, lt_parts_range(&s->of_shot, part, stream));
    lt_stop_shield(0);
    return st;
}

/* ---- to the ranks apart ---- */

/* Rank 0. */
static lt_status tell(lt_streaming *s, int is_last)
{
    if (s->rank != 0)
        return LT_OK;
    assert(s->notices < s->notices_max);
    notice *n = &s->sent[s->notices];
    *n = (notice){s->parts, is_last};
    for (int r = 0; r < s->size; r++)
        if (!s->denoises[r])
            LT_TRY(lt_request_send(s->mesh->world, r, TAG_NOTICE, n, sizeof *n,
                                   &s->request[s->notices * s->size + r]));
    s->notices++;
    return LT_OK;
}

static lt_status note(lt_streaming *s, lt_status st)
{
    s->has_failed |= st != LT_OK;
    return st;
}

/* Behind a step, on the ranks that denoise. */
static lt_status step_done(void *ctx)
{
    lt_streaming *s = ctx;
    return note(s, lt_decoding_poll(s->decoding, s->parts));
}

/* The ranks apart. */
static lt_status work(void *ctx)
{
    lt_streaming *s = ctx;
    notice n = {0, 0};
    while (!n.is_last) {
        lt_request *request = NULL;
        LT_TRY(lt_request_recv(s->mesh->world, 0, TAG_NOTICE, &n, sizeof n, &request));
        const lt_status st = lt_request_wait(&request);
        lt_request_drop(&request);
        LT_TRY(st);
        LT_TRY(lt_decoding_until(s->decoding, n.parts));
    }
    return LT_OK;
}

/* The ranks that denoise: nothing more comes. */
static lt_status last(void *ctx)
{
    lt_streaming *s = ctx;
    const lt_status told = tell(s, 1);
    LT_TRY(told);
    if (s->has_failed)
        return LT_OK;
    return note(s, lt_decoding_until(s->decoding, s->parts));
}

/* ---- parts ---- */

/* A part is final, and not the shot's last: on the ranks that denoise, or all, in step. */
static lt_status part_done(void *ctx, int64_t part)
{
    lt_streaming *s = ctx;
    lt_status st = put_part(s, part);
    if (s->decoding == NULL)
        return st;
    s->parts = s->before + part + 1;
    if (s->is_apart) {
        if (st == LT_OK)
            st = tell(s, 0);
        return st == LT_OK ? step_done(s) : st;
    }
    LT_TRY(lt_agree(s->mesh->world, st));
    return note(s, lt_decoding_until(s->decoding, s->parts));
}

lt_denoise_beside lt_streaming_beside(lt_streaming *s, int shot)
{
    assert(shot == s->shot);
    return (lt_denoise_beside){.ctx = s,
                               .is_apart = s->is_apart,
                               .team = s->team,
                               .part = part_done,
                               .step = s->is_apart ? step_done : NULL,
                               .work = work,
                               .last = last};
}

/* Parts of the shot that is next. */
static lt_status shot_begin(lt_streaming *s, int shot)
{
    lt_parts_free(&s->of_shot);
    s->shot = shot;
    return lt_parts_new(&s->latents->shot[shot].plan, &s->of_shot);
}

lt_status lt_streaming_shot(lt_streaming *s, int shot)
{
    assert(shot == s->shot);
    const int is_last = shot + 1 == s->latents->count;
    lt_status st = put_part(s, s->of_shot.count - 1);
    s->before += s->of_shot.count;
    s->parts = s->before;
    if (st == LT_OK && !is_last)
        st = shot_begin(s, shot + 1);
    LT_TRY(lt_agree(s->mesh->world, st));
    if (s->decoding == NULL || is_last)
        return LT_OK;
    return note(s, lt_decoding_until(s->decoding, s->parts));
}

lt_status lt_streaming_store(lt_streaming *s)
{
    lt_status st = LT_OK;
    if (s->rank == 0) {
        lt_stop_shield(1);
        st = lt_store_tell_hash(s->writer);
        if (st == LT_OK)
            st = lt_latents_finish(&s->writer);
        lt_stop_shield(0);
    }
    LT_TRY(lt_agree(s->mesh->world, st));
    lt_stop_keeps(s->plan->run);
    return LT_OK;
}

/* ---- opening and closing ---- */

/* Notices: one a part, and one at each shot's end. */
static lt_status open_here(lt_streaming *s)
{
    int64_t most = 0;
    for (int i = 0; i < s->latents->count; i++) {
        LT_TRY(shot_begin(s, i));
        most += s->of_shot.count + 1;
    }
    s->notices_max = most;
    s->denoises = malloc((size_t)s->size);
    s->sent = calloc((size_t)most, sizeof *s->sent);
    s->request = calloc((size_t)(most * s->size), sizeof(lt_request *));
    if (s->denoises == NULL || s->sent == NULL || s->request == NULL)
        LT_FAIL(LT_ENOMEM, "latents: no memory for messages to %d ranks", s->size);
    lt_streaming_denoises(s->mesh, s->denoises);
    LT_TRY(shot_begin(s, 0));
    if (s->rank == 0)
        LT_TRY(lt_store_create(s->plan, s->latents->shot, s->latents->count, &s->writer));
    return LT_OK;
}

/* The ranks that denoise `extend`, where others decode meanwhile. */
static lt_status open_team(lt_streaming *s)
{
    int *ranks = malloc((size_t)s->size * sizeof *ranks), count = 0;
    lt_status st = LT_OK;
    if (ranks == NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "latents: no memory for %d ranks", s->size);
    st = lt_agree(s->mesh->world, st);
    for (int r = 0; st == LT_OK && r < s->size; r++)
        if (s->denoises[r])
            ranks[count++] = r;
    if (st == LT_OK)
        st = lt_group_split(s->mesh->world, ranks, count, &s->team);
    free(ranks);
    return st;
}

lt_status lt_streaming_open(const lt_plan *plan, const lt_mesh *mesh,
                            const lt_film_latents *latents, lt_latent_source *source,
                            lt_decoding *decoding, lt_streaming **out)
{
    lt_streaming *s = calloc(1, sizeof *s);
    lt_status st = LT_OK;
    *out = s;
    if (s == NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "latents: no memory");
    LT_TRY(lt_agree(mesh->world, st));
    assert(s != NULL);
    *s = (lt_streaming){.plan = plan,
                        .mesh = mesh,
                        .latents = latents,
                        .source = source,
                        .decoding = decoding,
                        .rank = lt_group_rank(mesh->world),
                        .size = lt_group_size(mesh->world),
                        .is_apart = decoding != NULL && lt_decoding_is_apart(decoding)};
    LT_TRY(lt_agree(mesh->world, open_here(s)));
    return s->is_apart ? open_team(s) : LT_OK;
}

void lt_streaming_close(lt_streaming **streaming)
{
    lt_streaming *s = *streaming;
    if (s == NULL)
        return;
    for (int64_t i = 0; i < s->notices * s->size; i++)
        lt_request_drop(&s->request[i]);
    lt_latents_abort(&s->writer);
    lt_group_free(&s->team);
    lt_parts_free(&s->of_shot);
    free(s->denoises);
    free(s->sent);
    free(s->request);
    free(s);
    *streaming = NULL;
}

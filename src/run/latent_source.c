/* latent_source.c - a film's latents, whoever holds them.
 * Asking and answering are parallel/serve.h's; the ask is {shot, stream, first, count}, the answer
 * the values, dense. A range is asked for in blocks of a MiB, and a block has one rank that
 * answers. */
#include "run/latent_source.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "parallel/serve.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/op_record.h"

enum { BLOCK_BYTES = 1 << 20 };

typedef struct ask {
    int32_t shot, stream;
    int64_t first, count;
} ask;

struct lt_latent_source {
    lt_latent_parts parts;
    lt_group *group; /* all ranks; NULL: there is but one */
    int rank;
    float *block;          /* what is asked for, as it comes */
    pthread_mutex_t store; /* one thread at a time reads latents.h5 */
    ask asked;
    lt_answer answered;
    lt_server *server; /* NULL: no rank asks this one */
    float *packed;     /* its thread's: what it sends */
};

static int64_t values_of(const lt_stream *s, int64_t count)
{
    return lt_stream_outer(s) * count * lt_stream_inner(s);
}

/* Positions of a block: of a MiB, but one at least. */
static int64_t block_of(const lt_stream *s)
{
    const int64_t n = BLOCK_BYTES / (values_of(s, 1) * (int64_t)sizeof(float));
    return n > 0 ? n : 1;
}

static size_t block_bytes(const lt_latent_parts *p)
{
    int64_t most = 0;
    for (int i = 0; i < p->shots; i++)
        for (int s = 0; s < p->shot[i].plan.stream_count; s++) {
            const lt_stream *stream = &p->shot[i].plan.stream[s];
            const int64_t n = values_of(stream, block_of(stream));
            most = n > most ? n : most;
        }
    return (size_t)most * sizeof(float);
}

/* ---- here ---- */

static lt_status read_store(lt_latent_source *source, int shot, int stream, lt_range range,
                            float *out)
{
    char name[LT_DATASET_BYTES];
    size_t index = 0;
    const lt_film_shot *of = &source->parts.shot[shot];
    const size_t room = (size_t)values_of(&of->plan.stream[stream], range.count);
    (void)pthread_mutex_lock(&source->store);
    lt_status st = lt_latents_find(source->parts.store, lt_film_dataset(of, stream, name), &index);
    if (st == LT_OK)
        st = lt_latents_read_range(source->parts.store, index, range.first, range.count, out, room);
    (void)pthread_mutex_unlock(&source->store);
    return st;
}

/* A range that this rank holds, dense. */
static lt_status take_here(lt_latent_source *source, int shot, int stream, lt_range range,
                           float *out)
{
    const lt_latent_parts *p = &source->parts;
    if (p->store != NULL)
        return read_store(source, shot, stream, range, out);
    const lt_clip *clip = &p->clip[shot];
    lt_stream_copy(&p->shot[shot].plan.stream[stream], range, clip->data[stream],
                   clip->range[stream], out, range);
    return LT_OK;
}

static int holds(const lt_latent_source *source, int shot, int stream, lt_range range)
{
    const lt_latent_parts *p = &source->parts;
    if (p->clip == NULL)
        return source->rank == 0;
    const lt_range mine = p->clip[shot].range[stream];
    return mine.count > 0 && range.first >= mine.first &&
           range.first + range.count <= mine.first + mine.count;
}

/* Who answers for the first of these positions, and for how many of them. */
static int answers_for(const lt_latent_source *source, int shot, int stream, lt_range *range)
{
    if (source->parts.clip == NULL)
        return 0;
    const lt_holding *h = &source->parts.holding[shot];
    int g = 0;
    while (lt_overlap(h->own[g][stream], (lt_range){range->first, 1}).count == 0) {
        g++;
        assert(g < h->groups);
    }
    *range = lt_overlap(h->own[g][stream], *range);
    return h->answers[g];
}

/* ---- who asks ---- */

static lt_status take_there(lt_latent_source *source, int peer, int shot, int stream,
                            lt_range range)
{
    const lt_stream *s = &source->parts.shot[shot].plan.stream[stream];
    const size_t bytes = (size_t)values_of(s, range.count) * sizeof *source->block;
    source->asked = (ask){shot, stream, range.first, range.count};
    lt_operation_begin("latents", NULL, NULL);
    const lt_status st = lt_ask(source->group, peer, &source->asked, sizeof source->asked,
                                &source->answered, source->block, bytes);
    lt_operation_end(NULL);
    LT_TRY(st);
    return LT_OK;
}

lt_status lt_latent_take(lt_latent_source *source, int shot, int stream, lt_range range, float *out)
{
    const lt_stream *s = &source->parts.shot[shot].plan.stream[stream];
    assert(range.first >= 0 && range.first + range.count <= lt_stream_units(s));
    if (holds(source, shot, stream, range))
        return take_here(source, shot, stream, range, out);
    const int64_t most = block_of(s), end = range.first + range.count;
    for (int64_t at = range.first; at < end;) {
        lt_range part = {at, end - at < most ? end - at : most};
        const int peer = answers_for(source, shot, stream, &part);
        if (peer == source->rank)
            LT_TRY(take_here(source, shot, stream, part, source->block));
        else
            LT_TRY(take_there(source, peer, shot, stream, part));
        lt_stream_copy(s, part, source->block, part, out, range);
        at += part.count;
    }
    return LT_OK;
}

/* ---- who answers ---- */

/* The server's, on its thread. */
static lt_status find(void *ctx, int peer, const void *asked, const void **bytes, size_t *count)
{
    lt_latent_source *source = ctx;
    const lt_latent_parts *p = &source->parts;
    const ask *q = asked;
    const lt_stream *s = NULL;
    if (q->shot >= 0 && q->shot < p->shots && q->stream >= 0 &&
        q->stream < p->shot[q->shot].plan.stream_count)
        s = &p->shot[q->shot].plan.stream[q->stream];
    const lt_range range = {q->first, q->count};
    if (s == NULL || q->first < 0 || q->count < 1 || q->count > block_of(s) ||
        q->first > lt_stream_units(s) - q->count || !holds(source, q->shot, q->stream, range))
        LT_FAIL(LT_EINTERNAL,
                "rank %d asks for positions %lld to %lld of stream %d of shot %d, which are not "
                "held here",
                peer, (long long)q->first, (long long)(q->first + q->count), (int)q->stream,
                (int)q->shot);
    LT_TRY(take_here(source, q->shot, q->stream, range, source->packed));
    *bytes = source->packed;
    *count = (size_t)values_of(s, q->count) * sizeof *source->packed;
    return LT_OK;
}

/* Is this a rank that others may ask? */
static int is_asked(const lt_latent_source *source)
{
    const lt_latent_parts *p = &source->parts;
    if (p->clip == NULL)
        return source->rank == 0;
    for (int i = 0; i < p->shots; i++)
        for (int g = 0; g < p->holding[i].groups; g++)
            if (p->holding[i].answers[g] == source->rank && p->holding[i].own[g][0].count > 0)
                return 1;
    return 0;
}

/* ---- opening and closing ---- */

static lt_status open_here(lt_latent_source *source)
{
    const size_t bytes = block_bytes(&source->parts);
    const int asked = is_asked(source);
    source->block = malloc(bytes);
    source->packed = asked ? malloc(bytes) : NULL;
    if (source->block == NULL || (asked && source->packed == NULL))
        LT_FAIL(LT_ENOMEM, "latents: no memory for messages of %zu bytes", bytes);
    const lt_service service = {.group = source->group,
                                .ask_bytes = sizeof(ask),
                                .find = find,
                                .ctx = source,
                                .what = "latents",
                                .who = "which other ranks ask for them"};
    return asked ? lt_server_start(&service, &source->server) : LT_OK;
}

static lt_status group_of_all(lt_group *world, lt_group **out)
{
    const int size = lt_group_size(world);
    int *ranks = malloc((size_t)size * sizeof *ranks);
    lt_status st = LT_OK;
    if (ranks == NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "latents: no memory for %d ranks", size);
    st = lt_agree(world, st);
    for (int i = 0; st == LT_OK && i < size; i++)
        ranks[i] = i;
    if (st == LT_OK)
        st = lt_group_split(world, ranks, size, out);
    free(ranks);
    return st;
}

lt_status lt_latent_source_open(lt_group *world, const lt_latent_parts *parts,
                                lt_latent_source **out)
{
    lt_latent_source *source = calloc(1, sizeof *source);
    lt_status st = LT_OK;
    *out = NULL;
    if (source == NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "latents: no memory");
    LT_TRY_GOTO(lt_agree(world, st), st, failed);
    source->parts = *parts;
    source->rank = lt_group_rank(world);
    (void)pthread_mutex_init(&source->store, NULL);
    *out = source;
    if (lt_group_size(world) == 1)
        return LT_OK;
    LT_TRY_GOTO(group_of_all(world, &source->group), st, failed);
    LT_TRY_GOTO(lt_agree(world, open_here(source)), st, failed);
    return LT_OK;
failed:
    if (*out != NULL)
        lt_latent_source_close(out);
    else
        free(source);
    return st;
}

void lt_latent_source_close(lt_latent_source **source)
{
    lt_latent_source *s = *source;
    if (s == NULL)
        return;
    if (!lt_server_stop(&s->server))
        free(s->packed);
    lt_group_free(&s->group);
    (void)pthread_mutex_destroy(&s->store);
    free(s->block);
    free(s);
    *source = NULL;
}

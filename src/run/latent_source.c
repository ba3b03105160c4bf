/* latent_source.c - a film's latents, whoever holds them: the asking, and the thread that answers.
 *
 *     asks                                        answers
 *     {shot, stream, first, count}  ---------->   thread: checks, packs (or reads latents.h5)
 *     {status, words}               <----------
 *     the values, dense             <----------   unless status is a failure
 *
 * The thread waits for nothing but the messages of one answer, so two ranks may ask each other at
 * once. It polls: often while it is asked, every 5 ms when it was not asked for half a second. A
 * range is asked for in blocks of a MiB, and a block has one rank that answers. What cannot be
 * sent leaves a rank waiting that cannot be told: the thread then says so and ends the job. */
#include "run/latent_source.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/leave.h"
#include "base/log.h"
#include "parallel/liveness/detector.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/op_record.h"
#include "parallel/world.h"

enum { TAG_ASK = 1, TAG_ANSWER = 2, TAG_VALUES = 3, BLOCK_BYTES = 1 << 20, LEAVE_SECONDS = 2 };

typedef struct ask {
    int32_t shot, stream;
    int64_t first, count;
} ask;

typedef struct answer {
    int32_t status;
    char text[508];
} answer;

struct lt_latent_source {
    lt_latent_parts parts;
    lt_group *group; /* all ranks; NULL: there is but one */
    int rank;
    float *block;          /* what is asked for, as it comes */
    pthread_mutex_t store; /* one thread at a time reads latents.h5 */
    ask asked;
    answer answered;
    /* the thread's */
    pthread_t thread;
    int runs;
    atomic_int stop;
    float *packed;
    ask ask;
    answer answer;
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

enum { ASKED, ANSWERED, VALUES, REQUESTS };

static lt_status converse(lt_latent_source *source, int peer, size_t bytes,
                          lt_request *request[REQUESTS])
{
    lt_group *group = source->group;
    LT_TRY(lt_request_recv(group, peer, TAG_ANSWER, &source->answered, sizeof source->answered,
                           &request[ANSWERED]));
    LT_TRY(lt_request_recv(group, peer, TAG_VALUES, source->block, bytes, &request[VALUES]));
    LT_TRY(lt_request_send(group, peer, TAG_ASK, &source->asked, sizeof source->asked,
                           &request[ASKED]));
    LT_TRY(lt_request_wait(&request[ASKED]));
    LT_TRY(lt_request_wait(&request[ANSWERED]));
    if (source->answered.status == LT_OK)
        return lt_request_wait(&request[VALUES]);
    const int32_t status = source->answered.status;
    source->answered.text[sizeof source->answered.text - 1] = '\0';
    LT_FAIL(status > LT_OK && status < LT_STATUS_COUNT ? (lt_status)status : LT_EINTERNAL, "%s",
            source->answered.text);
}

static lt_status take_there(lt_latent_source *source, int peer, int shot, int stream,
                            lt_range range)
{
    const lt_stream *s = &source->parts.shot[shot].plan.stream[stream];
    lt_request *request[REQUESTS] = {NULL, NULL, NULL};
    source->asked = (ask){shot, stream, range.first, range.count};
    lt_operation_begin("latents", NULL, NULL);
    const lt_status st =
        converse(source, peer, (size_t)values_of(s, range.count) * sizeof *source->block, request);
    lt_operation_end(NULL);
    for (int i = 0; i < REQUESTS; i++) /* what was not received must not be written any more */
        lt_request_drop(&request[i]);
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

/* 1 in *done when done; 0 when no rank takes it and the thread shall end. */
static lt_status finish(lt_latent_source *source, lt_request **request, int *done)
{
    double told = 0;
    for (int poll = 0;; poll++) {
        LT_TRY(lt_request_test(request, done));
        if (*done)
            return LT_OK;
        if (told > 0 && lt_seconds() - told > LEAVE_SECONDS) {
            lt_request_drop(request);
            return LT_OK;
        }
        if (told <= 0 && atomic_load(&source->stop))
            told = lt_seconds();
        if (poll < 256)
            (void)sched_yield();
        else
            (void)nanosleep(&(struct timespec){0, 50000}, NULL);
    }
}

static lt_status send_one(lt_latent_source *source, int peer, int tag, const void *data,
                          size_t bytes, int *sent)
{
    lt_request *request = NULL;
    LT_TRY(lt_request_send(source->group, peer, tag, data, bytes, &request));
    LT_TRY(finish(source, &request, sent));
    return LT_OK;
}

static lt_status pack_for(lt_latent_source *source, int peer, const ask *q)
{
    const lt_latent_parts *p = &source->parts;
    const lt_stream *s = NULL;
    if (q->shot >= 0 && q->shot < p->shots && q->stream >= 0 &&
        q->stream < p->shot[q->shot].plan.stream_count)
        s = &p->shot[q->shot].plan.stream[q->stream];
    const lt_range range = {q->first, q->count};
    if (s == NULL || q->first < 0 || q->count < 1 || q->count > block_of(s) ||
        q->first > lt_stream_units(s) - q->count || !holds(source, q->shot, q->stream, range))
        LT_FAIL(LT_EINTERNAL,
                "rank %d asked rank %d for positions %lld to %lld of stream %d of shot %d, which "
                "it does not hold",
                peer, source->rank, (long long)q->first, (long long)(q->first + q->count),
                (int)q->stream, (int)q->shot);
    return take_here(source, q->shot, q->stream, range, source->packed);
}

static void fill_answer(lt_latent_source *source, lt_status st)
{
    memset(&source->answer, 0, sizeof source->answer);
    source->answer.status = (int32_t)st;
    if (st != LT_OK)
        (void)snprintf(source->answer.text, sizeof source->answer.text, "%s", lt_error_text());
}

/* Answer one rank if one asks: 1 in *served. */
static lt_status serve_one(lt_latent_source *source, int *served)
{
    int peer = -1, done = 0;
    lt_request *request = NULL;
    *served = 0;
    LT_TRY(lt_request_probe(source->group, TAG_ASK, &peer));
    if (peer < 0)
        return LT_OK;
    LT_TRY(
        lt_request_recv(source->group, peer, TAG_ASK, &source->ask, sizeof source->ask, &request));
    LT_TRY(finish(source, &request, &done));
    if (!done)
        return LT_OK;
    *served = 1;
    const lt_status st = pack_for(source, peer, &source->ask);
    fill_answer(source, st);
    LT_TRY(send_one(source, peer, TAG_ANSWER, &source->answer, sizeof source->answer, &done));
    if (done && st == LT_OK) {
        const lt_stream *s = &source->parts.shot[source->ask.shot].plan.stream[source->ask.stream];
        LT_TRY(send_one(source, peer, TAG_VALUES, source->packed,
                        (size_t)values_of(s, source->ask.count) * sizeof *source->packed, &done));
    }
    return LT_OK;
}

/* A rank waits for what this thread cannot send. */
static void end_job(lt_status st)
{
    const char *me = lt_detector_me(); /* does not return where a dead rank was the reason */
    char text[1024];
    (void)snprintf(text, sizeof text, "latents: %s, which other ranks ask for them: %s", me,
                   lt_error_text());
    (void)lt_fail(st, __FILE__, __LINE__, "%s", text);
    lt_leave_say_error(0);
    lt_world_abort(lt_exit_code(st));
}

static void *serve(void *ctx)
{
    lt_latent_source *source = ctx;
    double last = lt_seconds();
    while (!atomic_load(&source->stop)) {
        int served = 0;
        const lt_status st = serve_one(source, &served);
        if (st != LT_OK && atomic_load(&source->stop))
            break; /* no rank asks any more */
        if (st != LT_OK) {
            end_job(st);
            break;
        }
        const double now = lt_seconds();
        if (served)
            last = now;
        else
            (void)nanosleep(&(struct timespec){0, now - last < 0.5 ? 100000 : 5000000}, NULL);
    }
    return NULL;
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

static lt_status start(lt_latent_source *source)
{
    sigset_t all, before;
    (void)sigfillset(&all); /* signals are for the other threads */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(&source->thread, NULL, serve, source);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0)
        LT_FAIL(LT_EUNAVAIL, "latents: no thread to give them to other ranks");
    source->runs = 1;
    return LT_OK;
}

static lt_status open_here(lt_latent_source *source)
{
    const size_t bytes = block_bytes(&source->parts);
    const int asked = is_asked(source);
    source->block = malloc(bytes);
    source->packed = asked ? malloc(bytes) : NULL;
    if (source->block == NULL || (asked && source->packed == NULL))
        LT_FAIL(LT_ENOMEM, "latents: no memory for messages of %zu bytes", bytes);
    return asked ? start(source) : LT_OK;
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
    if (s->runs) {
        atomic_store(&s->stop, 1);
        (void)pthread_join(s->thread, NULL);
    }
    lt_group_free(&s->group);
    (void)pthread_mutex_destroy(&s->store);
    free(s->block);
    free(s->packed);
    free(s);
    *source = NULL;
}

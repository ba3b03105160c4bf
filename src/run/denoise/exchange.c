/* exchange.c - groups of ranks exchange what their windows say of each other's latents. */
#include "run/denoise/exchange.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "parallel/shard.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/op_record.h"

enum { TAG = 512 }; /* and the stream's number; one pair of ranks: messages keep their order */

struct lt_window_message {
    int64_t tile;
    int stream, peer;
    lt_range part; /* of the time axis */
    float *data;   /* [outer, part, rows, columns] */
    size_t bytes;
    lt_request *request;
};

static int is_denoised(const lt_window_set *set, int stream)
{
    return !(set->is_tiled && set->plan->stream[stream].ndim != 4);
}

static lt_status message_new(const lt_window_set *set, int64_t tile, int stream, int peer,
                             lt_range part, lt_window_message **list, int64_t *count,
                             int64_t *capacity)
{
    if (*count == *capacity) {
        const int64_t more = *capacity > 0 ? 2 * *capacity : 8;
        void *grown = realloc(*list, (size_t)more * sizeof **list);
        if (grown == NULL)
            LT_FAIL(LT_ENOMEM, "windows: no memory for %lld messages", (long long)more);
        *list = grown;
        *capacity = more;
    }
    lt_box box = lt_window_set_box(set, stream, tile);
    box.time = part;
    lt_window_message *m = &(*list)[*count];
    *m = (lt_window_message){.tile = tile, .stream = stream, .peer = peer, .part = part};
    m->bytes = (size_t)lt_box_elements(&set->plan->stream[stream], &box) * sizeof *m->data;
    m->data = malloc(m->bytes);
    if (m->data == NULL)
        LT_FAIL(LT_ENOMEM, "windows: no memory for %zu bytes of an overlap", m->bytes);
    ++*count;
    return LT_OK;
}

/* The messages that carry tiles of `run` from or to a rank: of each tile and stream what lies in
 * the receiver's range. */
static lt_status messages_new(const lt_window_set *set, lt_range run, int peer, const lt_held to,
                              lt_window_message **list, int64_t *count, int64_t *capacity)
{
    for (int64_t t = run.first; t < run.first + run.count; t++)
        for (int s = 0; s < set->streams; s++) {
            const lt_range part = lt_overlap(lt_window_set_box(set, s, t).time, to[s]);
            if (part.count > 0 && is_denoised(set, s))
                LT_TRY(message_new(set, t, s, peer, part, list, count, capacity));
        }
    return LT_OK;
}

lt_status lt_window_exchange_begin(lt_group *group, const lt_window_set *set, const lt_held *held,
                                   lt_window_exchange *out)
{
    *out = (lt_window_exchange){.group = group, .set = set, .held = held};
    const int groups = lt_group_size(group), mine = lt_group_rank(group);
    const int64_t tiles = lt_window_set_count(set);
    const lt_range my_run = lt_windowing_run(tiles, groups, mine);
    lt_status st = LT_OK;
    for (int peer = 0; peer < groups && st == LT_OK; peer++) {
        const lt_range run = lt_windowing_run(tiles, groups, peer);
        if (peer == mine)
            continue;
        st = messages_new(set, run, peer, held[mine], &out->in, &out->in_count, &out->in_capacity);
        if (st == LT_OK)
            st = messages_new(set, my_run, peer, held[peer], &out->out, &out->out_count,
                              &out->out_capacity);
    }
    LT_TRY(lt_agree(group, st)); /* with memory for all of it: from here on everything is sent */
    for (int64_t i = 0; i < out->in_count; i++) {
        lt_window_message *m = &out->in[i];
        LT_TRY(lt_request_recv(group, m->peer, TAG + m->stream, m->data, m->bytes, &m->request));
    }
    return LT_OK;
}

static int is_awaited(const lt_window_exchange *o, int64_t tile)
{
    for (int64_t i = 0; i < o->out_count; i++)
        if (o->out[i].tile == tile)
            return 1;
    return 0;
}

void lt_window_exchange_order(const lt_window_exchange *o, lt_range run, int64_t *order)
{
    int64_t n = 0;
    for (int awaited = 1; awaited >= 0; awaited--)
        for (int64_t t = run.first; t < run.first + run.count; t++)
            if (is_awaited(o, t) == awaited)
                order[n++] = t;
    assert(n == run.count);
}

lt_status lt_window_exchange_send(lt_window_exchange *o, int64_t tile, float *const *v)
{
    for (int64_t i = 0; i < o->out_count; i++) {
        lt_window_message *m = &o->out[i];
        if (m->tile != tile)
            continue;
        const lt_stream *stream = &o->set->plan->stream[m->stream];
        const lt_box box = lt_window_set_box(o->set, m->stream, tile);
        const lt_range whole = box.time, part = m->part;
        const int64_t outer = lt_stream_outer(stream);
        const int64_t inner = lt_box_elements(stream, &box) / outer / whole.count;
        const size_t row = (size_t)(part.count * inner) * sizeof(float);
        for (int64_t c = 0; c < outer; c++)
            memcpy(m->data + c * part.count * inner,
                   v[m->stream] + (c * whole.count + part.first - whole.first) * inner, row);
        LT_TRY(lt_request_send(o->group, m->peer, TAG + m->stream, m->data, m->bytes, &m->request));
    }
    return LT_OK;
}

lt_status lt_window_exchange_wait(lt_window_exchange *o)
{
    lt_status st = LT_OK;
    lt_operation_begin("exchange of overlaps", "win", NULL);
    for (int64_t i = 0; i < o->in_count && st == LT_OK; i++)
        st = lt_request_wait(&o->in[i].request);
    for (int64_t i = 0; i < o->out_count && st == LT_OK; i++)
        st = lt_request_wait(&o->out[i].request);
    lt_operation_end(NULL);
    LT_TRY(st);
    return LT_OK;
}

const float *lt_window_exchange_part(const lt_window_exchange *o, int64_t tile, int stream,
                                     lt_range *part)
{
    for (int64_t i = 0; i < o->in_count; i++)
        if (o->in[i].tile == tile && o->in[i].stream == stream) {
            *part = o->in[i].part;
            return o->in[i].data;
        }
    return NULL;
}

static void end_list(lt_window_message *list, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        const int is_late = list[i].request != NULL;
        lt_request_drop(&list[i].request);
        if (!is_late) /* what a dropped one was given may still be read or written */
            free(list[i].data);
    }
    free(list);
}

void lt_window_exchange_end(lt_window_exchange *o)
{
    end_list(o->in, o->in_count);
    end_list(o->out, o->out_count);
    *o = (lt_window_exchange){0};
}

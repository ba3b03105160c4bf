/* exchange_staged.c - device memory that the CPU cannot read: by staging buffers.
 *
 *     comm queue   download each tensor to `out` | work item: the messages | upload each from `in`
 *
 * One exchange after the other uses the same two buffers: on the queue the download of the next one
 * is behind the messages of this one. A tensor that goes to several peers is brought down once. */
#include "parallel/collective/exchange.h"

static int fits(const lt_group *group, const lt_backend *backend)
{
    (void)group;
    return !backend->is_dry;
}

static lt_status open_link(lt_group *group, const lt_backend *backend, lt_comm_memory *memory,
                           lt_link **out)
{
    (void)backend;
    return lt_link_plain(&lt_exchange_staged, group, memory, out);
}

/* The first of list that sends what list[i] sends. */
static int first_with(const lt_tensor_transfer *list, int i)
{
    for (int k = 0; k < i; k++)
        if (list[k].send.data == list[i].send.data &&
            lt_link_bytes(&list[k].send) == lt_link_bytes(&list[i].send))
            return k;
    return i;
}

static lt_status exchange(lt_link *link, lt_queue *comm, const char *name,
                          const lt_tensor_transfer *list, int count)
{
    size_t out_bytes = 0, in_bytes = 0, out_at = 0, in_at = 0;
    char *out, *in;
    lt_transfer *moves;
    for (int i = 0; i < count; i++) {
        out_bytes += first_with(list, i) == i ? lt_link_bytes(&list[i].send) : 0;
        in_bytes += lt_link_bytes(&list[i].recv);
    }
    LT_TRY(lt_comm_staging(link->memory, out_bytes, in_bytes, &out, &in));
    LT_TRY(lt_comm_list(link->memory, count, &moves));
    for (int i = 0; i < count; i++) {
        const size_t send = lt_link_bytes(&list[i].send), recv = lt_link_bytes(&list[i].recv);
        const int same = first_with(list, i);
        moves[i] = (lt_transfer){list[i].peer, same < i ? moves[same].send : out + out_at, send,
                                 in + in_at, recv};
        in_at += recv;
        if (same < i || send == 0)
            continue;
        LT_TRY(lt_download(comm, out + out_at, &list[i].send));
        out_at += send;
    }
    LT_TRY(lt_comm_push(link, comm, name, count));
    in_at = 0;
    for (int i = 0; i < count; i++) {
        if (lt_link_bytes(&list[i].recv) > 0)
            LT_TRY(lt_upload(comm, &list[i].recv, in + in_at));
        in_at += lt_link_bytes(&list[i].recv);
    }
    return LT_OK;
}

/* The transport's errors come out of the queue's waits; to abort, the queue is cancelled. */
const lt_device_exchange lt_exchange_staged = {.name = "staged",
                                               .takes_own = 0,
                                               .fits = fits,
                                               .open = open_link,
                                               .exchange = exchange,
                                               .close = lt_link_plain_close};

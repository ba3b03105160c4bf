/* exchange_direct.c - device memory that the CPU reads and writes as its own.
 * Messages go from tensor to tensor: one work item, no copy beside the transport's. */
#include <stdlib.h>

#include "parallel/collective/exchange.h"

static int fits(const lt_group *group, const lt_backend *backend)
{
    (void)group;
    return backend->host_access;
}

static lt_status open_link(lt_group *group, const lt_backend *backend, lt_comm_memory *memory,
                           lt_link **out)
{
    (void)backend;
    lt_link *link = calloc(1, sizeof *link);
    if (link == NULL)
        LT_FAIL(LT_ENOMEM, "comm: no memory for a link");
    *link = (lt_link){&lt_exchange_direct, group, memory};
    *out = link;
    return LT_OK;
}

static size_t bytes_of(const lt_tensor *x) { return x->ndim > 0 ? lt_tensor_bytes(x) : 0; }

static lt_status exchange(lt_link *link, lt_queue *comm, const char *name,
                          const lt_tensor_transfer *list, int count)
{
    lt_transfer *moves;
    LT_TRY(lt_comm_list(link->memory, count, &moves));
    for (int i = 0; i < count; i++)
        moves[i] = (lt_transfer){list[i].peer, list[i].send.data, bytes_of(&list[i].send),
                                 list[i].recv.data, bytes_of(&list[i].recv)};
    return lt_comm_push(link, comm, name, count);
}

static lt_status poll_link(lt_link *link)
{
    (void)link;
    return LT_OK; /* the transport's errors come out of the queue's waits */
}

static void abort_link(lt_link *link) { (void)link; /* the queue is cancelled */ }

static void close_link(lt_link **link)
{
    free(*link);
    *link = NULL;
}

const lt_device_exchange lt_exchange_direct = {"direct", 1,         fits,       open_link,
                                               exchange, poll_link, abort_link, close_link};

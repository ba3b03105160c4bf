/* exchange_direct.c - device memory that the CPU reads and writes as its own.
 * Messages go from tensor to tensor: one work item, no copy beside the transport's. */
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
    return lt_link_plain(&lt_exchange_direct, group, memory, out);
}

static lt_status exchange(lt_link *link, lt_queue *comm, const char *name,
                          const lt_tensor_transfer *list, int count)
{
    lt_transfer *moves;
    LT_TRY(lt_comm_list(link->memory, count, &moves));
    for (int i = 0; i < count; i++)
        moves[i] = (lt_transfer){list[i].peer, list[i].send.data, lt_link_bytes(&list[i].send),
                                 list[i].recv.data, lt_link_bytes(&list[i].recv)};
    return lt_comm_push(link, comm, name, count);
}

/* The transport's errors come out of the queue's waits; to abort, the queue is cancelled. */
const lt_device_exchange lt_exchange_direct = {.name = "direct",
                                               .takes_own = 1,
                                               .fits = fits,
                                               .open = open_link,
                                               .exchange = exchange,
                                               .close = lt_link_plain_close};

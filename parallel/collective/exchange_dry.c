/* exchange_dry.c - what would move, counted.
 * Messages are counted as a transport would; staging as a device needs it that the CPU cannot
 * read. */
#include "parallel/collective/exchange.h"
#include "parallel/transport/traffic.h"

static int fits(const lt_group *group, const lt_backend *backend)
{
    (void)group;
    return backend->is_dry;
}

static lt_status open_link(lt_group *group, const lt_backend *backend, lt_comm_memory *memory,
                           lt_link **out)
{
    (void)backend;
    return lt_link_plain(&lt_exchange_dry, group, memory, out);
}

static lt_status exchange(lt_link *link, lt_queue *comm, const char *name,
                          const lt_tensor_transfer *list, int count)
{
    size_t out_bytes = 0, in_bytes = 0;
    char *out, *in;
    (void)comm, (void)name;
    for (int i = 0; i < count; i++) {
        const size_t send = lt_link_bytes(&list[i].send), recv = lt_link_bytes(&list[i].recv);
        lt_traffic_add(send, recv);
        out_bytes += send;
        in_bytes += recv;
    }
    return lt_comm_staging(link->memory, out_bytes, in_bytes, &out, &in);
}

const lt_device_exchange lt_exchange_dry = {.name = "dry",
                                            .takes_own = 0,
                                            .fits = fits,
                                            .open = open_link,
                                            .exchange = exchange,
                                            .close = lt_link_plain_close};

/* exchange.h - how dense tensors get from device to device: one table, several exchanges.
 *
 * A collective (collective.c) packs by lt_copy on the comm queue, calls one exchange of dense
 * tensors, and unpacks by lt_copy. The exchange differs by device and by what joins the ranks, and
 * is one of these tables:
 *
 *     direct   the CPU reads device memory: one work item, over any transport
 *     staged   down to staging buffers, one work item, up again; over any transport
 *     dry      counts the messages, moves nothing
 *     nccl     from device to device, by NVIDIA's library (exchange_nccl.c); it comes with the GPU
 *              part and is registered where that is used
 *
 * The first three use the same messages, so ranks with direct and with staged understand each
 * other. The ranks agree on which one a group uses when an engine is connected (context.h). Nothing
 * is allocated, freed or connected by an exchange whose memory was reserved. Tested:
 * tests/ranks/test_comm_device.c, test_exchange.c; nccl: tests/emu/nccl. */
#ifndef LT_EXCHANGE_H
#define LT_EXCHANGE_H

#include "parallel/context.h"

typedef struct lt_device_exchange lt_device_exchange;
typedef struct lt_link lt_link;

struct lt_device_exchange {
    const char *name;
    int takes_own; /* 1: a list may hold a copy on this rank, to be made beside the messages */
    /* 1: this rank can use it for this group and backend. Local. */
    int (*fits)(const lt_group *group, const lt_backend *backend);
    /* Connect; group NULL: a link whose group is given before each exchange (not every table can).
     * Collective on group, Blocking. Errors: LT_EUNAVAIL on all ranks of group, with one text: this
     * group cannot, and the backend's own is taken. */
    lt_status (*open)(lt_group *group, const lt_backend *backend, lt_comm_memory *memory,
                      lt_link **out);
    /* Device memory that a link of this group takes beside what `memory` has. Local. NULL: none. */
    size_t (*device_bytes)(const lt_group *group);
    /* Queue what lt_exchange_tensors says; every tensor is dense, name is a literal. */
    lt_status (*exchange)(lt_link *link, lt_queue *comm, const char *name,
                          const lt_tensor_transfer *list, int count);
    /* What went wrong meanwhile. Local, never blocks. NULL: errors come out of comm's waits. */
    lt_status (*poll)(lt_link *link);
    /* This rank has failed: let nothing wait. Local. NULL: cancelling comm does. */
    void (*abort)(lt_link *link);
    void (*close)(lt_link **link); /* the queue has run to its end */
};

/* Head of each table's link. */
struct lt_link {
    const lt_device_exchange *how;
    lt_group *group;
    lt_comm_memory *memory;
};

extern const lt_device_exchange lt_exchange_direct, lt_exchange_staged, lt_exchange_dry;

/* Prefer this exchange to the three above where it fits; at most four, before any engine is open. A
 * second time: nothing. Local. */
void lt_exchange_register(const lt_device_exchange *how);

/* ---- memory (memory.c). Local ---- */

lt_status lt_comm_memory_new(const lt_backend *backend, lt_queue *comm, lt_comm_memory **out);
void lt_comm_memory_free(lt_comm_memory **memory); /* after comm has run to its end */
/* Take at once what a dry run found. Blocking. Errors: LT_ENOMEM. */
lt_status lt_comm_memory_reserve(lt_comm_memory *memory, const lt_comm_need *need);
/* What was needed so far, on dry what would be. */
lt_comm_need lt_comm_memory_need(const lt_comm_memory *memory);
lt_queue *lt_comm_memory_queue(const lt_comm_memory *memory); /* the engine's comm queue */

/* Dense device scratch for ops on comm. A release gives back at once what was taken after the mark:
 * the next ops that use it are behind on comm. Beyond what was reserved it grows. */
size_t lt_comm_mark(const lt_comm_memory *memory);
void lt_comm_release(lt_comm_memory *memory, size_t mark);
lt_status lt_comm_scratch(lt_comm_memory *memory, lt_dtype dtype, lt_dims dims, lt_tensor *out);

/* Staging buffers of at least these sizes, for one exchange after the other. */
lt_status lt_comm_staging(lt_comm_memory *memory, size_t out_bytes, size_t in_bytes, char **out,
                          char **in);
/* The list of a collective that is being queued, to fill: so many transfers. */
lt_status lt_comm_transfers(lt_comm_memory *memory, int count, lt_tensor_transfer **out);
/* A work item's list of so many transfers, to fill and hand to lt_comm_push at once. */
lt_status lt_comm_list(lt_comm_memory *memory, int count, lt_transfer **out);
/* Queue the exchange of that list on the host. */
lt_status lt_comm_push(lt_link *link, lt_queue *comm, const char *name, int count);

/* A link that holds no more than its head, for a table's open and close. Errors: LT_ENOMEM. */
lt_status lt_link_plain(const lt_device_exchange *how, lt_group *group, lt_comm_memory *memory,
                        lt_link **out);
void lt_link_plain_close(lt_link **link);
/* Bytes of one side of a transfer; 0 of none. */
size_t lt_link_bytes(const lt_tensor *x);

/* ---- links (links.c) ---- */

lt_status lt_links_new(const lt_backend *backend, lt_comm_memory *memory, lt_links **out);
void lt_links_free(lt_links **links);
/* Agree on an exchange for this group and open it; a second time: nothing. One that says it cannot
 * serve this group is left out, and why is put into without [bytes] ("" else). Collective on group.
 * Errors: LT_EUNAVAIL on all ranks of group where they name different ones (the group is still of
 * use); the transport's. */
lt_status lt_links_connect(lt_links *links, lt_group *group, char *without, size_t bytes);
/* Device memory that connecting this group takes there, where all name what this rank would. Local.
 */
size_t lt_links_device_bytes(const lt_backend *backend, const lt_group *group);
/* The group's link, else the backend's usual one. Local. */
lt_link *lt_links_find(lt_links *links, lt_group *group);
/* How its tensors travel: "direct", "staged", "nccl". Local. */
const char *lt_links_name(const lt_links *links, const lt_group *group);
void lt_links_abort(lt_links *links);

#endif

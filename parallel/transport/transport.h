/* transport.h - moving bytes between ranks: one verb.
 *
 * A group is an ordered set of ranks that exchange messages; the transport behind it is solo (one
 * rank, copies), MPI (mpi.c, which alone includes mpi.h), later NCCL. Everything else (packing,
 * gathers, ordered sums) is written once, in host_collectives.c and collective/, over exchange.
 * docs/design.md 4 (threads of a rank) says which thread may call what, and what of it blocks.
 * Buffers are host memory, and no message is written beyond its own. Errors: LT_EPEER when a peer
 * is dead or past the deadline, LT_EINTERNAL when a message has another size than this end expects:
 * a request sees it at once, an exchange once it has waited for 10 s. (Messages of one exchange
 * that a peer sends in another order are told apart by their sizes alone.) After an error in an
 * exchange or a request the group is of no use: print, then lt_world_abort (world.h). */
#ifndef LT_TRANSPORT_H
#define LT_TRANSPORT_H

#include "base/status.h"
#include "kernels/host_call.h"
#include <stddef.h>
#include <stdint.h>

typedef struct lt_group lt_group;

/* How long a wait for a peer may last without progress of any rank before the peer counts as dead.
 * Long, since a step of a large model may rightly take minutes; the detector notices a rank that
 * dies within seconds. */
enum { LT_PEER_SILENCE_SECONDS = 1800 };

/* One message to and one from a peer (a rank of the group; the own rank is allowed: a copy). Either
 * side may be empty; both ends must agree on the sizes. The transport cuts sizes above 1 GiB. */
typedef struct lt_transfer {
    int peer;
    const void *send;
    size_t send_bytes;
    void *recv;
    size_t recv_bytes;
} lt_transfer;

/* The name of this group in messages: its axis, a string that lives as long. Local. */
void lt_group_name(lt_group *group, const char *axis);

/* Local. */
int lt_group_rank(const lt_group *group);
int lt_group_size(const lt_group *group);
const char *lt_group_transport(const lt_group *group); /* "solo" or "mpi" */

/* New group of these ranks of parent, in this order; *out is NULL on ranks not listed. One call may
 * make several groups: ranks may name different lists, as long as no rank is in two of them
 * (all groups of an axis in one call). Members of a group name the same list. Collective on parent,
 * Blocking. Free with lt_group_free (Collective on the group). */
lt_status lt_group_split(lt_group *parent, const int *ranks, int count, lt_group **out);
void lt_group_free(lt_group **group);

/* All transfers of this rank at once; returns when all are done. Collective in the sense that each
 * named peer must make the matching call. Several transfers with one peer meet in the order of the
 * lists. Blocking. count 0 is allowed. call is what a queue gave its host function, for the poll
 * back-off; NULL on the main thread. */
lt_status lt_exchange(lt_group *group, const lt_transfer *list, int count,
                      const lt_host_call *call);

/* Requests: non-blocking messages, for the decode pool and the file servers, with a tag
 * (0..1023), host memory. lt_request_send copies nothing: data must stay until lt_request_wait.
 * Local. */
typedef struct lt_request lt_request;
lt_status lt_request_send(lt_group *group, int peer, int tag, const void *data, size_t bytes,
                          lt_request **out);
lt_status lt_request_recv(lt_group *group, int peer, int tag, void *data, size_t bytes,
                          lt_request **out);
/* 1 in *done when complete (then the request is freed and *request NULL). Never blocks. */
lt_status lt_request_test(lt_request **request, int *done);
lt_status lt_request_wait(lt_request **request); /* Blocking, with the deadline */
/* After an error: what a send was given may still be read until the process ends, and where a
 * receive's bytes are coming already, they may still be written. A receive whose message has not
 * begun to come writes nothing any more. NULL is allowed. Local, never blocks. */
void lt_request_drop(lt_request **request);
/* A rank whose message with this tag has come and waits to be received, or -1, into *peer. Never
 * blocks. One thread beside the main one (the file server's) may call this and send, receive and
 * test requests, on a group on which the main thread has requests with other tags. Local. */
lt_status lt_request_probe(lt_group *group, int tag, int *peer);

#endif

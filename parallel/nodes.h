/* nodes.h - which ranks share a node.
 * What a node is: base/host.h. */
#ifndef LT_NODES_H
#define LT_NODES_H

#include "base/host.h"
#include "parallel/transport/transport.h"

typedef struct lt_nodes {
    int ranks, count;
    int *of_rank;                     /* [ranks]: 0.., nodes in the order of their lowest ranks */
    char (*name)[LT_HOST_NAME_BYTES]; /* [count]: host name, or LONGTAKE_NODE's text */
} lt_nodes;

/* The same on all ranks. After an error nothing is held. Collective on group, Blocking. Errors:
 * LT_EUSAGE (LONGTAKE_NODE too long), LT_ENOMEM, LT_EPEER on the other ranks. */
lt_status lt_group_nodes(lt_group *group, lt_nodes *out);
/* A zeroed one is allowed. Local. */
void lt_nodes_free(lt_nodes *nodes);

#endif

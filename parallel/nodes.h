/* nodes.h - which ranks share a node.                                             Level 2: parallel
 * A node is a host as it runs now: its name and its boot's id. The environment LONGTAKE_NODE=TEXT
 * overrides that: ranks with the same text are one node, for tests, for containers that have names
 * of their own, and for clusters where something larger or smaller than a host counts. */
#ifndef LT_NODES_H
#define LT_NODES_H

#include "parallel/transport.h"

enum { LT_NODE_NAME_BYTES = 64, LT_NODE_BOOT_BYTES = 64 };

typedef struct lt_nodes {
    int ranks, count;
    int *of_rank;                     /* [ranks]: 0.., nodes in the order of their lowest ranks */
    char (*name)[LT_NODE_NAME_BYTES]; /* [count]: host name, or LONGTAKE_NODE's text */
} lt_nodes;

/* The same on all ranks. After an error nothing is held. Collective on group, Blocking. Errors:
 * LT_EUSAGE (LONGTAKE_NODE too long), LT_ENOMEM, LT_EPEER on the other ranks. */
lt_status lt_group_nodes(lt_group *group, lt_nodes *out);
/* A zeroed one is allowed. Local. */
void lt_nodes_free(lt_nodes *nodes);

/* This host's name, "?" if it has none, and the id of its boot, "" where the system gives none.
 * Local. */
void lt_node_here(char host[LT_NODE_NAME_BYTES], char boot[LT_NODE_BOOT_BYTES]);

#endif

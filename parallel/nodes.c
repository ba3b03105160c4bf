/* nodes.c - which ranks share a node.
 * Each rank sends what base/host.h says of it; all count alike. */
#include "parallel/nodes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/host.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"
#include "parallel/transport/transport.h"

/* Nodes in rank order: one that was not seen before is the next. Looked for backwards, since
 * launchers mostly fill node after node. */
static void number(const lt_node_id *all, lt_nodes *out)
{
    for (int rank = 0; rank < out->ranks; rank++) {
        int other = rank - 1;
        while (other >= 0 && !lt_node_same(&all[rank], &all[other]))
            other--;
        out->of_rank[rank] = other >= 0 ? out->of_rank[other] : out->count;
        if (other < 0)
            memcpy(out->name[out->count++], all[rank].name, sizeof all[rank].name);
    }
}

lt_status lt_group_nodes(lt_group *group, lt_nodes *out)
{
    const int size = lt_group_size(group);
    lt_node_id mine;
    memset(out, 0, sizeof *out);
    out->ranks = size;
    out->of_rank = calloc((size_t)size, sizeof *out->of_rank);
    out->name = calloc((size_t)size, sizeof *out->name);
    lt_node_id *all = calloc((size_t)size, sizeof *all);
    lt_status st = lt_node_me(&mine);
    if (st == LT_OK && (out->of_rank == NULL || out->name == NULL || all == NULL))
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "nodes: no memory for %d ranks", size);
    LT_TRY_GOTO(lt_agree(group, st), st, done);
    assert(all != NULL && out->of_rank != NULL && out->name != NULL);
    LT_TRY_GOTO(lt_all_gather_host(group, &mine, sizeof mine, all), st, done);
    number(all, out);
done:
    free(all);
    if (st != LT_OK)
        lt_nodes_free(out);
    return st;
}

void lt_nodes_free(lt_nodes *nodes)
{
    free(nodes->of_rank);
    free(nodes->name);
    memset(nodes, 0, sizeof *nodes);
}

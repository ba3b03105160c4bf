/* nodes.c - which ranks share a node.                                             Level 2: parallel
 * Each rank sends a card: the name that messages show, and what must be equal on ranks of one node.
 * Cards are compared as they are, never by a hash, so that no two nodes can be taken for one. */
#include "parallel/nodes.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/options.h"
#include "parallel/comm.h"

/* All bytes count, also those behind the texts: they are 0. */
typedef struct {
    char name[LT_NODE_NAME_BYTES], boot[LT_NODE_BOOT_BYTES];
    char given; /* 1: by LONGTAKE_NODE, which never equals a host's name */
} card;

void lt_node_here(char host[LT_NODE_NAME_BYTES], char boot[LT_NODE_BOOT_BYTES])
{
    memset(host, 0, LT_NODE_NAME_BYTES);
    memset(boot, 0, LT_NODE_BOOT_BYTES);
    if (gethostname(host, LT_NODE_NAME_BYTES - 1) != 0)
        (void)snprintf(host, LT_NODE_NAME_BYTES, "?");
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (f == NULL)
        return;
    if (fgets(boot, LT_NODE_BOOT_BYTES, f) == NULL)
        boot[0] = '\0';
    (void)fclose(f);
}

static lt_status my_card(card *out)
{
    const char *given = lt_env("LONGTAKE_NODE");
    memset(out, 0, sizeof *out);
    if (given == NULL) {
        lt_node_here(out->name, out->boot);
        return LT_OK;
    }
    const size_t bytes = strlen(given);
    if (bytes >= sizeof out->name)
        LT_FAIL(LT_EUSAGE, "LONGTAKE_NODE=%.*s...: want at most %zu bytes, found %zu", 20, given,
                sizeof out->name - 1, bytes);
    memcpy(out->name, given, bytes);
    out->given = 1;
    return LT_OK;
}

/* Cards in rank order: one that was not seen before is the next node. Looked for backwards, since
 * launchers mostly fill node after node. */
static void number(const card *all, lt_nodes *out)
{
    for (int rank = 0; rank < out->ranks; rank++) {
        int other = rank - 1;
        while (other >= 0 && memcmp(&all[rank], &all[other], sizeof *all) != 0)
            other--;
        out->of_rank[rank] = other >= 0 ? out->of_rank[other] : out->count;
        if (other < 0)
            memcpy(out->name[out->count++], all[rank].name, sizeof all[rank].name);
    }
}

lt_status lt_group_nodes(lt_group *group, lt_nodes *out)
{
    const int size = lt_group_size(group);
    card mine;
    memset(out, 0, sizeof *out);
    out->ranks = size;
    out->of_rank = calloc((size_t)size, sizeof *out->of_rank);
    out->name = calloc((size_t)size, sizeof *out->name);
    card *all = calloc((size_t)size, sizeof *all);
    lt_status st = my_card(&mine);
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

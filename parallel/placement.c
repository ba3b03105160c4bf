/* placement.c - which rank stands at which position of the mesh.
 *
 * A mesh is blocks inside blocks: tp groups (T ranks) in tp x uly blocks (T U), these in windows
 * (T U R), and so on; a block of size b begins at a multiple of b. Each size divides the next
 * larger one, so a node of n ranks can hold floor(n / b) whole blocks for every b at once:
 *
 *     from each node take as many whole blocks of the largest size as it holds, then of what is
 *     left as many of the next smaller size, ..., then single ranks; write down all blocks of the
 *     largest size, node by node, then all of the next size, ...
 *
 *     tp=2, uly=2; nodes a = {0,1,2}, b = {3..7}:     3 4 5 6 | 0 1 | 2 7
 *                                                     b b b b   a a   a b
 *
 * Sizes fall along the list and divide each other, so every block begins where it must, and what
 * was too small for a block of its own meets in the last ones: there alone groups cross nodes.
 * At last whole blocks are rotated until rank 0 leads:  0 1 2 7 | 3 4 5 6. Rotating them (not
 * moving one to the front) keeps all neighbours on the ring. */
#include "parallel/placement.h"

#include <assert.h>
#include <stdlib.h>

/* A rank in the list that is sorted into positions. */
typedef struct {
    int cut; /* of the block that it is in: 0 the whole mesh .. LT_AXIS_COUNT a single rank */
    int node, rank;
} entry;

/* block[axis]: ranks that share the coordinates of the axes outside this one; [LT_AXIS_COUNT]: 1.
 */
static void block_sizes(const lt_mesh_spec *spec, int block[LT_AXIS_COUNT + 1])
{
    block[LT_AXIS_COUNT] = 1;
    for (int axis = LT_AXIS_COUNT - 1; axis >= 0; axis--)
        block[axis] = block[axis + 1] * spec->size[axis];
}

static int by_cut(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->cut != y->cut)
        return x->cut < y->cut ? -1 : 1;
    if (x->node != y->node)
        return x->node < y->node ? -1 : 1;
    return (x->rank > y->rank) - (x->rank < y->rank);
}

/* seen, held [ranks]: ranks of each node, before this one and in all. */
static void fill(const int block[LT_AXIS_COUNT + 1], const int *node_of, int *seen, int *held,
                 entry *entries)
{
    const int ranks = block[0];
    int nodes = 0;
    for (int rank = 0; rank < ranks; rank++) {
        assert(node_of[rank] >= 0 && node_of[rank] <= nodes); /* in the order of lowest ranks */
        nodes += node_of[rank] == nodes;
        held[node_of[rank]]++;
    }
    for (int rank = 0; rank < ranks; rank++) {
        const int node = node_of[rank], index = seen[node]++;
        int cut = 0;
        while (index >= held[node] / block[cut] * block[cut])
            cut++;
        entries[rank] = (entry){cut, node, rank};
    }
    qsort(entries, (size_t)ranks, sizeof *entries, by_cut);
}

static void reverse(int *list, int count)
{
    for (int i = 0; i < count / 2; i++) {
        const int other = list[i];
        list[i] = list[count - 1 - i];
        list[count - 1 - i] = other;
    }
}

/* list[by], list[by + 1], ..., and what stood before it at the end. */
static void rotate(int *list, int count, int by)
{
    reverse(list, by);
    reverse(list + by, count - by);
    reverse(list, count);
}

static void lead_with_rank_0(const int block[LT_AXIS_COUNT + 1], int *rank_at)
{
    int at = 0;
    while (rank_at[at] != 0)
        at++;
    for (int axis = 0; axis < LT_AXIS_COUNT; axis++) {
        const int by = at / block[axis + 1] * block[axis + 1];
        rotate(rank_at, block[axis], by);
        at -= by;
    }
}

lt_status lt_placement_make(const lt_mesh_spec *spec, const int *node_of, int *rank_at)
{
    int block[LT_AXIS_COUNT + 1];
    block_sizes(spec, block);
    const size_t ranks = (size_t)block[0];
    entry *entries = calloc(ranks, sizeof *entries);
    int *counts = calloc(2 * ranks, sizeof *counts);
    lt_status st = LT_OK;
    if (entries == NULL || counts == NULL)
        LT_FAIL_GOTO(LT_ENOMEM, st, done, "placement: no memory for %d ranks", block[0]);
    fill(block, node_of, counts, counts + ranks, entries);
    for (size_t i = 0; i < ranks; i++)
        rank_at[i] = entries[i].rank;
    lead_with_rank_0(block, rank_at);
done:
    free(entries);
    free(counts);
    return st;
}

static int common_divisor(int a, int b)
{
    while (b != 0) {
        const int rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* The most groups of equal size whose largest share of the windows is at most a quarter above the
 * mean: a group that waits is worth less than one that helps with a window. */
static int window_groups(int ranks, int64_t windows)
{
    for (int groups = windows < ranks ? (int)windows : ranks; groups > 1; groups--) {
        const int64_t most = (windows + groups - 1) / groups;
        if (ranks % groups == 0 && 4 * most * groups <= 5 * windows)
            return groups;
    }
    return 1;
}

lt_mesh_spec lt_placement_auto(int ranks, const lt_nodes *nodes, int64_t heads, int64_t windows)
{
    int inside = 0; /* divides every node's number of ranks */
    assert(nodes->ranks == ranks);
    for (int node = 0; node < nodes->count; node++) {
        int here = 0;
        for (int rank = 0; rank < ranks; rank++)
            here += nodes->of_rank[rank] == node;
        inside = common_divisor(inside, here);
    }
    const int win = window_groups(ranks, windows), each = ranks / win;
    inside = common_divisor(inside, each);
    int uly = inside;
    while (uly > 1 && (inside % uly != 0 || (heads > 0 && uly > heads)))
        uly--;
    return (lt_mesh_spec){{win, 1, each / uly, uly, 1}};
}

lt_crossing lt_placement_crossing(const lt_mesh_spec *spec, lt_axis axis, const int *node_of,
                                  const int *rank_at)
{
    int block[LT_AXIS_COUNT + 1];
    block_sizes(spec, block);
    const int stride = block[axis + 1], size = spec->size[axis];
    lt_crossing c = {.groups = block[0] / size, .first = -1};
    for (int at = 0; at < block[0]; at++) {
        int crosses = 0;
        if (at / stride % size != 0)
            continue; /* not a group's first member */
        for (int i = 1; i < size; i++)
            crosses |= node_of[rank_at[at + i * stride]] != node_of[rank_at[at]];
        if (crosses && c.crossing++ == 0)
            c.first = at;
    }
    return c;
}

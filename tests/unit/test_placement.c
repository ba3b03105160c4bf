/* test_placement.c - which rank stands where, for every mesh of 1 to 16 ranks on nodes of all
 * kinds. Goal: a permutation that rank 0 leads; as many tp groups, tp x uly blocks and windows
 * whole inside a node as its ranks allow at all; the count of crossing groups is right. Method:
 * every partition of up to 8 ranks into nodes, then patterns up to 16; what is possible is counted
 * from the sizes of the nodes, what is there from coordinates. Ranks: 1. Needs: nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "parallel/placement.h"

enum { RANKS_MAX = 16, ALL_PARTITIONS_MAX = 8, SEEDS = 25 };

static long checked;
static int at[RANKS_MAX][LT_AXIS_COUNT]; /* coordinates of the positions of the mesh at work */

static _Noreturn void wrong(const char *what, const lt_mesh_spec *m, const int *node_of,
                            const int *rank_at)
{
    char mesh[64], nodes[128] = "", order[128] = "";
    for (int i = 0; i < lt_mesh_ranks(m); i++) {
        (void)snprintf(nodes + strlen(nodes), sizeof nodes - strlen(nodes), " %d", node_of[i]);
        (void)snprintf(order + strlen(order), sizeof order - strlen(order), " %d", rank_at[i]);
    }
    fail_msg("%s: %s, nodes%s, order%s", what, lt_mesh_text(m, mesh, sizeof mesh), nodes, order);
    __builtin_unreachable();
}

/* Are the ranks that differ from this position on the masked axes alone all on its node? */
static int is_whole(const lt_mesh_spec *m, unsigned varies, int position, const int *node_of,
                    const int *rank_at)
{
    for (int other = 0; other < lt_mesh_ranks(m); other++) {
        int same = 1;
        for (int axis = 0; axis < LT_AXIS_COUNT; axis++)
            same &= ((varies >> axis) & 1u) || at[other][axis] == at[position][axis];
        if (same && node_of[rank_at[other]] != node_of[rank_at[position]])
            return 0;
    }
    return 1;
}

/* How many groups over the masked axes are whole: their members are counted, each group `size`
 * times. */
static int whole_groups(const lt_mesh_spec *m, unsigned varies, const int *node_of,
                        const int *rank_at)
{
    int members = 0, size = 1;
    for (int axis = 0; axis < LT_AXIS_COUNT; axis++)
        size *= (varies >> axis) & 1u ? m->size[axis] : 1;
    for (int position = 0; position < lt_mesh_ranks(m); position++)
        members += is_whole(m, varies, position, node_of, rank_at);
    return members / size;
}

static void check_blocks(const lt_mesh_spec *m, const int *node_of, const int *rank_at)
{
    unsigned varies = 0;
    int size = 1;
    for (int axis = LT_AXIS_TP; axis >= LT_AXIS_WIN; axis--) {
        int possible = 0, divides = 1;
        varies |= 1u << axis;
        size *= m->size[axis];
        for (int node = 0; node < RANKS_MAX; node++) {
            int held = 0;
            for (int rank = 0; rank < lt_mesh_ranks(m); rank++)
                held += node_of[rank] == node;
            possible += held / size;
            divides &= held % size == 0;
        }
        const int found = whole_groups(m, varies, node_of, rank_at);
        if (found != possible)
            wrong("not as many whole blocks as the nodes allow", m, node_of, rank_at);
        if (divides && found != lt_mesh_ranks(m) / size)
            wrong("nodes hold whole blocks alone, but one crosses", m, node_of, rank_at);
    }
}

static void check_count(const lt_mesh_spec *m, lt_axis axis, const int *node_of, const int *rank_at)
{
    const lt_crossing c = lt_placement_crossing(m, axis, node_of, rank_at);
    const int whole = whole_groups(m, 1u << axis, node_of, rank_at);
    if (c.groups != lt_mesh_ranks(m) / m->size[axis] || c.crossing != c.groups - whole)
        wrong("crossing groups are counted otherwise", m, node_of, rank_at);
    int first = 0;
    while (first < lt_mesh_ranks(m) && is_whole(m, 1u << axis, first, node_of, rank_at))
        first++;
    if (c.first != (c.crossing > 0 ? first : -1))
        wrong("another crossing group is the first", m, node_of, rank_at);
}

static void check(const lt_mesh_spec *m, const int *node_of)
{
    int rank_at[RANKS_MAX], seen[RANKS_MAX] = {0}, by_rank[RANKS_MAX];
    const int ranks = lt_mesh_ranks(m);
    for (int i = 0; i < RANKS_MAX; i++) {
        rank_at[i] = -7; /* what is not written shows */
        by_rank[i] = i;
    }
    for (int i = 0; i < ranks; i++)
        lt_mesh_coordinates(m, i, at[i]);
    assert_int_equal(lt_placement_make(m, node_of, rank_at), LT_OK);
    for (int i = 0; i < ranks; i++)
        if (rank_at[i] < 0 || rank_at[i] >= ranks || seen[rank_at[i]]++ > 0)
            wrong("no permutation", m, node_of, rank_at);
    if (ranks < RANKS_MAX && rank_at[ranks] != -7)
        wrong("writes beyond", m, node_of, rank_at);
    if (rank_at[0] != 0)
        wrong("rank 0 does not lead", m, node_of, rank_at);
    check_blocks(m, node_of, rank_at);
    for (int axis = 0; axis < LT_AXIS_COUNT; axis++) {
        check_count(m, (lt_axis)axis, node_of, rank_at);
        check_count(m, (lt_axis)axis, node_of, by_rank);
    }
    checked++;
}

static void on_meshes(int ranks, const int *node_of,
                      void (*what)(const lt_mesh_spec *, const int *))
{
    for (int win = 1; win <= ranks; win++)
        for (int cfg = 1; cfg <= ranks / win; cfg++)
            for (int ring = 1; ring <= ranks / win / cfg; ring++)
                for (int uly = 1; uly <= ranks / win / cfg / ring; uly++) {
                    const int rest = win * cfg * ring * uly;
                    if (ranks % rest == 0)
                        what(&(lt_mesh_spec){{win, cfg, ring, uly, ranks / rest}}, node_of);
                }
}

/* Nodes in the order of their lowest ranks, from any numbers below RANKS_MAX. */
static void number(int ranks, const int *any, int *node_of)
{
    int name[RANKS_MAX], count = 0;
    for (int i = 0; i < RANKS_MAX; i++)
        name[i] = -1;
    for (int rank = 0; rank < ranks; rank++) {
        if (name[any[rank]] < 0)
            name[any[rank]] = count++;
        node_of[rank] = name[any[rank]];
    }
}

/* node_of[0..rank) stands; all ways to go on: a known node, or the next one. */
static void partitions(int ranks, int rank, int nodes, int *node_of)
{
    if (rank == ranks) {
        on_meshes(ranks, node_of, check);
        return;
    }
    for (int node = 0; node <= nodes; node++) {
        node_of[rank] = node;
        partitions(ranks, rank + 1, nodes + (node == nodes), node_of);
    }
}

static void every_partition(void **state)
{
    (void)state;
    int node_of[RANKS_MAX];
    for (int ranks = 1; ranks <= ALL_PARTITIONS_MAX; ranks++)
        partitions(ranks, 0, 0, node_of);
    print_message("%ld meshes on nodes\n", checked);
}

static void patterns(void **state)
{
    (void)state;
    int any[RANKS_MAX], node_of[RANKS_MAX];
    uint32_t h = 1;
    for (int ranks = 1; ranks <= RANKS_MAX; ranks++) {
        for (int k = 1; k <= ranks; k++) { /* k = 1: all different, all one */
            for (int i = 0; i < ranks; i++)
                any[i] = i / k; /* nodes of k ranks one after the other, the last one smaller */
            number(ranks, any, node_of);
            on_meshes(ranks, node_of, check);
            for (int i = 0; i < ranks; i++)
                any[i] = i % k; /* mpirun --map-by node */
            number(ranks, any, node_of);
            on_meshes(ranks, node_of, check);
            for (int i = 0; i < ranks; i++)
                any[i] = i >= k; /* k on the first, the rest on the second */
            number(ranks, any, node_of);
            on_meshes(ranks, node_of, check);
        }
        for (int seed = 0; seed < SEEDS; seed++) { /* no order at all, on 1 to 5 nodes */
            for (int i = 0; i < ranks; i++) {
                h = h * 1664525u + 1013904223u; /* Numerical Recipes' generator */
                any[i] = (int)((h >> 16) % (1 + (uint32_t)seed % 5));
            }
            number(ranks, any, node_of);
            on_meshes(ranks, node_of, check);
        }
    }
    print_message("%ld meshes on nodes\n", checked);
}

static void wants_identity(const lt_mesh_spec *m, const int *node_of)
{
    int rank_at[RANKS_MAX];
    assert_int_equal(lt_placement_make(m, node_of, rank_at), LT_OK);
    for (int i = 0; i < lt_mesh_ranks(m); i++)
        if (rank_at[i] != i)
            wrong("want rank order", m, node_of, rank_at);
}

/* One node, nodes of one rank, and nodes that are a block each: nothing to gain, nothing moves. */
static void is_the_identity(void **state)
{
    (void)state;
    int node_of[RANKS_MAX] = {0};
    for (int ranks = 1; ranks <= RANKS_MAX; ranks++) {
        for (int i = 0; i < ranks; i++)
            node_of[i] = 0;
        on_meshes(ranks, node_of, wants_identity);
        for (int i = 0; i < ranks; i++)
            node_of[i] = i;
        on_meshes(ranks, node_of, wants_identity);
    }
    static const lt_mesh_spec blocks[] = {{{1, 1, 4, 2, 2}},
                                          {{4, 1, 1, 1, 4}},
                                          {{1, 1, 4, 4, 1}},
                                          {{2, 2, 1, 2, 2}},
                                          {{1, 1, 4, 1, 4}}};
    for (int i = 0; i < 16; i++)
        node_of[i] = i / 4;
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        wants_identity(&blocks[i], node_of);
}

/* By hand. */
static const struct {
    const char *name, *mesh;
    int node_of[8], order[8];
} cases[] = {
    {"round robin over two: a host's ranks meet",
     "uly=2,ring=2,tp=2",
     {0, 1, 0, 1, 0, 1, 0, 1},
     {0, 2, 4, 6, 1, 3, 5, 7}},
    {"3 and 5: one tp group must cross",
     "ring=4,tp=2",
     {0, 0, 0, 1, 1, 1, 1, 1},
     {0, 1, 3, 4, 5, 6, 2, 7}},
    {"3 and 5: the block of 4 goes to the five, turned behind rank 0",
     "ring=2,uly=2,tp=2",
     {0, 0, 0, 1, 1, 1, 1, 1},
     {0, 1, 2, 7, 3, 4, 5, 6}},
    {"2, 4, 2: the ring keeps its neighbours",
     "ring=4,tp=2",
     {0, 0, 1, 1, 1, 1, 2, 2},
     {0, 1, 2, 3, 4, 5, 6, 7}},
    {"a rank alone, then seven: it leads a group that crosses",
     "ring=4,tp=2",
     {0, 1, 1, 1, 1, 1, 1, 1},
     {0, 7, 1, 2, 3, 4, 5, 6}},
};

static void as_by_hand(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lt_mesh_spec m;
        int rank_at[8];
        assert_int_equal(lt_mesh_parse(cases[i].mesh, &m), LT_OK);
        assert_int_equal(lt_placement_make(&m, cases[i].node_of, rank_at), LT_OK);
        if (memcmp(rank_at, cases[i].order, sizeof rank_at) != 0)
            wrong(cases[i].name, &m, cases[i].node_of, rank_at);
    }
}

static void auto_is(int ranks, const int *node_of, int nodes, int64_t heads, int ring, int uly)
{
    const lt_nodes n = {.ranks = ranks, .count = nodes, .of_rank = (int *)(uintptr_t)node_of};
    const lt_mesh_spec m = lt_placement_auto(ranks, &n, heads, 1);
    if (lt_mesh_ranks(&m) != ranks || m.size[LT_AXIS_RING] != ring || m.size[LT_AXIS_ULY] != uly)
        fail_msg("%d ranks on %d nodes, %d heads: want ring=%d,uly=%d, found ring=%d,uly=%d", ranks,
                 nodes, (int)heads, ring, uly, m.size[LT_AXIS_RING], m.size[LT_AXIS_ULY]);
}

/* Windows are shared out first, where all groups have much the same number of them. */
static void windows_come_first(void **state)
{
    (void)state;
    static const struct {
        int ranks;
        int64_t windows;
        int win, uly;
    } rows[] = {
        {4, 1, 1, 4}, {4, 4, 4, 1}, {4, 28, 4, 1}, {4, 5, 2, 2}, /* not 2, 1, 1, 1 */
        {4, 6, 2, 2}, {4, 7, 4, 1}, {8, 3, 1, 8},  {8, 4, 4, 2},
        {6, 3, 3, 2}, {7, 4, 1, 7}, {7, 70, 7, 1}, {2, 28, 2, 1},
    };
    const int one[8] = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const lt_nodes n = {.ranks = rows[i].ranks, .count = 1, .of_rank = (int *)(uintptr_t)one};
        const lt_mesh_spec m = lt_placement_auto(rows[i].ranks, &n, 56, rows[i].windows);
        if (m.size[LT_AXIS_WIN] != rows[i].win || m.size[LT_AXIS_ULY] != rows[i].uly)
            fail_msg("%d ranks, %d windows: want win=%d,uly=%d, found win=%d,uly=%d", rows[i].ranks,
                     (int)rows[i].windows, rows[i].win, rows[i].uly, m.size[LT_AXIS_WIN],
                     m.size[LT_AXIS_ULY]);
    }
}

static void what_auto_takes(void **state)
{
    (void)state;
    const int one[16] = {0}, two[8] = {0, 1, 0, 1, 0, 1, 0, 1}, uneven[6] = {0, 0, 0, 0, 1, 1};
    const int odd[5] = {0, 0, 0, 1, 1}, four[4] = {0, 1, 2, 3};
    auto_is(1, one, 1, 56, 1, 1);
    auto_is(4, one, 1, 0, 1, 4);
    auto_is(4, one, 1, 3, 2, 2); /* a third rank of uly would hold a head, the fourth none */
    auto_is(3, one, 1, 3, 1, 3);
    auto_is(7, one, 1, 3, 7, 1);
    auto_is(16, one, 1, 56, 1, 16);
    auto_is(8, two, 2, 56, 2, 4);
    auto_is(6, uneven, 2, 56, 3, 2);
    auto_is(5, odd, 2, 56, 5, 1);
    auto_is(4, four, 4, 56, 4, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_partition), cmocka_unit_test(patterns),
        cmocka_unit_test(is_the_identity), cmocka_unit_test(as_by_hand),
        cmocka_unit_test(what_auto_takes), cmocka_unit_test(windows_come_first),
    };
    return cmocka_run_group_tests_name("placement", tests, NULL, NULL);
}

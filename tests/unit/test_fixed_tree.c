/* test_fixed_tree.c - 16 chunks of a dimension and their tree: every size 1..16.
 * Goal: chunks are contiguous and whole, ranks hold unions of them, a rank's nodes are the fewest
 * that cover its chunks; joining the nodes of all ranks, in whatever order they come, makes the
 * joins of one rank. Method: exhaustive over sizes and totals; the joins are written down as text,
 * "(a+b)" with chunk letters. Ranks: 1. Needs: nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "parallel/fixed_tree.h"

enum { SIZES = 20, TOTALS = 50, TEXT = 128 }; /* sizes above 16: the further ranks hold nothing */

static void chunks_are_whole(void **state)
{
    (void)state;
    for (int64_t total = 0; total <= TOTALS; total++) {
        int64_t next = 0;
        for (int chunk = 0; chunk < LT_CHUNKS; chunk++) {
            const lt_range r = lt_chunk_elements(total, chunk);
            assert_int_equal(r.first, next);
            assert_in_range(r.count, total / LT_CHUNKS, total / LT_CHUNKS + 1);
            next += r.count;
        }
        assert_int_equal(next, total);
        for (int size = 1; size <= SIZES; size++) {
            next = 0;
            for (int rank = 0; rank < size; rank++) {
                const lt_partition partition = lt_partition_of(total, 3, size, rank);
                assert_int_equal(lt_partition_mine(&partition).first, next);
                next += lt_partition_mine(&partition).count;
                if (rank >= LT_CHUNKS)
                    assert_int_equal(partition.chunks.count, 0);
            }
            assert_int_equal(next, 3 * total);
        }
    }
}

/* Whole subtrees, ascending, disjoint; two neighbours never make a larger one. */
static void nodes_are_the_largest(void **state)
{
    (void)state;
    for (int first = 0; first <= LT_CHUNKS; first++)
        for (int count = 0; first + count <= LT_CHUNKS; count++) {
            lt_tree_node node[LT_TREE_NODES_MAX];
            const int n = lt_tree_nodes(1000, (lt_range){first, count}, node);
            int next = first;
            for (int i = 0; i < n; i++) {
                assert_int_equal(node[i].index << node[i].level, next);
                next += 1 << node[i].level;
                if (i > 0 && node[i].level == node[i - 1].level)
                    assert_int_not_equal(node[i].index, node[i - 1].index ^ 1);
            }
            assert_int_equal(next, first + count);
        }
}

/* The joins of a node, as one rank makes them. */
static void node_text(int64_t total, lt_tree_node node, char out[TEXT])
{
    char left[TEXT], right[TEXT], both[2 * TEXT + 4];
    out[0] = '\0';
    if (lt_tree_node_elements(total, node).count == 0)
        return;
    if (node.level == 0) {
        (void)snprintf(out, TEXT, "%c", 'a' + node.index);
        return;
    }
    node_text(total, (lt_tree_node){node.level - 1, 2 * node.index}, left);
    node_text(total, (lt_tree_node){node.level - 1, 2 * node.index + 1}, right);
    const int two = left[0] != '\0' && right[0] != '\0';
    const int n = snprintf(both, sizeof both, two ? "(%s+%s)" : "%s%s", left, right);
    assert_in_range(n, 1, TEXT - 1);
    memcpy(out, both, (size_t)n + 1);
}

/* Ranks in the order of a ring that begins at `start` and goes down. */
static void joined(int64_t total, int size, int start, char out[TEXT])
{
    char slot[LT_CHUNKS][TEXT], text[2 * TEXT + 4];
    int used = 0, to, from;
    lt_fixed_tree tree;
    lt_fixed_tree_new(total, &tree);
    for (int step = 0; step < size; step++) {
        lt_tree_node node[LT_TREE_NODES_MAX];
        const int rank = (start - step + size) % size;
        const int n = lt_tree_nodes(total, lt_chunks_of(size, rank), node);
        for (int i = 0; i < n; i++) {
            assert_true(used < LT_CHUNKS);
            node_text(total, node[i], slot[used]);
            lt_fixed_tree_put(&tree, node[i], used++);
            while (lt_fixed_tree_join(&tree, &to, &from)) {
                (void)snprintf(text, sizeof text, "(%s+%s)", slot[to], slot[from]);
                assert_in_range(strlen(text), 1, TEXT - 1);
                memcpy(slot[to], text, strlen(text) + 1);
            }
        }
    }
    out[0] = '\0';
    if (total > 0) {
        assert_true(lt_fixed_tree_root(&tree) >= 0);
        memcpy(out, slot[lt_fixed_tree_root(&tree)], TEXT);
    } else {
        assert_int_equal(lt_fixed_tree_root(&tree), -1);
    }
}

static void joins_do_not_depend_on_ranks(void **state)
{
    (void)state;
    for (int64_t total = 0; total <= TOTALS; total++) {
        char alone[TEXT], many[TEXT];
        node_text(total, (lt_tree_node){LT_TREE_LEVELS, 0}, alone);
        for (int size = 1; size <= SIZES; size++)
            for (int start = 0; start < size; start++) {
                joined(total, size, start, many);
                if (strcmp(many, alone) != 0)
                    fail_msg("%lld things, %d ranks from %d: %s, one rank: %s", (long long)total,
                             size, start, many, alone);
            }
    }
}

static void known_values(void **state)
{
    (void)state;
    static const struct {
        int64_t total;
        int size;
        double imbalance;
    } cases[] = {
        {16000, 1, 0},    {16000, 2, 0}, {16000, 3, 0.125}, /* 6 of 16 chunks against 16 / 3 */
        {16000, 5, 0.25}, {56, 2, 0}, /* lt_share's order would give 32 and 24 heads */
        {56, 8, 0},       {0, 4, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const double found = lt_chunks_imbalance(cases[i].total, cases[i].size);
        if (!(found > cases[i].imbalance - 1e-12 && found < cases[i].imbalance + 1e-12))
            fail_msg("%lld on %d: imbalance %g, want %g", (long long)cases[i].total, cases[i].size,
                     found, cases[i].imbalance);
    }
    char text[TEXT];
    node_text(3, (lt_tree_node){LT_TREE_LEVELS, 0}, text); /* chunks 5, 10 and 15 have one each */
    assert_string_equal(text, "(f+(k+p))");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_are_whole),
        cmocka_unit_test(nodes_are_the_largest),
        cmocka_unit_test(joins_do_not_depend_on_ranks),
        cmocka_unit_test(known_values),
    };
    return cmocka_run_group_tests_name("fixed_tree", tests, NULL, NULL);
}

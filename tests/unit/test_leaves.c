/* test_leaves.c - 16 leaves of a dimension and their tree: every size 1..16.
 * Goal: leaves are contiguous and whole, ranks hold unions of them, a rank's nodes are the fewest
 * that cover its leaves; joining the nodes of all ranks, in whatever order they come, makes the
 * joins of one rank. Method: exhaustive over sizes and totals; the joins are written down as text,
 * "(a+b)" with leaf letters. Ranks: 1. Needs: nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "parallel/fixed_tree.h"

enum { SIZES = 20, TOTALS = 50, TEXT = 128 }; /* sizes above 16: the further ranks hold nothing */

static void leaves_are_whole(void **state)
{
    (void)state;
    for (int64_t total = 0; total <= TOTALS; total++) {
        int64_t next = 0;
        for (int leaf = 0; leaf < LT_LEAVES; leaf++) {
            const lt_range r = lt_leaf_things(total, leaf);
            assert_int_equal(r.first, next);
            assert_in_range(r.count, total / LT_LEAVES, total / LT_LEAVES + 1);
            next += r.count;
        }
        assert_int_equal(next, total);
        for (int size = 1; size <= SIZES; size++) {
            next = 0;
            for (int rank = 0; rank < size; rank++) {
                const lt_cut cut = lt_cut_of(total, 3, size, rank);
                assert_int_equal(lt_cut_mine(&cut).first, next);
                next += lt_cut_mine(&cut).count;
                if (rank >= LT_LEAVES)
                    assert_int_equal(cut.leaves.count, 0);
            }
            assert_int_equal(next, 3 * total);
        }
    }
}

/* Whole subtrees, ascending, disjoint; two neighbours never make a larger one. */
static void nodes_are_the_largest(void **state)
{
    (void)state;
    for (int first = 0; first <= LT_LEAVES; first++)
        for (int count = 0; first + count <= LT_LEAVES; count++) {
            lt_leaf_node node[LT_LEAF_NODES_MAX];
            const int n = lt_leaf_nodes(1000, (lt_range){first, count}, node);
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
static void node_text(int64_t total, lt_leaf_node node, char out[TEXT])
{
    char left[TEXT], right[TEXT], both[2 * TEXT + 4];
    out[0] = '\0';
    if (lt_leaf_node_things(total, node).count == 0)
        return;
    if (node.level == 0) {
        (void)snprintf(out, TEXT, "%c", 'a' + node.index);
        return;
    }
    node_text(total, (lt_leaf_node){node.level - 1, 2 * node.index}, left);
    node_text(total, (lt_leaf_node){node.level - 1, 2 * node.index + 1}, right);
    const int two = left[0] != '\0' && right[0] != '\0';
    const int n = snprintf(both, sizeof both, two ? "(%s+%s)" : "%s%s", left, right);
    assert_in_range(n, 1, TEXT - 1);
    memcpy(out, both, (size_t)n + 1);
}

/* Ranks in the order of a ring that begins at `start` and goes down. */
static void joined(int64_t total, int size, int start, char out[TEXT])
{
    char slot[LT_LEAVES][TEXT], text[2 * TEXT + 4];
    int used = 0, to, from;
    lt_leaf_tree tree;
    lt_leaf_tree_new(total, &tree);
    for (int turn = 0; turn < size; turn++) {
        lt_leaf_node node[LT_LEAF_NODES_MAX];
        const int rank = (start - turn + size) % size;
        const int n = lt_leaf_nodes(total, lt_leaves_of(size, rank), node);
        for (int i = 0; i < n; i++) {
            assert_true(used < LT_LEAVES);
            node_text(total, node[i], slot[used]);
            lt_leaf_tree_put(&tree, node[i], used++);
            while (lt_leaf_tree_join(&tree, &to, &from)) {
                (void)snprintf(text, sizeof text, "(%s+%s)", slot[to], slot[from]);
                assert_in_range(strlen(text), 1, TEXT - 1);
                memcpy(slot[to], text, strlen(text) + 1);
            }
        }
    }
    out[0] = '\0';
    if (total > 0) {
        assert_true(lt_leaf_tree_root(&tree) >= 0);
        memcpy(out, slot[lt_leaf_tree_root(&tree)], TEXT);
    } else {
        assert_int_equal(lt_leaf_tree_root(&tree), -1);
    }
}

static void joins_do_not_depend_on_ranks(void **state)
{
    (void)state;
    for (int64_t total = 0; total <= TOTALS; total++) {
        char alone[TEXT], many[TEXT];
        node_text(total, (lt_leaf_node){LT_LEAF_LEVELS, 0}, alone);
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
        {16000, 1, 0},    {16000, 2, 0}, {16000, 3, 0.125}, /* 6 of 16 leaves against 16 / 3 */
        {16000, 5, 0.25}, {56, 2, 0}, /* lt_share's order would give 32 and 24 heads */
        {56, 8, 0},       {0, 4, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const double found = lt_leaves_imbalance(cases[i].total, cases[i].size);
        if (!(found > cases[i].imbalance - 1e-12 && found < cases[i].imbalance + 1e-12))
            fail_msg("%lld on %d: imbalance %g, want %g", (long long)cases[i].total, cases[i].size,
                     found, cases[i].imbalance);
    }
    char text[TEXT];
    node_text(3, (lt_leaf_node){LT_LEAF_LEVELS, 0}, text); /* leaves 5, 10 and 15 have one each */
    assert_string_equal(text, "(f+(k+p))");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leaves_are_whole),
        cmocka_unit_test(nodes_are_the_largest),
        cmocka_unit_test(joins_do_not_depend_on_ranks),
        cmocka_unit_test(known_values),
    };
    return cmocka_run_group_tests_name("leaves", tests, NULL, NULL);
}

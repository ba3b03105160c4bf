/* ordered_reduce.c - partial sums over the ranks of an axis, in one order for any number of them.
 *
 * As lt_all_reduce: each rank gets its share of rows of all partial sums, adds them, and the sums
 * are gathered. Partial sums lie beside each other, so that the first move is the one that Ulysses
 * makes on its way back, with nodes for heads. Ranks hold ascending chunks, so nodes arrive
 * ascending. Adding is a + b in f32, left child first; b may be added to a in place. */
#include "parallel/collective/ordered_reduce.h"

#include <assert.h>
#include <stdlib.h>

#include "parallel/collective/exchange.h"

enum { FEW = 64 }; /* ranks without an allocation */

/* Ranges of the ranks, and all nodes in their order. */
typedef struct sharing {
    lt_range few[2 * FEW];
    int64_t few_counts[FEW];
    lt_range *rows, *nodes; /* [size] */
    int64_t *counts;        /* [size]: of rows */
    lt_tree_node node[LT_CHUNKS];
    int count; /* of nodes */
} sharing;

static void sharing_free(sharing *s)
{
    if (s->rows != s->few)
        free(s->rows);
    if (s->counts != s->few_counts)
        free(s->counts);
}

static lt_status sharing_new(int64_t total, int64_t rows, int size, sharing *out)
{
    out->count = 0;
    out->rows = size <= FEW ? out->few : calloc(2 * (size_t)size, sizeof *out->rows);
    out->counts = size <= FEW ? out->few_counts : calloc((size_t)size, sizeof *out->counts);
    if (out->rows == NULL || out->counts == NULL) {
        sharing_free(out);
        LT_FAIL(LT_ENOMEM, "sum: no memory for %d ranges", size);
    }
    out->nodes = out->rows + size;
    for (int i = 0; i < size; i++) {
        lt_tree_node node[LT_TREE_NODES_MAX];
        const int n = lt_tree_nodes(total, lt_chunks_of(size, i), node);
        out->rows[i] = lt_share(rows, size, i);
        out->counts[i] = out->rows[i].count;
        out->nodes[i] = (lt_range){out->count, n};
        for (int k = 0; k < n; k++)
            out->node[out->count++] = node[k];
    }
    return LT_OK;
}

static lt_tensor part_of(const lt_tensor *parts, int index, int64_t width)
{
    return lt_view_columns(parts, (lt_range){index * width, width});
}

/* y = round(the tree over parts [S, nodes * E]), which is written over. Queued on comm. */
static lt_status add_up(lt_queue *comm, int64_t total, const sharing *s, const lt_tensor *parts,
                        lt_tensor *y)
{
    const int64_t width = lt_row_width(y);
    lt_fixed_tree tree;
    lt_fixed_tree_new(total, &tree);
    for (int i = 0; i < s->count; i++) {
        int to, from;
        lt_fixed_tree_put(&tree, s->node[i], i);
        while (lt_fixed_tree_join(&tree, &to, &from)) {
            const lt_tensor right = part_of(parts, from, width);
            lt_tensor left = part_of(parts, to, width);
            LT_TRY(lt_axpby(comm, 1, &right, 1, &left));
        }
    }
    if (s->count == 0)
        return lt_fill(comm, y, 0);
    assert(lt_fixed_tree_root(&tree) >= 0);
    const lt_tensor root = part_of(parts, lt_fixed_tree_root(&tree), width);
    return lt_copy(comm, &root, y);
}

static lt_status over_ranks(lt_engine *engine, lt_group *group, int64_t total, const sharing *s,
                            const lt_event *after, const lt_tensor *x, lt_tensor *y, lt_event *done)
{
    const int64_t width = lt_row_width(y);
    const lt_range mine = s->rows[lt_group_rank(group)];
    const lt_tensor sums_at = lt_view_outer(y, mine);
    lt_tensor parts, sums = sums_at;
    const size_t mark = lt_comm_mark(engine->memory);
    LT_TRY(lt_comm_scratch(engine->memory, LT_F32, LT_DIMS(mine.count, s->count * width), &parts));
    LT_TRY(lt_all_to_all_rows(engine, group, after, x, s->rows, s->nodes, width, &parts, NULL));
    LT_TRY(add_up(engine->comm, total, s, &parts, &sums));
    LT_TRY(lt_all_gather_rows(engine, group, NULL, &sums, s->counts, y, done));
    lt_comm_release(engine->memory, mark);
    return LT_OK;
}

lt_status lt_ordered_reduce(lt_engine *engine, lt_group *group, int64_t total,
                            const lt_event *after, const lt_tensor *x, lt_tensor *y, lt_event *done)
{
    const int size = lt_group_size(group);
    sharing s;
    assert(x->dtype == LT_F32 && x->ndim == 2 && y->ndim == 2 && x->dim[0] == y->dim[0]);
    LT_TRY(sharing_new(total, lt_row_count(y), size, &s));
    assert(x->dim[1] == s.nodes[lt_group_rank(group)].count * y->dim[1]);
    lt_status st = LT_OK;
    if (size > 1) {
        st = over_ranks(engine, group, total, &s, after, x, y, done);
    } else {
        if (after != NULL)
            LT_TRY_GOTO(lt_wait(engine->comm, after), st, done);
        LT_TRY_GOTO(add_up(engine->comm, total, &s, x, y), st, done);
        if (done != NULL)
            LT_TRY_GOTO(lt_mark_event(engine->comm, done), st, done);
    }
done:
    sharing_free(&s);
    return st;
}

/* test_collective_memory.c - collectives of tensors take no memory once they run.
 * Goal: with what a dry run found reserved, not one allocation of ours, from the first collective
 * on. Method: the linker sends our calls of malloc, calloc, realloc and aligned_alloc by
 * count_allocations.h; a group of four ranks over a transport that moves nothing, so that
 * collectives alone are counted; the same calls on dry first. Ranks: 1. Needs: nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "parallel/collective/exchange.h"
#include "parallel/collective/ordered_reduce.h"
#include "parallel/transport/transport_impl.h"
#include "tests/support/count_allocations.h"

enum { RANKS = 4, RANK = 1, ROWS = 37, HEADS = 8, WIDTH = 16, TIMES = 20 };

static lt_status silent_exchange(lt_group *group, const lt_transfer *list, int count,
                                 const lt_host_call *call)
{
    (void)group, (void)list, (void)count, (void)call;
    return LT_OK;
}

static const lt_transport silent = {.name = "silent", .exchange = silent_exchange};

#define OK(expr) assert_int_equal((expr), LT_OK)

static lt_tensor tensor(lt_engine *e, int64_t rows, int64_t width)
{
    lt_tensor x;
    OK(lt_tensor_new(e->step, "x", LT_F32, &x, LT_DIMS(rows, width)));
    return x;
}

/* Each collective once. */
static void all(lt_engine *e, lt_group *group)
{
    const lt_mark mark = lt_arena_mark(e->step);
    const int64_t E = HEADS * WIDTH, mine = lt_share(ROWS, RANKS, RANK).count;
    lt_range rows[RANKS], heads[RANKS];
    int64_t counts[RANKS];
    for (int i = 0; i < RANKS; i++) {
        rows[i] = lt_share(ROWS, RANKS, i);
        heads[i] = lt_share(HEADS, RANKS, i);
        counts[i] = rows[i].count;
    }
    lt_tree_node node[LT_TREE_NODES_MAX];
    const int nodes = lt_tree_nodes(E, lt_chunks_of(RANKS, RANK), node);
    lt_tensor whole = tensor(e, ROWS, E), sums = tensor(e, ROWS, E), part = tensor(e, mine, E);
    lt_tensor by_heads = tensor(e, ROWS, heads[RANK].count * WIDTH);
    lt_tensor tree = tensor(e, ROWS, nodes * E);
    const lt_tensor narrow = lt_view_columns(&tree, (lt_range){0, E});
    lt_event done;
    OK(lt_all_reduce(e, group, NULL, &whole, &sums, &done));
    OK(lt_all_reduce(e, group, NULL, &narrow, &sums, &done));
    OK(lt_all_gather_rows(e, group, NULL, &part, counts, &whole, &done));
    OK(lt_all_to_all_heads(e, group, NULL, &part, rows, heads, WIDTH, &by_heads, &done));
    OK(lt_all_to_all_rows(e, group, NULL, &by_heads, rows, heads, WIDTH, &part, &done));
    OK(lt_ordered_reduce(e, group, E, NULL, &tree, &sums, &done));
    const lt_tensor_transfer list[] = {{.peer = 0, .send = part}, {.peer = 2, .recv = part}};
    OK(lt_exchange_tensors(e, group, "test", NULL, list, 2, &done));
    OK(lt_wait(e->compute, &done));
    lt_arena_release(e->step, mark);
}

static lt_status no_work(void *work, const lt_host_call *call)
{
    (void)work, (void)call;
    return LT_OK;
}

static void nothing_is_allocated(void **state)
{
    lt_group group = {.transport = &silent, .rank = RANK, .size = RANKS};
    lt_engine dry, cpu;
    (void)state;
    OK(lt_engine_open(&lt_backend_dry, 0, 1, NULL, 0, 1 << 22, &dry));
    all(&dry, &group);
    const lt_comm_need need = lt_engine_comm_need(&dry);
    lt_engine_close(&dry);
    assert_true(need.scratch_bytes > 0 && need.out_bytes > 0 && need.in_bytes > 0);

    OK(lt_engine_open(&lt_backend_cpu, 0, 1, NULL, 0, 1 << 22, &cpu));
    OK(lt_comm_memory_reserve(cpu.memory, &need)); /* as lt_engine_connect does */
    OK(lt_host(cpu.comm, no_work, NULL, 0));
    const lt_mark empty = lt_arena_mark(cpu.step);
    for (int i = 0; i < 8; i++) /* the arena's own list of what it holds has grown */
        (void)tensor(&cpu, 1, 1);
    lt_arena_release(cpu.step, empty);
    const int before = atomic_load(&counted);
    assert_true(before > 0); /* the counters are in place */
    for (int i = 0; i < TIMES; i++)
        all(&cpu, &group);
    assert_int_equal(atomic_load(&counted) - before, 0);
    assert_int_equal(lt_engine_comm_need(&cpu).scratch_bytes, need.scratch_bytes);
    lt_engine_close(&cpu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_is_allocated)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

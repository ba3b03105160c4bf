/* host_collectives.c - collectives of host memory, over exchange. */
#include "parallel/transport/host_collectives.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "parallel/transport/op_record.h"
#include "parallel/transport/transport_impl.h"

enum { FEW = 64 }; /* ranks without an allocation */

/* Where this rank is, for the line about a dead one. */
#define NAMED(name, group, expr)                                                                   \
    do {                                                                                           \
        lt_operation_begin(name, (group)->axis, NULL);                                             \
        const lt_status named_ = (expr);                                                           \
        lt_operation_end(NULL);                                                                    \
        return named_;                                                                             \
    } while (0)

static lt_status broadcast(lt_group *group, int root, void *data, size_t bytes)
{
    const int size = lt_group_size(group), rank = lt_group_rank(group);
    assert(root >= 0 && root < size);
    if (size == 1 || bytes == 0)
        return LT_OK;
    /* A binomial tree: round k doubles the ranks that hold the data. */
    const int me = (rank - root + size) % size;
    for (int span = 1; span < size; span *= 2) {
        lt_transfer move = {0};
        if (me < span && me + span < size) {
            move =
                (lt_transfer){.peer = (me + span + root) % size, .send = data, .send_bytes = bytes};
            LT_TRY(lt_exchange(group, &move, 1, NULL));
        } else if (me >= span && me < 2 * span) {
            move =
                (lt_transfer){.peer = (me - span + root) % size, .recv = data, .recv_bytes = bytes};
            LT_TRY(lt_exchange(group, &move, 1, NULL));
        }
    }
    return LT_OK;
}

lt_status lt_broadcast(lt_group *group, int root, void *data, size_t bytes)
{
    NAMED("broadcast", group, broadcast(group, root, data, bytes));
}

static lt_status barrier(lt_group *group)
{
    /* Dissemination: after ceil(log2 P) rounds a word of every rank has reached every other. */
    const int size = lt_group_size(group), rank = lt_group_rank(group);
    for (int span = 1; span < size; span *= 2) {
        char mine = 1, theirs = 0;
        const lt_transfer moves[2] = {
            {.peer = (rank + span) % size, .send = &mine, .send_bytes = 1},
            {.peer = (rank - span + size) % size, .recv = &theirs, .recv_bytes = 1}};
        LT_TRY(lt_exchange(group, moves, 2, NULL));
    }
    return LT_OK;
}

lt_status lt_barrier(lt_group *group) { NAMED("barrier", group, barrier(group)); }

static lt_status all_gather_host(lt_group *group, const void *mine, size_t bytes, void *all)
{
    const int size = lt_group_size(group), rank = lt_group_rank(group);
    if (bytes == 0)
        return LT_OK;
    memmove((char *)all + (size_t)rank * bytes, mine, bytes);
    if (size == 1)
        return LT_OK;
    lt_transfer few[FEW], *moves = size <= FEW ? few : calloc((size_t)size, sizeof *moves);
    if (moves == NULL)
        LT_FAIL(LT_ENOMEM, "gather: no memory for %d transfers", size);
    int count = 0;
    for (int step = 1; step < size; step++) {
        const int peer = (rank + step) % size;
        moves[count++] = (lt_transfer){peer, (char *)all + (size_t)rank * bytes, bytes,
                                       (char *)all + (size_t)peer * bytes, bytes};
    }
    const lt_status st = lt_exchange(group, moves, count, NULL);
    if (moves != few)
        free(moves);
    LT_TRY(st);
    return LT_OK;
}

lt_status lt_all_gather_host(lt_group *group, const void *mine, size_t bytes, void *all)
{
    NAMED("all_gather_host", group, all_gather_host(group, mine, bytes, all));
}

lt_status lt_all_gather_ranges(lt_group *group, void *whole, size_t row_bytes,
                               const lt_range *ranges)
{
    const int size = lt_group_size(group), rank = lt_group_rank(group);
    if (size == 1 || row_bytes == 0)
        return LT_OK;
    lt_transfer few[FEW], *moves = size <= FEW ? few : calloc((size_t)size, sizeof *moves);
    if (moves == NULL)
        LT_FAIL(LT_ENOMEM, "gather: no memory for %d transfers", size);
    int count = 0;
    for (int step = 1; step < size; step++) {
        const int peer = (rank + step) % size;
        moves[count++] = (lt_transfer){peer, (char *)whole + (size_t)ranges[rank].first * row_bytes,
                                       (size_t)ranges[rank].count * row_bytes,
                                       (char *)whole + (size_t)ranges[peer].first * row_bytes,
                                       (size_t)ranges[peer].count * row_bytes};
    }
    const lt_status st = lt_exchange(group, moves, count, NULL);
    if (moves != few)
        free(moves);
    LT_TRY(st);
    return LT_OK;
}

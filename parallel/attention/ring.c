/* ring.c - K and V travel the ring.
 * Source of the algorithm: ring attention (Liu, Zaharia, Abbeel 2023); the merge is the log-sum-exp
 * one.
 *
 *     step s: rank r has the block of rank r - s; it sends that block to r + 1, receives the block
 *             of r - s - 1 into the other of two buffers, and computes while both are under way
 *
 *     step      0        1        2        3
 *     compute   own      A        B        A
 *     send      own      A        B        -
 *     receive   into A   into B   into A   -
 *
 * The exchange of a ring step is queued on comm behind `computed`, the event of the step before:
 * the buffer that it fills was last read in that step, and sent from in the exchange before this
 * one. So it runs beside the step's compute, and the next step waits for it. A rank never
 * overwrites its own block. Blocks may differ in rows and may have none: then the message is empty
 * and the step has nothing to compute.
 *
 * Deterministic: ordered.h keeps what a block adds by chunks of keys and merges it along their
 * tree. Then the steps are made even if the ring has one rank. */
#include "parallel/attention/ring.h"

#include "parallel/attention/ordered.h"
#include "parallel/transport/traffic.h"

static lt_status buffers_new(lt_engine *engine, const lt_attention_share *share,
                             const lt_tensor *kv, lt_tensor other[2])
{
    const int size = lt_group_size(share->ring);
    int64_t largest = 0;
    for (int i = 0; i < size; i++)
        largest = share->blocks[i].count > largest ? share->blocks[i].count : largest;
    for (int i = 0; i < 2 && i < size - 1; i++)
        LT_TRY(lt_tensor_new(engine->step, "ring.kv", kv->dtype, &other[i],
                             LT_DIMS(2 * largest, lt_row_width(kv))));
    return LT_OK;
}

static lt_status ring_steps(lt_engine *engine, const lt_attention_share *share,
                            const lt_part_work *work, const lt_tensor *q, const lt_tensor *kv,
                            lt_partial *out)
{
    const int size = lt_group_size(share->ring), me = lt_group_rank(share->ring);
    const int next = (me + 1) % size, previous = (me + size - 1) % size;
    lt_tensor other[2] = {{0}, {0}}, now = *kv, coming = {0};
    lt_event computed, arrived = {NULL, 0};
    LT_TRY(buffers_new(engine, share, kv, other));
    for (int step = 0; step < size; step++) {
        lt_event arrives = {NULL, 0};
        if (step + 1 < size) {
            const int whose = (me - step - 1 + size) % size;
            coming = lt_view_outer(&other[step % 2], (lt_range){0, 2 * share->blocks[whose].count});
            const lt_tensor_transfer moves[2] = {{.peer = previous, .recv = coming},
                                                 {.peer = next, .send = now}};
            LT_TRY(lt_mark_event(engine->compute, &computed));
            LT_TRY(lt_exchange_tensors(engine, share->ring, "ring_attention", &computed, moves, 2,
                                       &arrives));
        }
        LT_TRY(lt_wait(engine->compute, &arrived));
        if (work->pool != NULL)
            LT_TRY(lt_ordered_attention_add(work, q, &now, (me - step + size) % size));
        else
            LT_TRY(lt_part_add(work, q, &now, out));
        arrived = arrives;
        now = coming;
    }
    return LT_OK;
}

lt_status lt_ring_attention(lt_engine *engine, const lt_attention_share *share, float scale,
                            const lt_tensor *q, const lt_tensor *kv, lt_partial *out)
{
    lt_part_work work = {.pool = NULL};
    LT_TRY(lt_part_work_new(engine, share, scale, lt_row_count(q), &work));
    if (share->ordered)
        LT_TRY(lt_ordered_attention_begin(&work, lt_row_count(q)));
    LT_TRY(ring_steps(engine, share, &work, q, kv, out));
    return share->ordered ? lt_ordered_attention_end(&work, out) : LT_OK;
}

void lt_ring_traffic(const lt_attention_share *share, lt_traffic *to)
{
    const int size = lt_group_size(share->ring), me = lt_group_rank(share->ring);
    const lt_range last = share->blocks[size - 1];
    const int64_t all = last.first + last.count;
    const uint64_t row =
        2 * (uint64_t)(lt_attention_heads(share) * share->width) * lt_dtype_bytes(share->act);
    to->sent_bytes += row * (uint64_t)(all - share->blocks[(me + 1) % size].count);
    to->received_bytes += row * (uint64_t)(all - share->blocks[me].count);
}

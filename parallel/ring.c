/* ring.c - K and V travel the ring.                                               Level 2: parallel
 * Source of the way: ring attention (Liu, Zaharia, Abbeel 2023); the merge is the log-sum-exp one.
 *
 *     turn t: rank r has the block of rank r - t; it sends it to r + 1 and receives that of r - t -
 * 1 into the other of two buffers, and computes while both are under way
 *
 *     turn      0        1        2        3
 *     compute   own      A        B        A
 *     send      own      A        B        -
 *     receive   into A   into B   into A   -
 *
 * A buffer is filled again two turns later: what was sent from it has left by then (the turn ends
 * with both messages), and what was computed from it lies before the event that the receipt waits
 * for. The own block is never overwritten. Blocks may differ in rows and may have none; then the
 * message is empty and the turn has nothing to compute.
 *
 * Deterministic: what a block adds is kept by leaves and joined along their tree, leaf_attention.h.
 * Then the ring is gone through even if it has one rank. */
#include "parallel/ring.h"

#include "parallel/leaf_attention.h"

enum { TAG_RING = 1, PARCEL_SEND = 0, PARCEL_RECEIVE = 1 };

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

static lt_status turns(lt_engine *engine, const lt_attention_share *share, const lt_part_work *work,
                       const lt_tensor *q, const lt_tensor *kv, lt_partial *out)
{
    const int size = lt_group_size(share->ring), me = lt_group_rank(share->ring);
    const int next = (me + 1) % size, previous = (me + size - 1) % size;
    lt_tensor other[2] = {{0}, {0}}, now = *kv, coming = {0};
    lt_event ready, computed;
    LT_TRY(buffers_new(engine, share, kv, other));
    LT_TRY(lt_mark_event(engine->compute, &ready));
    computed = ready; /* scratch just taken: its earlier readers are compute's */
    for (int turn = 0; turn < size; turn++) {
        const int more = turn + 1 < size;
        if (more) {
            const int whose = (me - turn - 1 + size) % size;
            coming = lt_view_outer(&other[turn % 2], (lt_range){0, 2 * share->blocks[whose].count});
            LT_TRY(lt_courier_receive(work->courier, PARCEL_RECEIVE, previous, TAG_RING, &coming,
                                      &computed));
            LT_TRY(lt_courier_send(work->courier, PARCEL_SEND, next, TAG_RING, &now, &ready));
        }
        LT_TRY(lt_wait(engine->compute, &ready));
        if (work->stash != NULL)
            LT_TRY(lt_leaf_attention_add(work, q, &now, (me - turn + size) % size));
        else
            LT_TRY(lt_part_add(work, q, &now, out));
        LT_TRY(lt_mark_event(engine->compute, &computed));
        if (more) {
            LT_TRY(lt_courier_wait(work->courier, PARCEL_RECEIVE));
            LT_TRY(lt_courier_wait(work->courier, PARCEL_SEND));
            LT_TRY(lt_mark_event(engine->comm, &ready));
            now = coming;
        }
    }
    return LT_OK;
}

lt_status lt_ring_attention(lt_engine *engine, const lt_attention_share *share, float scale,
                            const lt_tensor *q, const lt_tensor *kv, lt_partial *out)
{
    lt_courier courier;
    lt_part_work work = {.stash = NULL};
    LT_TRY(lt_courier_open(engine, share->ring, 2, &courier));
    lt_status st = LT_OK;
    LT_TRY_GOTO(lt_part_work_new(share, &courier, scale, lt_row_count(q), &work), st, done);
    if (share->leaves)
        LT_TRY_GOTO(lt_leaf_attention_begin(&work, lt_row_count(q)), st, done);
    LT_TRY_GOTO(turns(engine, share, &work, q, kv, out), st, done);
    if (share->leaves)
        LT_TRY_GOTO(lt_leaf_attention_end(&work, out), st, done);
done:
    lt_leaf_attention_free(&work);
    const lt_status closed = lt_courier_close(&courier);
    return st != LT_OK ? st : closed;
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

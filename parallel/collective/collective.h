/* collective.h - collectives of tensors, by what they mean.
 *
 * They move tensors of an engine: each is queued on its comm queue, where it waits for `after`,
 * moves the data, and marks `done`, on which the consumer's queue waits (lt_wait). That is all of
 * overlap: on the CPU a thread runs the comm queue (kernels/cpu/comm_thread.h) while the main
 * thread computes (docs/design.md 4). All groups share the queue, and ranks queue alike, so they
 * cannot deadlock. On a backend without host access the data goes through staging buffers. A group
 * of one rank moves nothing (or copies). Sums are added in rank order, so that the same mesh always
 * gives the same bits. Tested: tests/ranks/test_comm_device.c, tests/unit/test_collective_memory.c,
 * test_comm_solo.c. */
#ifndef LT_COLLECTIVE_H
#define LT_COLLECTIVE_H

#include "kernels/kernels.h"
#include "parallel/shard.h"
#include "parallel/transport/transport.h"

/* Collective on group, Queued on comm; `after` and `done` may be NULL. What y held before may be
 * overwritten once `after` has passed, so `after` must be marked behind the last op that reads y; x
 * must stay until `done`. A host collective over the same group must not begin before what is
 * queued on it is done. Errors: LT_ENOMEM (staging buffers, scratch), the backend's; the
 * transport's come out of the waits. */
typedef struct lt_engine lt_engine;

/* y [sum of counts, E] = the ranks' x [counts[r], E] one after the other; equal dtypes. x may be my
 * part of y itself. counts [size], the same on all ranks. */
lt_status lt_all_gather_rows(lt_engine *engine, lt_group *group, const lt_event *after,
                             const lt_tensor *x, const int64_t *counts, lt_tensor *y,
                             lt_event *done);
/* All-reduce: y = round(sum over ranks of x, in rank order); x f32 [S, E], y [S, E] act, the same
 * bits on every rank. Of few elements in one exchange (lt_all_reduce_is_small), of more in two.
 * Scratch of the engine: size * E * S floats of few, else * lt_share(S, size, rank).count. */
lt_status lt_all_reduce(lt_engine *engine, lt_group *group, const lt_event *after,
                        const lt_tensor *x, lt_tensor *y, lt_event *done);
/* Does an all-reduce of so many elements send all of them to every rank? Else each rank gets its
 * share of rows from all, and the sums go around. */
int lt_all_reduce_is_small(int size, int64_t elements);
/* Ulysses. Before, sequence-sharded: my rows, all heads: x [S/P, N*D]. After, head-sharded: all
 * rows, my heads: y [S, N/P*D].
 * rows[r], heads[r]: the ranks' ranges (ascending, maybe empty), the same on all ranks; those of
 * rows are contiguous from 0, between those of heads there may be heads that are left out. width is
 * D. x may be a view of columns; equal dtypes. */
lt_status lt_all_to_all_heads(lt_engine *engine, lt_group *group, const lt_event *after,
                              const lt_tensor *x, const lt_range *rows, const lt_range *heads,
                              int64_t width, lt_tensor *y, lt_event *done);
/* The same for several tensors (q, k, v) in one exchange: one message a tensor and peer, all at
 * once. */
enum { LT_ALL_TO_ALL_MAX = 4 };
lt_status lt_all_to_all_heads_each(lt_engine *engine, lt_group *group, const lt_event *after,
                                   const lt_tensor *const *x, int tensors, const lt_range *rows,
                                   const lt_range *heads, int64_t width, lt_tensor *const *y,
                                   lt_event *done);
/* The way back: x [S, N/P*D] -> y [S/P, N*D]. Heads that are left out stay as they were in y. */
lt_status lt_all_to_all_rows(lt_engine *engine, lt_group *group, const lt_event *after,
                             const lt_tensor *x, const lt_range *rows, const lt_range *heads,
                             int64_t width, lt_tensor *y, lt_event *done);

/* Tensors to and from peers, all at once: dense, any dtype; ndim 0 or no elements: nothing in that
 * direction. Each named peer makes the matching call; several transfers with one peer meet in the
 * order of the lists. name is a literal, for messages and traces. */
typedef struct lt_tensor_transfer {
    int peer; /* another rank of group */
    lt_tensor send, recv;
} lt_tensor_transfer;
lt_status lt_exchange_tensors(lt_engine *engine, lt_group *group, const char *name,
                              const lt_event *after, const lt_tensor_transfer *list, int count,
                              lt_event *done);

#endif

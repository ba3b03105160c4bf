/* comm_task.h - how a device collective reaches the comm queue; for comm_device.c and sum_tree.c
 * only.                                                                          Level 2: parallel
 * A collective is, in this order on comm: a wait for `after`, copies down to the host where the CPU
 * cannot read the device, one task for the host (copies, an exchange, copies), copies up, `done`.
 * All memory that it needs belongs to the engine and is used by one collective after the other, in
 * the queue's own order; it grows, for which the queue is drained. */
#ifndef LT_COMM_TASK_H
#define LT_COMM_TASK_H

#include "parallel/engine.h"

/* For the engine. */
lt_status lt_comm_room_new(lt_comm_room **out);
void lt_comm_room_free(lt_comm_room **room); /* after the queues have run to their ends */
size_t lt_comm_room_device_bytes(const lt_comm_room *room);
size_t lt_comm_room_host_bytes(const lt_comm_room *room);

/* A matrix as the CPU sees it: in place or staged. On dry an address that nobody follows. */
typedef struct lt_host_view {
    char *data;
    size_t pitch; /* bytes from one row to the next */
} lt_host_view;

/* Rows of some bytes each, from one place to another; the same place: nothing. */
typedef struct lt_block_copy {
    char *to;
    const char *from;
    size_t to_pitch, from_pitch, bytes;
    int64_t rows;
} lt_block_copy;

/* One exchange with the copies around it. Fixed lists, filled by the maker. */
typedef struct lt_comm_task {
    const char *name; /* a literal */
    lt_group *group;
    lt_transfer *move;          /* [moves] */
    lt_block_copy *before;      /* [befores] */
    lt_block_copy *after;       /* [afters] */
    int moves, befores, afters; /* how many of each so far */
    int layer;                  /* that it was made in, for traces */
} lt_comm_task;

/* Room for so many transfers, copies before and copies after them. Local. Errors: LT_ENOMEM. */
lt_status lt_comm_task_new(const char *name, lt_group *group, int moves, int befores, int afters,
                           lt_comm_task **out);
/* Queue it; on dry only count its traffic. Takes the task, also when it fails. */
lt_status lt_comm_task_queue(lt_engine *engine, lt_comm_task *task);

int lt_comm_is_dry(const lt_engine *engine);

/* Make comm wait for `after` (NULL: nothing) and x readable behind it; dense: as one block, else
 * any pitch will do. at: bytes of the staging that others of the same collective use already;
 * moved on by what this takes; total: what all of them will take. */
lt_status lt_comm_readable(lt_engine *engine, const lt_event *after, const lt_tensor *x, int dense,
                           size_t total, size_t *at, lt_host_view *out);
/* Where the CPU may write y's elements; `written` uploads them if that was not y itself. */
lt_status lt_comm_writable(lt_engine *engine, const lt_tensor *y, int dense, size_t total,
                           size_t *at, lt_host_view *out);
lt_status lt_comm_written(lt_engine *engine, const lt_tensor *y, const lt_host_view *from);
/* So many bytes of host memory to pack blocks in. */
lt_status lt_comm_blocks(lt_engine *engine, size_t bytes, char **out);
/* f32 device scratch of these dims for ops on comm, until the next call. On dry it counts. */
lt_status lt_comm_scratch(lt_engine *engine, lt_dims dims, lt_tensor *out);
size_t lt_dense_pitch(const lt_tensor *x);

#endif

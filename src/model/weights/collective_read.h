/* collective_read.h - ranks that load one part together, each row of a matrix read once.
 *
 * Under tp a layer whose inputs are split needs some columns of every row: read by each rank, that
 * is a read of some kilobytes a row, ten thousand of them a layer. Here the ranks of the group read
 * rows instead, whole and many at a time, each rank its share, and exchange columns: every byte is
 * read once over the group, in large reads.
 *
 * A loading is thus a sequence of collectives on the group, and a rank may fail between any two of
 * them. So each begins with an agreement, and so does the loading's end, to which a rank that
 * failed goes at once: its failure meets its peers' next step, whichever that is.
 *
 *     lt_loading l = lt_loading_new(tp);
 *     lt_status st = load_all(..., &l);         lt_columns_read(&l, ...), as often as needed
 *     st = lt_loading_end(&l, st);
 *     LT_TRY(lt_agree(world, st));              more ranks than the group's: they learn it too
 *
 * Tested: tests/ranks/test_loading.c. */
#ifndef LT_LOADING_H
#define LT_LOADING_H

#include "model/files/checkpoint.h"
#include "parallel/shard.h"
#include "parallel/transport/transport.h"

typedef struct lt_loading {
    lt_group *group; /* borrowed */
    int over;        /* a step failed somewhere: no more collectives */
} lt_loading;

/* Local. */
lt_loading lt_loading_new(lt_group *group);
/* All ranks of the group come here, whatever became of them. Returns mine, or LT_EPEER where only
 * another rank failed. Collective on the group, Blocking. */
lt_status lt_loading_end(lt_loading *loading, lt_status mine);
/* These columns (maybe none) of all rows of a tensor seen as [dim0, the rest], dense, as
 * lt_checkpoint_read gives them; each rank of the group names its own. Collective on the group,
 * Blocking. Errors: as lt_checkpoint_read, and LT_EPEER; on one rank, then on all. */
lt_status lt_columns_read(lt_loading *loading, lt_checkpoint *checkpoint, const char *name,
                          lt_dims dims, lt_range columns, lt_dtype want, void *to);
/* Host memory that it takes at most while it runs. Local. */
int64_t lt_columns_bytes(lt_dims dims, lt_dtype want);
/* The rows that this rank reads for it. Local. */
lt_range lt_columns_rows(const lt_loading *loading, lt_dims dims);

#endif

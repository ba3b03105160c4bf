/* agree.h - all ranks learn whether one of them failed.
 *
 * A rank does not return from between collectives while its peers wait in one: what may differ by
 * rank is agreed on first, and each step ends in an agreement. Tested: tests/ranks/test_comm.c. */
#ifndef LT_AGREE_H
#define LT_AGREE_H

#include "parallel/transport/transport.h"

/* Every rank brings its own status. All LT_OK: LT_OK. Else the failed ranks get their own status
 * back and the others LT_EPEER; error text and hint are everywhere those of the lowest failed rank
 * (which keeps its trace), so that rank 0 can print them. A rank's own failure outranks any
 * LT_EPEER, which only passes on the result of an agreement of fewer ranks and so never hides the
 * cause. Takes no memory. Collective on group, Blocking. */
lt_status lt_agree(lt_group *group, lt_status mine);
/* Did the last lt_agree end in a failure that all ranks of the world know of? Then *original is the
 * status of the lowest failed rank and rank 0 may print for all; else each failing rank prints its
 * own. An agreement of fewer ranks than the world's is no such failure: agree once more on the
 * world. Local. */
int lt_agreed_failure(lt_status *original);
/* Bytes of unknown length from root: on other ranks *data is malloc'ed (a NUL is put behind them),
 * and the caller frees them; after an error *data is as before. Ends in an agreement, so that all
 * ranks learn of one without memory. Collective on group, Blocking. */
lt_status lt_broadcast_text(lt_group *group, int root, char **data, size_t *bytes);

#endif

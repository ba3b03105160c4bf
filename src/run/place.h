/* place.h - which processors a rank may use.                                      Level 4: run */
#ifndef LT_PLACE_H
#define LT_PLACE_H

#include "parallel/transport.h"

/* Share this host's processors among its ranks and bind this process to its share (mpirun pins two
 * ranks to one core each and more to none, which fits threads badly). asked 0: as many threads as
 * processors in the share. Collective on world, Blocking.
 * local_ranks: ranks on this host. Errors: LT_EPEER. */
lt_status lt_place(lt_group *world, int asked, int *threads, int *local_ranks);

#endif

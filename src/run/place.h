/* place.h - which processors a rank may use, and what is said of where ranks are.  Level 4: run */
#ifndef LT_PLACE_H
#define LT_PLACE_H

#include "parallel/mesh.h"

/* Share this host's processors among its ranks and bind this process to its share (mpirun pins two
 * ranks to one core each and more to none, which fits threads badly). asked 0: as many threads as
 * processors in the share. Collective on world, Blocking.
 * local_ranks: ranks on this host. Errors: LT_EPEER. */
lt_status lt_place(lt_group *world, int asked, int *threads, int *local_ranks);

/* Warn, once, of the DiT's tp and uly groups that have members on several nodes, and of ranks that
 * have nothing to do while a clip of one window without guidance is denoised. Local. Errors:
 * LT_ENOMEM. */
lt_status lt_place_warn_dit(const lt_mesh *mesh);
/* The same of the decoding mesh, for a film of so many items, where tp > 1: groups that cross
 * nodes, ranks of groups that get no item. Local. Errors: LT_ENOMEM. */
lt_status lt_place_warn_decode(const lt_mesh *mesh, int64_t items);
/* Ascending ranks in words, "rank 3" or "ranks 0 to 3, 6"; what has no room ends in "...". Local.
 */
const char *lt_place_ranks(const int *ranks, int count, char *out, size_t bytes);

#endif

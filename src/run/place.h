/* place.h - which processors a rank may use, and what is said of where ranks are. */
#ifndef LT_PLACE_H
#define LT_PLACE_H

#include "parallel/mesh.h"

/* Where this rank is and what it has there. */
typedef struct lt_placed {
    int threads;                 /* that its kernels may use */
    int local_rank, local_ranks; /* its number on this host; of how many */
} lt_placed;

/* Share the processors that this process was given with the ranks of its host that were given the
 * same, and bind it to its part; under an MPI launcher they are those of the launcher itself
 * (place.c). asked 0: as many threads as processors in the part, less where a CPU quota,
 * OMP_NUM_THREADS or SLURM_CPUS_PER_TASK says so (processors.h). Collective on world, Blocking.
 * Errors: LT_EPEER, LT_ENOMEM. */
lt_status lt_place(lt_group *world, int asked, lt_placed *out);

/* Warn, once, of the DiT's tp and uly groups that have members on several nodes, and of ranks that
 * have nothing to do while a clip of one window without guidance is denoised. Local. Errors:
 * LT_ENOMEM. */
lt_status lt_place_warn_dit(const lt_mesh *mesh);
/* The same of the decoding mesh, for a film of so many chunks, where tp > 1: groups that cross
 * nodes, ranks of groups that get no chunk. Local. Errors: LT_ENOMEM. */
lt_status lt_place_warn_decode(const lt_mesh *mesh, int64_t chunks);
/* Ascending ranks in words, "rank 3" or "ranks 0 to 3, 6"; what has no room ends in "...". Local.
 */
const char *lt_place_ranks(const int *ranks, int count, char *out, size_t bytes);

#endif

/* launcher.h - what started this process, as its environment tells.
 *
 * Launchers tell a process its number and how many there are in variables of their own, before and
 * without MPI. Compared with the world that MPI gives (group.c), they show a launcher and an
 * MPI that do not know each other: each process would be a world of its own, and all would render
 * the same film into the same folder.
 * All functions are Local and never fail. Tested: tests/unit/test_launcher.c. */
#ifndef LT_LAUNCHER_H
#define LT_LAUNCHER_H

#include <stddef.h>

#include "base/status.h"

typedef struct lt_launcher {
    const char *name; /* "mpirun", "srun", ...; NULL: started by hand */
    int rank, size;   /* size 0: it does not say */
    int speaks_mpi;   /* it leaves what MPI needs to find the others */
} lt_launcher;

/* The innermost launcher comes first: an mpirun that srun started counts its own processes. A batch
 * script's shell, which Slurm gives the job's count too, is no launched process. */
lt_launcher lt_launcher_find(void);
/* Whether this process speaks for all of its launch where no world is opened: rank 0, or whom no
 * MPI launcher started (srun's tasks without MPI are programs of their own). */
int lt_launcher_speaks(void);

/* A world of so many ranks. Errors: LT_EUNAVAIL (more were started) with both counts, and the
 * remedy. */
lt_status lt_launcher_check(int world_size);

/* Processes of this host that were started beside this one and will never be ranks, in words:
 * "rank 1 is another program (sleep, process 123)", "rank 2 has ended". "" where nothing can be
 * told. Reads /proc. */
const char *lt_launcher_absent(char *out, size_t bytes);

#endif

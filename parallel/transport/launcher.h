/* launcher.h - what started this process, by its environment.
 *
 * Launchers give a process its number and the number of all in variables of their own, before and
 * without MPI. Compared with the world that MPI gives (group.c), they show a launcher and an MPI
 * that do not know each other: then each process would be a world of its own, and all would render
 * the same film into the same folder.
 * All functions are Local and never fail. Tested: tests/unit/test_launcher.c. */
#ifndef LT_LAUNCHER_H
#define LT_LAUNCHER_H

#include <stddef.h>

#include "base/status.h"

typedef struct lt_launcher {
    const char *name; /* "mpirun", "srun", ...; NULL: started by hand */
    int rank, size;   /* size 0: not known */
    int has_mpi;      /* its environment holds what MPI needs to find the others */
} lt_launcher;

/* The innermost launcher comes first: an mpirun that srun started counts its own processes. A batch
 * script's shell, which Slurm gives the job's count too, is no launched process. */
lt_launcher lt_launcher_find(void);
/* Does this process print for all of its launch where no world is opened? Rank 0 does, and a
 * process that no MPI launcher started (srun's tasks without MPI are programs of their own). */
int lt_launcher_prints(void);

/* A world of so many ranks. Errors: LT_EUNAVAIL (more were started) with both counts, and the
 * remedy. */
lt_status lt_launcher_check(int world_size);

/* Processes of this host that were started beside this one and will never be ranks, in words:
 * "rank 1 is another program (sleep, process 123)", "rank 2 has ended". "" where nothing is
 * known. Reads /proc. */
const char *lt_launcher_absent(char *out, size_t bytes);

#endif

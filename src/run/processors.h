/* processors.h - how many processors this process was given.
 * Local, never fail. Tested: tests/unit/test_processors.c. */
#ifndef LT_PROCESSORS_H
#define LT_PROCESSORS_H

#include <stdint.h>

/* Thousandths of processors that the control groups (cpu.max, or cpu.cfs_quota_us) of all levels
 * leave this process, in the file system under root ("" for the machine's); -1: no quota. */
int64_t lt_processor_quota_under(const char *root);

/* Threads of one process of `here` on this host that share so many processors, `mine` of them this
 * one's: the least of its share, of its part of the quota (-1: none), and of what OMP_NUM_THREADS
 * and SLURM_CPUS_PER_TASK say (texts, NULL: nothing; no whole number above 0: nothing). At least 1.
 * *why: what decided, "its processors", or a limit's name. */
int lt_processor_threads(int mine, int here, int64_t quota, const char *omp, const char *slurm,
                         const char **why);

#endif

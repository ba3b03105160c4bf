/* same_reads.h - did all ranks read the same bytes?
 *
 * Copies of a model on several hosts are compared by names, sizes and heads before work
 * (source.h); a stretch that differs further behind would give other numbers without a word. So
 * every rank hashes each slice that it reads, while the bytes are in the cache, and where ranks
 * meet anyway the hashes of equal slices are compared. A slice that one rank alone reads (its part
 * of a layer that tp splits) has nothing to be compared with.
 *
 * Off but between lt_source_share and lt_source_end of more than one rank. Main thread only.
 * Tested: tests/film/test_loading_film.c. */
#ifndef LT_SAME_READS_H
#define LT_SAME_READS_H

#include "parallel/transport/transport.h"

/* Local. Turned off, it forgets what was noted. */
void lt_same_reads_set(int on);
int lt_same_reads_is_on(void);

/* A slice was read: key tells which, the same on all ranks, value is its hash; file and name are
 * for messages. Local. Errors: LT_ENOMEM. */
lt_status lt_same_reads_add(uint64_t key, uint64_t value, const char *file, const char *name);

/* Compare what was noted since the last time, and forget it. Collective on world, Blocking; nothing
 * where it is off. Errors: LT_EDATA on all ranks, naming rank, host, file and tensor; LT_ENOMEM. */
lt_status lt_same_reads_check(lt_group *world);

#endif

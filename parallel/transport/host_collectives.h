/* host_collectives.h - collectives of host memory: job, plan, latents.
 * All are Collective on group and Blocking; a group of one rank moves nothing. Errors: the
 * transport's. Tested: tests/ranks/test_comm.c. */
#ifndef LT_HOST_COLLECTIVES_H
#define LT_HOST_COLLECTIVES_H

#include "parallel/shard.h"
#include "parallel/transport/transport.h"

lt_status lt_broadcast(lt_group *group, int root, void *data, size_t bytes);
lt_status lt_barrier(lt_group *group);
/* all[rank * bytes .. ] = each rank's mine. */
lt_status lt_all_gather_host(lt_group *group, const void *mine, size_t bytes, void *all);
/* Ranges of rows of one host array, row_bytes each: every rank holds whole[ranges[rank]] and gets
 * the rest. ranges [size], disjoint, maybe empty, the same on all ranks. */
lt_status lt_all_gather_ranges(lt_group *group, void *whole, size_t row_bytes,
                               const lt_range *ranges);

#endif

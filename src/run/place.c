/* place.c - which processors a rank may use.                                      Level 4: run
 * A mask that a launcher set is widened first: the kernel cuts "all" down to what the job's cpuset
 * allows, so a container's or Slurm's limits hold. */
#include "run/place.h"

#include <sched.h>
#include <string.h>

#include "base/log.h"
#include "parallel/shard.h"

lt_status lt_place(lt_group *world, int asked, int *threads, int *local_ranks)
{
    int local_rank = 0;
    LT_TRY(lt_group_local(world, &local_rank, local_ranks));
    cpu_set_t all, mine;
    memset(&all, 0xff, sizeof all);
    (void)sched_setaffinity(0, sizeof all, &all);
    CPU_ZERO(&all);
    if (sched_getaffinity(0, sizeof all, &all) != 0) {
        *threads = asked > 0 ? asked : 1;
        return LT_OK;
    }
    const int count = CPU_COUNT(&all);
    const lt_range share = lt_share(count, *local_ranks, local_rank);
    if (share.count > 0 && *local_ranks > 1) {
        CPU_ZERO(&mine);
        int index = 0;
        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
            if (!CPU_ISSET((size_t)cpu, &all))
                continue;
            if (index >= share.first && index < share.first + share.count && count >= *local_ranks)
                CPU_SET((size_t)cpu, &mine);
            index++;
        }
        if (count >= *local_ranks)
            (void)sched_setaffinity(0, sizeof mine, &mine);
    }
    *threads = asked > 0 ? asked : share.count > 0 ? (int)share.count : 1;
    lt_log(2, "place", "%d of %d processors, %d threads", (int)share.count, count, *threads);
    return LT_OK;
}

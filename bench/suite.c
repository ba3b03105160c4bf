/* suite.c - what the suites of `longtake bench` share. */
#include "bench/suite.h"

#include <assert.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/log.h"
#include "base/resident.h"
#include "parallel/nodes.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"
#include "run/place.h"

/* All that the job's cpuset allows, whatever a launcher bound this rank to (place.c widens the mask
 * in the same way and narrows it again). */
static int processors(void)
{
    cpu_set_t all;
    memset(&all, 0xff, sizeof all);
    (void)sched_setaffinity(0, sizeof all, &all);
    CPU_ZERO(&all);
    return sched_getaffinity(0, sizeof all, &all) == 0 ? CPU_COUNT(&all) : 1;
}

/* How many hosts, and their names for people. */
static lt_status name_hosts(lt_bench *b)
{
    lt_nodes nodes = {0};
    LT_TRY(lt_group_nodes(b->world, &nodes));
    b->hosts = nodes.count;
    for (int i = 0; i < nodes.count; i++) {
        const size_t used = strlen(b->host_names);
        (void)snprintf(b->host_names + used, sizeof b->host_names - used, "%s%s", i > 0 ? ", " : "",
                       nodes.name[i]);
    }
    lt_nodes_free(&nodes);
    return LT_OK;
}

lt_status lt_bench_open(const lt_job *job, lt_group *world, lt_bench *out)
{
    const int size = lt_group_size(world), cores = processors();
    lt_placed placed;
    *out = (lt_bench){.world = world, .job = job, .timed = 1};
    LT_TRY(lt_place(world, (int)job->threads, &placed));
    const int local_ranks = placed.local_ranks;
    out->threads = placed.threads;
    int *fits = calloc((size_t)size, sizeof *fits);
    lt_status st = LT_OK;
    if (fits == NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "bench: no memory for %d ranks", size);
    st = lt_agree(world, st);
    const int mine = local_ranks <= cores;
    if (st == LT_OK)
        st = lt_all_gather_host(world, &mine, sizeof mine, fits);
    assert(fits != NULL || st != LT_OK);
    for (int i = 0; st == LT_OK && i < size; i++)
        out->timed &= fits[i];
    free(fits);
    LT_TRY(st);
    LT_TRY(name_hosts(out));
    out->one_host = local_ranks == size;
    out->ends_at = job->budget_s;
    if (!out->timed)
        lt_log0(1, "bench", "%d ranks on %d processors: nothing is timed", local_ranks, cores);
    return LT_OK;
}

lt_status lt_bench_row(lt_bench *bench, json_t *row, int64_t wrong)
{
    bench->wrong += wrong;
    if (lt_group_rank(bench->world) != 0)
        return LT_OK;
    if (row == NULL || json_object_set_new(row, "hosts", json_integer(bench->hosts)) != 0 ||
        json_object_set_new(row, "wrong", json_integer(wrong)) != 0) {
        json_decref(row);
        LT_FAIL(LT_ENOMEM, "bench: no memory for a row");
    }
    bench->row(bench->ctx, row);
    json_decref(row);
    return LT_OK;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double lt_bench_median(double *values, int count)
{
    if (count < 1)
        return NAN;
    qsort(values, (size_t)count, sizeof *values, ascending);
    return count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

lt_status lt_bench_slowest(lt_group *group, const double *seconds, int rounds, double *median)
{
    const int size = lt_group_size(group);
    *median = NAN;
    if (rounds < 1)
        return LT_OK;
    double *all = calloc((size_t)size * (size_t)rounds, sizeof *all);
    if (all == NULL)
        LT_FAIL(LT_ENOMEM, "bench: no memory for %d times", rounds);
    const lt_status st = lt_all_gather_host(group, seconds, (size_t)rounds * sizeof *all, all);
    for (int i = 0; st == LT_OK && i < rounds; i++)
        for (int r = 1; r < size; r++)
            all[i] = fmax(all[i], all[r * rounds + i]);
    *median = st == LT_OK ? lt_bench_median(all, rounds) : NAN;
    free(all);
    LT_TRY(st);
    return LT_OK;
}

lt_status lt_bench_rounds(lt_group *group, double once_s, double share_s, int most, int *rounds)
{
    const double fit = share_s / fmax(once_s, 1e-7);
    *rounds = fit >= (double)most ? most : fit >= 1.0 ? (int)fit : 1;
    LT_TRY(lt_broadcast(group, 0, rounds, sizeof *rounds));
    return LT_OK;
}

lt_status lt_bench_may_time(const lt_bench *bench, int *go)
{
    *go = bench->timed && lt_seconds() < bench->ends_at;
    LT_TRY(lt_broadcast(bench->world, 0, go, sizeof *go));
    return LT_OK;
}

double lt_bench_worse(double a, double b) { return isnan(a) || a > b ? a : b; }

int lt_bench_is_noise(double exposed, double hidden, double overlap)
{
    return !(exposed >= 0 && hidden >= 0 && overlap >= 0 && overlap <= 1);
}

json_t *lt_bench_real(double value) { return isfinite(value) ? json_real(value) : json_null(); }

uint32_t lt_bench_hash(uint32_t what, int64_t row, int64_t column)
{
    uint32_t h = what * 0x9e3779b1u + (uint32_t)row * 0x85ebca77u + (uint32_t)column * 0xc2b2ae3du;
    h ^= h >> 15;
    h *= 0x2c1b3c6du; /* Wellons' lowbias32, its two multipliers */
    h ^= h >> 12;
    h *= 0x297a2d39u;
    return (h ^ (h >> 15)) >> 8;
}

size_t lt_bench_arena_bytes(void)
{
    const size_t most = (size_t)1 << 36;
    const int64_t used = lt_resident_now().addresses;
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return most;
    const int64_t left = limit.rlim_cur > (rlim_t)used ? (int64_t)limit.rlim_cur - used : 0;
    return (size_t)left / 4 < most ? (size_t)left / 4 : most;
}

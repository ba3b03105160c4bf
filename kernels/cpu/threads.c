/* threads.c - how many threads, and the memory that each works in.                 Level 1: kernels */
#include <assert.h>
#include <stdlib.h>

#include "kernels/cpu/cpu.h"

enum { ALIGN = 64, THREADS_MAX = 1024 };

/* Waking a team costs about 5 microseconds, some 20,000 vector steps (bench/LOG.md). */
#define TEAM_COST 20000.0

static int thread_count = 1;
static struct {
    void *part[THREADS_MAX];
    size_t bytes[THREADS_MAX];
    void *shared;
    size_t shared_bytes;
} scratch;

int lt_cpu_threads(void) { return thread_count; }

void lt_cpu_threads_set(int threads)
{
    assert(threads >= 1 && threads <= THREADS_MAX);
    thread_count = threads;
}

static lt_status grow(void **p, size_t *have, size_t bytes)
{
    if (*have >= bytes)
        return LT_OK;
    const size_t rounded = (bytes + 4095) / 4096 * 4096;
    void *fresh = rounded < bytes ? NULL : aligned_alloc(ALIGN, rounded);
    if (fresh == NULL)
        LT_FAIL(LT_ENOMEM, "cpu: no memory for %zu bytes of kernel scratch", bytes);
    free(*p);
    *p = fresh;
    *have = rounded;
    return LT_OK;
}

lt_status lt_cpu_scratch_reserve(size_t bytes)
{
    for (int t = 0; t < thread_count; t++)
        LT_TRY(grow(&scratch.part[t], &scratch.bytes[t], bytes));
    return LT_OK;
}

void *lt_cpu_scratch_get(int thread)
{
    assert(thread >= 0 && thread < thread_count);
    return scratch.part[thread];
}

lt_status lt_cpu_shared_reserve(size_t bytes, void **out)
{
    LT_TRY(grow(&scratch.shared, &scratch.shared_bytes, bytes));
    *out = scratch.shared;
    return LT_OK;
}

void lt_cpu_scratch_free(void)
{
    for (int t = 0; t < THREADS_MAX; t++) {
        free(scratch.part[t]);
        scratch.part[t] = NULL;
        scratch.bytes[t] = 0;
    }
    free(scratch.shared);
    scratch.shared = NULL;
    scratch.shared_bytes = 0;
}

int lt_cpu_team(int64_t tasks, double cost)
{
    if (tasks < 2 || (double)tasks * cost < TEAM_COST)
        return 1;
    return tasks < thread_count ? (int)tasks : thread_count;
}

/* count_allocations.h - counts our calls of malloc, calloc, realloc and aligned_alloc.
 * The test is linked with --wrap for each of them (tests/CMakeLists.txt), so that calls of the core
 * come by here; libraries (MPI, OpenMP) keep their own. */
#ifndef LT_TEST_COUNT_ALLOCATIONS_H
#define LT_TEST_COUNT_ALLOCATIONS_H

#include <stdatomic.h>
#include <stddef.h>

static atomic_int counted;

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_aligned_alloc(size_t align, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_aligned_alloc(size_t align, size_t bytes);

void *__wrap_malloc(size_t bytes)
{
    atomic_fetch_add(&counted, 1);
    return __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    atomic_fetch_add(&counted, 1);
    return __real_calloc(count, bytes);
}

void *__wrap_realloc(void *old, size_t bytes)
{
    atomic_fetch_add(&counted, 1);
    return __real_realloc(old, bytes);
}

void *__wrap_aligned_alloc(size_t align, size_t bytes)
{
    atomic_fetch_add(&counted, 1);
    return __real_aligned_alloc(align, bytes);
}

#endif

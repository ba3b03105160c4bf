/* ranks.h - what the tests under mpirun share: the world, a voice, groups of every size.
 * For the one file of each program. Functions are Collective on the world where they say so. */
#ifndef LT_TEST_RANKS_H
#define LT_TEST_RANKS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "parallel/comm.h"

enum { RANKS_MAX = 16 };

static lt_group *world;
static FILE
    *voice; /* stderr; cmocka's own is silenced on ranks above 0, so that one rank reports */

/* A rank that fails alone would leave the others waiting: it ends the job. */
static inline void stop(const char *what, const char *why, int line)
{
    fprintf(voice, "rank %d: line %d: %s: %s\n", lt_group_rank(world), line, what, why);
    fflush(voice);
    lt_world_abort(1);
    fail();
}
#define OK(expr)                                                                                   \
    do {                                                                                           \
        if ((expr) != LT_OK)                                                                       \
            stop(#expr, lt_error_text(), __LINE__);                                                \
    } while (0)
#define WANT(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            stop("wanted", #condition, __LINE__);                                                  \
    } while (0)

/* ---- groups: sizes 1..P; the second order tells group ranks from world ranks ---- */

static inline lt_group *group_of(int size, int reversed)
{
    lt_group *group = NULL;
    int list[RANKS_MAX];
    const int ranks = lt_group_size(world);
    for (int i = 0; i < size; i++)
        list[i] = reversed ? ranks - 1 - i : i;
    OK(lt_group_split(world, list, size, &group));
    int at = -1;
    for (int i = 0; i < size; i++)
        if (list[i] == lt_group_rank(world))
            at = i;
    WANT((group != NULL) == (at >= 0));
    if (group != NULL) {
        WANT(lt_group_rank(group) == at && lt_group_size(group) == size);
        WANT(strcmp(lt_group_transport(group), lt_group_transport(world)) == 0);
    }
    return group;
}

static inline void on_all_groups(void (*check)(lt_group *group))
{
    for (int size = 1; size <= lt_group_size(world); size++)
        for (int reversed = 0; reversed < 2; reversed++) {
            lt_group *group = group_of(size, reversed);
            if (group != NULL)
                check(group);
            lt_group_free(&group);
            OK(lt_barrier(world));
        }
}

/* Any even spread will do: Numerical Recipes' generator, over the coordinates. */
static inline uint32_t hash(int64_t a, int64_t b, int64_t c)
{
    uint32_t h = (uint32_t)(a * 7919 + b * 104729 + c * 1299709 + 17);
    for (int i = 0; i < 3; i++)
        h = (h ^ (h >> 13)) * 1664525u + 1013904223u;
    return h;
}

/* 0, or what main shall return. Collective on the world. */
static inline int ranks_open(void)
{
    if (lt_world_open(&world) != LT_OK || lt_group_size(world) > RANKS_MAX) {
        lt_error_print(stderr, 1);
        return 1;
    }
    voice = fdopen(dup(STDERR_FILENO), "w");
    if (!voice || (lt_group_rank(world) > 0 &&
                   (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr))))
        return 1;
    return 0;
}

static inline void ranks_close(void)
{
    lt_world_close(&world);
    fclose(voice);
}

#endif

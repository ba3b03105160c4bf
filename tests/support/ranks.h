/* ranks.h - what the tests under mpirun share: the world, a voice, groups of every size, meshes.
 * For the one file of each program. Functions are Collective on the world where they say so. */
#ifndef LT_TEST_RANKS_H
#define LT_TEST_RANKS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "parallel/mesh.h"
#include "parallel/transport/host_collectives.h"
#include "parallel/transport/transport.h"
#include "parallel/world.h"
#include "tests/support/distance.h"

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

/* good, or the job ends with what was found of this mesh and what was allowed. */
static inline void want(int good, const char *mesh, const char *what, double found, double allowed)
{
    char text[256];
    (void)snprintf(text, sizeof text, "%s: found %.3g, allowed %.3g", what, found, allowed);
    if (!good)
        stop(mesh, text, __LINE__);
}

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

/* Every rank by itself; the caller frees. Collective on the world. */
static inline lt_group *group_of_one(void)
{
    lt_group *self = NULL;
    for (int i = 0; i < lt_group_size(world); i++) {
        lt_group *one = NULL;
        OK(lt_group_split(world, &i, 1, &one));
        self = one != NULL ? one : self;
    }
    return self;
}

/* The first ranks of the world as this mesh; NULL: too few, or I am not in it. Collective on the
 * world. */
static inline lt_group *mesh_group(const char *text, lt_mesh_spec *spec)
{
    OK(lt_mesh_parse(text, spec));
    const int size = lt_mesh_ranks(spec);
    return size <= lt_group_size(world) ? group_of(size, 0) : NULL;
}

/* Open a mesh of the first ranks and let them check; the others wait. One with too many ranks is
 * left out. Collective on the world. */
static inline void on_mesh(const char *text, void (*check)(const lt_mesh *mesh, void *ctx),
                           void *ctx)
{
    lt_mesh_spec spec;
    lt_mesh mesh;
    lt_group *group = mesh_group(text, &spec);
    if (group != NULL) {
        OK(lt_mesh_open(group, &spec, &mesh));
        check(&mesh, ctx);
        lt_mesh_close(&mesh);
        lt_group_free(&group);
    }
    OK(lt_barrier(world));
}

/* All ranks of the group hold the same bits. Collective on it. */
static inline void same_on_all(lt_group *group, const char *mesh, const char *what,
                               const float *mine, int64_t count)
{
    const size_t bytes = (size_t)count * sizeof *mine;
    float *first = malloc(bytes + 1);
    WANT(first != NULL);
    memcpy(first, mine, bytes);
    OK(lt_broadcast(group, 0, first, bytes));
    want(memcmp(first, mine, bytes) == 0, mesh, what, 1, 0);
    free(first);
}

/* Any even spread will do: Numerical Recipes' generator, over the coordinates. */
static inline uint32_t hash(int64_t a, int64_t b, int64_t c)
{
    uint32_t h = (uint32_t)(a * 7919 + b * 104729 + c * 1299709 + 17);
    for (int i = 0; i < 3; i++)
        h = (h ^ (h >> 13)) * 1664525u + 1013904223u;
    return h;
}

/* count values in [-1, 1), the caller's to free. */
static inline float *spread(int64_t count, int64_t seed)
{
    float *x = calloc((size_t)count + 1, sizeof *x);
    WANT(x != NULL);
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)(hash(i, seed, 0) >> 8) / 8388608.0f - 1.0f;
    return x;
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

/* alone.h - a world and a mesh of one rank, as the fixture of a group of tests.
 *     cmocka_run_group_tests_name("h3_dit", tests, alone_setup, alone_teardown) */
#ifndef LT_TEST_ALONE_H
#define LT_TEST_ALONE_H

#include "parallel/mesh.h"
#include "parallel/world.h"
#include "tests/support/check.h"

static lt_group *world;
static lt_mesh mesh;

static inline int alone_setup(void **state)
{
    (void)state;
    OK(lt_world_open(&world));
    OK(lt_mesh_open(world, &(lt_mesh_spec){{1, 1, 1, 1, 1}}, &mesh));
    return 0;
}

static inline int alone_teardown(void **state)
{
    (void)state;
    lt_mesh_close(&mesh);
    lt_world_close(&world);
    return world == NULL ? 0 : -1;
}

#endif

/* test_placement_ranks.c - meshes over ranks that say they are on different nodes.
 * Goal: lt_group_nodes numbers nodes the same on every rank; a mesh's groups hold the ranks that
 * the placement names, in the order of their coordinates, and tp groups lie inside a node where
 * they can. Method: LONGTAKE_NODE set by each rank; world ranks are gathered over each axis. Ranks:
 * as launched (4 in ctest; any number up to 16). Needs: nothing. */
#include <stdlib.h>

#include "parallel/mesh.h"
#include "parallel/transport/host_collectives.h"
#include "tests/support/ranks.h"

/* Which node rank r says it is on. */
static int round_robin(int rank) { return rank % 2; }
static int last_alone(int rank) { return rank == lt_group_size(world) - 1; }
static int all_different(int rank) { return rank; }
static int all_one(int rank) { return rank * 0; }
static int backwards(int rank) { return (lt_group_size(world) - 1 - rank) / 2; }

static const struct {
    const char *name;
    int (*node)(int rank);
} kinds[] = {{"round robin", round_robin},
             {"the last rank alone", last_alone},
             {"all different", all_different},
             {"all one", all_one},
             {"two and two, odd ones first", backwards}};

static void say_node(int node)
{
    char text[16];
    (void)snprintf(text, sizeof text, "rack%d", node);
    WANT(setenv("LONGTAKE_NODE", text, 1) == 0);
}

static void check_nodes(int (*node)(int rank))
{
    lt_nodes nodes;
    OK(lt_group_nodes(world, &nodes));
    WANT(nodes.ranks == lt_group_size(world) && nodes.of_rank[0] == 0);
    for (int a = 0, known = 0; a < nodes.ranks; a++) {
        char text[16];
        (void)snprintf(text, sizeof text, "rack%d", node(a));
        WANT(strcmp(nodes.name[nodes.of_rank[a]], text) == 0);
        WANT(nodes.of_rank[a] <= known); /* in the order of lowest ranks */
        known += nodes.of_rank[a] == known;
        for (int b = 0; b < a; b++)
            WANT((nodes.of_rank[a] == nodes.of_rank[b]) == (node(a) == node(b)));
        if (a + 1 == nodes.ranks)
            WANT(nodes.count == known);
    }
    lt_nodes_free(&nodes);
}

/* Each axis' group holds the world ranks of the positions that differ in its digit, ascending. */
static void check_groups(const lt_mesh *mesh)
{
    int me = lt_group_rank(world), who[RANKS_MAX], stride = 1;
    WANT(mesh->rank_at[0] == 0 && mesh->rank_at[mesh->position] == me);
    for (int axis = LT_AXIS_COUNT - 1; axis >= 0; axis--) {
        const int size = mesh->spec.size[axis];
        WANT(lt_group_size(mesh->axis[axis]) == size);
        WANT(lt_group_rank(mesh->axis[axis]) == mesh->at[axis]);
        OK(lt_all_gather_host(mesh->axis[axis], &me, sizeof me, who));
        for (int i = 0; i < size; i++)
            WANT(who[i] == mesh->rank_at[mesh->position + (i - mesh->at[axis]) * stride]);
        stride *= size;
    }
    OK(lt_all_gather_host(mesh->tokens, &me, sizeof me, who));
    const int tp = mesh->spec.size[LT_AXIS_TP], tokens = lt_group_size(mesh->tokens);
    const int first = mesh->position / (tp * tokens) * (tp * tokens) + mesh->at[LT_AXIS_TP];
    for (int i = 0; i < tokens; i++)
        WANT(who[i] == mesh->rank_at[first + i * tp]);
}

static void meshes(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "tp=2",        "uly=2,tp=2", "ring=2,tp=2",       "ring=2,uly=2",
        "win=2,cfg=2", "tp=4",       "ring=2,uly=2,tp=2", "uly=3,tp=2"};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        say_node(kinds[k].node(lt_group_rank(world)));
        check_nodes(kinds[k].node);
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
            for (int mode = 0; mode < 2; mode++) {
                lt_mesh_spec spec;
                lt_mesh mesh;
                OK(lt_mesh_parse(texts[i], &spec));
                if (lt_mesh_ranks(&spec) != lt_group_size(world))
                    continue;
                OK(lt_mesh_open_placed(world, &spec, (lt_placement_mode)mode, &mesh));
                check_groups(&mesh);
                for (int p = 0; mode == LT_PLACEMENT_RANKS && p < lt_group_size(world); p++)
                    WANT(mesh.rank_at[p] == p);
                lt_mesh_close(&mesh);
            }
    }
}

/* By name: what two hosts under mpirun --map-by node give. */
static void a_host_keeps_its_tp_group(void **state)
{
    (void)state;
    if (lt_group_size(world) != 4)
        skip();
    say_node(round_robin(lt_group_rank(world)));
    for (int mode = 0; mode < 2; mode++) {
        lt_mesh mesh;
        int me = lt_group_rank(world), who[2];
        OK(lt_mesh_open_placed(world, &(lt_mesh_spec){{1, 1, 2, 1, 2}}, (lt_placement_mode)mode,
                               &mesh));
        OK(lt_all_gather_host(mesh.axis[LT_AXIS_TP], &me, sizeof me, who));
        const int first = mode == LT_PLACEMENT_NODES ? me % 2 : me / 2 * 2;
        WANT(who[0] == first && who[1] == first + (mode == LT_PLACEMENT_NODES ? 2 : 1));
        lt_mesh_close(&mesh);
    }
}

/* One rank's text is too long: it says so, the others learn of it, and nothing is open. */
static void a_long_name_is_refused(void **state)
{
    (void)state;
    char text[LT_NODE_TEXT_BYTES + 1];
    lt_mesh mesh;
    const int last = lt_group_size(world) - 1, me = lt_group_rank(world);
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    WANT(setenv("LONGTAKE_NODE", me == last ? text : "rack", 1) == 0);
    const lt_mesh_spec spec = {{1, 1, 1, last + 1, 1}};
    WANT(lt_mesh_open(world, &spec, &mesh) == (me == last ? LT_EUSAGE : LT_EPEER));
    WANT(strstr(lt_error_text(), "LONGTAKE_NODE") != NULL);
    WANT(strstr(lt_error_text(), "want at most 63 bytes, found 64") != NULL);
    WANT(mesh.axis[0] == NULL && mesh.rank_at == NULL && mesh.nodes.of_rank == NULL);
    lt_error_clear();
    text[LT_NODE_TEXT_BYTES - 1] = '\0'; /* 63 bytes are well */
    WANT(setenv("LONGTAKE_NODE", text, 1) == 0);
    OK(lt_mesh_open(world, &spec, &mesh));
    WANT(mesh.nodes.count == 1 && strcmp(mesh.nodes.name[0], text) == 0);
    lt_mesh_close(&mesh);
}

/* Without the variable a node is a host: who has this host's name is on it. */
static void a_host_is_a_node(void **state)
{
    (void)state;
    lt_nodes nodes;
    lt_host_id here;
    WANT(unsetenv("LONGTAKE_NODE") == 0);
    lt_host_me(&here);
    OK(lt_group_nodes(world, &nodes));
    WANT(strcmp(nodes.name[nodes.of_rank[lt_group_rank(world)]], here.name) == 0);
    WANT(nodes.count == 1); /* this test's ranks are on one */
    lt_nodes_free(&nodes);
    WANT(setenv("LONGTAKE_NODE", here.name, 1) == 0); /* a host's name as a text is another node */
    if (lt_group_rank(world) > 0)
        WANT(unsetenv("LONGTAKE_NODE") == 0);
    OK(lt_group_nodes(world, &nodes));
    WANT(nodes.count == (lt_group_size(world) > 1 ? 2 : 1));
    lt_nodes_free(&nodes);
    (void)unsetenv("LONGTAKE_NODE");
}

int main(void)
{
    if (ranks_open() != 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(meshes),
        cmocka_unit_test(a_host_keeps_its_tp_group),
        cmocka_unit_test(a_long_name_is_refused),
        cmocka_unit_test(a_host_is_a_node),
    };
    const int failed = cmocka_run_group_tests_name("placement_ranks", tests, NULL, NULL);
    ranks_close();
    return failed;
}

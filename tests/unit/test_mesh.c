/* test_mesh.c - mesh specs as text, coordinates, and the mesh of one rank.
 * Goal: every word is taken or refused by name; coordinates are the digits that mesh.h promises.
 * Method: a table of texts; all small meshes counted through. Meshes of several ranks are in
 * tests/ranks/test_comm.c. Ranks: 1. Needs: nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "parallel/mesh.h"
#include "parallel/transport/transport_impl.h"

static const struct {
    const char *text;
    int size[LT_AXIS_COUNT];
} good[] = {
    {"win=2,cfg=3,ring=4,uly=5,tp=6", {2, 3, 4, 5, 6}},
    {"tp=6,uly=5,ring=4,cfg=3,win=2", {2, 3, 4, 5, 6}}, /* any order */
    {"uly=4", {1, 1, 1, 4, 1}},                         /* the rest is 1 */
    {"win=1,tp=1", {1, 1, 1, 1, 1}},
    {"win=65536", {65536, 1, 1, 1, 1}}, /* the largest */
    {"win=256,tp=256", {256, 1, 1, 1, 256}},
    {"ring=007", {1, 1, 7, 1, 1}}, /* decimal, whatever it begins with */
};

static const struct {
    const char *text, *says; /* part of the message */
} bad[] = {
    {"", "found ''"},
    {",", "found ''"},
    {"tp=2,", "found ''"},
    {"win=2,,tp=2", "found ''"},
    {"tp", "found 'tp'"},
    {"tp=", "found 'tp='"},
    {"=2", "found '=2'"},
    {"TP=2", "found 'TP=2'"},
    {"pp=2", "found 'pp=2'"},
    {"tpx=2", "found 'tpx=2'"},
    {" tp=2", "found ' tp=2'"},
    {"auto", "found 'auto'"}, /* the planner's word, resolved before */
    {"tp=0", "tp: want 1 to 65536, found '0'"},
    {"tp=-1", "found '-1'"},
    {"tp=+2", "found '+2'"},
    {"tp= 2", "found ' 2'"},
    {"tp=2x", "found '2x'"},
    {"tp=0x2", "found '0x2'"},
    {"tp=2.0", "found '2.0'"},
    {"tp=65537", "found '65537'"},
    {"tp=99999999999999999999999", "found '99999999999999999999999'"},
    {"uly=2,tp=2,uly=2", "uly stands twice"},
    {"win=65536,tp=2", "at most 65536 ranks"},
    {"win=65536,cfg=65536,ring=65536,uly=65536,tp=65536", "at most 65536 ranks"},
};

static void takes_good_texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        lt_mesh_spec spec, again;
        char text[64];
        if (lt_mesh_parse(good[i].text, &spec) != LT_OK)
            fail_msg("%s: %s", good[i].text, lt_error_text());
        assert_memory_equal(spec.size, good[i].size, sizeof spec.size);
        assert_int_equal(lt_mesh_parse(lt_mesh_text(&spec, text, sizeof text), &again), LT_OK);
        assert_memory_equal(&spec, &again, sizeof spec);
    }
}

static void refuses_bad_texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        lt_mesh_spec spec;
        lt_error_clear();
        const lt_status st = lt_mesh_parse(bad[i].text, &spec);
        if (st != LT_EUSAGE || strstr(lt_error_text(), bad[i].says) == NULL ||
            strstr(lt_error_text(), "--mesh") == NULL)
            fail_msg("'%s': want LT_EUSAGE with \"%s\", found %s: %s", bad[i].text, bad[i].says,
                     lt_status_name(st), lt_error_text());
    }
}

/* position = (((win*CFG + cfg)*RING + ring)*ULY + uly)*TP + tp */
static void coordinates_count_up(void **state)
{
    (void)state;
    lt_mesh_spec m;
    for (int code = 0; code < 243; code++) { /* all meshes with axes of 1 to 3 */
        for (int axis = 0, left = code; axis < LT_AXIS_COUNT; axis++, left /= 3)
            m.size[axis] = 1 + left % 3;
        for (int position = 0; position < lt_mesh_ranks(&m); position++) {
            int at[LT_AXIS_COUNT];
            lt_mesh_coordinates(&m, position, at);
            for (int axis = 0; axis < LT_AXIS_COUNT; axis++)
                assert_in_range(at[axis], 0, m.size[axis] - 1);
            const int back =
                (((at[LT_AXIS_WIN] * m.size[LT_AXIS_CFG] + at[LT_AXIS_CFG]) * m.size[LT_AXIS_RING] +
                  at[LT_AXIS_RING]) *
                     m.size[LT_AXIS_ULY] +
                 at[LT_AXIS_ULY]) *
                    m.size[LT_AXIS_TP] +
                at[LT_AXIS_TP];
            assert_int_equal(back, position);
        }
    }
}

static void one_rank(void **state)
{
    (void)state;
    lt_group *world;
    lt_mesh mesh;
    lt_mesh_spec spec;
    assert_int_equal(lt_solo_open(&world), LT_OK);
    assert_int_equal(lt_mesh_parse("tp=1", &spec), LT_OK);
    assert_int_equal(lt_mesh_open(world, &spec, &mesh), LT_OK);
    for (int axis = 0; axis < LT_AXIS_COUNT; axis++) {
        assert_int_equal(lt_group_size(mesh.axis[axis]), 1);
        assert_int_equal(mesh.at[axis], 0);
    }
    assert_int_equal(lt_group_size(mesh.tokens), 1);
    assert_int_equal(mesh.position, 0);
    assert_int_equal(mesh.rank_at[0], 0);
    assert_int_equal(mesh.nodes.count, 1);
    lt_mesh_close(&mesh);
    lt_mesh_close(&mesh); /* twice is allowed: all groups are NULL */
    assert_int_equal(lt_mesh_parse("uly=2,tp=2", &spec), LT_OK);
    assert_int_equal(lt_mesh_open(world, &spec, &mesh), LT_EUSAGE);
    assert_non_null(strstr(lt_error_text(), "impossible mesh: wants 4 ranks, found 1"));
    assert_non_null(strstr(lt_hint_text(), "uly=1"));
    lt_mesh_close(&mesh);
    lt_group_free(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_good_texts),
        cmocka_unit_test(refuses_bad_texts),
        cmocka_unit_test(coordinates_count_up),
        cmocka_unit_test(one_rank),
    };
    return cmocka_run_group_tests_name("mesh", tests, NULL, NULL);
}

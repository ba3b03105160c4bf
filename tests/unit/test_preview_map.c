/* test_preview_map.c - the map from latents to colours: where its points lie, what it refuses.
 * Goal: a row's weights reach the point and colour that they are for, products of degree 2 count
 * once, a damaged longtake.json is refused with file, field, wanted and found. Method: maps of a
 * few numbers by hand. Ranks: 1. Needs: nothing. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "model/preview_map.h"
#include "tests/support/check.h"

static lt_status read_map(const char *text, lt_preview_map **out)
{
    json_t *json = NULL;
    OK(lt_json_parse(text, strlen(text), "m.json", &json));
    const lt_json_at at = lt_json_root(json, "m.json");
    const lt_status st = lt_preview_map_read(&at, out);
    json_decref(json);
    return st;
}

/* Scale 2, one channel: each of the 12 rows has a weight of its own. */
static void points_are_in_their_places(void **state)
{
    (void)state;
    lt_preview_map *map = NULL;
    OK(read_map("{\"scale\": 2, \"channels\": 1, \"rows\": [[1,0],[2,0],[3,0],[4,0],[5,0],[6,0],"
                "[7,0],[8,0],[9,0],[10,0],[11,0],[12,100]]}",
                &map));
    const float latent[2] = {1, 10}; /* h 1, w 2 */
    float rgb[3][2][4];
    lt_preview_map_apply(map, latent, 1, 2, &rgb[0][0][0]);
    for (int colour = 0; colour < 3; colour++)
        for (int y = 0; y < 2; y++)
            for (int x = 0; x < 4; x++) {
                const int row = 3 * (2 * y + x % 2) + colour;
                const float want = latent[x / 2] * (float)(row + 1) + (row == 11 ? 100 : 0);
                assert_true(rgb[colour][y][x] == want);
            }
    lt_preview_map_free(&map);
    lt_preview_map_free(&map);
}

/* Degree 2 of two channels: a, b, aa, ab, bb, 1. */
static void products_count_once(void **state)
{
    (void)state;
    lt_preview_map *map = NULL;
    assert_int_equal(lt_preview_terms(2, 2), 6);
    assert_int_equal(lt_preview_terms(24, 1), 25);
    OK(read_map("{\"scale\": 1, \"channels\": 2, \"degree\": 2, \"rows\": [[1,10,100,1000,10000,5],"
                "[0,0,0,1,0,0],[0,0,0,0,0,7]]}",
                &map));
    const float latent[2][2] = {{2, -1}, {3, 0.5f}}; /* [C, w] */
    float rgb[3][2];
    lt_preview_map_apply(map, &latent[0][0], 1, 2, &rgb[0][0]);
    assert_true(rgb[0][0] == 2 + 30 + 400 + 6000 + 90000 + 5);
    assert_true(rgb[1][0] == 6 && rgb[1][1] == -0.5f && rgb[2][0] == 7 && rgb[2][1] == 7);
    lt_preview_map_free(&map);
}

static void others_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"{\"channels\": 1, \"rows\": []}", "m.json: scale"},
        {"{\"scale\": 17, \"channels\": 1, \"rows\": []}", "scale: want an integer from 1 to 16"},
        {"{\"scale\": 1, \"channels\": 0, \"rows\": []}",
         "channels: want an integer from 1 to 1024"},
        {"{\"scale\": 1, \"channels\": 1, \"degree\": 3, \"rows\": []}",
         "degree: want an integer from 1 to 2"},
        {"{\"scale\": 1, \"channels\": 65, \"degree\": 2, \"rows\": []}",
         "want at most 2145 weights"},
        {"{\"scale\": 1, \"channels\": 1, \"rows\": [[1,0],[1,0]]}",
         "m.json: rows: want a list of 3 rows, found 2"},
        {"{\"scale\": 1, \"channels\": 1, \"rows\": [[1,0],[1],[1,0]]}",
         "m.json: rows[1]: want a list of 2 numbers, found 1"},
        {"{\"scale\": 1, \"channels\": 1, \"rows\": [[1,0],[1,\"x\"],[1,0]]}",
         "rows[1][1]: want a number"},
        {"{\"scale\": 1, \"channels\": 1, \"rows\": [[1e300,0],[1,1],[1,0]]}",
         "rows[0][0]: want a number"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lt_preview_map *map = NULL;
        lt_error_clear();
        const lt_status st = read_map(cases[i].text, &map);
        if (st != LT_EDATA || strstr(lt_error_text(), cases[i].says) == NULL)
            fail_msg("%s: want \"%s\", found %s", cases[i].text, cases[i].says, lt_error_text());
        lt_preview_map_free(&map);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(points_are_in_their_places),
        cmocka_unit_test(products_count_once),
        cmocka_unit_test(others_are_refused),
    };
    return cmocka_run_group_tests_name("preview_map", tests, NULL, NULL);
}

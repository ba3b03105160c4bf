/* test_bench.c - the suites of `longtake bench` on 4 ranks.
 * Goal: every suite gives the rows that its arguments ask for, none of them wrong, with bytes equal
 * to the closed forms and differences within 1e-5; a transport that spoils one bit is found out.
 * Method: suites run in this process, untimed (4 ranks share two cores here), rank 0 keeps the
 * rows. Ranks: as launched; the counts of rows are those of 4. Needs: models/demo. */
#include "tests/support/ranks.h"

#include <stdlib.h>

#include "base/log.h"
#include "bench/suite.h"
#include "parallel/transport/transport_impl.h"

static json_t *rows; /* rank 0's, of the last run */

static void keep(void *ctx, const json_t *row)
{
    (void)ctx;
    WANT(json_array_append_new(rows, json_deep_copy(row)) == 0);
}

static int deterministic; /* of the next run */

/* *wrong is what the suite counted. */
static void run_suite(const lt_bench_suite *suite, double budget_s, int64_t *wrong)
{
    const lt_job job = {.model = LT_SOURCE_DIR "/models/demo",
                        .budget_s = budget_s,
                        .threads = 1,
                        .deterministic = deterministic};
    lt_bench bench;
    OK(lt_bench_open(&job, world, &bench));
    bench.timed = 0;
    bench.ends_at = lt_seconds() + budget_s;
    bench.row = keep;
    json_decref(rows);
    rows = json_array();
    OK(suite->run(&bench));
    *wrong = bench.wrong;
}

static int64_t number(const json_t *row, const char *key)
{
    const json_t *value = json_object_get(row, key);
    WANT(json_is_integer(value));
    return json_integer_value(value);
}

static const char *text(const json_t *row, const char *key)
{
    const char *value = json_string_value(json_object_get(row, key));
    WANT(value != NULL);
    return value;
}

static int alone(void) { return lt_group_size(world) == 1; }
static int is_root(void) { return lt_group_rank(world) == 0; }

static const char *const collectives[] = {
    "barrier",           "agree",           "broadcast",        "all_gather_host",
    "all_gather_ranges", "all_gather_rows", "sum_partials",     "all_to_all_heads",
    "all_to_all_rows",   "exchange_pair",   "exchange_tensors", "ring_pass"};
enum { COLLECTIVES = sizeof collectives / sizeof *collectives };

/* Rows and wrong words of one collective. */
static void tally(const char *name, int64_t *count, int64_t *wrong)
{
    const json_t *row;
    size_t i;
    *count = *wrong = 0;
    json_array_foreach (rows, i, row) {
        if (strcmp(text(row, "collective"), name) != 0)
            continue;
        ++*count;
        *wrong += number(row, "wrong");
        WANT(number(row, "bytes") == 4 * number(row, "count"));
        WANT(json_is_null(json_object_get(row, "time_us"))); /* not timed: null, not 0 */
    }
}

static void comm_moves_the_right_words(void **state)
{
    (void)state;
    int64_t all_wrong, count, wrong;
    run_suite(&lt_bench_comm, 2.0, &all_wrong);
    WANT(all_wrong == 0);
    for (int i = 0; is_root() && i < COLLECTIVES; i++) {
        tally(collectives[i], &count, &wrong);
        WANT(wrong == 0);
        /* 8 B to 32 KB always; what is larger, as far as the time goes */
        WANT(i < 2 ? count == 1 : count >= 5 || (i >= COLLECTIVES - 2 && alone()));
    }
}

/* The real transport, but for one bit of every message of at least 64 bytes that rank 0 gets. */
static const lt_transport *honest;

static lt_status spoil(lt_group *group, const lt_transfer *list, int count,
                       const lt_host_call *call)
{
    OK(honest->exchange(group, list, count, call));
    for (int i = 0; i < count; i++)
        if (group->rank == 0 && list[i].recv_bytes >= 64)
            ((unsigned char *)list[i].recv)[5] ^= 1u;
    return LT_OK;
}

static void comm_finds_a_spoilt_bit(void **state)
{
    (void)state;
    int64_t all_wrong, count, wrong;
    if (alone())
        skip(); /* no message to spoil */
    lt_transport spoilt = *world->transport;
    honest = world->transport;
    spoilt.exchange = spoil;
    world->transport = &spoilt;
    run_suite(&lt_bench_comm, 1.0, &all_wrong);
    world->transport = honest;
    WANT(all_wrong > 0); /* known to all ranks */
    for (int i = 0; is_root() && i < COLLECTIVES; i++) {
        tally(collectives[i], &count, &wrong);
        /* rank 0 is broadcast's root and gets nothing; ring_pass makes requests, no exchange */
        const int spared = i < 3 || i == COLLECTIVES - 1;
        WANT(spared ? wrong == 0 : wrong > 0);
    }
}

static void attention_moves_what_it_must(void **state)
{
    (void)state;
    int64_t wrong;
    size_t i;
    const json_t *row;
    run_suite(&lt_bench_attention, 1.0, &wrong);
    WANT(wrong == 0);
    if (!is_root() || lt_group_size(world) != 4)
        return;
    /* ring=4: ring, 4x1, 2x2, 1x4; ring=2,uly=2: ring, 2x1, 1x2; uly=4 */
    WANT(json_array_size(rows) == 8);
    json_array_foreach (rows, i, row) {
        WANT(number(row, "wrong") == 0);
        WANT(number(row, "bytes") > 0 && number(row, "bytes") == number(row, "formula"));
        WANT(json_real_value(json_object_get(row, "diff")) <= 1e-5);
    }
    /* each of 1,021 rows is passed on three times: K and V, 8 heads of 64, f32 */
    WANT(number(json_array_get(rows, 0), "bytes") == 3 * 1021 * 2 * 512 * 4);
}

static void meshes_agree(void **state)
{
    (void)state;
    int64_t wrong;
    size_t i;
    const json_t *row;
    run_suite(&lt_bench_mesh, 1.0, &wrong);
    WANT(wrong == 0);
    if (!is_root() || lt_group_size(world) != 4)
        return;
    WANT(json_array_size(rows) == 19); /* of up to four ranks */
    json_array_foreach (rows, i, row) {
        WANT(number(row, "wrong") == 0);
        WANT(number(row, "bytes") == number(row, "formula"));
        WANT(json_real_value(json_object_get(row, "diff")) <= 1e-5);
    }
    /* tp=2: of 199 rows each rank sends the other's half of its partial sums and the other way
     * round its sums, 192 wide, twice in each of 8 layers */
    WANT(strcmp(text(json_array_get(rows, 1), "mesh"), "tp=2") == 0);
    WANT(number(json_array_get(rows, 1), "bytes") == 2 * 8 * 2 * 199 * 192 * 4);
}

/* Any difference counts as wrong then; shares and bytes are those of chunks. */
static void meshes_agree_to_the_bit(void **state)
{
    (void)state;
    int64_t wrong;
    size_t i;
    const json_t *row;
    deterministic = 1;
    run_suite(&lt_bench_mesh, 1.0, &wrong);
    deterministic = 0;
    WANT(wrong == 0);
    json_array_foreach (rows, i, row) {
        WANT(number(row, "bytes") == number(row, "formula"));
        WANT(json_real_value(json_object_get(row, "diff")) == 0.0);
    }
}

/* The same latents in every pass; times are another matter. */
static void long_films_come_out_again(void **state)
{
    (void)state;
    int64_t wrong;
    size_t i;
    const json_t *row;
    run_suite(&lt_bench_long, 0.1, &wrong);
    WANT(wrong == 0);
    if (!is_root())
        return;
    WANT(json_array_size(rows) == 2);
    json_array_foreach (rows, i, row) {
        WANT(number(row, "wrong") == 0);
        WANT(number(row, "windows") == 28 && number(row, "rounds") >= 1);
    }
    WANT(strcmp(text(json_array_get(rows, 0), "mode"), "windows") == 0);
    WANT(strcmp(text(json_array_get(rows, 1), "mode"), "extend") == 0);
}

int main(void)
{
    const int failed_open = ranks_open();
    if (failed_open != 0)
        return failed_open;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comm_moves_the_right_words),   cmocka_unit_test(comm_finds_a_spoilt_bit),
        cmocka_unit_test(attention_moves_what_it_must), cmocka_unit_test(meshes_agree),
        cmocka_unit_test(meshes_agree_to_the_bit),      cmocka_unit_test(long_films_come_out_again),
    };
    const int failed = cmocka_run_group_tests_name("bench", tests, NULL, NULL);
    json_decref(rows);
    ranks_close();
    return failed;
}

/* test_loading.c - what each rank reads of a part that several load together.
 * Goal: columns that are read as rows and exchanged are those that a rank would read alone, for any
 * shares; each byte is read once over the group; a rank that fails anywhere between the steps is
 * known to all, with its words. Rank r of tp=4 reads at most 27 % of a DiT: of the released model
 * too, by the same dry run (25.5 % at most: a quarter of the blocks, 13 of 51 modulation
 * layers, and 0.1 % that is whole everywhere). Method: files made here; groups of every size of the
 * world. Ranks: as launched. Needs: room for a sparse file of 66 GB, else that case is left out. */
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"
#include "tests/support/ranks.h"

#include <math.h>

#include "model/h3/dit.h"
#include "model/h3/names.h"
#include "model/weights/collective_read.h"
#include "tests/support/dit_files.h"

static scratch s;

/* The same folder on all ranks, which are of one host. */
static int setup(void **state)
{
    (void)state;
    if (lt_group_rank(world) == 0)
        scratch_new(&s);
    OK(lt_broadcast(world, 0, s.folder, sizeof s.folder));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    OK(lt_barrier(world));
    if (lt_group_rank(world) == 0)
        scratch_free(&s);
    return 0;
}

/* ---- columns ---- */

/* Small integers: held exactly by bf16. */
static float value_at(int64_t row, int64_t column)
{
    return (float)(hash(row, column, 0) % 251) - 125.0f;
}

static void write_matrix(const char *name, int64_t rows, int64_t width, lt_dtype dtype,
                         int64_t nan_row)
{
    if (lt_group_rank(world) == 0) {
        const size_t element = lt_dtype_bytes(dtype);
        char *data = malloc((size_t)(rows * width) * element);
        WANT(data != NULL);
        for (int64_t i = 0; i < rows; i++)
            for (int64_t k = 0; k < width; k++) {
                const float x = i == nan_row && k == 1 ? NAN : value_at(i, k);
                lt_convert(&x, LT_F32, data + (size_t)(i * width + k) * element, dtype, 1);
            }
        const lt_tensor t = lt_tensor_wrap(data, "w", dtype, LT_DIMS(rows, width));
        OK(lt_safetensors_write(scratch_path(&s, name), &t, 1, LT_REPLACE));
        free(data);
    }
    OK(lt_barrier(world));
}

static const struct {
    const char *name; /* why */
    int64_t rows, width, units, unit;
    lt_dtype stored, want;
} shapes[] = {
    {"small, odd", 37, 51, 51, 1, LT_F32, LT_F32},
    {"3 heads: a rank of 4 has none", 29, 48, 3, 16, LT_BF16, LT_BF16},
    {"fewer rows than ranks", 2, 40, 40, 1, LT_BF16, LT_F32},
    {"one column", 11, 1, 1, 1, LT_F32, LT_BF16},
    {"several blocks a rank", 5000, 3600, 9, 400, LT_BF16, LT_F32}, /* 18 MB a rank of 4 */
};
static size_t shape_now;

static void same_as_alone(lt_group *group)
{
    const int64_t rows = shapes[shape_now].rows, width = shapes[shape_now].width;
    const lt_dtype want = shapes[shape_now].want;
    const int size = lt_group_size(group), rank = lt_group_rank(group);
    const lt_range units = lt_share(shapes[shape_now].units, size, rank);
    const lt_range columns = {units.first * shapes[shape_now].unit,
                              units.count * shapes[shape_now].unit};
    const size_t bytes = (size_t)(rows * columns.count) * lt_dtype_bytes(want);
    char *found = malloc(bytes + 1), *alone = malloc(bytes + 1);
    lt_checkpoint *c = NULL;
    WANT(found != NULL && alone != NULL);
    OK(lt_checkpoint_open(scratch_path(&s, "m.safetensors"), NULL, &c));
    lt_loading loading = lt_loading_new(group);
    const lt_dims dims = LT_DIMS(rows, width);
    const uint64_t before[2] = {lt_checkpoint_bytes_read(), lt_checkpoint_reads()};
    OK(lt_columns_read(&loading, c, "w", dims, columns, want, found));
    const uint64_t read = lt_checkpoint_bytes_read() - before[0];
    const uint64_t reads = lt_checkpoint_reads() - before[1];
    const lt_range mine = lt_columns_rows(&loading, dims);
    const size_t stored = lt_dtype_bytes(shapes[shape_now].stored);
    OK(lt_loading_end(&loading, LT_OK));
    if (size > 1) { /* each byte once over the group, and few reads: a buffer is 4 MiB at most */
        WANT(read == (uint64_t)(mine.count * width) * stored);
        WANT(reads <= 4 + read / (2 << 20));
    }
    const lt_slice slice = {{0, rows}, columns};
    OK(lt_checkpoint_read(c, "w", dims, slice, want, alone));
    WANT(memcmp(found, alone, bytes) == 0);
    lt_checkpoint_close(&c);
    free(found);
    free(alone);
}

static void columns_are_those_of_a_rank_alone(void **state)
{
    (void)state;
    for (shape_now = 0; shape_now < sizeof shapes / sizeof *shapes; shape_now++) {
        write_matrix("m.safetensors", shapes[shape_now].rows, shapes[shape_now].width,
                     shapes[shape_now].stored, -1);
        on_all_groups(same_as_alone);
        OK(lt_barrier(world));
    }
}

/* ---- a rank fails ---- */

enum { ROWS = 64, WIDTH = 24, NAN_ROW = ROWS - 1 }; /* in the last rank's share */

/* What every rank knows in the end: the failed one its own status, the others LT_EPEER, all its
 * words; and an agreement behind it gives all of them the failed one's status. */
static void failure_is_known(lt_group *group, lt_status st, int failed, lt_status status,
                             const char *word)
{
    const int rank = lt_group_rank(group);
    WANT(st == (rank == failed ? status : LT_EPEER));
    WANT(strstr(lt_error_text(), word) != NULL);
    st = lt_agree(group, st);
    WANT(st == (rank == failed ? status : LT_EPEER));
    WANT(strstr(lt_error_text(), word) != NULL);
    lt_error_clear();
}

static void a_nan(lt_group *group)
{
    const int size = lt_group_size(group);
    float to[ROWS * WIDTH];
    lt_checkpoint *c = NULL;
    const lt_range columns = lt_share(WIDTH, size, lt_group_rank(group));
    OK(lt_checkpoint_open(scratch_path(&s, "nan.safetensors"), NULL, &c));
    lt_loading loading = lt_loading_new(group);
    lt_status st = lt_columns_read(&loading, c, "w", LT_DIMS(ROWS, WIDTH), columns, LT_F32, to);
    WANT(st != LT_OK || size == 1);
    if (size > 1)
        failure_is_known(group, lt_loading_end(&loading, st), size - 1, LT_EDATA,
                         "[63, 1]: want a finite number");
    lt_checkpoint_close(&c);
}

/* The last rank reads `before` layers with the others and comes to the end at once; they want
 * `after` more, or none. */
static void fails_between(lt_group *group, int before, int after)
{
    const int size = lt_group_size(group), rank = lt_group_rank(group), failing = rank == size - 1;
    float to[ROWS * WIDTH];
    lt_checkpoint *c = NULL;
    lt_status st = LT_OK;
    const lt_range columns = lt_share(WIDTH, size, rank);
    OK(lt_checkpoint_open(scratch_path(&s, "good.safetensors"), NULL, &c));
    lt_loading loading = lt_loading_new(group);
    for (int i = 0; i < before + (failing ? 0 : after) && st == LT_OK; i++)
        st = lt_columns_read(&loading, c, "w", LT_DIMS(ROWS, WIDTH), columns, LT_F32, to);
    if (failing)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "a fault of this test");
    else
        WANT((st != LT_OK) == (after > 0));
    failure_is_known(group, lt_loading_end(&loading, st), size - 1, LT_ENOMEM, "a fault of this");
    lt_checkpoint_close(&c);
}

static void at_once(lt_group *group) { fails_between(group, 0, 3); }
static void after_two(lt_group *group) { fails_between(group, 2, 1); }
static void behind_all(lt_group *group) { fails_between(group, 2, 0); }

static void a_failure_is_known_to_all(void **state)
{
    (void)state;
    write_matrix("nan.safetensors", ROWS, WIDTH, LT_F32, NAN_ROW);
    write_matrix("good.safetensors", ROWS, WIDTH, LT_F32, -1);
    on_all_groups(a_nan);
    on_all_groups(at_once);
    on_all_groups(after_two);
    on_all_groups(behind_all);
}

/* ---- shares of a DiT ---- */

static const struct {
    const char *mesh;
    int deterministic;
    double largest, smallest; /* shares of the file that a rank reads */
} meshes[] = {
    {"tp=4", 0, 0.27, 0.24},
    {"tp=4", 1, 0.27, 0.24},
    /* each rank reads all but the other ranks' modulation layers: the page cache serves one node */
    {"ring=2,uly=2", 0, 0.75, 0.65},
    {"uly=2,tp=2", 0, 0.45, 0.35},
};

/* Bytes that this rank reads; on dry: would read. */
static uint64_t bytes_of(const lt_backend *backend, const char *folder, const char *mesh_text,
                         int deterministic)
{
    static const float times[3] = {0, 0.5f, 1};
    char path[600];
    lt_mesh_spec spec;
    lt_mesh mesh;
    lt_engine engine;
    lt_h3_dit_config config;
    lt_checkpoint *files = NULL;
    lt_h3_dit *dit = NULL;
    (void)snprintf(path, sizeof path, "%s/config.json", folder);
    OK(lt_h3_dit_config_read(path, &config));
    OK(lt_mesh_parse(mesh_text, &spec));
    OK(lt_mesh_open(world, &spec, &mesh));
    mesh.deterministic = deterministic;
    const int dry = backend == &lt_backend_dry;
    const size_t room = (size_t)1 << (dry ? 44 : 28);
    OK(lt_engine_open(backend, 0, 1, &mesh, room, room, &engine));
    OK(lt_checkpoint_open(folder, &lt_h3_dit_names, &files));
    const uint64_t before = dry ? lt_checkpoint_bytes_planned() : lt_checkpoint_bytes_read();
    OK(lt_h3_dit_open(files, &engine, &config, LT_BF16, &dit));
    OK(lt_h3_dit_tables(dit, times, 3));
    OK(lt_h3_dit_load(dit));
    const uint64_t after = dry ? lt_checkpoint_bytes_planned() : lt_checkpoint_bytes_read();
    lt_h3_dit_close(&dit);
    lt_checkpoint_close(&files);
    lt_engine_close(&engine);
    lt_mesh_close(&mesh);
    return after - before;
}

static void shares_of(const char *config)
{
    int64_t all = 0;
    const char *folder = scratch_path(&s, config == dit_small ? "small" : "released");
    if (lt_group_rank(world) == 0) {
        assert_int_equal(mkdir(folder, 0777), 0);
        all = dit_files_write(folder, config, config == dit_small);
    }
    OK(lt_broadcast(world, 0, &all, sizeof all));
    if (all == 0) {
        print_message("this file system holds no sparse file of that size\n");
        return;
    }
    for (size_t i = 0; i < sizeof meshes / sizeof *meshes; i++) {
        double share[RANKS_MAX], sum = 0;
        const uint64_t bytes =
            bytes_of(&lt_backend_dry, folder, meshes[i].mesh, meshes[i].deterministic);
        const double mine = (double)bytes / (double)all;
        if (config == dit_small) /* the dry run counts what is read */
            WANT(bytes ==
                 bytes_of(&lt_backend_cpu, folder, meshes[i].mesh, meshes[i].deterministic));
        OK(lt_all_gather_host(world, &mine, sizeof mine, share));
        for (int r = 0; r < 4; r++) {
            print_message("%s, %s%s: rank %d reads %.2f %%\n",
                          config == dit_small ? "small" : "released", meshes[i].mesh,
                          meshes[i].deterministic ? " deterministic" : "", r, 100 * share[r]);
            WANT(share[r] <= meshes[i].largest && share[r] >= meshes[i].smallest);
            sum += share[r];
        }
        WANT(sum >= 1); /* all of it is read by somebody */
    }
}

static void a_rank_of_four_reads_a_quarter(void **state)
{
    (void)state;
    if (lt_group_size(world) != 4)
        return;
    shares_of(dit_small);
    shares_of(dit_released);
}

int main(void)
{
    if (ranks_open() != 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_those_of_a_rank_alone),
        cmocka_unit_test(a_failure_is_known_to_all),
        cmocka_unit_test(a_rank_of_four_reads_a_quarter),
    };
    const int failed = cmocka_run_group_tests_name("loading", tests, setup, teardown);
    ranks_close();
    return failed;
}

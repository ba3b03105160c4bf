/* test_attention_dist.c - attention over meshes of 1 to 8 ranks against one kernel call.
 * Goal: ring, Ulysses, 2-D and their hybrids give what one rank gives, for any remainder: prime
 * rows, fewer rows than ranks, fewer heads than ranks, none at all; in f32 and bf16, on cpu and
 * far. Bytes moved are the closed forms of attention.h, dry counts the same bytes and the same
 * scratch, a second call gives the same bits. Method: every rank makes all rows from a hash of
 * their coordinates, computes its heads over all of them alone, and compares its rows. Ranks: as
 * launched; more than 4 run only the meshes above 4. Built once more for kernels/cuda on the host,
 * over NCCL's exchange: tests/emu/nccl. */
#include "parallel/transport/host_collectives.h"
#include "parallel/transport/traffic.h"
#include "tests/support/rank_device.h"

#include <math.h>
#include <stdlib.h>

#include "base/dtype.h"
#include "parallel/attention/attention.h"
#include "parallel/attention/grid2d.h"

typedef struct {
    const char *name, *mesh;
    int64_t rows, heads, width;
    lt_attention_algorithm algorithm;
    int grid_columns;
    float scale;
    int64_t sent_f32; /* by rank 0, counted by hand; -1: not */
} shape;

#ifdef LT_TEST_DEVICE
enum { ROWS_MAX = 64 }; /* its threads are fibers of one processor */
#else
enum { ROWS_MAX = 1 << 20 };
#endif

#define AUTO LT_ATTENTION_AUTO
#define RING LT_ATTENTION_RING
#define GRID LT_ATTENTION_2D

static const shape shapes[] = {
    {"alone", "ring=1", 23, 3, 16, AUTO, 0, 0.3f, 0},
    {"ulysses, even", "uly=2", 24, 4, 8, AUTO, 0, 0.3f, 4 * 8 * (3 * 12 * 2 + 12 * 2)},
    {"ulysses, one head on three", "uly=3", 23, 1, 8, AUTO, 0, 0.3f, -1},
    {"ring, even: 3 blocks of 16 rows leave", "ring=4", 64, 2, 8, RING, 0, 0.3f,
     2 * 4 * 2 * 8 * 48},
    {"ring of two, prime rows", "ring=2", 23, 3, 16, AUTO, 0, 0.3f, 2 * 4 * 3 * 16 * 12},
    {"ring of three, prime rows", "ring=3", 101, 3, 11, AUTO, 0, 0.3f, -1},
    {"ring, two ranks without rows", "ring=4", 2, 3, 16, RING, 0, 0.3f, -1},
    {"ring, one row", "ring=3", 1, 1, 1, AUTO, 0, 1.0f, -1},
    {"ring, no rows", "ring=2", 0, 2, 8, AUTO, 0, 1.0f, 0},
    {"ring, no heads", "ring=2", 9, 0, 8, AUTO, 0, 1.0f, 0},
    {"ring, one key decides a row", "ring=4", 67, 2, 16, RING, 0, 40.0f, -1},
    {"ring, logits of thousands", "ring=3", 67, 2, 16, RING, 0, 2000.0f, -1},
    {"ring, several groups of heads", "ring=2", 1201, 5, 64, RING, 0, 0.125f, -1},
    {"ring, several chunks of queries", "ring=2", 4201, 1, 4, RING, 0, 0.3f, -1},
    {"hybrid, prime rows", "ring=2,uly=2", 23, 3, 16, AUTO, 0, 0.3f, -1},
    {"hybrid, one head", "ring=2,uly=2", 41, 1, 16, AUTO, 0, 0.3f, -1},
    {"hybrid, three rows", "ring=2,uly=2", 3, 2, 8, AUTO, 0, 0.3f, -1},
    {"ring x tp", "ring=2,tp=2", 29, 3, 16, AUTO, 0, 0.3f, -1},
    {"ring x tp, one head: tp 1 has none", "ring=2,tp=2", 29, 1, 16, AUTO, 0, 0.3f, -1},
    {"windows apart", "win=2,ring=2", 29, 3, 16, AUTO, 0, 0.3f, -1},
    {"grid 2x2, even", "ring=4", 64, 2, 8, GRID, 2, 0.3f, 4 * 2 * 8 * 16 * 3 + 4 * 2 * 9 * 16},
    {"grid 2x2, prime rows", "ring=4", 101, 3, 11, GRID, 2, 0.3f, -1},
    {"grid 2x2, rows on three", "ring=4", 3, 3, 16, GRID, 2, 0.3f, -1},
    {"grid 1x3: Q travels alone", "ring=3", 31, 3, 16, GRID, 3, 0.3f, -1},
    {"grid 3x1: K and V travel alone", "ring=3", 31, 3, 16, GRID, 1, 0.3f, -1},
    {"grid 1x2 x uly", "ring=2,uly=2", 31, 3, 16, GRID, 2, 0.3f, -1},
    {"grid 4x1, one row", "ring=4", 1, 2, 8, GRID, 1, 0.3f, -1},
    {"grid, one key decides a row", "ring=4", 67, 2, 16, GRID, 2, 40.0f, -1},
    {"grid, cheapest", "ring=4", 300, 2, 64, GRID, 0, 0.125f, -1},
    {"grid, several groups of heads", "ring=3", 1201, 5, 64, GRID, 3, 0.125f, -1},
    {"grid, several chunks of queries", "ring=2", 4201, 1, 4, GRID, 2, 0.3f, -1},
    {"ring of five", "ring=5", 47, 3, 16, RING, 0, 0.3f, -1},
    {"ring of eight, fewer rows", "ring=8", 5, 3, 16, RING, 0, 0.3f, -1},
    {"eight, as auto says", "ring=8", 101, 3, 16, AUTO, 0, 0.3f, -1},
    {"grid 2x3", "ring=6", 101, 3, 16, GRID, 3, 0.3f, -1},
    {"grid 3x2", "ring=6", 101, 3, 16, GRID, 2, 0.3f, -1},
    {"grid of a prime", "ring=7", 53, 2, 16, GRID, 7, 0.3f, -1},
    {"grid 4x2, five rows", "ring=8", 5, 3, 16, GRID, 2, 0.3f, -1},
    {"grid 2x2 x uly", "ring=4,uly=2", 101, 3, 16, GRID, 2, 0.3f, -1},
    {"ring x uly x tp", "ring=2,uly=2,tp=2", 61, 5, 16, AUTO, 0, 0.3f, -1},
};

/* Columns of one joined tensor, as a network has them. */
enum { Q, K, V, Y, PARTS };

typedef struct {
    const shape *c;
    lt_dtype act;
    lt_range heads; /* my tp share */
    lt_engine engine;
    lt_tensor mine, all; /* [rows, PARTS * heads * width] */
    char *host;          /* all rows of `all` */
} rig;

static float value_of(int64_t row, int64_t column, int part)
{
    return (float)(hash(row, column, part) >> 8) / 4194304.0f - 2.0f;
}

static lt_tensor part_of(const lt_tensor *x, int part)
{
    const int64_t width = x->dim[1] / PARTS;
    return lt_view_columns(x, (lt_range){part * width, width});
}

/* All rows of my heads; y's columns hold NaN. */
static void fill_host(rig *r)
{
    const int64_t width = r->heads.count * r->c->width;
    const size_t element = lt_dtype_bytes(r->act);
    r->host = calloc((size_t)(r->c->rows * PARTS * width) + 1, element);
    WANT(r->host != NULL);
    for (int64_t i = 0; i < r->c->rows; i++)
        for (int part = 0; part < PARTS; part++)
            for (int64_t j = 0; j < width; j++) {
                const float x =
                    part == Y ? NAN : value_of(i, r->heads.first * r->c->width + j, part);
                lt_convert(&x, LT_F32, r->host + (size_t)((i * PARTS + part) * width + j) * element,
                           r->act, 1);
            }
}

static void rig_open(rig *r, const lt_backend *backend, const lt_mesh *mesh, lt_range rows)
{
    OK(lt_engine_open(backend, rank_device(), 1, mesh, (size_t)1 << 25, (size_t)1 << 25,
                      &r->engine));
    rank_connect(&r->engine, mesh->axis[LT_AXIS_RING]);
    rank_connect(&r->engine, mesh->axis[LT_AXIS_ULY]);
    const int64_t width = PARTS * r->heads.count * r->c->width;
    OK(lt_tensor_new(r->engine.phase, "all", r->act, &r->all, LT_DIMS(r->c->rows, width)));
    OK(lt_tensor_new(r->engine.phase, "mine", r->act, &r->mine, LT_DIMS(rows.count, width)));
    if (backend == &lt_backend_dry)
        return;
    OK(lt_upload(r->engine.compute, &r->all, r->host));
    OK(lt_upload(r->engine.compute, &r->mine,
                 r->host + (size_t)(rows.first * width) * lt_dtype_bytes(r->act)));
    OK(lt_sync(r->engine.compute));
}

/* One call; what it moved, and the scratch that it took at most. */
static lt_traffic attend(rig *r, const lt_attention_share *share, size_t *scratch)
{
    const lt_tensor q = part_of(&r->mine, Q), k = part_of(&r->mine, K), v = part_of(&r->mine, V);
    lt_tensor y = part_of(&r->mine, Y);
    lt_traffic_reset();
    OK(lt_attention_dist(&r->engine, share, r->c->scale, &q, &k, &v, &y));
    OK(lt_sync(r->engine.compute));
    const lt_traffic moved = lt_traffic_read();
    *scratch = lt_arena_peak(r->engine.step);
    WANT(lt_arena_used(r->engine.step) == 0);
    return moved;
}

static void *download(rig *r, const lt_tensor *x)
{
    void *raw = malloc(lt_tensor_bytes(x) + 1);
    WANT(raw != NULL);
    OK(lt_download(r->engine.compute, raw, x));
    OK(lt_sync(r->engine.compute));
    return raw;
}

/* Largest difference of my rows from the same rows of the whole, over the largest |y|; a NaN
 * counts. *differ: share of values that are not the same. */
static double rows_distance(rig *r, const void *mine, lt_range rows, double *differ)
{
    const int64_t width = r->heads.count * r->c->width, pitch = PARTS * width;
    const size_t element = lt_dtype_bytes(r->act);
    char *whole = download(r, &r->all);
    double worst = 0, largest = 1e-30;
    int64_t different = 0;
    for (int64_t i = 0; i < r->c->rows; i++)
        for (int64_t j = 0; j < width; j++) {
            float a, b;
            lt_convert(whole + (size_t)(i * pitch + Y * width + j) * element, r->act, &b, LT_F32,
                       1);
            largest = worse(largest, fabs((double)b));
            if (i < rows.first || i >= rows.first + rows.count)
                continue;
            const size_t at = (size_t)((i - rows.first) * pitch + Y * width + j) * element;
            lt_convert((const char *)mine + at, r->act, &a, LT_F32, 1);
            worst = worse(worst, fabs((double)a - (double)b));
            different += !(a == b);
        }
    free(whole);
    *differ = (double)different / fmax((double)(rows.count * width), 1);
    return worst / largest;
}

static double worst_of[2], differ_of[2]; /* by dtype, over all cases: for the log */

/* f32: sums of the kernel and of the merge come in another order; measured 8e-7. bf16: both are
 * rounded once, so a value differs only where f32 lies on a rounding edge: by one ulp (2^-7 of it),
 * and rarely (measured 0.3 %); rounding the parts would move one in three. */
static void compare(rig *r, const lt_attention_share *share, lt_range rows)
{
    const lt_tensor q = part_of(&r->all, Q), k = part_of(&r->all, K), v = part_of(&r->all, V);
    lt_tensor y = part_of(&r->all, Y);
    double differ;
    char text[200];
    size_t scratch;
    (void)attend(r, share, &scratch);
    void *first = download(r, &r->mine);
    (void)attend(r, share, &scratch);
    void *mine = download(r, &r->mine);
    OK(lt_attention(r->engine.compute, &q, &k, &v, r->heads.count, r->heads.count, r->c->scale, 0,
                    0, &y, NULL));
    const double worst = rows_distance(r, mine, rows, &differ);
    const double allowed = r->act == LT_F32 ? 2e-6 : 1.0 / 128;
    const double few = r->act == LT_F32 ? 1 : 0.02 + 2 / fmax((double)lt_elements(&y), 1);
    (void)snprintf(text, sizeof text, "%s: %s %s: off by %.3g (allowed %.3g), %.2g differ",
                   r->c->name, r->engine.backend->name, lt_dtype_name(r->act), worst, allowed,
                   differ);
    if (!(worst <= allowed) || !(differ <= few))
        stop("compare", text, __LINE__);
    if (memcmp(first, mine, lt_tensor_bytes(&r->mine)) != 0)
        stop(r->c->name, "a second call gave other bits", __LINE__);
    worst_of[r->act == LT_BF16] = fmax(worst_of[r->act == LT_BF16], worst);
    differ_of[r->act == LT_BF16] = fmax(differ_of[r->act == LT_BF16], differ);
    free(first);
    free(mine);
}

static void check_traffic(const rig *r, const lt_mesh *mesh, const lt_attention_share *share,
                          lt_traffic moved)
{
    const lt_traffic formula = lt_attention_traffic(share);
    uint64_t mine[2] = {moved.sent_bytes, moved.received_bytes}, all[2 * RANKS_MAX], sum[2] = {0};
    if (mine[0] != formula.sent_bytes || mine[1] != formula.received_bytes) {
        char text[160];
        (void)snprintf(text, sizeof text,
                       "%s: sent %llu, formula %llu; received %llu, formula %llu", r->c->name,
                       (unsigned long long)mine[0], (unsigned long long)formula.sent_bytes,
                       (unsigned long long)mine[1], (unsigned long long)formula.received_bytes);
        stop("traffic", text, __LINE__);
    }
    OK(lt_all_gather_host(mesh->world, mine, sizeof mine, all));
    for (int i = 0; i < lt_group_size(mesh->world); i++) {
        sum[0] += all[2 * i];
        sum[1] += all[2 * i + 1];
    }
    WANT(sum[0] == sum[1]);
    if (r->c->sent_f32 >= 0 && r->act == LT_F32 && lt_group_rank(mesh->world) == 0)
        WANT(mine[0] == (uint64_t)r->c->sent_f32);
}

static void one_case(const shape *c, lt_dtype act, const lt_backend *backend, lt_mesh *mesh)
{
    const int me = lt_group_rank(mesh->tokens), tp = mesh->spec.size[LT_AXIS_TP];
    lt_attention_share share;
    size_t scratch = 0, dry_scratch = 0;
    rig r = {.c = c, .act = act, .heads = lt_share(c->heads, tp, mesh->at[LT_AXIS_TP])};
    mesh->attention = c->algorithm;
    OK(lt_attention_share_new(mesh, c->rows, r.heads.count, c->width, act, c->grid_columns,
                              &share));
    if (share.groups == 1) /* short messages: the test chooses */
        share.groups = 1 + (int)(c->rows % 4);
    WANT(lt_group_size(share.ring) == 1 || (share.grid_rows > 0) == (c->algorithm == GRID) ||
         c->algorithm == AUTO);
    fill_host(&r);
    rig_open(&r, backend, mesh, share.rows[me]);
    compare(&r, &share, share.rows[me]);
    const lt_traffic moved = attend(&r, &share, &scratch);
    check_traffic(&r, mesh, &share, moved);
    lt_engine_close(&r.engine);
    rig_open(&r, &lt_backend_dry, mesh, share.rows[me]);
    const lt_traffic dry = attend(&r, &share, &dry_scratch);
    WANT(dry.sent_bytes == moved.sent_bytes && dry.received_bytes == moved.received_bytes);
    WANT(dry_scratch == scratch);
    lt_engine_close(&r.engine);
    free(r.host);
    lt_attention_share_free(&share);
}

static void on_meshes(lt_dtype act, const lt_backend *backend)
{
    const int ranks = lt_group_size(world);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        lt_mesh_spec spec;
        lt_mesh mesh;
        OK(lt_mesh_parse(shapes[i].mesh, &spec));
        const int size = lt_mesh_ranks(&spec);
        if (size > ranks || (ranks > 4 && size <= 4) || shapes[i].rows > ROWS_MAX)
            continue;
        lt_group *group = group_of(size, i % 2 == 1);
        lt_far_seed(i);
        if (group != NULL) {
            OK(lt_mesh_open(group, &spec, &mesh));
            one_case(&shapes[i], act, backend, &mesh);
            lt_mesh_close(&mesh);
        }
        lt_group_free(&group);
        OK(lt_barrier(world));
    }
    print_message(
        "%s %s: largest difference on rank 0 %.3g, largest share of values that differ %.3g\n",
        backend->name, lt_dtype_name(act), worst_of[act == LT_BF16], differ_of[act == LT_BF16]);
}

static void f32_rows(void **state)
{
    (void)state;
    for (int i = 0; i < RANK_BACKENDS; i++)
        on_meshes(LT_F32, rank_backends[i]);
}

static void bf16_rows(void **state)
{
    (void)state;
    for (int i = 0; i < RANK_BACKENDS; i++)
        on_meshes(LT_BF16, rank_backends[i]);
}

/* Peak of one rank's scratch on a ring, dry: it follows the rank's own rows, whatever the length of
 * the ring: twice the ranks, half of it. */
static size_t ring_scratch(int size, int64_t rows)
{
    size_t scratch = 0;
    lt_mesh mesh;
    lt_group *group = group_of(size, 0);
    if (group != NULL) {
        const shape c = {"scratch", "", rows, 2, 64, RING, 0, 0.125f, -1};
        rig r = {.c = &c, .act = LT_BF16, .heads = {0, 2}};
        lt_attention_share share;
        OK(lt_mesh_open(group, &(lt_mesh_spec){{1, 1, size, 1, 1}}, &mesh));
        mesh.attention = RING;
        OK(lt_attention_share_new(&mesh, rows, 2, 64, LT_BF16, 0, &share));
        rig_open(&r, &lt_backend_dry, &mesh, share.rows[lt_group_rank(mesh.tokens)]);
        (void)attend(&r, &share, &scratch);
        lt_engine_close(&r.engine);
        lt_attention_share_free(&share);
        lt_mesh_close(&mesh);
    }
    lt_group_free(&group);
    OK(lt_barrier(world));
    return scratch;
}

static void scratch_follows_own_rows(void **state)
{
    (void)state;
    const int size = lt_group_size(world);
    if (size < 4)
        return;
    const int64_t rows = 12000, width = 2 * 64;
    const size_t of_two = ring_scratch(2, rows), of_four = ring_scratch(4, rows);
    const int64_t mine = rows / 4, chunk = 2048;
    /* own K and V and two more blocks (bf16), the partial result and a chunk of another (f32) */
    const int64_t most = mine * width * (3 * 2 * 2 + 4) + mine * 2 * 4 +
                         (mine < chunk ? mine : chunk) * (width + 2) * 4 + 4096;
    if (of_four > 0)
        WANT(of_four <= (size_t)most);
    if (of_two > 0)
        WANT(of_four < of_two * 3 / 4);
}

/* The rule behind auto: 2-D from where it moves less than two thirds. */
static void cheapest_grids(void **state)
{
    (void)state;
    static const struct {
        int size, grid_columns;
        lt_attention_algorithm algorithm;
    } cases[] = {{1, 0, RING},  {2, 0, RING},  {3, 0, RING}, {4, 0, RING}, {5, 0, RING},
                 {6, 0, RING},  {7, 0, RING},  {8, 2, GRID}, {9, 3, GRID}, {12, 3, GRID},
                 {16, 4, GRID}, {13, 0, RING}, {64, 8, GRID}};
    /* bf16, 128 wide: bytes a row and head are 512 (R - 1) for the ring, and for a x b
     * (256 + 516)(b - 1) + 512 (a - 1) */
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double cost, ring;
        const int grid_columns = lt_grid2d_columns(cases[i].size, 128, LT_BF16, &cost, &ring);
        const int is_grid = cost < ring * 2 / 3;
        if (is_grid != (cases[i].algorithm == GRID) ||
            (is_grid && grid_columns != cases[i].grid_columns))
            fail_msg("%d ranks: %d columns, cost %g against %g", cases[i].size, grid_columns, cost,
                     ring);
    }
}

int main(void)
{
    const int failed_open = ranks_open();
    if (failed_open != 0)
        return failed_open;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cheapest_grids),
        cmocka_unit_test(scratch_follows_own_rows),
        cmocka_unit_test(f32_rows),
        cmocka_unit_test(bf16_rows),
    };
    const int failed = cmocka_run_group_tests_name("attention_dist", tests, NULL, NULL);
    ranks_close();
    return failed;
}

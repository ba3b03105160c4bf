/* test_comm_device.c - device collectives on groups of 1 to P ranks, in any order of ranks.
 * Goal: they move exactly what collective.h says, with uneven and empty shares, f32 and bf16, dense
 * and strided, on cpu and far; sums are the sequential sum in rank order, to the bit; traffic is
 * the closed form, also on dry. Method: element (rank, row, column) has a value that any rank can
 * compute. Ranks: as launched (4 in ctest; any number up to 16). Needs: nothing. Built once more
 * for kernels/cuda on the host, over NCCL's exchange: tests/emu/nccl. */
#include <stdlib.h>

#include "parallel/context.h"
#include "parallel/transport/traffic.h"
#include "tests/support/rank_device.h"

enum { BUFFER_BYTES = 1 << 18 };

/* ---- device ---- */

/* The value at a global place, as stored; no NaN, magnitudes over 2^-8..2^8, so that order shows.
 */
static float value(int64_t rank, int64_t row, int64_t column)
{
    const uint32_t h = hash(rank, row, column);
    const float scale = (float)(1 << (h % 17)) / 256.0f;
    return ((float)(h >> 8) / 8388608.0f - 1.0f) * scale;
}

static void store(char *at, lt_dtype dtype, float v)
{
    const uint16_t narrow = lt_f32_to_bf16(v);
    if (dtype == LT_F32)
        memcpy(at, &v, sizeof v);
    else
        memcpy(at, &narrow, sizeof narrow);
}

typedef struct {
    const lt_backend *backend;
    lt_dtype dtype;
    lt_group *group;
    lt_engine engine;
    char *host, *want, *got;
} bench;

/* x from host values; with a gap, x is a view of columns of something wider. */
static lt_tensor make(bench *b, int64_t rows, int64_t width, lt_dtype dtype, int64_t gap)
{
    lt_tensor wide, x;
    OK(lt_tensor_new(b->engine.step, "x", dtype, &wide, LT_DIMS(rows, width + gap)));
    x = lt_view_columns(&wide, (lt_range){gap / 2, width});
    if (b->backend != &lt_backend_dry) {
        WANT(lt_tensor_bytes(&wide) <= BUFFER_BYTES);
        memset(b->want, 0x33, lt_tensor_bytes(&wide)); /* what a gap holds must not arrive */
        OK(lt_upload(b->engine.compute, &wide, b->want));
        OK(lt_upload(b->engine.compute, &x, b->host));
        OK(lt_sync(b->engine.compute)); /* host buffers are used again */
    }
    return x;
}

static void compare(bench *b, const lt_tensor *y, const lt_event *done, const char *what)
{
    if (b->backend == &lt_backend_dry)
        return;
    memset(b->got, 0x55, lt_tensor_bytes(y));
    OK(lt_wait(b->engine.compute, done));
    OK(lt_download(b->engine.compute, b->got, y));
    OK(lt_sync(b->engine.compute));
    if (memcmp(b->got, b->want, lt_tensor_bytes(y)) != 0)
        stop(what, b->backend->name, __LINE__);
}

static void check_traffic(const bench *b, int64_t sent, int64_t received, const char *what)
{
    OK(lt_sync(b->engine.comm));
    const lt_traffic t = lt_traffic_read();
    if (t.sent_bytes != (uint64_t)sent || t.received_bytes != (uint64_t)received)
        stop(what, "traffic is not the closed form", __LINE__);
}

/* Split `total` things: kind 0 evenly, 1 all on the last rank, 2 all on the first but one each. */
static void split(int64_t total, int size, int kind, lt_range *out)
{
    int64_t next = 0;
    for (int i = 0; i < size; i++) {
        int64_t count = lt_share(total, size, i).count;
        if (kind == 1)
            count = i == size - 1 ? total : 0;
        if (kind == 2)
            count = i == 0 ? total - (total > size - 1 ? size - 1 : 0) : total > size - 1;
        out[i] = (lt_range){next, count};
        next += count;
    }
}

static void gather_case(bench *b, int64_t rows, int kind, int64_t gap)
{
    enum { WIDTH = 5 };
    const int rank = lt_group_rank(b->group), size = lt_group_size(b->group);
    const int64_t each = (int64_t)lt_dtype_bytes(b->dtype);
    lt_range part[RANKS_MAX];
    int64_t counts[RANKS_MAX];
    split(rows, size, kind, part);
    for (int i = 0; i < size; i++)
        counts[i] = part[i].count;
    const lt_mark mark = lt_arena_mark(b->engine.step);
    lt_tensor y;
    lt_event after, done;
    for (int64_t i = 0; i < counts[rank] * WIDTH; i++)
        store(b->host + i * each, b->dtype, value(0, part[rank].first + i / WIDTH, i % WIDTH));
    const lt_tensor x = make(b, counts[rank], WIDTH, b->dtype, gap);
    OK(lt_tensor_new(b->engine.step, "y", b->dtype, &y, LT_DIMS(rows, WIDTH)));
    OK(lt_mark_event(b->engine.compute, &after));
    lt_traffic_reset();
    OK(lt_all_gather_rows(&b->engine, b->group, &after, &x, counts, &y, &done));
    check_traffic(b, counts[rank] * WIDTH * each * (size - 1), (rows - counts[rank]) * WIDTH * each,
                  "gather");
    for (int64_t i = 0; i < rows * WIDTH; i++)
        store(b->want + i * each, b->dtype, value(0, i / WIDTH, i % WIDTH));
    compare(b, &y, &done, "gather");
    lt_arena_release(b->engine.step, mark);
}

static void sum_case(bench *b, int64_t rows, int64_t gap)
{
    enum { WIDTH = 7 };
    const int rank = lt_group_rank(b->group), size = lt_group_size(b->group);
    const int64_t each = (int64_t)lt_dtype_bytes(b->dtype);
    const int64_t mine = lt_share(rows, size, rank).count;
    const lt_mark mark = lt_arena_mark(b->engine.step);
    lt_tensor y;
    lt_event after, done;
    for (int64_t i = 0; i < rows * WIDTH; i++)
        store(b->host + i * 4, LT_F32, value(rank, i / WIDTH, i % WIDTH));
    const lt_tensor x = make(b, rows, WIDTH, LT_F32, gap);
    OK(lt_tensor_new(b->engine.step, "y", b->dtype, &y, LT_DIMS(rows, WIDTH)));
    OK(lt_mark_event(b->engine.compute, &after));
    lt_traffic_reset();
    const size_t before = lt_arena_used(b->engine.step);
    OK(lt_all_reduce(&b->engine, b->group, &after, &x, &y, &done));
    WANT(lt_arena_used(b->engine.step) == before);
    const int64_t to_all = rows * WIDTH * 4 * (size - 1);
    if (size == 1 || lt_all_reduce_is_small(size, rows * WIDTH))
        check_traffic(b, to_all, to_all, "sum, one exchange");
    else
        check_traffic(b, (rows - mine) * WIDTH * 4 + mine * WIDTH * each * (size - 1),
                      mine * WIDTH * 4 * (size - 1) + (rows - mine) * WIDTH * each, "sum");
    for (int64_t i = 0; i < rows * WIDTH; i++) {
        volatile float sum = value(0, i / WIDTH, i % WIDTH); /* one addition at a time, in f32 */
        for (int from = 1; from < size; from++)
            sum = sum + value(from, i / WIDTH, i % WIDTH);
        store(b->want + i * each, b->dtype, sum);
    }
    compare(b, &y, &done, "sum in rank order");
    lt_arena_release(b->engine.step, mark);
}

/* There and back: head-sharded is checked against the global values, sequence-sharded against what
 * it was. */
static void heads_case(bench *b, int64_t rows, int64_t heads, int kind, int64_t gap)
{
    enum { D = 3 };
    const int rank = lt_group_rank(b->group), size = lt_group_size(b->group);
    const int64_t each = (int64_t)lt_dtype_bytes(b->dtype), width = heads * D;
    lt_range of_rows[RANKS_MAX], of_heads[RANKS_MAX];
    split(rows, size, kind, of_rows);
    split(heads, size, kind == 1 ? 0 : kind, of_heads);
    const int64_t my_rows = of_rows[rank].count, my_heads = of_heads[rank].count;
    const int64_t out = my_rows * (heads - my_heads) * D * each;
    const int64_t in = (rows - my_rows) * my_heads * D * each;
    const lt_mark mark = lt_arena_mark(b->engine.step);
    lt_tensor by_heads;
    lt_event after, done;
    for (int64_t i = 0; i < my_rows * width; i++)
        store(b->host + i * each, b->dtype, value(0, of_rows[rank].first + i / width, i % width));
    const lt_tensor x = make(b, my_rows, width, b->dtype, gap);
    lt_tensor back = make(b, my_rows, width, b->dtype, gap);
    OK(lt_tensor_new(b->engine.step, "by_heads", b->dtype, &by_heads, LT_DIMS(rows, my_heads * D)));
    OK(lt_mark_event(b->engine.compute, &after));
    lt_traffic_reset();
    OK(lt_all_to_all_heads(&b->engine, b->group, &after, &x, of_rows, of_heads, D, &by_heads,
                           &done));
    check_traffic(b, out, in, "all-to-all to heads");
    for (int64_t i = 0; i < rows * my_heads * D; i++)
        store(b->want + i * each, b->dtype,
              value(0, i / (my_heads * D), of_heads[rank].first * D + i % (my_heads * D)));
    compare(b, &by_heads, &done, "all-to-all to heads");
    if (b->backend != &lt_backend_dry && my_rows > 0)
        OK(lt_fill(b->engine.compute, &back, 0.0f));
    OK(lt_mark_event(b->engine.compute, &after));
    lt_traffic_reset();
    OK(lt_all_to_all_rows(&b->engine, b->group, &after, &by_heads, of_rows, of_heads, D, &back,
                          &done));
    check_traffic(b, in, out, "all-to-all to rows");
    memcpy(b->want, b->host, (size_t)(my_rows * width * each));
    compare(b, &back, &done, "all-to-all to rows");
    lt_arena_release(b->engine.step, mark);
}

/* Three tensors in one exchange, of which one is strided and one lands beside others: each has the
 * bits that it has alone, and the bytes are three times one's. */
static void heads_at_once(bench *b, int64_t rows, int64_t heads, int kind)
{
    enum { D = 3, TENSORS = 3 };
    const int rank = lt_group_rank(b->group), size = lt_group_size(b->group);
    const int64_t each = (int64_t)lt_dtype_bytes(b->dtype), width = heads * D;
    lt_range of_rows[RANKS_MAX], of_heads[RANKS_MAX];
    split(rows, size, kind, of_rows);
    split(heads, size, kind == 1 ? 0 : kind, of_heads);
    const int64_t my_rows = of_rows[rank].count, my_heads = of_heads[rank].count;
    const lt_mark mark = lt_arena_mark(b->engine.step);
    lt_tensor x[TENSORS], wide, y[TENSORS];
    lt_event after, done;
    for (int t = 0; t < TENSORS; t++) {
        for (int64_t i = 0; i < my_rows * width; i++)
            store(b->host + i * each, b->dtype,
                  value(t, of_rows[rank].first + i / width, i % width));
        x[t] = make(b, my_rows, width, b->dtype, t == 1 ? 4 : 0);
    }
    OK(lt_tensor_new(b->engine.step, "both", b->dtype, &wide, LT_DIMS(2 * rows, my_heads * D)));
    OK(lt_tensor_new(b->engine.step, "alone", b->dtype, &y[2], LT_DIMS(rows, my_heads * D)));
    for (int t = 0; t < 2; t++)
        y[t] = lt_view_outer(&wide, (lt_range){t * rows, rows});
    OK(lt_mark_event(b->engine.compute, &after));
    lt_traffic_reset();
    const lt_tensor *const from[TENSORS] = {&x[0], &x[1], &x[2]};
    lt_tensor *const to[TENSORS] = {&y[0], &y[1], &y[2]};
    OK(lt_all_to_all_heads_each(&b->engine, b->group, &after, from, TENSORS, of_rows, of_heads, D,
                                to, &done));
    check_traffic(b, TENSORS * my_rows * (heads - my_heads) * D * each,
                  TENSORS * (rows - my_rows) * my_heads * D * each, "all-to-all of three");
    for (int t = 0; t < TENSORS; t++) {
        for (int64_t i = 0; i < rows * my_heads * D; i++)
            store(b->want + i * each, b->dtype,
                  value(t, i / (my_heads * D), of_heads[rank].first * D + i % (my_heads * D)));
        compare(b, &y[t], &done, "all-to-all of three");
    }
    lt_arena_release(b->engine.step, mark);
}

static void device_cases(bench *b)
{
    enum { MANY = 5000 }; /* rows: more than one exchange takes */
    WANT(lt_group_size(b->group) == 1 || !lt_all_reduce_is_small(2, MANY * 7));
    for (int64_t gap = 0; gap <= 4; gap += 4)
        sum_case(b, MANY, gap);
    const int64_t rows[] = {0, 1, 3, 7, 50}, heads[] = {1, 3, 8};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (int64_t gap = 0; gap <= 4; gap += 4) {
            sum_case(b, rows[r], gap);
            for (int kind = 0; kind < 3; kind++) {
                gather_case(b, rows[r], kind, gap);
                for (size_t h = 0; h < sizeof heads / sizeof *heads; h++)
                    heads_case(b, rows[r], heads[h], kind, gap);
                for (size_t h = 0; h < sizeof heads / sizeof *heads && gap == 0; h++)
                    heads_at_once(b, rows[r], heads[h], kind);
            }
        }
}

static void device_on(lt_group *group)
{
    for (int i = 0; i <= RANK_BACKENDS; i++)
        for (int narrow = 0; narrow < 2; narrow++) {
            bench b = {.backend = i < RANK_BACKENDS ? rank_backends[i] : &lt_backend_dry,
                       .dtype = narrow ? LT_BF16 : LT_F32,
                       .group = group};
            lt_far_seed(narrow ? 1 : 2); /* as late as may be; mostly early */
            OK(lt_engine_open(b.backend, rank_device(), 1, NULL, 0, 1 << 20, &b.engine));
            rank_connect(&b.engine, group);
            b.host = malloc(BUFFER_BYTES);
            b.want = malloc(BUFFER_BYTES);
            b.got = malloc(BUFFER_BYTES);
            WANT(b.host != NULL && b.want != NULL && b.got != NULL);
            device_cases(&b);
            free(b.host);
            free(b.want);
            free(b.got);
            lt_engine_close(&b.engine);
        }
}

static void device_collectives(void **state)
{
    (void)state;
    on_all_groups(device_on);
}

/* Three collectives with one `after` and no wait between, as attention does: staging must not mix.
 */
static void three_at_once(lt_group *group)
{
    enum { ROWS = 9, WIDTH = 5 };
    const int rank = lt_group_rank(group), size = lt_group_size(group);
    const lt_range mine = lt_share(ROWS, size, rank);
    lt_tensor x[3], y[3];
    int64_t counts[RANKS_MAX];
    lt_event after, done;
    for (int i = 0; i < size; i++)
        counts[i] = lt_share(ROWS, size, i).count;
    for (int seed = 0; seed < 6; seed++) {
        float host[3][ROWS * WIDTH], got[3][ROWS * WIDTH];
        lt_engine e;
        lt_far_seed((uint64_t)seed);
        OK(lt_engine_open(rank_backends[RANK_BACKENDS - 1], rank_device(), 1, NULL, 0, 1 << 16,
                          &e));
        rank_connect(&e, group);
        for (int k = 0; k < 3; k++) {
            OK(lt_tensor_new(e.step, "x", LT_F32, &x[k], LT_DIMS(mine.count, WIDTH)));
            OK(lt_tensor_new(e.step, "y", LT_F32, &y[k], LT_DIMS(ROWS, WIDTH)));
            for (int64_t i = 0; i < mine.count * WIDTH; i++)
                host[k][i] = value(k, mine.first + i / WIDTH, i % WIDTH);
            OK(lt_upload(e.compute, &x[k], host[k]));
        }
        OK(lt_mark_event(e.compute, &after));
        for (int k = 0; k < 3; k++)
            OK(lt_all_gather_rows(&e, group, &after, &x[k], counts, &y[k], &done));
        OK(lt_wait(e.compute, &done));
        for (int k = 0; k < 3; k++)
            OK(lt_download(e.compute, got[k], &y[k]));
        OK(lt_sync(e.compute));
        for (int k = 0; k < 3; k++)
            for (int i = 0; i < ROWS * WIDTH; i++)
                WANT(got[k][i] == value(k, i / WIDTH, i % WIDTH));
        lt_engine_close(&e);
    }
}

static void back_to_back(void **state)
{
    (void)state;
    on_all_groups(three_at_once);
}

int main(void)
{
    if (ranks_open() != 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(device_collectives),
        cmocka_unit_test(back_to_back),
    };
    const int failed = cmocka_run_group_tests_name("comm_device", tests, NULL, NULL);
    ranks_close();
    return failed;
}

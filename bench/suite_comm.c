/* suite_comm.c - what each collective costs, and whether it moved the right words.
 * In the manner of nccl-tests (formulas: suite.h). The unit is a word of 4 bytes. Word i of what a
 * rank gives is a function of (rank, i), so every rank knows what it must hold; buffers are filled
 * with another value before the first round, and the words are counted that differ after the first
 * and after the last. A collective ends its sizes early when its part of the time is used up,
 * unless they were asked for (--bytes). The last row is the average of busbw over all rows. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "bench/suite.h"
#include "bench/suite_choice.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"

/* Sizes up to BYTES_ALWAYS cost so little that they are measured however short the time is. */
enum { BYTES_ALWAYS = 32 << 10 };
enum { ROUNDS_MAX = 100, ROUNDS_MIN = 3, TAG = 7, POISON = 0x5a };

static const size_t sizes[] = {8,         64,      512,      4 << 10, 32 << 10,
                               256 << 10, 2 << 20, 16 << 20, 64 << 20};

typedef struct {
    lt_group *group;
    int rank, size, one_host;
    lt_engine engine;
    size_t bytes;                  /* of this row */
    int64_t words;                 /* bytes / 4 */
    uint32_t *send, *recv;         /* host, the largest size and a few words for remainders */
    int64_t sent, first, received; /* words of send that are mine; of which word; words to check */
    lt_tensor x, y;
    int64_t *counts;
    lt_range *rows, *heads; /* [size] */
    int64_t width;
    lt_bench_choice chosen; /* its sizes are those to measure */
    int always;             /* whatever time they take */
    double busbw_sum;       /* of the rows so far that have one */
    int busbw_count;
} rig;

/* How a collective is set up for r->words, run once, and what word i of recv must be. */
typedef struct {
    const char *name;
    int is_device, has_bytes;
    double (*factor)(double ranks); /* busbw / algbw */
    lt_status (*prepare)(rig *r);
    lt_status (*run)(rig *r);
    uint32_t (*want)(const rig *r, int64_t i);
} collective;

static uint32_t word(int rank, int64_t i)
{
    return (uint32_t)i * 2654435761u + (uint32_t)rank * 40503u + 1u;
}

static double whole(double ranks) { return ranks > 0 ? 1.0 : 0.0; }
static double others(double ranks) { return (ranks - 1) / ranks; }
static double twice_others(double ranks) { return 2 * (ranks - 1) / ranks; }

/* ---- host ---- */

static void fill(rig *r, uint32_t *to, int64_t first, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        to[i] = word(r->rank, first + i);
}

static lt_status broadcast_prepare(rig *r)
{
    r->received = r->words;
    if (r->rank == 0)
        fill(r, r->recv, 0, r->words);
    return LT_OK;
}
static lt_status broadcast_run(rig *r) { return lt_broadcast(r->group, 0, r->recv, r->bytes); }
static uint32_t placed_want(const rig *r, int64_t i)
{
    (void)r;
    return word(0, i);
}

static lt_status gather_host_prepare(rig *r)
{
    r->sent = r->words / r->size > 0 ? r->words / r->size : 1;
    r->received = r->words = r->sent * r->size;
    fill(r, r->send, 0, r->sent);
    return LT_OK;
}
static lt_status gather_host_run(rig *r)
{
    return lt_all_gather_host(r->group, r->send, (size_t)r->sent * 4, r->recv);
}
static uint32_t gather_host_want(const rig *r, int64_t i)
{
    return word((int)(i / r->sent), i % r->sent);
}

static void share_words(rig *r)
{
    for (int i = 0; i < r->size; i++)
        r->rows[i] = lt_share(r->words, r->size, i);
    r->received = r->words;
}

/* Whose word it is shows in its place, so all write as rank 0 would. */
static void fill_at(uint32_t *to, int64_t first, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        to[i] = word(0, first + i);
}

static lt_status gather_ranges_prepare(rig *r)
{
    share_words(r);
    const lt_range mine = r->rows[r->rank];
    fill_at(r->recv + mine.first, mine.first, mine.count);
    return LT_OK;
}
static lt_status gather_ranges_run(rig *r)
{
    return lt_all_gather_ranges(r->group, r->recv, 4, r->rows);
}

static lt_status nothing_prepare(rig *r)
{
    r->words = 0;
    return LT_OK;
}

static double clock_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static lt_status barrier_run(rig *r) { return lt_barrier(r->group); }
static lt_status agree_run(rig *r) { return lt_agree(r->group, LT_OK); }

static lt_status pair_prepare(rig *r)
{
    r->sent = r->received = r->words;
    fill(r, r->send, 0, r->words);
    return LT_OK;
}
/* The last of an odd number talks to itself. */
static int partner(const rig *r) { return (r->rank ^ 1) < r->size ? r->rank ^ 1 : r->rank; }
static lt_status pair_run(rig *r)
{
    const lt_transfer both = {partner(r), r->send, r->bytes, r->recv, r->bytes};
    return lt_exchange(r->group, &both, 1, NULL);
}
static uint32_t pair_want(const rig *r, int64_t i) { return word(partner(r), i); }

static lt_status ring_run(rig *r)
{
    lt_request *coming = NULL, *going = NULL;
    const int next = (r->rank + 1) % r->size, previous = (r->rank + r->size - 1) % r->size;
    LT_TRY(lt_request_recv(r->group, previous, TAG, r->recv, r->bytes, &coming));
    LT_TRY(lt_request_send(r->group, next, TAG, r->send, r->bytes, &going));
    LT_TRY(lt_request_wait(&coming));
    LT_TRY(lt_request_wait(&going));
    return LT_OK;
}
static uint32_t ring_want(const rig *r, int64_t i)
{
    return word((r->rank + r->size - 1) % r->size, i);
}

/* ---- device: x from send, y to recv ---- */

static lt_status tensors(rig *r, lt_dtype dtype, lt_dims x, lt_dims y)
{
    LT_TRY(lt_tensor_new(r->engine.phase, "bench.x", dtype, &r->x, x));
    LT_TRY(lt_tensor_new(r->engine.phase, "bench.y", dtype, &r->y, y));
    LT_TRY(lt_upload(r->engine.compute, &r->x, r->send));
    LT_TRY(lt_upload(r->engine.compute, &r->y, r->recv));
    return lt_sync(r->engine.compute);
}

/* A step of ring attention. */
static lt_status ring_step_prepare(rig *r)
{
    LT_TRY(pair_prepare(r));
    return tensors(r, LT_I32, LT_DIMS(r->words), LT_DIMS(r->words));
}
static lt_status ring_step_run(rig *r)
{
    const int next = (r->rank + 1) % r->size, previous = (r->rank + r->size - 1) % r->size;
    const lt_tensor_transfer moves[2] = {{.peer = previous, .recv = r->y},
                                         {.peer = next, .send = r->x}};
    lt_event after, done;
    LT_TRY(lt_mark_event(r->engine.compute, &after));
    LT_TRY(lt_exchange_tensors(&r->engine, r->group, "exchange_tensors", &after, moves, 2, &done));
    LT_TRY(lt_wait(r->engine.compute, &done));
    return lt_sync(r->engine.compute);
}

static int64_t row_width(const rig *r) { return r->words >= 64 * r->size ? 64 : 1; }

static lt_status gather_rows_prepare(rig *r)
{
    const int64_t E = row_width(r), rows = r->words / E;
    for (int i = 0; i < r->size; i++)
        r->counts[i] = lt_share(rows, r->size, i).count;
    const lt_range mine = lt_share(rows, r->size, r->rank);
    fill_at(r->send, mine.first * E, mine.count * E);
    r->received = r->words = rows * E;
    return tensors(r, LT_I32, LT_DIMS(mine.count, E), LT_DIMS(rows, E));
}

/* Wait for what a collective of tensors made. */
static lt_status finish(rig *r, const lt_event *done)
{
    LT_TRY(lt_wait(r->engine.compute, done));
    return lt_sync(r->engine.compute);
}

static lt_status gather_rows_run(rig *r)
{
    lt_event after, done;
    LT_TRY(lt_mark_event(r->engine.compute, &after));
    LT_TRY(lt_all_gather_rows(&r->engine, r->group, &after, &r->x, r->counts, &r->y, &done));
    return finish(r, &done);
}

/* Whole numbers below 1024, so that sums are exact in any order. */
static float summand(int rank, int64_t i) { return (float)((i * 7 + rank * 13) & 1023); }

static lt_status sum_prepare(rig *r)
{
    const int64_t E = row_width(r), rows = r->words / E;
    float *x = (float *)(void *)r->send;
    r->received = r->words = rows * E;
    for (int64_t i = 0; i < r->words; i++)
        x[i] = summand(r->rank, i);
    return tensors(r, LT_F32, LT_DIMS(rows, E), LT_DIMS(rows, E));
}
static lt_status sum_run(rig *r)
{
    lt_event after, done;
    LT_TRY(lt_mark_event(r->engine.compute, &after));
    LT_TRY(lt_all_reduce(&r->engine, r->group, &after, &r->x, &r->y, &done));
    return finish(r, &done);
}
static uint32_t sum_want(const rig *r, int64_t i)
{
    union {
        float value;
        uint32_t bits;
    } sum = {0.0f};
    for (int rank = 0; rank < r->size; rank++)
        sum.value += summand(rank, i);
    return sum.bits;
}

/* One head a rank, of `width` columns: sequence-sharded [rows, P * width] on one side, head-sharded
 * [P * rows, width] on the other. Word i of the whole [P * rows, P * width] is word(0, i). */
static int64_t all_to_all_shape(rig *r)
{
    const int64_t P = r->size, each = r->words / P > 0 ? r->words / P : 1;
    r->width = each < 64 ? each : 64;
    const int64_t rows = each / r->width;
    for (int i = 0; i < r->size; i++) {
        r->rows[i] = (lt_range){i * rows, rows};
        r->heads[i] = (lt_range){i, 1};
    }
    r->received = r->words = rows * P * r->width;
    return rows;
}
static uint32_t heads_word(const rig *r, int64_t i)
{
    return word(0, (i / r->width * r->size + r->rank) * r->width + i % r->width);
}
static uint32_t rows_word(const rig *r, int64_t i) { return word(0, r->rank * r->words + i); }

static lt_status heads_prepare(rig *r)
{
    const int64_t rows = all_to_all_shape(r), P = r->size;
    for (int64_t i = 0; i < r->words; i++)
        r->send[i] = rows_word(r, i);
    return tensors(r, LT_I32, LT_DIMS(rows, P * r->width), LT_DIMS(P * rows, r->width));
}
static lt_status heads_run(rig *r)
{
    lt_event after, done;
    LT_TRY(lt_mark_event(r->engine.compute, &after));
    LT_TRY(lt_all_to_all_heads(&r->engine, r->group, &after, &r->x, r->rows, r->heads, r->width,
                               &r->y, &done));
    return finish(r, &done);
}
static lt_status rows_prepare(rig *r)
{
    const int64_t rows = all_to_all_shape(r), P = r->size;
    for (int64_t i = 0; i < r->words; i++)
        r->send[i] = heads_word(r, i);
    return tensors(r, LT_I32, LT_DIMS(P * rows, r->width), LT_DIMS(rows, P * r->width));
}
static lt_status rows_run(rig *r)
{
    lt_event after, done;
    LT_TRY(lt_mark_event(r->engine.compute, &after));
    LT_TRY(lt_all_to_all_rows(&r->engine, r->group, &after, &r->x, r->rows, r->heads, r->width,
                              &r->y, &done));
    return finish(r, &done);
}

static const collective collectives[] = {
    {"barrier", 0, 0, NULL, nothing_prepare, barrier_run, NULL},
    {"agree", 0, 0, NULL, nothing_prepare, agree_run, NULL},
    {"broadcast", 0, 1, whole, broadcast_prepare, broadcast_run, placed_want},
    {"all_gather_host", 0, 1, others, gather_host_prepare, gather_host_run, gather_host_want},
    {"all_gather_ranges", 0, 1, others, gather_ranges_prepare, gather_ranges_run, placed_want},
    {"all_gather_rows", 1, 1, others, gather_rows_prepare, gather_rows_run, placed_want},
    {"sum_partials", 1, 1, twice_others, sum_prepare, sum_run, sum_want},
    {"all_to_all_heads", 1, 1, others, heads_prepare, heads_run, heads_word},
    {"all_to_all_rows", 1, 1, others, rows_prepare, rows_run, rows_word},
    {"exchange_pair", 0, 1, whole, pair_prepare, pair_run, pair_want},
    {"exchange_tensors", 1, 1, whole, ring_step_prepare, ring_step_run, ring_want},
    {"ring_pass", 0, 1, whole, pair_prepare, ring_run, ring_want},
};
enum { COLLECTIVE_COUNT = sizeof collectives / sizeof *collectives };

/* ---- one row ---- */

static lt_status count_wrong(rig *r, const collective *c, int64_t *wrong)
{
    if (c->is_device) {
        LT_TRY(lt_download(r->engine.compute, r->recv, &r->y));
        LT_TRY(lt_sync(r->engine.compute));
    }
    for (int64_t i = 0; c->want != NULL && i < r->received; i++)
        *wrong += r->recv[i] != c->want(r, i);
    return LT_OK;
}

/* No rank may leave a barrier or an agreement before all are there: ranks of one host compare
 * their clocks. Counts itself when it left early. */
static lt_status count_early(rig *r, const collective *c, int64_t *wrong)
{
    double *entered = calloc((size_t)r->size, sizeof *entered);
    if (entered == NULL)
        LT_FAIL(LT_ENOMEM, "bench: no memory for %d times", r->size);
    if (r->rank == r->size - 1) /* one comes late */
        nanosleep(&(struct timespec){0, 2000000}, NULL);
    const double in = clock_s();
    lt_status st = c->run(r);
    const double out = clock_s();
    if (st == LT_OK)
        st = lt_all_gather_host(r->group, &in, sizeof in, entered);
    for (int i = 0; st == LT_OK && r->one_host && i < r->size; i++)
        *wrong += i != r->rank && !(out >= entered[i]);
    free(entered);
    LT_TRY(st);
    return LT_OK;
}

static lt_status rounds(rig *r, const collective *c, int count, double *seconds)
{
    for (int i = 0; i < count; i++) {
        LT_TRY(lt_barrier(r->group));
        const double began = lt_seconds();
        LT_TRY(c->run(r));
        seconds[i] = lt_seconds() - began;
    }
    return LT_OK;
}

/* Sums over the ranks what each of them found. */
static lt_status total(rig *r, int64_t *wrong)
{
    int64_t *all = calloc((size_t)r->size, sizeof *all);
    if (all == NULL)
        LT_FAIL(LT_ENOMEM, "bench: no memory for %d counts", r->size);
    const int64_t mine = *wrong;
    const lt_status st = lt_all_gather_host(r->group, &mine, sizeof mine, all);
    *wrong = 0;
    for (int i = 0; i < r->size; i++)
        *wrong += all[i];
    free(all);
    LT_TRY(st);
    return LT_OK;
}

static lt_status give_row(lt_bench *b, rig *r, const collective *c, int count, double median,
                          int64_t wrong)
{
    const double algbw = c->has_bytes && r->size > 1 ? (double)r->bytes / median / 1e9 : NAN;
    const double busbw = c->has_bytes ? algbw * c->factor((double)r->size) : NAN;
    json_t *row = NULL;
    if (isfinite(busbw)) {
        r->busbw_sum += busbw;
        r->busbw_count++;
    }
    if (r->rank == 0)
        row =
            json_pack("{s:s, s:s, s:i, s:s, s:I, s:I, s:i, s:o, s:o, s:o}", "suite", "comm",
                      "collective", c->name, "ranks", r->size, "transport",
                      lt_group_transport(r->group), "bytes", (json_int_t)r->bytes, "count",
                      (json_int_t)r->words, "rounds", count, "time_us", lt_bench_real(median * 1e6),
                      "algbw", lt_bench_real(algbw), "busbw", lt_bench_real(busbw));
    return lt_bench_row(b, row, wrong);
}

/* *least_s: what the row would have taken with the fewest rounds. */
static lt_status measure(lt_bench *b, rig *r, const collective *c, size_t bytes, double share_s,
                         double *least_s)
{
    const double began = lt_seconds();
    double seconds[ROUNDS_MAX], median = NAN;
    int64_t wrong = 0;
    int count = 0;
    const lt_mark mark = lt_arena_mark(r->engine.phase);
    r->words = (int64_t)bytes / 4;
    r->bytes = bytes;
    memset(r->recv, POISON, bytes + (size_t)r->size * 4);
    LT_TRY(c->prepare(r));
    r->bytes = (size_t)r->words * 4;
    LT_TRY(rounds(r, c, 1, seconds));
    LT_TRY(c->has_bytes ? count_wrong(r, c, &wrong) : count_early(r, c, &wrong));
    if (b->timed) {
        LT_TRY(lt_bench_rounds(r->group, seconds[0], share_s, ROUNDS_MAX, &count));
        count = count < ROUNDS_MIN ? ROUNDS_MIN : count;
        LT_TRY(rounds(r, c, count, seconds));
        LT_TRY(lt_bench_slowest(r->group, seconds, count, &median));
        LT_TRY(c->has_bytes ? count_wrong(r, c, &wrong) : count_early(r, c, &wrong));
    }
    LT_TRY(total(r, &wrong));
    lt_arena_release(r->engine.phase, mark);
    *least_s = lt_seconds() - began;
    for (int i = ROUNDS_MIN; i < count; i++)
        *least_s -= seconds[i];
    return give_row(b, r, c, count, median, wrong);
}

/* All sizes that fit into what is left, shared evenly among this collective and those behind it. */
static lt_status all_sizes(lt_bench *b, rig *r, const collective *c, int left)
{
    const double began = lt_seconds(), part = (b->ends_at - began) / left;
    double least_s = 0.0;
    for (int i = 0; i < r->chosen.byte_count; i++) {
        const size_t bytes = r->chosen.bytes[i];
        if (!c->has_bytes && i > 0)
            return LT_OK;
        if (c->want == ring_want && r->size == 1)
            return LT_OK; /* no rank to pass to */
        const double now = lt_seconds();
        const double ratio = i > 0 ? (double)bytes / (double)r->chosen.bytes[i - 1] : 1.0;
        int more = bytes <= BYTES_ALWAYS || r->always ||
                   now - began + least_s * (least_s < 0.01 ? 1.0 : ratio) <= part;
        LT_TRY(lt_broadcast(r->group, 0, &more, sizeof more)); /* rank 0's clock counts */
        if (!more) {
            lt_log0(1, "bench", "%s: sizes from %zu bytes on are left out: --budget is used up",
                    c->name, bytes);
            return LT_OK;
        }
        LT_TRY(measure(b, r, c, bytes, part / 30, &least_s));
    }
    return LT_OK;
}

/* As nccl-tests' last line; the wrong words are the rows' own. */
static lt_status average_row(lt_bench *b, const rig *r)
{
    const double average = r->busbw_count > 0 ? r->busbw_sum / r->busbw_count : NAN;
    json_t *row = NULL;
    if (r->rank == 0)
        row = json_pack("{s:s, s:s, s:i, s:s, s:i, s:i, s:i, s:n, s:n, s:o}", "suite", "comm",
                        "collective", "average", "ranks", r->size, "transport",
                        lt_group_transport(r->group), "bytes", 0, "count", 0, "rounds",
                        r->busbw_count, "time_us", "algbw", "busbw", lt_bench_real(average));
    return lt_bench_row(b, row, 0);
}

static lt_status choose(const lt_job *job, rig *r)
{
    const char *names[COLLECTIVE_COUNT];
    for (int i = 0; i < COLLECTIVE_COUNT; i++)
        names[i] = collectives[i].name;
    LT_TRY(lt_bench_choose(job->op, names, COLLECTIVE_COUNT, job->bytes, &r->chosen));
    r->always = r->chosen.byte_count > 0;
    for (size_t i = 0; !r->always && i < sizeof sizes / sizeof *sizes; i++)
        r->chosen.bytes[r->chosen.byte_count++] = sizes[i];
    return LT_OK;
}

static lt_status all_collectives(lt_bench *b, rig *r)
{
    int left = 0;
    for (int i = 0; i < COLLECTIVE_COUNT; i++)
        left += (int)(r->chosen.ops >> i & 1u);
    for (int i = 0; i < COLLECTIVE_COUNT; i++)
        if (r->chosen.ops >> i & 1u)
            LT_TRY(all_sizes(b, r, &collectives[i], left--));
    return average_row(b, r);
}

static lt_status run(lt_bench *b)
{
    lt_mesh mesh;
    rig r = {.group = b->world,
             .rank = lt_group_rank(b->world),
             .size = lt_group_size(b->world),
             .one_host = b->one_host};
    LT_TRY(choose(b->job, &r)); /* the same flags on every rank */
    size_t room = 0;
    for (int i = 0; i < r.chosen.byte_count; i++)
        room = r.chosen.bytes[i] > room ? r.chosen.bytes[i] : room;
    room += (size_t)r.size * 64;
    const size_t ranks = (size_t)r.size;
    lt_status st = LT_OK;
    LT_TRY(lt_mesh_open(b->world, &(lt_mesh_spec){{1, 1, 1, r.size, 1}}, &mesh));
    r.send = malloc(room);
    r.recv = malloc(room);
    r.counts = calloc(ranks, sizeof *r.counts);
    r.rows = calloc(ranks, sizeof *r.rows);
    r.heads = calloc(ranks, sizeof *r.heads);
    if (!r.send || !r.recv || !r.counts || !r.rows || !r.heads)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "bench: no memory for two buffers of %zu bytes",
                     room);
    if (st == LT_OK)
        st = lt_engine_open(&lt_backend_cpu, 0, b->threads, &mesh, 3 * room, 3 * room, &r.engine);
    st = lt_agree(b->world, st);
    if (st == LT_OK)
        st = all_collectives(b, &r);
    lt_engine_close(&r.engine);
    free(r.send);
    free(r.recv);
    free(r.counts);
    free(r.rows);
    free(r.heads);
    lt_mesh_close(&mesh);
    LT_TRY(st);
    return LT_OK;
}

static const lt_bench_column columns[] = {
    {"collective", "collective", -18, 0},
    {"bytes", "bytes", 9, 0},
    {"count", "count", 9, 0},
    {"rounds", "rounds", 6, 0},
    {"time_us", "us", 10, 1},
    {"algbw", "algbw", 7, 2},
    {"busbw", "busbw", 7, 2},
    {"wrong", "wrong", 6, 0},
};

const lt_bench_suite lt_bench_comm = {
    .name = "comm",
    .units = "bytes: a rank's whole buffer; us: median of the slowest rank; algbw, busbw: 10^9 "
             "bytes/s",
    .columns = columns,
    .column_count = sizeof columns / sizeof *columns,
    .has_choice = 1,
    .run = run};

/* suite_attention.c - one attention over the ranks, arrangement by arrangement.
 *
 * Three runs of the same call tell where its time goes (words and formulas: suite.h):
 *
 *     both            as it is
 *     compute         on groups whose transport moves nothing: time inside the compute queue's ops
 *     communication   with a compute queue that drops its ops: what remains is moving bytes
 *
 * Both use the doors that are there anyway: a queue's backend is a table, a group's transport is
 * one. Runs with a part left out make no sense of their tensors; the result that is compared comes
 * from a whole run. The three follow each other in every round, so that a machine that slows down
 * slows all three.
 *
 * What can be hidden depends on who moves the bytes. Between ranks of one host a core copies them,
 * and where compute has every core, copying takes its time from compute, hidden or not. A GPU
 * computes while the host's cores are free to move bytes. So the overlap is measured for both: with
 * ops that run on the cores, and with a device's, whose ops take as long (as the same op did on the
 * cores in the same round) and no core.
 *
 * The reference: each rank computes its own rows over all keys alone, from inputs that are a
 * function of their coordinates. A position of the mesh holds the same rows in every arrangement; a
 * rank that placement moves to another one gets that one's inputs. */
#include <assert.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "bench/suite.h"
#include "parallel/attention/attention.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"
#include "parallel/transport/traffic.h"
#include "parallel/transport/transport_impl.h"
#include "run/plan.h"

enum { ROUNDS_MAX = 64, OVERLAP_ROUNDS = 9 };
static const double tolerance = 1e-5; /* DESIGN section 9: f32 on another mesh */

/* One attention: rows of all ranks, heads, width. */
typedef struct {
    int64_t rows, heads, width;
} problem;

/* Without times a prime length says more: no share is even. */
static const problem usual = {4096, 8, 64}, untimed = {1021, 8, 64};
/* K and V of a block: 2 * 32 rows * 65,536 columns * 4 bytes = 16 MiB. Many columns and few rows,
 * since compute grows with rows times rows and must not dwarf the message: what is looked for is a
 * difference of the size of the latter. */
static const problem overlap_of_one = {256, 64, 128};

typedef struct {
    lt_bench *bench;
    lt_engine engine;
    problem of;
    lt_mark empty; /* of the phase arena: before q */
    int position;  /* whose inputs these are; -1: none */
    lt_range mine;
    lt_tensor q, k, v, y;
    float *result, *alone; /* [mine.count, heads * width] */
    double largest;        /* of all ranks' alone */
} rig;

/* What one arrangement showed. */
typedef struct {
    uint64_t bytes, formula; /* sent by all ranks */
    double diff;
    int64_t wrong;
    int rounds;
    double both, compute, communication, overlap; /* seconds */
} outcome;

/* ---- the doors ---- */

enum { OPS_MAX = 4096 };
static enum { RUN, DROP, HOLD } ops = RUN;
static double ops_s;         /* spent in ops since it was set to 0 */
static double took[OPS_MAX]; /* each op of the last attention that ran */
static int op_at;            /* of this attention */

/* A sleep may end this much late; the rest of an op's time is waited out by yielding. */
static const double wake_s = 1e-3;

/* As long as the same op took on the cores, on none. */
static void hold(double began)
{
    const double until = began + (op_at < OPS_MAX ? took[op_at] : 0.0);
    for (double now = began; now < until; now = lt_seconds()) {
        const long ns = (long)((until - now - wake_s) * 1e9);
        if (ns > 0)
            (void)nanosleep(&(struct timespec){ns / 1000000000, ns % 1000000000}, NULL);
        else
            (void)sched_yield();
    }
    op_at++;
}

static lt_status clocked_submit(lt_queue *q, const lt_op *op)
{
    if (q->kind != LT_QUEUE_COMPUTE)
        return lt_backend_cpu.submit(q, op); /* perhaps on the comm queue's thread */
    if (ops == DROP)
        return LT_OK;
    const double began = lt_seconds();
    if (ops == HOLD) {
        hold(began);
        return LT_OK;
    }
    const lt_status st = lt_backend_cpu.submit(q, op);
    const double seconds = lt_seconds() - began;
    ops_s += seconds;
    if (op_at < OPS_MAX)
        took[op_at++] = seconds;
    return st;
}

/* An event of one queue is waited for on another, so all three have the same backend. */
static void use_backend(lt_engine *engine, const lt_backend *backend)
{
    engine->compute->backend = engine->comm->backend = engine->copy->backend = backend;
}

static lt_status silent_exchange(lt_group *group, const lt_transfer *list, int count,
                                 const lt_host_call *call)
{
    (void)group, (void)list, (void)count, (void)call;
    return LT_OK;
}

static const lt_transport silent = {.name = "silent", .exchange = silent_exchange};

static lt_group silent_group(const lt_group *like)
{
    return (lt_group){
        .transport = &silent, .rank = lt_group_rank(like), .size = lt_group_size(like)};
}

/* ---- inputs and reference ---- */

static void fill(float *x, uint32_t what, lt_range rows, int64_t columns)
{
    for (int64_t r = 0; r < rows.count; r++)
        for (int64_t c = 0; c < columns; c++)
            x[r * columns + c] = (float)lt_bench_hash(what, rows.first + r, c) / 8388608.0f - 1.0f;
}

static float scale_of(const problem *p) { return (float)(1.0 / sqrt((double)p->width)); }

static lt_status up(rig *r, const char *name, uint32_t what, lt_range rows, float *host,
                    lt_tensor *out)
{
    const int64_t E = r->of.heads * r->of.width;
    LT_TRY(lt_tensor_new(r->engine.phase, name, LT_F32, out, LT_DIMS(rows.count, E)));
    fill(host, what, rows, E);
    LT_TRY(lt_upload(r->engine.compute, out, host));
    return lt_sync(r->engine.compute);
}

static double largest_of(const float *x, int64_t count)
{
    double largest = 0.0;
    for (int64_t i = 0; i < count; i++)
        largest = fmax(largest, fabs((double)x[i]));
    return largest;
}

/* alone = attention of my rows over all keys, by one kernel call. */
static lt_status reference(rig *r, float *host)
{
    const lt_range all = {0, r->of.rows};
    const int64_t heads = r->of.heads;
    const lt_mark mark = lt_arena_mark(r->engine.phase);
    lt_tensor k, v;
    LT_TRY(up(r, "bench.k.all", 1, all, host, &k));
    LT_TRY(up(r, "bench.v.all", 2, all, host, &v));
    LT_TRY(lt_attention(r->engine.compute, &r->q, &k, &v, heads, heads, scale_of(&r->of), 0, 0,
                        &r->y, NULL));
    LT_TRY(lt_download(r->engine.compute, r->alone, &r->y));
    LT_TRY(lt_sync(r->engine.compute));
    lt_arena_release(r->engine.phase, mark);
    return LT_OK;
}

static void rig_empty(rig *r)
{
    free(r->result);
    free(r->alone);
    r->result = r->alone = NULL;
    lt_arena_release(r->engine.phase, r->empty);
    r->position = -1;
}

static lt_status rig_fill(rig *r, int position)
{
    const problem *p = &r->of;
    const int64_t E = p->heads * p->width;
    if (r->position == position)
        return LT_OK;
    rig_empty(r);
    r->mine = lt_share(p->rows, lt_group_size(r->bench->world), position);
    const size_t mine = (size_t)(r->mine.count * E) * sizeof(float);
    float *host = malloc((size_t)(p->rows * E) * sizeof *host);
    r->result = malloc(mine + 1);
    r->alone = malloc(mine + 1);
    lt_status st = LT_OK;
    if (host == NULL || r->result == NULL || r->alone == NULL)
        LT_FAIL_GOTO(LT_ENOMEM, st, done, "bench: no memory for %lld rows", (long long)p->rows);
    LT_TRY_GOTO(up(r, "bench.q", 0, r->mine, host, &r->q), st, done);
    LT_TRY_GOTO(up(r, "bench.k", 1, r->mine, host, &r->k), st, done);
    LT_TRY_GOTO(up(r, "bench.v", 2, r->mine, host, &r->v), st, done);
    LT_TRY_GOTO(lt_tensor_new(r->engine.phase, "bench.y", LT_F32, &r->y, LT_DIMS(r->mine.count, E)),
                st, done);
    LT_TRY_GOTO(reference(r, host), st, done);
    r->largest = largest_of(r->alone, r->mine.count * E);
    r->position = position;
done:
    free(host);
    return st;
}

/* ---- one arrangement ---- */

static lt_status attend(rig *r, const lt_attention_share *share)
{
    op_at = 0;
    LT_TRY(lt_attention_dist(&r->engine, share, scale_of(&r->of), &r->q, &r->k, &r->v, &r->y));
    return lt_sync(r->engine.compute);
}

/* What each rank found, and what the row makes of all of it. */
typedef struct {
    uint64_t sent, received, formula_sent, formula_received;
    double worst, largest;
} finding;

static lt_status check(rig *r, const lt_attention_share *share, outcome *out)
{
    assert(r->result != NULL && r->alone != NULL);
    lt_group *world = r->bench->world;
    const int size = lt_group_size(world);
    const int64_t count = r->mine.count * r->of.heads * r->of.width;
    finding mine = {.largest = r->largest}, *all = calloc((size_t)size, sizeof *all);
    if (all == NULL)
        LT_FAIL(LT_ENOMEM, "bench: no memory for %d ranks", size);
    lt_status st = LT_OK;
    LT_TRY_GOTO(lt_barrier(world), st, done);
    lt_traffic_reset();
    LT_TRY_GOTO(attend(r, share), st, done);
    const lt_traffic moved = lt_traffic_read(), must = lt_attention_traffic(share);
    mine.sent = moved.sent_bytes;
    mine.received = moved.received_bytes;
    mine.formula_sent = must.sent_bytes;
    mine.formula_received = must.received_bytes;
    LT_TRY_GOTO(lt_download(r->engine.compute, r->result, &r->y), st, done);
    LT_TRY_GOTO(lt_sync(r->engine.compute), st, done);
    for (int64_t i = 0; i < count; i++) {
        const double d = fabs((double)r->result[i] - (double)r->alone[i]);
        mine.worst = lt_bench_worse(mine.worst, d);
    }
    LT_TRY_GOTO(lt_all_gather_host(world, &mine, sizeof mine, all), st, done);
    double worst = 0.0, largest = 1e-30;
    for (int i = 0; i < size; i++) {
        out->bytes += all[i].sent;
        out->formula += all[i].formula_sent;
        out->wrong |= all[i].sent != all[i].formula_sent;
        out->wrong |= all[i].received != all[i].formula_received;
        worst = lt_bench_worse(worst, all[i].worst);
        largest = fmax(largest, all[i].largest);
    }
    out->diff = worst / largest;
    out->wrong |= !(out->diff <= tolerance);
done:
    free(all);
    return st;
}

/* Seconds of the three runs of one round on this rank. device: the whole run's ops take no core. */
static lt_status one_round(rig *r, const lt_attention_share *share, const lt_attention_share *alone,
                           int device, double seconds[3])
{
    lt_group *world = r->bench->world;
    LT_TRY(lt_barrier(world));
    ops = DROP;
    double began = lt_seconds();
    LT_TRY(attend(r, share));
    seconds[2] = lt_seconds() - began;
    ops = RUN;
    LT_TRY(lt_barrier(world));
    ops_s = 0.0;
    LT_TRY(attend(r, alone));
    seconds[1] = ops_s;
    LT_TRY(lt_barrier(world));
    ops = device ? HOLD : RUN;
    began = lt_seconds();
    LT_TRY(attend(r, share));
    seconds[0] = lt_seconds() - began;
    ops = RUN;
    return LT_OK;
}

/* all [size][rounds][3] -> medians of the slowest rank's times, and of the rounds' overlaps. */
static void sum_up(const double *all, int size, outcome *out)
{
    double each[3][ROUNDS_MAX], overlap[ROUNDS_MAX];
    for (int i = 0; i < out->rounds; i++) {
        double t[3] = {0.0, 0.0, 0.0};
        for (int rank = 0; rank < size; rank++)
            for (int k = 0; k < 3; k++)
                t[k] = fmax(t[k], all[(rank * out->rounds + i) * 3 + k]);
        for (int k = 0; k < 3; k++)
            each[k][i] = t[k];
        overlap[i] = (t[1] + t[2] - t[0]) / t[2];
    }
    out->both = lt_bench_median(each[0], out->rounds);
    out->compute = lt_bench_median(each[1], out->rounds);
    out->communication = lt_bench_median(each[2], out->rounds);
    out->overlap = lt_bench_median(overlap, out->rounds);
}

/* rounds 0: as many as fit into share_s. */
static lt_status time_it(rig *r, const lt_attention_share *share, int rounds, double share_s,
                         int device, outcome *out)
{
    lt_group *world = r->bench->world;
    const int size = lt_group_size(world);
    lt_group ring = silent_group(share->ring), uly = silent_group(share->uly);
    lt_attention_share alone = *share;
    alone.ring = &ring;
    alone.uly = &uly;
    double mine[ROUNDS_MAX][3];
    const double began = lt_seconds();
    LT_TRY(one_round(r, share, &alone, device, mine[0]));
    if (rounds == 0)
        LT_TRY(lt_bench_rounds(world, lt_seconds() - began, share_s, ROUNDS_MAX, &rounds));
    for (int i = 0; i < rounds; i++)
        LT_TRY(one_round(r, share, &alone, device, mine[i]));
    double *all = calloc((size_t)size * (size_t)rounds, sizeof mine[0]);
    if (all == NULL)
        LT_FAIL(LT_ENOMEM, "bench: no memory for %d times", rounds);
    const lt_status st = lt_all_gather_host(world, mine, (size_t)rounds * sizeof mine[0], all);
    out->rounds = rounds;
    if (st == LT_OK)
        sum_up(all, size, out);
    free(all);
    LT_TRY(st);
    return LT_OK;
}

static lt_status give_row(rig *r, const lt_mesh_spec *spec, const lt_attention_share *share,
                          int device, const outcome *o)
{
    char mesh[64], algorithm[32] = "-";
    json_t *row = NULL;
    const int timed = o->rounds > 0;
    const double exposed = o->both - o->compute, hidden = o->communication - exposed;
    const int shared = timed && o->bytes > 0;
    const int noise = shared && lt_bench_is_noise(exposed, hidden, o->overlap);
    const double parts = timed && !noise ? 1e3 : NAN;
    (void)snprintf(mesh, sizeof mesh, "ring=%d,uly=%d", spec->size[LT_AXIS_RING],
                   spec->size[LT_AXIS_ULY]);
    if (share->grid_rows > 0)
        (void)snprintf(algorithm, sizeof algorithm, "%dx%d", share->grid_rows, share->grid_columns);
    else if (spec->size[LT_AXIS_RING] > 1)
        (void)snprintf(algorithm, sizeof algorithm, "ring");
    if (lt_group_rank(r->bench->world) == 0)
        row = json_pack(
            "{s:s, s:s, s:s, s:s, s:i, s:I, s:I, s:I, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I, "
            "s:o, s:b}",
            "suite", "attention", "mesh", mesh, "way", algorithm, "compute_on",
            device ? "device" : "cores", "ranks", lt_group_size(r->bench->world), "rows",
            (json_int_t)r->of.rows, "heads", (json_int_t)r->of.heads, "width",
            (json_int_t)r->of.width, "rounds", o->rounds, "ms",
            lt_bench_real(timed ? o->both * 1e3 : NAN), "compute_ms",
            lt_bench_real(timed ? o->compute * 1e3 : NAN), "communication_ms",
            lt_bench_real(timed ? o->communication * 1e3 : NAN), "exposed_ms",
            lt_bench_real(exposed * parts), "hidden_ms", lt_bench_real(hidden * parts), "overlap",
            lt_bench_real(shared && !noise ? o->overlap : NAN), "bytes", (json_int_t)o->bytes,
            "formula", (json_int_t)o->formula, "diff", lt_bench_real(o->diff), "noise", noise);
    return lt_bench_row(r->bench, row, o->wrong);
}

/* grid_columns: ranks of a 2-D row; 0: the ring. */
static lt_status arrangement(rig *r, int ring, int uly, int grid_columns, int rounds,
                             double share_s, int device)
{
    lt_mesh mesh;
    lt_attention_share share = {0};
    outcome o = {0};
    const lt_mesh_spec spec = {{1, 1, ring, uly, 1}};
    LT_TRY(lt_mesh_open_placed(r->bench->world, &spec, lt_plan_placement(r->bench->job->placement),
                               &mesh));
    mesh.attention = grid_columns > 0 ? LT_ATTENTION_2D : LT_ATTENTION_RING;
    r->engine.mesh = &mesh;
    lt_status st = LT_OK;
    LT_TRY_GOTO(rig_fill(r, mesh.position), st, done);
    LT_TRY_GOTO(lt_attention_share_new(&mesh, r->of.rows, r->of.heads, r->of.width, LT_F32,
                                       grid_columns, &share),
                st, done);
    LT_TRY_GOTO(check(r, &share, &o), st, done);
    int go = r->bench->timed;
    if (rounds == 0)
        LT_TRY_GOTO(lt_bench_may_time(r->bench, &go), st, done);
    if (go)
        LT_TRY_GOTO(time_it(r, &share, rounds, share_s, device, &o), st, done);
    LT_TRY_GOTO(give_row(r, &spec, &share, device, &o), st, done);
done:
    lt_attention_share_free(&share);
    r->engine.mesh = NULL;
    lt_mesh_close(&mesh);
    return st;
}

/* ---- all of them ---- */

/* The next of all (ring, uly, grid_columns) with ring * uly = size; grid_columns 0 is the ring,
 * then the divisors of ring. 0: no more. Begin with all 0. */
static int next_arrangement(int size, int *ring, int *uly, int *grid_columns)
{
    if (*uly == 0) {
        *uly = 1;
        *ring = size;
        *grid_columns = 0;
        return 1;
    }
    for (int a = *grid_columns + 1; *ring > 1 && a <= *ring; a++)
        if (*ring % a == 0) {
            *grid_columns = a;
            return 1;
        }
    for (int u = *uly + 1; u <= size; u++)
        if (size % u == 0) {
            *uly = u;
            *ring = size / u;
            *grid_columns = 0;
            return 1;
        }
    return 0;
}

static lt_status all_arrangements(rig *r)
{
    const int size = lt_group_size(r->bench->world);
    int left = 0, ring = 0, uly = 0, grid_columns = 0;
    while (next_arrangement(size, &ring, &uly, &grid_columns))
        left++;
    r->of = r->bench->timed ? usual : untimed;
    ring = uly = grid_columns = 0;
    for (; next_arrangement(size, &ring, &uly, &grid_columns); left--) {
        /* The row's check and first round take time too, and so does the overlap row. */
        const double share_s = (r->bench->ends_at - lt_seconds()) * 2 / 3 / left;
        LT_TRY(arrangement(r, ring, uly, grid_columns, 0, share_s * 2 / 3, 0));
    }
    rig_empty(r);
    return LT_OK;
}

static lt_status overlap_rows(rig *r)
{
    const int size = lt_group_size(r->bench->world);
    if (size == 1 || !r->bench->timed)
        return LT_OK;
    problem p = overlap_of_one;
    p.rows *= size;
    r->of = p;
    for (int device = 0; device < 2; device++)
        LT_TRY(arrangement(r, size, 1, 0, OVERLAP_ROUNDS, 0.0, device));
    return LT_OK;
}

static lt_status run(lt_bench *b)
{
    rig r = {.bench = b, .position = -1};
    lt_backend clocked = lt_backend_cpu;
    clocked.submit = clocked_submit;
    lt_status st = lt_engine_open(&lt_backend_cpu, 0, b->threads, NULL, lt_bench_arena_bytes(),
                                  lt_bench_arena_bytes(), &r.engine);
    LT_TRY(lt_agree(b->world, st));
    use_backend(&r.engine, &clocked);
    r.empty = lt_arena_mark(r.engine.phase);
    st = all_arrangements(&r);
    if (st == LT_OK)
        st = overlap_rows(&r);
    rig_empty(&r);
    use_backend(&r.engine, &lt_backend_cpu);
    lt_engine_close(&r.engine);
    LT_TRY(st);
    return LT_OK;
}

static const lt_bench_column columns[] = {
    {"mesh", "mesh", -12, 0},
    {"way", "way", -4, 0},
    {"compute_on", "compute on", -10, 0},
    {"rows", "rows", 5, 0},
    {"heads", "heads", 5, 0},
    {"width", "width", 5, 0},
    {"ms", "ms", 8, 2},
    {"compute_ms", "compute", 8, 2},
    {"communication_ms", "comm", 7, 2},
    {"exposed_ms", "exposed", 7, 2},
    {"hidden_ms", "hidden", 7, 2},
    {"overlap", "overlap", 7, 2},
    {"bytes", "bytes", 11, 0},
    {"formula", "formula", 11, 0},
    {"diff", "diff", 8, -1},
    {"wrong", "wrong", 5, 0},
};

const lt_bench_suite lt_bench_attention = {
    .name = "attention",
    .units =
        "ms: median of the slowest rank; bytes: sent by all ranks; overlap: share of comm that is "
        "hidden;\n# noise: no such share, other work had the cores",
    .columns = columns,
    .column_count = sizeof columns / sizeof *columns,
    .run = run};

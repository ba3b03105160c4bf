/* suite_mesh.c - one evaluation of a DiT on mesh after mesh, against one rank.
 *
 * The first P ranks form each mesh of the list that fits; the others wait. Rank 0 evaluates alone
 * first, its velocities are broadcast, and every rank of a mesh compares the whole of its own.
 * Bytes that a rank must send in one evaluation (receive: the same with the other's part), with
 * S_m its rows, T = tp, E the hidden size, layers of the blocks:
 *
 *     attention   layers * the closed form of attention.h for its tp share of the heads
 *     tp sums     2 * layers * 4 E (S_m - s + (T - 1) s)     s: its share of S_m over tp
 *     velocities  4 (ring * uly - 1) * (its video rows * their width + audio rows * theirs)
 *
 * With --deterministic every mesh must give rank 0's bits: `wrong` counts any difference; shares
 * are unions of chunks, and a rank sends n partial sums of its n whole subtrees
 * (ordered_reduce.h). What it costs is the times' ratio to those without the flag.
 *
 * One row block holds all rows here (h3_dit_internal.h: 1,024), and an evaluation's rows number 199
 * or so; the win and cfg axes move nothing inside an evaluation. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "bench/suite.h"
#include "model/files/remote/source.h"
#include "model/h3/h3.h"
#include "parallel/attention/attention.h"
#include "parallel/fixed_tree.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"
#include "parallel/transport/traffic.h"
#include "run/pipeline.h"
#include "run/plan.h"
#include "run/session.h"

enum { FRAMES = 22, PIXELS = 128, TEXT_ROWS = 13, TIMESTEPS = 3, ROUNDS_MAX = 25, RANKS_MAX = 8 };
static const double tolerance = 1e-5; /* of the largest value: DESIGN section 9, f32 */
static const float timesteps[TIMESTEPS] = {0.0f, 0.25f, 0.5f};

static const struct {
    const char *mesh;
    lt_attention_algorithm algorithm;
} cases[] = {
    {"win=1", LT_ATTENTION_AUTO},
    {"tp=2", LT_ATTENTION_AUTO},
    {"uly=2", LT_ATTENTION_AUTO},
    {"ring=2", LT_ATTENTION_AUTO},
    {"win=2", LT_ATTENTION_AUTO},
    {"cfg=2", LT_ATTENTION_AUTO},
    {"tp=3", LT_ATTENTION_AUTO},
    {"uly=3", LT_ATTENTION_AUTO},
    {"ring=3", LT_ATTENTION_AUTO},
    {"tp=4", LT_ATTENTION_AUTO},
    {"uly=4", LT_ATTENTION_AUTO},
    {"ring=4", LT_ATTENTION_RING},
    {"ring=4", LT_ATTENTION_2D},
    {"ring=2,uly=2", LT_ATTENTION_AUTO},
    {"ring=2,tp=2", LT_ATTENTION_AUTO},
    {"uly=2,tp=2", LT_ATTENTION_AUTO},
    {"win=2,ring=2", LT_ATTENTION_AUTO},
    {"win=2,cfg=2", LT_ATTENTION_AUTO},
    {"cfg=2,tp=2", LT_ATTENTION_AUTO},
    {"ring=5", LT_ATTENTION_RING},
    {"uly=5", LT_ATTENTION_AUTO},
    {"ring=6", LT_ATTENTION_2D},
    {"ring=3,uly=2", LT_ATTENTION_AUTO},
    {"ring=2,tp=3", LT_ATTENTION_AUTO},
    {"ring=7", LT_ATTENTION_RING},
    {"tp=7", LT_ATTENTION_AUTO},
    {"ring=8", LT_ATTENTION_RING},
    {"ring=8", LT_ATTENTION_2D},
    {"ring=4,uly=2", LT_ATTENTION_AUTO},
    {"ring=2,uly=2,tp=2", LT_ATTENTION_AUTO},
    {"win=2,ring=2,uly=2", LT_ATTENTION_AUTO},
    {"win=2,cfg=2,uly=2", LT_ATTENTION_AUTO},
    {"uly=4,tp=2", LT_ATTENTION_AUTO},
    {"tp=8", LT_ATTENTION_AUTO},
};

typedef struct {
    lt_bench *bench;
    lt_h3_model *model;
    lt_h3_layout *layout;
    int32_t *index;                   /* [S] */
    int64_t video_count, audio_count; /* values of the velocities */
    float *video, *audio, *text;      /* inputs */
    float *video_alone, *audio_alone; /* rank 0's velocities, on all ranks */
    float *video_out, *audio_out;
} rig;

/* What one rank found on one mesh. */
typedef struct {
    int64_t took_part;
    double diff;
    uint64_t sent, received, formula_sent, formula_received;
} finding;

/* ---- closed forms ---- */

static int64_t rows_in(const int64_t *indices, int64_t count, lt_range share)
{
    int64_t n = 0;
    for (int64_t i = 0; i < count; i++)
        n += indices[i] >= share.first && indices[i] < share.first + share.count;
    return n;
}

typedef struct {
    int64_t sent, received;
} traffic;

/* One layer's two sums over tp of `rows` rows; sums and what is gathered are both f32. */
static traffic rank_sums(int64_t hidden, int64_t rows, int tp, int rank)
{
    const int64_t s = lt_share(rows, tp, rank).count;
    const int64_t bytes = 2 * 4 * hidden * (rows - s + (tp - 1) * s);
    return (traffic){bytes, bytes};
}

/* The same along the tree of chunks: as many partial sums as a rank holds whole subtrees. */
static traffic tree_sums(const lt_h3_dit_config *c, const lt_mesh *mesh, int64_t rows)
{
    const int64_t totals[2] = {c->heads, c->ffn};
    const int tp = mesh->spec.size[LT_AXIS_TP], rank = mesh->at[LT_AXIS_TP];
    const int64_t s = lt_share(rows, tp, rank).count;
    traffic all = {0, 0};
    for (int i = 0; i < 2 && tp > 1; i++) {
        lt_tree_node node[LT_TREE_NODES_MAX];
        int64_t others = 0;
        for (int peer = 0; peer < tp; peer++)
            others += peer == rank ? 0 : lt_tree_nodes(totals[i], lt_chunks_of(tp, peer), node);
        const int64_t mine = lt_tree_nodes(totals[i], lt_chunks_of(tp, rank), node);
        all.sent += 4 * c->hidden * (mine * (rows - s) + (tp - 1) * s);
        all.received += 4 * c->hidden * (others * s + rows - s);
    }
    return all;
}

static lt_status formula(const rig *r, const lt_mesh *mesh, finding *f)
{
    const lt_h3_dit_config *c = &r->model->dit_config;
    const lt_h3_layout *l = r->layout;
    const int tp = mesh->spec.size[LT_AXIS_TP], tokens = lt_group_size(mesh->tokens);
    const lt_range chunks = lt_chunks_of(tp, mesh->at[LT_AXIS_TP]);
    const int64_t heads = mesh->deterministic ? lt_chunks_elements(c->heads, chunks).count
                                              : lt_share(c->heads, tp, mesh->at[LT_AXIS_TP]).count;
    lt_attention_share share;
    LT_TRY(lt_attention_share_new(mesh, l->rows, heads, c->head_dim, LT_F32, 0, &share));
    const lt_traffic attention = lt_attention_traffic(&share);
    const lt_range mine = share.rows[lt_group_rank(mesh->tokens)];
    lt_attention_share_free(&share);
    const traffic sums = mesh->deterministic
                             ? tree_sums(c, mesh, mine.count)
                             : rank_sums(c->hidden, mine.count, tp, mesh->at[LT_AXIS_TP]);
    const int64_t video = rows_in(l->video_indices, l->video_rows, mine);
    const int64_t audio = rows_in(l->audio_indices, l->audio_rows, mine);
    const int64_t wide = lt_h3_dit_video_width(c), narrow = c->audio_channels;
    const int64_t out = 4 * (tokens - 1) * (video * wide + audio * narrow);
    const int64_t in = 4 * ((l->video_rows - video) * wide + (l->audio_rows - audio) * narrow);
    f->formula_sent = (uint64_t)c->layers * attention.sent_bytes +
                      (uint64_t)(c->layers * sums.sent) + (uint64_t)out;
    f->formula_received = (uint64_t)c->layers * attention.received_bytes +
                          (uint64_t)(c->layers * sums.received) + (uint64_t)in;
    return LT_OK;
}

/* ---- one mesh ---- */

static void compare(const float *a, const float *b, int64_t count, double *diff)
{
    double worst = 0.0, largest = 1e-30;
    for (int64_t i = 0; i < count; i++) {
        const double d = fabs((double)a[i] - (double)b[i]);
        worst = lt_bench_worse(worst, d);
        largest = fmax(largest, fabs((double)b[i]));
    }
    *diff = lt_bench_worse(*diff, worst / largest);
}

static lt_status forward(rig *r, lt_h3_dit *dit, lt_h3_dit_state *state)
{
    return lt_h3_dit_forward(dit, state, r->video, r->audio, r->index, r->video_out, r->audio_out);
}

static lt_status time_it(rig *r, const lt_mesh *mesh, lt_h3_dit *dit, lt_h3_dit_state *state,
                         double share_s, double *median)
{
    double seconds[ROUNDS_MAX];
    int rounds = 1;
    for (int i = -1; i < rounds; i++) { /* the first one says how many there will be */
        LT_TRY(lt_barrier(mesh->world));
        const double began = lt_seconds();
        LT_TRY(forward(r, dit, state));
        const double took = lt_seconds() - began;
        if (i < 0)
            LT_TRY(lt_bench_rounds(mesh->world, took, share_s, ROUNDS_MAX, &rounds));
        else
            seconds[i] = took;
    }
    return lt_bench_slowest(mesh->world, seconds, rounds, median);
}

/* Velocities of this mesh in video_out and audio_out; bytes of one evaluation in f. */
static lt_status evaluate(rig *r, const lt_mesh *mesh, double share_s, finding *f, double *median)
{
    assert(r->model != NULL);
    lt_engine engine;
    lt_h3_dit *dit = NULL;
    lt_h3_dit_state *state = NULL;
    LT_TRY(lt_engine_open(&lt_backend_cpu, 0, r->bench->threads, mesh, lt_bench_arena_bytes(),
                          lt_bench_arena_bytes(), &engine));
    lt_status st = LT_OK;
    LT_TRY_GOTO(lt_h3_dit_open(r->model->dit_files, &engine, &r->model->dit_config, LT_F32, &dit),
                st, done);
    LT_TRY_GOTO(lt_h3_dit_tables(dit, timesteps, TIMESTEPS), st, done);
    LT_TRY_GOTO(lt_h3_dit_begin(dit, r->layout, r->text, LT_F32, &state), st, done);
    lt_traffic_reset();
    LT_TRY_GOTO(forward(r, dit, state), st, done);
    f->sent = lt_traffic_read().sent_bytes;
    f->received = lt_traffic_read().received_bytes;
    if (r->bench->timed)
        LT_TRY_GOTO(time_it(r, mesh, dit, state, share_s, median), st, done);
done:
    lt_h3_dit_end(&state);
    lt_h3_dit_close(&dit);
    lt_engine_close(&engine);
    return st;
}

static lt_status on_mesh(rig *r, lt_group *group, const lt_mesh_spec *spec,
                         lt_attention_algorithm algorithm, double share_s, finding *f,
                         double *median)
{
    lt_mesh mesh;
    LT_TRY(lt_mesh_open_placed(group, spec, lt_plan_placement(r->bench->job->placement), &mesh));
    mesh.attention = algorithm;
    mesh.deterministic = r->bench->job->deterministic;
    lt_status st = LT_OK;
    f->took_part = 1;
    LT_TRY_GOTO(evaluate(r, &mesh, share_s, f, median), st, done);
    LT_TRY_GOTO(formula(r, &mesh, f), st, done);
    compare(r->video_out, r->video_alone, r->video_count, &f->diff);
    compare(r->audio_out, r->audio_alone, r->audio_count, &f->diff);
done:
    lt_mesh_close(&mesh);
    return st;
}

static lt_status first_ranks(lt_group *world, int count, lt_group **out)
{
    int list[RANKS_MAX];
    assert(count <= RANKS_MAX);
    for (int i = 0; i < count; i++)
        list[i] = i;
    return lt_group_split(world, list, count, out);
}

/* ---- rows ---- */

static lt_status give_row(rig *r, size_t which, int ranks, const finding *all, double median)
{
    static const char *const names[] = {"auto", "ring", "2d"};
    uint64_t bytes = 0, wanted = 0;
    double diff = 0.0;
    int64_t wrong = 0;
    for (int i = 0; i < ranks; i++) {
        bytes += all[i].sent;
        wanted += all[i].formula_sent;
        wrong |= !all[i].took_part || all[i].sent != all[i].formula_sent ||
                 all[i].received != all[i].formula_received;
        diff = lt_bench_worse(diff, all[i].diff);
    }
    wrong |= !(diff <= (r->bench->job->deterministic ? 0.0 : tolerance));
    json_t *row = NULL;
    if (lt_group_rank(r->bench->world) == 0)
        row = json_pack("{s:s, s:s, s:s, s:i, s:I, s:o, s:I, s:I, s:o}", "suite", "mesh", "mesh",
                        cases[which].mesh, "way", names[cases[which].algorithm], "ranks", ranks,
                        "rows", (json_int_t)r->layout->rows, "diff", lt_bench_real(diff), "bytes",
                        (json_int_t)bytes, "formula", (json_int_t)wanted, "ms",
                        lt_bench_real(median * 1e3));
    return lt_bench_row(r->bench, row, wrong);
}

static lt_status one_case(rig *r, size_t which, double share_s)
{
    lt_group *world = r->bench->world, *group = NULL;
    const int size = lt_group_size(world);
    lt_mesh_spec spec;
    LT_TRY(lt_mesh_parse(cases[which].mesh, &spec));
    const int ranks = lt_mesh_ranks(&spec);
    if (ranks > size)
        return LT_OK;
    finding mine = {0}, *all = calloc((size_t)size, sizeof *all);
    if (all == NULL)
        LT_FAIL(LT_ENOMEM, "bench: no memory for %d ranks", size);
    double median = NAN;
    lt_status st = LT_OK;
    LT_TRY_GOTO(first_ranks(world, ranks, &group), st, done);
    if (group != NULL)
        LT_TRY_GOTO(on_mesh(r, group, &spec, cases[which].algorithm, share_s, &mine, &median), st,
                    done);
    LT_TRY_GOTO(lt_all_gather_host(world, &mine, sizeof mine, all), st, done);
    LT_TRY_GOTO(give_row(r, which, ranks, all, median), st, done);
done:
    free(all);
    lt_group_free(&group);
    return st;
}

/* ---- inputs and reference ---- */

static lt_status take(int64_t count, float **out)
{
    *out = calloc((size_t)count + 1, sizeof **out);
    if (*out == NULL)
        LT_FAIL(LT_ENOMEM, "bench: no memory for %lld values", (long long)count);
    return LT_OK;
}

static lt_status noise(uint32_t what, int64_t count, float **out)
{
    LT_TRY(take(count, out));
    for (int64_t i = 0; i < count; i++)
        (*out)[i] = (float)lt_bench_hash(what, i, 0) / 8388608.0f - 1.0f;
    return LT_OK;
}

static lt_status rig_open(rig *r, const char *model)
{
    LT_TRY(lt_h3_model_new(model, &r->model));
    LT_TRY(lt_h3_open_dit(r->model));
    LT_TRY(lt_h3_layout_new(FRAMES, PIXELS, PIXELS, TEXT_ROWS, &r->layout));
    const lt_h3_dit_config *c = &r->model->dit_config;
    r->video_count = r->layout->video_rows * lt_h3_dit_video_width(c);
    r->audio_count = r->layout->audio_rows * c->audio_channels;
    r->index = calloc((size_t)r->layout->rows, sizeof *r->index);
    if (r->index == NULL)
        LT_FAIL(LT_ENOMEM, "bench: no memory for %lld rows", (long long)r->layout->rows);
    lt_h3_layout_timesteps(r->layout, 2, 1, r->index);
    LT_TRY(noise(1, r->video_count, &r->video));
    LT_TRY(noise(2, r->audio_count, &r->audio));
    LT_TRY(noise(3, r->layout->text_rows * c->text_dim, &r->text));
    LT_TRY(take(r->video_count, &r->video_alone));
    LT_TRY(take(r->audio_count, &r->audio_alone));
    LT_TRY(take(r->video_count, &r->video_out));
    return take(r->audio_count, &r->audio_out);
}

static void rig_close(rig *r)
{
    lt_model *base = r->model != NULL ? &r->model->base : NULL;
    lt_model_close(&base);
    lt_h3_layout_free(&r->layout);
    free(r->index);
    float *const all[] = {r->video,       r->audio,     r->text,     r->video_alone,
                          r->audio_alone, r->video_out, r->audio_out};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* Rank 0 alone; all get what it made. */
static lt_status reference(rig *r)
{
    lt_group *world = r->bench->world, *self = NULL;
    lt_mesh mesh;
    finding unused = {0};
    double no_time;
    LT_TRY(first_ranks(world, 1, &self));
    lt_status st = LT_OK;
    if (self != NULL) {
        st = lt_mesh_open(self, &(lt_mesh_spec){{1, 1, 1, 1, 1}}, &mesh);
        if (st == LT_OK) {
            mesh.deterministic = r->bench->job->deterministic;
            st = evaluate(r, &mesh, 0.0, &unused, &no_time);
            lt_mesh_close(&mesh);
        }
        assert(r->video_alone && r->video_out && r->audio_alone && r->audio_out);
        memcpy(r->video_alone, r->video_out, (size_t)r->video_count * sizeof(float));
        memcpy(r->audio_alone, r->audio_out, (size_t)r->audio_count * sizeof(float));
    }
    lt_group_free(&self);
    LT_TRY(lt_agree(world, st));
    LT_TRY(lt_broadcast(world, 0, r->video_alone, (size_t)r->video_count * sizeof(float)));
    return lt_broadcast(world, 0, r->audio_alone, (size_t)r->audio_count * sizeof(float));
}

static lt_status run(lt_bench *b)
{
    rig r = {.bench = b};
    const size_t count = sizeof cases / sizeof *cases;
    char model[LT_PATH_BYTES] = "";
    lt_status st = LT_OK;
    if (lt_group_rank(b->world) == 0)
        st = lt_job_model(b->job, model, sizeof model);
    st = lt_agree(b->world, st);
    if (st == LT_OK)
        st = lt_session_source(b->world, model, sizeof model);
    if (st == LT_OK)
        st = lt_agree(b->world, rig_open(&r, model));
    if (st == LT_OK)
        st = reference(&r);
    for (size_t i = 0; i < count && st == LT_OK; i++) {
        const double share_s = (b->ends_at - lt_seconds()) / (double)(count - i);
        st = one_case(&r, i, share_s / 2);
    }
    rig_close(&r);
    lt_source_end();
    LT_TRY(st);
    return LT_OK;
}

static const lt_bench_column columns[] = {
    {"mesh", "mesh", -18, 0}, {"way", "way", -4, 0},     {"ranks", "ranks", 5, 0},
    {"diff", "diff", 8, -1},  {"bytes", "bytes", 10, 0}, {"formula", "formula", 10, 0},
    {"ms", "ms", 8, 2},       {"wrong", "wrong", 5, 0},
};

const lt_bench_suite lt_bench_mesh = {
    .name = "mesh",
    .units =
        "diff: to one rank, of the largest; bytes: sent by all ranks; ms: median of the slowest "
        "rank",
    .columns = columns,
    .column_count = sizeof columns / sizeof *columns,
    .run = run};

/* suite_long.c - does a window cost more in a long film than in a short one?
 *
 * A film of 10 s and one of 61 s (243 and 1,467 frames, 32x32: 4 and 28 windows of 90 frames, all
 * of one length) are denoised in turn by one DiT, in `windows` and in `extend`, as many rounds as
 * the budget has room for. A window's time is that of a step without each pass's first one, which
 * begins the states; over the windows of a step in `windows`, and of a chunk's step in `extend`.
 * ratio is the median over the rounds of the long film's over the short one's, both of one round,
 * so that a machine that is busy with other work weighs on both; which comes first takes turns too.
 * low and high: between them that median lies in 95 of 100 such runs, whatever the ratios'
 * distribution (order statistics); of less than six rounds the least and the largest ratio.
 * cpu_ratio is the same of the processor time of rank 0's process. In `windows` the ranks share the
 * windows (win=P), in `extend` a window's rows (uly=P).
 *
 * wrong counts passes that did not give the latents of the first one, on any rank. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

#include "base/file.h"
#include "base/log.h"
#include "bench/suite.h"
#include "model/files/remote/source.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"
#include "run/denoise/denoise.h"
#include "run/pipeline.h"
#include "run/session.h"

enum { PIXELS = 32, WINDOW = 90, OVERLAP = 39, STEPS = 3, TEXT_ROWS = 13, ROUNDS_MAX = 101 };
static const int64_t frames[2] = {243, 1467}; /* 90 + 51 k: no window is shorter than others */

static const struct {
    lt_mode mode;
    lt_axis axis;
} cases[] = {{LT_MODE_WINDOWS, LT_AXIS_WIN}, {LT_MODE_EXTEND, LT_AXIS_ULY}};

/* One film on one mesh. */
typedef struct film {
    lt_plan plan;
    lt_holding holding;
    lt_clip clip;
    double *seconds; /* [steps] */
    int steps;
    int64_t windows;
    XXH64_hash_t hash; /* of what this rank holds of it after the first pass */
    int passes;
} film;

typedef struct rig {
    lt_bench *bench;
    lt_model *model;
    lt_mesh mesh;
    lt_engine engine;
    lt_levels levels;
    float *rows; /* of the text */
    film film[2];
    double wall[2][ROUNDS_MAX], cpu[2][ROUNDS_MAX]; /* of a window */
    int64_t wrong;
} rig;

/* ---- one pass ---- */

static double cpu_seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Of the steps without the first: the median of one, over its windows. */
static double window_seconds(const film *f)
{
    const int each_window = f->plan.windowing.mode == LT_MODE_EXTEND;
    const int evaluations = each_window ? f->steps / (int)f->windows : f->steps;
    double *kept = malloc((size_t)f->steps * sizeof *kept), median = NAN;
    int count = 0;
    for (int i = 0; kept != NULL && i < f->steps; i++)
        if (i % evaluations != 0)
            kept[count++] = f->seconds[i];
    if (kept != NULL)
        median = lt_bench_median(kept, count);
    free(kept);
    return median / (each_window ? 1.0 : (double)f->windows);
}

static lt_status one_pass(rig *r, film *f, double *wall, double *cpu)
{
    const lt_text text = {0, r->rows, TEXT_ROWS};
    const lt_texts texts = {&text, 1, 0};
    const lt_denoise_in in = {.model = r->model,
                              .mesh = &r->mesh,
                              .plan = &f->plan,
                              .holding = &f->holding,
                              .levels = &r->levels,
                              .texts = &texts,
                              .seconds = f->seconds};
    XXH64_hash_t hash = 0;
    lt_clip_noise(&f->plan, &f->clip);
    LT_TRY(lt_barrier(r->bench->world));
    const double began = cpu_seconds();
    LT_TRY(lt_denoise(&in, &r->engine, &f->clip));
    *cpu = (cpu_seconds() - began) / (double)(f->windows * r->levels.evaluations);
    *wall = window_seconds(f);
    for (int s = 0; s < f->clip.count; s++)
        if (f->clip.elements[s] > 0)
            hash = XXH64(f->clip.data[s], (size_t)f->clip.elements[s] * sizeof(float), hash);
    if (f->passes++ == 0)
        f->hash = hash;
    r->wrong += hash != f->hash;
    return LT_OK;
}

/* ---- one mode ---- */

static lt_status film_open(rig *r, lt_mode mode, int64_t count, film *f)
{
    const lt_model *model = r->model;
    lt_layout layout;
    *f = (film){.plan = {.mesh = r->mesh.spec,
                         .steps = STEPS,
                         .evaluations = model->family->evaluations(STEPS),
                         .seed = 1,
                         .dtype = LT_F32,
                         .frames = count,
                         .shape = {count, PIXELS, PIXELS}}};
    f->plan.asked = (lt_windows_asked){
        .mode = mode, .window = WINDOW, .overlap = OVERLAP, .fuse = LT_FUSE_TRAPEZOID};
    if (mode == LT_MODE_EXTEND) { /* as render has it by default */
        f->plan.asked.fade = model->facts.fade_frames;
        f->plan.asked.anchors = model->facts.anchor_count;
        memcpy(f->plan.asked.anchor, model->facts.anchor_frames, sizeof model->facts.anchor_frames);
    }
    LT_TRY(lt_plan_streams(&f->plan, model));
    LT_TRY(lt_windowing_layout(&f->plan.windowing, model->family->grid, 0, &layout));
    f->windows = layout.count;
    lt_layout_free(&layout);
    f->steps = lt_denoise_steps(model, &f->plan, 0);
    f->seconds = calloc((size_t)f->steps + 1, sizeof *f->seconds);
    if (f->seconds == NULL || f->steps == 0)
        LT_FAIL(LT_ENOMEM, "bench: no memory for %d steps", f->steps);
    LT_TRY(lt_denoise_holding(model, &f->plan, &r->mesh, &f->holding));
    return lt_holding_clip(&f->holding, &f->plan, &f->clip);
}

static void film_close(film *f)
{
    lt_clip_free(&f->clip);
    lt_holding_free(&f->holding);
    free(f->seconds);
    *f = (film){0};
}

static lt_status engine_open(rig *r)
{
    const lt_family *family = r->model->family;
    LT_TRY(lt_engine_open(&lt_backend_cpu, 0, r->bench->threads, &r->mesh, lt_bench_arena_bytes(),
                          lt_bench_arena_bytes(), &r->engine));
    LT_TRY(lt_levels_make(r->model, &r->film[0].plan, &r->levels));
    return family->dit_open(r->model, &r->engine, LT_F32, r->levels.timesteps,
                            r->levels.timestep_count);
}

/* The first pass of each warms up and is what later ones must give again. */
static lt_status take_turns(rig *r, double ends_at, int *rounds)
{
    double unused = 0;
    int go = 1;
    *rounds = 0;
    for (int i = 0; i < 2; i++)
        LT_TRY(one_pass(r, &r->film[i], &unused, &unused));
    while (go && *rounds < ROUNDS_MAX) {
        for (int k = 0; k < 2; k++) {
            const int i = k ^ (*rounds & 1);
            LT_TRY(one_pass(r, &r->film[i], &r->wall[i][*rounds], &r->cpu[i][*rounds]));
        }
        ++*rounds;
        LT_TRY(lt_bench_may_time(r->bench, &go));
        go = go && lt_seconds() < ends_at;
        LT_TRY(lt_broadcast(r->bench->world, 0, &go, sizeof go));
    }
    return LT_OK;
}

/* Of the rounds' ratios: the median, and what it lies between. */
typedef struct ratios {
    double median, low, high;
} ratios;

static ratios ratios_of(const double long_one[], const double short_one[], int rounds)
{
    double ratio[ROUNDS_MAX];
    for (int i = 0; i < rounds; i++)
        ratio[i] = long_one[i] / short_one[i];
    const double median = lt_bench_median(ratio, rounds); /* and they are in order */
    const int outside = (int)floor((rounds - 1.96 * sqrt(rounds)) / 2);
    const int k = outside > 0 ? outside : 0;
    return (ratios){median, ratio[k], ratio[rounds - 1 - k]};
}

static lt_status give_row(rig *r, lt_mode mode, int rounds)
{
    const int ranks = lt_group_size(r->bench->world);
    int64_t *all = calloc((size_t)ranks, sizeof *all), wrong = 0;
    char mesh[96];
    lt_status st = LT_OK;
    if (all == NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "bench: no memory for %d ranks", ranks);
    LT_TRY_GOTO(lt_agree(r->bench->world, st), st, done);
    LT_TRY_GOTO(lt_all_gather_host(r->bench->world, &r->wrong, sizeof r->wrong, all), st, done);
    for (int i = 0; i < ranks; i++)
        wrong += all[i];
    json_t *row = NULL;
    const int timed = r->bench->timed;
    if (lt_group_rank(r->bench->world) == 0) {
        const ratios wall = ratios_of(r->wall[1], r->wall[0], rounds);
        const ratios cpu = ratios_of(r->cpu[1], r->cpu[0], rounds);
#define REAL(x) lt_bench_real(timed ? (x) : NAN)
        row =
            json_pack("{s:s, s:s, s:s, s:i, s:I, s:I, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}",
                      "suite", "long", "mode", lt_mode_names[mode], "mesh",
                      lt_mesh_text(&r->mesh.spec, mesh, sizeof mesh), "ranks", ranks, "frames",
                      (json_int_t)frames[1], "windows", (json_int_t)r->film[1].windows, "rounds",
                      rounds, "short_ms", REAL(1e3 * lt_bench_median(r->wall[0], rounds)), "ms",
                      REAL(1e3 * lt_bench_median(r->wall[1], rounds)), "ratio", REAL(wall.median),
                      "low", REAL(wall.low), "high", REAL(wall.high), "cpu_ratio", REAL(cpu.median),
                      "cpu_low", REAL(cpu.low), "cpu_high", REAL(cpu.high));
#undef REAL
    }
    st = lt_bench_row(r->bench, row, wrong);
done:
    free(all);
    return st;
}

static lt_status one_case(rig *r, size_t which, double ends_at)
{
    lt_group *world = r->bench->world;
    lt_mesh_spec spec = {{1, 1, 1, 1, 1}};
    int rounds = 0;
    spec.size[cases[which].axis] = lt_group_size(world);
    LT_TRY(lt_mesh_open(world, &spec, &r->mesh));
    lt_status st = LT_OK;
    r->wrong = 0;
    for (int i = 0; i < 2 && st == LT_OK; i++)
        st = film_open(r, cases[which].mode, frames[i], &r->film[i]);
    if (st == LT_OK)
        st = engine_open(r);
    LT_TRY_GOTO(lt_agree(world, st), st, done);
    LT_TRY_GOTO(take_turns(r, ends_at, &rounds), st, done);
    LT_TRY_GOTO(give_row(r, cases[which].mode, rounds), st, done);
done:
    r->model->family->dit_close(r->model);
    lt_levels_free(&r->levels);
    lt_engine_close(&r->engine);
    for (int i = 0; i < 2; i++)
        film_close(&r->film[i]);
    lt_mesh_close(&r->mesh);
    return st;
}

static lt_status rig_open(rig *r, const char *path)
{
    LT_TRY(lt_model_open(path, &r->model));
    const int64_t width = r->model->family->text_width(r->model);
    r->rows = calloc((size_t)(TEXT_ROWS * width) + 1, sizeof *r->rows);
    if (r->rows == NULL)
        LT_FAIL(LT_ENOMEM, "bench: no memory for %d rows of text", TEXT_ROWS);
    for (int64_t i = 0; i < TEXT_ROWS * width; i++)
        r->rows[i] = (float)lt_bench_hash(3, i, 0) / 8388608.0f - 1.0f;
    return LT_OK;
}

static lt_status run(lt_bench *b)
{
    rig *r = calloc(1, sizeof *r);
    const size_t count = sizeof cases / sizeof *cases;
    const double began = lt_seconds(), share_s = (b->ends_at - began) / (double)count;
    char path[LT_PATH_BYTES] = "";
    lt_status st = LT_OK;
    if (r == NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "bench: no memory");
    LT_TRY_GOTO(lt_agree(b->world, st), st, done);
    assert(r != NULL);
    r->bench = b;
    if (lt_group_rank(b->world) == 0)
        st = lt_job_model(b->job, path, sizeof path);
    LT_TRY_GOTO(lt_agree(b->world, st), st, done);
    LT_TRY_GOTO(lt_session_source(b->world, path, sizeof path), st, done);
    LT_TRY_GOTO(lt_agree(b->world, rig_open(r, path)), st, done);
    for (size_t i = 0; i < count; i++)
        LT_TRY_GOTO(one_case(r, i, began + share_s * (double)(i + 1)), st, done);
done:
    if (r != NULL) {
        lt_model_close(&r->model);
        free(r->rows);
    }
    free(r);
    lt_source_end();
    return st;
}

static const lt_bench_column columns[] = {
    {"mode", "mode", -8, 0},      {"mesh", "mesh", -36, 0},   {"ranks", "ranks", 5, 0},
    {"windows", "windows", 7, 0}, {"rounds", "rounds", 6, 0}, {"short_ms", "short_ms", 8, 2},
    {"ms", "ms", 8, 2},           {"ratio", "ratio", 6, 3},   {"low", "low", 6, 3},
    {"high", "high", 6, 3},       {"cpu_ratio", "cpu", 6, 3}, {"cpu_low", "low", 6, 3},
    {"cpu_high", "high", 6, 3},   {"wrong", "wrong", 5, 0},
};

const lt_bench_suite lt_bench_long = {
    .name = "long",
    .units = "short_ms, ms: a window of a film of 10 s, of 61 s; ratio: theirs, in turn; cpu: the\n"
             "# same of rank 0's processor time; medians over the rounds, each in 95 of 100 runs\n"
             "# between low and high",
    .columns = columns,
    .column_count = sizeof columns / sizeof *columns,
    .run = run};

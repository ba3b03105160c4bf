/* estimate_time.c - how long a plan takes on this machine, now.
 *
 * The dry run has counted the work: multiplications of prepared layers and of attention, bytes that
 * the other ops move. How fast this machine does each is measured for some milliseconds with the
 * kernels that will run, on all ranks at once, since they share memory and perhaps processors. What
 * ranks send each other is not counted, nor is loading: both are small beside hours. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "run/decode/decode.h"
#include "run/denoise/denoise.h"
#include "run/estimate.h"
#include "run/progress.h"

enum { ROWS = 512, WIDTH = 512, HEADS = 8, TIMES_MAX = 1000 };
static const double measure_s = 0.012;  /* of each kind; some calls of each kernel */
static const double short_flops = 2e10; /* a second or so: not worth measuring */
static const double encode_s = 60e-9; /* a pixel of H.264 at `medium` on one core (bench/LOG.md) */

typedef struct rates {
    double products, attention, bytes; /* a second */
} rates;

typedef struct trial {
    lt_queue *q;
    const lt_linear *linear;
    lt_tensor x, y, qkv[3], wide[2];
    int kind;
} trial;

static lt_status once(trial *t)
{
    if (t->kind == 0)
        return lt_linear_apply(t->q, t->linear, &t->x, LT_ACT_NONE, &t->y);
    if (t->kind == 1)
        return lt_attention(t->q, &t->qkv[0], &t->qkv[1], &t->qkv[2], HEADS, HEADS, 0.1f, 0, 0,
                            &t->y, NULL);
    return lt_axpby(t->q, 1, &t->wide[0], 0.5f, &t->wide[1]);
}

/* Seconds of one call in the mean: others may be at work, and will be while the job runs. */
static lt_status time_kind(trial *t, int kind, double *seconds)
{
    t->kind = kind;
    LT_TRY(once(t)); /* takes scratch and wakes threads */
    LT_TRY(lt_sync(t->q));
    const double began = lt_seconds();
    int calls = 0;
    while (calls < TIMES_MAX && (calls < 2 || lt_seconds() - began < measure_s)) {
        LT_TRY(once(t));
        LT_TRY(lt_sync(t->q));
        calls++;
    }
    *seconds = (lt_seconds() - began) / calls;
    *seconds = *seconds > 1e-9 ? *seconds : 1e-9;
    return LT_OK;
}

static lt_status trial_new(lt_engine *engine, lt_dtype dtype, lt_arena *arena, const float *weights,
                           lt_linear **linear, trial *t)
{
    const lt_linear_spec spec = {
        .in = WIDTH, .out = WIDTH, .weights = weights, .weights_dtype = LT_F32, .compute = dtype};
    *t = (trial){.q = engine->compute};
    LT_TRY(lt_linear_prepare(engine->backend, arena, "rate", &spec, linear));
    t->linear = *linear;
    LT_TRY(lt_tensor_new(arena, "rate.x", dtype, &t->x, LT_DIMS(ROWS, WIDTH)));
    LT_TRY(lt_tensor_new(arena, "rate.y", dtype, &t->y, LT_DIMS(ROWS, WIDTH)));
    LT_TRY(lt_fill(t->q, &t->x, 0.5f));
    for (int i = 0; i < 3; i++) {
        LT_TRY(lt_tensor_new(arena, "rate.qkv", dtype, &t->qkv[i], LT_DIMS(ROWS, WIDTH)));
        LT_TRY(lt_fill(t->q, &t->qkv[i], 0.1f));
    }
    for (int i = 0; i < 2; i++) {
        LT_TRY(lt_tensor_new(arena, "rate.wide", dtype, &t->wide[i], LT_DIMS(4 * ROWS, WIDTH)));
        LT_TRY(lt_fill(t->q, &t->wide[i], 0.1f));
    }
    return LT_OK;
}

static lt_status measure(lt_engine *engine, lt_dtype dtype, rates *out)
{
    lt_arena *arena = NULL;
    lt_linear *linear = NULL;
    trial t;
    double seconds[3] = {0};
    lt_status st = LT_OK;
    float *weights = calloc((size_t)WIDTH * WIDTH, sizeof *weights);
    if (weights == NULL)
        LT_FAIL(LT_ENOMEM, "estimate: no memory to measure with");
    LT_TRY_GOTO(lt_arena_new("rate", engine->backend->memory, (size_t)32 << 20, &arena), st, done);
    LT_TRY_GOTO(trial_new(engine, dtype, arena, weights, &linear, &t), st, done);
    for (int i = 0; i < 3; i++)
        LT_TRY_GOTO(time_kind(&t, i, &seconds[i]), st, done);
    out->products = 2.0 * ROWS * WIDTH * WIDTH / seconds[0];
    out->attention = 4.0 * ROWS * ROWS * WIDTH / seconds[1];
    out->bytes = 3.0 * 4 * ROWS * WIDTH * (double)lt_dtype_bytes(dtype) / seconds[2];
done:
    if (linear != NULL)
        lt_linear_free(&linear);
    lt_arena_free(&arena);
    free(weights);
    return st;
}

static double seconds_of(const lt_work *w, const rates *r)
{
    return w->products / r->products + w->attention / r->attention + w->moved_bytes / r->bytes;
}

/* Steps of all shots, each as much of the longest shot's as it is long. */
static lt_status denoise_steps(const lt_estimate_of *of, double *out)
{
    lt_film_shot *shot = NULL;
    int count = 0;
    LT_TRY(lt_film_shots(of->plan, of->model, &shot, &count));
    *out = 0;
    for (int i = 0; i < count; i++)
        *out += (double)lt_denoise_steps(of->model, &shot[i].plan, 0) *
                (double)shot[i].plan.shape.frames / (double)of->plan->shape.frames;
    free(shot);
    return LT_OK;
}

/* How many units each stage has on this rank. A phase that does not run here has no work. */
static lt_status often(const lt_estimate_of *of, double times[LT_TIMES])
{
    const lt_plan *plan = of->plan;
    const lt_mesh *decode = of->mesh[LT_PHASE_DECODE];
    const int ranks = lt_group_size(decode->world);
    const int groups = ranks / lt_group_size(decode->axis[LT_AXIS_TP]);
    const double most = (double)of->tokens->most;
    times[LT_TIME_TEXT] = most > 0 ? (double)of->tokens->all / most : 1;
    LT_TRY(denoise_steps(of, &times[LT_TIME_DENOISE]));
    times[LT_TIME_AUDIO] = ceil((double)lt_film_audio_chunks(plan, LT_AUDIO_CHUNK_TICKS) / ranks);
    times[LT_TIME_DECODE] = ceil((double)lt_film_decode_chunks(plan, of->model) / groups);
    return LT_OK;
}

lt_status lt_estimate_time(const lt_estimate_of *of, lt_engine *engine, int always,
                           lt_footprint *footprint)
{
    const lt_plan *plan = of->plan;
    double times[LT_TIMES], all = 0, *seconds = footprint->seconds;
    rates r = {0};
    memset(seconds, 0, sizeof footprint->seconds);
    LT_TRY(often(of, times));
    for (int i = 0; i < LT_TIMES; i++)
        all += times[i] * footprint->flops[i];
    if (!always && all < short_flops)
        return LT_OK;
    LT_TRY(measure(engine, plan->dtype, &r));
    for (int i = 0; i < LT_TIMES; i++)
        seconds[i] = times[i] * seconds_of(&footprint->work[i], &r);
    seconds[LT_TIME_DECODE] +=
        encode_s * (double)plan->frames * (double)(plan->shape.width * plan->shape.height);
    return LT_OK;
}

void lt_estimate_say(const lt_footprint *footprint, int ranks, int64_t token_count)
{
    const double *seconds = footprint->seconds;
    const double say_from = 60, warn_from = 3600, text_from = 15;
    double all = 0;
    char line[256] = "", took[48];
    for (int i = 0; i < LT_TIMES; i++) {
        const size_t n = strlen(line);
        all += seconds[i];
        if (seconds[i] >= 1)
            (void)snprintf(line + n, sizeof line - n, "%s%s %s", n > 0 ? ", " : "",
                           lt_time_names[i], lt_duration(seconds[i], took, sizeof took));
    }
    (void)lt_duration(all, took, sizeof took);
    if (all >= warn_from)
        lt_warn("this job takes about %s on %d rank%s (%s): fewer --steps, a smaller --size, a "
                "shorter film or more ranks take less",
                took, ranks, ranks == 1 ? "" : "s", line);
    else if (all >= say_from && lt_log_level() > 0)
        lt_say("longtake: about %s on %d rank%s (%s)", took, ranks, ranks == 1 ? "" : "s", line);
    if (seconds[LT_TIME_TEXT] >= text_from)
        lt_warn("--prompt: %lld tokens take about %s to encode: a few hundred say as much",
                (long long)token_count, lt_duration(seconds[LT_TIME_TEXT], took, sizeof took));
}

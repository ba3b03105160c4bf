/* dit_tables.c - modulation tables of a run's timesteps.
 * Formulas: spec/minimax-h3.md 4.5 (4, 5, 6), 4.6.
 *
 * Two fifths of the model's weights do nothing but turn a timestep into shifts, scales and gates. A
 * run knows its timesteps, so each such layer is read once, applied to all of them, and dropped.
 * The layers are dealt out over all ranks of the world; what they make lies on the host, in the
 * compute dtype, layer after layer:
 *
 *     layer i   [timesteps * 3 tags, 6 * hidden]   the layer's output, [timesteps, 18 * hidden]
 *     norm_out  [timesteps, 2 * hidden]
 *
 * A forward uploads the few rows that its timesteps name. SiLU is taken in f32 and rounded once,
 * before the layer: rounding the embedding first biases every block alike (spec 10.1). */
#include "model/h3/dit.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/h3/dit_internal.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"

enum { TIMESTEPS_MAX = 1 << 16 };

size_t lt_h3_layer_bytes(const lt_h3_dit *dit, int count)
{
    return (size_t)count * (size_t)(LT_H3_CHUNKS * LT_H3_TAGS * dit->config.hidden) *
           lt_dtype_bytes(dit->compute);
}

static size_t out_bytes(const lt_h3_dit *dit, int count)
{
    return (size_t)count * (size_t)(2 * dit->config.hidden) * lt_dtype_bytes(dit->compute);
}

size_t lt_h3_tables_bytes(const lt_h3_dit_config *config, lt_dtype compute, int count)
{
    assert(count >= 0);
    const size_t columns = (size_t)config->layers * LT_H3_CHUNKS * LT_H3_TAGS + 2;
    return (size_t)count * columns * (size_t)config->hidden * lt_dtype_bytes(compute);
}

size_t lt_h3_dit_tables_bytes(const lt_h3_dit *dit, int count)
{
    assert(dit);
    return lt_h3_tables_bytes(&dit->config, dit->compute, count);
}

const float *lt_h3_dit_timesteps(const lt_h3_dit *dit, int *count)
{
    *count = dit->timestep_count;
    return dit->timesteps;
}

/* Forget the old tables; room for the new ones (on dry only the list). */
static lt_status tables_alloc(lt_h3_dit *dit, const float *timesteps, int count)
{
    if (count < 1 || count > TIMESTEPS_MAX)
        LT_FAIL(LT_EDATA, "timesteps: want 1 to %d, found %d", TIMESTEPS_MAX, count);
    for (int i = 0; timesteps && i < count; i++)
        if (!isfinite(timesteps[i]))
            LT_FAIL(LT_EDATA, "timesteps[%d]: want a finite number, found %g", i,
                    (double)timesteps[i]);
    assert(timesteps || dit->dry);
    free(dit->timesteps);
    free(dit->tables);
    if (dit->dry)
        lt_dry_host((int64_t)lt_h3_dit_tables_bytes(dit, count) -
                    (int64_t)lt_h3_dit_tables_bytes(dit, dit->timestep_count));
    dit->tables = NULL;
    dit->timestep_count = 0;
    dit->timesteps = calloc((size_t)count, sizeof *dit->timesteps);
    if (dit->timesteps && !dit->dry)
        dit->tables = malloc(lt_h3_dit_tables_bytes(dit, count));
    if (!dit->timesteps || (!dit->tables && !dit->dry))
        LT_FAIL(LT_ENOMEM, "modulation tables: no memory for %d timesteps (%zu bytes)", count,
                lt_h3_dit_tables_bytes(dit, count));
    if (timesteps)
        memcpy(dit->timesteps, timesteps, (size_t)count * sizeof *timesteps);
    dit->timestep_count = count;
    return LT_OK;
}

/* [count, freq_dim]: cosines, then sines, of t * 10000^(-k/half); an odd width ends in a zero. */
static void embed_timesteps(const float *timesteps, int count, int64_t width, float *out)
{
    const int64_t half = width / 2;
    const float log_base = (float)-log(10000.0);
    for (int i = 0; i < count; i++) {
        float *row = out + i * width;
        row[width - 1] = 0.0f;
        for (int64_t k = 0; k < half; k++) {
            const float w = (float)exp((double)(log_base * (float)k / (float)half));
            const float angle = timesteps[i] * w;
            row[k] = (float)cos((double)angle);
            row[half + k] = (float)sin((double)angle);
        }
    }
}

/* The two layers of the time embedder and the SiLU before every modulation layer: y [count,
 * time_dim] act. */
static lt_status time_layers(lt_h3_dit *dit, lt_weights *weights, const lt_tensor *e, lt_tensor *y)
{
    const lt_h3_dit_config *c = &dit->config;
    lt_engine *engine = dit->engine;
    lt_layer_spec first = lt_layer_whole(weights, c->time_hidden, c->freq_dim, 1);
    lt_layer_spec second = lt_layer_whole(weights, c->time_dim, c->time_hidden, 1);
    first.compute = second.compute = LT_F32;
    lt_linear *linear_1, *linear_2;
    LT_TRY(lt_weights_linear(weights, "time_embedder.linear_1", &first, &linear_1));
    LT_TRY(lt_weights_linear(weights, "time_embedder.linear_2", &second, &linear_2));
    lt_tensor hidden, temb;
    LT_TRY(lt_tensor_new(engine->step, "dit.time.hidden", LT_F32, &hidden,
                         LT_DIMS(e->dim[0], c->time_hidden)));
    LT_TRY(lt_tensor_new(engine->step, "dit.time.embedding", LT_F32, &temb,
                         LT_DIMS(e->dim[0], c->time_dim)));
    LT_TRY(lt_linear_apply(engine->compute, linear_1, e, LT_ACT_SILU, &hidden));
    LT_TRY(lt_linear_apply(engine->compute, linear_2, &hidden, LT_ACT_NONE, &temb));
    LT_TRY(lt_activate(engine->compute, &temb, LT_ACT_SILU, y));
    return lt_sync(engine->compute); /* before the layers are dropped */
}

static lt_status time_embedding(lt_h3_dit *dit, lt_tensor *y)
{
    const lt_h3_dit_config *c = &dit->config;
    lt_engine *engine = dit->engine;
    const int count = dit->timestep_count;
    LT_TRY(
        lt_tensor_new(engine->step, "dit.time.silu", dit->compute, y, LT_DIMS(count, c->time_dim)));
    float *host = NULL;
    const int64_t waves = count * c->freq_dim * (int64_t)sizeof *host;
    if (dit->dry) {
        lt_dry_host(waves);
        lt_dry_host(-waves);
    } else {
        host = malloc((size_t)count * (size_t)c->freq_dim * sizeof *host);
        if (!host)
            LT_FAIL(LT_ENOMEM, "modulation tables: no memory for %d timesteps", count);
        embed_timesteps(dit->timesteps, count, c->freq_dim, host);
    }
    const lt_mark step = lt_arena_mark(engine->step), phase = lt_arena_mark(engine->phase);
    lt_weights *weights = NULL;
    lt_tensor e;
    lt_status st;
    LT_TRY_GOTO(lt_weights_open(dit->checkpoint, engine, dit->compute, &weights), st, done);
    LT_TRY_GOTO(
        lt_tensor_new(engine->step, "dit.time.waves", LT_F32, &e, LT_DIMS(count, c->freq_dim)), st,
        done);
    LT_TRY_GOTO(lt_h3_up(dit, &e, host), st, done);
    LT_TRY_GOTO(time_layers(dit, weights, &e, y), st, done);
done:
    lt_weights_close(&weights);
    lt_arena_release(engine->phase, phase);
    lt_arena_release(engine->step, step);
    free(host);
    return st;
}

static lt_status table_apply(lt_h3_dit *dit, lt_weights *weights, const char *name, int64_t width,
                             const lt_tensor *temb, void *to)
{
    lt_engine *engine = dit->engine;
    const lt_layer_spec spec = lt_layer_whole(weights, width, dit->config.time_dim, 1);
    lt_linear *linear;
    lt_tensor y;
    LT_TRY(lt_weights_linear(weights, name, &spec, &linear));
    LT_TRY(
        lt_tensor_new(engine->step, "dit.table", dit->compute, &y, LT_DIMS(temb->dim[0], width)));
    LT_TRY(lt_linear_apply(engine->compute, linear, temb, LT_ACT_NONE, &y));
    LT_TRY(lt_h3_down(dit, to, &y));
    return lt_sync(engine->compute);
}

/* Tables 0..layers-1 are the blocks', table `layers` is norm_out's. */
static unsigned char *table_at(const lt_h3_dit *dit, int64_t table)
{
    return dit->tables ? dit->tables + (size_t)table * lt_h3_layer_bytes(dit, dit->timestep_count)
                       : NULL;
}

static lt_status table_make(lt_h3_dit *dit, int64_t table, const lt_tensor *temb)
{
    char name[64] = "norm_out.linear";
    int64_t width = 2 * dit->config.hidden;
    if (table < dit->config.layers) {
        (void)snprintf(name, sizeof name, "transformer_blocks.%lld.adaln_proj.linear",
                       (long long)table);
        width = LT_H3_CHUNKS * LT_H3_TAGS * dit->config.hidden;
    }
    lt_engine *engine = dit->engine;
    const lt_mark step = lt_arena_mark(engine->step), phase = lt_arena_mark(engine->phase);
    lt_weights *weights = NULL;
    lt_status st;
    LT_TRY_GOTO(lt_weights_open(dit->checkpoint, engine, dit->compute, &weights), st, done);
    LT_TRY_GOTO(table_apply(dit, weights, name, width, temb, table_at(dit, table)), st, done);
done:
    lt_weights_close(&weights);
    lt_arena_release(engine->phase, phase);
    lt_arena_release(engine->step, step);
    return st;
}

static lt_status tables_mine(lt_h3_dit *dit)
{
    const lt_group *world = dit->engine->mesh->world;
    const lt_mark step = lt_arena_mark(dit->engine->step);
    lt_tensor temb;
    lt_status st;
    LT_TRY_GOTO(time_embedding(dit, &temb), st, done);
    for (int64_t table = lt_group_rank(world); table <= dit->config.layers;
         table += lt_group_size(world))
        LT_TRY_GOTO(table_make(dit, table, &temb), st, done);
done:
    lt_arena_release(dit->engine->step, step);
    return st;
}

lt_status lt_h3_dit_tables(lt_h3_dit *dit, const float *timesteps, int count)
{
    assert(dit);
    lt_group *world = dit->engine->mesh->world;
    lt_status mine = tables_alloc(dit, timesteps, count);
    if (mine == LT_OK)
        mine = tables_mine(dit);
    if (dit->dry)
        return mine;
    LT_TRY(lt_agree(world, mine));
    for (int64_t table = 0; table <= dit->config.layers; table++)
        LT_TRY(lt_broadcast(world, (int)(table % lt_group_size(world)), table_at(dit, table),
                            table < dit->config.layers ? lt_h3_layer_bytes(dit, count)
                                                       : out_bytes(dit, count)));
    return LT_OK;
}

lt_status lt_h3_dit_tables_get(const lt_h3_dit *dit, void *to, size_t bytes)
{
    assert(dit && to);
    if (!dit->tables || bytes != lt_h3_dit_tables_bytes(dit, dit->timestep_count))
        LT_FAIL(LT_EINTERNAL, "modulation tables: %zu bytes asked, %zu held", bytes,
                dit->tables ? lt_h3_dit_tables_bytes(dit, dit->timestep_count) : (size_t)0);
    memcpy(to, dit->tables, bytes);
    return LT_OK;
}

lt_status lt_h3_dit_tables_set(lt_h3_dit *dit, const float *timesteps, int count, const void *from,
                               size_t bytes)
{
    assert(dit && from && !dit->dry);
    LT_TRY(tables_alloc(dit, timesteps, count));
    if (bytes != lt_h3_dit_tables_bytes(dit, count))
        LT_FAIL(LT_EDATA, "modulation tables: want %zu bytes for %d timesteps, found %zu",
                lt_h3_dit_tables_bytes(dit, count), count, bytes);
    memcpy(dit->tables, from, bytes);
    return LT_OK;
}

/* dit_forward.c - one evaluation of H3's denoiser.
 * Formulas: spec/minimax-h3.md 4.5. What the rows of a state are: dit_state.c.
 *
 *     host rows -> my rows up -> proj_in -> h -> blocks -> my rows of each kind -> norm_out -> head
 *               -> gathered over tokens -> down -> host rows in the layout's order
 *
 * The rows of the modulation tables that this evaluation names go up with it. `table` has them for
 * all layers, [layers][used timesteps * 3 tags, 6 * hidden]; a packed row's is 3 * place + tag. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/span.h"
#include "model/h3/dit_internal.h"

/* Device tensors of one evaluation. */
typedef struct forward {
    int used; /* timesteps that its rows name */
    lt_h3_pass pass;
    lt_tensor table, out_table; /* [layers * used * 3, 6E], [used, 2E] */
    lt_tensor wide;             /* f32 [B, E] before the heads when act is bf16 */
} forward;

/* Which timesteps the rows name: timestep_map[t] = place in this evaluation's table, ascending in
 * t. timestep_index NULL: the first `levels` of them. */
static lt_status timesteps_map(lt_h3_dit_state *q, const int32_t *timestep_index, int levels,
                               int *used)
{
    const int count = q->dit->timestep_count;
    *used = 0;
    if (q->map_count != count) {
        free(q->timestep_map);
        q->timestep_map = malloc((size_t)count * sizeof *q->timestep_map);
        q->map_count = q->timestep_map ? count : 0;
        if (!q->timestep_map)
            LT_FAIL(LT_ENOMEM, "DiT: no memory for %d timesteps", count);
    }
    for (int t = 0; t < count; t++)
        q->timestep_map[t] = -1;
    if (!timestep_index) { /* a dry run */
        assert(q->dit->dry);
        for (int t = 0; t < levels && t < count; t++)
            q->timestep_map[t] = (*used)++;
        return LT_OK;
    }
    for (int64_t i = 0; i < q->layout->rows; i++) {
        if (timestep_index[i] < 0 || timestep_index[i] >= count)
            LT_FAIL(LT_EDATA, "timestep_indices[%lld]: want 0 to %d, found %d", (long long)i,
                    count - 1, (int)timestep_index[i]);
        q->timestep_map[timestep_index[i]] = 0;
    }
    for (int t = 0; t < count; t++)
        if (q->timestep_map[t] == 0)
            q->timestep_map[t] = (*used)++;
    return LT_OK;
}

/* My rows of one kind, host -> stage, in the order of the lists. */
static void stage_rows(const lt_h3_rows *r, const float *rows)
{
    const size_t width = (size_t)r->width;
    for (int64_t i = 0; r->stage && i < r->mine; i++)
        memcpy(r->stage + (size_t)i * width, rows + (size_t)r->order[r->first + i] * width,
               width * sizeof *rows);
}

/* What came down, rank by rank -> the layout's order. */
static void unstage_rows(const lt_h3_rows *r, float *rows)
{
    const size_t width = (size_t)r->width;
    for (int64_t i = 0; r->all && i < r->count; i++)
        memcpy(rows + (size_t)r->order[i] * width, r->all + (size_t)i * width,
               width * sizeof *rows);
}

/* index_stage: table entries of my rows, then of my video slots and my audio slots their
 * timestep's place. */
static void stage_indices(lt_h3_dit_state *q, const int32_t *timestep_index)
{
    if (!timestep_index)
        return;
    int32_t *to = q->index_stage;
    for (int64_t i = 0; i < q->share.count; i++) {
        const int64_t row = q->share.first + i;
        *to++ =
            q->timestep_map[timestep_index[row]] * LT_H3_TAGS + (int32_t)q->layout->token_tags[row];
    }
    for (int64_t i = 0; i < q->video.mine; i++)
        *to++ = q->timestep_map
                    [timestep_index[q->layout->video_indices[q->video.order[q->video.first + i]]]];
    for (int64_t i = 0; i < q->audio.mine; i++)
        *to++ = q->timestep_map
                    [timestep_index[q->layout->audio_indices[q->audio.order[q->audio.first + i]]]];
}

static lt_status upload_tables(const lt_h3_dit_state *q, forward *f)
{
    const lt_h3_dit *dit = q->dit;
    lt_arena *step = dit->engine->step;
    const int64_t E = dit->config.hidden, layers = dit->config.layers, used = f->used;
    const size_t element = lt_dtype_bytes(dit->compute),
                 layer_bytes = lt_h3_layer_bytes(dit, dit->timestep_count);
    const size_t row_bytes = (size_t)(LT_H3_TAGS * LT_H3_CHUNKS * E) * element,
                 out_row = (size_t)(2 * E) * element;
    LT_TRY(lt_tensor_new(step, "dit.tables", dit->compute, &f->table,
                         LT_DIMS(layers * used * LT_H3_TAGS, LT_H3_CHUNKS * E)));
    LT_TRY(
        lt_tensor_new(step, "dit.tables.out", dit->compute, &f->out_table, LT_DIMS(used, 2 * E)));
    for (int t = 0; t < dit->timestep_count; t++) {
        const int32_t place = q->timestep_map[t];
        if (place < 0)
            continue;
        for (int64_t i = 0; i <= layers; i++) {
            const unsigned char *from = dit->tables;
            if (from)
                from += (size_t)i * layer_bytes + (size_t)t * (i < layers ? row_bytes : out_row);
            const lt_tensor to =
                i < layers ? lt_h3_rows_at(&f->table, (i * used + place) * LT_H3_TAGS, LT_H3_TAGS)
                           : lt_h3_rows_at(&f->out_table, place, 1);
            LT_TRY(lt_h3_up(dit, &to, from));
        }
    }
    return LT_OK;
}

/* Rows of one kind -> their projection -> their places in h. */
static lt_status embed_rows(const lt_h3_dit *dit, const lt_h3_rows *r, const char *name,
                            const lt_linear *layer, lt_h3_pass *pass)
{
    lt_engine *engine = dit->engine;
    const lt_mark mark = lt_arena_mark(engine->step);
    lt_tensor x;
    LT_TRY(lt_tensor_new(engine->step, name, LT_F32, &x, LT_DIMS(r->mine, r->width)));
    LT_TRY(lt_h3_up(dit, &x, r->stage));
    for (int64_t first = 0; first < r->mine; first += dit->row_block) {
        const int64_t count = r->mine - first < dit->row_block ? r->mine - first : dit->row_block;
        const lt_tensor from = lt_h3_rows_at(&x, first, count),
                        places = lt_h3_rows_at(&r->local, first, count);
        lt_tensor e = lt_h3_rows_at(&pass->u, 0, count);
        LT_TRY(lt_linear_apply(engine->compute, layer, &from, LT_ACT_NONE, &e));
        LT_TRY(lt_scatter_rows(engine->compute, &e, &places, &pass->h));
    }
    lt_arena_release(engine->step, mark);
    return LT_OK;
}

static lt_status embed(const lt_h3_dit_state *q, lt_h3_pass *pass)
{
    const lt_h3_dit *dit = q->dit;
    if (!q->covered)
        LT_TRY(lt_fill(dit->engine->compute, &pass->h, 0.0f));
    if (q->text.mine > 0)
        LT_TRY(lt_scatter_rows(dit->engine->compute, &q->text_refined, &q->text.local, &pass->h));
    LT_TRY(embed_rows(dit, &q->video, "dit.video", dit->proj_in, pass));
    return embed_rows(dit, &q->audio, "dit.audio", dit->audio_proj_in, pass);
}

/* Rows of one kind out of h -> norm_out -> head: y [mine, width]. */
static lt_status head_rows(const lt_h3_dit *dit, const lt_h3_rows *r,
                           const lt_tensor *places_of_time, const lt_linear *head, const forward *f,
                           lt_tensor *y)
{
    lt_queue *compute = dit->engine->compute;
    for (int64_t first = 0; first < r->mine; first += dit->row_block) {
        const int64_t count = r->mine - first < dit->row_block ? r->mine - first : dit->row_block;
        const lt_tensor places = lt_h3_rows_at(&r->local, first, count);
        const lt_tensor index = lt_h3_rows_at(places_of_time, first, count);
        lt_tensor x = lt_h3_rows_at(&f->pass.back.out[0], 0, count),
                  z = lt_h3_rows_at(&f->pass.u, 0, count);
        lt_tensor to = lt_h3_rows_at(y, first, count);
        LT_TRY(lt_gather_rows(compute, &f->pass.h, &places, &x));
        LT_TRY(lt_norm_modulate(compute, &x, &dit->out_norm, (float)dit->config.final_norm_eps,
                                &f->out_table, &index, 0, dit->config.hidden, &z));
        if (dit->compute != LT_F32) {
            lt_tensor wide = lt_h3_rows_at(&f->wide, 0, count);
            LT_TRY(lt_copy(compute, &z, &wide));
            z = wide;
        }
        LT_TRY(lt_linear_apply(compute, head, &z, LT_ACT_NONE, &to));
    }
    return LT_OK;
}

/* The head's rows of all ranks -> host. */
static lt_status bring_down(const lt_h3_dit *dit, const lt_h3_rows *r, const char *name,
                            const lt_tensor *mine)
{
    lt_engine *engine = dit->engine;
    lt_tensor whole = *mine;
    if (lt_group_size(dit->tokens) > 1) {
        lt_event after, done;
        LT_TRY(lt_tensor_new(engine->step, name, LT_F32, &whole, LT_DIMS(r->count, r->width)));
        LT_TRY(lt_mark_event(engine->compute, &after));
        LT_TRY(lt_all_gather_rows(engine, dit->tokens, &after, mine, r->counts, &whole, &done));
        LT_TRY(lt_wait(engine->compute, &done));
    }
    return lt_h3_down(dit, r->all, &whole);
}

static lt_status heads_run(const lt_h3_dit_state *q, forward *f, const lt_tensor *video_time,
                           const lt_tensor *audio_time)
{
    const lt_h3_dit *dit = q->dit;
    lt_arena *step = dit->engine->step;
    lt_tensor video, audio;
    if (dit->compute != LT_F32)
        LT_TRY(lt_tensor_new(step, "dit.head.in", LT_F32, &f->wide,
                             LT_DIMS(f->pass.u.dim[0], dit->config.hidden)));
    LT_TRY(lt_tensor_new(step, "dit.head.video", LT_F32, &video,
                         LT_DIMS(q->video.mine, q->video.width)));
    LT_TRY(lt_tensor_new(step, "dit.head.audio", LT_F32, &audio,
                         LT_DIMS(q->audio.mine, q->audio.width)));
    LT_TRY(head_rows(dit, &q->video, video_time, dit->proj_out, f, &video));
    LT_TRY(head_rows(dit, &q->audio, audio_time, dit->audio_proj_out, f, &audio));
    LT_TRY(bring_down(dit, &q->video, "dit.video.all", &video));
    LT_TRY(bring_down(dit, &q->audio, "dit.audio.all", &audio));
    return lt_sync(dit->engine->compute);
}

static lt_status forward_run(const lt_h3_dit_state *q, int used)
{
    const lt_h3_dit *dit = q->dit;
    lt_arena *step = dit->engine->step;
    forward f = {.used = used};
    lt_tensor h, lists;
    const int64_t rows = q->share.count, kinds = q->video.mine + q->audio.mine;
    LT_TRY(lt_tensor_new(step, "dit.h", dit->compute, &h, LT_DIMS(rows, dit->config.hidden)));
    LT_TRY(lt_tensor_new(step, "dit.index", LT_I32, &lists, LT_DIMS(rows + kinds)));
    LT_TRY(lt_h3_up(dit, &lists, q->index_stage));
    LT_TRY(upload_tables(q, &f));
    LT_TRY(lt_h3_pass_new(dit, &h, &q->attention, &f.pass));
    f.pass.index = lt_h3_rows_at(&lists, 0, rows);
    f.pass.cos = q->cos;
    f.pass.sin = q->sin;
    LT_TRY(embed(q, &f.pass));
    for (int64_t i = 0; i < dit->config.layers; i++) {
        const lt_tensor table = lt_h3_rows_at(&f.table, i * used * LT_H3_TAGS, used * LT_H3_TAGS);
        const double began = lt_span_begin();
        (void)lt_span_layer((int)i);
        LT_TRY(lt_layers_use(dit->turns, i));
        LT_TRY(lt_h3_block_run(dit, &dit->blocks[i], &table, &f.pass));
        LT_TRY(lt_layers_done(dit->turns, i));
        lt_span_end(LT_SPAN_LAYER, "block", NULL, began, 0);
        (void)lt_span_layer(-1);
        LT_TRY(lt_h3_show_rows(dit, "block", i, q->share, &h));
    }
    const lt_tensor video_time = lt_h3_rows_at(&lists, rows, q->video.mine);
    const lt_tensor audio_time = lt_h3_rows_at(&lists, rows + q->video.mine, q->audio.mine);
    return heads_run(q, &f, &video_time, &audio_time);
}

static lt_status evaluate(lt_h3_dit_state *q, const float *video_rows, const float *audio_rows,
                          const int32_t *timestep_index, int levels, float *video_out,
                          float *audio_out)
{
    lt_h3_dit *dit = q->dit;
    int used;
    if (dit->timestep_count < 1)
        LT_FAIL(LT_EUSAGE, "DiT: a forward needs modulation tables first");
    assert(dit->dry ||
           (timestep_index && (video_rows || !q->video.count) && (audio_rows || !q->audio.count)));
    LT_TRY(timesteps_map(q, timestep_index, levels, &used));
    stage_rows(&q->video, video_rows);
    stage_rows(&q->audio, audio_rows);
    stage_indices(q, timestep_index);
    const lt_mark mark = lt_arena_mark(dit->engine->step);
    const lt_status st = forward_run(q, used);
    if (st == LT_OK) { /* after an error queues may still run: the state's end gives all back */
        unstage_rows(&q->video, video_out);
        unstage_rows(&q->audio, audio_out);
        lt_arena_release(dit->engine->step, mark);
    }
    return st;
}

lt_status lt_h3_dit_forward(lt_h3_dit *dit, lt_h3_dit_state *q, const float *video_rows,
                            const float *audio_rows, const int32_t *timestep_index,
                            float *video_out, float *audio_out)
{
    assert(dit != NULL && q != NULL && q->dit == dit);
    return evaluate(q, video_rows, audio_rows, timestep_index, 2, video_out, audio_out);
}

lt_status lt_h3_dit_forward_dry(lt_h3_dit *dit, lt_h3_dit_state *q, int levels)
{
    assert(dit != NULL && q != NULL && q->dit == dit && dit->dry && levels >= 1);
    return evaluate(q, NULL, NULL, NULL, levels, NULL, NULL);
}

lt_status lt_h3_show_rows(const lt_h3_dit *dit, const char *what, int64_t layer, lt_range rows,
                          const lt_tensor *h)
{
    if (!dit->tap || dit->dry)
        return LT_OK;
    const size_t count = (size_t)lt_elements(h);
    void *raw = malloc(count * lt_dtype_bytes(h->dtype) + 1);
    float *values = malloc(count * sizeof *values + 1);
    lt_status st = raw && values ? lt_h3_down(dit, raw, h)
                                 : lt_fail(LT_ENOMEM, __FILE__, __LINE__,
                                           "DiT: no memory to watch %zu values", count);
    if (st == LT_OK)
        st = lt_sync(dit->engine->compute);
    if (st == LT_OK) {
        lt_convert(raw, h->dtype, values, LT_F32, count);
        dit->tap(dit->tap_ctx, what, layer, rows, values);
    }
    free(raw);
    free(values);
    return st;
}

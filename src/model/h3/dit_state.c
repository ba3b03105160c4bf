/* dit_state.c - what stays the same over all evaluations of one text and one shape.
 * Formulas: spec/minimax-h3.md 4.3 (rotary), 4.5 (1, 2).
 *
 * A kind of rows (text, audio, video) is a list of slots, each a row of the packed sequence. The
 * share of a rank is a range of rows, so it may hold any slots of any kind. `order` lists a kind's
 * slots rank by rank: what a rank uploads, and the order in which gathered velocities come. */
#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "model/h3/dit_internal.h"

static void rows_free(lt_h3_rows *r)
{
    free(r->order);
    free(r->counts);
    free(r->stage);
    free(r->all);
    *r = (lt_h3_rows){0};
}

static void state_free(lt_h3_dit_state *q)
{
    rows_free(&q->video);
    rows_free(&q->audio);
    rows_free(&q->text);
    lt_attention_share_free(&q->attention);
    free(q->index_stage);
    free(q->timestep_map);
    lt_dry_host(-q->dry_bytes);
    free(q);
}

/* step is given back by marks, so a state that ended below a living one waits for it. */
void lt_h3_dit_end(lt_h3_dit_state **state)
{
    if (*state == NULL)
        return;
    lt_h3_dit *dit = (*state)->dit;
    (void)lt_sync(dit->engine->compute); /* host arrays may still be read */
    (*state)->ended = 1;
    *state = NULL;
    while (dit->states != NULL && dit->states->ended) {
        lt_h3_dit_state *top = dit->states;
        dit->states = top->below;
        lt_arena_release(dit->engine->step, top->mark);
        state_free(top);
    }
}

/* Positions that two ranges share. */
static int64_t shared(lt_range a, lt_range b)
{
    const int64_t from = a.first > b.first ? a.first : b.first;
    const int64_t a_end = a.first + a.count, b_end = b.first + b.count;
    const int64_t to = a_end < b_end ? a_end : b_end;
    return to > from ? to - from : 0;
}

/* On dry, where a layout has no arrays: the kind is the rows of two runs. */
static lt_status rows_count(const lt_h3_dit_state *q, const lt_range run[2], lt_h3_rows *r)
{
    const lt_h3_dit *dit = q->dit;
    const int P = lt_group_size(dit->tokens), me = lt_group_rank(dit->tokens);
    r->counts = calloc((size_t)P, sizeof *r->counts);
    if (!r->counts)
        LT_FAIL(LT_ENOMEM, "DiT: no memory for %d ranks", P);
    for (int i = 0; i < P; i++) {
        r->counts[i] = shared(q->attention.rows[i], run[0]) + shared(q->attention.rows[i], run[1]);
        r->first += i < me ? r->counts[i] : 0;
    }
    r->mine = r->counts[me];
    return LT_OK;
}

/* Sort a kind's slots by the rank that holds their rows. indices NULL: they are those of run. */
static lt_status sort_rows_by_rank(const lt_h3_dit_state *q, const int64_t *indices,
                                   const lt_range run[2], int64_t count, int64_t width,
                                   lt_h3_rows *r)
{
    const lt_h3_dit *dit = q->dit;
    const int P = lt_group_size(dit->tokens), me = lt_group_rank(dit->tokens);
    const lt_attention_share *share = &q->attention;
    *r = (lt_h3_rows){.width = width, .count = count};
    if (!indices)
        return rows_count(q, run, r);
    r->order = calloc((size_t)count + 1, sizeof *r->order);
    r->counts = calloc((size_t)P, sizeof *r->counts);
    int64_t *next = calloc((size_t)P + 1, sizeof *next);
    if (!r->order || !r->counts || !next) {
        free(next);
        LT_FAIL(LT_ENOMEM, "DiT: no memory for %lld rows", (long long)count);
    }
    for (int64_t j = 0; j < count; j++)
        r->counts[lt_attention_row_owner(share, indices[j])]++;
    for (int i = 0; i < P; i++)
        next[i + 1] = next[i] + r->counts[i];
    r->first = next[me];
    r->mine = r->counts[me];
    for (int64_t j = 0; j < count; j++)
        r->order[next[lt_attention_row_owner(share, indices[j])]++] = (int32_t)j;
    free(next);
    return LT_OK;
}

/* A device list of i32 from host values; the host array must stay until the queue has passed. */
static lt_status list_new(const lt_h3_dit *dit, const char *name, const int32_t *values,
                          int64_t count, lt_tensor *out)
{
    LT_TRY(lt_tensor_new(dit->engine->step, name, LT_I32, out, LT_DIMS(count)));
    return lt_h3_up(dit, out, values);
}

/* Host arrays of a kind, on dry: its order, and what stages_new takes. */
static int64_t rows_bytes(const lt_h3_rows *r, int staged)
{
    const int64_t floats = staged ? (r->mine + r->count) * r->width : 0;
    return r->count * (int64_t)sizeof *r->order + floats * (int64_t)sizeof *r->stage;
}

static void count_host(lt_h3_dit_state *q)
{
    q->dry_bytes = rows_bytes(&q->video, 1) + rows_bytes(&q->audio, 1) + rows_bytes(&q->text, 0) +
                   2 * q->share.count * (int64_t)sizeof *q->index_stage +
                   q->dit->timestep_count * (int64_t)sizeof *q->timestep_map;
    lt_dry_host(q->dry_bytes);
}

/* Where my slots lie among my rows. */
static lt_status rows_local(const lt_h3_dit_state *q, const int64_t *indices, lt_h3_rows *r)
{
    const lt_h3_dit *dit = q->dit;
    if (dit->dry)
        return list_new(dit, "dit.rows", NULL, r->mine, &r->local);
    int32_t *places = calloc((size_t)r->mine + 1, sizeof *places);
    if (!places)
        LT_FAIL(LT_ENOMEM, "DiT: no memory for %lld rows", (long long)r->mine);
    for (int64_t i = 0; i < r->mine; i++)
        places[i] = (int32_t)(indices[r->order[r->first + i]] - q->share.first);
    lt_status st;
    LT_TRY_GOTO(list_new(dit, "dit.rows", places, r->mine, &r->local), st, done);
    LT_TRY_GOTO(lt_sync(dit->engine->compute), st, done);
done:
    free(places);
    return st;
}

static lt_status stages_new(const lt_h3_dit *dit, lt_h3_rows *r)
{
    if (dit->dry)
        return LT_OK;
    r->stage = malloc(((size_t)r->mine * (size_t)r->width + 1) * sizeof *r->stage);
    r->all = malloc(((size_t)r->count * (size_t)r->width + 1) * sizeof *r->all);
    if (!r->stage || !r->all)
        LT_FAIL(LT_ENOMEM, "DiT: no memory for %lld rows", (long long)r->count);
    return LT_OK;
}

/* Angle a of a row: position on axis a / R times 1 / theta^(2 (a % R) / 2R), all in f32. */
static void angles_fill(const lt_h3_dit_config *c, const double *positions, int64_t rows,
                        float *cos_out, float *sin_out)
{
    const int64_t R = c->rope_freqs;
    for (int64_t j = 0; j < R; j++) {
        const float exponent = (float)(2 * j) / (float)(2 * R);
        const float inverse = 1.0f / (float)pow((double)(float)c->rope_theta, (double)exponent);
        for (int64_t i = 0; i < rows; i++)
            for (int axis = 0; axis < 3; axis++) {
                const float angle = (float)positions[3 * i + axis] * inverse;
                cos_out[i * 3 * R + axis * R + j] = (float)cos((double)angle);
                sin_out[i * 3 * R + axis * R + j] = (float)sin((double)angle);
            }
    }
}

/* values f32 -> device rows in act. */
static lt_status table_new(const lt_h3_dit *dit, const char *name, float *values, int64_t rows,
                           int64_t width, lt_tensor *out)
{
    LT_TRY(lt_tensor_new(dit->engine->step, name, dit->compute, out, LT_DIMS(rows, width)));
    void *from = values;
    uint16_t *narrow = NULL;
    if (values && dit->compute != LT_F32) {
        narrow = malloc(((size_t)rows * (size_t)width + 1) * sizeof *narrow);
        if (!narrow)
            LT_FAIL(LT_ENOMEM, "DiT: no memory for %lld rows", (long long)rows);
        lt_convert(values, LT_F32, narrow, dit->compute, (size_t)rows * (size_t)width);
        from = narrow;
    }
    lt_status st = lt_h3_up(dit, out, from);
    if (st == LT_OK)
        st = lt_sync(dit->engine->compute);
    free(narrow);
    return st;
}

static lt_status rotary_new(lt_h3_dit_state *q)
{
    const lt_h3_dit *dit = q->dit;
    const int64_t rows = q->share.count, width = 3 * dit->config.rope_freqs;
    float *values = NULL;
    const size_t half = (size_t)rows * (size_t)width;
    if (dit->dry) {
        const int64_t bytes = 2 * (int64_t)(half * sizeof *values);
        lt_dry_host(bytes); /* they come and go */
        lt_dry_host(-bytes);
    } else {
        values = malloc((2 * half + 1) * sizeof *values);
        if (!values)
            LT_FAIL(LT_ENOMEM, "DiT: no memory for %lld rows", (long long)rows);
        angles_fill(&dit->config, q->layout->position_ids + 3 * q->share.first, rows, values,
                    values + half);
    }
    lt_status st;
    LT_TRY_GOTO(table_new(dit, "dit.cos", values, rows, width, &q->cos), st, done);
    LT_TRY_GOTO(table_new(dit, "dit.sin", values ? values + half : NULL, rows, width, &q->sin), st,
                done);
done:
    free(values);
    return st;
}

/* Text rows -> context_embedder -> refiner -> final norm, all L of them, into y [L, hidden]. */
static lt_status refine(const lt_h3_dit *dit, const void *text_rows, lt_tensor *h, lt_tensor *y)
{
    lt_queue *compute = dit->engine->compute;
    const int64_t L = h->dim[0], width = dit->config.text_dim;
    lt_tensor x;
    LT_TRY(lt_tensor_new(dit->engine->step, "dit.text", dit->compute, &x, LT_DIMS(L, width)));
    LT_TRY(lt_h3_up(dit, &x, text_rows));
    for (int64_t first = 0; first < L; first += dit->row_block) {
        const int64_t count = L - first < dit->row_block ? L - first : dit->row_block;
        const lt_tensor from = lt_h3_rows_at(&x, first, count);
        lt_tensor to = lt_h3_rows_at(h, first, count);
        LT_TRY(lt_linear_apply(compute, dit->context, &from, LT_ACT_NONE, &to));
    }
    lt_h3_pass pass;
    LT_TRY(lt_h3_pass_new(dit, h, NULL, &pass));
    for (int64_t i = 0; i < dit->config.refiner_layers; i++)
        LT_TRY(lt_h3_block_run(dit, &dit->refiner[i], NULL, &pass));
    LT_TRY(lt_rms_norm(compute, h, &dit->refiner_norm, (float)dit->config.final_norm_eps,
                       LT_ROUND_ONCE, y));
    return lt_h3_show_rows(dit, "refiner", -1, (lt_range){0, L}, y);
}

static lt_status text_scratch(const lt_h3_dit_state *q, const void *text_rows, lt_tensor *kept)
{
    const lt_h3_dit *dit = q->dit;
    lt_engine *engine = dit->engine;
    const lt_h3_rows *r = &q->text;
    lt_tensor h, y, slots;
    LT_TRY(lt_tensor_new(engine->step, "dit.text.h", dit->compute, &h,
                         LT_DIMS(r->count, dit->config.hidden)));
    LT_TRY(lt_tensor_new(engine->step, "dit.text.y", dit->compute, &y,
                         LT_DIMS(r->count, dit->config.hidden)));
    LT_TRY(list_new(dit, "dit.text.slots", r->order ? r->order + r->first : NULL, r->mine, &slots));
    if (r->count > 0) {
        LT_TRY(refine(dit, text_rows, &h, &y));
        LT_TRY(lt_gather_rows(engine->compute, &y, &slots, kept));
    }
    return lt_sync(engine->compute);
}

/* My refined text rows, kept for the state; the whole of them is scratch. */
static lt_status text_new(lt_h3_dit_state *q, const void *text_rows, lt_dtype text_dtype)
{
    const lt_h3_dit *dit = q->dit;
    lt_engine *engine = dit->engine;
    const size_t count = (size_t)q->text.count * (size_t)dit->config.text_dim;
    LT_TRY(lt_tensor_new(engine->step, "dit.text.refined", dit->compute, &q->text_refined,
                         LT_DIMS(q->text.mine, dit->config.hidden)));
    void *converted = NULL;
    if (!dit->dry && text_dtype != dit->compute) {
        converted = malloc(count * lt_dtype_bytes(dit->compute) + 1);
        if (!converted)
            LT_FAIL(LT_ENOMEM, "DiT: no memory for %lld text rows", (long long)q->text.count);
        lt_convert(text_rows, text_dtype, converted, dit->compute, count);
    }
    const lt_mark mark = lt_arena_mark(engine->step);
    const lt_status st = text_scratch(q, converted ? converted : text_rows, &q->text_refined);
    lt_arena_release(engine->step, mark);
    free(converted);
    return st;
}

static lt_status state_fill(lt_h3_dit_state *q, const void *text_rows, lt_dtype text_dtype)
{
    const lt_h3_dit *dit = q->dit;
    const lt_h3_layout *l = q->layout;
    const lt_h3_dit_config *c = &dit->config;
    LT_TRY(lt_attention_share_new(dit->engine->mesh, l->rows, dit->heads.units.count, c->head_dim,
                                  dit->compute, 0, &q->attention));
    q->share = q->attention.rows[lt_group_rank(dit->tokens)];
    const int ranks = lt_group_size(dit->tokens), ring = lt_group_size(q->attention.ring);
    if (dit->heads.ordered && ring > 1 && !dit->dry)
        lt_log0(1, "dit",
                "--deterministic over ring=%d: the largest share of %lld rows is %.0f %% "
                "above the mean",
                ring, (long long)l->rows, 100 * lt_chunks_imbalance(l->rows, ring));
    if (ranks > l->rows && !dit->dry)
        lt_warn("--mesh: %lld rows are to be shared: ring x uly ranks from %lld on hold none",
                (long long)l->rows, (long long)l->rows);
    const int64_t anchors = lt_h3_layout_anchor_rows(l), media = l->text_rows + anchors;
    const lt_range text[2] = {{0, l->text_rows}}, audio[2] = {{media, l->audio_rows}},
                   video[2] = {{l->text_rows, anchors},
                               {media + l->audio_rows, l->video_rows - anchors}};
    LT_TRY(sort_rows_by_rank(q, l->video_indices, video, l->video_rows,
                             lt_h3_dit_video_width(&dit->config), &q->video));
    LT_TRY(sort_rows_by_rank(q, l->audio_indices, audio, l->audio_rows, dit->config.audio_channels,
                             &q->audio));
    LT_TRY(
        sort_rows_by_rank(q, l->text_indices, text, l->text_rows, dit->config.text_dim, &q->text));
    q->covered = q->video.mine + q->audio.mine + q->text.mine == q->share.count;
    LT_TRY(rows_local(q, l->video_indices, &q->video));
    LT_TRY(rows_local(q, l->audio_indices, &q->audio));
    LT_TRY(rows_local(q, l->text_indices, &q->text));
    LT_TRY(stages_new(dit, &q->video));
    LT_TRY(stages_new(dit, &q->audio));
    if (!dit->dry)
        q->index_stage = calloc(2 * (size_t)q->share.count + 1, sizeof *q->index_stage);
    if (!q->index_stage && !dit->dry)
        LT_FAIL(LT_ENOMEM, "DiT: no memory for %lld rows", (long long)q->share.count);
    if (dit->dry)
        count_host(q);
    LT_TRY(rotary_new(q));
    return text_new(q, text_rows, text_dtype);
}

lt_status lt_h3_dit_begin(lt_h3_dit *dit, const lt_h3_layout *layout, const void *text_rows,
                          lt_dtype text_dtype, lt_h3_dit_state **out)
{
    assert(dit && layout && layout->rows > 0);
    assert(text_rows || dit->dry || layout->text_rows == 0);
    *out = NULL;
    LT_TRY(lt_h3_dit_load(dit));
    lt_h3_dit_state *q = calloc(1, sizeof *q);
    if (!q)
        LT_FAIL(LT_ENOMEM, "DiT: no memory for a state's description");
    q->dit = dit;
    q->layout = layout;
    q->mark = lt_arena_mark(dit->engine->step);
    q->below = dit->states;
    dit->states = q;
    const lt_status st = state_fill(q, text_rows, text_dtype);
    if (st != LT_OK)
        lt_h3_dit_end(&q);
    *out = q;
    return st;
}

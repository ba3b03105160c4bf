/* qwen3vl.c - H3's text encoder: token ids to text rows.
 * Formulas and roundings: spec/minimax-h3.md 3.1.
 *
 * What lies in engine->step while L rows are encoded (my shares of heads H, groups K, columns F):
 *
 *     x        [L, E]           the residual
 *     qkv      [L, (H + 2K) D]  beside each other; attention reads its parts as strided views
 *     attention_out [L, H D]    attention's output
 *     cos, sin [L, D / 2]
 *     normed   [B, E]  \
 *     gated    [B, 2F]  } row blocks of B: the middle of the FFN is ten times as wide as x
 *     inner    [B, F]  /
 *     and what ordered sums take
 *
 * All but attention is local to a row. Groups and columns are split in fixed order whatever tp is
 * (split_linear.h): o_proj and down_proj give f32 sums of chunks, which are added along one tree
 * and rounded once. So the text rows have the same bits for any tp, one rank included. A rank
 * without groups or columns sends nothing.
 *
 * A layer whose o_proj and down_proj are all zero leaves x as it is. A distilled encoder is
 * published that way, since the state that is read is always that after 50 layers. One is found by
 * looking at its values, from the front: a layer that does something shows it in its first rows. */
#include "model/text/qwen3vl.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/stop.h"
#include "model/text/qwen3vl_tensors.h"
#include "model/weights/layers.h"
#include "model/weights/split_weights.h"
#include "parallel/transport/agree.h"

enum { BLOCK_ROWS = 512, NAME_BYTES = 160, LOOK_BYTES = 1 << 20, IDS_MAX = 1 << 24 };

typedef struct decoder_layer {
    int identity;
    lt_tensor norm1, norm2, norm_q, norm_k;
    lt_column_linear qkv, up; /* up: value, gate */
    lt_row_linear out, down;
} decoder_layer;

struct lt_qwen3vl {
    lt_checkpoint *checkpoint;
    lt_engine *engine;
    lt_qwen3vl_config config;
    lt_dtype compute;
    int dry;
    lt_group *tp;
    lt_split query, key, ffn; /* a thing of query is a group's heads, of key its one head */
    int64_t heads;            /* mine */
    lt_weights *weights;
    lt_layers *turns;      /* the layers' */
    decoder_layer *layers; /* [hidden_state] */
};

/* ---- opening ---- */

static void name_of(char out[NAME_BYTES], int64_t layer, const char *tail)
{
    const int n =
        snprintf(out, NAME_BYTES, LT_QWEN3VL_PREFIX "layers.%lld.%s", (long long)layer, tail);
    assert(n > 0 && n < NAME_BYTES);
    (void)n;
}

/* Are all values of a matrix zero? Reads from the front until one is not; in a dry run no more than
 * the first LOOK_BYTES, which tell as much for a plan. */
static lt_status is_zero(lt_qwen3vl *t, const char *name, int64_t out, int64_t in, int *zero)
{
    int64_t rows = LOOK_BYTES / (in * (int64_t)sizeof(float));
    rows = rows < 1 ? 1 : rows > out ? out : rows;
    float *values = malloc((size_t)(rows * in) * sizeof *values);
    lt_status st = LT_OK;
    *zero = 1;
    if (values == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for %lld rows", name, (long long)rows);
    const int64_t end = t->dry && rows < out ? rows : out;
    for (int64_t first = 0; first < end && *zero && st == LT_OK; first += rows) {
        const int64_t count = end - first < rows ? end - first : rows;
        const lt_slice slice = {{first, count}, {0, in}};
        st = lt_checkpoint_read(t->checkpoint, name, LT_DIMS(out, in), slice, LT_F32, values);
        for (int64_t i = 0; i < count * in && *zero && st == LT_OK; i++)
            *zero = values[i] == 0;
    }
    free(values);
    return st;
}

static lt_status look_for_identity(lt_qwen3vl *t, int64_t layer, int *identity)
{
    const lt_qwen3vl_config *c = &t->config;
    char name[NAME_BYTES];
    *identity = 0;
    name_of(name, layer, "self_attn.o_proj.weight");
    LT_TRY(is_zero(t, name, c->hidden, c->heads * c->head_dim, identity));
    if (!*identity)
        return LT_OK;
    name_of(name, layer, "mlp.down_proj.weight");
    LT_TRY(is_zero(t, name, c->hidden, c->ffn, identity));
    return LT_OK;
}

static lt_status load_attention(lt_qwen3vl *t, int64_t layer, decoder_layer *d)
{
    const lt_qwen3vl_config *c = &t->config;
    const int64_t D = c->head_dim, E = c->hidden;
    char name[2][NAME_BYTES];
    name_of(name[0], layer, "self_attn.q_norm.weight");
    name_of(name[1], layer, "self_attn.k_norm.weight");
    LT_TRY(lt_weights_tensor(t->weights, name[0], LT_DIMS(D), t->compute, &d->norm_q));
    LT_TRY(lt_weights_tensor(t->weights, name[1], LT_DIMS(D), t->compute, &d->norm_k));
    char name_q[NAME_BYTES], name_k[NAME_BYTES], name_v[NAME_BYTES];
    name_of(name_q, layer, "self_attn.q_proj");
    name_of(name_k, layer, "self_attn.k_proj");
    name_of(name_v, layer, "self_attn.v_proj");
    const lt_column_part parts[] = {{name_q, c->heads * D, 0, &t->query},
                                    {name_k, c->kv_heads * D, 0, &t->key},
                                    {name_v, c->kv_heads * D, 0, &t->key}};
    LT_TRY(lt_column_linear_load(t->weights, parts, 3, E, 0, &d->qkv));
    name_of(name[0], layer, "self_attn.o_proj");
    return lt_row_linear_load(t->weights, name[0], E, &t->query, 0, &d->out);
}

static lt_status load_ffn(lt_qwen3vl *t, int64_t layer, decoder_layer *d)
{
    const lt_qwen3vl_config *c = &t->config;
    char up[NAME_BYTES], gate[NAME_BYTES], down[NAME_BYTES];
    name_of(up, layer, "mlp.up_proj");
    name_of(gate, layer, "mlp.gate_proj");
    name_of(down, layer, "mlp.down_proj");
    const lt_column_part parts[] = {{up, c->ffn, 0, &t->ffn}, /* lt_swiglu's order */
                                    {gate, c->ffn, 0, &t->ffn}};
    LT_TRY(lt_column_linear_load(t->weights, parts, 2, c->hidden, 0, &d->up));
    return lt_row_linear_load(t->weights, down, c->hidden, &t->ffn, 0, &d->down);
}

static lt_status load_layer(lt_qwen3vl *t, int64_t layer)
{
    decoder_layer *d = &t->layers[layer];
    char name[NAME_BYTES];
    LT_TRY(look_for_identity(t, layer, &d->identity));
    if (d->identity)
        return LT_OK;
    const lt_dims dims = LT_DIMS(t->config.hidden);
    name_of(name, layer, "input_layernorm.weight");
    LT_TRY(lt_weights_tensor(t->weights, name, dims, t->compute, &d->norm1));
    name_of(name, layer, "post_attention_layernorm.weight");
    LT_TRY(lt_weights_tensor(t->weights, name, dims, t->compute, &d->norm2));
    LT_TRY(load_attention(t, layer, d));
    LT_TRY(load_ffn(t, layer, d));
    return LT_OK;
}

/* Whatever else the checkpoint holds must be a part of Qwen3-VL that is left unread. */
static lt_status check_rest(lt_qwen3vl *t)
{
    static const char *const fixed[] = {"model.visual.", "lm_head.", LT_QWEN3VL_PREFIX "norm."};
    enum { FIXED = sizeof fixed / sizeof *fixed };
    const size_t later = (size_t)(t->config.layers - t->config.hidden_state);
    const char **prefixes = calloc(FIXED + later + 1, sizeof *prefixes);
    char(*names)[NAME_BYTES] = calloc(later, sizeof *names);
    lt_status st = LT_OK;
    if (prefixes == NULL || names == NULL)
        LT_FAIL_GOTO(LT_ENOMEM, st, done, "text encoder: no memory for %zu names", later);
    memcpy(prefixes, fixed, sizeof fixed);
    for (size_t i = 0; i < later; i++) {
        name_of(names[i], t->config.hidden_state + (int64_t)i, "");
        prefixes[FIXED + i] = names[i];
    }
    LT_TRY_GOTO(lt_checkpoint_all_used(t->checkpoint, prefixes), st, done);
done:
    free(prefixes);
    free(names);
    return st;
}

static lt_status load_all(lt_qwen3vl *t, lt_loading *loading)
{
    const lt_qwen3vl_config *c = &t->config;
    const lt_wanter check = {lt_wanted_check, t->checkpoint, LT_NEED_RUN};
    LT_TRY(lt_weights_open(t->checkpoint, t->engine, t->compute, &t->weights));
    lt_weights_load_with(t->weights, loading);
    /* An identity's tensors are not read, but they must be there as the config has them. */
    LT_TRY(lt_qwen3vl_tensors(c, &check));
    LT_TRY(lt_layers_new(t->weights, "text encoder's layers", c->hidden_state, &t->turns));
    for (int64_t i = 0; i < c->hidden_state; i++) {
        LT_TRY(lt_layers_begin(t->turns, i));
        LT_TRY(load_layer(t, i));
        LT_TRY(lt_layers_end(t->turns, i));
    }
    LT_TRY(check_rest(t));
    return LT_OK;
}

static lt_status load(lt_qwen3vl *t)
{
    lt_loading loading = lt_loading_new(t->tp);
    const lt_status st = load_all(t, &loading);
    if (t->weights != NULL) {
        lt_weights_load_with(t->weights, NULL);
        lt_weights_rest(t->weights);
    }
    return t->dry ? st : lt_loading_end(&loading, st);
}

lt_status lt_qwen3vl_open(lt_checkpoint *checkpoint, lt_engine *engine,
                          const lt_qwen3vl_config *config, lt_dtype compute, lt_qwen3vl **out)
{
    assert(compute == LT_F32 || compute == LT_BF16);
    assert(config->hidden_state >= 1 && config->hidden_state < config->layers);
    *out = NULL;
    lt_qwen3vl *t = calloc(1, sizeof *t);
    decoder_layer *layers = calloc((size_t)config->hidden_state, sizeof *layers);
    if (t == NULL || layers == NULL) {
        free(t);
        free(layers);
        LT_FAIL(LT_ENOMEM, "text encoder: no memory for %lld layers' descriptions",
                (long long)config->hidden_state);
    }
    t->checkpoint = checkpoint;
    t->engine = engine;
    t->config = *config;
    t->compute = compute;
    t->layers = layers;
    t->dry = engine->backend->is_dry;
    t->tp = engine->mesh->axis[LT_AXIS_TP];
    const int64_t per_group = config->heads / config->kv_heads;
    t->query = lt_split_of(config->kv_heads, per_group * config->head_dim, t->tp, 1);
    t->key = lt_split_of(config->kv_heads, config->head_dim, t->tp, 1);
    t->ffn = lt_split_of(config->ffn, 1, t->tp, 1);
    t->heads = t->query.units.count * per_group;
    const lt_status st = load(t);
    if (st != LT_OK) {
        lt_qwen3vl_close(&t);
        return lt_error_trace(st, "load", __FILE__, __LINE__);
    }
    *out = t;
    return LT_OK;
}

void lt_qwen3vl_close(lt_qwen3vl **text)
{
    if (*text == NULL)
        return;
    lt_layers_close(&(*text)->turns);
    lt_weights_close(&(*text)->weights);
    free((*text)->layers);
    free(*text);
    *text = NULL;
}

/* ---- encoding ---- */

/* Host memory and tensors of one call. */
typedef struct pass {
    int64_t rows;
    void *embedded;  /* host [L, E] of compute's dtype: what goes up, later what came down */
    void *cos, *sin; /* host [L, D / 2] */
    lt_tensor x, qkv, attention_out, cos_rows, sin_rows;
    lt_tensor normed, gated, inner;
    lt_row_scratch back;
} pass;

static lt_status check_ids(const lt_qwen3vl *t, const int32_t *ids, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= t->config.vocab)
            LT_FAIL(LT_EDATA, "input_ids[%lld]: want 0 to %lld, found %d", (long long)i,
                    (long long)t->config.vocab - 1, (int)ids[i]);
    return LT_OK;
}

/* cos and sin of every row: frequency a turns by row * theta^(-2a / D), in the reference's f32
 * steps. */
static void fill_rotary(const lt_qwen3vl *t, pass *p)
{
    const int64_t half = t->config.head_dim / 2;
    for (int64_t a = 0; a < half; a++) {
        const float exponent = (float)(2 * a) / (float)t->config.head_dim;
        const float inv_freq = 1.0f / (float)pow(t->config.rope_theta, (double)exponent);
        for (int64_t row = 0; row < p->rows; row++) {
            const float angle = (float)row * inv_freq;
            const float c = (float)cos((double)angle), s = (float)sin((double)angle);
            lt_convert(&c, LT_F32,
                       (char *)p->cos + (size_t)(row * half + a) * lt_dtype_bytes(t->compute),
                       t->compute, 1);
            lt_convert(&s, LT_F32,
                       (char *)p->sin + (size_t)(row * half + a) * lt_dtype_bytes(t->compute),
                       t->compute, 1);
        }
    }
}

/* What the host brings: embedding rows, row by row from the file, and rotary rows. */
static lt_status prepare_host(lt_qwen3vl *t, const int32_t *ids, pass *p)
{
    const lt_qwen3vl_config *c = &t->config;
    const size_t element = lt_dtype_bytes(t->compute);
    const size_t row_bytes = (size_t)c->hidden * element;
    const size_t turn_bytes = (size_t)(c->head_dim / 2) * element;
    assert(p->rows > 0 && p->rows <= IDS_MAX);
    LT_TRY(check_ids(t, ids, p->rows));
    p->embedded = calloc((size_t)p->rows, row_bytes);
    p->cos = calloc((size_t)p->rows, turn_bytes);
    p->sin = calloc((size_t)p->rows, turn_bytes);
    if (p->embedded == NULL || p->cos == NULL || p->sin == NULL)
        LT_FAIL(LT_ENOMEM, "text encoder: no memory for %lld rows", (long long)p->rows);
    for (int64_t i = 0; i < p->rows; i++) {
        const lt_slice slice = {{ids[i], 1}, {0, c->hidden}};
        LT_TRY(lt_checkpoint_read(t->checkpoint, LT_QWEN3VL_PREFIX "embed_tokens.weight",
                                  LT_DIMS(c->vocab, c->hidden), slice, t->compute,
                                  (char *)p->embedded + (size_t)i * row_bytes));
    }
    fill_rotary(t, p);
    return LT_OK;
}

static lt_status take_scratch(lt_qwen3vl *t, pass *p)
{
    lt_arena *step = t->engine->step;
    const lt_dtype act = t->compute;
    const int64_t E = t->config.hidden, D = t->config.head_dim, L = p->rows;
    const int64_t B = L < BLOCK_ROWS ? L : BLOCK_ROWS, H = t->query.columns.count;
    const int64_t both = H + 2 * t->key.columns.count, F = t->ffn.columns.count;
    /* the embedding's rows are read one by one, as the prompt names them: on dry none */
    LT_TRY(lt_checkpoint_load(t->checkpoint, LT_QWEN3VL_PREFIX "embed_tokens.weight",
                              LT_DIMS(t->config.vocab, t->config.hidden)));
    LT_TRY(lt_tensor_new(step, "text.x", act, &p->x, LT_DIMS(L, E)));
    LT_TRY(lt_tensor_new(step, "text.qkv", act, &p->qkv, LT_DIMS(L, both)));
    LT_TRY(lt_tensor_new(step, "text.mixed", act, &p->attention_out, LT_DIMS(L, H)));
    LT_TRY(lt_tensor_new(step, "text.cos", act, &p->cos_rows, LT_DIMS(L, D / 2)));
    LT_TRY(lt_tensor_new(step, "text.sin", act, &p->sin_rows, LT_DIMS(L, D / 2)));
    LT_TRY(lt_tensor_new(step, "text.normed", act, &p->normed, LT_DIMS(B, E)));
    LT_TRY(lt_tensor_new(step, "text.gated", act, &p->gated, LT_DIMS(B, 2 * F)));
    LT_TRY(lt_tensor_new(step, "text.inner", act, &p->inner, LT_DIMS(B, F)));
    const lt_split *const splits[] = {&t->query, &t->ffn};
    return lt_row_scratch_new(step, splits, 2, act, B, E, NULL, &p->back);
}

/* Rows [first, first + B) of the pass, as far as there are. */
static lt_range block_at(const pass *p, int64_t first)
{
    const int64_t left = p->rows - first;
    return (lt_range){first, left < BLOCK_ROWS ? left : BLOCK_ROWS};
}

static lt_tensor front(const lt_tensor *x, lt_range rows)
{
    return lt_view_outer(x, (lt_range){0, rows.count});
}

/* Where the results of a row-parallel layer go: x += y. */
typedef struct target {
    lt_queue *compute;
    const lt_tensor *x;
} target;

static lt_status add_result(void *ctx, lt_range rows, const lt_tensor *y)
{
    const target *t = ctx;
    lt_tensor x = lt_view_outer(t->x, rows);
    return lt_axpby(t->compute, 1, y, 1, &x);
}

/* q, k, v of all rows, normed by heads and turned. */
static lt_status project(lt_qwen3vl *t, const decoder_layer *d, pass *p)
{
    lt_queue *q = t->engine->compute;
    const int64_t D = t->config.head_dim, heads = t->heads, groups = t->key.units.count;
    const float eps = (float)t->config.rms_eps;
    for (int64_t first = 0; first < p->rows; first += BLOCK_ROWS) {
        const lt_range rows = block_at(p, first);
        const lt_tensor x = lt_view_outer(&p->x, rows);
        lt_tensor normed = front(&p->normed, rows), qkv = lt_view_outer(&p->qkv, rows);
        LT_TRY(lt_rms_norm(q, &x, &d->norm1, eps, LT_ROUND_TWICE, &normed));
        LT_TRY(lt_column_linear_apply(q, &d->qkv, &normed, &qkv));
    }
    lt_tensor query = lt_view_columns(&p->qkv, (lt_range){0, heads * D});
    lt_tensor key = lt_view_columns(&p->qkv, (lt_range){heads * D, groups * D});
    LT_TRY(lt_head_norm_rope(q, &query, heads, &d->norm_q, eps, LT_ROUND_TWICE, &p->cos_rows,
                             &p->sin_rows));
    LT_TRY(lt_head_norm_rope(q, &key, groups, &d->norm_k, eps, LT_ROUND_TWICE, &p->cos_rows,
                             &p->sin_rows));
    return LT_OK;
}

static lt_status attend(lt_qwen3vl *t, const decoder_layer *d, pass *p)
{
    const int64_t D = t->config.head_dim, H = t->query.columns.count, K = t->key.columns.count;
    if (t->heads > 0) {
        LT_TRY(project(t, d, p));
        const lt_tensor query = lt_view_columns(&p->qkv, (lt_range){0, H});
        const lt_tensor key = lt_view_columns(&p->qkv, (lt_range){H, K});
        const lt_tensor value = lt_view_columns(&p->qkv, (lt_range){H + K, K});
        const float scale = (float)(1.0 / sqrt((double)D));
        LT_TRY(lt_attention(t->engine->compute, &query, &key, &value, t->heads, t->key.units.count,
                            scale, 1, 0, &p->attention_out, NULL));
    }
    target to = {t->engine->compute, &p->x};
    lt_row_pass back = lt_row_begin(t->engine, &d->out, &p->back, add_result, &to);
    for (int64_t first = 0; first < p->rows; first += BLOCK_ROWS) {
        const lt_range rows = block_at(p, first);
        const lt_tensor attention_out = lt_view_outer(&p->attention_out, rows);
        LT_TRY(lt_row_block(&back, rows, &attention_out));
    }
    return lt_row_finish(&back);
}

static lt_status feed_forward(lt_qwen3vl *t, const decoder_layer *d, pass *p)
{
    lt_queue *q = t->engine->compute;
    target to = {q, &p->x};
    lt_row_pass back = lt_row_begin(t->engine, &d->down, &p->back, add_result, &to);
    for (int64_t first = 0; first < p->rows; first += BLOCK_ROWS) {
        const lt_range rows = block_at(p, first);
        const lt_tensor x = lt_view_outer(&p->x, rows);
        lt_tensor normed = front(&p->normed, rows), gated = front(&p->gated, rows);
        lt_tensor inner = front(&p->inner, rows);
        if (t->ffn.units.count > 0) {
            LT_TRY(
                lt_rms_norm(q, &x, &d->norm2, (float)t->config.rms_eps, LT_ROUND_TWICE, &normed));
            LT_TRY(lt_column_linear_apply(q, &d->up, &normed, &gated));
            LT_TRY(lt_swiglu(q, &gated, &inner));
        }
        LT_TRY(lt_row_block(&back, rows, &inner));
    }
    return lt_row_finish(&back);
}

/* Was some rank asked to stop? The queues are idle. */
static lt_status may_go_on(lt_qwen3vl *t)
{
    if (t->dry || !lt_stop_is_armed())
        return LT_OK;
    return lt_agree(t->tp, lt_stop_check());
}

/* Behind a layer, which takes seconds on a processor. A device is through with all of them in
 * seconds, and the host does not wait for it in between. */
static lt_status end_layer(lt_qwen3vl *t)
{
    if (t->dry || !lt_stop_is_armed() || !t->engine->backend->host_access)
        return LT_OK;
    LT_TRY(lt_sync(t->engine->compute));
    return may_go_on(t);
}

static lt_status run(lt_qwen3vl *t, pass *p)
{
    lt_queue *q = t->engine->compute;
    LT_TRY(take_scratch(t, p));
    if (!t->dry) {
        LT_TRY(lt_upload(q, &p->x, p->embedded));
        LT_TRY(lt_upload(q, &p->cos_rows, p->cos));
        LT_TRY(lt_upload(q, &p->sin_rows, p->sin));
    }
    for (int64_t i = 0; i < t->config.hidden_state; i++) {
        LT_TRY(lt_layers_use(t->turns, i));
        if (!t->layers[i].identity) {
            LT_TRY(attend(t, &t->layers[i], p));
            LT_TRY(feed_forward(t, &t->layers[i], p));
        }
        LT_TRY(lt_layers_done(t->turns, i));
        if (!t->layers[i].identity)
            LT_TRY(end_layer(t));
    }
    if (!t->dry)
        LT_TRY(lt_download(q, p->embedded, &p->x));
    LT_TRY(lt_sync(q));
    return may_go_on(t);
}

lt_status lt_qwen3vl_encode(lt_qwen3vl *text, const int32_t *ids, int64_t count, float *rows)
{
    assert(text != NULL && count >= 0);
    assert(text->dry || count == 0 || (ids != NULL && rows != NULL));
    pass p = {.rows = count};
    lt_status st = LT_OK;
    if (count <= 0)
        return LT_OK;
    if (count > IDS_MAX)
        LT_FAIL(LT_EDATA, "input_ids: want at most %d, found %lld", IDS_MAX, (long long)count);
    const lt_mark mark = lt_arena_mark(text->engine->step);
    /* A rank whose file fails must not leave the others waiting in a sum. */
    const int64_t host_bytes = count * (text->config.hidden + text->config.head_dim) *
                               (int64_t)lt_dtype_bytes(text->compute);
    if (text->dry)
        lt_dry_host(host_bytes);
    else
        LT_TRY_GOTO(lt_agree(text->tp, prepare_host(text, ids, &p)), st, done);
    LT_TRY_GOTO(run(text, &p), st, done);
    if (!text->dry)
        lt_convert(p.embedded, text->compute, rows, LT_F32,
                   (size_t)count * (size_t)text->config.hidden);
done:
    if (text->dry)
        lt_dry_host(-host_bytes);
    if (st != LT_OK)
        lt_engine_cancel(text->engine); /* queued work may still read host memory */
    lt_arena_release(text->engine->step, mark);
    free(p.embedded);
    free(p.cos);
    free(p.sin);
    return st;
}

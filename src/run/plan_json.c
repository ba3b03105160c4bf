/* plan_json.c - a plan as the text of plan.json, and back.
 *
 * A row of the table is a key: what it is, where it stands in lt_plan, what it may be. Rows stand
 * in the order in which plan.json has them. A key that is optional was not written by versions
 * before it; without it a plan means what those versions did, which is what lt_plan_from_json
 * begins with. A row with a function is computed when it is written. */
#include "run/plan_json.h"

#include <assert.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "run/plan_shots.h"

/* What a key's value is in JSON, and what its field is in C. */
typedef enum kind {
    TEXT,   /* char *, owned */
    PATH,   /* char *, owned: a path may be no UTF-8 */
    NAME,   /* char [hi] */
    NUMBER, /* int, lo to hi */
    LONG,   /* int64_t, lo to hi */
    SEED,   /* uint64_t, all of them */
    FLAG,   /* int, false or true */
    REAL,   /* double, lo to hi */
    FRAMES, /* lt_windows_asked's list of anchors */
    CHOICE, /* an enum: one of choices. hi: bytes */
    MESH,   /* lt_mesh_spec; hi: bytes */
    SHOTS,  /* the storyboard, where there is one */
    FIXED,  /* not in lt_plan */
    COMPUTED
} kind;

typedef struct choice {
    const char *word; /* NULL: no more */
    int value;
} choice;

typedef struct row {
    const char *key;
    kind kind;
    size_t at; /* in lt_plan */
    int64_t lo, hi;
    int is_optional; /* may lack when read; written as null where its number is 0 or its text "" */
    const choice *choices;
    /* found may be NULL, the result too: then the key is left out */
    json_t *(*compute)(const lt_plan *plan, const lt_plan_found *found);
} row;

static const choice attentions[] = {
    {"auto", LT_ATTENTION_AUTO}, {"ring", LT_ATTENTION_RING}, {"2d", LT_ATTENTION_2D}, {NULL, 0}};
static const choice placements[] = {
    {"nodes", LT_PLACEMENT_NODES}, {"ranks", LT_PLACEMENT_RANKS}, {NULL, 0}};
static const choice modes[] = {{"single", LT_MODE_SINGLE},
                               {"windows", LT_MODE_WINDOWS},
                               {"extend", LT_MODE_EXTEND},
                               {"refine", LT_MODE_REFINE},
                               {NULL, 0}};
static const choice fusions[] = {{"trapezoid", LT_FUSE_TRAPEZOID},
                                 {"flat", LT_FUSE_FLAT},
                                 {"hann", LT_FUSE_HANN},
                                 {"owner-cut", LT_FUSE_OWNER_CUT},
                                 {NULL, 0}};
static const choice positions[] = {{"local", 0}, {"global", 1}, {NULL, 0}};
static const choice decodings[] = {{"after", LT_DECODING_AFTER},
                                   {"beside", LT_DECODING_BESIDE},
                                   {"auto", LT_DECODING_AUTO},
                                   {NULL, 0}};
static const choice dtypes[] = {{"f32", LT_F32}, {"bf16", LT_BF16}, {NULL, 0}};

/* ---- what is computed ---- */

static json_t *format_of(const lt_plan *p, const lt_plan_found *found)
{
    (void)p;
    (void)found;
    return json_string("longtake-plan");
}

static json_t *version_of(const lt_plan *p, const lt_plan_found *found)
{
    (void)p;
    (void)found;
    return json_integer(1);
}

static json_t *threads_of(const lt_plan *p, const lt_plan_found *found)
{
    return json_integer(found != NULL ? found->threads : p->threads);
}

static json_t *memory_of(const lt_plan *p, const lt_plan_found *found)
{
    (void)p;
    if (found == NULL)
        return NULL;
    /* flops: of one evaluation (dit), one chunk (decode), the prompt (text) */
    static const lt_time unit[LT_PHASES] = {LT_TIME_TEXT, LT_TIME_DENOISE, LT_TIME_DECODE};
    json_t *memory = json_object();
    for (int i = 0; i < LT_PHASES; i++) {
        const lt_phase_memory *m = &found->footprint->memory[i];
        (void)json_object_set_new(
            memory, lt_phase_names[i],
            json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "phase_bytes",
                      (json_int_t)m->phase_bytes, "step_bytes", (json_int_t)m->step_bytes,
                      "comm_bytes", (json_int_t)m->comm_bytes, "host_bytes",
                      (json_int_t)m->host_bytes, "kernel_bytes", (json_int_t)m->kernel_bytes,
                      "resident_bytes", (json_int_t)m->resident_bytes, "flops",
                      found->footprint->flops[unit[i]]));
    }
    (void)json_object_set_new(memory, "device_bytes",
                              json_integer((json_int_t)found->footprint->device_bytes));
    (void)json_object_set_new(memory, "workspace_bytes",
                              json_integer((json_int_t)found->footprint->workspace_bytes));
    (void)json_object_set_new(memory, "exchange_bytes",
                              json_integer((json_int_t)found->footprint->exchange_bytes));
    (void)json_object_set_new(memory, "peak_bytes", json_integer((json_int_t)found->peak_bytes));
    return memory;
}

static void add_windows(const lt_layout *layout, json_t *list)
{
    for (int64_t k = 0; k < layout->count; k++)
        (void)json_array_append_new(list, json_pack("{s:I, s:I}", "first_frame",
                                                    (json_int_t)layout->window[k].first, "frames",
                                                    (json_int_t)layout->window[k].count));
}

static void add_joins(const lt_layout *layout, json_t *list)
{
    for (int64_t k = 1; k < layout->count; k++)
        (void)json_array_append_new(list, json_integer((json_int_t)layout->own[k].first));
}

/* A list of all shots' windows at the first step; of tiles, their range in time. */
static json_t *in_shots(const lt_plan *p, void (*add)(const lt_layout *, json_t *))
{
    if (p->grid == NULL) /* nobody has asked the model */
        return NULL;
    json_t *list = json_array();
    for (int i = 0; i < p->board.shots || i == 0; i++) {
        lt_layout layout;
        if (lt_film_layout(p, i, &layout) != LT_OK) {
            json_decref(list);
            return NULL;
        }
        add(&layout, list);
        lt_layout_free(&layout);
    }
    return list;
}

static json_t *windows_of(const lt_plan *p, const lt_plan_found *found)
{
    (void)found;
    return in_shots(p, add_windows);
}

static json_t *joins_of(const lt_plan *p, const lt_plan_found *found)
{
    (void)found;
    return in_shots(p, add_joins);
}

/* Frames after which the decoder's own borders come again. */
static json_t *period_of(const lt_plan *p, const lt_plan_found *found)
{
    (void)found;
    return p->grid != NULL ? json_integer((json_int_t)lt_grid_period_frames(p->grid)) : NULL;
}

/* Pixels of a latent's side; of tiles, whose borders lie between the DiT's tokens, of a token's. */
static json_t *cell_of(const lt_plan *p, const lt_plan_found *found)
{
    (void)found;
    const int64_t cells = p->grid != NULL && p->stream[0].ndim == 4 ? p->stream[0].dim[3] : 0;
    const int64_t unit = p->windowing.tile_unit > 0 ? p->windowing.tile_unit : 1;
    return cells > 0 ? json_integer((json_int_t)(unit * (p->shape.width / cells))) : NULL;
}

/* Tiles of refine's second pass along rows (axis 2) or columns (3), in pixels. */
static json_t *tiles_of(const lt_plan *p, int axis, int64_t tile, int64_t pixels)
{
    lt_layout layout;
    if (p->grid == NULL || p->windowing.mode != LT_MODE_REFINE || p->stream[0].ndim != 4 ||
        lt_windowing_space(&p->windowing, p->stream[0].dim[axis], tile, &layout) != LT_OK)
        return NULL;
    json_t *list = json_array();
    const int64_t cell = pixels / p->stream[0].dim[axis];
    for (int64_t k = 0; k < layout.count; k++)
        (void)json_array_append_new(
            list, json_pack("{s:I, s:I, s:I}", "first", (json_int_t)(cell * layout.window[k].first),
                            "pixels", (json_int_t)(cell * layout.window[k].count), "own",
                            (json_int_t)(cell * layout.own[k].first)));
    lt_layout_free(&layout);
    return list;
}

static json_t *tile_columns_of(const lt_plan *p, const lt_plan_found *found)
{
    (void)found;
    return tiles_of(p, 3, p->windowing.tile_columns, p->shape.width);
}

static json_t *tile_rows_of(const lt_plan *p, const lt_plan_found *found)
{
    (void)found;
    return tiles_of(p, 2, p->windowing.tile_rows, p->shape.height);
}

static json_t *shots_of(const lt_plan *p, const lt_plan_found *found)
{
    (void)found;
    return lt_storyboard_json(&p->board);
}

static json_t *decoding_of(const lt_plan *p, const lt_plan_found *found)
{
    const lt_decoding_when when = found != NULL ? found->decoding : p->decoding;
    for (const choice *c = decodings; c->word != NULL; c++)
        if (c->value == (int)when)
            return json_string(c->word);
    return NULL;
}

static json_t *decoding_why_of(const lt_plan *p, const lt_plan_found *found)
{
    (void)p;
    return found != NULL ? json_string(found->decoding_why) : NULL;
}

static json_t *order_of(const lt_plan *p, const lt_plan_found *found)
{
    json_t *order = found != NULL ? json_array() : NULL;
    for (int i = 0; order != NULL && i < lt_mesh_ranks(&p->mesh); i++)
        (void)json_array_append_new(order, json_integer(found->order[i]));
    return order;
}

/* {"seconds": of all, and of each stage}; nothing where it was not measured. */
static json_t *estimate_of(const lt_plan *p, const lt_plan_found *found)
{
    (void)p;
    double all = 0;
    for (int i = 0; found != NULL && i < LT_TIMES; i++)
        all += found->footprint->seconds[i];
    if (!(all > 0))
        return NULL;
    json_t *estimate = json_object();
    for (int i = 0; i < LT_TIMES; i++)
        (void)json_object_set_new(estimate, lt_time_names[i],
                                  json_real(found->footprint->seconds[i]));
    (void)json_object_set_new(estimate, "seconds", json_real(all));
    return estimate;
}

/* ---- the table ---- */

#define AT(field)    .at = offsetof(lt_plan, field)
#define BYTES(field) sizeof(((lt_plan *)0)->field)
static const row rows[] = {
    {.key = "format", FIXED, .compute = format_of},
    {.key = "version", FIXED, .compute = version_of},
    {"model", PATH, AT(model)},
    {"prompt", TEXT, AT(prompt)},
    {"output", PATH, AT(output)},
    {"run", PATH, AT(run)},
    {"frames", LONG, AT(frames), 1, LT_PLAN_FRAMES_MAX},
    {"grid_frames", LONG, AT(shape.frames), 1, 2 * LT_PLAN_FRAMES_MAX},
    {"samples", LONG, AT(samples), 0, INT64_MAX},
    {"width", LONG, AT(shape.width), 1, 65536},
    {"height", LONG, AT(shape.height), 1, 65536},
    {"fps", NUMBER, AT(fps), 1, 1000},
    {"sample_rate", NUMBER, AT(sample_rate), 1, 1000000},
    {"steps", NUMBER, AT(steps), 2, 100000},
    {"evaluations", NUMBER, AT(evaluations), 1, 100000, .is_optional = 1},
    {"threads", NUMBER, AT(threads), 0, 4096, .compute = threads_of},
    {"seed", SEED, AT(seed)},
    {"mesh", MESH, AT(mesh), .hi = 96},
    {"decode_tp", NUMBER, AT(decode_tp), 1, 65536, .is_optional = 1},
    {"decoding", CHOICE, AT(decoding), .hi = 8, .is_optional = 1, .choices = decodings,
     .compute = decoding_of},
    {.key = "decoding_why", COMPUTED, .compute = decoding_why_of},
    {"attention", CHOICE, AT(attention), .hi = 8, .is_optional = 1, .choices = attentions},
    {"resident_layers", NUMBER, AT(resident_layers), 0, LT_JOB_LAYERS_MAX, .is_optional = 1},
    {"resident_text_layers", NUMBER, AT(resident_text_layers), 0, LT_JOB_LAYERS_MAX,
     .is_optional = 1},
    {"layers_at_peers", FLAG, AT(layers_at_peers), .is_optional = 1},
    {"deterministic", FLAG, AT(deterministic), .is_optional = 1},
    {"dtype", CHOICE, AT(dtype), .hi = 8, .choices = dtypes},
    {"device", NAME, AT(device), .hi = BYTES(device)},
    {"codec", NAME, AT(codec), .hi = BYTES(codec)},
    {"suffix", NAME, AT(suffix), .hi = BYTES(suffix)},
    {.key = "memory", COMPUTED, .compute = memory_of},
    {"mode", CHOICE, AT(asked.mode), .hi = 16, .is_optional = 1, .choices = modes},
    {"window", LONG, AT(asked.window), 0, LT_PLAN_FRAMES_MAX, .is_optional = 1},
    {"overlap", LONG, AT(asked.overlap), 0, LT_PLAN_FRAMES_MAX, .is_optional = 1},
    {"fade", LONG, AT(asked.fade), 0, LT_PLAN_FRAMES_MAX, .is_optional = 1},
    {"fuse", CHOICE, AT(asked.fuse), .hi = 16, .is_optional = 1, .choices = fusions},
    {"dither", FLAG, AT(asked.dither), .is_optional = 1},
    {"owner_cut_steps", NUMBER, AT(asked.owner_cut_steps), 0, 100000, .is_optional = 1},
    {"anchors", FRAMES, AT(asked.anchor), 0, 2 * LT_PLAN_FRAMES_MAX, .is_optional = 1},
    {"positions", CHOICE, AT(asked.global_positions), .hi = 16, .is_optional = 1,
     .choices = positions},
    {"refine_from", REAL, AT(asked.refine_from), 0, 1, .is_optional = 1},
    {"coarse_width", LONG, AT(asked.coarse_width), 0, 65536, .is_optional = 1},
    {"coarse_height", LONG, AT(asked.coarse_height), 0, 65536, .is_optional = 1},
    {"tile_width", LONG, AT(asked.tile_width), 0, 65536, .is_optional = 1},
    {"tile_height", LONG, AT(asked.tile_height), 0, 65536, .is_optional = 1},
    {.key = "shots", SHOTS, .compute = shots_of},
    {.key = "windows", COMPUTED, .compute = windows_of},
    {.key = "joins", COMPUTED, .compute = joins_of},
    {.key = "tile_columns", COMPUTED, .compute = tile_columns_of},
    {.key = "tile_rows", COMPUTED, .compute = tile_rows_of},
    {.key = "period", COMPUTED, .compute = period_of},
    {.key = "cell", COMPUTED, .compute = cell_of},
    {"crf", NUMBER, AT(crf), 1, 63, .is_optional = 1},
    {"preset", NAME, AT(preset), .hi = BYTES(preset), .is_optional = 1},
    {"loudness", REAL, AT(loudness), -70, 0, .is_optional = 1},
    {"cut_fade", REAL, AT(cut_fade_ms), 0, 1000, .is_optional = 1},
    {"placement", CHOICE, AT(placement), .hi = 8, .is_optional = 1, .choices = placements},
    {.key = "order", COMPUTED, .compute = order_of},
    {.key = "estimate", COMPUTED, .compute = estimate_of},
};
enum { ROWS = sizeof rows / sizeof *rows };

/* The field of a row, as a pointer to what the row's kind says. */
static const void *field_of(const lt_plan *plan, const row *r)
{
    return (const char *)plan + r->at;
}

/* ---- writing ---- */

static json_t *choice_json(const row *r, int value)
{
    for (const choice *c = r->choices; c->word != NULL; c++)
        if (c->value == value)
            return json_string(c->word);
    return json_string(r->choices->word);
}

static json_t *anchors_json(const lt_windows_asked *asked)
{
    json_t *list = json_array();
    for (int i = 0; i < asked->anchors; i++)
        (void)json_array_append_new(list, json_integer((json_int_t)asked->anchor[i]));
    return list;
}

static json_t *value_json(const lt_plan *plan, const lt_plan_found *found, const row *r)
{
    const void *at = field_of(plan, r);
    char mesh[96];
    if (r->compute != NULL)
        return r->compute(plan, found);
    switch (r->kind) {
    case TEXT:
        return json_string(*(char *const *)at);
    case PATH:
        return lt_json_of_path(*(char *const *)at);
    case NAME:
        return r->is_optional && *(const char *)at == '\0' ? json_null() : json_string(at);
    case NUMBER:
        return r->is_optional && *(const int *)at == 0 ? json_null()
                                                       : json_integer(*(const int *)at);
    case LONG:
        return json_integer((json_int_t) * (const int64_t *)at);
    case REAL:
        return r->is_optional && !(fabs(*(const double *)at) > 0) ? json_null()
                                                                  : json_real(*(const double *)at);
    case FRAMES:
        return anchors_json(&plan->asked);
    case SEED:
        return lt_json_of_u64(*(const uint64_t *)at);
    case FLAG:
        return json_boolean(*(const int *)at);
    case CHOICE:
        return choice_json(r, *(const int *)at);
    case MESH:
        return json_string(lt_mesh_text(at, mesh, sizeof mesh));
    case SHOTS:
    case FIXED:
    case COMPUTED:
        break;
    }
    return NULL;
}

static lt_status plan_json(const lt_plan *plan, const lt_plan_found *found, json_t **out)
{
    int whole = 1;
    *out = json_object();
    for (int i = 0; i < ROWS; i++) {
        json_t *value = value_json(plan, found, &rows[i]);
        whole &= value != NULL || rows[i].kind == COMPUTED || rows[i].kind == SHOTS;
        if (value != NULL)
            (void)json_object_set_new(*out, rows[i].key, value);
    }
    const int starved = lt_json_starved();
    if (whole && !starved)
        return LT_OK;
    json_decref(*out);
    *out = NULL;
    if (starved)
        LT_FAIL(LT_ENOMEM, "plan: no memory for its text");
    LT_FAIL(LT_EINTERNAL, "plan: cannot be written as JSON (is the prompt valid UTF-8?)");
}

lt_status lt_plan_to_text(const lt_plan *draft, const lt_plan_found *found, char **out)
{
    json_t *json = NULL;
    *out = NULL;
    LT_TRY(plan_json(draft, found, &json));
    char *text = lt_json_text(json, JSON_INDENT(2));
    json_decref(json);
    const size_t bytes = text != NULL ? strlen(text) : 0;
    char *line = text != NULL ? realloc(text, bytes + sizeof "\n") : NULL;
    if (line == NULL) {
        free(text);
        LT_FAIL(LT_ENOMEM, "plan: no memory for its text");
    }
    memcpy(line + bytes, "\n", sizeof "\n");
    *out = line;
    return LT_OK;
}

/* ---- reading ---- */

static lt_status read_name(const lt_json_at *at, const row *r, char *out)
{
    const char *text = NULL;
    LT_TRY(lt_json_string(at, r->key, &text));
    if (strlen(text) >= (size_t)r->hi)
        LT_FAIL(LT_EDATA, "%s: %s: want fewer than %lld bytes, found %zu", at->source, r->key,
                (long long)r->hi, strlen(text));
    (void)snprintf(out, (size_t)r->hi, "%s", text);
    return LT_OK;
}

static lt_status read_text(const lt_json_at *at, const char *key, char **out)
{
    const char *text = NULL;
    LT_TRY(lt_json_string(at, key, &text));
    *out = strdup(text);
    if (*out == NULL)
        LT_FAIL(LT_ENOMEM, "%s: %s: no memory", at->source, key);
    return LT_OK;
}

static lt_status read_number(const lt_json_at *at, const row *r, int *out)
{
    int64_t value = 0;
    LT_TRY(lt_json_int(at, r->key, r->lo, r->hi, &value));
    *out = (int)value;
    return LT_OK;
}

/* "f32 or bf16", "auto, ring or 2d". */
static void name_choices(const choice *choices, char *out, size_t bytes)
{
    size_t used = 0;
    for (const choice *c = choices; c->word != NULL; c++) {
        const char *before = c == choices ? "" : c[1].word != NULL ? ", " : " or ";
        assert(used + strlen(before) + strlen(c->word) < bytes);
        used += (size_t)snprintf(out + used, bytes - used, "%s%s", before, c->word);
    }
}

static lt_status read_choice(const lt_json_at *at, const row *r, int *out)
{
    char word[16], wanted[64];
    assert(r->hi <= (int64_t)sizeof word);
    LT_TRY(read_name(at, r, word));
    for (const choice *c = r->choices; c->word != NULL; c++)
        if (strcmp(c->word, word) == 0) {
            *out = c->value;
            return LT_OK;
        }
    name_choices(r->choices, wanted, sizeof wanted);
    LT_FAIL(LT_EDATA, "%s: %s: want %s, found '%s'", at->source, r->key, wanted, word);
}

static lt_status read_mesh(const lt_json_at *at, const row *r, lt_mesh_spec *out)
{
    char text[96];
    assert(r->hi <= (int64_t)sizeof text);
    LT_TRY(read_name(at, r, text));
    return lt_mesh_parse(text, out);
}

static lt_status read_anchors(const lt_json_at *at, const row *r, lt_windows_asked *out)
{
    size_t count = 0;
    LT_TRY(lt_json_ints(at, r->key, r->lo, r->hi, out->anchor, LT_ANCHORS_MAX, &count));
    for (size_t i = 1; i < count; i++)
        if (out->anchor[i] <= out->anchor[i - 1])
            LT_FAIL(LT_EDATA, "%s: %s: want frames that ascend, found %lld behind %lld", at->source,
                    r->key, (long long)out->anchor[i], (long long)out->anchor[i - 1]);
    out->anchors = (int)count;
    return LT_OK;
}

static lt_status read_row(const lt_json_at *at, const row *r, lt_plan *out)
{
    void *field = (char *)out + r->at;
    if (r->is_optional && !lt_json_has(at, r->key))
        return LT_OK;
    switch (r->kind) {
    case TEXT:
        return read_text(at, r->key, field);
    case PATH:
        return lt_json_path(at, r->key, field);
    case NAME:
        return read_name(at, r, field);
    case NUMBER:
        return read_number(at, r, field);
    case LONG:
        return lt_json_int(at, r->key, r->lo, r->hi, field);
    case REAL:
        return lt_json_real(at, r->key, (double)r->lo, (double)r->hi, field);
    case FRAMES:
        return read_anchors(at, r, &out->asked);
    case SEED:
        return lt_json_u64(at, r->key, field);
    case FLAG:
        return lt_json_bool(at, r->key, field);
    case CHOICE:
        return read_choice(at, r, field);
    case MESH:
        return read_mesh(at, r, field);
    case SHOTS:
        return lt_storyboard_parse(at, &out->board);
    case FIXED:
    case COMPUTED:
        break;
    }
    return LT_OK;
}

lt_status lt_plan_from_json(const char *text, size_t bytes, lt_plan *out)
{
    json_t *json = NULL;
    lt_status st = LT_OK;
    static_assert(sizeof(lt_attention_algorithm) == sizeof(int) &&
                      sizeof(lt_dtype) == sizeof(int) && sizeof(lt_placement_mode) == sizeof(int) &&
                      sizeof(lt_mode) == sizeof(int) && sizeof(lt_fuse_kind) == sizeof(int) &&
                      sizeof(lt_decoding_when) == sizeof(int),
                  "a choice is read and written as an int");
    *out = (lt_plan){.decode_tp = 1, .text = malloc(bytes + 1)}; /* what is optional */
    if (out->text == NULL)
        LT_FAIL(LT_ENOMEM, "plan: no memory for its text");
    memcpy(out->text, text, bytes);
    out->text[bytes] = '\0';
    LT_TRY(lt_json_parse(text, bytes, "plan", &json));
    const lt_json_at at = lt_json_root(json, "plan");
    for (int i = 0; i < ROWS && st == LT_OK; i++)
        st = read_row(&at, &rows[i], out);
    json_decref(json);
    LT_TRY(st);
    return LT_OK;
}

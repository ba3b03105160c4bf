/* caches.c - text rows and modulation tables of a run, kept. */
#include "run/state/caches.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"
#include "run/state/run_state_internal.h"

/* The array that tells whose it is, and the one that is used. */
typedef struct cache {
    lt_state_kind kind;
    const char *file, *key_name, *name;
    lt_dtype key_dtype, dtype;
    int64_t key_count, count;
    const void *key;
} cache;

static cache text_cache(const lt_tokens *tokens, int64_t width)
{
    return (cache){LT_STATE_TEXT, "text.lt",           "ids",      "rows", LT_I32, LT_F32,
                   tokens->all,   tokens->all * width, tokens->ids};
}

static cache tables_cache(const lt_levels *levels, size_t bytes)
{
    return (cache){
        LT_STATE_TABLES,        "tables.lt",    "timesteps",      "tables", LT_F32, LT_U8,
        levels->timestep_count, (int64_t)bytes, levels->timesteps};
}

static lt_status path_of(const lt_run_state *state, const cache *c, char path[LT_PATH_BYTES])
{
    return lt_path_join(path, LT_PATH_BYTES, state->cache, c->file);
}

/* ---- reading ---- */

static lt_status check_head(const lt_run_state *state, const cache *c, const char *path,
                            const lt_state_reader *r)
{
    const lt_state_head *head = lt_state_reader_head(r);
    if (head->kind != c->kind)
        LT_FAIL(LT_EDATA, "%s: kind: want %s, found %s", path, lt_state_kind_names[c->kind],
                lt_state_kind_names[head->kind]);
    if (head->job != state->job)
        LT_FAIL(LT_EDATA, "%s: job: want %016llx, this one, found %016llx: another's", path,
                (unsigned long long)state->job, (unsigned long long)head->job);
    if (lt_state_reader_count(r) != 2)
        LT_FAIL(LT_EDATA, "%s: arrays: want 2, found %d", path, lt_state_reader_count(r));
    for (int i = 0; i < 2; i++) {
        const lt_state_array *a = lt_state_reader_array(r, i);
        const char *name = i == 0 ? c->key_name : c->name;
        const int64_t count = i == 0 ? c->key_count : c->count;
        const lt_dtype dtype = i == 0 ? c->key_dtype : c->dtype;
        if (strcmp(a->name, name) != 0 || a->dtype != dtype || lt_state_elements(a) != count)
            LT_FAIL(LT_EDATA, "%s: arrays[%d]: want %s, %lld of %s, found %s, %lld of %s", path, i,
                    name, (long long)count, lt_dtype_name(dtype), a->name,
                    (long long)lt_state_elements(a), lt_dtype_name(a->dtype));
    }
    return LT_OK;
}

static lt_status read_values(const cache *c, const char *path, lt_state_reader *r, void *to)
{
    for (;;) {
        lt_state_block b;
        LT_TRY(lt_state_reader_next(r, &b));
        if (b.count == 0)
            return LT_OK;
        const size_t width = lt_dtype_bytes(b.array == 0 ? c->key_dtype : c->dtype);
        const size_t at = (size_t)b.first * width, n = (size_t)b.count * width;
        if (b.array == 1)
            memcpy((char *)to + at, b.values, n);
        else if (memcmp((const char *)c->key + at, b.values, n) != 0)
            LT_FAIL(LT_EDATA, "%s: %s: want this run's, found others", path, c->key_name);
    }
}

/* to [c->count]. */
static lt_status read_cache(const lt_run_state *state, const cache *c, void *to)
{
    char path[LT_PATH_BYTES];
    lt_state_reader *r = NULL;
    LT_TRY(path_of(state, c, path));
    LT_TRY(lt_state_reader_open(path, &r));
    lt_status st = check_head(state, c, path, r);
    if (st == LT_OK)
        st = read_values(c, path, r, to);
    lt_state_reader_close(&r);
    return st;
}

/* Rank 0: is it there, and of use? */
static int has_cache(const lt_run_state *state, const cache *c, void *to)
{
    char path[LT_PATH_BYTES];
    if (path_of(state, c, path) != LT_OK || !lt_file_exists(path)) {
        lt_error_clear();
        return 0;
    }
    const lt_status st = read_cache(state, c, to);
    if (st != LT_OK)
        lt_warn("not used, made again: %s", lt_error_text());
    lt_error_clear();
    return st == LT_OK;
}

lt_status lt_cache_text(lt_run_state *state, const lt_tokens *tokens, int64_t width, float *rows,
                        int *hit)
{
    *hit = 0;
    if (state == NULL || !state->is_on)
        return LT_OK;
    const cache c = text_cache(tokens, width);
    if (lt_group_rank(state->world) == 0)
        *hit = has_cache(state, &c, rows);
    LT_TRY(lt_broadcast(state->world, 0, hit, sizeof *hit));
    if (*hit)
        LT_TRY(lt_broadcast(state->world, 0, rows, (size_t)c.count * sizeof *rows));
    return LT_OK;
}

/* Rank 0's tables, or NULL. */
static void *read_tables(const lt_run_state *state, const lt_levels *levels, size_t bytes)
{
    const cache c = tables_cache(levels, bytes);
    char path[LT_PATH_BYTES];
    void *to = NULL;
    if (path_of(state, &c, path) == LT_OK && lt_file_exists(path))
        to = malloc(bytes);
    lt_error_clear();
    if (to != NULL && has_cache(state, &c, to))
        return to;
    free(to);
    return NULL;
}

lt_status lt_cache_tables(lt_run_state *state, const lt_model *model, lt_dtype dtype,
                          const lt_levels *levels, void **out, size_t *bytes)
{
    const lt_family *family = model->family;
    *out = NULL;
    *bytes = 0;
    if (state == NULL || !state->is_on || family->tables_bytes == NULL)
        return LT_OK;
    const int root = lt_group_rank(state->world) == 0;
    *bytes = family->tables_bytes(model, dtype, levels->timestep_count);
    if (root)
        *out = read_tables(state, levels, *bytes);
    int hit = *out != NULL;
    LT_TRY(lt_broadcast(state->world, 0, &hit, sizeof hit));
    if (!hit)
        return LT_OK;
    lt_status st = LT_OK;
    if (!root)
        *out = malloc(*bytes);
    if (*out == NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "tables: no memory for %zu bytes", *bytes);
    st = lt_agree(state->world, st);
    if (st == LT_OK)
        st = lt_broadcast(state->world, 0, *out, *bytes);
    if (st != LT_OK) {
        free(*out);
        *out = NULL;
    }
    return st;
}

/* ---- writing ---- */

static lt_state_array array_of(const char *name, lt_dtype dtype, int64_t count, const void *data)
{
    lt_state_array a = {.dtype = dtype, .ndim = 1, .dim = {count}, .units = count, .data = data};
    (void)snprintf(a.name, sizeof a.name, "%s", name);
    return a;
}

static void *copy_of(const void *from, int64_t count, lt_dtype dtype)
{
    const size_t bytes = (size_t)count * lt_dtype_bytes(dtype);
    void *copy = malloc(bytes + 1);
    if (copy != NULL)
        memcpy(copy, from, bytes);
    return copy;
}

/* values: malloc'ed, the thread's from now on. */
static void keep(lt_run_state *state, const cache *c, void *values)
{
    lt_state_write w = {.head = {.kind = c->kind,
                                 .job = state->job,
                                 .epoch = state->epoch,
                                 .chosen = state->chosen},
                        .count = 2,
                        .owns = 1};
    void *key = copy_of(c->key, c->key_count, c->key_dtype);
    lt_status st = LT_OK;
    (void)snprintf(w.head.mode, sizeof w.head.mode, "%s", state->mode);
    w.array[0] = array_of(c->key_name, c->key_dtype, c->key_count, key);
    w.array[1] = array_of(c->name, c->dtype, c->count, values);
    if (key == NULL || values == NULL)
        LT_FAIL_GOTO(LT_ENOMEM, st, done, "%s/%s: no memory for a copy", state->cache, c->file);
    LT_TRY_GOTO(lt_dir_make(state->cache), st, done);
    LT_TRY_GOTO(path_of(state, c, w.cache), st, done);
    LT_TRY_GOTO(lt_state_thread_write(state->thread, &w), st, done);
done:
    if (st == LT_OK)
        return;
    lt_warn("not kept, --resume makes it again: %s", lt_error_text());
    lt_error_clear();
    free(key);
    free(values);
}

void lt_cache_keep_text(lt_run_state *state, const lt_tokens *tokens, int64_t width,
                        const float *rows)
{
    if (state == NULL || !state->is_on)
        return;
    const cache c = text_cache(tokens, width);
    keep(state, &c, copy_of(rows, c.count, c.dtype));
}

void lt_cache_keep_tables(lt_run_state *state, const lt_model *model, lt_dtype dtype,
                          const lt_levels *levels)
{
    const lt_family *family = model->family;
    if (state == NULL || !state->is_on || family->tables_bytes == NULL)
        return;
    const size_t bytes = family->tables_bytes(model, dtype, levels->timestep_count);
    const cache c = tables_cache(levels, bytes);
    void *values = malloc(bytes + 1);
    if (values != NULL && family->tables_get(model, values, bytes) != LT_OK) {
        lt_warn("not kept, --resume makes it again: %s", lt_error_text());
        lt_error_clear();
        free(values);
        return;
    }
    keep(state, &c, values);
}

void lt_cache_finish(lt_run_state *state, double seconds)
{
    if (state != NULL && state->thread != NULL)
        (void)lt_state_thread_wait(state->thread, seconds);
}

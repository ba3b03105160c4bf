/* state_folder.c - names, commit records, and which step counts. */
#include "run/state/state_folder.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/new_file.h"

static const char *const cache_files[] = {"text.lt", "tables.lt"};

/* ---- names ---- */

const char *lt_state_name_text(const lt_state_name *name, char out[LT_STATE_NAME_BYTES])
{
    if (name->part < 0)
        (void)snprintf(out, LT_STATE_NAME_BYTES, "step-%06" PRId64 ".e%03" PRId64 ".commit",
                       name->step, name->epoch);
    else
        (void)snprintf(out, LT_STATE_NAME_BYTES, "step-%06" PRId64 ".e%03" PRId64 ".w%03d.lt",
                       name->step, name->epoch, name->part);
    return out;
}

/* What is written again gives the same text: no other spelling of a number passes. */
int lt_state_name_parse(const char *text, lt_state_name *out)
{
    char again[LT_STATE_NAME_BYTES];
    int end = 0;
    *out = (lt_state_name){.part = -1};
    if (strlen(text) >= LT_STATE_NAME_BYTES ||
        sscanf(text, "step-%9" SCNd64 ".e%9" SCNd64 "%n", &out->step, &out->epoch, &end) != 2)
        return 0;
    if (out->step < 0 || out->epoch < 0)
        return 0;
    if (strncmp(text + end, ".w", 2) == 0 && sscanf(text + end, ".w%6d", &out->part) != 1)
        return 0;
    return strcmp(lt_state_name_text(out, again), text) == 0;
}

/* ---- commit records ---- */

void lt_commit_free(lt_commit *commit)
{
    free(commit->file);
    *commit = (lt_commit){0};
}

static json_t *file_json(const lt_commit_file *f)
{
    char hash[24];
    (void)snprintf(hash, sizeof hash, "%016" PRIx64, f->sum.hash);
    return json_pack("{s:s, s:I, s:s, s:b}", "file", f->name, "bytes", (json_int_t)f->sum.bytes,
                     "xxh64", hash, "stays", f->stays);
}

lt_status lt_commit_write(const char *folder, const lt_commit *c)
{
    char name[LT_STATE_NAME_BYTES], path[LT_PATH_BYTES], job[24];
    const lt_state_name of = {c->place.step, c->epoch, -1};
    assert(c->count >= 0 && c->count <= LT_COMMIT_FILES_MAX);
    LT_TRY(lt_path_join(path, sizeof path, folder, lt_state_name_text(&of, name)));
    json_t *files = json_array();
    for (int i = 0; i < c->count; i++)
        (void)json_array_append_new(files, file_json(&c->file[i]));
    (void)snprintf(job, sizeof job, "%016" PRIx64, c->job);
    json_t *json = json_pack("{s:s, s:i, s:s, s:I, s:I, s:I, s:i, s:i, s:I, s:o}", "format",
                             "longtake-commit", "version", 1, "job", job, "epoch",
                             (json_int_t)c->epoch, "step", (json_int_t)c->place.step, "steps",
                             (json_int_t)c->place.steps, "shot", c->place.shot, "pass",
                             c->place.pass, "chunk", (json_int_t)c->place.chunk, "files", files);
    char *text = json != NULL ? lt_json_text(json, JSON_INDENT(2)) : NULL;
    json_decref(json);
    if (text == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for its text", path);
    const lt_status st = lt_new_file_put(path, text, strlen(text), LT_REPLACE);
    free(text);
    LT_TRY(st);
    return LT_OK;
}

static lt_status read_hash(const lt_json_at *at, const char *key, uint64_t *out)
{
    const char *text = NULL;
    LT_TRY(lt_json_string(at, key, &text));
    if (strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16)
        LT_FAIL(LT_EDATA, "%s: %s%s%s: want 16 hexadecimal digits, found '%.20s'", at->source,
                at->path, at->path[0] != '\0' ? "." : "", key, text);
    *out = strtoull(text, NULL, 16);
    return LT_OK;
}

static lt_status read_file(const lt_json_at *at, lt_commit_file *out)
{
    const char *name = NULL;
    lt_state_name parsed;
    LT_TRY(lt_json_string(at, "file", &name));
    if (!lt_state_name_parse(name, &parsed) || parsed.part < 0)
        LT_FAIL(LT_EDATA, "%s: %s.file: want a name as step-000012.e003.w003.lt, found '%.60s'",
                at->source, at->path, name);
    (void)snprintf(out->name, sizeof out->name, "%s", name);
    LT_TRY(lt_json_int(at, "bytes", 1, INT64_MAX, &out->sum.bytes));
    LT_TRY(read_hash(at, "xxh64", &out->sum.hash));
    LT_TRY(lt_json_bool(at, "stays", &out->stays));
    return LT_OK;
}

static lt_status read_files(const lt_json_at *at, lt_commit *out)
{
    lt_json_at list, one;
    LT_TRY(lt_json_member(at, "files", &list));
    const size_t count = json_array_size(list.value);
    if (count < 1 || count > LT_COMMIT_FILES_MAX)
        LT_FAIL(LT_EDATA, "%s: files: want a list of 1 to %d, found %zu", at->source,
                LT_COMMIT_FILES_MAX, count);
    out->file = calloc(count, sizeof *out->file);
    if (out->file == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for %zu files", at->source, count);
    for (size_t i = 0; i < count; i++) {
        LT_TRY(lt_json_element(&list, i, &one));
        LT_TRY(read_file(&one, &out->file[i]));
        out->count = (int)i + 1;
    }
    return LT_OK;
}

static lt_status read_format(const lt_json_at *at)
{
    const char *format = NULL;
    int64_t version = 0;
    LT_TRY(lt_json_string(at, "format", &format));
    if (strcmp(format, "longtake-commit") != 0)
        LT_FAIL(LT_EDATA, "%s: format: want longtake-commit, found '%.40s'", at->source, format);
    LT_TRY(lt_json_int(at, "version", 1, 1, &version));
    return LT_OK;
}

static lt_status read_commit(const lt_json_at *at, const lt_state_name *name, lt_commit *out)
{
    int64_t shot = 0, pass = 0;
    LT_TRY(read_format(at));
    LT_TRY(read_hash(at, "job", &out->job));
    LT_TRY(lt_json_int(at, "epoch", name->epoch, name->epoch, &out->epoch));
    LT_TRY(lt_json_int(at, "step", name->step, name->step, &out->place.step));
    LT_TRY(lt_json_int(at, "steps", out->place.step, INT32_MAX, &out->place.steps));
    LT_TRY(lt_json_int(at, "shot", 0, INT32_MAX, &shot));
    LT_TRY(lt_json_int(at, "pass", 0, 1, &pass));
    LT_TRY(lt_json_int(at, "chunk", 0, INT32_MAX, &out->place.chunk));
    out->place.shot = (int)shot;
    out->place.pass = (int)pass;
    LT_TRY(read_files(at, out));
    return LT_OK;
}

lt_status lt_commit_read(const char *path, lt_commit *out)
{
    json_t *json = NULL;
    lt_state_name name;
    const char *slash = strrchr(path, '/'), *last = slash != NULL ? slash + 1 : path;
    *out = (lt_commit){0};
    if (!lt_state_name_parse(last, &name) || name.part >= 0)
        LT_FAIL(LT_EDATA, "%s: want a name as step-000012.e003.commit, found '%.60s'", path, last);
    LT_TRY(lt_json_read(path, &json));
    const lt_json_at at = lt_json_root(json, path);
    const lt_status st = read_commit(&at, &name, out);
    json_decref(json);
    LT_TRY(st);
    return LT_OK;
}

/* ---- what is there ---- */

typedef struct listing {
    lt_state_name *name;
    size_t count, room;
} listing;

static int add_name(listing *l, const lt_state_name *name)
{
    if (l->count == l->room) {
        const size_t room = l->room > 0 ? 2 * l->room : 64;
        lt_state_name *more = realloc(l->name, room * sizeof *more);
        if (more == NULL)
            return 0;
        l->name = more;
        l->room = room;
    }
    l->name[l->count++] = *name;
    return 1;
}

/* Newest first. */
static int by_age(const void *a, const void *b)
{
    const lt_state_name *x = a, *y = b;
    if (x->step != y->step)
        return x->step < y->step ? 1 : -1;
    if (x->epoch != y->epoch)
        return x->epoch < y->epoch ? 1 : -1;
    return (x->part > y->part) - (x->part < y->part);
}

/* All files (or all commit records) in the folder, newest first; the caller frees out->name. No
 * folder: none. */
static lt_status list(const char *folder, int commits, listing *out)
{
    *out = (listing){0};
    DIR *dir = opendir(folder);
    if (dir == NULL && errno == ENOENT)
        return LT_OK;
    if (dir == NULL)
        LT_FAIL(LT_EIO, "%s: cannot be listed: %s", folder, strerror(errno));
    int enough = 1;
    lt_state_name name;
    for (const struct dirent *e = readdir(dir); e != NULL && enough; e = readdir(dir))
        if (lt_state_name_parse(e->d_name, &name) && (name.part < 0) == commits)
            enough = add_name(out, &name);
    (void)closedir(dir);
    if (!enough) {
        free(out->name);
        *out = (listing){0};
        LT_FAIL(LT_ENOMEM, "%s: no memory for its list", folder);
    }
    if (out->count > 1)
        qsort(out->name, out->count, sizeof *out->name, by_age);
    return LT_OK;
}

/* ---- finding ---- */

static lt_status check_file(const char *folder, const lt_commit *commit, const lt_commit_file *f)
{
    char path[LT_PATH_BYTES];
    lt_state_sum sum = {0, 0};
    lt_state_reader *reader = NULL;
    LT_TRY(lt_path_join(path, sizeof path, folder, f->name));
    LT_TRY(lt_state_reader_open(path, &reader));
    const lt_state_head head = *lt_state_reader_head(reader);
    lt_state_reader_close(&reader);
    if (head.kind != LT_STATE_LATENTS)
        LT_FAIL(LT_EDATA, "%s: kind: want latents, found %s", path, lt_state_kind_names[head.kind]);
    if (head.job != commit->job)
        LT_FAIL(LT_EDATA,
                "%s: job: want %016" PRIx64 " as its commit record says, found %016" PRIx64, path,
                commit->job, head.job);
    LT_TRY(lt_state_file_check(path, &sum));
    if (sum.bytes != f->sum.bytes)
        LT_FAIL(LT_EDATA, "%s: want %lld bytes as its commit record says, found %lld", path,
                (long long)f->sum.bytes, (long long)sum.bytes);
    if (sum.hash != f->sum.hash)
        LT_FAIL(LT_EDATA,
                "%s: xxh64: want %016" PRIx64 " as its commit record says, found %016" PRIx64, path,
                f->sum.hash, sum.hash);
    return LT_OK;
}

static lt_status check_commit(const char *folder, const lt_state_name *name, uint64_t job,
                              lt_commit *out)
{
    char text[LT_STATE_NAME_BYTES], path[LT_PATH_BYTES];
    LT_TRY(lt_path_join(path, sizeof path, folder, lt_state_name_text(name, text)));
    LT_TRY(lt_commit_read(path, out));
    if (out->job != job)
        LT_FAIL(LT_EDATA, "%s: job: want %016" PRIx64 ", this one, found %016" PRIx64 ": another's",
                path, job, out->job);
    for (int i = 0; i < out->count; i++)
        LT_TRY(check_file(folder, out, &out->file[i]));
    return LT_OK;
}

lt_status lt_state_find(const char *run, uint64_t job, lt_commit *out)
{
    char folder[LT_PATH_BYTES];
    listing commits;
    *out = (lt_commit){0};
    LT_TRY(lt_path_join(folder, sizeof folder, run, "state"));
    lt_status st = list(folder, 1, &commits);
    if (st == LT_EIO) {
        lt_warn("no step is taken: %s; the run starts from noise", lt_error_text());
        lt_error_clear();
        st = LT_OK;
    }
    for (size_t i = 0; i < commits.count && st == LT_OK; i++) {
        st = check_commit(folder, &commits.name[i], job, out);
        if (st == LT_OK || st == LT_ENOMEM)
            break;
        lt_warn("step %lld is not taken: %s; %s", (long long)commits.name[i].step, lt_error_text(),
                i + 1 < commits.count ? "an older step is looked at" : "the run starts from noise");
        lt_error_clear();
        lt_commit_free(out);
        st = LT_OK;
    }
    free(commits.name);
    if (st != LT_OK)
        lt_commit_free(out);
    LT_TRY(st);
    return LT_OK;
}

/* ---- removing ---- */

static void remove_one(const char *folder, const char *name)
{
    char path[LT_PATH_BYTES];
    if (lt_path_join(path, sizeof path, folder, name) == LT_OK)
        (void)unlink(path);
}

/* The first `count` records' files, in no order; NULL: no memory, or a record that cannot be read:
 * then nothing is known of what it names. */
static char (*named_by(const char *folder, const listing *commits, size_t count,
                       size_t *files))[LT_STATE_NAME_BYTES]
{
    char(*names)[LT_STATE_NAME_BYTES] = malloc(sizeof *names);
    *files = 0;
    for (size_t i = 0; i < count && names != NULL; i++) {
        char text[LT_STATE_NAME_BYTES], path[LT_PATH_BYTES];
        lt_commit c = {0};
        if (lt_path_join(path, sizeof path, folder, lt_state_name_text(&commits->name[i], text)) !=
                LT_OK ||
            lt_commit_read(path, &c) != LT_OK) {
            lt_error_clear();
            lt_commit_free(&c);
            free(names);
            return NULL;
        }
        char(*more)[LT_STATE_NAME_BYTES] =
            realloc(names, (*files + (size_t)c.count + 1) * sizeof *names);
        if (more == NULL)
            free(names);
        for (int k = 0; k < c.count && more != NULL; k++)
            memcpy(more[(*files)++], c.file[k].name, sizeof *more);
        names = more;
        lt_commit_free(&c);
    }
    return names;
}

static int by_name(const void *a, const void *b) { return strcmp(a, b); }

static void prune_files(const char *folder, int64_t epoch, const listing *commits, size_t kept)
{
    listing files;
    size_t count = 0;
    char(*names)[LT_STATE_NAME_BYTES] = named_by(folder, commits, kept, &count);
    if (names == NULL)
        return;
    qsort(names, count, sizeof *names, by_name);
    if (list(folder, 0, &files) != LT_OK)
        lt_error_clear();
    for (size_t i = 0; i < files.count; i++) {
        const lt_state_name *f = &files.name[i];
        char text[LT_STATE_NAME_BYTES];
        (void)lt_state_name_text(f, text);
        const int being_written =
            f->epoch == epoch && (kept == 0 || f->step > commits->name[0].step);
        if (f->epoch <= epoch && !being_written &&
            bsearch(text, names, count, sizeof *names, by_name) == NULL)
            remove_one(folder, text);
    }
    free(files.name);
    free(names);
}

/* Records of what may be gone on from are looked at newest first. */
typedef struct tally {
    int all, durable, syncing; /* that stay so far: of all; up to that mark */
} tally;

static int stays(const lt_state_marks *m, const lt_state_name *name, tally *seen)
{
    const int counts = name->epoch == m->epoch || (name->epoch < m->epoch && name->step <= m->from);
    if (!counts)
        return name->epoch > m->epoch;
    const int newest = seen->all++ < m->keep;
    const int durable = name->step <= m->durable && seen->durable++ < m->keep;
    const int syncing = name->step <= m->syncing && seen->syncing++ < m->keep;
    return newest || durable || syncing || (m->durable == 0 && name->epoch < m->epoch);
}

void lt_state_prune(const char *folder, const lt_state_marks *marks)
{
    listing all;
    tally seen = {0, 0, 0};
    size_t kept = 0;
    assert(marks->keep >= 1);
    if (list(folder, 1, &all) != LT_OK) {
        lt_error_clear();
        return;
    }
    for (size_t i = 0; i < all.count; i++) {
        const lt_state_name name = all.name[i];
        char text[LT_STATE_NAME_BYTES];
        if (stays(marks, &name, &seen))
            all.name[kept++] = name;
        else
            remove_one(folder, lt_state_name_text(&name, text));
    }
    prune_files(folder, marks->epoch, &all, kept);
    free(all.name);
}

const char *lt_state_token(int64_t epoch, char out[LT_STATE_NAME_BYTES])
{
    (void)snprintf(out, LT_STATE_NAME_BYTES, ".here.e%03" PRId64, epoch);
    return out;
}

void lt_state_sweep(const char *run)
{
    char folder[LT_PATH_BYTES];
    if (lt_path_join(folder, sizeof folder, run, "cache") == LT_OK)
        lt_new_file_sweep(folder);
    if (lt_path_join(folder, sizeof folder, run, "state") != LT_OK)
        return;
    lt_new_file_sweep(folder);
    DIR *dir = opendir(folder);
    for (const struct dirent *e = dir != NULL ? readdir(dir) : NULL; e != NULL; e = readdir(dir))
        if (strncmp(e->d_name, ".here.e", 7) == 0)
            (void)unlinkat(dirfd(dir), e->d_name, 0);
    if (dir != NULL)
        (void)closedir(dir);
}

int lt_state_any(const char *run)
{
    char folder[LT_PATH_BYTES];
    listing found = {0};
    const int any = lt_path_join(folder, sizeof folder, run, "state") == LT_OK &&
                    list(folder, 1, &found) == LT_OK && found.count > 0;
    free(found.name);
    lt_error_clear();
    return any;
}

void lt_state_clear(const char *run)
{
    char folder[LT_PATH_BYTES], text[LT_STATE_NAME_BYTES];
    listing found;
    for (int commits = 1; commits >= 0; commits--) { /* first what makes steps count */
        if (lt_path_join(folder, sizeof folder, run, "state") != LT_OK ||
            list(folder, commits, &found) != LT_OK)
            break;
        for (size_t i = 0; i < found.count; i++)
            remove_one(folder, lt_state_name_text(&found.name[i], text));
        free(found.name);
    }
    lt_state_sweep(run);
    if (lt_path_join(folder, sizeof folder, run, "state") == LT_OK)
        (void)rmdir(folder);
    if (lt_path_join(folder, sizeof folder, run, "cache") == LT_OK) {
        for (size_t i = 0; i < sizeof cache_files / sizeof *cache_files; i++)
            remove_one(folder, cache_files[i]);
        (void)rmdir(folder);
    }
    lt_error_clear();
}

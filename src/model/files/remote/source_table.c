/* source_table.c - the files of a model folder: what they are, and whether two copies are one.
 * A copy is known by its names and sizes, the first 16 MiB of each config, more than most have, and
 * the first MiB of each shard, which holds the names, shapes and places of its tensors (of a longer
 * header, the first of them). Values are not read: that would be the loading itself. A table that
 * comes from another rank is not to be trusted: paths stay below the root. */
#include "model/files/remote/source_internal.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/file.h"
#include "base/json.h"

enum { FILES_MAX = 16384, FOLDERS_DEEP = 2, PARTS_MAX = 64 };
enum { SHARD_BYTES = 1 << 20, CONFIG_BYTES = 16 << 20 };

void lt_source_table_free(lt_source_table *table)
{
    for (int i = 0; i < table->count; i++)
        free(table->entry[i].path);
    free(table->entry);
    free(table->root);
    *table = (lt_source_table){0};
}

static lt_status new_table(const char *root, lt_source_table *out)
{
    *out = (lt_source_table){.root = strdup(root)};
    if (out->root == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for its list of files", root);
    for (size_t n = strlen(out->root); n > 1 && out->root[n - 1] == '/'; n--)
        out->root[n - 1] = '\0';
    return LT_OK;
}

static lt_status add(lt_source_table *t, const char *path, const lt_source_entry *facts)
{
    if (t->count == FILES_MAX)
        LT_FAIL(LT_EDATA, "%s: more than %d files: is this a model's folder?", t->root,
                (int)FILES_MAX);
    if (t->count == t->room) {
        const int room = t->room > 0 ? 2 * t->room : 64;
        lt_source_entry *more = realloc(t->entry, (size_t)room * sizeof *more);
        if (more == NULL)
            LT_FAIL(LT_ENOMEM, "%s: no memory for its list of files", t->root);
        t->entry = more;
        t->room = room;
    }
    t->entry[t->count] = *facts;
    t->entry[t->count].path = strdup(path);
    if (t->entry[t->count].path == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for its list of files", t->root);
    t->count++;
    return LT_OK;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const lt_source_entry *)a)->path, ((const lt_source_entry *)b)->path);
}

/* ---- from a folder ---- */

static int ends_in(const char *name, const char *end)
{
    const size_t n = strlen(name), m = strlen(end);
    return n > m && strcmp(name + n - m, end) == 0;
}

static lt_status hash_of(const char *path, const char *name, int64_t bytes, uint64_t *out)
{
    const int64_t most = ends_in(name, ".safetensors") ? SHARD_BYTES : CONFIG_BYTES;
    const size_t n = (size_t)(bytes < most ? bytes : most);
    char *head = malloc(n + 1);
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    lt_status st = LT_OK;
    if (head == NULL)
        LT_FAIL_GOTO(LT_ENOMEM, st, done, "%s: no memory for %zu bytes of it", path, n);
    if (fd < 0)
        LT_FAIL_GOTO(LT_ENOINPUT, st, done, "%s: cannot be opened: %s", path, strerror(errno));
    LT_TRY_GOTO(lt_file_pread_full(fd, path, head, n, 0), st, done);
    *out = XXH3_64bits(head, n);
done:
    if (fd >= 0)
        (void)close(fd);
    free(head);
    return st;
}

static lt_status scan(lt_source_table *t, const char *below, int deep);

static lt_status scan_one(lt_source_table *t, const char *below, const char *name, int deep)
{
    char inside[LT_PATH_BYTES], path[LT_PATH_BYTES];
    struct stat s;
    if (below[0] == '\0')
        (void)snprintf(inside, sizeof inside, "%s", name);
    else
        LT_TRY(lt_path_join(inside, sizeof inside, below, name));
    LT_TRY(lt_path_join(path, sizeof path, t->root, inside));
    if (stat(path, &s) != 0)
        return LT_OK; /* a dead link is no file */
    if (S_ISDIR(s.st_mode) && deep > 0)
        LT_TRY(scan(t, inside, deep - 1));
    if (!S_ISREG(s.st_mode) ||
        !(ends_in(name, ".json") || ends_in(name, ".txt") || ends_in(name, ".safetensors")))
        return LT_OK;
    lt_source_entry e = {.bytes = (int64_t)s.st_size,
                         .changed = (int64_t)s.st_mtime,
                         .device = (uint64_t)s.st_dev,
                         .inode = (uint64_t)s.st_ino,
                         .nanoseconds = (int64_t)s.st_mtim.tv_nsec};
    LT_TRY(hash_of(path, name, e.bytes, &e.hash));
    return add(t, inside, &e);
}

static lt_status scan(lt_source_table *t, const char *below, int deep)
{
    char folder[LT_PATH_BYTES];
    lt_status st = LT_OK;
    LT_TRY(lt_path_join(folder, sizeof folder, t->root, below));
    DIR *dir = opendir(folder);
    for (struct dirent *e = dir != NULL ? readdir(dir) : NULL; e != NULL && st == LT_OK;
         e = readdir(dir))
        if (e->d_name[0] != '.')
            st = scan_one(t, below, e->d_name, deep);
    if (dir != NULL)
        (void)closedir(dir);
    return st;
}

lt_status lt_source_table_scan(const char *root, lt_source_table *out)
{
    LT_TRY(new_table(root, out));
    if (!lt_file_is_dir(root))
        return LT_OK;
    LT_TRY(scan(out, "", FOLDERS_DEEP));
    if (out->count > 0)
        qsort(out->entry, (size_t)out->count, sizeof *out->entry, by_path);
    return LT_OK;
}

/* ---- as text ---- */

lt_status lt_source_table_text(const lt_source_table *table, char **text, size_t *bytes)
{
    json_t *list = json_array();
    for (int i = 0; i < table->count; i++) {
        const lt_source_entry *e = &table->entry[i];
        char hash[24];
        (void)snprintf(hash, sizeof hash, "%016llx", (unsigned long long)e->hash);
        (void)json_array_append_new(list, json_pack("{s:s, s:I, s:I, s:s}", "path", e->path,
                                                    "bytes", (json_int_t)e->bytes, "changed",
                                                    (json_int_t)e->changed, "hash", hash));
    }
    *text = list != NULL && json_array_size(list) == (size_t)table->count
                ? json_dumps(list, JSON_COMPACT)
                : NULL;
    json_decref(list);
    if (lt_json_starved()) {
        free(*text);
        *text = NULL;
        LT_FAIL(LT_ENOMEM, "%s: no memory for its list of files", table->root);
    }
    if (*text == NULL)
        LT_FAIL(LT_EDATA, "%s: a file's name is not UTF-8", table->root);
    *bytes = strlen(*text);
    return LT_OK;
}

/* A path of another rank's table: plain names with '/' between them. */
static int is_plain(const char *path)
{
    if (path[0] == '\0' || strlen(path) >= LT_PATH_BYTES / 2)
        return 0;
    for (const char *at = path;; at++) {
        if (*at == '.' || *at == '/' || *at == '\0') /* hidden, "..", nothing between two slashes */
            return 0;
        at = strchr(at, '/');
        if (at == NULL)
            return 1;
    }
}

static lt_status parse_entry(const lt_json_at *at, lt_source_table *out)
{
    const char *path = NULL, *hash = NULL;
    lt_source_entry e = {0};
    LT_TRY(lt_json_string(at, "path", &path));
    LT_TRY(lt_json_string(at, "hash", &hash));
    LT_TRY(lt_json_int(at, "bytes", 0, INT64_MAX / 2, &e.bytes));
    LT_TRY(lt_json_int(at, "changed", INT64_MIN / 2, INT64_MAX / 2, &e.changed));
    e.hash = strtoull(hash, NULL, 16);
    if (!is_plain(path))
        LT_FAIL(LT_EDATA, "%s: want a path below the model's folder, found %.80s", at->source,
                path);
    if (out->count > 0 && strcmp(out->entry[out->count - 1].path, path) >= 0)
        LT_FAIL(LT_EDATA, "%s: want the files in order, found %.80s late", at->source, path);
    return add(out, path, &e);
}

lt_status lt_source_table_parse(const char *text, size_t bytes, const char *root,
                                lt_source_table *out)
{
    json_t *list = NULL;
    lt_status st = LT_OK;
    LT_TRY(new_table(root, out));
    LT_TRY(lt_json_parse(text, bytes, "the reader's list of files", &list));
    const lt_json_at at = lt_json_root(list, "the reader's list of files");
    if (!json_is_array(list))
        LT_FAIL_GOTO(LT_EDATA, st, done, "%s: want a list", at.source);
    for (size_t i = 0; i < json_array_size(list); i++) {
        lt_json_at one;
        LT_TRY_GOTO(lt_json_element(&at, i, &one), st, done);
        LT_TRY_GOTO(parse_entry(&one, out), st, done);
    }
done:
    json_decref(list);
    return st;
}

/* ---- questions ---- */

int lt_source_table_differ(const lt_source_table *mine, const lt_source_table *theirs, char *line,
                           size_t bytes)
{
    int i = 0, k = 0;
    while (i < mine->count || k < theirs->count) {
        const lt_source_entry *a = i < mine->count ? &mine->entry[i] : NULL;
        const lt_source_entry *b = k < theirs->count ? &theirs->entry[k] : NULL;
        const int order = a == NULL ? 1 : b == NULL ? -1 : strcmp(a->path, b->path);
        if (order != 0) {
            (void)snprintf(line, bytes, "%s is %s", order > 0 ? b->path : a->path,
                           order > 0 ? "missing" : "there too");
            return 1;
        }
        if (a->bytes != b->bytes) {
            (void)snprintf(line, bytes, "%s: want %lld bytes, found %lld", a->path,
                           (long long)b->bytes, (long long)a->bytes);
            return 1;
        }
        if (a->hash != b->hash) {
            (void)snprintf(line, bytes, "%s: want hash %016llx of its head, found %016llx", a->path,
                           (unsigned long long)b->hash, (unsigned long long)a->hash);
            return 1;
        }
        i++;
        k++;
    }
    return 0;
}

int lt_source_below(const lt_source_table *table, const char *path, char *out, size_t bytes)
{
    const char *part[PARTS_MAX];
    size_t length[PARTS_MAX], used = 0;
    int parts = 0;
    const size_t n = table->root != NULL ? strlen(table->root) : 0;
    if (n == 0 || strncmp(path, table->root, n) != 0 ||
        (table->root[n - 1] != '/' && path[n] != '/' && path[n] != '\0'))
        return 0;
    for (const char *at = path + n; *at != '\0';) {
        const size_t m = strcspn(at, "/");
        if (m == 2 && at[0] == '.' && at[1] == '.') {
            if (parts-- == 0)
                return 0;
        } else if (m > 0 && !(m == 1 && at[0] == '.')) {
            if (parts == PARTS_MAX)
                return 0;
            part[parts] = at;
            length[parts++] = m;
        }
        at += m + (at[m] == '/');
    }
    assert(bytes > 0);
    out[0] = '\0';
    for (int i = 0; i < parts; i++) {
        const int more =
            snprintf(out + used, bytes - used, "%s%.*s", i > 0 ? "/" : "", (int)length[i], part[i]);
        if (more < 0 || (size_t)more >= bytes - used)
            return 0;
        used += (size_t)more;
    }
    return 1;
}

int lt_source_find(const lt_source_table *table, const char *below)
{
    const lt_source_entry key = {.path = (char *)(uintptr_t)below};
    const lt_source_entry *e =
        table->count > 0 ? bsearch(&key, table->entry, (size_t)table->count, sizeof key, by_path)
                         : NULL;
    return e != NULL ? (int)(e - table->entry) : -1;
}

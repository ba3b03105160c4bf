/* source.c - which ranks have a model's folder, and its files on those that don't.
 *
 *     every rank   lists its copy: names, sizes, hashes of heads (source_table.c)
 *     all          gather which ranks have one, and on which node
 *     the lowest   sends its list; the others compare theirs, or take it over
 *     clients      are assigned: to a file server on their node, else to the one with the fewest
 *     servers      start a thread that answers (source_serve.c)
 *
 * All ranks compute the same assignment from the same figures, so that no message about it is
 * needed. The list of files is kept for the process, as a mount is: networks ask by path, and a
 * path below the root is looked up in the file server's list. */
#include "model/files/remote/source.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/file.h"
#include "base/host.h"
#include "base/json.h"
#include "base/log.h"
#include "model/files/remote/source_internal.h"
#include "model/files/same_reads.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"
#include "parallel/transport/transport.h"

enum { JSON_BYTES_MAX = 64 << 20 }; /* json.h */

/* What one rank says of itself. */
typedef struct rank_status {
    lt_node_id node;
    int32_t has; /* the files */
} rank_status;

static struct {
    lt_group *group; /* NULL: nothing is shared */
    lt_source_table table;
    int *server_of; /* [ranks]: the rank's file server; -1: it has the files */
    int is_client;  /* they are missing on this rank */
} shared;

/* ---- who has it ---- */

/* All ranks' status, and memory for their file servers; malloc'ed. */
static lt_status meet(lt_group *world, int has, rank_status **all, int **server_of)
{
    const int size = lt_group_size(world);
    rank_status mine;
    memset(&mine, 0, sizeof mine);
    mine.has = has;
    lt_status st = lt_node_me(&mine.node);
    *all = calloc((size_t)size, sizeof **all);
    *server_of = calloc((size_t)size, sizeof **server_of);
    if (st == LT_OK && (*all == NULL || *server_of == NULL))
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "no memory for %d ranks", size);
    LT_TRY(lt_agree(world, st));
    return lt_all_gather_host(world, &mine, sizeof mine, *all);
}

/* server_of[r] for every client; how many clients there are. */
static int assign(const rank_status *all, int size, int *server_of)
{
    int clients = 0;
    for (int r = 0; r < size; r++) {
        int best = -1, fewest = 0;
        server_of[r] = -1;
        for (int near = 1; near >= 0 && best < 0 && !all[r].has; near--)
            for (int q = 0; q < size; q++) {
                int load = 0;
                if (!all[q].has || (near && !lt_node_same(&all[q].node, &all[r].node)))
                    continue;
                for (int k = 0; k < r; k++)
                    load += server_of[k] == q;
                if (best < 0 || load < fewest) {
                    best = q;
                    fewest = load;
                }
            }
        server_of[r] = best;
        clients += best >= 0;
    }
    return clients;
}

/* My copy against that of the lowest rank with one, or its list as mine. */
static lt_status compare(lt_group *world, int first, const char *text, size_t bytes,
                         lt_source_table *mine)
{
    char line[LT_PATH_BYTES + 128] = "";
    const int rank = lt_group_rank(world), fault = lt_fault_is(rank, "model");
    lt_source_table theirs = {0};
    lt_status st = lt_source_table_parse(text, bytes, mine->root, &theirs);
    if (st == LT_OK && mine->count == 0) {
        lt_source_table_free(mine);
        *mine = theirs;
        return LT_OK;
    }
    if (st == LT_OK && (lt_source_table_differ(mine, &theirs, line, sizeof line) || fault))
        st = lt_fail(LT_EDATA, __FILE__, __LINE__,
                     "%s: want the same on all ranks, found another on rank %d than on rank %d: %s",
                     mine->root, rank, first, fault ? "a fault that was asked for" : line);
    lt_source_table_free(&theirs);
    return st;
}

/* The list of the lowest rank that has the files, on all; *has says which those are. */
static lt_status share_table(lt_group *world, const rank_status *all, lt_source_table *mine)
{
    const int size = lt_group_size(world), rank = lt_group_rank(world);
    char *text = NULL;
    size_t bytes = 0;
    int first = 0;
    while (first < size && !all[first].has)
        first++;
    assert(first < size);
    lt_status st = rank == first ? lt_source_table_text(mine, &text, &bytes) : LT_OK;
    LT_TRY(lt_agree(world, st));
    st = lt_broadcast_text(world, first, &text, &bytes);
    if (st == LT_OK && rank != first)
        st = compare(world, first, text, bytes, mine);
    free(text);
    return lt_agree(world, st);
}

static lt_status start(lt_group *world)
{
    const int size = lt_group_size(world), rank = lt_group_rank(world);
    int *ranks = malloc((size_t)size * sizeof *ranks), clients = 0;
    lt_status st = LT_OK;
    if (ranks == NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "no memory for %d ranks", size);
    st = lt_agree(world, st);
    for (int i = 0; i < size && st == LT_OK; i++) {
        ranks[i] = i;
        clients += shared.server_of[i] == rank;
    }
    if (st == LT_OK)
        st = lt_group_split(world, ranks, size, &shared.group);
    free(ranks);
    LT_TRY(st);
    if (clients > 0)
        st = lt_source_serve(shared.group, &shared.table, shared.server_of);
    return lt_agree(world, st);
}

static void forget(void)
{
    lt_source_serve_stop();
    lt_group_free(&shared.group);
    lt_source_table_free(&shared.table);
    free(shared.server_of);
    shared.server_of = NULL;
    shared.is_client = 0;
}

lt_status lt_source_share(lt_group *world, const char *root)
{
    rank_status *all = NULL;
    assert(shared.group == NULL && root[0] != '\0');
    if (lt_group_size(world) == 1)
        return LT_OK;
    lt_same_reads_set(1);
    lt_status st = lt_source_table_scan(root, &shared.table);
    LT_TRY_GOTO(lt_agree(world, st), st, nothing);
    const int has = shared.table.count > 0;
    LT_TRY_GOTO(meet(world, has, &all, &shared.server_of), st, nothing);
    int some = 0;
    for (int r = 0; r < lt_group_size(world); r++)
        some |= all[r].has;
    if (!some)
        goto nothing; /* opening the model says so */
    LT_TRY_GOTO(share_table(world, all, &shared.table), st, nothing);
    const int clients = assign(all, lt_group_size(world), shared.server_of);
    if (clients == 0)
        goto nothing; /* all of them are one copy */
    LT_TRY_GOTO(start(world), st, nothing);
    shared.is_client = !has;
    if (!has)
        lt_log(2, "source", "%s is not here: rank %d reads it for this rank", root,
               shared.server_of[lt_group_rank(world)]);
    free(all);
    return LT_OK;
nothing:
    free(all);
    forget();
    return st;
}

void lt_source_end(void)
{
    lt_same_reads_set(0);
    forget();
}

/* ---- files ---- */

/* Is the path on the file server? Then what is below the root. */
static int is_remote(const char *path, char below[LT_PATH_BYTES])
{
    return shared.is_client && lt_source_below(&shared.table, path, below, LT_PATH_BYTES);
}

/* A folder on the file server: the first file in it, or -1. */
static int first_in(const char *below)
{
    const size_t n = strlen(below);
    for (int i = 0; i < shared.table.count; i++)
        if (n == 0 || (strncmp(shared.table.entry[i].path, below, n) == 0 &&
                       shared.table.entry[i].path[n] == '/'))
            return i;
    return -1;
}

static lt_source_stamp stamp_of(const struct stat *info)
{
    return (lt_source_stamp){info->st_mtim.tv_sec, info->st_mtim.tv_nsec, info->st_ctim.tv_sec,
                             info->st_ctim.tv_nsec};
}

lt_status lt_source_open(const char *path, lt_source_file *out)
{
    char below[LT_PATH_BYTES];
    struct stat info;
    *out = (lt_source_file){.fd = -1, .index = -1};
    if (is_remote(path, below)) {
        out->index = lt_source_find(&shared.table, below);
        if (out->index < 0)
            LT_FAIL(LT_ENOINPUT, "%s: cannot be opened: %s", path, strerror(ENOENT));
        out->bytes = shared.table.entry[out->index].bytes;
        return LT_OK;
    }
    out->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe is refused, not waited for */
    if (out->fd < 0)
        return lt_file_unopened(path, errno);
    if (fstat(out->fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        lt_source_close(out);
        LT_FAIL(LT_ENOINPUT, "%s: want a regular file", path);
    }
    out->bytes = (int64_t)info.st_size;
    out->stamp = stamp_of(&info);
    return LT_OK;
}

lt_status lt_source_unchanged(const lt_source_file *file, const char *path)
{
    struct stat info;
    if (file->fd < 0) /* its file server looks before each answer (source_serve.c) */
        return LT_OK;
    if (fstat(file->fd, &info) != 0)
        LT_FAIL(LT_EIO, "%s: %s", path, strerror(errno));
    const lt_source_stamp now = stamp_of(&info);
    if (info.st_size != file->bytes || memcmp(&now, &file->stamp, sizeof now) != 0)
        LT_FAIL(LT_EDATA, "%s: it was written again while it was read", path);
    return LT_OK;
}

void lt_source_close(lt_source_file *file)
{
    if (file->fd >= 0)
        (void)close(file->fd);
    *file = (lt_source_file){.fd = -1, .index = -1};
}

lt_status lt_source_pread(const lt_source_file *file, const char *path, void *to, size_t bytes,
                          int64_t offset)
{
    assert(offset >= 0 && (file->fd >= 0 || file->index >= 0));
    if (file->fd >= 0)
        return lt_file_pread_full(file->fd, path, to, bytes, offset);
    if ((uint64_t)offset > (uint64_t)file->bytes || bytes > (uint64_t)(file->bytes - offset))
        LT_FAIL(LT_EIO,
                "%s: wanted %zu bytes at offset %lld, found %lld in all: the file ends there", path,
                bytes, (long long)offset, (long long)file->bytes);
    if (shared.group == NULL)
        LT_FAIL(LT_EINTERNAL, "%s: its reader serves no more", path);
    return lt_source_ask(shared.group, shared.server_of[lt_group_rank(shared.group)], file->index,
                         to, bytes, offset);
}

int lt_source_is_dir(const char *path)
{
    char below[LT_PATH_BYTES];
    return is_remote(path, below) ? first_in(below) >= 0 : lt_file_is_dir(path);
}

int lt_source_exists(const char *path)
{
    char below[LT_PATH_BYTES];
    if (!is_remote(path, below))
        return lt_file_exists(path);
    return lt_source_find(&shared.table, below) >= 0 || first_in(below) >= 0;
}

int64_t lt_source_changed(const char *path)
{
    char below[LT_PATH_BYTES];
    struct stat info;
    if (!is_remote(path, below))
        return stat(path, &info) == 0 ? (int64_t)info.st_mtime : 0;
    const int i = lt_source_find(&shared.table, below);
    return i >= 0 ? shared.table.entry[i].changed : 0;
}

/* What opening might wait for. */
static lt_status check_no_pipe(const char *path)
{
    struct stat info;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode))
        LT_FAIL(LT_ENOINPUT, "%s: want a regular file", path);
    return LT_OK;
}

lt_status lt_source_read(const char *path, size_t bytes_max, char **out, size_t *bytes)
{
    char below[LT_PATH_BYTES];
    lt_source_file file;
    *out = NULL;
    *bytes = 0;
    if (!is_remote(path, below)) {
        LT_TRY(check_no_pipe(path));
        return lt_file_read(path, bytes_max, out, bytes);
    }
    LT_TRY(lt_source_open(path, &file));
    if ((uint64_t)file.bytes > bytes_max)
        LT_FAIL(LT_EDATA, "%s: want at most %zu bytes, found %lld", path, bytes_max,
                (long long)file.bytes);
    char *text = malloc((size_t)file.bytes + 1);
    if (text == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for %lld bytes", path, (long long)file.bytes);
    const lt_status st = lt_source_pread(&file, path, text, (size_t)file.bytes, 0);
    if (st != LT_OK) {
        free(text);
        return lt_error_trace(st, "lt_source_pread", __FILE__, __LINE__);
    }
    text[file.bytes] = '\0';
    *out = text;
    *bytes = (size_t)file.bytes;
    return LT_OK;
}

lt_status lt_source_json(const char *path, json_t **out)
{
    char below[LT_PATH_BYTES];
    char *text = NULL;
    size_t bytes = 0;
    *out = NULL;
    if (!is_remote(path, below)) {
        LT_TRY(check_no_pipe(path));
        return lt_json_read(path, out);
    }
    LT_TRY(lt_source_read(path, JSON_BYTES_MAX, &text, &bytes));
    const lt_status st = lt_json_parse(text, bytes, path, out);
    free(text);
    return st;
}

/* The names right below a folder on the file server. Files lie in order, so that all that is in one
 * folder lies together, and names it once. */
static lt_status list_remote(const char *below, lt_status (*each)(void *ctx, const char *name),
                             void *ctx)
{
    const size_t skip = below[0] != '\0' ? strlen(below) + 1 : 0;
    for (int i = first_in(below); i >= 0 && i < shared.table.count; i++) {
        char name[LT_PATH_BYTES];
        const char *path = shared.table.entry[i].path;
        if (skip > 0 && (strncmp(path, below, skip - 1) != 0 || path[skip - 1] != '/'))
            break;
        const size_t n = strcspn(path + skip, "/");
        if (path[skip + n] == '/' && i > 0 &&
            strncmp(shared.table.entry[i - 1].path, path, skip + n + 1) == 0)
            continue;
        (void)snprintf(name, sizeof name, "%.*s", (int)n, path + skip);
        LT_TRY(each(ctx, name));
    }
    return LT_OK;
}

lt_status lt_source_list(const char *folder, lt_status (*each)(void *ctx, const char *name),
                         void *ctx)
{
    char below[LT_PATH_BYTES];
    lt_status st = LT_OK;
    if (is_remote(folder, below))
        return list_remote(below, each, ctx);
    DIR *dir = opendir(folder);
    if (dir == NULL)
        return lt_file_unopened(folder, errno);
    const struct dirent *e;
    while (st == LT_OK && (e = readdir(dir)) != NULL)
        if (e->d_name[0] != '.')
            st = each(ctx, e->d_name);
    (void)closedir(dir);
    return st;
}

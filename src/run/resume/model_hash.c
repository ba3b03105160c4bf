/* model_hash.c - the hash of a whole model, made in the background and remembered.
 *
 *     begin   each file of the list: path, size, time, inode; is its hash kept?     main thread
 *     run     those that are not: read, hashed, kept, one after the other           its own thread
 *
 * The thread has the lowest priority for the processor and for the disk, and stops between two
 * reads. The list is made before it starts; only `is_known` and `hash` change, under the lock. */
#include "run/resume/model_hash.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/env.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"

#define FORMAT "longtake-file-hash"
enum { VERSION = 1, READ_BYTES = 1 << 20, YOUNG_S = 2, NICE_MAX = 19 };
/* ioprio_set(2), which glibc has no name for: of this thread, class idle. */
enum { IOPRIO_WHO_PROCESS = 1, IOPRIO_IDLE = 3 << 13 };

/* What a kept hash holds for. */
typedef struct identity {
    int64_t bytes, seconds, nanoseconds;
    uint64_t inode;
} identity;

typedef struct hashed {
    const char *name; /* in the model's folder */
    char *path;       /* absolute */
    identity is;
    int is_here, is_known;
    uint64_t hash;
} hashed;

static struct {
    char cache[LT_PATH_BYTES]; /* "": nothing is kept */
    json_t *names;             /* whose keys the list points to */
    hashed *file;              /* [count], in the order of names */
    size_t count;
    pthread_t thread;
    int runs;
} m;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_int ends, is_done = 1;
static _Atomic uint64_t bytes_read;

uint64_t lt_model_hash_bytes_read(void) { return atomic_load(&bytes_read); }

/* ---- what is kept ---- */

static int make_folder(char *out, size_t bytes, const char *above, const char *name)
{
    const int fits = lt_path_join(out, bytes, above, name) == LT_OK;
    (void)(fits && mkdir(out, 0700)); /* it may be there; what cannot be made is seen later */
    return fits;
}

/* As the XDG base directories have it: a path that is not absolute does not count. */
static void find_cache(void)
{
    char folder[LT_PATH_BYTES];
    const char *cache = lt_env("XDG_CACHE_HOME"), *home = lt_env("HOME");
    m.cache[0] = '\0';
    if (cache != NULL && cache[0] == '/') {
        (void)mkdir(cache, 0700);
        (void)snprintf(folder, sizeof folder, "%s", cache);
    } else if (home == NULL || home[0] != '/' ||
               !make_folder(folder, sizeof folder, home, ".cache")) {
        return;
    }
    if (!make_folder(m.cache, sizeof m.cache, folder, "longtake"))
        m.cache[0] = '\0';
}

static int kept_path(const hashed *f, char path[LT_PATH_BYTES])
{
    char name[32];
    (void)snprintf(name, sizeof name, "%016" PRIx64 ".json",
                   (uint64_t)XXH64(f->path, strlen(f->path), 0));
    return m.cache[0] != '\0' && lt_path_join(path, LT_PATH_BYTES, m.cache, name) == LT_OK;
}

static json_t *kept_json(const hashed *f)
{
    char hash[LT_MODEL_HASH_BYTES];
    (void)snprintf(hash, sizeof hash, "%016" PRIx64, f->hash);
    return json_pack("{s:s, s:i, s:o, s:I, s:o, s:I, s:I, s:s}", "format", FORMAT, "version",
                     VERSION, "file", lt_json_of_path(f->path), "bytes", (json_int_t)f->is.bytes,
                     "inode", lt_json_of_u64(f->is.inode), "seconds", (json_int_t)f->is.seconds,
                     "nanoseconds", (json_int_t)f->is.nanoseconds, "xxh64", hash);
}

static lt_status read_kept(const char *path, const hashed *f, identity *is, uint64_t *hash,
                           int *is_ours)
{
    const char *format = NULL, *digits = NULL;
    char *end = NULL;
    json_t *json = NULL, *own = lt_json_of_path(f->path);
    int64_t version = 0;
    lt_status st = LT_OK;
    LT_TRY_GOTO(lt_json_read(path, &json), st, done);
    const lt_json_at at = lt_json_root(json, path);
    LT_TRY_GOTO(lt_json_string(&at, "format", &format), st, done);
    if (strcmp(format, FORMAT) != 0)
        LT_FAIL_GOTO(LT_EDATA, st, done, "%s: format: want %s, found another", path, FORMAT);
    LT_TRY_GOTO(lt_json_int(&at, "version", VERSION, VERSION, &version), st, done);
    LT_TRY_GOTO(lt_json_int(&at, "bytes", 0, INT64_MAX, &is->bytes), st, done);
    LT_TRY_GOTO(lt_json_u64(&at, "inode", &is->inode), st, done);
    LT_TRY_GOTO(lt_json_int(&at, "seconds", INT64_MIN, INT64_MAX, &is->seconds), st, done);
    LT_TRY_GOTO(lt_json_int(&at, "nanoseconds", 0, 999999999, &is->nanoseconds), st, done);
    LT_TRY_GOTO(lt_json_string(&at, "xxh64", &digits), st, done);
    *hash = strtoull(digits, &end, 16);
    if (strlen(digits) != 16 || *end != '\0' || strspn(digits, "0123456789abcdef") != 16)
        LT_FAIL_GOTO(LT_EDATA, st, done, "%s: xxh64: want 16 hexadecimal digits, found '%.40s'",
                     path, digits);
    *is_ours = own != NULL && json_equal(own, json_object_get(json, "file"));
done:
    json_decref(own);
    json_decref(json);
    return st;
}

static int is_same(const identity *a, const identity *b)
{
    return a->bytes == b->bytes && a->seconds == b->seconds && a->nanoseconds == b->nanoseconds &&
           a->inode == b->inode;
}

static void look_up(hashed *f)
{
    char path[LT_PATH_BYTES];
    identity is = {0};
    uint64_t hash = 0;
    int is_ours = 0;
    if (kept_path(f, path) && access(path, F_OK) == 0) {
        if (read_kept(path, f, &is, &hash, &is_ours) != LT_OK)
            lt_warn("not used, the model's file is hashed anew: %s", lt_error_text());
        else if (is_ours && is_same(&is, &f->is)) {
            f->hash = hash;
            f->is_known = 1;
        }
    }
    lt_error_clear();
}

static int is_young(const identity *is)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec - is->seconds < YOUNG_S;
}

/* What cannot be kept is read again by the next start. */
static void keep(const hashed *f)
{
    char path[LT_PATH_BYTES];
    json_t *json = is_young(&f->is) || !kept_path(f, path) ? NULL : kept_json(f);
    if (json != NULL && lt_json_write(path, json) != LT_OK)
        lt_log(2, "model", "its hash is not kept: %s", lt_error_text());
    json_decref(json);
    lt_error_clear();
}

/* ---- the thread ---- */

static identity identity_of(const struct stat *info)
{
    return (identity){(int64_t)info->st_size, (int64_t)info->st_mtim.tv_sec,
                      (int64_t)info->st_mtim.tv_nsec, (uint64_t)info->st_ino};
}

/* Its bytes, and whether they are still those of the list. */
static int hash_file(const hashed *f, char *buffer, uint64_t *hash)
{
    struct stat info;
    ssize_t n = -1;
    const int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    XXH64_state_t *state = XXH64_createState();
    if (fd >= 0 && state != NULL && XXH64_reset(state, 0) == XXH_OK)
        while (!atomic_load(&ends) && (n = read(fd, buffer, READ_BYTES)) > 0) {
            (void)XXH64_update(state, buffer, (size_t)n);
            atomic_fetch_add(&bytes_read, (uint64_t)n);
        }
    int whole = n == 0 && fstat(fd, &info) == 0;
    if (whole) {
        const identity is = identity_of(&info);
        whole = is_same(&is, &f->is);
        *hash = XXH64_digest(state);
    }
    (void)XXH64_freeState(state);
    if (fd >= 0)
        (void)close(fd);
    return whole;
}

static void *thread_main(void *unused)
{
    (void)unused;
    char *buffer = malloc(READ_BYTES);
    const id_t me = (id_t)syscall(SYS_gettid);
    (void)setpriority(PRIO_PROCESS, me, NICE_MAX); /* on Linux of this thread */
    (void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_IDLE);
    for (size_t i = 0; buffer != NULL && i < m.count && !atomic_load(&ends); i++) {
        hashed *f = &m.file[i];
        uint64_t hash = 0;
        if (!f->is_here || f->is_known || !hash_file(f, buffer, &hash))
            continue;
        (void)pthread_mutex_lock(&lock);
        f->hash = hash;
        f->is_known = 1;
        (void)pthread_mutex_unlock(&lock);
        keep(f);
    }
    free(buffer);
    atomic_store(&is_done, 1);
    return NULL;
}

/* ---- begin, end ---- */

static int by_name(const void *a, const void *b)
{
    const hashed *x = a, *y = b;
    return strcmp(x->name, y->name);
}

static void find_file(hashed *f, const char *root)
{
    char path[LT_PATH_BYTES];
    struct stat info;
    if (lt_path_join(path, sizeof path, root, f->name) != LT_OK || stat(path, &info) != 0 ||
        !S_ISREG(info.st_mode)) {
        lt_error_clear(); /* another rank's, say */
        return;
    }
    f->path = realpath(path, NULL);
    f->is = identity_of(&info);
    f->is_here = f->path != NULL;
    if (f->is_here)
        look_up(f);
}

void lt_model_hash_begin(const char *model, const json_t *files)
{
    const char *name;
    json_t *facts;
    lt_model_hash_end();
    m.names = json_deep_copy(files);
    m.file = calloc(json_object_size(m.names) + 1, sizeof *m.file);
    if (m.names == NULL || m.file == NULL)
        return;
    find_cache();
    json_object_foreach (m.names, name, facts)
        m.file[m.count++].name = name;
    qsort(m.file, m.count, sizeof *m.file, by_name);
    for (size_t i = 0; i < m.count; i++)
        find_file(&m.file[i], model);
}

void lt_model_hash_run(void)
{
    sigset_t all, before;
    int wanted = 0;
    for (size_t i = 0; i < m.count; i++)
        wanted |= m.file[i].is_here && !m.file[i].is_known;
    if (!wanted || m.runs)
        return;
    atomic_store(&ends, 0);
    atomic_store(&is_done, 0);
    (void)sigfillset(&all); /* signals are for the main thread */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    m.runs = pthread_create(&m.thread, NULL, thread_main, NULL) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!m.runs)
        atomic_store(&is_done, 1);
}

int lt_model_hash_wait(double seconds)
{
    enum { LOOK_MS = 2 };
    for (double left = seconds; !atomic_load(&is_done) && left > 0; left -= 1e-3 * LOOK_MS)
        (void)nanosleep(&(struct timespec){0, LOOK_MS * 1000000L}, NULL);
    return atomic_load(&is_done);
}

void lt_model_hash_end(void)
{
    atomic_store(&ends, 1);
    if (m.runs)
        (void)pthread_join(m.thread, NULL);
    for (size_t i = 0; i < m.count; i++)
        free(m.file[i].path);
    free(m.file);
    json_decref(m.names);
    m.file = NULL;
    m.names = NULL;
    m.count = 0;
    m.runs = 0;
}

/* ---- what is known ---- */

void lt_model_hash_tell(json_t *files)
{
    char text[LT_MODEL_HASH_BYTES];
    (void)pthread_mutex_lock(&lock);
    for (size_t i = 0; i < m.count; i++) {
        (void)snprintf(text, sizeof text, "%016" PRIx64, m.file[i].hash);
        if (m.file[i].is_known)
            (void)json_object_set_new(json_object_get(files, m.file[i].name), "whole_xxh64",
                                      json_string(text));
    }
    (void)pthread_mutex_unlock(&lock);
}

/* A line a file. */
static void add_line(XXH64_state_t *state, const char *name, const char *hash)
{
    (void)XXH64_update(state, name, strlen(name));
    (void)XXH64_update(state, " ", 1);
    (void)XXH64_update(state, hash, strlen(hash));
    (void)XXH64_update(state, "\n", 1);
}

const char *lt_model_hash_text(char out[LT_MODEL_HASH_BYTES])
{
    XXH64_state_t *state = XXH64_createState();
    char text[LT_MODEL_HASH_BYTES];
    int all = m.count > 0 && state != NULL && XXH64_reset(state, 0) == XXH_OK;
    out[0] = '\0';
    (void)pthread_mutex_lock(&lock);
    for (size_t i = 0; all && i < m.count; i++) {
        all = m.file[i].is_known;
        (void)snprintf(text, sizeof text, "%016" PRIx64, m.file[i].hash);
        add_line(state, m.file[i].name, text);
    }
    (void)pthread_mutex_unlock(&lock);
    if (all)
        (void)snprintf(out, LT_MODEL_HASH_BYTES, "%016" PRIx64, (uint64_t)XXH64_digest(state));
    (void)XXH64_freeState(state);
    return out;
}

const char *lt_model_head_text(const json_t *files, char out[LT_MODEL_HASH_BYTES])
{
    const char *name;
    json_t *facts, *heads = json_object();
    out[0] = '\0';
    json_object_foreach ((json_t *)(uintptr_t)files, name, facts)
        (void)json_object_set_new(
            heads, name,
            json_pack("[O, O]", json_object_get(facts, "bytes"), json_object_get(facts, "xxh64")));
    char *text = json_dumps(heads, JSON_COMPACT | JSON_SORT_KEYS);
    if (!lt_json_starved() && text != NULL && json_object_size(heads) > 0)
        (void)snprintf(out, LT_MODEL_HASH_BYTES, "%016" PRIx64,
                       (uint64_t)XXH64(text, strlen(text), 0));
    free(text);
    json_decref(heads);
    return out;
}

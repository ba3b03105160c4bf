/* run.h - starts the program as a user does and keeps what it said.
 * No shell: posix_spawn, its output in files of the scratch folder, a limit of time. Under mpirun
 * if more than one rank is asked. A program that hangs is killed with its group and fails its test.
 */
#ifndef LT_TEST_RUN_H
#define LT_TEST_RUN_H

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "tests/support/scratch.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { RUN_LIMIT_S = 900 }; /* a bench that takes 20 s takes minutes */
#else
enum { RUN_LIMIT_S = 120 };
#endif
enum { RUN_WORDS_MAX = 96 };

extern char **environ;

typedef struct run_result {
    int code;      /* exit code; 128 + n: killed by signal n */
    long peak_kib; /* resident, of the program itself (of mpirun: not its ranks) */
    double seconds;
    char *out, *err; /* what it printed; free with run_free */
} run_result;

static inline void run_free(run_result *r)
{
    free(r->out);
    free(r->err);
    *r = (run_result){.code = -1};
}

/* A whole file as text, NULL if it is not there. The caller owns it. */
static inline char *run_text(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return NULL;
    size_t bytes = 0, room = 4096;
    char *text = malloc(room);
    assert_non_null(text);
    for (size_t n; (n = fread(text + bytes, 1, room - 1 - bytes, f)) > 0;) {
        bytes += n;
        if (bytes + 1 == room) {
            room *= 2;
            text = realloc(text, room);
            assert_non_null(text);
        }
    }
    (void)fclose(f);
    text[bytes] = '\0';
    return text;
}

static inline double run_now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline pid_t run_spawn(const char *const *argv, const char *out, const char *err)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    pid_t pid = -1;
    const int flags = O_WRONLY | O_CREAT | O_TRUNC;
    assert_int_equal(posix_spawn_file_actions_init(&files), 0);
    assert_int_equal(posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0), 0);
    assert_int_equal(posix_spawn_file_actions_addopen(&files, 1, out, flags, 0644), 0);
    assert_int_equal(posix_spawn_file_actions_addopen(&files, 2, err, flags, 0644), 0);
    assert_int_equal(posix_spawnattr_init(&attributes), 0);
    assert_int_equal(posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP), 0);
    char *words[RUN_WORDS_MAX];
    int n = 0;
    for (; argv[n] != NULL; n++) {
        assert_true(n + 1 < RUN_WORDS_MAX);
        words[n] = (char *)(uintptr_t)argv[n];
    }
    words[n] = NULL;
    if (posix_spawnp(&pid, argv[0], &files, &attributes, words, environ) != 0)
        fail_msg("%s cannot be started", argv[0]);
    (void)posix_spawn_file_actions_destroy(&files);
    (void)posix_spawnattr_destroy(&attributes);
    return pid;
}

/* Run argv (ended by NULL) to its end. */
static inline run_result run_argv(const scratch *s, const char *const *argv, int limit_s)
{
    char out[512], err[512];
    struct rusage usage;
    int status = 0, gone = 0;
    (void)snprintf(out, sizeof out, "%s/.stdout", s->folder);
    (void)snprintf(err, sizeof err, "%s/.stderr", s->folder);
    const double start = run_now();
    const pid_t pid = run_spawn(argv, out, err);
    while (gone == 0 && run_now() - start < limit_s) {
        gone = wait4(pid, &status, WNOHANG, &usage);
        if (gone == 0)
            (void)nanosleep(&(struct timespec){0, 2000000}, NULL);
    }
    if (gone == 0) {
        (void)kill(-pid, SIGKILL);
        (void)wait4(pid, &status, 0, &usage);
        fail_msg("%s %s: still running after %d s; it had said: %s", argv[0], argv[1], limit_s,
                 run_text(err));
    }
    assert_int_equal(gone, pid);
    return (run_result){.code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status),
                        .peak_kib = usage.ru_maxrss,
                        .seconds = run_now() - start,
                        .out = run_text(out),
                        .err = run_text(err)};
}

/* What the sanitizers of the programs that are started are told, as tests/ranks/asan_run.sh does:
 * what MPI and x265 leak is left out. Nothing in other builds. */
static inline void run_tell_sanitizers(int ranks)
{
#ifdef __SANITIZE_ADDRESS__
    (void)setenv("ASAN_OPTIONS", ranks > 1 ? "fast_unwind_on_malloc=0" : "", 1);
    (void)setenv("LSAN_OPTIONS",
                 "suppressions=" LT_SOURCE_DIR "/tests/ranks/lsan.supp:print_suppressions=0", 1);
#else
    (void)ranks;
#endif
}

/* Open MPI wants to be told that it may run as root, as tests in containers do. */
static inline void run_tell_mpirun(void)
{
    (void)setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    (void)setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
}

/* The words before the program's that start so many ranks; their number. Under mpirun each rank is
 * left unbound: more ranks than cores. */
static inline int run_launcher(int ranks, const char **argv)
{
    static char count[16];
    int n = 0;
    (void)snprintf(count, sizeof count, "%d", ranks);
    run_tell_sanitizers(ranks);
    if (ranks > 1) {
        run_tell_mpirun();
        const char *const launcher[] = {"mpirun", "--oversubscribe", "--bind-to", "none", "-n",
                                        count};
        for (size_t i = 0; i < sizeof launcher / sizeof *launcher; i++)
            argv[n++] = launcher[i];
    }
    return n;
}

/* longtake WORDS on so many ranks. */
static inline run_result run_longtake(const scratch *s, int ranks, const char *const *words)
{
    const char *argv[RUN_WORDS_MAX];
    int n = run_launcher(ranks, argv);
    argv[n++] = LT_PROGRAM;
    for (int i = 0; words[i] != NULL; i++) {
        assert_true(n + 1 < RUN_WORDS_MAX);
        argv[n++] = words[i];
    }
    argv[n] = NULL;
    return run_argv(s, argv, RUN_LIMIT_S);
}

#define RUN_WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* The same, and it must succeed: what it said on failure is the test's message. */
static inline void run_well(const scratch *s, int ranks, const char *const *words)
{
    run_result r = run_longtake(s, ranks, words);
    if (r.code != 0)
        fail_msg("longtake %s on %d ranks: exit code %d: %s", words[0], ranks, r.code, r.err);
    run_free(&r);
}

/* longtake WORDS on four ranks, each on the node host<N>, N being what the shell makes of `node`
 * for $r, its number: "r % 2". It must succeed. */
static inline run_result run_on_nodes(const scratch *s, const char *node, const char *const *words)
{
    char script[160];
    const char *argv[RUN_WORDS_MAX];
    int n = run_launcher(4, argv);
    (void)snprintf(script, sizeof script,
                   "r=$OMPI_COMM_WORLD_RANK; LONGTAKE_NODE=host$((%s)) exec \"$0\" \"$@\"", node);
    const char *const shell[] = {"sh", "-c", script, LT_PROGRAM};
    for (size_t i = 0; i < sizeof shell / sizeof *shell; i++)
        argv[n++] = shell[i];
    for (int i = 0; words[i] != NULL; i++) {
        assert_true(n + 1 < RUN_WORDS_MAX);
        argv[n++] = words[i];
    }
    argv[n] = NULL;
    run_result r = run_argv(s, argv, RUN_LIMIT_S);
    if (r.code != 0)
        fail_msg("longtake %s on nodes %s: exit code %d: %s", words[0], node, r.code, r.err);
    return r;
}

static inline int run_exists(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0;
}

#endif

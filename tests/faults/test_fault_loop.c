/* test_fault_loop.c - the n-th call fails, for every n that differs.
 * Goal: whichever allocation, read, write or exchange fails, the program ends in one line, with the
 * right exit code, no leak, no open file, nothing that plays and no temporary file; or it does
 * without, and the film is the same, bit by bit. Method: longtake_faulty (fail_nth.h) runs once to
 * count its calls by place; then each place fails at its first call, at its last, and from its
 * first call on with all of its kind. A few of these by default; with arguments "all [STAGE
 * [PROGRAM [K N]]]" all of them, or of one stage ("-": of each), by another build of
 * longtake_faulty, part K (from 0 on) of N so that several can run at a time; then each place that
 * does without is printed, too. Ranks: 1 and 2. Needs: tests/parity/nano, mpirun. */
#include <ftw.h>
#include <sys/mman.h>

#include "base/new_file.h"
#include "tests/faults/fail_nth.h"
#include "tests/support/run.h"

#define NANO LT_SOURCE_DIR "/tests/parity/nano"

/* A run takes 0.2 s, and some seconds under a sanitizer and mpirun on a busy machine. */
#ifdef __SANITIZE_ADDRESS__
enum { LIMIT_S = 120 };
#else
enum { LIMIT_S = 60 };
#endif
enum { PATHS_MAX = 64, CALLS_MAX = 256, MANY = 12 };

#define RENDER                                                                                     \
    "render", "--model", NANO, "-p", "A ball.", "--size", "64x64", "--frames", "5", "--steps",     \
        "2", "--threads", "1", "-o", "@out.mp4"

typedef struct stage {
    const char *name;
    int ranks, only_whole; /* 1: not among the few, since an end between ranks takes 5 s */
    const char *words[24];
} stage;

static const stage stages[] = {
    {"open", 1, 0, {"inspect", "--json", NANO}},
    {"render", 1, 0, {RENDER, "--sheet", "@out.png", "--wav", "@out.wav"}},
    {"decode", 1, 0, {"decode", "@../kept.run", "--threads", "1", "-o", "@out.mp4"}},
    {"render2", 2, 0, {RENDER}},
    {"windows", 1, 1, {RENDER, "--frames", "141", "--mode", "windows", "--loudness", "-30"}},
    {"board",
     1,
     1,
     {"render", "@../board.yaml", "--model", NANO, "--size", "64x64", "--steps", "2", "--threads",
      "1", "-o", "@out.mp4"}},
    {"decode2", 2, 1, {"decode", "@../kept.run", "--threads", "1", "-o", "@out.mp4"}},
};
enum { STAGES = sizeof stages / sizeof *stages, RANKS_MAX = 2 };

static const char *const kind_name[FAIL_KINDS] = {"memory", "read", "write", "exchange", "say"};

static scratch s;
static fail_map *map[RANKS_MAX];
static const char *program = LT_FAULTY_PROGRAM;
static int all_of_them, chosen = -1, broken, part, parts = 1;

static const char *const made[] = {"w/out.mp4", "w/out.png", "w/out.wav"};
enum { MADE = sizeof made / sizeof *made };

/* What a run left: paths below its folder, and hashes: of the bytes of what was asked for (0: not
 * there), and of the answer without its digits (seconds, the memory that is free). */
typedef struct left {
    char path[PATHS_MAX][96];
    int count;
    uint64_t file[MADE], answer;
} left;

static left seen, whole;
static size_t root_length;

static int begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

/* What a run could be gone on from: kept or not, by what went wrong. */
static int is_kept_state(const char *path)
{
    return (begins(path, "out.run/cache") || begins(path, "out.run/state")) &&
           strstr(path, LT_NEW_FILE_PREFIX) == NULL;
}

static int see(const char *path, const struct stat *info, int type, struct FTW *where)
{
    (void)info;
    (void)type;
    if (where->level > 0 && seen.count < PATHS_MAX && !is_kept_state(path + root_length))
        (void)snprintf(seen.path[seen.count++], sizeof seen.path[0], "%s", path + root_length);
    return 0;
}

static int by_name(const void *a, const void *b) { return strcmp(a, b); }

static uint64_t hash_of(const char *path, int digits)
{
    uint64_t hash = 1469598103934665603u; /* FNV-1a */
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return 0;
    for (int c = fgetc(f); c != EOF; c = fgetc(f))
        if (digits || c < '0' || c > '9')
            hash = (hash ^ (uint64_t)c) * 1099511628211u;
    (void)fclose(f);
    return hash;
}

static void look(void)
{
    char work[600];
    (void)snprintf(work, sizeof work, "%s/w/", s.folder);
    root_length = strlen(work);
    work[root_length - 1] = '\0';
    seen = (left){.count = 0};
    assert_int_equal(nftw(work, see, 8, FTW_PHYS), 0);
    qsort(seen.path, (size_t)seen.count, sizeof seen.path[0], by_name);
    for (int i = 0; i < MADE; i++)
        seen.file[i] = hash_of(scratch_path(&s, made[i]), 1);
    seen.answer = hash_of(scratch_path(&s, ".stdout"), 0);
}

/* ---- one run ---- */

typedef struct ended {
    int code, hung, files[RANKS_MAX];
    char *out, *err;
} ended;

static const char *word_of(const char *word)
{
    static char kept[RUN_WORDS_MAX][600];
    static int turn;
    if (word[0] != '@')
        return word;
    turn = (turn + 1) % RUN_WORDS_MAX;
    (void)snprintf(kept[turn], sizeof kept[turn], "%s/w/%s", s.folder, word + 1);
    return kept[turn];
}

static ended run_stage(const stage *g)
{
    const char *argv[RUN_WORDS_MAX];
    char out[600], err[600];
    int n = run_launcher(g->ranks, argv), status = 0, gone = 0;
    (void)snprintf(out, sizeof out, "%s/.stdout", s.folder);
    (void)snprintf(err, sizeof err, "%s/.stderr", s.folder);
    argv[n++] = program;
    for (int i = 0; g->words[i] != NULL; i++)
        argv[n++] = word_of(g->words[i]);
    argv[n] = NULL;
    assert_int_equal(mkdir(scratch_path(&s, "w"), 0777), 0);
    (void)setenv("LT_FAULTY", scratch_path(&s, g->ranks > 1 ? "map" : "map.0"), 1);
    const double start = run_now();
    const pid_t pid = run_spawn(argv, out, err);
    while (gone == 0 && run_now() - start < LIMIT_S) {
        gone = waitpid(pid, &status, WNOHANG);
        if (gone == 0)
            (void)nanosleep(&(struct timespec){0, 2000000}, NULL);
    }
    ended e = {.hung = gone == 0};
    if (gone == 0) {
        (void)kill(-pid, SIGKILL);
        (void)waitpid(pid, &status, 0);
    }
    e.code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    e.out = run_text(out);
    e.err = run_text(err);
    for (int r = 0; r < g->ranks; r++)
        e.files[r] = atomic_load(&map[r]->ended) == 1 ? map[r]->open_files : -1;
    look();
    return e;
}

static void forget(ended *e)
{
    free(e->out);
    free(e->err);
    assert_int_equal(nftw(scratch_path(&s, "w"), scratch_remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static void order(int mode, int rank, const fail_site *site, int occurrence)
{
    for (int r = 0; r < RANKS_MAX; r++)
        memset(map[r], 0, sizeof *map[r]);
    if (site == NULL)
        return;
    map[rank]->mode = mode;
    map[rank]->kind = site->kind;
    map[rank]->key = atomic_load(&site->key);
    map[rank]->occurrence = occurrence;
}

/* ---- what a run must look like ---- */

/* sysexits.h's code of a failure of this kind, as status.h gives it. */
static int code_fits(const fail_site *site, const char *err, int code)
{
    switch (site->kind) {
    case FAIL_MEMORY: /* a reader of strangers' files that lacks memory has met its limit */
        return code == 69 || (site->of_child && code == 65);
    case FAIL_READ:
        if (site->of_child && code == 65)
            return 1;
        /* what cannot be looked at may be told as something that is not as wanted, or
                     * as no place for an output; HDF5 does not tell whose fault an error is */
        return code == 66 || code == 74 || (code == 65 && strstr(err, "HDF5: ") != NULL) ||
               (code == 65 && strcmp(site->call, "stat") == 0) ||
               (code == 73 && (strstr(err, ": cannot be made: ") != NULL ||
                               strstr(err, ": cannot be appended to: ") != NULL ||
                               strstr(err, "error: -") != NULL));
    case FAIL_WRITE:
        return code == 73 || code == 74;
    case FAIL_EXCHANGE:
        return code == 75;
    default:
        return 0;
    }
}

/* What may stay after a failure: a run folder with what decode needs and its lease, which has
 * ended. A rank that failed alone ends its peers, which have no time to tidy up, and where no name
 * can be changed or looked at any more a lease cannot end: who comes next does both. */
static int may_stay(const char *path, int alone, int stuck)
{
    static const char *const may[] = {"out.run",
                                      "out.run/job.yaml",
                                      "out.run/plan.json",
                                      "out.run/events.ndjson",
                                      "out.run/latents.h5",
                                      "out.run/manifest.json",
                                      "out.run/lease",
                                      "out.run/lease/000001",
                                      "out.run/lease/000001.ended"};
    for (size_t k = 0; k < sizeof may / sizeof *may; k++)
        if (strcmp(path, may[k]) == 0)
            return 1;
    if (alone && (begins(path, LT_NEW_FILE_PREFIX) || begins(path, "out.run/" LT_NEW_FILE_PREFIX)))
        return 1;
    if (stuck && strcmp(path, "out.run/out.mp4") == 0)
        return 1; /* it cannot be seen to be ours */
    return (alone || stuck) && begins(path, ".longtake-use-");
}

/* The first of what was left that may not stay, or NULL. */
static const char *stray(int alone, int stuck)
{
    int taken = 0, let_go = 0;
    for (int i = 0; i < seen.count; i++) {
        taken |= strcmp(seen.path[i], "out.run/lease/000001") == 0;
        let_go |= strcmp(seen.path[i], "out.run/lease/000001.ended") == 0;
        if (!may_stay(seen.path[i], alone, stuck))
            return seen.path[i];
    }
    return taken && !let_go && !alone && !stuck ? "a lease that has not ended" : NULL;
}

/* What was made is what a whole run makes: all of it, or (some) at least the film. */
static const char *other_files(const ended *e, int some)
{
    /* A film that grows in fragments may stay so: it is whole, and a warning says it. */
    const int fragments = strstr(e->err, "stays fragmented") != NULL && seen.file[0] != 0;
    if (seen.file[0] != whole.file[0] && !fragments)
        return "another film than a whole run's";
    for (int i = 1; i < MADE; i++)
        if (seen.file[i] != whole.file[i] && !(some && seen.file[i] == 0))
            return "another sheet or sound than a whole run's";
    return NULL;
}

static const char *wrong_in_success(const fail_site *site, const ended *e, int lines)
{
    /* A lease of an output that cannot be renamed stays; who comes next takes it over. */
    int more = 0;
    while (more < seen.count && begins(seen.path[more], ".longtake-use-"))
        more++;
    if (strcmp(site->call, "renameat") == 0 && more > 0) {
        seen.count -= more;
        memmove(seen.path, seen.path[more], sizeof seen.path - (size_t)more * sizeof seen.path[0]);
        memset(seen.path[seen.count], 0, (size_t)more * sizeof seen.path[0]);
    }
    if (lines > 0)
        return "an error line and exit code 0";
    /* inspect may tell of what cannot be read as of what is wrong with a model. */
    if (seen.answer != whole.answer &&
        !(site->kind == FAIL_READ && strstr(e->out, "\"complete\":false") != NULL))
        return "success, but another answer";
    /* The run folder lacks its film then, as that warning says. */
    if (strstr(e->err, ": moved from the run folder: ") == NULL &&
        (seen.count != whole.count || memcmp(seen.path, whole.path, sizeof seen.path) != 0))
        return "success, but other files than a whole run leaves";
    return other_files(e, 0);
}

static const char *wrong_in_failure(const stage *g, int mode, const fail_site *site, const ended *e,
                                    int lines)
{
    static char text[200];
    /* What fails when the film has its name leaves it, and says so. */
    const int is_whole = strstr(e->err, " is whole, but ") != NULL;
    /* A rank that reaches nobody any more says what it knows; so does the one that misses it. */
    if (lines == 2 && g->ranks > 1 && site->kind == FAIL_EXCHANGE &&
        strstr(e->err, " is lost (") != NULL)
        return NULL;
    if (lines != 1 || count_of(e->err, "longtake: hint: ") > 1)
        return "not one line";
    if (!code_fits(site, e->err, e->code))
        return "the wrong exit code";
    if (is_whole)
        return other_files(e, 1);
    if (strstr(e->err, "hint: the film is whole: ") != NULL)
        return NULL; /* it has its name in RUN, and is told of */
    /* Who fails alone cannot know whether rank 0 has given the film its name: whole, or not there.
     */
    if (g->ranks > 1 && strstr(e->err, "error: rank ") != NULL && seen.file[0] != 0)
        return other_files(e, 1);
    const char *path =
        stray(g->ranks > 1 && strstr(e->err, "error: rank ") != NULL,
              mode == FAIL_ONWARDS && (site->kind == FAIL_WRITE || site->kind == FAIL_READ));
    if (path != NULL)
        (void)snprintf(text, sizeof text, "leaves %s", path);
    return path != NULL ? text : NULL;
}

/* NULL: well; else what is wrong. */
static const char *wrong_in(const stage *g, int mode, const fail_site *site, const ended *e,
                            const int *files)
{
    static char text[200];
    const int lines = count_of(e->err, "longtake: error: ");
    if (e->hung)
        return "hangs";
    if (strstr(e->err, "Sanitizer") != NULL || strstr(e->err, "runtime error") != NULL)
        return "a sanitizer speaks";
    if (e->code >= 128)
        return "crashes";
    /* MPI's own stay open where it is not ended in order. */
    for (int r = 0; r < g->ranks; r++)
        if (e->files[r] > files[r] && site->kind != FAIL_EXCHANGE) {
            (void)snprintf(text, sizeof text, "rank %d leaves %d files open, %d else", r,
                           e->files[r], files[r]);
            return text;
        }
    return e->code == 0 ? wrong_in_success(site, e, lines)
                        : wrong_in_failure(g, mode, site, e, lines);
}

/* ---- the loop ---- */

typedef struct tally {
    int sites, runs, line, without, missed, bad;
} tally;

static void complain(const stage *g, int rank, int mode, const fail_site *site, int occurrence,
                     const ended *e, const char *wrong)
{
    const char *line = strstr(e->err, "longtake: error: ");
    print_error("%s rank %d: %s %s %s call %d of %d at", g->name, rank, kind_name[site->kind],
                site->call, mode == FAIL_ONCE ? "once" : "onwards", occurrence,
                atomic_load(&site->count));
    for (int i = 0; i < FAIL_FRAMES && site->frames[i] != 0; i++)
        print_error(" 0x%zx", (size_t)site->frames[i] - 1);
    print_error(": %s (exit code %d)\n    %.*s\n", wrong, e->code,
                line != NULL ? (int)strcspn(line, "\n") : 2000, line != NULL ? line : e->err);
    if (strstr(e->err, "Sanitizer") != NULL)
        print_error("%.3000s\n", strstr(e->err, "Sanitizer"));
    if (line != NULL && count_of(e->err, "longtake: error: ") != 1)
        print_error("%.3000s\n", e->err);
}

/* Nothing of a rank was heard for seconds, though it could speak: the machine is too busy. */
static int starved(const ended *e) { return strstr(e->err, " is lost (silent for ") != NULL; }

static void try_one(const stage *g, int rank, int mode, const fail_site *site, int occurrence,
                    const int *files, tally *t)
{
    order(mode, rank, site, occurrence);
    ended e = run_stage(g);
    if (site->kind != FAIL_EXCHANGE && starved(&e)) {
        forget(&e);
        order(mode, rank, site, occurrence);
        e = run_stage(g);
    }
    t->runs++;
    if (atomic_load(&map[rank]->hits) == 0)
        t->missed++;
    const char *wrong = wrong_in(g, mode, site, &e, files);
    if (wrong != NULL) {
        t->bad++;
        broken++;
        complain(g, rank, mode, site, occurrence, &e, wrong);
    } else if (e.code != 0) {
        t->line++;
    } else {
        t->without++;
        if (all_of_them && site->kind != FAIL_SAY && atomic_load(&map[rank]->hits) > 0)
            complain(g, rank, mode, site, occurrence, &e, "does without");
    }
    forget(&e);
}

static int by_call(const void *a, const void *b)
{
    const fail_site *x = a, *y = b;
    const int order_of = memcmp(x->call, y->call, sizeof x->call);
    return x->kind != y->kind ? x->kind - y->kind : order_of != 0 ? order_of : x->order - y->order;
}

/* The dry pass's sites of a rank, by kind and call, then in the order in which they were seen. */
static fail_site *sites_of(int rank, int *count)
{
    fail_site *sites = calloc(FAIL_SITES_MAX, sizeof *sites);
    assert_non_null(sites);
    *count = 0;
    for (int i = 0; i < FAIL_SITES_MAX; i++)
        if (atomic_load(&map[rank]->site[i].key) != 0)
            memcpy(&sites[(*count)++], &map[rank]->site[i], sizeof *sites);
    qsort(sites, (size_t)*count, sizeof *sites, by_call);
    return sites;
}

/* All three runs of every site, or a part of them. */
static void try_all(const stage *g, int rank, const fail_site *sites, int count, const int *files,
                    tally *t)
{
    static int turn;
    for (int i = 0; i < count; i++) {
        const fail_site *site = &sites[i];
        const int last = atomic_load(&site->count);
        tally *of = &t[site->kind];
        of->sites++;
        if (turn++ % parts == part)
            try_one(g, rank, FAIL_ONCE, site, 1, files, of);
        if (turn++ % parts == part)
            try_one(g, rank, FAIL_ONWARDS, site, 1, files, of);
        if (last > 1 && turn++ % parts == part)
            try_one(g, rank, FAIL_ONCE, site, last, files, of);
    }
}

/* Has no earlier stage tried a call of that name? */
static int is_new(const fail_site *site)
{
    static char known[CALLS_MAX][sizeof site->call];
    static int count;
    for (int i = 0; i < count; i++)
        if (strcmp(known[i], site->call) == 0)
            return 0;
    assert_true(count < CALLS_MAX);
    memcpy(known[count++], site->call, sizeof site->call);
    return 1;
}

/* The choice goes by the calls' names and the order in which the program makes them, so that a
 * change of code moves no more than what it changes: the first place of each name, if no earlier
 * stage had that name, and the last one of names with MANY places. */
static void try_some(const stage *g, int rank, const fail_site *sites, int count, const int *files,
                     tally *t)
{
    for (int first = 0, end = 0; first < count; first = end) {
        const fail_site *const site = &sites[first];
        tally *of = &t[site->kind];
        while (end < count && sites[end].kind == site->kind &&
               strcmp(sites[end].call, site->call) == 0)
            end++;
        of->sites += end - first;
        if (site->kind != FAIL_EXCHANGE && g->ranks > 1)
            continue;
        if (is_new(site))
            try_one(g, rank, FAIL_ONCE, site, 1, files, of);
        if (end - first >= MANY * (g->ranks > 1 ? 4 : 1) && rank == g->ranks - 1)
            try_one(g, rank, FAIL_ONWARDS, &sites[end - 1], 1, files, of);
    }
}

static void run_loop(const stage *g)
{
    tally t[FAIL_KINDS] = {{0}};
    fail_site *sites[RANKS_MAX] = {NULL};
    int count[RANKS_MAX] = {0}, files[RANKS_MAX] = {0};
    const double start = run_now();
    order(FAIL_NEVER, 0, NULL, 0);
    ended e = run_stage(g);
    if (starved(&e)) {
        forget(&e);
        order(FAIL_NEVER, 0, NULL, 0);
        e = run_stage(g);
    }
    if (e.code != 0)
        fail_msg("%s: exit code %d though nothing fails: %s", g->name, e.code, e.err);
    whole = seen;
    for (int r = 0; r < g->ranks; r++) {
        files[r] = e.files[r];
        sites[r] = sites_of(r, &count[r]);
        assert_in_range(count[r], 1, FAIL_SITES_MAX / 2);
    }
    forget(&e);
    for (int r = 0; r < g->ranks; r++) {
        (all_of_them ? try_all : try_some)(g, r, sites[r], count[r], files, t);
        free(sites[r]);
    }
    print_message("%-8s %-9s %6s %6s %6s %8s %6s %6s\n", "stage", "kind", "places", "runs",
                  "a line", "without", "missed", "bad");
    for (int k = 0; k < FAIL_KINDS; k++)
        if (t[k].sites > 0)
            print_message("%-8s %-9s %6d %6d %6d %8d %6d %6d\n", g->name, kind_name[k], t[k].sites,
                          t[k].runs, t[k].line, t[k].without, t[k].missed, t[k].bad);
    print_message("%s: %.0f s\n", g->name, run_now() - start);
}

static void every_fault_ends_well(void **state)
{
    (void)state;
    const char *const keep[] = {RENDER, NULL};
    const char *words[32];
    int n = 0;
    for (; keep[n] != NULL; n++)
        words[n] = keep[n];
    words[n - 1] = scratch_path(&s, "kept.mp4");
    words[n] = NULL;
    run_well(&s, 1, words);
    broken = 0;
    for (int i = 0; i < STAGES; i++)
        if (chosen == i || (chosen < 0 && (all_of_them || !stages[i].only_whole)))
            run_loop(&stages[i]);
    assert_int_equal(broken, 0);
}

static int setup(void **state)
{
    (void)state;
    scratch_new(&s);
    scratch_text(
        &s, "board.yaml",
        "shots:\n  - {prompt: A ball., frames: 5}\n  - {prompt: A cube., frames: 22, seed: "
        "3}\n");
    for (int r = 0; r < RANKS_MAX; r++) {
        char path[600];
        (void)snprintf(path, sizeof path, "%s/map.%d", s.folder, r);
        const int file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        assert_true(file >= 0);
        assert_int_equal(ftruncate(file, (off_t)sizeof(fail_map)), 0);
        map[r] = mmap(NULL, sizeof(fail_map), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        assert_true(map[r] != MAP_FAILED);
        (void)close(file);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int r = 0; r < RANKS_MAX; r++)
        (void)munmap(map[r], sizeof(fail_map));
    scratch_free(&s);
    return 0;
}

int main(int argc, char **argv)
{
    all_of_them = argc > 1 && strcmp(argv[1], "all") == 0;
    for (int i = 0; argc > 2 && i < STAGES; i++)
        if (strcmp(argv[2], stages[i].name) == 0)
            chosen = i;
    if (argc > 3 && strcmp(argv[3], "-") != 0)
        program = argv[3];
    if (argc > 5) {
        part = atoi(argv[4]);
        parts = atoi(argv[5]);
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_fault_ends_well)};
    return cmocka_run_group_tests_name("fault_loop", tests, setup, teardown);
}

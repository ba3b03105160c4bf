/* test_kill_loop.c - a render is killed at random moments, again and again, and loses no bit.
 * Goal: SIGKILL of one rank or of all, in whatever stage (start, text, loading, a step, storing,
 * muxing): resumed on 1 to 4 ranks by chance the run ends with the latents of the undisturbed one,
 * bit for bit (--deterministic), in `single`, `windows` and `extend`, and never goes on behind an
 * older step than the last one that counted. What is computed again is what ended while that one
 * was being written: at most two steps, if steps take longer than writing two small files does. So
 * it is printed, and judged where they take 100 ms as those of a small real film do.
 * Method: the same line starts and resumes; the kill comes once RUN's events show the stage that
 * chance chose, and up to 60 ms later. Ranks: 2 at first. Needs: mpirun, /proc, tests/parity/nano.
 *
 *     test_kill_loop [KILLS [SEED [MODE [SIZE]]]]
 *
 * KILLS in each mode, or in MODE (`*`: in each). SIZE: 64x64, with steps of some milliseconds;
 * 256x192 has long ones. The undisturbed run's are printed. */
#include "tests/support/film.h"
#include "tests/support/rank_process.h"
#include "tests/support/the_scratch.h"

enum { LIMIT_S = 600, LAUNCHER_S = 60, STEPS = 24, STARTS_MAX = 2000, LOSS_MAX = 2 };
static const double judged_from_s = 0.1;

static int kills_wanted = 2;
static const char *size = "64x64";
static uint64_t chance = 1;

/* splitmix64 (Vigna): a test's own stream, so that a seed tells all. */
static uint64_t draw(uint64_t below)
{
    chance += 0x9e3779b97f4a7c15u;
    uint64_t z = chance;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (z ^ (z >> 31)) % below;
}

static const struct {
    const char *name, *words[12];
} modes[] = {
    {"single", {"--frames", "90", "--mode", "single"}},
    {"windows", {"--frames", "141", "--mode", "windows", "--window", "90"}},
    {"extend", {"--frames", "141", "--mode", "extend", "--window", "90"}},
};

/* Where a kill may fall; of "denoise" at a step by chance. */
static const char *const stages[] = {"start",   "text",    "load",  "denoise",
                                     "denoise", "denoise", "store", "decode"};
enum { STAGES = sizeof stages / sizeof *stages };

/* Steps that were done, and the newest that counted. */
typedef struct progress {
    int64_t done, counted;
} progress;

typedef struct loop {
    const char *name;
    char run[600], film[600], events[700], out[700], err[700];
    int kills, starts, by_stage[STAGES], whole, disturbed; /* whole: all ranks were killed */
    int stuck;                                             /* launchers that did not end */
    int64_t loss_max;
    double step_s; /* the median of the undisturbed run's */
} loop;

static int words_of(size_t mode, const loop *l, int ranks, int resume, const char **argv)
{
    static char steps[16];
    int n = run_launcher(ranks, argv);
    (void)snprintf(steps, sizeof steps, "%d", STEPS + 1);
    const char *const *words =
        RUN_WORDS(LT_PROGRAM, "render", "--model", LT_SOURCE_DIR "/tests/parity/nano", "--size",
                  size, "--steps", steps, "--deterministic", "-p", "A ball.", "-o", l->film);
    for (; *words != NULL; words++)
        argv[n++] = *words;
    for (size_t i = 0; modes[mode].words[i] != NULL; i++)
        argv[n++] = modes[mode].words[i];
    if (resume) {
        argv[n++] = "--resume";
        argv[n++] = l->run;
    }
    argv[n] = NULL;
    return n;
}

/* The number behind the last `key` of an events file that stands behind `from`; -1: none. */
static int64_t last_number(const char *text, const char *from, const char *key)
{
    int64_t found = -1;
    for (const char *p = strstr(text, from); p != NULL; p = strstr(p + 1, from)) {
        const char *end = strchr(p, '\n');
        const char *at = strstr(p, key);
        if (at != NULL && (end == NULL || at < end))
            found = strtoll(at + strlen(key), NULL, 10);
    }
    return found;
}

/* What the present start has written of the events: all behind the last "start". */
static const char *of_this_start(const char *text)
{
    const char *last = NULL;
    for (const char *p = text; (p = strstr(p, "{\"event\":\"start\"")) != NULL; p++)
        last = p;
    return last;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median time between the ends of two steps. */
static double step_seconds(const char *events)
{
    double gap[1000], before = -1;
    int count = 0;
    char *text = run_text(events), *rest = text;
    assert_non_null(text);
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        const char *at = strstr(line, "\"seconds\":");
        if (strstr(line, "\"event\":\"step\"") == NULL ||
            strstr(line, "\"stage\":\"denoise\"") == NULL || at == NULL)
            continue;
        const double now = strtod(at + strlen("\"seconds\":"), NULL);
        if (before >= 0 && count < 1000)
            gap[count++] = now - before;
        before = now;
    }
    free(text);
    assert_true(count > 0);
    qsort(gap, (size_t)count, sizeof *gap, by_size);
    return gap[count / 2];
}

static int starts_in(const char *events)
{
    char *text = run_text(events);
    const int n = text != NULL ? count_of(text, "{\"event\":\"start\"") : 0;
    free(text);
    return n;
}

/* Wait until this start (the one behind `before` others) is in its stage, and a moment longer.
 * 0: it ended, or was beyond it. */
static int await_stage(const loop *l, pid_t pid, int before, size_t stage, int64_t step)
{
    const double began = run_now();
    const char *name = stages[stage];
    char want[80];
    (void)snprintf(want, sizeof want, "\"stage\":\"%s\"", name);
    if (strcmp(name, "denoise") == 0)
        (void)snprintf(want, sizeof want, "\"stage\":\"denoise\",\"done\":%lld,", (long long)step);
    while (run_now() - began < LIMIT_S && strcmp(name, "start") != 0) {
        char *text = run_text(l->events);
        const char *mine = text != NULL && count_of(text, "{\"event\":\"start\"") > before
                               ? of_this_start(text)
                               : NULL;
        const int there = mine != NULL && strstr(mine, want) != NULL;
        const int over = mine != NULL && strstr(mine, "{\"event\":\"end\"") != NULL;
        free(text);
        siginfo_t info = {0};
        if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid)
            return 0;
        if (over)
            return 0;
        if (there)
            break;
        (void)nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    (void)nanosleep(
        &(struct timespec){0, (long)draw(strcmp(name, "start") == 0 ? 400 : 60) * 1000000L}, NULL);
    return 1;
}

/* One rank, or all; 0: none was found any more. */
static int kill_ranks(const loop *l, pid_t pid, int ranks, int all)
{
    int found = 0;
    const int one = (int)draw((uint64_t)ranks);
    for (int r = 0; r < ranks; r++) {
        if (!all && r != one)
            continue;
        const pid_t rank = run_rank_process(pid, ranks, r, l->film);
        found += rank > 0 && kill(rank, SIGKILL) == 0;
    }
    return found;
}

/* What the last kill has cost, once the next start says behind which step it goes on. Returns 1
 * when it has said so. */
static int count_loss(loop *l, const progress *was)
{
    char *text = run_text(l->events);
    const char *mine = text != NULL ? of_this_start(text) : NULL;
    const int says = mine != NULL && strstr(mine, "{\"event\":\"resume\"") != NULL;
    const int64_t from = says ? last_number(mine, "{\"event\":\"resume\"", "\"step\":") : 0;
    const int64_t again = says && was->done > from ? was->done - from : 0;
    l->loss_max = again > l->loss_max ? again : l->loss_max;
    free(text);
    if (says && from < was->counted)
        fail_msg("%s: step %lld counted, and it goes on behind %lld", l->name,
                 (long long)was->counted, (long long)from);
    return says;
}

/* How far the present start came. */
static progress how_far(const loop *l)
{
    char *text = run_text(l->events);
    const char *mine = text != NULL ? of_this_start(text) : NULL;
    progress p = {0, 0};
    if (mine != NULL && strstr(mine, "\"stage\":\"store\",\"done\":1") == NULL) {
        p.done = last_number(mine, "{\"event\":\"step\"", "\"stage\":\"denoise\",\"done\":");
        p.counted = last_number(mine, "{\"event\":\"commit\"", "\"step\":");
    }
    free(text);
    return p;
}

/* The launcher's end. Open MPI 4.1.4's stands still for good in its own last steps now and then
 * where a rank is killed as it connects to it (PMIx_server_finalize waits for a lock): when none of
 * its ranks lives any more it is ended too. */
static int await_end(loop *l, pid_t pid, int ranks, int killed)
{
    const int code = run_await_end(pid, killed ? LAUNCHER_S : LIMIT_S);
    if (code >= 0 || !killed || ranks == 1)
        return code;
    for (int r = 0; r < ranks; r++)
        if (run_rank_process(pid, ranks, r, l->film) > 0)
            return code;
    (void)kill(-pid, SIGKILL);
    l->stuck++;
    return run_await_end(pid, LAUNCHER_S);
}

/* One start, which chance kills or not. Returns 1 when the film is whole. */
static int start(loop *l, size_t mode, int ranks, progress *was)
{
    const char *argv[RUN_WORDS_MAX];
    (void)words_of(mode, l, ranks, 1, argv);
    const int before = starts_in(l->events);
    const size_t stage = (size_t)draw(STAGES);
    const int64_t step = 1 + (int64_t)draw(STEPS);
    const int all = draw(2) == 0, wants = l->kills < kills_wanted;
    const pid_t pid = run_spawn(argv, l->out, l->err);
    const int there = wants && await_stage(l, pid, before, stage, step);
    const int killed = there && kill_ranks(l, pid, ranks, all) > 0;
    const int code = await_end(l, pid, ranks, killed);
    if (code < 0) {
        (void)kill(-pid, SIGKILL);
        fail_msg("%s: still running after %d s: %s", l->name, LIMIT_S, run_text(l->err));
    }
    if (!killed && code == 75) /* a machine with too much to do takes a rank for dead */
        l->disturbed++;
    else if (!killed && code != 0)
        fail_msg("%s: a start that nobody killed ended with %d: %s", l->name, code,
                 run_text(l->err));
    const int begun = starts_in(l->events) > before;
    if (begun && count_loss(l, was))
        *was = (progress){0, 0};
    if (code == 0)
        return 1;
    l->kills += killed;
    l->by_stage[stage] += killed;
    l->whole += killed && all;
    const progress now = begun ? how_far(l) : *was;
    was->done = now.done > was->done ? now.done : was->done;
    was->counted = now.counted > was->counted ? now.counted : was->counted;
    return 0;
}

static void remove_all(const loop *l)
{
    run_result r = run_argv(&s, (const char *const[]){"rm", "-rf", l->run, l->film, NULL}, 60);
    run_free(&r);
}

static void run_mode(size_t mode)
{
    loop l = {.name = modes[mode].name};
    latents whole, found;
    const char *argv[RUN_WORDS_MAX];
    (void)snprintf(l.run, sizeof l.run, "%s/%s.run", s.folder, l.name);
    (void)snprintf(l.film, sizeof l.film, "%s/%s.mp4", s.folder, l.name);
    (void)snprintf(l.events, sizeof l.events, "%s/events.ndjson", l.run);
    (void)snprintf(l.out, sizeof l.out, "%s/.loop-stdout", s.folder);
    (void)snprintf(l.err, sizeof l.err, "%s/.loop-stderr", s.folder);
    (void)words_of(mode, &l, 2, 0, argv);
    run_result r = run_argv(&s, argv, LIMIT_S);
    if (r.code != 0)
        fail_msg("%s, undisturbed: %d: %s", l.name, r.code, r.err);
    run_free(&r);
    latents_read(l.run, &whole);
    l.step_s = step_seconds(l.events);
    remove_all(&l);
    int films = 0;
    while (l.kills < kills_wanted || films == 0) {
        progress was = {0, 0};
        int is_whole = 0;
        for (int i = 0; !is_whole; i++, l.starts++) {
            assert_true(l.starts < STARTS_MAX);
            is_whole = start(&l, mode, i == 0 ? 2 : 1 + (int)draw(4), &was);
        }
        latents_read(l.run, &found);
        const double differ = latents_differ(&whole, &found);
        if (!(differ == 0))
            fail_msg("%s: after %d kills the latents differ by %g from the undisturbed run's",
                     l.name, l.kills, differ);
        latents_free(&found);
        assert_true(run_exists(l.film));
        remove_all(&l);
        films++;
        print_message("%s: film %d, %d kills so far\n", l.name, films, l.kills);
    }
    latents_free(&whole);
    print_message("%s: %d kills (%d of all ranks), %d ends by itself, %d launchers stuck, %d "
                  "starts, %d films, all "
                  "with the undisturbed "
                  "run's bits; longest loss of work: %lld steps, of %d a chunk and %.0f ms each "
                  "undisturbed;",
                  l.name, l.kills, l.whole, l.disturbed, l.stuck, l.starts, films,
                  (long long)l.loss_max, STEPS, 1e3 * l.step_s);
    for (size_t i = 0; i < STAGES; i++)
        if (i == 0 || strcmp(stages[i], stages[i - 1]) != 0) {
            int n = 0;
            for (size_t k = 0; k < STAGES; k++)
                n += strcmp(stages[k], stages[i]) == 0 ? l.by_stage[k] : 0;
            print_message(" %s %d", stages[i], n);
        }
    print_message("\n");
    if (l.step_s >= judged_from_s && l.loss_max > LOSS_MAX)
        fail_msg("%s: %lld steps were lost, want %d at most", l.name, (long long)l.loss_max,
                 LOSS_MAX);
}

static void single(void **state)
{
    (void)state;
    run_mode(0);
}

static void windows(void **state)
{
    (void)state;
    run_mode(1);
}

static void extend(void **state)
{
    (void)state;
    run_mode(2);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(single), cmocka_unit_test(windows),
                                       cmocka_unit_test(extend)};
    if (argc > 1)
        kills_wanted = (int)strtol(argv[1], NULL, 10);
    if (argc > 2)
        chance = strtoull(argv[2], NULL, 10);
    if (argc > 3)
        cmocka_set_test_filter(argv[3]);
    if (argc > 4)
        size = argv[4];
    return cmocka_run_group_tests_name("kill_loop", tests, scratch_setup, scratch_teardown);
}

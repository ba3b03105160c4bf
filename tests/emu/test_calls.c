/* test_calls.c - when a film on a device waits for it, and what it takes meanwhile.
 * Goal: the main thread waits for the device at the end of a forward only; memory, pinned memory,
 * streams and events are taken before the first launch; no kernel is loaded within a forward, for a
 * driver may wait for the device then, on which an exchange waits for another rank. Alone, and on
 * two ranks (ring, uly, tp) over NCCL's stand-in and staged. Method: the stand-in's timeline
 * (timeline.h) of films of nano H3 (program.h). A stretch is what is queued between two calls that
 * block. Ranks: mpirun with 1 and 2. Needs: mpirun, tests/parity. */
#include "tests/emu/program.h"

enum { STRETCHES_MAX = 512, WORK = 20 }; /* launches that loading never has in a row */

typedef struct stretch {
    unsigned long launches, exchanges, loads;
    char ended_by[80];
} stretch;

/* What a process did. */
typedef struct calls {
    int process, count;
    stretch stretch[STRETCHES_MAX]; /* that has work or exchanges */
    unsigned long taken_late;       /* memory, streams, events after the first launch */
} calls;

typedef struct film {
    const char *name, *mesh, *steps;
    int ranks, devices, decoded;
    int forwards; /* stretches of launches and exchanges: text, tables under tp, evaluations */
} film;

static void make(const film *f)
{
    const program_how how = {f->ranks, f->devices, "0", NULL};
    char path[512], log[512];
    (void)snprintf(path, sizeof path, "%s", scratch_path(&s, "film.mp4"));
    (void)snprintf(log, sizeof log, "%s", scratch_path(&s, "calls.log"));
    (void)unlink(log);
    (void)setenv("LT_EMU_LOG", log, 1);
    if (!f->decoded) /* the decoder takes longest, and has no exchange here */
        (void)setenv("LONGTAKE_FAULT", "0:store:error", 1);
    run_result r = program_run(
        &how, RUN_WORDS("render", "-p", "A ball.", "--frames", "5", "--size", "32x32", "--steps",
                        f->steps, "--dtype", "f32", "--model", LT_SOURCE_DIR "/tests/parity/nano",
                        "--mesh", f->mesh, "--device", "cuda", "--overwrite", "-o", path));
    (void)unsetenv("LT_EMU_LOG");
    (void)unsetenv("LONGTAKE_FAULT");
    if (f->decoded ? r.code != 0 : strstr(r.err, "a fault that LONGTAKE_FAULT") == NULL)
        fail_msg("%s: exit code %d: %s", f->name, r.code, r.err);
    run_free(&r);
}

/* One line of the log; last: launches and exchanges at the last call that blocked, loads since. */
static void take_line(calls *c, const char *line, stretch *last)
{
    char kind[16], call[80];
    int process;
    stretch now = {.loads = 0};
    unsigned long times;
    if (sscanf(line, "%d %15s %79s %lu %lu %lu", &process, kind, call, &times, &now.launches,
               &now.exchanges) != 6)
        fail_msg("not a line of a timeline: %.100s", line);
    if (process != c->process)
        return;
    if ((strcmp(kind, "take") == 0 || strcmp(kind, "make") == 0) && now.launches > 0)
        c->taken_late += times;
    if (strcmp(kind, "load") == 0)
        last->loads++;
    if (strcmp(kind, "block") != 0)
        return;
    stretch ended = {now.launches - last->launches, now.exchanges - last->exchanges, last->loads,
                     ""};
    (void)snprintf(ended.ended_by, sizeof ended.ended_by, "%s", call);
    if (ended.launches > WORK || ended.exchanges > 0) {
        assert_true(c->count < STRETCHES_MAX);
        c->stretch[c->count++] = ended;
    }
    *last = now;
}

/* The process of the log's line `first` or of one behind it that is not `but`. */
static void read_calls(const char *log, int but, calls *out)
{
    stretch last = {.loads = 0};
    *out = (calls){.process = -1};
    for (const char *line = log; *line != '\0'; line = strchr(line, '\n') + 1) {
        const int process = (int)strtol(line, NULL, 10);
        if (out->process < 0 && process != but)
            out->process = process;
        take_line(out, line, &last);
    }
    assert_true(out->process > 0);
}

static int is_forward(const stretch *one, int ranks)
{
    return one->launches > WORK && (ranks == 1 || one->exchanges > 0);
}

/* A row of the table a stretch. Returns how many are forwards. */
static int look(const film *f, const calls *c)
{
    int forwards = 0;
    const stretch *last = NULL, *before = NULL;
    for (int i = 0; i < c->count; i++) {
        const stretch *one = &c->stretch[i];
        if (!is_forward(one, f->ranks))
            continue;
        forwards++;
        (void)printf("%-14s %7d %9lu %9lu %9lu  %s\n", f->name, c->process, one->launches,
                     one->exchanges, one->loads, one->ended_by);
        if (f->ranks > 1 && one->loads > 0)
            fail_msg("%s: a forward loads %lu kernels", f->name, one->loads);
        before = last;
        last = one;
    }
    if (c->taken_late > 0)
        fail_msg("%s: %lu pieces of memory, streams or events were taken after the first launch",
                 f->name, c->taken_late);
    if (f->ranks > 1 && (forwards != f->forwards || last->launches != before->launches ||
                         last->exchanges != before->exchanges))
        fail_msg("%s: want %d forwards that block at their end, the last two alike, found %d",
                 f->name, f->forwards, forwards);
    return forwards;
}

static const film films[] = {
    {"alone", "win=1", "3", 1, 1, 1, 0},         {"alone, longer", "win=1", "5", 1, 1, 1, 0},
    {"ring, staged", "ring=2", "3", 2, 1, 1, 3}, {"uly, staged", "uly=2", "3", 2, 1, 0, 3},
    {"tp, staged", "tp=2", "3", 2, 1, 0, 4}, /* the tables of noise levels are computed together */
    {"ring, NCCL", "ring=2", "3", 2, 2, 0, 3},   {"uly, NCCL", "uly=2", "3", 2, 2, 0, 3},
    {"tp, NCCL", "tp=2", "3", 2, 2, 0, 4},
};

static void the_host_waits_at_a_forwards_end(void **state)
{
    static calls first, second;
    int forwards[sizeof films / sizeof *films];
    (void)state;
    (void)printf("%-14s %7s %9s %9s %9s  %s\n", "film", "process", "launches", "exchanges", "loads",
                 "what blocks at the end");
    for (size_t i = 0; i < sizeof films / sizeof *films; i++) {
        if (films[i].devices > PROGRAM_DEVICES)
            continue;
        make(&films[i]);
        char *log = run_text(scratch_path(&s, "calls.log"));
        assert_non_null(log);
        read_calls(log, -1, &first);
        forwards[i] = look(&films[i], &first);
        if (films[i].ranks == 2) {
            read_calls(log, first.process, &second);
            (void)look(&films[i], &second);
        }
        free(log);
    }
    /* Alone it is told by two more evaluations, each with one more call that blocks. */
    assert_int_equal(forwards[1], forwards[0] + 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_host_waits_at_a_forwards_end)};
    return cmocka_run_group_tests_name("calls", tests, program_setup, scratch_teardown);
}

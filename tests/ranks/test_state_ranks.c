/* test_state_ranks.c - steps are kept, and gone on from, on any ranks and any mesh.
 * Goal: a run that is stopped after every single step, and goes on each time on another mesh, ends
 * with the undisturbed run's bits, in every mode, whether all ranks see RUN or rank 0 alone; a disk
 * that takes nothing costs steps that count, and no bit; what is kept is what the last steps need.
 * Method: the nano model with --deterministic; a stop that is asked for from the first step on.
 * Ranks: as launched; meshes with more are left out. Needs: tests/parity/nano, /tmp. */
#include "tests/support/denoise.h"
#include "tests/support/denoise_modes.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "base/stop.h"

static const struct {
    int of;    /* a row of denoise_modes */
    int steps; /* of all passes and chunks; 0: as many as there are */
    int files; /* of the last commit on win=2 */
} modes[] = {
    {DENOISE_SINGLE, 3, 1},        {DENOISE_WINDOWS, 3, 2}, {DENOISE_DITHERED_CUT_ANCHORS, 3, 2},
    {DENOISE_EXTEND_ANCHOR, 9, 3}, {DENOISE_REFINE, 0, 2},
};
enum { MODES = sizeof modes / sizeof *modes, STEPS = 4, JOB = 0x5eed };

/* Each step of a chain on the next of them. */
static const char *const meshes[] = {"win=2", "tp=2", "win=3", "win=1", "ring=2", "win=2,tp=2"};
enum { MESHES = sizeof meshes / sizeof *meshes };

static lt_model *nano;
static XXH64_hash_t wanted[MODES];
static char base[64], mine[96]; /* rank 0's folder, and the one that this rank stands in */

static int steps_of(const lt_plan *plan)
{
    const int n = lt_denoise_steps(nano, plan, 0);
    WANT(n > 0);
    return n;
}

/* ---- RUN ---- */

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info;
    (void)kind;
    (void)where;
    return remove(path);
}

static void run_new(void)
{
    OK(lt_barrier(world));
    if (lt_group_rank(world) == 0) {
        (void)nftw("run", remove_one, 8, FTW_DEPTH | FTW_PHYS);
        WANT(mkdir("run", 0777) == 0);
    }
    OK(lt_barrier(world));
}

/* Rank 0 alone stands in the folder that has RUN, or all do. */
static void all_see(int all)
{
    WANT(chdir(all ? base : mine) == 0);
    OK(lt_barrier(world));
}

static int count_in_state(const char *ending)
{
    int n = 0;
    DIR *d = opendir("run/state");
    if (d == NULL)
        stop("run/state", strerror(errno), __LINE__);
    for (const struct dirent *e = readdir(d); e != NULL; e = readdir(d)) {
        const size_t k = strlen(e->d_name), m = strlen(ending);
        n += k >= m && strcmp(e->d_name + k - m, ending) == 0;
    }
    (void)closedir(d);
    return n;
}

/* ---- one mode ---- */

static const struct denoise_mode *mode_of(int mode) { return &denoise_modes[modes[mode].of]; }

static lt_plan plan_of(const lt_mesh_spec *spec, int mode)
{
    return denoise_plan(nano, spec, STEPS, mode_of(mode)->shape, mode_of(mode)->asked);
}

static void undisturbed(void **state)
{
    (void)state;
    static const lt_mesh_spec one = {{1, 1, 1, 1, 1}};
    lt_group *self = group_of_one();
    for (int m = 0; m < MODES; m++) {
        const lt_plan plan = plan_of(&one, m);
        lt_clip clip = {0};
        if (modes[m].steps > 0)
            WANT(steps_of(&plan) == modes[m].steps);
        denoise_on(nano, self, &plan, &lt_backend_cpu, 1, NULL, &clip);
        wanted[m] = clip_hash(&clip);
        lt_clip_free(&clip);
    }
    lt_group_free(&self);
}

/* From the newest step on, on this mesh. Group rank 0 is world rank 0. Returns lt_denoise's. */
static lt_status go_on(lt_group *group, const lt_mesh_spec *spec, int mode, int64_t epoch,
                       lt_state_counts *counts, XXH64_hash_t *bits)
{
    const lt_plan plan = plan_of(spec, mode);
    const int root = lt_group_rank(group) == 0;
    lt_commit from = {0};
    lt_clip clip = {0};
    if (root)
        OK(lt_state_find("run", JOB, &from));
    const lt_state_settings settings = {.run = "run",
                                        .job = JOB,
                                        .epoch = epoch,
                                        .every = 1,
                                        .keep = 2,
                                        .mode = "mode",
                                        .from = &from};
    static const lt_state_settings others; /* rank 0's count */
    const lt_status st = denoise_kept(nano, group, &plan, &lt_backend_cpu, 1, NULL,
                                      root ? &settings : &others, counts, &clip);
    *bits = clip_hash(&clip);
    lt_clip_free(&clip);
    lt_commit_free(&from);
    return st;
}

/* Nothing of a mode is computed twice, nothing is left out, and no bit differs. */
static void chain(int mode, int all)
{
    XXH64_hash_t bits = 0;
    int64_t last = 0;
    run_new();
    all_see(all);
    for (int at = 0, done = 0; !done; at++) {
        const char *mesh = meshes[at % MESHES];
        lt_mesh_spec spec;
        lt_group *group = mesh_group(mesh, &spec);
        int32_t told[2] = {0, 0}; /* how it ended; the step that counts */
        if (group != NULL) {
            lt_state_counts counts = {0};
            const lt_status st = go_on(group, &spec, mode, at + 1, &counts, &bits);
            if (st != LT_OK && st != LT_ETEMP)
                stop(mesh, lt_error_text(), __LINE__);
            told[0] = (int32_t)st;
            told[1] = (int32_t)counts.last;
        }
        lt_group_free(&group);
        OK(lt_broadcast(world, 0, told, sizeof told));
        if (lt_mesh_ranks(&spec) > lt_group_size(world))
            continue;              /* left out */
        WANT(told[1] == last + 1); /* one step a run, and it counts */
        last = told[1];
        done = told[0] == LT_OK;
    }
    all_see(1);
    if (lt_group_rank(world) != 0)
        return;
    if (bits != wanted[mode])
        stop(mode_of(mode)->name, all ? "bits" : "bits, RUN at rank 0 alone", __LINE__);
    lt_commit c;
    OK(lt_state_find("run", JOB, &c));
    WANT(c.place.step == last && c.place.steps == last);
    WANT(count_in_state(".commit") == 2);
    lt_commit_free(&c);
}

/* In the place of lt_stop_check (tests/CMakeLists.txt): a stop that is always asked for would end a
 * run while it loads. Here it is asked for in the first step. */
lt_status __wrap_lt_stop_check(void);
lt_status __wrap_lt_stop_check(void) { return LT_OK; }

/* stop.h: a stop that was asked for stays asked for. Behind the tests that do without. Neither the
 * alarm nor the detector ends this process where all chains together take longer than 8 s. */
static void stopped_after_every_step(void **state)
{
    (void)state;
    lt_stop_hold(1);
    lt_stop_ends();
    lt_stop_ask(SIGTERM);
    for (int m = 0; m < MODES; m++)
        for (int all = 0; all < 2; all++)
            chain(m, all);
}

/* ---- without a stop ---- */

static void what_is_kept(void **state)
{
    (void)state;
    for (int m = 0; m < MODES; m++) {
        lt_mesh_spec spec;
        XXH64_hash_t bits = 0;
        lt_state_counts counts = {0};
        run_new();
        all_see(m % 2);
        lt_group *group = mesh_group("win=2", &spec);
        if (group != NULL) {
            OK(go_on(group, &spec, m, 1, &counts, &bits));
            WANT(bits == wanted[m]);
            const lt_plan plan = plan_of(&spec, m);
            WANT(counts.failed == 0 && counts.last == steps_of(&plan));
            WANT(counts.durable == counts.last);
            WANT(counts.written + counts.skipped == steps_of(&plan));
        }
        lt_group_free(&group);
        all_see(1);
        if (lt_group_rank(world) == 0 && lt_group_size(world) >= 2) {
            lt_commit c;
            OK(lt_state_find("run", JOB, &c));
            WANT(c.count == modes[m].files);
            WANT(counts.committed == counts.written);
            WANT(count_in_state(".commit") == (counts.committed < 2 ? (int)counts.committed : 2));
            /* of windows two steps' files; of extend each chunk's, and the last step but one's */
            WANT(count_in_state(".lt") <= 2 * modes[m].files);
            WANT(count_in_state(".e001") == 0); /* the token is gone */
            lt_commit_free(&c);
        }
        OK(lt_barrier(world));
    }
}

/* A step that is done already goes on to what was there: nothing is computed. */
static void a_finished_run_is_read(void **state)
{
    (void)state;
    for (int m = 0; m < MODES; m++) {
        static const char *const two[] = {"win=2", "win=3"};
        run_new();
        all_see(1);
        for (int i = 0; i < 2; i++) {
            lt_mesh_spec spec;
            lt_group *group = mesh_group(two[i], &spec);
            XXH64_hash_t bits = 0;
            lt_state_counts counts = {0};
            if (group != NULL) {
                OK(go_on(group, &spec, m, i + 1, &counts, &bits));
                WANT(bits == wanted[m]);
                WANT(i == 0 || counts.written == 0);
            }
            lt_group_free(&group);
            OK(lt_barrier(world));
        }
    }
}

/* `extend` beside decoding: rank 0 makes steps and their syncs without the others, who learn of
 * them at the end, and ask for no round more than rank 0 does. */
static void a_team_makes_steps_alone(void **state)
{
    (void)state;
    enum { KEPT = 2, STEPS_ALL = 1000 };
    static const int team_ranks[] = {0};
    lt_mesh_spec spec;
    run_new();
    lt_group *group = mesh_group("win=2", &spec), *team = NULL;
    if (group != NULL) {
        const lt_plan plan = plan_of(&spec, 3);
        const int root = lt_group_rank(group) == 0;
        const lt_state_settings settings = {
            .run = "run", .job = JOB, .epoch = 1, .every = KEPT, .keep = 2, .mode = "extend"};
        lt_mesh mesh;
        lt_run_state *run = NULL;
        lt_clip clip;
        OK(lt_mesh_open(group, &plan.mesh, &mesh));
        OK(lt_run_state_open(&mesh, root ? &settings : NULL, &run));
        OK(lt_group_split(group, team_ranks, 1, &team));
        OK(lt_clip_new(&plan, &clip));
        if (root) {
            lt_run_state_meet(run, team);
            lt_state_part part = {.plan = &plan, .place = {.steps = STEPS_ALL}, .clip = &clip};
            for (int s = 0; s < clip.count; s++)
                part.own[s] = clip.range[s];
            /* one that is kept, then others until it is known to be durable */
            for (int i = 0, stops = 0; i < 400 && lt_run_state_counts(run).durable != KEPT; i++) {
                part.place.step = KEPT + (i > 0 ? 2 * i - 1 : 0); /* later ones are odd */
                OK(lt_run_state_step(run, &part, 0, &stops));
                (void)nanosleep(&(struct timespec){0, 20000000}, NULL);
            }
            WANT(lt_run_state_counts(run).durable == KEPT);
            lt_run_state_meet(run, NULL);
        }
        OK(lt_run_state_finish(run, 10));
        WANT(lt_run_state_counts(run).last == KEPT);
        lt_run_state_close(&run);
        lt_clip_free(&clip);
        lt_group_free(&team);
        lt_mesh_close(&mesh);
    }
    lt_group_free(&group);
    OK(lt_barrier(world));
}

/* No room for a byte on one rank, or on all: the film is the same, and no step counts. */
static void a_full_disk_costs_no_bit(void **state)
{
    (void)state;
    struct rlimit all;
    WANT(getrlimit(RLIMIT_FSIZE, &all) == 0);
    WANT(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    for (int only = -1; only < 2; only++)
        for (int m = 1; m < MODES; m += 2) { /* windows, extend */
            lt_mesh_spec spec;
            XXH64_hash_t bits = 0;
            lt_state_counts counts = {0};
            run_new();
            all_see(1);
            lt_group *group = mesh_group("win=2", &spec);
            if (lt_group_rank(world) == only || only < 0)
                WANT(setrlimit(RLIMIT_FSIZE, &(struct rlimit){40, all.rlim_max}) == 0);
            if (group != NULL) {
                OK(go_on(group, &spec, m, 1, &counts, &bits));
                WANT(bits == wanted[m]);
                const int has_part = mode_of(m)->asked.mode != LT_MODE_EXTEND || only < 1;
                WANT(has_part ? counts.failed > 0 && counts.last == 0 : counts.last > 0);
            }
            WANT(setrlimit(RLIMIT_FSIZE, &all) == 0);
            lt_group_free(&group);
            OK(lt_barrier(world));
        }
}

int main(void)
{
    const int failed_open = ranks_open();
    if (failed_open != 0)
        return failed_open;
    if (lt_group_rank(world) == 0) {
        (void)snprintf(base, sizeof base, "/tmp/longtake-test-XXXXXX");
        WANT(mkdtemp(base) != NULL);
    }
    OK(lt_broadcast(world, 0, base, sizeof base));
    (void)snprintf(mine, sizeof mine, "%s", base);
    if (lt_group_rank(world) > 0) {
        (void)snprintf(mine, sizeof mine, "%s/rank-%d", base, lt_group_rank(world));
        WANT(mkdir(mine, 0777) == 0);
    }
    all_see(1);
    OK(lt_model_open(LT_SOURCE_DIR "/tests/parity/nano", &nano));
    const struct CMUnitTest tests[] = {cmocka_unit_test(undisturbed),
                                       cmocka_unit_test(what_is_kept),
                                       cmocka_unit_test(a_finished_run_is_read),
                                       cmocka_unit_test(a_team_makes_steps_alone),
                                       cmocka_unit_test(a_full_disk_costs_no_bit),
                                       cmocka_unit_test(stopped_after_every_step)};
    const int failed = cmocka_run_group_tests_name("state_ranks", tests, NULL, NULL);
    lt_model_close(&nano);
    WANT(chdir("/") == 0); /* no rank stands in what goes: MPI's end asks where it is */
    OK(lt_barrier(world));
    if (lt_group_rank(world) == 0 && nftw(base, remove_one, 8, FTW_DEPTH | FTW_PHYS) != 0)
        stop(base, strerror(errno), __LINE__);
    ranks_close();
    return failed;
}

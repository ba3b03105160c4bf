/* test_forward.c - the program with --device cuda: longtake_cuda.so beside it, on the stand-ins.
 * Goal: a forward of nano H3's DiT by `longtake probe dit` has the velocities of the processor, f32
 * and bf16, alone and on two ranks (ring, uly, tp), over NCCL's stand-in and staged, streams in
 * several orders; with --deterministic all of them have the same bits. A rank that is killed in a
 * film is named within 10 s; a device whose memory is too small is refused with both numbers.
 * Method: program.h; of which way the tensors went, NCCL's stand-in keeps a log. Ranks: mpirun with
 * 1 and 2. Needs: mpirun, tests/parity.
 *
 * Tolerance: f32 1e-5 of the largest value, as between backends; bf16 0.01, under what tests/parity
 * allows of that golden (0.015). */
#include "model/files/checkpoint.h"
#include "tests/emu/program.h"

#define DATA LT_SOURCE_DIR "/tests/parity/"

typedef struct forward {
    const char *name, *device, *dtype, *mesh, *seed;
    int ranks, devices, deterministic;
} forward;

static run_result run_forward(const forward *f, const char *memory)
{
    char out[512], in[512], model[512];
    const program_how how = {f->ranks, f->devices, f->seed, memory};
    (void)snprintf(out, sizeof out, "%s", scratch_path(&s, f->name));
    (void)snprintf(in, sizeof in, DATA "golden/dit_%s.safetensors", f->dtype);
    (void)snprintf(model, sizeof model, DATA "%s",
                   strcmp(f->dtype, "f32") == 0 ? "nano" : "nano-bf16");
    return program_run(&how,
                       RUN_WORDS("probe", "dit", "--model", model, "--in", in, "--out", out,
                                 "--dtype", f->dtype, "--mesh", f->mesh, "--device", f->device,
                                 "--overwrite", f->deterministic ? "--deterministic" : NULL));
}

/* A velocity of a forward that went well, the caller's to free. */
static float *velocity(const char *path, const char *name, int64_t *count)
{
    lt_checkpoint *file = NULL;
    lt_tensor_info info;
    assert_int_equal(lt_checkpoint_open(path, NULL, &file), LT_OK);
    assert_int_equal(lt_checkpoint_find(file, name, &info), 1);
    lt_dims dims = {.ndim = info.ndim};
    *count = 1;
    for (int i = 0; i < info.ndim; i++)
        *count *= dims.dim[i] = info.dim[i];
    float *x = calloc((size_t)*count, sizeof *x);
    assert_non_null(x);
    assert_int_equal(lt_checkpoint_read(file, name, dims, lt_slice_whole(dims), LT_F32, x), LT_OK);
    lt_checkpoint_close(&file);
    return x;
}

/* How far two forwards are apart, of the first one's largest value. */
static double apart(const char *a, const char *b, const char *name)
{
    char path[2][512];
    int64_t count[2];
    double worst = 0, largest = 0;
    (void)snprintf(path[0], sizeof path[0], "%s", scratch_path(&s, a));
    (void)snprintf(path[1], sizeof path[1], "%s", scratch_path(&s, b));
    float *x = velocity(path[0], name, &count[0]), *y = velocity(path[1], name, &count[1]);
    assert_int_equal(count[0], count[1]);
    for (int64_t i = 0; i < count[0]; i++) {
        const double d = fabs((double)x[i] - (double)y[i]);
        largest = fmax(largest, fabs((double)x[i]));
        worst = d <= worst ? worst : d; /* so written, NaN stays */
    }
    free(x);
    free(y);
    return worst / largest;
}

/* Over NCCL where each rank has a device of its own: a group to connect, and more; else none. */
static void check_way(const forward *f)
{
    char *log = run_text(scratch_path(&s, "nccl.log")); /* a line a rank */
    if (PROGRAM_DEVICES == 1)
        return;
    const int over_nccl = f->devices > 1, of_device = strcmp(f->device, "cuda") == 0;
    if (!of_device) {
        assert_null(log);
        return;
    }
    assert_non_null(log);
    assert_int_equal(program_count(log, "\"groups\": "), f->ranks);
    assert_int_equal(program_count(log, "\"groups\": 0,"), over_nccl ? 0 : f->ranks);
    assert_int_equal(program_count(log, "\"groups\": 1,"), 0);
    assert_int_equal(program_count(log, "\"empty\": 0,"), f->ranks);
    free(log);
}

static void make(const forward *f)
{
    const char *path = scratch_path(&s, "nccl.log");
    (void)unlink(path);
    (void)setenv("LT_EMU_NCCL_LOG", path, 1);
    run_result r = run_forward(f, NULL);
    (void)unsetenv("LT_EMU_NCCL_LOG");
    if (r.code != 0)
        fail_msg("%s: exit code %d: %s", f->name, r.code, r.err);
    run_free(&r);
    check_way(f);
}

static const struct {
    forward f;
    const char *like;
    double tolerance;
} forwards[] = {
    {{"cpu_f32", "cpu", "f32", "win=1", "0", 1, 1, 0}, NULL, 0},
    {{"f32", "cuda", "f32", "win=1", "0", 1, 1, 0}, "cpu_f32", 1e-5},
    {{"f32_late", "cuda", "f32", "win=1", "1", 1, 1, 0}, "f32", 0}, /* in another order */
    {{"f32_ring", "cuda", "f32", "ring=2", "2", 2, 1, 0}, "cpu_f32", 1e-5},
    {{"f32_uly", "cuda", "f32", "uly=2", "3", 2, 1, 0}, "cpu_f32", 1e-5},
    {{"f32_tp", "cuda", "f32", "tp=2", "4", 2, 1, 0}, "cpu_f32", 1e-5},
    {{"f32_ring_nccl", "cuda", "f32", "ring=2", "11", 2, 2, 0}, "f32_ring", 0},
    {{"f32_uly_nccl", "cuda", "f32", "uly=2", "12", 2, 2, 0}, "f32_uly", 0},
    {{"f32_tp_nccl", "cuda", "f32", "tp=2", "13", 2, 2, 0}, "f32_tp", 0},
    {{"cpu_bf16", "cpu", "bf16", "win=1", "0", 1, 1, 0}, NULL, 0},
    {{"bf16", "cuda", "bf16", "win=1", "5", 1, 1, 0}, "cpu_bf16", 0.01},
    {{"bf16_ring", "cuda", "bf16", "ring=2", "6", 2, 1, 0}, "cpu_bf16", 0.01},
    {{"bf16_uly", "cuda", "bf16", "uly=2", "14", 2, 1, 0}, "cpu_bf16", 0.01},
    {{"bf16_tp", "cuda", "bf16", "tp=2", "7", 2, 1, 0}, "cpu_bf16", 0.01},
    {{"bf16_ring_nccl", "cuda", "bf16", "ring=2", "0", 2, 2, 0}, "bf16_ring", 0},
    {{"bf16_uly_nccl", "cuda", "bf16", "uly=2", "15", 2, 2, 0}, "bf16_uly", 0},
    {{"bf16_tp_nccl", "cuda", "bf16", "tp=2", "16", 2, 2, 0}, "bf16_tp", 0},
    {{"same", "cuda", "bf16", "win=1", "0", 1, 1, 1}, "cpu_bf16", 0.01},
    {{"same_ring", "cuda", "bf16", "ring=2", "8", 2, 1, 1}, "same", 0},
    {{"same_uly", "cuda", "bf16", "uly=2", "9", 2, 1, 1}, "same", 0},
    {{"same_tp", "cuda", "bf16", "tp=2", "10", 2, 1, 1}, "same", 0},
    {{"same_ring_nccl", "cuda", "bf16", "ring=2", "17", 2, 2, 1}, "same", 0},
    {{"same_uly_nccl", "cuda", "bf16", "uly=2", "18", 2, 2, 1}, "same", 0},
    {{"same_tp_nccl", "cuda", "bf16", "tp=2", "19", 2, 2, 1}, "same", 0},
    {{"same_f32", "cuda", "f32", "win=1", "0", 1, 1, 1}, "cpu_f32", 1e-5},
    {{"same_f32_ring", "cuda", "f32", "ring=2", "20", 2, 2, 1}, "same_f32", 0},
    {{"same_f32_uly", "cuda", "f32", "uly=2", "21", 2, 2, 1}, "same_f32", 0},
    {{"same_f32_tp", "cuda", "f32", "tp=2", "22", 2, 2, 1}, "same_f32", 0},
};

static void a_forward_is_the_processors(void **state)
{
    static const char *const velocities[] = {"sample", "audio_sample"};
    (void)state;
    (void)printf("%-14s %-10s %-14s %9s %9s\n", "forward", "like", "of", "apart", "allowed");
    for (size_t i = 0; i < sizeof forwards / sizeof *forwards; i++) {
        if (forwards[i].f.devices > PROGRAM_DEVICES)
            continue;
        make(&forwards[i].f);
        for (size_t v = 0; v < 2 && forwards[i].like != NULL; v++) {
            const double worst = apart(forwards[i].like, forwards[i].f.name, velocities[v]);
            (void)printf("%-14s %-10s %-14s %9.2g %9.2g\n", forwards[i].f.name, forwards[i].like,
                         velocities[v], worst, forwards[i].tolerance);
            if (!(worst <= forwards[i].tolerance))
                fail_msg("%s: %s is %.3g of the largest value from %s, allowed %.3g",
                         forwards[i].f.name, velocities[v], worst, forwards[i].like,
                         forwards[i].tolerance);
        }
    }
}

/* When the events of a run were last written: the step before the one in which its rank died. */
static double since_last_event(const char *run)
{
    char path[600];
    struct stat info;
    struct timespec now;
    (void)snprintf(path, sizeof path, "%s/events.ndjson", run);
    assert_int_equal(stat(path, &info), 0);
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (double)(now.tv_sec - info.st_mtim.tv_sec) +
           1e-9 * (double)(now.tv_nsec - info.st_mtim.tv_nsec);
}

/* Rank 1 dies as a step begins, rank 0 sits in a sync: over NCCL its device is in an exchange that
 * never ends, staged its comm thread is. */
static void a_killed_rank_is_named(void **state)
{
    enum { SECONDS_MAX = 10 };
    (void)state;
    for (int devices = 1; devices <= PROGRAM_DEVICES; devices++) {
        const program_how how = {2, devices, "0", NULL};
        char film[512], run[512];
        (void)snprintf(film, sizeof film, "%s/killed%d.mp4", s.folder, devices);
        (void)snprintf(run, sizeof run, "%s/killed%d.run", s.folder, devices);
        (void)setenv("LONGTAKE_FAULT", "1:2:kill", 1);
        run_result r = program_run(&how, RUN_WORDS("render", "-p", "A ball.", "--frames", "5",
                                                   "--size", "32x32", "--steps", "4", "--dtype",
                                                   "f32", "--model", DATA "nano", "--mesh",
                                                   "ring=2", "--device", "cuda", "-o", film));
        const double seconds = since_last_event(run);
        (void)unsetenv("LONGTAKE_FAULT");
        static const char *const says[] = {"rank 1 on ", " is lost (its process is gone)",
                                           " at step 2 ", " ring_attention (ring, call "};
        assert_int_equal(program_count(r.err, "longtake: error: "), 1);
        for (size_t i = 0; i < sizeof says / sizeof *says; i++)
            if (strstr(r.err, says[i]) == NULL)
                fail_msg("%d devices: want '%s', found %s", devices, says[i], r.err);
        print_message("named, and all ended, %.1f s after the step before\n", seconds);
        assert_true(seconds < SECONDS_MAX);
        run_free(&r);
    }
}

static void too_little_memory_is_refused(void **state)
{
    const forward f = {"little", "cuda", "f32", "win=1", "0", 1, 1, 0};
    (void)state;
    run_result r = run_forward(&f, "100"); /* less than cuBLASLt's workspace and ours */
    if (r.code == 0 || strstr(r.err, "probe dit: want more than 0.") == NULL ||
        strstr(r.err, "it has 0.10 GiB left") == NULL)
        fail_msg("exit code %d, said: %s", r.code, r.err);
    run_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_forward_is_the_processors),
        cmocka_unit_test(a_killed_rank_is_named),
        cmocka_unit_test(too_little_memory_is_refused),
    };
    return cmocka_run_group_tests_name("forward", tests, program_setup, scratch_teardown);
}

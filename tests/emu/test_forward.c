/* test_forward.c - the program with --device cuda: longtake_cuda.so beside it, on the stand-ins.
 * Goal: a forward of nano H3's DiT by `longtake probe dit` has the velocities of the processor, f32
 * and bf16, alone and on two ranks over staged exchanges (ring, uly, tp), streams in several
 * orders; with --deterministic the meshes have the same bits; a device whose memory is too small is
 * refused with both numbers. Method: a copy of the program with a copy of the part that ships,
 * whose sentence on what it lacks (kernels/cuda/entry.c) is made empty, for it is not used
 * otherwise; LD_LIBRARY_PATH names the stand-ins. Ranks: mpirun with 1 and 2. Needs: mpirun,
 * tests/parity.
 *
 * Tolerance: f32 1e-5 of the largest value, as between backends; bf16 0.01, under what tests/parity
 * allows of that golden (0.015). */
#include "model/files/checkpoint.h"
#include "tests/support/check.h"
#include "tests/support/run.h"
#include "tests/support/the_scratch.h"

#define DATA LT_SOURCE_DIR "/tests/parity/"

static char *read_all(const char *path, size_t *bytes)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    *bytes = (size_t)ftell(f);
    rewind(f);
    char *data = malloc(*bytes);
    assert_true(data != NULL && fread(data, 1, *bytes, f) == *bytes);
    (void)fclose(f);
    return data;
}

static void install_file(const char *from, const char *name, int is_part)
{
    static const char sentence[] = "a plan of its memory"; /* entry.c */
    size_t bytes = 0;
    char *data = read_all(from, &bytes);
    if (is_part) {
        char *at = memmem(data, bytes, sentence, sizeof sentence - 1);
        if (at != NULL) /* none: it lacks nothing any more */
            *at = '\0';
    }
    scratch_write(&s, name, data, bytes);
    assert_int_equal(chmod(scratch_path(&s, name), 0755), 0);
    free(data);
}

static int installed_setup(void **state)
{
    if (scratch_setup(state) != 0)
        return -1;
    install_file(LT_PROGRAM, "longtake", 0);
    install_file(LT_EMU_PART, "longtake_cuda.so", 1);
    (void)setenv("LD_LIBRARY_PATH", LT_EMU_LIBRARIES, 1);
    return 0;
}

typedef struct forward {
    const char *name, *device, *dtype, *mesh, *seed;
    int ranks, deterministic;
} forward;

static run_result run_forward(const forward *f, const char *memory_mib)
{
    enum { LIMIT_S = 250 };
    const char *argv[RUN_WORDS_MAX];
    char program[512], out[512], in[512], model[512];
    const int is_f32 = strcmp(f->dtype, "f32") == 0;
    (void)snprintf(program, sizeof program, "%s", scratch_path(&s, "longtake"));
    (void)snprintf(out, sizeof out, "%s", scratch_path(&s, f->name));
    (void)snprintf(in, sizeof in, DATA "golden/dit_%s.safetensors", f->dtype);
    (void)snprintf(model, sizeof model, DATA "%s", is_f32 ? "nano" : "nano-bf16");
    (void)setenv("LT_EMU_SEED", f->seed, 1);
    (void)setenv("LT_EMU_MEMORY", memory_mib, 1); /* probe asks for arenas that no card has */
    int n = run_launcher(f->ranks, argv);
    const char *const words[] = {program, "probe",    "dit",     "--model",    model,    "--in",
                                 in,      "--out",    out,       "--dtype",    f->dtype, "--mesh",
                                 f->mesh, "--device", f->device, "--overwrite"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        argv[n++] = words[i];
    if (f->deterministic)
        argv[n++] = "--deterministic";
    argv[n] = NULL;
    return run_argv(&s, argv, LIMIT_S);
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

static void make(const forward *f)
{
    run_result r = run_forward(f, "1000000");
    if (r.code != 0)
        fail_msg("%s: exit code %d: %s", f->name, r.code, r.err);
    run_free(&r);
}

static const struct {
    forward f;
    const char *like;
    double tolerance;
} forwards[] = {
    {{"cpu_f32", "cpu", "f32", "win=1", "0", 1, 0}, NULL, 0},
    {{"f32", "cuda", "f32", "win=1", "0", 1, 0}, "cpu_f32", 1e-5},
    {{"f32_late", "cuda", "f32", "win=1", "1", 1, 0}, "f32", 0}, /* in another order */
    {{"f32_ring", "cuda", "f32", "ring=2", "2", 2, 0}, "cpu_f32", 1e-5},
    {{"f32_uly", "cuda", "f32", "uly=2", "3", 2, 0}, "cpu_f32", 1e-5},
    {{"f32_tp", "cuda", "f32", "tp=2", "4", 2, 0}, "cpu_f32", 1e-5},
    {{"cpu_bf16", "cpu", "bf16", "win=1", "0", 1, 0}, NULL, 0},
    {{"bf16", "cuda", "bf16", "win=1", "5", 1, 0}, "cpu_bf16", 0.01},
    {{"bf16_ring", "cuda", "bf16", "ring=2", "6", 2, 0}, "cpu_bf16", 0.01},
    {{"bf16_tp", "cuda", "bf16", "tp=2", "7", 2, 0}, "cpu_bf16", 0.01},
    {{"same", "cuda", "bf16", "win=1", "0", 1, 1}, "cpu_bf16", 0.01},
    {{"same_ring", "cuda", "bf16", "ring=2", "8", 2, 1}, "same", 0},
    {{"same_uly", "cuda", "bf16", "uly=2", "9", 2, 1}, "same", 0},
    {{"same_tp", "cuda", "bf16", "tp=2", "10", 2, 1}, "same", 0},
};

static void a_forward_is_the_processors(void **state)
{
    static const char *const velocities[] = {"sample", "audio_sample"};
    (void)state;
    (void)printf("%-12s %-10s %-14s %9s %9s\n", "forward", "like", "of", "apart", "allowed");
    for (size_t i = 0; i < sizeof forwards / sizeof *forwards; i++) {
        make(&forwards[i].f);
        for (size_t v = 0; v < 2 && forwards[i].like != NULL; v++) {
            const double worst = apart(forwards[i].like, forwards[i].f.name, velocities[v]);
            (void)printf("%-12s %-10s %-14s %9.2g %9.2g\n", forwards[i].f.name, forwards[i].like,
                         velocities[v], worst, forwards[i].tolerance);
            if (!(worst <= forwards[i].tolerance))
                fail_msg("%s: %s is %.3g of the largest value from %s, allowed %.3g",
                         forwards[i].f.name, velocities[v], worst, forwards[i].like,
                         forwards[i].tolerance);
        }
    }
}

static void too_little_memory_is_refused(void **state)
{
    const forward f = {"little", "cuda", "f32", "win=1", "0", 1, 0};
    (void)state;
    run_result r = run_forward(&f, "300000"); /* the first arena fits, the second does not */
    if (r.code == 0 || strstr(r.err, "want 256.00 GiB, found ") == NULL ||
        strstr(r.err, " of 292.97 GiB free") == NULL)
        fail_msg("exit code %d, said: %s", r.code, r.err);
    run_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_forward_is_the_processors),
        cmocka_unit_test(too_little_memory_is_refused),
    };
    return cmocka_run_group_tests_name("forward", tests, installed_setup, scratch_teardown);
}

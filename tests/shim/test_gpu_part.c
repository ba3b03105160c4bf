/* test_gpu_part.c - longtake_cuda.so as the program finds it, and a film on it.
 * Goal: a plug-in that is not there, has no driver, is of another version, has holes, finds no
 * device or says that it is not complete is refused in one line, with exit code 69 for --device
 * cuda and a film on the processor for auto; and the program, with the kernels of kernels/cuda
 * behind that plug-in (built for the host), makes the film that it makes on cpu: alone under
 * several orders of streams and threads, on two ranks through the host and over NCCL's stand-in, to
 * the same bits; a killed rank is named. Method: a copy of the program with a plug-in beside it.
 * Ranks: mpirun with 1 and 2. Needs: models/demo, mpirun.
 *
 * Tolerance of latents: 1e-4 of the largest, as between meshes (film/test_ranks_film). */
#include "tests/support/film.h"
#include "tests/support/run.h"
#include "tests/support/the_scratch.h"

static const double latents_tol = 1e-4;

static void copy_file(const char *from, const char *to)
{
    char block[65536];
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    assert_true(in != NULL && out != NULL);
    for (size_t n; (n = fread(block, 1, sizeof block, in)) > 0;)
        assert_int_equal(fwrite(block, 1, n, out), n);
    assert_int_equal(fclose(in), 0);
    assert_int_equal(fclose(out), 0);
    assert_int_equal(chmod(to, 0755), 0);
}

/* The program in a folder of its own, with a plug-in beside it (NULL: none). */
static void install(const char *folder, const char *part)
{
    char path[512], from[512];
    scratch_folder(&s, folder);
    (void)snprintf(path, sizeof path, "%s/%s/longtake", s.folder, folder);
    copy_file(LT_PROGRAM, path);
    if (part == NULL)
        return;
    (void)snprintf(from, sizeof from, LT_TEST_PARTS "/%s/longtake_cuda.so", part);
    (void)snprintf(path, sizeof path, "%s/%s/longtake_cuda.so", s.folder, folder);
    copy_file(from, path);
}

static const char *libraries; /* folders for the loader; NULL: the driver's alone */

/* The installed program; with a driver's library or without. */
static run_result run_installed(const char *folder, int ranks, int driver, const char *const *words)
{
    enum { LIMIT_S = 600 };
    const char *argv[RUN_WORDS_MAX];
    char program[512];
    int n = run_launcher(ranks, argv);
    (void)snprintf(program, sizeof program, "%s/%s/longtake", s.folder, folder);
    const char *here = libraries != NULL ? libraries : LT_TEST_PARTS "/shim_driver";
    (void)setenv("LD_LIBRARY_PATH", driver ? here : "", 1);
    argv[n++] = program;
    for (int i = 0; words[i] != NULL; i++)
        argv[n++] = words[i];
    argv[n] = NULL;
    return run_argv(&s, argv, LIMIT_S);
}

static int lines_of(const char *text, const char *with)
{
    int n = 0;
    for (const char *at = strstr(text, with); at != NULL; at = strstr(at + 1, with))
        n++;
    return n;
}

static const struct {
    const char *reason, *folder, *part, *wrong; /* wrong: LT_TEST_PART */
    int driver;
    const char *says; /* of --device cuda */
} refusals[] = {
    {"a build without one", "bare", NULL, "", 1, "this build has no GPU part (longtake_cuda.so)"},
    {"a node without a card", "part", "wrong_part", "", 0, "no driver (libcuda.so.1)"},
    {"not a plug-in of ours", "part", "wrong_part", "nothing", 1, "found nothing"},
    {"another interface", "part", "wrong_part", "api", 1, "interfaces 5 and"},
    {"another backend's table", "part", "wrong_part", "backend_api", 1, "want version 0.1.0"},
    {"ops of another size", "part", "wrong_part", "op", 1, "ops of"},
    {"another version", "part", "wrong_part", "version", 1, "found version 0.0.1"},
    {"a table with holes", "part", "wrong_part", "holes", 1, "backend cuda lacks: memory"},
    {"no device", "part", "wrong_part", "devices", 1, "no CUDA device: a reason of a test"},
    {"not complete", "part", "wrong_part", "lacks", 1, "it lacks a thing of a test"},
};

static void refuses_what_cannot_be_used(void **state)
{
    (void)state;
    install("bare", NULL);
    install("part", "wrong_part");
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        (void)setenv("LT_TEST_PART", refusals[i].wrong, 1);
        const int none = refusals[i].part == NULL;
        run_result r = run_installed(refusals[i].folder, 1, refusals[i].driver,
                                     RUN_WORDS("render", "-p", "a ball", "--dry-run", "--frames",
                                               "5", "--model", LT_SOURCE_DIR "/models/demo",
                                               "--device", "cuda", "-o", "/tmp/none.mp4"));
        if (r.code != 69 || strstr(r.err, refusals[i].says) == NULL)
            fail_msg("%s: exit code %d, want '%s', found: %s", refusals[i].reason, r.code,
                     refusals[i].says, r.err);
        assert_int_equal(lines_of(r.err, "error: device cuda: "), 1);
        run_free(&r);
        r = run_installed(refusals[i].folder, 1, refusals[i].driver,
                          RUN_WORDS("render", "-p", "a ball", "--dry-run", "--frames", "5",
                                    "--model", LT_SOURCE_DIR "/models/demo", "-o",
                                    "/tmp/none.mp4"));
        if (r.code != 0 || lines_of(r.err, ": on the processor") != !none)
            fail_msg("%s: auto: exit code %d, said: %s", refusals[i].reason, r.code, r.err);
        run_free(&r);
        r = run_installed(refusals[i].folder, 1, refusals[i].driver, RUN_WORDS("doctor"));
        assert_int_equal(r.code, 0);
        if (!none && strstr(r.out, refusals[i].says) == NULL)
            fail_msg("%s: doctor says: %s", refusals[i].reason, r.out);
        run_free(&r);
    }
}

/* A film of 5 frames into RUN/latents.h5. */
static void make_film(const char *folder, int ranks, const char *mesh, const char *device,
                      const char *name, latents *out)
{
    char output[64], run[64];
    (void)snprintf(output, sizeof output, "%s.mp4", name);
    (void)snprintf(run, sizeof run, "%s.run", name);
    char *path = strdup(scratch_path(&s, output));
    assert_non_null(path);
    run_result r = run_installed(
        folder, ranks, 1,
        RUN_WORDS("render", "-p", "A large red ball.", "--frames", "5", "--size", "32x32",
                  "--steps", "2", "--seed", "3", "--dtype", "f32", "--model",
                  LT_SOURCE_DIR "/models/demo", "--mesh", mesh, "--device", device, "-o", path));
    if (r.code != 0)
        fail_msg("%s: exit code %d: %s", name, r.code, r.err);
    run_free(&r);
    free(path);
    latents_read(scratch_path(&s, run), out);
}

/* Ranks with a device each: over NCCL's stand-in (tests/emu/nccl); else through the host. */
static const struct {
    const char *name, *mesh, *seed, *devices;
    int ranks, same_as; /* bits of that row; -1: of none */
    const char *axis, *exchange;
} films[] = {
    {"in_order", "win=1", "0", "1", 1, -1, NULL, NULL},
    {"late", "win=1", "1", "1", 1, 0, NULL, NULL}, /* queues run only when something needs them */
    {"staged", "ring=2", "2", "1", 2, -1, "ring", "staged"}, /* or as events allow */
    {"ring", "ring=2", "1", "2", 2, 2, "ring", "nccl"},
    {"uly", "uly=2", "3", "2", 2, -1, "uly", "nccl"},
};
enum { FILMS = sizeof films / sizeof *films };

/* What the manifest of a run says of devices: which, and how tensors went between ranks. */
static void check_manifest(const char *name, int is_cuda, const char *axis, const char *exchange)
{
    char run[64], path[512];
    (void)snprintf(run, sizeof run, "%s.run/manifest.json", name);
    (void)snprintf(path, sizeof path, "%s", scratch_path(&s, run));
    json_t *manifest = json_load_file(path, 0, NULL);
    const json_t *gpu = json_object_get(manifest, "gpu");
    const json_t *exchanges = json_object_get(manifest, "exchanges");
    const json_t *dit = json_object_get(exchanges, "dit");
    assert_true(json_is_object(exchanges));
    if (!is_cuda) {
        assert_true(json_is_null(gpu));
        json_decref(manifest);
        return;
    }
    const char *devices = json_string_value(json_object_get(gpu, "devices"));
    const char *nccl = json_string_value(json_object_get(gpu, "NCCL"));
    const char *driver = json_string_value(json_object_get(gpu, "driver"));
    assert_true(devices != NULL && strstr(devices, "the host, as a device (sm_90)") != NULL);
    assert_true(nccl != NULL && strncmp(nccl, "NCCL 2.", 7) == 0);
    assert_string_equal(driver, "for CUDA 13.0; this GPU part calls 13.0");
    if (axis == NULL)
        assert_int_equal(json_object_size(exchanges), 0);
    else
        assert_string_equal(json_string_value(json_object_get(dit, axis)), exchange);
    json_decref(manifest);
}

static void makes_the_film_of_the_processor(void **state)
{
    (void)state;
    latents cpu, got[FILMS];
    install("shim", "shim_part");
    (void)setenv("LT_EMU_NCCL_LOG", scratch_path(&s, "nccl.log"), 1);
    (void)setenv("LT_SHIM_SEED", "0", 1);
    make_film("shim", 1, "win=1", "cpu", "cpu", &cpu);
    check_manifest("cpu", 0, NULL, NULL);
    for (size_t i = 0; i < FILMS; i++) {
        (void)setenv("LT_SHIM_SEED", films[i].seed, 1);
        (void)setenv("LT_SHIM_DEVICES", films[i].devices, 1);
        make_film("shim", films[i].ranks, films[i].mesh, "cuda", films[i].name, &got[i]);
        check_manifest(films[i].name, 1, films[i].axis, films[i].exchange);
        const double apart = latents_differ(&cpu, &got[i]);
        if (!(apart <= latents_tol))
            fail_msg("%s: latents differ by %.3g of the largest, allowed %.3g", films[i].name,
                     apart, latents_tol);
        const int same_as = films[i].same_as;
        if (same_as >= 0 && latents_differ(&got[same_as], &got[i]) != 0)
            fail_msg("%s: other bits than %s", films[i].name, films[same_as].name);
    }
    char *log = run_text(scratch_path(&s, "nccl.log")); /* a line a rank */
    assert_non_null(log);
    assert_int_equal(lines_of(log, "\"groups\": 0,"), 2 + 2);
    assert_int_equal(lines_of(log, "\"groups\": "), 2 + 3 * 2);
    assert_int_equal(lines_of(log, "\"empty\": 0,"), 2 + 3 * 2);
    free(log);
    (void)unsetenv("LT_EMU_NCCL_LOG");
    for (size_t i = 0; i < FILMS; i++)
        latents_free(&got[i]);
    latents_free(&cpu);
}

/* bf16, with cuDNN's stand-in where the loader finds it: all of the DiT's attention by plans that
 * were made before work, but with --deterministic. Tolerance: what is rounded to bf16 where moves
 * these latents by 0.1 of the largest after two steps (cpu against our own kernels: printed); twice
 * that. */
static const struct {
    const char *name, *device, *mesh, *more; /* more: another option */
    int ranks;
    const char *log; /* of each rank: "": the library was not opened to compute */
} planned[] = {
    {"cpu_bf16", "cpu", "win=1", NULL, 1, NULL},
    {"own", "cuda", "win=1", NULL, 1, NULL}, /* one line, and our kernel */
    {"dnn", "cuda", "win=1", "--no-tags", 1, "plans 2, runs 12,"},
    {"dnn_ring", "cuda", "ring=2", "--no-tags", 2, "plans "},
    {"dnn_fixed", "cuda", "win=1", "--deterministic", 1, "plans 0, runs 0"},
};
enum { PLANNED = sizeof planned / sizeof *planned };
static const double planned_tol = 0.2;

static void film_with_cudnn(int i, latents *out)
{
    char output[64], run[64], dtype[] = "bf16";
    (void)snprintf(output, sizeof output, "%s.mp4", planned[i].name);
    (void)snprintf(run, sizeof run, "%s.run", planned[i].name);
    char *path = strdup(scratch_path(&s, output));
    assert_non_null(path);
    char none[512];
    (void)snprintf(none, sizeof none, LT_TEST_PARTS "/shim_driver:%s/none", s.folder);
    libraries =
        planned[i].more != NULL ? LT_TEST_PARTS "/shim_driver:" LT_TEST_PARTS "/shim_cudnn" : none;
    run_result r =
        run_installed("planned", planned[i].ranks, 1,
                      RUN_WORDS("render", "-p", "A large red ball.", "--frames", "5", "--size",
                                "32x32", "--steps", "2", "--seed", "3", "--dtype", dtype, "--model",
                                LT_SOURCE_DIR "/models/demo", "--mesh", planned[i].mesh, "--device",
                                planned[i].device, "-o", path, planned[i].more));
    libraries = NULL;
    if (r.code != 0)
        fail_msg("%s: exit code %d: %s", planned[i].name, r.code, r.err);
    run_free(&r);
    free(path);
    latents_read(scratch_path(&s, run), out);
}

/* Two shots of other lengths, with other texts: four shapes, all of them in the list. */
static void plans_for_each_shot(void)
{
    static const char story[] = "shots:\n"
                                "  - {frames: 5, prompt: A red ball.}\n"
                                "  - {frames: 9, prompt: A large red ball drops on a floor.}\n";
    FILE *f = fopen(scratch_path(&s, "story.yaml"), "w");
    assert_true(f != NULL && fputs(story, f) > 0 && fclose(f) == 0);
    char *output = strdup(scratch_path(&s, "story.mp4"));
    assert_non_null(output);
    (void)setenv("LT_EMU_CUDNN_LOG", scratch_path(&s, "story.log"), 1);
    run_result r =
        run_installed("planned", 1, 1,
                      RUN_WORDS("render", scratch_path(&s, "story.yaml"), "--size", "32x32",
                                "--steps", "2", "--dtype", "bf16", "--model",
                                LT_SOURCE_DIR "/models/demo", "--device", "cuda", "-o", output));
    if (r.code != 0)
        fail_msg("two shots: exit code %d: %s", r.code, r.err);
    run_free(&r);
    char *log = run_text(scratch_path(&s, "story.log"));
    if (log == NULL || lines_of(log, "plans 4, runs 24,") != 1)
        fail_msg("two shots: want 4 plans, found %s", log != NULL ? log : "nothing");
    free(log);
    free(output);
}

static void doctor_says(const char *what)
{
    run_result r = run_installed("planned", 1, 1, RUN_WORDS("doctor"));
    if (r.code != 0 || strstr(r.out, what) == NULL)
        fail_msg("doctor: want '%s', found %s", what, r.out);
    run_free(&r);
}

static void attends_by_plans(void **state)
{
    (void)state;
    latents got[PLANNED];
    install("planned", "shim_part");
    scratch_folder(&s, "none"); /* a library that cannot be opened: the system's is behind it */
    FILE *broken = fopen(scratch_path(&s, "none/libcudnn.so.9"), "w");
    assert_true(broken != NULL && fputs("not a library\n", broken) > 0 && fclose(broken) == 0);
    (void)setenv("LT_SHIM_SEED", "1", 1);
    (void)setenv("LT_SHIM_DEVICES", "2", 1);
    for (int i = 0; i < PLANNED; i++) {
        (void)unlink(scratch_path(&s, "cudnn.log"));
        (void)setenv("LT_EMU_CUDNN_LOG", scratch_path(&s, "cudnn.log"), 1);
        film_with_cudnn(i, &got[i]);
        char *log = run_text(scratch_path(&s, "cudnn.log"));
        print_message("%s: %s", planned[i].name, log != NULL ? log : "no cuDNN\n");
        if (planned[i].log != NULL &&
            (log == NULL || lines_of(log, planned[i].log) != planned[i].ranks ||
             lines_of(log, "left: descriptors 0, handles 0;") != planned[i].ranks))
            fail_msg("%s: want '%s' of %d ranks, found %s", planned[i].name, planned[i].log,
                     planned[i].ranks, log != NULL ? log : "nothing");
        free(log);
        const double apart = latents_differ(&got[0], &got[i]);
        print_message("    %.3g from cpu's\n", apart);
        if (!(apart <= planned_tol))
            fail_msg("%s: latents differ by %.3g of the largest", planned[i].name, apart);
    }
    libraries = LT_TEST_PARTS "/shim_driver:" LT_TEST_PARTS "/shim_cudnn";
    doctor_says("attention ok   cuDNN 9.19.0\n");
    plans_for_each_shot();
    (void)unsetenv("LT_EMU_CUDNN_LOG");
    (void)setenv("LT_EMU_CUDNN_VERSION", "90100", 1);
    doctor_says("attention --   our own attention: cuDNN 9.1.0 is too old, want 9.13.1\n");
    (void)unsetenv("LT_EMU_CUDNN_VERSION");
    libraries = NULL;
    for (int i = 0; i < PLANNED; i++)
        latents_free(&got[i]);
}

static void doctor_says_what_is_there(void **state)
{
    (void)state;
    static const char *const says[] = {
        "GPU       ok   2: the host, as a device (sm_90), the host, as a device (sm_90)\n",
        "driver    ok   for CUDA 13.0; this GPU part calls 13.0\n",
        "links     ok   2 of 2 pairs of devices reach each other's memory, 0 with atomics",
        "NCCL      ok   NCCL 2."};
    install("doctor", "shim_part");
    (void)setenv("LT_SHIM_DEVICES", "2", 1);
    run_result r = run_installed("doctor", 1, 1, RUN_WORDS("doctor"));
    for (size_t i = 0; i < sizeof says / sizeof *says; i++)
        if (strstr(r.out, says[i]) == NULL)
            fail_msg("want '%s', found %s", says[i], r.out);
    run_free(&r);
    (void)setenv("LT_SHIM_DEVICES", "1", 1);
    r = run_installed("doctor", 1, 1, RUN_WORDS("doctor"));
    assert_null(strstr(r.out, "links "));
    run_free(&r);
}

/* Rank 0 sits in a sync, and its device in an exchange that rank 1 never comes to. */
static void names_a_killed_rank(void **state)
{
    (void)state;
    static const char *const says[] = {"rank 1 on ", " is lost (its process is gone)",
                                       " waits at step 2 in ring_attention (ring, call "};
    enum { SECONDS_MAX = 10 + 20 }; /* and what the start takes on a machine that others use */
    install("killed", "shim_part");
    (void)setenv("LT_SHIM_SEED", "0", 1);
    (void)setenv("LT_SHIM_DEVICES", "2", 1);
    (void)setenv("LONGTAKE_FAULT", "1:2:kill", 1);
    run_result r = run_installed(
        "killed", 2, 1,
        RUN_WORDS("render", "-p", "A large red ball.", "--frames", "5", "--size", "32x32",
                  "--steps", "4", "--dtype", "f32", "--model", LT_SOURCE_DIR "/models/demo",
                  "--mesh", "ring=2", "--device", "cuda", "-o", scratch_path(&s, "killed.mp4")));
    (void)unsetenv("LONGTAKE_FAULT");
    assert_int_equal(lines_of(r.err, "longtake: error: "), 1);
    for (size_t i = 0; i < sizeof says / sizeof *says; i++)
        if (strstr(r.err, says[i]) == NULL)
            fail_msg("want '%s', found %s", says[i], r.err);
    print_message("%.1f s with the start\n", r.seconds);
    assert_true(r.seconds < SECONDS_MAX);
    run_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_what_cannot_be_used),
        cmocka_unit_test(makes_the_film_of_the_processor),
        cmocka_unit_test(attends_by_plans),
        cmocka_unit_test(doctor_says_what_is_there),
        cmocka_unit_test(names_a_killed_rank),
    };
    return cmocka_run_group_tests_name("gpu_part", tests, scratch_setup, scratch_teardown);
}

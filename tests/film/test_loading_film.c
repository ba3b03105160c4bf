/* test_loading_film.c - the program on ranks that read a model's files, and on ranks without them.
 * Goal: `probe dit --json` on tp=4 says that each rank read at most 27 % of the DiT's bytes, in
 * large reads, and the velocities are those of one rank; on ring x uly the ranks read the same. A
 * film and a stage come out bit for bit the same where only one rank has the model, whichever. A
 * model that nobody has, and two that differ, are one line. Method: mpirun gives ranks folders of
 * their own, in which the relative --model is there or not. Ranks: 2 and 4, oversubscribed. Needs:
 * mpirun, tests/parity/nano. */
#include "tests/support/film.h"

#include "model/files/checkpoint.h"
#include "model/h3/layout.h"
#include "tests/support/dit_files.h"
#include "tests/support/spoil.h"

#define NANO   LT_SOURCE_DIR "/tests/parity/nano"
#define PROMPT "A ball drops on a floor."

/* Slow under a sanitizer with full stacks: one place of the model each. */
#ifdef __SANITIZE_ADDRESS__
enum { FIRST = 1 };
#else
enum { FIRST = 0 };
#endif

static scratch s;
static char home[SPOIL_PATH], bare[SPOIL_PATH]; /* with the model nano, with nothing */
static char input[SPOIL_PATH];                  /* of probe dit, for the small DiT */
static int64_t small_bytes;

/* ---- inputs ---- */

static float *noise(int64_t count, uint32_t seed)
{
    float *x = malloc((size_t)(count + 1) * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u; /* Numerical Recipes' generator */
        x[i] = (float)(seed >> 8) / 8388608.0f - 1.0f;
    }
    return x;
}

/* As dit_small: 4 x 8 video values a row, 8 of audio, 64 of text. */
static void write_input(void)
{
    enum { VIDEO = 32, AUDIO = 8, TEXT = 64, TEXT_ROWS = 9 };
    lt_h3_layout *l = NULL;
    float times[2] = {0.25f, 0.5f};
    assert_int_equal(lt_h3_layout_new(22, 64, 64, TEXT_ROWS, &l), LT_OK);
    float *video = noise(l->video_rows * VIDEO, 1), *audio = noise(l->audio_rows * AUDIO, 2);
    float *text = noise(l->text_rows * TEXT, 3);
    int32_t *narrow = calloc((size_t)l->rows, sizeof *narrow);
    int64_t *index = calloc((size_t)l->rows, sizeof *index);
    assert_true(narrow != NULL && index != NULL);
    lt_h3_layout_timesteps(l, 0, 1, narrow);
    for (int64_t i = 0; i < l->rows; i++)
        index[i] = narrow[i];
    const lt_tensor tensors[] = {
        lt_tensor_wrap(video, "hidden_states", LT_F32, LT_DIMS(l->video_rows, VIDEO)),
        lt_tensor_wrap(audio, "audio_hidden_states", LT_F32, LT_DIMS(l->audio_rows, AUDIO)),
        lt_tensor_wrap(text, "encoder_hidden_states", LT_F32, LT_DIMS(l->text_rows, TEXT)),
        lt_tensor_wrap(times, "timestep", LT_F32, LT_DIMS(2)),
        lt_tensor_wrap(index, "timestep_indices", LT_I64, LT_DIMS(l->rows)),
        lt_tensor_wrap(l->token_tags, "token_tags", LT_I64, LT_DIMS(l->rows)),
        lt_tensor_wrap(l->position_ids, "position_ids", LT_F64, LT_DIMS(l->rows, 3)),
        lt_tensor_wrap(l->video_indices, "video_indices", LT_I64, LT_DIMS(l->video_rows)),
        lt_tensor_wrap(l->audio_indices, "audio_indices", LT_I64, LT_DIMS(l->audio_rows)),
        lt_tensor_wrap(l->text_indices, "text_indices", LT_I64, LT_DIMS(l->text_rows)),
    };
    (void)spoil_join(input, s.folder, "input.safetensors");
    const int count = (int)(sizeof tensors / sizeof *tensors);
    if (lt_safetensors_write(input, tensors, count, LT_REPLACE) != LT_OK)
        fail_msg("%s", lt_error_text());
    free(video);
    free(audio);
    free(text);
    free(narrow);
    free(index);
    lt_h3_layout_free(&l);
}

static int setup(void **state)
{
    char path[SPOIL_PATH], part[SPOIL_PATH];
    (void)state;
    scratch_new(&s);
    run_tell_mpirun();
    assert_int_equal(mkdir(spoil_join(home, s.folder, "home"), 0777), 0);
    assert_int_equal(mkdir(spoil_join(bare, s.folder, "bare"), 0777), 0);
    spoil_copy(NANO, spoil_join(path, home, "nano"));
    assert_int_equal(mkdir(spoil_join(path, home, "small"), 0777), 0);
    assert_int_equal(mkdir(spoil_join(part, path, "transformer"), 0777), 0);
    small_bytes = dit_files_write(part, dit_small, 1);
    write_input();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    scratch_free(&s);
    return 0;
}

/* longtake WORDS on the ranks of two folders: so many in the first, so many in the second. A shell
 * changes the folder, since mpirun 5.0.7 ends by a fault of its own on `-n 1 true : -n 1 true`. */
static run_result run_in(const char *first, int first_ranks, const char *second, int second_ranks,
                         const char *const *words)
{
    static const char script[] = "if [ \"$OMPI_COMM_WORLD_RANK\" -lt \"$1\" ]; then cd \"$2\"; "
                                 "else cd \"$3\"; fi && shift 3 && exec \"$0\" \"$@\"";
    char all[16], here[16];
    (void)snprintf(all, sizeof all, "%d", first_ranks + second_ranks);
    (void)snprintf(here, sizeof here, "%d", first_ranks);
    const char *argv[RUN_WORDS_MAX] = {
        "mpirun", "--oversubscribe", "--bind-to", "none", "-n",  all, "sh", "-c",
        script,   LT_PROGRAM,        here,        first,  second};
    int n = 13;
    for (int k = 0; words[k] != NULL; k++) {
        assert_true(n + 1 < RUN_WORDS_MAX);
        argv[n++] = words[k];
    }
    argv[n] = NULL;
#ifdef __SANITIZE_ADDRESS__ /* as run_longtake */
    (void)setenv("ASAN_OPTIONS", "fast_unwind_on_malloc=0", 1);
    (void)setenv("LSAN_OPTIONS",
                 "suppressions=" LT_SOURCE_DIR "/tests/ranks/lsan.supp:print_suppressions=0", 1);
#endif
    return run_argv(&s, argv, RUN_LIMIT_S);
}

static void run_well_in(const char *first, int first_ranks, const char *second, int second_ranks,
                        const char *const *words, run_result *r)
{
    *r = run_in(first, first_ranks, second, second_ranks, words);
    if (r->code != 0)
        fail_msg("%s %s on %d + %d ranks: exit code %d: %s", words[0], words[1], first_ranks,
                 second_ranks, r->code, r->err);
}

/* ---- shares of a DiT ---- */

/* The four figures of a rank; answer: the last line of stdout. */
static int64_t figure(const char *answer, const char *name, int rank)
{
    json_t *json = json_loads(answer, 0, NULL);
    assert_non_null(json);
    const json_t *value = json_array_get(json_object_get(json, name), (size_t)rank);
    if (!json_is_integer(value))
        fail_msg("%s: want %s[%d]", answer, name, rank);
    const int64_t x = json_integer_value(value);
    json_decref(json);
    return x;
}

static void probe(const char *first, int first_ranks, const char *second, int second_ranks,
                  const char *mesh, const char *out, run_result *r)
{
    run_well_in(first, first_ranks, second, second_ranks,
                RUN_WORDS("probe", "dit", "--model", "small", "--in", input, "--overwrite", "--out",
                          out, "--dtype", "f32", "--threads", "1", "--mesh", mesh, "--json", "-q"),
                r);
}

static double differ(const char *a, const char *b, const char *name)
{
    lt_checkpoint *file[2] = {NULL, NULL};
    lt_tensor_info info;
    float *x[2];
    double worst = 0, largest = 0;
    int64_t count = 0;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(lt_checkpoint_open(i == 0 ? a : b, NULL, &file[i]), LT_OK);
        assert_int_equal(lt_checkpoint_find(file[i], name, &info), 1);
        assert_int_equal(info.ndim, 2);
        const lt_dims dims = LT_DIMS(info.dim[0], info.dim[1]);
        count = info.dim[0] * info.dim[1];
        x[i] = malloc((size_t)count * sizeof(float));
        assert_non_null(x[i]);
        assert_int_equal(
            lt_checkpoint_read(file[i], name, dims, lt_slice_whole(dims), LT_F32, x[i]), LT_OK);
        lt_checkpoint_close(&file[i]);
    }
    for (int64_t i = 0; i < count; i++) {
        worst = fmax(worst, fabs((double)x[0][i] - (double)x[1][i]));
        largest = fmax(largest, fabs((double)x[1][i]));
    }
    free(x[0]);
    free(x[1]);
    assert_true(largest > 0);
    return worst / largest;
}

static const struct {
    const char *mesh;
    double largest, smallest; /* of the DiT's bytes */
    double sum;
} meshes[] = {
    {"tp=4", 0.27, 0.24, 1.0},
    {"ring=2,uly=2", 0.75, 0.65, 2.6}, /* blocks whole, the modulation layers once in all */
};

static void a_rank_of_four_reads_a_quarter(void **state)
{
    (void)state;
    char out[SPOIL_PATH], one[SPOIL_PATH];
    run_result r;
    (void)spoil_join(out, s.folder, "out.safetensors");
    (void)spoil_join(one, s.folder, "one.safetensors");
    probe(home, 1, bare, 0, "auto", one, &r);
    assert_int_equal(figure(r.out, "bytes_read", 0), small_bytes);
    run_free(&r);
    for (size_t i = 0; i < (FIRST > 0 ? 1 : sizeof meshes / sizeof *meshes); i++) {
        double sum = 0;
        probe(home, 4, bare, 0, meshes[i].mesh, out, &r);
        for (int rank = 0; rank < 4; rank++) {
            const int64_t read = figure(r.out, "bytes_read", rank);
            const int64_t reads = figure(r.out, "reads", rank);
            const double share = (double)read / (double)small_bytes;
            print_message("%s: rank %d reads %.2f %% in %lld reads\n", meshes[i].mesh, rank,
                          100 * share, (long long)reads);
            if (!(share <= meshes[i].largest && share >= meshes[i].smallest))
                fail_msg("%s: rank %d reads %.2f %%", meshes[i].mesh, rank, 100 * share);
            assert_int_equal(figure(r.out, "bytes_served", rank), 0);
            /* 8 + 1 blocks of 10 tensors, 2 reads where a half of a layer is taken, and few more:
             * a read a row would be 3,500 */
            assert_in_range(reads, 80, 160);
            sum += share;
        }
        assert_true(sum >= meshes[i].sum);
        assert_true(differ(out, one, "sample") <= 1e-5);
        assert_true(differ(out, one, "audio_sample") <= 1e-5);
        run_free(&r);
    }
}

/* One file server for three ranks, in a mesh whose tp pairs and ring pairs mix ranks with and
 * without.
 */
static void one_reader_serves_a_mesh(void **state)
{
    (void)state;
    char out[SPOIL_PATH], usual[SPOIL_PATH];
    run_result r, u;
    (void)spoil_join(out, s.folder, "out.safetensors");
    (void)spoil_join(usual, s.folder, "usual.safetensors");
    probe(home, 4, bare, 0, "ring=2,tp=2", usual, &u);
    for (int last = FIRST; last < 2; last++) {
        const int server = last ? 3 : 0;
        if (last)
            probe(bare, 3, home, 1, "ring=2,tp=2", out, &r);
        else
            probe(home, 1, bare, 3, "ring=2,tp=2", out, &r);
        int64_t others = 0;
        for (int rank = 0; rank < 4; rank++) {
            const int64_t read = figure(r.out, "bytes_read", rank);
            assert_int_equal(read, figure(u.out, "bytes_read", rank));
            others += rank != server ? read : 0;
            if (rank != server)
                assert_int_equal(figure(r.out, "bytes_served", rank), 0);
        }
        /* what the others read, and config and header for each of them */
        const int64_t served = figure(r.out, "bytes_served", server);
        assert_in_range(served, others + 3 * 1000, others + 3 * 100000);
        assert_true(differ(out, usual, "sample") == 0);
        assert_true(differ(out, usual, "audio_sample") == 0);
        run_free(&r);
    }
    run_free(&u);
}

/* ---- a film ---- */

static void render(const char *first, const char *second, const char *out)
{
    run_result r;
    run_well_in(first, 1, second, 1,
                RUN_WORDS("render", "--model", "nano", "-p", PROMPT, "--size", "64x64", "--frames",
                          "39", "--steps", "2", "--seed", "5", "--mesh", "tp=2", "--codec", "ffv1",
                          "--overwrite", "-q", "-o", out),
                &r);
    run_free(&r);
}

/* FNV-1a over the first plane of all frames. */
static void hash_frame(void *user, int64_t index, const AVFrame *f)
{
    (void)index;
    uint64_t *hash = user;
    for (int y = 0; y < f->height; y++)
        for (int x = 0; x < f->width; x++)
            *hash = (*hash ^ f->data[0][y * f->linesize[0] + x]) * 1099511628211u;
}

static void look(const char *path, film *f, uint64_t *hash)
{
    *hash = 14695981039346656037u;
    *f = (film){.look = hash_frame, .user = hash};
    film_read(path, f);
    assert_int_equal(f->frames, 39);
    assert_true(f->samples > 0);
}

static void same_film(const film *usual, uint64_t usual_hash, const char *path)
{
    film f;
    uint64_t hash = 0;
    look(path, &f, &hash);
    assert_true(hash == usual_hash);
    assert_int_equal(f.samples, usual->samples);
    assert_memory_equal(f.pcm, usual->pcm, (size_t)f.samples * sizeof *f.pcm);
    film_free(&f);
}

static void a_film_needs_one_copy(void **state)
{
    (void)state;
    char film_path[SPOIL_PATH], run[SPOIL_PATH], manifest[2][SPOIL_PATH];
    film usual;
    uint64_t hash = 0;
    latents all, some;
    run_result r;
    (void)spoil_join(film_path, s.folder, "film.mkv");
    (void)spoil_join(run, s.folder, "film.run");
    (void)spoil_join(manifest[0], s.folder, "manifest.json");
    (void)spoil_join(manifest[1], run, "manifest.json");
    render(home, home, film_path);
    look(film_path, &usual, &hash);
    latents_read(run, &all);
    assert_int_equal(rename(manifest[1], manifest[0]), 0);
    for (int i = FIRST; i < 2; i++) {
        json_t *files[2];
        render(i == 0 ? home : bare, i == 0 ? bare : home, film_path);
        same_film(&usual, hash, film_path);
        latents_read(run, &some);
        assert_true(latents_differ(&all, &some) == 0);
        latents_free(&some);
        for (int k = 0; k < 2; k++) { /* names, sizes, times and hashes of the model's files */
            const char *name;
            json_t *file;
            files[k] = json_load_file(manifest[k], 0, NULL);
            json_object_foreach (json_object_get(files[k], "model_files"), name, file)
                (void)json_object_del(file, "whole_xxh64"); /* who has the files knows it, later */
        }
        assert_true(json_object_size(json_object_get(files[0], "model_files")) > 10);
        assert_true(json_equal(json_object_get(files[0], "model_files"),
                               json_object_get(files[1], "model_files")));
        json_decref(files[0]);
        json_decref(files[1]);
    }
    for (int i = FIRST; i < 2; i++) {
        run_well_in(
            i == 0 ? home : bare, 1, i == 0 ? bare : home, 1,
            RUN_WORDS("decode", run, "--codec", "ffv1", "-q", "--overwrite", "-o", film_path), &r);
        run_free(&r);
        same_film(&usual, hash, film_path);
    }
    film_free(&usual);
    latents_free(&all);
}

/* Stages of one rank, too, where the model is missing on that rank. */
static void rank_0_alone_is_served(void **state)
{
    (void)state;
    run_result with, without;
    const char *const words[] = {"probe", "sigmas", "--model", "nano", "--steps", "5", NULL};
    run_well_in(home, 2, bare, 0, words, &with);
    run_well_in(bare, 1, home, 1, words, &without);
    assert_true(strlen(with.out) > 100);
    assert_string_equal(with.out, without.out);
    run_free(&with);
    run_free(&without);
}

/* ---- one line ---- */

static void want_refusal(run_result *r, int code, const char *const words[3])
{
    const char *line = strstr(r->err, "longtake: error: ");
    if (r->code != code || line == NULL || strstr(line + 1, "longtake: error: ") != NULL)
        fail_msg("want exit code %d and one line, found %d: %s", code, r->code, r->err);
    for (int i = 0; i < 3 && words[i] != NULL; i++)
        if (strstr(line, words[i]) == NULL)
            fail_msg("want %s in: %s", words[i], line);
    run_free(r);
}

static void a_model_that_nobody_has(void **state)
{
    (void)state;
    char out[SPOIL_PATH];
    (void)spoil_join(out, s.folder, "none.mkv");
    const char *const words[] = {"render", "--model", "nano", "-p", PROMPT, "-q", "-o", out, NULL};
    const char *const want[3] = {"nano: want a model folder, found nothing"};
    run_result r = run_in(bare, 2, bare, 0, words);
    want_refusal(&r, 66, want);
    r = run_in(bare, 1, bare, 0, words);
    want_refusal(&r, 66, want);
    assert_false(run_exists(out));
}

static void copies_that_differ(void **state)
{
    (void)state;
    char other[SPOIL_PATH], copy[SPOIL_PATH];
    assert_int_equal(mkdir(spoil_join(other, s.folder, "other"), 0777), 0);
    spoil_copy(NANO, spoil_join(copy, other, "nano"));
    spoil_replace(spoil_join(copy, other, "nano/vae/config.json"), "{", "{ ");
    /* probe: render names the model by its whole path, which is here for both ranks */
    run_result r =
        run_in(home, 1, other, 1, RUN_WORDS("probe", "sigmas", "--model", "nano", "--steps", "5"));
    want_refusal(&r, 65,
                 (const char *const[3]){"nano: want the same on all ranks, found another on rank 1 "
                                        "than on rank 0: vae/config.json: want "});
}

/* Names, sizes and heads are equal; a bit far behind is not. Both ranks read all of it. */
static void copies_that_differ_behind(void **state)
{
    (void)state;
    char other[SPOIL_PATH], from[SPOIL_PATH], to[SPOIL_PATH], out[SPOIL_PATH];
    (void)spoil_join(out, s.folder, "behind.safetensors");
    assert_int_equal(mkdir(spoil_join(other, s.folder, "behind"), 0777), 0);
    spoil_copy(spoil_join(from, home, "small"), spoil_join(to, other, "small"));
    bytes file =
        spoil_read(spoil_join(to, other, "small/transformer/diffusion_pytorch_model.safetensors"));
    assert_true(file.count > (size_t)3 << 20);
    file.data[file.count - 4096] ^= 1; /* a low bit of a mantissa */
    spoil_write(to, file.data, file.count);
    free(file.data);
    run_result r = run_in(home, 1, other, 1,
                          RUN_WORDS("probe", "dit", "--model", "small", "--in", input, "--out", out,
                                    "--dtype", "f32", "--mesh", "ring=2", "-q"));
    want_refusal(&r, 65,
                 (const char *const[3]){"small/transformer/diffusion_pytorch_model.safetensors",
                                        "want the same values on all ranks, found others on rank 1",
                                        "tensor "});
    assert_false(run_exists(out));
}

/* RUN is read by rank 0 alone: what another rank finds under its name is no concern. */
static void another_run_on_another_rank(void **state)
{
    (void)state;
    static const struct {
        const char *frames, *seed, *size;
    } theirs[] = {{"39", "1", "32x32"}, {"39", "0", "64x64"}, {"5", "0", "32x32"}};
    char other[SPOIL_PATH], at[SPOIL_PATH], out[SPOIL_PATH];
    const char *const decode[] = {"decode", "r.run",       "--model", "nano", "--codec", "ffv1",
                                  "-q",     "--overwrite", "-o",      out,    NULL};
    film usual;
    uint64_t hash = 0;
    run_result r;
    (void)spoil_join(out, s.folder, "runs.mkv");
    assert_int_equal(mkdir(spoil_join(other, s.folder, "runs"), 0777), 0);
    spoil_copy(NANO, spoil_join(at, other, "nano"));
    for (int i = -1; i < 3; i++) {
        run_well_in(i < 0 ? home : other, 1, bare, 0,
                    RUN_WORDS("render", "--model", "nano", "-p", PROMPT, "--steps", "2", "--frames",
                              i < 0 ? "39" : theirs[i].frames, "--size",
                              i < 0 ? "32x32" : theirs[i].size, "--seed",
                              i < 0 ? "0" : theirs[i].seed, "-q", "--overwrite", "-o", "r.mkv"),
                    &r);
        run_free(&r);
        run_well_in(home, 1, i < 0 ? bare : other, i < 0 ? 0 : 1, decode, &r);
        run_free(&r);
        if (i < 0)
            look(out, &usual, &hash);
        else
            same_film(&usual, hash, out);
    }
    film_free(&usual);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rank_of_four_reads_a_quarter),
        cmocka_unit_test(one_reader_serves_a_mesh),
        cmocka_unit_test(a_film_needs_one_copy),
        cmocka_unit_test(rank_0_alone_is_served),
        cmocka_unit_test(a_model_that_nobody_has),
        cmocka_unit_test(copies_that_differ),
        cmocka_unit_test(copies_that_differ_behind),
        cmocka_unit_test(another_run_on_another_rank),
    };
    return cmocka_run_group_tests_name("loading_film", tests, setup, teardown);
}

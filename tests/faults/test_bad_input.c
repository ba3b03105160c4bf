/* test_bad_input.c - more than fifty kinds of bad input, each refused in one line.
 * Goal: the right exit code, one error line that names the file, the field, what was wanted and
 * what was found, at most one hint after it, no crash, no output, and, where the job is refused
 * before work, no run folder and no other file. Method: each row breaks one thing in a copy of a
 * tiny model or in the command, and runs the program. "@x" in a word is the path of x in the row's
 * own folder;
 * @model is the copy. Ranks: 1, two rows on 2. Needs: tests/parity/nano. */
#include <math.h>

#include "tests/support/spoil.h"
#include "tests/support/the_scratch.h"

#define NANO   LT_SOURCE_DIR "/tests/parity/nano"
#define DIT    "model/transformer/"
#define SHARD  DIT "diffusion_pytorch_model-00001-of-00003.safetensors"
#define INDEX  DIT "diffusion_pytorch_model.safetensors.index.json"
#define TENSOR "proj_in.weight"

/* The path of a name in the row's folder; good until the eighth next call. */
static const char *at(const char *name)
{
    static char path[8][SPOIL_PATH];
    static int turn;
    turn = (turn + 1) % 8;
    (void)snprintf(path[turn], sizeof path[turn], "%s/row/%s", s.folder, name);
    return path[turn];
}

/* ---- what is broken ---- */

static void no_shard(void) { assert_int_equal(unlink(at(SHARD)), 0); }
static void cut_shard(void) { spoil_cut(at(SHARD), 1000); }
static void longer_shard(void)
{
    shard f = shard_read(at(SHARD));
    shard_write(at(SHARD), &f, 64);
}
static void empty_shard(void) { spoil_write(at(SHARD), "", 0); }
static void wrong_shape(void) { shard_set(at(SHARD), TENSOR, "shape", "[24, 28]"); }
static void wrong_bytes(void) { shard_set(at(SHARD), TENSOR, "shape", "[28, 25]"); }
static void endless_shape(void)
{
    shard_set(at(SHARD), TENSOR, "shape", "[4611686018427387904, 4611686018427387904]");
}
static void negative_shape(void) { shard_set(at(SHARD), TENSOR, "shape", "[-28, 24]"); }
static void wrong_dtype(void)
{
    shard_set(at(SHARD), TENSOR, "dtype", "\"I32\""); /* the same bytes: only the kind is wrong */
}
static void unknown_dtype(void) { shard_set(at(SHARD), TENSOR, "dtype", "\"F8_E4M3\""); }
static void past_end(void)
{
    shard_set(at(SHARD), TENSOR, "data_offsets", "[1000002128, 1000004816]");
}
static void overlap(void) { shard_set(at(SHARD), TENSOR, "data_offsets", "[2012, 4700]"); }
static void huge_header(void)
{
    bytes b = spoil_read(at(SHARD));
    memset(b.data, 0xff, 7);
    spoil_write(at(SHARD), b.data, b.count);
    free(b.data);
}
static void no_header(void)
{
    bytes b = spoil_read(at(SHARD));
    memcpy(b.data + 8, "<!DOCTYPE html>", 15); /* a download that was an error page */
    spoil_write(at(SHARD), b.data, b.count);
    free(b.data);
}
static void nan_weight(void) { shard_poke(at(SHARD), TENSOR, 5, NAN); }
static void inf_weight(void) { shard_poke(at(SHARD), TENSOR, 5, INFINITY); }
static void nan_vae(void)
{
    shard_poke(at("model/vae/diffusion_pytorch_model.safetensors"), "decoder.proj_in.weight", 3,
               NAN);
}
static void missing_tensor(void)
{
    shard f = shard_read(at(SHARD));
    json_t *t = json_incref(shard_tensor(&f, TENSOR)); /* its bytes get another name */
    assert_int_equal(json_object_del(f.header, TENSOR), 0);
    assert_int_equal(json_object_set_new(f.header, "proj_out_of_place.weight", t), 0);
    shard_write(at(SHARD), &f, 0);
}
static void extra_tensor(void)
{
    shard f = shard_read(at(SHARD));
    const json_int_t end = (json_int_t)(f.file.count - f.data);
    assert_int_equal(json_object_set_new(f.header, "surprise.weight",
                                         json_pack("{s:s, s:[i], s:[I, I]}", "dtype", "F32",
                                                   "shape", 2, "data_offsets", end, end + 8)),
                     0);
    shard_write(at(SHARD), &f, 8);
    spoil_replace(at(INDEX), "\"weight_map\": {",
                  "\"weight_map\": {\"surprise.weight\": "
                  "\"diffusion_pytorch_model-00001-of-00003.safetensors\",");
}
static void index_outside(void)
{
    spoil_replace(at(INDEX), "\"diffusion_pytorch_model-00001",
                  "\"../diffusion_pytorch_model-00001");
}
static void index_short(void) { spoil_replace(at(INDEX), "\"" TENSOR "\"", "\"proj_ni.weight\""); }
static void index_no_map(void) { spoil_replace(at(INDEX), "weight_map", "weight_mop"); }

#define CONFIG DIT "config.json"
static void bad_json(void) { spoil_replace(at(CONFIG), "\"ffn_dim\": 44,", "\"ffn_dim\": 44,,"); }
static void no_field(void) { spoil_replace(at(CONFIG), "\"ffn_dim\"", "\"ffn_mid\""); }
static void word_field(void)
{
    spoil_replace(at(CONFIG), "\"num_layers\": 3", "\"num_layers\": \"three\"");
}
static void more_layers(void)
{
    spoil_replace(at(CONFIG), "\"num_layers\": 3", "\"num_layers\": 4");
}
static void fewer_layers(void)
{
    spoil_replace(at(CONFIG), "\"num_layers\": 3", "\"num_layers\": 2");
}
static void wider(void) { spoil_replace(at(CONFIG), "\"hidden_size\": 28", "\"hidden_size\": 32"); }
static void billions(void)
{
    spoil_replace(at(CONFIG), "\"num_layers\": 3", "\"num_layers\": 2000000000");
}
static void negative(void) { spoil_replace(at(CONFIG), "\"num_layers\": 3", "\"num_layers\": -3"); }
static void other_channels(void)
{
    spoil_replace(at(CONFIG), "\"in_channels\": 6", "\"in_channels\": 8");
}
static void text_layers(void)
{
    spoil_replace(at("model/text_encoder/config.json"), "\"num_hidden_layers\": 52",
                  "\"num_hidden_layers\": 2000000000");
}
static void wide_integers(void) { shard_set(at(SHARD), TENSOR, "dtype", "\"I64\""); }
static void no_vae(void) { assert_int_equal(rename(at("model/vae"), at("model/eav")), 0); }
static void no_tokenizer(void)
{
    assert_int_equal(rename(at("model/tokenizer"), at("model/rezinekot")), 0);
}
static void bad_merges(void)
{
    spoil_write(at("model/tokenizer/merges.txt"), "#version: 0.2\na b c d\n", 22);
}
static void bad_vocab(void) { spoil_cut(at("model/tokenizer/vocab.json"), 5); }

static void empty_model(void) { assert_int_equal(mkdir(at("void"), 0777), 0); }
static void folder_as_output(void) { assert_int_equal(mkdir(at("out.mp4"), 0777), 0); }
static void file_as_run(void) { spoil_write(at("out.run"), "x", 1); }
static void old_run(void)
{
    assert_int_equal(mkdir(at("out.run"), 0777), 0);
    spoil_write(at("out.run/job.yaml"), "steps: 2\n", 9);
}
static void job(const char *text) { spoil_write(at("job.yaml"), text, strlen(text)); }
static void job_key(void) { job("prompt: A ball.\nsteps: 2\nframs: 22\n"); }
static void job_syntax(void) { job("prompt: \"A ball.\nsteps: 2\n"); }
static void job_type(void) { job("prompt: A ball.\nsteps: many\n"); }
static void job_number(void) { job("prompt: 12\nsteps: 2\n"); }
static void job_twice(void) { job("prompt: A ball.\nsteps: 2\nsteps: 3\n"); }
static void empty_run(void) { assert_int_equal(mkdir(at("some.run"), 0777), 0); }
static void no_latents(void) { spoil_write(at("latents.h5"), "no HDF5 at all", 14); }

/* ---- the table ---- */

typedef struct row {
    const char *name;
    void (*spoil)(void);
    const char *words[10]; /* after the usual ones of render, which they may overrule */
    int code;
    const char *wants[4];
    int worked; /* the fault shows at work only: RUN may stay, OUT may not */
} row;

#include "tests/faults/bad_input_rows.inc"

/* ---- one row ---- */

/* Rows go on after a fault: one run of the test shows all of them. */
static int broken;

#define COMPLAIN(...) (print_error(__VA_ARGS__), print_error("\n"), broken++)

/* "@x" becomes the path of x. */
static const char *word_of(const char *word)
{
    static char kept[RUN_WORDS_MAX][SPOIL_PATH];
    static int turn;
    if (word[0] != '@')
        return word;
    turn = (turn + 1) % RUN_WORDS_MAX;
    (void)spoil_join(kept[turn], at(""), word + 1);
    return kept[turn];
}

static int entries(const char *folder)
{
    int n = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir))
        n++;
    (void)closedir(dir);
    return n;
}

/* Exactly one error line, which is the last but for one hint. Under mpirun the launcher's own lines
 * follow. The line, and the hint after it, must hold all that is wanted. */
static void want_error(const char *name, const row *r, int ranks, const char *err)
{
    static const char head[] = "longtake: error: ", hint[] = "longtake: hint: ";
    const char *first = NULL, *after = NULL;
    int errors = 0, hints = 0, later = 0;
    for (const char *line = err; *line != '\0'; line = strchr(line, '\n') + 1) {
        if (strchr(line, '\n') == NULL) {
            COMPLAIN("%s: its last line has no end: %s", name, err);
            return;
        }
        if (strncmp(line, head, sizeof head - 1) == 0 && ++errors == 1)
            first = line;
        else if (strncmp(line, hint, sizeof hint - 1) == 0)
            hints++;
        else if (errors > 0)
            later++;
    }
    if (errors != 1 || hints > 1 || (ranks == 1 && later > 0)) {
        COMPLAIN("%s: want one error line and at most one hint at the end, found: %s", name, err);
        return;
    }
    after = strchr(first, '\n') + 1;
    if (strncmp(after, hint, sizeof hint - 1) == 0)
        after = strchr(after, '\n') + 1;
    char *said = strndup(first, (size_t)(after - first));
    assert_non_null(said);
    for (int i = 0; i < 4 && r->wants[i] != NULL; i++)
        if (strstr(said, r->wants[i]) == NULL)
            COMPLAIN("%s: want \"%s\" in the line, found: %s", name, r->wants[i], said);
    free(said);
}

/* What a fault at work may leave: never something that plays. */
static void want_nothing_that_plays(const char *name)
{
    static const char *const films[] = {"out.run/out.mp4", "out.run/out.mp4.whole", "out.mp4.part",
                                        "out.run/sound.part"};
    for (size_t i = 0; i < sizeof films / sizeof *films; i++)
        if (run_exists(at(films[i])))
            COMPLAIN("%s: left %s", name, films[i]);
}

static void check_row(const row *r, int ranks)
{
    const char *words[32];
    int n = 0, own = 0;
    assert_int_equal(mkdir(at(""), 0777), 0);
    if (r->spoil != NULL) {
        spoil_copy(NANO, at("model"));
        r->spoil();
    } else {
        assert_int_equal(symlink(NANO, at("model")), 0);
    }
    while (r->words[own] != NULL)
        own++;
    const int whole =
        own > 0 && r->words[0][0] == '!'; /* "!verb": the words are the whole command */
    if (whole) {
        words[n++] = r->words[0] + 1;
    } else {
        static const char *const usual[] = {"render",  "--model", "@model",  "-p",
                                            "A ball.", "--size",  "64x64",   "--steps",
                                            "2",       "-o",      "@out.mp4"};
        for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
            words[n++] = word_of(usual[i]);
        if (own == 0 || strcmp(r->words[0], "--seconds") != 0) {
            words[n++] = "--frames";
            words[n++] = "22";
        }
    }
    for (int i = whole; i < own; i++)
        words[n++] = word_of(r->words[i]);
    words[n] = NULL;
    const int before = entries(at("")), film_before = run_exists(at("out.mp4"));
    run_result said = run_longtake(&s, ranks, words);
    if (said.code != r->code)
        COMPLAIN("%s: want exit code %d, found %d; %s", r->name, r->code, said.code, said.err);
    want_error(r->name, r, ranks, said.err);
    if (said.out[0] != '\0' && ranks == 1)
        COMPLAIN("%s: want nothing on stdout, found %s", r->name, said.out);
    if (run_exists(at("out.mp4")) != film_before)
        COMPLAIN("%s: left an output", r->name);
    if (!r->worked && entries(at("")) != before)
        COMPLAIN("%s: left %d files or folders", r->name, entries(at("")) - before);
    if (r->worked)
        want_nothing_that_plays(r->name);
    run_free(&said);
    assert_int_equal(nftw(at(""), scratch_remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static void is_refused_in_one_line(void **state)
{
    (void)state;
    broken = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check_row(&rows[i], 1);
    assert_int_equal(broken, 0);
    print_message("%zu kinds of bad input\n", sizeof rows / sizeof *rows);
}

static void one_rank_speaks(void **state)
{
    (void)state;
    broken = 0;
    for (size_t i = 0; i < sizeof rank_rows / sizeof *rank_rows; i++)
        check_row(&rank_rows[i], 2);
    assert_int_equal(broken, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_refused_in_one_line),
        cmocka_unit_test(one_rank_speaks),
    };
    return cmocka_run_group_tests_name("bad_input", tests, scratch_setup, scratch_teardown);
}

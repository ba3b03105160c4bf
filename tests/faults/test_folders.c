/* test_folders.c - what people give as a model that is none, or not yet.
 * Goal: one line that says all that is missing, or what the path is, and a hint that helps; before
 * work, nothing left. Method: copies of the tiny model with files taken out or replaced; a hub's
 * cache made by hand. Ranks: 1. Needs: tests/parity/nano. */
#include "tests/support/spoil.h"

#define NANO LT_SOURCE_DIR "/tests/parity/nano"

static scratch s;
static int broken;

static const char *at(const char *name)
{
    static char path[4][SPOIL_PATH];
    static int turn;
    turn = (turn + 1) % 4;
    return spoil_join(path[turn], s.folder, name);
}

static void take_out(const char *folder, const char *end)
{
    DIR *dir = opendir(at(folder));
    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        const size_t n = strlen(e->d_name), m = strlen(end);
        char path[SPOIL_PATH];
        if (n >= m && strcmp(e->d_name + n - m, end) == 0)
            assert_int_equal(unlink(spoil_join(path, at(folder), e->d_name)), 0);
    }
    (void)closedir(dir);
}

static void no_weights(void)
{
    static const char *const parts[] = {"m/text_encoder", "m/transformer", "m/vae", "m/audio_vae"};
    for (size_t i = 0; i < 4; i++)
        take_out(parts[i], ".safetensors");
    take_out("m/tokenizer", ".json");
}

static void no_tokenizer(void) { take_out("m/tokenizer", "vocab.json"); }

static const char pointer[] = "version https://git-lfs.github.com/spec/v1\noid sha256:"
                              "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
                              "size 12345\n";
static void lfs_shard(void)
{
    spoil_write(at("m/vae/diffusion_pytorch_model.safetensors"), pointer, sizeof pointer - 1);
}
/* Zeros in place of values, as a broken download leaves them; a list lies beside. */
static void zeros(void)
{
    static const char list[] =
        "{\"vae/diffusion_pytorch_model.safetensors\": "
        "\"4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\"}";
    const char *path = at("m/vae/diffusion_pytorch_model.safetensors");
    shard f = shard_read(path);
    memset(f.file.data + f.data, 0, f.file.count - f.data);
    shard_write(path, &f, 0);
    spoil_write(at("m/hashes.json"), list, sizeof list - 1);
}
static void lfs_vocab(void)
{
    spoil_write(at("m/tokenizer/vocab.json"), pointer, sizeof pointer - 1);
}

/* The layout of a hub's cache: the model is a snapshot. */
static void hub_cache(void)
{
    assert_int_equal(mkdir(at("cache"), 0777), 0);
    assert_int_equal(mkdir(at("cache/models--org--name"), 0777), 0);
    assert_int_equal(mkdir(at("cache/models--org--name/snapshots"), 0777), 0);
    assert_int_equal(symlink(NANO, at("cache/models--org--name/snapshots/0123abcd")), 0);
}

static const struct {
    const char *name;
    void (*spoil)(void);
    const char *model; /* "@...": in the scratch folder */
    int code;
    const char *says[3];
} cases[] = {
    {"no weights at all",
     no_weights,
     "@m",
     66,
     {"6 of 6 shards are missing (first: ", "no weights in vae, no weights in audio_vae, no "
                                            "tokenizer (vocab.json)"}},
    {"no tokenizer alone", no_tokenizer, "@m", 66, {"not whole: no tokenizer (vocab.json)"}},
    {"a shard that git-lfs has not fetched",
     lfs_shard,
     "@m",
     65,
     {"vae/diffusion_pytorch_model.safetensors: want the file itself, found a git-lfs pointer",
      "lfs pull"}},
    {"a vocabulary that git-lfs has not fetched",
     lfs_vocab,
     "@m",
     65,
     {"vocab.json: want the file itself, found a git-lfs pointer", "lfs pull"}},
    {"a shard of zeros, and a list that says otherwise",
     zeros,
     "@m",
     65,
     {"vae/diffusion_pytorch_model.safetensors: sha256: want 4d7a21461", "hashes.json says, found ",
      "fetch that file again"}},
    {"a hub's cache of one model",
     hub_cache,
     "@cache/models--org--name",
     65,
     {"hint: this is a hub's cache", "snapshots/0123abcd"}},
    {"a hub's cache", hub_cache, "@cache", 65, {"models--org--name/snapshots"}},
    {"a hub's name",
     NULL,
     "MiniMaxAI/MiniMax-H3",
     66,
     {"want a model folder, found nothing", "hint: nothing is downloaded", "--local-dir"}},
    {"nothing", NULL, "@nothing", 66, {"found nothing", "hint: --model wants the folder"}},
};

static void each_has_its_line(void **state)
{
    (void)state;
    broken = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        scratch_new(&s);
        spoil_copy(NANO, at("m"));
        if (cases[i].spoil != NULL)
            cases[i].spoil();
        const char *model = cases[i].model[0] == '@' ? at(cases[i].model + 1) : cases[i].model;
        run_result r = run_longtake(&s, 1,
                                    RUN_WORDS("render", "--model", model, "-p", "A ball.",
                                              "--frames", "5", "-q", "-o", at("a.mp4")));
        if (r.code != cases[i].code)
            broken++;
        for (int k = 0; k < 3 && cases[i].says[k] != NULL; k++)
            if (strstr(r.err, cases[i].says[k]) == NULL)
                broken++;
        if (broken > 0 || run_exists(at("a.run")))
            fail_msg("%s: exit code %d: %s", cases[i].name, r.code, r.err);
        run_free(&r);
        scratch_free(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_has_its_line)};
    return cmocka_run_group_tests_name("folders", tests, NULL, NULL);
}

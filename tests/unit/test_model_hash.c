/* test_model_hash.c - the hash of a model's bytes: right, remembered, and nobody's trouble.
 * Goal: a model is read once; a second start reads none of it; a file that changed (its size, its
 * time, or another one in its place) is read anew, and no other; a kept hash that is junk, or of
 * another path, is not used and named in a line; where nothing can be kept there is no error; a
 * thread that is ended early leaves nothing half. Method: a folder of files with values; bytes read
 * are counted by the module. Ranks: 1. Needs: nothing. */
#include "tests/support/check.h"
#include "tests/support/the_scratch.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/log.h"
#include "run/resume/model_files.h"
#include "run/resume/model_hash.h"

enum { BIG = (3 << 20) + 17, SMALL = 100, WAIT_S = 30 };

static char model[600], cache[600], shard[700], config[700], seen[700];
static char *bytes;

/* As old as yesterday: what is younger than two seconds is not kept. */
static void put(const char *path, size_t count, char first)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    bytes[0] = first;
    assert_int_equal(fwrite(bytes, 1, count, f), count);
    assert_int_equal(fclose(f), 0);
    const struct timespec then[2] = {{1700000000, 5}, {1700000000, 5}};
    assert_int_equal(utimensat(AT_FDCWD, path, then, 0), 0);
}

static int setup(void **state)
{
    (void)scratch_setup(state);
    bytes = malloc(BIG);
    assert_non_null(bytes);
    for (int i = 0; i < BIG; i++)
        bytes[i] = (char)(i * 7 + i / 251);
    (void)snprintf(model, sizeof model, "%s/model", s.folder);
    (void)snprintf(cache, sizeof cache, "%s/caches", s.folder);
    (void)snprintf(seen, sizeof seen, "%s/seen", s.folder);
    (void)snprintf(shard, sizeof shard, "%s/transformer/shard.safetensors", model);
    (void)snprintf(config, sizeof config, "%s/config.json", model);
    scratch_folder(&s, "model");
    scratch_folder(&s, "model/transformer");
    return 0;
}

static int teardown(void **state)
{
    free(bytes);
    return scratch_teardown(state);
}

static void begin_each(void)
{
    (void)setenv("XDG_CACHE_HOME", cache, 1);
    put(shard, BIG, 1);
    put(config, SMALL, 2);
}

/* A start; how many bytes it read. out: the model's hash. */
static uint64_t start(char out[LT_MODEL_HASH_BYTES])
{
    const uint64_t before = lt_model_hash_bytes_read();
    json_t *files = lt_model_files(model);
    assert_int_equal(json_object_size(files), 2);
    lt_model_hash_begin(model, files);
    lt_model_hash_run();
    assert_true(lt_model_hash_wait(WAIT_S));
    lt_model_hash_tell(files);
    assert_true(json_is_string(
        json_object_get(json_object_get(files, "transformer/shard.safetensors"), "whole_xxh64")));
    (void)lt_model_hash_text(out);
    lt_model_hash_end();
    json_decref(files);
    return lt_model_hash_bytes_read() - before;
}

/* What it says of the bytes themselves. */
static void want_hash(const char *found, char of_shard, char of_config)
{
    char text[200], want[LT_MODEL_HASH_BYTES];
    bytes[0] = of_config;
    const uint64_t c = XXH64(bytes, SMALL, 0);
    bytes[0] = of_shard;
    const uint64_t b = XXH64(bytes, BIG, 0);
    (void)snprintf(text, sizeof text,
                   "config.json %016llx\ntransformer/shard.safetensors %016llx\n",
                   (unsigned long long)c, (unsigned long long)b);
    (void)snprintf(want, sizeof want, "%016llx", (unsigned long long)XXH64(text, strlen(text), 0));
    assert_string_equal(found, want);
}

static void a_second_start_reads_nothing(void **state)
{
    (void)state;
    char one[LT_MODEL_HASH_BYTES], two[LT_MODEL_HASH_BYTES];
    begin_each();
    assert_int_equal(start(one), BIG + SMALL);
    want_hash(one, 1, 2);
    assert_int_equal(start(two), 0);
    assert_string_equal(one, two);
    json_t *files = lt_model_files(model);
    lt_model_hash_begin(model, files); /* known without a thread */
    assert_string_equal(lt_model_hash_text(two), one);
    lt_model_hash_end();
    assert_string_equal(lt_model_hash_text(two), "");
    json_decref(files);
}

static void what_changed_is_read_anew(void **state)
{
    (void)state;
    char hash[LT_MODEL_HASH_BYTES], other[800];
    begin_each();
    (void)start(hash);
    put(config, SMALL - 1, 2); /* its size */
    assert_int_equal(start(hash), SMALL - 1);
    put(config, SMALL, 2);
    (void)start(hash);
    const struct timespec later[2] = {{1700000000, 6}, {1700000000, 6}};
    assert_int_equal(utimensat(AT_FDCWD, shard, later, 0), 0);
    assert_int_equal(start(hash), BIG);
    (void)snprintf(other, sizeof other, "%s.new", config); /* same size and time, another file */
    put(other, SMALL, 9);
    assert_int_equal(rename(other, config), 0);
    assert_int_equal(start(hash), SMALL);
    want_hash(hash, 1, 9);
}

static void what_is_young_is_not_kept(void **state)
{
    (void)state;
    char hash[LT_MODEL_HASH_BYTES];
    begin_each();
    (void)start(hash);
    assert_int_equal(utimensat(AT_FDCWD, config, NULL, 0), 0); /* now */
    assert_int_equal(start(hash), SMALL);
    assert_int_equal(start(hash), SMALL);
}

static void shell(const char *script)
{
    char command[1500];
    (void)snprintf(command, sizeof command, "cd '%s/longtake' && %s", cache, script);
    assert_int_equal(system(command), 0);
}

static const struct {
    const char *why, *spoil, *says;
} junk[] = {
    {"no JSON", "for f in *; do echo junk > $f; done", "not used, the model's file is hashed anew"},
    {"empty", "for f in *; do : > $f; done", "not used"},
    {"no digits", "sed -i 's/\"xxh64\": \"./\"xxh64\": \"g/' *",
     "xxh64: want 16 hexadecimal digits"},
    {"another format", "sed -i s/longtake-file-hash/other/ *", "format: want longtake-file-hash"},
    {"a folder", "for f in *; do rm $f; mkdir $f; done", "not used"},
    {"another path's", "sed -i s/transformer/transporter/ *", NULL},
};

/* Each is read anew, said where it is junk, and kept again where that is possible. */
static void junk_is_not_used(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof junk / sizeof *junk; i++) {
        char hash[LT_MODEL_HASH_BYTES];
        begin_each();
        (void)start(hash);
        shell(junk[i].spoil);
        const int kept = dup(STDERR_FILENO);
        assert_non_null(freopen(seen, "w", stderr));
        const uint64_t read = start(hash);
        (void)fflush(stderr);
        assert_int_equal(dup2(kept, STDERR_FILENO), STDERR_FILENO);
        (void)close(kept);
        FILE *f = fopen(seen, "r");
        char said[4096] = "";
        assert_non_null(f);
        said[fread(said, 1, sizeof said - 1, f)] = '\0';
        (void)fclose(f);
        if (read != (junk[i].says != NULL ? BIG + SMALL : BIG))
            fail_msg("%s: %llu bytes read", junk[i].why, (unsigned long long)read);
        if (junk[i].says != NULL ? strstr(said, junk[i].says) == NULL : said[0] != '\0')
            fail_msg("%s: want '%s', found: %s", junk[i].why,
                     junk[i].says != NULL ? junk[i].says : "no line", said);
        want_hash(hash, 1, 2);
        shell("rm -rf *");
    }
}

static void nowhere_to_keep_is_no_error(void **state)
{
    (void)state;
    char hash[LT_MODEL_HASH_BYTES];
    static const char *const nowhere[] = {"/proc/none", "/dev/null", "not/absolute", ""};
    begin_each();
    (void)setenv("HOME", "/proc/none", 1);
    for (size_t i = 0; i < sizeof nowhere / sizeof *nowhere; i++) {
        (void)setenv("XDG_CACHE_HOME", nowhere[i], 1);
        assert_int_equal(start(hash), BIG + SMALL);
        want_hash(hash, 1, 2);
    }
    (void)setenv("HOME", s.folder, 1); /* ~/.cache, which is made */
    assert_int_equal(start(hash), BIG + SMALL);
    assert_int_equal(start(hash), 0);
}

static void an_early_end_leaves_nothing_half(void **state)
{
    (void)state;
    char hash[LT_MODEL_HASH_BYTES];
    begin_each();
    (void)snprintf(cache, sizeof cache, "%s/early", s.folder);
    (void)setenv("XDG_CACHE_HOME", cache, 1);
    json_t *files = lt_model_files(model);
    lt_model_hash_begin(model, files);
    lt_model_hash_run();
    lt_model_hash_end();
    json_decref(files);
    (void)start(hash); /* whatever was known by then */
    want_hash(hash, 1, 2);
}

/* Heads are the same wherever and whenever the files were copied to; another byte is another. */
static void heads_tell_a_model(void **state)
{
    (void)state;
    char one[LT_MODEL_HASH_BYTES], two[LT_MODEL_HASH_BYTES];
    begin_each();
    json_t *files = lt_model_files(model);
    (void)lt_model_head_text(files, one);
    json_decref(files);
    assert_int_equal(strlen(one), 16);
    assert_int_equal(utimensat(AT_FDCWD, shard, NULL, 0), 0);
    files = lt_model_files(model);
    assert_string_equal(lt_model_head_text(files, two), one);
    json_decref(files);
    put(config, SMALL, 3);
    files = lt_model_files(model);
    assert_string_not_equal(lt_model_head_text(files, two), one);
    json_decref(files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_second_start_reads_nothing),
                                       cmocka_unit_test(what_changed_is_read_anew),
                                       cmocka_unit_test(what_is_young_is_not_kept),
                                       cmocka_unit_test(junk_is_not_used),
                                       cmocka_unit_test(nowhere_to_keep_is_no_error),
                                       cmocka_unit_test(an_early_end_leaves_nothing_half),
                                       cmocka_unit_test(heads_tell_a_model)};
    return cmocka_run_group_tests_name("model_hash", tests, setup, teardown);
}

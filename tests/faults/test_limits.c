/* test_limits.c - the machine's ends: a full disk, too little memory, latents that were cut.
 * Goal: a full disk is exit 74 and leaves no film, one that is known to be too small is told before
 * work (73), and latents that fitted can be decoded
 * elsewhere; a model that cannot fit is refused with numbers, at once, before a byte of it is read;
 * a cut latents.h5 is told. Method: a tmpfs of a few pages (skipped where mounting is not
 * permitted); a sparse shard of 58 GB with a right header. Ranks: 1. Needs: tests/parity/nano. */
#include <errno.h>
#include <sys/mount.h>

#include <sys/statvfs.h>

#include "model/h3/tensors.h"
#include "tests/support/film.h"
#include "tests/support/spoil.h"

#define NANO LT_SOURCE_DIR "/tests/parity/nano"

static scratch s;

static int setup(void **state)
{
    (void)state;
    scratch_new(&s);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)umount2(scratch_path(&s, "disk"), MNT_DETACH); /* where a test failed half-way */
    scratch_free(&s);
    return 0;
}

static void in_folder(char out[SPOIL_PATH], const char *name)
{
    (void)spoil_join(out, s.folder, name);
}

static void want_line(const char *name, const run_result *r, int code, const char *const wants[3])
{
    const char *line = strstr(r->err, "longtake: error: ");
    if (r->code != code || line == NULL || strstr(line + 1, "longtake: error: ") != NULL)
        fail_msg("%s: want exit code %d and one error line, found %d; %s", name, code, r->code,
                 r->err);
    for (int i = 0; i < 3 && wants[i] != NULL; i++)
        if (strstr(line, wants[i]) == NULL)
            fail_msg("%s: want \"%s\", found: %s", name, wants[i], line);
}

/* ---- disk full ---- */

/* Lossless frames of 96x96, 39 frames: about 1.5 MB; their latents: 9 kB. */
static const struct {
    const char *name, *size;
    int code;
    const char *says[2];
    int latents_fit;
} disks[] = {
    {"sound and latents cannot fit: told before work",
     "size=8k",
     73,
     {"disk: no room: the job writes 0.", " MB there, and 0.01 MB are free"},
     0},
    {"the latents fit, the film does not", "size=256k", 74, {"out.run/", "No space left"}, 1},
};

static void want_no_film(const char *name, const char *out)
{
    char path[SPOIL_PATH];
    static const char *const folders[] = {"disk", "disk/out.run"};
    if (run_exists(out))
        fail_msg("%s: left an output", name);
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        in_folder(path, folders[i]);
        DIR *all = opendir(path);
        for (struct dirent *e = all != NULL ? readdir(all) : NULL; e != NULL; e = readdir(all))
            if (strstr(e->d_name, ".mkv") != NULL || strncmp(e->d_name, ".longtake", 9) == 0)
                fail_msg("%s: left %s/%s", name, path, e->d_name);
        if (all != NULL)
            (void)closedir(all);
    }
}

static void disk_full_keeps_the_latents(void **state)
{
    (void)state;
    char disk[SPOIL_PATH], out[SPOIL_PATH], run[SPOIL_PATH], elsewhere[SPOIL_PATH];
    in_folder(disk, "disk");
    in_folder(out, "disk/out.mkv");
    in_folder(run, "disk/out.run");
    in_folder(elsewhere, "elsewhere.mkv");
    assert_int_equal(mkdir(disk, 0777), 0);
    for (size_t i = 0; i < sizeof disks / sizeof *disks; i++) {
        if (mount("tmpfs", disk, "tmpfs", 0, disks[i].size) != 0) {
            print_message("no small disk can be mounted here (%s)\n", strerror(errno));
            skip();
        }
        run_result r =
            run_longtake(&s, 1,
                         RUN_WORDS("render", "--model", NANO, "-p", "A ball.", "--size", "96x96",
                                   "--frames", "39", "--steps", "2", "--codec", "ffv1", "-o", out));
        want_line(disks[i].name, &r, disks[i].code,
                  (const char *const[3]){disks[i].says[0], disks[i].says[1]});
        if (disks[i].latents_fit && strstr(r.err, "hint: `longtake render --resume") == NULL)
            fail_msg("%s: want the hint of --resume, found %s", disks[i].name, r.err);
        if (disks[i].latents_fit && strstr(r.err, "the job may write ") == NULL)
            fail_msg("%s: want a warning before work, found %s", disks[i].name, r.err);
        if (!disks[i].latents_fit && run_exists(run))
            fail_msg("%s: left a run folder", disks[i].name);
        run_free(&r);
        want_no_film(disks[i].name, out);
        if (disks[i].latents_fit) {
            run_well(&s, 1,
                     RUN_WORDS("decode", run, "--model", NANO, "--codec", "ffv1", "-q", "-o",
                               elsewhere));
            film f = {0};
            film_read(elsewhere, &f);
            assert_int_equal(f.frames, 39);
            film_free(&f);
        }
        assert_int_equal(umount2(disk, 0), 0);
    }
}

/* ---- latents that were cut ---- */

static void cut_latents_are_told(void **state)
{
    (void)state;
    char run[SPOIL_PATH], out[SPOIL_PATH], file[SPOIL_PATH], again[SPOIL_PATH];
    in_folder(run, "cut.run");
    in_folder(out, "cut.mp4");
    in_folder(file, "cut.run/latents.h5");
    in_folder(again, "again.mp4");
    run_well(&s, 1,
             RUN_WORDS("render", "--model", NANO, "-p", "A ball.", "--size", "64x64", "--frames",
                       "22", "--steps", "2", "-q", "-o", out));
    bytes b = spoil_read(file);
    const struct {
        const char *name;
        size_t bytes;
    } cuts[] = {{"a tenth", b.count - b.count / 10},
                {"half of it", b.count / 2},
                {"all but 9 bytes", 9},
                {"all", 0}};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        spoil_write(file, b.data, cuts[i].bytes);
        run_result r = run_longtake(&s, 1, RUN_WORDS("decode", run, "-q", "-o", again));
        want_line(cuts[i].name, &r, 65, (const char *const[3]){"latents.h5"});
        assert_false(run_exists(again));
        run_free(&r);
    }
    /* One flipped bit somewhere in the middle: a checksum sees it, or the file does not open. */
    b.data[b.count / 2] = (char)(b.data[b.count / 2] ^ 4);
    for (size_t i = 0; i < b.count; i++)
        b.data[i] = (char)(b.data[i] ^ (i % 97 == 13 ? 0x40 : 0));
    spoil_write(file, b.data, b.count);
    run_result r = run_longtake(&s, 1, RUN_WORDS("decode", run, "-q", "-o", again));
    want_line("flipped bits", &r, 65, (const char *const[3]){"latents.h5"});
    assert_false(run_exists(again));
    run_free(&r);
    free(b.data);
}

/* ---- memory ---- */

typedef struct big {
    json_t *header;
    json_int_t at;
} big;

static lt_status add_tensor(void *ctx, const lt_wanted *wanted)
{
    big *b = ctx;
    json_int_t count = 1;
    json_t *shape = json_array();
    for (int i = 0; i < wanted->dims.ndim; i++) {
        count *= wanted->dims.dim[i];
        (void)json_array_append_new(shape, json_integer(wanted->dims.dim[i]));
    }
    (void)json_object_set_new(b->header, wanted->name,
                              json_pack("{s:s, s:o, s:[I, I]}", "dtype", "BF16", "shape", shape,
                                        "data_offsets", b->at, b->at + 2 * count));
    b->at += 2 * count;
    return LT_OK;
}

static void remove_shards(const char *folder)
{
    char path[SPOIL_PATH];
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e != NULL; e = readdir(dir))
        if (strstr(e->d_name, "safetensors") != NULL) {
            assert_int_equal(unlink(spoil_join(path, folder, e->d_name)), 0);
        }
    (void)closedir(dir);
}

/* A DiT of 29 billion parameters beside nano's other parts. Returns the size of its one file. */
static off_t make_big(const char *model)
{
    char dit[SPOIL_PATH], file[SPOIL_PATH];
    spoil_copy(NANO, model);
    (void)spoil_join(dit, model, "transformer");
    remove_shards(dit);
    (void)spoil_join(file, dit, "config.json");
    spoil_replace(file, "\"hidden_size\": 28", "\"hidden_size\": 6144");
    spoil_replace(file, "\"num_layers\": 3", "\"num_layers\": 64");
    spoil_replace(file, "\"ffn_dim\": 44", "\"ffn_dim\": 16384");
    spoil_replace(file, "\"num_attention_heads\": 3", "\"num_attention_heads\": 48");
    spoil_replace(file, "\"attention_head_dim\": 16", "\"attention_head_dim\": 128");
    big b = {.header = json_object()};
    if (lt_h3_part_dit.tensors(dit, add_tensor, &b) != LT_OK)
        fail_msg("%s", lt_error_text());
    char *text = json_dumps(b.header, JSON_COMPACT);
    const uint64_t n = strlen(text);
    (void)spoil_join(file, dit, "diffusion_pytorch_model.safetensors");
    FILE *f = fopen(file, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(&n, 1, sizeof n, f), sizeof n);
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    free(text);
    json_decref(b.header);
    const off_t bytes_all = (off_t)(8 + n) + (off_t)b.at;
    return truncate(file, bytes_all) == 0 ? bytes_all : 0; /* a hole: no disk is used */
}

static void too_big_is_refused_at_once(void **state)
{
    (void)state;
    char model[SPOIL_PATH], out[SPOIL_PATH], run[SPOIL_PATH];
    in_folder(model, "big");
    in_folder(out, "big.mp4");
    in_folder(run, "big.run");
    const off_t size = make_big(model);
    if (size == 0) {
        print_message("this file system holds no sparse file of 58 GB (%s)\n", strerror(errno));
        skip();
    }
    assert_true(size > 50000000000);
    const char *const no_room =
        "/dev/shm"; /* has no 58 GB for layers that take turns, or is such */
    struct statvfs fs;
    const int is_small =
        statvfs(no_room, &fs) == 0 && (double)fs.f_bavail * (double)fs.f_frsize < 40e9;
    for (int turns = 0; turns < 1 + is_small; turns++) {
        const char *const *all = /* all layers stay, or as many as fit */
            turns == 0 ? RUN_WORDS("render", "--model", model, "-p", "A ball.", "--size", "64x64",
                                   "--frames", "22", "--steps", "2", "-q", "-o", out,
                                   "--resident-layers", "1000")
                       : RUN_WORDS("render", "--model", model, "-p", "A ball.", "--size", "64x64",
                                   "--frames", "22", "--steps", "2", "-q", "-o", out);
        assert_int_equal(setenv("TMPDIR", no_room, 1), 0);
        run_result r = run_longtake(&s, 1, all);
        assert_int_equal(unsetenv("TMPDIR"), 0);
        if (r.code == 0 || r.peak_kib > 500 * 1024) /* where it fits it would render zeros */
            fail_msg("want a refusal before work, found exit code %d, %ld KiB", r.code, r.peak_kib);
        want_line("58 GB", &r, 69,
                  (const char *const[3]){"the dit phase needs", "GiB", "this host has"});
        if (turns && strstr(r.err, "layers that take turns want ") == NULL)
            fail_msg("want to be told what TMPDIR lacks, found %s", r.err);
        if (r.seconds > 10) /* 0.3 s where the machine is idle; nothing is read */
            fail_msg("want it at once, found %.1f s", r.seconds);
        assert_false(run_exists(out));
        assert_false(run_exists(run));
        print_message("%s", r.err);
        run_free(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(disk_full_keeps_the_latents),
        cmocka_unit_test(cut_latents_are_told),
        cmocka_unit_test(too_big_is_refused_at_once),
    };
    return cmocka_run_group_tests_name("limits", tests, setup, teardown);
}

/* fuzz_strangers.h - what the targets share that run whole verbs on a stranger's files.
 * A folder of their own in memory, a run of the tiny model as seed, and the verbs, called as main
 * calls them, alone. Every verb must end in a status that is no bug of ours (LT_ESHAPE,
 * LT_EINTERNAL: exit code 70) and, if it fails, with a line. */
#ifndef FUZZ_STRANGERS_H
#define FUZZ_STRANGERS_H

#include "fuzz_main.h"

#include <inttypes.h>
#include <pthread.h>
#include <sys/stat.h>
#include <xxhash.h>

#include "base/file.h"
#include "base/log.h"
#include "parallel/world.h"
#include "run/denoise/clip.h"
#include "run/describe.h"
#include "run/pipeline.h"
#include "run/plan_json.h"
#include "run/store_hdf5_internal.h"
#include "run/store_latents.h"

#define NANO LT_SOURCE_DIR "/tests/parity/nano"

static inline void require(int truth)
{
    if (!truth)
        abort();
}

static inline void require_ended_well(lt_status st)
{
    if (st == LT_ESHAPE || st == LT_EINTERNAL || (st != LT_OK && lt_error_text()[0] == '\0')) {
        lt_error_print(stderr, 1);
        abort();
    }
    lt_error_clear();
}

/* A reader's child that a sanitizer ends is no finding, and keeps no input. */
extern void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));
static inline void fuzz_in_child(void)
{
    if (__sanitizer_set_death_callback != NULL)
        __sanitizer_set_death_callback(NULL);
}

static char fuzz_folder[64];

static inline const char *fuzz_path(const char *name)
{
    static char path[4][LT_PATH_BYTES];
    static int turn;
    turn = (turn + 1) % 4;
    (void)snprintf(path[turn], sizeof path[turn], "%s/%s", fuzz_folder, name);
    return path[turn];
}

static inline void fuzz_folder_remove(void)
{
    static const char *const names[] = {
        "seed.run/latents.h5", "seed.run",          "run/latents.h5", "run/plan.json",
        "run/job.yaml",        "run/manifest.json", "run/out.mp4",    "run",
        "latents.h5",          "out.mkv",           "in.safetensors", "out.safetensors"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        (void)remove(fuzz_path(names[i]));
    (void)rmdir(fuzz_folder);
}

/* The first thing that a target does; the world is a rank alone. */
static inline lt_group *fuzz_begin(void)
{
    static lt_group *world;
    if (world != NULL)
        return world;
    const int memory = access("/dev/shm", W_OK) == 0;
    (void)snprintf(fuzz_folder, sizeof fuzz_folder, "%s/longtake-fuzz-XXXXXX",
                   memory ? "/dev/shm" : "/tmp");
    require(mkdtemp(fuzz_folder) != NULL);
    (void)atexit(fuzz_folder_remove);
    require(pthread_atfork(NULL, NULL, fuzz_in_child) == 0);
    lt_log_open(0, 1, 0);
    require(lt_world_open(&world) == LT_OK);
    return world;
}

static inline void fuzz_write(const char *name, const void *data, size_t bytes)
{
    FILE *f = fopen(fuzz_path(name), "wb");
    require(f != NULL && fwrite(data, 1, bytes, f) == bytes && fclose(f) == 0);
}

/* A latents.h5 of these bytes, and our seal behind them. */
static inline void fuzz_write_latents(const char *name, const uint8_t *data, size_t bytes,
                                      int sealed)
{
    char seal[LT_H5_SEAL_BYTES + 1];
    FILE *f = fopen(fuzz_path(name), "wb");
    require(f != NULL && fwrite(data, 1, bytes, f) == bytes);
    (void)snprintf(seal, sizeof seal, LT_H5_SEAL "%016" PRIx64, (uint64_t)XXH64(data, bytes, 0));
    require(!sealed || fwrite(seal, 1, LT_H5_SEAL_BYTES, f) == LT_H5_SEAL_BYTES);
    require(fclose(f) == 0);
}

/* Words as main gives them to a verb. The caller frees *options. */
static inline void fuzz_options(unsigned verb, int count, const char *const *words, lt_job *job,
                                lt_options **options)
{
    const char *rest[4];
    size_t rest_count = 0;
    memset(job, 0, sizeof *job);
    require(lt_options_new(lt_job_options, (size_t)lt_job_option_count, verb, job, options) ==
            LT_OK);
    require(lt_options_parse_args(*options, count, (char *const *)(uintptr_t)words, rest, 4,
                                  &rest_count) == LT_OK);
    if (verb == LT_VERB_RENDER && rest_count == 1) /* a job file; flags win */
        require(lt_options_parse_yaml(*options, rest[0]) == LT_OK);
}

static inline void fuzz_decode(const char *run, int unsealed)
{
    lt_group *world = fuzz_begin();
    lt_job job;
    lt_options *options = NULL;
    lt_outcome out = {0};
    const char *const words[] = {"decode",    "--model",   NANO, "--codec", "ffv1",
                                 "-q",        "--threads", "1",  "-o",      fuzz_path("out.mkv"),
                                 "--unsealed"};
    fuzz_options(LT_VERB_DECODE, 10 + (unsealed != 0), words, &job, &options);
    const lt_status st = lt_decode_run(&job, options, run, world, &out);
    json_decref(out.stages);
    lt_options_free(&options);
    (void)unlink(fuzz_path("out.mkv"));
    require_ended_well(st);
}

static inline void fuzz_inspect(const char *path, int unsealed)
{
    json_t *answer = NULL;
    char *text = NULL;
    size_t bytes = 0;
    (void)fuzz_begin();
    FILE *to = open_memstream(&text, &bytes);
    require(to != NULL);
    const lt_status st = lt_describe_run(path, unsealed, to, &answer);
    (void)fclose(to);
    free(text);
    json_decref(answer);
    require_ended_well(st);
}

#ifdef LT_LIBFUZZER
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t size_max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed);

/* Mostly in place: these files are full of addresses, and a byte more or less breaks all of them.
 * A digit becomes another digit, so that numbers in texts change. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed)
{
    static const uint8_t edges[] = {0x00, 0x01, 0x02, 0x04, 0x08, 0x10, 0x7f, 0x80, 0xfe, 0xff};
    if (size < 2 || seed % 8 == 0)
        return LLVMFuzzerMutate(data, size, size_max);
    for (unsigned n = 1 + seed / 8 % 4; n > 0; n--) {
        seed = seed * 1664525u + 1013904223u;
        uint8_t *at = &data[seed % size];
        seed = seed * 1664525u + 1013904223u;
        if (*at >= '0' && *at <= '9')
            *at = (uint8_t)('0' + seed / 65536 % 10);
        else if (seed & 65536)
            *at = edges[seed / 131072 % sizeof edges];
        else
            *at = (uint8_t)(*at ^ 1u << seed / 131072 % 8);
    }
    return size;
}
#endif

/* ---- a run of the tiny model, not denoised ---- */

/* seed.run/latents.h5 as render leaves it, and its plan's text (the caller frees it). */
static inline char *fuzz_seed_of(const char *const *words, int count)
{
    lt_group *world = fuzz_begin();
    lt_job job;
    lt_options *options = NULL;
    lt_model *model = NULL;
    lt_nodes nodes = {0};
    lt_plan draft = {0}, plan = {0};
    lt_clip clip[2] = {{.count = 0}, {.count = 0}};
    lt_film_shot *shot = NULL;
    int shots = 0;
    char *text = NULL;
    fuzz_options(LT_VERB_RENDER, count, words, &job, &options);
    require(lt_group_nodes(world, &nodes) == LT_OK && lt_model_open(NANO, &model) == LT_OK);
    require(lt_plan_make(&job, "shots", model, &nodes, &draft) == LT_OK);
    require(lt_plan_to_text(&draft, NULL, &text) == LT_OK);
    require(lt_plan_from_json(text, strlen(text), &plan) == LT_OK);
    require(lt_plan_streams(&plan, model) == LT_OK);
    require(lt_film_shots(&plan, model, &shot, &shots) == LT_OK && shots >= 1 && shots <= 2);
    for (int i = 0; i < shots; i++) {
        require(lt_clip_new(&shot[i].plan, &clip[i]) == LT_OK);
        lt_clip_noise(&shot[i].plan, &clip[i]);
    }
    require(mkdir(plan.run, 0700) == 0 && lt_store_latents(&plan, shot, clip, shots) == LT_OK);
    for (int i = 0; i < shots; i++)
        lt_clip_free(&clip[i]);
    free(shot);
    lt_plan_free(&draft);
    lt_plan_free(&plan);
    lt_nodes_free(&nodes);
    lt_model_close(&model);
    lt_options_free(&options);
    return text;
}

static inline char *fuzz_seed_run(void)
{
    (void)fuzz_begin(); /* which makes the folder of the paths */
    const char *const words[] = {
        "render", "--model", NANO,      "-p", "A ball.", "--frames", "5",
        "--size", "32x32",   "--steps", "2",  "-q",      "-o",       fuzz_path("seed.mkv")};
    return fuzz_seed_of(words, 14);
}

/* Of a storyboard of two shots, at board.run. */
static inline char *fuzz_seed_board(void)
{
    static const char board[] =
        "shots: [{prompt: A ball., frames: 5}, {prompt: A cube., frames: 4, seed: 3}]\n";
    (void)fuzz_begin();
    fuzz_write("board.yaml", (const uint8_t *)board, sizeof board - 1);
    const char *const words[] = {
        "render", fuzz_path("board.yaml"), "--model", NANO, "--size", "32x32", "--steps", "2", "-q",
        "-o",     fuzz_path("board.mkv")};
    return fuzz_seed_of(words, 11);
}

static inline void fuzz_attribute(hid_t to, const char *name, hid_t type, const void *value)
{
    const hid_t space = H5Screate(H5S_SCALAR);
    const hid_t a = H5Acreate2(to, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    require(a >= 0 && H5Awrite(a, type, value) >= 0);
    (void)H5Aclose(a);
    (void)H5Sclose(space);
}

/* The same in HDF5's oldest format, whose headers have no checksums, with texts of variable length:
 * what older versions of ours wrote. */
static inline void fuzz_seed_old(const char *from, const char *to)
{
    static const char *const names[] = {"latents", "audio_latents"};
    lt_latents *file = NULL;
    const char *key;
    json_t *value;
    require(lt_latents_open(from, 0, &file) == LT_OK);
    const hid_t in = H5Fopen(from, H5F_ACC_RDONLY, H5P_DEFAULT);
    const hid_t out = H5Fcreate(to, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hid_t text_type = H5Tcopy(H5T_C_S1);
    require(in >= 0 && out >= 0 && H5Tset_size(text_type, H5T_VARIABLE) >= 0);
    for (int i = 0; i < 2; i++)
        require(H5Ocopy(in, names[i], out, names[i], H5P_DEFAULT, H5P_DEFAULT) >= 0);
    json_object_foreach ((json_t *)(uintptr_t)lt_latents_attributes(file), key, value) {
        const char *text = json_string_value(value);
        const int64_t number = json_integer_value(value);
        if (strcmp(key, "streams") == 0)
            continue;
        if (text != NULL)
            fuzz_attribute(out, key, text_type, &text);
        else
            fuzz_attribute(out, key, H5T_NATIVE_INT64, &number);
    }
    (void)H5Tclose(text_type);
    (void)H5Fclose(out);
    (void)H5Fclose(in);
    lt_latents_close(&file);
}

/* A file's bytes but the last `without`, behind `head`; never freed. */
static inline fuzz_seed fuzz_seed_file(const char *head, size_t head_bytes, const char *path,
                                       size_t without)
{
    char *text = NULL;
    size_t bytes = 0;
    require(lt_file_read(path, 1 << 20, &text, &bytes) == LT_OK && bytes >= without);
    char *whole = malloc(head_bytes + bytes);
    require(whole != NULL);
    memcpy(whole, head, head_bytes);
    memcpy(whole + head_bytes, text, bytes - without);
    free(text);
    return (fuzz_seed){whole, head_bytes + bytes - without};
}

#endif

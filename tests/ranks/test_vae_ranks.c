/* test_vae_ranks.c - H3's video decoder over tp = 1 to 4 against one rank.
 * Goal: every tp gives the frames of one rank within 1e-5 of the largest value, the same bits on
 * all its ranks, also where ranks have no heads (2 heads on 3 and 4), where columns don't divide
 * (64 by 3), and in tiles of one, two and three row blocks; `far` gives the bits of `cpu`; a rank
 * reads and keeps its share only, in as few reads as one rank, and a dry run counts that; a rank
 * that only helps gets no frames and changes none; files that fail on one rank are an error there
 * and of no wait. Method: the first P ranks of the world form a mesh; each rank also decodes alone.
 * Ranks: as launched; meshes with more are left out. Needs: tests/parity/nano, nano-original. */
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"
#include "tests/support/ranks.h"

#include <math.h>
#include <stdlib.h>

#include "model/h3/names.h"
#include "model/h3/video_vae.h"
#include "model/weights/collective_read.h"

#define DATA LT_SOURCE_DIR "/tests/parity/"

/* f32 sums in another order: DESIGN section 9. */
static const double tolerance = 1e-5;

typedef struct request {
    const char *name, *weights, *config;
    const lt_backend *backend;
    int64_t t, h, w; /* of the latents */
} request;

#define NANO     DATA "nano/vae", DATA "nano/vae/config.json"
#define ORIGINAL DATA "nano-original/video_vae/source", DATA "nano-original/video_vae/config.json"

/* What one rank of one mesh made. */
typedef struct result {
    int64_t count, frame_count;
    float *frames;
    uint64_t read_bytes, reads;
    size_t weight_bytes, work_bytes; /* peaks of the arenas */
} result;

static lt_status take(void *ctx, int64_t first_frame, int64_t count, const float *frames)
{
    result *r = ctx;
    const int64_t values = r->count / r->frame_count;
    memcpy(r->frames + first_frame * values, frames, (size_t)(count * values) * sizeof *frames);
    return LT_OK;
}

static result decode(const request *q, const lt_mesh *mesh, const lt_backend *backend)
{
    lt_engine engine;
    lt_checkpoint *files;
    lt_h3_video_config config;
    lt_h3_video_decoder *decoder;
    result r = {0};
    const int dry = backend == &lt_backend_dry;
    OK(lt_h3_video_config_read(q->config, &config));
    OK(lt_engine_open(backend, 0, 1, mesh, (size_t)1 << 28, (size_t)1 << 28, &engine));
    OK(lt_checkpoint_open(q->weights,
                          (const lt_name_map[]){lt_h3_names(&lt_h3_video_names, config.head_dim)},
                          &files));
    const uint64_t before = lt_checkpoint_bytes_read(), reads_before = lt_checkpoint_reads();
    OK(lt_h3_video_decoder_open(files, &engine, &config, &decoder));
    r.read_bytes = lt_checkpoint_bytes_read() - before;
    r.reads = lt_checkpoint_reads() - reads_before;
    r.frame_count = lt_h3_video_frame_count(&config, q->t);
    r.count = r.frame_count * 3 * 256 * q->h * q->w;
    r.frames = calloc((size_t)r.count, sizeof *r.frames);
    float *z = spread(config.latent_channels * q->t * q->h * q->w, 1);
    WANT(r.frames != NULL);
    for (int twice = 0; twice < 2; twice++) /* a second film must find nothing of the first */
        OK(lt_h3_video_decode(decoder, dry ? NULL : z, q->t, q->h, q->w, take, &r));
    WANT(lt_arena_used(engine.step) == 0);
    r.weight_bytes = lt_arena_peak(engine.phase);
    r.work_bytes = lt_arena_peak(engine.step);
    lt_h3_video_decoder_close(&decoder);
    lt_checkpoint_close(&files);
    lt_engine_close(&engine);
    free(z);
    return r;
}

/* Bytes of what tp splits: the linear layers of the blocks, with their biases. */
static double blocks_bytes(const request *q)
{
    lt_h3_video_config c;
    OK(lt_h3_video_config_read(q->config, &c));
    const int64_t E = c.heads * c.head_dim, M = E * c.ffn_mult;
    return 4.0 * (double)(c.layers * (4 * E * (E + 1) + 2 * M * (E + 1) + E * (M + 1)));
}

/* share: of the blocks, what a rank reads at most: its heads and columns, and the biases of two
 * layers on rank 0. nano: 2 heads, a quarter of a block; 64 columns, the rest. */
static const struct {
    const char *mesh;
    double share;
} meshes[] = {
    {"tp=1", 1.0},  {"tp=2", 0.51},
    {"tp=3", 0.39},                       /* 2 heads: the last rank has FFN columns alone */
    {"tp=4", 0.32}, {"win=2,tp=2", 0.51}, /* two groups, as the pool has them */
};

static void mesh_agrees(const request *q, const char *spec, double allowed, const lt_mesh *mesh,
                        const result *alone)
{
    char text[128];
    (void)snprintf(text, sizeof text, "%s, %s", q->name, spec);
    lt_dry_target(q->backend);
    result r = decode(q, mesh, q->backend), dry = decode(q, mesh, &lt_backend_dry);
    lt_dry_target(&lt_backend_cpu);
    const double worst = distance(r.frames, alone->frames, r.count);
    want(worst <= tolerance, text, "frames", worst, tolerance);
    const double blocks = blocks_bytes(q);
    const double read = 1 - ((double)alone->read_bytes - (double)r.read_bytes) / blocks;
    const double kept = 1 - ((double)alone->weight_bytes - (double)r.weight_bytes) / blocks;
    want(read <= allowed, text, "share of the blocks read", read, allowed);
    /* rows are read whole; the halves of SwiGLU take two reads */
    want(r.reads <= 2 * alone->reads, text, "reads", (double)r.reads, 2 * (double)alone->reads);
    /* packed layers are padded to whole tiles, which shows at nano's widths */
    want(kept <= allowed + 0.06, text, "share of the blocks kept", kept, allowed + 0.06);
    want(dry.weight_bytes == r.weight_bytes, text, "weights of a dry run", (double)dry.weight_bytes,
         (double)r.weight_bytes);
    want(dry.work_bytes == r.work_bytes, text, "work of a dry run", (double)dry.work_bytes,
         (double)r.work_bytes);
    same_on_all(mesh->world, text, "frames on all ranks (bits)", r.frames, r.count);
    if (lt_group_rank(world) == 0)
        print_message("    %-32s %.1e, read %.2f, kept %.2f\n", text, worst, read, kept);
    free(dry.frames);
    if (q->backend == &lt_backend_far) {
        result cpu = decode(q, mesh, &lt_backend_cpu);
        want(memcmp(cpu.frames, r.frames, (size_t)r.count * sizeof *r.frames) == 0, text,
             "bits of cpu", 1, 0);
        free(cpu.frames);
    }
    free(r.frames);
}

typedef struct comparison {
    const request *q;
    size_t mesh;
    const result *alone;
} comparison;

static void compare(const lt_mesh *mesh, void *ctx)
{
    const comparison *c = ctx;
    mesh_agrees(c->q, meshes[c->mesh].mesh, meshes[c->mesh].share, mesh, c->alone);
}

static void all_meshes(const request *q)
{
    result alone = decode(q, NULL, q->backend); /* no mesh at all: this rank alone */
    for (size_t i = 0; i < sizeof meshes / sizeof *meshes; i++)
        on_mesh(meshes[i].mesh, compare, &(comparison){q, i, &alone});
    free(alone.frames);
}

static void agrees_with_one_rank(void **state)
{
    (void)state;
    const request cases[] = {
        {"one block", NANO, &lt_backend_cpu, 7, 3, 5},              /* 110 rows */
        {"two blocks, two clips", NANO, &lt_backend_cpu, 12, 9, 9}, /* 572 rows */
        {"three blocks", NANO, &lt_backend_cpu, 7, 13, 13},         /* 1,188 rows */
        {"two tiles", NANO, &lt_backend_cpu, 7, 2, 18},
        {"padded in time", NANO, &lt_backend_cpu, 9, 2, 3},
        {"original layout", ORIGINAL, &lt_backend_cpu, 7, 3, 5},
        {"ref", NANO, &lt_backend_ref, 7, 3, 5},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        all_meshes(&cases[i]);
}

static void agrees_on_far(void **state)
{
    (void)state;
    all_meshes(&(request){"far, one block", NANO, &lt_backend_far, 7, 3, 5});
    all_meshes(&(request){"far, two blocks", NANO, &lt_backend_far, 12, 9, 9});
}

/* ---- helpers ---- */

static void helpers_check(const lt_mesh *mesh, void *ctx)
{
    const lt_backend *backend = ctx;
    const request q = {"helpers", NANO, backend, 7, 9, 18}; /* two tiles of two blocks */
    const int64_t count = 28 * 3 * 256 * q.h * q.w;
    const size_t bytes = (size_t)count * sizeof(float);
    lt_engine engine;
    lt_checkpoint *files;
    lt_h3_video_config config;
    lt_h3_video_decoder *decoder;
    float *all = calloc((size_t)count, sizeof *all), *some = calloc((size_t)count, sizeof *some);
    WANT(all != NULL && some != NULL);
    OK(lt_h3_video_config_read(q.config, &config));
    OK(lt_engine_open(backend, 0, 1, mesh, (size_t)1 << 28, (size_t)1 << 28, &engine));
    OK(lt_checkpoint_open(q.weights,
                          (const lt_name_map[]){lt_h3_names(&lt_h3_video_names, config.head_dim)},
                          &files));
    OK(lt_h3_video_decoder_open(files, &engine, &config, &decoder));
    float *z = spread(config.latent_channels * q.t * q.h * q.w, 1);
    const int keeps = lt_group_rank(mesh->axis[LT_AXIS_TP]) == 0;
    OK(lt_h3_video_decode_chunk(decoder, z, q.t, q.h, q.w, keeps ? some : NULL));
    OK(lt_h3_video_decode_chunk(decoder, z, q.t, q.h, q.w, all)); /* now it keeps them */
    want(!keeps || memcmp(all, some, bytes) == 0, "tp=3", "bits with helpers", 1, 0);
    memset(some, 0, bytes);
    OK(lt_h3_video_decode_chunk(decoder, z, q.t, q.h, q.w, keeps ? some : NULL)); /* and helps */
    want(!keeps || memcmp(all, some, bytes) == 0, "tp=3", "bits with helpers again", 1, 0);
    WANT(lt_arena_used(engine.step) == 0);
    lt_h3_video_decoder_close(&decoder);
    lt_checkpoint_close(&files);
    lt_engine_close(&engine);
    free(z);
    free(all);
    free(some);
}

static void helpers_get_no_frames(void **state)
{
    (void)state;
    static const lt_backend *const backends[] = {&lt_backend_cpu, &lt_backend_far};
    for (size_t i = 0; i < 2; i++)
        on_mesh("tp=3", helpers_check, (void *)(uintptr_t)backends[i]);
}

/* ---- bad files ---- */

/* A layer too many in the config of the last rank, which has no heads: names and shapes of what it
 * doesn't read are checked all the same, and the others, who load with it, learn what it found. */
static void refusal_check(const lt_mesh *mesh, void *ctx)
{
    (void)ctx;
    lt_engine engine;
    lt_checkpoint *files;
    lt_h3_video_config config;
    lt_h3_video_decoder *decoder;
    const int bad = lt_group_rank(mesh->world) == 2;
    const request q = {"refusal", NANO, &lt_backend_cpu, 7, 2, 2};
    OK(lt_h3_video_config_read(q.config, &config));
    for (int kind = 0; kind < 2; kind++) {
        lt_h3_video_config mine = config;
        if (bad && kind == 0)
            mine.layers++;
        if (bad && kind == 1)
            mine.ffn_mult++;
        OK(lt_engine_open(q.backend, 0, 1, mesh, (size_t)1 << 28, (size_t)1 << 28, &engine));
        OK(lt_checkpoint_open(
            q.weights, (const lt_name_map[]){lt_h3_names(&lt_h3_video_names, config.head_dim)},
            &files));
        const lt_status st = lt_h3_video_decoder_open(files, &engine, &mine, &decoder);
        WANT(st == (bad ? LT_EDATA : LT_EPEER) && decoder == NULL);
        WANT(strstr(lt_error_text(), kind == 0 ? "transformer_blocks.3" : "ff.net") != NULL);
        WANT(lt_agree(mesh->world, st) == (bad ? LT_EDATA : LT_EPEER));
        lt_error_clear();
        lt_h3_video_decoder_close(&decoder);
        WANT(lt_arena_used(engine.phase) == 0);
        lt_checkpoint_close(&files);
        lt_engine_close(&engine);
    }
}

static void bad_files_are_refused(void **state)
{
    (void)state;
    on_mesh("tp=3", refusal_check, NULL);
}

int main(void)
{
    if (ranks_open() != 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_one_rank),
        cmocka_unit_test(agrees_on_far),
        cmocka_unit_test(helpers_get_no_frames),
        cmocka_unit_test(bad_files_are_refused),
    };
    const int failed = cmocka_run_group_tests_name("vae_ranks", tests, NULL, NULL);
    ranks_close();
    return failed;
}

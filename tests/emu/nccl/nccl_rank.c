/* nccl_rank.c - one rank of what test_nccl.c runs under mpirun: exchange_nccl.c over the stand-in.
 *
 *     nccl_rank CASE [BUG]    0: as it should be; else a line says what was found
 *
 * The backend is kernels/cuda as code of the host (tests/shim). BUG names a seeded one: the source
 * with one line changed (bugs.txt), built into the program nccl_bugs.
 *
 *     bits      every collective, twice, over nccl and staged: equal bits; nothing connected and no
 *               device or pinned memory taken once the engine is open
 *     open      communicators, CTAs, pairs; q, k and v of Ulysses in one group
 *     dit       a nano H3's velocities on meshes of all ranks: the bits of staged
 *     share     two ranks on one device: staged, by agreement     old, versions   likewise
 *     sizes     a send of 5 meets a receive of 6: refused on both ranks, and all ends in order
 *     types     likewise of another type         order   two groups, used in another order
 *     fails     NCCL fails on rank 1             late    a peer that comes a second later
 *     cancel    rank 0 gives up with an exchange on the stream that rank 1 never comes to
 *     killed    a peer that is killed while this rank sits in a sync */
#include <signal.h>
#include <time.h>

#include "base/clock.h"
#include "kernels/cuda/cuda.h"
#include "model/h3/dit.h"
#include "model/h3/names.h"
#include "parallel/attention/attention.h"
#include "parallel/collective/exchange.h"
#include "parallel/collective/ordered_reduce.h"
#include "parallel/transport/agree.h"
#include "tests/emu/nccl/standin.h"
#include "tests/shim/cuda_runtime_api.h"
#include "tests/support/ranks.h"

static const lt_device_exchange *nccl = &lt_exchange_nccl;

enum { KEPT_BYTES = 1 << 22, ARENA_BYTES = 1 << 25 };

/* What a run made, one output behind the other. */
typedef struct {
    char *at;
    size_t bytes;
} kept;

static const lt_comm_need plenty = {1 << 22, 1 << 22, 1 << 22};

static void open_engine(lt_engine *e, const lt_mesh *mesh, int connected)
{
    OK(lt_engine_open(&lt_backend_cuda, lt_group_rank(world), 1, mesh, ARENA_BYTES, ARENA_BYTES,
                      e));
    if (connected)
        OK(lt_engine_connect(e, mesh, &plenty));
    else
        OK(lt_comm_memory_reserve(e->memory, &plenty));
}

static lt_tensor values(lt_engine *e, lt_dtype dtype, int64_t rows, int64_t width, int64_t seed)
{
    lt_tensor x;
    float *from = spread(rows * width, seed * 1000 + lt_group_rank(world));
    char *host = calloc((size_t)(rows * width) + 1, sizeof *from);
    WANT(host != NULL);
    lt_convert(from, LT_F32, host, dtype, (size_t)(rows * width));
    OK(lt_tensor_new(e->step, "x", dtype, &x, LT_DIMS(rows, width)));
    OK(lt_upload(e->compute, &x, host));
    OK(lt_sync(e->compute));
    free(host);
    free(from);
    return x;
}

/* On compute, behind done. */
static void keep(lt_engine *e, const lt_tensor *y, const lt_event *done, kept *k)
{
    WANT(k->bytes + lt_tensor_bytes(y) <= KEPT_BYTES);
    OK(lt_wait(e->compute, done));
    OK(lt_download(e->compute, k->at + k->bytes, y));
    k->bytes += lt_tensor_bytes(y);
}

/* ---- collectives ---- */

static void gathers(lt_engine *e, lt_group *group, lt_dtype dtype, kept *k)
{
    enum { ROWS = 9, WIDTH = 5 };
    const int size = lt_group_size(group), rank = lt_group_rank(group);
    lt_event after, done;
    for (int all_on = -1; all_on < size; all_on++) { /* -1: even; else one rank has all rows */
        int64_t counts[RANKS_MAX];
        lt_tensor y;
        for (int i = 0; i < size; i++)
            counts[i] = all_on < 0 ? lt_share(ROWS, size, i).count : i == all_on ? ROWS : 0;
        const lt_tensor x = values(e, dtype, counts[rank], WIDTH, 1);
        OK(lt_tensor_new(e->step, "y", dtype, &y, LT_DIMS(ROWS, WIDTH)));
        OK(lt_mark_event(e->compute, &after));
        OK(lt_all_gather_rows(e, group, &after, &x, counts, &y, &done));
        keep(e, &y, &done, k);
    }
}

static void sums(lt_engine *e, lt_group *group, lt_dtype dtype, kept *k)
{
    static const int64_t rows[] = {3, 1200};
    enum { WIDTH = 32, TOTAL = 40 };
    lt_tree_node node[LT_TREE_NODES_MAX];
    const int nodes =
        lt_tree_nodes(TOTAL, lt_chunks_of(lt_group_size(group), lt_group_rank(group)), node);
    lt_event after, done;
    lt_tensor y;
    for (int i = 0; i < 2; i++) {
        const lt_tensor x = values(e, LT_F32, rows[i], WIDTH, 2);
        OK(lt_tensor_new(e->step, "y", dtype, &y, LT_DIMS(rows[i], WIDTH)));
        OK(lt_mark_event(e->compute, &after));
        OK(lt_all_reduce(e, group, &after, &x, &y, &done));
        keep(e, &y, &done, k);
    }
    const lt_tensor x = values(e, LT_F32, 7, nodes * WIDTH, 3);
    OK(lt_tensor_new(e->step, "y", dtype, &y, LT_DIMS(7, WIDTH)));
    OK(lt_mark_event(e->compute, &after));
    OK(lt_ordered_reduce(e, group, TOTAL, &after, &x, &y, &done));
    keep(e, &y, &done, k);
}

/* There, q, k and v at once, and back; rows of no rank but the first, too. */
static void heads(lt_engine *e, lt_group *group, lt_dtype dtype, kept *k)
{
    enum { ROWS = 13, HEADS = 5, D = 4, TENSORS = 3 };
    const int size = lt_group_size(group), rank = lt_group_rank(group);
    for (int one = 0; one < 2; one++) {
        lt_range rows[RANKS_MAX], of_heads[RANKS_MAX];
        lt_tensor x[TENSORS], y[TENSORS];
        lt_event after, done;
        for (int i = 0; i < size; i++) {
            rows[i] =
                one ? (lt_range){i > 0 ? ROWS : 0, i > 0 ? 0 : ROWS} : lt_share(ROWS, size, i);
            of_heads[i] = lt_share(HEADS, size, i);
        }
        for (int t = 0; t < TENSORS; t++) {
            x[t] = values(e, dtype, rows[rank].count, HEADS * D, 10 + t);
            OK(lt_tensor_new(e->step, "y", dtype, &y[t], LT_DIMS(ROWS, of_heads[rank].count * D)));
        }
        const lt_tensor *const from[TENSORS] = {&x[0], &x[1], &x[2]};
        lt_tensor *const to[TENSORS] = {&y[0], &y[1], &y[2]};
        OK(lt_mark_event(e->compute, &after));
        OK(lt_all_to_all_heads_each(e, group, &after, from, TENSORS, rows, of_heads, D, to, &done));
        for (int t = 0; t < TENSORS; t++)
            keep(e, &y[t], &done, k);
        OK(lt_mark_event(e->compute, &after));
        OK(lt_all_to_all_rows(e, group, &after, &y[1], rows, of_heads, D, &x[0], &done));
        keep(e, &x[0], &done, k);
    }
}

/* As the ring does: what came is sent on, without a sync between. */
static void passes(lt_engine *e, lt_group *group, lt_dtype dtype, kept *k)
{
    enum { ROWS = 300, WIDTH = 64 }; /* more than a channel of the stand-in holds */
    const int size = lt_group_size(group), rank = lt_group_rank(group);
    const int next = (rank + 1) % size, before = (rank + size - 1) % size;
    lt_tensor now = values(e, dtype, ROWS, WIDTH, 20), other[2];
    lt_event after, done;
    for (int i = 0; i < 2; i++)
        OK(lt_tensor_new(e->step, "other", dtype, &other[i], LT_DIMS(ROWS, WIDTH)));
    for (int step = 0; step < 2 * size && size > 1; step++) {
        const lt_tensor_transfer moves[2] = {{.peer = before, .recv = other[step % 2]},
                                             {.peer = next, .send = now}};
        OK(lt_mark_event(e->compute, &after));
        OK(lt_exchange_tensors(e, group, "ring_attention", &after, moves, 2, &done));
        OK(lt_wait(e->compute, &done));
        now = other[step % 2];
        OK(lt_axpby(e->compute, 0.5f, &now, 0.5f, &now));
    }
    keep(e, &now, &done, k);
}

static void all_collectives(lt_engine *e, lt_group *group, kept *k)
{
    for (int narrow = 0; narrow < 2; narrow++) {
        const lt_mark mark = lt_arena_mark(e->step);
        gathers(e, group, narrow ? LT_BF16 : LT_F32, k);
        sums(e, group, narrow ? LT_BF16 : LT_F32, k);
        heads(e, group, narrow ? LT_BF16 : LT_F32, k);
        passes(e, group, narrow ? LT_BF16 : LT_F32, k);
        OK(lt_sync(e->compute));
        lt_arena_release(e->step, mark);
    }
}

static kept collectives(const lt_mesh *mesh, int connected)
{
    lt_engine e;
    lt_group *group = mesh->axis[LT_AXIS_ULY];
    kept k = {calloc(2, KEPT_BYTES), 0};
    WANT(k.at != NULL);
    open_engine(&e, mesh, connected);
    WANT(!connected || lt_links_find(e.links, group)->how == nccl);
    const lt_emu_nccl_counts before = lt_emu_nccl_read();
    (void)lt_shim_allocations();
    all_collectives(&e, group, &k);
    all_collectives(&e, group, &k);
    const lt_emu_nccl_counts now = lt_emu_nccl_read();
    want(now.connects == before.connects, "uly", "pairs that met after the engine was open",
         (double)(now.connects - before.connects), 0);
    want(now.empty == before.empty, "uly", "empty messages", (double)(now.empty - before.empty), 0);
    want(connected == (now.groups > before.groups), "uly", "groups of NCCL",
         (double)(now.groups - before.groups), 0);
    const long taken = lt_shim_allocations();
    want(!connected || taken == 0, "uly", "device or pinned memory taken after the engine was open",
         (double)taken, 0);
    lt_engine_close(&e);
    return k;
}

static void bits(void)
{
    lt_mesh mesh;
    OK(lt_mesh_open(world, &(lt_mesh_spec){{1, 1, 1, lt_group_size(world), 1}}, &mesh));
    kept staged = collectives(&mesh, 0), found = collectives(&mesh, 1);
    WANT(found.bytes == staged.bytes && found.bytes > 0);
    for (size_t i = 0; i < found.bytes; i++)
        want(found.at[i] == staged.at[i], "uly", "other bits than staged, at byte", (double)i, -1);
    want(memcmp(found.at, found.at + found.bytes / 2, found.bytes / 2) == 0, "uly",
         "a second time gave other bits", 1, 0);
    free(found.at);
    free(staged.at);
    lt_mesh_close(&mesh);
}

/* ---- what open makes, what Ulysses sends ---- */

static void attend(lt_engine *e, lt_mesh *mesh)
{
    enum { ROWS = 40, HEADS = 4, D = 16 };
    lt_attention_share share;
    OK(lt_attention_share_new(mesh, ROWS, HEADS, D, LT_F32, 0, &share));
    WANT(share.groups == 1);
    const int64_t rows = share.rows[lt_group_rank(mesh->tokens)].count;
    lt_tensor x[4];
    for (int i = 0; i < 4; i++)
        x[i] = values(e, LT_F32, rows, HEADS * D, 30 + i);
    OK(lt_attention_dist(e, &share, 0.25f, &x[0], &x[1], &x[2], &x[3]));
    OK(lt_sync(e->compute));
    lt_attention_share_free(&share);
}

static void opens(void)
{
    const int size = lt_group_size(world), half = size / 2;
    lt_mesh mesh;
    lt_engine e;
    OK(lt_mesh_open(world, &(lt_mesh_spec){{1, 1, 2, half, 1}}, &mesh));
    mesh.attention = LT_ATTENTION_RING;
    open_engine(&e, &mesh, 1);
    const lt_emu_nccl_counts open = lt_emu_nccl_read();
    /* tokens, ring, and uly where it has more than one rank; both ends of every pair have met */
    want(open.communicators == 2 + (half > 1), "ring,uly", "communicators",
         (double)open.communicators, 2 + (half > 1));
    want(open.limited == 1, "ring,uly", "communicators of at most 8 CTAs", (double)open.limited, 1);
    const long pairs = 2 * (size - 1) + 2 * 1 + 2 * (half - 1);
    want(open.connects == pairs, "ring,uly", "ends of pairs that have met", (double)open.connects,
         (double)pairs);
    attend(&e, &mesh);
    const lt_emu_nccl_counts now = lt_emu_nccl_read();
    /* one ring step; q, k and v there and y back */
    const long groups = 1 + 2 * (half > 1);
    want(now.groups - open.groups == groups, "ring,uly", "groups of one attention",
         (double)(now.groups - open.groups), (double)groups);
    want(now.connects == open.connects, "ring,uly", "pairs that met after the engine was open",
         (double)(now.connects - open.connects), 0);
    lt_engine_close(&e);
    lt_mesh_close(&mesh);
}

/* ---- a network ---- */

#define DATA LT_SOURCE_DIR "/tests/parity/"

typedef struct {
    const char *model;
    lt_dtype compute;
    int ordered; /* --deterministic: sums along the fixed tree */
    lt_h3_layout *layout;
    float *video, *audio, *text;
    int32_t *index;
    int64_t video_count, audio_count;
} dit_case;

static const float timesteps[] = {0.0f, 0.25f, 0.5f};

static float *velocities(const dit_case *c, const lt_h3_dit_config *config, const lt_mesh *mesh,
                         int connected)
{
    char path[512];
    lt_engine e;
    lt_checkpoint *files;
    lt_h3_dit *dit;
    lt_h3_dit_state *state;
    float *out = calloc((size_t)(c->video_count + c->audio_count), sizeof *out);
    WANT(out != NULL);
    open_engine(&e, mesh, connected);
    (void)snprintf(path, sizeof path, DATA "%s/transformer", c->model);
    OK(lt_checkpoint_open(path, &lt_h3_dit_names, &files));
    OK(lt_h3_dit_open(files, &e, config, c->compute, &dit));
    OK(lt_h3_dit_tables(dit, timesteps, 3));
    OK(lt_h3_dit_load(dit));
    OK(lt_h3_dit_begin(dit, c->layout, c->text, LT_F32, &state));
    OK(lt_h3_dit_forward(dit, state, c->video, c->audio, c->index, out, out + c->video_count));
    lt_h3_dit_end(&state);
    lt_h3_dit_close(&dit);
    lt_checkpoint_close(&files);
    lt_engine_close(&e);
    return out;
}

static void dit_on(const dit_case *c, const char *text)
{
    char path[512];
    lt_mesh_spec spec;
    lt_mesh mesh;
    lt_h3_dit_config config;
    OK(lt_mesh_parse(text, &spec));
    if (lt_mesh_ranks(&spec) != lt_group_size(world))
        return;
    (void)snprintf(path, sizeof path, DATA "%s/transformer/config.json", c->model);
    OK(lt_h3_dit_config_read(path, &config));
    OK(lt_mesh_open(world, &spec, &mesh));
    mesh.deterministic = c->ordered;
    float *staged = velocities(c, &config, &mesh, 0), *found = velocities(c, &config, &mesh, 1);
    const int64_t count = c->video_count + c->audio_count;
    want(memcmp(staged, found, (size_t)count * sizeof *found) == 0, text, "other bits than staged",
         1, 0);
    same_on_all(world, text, "velocities on all ranks (bits)", found, count);
    free(staged);
    free(found);
    lt_mesh_close(&mesh);
}

static void dit(void)
{
    static const char *const meshes[] = {"ring=2",       "uly=2",       "tp=2",
                                         "ring=2,uly=2", "ring=2,tp=2", "uly=2,tp=2"};
    for (int narrow = 0; narrow < 2; narrow++) {
        char path[512];
        lt_h3_dit_config config;
        dit_case c = {.model = narrow ? "nano-bf16" : "nano",
                      .compute = narrow ? LT_BF16 : LT_F32,
                      .ordered = narrow};
        (void)snprintf(path, sizeof path, DATA "%s/transformer/config.json", c.model);
        OK(lt_h3_dit_config_read(path, &config));
        OK(lt_h3_layout_new(5, 32, 32, 3, &c.layout));
        c.video_count = c.layout->video_rows * lt_h3_dit_video_width(&config);
        c.audio_count = c.layout->audio_rows * config.audio_channels;
        c.video = spread(c.video_count, 1);
        c.audio = spread(c.audio_count, 2);
        c.text = spread(c.layout->text_rows * config.text_dim, 3);
        c.index = calloc((size_t)c.layout->rows, sizeof *c.index);
        WANT(c.index != NULL);
        lt_h3_layout_timesteps(c.layout, 2, 1, c.index);
        for (size_t i = 0; i < sizeof meshes / sizeof *meshes; i++)
            dit_on(&c, meshes[i]);
        free(c.video);
        free(c.audio);
        free(c.text);
        free(c.index);
        lt_h3_layout_free(&c.layout);
    }
}

/* ---- what cannot be, and what goes wrong ---- */

/* By agreement of all: staged, and it works. */
static void falls_back(void)
{
    lt_mesh mesh;
    lt_engine e;
    kept k = {calloc(1, KEPT_BYTES), 0};
    OK(lt_mesh_open(world, &(lt_mesh_spec){{1, 1, 1, lt_group_size(world), 1}}, &mesh));
    open_engine(&e, &mesh, 1);
    want(lt_links_find(e.links, mesh.axis[LT_AXIS_ULY])->how == &lt_exchange_staged, "uly",
         "staged exchanges", 0, 1);
    gathers(&e, mesh.axis[LT_AXIS_ULY], LT_F32, &k);
    OK(lt_sync(e.compute));
    lt_engine_close(&e);
    lt_mesh_close(&mesh);
    free(k.at);
}

/* All ranks on device 0, whatever their number; the environment says how many there are. */
static void shares(void) { falls_back(); }

static void is_old(void)
{
    (void)setenv("LT_EMU_NCCL_VERSION", "21700", 1);
    falls_back();
}

static void versions_differ(void)
{
    (void)setenv("LT_EMU_NCCL_VERSION", lt_group_rank(world) == 0 ? "22809" : "22703", 1);
    falls_back();
}

/* Both ways between the ranks 0 and 1. */
static lt_status pass(lt_engine *e, lt_group *group, const char *name, const lt_tensor *send,
                      const lt_tensor *recv)
{
    lt_event after, done;
    const lt_tensor_transfer moves[1] = {
        {.peer = 1 - lt_group_rank(group), .send = *send, .recv = *recv}};
    LT_TRY(lt_mark_event(e->compute, &after));
    LT_TRY(lt_exchange_tensors(e, group, name, &after, moves, 1, &done));
    return lt_wait(e->compute, &done);
}

/* So many elements; what becomes of it, the sync included. */
static lt_status meet(lt_engine *e, lt_group *group, const char *name, lt_dtype dtype, int64_t send,
                      int64_t recv)
{
    const lt_tensor x = values(e, dtype, 1, send, 1), y = values(e, dtype, 1, recv, 2);
    const lt_status st = pass(e, group, name, &x, &y);
    return st == LT_OK ? lt_sync(e->compute) : st;
}

/* status with these words on both ranks; then everything is closed, and takes no long. */
static void refused(lt_engine *e, lt_mesh *mesh, lt_status found, lt_status status,
                    const char *words)
{
    if (found != status || strstr(lt_error_text(), words) == NULL)
        stop(lt_status_name(found), lt_error_text(), __LINE__);
    if (lt_group_rank(world) == 1)
        fprintf(voice, "refused: %s\n", lt_error_text());
    const double begin = lt_seconds();
    lt_engine_cancel(e);
    lt_engine_close(e);
    WANT(strstr(lt_error_text(), words) != NULL); /* the failure's own */
    want(lt_seconds() - begin < 8, "uly", "seconds to close", lt_seconds() - begin, 8);
    lt_mesh_close(mesh);
}

static void open_two(lt_engine *e, lt_mesh *mesh)
{
    WANT(lt_group_size(world) == 2);
    OK(lt_mesh_open(world, &(lt_mesh_spec){{1, 1, 1, 2, 1}}, mesh));
    open_engine(e, mesh, 1);
}

static void sizes_differ(void)
{
    lt_mesh mesh;
    lt_engine e;
    open_two(&e, &mesh);
    lt_group *uly = mesh.axis[LT_AXIS_ULY];
    const lt_status st = meet(&e, uly, "test", LT_F32, 5, lt_group_rank(uly) == 0 ? 5 : 6);
    refused(&e, &mesh, st, LT_EINTERNAL,
            "a receive of 6 elements of type 7 from rank 0 meets a send of 5 of type 7");
}

static void types_differ(void)
{
    lt_mesh mesh;
    lt_engine e;
    open_two(&e, &mesh);
    lt_group *uly = mesh.axis[LT_AXIS_ULY];
    const lt_dtype mine = lt_group_rank(uly) == 0 ? LT_F32 : LT_BF16;
    const lt_status st = meet(&e, uly, "test", mine, 6, 6);
    refused(&e, &mesh, st, LT_EINTERNAL, "meets a send of 6 of type ");
}

static void order_differs(void)
{
    lt_mesh mesh;
    lt_engine e;
    open_two(&e, &mesh);
    lt_group *first = mesh.tokens, *second = mesh.axis[LT_AXIS_ULY];
    if (lt_group_rank(world) == 1) {
        first = second;
        second = mesh.tokens;
    }
    const lt_tensor x = values(&e, LT_F32, 1, 6, 1), y = values(&e, LT_F32, 2, 6, 2);
    const lt_tensor a = lt_view_outer(&y, (lt_range){0, 1}),
                    b = lt_view_outer(&y, (lt_range){1, 1});
    lt_status st = pass(&e, first, "test", &x, &a);
    if (st == LT_OK)
        st = pass(&e, second, "test", &x, &b);
    if (st == LT_OK)
        st = lt_sync(e.compute);
    refused(&e, &mesh, st, LT_EINTERNAL, "their calls have another order");
}

static void nccl_fails(void)
{
    enum { INTERNAL = 3 };
    lt_mesh mesh;
    lt_engine e;
    open_two(&e, &mesh);
    OK(meet(&e, mesh.axis[LT_AXIS_ULY], "test", LT_F32, 6, 6));
    OK(lt_barrier(world)); /* else the other's first one may still be under way */
    if (lt_group_rank(world) == 1)
        lt_emu_nccl_fail(1, INTERNAL);
    const lt_status st = meet(&e, mesh.axis[LT_AXIS_ULY], "test", LT_F32, 6, 6);
    refused(&e, &mesh, st, LT_EINTERNAL, "internal error: rank 1: a failure that a test asked for");
}

static void comes_late(void)
{
    lt_mesh mesh;
    lt_engine e;
    open_two(&e, &mesh);
    if (lt_group_rank(world) == 1)
        (void)nanosleep(&(struct timespec){1, 0}, NULL);
    OK(meet(&e, mesh.axis[LT_AXIS_ULY], "test", LT_F32, 6, 6));
    lt_engine_close(&e);
    lt_mesh_close(&mesh);
}

static void cancels(void)
{
    lt_mesh mesh;
    lt_engine e;
    open_two(&e, &mesh);
    const lt_tensor x = values(&e, LT_F32, 1, 6, 1), y = values(&e, LT_F32, 1, 6, 2);
    if (lt_group_rank(world) == 0)
        OK(pass(&e, mesh.axis[LT_AXIS_ULY], "test", &x, &y));
    (void)lt_fail(LT_EDEVICE, __FILE__, __LINE__, "a failure of this rank's own");
    const double begin = lt_seconds();
    lt_engine_cancel(&e);
    lt_engine_close(&e);
    want(lt_seconds() - begin < 4, "uly", "seconds to close", lt_seconds() - begin, 4);
    WANT(strcmp(lt_error_text(), "a failure of this rank's own") == 0);
    lt_mesh_close(&mesh);
}

static void is_killed(void)
{
    lt_mesh mesh;
    lt_engine e;
    open_two(&e, &mesh);
    OK(meet(&e, mesh.axis[LT_AXIS_ULY], "before", LT_F32, 6, 6));
    if (lt_group_rank(world) == 1) {
        (void)nanosleep(&(struct timespec){1, 0}, NULL);
        (void)raise(SIGKILL);
    }
    (void)meet(&e, mesh.axis[LT_AXIS_ULY], "all_to_all_heads", LT_F32, 6, 6);
    stop("killed", "rank 0 came out of a sync", __LINE__);
}

/* ---- which ---- */

static const struct {
    const char *name;
    void (*run)(void);
} cases[] = {{"bits", bits},          {"open", opens},         {"dit", dit},
             {"share", shares},       {"old", is_old},         {"versions", versions_differ},
             {"sizes", sizes_differ}, {"types", types_differ}, {"order", order_differs},
             {"fails", nccl_fails},   {"late", comes_late},    {"cancel", cancels},
             {"killed", is_killed}};

#ifdef LT_BUGS
#define BUG(name) extern const lt_device_exchange lt_exchange_nccl_##name;
#include "nccl_bugs.inc"
#undef BUG
static const struct {
    const char *name;
    const lt_device_exchange *how;
} bugs[] = {
#define BUG(name) {#name, &lt_exchange_nccl_##name},
#include "nccl_bugs.inc"
#undef BUG
};

static void choose(const char *name)
{
    for (size_t i = 0; i < sizeof bugs / sizeof *bugs; i++)
        if (strcmp(bugs[i].name, name) == 0)
            nccl = bugs[i].how;
}
#else
static void choose(const char *name) { (void)name; }
#endif

int main(int argc, char **argv)
{
    const char *limit_s = getenv("LT_NCCL_RANK_LIMIT_S");
    if (argc < 2 || ranks_open() != 0)
        return 64;
    (void)alarm(limit_s != NULL ? (unsigned)strtoul(limit_s, NULL, 10) : 0);
    if (argc > 2)
        choose(argv[2]);
    lt_exchange_register(nccl);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (strcmp(argv[1], cases[i].name) == 0)
            cases[i].run();
    OK(lt_barrier(world));
    if (lt_group_rank(world) == 0)
        printf("%s: as it should be\n", argv[1]);
    ranks_close();
    return 0;
}

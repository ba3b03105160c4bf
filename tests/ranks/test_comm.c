/* test_comm.c - every collective on groups of 1 to P ranks, in any order of ranks.
 * Goal: host and device collectives move exactly what comm.h says, with uneven and empty shares,
 * f32 and bf16, on cpu and far; sums are the sequential sum in rank order, to the bit; traffic is
 * the closed form, also on dry; agreement tells the lowest failure to all. Method: element (rank,
 * row, column) has a value that any rank can compute, so expectations need no communication. Ranks:
 * as launched (4 in ctest; any number up to 16). Needs: nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "parallel/engine.h"

enum { RANKS_MAX = 16, BUFFER_BYTES = 1 << 18 };

static lt_group *world;
static FILE
    *voice; /* stderr; cmocka's own is silenced on ranks above 0, so that one rank reports */

/* A rank that fails alone would leave the others waiting: it ends the job. */
static void stop(const char *what, const char *why, int line)
{
    fprintf(voice, "rank %d: line %d: %s: %s\n", lt_group_rank(world), line, what, why);
    fflush(voice);
    lt_world_abort(1);
    fail();
}
#define OK(expr)                                                                                   \
    do {                                                                                           \
        if ((expr) != LT_OK)                                                                       \
            stop(#expr, lt_error_text(), __LINE__);                                                \
    } while (0)
#define WANT(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            stop("wanted", #condition, __LINE__);                                                  \
    } while (0)

/* ---- groups: sizes 1..P; the second order tells group ranks from world ranks ---- */

static lt_group *group_of(int size, int reversed)
{
    lt_group *group = NULL;
    int list[RANKS_MAX];
    const int ranks = lt_group_size(world);
    for (int i = 0; i < size; i++)
        list[i] = reversed ? ranks - 1 - i : i;
    OK(lt_group_split(world, list, size, &group));
    int at = -1;
    for (int i = 0; i < size; i++)
        if (list[i] == lt_group_rank(world))
            at = i;
    WANT((group != NULL) == (at >= 0));
    if (group != NULL) {
        WANT(lt_group_rank(group) == at && lt_group_size(group) == size);
        WANT(strcmp(lt_group_transport(group), lt_group_transport(world)) == 0);
    }
    return group;
}

static void on_all_groups(void (*check)(lt_group *group))
{
    for (int size = 1; size <= lt_group_size(world); size++)
        for (int reversed = 0; reversed < 2; reversed++) {
            lt_group *group = group_of(size, reversed);
            if (group != NULL)
                check(group);
            lt_group_free(&group);
            OK(lt_barrier(world));
        }
}

/* Any even spread will do: Numerical Recipes' generator, over the coordinates. */
static uint32_t hash(int64_t a, int64_t b, int64_t c)
{
    uint32_t h = (uint32_t)(a * 7919 + b * 104729 + c * 1299709 + 17);
    for (int i = 0; i < 3; i++)
        h = (h ^ (h >> 13)) * 1664525u + 1013904223u;
    return h;
}

/* ---- host ---- */

static unsigned char byte_of(int rank, size_t i)
{
    return (unsigned char)(hash(rank, (int64_t)i, 0) >> 24);
}

static void broadcasts(lt_group *group)
{
    static unsigned char data[70000];
    const int rank = lt_group_rank(group), size = lt_group_size(group);
    const size_t sizes[] = {0, 1, 5, sizeof data}; /* the last is no eager message */
    for (int root = 0; root < size; root++)
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            for (size_t i = 0; i < sizes[k]; i++)
                data[i] = byte_of(rank, i);
            lt_traffic_reset();
            OK(lt_broadcast(group, root, data, sizes[k]));
            WANT(lt_traffic_read().received_bytes == (rank == root ? 0 : sizes[k]));
            for (size_t i = 0; i < sizes[k]; i++)
                WANT(data[i] == byte_of(root, i));
            char *text = NULL;
            size_t bytes = 12345; /* of no meaning on other ranks */
            if (rank == root) {
                text = (char *)data;
                bytes = sizes[k];
            }
            OK(lt_broadcast_text(group, root, &text, &bytes));
            WANT(bytes == sizes[k]);
            for (size_t i = 0; i < bytes; i++)
                WANT((unsigned char)text[i] == byte_of(root, i));
            if (rank != root) {
                WANT(text[bytes] == '\0');
                free(text);
            }
        }
}

static void host_gathers(lt_group *group)
{
    const int rank = lt_group_rank(group), size = lt_group_size(group);
    unsigned char mine[11], all[RANKS_MAX * 11];
    for (size_t bytes = 0; bytes <= sizeof mine; bytes += 11) {
        for (size_t i = 0; i < bytes; i++)
            mine[i] = byte_of(rank, i);
        OK(lt_all_gather_host(group, mine, bytes, all));
        for (int from = 0; from < size; from++)
            for (size_t i = 0; i < bytes; i++)
                WANT(all[(size_t)from * bytes + i] == byte_of(from, i));
    }
    static unsigned char whole[4 * RANKS_MAX * 3];
    for (int64_t rows = 0; rows <= 3 * size + 1; rows++) { /* fewer rows than ranks, and more */
        lt_range ranges[RANKS_MAX];
        for (int i = 0; i < size; i++)
            ranges[i] = lt_share(rows, size, i);
        memset(whole, 0xee, sizeof whole);
        for (int64_t i = 0; i < 3 * ranges[rank].count; i++)
            whole[3 * ranges[rank].first + i] = byte_of(7, (size_t)(3 * ranges[rank].first + i));
        OK(lt_all_gather_ranges(group, whole, 3, ranges));
        for (int64_t i = 0; i < 3 * rows; i++)
            WANT(whole[i] == byte_of(7, (size_t)i));
        WANT(whole[3 * rows] == 0xee);
    }
}

/* Everyone to everyone, oneself too, sizes by pair (some 0), two transfers a pair: order is kept.
 */
static void exchanges(lt_group *group)
{
    static unsigned char out[RANKS_MAX][2][64], in[RANKS_MAX][2][64];
    const int rank = lt_group_rank(group), size = lt_group_size(group);
    lt_transfer list[2 * RANKS_MAX];
    int count = 0;
    for (int peer = 0; peer < size; peer++)
        for (int k = 0; k < 2; k++) {
            const size_t to = hash(rank, peer, k) % 5 * 16, from = hash(peer, rank, k) % 5 * 16;
            for (size_t i = 0; i < to; i++)
                out[peer][k][i] = byte_of(100 * rank + 10 * peer + k, i);
            list[count++] = (lt_transfer){peer, out[peer][k], to, in[peer][k], from};
        }
    OK(lt_exchange(group, list, count));
    for (int peer = 0; peer < size; peer++)
        for (int k = 0; k < 2; k++)
            for (size_t i = 0; i < hash(peer, rank, k) % 5 * 16; i++)
                WANT(in[peer][k][i] == byte_of(100 * peer + 10 * rank + k, i));
    OK(lt_exchange(group, NULL, 0));
    OK(lt_barrier(group));
}

/* Messages to the next rank of the ring; tags are taken in the other order than sent. */
static void posts(lt_group *group)
{
    const int rank = lt_group_rank(group), size = lt_group_size(group);
    const int next = (rank + 1) % size, before = (rank - 1 + size) % size;
    static unsigned char out[3][80000], in[3][80000];
    const size_t bytes[3] = {80000, 0, 100};
    lt_post *send[3], *recv[3];
    if (size == 1)
        return;
    for (int tag = 0; tag < 3; tag++) {
        for (size_t i = 0; i < bytes[tag]; i++)
            out[tag][i] = byte_of(rank + tag, i);
        OK(lt_post_send(group, next, tag, out[tag], bytes[tag], &send[tag]));
    }
    for (int tag = 2; tag >= 0; tag--) {
        OK(lt_post_recv(group, before, tag, in[tag], bytes[tag], &recv[tag]));
        OK(lt_post_wait(&recv[tag]));
        WANT(recv[tag] == NULL);
        for (size_t i = 0; i < bytes[tag]; i++)
            WANT(in[tag][i] == byte_of(before + tag, i));
    }
    for (int tag = 0; tag < 3; tag++) {
        int done = 0;
        while (!done)
            OK(lt_post_test(&send[tag], &done));
        WANT(send[tag] == NULL);
    }
}

static void host_collectives(void **state)
{
    (void)state;
    on_all_groups(broadcasts);
    on_all_groups(host_gathers);
    on_all_groups(exchanges);
    on_all_groups(posts);
}

/* ---- agreement ---- */

static const lt_status ways[] = {LT_EDATA, LT_EIO, LT_ENOMEM, LT_ETEMP};

/* Every set of failing ranks. */
static void agreements(lt_group *group)
{
    const int rank = lt_group_rank(group), size = lt_group_size(group);
    const int most = size < 5 ? size : 5; /* 32 sets */
    for (int failing = 0; failing < 1 << most; failing++) {
        char words[64];
        lt_status mine = LT_OK, first = LT_OK;
        lt_error_clear();
        if ((failing >> rank) & 1) {
            mine = ways[rank % 4];
            lt_hint("hint of %d", rank);
            (void)lt_fail(mine, "file", 1, "rank %d failed: é", rank);
        }
        const lt_status st = lt_agree(group, mine);
        int lowest = 0;
        while (lowest < size && !((failing >> lowest) & 1))
            lowest++;
        const int whole = size == lt_group_size(world);
        WANT(lt_agreed_failure(&first) == (whole && failing != 0));
        if (failing == 0) {
            WANT(st == LT_OK);
            continue;
        }
        WANT(st == (mine != LT_OK ? mine : LT_EPEER));
        WANT(!whole || first == ways[lowest % 4]);
        (void)snprintf(words, sizeof words, "rank %d failed: é", lowest);
        WANT(strcmp(lt_error_text(), words) == 0);
        (void)snprintf(words, sizeof words, "hint of %d", lowest);
        WANT(strcmp(lt_hint_text(), words) == 0);
    }
}

/* A rank whose status never went through lt_fail still says something. */
static void agreement_without_words(lt_group *group)
{
    const int last = lt_group_size(group) - 1;
    if (last == 0)
        return;
    lt_error_clear();
    const lt_status st = lt_agree(group, lt_group_rank(group) == last ? LT_EDEVICE : LT_OK);
    WANT(st == (lt_group_rank(group) == last ? LT_EDEVICE : LT_EPEER));
    WANT(lt_group_rank(group) == last || strcmp(lt_error_text(), "LT_EDEVICE") == 0);
}

static void agreement(void **state)
{
    (void)state;
    on_all_groups(agreements);
    on_all_groups(agreement_without_words);
    lt_error_clear();
}

/* Two ends that name different sizes: the receiver says so, it doesn't hang or take half. */
static void unequal_sizes(void **state)
{
    (void)state;
    if (lt_group_size(world) < 2)
        return;
    const struct {
        size_t sent, wanted;
        lt_status status;
    } cases[] = {{8, 16, LT_EINTERNAL}, {16, 8, LT_EPEER}};
    for (size_t i = 0; i < 2; i++) {
        char data[16] = "", got[16];
        lt_group *group = group_of(2, 0);
        if (group != NULL && lt_group_rank(group) == 0) {
            OK(lt_exchange(group, &(lt_transfer){1, data, cases[i].sent, NULL, 0}, 1));
        } else if (group != NULL) {
            const lt_transfer take = {0, NULL, 0, got, cases[i].wanted};
            WANT(lt_exchange(group, &take, 1) == cases[i].status);
            WANT(strstr(lt_error_text(), "from rank 0") != NULL);
        }
        lt_group_free(&group);
        OK(lt_barrier(world));
    }
    lt_error_clear();
}

/* ---- mesh ---- */

static void check_mesh(const char *text)
{
    lt_mesh_spec spec;
    lt_mesh mesh;
    OK(lt_mesh_parse(text, &spec));
    lt_group *group = NULL;
    if (lt_mesh_ranks(&spec) <= lt_group_size(world))
        group = group_of(lt_mesh_ranks(&spec), 0);
    if (group != NULL) {
        OK(lt_mesh_open(group, &spec, &mesh));
        for (int axis = 0; axis <= LT_AXIS_COUNT; axis++) {
            lt_group *g = axis < LT_AXIS_COUNT ? mesh.axis[axis] : mesh.tokens;
            const int uly = spec.size[LT_AXIS_ULY];
            const int joined = mesh.at[LT_AXIS_RING] * uly + mesh.at[LT_AXIS_ULY];
            const int tokens = spec.size[LT_AXIS_RING] * uly;
            WANT(lt_group_size(g) == (axis < LT_AXIS_COUNT ? spec.size[axis] : tokens));
            WANT(lt_group_rank(g) == (axis < LT_AXIS_COUNT ? mesh.at[axis] : joined));
            int all[RANKS_MAX][LT_AXIS_COUNT];
            OK(lt_all_gather_host(g, mesh.at, sizeof mesh.at, all));
            for (int i = 0; i < lt_group_size(g); i++) /* members differ in this axis alone */
                for (int other = 0; other < LT_AXIS_COUNT; other++) {
                    const int is_token = other == LT_AXIS_RING || other == LT_AXIS_ULY;
                    if (other == axis)
                        WANT(all[i][other] == i);
                    else if (axis < LT_AXIS_COUNT || !is_token)
                        WANT(all[i][other] == mesh.at[other]);
                }
        }
        lt_mesh_close(&mesh);
    }
    lt_group_free(&group);
    OK(lt_barrier(world));
}

static void meshes(void **state)
{
    (void)state;
    const char *const texts[] = {"uly=1",
                                 "tp=2",
                                 "uly=3",
                                 "ring=2,tp=2",
                                 "ring=2,uly=2",
                                 "win=2,uly=2",
                                 "cfg=2,ring=2",
                                 "tp=4",
                                 "win=4",
                                 "uly=2,tp=3",
                                 "win=2,cfg=2,tp=2",
                                 "ring=2,uly=2,tp=2",
                                 "win=2,uly=3",
                                 "ring=3,uly=2"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        check_mesh(texts[i]);
    lt_mesh_spec spec = {{1, 1, 1, 17, 1}};
    lt_mesh mesh;
    WANT(lt_mesh_open(world, &spec, &mesh) == LT_EUSAGE); /* on every rank, without a message */
    lt_error_clear();
}

/* ---- device ---- */

/* The value at a global place, as stored; no NaN, magnitudes over 2^-8..2^8, so that order shows.
 */
static float value(int64_t rank, int64_t row, int64_t column)
{
    const uint32_t h = hash(rank, row, column);
    const float scale = (float)(1 << (h % 17)) / 256.0f;
    return ((float)(h >> 8) / 8388608.0f - 1.0f) * scale;
}

static void store(char *at, lt_dtype dtype, float v)
{
    const uint16_t narrow = lt_f32_to_bf16(v);
    if (dtype == LT_F32)
        memcpy(at, &v, sizeof v);
    else
        memcpy(at, &narrow, sizeof narrow);
}

typedef struct {
    const lt_backend *backend;
    lt_dtype dtype;
    lt_group *group;
    lt_engine engine;
    char *host, *want, *got;
} bench;

/* x from host values; with a gap, x is a view of columns of something wider. */
static lt_tensor make(bench *b, int64_t rows, int64_t width, lt_dtype dtype, int64_t gap)
{
    lt_tensor wide, x;
    OK(lt_tensor_new(b->engine.step, "x", dtype, &wide, LT_DIMS(rows, width + gap)));
    x = lt_view_columns(&wide, (lt_range){gap / 2, width});
    if (b->backend != &lt_backend_dry) {
        WANT(lt_tensor_bytes(&wide) <= BUFFER_BYTES);
        memset(b->want, 0x33, lt_tensor_bytes(&wide)); /* what a gap holds must not arrive */
        OK(lt_upload(b->engine.compute, &wide, b->want));
        OK(lt_upload(b->engine.compute, &x, b->host));
        OK(lt_sync(b->engine.compute)); /* host buffers are used again */
    }
    return x;
}

static void compare(bench *b, const lt_tensor *y, const lt_event *done, const char *what)
{
    if (b->backend == &lt_backend_dry)
        return;
    memset(b->got, 0x55, lt_tensor_bytes(y));
    OK(lt_wait(b->engine.compute, done));
    OK(lt_download(b->engine.compute, b->got, y));
    OK(lt_sync(b->engine.compute));
    if (memcmp(b->got, b->want, lt_tensor_bytes(y)) != 0)
        stop(what, b->backend->name, __LINE__);
}

static void check_traffic(int64_t sent, int64_t received, const char *what)
{
    const lt_traffic t = lt_traffic_read();
    if (t.sent_bytes != (uint64_t)sent || t.received_bytes != (uint64_t)received)
        stop(what, "traffic is not the closed form", __LINE__);
}

/* Split `total` things: kind 0 evenly, 1 all on the last rank, 2 all on the first but one each. */
static void split(int64_t total, int size, int kind, lt_range *out)
{
    int64_t next = 0;
    for (int i = 0; i < size; i++) {
        int64_t count = lt_share(total, size, i).count;
        if (kind == 1)
            count = i == size - 1 ? total : 0;
        if (kind == 2)
            count = i == 0 ? total - (total > size - 1 ? size - 1 : 0) : total > size - 1;
        out[i] = (lt_range){next, count};
        next += count;
    }
}

static void gather_case(bench *b, int64_t rows, int kind, int64_t gap)
{
    enum { WIDTH = 5 };
    const int rank = lt_group_rank(b->group), size = lt_group_size(b->group);
    const int64_t each = (int64_t)lt_dtype_bytes(b->dtype);
    lt_range part[RANKS_MAX];
    int64_t counts[RANKS_MAX];
    split(rows, size, kind, part);
    for (int i = 0; i < size; i++)
        counts[i] = part[i].count;
    const lt_mark mark = lt_arena_mark(b->engine.step);
    lt_tensor y;
    lt_event after, done;
    for (int64_t i = 0; i < counts[rank] * WIDTH; i++)
        store(b->host + i * each, b->dtype, value(0, part[rank].first + i / WIDTH, i % WIDTH));
    const lt_tensor x = make(b, counts[rank], WIDTH, b->dtype, gap);
    OK(lt_tensor_new(b->engine.step, "y", b->dtype, &y, LT_DIMS(rows, WIDTH)));
    OK(lt_mark_event(b->engine.compute, &after));
    lt_traffic_reset();
    OK(lt_all_gather_rows(&b->engine, b->group, &after, &x, counts, &y, &done));
    check_traffic(counts[rank] * WIDTH * each * (size - 1), (rows - counts[rank]) * WIDTH * each,
                  "gather");
    for (int64_t i = 0; i < rows * WIDTH; i++)
        store(b->want + i * each, b->dtype, value(0, i / WIDTH, i % WIDTH));
    compare(b, &y, &done, "gather");
    lt_arena_release(b->engine.step, mark);
}

static void sum_case(bench *b, int64_t rows, int64_t gap)
{
    enum { WIDTH = 7 };
    const int rank = lt_group_rank(b->group), size = lt_group_size(b->group);
    const int64_t each = (int64_t)lt_dtype_bytes(b->dtype);
    const int64_t mine = lt_share(rows, size, rank).count;
    const lt_mark mark = lt_arena_mark(b->engine.step);
    lt_tensor y;
    lt_event after, done;
    for (int64_t i = 0; i < rows * WIDTH; i++)
        store(b->host + i * 4, LT_F32, value(rank, i / WIDTH, i % WIDTH));
    const lt_tensor x = make(b, rows, WIDTH, LT_F32, gap);
    OK(lt_tensor_new(b->engine.step, "y", b->dtype, &y, LT_DIMS(rows, WIDTH)));
    OK(lt_mark_event(b->engine.compute, &after));
    lt_traffic_reset();
    const size_t before = lt_arena_used(b->engine.step);
    OK(lt_sum_partials(&b->engine, b->group, &after, &x, &y, &done));
    WANT(lt_arena_used(b->engine.step) == before);
    check_traffic((rows - mine) * WIDTH * 4 + mine * WIDTH * each * (size - 1),
                  mine * WIDTH * 4 * (size - 1) + (rows - mine) * WIDTH * each, "sum");
    for (int64_t i = 0; i < rows * WIDTH; i++) {
        volatile float sum = value(0, i / WIDTH, i % WIDTH); /* one addition at a time, in f32 */
        for (int from = 1; from < size; from++)
            sum = sum + value(from, i / WIDTH, i % WIDTH);
        store(b->want + i * each, b->dtype, sum);
    }
    compare(b, &y, &done, "sum in rank order");
    lt_arena_release(b->engine.step, mark);
}

/* There and back: tall is checked against the global values, wide against what it was. */
static void heads_case(bench *b, int64_t rows, int64_t heads, int kind, int64_t gap)
{
    enum { D = 3 };
    const int rank = lt_group_rank(b->group), size = lt_group_size(b->group);
    const int64_t each = (int64_t)lt_dtype_bytes(b->dtype), width = heads * D;
    lt_range of_rows[RANKS_MAX], of_heads[RANKS_MAX];
    split(rows, size, kind, of_rows);
    split(heads, size, kind == 1 ? 0 : kind, of_heads);
    const int64_t my_rows = of_rows[rank].count, my_heads = of_heads[rank].count;
    const int64_t out = my_rows * (heads - my_heads) * D * each;
    const int64_t in = (rows - my_rows) * my_heads * D * each;
    const lt_mark mark = lt_arena_mark(b->engine.step);
    lt_tensor tall;
    lt_event after, done;
    for (int64_t i = 0; i < my_rows * width; i++)
        store(b->host + i * each, b->dtype, value(0, of_rows[rank].first + i / width, i % width));
    const lt_tensor x = make(b, my_rows, width, b->dtype, gap);
    lt_tensor back = make(b, my_rows, width, b->dtype, gap);
    OK(lt_tensor_new(b->engine.step, "tall", b->dtype, &tall, LT_DIMS(rows, my_heads * D)));
    OK(lt_mark_event(b->engine.compute, &after));
    lt_traffic_reset();
    OK(lt_all_to_all_heads(&b->engine, b->group, &after, &x, of_rows, of_heads, D, &tall, &done));
    check_traffic(out, in, "all-to-all to heads");
    for (int64_t i = 0; i < rows * my_heads * D; i++)
        store(b->want + i * each, b->dtype,
              value(0, i / (my_heads * D), of_heads[rank].first * D + i % (my_heads * D)));
    compare(b, &tall, &done, "all-to-all to heads");
    if (b->backend != &lt_backend_dry && my_rows > 0)
        OK(lt_fill(b->engine.compute, &back, 0.0f));
    OK(lt_mark_event(b->engine.compute, &after));
    lt_traffic_reset();
    OK(lt_all_to_all_rows(&b->engine, b->group, &after, &tall, of_rows, of_heads, D, &back, &done));
    check_traffic(in, out, "all-to-all to rows");
    memcpy(b->want, b->host, (size_t)(my_rows * width * each));
    compare(b, &back, &done, "all-to-all to rows");
    lt_arena_release(b->engine.step, mark);
}

static void device_cases(bench *b)
{
    const int64_t rows[] = {0, 1, 3, 7, 50}, heads[] = {1, 3, 8};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
        for (int64_t gap = 0; gap <= 4; gap += 4) {
            sum_case(b, rows[r], gap);
            for (int kind = 0; kind < 3; kind++) {
                gather_case(b, rows[r], kind, gap);
                for (size_t h = 0; h < sizeof heads / sizeof *heads; h++)
                    heads_case(b, rows[r], heads[h], kind, gap);
            }
        }
}

static void device_on(lt_group *group)
{
    const lt_backend *const backends[] = {&lt_backend_cpu, &lt_backend_far, &lt_backend_dry};
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++)
        for (int narrow = 0; narrow < 2; narrow++) {
            bench b = {.backend = backends[i], .dtype = narrow ? LT_BF16 : LT_F32, .group = group};
            lt_far_seed(narrow ? 1 : 2); /* as late as may be; mostly early */
            OK(lt_engine_open(b.backend, 1, NULL, 0, 1 << 20, &b.engine));
            b.host = malloc(BUFFER_BYTES);
            b.want = malloc(BUFFER_BYTES);
            b.got = malloc(BUFFER_BYTES);
            WANT(b.host != NULL && b.want != NULL && b.got != NULL);
            device_cases(&b);
            free(b.host);
            free(b.want);
            free(b.got);
            lt_engine_close(&b.engine);
        }
}

static void device_collectives(void **state)
{
    (void)state;
    on_all_groups(device_on);
}

/* ---- large: longer than any eager or pipelined piece ---- */

static void large_messages(void **state)
{
    (void)state;
    const size_t bytes = (size_t)24 << 20;
    const int rank = lt_group_rank(world), size = lt_group_size(world);
    const int next = (rank + 1) % size, before = (rank - 1 + size) % size;
    uint32_t *out = malloc(bytes), *in = malloc(bytes);
    WANT(out != NULL && in != NULL);
    for (size_t i = 0; i < bytes / 4; i++)
        out[i] = (uint32_t)i * 2654435761u + (uint32_t)rank;
    const lt_transfer list[] = {{next, out, bytes, NULL, 0}, {before, NULL, 0, in, bytes}};
    OK(lt_exchange(world, list, 2));
    for (size_t i = 0; i < bytes / 4; i++)
        if (in[i] != (uint32_t)i * 2654435761u + (uint32_t)before)
            stop("large message", "other bytes", __LINE__);
    free(out);
    free(in);
}

static void places(void **state)
{
    (void)state;
    int at = -1, here = 0, all[RANKS_MAX];
    OK(lt_group_local(world, &at, &here));
    WANT(here >= 1 && here <= lt_group_size(world) && at >= 0 && at < here);
    OK(lt_all_gather_host(world, &at, sizeof at, all));
    for (int i = 0; i < lt_group_size(world) && here == lt_group_size(world); i++)
        WANT(all[i] == i); /* one host: my index is my rank */
}

int main(void)
{
    if (lt_world_open(&world) != LT_OK || lt_group_size(world) > RANKS_MAX) {
        lt_error_print(stderr, 1);
        return 1;
    }
    voice = fdopen(dup(STDERR_FILENO), "w");
    if (!voice || (lt_group_rank(world) > 0 &&
                   (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr))))
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(host_collectives),
        cmocka_unit_test(agreement),
        cmocka_unit_test(unequal_sizes),
        cmocka_unit_test(meshes),
        cmocka_unit_test(device_collectives),
        cmocka_unit_test(large_messages),
        cmocka_unit_test(places),
    };
    const int failed = cmocka_run_group_tests_name("comm", tests, NULL, NULL);
    lt_world_close(&world);
    fclose(voice);
    return failed;
}

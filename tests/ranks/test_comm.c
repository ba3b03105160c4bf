/* test_comm.c - host collectives, agreement, meshes on groups of 1 to P ranks, in any order of
 * ranks. Goal: host collectives move exactly what host_collectives.h says, with uneven and empty
 * shares; an
 * agreement tells the lowest failure to all, the cause before those who heard of it; the groups of
 * a mesh hold the ranks that mesh.h promises. Method: any rank can compute what any other sends, so
 * expectations need no communication. Ranks: as launched (4 in ctest; any number up to 16). Needs:
 * nothing. */
#include <stdlib.h>

#include "parallel/mesh.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"
#include "parallel/transport/traffic.h"
#include "tests/support/ranks.h"

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
    for (int some = 0; some < 2; some++) {
        const size_t bytes = some ? sizeof mine : 0;
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
    OK(lt_exchange(group, list, count, NULL));
    for (int peer = 0; peer < size; peer++)
        for (int k = 0; k < 2; k++)
            for (size_t i = 0; i < hash(peer, rank, k) % 5 * 16; i++)
                WANT(in[peer][k][i] == byte_of(100 * peer + 10 * rank + k, i));
    OK(lt_exchange(group, NULL, 0, NULL));
    OK(lt_barrier(group));
}

/* Messages to the next rank of the ring; tags are taken in the other order than sent. */
static void requests(lt_group *group)
{
    const int rank = lt_group_rank(group), size = lt_group_size(group);
    const int next = (rank + 1) % size, before = (rank - 1 + size) % size;
    static unsigned char out[3][80000], in[3][80000];
    const size_t bytes[3] = {80000, 0, 100};
    lt_request *send[3], *recv[3];
    if (size == 1)
        return;
    for (int tag = 0; tag < 3; tag++) {
        for (size_t i = 0; i < bytes[tag]; i++)
            out[tag][i] = byte_of(rank + tag, i);
        OK(lt_request_send(group, next, tag, out[tag], bytes[tag], &send[tag]));
    }
    for (int tag = 2; tag >= 0; tag--) {
        OK(lt_request_recv(group, before, tag, in[tag], bytes[tag], &recv[tag]));
        OK(lt_request_wait(&recv[tag]));
        WANT(recv[tag] == NULL);
        for (size_t i = 0; i < bytes[tag]; i++)
            WANT(in[tag][i] == byte_of(before + tag, i));
    }
    for (int tag = 0; tag < 3; tag++) {
        int done = 0;
        while (!done)
            OK(lt_request_test(&send[tag], &done));
        WANT(send[tag] == NULL);
    }
}

static void host_collectives(void **state)
{
    (void)state;
    on_all_groups(broadcasts);
    on_all_groups(host_gathers);
    on_all_groups(exchanges);
    on_all_groups(requests);
}

/* ---- agreement ---- */

static const lt_status failures[] = {LT_EDATA, LT_EIO, LT_ENOMEM, LT_ETEMP};

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
            mine = failures[rank % 4];
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
        WANT(!whole || first == failures[lowest % 4]);
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

/* Some fail, some only pass on what an agreement of fewer ranks told them, whatever their numbers:
 * the cause is what all hear of; where nobody has it, it is a failure still. */
static void agreements_of_who_heard(lt_group *group)
{
    const int rank = lt_group_rank(group), size = lt_group_size(group);
    const int most = size < 4 ? size : 4;
    int sets = 1;
    for (int i = 0; i < most; i++)
        sets *= 3;
    for (int set = 1; set < sets; set++) {
        lt_status of[RANKS_MAX] = {LT_OK}, first = LT_OK;
        char words[64];
        int cause = -1, heard = -1;
        for (int i = 0, rest = set; i < most; i++, rest /= 3)
            of[i] = rest % 3 == 0 ? LT_OK : rest % 3 == 1 ? LT_EPEER : LT_EDATA;
        for (int i = size - 1; i >= 0; i--) {
            cause = of[i] == LT_EDATA ? i : cause;
            heard = of[i] == LT_EPEER ? i : heard;
        }
        const int speaks = cause >= 0 ? cause : heard;
        lt_error_clear();
        if (of[rank] != LT_OK)
            (void)lt_fail(of[rank], "file", 1, "%s %d", lt_status_name(of[rank]), rank);
        const lt_status st = lt_agree(group, of[rank]);
        WANT(st == (of[rank] != LT_OK ? of[rank] : LT_EPEER));
        (void)snprintf(words, sizeof words, "%s %d", lt_status_name(of[speaks]), speaks);
        WANT(strcmp(lt_error_text(), words) == 0);
        if (lt_agreed_failure(&first))
            WANT(first == of[speaks]);
        else
            WANT(size < lt_group_size(world));
    }
}

static void agreement(void **state)
{
    (void)state;
    on_all_groups(agreements);
    on_all_groups(agreements_of_who_heard);
    on_all_groups(agreement_without_words);
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

/* ---- large: longer than any eager or pipelined message ---- */

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
    OK(lt_exchange(world, list, 2, NULL));
    for (size_t i = 0; i < bytes / 4; i++)
        if (in[i] != (uint32_t)i * 2654435761u + (uint32_t)before)
            stop("large message", "other bytes", __LINE__);
    free(out);
    free(in);
}

int main(void)
{
    if (ranks_open() != 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(host_collectives),
        cmocka_unit_test(agreement),
        cmocka_unit_test(meshes),
        cmocka_unit_test(large_messages),
    };
    const int failed = cmocka_run_group_tests_name("comm", tests, NULL, NULL);
    ranks_close();
    return failed;
}

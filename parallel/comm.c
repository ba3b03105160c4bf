/* comm.c - host collectives and the agreement, over exchange.                     Level 2: parallel
 * Collectives of tensors are in comm_device.c. */
#include "parallel/comm.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/leave.h"
#include "base/log.h"
#include "parallel/engine.h"
#include "parallel/transport_impl.h"
#include "parallel/watch.h"

/* Where this rank is, for whoever must say it when another is lost. */
#define NAMED(name, group, expr)                                                                   \
    do {                                                                                           \
        lt_note_begin(name, (group)->axis, NULL);                                                  \
        const lt_status named_ = (expr);                                                           \
        lt_note_end(NULL);                                                                         \
        return named_;                                                                             \
    } while (0)

/* ---- host ---- */

static lt_status broadcast(lt_group *group, int root, void *data, size_t bytes)
{
    const int size = lt_group_size(group), rank = lt_group_rank(group);
    assert(root >= 0 && root < size);
    if (size == 1 || bytes == 0)
        return LT_OK;
    /* A binomial tree: round k doubles the ranks that hold the data. */
    const int me = (rank - root + size) % size;
    for (int span = 1; span < size; span *= 2) {
        lt_transfer move = {0};
        if (me < span && me + span < size) {
            move =
                (lt_transfer){.peer = (me + span + root) % size, .send = data, .send_bytes = bytes};
            LT_TRY(lt_exchange(group, &move, 1, NULL));
        } else if (me >= span && me < 2 * span) {
            move =
                (lt_transfer){.peer = (me - span + root) % size, .recv = data, .recv_bytes = bytes};
            LT_TRY(lt_exchange(group, &move, 1, NULL));
        }
    }
    return LT_OK;
}

lt_status lt_broadcast(lt_group *group, int root, void *data, size_t bytes)
{
    NAMED("broadcast", group, broadcast(group, root, data, bytes));
}

lt_status lt_broadcast_text(lt_group *group, int root, char **data, size_t *bytes)
{
    const int is_root = lt_group_rank(group) == root;
    uint64_t length = is_root ? *bytes : 0;
    char *text = NULL;
    lt_status st = LT_OK;
    LT_TRY(lt_broadcast(group, root, &length, sizeof length));
    if (!is_root) {
        text = length < SIZE_MAX ? malloc((size_t)length + 1) : NULL;
        if (text == NULL)
            st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "no memory for a message of %llu bytes",
                         (unsigned long long)length);
    }
    LT_TRY_GOTO(lt_agree(group, st), st, failed); /* one without room must not leave alone */
    LT_TRY_GOTO(lt_broadcast(group, root, is_root ? *data : text, (size_t)length), st, failed);
    if (!is_root) {
        assert(text != NULL); /* else lt_agree had failed */
        text[length] = '\0';
        *data = text;
        *bytes = (size_t)length;
    }
    return LT_OK;
failed:
    free(text);
    return st;
}

static lt_status barrier(lt_group *group)
{
    /* Dissemination: after ceil(log2 P) rounds everyone has heard from everyone. */
    const int size = lt_group_size(group), rank = lt_group_rank(group);
    for (int span = 1; span < size; span *= 2) {
        char mine = 1, theirs = 0;
        const lt_transfer moves[2] = {
            {.peer = (rank + span) % size, .send = &mine, .send_bytes = 1},
            {.peer = (rank - span + size) % size, .recv = &theirs, .recv_bytes = 1}};
        LT_TRY(lt_exchange(group, moves, 2, NULL));
    }
    return LT_OK;
}

lt_status lt_barrier(lt_group *group) { NAMED("barrier", group, barrier(group)); }

static lt_status all_gather_host(lt_group *group, const void *mine, size_t bytes, void *all)
{
    const int size = lt_group_size(group), rank = lt_group_rank(group);
    if (bytes == 0)
        return LT_OK;
    memmove((char *)all + (size_t)rank * bytes, mine, bytes);
    if (size == 1)
        return LT_OK;
    lt_transfer *moves = calloc((size_t)size, sizeof *moves);
    if (moves == NULL)
        LT_FAIL(LT_ENOMEM, "gather: no memory for %d transfers", size);
    int count = 0;
    for (int step = 1; step < size; step++) {
        const int peer = (rank + step) % size;
        moves[count++] = (lt_transfer){peer, (char *)all + (size_t)rank * bytes, bytes,
                                       (char *)all + (size_t)peer * bytes, bytes};
    }
    const lt_status st = lt_exchange(group, moves, count, NULL);
    free(moves);
    LT_TRY(st);
    return LT_OK;
}

lt_status lt_all_gather_host(lt_group *group, const void *mine, size_t bytes, void *all)
{
    NAMED("all_gather_host", group, all_gather_host(group, mine, bytes, all));
}

lt_status lt_all_gather_ranges(lt_group *group, void *whole, size_t row_bytes,
                               const lt_range *ranges)
{
    const int size = lt_group_size(group), rank = lt_group_rank(group);
    if (size == 1 || row_bytes == 0)
        return LT_OK;
    lt_transfer *moves = calloc((size_t)size, sizeof *moves);
    if (moves == NULL)
        LT_FAIL(LT_ENOMEM, "gather: no memory for %d transfers", size);
    int count = 0;
    for (int step = 1; step < size; step++) {
        const int peer = (rank + step) % size;
        moves[count++] = (lt_transfer){peer, (char *)whole + (size_t)ranges[rank].first * row_bytes,
                                       (size_t)ranges[rank].count * row_bytes,
                                       (char *)whole + (size_t)ranges[peer].first * row_bytes,
                                       (size_t)ranges[peer].count * row_bytes};
    }
    const lt_status st = lt_exchange(group, moves, count, NULL);
    free(moves);
    LT_TRY(st);
    return LT_OK;
}

/* ---- agreement ---- */

/* What is known of a set of ranks. Merging two of these twice changes nothing, so the rounds of the
 * barrier spread it: no memory is taken, and no rank can fail alone on the way. */
typedef struct {
    int32_t first_failed, status; /* lowest failed rank, or the group's size */
    int32_t lowest, highest;      /* of the ranks' counts of agreements */
} verdict;

/* The failed rank's words, sent only when there are some. */
typedef struct {
    char text[1024], hint[1024];
} words;

static lt_status agreed_on = LT_OK;

int lt_agreed_failure(lt_status *original)
{
    *original = agreed_on;
    return agreed_on != LT_OK;
}

static void merge(verdict *mine, const verdict *theirs)
{
    if (theirs->first_failed < mine->first_failed) {
        mine->first_failed = theirs->first_failed;
        mine->status = theirs->status;
    }
    mine->lowest = theirs->lowest < mine->lowest ? theirs->lowest : mine->lowest;
    mine->highest = theirs->highest > mine->highest ? theirs->highest : mine->highest;
}

/* The lowest failed rank keeps its own error and trail; the others take its words. */
static lt_status take_words(lt_group *group, const verdict *v, lt_status mine)
{
    words w = {{0}, {0}};
    const int is_first = lt_group_rank(group) == v->first_failed;
    if (is_first) {
        const char *text = lt_error_text();
        if (text[0] == '\0') /* a status made without lt_fail */
            text = lt_status_name(mine);
        (void)snprintf(w.text, sizeof w.text, "%s", text);
        (void)snprintf(w.hint, sizeof w.hint, "%s", lt_hint_text());
    }
    LT_TRY(lt_broadcast(group, v->first_failed, &w, sizeof w));
    if (lt_group_size(group) >= lt_world_size())
        agreed_on = (lt_status)v->status;
    if (is_first)
        return mine;
    lt_error_clear();
    if (w.hint[0] != '\0')
        lt_hint("%s", w.hint);
    LT_FAIL(mine != LT_OK ? mine : LT_EPEER, "%s", w.text);
}

/* A rank that failed waits for the others for seconds only: they may be in a collective that it
 * never came to, and then cannot come. It goes with its own error, which nobody agreed on. One that
 * only passes on a peer's failure waits for longer, so that whoever has the cause goes, and speaks,
 * first. */
static double patience(lt_status mine, int rank)
{
    const double turn = 1e-3 * LT_LEAVE_OWN_TURN_MS * (rank % 10);
    return mine == LT_OK ? 0
                         : turn + 1e-3 * (mine == LT_EPEER ? LT_LEAVE_HEARD_MS : LT_LEAVE_OWN_MS);
}

static lt_status agree(lt_group *group, lt_status mine)
{
    char own[sizeof(words)];
    const int size = lt_group_size(group), rank = lt_group_rank(group);
    agreed_on = LT_OK;
    if (size == 1) {
        if (lt_world_size() == 1)
            agreed_on = mine;
        return mine;
    }
    (void)snprintf(own, sizeof own, "%s",
                   lt_error_text()[0] != '\0' ? lt_error_text() : lt_status_name(mine));
    const int32_t turn = ++group->agreements;
    /* Who only heard of a failure, in an agreement of fewer ranks, stands behind who had it. */
    const int behind = mine == LT_OK ? 2 * size : mine == LT_EPEER ? size : 0;
    verdict v = {behind + (mine != LT_OK ? rank : 0), (int32_t)mine, turn, turn};
    for (int span = 1; span < size; span *= 2) {
        const verdict sent = v;
        verdict theirs = v;
        const lt_transfer moves[2] = {
            {.peer = (rank + span) % size, .send = &sent, .send_bytes = sizeof sent},
            {.peer = (rank - span + size) % size, .recv = &theirs, .recv_bytes = sizeof theirs}};
        group->wait_seconds_max = patience(mine, rank);
        const lt_status moved = lt_exchange(group, moves, 2, NULL);
        group->wait_seconds_max = 0;
        if (moved != LT_OK && mine != LT_OK) {
            lt_error_clear();
            LT_FAIL(mine, "%s", own);
        }
        LT_TRY(moved);
        merge(&v, &theirs);
    }
    if (v.lowest != v.highest)
        LT_FAIL(LT_EINTERNAL, "ranks came to an agreement from different places: turns %d to %d",
                (int)v.lowest, (int)v.highest);
    if (v.first_failed >= 2 * size)
        return LT_OK;
    v.first_failed %= size;
    return take_words(group, &v, mine);
}

lt_status lt_agree(lt_group *group, lt_status mine)
{
    /* The note of a rank that failed stays where it failed. */
    NAMED(mine == LT_OK ? "agree" : NULL, group, agree(group, mine));
}

/* agree.c - all ranks learn whether one of them failed. */
#include "parallel/transport/agree.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/leave.h"
#include "parallel/transport/host_collectives.h"
#include "parallel/transport/op_record.h"
#include "parallel/transport/transport_impl.h"

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

/* The lowest failed rank keeps its own error and trace; the others take its words. */
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
    if (group->size >= group->world_size)
        agreed_on = (lt_status)v->status;
    if (is_first)
        return mine;
    lt_error_clear();
    if (w.hint[0] != '\0')
        lt_hint("%s", w.hint);
    LT_FAIL(mine != LT_OK ? mine : LT_EPEER, "%s", w.text);
}

/* A rank that failed waits for the others for seconds only: they may be in a collective that it
 * never came to, and then cannot come. It leaves with its own error, which no rank agreed on. One
 * that only passes on a peer's failure waits for longer, so that the rank with the cause leaves,
 * and prints, first. */
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
        if (group->world_size == 1)
            agreed_on = mine;
        return mine;
    }
    (void)snprintf(own, sizeof own, "%s",
                   lt_error_text()[0] != '\0' ? lt_error_text() : lt_status_name(mine));
    const int32_t turn = ++group->agreements;
    /* A rank that only knows of a failure by an agreement of fewer ranks comes behind the failed.
     * */
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
    /* The operation record of a rank that failed stays where it failed. */
    lt_operation_begin(mine == LT_OK ? "agree" : NULL, group->axis, NULL);
    const lt_status st = agree(group, mine);
    lt_operation_end(NULL);
    return st;
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
    LT_TRY_GOTO(lt_agree(group, st), st, failed); /* one without memory must not leave alone */
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

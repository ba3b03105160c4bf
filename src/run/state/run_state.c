/* run_state.c - from a step's end to a step that counts.
 *
 *     every step   own messages, then a gather: who is busy, how the last copy fared, who stops
 *     nobody busy  the last copy is settled: rank 0 queues its record, or a warning says why not
 *     its turn     the oldest copy that waits, else this step, goes out; else it is skipped
 *     once a second, at most, what goes out is to be brought to the disk (state_durable.c)
 *
 * All ranks decide by the same reports, so they decide alike and no further word is needed. A copy
 * goes out only when the one before is settled: so a rank's thread has one file at a time, and a
 * record names files that are whole on every rank. */
#include "run/state/run_state.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/new_file.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"
#include "parallel/transport/op_record.h"
#include "run/state/run_state_internal.h"

/* A stop's 8 s (base/stop.h), less what a last agreement takes. */
static const double stop_seconds = 7.0;

/* ---- opening ---- */

/* What rank 0 tells the others. */
typedef struct shared {
    char folder[LT_PATH_BYTES], token[LT_PATH_BYTES], content[40], mode[LT_STATE_WORD_BYTES];
    uint64_t job;
    int64_t epoch;
    lt_state_place from;
    int32_t every, keep, is_on;
} shared;

static void make_content(char out[40])
{
    uint64_t bits[2] = {0, 0};
    if (getrandom(bits, sizeof bits, GRND_NONBLOCK) != (ssize_t)sizeof bits)
        bits[0] = (uint64_t)getpid() ^ (uint64_t)(lt_seconds() * 1e9); /* no entropy yet */
    (void)snprintf(out, 40, "%016llx%016llx\n", (unsigned long long)bits[0],
                   (unsigned long long)bits[1]);
}

/* The folder, and in it the token by which other ranks know it. */
static lt_status make_folder(const lt_state_settings *s, shared *out)
{
    char name[LT_STATE_NAME_BYTES];
    LT_TRY(lt_dir_make(out->folder));
    lt_state_sweep(s->run);
    LT_TRY(
        lt_path_join(out->token, sizeof out->token, out->folder, lt_state_token(s->epoch, name)));
    make_content(out->content);
    LT_TRY(lt_new_file_write(out->token, out->content, strlen(out->content), LT_REPLACE));
    return LT_OK;
}

static lt_status fill_shared(const lt_state_settings *s, shared *out)
{
    *out = (shared){.job = s->job,
                    .epoch = s->epoch,
                    .from = s->from != NULL ? s->from->place : (lt_state_place){0},
                    .every = s->every,
                    .keep = s->keep,
                    .is_on = s->every > 0};
    (void)snprintf(out->mode, sizeof out->mode, "%s", s->mode);
    LT_TRY(lt_path_join(out->folder, sizeof out->folder, s->run, "state"));
    if (out->is_on && make_folder(s, out) != LT_OK) {
        lt_warn("no step of this run will count: %s", lt_error_text());
        lt_error_clear();
        out->is_on = 0;
    }
    return LT_OK;
}

static int finds(const shared *s)
{
    char *text = NULL;
    size_t bytes = 0;
    const int found = lt_file_read_regular(s->token, sizeof s->content, &text, &bytes) == LT_OK &&
                      strcmp(text, s->content) == 0;
    free(text);
    lt_error_clear();
    return found;
}

static lt_status share_chosen(lt_run_state *state, json_t *mine)
{
    char *text = NULL;
    size_t bytes = 0;
    lt_status st = LT_OK;
    if (lt_group_rank(state->world) == 0) {
        text = mine != NULL ? json_dumps(mine, JSON_COMPACT) : strdup("{}");
        bytes = text != NULL ? strlen(text) : 0;
        if (text == NULL)
            st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "states: no memory for what auto chose");
    }
    LT_TRY(lt_agree(state->world, st));
    st = lt_broadcast_text(state->world, 0, &text, &bytes);
    if (st == LT_OK) {
        state->chosen = json_loadb(text, bytes, 0, NULL);
        if (state->chosen == NULL)
            st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "states: no memory for what auto chose");
    }
    free(text);
    return lt_agree(state->world, st);
}

static void take_shared(lt_run_state *state, const shared *s)
{
    (void)snprintf(state->folder, sizeof state->folder, "%s", s->folder);
    (void)snprintf(state->mode, sizeof state->mode, "%s", s->mode);
    state->job = s->job;
    state->epoch = s->epoch;
    state->from = s->from;
    state->every = s->every;
    state->keep = s->keep;
    state->is_on = s->is_on;
    const int *at = state->mesh->at;
    state->writes = at[LT_AXIS_CFG] == 0 && at[LT_AXIS_RING] == 0 && at[LT_AXIS_ULY] == 0 &&
                    at[LT_AXIS_TP] == 0;
}

/* Rank 0's copy of the step that the run goes on from: its files are read by restore, and those
 * that stay are named by records to come. */
static lt_status take_start(lt_run_state *state, const lt_commit *from)
{
    if (from == NULL || from->count == 0)
        return LT_OK;
    const size_t bytes = (size_t)from->count * sizeof *from->file;
    state->start = *from;
    state->start.file = malloc(bytes);
    state->stays = malloc(bytes);
    if (state->start.file == NULL || state->stays == NULL)
        LT_FAIL(LT_ENOMEM, "states: no memory for %d files", from->count);
    memcpy(state->start.file, from->file, bytes);
    for (int i = 0; i < from->count; i++)
        if (from->file[i].stays)
            state->stays[state->stays_count++] = from->file[i];
    return LT_OK;
}

static lt_status open_mine(lt_run_state *state, const lt_state_settings *settings)
{
    if (settings != NULL)
        LT_TRY(lt_path_join(state->cache, sizeof state->cache, settings->run, "cache"));
    const int size = lt_group_size(state->world);
    state->report = calloc((size_t)size, sizeof *state->report);
    state->sees = calloc((size_t)size, sizeof *state->sees);
    if (state->report == NULL || state->sees == NULL)
        LT_FAIL(LT_ENOMEM, "states: no memory for %d ranks", size);
    return settings != NULL ? take_start(state, settings->from) : LT_OK;
}

static lt_status open_thread(lt_run_state *state)
{
    const int rank = lt_group_rank(state->world);
    if (!state->is_on || (rank != 0 && !(state->writes && state->sees[rank])))
        return LT_OK;
    const lt_state_thread_args args = {.folder = state->folder,
                                       .epoch = state->epoch,
                                       .from = state->from.step,
                                       .keep = state->keep};
    LT_TRY(lt_state_thread_open(&args, &state->thread));
    return LT_OK;
}

lt_status lt_run_state_open(const lt_mesh *mesh, const lt_state_settings *settings,
                            lt_run_state **out)
{
    const int root = lt_group_rank(mesh->world) == 0;
    shared all = {.every = 0};
    lt_run_state *state = calloc(1, sizeof *state);
    lt_status st = LT_OK;
    *out = state;
    if (state == NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "states: no memory");
    LT_TRY_GOTO(lt_agree(mesh->world, st), st, done);
    assert(state != NULL && (!root || settings->keep >= 1));
    state->mesh = mesh;
    state->world = state->meet = mesh->world;
    if (root) {
        st = fill_shared(settings, &all);
        (void)snprintf(state->token, sizeof state->token, "%s", all.is_on ? all.token : "");
    }
    LT_TRY_GOTO(lt_agree(mesh->world, st), st, done);
    LT_TRY_GOTO(lt_broadcast(mesh->world, 0, &all, sizeof all), st, done);
    take_shared(state, &all);
    LT_TRY_GOTO(lt_agree(mesh->world, open_mine(state, root ? settings : NULL)), st, done);
    LT_TRY_GOTO(share_chosen(state, root ? settings->chosen : NULL), st, done);
    /* rank 0 made the token: where it cannot read it, it would send its states to itself */
    const int sees = all.is_on && (root || finds(&all));
    LT_TRY_GOTO(lt_all_gather_host(mesh->world, &sees, sizeof sees, state->sees), st, done);
    LT_TRY_GOTO(lt_agree(mesh->world, open_thread(state)), st, done);
    LT_TRY_GOTO(lt_agree(mesh->world, lt_durable_open(state)), st, done);
done:
    if (st != LT_OK)
        lt_run_state_close(out);
    return st;
}

void lt_run_state_meet(lt_run_state *state, lt_group *group)
{
    if (state == NULL)
        return;
    assert(group == NULL || (lt_group_rank(group) == 0) == (lt_group_rank(state->world) == 0));
    state->meet = group != NULL ? group : state->world;
}

lt_state_place lt_run_state_from(const lt_run_state *state) { return state->from; }

void lt_run_state_close(lt_run_state **out)
{
    lt_run_state *state = *out;
    *out = NULL;
    if (state == NULL)
        return;
    lt_state_thread_close(&state->thread); /* before the memory that it writes goes */
    if (state->out != NULL)
        lt_step_copy_end(state);
    lt_step_copy_free(&state->out);
    while (state->waiting != NULL) {
        lt_step_copy *next = state->waiting->next;
        lt_step_copy_free(&state->waiting);
        state->waiting = next;
    }
    if (state->token[0] != '\0')
        (void)unlink(state->token);
    json_decref(state->chosen);
    lt_commit_free(&state->start);
    free(state->stays);
    free(state->report);
    free(state->sees);
    free(state);
}

/* ---- reports ---- */

static void add_outcome(lt_state_report *to, lt_state_outcome from)
{
    if (from.status == LT_OK || to->status != LT_OK)
        return;
    to->status = (int32_t)from.status;
    (void)snprintf(to->text, sizeof to->text, "%s", from.text);
}

static void count_records(lt_run_state *state)
{
    const lt_state_done done = lt_state_thread_done(state->thread);
    state->counts.committed = done.committed;
    state->counts.last = done.last;
    state->counts.bytes = done.bytes;
}

/* Rank 0's, told at once. What the fence refuses ends the run, in other words (lt_fence_check). */
static void tell_records(lt_run_state *state)
{
    const lt_state_outcome records = lt_state_thread_records(state->thread);
    const lt_state_outcome caches = lt_state_thread_caches(state->thread);
    if (caches.status != LT_OK && caches.status != LT_EUNAVAIL)
        lt_warn("not kept, --resume makes it again: %s", caches.text);
    count_records(state);
    if (records.status == LT_OK)
        return;
    state->counts.failed++;
    if (records.status != LT_EUNAVAIL)
        lt_warn("a step does not count: %s", records.text);
}

static void fill_report(lt_run_state *state, const lt_state_part *part, lt_state_report *mine)
{
    const int rank = lt_group_rank(state->world);
    char name[LT_STATE_NAME_BYTES];
    const lt_status moved = lt_step_copy_move(state);
    *mine = (lt_state_report){.part = part != NULL ? lt_step_copy_part(state, part) : -1};
    mine->busy = lt_step_copy_is_busy(state);
    mine->out = state->out != NULL;
    mine->waiting = state->waiting != NULL;
    mine->gave_up = state->gave_up;
    mine->durable = state->durable;
    mine->sync_step = state->sync_step;
    if (moved != LT_OK) {
        mine->error = (int32_t)moved;
        (void)snprintf(mine->text, sizeof mine->text, "%s", lt_error_text());
        return;
    }
    if (rank == 0 && state->thread != NULL) {
        tell_records(state);
        mine->last = state->counts.last;
    }
    lt_durable_report(state, mine);
    if (state->out == NULL || mine->busy)
        return;
    if (state->out->failed)
        add_outcome(mine, (lt_state_outcome){LT_ENOMEM, "no memory for a copy of the step"});
    if (state->thread != NULL)
        add_outcome(mine, lt_state_thread_files(state->thread));
    if (state->thread != NULL && state->out->part[rank] >= 0) {
        const lt_state_name of = {state->out->place.step, state->epoch, state->out->part[rank]};
        mine->sum = lt_state_thread_sum(state->thread, lt_state_name_text(&of, name));
    }
}

static int any(const lt_run_state *state, size_t field)
{
    int is = 0;
    for (int r = 0; r < lt_group_size(state->meet); r++) {
        int32_t value;
        memcpy(&value, (const char *)&state->report[r] + field, sizeof value);
        is |= value != 0;
    }
    return is;
}
#define ANY(field) any(state, offsetof(lt_state_report, field))

/* All ranks' reports. A rank whose messages failed ends the run. */
static lt_status gather(lt_run_state *state, const lt_state_part *part, int stop, int late)
{
    lt_state_report mine;
    fill_report(state, part, &mine);
    mine.stop = stop;
    mine.late = late;
    LT_TRY(lt_all_gather_host(state->meet, &mine, sizeof mine, state->report));
    state->counts.last = state->report[0].last;
    /* Ranks that a team left out (lt_run_state_meet) know nothing of the rounds that it made. */
    state->durable = state->report[0].durable;
    state->sync_step = state->report[0].sync_step;
    if (!ANY(error))
        return LT_OK;
    lt_status st = LT_OK;
    if (mine.error != LT_OK)
        st = lt_fail((lt_status)mine.error, __FILE__, __LINE__, "%s", mine.text);
    return lt_agree(state->meet, st);
}

/* ---- copies ---- */

static void wait_for_turn(lt_run_state *state, lt_step_copy *copy, int first)
{
    lt_step_copy **at = &state->waiting;
    while (!first && *at != NULL)
        at = &(*at)->next;
    copy->next = *at;
    *at = copy;
}

/* The words of the lowest rank that failed. */
static const char *why_not(const lt_run_state *state, int *rank)
{
    for (int r = 0; r < lt_group_size(state->meet); r++)
        if (state->report[r].status != LT_OK) {
            *rank = r;
            return state->report[r].text;
        }
    return NULL;
}

/* Rank 0: a copy is durable; what stays of it is named by all records from now on. */
static lt_status remember(lt_run_state *state, const lt_commit *commit)
{
    if (!state->out->stays)
        return LT_OK;
    lt_commit_file *more = realloc(state->stays, (size_t)commit->count * sizeof *more + 1);
    if (more == NULL)
        LT_FAIL(LT_ENOMEM, "states: no memory for %d files", commit->count);
    memcpy(more, commit->file, (size_t)commit->count * sizeof *more);
    state->stays = more;
    state->stays_count = commit->count;
    return LT_OK;
}

static lt_status commit_copy(lt_run_state *state)
{
    lt_commit commit;
    LT_TRY(lt_step_copy_commit(state, 1, &commit));
    lt_status st = remember(state, &commit);
    if (st == LT_OK && !state->record_queued && commit.count > 0)
        st = lt_state_thread_commit(state->thread, &commit);
    if (st == LT_OK)
        st = lt_durable_follow(state);
    lt_commit_free(&commit);
    LT_TRY(st);
    return LT_OK;
}

/* Nobody is busy: what became of the copy that was out? */
static lt_status settle(lt_run_state *state)
{
    int rank = 0;
    lt_step_copy *p = state->out;
    if (p == NULL)
        return LT_OK;
    const int root = lt_group_rank(state->world) == 0;
    const char *why = why_not(state, &rank);
    if (why == NULL) {
        state->counts.written++;
        if (root)
            LT_TRY(commit_copy(state));
    } else {
        state->counts.failed++;
        state->gave_up = 1;
        state->sync_void |= p->place.step == state->sync_step;
        state->sync_waits &= !state->sync_void;
        if (root && state->report[rank].status != LT_EUNAVAIL) /* that: a newer copy, see above */
            lt_warn("step %lld does not count: %s%s", (long long)p->place.step, why,
                    p->stays ? "; it is tried again" : "");
    }
    lt_step_copy_end(state);
    state->out = NULL;
    if (why != NULL && p->stays)
        wait_for_turn(state, p, 1);
    else
        lt_step_copy_free(&p);
    return LT_OK;
}

static int is_due(const lt_run_state *state, const lt_state_part *part)
{
    return part->stays || part->place.step % state->every == 0;
}

/* The next copy goes out; this step's part becomes one, or is skipped. */
static lt_status next_copy(lt_run_state *state, const lt_state_part *part, int idle)
{
    lt_step_copy *mine = NULL;
    lt_status st = LT_OK;
    const int due = part != NULL && is_due(state, part);
    const int goes = idle && state->waiting == NULL;
    if (due && (goes || part->stays))
        st = lt_step_copy_new(state, part, &mine);
    else if (due)
        state->counts.skipped++;
    if (mine != NULL)
        wait_for_turn(state, mine, 0);
    if (st == LT_OK && idle && state->waiting != NULL) {
        state->out = state->waiting;
        state->waiting = state->out->next;
        state->out->next = NULL;
        st = lt_step_copy_send(state);
        if (st == LT_OK && state->sync_step == 0 && state->report[0].sync_due)
            st = lt_durable_begin(state, state->out->place.step, 1);
        if (st == LT_OK)
            st = lt_step_copy_move(state); /* where all is in the thread's hands: the record too */
    }
    return st;
}

/* What all ranks of the group do alike, by the reports: rank 0 has every copy there is. */
static lt_status one_round(lt_run_state *state, const lt_state_part *part)
{
    const lt_state_report *first = &state->report[0];
    const int idle = !ANY(busy);
    const int takes = part != NULL && is_due(state, part) && (idle || part->stays);
    lt_status st = idle ? settle(state) : LT_OK;
    if (st == LT_OK && idle && state->sync_step != 0 && !ANY(sync_busy))
        lt_durable_settle(state);
    if (st == LT_OK)
        st = next_copy(state, part, idle);
    if (takes || (idle && (first->out || first->waiting)))
        LT_TRY(lt_agree(state->meet, st));
    return st;
}

/* Is the newest step that counts still to become durable? */
static int wants_sync(const lt_run_state *state)
{
    return !state->sync_gave_up && state->report[0].last > state->durable;
}

/* drain's: behind all copies the newest step that counts is brought to the disk. */
static lt_status last_round(lt_run_state *state)
{
    const lt_state_report *first = &state->report[0];
    if (ANY(busy) || first->out || first->waiting || state->sync_step != 0 || !wants_sync(state))
        return LT_OK;
    return lt_agree(state->meet, lt_durable_begin(state, first->last, 0));
}

/* What this rank waits for before it asks the others. */
static int is_at_work(const lt_run_state *state)
{
    return lt_step_copy_is_busy(state) ||
           (state->thread != NULL && lt_state_thread_is_syncing(state->thread));
}

/* Until what is out, and what waits, is written, committed and on the disk, or the time is over. */
static lt_status drain(lt_run_state *state, double seconds)
{
    const double until = lt_seconds() + seconds;
    lt_operation_begin("states on their way to the disk", NULL, NULL);
    lt_status st = LT_OK;
    state->gave_up = state->sync_gave_up = 0;
    for (int more = 1; more && st == LT_OK;) {
        for (;;) {
            st = lt_step_copy_move(state);
            const double left = until - lt_seconds();
            if (st != LT_OK || left <= 0 || !is_at_work(state))
                break;
            if (state->thread == NULL || lt_state_thread_wait(state->thread, 0.002))
                (void)nanosleep(&(struct timespec){0, 1000000}, NULL); /* messages */
        }
        st = gather(state, NULL, 0, lt_seconds() >= until);
        if (st == LT_OK)
            st = one_round(state, NULL);
        if (st == LT_OK)
            st = last_round(state);
        /* one round more behind the last copy: its record */
        const lt_state_report *first = &state->report[0];
        more = !ANY(late) && !first->gave_up &&
               (ANY(busy) || first->out || first->waiting || state->sync_step != 0);
    }
    lt_operation_end(NULL);
    return st;
}

lt_status lt_run_state_step(lt_run_state *state, const lt_state_part *part, int stop, int *stops)
{
    const double began = lt_seconds();
    *stops = stop;
    LT_TRY(gather(state, part, stop, 0));
    *stops = ANY(stop);
    if (!state->is_on)
        return LT_OK;
    if (!*stops)
        return one_round(state, part);
    /* The step at hand, whether it is its turn or not, behind what is out. */
    lt_state_part last = *part;
    last.stays = 1;
    lt_step_copy *mine = NULL;
    const lt_status st = lt_step_copy_new(state, &last, &mine);
    if (mine != NULL) {
        mine->stays = part->stays;
        wait_for_turn(state, mine, 0);
    }
    LT_TRY(lt_agree(state->meet, st));
    return drain(state, stop_seconds - (lt_seconds() - began));
}

lt_status lt_run_state_finish(lt_run_state *state, double seconds)
{
    if (!state->is_on)
        return LT_OK;
    LT_TRY(drain(state, seconds));
    return LT_OK;
}

lt_state_counts lt_run_state_counts(lt_run_state *state)
{
    if (state->thread != NULL && lt_group_rank(state->world) == 0)
        count_records(state);
    return state->counts;
}

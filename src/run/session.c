/* session.c - what one run of the program holds open. */
#include "run/session.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/resident.h"
#include "media/loudness.h"
#include "model/files/remote/source.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"
#include "run/decode/chunks.h"
#include "run/device_facts.h"
#include "run/estimate.h"
#include "run/fit.h"
#include "run/place.h"
#include "run/plan_json.h"
#include "run/resume/fence.h"

lt_status lt_session_check(lt_session *s, const lt_job *job, const lt_plan *plan, const char *run)
{
    const lt_backend *backend = NULL;
    lt_mux_spec spec;
    lt_plan_mux_spec(plan, plan->output, 1, &spec);
    LT_TRY(lt_mux_check(&spec));
    LT_TRY(lt_backend_find(plan->device, &backend));
    if (fabs(plan->loudness) > 0)
        LT_TRY(lt_loudness_check());
    s->outputs.replace = job->overwrite ? LT_REPLACE : LT_KEEP;
    LT_TRY(lt_outputs_add(&s->outputs, "-o", plan->output, NULL));
    LT_TRY(lt_outputs_add(&s->outputs, "--sheet", job->sheet, ".png"));
    LT_TRY(lt_outputs_add(&s->outputs, "--wav", job->wav, ".wav"));
    LT_TRY(lt_outputs_check(&s->outputs, run));
    LT_TRY(lt_outputs_room(&s->outputs, plan, run));
    return LT_OK;
}

static lt_status take_plan(lt_session *s, const char *text, size_t bytes, lt_plan *plan)
{
    LT_TRY(lt_plan_from_json(text, bytes, plan));
    if (s->model == NULL)
        LT_TRY(lt_model_open(plan->model, &s->model));
    LT_TRY(lt_plan_streams(plan, s->model));
    return LT_OK;
}

lt_status lt_session_source(lt_group *world, char *path, size_t bytes)
{
    assert(bytes > 0);
    if (lt_group_size(world) == 1)
        return LT_OK;
    LT_TRY(lt_broadcast(world, 0, path, bytes));
    path[bytes - 1] = '\0';
    return lt_source_share(world, path);
}

/* Rank 0's text to all. mine: how making it went there; text [bytes] is malloc'ed. */
static lt_status share_text(lt_session *s, lt_status mine, char **text, size_t *bytes)
{
    LT_TRY(lt_agree(s->world, mine));
    *bytes = *text != NULL ? strlen(*text) : 0;
    return lt_broadcast_text(s->world, 0, text, bytes);
}

lt_status lt_session_share(lt_session *s, lt_plan *draft)
{
    if (lt_group_size(s->world) == 1)
        return LT_OK;
    char *text = NULL;
    size_t bytes = 0;
    const int root = lt_group_rank(s->world) == 0;
    lt_status st = share_text(s, root ? lt_plan_to_text(draft, NULL, &text) : LT_OK, &text, &bytes);
    if (st == LT_OK && !root)
        st = take_plan(s, text, bytes, draft);
    free(text);
    LT_TRY(lt_agree(s->world, st));
    LT_TRY(lt_tokens_share(s->world, &s->tokens));
    return LT_OK;
}

lt_status lt_session_plan(lt_session *s, const lt_plan *draft, lt_plan *out)
{
    char *text = NULL;
    size_t bytes = 0;
    const lt_plan_found found = {.threads = s->bound.placed.threads,
                                 .order = s->bound.mesh.rank_at,
                                 .footprint = &s->footprint,
                                 .peak_bytes = s->peak_bytes,
                                 .decoding = s->decoding,
                                 .decoding_why = s->decoding_why};
    const int root = lt_group_rank(s->world) == 0;
    lt_status st =
        share_text(s, root ? lt_plan_to_text(draft, &found, &text) : LT_OK, &text, &bytes);
    if (st == LT_OK)
        st = take_plan(s, text, bytes, out);
    free(text);
    LT_TRY(lt_agree(s->world, st));
    return LT_OK;
}

/* The first text_ranks positions of the mesh share the encoder's heads. Rank 0 is at the first, and
 * --placement nodes puts the next ones on its host while that has ranks. */
static lt_status open_text_mesh(lt_session *s)
{
    const int size = lt_group_size(s->world), count = s->model->family->text_ranks(s->model, size);
    int *ranks = malloc((size_t)count * sizeof *ranks);
    if (ranks == NULL)
        LT_FAIL(LT_ENOMEM, "text mesh: no memory for %d ranks", count);
    for (int i = 0; i < count; i++)
        ranks[i] = s->bound.mesh.rank_at[i];
    lt_status st = lt_group_split(s->world, ranks, count, &s->text_group);
    free(ranks);
    if (st == LT_OK && s->text_group != NULL)
        st = lt_mesh_open_placed(s->text_group, &(lt_mesh_spec){{1, 1, 1, 1, count}},
                                 s->bound.mesh.placement, &s->text_mesh);
    LT_TRY(st);
    return LT_OK;
}

static lt_status open_decode_mesh(lt_session *s, const lt_plan *plan)
{
    const lt_mesh_spec spec = lt_plan_decode_mesh(plan, lt_group_size(s->world));
    const int64_t chunks = lt_film_decode_chunks(plan, s->model);
    LT_TRY(lt_mesh_open_placed(s->world, &spec, plan->placement, &s->decode_mesh));
    LT_TRY(lt_agree(s->world, lt_place_warn_decode(&s->decode_mesh, chunks)));
    return LT_OK;
}

/* Every rank's number: [ranks], the caller frees. Collective on world. */
static lt_status gather_sizes(lt_group *world, size_t mine, size_t **all)
{
    const int size = lt_group_size(world);
    lt_status st = LT_OK;
    *all = malloc((size_t)size * sizeof **all);
    if (*all == NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "memory: no room for %d ranks", size);
    st = lt_agree(world, st);
    if (st == LT_OK)
        st = lt_all_gather_host(world, &mine, sizeof mine, *all);
    if (st != LT_OK) {
        free(*all);
        *all = NULL;
    }
    LT_TRY(st);
    return LT_OK;
}

static lt_status largest_peak(lt_session *s)
{
    size_t *all = NULL;
    LT_TRY(gather_sizes(s->world, s->footprint.peak_bytes, &all));
    for (int i = 0; i < lt_group_size(s->world); i++)
        s->peak_bytes = all[i] > s->peak_bytes ? all[i] : s->peak_bytes;
    free(all);
    return LT_OK;
}

/* What a rank would need for DiT and decoders together, and has. */
typedef struct room {
    double need, left;
} room;

/* The rank that has the least beside what it needs. Collective on world. */
static lt_status scarcest(lt_group *world, const room *mine, room *out, int *rank)
{
    const int size = lt_group_size(world);
    lt_status st = LT_OK;
    room *all = malloc((size_t)size * sizeof *all);
    if (all == NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "memory: no room for %d ranks", size);
    st = lt_agree(world, st);
    if (st == LT_OK)
        st = lt_all_gather_host(world, mine, sizeof *mine, all);
    for (int r = 0; st == LT_OK && r < size; r++)
        if (r == 0 || (all[r].left >= 0 &&
                       (out->left < 0 || all[r].left - all[r].need < out->left - out->need))) {
            *out = all[r];
            *rank = r;
        }
    free(all);
    return st;
}

static lt_status parts_of(const lt_plan *draft, const lt_model *model, int64_t *out)
{
    lt_film_shot *shot = NULL;
    lt_film_chunks chunks;
    int count = 0;
    LT_TRY(lt_film_shots(draft, model, &shot, &count));
    const lt_status st = lt_film_chunks_new(model, shot, count, &chunks);
    free(shot);
    LT_TRY(st);
    *out = chunks.parts;
    lt_film_chunks_free(&chunks);
    return LT_OK;
}

#define WHY(...) (void)snprintf(s->decoding_why, sizeof s->decoding_why, __VA_ARGS__)

/* Is decoded beside the denoising or after it? Beside where that was asked for, or nothing was and
 * both fit. Collective on world. */
static lt_status decide_decoding(lt_session *s, const lt_estimate_of *of)
{
    const double gib = 1024.0 * 1024.0 * 1024.0;
    const lt_decoding_when asked = of->plan->decoding;
    room mine = {0, 0}, least = {0, 0};
    int64_t parts = 1;
    int rank = 0;
    lt_status st = LT_OK;
    s->decoding = LT_DECODING_AFTER;
    if (of->mesh[LT_PHASE_DIT] != NULL && asked != LT_DECODING_AFTER)
        st = parts_of(of->plan, s->model, &parts);
    LT_TRY(lt_agree(s->world, st));
    if (of->mesh[LT_PHASE_DIT] == NULL)
        WHY("all of the latents are there");
    else if (asked == LT_DECODING_AFTER)
        WHY("as asked");
    else if (fabs(of->plan->loudness) > 0)
        WHY("the sound is measured whole");
    else if (parts == 1)
        WHY("the latents become final all at once");
    if (s->decoding_why[0] != '\0')
        return LT_OK;
    lt_estimate_beside(of, &s->footprint, &mine.need, &mine.left);
    LT_TRY(scarcest(s->world, &mine, &least, &rank));
    const int fits = least.left < 0 || least.need <= least.left;
    if (!fits && asked == LT_DECODING_BESIDE) {
        lt_hint("--decoding after has one of them in memory at a time");
        LT_FAIL(LT_ENOMEM,
                "--decoding beside: DiT and decoders together need %.2f GiB on rank %d, it has "
                "%.2f GiB",
                least.need / gib, rank, least.left / gib);
    }
    if (!fits)
        WHY("DiT and decoders do not fit together: %.2f GiB of %.2f GiB on rank %d",
            least.need / gib, least.left / gib, rank);
    else if (least.left < 0)
        WHY("DiT and decoders together take %.2f GiB on rank %d", least.need / gib, rank);
    else
        WHY("DiT and decoders fit together: %.2f GiB of %.2f GiB on rank %d", least.need / gib,
            least.left / gib, rank);
    s->decoding = fits ? LT_DECODING_BESIDE : LT_DECODING_AFTER;
    s->footprint.is_beside = fits;
    lt_estimate_peak(of, &s->footprint);
    return LT_OK;
}

/* All memory and connections that collectives will need, of whatever phase. */
static lt_status connect(lt_session *s, const lt_estimate_of *of)
{
    lt_comm_need need = {0};
    lt_status st = LT_OK;
    for (int i = 0; i < LT_PHASES; i++) {
        const lt_phase_memory *m = &s->footprint.memory[i];
        need.scratch_bytes =
            m->comm_bytes > need.scratch_bytes ? m->comm_bytes : need.scratch_bytes;
        need.out_bytes = m->staging[0] > need.out_bytes ? m->staging[0] : need.out_bytes;
        need.in_bytes = m->staging[1] > need.in_bytes ? m->staging[1] : need.in_bytes;
    }
    for (int i = 0; i < LT_PHASES && st == LT_OK; i++)
        if (of->mesh[i] != NULL)
            st = lt_engine_connect(&s->engine, of->mesh[i], &need);
    LT_TRY(lt_agree(s->world, st));
    if (lt_group_rank(s->world) != 0)
        return LT_OK;
    s->exchanges = json_object();
    for (int i = 0; i < LT_PHASES; i++)
        if (of->mesh[i] != NULL)
            lt_device_exchanges(&s->engine, of->mesh[i], lt_phase_names[i], s->exchanges);
    return LT_OK;
}

/* What tells one folder from another on another host: a file server's clients see the same. */
typedef struct folder_stamp {
    uint64_t inode;
    int64_t changed_s, changed_ns;
} folder_stamp;

/* Of the folder that RUN is, or will be made in. */
static folder_stamp stamp_of(const char *run)
{
    char path[LT_PATH_BYTES], above[LT_PATH_BYTES];
    struct stat info;
    (void)snprintf(path, sizeof path, "%s", run);
    while (stat(path, &info) != 0 || !S_ISDIR(info.st_mode)) {
        if (lt_path_folder(above, sizeof above, path) != LT_OK || strcmp(above, path) == 0)
            return (folder_stamp){0};
        memcpy(path, above, sizeof path);
    }
    return (folder_stamp){(uint64_t)info.st_ino, (int64_t)info.st_ctim.tv_sec,
                          (int64_t)info.st_ctim.tv_nsec};
}

/* Which ranks find it where rank 0 does? RUN is not there yet, so this may be wrong (a folder that
 * changes meanwhile): run_state.h finds out later, this is for the estimate. *sees [ranks],
 * malloc'ed. */
static lt_status who_sees(lt_session *s, const char *run, int **sees)
{
    const int size = lt_group_size(s->world);
    const folder_stamp mine = stamp_of(run);
    folder_stamp *all = malloc((size_t)size * sizeof *all);
    lt_status st = LT_OK;
    lt_error_clear();
    *sees = malloc((size_t)size * sizeof **sees);
    if (all == NULL || *sees == NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "plan: no memory for %d ranks", size);
    LT_TRY_GOTO(lt_agree(s->world, st), st, done);
    LT_TRY_GOTO(lt_all_gather_host(s->world, &mine, sizeof mine, all), st, done);
    for (int r = 0; r < size; r++)
        (*sees)[r] = r == 0 || memcmp(&all[r], &all[0], sizeof *all) == 0;
done:
    free(all);
    return st;
}

/* The backend hears of all attention that will come, before anything is connected. */
static lt_status expect_attention(lt_session *s, const lt_plan *draft)
{
    lt_engine *e = &s->engine;
    int64_t count = 0;
    const lt_op *ops = lt_dry_attention(&count);
    e->act_partials = lt_estimate_act_partials(e->backend, e->device, draft);
    if (!lt_estimate_lists(e->backend, draft) || count == 0)
        return LT_OK;
    return e->backend->expect(e->compute, e->step, ops, count);
}

static lt_status open_session(lt_session *s, lt_plan *draft, const lt_job *job, lt_phase first,
                              const int *sees)
{
    size_t phase = 0, step = 0;
    LT_TRY(lt_bind(s->world, draft, &s->bound));
    if (first <= LT_PHASE_DIT)
        LT_TRY(lt_agree(s->world, lt_place_warn_dit(&s->bound.mesh)));
    if (first <= LT_PHASE_TEXT)
        LT_TRY(open_text_mesh(s));
    LT_TRY(open_decode_mesh(s, draft));
    const lt_estimate_of of = {
        .plan = draft,
        .model = s->model,
        .backend = s->bound.backend,
        .device = s->bound.placed.local_rank,
        .mesh = {[LT_PHASE_TEXT] = s->text_group != NULL ? &s->text_mesh : NULL,
                 [LT_PHASE_DIT] = first <= LT_PHASE_DIT ? &s->bound.mesh : NULL,
                 [LT_PHASE_DECODE] = &s->decode_mesh},
        .tokens = &s->tokens,
        .threads = s->bound.placed.threads,
        .local_ranks = s->bound.placed.local_ranks,
        .device_ranks = s->bound.device_ranks,
        .has_sheet = job->sheet != NULL,
        .has_previews = job->preview_every > 0,
        .keeps_states = job->checkpoint_every > 0,
        .sees = sees};
    LT_TRY(lt_fit(s->world, draft, &of, job, first, &s->footprint));
    lt_status st = decide_decoding(s, &of);
    if (st == LT_OK) {
        lt_estimate_arenas(&s->footprint, &phase, &step);
        st = lt_bind_engine(&s->bound, phase, step, &s->engine);
    }
    if (st == LT_OK)
        st = lt_estimate_time(&of, &s->engine, job->dry_run, &s->footprint);
    if (st == LT_OK && !job->dry_run)
        st = expect_attention(s, draft);
    if (st == LT_OK)
        lt_residency_open(&s->residency, s->world, s->model, &s->engine, of.mesh);
    LT_TRY(lt_agree(s->world, st));
    LT_TRY(connect(s, &of));
    LT_TRY(largest_peak(s));
    if (lt_group_rank(s->world) == 0)
        lt_estimate_say(&s->footprint, lt_group_size(s->world), s->tokens.all);
    return LT_OK;
}

lt_status lt_session_open(lt_session *s, lt_plan *draft, const lt_job *job, lt_phase first)
{
    int *sees = NULL;
    lt_status st = who_sees(s, draft->run, &sees);
    if (st == LT_OK)
        st = open_session(s, draft, job, first, sees);
    free(sees);
    return st;
}

lt_status lt_session_measure(lt_session *s)
{
    size_t *all = NULL;
    LT_TRY(gather_sizes(s->world, (size_t)lt_resident_now().peak, &all));
    json_t *peaks = lt_group_rank(s->world) == 0 ? json_array() : NULL;
    for (int i = 0; peaks != NULL && i < lt_group_size(s->world); i++)
        (void)json_array_append_new(peaks, json_integer((json_int_t)all[i]));
    if (peaks != NULL)
        s->memory = json_pack("{s:I, s:o}", "estimated_peak_bytes", (json_int_t)s->peak_bytes,
                              "peak_bytes", peaks);
    free(all);
    return LT_OK;
}

lt_epoch lt_session_epoch(const lt_session *s, const char *ended)
{
    lt_epoch epoch = {.number = s->run_lease.epoch,
                      .from_step = -1,
                      .to_step = -1,
                      .ended = ended,
                      .exchanges = s->exchanges};
    if (s->state == NULL)
        return epoch;
    epoch.from_step = lt_run_state_from(s->state).step;
    if (ended == NULL) /* else it could be taken for one that was killed there */
        return epoch;
    epoch.to_step = lt_run_state_counts(s->state).last;
    epoch.to_step = epoch.to_step > epoch.from_step ? epoch.to_step : epoch.from_step;
    return epoch;
}

void lt_session_close(lt_session *s)
{
    json_decref(s->memory);
    json_decref(s->exchanges);
    s->memory = s->exchanges = NULL;
    lt_run_state_close(&s->state);
    lt_preview_close(&s->preview);
    lt_progress_close(&s->progress);
    lt_nodes_free(&s->nodes);
    lt_fence_end();
    lt_lease_end(&s->run_lease);
    lt_outputs_end(&s->outputs);
    lt_residency_close(&s->residency);
    lt_model_close(&s->model);
    lt_source_end();
    lt_engine_close(&s->engine);
    if (s->text_group != NULL)
        lt_mesh_close(&s->text_mesh);
    lt_group_free(&s->text_group);
    lt_mesh_close(&s->decode_mesh);
    lt_unbind(&s->bound);
    lt_tokens_free(&s->tokens);
}

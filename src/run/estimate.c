/* estimate.c - how much memory and time a plan takes, before work.
 *
 * The phases follow each other, and what one has touched stays resident in the next: arenas are
 * mapped once, kernels keep their scratch. So, for a rank,
 *
 *     resident(phase) = base + late + the largest so far of (phase, step, comm arenas, scratch,
 *                       staging) + this rank's range of the clip + host buffers of the phase
 *
 * Where a device has memory of its own, arenas are no host memory. All that a run takes there it
 * takes at once, whatever phase runs:
 *
 *     device          = the largest phase, step and comm arenas of all phases, with room for
 *                       alignment + what backend, queues and links between devices take
 *
 * Where DiT and decoders are in memory together the two are one phase: its phase arena is the sum,
 * its step arena what the DiT's states take and the larger of both on top of it.
 *
 * base   what the process holds when it plans: program, libraries, MPI, tokenizer, checkpoint
 *        headers. Read from /proc, so it is true on any machine and in any build.
 * late   pages of program and libraries that only work touches. Measured (constants below).
 * staging  of collectives, where the CPU reads no tensors.
 * arenas, scratch, host buffers of the model: counted in the dry run (kernels/dry).
 * the rest (decode's pool, encoder, latents) by the sizes in the code that allocates it. */
#include "run/estimate.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/resident.h"
#include "media/contact_sheet.h"
#include "run/decode/decode.h"
#include "run/denoise/denoise.h"
#include "run/denoise/dry.h"
#include "run/estimate_parts.h"

const char *const lt_phase_names[LT_PHASES] = {"text", "dit", "decode"};
const char *const lt_time_names[LT_TIMES] = {"text", "denoise", "sound", "decode"};

/* Pages touched after the plan is made, on top of what is counted: code and data of libraries,
 * small blocks of malloc, stacks; all ranks, and rank 0 once it has written latents.h5. Measured at
 * each stage's begin (-v) with the demo model on x86-64, Debian 12. */
static const size_t late_all = (size_t)5 << 19, late_store = (size_t)4 << 20;

/* Host memory comes in huge pages where the system gives them: arena.c asks. */
static size_t whole_pages(size_t bytes)
{
    const size_t huge = 2 << 20;
    return bytes < huge ? bytes : (bytes + huge - 1) / huge * huge;
}

/* ---- latents ---- */

lt_status lt_estimate_clips(const lt_estimate_of *of, size_t *out)
{
    const lt_mesh *mesh = of->mesh[LT_PHASE_DIT];
    lt_film_shot *shot = NULL;
    int count = 0;
    lt_status st = LT_OK;
    *out = 0;
    if (mesh == NULL)
        return LT_OK;
    LT_TRY(lt_film_shots(of->plan, of->model, &shot, &count));
    for (int i = 0; i < count && st == LT_OK; i++) {
        size_t clip = 0, loop = 0;
        st = lt_denoise_host_bytes(of->model, mesh, &shot[i].plan, &clip, &loop);
        *out += clip;
    }
    free(shot);
    return st;
}

/* ---- what decoding takes ---- */

/* Chunks that this rank decodes and owns. */
static int64_t chunks_of(const lt_plan *plan, const lt_model *model, const lt_mesh *mesh)
{
    const int each = lt_group_size(mesh->axis[LT_AXIS_TP]);
    const int64_t groups = lt_group_size(mesh->world) / each, group = mesh->position / each;
    const int64_t chunks = lt_film_decode_chunks(plan, model);
    return mesh->position % each != 0 || chunks <= group ? 0 : (chunks - group - 1) / groups + 1;
}

/* Latents, raw frames, overlap frames each way where there are neighbours, and finished frames, two
 * sets where there are two chunks. What is never written is never resident. */
static size_t pool_bytes(const lt_plan *plan, const lt_model *model, const lt_mesh *mesh)
{
    const lt_decode_buffers sizes = lt_decode_buffers_of(model, plan);
    const int64_t mine = chunks_of(plan, model, mesh);
    const int64_t chunks = lt_film_decode_chunks(plan, model);
    const size_t latents = sizes.latents * sizeof(float);
    if (mine == 0)
        return latents + (lt_group_rank(mesh->world) == 0 ? sizes.frames_bytes : 0);
    return latents + 2 * sizes.pcm_bytes + sizes.raw_bytes +
           (chunks > 1 ? 2 : 1) * sizes.overlap_bytes + (mine > 1 ? 2 : 1) * sizes.frames_bytes;
}

/* Rank 0: encoder, muxer, contact sheet. */
static size_t output_bytes(const lt_estimate_of *of)
{
    const lt_plan *plan = of->plan;
    lt_mux_spec spec;
    lt_plan_mux_spec(plan, plan->output, of->threads, &spec);
    size_t bytes = lt_mux_memory_bytes(&spec);
    if (of->has_sheet)
        bytes += lt_contact_sheet_memory_bytes(plan->shape.width, plan->shape.height,
                                               LT_CONTACT_SHEET_COLUMNS, LT_CONTACT_SHEET_ROWS);
    return bytes;
}

/* ---- the dry run ---- */

static const size_t endless = (size_t)1 << 46; /* dry counts and maps nothing */

int lt_estimate_lists(const lt_backend *backend, const lt_plan *plan)
{
    return backend->expect != NULL && !plan->deterministic;
}

int lt_estimate_act_partials(const lt_backend *backend, int device, const lt_plan *plan)
{
    lt_device d;
    backend->describe(device, &d);
    return lt_estimate_lists(backend, plan) && d.act_partials;
}

static lt_status dry_run_begin(const lt_estimate_of *of, lt_phase phase, lt_engine *engine)
{
    lt_dry_reset();
    lt_dry_memory_reset();
    lt_dry_target(of->backend);
    LT_TRY(lt_engine_open(&lt_backend_dry, 0, 1, of->mesh[phase], endless, endless, engine));
    engine->act_partials = lt_estimate_act_partials(of->backend, of->device, of->plan);
    engine->resident_layers =
        phase == LT_PHASE_TEXT ? of->plan->resident_text_layers : of->plan->resident_layers;
    engine->layers_at_peers = phase == LT_PHASE_DIT && of->plan->layers_at_peers;
    return LT_OK;
}

/* What was counted since the last reset is one unit of a stage. */
static void work_of(const lt_dry_counts *counts, lt_time stage, lt_footprint *out)
{
    lt_work work = {0};
    double flops = 0;
    for (int i = 0; i < LT_OP_COUNT; i++) {
        const int is_product = i == LT_OP_LINEAR || i == LT_OP_CONV;
        flops += counts->flops[i];
        if (is_product)
            work.products += counts->flops[i];
        else if (i == LT_OP_ATTENTION)
            work.attention += counts->flops[i];
        else
            work.moved_bytes += counts->bytes[i];
    }
    out->work[stage] = work;
    out->flops[stage] = flops;
}

static void dry_run_end(lt_engine *engine, int threads, lt_phase phase, lt_time stage,
                        lt_footprint *footprint)
{
    lt_phase_memory *out = &footprint->memory[phase];
    const lt_dry_counts counts = lt_dry_read();
    const lt_dry_memory host = lt_dry_memory_read();
    out->phase_bytes = lt_arena_peak(engine->phase);
    out->step_bytes = lt_arena_peak(engine->step);
    const lt_comm_need comm = lt_engine_comm_need(engine);
    out->comm_bytes = comm.scratch_bytes;
    out->staging[0] = comm.out_bytes;
    out->staging[1] = comm.in_bytes;
    out->kernel_bytes = host.scratch.shared_bytes + (size_t)threads * host.scratch.thread_bytes;
    out->host_bytes = (size_t)host.peak_bytes;
    out->disk_bytes = (size_t)host.disk_peak_bytes;
    work_of(&counts, stage, footprint);
    lt_engine_close(engine);
}

/* The prompts' rows on the host, f32: made by the text phase, read by the DiT's. */
static size_t text_bytes(const lt_estimate_of *of)
{
    return (size_t)(of->tokens->all * of->model->family->text_width(of->model)) * sizeof(float);
}

static lt_status dry_run_text(const lt_estimate_of *of, lt_footprint *out)
{
    lt_model *model = of->model;
    lt_engine engine;
    LT_TRY(dry_run_begin(of, LT_PHASE_TEXT, &engine));
    lt_status st = model->family->text_open(model, &engine, of->plan->dtype);
    if (st == LT_OK)
        st = model->family->text_encode(model, NULL, of->tokens->most, NULL);
    model->family->text_close(model);
    dry_run_end(&engine, of->threads, LT_PHASE_TEXT, LT_TIME_TEXT, out);
    out->memory[LT_PHASE_TEXT].host_bytes += text_bytes(of);
    return st;
}

static lt_status dry_run_shot(const lt_estimate_of *of, const lt_film_shot *shot, lt_footprint *out)
{
    const lt_plan *plan = &shot->plan;
    lt_model *model = of->model;
    lt_text text[LT_TEXTS_MAX];
    const lt_texts texts = lt_tokens_texts(of->tokens, of->plan, shot, NULL, 0, text);
    const lt_mesh *mesh = of->mesh[LT_PHASE_DIT];
    lt_engine engine;
    lt_levels levels = {0};
    lt_dry_counts step = {0};
    size_t clip = 0, host = 0, states = 0, copies = 0;
    LT_TRY(lt_denoise_host_bytes(model, mesh, plan, &clip, &host));
    if (of->has_previews && lt_group_rank(mesh->world) == 0)
        host += lt_preview_host_bytes(model, plan);
    LT_TRY(dry_run_begin(of, LT_PHASE_DIT, &engine));
    lt_status st = LT_OK;
    LT_TRY_GOTO(lt_levels_make(model, plan, &levels), st, done);
    LT_TRY_GOTO(lt_estimate_copies(of, plan, levels.timestep_count, clip, &copies), st, done);
    host += copies;
    LT_TRY_GOTO(model->family->dit_open(model, &engine, plan->dtype, levels.timesteps,
                                        levels.timestep_count),
                st, close);
    LT_TRY_GOTO(lt_denoise_dry(model, &engine, plan, &levels, &texts, &step, &states), st, close);
close:
    model->family->dit_close(model);
done:
    dry_run_end(&engine, of->threads, LT_PHASE_DIT, LT_TIME_DENOISE, out);
    work_of(&step, LT_TIME_DENOISE, out); /* of a step, not of all that was counted */
    out->memory[LT_PHASE_DIT].kept_bytes = states;
    out->memory[LT_PHASE_DIT].host_bytes += text_bytes(of) + host - clip; /* clips: all shots' */
    lt_levels_free(&levels);
    return st;
}

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

static void take_larger(lt_phase_memory *to, const lt_phase_memory *m)
{
    to->phase_bytes = larger(to->phase_bytes, m->phase_bytes);
    to->step_bytes = larger(to->step_bytes, m->step_bytes);
    to->kept_bytes = larger(to->kept_bytes, m->kept_bytes);
    to->comm_bytes = larger(to->comm_bytes, m->comm_bytes);
    to->staging[0] = larger(to->staging[0], m->staging[0]);
    to->staging[1] = larger(to->staging[1], m->staging[1]);
    to->host_bytes = larger(to->host_bytes, m->host_bytes);
    to->kernel_bytes = larger(to->kernel_bytes, m->kernel_bytes);
    to->disk_bytes = larger(to->disk_bytes, m->disk_bytes);
}

/* Is a shot another's like, and no longer? Then that one stands for it. */
static int is_covered(const lt_film_shot *shot, int i, int count)
{
    for (int k = 0; k < count; k++) {
        const int64_t mine = shot[i].plan.shape.frames, other = shot[k].plan.shape.frames;
        const int alike = shot[k].plan.windowing.mode == shot[i].plan.windowing.mode &&
                          (shot[k].prompts > 1) == (shot[i].prompts > 1);
        if (k != i && alike && (other > mine || (other == mine && k < i)))
            return 1;
    }
    return 0;
}

/* The longest shot of each mode, or all where attention is listed; what a step takes is the longest
 * shot's of all. */
static lt_status dry_run_dit(const lt_estimate_of *of, lt_footprint *out)
{
    lt_film_shot *shot = NULL;
    int count = 0;
    lt_status st = LT_OK;
    int64_t most = 0;
    size_t clips = 0;
    LT_TRY(lt_estimate_clips(of, &clips));
    LT_TRY(lt_film_shots(of->plan, of->model, &shot, &count));
    for (int i = 0; i < count && st == LT_OK; i++) {
        if (!lt_estimate_lists(of->backend, of->plan) && is_covered(shot, i, count))
            continue;
        lt_footprint one = {0};
        st = dry_run_shot(of, &shot[i], &one);
        one.memory[LT_PHASE_DIT].host_bytes += clips;
        take_larger(&out->memory[LT_PHASE_DIT], &one.memory[LT_PHASE_DIT]);
        if (shot[i].plan.shape.frames > most) {
            most = shot[i].plan.shape.frames;
            out->work[LT_TIME_DENOISE] = one.work[LT_TIME_DENOISE];
            out->flops[LT_TIME_DENOISE] = one.flops[LT_TIME_DENOISE];
        }
    }
    free(shot);
    return st;
}

/* The first chunk of the audio, or one from the middle of a long one. */
static lt_status dry_run_audio(const lt_plan *plan, lt_model *model)
{
    int64_t ticks = 0;
    for (int i = 0; i < plan->stream_count; i++)
        if (plan->stream[i].is_audio)
            ticks = plan->stream[i].dim[plan->stream[i].time_axis];
    if (ticks == 0)
        return LT_OK;
    lt_range chunk = {0, ticks < LT_AUDIO_CHUNK_TICKS ? ticks : LT_AUDIO_CHUNK_TICKS};
    if (ticks >= 3 * LT_AUDIO_CHUNK_TICKS)
        chunk.first = LT_AUDIO_CHUNK_TICKS;
    const lt_range known = model->family->audio_context(model, ticks, chunk);
    chunk.first -= known.first;
    return model->family->audio_decode(model, NULL, known.count, chunk, NULL);
}

static lt_status dry_run_decode(const lt_estimate_of *of, lt_footprint *out)
{
    static char raw; /* stands for raw frames, which are never written */
    const lt_plan *plan = of->plan;
    lt_model *model = of->model;
    const lt_mesh *mesh = of->mesh[LT_PHASE_DECODE];
    lt_engine engine;
    const lt_family *family = model->family;
    const int helps = lt_group_rank(mesh->axis[LT_AXIS_TP]) != 0;
    size_t clips = 0;
    LT_TRY(lt_estimate_clips(of, &clips));
    LT_TRY(dry_run_begin(of, LT_PHASE_DECODE, &engine));
    lt_status st = LT_OK;
    LT_TRY_GOTO(family->decode_open(model, &engine), st, done);
    lt_dry_reset();
    LT_TRY_GOTO(dry_run_audio(plan, model), st, done);
    const lt_dry_counts audio = lt_dry_read();
    work_of(&audio, LT_TIME_AUDIO, out);
    lt_dry_reset();
    LT_TRY_GOTO(family->chunk_raw(model, &plan->shape, 0, NULL, helps ? NULL : &raw), st, done);
done:
    family->decode_close(model);
    dry_run_end(&engine, of->threads, LT_PHASE_DECODE, LT_TIME_DECODE, out);
    lt_phase_memory *memory = &out->memory[LT_PHASE_DECODE];
    memory->host_bytes += pool_bytes(plan, model, mesh) + clips;
    if (lt_group_rank(mesh->world) == 0)
        memory->host_bytes += output_bytes(of);
    return st;
}

lt_status lt_estimate_dry_run(const lt_estimate_of *of, lt_footprint *out)
{
    static lt_status (*const dry_run[LT_PHASES])(const lt_estimate_of *, lt_footprint *) = {
        [LT_PHASE_TEXT] = dry_run_text,
        [LT_PHASE_DIT] = dry_run_dit,
        [LT_PHASE_DECODE] = dry_run_decode};
    memset(out, 0, sizeof *out);
    lt_dry_attention_reset();
    for (int i = 0; i < LT_PHASES; i++)
        if (of->mesh[i] != NULL)
            LT_TRY(dry_run[i](of, out));
    return LT_OK;
}

/* DiT and decoders in memory together, as one phase. */
static lt_phase_memory both_of(const lt_footprint *footprint, size_t clips)
{
    const lt_phase_memory *dit = &footprint->memory[LT_PHASE_DIT];
    const lt_phase_memory *decode = &footprint->memory[LT_PHASE_DECODE];
    lt_phase_memory both = *dit;
    take_larger(&both, decode);
    both.phase_bytes = dit->phase_bytes + decode->phase_bytes;
    both.step_bytes = larger(dit->step_bytes, dit->kept_bytes + decode->step_bytes);
    both.host_bytes = dit->host_bytes + decode->host_bytes - clips; /* which both have */
    return both;
}

/* Of clips that both phases count: what is common to their host bytes cannot be told from them. */
static size_t clips_or_none(const lt_estimate_of *of)
{
    size_t clips = 0;
    if (lt_estimate_clips(of, &clips) != LT_OK) {
        lt_error_clear();
        return 0;
    }
    return clips;
}

void lt_estimate_arenas(const lt_footprint *footprint, size_t *phase_bytes, size_t *step_bytes)
{
    *phase_bytes = *step_bytes = 0;
    for (int i = 0; i < LT_PHASES; i++) {
        const lt_phase_memory *m = &footprint->memory[i];
        *phase_bytes = m->phase_bytes > *phase_bytes ? m->phase_bytes : *phase_bytes;
        *step_bytes = m->step_bytes > *step_bytes ? m->step_bytes : *step_bytes;
    }
    if (footprint->is_beside) {
        const lt_phase_memory both = both_of(footprint, 0);
        *phase_bytes = larger(*phase_bytes, both.phase_bytes);
        *step_bytes = larger(*step_bytes, both.step_bytes);
    }
    const size_t slack = (size_t)1 << 20;
    *phase_bytes += *phase_bytes / 16 + slack;
    *step_bytes += *step_bytes / 16 + slack;
}

/* ---- the peak ---- */

/* What has been touched stays. */
typedef struct touched {
    size_t phase, step, comm, kernels, out, in, late;
} touched;

static size_t resident(const lt_estimate_of *of, const lt_phase_memory *m, size_t base, touched *t)
{
    lt_device device;
    of->backend->describe(of->device, &device);
    if (!device.has_own_memory) {
        t->phase = larger(t->phase, whole_pages(m->phase_bytes));
        t->step = larger(t->step, whole_pages(m->step_bytes));
        t->comm = larger(t->comm, whole_pages(m->comm_bytes));
    }
    t->kernels = larger(t->kernels, whole_pages(m->kernel_bytes));
    if (!of->backend->host_access) {
        t->out = larger(t->out, m->staging[0]);
        t->in = larger(t->in, m->staging[1]);
    }
    return base + t->late + t->phase + t->step + t->comm + t->kernels + t->out + t->in +
           m->host_bytes;
}

/* Rank 0's file of latents is open from the denoising on, or is read. */
static size_t late_of(const lt_estimate_of *of, int phase)
{
    const int stores = phase >= LT_PHASE_DIT && of->mesh[phase] != NULL &&
                       lt_group_rank(of->mesh[phase]->world) == 0;
    return late_all + (stores ? late_store : 0);
}

size_t lt_estimate_both_resident(const lt_estimate_of *of, const lt_footprint *footprint)
{
    touched t = {.late = late_of(of, LT_PHASE_DECODE)};
    const lt_phase_memory both = both_of(footprint, clips_or_none(of));
    (void)resident(of, &footprint->memory[LT_PHASE_TEXT], 0, &t);
    return resident(of, &both, 0, &t);
}

size_t lt_estimate_both_arenas(const lt_footprint *footprint)
{
    const lt_phase_memory both = both_of(footprint, 0);
    return both.phase_bytes + both.step_bytes + both.comm_bytes;
}

size_t lt_estimate_on_device(const lt_footprint *footprint)
{
    size_t phase = 0, step = 0, comm = 0;
    lt_estimate_arenas(footprint, &phase, &step);
    for (int i = 0; i < LT_PHASES; i++)
        comm = larger(comm, footprint->memory[i].comm_bytes);
    return phase + step + comm + footprint->workspace_bytes + footprint->exchange_bytes;
}

static void take_device(const lt_estimate_of *of, lt_footprint *footprint)
{
    lt_device device;
    of->backend->describe(of->device, &device);
    footprint->workspace_bytes = footprint->exchange_bytes = footprint->device_bytes = 0;
    if (!device.has_own_memory)
        return;
    footprint->workspace_bytes = (size_t)device.taken_bytes;
    footprint->exchange_bytes = lt_engine_connect_bytes(of->backend, of->mesh, LT_PHASES);
    footprint->device_bytes = lt_estimate_on_device(footprint);
}

void lt_estimate_peak(const lt_estimate_of *of, lt_footprint *footprint)
{
    touched t = {0};
    take_device(of, footprint);
    const size_t base = (size_t)lt_resident_now().now;
    footprint->peak_bytes = base;
    for (int i = 0; i < LT_PHASES; i++) {
        lt_phase_memory *m = &footprint->memory[i];
        if (of->mesh[i] == NULL)
            continue;
        t.late = late_of(of, i);
        m->resident_bytes = resident(of, m, base, &t);
        footprint->peak_bytes = larger(footprint->peak_bytes, m->resident_bytes);
    }
    if (footprint->is_beside) {
        const lt_phase_memory both = both_of(footprint, clips_or_none(of));
        const size_t bytes = resident(of, &both, base, &t);
        footprint->memory[LT_PHASE_DIT].resident_bytes = bytes;
        footprint->memory[LT_PHASE_DECODE].resident_bytes = bytes;
        footprint->peak_bytes = larger(footprint->peak_bytes, bytes);
    }
    footprint->base_bytes = base;
}

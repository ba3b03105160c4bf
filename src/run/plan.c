/* plan.c - sizes, lengths, steps, threads, mesh and memory of one job.
 *
 * Lengths. The file holds exactly `frames` and round(frames * rate / fps) samples; the DiT
 * works on the next length of the family's grid, and what is beyond is cut at the muxer.
 * Mesh. `auto` puts the ranks of a host on uly as far as there are heads, the rest on ring: both
 * shard tokens, need no weights to be split, and any remainder works. A clip of one window without
 * guidance gives win and cfg nothing to do: their further ranks hold the latents and wait through
 * the forwards, with a warning. Which rank stands where is known once the mesh is open. What it
 * takes of memory and time: estimate.c. */
#include "run/plan.h"

#include <assert.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "kernels/backend.h"
#include "parallel/placement.h"
#include "run/advice.h"
#include "run/plan_shots.h"
#include "run/plan_windowing.h"

static char *copy_text(const char *text) { return strdup(text != NULL ? text : ""); }

/* A storyboard has its prompts and lengths for itself. */
static lt_status plan_shots(const lt_job *job, const char *where, const lt_model *model,
                            lt_plan *out)
{
    const char *beside = job->prompt != NULL ? "prompt"
                         : job->frames > 0   ? "frames"
                         : job->seconds > 0  ? "seconds"
                                             : NULL;
    if (beside != NULL) {
        lt_hint("each entry of shots has a prompt and a length of its own");
        LT_FAIL(LT_EUSAGE, "%s: want no %s beside shots, found one", where, beside);
    }
    LT_TRY(lt_storyboard_read(job->shots, where, out->fps, &out->board));
    LT_TRY(lt_storyboard_place(&out->board, model->family->grid, out->fps, out->sample_rate,
                               job->seed.number));
    out->frames = lt_storyboard_frames(&out->board);
    out->shape.frames = lt_storyboard_longest(&out->board);
    out->prompt = lt_storyboard_prompts(&out->board);
    if (out->prompt == NULL)
        LT_FAIL(LT_ENOMEM, "plan: no memory for the prompts");
    return LT_OK;
}

static lt_status plan_prompt(const lt_job *job, lt_plan *out)
{
    if (job->prompt == NULL || lt_text_is_blank(job->prompt))
        LT_FAIL(LT_EUSAGE, "--prompt: want some text, found %s",
                job->prompt == NULL ? "none" : "only blanks");
    out->prompt = strdup(job->prompt);
    if (out->prompt == NULL)
        LT_FAIL(LT_ENOMEM, "plan: no memory for the prompt");
    return LT_OK;
}

static lt_status plan_length(const lt_job *job, const lt_model *model, lt_plan *out)
{
    const lt_model_facts *facts = &model->facts;
    if (job->frames > 0 && job->seconds > 0)
        LT_FAIL(LT_EUSAGE, "--frames %lld and --seconds %g: want one of them",
                (long long)job->frames, job->seconds);
    if (job->frames > 0)
        out->frames = job->frames;
    else if (job->seconds > 0)
        out->frames = llround(job->seconds * facts->fps);
    else
        out->frames = facts->window_frames;
    if (out->frames < 1 || out->frames > LT_PLAN_FRAMES_MAX)
        LT_FAIL(LT_EUSAGE, "--seconds %g: want 1 to %lld frames, found %lld", job->seconds,
                (long long)LT_PLAN_FRAMES_MAX, (long long)out->frames);
    out->shape.frames = model->family->frames_grid(out->frames);
    return LT_OK;
}

lt_dtype lt_plan_dtype_auto(int weights_are_bf16, const lt_backend *backend)
{
    lt_device device;
    backend->describe(0, &device);
    return weights_are_bf16 && device.has_bf16 ? LT_BF16 : LT_F32;
}

static lt_status plan_dtype(const lt_job *job, const lt_model *model, lt_plan *out)
{
    const char *dtype = job->dtype != NULL ? job->dtype : "auto";
    out->dtype = strcmp(dtype, "bf16") == 0 ? LT_BF16 : LT_F32;
    if (strcmp(dtype, "auto") == 0) {
        const lt_backend *backend = NULL;
        LT_TRY(lt_backend_find(out->device, &backend));
        out->dtype = lt_plan_dtype_auto(model->facts.weights_are_bf16, backend);
    }
    return LT_OK;
}

static lt_attention_algorithm plan_attention(const char *name)
{
    if (name != NULL && strcmp(name, "ring") == 0)
        return LT_ATTENTION_RING;
    return name != NULL && strcmp(name, "2d") == 0 ? LT_ATTENTION_2D : LT_ATTENTION_AUTO;
}

lt_placement_mode lt_plan_placement(const char *name)
{
    return name != NULL && strcmp(name, "ranks") == 0 ? LT_PLACEMENT_RANKS : LT_PLACEMENT_NODES;
}

lt_status lt_plan_device(const lt_job *job, lt_plan *out)
{
    const lt_backend *backend = NULL;
    out->threads = (int)job->threads;
    LT_TRY(lt_backend_find(job->device, &backend));
    (void)snprintf(out->device, sizeof out->device, "%s", backend->name);
    return LT_OK;
}

lt_status lt_plan_modes(const lt_job *job, lt_plan *out)
{
    LT_TRY(lt_plan_device(job, out));
    out->attention = plan_attention(job->attention);
    out->placement = lt_plan_placement(job->placement);
    out->deterministic = job->deterministic;
    return LT_OK;
}

static lt_status plan_mesh(const lt_job *job, int64_t heads, const lt_nodes *nodes, lt_plan *out)
{
    const int ranks = nodes->ranks;
    if (job->mesh == NULL || strcmp(job->mesh, "auto") == 0) {
        int64_t windows = 1;
        LT_TRY(lt_plan_windows(out, &windows));
        out->mesh = lt_placement_auto(ranks, nodes, heads, windows);
        return LT_OK;
    }
    LT_TRY(lt_mesh_parse(job->mesh, &out->mesh));
    if (lt_mesh_ranks(&out->mesh) != ranks) {
        lt_hint("the product of the axes must be the number of ranks: start %d ranks, or ask for "
                "another mesh",
                lt_mesh_ranks(&out->mesh));
        LT_FAIL(LT_EUSAGE, "--mesh %s: impossible mesh: wanted %d ranks, found %d", job->mesh,
                lt_mesh_ranks(&out->mesh), ranks);
    }
    return LT_OK;
}

lt_decoding_when lt_plan_decoding(const char *word)
{
    if (word == NULL || strcmp(word, "auto") == 0)
        return LT_DECODING_AUTO;
    return strcmp(word, "beside") == 0 ? LT_DECODING_BESIDE : LT_DECODING_AFTER;
}

lt_status lt_plan_decode_tp(const lt_job *job, int ranks, lt_plan *out)
{
    const int64_t each = job->decode_tp > 0 ? job->decode_tp : 1;
    if (ranks % each != 0) {
        lt_hint(
            "each piece of the film is decoded by that many ranks: with 1 of them, the default, "
            "any number of ranks will do");
        LT_FAIL(LT_EUSAGE,
                "--decode-tp %lld: want a divisor of the number of ranks, found %d rank%s",
                (long long)each, ranks, ranks == 1 ? "" : "s");
    }
    out->decode_tp = (int)each;
    return LT_OK;
}

lt_mesh_spec lt_plan_decode_mesh(const lt_plan *plan, int ranks)
{
    assert(plan->decode_tp >= 1 && ranks % plan->decode_tp == 0);
    return (lt_mesh_spec){{ranks / plan->decode_tp, 1, 1, 1, plan->decode_tp}};
}

static const char *suffix_of(const char *path)
{
    const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
    return dot != NULL && (slash == NULL || dot > slash + 1) && dot != path ? dot + 1 : "";
}

static lt_status plan_paths(const lt_job *job, lt_plan *out)
{
    const char *suffix = suffix_of(job->output);
    if (strlen(suffix) >= sizeof out->suffix || suffix[0] == '\0')
        LT_FAIL(LT_EUSAGE, "-o %s: want a name that ends in .mp4, .mkv or .mov", job->output);
    (void)snprintf(out->suffix, sizeof out->suffix, "%s", suffix);
    out->output = copy_text(job->output);
    if (job->run != NULL) {
        out->run = copy_text(job->run);
    } else if (out->output != NULL) {
        const size_t stem = strlen(job->output) - strlen(suffix) - 1;
        out->run = malloc(stem + sizeof ".run");
        if (out->run != NULL)
            (void)snprintf(out->run, stem + sizeof ".run", "%.*s.run", (int)stem, job->output);
    }
    if (out->output == NULL || out->run == NULL)
        LT_FAIL(LT_ENOMEM, "plan: no memory for paths");
    return LT_OK;
}

void lt_plan_quality(const lt_job *job, lt_plan *out)
{
    out->crf = (int)job->crf;
    out->loudness = job->loudness;
    out->cut_fade_ms = job->cut_fade_ms;
    (void)snprintf(out->preset, sizeof out->preset, "%s", job->preset != NULL ? job->preset : "");
}

/* Of each length that shots have, once. */
static void advise_shots(const lt_model_facts *facts, const lt_plan *plan)
{
    const lt_board_shot *shot = plan->board.shot;
    for (int i = 0; i < plan->board.shots; i++) {
        const int is_cut = shot[i].mode != LT_MODE_REFINE && shot[i].mode != LT_MODE_SINGLE &&
                           shot[i].grid_frames > plan->asked.window;
        int is_new = !is_cut;
        for (int k = 0; k < i; k++)
            is_new &= shot[k].grid_frames != shot[i].grid_frames;
        if (is_new)
            lt_advise_length(facts, shot[i].frames.count, shot[i].grid_frames);
    }
}

/* Of what the model sees at once: a window, and refine's coarse canvas. */
static void advise(const lt_model_facts *facts, const lt_plan *plan)
{
    const lt_windows_asked *asked = &plan->asked;
    int64_t width = plan->shape.width, height = plan->shape.height;
    if (asked->mode == LT_MODE_REFINE) {
        width = asked->coarse_width;
        height = asked->coarse_height;
    }
    if (plan->board.shots > 0)
        advise_shots(facts, plan);
    else if (plan->windowing.window >= plan->windowing.latents || asked->mode == LT_MODE_REFINE)
        lt_advise_length(facts, plan->frames, plan->shape.frames);
    else
        lt_advise_length(facts, asked->window, asked->window);
    lt_advise_size(facts, width, height);
}

lt_status lt_plan_make(const lt_job *job, const char *shots, const lt_model *model,
                       const lt_nodes *nodes, lt_plan *out)
{
    memset(out, 0, sizeof *out);
    const lt_model_facts *facts = &model->facts;
    out->fps = facts->fps;
    out->sample_rate = facts->sample_rate;
    if (job->shots != NULL) {
        LT_TRY(plan_shots(job, shots, model, out));
    } else {
        LT_TRY(plan_prompt(job, out));
        LT_TRY(plan_length(job, model, out));
    }
    out->samples = lt_samples_of(out->frames, out->sample_rate, out->fps);
    out->shape.width = job->size[0] > 0 ? job->size[0] : facts->default_width;
    out->shape.height = job->size[0] > 0 ? job->size[1] : facts->default_height;
    out->steps = job->steps > 0 ? (int)job->steps : facts->steps;
    out->evaluations = model->family->evaluations(out->steps);
    LT_TRY(lt_plan_windows_asked(job, model, out));
    LT_TRY(lt_plan_streams(out, model));
    LT_TRY(lt_plan_check_blends(out, shots));
    if (job->shot > 0) { /* of the whole film's plan, so that it is what it is there */
        LT_TRY(lt_plan_keep_shot(out, job->shot, shots));
        LT_TRY(lt_plan_streams(out, model));
    }
    advise(facts, out);
    out->seed = job->seed.number;
    LT_TRY(lt_plan_modes(job, out));
    (void)snprintf(out->codec, sizeof out->codec, "%s", job->codec != NULL ? job->codec : "h264");
    lt_plan_quality(job, out);
    LT_TRY(plan_dtype(job, model, out));
    LT_TRY(plan_mesh(job, facts->heads, nodes, out));
    out->decoding = lt_plan_decoding(job->decoding);
    out->resident_layers = out->resident_text_layers = (int)job->resident_layers;
    LT_TRY(lt_plan_decode_tp(job, nodes->ranks, out));
    LT_TRY(plan_paths(job, out));
    out->model = copy_text(model->path);
    if (out->model == NULL)
        LT_FAIL(LT_ENOMEM, "plan: no memory for paths");
    lt_advise_words(facts, out->prompt);
    return LT_OK;
}

void lt_plan_free(lt_plan *plan)
{
    free(plan->model);
    free(plan->prompt);
    free(plan->output);
    free(plan->run);
    free(plan->text);
    lt_storyboard_free(&plan->board);
    memset(plan, 0, sizeof *plan);
}

void lt_plan_mux_spec(const lt_plan *plan, const char *path, int threads, lt_mux_spec *out)
{
    int audio = 0;
    for (int s = 0; s < plan->stream_count; s++)
        audio |= plan->stream[s].is_audio;
    *out = (lt_mux_spec){.path = path,
                         .suffix = lt_mux_suffix(plan->output),
                         .codec = plan->codec,
                         .crf = plan->crf,
                         .preset = plan->preset[0] != '\0' ? plan->preset : NULL,
                         .width = (int)plan->shape.width,
                         .height = (int)plan->shape.height,
                         .fps_num = plan->fps,
                         .fps_den = 1,
                         .frames = plan->frames,
                         .sample_rate = audio ? plan->sample_rate : 0,
                         .channels = 2,
                         .samples = audio ? plan->samples : 0,
                         .threads = plan->deterministic ? LT_MUX_THREADS_FIXED : threads};
}

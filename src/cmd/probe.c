/* probe.c - longtake probe: one stage, tensors in, tensors out.                   Level 5: cmd
 * The verb's frame: opens what every stage needs, times it, writes what it made. The stages are in
 * probe_stages.c (networks) and probe_small.c (tokenize, layout, sigmas). */
#include "cmd/probe.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/file.h"
#include "base/log.h"
#include "model/loading.h"
#include "model/same_reads.h"
#include "model/source.h"
#include "parallel/comm.h"
#include "run/outputs.h"
#include "run/pipeline.h"
#include "run/place.h"
#include "run/plan.h"
#include "run/session.h"
#include "run/trace.h"

/* Address space only: pages are taken as they are used. */
static const size_t arena_bytes = (size_t)1 << 38;

static const double gib = 1024.0 * 1024.0 * 1024.0;

static const lt_probe_stage stages[] = {
    {"tokenize", lt_probe_tokenize, 0, 1},
    {"text", lt_probe_text, 1, 0},
    {"dit", lt_probe_dit, 1, 0},
    {"layout", lt_probe_layout, 0, 0},
    {"sigmas", lt_probe_sigmas, 0, 1},
    {"denoise", lt_probe_denoise, 1, 0},
    {"vae-decode", lt_probe_vae_decode, 1, 0},
    {"vae-encode", lt_probe_vae_encode, 1, 0},
    {"audio-decode", lt_probe_audio_decode, 1, 0},
    {"audio-encode", lt_probe_audio_encode, 1, 0},
};

lt_status lt_probe_open_input(lt_probe *p)
{
    if (p->in != NULL)
        return LT_OK;
    if (p->job->in == NULL)
        LT_FAIL(LT_EUSAGE, "--in: probe %s wants a .safetensors file", p->stage);
    LT_TRY(lt_checkpoint_open(p->job->in, LT_PART_ANY, &p->in));
    return LT_OK;
}

static lt_status find_input(lt_probe *p, const char *name, lt_tensor_info *info)
{
    LT_TRY(lt_probe_open_input(p));
    if (!lt_checkpoint_find(p->in, name, info))
        LT_FAIL(LT_EDATA, "%s: tensor '%s' is missing: probe %s reads it", p->job->in, name,
                p->stage);
    return LT_OK;
}

int lt_probe_has(lt_probe *p, const char *name)
{
    lt_tensor_info info;
    return lt_probe_open_input(p) == LT_OK && lt_checkpoint_find(p->in, name, &info);
}

lt_status lt_probe_read(lt_probe *p, const char *name, int ndim, lt_dtype dtype, lt_dims *dims,
                        void **out)
{
    lt_tensor_info info;
    LT_TRY(find_input(p, name, &info));
    if (info.ndim != ndim)
        LT_FAIL(LT_EDATA, "%s: tensor '%s': want %d dims, found %d", p->job->in, name, ndim,
                info.ndim);
    dims->ndim = ndim;
    int64_t n = 1;
    for (int i = 0; i < ndim; i++) {
        if (info.dim[i] < 1) /* beside an empty dim the others may be anything */
            LT_FAIL(LT_EDATA, "%s: tensor '%s': dim %d: want 1 or more, found %lld", p->job->in,
                    name, i, (long long)info.dim[i]);
        dims->dim[i] = info.dim[i];
        n *= info.dim[i]; /* checked against the file's size at open */
    }
    LT_TRY(lt_probe_take(p, (size_t)n * lt_dtype_bytes(dtype), out));
    const uint64_t before[2] = {lt_checkpoint_bytes_read(), lt_checkpoint_reads()};
    LT_TRY(lt_checkpoint_read(p->in, name, *dims, lt_slice_whole(*dims), dtype, *out));
    p->input_bytes += lt_checkpoint_bytes_read() - before[0];
    p->input_reads += lt_checkpoint_reads() - before[1];
    return LT_OK;
}

lt_status lt_probe_take(lt_probe *p, size_t bytes, void **out)
{
    if (p->owned_count == LT_PROBE_OWNED_MAX)
        LT_FAIL(LT_EINTERNAL, "probe %s: more than %d buffers", p->stage, LT_PROBE_OWNED_MAX);
    *out = calloc(1, bytes > 0 ? bytes : 1);
    if (*out == NULL)
        LT_FAIL(LT_ENOMEM, "probe %s: no memory for %zu bytes", p->stage, bytes);
    p->owned[p->owned_count++] = *out;
    return LT_OK;
}

lt_status lt_probe_make(lt_probe *p, const char *name, lt_dtype dtype, lt_dims dims, void **out)
{
    size_t n = lt_dtype_bytes(dtype);
    int over = 0;
    for (int i = 0; i < dims.ndim; i++)
        over |= dims.dim[i] < 0 || __builtin_mul_overflow(n, (size_t)dims.dim[i], &n);
    const int64_t room = lt_memory_available_bytes();
    if (over || n > INT64_MAX || (room >= 0 && (int64_t)n > room))
        LT_FAIL(LT_ENOMEM, "probe %s: %s: want %s%.2f GiB, this host has %.2f GiB", p->stage, name,
                over ? "more than " : "", (double)(over ? SIZE_MAX : n) / gib, (double)room / gib);
    if (p->job->out == NULL) /* said before the work, not after it; all ranks have the same flags */
        LT_FAIL(LT_EUSAGE, "--out: probe %s wants a .safetensors file to write", p->stage);
    if (p->made_count == LT_PROBE_MADE_MAX)
        LT_FAIL(LT_EINTERNAL, "probe %s: more than %d outputs", p->stage, LT_PROBE_MADE_MAX);
    LT_TRY(lt_probe_take(p, n, out));
    p->made[p->made_count++] = lt_tensor_wrap(*out, name, dtype, dims);
    return LT_OK;
}

void lt_probe_time(lt_probe *p, double seconds)
{
    if (p->time_count < p->job->repeat)
        p->seconds[p->time_count++] = seconds;
}

lt_status lt_probe_engine(lt_probe *p)
{
    const lt_backend *backend = NULL;
    int threads = 0, local = 0;
    const char *device =
        p->job->device != NULL && strcmp(p->job->device, "auto") != 0 ? p->job->device : "cpu";
    LT_TRY(lt_place(p->world, (int)p->job->threads, &threads, &local));
    LT_TRY(lt_backend_find(device, &backend));
    LT_TRY(lt_mesh_open_placed(p->world, &p->spec, lt_plan_placement(p->job->placement), &p->mesh));
    p->mesh.attention = lt_plan_attention(p->job->attention);
    p->mesh.deterministic = p->job->deterministic;
    LT_TRY(lt_engine_open(backend, threads, &p->mesh, arena_bytes, arena_bytes, &p->engine));
    return LT_OK;
}

static lt_status read_mesh(lt_probe *p)
{
    const int size = lt_group_size(p->world);
    p->spec = (lt_mesh_spec){{1, 1, 1, size, 1}};
    if (p->job->mesh != NULL && strcmp(p->job->mesh, "auto") != 0)
        LT_TRY(lt_mesh_parse(p->job->mesh, &p->spec));
    return LT_OK;
}

/* Every rank's own path, since a rank that lacks the model is served under the path of rank 0. */
static lt_status share_model(lt_probe *p)
{
    lt_status st = LT_OK;
    if (lt_group_rank(p->world) == 0)
        st = lt_job_model(p->job, p->path, sizeof p->path);
    LT_TRY(lt_agree(p->world, st));
    return lt_session_source(p->world, p->path, sizeof p->path);
}

static lt_status open_model(lt_probe *p)
{
    lt_h3_model *model = NULL;
    LT_TRY(lt_h3_model_new(p->path, &model));
    p->model = model;
    return LT_OK;
}

static lt_status write_outputs(lt_probe *p)
{
    if (p->made_count == 0 || lt_group_rank(p->world) != 0)
        return LT_OK;
    LT_TRY(lt_safetensors_write(p->job->out, p->made, p->made_count,
                                p->job->overwrite ? LT_REPLACE : LT_KEEP));
    return LT_OK;
}

/* --json's last line: seconds, ranks, and by rank bytes read, in how many reads, bytes sent to
 * ranks without the files, peak memory. */
static lt_status say_json(lt_probe *p)
{
    const int size = lt_group_size(p->world);
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    enum { BY_RANK = 4 };
    static const char *const names[BY_RANK] = {"bytes_read", "reads", "bytes_served", "peak_bytes"};
    const uint64_t mine[BY_RANK] = {lt_checkpoint_bytes_read() - p->input_bytes,
                                    lt_checkpoint_reads() - p->input_reads,
                                    lt_source_bytes_served(), (uint64_t)usage.ru_maxrss * 1024};
    uint64_t *all = calloc((size_t)size, sizeof mine);
    if (all == NULL)
        LT_FAIL(LT_ENOMEM, "probe: no memory for %d ranks", size);
    lt_status st = lt_all_gather_host(p->world, mine, sizeof mine, all);
    if (st == LT_OK && lt_group_rank(p->world) == 0) {
        json_t *seconds = json_array();
        for (int64_t i = 0; i < p->time_count; i++)
            (void)json_array_append_new(seconds, json_real(p->seconds[i]));
        json_t *answer =
            json_pack("{s:s, s:i, s:s, s:o, s:i}", "format", "longtake-probe", "version", 1,
                      "stage", p->stage, "seconds", seconds, "ranks", size);
        for (int k = 0; k < BY_RANK; k++) {
            json_t *list = json_array();
            for (int r = 0; r < size; r++)
                (void)json_array_append_new(list, json_integer((json_int_t)all[BY_RANK * r + k]));
            (void)json_object_set_new(answer, names[k], list);
        }
        st = lt_answer_json(answer, JSON_COMPACT);
    }
    free(all);
    LT_TRY(lt_agree(p->world, st));
    return LT_OK;
}

/* A failure that all ranks have agreed on: none comes to another agreement. */
static int st_is_known(lt_status st)
{
    lt_status original;
    return st != LT_OK && lt_agreed_failure(&original);
}

/* All ranks have run the stage: did they read the same? */
static lt_status same_reads(lt_probe *p, lt_status st)
{
    LT_TRY(lt_agree(p->world, st));
    return lt_same_reads_check(p->world);
}

static lt_status run_stage(lt_probe *p, const lt_probe_stage *stage)
{
    const int alone = !stage->needs_engine;
    if (alone && lt_group_rank(p->world) != 0)
        return LT_OK;
    lt_status st = read_mesh(p);
    if (st == LT_OK)
        st = open_model(p);
    if (!alone)
        st = lt_agree(p->world, st);
    if (st == LT_OK && stage->needs_engine)
        st = lt_probe_engine(p);
    if (st == LT_OK)
        st = stage->run(p);
    if (!alone && !st_is_known(st)) /* before anything is written */
        st = same_reads(p, st);
    if (st == LT_OK)
        st = write_outputs(p);
    return st;
}

/* What is written, tried and owned before work. The trace is put beside --out; a stage that only
 * prints leaves nothing to put it beside. */
static lt_status own_outputs(const lt_job *job, lt_group *world, lt_outputs *outputs, char *trace,
                             size_t bytes)
{
    const int n = snprintf(trace, bytes, "%s.trace.json", job->out != NULL ? job->out : "");
    lt_status st = LT_OK;
    if (job->trace && job->out == NULL)
        st = lt_fail(LT_EUSAGE, __FILE__, __LINE__,
                     "--trace: want --out, beside which the trace is put");
    else if (n < 0 || (size_t)n >= bytes)
        st = lt_fail(LT_EUSAGE, __FILE__, __LINE__, "--out %.200s...: the name is too long",
                     job->out);
    outputs->replace = job->overwrite ? LT_REPLACE : LT_KEEP;
    if (st == LT_OK && lt_group_rank(world) == 0) {
        st = lt_outputs_add(outputs, "--out", job->out, NULL);
        if (st == LT_OK && job->trace)
            st = lt_outputs_add(outputs, "--trace", trace, NULL);
        if (st == LT_OK)
            st = lt_outputs_check(outputs, NULL);
        if (st == LT_OK)
            st = lt_outputs_take(outputs);
    }
    LT_TRY(lt_agree(world, st));
    return LT_OK;
}

static lt_status run(const lt_job *job, const lt_options *options, const char *const *words,
                     size_t word_count, lt_group *world)
{
    (void)options;
    const lt_probe_stage *stage = NULL;
    if (word_count != 1)
        LT_FAIL(LT_EUSAGE, "probe: want one STAGE, found %zu words", word_count);
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++)
        if (strcmp(stages[i].name, words[0]) == 0)
            stage = &stages[i];
    if (stage == NULL)
        LT_FAIL(
            LT_EUSAGE,
            "probe %s: want tokenize, text, dit, layout, sigmas, denoise, vae-decode, vae-encode, "
            "audio-decode or audio-encode",
            words[0]);
    if (stage->prints && (job->out != NULL || job->trace)) {
        lt_hint("`> FILE` keeps what it prints");
        LT_FAIL(LT_EUSAGE, "%s: probe %s prints its answer, and makes no file",
                job->out != NULL ? "--out" : "--trace", stage->name);
    }
    lt_probe p = {.job = job, .world = world, .stage = stage->name};
    lt_outputs outputs = {.count = 0};
    char trace[LT_PATH_BYTES];
    LT_TRY(lt_answer_open(&p.answer));
    p.seconds = calloc((size_t)job->repeat, sizeof *p.seconds);
    if (p.seconds == NULL)
        LT_FAIL(LT_ENOMEM, "probe: no memory for %lld times", (long long)job->repeat);
    lt_status st = own_outputs(job, world, &outputs, trace, sizeof trace);
    if (st == LT_OK && job->trace)
        st = lt_trace_begin(world);
    if (st == LT_OK)
        st = share_model(&p);
    const int shared = st == LT_OK;
    if (shared)
        st = run_stage(&p, stage);
    st = lt_answer_send(&p.answer, st);
    if (shared) {
        lt_status original;
        if (st == LT_OK || !lt_agreed_failure(&original)) /* else all know of it by now */
            st = lt_agree(world, st);
    }
    if (st == LT_OK && job->trace)
        st = lt_trace_write(world, trace, outputs.replace);
    if (st == LT_OK && job->json)
        st = say_json(&p);
    lt_model *base = p.model != NULL ? &p.model->base : NULL;
    lt_model_close(&base);
    lt_source_end();
    lt_engine_close(&p.engine);
    lt_mesh_close(&p.mesh);
    lt_checkpoint_close(&p.in);
    for (int i = 0; i < p.owned_count; i++)
        free(p.owned[i]);
    free(p.seconds);
    lt_outputs_end(&outputs);
    return st;
}

const lt_verb lt_verb_probe = {
    .name = "probe",
    .bit = LT_VERB_PROBE,
    .collective = 1,
    .words = "tokenize text dit layout sigmas denoise vae-decode vae-encode audio-decode "
             "audio-encode",
    .run = run,
    .summary = "one stage on tensors from a file, to compare with other programs",
    .usage =
        "longtake probe STAGE --model DIR [--in A.safetensors] [--out B.safetensors] [options]",
    .intro = "Runs one stage under the reference implementation's own argument and output names, "
             "on any mesh.\n"
             "STAGE: tokenize, text, dit, layout, sigmas, denoise, vae-decode, vae-encode, "
             "audio-decode, audio-encode.\n"
             "A stage opens only the parts that it needs; --model may hold just those. Outputs are "
             "--out's.",
    .examples = "  echo \"A red rubber ball.\" > prompts.txt\n"
                "  longtake probe tokenize --text-file prompts.txt\n"
                "  longtake probe sigmas --steps 50\n"};

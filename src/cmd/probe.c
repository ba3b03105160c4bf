/* probe.c - longtake probe: one stage, tensors in, tensors out.
 * The verb's frame: finds the stage and the model's family, opens what every stage needs, writes
 * what was made. What a stage reads and makes goes by probe_io.c; a family's stages are a file of
 * their own (probe_h3.c). */
#include "cmd/probe.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/file.h"
#include "cmd/probe_denoise.h"
#include "cmd/probe_h3.h"
#include "model/files/remote/source.h"
#include "model/files/same_reads.h"
#include "model/oracle_family.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"
#include "parallel/transport/transport.h"
#include "run/outputs.h"
#include "run/pipeline.h"
#include "run/plan.h"
#include "run/session.h"
#include "run/trace.h"

static const lt_probe_stage stages[LT_PROBE_STAGES] = {
    [LT_PROBE_TOKENIZE] = {"tokenize", 0, 1},
    [LT_PROBE_TEXT] = {"text", 1, 0},
    [LT_PROBE_DIT] = {"dit", 1, 0},
    [LT_PROBE_LAYOUT] = {"layout", 0, 0},
    [LT_PROBE_SIGMAS] = {"sigmas", 0, 1},
    [LT_PROBE_DENOISE] = {"denoise", 1, 0},
    [LT_PROBE_VAE_DECODE] = {"vae-decode", 1, 0},
    [LT_PROBE_VAE_ENCODE] = {"vae-encode", 1, 0},
    [LT_PROBE_AUDIO_DECODE] = {"audio-decode", 1, 0},
    [LT_PROBE_AUDIO_ENCODE] = {"audio-encode", 1, 0},
};

static const lt_probe_family *const families[] = {&lt_probe_h3, &lt_probe_oracle};

static lt_status read_mesh(lt_probe *p)
{
    const int size = lt_group_size(p->world);
    p->spec = (lt_mesh_spec){{1, 1, 1, size, 1}};
    if (p->job->mesh != NULL && strcmp(p->job->mesh, "auto") != 0)
        LT_TRY(lt_mesh_parse(p->job->mesh, &p->spec));
    return LT_OK;
}

/* Every rank's own path, since a rank without the model is served under the path of rank 0. */
static lt_status share_model(lt_probe *p)
{
    lt_status st = LT_OK;
    if (lt_group_rank(p->world) == 0 || lt_oracle_recognise(p->job->model))
        st = lt_job_model(p->job, p->path, sizeof p->path);
    LT_TRY(lt_agree(p->world, st));
    if (lt_oracle_recognise(p->job->model)) /* no files: nothing to share */
        return LT_OK;
    return lt_session_source(p->world, p->path, sizeof p->path);
}

/* A folder that no family knows may still be a tokenizer's, or hold a single part: the first
 * family's readers say what they miss. */
static lt_status open_model(lt_probe *p)
{
    p->family = families[0];
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (families[i]->recognise(p->path)) {
            p->family = families[i];
            break;
        }
    return p->family->open(p->path, &p->model);
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
    if (st == LT_OK && p->family->run[stage - stages] == NULL)
        st = lt_fail(LT_EUSAGE, __FILE__, __LINE__, "probe %s: %s has no such stage", stage->name,
                     p->path);
    if (st == LT_OK)
        st = p->family->run[stage - stages](p);
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
    lt_model_close(&p.model);
    lt_source_end();
    lt_engine_close(&p.engine);
    lt_unbind(&p.bound);
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

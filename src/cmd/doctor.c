/* doctor.c - longtake doctor: what this machine and build can do, and how to get the rest. */
#include <glob.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "cmd/answer.h"
#include "cmd/verbs.h"
#include "kernels/backend.h"
#include "kernels/gpu_part.h"
#include "media/mux.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/transport.h"
#include "run/pipeline.h"
#include "run/place.h"
#include "run/store_hdf5.h"
#include "run/versions.h"

typedef struct {
    json_t *rows; /* [{what, ok, found, remedy}] */
    FILE *to;     /* NULL: no text */
} finding;

static void tell(finding *f, const char *what, int ok, const char *remedy, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

static void tell(finding *f, const char *what, int ok, const char *remedy, const char *format, ...)
{
    char found[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(found, sizeof found, format, args);
    va_end(args);
    (void)lt_text_printable(found); /* names of nodes and folders come from outside */
    (void)json_array_append_new(f->rows, json_pack("{s:s, s:b, s:s, s:s?}", "what", what, "ok", ok,
                                                   "found", found, "remedy", ok ? NULL : remedy));
    if (f->to == NULL)
        return;
    (void)fprintf(f->to, "%-9s %-4s %s\n", what, ok ? "ok" : "--", found);
    if (!ok && remedy != NULL)
        (void)fprintf(f->to, "%-9s      %s\n", "", remedy);
}

static void tell_gpus(finding *f)
{
    const lt_gpu *gpu = lt_gpu_look();
    if (gpu->found != LT_GPU_NO_PART) {
        tell(f, "GPU", gpu->found == LT_GPU_READY, "not needed: without one, on the processor",
             "%s", gpu->text);
        if (gpu->driver[0] != '\0')
            tell(f, "driver", 1, NULL, "%s", gpu->driver);
        if (gpu->links[0] != '\0')
            tell(f, "links", 1, NULL, "%s", gpu->links);
        if (gpu->exchange[0] != '\0')
            tell(f, "NCCL", gpu->has_exchange,
                 "not needed: tensors go from GPU to GPU through host memory", "%s", gpu->exchange);
        if (gpu->attention[0] != '\0')
            tell(f, "attention", gpu->has_attention,
                 "not needed: our own kernels compute attention, slower from sm_90 on", "%s",
                 gpu->attention);
        return;
    }
    glob_t found = {0};
    const int any =
        glob("/proc/driver/nvidia/gpus/*/information", 0, NULL, &found) == 0 && found.gl_pathc > 0;
    if (any)
        tell(f, "GPU", 0, "build with --preset cuda; this build computes on the processor",
             "%zu NVIDIA device(s)", found.gl_pathc);
    else
        tell(f, "GPU", 0, "not needed: this build computes on the processor",
             "no NVIDIA device (no driver loaded)");
    globfree(&found);
}

static void tell_codecs(finding *f)
{
    lt_mux_codec codec[16];
    const size_t count = lt_mux_codecs(codec, sizeof codec / sizeof *codec);
    tell(f, "FFmpeg", 1, NULL, "%s", lt_mux_library());
    for (size_t i = 0; i < count && i < sizeof codec / sizeof *codec; i++)
        tell(f, "codec", codec[i].available,
             "install an FFmpeg that has this encoder; Debian's libavcodec has them all",
             "%-7s %s, %d bit, in %s", codec[i].name, codec[i].encoder, codec[i].bits,
             codec[i].suffixes);
}

/* "2: a (ranks 0, 2), b (ranks 1, 3)": what --placement nodes goes by. */
static void tell_nodes(finding *f, const lt_nodes *nodes)
{
    enum { RANKS_BYTES = 96, ROOM = RANKS_BYTES + LT_HOST_NAME_BYTES + 16 };
    char found[448] = "", ranks[RANKS_BYTES];
    int *list = calloc((size_t)nodes->ranks, sizeof *list);
    for (int node = 0; node < nodes->count && list != NULL; node++) {
        const size_t used = strlen(found);
        int count = 0;
        if (used + ROOM > sizeof found) {
            (void)snprintf(found + used, sizeof found - used, ", ...");
            break;
        }
        for (int rank = 0; rank < nodes->ranks; rank++)
            if (nodes->of_rank[rank] == node)
                list[count++] = rank;
        (void)snprintf(found + used, sizeof found - used, "%s%s (%s)", node > 0 ? ", " : "",
                       nodes->name[node], lt_place_ranks(list, count, ranks, sizeof ranks));
    }
    free(list);
    tell(f, "nodes", 1, NULL, "%d: %s", nodes->count, found);
}

static void tell_ranks(finding *f, lt_group *world, int local_ranks, const lt_nodes *nodes)
{
    tell(f, "ranks", 1, NULL, "%d over %s, %d on this host", lt_group_size(world),
         strcmp(lt_group_transport(world), "mpi") == 0 ? "MPI" : "no launcher", local_ranks);
    tell_nodes(f, nodes);
}

static void tell_machine(finding *f, int threads)
{
    lt_device cpu;
    lt_backend_cpu.describe(0, &cpu);
    tell(f, "CPU", 1, NULL, "%s, %ld processors, %d thread%s a rank", cpu.name,
         sysconf(_SC_NPROCESSORS_ONLN), threads, threads == 1 ? "" : "s");
    const int plain = strcmp(cpu.isa, "plain") == 0;
#if defined(__x86_64__)
    tell(f, "ISA", !plain, "a processor with AVX2 is several times as fast", "%s", cpu.isa);
#else
    tell(f, "ISA", 1, NULL, "%s%s", cpu.isa, plain ? ", vectors by the compiler" : "");
#endif
    tell(f, "bf16", cpu.has_bf16, "--dtype auto takes f32 here; bf16 works, by widening", "%s",
         cpu.has_bf16 ? "native" : "not native");
    tell(f, "memory", cpu.left_bytes > ((int64_t)1 << 30), "close other programs", "%.1f GiB free",
         (double)cpu.left_bytes / 1073741824.0);
}

static void tell_files(finding *f)
{
    char path[LT_PATH_BYTES];
    lt_device cpu;
    lt_backend_cpu.describe(0, &cpu);
    tell(f, "oneDNN", 1, NULL, "%s", cpu.libraries);
    tell(f, "HDF5", 1, NULL, "%s", lt_latents_library());
#ifdef LT_HAVE_MPI
    tell(f, "MPI", 1, NULL, "built in; mpirun -n N longtake ... or srun --mpi=pmix");
#else
    tell(f, "MPI", 0, "build with -DLT_MPI=ON (Debian: libopenmpi-dev)", "not in this build");
#endif
    const int found = lt_default_model(path, sizeof path) == LT_OK;
    tell(f, "model", found, "keep models/demo beside the program, or name one with --model", "%s",
         found ? path : "no demo model");
    if (!found)
        lt_error_clear();
}

static lt_status examine(const lt_job *job, lt_group *world, const lt_placed *placed,
                         const lt_nodes *nodes)
{
    lt_answer answer;
    LT_TRY(lt_answer_open(&answer));
    finding f = {json_array(), job->json ? NULL : answer.to};
    if (f.to != NULL)
        (void)fprintf(f.to, "%s\n", lt_version_software());
    tell_ranks(&f, world, placed->local_ranks, nodes);
    tell_machine(&f, placed->threads);
    tell_gpus(&f);
    tell_files(&f);
    tell_codecs(&f);
    json_t *all = json_pack("{s:s, s:i, s:s, s:o}", "format", "longtake-doctor", "version", 1,
                            "software", "longtake " LT_VERSION, "findings", f.rows);
    char *text = job->json && all != NULL ? lt_json_text(all, JSON_COMPACT) : NULL;
    if (text != NULL)
        (void)fprintf(answer.to, "%s\n", text);
    const int failed = lt_json_starved() || (job->json && text == NULL);
    free(text);
    json_decref(all);
    return lt_answer_send(&answer, failed ? lt_fail(LT_ENOMEM, __FILE__, __LINE__,
                                                    "doctor: no memory for its findings")
                                          : LT_OK);
}

static lt_status run(const lt_job *job, const lt_options *options, const char *const *words,
                     size_t word_count, lt_group *world)
{
    (void)options;
    lt_placed placed;
    lt_nodes nodes;
    if (word_count != 0)
        LT_FAIL(LT_EUSAGE, "doctor: want no words, found '%s'", words[0]);
    LT_TRY(lt_place(world, 0, &placed));
    LT_TRY(lt_group_nodes(world, &nodes));
    const lt_status st = lt_group_rank(world) == 0 ? examine(job, world, &placed, &nodes) : LT_OK;
    lt_nodes_free(&nodes);
    LT_TRY(lt_agree(world, st));
    return LT_OK;
}

const lt_verb lt_verb_doctor = {.name = "doctor",
                                .bit = LT_VERB_DOCTOR,
                                .collective = 1,
                                .run = run,
                                .summary =
                                    "what this machine and build can do, and how to get the rest",
                                .usage = "longtake doctor [--json]",
                                .intro = "Lists ranks and their nodes, processor, instruction set, "
                                         "libraries, codecs and the demo model.",
                                .examples = "  longtake doctor\n  mpirun -n 2 longtake doctor\n"};

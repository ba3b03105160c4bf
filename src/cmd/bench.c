/* bench.c - longtake bench: how fast this machine moves and computes, and whether rightly. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/new_file.h"
#include "base/text.h"
#include "bench/suite.h"
#include "cmd/answer.h"
#include "cmd/verbs.h"
#include "parallel/transport/agree.h"
#include "parallel/world.h"
#include "run/trace.h"
#include "run/versions.h"

static const lt_bench_suite *const suites[] = {&lt_bench_comm, &lt_bench_attention, &lt_bench_mesh,
                                               &lt_bench_long};
enum { SUITE_COUNT = sizeof suites / sizeof *suites };

typedef struct {
    const lt_bench_suite *suite;
    const lt_bench *bench;
    int json, header_done;
    lt_status st; /* of the rows so far */
} printer;

/* Who measured, and the units; then the columns' names. */
static void print_header(FILE *to, const lt_bench_suite *suite, const lt_bench *bench)
{
    char names[sizeof bench->host_names];
    const int ranks = lt_group_size(bench->world);
    (void)snprintf(names, sizeof names, "%s", bench->host_names);
    (void)fprintf(to, "# %s: bench %s, %d rank%s of %d thread%s on %d host%s (%s), transport %s",
                  lt_version_software(), suite->name, ranks, ranks == 1 ? "" : "s", bench->threads,
                  bench->threads == 1 ? "" : "s", bench->hosts, bench->hosts == 1 ? "" : "s",
                  lt_text_printable(names), lt_group_transport(bench->world));
    (void)fprintf(to, "%s%s\n# %s\n", ranks > 1 ? ", " : "",
                  ranks > 1 ? lt_transport_library() : "", suite->units);
    for (int i = 0; i < suite->column_count; i++)
        (void)fprintf(to, "%s%*s", i > 0 ? " " : "", suite->columns[i].width,
                      suite->columns[i].title);
    (void)fprintf(to, "\n");
}

/* none: what stands for null. */
static void print_cell(FILE *to, const lt_bench_column *column, const json_t *value,
                       const char *none)
{
    if (json_is_string(value))
        (void)fprintf(to, "%*s", column->width, json_string_value(value));
    else if (json_is_integer(value))
        (void)fprintf(to, "%*lld", column->width, (long long)json_integer_value(value));
    else if (!json_is_real(value))
        (void)fprintf(to, "%*s", column->width, none);
    else if (column->decimals < 0)
        (void)fprintf(to, "%*.2g", column->width, json_real_value(value));
    else
        (void)fprintf(to, "%*.*f", column->width, column->decimals, json_real_value(value));
}

static void print_columns(FILE *to, printer *p, const json_t *row)
{
    if (!p->header_done)
        print_header(to, p->suite, p->bench);
    p->header_done = 1;
    const char *none = json_is_true(json_object_get(row, "noise")) ? "noise" : "-";
    for (int i = 0; i < p->suite->column_count; i++) {
        (void)fprintf(to, "%s", i > 0 ? " " : "");
        print_cell(to, &p->suite->columns[i], json_object_get(row, p->suite->columns[i].key), none);
    }
    (void)fprintf(to, "\n");
}

/* A row is there while the next one is measured. Where one could not be written, the rest of the
 * measuring goes on, since the other ranks are in it, and the verb fails at its end. */
static void print_row(void *ctx, const json_t *row)
{
    printer *p = ctx;
    lt_answer answer;
    if (p->st != LT_OK)
        return;
    if (p->json) {
        p->st = lt_answer_json(json_incref((json_t *)(uintptr_t)row),
                               JSON_COMPACT | JSON_REAL_PRECISION(6));
        return;
    }
    p->st = lt_answer_open(&answer);
    if (p->st != LT_OK)
        return;
    print_columns(answer.to, p, row);
    p->st = lt_answer_send(&answer, LT_OK);
}

/* In the folder that bench was started in: it has no output of its own to put it beside. */
static void trace_name(const lt_bench_suite *suite, char *out, size_t bytes)
{
    (void)snprintf(out, bytes, "bench-%s.trace.json", suite->name);
}

/* Before work: may it be made? */
static lt_status try_trace(const lt_bench_suite *suite, lt_group *world, lt_replace replace)
{
    char path[64];
    trace_name(suite, path, sizeof path);
    LT_TRY(lt_agree(world,
                    lt_group_rank(world) == 0 ? lt_new_file_try("--trace", path, replace) : LT_OK));
    return LT_OK;
}

static lt_status write_trace(const lt_bench_suite *suite, lt_group *world, lt_replace replace)
{
    char path[64];
    trace_name(suite, path, sizeof path);
    LT_TRY(lt_trace_write(world, path, replace));
    lt_log0(1, "bench", "%s: open it in chrome://tracing or ui.perfetto.dev", path);
    return LT_OK;
}

static lt_status run(const lt_job *job, const lt_options *options, const char *const *words,
                     size_t word_count, lt_group *world)
{
    (void)options;
    const lt_bench_suite *suite = NULL;
    for (size_t i = 0; i < SUITE_COUNT && word_count == 1; i++)
        if (strcmp(suites[i]->name, words[0]) == 0)
            suite = suites[i];
    lt_status st = LT_OK;
    if (suite == NULL)
        st = lt_fail(LT_EUSAGE, __FILE__, __LINE__,
                     "bench: want one SUITE (comm, attention, mesh or long), found %s",
                     word_count == 0 ? "none" : words[word_count - 1]);
    else if (!suite->has_choice && (job->op != NULL || job->bytes != NULL))
        st =
            lt_fail(LT_EUSAGE, __FILE__, __LINE__, "%s: bench %s has no such choice, only comm has",
                    job->op != NULL ? "--op" : "--bytes", suite->name);
    LT_TRY(lt_agree(world, st));
    assert(suite != NULL);
    const lt_replace replace = job->overwrite ? LT_REPLACE : LT_KEEP;
    if (job->trace)
        LT_TRY(try_trace(suite, world, replace));
    lt_bench bench;
    printer p = {.suite = suite, .bench = &bench, .json = job->json};
    LT_TRY(lt_bench_open(job, world, &bench));
    bench.row = print_row;
    bench.ctx = &p;
    if (job->trace)
        LT_TRY(lt_trace_begin(world));
    LT_TRY(suite->run(&bench));
    if (job->trace)
        LT_TRY(write_trace(suite, world, replace));
    if (bench.wrong != 0)
        st = lt_fail(LT_EINTERNAL, __FILE__, __LINE__, "bench %s: %lld wrong", suite->name,
                     (long long)bench.wrong);
    LT_TRY(lt_agree(world, st != LT_OK ? st : p.st));
    return LT_OK;
}

const lt_verb lt_verb_bench = {
    .name = "bench",
    .bit = LT_VERB_BENCH,
    .collective = 1,
    .words = "comm attention mesh long",
    .run = run,
    .summary = "what moving and computing cost on these ranks, and are they right",
    .usage = "longtake bench SUITE [--json] [options]",
    .intro =
        "Runs on the ranks that it was started with; one row a case, with --json one object a\n"
        "line. `wrong` counts what isn't as expected; with any the exit code is 70. Times are\n"
        "the slowest rank's, median over the rounds, given only where each rank has a core.\n"
        "\n"
        "SUITE is one of\n"
        "  comm       every collective from 8 B to 64 MB. bytes is a rank's whole buffer,\n"
        "             count its words of 4 bytes; algbw = bytes / time, busbw = algbw x f, in\n"
        "             10^9 bytes/s: f = 1 for broadcast, exchanges and ring_pass, (P-1)/P for\n"
        "             gathers and all-to-all, 2(P-1)/P for sum_partials. wrong: words\n"
        "             that differ from what the ranks must hold. Last the average of busbw;\n"
        "             --op and --bytes choose.\n"
        "  attention  one attention on each arrangement ring x uly of the ranks, ring also as\n"
        "             a grid of down x across ranks. bytes: sent by all ranks; formula: what\n"
        "             they must send (parallel/attention/attention.h). diff: largest difference "
        "to\n"
        "             one rank, relative to the largest value. exposed = ms - compute; hidden\n"
        "             = comm - exposed; overlap = (compute + comm - ms) / comm, or `noise`\n"
        "             where that is no share of 0 to 1 (a busy machine). Its last two\n"
        "             rows, where there are times, are a ring with blocks of 16 MiB, 9 rounds:\n"
        "             computed on these cores, which also copy the messages between ranks of a\n"
        "             host, and as on a device, whose operations take as long but no core.\n"
        "  mesh       one evaluation of --model's DiT at 22 frames on every mesh of a list\n"
        "             that these ranks can form: diff to one rank, bytes against the formula.\n"
        "  long       what a window costs in a film of 61 s, over what it costs in one of 10 s,\n"
        "             in turn, in modes windows and extend. wrong: passes with other latents.",
    .examples = "  mpirun -n 2 longtake bench comm --budget 2\n"
                "  longtake bench comm --op all_gather_rows,sum_partials --bytes 64K,1M\n"
                "  mpirun -n 2 longtake bench attention --budget 2 --trace   # who works when\n"
                "  mpirun --oversubscribe -n 4 longtake bench mesh --json\n"
                "  longtake bench long --budget 4\n"};

/* slurm_script.c - the batch scripts that `longtake submit` writes. */
#include "run/slurm_script.h"

#include <assert.h>
#include <ctype.h>
#include <string.h>

#include "base/text.h"

enum { MINUTE = 60, HOUR = 3600, DAY = 86400, YEAR_DAYS = 365 };

/* ---- checks ---- */

/* Numbers between - and :, at most 5 digits each; 0 if text is nothing of that form. */
static int split(const char *text, int64_t number[4], int *count, int *has_days)
{
    *count = 0;
    *has_days = 0;
    for (const char *c = text;; c++) {
        int64_t n = 0;
        int digits = 0;
        for (; isdigit((unsigned char)*c) && digits < 6; c++, digits++)
            n = 10 * n + (*c - '0');
        if (digits < 1 || digits > 5 || *count == 4)
            return 0;
        number[(*count)++] = n;
        if (*c == '\0')
            return 1;
        if (*c == '-' && *count == 1)
            *has_days = 1;
        else if (*c != ':')
            return 0;
    }
}

lt_status lt_slurm_seconds(const char *option, const char *text, int64_t *out)
{
    int64_t n[4] = {0}, seconds = 0;
    int count = 0, days = 0;
    int ok = split(text, n, &count, &days);
    if (ok && days) /* D-H, D-H:M, D-H:M:S */
        seconds = n[0] * DAY + n[1] * HOUR + n[2] * MINUTE + n[3];
    else if (ok && count == 3)
        seconds = n[0] * HOUR + n[1] * MINUTE + n[2];
    else if (ok && count <= 2) /* M, M:S */
        seconds = n[0] * MINUTE + n[1];
    else
        ok = 0;
    if (ok && days && count < 2)
        ok = 0;
    if (!ok || seconds < MINUTE || seconds > (int64_t)YEAR_DAYS * DAY)
        LT_FAIL(LT_EUSAGE,
                "%s: want minutes, H:MM:SS or D-HH:MM:SS, from a minute to a year, found '%.100s'",
                option, text);
    *out = seconds;
    return LT_OK;
}

lt_status lt_slurm_check_name(const char *option, const char *text)
{
    static const char also[] = "._,+-@";
    int ok = text[0] != '\0' && text[0] != '-' && strlen(text) < 200;
    for (const char *c = text; *c != '\0'; c++)
        ok &=
            isascii((unsigned char)*c) && (isalnum((unsigned char)*c) || strchr(also, *c) != NULL);
    if (!ok)
        LT_FAIL(LT_EUSAGE, "%s: want letters, digits and any of %s, found '%.100s'", option, also,
                text);
    return LT_OK;
}

void lt_slurm_margins(int64_t seconds, int64_t *time_limit, int64_t *signal_before)
{
    enum { LATE = 60, FIRST = 150 }; /* the signal may come a minute early */
    const int64_t signal = seconds / 6 < LATE ? seconds / 6 : LATE;
    const int64_t before = seconds / 4 < FIRST ? seconds / 4 : FIRST;
    *signal_before = signal;
    *time_limit = seconds - before;
}

/* Bytes of run without .run and what slashes end it. */
static int stem_bytes(const char *run)
{
    size_t n = strlen(run);
    while (n > 1 && run[n - 1] == '/')
        n--;
    if (n > 4 && strncmp(run + n - 4, ".run", 4) == 0 && run[n - 5] != '/')
        n -= 4;
    return (int)n;
}

/* ---- words ---- */

static int is_clean(const char *word)
{
    const size_t bytes = strlen(word);
    uint32_t code = 0;
    for (size_t at = 0, n = 0; at < bytes; at += n) {
        n = lt_utf8_next(word + at, bytes - at, &code);
        if (n == 0 || !lt_text_is_safe(code))
            return 0;
    }
    return 1;
}

void lt_slurm_quote(FILE *to, const char *word)
{
    const int clean = is_clean(word);
    (void)fputs(clean ? "'" : "$'", to);
    for (const unsigned char *c = (const unsigned char *)word; *c != '\0'; c++) {
        if (clean && *c == '\'')
            (void)fputs("'\\''", to);
        else if (clean)
            (void)fputc(*c, to);
        else if (*c == '\'' || *c == '\\' || *c < 0x20 || *c >= 0x7f)
            (void)fprintf(to, "\\x%02x", *c);
        else
            (void)fputc(*c, to);
    }
    (void)fputc('\'', to);
}

static void assign(FILE *to, const char *name, const char *word)
{
    (void)fprintf(to, "%s=", name);
    lt_slurm_quote(to, word);
    (void)fputc('\n', to);
}

/* ---- the head ---- */

/* The film's name, as a job's: what is no letter or digit is _. */
static void put_name(FILE *to, const lt_slurm_job *job)
{
    const int stem = stem_bytes(job->run);
    int first = stem;
    while (first > 0 && job->run[first - 1] != '/')
        first--;
    (void)fputs("#SBATCH --job-name=", to);
    for (int i = first; i < stem && i < first + 64; i++) {
        const unsigned char c = (unsigned char)job->run[i];
        (void)fputc(isascii(c) && (isalnum(c) || c == '.' || (c == '-' && i > first)) ? c : '_',
                    to);
    }
    (void)fputc('\n', to);
}

static void put_option(FILE *to, const char *name, const char *text)
{
    if (text != NULL)
        (void)fprintf(to, "#SBATCH --%s=%s\n", name, text);
}

static void put_number(FILE *to, const char *name, int64_t value)
{
    if (value > 0)
        (void)fprintf(to, "#SBATCH --%s=%lld\n", name, (long long)value);
}

static void put_time(FILE *to, int64_t seconds)
{
    int64_t limit = 0, before = 0;
    if (seconds == 0)
        return;
    const int64_t minutes = (seconds + MINUTE - 1) / MINUTE; /* Slurm counts those */
    lt_slurm_margins(seconds, &limit, &before);
    (void)fprintf(to, "#SBATCH --time=%lld-%02lld:%02lld:00\n#SBATCH --signal=USR1@%lld\n",
                  (long long)(minutes / (24 * 60)), (long long)(minutes / 60 % 24),
                  (long long)(minutes % 60), (long long)before);
}

static void put_head(FILE *to, const lt_slurm_job *job)
{
    (void)fputs("#!/bin/bash\n", to);
    put_name(to, job);
    put_option(to, "partition", job->partition);
    put_option(to, "account", job->account);
    put_option(to, "qos", job->qos);
    put_number(to, "nodes", job->nodes);
    put_number(to, "ntasks-per-node", job->ranks_per_node);
    put_number(to, "cpus-per-task", job->cpus_per_rank);
    put_time(to, job->seconds);
    (void)fputs("#SBATCH --requeue\n#SBATCH --open-mode=append\n", to);
}

static void put_words(FILE *to, const lt_slurm_job *job)
{
    int64_t limit = 0, before = 0;
    (void)fputs("set --", to);
    if (job->seconds > 0) {
        lt_slurm_margins(job->seconds, &limit, &before);
        (void)fprintf(to, " --time-limit %lld", (long long)limit);
    }
    for (size_t i = 0; i < job->more_count; i++) {
        (void)fputc(' ', to);
        lt_slurm_quote(to, job->more[i]);
    }
    (void)fputc('\n', to);
}

/* ---- what scripts of a role have in common ---- */

/* Slurm signals all processes of a job, and srun kills its ranks on TERM. */
#define WAITS                                                                                      \
    "# Before a limit or a preemption Slurm signals the ranks too: they commit and leave with "    \
    "75.\n"                                                                                        \
    "# This shell and srun only wait for them.\n"                                                  \
    "trap '' TERM USR1\n"                                                                          \
    "start() { srun --mpi=pmix --kill-on-bad-exit=0 \"$longtake\" \"$@\"; }\n"

#define AGAIN                                                                                      \
    "code=$?\n"                                                                                    \
    "echo \"longtake: exit code $code on $SLURM_JOB_NODELIST, restart "                            \
    "${SLURM_RESTART_COUNT:-0}\" >&2\n"                                                            \
    "# Stopped, or a rank lost (75; 128 + n: killed): again, from what is committed. Not where "   \
    "somebody\n"                                                                                   \
    "# cancelled the job, nor where this is the old copy of one that Slurm has started again "     \
    "elsewhere.\n"                                                                                 \
    "again() {\n"                                                                                  \
    "    me=${SLURM_ARRAY_TASK_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}\n"                  \
    "    now=$(scontrol -o show job \"${me:-$SLURM_JOB_ID}\") || return\n"                         \
    "    [[ \"$now \" == *\" JobState=RUNNING \"* && \"$now \" == *\" "                            \
    "Restarts=${SLURM_RESTART_COUNT:-0} \"* ]] || return\n"                                        \
    "    [ \"${SLURM_RESTART_COUNT:-0}\" -lt \"$requeues\" ] && scontrol requeue "                 \
    "\"${me:-$SLURM_JOB_ID}\"\n"                                                                   \
    "}\n"                                                                                          \
    "case $code in 75 | 137 | 143) again ;; esac\n"                                                \
    "exit \"$code\"\n"

static const char *const same[] = {
    [LT_SLURM_RENDER] = WAITS "start render \"$job\" --resume \"$run\" -o \"$out\" \"$@\"\n" AGAIN,
    [LT_SLURM_ARRAY] =
        WAITS "folder=${run%.run}.shots runs=()\n"
              "mkdir -p -- \"$folder\" || exit 73\n"
              "shot() { printf '%s/shot-%03d' \"$folder\" \"$1\"; }\n"
              "if [ -n \"${SLURM_ARRAY_TASK_ID:-}\" ]; then\n"
              "    this=$(shot \"$SLURM_ARRAY_TASK_ID\")\n"
              "    start render \"$job\" --shot \"$SLURM_ARRAY_TASK_ID\" --resume \"$this.run\" "
              "-o \"$this.${out##*.}\" \"$@\"\n"
              "else # what an earlier start of this job stitched is stitched again\n"
              "    for n in $(seq 1 \"$shots\"); do runs+=(\"$(shot \"$n\").run\"); done\n"
              "    \"$longtake\" stitch \"${runs[@]}\" --run \"$run\" "
              "${overwrite:-${SLURM_RESTART_COUNT:+--overwrite}} &&\n"
              "        start decode \"$run\" -o \"$out\" $overwrite\n"
              "fi\n" AGAIN,
};

void lt_slurm_script(const lt_slurm_job *job, lt_slurm_role role, FILE *to)
{
    assert(job->program != NULL && job->folder != NULL && job->run != NULL && job->output != NULL);
    put_head(to, job);
    (void)fputs("# Written by `longtake submit`; `sbatch` of this file submits it again.\ncd -- ",
                to);
    lt_slurm_quote(to, job->folder);
    (void)fputs(" || exit 66\n", to);
    assign(to, "longtake", job->program);
    assign(to, "job", job->job_file);
    assign(to, "run", job->run);
    assign(to, "out", job->output);
    (void)fprintf(to, "requeues=%lld shots=%lld overwrite=%s\n", (long long)job->requeues,
                  (long long)job->shots, job->overwrite ? "--overwrite" : "");
    put_words(to, job);
    (void)fputs(LT_SLURM_SAME, to);
    (void)fputs(same[role], to);
}

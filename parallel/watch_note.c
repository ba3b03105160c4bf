/* watch_note.c - where a rank is, and the faults that tests put there.            Level 2: parallel
 * The watch's thread reads what the main thread and the comm queue's write here: all that it reads
 * is atomic, and each field makes sense by itself. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/options.h"
#include "base/span.h"
#include "parallel/comm.h"
#include "parallel/transport_impl.h"
#include "parallel/watch_impl.h"

lt_watch_note lt_note = {.name = "start", .axis = ""};
static double step_began, span_of_step = -1;

/* Of the collective that this thread is in. */
static _Thread_local int depth, counted;
static _Thread_local double span_began = -1;
static _Thread_local uint64_t span_bytes;
static _Thread_local const char *span_name, *span_axis;

void lt_note_begin(const char *name, const char *axis)
{
    if (depth++ > 0 || name == NULL)
        return;
    span_name = name;
    span_axis = axis != NULL ? axis : "";
    span_began = lt_span_begin();
    span_bytes = lt_traffic_of_thread();
    atomic_store(&lt_note.name, name);
    atomic_store(&lt_note.axis, span_axis);
    atomic_fetch_add(&lt_note.calls, 1);
    atomic_fetch_add(&lt_note.waits, 1);
    counted = 1;
}

void lt_note_end(void)
{
    if (--depth > 0)
        return;
    depth = 0;
    if (!counted)
        return;
    counted = 0;
    atomic_fetch_sub(&lt_note.waits, 1);
    lt_span_end(LT_SPAN_COLLECTIVE, span_name, span_axis, span_began,
                lt_traffic_of_thread() - span_bytes);
}

void lt_note_message(void) { lt_note_begin("wait for a message", NULL); }

void lt_note_step(int step, double predicted_s)
{
    const double now = lt_seconds();
    const int before = atomic_load(&lt_note.step);
    double longest = before > 0 ? now - step_began : 0;
    if (predicted_s > longest)
        longest = predicted_s;
    if (step <= 0)
        atomic_store(&lt_note.longest_ms, 0);
    else if ((int64_t)(1000 * longest) > atomic_load(&lt_note.longest_ms))
        atomic_store(&lt_note.longest_ms, (int64_t)(1000 * longest) + 1);
    if (before > 0)
        lt_span_end(LT_SPAN_STAGE, "step", NULL, span_of_step, 0);
    lt_span_step(step);
    span_of_step = lt_span_begin();
    step_began = now;
    atomic_store(&lt_note.step, step);
}

/* ---- test hook ---- */

int lt_fault_hangs(void)
{
    int rank = 0, step = 0;
    char kind[16];
    const char *text = lt_env("LONGTAKE_FAULT");
    return text != NULL && sscanf(text, "%d:%d:%15[a-z]", &rank, &step, kind) == 3 &&
           strcmp(kind, "hang") == 0;
}

static int fault_of(int rank, int *step, char kind[16])
{
    const char *text = lt_env("LONGTAKE_FAULT");
    int who = -1;
    return text != NULL && sscanf(text, "%d:%d:%15[a-z]", &who, step, kind) == 3 && who == rank;
}

int lt_fault_is(const lt_group *world, const char *kind)
{
    int step = 0;
    char found[16];
    return fault_of(lt_group_rank(world), &step, found) && step == 0 && strcmp(found, kind) == 0;
}

lt_status lt_fault_step(const lt_group *world, int step)
{
    int wanted = 0;
    char kind[16];
    if (!fault_of(lt_group_rank(world), &wanted, kind) || wanted != step)
        return LT_OK;
    if (strcmp(kind, "kill") == 0)
        (void)raise(SIGKILL);
    if (strcmp(kind, "stop") == 0)
        (void)raise(SIGSTOP);
    while (strcmp(kind, "hang") == 0)
        (void)pause();
    if (strcmp(kind, "error") == 0)
        LT_FAIL(LT_EDEVICE, "a fault that LONGTAKE_FAULT asked for");
    return LT_OK;
}

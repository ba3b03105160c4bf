/* progress.c - a bar for people, lines for logs, NDJSON for programs. */
#include "run/progress.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/pulse.h"
#include "base/record.h"
#include "base/resident.h"
#include "base/span.h"
#include "base/text.h"
#include "parallel/transport/op_record.h"

enum { STAGES_MAX = 16, BAR_WIDTH = 28, BAR_LEAST = 4, LINE_BYTES = 256 };
static const double line_every_s = 10.0, draw_every_s = 0.5;

struct lt_progress {
    int events; /* descriptor, -1: none */
    int terminal, quiet;
    const char *stage, *unit;
    int64_t total, done;
    int shot, shots;       /* 0: not told */
    int window, windows;   /* of the unit at hand; windows below 2: not told */
    int64_t behind;        /* units that an earlier start has done: no time of this one's */
    int is_weighed;        /* units are not all alike */
    double weight, weighs; /* of a unit at hand, and of all units, as one scale */
    double weight_done, weight_behind;
    double began, said;
    double unit_work, unit_done; /* of the unit at hand, as lt_pulse counts; unit_work 0: unknown */
    struct {
        const char *stage;
        double unit_work;
    } known[STAGES_MAX]; /* told by lt_progress_work */
    int known_count;
    const char *name[STAGES_MAX];
    double seconds[STAGES_MAX];
    int stages;
};

static void hear(void *ctx, double work);

lt_status lt_progress_open(int events_fd, int quiet, lt_progress **out)
{
    lt_progress *p = calloc(1, sizeof *p);
    if (p == NULL)
        LT_FAIL(LT_ENOMEM, "progress: no memory");
    p->events = events_fd;
    if (events_fd >= 0)
        lt_record_open(events_fd);
    p->quiet = quiet;
    p->terminal = !quiet && isatty(STDERR_FILENO);
    lt_pulse_listen(hear, p);
    *out = p;
    return LT_OK;
}

void lt_progress_close(lt_progress **progress)
{
    if (*progress == NULL)
        return;
    lt_pulse_listen(NULL, NULL);
    lt_progress_done(*progress);
    if ((*progress)->events >= 0) {
        lt_record_close();
        (void)close((*progress)->events);
    }
    free(*progress);
    *progress = NULL;
}

void lt_progress_event(lt_progress *p, const char *name, json_t *fields)
{
    if (p != NULL)
        lt_record_event(name, fields);
    else
        json_decref(fields);
}

void lt_progress_failed(lt_progress *p, lt_status st)
{
    if (p == NULL || st == LT_OK)
        return;
    char text[1024], hint[1024]; /* a path in them may be no UTF-8 */
    (void)snprintf(text, sizeof text, "%s", lt_error_text());
    (void)snprintf(hint, sizeof hint, "%s", lt_hint_text());
    lt_progress_done(p);
    lt_record_event(st == LT_ETEMP ? "stop" : "error",
                    json_pack("{s:s, s:s?, s:i}", "text", lt_text_printable(text), "hint",
                              lt_text_printable(hint)[0] != '\0' ? hint : NULL, "exit_code",
                              lt_exit_code(st)));
}

const char *lt_duration(double seconds, char *out, size_t bytes)
{
    const double day = 24 * 3600;
    if (seconds < 60)
        (void)snprintf(out, bytes, "%.1f s", seconds);
    else if (seconds < 3600)
        (void)snprintf(out, bytes, "%d min %02d s", (int)seconds / 60, (int)seconds % 60);
    else if (seconds < 2 * day)
        (void)snprintf(out, bytes, "%d h %02d min", (int)(seconds / 3600), (int)seconds / 60 % 60);
    else if (seconds < 1000 * day)
        (void)snprintf(out, bytes, "%d days %d h", (int)(seconds / day),
                       (int)(fmod(seconds, day) / 3600));
    else
        (void)snprintf(out, bytes, "%.0f years", seconds / (365.25 * day));
    return out;
}

/* Columns of the terminal, asked each time since it may be resized; 80 where it does not say. */
static int columns(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

/* How much of the unit at hand is done, 0 to 1: what is known is the work of one in the mean. */
static double part_of_unit(const lt_progress *p)
{
    const double work = p->weighs > 0 ? p->unit_work * p->weight * (double)p->total / p->weighs : 0;
    const double part = work > 0 ? p->unit_done / work : 0;
    return p->done >= p->total ? 0 : part < 1 ? part : 1;
}

/* By what of the weights is behind us since this stage began; 0: nothing is. */
static double seconds_left(const lt_progress *p, double now)
{
    const double weighed = p->weight_done + part_of_unit(p) * p->weight;
    const double left = p->weighs - p->weight_behind - weighed;
    return weighed > 0 && left > 0 ? (now - p->began) / weighed * left : 0;
}

/* What is said of the stage. level 0: all; 1: no time of each; 2: the least. */
static void facts_text(const lt_progress *p, double now, int final, int level, char *out,
                       size_t bytes)
{
    char took[48], left[48] = "", per[48] = "", unit[48] = "", shot[48] = "", window[48] = "";
    (void)lt_duration(now - p->began, took, sizeof took);
    const double done = (double)(p->done - p->behind) + part_of_unit(p);
    if (done > 0) {
        const double each = (now - p->began) / done;
        if (p->total > 1 && level < 1 && p->done > 0)
            (void)snprintf(per, sizeof per, ", %.2f s/%s", each, p->unit);
        else if (part_of_unit(p) > 0 && level < 1) /* the first: how far it has come */
            (void)snprintf(per, sizeof per, ", %.0f %% of the first", 100 * part_of_unit(p));
        if (!final)
            (void)lt_duration(seconds_left(p, now), left, sizeof left);
    }
    if (level < 2)
        (void)snprintf(unit, sizeof unit, " %s%s", p->unit, p->total == 1 ? "" : "s");
    if (p->shot > 0 && !final && level < 2)
        (void)snprintf(shot, sizeof shot, ", shot %d/%d", p->shot, p->shots);
    if (p->windows > 1 && !final && level < 1)
        (void)snprintf(window, sizeof window, ", window %d/%d", p->window, p->windows);
    const int has_took = level < 2 || left[0] == '\0';
    (void)snprintf(out, bytes, "%lld/%lld%s%s%s%s%s%s%s%s", (long long)p->done, (long long)p->total,
                   unit, shot, window, per, has_took ? ", " : "", has_took ? took : "",
                   left[0] != '\0' ? ", ETA " : "", left);
}

/* One line that is drawn over the one before. It must stay below the terminal's width, or what
 * wraps stays behind: the bar gives way first, then facts, and what is left is never cut in a
 * word's middle. */
static void draw_bar(const lt_progress *p, double now, int final)
{
    enum { NAME = 9 }; /* the stage's name and a blank */
    char bar[BAR_WIDTH + 1], facts[LINE_BYTES];
    const int room = columns() - 1;
    for (int level = 0; level < 3; level++) {
        facts_text(p, now, final, level, facts, sizeof facts);
        if ((int)strlen(facts) + NAME <= room)
            break;
    }
    int width = room - (int)strlen(facts) - NAME - 3; /* brackets and a blank */
    width = width > BAR_WIDTH ? BAR_WIDTH : width;
    if (width >= BAR_LEAST) {
        const double part = ((double)p->done + part_of_unit(p)) / (double)(p->total + !p->total);
        const int64_t full = (int64_t)((double)width * part);
        for (int i = 0; i < width; i++)
            bar[i] = i < full ? '#' : '.';
        (void)fprintf(stderr, "\r\033[K%-8s [%.*s] %s", p->stage, width, bar, facts);
    } else if ((int)strlen(facts) + NAME <= room) {
        (void)fprintf(stderr, "\r\033[K%-8s %s", p->stage, facts);
    } else {
        (void)fprintf(stderr, "\r\033[K%.*s", room, facts);
    }
    if (final)
        (void)fputc('\n', stderr);
    (void)fflush(stderr);
}

static void draw(lt_progress *p, int final)
{
    const double now = lt_seconds();
    char facts[LINE_BYTES];
    facts_text(p, now, final, 0, facts, sizeof facts);
    if (!p->terminal)
        lt_say("longtake: %s: %s", p->stage, facts);
    else
        draw_bar(p, now, final);
    if (p->terminal && final)
        lt_log_kept("longtake: %s: %s", p->stage, facts);
    p->said = now;
}

static void end_stage(lt_progress *p)
{
    if (p == NULL || p->stage == NULL)
        return;
    const double seconds = lt_seconds() - p->began;
    if (!p->quiet)
        draw(p, 1);
    lt_progress_event(p, "stage-end",
                      json_pack("{s:s, s:f, s:I}", "stage", p->stage, "stage_seconds", seconds,
                                "done", (json_int_t)p->done));
    if (p->stages < STAGES_MAX) {
        p->name[p->stages] = p->stage;
        p->seconds[p->stages++] = seconds;
    }
    p->stage = NULL;
}

/* What each rank holds when a stage begins. */
static void say_memory(const char *stage)
{
    const double mib = 1024.0 * 1024.0;
    if (lt_log_level() < 2)
        return;
    const lt_resident r = lt_resident_now();
    lt_log(2, "memory", "%s: %.1f MiB (own %.1f, files %.1f, shared %.1f), at most %.1f", stage,
           (double)r.now / mib, (double)r.anon / mib, (double)r.file / mib, (double)r.shared / mib,
           (double)r.peak / mib);
}

void lt_progress_stage(lt_progress *p, const char *stage, const char *unit, int64_t total)
{
    lt_span_stage(stage);
    lt_operation_stage(stage);
    say_memory(stage);
    if (p == NULL)
        return;
    end_stage(p);
    p->stage = stage;
    p->unit = unit;
    p->total = total;
    p->done = 0;
    p->window = p->windows = 0;
    p->behind = 0;
    p->is_weighed = 0;
    p->weight = 1;
    p->weighs = (double)total;
    p->weight_done = p->weight_behind = 0;
    p->unit_work = p->unit_done = 0;
    for (int i = 0; i < p->known_count; i++)
        if (strcmp(p->known[i].stage, stage) == 0)
            p->unit_work = p->known[i].unit_work;
    p->began = lt_seconds();
    p->said = p->began;
    lt_progress_event(
        p, "stage",
        json_pack("{s:s, s:s, s:I}", "stage", stage, "unit", unit, "total", (json_int_t)total));
    if (!p->quiet && p->terminal)
        draw(p, 0);
}

/* Between the kernels of a unit: draw by time, not by kernels. */
static void hear(void *ctx, double work)
{
    lt_progress *p = ctx;
    p->unit_done += work;
    if (p->stage != NULL && !p->quiet && p->done < p->total &&
        lt_seconds() - p->said >= (p->terminal ? draw_every_s : line_every_s))
        draw(p, 0);
}

void lt_progress_work(lt_progress *p, const char *stage, double unit_work)
{
    if (p == NULL)
        return;
    assert(p->known_count < STAGES_MAX);
    p->known[p->known_count].stage = stage;
    p->known[p->known_count++].unit_work = unit_work;
}

void lt_progress_step(lt_progress *p, int64_t done)
{
    if (p == NULL || p->stage == NULL)
        return;
    p->weight_done += p->weight * (double)(done - p->done);
    p->done = done;
    p->unit_done = 0;
    json_t *fields = json_pack("{s:s, s:I, s:I}", "stage", p->stage, "done", (json_int_t)done,
                               "total", (json_int_t)p->total);
    if (fields != NULL && p->shot > 0)
        (void)json_object_set_new(fields, "shot", json_integer(p->shot));
    lt_progress_event(p, "step", fields);
    const double now = lt_seconds();
    /* the first step of a long stage tells how long; the last one's line is the stage's end */
    const int is_first = done == p->behind + 1 && seconds_left(p, now) >= line_every_s;
    if (!p->quiet && done < p->total &&
        (is_first || now - p->said >= (p->terminal ? draw_every_s : line_every_s)))
        draw(p, 0);
}

void lt_progress_weigh(lt_progress *p, double all)
{
    if (p == NULL || !(all > 0))
        return;
    p->weighs = all;
    p->is_weighed = 1;
}

void lt_progress_weight(lt_progress *p, double weight)
{
    if (p != NULL && p->is_weighed && weight > 0)
        p->weight = weight;
}

void lt_progress_from(lt_progress *p, int64_t done)
{
    if (p == NULL || p->stage == NULL)
        return;
    p->behind = done;
    p->weight_behind = p->total > 0 ? p->weighs * (double)done / (double)p->total : 0;
    p->done = done;
}

void lt_progress_window(lt_progress *p, int window, int windows)
{
    if (p == NULL)
        return;
    p->window = window;
    p->windows = windows;
}

void lt_progress_shot(lt_progress *p, int shot, int shots)
{
    if (p == NULL)
        return;
    p->shot = shot;
    p->shots = shots;
}

void lt_progress_done(lt_progress *p)
{
    lt_span_stage(NULL);
    say_memory("end");
    end_stage(p);
}

json_t *lt_progress_stages(const lt_progress *p)
{
    json_t *all = json_object();
    for (int i = 0; p != NULL && i < p->stages; i++)
        (void)json_object_set_new(all, p->name[i], json_real(p->seconds[i]));
    return all;
}

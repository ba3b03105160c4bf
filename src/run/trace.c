/* trace.c - a timeline of all ranks in Chrome's trace format.
 * Each rank puts its own events into one text; the texts travel to rank 0 as one gather, and lie
 * there one after the other. Times are each rank's own clock, set to 0 behind a barrier: ranks
 * agree to some tens of microseconds. Spans that nest are complete events ("X"); messages, which
 * overlap as they please, are asynchronous ones ("b", "e"). Source of the format: the "Trace Event
 * Format" document of the Chromium project. */
#include "run/trace.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "base/span.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"

enum { SPANS_MAX = 1 << 20 };

lt_status lt_trace_begin(lt_group *world)
{
    LT_TRY(lt_barrier(world));
    LT_TRY(lt_agree(world, lt_span_open(SPANS_MAX)));
    return LT_OK;
}

static void write_name(FILE *f, int rank, int track, const char *what, const char *name)
{
    (void)fprintf(f,
                  "{\"ph\":\"M\",\"name\":\"%s\",\"pid\":%d,\"tid\":%d,\"args\":{\"name\":\"%s\"}},"
                  "\n",
                  what, rank, track, name);
}

static void write_span(FILE *f, int rank, size_t id, const lt_span *s)
{
    static const char *const category[LT_SPAN_TRACKS] = {"stage", "layer", "compute", "collective",
                                                         "message"};
    char head[256], number[16] = "";
    if (s->track == LT_SPAN_LAYER)
        (void)snprintf(number, sizeof number, " %d", s->layer);
    (void)snprintf(head, sizeof head, "\"name\":\"%s%s\",\"cat\":\"%s\",\"pid\":%d,\"tid\":%d",
                   s->name, number, category[s->track], rank, s->track);
    const char *detail = s->detail != NULL ? s->detail : "";
    const double begin = 1e6 * s->begin, end = 1e6 * s->end;
    if (s->track != LT_SPAN_MESSAGE) {
        (void)fprintf(f,
                      "{\"ph\":\"X\",%s,\"ts\":%.1f,\"dur\":%.1f,\"args\":{\"step\":%d,\"layer\":"
                      "%d,\"bytes\":%llu,\"axis\":\"%s\"}},\n",
                      head, begin, end - begin, s->step, s->layer, (unsigned long long)s->bytes,
                      detail);
        return;
    }
    (void)fprintf(f,
                  "{\"ph\":\"b\",%s,\"id\":\"%d.%zu\",\"ts\":%.1f,\"args\":{\"step\":%d,\"bytes\":"
                  "%llu,\"axis\":\"%s\"}},\n{\"ph\":\"e\",%s,\"id\":\"%d.%zu\",\"ts\":%.1f},\n",
                  head, rank, id, begin, s->step, (unsigned long long)s->bytes, detail, head, rank,
                  id, end);
}

/* My events as text, malloc'ed. */
static lt_status my_text(int rank, char **text, size_t *bytes)
{
    static const char *const names[LT_SPAN_TRACKS] = {"stages", "layers", "compute", "collectives",
                                                      "messages"};
    size_t count = 0, dropped = 0;
    char name[32];
    const lt_span *all = lt_span_all(&count, &dropped);
    FILE *f = open_memstream(text, bytes);
    if (f == NULL)
        LT_FAIL(LT_ENOMEM, "trace: no memory for %zu spans", count);
    (void)snprintf(name, sizeof name, "rank %d", rank);
    write_name(f, rank, 0, "process_name", name);
    for (int track = 0; track < LT_SPAN_TRACKS; track++)
        write_name(f, rank, track, "thread_name", names[track]);
    for (size_t i = 0; i < count; i++)
        write_span(f, rank, i, &all[i]);
    if (fclose(f) != 0)
        LT_FAIL(LT_ENOMEM, "trace: no memory for the text of %zu spans", count);
    if (dropped > 0)
        lt_log(1, "trace", "%zu spans had no room and are left out", dropped);
    return LT_OK;
}

/* whole: the texts of all ranks one after the other, on all ranks; malloc'ed. */
static lt_status gather(lt_group *world, const char *text, size_t bytes, char **whole,
                        size_t *whole_bytes)
{
    const int size = lt_group_size(world), rank = lt_group_rank(world);
    int64_t mine = (int64_t)bytes, sum = 0;
    lt_status st = LT_OK;
    int64_t *all = calloc((size_t)size, sizeof *all);
    lt_range *ranges = calloc((size_t)size, sizeof *ranges);
    if (all == NULL || ranges == NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "trace: no memory for %d sizes", size);
    LT_TRY_GOTO(lt_agree(world, st), st, done);
    assert(all != NULL && ranges != NULL);
    LT_TRY_GOTO(lt_all_gather_host(world, &mine, sizeof mine, all), st, done);
    for (int i = 0; i < size; i++) {
        ranges[i] = (lt_range){sum, all[i]};
        sum += all[i];
    }
    *whole = malloc((size_t)sum + 1);
    if (*whole == NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "trace: no memory for %lld bytes",
                     (long long)sum);
    LT_TRY_GOTO(lt_agree(world, st), st, done);
    assert(*whole != NULL);
    memcpy(*whole + ranges[rank].first, text, bytes);
    *whole_bytes = (size_t)sum;
    LT_TRY_GOTO(lt_all_gather_ranges(world, *whole, 1, ranges), st, done);
done:
    free(all);
    free(ranges);
    return st;
}

static lt_status write_file(const char *path, const char *events, size_t bytes, lt_replace replace)
{
    static const char head[] = "{\"format\":\"longtake-trace\",\"version\":1,\"traceEvents\":[\n",
                      tail[] = "\n]}\n";
    const size_t end = bytes >= 2 ? bytes - 2 : 0; /* without the last ",\n" */
    lt_new_file file;
    LT_TRY(lt_new_file_open(path, &file));
    lt_status st = lt_file_write_full(file.fd, path, head, sizeof head - 1);
    if (st == LT_OK)
        st = lt_file_write_full(file.fd, path, events, end);
    if (st == LT_OK)
        st = lt_file_write_full(file.fd, path, tail, sizeof tail - 1);
    if (st == LT_OK)
        st = lt_new_file_done(&file, replace);
    lt_new_file_drop(&file);
    return st;
}

lt_status lt_trace_write(lt_group *world, const char *path, lt_replace replace)
{
    char *text = NULL, *whole = NULL;
    size_t bytes = 0, whole_bytes = 0;
    if (!lt_span_is_on())
        return LT_OK;
    lt_status st = my_text(lt_group_rank(world), &text, &bytes);
    lt_span_close();
    LT_TRY_GOTO(lt_agree(world, st), st, done);
    LT_TRY_GOTO(gather(world, text, bytes, &whole, &whole_bytes), st, done);
    if (lt_group_rank(world) == 0)
        st = write_file(path, whole, whole_bytes, replace);
    LT_TRY_GOTO(lt_agree(world, st), st, done);
done:
    free(text);
    free(whole);
    return st;
}

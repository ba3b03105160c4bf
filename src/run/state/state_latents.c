/* state_latents.c - the files of a film's last step, put into a latents.h5.
 *
 * A block of a state file is a stretch of a dense [outer, time, inner] array, not of time, so an
 * array is put together whole before it is put. The files were read through to their seals when
 * their step was found; here a seal that is wrong after all fails the whole. */
#include "run/state/state_latents.h"

#include <stdlib.h>
#include <string.h>

#include "run/denoise/parts.h"
#include "run/state/film_state.h"
#include "run/state/run_state_internal.h"

lt_status lt_state_complete(const char *run, const lt_plan *plan, lt_commit *out)
{
    uint64_t job = 0;
    json_t *chosen = NULL;
    *out = (lt_commit){0};
    LT_TRY(lt_film_job(plan, &job, &chosen));
    json_decref(chosen);
    LT_TRY(lt_state_find(run, job, out));
    if (out->count > 0 && out->place.step == out->place.steps)
        return LT_OK;
    lt_hint("`longtake render --resume` makes the steps that are missing");
    if (out->count == 0)
        LT_FAIL(LT_ENOINPUT, "%s: no latents.h5, and no step that counts in its state", run);
    LT_FAIL(LT_ENOINPUT, "%s: no latents.h5, and step %lld of %lld is the newest that counts", run,
            (long long)out->place.step, (long long)out->place.steps);
}

typedef struct filling {
    const lt_film_shot *shot;
    int shots;
    lt_latents_writer *to;
    unsigned char **has; /* [shots x streams][units]: positions that were put */
} filling;

static int datasets(const filling *f) { return f->shots * f->shot[0].plan.stream_count; }

static int64_t units_of(const filling *f, int dataset)
{
    const int each = f->shot[0].plan.stream_count;
    return lt_stream_units(&f->shot[dataset / each].plan.stream[dataset % each]);
}

static lt_status begin(filling *f)
{
    f->has = calloc((size_t)datasets(f), sizeof *f->has);
    for (int i = 0; f->has != NULL && i < datasets(f); i++) {
        f->has[i] = calloc((size_t)units_of(f, i), 1);
        if (f->has[i] == NULL)
            break;
        if (i + 1 == datasets(f))
            return LT_OK;
    }
    LT_FAIL(LT_ENOMEM, "states: no memory for a list of positions");
}

static void end(filling *f)
{
    for (int i = 0; f->has != NULL && i < datasets(f); i++)
        free(f->has[i]);
    free(f->has);
}

/* Positions of an array, each for the first time. */
static lt_status note(filling *f, const char *path, const lt_state_array *a, int dataset,
                      lt_range range)
{
    unsigned char *has = f->has[dataset] + range.first;
    const unsigned char *again = memchr(has, 1, (size_t)range.count);
    if (again != NULL)
        LT_FAIL(LT_EDATA, "%s: %s: want positions that no other file has, found %lld again", path,
                a->name, (long long)(range.first + (again - has)));
    memset(has, 1, (size_t)range.count);
    return LT_OK;
}

/* One array, whose first block is in b already; the next array's first block, or the end's, is
 * there afterwards. Of what it holds the file's part of the clip is put (parts.h): the end of a
 * chunk of `extend` that the next one fades into is in that one's file. */
static lt_status put_array(filling *f, const char *path, lt_state_reader *reader,
                           const lt_parts *parts, lt_state_block *b)
{
    const int index = b->array;
    const lt_state_place *place = &lt_state_reader_head(reader)->place;
    const lt_state_array *a = lt_state_reader_array(reader, index);
    const lt_plan *plan = &f->shot[place->shot].plan;
    const lt_range has = {a->first, a->dim[a->axis]};
    int stream = 0;
    LT_TRY(lt_state_stream(path, a, plan, &stream));
    const int dataset = place->shot * plan->stream_count + stream;
    const lt_range range = lt_overlap(has, lt_parts_range(parts, place->chunk, stream));
    LT_TRY(note(f, path, a, dataset, range));
    const size_t bytes = (size_t)lt_state_elements(a) * sizeof(float);
    float *values = malloc(bytes), *part = malloc(bytes);
    lt_status st = LT_OK;
    if (values == NULL || part == NULL)
        LT_FAIL_GOTO(LT_ENOMEM, st, done, "%s: %s: no memory for %zu bytes", path, a->name, bytes);
    while (b->count > 0 && b->array == index) {
        memcpy(values + b->first, b->values, (size_t)b->count * sizeof *values);
        LT_TRY_GOTO(lt_state_reader_next(reader, b), st, done);
    }
    lt_stream_copy(&plan->stream[stream], range, values, has, part, range);
    if (range.count > 0)
        st = lt_latents_put(f->to, (size_t)dataset, range.first, range.count, part);
done:
    free(values);
    free(part);
    return st;
}

/* Is it one of the finished latents, not of a coarse pass before? */
static int is_final(const filling *f, const lt_state_head *head)
{
    const lt_state_place *p = &head->place;
    if (head->kind != LT_STATE_LATENTS || p->shot < 0 || p->shot >= f->shots)
        return 0;
    return p->pass == (f->shot[p->shot].plan.asked.mode == LT_MODE_REFINE);
}

static lt_status put_file(filling *f, const char *path)
{
    lt_state_reader *reader = NULL;
    lt_state_block b;
    lt_parts parts = {0};
    LT_TRY(lt_state_reader_open(path, &reader));
    const lt_state_head *head = lt_state_reader_head(reader);
    lt_status st = LT_OK;
    if (!is_final(f, head))
        goto done;
    LT_TRY_GOTO(lt_parts_new(&f->shot[head->place.shot].plan, &parts), st, done);
    if (head->place.chunk < 0 || head->place.chunk >= parts.count)
        LT_FAIL_GOTO(LT_EDATA, st, done, "%s: chunk: want 0 to %lld, found %lld", path,
                     (long long)parts.count - 1, (long long)head->place.chunk);
    LT_TRY_GOTO(lt_state_reader_next(reader, &b), st, done);
    while (b.count > 0)
        LT_TRY_GOTO(put_array(f, path, reader, &parts, &b), st, done);
done:
    lt_parts_free(&parts);
    lt_state_reader_close(&reader);
    return st;
}

static lt_status check_all(const filling *f, const char *run, const lt_commit *commit)
{
    const int each = f->shot[0].plan.stream_count;
    for (int i = 0; i < datasets(f); i++) {
        const unsigned char *gap = memchr(f->has[i], 0, (size_t)units_of(f, i));
        if (gap != NULL)
            LT_FAIL(LT_EDATA,
                    "%s/state: the files of step %lld: %s%s: want positions 0 to %lld, found none "
                    "at %lld",
                    run, (long long)commit->place.step, f->shot[i / each].group,
                    f->shot[i / each].plan.stream[i % each].name, (long long)units_of(f, i) - 1,
                    (long long)(gap - f->has[i]));
    }
    return LT_OK;
}

lt_status lt_state_latents(const char *run, const lt_commit *commit, const lt_film_shot *shot,
                           int shots, lt_latents_writer *to)
{
    filling f = {.shot = shot, .shots = shots, .to = to};
    char folder[LT_PATH_BYTES], path[LT_PATH_BYTES];
    lt_status st = LT_OK;
    LT_TRY(lt_path_join(folder, sizeof folder, run, "state"));
    LT_TRY_GOTO(begin(&f), st, done);
    for (int i = 0; i < commit->count; i++) {
        LT_TRY_GOTO(lt_path_join(path, sizeof path, folder, commit->file[i].name), st, done);
        LT_TRY_GOTO(put_file(&f, path), st, done);
    }
    LT_TRY_GOTO(check_all(&f, run, commit), st, done);
done:
    end(&f);
    return st;
}

/* chunks.c - what there is to decode of a film, in film order. */
#include "run/decode/chunks.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "run/denoise/parts.h"

int lt_audio_stream(const lt_plan *plan)
{
    for (int s = 0; s < plan->stream_count; s++)
        if (plan->stream[s].is_audio)
            return s;
    return -1;
}

static int64_t ticks_of(const lt_film_shot *shot)
{
    const int s = lt_audio_stream(&shot->plan);
    return s < 0 ? 0 : lt_stream_units(&shot->plan.stream[s]);
}

static int64_t audio_chunks(const lt_film_shot *shot)
{
    return (ticks_of(shot) + LT_AUDIO_CHUNK_TICKS - 1) / LT_AUDIO_CHUNK_TICKS;
}

lt_range lt_audio_chunk(const lt_film_shot *shot, int64_t chunk)
{
    const int64_t first = chunk * LT_AUDIO_CHUNK_TICKS, left = ticks_of(shot) - first;
    return (lt_range){first, left < LT_AUDIO_CHUNK_TICKS ? left : LT_AUDIO_CHUNK_TICKS};
}

int64_t lt_samples_until(const lt_plan *film, int64_t frames)
{
    const int64_t until =
        frames >= film->frames ? film->samples : frames * film->sample_rate / film->fps;
    return until < film->samples ? until : film->samples;
}

/* The first part by which positions up to `end` of a stream are final. */
static int64_t part_of(const lt_parts *parts, int stream, int64_t end)
{
    int64_t part = 0;
    for (; part + 1 < parts->count; part++) {
        const lt_range range = lt_parts_range(parts, part, stream);
        if (range.first + range.count >= end)
            break;
    }
    return part;
}

/* A shot on its way into the list. */
typedef struct filling {
    const lt_model *model;
    const lt_film_shot *shot;
    int number;
    lt_parts parts;
    int64_t audio; /* chunks so far */
    lt_film_chunks *out;
} filling;

static void add(filling *f, int is_audio, int64_t index, int64_t part)
{
    lt_film_chunks *out = f->out;
    const int64_t first = out->parts;
    lt_film_chunk *chunk = &out->list[out->count];
    *chunk = (lt_film_chunk){.is_audio = is_audio,
                             .shot = f->number,
                             .index = index,
                             .number = is_audio ? out->audio++ : out->video++,
                             .part = first + part};
    if (out->count > 0 && chunk[-1].part > chunk->part)
        chunk->part = chunk[-1].part;
    chunk->is_early = chunk->part < first + f->parts.count - 1;
    out->count++;
}

static void add_audio(filling *f)
{
    const int stream = lt_audio_stream(&f->shot->plan);
    const lt_range known = f->model->family->audio_context(f->model, ticks_of(f->shot),
                                                           lt_audio_chunk(f->shot, f->audio));
    add(f, 1, f->audio, part_of(&f->parts, stream, known.first + known.count));
    f->audio++;
}

/* Audio chunks that begin before this sample of the film; all of them before the last frames. */
static void add_audio_until(filling *f, int64_t sample, int is_last)
{
    const lt_family *family = f->model->family;
    while (f->audio < audio_chunks(f->shot)) {
        const int64_t first = lt_audio_chunk(f->shot, f->audio).first;
        if (!is_last && f->shot->first_sample + family->audio_samples(f->model, first) >= sample)
            return;
        add_audio(f);
    }
}

static void add_shot(filling *f, const lt_plan *film)
{
    const lt_family *family = f->model->family;
    const lt_shape *shape = &f->shot->plan.shape;
    const int64_t chunks = family->decode_chunks(f->model, shape);
    for (int64_t c = 0; c < chunks; c++) {
        const lt_decode_chunk d = family->decode_chunk(f->model, shape, c);
        const int64_t end = d.first_frame + d.frames;
        const int is_last = c + 1 == chunks || end >= f->shot->plan.frames;
        add_audio_until(f, lt_samples_until(film, f->shot->first_frame + end), is_last);
        add(f, 0, c, part_of(&f->parts, 0, d.first_latent + d.latents));
    }
}

/* The film whose shots these are, as far as its samples go. */
static lt_plan film_of(const lt_film_shot *shot, int shots)
{
    lt_plan film = shot[shots - 1].plan;
    film.frames += shot[shots - 1].first_frame;
    film.samples += shot[shots - 1].first_sample;
    return film;
}

/* Every audio chunk before the first frame, and none final before all are: the sound is measured
 * whole. */
static void audio_first(lt_film_chunks *list)
{
    lt_film_chunk *sorted = list->list + list->count; /* as much room again */
    int64_t n = 0;
    for (int is_audio = 1; is_audio >= 0; is_audio--)
        for (int64_t i = 0; i < list->count; i++)
            if (list->list[i].is_audio == is_audio) {
                sorted[n] = list->list[i];
                sorted[n].is_early = 0;
                sorted[n++].part = list->parts - 1;
            }
    memcpy(list->list, sorted, (size_t)list->count * sizeof *sorted);
}

lt_status lt_film_chunks_new(const lt_model *model, const lt_film_shot *shot, int shots,
                             lt_film_chunks *out)
{
    const lt_plan film = film_of(shot, shots);
    int64_t most = 0;
    *out = (lt_film_chunks){0};
    for (int i = 0; i < shots; i++)
        most += model->family->decode_chunks(model, &shot[i].plan.shape) + audio_chunks(&shot[i]);
    out->list = calloc(2 * (size_t)most, sizeof *out->list);
    if (out->list == NULL)
        LT_FAIL(LT_ENOMEM, "decode: no memory for a list of %lld chunks", (long long)most);
    for (int i = 0; i < shots; i++) {
        filling f = {.model = model, .shot = &shot[i], .number = i, .out = out};
        const lt_status st = lt_parts_new(&shot[i].plan, &f.parts);
        if (st == LT_OK)
            add_shot(&f, &film);
        else
            lt_film_chunks_free(out);
        out->parts += f.parts.count;
        lt_parts_free(&f.parts);
        LT_TRY(st);
    }
    assert(out->count == most);
    if (fabs(film.loudness) > 0)
        audio_first(out);
    return LT_OK;
}

void lt_film_chunks_free(lt_film_chunks *chunks)
{
    free(chunks->list);
    *chunks = (lt_film_chunks){0};
}

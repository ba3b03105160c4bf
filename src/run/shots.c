/* shots.c - a storyboard: from the job's list to shots. */
#include "run/shots.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/philox.h"
#include "base/text.h"

enum { FRAMES_MAX = 24 * 3600 }; /* of an entry, and of all: an hour (plan.h) */

void lt_storyboard_free(lt_storyboard *board)
{
    for (int i = 0; i < board->entries; i++)
        free(board->entry[i].prompt);
    free(board->entry);
    free(board->shot);
    *board = (lt_storyboard){0};
}

/* ---- the job's list ---- */

/* The entry at hand. */
typedef struct entry_at {
    const json_t *value;
    const char *where; /* of the list */
    int number;        /* from 1 */
} entry_at;

/* What stands there, short. */
static const char *found(const json_t *value, char *out, size_t bytes)
{
    char *text = value != NULL ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    (void)snprintf(out, bytes, "%.60s", value == NULL ? "none" : text != NULL ? text : "?");
    free(text);
    return out;
}

#define REFUSE(e, field, ...) return refuse((e), (field), __LINE__, __VA_ARGS__)

static lt_status refuse(const entry_at *e, const char *field, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* "job.yaml:3: shots: entry 2: FIELD: ..., found X". */
static lt_status refuse(const entry_at *e, const char *field, int line, const char *format, ...)
{
    char text[256], there[80];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const json_t *value = field != NULL ? json_object_get(e->value, field) : e->value;
    return lt_fail(LT_EUSAGE, __FILE__, line, "%s: entry %d: %s%s%s, found %s", e->where, e->number,
                   field != NULL ? field : "", field != NULL ? ": " : "", text,
                   found(value, there, sizeof there));
}

static lt_status check_fields(const entry_at *e)
{
    static const char *const fields[] = {"seconds", "frames", "prompt", "seed", "transition"};
    const char *key;
    json_t *value;
    if (!json_is_object(e->value))
        REFUSE(e, NULL, "want {seconds or frames, prompt, seed, transition}");
    json_object_foreach ((json_t *)(uintptr_t)e->value, key, value) {
        size_t i = 0;
        while (i < sizeof fields / sizeof *fields && strcmp(fields[i], key) != 0)
            i++;
        if (i == sizeof fields / sizeof *fields)
            LT_FAIL(LT_EUSAGE,
                    "%s: entry %d: %.60s: want seconds, frames, prompt, seed or transition, found "
                    "another field",
                    e->where, e->number, key);
    }
    return LT_OK;
}

static lt_status read_length(const entry_at *e, int fps, lt_board_entry *out)
{
    const json_t *frames = json_object_get(e->value, "frames");
    const json_t *seconds = json_object_get(e->value, "seconds");
    if (frames != NULL && seconds != NULL)
        REFUSE(e, "frames", "want no frames beside seconds");
    if (frames == NULL && seconds == NULL)
        REFUSE(e, "seconds", "want seconds or frames");
    if (frames != NULL) {
        out->frames = json_integer_value(frames);
        if (!json_is_integer(frames) || out->frames < 1 || out->frames > FRAMES_MAX)
            REFUSE(e, "frames", "want an integer from 1 to %d", FRAMES_MAX);
        return LT_OK;
    }
    const double s = json_number_value(seconds);
    if (!json_is_number(seconds) || !(s > 0) || !(s <= 3600))
        REFUSE(e, "seconds", "want a number above 0, up to 3600");
    out->frames = llround(s * fps);
    if (out->frames < 1 || out->frames > FRAMES_MAX)
        REFUSE(e, "seconds", "want 1 to %d frames of %d a second", FRAMES_MAX, fps);
    return LT_OK;
}

static lt_status read_prompt(const entry_at *e, lt_board_entry *out)
{
    const char *text = json_string_value(json_object_get(e->value, "prompt"));
    if (text == NULL || lt_text_is_blank(text))
        REFUSE(e, "prompt", "want some text");
    out->prompt = strdup(text);
    if (out->prompt == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory", e->where);
    return LT_OK;
}

/* An integer, or past 2^63 - 1, where YAML's end, its digits as a text. */
static lt_status read_seed(const entry_at *e, lt_board_entry *out)
{
    const json_t *value = json_object_get(e->value, "seed");
    const char *text = json_string_value(value);
    char *end = NULL;
    if (value == NULL)
        return LT_OK;
    if (out->blends) {
        lt_hint("what blends goes on in one shot, which has its first entry's seed");
        REFUSE(e, "seed", "want none in an entry that blends");
    }
    errno = 0;
    out->has_seed = 1;
    out->seed = text != NULL ? strtoull(text, &end, 10) : (uint64_t)json_integer_value(value);
    const int is_number =
        text != NULL ? text[0] != '\0' && errno == 0 && text[strspn(text, "0123456789")] == '\0'
                     : json_is_integer(value) && json_integer_value(value) >= 0;
    if (!is_number) {
        if (text != NULL && strcmp(text, "random") == 0)
            lt_hint("`seed: random` outside of shots draws one for all of them");
        REFUSE(e, "seed", "want an integer from 0 to 2^64 - 1");
    }
    return LT_OK;
}

static lt_status read_transition(const entry_at *e, lt_board_entry *out)
{
    const json_t *value = json_object_get(e->value, "transition");
    const char *text = json_string_value(value);
    out->blends = text != NULL && strcmp(text, "blend") == 0;
    if (value != NULL && !out->blends && (text == NULL || strcmp(text, "cut") != 0))
        REFUSE(e, "transition", "want cut or blend");
    if (out->blends && e->number == 1)
        REFUSE(e, "transition", "want none or cut: no entry is before it");
    return LT_OK;
}

lt_status lt_storyboard_read(const json_t *list, const char *where, int fps, lt_storyboard *out)
{
    const size_t count = json_array_size(list);
    size_t bytes = 0;
    int64_t frames = 0;
    *out = (lt_storyboard){0};
    if (count < 1 || count > LT_SHOTS_MAX)
        LT_FAIL(LT_EUSAGE, "%s: want 1 to %d entries, found %zu", where, LT_SHOTS_MAX, count);
    out->entry = calloc(count, sizeof *out->entry);
    if (out->entry == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for %zu entries", where, count);
    for (size_t i = 0; i < count; i++) {
        const entry_at e = {json_array_get(list, i), where, (int)i + 1};
        lt_board_entry *entry = &out->entry[i];
        out->entries = (int)i + 1;
        LT_TRY(check_fields(&e));
        LT_TRY(read_transition(&e, entry));
        LT_TRY(read_length(&e, fps, entry));
        LT_TRY(read_prompt(&e, entry));
        LT_TRY(read_seed(&e, entry));
        frames += entry->frames;
        bytes += strlen(entry->prompt) + 1;
        if (frames > FRAMES_MAX)
            LT_FAIL(LT_EUSAGE, "%s: entry %d: frames: want at most %d of all entries, found %lld",
                    where, e.number, FRAMES_MAX, (long long)frames);
        if (bytes > LT_SHOTS_PROMPT_BYTES_MAX)
            LT_FAIL(LT_EUSAGE,
                    "%s: entry %d: prompt: want at most %d bytes of all entries, found %zu", where,
                    e.number, LT_SHOTS_PROMPT_BYTES_MAX, bytes);
    }
    return LT_OK;
}

/* ---- shots ---- */

int64_t lt_samples_of(int64_t frames, int sample_rate, int fps)
{
    return (frames * sample_rate * 2 + fps) / (2 * fps);
}

lt_status lt_storyboard_place(lt_storyboard *board, const lt_grid *grid, int fps, int sample_rate,
                              uint64_t seed)
{
    lt_shot_entry entry[LT_SHOTS_MAX];
    lt_shot shot[LT_SHOTS_MAX];
    assert(board->entries >= 1 && board->entries <= LT_SHOTS_MAX && board->shot == NULL);
    for (int i = 0; i < board->entries; i++)
        entry[i] = (lt_shot_entry){board->entry[i].frames, board->entry[i].blends};
    board->shots = lt_shots_place(grid, entry, board->entries, shot);
    board->shot = calloc((size_t)board->shots, sizeof *board->shot);
    if (board->shot == NULL)
        LT_FAIL(LT_ENOMEM, "shots: no memory for %d", board->shots);
    for (int i = 0; i < board->shots; i++) {
        const lt_board_entry *first = &board->entry[shot[i].first_entry];
        const int64_t begin = lt_samples_of(shot[i].first_frame, sample_rate, fps);
        const int64_t end = lt_samples_of(shot[i].first_frame + shot[i].frames, sample_rate, fps);
        board->shot[i] =
            (lt_board_shot){.frames = {shot[i].first_frame, shot[i].frames},
                            .samples = {begin, end - begin},
                            .grid_frames = lt_grid_frames(grid, shot[i].latents),
                            .seed = first->has_seed ? first->seed : lt_shot_seed(seed, (uint64_t)i),
                            .first_entry = shot[i].first_entry,
                            .entries = shot[i].entries};
    }
    return LT_OK;
}

/* Where the shots stand in the film follows from their lengths. */
static void place_again(lt_storyboard *board, int fps, int sample_rate)
{
    int64_t at = 0;
    for (int i = 0; i < board->shots; i++) {
        lt_board_shot *s = &board->shot[i];
        s->frames.first = at;
        at += s->frames.count;
        s->samples.first = lt_samples_of(s->frames.first, sample_rate, fps);
        s->samples.count = lt_samples_of(at, sample_rate, fps) - s->samples.first;
    }
}

void lt_storyboard_keep(lt_storyboard *board, int i, int fps, int sample_rate)
{
    assert(i >= 0 && i < board->shots);
    lt_board_shot kept = board->shot[i];
    for (int k = 0; k < board->entries; k++)
        if (k < kept.first_entry || k >= kept.first_entry + kept.entries)
            free(board->entry[k].prompt);
    memmove(board->entry, board->entry + kept.first_entry,
            (size_t)kept.entries * sizeof *board->entry);
    board->entry[0].has_seed = 1;
    board->entry[0].seed = kept.seed;
    board->entries = kept.entries;
    kept.first_entry = 0;
    board->shot[0] = kept;
    board->shots = 1;
    place_again(board, fps, sample_rate);
}

static lt_status check_room(const lt_storyboard *board, const lt_storyboard *other)
{
    const lt_storyboard *both[] = {board, other};
    const int64_t frames = lt_storyboard_frames(board) + lt_storyboard_frames(other);
    size_t bytes = 0;
    if (board->entries + other->entries > LT_SHOTS_MAX)
        LT_FAIL(LT_EUSAGE, "shots: want at most %d entries, found %d", LT_SHOTS_MAX,
                board->entries + other->entries);
    if (frames > FRAMES_MAX)
        LT_FAIL(LT_EUSAGE, "shots: frames: want at most %d of all entries, found %lld", FRAMES_MAX,
                (long long)frames);
    for (int b = 0; b < 2; b++)
        for (int i = 0; i < both[b]->entries; i++)
            bytes += strlen(both[b]->entry[i].prompt) + 1;
    if (bytes > LT_SHOTS_PROMPT_BYTES_MAX)
        LT_FAIL(LT_EUSAGE, "shots: prompt: want at most %d bytes of all entries, found %zu",
                LT_SHOTS_PROMPT_BYTES_MAX, bytes);
    return LT_OK;
}

lt_status lt_storyboard_append(lt_storyboard *board, const lt_storyboard *other, int fps,
                               int sample_rate)
{
    LT_TRY(check_room(board, other));
    const int before = board->entries;
    lt_board_entry *entry =
        realloc(board->entry, (size_t)(before + other->entries) * sizeof *entry);
    if (entry != NULL)
        board->entry = entry;
    lt_board_shot *shot =
        realloc(board->shot, (size_t)(board->shots + other->shots) * sizeof *shot);
    if (shot != NULL)
        board->shot = shot;
    if (entry == NULL || shot == NULL)
        LT_FAIL(LT_ENOMEM, "shots: no memory for %d more", other->shots);
    for (int i = 0; i < other->entries; i++) {
        lt_board_entry copy = other->entry[i];
        copy.prompt = strdup(copy.prompt);
        if (copy.prompt == NULL) {
            while (board->entries > before)
                free(board->entry[--board->entries].prompt);
            LT_FAIL(LT_ENOMEM, "shots: no memory for a prompt");
        }
        board->entry[board->entries++] = copy;
    }
    for (int i = 0; i < other->shots; i++) {
        lt_board_shot copy = other->shot[i];
        copy.first_entry += before;
        board->entry[copy.first_entry].has_seed = 1;
        board->entry[copy.first_entry].seed = copy.seed;
        board->shot[board->shots++] = copy;
    }
    place_again(board, fps, sample_rate);
    return LT_OK;
}

int64_t lt_storyboard_frames(const lt_storyboard *board)
{
    int64_t frames = 0;
    for (int i = 0; i < board->entries; i++)
        frames += board->entry[i].frames;
    return frames;
}

int64_t lt_storyboard_longest(const lt_storyboard *board)
{
    int64_t most = 0;
    for (int i = 0; i < board->shots; i++)
        most = board->shot[i].grid_frames > most ? board->shot[i].grid_frames : most;
    return most;
}

char *lt_storyboard_prompts(const lt_storyboard *board)
{
    size_t bytes = 1, used = 0;
    for (int i = 0; i < board->entries; i++)
        bytes += strlen(board->entry[i].prompt) + sizeof " | ";
    char *text = malloc(bytes);
    for (int i = 0; text != NULL && i < board->entries; i++)
        used += (size_t)snprintf(text + used, bytes - used, "%s%s", i > 0 ? " | " : "",
                                 board->entry[i].prompt);
    return text;
}

/* ---- plan.json ---- */

json_t *lt_storyboard_json(const lt_storyboard *board)
{
    if (board->shots == 0)
        return NULL;
    json_t *list = json_array();
    for (int i = 0; i < board->shots; i++) {
        const lt_board_shot *s = &board->shot[i];
        int64_t at = s->frames.first;
        json_t *prompts = json_array();
        for (int k = s->first_entry; k < s->first_entry + s->entries; k++) {
            const lt_board_entry *e = &board->entry[k];
            (void)json_array_append_new(
                prompts, json_pack("{s:I, s:I, s:s}", "first_frame", (json_int_t)at, "frames",
                                   (json_int_t)e->frames, "prompt", e->prompt));
            at += e->frames;
        }
        (void)json_array_append_new(
            list,
            json_pack("{s:I, s:I, s:I, s:I, s:I, s:o, s:s, s:o}", "first_frame",
                      (json_int_t)s->frames.first, "frames", (json_int_t)s->frames.count,
                      "grid_frames", (json_int_t)s->grid_frames, "first_sample",
                      (json_int_t)s->samples.first, "samples", (json_int_t)s->samples.count, "seed",
                      lt_json_of_u64(s->seed), "mode", lt_mode_names[s->mode], "prompts", prompts));
    }
    return list;
}

static lt_status parse_mode(const lt_json_at *at, lt_mode *out)
{
    const char *word = NULL;
    LT_TRY(lt_json_string(at, "mode", &word));
    for (int i = 0; i < LT_MODES; i++)
        if (strcmp(lt_mode_names[i], word) == 0) {
            *out = (lt_mode)i;
            return LT_OK;
        }
    LT_FAIL(LT_EDATA, "%s: %s.mode: want single, windows, extend or refine, found '%.20s'",
            at->source, at->path, word);
}

/* An entry: the next prompt of shot s, whose entries so far have `*frames`. */
static lt_status parse_prompt(const lt_json_at *at, lt_storyboard *board, const lt_board_shot *s,
                              int64_t *frames, size_t *bytes)
{
    const char *text = NULL;
    int64_t first = 0;
    if (board->entries == LT_SHOTS_MAX)
        LT_FAIL(LT_EDATA, "%s: %s: want at most %d prompts", at->source, at->path, LT_SHOTS_MAX);
    lt_board_entry *e = &board->entry[board->entries];
    LT_TRY(lt_json_int(at, "first_frame", s->frames.first + *frames, s->frames.first + *frames,
                       &first));
    LT_TRY(lt_json_int(at, "frames", 1, s->frames.count - *frames, &e->frames));
    LT_TRY(lt_json_string(at, "prompt", &text));
    *frames += e->frames;
    *bytes += strlen(text) + 1;
    if (*bytes > LT_SHOTS_PROMPT_BYTES_MAX)
        LT_FAIL(LT_EDATA, "%s: %s.prompt: want at most %d bytes of all prompts, found %zu",
                at->source, at->path, LT_SHOTS_PROMPT_BYTES_MAX, *bytes);
    e->blends = s->entries > 0;
    e->prompt = strdup(text);
    if (e->prompt == NULL)
        LT_FAIL(LT_ENOMEM, "%s: %s: no memory", at->source, at->path);
    board->entries++;
    return LT_OK;
}

static lt_status parse_shot(const lt_json_at *at, lt_storyboard *board, int64_t *end, size_t *bytes)
{
    lt_board_shot *s = &board->shot[board->shots++];
    lt_json_at prompts, one;
    int64_t frames = 0;
    LT_TRY(lt_json_int(at, "first_frame", *end, *end, &s->frames.first));
    LT_TRY(lt_json_int(at, "frames", 1, FRAMES_MAX - *end, &s->frames.count));
    LT_TRY(lt_json_int(at, "grid_frames", 1, 2 * FRAMES_MAX, &s->grid_frames));
    LT_TRY(lt_json_int(at, "first_sample", 0, INT64_MAX / 2, &s->samples.first));
    LT_TRY(lt_json_int(at, "samples", 0, INT64_MAX / 2, &s->samples.count));
    LT_TRY(lt_json_u64(at, "seed", &s->seed));
    LT_TRY(parse_mode(at, &s->mode));
    LT_TRY(lt_json_member(at, "prompts", &prompts));
    const size_t count = json_array_size(prompts.value);
    if (count == 0)
        LT_FAIL(LT_EDATA, "%s: %s: want a list of one prompt or more", at->source, prompts.path);
    s->first_entry = board->entries;
    for (size_t i = 0; i < count; i++) {
        LT_TRY(lt_json_element(&prompts, i, &one));
        LT_TRY(parse_prompt(&one, board, s, &frames, bytes));
        s->entries++;
    }
    if (frames != s->frames.count)
        LT_FAIL(LT_EDATA, "%s: %s: want prompts of %lld frames, found %lld", at->source, at->path,
                (long long)s->frames.count, (long long)frames);
    board->entry[s->first_entry].has_seed = 1;
    board->entry[s->first_entry].seed = s->seed;
    *end += s->frames.count;
    return LT_OK;
}

lt_status lt_storyboard_parse(const lt_json_at *root, lt_storyboard *out)
{
    lt_json_at list, one;
    int64_t end = 0, frames = 0;
    size_t bytes = 0;
    *out = (lt_storyboard){0};
    if (!lt_json_has(root, "shots"))
        return LT_OK;
    LT_TRY(lt_json_member(root, "shots", &list));
    const size_t count = json_array_size(list.value);
    if (count < 1 || count > LT_SHOTS_MAX)
        LT_FAIL(LT_EDATA, "%s: %s: want a list of 1 to %d, found %zu", root->source, list.path,
                LT_SHOTS_MAX, count);
    out->entry = calloc(LT_SHOTS_MAX, sizeof *out->entry);
    out->shot = calloc(count, sizeof *out->shot);
    if (out->entry == NULL || out->shot == NULL)
        LT_FAIL(LT_ENOMEM, "%s: %s: no memory for %zu", root->source, list.path, count);
    for (size_t i = 0; i < count; i++) {
        LT_TRY(lt_json_element(&list, i, &one));
        LT_TRY(parse_shot(&one, out, &end, &bytes));
    }
    LT_TRY(lt_json_int(root, "frames", 1, FRAMES_MAX, &frames));
    if (frames != end)
        LT_FAIL(LT_EDATA, "%s: %s: want shots of %lld frames, found %lld", root->source, list.path,
                (long long)frames, (long long)end);
    return LT_OK;
}

lt_status lt_storyboard_check(const lt_storyboard *board, const lt_grid *grid, int fps,
                              int sample_rate, lt_mode film, const char *source)
{
    lt_storyboard made = {.entries = board->entries, .entry = board->entry};
    if (board->shots == 0)
        return LT_OK;
    lt_status st = lt_storyboard_place(&made, grid, fps, sample_rate, 0);
    if (st == LT_OK &&
        made.shots != board->shots) /* an entry that does not blend is a shot's first */
        st = lt_fail(LT_EINTERNAL, __FILE__, __LINE__, "%s: shots do not come back", source);
    for (int i = 0; i < board->shots && st == LT_OK; i++) {
        const lt_board_shot *want = &made.shot[i], *is = &board->shot[i];
        if (is->grid_frames != want->grid_frames)
            st = lt_fail(LT_EDATA, __FILE__, __LINE__,
                         "%s: plan: shots[%d].grid_frames: want %lld for %lld frames, found %lld",
                         source, i, (long long)want->grid_frames, (long long)is->frames.count,
                         (long long)is->grid_frames);
        else if (is->mode != film && !(is->mode == LT_MODE_SINGLE && film == LT_MODE_WINDOWS))
            st = lt_fail(LT_EDATA, __FILE__, __LINE__,
                         "%s: plan: shots[%d].mode: want the film's, %s, found %s", source, i,
                         lt_mode_names[film], lt_mode_names[is->mode]);
        else if (is->samples.first != want->samples.first ||
                 is->samples.count != want->samples.count)
            st = lt_fail(LT_EDATA, __FILE__, __LINE__,
                         "%s: plan: shots[%d].samples: want %lld from %lld on, found %lld from "
                         "%lld on",
                         source, i, (long long)want->samples.count, (long long)want->samples.first,
                         (long long)is->samples.count, (long long)is->samples.first);
    }
    free(made.shot);
    return st;
}

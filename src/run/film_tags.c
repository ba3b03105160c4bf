/* film_tags.c - what a film's file says of how it was made. */
#include "run/film_tags.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "run/versions.h"

enum { TITLE_CHARACTERS = 80 };

/* The prompt on one line: runs of blanks and of what no terminal should see become one space. */
static lt_status make_title(const char *prompt, char **out)
{
    size_t left = strlen(prompt), used = 0, word = 0;
    char *title = malloc(left + sizeof "…");
    if (title == NULL)
        LT_FAIL(LT_ENOMEM, "film: no memory for its title");
    int characters = 0;
    while (left > 0 && characters < TITLE_CHARACTERS) {
        uint32_t code = 0;
        const size_t n = lt_utf8_next(prompt, left, &code), taken = n > 0 ? n : 1;
        if (n == 0 || code == ' ' || !lt_text_is_safe(code)) {
            if (used > 0 && title[used - 1] != ' ') {
                word = used;
                title[used++] = ' ';
                characters++;
            }
        } else {
            memcpy(title + used, prompt, n);
            used += n;
            characters++;
        }
        prompt += taken;
        left -= taken;
    }
    const int cut = left > 0;
    if (cut && word > 0 && *prompt != ' ') /* the last word may be half of one */
        used = word;
    while (used > 0 && title[used - 1] == ' ')
        used--;
    (void)snprintf(title + used, sizeof "…", "%s", cut ? "…" : "");
    *out = title;
    return LT_OK;
}

/* Bytes of text up to most, whole characters only. */
static size_t cut_at(const char *text, size_t most)
{
    size_t bytes = strlen(text);
    if (bytes <= most)
        return bytes;
    bytes = most;
    while (bytes > 0 && ((unsigned char)text[bytes] & 0xc0) == 0x80)
        bytes--;
    return bytes;
}

static const char *model_name(const char *path, size_t *bytes)
{
    size_t end = strlen(path), from;
    while (end > 1 && path[end - 1] == '/')
        end--;
    for (from = end; from > 0 && path[from - 1] != '/'; from--)
        continue;
    *bytes = end - from;
    return path + from;
}

static lt_status make_comment(const lt_plan *plan, char **out)
{
    char size[48];
    size_t model_bytes = 0;
    const char *model = model_name(plan->model, &model_bytes);
    const size_t bytes = strlen(plan->prompt), kept = cut_at(plan->prompt, LT_TAG_PROMPT_BYTES);
    (void)snprintf(size, sizeof size, "%lldx%lld", (long long)plan->shape.width,
                   (long long)plan->shape.height);
    char *folder = strndup(model, model_bytes);
    json_t *named = folder != NULL ? lt_json_of_path(folder) : NULL;
    free(folder);
    json_t *facts =
        json_pack("{s:s%, s:I, s:o, s:i, s:s, s:I, s:s}", "prompt", plan->prompt, kept, "seed",
                  (json_int_t)plan->seed, "model", named, "steps", plan->steps, "size", size,
                  "frames", (json_int_t)plan->frames, "software", lt_version_software());
    if (facts != NULL && kept < bytes)
        (void)json_object_set_new(facts, "prompt_bytes", json_integer((json_int_t)bytes));
    *out = facts != NULL ? lt_json_text(facts, JSON_COMPACT) : NULL;
    json_decref(facts);
    if (*out == NULL)
        LT_FAIL(LT_ENOMEM, "film: no memory for its tags (or the prompt is not UTF-8)");
    return LT_OK;
}

lt_status lt_film_tags_make(const lt_plan *plan, lt_film_tags *out)
{
    *out = (lt_film_tags){NULL, NULL};
    LT_TRY(make_title(plan->prompt, &out->title));
    LT_TRY(make_comment(plan, &out->comment));
    return LT_OK;
}

void lt_film_tags_free(lt_film_tags *tags)
{
    free(tags->title);
    free(tags->comment);
    *tags = (lt_film_tags){NULL, NULL};
}

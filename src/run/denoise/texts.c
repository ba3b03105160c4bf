/* texts.c - the prompts of a shot, and the text rows that a window sees. */
#include "run/denoise/texts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

lt_text_at lt_texts_at(const lt_texts *texts, lt_range frames)
{
    int64_t start[LT_TEXTS_MAX];
    assert(texts->count <= LT_TEXTS_MAX);
    if (texts->count <= 1)
        return (lt_text_at){0, 0.0};
    for (int i = 0; i < texts->count; i++)
        start[i] = texts->text[i].start;
    return lt_text_of(start, texts->count, texts->fade, frames);
}

/* The one that gives a mixture its number of rows. */
static const lt_text *heavier(const lt_texts *texts, lt_text_at at)
{
    assert(at.first >= 0 && at.first + (at.weight > 0) < texts->count);
    return &texts->text[at.first + (at.weight >= 0.5)];
}

int64_t lt_texts_count(const lt_texts *texts, lt_text_at at)
{
    return texts->count > 0 ? heavier(texts, at)->count : 0;
}

lt_status lt_texts_rows(const lt_texts *texts, lt_text_at at, int64_t width, const float **rows,
                        float **made)
{
    *made = NULL;
    *rows = NULL;
    if (texts->count == 0)
        return LT_OK;
    const lt_text *most = heavier(texts, at);
    *rows = most->rows;
    if (at.weight <= 0 || most->rows == NULL)
        return LT_OK;
    const lt_text *a = &texts->text[at.first], *b = a + 1;
    const int64_t shared = (a->count < b->count ? a->count : b->count) * width;
    const float w = (float)at.weight, rest = 1.0f - w;
    float *out = malloc((size_t)(most->count * width) * sizeof *out + 1);
    if (out == NULL)
        LT_FAIL(LT_ENOMEM, "text: no memory for %lld rows", (long long)most->count);
    for (int64_t i = 0; i < shared; i++) {
        const float x = rest * a->rows[i];
        const float y = w * b->rows[i];
        out[i] = x + y;
    }
    if (most->count * width > shared)
        memcpy(out + shared, most->rows + shared,
               (size_t)(most->count * width - shared) * sizeof *out);
    *made = out;
    *rows = out;
    return LT_OK;
}

/* preview_map.c - the colours of a latent, roughly, without a decoder. */
#include "model/preview_map.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

void lt_preview_map_free(lt_preview_map **map)
{
    if (*map != NULL)
        free((*map)->row);
    free(*map);
    *map = NULL;
}

int64_t lt_preview_terms(int64_t channels, int degree)
{
    return channels + (degree == 2 ? channels * (channels + 1) / 2 : 0) + 1;
}

void lt_preview_terms_of(const float *values, int64_t stride, int64_t channels, int degree,
                         float *terms)
{
    for (int64_t c = 0; c < channels; c++)
        *terms++ = values[c * stride];
    for (int64_t c = 0; degree == 2 && c < channels; c++)
        for (int64_t k = c; k < channels; k++)
            *terms++ = values[c * stride] * values[k * stride];
    *terms = 1;
}

static lt_status read_row(const lt_json_at *rows, size_t i, size_t values, float *out)
{
    lt_json_at row;
    LT_TRY(lt_json_element(rows, i, &row));
    if (!json_is_array(row.value) || json_array_size(row.value) != values)
        LT_FAIL(LT_EDATA, "%s: %s: want a list of %zu numbers, found %zu", row.source, row.path,
                values, json_array_size(row.value));
    for (size_t k = 0; k < values; k++) {
        const json_t *value = json_array_get(row.value, k);
        out[k] = (float)json_number_value(value);
        if (!json_is_number(value) || !isfinite(out[k]))
            LT_FAIL(LT_EDATA, "%s: %s[%zu]: want a number", row.source, row.path, k);
    }
    return LT_OK;
}

lt_status lt_preview_map_read(const lt_json_at *at, lt_preview_map **out)
{
    int64_t scale = 0, channels = 0, degree = 1;
    lt_json_at rows;
    *out = NULL;
    LT_TRY(lt_json_int(at, "scale", 1, LT_PREVIEW_SCALE_MAX, &scale));
    LT_TRY(lt_json_int(at, "channels", 1, LT_PREVIEW_CHANNELS_MAX, &channels));
    if (lt_json_has(at, "degree"))
        LT_TRY(lt_json_int(at, "degree", 1, 2, &degree));
    LT_TRY(lt_json_member(at, "rows", &rows));
    const int64_t terms = lt_preview_terms(channels, (int)degree);
    if (terms > LT_PREVIEW_TERMS_MAX)
        LT_FAIL(LT_EDATA, "%s: %s: degree 2 of %lld channels: want at most %d weights a row",
                at->source, at->path, (long long)channels, LT_PREVIEW_TERMS_MAX);
    const size_t count = 3 * (size_t)(scale * scale), values = (size_t)terms;
    if (!json_is_array(rows.value) || json_array_size(rows.value) != count)
        LT_FAIL(LT_EDATA, "%s: %s: want a list of %zu rows, found %zu", rows.source, rows.path,
                count, json_array_size(rows.value));
    lt_preview_map *map = *out = calloc(1, sizeof *map);
    if (map != NULL)
        *map = (lt_preview_map){(int)scale, (int)degree, channels,
                                calloc(count * values, sizeof *map->row)};
    if (map == NULL || map->row == NULL)
        LT_FAIL(LT_ENOMEM, "%s: %s: no memory", rows.source, rows.path);
    for (size_t i = 0; i < count; i++)
        LT_TRY(read_row(&rows, i, values, map->row + i * values));
    return LT_OK;
}

void lt_preview_map_apply(const lt_preview_map *map, const float *latent, int64_t h, int64_t w,
                          float *rgb)
{
    const int64_t scale = map->scale, wide = scale * w, plane = scale * h * wide;
    const int64_t count = lt_preview_terms(map->channels, map->degree);
    float terms[LT_PREVIEW_TERMS_MAX];
    assert(count <= LT_PREVIEW_TERMS_MAX);
    for (int64_t cell = 0; cell < h * w; cell++) {
        const float *row = map->row;
        lt_preview_terms_of(latent + cell, h * w, map->channels, map->degree, terms);
        for (int64_t i = 0; i < 3 * scale * scale; i++, row += count) {
            const int64_t y = cell / w * scale + i / 3 / scale,
                          x = cell % w * scale + i / 3 % scale;
            float sum = 0;
            for (int64_t c = 0; c < count; c++)
                sum += row[c] * terms[c];
            rgb[i % 3 * plane + y * wide + x] = sum;
        }
    }
}

/* contact_sheet.c - frames made small, a waveform, libpng.
 * Area averaging: an output pixel is the mean of the input area that it covers, edge pixels
 * counted by their share; done in one pass over rows in f32, so that no detail aliases. Values are
 * averaged as they are (BT.709-coded), as players' thumbnails do. */
#include "media/contact_sheet.h"

#include <assert.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/new_file.h"

enum {
    SHEET_WIDTH = 1440,
    GAP = 4,    /* pixels between cells and around them */
    STRIP = 64, /* height of a channel's waveform */
    SIDE_MAX = 64,
    AUDIO_BLOCK = 1 << 14,
    GREY_BACK = 24,
    GREY_STRIP = 40
};
static const uint8_t WAVE_COLOUR[3] = {120, 200, 255};

struct lt_contact_sheet {
    int64_t frames, frame_width, frame_height;
    int columns, rows;
    int64_t shown; /* cells that a frame belongs to */
    int64_t cell_width, cell_height, width, height, strips_y;
    int strips; /* channels drawn */
    uint8_t *pixels;
    float *row; /* one cell's row of sums, 3 planes */
};

static int64_t strips_height(int channels) { return channels * (STRIP + GAP); }

static void sizes(lt_contact_sheet *s, int64_t width, int64_t height, int columns, int rows)
{
    s->frame_width = width;
    s->frame_height = height;
    s->columns = columns;
    s->rows = rows;
    const int64_t room = (SHEET_WIDTH - GAP) / columns - GAP;
    s->cell_width = room < 8 ? 8 : room;
    if (s->cell_width > width) /* small frames are shown as they are */
        s->cell_width = width;
    s->cell_height = (height * s->cell_width + width / 2) / width;
    s->cell_height = s->cell_height < 1 ? 1 : s->cell_height > height ? height : s->cell_height;
    s->width = GAP + columns * (s->cell_width + GAP);
    s->strips_y = GAP + rows * (s->cell_height + GAP);
    s->height = s->strips_y + strips_height(2);
}

size_t lt_contact_sheet_memory_bytes(int64_t width, int64_t height, int columns, int rows)
{
    lt_contact_sheet s = {0};
    const size_t zlib = 1 << 20; /* deflate's window and tables, libpng's rows */
    sizes(&s, width, height, columns, rows);
    return 2 * (size_t)(s.width * s.height * 3) + zlib; /* the pixels, and as much for the file */
}

lt_status lt_contact_sheet_new(int64_t frames, int64_t width, int64_t height, int columns, int rows,
                               lt_contact_sheet **out)
{
    *out = NULL;
    if (frames < 1 || width < 1 || height < 1 || width > 65536 || height > 65536 || columns < 1 ||
        rows < 1 || columns > SIDE_MAX || rows > SIDE_MAX)
        LT_FAIL(LT_ESHAPE, "contact sheet: %lld frames of %lldx%lld in %d x %d cells",
                (long long)frames, (long long)width, (long long)height, columns, rows);
    lt_contact_sheet *s = calloc(1, sizeof *s);
    if (!s)
        LT_FAIL(LT_ENOMEM, "contact sheet: no memory");
    s->frames = frames;
    sizes(s, width, height, columns, rows);
    s->shown = frames < (int64_t)columns * rows ? frames : (int64_t)columns * rows;
    s->pixels = malloc((size_t)(s->width * s->height * 3));
    s->row = malloc((size_t)s->cell_width * 3 * sizeof *s->row);
    if (!s->pixels || !s->row) {
        const int64_t w = s->width, h = s->height;
        lt_contact_sheet_free(&s);
        LT_FAIL(LT_ENOMEM, "contact sheet: no memory for %lldx%lld", (long long)w, (long long)h);
    }
    memset(s->pixels, GREY_BACK, (size_t)(s->width * s->height * 3));
    *out = s;
    return LT_OK;
}

void lt_contact_sheet_free(lt_contact_sheet **sheet)
{
    if (*sheet) {
        free((*sheet)->pixels);
        free((*sheet)->row);
        free(*sheet);
    }
    *sheet = NULL;
}

/* The frame that cell k shows: first and last of the film at the ends. */
static int64_t frame_of(const lt_contact_sheet *s, int64_t k)
{
    return s->shown == 1 ? 0 : (k * (s->frames - 1) + (s->shown - 1) / 2) / (s->shown - 1);
}

/* Add a row of input to the row of sums; weight is the share of its height. */
static void add_row(const lt_contact_sheet *s, const void *rgb, lt_dtype dtype, int64_t y,
                    float weight)
{
    const float step = (float)s->frame_width / (float)s->cell_width;
    for (int64_t channel = 0; channel < 3; channel++) {
        const size_t at = (size_t)((channel * s->frame_height + y) * s->frame_width);
        const uint8_t *narrow = (const uint8_t *)rgb + at;
        const uint16_t *wide = (const uint16_t *)rgb + at;
        float *to = s->row + channel * s->cell_width;
        for (int64_t x = 0; x < s->cell_width; x++) {
            const float left = (float)x * step, right = (float)(x + 1) * step;
            float sum = 0;
            for (int64_t i = (int64_t)left; i < s->frame_width && (float)i < right; i++) {
                const float from = (float)i > left ? (float)i : left;
                const float until = (float)(i + 1) < right ? (float)(i + 1) : right;
                sum += (until - from) * (dtype == LT_U8 ? narrow[i] : (float)wide[i] / 257.0f);
            }
            to[x] += weight * sum / step;
        }
    }
}

static void draw_cell(lt_contact_sheet *s, int64_t cell, const void *rgb, lt_dtype dtype)
{
    const int64_t x0 = GAP + cell % s->columns * (s->cell_width + GAP);
    const int64_t y0 = GAP + cell / s->columns * (s->cell_height + GAP);
    const float step = (float)s->frame_height / (float)s->cell_height;
    for (int64_t y = 0; y < s->cell_height; y++) {
        const float top = (float)y * step, bottom = (float)(y + 1) * step;
        memset(s->row, 0, (size_t)s->cell_width * 3 * sizeof *s->row);
        for (int64_t i = (int64_t)top; i < s->frame_height && (float)i < bottom; i++) {
            const float from = (float)i > top ? (float)i : top;
            const float until = (float)(i + 1) < bottom ? (float)(i + 1) : bottom;
            add_row(s, rgb, dtype, i, (until - from) / step);
        }
        uint8_t *to = s->pixels + ((y0 + y) * s->width + x0) * 3;
        for (int64_t x = 0; x < s->cell_width; x++)
            for (int64_t channel = 0; channel < 3; channel++) {
                const float value = s->row[channel * s->cell_width + x] + 0.5f;
                *to++ = (uint8_t)(value > 255.0f ? 255.0f : value);
            }
    }
}

lt_status lt_contact_sheet_frame(lt_contact_sheet *sheet, int64_t index, const void *rgb,
                                 lt_dtype dtype)
{
    assert(sheet && rgb);
    if (index < 0 || index >= sheet->frames || (dtype != LT_U8 && dtype != LT_U16))
        LT_FAIL(LT_ESHAPE, "contact sheet: want frames 0 to %lld of U8 or U16, found %lld, %s",
                (long long)sheet->frames - 1, (long long)index, lt_dtype_name(dtype));
    for (int64_t k = 0; k < sheet->shown; k++)
        if (frame_of(sheet, k) == index)
            draw_cell(sheet, k, rgb, dtype);
    return LT_OK;
}

typedef struct reach {
    float low, high;
} reach;

/* Lowest and highest sample of [first, end) in both channels. */
static lt_status reach_read(const lt_timeline *t, int64_t first, int64_t end, float *const *pcm,
                            reach out[8])
{
    const int channels = lt_timeline_channels(t);
    for (int c = 0; c < channels; c++)
        out[c] = (reach){0, 0};
    while (first < end) {
        const int64_t count = end - first < AUDIO_BLOCK ? end - first : AUDIO_BLOCK;
        LT_TRY(lt_timeline_read(t, first, pcm, count));
        for (int c = 0; c < channels; c++)
            for (int64_t i = 0; i < count; i++) {
                out[c].low = pcm[c][i] < out[c].low ? pcm[c][i] : out[c].low;
                out[c].high = pcm[c][i] > out[c].high ? pcm[c][i] : out[c].high;
            }
        first += count;
    }
    return LT_OK;
}

static void draw_column(lt_contact_sheet *s, int64_t x, int64_t y0, reach r)
{
    const float low = r.low < -1.0f ? -1.0f : r.low, high = r.high > 1.0f ? 1.0f : r.high;
    const float middle = (float)(STRIP - 1) / 2;
    const int64_t top = (int64_t)(middle - high * middle + 0.5f);
    const int64_t bottom = (int64_t)(middle - low * middle + 0.5f);
    for (int64_t y = 0; y < STRIP; y++) {
        uint8_t *to = s->pixels + ((y0 + y) * s->width + x) * 3;
        if (y >= top && y <= bottom)
            memcpy(to, WAVE_COLOUR, 3);
        else
            memset(to, GREY_STRIP, 3);
    }
}

lt_status lt_contact_sheet_audio(lt_contact_sheet *sheet, const lt_timeline *timeline)
{
    const int channels = lt_timeline_channels(timeline) < 2 ? 1 : 2; /* more would not fit */
    const int64_t samples = lt_timeline_samples(timeline), width = sheet->width - 2 * GAP;
    const size_t planes = (size_t)lt_timeline_channels(timeline);
    float *block = malloc(planes * AUDIO_BLOCK * sizeof *block);
    float *pcm[8];
    if (!block)
        LT_FAIL(LT_ENOMEM, "contact sheet: no memory");
    for (size_t c = 0; c < planes; c++)
        pcm[c] = block + c * AUDIO_BLOCK;
    lt_status status = LT_OK;
    for (int64_t x = 0; x < width && status == LT_OK; x++) {
        reach r[8] = {{0, 0}};
        const int64_t first = samples * x / width, end = samples * (x + 1) / width;
        status = reach_read(timeline, first, end, pcm, r);
        for (int c = 0; c < channels && status == LT_OK; c++)
            draw_column(sheet, GAP + x, sheet->strips_y + strips_height(c), r[c]);
    }
    free(block);
    if (status == LT_OK)
        sheet->strips = channels;
    return status;
}

const uint8_t *lt_contact_sheet_pixels(const lt_contact_sheet *sheet, int64_t *width,
                                       int64_t *height)
{
    *width = sheet->width;
    *height = sheet->strips_y + strips_height(sheet->strips);
    return sheet->pixels;
}

lt_status lt_contact_sheet_png(const lt_contact_sheet *sheet, void **png, size_t *bytes)
{
    int64_t width = 0, height = 0;
    const uint8_t *pixels = lt_contact_sheet_pixels(sheet, &width, &height);
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)width,
                       .height = (png_uint_32)height,
                       .format = PNG_FORMAT_RGB};
    png_alloc_size_t room = PNG_IMAGE_PNG_SIZE_MAX(image);
    *png = malloc(room);
    *bytes = 0;
    if (!*png)
        LT_FAIL(LT_ENOMEM, "contact sheet: no memory for %zu bytes", (size_t)room);
    if (!png_image_write_to_memory(&image, *png, &room, 0, pixels, 0, NULL)) {
        free(*png);
        *png = NULL;
        LT_FAIL(LT_EINTERNAL, "contact sheet: libpng: %s", image.message);
    }
    *bytes = (size_t)room;
    return LT_OK;
}

lt_status lt_contact_sheet_write(const lt_contact_sheet *sheet, const char *path,
                                 lt_replace replace)
{
    void *png = NULL;
    size_t bytes = 0;
    LT_TRY(lt_contact_sheet_png(sheet, &png, &bytes));
    const lt_status status = lt_new_file_write(path, png, bytes, replace);
    free(png);
    LT_TRY(status);
    return LT_OK;
}

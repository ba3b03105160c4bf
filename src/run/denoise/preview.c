/* preview.c - what the clip looks like so far, while it is denoised.
 * The map makes a small picture of each latent; it is enlarged to the film's canvas, or to what a
 * cell of the sheet shows of it, since a sheet enlarges nothing. */
#include "run/denoise/preview.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"
#include "base/log.h"
#include "media/contact_sheet.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"
#include "run/denoise/upsample.h"

enum { CELL_WIDTH = 356 }; /* about what a sheet of 4 columns shows */

struct lt_preview {
    const lt_model *model;
    int64_t every;
    lt_progress *progress;
    char folder[LT_PATH_BYTES]; /* RUN; "": not on this rank */
    int has_failed;
    /* of the preview at hand */
    int64_t total, shown, h, w, width, height;
    float *latent, *small, *large;
    uint8_t *rgb;
    lt_contact_sheet *sheet;
};

static const lt_preview_map *map_of(const lt_model *model) { return model->facts.preview; }

lt_status lt_preview_open(const lt_model *model, lt_group *world, const char *run, int64_t every,
                          lt_progress *progress, lt_preview **out)
{
    *out = NULL;
    LT_TRY(lt_broadcast(world, 0, &every, sizeof every));
    if (every == 0 || map_of(model) == NULL)
        return LT_OK;
    lt_preview *p = *out = calloc(1, sizeof *p);
    LT_TRY(lt_agree(
        world, p != NULL ? LT_OK : lt_fail(LT_ENOMEM, __FILE__, __LINE__, "preview: no memory")));
    p->model = model;
    p->every = every;
    p->progress = progress;
    if (lt_group_rank(world) == 0)
        (void)snprintf(p->folder, sizeof p->folder, "%s", run);
    return LT_OK;
}

static void drop(lt_preview *p)
{
    free(p->latent);
    free(p->small);
    free(p->large);
    free(p->rgb);
    lt_contact_sheet_free(&p->sheet);
    p->latent = p->small = p->large = NULL;
    p->rgb = NULL;
}

void lt_preview_close(lt_preview **preview)
{
    if (*preview != NULL)
        drop(*preview);
    free(*preview);
    *preview = NULL;
}

lt_status lt_preview_check(const lt_model *model, const lt_plan *plan)
{
    const lt_preview_map *map = map_of(model);
    const lt_stream *video = &plan->stream[0];
    if (map == NULL)
        lt_warn("--preview-every: none are made: %s/longtake.json has no map from latents to "
                "colours; `tools/preview_map %s RUN...` fits one to films of this model",
                model->path, model->path);
    else if (video->ndim != 4 || video->dim[0] != map->channels)
        LT_FAIL(LT_EDATA,
                "%s/longtake.json: preview.channels: want %lld, as the latents have, "
                "found %lld",
                model->path, (long long)video->dim[0], (long long)map->channels);
    return LT_OK;
}

/* What a cell shows of this canvas. */
static void cell_size(const lt_plan *plan, int64_t *width, int64_t *height)
{
    *width = plan->shape.width < CELL_WIDTH ? plan->shape.width : CELL_WIDTH;
    *height = (plan->shape.height * *width + plan->shape.width / 2) / plan->shape.width;
    *height = *height < 1 ? 1 : *height;
}

size_t lt_preview_host_bytes(const lt_model *model, const lt_plan *plan)
{
    const lt_preview_map *map = map_of(model);
    const lt_stream *video = &plan->stream[0];
    int64_t width = 0, height = 0;
    if (map == NULL)
        return 0;
    cell_size(plan, &width, &height);
    const int64_t cells = video->dim[2] * video->dim[3], points = map->scale * map->scale * cells;
    return sizeof(float) * (size_t)(video->dim[0] * cells + 3 * points + 3 * width * height) +
           (size_t)(3 * width * height) +
           lt_contact_sheet_memory_bytes(width, height, LT_PREVIEW_COLUMNS, LT_PREVIEW_ROWS);
}

int lt_preview_is_due(const lt_preview *p, int done) { return p != NULL && done % p->every == 0; }

lt_status lt_preview_begin(lt_preview *p, const lt_plan *plan)
{
    const lt_preview_map *map = map_of(p->model);
    const lt_stream *video = &plan->stream[0];
    const int64_t most = LT_PREVIEW_COLUMNS * LT_PREVIEW_ROWS;
    assert(video->ndim == 4 && video->time_axis == 1);
    p->total = video->dim[1];
    p->shown = p->total < most ? p->total : most;
    p->h = video->dim[2];
    p->w = video->dim[3];
    cell_size(plan, &p->width, &p->height);
    p->latent = malloc((size_t)(video->dim[0] * p->h * p->w) * sizeof *p->latent);
    int enough = p->latent != NULL;
    if (p->folder[0] != '\0' && !p->has_failed) {
        const size_t points = (size_t)(map->scale * map->scale * p->h * p->w);
        p->small = malloc(3 * points * sizeof *p->small);
        p->large = malloc((size_t)(3 * p->width * p->height) * sizeof *p->large);
        p->rgb = malloc((size_t)(3 * p->width * p->height));
        enough &= p->small != NULL && p->large != NULL && p->rgb != NULL;
        if (enough)
            LT_TRY(lt_contact_sheet_new(p->shown, p->width, p->height, LT_PREVIEW_COLUMNS,
                                        LT_PREVIEW_ROWS, &p->sheet));
    }
    if (!enough)
        LT_FAIL(LT_ENOMEM, "preview: no memory for a frame of %lldx%lld", (long long)p->width,
                (long long)p->height);
    return LT_OK;
}

int lt_preview_moments(const lt_preview *p) { return (int)p->shown; }

int64_t lt_preview_latent(const lt_preview *p, int moment)
{
    assert(moment >= 0 && moment < p->shown);
    return p->shown > 1 ? moment * (p->total - 1) / (p->shown - 1) : 0;
}

float *lt_preview_room(lt_preview *p, size_t *bytes)
{
    *bytes = (size_t)(map_of(p->model)->channels * p->h * p->w) * sizeof *p->latent;
    return p->latent;
}

void lt_preview_show(lt_preview *p, int moment)
{
    const int64_t scale = map_of(p->model)->scale;
    if (p->sheet == NULL)
        return;
    lt_preview_map_apply(map_of(p->model), p->latent, p->h, p->w, p->small);
    lt_upsample(p->small, 3, scale * p->h, scale * p->w, p->large, p->height, p->width);
    for (int64_t i = 0; i < 3 * p->width * p->height; i++) {
        const float x = roundf(p->large[i]);
        p->rgb[i] = (uint8_t)(x > 0 ? x < 255 ? x : 255 : 0);
    }
    (void)lt_contact_sheet_frame(p->sheet, moment, p->rgb, LT_U8); /* index and dtype are right */
}

static lt_status write(const lt_preview *p, int done, char *path, size_t bytes)
{
    char folder[LT_PATH_BYTES], name[64];
    LT_TRY(lt_path_join(folder, sizeof folder, p->folder, "preview"));
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        LT_FAIL(LT_ECREATE, "%s: %s", folder, strerror(errno));
    (void)snprintf(name, sizeof name, "step-%06d.png", done);
    LT_TRY(lt_path_join(path, bytes, folder, name));
    return lt_contact_sheet_write(p->sheet, path, LT_REPLACE);
}

void lt_preview_end(lt_preview *p, int done)
{
    char path[LT_PATH_BYTES];
    if (p->sheet != NULL && write(p, done, path, sizeof path) == LT_OK) {
        lt_progress_event(p->progress, "preview",
                          json_pack("{s:o, s:i}", "file", lt_json_of_path(path), "done", done));
    } else if (p->sheet != NULL) {
        lt_warn("no more previews: %s", lt_error_text());
        lt_error_clear();
        p->has_failed = 1;
    }
    drop(p);
}

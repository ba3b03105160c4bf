/* fit.c - a draft that fits the memory of all ranks.
 *
 * Each try runs the phases dry on every rank, and all learn how it went on the others. How many
 * layers may stay follows from two tries, with one that stays and with two: their difference is a
 * layer, whatever it takes on this backend and of this share. */
#include "run/fit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "model/weights/layer_file.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"
#include "run/plan_windowing.h"

typedef struct fit {
    lt_group *world;
    lt_plan *draft;
    const lt_estimate_of *of;
    lt_footprint *out;
    lt_status status; /* of the last try here */
    int too_large;    /* it lacked memory somewhere, and failed nowhere for another reason */
    char disk[256]; /* what layers that take turns lacked here, "": nothing, or it was not tried */
} fit;

/* What a rank tells of a try. */
typedef struct told {
    int64_t status;
    double spare[LT_PHASES];
} told;

/* Layers that take turns have room on this rank's disk, which the host's ranks share. */
static lt_status fits_disk(const lt_estimate_of *of, const lt_footprint *footprint)
{
    const double gib = 1024.0 * 1024.0 * 1024.0;
    char folder[LT_PATH_BYTES];
    int64_t room = 0;
    size_t most = 0;
    for (int i = 0; i < LT_PHASES; i++)
        if (footprint->memory[i].disk_bytes > most)
            most = footprint->memory[i].disk_bytes;
    if (most == 0)
        return LT_OK;
    LT_TRY(lt_layer_file_room(folder, sizeof folder, &room));
    if ((double)most * of->local_ranks <= (double)room)
        return LT_OK;
    LT_FAIL(LT_ENOMEM, "layers that take turns want %.2f GiB a rank in %s, found %.2f GiB for %d",
            (double)most / gib, folder, (double)room / gib, of->local_ranks);
}

static lt_status estimate(const lt_estimate_of *of, lt_footprint *out)
{
    *out = (lt_footprint){0};
    if (of->mesh[LT_PHASE_DIT] != NULL)
        LT_TRY(lt_estimate_fits_latents(of));
    LT_TRY(lt_estimate_dry_run(of, out));
    lt_estimate_peak(of, out);
    LT_TRY(lt_estimate_fits(of, out));
    return fits_disk(of, out);
}

/* The draft as it is. *least: of all ranks the least spare bytes of each phase. Collective. */
static lt_status attempt(fit *f, told *least)
{
    const int size = lt_group_size(f->world);
    lt_error_clear();
    f->status = estimate(f->of, f->out);
    told mine = {.status = f->status == LT_OK ? 0 : f->status == LT_ENOMEM ? 1 : 2};
    for (int i = 0; i < LT_PHASES; i++)
        mine.spare[i] = lt_estimate_spare(f->of, f->out, (lt_phase)i);
    told *all = malloc((size_t)size * sizeof *all);
    lt_status st =
        all != NULL ? LT_OK
                    : lt_fail(LT_ENOMEM, __FILE__, __LINE__, "memory: no room for %d ranks", size);
    st = lt_agree(f->world, st);
    if (st == LT_OK)
        st = lt_all_gather_host(f->world, &mine, sizeof mine, all);
    *least = mine;
    int worst = 0;
    for (int r = 0; st == LT_OK && r < size; r++) {
        worst = all[r].status > worst ? (int)all[r].status : worst;
        for (int i = 0; i < LT_PHASES; i++)
            least->spare[i] = fmin(least->spare[i], all[r].spare[i]);
    }
    free(all);
    LT_TRY(st);
    f->too_large = worst == 1;
    return LT_OK;
}

/* ---- layers that take turns ---- */

static void say_turns(const fit *f)
{
    const char *from = f->draft->layers_at_peers     ? "gathered from the ranks of ring and uly"
                       : f->of->backend->host_access ? "read from $TMPDIR (else /tmp)"
                                                     : "copied from the host's memory";
    if (f->draft->resident_layers > 0)
        lt_warn("the DiT does not fit into memory: of its layers %d stay, the others take turns, "
                "%s at each evaluation",
                f->draft->resident_layers, from);
    if (f->draft->resident_text_layers > 0)
        lt_warn("the text encoder does not fit into memory: its layers take turns");
}

/* As many of the DiT's layers as fit, given that not all do. */
static lt_status most_layers(fit *f, told *now)
{
    told one, two;
    f->draft->resident_layers = 1;
    LT_TRY(attempt(f, &one));
    *now = one;
    if (f->too_large || f->status != LT_OK)
        return LT_OK;
    f->draft->resident_layers = 2;
    LT_TRY(attempt(f, &two));
    const double each = one.spare[LT_PHASE_DIT] - two.spare[LT_PHASE_DIT];
    const double more = each > 0 ? floor(one.spare[LT_PHASE_DIT] / each) : 0;
    f->draft->resident_layers = 1 + (int)fmin(more, LT_JOB_LAYERS_MAX - 1);
    LT_TRY(attempt(f, now));
    while (f->too_large && now->spare[LT_PHASE_DIT] < 0 && f->draft->resident_layers > 1) {
        /* others took memory meanwhile */
        f->draft->resident_layers--;
        LT_TRY(attempt(f, now));
    }
    return LT_OK;
}

/* Do several ranks compute with the same of the DiT's weights, in step? */
static int has_peers(const lt_plan *draft)
{
    return draft->mesh.size[LT_AXIS_RING] * draft->mesh.size[LT_AXIS_ULY] > 1;
}

/* The last try lacked memory, as `least` says. */
static lt_status take_turns(fit *f, const told *least)
{
    lt_plan *draft = f->draft;
    const int dit = least->spare[LT_PHASE_DIT] < 0, text = least->spare[LT_PHASE_TEXT] < 0;
    told now;
    if ((!dit && !text) || (draft->resident_layers > 0 && !draft->layers_at_peers))
        return LT_OK;
    const int asked = draft->resident_layers;
    draft->resident_text_layers = asked > 0 ? asked : text;
    if (asked > 0)
        draft->layers_at_peers = 0;
    else
        draft->layers_at_peers = dit && has_peers(draft);
    LT_TRY(asked > 0 || !dit ? attempt(f, &now) : most_layers(f, &now));
    if (f->too_large && draft->layers_at_peers) {
        draft->layers_at_peers = 0;
        LT_TRY(most_layers(f, &now));
    }
    if (!f->too_large && f->status == LT_OK && lt_group_rank(f->world) == 0)
        say_turns(f);
    if (f->too_large && f->status != LT_OK && now.spare[LT_PHASE_DIT] >= 0 &&
        now.spare[LT_PHASE_TEXT] >= 0)
        (void)snprintf(f->disk, sizeof f->disk, "%s", lt_error_text());
    if (f->too_large) {
        draft->resident_layers = draft->resident_text_layers = asked;
        draft->layers_at_peers = asked > 0 && has_peers(draft);
    }
    return LT_OK;
}

/* ---- in order ---- */

static lt_status take_windows(fit *f, const char *why)
{
    told least;
    const lt_windows_asked asked = f->draft->asked;
    f->draft->asked.mode = LT_MODE_WINDOWS;
    LT_TRY(lt_agree(f->world, lt_plan_streams(f->draft, f->of->model)));
    LT_TRY(attempt(f, &least));
    if (f->too_large)
        LT_TRY(take_turns(f, &least));
    if (f->too_large)
        f->draft->asked = asked;
    else if (f->status == LT_OK && lt_group_rank(f->world) == 0)
        lt_warn("%lld frames do not fit in one window (%s): --mode windows, %lld frames each, "
                "%lld shared",
                (long long)f->draft->shape.frames, why, (long long)asked.window,
                (long long)asked.overlap);
    return LT_OK;
}

lt_status lt_fit(lt_group *world, lt_plan *draft, const lt_estimate_of *of, const lt_job *job,
                 lt_phase first, lt_footprint *out)
{
    fit f = {.world = world, .draft = draft, .of = of, .out = out};
    told least;
    char why[1024], hint[512];
    int may_cut = first <= LT_PHASE_DIT && lt_plan_may_cut(job, draft);
    draft->layers_at_peers = draft->resident_layers > 0 && has_peers(draft);
    LT_TRY(attempt(&f, &least));
    if (!f.too_large)
        return lt_agree(world, f.status);
    const lt_status as_asked = f.status;
    (void)snprintf(why, sizeof why, "%s", as_asked != LT_OK ? lt_error_text() : "on another rank");
    (void)snprintf(hint, sizeof hint, "%s", lt_hint_text());
    LT_TRY(lt_broadcast(world, 0, &may_cut, sizeof may_cut));
    LT_TRY(take_turns(&f, &least));
    if (f.too_large && may_cut)
        LT_TRY(take_windows(&f, why));
    if (!f.too_large)
        return lt_agree(world, f.status);
    lt_error_clear();
    if (as_asked == LT_OK)
        return lt_agree(world, LT_OK);
    if (hint[0] != '\0')
        lt_hint("%s%s%s", hint, f.disk[0] != '\0' ? "; " : "", f.disk);
    return lt_agree(world, lt_fail(as_asked, __FILE__, __LINE__, "%s", why));
}

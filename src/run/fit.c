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

#include "base/log.h"
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
} fit;

/* What a rank tells of a try. */
typedef struct told {
    int64_t status;
    double spare[LT_PHASES], phase_bytes; /* the DiT's weights */
} told;

static lt_status estimate(const lt_estimate_of *of, lt_footprint *out)
{
    *out = (lt_footprint){0};
    if (of->mesh[LT_PHASE_DIT] != NULL)
        LT_TRY(lt_estimate_fits_latents(of));
    LT_TRY(lt_estimate_dry_run(of, out));
    lt_estimate_peak(of, out);
    LT_TRY(lt_estimate_fits(of, out));
    return LT_OK;
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
    mine.phase_bytes = (double)f->out->memory[LT_PHASE_DIT].phase_bytes;
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
        least->phase_bytes = fmax(least->phase_bytes, all[r].phase_bytes);
    }
    free(all);
    LT_TRY(st);
    f->too_large = worst == 1;
    return LT_OK;
}

/* ---- layers that take turns ---- */

static void say_turns(const fit *f, double whole_bytes, const told *now, double layer_bytes)
{
    const double gib = 1024.0 * 1024.0 * 1024.0;
    if (f->draft->resident_layers > 0)
        lt_warn("the DiT does not fit into memory: of its layers %d stay, the others take turns, "
                "and each evaluation reads %.2f GiB a rank",
                f->draft->resident_layers,
                (whole_bytes - now->phase_bytes + 2 * layer_bytes) / gib);
    if (f->draft->resident_text_layers > 0)
        lt_warn("the text encoder does not fit into memory: its layers take turns");
}

/* As many of the DiT's layers as fit, given that not all do. *layer_bytes: of one. */
static lt_status most_layers(fit *f, double *layer_bytes, told *now)
{
    told one, two;
    f->draft->resident_layers = 1;
    LT_TRY(attempt(f, &one));
    *now = one;
    if (f->too_large || f->status != LT_OK)
        return LT_OK;
    f->draft->resident_layers = 2;
    LT_TRY(attempt(f, &two));
    *layer_bytes = two.phase_bytes - one.phase_bytes;
    const double each = one.spare[LT_PHASE_DIT] - two.spare[LT_PHASE_DIT];
    const double more = each > 0 ? floor(one.spare[LT_PHASE_DIT] / each) : 0;
    f->draft->resident_layers = 1 + (int)fmin(more, LT_JOB_LAYERS_MAX - 1);
    LT_TRY(attempt(f, now));
    while (f->too_large && f->draft->resident_layers > 1) { /* memory that others took meanwhile */
        f->draft->resident_layers--;
        LT_TRY(attempt(f, now));
    }
    return LT_OK;
}

/* The last try lacked memory, as `least` says. */
static lt_status take_turns(fit *f, const told *least)
{
    double layer_bytes = 0;
    told now = *least;
    if (f->draft->resident_layers > 0 ||
        (least->spare[LT_PHASE_TEXT] >= 0 && least->spare[LT_PHASE_DIT] >= 0))
        return LT_OK;
    f->draft->resident_text_layers = least->spare[LT_PHASE_TEXT] < 0;
    if (least->spare[LT_PHASE_DIT] < 0)
        LT_TRY(most_layers(f, &layer_bytes, &now));
    else
        LT_TRY(attempt(f, &now));
    if (!f->too_large && f->status == LT_OK && lt_group_rank(f->world) == 0)
        say_turns(f, least->phase_bytes, &now, layer_bytes);
    if (f->too_large)
        f->draft->resident_layers = f->draft->resident_text_layers = 0;
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
        lt_hint("%s", hint);
    return lt_agree(world, lt_fail(as_asked, __FILE__, __LINE__, "%s", why));
}

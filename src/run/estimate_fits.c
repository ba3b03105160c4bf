/* estimate_fits.c - whether a plan fits: by host, by limits of the process, by device. */
#include <math.h>
#include <sys/resource.h>

#include "base/file.h"
#include "base/resident.h"
#include "run/estimate_parts.h"

static const double gib = 1024.0 * 1024.0 * 1024.0;

lt_status lt_estimate_fits_latents(const lt_estimate_of *of)
{
    const lt_plan *plan = of->plan;
    const int local_ranks = of->local_ranks;
    const int64_t available = lt_memory_available_bytes();
    size_t clips = 0;
    LT_TRY(lt_estimate_clips(of, &clips));
    const double need = 4.0 * (double)clips; /* latents, velocities, both as rows */
    if (available < 0 || need <= (double)available / local_ranks)
        return LT_OK;
    lt_hint("ask for a shorter or smaller film");
    LT_FAIL(LT_ENOMEM,
            "%lld frames of %lldx%lld: the latents alone need %.2f GiB a rank, this host has %.2f "
            "GiB for each of %d rank%s",
            (long long)plan->shape.frames, (long long)plan->shape.width,
            (long long)plan->shape.height, need / gib, (double)available / local_ranks / gib,
            local_ranks, local_ranks == 1 ? "" : "s");
}

/* What the limits of this process leave it, or -1: addresses (ulimit -v), data (ulimit -d). */
static int64_t limit_left(const char **option)
{
    const lt_resident now = lt_resident_now();
    static const struct {
        __rlimit_resource_t which;
        const char *option;
    } limits[] = {{RLIMIT_AS, "ulimit -v"}, {RLIMIT_DATA, "ulimit -d"}};
    int64_t least = -1;
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        struct rlimit limit;
        if (getrlimit(limits[i].which, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
            limit.rlim_cur > INT64_MAX)
            continue;
        const int64_t used = limits[i].which == RLIMIT_AS ? now.addresses : now.data;
        const int64_t left = (int64_t)limit.rlim_cur > used ? (int64_t)limit.rlim_cur - used : 0;
        if (least < 0 || left < least) {
            least = left;
            *option = limits[i].option;
        }
    }
    return least;
}

/* Arenas and the scratch of collectives, which lie in the host's memory. */
static double arena_bytes(const lt_phase_memory *m)
{
    return (double)m->phase_bytes + (double)m->step_bytes + (double)m->comm_bytes;
}

/* What a phase wants of the device's memory, and what this rank may have there. */
typedef struct on_device {
    lt_device device;
    double need, left; /* left -1: nobody knows */
} on_device;

/* Memory of its own is taken at once, of all phases the largest weights and the largest work: so a
 * phase is too large that would be, alone, beside that work. The host's own memory is all its
 * ranks'. */
static on_device look_at_device(const lt_estimate_of *of, const lt_footprint *footprint,
                                lt_phase phase)
{
    on_device out = {.need = arena_bytes(&footprint->memory[phase])};
    int ranks = of->backend->host_access ? of->local_ranks : 1;
    of->backend->describe(of->device, &out.device);
    if (out.device.has_own_memory) {
        lt_footprint alone = *footprint;
        for (int i = 0; i < LT_PHASES; i++)
            alone.memory[i].phase_bytes = i == (int)phase ? alone.memory[i].phase_bytes : 0;
        out.need = (double)lt_estimate_on_device(&alone);
        ranks = of->device_ranks > 1 ? of->device_ranks : 1;
    }
    out.left = out.device.left_bytes < 0 ? -1 : (double)out.device.left_bytes / ranks;
    return out;
}

static lt_status refuse(const char *model, lt_phase phase, const lt_phase_memory *m, double need,
                        double work, const char *found)
{
    static const char *const hints[LT_PHASES] = {
        "start more ranks on more hosts, or a machine with more memory",
        "start more ranks on more hosts (--mesh tp=N shares the weights), or a shorter or "
        "smaller film",
        "start more ranks on more hosts (--decode-tp N shares the decoder's weights), or a "
        "smaller film"};
    lt_hint("%s", hints[phase]);
    LT_FAIL(LT_ENOMEM,
            "%s: the %s phase needs %.2f GiB a rank (weights %.2f, work %.2f, host %.2f), %s",
            model, lt_phase_names[phase], need / gib, (double)m->phase_bytes / gib, work / gib,
            (double)m->host_bytes / gib, found);
}

void lt_estimate_beside(const lt_estimate_of *of, const lt_footprint *footprint, double *need,
                        double *left)
{
    const char *option = "";
    lt_footprint both = *footprint;
    const int64_t available = lt_memory_available_bytes(), limit = limit_left(&option);
    const on_device device = look_at_device(of, footprint, LT_PHASE_DIT);
    both.is_beside = 1;
    *need = (double)lt_estimate_both_resident(of, footprint);
    *left = available < 0 ? -1 : (double)available / of->local_ranks;
    if (limit >= 0 && (*left < 0 || (double)limit < *left))
        *left = (double)limit;
    if (device.left < 0)
        return;
    const double want = device.device.has_own_memory ? (double)lt_estimate_on_device(&both)
                                                     : (double)lt_estimate_both_arenas(footprint);
    if (*left < 0 || want > device.left) { /* what is short is what counts */
        *need = want;
        *left = device.left;
    }
}

/* Of one phase, what this rank may have beyond what it needs, by what is scarcest. */
double lt_estimate_spare(const lt_estimate_of *of, const lt_footprint *footprint, lt_phase phase)
{
    const lt_phase_memory *m = &footprint->memory[phase];
    const char *option = "";
    const int64_t available = lt_memory_available_bytes(), limit = limit_left(&option);
    const double need = (double)m->resident_bytes - (double)footprint->base_bytes;
    const on_device device = look_at_device(of, footprint, phase);
    double spare = (double)LT_SPARE_MAX;
    if (available >= 0)
        spare = fmin(spare, (double)available / of->local_ranks - need);
    if (limit >= 0)
        spare = fmin(spare, (double)limit - need);
    if (device.left >= 0)
        spare = fmin(spare, device.left - device.need);
    return spare;
}

lt_status lt_estimate_fits(const lt_estimate_of *of, const lt_footprint *footprint)
{
    const int local_ranks = of->local_ranks;
    char found[192];
    const char *option = "";
    const int64_t available = lt_memory_available_bytes(), limit = limit_left(&option);
    const double mine = available < 0 ? -1 : (double)available / local_ranks;
    for (int i = 0; i < LT_PHASES; i++) {
        const lt_phase_memory *m = &footprint->memory[i];
        const on_device device = look_at_device(of, footprint, (lt_phase)i);
        const double weights = (double)m->phase_bytes, kernels = (double)m->kernel_bytes;
        const int own = device.device.has_own_memory;
        const double work = (own ? 0 : arena_bytes(m) - weights) + kernels;
        const double need = m->resident_bytes > footprint->base_bytes
                                ? (double)(m->resident_bytes - footprint->base_bytes)
                                : 0;
        if (mine >= 0 && need > mine) {
            (void)snprintf(found, sizeof found, "this host has %.2f GiB for each of %d rank%s",
                           mine / gib, local_ranks, local_ranks == 1 ? "" : "s");
            return refuse(of->plan->model, (lt_phase)i, m, need, work, found);
        }
        if (limit >= 0 && need > (double)limit) {
            (void)snprintf(found, sizeof found, "%s leaves this process %.2f GiB", option,
                           (double)limit / gib);
            return refuse(of->plan->model, (lt_phase)i, m, need, work, found);
        }
        if (device.left >= 0 && device.need > device.left) {
            (void)snprintf(found, sizeof found,
                           "device %d of this host (%s) has %.2f GiB left for it", of->device,
                           device.device.name, device.left / gib);
            return refuse(of->plan->model, (lt_phase)i, m, own ? device.need : need,
                          own ? device.need - weights : work, found);
        }
    }
    return LT_OK;
}

/* probe_io.c - what the stages of probe share: tensors in and out, memory, times, the engine. */
#include "cmd/probe.h"

#include <stdlib.h>
#include <string.h>

#include "parallel/transport/agree.h"
#include "parallel/transport/transport.h"

/* Of the host's memory address space only: pages are taken as they are used. */
static const size_t arena_bytes = (size_t)1 << 38;

static const double gib = 1024.0 * 1024.0 * 1024.0;

static lt_status open_input(lt_probe *p)
{
    if (p->in != NULL)
        return LT_OK;
    if (p->job->in == NULL)
        LT_FAIL(LT_EUSAGE, "--in: probe %s wants a .safetensors file", p->stage);
    LT_TRY(lt_checkpoint_open(p->job->in, NULL, &p->in));
    return LT_OK;
}

static lt_status find_input(lt_probe *p, const char *name, lt_tensor_info *info)
{
    LT_TRY(open_input(p));
    if (!lt_checkpoint_find(p->in, name, info))
        LT_FAIL(LT_EDATA, "%s: tensor '%s' is missing: probe %s reads it", p->job->in, name,
                p->stage);
    return LT_OK;
}

int lt_probe_has(lt_probe *p, const char *name)
{
    lt_tensor_info info;
    return open_input(p) == LT_OK && lt_checkpoint_find(p->in, name, &info);
}

lt_status lt_probe_read(lt_probe *p, const char *name, int ndim, lt_dtype dtype, lt_dims *dims,
                        void **out)
{
    lt_tensor_info info;
    LT_TRY(find_input(p, name, &info));
    if (info.ndim != ndim)
        LT_FAIL(LT_EDATA, "%s: tensor '%s': want %d dims, found %d", p->job->in, name, ndim,
                info.ndim);
    dims->ndim = ndim;
    int64_t n = 1;
    for (int i = 0; i < ndim; i++) {
        if (info.dim[i] < 1) /* beside an empty dim the others may be anything */
            LT_FAIL(LT_EDATA, "%s: tensor '%s': dim %d: want 1 or more, found %lld", p->job->in,
                    name, i, (long long)info.dim[i]);
        dims->dim[i] = info.dim[i];
        n *= info.dim[i]; /* checked against the file's size at open */
    }
    LT_TRY(lt_probe_take(p, (size_t)n * lt_dtype_bytes(dtype), out));
    const uint64_t before[2] = {lt_checkpoint_bytes_read(), lt_checkpoint_reads()};
    LT_TRY(lt_checkpoint_read(p->in, name, *dims, lt_slice_whole(*dims), dtype, *out));
    p->input_bytes += lt_checkpoint_bytes_read() - before[0];
    p->input_reads += lt_checkpoint_reads() - before[1];
    return LT_OK;
}

lt_status lt_probe_take(lt_probe *p, size_t bytes, void **out)
{
    if (p->owned_count == LT_PROBE_OWNED_MAX)
        LT_FAIL(LT_EINTERNAL, "probe %s: more than %d buffers", p->stage, LT_PROBE_OWNED_MAX);
    *out = calloc(1, bytes > 0 ? bytes : 1);
    if (*out == NULL)
        LT_FAIL(LT_ENOMEM, "probe %s: no memory for %zu bytes", p->stage, bytes);
    p->owned[p->owned_count++] = *out;
    return LT_OK;
}

lt_status lt_probe_make(lt_probe *p, const char *name, lt_dtype dtype, lt_dims dims, void **out)
{
    size_t n = lt_dtype_bytes(dtype);
    int over = 0;
    for (int i = 0; i < dims.ndim; i++)
        over |= dims.dim[i] < 0 || __builtin_mul_overflow(n, (size_t)dims.dim[i], &n);
    const int64_t room = lt_memory_available_bytes();
    if (over || n > INT64_MAX || (room >= 0 && (int64_t)n > room))
        LT_FAIL(LT_ENOMEM, "probe %s: %s: want %s%.2f GiB, this host has %.2f GiB", p->stage, name,
                over ? "more than " : "", (double)(over ? SIZE_MAX : n) / gib, (double)room / gib);
    if (p->job->out == NULL) /* said before the work, not after it; all ranks have the same flags */
        LT_FAIL(LT_EUSAGE, "--out: probe %s wants a .safetensors file to write", p->stage);
    if (p->made_count == LT_PROBE_MADE_MAX)
        LT_FAIL(LT_EINTERNAL, "probe %s: more than %d outputs", p->stage, LT_PROBE_MADE_MAX);
    LT_TRY(lt_probe_take(p, n, out));
    p->made[p->made_count++] = lt_tensor_wrap(*out, name, dtype, dims);
    return LT_OK;
}

void lt_probe_time(lt_probe *p, double seconds)
{
    if (p->time_count < p->job->repeat)
        p->seconds[p->time_count++] = seconds;
}

/* A stage is not planned. Of memory of its own a device gives weights and work as much as it has,
 * and one of sixteen parts to collectives, which may take more. */
static lt_status share_device(const lt_probe *p, size_t *each, lt_comm_need *need)
{
    enum { PARTS = 16, ARENA_PARTS = 7 };
    const lt_mesh *mesh[] = {&p->bound.mesh};
    const int local_rank = p->bound.placed.local_rank;
    lt_device device;
    p->bound.backend->describe(local_rank, &device);
    if (!device.has_own_memory || device.left_bytes < 0)
        return LT_OK;
    const double left = (double)device.left_bytes / p->bound.device_ranks;
    const double taken =
        (double)device.taken_bytes + (double)lt_engine_connect_bytes(p->bound.backend, mesh, 1);
    if (left <= taken)
        LT_FAIL(LT_ENOMEM,
                "probe %s: want more than %.2f GiB on device %d of this host (%s), it has %.2f GiB "
                "left for this rank",
                p->stage, taken / gib, local_rank, device.name, left / gib);
    *each = (size_t)((left - taken) * ARENA_PARTS / PARTS);
    need->scratch_bytes = (size_t)((left - taken) / PARTS);
    return LT_OK;
}

lt_status lt_probe_engine(lt_probe *p)
{
    lt_plan plan = {.mesh = p->spec};
    LT_TRY(lt_plan_modes(p->job, &plan));
    LT_TRY(lt_bind(p->world, &plan, &p->bound));
    lt_comm_need need = {0};
    size_t each = arena_bytes;
    lt_status st = share_device(p, &each, &need);
    if (st == LT_OK)
        st = lt_bind_engine(&p->bound, each, each, &p->engine);
    LT_TRY(lt_agree(p->world, st));
    LT_TRY(lt_engine_connect(&p->engine, &p->bound.mesh, &need));
    return LT_OK;
}

/* ops_memory.c - ld, st: global, shared and parameter memory. */
#include <assert.h>

#include "tests/emu/warp.h"

enum { SIGNED = 8 }; /* of a row's mode, beside the space */

unsigned char *ptx_global(ptx_warp *w, const ptx_ins *i, int lane, uint64_t address, int bytes,
                          int is_write)
{
    ptx_block *b = w->block;
    emu_range *r = b->last;
    if (address % (uint64_t)bytes != 0) {
        ptx_fault(w, i, lane, "misaligned in global memory,", address);
        return NULL;
    }
    if (r == NULL || address < r->address || address - r->address > r->bytes ||
        (uint64_t)bytes > r->bytes - (address - r->address)) {
        r = emu_memory_find(address, (size_t)bytes);
        if (r == NULL) {
            ptx_fault(w, i, lane,
                      is_write ? "writes outside of the device's memory,"
                               : "reads outside of the device's memory,",
                      address);
            return NULL;
        }
        b->last = r;
    }
    const uint64_t at = address - r->address;
    if (r->known == NULL)
        return r->data + at;
    for (int k = 0; k < bytes; k++) {
        const uint32_t stamp = r->stamp[at + (uint64_t)k];
        if (stamp >= b->first_stamp && stamp != b->stamp) {
            ptx_fault(w, i, lane, "touches global memory that another block writes,", address);
            return NULL;
        }
        if (!is_write && !r->known[at + (uint64_t)k]) {
            ptx_fault(w, i, lane, "reads global memory that has no value,", address);
            return NULL;
        }
    }
    if (is_write)
        for (int k = 0; k < bytes; k++) {
            r->stamp[at + (uint64_t)k] = b->stamp;
            r->known[at + (uint64_t)k] = 1;
        }
    return r->data + at;
}

/* n values, each new one put behind them; how many there are then. Neighbouring lanes ask for what
 * was asked for last, so that is looked at first. */
static int note(uint64_t *seen, int n, uint64_t value)
{
    for (int k = n - 1; k >= 0; k--)
        if (seen[k] == value)
            return n;
    seen[n] = value;
    return n + 1;
}

void ptx_count_request(ptx_traffic *to, const uint64_t *address, uint32_t lanes, int bytes)
{
    enum { SECTOR = 32 };
    uint64_t sector[PTX_LANES], asked[PTX_LANES];
    int sectors = 0, different = 0;
    assert(bytes > 0 && bytes <= SECTOR); /* aligned, so that a lane's lie in one */
    for (int lane = 0; lane < PTX_LANES; lane++)
        if (lanes >> lane & 1) {
            sectors = note(sector, sectors, address[lane] / SECTOR);
            different = note(asked, different, address[lane]);
        }
    to->requests++;
    to->sectors += (uint64_t)sectors;
    to->ideal += ((uint64_t)different * (uint64_t)bytes + SECTOR - 1) / SECTOR;
}

static unsigned char *params(ptx_warp *w, const ptx_ins *i, int lane, uint64_t address, int bytes)
{
    const uint64_t room = (uint64_t)w->block->f->params_bytes;
    if (address % (uint64_t)bytes != 0 || address > room || (uint64_t)bytes > room - address) {
        ptx_fault(w, i, lane, "outside of the parameters,", address);
        return NULL;
    }
    return w->block->params + address;
}

static unsigned char *place(ptx_warp *w, const ptx_ins *i, int lane, uint64_t address, int bytes,
                            int is_write)
{
    switch ((ptx_space)(i->row->mode & ~SIGNED)) {
    case PTX_GLOBAL:
        return ptx_global(w, i, lane, address, bytes, is_write);
    case PTX_SHARED:
        return ptx_shared(w, i, lane, address, bytes, is_write);
    default:
        return params(w, i, lane, address, bytes);
    }
}

static void addresses(ptx_warp *w, const ptx_ins *i, uint32_t lanes, int k, uint64_t *out)
{
    for (int lane = 0; lane < PTX_LANES; lane++)
        if (lanes >> lane & 1)
            out[lane] = ptx_value(w, i, k, (int)lane) + (uint64_t)i->add[0];
    if ((i->row->mode & ~SIGNED) == PTX_SHARED) /* a 32-bit space */
        for (int lane = 0; lane < PTX_LANES; lane++)
            if (lanes >> lane & 1)
                out[lane] = (uint32_t)out[lane];
}

static void load(ptx_warp *w, const ptx_ins *i, uint32_t lanes)
{
    const int bytes = i->row->bytes, count = i->row->vector;
    uint64_t address[PTX_LANES];
    addresses(w, i, lanes, count, address);
    if ((i->row->mode & ~SIGNED) == PTX_GLOBAL)
        ptx_count_request(&w->block->counts.loads, address, lanes, bytes * count);
    for (int lane = 0; lane < PTX_LANES; lane++)
        if (lanes >> lane & 1) {
            const unsigned char *p = place(w, i, lane, address[lane], bytes * count, 0);
            if (p == NULL)
                return;
            for (int k = 0; k < count; k++) {
                uint64_t v = 0;
                memcpy(&v, p + k * bytes, (size_t)bytes);
                if ((i->row->mode & SIGNED) != 0)
                    v = (uint64_t)(int64_t)(int32_t)v;
                if (i->wide >> k & 1)
                    ptx_longs(w, i, k)[lane] = v;
                else
                    ptx_words(w, i, k)[lane] = (uint32_t)v;
            }
        }
}

static void store(ptx_warp *w, const ptx_ins *i, uint32_t lanes)
{
    const int bytes = i->row->bytes, count = i->row->vector;
    uint64_t address[PTX_LANES];
    addresses(w, i, lanes, 0, address);
    if ((i->row->mode & ~SIGNED) == PTX_GLOBAL)
        ptx_count_request(&w->block->counts.stores, address, lanes, bytes * count);
    for (int lane = 0; lane < PTX_LANES; lane++)
        if (lanes >> lane & 1) {
            unsigned char *p = place(w, i, lane, address[lane], bytes * count, 1);
            if (p == NULL)
                return;
            for (int k = 0; k < count; k++) {
                const uint64_t v = ptx_value(w, i, 1 + k, (int)lane);
                memcpy(p + k * bytes, &v, (size_t)bytes);
            }
        }
}

#define LOAD(space, mode, type, bytes)                                                             \
    {"ld." space "." type, "X@", load, bytes, 1, mode},                                            \
        {"ld." space ".v2." type, "XX@", load, bytes, 2, mode},                                    \
    {                                                                                              \
        "ld." space ".v4." type, "XXXX@", load, bytes, 4, mode                                     \
    }
#define STORE(space, mode, type, bytes)                                                            \
    {"st." space "." type, "@x", store, bytes, 1, mode},                                           \
        {"st." space ".v2." type, "@xx", store, bytes, 2, mode},                                   \
    {                                                                                              \
        "st." space ".v4." type, "@xxxx", store, bytes, 4, mode                                    \
    }
#define LOADS(space, mode)                                                                         \
    LOAD(space, mode, "u8", 1), LOAD(space, mode, "u16", 2), LOAD(space, mode, "b16", 2),          \
        LOAD(space, mode, "u32", 4), LOAD(space, mode | SIGNED, "s32", 4),                         \
        LOAD(space, mode, "b32", 4), LOAD(space, mode, "f32", 4), LOAD(space, mode, "u64", 8),     \
        LOAD(space, mode, "b64", 8)
#define STORES(space, mode)                                                                        \
    STORE(space, mode, "u8", 1), STORE(space, mode, "u16", 2), STORE(space, mode, "b16", 2),       \
        STORE(space, mode, "u32", 4), STORE(space, mode, "b32", 4), STORE(space, mode, "f32", 4),  \
        STORE(space, mode, "u64", 8), STORE(space, mode, "b64", 8)

const ptx_row ptx_rows_memory[] = {
    LOADS("global", PTX_GLOBAL),  LOADS("shared", PTX_SHARED),  LOADS("param", PTX_PARAM),
    STORES("global", PTX_GLOBAL), STORES("shared", PTX_SHARED), {NULL, NULL, NULL, 0, 0, 0},
};

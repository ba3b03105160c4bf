/* shared.c - a block's shared memory: who may touch a byte, and copies that are under way.
 *
 * Two threads are in order when a barrier of the block stood between them, or, in one warp, a
 * bar.warp.sync. What is not in order and touches a byte that one of them writes is a race,
 * whatever the values were. A cp.async takes the byte away: until the thread that began it has
 * waited for its group, none may read or write it; then the bytes come from global memory as it is
 * at that moment, and count as written by that thread. */
#include <assert.h>

#include "tests/emu/warp.h"

/* Was what happened at `when`, by `who`, before all that `thread` of w does now? */
static int is_before(const ptx_warp *w, uint32_t when, uint16_t who, uint16_t thread)
{
    if (when < w->block->met || who == thread)
        return 1;
    const int same_warp =
        who < PTX_SEVERAL ? who / PTX_LANES == w->number : who == PTX_SEVERAL + w->number;
    return same_warp && when < w->synced;
}

static const char *touch(ptx_warp *w, ptx_byte *b, uint16_t thread, int is_write)
{
    const uint32_t now = w->block->now, begun = w->block->begun;
    const int has_value = b->written >= begun;
    if (has_value && b->writer == PTX_PENDING)
        return is_write ? "writes shared memory that a cp.async is under way to"
                        : "reads shared memory before its cp.async was waited for";
    if (has_value && !is_before(w, b->written, b->writer, thread))
        return is_write ? "writes shared memory that another thread wrote, with no barrier between"
                        : "reads shared memory that another thread wrote, with no barrier between";
    if (!is_write) {
        if (!has_value)
            return "reads shared memory that has no value";
        if (b->read != now || b->read < begun) {
            b->reader = thread;
        } else if (b->reader != thread) {
            const int same_warp = b->reader < PTX_SEVERAL ? b->reader / PTX_LANES == w->number
                                                          : b->reader == PTX_SEVERAL + w->number;
            b->reader = same_warp ? (uint16_t)(PTX_SEVERAL + w->number) : (uint16_t)PTX_MANY;
        }
        b->read = now;
        return NULL;
    }
    if (b->read >= begun && !is_before(w, b->read, b->reader, thread))
        return "writes shared memory that another thread reads, with no barrier between";
    b->written = now;
    b->writer = thread;
    return NULL;
}

unsigned char *ptx_shared(ptx_warp *w, const ptx_ins *i, int lane, uint64_t address, int bytes,
                          int is_write)
{
    ptx_block *b = w->block;
    const uint16_t thread = (uint16_t)(w->number * PTX_LANES + lane);
    if (address % (uint64_t)bytes != 0) {
        ptx_fault(w, i, lane, "misaligned in shared memory,", address);
        return NULL;
    }
    if (address > b->shared_bytes || (uint64_t)bytes > b->shared_bytes - address) {
        ptx_fault(w, i, lane, "out of bounds in shared memory,", address);
        return NULL;
    }
    for (int k = 0; k < bytes; k++) {
        const char *wrong = touch(w, &b->bytes[address + (uint64_t)k], thread, is_write);
        if (wrong != NULL) {
            ptx_fault(w, i, lane, wrong, address + (uint64_t)k);
            return NULL;
        }
    }
    return b->shared + address;
}

/* ---- cp.async ---- */

void ptx_copy_begin(ptx_warp *w, const ptx_ins *i, int lane, uint64_t to, uint64_t from, int bytes)
{
    enum { WHOLE = 16 };
    ptx_block *b = w->block;
    unsigned char *at = ptx_shared(w, i, lane, to, WHOLE, 1);
    if (at == NULL)
        return;
    if (bytes < 0 || bytes > WHOLE) {
        ptx_fault(w, i, lane, "cp.async of more than 16 bytes", 0);
        return;
    }
    if (bytes > 0 && from % WHOLE != 0) {
        ptx_fault(w, i, lane, "misaligned in global memory,", from);
        return;
    }
    memset(at, 0xff, WHOLE);
    for (int k = 0; k < WHOLE; k++)
        b->bytes[to + (uint64_t)k].writer = PTX_PENDING;
    if (w->copy_count == PTX_COPIES) {
        ptx_fault(w, i, lane, "more copies under way than the interpreter keeps", 0);
        return;
    }
    w->copies[w->copy_count++] = (ptx_copy){.from = from,
                                            .to = (uint32_t)to,
                                            .group = w->groups[lane],
                                            .lane = (uint8_t)lane,
                                            .bytes = (uint8_t)bytes};
}

static void arrive(ptx_warp *w, const ptx_ins *i, const ptx_copy *c)
{
    enum { WHOLE = 16 };
    ptx_block *b = w->block;
    assert(c->to + WHOLE <= b->shared_bytes);
    for (int k = 0; k < WHOLE; k++) {
        b->bytes[c->to + (uint32_t)k].writer = (uint16_t)(w->number * PTX_LANES + c->lane);
        b->bytes[c->to + (uint32_t)k].written = b->now;
    }
    memset(b->shared + c->to, 0, WHOLE);
    for (int k = 0; k < c->bytes; k++) {
        const unsigned char *from = ptx_global(w, i, c->lane, c->from + (uint64_t)k, 1, 0);
        if (from == NULL)
            return;
        b->shared[c->to + (uint32_t)k] = *from;
    }
}

void ptx_copy_wait(ptx_warp *w, const ptx_ins *i, uint32_t lanes, uint32_t left)
{
    int kept = 0;
    for (int k = 0; k < w->copy_count; k++) {
        const ptx_copy c = w->copies[k];
        if ((lanes >> c.lane & 1) && c.group + left < w->groups[c.lane])
            arrive(w, i, &c);
        else
            w->copies[kept++] = c;
    }
    w->copy_count = kept;
}

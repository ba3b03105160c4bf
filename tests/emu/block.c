/* block.c - a launch: blocks one after the other, warps until each waits, see warp.h.
 *
 * A warp runs as far as it can, to a barrier of the block or its end, before the next one does:
 * with what shared.c sees that is an order as bad as any. A seed shuffles blocks and warps. Shared
 * memory begins without a value in each block, registers as NaN. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/emu/warp.h"

/* SPARE: rows of one operand look at others too. */
enum { NOWHERE = 0x7fffffff, ALIGN = 64, SPARE = 512 };

void ptx_fault(ptx_warp *w, const ptx_ins *i, int lane, const char *what, uint64_t address)
{
    ptx_block *b = w->block;
    char at[32] = "";
    if (b->why[0] != '\0')
        return;
    if (address != 0)
        (void)snprintf(at, sizeof at, " at 0x%llx", (unsigned long long)address);
    (void)snprintf(b->why, PTX_WHY, "%s, block (%u, %u, %u), thread %d: %s%s: '%.*s', line %u",
                   b->f->name, b->index[0], b->index[1], b->index[2], w->number * PTX_LANES + lane,
                   what, at, (int)(i->text_bytes < 120 ? i->text_bytes : 120),
                   b->module->text + i->text, i->line);
    w->join = 0; /* so that run_warp looks */
}

/* ---- which lanes go on ---- */

void ptx_regroup(ptx_warp *w)
{
    for (int lane = 0; lane < PTX_LANES; lane++)
        if (w->active >> lane & 1)
            w->lane_pc[lane] = w->pc;
    const uint32_t can = w->live & ~w->at_barrier & ~w->waiting;
    int32_t lowest = NOWHERE, second = NOWHERE;
    for (int lane = 0; lane < PTX_LANES; lane++)
        if (can >> lane & 1) {
            const int32_t pc = w->lane_pc[lane];
            if (pc < lowest) {
                second = lowest;
                lowest = pc;
            } else if (pc > lowest && pc < second) {
                second = pc;
            }
        }
    w->active = 0;
    for (int lane = 0; lane < PTX_LANES; lane++)
        if (can >> lane & 1)
            w->active |= (uint32_t)(w->lane_pc[lane] == lowest) << lane;
    w->pc = lowest;
    w->join = second;
}

int ptx_converged(ptx_warp *w, const ptx_ins *i, uint32_t named)
{
    const int32_t here = (int32_t)(i - w->block->f->code);
    uint32_t come = w->active;
    for (int lane = 0; lane < PTX_LANES; lane++)
        if (w->waiting >> lane & 1)
            come |= (uint32_t)(w->lane_pc[lane] == here) << lane;
    if ((named & w->live & ~come) == 0) {
        w->waiting &= ~come;
        w->active = come;
        return 1;
    }
    w->pc = here;
    for (int lane = 0; lane < PTX_LANES; lane++)
        if (w->active >> lane & 1)
            w->lane_pc[lane] = here;
    w->waiting |= w->active;
    w->active = 0;
    ptx_regroup(w);
    if (w->active == 0)
        ptx_fault(w, i, __builtin_ctz(come), "waits for lanes that do not come", 0);
    return 0;
}

static void run_warp(ptx_warp *w)
{
    ptx_block *b = w->block;
    const ptx_ins *code = b->f->code;
    while (w->active != 0) {
        assert(w->pc >= 0);
        if (w->pc >= b->f->count) { /* the closing brace returns */
            w->live &= ~w->active;
            w->active = 0;
            ptx_regroup(w);
            continue;
        }
        const ptx_ins *i = &code[w->pc++];
        uint32_t lanes = w->active;
        if (i->guard >= 0) {
            const uint32_t guard = *(const uint32_t *)(const void *)(w->file + i->guard);
            lanes &= i->guard_not ? ~guard : guard;
        }
        b->counts.instructions++;
        b->counts.lanes += (uint64_t)__builtin_popcount(lanes);
        if (lanes != 0)
            i->run(w, i, lanes);
        if (w->pc >= w->join) {
            if (b->why[0] != '\0')
                return;
            ptx_regroup(w);
        }
    }
}

/* ---- a block ---- */

static void set_special(const ptx_warp *w, ptx_special which, uint32_t value, int lane)
{
    const int32_t at = w->block->f->special[which];
    if (at >= 0)
        ((uint32_t *)(void *)(w->file + at))[lane] = value;
}

static void begin_warp(ptx_block *b, ptx_warp *w)
{
    const ptx_function *f = b->f;
    const uint32_t threads = b->size[0] * b->size[1] * b->size[2];
    const uint32_t first = (uint32_t)w->number * PTX_LANES, left = threads - first;
    w->live = left >= PTX_LANES ? PTX_ALL : (1u << left) - 1;
    w->active = w->live;
    w->waiting = w->at_barrier = 0;
    w->pc = 0;
    w->join = NOWHERE;
    w->synced = b->now;
    w->copy_count = 0;
    memset(w->groups, 0, sizeof w->groups);
    memset(w->file, 0xff, (size_t)f->file_bytes);
    for (int k = 0; k < f->constant_count; k++) {
        const ptx_constant *c = &f->constants[k];
        for (int lane = 0; lane < PTX_LANES; lane++) {
            if (c->wide)
                ((uint64_t *)(void *)(w->file + c->at))[lane] = (uint64_t)c->value;
            else
                ((uint32_t *)(void *)(w->file + c->at))[lane] = (uint32_t)c->value;
        }
    }
    for (int lane = 0; lane < PTX_LANES; lane++) {
        const uint32_t t = first + (uint32_t)lane;
        set_special(w, PTX_TID_X, t % b->size[0], lane);
        set_special(w, PTX_TID_Y, t / b->size[0] % b->size[1], lane);
        set_special(w, PTX_TID_Z, t / b->size[0] / b->size[1], lane);
        set_special(w, PTX_LANEID, (uint32_t)lane, lane);
        for (int d = 0; d < 3; d++) {
            set_special(w, (ptx_special)(PTX_CTAID_X + d), b->index[d], lane);
            set_special(w, (ptx_special)(PTX_NTID_X + d), b->size[d], lane);
            set_special(w, (ptx_special)(PTX_NCTAID_X + d), b->grid[d], lane);
        }
    }
}

/* All warps have stopped: at one barrier, or at their ends; else some wait for ever. 1: go on. */
static int meet(ptx_block *b)
{
    int any = 0, stopped = 0;
    for (int k = 0; k < b->warps; k++) {
        ptx_warp *w = &b->warp[k];
        any |= w->live != 0;
        stopped |= w->live != 0 && w->at_barrier == w->live;
        if (w->live != w->at_barrier) {
            const int lane = __builtin_ctz(w->live & ~w->at_barrier);
            ptx_fault(w, &b->f->code[w->lane_pc[lane]], lane, "waits for ever", 0);
            return 0;
        }
    }
    b->met = ++b->now;
    for (int k = 0; k < b->warps; k++) {
        ptx_warp *w = &b->warp[k];
        if (w->live == 0)
            continue;
        const int32_t first = w->lane_pc[__builtin_ctz(w->live)];
        for (int lane = 0; lane < PTX_LANES; lane++)
            if (w->live >> lane & 1)
                if (w->lane_pc[lane] != first)
                    ptx_fault(w, &b->f->code[first - 1], lane, "a barrier that not all lanes reach",
                              0);
        w->at_barrier = 0;
        w->active = 0;
        w->pc = first;
        ptx_regroup(w);
    }
    return any && stopped;
}

static void run_block(ptx_block *b, const int *order)
{
    b->begun = b->met = ++b->now;
    for (int k = 0; k < b->warps; k++)
        begin_warp(b, &b->warp[k]);
    do {
        for (int k = 0; k < b->warps && b->why[0] == '\0'; k++)
            if (b->warp[order[k]].active != 0)
                run_warp(&b->warp[order[k]]);
    } while (b->why[0] == '\0' && meet(b));
    b->counts.blocks++;
}

/* ---- a launch ---- */

static void add_traffic(ptx_traffic *to, const ptx_traffic *from)
{
    to->requests += from->requests;
    to->sectors += from->sectors;
    to->ideal += from->ideal;
}

void ptx_add_counts(ptx_counts *to, const ptx_counts *from)
{
    to->instructions += from->instructions;
    to->lanes += from->lanes;
    to->blocks += from->blocks;
    to->launches += from->launches;
    to->mma += from->mma;
    add_traffic(&to->loads, &from->loads);
    add_traffic(&to->stores, &from->stores);
}

static void shuffle(int *order, int count, uint64_t *state)
{
    for (int k = 0; k < count; k++)
        order[k] = k;
    for (int k = count - 1; k > 0 && *state != 0; k--) {
        const int other = (int)(emu_draw(state) % (uint64_t)(k + 1));
        const int kept = order[k];
        order[k] = order[other];
        order[other] = kept;
    }
}

static void *room(size_t bytes)
{
    void *p = aligned_alloc(ALIGN, (bytes + ALIGN) / ALIGN * ALIGN + ALIGN);
    if (p == NULL)
        abort();
    return p;
}

static int open_block(ptx_block *b, const ptx_launch *l, char *why)
{
    const uint64_t threads = (uint64_t)l->size[0] * l->size[1] * l->size[2];
    memset(b, 0, sizeof *b);
    b->why = why;
    b->module = l->module;
    b->f = l->f;
    memcpy(b->grid, l->grid, sizeof b->grid);
    memcpy(b->size, l->size, sizeof b->size);
    b->sums = l->sums;
    b->warps = (int)((threads + PTX_LANES - 1) / PTX_LANES);
    b->shared_bytes = l->f->shared_bytes + l->dynamic_bytes;
    b->shared = room(b->shared_bytes);
    b->bytes = calloc((size_t)b->shared_bytes + 1, sizeof *b->bytes);
    b->params = room((size_t)l->f->params_bytes);
    memcpy(b->params, l->params, (size_t)l->f->params_bytes);
    for (int k = 0; k < b->warps; k++) {
        b->warp[k].block = b;
        b->warp[k].number = k;
        b->warp[k].file = room((size_t)l->f->file_bytes + SPARE);
        b->warp[k].copies = malloc(PTX_COPIES * sizeof *b->warp[k].copies);
        if (b->warp[k].copies == NULL)
            return 0;
    }
    return b->bytes != NULL;
}

static void close_block(ptx_block *b)
{
    for (int k = 0; k < b->warps; k++) {
        free(b->warp[k].file);
        free(b->warp[k].copies);
    }
    free(b->params);
    free(b->bytes);
    free(b->shared);
}

int ptx_run_launch(const ptx_launch *l, ptx_counts *counts, char why[PTX_WHY])
{
    static uint32_t stamps; /* the caller's lock holds it; after 2^32 blocks it begins anew */
    static ptx_block b;
    uint64_t state = l->seed;
    const int count = (int)(l->grid[0] * l->grid[1] * l->grid[2]);
    int *blocks = calloc((size_t)count, sizeof *blocks), warps[PTX_WARPS];
    why[0] = '\0';
    assert(blocks != NULL);
    if (!open_block(&b, l, why))
        (void)snprintf(why, PTX_WHY, "%s: no memory for a block", l->f->name);
    b.first_stamp = stamps + 1;
    shuffle(blocks, count, &state);
    for (int k = 0; k < count && why[0] == '\0'; k++) {
        const uint32_t at = (uint32_t)blocks[k];
        b.index[0] = at % l->grid[0];
        b.index[1] = at / l->grid[0] % l->grid[1];
        b.index[2] = at / l->grid[0] / l->grid[1];
        b.stamp = ++stamps;
        shuffle(warps, b.warps, &state);
        run_block(&b, warps);
    }
    close_block(&b);
    free(blocks);
    b.counts.launches = 1;
    ptx_add_counts(counts, &b.counts);
    return why[0] != '\0';
}

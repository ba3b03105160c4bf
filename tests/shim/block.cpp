/* block.cpp - a launch's blocks on the host, a fiber a CUDA thread.
 *
 * Blocks run one after another, in an order that the seed shuffles. In a block a scheduler picks a
 * warp and runs its lanes until each waits; a warp's exchange or barrier is over when all its
 * live lanes wait for it, the block's barrier when all live threads do. Seed 0 takes warps in turn.
 * Other seeds pick a warp at random and let it run as far as it can before another gets a turn, its
 * lanes in a shuffled order: then a warp that relies on another without a barrier reads what is not
 * there yet, or what is overwritten already.
 *
 * Fibers switch by ten instructions on x86-64, by ucontext elsewhere. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "tests/shim/shim.h"

#if defined(__SANITIZE_ADDRESS__)
#define LT_SHIM_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define LT_SHIM_ASAN 1
#endif
#endif
#ifdef LT_SHIM_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifndef __x86_64__
#include <ucontext.h>
#endif

enum {
    THREADS_MAX = 1024,
    WARPS_MAX = THREADS_MAX / 32,
    STACK_BYTES = 128 << 10,
    SHARED_MAX = 232448, /* of a block: sm_90 */
    SHARED_GAP = 64,
    COPIES_MAX = 256, /* of a thread, under way */
    GROUPS_MAX = 16
};

typedef enum { RUNS, AT_BARRIER, IN_WARP, ENDED } fiber_state;

/* What lanes give each other; two in turn: a slow lane may still read the last exchange's. */
struct slots {
    uint64_t word[32];
    uint32_t row[32][4]; /* load_matrices: the row that the lane names */
    uint32_t a[32][4], b[32][2];
};

struct warp {
    slots slot[2];
    int live, waiting; /* waiting: lanes that are IN_WARP */
};

struct pending_copy {
    unsigned char *to;
    const unsigned char *from;
    int bytes;
};

struct fiber {
    pending_copy copy[COPIES_MAX];
    int copies, group_end[GROUPS_MAX], groups; /* group i: the copies before group_end[i] */
    void *stack_pointer;
#ifndef __x86_64__
    ucontext_t context;
#endif
    void *fake_stack; /* AddressSanitizer's */
    uint3 at;
    fiber_state state;
    int lane, exchanges;
    size_t shared; /* how much shared memory it has named */
    warp *mine;
};

lt_shim_place lt_shim_now;

static fiber fibers[THREADS_MAX], *running, scheduler;
static warp warps[WARPS_MAX];
static char *stacks;
static unsigned char *shared_memory;
static size_t dynamic_asked, dynamic_bytes;
static int thread_count, warp_count, live_count, barrier_count;
static void (*block_fn)(const void *);
static const void *block_work;
#ifdef LT_SHIM_ASAN
static const void *main_bottom; /* the scheduler's stack */
static size_t main_bytes;
#endif

[[noreturn]] static void die(const char *what)
{
    const uint3 b = lt_shim_now.block, t = running != NULL ? running->at : uint3{0, 0, 0};
    (void)fprintf(stderr, "shim: %s: block (%u, %u, %u), thread (%u, %u, %u)\n", what, b.x, b.y,
                  b.z, t.x, t.y, t.z);
    abort();
}

/* ---- switching ---- */

#ifdef __x86_64__
extern "C" void lt_shim_switch(void **save, void *to);
asm(".text\n.type lt_shim_switch,@function\nlt_shim_switch:\n"
    " push %rbp\n push %rbx\n push %r12\n push %r13\n push %r14\n push %r15\n"
    " mov %rsp,(%rdi)\n mov %rsi,%rsp\n"
    " pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbx\n pop %rbp\n ret\n"
    ".size lt_shim_switch,.-lt_shim_switch\n");
#endif

static char *stack_of(const fiber *f) { return stacks + (size_t)(f - fibers) * STACK_BYTES; }

static void go(fiber *from, fiber *to)
{
#ifdef LT_SHIM_ASAN
    const int ends = from != &scheduler && from->state == ENDED;
    const void *bottom = to == &scheduler ? main_bottom : stack_of(to);
    __sanitizer_start_switch_fiber(ends ? NULL : &from->fake_stack, bottom,
                                   to == &scheduler ? main_bytes : (size_t)STACK_BYTES);
#endif
#ifdef __x86_64__
    lt_shim_switch(&from->stack_pointer, to->stack_pointer);
#else
    swapcontext(&from->context, &to->context);
#endif
#ifdef LT_SHIM_ASAN
    if (from == &scheduler)
        __sanitizer_finish_switch_fiber(from->fake_stack, NULL, NULL);
    else
        __sanitizer_finish_switch_fiber(from->fake_stack, &main_bottom, &main_bytes);
#endif
}

static void entry(void)
{
#ifdef LT_SHIM_ASAN
    __sanitizer_finish_switch_fiber(NULL, &main_bottom, &main_bytes);
#endif
    block_fn(block_work);
    running->state = ENDED;
    live_count--;
    running->mine->live--;
    go(running, &scheduler);
    abort();
}

static void begin(fiber *f)
{
#ifdef __x86_64__
    uint64_t *sp = (uint64_t *)(stack_of(f) + STACK_BYTES) - 3; /* as behind a call: 8 mod 16 */
    *--sp = (uint64_t)(uintptr_t)entry;
    sp -= 6;
    memset(sp, 0, 6 * sizeof *sp);
    f->stack_pointer = sp;
#else
    getcontext(&f->context);
    f->context.uc_stack.ss_sp = stack_of(f);
    f->context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&f->context, entry, 0);
#endif
}

static void pause_as(fiber_state state)
{
    fiber *me = running;
    me->state = state;
    go(me, &scheduler);
}

/* ---- what kernels call ---- */

void __syncthreads(void)
{
    barrier_count++;
    pause_as(AT_BARRIER);
}

void __syncwarp(void)
{
    running->mine->waiting++;
    pause_as(IN_WARP);
}

int lt_shim_lane(void) { return running->lane; }

uint64_t lt_shim_exchange(uint64_t mine, int from)
{
    fiber *me = running;
    const int turn = me->exchanges++ & 1;
    me->mine->slot[turn].word[me->lane] = mine;
    __syncwarp();
    if (from < 0 || from > 31)
        die("an exchange with no lane");
    return me->mine->slot[turn].word[from];
}

void *lt_shim_dynamic(void) { return shared_memory; }

/* ---- copies under way ---- */

void copy_async_16(void *to, const void *from, int bytes)
{
    fiber *me = running;
    if (((uintptr_t)to | (uintptr_t)from) % 16 != 0 || (bytes != 0 && bytes != 16))
        die("cp.async: want 16 aligned bytes, or none");
    if (me->copies == COPIES_MAX)
        die("cp.async: more under way than the shim keeps");
    memset(to, 0xff, 16);
    me->copy[me->copies++] = {(unsigned char *)to, (const unsigned char *)from, bytes};
}

void copy_commit(void)
{
    fiber *me = running;
    if (me->groups == GROUPS_MAX)
        die("cp.async: more groups than the shim keeps");
    me->group_end[me->groups++] = me->copies;
}

void lt_shim_copy_wait(int groups)
{
    fiber *me = running;
    const int done = me->groups - groups, end = done > 0 ? me->group_end[done - 1] : 0;
    if (done <= 0)
        return;
    for (int i = 0; i < end; i++) {
        memset(me->copy[i].to, 0, 16);
        memcpy(me->copy[i].to, me->copy[i].from, (size_t)me->copy[i].bytes);
    }
    me->copies -= end;
    memmove(me->copy, me->copy + end, (size_t)me->copies * sizeof *me->copy);
    me->groups -= done;
    for (int i = 0; i < me->groups; i++)
        me->group_end[i] = me->group_end[done + i] - end;
}

/* ---- matrices: who holds what is the PTX ISA's, for m8n8.x4 and m16n8k16 ---- */

static slots *trade(void) { return &running->mine->slot[running->exchanges++ & 1]; }

static slots *trade_rows(const void *row)
{
    if ((uintptr_t)row % 16 != 0)
        die("ldmatrix: a row that does not begin at 16 bytes");
    slots *s = trade();
    memcpy(s->row[running->lane], row, 16);
    __syncwarp();
    return s;
}

static uint32_t half_of(const uint32_t (&row)[4], int column)
{
    return row[column / 2] >> (column % 2 * 16) & 0xffffu;
}

void load_matrices(uint32_t (&r)[4], const void *row)
{
    const slots *s = trade_rows(row);
    const int lane = running->lane;
    for (int i = 0; i < 4; i++)
        r[i] = s->row[i * 8 + lane / 4][lane % 4];
}

void load_matrices_transposed(uint32_t (&r)[4], const void *row)
{
    const slots *s = trade_rows(row);
    const int lane = running->lane, from = lane % 4 * 2;
    for (int i = 0; i < 4; i++)
        r[i] = half_of(s->row[i * 8 + from], lane / 4) | half_of(s->row[i * 8 + from + 1], lane / 4)
                                                             << 16;
}

/* A's element (row, k), B's (k, column) among the lanes' registers. */
static float of_a(const slots *s, int row, int k)
{
    const uint32_t *a = s->a[row % 8 * 4 + k % 8 / 2];
    return lt_bf16_to_f32((uint16_t)(a[row / 8 + k / 8 * 2] >> (k % 2 * 16)));
}

static float of_b(const slots *s, int k, int column)
{
    const uint32_t *b = s->b[column * 4 + k % 8 / 2];
    return lt_bf16_to_f32((uint16_t)(b[k / 8] >> (k % 2 * 16)));
}

void multiply(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1)
{
    slots *s = trade();
    const int lane = running->lane;
    memcpy(s->a[lane], a, sizeof a);
    s->b[lane][0] = b0;
    s->b[lane][1] = b1;
    __syncwarp();
    for (int i = 0; i < 4; i++) {
        const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
        for (int k = 0; k < 16; k++)
            c[i] += of_a(s, row, k) * of_b(s, k, column);
    }
}

void *lt_shim_shared(size_t bytes)
{
    const size_t at = dynamic_bytes + SHARED_GAP + running->shared;
    running->shared += (bytes + 63) / 64 * 64 + SHARED_GAP;
    if (dynamic_bytes + running->shared > SHARED_MAX)
        die("more shared memory than a block may have");
#ifdef LT_SHIM_ASAN
    __asan_unpoison_memory_region(shared_memory + at, bytes);
#endif
    return shared_memory + at;
}

/* ---- scheduling ---- */

static int can_run(const warp *w)
{
    const int base = (int)(w - warps) * 32;
    for (int i = base; i < base + 32 && i < thread_count; i++)
        if (fibers[i].state == RUNS)
            return 1;
    return 0;
}

static void release(fiber_state state, int first, int count)
{
    for (int i = first; i < first + count && i < thread_count; i++)
        if (fibers[i].state == state)
            fibers[i].state = RUNS;
}

/* Run w's lanes that can, then let its exchange end if all its live lanes are in it. */
static void run_warp(warp *w, uint64_t *random)
{
    int order[32], n = 0;
    const int base = (int)(w - warps) * 32;
    for (int i = base; i < base + 32 && i < thread_count; i++)
        order[n++] = i;
    for (int i = n - 1; *random != 0 && i > 0; i--) {
        const int j = (int)(lt_shim_draw(random) % (uint64_t)(i + 1)), t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
    for (int i = 0; i < n; i++) {
        if (fibers[order[i]].state != RUNS)
            continue;
        running = &fibers[order[i]];
        lt_shim_now.thread = running->at;
        go(&scheduler, running);
        running = NULL;
    }
    if (w->waiting > 0 && w->waiting == w->live) {
        w->waiting = 0;
        release(IN_WARP, base, 32);
    } else if (w->waiting > w->live) {
        die("a warp's exchange with lanes that have ended");
    }
}

static void run_block(uint64_t *random)
{
    warp *last = NULL;
    while (live_count > 0) {
        warp *can[WARPS_MAX];
        int n = 0;
        for (int i = 0; i < warp_count; i++)
            if (can_run(&warps[i]))
                can[n++] = &warps[i];
        if (n == 0 && barrier_count > 0 && barrier_count == live_count) {
            barrier_count = 0;
            release(AT_BARRIER, 0, thread_count);
            continue;
        }
        if (n == 0)
            die("a barrier or an exchange that not all threads reach");
        if (last == NULL || !can_run(last))
            last = can[*random != 0 ? lt_shim_draw(random) % (uint64_t)n : 0];
        run_warp(last, random);
    }
}

static void start_block(uint3 block, dim3 threads)
{
#ifdef LT_SHIM_ASAN
    __asan_unpoison_memory_region(shared_memory, SHARED_MAX + SHARED_GAP);
#endif
    memset(shared_memory, 0xff, SHARED_MAX + SHARED_GAP);
#ifdef LT_SHIM_ASAN
    __asan_poison_memory_region(shared_memory + dynamic_asked,
                                SHARED_MAX + SHARED_GAP - dynamic_asked);
#endif
    memset(warps, 0, sizeof warps);
    barrier_count = 0;
    live_count = thread_count;
    lt_shim_now.block = block;
    for (int i = 0; i < thread_count; i++) {
        fiber *f = &fibers[i];
        const unsigned n = (unsigned)i;
        f->at = uint3{n % threads.x, n / threads.x % threads.y, n / threads.x / threads.y};
        f->state = RUNS;
        f->lane = i % 32;
        f->exchanges = f->copies = f->groups = 0;
        f->shared = 0;
        f->fake_stack = NULL;
        f->mine = &warps[i / 32];
        f->mine->live++;
        begin(f);
    }
}

static void take_memory(void)
{
    if (stacks != NULL)
        return;
    void *p = mmap(NULL, (size_t)THREADS_MAX * STACK_BYTES, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    void *q = mmap(NULL, SHARED_MAX + SHARED_GAP, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED || q == MAP_FAILED)
        die("no memory for the threads of a block");
    stacks = (char *)p;
    shared_memory = (unsigned char *)q;
}

void lt_shim_run_blocks(dim3 grid, dim3 block, size_t shared, void (*fn)(const void *),
                        const void *work, uint64_t seed)
{
    take_memory();
    block_fn = fn;
    block_work = work;
    dynamic_asked = shared;
    dynamic_bytes = (shared + 127) / 128 * 128;
    thread_count = (int)(block.x * block.y * block.z);
    warp_count = (thread_count + 31) / 32;
    lt_shim_now.threads = block;
    lt_shim_now.blocks = grid;
    const uint64_t count = (uint64_t)grid.x * grid.y * grid.z;
    uint64_t random = seed;
    /* A full turn in steps that are prime to the count: every block once, no list of them. */
    uint64_t step = 1, at = seed != 0 ? lt_shim_draw(&random) % count : 0;
    for (uint64_t s = seed != 0 ? lt_shim_draw(&random) % count : 1; seed != 0 && s > 1; s--) {
        uint64_t a = s, b = count;
        while (b != 0) {
            const uint64_t r = a % b;
            a = b;
            b = r;
        }
        if (a == 1) {
            step = s;
            break;
        }
    }
    for (uint64_t i = 0; i < count; i++, at = (at + step) % count) {
        const uint3 b = {(unsigned)(at % grid.x), (unsigned)(at / grid.x % grid.y),
                         (unsigned)(at / grid.x / grid.y)};
        start_block(b, block);
        run_block(&random);
    }
}

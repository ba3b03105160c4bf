/* kernel_test.h - what all test_kernels_*.c share.
 *
 * A test of an op is one function run(rig, case): it takes its tensors from the rig, in a fixed
 * order, and calls the op. kt_case runs it on several rigs and compares what came out:
 *
 *     ref                      the reference
 *     cpu, 2 threads, whole    agrees with ref within the case's tolerance; likewise with each
 *                              narrower set of inner loops that the machine has
 *     cpu, 1 thread            same bits as that
 *     cpu, 3 threads, in parts same bits (row independence): run loops over kt_parts
 *     far, three seeds         same bits: memory unreadable, queues late
 *
 * With KT_DEVICE (tests/shim) that backend takes the place of cpu and far, with KT_PART
 * (tests/emu) that of longtake_cuda.so on the interpreter, with KT_CARD, a path, that of
 * longtake_cuda.so on whatever is found (tools/gpu_smoke.sh: a card):
 *
 *     device, in order         agrees with ref within the case's tolerance
 *     device, in parts         same bits
 *     device, KT_SEEDS seeds   same bits: other orders of threads, warps, blocks and streams
 *
 * Every tensor lies in a block of 0xA5 bytes, with a guard before, between rows (gap) and behind:
 * all of that, and all inputs, must come back unchanged. Outputs start as NaN, so that reading one
 * shows. Inputs are normal numbers from Philox, a function of (rig's seed, order, element). */
#ifndef LT_KERNEL_TEST_H
#define LT_KERNEL_TEST_H

#include "kernel_rig.h"

#ifdef KT_NOTED

/* KT_ROUNDS_WEIGHTS: its attention may round probabilities to bf16, as kernels.h allows. */
enum { KT_ROUNDS_WEIGHTS = 1, KT_BACKENDS = 2 };
#ifdef KT_PART
enum { KT_SEEDS = 1 };
static inline const lt_backend *kt_device(void) { return lt_emu_backend(); }
static inline void kt_seed(uint64_t seed) { lt_emu_seed(seed), (void)lt_emu_count(); }

static inline uint64_t kt_part_row(const char *what, const lt_tensor *x, kt_error e)
{
    return lt_emu_row(what, x, e.worst);
}
#else
#ifdef KT_CARD
enum { KT_SEEDS = 1 }; /* a card has its own order each time */
static inline void kt_seed(uint64_t seed) { (void)seed; }
static inline const lt_backend *kt_device(void)
{
    static const lt_gpu_part *part;
    if (part == NULL)
        part = gpu_part_open(KT_CARD);
    return part->backend;
}
#else
enum { KT_SEEDS = 3 };
static inline const lt_backend *kt_device(void) { return &KT_DEVICE; }
static inline void kt_seed(uint64_t seed) { lt_shim_seed(seed); }
#endif
static inline uint64_t kt_part_row(const char *what, const lt_tensor *x, kt_error e)
{
    return (void)what, (void)x, (void)e, 0;
}
#endif

/* "q BF16 65x256, k 70x256, y F32 65x256": of all operands. */
static inline void kt_sizes(const kt_rig *r, char *out, size_t bytes)
{
    size_t used = 0;
    for (int i = 0; i < r->count && used < bytes; i++) {
        const lt_tensor *x = &r->operand[i].x;
        const int known = i > 0 && r->operand[i - 1].x.dtype == x->dtype;
        used += (size_t)snprintf(out + used, bytes - used, "%s%s%s%s", i > 0 ? ", " : "",
                                 r->operand[i].name, known ? "" : " ",
                                 known ? "" : lt_dtype_name(x->dtype));
        for (int d = 0; d < x->ndim && used < bytes; d++)
            used += (size_t)snprintf(out + used, bytes - used, "%s%lld", d > 0 ? "x" : " ",
                                     (long long)x->dim[d]);
    }
}

/* A row of the table of tools/gpu_table; on the part also a line on stdout. */
static inline void kt_row(const char *what, const kt_rig *r, kt_error e)
{
    static int begun;
    char names[200] = "", sizes[300] = "", instructions[24] = "-";
    int first = 0;
    while (first < r->count - 1 && r->operand[first].role == KT_IN)
        first++;
    const uint64_t count = kt_part_row(what, &r->operand[first].x, e);
#ifdef KT_PART
    (void)snprintf(instructions, sizeof instructions, "%llu", (unsigned long long)count);
#else
    (void)count;
#endif
    for (int k = 0; k < LT_OP_COUNT && !begun; k++)
        table_row("kind\t%s", lt_op_name((lt_op_kind)k));
    begun = 1;
    for (int k = 0; k < LT_OP_COUNT; k++)
        if (kt_kinds >> k & 1) {
            const size_t used = strlen(names);
            (void)snprintf(names + used, sizeof names - used, "%s%s", used > 0 ? "+" : "",
                           lt_op_name((lt_op_kind)k));
        }
    kt_sizes(r, sizes, sizeof sizes);
    table_row("op\t%s\t%s\t%s\t%.2g\t%.2g\t%s", names, what, sizes, e.worst, e.share, instructions);
}

static inline const lt_backend *kt_backend(int i) { return i == 0 ? &lt_backend_ref : kt_device(); }

/* See the top. */
static inline void kt_case(const char *what, void (*run)(kt_rig *, const void *), const void *c,
                           kt_tol tol)
{
    kt_rig ref, whole, other;
    kt_seed(0);
    kt_run_on(&ref, &lt_backend_ref, 1, 1, what, run, c);
    kt_kinds = 0;
    kt_run_on(&whole, kt_device(), 1, 1, what, run, c);
    kt_row(what, &whole, kt_agree(&ref, &whole, tol, what));
    kt_run_on(&other, kt_device(), 1, 2, what, run, c);
    kt_same_bits(&whole, &other, what, "in parts");
    kt_forget(&other);
    for (uint64_t seed = 1; seed <= KT_SEEDS; seed++) {
        kt_seed(seed);
        kt_run_on(&other, kt_device(), 1, 1, what, run, c);
        kt_same_bits(&whole, &other, what, "in another order");
        kt_forget(&other);
    }
    kt_seed(0);
    kt_forget(&whole);
    kt_forget(&ref);
}

#else

enum { KT_ROUNDS_WEIGHTS = 0, KT_BACKENDS = 3 };

static inline const lt_backend *kt_backend(int i)
{
    static const lt_backend *const all[KT_BACKENDS] = {&lt_backend_ref, &lt_backend_cpu,
                                                       &lt_backend_far};
    return all[i];
}

/* The sets of inner loops but the widest, which is what everybody else takes. */
static inline void kt_narrower(const kt_rig *ref, kt_tol tol, const char *what,
                               void (*run)(kt_rig *, const void *), const void *c)
{
    const char *widest = lt_cpu_isa_now()->name;
    for (int i = 0; i < ISA_COUNT; i++) {
        char words[160];
        kt_rig other;
        if (strcmp(isa_names[i], widest) == 0 || !isa_take(i))
            continue;
        (void)snprintf(words, sizeof words, "%s, %s", isa_names[i], what);
        kt_run_on(&other, &lt_backend_cpu, 2, 1, words, run, c);
        kt_agree(ref, &other, tol, words);
        kt_forget(&other);
    }
    isa_leave();
}

/* See the top. */
static inline void kt_case(const char *what, void (*run)(kt_rig *, const void *), const void *c,
                           kt_tol tol)
{
    kt_rig ref, whole, other;
    kt_run_on(&ref, &lt_backend_ref, 1, 1, what, run, c);
    kt_run_on(&whole, &lt_backend_cpu, 2, 1, what, run, c);
    kt_agree(&ref, &whole, tol, what);
    kt_narrower(&ref, tol, what, run, c);
    kt_run_on(&other, &lt_backend_cpu, 1, 1, what, run, c);
    kt_same_bits(&whole, &other, what, "on 1 thread");
    kt_forget(&other);
    kt_run_on(&other, &lt_backend_cpu, 3, 2, what, run, c);
    kt_same_bits(&whole, &other, what, "in parts, on 3 threads");
    kt_forget(&other);
    kt_run_on(&other, &lt_backend_ref, 1, 2, what, run, c);
    kt_same_bits(&ref, &other, what, "in parts");
    kt_forget(&other);
    for (uint64_t seed = 0; seed < 3; seed++) {
        lt_far_seed(seed);
        kt_run_on(&other, &lt_backend_far, 2, 1, what, run, c);
        kt_same_bits(&whole, &other, what, "than on cpu");
        kt_forget(&other);
    }
    kt_forget(&whole);
    kt_forget(&ref);
}

#endif
#endif

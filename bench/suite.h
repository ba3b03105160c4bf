/* suite.h - what the suites of `longtake bench` share.
 *
 * A suite measures on the ranks that the program was started with and gives rows: JSON objects,
 * each with an integer `wrong`, so that a fast wrong answer is no result. Columns say which of a
 * row's values the text form shows. A number that could not be measured is null: times are given
 * only where each rank has a core of its own.
 *
 * Formulas, as in nccl-tests: algbw = bytes / time; busbw = algbw * f, with f = 1 for broadcast,
 * exchanges and ring_pass, (P-1)/P for gathers and all-to-all, 2(P-1)/P for sum_partials: what
 * the busiest link must carry, comparable with the hardware's figure whatever P is. Times are the
 * slowest rank's, median over the rounds; GB are 10^9 bytes.
 *
 * Attention: compute is the time inside kernels with the messages left out, communication that of
 * the messages with the kernels left out, both that of the real thing, each the slowest rank's.
 * exposed = both - compute; hidden = communication - exposed; overlap = hidden / communication. A
 * machine that is busy with other work gives shares outside of 0 to 1: noise, which is null there,
 * and the row says "noise": true. */
#ifndef LT_SUITE_H
#define LT_SUITE_H

#include "base/json.h"
#include "parallel/context.h"
#include "run/job.h"

typedef struct lt_bench_column {
    const char *key, *title;
    int width;    /* negative: a text, left-aligned */
    int decimals; /* of a real number; -1: as %.2g */
} lt_bench_column;

typedef struct lt_bench {
    lt_group *world; /* borrowed, as is job */
    const lt_job *job;
    int threads;  /* of each rank */
    int timed;    /* each rank has a core */
    int one_host; /* all ranks share a host and its clock */
    int hosts;
    char host_names[256]; /* "a, b", as many as fit; on rank 0 */
    double ends_at;       /* lt_seconds() of rank 0: begin no further size or round after it */
    int64_t wrong;        /* sum over the rows, the same on all ranks */
    void (*row)(void *ctx, const json_t *row); /* on rank 0, for each row in order */
    void *ctx;
} lt_bench;

/* Collective on bench->world, Blocking; rows go to bench->row. Errors: a module's own; wrong
 * results are no error but counted. */
typedef struct lt_bench_suite {
    const char *name, *units; /* units: what the text form's numbers are, one or two lines */
    const lt_bench_column *columns;
    int column_count;
    int has_choice; /* knows --op and --bytes */
    lt_status (*run)(lt_bench *bench);
} lt_bench_suite;

extern const lt_bench_suite lt_bench_comm, lt_bench_attention, lt_bench_mesh, lt_bench_long;

/* Place this rank's threads and note whether all ranks can be timed; the caller sets row and ctx
 * after it. Collective on world, Blocking. */
lt_status lt_bench_open(const lt_job *job, lt_group *world, lt_bench *out);
/* Count and hand on one row of rank 0 (others give NULL), with `hosts` added; takes the row. wrong
 * is the same on all ranks. Local. Errors: LT_ENOMEM when rank 0's row is NULL. */
lt_status lt_bench_row(lt_bench *bench, json_t *row, int64_t wrong);

/* Seconds of each round on this rank -> the median over the rounds of the slowest rank, the same
 * on all; rounds 0: NaN. Collective on group, Blocking. */
lt_status lt_bench_slowest(lt_group *group, const double *seconds, int rounds, double *median);
/* The median of values, which are sorted by it; count 0: NaN. Local. */
double lt_bench_median(double *values, int count);
/* How many rounds of `once_s` seconds fit into `share_s`, 1 to most; rank 0 decides. Collective on
 * group, Blocking. */
lt_status lt_bench_rounds(lt_group *group, double once_s, double share_s, int most, int *rounds);
/* 1 in *go while ranks may be timed and rank 0's time isn't used up. Collective on bench->world,
 * Blocking. */
lt_status lt_bench_may_time(const lt_bench *bench, int *go);
/* The larger of two differences; NaN, once there, stays. Local. */
double lt_bench_worse(double a, double b);
/* No part of a time is less than nothing or more than all of it: 1 if these say so, or are NaN. */
int lt_bench_is_noise(double exposed, double hidden, double overlap);
/* A real number, or null where it isn't finite. Local. */
json_t *lt_bench_real(double value);
/* Any even spread over its coordinates, the same on every rank: 24 bits are random. Local. */
uint32_t lt_bench_hash(uint32_t what, int64_t row, int64_t column);

/* What an arena of a bench may map: addresses alone, 64 GiB, or a quarter of what `ulimit -v`
 * leaves this process. Local. */
size_t lt_bench_arena_bytes(void);

#endif

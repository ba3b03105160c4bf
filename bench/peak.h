/* peak.h - what the machine can do at most, measured.
 * Local, Blocking; nothing fails. threads: how many OpenMP threads work at the same time. */
#ifndef LT_BENCH_PEAK_H
#define LT_BENCH_PEAK_H

/* f32 multiply-adds from registers, the widest vectors of this CPU: 10^9 operations a second (a
 * multiply-add is two), the best of some tries. */
double lt_bench_peak_gflops(int threads);
/* a = b + s * c over arrays far larger than any cache: 10^9 bytes a second, 12 a step. 0: no
 * memory. */
double lt_bench_triad_gbytes(int threads);

#endif

/* gpu_smoke.h - what the files of gpu_smoke share, see gpu_smoke.c. Everything is Blocking; what
 * fails ends the program with a line. */
#ifndef LT_GPU_SMOKE_H
#define LT_GPU_SMOKE_H

#include "base/clock.h"
#include "kernels/kernels.h"
#include "tests/support/gpu_part_open.h"

/* Rows of smoke_take repeat themselves after so many, so that equal rows can be looked for. */
enum { SMOKE_PERIOD = 128 };

typedef struct smoke {
    const lt_gpu_part *part;
    const lt_backend *backend;
    lt_arena *arena;
    lt_queue *q;
    int tiny;
    double peak;      /* TFLOP/s of bf16; 0: not known */
    const char *ctas; /* that NCCL may take; NULL: as exchange_nccl.c asks */
} smoke;

#define OK(expr)                                                                                   \
    do {                                                                                           \
        if ((expr) != LT_OK)                                                                       \
            smoke_failed(#expr, __LINE__);                                                         \
    } while (0)

void smoke_failed(const char *expr, int line);
/* A row of the table; verdict: ok, wrong, skipped. */
void smoke_row(const char *what, const char *value, const char *note, const char *verdict);

/* Backend, an arena of so many bytes, a compute queue. */
void smoke_open(smoke *s, size_t bytes);
void smoke_close(smoke *s);
lt_tensor smoke_make(smoke *s, lt_dtype dtype, lt_dims dims);
/* Values in [-1, 1), by element and seed. */
float smoke_value(int64_t i, uint32_t seed);
lt_tensor smoke_take(smoke *s, lt_dtype dtype, int64_t rows, int64_t width, uint32_t seed);
/* These rows, dense, the caller's to free. */
void *smoke_fetch(smoke *s, const lt_tensor *x, lt_range rows);
/* Seconds of one fn(s, arg), by repeats that take 0.2 s; tiny: it runs once, 0. */
double smoke_time(smoke *s, void (*fn)(smoke *s, void *arg), void *arg);
/* 1: so many bytes are free; 0: they are not, and a row says so. */
int smoke_fits(smoke *s, const char *what, size_t bytes);
/* "1.234 ms, 567.8 TFLOP/s, 57.4 % of peak" */
void smoke_rate(const smoke *s, char *out, size_t bytes, double flops, double seconds);

/* gpu_smoke_attention.c: suites, and the part of "rows" that is attention's. */
void smoke_attention(smoke *s);
void smoke_attention_rows(smoke *s);
void smoke_cudnn(smoke *s);
/* gpu_smoke_ring.c: two ranks or more. */
void smoke_ring(smoke *s);

#endif

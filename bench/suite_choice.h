/* suite_choice.h - --op and --bytes of `longtake bench comm`. */
#ifndef LT_SUITE_CHOICE_H
#define LT_SUITE_CHOICE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { LT_BENCH_SIZES_MAX = 32, LT_BENCH_OPS_MAX = 64, LT_BENCH_BYTES_MAX = 256 << 20 };

typedef struct lt_bench_choice {
    uint64_t ops; /* bit i: names[i] */
    size_t bytes[LT_BENCH_SIZES_MAX];
    int byte_count; /* 0: not given */
} lt_bench_choice;

/* ops "broadcast,agree" (NULL: all of names, fewer than LT_BENCH_OPS_MAX), bytes "64,32K,1M"
 * (multiples of 4, at most LT_BENCH_BYTES_MAX; NULL: none). Local. Errors: LT_EUSAGE, naming what
 * there is. */
lt_status lt_bench_choose(const char *ops, const char *const *names, int name_count,
                          const char *bytes, lt_bench_choice *out);

#endif

/* suite_choice.c - --op and --bytes of `longtake bench comm`. */
#include "bench/suite_choice.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

static lt_status choose_op(const char *word, size_t length, const char *const *names, int count,
                           uint64_t *ops)
{
    char all[512] = "";
    for (int i = 0; i < count; i++) {
        if (strlen(names[i]) == length && strncmp(names[i], word, length) == 0) {
            *ops |= UINT64_C(1) << i;
            return LT_OK;
        }
        const size_t used = strlen(all);
        (void)snprintf(all + used, sizeof all - used, "%s%s", i > 0 ? ", " : "", names[i]);
    }
    lt_hint("there are %s", all);
    LT_FAIL(LT_EUSAGE, "--op: want operations, separated by commas, found '%.*s'",
            (int)(length < 60 ? length : 60), word);
}

/* "8", "32K", "1M": K and M are 2^10 and 2^20. */
static lt_status choose_bytes(const char *word, size_t length, lt_bench_choice *out)
{
    uint64_t bytes = 0;
    size_t i = 0;
    for (; i < length && isdigit((unsigned char)word[i]) && bytes <= LT_BENCH_BYTES_MAX; i++)
        bytes = 10 * bytes + (uint64_t)(word[i] - '0');
    const int has_digits = i > 0;
    if (i + 1 == length && (word[i] == 'K' || word[i] == 'k'))
        bytes <<= 10, i++;
    else if (i + 1 == length && (word[i] == 'M' || word[i] == 'm'))
        bytes <<= 20, i++;
    if (!has_digits || i != length || bytes < 4 || bytes % 4 != 0 || bytes > LT_BENCH_BYTES_MAX)
        LT_FAIL(LT_EUSAGE,
                "--bytes: want multiples of 4 up to %dM, separated by commas, such as 64,32K,1M, "
                "found '%.*s'",
                LT_BENCH_BYTES_MAX >> 20, (int)(length < 60 ? length : 60), word);
    if (out->byte_count == LT_BENCH_SIZES_MAX)
        LT_FAIL(LT_EUSAGE, "--bytes: want at most %d sizes", LT_BENCH_SIZES_MAX);
    out->bytes[out->byte_count++] = (size_t)bytes;
    return LT_OK;
}

lt_status lt_bench_choose(const char *ops, const char *const *names, int name_count,
                          const char *bytes, lt_bench_choice *out)
{
    assert(name_count > 0 && name_count < LT_BENCH_OPS_MAX);
    *out = (lt_bench_choice){.ops = ops != NULL ? 0 : (UINT64_C(1) << name_count) - 1};
    for (const char *at = ops; at != NULL; at += *at == ',') {
        const size_t length = strcspn(at, ",");
        LT_TRY(choose_op(at, length, names, name_count, &out->ops));
        at += length;
        if (*at == '\0')
            break;
    }
    for (const char *at = bytes; at != NULL; at += *at == ',') {
        const size_t length = strcspn(at, ",");
        LT_TRY(choose_bytes(at, length, out));
        at += length;
        if (*at == '\0')
            break;
    }
    return LT_OK;
}

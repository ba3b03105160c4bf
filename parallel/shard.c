/* shard.c - which rank holds what: integers only. */
#include "parallel/shard.h"

#include <assert.h>

lt_range lt_share(int64_t total, int size, int rank)
{
    assert(total >= 0 && size > 0 && rank >= 0 && rank < size);
    const int64_t base = total / size, extra = total % size;
    const int64_t first = base * rank + (rank < extra ? rank : extra);
    return (lt_range){first, base + (rank < extra)};
}

int64_t lt_share_max(int64_t total, int size) { return lt_share(total, size, 0).count; }

int lt_share_owner(int64_t total, int size, int64_t i)
{
    assert(i >= 0 && i < total);
    const int64_t base = total / size, extra = total % size;
    /* Things held by the ranks that have one more; on one rank base + 1 might wrap. */
    const int64_t in_large = extra > 0 ? extra * (base + 1) : 0;
    if (i < in_large)
        return (int)(i / (base + 1));
    return (int)(extra + (i - in_large) / base); /* base > 0 here, since i < total */
}

lt_range lt_share_heads(int64_t heads, int64_t kv_heads, int size, int rank)
{
    assert(kv_heads > 0 && heads % kv_heads == 0);
    const int64_t group = heads / kv_heads;
    const lt_range groups = lt_share(kv_heads, size, rank);
    return (lt_range){groups.first * group, groups.count * group};
}

lt_range lt_overlap(lt_range a, lt_range b)
{
    const int64_t first = a.first > b.first ? a.first : b.first;
    const int64_t end_a = a.first + a.count, end_b = b.first + b.count;
    const int64_t end = end_a < end_b ? end_a : end_b;
    return (lt_range){first, end > first ? end - first : 0};
}

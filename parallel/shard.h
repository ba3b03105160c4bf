/* shard.h - which rank holds what: integers only.
 * Pure functions without communication; tests/unit/test_shard.c walks all sizes 1..16 with all
 * remainders. Uneven and empty shares are the normal case. */
#ifndef LT_SHARD_H
#define LT_SHARD_H

#include "base/tensor.h"

/* Contiguous share of `total` elements for `rank` of `size`: the first total % size ranks get one
 * more. Asserts 0 <= rank < size, total >= 0. */
lt_range lt_share(int64_t total, int size, int rank);
/* Largest share. */
int64_t lt_share_max(int64_t total, int size);
/* Which rank holds element i. */
int lt_share_owner(int64_t total, int size, int64_t i);
/* Share of heads when kv_heads groups must stay whole: the share of groups, in heads. */
lt_range lt_share_heads(int64_t heads, int64_t kv_heads, int size, int rank);
/* Intersection; count 0 when disjoint. */
lt_range lt_overlap(lt_range a, lt_range b);

#endif

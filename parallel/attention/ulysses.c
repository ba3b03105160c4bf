/* ulysses.c - rows against heads, inside one ring rank.
 * The exchange itself is lt_all_to_all_heads_each and lt_all_to_all_rows of collective.h, after
 * DeepSpeed-Ulysses (Jacobs et al. 2023). Q, K and V go in one exchange: ranks wait for each other
 * once, not three times. K and V land in one tensor, as the ring sends them. */
#include "parallel/attention/ulysses.h"
#include "parallel/transport/traffic.h"

lt_status lt_ulysses_out(lt_engine *engine, const lt_attention_share *share, const lt_event *after,
                         const lt_tensor *q, const lt_tensor *k, const lt_tensor *v,
                         lt_tensor *q_heads, lt_tensor *kv_heads, lt_event *done)
{
    const int64_t rows = lt_row_count(q_heads);
    lt_tensor k_heads = lt_view_outer(kv_heads, (lt_range){0, rows});
    lt_tensor v_heads = lt_view_outer(kv_heads, (lt_range){rows, rows});
    const lt_tensor *const from[] = {k, v, q};
    lt_tensor *const to[] = {&k_heads, &v_heads, q_heads};
    return lt_all_to_all_heads_each(engine, share->uly, after, from, 3, share->inner,
                                    share->inner_heads, share->width, to, done);
}

lt_status lt_ulysses_back(lt_engine *engine, const lt_attention_share *share, const lt_event *after,
                          const lt_tensor *y_heads, lt_tensor *y, lt_event *done)
{
    return lt_all_to_all_rows(engine, share->uly, after, y_heads, share->inner, share->inner_heads,
                              share->width, y, done);
}

void lt_ulysses_traffic(const lt_attention_share *share, lt_traffic *to)
{
    const int me = lt_group_rank(share->uly), last = lt_group_size(share->uly) - 1;
    const int64_t mine = share->inner[me].count, heads = share->inner_heads[me].count;
    const int64_t others = share->inner[last].first + share->inner[last].count - mine;
    const uint64_t element = (uint64_t)share->width * lt_dtype_bytes(share->act);
    const uint64_t out = (uint64_t)(mine * (share->heads - heads));
    const uint64_t in = (uint64_t)(others * heads);
    to->sent_bytes += element * (3 * out + in);
    to->received_bytes += element * (3 * in + out);
}

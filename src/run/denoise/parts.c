/* parts.c - the parts in which a clip becomes final. */
#include "run/denoise/parts.h"

#include <assert.h>

lt_status lt_parts_new(const lt_plan *plan, lt_parts *out)
{
    *out = (lt_parts){.count = 1};
    for (int s = 0; s < plan->stream_count; s++)
        out->whole[s] = lt_stream_units(&plan->stream[s]);
    if (plan->windowing.mode != LT_MODE_EXTEND)
        return LT_OK;
    LT_TRY(lt_window_set_new(plan, 0, 1, &out->set));
    out->count = out->set.time[0].count;
    return LT_OK;
}

void lt_parts_free(lt_parts *parts)
{
    lt_window_set_free(&parts->set);
    *parts = (lt_parts){0};
}

lt_range lt_parts_range(const lt_parts *parts, int64_t part, int stream)
{
    assert(part >= 0 && part < parts->count);
    if (parts->set.plan == NULL)
        return (lt_range){0, parts->whole[stream]};
    return lt_window_set_final(&parts->set, stream, part);
}

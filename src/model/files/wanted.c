/* wanted.c - the words of which networks make their lists of tensors. */
#include "model/files/wanted.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

lt_status lt_want(const lt_wanter *to, lt_dims dims, const char *format, ...)
{
    char name[160];
    va_list args;
    va_start(args, format);
    const int n = vsnprintf(name, sizeof name, format, args);
    va_end(args);
    assert(n > 0 && n < (int)sizeof name);
    (void)n;
    const lt_wanted wanted = {.name = name, .need = to->need, .dims = dims};
    return to->fn(to->ctx, &wanted);
}

lt_status lt_want_linear(const lt_wanter *to, const char *name, int64_t out, int64_t in)
{
    LT_TRY(lt_want(to, LT_DIMS(out, in), "%s.weight", name));
    LT_TRY(lt_want(to, LT_DIMS(out), "%s.bias", name));
    return LT_OK;
}

lt_status lt_want_norm(const lt_wanter *to, const char *name, int64_t n)
{
    LT_TRY(lt_want(to, LT_DIMS(n), "%s.weight", name));
    LT_TRY(lt_want(to, LT_DIMS(n), "%s.bias", name));
    return LT_OK;
}

lt_status lt_wanted_check(void *checkpoint, const lt_wanted *wanted)
{
    if (wanted->need == LT_NEED_NOT)
        return LT_OK;
    return lt_checkpoint_list(checkpoint, wanted->name, wanted->dims,
                              wanted->need == LT_NEED_TABLES);
}

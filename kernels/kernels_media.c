/* kernels_media.c - the checked ops of video and audio.
 * See kernels.c for what a checked op does. */
#include "kernels/check.h"
#include "kernels/kernels.h"

enum { FILTER_TAPS = 12 }; /* of snake_aa's two filters: spec/minimax-h3.md 7.3 */

lt_status lt_pad_reflect(lt_queue *q, const lt_tensor *x, int64_t top, int64_t bottom, int64_t left,
                         int64_t right, lt_tensor *y)
{
    const char *name = "pad_reflect";
    LT_TRY(lt_check_dense(name, "x", x, LT_SET_F32, LT_ANY, LT_ANY));
    if (x->ndim != 5)
        LT_FAIL(LT_ESHAPE, "%s: x: want [B, T, H, W, C], found %d dims", name, x->ndim);
    const int64_t pad[4] = {top, bottom, left, right};
    for (int i = 0; i < 4; i++)
        if (pad[i] < 0 || pad[i] >= (x->dim[2 + i / 2] > 0 ? x->dim[2 + i / 2] : 1))
            LT_FAIL(LT_ESHAPE,
                    "%s: pads: want 0 or more and less than the side of %lld, found %lld", name,
                    (long long)x->dim[2 + i / 2], (long long)pad[i]);
    LT_TRY(lt_check_dims(name, "y", y, LT_SET_F32,
                         LT_DIMS(x->dim[0], x->dim[1], x->dim[2] + top + bottom,
                                 x->dim[3] + left + right, x->dim[4])));
    const lt_op op = {
        .kind = LT_OP_PAD_REFLECT, .in = {*x}, .out = {*y}, .pad = {top, bottom, left, right}};
    return lt_check_submit(q, &op);
}

lt_status lt_snake(lt_queue *q, const lt_tensor *x, const lt_tensor *alpha, lt_tensor *y)
{
    LT_TRY(lt_check_dense("snake", "x", x, LT_SET_F32, LT_ANY, LT_ANY));
    LT_TRY(lt_check_dense("snake", "y", y, LT_SET_F32, lt_row_count(x), lt_row_width(x)));
    LT_TRY(lt_check_vector("snake", "alpha", alpha, LT_SET_F32, lt_row_width(x)));
    const lt_op op = {.kind = LT_OP_SNAKE, .in = {*x, *alpha}, .out = {*y}};
    return lt_check_submit(q, &op);
}

lt_status lt_snake_aa(lt_queue *q, const lt_tensor *x, const lt_tensor *alpha,
                      const lt_tensor *beta, const lt_tensor *up, const lt_tensor *down,
                      lt_tensor *y)
{
    const char *name = "snake_aa";
    LT_TRY(lt_check_dense(name, "x", x, LT_SET_F32, LT_ANY, LT_ANY));
    if (x->ndim != 3)
        LT_FAIL(LT_ESHAPE, "%s: x: want [B, T, C], found %d dims", name, x->ndim);
    LT_TRY(lt_check_dims(name, "y", y, LT_SET_F32, LT_DIMS(x->dim[0], x->dim[1], x->dim[2])));
    LT_TRY(lt_check_vector(name, "alpha", alpha, LT_SET_F32, x->dim[2]));
    LT_TRY(lt_check_vector(name, "beta", beta, LT_SET_F32, x->dim[2]));
    LT_TRY(lt_check_vector(name, "up", up, LT_SET_F32, FILTER_TAPS));
    LT_TRY(lt_check_vector(name, "down", down, LT_SET_F32, FILTER_TAPS));
    const lt_op op = {.kind = LT_OP_SNAKE_AA, .in = {*x, *alpha, *beta, *up, *down}, .out = {*y}};
    return lt_check_submit(q, &op);
}

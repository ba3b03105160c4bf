/* standin_check.c - what a descriptor must be where it ends: shapes that fit, knobs that exist. */
#include "tests/emu/cudnn/standin_impl.h"

enum { ENGINE_PINNED = 9, KERNEL_CFG = 24 };

static int check_tensor(descriptor *d)
{
    const int64_t *dim = of(d, LT_DNN_TENSOR_DIMENSIONS)->v.i;
    const int64_t *stride = of(d, LT_DNN_TENSOR_STRIDES)->v.i;
    const int64_t type = number(d, LT_DNN_TENSOR_DATA_TYPE, -1);
    const int64_t size = type == LT_DNN_FLOAT ? 4 : 2;
    if (type != LT_DNN_FLOAT && type != LT_DNN_HALF && type != LT_DNN_BFLOAT16)
        return refuse(NOT_SUPPORTED, "a tensor of type %lld", (long long)type);
    for (int i = 0; i < 4; i++)
        if (dim[i] < 1 || stride[i] < 1)
            return refuse(BAD_PARAM, "a tensor's dimension %d is %lld with stride %lld", i,
                          (long long)dim[i], (long long)stride[i]);
    if (dim[0] != 1 || stride[3] != 1)
        return refuse(NOT_SUPPORTED, "a tensor whose last dimension is not dense");
    if (number(d, LT_DNN_TENSOR_ALIGNMENT, 0) != 16)
        return refuse(BAD_PARAM, "a tensor's alignment: want 16, found %lld",
                      (long long)number(d, LT_DNN_TENSOR_ALIGNMENT, 0));
    if (dim[3] > 1 && (stride[2] * size % 16 != 0 || stride[1] * size % 16 != 0))
        return refuse(BAD_PARAM, "a tensor's rows or heads do not begin at 16 bytes");
    /* Heads side by side in a row, or rows side by side in a head: no two elements in one place. */
    const int heads_in_rows = stride[1] >= dim[3] && stride[2] >= dim[1] * stride[1];
    const int rows_in_heads = stride[2] >= dim[3] && stride[1] >= dim[2] * stride[2];
    if (dim[1] > 1 && dim[2] > 1 && !heads_in_rows && !rows_in_heads)
        return refuse(BAD_PARAM, "a tensor's elements lie on each other");
    return 0;
}

static int has_dims(descriptor *t, int64_t heads, int64_t rows, int64_t width)
{
    const int64_t *dim = of(t, LT_DNN_TENSOR_DIMENSIONS)->v.i;
    return dim[1] == heads && dim[2] == rows && dim[3] == width;
}

static int is_of(descriptor *t, int64_t type, int by_value)
{
    return number(t, LT_DNN_TENSOR_DATA_TYPE, -1) == type &&
           number(t, LT_DNN_TENSOR_IS_BY_VALUE, 0) == by_value;
}

static int check_attention(descriptor *d)
{
    static const int names[] = {LT_DNN_SDPA_Q, LT_DNN_SDPA_K,     LT_DNN_SDPA_V,
                                LT_DNN_SDPA_O, LT_DNN_SDPA_SCALE, LT_DNN_SDPA_STATS};
    descriptor *t[6] = {NULL};
    for (int i = 0; i < 6; i++) {
        t[i] = part(d, names[i]);
        if (t[i] == NULL && names[i] != LT_DNN_SDPA_STATS)
            return refuse(BAD_PARAM, "attention: tensor %d was freed", names[i]);
        for (int k = 0; k < i && t[i] != NULL; k++)
            if (number(t[i], LT_DNN_TENSOR_UNIQUE_ID, 0) ==
                number(t[k], LT_DNN_TENSOR_UNIQUE_ID, 0))
                return refuse(BAD_PARAM, "attention: two tensors have one number");
    }
    const int64_t *q = of(t[0], LT_DNN_TENSOR_DIMENSIONS)->v.i;
    const int64_t *k = of(t[1], LT_DNN_TENSOR_DIMENSIONS)->v.i;
    const int64_t type = number(t[0], LT_DNN_TENSOR_DATA_TYPE, -1);
    if (type == LT_DNN_FLOAT || !is_of(t[0], type, 0) || !is_of(t[1], type, 0) ||
        !is_of(t[2], type, 0) || !is_of(t[3], type, 0))
        return refuse(NOT_SUPPORTED, "attention: q, k, v, y want one type of 16 bits");
    if (q[3] != 64 && q[3] != 96 && q[3] != 128)
        return refuse(NOT_SUPPORTED, "attention: heads of %lld", (long long)q[3]);
    if (q[1] % k[1] != 0 || !has_dims(t[1], k[1], k[2], q[3]) ||
        !has_dims(t[2], k[1], k[2], q[3]) || !has_dims(t[3], q[1], q[2], q[3]))
        return refuse(BAD_PARAM, "attention: sizes of q, k, v, y do not fit");
    if (!is_of(t[4], LT_DNN_FLOAT, 1) || !has_dims(t[4], 1, 1, 1))
        return refuse(BAD_PARAM, "attention: the scale wants to be one float by value");
    if (t[5] == NULL)
        return 0;
    const int64_t *stride = of(t[5], LT_DNN_TENSOR_STRIDES)->v.i;
    if (!is_of(t[5], LT_DNN_FLOAT, 0) || !has_dims(t[5], q[1], q[2], 1) || stride[1] != q[2] ||
        stride[2] != 1)
        return refuse(BAD_PARAM, "attention: stats want to be packed floats [1, heads, rows, 1]");
    return 0;
}

static int is_handle(descriptor *d, int name)
{
    const handle *h = of(d, name)->v.p[0];
    return h != NULL && h->is_handle;
}

int64_t knob_of(descriptor *config, int knob, int64_t otherwise)
{
    const attribute *choices = of(config, LT_DNN_ENGINECFG_KNOB_CHOICES);
    for (int64_t i = 0; choices != NULL && i < choices->count; i++) {
        descriptor *choice = alive(choices->v.p[i]);
        if (choice != NULL && number(choice, LT_DNN_KNOB_CHOICE_TYPE, -1) == knob)
            return number(choice, LT_DNN_KNOB_CHOICE_VALUE, 0);
    }
    return otherwise;
}

static int check_config(descriptor *d)
{
    descriptor *engine = part(d, LT_DNN_ENGINECFG_ENGINE);
    const attribute *choices = of(d, LT_DNN_ENGINECFG_KNOB_CHOICES);
    if (engine == NULL)
        return refuse(BAD_PARAM, "an engine config: its engine was freed");
    for (int64_t i = 0; choices != NULL && i < choices->count; i++)
        for (int64_t k = 0; k < i; k++)
            if (number(alive(choices->v.p[i]), LT_DNN_KNOB_CHOICE_TYPE, 0) ==
                number(alive(choices->v.p[k]), LT_DNN_KNOB_CHOICE_TYPE, 0))
                return refuse(BAD_PARAM, "an engine config: a knob is set twice");
    const int64_t stream_k = knob_of(d, LT_DNN_KNOB_STREAM_K, -1);
    const int has = number(engine, LT_DNN_ENGINE_GLOBAL_INDEX, 0) == ENGINE_PINNED;
    if (stream_k > 1 || (stream_k >= 0 && !has))
        return refuse(NOT_SUPPORTED, "an engine config: no such knob, or value %lld",
                      (long long)stream_k);
    if (knob_of(d, KERNEL_CFG, -1) < 0)
        return refuse(BAD_PARAM, "an engine config: the choice of the kernel got lost");
    return 0;
}

/* Of a plan: all that it stands on must still be there, and be the graph's handle's. */
static int check_plan(descriptor *d)
{
    descriptor *config = part(d, LT_DNN_PLAN_ENGINECFG);
    descriptor *engine = config != NULL ? part(config, LT_DNN_ENGINECFG_ENGINE) : NULL;
    descriptor *graph = engine != NULL ? part(engine, LT_DNN_ENGINEHEUR_GRAPH) : NULL;
    if (graph == NULL || part(graph, LT_DNN_GRAPH_OPS) == NULL)
        return refuse(BAD_PARAM, "a plan: its engine or graph was freed");
    if (!is_handle(d, LT_DNN_PLAN_HANDLE) ||
        of(d, LT_DNN_PLAN_HANDLE)->v.p[0] != of(graph, LT_DNN_GRAPH_HANDLE)->v.p[0])
        return refuse(BAD_PARAM, "a plan: want the graph's handle");
    return 0;
}

static int check_pack(descriptor *d)
{
    const attribute *ids = of(d, LT_DNN_PACK_UNIQUE_IDS);
    const attribute *pointers = of(d, LT_DNN_PACK_DATA_POINTERS);
    if (ids->count != pointers->count)
        return refuse(BAD_PARAM, "a variant pack: %lld numbers and %lld addresses",
                      (long long)ids->count, (long long)pointers->count);
    for (int64_t i = 0; i < ids->count; i++)
        for (int64_t k = 0; k < i; k++)
            if (ids->v.i[i] == ids->v.i[k])
                return refuse(BAD_PARAM, "a variant pack: number %lld twice",
                              (long long)ids->v.i[i]);
    return 0;
}

int64_t workspace_of(descriptor *config)
{
    enum { LARGE = 2 << 20, PARTS = 512 << 10, FEW = 256 };
    descriptor *engine = part(config, LT_DNN_ENGINECFG_ENGINE);
    if (is_mode("large"))
        return LARGE;
    if (engine == NULL || number(engine, LT_DNN_ENGINE_GLOBAL_INDEX, 0) != ENGINE_PINNED)
        return 0;
    return knob_of(config, LT_DNN_KNOB_STREAM_K, 1) != 0 ? PARTS : FEW;
}

int check_final(descriptor *d)
{
    switch (d->type) {
    case LT_DNN_TENSOR:
        return check_tensor(d);
    case LT_DNN_SDPA_FWD:
        return check_attention(d);
    case LT_DNN_GRAPH:
        return is_handle(d, LT_DNN_GRAPH_HANDLE) ? 0 : refuse(BAD_PARAM, "a graph of no handle");
    case LT_DNN_ENGINEHEUR:
        return number(d, LT_DNN_ENGINEHEUR_MODE, -1) == LT_DNN_HEUR_A
                   ? 0
                   : refuse(NOT_SUPPORTED, "heuristics: want mode A");
    case LT_DNN_ENGINECFG:
        return check_config(d);
    case LT_DNN_PLAN:
        return check_plan(d);
    case LT_DNN_VARIANT_PACK:
        return check_pack(d);
    default:
        return 0;
    }
}

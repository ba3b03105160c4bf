/* cudnn.h - cuDNN's softmax attention: opening the library, and plans for it.
 *
 * cuDNN is a closed library that we neither ship nor need: it is opened at run time where it is
 * installed, and what cannot be opened is one reason in words. So a build has no header of it;
 * below is by hand what is called, 13 functions and their numbers. tests/emu/cudnn/real_header.c
 * holds them against NVIDIA's header where that is found.
 *
 * What is asked of it: one operation, scaled-dot-product attention forward with the log-sum-exp,
 * for one shape, strides included (docs/spec/gpu-options.md 1.3). A plan is the first of the
 * library's candidates that claims no nondeterminism, that divides no key range over thread blocks
 * (STREAM_K 0, or a row's bits would depend on how many rows come with it) and that needs at most
 * LT_DNN_WORKSPACE bytes. Nothing here calls CUDA; attention_cudnn.c runs plans on the device.
 *
 * All functions are Local and Blocking. Tested: tests/emu/cudnn. */
#ifndef LT_CUDNN_H
#define LT_CUDNN_H

#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"
#include "base/status.h"

/* The least version: 9.13.0 brought the operation, 9.13.1 repaired it. As cudnnGetVersion counts.
 */
enum { LT_DNN_VERSION_LEAST = 91301, LT_DNN_WORKSPACE = 1 << 20 };

/* NVIDIA's numbers: cudnn_graph.h 9.19. */
enum { LT_DNN_FLOAT = 0, LT_DNN_HALF = 2, LT_DNN_BFLOAT16 = 9 }; /* cudnnDataType_t */
enum {                                                           /* cudnnBackendAttributeType_t */
       LT_DNN_TYPE_HANDLE = 0,
       LT_DNN_TYPE_DATA_TYPE = 1,
       LT_DNN_TYPE_BOOLEAN = 2,
       LT_DNN_TYPE_INT64 = 3,
       LT_DNN_TYPE_VOID_PTR = 6,
       LT_DNN_TYPE_HEUR_MODE = 8,
       LT_DNN_TYPE_KNOB_TYPE = 9,
       LT_DNN_TYPE_NUMERICAL_NOTE = 11,
       LT_DNN_TYPE_DESCRIPTOR = 15,
       LT_DNN_TYPE_CHAR = 24
};
enum { /* cudnnBackendDescriptorType_t */
       LT_DNN_ENGINE = 2,
       LT_DNN_ENGINECFG = 3,
       LT_DNN_ENGINEHEUR = 4,
       LT_DNN_PLAN = 5,
       LT_DNN_KNOB_CHOICE = 7,
       LT_DNN_KNOB_INFO = 8,
       LT_DNN_GRAPH = 15,
       LT_DNN_VARIANT_PACK = 16,
       LT_DNN_TENSOR = 17,
       LT_DNN_DEVICEPROP = 38,
       LT_DNN_SDPA_FWD = 41
};
enum { /* cudnnBackendAttributeName_t */
       LT_DNN_ENGINEHEUR_MODE = 200,
       LT_DNN_ENGINEHEUR_GRAPH = 201,
       LT_DNN_ENGINEHEUR_RESULTS = 202,
       LT_DNN_ENGINEHEUR_DEVICEPROP = 204,
       LT_DNN_ENGINECFG_ENGINE = 300,
       LT_DNN_ENGINECFG_KNOB_CHOICES = 302,
       LT_DNN_PLAN_HANDLE = 400,
       LT_DNN_PLAN_ENGINECFG = 401,
       LT_DNN_PLAN_WORKSPACE_SIZE = 402,
       LT_DNN_PLAN_DEVICEPROP = 407,
       LT_DNN_KNOB_CHOICE_TYPE = 600,
       LT_DNN_KNOB_CHOICE_VALUE = 601,
       LT_DNN_GRAPH_HANDLE = 800,
       LT_DNN_GRAPH_OPS = 801,
       LT_DNN_TENSOR_ALIGNMENT = 900,
       LT_DNN_TENSOR_DATA_TYPE = 901,
       LT_DNN_TENSOR_DIMENSIONS = 902,
       LT_DNN_TENSOR_STRIDES = 903,
       LT_DNN_TENSOR_UNIQUE_ID = 906,
       LT_DNN_TENSOR_IS_BY_VALUE = 908,
       LT_DNN_PACK_UNIQUE_IDS = 1000,
       LT_DNN_PACK_DATA_POINTERS = 1001,
       LT_DNN_PACK_WORKSPACE = 1003,
       LT_DNN_KNOB_INFO_TYPE = 1200,
       LT_DNN_ENGINE_GLOBAL_INDEX = 1301,
       LT_DNN_ENGINE_KNOB_INFO = 1302,
       LT_DNN_ENGINE_NUMERICAL_NOTE = 1303,
       LT_DNN_DEVICEPROP_JSON = 2702,
       LT_DNN_SDPA_Q = 2800,
       LT_DNN_SDPA_K = 2801,
       LT_DNN_SDPA_V = 2802,
       LT_DNN_SDPA_O = 2803,
       LT_DNN_SDPA_STATS = 2804,
       LT_DNN_SDPA_SCALE = 2805
};
enum { LT_DNN_HEUR_A = 3, LT_DNN_KNOB_STREAM_K = 38, LT_DNN_NOTE_NONDETERMINISTIC = 4 };

typedef struct lt_dnn_api {
    size_t (*version)(void);        /* 91900: 9.19.0 */
    size_t (*cudart_version)(void); /* 13010: for CUDA 13.1 */
    const char *(*error_string)(int status);
    void (*last_error)(char *message, size_t bytes);
    int (*create)(void **handle);
    int (*destroy)(void *handle);
    int (*set_stream)(void *handle, void *stream);
    int (*descriptor_new)(int type, void **descriptor);
    int (*descriptor_free)(void *descriptor);
    int (*set)(void *descriptor, int name, int type, int64_t count, const void *values);
    int (*get)(const void *descriptor, int name, int type, int64_t room, int64_t *count,
               void *values);
    int (*finalize)(void *descriptor);
    int (*execute)(void *handle, void *plan, void *pack);
} lt_dnn_api;

/* The library, opened once; it stays open. cuda_major: of the runtime that we are linked with.
 * NULL: it cannot be used. text: "cuDNN 9.19.0", or why not. */
const lt_dnn_api *lt_dnn_open(int cuda_major, char *text, size_t bytes);

/* An attention as a plan knows it: two that differ in anything have plans of their own. Strides
 * are elements from row to row; heads of one row lie side by side. */
typedef struct lt_dnn_shape {
    int64_t queries, keys, heads, kv_heads, width;
    int64_t q_stride, k_stride, v_stride, y_stride;
    lt_dtype dtype; /* of q, k, v, y: LT_BF16 or LT_F16 */
    int has_lse;
} lt_dnn_shape;

int lt_dnn_shape_equal(const lt_dnn_shape *a, const lt_dnn_shape *b);
/* "1797 queries, 2048 keys, 56 heads of 128, bf16" */
const char *lt_dnn_shape_text(const lt_dnn_shape *shape, char *text, size_t bytes);

/* Whom a plan is made for: the device that handle is bound to; or, with handle NULL, one that is
 * not here, described (LT_DNN_DEVICEPROP), for which a plan can be made and not run. */
typedef struct lt_dnn_target {
    const lt_dnn_api *api;
    void *handle, *device;
} lt_dnn_target;

typedef struct lt_dnn_plan {
    lt_dnn_shape shape;
    void *plan; /* NULL: there is none */
    size_t workspace_bytes;
    int64_t engine;
    int has_stream_k; /* the engine has that knob; it is at 0 */
    void **made;      /* all descriptors behind the plan: they live as long as it */
    int made_count;
} lt_dnn_plan;

/* Errors: LT_EDEVICE (what cuDNN said of the last candidate), LT_ENOMEM. */
lt_status lt_dnn_plan_new(const lt_dnn_target *target, const lt_dnn_shape *shape, lt_dnn_plan *out);
void lt_dnn_plan_free(const lt_dnn_api *api, lt_dnn_plan *plan);
/* Queued on the stream that the handle has. workspace: plan's bytes, or any address where that is
 * 0. Addresses are of the device, multiples of 16; lse f32 [heads, queries] dense, or NULL. */
lt_status lt_dnn_plan_run(const lt_dnn_target *target, const lt_dnn_plan *plan, const void *q,
                          const void *k, const void *v, void *y, void *lse, float scale,
                          void *workspace);
/* Errors: LT_EDEVICE with cuDNN's words. */
lt_status lt_dnn_try(const lt_dnn_api *api, const char *what, int status);

#endif

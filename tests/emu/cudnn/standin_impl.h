/* standin_impl.h - what the stand-in's files know of each other: descriptors as they are kept. */
#ifndef LT_DNN_STANDIN_H
#define LT_DNN_STANDIN_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/cuda/cudnn.h"

enum { ATTRIBUTES_MAX = 8, VALUES_MAX = 32, BAD_PARAM = 2000, NOT_SUPPORTED = 3000 };

typedef struct attribute {
    int name;
    int64_t count; /* 0: not set */
    union {
        int64_t i[VALUES_MAX];
        void *p[VALUES_MAX];
        int n[VALUES_MAX];
        unsigned char b[VALUES_MAX];
    } v;
} attribute;

/* An attribute of a kind of descriptor, as cuDNN documents it. */
typedef struct attribute_row {
    int descriptor, name, type;
    int64_t least, most; /* values */
    int required, of;    /* of: the kind of descriptor that the values are; -1: none */
} attribute_row;

typedef struct descriptor {
    int type, is_final;
    attribute set[ATTRIBUTES_MAX];
    int count;
    struct descriptor *next;
} descriptor;

typedef struct handle {
    int is_handle;
    void *stream;
    int has_stream;
} handle;

typedef struct standin_counts {
    long plans, executions, descriptors, handles, refused;
    int64_t engine, stream_k; /* the last execution's */
} standin_counts;
extern standin_counts standin;

/* standin.c */
/* A call that the library refuses: one line, and the code. */
int refuse(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
descriptor *alive(const void *address); /* NULL: no descriptor, or freed */
attribute *of(descriptor *d, int name); /* NULL: not set */
int64_t number(descriptor *d, int name, int64_t otherwise);
descriptor *part(descriptor *d, int name); /* of one descriptor that must be alive; else NULL */
int is_mode(const char *mode);             /* LT_EMU_CUDNN */

/* standin_check.c: 0, or the refusal, of a descriptor that has all that it requires. */
int check_final(descriptor *d);
int64_t workspace_of(descriptor *config);
int64_t knob_of(descriptor *config, int knob, int64_t otherwise);

/* standin_run.c */
int run_attention(handle *h, descriptor *plan, descriptor *pack);

#endif

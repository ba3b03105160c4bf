/* linear_dnnl.h - linear layers by oneDNN, where the CPU multiplies bf16 natively.
 *
 * A layer is cut into column blocks, each packed in the format oneDNN asks for; rows go through in
 * blocks of one fixed size, the last one padded in scratch, each by one thread: so a row's bits
 * depend on nothing but the row. All functions are Local and Blocking. */
#ifndef LT_LINEAR_DNNL_H
#define LT_LINEAR_DNNL_H

#include "kernels/backend.h"

typedef struct lt_cpu_dnnl lt_cpu_dnnl;

/* 1 if layers like this one go through oneDNN on this machine: x in bf16 and a CPU with avx512_bf16
 * or AMX (or, with lt_cpu_dnnl_force(1), any layer: for tests and measurements). */
int lt_cpu_dnnl_takes(const lt_linear_spec *spec);
void lt_cpu_dnnl_force(int on);

size_t lt_cpu_dnnl_bytes(const lt_linear_spec *spec);
/* Packs into memory, which must be 64-aligned and outlive the layer. Errors: LT_EDEVICE, LT_ENOMEM.
 */
lt_status lt_cpu_dnnl_prepare(const lt_linear_spec *spec, void *memory, lt_cpu_dnnl **out);
void lt_cpu_dnnl_release(lt_cpu_dnnl **dnnl);
/* Scratch of a thread for a layer of so many inputs, but for the library's own (it says 0 here). */
size_t lt_cpu_dnnl_scratch(int64_t in, lt_dtype compute);
/* "oneDNN 2.6.3": valid for ever. */
const char *lt_cpu_dnnl_version(void);
lt_status lt_cpu_dnnl_apply(const lt_cpu_dnnl *dnnl, const lt_op *op, const float *bias);

#endif

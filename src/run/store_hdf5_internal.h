/* store_hdf5_internal.h - what the two files store_hdf5*.c share.                 Level 4: run
 * Nobody else includes this: HDF5 is known here only. All functions are Local and Blocking. */
#ifndef LT_STORE_HDF5_INTERNAL_H
#define LT_STORE_HDF5_INTERNAL_H

/* The calls of HDF5 1.10, which 1.12 and 1.14 keep under this name. */
#define H5_USE_110_API
#include <hdf5.h>

#include "run/store_hdf5.h"

enum {
    LT_H5_FILTER_ZSTD = 32015,       /* registered with The HDF Group */
    LT_H5_CHUNK_BYTES = 1 << 20,     /* as written, about */
    LT_H5_CHUNK_BYTES_MAX = 1 << 30, /* a reader refuses more */
    LT_H5_DATASETS_MAX = 4096,
    LT_H5_TEXT_BYTES_MAX = 1 << 20
};
#define LT_H5_ELEMENTS_MAX (INT64_C(1) << 50)

/* A dataset seen as [outer, time, inner]. */
typedef struct lt_h5_axes {
    int64_t outer, time, inner;
} lt_h5_axes;

/* ndim and time_axis must be valid. Never fails. */
lt_h5_axes lt_h5_cut(const lt_latents_stream *s);

/* The bytes after HDF5's (see the header). */
#define LT_H5_SEAL "LTXXH64\n"
enum { LT_H5_SEAL_BYTES = 24 };

/* xxh64 of the first `bytes` bytes. Errors: LT_EIO, LT_ENOMEM. */
lt_status lt_h5_hash(int fd, const char *path, int64_t bytes, uint64_t *out);

/* Before HDF5 is used in a function of the header: its messages are kept, not printed. Never fails.
 */
void lt_h5_begin(void);

/* Fail with path, what, and HDF5's last words. Returns status. */
lt_status lt_h5_fail(lt_status status, const char *path, const char *what);

#endif

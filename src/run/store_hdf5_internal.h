/* store_hdf5_internal.h - what the files store_hdf5*.c share.
 * Nobody else includes this, but tests: HDF5 is known here only. All functions are Local and
 * Blocking. */
#ifndef LT_STORE_HDF5_INTERNAL_H
#define LT_STORE_HDF5_INTERNAL_H

/* The calls of HDF5 1.10, which 1.12 and 1.14 keep under this name. */
#define H5_USE_110_API
#include <hdf5.h>

#include "run/store_hdf5.h"

enum {
    LT_H5_FILTER_ZSTD = 32015,   /* registered with The HDF Group */
    LT_H5_CHUNK_BYTES = 1 << 20, /* as written, about */
    LT_H5_CHUNK_BYTES_MAX =
        128 << 20, /* of one frame, 18,000x18,000 pixels: a reader refuses more */
    /* A reader's limits on one file. */
    LT_H5_DATASETS_MAX = 1024,
    LT_H5_SPANS_MAX = 1 << 16, /* chunks */
    LT_H5_HOLES_BYTES_MAX = 64 << 20,
    LT_H5_VALUES_BYTES_FREE = 64 << 20, /* of all values, however small the file; beyond that at */
    LT_H5_VALUES_RATIO_MAX = 8,         /* most so many times the file: noise packs 1.1 times */
    LT_H5_HASH_BYTES = 128 << 20,       /* kept while a rewritten dataset's hash is taken */
    LT_H5_TEXTS_BYTES_MAX = 8 << 20,    /* all texts; a prompt has at most 256 K letters */
    LT_H5_CHILD_MIB = 128,              /* what parsing may take */
    LT_H5_CHILD_SECONDS = 4,            /* of the processor, and by the clock */
    LT_H5_FACTS_BYTES_MAX = 32 << 20
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

/* 1 if HDF5's last failure was that it had no memory. */
int lt_h5_wanted_memory(void);

/* Fail with path, what, and HDF5's last words. Returns status. */
lt_status lt_h5_fail(lt_status status, const char *path, const char *what);

/* The facts of the file that is open as fd, by HDF5 (store_hdf5_parse.c has their shape), in this
 * process; the caller owns *out. variable: texts of variable length are read too. Messages don't
 * name the file. Errors: LT_EDATA, LT_ENOMEM. */
lt_status lt_h5_facts(int fd, int variable, json_t **out);

/* The same by a child with limits, and with path in the messages. Errors also: LT_EDATA where the
 * child crashed or overran its limits, LT_EUNAVAIL where there can be none. */
lt_status lt_h5_ask(int fd, const char *path, int variable, json_t **out);

#endif

/* safetensors.h - one .safetensors file: its header, checked, and the open file.
 * Inside of src/model: networks use checkpoint.h. Source of the format: the safetensors README and
 * what its library refuses (version 0.6). Local, Blocking. */
#ifndef LT_SAFETENSORS_H
#define LT_SAFETENSORS_H

#include "base/tensor.h"
#include "model/files/remote/source.h"

enum { LT_STORED_DIMS_MAX = 8 };

/* One tensor as stored: bytes [begin, end) of the data, counted from the header's end. */
typedef struct lt_stored {
    char *name;
    lt_dtype dtype;
    int ndim; /* 0: a single value */
    int64_t dim[LT_STORED_DIMS_MAX];
    uint64_t begin, end;
} lt_stored;

typedef struct lt_safetensors {
    char *path;
    lt_source_file data;
    uint64_t data_first; /* where the data begins in the file */
    uint64_t data_bytes;
    int64_t count;
    lt_stored *tensor; /* by begin */
    int is_compared;   /* with the list of hashes beside it, if there is one */
} lt_safetensors;

/* Open a file and check its header whole: length, JSON, no name twice, dtypes, shapes against byte
 * ranges, no overlap, no hole, nothing past the end. No value is read. Errors: LT_ENOINPUT,
 * LT_EDATA (file, tensor, wanted, found), LT_ENOMEM. */
lt_status lt_safetensors_open(const char *path, lt_safetensors **out);
void lt_safetensors_close(lt_safetensors **file);

/* "[2, 24, 7]" into a buffer of the caller. */
const char *lt_dims_text(const int64_t *dim, int ndim, char *buffer, size_t bytes);

#endif

/* checkpoint.h - a folder of safetensors as one set of named tensors.
 *
 * Opens one .safetensors file, or a folder with config.json and either one shard or an index
 * (*.safetensors.index.json) with its shards. Only headers are read at open; they are checked
 * fully: header length, JSON, dtypes, shapes against byte ranges, ranges inside the file, no
 * overlap, every indexed tensor present in its shard. Values are read later, by slices, with large
 * preads (no mmap: a file error must be an error). F32, BF16, F16, F64, I32, I64, U8, U16.
 * An opened one belongs to one thread at a time: reads share a buffer.
 *
 * A folder in another layout is read under the same names: the map that it is opened with turns a
 * name into rows of the stored tensor (name_map.h). Local, Blocking. Errors:
 * LT_ENOINPUT, LT_EDATA: file, tensor, wanted, found. */
#ifndef LT_CHECKPOINT_H
#define LT_CHECKPOINT_H

#include "base/new_file.h"
#include "base/tensor.h"
#include "model/files/name_map.h"

typedef struct lt_checkpoint lt_checkpoint;

/* path: a .safetensors file, an index, or a part's folder. map: of the other layout that it may be
 * in, copied; NULL: names are as stored. Errors also: LT_ENOMEM. */
lt_status lt_checkpoint_open(const char *path, const lt_name_map *map, lt_checkpoint **out);
void lt_checkpoint_close(lt_checkpoint **checkpoint);
/* 1 if the names are those of the map's layout. */
int lt_checkpoint_is_mapped(const lt_checkpoint *checkpoint);

typedef struct lt_tensor_info {
    const char *name; /* as asked for */
    const char *file; /* path of the shard */
    lt_dtype dtype;
    int ndim;
    int64_t dim[8];
    uint64_t bytes;
} lt_tensor_info;

/* 1 and *out filled if there is such a tensor. Marks nothing. */
int lt_checkpoint_find(const lt_checkpoint *checkpoint, const char *name, lt_tensor_info *out);
/* Stored tensors in file order (original names as stored): for inspect. */
int64_t lt_checkpoint_count(const lt_checkpoint *checkpoint);
lt_tensor_info lt_checkpoint_at(const lt_checkpoint *checkpoint, int64_t index);

/* Read rows x columns of a tensor seen as [dim0, product of the rest] into dense host memory,
 * converted to `want` (float types among each other; others only as stored). The tensor must have
 * dims `dims` exactly. A NaN or Inf is LT_EDATA naming file, tensor, index. Marks the tensor as
 * used. Asserts that the slice lies inside. Errors also: LT_EIO; LT_ETEMP (base/stop.h). */
typedef struct lt_slice {
    lt_range rows, columns;
} lt_slice;
lt_slice lt_slice_whole(lt_dims dims);
lt_status lt_checkpoint_read(lt_checkpoint *checkpoint, const char *name, lt_dims dims,
                             lt_slice slice, lt_dtype want, void *to);
/* Conversions go by way of one buffer of this size, which the next read takes again. */
enum { LT_CHECKPOINT_BUFFER_BYTES = 4 << 20 };
void lt_checkpoint_rest(lt_checkpoint *checkpoint); /* give it back. Local */
/* The same checks of presence, dims and kind without reading (dry runs). Marks as used. */
lt_status lt_checkpoint_check(lt_checkpoint *checkpoint, const char *name, lt_dims dims);

/* A network's list and what it loads are held against each other. The first names a tensor of the
 * list, checked as above; is_loaded: nothing else will say that it was loaded. The second says that
 * a tensor is loaded now, whatever share of it this rank reads: LT_EINTERNAL if a list was given
 * and does not have it. The third: a listed tensor that was never loaded, or NULL. Local. */
lt_status lt_checkpoint_list(lt_checkpoint *checkpoint, const char *name, lt_dims dims,
                             int is_loaded);
lt_status lt_checkpoint_load(lt_checkpoint *checkpoint, const char *name, lt_dims dims);
const char *lt_checkpoint_unloaded(const lt_checkpoint *checkpoint);

/* After a part is opened: any tensor that was never marked and whose name starts with none of the
 * prefixes (NULL-terminated list of what may be left unread) is LT_EDATA "unexpected tensor". */
lt_status lt_checkpoint_all_used(const lt_checkpoint *checkpoint,
                                 const char *const *prefixes_allowed);

/* What lt_checkpoint_read would check and read, counted only (dry runs). Marks as used. */
lt_status lt_checkpoint_plan(lt_checkpoint *checkpoint, const char *name, lt_dims dims,
                             lt_slice slice, lt_dtype want);

/* Bytes of tensors copied out of files for this process since start (out of another rank's, where
 * they are missing on this one), and in how many reads. */
uint64_t lt_checkpoint_bytes_read(void);
uint64_t lt_checkpoint_reads(void);
/* What lt_checkpoint_plan counted since start. */
uint64_t lt_checkpoint_bytes_planned(void);

/* Write one .safetensors file (probe's output): tensors are host memory, dense. It appears
 * whole (base/new_file.h). Errors: LT_ECREATE, LT_EIO. */
lt_status lt_safetensors_write(const char *path, const lt_tensor *tensors, int count,
                               lt_replace replace);

#endif

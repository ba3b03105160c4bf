/* store_hdf5.h - latents.h5: what was denoised, kept for ever.
 *
 * One HDF5 file, one dataset a stream, f32, normalised, dims outermost first:
 *
 *   latents        [C, T, h, w]     video,   attribute dims = "C T h w"
 *   audio_latents  [2, Ca, A]       audio,   attribute dims = "2 Ca A"
 *
 * (in a storyboard "shot-01/latents" and so on: a name may hold slashes, which make groups). Each
 * dataset is cut into chunks along its time axis and compressed with zstd, filter id 32015, one
 * frame with its own checksum a chunk: h5py reads it with hdf5plugin, HDF5 tools without the filter
 * still show shapes and attributes. Attributes of a dataset: dims, description, unit, software,
 * time_axis, xxh64 (of all its bytes, hexadecimal). Attributes of the file: format =
 * "longtake-latents", version = 1, streams (the datasets' names, a JSON list), and the caller's.
 *
 * After HDF5's last byte stand 24 more, which HDF5 passes over: "LTXXH64\n" and the xxh64 of all
 * bytes before, hexadecimal: the seal. It shows damage, not malice; so a file is a stranger's
 * whether it has one or not, HDF5 sees it only in a child process with limits on memory and time,
 * and what it says is checked before memory is taken (store_hdf5_read.c). All texts are of fixed
 * length; in sealed files, which older versions of ours wrote, they may be of variable length.
 *
 * All functions are Local and Blocking (rank 0 writes; any rank may read); one lt_latents belongs
 * to one thread, and only one thread of a process may be in these functions at a time (HDF5 is
 * built without threads): the main one (docs/design.md 4, threads of a rank). Messages name file,
 * dataset, wanted and found, and HDF5's own innermost words. Tested: tests/unit/test_store_hdf5.c,
 * tests/faults/test_strangers.c. */
#ifndef LT_STORE_HDF5_H
#define LT_STORE_HDF5_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { LT_LATENTS_DIMS_MAX = 4, LT_LATENTS_VERSION = 1 };
#define LT_LATENTS_FORMAT "longtake-latents"

/* One dataset. For writing all strings and data are the caller's; as given by lt_latents_stream_at
 * they are the file's, data is NULL, and a string that the file lacks is "". */
typedef struct lt_latents_stream {
    const char *name; /* "latents" */
    int ndim;         /* 1 to 4 */
    int64_t dims[LT_LATENTS_DIMS_MAX];
    int time_axis;         /* 0 .. ndim - 1: the axis of lt_latents_read_range */
    const float *data;     /* dense, product of dims; host memory */
    const char *dims_text; /* "C T h w" */
    const char *description, *unit;
} lt_latents_stream;

typedef struct lt_latents lt_latents;

/* Write the file range by range: create, put each position of each dataset once, finish. It appears
 * whole at the end or not at all (base/new_file.h); an older one of that name is replaced then.
 *
 *     LT_TRY(lt_latents_create(path, streams, count, attributes, &w));
 *     LT_TRY(lt_latents_put(w, 0, first, positions, values));    in any order
 *     LT_TRY(lt_latents_finish(&w));
 *
 * attributes: an object; strings, ints, reals and booleans (as 0 and 1) become attributes of the
 * file, arrays and objects their JSON text, null none. NULL: none. data of streams is not looked
 * at. After an error of put only lt_latents_abort is allowed. Ranges lie uncompressed in a file
 * without a name in path's folder until the end. Memory is one chunk's. Errors: LT_ECREATE, LT_EIO
 * (disk full), LT_ENOMEM; LT_ESHAPE (dims below 1, too many elements). */
typedef struct lt_latents_writer lt_latents_writer;
lt_status lt_latents_create(const char *path, const lt_latents_stream *streams, size_t count,
                            const json_t *attributes, lt_latents_writer **out);
/* Positions [first, first + count) along the time axis of dataset index; data is dense, with count
 * in that place of dims, and not needed any more afterwards. */
lt_status lt_latents_put(lt_latents_writer *writer, size_t index, int64_t first, int64_t count,
                         const float *data);
/* One attribute of the file more, a text; before finish. Errors: LT_EIO. */
lt_status lt_latents_attribute(lt_latents_writer *writer, const char *name, const char *text);
/* Frees *writer, also after an error, which leaves no file. Errors also: LT_EINTERNAL (a position
 * was not put). */
lt_status lt_latents_finish(lt_latents_writer **writer);
/* Nothing is left. NULL is allowed. */
void lt_latents_abort(lt_latents_writer **writer);
/* All of it at once: each dataset whole, from streams[i].data. */
lt_status lt_latents_write(const char *path, const lt_latents_stream *streams, size_t count,
                           const json_t *attributes);

/* Make the process that will read one file, which waits: call it before MPI begins, where MPI will
 * be used. Else lt_latents_open makes it. Errors: LT_EUNAVAIL. */
lt_status lt_latents_reader_begin(void);
/* End it, where no file was opened after all. */
void lt_latents_reader_end(void);

/* Open for reading: seal, format, version, dtypes, shapes, layouts and chunks of all datasets are
 * checked, and that nothing else lies in the file. unsealed 1: a file without a right seal is read
 * too, with a warning, if each dataset's xxh64 is right or not there; all its values are read for
 * that. Errors: LT_ENOINPUT (not there), LT_EDATA (no HDF5, truncated, altered, not ours, newer
 * version, more than a reader's limits; HDF5 crashed on it), LT_ENOMEM, LT_EUNAVAIL. */
lt_status lt_latents_open(const char *path, int unsealed, lt_latents **out);
void lt_latents_close(lt_latents **file);

/* Datasets in the order in which they were written. The pointers live as long as the file is open.
 */
size_t lt_latents_count(const lt_latents *file);
const lt_latents_stream *lt_latents_stream_at(const lt_latents *file, size_t index);
/* Errors: LT_EDATA, naming file, wanted and what there is. */
lt_status lt_latents_find(const lt_latents *file, const char *name, size_t *index);

/* The xxh64 of all bytes of the file but the seal: equal files have equal ones. */
uint64_t lt_latents_hash(const lt_latents *file);

/* The file's attributes, those that a reader of ours asks for: format, version, streams, model,
 * prompt, frames, fps, width, height, samples, sample_rate, seed, plan. The file's own. */
const json_t *lt_latents_attributes(const lt_latents *file);

/* Read a whole dataset: out has room for so many values, at least the product of its dims. Checks
 * xxh64 where the file has it. Errors: LT_EDATA (checksum, damaged chunk, a chunk that would unpack
 * to another size; the file was written again meanwhile), LT_ENOMEM (one chunk's buffers),
 * LT_ESHAPE (too little room). */
lt_status lt_latents_read(lt_latents *file, size_t index, float *out, size_t room);

/* Read [first, first + count) along the time axis; out is dense, with count in that place of dims.
 * Memory does not grow with the dataset. Errors: as lt_latents_read; LT_ESHAPE also outside. */
lt_status lt_latents_read_range(lt_latents *file, size_t index, int64_t first, int64_t count,
                                float *out, size_t room);

/* The xxh64 of a whole dataset's values, dense, as its attribute says them; whatever that says.
 * Memory is bounded. Errors: as lt_latents_read. */
lt_status lt_latents_values_hash(lt_latents *file, size_t index, uint64_t *out);

/* "HDF5 1.10.8, zstd 1.5.4": valid for ever. */
const char *lt_latents_library(void);

#endif

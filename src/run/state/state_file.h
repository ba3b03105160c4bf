/* state_file.h - the files of RUN/state and RUN/cache (.lt): arrays of the host, kept to the bit.
 *
 *     "LTSTATE\n"                        8 bytes
 *     version, bytes of the head         u32 each, little-endian
 *     head                               one JSON object, below
 *     the arrays, in the head's order    in blocks of LT_STATE_BLOCK_BYTES, each array's last one
 *                                        shorter: u32 bytes, then so many bytes of zstd frames: the
 *                                        block, byte-shuffled by the width of an element, a frame
 *                                        for each plane
 *     "LTXXH64\n" and 16 digits          the xxh64 of all bytes before: the seal
 *
 *     {"kind": "latents", "job": "0123456789abcdef", "epoch": 3, "step": 12, "steps": 20,
 *      "shot": 0, "pass": 0, "chunk": 0, "mode": "windows", "chosen": {...},
 *      "arrays": [{"name": "latents", "dtype": "F32", "dims": [24, 30, 8, 12], "axis": 1,
 *                  "first": 0, "units": 60}, ...]}
 *
 * Byte-shuffled: the elements' first bytes, then their second ones, and so on: exponents lie
 * together and pack, where noise itself does not. An array may be a part of a stream: its dimension
 * `axis` is then the positions first .. first + dims[axis] - 1 of `units`. Values are little-endian
 * as the machine has them.
 *
 * The seal shows damage, not malice: whatever the bytes say, a reader takes memory of one block and
 * the head, whose sizes are bounded before, and a caller compares dims with its plan before it
 * takes memory for them. Messages name the file, the field, what was wanted and what was found. All
 * functions are Local, Blocking and thread-safe on files of their own; none calls MPI or HDF5.
 * Tested: tests/unit/test_state_file.c, tests/fuzz/fuzz_state.c. */
#ifndef LT_STATE_FILE_H
#define LT_STATE_FILE_H

#include <jansson.h>
#include <stdint.h>

#include "base/dtype.h"
#include "base/file.h"

enum {
    LT_STATE_VERSION = 2,
    LT_STATE_BLOCK_BYTES = 1 << 18, /* before it is packed; a multiple of every element's width */
    LT_STATE_HEAD_BYTES_MAX = 1 << 20,
    LT_STATE_ARRAYS_MAX = 16,
    LT_STATE_DIMS_MAX = 4,
    LT_STATE_WORD_BYTES = 32
};
#define LT_STATE_ELEMENTS_MAX (INT64_C(1) << 48)

typedef enum lt_state_kind {
    LT_STATE_LATENTS, /* what the solver holds after a step */
    LT_STATE_TEXT,    /* the text encoder's rows */
    LT_STATE_TABLES,  /* the DiT's modulation tables */
    LT_STATE_KINDS
} lt_state_kind;
extern const char *const lt_state_kind_names[LT_STATE_KINDS];

/* Where a run stands after a step. All counted from 0 but step, the steps that are behind it. */
typedef struct lt_state_place {
    int64_t step, steps; /* of the whole film */
    int shot, pass;      /* pass 1: the second of mode `refine` */
    int64_t chunk;       /* of mode `extend` */
} lt_state_place;

typedef struct lt_state_head {
    lt_state_kind kind;
    uint64_t job; /* hash of what settles the bits (state_job.h) */
    int64_t epoch;
    lt_state_place place; /* zeros in a cache */
    char mode[LT_STATE_WORD_BYTES];
    json_t *chosen; /* what `auto` chose, an object; NULL: nothing. Of a reader: the reader's */
} lt_state_head;

typedef struct lt_state_array {
    char name[LT_STATE_WORD_BYTES];
    lt_dtype dtype;
    int ndim;
    int64_t dim[LT_STATE_DIMS_MAX]; /* of what is here, dense */
    int axis;                       /* 0 where it is no part of anything */
    int64_t first, units;           /* units: dim[axis] of the whole */
    const void *data;               /* to be written; NULL of a reader */
} lt_state_array;

/* A whole file: its size, and the xxh64 in its seal. */
typedef struct lt_state_sum {
    int64_t bytes;
    uint64_t hash;
} lt_state_sum;

/* Elements of an array that was checked, or is ours. */
int64_t lt_state_elements(const lt_state_array *array);

/* Make the file: new, whole before it has its name (base/new_file), replacing one of that name. The
 * disk is not waited for: what a power failure leaves of it, the seal tells. sum may be NULL.
 * Errors: LT_ECREATE, LT_EIO (a full disk), LT_ENOMEM. */
lt_status lt_state_file_write(const char *path, const lt_state_head *head,
                              const lt_state_array *array, int count, lt_state_sum *sum);

/* The same by what is kept from file to file. A packer is for one thread at a time. Errors: as
 * write; new's LT_ENOMEM. */
typedef struct lt_state_packer lt_state_packer;
lt_status lt_state_packer_new(lt_state_packer **out);
void lt_state_packer_free(lt_state_packer **packer); /* NULL is allowed */
lt_status lt_state_file_pack(lt_state_packer *packer, const char *path, const lt_state_head *head,
                             const lt_state_array *array, int count, lt_state_sum *sum);

typedef struct lt_state_reader lt_state_reader;

/* Open it and check its head. The caller closes *out, NULL after an error. Errors: LT_ENOINPUT (not
 * there, no regular file), LT_EDATA (not ours, another version, cut short, a head that is wrong),
 * LT_EIO, LT_ENOMEM. */
lt_status lt_state_reader_open(const char *path, lt_state_reader **out);
const lt_state_head *lt_state_reader_head(const lt_state_reader *reader);
int lt_state_reader_count(const lt_state_reader *reader);
const lt_state_array *lt_state_reader_array(const lt_state_reader *reader, int index);

/* A block of an array: its elements [first, first + count). */
typedef struct lt_state_block {
    int array;
    int64_t first, count; /* count 0: there are no more, and the seal was right */
    const void *values;   /* the reader's, until its next call */
} lt_state_block;

/* The next block, of all arrays in their order. What came before the last call is not to be
 * believed until that has said that the seal is right. Errors: LT_EDATA (damaged, cut short, more
 * bytes than there should be), LT_EIO. */
lt_status lt_state_reader_next(lt_state_reader *reader, lt_state_block *out);
/* Once the last block has come. */
lt_state_sum lt_state_reader_sum(const lt_state_reader *reader);
void lt_state_reader_close(lt_state_reader **reader); /* NULL is allowed */

/* Read all of it: is it whole? sum may be NULL. Errors: as open and next. */
lt_status lt_state_file_check(const char *path, lt_state_sum *sum);

#endif

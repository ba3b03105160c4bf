/* json.h - jansson with limits, and with the path in each error.
 * A value read from a file is a json_t of jansson; the getters below fail with LT_EDATA naming
 * file, path ("text_config.rope_scaling.mrope_section[1]"), wanted and found. Limits: 64 MiB of
 * text, depth 64 (jansson's own limit is 2048), duplicate keys refused, NUL refused. Local,
 * Blocking. The caller owns a json_t * that a *_read gives: json_decref. */
#ifndef LT_JSON_H
#define LT_JSON_H

#include <jansson.h>
#include <stdint.h>

#include "status.h"

/* Errors: LT_ENOINPUT (not there), LT_EIO, LT_ENOMEM, LT_EDATA (line and column of the fault). */
lt_status lt_json_read(const char *path, json_t **out);
/* The same from memory; source is the name that errors show. */
lt_status lt_json_parse(const char *text, size_t bytes, const char *source, json_t **out);

/* A place in a document, for errors: where.source is a file name, where.path "" at the root. */
typedef struct lt_json_at {
    const json_t *value;
    const char *source;
    char path[160];
} lt_json_at;
lt_json_at lt_json_root(const json_t *value, const char *source);
/* Object member (must be there) / array element. */
lt_status lt_json_member(const lt_json_at *at, const char *key, lt_json_at *out);
lt_status lt_json_element(const lt_json_at *at, size_t index, lt_json_at *out);
int lt_json_has(const lt_json_at *at, const char *key); /* there and not null */

/* Value of member `key`, checked. lo..hi inclusive. */
lt_status lt_json_int(const lt_json_at *at, const char *key, int64_t lo, int64_t hi, int64_t *out);
lt_status lt_json_real(const lt_json_at *at, const char *key, double lo, double hi,
                       double *out); /* an integer too */
lt_status lt_json_bool(const lt_json_at *at, const char *key, int *out);
lt_status lt_json_string(const lt_json_at *at, const char *key,
                         const char **out); /* lives with the document */
/* 0 to 2^64 - 1: what lt_json_of_u64 made, an integer or, past 2^63 - 1, its digits as a string. */
lt_status lt_json_u64(const lt_json_at *at, const char *key, uint64_t *out);
json_t *lt_json_of_u64(uint64_t x);
/* A path as a string, and back: as it is if it is UTF-8, else "file:" and the bytes with those that
 * are no plain letters as %XX, as RFC 3986 writes them. The caller owns what it gets: json_decref,
 * free. NULL: no memory. Errors: LT_EDATA (what begins so must go on so), LT_ENOMEM. */
json_t *lt_json_of_path(const char *path);
lt_status lt_json_path(const lt_json_at *at, const char *key, char **out);
/* Array of ints / reals: count is wanted exactly when *count > 0 on entry, else any up to max. */
lt_status lt_json_ints(const lt_json_at *at, const char *key, int64_t lo, int64_t hi, int64_t *out,
                       size_t max, size_t *count);
lt_status lt_json_reals(const lt_json_at *at, const char *key, float *out, size_t max,
                        size_t *count);

/* Building a value: has an allocation of jansson's failed in this thread since this was last asked?
 * Then what was built may lack a member, and is not for use: so the results of json_object_set_new
 * and its like need not be looked at one by one. lt_json_text and lt_json_write ask; code that
 * builds for another use asks when the value is built. Local, never fails. */
int lt_json_starved(void);

/* Value as text that any terminal may show: what lt_text_is_safe refuses stands as JSON's
 * escape of four digits, which is the same to a reader. flags: jansson's. NULL: no memory (also
 * when the value was built), or NaN or Inf. The caller owns it: free. */
char *lt_json_text(const json_t *value, size_t flags);

/* A copy whose strings and keys are made printable (base/text.h), for reports that people read.
 * NULL: no memory. The caller owns it. */
json_t *lt_json_printable(const json_t *value);

/* Write value as UTF-8 with 2-space indent and a final newline: tmp + fdatasync + rename.
 * Errors: LT_ENOMEM, LT_EINTERNAL (NaN or Inf), LT_ECREATE, LT_EIO. */
lt_status lt_json_write(const char *path, const json_t *value);

#endif

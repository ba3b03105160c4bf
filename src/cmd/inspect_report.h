/* inspect_report.h - what a path is, what it holds, what it lacks.
 * Knows a model folder of each family (model/folders.h), one part of it, a .safetensors
 * file; names a RUN folder and an .h5 file without opening them (src/run knows more). Reads
 * configs, indexes and headers, no weight. Local, Blocking.
 *
 * JSON: {format "longtake-inspect", version 1, path, kind, layout, parts [...], missing [...],
 * complete}; a part: {name, path, class, config, weights {layout, tensors, parameters, bytes,
 * dtypes, shards {wanted, missing}}, tensors {wanted, missing, misshapen, unexpected}, memory
 * {run_parameters, table_parameters}, problems [...]}; a file: {tensors [{name, dtype, shape,
 * bytes}], ...}. Lists of names are cut at 20, their counts aren't. */
#ifndef LT_INSPECT_H
#define LT_INSPECT_H

#include <jansson.h>
#include <stdio.h>

#include "base/status.h"

/* Text goes to `to` unless NULL; the object to *out unless NULL (the caller's: json_decref).
 * What isn't there is part of the answer, and LT_OK. Content that is wrong is told, and also fails
 * at the end: LT_EDATA with the first such fault; both answers are given all the same. Errors:
 * LT_ENOINPUT (no such path), LT_EDATA (nothing known, or damaged), LT_ENOMEM. */
lt_status lt_inspect(const char *path, FILE *to, json_t **out);

#endif

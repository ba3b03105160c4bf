/* yaml.h - a job file as the same tree that JSON gives.
 *
 * Plain scalars are typed by YAML 1.2's core schema: null, true/false, integers (decimal, 0o, 0x),
 * reals (.5, 1e3; .inf and .nan are refused: JSON has none); all else, and everything in quotes or
 * a block scalar, is a string. So `no` and `1:30` are strings, whatever YAML 1.1 made of them.
 * Limits: 1 MiB of text, depth 16, 10,000 nodes, one document. Refused: anchors, aliases, tags,
 * keys that are not strings, keys given twice, NUL and invalid UTF-8. An empty file is an empty
 * object. A plain text of the top level that a comment follows (`prompt: A ball #1`) gets a
 * warning.
 *
 * All functions are Local and Blocking. Errors: LT_ENOINPUT (not there), LT_EDATA ("FILE:LINE:COL:
 * ..."), LT_ENOMEM. */
#ifndef LT_YAML_H
#define LT_YAML_H

#include <jansson.h>
#include <stddef.h>

#include "status.h"

/* out: the document. lines (may be NULL): an object that maps each key of the top level to the
 * number of its line, counted from 1. The caller owns both: json_decref. */
lt_status lt_yaml_read(const char *path, json_t **out, json_t **lines);

/* The same from memory; source is the name that errors show. */
lt_status lt_yaml_parse(const char *text, size_t bytes, const char *source, json_t **out,
                        json_t **lines);

/* Whether this text, written without quotes, would be read back as this same string (so a writer
 * may leave the quotes away). Never fails. */
int lt_yaml_is_plain(const char *text);

#endif

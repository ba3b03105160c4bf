/* run_status.h - where a run stands, from its folder alone. Local, Blocking. Tested:
 * tests/faults/test_run_status.c. */
#ifndef LT_RUN_STATUS_H
#define LT_RUN_STATUS_H

#include <jansson.h>
#include <stdio.h>

#include "base/status.h"

/* Text to `to` unless NULL; to *out (the caller's) the object of `longtake status --json`
 * (docs/run-folder.md): what process holds the run, the stage and step that its events show, the
 * newest commit record and its age, whether latents and film are there. What is damaged or not
 * there yet is null. Errors: LT_ENOINPUT (no run folder), LT_ENOMEM. */
lt_status lt_run_status(const char *run, FILE *to, json_t **out);

#endif

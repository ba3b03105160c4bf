/* describe.h - what a run folder or a latents.h5 holds. */
#ifndef LT_DESCRIBE_H
#define LT_DESCRIBE_H

#include <jansson.h>
#include <stdio.h>

#include "base/status.h"

/* 1 if path is a run folder (it has job.yaml or plan.json) or an .h5 file. Local. */
int lt_describe_knows(const char *path);

/* Text to `to` unless NULL; {format "longtake-inspect", version 1, path, kind "run" or "latents",
 * plan {...} or null, latents {streams [...], attributes {...}} or null, films [...]} to *out
 * (the caller's). All values of the latents are read. unsealed: as lt_latents_open's. Local,
 * Blocking. Errors: LT_ENOINPUT, LT_EDATA (damaged latents or plan). */
lt_status lt_describe_run(const char *path, int unsealed, FILE *to, json_t **out);

#endif

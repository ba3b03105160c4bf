/* records.h - what a run folder keeps of how its film was made.
 *
 *   events.ndjson   one event a line (base/record.h): start, stage, step, stage-end, warning, end,
 *                   stop (a signal) or error, with the line that people were told. A decode appends
 *                   its own to RUN's where this user may write there.
 *   manifest.json   "date" and "finished" (UTC), "software", "commit", "compiler", "libraries",
 *                   "hosts" by rank, "threads" of a rank, "transport", "mesh", "device", "isa",
 *                   "dtype", "deterministic", "seed", "model" and its files; at the end
 *                   "output" {"file", "bytes", "xxh64"} of the film, "stage_seconds", and
 *                   "memory" {"estimated_peak_bytes": of the plan, "peak_bytes": each rank's}
 *
 * Rank 0 only, Blocking. Tested: tests/film/test_record.c. */
#ifndef LT_RECORDS_H
#define LT_RECORDS_H

#include <jansson.h>

#include "parallel/nodes.h"
#include "run/plan.h"

/* A descriptor to append events to; the caller closes it. A render that goes on appends, as a
 * decode does. A decode gets -1 where RUN is no folder, not this user's alone, or read-only: it
 * needs no record. Errors (render): LT_ECREATE. */
lt_status lt_records_events(const lt_plan *plan, int is_render, int *fd);

/* {"job_id", "nodes", "restarts"} of the Slurm job that this is a part of, the caller's; NULL:
 * none. For people: nothing of a run depends on it. */
json_t *lt_records_slurm(void);

/* {"file", "bytes", "xxh64"} of the film at path, the caller's; NULL where it cannot be read. */
json_t *lt_records_film(const char *path);

/* manifest.json, written again whole. nodes: who is where. film: of lt_records_film, borrowed; NULL
 * before it is there, as are stage_seconds and memory (session.h). Errors: LT_ECREATE, LT_EIO. */
lt_status lt_records_manifest(const lt_plan *plan, const lt_group *world, const lt_nodes *nodes,
                              json_t *film, json_t *stage_seconds, json_t *memory);

#endif

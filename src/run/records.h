/* records.h - what a run folder keeps of how its film was made.
 *
 *   events.ndjson   one event a line (base/record.h): start, stage, step, stage-end, warning, end,
 *                   stop (a signal) or error, with the line that people were told. A decode appends
 *                   its own to RUN's where this user may write there.
 *   manifest.json   "date" and "finished" (UTC), "software", "commit", "compiler", "libraries",
 *                   "hosts" by rank, "threads" of a rank, "transport", "mesh", "device", "isa",
 *                   "dtype", "deterministic", "seed", "model" and its files; at the end
 *                   "output" {"file", "bytes", "xxh64"} of the film, "stage_seconds", and
 *                   "memory" {"estimated_peak_bytes": of the plan, "peak_bytes": each rank's},
 *                   "latents" as "output"; "epochs": of each start so far number, ranks, hosts,
 *                   mesh, versions, device, from which step to which, why it ended
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

/* One start of a run, as the manifest tells of it. */
typedef struct lt_epoch {
    int64_t number;
    int64_t from_step, to_step; /* it went on behind the one, and the other counts; -1: none yet */
    const char *ended;          /* why; NULL: it goes on */
    json_t *exchanges;          /* borrowed: session.h; NULL: none */
} lt_epoch;

/* What a start has made, all borrowed: of lt_records_film film, contact sheet and WAV, NULL where
 * there is none; memory (session.h) may be NULL. */
typedef struct lt_made {
    json_t *film, *sheet, *wav, *stage_seconds, *memory;
} lt_made;

/* manifest.json, written again whole; what it said of earlier starts stays. nodes: who is where.
 * made: NULL before the film is there. Errors: LT_ECREATE, LT_EIO. */
lt_status lt_records_manifest(const lt_plan *plan, const lt_group *world, const lt_nodes *nodes,
                              const lt_epoch *epoch, const lt_made *made);
/* The same behind a failure, which stays this thread's error. Never fails. */
void lt_records_ended(const lt_plan *plan, const lt_group *world, const lt_nodes *nodes,
                      const lt_epoch *epoch);

#endif

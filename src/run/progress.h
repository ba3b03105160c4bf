/* progress.h - what a run reports to people and programs while it works.
 * On a terminal one line that is drawn again and never wider than it (stage, count, s each, time,
 * ETA; the narrower it is, the fewer of them),
 * else a plain line at most every 10 s, behind the first unit where more than that is left, and at
 * each stage's end, nothing with --quiet; to stderr.
 * The same facts go to RUN/events.ndjson, one JSON object a line. Rank 0 only, Blocking: other
 * ranks pass NULL, which every function here but lt_progress_open accepts. */
#ifndef LT_PROGRESS_H
#define LT_PROGRESS_H

#include <jansson.h>
#include <stdint.h>

#include "base/status.h"

typedef struct lt_progress lt_progress;

/* events_fd: where event lines are appended, closed by lt_progress_close; -1: nowhere. Errors:
 * LT_ENOMEM (the caller closes then). */
lt_status lt_progress_open(int events_fd, int quiet, lt_progress **out);
void lt_progress_close(lt_progress **progress);

/* "2.4 s", "3 min 05 s", "2 h 07 min", "3 days 4 h". Returns out. Local. */
const char *lt_duration(double seconds, char *out, size_t bytes);

/* A stage with this many units ("step", "clip"); ends the one before. total 0: unknown. */
void lt_progress_stage(lt_progress *progress, const char *stage, const char *unit, int64_t total);
/* How much work a unit of a stage to come is, in operations of kernels (lt_op_flops): then the part
 * of the unit at hand counts too, and there is an ETA from the first unit on. 0: unknown. stage
 * stays the caller's. Once for each stage. */
void lt_progress_work(lt_progress *progress, const char *stage, double unit_work);
/* Of a stage whose units are not all alike, right behind lt_progress_stage: what all of them weigh,
 * on the caller's own scale; 0: unknown. The time left goes by weights then. */
void lt_progress_weigh(lt_progress *progress, double all);
/* What each unit weighs from here on. */
void lt_progress_weight(lt_progress *progress, double weight);
/* So many units were done by an earlier start of the run: they took none of this one's time. */
void lt_progress_from(lt_progress *progress, int64_t done);
/* Window `window` (from 1) of `windows` of the unit at hand is at work here; of fewer than 2
 * nothing is said. */
void lt_progress_window(lt_progress *progress, int window, int windows);
/* Units done so far. */
void lt_progress_step(lt_progress *progress, int64_t done);
/* Units are of shot `shot` of `shots` (from 1) from here on, in words and events; 0, 0: of the
 * whole film. */
void lt_progress_shot(lt_progress *progress, int shot, int shots);
/* Ends the stage and writes its seconds. */
void lt_progress_done(lt_progress *progress);
/* One event line, as lt_record_event: takes fields (may be NULL). */
void lt_progress_event(lt_progress *progress, const char *name, json_t *fields);
/* The run ends with st: ends the stage; unless LT_OK an event "stop" (LT_ETEMP) or "error" with the
 * text, hint and exit code that people are told. */
void lt_progress_failed(lt_progress *progress, lt_status st);
/* Stages so far with their seconds, as a JSON object. The caller owns it. */
json_t *lt_progress_stages(const lt_progress *progress);

#endif

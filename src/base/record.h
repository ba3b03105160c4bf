/* record.h - the events of a run, one JSON object a line (RUN/events.ndjson).
 *
 *     {"event":"warning","time":"2026-11-30T22:15:04.071Z","seconds":0.031,"process":47,"text":...}
 *
 * `time` is the wall clock's (RFC 3339, UTC), `seconds` are since the program began and never jump.
 * `process` tells several programs apart that append to one file. A process has at most one record;
 * every line is one write, so that those of threads and processes stay whole. It records
 * what happened and decides nothing: a full disk loses lines, no work. Local, Blocking,
 * thread-safe, never fail. Tested: tests/unit/test_record_file.c, tests/film/test_record.c. */
#ifndef LT_RECORD_H
#define LT_RECORD_H

#include <jansson.h>

#include "base/clock.h"

/* Lines go to fd from here on, which stays the caller's and open until lt_record_close. The
 * warnings that came before follow the first event. */
void lt_record_open(int fd);
void lt_record_close(void);

/* {"event": name, time, seconds, process, ...fields}; takes fields, which may be NULL. Nothing
 * while no record is open. */
void lt_record_event(const char *name, json_t *fields);

/* lt_warn's: an event now, or when a record opens. */
void lt_record_warning(const char *text);

/* An event "error" with this text of a process that leaves at once with exit code 75 (_exit): safe
 * in a signal handler. */
void lt_record_last(const char *text);

#endif

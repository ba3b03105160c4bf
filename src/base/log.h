/* log.h - what a run says on stderr while it works.
 * Levels by how often a line appears: 1 run, 2 stage, 3 window, 4 step, 5 layer, 6 collective; a
 * line is printed when its level is at most the log's (default 1; -v 3; -vv 5; --quiet 0). Each
 * line: seconds since start, rank/size, area. Local; thread-safe; never fail. */
#ifndef LT_LOG_H
#define LT_LOG_H

#include <stddef.h>

#include "base/clock.h"
#include "base/status.h"

/* Call once after the rank is known; before it, lines carry 0/1. */
void lt_log_open(int rank, int size, int level);
int lt_log_level(void);

/* This rank prints it. */
void lt_log(int level, const char *area, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Only rank 0 prints it. */
void lt_log0(int level, const char *area, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* "longtake: warning: ..." by rank 0, at every level but --quiet; each distinct text once. The
 * run's record (record.h) has it at every level. */
void lt_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A line of any other kind, by whoever calls: the text as it is, made printable, and a newline. */
void lt_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Whole lines as they are, on stderr: every other call here ends in this one. Their write errors
 * end no work. Safe in a signal handler. */
void lt_log_text(const char *text, size_t bytes);

/* --log: a new file that gets what stderr gets from here on, each line behind the wall clock's time
 * (UTC), and lines of lt_log_kept that a terminal saw drawn. It stays, however the process ends;
 * its write errors end no work. An older log goes on; replace: whatever file has that name gives
 * way. Errors: LT_ECREATE. */
lt_status lt_log_file_open(const char *path, int replace);
void lt_log_file_close(void);
void lt_log_kept(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif

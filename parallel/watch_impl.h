/* watch_impl.h - what the watch's files share, nobody else.                       Level 2: parallel
 */
#ifndef LT_WATCH_IMPL_H
#define LT_WATCH_IMPL_H

#include <stdatomic.h>

#include "parallel/watch.h"

typedef struct lt_watch_note {
    _Atomic(const char *) name, axis;
    atomic_int step, waits;
    atomic_uint calls;
    _Atomic int64_t longest_ms; /* the longest step so far; 0: not known */
} lt_watch_note;
extern lt_watch_note lt_note;

/* The note of a wait for one message. */
void lt_note_message(void);

#endif

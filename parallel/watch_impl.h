/* watch_impl.h - what the watch's files share, nobody else.                       Level 2: parallel
 */
#ifndef LT_WATCH_IMPL_H
#define LT_WATCH_IMPL_H

#include <stdatomic.h>

#include "parallel/watch.h"

typedef struct lt_watch_note {
    atomic_int step;
    atomic_uint calls;          /* collectives begun, of both threads */
    _Atomic int64_t longest_ms; /* the longest step so far; 0: not known */
} lt_watch_note;
extern lt_watch_note lt_note;

/* Where this rank is: the collective that its main thread waits in, its own or one of the comm
 * queue that it waits for (*waits 1), else the last one begun. */
void lt_note_read(const char **name, const char **axis, int *waits);
/* From inside a collective: is the main thread blocked until it gets on? */
void lt_note_awaited(int awaited);

/* The note of a wait for one message. */
void lt_note_message(void);

#endif

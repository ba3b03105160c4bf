/* words.c - the words of the detector: where a rank is, and text from elsewhere made plain. */
#include <stdio.h>

#include "parallel/liveness/detector_impl.h"

void lt_detector_copy(char *to, size_t bytes, const char *from)
{
    (void)snprintf(to, bytes, "%s", from);
}

void lt_detector_tame(char *text, size_t bytes)
{
    text[bytes - 1] = '\0';
    for (char *p = text; *p != '\0'; p++)
        if (*p < ' ' || *p > '~')
            *p = '?';
}

void lt_detector_where(const lt_heartbeat *b, char *out, size_t bytes)
{
    char step[64];
    if (b->step > 0)
        (void)snprintf(step, sizeof step, "at step %d", b->step);
    else if (b->chunk > 0)
        (void)snprintf(step, sizeof step, "at piece %d of stage %.12s", b->chunk, b->stage);
    else if (b->stage[0] != '\0')
        (void)snprintf(step, sizeof step, "in stage %.12s", b->stage);
    else
        (void)snprintf(step, sizeof step, "before the work");
    (void)snprintf(out, bytes, "%s %s %s (%s%scall %u)", step, b->waits ? "in" : "after", b->name,
                   b->axis, b->axis[0] != '\0' ? ", " : "", b->calls);
}

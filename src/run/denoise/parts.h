/* parts.h - the parts in which a clip becomes final while it is denoised.
 *
 * `extend` makes a clip chunk by chunk, and what a chunk has made never changes again but for its
 * end, which the next one fades into; in all other modes the clip moves as a whole, and is one
 * part. A function of the plan, the same on all ranks. Local. */
#ifndef LT_PARTS_H
#define LT_PARTS_H

#include "run/denoise/window_set.h"

typedef struct lt_parts {
    int64_t count;
    lt_window_set set; /* of mode `extend` */
    int64_t whole[LT_STREAMS_MAX];
} lt_parts;

/* The plan is borrowed; out stays where it is. The caller owns it: lt_parts_free, which takes a
 * zeroed one too. Errors: LT_ENOMEM. */
lt_status lt_parts_new(const lt_plan *plan, lt_parts *out);
void lt_parts_free(lt_parts *parts);
/* Positions of a stream's time axis that a part makes final; parts follow each other. */
lt_range lt_parts_range(const lt_parts *parts, int64_t part, int stream);

#endif

/* held.h - which ranks hold which latents of a clip.
 *
 * No rank needs all of it. A group of ranks (a place on the axis `win`) holds, of each stream, the
 * range that its windows reach in any step, and moves all of that; neighbours hold what they share
 * both, with the same bits. Of what several hold the first one is the owner, and one rank of the
 * owner answers for it (latent_source.h):
 *
 *     group 0    |======held======|
 *     group 1              |======held======|
 *     own        |        0       |     1   |
 *
 * `single` has one window, and `extend` works on one group: there the first one holds the clip, the
 * others nothing. A function of the plan and the mesh: the same on all ranks. */
#ifndef LT_HELD_H
#define LT_HELD_H

#include "parallel/mesh.h"
#include "run/denoise/clip.h"

/* Positions of each stream's time axis. */
typedef lt_range lt_held[LT_STREAMS_MAX];

typedef struct lt_holding {
    int groups, group; /* of `win`; mine */
    lt_held *held;     /* [groups] owned; starts and ends ascend where they are not empty */
    lt_held *own;      /* [groups] owned; disjoint, all of the clip together */
    int *answers;      /* [groups] owned; the rank of the world that does for the group */
} lt_holding;

/* evaluations: of the pass in which these windows are at work (dithered ones move with each). The
 * caller owns *out: lt_holding_free, which takes a zeroed one too. Local. Errors: LT_ENOMEM. */
lt_status lt_holding_new(const lt_plan *plan, int evaluations, const lt_mesh *mesh,
                         lt_holding *out);
void lt_holding_free(lt_holding *holding);
/* What this rank holds, zeros, as lt_clip_new_ranges. Local. Errors: LT_ENOMEM. */
lt_status lt_holding_clip(const lt_holding *holding, const lt_plan *plan, lt_clip *out);
/* Every rank gets the whole clip, into whole, out of what each group owns of part. For tests, for
 * `probe`, and for a coarse clip. Collective on the mesh, Blocking. Errors: LT_ENOMEM, LT_EPEER. */
lt_status lt_holding_gather(const lt_holding *holding, const lt_plan *plan, const lt_mesh *mesh,
                            const lt_clip *part, lt_clip *whole);

#endif

/* exchange.h - groups of ranks exchange what their windows say of each other's latents.
 *
 * A rank holds a range of each stream (its windows', in every step of the loop) and moves all of it
 * by the fused velocity. So it needs, of each window that reaches into that range, the velocities
 * there, also where another group computes the window:
 *
 *     group 0    |=====window 0=====|
 *                            |=====window 1=====|
 *     group 1                              |=====window 2=====|
 *     exchanged                            <---->               both ways
 *
 * Raw velocities travel, not sums, so that fusion adds in ascending order of windows on every rank
 * and the bits do not depend on who computed what. Messages are requests on the axis `win`: posted
 * before the first window, sent as soon as a window is done, waited for once all are.
 *
 * A rank that has failed still sends all that its peers wait for, and tells of the failure in the
 * step's agreement: nobody waits for a message that never comes. */
#ifndef LT_WINDOW_EXCHANGE_H
#define LT_WINDOW_EXCHANGE_H

#include "run/denoise/held.h"
#include "run/denoise/window_set.h"

typedef struct lt_window_message lt_window_message;
typedef struct lt_window_exchange {
    lt_group *group; /* the axis `win` */
    const lt_window_set *set;
    const lt_held *held; /* [groups] borrowed */
    lt_window_message *in, *out;
    int64_t in_count, out_count, in_capacity, out_capacity;
} lt_window_exchange;

/* Take memory for all messages of this step, agree that all ranks have it, and post what will come.
 * After an error lt_window_exchange_end. Collective on group. Errors: LT_ENOMEM, LT_EPEER. */
lt_status lt_window_exchange_begin(lt_group *group, const lt_window_set *set, const lt_held *held,
                                   lt_window_exchange *out);
/* Tiles of my run in the order to compute them: those that others wait for come first. order
 * [run.count]. Local. */
void lt_window_exchange_order(const lt_window_exchange *overlap, lt_range run, int64_t *order);
/* Tile `tile` of mine is done: v[s] [outer, time, rows, columns] are its velocities, NULL of a
 * stream that is not denoised. Copies what others need of it and sends it. Local. */
lt_status lt_window_exchange_send(lt_window_exchange *overlap, int64_t tile, float *const *v);
/* Wait for everything of this step, sent and received. Blocking. Errors: LT_EPEER. */
lt_status lt_window_exchange_wait(lt_window_exchange *overlap);
/* What came of a tile and stream, [outer, part, rows, columns]; NULL: nothing comes of it. Local,
 * after lt_window_exchange_wait. */
const float *lt_window_exchange_part(const lt_window_exchange *overlap, int64_t tile, int stream,
                                     lt_range *part);
/* Frees; drops what is still under way. */
void lt_window_exchange_end(lt_window_exchange *overlap);

#endif

/* dit_window.h - H3's DiT as the family's windows: dit_begin, dit_forward, dit_end of family.h.
 *
 * Positions of a window, its text and its anchors: layout.h. Text and video rows are at
 * timestep[0], audio rows at timestep[1], but for units and anchors that have their own. Clean
 * context is leading units in place (spec/long-video.md 14) at the family's context_timestep:
 * video 0.999 with 0.001 of noise, as published conditions; audio 1, without. The published
 * max(t, 0.999) is 0.999: at video's shift of 12 no level of LT_SIGMAS_MAX steps passes it.
 *
 * Errors of a forward: LT_EINTERNAL for a timestep that dit_open was not told, and those of
 * lt_h3_dit_forward. From the second forward of a state on nothing is allocated.
 * Collective on the mesh's tokens and tp, Blocking; end is Local. Tested:
 * tests/parity/test_h3_window.c, tests/ranks/test_window_ranks.c, test_step_memory.c. */
#ifndef LT_H3_DIT_WINDOW_H
#define LT_H3_DIT_WINDOW_H

#include "model/family.h"

lt_status lt_h3_window_begin(lt_model *model, const lt_window *window, const float *text_rows,
                             int64_t text_count, lt_dit_state **out);
lt_status lt_h3_window_forward(lt_model *model, lt_dit_state *state, const lt_forward *forward);
void lt_h3_window_end(lt_dit_state **state);

#endif

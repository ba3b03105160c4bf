/* dit_window.h - H3's DiT as the family's windows: dit_begin, dit_forward, dit_end of family.h.
 * Collective on the mesh's tokens and tp, Blocking. */
#ifndef LT_H3_DIT_WINDOW_H
#define LT_H3_DIT_WINDOW_H

#include "model/family.h"

lt_status lt_h3_window_begin(lt_model *model, const lt_window *window, const float *text_rows,
                             int64_t text_count, lt_dit_state **out);
lt_status lt_h3_window_forward(lt_model *model, lt_dit_state *state, const lt_forward *forward);
void lt_h3_window_end(lt_dit_state **state);

#endif

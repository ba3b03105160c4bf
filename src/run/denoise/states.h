/* states.h - the DiT's states of the windows at hand.
 *
 * What a DiT knows of one text and one shape (family.h: dit_begin) costs a pass of the refiner and
 * the rotary tables; windows of equal shape, place and text share it. A few are kept alive; where
 * one more is wanted the one that began last goes, since their memory is a stack.
 *
 * All ranks that compute together ask for the same states in the same order. */
#ifndef LT_STATES_H
#define LT_STATES_H

#include "model/family.h"
#include "run/denoise/texts.h"

enum { LT_STATES_MAX = 4 };

typedef struct lt_states {
    lt_model *model;
    const lt_texts *texts; /* borrowed */
    struct {
        lt_window window;
        lt_text_at text;
        int64_t *anchor; /* the window's, a copy */
        lt_dit_state *state;
    } kept[LT_STATES_MAX];
    int count;
} lt_states;

void lt_states_open(lt_model *model, const lt_texts *texts, lt_states *out);
/* The state of a window that sees this text; borrowed until the next call. Collective as dit_begin
 * is. Errors: its. */
lt_status lt_states_get(lt_states *states, const lt_window *window, lt_text_at text,
                        lt_dit_state **out);
/* A zeroed one is allowed. Local. */
void lt_states_close(lt_states *states);

#endif

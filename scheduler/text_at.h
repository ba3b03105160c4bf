/* text_at.h - which prompt a window follows.
 *
 * A shot may have several prompts, one behind the other, blended where they meet (window.h:
 * lt_shots_place). A window takes the rows of one prompt, or a mixture of two neighbours' by its
 * own centre: over `fade` frames around the border the weight of the later one rises from 0 to 1
 * as x^2 (3 - 2 x), half at the border. A dithered window, whose centre moves with each step, moves
 * its prompt little. Source: spec/long-video.md 3.5.
 *
 *     prompt 0        |   prompt 1
 *     ------------.   |   .-----------
 *                 |<-fade->|
 *
 * Local, pure. Tested: tests/unit/test_window.c. */
#ifndef LT_TEXT_AT_H
#define LT_TEXT_AT_H

#include "base/tensor.h"

/* rows = (1 - weight) rows[first] + weight rows[first + 1]; weight 0: rows[first] alone. Windows of
 * equal shape and equal values here can share their conditioning. */
typedef struct lt_text_at {
    int first;
    double weight; /* 0 <= weight < 1 */
} lt_text_at;

/* start [count]: the first frame of each prompt, ascending, start[0] = 0. fade >= 0 frames; where
 * two borders are closer than that, each fade ends at the middle between them. window in frames of
 * the shot, count >= 1. */
lt_text_at lt_text_of(const int64_t *start, int count, int64_t fade, lt_range window);

#endif

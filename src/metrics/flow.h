/* flow.h - where the blocks of a frame went in the next one: bounded block matching.
 *
 * A frame is made smaller by averaging whole squares until it is at most LT_FLOW_WIDTH wide, and
 * cut into blocks of 16 x 16; what is left at the right and below belongs to none. For each block
 * the shift of at most LT_FLOW_REACH pixels each way with the least sum of absolute differences
 * is taken; a longer shift must be better by a little for each pixel of length, so that flat
 * blocks stand still. All functions are Local, Blocking and pure. Source: spec/long-video.md 8.4.
 * Tested: tests/unit/test_metrics_video.c. */
#ifndef LT_FLOW_H
#define LT_FLOW_H

#include <stdint.h>

enum { LT_FLOW_BLOCK = 16, LT_FLOW_REACH = 7, LT_FLOW_WIDTH = 384 };

/* A shift in pixels of the smaller frame. */
typedef struct lt_shift {
    int x, y;
} lt_shift;

/* Whole pixels of a frame that one pixel of the smaller frame covers, each way; 1 or more. */
int lt_flow_factor(int width);

/* to [height / factor, width / factor]: means of factor x factor pixels of from [height, width]. */
void lt_flow_shrink(const uint8_t *from, int width, int height, int factor, uint8_t *to);

/* out [height / 16, width / 16]: how each block of `from` lies in `to`, both [height, width]. */
void lt_flow_match(const uint8_t *from, const uint8_t *to, int width, int height, lt_shift *out);

/* The mean over `count` blocks of |now - (before + after) / 2|, in pixels; NaN of no block. */
double lt_flow_jump(const lt_shift *before, const lt_shift *now, const lt_shift *after,
                    int64_t count);

/* The mean length of the shifts; NaN of no block. */
double lt_flow_length(const lt_shift *shift, int64_t count);

#endif

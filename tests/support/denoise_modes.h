/* denoise_modes.h - small films of the nano model in every mode of the denoising loop, for tests
 * under mpirun: windows of 90 or 141 frames, of which the model knows the smallest lengths. */
#ifndef LT_TEST_DENOISE_MODES_H
#define LT_TEST_DENOISE_MODES_H

#include "run/plan.h"

enum {
    DENOISE_SINGLE,
    DENOISE_WINDOWS,
    DENOISE_HANN,
    DENOISE_DITHERED,
    DENOISE_CUT,
    DENOISE_GLOBAL,
    DENOISE_ANCHORS,
    DENOISE_DITHERED_CUT_ANCHORS,
    DENOISE_EXTEND,
    DENOISE_EXTEND_ANCHOR,
    DENOISE_REFINE,
    DENOISE_REFINE_TIME,
    DENOISE_MODES
};

static const struct denoise_mode {
    const char *name;
    lt_shape shape;
    lt_windows_asked asked;
} denoise_modes[DENOISE_MODES] = {
    [DENOISE_SINGLE] = {"single", {192, 64, 32}, {.mode = LT_MODE_SINGLE}},
    [DENOISE_WINDOWS] = {"windows",
                         {192, 64, 32},
                         {.mode = LT_MODE_WINDOWS, 90, 39, LT_FUSE_TRAPEZOID}},
    [DENOISE_HANN] = {"windows, hann",
                      {243, 64, 32},
                      {.mode = LT_MODE_WINDOWS, 141, 90, LT_FUSE_HANN}},
    [DENOISE_DITHERED] = {"windows, dithered",
                          {345, 64, 32},
                          {.mode = LT_MODE_WINDOWS, 141, 39, LT_FUSE_TRAPEZOID, .dither = 1}},
    [DENOISE_CUT] = {"windows, cut at the end",
                     {192, 64, 32},
                     {.mode = LT_MODE_WINDOWS, 90, 39, LT_FUSE_TRAPEZOID, .owner_cut_steps = 1}},
    [DENOISE_GLOBAL] =
        {"windows, global positions",
         {192, 64, 32},
         {.mode = LT_MODE_WINDOWS, 90, 39, LT_FUSE_TRAPEZOID, .global_positions = 1}},
    [DENOISE_ANCHORS] =
        {"windows, anchors",
         {192, 64, 32},
         {.mode = LT_MODE_WINDOWS, 90, 39, LT_FUSE_TRAPEZOID, .anchor = {0, 102}, .anchors = 2}},
    [DENOISE_DITHERED_CUT_ANCHORS] = {"windows, dithered, cut, anchors",
                                      {345, 64, 32},
                                      {.mode = LT_MODE_WINDOWS,
                                       141,
                                       39,
                                       LT_FUSE_TRAPEZOID,
                                       .dither = 1,
                                       .owner_cut_steps = 1,
                                       .anchor = {0, 102},
                                       .anchors = 2}},
    [DENOISE_EXTEND] = {"extend", {192, 64, 32}, {.mode = LT_MODE_EXTEND, 90, 39}},
    [DENOISE_EXTEND_ANCHOR] = {"extend, anchor",
                               {192, 64, 32},
                               {.mode = LT_MODE_EXTEND, 90, 39, .anchor = {0}, .anchors = 1}},
    [DENOISE_REFINE] = {"refine",
                        {192, 64, 64},
                        {.mode = LT_MODE_REFINE,
                         90,
                         39,
                         LT_FUSE_TRAPEZOID,
                         .refine_from = 0.6,
                         .coarse_width = 32,
                         .coarse_height = 32,
                         .tile_width = 32,
                         .tile_height = 32}},
    [DENOISE_REFINE_TIME] = {"refine in time alone",
                             {192, 64, 32},
                             {.mode = LT_MODE_REFINE,
                              90,
                              39,
                              LT_FUSE_TRAPEZOID,
                              .refine_from = 0.6,
                              .coarse_width = 64,
                              .coarse_height = 32,
                              .tile_width = 64,
                              .tile_height = 32}},
};

#endif

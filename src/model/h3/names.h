/* names.h - names and rows of MiniMax-H3's original layout.
 * Source: spec/minimax-h3.md 1.2. Text encoder and audio VAE have the same names in both layouts:
 * they are opened without a map. Pure functions. Local. Tested: tests/unit/test_h3_original.c. */
#ifndef LT_H3_NAMES_H
#define LT_H3_NAMES_H

#include "model/files/name_map.h"

/* For headers: values need a head's width. */
extern const lt_name_map lt_h3_dit_names, lt_h3_video_names;
/* One of these with the width of a head, from the part's config. */
lt_name_map lt_h3_names(const lt_name_map *names, int64_t head_dim);

#endif

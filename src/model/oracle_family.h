/* oracle_family.h - the oracle as a row of the table of families: a model that needs no files.
 *
 * `--model oracle:` opens it. It takes latents of any [C, T, h, w], a cell of which is a pixel and
 * a frame; it has no text and no decoder: it grades the schedulers (spec/long-video.md 11) in
 * `probe denoise`, and nothing renders with it. Windows may lie anywhere; 50 evaluations, shift 5;
 * context is clean without noise. Every rank computes all of its window, whatever ring, uly and tp.
 *
 * Functions are Local. Tested: tests/ranks/test_windows.c. */
#ifndef LT_ORACLE_FAMILY_H
#define LT_ORACLE_FAMILY_H

#include "model/family.h"

extern const lt_family lt_family_oracle;

/* 1 for "oracle:"; path may be NULL. */
int lt_oracle_recognise(const char *path);
/* The channels of the latents to come. */
void lt_oracle_channels(lt_model *model, int64_t channels);

#endif

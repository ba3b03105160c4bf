/* probe_h3.h - MiniMax-H3's stages of `longtake probe`.
 * Each reads and checks its inputs, opens its part alone, runs --repeat times, makes the outputs.
 * Local, Blocking; those that run a network are Collective on the world. */
#ifndef LT_PROBE_H3_H
#define LT_PROBE_H3_H

#include "cmd/probe.h"

extern const lt_probe_family lt_probe_h3;

/* Stages without a network (probe_h3_small.c), on rank 0 alone. */
lt_status lt_probe_h3_tokenize(lt_probe *probe);
lt_status lt_probe_h3_layout(lt_probe *probe);
lt_status lt_probe_h3_sigmas(lt_probe *probe);

#endif

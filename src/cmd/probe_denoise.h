/* probe_denoise.h - the stage `denoise` of any family, and the oracle's stages.
 * `latents` and, where the family has audio, `audio_latents` are the noise; with --mode refine
 * `coarse` and `coarse_audio` may be there. */
#ifndef LT_PROBE_DENOISE_H
#define LT_PROBE_DENOISE_H

#include "cmd/probe.h"

extern const lt_probe_family lt_probe_oracle;

/* What a family adds: the network is open or needs none; text rows [count, width]. */
typedef struct lt_probe_denoise {
    lt_dtype dtype;
    int64_t cell_pixels; /* pixels of a cell of the latents, each way */
    const float *text_rows;
    int64_t text_count;
} lt_probe_denoise;

/* Reads the inputs, runs the job's mode --repeat times, makes the outputs. Collective on the world,
 * Blocking. Errors: LT_EDATA: file, tensor, wanted, found; LT_EUSAGE: options. */
lt_status lt_probe_denoise_run(lt_probe *probe, const lt_probe_denoise *of);

#endif

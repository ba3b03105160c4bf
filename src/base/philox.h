/* philox.h - noise as a function of (seed, stream, coordinates) alone.
 * Philox4x32-10 (Salmon et al. 2011). key = (seed low, seed high); counter = (x + y*2^16, frame g,
 * channel_group + stream*2^8, draw). One call gives 4 normals, for channels 4c..4c+3.
 * uniform u = (word >> 8)*2^-24 + 2^-25; normal by a rational inverse-CDF written with explicit
 * fma, without libm, compiled with fp contraction off: the same bits on every machine and on GPUs.
 * Local, never fail. Tested: tests/unit/test_philox.c (known answers, moments, parts). */
#ifndef LT_PHILOX_H
#define LT_PHILOX_H

#include <stdint.h>

/* Streams; for audio plus LT_STREAM_AUDIO (x = audio tick, y = stereo channel, frame = tick >> 16,
 * x taken mod 2^16). */
enum {
    LT_STREAM_INITIAL = 0,
    LT_STREAM_SDE = 1,
    LT_STREAM_CONTEXT = 2,
    LT_STREAM_RENOISE = 3,
    LT_STREAM_STAGE2 = 4,
    LT_STREAM_PERMUTE = 5,
    LT_STREAM_AUDIO = 16
};

void lt_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* Standard normal of one uniform word; never 0-1 exactly, |n| < 5.8. */
float lt_normal_from_u32(uint32_t word);

/* Noise of a video latent: out [C, F, H, W] f32, C outermost, frames counted from first_frame. */
void lt_noise_video(uint64_t seed, uint32_t stream, uint32_t draw, int64_t first_frame,
                    int64_t channels, int64_t frames, int64_t rows, int64_t columns, float *out);
/* Noise of an audio latent: out [2, Ca, A] f32, ticks counted from first_tick. Adds LT_STREAM_AUDIO
 * to stream itself (and takes a stream that has it already). */
void lt_noise_audio(uint64_t seed, uint32_t stream, uint32_t draw, int64_t first_tick,
                    int64_t channels, int64_t ticks, float *out);

/* A shot's seed from the job's: splitmix64 of seed mixed with the index. */
uint64_t lt_shot_seed(uint64_t seed, uint64_t shot);

#endif

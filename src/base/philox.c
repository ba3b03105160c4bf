/* philox.c - noise as a function of (seed, stream, coordinates) alone.
 *
 * Sources: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3"
 * (SC 2011) for Philox4x32-10 and its constants; M. Wichura, "Algorithm AS 241: the percentage
 * points of the normal distribution" (Applied Statistics 37, 1988), PPND7, for the rational
 * functions; the logarithm is fdlibm's e_logf.c (Sun Microsystems, 1993): s = f / (2 + f) and an
 * even polynomial.
 *
 * The same bits on every machine: only +, -, *, /, sqrt and fma of IEEE 754 are used, each rounded
 * once to f32 in a written order, and the build keeps the compiler from contracting others
 * (-ffp-contract=off). A CPU without the instruction computes fma in software, slower, to the same
 * bits. A GPU gets them by its _rn intrinsics.
 *
 * The 24 upper bits k of a word give u = (2k + 1) / 2^25, which f32 cannot hold above 1/2; so the
 * half is taken first and the distance to the nearer end, (2m + 1) / 2^25 < 1/2, is exact. The two
 * halves mirror each other to the bit. */
#include "base/philox.h"

#include <assert.h>
#include <math.h>
#include <string.h>

void lt_philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        const uint64_t a = (uint64_t)0xd2511f53u * c0, b = (uint64_t)0xcd9e8d57u * c2;
        const uint32_t n0 = (uint32_t)(b >> 32) ^ c1 ^ k0, n2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)b;
        c3 = (uint32_t)a;
        c0 = n0;
        c2 = n2;
        k0 += 0x9e3779b9u; /* 2^32 times the golden ratio's fraction */
        k1 += 0xbb67ae85u; /* 2^32 times (sqrt(3) - 1) */
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* -ln p of a normal f32 p in (0, 1/2). */
static float minus_log(float p)
{
    uint32_t u;
    memcpy(&u, &p, sizeof u);
    /* The mantissa goes to [sqrt(1/2), sqrt(2)), so that f is small around 0. */
    u += 0x3f800000u - 0x3f3504f3u;
    const float k = (float)((int32_t)(u >> 23) - 127);
    u = (u & 0x007fffffu) + 0x3f3504f3u;
    float mantissa;
    memcpy(&mantissa, &u, sizeof mantissa);
    const float f = mantissa - 1.0f;
    const float s = f / (2.0f + f), z = s * s;
    float r = fmaf(z, 0xf89e26.0p-26f, 0x91e9ee.0p-25f);
    r = fmaf(z, r, 0xccce13.0p-25f);
    r = fmaf(z, r, 0xaaaaaa.0p-24f);
    r = z * r;
    const float half_square = 0.5f * f * f;
    const float low = fmaf(s, half_square + r, k * 9.0580006145e-06f); /* ln 2's lower part */
    const float upper = fmaf(k, -6.9313812256e-01f, -f); /* ln 2's upper part, exact * k */
    return upper + (half_square - low);
}

/* AS 241's middle: |u - 1/2| = q <= 0.425. */
static float normal_middle(float q)
{
    const float r = fmaf(-q, q, 0.180625f);
    float a = fmaf(r, 5.9109374720e+01f, 1.5929113202e+02f);
    a = fmaf(r, a, 5.0434271938e+01f);
    a = fmaf(r, a, 3.3871327179e+00f);
    float b = fmaf(r, 6.7187563600e+01f, 7.8757757664e+01f);
    b = fmaf(r, b, 1.7895169469e+01f);
    b = fmaf(r, b, 1.0f);
    return q * a / b;
}

/* AS 241's tail, for sqrt(-ln p) <= 5; ours ends at 4.17. */
static float normal_tail(float p)
{
    const float r = sqrtf(minus_log(p)) - 1.6f;
    float c = fmaf(r, 1.7023821103e-01f, 1.3067284816e+00f);
    c = fmaf(r, c, 2.7568153900e+00f);
    c = fmaf(r, c, 1.4234372777e+00f);
    float d = fmaf(r, 1.2021132975e-01f, 7.3700164250e-01f);
    d = fmaf(r, d, 1.0f);
    return c / d;
}

float lt_normal_from_u32(uint32_t word)
{
    const uint32_t k = word >> 8;
    const int upper = k >= 0x800000u;
    const uint32_t m = upper ? 0xffffffu - k : k;
    const float p = (float)(2 * m + 1) * 0x1p-25f; /* exact: an odd number below 2^24 */
    const float q = 0.5f - p;                      /* exact too */
    const float n = q <= 0.425f ? normal_middle(q) : normal_tail(p);
    return upper ? n : -n;
}

static void normals(const uint32_t counter[4], const uint32_t key[2], float out[4])
{
    uint32_t words[4];
    lt_philox4x32(counter, key, words);
    for (int i = 0; i < 4; i++)
        out[i] = lt_normal_from_u32(words[i]);
}

void lt_noise_video(uint64_t seed, uint32_t stream, uint32_t draw, int64_t first_frame,
                    int64_t channels, int64_t frames, int64_t rows, int64_t columns, float *out)
{
    assert(stream < (1u << 24) && channels >= 0 && channels <= 1024 && frames >= 0);
    assert(rows >= 0 && rows <= 65536 && columns >= 0 && columns <= 65536);
    assert(first_frame >= 0 && first_frame + frames <= (int64_t)1 << 32);
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const int64_t plane = rows * columns, groups = (channels + 3) / 4;
#pragma omp parallel for collapse(2) schedule(static) if (groups * frames * plane > 65536)
    for (int64_t group = 0; group < groups; group++)
        for (int64_t f = 0; f < frames; f++)
            for (int64_t i = 0; i < plane; i++) {
                const uint32_t counter[4] = {
                    (uint32_t)(i % columns) + ((uint32_t)(i / columns) << 16),
                    (uint32_t)(first_frame + f), (uint32_t)group + (stream << 8), draw};
                float four[4];
                normals(counter, key, four);
                for (int64_t c = 4 * group; c < 4 * group + 4 && c < channels; c++)
                    out[(c * frames + f) * plane + i] = four[c - 4 * group];
            }
}

void lt_noise_audio(uint64_t seed, uint32_t stream, uint32_t draw, int64_t first_tick,
                    int64_t channels, int64_t ticks, float *out)
{
    assert(stream < (1u << 24) && channels >= 0 && channels <= 1024 && ticks >= 0);
    assert(first_tick >= 0 && first_tick + ticks <= (int64_t)1 << 48);
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const int64_t groups = (channels + 3) / 4;
    for (int64_t side = 0; side < 2; side++)
        for (int64_t group = 0; group < groups; group++)
            for (int64_t i = 0; i < ticks; i++) {
                const uint64_t tick = (uint64_t)(first_tick + i);
                const uint32_t counter[4] = {
                    (uint32_t)(tick & 0xffffu) + ((uint32_t)side << 16), (uint32_t)(tick >> 16),
                    (uint32_t)group + ((stream | LT_STREAM_AUDIO) << 8), draw};
                float four[4];
                normals(counter, key, four);
                for (int64_t c = 4 * group; c < 4 * group + 4 && c < channels; c++)
                    out[(side * channels + c) * ticks + i] = four[c - 4 * group];
            }
}

uint64_t lt_shot_seed(uint64_t seed, uint64_t shot)
{
    uint64_t z = seed + (shot + 1) * 0x9e3779b97f4a7c15u; /* splitmix64: Steele, Lea, Flood 2014 */
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* sha256.c - SHA-256 in plain C, and the choice of how.                         Level 1: kernels */
#include "kernels/cpu/sha256.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

const uint32_t lt_sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t turn(uint32_t x, int n) { return x >> n | x << (32 - n); }

void lt_sha256_blocks_plain(uint32_t state[8], const uint8_t *data, size_t blocks)
{
    uint32_t w[64];
    for (; blocks > 0; blocks--, data += 64) {
        for (int i = 0; i < 16; i++)
            w[i] = (uint32_t)data[4 * i] << 24 | (uint32_t)data[4 * i + 1] << 16 |
                   (uint32_t)data[4 * i + 2] << 8 | data[4 * i + 3];
        for (int i = 16; i < 64; i++) {
            const uint32_t a = w[i - 15], b = w[i - 2];
            w[i] = w[i - 16] + (turn(a, 7) ^ turn(a, 18) ^ a >> 3) + w[i - 7] +
                   (turn(b, 17) ^ turn(b, 19) ^ b >> 10);
        }
        uint32_t s[8];
        memcpy(s, state, sizeof s);
        for (int i = 0; i < 64; i++) {
            const uint32_t e = s[4], a = s[0];
            const uint32_t t = s[7] + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) +
                               ((e & s[5]) ^ (~e & s[6])) + lt_sha256_k[i] + w[i];
            const uint32_t u = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) +
                               ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
            memmove(s + 1, s, 7 * sizeof *s);
            s[4] += t;
            s[0] = t + u;
        }
        for (int i = 0; i < 8; i++)
            state[i] += s[i];
    }
}

#if !defined(__x86_64__) || defined(LT_PORTABLE)
int lt_sha256_has_x86(void) { return 0; }
void lt_sha256_blocks_x86(uint32_t state[8], const uint8_t *data, size_t blocks)
{
    lt_sha256_blocks_plain(state, data, blocks);
}
#endif

static void blocks_of(uint32_t state[8], const uint8_t *data, size_t blocks)
{
    if (lt_sha256_has_x86())
        lt_sha256_blocks_x86(state, data, blocks);
    else
        lt_sha256_blocks_plain(state, data, blocks);
}

void lt_sha256_begin(lt_sha256 *s)
{
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(s->state, start, sizeof start);
    s->bytes = 0;
}

void lt_sha256_add(lt_sha256 *s, const void *data, size_t bytes)
{
    const uint8_t *at = data;
    const size_t held = (size_t)(s->bytes % 64);
    s->bytes += bytes;
    if (held > 0) {
        const size_t n = bytes < 64 - held ? bytes : 64 - held;
        memcpy(s->rest + held, at, n);
        at += n;
        bytes -= n;
        if (held + n < 64)
            return;
        blocks_of(s->state, s->rest, 1);
    }
    blocks_of(s->state, at, bytes / 64);
    memcpy(s->rest, at + bytes / 64 * 64, bytes % 64);
}

void lt_sha256_end(lt_sha256 *s, char text[65])
{
    const uint64_t bits = 8 * s->bytes;
    uint8_t tail[72] = {0x80};
    const size_t held = (size_t)(s->bytes % 64), pad = held < 56 ? 56 - held : 120 - held;
    for (int i = 0; i < 8; i++)
        tail[pad + (size_t)i] = (uint8_t)(bits >> (56 - 8 * i));
    lt_sha256_add(s, tail, pad + 8);
    assert(s->bytes % 64 == 0);
    for (int i = 0; i < 8; i++)
        (void)snprintf(text + 8 * i, 9, "%08x", s->state[i]);
}

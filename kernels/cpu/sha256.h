/* sha256.h - SHA-256, as model folders list their files by it.                    Level 1: kernels
 * Source: FIPS 180-4. With the processor's own instructions where it has them (sha256_x86.c), else
 * plain C, with the same result. Local, Blocking; thread-safe. Tested: tests/unit/test_sha256.c. */
#ifndef LT_SHA256_H
#define LT_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct lt_sha256 {
    uint32_t state[8];
    uint64_t bytes;
    uint8_t rest[64]; /* of a block that is not whole yet */
} lt_sha256;

void lt_sha256_begin(lt_sha256 *s);
void lt_sha256_add(lt_sha256 *s, const void *data, size_t bytes);
/* 64 hexadecimal digits and a NUL. */
void lt_sha256_end(lt_sha256 *s, char text[65]);

/* Blocks of 64 bytes into the state: in plain C, and by instructions where lt_sha256_has_x86. */
void lt_sha256_blocks_plain(uint32_t state[8], const uint8_t *data, size_t blocks);
void lt_sha256_blocks_x86(uint32_t state[8], const uint8_t *data, size_t blocks);
int lt_sha256_has_x86(void);
extern const uint32_t lt_sha256_k[64];

#endif

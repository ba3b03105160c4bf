/* state_internal.h - what the writer and the reader of state files share; for this room and tests
 * only. All functions are Local. */
#ifndef LT_STATE_INTERNAL_H
#define LT_STATE_INTERNAL_H

#include "run/state/state_file.h"

#define LT_STATE_MAGIC "LTSTATE\n"
#define LT_STATE_SEAL  "LTXXH64\n"
enum {
    LT_STATE_MAGIC_BYTES = 8,
    LT_STATE_START_BYTES = 16,
    LT_STATE_SEAL_BYTES = 24,
    LT_STATE_WIDTH_MAX = 8 /* bytes of an element */
};

/* u32, little-endian, whatever the machine. */
void lt_state_put_u32(unsigned char to[4], uint32_t x);
uint32_t lt_state_get_u32(const unsigned char from[4]);

/* Elements of `width` bytes: their first bytes together, then their second ones, ...; and back. */
void lt_state_shuffle(const unsigned char *from, size_t bytes, size_t width, unsigned char *to);
void lt_state_unshuffle(const unsigned char *from, size_t bytes, size_t width, unsigned char *to);
/* What a packed block takes at most. */
size_t lt_state_packed_bytes_max(void);

#endif

/* bpe_internal.h - what the tokenizer's files share.
 * bpe_load.c makes an lt_bpe, bpe_text.c knows Unicode (NFC, words), bpe.c encodes. */
#ifndef LT_BPE_INTERNAL_H
#define LT_BPE_INTERNAL_H

#include "model/text/bpe.h"

/* A pair of ids that become one. rank: its line, from 0. */
typedef struct lt_bpe_merge {
    uint64_t pair; /* left << 32 | right; LT_BPE_FREE: no merge in this slot */
    int32_t rank, id;
} lt_bpe_merge;
#define LT_BPE_FREE UINT64_MAX

typedef struct lt_bpe_added {
    char *text;
    size_t bytes;
    int32_t id;
} lt_bpe_added;

struct lt_bpe {
    int32_t byte_id[256];
    int64_t vocab_size;
    lt_bpe_merge *merges; /* open addressing, merge_mask + 1 slots, at least half of them free */
    uint64_t merge_mask;
    lt_bpe_added *added; /* by their bytes, as memcmp sorts them, shorter first */
    size_t added_count;
};

/* Where a pair's merge stands or would stand. Local. */
static inline uint64_t lt_bpe_slot(const lt_bpe *bpe, uint64_t pair)
{
    uint64_t z = (pair ^ pair >> 30) * 0xbf58476d1ce4e5b9u; /* splitmix64's finaliser */
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    uint64_t slot = (z ^ z >> 31) & bpe->merge_mask;
    while (bpe->merges[slot].pair != pair && bpe->merges[slot].pair != LT_BPE_FREE)
        slot = (slot + 1) & bpe->merge_mask;
    return slot;
}

/* A file's content and the name that errors show. */
typedef struct lt_bpe_source {
    const char *text, *name;
    size_t bytes;
} lt_bpe_source;

/* lt_bpe_open on what stands in the three files. Local, Blocking. Errors: as lt_bpe_open. */
lt_status lt_bpe_parse(const lt_bpe_source *vocab, const lt_bpe_source *merges,
                       const lt_bpe_source *config, lt_bpe **out);

/* NFC of valid UTF-8, as tokenizers 0.23 has it. *out is the caller's (free), *out_bytes its
 * length. Local. Errors: LT_ENOMEM. */
lt_status lt_bpe_nfc(const char *text, size_t bytes, char **out, size_t *out_bytes);

/* Length of the word that begins at text[0]; bytes >= 1, valid UTF-8. Local, never fails. */
size_t lt_bpe_word(const char *text, size_t bytes);

/* White space, letter (L*), number (N*) or anything else, in Unicode 16. Local. */
typedef enum { LT_BPE_SPACE, LT_BPE_LETTER, LT_BPE_NUMBER, LT_BPE_OTHER } lt_bpe_class;
lt_bpe_class lt_bpe_class_of(uint32_t code);

#endif

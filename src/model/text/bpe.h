/* bpe.h - text to token ids: Qwen's byte-level BPE.
 * Source: spec/minimax-h3.md 2.1; transformers' Qwen2Tokenizer over tokenizers 0.23, whose ids are
 * matched.
 *
 * Text is cut at added tokens; what lies between is brought into Unicode's form NFC, cut into
 * words, spelled in bytes, and each word is merged pair by pair, lowest rank first. No token is put
 * before or after the text. An open lt_bpe is never written to: any number of threads may encode
 * with it. All functions are Local and Blocking. Tested: tests/unit/test_bpe.c (published ids),
 * tests/fuzz/fuzz_tokenizer.c. */
#ifndef LT_BPE_H
#define LT_BPE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

enum { LT_BPE_TEXT_BYTES_MAX = 1 << 24, LT_BPE_VOCAB_MAX = 1 << 21 };

typedef struct lt_bpe lt_bpe;

/* Read folder/vocab.json, merges.txt and tokenizer_config.json and check them against each other.
 * Special tokens that only tokenizer_config.json names get the ids after the highest one, in the
 * list's order. Errors: LT_ENOINPUT (a file is not there; the three cannot be replaced by a
 * tokenizer.json); LT_EDATA: file, line or field, wanted, found; LT_ENOMEM. */
lt_status lt_bpe_open(const char *folder, lt_bpe **out);
void lt_bpe_close(lt_bpe **bpe); /* NULL inside is fine */

/* The ids of text[0, bytes), NUL bytes included; *ids is the caller's: free. No text gives *count 0
 * and a valid address. Errors: LT_EUSAGE: text is no UTF-8 (the offset of the first bad byte) or
 * longer than LT_BPE_TEXT_BYTES_MAX; LT_ENOMEM. */
lt_status lt_bpe_encode(const lt_bpe *bpe, const char *text, size_t bytes, int32_t **ids,
                        int64_t *count);

/* One more than the highest id. */
int64_t lt_bpe_vocab_size(const lt_bpe *bpe);

#endif

/* prompts.h - the film's prompts as tokens, and the texts that a shot's windows see.
 * Host memory. Tested: tests/film/test_shots.c. */
#ifndef LT_PROMPTS_H
#define LT_PROMPTS_H

#include <assert.h>

#include "run/denoise/texts.h"
#include "run/plan_shots.h"

static_assert((int)LT_TEXTS_MAX == (int)LT_SHOTS_MAX, "each entry of a storyboard is a text");

/* Of all prompts, one behind the other. A zeroed one: none. */
typedef struct lt_tokens {
    int32_t *ids;   /* [all] owned */
    int64_t *count; /* [prompts] owned */
    int prompts;
    int64_t all, most; /* most: of one prompt */
} lt_tokens;

/* Rank 0's, of the plan's prompts. The caller owns *out also after an error. Local. Errors:
 * LT_EUSAGE where the tokenizer keeps nothing, naming the entry; where: of the job's list. */
lt_status lt_tokens_make(const lt_model *model, const lt_plan *film, const char *where,
                         lt_tokens *out);
/* Rank 0's to all. Collective on world, Blocking. */
lt_status lt_tokens_share(lt_group *world, lt_tokens *tokens);
void lt_tokens_free(lt_tokens *tokens);

/* The texts of a shot. rows [all, width], of all prompts; NULL on dry. text [LT_TEXTS_MAX] is what
 * the result points to. The prompts of one shot fade over a window: one that sees frames of two
 * prompts alike takes half of each. Local. */
lt_texts lt_tokens_texts(const lt_tokens *tokens, const lt_plan *film, const lt_film_shot *shot,
                         const float *rows, int64_t width, lt_text *text);

#endif

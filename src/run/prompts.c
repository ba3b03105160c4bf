/* prompts.c - the film's prompts as tokens, and the texts that a shot's windows see. */
#include "run/prompts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"

static lt_status add_prompt(const lt_model *model, const lt_plan *film, const char *where,
                            lt_tokens *out)
{
    int32_t *ids = NULL;
    int64_t count = 0;
    LT_TRY(model->family->tokenize(model, lt_film_prompt(film, out->prompts), &ids, &count));
    int32_t *all = realloc(out->ids, (size_t)(out->all + count) * sizeof *all + 1);
    if (all != NULL) {
        memcpy(all + out->all, ids, (size_t)count * sizeof *ids);
        out->ids = all;
    }
    free(ids);
    if (all == NULL)
        LT_FAIL(LT_ENOMEM, "prompt: no memory for %lld tokens", (long long)count);
    if (count == 0 && film->board.entries > 0)
        LT_FAIL(LT_EUSAGE,
                "%s: entry %d: prompt: want some text, found none that the tokenizer "
                "keeps",
                where, out->prompts + 1);
    if (count == 0)
        LT_FAIL(LT_EUSAGE, "--prompt: want some text, found none that the tokenizer keeps");
    out->count[out->prompts++] = count;
    out->all += count;
    out->most = count > out->most ? count : out->most;
    return LT_OK;
}

lt_status lt_tokens_make(const lt_model *model, const lt_plan *film, const char *where,
                         lt_tokens *out)
{
    const int prompts = lt_film_prompts(film);
    *out = (lt_tokens){.count = calloc((size_t)prompts, sizeof *out->count)};
    if (out->count == NULL)
        LT_FAIL(LT_ENOMEM, "prompt: no memory for %d prompts", prompts);
    for (int i = 0; i < prompts; i++)
        LT_TRY(add_prompt(model, film, where, out));
    return LT_OK;
}

lt_status lt_tokens_share(lt_group *world, lt_tokens *tokens)
{
    size_t counts = (size_t)tokens->prompts * sizeof *tokens->count;
    size_t ids = (size_t)tokens->all * sizeof *tokens->ids;
    char *count = (char *)tokens->count, *id = (char *)tokens->ids;
    lt_status st = lt_broadcast_text(world, 0, &count, &counts);
    tokens->count = (int64_t *)(void *)count;
    LT_TRY(st);
    st = lt_broadcast_text(world, 0, &id, &ids);
    tokens->ids = (int32_t *)(void *)id;
    LT_TRY(st);
    tokens->prompts = (int)(counts / sizeof *tokens->count);
    tokens->all = tokens->most = 0;
    for (int i = 0; i < tokens->prompts; i++) {
        tokens->all += tokens->count[i];
        tokens->most = tokens->count[i] > tokens->most ? tokens->count[i] : tokens->most;
    }
    assert(ids == (size_t)tokens->all * sizeof *tokens->ids);
    return LT_OK;
}

void lt_tokens_free(lt_tokens *tokens)
{
    free(tokens->ids);
    free(tokens->count);
    *tokens = (lt_tokens){0};
}

lt_texts lt_tokens_texts(const lt_tokens *tokens, const lt_plan *film, const lt_film_shot *shot,
                         const float *rows, int64_t width, lt_text *text)
{
    int64_t before = 0, start = 0;
    assert(shot->prompts >= 1 && shot->first_prompt + shot->prompts <= tokens->prompts);
    for (int i = 0; i < shot->first_prompt; i++)
        before += tokens->count[i];
    for (int i = 0; i < shot->prompts; i++) {
        const int prompt = shot->first_prompt + i;
        text[i] = (lt_text){.start = start,
                            .rows = rows != NULL ? rows + before * width : NULL,
                            .count = tokens->count[prompt]};
        before += tokens->count[prompt];
        start += film->board.entries > 0 ? film->board.entry[prompt].frames : 0;
    }
    return (lt_texts){text, shot->prompts, shot->plan.asked.window};
}

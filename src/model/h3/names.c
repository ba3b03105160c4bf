/* names.c - names and rows of MiniMax-H3's original layout.
 *
 * The release comes twice: in diffusers' layout, and as its authors trained it. They differ in
 * names and in two orders of rows, so the second is read as the first without rewriting a file:
 *   attn.qkv_proj [3*E, C]: head 0's q, k, v, head 1's q, k, v, ...  ->  to_q, to_k, to_v [E, C]
 *   mlp.fc1 [2*F, C] = [gate; value]                                 ->  ff.net.0.proj = [value;
 * gate] A name is rewritten by the first rule that fits its beginning, then by the first that fits
 * inside. */
#include "model/h3/names.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

typedef struct rule {
    const char *from, *to; /* to NULL: the tensor is dropped */
    lt_row_order rows;     /* LT_ROWS_Q: three names, to_q as `to` says, to_k and to_v */
} rule;

static const rule dit_begins[] = {
    {"video_patch_proj.", "proj_in.", LT_ROWS_SAME},
    {"audio_patch_proj.", "audio_proj_in.", LT_ROWS_SAME},
    {"condition_proj.", "context_embedder.", LT_ROWS_SAME},
    {"time_embedder.proj_in.", "time_embedder.linear_1.", LT_ROWS_SAME},
    {"time_embedder.proj_out.", "time_embedder.linear_2.", LT_ROWS_SAME},
    {"token_refiner.blocks.", "token_refiner.refiner_blocks.", LT_ROWS_SAME},
    {"blocks.", "transformer_blocks.", LT_ROWS_SAME},
    {"final_layer.norm.", "norm_out.norm.", LT_ROWS_SAME},
    {"final_layer.adaln_proj.linear.", "norm_out.linear.", LT_ROWS_SAME},
    {"final_layer.video_out.", "proj_out.", LT_ROWS_SAME},
    {"final_layer.audio_out.", "audio_proj_out.", LT_ROWS_SAME},
    {"rope.inv_freq", NULL, LT_ROWS_SAME},
    {NULL, NULL, LT_ROWS_SAME},
};
static const rule dit_inside[] = {
    {".attn.qkv_proj.", ".attn.to_q.", LT_ROWS_Q},
    {".attn.q_norm.", ".attn.norm_q.", LT_ROWS_SAME},
    {".attn.k_norm.", ".attn.norm_k.", LT_ROWS_SAME},
    {".attn.out_proj.", ".attn.to_out.0.", LT_ROWS_SAME},
    {".mlp.fc1.", ".ff.net.0.proj.", LT_ROWS_SWAPPED},
    {".mlp.fc2.", ".ff.net.2.", LT_ROWS_SAME},
    {NULL, NULL, LT_ROWS_SAME},
};
static const rule vae_begins[] = {
    {"encoder.down.", "encoder.down_blocks.", LT_ROWS_SAME},
    {"decoder.x_embedder.", "decoder.proj_in.", LT_ROWS_SAME},
    {"decoder.mask_token", NULL, LT_ROWS_SAME},
    {NULL, NULL, LT_ROWS_SAME},
};
static const rule vae_inside[] = {
    {".attn.to_qkv.", ".attn.to_q.", LT_ROWS_Q},
    {".attn.to_out.", ".attn.to_out.0.", LT_ROWS_SAME},
    {".ff.w1.", ".ff.net.0.proj.", LT_ROWS_SWAPPED},
    {".ff.w2.", ".ff.net.2.", LT_ROWS_SAME},
    {".downsample.", ".downsamplers.0.", LT_ROWS_SAME},
    {".block.", ".resnets.", LT_ROWS_SAME},
    {NULL, NULL, LT_ROWS_SAME},
};
/* Applied after the others, to names of the encoder's blocks. */
static const rule vae_shortcut = {".nin_shortcut.", ".conv_shortcut.", LT_ROWS_SAME};

static int begins_so(const char *stored, const char *const *begins)
{
    for (; *begins != NULL; begins++)
        if (strncmp(stored, *begins, strlen(*begins)) == 0)
            return 1;
    return 0;
}

static int dit_is_original(const char *stored)
{
    static const char *const begins[] = {"video_patch_proj.",
                                         "audio_patch_proj.",
                                         "condition_proj.",
                                         "blocks.",
                                         "final_layer.",
                                         "rope.inv_freq",
                                         NULL};
    return begins_so(stored, begins);
}

static int vae_is_original(const char *stored)
{
    static const char *const begins[] = {"encoder.down.", "decoder.x_embedder.",
                                         "decoder.mask_token", NULL};
    return begins_so(stored, begins);
}

/* name[at .. at + cut) becomes `to`. Returns 0 and leaves the name alone if it would not fit. */
static int replace(char name[LT_MAPPED_NAME_BYTES], size_t at, size_t cut, const char *to)
{
    char next[LT_MAPPED_NAME_BYTES];
    const int n = snprintf(next, sizeof next, "%.*s%s%s", (int)at, name, to, name + at + cut);
    if (n < 0 || (size_t)n >= sizeof next)
        return 0;
    memcpy(name, next, (size_t)n + 1);
    return 1;
}

static const rule *rule_for(const rule *rules, const char *name, int inside, size_t *at)
{
    for (; rules->from != NULL; rules++) {
        const char *hit = inside ? strstr(name, rules->from)
                          : strncmp(name, rules->from, strlen(rules->from)) == 0 ? name
                                                                                 : NULL;
        if (hit != NULL) {
            *at = (size_t)(hit - name);
            return rules;
        }
    }
    return NULL;
}

static int names_by(const rule *begins, const rule *inside, const rule *shortcut_rule,
                    const char *stored, lt_mapped_name out[3])
{
    assert(strlen(stored) < LT_MAPPED_NAME_BYTES);
    size_t at = 0;
    memset(out, 0, sizeof out[0]);
    memcpy(out[0].name, stored, strlen(stored) + 1);
    const rule *r = rule_for(begins, out[0].name, 0, &at);
    if (r != NULL && r->to == NULL)
        return 0;
    if (r != NULL && !replace(out[0].name, at, strlen(r->from), r->to))
        return 1;
    r = rule_for(inside, out[0].name, 1, &at);
    if (r != NULL && r->rows == LT_ROWS_Q) {
        out[1] = out[2] = out[0];
        for (int i = 0; i < 3; i++) {
            (void)replace(out[i].name, at, strlen(r->from),
                          r->to); /* never longer than what it replaces */
            out[i].name[at + strlen(".attn.to_")] = "qkv"[i];
            out[i].rows = (lt_row_order)((int)LT_ROWS_Q + i);
        }
        return 3;
    }
    if (r != NULL && replace(out[0].name, at, strlen(r->from), r->to))
        out[0].rows = r->rows;
    const char *shortcut = shortcut_rule == NULL ? NULL : strstr(out[0].name, shortcut_rule->from);
    if (shortcut != NULL)
        (void)replace(out[0].name, (size_t)(shortcut - out[0].name), strlen(shortcut_rule->from),
                      shortcut_rule->to);
    return 1;
}

static int dit_names(const char *stored, lt_mapped_name out[3])
{
    return names_by(dit_begins, dit_inside, NULL, stored, out);
}

static int vae_names(const char *stored, lt_mapped_name out[3])
{
    return names_by(vae_begins, vae_inside, &vae_shortcut, stored, out);
}

const lt_name_map lt_h3_dit_names = {.is_mapped = dit_is_original, .names = dit_names};
const lt_name_map lt_h3_video_names = {
    .is_mapped = vae_is_original, .names = vae_names, .folder = "source"};

lt_name_map lt_h3_names(const lt_name_map *names, int64_t head_dim)
{
    lt_name_map map = *names;
    map.width = head_dim;
    return map;
}

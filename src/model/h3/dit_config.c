/* dit_config.c - config.json of H3's DiT, in both layouts' words.
 * Names: spec/minimax-h3.md 1.2, 1.4. Limits: no released or derived model comes near them, and
 * with them no product of sizes passes 2^62. */
#include "model/h3/dit.h"

#include <assert.h>

#include "base/json.h"
#include "model/files/remote/source.h"

/* A whole number of the config: both layouts' names. */
typedef struct field {
    const char *name, *original;
    int64_t lo, hi;
    size_t at; /* in lt_h3_dit_config */
} field;

#define AT(member) offsetof(lt_h3_dit_config, member)
static const field fields[] = {
    {"num_attention_heads", "num_attention_heads", 1, 4096, AT(heads)},
    {"attention_head_dim", "attention_head_dim", 2, 4096, AT(head_dim)},
    {"hidden_size", "hidden_size", 1, 1 << 17, AT(hidden)},
    {"num_layers", "num_layers", 1, 1000, AT(layers)},
    {"num_refiner_layers", "token_refiner_num_layers", 0, 1000, AT(refiner_layers)},
    {"ffn_dim", "ffn_hidden_size", 1, 1 << 20, AT(ffn)},
    {"in_channels", "latents_dim", 1, 4096, AT(channels)},
    {"audio_in_channels", "audio_latents_dim", 1, 4096, AT(audio_channels)},
    {"text_dim", "text_dim", 1, 1 << 17, AT(text_dim)},
    {"freq_dim", "timestep_input_dim", 2, 1 << 16, AT(freq_dim)},
    {"time_embed_hidden_dim", "time_embed_hidden_size", 1, 1 << 17, AT(time_hidden)},
    {"time_embed_dim", "time_embed_dim", 1, 1 << 17, AT(time_dim)},
    {"rope_freq_dim", "rope_inv_freq_len", 1, 2048, AT(rope_freqs)},
};

/* Members that may be left out have the class's default (spec 1.2: the original has no rope_theta).
 */
static lt_status real_or(const lt_json_at *root, const char *key, double lo, double hi,
                         double otherwise, double *out)
{
    *out = otherwise;
    if (lt_json_has(root, key))
        LT_TRY(lt_json_real(root, key, lo, hi, out));
    return LT_OK;
}

static lt_status patch_check(const lt_json_at *root)
{
    int64_t patch[3];
    size_t count = 3;
    LT_TRY(lt_json_ints(root, "patch_size", 1, 1024, patch, 3, &count));
    if (patch[0] != 1 || patch[1] != LT_H3_PATCH || patch[2] != LT_H3_PATCH)
        LT_FAIL(LT_EDATA, "%s: patch_size: want [1, 2, 2], found [%lld, %lld, %lld]", root->source,
                (long long)patch[0], (long long)patch[1], (long long)patch[2]);
    return LT_OK;
}

/* The original states the modulation widths too: they must agree with hidden_size. */
static lt_status original_check(const lt_json_at *root, const lt_h3_dit_config *c)
{
    const struct {
        const char *key;
        int64_t wanted;
    } derived[] = {{"adaln_out_features", 6 * LT_H3_TAGS * c->hidden},
                   {"final_adaln_out_features", 2 * c->hidden}};
    for (size_t i = 0; i < sizeof derived / sizeof *derived; i++) {
        int64_t found;
        if (!lt_json_has(root, derived[i].key))
            continue;
        LT_TRY(lt_json_int(root, derived[i].key, 0, INT64_MAX, &found));
        if (found != derived[i].wanted)
            LT_FAIL(LT_EDATA, "%s: %s: want %lld (from hidden_size), found %lld", root->source,
                    derived[i].key, (long long)derived[i].wanted, (long long)found);
    }
    return LT_OK;
}

static lt_status config_parse(const lt_json_at *root, lt_h3_dit_config *c)
{
    const int original = !lt_json_has(root, "in_channels") && lt_json_has(root, "latents_dim");
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const field *f = &fields[i];
        LT_TRY(lt_json_int(root, original ? f->original : f->name, f->lo, f->hi,
                           (int64_t *)(void *)((char *)c + f->at)));
    }
    LT_TRY(patch_check(root));
    if (6 * c->rope_freqs > c->head_dim)
        LT_FAIL(LT_EDATA, "%s: %s: want at most attention_head_dim / 6 = %lld, found %lld",
                root->source, original ? "rope_inv_freq_len" : "rope_freq_dim",
                (long long)(c->head_dim / 6), (long long)c->rope_freqs);
    LT_TRY(real_or(root, "rope_theta", 1e-3, 1e12, 10000.0, &c->rope_theta));
    LT_TRY(real_or(root, "norm_eps", 0.0, 1.0, 1e-5, &c->norm_eps));
    LT_TRY(real_or(root, "qk_norm_eps", 0.0, 1.0, 1e-5, &c->qk_norm_eps));
    LT_TRY(real_or(root, "final_norm_eps", 0.0, 1.0, 1e-5, &c->final_norm_eps));
    return original_check(root, c);
}

lt_status lt_h3_dit_config_read(const char *config_json_path, lt_h3_dit_config *out)
{
    assert(config_json_path && out);
    json_t *document = NULL;
    LT_TRY(lt_source_json(config_json_path, &document));
    const lt_json_at root = lt_json_root(document, config_json_path);
    *out = (lt_h3_dit_config){0};
    const lt_status st = config_parse(&root, out);
    json_decref(document);
    return st;
}

int64_t lt_h3_dit_video_width(const lt_h3_dit_config *config)
{
    return config->channels * LT_H3_PATCH * LT_H3_PATCH;
}

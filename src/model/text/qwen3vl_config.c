/* qwen3vl_config.c - config.json of the text encoder.
 * Names: spec/minimax-h3.md 1.4. Limits: no released model comes near them, and with them no
 * product of sizes passes 2^62. */
#include "model/text/qwen3vl.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "base/json.h"
#include "model/files/remote/source.h"

enum { HIDDEN_STATE = 50 }; /* spec 2.3 */

typedef struct field {
    const char *name;
    int64_t lo, hi;
    size_t at; /* in lt_qwen3vl_config */
} field;

#define AT(member) offsetof(lt_qwen3vl_config, member)
static const field fields[] = {
    {"hidden_size", 1, 1 << 17, AT(hidden)},
    {"num_hidden_layers", HIDDEN_STATE + 1, 1000, AT(layers)},
    {"intermediate_size", 1, 1 << 20, AT(ffn)},
    {"vocab_size", 1, 1 << 24, AT(vocab)},
    {"num_attention_heads", 1, 4096, AT(heads)},
    {"num_key_value_heads", 1, 4096, AT(kv_heads)},
    {"head_dim", 2, 4096, AT(head_dim)},
};

/* A word that must be as wanted if it is there. */
static lt_status word_check(const lt_json_at *at, const char *key, const char *wanted)
{
    const char *found = wanted;
    if (lt_json_has(at, key))
        LT_TRY(lt_json_string(at, key, &found));
    if (strcmp(found, wanted) != 0)
        LT_FAIL(LT_EDATA, "%s: %s%s%s: want \"%s\", found \"%.80s\"", at->source, at->path,
                at->path[0] != '\0' ? "." : "", key, wanted, found);
    return LT_OK;
}

/* theta and sections: in rope_parameters (transformers 5), or rope_scaling beside rope_theta. */
static lt_status rope_parse(const lt_json_at *text, lt_qwen3vl_config *c)
{
    lt_json_at rope = *text;
    size_t sections = 3;
    const int is_new = lt_json_has(text, "rope_parameters");
    if (is_new || lt_json_has(text, "rope_scaling"))
        LT_TRY(lt_json_member(text, is_new ? "rope_parameters" : "rope_scaling", &rope));
    LT_TRY(word_check(&rope, "rope_type", "default"));
    LT_TRY(lt_json_real(lt_json_has(&rope, "rope_theta") ? &rope : text, "rope_theta", 1e-3, 1e12,
                        &c->rope_theta));
    if (!lt_json_has(&rope, "mrope_section"))
        return LT_OK; /* text alone does not need it */
    LT_TRY(lt_json_ints(&rope, "mrope_section", 0, 4096, c->mrope_section, 3, &sections));
    return LT_OK;
}

static lt_status text_parse(const lt_json_at *text, lt_qwen3vl_config *c)
{
    int bias = 0;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        LT_TRY(lt_json_int(text, fields[i].name, fields[i].lo, fields[i].hi,
                           (int64_t *)(void *)((char *)c + fields[i].at)));
    if (c->heads % c->kv_heads != 0)
        LT_FAIL(LT_EDATA, "%s: %s.num_attention_heads: want a multiple of %lld, found %lld",
                text->source, text->path, (long long)c->kv_heads, (long long)c->heads);
    if (c->head_dim % 2 != 0)
        LT_FAIL(LT_EDATA, "%s: %s.head_dim: want an even number, found %lld", text->source,
                text->path, (long long)c->head_dim);
    LT_TRY(lt_json_real(text, "rms_norm_eps", 0, 1, &c->rms_eps));
    LT_TRY(word_check(text, "hidden_act", "silu"));
    if (lt_json_has(text, "attention_bias"))
        LT_TRY(lt_json_bool(text, "attention_bias", &bias));
    if (bias)
        LT_FAIL(LT_EDATA, "%s: %s.attention_bias: want false, found true", text->source,
                text->path);
    return rope_parse(text, c);
}

lt_status lt_qwen3vl_config_read(const char *config_json_path, lt_qwen3vl_config *out)
{
    assert(config_json_path != NULL && out != NULL);
    json_t *document = NULL;
    lt_json_at text;
    lt_status st;
    *out = (lt_qwen3vl_config){.hidden_state = HIDDEN_STATE};
    LT_TRY(lt_source_json(config_json_path, &document));
    const lt_json_at root = lt_json_root(document, config_json_path);
    LT_TRY_GOTO(word_check(&root, "model_type", "qwen3_vl"), st, done);
    LT_TRY_GOTO(lt_json_member(&root, "text_config", &text), st, done);
    LT_TRY_GOTO(text_parse(&text, out), st, done);
done:
    json_decref(document);
    return st;
}

/* test_h3_dit_config.c - reading the denoiser's config, and configs that cannot be.
 * Goal: both layouts' words give the same numbers; each wrong field is refused with file, field,
 * wanted and found, before any memory is taken. Ranks: 1. Needs: nothing (the released configs
 * beside the source tree, where they are). */
#include <stdio.h>

#include "tests/support/scratch.h"

#include "base/file.h"
#include "model/h3/dit.h"

/* A whole config in diffusers' words. */
#define HEAD                                                                                       \
    "\"attention_head_dim\": 16, \"hidden_size\": 28, \"num_layers\": 3, \"num_refiner_layers\": " \
    "2, "
#define REST                                                                                       \
    "\"in_channels\": 6, \"audio_in_channels\": 4, \"text_dim\": 12, \"freq_dim\": 16, "           \
    "\"time_embed_hidden_dim\": 20, \"time_embed_dim\": 12"
#define HEADS "\"num_attention_heads\": 3, "
#define FFN   "\"ffn_dim\": 44, "
#define ROPE  ", \"rope_freq_dim\": 2"
#define PATCH ", \"patch_size\": [1, 2, 2]"

static const char *const good = "{" HEAD HEADS FFN REST ROPE PATCH "}";
static const char *const original =
    "{\"hidden_size\": 28, \"num_layers\": 3, \"token_refiner_num_layers\": 2, "
    "\"num_attention_heads\": 3, "
    "\"attention_head_dim\": 16, \"ffn_hidden_size\": 44, \"latents_dim\": 6, "
    "\"audio_latents_dim\": 4, "
    "\"patch_size\": [1, 2, 2], \"text_dim\": 12, \"timestep_input_dim\": 16, "
    "\"time_embed_hidden_size\": 20, "
    "\"time_embed_dim\": 12, \"adaln_out_features\": 504, \"rope_inv_freq_len\": 2}";

static lt_status read_text(const scratch *s, const char *text, lt_h3_dit_config *out)
{
    scratch_text(s, "config.json", text);
    return lt_h3_dit_config_read(scratch_path(s, "config.json"), out);
}

static void both_layouts(void **state)
{
    (void)state;
    scratch s;
    lt_h3_dit_config a, b;
    scratch_new(&s);
    assert_int_equal(read_text(&s, good, &a), LT_OK);
    assert_int_equal(read_text(&s, original, &b), LT_OK);
    assert_memory_equal(&a, &b, sizeof a);
    assert_int_equal(a.hidden, 28);
    assert_int_equal(a.heads, 3);
    assert_int_equal(a.time_hidden, 20);
    assert_int_equal(lt_h3_dit_video_width(&a), 24);
    assert_true(a.rope_theta == 10000.0 && a.norm_eps == 1e-5); /* the class's defaults */
    scratch_free(&s);
}

static const struct {
    const char *name, *text, *field;
} bad[] = {
    {"a field is missing", "{" HEAD FFN REST ROPE PATCH "}", "num_attention_heads"},
    {"no heads", "{" HEAD "\"num_attention_heads\": 0, " FFN REST ROPE PATCH "}",
     "num_attention_heads"},
    {"negative", "{" HEAD HEADS "\"ffn_dim\": -44, " REST ROPE PATCH "}", "ffn_dim"},
    {"two billion", "{" HEAD "\"num_attention_heads\": 2000000000, " FFN REST ROPE PATCH "}",
     "num_attention_heads"},
    {"text where a number is wanted", "{" HEAD HEADS "\"ffn_dim\": \"44\", " REST ROPE PATCH "}",
     "ffn_dim"},
    {"a fraction of a layer", "{" HEAD HEADS "\"ffn_dim\": 44.5, " REST ROPE PATCH "}", "ffn_dim"},
    {"rotation wider than a head", "{" HEAD HEADS FFN REST ", \"rope_freq_dim\": 3" PATCH "}",
     "rope_freq_dim"},
    {"another patch", "{" HEAD HEADS FFN REST ROPE ", \"patch_size\": [1, 4, 4]}", "patch_size"},
    {"patch of two", "{" HEAD HEADS FFN REST ROPE ", \"patch_size\": [2, 2]}", "patch_size"},
    {"no patch", "{" HEAD HEADS FFN REST ROPE "}", "patch_size"},
    {"negative eps", "{" HEAD HEADS FFN REST ROPE PATCH ", \"norm_eps\": -1}", "norm_eps"},
    {"theta 0", "{" HEAD HEADS FFN REST ROPE PATCH ", \"rope_theta\": 0}", "rope_theta"},
    {"an array", "[1, 2]", "config.json"},
    {"no JSON", "{\"hidden_size\": ", "config.json"},
};

static void refuses(void **state)
{
    (void)state;
    scratch s;
    scratch_new(&s);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        lt_h3_dit_config c;
        if (read_text(&s, bad[i].text, &c) != LT_EDATA)
            fail_msg("%s: accepted", bad[i].name);
        if (!strstr(lt_error_text(), bad[i].field) || !strstr(lt_error_text(), "config.json"))
            fail_msg("%s: the message names not %s: %s", bad[i].name, bad[i].field,
                     lt_error_text());
    }
    scratch_free(&s);
}

static void original_disagrees(void **state)
{
    (void)state;
    scratch s;
    lt_h3_dit_config c;
    char text[1024];
    scratch_new(&s);
    (void)snprintf(text, sizeof text, "%s", original);
    char *at = strstr(text, "504");
    assert_non_null(at);
    at[2] = '5';
    assert_int_equal(read_text(&s, text, &c), LT_EDATA);
    assert_non_null(strstr(lt_error_text(), "adaln_out_features: want 504"));
    assert_int_equal(lt_h3_dit_config_read(scratch_path(&s, "absent.json"), &c), LT_ENOINPUT);
    scratch_free(&s);
}

static void released_configs(void **state)
{
    (void)state;
    const char *const first =
        LT_SOURCE_DIR "/../shared/h3-config/diffusers/transformer/config.json";
    const char *const second = LT_SOURCE_DIR "/../shared/h3-config/FL2VA/transformer/config.json";
    lt_h3_dit_config a, b;
    if (!lt_file_exists(first) || !lt_file_exists(second)) {
        print_message("the released configs are not here: skipped\n");
        skip();
    }
    assert_int_equal(lt_h3_dit_config_read(first, &a), LT_OK);
    assert_int_equal(lt_h3_dit_config_read(second, &b), LT_OK);
    assert_memory_equal(&a, &b, sizeof a);
    assert_int_equal(a.heads * a.head_dim, 7168);
    assert_int_equal(a.layers, 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(both_layouts), cmocka_unit_test(refuses),
                                       cmocka_unit_test(original_disagrees),
                                       cmocka_unit_test(released_configs)};
    return cmocka_run_group_tests_name("h3_dit_config", tests, NULL, NULL);
}

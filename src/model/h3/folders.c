/* folders.c - H3's folders: diffusers' layout and the original one.
 * Source: spec/minimax-h3.md 1.1, 1.2. */
#include "model/h3/folders.h"

#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "model/h3/tensors.h"

static const lt_part_folder diffusers_parts[] = {
    {"transformer", &lt_h3_part_dit, 0, 0},
    {"transformer_ref", &lt_h3_part_dit, 0, 1},
    {"text_encoder", &lt_h3_part_text, 0, 0},
    {"tokenizer", NULL, 1, 0},
    {"processor", NULL, 0, 1},
    {"vae", &lt_h3_part_video, 0, 0},
    {"audio_vae", &lt_h3_part_audio, 0, 0},
    {"scheduler", NULL, 0, 0},
    {"audio_scheduler", NULL, 0, 0},
    {NULL, NULL, 0, 0},
};
static const lt_part_folder original_parts[] = {
    {"transformer", &lt_h3_part_dit, 0, 0},
    {"text_encoder", &lt_h3_part_text, 0, 0},
    {"tokenizer", NULL, 1, 0},
    {"processor", NULL, 0, 1},
    {"video_vae", &lt_h3_part_video, 0, 0},
    {"audio_vae", &lt_h3_part_audio, 0, 0},
    {NULL, NULL, 0, 0},
};
static const lt_folder_layout diffusers = {"diffusers", diffusers_parts};
static const lt_folder_layout original = {"original", original_parts};

static const lt_part_class classes[] = {
    {"MiniMaxH3Transformer3DModel", &lt_h3_part_dit},
    {"MiniMaxH3DiTModel", &lt_h3_part_dit},
    {"AutoencoderKLMiniMaxH3", &lt_h3_part_video},
    {"MiniMaxH3VideoVAE", &lt_h3_part_video},
    {"AutoencoderKLMiniMaxH3Audio", &lt_h3_part_audio},
    {"MiniMaxH3AudioVAE", &lt_h3_part_audio},
    {"Qwen3VLForConditionalGeneration", &lt_h3_part_text},
    {"qwen3_vl", &lt_h3_part_text},
    {NULL, NULL},
};
static const char *const inner[] = {"FL2VA", "Ref2VA", NULL};

static int has(const char *folder, const char *name)
{
    char path[LT_PATH_BYTES];
    return lt_path_join(path, sizeof path, folder, name) == LT_OK && lt_file_exists(path);
}

/* By the folders that only one layout has, or the class of the transformer. */
static const lt_folder_layout *layout_of(const char *folder)
{
    char path[LT_PATH_BYTES];
    json_t *config = NULL;
    if (has(folder, "video_vae") && has(folder, "transformer"))
        return &original;
    if (!has(folder, "transformer") ||
        lt_path_join(path, sizeof path, folder, "transformer/config.json") != LT_OK)
        return has(folder, "modular_model_index.json") || has(folder, "model_index.json")
                   ? &diffusers
                   : NULL;
    const lt_folder_layout *layout = &diffusers;
    if (lt_json_read(path, &config) == LT_OK) {
        const char *name = lt_config_class(config);
        layout = name != NULL && strcmp(name, "MiniMaxH3DiTModel") == 0 ? &original : &diffusers;
    }
    lt_error_clear();
    json_decref(config);
    return layout;
}

const lt_folders lt_h3_folders = {"MiniMax-H3", layout_of, classes, inner};

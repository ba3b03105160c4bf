/* parts.c - which folders are H3's, and opening the parts in them.
 * Two layouts: diffusers' has one folder a part, the original one keeps shifts in its index. */
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "model/files/remote/source.h"
#include "model/h3/h3.h"
#include "model/h3/names.h"

/* Other families keep a transformer/config.json too; a class that is not ours says so. */
static int is_other_class(const char *file)
{
    json_t *json = NULL;
    if (lt_source_json(file, &json) != LT_OK) { /* the part's own reader says what is wrong */
        lt_error_clear();
        return 0;
    }
    const char *name = json_string_value(json_object_get(json, "_class_name"));
    const int other = name != NULL && strncmp(name, "MiniMaxH3", 9) != 0;
    json_decref(json);
    return other;
}

int lt_h3_recognise(const char *path)
{
    char file[LT_PATH_BYTES];
    static const char *const parts[] = {"transformer/config.json", "vae/config.json",
                                        "video_vae/config.json", "audio_vae/config.json",
                                        "text_encoder/config.json"};
    if (lt_path_join(file, sizeof file, path, parts[0]) == LT_OK && lt_source_exists(file))
        return !is_other_class(file);
    for (size_t i = 1; i < sizeof parts / sizeof *parts; i++)
        if (lt_path_join(file, sizeof file, path, parts[i]) == LT_OK && lt_source_exists(file))
            return 1;
    return 0;
}

static lt_status part_path(const lt_h3_model *m, const char *part, const char *file, char *out,
                           size_t bytes)
{
    char folder[LT_PATH_BYTES];
    LT_TRY(lt_path_join(folder, sizeof folder, m->base.path, part));
    if (file == NULL) {
        (void)snprintf(out, bytes, "%s", folder);
        return LT_OK;
    }
    LT_TRY(lt_path_join(out, bytes, folder, file));
    return LT_OK;
}

/* shift of a stream: diffusers keeps one file a stream, the original layout one field of
 * model_index.json. */
static lt_status read_shift(lt_h3_model *m, const char *folder, const char *key, double *out)
{
    char file[LT_PATH_BYTES];
    json_t *json = NULL;
    lt_status st = LT_OK;
    LT_TRY(part_path(m, folder, "scheduler_config.json", file, sizeof file));
    if (!m->original) {
        LT_TRY(lt_source_json(file, &json));
        const lt_json_at at = lt_json_root(json, file);
        LT_TRY_GOTO(lt_json_real(&at, "shift", 1e-3, 1e6, out), st, done);
    } else {
        LT_TRY(lt_path_join(file, sizeof file, m->base.path, "model_index.json"));
        LT_TRY(lt_source_json(file, &json));
        const lt_json_at at = lt_json_root(json, file);
        lt_json_at own, shifts;
        LT_TRY_GOTO(lt_json_member(&at, "_minimax_h3", &own), st, done);
        LT_TRY_GOTO(lt_json_member(&own, "sigma_shift_scales", &shifts), st, done);
        LT_TRY_GOTO(lt_json_real(&shifts, key, 1e-3, 1e6, out), st, done);
    }
done:
    json_decref(json);
    return st;
}

lt_status lt_h3_open_shifts(lt_h3_model *m)
{
    if (m->video_shift > 0)
        return LT_OK;
    LT_TRY(read_shift(m, "scheduler", "video", &m->video_shift));
    return read_shift(m, "audio_scheduler", "audio", &m->audio_shift);
}

lt_status lt_h3_open_bpe(lt_h3_model *m)
{
    char path[LT_PATH_BYTES];
    if (m->bpe != NULL)
        return LT_OK;
    LT_TRY(part_path(m, "tokenizer", NULL, path, sizeof path));
    if (!lt_source_is_dir(path)) /* `--model` may be the tokenizer's folder itself */
        (void)snprintf(path, sizeof path, "%s", m->base.path);
    LT_TRY(lt_bpe_open(path, &m->bpe));
    return LT_OK;
}

lt_status lt_h3_open_text(lt_h3_model *m)
{
    char path[LT_PATH_BYTES];
    if (m->text_files != NULL)
        return LT_OK;
    LT_TRY(part_path(m, "text_encoder", "config.json", path, sizeof path));
    LT_TRY(lt_qwen3vl_config_read(path, &m->text));
    LT_TRY(part_path(m, "text_encoder", NULL, path, sizeof path));
    LT_TRY(lt_checkpoint_open(path, NULL, &m->text_files));
    return LT_OK;
}

lt_status lt_h3_open_dit(lt_h3_model *m)
{
    char path[LT_PATH_BYTES];
    if (m->dit_files != NULL)
        return LT_OK;
    LT_TRY(part_path(m, "transformer", "config.json", path, sizeof path));
    LT_TRY(lt_h3_dit_config_read(path, &m->dit_config));
    LT_TRY(part_path(m, "transformer", NULL, path, sizeof path));
    const lt_name_map names = lt_h3_names(&lt_h3_dit_names, m->dit_config.head_dim);
    LT_TRY(lt_checkpoint_open(path, &names, &m->dit_files));
    return LT_OK;
}

lt_status lt_h3_open_video(lt_h3_model *m)
{
    char path[LT_PATH_BYTES];
    if (m->video_files != NULL)
        return LT_OK;
    LT_TRY(part_path(m, m->original ? "video_vae" : "vae", "config.json", path, sizeof path));
    LT_TRY(lt_h3_video_config_read(path, &m->video));
    LT_TRY(part_path(m, m->original ? "video_vae/source" : "vae", NULL, path, sizeof path));
    const lt_name_map names = lt_h3_names(&lt_h3_video_names, m->video.head_dim);
    LT_TRY(lt_checkpoint_open(path, &names, &m->video_files));
    return LT_OK;
}

lt_status lt_h3_open_audio(lt_h3_model *m)
{
    char path[LT_PATH_BYTES];
    if (m->audio_files != NULL)
        return LT_OK;
    LT_TRY(part_path(m, "audio_vae", "config.json", path, sizeof path));
    LT_TRY(lt_h3_audio_config_read(path, &m->audio));
    LT_TRY(part_path(m, "audio_vae", NULL, path, sizeof path));
    LT_TRY(lt_checkpoint_open(path, NULL, &m->audio_files));
    return LT_OK;
}

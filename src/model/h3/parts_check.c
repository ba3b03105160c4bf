/* parts_check.c - do the parts of an H3 folder belong together, and on one grid?
 *
 * Each part's own reader has checked its config in itself. Here they meet: widths that one part
 * makes and another takes, and the family's grid (17n + 5 frames, 5n + 2 latents, 40 ticks of audio
 * a second), which run and DiT count by while the decoders count by their configs. A folder on
 * another grid would decode to other lengths than the film has. */
#include "model/h3/h3.h"

#include <stdlib.h>

#include "base/file.h"
#include "model/files/folder_check.h"
#include "model/files/remote/source.h"
#include "model/h3/names.h"

static lt_status want_same(const lt_h3_model *m, const char *a, int64_t x, const char *b, int64_t y)
{
    if (x != y)
        LT_FAIL(LT_EDATA, "%s: %s %lld and %s %lld must agree", m->base.path, a, (long long)x, b,
                (long long)y);
    return LT_OK;
}

static lt_status want_number(const lt_h3_model *m, const char *what, int64_t wanted, int64_t found)
{
    if (wanted != found)
        LT_FAIL(LT_EDATA, "%s: %s: want %lld, as this family's lengths are counted, found %lld",
                m->base.path, what, (long long)wanted, (long long)found);
    return LT_OK;
}

static lt_status check_grid(const lt_h3_model *m)
{
    enum { CLIP = 17, DROP = 3, TIME_RATIO = 4, TICKS_A_SECOND = 40 }; /* spec/minimax-h3.md 1.2 */
    LT_TRY(want_number(m, "vae: pixels a latent cell (spatial factors)", LT_H3_CELL_PIXELS,
                       m->video.space_ratio));
    LT_TRY(want_number(m, "vae: frames a latent frame (temporal factors)", TIME_RATIO,
                       m->video.time_ratio));
    LT_TRY(want_number(m, "vae: clip_length", CLIP, m->video.clip_length));
    LT_TRY(want_number(m, "vae: token_drop", DROP, m->video.token_drop));
    LT_TRY(want_number(m, "audio_vae: sampling_rate", TICKS_A_SECOND * m->audio.hop,
                       m->audio.sampling_rate));
    return LT_OK;
}

lt_status lt_h3_check_parts(const lt_h3_model *m)
{
    LT_TRY(want_same(m, "transformer in_channels", m->dit_config.channels, "vae latent_channels",
                     m->video.latent_channels));
    LT_TRY(want_same(m, "transformer audio_in_channels", m->dit_config.audio_channels,
                     "audio_vae latent_channels", m->audio.latent_channels));
    LT_TRY(want_same(m, "transformer text_dim", m->dit_config.text_dim, "text_encoder hidden_size",
                     m->text.hidden));
    return check_grid(m);
}

static lt_status look(const lt_h3_model *m, lt_folder_lack *lack)
{
    static const struct {
        const char *folder, *original;
        const lt_name_map *names;
        int has_config; /* beside its weights */
    } parts[] = {{"text_encoder", "text_encoder", NULL, 1},
                 {"transformer", "transformer", &lt_h3_dit_names, 1},
                 {"vae", "video_vae/source", &lt_h3_video_names, 1},
                 {"audio_vae", "audio_vae", NULL, 0}};
    char folder[LT_PATH_BYTES], file[LT_PATH_BYTES], what[64];
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const char *name = m->original ? parts[i].original : parts[i].folder;
        LT_TRY(lt_path_join(folder, sizeof folder, m->base.path, name));
        LT_TRY(lt_path_join(file, sizeof file, folder, "config.json"));
        (void)snprintf(what, sizeof what, "no %s/config.json", name);
        if (lt_source_exists(file) || !parts[i].has_config)
            lt_folder_look(folder, parts[i].names, name, lack);
        else
            lt_folder_look_file(file, what, lack);
    }
    LT_TRY(lt_path_join(folder, sizeof folder, m->base.path, "tokenizer"));
    const char *const where = lt_source_is_dir(folder) ? folder : m->base.path;
    LT_TRY(lt_path_join(file, sizeof file, where, "tokenizer.json"));
    if (lt_source_exists(file)) /* its reader says what a tokenizer.json alone lacks */
        return LT_OK;
    LT_TRY(lt_path_join(file, sizeof file, where, "vocab.json"));
    lt_folder_look_file(file, "no tokenizer (vocab.json)", lack);
    return LT_OK;
}

lt_status lt_h3_check_whole(const lt_h3_model *m)
{
    lt_folder_lack *lack = calloc(1, sizeof *lack);
    if (lack == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory to look at it", m->base.path);
    lt_status st = look(m, lack);
    if (st == LT_OK)
        st = lt_folder_say(m->base.path, lack);
    free(lack);
    return st;
}

/* audio_config.c - the sizes of H3's audio VAE, read from its config.json.
 *
 * As for the video VAE there are two spellings. The original layout's metadata.json leaves out what
 * its code fixes: an upsampler of rate r has kernel 2r - (r mod 2), 8 heads, blocks of kernel 3, 7,
 * 11 with dilations 1, 3, 5 (spec/minimax-h3.md 1.2). */
#include "model/h3/audio_config.h"

#include "base/file.h"
#include "base/json.h"
#include "model/files/remote/source.h"
#include "model/h3/statistics.h"

#include <assert.h>
#include <string.h>

enum { DIM_MAX = 1 << 16, RATE_MAX = 64, KERNEL_MAX = 255, DILATION_MAX = 1024, HEADS_MAX = 1024 };
enum { HOP_MAX = 1 << 20 };

static lt_status read_statistics(const lt_json_at *at, lt_h3_audio_config *c)
{
    return lt_h3_statistics_read(at, c->latent_channels, c->latents_mean, c->latents_std);
}

/* The same rules whatever the spelling. */
static lt_status check_encoder(const char *source, lt_h3_audio_config *c)
{
    c->hop = 1;
    for (int64_t i = 0; i < c->encoder_stages; i++) {
        c->hop *= c->encoder_rate[i];
        if (c->hop > HOP_MAX)
            LT_FAIL(LT_EDATA, "%s: encoder_rates: want a product of at most %d", source, HOP_MAX);
        if ((c->encoder_dim << (i + 1)) > DIM_MAX)
            LT_FAIL(LT_EDATA,
                    "%s: encoder_dim: want at most %d channels after %d doublings, found %lld",
                    source, DIM_MAX, (int)c->encoder_stages,
                    (long long)(c->encoder_dim << (i + 1)));
    }
    if (c->latent_dim % c->latent_channels != 0)
        LT_FAIL(LT_EDATA, "%s: latent_dim: want a multiple of the %d latent channels, found %d",
                source, (int)c->latent_channels, (int)c->latent_dim);
    if (c->latent_dim % c->heads != 0)
        LT_FAIL(LT_EDATA, "%s: latent_dim: want a multiple of the %d heads, found %d", source,
                (int)c->heads, (int)c->latent_dim);
    return LT_OK;
}

static lt_status check_decoder(const char *source, const lt_h3_audio_config *c)
{
    int64_t product = 1;
    for (int64_t i = 0; i < c->stages; i++) {
        product *= c->rate[i];
        if (product > HOP_MAX)
            break;
        if (c->kernel[i] < c->rate[i] || (c->kernel[i] - c->rate[i]) % 2 != 0)
            LT_FAIL(LT_EDATA,
                    "%s: decoder_kernel_sizes[%d]: want the rate %d plus an even number, found %d",
                    source, (int)i, (int)c->rate[i], (int)c->kernel[i]);
        if (lt_h3_audio_stage_channels(c, i) < 1)
            LT_FAIL(LT_EDATA, "%s: decoder_dim: want channels left after %d halvings, found %d",
                    source, (int)c->stages, (int)c->decoder_dim);
    }
    if (product != c->hop)
        LT_FAIL(LT_EDATA, "%s: decoder_rates: want the encoder's product %d, found %s%d", source,
                (int)c->hop, product > HOP_MAX ? "more than " : "",
                (int)(product > HOP_MAX ? HOP_MAX : product));
    for (int64_t j = 0; j < c->blocks; j++)
        if (c->block_kernel[j] % 2 == 0)
            LT_FAIL(LT_EDATA, "%s: resblock_kernel_sizes[%d]: want an odd number, found %d", source,
                    (int)j, (int)c->block_kernel[j]);
    return LT_OK;
}

static lt_status read_list(const lt_json_at *at, const char *key, int64_t hi, int64_t *out,
                           size_t max, int64_t *count)
{
    size_t n = (size_t)*count;
    LT_TRY(lt_json_ints(at, key, 1, hi, out, max, &n));
    *count = (int64_t)n;
    if (n < 1)
        LT_FAIL(LT_EDATA, "%s: %s: want 1 to %d numbers, found none", at->source, key, (int)max);
    return LT_OK;
}

/* resblock_dilation_sizes: a list of lists. */
static lt_status read_dilations(const lt_json_at *at, lt_h3_audio_config *c)
{
    lt_json_at lists;
    LT_TRY(lt_json_member(at, "resblock_dilation_sizes", &lists));
    const size_t found = json_array_size(lists.value);
    if (found != (size_t)c->blocks)
        LT_FAIL(LT_EDATA,
                "%s: resblock_dilation_sizes: want a list for each of the %d kernels, found %d",
                at->source, (int)c->blocks, (int)found);
    for (size_t j = 0; j < found; j++) {
        lt_json_at list;
        LT_TRY(lt_json_element(&lists, j, &list));
        const size_t count = json_array_size(list.value);
        if (count < 1 || count > LT_H3_AUDIO_DILATIONS_MAX)
            LT_FAIL(LT_EDATA, "%s: %s: want 1 to %d numbers, found %d", at->source, list.path,
                    LT_H3_AUDIO_DILATIONS_MAX, (int)count);
        c->dilations[j] = (int64_t)count;
        for (size_t d = 0; d < count; d++) {
            lt_json_at item;
            LT_TRY(lt_json_element(&list, d, &item));
            const json_int_t value =
                json_is_integer(item.value) ? json_integer_value(item.value) : 0;
            if (value < 1 || value > DILATION_MAX)
                LT_FAIL(LT_EDATA, "%s: %s: want a whole number from 1 to %d", at->source, item.path,
                        DILATION_MAX);
            c->dilation[j][d] = value;
        }
    }
    return LT_OK;
}

static lt_status read_diffusers(const lt_json_at *at, lt_h3_audio_config *c)
{
    LT_TRY(lt_json_int(at, "encoder_dim", 1, DIM_MAX, &c->encoder_dim));
    LT_TRY(read_list(at, "encoder_rates", RATE_MAX, c->encoder_rate, LT_H3_AUDIO_STAGES_MAX,
                     &c->encoder_stages));
    LT_TRY(lt_json_int(at, "latent_dim", 1, DIM_MAX, &c->latent_dim));
    LT_TRY(lt_json_int(at, "latent_channels", 1, LT_H3_AUDIO_LATENTS_MAX, &c->latent_channels));
    LT_TRY(lt_json_int(at, "num_attention_heads", 1, HEADS_MAX, &c->heads));
    LT_TRY(lt_json_int(at, "decoder_dim", 1, DIM_MAX, &c->decoder_dim));
    LT_TRY(read_list(at, "decoder_rates", RATE_MAX, c->rate, LT_H3_AUDIO_STAGES_MAX, &c->stages));
    int64_t kernels = c->stages;
    LT_TRY(read_list(at, "decoder_kernel_sizes", KERNEL_MAX, c->kernel, LT_H3_AUDIO_STAGES_MAX,
                     &kernels));
    LT_TRY(read_list(at, "resblock_kernel_sizes", KERNEL_MAX, c->block_kernel,
                     LT_H3_AUDIO_BLOCKS_MAX, &c->blocks));
    LT_TRY(read_dilations(at, c));
    LT_TRY(lt_json_int(at, "sampling_rate", 1, 1 << 20, &c->sampling_rate));
    return read_statistics(at, c);
}

/* audio_vae/metadata.json. */
static lt_status read_structure(const lt_json_at *root, lt_h3_audio_config *c)
{
    lt_json_at metadata, at;
    LT_TRY(lt_json_member(root, "metadata", &metadata));
    LT_TRY(lt_json_member(&metadata, "kwargs", &at));
    LT_TRY(lt_json_int(&at, "encoder_dim", 1, DIM_MAX, &c->encoder_dim));
    LT_TRY(read_list(&at, "encoder_rates", RATE_MAX, c->encoder_rate, LT_H3_AUDIO_STAGES_MAX,
                     &c->encoder_stages));
    LT_TRY(lt_json_int(&at, "latent_dim", 1, DIM_MAX, &c->latent_dim));
    LT_TRY(
        lt_json_int(&at, "vae_latent_channels", 1, LT_H3_AUDIO_LATENTS_MAX, &c->latent_channels));
    LT_TRY(lt_json_int(&at, "decoder_dim", 1, DIM_MAX, &c->decoder_dim));
    LT_TRY(read_list(&at, "decoder_rates", RATE_MAX, c->rate, LT_H3_AUDIO_STAGES_MAX, &c->stages));
    LT_TRY(lt_json_int(&at, "sample_rate", 1, 1 << 20, &c->sampling_rate));
    c->heads = 8;
    for (int64_t i = 0; i < c->stages; i++)
        c->kernel[i] = 2 * c->rate[i] - c->rate[i] % 2;
    static const int64_t kernels[3] = {3, 7, 11}, dilations[3] = {1, 3, 5};
    c->blocks = 3;
    for (int j = 0; j < 3; j++) {
        c->block_kernel[j] = kernels[j];
        c->dilations[j] = 3;
        memcpy(c->dilation[j], dilations, sizeof dilations);
    }
    return LT_OK;
}

typedef lt_status (*reader)(const lt_json_at *at, lt_h3_audio_config *c);

static lt_status read_with(const char *path, reader read, lt_h3_audio_config *c)
{
    json_t *document = NULL;
    LT_TRY(lt_source_json(path, &document));
    const lt_json_at at = lt_json_root(document, path);
    const lt_status st = read(&at, c);
    json_decref(document);
    return st;
}

static lt_status read_original(const char *path, int is_structure, lt_h3_audio_config *c)
{
    char folder[LT_PATH_BYTES], other[LT_PATH_BYTES];
    LT_TRY(lt_path_folder(folder, sizeof folder, path));
    LT_TRY(
        lt_path_join(other, sizeof other, folder, is_structure ? "config.json" : "metadata.json"));
    LT_TRY(read_with(is_structure ? path : other, read_structure, c));
    return read_with(is_structure ? other : path, read_statistics, c);
}

lt_status lt_h3_audio_config_read(const char *path, lt_h3_audio_config *out)
{
    assert(path != NULL && out != NULL);
    memset(out, 0, sizeof *out);
    char inside[LT_PATH_BYTES];
    if (lt_source_is_dir(path)) {
        LT_TRY(lt_path_join(inside, sizeof inside, path, "config.json"));
        path = inside;
    }
    json_t *document = NULL;
    LT_TRY(lt_source_json(path, &document));
    const lt_json_at at = lt_json_root(document, path);
    const int is_diffusers = lt_json_has(&at, "encoder_dim");
    const int is_structure = lt_json_has(&at, "metadata");
    const lt_status st = is_diffusers ? read_diffusers(&at, out) : LT_OK;
    json_decref(document);
    LT_TRY(st);
    if (!is_diffusers)
        LT_TRY(read_original(path, is_structure, out));
    LT_TRY(check_encoder(path, out));
    return check_decoder(path, out);
}

int64_t lt_h3_audio_stage_channels(const lt_h3_audio_config *config, int64_t stage)
{
    assert(stage >= 0 && stage < config->stages);
    return config->decoder_dim >> (stage + 1);
}

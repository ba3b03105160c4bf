/* test_h3_video_vae.c - H3's video VAE against the published implementation.
 * Goal: decoded frames and encoded moments agree with golden tensors (tests/parity/golden/vae_*) on
 * every backend and in both weight layouts; a dry run takes the same path. Method: a tiny random
 * checkpoint with the real ratios in space and time, so that tiles, chunks and cross-fades are
 * real; large results are compared on a grid of pixels. Tolerance: 1e-5 of the largest value.
 * Ranks: 1. Needs: tests/parity/nano, nano-original. */
#include "tests/parity/golden.h"

#include "model/h3/names.h"
#include "model/h3/video_encoder.h"
#include "model/h3/video_vae.h"

static const lt_backend *const backends[] = {&lt_backend_ref, &lt_backend_cpu, &lt_backend_far};

/* ---- decoder ---- */
typedef struct film {
    int64_t frames, height, width, next;
    float *pixels; /* [frames, 3, H, W] */
} film;

static lt_status take(void *ctx, int64_t first_frame, int64_t count, const float *frames)
{
    film *f = ctx;
    const int64_t values = 3 * f->height * f->width;
    assert_int_equal(first_frame, f->next); /* film order, nothing twice */
    assert_true(first_frame + count <= f->frames);
    memcpy(f->pixels + first_frame * values, frames, (size_t)(count * values) * sizeof *frames);
    f->next += count;
    return LT_OK;
}

/* The film at the golden's pixels: every stride-th of [3, F, H, W]. */
static double film_distance(const golden_file *g, const film *f)
{
    int64_t dim[5], shape[5], step[3] = {1, 1, 1};
    const int strided = golden_has(g, "sample_strided");
    float *want = golden_read(g, strided ? "sample_strided" : "sample", LT_F32, dim);
    if (strided) {
        int64_t *const full = golden_read(g, "sample_shape", LT_I64, shape);
        int64_t *const steps = golden_read(g, "sample_stride", LT_I64, shape);
        assert_int_equal(full[1], f->frames);
        assert_int_equal(full[2], f->height);
        assert_int_equal(full[3], f->width);
        memcpy(step, steps, sizeof step);
        free(full);
        free(steps);
    } else {
        assert_int_equal(dim[1], f->frames);
    }
    const int64_t count = dim[0] * dim[1] * dim[2] * dim[3];
    float *got = calloc((size_t)count, sizeof *got);
    assert_non_null(got);
    for (int64_t i = 0; i < count; i++) {
        const int64_t x = i % dim[3], y = i / dim[3] % dim[2], frame = i / dim[3] / dim[2] % dim[1];
        const int64_t colour = i / dim[3] / dim[2] / dim[1];
        got[i] = f->pixels[((frame * step[0] * 3 + colour) * f->height + y * step[1]) * f->width +
                           x * step[2]];
    }
    const double worst = distance(got, want, count);
    free(got);
    free(want);
    return worst;
}

/* layout: the folder of weights and the one of the config. */
typedef struct layout {
    const char *weights, *config;
} layout;
static const layout diffusers = {DATA "nano/vae", DATA "nano/vae/config.json"};
static const layout original = {DATA "nano-original/video_vae/source",
                                DATA "nano-original/video_vae/config.json"};

static void decode_golden(const char *name, const layout *model, const lt_backend *backend)
{
    golden_file g;
    int64_t dim[5];
    lt_h3_video_config config;
    lt_engine engine;
    lt_checkpoint *files;
    lt_h3_video_decoder *decoder;
    golden_file_open(&g, name);
    float *z = golden_read(&g, "latents", LT_F32, dim);
    OK(lt_h3_video_config_read(model->config, &config));
    engine_open(&engine, backend);
    OK(lt_checkpoint_open(model->weights,
                          (const lt_name_map[]){lt_h3_names(&lt_h3_video_names, config.head_dim)},
                          &files));
    OK(lt_h3_video_decoder_open(files, &engine, &config, &decoder));
    film f = {.frames = lt_h3_video_frame_count(&config, dim[1]),
              .height = 16 * dim[2],
              .width = 16 * dim[3]};
    f.pixels = calloc((size_t)(f.frames * 3 * f.height * f.width), sizeof *f.pixels);
    assert_non_null(f.pixels);
    OK(lt_h3_video_decode(decoder, z, dim[1], dim[2], dim[3], take, &f));
    assert_int_equal(f.next, f.frames);
    assert_int_equal(lt_arena_used(engine.step), 0);
    compare(backend->name, name, film_distance(&g, &f), tolerance);
    lt_h3_video_decoder_close(&decoder);
    lt_checkpoint_close(&files);
    lt_engine_close(&engine);
    golden_file_close(&g);
    free(f.pixels);
    free(z);
}

static const struct {
    const char *name, *reason;
} decodes[] = {
    {"vae_decode", "one clip, one tile, all pixels"},
    {"vae_decode_long", "three clips: cross-fades of both sides"},
    {"vae_decode_padded", "9 latent frames: filled up to 12, the surplus cut"},
    {"vae_decode_tiled", "two tiles across, two clips"},
    {"vae_decode_three", "three tiles across: uneven overlaps"},
    {"vae_decode_grid", "2 x 2 tiles: both blends meet"},
};

static void decoder_agrees(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof decodes / sizeof *decodes; i++)
        for (size_t b = 0; b < sizeof backends / sizeof *backends; b++) {
            const int small =
                i < 3 || backends[b] == &lt_backend_cpu; /* ref is slow: small cases only */
            if (small)
                decode_golden(decodes[i].name, &diffusers, backends[b]);
        }
}

static void decoder_agrees_with_each_isa(void **state)
{
    (void)state;
    for (int i = 0; i < ISA_COUNT; i++)
        if (isa_take(i))
            decode_golden("vae_decode_grid", &diffusers, &lt_backend_cpu);
    isa_leave();
}

static void decoder_reads_original_layout(void **state)
{
    (void)state;
    decode_golden("vae_decode", &original, &lt_backend_cpu);
}

/* ---- encoder ---- */
static void encode_golden(const char *name, const layout *model, const lt_backend *backend)
{
    golden_file g;
    int64_t in[5], out[5], shape[4];
    lt_h3_video_config config;
    lt_engine engine;
    lt_checkpoint *files;
    lt_h3_video_encoder *encoder;
    golden_file_open(&g, name);
    float *sample = golden_read(&g, "sample", LT_F32, in);
    float *want = golden_read(&g, "moments", LT_F32, out);
    OK(lt_h3_video_config_read(model->config, &config));
    engine_open(&engine, backend);
    OK(lt_checkpoint_open(model->weights,
                          (const lt_name_map[]){lt_h3_names(&lt_h3_video_names, config.head_dim)},
                          &files));
    OK(lt_h3_video_encoder_open(files, &engine, &config, &encoder));
    OK(lt_h3_video_moments_shape(&config, in[1], in[2], in[3], shape));
    for (int i = 0; i < 4; i++)
        assert_int_equal(shape[i], out[i]);
    const int64_t count = shape[0] * shape[1] * shape[2] * shape[3];
    float *moments = calloc((size_t)count, sizeof *moments);
    assert_non_null(moments);
    OK(lt_h3_video_encode(encoder, sample, in[1], in[2], in[3], moments));
    compare(backend->name, name, distance(moments, want, count), tolerance);
    assert_int_equal(lt_arena_used(engine.step), 0);
    lt_h3_video_encoder_close(&encoder);
    lt_checkpoint_close(&files);
    lt_engine_close(&engine);
    golden_file_close(&g);
    free(moments);
    free(sample);
    free(want);
}

static const struct {
    const char *name, *reason;
} encodes[] = {
    {"vae_encode", "22 frames: two clips, the last filled up"},
    {"vae_encode_image", "one frame: no clips"},
    {"vae_encode_short", "5 frames: filled up to one clip"},
    {"vae_encode_tiled", "two tiles across, blended in latent cells"},
};

static void encoder_agrees(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof encodes / sizeof *encodes; i++)
        for (size_t b = 0; b < sizeof backends / sizeof *backends; b++)
            encode_golden(encodes[i].name, &diffusers, backends[b]);
}

static void encoder_reads_original_layout(void **state)
{
    (void)state;
    encode_golden("vae_encode_original", &original, &lt_backend_cpu);
}

/* ---- others ---- */
static lt_status nothing(void *ctx, int64_t first_frame, int64_t count, const float *frames)
{
    (void)ctx, (void)first_frame, (void)count, (void)frames;
    fail_msg("a dry run made frames");
    return LT_OK;
}

/* A dry run needs the memory that a real one takes, and more chunks need no more. */
static void dry_run_counts_memory(void **state)
{
    (void)state;
    lt_h3_video_config config;
    size_t peak[3];
    OK(lt_h3_video_config_read(diffusers.config, &config));
    float *z = calloc((size_t)(6 * 12 * 2 * 18), sizeof *z);
    film f = {.frames = 39, .height = 32, .width = 288};
    f.pixels = calloc((size_t)(39 * 3 * 32 * 288), sizeof *f.pixels);
    assert_non_null(z);
    assert_non_null(f.pixels);
    for (int i = 0; i < 3; i++) {
        const int dry = i < 2;
        lt_engine engine;
        lt_checkpoint *files;
        lt_h3_video_decoder *decoder;
        engine_open(&engine, dry ? &lt_backend_dry : &lt_backend_cpu);
        OK(lt_checkpoint_open(
            diffusers.weights,
            (const lt_name_map[]){lt_h3_names(&lt_h3_video_names, config.head_dim)}, &files));
        OK(lt_h3_video_decoder_open(files, &engine, &config, &decoder));
        if (dry)
            OK(lt_h3_video_decode(decoder, NULL, i == 0 ? 12 : 5002, 2, 18, nothing, NULL));
        else
            OK(lt_h3_video_decode(decoder, z, 12, 2, 18, take, &f));
        peak[i] = lt_arena_peak(engine.step);
        lt_h3_video_decoder_close(&decoder);
        lt_checkpoint_close(&files);
        lt_engine_close(&engine);
    }
    assert_true(peak[0] > 0);
    assert_int_equal(peak[0], peak[1]);
    assert_int_equal(peak[0], peak[2]);
    free(f.pixels);
    free(z);
}

/* Chunks that are decoded in any order and finished with their neighbours' overlaps make the same
 * film, bit for bit. */
static void clips_are_independent(void **state)
{
    (void)state;
    golden_file g;
    int64_t dim[5];
    lt_h3_video_config config;
    lt_engine engine;
    lt_checkpoint *files;
    lt_h3_video_decoder *decoder;
    golden_file_open(&g, "vae_decode_long");
    float *z = golden_read(&g, "latents", LT_F32, dim);
    OK(lt_h3_video_config_read(diffusers.config, &config));
    engine_open(&engine, &lt_backend_cpu);
    OK(lt_checkpoint_open(diffusers.weights,
                          (const lt_name_map[]){lt_h3_names(&lt_h3_video_names, config.head_dim)},
                          &files));
    OK(lt_h3_video_decoder_open(files, &engine, &config, &decoder));
    const int64_t chunks = 3, values = 3 * 32 * 32, chunk_values = 28 * values;
    film f = {.frames = 56, .height = 32, .width = 32};
    f.pixels = calloc((size_t)(56 * values), sizeof *f.pixels);
    float *raw = calloc((size_t)(chunks * chunk_values), sizeof *raw),
          *part = calloc(6 * 7 * 4, sizeof *part);
    float *overlaps = calloc((size_t)(chunks * 5 * values), sizeof *overlaps);
    assert_true(f.pixels != NULL && raw != NULL && part != NULL && overlaps != NULL);
    assert_int_equal(lt_h3_video_chunk_count(&config, dim[1]), chunks);
    OK(lt_h3_video_decode(decoder, z, dim[1], 2, 2, take, &f));
    for (int64_t c = chunks - 1; c >= 0; c--) {
        lt_h3_video_chunk_take(&config, z, dim[1], 2, 2, c, part);
        OK(lt_h3_video_decode_chunk(decoder, part, 7, 2, 2, raw + c * chunk_values));
        memcpy(overlaps + c * 5 * values,
               lt_h3_video_overlap(&config, raw + c * chunk_values, 2, 2),
               (size_t)(5 * values) * sizeof *overlaps);
    }
    for (int64_t c = 0; c < chunks; c++) {
        int64_t count = 0;
        const float *before = c > 0 ? overlaps + (c - 1) * 5 * values : NULL;
        const float *done = lt_h3_video_finish_chunk(&config, raw + c * chunk_values, 2, 2, before,
                                                     c == chunks - 1, &count);
        assert_int_equal(count, c == chunks - 1 ? 22 : 17);
        assert_memory_equal(done, f.pixels + 17 * c * values,
                            (size_t)(count * values) * sizeof *done);
    }
    lt_h3_video_decoder_close(&decoder);
    lt_checkpoint_close(&files);
    lt_engine_close(&engine);
    golden_file_close(&g);
    free(f.pixels), free(raw), free(part), free(overlaps), free(z);
}

/* What a config promises must be in the files, and nothing else; on dry too, before anything is
 * computed. */
static void mismatches_are_refused(void **state)
{
    (void)state;
    const struct {
        int64_t layers, heads, registers;
        const char *word, *reason;
    } cases[] = {
        {4, 2, 4, "transformer_blocks.3", "a layer that isn't there"},
        {2, 2, 4, "transformer_blocks.2", "a layer too many"},
        {3, 3, 4, "decoder.", "another width"},
        {3, 2, 5, "register_tokens", "another count of registers"},
    };
    const lt_backend *const both[] = {&lt_backend_cpu, &lt_backend_dry};
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        lt_h3_video_config config;
        lt_engine engine;
        lt_checkpoint *files;
        lt_h3_video_decoder *decoder;
        OK(lt_h3_video_config_read(diffusers.config, &config));
        config.layers = cases[i / 2].layers;
        config.heads = cases[i / 2].heads;
        config.registers = cases[i / 2].registers;
        engine_open(&engine, both[i % 2]);
        OK(lt_checkpoint_open(
            diffusers.weights,
            (const lt_name_map[]){lt_h3_names(&lt_h3_video_names, config.head_dim)}, &files));
        const lt_status st = lt_h3_video_decoder_open(files, &engine, &config, &decoder);
        if (st != LT_EDATA || strstr(lt_error_text(), cases[i / 2].word) == NULL || decoder != NULL)
            fail_msg("%s: %s: %s", cases[i / 2].reason, lt_status_name(st), lt_error_text());
        assert_int_equal(lt_arena_used(engine.phase), 0); /* a refusal leaves nothing behind */
        lt_checkpoint_close(&files);
        lt_engine_close(&engine);
    }
}

static void bad_sizes_are_refused(void **state)
{
    (void)state;
    const struct {
        int64_t frames, height, width;
        const char *word;
    } samples[] = {
        {0, 32, 32, "frame"}, {1, 31, 32, "height"}, {1, 32, 16, "width"}, {1, -1, 32, "height"}};
    lt_h3_video_config config;
    lt_engine engine;
    lt_checkpoint *files;
    lt_h3_video_decoder *decoder;
    int64_t shape[4];
    OK(lt_h3_video_config_read(diffusers.config, &config));
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        assert_int_equal(lt_h3_video_moments_shape(&config, samples[i].frames, samples[i].height,
                                                   samples[i].width, shape),
                         LT_EDATA);
        assert_non_null(strstr(lt_error_text(), samples[i].word));
    }
    engine_open(&engine, &lt_backend_dry);
    OK(lt_checkpoint_open(diffusers.weights,
                          (const lt_name_map[]){lt_h3_names(&lt_h3_video_names, config.head_dim)},
                          &files));
    OK(lt_h3_video_decoder_open(files, &engine, &config, &decoder));
    assert_int_equal(lt_h3_video_decode(decoder, NULL, 2, 2, 2, nothing, NULL), LT_EDATA);
    assert_int_equal(lt_h3_video_decode(decoder, NULL, 7, 0, 2, nothing, NULL), LT_EDATA);
    lt_h3_video_decoder_close(&decoder);
    lt_checkpoint_close(&files);
    lt_engine_close(&engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoder_agrees),
        cmocka_unit_test(decoder_agrees_with_each_isa),
        cmocka_unit_test(decoder_reads_original_layout),
        cmocka_unit_test(encoder_agrees),
        cmocka_unit_test(encoder_reads_original_layout),
        cmocka_unit_test(dry_run_counts_memory),
        cmocka_unit_test(clips_are_independent),
        cmocka_unit_test(mismatches_are_refused),
        cmocka_unit_test(bad_sizes_are_refused),
    };
    return cmocka_run_group_tests_name("h3_video_vae", tests, NULL, NULL);
}

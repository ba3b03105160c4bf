/* test_h3_audio_vae.c - H3's audio VAE against the published implementation.
 * Goal: decoded samples and encoded means agree with golden tensors (tests/parity/golden/audio_*)
 * on every backend and in both weight layouts; any range decoded alone equals the whole; a dry run
 * takes the same path. Method: a tiny random checkpoint. Tolerance: 1e-5 of the largest value.
 * Ranks: 1. Needs: tests/parity/nano, nano-original. */
#include "tests/parity/golden.h"

#include "model/h3/audio_encoder.h"
#include "model/h3/audio_vae.h"

static const lt_backend *const backends[] = {&lt_backend_ref, &lt_backend_cpu, &lt_backend_far};
static const char *const diffusers = DATA "nano/audio_vae";
static const char *const original = DATA "nano-original/audio_vae";

typedef struct setup {
    lt_h3_audio_config config;
    lt_engine engine;
    lt_checkpoint *files;
} setup;

static void setup_open(setup *s, const char *model, const lt_backend *backend)
{
    OK(lt_h3_audio_config_read(model, &s->config));
    engine_open(&s->engine, backend);
    OK(lt_checkpoint_open(model, NULL, &s->files));
}

static void setup_close(setup *s)
{
    assert_int_equal(lt_arena_used(s->engine.step), 0);
    lt_checkpoint_close(&s->files);
    lt_engine_close(&s->engine);
}

/* ---- decoder ---- */
static void decode_golden(const char *name, const char *model, const lt_backend *backend)
{
    golden_file g;
    setup s;
    int64_t in[5], out[5];
    lt_h3_audio_decoder *decoder;
    golden_file_open(&g, name);
    float *latents = golden_read(&g, "latents", LT_F32, in),
          *want = golden_read(&g, "sample", LT_F32, out);
    setup_open(&s, model, backend);
    OK(lt_h3_audio_decoder_open(s.files, &s.engine, &s.config, &decoder));
    assert_int_equal(out[2], in[2] * s.config.hop);
    float *got = calloc((size_t)(in[0] * out[2]), sizeof *got);
    assert_non_null(got);
    OK(lt_h3_audio_decode(decoder, latents, in[0], in[2], got));
    compare(backend->name, name, distance(got, want, in[0] * out[2]), tolerance);
    lt_h3_audio_decoder_close(&decoder);
    setup_close(&s);
    golden_file_close(&g);
    free(got), free(want), free(latents);
}

static const struct {
    const char *name, *reason;
} decodes[] = {
    {"audio_decode", "37 ticks: the middle sees no end"},
    {"audio_decode_one", "one tick: every layer sees both ends"},
};

static void decoder_agrees(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof decodes / sizeof *decodes; i++)
        for (size_t b = 0; b < sizeof backends / sizeof *backends; b++)
            decode_golden(decodes[i].name, diffusers, backends[b]);
}

static void decodes_one(const lt_backend *backend)
{
    decode_golden("audio_decode", diffusers, backend);
}

static void decoder_agrees_with_each_isa(void **state)
{
    (void)state;
    on_each_isa(decodes_one);
}

static void decoder_reads_original_layout(void **state)
{
    (void)state;
    decode_golden("audio_decode", original, &lt_backend_cpu);
}

/* Ranges of audio of `ticks`; the golden's latents are repeated to that length. */
static const struct {
    int64_t ticks, first, count;
    const char *reason;
} ranges[] = {
    {150, 0, 150, "the whole, as a range"},
    {150, 0, 1, "the first tick"},
    {150, 149, 1, "the last tick"},
    {150, 70, 10, "the middle: context on both sides"},
    {150, 10, 100, "context reaches the start"},
    {150, 60, 90, "context reaches the end"},
    {3, 1, 1, "context reaches both ends"},
    {600, 250, 20, "across the seam of two chunks"},
};

/* Convolutions may sum in another order where a range begins elsewhere: f32 noise, far below the
 * goldens' own. */
static void ranges_equal_the_whole(void **state)
{
    (void)state;
    const double allowed = 1e-6;
    golden_file g;
    setup s;
    int64_t dim[5];
    lt_h3_audio_decoder *decoder;
    golden_file_open(&g, "audio_decode");
    float *seed = golden_read(&g, "latents", LT_F32, dim);
    setup_open(&s, diffusers, &lt_backend_cpu);
    OK(lt_h3_audio_decoder_open(s.files, &s.engine, &s.config, &decoder));
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        const int64_t ticks = ranges[i].ticks, first = ranges[i].first, count = ranges[i].count,
                      hop = s.config.hop;
        float *latents = calloc((size_t)(dim[1] * ticks), sizeof *latents);
        float *whole = calloc((size_t)(ticks * hop), sizeof *whole),
              *part = calloc((size_t)(count * hop), sizeof *part);
        assert_true(latents != NULL && whole != NULL && part != NULL);
        for (int64_t k = 0; k < dim[1] * ticks; k++)
            latents[k] = seed[(k * 7919) % (dim[1] * dim[2])];
        const lt_range context = lt_h3_audio_context(&s.config, ticks, first, count);
        assert_true(context.first <= first && context.first + context.count >= first + count);
        OK(lt_h3_audio_decode_range(decoder, latents, 1, ticks, 0, ticks, whole));
        OK(lt_h3_audio_decode_range(decoder, latents, 1, ticks, first, count, part));
        const double worst = distance(part, whole + first * hop, count * hop);
        if (!(worst <= allowed))
            fail_msg("%s: worst %.3g, allowed %.3g", ranges[i].reason, worst, allowed);
        free(latents), free(whole), free(part);
    }
    lt_h3_audio_decoder_close(&decoder);
    setup_close(&s);
    golden_file_close(&g);
    free(seed);
}

/* The context is as wide as it says and no wider: a change just outside of it changes nothing. */
static void context_is_enough(void **state)
{
    (void)state;
    enum { TICKS = 120, FIRST = 60, COUNT = 2 };
    setup s;
    lt_h3_audio_decoder *decoder;
    setup_open(&s, diffusers, &lt_backend_cpu);
    OK(lt_h3_audio_decoder_open(s.files, &s.engine, &s.config, &decoder));
    const lt_range context = lt_h3_audio_context(&s.config, TICKS, FIRST, COUNT);
    const int64_t channels = s.config.latent_channels, hop = s.config.hop;
    assert_true(context.first > 0 && context.first + context.count < TICKS);
    float *latents = calloc((size_t)(channels * TICKS), sizeof *latents);
    float *before = calloc((size_t)(TICKS * hop), sizeof *before),
          *after = calloc((size_t)(TICKS * hop), sizeof *after);
    assert_true(latents != NULL && before != NULL && after != NULL);
    for (int64_t k = 0; k < channels * TICKS; k++)
        latents[k] = (float)(k * 37 % 19) / 10.0f - 1.0f;
    OK(lt_h3_audio_decode_range(decoder, latents, 1, TICKS, 0, TICKS, before));
    for (int64_t k = 0; k < channels; k++) {
        latents[k * TICKS + context.first - 1] += 1;
        latents[k * TICKS + context.first + context.count] += 1;
    }
    OK(lt_h3_audio_decode_range(decoder, latents, 1, TICKS, 0, TICKS, after));
    assert_memory_equal(before + FIRST * hop, after + FIRST * hop,
                        COUNT * (size_t)hop * sizeof *before);
    lt_h3_audio_decoder_close(&decoder);
    setup_close(&s);
    free(latents), free(before), free(after);
}

/* ---- encoder ---- */
static void encode_golden(const char *name, const char *model, const lt_backend *backend)
{
    golden_file g;
    setup s;
    int64_t in[5], out[5];
    lt_h3_audio_encoder *encoder;
    golden_file_open(&g, name);
    float *samples = golden_read(&g, "sample", LT_F32, in),
          *want = golden_read(&g, "mean", LT_F32, out);
    setup_open(&s, model, backend);
    OK(lt_h3_audio_encoder_open(s.files, &s.engine, &s.config, &encoder));
    assert_int_equal(lt_h3_audio_tick_count(&s.config, in[2]), out[2]);
    const int64_t count = out[0] * out[1] * out[2];
    float *got = calloc((size_t)count, sizeof *got);
    assert_non_null(got);
    OK(lt_h3_audio_encode(encoder, samples, in[0], in[2], got));
    compare(backend->name, name, distance(got, want, count), tolerance);
    lt_h3_audio_encoder_close(&encoder);
    setup_close(&s);
    golden_file_close(&g);
    free(got), free(want), free(samples);
}

static void encoder_agrees(void **state)
{
    (void)state;
    for (size_t b = 0; b < sizeof backends / sizeof *backends; b++) {
        encode_golden("audio_encode", diffusers, backends[b]); /* the last tick is filled up */
        encode_golden("audio_encode_one", diffusers, backends[b]);
    }
}

static void encoder_reads_original_layout(void **state)
{
    (void)state;
    encode_golden("audio_encode", original, &lt_backend_cpu);
}

/* ---- others ---- */
/* A dry run needs the memory that a real one takes, and longer audio needs no more. */
static void dry_run_counts_memory(void **state)
{
    (void)state;
    enum { TICKS = 900 };
    size_t peak[3];
    for (int i = 0; i < 3; i++) {
        setup s;
        lt_h3_audio_decoder *decoder;
        const int dry = i < 2;
        setup_open(&s, diffusers, dry ? &lt_backend_dry : &lt_backend_cpu);
        OK(lt_h3_audio_decoder_open(s.files, &s.engine, &s.config, &decoder));
        float *latents = calloc((size_t)(s.config.latent_channels * TICKS), sizeof *latents);
        float *samples = calloc((size_t)(s.config.hop * TICKS), sizeof *samples);
        assert_true(latents != NULL && samples != NULL);
        if (dry)
            OK(lt_h3_audio_decode(decoder, NULL, 2, i == 0 ? TICKS : 20000, NULL));
        else
            OK(lt_h3_audio_decode(decoder, latents, 1, TICKS, samples));
        peak[i] = lt_arena_peak(s.engine.step);
        lt_h3_audio_decoder_close(&decoder);
        setup_close(&s);
        free(latents), free(samples);
    }
    assert_true(peak[0] > 0);
    assert_int_equal(peak[0], peak[1]);
    assert_int_equal(peak[0], peak[2]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoder_agrees),
        cmocka_unit_test(decoder_agrees_with_each_isa),
        cmocka_unit_test(decoder_reads_original_layout),
        cmocka_unit_test(ranges_equal_the_whole),
        cmocka_unit_test(context_is_enough),
        cmocka_unit_test(encoder_agrees),
        cmocka_unit_test(encoder_reads_original_layout),
        cmocka_unit_test(dry_run_counts_memory),
    };
    return cmocka_run_group_tests_name("h3_audio_vae", tests, NULL, NULL);
}

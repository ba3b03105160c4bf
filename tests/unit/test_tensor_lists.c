/* test_tensor_lists.c - what a network loads is what its list has.
 * Goal: on a dry run of loading every tensor of each network's list is loaded, whatever share of it
 * this rank would read; a tensor that is loaded but not listed is refused. Method: the nano model
 * (the demo leaves out layers that are zero), each network on the backend dry. Ranks: 1. Needs:
 * tests/parity/nano. */
#include <string.h>

#include "model/h3/audio_encoder.h"
#include "model/h3/h3.h"
#include "model/h3/video_encoder.h"
#include "model/weights/weights.h"
#include "tests/support/alone.h"

static lt_engine engine;

static void all_loaded(const char *network, const lt_checkpoint *files)
{
    const char *left = lt_checkpoint_unloaded(files);
    if (left != NULL)
        fail_msg("%s: '%s' is in its list and never loaded", network, left);
}

static lt_model *open_model(void)
{
    lt_model *model = NULL;
    OK(lt_model_open(LT_SOURCE_DIR "/tests/parity/nano", &model));
    return model;
}

static void dit_text_decoders(void **state)
{
    (void)state;
    static const float timesteps[] = {0.0f, 0.5f};
    lt_model *model = open_model();
    const lt_h3_model *m = (const lt_h3_model *)model;
    OK(model->family->dit_open(model, &engine, LT_F32, timesteps, 2));
    all_loaded("DiT", m->dit_files);
    model->family->dit_close(model);
    OK(model->family->text_open(model, &engine, LT_F32));
    OK(model->family->text_encode(model, NULL, 5, NULL));
    all_loaded("text encoder", m->text_files);
    model->family->text_close(model);
    OK(model->family->decode_open(model, &engine));
    all_loaded("video decoder", m->video_files);
    all_loaded("audio decoder", m->audio_files);
    model->family->decode_close(model);
    lt_model_close(&model);
}

static void encoders(void **state)
{
    (void)state;
    lt_model *model = open_model();
    lt_h3_model *m = (lt_h3_model *)model;
    lt_h3_video_encoder *video = NULL;
    lt_h3_audio_encoder *audio = NULL;
    OK(lt_h3_video_encoder_open(m->video_files, &engine, &m->video, &video));
    all_loaded("video encoder", m->video_files);
    lt_h3_video_encoder_close(&video);
    OK(lt_h3_audio_encoder_open(m->audio_files, &engine, &m->audio, &audio));
    all_loaded("audio encoder", m->audio_files);
    lt_h3_audio_encoder_close(&audio);
    lt_model_close(&model);
}

/* A decoder's tensor, once the encoder's list alone is known. */
static void what_is_not_listed_is_refused(void **state)
{
    (void)state;
    lt_model *model = open_model();
    lt_h3_model *m = (lt_h3_model *)model;
    lt_tensor_info info = lt_checkpoint_at(m->video_files, 0);
    lt_dims dims = {.ndim = info.ndim};
    memcpy(dims.dim, info.dim, (size_t)info.ndim * sizeof *info.dim);
    OK(lt_checkpoint_load(m->video_files, info.name, dims)); /* nobody gave a list */
    for (int64_t i = 1; i < lt_checkpoint_count(m->video_files); i++) {
        const lt_tensor_info other = lt_checkpoint_at(m->video_files, i);
        lt_dims others = {.ndim = other.ndim};
        memcpy(others.dim, other.dim, (size_t)other.ndim * sizeof *other.dim);
        if (i == 1)
            OK(lt_checkpoint_list(m->video_files, other.name, others, 0));
        else
            assert_int_equal(lt_checkpoint_load(m->video_files, other.name, others), LT_EINTERNAL);
    }
    assert_non_null(strstr(lt_error_text(), "not in its network's list"));
    assert_string_equal(lt_checkpoint_unloaded(m->video_files),
                        lt_checkpoint_at(m->video_files, 1).name);
    lt_model_close(&model);
}

static int setup(void **state)
{
    (void)alone_setup(state);
    OK(lt_engine_open(&lt_backend_dry, 0, 1, &mesh, (size_t)1 << 40, (size_t)1 << 40, &engine));
    return 0;
}

static int teardown(void **state)
{
    lt_engine_close(&engine);
    return alone_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(dit_text_decoders),
                                       cmocka_unit_test(encoders),
                                       cmocka_unit_test(what_is_not_listed_is_refused)};
    return cmocka_run_group_tests_name("tensor_lists", tests, setup, teardown);
}

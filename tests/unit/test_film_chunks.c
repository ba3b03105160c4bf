/* test_film_chunks.c - what there is to decode of a film, in film order.
 * Goal: each chunk of video and of audio of each shot once; before a video chunk all audio that its
 * frames need; parts ascend, and no chunk's part is before the latents that it is decoded from are
 * final; what can be early is: in `extend` most of the film is decoded before its last chunk.
 * Method: nano's decoders, films of one and of three shots in several modes; every rule is checked
 * against the family's own facts. Ranks: 1. Needs: tests/parity/nano. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "run/decode/chunks.h"
#include "run/denoise/parts.h"

enum { SHOTS_MAX = 3 };
static lt_model *nano;

static const struct {
    const char *name;
    int shots;
    lt_mode mode[SHOTS_MAX];
    int64_t grid_frames[SHOTS_MAX], frames[SHOTS_MAX];
    int64_t parts;
} films[] = {
    {"one window", 1, {LT_MODE_SINGLE}, {90}, {90}, 1},
    {"windows", 1, {LT_MODE_WINDOWS}, {243}, {240}, 1},
    {"extend: 90 frames, then 51 more each", 1, {LT_MODE_EXTEND}, {294}, {291}, 5},
    {"the last chunk is short", 1, {LT_MODE_EXTEND}, {260}, {257}, 5},
    {"trimmed by nearly a whole chunk", 1, {LT_MODE_EXTEND}, {243}, {227}, 4},
    {"a storyboard",
     3,
     {LT_MODE_EXTEND, LT_MODE_WINDOWS, LT_MODE_EXTEND},
     {192, 141, 243},
     {181, 139, 243},
     8},
};

static int64_t make_shots(int film, lt_film_shot *shot)
{
    int64_t frames = 0;
    for (int i = 0; i < films[film].shots; i++) {
        lt_plan *plan = &shot[i].plan;
        shot[i] = (lt_film_shot){.first_frame = frames};
        *plan = (lt_plan){.steps = 3,
                          .fps = nano->facts.fps,
                          .sample_rate = nano->facts.sample_rate,
                          .shape = {films[film].grid_frames[i], 64, 32},
                          .frames = films[film].frames[i]};
        plan->asked = (lt_windows_asked){
            .mode = films[film].mode[i], .window = 90, .overlap = 39, .fuse = LT_FUSE_TRAPEZOID};
        shot[i].first_sample = lt_samples_of(frames, plan->sample_rate, plan->fps);
        frames += plan->frames;
        plan->samples = lt_samples_of(frames, plan->sample_rate, plan->fps) - shot[i].first_sample;
        if (lt_plan_streams(plan, nano) != LT_OK)
            fail_msg("%s: %s", films[film].name, lt_error_text());
    }
    return frames;
}

/* The last position of a stream that a chunk is decoded from, and when that is final. */
static int64_t final_with(const lt_film_shot *shot, const lt_film_chunk *c)
{
    const lt_shape *shape = &shot->plan.shape;
    int64_t end = 0, part = 0;
    lt_parts parts;
    const int stream = c->is_audio ? lt_audio_stream(&shot->plan) : 0;
    if (c->is_audio) {
        const lt_range known = nano->family->audio_context(nano, shot->plan.stream[stream].dim[2],
                                                           lt_audio_chunk(shot, c->index));
        end = known.first + known.count;
    } else {
        const lt_decode_chunk d = nano->family->decode_chunk(nano, shape, c->index);
        end = d.first_latent + d.latents;
    }
    assert_int_equal(lt_parts_new(&shot->plan, &parts), LT_OK);
    for (int64_t have = 0; part < parts.count; part++) {
        have += lt_parts_range(&parts, part, stream).count;
        if (have >= end)
            break;
    }
    assert_true(part < parts.count);
    lt_parts_free(&parts);
    return part;
}

static int64_t parts_of(const lt_film_shot *shot)
{
    lt_parts parts;
    assert_int_equal(lt_parts_new(&shot->plan, &parts), LT_OK);
    const int64_t count = parts.count;
    lt_parts_free(&parts);
    return count;
}

static void check_film(int film, const lt_film_shot *shot, int64_t frames,
                       const lt_film_chunks *chunks)
{
    int64_t index[2] = {0, 0}, number[2] = {0, 0}, before = 0, samples = 0, early = 0;
    for (int64_t i = 0; i < chunks->count; i++) {
        const lt_film_chunk *c = &chunks->list[i];
        const lt_film_shot *of = &shot[c->shot];
        if (i > 0 && c->shot != c[-1].shot) {
            assert_int_equal(c->shot, c[-1].shot + 1);
            before += parts_of(&shot[c[-1].shot]);
            index[0] = index[1] = 0;
        }
        assert_int_equal(c->index, index[c->is_audio]++);
        assert_int_equal(c->number, number[c->is_audio]++);
        assert_true(i == 0 || c->part >= c[-1].part);
        if (c->part < before + final_with(of, c))
            fail_msg("%s: chunk %d is not final with part %d", films[film].name, (int)i,
                     (int)c->part);
        assert_int_equal(c->is_early, c->part < before + parts_of(of) - 1);
        early += !c->is_audio && c->is_early;
        if (c->is_audio) {
            const lt_range ticks = lt_audio_chunk(of, c->index);
            samples =
                of->first_sample + nano->family->audio_samples(nano, ticks.first + ticks.count);
            continue;
        }
        const lt_decode_chunk d = nano->family->decode_chunk(nano, &of->plan.shape, c->index);
        int64_t end = d.first_frame + d.frames;
        end = of->first_frame + (end < of->plan.frames ? end : of->plan.frames);
        /* the grid's own sound may end some milliseconds before its picture */
        const int64_t short_of = end * of->plan.sample_rate / of->plan.fps - samples;
        if (short_of > of->plan.sample_rate / 40)
            fail_msg("%s: frame %d comes %d samples before its sound", films[film].name, (int)end,
                     (int)short_of);
        assert_true(end <= frames);
    }
    assert_int_equal(number[0], chunks->video);
    assert_int_equal(number[1], chunks->audio);
    if (films[film].shots == 1 && films[film].mode[0] == LT_MODE_EXTEND)
        assert_true(2 * early >= chunks->video); /* 51 to 90 frames are left for the end */
}

static void every_chunk_in_its_place(void **state)
{
    (void)state;
    for (size_t film = 0; film < sizeof films / sizeof *films; film++) {
        lt_film_shot shot[SHOTS_MAX];
        lt_film_chunks chunks;
        const int64_t frames = make_shots((int)film, shot);
        assert_int_equal(lt_film_chunks_new(nano, shot, films[film].shots, &chunks), LT_OK);
        if (chunks.parts != films[film].parts)
            fail_msg("%s: want %d parts, found %d", films[film].name, (int)films[film].parts,
                     (int)chunks.parts);
        check_film((int)film, shot, frames, &chunks);
        lt_film_chunks_free(&chunks);
    }
}

int main(void)
{
    if (lt_model_open(LT_SOURCE_DIR "/tests/parity/nano", &nano) != LT_OK)
        return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_chunk_in_its_place)};
    const int failed = cmocka_run_group_tests_name("film_chunks", tests, NULL, NULL);
    lt_model_close(&nano);
    return failed;
}

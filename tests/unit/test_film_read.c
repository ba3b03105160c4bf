/* test_film_read.c - films written by lt_mux, read by lt_film; and what is no film.
 * Goal: exact counts, the luma and the audio that were written, audio and video that begin
 * together; a refusal in one line, naming the file, of everything else, and no file opened but the
 * one that was named. Method: grey frames that differ each time, with one bright corner, and a tone
 * with one click; files cut short and bytes turned over. Ranks: 1. Needs: the encoders of mux.h; a
 * missing one skips its case. */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "media/film_read.h"
#include "media/mux.h"
#include "tests/support/check.h"
#include "tests/support/the_scratch.h"

/* x265 3.5 forgets some of its parameters at each closing; asked by LeakSanitizer. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:libx265"; }

enum { W = 160, H = 96, FRAMES = 40, RATE = 32000, SAMPLES = FRAMES * RATE / 24, CLICK = 20011 };

static int grey_of(int t) { return 60 + 3 * t; } /* RGB, full range */

static lt_status film_write(const char *path, const char *codec, int channels)
{
    const lt_mux_spec spec = {.path = path,
                              .codec = codec,
                              .width = W,
                              .height = H,
                              .frames = FRAMES,
                              .sample_rate = channels > 0 ? RATE : 0,
                              .channels = channels,
                              .samples = channels > 0 ? SAMPLES : 0,
                              .replace = LT_REPLACE};
    static uint16_t wide[3 * W * H];
    static uint8_t narrow[3 * W * H];
    static float pcm[SAMPLES];
    const int is_wide = lt_mux_pixels(codec) == LT_U16;
    lt_mux *mux = NULL;
    LT_TRY(lt_mux_open(&spec, &mux));
    for (int i = 0; i < SAMPLES; i++)
        pcm[i] = i == CLICK ? 0.9f : 0.1f * (float)sin(i * 0.05);
    for (int t = 0, at = 0; t < FRAMES; t++) {
        for (int i = 0; i < 3 * W * H; i++) {
            narrow[i] = (uint8_t)(i % (W * H) / W < 16 && i % W < 16 ? 255 : grey_of(t));
            wide[i] = (uint16_t)(narrow[i] * 257);
        }
        const int until = SAMPLES * (t + 1) / FRAMES;
        const float *two[2] = {pcm + at, pcm + at};
        LT_TRY(lt_mux_video(mux, is_wide ? (void *)wide : narrow, lt_mux_pixels(codec)));
        if (channels > 0)
            LT_TRY(lt_mux_audio(mux, two, until - at));
        at = until;
    }
    return lt_mux_close(&mux);
}

typedef struct seen {
    int64_t frames, samples, click;
    double worst; /* luma codes */
    float loudest;
} seen;

static void look_at(const lt_film_event *e, seen *out)
{
    if (e->kind == LT_FILM_VIDEO) {
        const double want = 16 + 219 * grey_of((int)out->frames) / 255.0;
        assert_true(e->width == W && e->height == H && e->chroma_width == W / 2);
        for (int y = 32; y < H; y++)
            for (int x = 32; x < W; x++)
                out->worst = fmax(out->worst, fabs(e->luma[y * W + x] - want));
        out->worst = fmax(out->worst, fabs(e->cb[W / 2 * H / 2 - 1] - 128.0));
        out->worst = fmax(out->worst, fabs(e->cr[W / 2 * H / 2 - 1] - 128.0));
        out->frames++;
    }
    for (int64_t i = 0; i < e->samples; i++, out->samples++)
        if (fabsf(e->pcm[1][i]) > out->loudest) {
            out->loudest = fabsf(e->pcm[1][i]);
            out->click = out->samples;
        }
}

/* The whole film; its status. */
static lt_status read_all(const char *path, seen *out)
{
    lt_film *film = NULL;
    lt_film_event e;
    lt_status st = lt_film_open(path, &film);
    *out = (seen){0};
    while (st == LT_OK) {
        st = lt_film_next(film, &e);
        if (st != LT_OK || e.kind == LT_FILM_END)
            break;
        look_at(&e, out);
    }
    lt_film_close(&film);
    return st;
}

static void films_are_read_as_written(void **state)
{
    (void)state;
    static const struct {
        const char *name, *codec;
        int channels;
        double worst; /* codes, measured 1 and below, but what h264 makes of flat grey */
        const char *container;
    } cases[] = {
        {"a.mp4", "h264", 2, 2, "mov,mp4,m4a,3gp,3g2,mj2"},
        {"b.mkv", "hevc", 2, 2, "matroska,webm"},
        {"c.mkv", "ffv1", 1, 1, "matroska,webm"},
        {"d.mov", "prores", 2, 2, "mov,mp4,m4a,3gp,3g2,mj2"},
        {"e.mp4", "h264", 0, 2, "mov,mp4,m4a,3gp,3g2,mj2"},
        {"f.mp4", "h264", 1, 2, "mov,mp4,m4a,3gp,3g2,mj2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = scratch_path(&s, cases[i].name);
        const lt_status made = film_write(path, cases[i].codec, cases[i].channels);
        if (made == LT_EUNAVAIL)
            continue;
        check_ok(made, cases[i].name);
        seen out;
        check_ok(read_all(path, &out), cases[i].name);
        const int64_t samples = cases[i].channels > 0 ? SAMPLES : 0;
        if (out.frames != FRAMES || out.samples != samples || !(out.worst <= cases[i].worst) ||
            (samples > 0 && llabs(out.click - CLICK) > 4))
            fail_msg("%s: %lld frames, %lld samples, click at %lld, worst %.3g", cases[i].name,
                     (long long)out.frames, (long long)out.samples, (long long)out.click,
                     out.worst);
        lt_film *film = NULL;
        OK(lt_film_open(path, &film));
        const lt_film_facts *f = lt_film_look(film);
        assert_true(f->width == W && f->height == H && fabs(f->fps - 24) < 1e-6);
        assert_true(f->channels == cases[i].channels &&
                    (f->channels == 0 || f->sample_rate == RATE));
        assert_string_equal(f->container, cases[i].container);
        assert_true((f->audio_codec != NULL) == (f->channels > 0));
        lt_film_event e = {.kind = LT_FILM_END};
        int both = 0;
        do {
            OK(lt_film_next(film, &e));
            both |= (int)e.kind;
        } while (e.kind != LT_FILM_END && both != (LT_FILM_VIDEO | LT_FILM_AUDIO));
        assert_true(fabs(f->audio_start_s) < 0.002); /* MKV's times are whole milliseconds */
        lt_film_close(&film);
    }
}

static void frames_become_rgb(void **state)
{
    (void)state;
    enum { w = 40, h = 24 };
    static uint8_t rgb[3 * w * h];
    lt_film *film = NULL;
    lt_film_event e;
    OK(film_write(scratch_path(&s, "rgb.mp4"), "h264", 2));
    OK(lt_film_open(scratch_path(&s, "rgb.mp4"), &film));
    assert_int_equal(lt_film_rgb(film, w, h, rgb), LT_ESHAPE); /* no frame yet */
    int t = 0;
    for (OK(lt_film_next(film, &e)); e.kind != LT_FILM_END; OK(lt_film_next(film, &e))) {
        if (e.kind != LT_FILM_VIDEO)
            continue;
        OK(lt_film_rgb(film, w, h, rgb));
        for (int c = 0; c < 3; c++)
            assert_true(abs(rgb[(c + 1) * w * h - 1] - grey_of(t)) <= 3 && rgb[c * w * h] > 240);
        t++;
    }
    assert_int_equal(t, FRAMES);
    lt_film_close(&film);
    lt_film_close(&film);
}

static void others_are_refused(void **state)
{
    (void)state;
    char list[600];
    OK(film_write(scratch_path(&s, "good.mp4"), "h264", 2));
    const char *good = scratch_path(&s, "good.mp4");
    scratch_write(&s, "empty.mp4", "", 0);
    scratch_write(&s, "text.mp4", "This is no film at all, only a line of text.\n", 45);
    (void)snprintf(list, sizeof list,
                   "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n%s\n#EXT-X-ENDLIST\n", good);
    scratch_write(&s, "list.m3u8", list, strlen(list));
    (void)snprintf(list, sizeof list, "ffconcat version 1.0\nfile '%s'\n", good);
    scratch_write(&s, "list.ffconcat", list, strlen(list));
    const char wav[] = "RIFF\x44\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\0\x7d\0\0\0\xfa\0\0\2\0\x10\0"
                       "data\x20\0\0\0";
    char audio[sizeof wav - 1 + 32] = {0};
    memcpy(audio, wav, sizeof wav - 1);
    scratch_write(&s, "audio.wav", audio, sizeof audio);
    assert_int_equal(mkfifo(scratch_path(&s, "pipe.mp4"), 0600), 0);
    assert_int_equal(mkdir(scratch_path(&s, "folder.mp4"), 0700), 0);
    static const struct {
        const char *name;
        lt_status want;
        const char *says;
    } cases[] = {
        {"none.mp4", LT_ENOINPUT, "none.mp4"},        {"pipe.mp4", LT_ENOINPUT, "regular file"},
        {"folder.mp4", LT_ENOINPUT, "folder.mp4"},    {"empty.mp4", LT_EDATA, "empty"},
        {"text.mp4", LT_EDATA, "want a film"},        {"list.m3u8", LT_EDATA, "list.m3u8"},
        {"list.ffconcat", LT_EDATA, "list.ffconcat"}, {"audio.wav", LT_EDATA, "without video"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        seen out;
        const lt_status st = read_all(scratch_path(&s, cases[i].name), &out);
        if (st != cases[i].want || strstr(lt_error_text(), cases[i].says) == NULL ||
            out.frames != 0)
            fail_msg("%s: found %s: %s", cases[i].name, lt_status_name(st), lt_error_text());
    }
    /* By a protocol's name: a file of that name is not there, and nothing is connected. */
    seen out;
    assert_int_equal(read_all("http://127.0.0.1:1/a.mp4", &out), LT_ENOINPUT);
    assert_int_equal(read_all("concat:a.mp4|b.mp4", &out), LT_ENOINPUT);
}

static char *file_bytes(const char *name, size_t *bytes)
{
    FILE *f = fopen(scratch_path(&s, name), "rb");
    assert_non_null(f);
    char *data = malloc(1 << 22);
    assert_non_null(data);
    *bytes = fread(data, 1, 1 << 22, f);
    (void)fclose(f);
    return data;
}

/* Cut anywhere, a film is refused or, fragmented, shorter; never longer, never a crash. */
static void cut_films_are_refused(void **state)
{
    (void)state;
    size_t bytes = 0;
    OK(film_write(scratch_path(&s, "cut.mp4"), "h264", 2));
    char *data = file_bytes("cut.mp4", &bytes);
    for (int part = 1; part < 16; part++) {
        seen out;
        scratch_write(&s, "part.mp4", data, bytes * (size_t)part / 16);
        const lt_status st = read_all(scratch_path(&s, "part.mp4"), &out);
        if (st != LT_EDATA || strstr(lt_error_text(), "part.mp4") == NULL)
            fail_msg("%d / 16: found %s (%s), %lld frames", part, lt_status_name(st),
                     st != LT_OK ? lt_error_text() : "", (long long)out.frames);
    }
    free(data);
}

/* Turned bytes: any end but our own faults. */
static void turned_bytes_are_survived(void **state)
{
    (void)state;
    static const char *const names[] = {"turn.mp4", "turn.mkv"};
    uint64_t random = 7;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        size_t bytes = 0;
        OK(film_write(scratch_path(&s, names[k]), "h264", 2));
        char *data = file_bytes(names[k], &bytes);
        for (int round = 0; round < 60; round++) {
            char old[8];
            size_t at[8];
            for (int i = 0; i < 8; i++) {
                random = random * 6364136223846793005u + 1442695040888963407u;
                at[i] = (size_t)(random >> 20) % (round % 2 ? bytes : bytes < 4096 ? bytes : 4096);
                old[i] = data[at[i]];
                data[at[i]] = (char)(random >> 56);
            }
            scratch_write(&s, names[k], data, bytes);
            seen out;
            const lt_status st = read_all(scratch_path(&s, names[k]), &out);
            if (st != LT_OK && st != LT_EDATA && st != LT_EUNAVAIL)
                fail_msg("round %d: %s: %s", round, lt_status_name(st), lt_error_text());
            for (int i = 7; i >= 0; i--)
                data[at[i]] = old[i];
        }
        free(data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(films_are_read_as_written), cmocka_unit_test(frames_become_rgb),
        cmocka_unit_test(others_are_refused),        cmocka_unit_test(cut_films_are_refused),
        cmocka_unit_test(turned_bytes_are_survived),
    };
    return cmocka_run_group_tests_name("film_read", tests, scratch_setup, scratch_teardown);
}

/* test_decode_groups.c - one film decoded by groups of ranks (--decode-tp).
 * Goal: whatever the groups, the film of one rank: the same counts and samples, pixels within 3 of
 * 65,535; helpers on the late queues of `far` change no bit; the plan counts a rank's share of the
 * weights; groups of ranks that don't follow each other change nothing, and groups that cross hosts
 * or idle are told; numbers that don't divide the ranks are refused before work. nano's decoder has
 * 2 heads: in groups of 3 and 4 some ranks have none. Method: starts the program under mpirun and
 * reads what it wrote, in lossless codecs. Ranks: 1 to 4, oversubscribed. Needs: mpirun,
 * tests/parity/nano. */
#include "tests/support/film.h"
#include "tests/support/the_scratch.h"

#define NANO   LT_SOURCE_DIR "/tests/parity/nano"
#define PROMPT "A large red rubber ball drops and bounces on a wooden floor under a sunny sky."

/* Slow under a sanitizer with full stacks (minutes): each kind of group once. */
#ifdef __SANITIZE_ADDRESS__
enum { EVERY = 3 };
#else
enum { EVERY = 1 };
#endif

/* All planes of all frames, 16 bit. */
typedef struct planes {
    uint16_t *values;
    int64_t count, room;
} planes;

static void keep_frame(void *user, int64_t index, const AVFrame *f)
{
    (void)index;
    planes *p = user;
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(f->format);
    assert_true(d->comp[0].depth == 16 && d->log2_chroma_w == 0 && d->log2_chroma_h == 0);
    const int64_t more = 3 * (int64_t)f->width * f->height;
    if (p->count + more > p->room) {
        p->room = 2 * (p->count + more);
        p->values = realloc(p->values, (size_t)p->room * sizeof *p->values);
        assert_non_null(p->values);
    }
    for (int plane = 0; plane < 3; plane++)
        for (int y = 0; y < f->height; y++, p->count += f->width)
            memcpy(p->values + p->count, f->data[plane] + y * f->linesize[plane],
                   (size_t)f->width * sizeof *p->values);
}

static film film_of(const char *path, planes *p)
{
    film f = {.look = keep_frame, .user = p};
    p->count = 0;
    film_read(path, &f);
    return f;
}

/* Of a group's f32 sums in another order a pixel of VAE space is off by up to 1e-5 of the largest
 * value, which is about 2.7: 1e-5 * 2.7 * 0.229 * 65,535 = 0.4 of a step of 16 bit. So R, G and B
 * may round to the neighbour, and Y, U and V, sums of them with weights up to 1.04 in all, once
 * more: 1.04 + 1. Measured: 1. */
enum { PIXEL_TOL = 3 };

/* The film at path against the reference's: counts and samples the same, pixels within
 * PIXEL_TOL. */
static void want_film(const char *name, const char *path, const film *reference, const planes *want)
{
    planes got = {0};
    int64_t worst = 0;
    film f = film_of(path, &got);
    assert_int_equal(f.frames, reference->frames);
    assert_int_equal(f.samples, reference->samples);
    assert_int_equal(got.count, want->count);
    for (int64_t k = 0; k < got.count; k++) {
        const int64_t off = llabs((long long)got.values[k] - want->values[k]);
        worst = off > worst ? off : worst;
    }
    print_message("%s: worst %lld of 65535\n", name, (long long)worst);
    if (worst > PIXEL_TOL)
        fail_msg("%s: pixels differ by %lld of 65535, allowed %d", name, (long long)worst,
                 PIXEL_TOL);
    /* audio goes round single ranks as ever */
    assert_memory_equal(f.pcm, reference->pcm, (size_t)f.samples * sizeof *f.pcm);
    film_free(&f);
    free(got.values);
}

static const struct {
    const char *name, *verb;
    int ranks;
    const char *each;
} groups[] = {
    {"two groups of two", "decode", 4, "2"},
    {"one group of two: rank 0 has no other group to wait for", "decode", 2, "2"},
    {"one group of four: two ranks without heads", "decode", 4, "4"},
    {"a render, two groups of two", "render", 4, "2"},
    {"one group of three: columns that don't divide", "decode", 3, "3"},
};

/* What rank 0 was found to need for the decoders' weights. */
static double planned_bytes(const char *run)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/plan.json", run);
    json_t *plan = json_load_file(path, 0, NULL);
    const json_t *memory = json_object_get(json_object_get(plan, "memory"), "decode");
    const double bytes = json_number_value(json_object_get(memory, "phase_bytes"));
    json_decref(plan);
    assert_true(bytes > 0);
    return bytes;
}

/* 141 frames are eight chunks: each group has several, and overlap frames cross between groups. */
static void groups_decode_the_same_film(void **state)
{
    (void)state;
    char run[160], one[160], out[160], run_groups[160];
    planes want = {0};
    (void)snprintf(run, sizeof run, "%s/group.run", s.folder);
    (void)snprintf(one, sizeof one, "%s/group.mkv", s.folder);
    (void)snprintf(out, sizeof out, "%s/groups.mkv", s.folder);
    (void)snprintf(run_groups, sizeof run_groups, "%s/groups.run", s.folder);
#define RENDER(...)                                                                                \
    RUN_WORDS("render", "--model", NANO, "-p", PROMPT, "--size", "96x64", "--frames", "141",       \
              "--steps", "2", "--deterministic", "--codec", "ffv1", "-q", __VA_ARGS__)
    run_well(&s, 1, RENDER("-o", one));
    film whole = film_of(one, &want);
    assert_int_equal(whole.frames, 141);
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i += EVERY) {
        const char *each = groups[i].each;
        const int renders = strcmp(groups[i].verb, "render") == 0;
        if (renders)
            run_well(&s, groups[i].ranks, RENDER("--overwrite", "--decode-tp", each, "-o", out));
        else
            run_well(&s, groups[i].ranks,
                     RUN_WORDS("decode", run, "--codec", "ffv1", "-q", "--overwrite", "--decode-tp",
                               each, "-o", out));
        if (renders) /* the plan counts the share that is loaded */
            assert_true(planned_bytes(run_groups) < planned_bytes(run));
        want_film(groups[i].name, out, &whole, &want);
    }
#undef RENDER
    film_free(&whole);
    free(want.values);
}

static void want_words(const char *name, const char *found, const char *const words[3])
{
    if (words[0] == NULL && strstr(found, "--decode-tp") != NULL)
        fail_msg("%s: want no word of --decode-tp, found: %s", name, found);
    for (int k = 0; k < 3 && words[k] != NULL; k++)
        if (strstr(found, words[k]) == NULL)
            fail_msg("%s: want \"%s\", found: %s", name, words[k], found);
}

static const struct {
    const char *name, *placement; /* NULL: not given */
    const char *says[3];          /* on stderr */
} places[] = {
    {"as the run was rendered: in rank order",
     NULL,
     {"--decode-tp 2: 2 of 2 tp groups cross hosts (host0, host1)", "--placement nodes keeps"}},
    {"by nodes: ranks 0, 2 and 1, 3", "nodes", {NULL}},
};

/* Ranks alternate between two hosts: by nodes, who owns a chunk is not its group's number times 2.
 * The reference has one host. */
static void groups_stand_where_the_mesh_says(void **state)
{
    (void)state;
    char run[160], one[160], out[160];
    planes want = {0};
    (void)snprintf(run, sizeof run, "%s/placed.run", s.folder);
    (void)snprintf(one, sizeof one, "%s/placed.mkv", s.folder);
    (void)snprintf(out, sizeof out, "%s/places.mkv", s.folder);
    run_well(&s, 4,
             RUN_WORDS("render", "--model", NANO, "-p", PROMPT, "--size", "64x64", "--frames",
                       "141", "--steps", "2", "--codec", "ffv1", "--placement", "ranks", "-q", "-o",
                       one));
    film whole = film_of(one, &want);
    assert_int_equal(whole.frames, 141);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const char *way = places[i].placement;
        run_result r = run_on_nodes(&s, "r % 2",
                                    RUN_WORDS("decode", run, "--codec", "ffv1", "--decode-tp", "2",
                                              "--overwrite", "-o", out,
                                              way != NULL ? "--placement" : NULL, way));
        want_words(places[i].name, r.err, places[i].says);
        want_film(places[i].name, out, &whole, &want);
        run_free(&r);
    }
    film_free(&whole);
    free(want.values);
}

/* Three ranks of one host and one of another, and a film of one decode chunk. */
static void groups_that_cross_or_idle_are_told(void **state)
{
    (void)state;
    static const char *const says[3] = {
        "--decode-tp 2: 1 of 2 tp groups crosses hosts (host0, host1)",
        "it should divide each host's ranks",
        "--decode-tp 2: the film has 1 piece for 2 groups: ranks 2, 3 decode no picture"};
    char out[160];
    (void)snprintf(out, sizeof out, "%s/idle.mp4", s.folder);
    run_result r =
        run_on_nodes(&s, "r / 3",
                     RUN_WORDS("render", "--model", NANO, "-p", PROMPT, "--size", "64x64",
                               "--frames", "5", "--steps", "2", "--decode-tp", "2", "-o", out));
    want_words("a render", r.err, says);
    run_free(&r);
}

/* The late queues of `far` must not show where helpers come and go either. */
static void groups_on_far_give_the_same_bits(void **state)
{
    (void)state;
    static const char *const devices[] = {"cpu", "far"};
    char run[160], out[160];
    planes made[2] = {{0}, {0}};
    (void)snprintf(run, sizeof run, "%s/far.run", s.folder);
    (void)snprintf(out, sizeof out, "%s/far.mkv", s.folder);
    run_well(&s, 1,
             RUN_WORDS("render", "--model", NANO, "-p", PROMPT, "--size", "96x64", "--frames", "73",
                       "--steps", "2", "--codec", "ffv1", "-q", "-o", out));
    for (int i = 0; i < 2; i++) {
        run_well(&s, 4,
                 RUN_WORDS("decode", run, "--device", devices[i], "--overwrite", "--decode-tp", "2",
                           "--codec", "ffv1", "-q", "-o", out));
        film f = film_of(out, &made[i]);
        assert_int_equal(f.frames, 73);
        film_free(&f);
    }
    assert_int_equal(made[0].count, made[1].count);
    assert_memory_equal(made[0].values, made[1].values,
                        (size_t)made[0].count * sizeof *made[0].values);
    free(made[0].values);
    free(made[1].values);
}

/* One line that names the option and both numbers, and no file. */
static void bad_groups_are_refused(void **state)
{
    (void)state;
    static const struct {
        int ranks;
        const char *each, *words[2];
    } bad[] = {
        {4, "3", {"--decode-tp 3", "found 4 ranks"}},
        {1, "2", {"--decode-tp 2", "found 1 rank"}},
        {2, "4", {"--decode-tp 4", "found 2 ranks"}},
        {1, "0", {"--decode-tp", "want an integer from 1"}},
        {1, "two", {"--decode-tp", "want an integer from 1"}},
    };
    char run[160], out[160], made[160];
    (void)snprintf(run, sizeof run, "%s/refused.run", s.folder);
    (void)snprintf(out, sizeof out, "%s/refused.mkv", s.folder);
    run_well(&s, 1,
             RUN_WORDS("render", "--model", NANO, "-p", PROMPT, "--size", "64x64", "--frames", "22",
                       "--steps", "2", "-q", "-o", out));
    (void)snprintf(made, sizeof made, "%s/none.mkv", s.folder);
    for (size_t i = 0; i < 2 * sizeof bad / sizeof *bad; i += EVERY) {
        const int ranks = bad[i / 2].ranks;
        const char *each = bad[i / 2].each;
        run_result r =
            i % 2
                ? run_longtake(&s, ranks, RUN_WORDS("decode", run, "--decode-tp", each, "-o", made))
                : run_longtake(&s, ranks,
                               RUN_WORDS("render", "--model", NANO, "-p", PROMPT, "--size", "64x64",
                                         "--frames", "22", "--steps", "2", "--decode-tp", each,
                                         "-o", made));
        for (int k = 0; k < 2; k++)
            if (r.code != 64 || strstr(r.err, bad[i / 2].words[k]) == NULL)
                fail_msg("--decode-tp %s on %d ranks: exit code %d, want 64 and \"%s\": %s", each,
                         ranks, r.code, bad[i / 2].words[k], r.err);
        assert_false(run_exists(made));
        run_free(&r);
    }
    (void)snprintf(made, sizeof made, "%s/none.run", s.folder);
    assert_false(run_exists(made));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_decode_the_same_film),
        cmocka_unit_test(groups_stand_where_the_mesh_says),
        cmocka_unit_test(groups_that_cross_or_idle_are_told),
        cmocka_unit_test(groups_on_far_give_the_same_bits),
        cmocka_unit_test(bad_groups_are_refused),
    };
    return cmocka_run_group_tests_name("decode_groups", tests, scratch_setup, scratch_teardown);
}

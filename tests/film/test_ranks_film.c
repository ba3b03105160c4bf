/* test_ranks_film.c - one film on 1, 2, 3 and 4 ranks and on different meshes.
 * Goal: whatever divides, the same film: latents within 1e-4 of the largest value in f32, the same
 * counts of frames and samples; the decode pool changes no pixel and no sample; where ranks stand
 * in the mesh changes no bit. Both models have 3 heads: on 4 ranks some hold none, and tp=4 leaves
 * a rank without columns. Method: starts the program under mpirun and reads what it wrote. Ranks: 1
 * to 4, oversubscribed. Needs: mpirun, models/demo, tests/parity/nano. */
#include "tests/support/film.h"
#include "tests/support/the_scratch.h"

#define NANO   LT_SOURCE_DIR "/tests/parity/nano"
#define DEMO   LT_SOURCE_DIR "/models/demo"
#define PROMPT "A large red rubber ball drops and bounces on a wooden floor under a sunny sky."

/* Slow under a sanitizer with full stacks (minutes): each kind of mesh once. */
#ifdef __SANITIZE_ADDRESS__
enum { EVERY = 3, POOL_RANKS = 2, PLACED = 2 };
#else
enum { EVERY = 1, POOL_RANKS = 4, PLACED = 3 };
#endif

/* DESIGN section 9: different meshes, stated tolerance; the issue asks for 1e-4. Sums are in
 * another order only, so f32 should stay far below. */
static const double latents_tol = 1e-4;

static const struct {
    const char *name;
    int ranks;
    const char *mesh, *model, *size, *frames;
} cases[] = {
    {"demo: two ranks as planned", 2, "auto", DEMO, "64x64", "22"},
    {"demo: heads over two ranks", 2, "tp=2", DEMO, "64x64", "22"},
    {"demo: tokens over three", 3, "uly=3", DEMO, "64x64", "22"},
    {"demo: one head a rank", 3, "tp=3", DEMO, "64x64", "22"},
    {"demo: tokens over four, a rank without heads", 4, "uly=4", DEMO, "64x64", "22"},
    {"demo: weights over four, a rank without heads", 4, "tp=4", DEMO, "64x64", "22"},
    {"demo: both axes", 4, "uly=2,tp=2", DEMO, "64x64", "22"},
    {"nano: both axes, other order", 4, "tp=2,uly=2", NANO, "96x64", "39"},
    {"nano: three ranks", 3, "auto", NANO, "96x64", "39"},
};

static void render(int ranks, const char *mesh, const char *model, const char *size,
                   const char *frames, const char *out)
{
    run_well(&s, ranks,
             RUN_WORDS("render", "--model", model, "-p", PROMPT, "--size", size, "--frames", frames,
                       "--steps", "3", "--seed", "5", "--dtype", "f32", "--mesh", mesh,
                       "--overwrite", "-q", "-o", out));
}

static void all_meshes_give_one_film(void **state)
{
    (void)state;
    char out[160], run[160], run_one[160], film_one[160];
    latents one = {{NULL, NULL}, {0, 0}};
    film whole = {0};
    (void)snprintf(out, sizeof out, "%s/many.mp4", s.folder);
    (void)snprintf(run, sizeof run, "%s/many.run", s.folder);
    (void)snprintf(film_one, sizeof film_one, "%s/one.mp4", s.folder);
    (void)snprintf(run_one, sizeof run_one, "%s/one.run", s.folder);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (i == 0 || cases[i].model != cases[i - 1].model) { /* the reference: one rank */
            render(1, "auto", cases[i].model, cases[i].size, cases[i].frames, film_one);
            latents_free(&one);
            latents_read(run_one, &one);
            film_free(&whole);
            whole = (film){0};
            film_read(film_one, &whole);
        }
        if (i % EVERY != 0)
            continue;
        render(cases[i].ranks, cases[i].mesh, cases[i].model, cases[i].size, cases[i].frames, out);
        latents many;
        latents_read(run, &many);
        const double worst = latents_differ(&one, &many);
        print_message("%s: worst %.2e of the largest\n", cases[i].name, worst);
        if (!(worst <= latents_tol))
            fail_msg("%s: latents differ by %.3g of the largest, allowed %.3g", cases[i].name,
                     worst, latents_tol);
        film f = {0};
        film_read(out, &f);
        if (f.frames != whole.frames || f.samples != whole.samples || f.frames == 0 ||
            f.samples == 0)
            fail_msg("%s: want %lld frames and %lld samples, found %lld and %lld", cases[i].name,
                     (long long)whole.frames, (long long)whole.samples, (long long)f.frames,
                     (long long)f.samples);
        film_free(&f);
        latents_free(&many);
    }
    film_free(&whole);
    latents_free(&one);
}

/* ---- the pool ---- */

/* FNV-1a over all planes of all frames. */
static void hash_frame(void *user, int64_t index, const AVFrame *f)
{
    (void)index;
    uint64_t *hash = user;
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(f->format);
    for (int plane = 0; plane < 3; plane++) {
        const int h = f->height >> (plane > 0 ? d->log2_chroma_h : 0);
        const int bytes =
            (f->width >> (plane > 0 ? d->log2_chroma_w : 0)) * (d->comp[0].depth > 8 ? 2 : 1);
        for (int y = 0; y < h; y++)
            for (int x = 0; x < bytes; x++)
                *hash = (*hash ^ f->data[plane][y * f->linesize[plane] + x]) * 1099511628211u;
    }
}

/* Lossless codecs: FFV1 and FLAC. 141 frames are several decode chunks, whatever the rank. */
static void the_pool_changes_no_pixel(void **state)
{
    (void)state;
    char run[160], out[160];
    uint64_t hash[4] = {0};
    film one = {0};
    (void)snprintf(run, sizeof run, "%s/pool.run", s.folder);
    (void)snprintf(out, sizeof out, "%s/pool.mkv", s.folder);
    run_well(&s, 1,
             RUN_WORDS("render", "--model", NANO, "-p", PROMPT, "--size", "64x64", "--frames",
                       "141", "--steps", "2", "--codec", "ffv1", "-q", "-o", out));
    for (int ranks = 1; ranks <= POOL_RANKS; ranks++) {
        film f = {.look = hash_frame, .user = &hash[ranks - 1]};
        hash[ranks - 1] = 14695981039346656037u;
        run_well(&s, ranks,
                 RUN_WORDS("decode", run, "--codec", "ffv1", "-q", "--overwrite", "-o", out));
        film_read(out, &f);
        assert_int_equal(f.frames, 141);
        assert_int_equal(f.samples, 47000);
        if (ranks == 1) {
            one = f;
            continue;
        }
        if (hash[ranks - 1] != hash[0])
            fail_msg("%d ranks: want the pixels of one rank", ranks);
        assert_memory_equal(f.pcm, one.pcm, (size_t)f.samples * sizeof *f.pcm);
        film_free(&f);
    }
    film_free(&one);
}

/* ---- placement ---- */

static const struct {
    const char *name, *node, *mesh, *placement, *order;
    const char *says[2]; /* on stderr; NULL: of no group that crosses */
} placed[3] = {
    {"two hosts, round robin", "r % 2", "ring=2,tp=2", "nodes", "[0,2,1,3]", {NULL, NULL}},
    {"the same in rank order",
     "r % 2",
     "ring=2,tp=2",
     "ranks",
     "[0,1,2,3]",
     {"2 of 2 tp groups cross hosts (host0, host1)", "--placement nodes keeps"}},
    {"one and three, a window too many",
     "(r + 2) / 3",
     "win=2,tp=2",
     "nodes",
     "[0,3,1,2]",
     {"1 of 2 tp groups crosses hosts (host0, host1)", "ranks 1, 2 compute nothing"}},
};

static void placement_changes_no_bit(void **state)
{
    (void)state;
    char out[2][160], run[2][160];
    for (size_t i = 0; i < PLACED; i++) {
        (void)snprintf(out[i % 2], sizeof out[0], "%s/placed%zu.mp4", s.folder, i);
        (void)snprintf(run[i % 2], sizeof run[0], "%s/placed%zu.run", s.folder, i);
        run_result r = run_on_nodes(
            &s, placed[i].node,
            RUN_WORDS("render", "--model", NANO, "-p", PROMPT, "--size", "64x64", "--frames", "22",
                      "--steps", "3", "--seed", "5", "--threads", "1", "--mesh", placed[i].mesh,
                      "--placement", placed[i].placement, "-o", out[i % 2]));
        for (int k = 0; k < 2; k++)
            if (placed[i].says[k] != NULL && strstr(r.err, placed[i].says[k]) == NULL)
                fail_msg("%s: want \"%s\", found: %s", placed[i].name, placed[i].says[k], r.err);
        if (placed[i].says[0] == NULL)
            assert_null(strstr(r.err, "groups cross"));
        run_free(&r);
        want_order(run[i % 2], placed[i].placement, placed[i].order);
        if (i != 1)
            continue;
        latents a, b; /* same mesh, same bits */
        latents_read(run[0], &a);
        latents_read(run[1], &b);
        assert_true(latents_differ(&a, &b) == 0);
        latents_free(&a);
        latents_free(&b);
        const char *const cmp[] = {"cmp", out[0], out[1], NULL};
        r = run_argv(&s, cmp, RUN_LIMIT_S);
        if (r.code != 0)
            fail_msg("%s: the films differ: %s", placed[i].name, r.out);
        run_free(&r);
    }
    run_result r = run_on_nodes(&s, "r % 2", RUN_WORDS("doctor"));
    if (strstr(r.out, "2: host0 (ranks 0, 2), host1 (ranks 1, 3)\n") == NULL)
        fail_msg("doctor: want the ranks of two nodes, found: %s", r.out);
    run_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_meshes_give_one_film),
        cmocka_unit_test(the_pool_changes_no_pixel),
        cmocka_unit_test(placement_changes_no_bit),
    };
    return cmocka_run_group_tests_name("ranks_film", tests, scratch_setup, scratch_teardown);
}

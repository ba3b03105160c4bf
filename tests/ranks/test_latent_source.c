/* test_latent_source.c - latents by request, from the ranks that hold them.
 * Goal: any range of any stream of any shot comes with its bits, whoever asks, also several ranks
 * at once of each other, whether ranks or rank 0's latents.h5 have it; no rank holds a whole clip
 * where there are windows for several groups; together they hold all of it once. Method: noise,
 * which is a function of the place alone; ranges that begin and end in several groups, in an order
 * that differs by rank; a clip of more values than one message has. Ranks: as launched; meshes with
 * more are left out. Needs: tests/parity/nano. */
#include "tests/support/denoise.h"

#include "base/philox.h"
#include "run/latent_source.h"

enum { SHOTS = 2 };

static lt_model *nano;

static const struct {
    const char *mesh;
    lt_mode mode;
} cases[] = {
    {"win=1", LT_MODE_WINDOWS}, {"win=2", LT_MODE_WINDOWS},       {"win=3", LT_MODE_WINDOWS},
    {"win=4", LT_MODE_WINDOWS}, {"win=2,cfg=2", LT_MODE_WINDOWS}, {"win=2,tp=2", LT_MODE_WINDOWS},
    {"win=2", LT_MODE_EXTEND},  {"uly=3", LT_MODE_EXTEND},        {"win=3", LT_MODE_SINGLE},
};

static lt_film_shot shot_of(lt_mode mode, const lt_mesh_spec *spec, int i)
{
    /* the second is large: its video goes in more than ten messages */
    static const lt_shape shapes[SHOTS] = {{243, 64, 32}, {345, 640, 640}};
    lt_film_shot shot = {.plan = denoise_plan(nano, spec, 3, shapes[i],
                                              (lt_windows_asked){.mode = mode,
                                                                 .window = 90,
                                                                 .overlap = 39,
                                                                 .fuse = LT_FUSE_TRAPEZOID})};
    shot.plan.seed = (uint64_t)(7 + i);
    (void)snprintf(shot.group, sizeof shot.group, "shot-%02d/", i + 1);
    return shot;
}

static void check_range(lt_latent_source *source, const lt_film_shot *shot, int i, int s,
                        lt_range range)
{
    const lt_stream *stream = &shot[i].plan.stream[s];
    const size_t n = (size_t)(lt_stream_outer(stream) * range.count * lt_stream_inner(stream));
    float *found = malloc(n * sizeof *found), *wanted = malloc(n * sizeof *wanted);
    WANT(found != NULL && wanted != NULL);
    lt_stream_noise(stream, shot[i].plan.seed, LT_STREAM_INITIAL, range, wanted);
    OK(lt_latent_take(source, i, s, range, found));
    WANT(memcmp(found, wanted, n * sizeof *found) == 0);
    free(found);
    free(wanted);
}

/* All of each stream, then ranges of 7 positions in an order that differs by rank. */
static void ask_for_all(lt_latent_source *source, const lt_film_shot *shot, int rank)
{
    for (int i = 0; i < SHOTS; i++)
        for (int s = 0; s < shot[i].plan.stream_count; s++) {
            const int64_t units = lt_stream_units(&shot[i].plan.stream[s]);
            check_range(source, shot, i, s, (lt_range){0, units});
            for (int64_t k = 0; k < 9; k++)
                check_range(source, shot, i, s, (lt_range){(k * 31 + rank * 17) % (units - 7), 7});
        }
}

static void held_once(const lt_holding *h, const lt_plan *plan)
{
    for (int s = 0; s < plan->stream_count; s++) {
        int64_t at = 0;
        for (int g = 0; g < h->groups; g++) {
            if (h->own[g][s].count == 0)
                continue;
            WANT(h->own[g][s].first == at);
            WANT(lt_overlap(h->own[g][s], h->held[g][s]).count == h->own[g][s].count);
            at += h->own[g][s].count;
            if (plan->windowing.mode == LT_MODE_WINDOWS && h->groups > 1)
                WANT(h->held[g][s].count < lt_stream_units(&plan->stream[s]));
        }
        WANT(at == lt_stream_units(&plan->stream[s]));
    }
}

static void from_ranks(const lt_mesh *mesh, void *ctx)
{
    const lt_mode mode = *(const lt_mode *)ctx;
    lt_film_shot shot[SHOTS];
    lt_clip clip[SHOTS];
    lt_holding holding[SHOTS];
    lt_latent_source *source = NULL;
    for (int i = 0; i < SHOTS; i++) {
        shot[i] = shot_of(mode, &mesh->spec, i);
        OK(lt_denoise_holding(nano, &shot[i].plan, mesh, &holding[i]));
        held_once(&holding[i], &shot[i].plan);
        OK(lt_holding_clip(&holding[i], &shot[i].plan, &clip[i]));
        lt_clip_noise(&shot[i].plan, &clip[i]);
    }
    const lt_latent_parts parts = {.shot = shot, .shots = SHOTS, .clip = clip, .holding = holding};
    OK(lt_latent_source_open(mesh->world, &parts, &source));
    ask_for_all(source, shot, lt_group_rank(mesh->world));
    OK(lt_barrier(mesh->world));
    lt_latent_source_close(&source);
    for (int i = 0; i < SHOTS; i++) {
        lt_clip_free(&clip[i]);
        lt_holding_free(&holding[i]);
    }
}

static void whoever_holds_them(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lt_mode mode = cases[i].mode;
        print_message("%s, %s\n", cases[i].mesh, lt_mode_names[mode]);
        on_mesh(cases[i].mesh, from_ranks, &mode);
    }
}

/* The file, and where it lies, are rank 0's alone. */
static lt_latents *file_of(const lt_film_shot *shot, char *path, size_t bytes)
{
    lt_latents_stream streams[SHOTS * 2];
    char name[SHOTS * 2][LT_DATASET_BYTES];
    lt_clip clip[SHOTS];
    lt_latents *store = NULL;
    (void)snprintf(path, bytes, "/tmp/longtake-test-source-%d.h5", (int)getpid());
    for (int i = 0; i < SHOTS; i++) {
        OK(lt_clip_new(&shot[i].plan, &clip[i]));
        lt_clip_noise(&shot[i].plan, &clip[i]);
        for (int s = 0; s < 2; s++) {
            const lt_stream *of = &shot[i].plan.stream[s];
            lt_latents_stream *to = &streams[2 * i + s];
            *to = (lt_latents_stream){.name = lt_film_dataset(&shot[i], s, name[2 * i + s]),
                                      .ndim = of->ndim,
                                      .time_axis = of->time_axis,
                                      .data = clip[i].data[s]};
            memcpy(to->dims, of->dim, sizeof to->dims);
        }
    }
    OK(lt_latents_write(path, streams, SHOTS * 2, NULL));
    OK(lt_latents_open(path, 0, &store));
    for (int i = 0; i < SHOTS; i++)
        lt_clip_free(&clip[i]);
    return store;
}

static void from_rank_0s_file(void **state)
{
    (void)state;
    static const lt_mesh_spec one = {{1, 1, 1, 1, 1}};
    const int rank = lt_group_rank(world);
    lt_film_shot shot[SHOTS];
    lt_latent_source *source = NULL;
    char path[64];
    for (int i = 0; i < SHOTS; i++)
        shot[i] = shot_of(LT_MODE_WINDOWS, &one, i);
    lt_latents *store = rank == 0 ? file_of(shot, path, sizeof path) : NULL;
    const lt_latent_parts parts = {.shot = shot, .shots = SHOTS, .store = store};
    OK(lt_latent_source_open(world, &parts, &source));
    ask_for_all(source, shot, rank);
    OK(lt_barrier(world));
    lt_latent_source_close(&source);
    lt_latents_close(&store);
    if (rank == 0)
        WANT(unlink(path) == 0);
}

int main(void)
{
    const int failed_open = ranks_open();
    if (failed_open != 0)
        return failed_open;
    OK(lt_model_open(LT_SOURCE_DIR "/tests/parity/nano", &nano));
    const struct CMUnitTest tests[] = {cmocka_unit_test(whoever_holds_them),
                                       cmocka_unit_test(from_rank_0s_file)};
    const int failed = cmocka_run_group_tests_name("latent_source", tests, NULL, NULL);
    lt_model_close(&nano);
    ranks_close();
    return failed;
}

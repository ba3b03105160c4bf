/* test_fit.c - a plan that fits the memory, and layers that take turns on several ranks.
 * Goal: where the DiT does not fit, as many of its layers stay as do, the same number on every
 * rank, and by the rank that has the least; where not even that fits, what was asked is refused
 * with its numbers; latents have the same bits however many stay, on every mesh, on cpu and far.
 * Method: a backend that is `cpu` but for the memory that it says is left. Ranks: up to 4. Needs:
 * models/demo. */
#include "run/fit.h"
#include "tests/support/denoise.h"

static lt_model *demo;
static int64_t left_bytes;

static void describe(int device, lt_device *out)
{
    lt_backend_cpu.describe(device, out);
    out->left_bytes = left_bytes;
}

static lt_plan plan_of(const lt_mesh_spec *spec)
{
    static const lt_shape shape = {56, 64, 64};
    return denoise_plan(demo, spec, 3, shape, (lt_windows_asked){.mode = LT_MODE_SINGLE});
}

static lt_backend small;

static lt_estimate_of of_plan(const lt_mesh *mesh, const lt_plan *plan, const lt_tokens *tokens)
{
    return (lt_estimate_of){.plan = plan,
                            .model = demo,
                            .backend = &small,
                            .mesh = {[LT_PHASE_DIT] = mesh},
                            .tokens = tokens,
                            .threads = 1,
                            .local_ranks = 1};
}

static int64_t tokens_count = DENOISE_TEXT_ROWS;
static const lt_tokens tokens = {
    .count = &tokens_count, .prompts = 1, .all = DENOISE_TEXT_ROWS, .most = DENOISE_TEXT_ROWS};

static lt_status fit(const lt_mesh *mesh, lt_plan *plan, lt_footprint *out)
{
    static const lt_job job = {.mode = "single"};
    const lt_estimate_of of = of_plan(mesh, plan, &tokens);
    return lt_fit(mesh->world, plan, &of, &job, LT_PHASE_DIT, out);
}

static int64_t device_bytes(const lt_footprint *f)
{
    const lt_phase_memory *m = &f->memory[LT_PHASE_DIT];
    return (int64_t)(m->phase_bytes + m->step_bytes + m->comm_bytes);
}

/* Device bytes of this rank where so many layers stay, whatever it has. */
static int64_t need(const lt_mesh *mesh, const lt_plan *plan, int stay, int at_peers)
{
    lt_plan other = *plan;
    lt_footprint out;
    other.resident_layers = stay;
    other.layers_at_peers = at_peers;
    const lt_estimate_of of = of_plan(mesh, &other, &tokens);
    OK(lt_estimate_dry_run(&of, &out));
    return device_bytes(&out);
}

/* The last rank has `left` bytes, the others have enough. */
static void fits_in(const lt_mesh *mesh, const lt_mesh_spec *spec, int64_t left, int wants_peers)
{
    const int size = lt_group_size(mesh->world), last = lt_group_rank(mesh->world) == size - 1;
    lt_footprint out;
    lt_plan plan = plan_of(spec);
    left_bytes = last ? left : -1;
    OK(fit(mesh, &plan, &out));
    WANT(!last || device_bytes(&out) <= left);
    WANT(plan.resident_layers >= 1 && plan.layers_at_peers == wants_peers);
    int32_t of_root[2] = {plan.resident_layers, plan.layers_at_peers};
    OK(lt_broadcast(mesh->world, 0, of_root, sizeof of_root));
    WANT(of_root[0] == plan.resident_layers && of_root[1] == plan.layers_at_peers);
    WANT(device_bytes(&out) == need(mesh, &plan, of_root[0], of_root[1]));
    /* one more would not have done */
    WANT(!last || need(mesh, &plan, of_root[0] + 1, of_root[1]) > left);
}

static void as_many_stay_as_fit(void **state)
{
    (void)state;
    static const char *const meshes[] = {"win=1", "tp=2", "ring=2", "uly=3", "win=2,ring=2"};
    small = lt_backend_cpu;
    small.describe = describe;
    for (size_t i = 0; i < sizeof meshes / sizeof *meshes; i++) {
        lt_mesh_spec spec;
        lt_mesh mesh;
        lt_group *group = mesh_group(meshes[i], &spec);
        if (group == NULL)
            continue;
        OK(lt_mesh_open(group, &spec, &mesh));
        const int peers = lt_group_size(mesh.tokens) > 1;
        const int last = lt_group_rank(group) == lt_group_size(group) - 1;
        lt_footprint out;
        lt_plan plan = plan_of(&spec);
        const int64_t all = need(&mesh, &plan, 0, 0), own = need(&mesh, &plan, 1, 0);
        const int64_t shared = need(&mesh, &plan, 1, peers);
        WANT(own < all && (!peers || (own < shared && shared < all)));
        left_bytes = all;
        OK(fit(&mesh, &plan, &out));
        WANT(plan.resident_layers == 0 && plan.layers_at_peers == 0);
        fits_in(&mesh, &spec, all - 1, peers);
        fits_in(&mesh, &spec, shared, peers);
        fits_in(&mesh, &spec, shared - (peers != 0), 0);
        fits_in(&mesh, &spec, (own + shared) / 2, 0);
        fits_in(&mesh, &spec, own, 0);
        left_bytes = last ? own - 1 : -1;
        const lt_status st = fit(&mesh, &plan, &out);
        WANT(st == (last ? LT_ENOMEM : LT_EPEER));
        WANT(!last || strstr(lt_error_text(), "weights") != NULL);
        WANT(plan.resident_layers == 0 && plan.layers_at_peers == 0); /* as it was asked */
        lt_error_clear();
        lt_mesh_close(&mesh);
        lt_group_free(&group);
    }
}

static void bits_do_not_depend_on_what_stays(void **state)
{
    (void)state;
    static const char *const meshes[] = {"win=1", "tp=2", "ring=2,tp=2"};
    static const lt_backend *const backends[] = {&lt_backend_cpu, &lt_backend_far};
    XXH64_hash_t wanted = 0;
    for (size_t i = 0; i < sizeof meshes / sizeof *meshes; i++)
        for (int b = 0; b < 2; b++)
            for (int k = 0; k < 5; k++) {
                const int stay = (int[]){0, 1, 4, 1, 4}[k], at_peers = k >= 3;
                lt_mesh_spec spec;
                lt_group *group = mesh_group(meshes[i], &spec);
                if (group == NULL)
                    continue;
                lt_plan plan = plan_of(&spec);
                plan.resident_layers = stay;
                plan.layers_at_peers = at_peers;
                lt_clip clip = {0};
                denoise_on(demo, group, &plan, backends[b], 1, NULL, &clip);
                const XXH64_hash_t found = clip_hash(&clip);
                if (i == 0 && b == 0 && k == 0)
                    wanted = found;
                if (lt_group_rank(group) == 0 && lt_group_rank(world) == 0)
                    WANT(found == wanted);
                lt_clip_free(&clip);
                lt_group_free(&group);
            }
}

int main(void)
{
    const int failed_open = ranks_open();
    if (failed_open != 0)
        return failed_open;
    OK(lt_model_open(LT_SOURCE_DIR "/models/demo", &demo));
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_many_stay_as_fit),
                                       cmocka_unit_test(bits_do_not_depend_on_what_stays)};
    const int failed = cmocka_run_group_tests_name("fit", tests, NULL, NULL);
    lt_model_close(&demo);
    ranks_close();
    return failed;
}

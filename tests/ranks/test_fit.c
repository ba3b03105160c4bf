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

static lt_status fit(const lt_mesh *mesh, lt_plan *plan, const lt_backend *backend,
                     lt_footprint *out)
{
    static const lt_job job = {.mode = "single"};
    int64_t count = DENOISE_TEXT_ROWS;
    const lt_tokens tokens = {.count = &count, .prompts = 1, .all = count, .most = count};
    const lt_estimate_of of = {.plan = plan,
                               .model = demo,
                               .backend = backend,
                               .mesh = {[LT_PHASE_DIT] = mesh},
                               .tokens = &tokens,
                               .threads = 1,
                               .local_ranks = 1};
    return lt_fit(mesh->world, plan, &of, &job, LT_PHASE_DIT, out);
}

static int64_t device_bytes(const lt_footprint *f)
{
    const lt_phase_memory *m = &f->memory[LT_PHASE_DIT];
    return (int64_t)(m->phase_bytes + m->step_bytes + m->comm_bytes);
}

static void as_many_stay_as_fit(void **state)
{
    (void)state;
    static const char *const meshes[] = {"win=1", "tp=2", "ring=2", "uly=3"};
    lt_backend small = lt_backend_cpu;
    small.describe = describe;
    for (size_t i = 0; i < sizeof meshes / sizeof *meshes; i++) {
        lt_mesh_spec spec;
        lt_mesh mesh;
        lt_group *group = mesh_group(meshes[i], &spec);
        if (group == NULL)
            continue;
        OK(lt_mesh_open(group, &spec, &mesh));
        lt_footprint all, one, some, none;
        lt_plan plan = plan_of(&spec);
        left_bytes = -1;
        OK(fit(&mesh, &plan, &small, &all));
        WANT(plan.resident_layers == 0);
        left_bytes = device_bytes(&all);
        OK(fit(&mesh, &plan, &small, &some));
        WANT(plan.resident_layers == 0);
        left_bytes = -1;
        plan.resident_layers = 1;
        OK(fit(&mesh, &plan, &small, &one));
        WANT(device_bytes(&one) < device_bytes(&all));
        const int last = lt_group_rank(group) == lt_group_size(group) - 1;
        for (int cut = 1; cut <= 4; cut++) { /* one rank lacks a little, and more */
            const int64_t less = (device_bytes(&all) - device_bytes(&one)) * cut / 4;
            const int64_t left = device_bytes(&all) - (last ? less : 0);
            left_bytes = left;
            plan.resident_layers = 0;
            OK(fit(&mesh, &plan, &small, &some));
            WANT(device_bytes(&some) <= left);
            WANT(plan.resident_layers >= 1);
            const int stay = plan.resident_layers;
            int32_t of_root = stay;
            OK(lt_broadcast(group, 0, &of_root, sizeof of_root));
            WANT(of_root == stay);
            left_bytes = -1; /* one more would not have done */
            plan.resident_layers = stay + 1;
            OK(fit(&mesh, &plan, &small, &some));
            int32_t over = device_bytes(&some) > left;
            OK(lt_broadcast(group, lt_group_size(group) - 1, &over, sizeof over));
            WANT(over);
        }
        left_bytes = last ? 1 << 20 : -1;
        plan.resident_layers = 0;
        const lt_status st = fit(&mesh, &plan, &small, &none);
        WANT(st == (last ? LT_ENOMEM : LT_EPEER));
        WANT(!last || strstr(lt_error_text(), "weights") != NULL);
        WANT(plan.resident_layers == 0); /* as it was asked */
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
            for (int stay = 0; stay < 6; stay += 1 + 2 * (stay > 0)) { /* all, 1, 4 */
                lt_mesh_spec spec;
                lt_group *group = mesh_group(meshes[i], &spec);
                if (group == NULL)
                    continue;
                lt_plan plan = plan_of(&spec);
                plan.resident_layers = stay;
                lt_clip clip = {0};
                denoise_on(demo, group, &plan, backends[b], 1, NULL, &clip);
                const XXH64_hash_t found = clip_hash(&clip);
                if (i == 0 && b == 0 && stay == 0)
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

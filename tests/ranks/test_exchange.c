/* test_exchange.c - an exchange of tensors that somebody else brings.
 * Goal: a registered exchange carries the collectives of a mesh where it fits, and is opened and
 * closed once a group; a group whose ranks name different ones is refused by all of them with one
 * text, and the world goes on. Method: a table that counts and hands over to `staged`; what fits is
 * a variable. Ranks: as launched (4 in ctest; 2 or more). Needs: nothing. */
#include "parallel/collective/exchange.h"
#include "parallel/context.h"
#include "parallel/transport/agree.h"
#include "tests/support/ranks.h"

static int takes, opened, exchanged, polled, closed;

static int counted_fits(const lt_group *group, const lt_backend *backend)
{
    (void)group, (void)backend;
    return takes;
}

static const lt_device_exchange counted;

static lt_status counted_open(lt_group *group, const lt_backend *backend, lt_comm_memory *memory,
                              lt_link **out)
{
    LT_TRY(lt_exchange_staged.open(group, backend, memory, out));
    (*out)->how = &counted;
    opened++;
    return LT_OK;
}

static lt_status counted_exchange(lt_link *link, lt_queue *comm, const char *name,
                                  const lt_tensor_transfer *list, int count)
{
    exchanged++;
    return lt_exchange_staged.exchange(link, comm, name, list, count);
}

static lt_status counted_poll(lt_link *link)
{
    (void)link;
    polled++;
    return LT_OK;
}

static void counted_close(lt_link **link)
{
    closed++;
    lt_exchange_staged.close(link);
}

static const lt_device_exchange counted = {.name = "counted",
                                           .fits = counted_fits,
                                           .open = counted_open,
                                           .exchange = counted_exchange,
                                           .poll = counted_poll,
                                           .close = counted_close};

static void mesh_of_all(lt_mesh *mesh)
{
    const lt_mesh_spec spec = {{1, 1, 1, lt_group_size(world), 1}};
    OK(lt_mesh_open(world, &spec, mesh));
}

/* One row of each rank, gathered over uly. */
static void gather(lt_engine *e, const lt_mesh *mesh)
{
    enum { WIDTH = 3 };
    lt_group *group = mesh->axis[LT_AXIS_ULY];
    const int size = lt_group_size(group), rank = lt_group_rank(group);
    float host[RANKS_MAX * WIDTH];
    int64_t counts[RANKS_MAX];
    lt_tensor x, y;
    lt_event after, done;
    for (int i = 0; i < size; i++)
        counts[i] = 1;
    for (int i = 0; i < WIDTH; i++)
        host[i] = (float)(10 * rank + i);
    OK(lt_tensor_new(e->step, "x", LT_F32, &x, LT_DIMS(1, WIDTH)));
    OK(lt_tensor_new(e->step, "y", LT_F32, &y, LT_DIMS(size, WIDTH)));
    OK(lt_upload(e->compute, &x, host));
    OK(lt_mark_event(e->compute, &after));
    OK(lt_all_gather_rows(e, group, &after, &x, counts, &y, &done));
    OK(lt_wait(e->compute, &done));
    OK(lt_download(e->compute, host, &y));
    OK(lt_sync(e->compute));
    for (int i = 0; i < size * WIDTH; i++)
        WANT(host[i] == (float)(10 * (i / WIDTH) + i % WIDTH));
}

static void carries_what_a_mesh_sends(void **state)
{
    (void)state;
    const lt_backend *const backends[] = {&lt_backend_cpu, &lt_backend_far};
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++) {
        lt_mesh mesh;
        lt_engine e;
        takes = 1;
        opened = exchanged = polled = closed = 0;
        mesh_of_all(&mesh);
        OK(lt_engine_open(backends[i], 0, 1, &mesh, 0, 1 << 16, &e));
        OK(lt_engine_connect(&e, &mesh, &(lt_comm_need){0}));
        WANT(opened >= 1);
        const int links = opened;
        OK(lt_engine_connect(&e, &mesh, &(lt_comm_need){0}));
        WANT(opened == links && exchanged == 0);
        gather(&e, &mesh);
        WANT(exchanged == 1 && polled == 1);
        lt_engine_close(&e);
        WANT(closed == links);
        lt_mesh_close(&mesh);
    }
}

static void ranks_that_disagree_are_refused(void **state)
{
    (void)state;
    lt_mesh mesh;
    lt_engine e;
    char first[512];
    takes = lt_group_rank(world) == 0;
    opened = closed = 0;
    mesh_of_all(&mesh);
    OK(lt_engine_open(&lt_backend_cpu, 0, 1, &mesh, 0, 1 << 16, &e));
    WANT(lt_engine_connect(&e, &mesh, &(lt_comm_need){0}) == LT_EUNAVAIL);
    WANT(strstr(lt_error_text(), "counted (its rank 0) and its backend's own (its rank 1)") !=
         NULL);
    WANT(strchr(lt_error_text(), '\n') == NULL);
    (void)snprintf(first, sizeof first, "%s", lt_error_text());
    OK(lt_broadcast(world, 0, first, sizeof first));
    WANT(strcmp(first, lt_error_text()) == 0);
    WANT(lt_agree(world, LT_EUNAVAIL) == LT_EUNAVAIL); /* as a session does */
    WANT(opened == 0);
    lt_engine_close(&e);
    lt_mesh_close(&mesh);
    OK(lt_barrier(world));
}

int main(void)
{
    if (ranks_open() != 0)
        return 1;
    lt_exchange_register(&counted);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(carries_what_a_mesh_sends),
        cmocka_unit_test(ranks_that_disagree_are_refused),
    };
    const int failed = cmocka_run_group_tests_name("exchange", tests, NULL, NULL);
    ranks_close();
    return failed;
}

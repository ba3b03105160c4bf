/* gpu_smoke_ring.c - a ring's hop of keys and values beside attention, on two ranks or more.
 *
 * What decides whether ring attention hides its exchange: the hop alone, attention alone, and both
 * at once, queued as parallel/attention queues them: the exchange first, on the comm queue. How
 * many CTAs NCCL may take for it, the caller says by NCCL_MAX_CTAS, which outranks what
 * exchange_nccl.c asks for. Rank 0 prints. */
#include <math.h>

#include "parallel/collective/exchange.h"
#include "parallel/context.h"
#include "parallel/transport/host_collectives.h"
#include "parallel/world.h"
#include "tools/gpu_smoke.h"

typedef struct hop {
    lt_engine e;
    lt_group *world, *ring; /* of the same ranks */
    lt_tensor q, k, v, y, lse, k_next, v_next;
    int64_t heads;
    int with_hop, with_attention;
} hop;

static void hop_run(hop *h)
{
    const int rank = lt_group_rank(h->world), size = lt_group_size(h->world);
    const int next = (rank + 1) % size, before = (rank + size - 1) % size;
    lt_tensor_transfer list[4] = {{.peer = next, .send = h->k},
                                  {.peer = next, .send = h->v},
                                  {.peer = before, .recv = h->k_next},
                                  {.peer = before, .recv = h->v_next}};
    lt_event ready, done;
    OK(lt_mark_event(h->e.compute, &ready));
    if (h->with_hop)
        OK(lt_exchange_tensors(&h->e, h->ring, "smoke_hop", &ready, list, 4, &done));
    if (h->with_attention)
        OK(lt_attention(h->e.compute, &h->q, &h->k, &h->v, h->heads, h->heads, 0.088f, 0, 0, &h->y,
                        &h->lse));
    if (h->with_hop)
        OK(lt_wait(h->e.compute, &done));
}

/* Milliseconds of one, on the slowest rank. */
static double hop_time(const smoke *s, hop *h, int with_hop, int with_attention)
{
    enum { TIMES = 10, RANKS_MAX = 1024 };
    static double all[RANKS_MAX];
    double took = 0;
    h->with_hop = with_hop;
    h->with_attention = with_attention;
    for (int round = 0; round < 2; round++) { /* the first one warms up */
        uint8_t here = 1, there[RANKS_MAX];
        OK(lt_all_gather_host(h->world, &here, sizeof here, there)); /* begin together */
        const double began = lt_seconds();
        for (int i = 0; i < (s->tiny ? 1 : TIMES); i++)
            hop_run(h);
        OK(lt_sync(h->e.compute));
        OK(lt_sync(h->e.comm));
        took = 1e3 * (lt_seconds() - began) / TIMES;
    }
    OK(lt_all_gather_host(h->world, &took, sizeof took, all));
    for (int i = 0; i < lt_group_size(h->world); i++)
        took = fmax(took, all[i]);
    return took;
}

static lt_tensor take(hop *h, int64_t rows, int64_t width, float value)
{
    lt_tensor x;
    OK(lt_tensor_new(h->e.phase, "x", LT_BF16, &x, LT_DIMS(rows, width)));
    OK(lt_fill(h->e.compute, &x, value));
    return x;
}

/* What came is what the rank before has. */
static int hop_is_right(hop *h)
{
    const int size = lt_group_size(h->world), rank = lt_group_rank(h->world);
    const lt_tensor tail = lt_view_outer(&h->v_next, (lt_range){lt_row_count(&h->v_next) - 1, 1});
    uint16_t *got = calloc((size_t)lt_elements(&tail), sizeof *got);
    if (got == NULL)
        abort();
    OK(lt_download(h->e.compute, got, &tail));
    OK(lt_sync(h->e.compute));
    const float want = (float)((rank + size - 1) % size + 1);
    uint8_t right = 1, all[1024];
    for (int64_t i = 0; i < lt_elements(&tail); i++)
        right = right && lt_bf16_to_f32(got[i]) == want;
    free(got);
    OK(lt_all_gather_host(h->world, &right, sizeof right, all));
    for (int i = 0; i < size; i++)
        right = right && all[i];
    return right;
}

void smoke_ring(smoke *s)
{
    static const lt_comm_need need = {1 << 20, 1 << 20, 1 << 20};
    const int64_t rows = s->tiny ? 64 : 16384, width = 128;
    hop h = {.heads = s->tiny ? 2 : 8};
    lt_mesh mesh;
    char what[80], value[120], note[80];
    OK(lt_world_open(&h.world));
    if (lt_group_size(h.world) < 2) {
        smoke_row("ring hop beside attention", "", "one rank", "skipped");
        lt_world_close(&h.world);
        return;
    }
    if (s->part->exchange != NULL)
        lt_exchange_register(s->part->exchange);
    OK(lt_mesh_open(h.world, &(lt_mesh_spec){{1, 1, lt_group_size(h.world), 1, 1}}, &mesh));
    h.ring = mesh.axis[LT_AXIS_RING];
    OK(lt_engine_open(s->backend, lt_group_rank(h.world), 1, &mesh,
                      (size_t)(6 * rows * h.heads * width * 2) + ((size_t)64 << 20), 1 << 20,
                      &h.e));
    OK(lt_engine_connect(&h.e, &mesh, &need));
    const float mine = (float)(lt_group_rank(h.world) + 1);
    h.q = take(&h, rows, h.heads * width, 0.5f);
    h.k = take(&h, rows, h.heads * width, 0.25f);
    h.v = take(&h, rows, h.heads * width, mine);
    h.k_next = take(&h, rows, h.heads * width, 0);
    h.v_next = take(&h, rows, h.heads * width, 0);
    h.y = take(&h, rows, h.heads * width, 0);
    OK(lt_tensor_new(h.e.phase, "lse", LT_F32, &h.lse, LT_DIMS(h.heads, rows)));
    const double alone = hop_time(s, &h, 1, 0), attention = hop_time(s, &h, 0, 1);
    const double both = hop_time(s, &h, 1, 1);
    const int right = hop_is_right(&h);
    const char *how = lt_links_find(h.e.links, h.ring)->how->name;
    (void)snprintf(what, sizeof what, "ring hop beside attention, %s, %s CTAs", how,
                   s->ctas != NULL ? s->ctas : "8");
    if (s->tiny)
        (void)snprintf(value, sizeof value, "not timed");
    else
        (void)snprintf(value, sizeof value, "%.3f ms; hop alone %.3f, attention alone %.3f", both,
                       alone, attention);
    const double hidden =
        fmin(alone, attention) > 0 ? (alone + attention - both) / fmin(alone, attention) : 0;
    (void)snprintf(note, sizeof note,
                   right ? "%.0f %% of what can overlap does" : "other values came",
                   100 * fmax(0, hidden));
    if (s->tiny && right)
        (void)snprintf(note, sizeof note, "the right values came");
    if (lt_group_rank(h.world) == 0)
        smoke_row(what, value, note, right ? "ok" : "wrong");
    lt_engine_close(&h.e);
    lt_mesh_close(&mesh);
    lt_world_close(&h.world);
}

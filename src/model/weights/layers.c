/* layers.c - layers of a network that take turns in memory.
 *
 * A slot is a block of the phase arena with an arena of its own in it: a layer is prepared there as
 * it would be in the phase arena. A slot is written once its last layer has computed: what comes by
 * a queue waits for the event `left`; a file's thread is asked when a CPU's compute queue, which
 * runs at once, has passed it. A slot's bytes are kept and come as a whole, so what no block of it
 * covers is set to 0 once: ranks compare what they keep. */
#include "model/weights/layers.h"

#include <assert.h>
#include <stdlib.h>

#include "model/weights/layer_home.h"

enum { SLOTS = LT_LAYER_PLACES };

typedef struct slot {
    lt_memory part; /* the arena's */
    lt_arena *arena;
    void *bytes;
    int64_t holds; /* whose bytes are there, or on their way; -1: nobody's */
    lt_layer_events events;
} slot;

struct lt_layers {
    lt_weights *weights;
    lt_engine *engine;
    const char *what;
    int64_t count, resident;
    size_t layer_bytes;
    lt_mark before; /* layer 0 */
    slot slot[SLOTS];
    lt_layer_home *home;
};

lt_status lt_layers_new(lt_weights *weights, const char *what, int64_t count, lt_layers **out)
{
    lt_engine *engine = lt_weights_engine(weights);
    lt_layers *l = calloc(1, sizeof *l);
    *out = NULL;
    if (l == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for their description", what);
    l->weights = weights;
    l->engine = engine;
    l->what = what;
    l->count = count;
    l->resident = engine->resident_layers;
    if (l->resident < 1 || l->resident > count - SLOTS - 1)
        l->resident = count;
    for (int i = 0; i < SLOTS; i++)
        l->slot[i].holds = -1;
    *out = l;
    return LT_OK;
}

int64_t lt_layers_resident(const lt_layers *l) { return l->resident; }

/* ---- slots ---- */

static int slot_of(const lt_layers *l, int64_t i) { return (int)((i - l->resident) % SLOTS); }

static lt_tensor whole(const lt_layers *l, const slot *s, lt_dtype dtype)
{
    return lt_tensor_wrap(s->bytes, l->what, dtype,
                          LT_DIMS((int64_t)(l->layer_bytes / lt_dtype_bytes(dtype))));
}

/* The slot's block is the arena's memory, as often as it is asked for. */
static lt_status give_block(void *ctx, size_t bytes, void **out)
{
    const slot *s = ctx;
    (void)bytes;
    *out = s->bytes;
    return LT_OK;
}

static void keep_block(void *ctx, void *p, size_t bytes) { (void)ctx, (void)p, (void)bytes; }

static lt_status make_slot(const lt_layers *l, slot *s)
{
    LT_TRY(lt_arena_alloc(l->engine->phase, l->what, l->layer_bytes, &s->bytes));
    s->part = (lt_memory){.name = "layer slot",
                          .ctx = s,
                          .alloc = give_block,
                          .release = keep_block,
                          .host = lt_arena_is_host(l->engine->phase),
                          .is_part = 1};
    lt_tensor all = whole(l, s, LT_F32);
    LT_TRY(lt_fill(l->engine->compute, &all, 0));
    LT_TRY(lt_sync(l->engine->compute));
    return lt_arena_new(l->what, &s->part, l->layer_bytes, &s->arena);
}

static lt_status make_slots(lt_layers *l)
{
    for (int i = 0; i < SLOTS; i++)
        LT_TRY(make_slot(l, &l->slot[i]));
    return lt_layer_home_new(l->engine, l->what, l->layer_bytes, l->count - l->resident, &l->home);
}

/* ---- loading ---- */

lt_status lt_layers_begin(lt_layers *l, int64_t i)
{
    assert(i >= 0 && i < l->count);
    if (i == 0)
        l->before = lt_arena_mark(l->engine->phase);
    if (i == l->resident && l->layer_bytes == 0)
        l->resident = l->count; /* layers of no bytes: nothing is to be had from their turns */
    if (i < l->resident)
        return LT_OK;
    if (i == l->resident)
        LT_TRY(make_slots(l));
    slot *s = &l->slot[slot_of(l, i)];
    lt_arena_release(s->arena, (lt_mark){0});
    lt_weights_into(l->weights, s->arena);
    return LT_OK;
}

lt_status lt_layers_end(lt_layers *l, int64_t i)
{
    lt_weights_into(l->weights, NULL);
    if (i == 0)
        l->layer_bytes = lt_arena_used(l->engine->phase) - l->before.used;
    if (i < l->resident)
        return LT_OK;
    slot *s = &l->slot[slot_of(l, i)];
    const lt_tensor bytes = whole(l, s, LT_I32);
    LT_TRY(lt_layer_home_keep(l->home, &bytes));
    if (!l->engine->backend->is_dry) /* which counts a round like the later ones */
        s->holds = i;
    return LT_OK;
}

lt_status lt_layers_check(lt_layers *l) { return lt_layer_home_check(l->home); }

/* ---- computing ---- */

/* Layer i's bytes begin to come to its slot, if they are not there. */
static lt_status bring(lt_layers *l, int64_t i)
{
    slot *s = &l->slot[slot_of(l, i)];
    const lt_tensor bytes = whole(l, s, LT_I32);
    if (s->holds == i)
        return LT_OK;
    s->holds = i;
    return lt_layer_home_bring(l->home, i - l->resident, slot_of(l, i), &bytes, &s->events);
}

lt_status lt_layers_use(lt_layers *l, int64_t i)
{
    assert(i >= 0 && i < l->count);
    if (l->resident == l->count)
        return LT_OK;
    if (i >= l->resident) {
        LT_TRY(bring(l, i));
        LT_TRY(lt_layer_home_wait(l->home, slot_of(l, i), &l->slot[slot_of(l, i)].events));
    }
    const int is_last = i + 1 == l->count;
    const int64_t next = i + 1 < l->resident || is_last ? l->resident : i + 1;
    if (is_last && !lt_layer_home_may_wait(l->home))
        return LT_OK;
    if (i < l->resident || slot_of(l, next) != slot_of(l, i))
        LT_TRY(bring(l, next));
    return LT_OK;
}

lt_status lt_layers_done(lt_layers *l, int64_t i)
{
    if (i < l->resident)
        return LT_OK;
    return lt_mark_event(l->engine->compute, &l->slot[slot_of(l, i)].events.left);
}

void lt_layers_close(lt_layers **layers)
{
    lt_layers *l = *layers;
    if (l == NULL)
        return;
    lt_layer_home_close(&l->home);
    for (int i = 0; i < SLOTS; i++)
        lt_arena_free(&l->slot[i].arena);
    free(l);
    *layers = NULL;
}

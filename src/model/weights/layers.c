/* layers.c - layers of a network that take turns in memory.
 *
 * A slot is a block of the phase arena with an arena of its own in it: a layer is prepared there as
 * it would be in the phase arena. Who may write a slot: the copy queue once the compute queue has
 * passed the slot's last layer (`left`), or the file's thread, which is asked when a CPU's compute
 * queue, which runs at once, has passed it. A slot's bytes are copied as a whole. */
#include "model/weights/layers.h"

#include <assert.h>
#include <stdlib.h>

#include "model/weights/layer_file.h"

enum { SLOTS = LT_LAYER_PLACES };

typedef struct slot {
    lt_memory part; /* the arena's */
    lt_arena *arena;
    void *bytes;
    int64_t holds;       /* whose bytes are there, or on their way; -1: nobody's */
    lt_event came, left; /* on a device: they are there; its layer has computed */
} slot;

struct lt_layers {
    lt_weights *weights;
    lt_engine *engine;
    const char *what;
    int64_t count, resident;
    size_t layer_bytes;
    lt_mark before; /* layer 0 */
    slot slot[SLOTS];
    lt_layer_file *file; /* beside a CPU */
    char *images;        /* beside a device: [count - resident][layer_bytes] */
    const lt_memory *images_of;
};

static size_t images_bytes(const lt_layers *l)
{
    return l->layer_bytes * (size_t)(l->count - l->resident);
}

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

/* ---- slots and images ---- */

static lt_queue *copy_queue(const lt_layers *l)
{
    return l->engine->copy != NULL ? l->engine->copy : l->engine->compute;
}

static int slot_of(const lt_layers *l, int64_t i) { return (int)((i - l->resident) % SLOTS); }

static lt_tensor whole(const lt_layers *l, const slot *s)
{
    return lt_tensor_wrap(s->bytes, l->what, LT_I32,
                          LT_DIMS((int64_t)(l->layer_bytes / sizeof(int32_t))));
}

static char *image_of(const lt_layers *l, int64_t i)
{
    return l->images != NULL ? l->images + (size_t)(i - l->resident) * l->layer_bytes : NULL;
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
    return lt_arena_new(l->what, &s->part, l->layer_bytes, &s->arena);
}

static lt_status make_slots(lt_layers *l)
{
    const lt_backend *backend = l->engine->backend;
    for (int i = 0; i < SLOTS; i++)
        LT_TRY(make_slot(l, &l->slot[i]));
    if (backend->is_dry) {
        if (!lt_dry_host_access())
            lt_dry_host((int64_t)images_bytes(l));
        return LT_OK;
    }
    if (backend->host_access)
        return lt_layer_file_new(l->layer_bytes, l->count - l->resident, &l->file);
    l->images_of = backend->pinned != NULL ? backend->pinned : &lt_memory_host;
    void *images = NULL;
    LT_TRY(l->images_of->alloc(l->images_of->ctx, images_bytes(l), &images));
    l->images = images;
    return LT_OK;
}

static lt_status keep_image(const lt_layers *l, int64_t i, const slot *s)
{
    if (l->engine->backend->is_dry)
        return LT_OK;
    if (l->file != NULL)
        return lt_layer_file_add(l->file, s->bytes);
    const lt_tensor bytes = whole(l, s);
    LT_TRY(lt_download(copy_queue(l), image_of(l, i), &bytes));
    return lt_sync(copy_queue(l));
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
    LT_TRY(keep_image(l, i, s));
    s->holds = i;
    return LT_OK;
}

/* ---- computing ---- */

/* Layer i's bytes begin to come to its slot, if they are not there. */
static lt_status bring(lt_layers *l, int64_t i)
{
    slot *s = &l->slot[slot_of(l, i)];
    if (s->holds == i)
        return LT_OK;
    s->holds = i;
    if (l->file != NULL) {
        lt_layer_file_ask(l->file, slot_of(l, i), i - l->resident, s->bytes);
        return LT_OK;
    }
    const lt_tensor bytes = whole(l, s);
    LT_TRY(lt_wait(copy_queue(l), &s->left));
    LT_TRY(lt_upload(copy_queue(l), &bytes, image_of(l, i)));
    return lt_mark_event(copy_queue(l), &s->came);
}

static lt_status wait_for(lt_layers *l, int64_t i)
{
    if (l->file != NULL)
        return lt_layer_file_wait(l->file, slot_of(l, i));
    return lt_wait(l->engine->compute, &l->slot[slot_of(l, i)].came);
}

lt_status lt_layers_use(lt_layers *l, int64_t i)
{
    assert(i >= 0 && i < l->count);
    if (l->resident == l->count || l->engine->backend->is_dry)
        return LT_OK;
    if (i >= l->resident) {
        LT_TRY(bring(l, i));
        LT_TRY(wait_for(l, i));
    }
    const int64_t next = i + 1 < l->resident || i + 1 == l->count ? l->resident : i + 1;
    if (i < l->resident || slot_of(l, next) != slot_of(l, i))
        LT_TRY(bring(l, next));
    return LT_OK;
}

lt_status lt_layers_done(lt_layers *l, int64_t i)
{
    if (i < l->resident || l->file != NULL || l->engine->backend->is_dry)
        return LT_OK;
    return lt_mark_event(l->engine->compute, &l->slot[slot_of(l, i)].left);
}

void lt_layers_close(lt_layers **layers)
{
    lt_layers *l = *layers;
    if (l == NULL)
        return;
    lt_queue *const queues[] = {l->engine->compute, l->engine->copy};
    for (size_t i = 0; i < sizeof queues / sizeof *queues; i++)
        if (queues[i] != NULL)
            (void)lt_sync(
                queues[i]); /* a copy may be under way; its error was told where it arose */
    lt_layer_file_close(&l->file);
    if (l->images != NULL)
        l->images_of->release(l->images_of->ctx, l->images, images_bytes(l));
    for (int i = 0; i < SLOTS; i++)
        lt_arena_free(&l->slot[i].arena);
    if (l->engine->backend->is_dry && l->slot[0].bytes != NULL && !lt_dry_host_access())
        lt_dry_host(-(int64_t)images_bytes(l));
    free(l);
    *layers = NULL;
}

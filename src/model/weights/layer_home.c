/* layer_home.c - where the bytes of layers are kept that take turns.
 *
 * Shares of peers are of whole lines of 64 bytes, rank by rank, and lie in the phase arena. A
 * gather is queued behind what the comm queue has; ranks queue alike, so it meets its peers'. */
#include "model/weights/layer_home.h"

#include <assert.h>
#include <stdlib.h>
#include <xxhash.h>

#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"

enum { LINE_BYTES = 64, LINE_WORDS = LINE_BYTES / 4 };

typedef enum kind { PEERS, HOST, FILE_OF_LAYERS, COUNTED } kind;

struct lt_layer_home {
    lt_engine *engine;
    const char *what;
    kind kind;
    size_t bytes;
    int64_t count, kept;
    /* peers */
    lt_group *group;
    int64_t *lines;  /* [ranks]: of each layer */
    lt_tensor share; /* [count, my lines, words] */
    XXH64_hash_t hash;
    /* host */
    char *images; /* [count][bytes] */
    const lt_memory *images_of;
    lt_layer_file *file;
};

static size_t images_bytes(const lt_layer_home *h) { return h->bytes * (size_t)h->count; }

static lt_queue *copy_queue(const lt_layer_home *h)
{
    return h->engine->copy != NULL ? h->engine->copy : h->engine->compute;
}

/* ---- peers ---- */

static lt_tensor as_lines(const lt_layer_home *h, const lt_tensor *layer)
{
    return lt_view_as(layer, LT_DIMS((int64_t)(h->bytes / LINE_BYTES), LINE_WORDS));
}

static lt_range my_lines(const lt_layer_home *h)
{
    return lt_share((int64_t)(h->bytes / LINE_BYTES), lt_group_size(h->group),
                    lt_group_rank(h->group));
}

static lt_tensor my_share(const lt_layer_home *h, int64_t index)
{
    const lt_range mine = my_lines(h);
    return lt_view_outer(&h->share, (lt_range){index * mine.count, mine.count});
}

static lt_status peers_open(lt_layer_home *h)
{
    const int size = lt_group_size(h->group);
    h->lines = calloc((size_t)size, sizeof *h->lines);
    if (h->lines == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for %d ranks' shares", h->what, size);
    for (int r = 0; r < size; r++)
        h->lines[r] = lt_share((int64_t)(h->bytes / LINE_BYTES), size, r).count;
    return lt_tensor_new(h->engine->phase, h->what, LT_I32, &h->share,
                         LT_DIMS(h->count * my_lines(h).count, LINE_WORDS));
}

/* Of all layers in order, as the CPU sees them. */
static lt_status add_to_hash(lt_layer_home *h, const lt_tensor *layer)
{
    void *bytes = malloc(h->bytes);
    if (bytes == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for a copy of one", h->what);
    lt_status st = lt_download(copy_queue(h), bytes, layer);
    if (st == LT_OK)
        st = lt_sync(copy_queue(h));
    if (st == LT_OK)
        h->hash = XXH64(bytes, h->bytes, h->hash);
    free(bytes);
    return st;
}

static lt_status peers_keep(lt_layer_home *h, const lt_tensor *layer)
{
    const lt_tensor lines = as_lines(h, layer), part = lt_view_outer(&lines, my_lines(h));
    lt_tensor share = my_share(h, h->kept);
    LT_TRY(add_to_hash(h, layer));
    LT_TRY(lt_copy(h->engine->compute, &part, &share));
    return lt_sync(h->engine->compute);
}

lt_status lt_layer_home_check(lt_layer_home *h)
{
    if (h == NULL || h->kind != PEERS || h->engine->backend->is_dry)
        return LT_OK;
    const int size = lt_group_size(h->group), rank = lt_group_rank(h->group);
    XXH64_hash_t *all = calloc((size_t)size, sizeof *all);
    lt_status st = all != NULL ? LT_OK
                               : lt_fail(LT_ENOMEM, __FILE__, __LINE__,
                                         "%s: no memory for %d ranks", h->what, size);
    st = lt_agree(h->group, st);
    if (st == LT_OK)
        st = lt_all_gather_host(h->group, &h->hash, sizeof h->hash, all);
    int other = -1;
    for (int r = 0; st == LT_OK && r < size; r++)
        other = all[r] != all[0] ? r : other;
    free(all);
    LT_TRY(st);
    if (other < 0)
        return LT_OK;
    lt_hint("--resident-layers and a mesh without ring and uly read them from each host's disk");
    LT_FAIL(LT_EUNAVAIL,
            "%s: ranks that gather them want the same processor, found other bytes on rank %d of "
            "%d (this is rank %d)",
            h->what, other, size, rank);
}

/* ---- opening ---- */

static kind kind_of(const lt_engine *engine, lt_group *tokens)
{
    const lt_backend *backend = engine->backend;
    if (engine->layers_at_peers && tokens != NULL && lt_group_size(tokens) > 1)
        return PEERS;
    if (backend->is_dry)
        return COUNTED;
    return backend->host_access ? FILE_OF_LAYERS : HOST;
}

/* On dry, what the target would keep layers in. */
static void count(const lt_layer_home *h, int64_t bytes)
{
    assert(h->kind == COUNTED);
    if (lt_dry_host_access())
        lt_dry_disk(bytes);
    else
        lt_dry_host(bytes);
}

static lt_status open_kind(lt_layer_home *h)
{
    void *images = NULL;
    if (h->kind == PEERS)
        return peers_open(h);
    if (h->kind == COUNTED)
        count(h, (int64_t)images_bytes(h));
    if (h->kind == FILE_OF_LAYERS)
        return lt_layer_file_new(h->bytes, h->count, &h->file);
    if (h->kind != HOST)
        return LT_OK;
    const lt_memory *pinned = h->engine->backend->pinned;
    h->images_of = pinned != NULL ? pinned : &lt_memory_host;
    LT_TRY(h->images_of->alloc(h->images_of->ctx, images_bytes(h), &images));
    h->images = images;
    return LT_OK;
}

lt_status lt_layer_home_new(lt_engine *engine, const char *what, size_t bytes, int64_t count,
                            lt_layer_home **out)
{
    assert(bytes % LINE_BYTES == 0);
    lt_group *tokens = engine->mesh != NULL ? engine->mesh->tokens : NULL;
    lt_layer_home *h = calloc(1, sizeof *h);
    *out = NULL;
    if (h == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for their description", what);
    *h = (lt_layer_home){.engine = engine,
                         .what = what,
                         .kind = kind_of(engine, tokens),
                         .bytes = bytes,
                         .count = count,
                         .group = tokens};
    const lt_status st = open_kind(h);
    *out = h;
    if (st != LT_OK)
        lt_layer_home_close(out);
    return st;
}

/* ---- bytes go, and come ---- */

lt_status lt_layer_home_keep(lt_layer_home *h, const lt_tensor *layer)
{
    assert(h->kept < h->count);
    lt_status st = LT_OK;
    if (h->kind == COUNTED)
        return LT_OK;
    if (h->kind == PEERS && h->engine->backend->is_dry) {
        lt_dry_host((int64_t)h->bytes); /* it comes and goes */
        lt_dry_host(-(int64_t)h->bytes);
    } else if (h->kind == PEERS) {
        st = peers_keep(h, layer);
    } else if (h->kind == FILE_OF_LAYERS) {
        st = lt_layer_file_add(h->file, layer->data);
    } else {
        st = lt_download(copy_queue(h), h->images + (size_t)h->kept * h->bytes, layer);
        if (st == LT_OK)
            st = lt_sync(copy_queue(h));
    }
    h->kept++;
    return st;
}

lt_status lt_layer_home_bring(lt_layer_home *h, int64_t index, int place, const lt_tensor *to,
                              lt_layer_events *events)
{
    if (h->kind == COUNTED)
        return LT_OK;
    if (h->kind == PEERS) {
        lt_tensor lines = as_lines(h, to);
        const lt_tensor share = my_share(h, index);
        return lt_all_gather_rows(h->engine, h->group, &events->left, &share, h->lines, &lines,
                                  &events->came);
    }
    if (h->kind == FILE_OF_LAYERS) {
        lt_layer_file_ask(h->file, place, index, to->data);
        return LT_OK;
    }
    LT_TRY(lt_wait(copy_queue(h), &events->left));
    LT_TRY(lt_upload(copy_queue(h), to, h->images + (size_t)index * h->bytes));
    return lt_mark_event(copy_queue(h), &events->came);
}

lt_status lt_layer_home_wait(lt_layer_home *h, int place, const lt_layer_events *events)
{
    if (h->kind == COUNTED)
        return LT_OK;
    if (h->kind == FILE_OF_LAYERS)
        return lt_layer_file_wait(h->file, place);
    return lt_wait(h->engine->compute, &events->came);
}

/* A host collective over the group may come between two rounds (collective.h). */
int lt_layer_home_may_wait(const lt_layer_home *h) { return h->kind != PEERS; }

void lt_layer_home_close(lt_layer_home **home)
{
    lt_layer_home *h = *home;
    if (h == NULL)
        return;
    lt_queue *const queues[] = {h->engine->compute, h->engine->comm, h->engine->copy};
    for (size_t i = 0; i < sizeof queues / sizeof *queues; i++)
        if (queues[i] != NULL)
            (void)lt_sync(queues[i]); /* its error was told where it arose */
    lt_layer_file_close(&h->file);
    if (h->images != NULL)
        h->images_of->release(h->images_of->ctx, h->images, images_bytes(h));
    if (h->kind == COUNTED)
        count(h, -(int64_t)images_bytes(h));
    free(h->lines);
    free(h);
    *home = NULL;
}

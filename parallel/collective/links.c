/* links.c - which exchange a group uses.
 *
 * Each rank names the first exchange that fits: registered ones, then its backend's own (direct or
 * staged, whose messages are the same). Ranks that name different ones are refused: they would wait
 * for each other, and nobody would notice a slower one that nobody asked for. One that all name may
 * find, as it connects, that it cannot serve this group (two ranks on one GPU): then all of the
 * group take the backend's own, and the reason is printed once.
 * A group that was never connected (tests, a bench's own groups) uses a link of the engine's that
 * knows no group. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "parallel/collective/exchange.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"

enum { REGISTERED_MAX = 4, LINKS_MAX = 32 };

static const lt_device_exchange *registered[REGISTERED_MAX];
static int registered_count;

struct lt_links {
    const lt_backend *backend;
    lt_comm_memory *memory;
    lt_link *usual, *link[LINKS_MAX];
    int count;
};

void lt_exchange_register(const lt_device_exchange *how)
{
    for (int i = 0; i < registered_count; i++)
        if (registered[i] == how)
            return;
    assert(registered_count < REGISTERED_MAX);
    registered[registered_count++] = how;
}

static const lt_device_exchange *own_exchange(const lt_backend *backend)
{
    static const lt_device_exchange *const own[] = {&lt_exchange_dry, &lt_exchange_direct,
                                                    &lt_exchange_staged};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (own[i]->fits(NULL, backend))
            return own[i];
    assert(0); /* staged takes every backend that computes */
    return NULL;
}

lt_status lt_links_new(const lt_backend *backend, lt_comm_memory *memory, lt_links **out)
{
    lt_links *links = calloc(1, sizeof *links);
    if (links == NULL)
        LT_FAIL(LT_ENOMEM, "comm: no memory for links");
    links->backend = backend;
    links->memory = memory;
    const lt_status st = own_exchange(backend)->open(NULL, backend, memory, &links->usual);
    if (st != LT_OK)
        free(links);
    LT_TRY(st);
    *out = links;
    return LT_OK;
}

void lt_links_free(lt_links **links)
{
    lt_links *l = *links;
    if (l == NULL)
        return;
    for (int i = 0; i < l->count; i++)
        l->link[i]->how->close(&l->link[i]);
    l->usual->how->close(&l->usual);
    free(l);
    *links = NULL;
}

static const char *exchange_name(int chosen)
{
    return chosen < 0 ? "its backend's own" : registered[chosen]->name;
}

/* The same on all ranks of group: a registered exchange by its number, -1: the backend's own. */
static lt_status agree_on_exchange(const lt_backend *backend, lt_group *group, int *out)
{
    enum { RANKS_MAX_HERE = 4096 };
    const int size = lt_group_size(group);
    int32_t mine = -1;
    for (int i = registered_count - 1; i >= 0; i--)
        if (registered[i]->fits(group, backend))
            mine = i;
    *out = mine;
    int32_t *all = size <= RANKS_MAX_HERE ? calloc((size_t)size, sizeof *all) : NULL;
    LT_TRY(lt_agree(group, all != NULL ? LT_OK
                                       : lt_fail(LT_ENOMEM, __FILE__, __LINE__,
                                                 "comm: no memory for %d ranks", size)));
    lt_status st = lt_all_gather_host(group, &mine, sizeof mine, all);
    for (int i = 1; st == LT_OK && i < size; i++)
        if (all[i] != all[0]) /* the same words on all ranks */
            LT_FAIL_GOTO(LT_EUNAVAIL, st, done,
                         "comm: a group of %d ranks: want one way for tensors, found %s (its rank "
                         "0) and %s (its rank %d)",
                         size, exchange_name(all[0]), exchange_name(all[i]), i);
done:
    free(all);
    return st;
}

lt_status lt_links_connect(lt_links *links, lt_group *group, char *without, size_t bytes)
{
    int chosen = -1;
    without[0] = '\0';
    if (links->backend->is_dry || lt_group_size(group) == 1)
        return LT_OK;
    for (int i = 0; i < links->count; i++)
        if (links->link[i]->group == group)
            return LT_OK;
    LT_TRY(agree_on_exchange(links->backend, group, &chosen));
    if (chosen < 0)
        return LT_OK; /* the usual link serves it */
    if (links->count == LINKS_MAX)
        LT_FAIL(LT_EINTERNAL, "comm: more than %d groups are connected", LINKS_MAX);
    const lt_status st =
        registered[chosen]->open(group, links->backend, links->memory, &links->link[links->count]);
    if (st == LT_EUNAVAIL) {
        (void)snprintf(without, bytes, "%s", lt_error_text());
        lt_error_clear();
        return LT_OK;
    }
    LT_TRY(st);
    links->count++;
    return LT_OK;
}

size_t lt_links_device_bytes(const lt_backend *backend, const lt_group *group)
{
    if (group == NULL || lt_group_size(group) == 1)
        return 0;
    for (int i = 0; i < registered_count; i++)
        if (registered[i]->fits(group, backend))
            return registered[i]->device_bytes != NULL ? registered[i]->device_bytes(group) : 0;
    return 0;
}

lt_link *lt_links_find(lt_links *links, lt_group *group)
{
    for (int i = 0; i < links->count; i++)
        if (links->link[i]->group == group)
            return links->link[i];
    links->usual->group = group;
    return links->usual;
}

const char *lt_links_name(const lt_links *links, const lt_group *group)
{
    for (int i = 0; i < links->count; i++)
        if (links->link[i]->group == group)
            return links->link[i]->how->name;
    return links->usual->how->name;
}

static void abort_link(lt_link *link)
{
    if (link->how->abort != NULL)
        link->how->abort(link);
}

void lt_links_abort(lt_links *links)
{
    for (int i = 0; i < links->count; i++)
        abort_link(links->link[i]);
    abort_link(links->usual);
}

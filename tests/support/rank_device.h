/* rank_device.h - which backends the tests of collectives run on.
 * cpu and far, each over direct or staged exchange; or, where a build says LT_TEST_DEVICE
 * (tests/emu/nccl), that backend alone, over NCCL's exchange. */
#ifndef LT_TEST_RANK_DEVICE_H
#define LT_TEST_RANK_DEVICE_H

#include "parallel/collective/exchange.h"
#include "tests/support/ranks.h"

#ifdef LT_TEST_DEVICE
extern const lt_backend LT_TEST_DEVICE;
extern const lt_device_exchange lt_exchange_nccl;
static const lt_backend *const rank_backends[] = {&LT_TEST_DEVICE};
#else
static const lt_backend *const rank_backends[] = {&lt_backend_cpu, &lt_backend_far};
#endif
enum { RANK_BACKENDS = sizeof rank_backends / sizeof *rank_backends };

/* Each rank has a device of its own. */
static inline int rank_device(void) { return lt_group_rank(world); }

/* After lt_engine_open: this group's tensors go by the exchange that is tested. Collective on it.
 */
static inline void rank_connect(lt_engine *e, lt_group *group)
{
#ifdef LT_TEST_DEVICE
    char without[256];
    if (e->backend != &LT_TEST_DEVICE)
        return;
    lt_exchange_register(&lt_exchange_nccl);
    OK(lt_links_connect(e->links, group, without, sizeof without));
    if (lt_group_size(group) > 1 && lt_links_find(e->links, group)->how != &lt_exchange_nccl)
        stop("connect", without, __LINE__);
#else
    (void)e, (void)group;
#endif
}

#endif

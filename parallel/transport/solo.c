/* solo.c - one rank: every exchange is a copy to oneself. */
#include <assert.h>
#include <stdlib.h>

#include "parallel/transport/transport_impl.h"

static const lt_transport solo;

static lt_status new_group(lt_group **out)
{
    lt_group *group = malloc(sizeof *group);
    if (group == NULL)
        LT_FAIL(LT_ENOMEM, "solo transport: no memory for a group");
    *group = (lt_group){.transport = &solo, .rank = 0, .size = 1, .world_size = 1};
    *out = group;
    return LT_OK;
}

static lt_status solo_split(lt_group *parent, const int *ranks, int count, lt_group **out)
{
    (void)parent;
    assert(count == 1 && ranks[0] == 0);
    return new_group(out);
}

static void solo_free(lt_group *group) { free(group); }

static lt_status solo_exchange(lt_group *group, const lt_transfer *list, int count,
                               const lt_host_call *call)
{
    (void)call;
    lt_self_copy(list, count, group->rank);
    return LT_OK;
}

static lt_status solo_request_begin(lt_group *group, int peer, int tag, void *data, size_t bytes,
                                    int is_send, lt_request **out)
{
    (void)group, (void)peer, (void)data, (void)bytes, (void)is_send, (void)out;
    LT_FAIL(LT_EINTERNAL, "solo transport: message with tag %d, but there is no other rank", tag);
}

static lt_status solo_request_test(lt_request **request, int *done)
{
    (void)request;
    *done = 1;
    return LT_OK;
}

static void solo_request_drop(lt_request **request) { (void)request; }

static lt_status solo_request_probe(lt_group *group, int tag, int *peer)
{
    (void)group, (void)tag;
    *peer = -1;
    return LT_OK;
}

static void solo_close(void) {}
static void solo_abort(int exit_code) { (void)exit_code; }

static const lt_transport solo = {"solo",
                                  solo_split,
                                  solo_free,
                                  solo_exchange,
                                  solo_request_begin,
                                  solo_request_test,
                                  solo_request_drop,
                                  solo_request_probe,
                                  solo_close,
                                  solo_abort};

lt_status lt_solo_open(lt_group **world) { return new_group(world); }

/* group.c - what is done with a group, whichever transport carries it. */
#include <assert.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "parallel/transport/detected.h"
#include "parallel/transport/op_record.h"
#include "parallel/transport/traffic.h"
#include "parallel/transport/transport_impl.h"

void lt_traffic_count(const lt_group *group, const lt_transfer *list, int count)
{
    for (int i = 0; i < count; i++)
        if (list[i].peer != group->rank)
            lt_traffic_add(list[i].send_bytes, list[i].recv_bytes);
}

void lt_self_copy(const lt_transfer *list, int count, int rank)
{
    int from = 0;
    for (int to = 0; to < count; to++) {
        if (list[to].peer != rank || list[to].recv_bytes == 0)
            continue;
        while (from < count && (list[from].peer != rank || list[from].send_bytes == 0))
            from++;
        assert(from < count && list[from].send_bytes == list[to].recv_bytes);
        if (list[from].send != list[to].recv)
            memmove(list[to].recv, list[from].send, list[to].recv_bytes);
        from++;
    }
}

void lt_group_name(lt_group *group, const char *axis)
{
    if (group != NULL)
        group->axis = axis;
}

int lt_group_rank(const lt_group *group) { return group->rank; }
int lt_group_size(const lt_group *group) { return group->size; }
const char *lt_group_transport(const lt_group *group) { return group->transport->name; }

lt_status lt_group_split(lt_group *parent, const int *ranks, int count, lt_group **out)
{
    assert(count >= 1 && count <= parent->size);
    for (int i = 0; i < count; i++)
        assert(ranks[i] >= 0 && ranks[i] < parent->size);
    *out = NULL;
    return parent->transport->split(parent, ranks, count, out);
}

void lt_group_free(lt_group **group)
{
    if (*group != NULL)
        (*group)->transport->free_group(*group);
    *group = NULL;
}

lt_status lt_exchange(lt_group *group, const lt_transfer *list, int count, const lt_host_call *call)
{
    for (int i = 0; i < count; i++)
        assert(list[i].peer >= 0 && list[i].peer < group->size);
    lt_traffic_count(group, list, count);
    lt_operation_begin("exchange", group->axis, call);
    const lt_status st = group->transport->exchange(group, list, count, call);
    lt_operation_end(call);
    return st;
}

lt_status lt_request_send(lt_group *group, int peer, int tag, const void *data, size_t bytes,
                          lt_request **out)
{
    assert(peer >= 0 && peer < group->size && tag >= 0 && tag < 1024);
    if (peer != group->rank)
        lt_traffic_add(bytes, 0);
    /* The one verb of both directions takes void *: a send only reads. */
    return group->transport->request_begin(group, peer, tag, (void *)(uintptr_t)data, bytes, 1,
                                           out);
}

lt_status lt_request_recv(lt_group *group, int peer, int tag, void *data, size_t bytes,
                          lt_request **out)
{
    assert(peer >= 0 && peer < group->size && tag >= 0 && tag < 1024);
    if (peer != group->rank)
        lt_traffic_add(0, bytes);
    return group->transport->request_begin(group, peer, tag, data, bytes, 0, out);
}

static const lt_transport *carrier(const lt_request *request)
{
    return ((const lt_request_head *)request)->transport;
}

lt_status lt_request_test(lt_request **request, int *done)
{
    *done = 1;
    if (*request == NULL)
        return LT_OK;
    return carrier(*request)->request_test(request, done);
}

/* As long as a short message may be on its way, a sleep costs more than it does: yield. */
static lt_status wait_for(lt_request **request)
{
    static const double patience_s = 5e-4;
    const double start = lt_seconds();
    for (;;) {
        int done = 0;
        LT_TRY(lt_request_test(request, &done));
        if (done)
            return LT_OK;
        const double waited = lt_seconds() - start;
        if (waited > LT_PEER_SILENCE_SECONDS &&
            lt_detected_since_progress_s() > LT_PEER_SILENCE_SECONDS)
            LT_FAIL(LT_EPEER, "a peer sent nothing for %d s: it is gone or stuck",
                    LT_PEER_SILENCE_SECONDS);
        if (waited < patience_s)
            sched_yield();
        else
            nanosleep(&(struct timespec){0, 200000}, NULL);
    }
}

lt_status lt_request_probe(lt_group *group, int tag, int *peer)
{
    assert(tag >= 0 && tag < 1024);
    return group->transport->request_probe(group, tag, peer);
}

lt_status lt_request_wait(lt_request **request)
{
    if (*request == NULL)
        return LT_OK;
    lt_operation_begin("wait for a message", NULL, NULL);
    const lt_status st = wait_for(request);
    lt_operation_end(NULL);
    LT_TRY(st);
    return LT_OK;
}

void lt_request_drop(lt_request **request)
{
    if (*request != NULL)
        carrier(*request)->request_drop(request);
    *request = NULL;
}

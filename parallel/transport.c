/* transport.c - picks a transport at start and passes calls on.                   Level 2: parallel
 * MPI is initialised only under a launcher: a program started alone must not depend on an MPI
 * runtime that can find nothing to talk to, and starts 0.3 s sooner. */
#include <assert.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/new_file.h"
#include "parallel/comm.h"
#include "parallel/launcher.h"
#include "parallel/transport_impl.h"
#include "parallel/watch_impl.h"

static const lt_transport *world_transport;
static int world_size;
static _Atomic uint64_t sent, received, calls;
static _Thread_local uint64_t sent_here;

void lt_traffic_add(uint64_t sent_bytes, uint64_t received_bytes)
{
    if (sent_bytes == 0 && received_bytes == 0)
        return;
    atomic_fetch_add(&sent, sent_bytes);
    atomic_fetch_add(&received, received_bytes);
    atomic_fetch_add(&calls, 1);
    sent_here += sent_bytes;
}

uint64_t lt_traffic_of_thread(void) { return sent_here; }

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

int lt_world_size(void) { return world_size; }

lt_traffic lt_traffic_read(void)
{
    return (lt_traffic){atomic_load(&sent), atomic_load(&received), atomic_load(&calls)};
}

void lt_traffic_reset(void)
{
    atomic_store(&sent, 0);
    atomic_store(&received, 0);
    atomic_store(&calls, 0);
}

const char *lt_transport_library(void)
{
#ifdef LT_HAVE_MPI
    return lt_mpi_library();
#else
    return "none";
#endif
}

lt_status lt_world_open(lt_group **world)
{
    lt_status st = LT_OK;
    assert(world_transport == NULL);
    if (!lt_launcher_find().speaks_mpi) {
        LT_TRY(lt_launcher_check(1));
        LT_TRY(lt_solo_open(world));
    } else {
#ifdef LT_HAVE_MPI
        st = lt_mpi_open(world);
#else
        lt_hint("build with -DLT_MPI=ON, or start longtake without a launcher");
        LT_FAIL(LT_EUNAVAIL, "started by an MPI launcher, but this build has no MPI");
#endif
    }
    if (*world != NULL) { /* also after a failure, so that it can be aborted */
        world_transport = (*world)->transport;
        world_size = (*world)->size;
    }
    LT_TRY(st);
    return LT_OK;
}

void lt_world_close(lt_group **world)
{
    if (*world == NULL)
        return;
    const lt_transport *transport = (*world)->transport;
    transport->free_group(*world);
    *world = NULL;
    transport->close();
    world_transport = NULL;
    world_size = 0;
}

void lt_world_abort(int exit_code)
{
    lt_new_file_abandon();
    if (world_transport != NULL)
        world_transport->abort(exit_code);
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
    lt_note_begin("exchange", group->axis, call);
    const lt_status st = group->transport->exchange(group, list, count, call);
    lt_note_end(call);
    return st;
}

lt_status lt_post_send(lt_group *group, int peer, int tag, const void *data, size_t bytes,
                       lt_post **out)
{
    assert(peer >= 0 && peer < group->size && tag >= 0 && tag < 1024);
    if (peer != group->rank)
        lt_traffic_add(bytes, 0);
    /* The one verb of both directions takes void *: a send only reads. */
    return group->transport->post(group, peer, tag, (void *)(uintptr_t)data, bytes, 1, out);
}

lt_status lt_post_recv(lt_group *group, int peer, int tag, void *data, size_t bytes, lt_post **out)
{
    assert(peer >= 0 && peer < group->size && tag >= 0 && tag < 1024);
    if (peer != group->rank)
        lt_traffic_add(0, bytes);
    return group->transport->post(group, peer, tag, data, bytes, 0, out);
}

lt_status lt_post_test(lt_post **post, int *done)
{
    *done = 1;
    if (*post == NULL)
        return LT_OK;
    return world_transport->post_test(post, done);
}

static lt_status wait_for(lt_post **post)
{
    const double start = lt_seconds();
    for (int spins = 0;; spins++) {
        int done = 0;
        LT_TRY(lt_post_test(post, &done));
        if (done)
            return LT_OK;
        if (lt_seconds() - start > LT_PEER_SILENCE_SECONDS &&
            lt_watch_quiet_s() > LT_PEER_SILENCE_SECONDS)
            LT_FAIL(LT_EPEER, "a peer sent nothing for %d s: it is gone or stuck",
                    LT_PEER_SILENCE_SECONDS);
        if (spins < 64)
            sched_yield();
        else
            nanosleep(&(struct timespec){0, 200000}, NULL);
    }
}

lt_status lt_post_probe(lt_group *group, int tag, int *peer)
{
    assert(tag >= 0 && tag < 1024);
    return group->transport->post_probe(group, tag, peer);
}

lt_status lt_post_wait(lt_post **post)
{
    if (*post == NULL)
        return LT_OK;
    lt_note_message();
    const lt_status st = wait_for(post);
    lt_note_end(NULL);
    LT_TRY(st);
    return LT_OK;
}

void lt_post_drop(lt_post **post)
{
    if (*post != NULL)
        world_transport->post_drop(post);
    *post = NULL;
}

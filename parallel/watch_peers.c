/* watch_peers.c - whom a rank watches, and how it sees their processes.           Level 2: parallel
 */
#include <sys/syscall.h>
#include <unistd.h>

#include "parallel/watch_impl.h"

enum { ALL_PEERS_MAX = 64 };

int lt_watch_is_near(int from, int to, int size)
{
    const int ahead = (to - from + size) % size, back = size - ahead;
    return size <= ALL_PEERS_MAX || (ahead & (ahead - 1)) == 0 || (back & (back - 1)) == 0;
}

int lt_watch_process(const lt_watch_peer *peer, const lt_watch_peer *me)
{
#ifdef SYS_pidfd_open
    if (peer->place == me->place && peer->pid != me->pid)
        return (int)syscall(SYS_pidfd_open, peer->pid, 0);
#endif
    (void)peer, (void)me;
    return -1;
}

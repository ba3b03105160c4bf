/* peers.c - which ranks a rank watches, and how it sees their processes. */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "parallel/liveness/detector_impl.h"

enum { ALL_PEERS_MAX = 64 };

int lt_detector_is_near(int from, int to, int size)
{
    const int ahead = (to - from + size) % size, back = size - ahead;
    return size <= ALL_PEERS_MAX || (ahead & (ahead - 1)) == 0 || (back & (back - 1)) == 0;
}

int lt_detector_process(const lt_detector_peer *peer, const lt_detector_peer *me)
{
#ifdef SYS_pidfd_open
    if (lt_host_shares_processes(&peer->host, &me->host) && peer->pid != me->pid)
        return (int)syscall(SYS_pidfd_open, peer->pid, 0);
#endif
    (void)peer, (void)me;
    return -1;
}

/* proc(5): "TID (NAME) STATE ...". */
static int is_runnable_detector(const char *stat_path)
{
    static const char name[] = "(" LT_DETECTOR_THREAD ") ";
    char text[128] = "";
    FILE *f = fopen(stat_path, "re");
    if (f == NULL)
        return 0;
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    (void)fclose(f);
    const char *found = strstr(text, name);
    return found != NULL && found[sizeof name - 1] == 'R';
}

int lt_detector_is_starved(int pid)
{
    char path[sizeof "/proc//task//stat" + 24 + sizeof((struct dirent *)0)->d_name];
    int starved = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    if (tasks == NULL)
        return 0;
    for (struct dirent *e; !starved && (e = readdir(tasks)) != NULL;) {
        (void)snprintf(path, sizeof path, "/proc/%d/task/%s/stat", pid, e->d_name);
        starved = is_runnable_detector(path);
    }
    (void)closedir(tasks);
    return starved;
}

/* fail_nth.c - finds the place of a call, counts it, says whether it fails. See fail_nth.h. */
#include "tests/faults/fail_nth.h"

#include <dirent.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { DEPTH = 48 };

fail_map *fail_now;
atomic_long fail_held;

extern const char __executable_start, etext;

static pid_t watched; /* this process, not a child of it */
static _Thread_local int inside;

/* The innermost frames that lie in our program, without this file's and its wrappers'. */
static int frames_here(uintptr_t *out)
{
    void *all[DEPTH];
    const int n = backtrace(all, DEPTH);
    int kept = 0, skip = 3; /* frames_here, fail_here, the wrapper */
    for (int i = 0; i < n && kept < FAIL_FRAMES; i++) {
        const uintptr_t at = (uintptr_t)all[i];
        if (at < (uintptr_t)&__executable_start || at > (uintptr_t)&etext)
            continue;
        if (skip > 0)
            skip--;
        else
            out[kept++] = at - (uintptr_t)&__executable_start;
    }
    return kept;
}

static uint64_t key_of(int kind, const char *call, const uintptr_t *frames)
{
    uint64_t key = 1469598103934665603u + (uint64_t)kind; /* FNV-1a */
    for (const char *c = call; *c != '\0'; c++)
        key = (key ^ (unsigned char)*c) * 1099511628211u;
    for (int i = 0; i < FAIL_FRAMES; i++)
        for (int b = 0; b < 8; b++)
            key = (key ^ (frames[i] >> (8 * b) & 255)) * 1099511628211u;
    return key == 0 ? 1 : key;
}

static fail_site *site_of(uint64_t key, int kind, const char *call, const uintptr_t *frames)
{
    for (size_t i = 0; i < FAIL_SITES_MAX; i++) {
        fail_site *s = &fail_now->site[(key + i) % FAIL_SITES_MAX];
        uint64_t found = atomic_load(&s->key);
        if (found == 0 && atomic_compare_exchange_strong(&s->key, &found, key)) {
            s->kind = kind;
            s->order = atomic_fetch_add(&fail_now->places, 1) + 1;
            s->of_child = watched != 0 && getpid() != watched;
            (void)snprintf(s->call, sizeof s->call, "%s", call);
            memcpy(s->frames, frames, sizeof s->frames);
            return s;
        }
        if (found == key)
            return s;
    }
    return NULL;
}

int fail_here(fail_kind kind, const char *call)
{
    uintptr_t frames[FAIL_FRAMES] = {0};
    if (fail_now == NULL || inside)
        return 0;
    inside = 1;
    fail_map *m = fail_now;
    const int nth = atomic_fetch_add(&m->calls[kind], 1) + 1;
    int fails = m->mode == FAIL_NTH && m->kind == (int)kind && nth == m->occurrence;
    if (m->mode != FAIL_NTH && frames_here(frames) > 0) {
        const uint64_t key = key_of((int)kind, call, frames);
        fail_site *s = site_of(key, (int)kind, call, frames);
        const int count = s != NULL ? atomic_fetch_add(&s->count, 1) + 1 : 0;
        if (m->mode != FAIL_NEVER && key == m->key && count == m->occurrence)
            fails = 1;
        if (m->mode == FAIL_ONWARDS && m->kind == (int)kind && atomic_load(&m->tripped))
            fails = 1;
    }
    if (fails) {
        atomic_store(&m->tripped, 1);
        (void)atomic_fetch_add(&m->hits, 1);
    }
    inside = 0;
    return fails;
}

static int open_files(void)
{
    int n = 0;
    inside = 1;
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL)
        return -1;
    while (readdir(dir) != NULL)
        n++;
    (void)closedir(dir);
    return n;
}

static void at_end(void)
{
    if (fail_now == NULL || getpid() != watched)
        return;
    fail_now->open_files = open_files();
    atomic_store(&fail_now->ended, 1);
}

void fail_at_exit(void)
{
    if (fail_now != NULL && getpid() == watched)
        atomic_store(&fail_now->ended, 2);
}

static void __attribute__((constructor)) begin(void)
{
    void *warm[2];
    char path[600];
    const char *name = getenv("LT_FAULTY"), *rank = getenv("OMPI_COMM_WORLD_RANK");
    (void)backtrace(warm, 2); /* it loads a library the first time */
    if (name == NULL)
        return;
    (void)snprintf(path, sizeof path, "%s%s%s", name, rank != NULL ? "." : "",
                   rank != NULL ? rank : "");
    const int file = open(path, O_RDWR | O_CLOEXEC);
    if (file < 0)
        return;
    void *map = mmap(NULL, sizeof(fail_map), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    (void)close(file);
    if (map == MAP_FAILED)
        return;
    watched = getpid();
    (void)atexit(at_end);
    fail_now = map;
}

/* fault.c - faults that tests put into a rank. */
#include "base/fault.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/env.h"
#include "base/stop.h"

enum { WORD_BYTES = 16, WAIT_MS_MAX = 60000, LOOK_MS = 5 };

typedef struct fault {
    int rank;
    char where[WORD_BYTES], kind[WORD_BYTES];
} fault;

static int read_fault(fault *out)
{
    const char *text = lt_env("LONGTAKE_FAULT");
    return text != NULL &&
           sscanf(text, "%d:%15[^:]:%15[a-z]", &out->rank, out->where, out->kind) == 3;
}

int lt_fault_hangs(void)
{
    fault f;
    return read_fault(&f) && strcmp(f.kind, "hang") == 0;
}

int lt_fault_is(int rank, const char *kind)
{
    fault f;
    return read_fault(&f) && f.rank == rank && strcmp(f.where, "0") == 0 &&
           strcmp(f.kind, kind) == 0;
}

static void nap(long ms)
{
    (void)nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

lt_status lt_fault_at(int rank, const char *where)
{
    fault f;
    if (!read_fault(&f) || f.rank != rank || strcmp(f.where, where) != 0)
        return LT_OK;
    /* Its peers leave the step's agreement by themselves: with time for that they are found in what
     * the rank never comes to. */
    if (strcmp(f.kind, "kill") == 0) {
        nap(500);
        (void)raise(SIGKILL);
    }
    if (strcmp(f.kind, "stop") == 0)
        (void)raise(SIGSTOP);
    while (strcmp(f.kind, "hang") == 0)
        (void)pause();
    for (int ms = 0; strcmp(f.kind, "wait") == 0 && !lt_stop_asked() && ms < WAIT_MS_MAX;
         ms += LOOK_MS)
        nap(LOOK_MS);
    if (strcmp(f.kind, "error") == 0)
        LT_FAIL(LT_EDEVICE, "a fault that LONGTAKE_FAULT asked for");
    return LT_OK;
}

lt_status lt_fault_step(int rank, int step)
{
    char where[WORD_BYTES];
    (void)snprintf(where, sizeof where, "%d", step);
    return lt_fault_at(rank, where);
}

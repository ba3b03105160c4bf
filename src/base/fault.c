/* fault.c - faults that tests put into a rank. */
#include "base/fault.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/env.h"

int lt_fault_hangs(void)
{
    int rank = 0, step = 0;
    char kind[16];
    const char *text = lt_env("LONGTAKE_FAULT");
    return text != NULL && sscanf(text, "%d:%d:%15[a-z]", &rank, &step, kind) == 3 &&
           strcmp(kind, "hang") == 0;
}

static int fault_of(int rank, int *step, char kind[16])
{
    const char *text = lt_env("LONGTAKE_FAULT");
    int who = -1;
    return text != NULL && sscanf(text, "%d:%d:%15[a-z]", &who, step, kind) == 3 && who == rank;
}

int lt_fault_is(int rank, const char *kind)
{
    int step = 0;
    char found[16];
    return fault_of(rank, &step, found) && step == 0 && strcmp(found, kind) == 0;
}

lt_status lt_fault_step(int rank, int step)
{
    int wanted = 0;
    char kind[16];
    if (!fault_of(rank, &wanted, kind) || wanted != step)
        return LT_OK;
    /* Its peers leave the step's agreement by themselves: with time for that they are found in what
     * the rank never comes to. */
    if (strcmp(kind, "kill") == 0) {
        (void)nanosleep(&(struct timespec){0, 500000000}, NULL);
        (void)raise(SIGKILL);
    }
    if (strcmp(kind, "stop") == 0)
        (void)raise(SIGSTOP);
    while (strcmp(kind, "hang") == 0)
        (void)pause();
    if (strcmp(kind, "error") == 0)
        LT_FAIL(LT_EDEVICE, "a fault that LONGTAKE_FAULT asked for");
    return LT_OK;
}

/* mpi_start.c - until all ranks have come.
 *
 * MPI_Init waits for every process of the launch, for ever: for one that never calls it (another
 * program in a rank's place, one that ended) no less than for a slow one. So do the collectives
 * that make the first communicators, and the detector (detector.c) needs those. Therefore a thread
 * of its own keeps the time: while MPI waits no other thread can. Once the ranks are in MPI, each
 * reports to rank 0 by a message of fixed size, so that rank 0 knows which are missing, and rank 0
 * answers each with a word to go on.
 *
 * Rank 0 prints first; the others wait two seconds longer, since rank 0 may be the one that is
 * missing. Nothing is received before its size is known (mpi.c). */
#include <mpi.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/env.h"
#include "base/leave.h"
#include "base/stop.h"
#include "parallel/transport/launcher.h"
#include "parallel/transport/mpi_impl.h"

enum { TAG_HERE = 1, TAG_GO = 2, LIMIT_S = 60, LIMIT_S_MAX = 1 << 20 };

static MPI_Comm all = MPI_COMM_NULL; /* of the launch */
static struct {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    int running, over, limit_s;
    atomic_int called, rank, size;
    atomic_char *here; /* [size]; rank 0, once it calls */
} s = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* What a rank reports. The same for every version, so that versions can tell each other apart. */
static const char greeting[32] = "longtake rank 1";

static int limit_of(void)
{
    const char *text = lt_env("LONGTAKE_START_SECONDS");
    char *end = NULL;
    const long value = text != NULL ? strtol(text, &end, 10) : LIMIT_S;
    return text != NULL && (*end != '\0' || value < 0 || value > LIMIT_S_MAX) ? LIMIT_S
                                                                              : (int)value;
}

/* "ranks 1, 4, 5, ..." that have not reported; how many they are. */
static int missing(char *out, size_t bytes)
{
    enum { LISTED_MAX = 8 };
    int count = 0;
    size_t used = 0;
    out[0] = '\0';
    for (int rank = 1; rank < atomic_load(&s.size); rank++) {
        if (atomic_load(&s.here[rank]))
            continue;
        if (count++ < LISTED_MAX && used + 16 < bytes)
            used += (size_t)snprintf(out + used, bytes - used, "%s%d", used > 0 ? ", " : "", rank);
        else if (count == LISTED_MAX + 1)
            (void)snprintf(out + used, bytes - used, ", ...");
    }
    return count;
}

static void speak(void)
{
    char line[LT_LEAVE_LINE_BYTES - 256], who[256] = "", known[400];
    const char *begin = "the start took longer than";
    (void)lt_launcher_absent(known, sizeof known);
    if (!atomic_load(&s.called)) {
        const lt_launcher from = lt_launcher_find();
        (void)snprintf(who, sizeof who,
                       "rank %d of %d waits in MPI_Init, since not all have called it", from.rank,
                       from.size);
    } else if (atomic_load(&s.rank) > 0) {
        (void)snprintf(who, sizeof who, "rank %d of %d waits for rank 0", atomic_load(&s.rank),
                       atomic_load(&s.size));
    } else {
        char list[128];
        const int count = missing(list, sizeof list);
        if (count > 0)
            (void)snprintf(who, sizeof who, "rank%s %s of %d %s not come", count == 1 ? "" : "s",
                           list, atomic_load(&s.size), count == 1 ? "has" : "have");
        else
            (void)snprintf(who, sizeof who, "all ranks came, and one of them is stuck or gone");
    }
    (void)snprintf(line, sizeof line, "%s %d s: %s%s%s", begin, s.limit_s, who,
                   known[0] != '\0' ? ": " : "", known);
    lt_leave_say(line, "",
                 "start longtake on every rank; LONGTAKE_START_SECONDS=300 gives a slow start more "
                 "time");
}

/* Until the start is over, or the limit has passed. */
static void *keep_time(void *unused)
{
    struct timespec until;
    (void)unused;
    const lt_launcher from = lt_launcher_find();
    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += s.limit_s + (from.rank > 0 ? LT_LEAVE_START_LATER_S : 0);
    (void)pthread_mutex_lock(&s.lock);
    int error = 0;
    while (!s.over && error == 0)
        error = pthread_cond_timedwait(&s.ended, &s.lock, &until);
    const int late = !s.over;
    (void)pthread_mutex_unlock(&s.lock);
    if (late) {
        speak();
        lt_leave(0, LT_EXIT_RESUMABLE);
    }
    return NULL;
}

void lt_mpi_start_begin(void)
{
    pthread_condattr_t monotonic;
    lt_stop_stage("start");
    s.limit_s = limit_of();
    if (s.limit_s == 0)
        return;
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&s.ended, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    s.running = pthread_create(&s.thread, NULL, keep_time, NULL) == 0;
}

void lt_mpi_start_end(void)
{
    lt_stop_stage(NULL);
    if (!s.running)
        return;
    (void)pthread_mutex_lock(&s.lock);
    s.over = 1;
    (void)pthread_cond_signal(&s.ended);
    (void)pthread_mutex_unlock(&s.lock);
    (void)pthread_join(s.thread, NULL);
    (void)pthread_cond_destroy(&s.ended);
    free(s.here);
    s.here = NULL;
    s.running = 0;
}

/* ---- the call ---- */

/* A message of the greeting's size from this rank, or any (MPI_ANY_SOURCE). Waits for it. */
static lt_status hear(int from, int tag, int *source)
{
    char text[sizeof greeting];
    MPI_Message message;
    MPI_Status status;
    int found = 0, bytes = 0, code = MPI_SUCCESS;
    while (code == MPI_SUCCESS && !found) {
        code = MPI_Improbe(from, tag, all, &found, &message, &status);
        if (!found)
            (void)nanosleep(&(struct timespec){0, 200000}, NULL);
    }
    if (code == MPI_SUCCESS)
        code = MPI_Get_count(&status, MPI_BYTE, &bytes);
    if (code == MPI_SUCCESS && bytes == (int)sizeof text)
        code = MPI_Mrecv(text, bytes, MPI_BYTE, &message, &status);
    if (code != MPI_SUCCESS)
        LT_FAIL(LT_EPEER, "MPI: the ranks cannot tell each other that they are there");
    *source = status.MPI_SOURCE;
    if (bytes != (int)sizeof text || memcmp(text, greeting, sizeof text) != 0)
        LT_FAIL(LT_EUSAGE, "rank %d runs another program, or another version", *source);
    return LT_OK;
}

static lt_status greet(int to, int tag)
{
    if (MPI_Send(greeting, (int)sizeof greeting, MPI_BYTE, to, tag, all) != MPI_SUCCESS)
        LT_FAIL(LT_EPEER, "MPI: rank %d cannot be reached", to);
    return LT_OK;
}

lt_status lt_mpi_start_call(MPI_Comm launch)
{
    int rank = 0, size = 1, from = 0;
    all = launch;
    (void)MPI_Comm_rank(all, &rank);
    (void)MPI_Comm_size(all, &size);
    LT_TRY(lt_launcher_check(size));
    if (rank == 0) {
        s.here = calloc((size_t)size, sizeof *s.here);
        if (s.here == NULL)
            LT_FAIL(LT_ENOMEM, "MPI transport: no memory for %d ranks", size);
    }
    atomic_store(&s.rank, rank);
    atomic_store(&s.size, size);
    atomic_store(&s.called, 1);
    if (rank > 0) {
        LT_TRY(greet(0, TAG_HERE));
        return hear(0, TAG_GO, &from);
    }
    for (int i = 1; i < size; i++) {
        LT_TRY(hear(MPI_ANY_SOURCE, TAG_HERE, &from));
        atomic_store(&s.here[from], 1);
    }
    for (int i = 1; i < size; i++)
        LT_TRY(greet(i, TAG_GO));
    return LT_OK;
}

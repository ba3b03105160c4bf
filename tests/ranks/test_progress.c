/* test_progress.c - messages travel while the main thread is elsewhere.
 * Goal: what was requested arrives without another call of the main thread: the detector's thread
 * moves it, and that is what hides communication behind compute. Method: neighbours send 16 MB, far
 * above what MPI sends on its own, then look at the memory of the receipt, in which the last byte
 * must show, before anything else is called. Ranks: as launched, 2 or more (else nothing is done).
 * Needs: nothing. */
#include <stdlib.h>
#include <time.h>

#include "parallel/transport/host_collectives.h"
#include "tests/support/ranks.h"

enum { MESSAGE_BYTES = 16 << 20, ROUNDS = 3, PATIENCE_MS = 10000 };

static void arrives_by_itself(void **state)
{
    (void)state;
    const int rank = lt_group_rank(world), size = lt_group_size(world);
    if (size < 2)
        return;
    unsigned char *out = malloc(MESSAGE_BYTES), *in = malloc(MESSAGE_BYTES);
    WANT(out != NULL && in != NULL);
    for (int round = 0; round < ROUNDS; round++) {
        const int next = (rank + 1) % size, previous = (rank + size - 1) % size;
        lt_request *sent = NULL, *received = NULL;
        memset(out, 1 + round + 10 * rank, MESSAGE_BYTES);
        memset(in, 0, MESSAGE_BYTES);
        const volatile unsigned char *last = in + MESSAGE_BYTES - 1;
        OK(lt_barrier(world));
        OK(lt_request_recv(world, previous, round, in, MESSAGE_BYTES, &received));
        OK(lt_request_send(world, next, round, out, MESSAGE_BYTES, &sent));
        const unsigned char want = (unsigned char)(1 + round + 10 * previous);
        int ms = 0;
        while (*last != want && ms++ < PATIENCE_MS)
            (void)nanosleep(&(struct timespec){0, 1000000}, NULL);
        WANT(*last == want);
        OK(lt_request_wait(&received));
        OK(lt_request_wait(&sent));
        for (int i = 0; i < MESSAGE_BYTES; i += 4093)
            WANT(in[i] == want);
    }
    free(out);
    free(in);
}

int main(void)
{
    const int code = ranks_open();
    if (code != 0)
        return code;
    const struct CMUnitTest tests[] = {cmocka_unit_test(arrives_by_itself)};
    const int failed = cmocka_run_group_tests_name("progress", tests, NULL, NULL);
    ranks_close();
    return failed;
}

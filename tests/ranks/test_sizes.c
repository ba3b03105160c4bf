/* test_sizes.c - two ends that name different sizes for one message.
 * Goal: the receiver refuses in words that name peer, wanted and found, and not a byte is written,
 * neither into its buffer nor behind it, whatever the transport's library would do with a longer
 * message. Method: sizes around Open MPI's limits (4 KiB in shared memory, 64 KiB over TCP), a
 * buffer of 0xA5 with 256 KiB of the same behind it; the sender, whose message nobody takes, is
 * given a tenth of a second, the receiver three (a message that nobody takes is told after a
 * thirtieth of the longest wait). Ranks: 2 of those launched. Needs: nothing. */
#include <stdlib.h>

#include "parallel/transport/host_collectives.h"
#include "parallel/transport/transport_impl.h"
#include "tests/support/ranks.h"

enum { LARGEST = 256 << 10, TAG = 7 };

static const struct {
    const char *reason;
    size_t sent, wanted;
} cases[] = {
    {"half of a small one", 8, 16},
    {"twice a small one", 16, 8},
    {"one byte against all", 1, LARGEST},
    {"all against one byte", LARGEST, 1},
    {"beyond what shared memory copies at once", 4097, 4096},
    {"beyond TCP's first piece", 65537, 65536},
    {"one byte less than wanted, large", LARGEST - 1, LARGEST},
};

static unsigned char room[2 * LARGEST], data[LARGEST];

/* From this byte on. */
static void untouched(size_t from)
{
    for (size_t i = from; i < sizeof room; i++)
        WANT(room[i] == 0xa5);
}

static void refused(lt_status st, size_t sent, size_t wanted, size_t from)
{
    char words[128];
    (void)snprintf(words, sizeof words, "message from rank 0: want %zu bytes, found %zu", wanted,
                   sent);
    WANT(st == LT_EINTERNAL);
    WANT(strstr(lt_error_text(), words) != NULL);
    untouched(from);
    lt_error_clear();
}

static void by_exchange(lt_group *group, size_t sent, size_t wanted)
{
    if (lt_group_rank(group) == 0)
        (void)lt_exchange(group, &(lt_transfer){1, data, sent, NULL, 0}, 1, NULL);
    else
        refused(lt_exchange(group, &(lt_transfer){0, NULL, 0, room, wanted}, 1, NULL), sent, wanted,
                0);
}

static void by_broadcast(lt_group *group, size_t sent, size_t wanted)
{
    if (lt_group_rank(group) == 0)
        (void)lt_broadcast(group, 0, data, sent);
    else
        refused(lt_broadcast(group, 0, room, wanted), sent, wanted, 0);
}

/* The first of two messages is the wrong one. The second has the right size and may be taken for
 * it, but no more than that is written, and the exchange is refused. */
static void by_two(lt_group *group, size_t sent, size_t wanted)
{
    const lt_transfer out[2] = {{1, data, sent, NULL, 0}, {1, data, wanted, NULL, 0}};
    const lt_transfer in[2] = {{0, NULL, 0, room, wanted}, {0, NULL, 0, room + LARGEST, wanted}};
    if (lt_group_rank(group) == 0)
        (void)lt_exchange(group, out, 2, NULL);
    else
        refused(lt_exchange(group, in, 2, NULL), sent, wanted, wanted);
}

static void by_request(lt_group *group, size_t sent, size_t wanted)
{
    lt_request *request = NULL;
    if (lt_group_rank(group) == 0) {
        OK(lt_request_send(group, 1, TAG, data, sent, &request));
        for (int poll = 0, done = 0; poll < 100 && request != NULL; poll++) {
            OK(lt_request_test(&request, &done));
            (void)usleep(1000);
        }
        lt_request_drop(&request);
    } else {
        OK(lt_request_recv(group, 0, TAG, room, wanted, &request));
        refused(lt_request_wait(&request), sent, wanted, 0);
    }
}

static void each(void (*how)(lt_group *group, size_t sent, size_t wanted))
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lt_group *group = group_of(2, 0); /* of no use afterwards */
        memset(room, 0xa5, sizeof room);
        if (group != NULL) {
            group->wait_seconds_max = lt_group_rank(group) == 0 ? 0.1 : 3;
            how(group, cases[i].sent, cases[i].wanted);
            lt_error_clear();
        }
        OK(lt_barrier(world));
        lt_group_free(&group);
    }
}

static void sizes_differ(void **state)
{
    (void)state;
    if (lt_group_size(world) < 2)
        skip();
    each(by_exchange);
    each(by_broadcast);
    each(by_two);
    each(by_request);
}

/* Posts with one tag between one pair of ranks, received in the order in which they were sent,
 * whichever is asked for first. */
static void requests_keep_order(void **state)
{
    (void)state;
    if (lt_group_size(world) < 2)
        skip();
    lt_group *group = group_of(2, 0);
    lt_request *request[3] = {NULL};
    int value[3] = {11, 22, 33};
    if (group != NULL && lt_group_rank(group) == 0) {
        for (int i = 0; i < 3; i++)
            OK(lt_request_send(group, 1, TAG, &value[i], sizeof *value, &request[i]));
    } else if (group != NULL) {
        memset(value, 0, sizeof value);
        for (int i = 0; i < 3; i++)
            OK(lt_request_recv(group, 0, TAG, &value[i], sizeof *value, &request[i]));
    }
    for (int i = 2; i >= 0; i--)
        OK(lt_request_wait(&request[i]));
    WANT(group == NULL || (value[0] == 11 && value[1] == 22 && value[2] == 33));
    lt_group_free(&group);
    OK(lt_barrier(world));
}

int main(void)
{
    if (ranks_open() != 0)
        return 1;
    const struct CMUnitTest tests[] = {cmocka_unit_test(sizes_differ),
                                       cmocka_unit_test(requests_keep_order)};
    const int failed = cmocka_run_group_tests_name("sizes", tests, NULL, NULL);
    ranks_close();
    return failed;
}

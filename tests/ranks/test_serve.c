/* test_serve.c - ranks that ask each other for bytes while they do something else.
 * Goal: what is asked for comes whole, from and to every rank at once, also from a rank whose main
 * thread waits in a collective or that was not asked for long; a refusal comes in the other rank's
 * words with its code, an ask of another size too, and the next ask is answered as if nothing was;
 * a server that nobody asks ends at once. Method: bytes that are a function of who gives them and
 * what was asked. Ranks: as launched. Needs: nothing. */
#include "tests/support/ranks.h"

#include <time.h>

#include "base/clock.h"
#include "parallel/serve.h"

enum { BYTES_MAX = 1 << 20, REFUSED = 13 };

typedef struct ask {
    int32_t number, bytes;
} ask;

static lt_group *group;
static char given[BYTES_MAX], received[BYTES_MAX];
static ask asked;
static lt_answer answered;

static char byte_of(int rank, int number, int i) { return (char)(rank * 31 + number * 7 + i); }

/* On the server's thread. */
static lt_status find(void *ctx, int peer, const void *data, const void **bytes, size_t *count)
{
    const ask *q = data;
    const int me = *(const int *)ctx;
    if (q->number == REFUSED)
        LT_FAIL(LT_EDATA, "rank %d has no number %d for rank %d", me, REFUSED, peer);
    for (int i = 0; i < q->bytes; i++)
        given[i] = byte_of(me, q->number, i);
    *bytes = given;
    *count = (size_t)q->bytes;
    return LT_OK;
}

static lt_server *serve(size_t ask_bytes)
{
    static int me;
    lt_server *server = NULL;
    me = lt_group_rank(group);
    const lt_service service = {.group = group,
                                .ask_bytes = ask_bytes,
                                .find = find,
                                .ctx = &me,
                                .what = "numbers",
                                .who = "which other ranks ask for them"};
    OK(lt_server_start(&service, &server));
    return server;
}

static void ask_for(int peer, int number, int bytes)
{
    asked = (ask){number, bytes};
    memset(received, 0, sizeof received);
    OK(lt_ask(group, peer, &asked, sizeof asked, &answered, received, (size_t)bytes));
    for (int i = 0; i < bytes; i++)
        WANT(received[i] == byte_of(peer, number, i));
}

static int peer_of(int step) { return (lt_group_rank(group) + step) % lt_group_size(group); }

/* Everybody asks everybody, themselves left out, sizes from a byte to a MiB. */
static void all_of_all(void **state)
{
    (void)state;
    lt_server *server = serve(sizeof(ask));
    for (int round = 0; round < 40; round++)
        for (int step = 1; step < lt_group_size(group); step++)
            ask_for(peer_of(step), 20 + round, 1 << (round % 21));
    OK(lt_barrier(world));
    WANT(!lt_server_stop(&server) && server == NULL);
}

/* Rank 0 waits for all others, who ask it first: one at once, one after an idle time. */
static void of_one_that_waits(void **state)
{
    (void)state;
    const int size = lt_group_size(group);
    lt_server *server = lt_group_rank(group) == 0 ? serve(sizeof(ask)) : NULL;
    if (lt_group_rank(group) != 0) {
        ask_for(0, 1, 1000);
        (void)nanosleep(&(struct timespec){2, 300000000}, NULL); /* then it polls every 5 ms */
        const double begin = lt_seconds();
        ask_for(0, 2, 1000);
        WANT(lt_seconds() - begin < 5);
    }
    OK(lt_barrier(world));
    WANT(!lt_server_stop(&server) && size > 0);
}

static void refuse(int peer, const void *words, size_t bytes, lt_status wanted, const char *text)
{
    const lt_status st = lt_ask(group, peer, words, bytes, &answered, received, 100);
    WANT(st == wanted && strstr(lt_error_text(), text) != NULL);
}

static void refusals_are_words(void **state)
{
    (void)state;
    static const char odd[5] = "odd!";
    char text[64];
    lt_server *server = serve(sizeof(ask));
    for (int step = 1; step < lt_group_size(group); step++) {
        const int peer = peer_of(step);
        (void)snprintf(text, sizeof text, "rank %d has no number %d for rank %d", peer, REFUSED,
                       lt_group_rank(group));
        asked = (ask){REFUSED, 100};
        refuse(peer, &asked, sizeof asked, LT_EDATA, text);
        refuse(peer, odd, sizeof odd, LT_EINTERNAL, ""); /* the transport's words about sizes */
        ask_for(peer, 5, 100);
    }
    OK(lt_barrier(world));
    WANT(!lt_server_stop(&server));
}

static void nobody_asks(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        const double begin = lt_seconds();
        lt_server *server = serve(sizeof(ask));
        WANT(!lt_server_stop(&server) && lt_seconds() - begin < 5);
    }
    lt_server *none = NULL;
    WANT(!lt_server_stop(&none));
}

int main(void)
{
    const int failed_open = ranks_open();
    if (failed_open != 0)
        return failed_open;
    group = group_of(lt_group_size(world), 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_of_all),
        cmocka_unit_test(of_one_that_waits),
        cmocka_unit_test(refusals_are_words),
        cmocka_unit_test(nobody_asks),
    };
    const int failed = cmocka_run_group_tests_name("serve", tests, NULL, NULL);
    lt_group_free(&group);
    ranks_close();
    return failed;
}

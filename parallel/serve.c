/* serve.c - ranks that ask each other for bytes, and the thread that answers. */
#include "parallel/serve.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/leave.h"
#include "parallel/liveness/detector.h"
#include "parallel/world.h"

enum { TAG_ASK = 1, TAG_ANSWER = 2, TAG_BYTES = 3 };
enum { SPINS = 256, POLL_NS = 50000, IDLE_NS = 5000000 };
#define EAGER_SECONDS 2.0 /* so long after an ask the next one is likely */
#define LEAVE_SECONDS 2.0 /* so long a message may last when there is no more to come */

/* ---- who asks ---- */

enum { ASKED, ANSWERED, BYTES, REQUESTS };

static lt_status converse(lt_group *group, int peer, const void *ask, size_t ask_bytes,
                          lt_answer *answer, void *to, size_t bytes, lt_request *request[REQUESTS])
{
    LT_TRY(lt_request_recv(group, peer, TAG_ANSWER, answer, sizeof *answer, &request[ANSWERED]));
    LT_TRY(lt_request_recv(group, peer, TAG_BYTES, to, bytes, &request[BYTES]));
    LT_TRY(lt_request_send(group, peer, TAG_ASK, ask, ask_bytes, &request[ASKED]));
    LT_TRY(lt_request_wait(&request[ASKED]));
    LT_TRY(lt_request_wait(&request[ANSWERED]));
    if (answer->status == LT_OK)
        return lt_request_wait(&request[BYTES]);
    const int known = answer->status > LT_OK && answer->status < LT_STATUS_COUNT;
    answer->text[sizeof answer->text - 1] = '\0';
    LT_FAIL(known ? (lt_status)answer->status : LT_EINTERNAL, "%s", answer->text);
}

lt_status lt_ask(lt_group *group, int peer, const void *ask, size_t ask_bytes, lt_answer *answer,
                 void *to, size_t bytes)
{
    lt_request *request[REQUESTS] = {NULL, NULL, NULL};
    assert(ask_bytes <= LT_ASK_BYTES_MAX && bytes > 0);
    const lt_status st = converse(group, peer, ask, ask_bytes, answer, to, bytes, request);
    for (int i = 0; i < REQUESTS; i++) /* what was not received must not be written any more */
        lt_request_drop(&request[i]);
    LT_TRY(st);
    return LT_OK;
}

/* ---- who answers ---- */

struct lt_server {
    lt_service is;
    pthread_t thread;
    atomic_int stop;
    _Alignas(max_align_t) char ask[LT_ASK_BYTES_MAX];
    lt_answer answer;
    int dropped; /* MPI may still read, or write, what is here */
};

/* 1 in *done when done; 0 when no rank takes it and the thread shall end. It may be told to when
 * the rank that asked has the bytes, but MPI not yet said so here: then it soon will. */
static lt_status finish(lt_server *server, lt_request **request, int *done)
{
    double told = 0;
    for (int poll = 0;; poll++) {
        LT_TRY(lt_request_test(request, done));
        if (*done)
            return LT_OK;
        if (told > 0 && lt_seconds() - told > LEAVE_SECONDS) {
            lt_request_drop(request);
            server->dropped = 1;
            return LT_OK;
        }
        if (told <= 0 && atomic_load(&server->stop))
            told = lt_seconds();
        if (poll < SPINS)
            (void)sched_yield();
        else
            (void)nanosleep(&(struct timespec){0, POLL_NS}, NULL);
    }
}

static lt_status send_one(lt_server *server, int peer, int tag, const void *data, size_t bytes,
                          int *sent)
{
    lt_request *request = NULL;
    LT_TRY(lt_request_send(server->is.group, peer, tag, data, bytes, &request));
    LT_TRY(finish(server, &request, sent));
    return LT_OK;
}

static void fill_answer(lt_server *server, lt_status st)
{
    lt_answer *answer = &server->answer;
    memset(answer, 0, sizeof *answer);
    answer->status = (int32_t)st;
    if (st != LT_OK)
        (void)snprintf(answer->text, sizeof answer->text, "rank %d: %s",
                       lt_group_rank(server->is.group), lt_error_text());
}

/* Answer one rank if one asks: 1 in *served. */
static lt_status serve_one(lt_server *server, int *served)
{
    const lt_service *is = &server->is;
    int peer = -1, done = 0;
    const void *bytes = NULL;
    size_t count = 0;
    lt_request *request = NULL;
    *served = 0;
    LT_TRY(lt_request_probe(is->group, TAG_ASK, &peer));
    if (peer < 0)
        return LT_OK;
    LT_TRY(lt_request_recv(is->group, peer, TAG_ASK, server->ask, is->ask_bytes, &request));
    lt_status st = finish(server, &request, &done);
    if (st != LT_OK && st != LT_EINTERNAL) /* that: it came, with another size */
        return st;
    if (st == LT_OK && !done)
        return LT_OK;
    *served = 1;
    if (st == LT_OK)
        st = is->find(is->ctx, peer, server->ask, &bytes, &count);
    fill_answer(server, st);
    LT_TRY(send_one(server, peer, TAG_ANSWER, &server->answer, sizeof server->answer, &done));
    if (done && st == LT_OK && count > 0)
        LT_TRY(send_one(server, peer, TAG_BYTES, bytes, count, &done));
    return LT_OK;
}

/* A rank waits for what this thread cannot send. */
static void end_job(const lt_service *is, lt_status st)
{
    const char *me = lt_detector_me(); /* does not return where a dead rank was the reason */
    char text[1024];
    (void)snprintf(text, sizeof text, "%s: %s, %s: %s", is->what, me, is->who, lt_error_text());
    (void)lt_fail(st, __FILE__, __LINE__, "%s", text);
    lt_leave_say_error(0);
    lt_world_abort(lt_exit_code(st));
}

static void *serve(void *ctx)
{
    lt_server *server = ctx;
    double last = lt_seconds();
    while (!atomic_load(&server->stop)) {
        int served = 0;
        const lt_status st = serve_one(server, &served);
        if (st != LT_OK && atomic_load(&server->stop))
            break; /* no rank asks any more */
        if (st != LT_OK) {
            end_job(&server->is, st);
            break;
        }
        const double now = lt_seconds();
        if (served)
            last = now;
        else
            (void)nanosleep(&(struct timespec){0, now - last < EAGER_SECONDS ? POLL_NS : IDLE_NS},
                            NULL);
    }
    return NULL;
}

lt_status lt_server_start(const lt_service *service, lt_server **out)
{
    sigset_t all, before;
    assert(service->ask_bytes > 0 && service->ask_bytes <= LT_ASK_BYTES_MAX);
    *out = NULL;
    lt_server *server = calloc(1, sizeof *server);
    if (server == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory to give it to other ranks", service->what);
    server->is = *service;
    (void)sigfillset(&all); /* signals are for the other threads */
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const int error = pthread_create(&server->thread, NULL, serve, server);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) {
        free(server);
        LT_FAIL(LT_EUNAVAIL, "%s: no thread to give it to other ranks", service->what);
    }
    *out = server;
    return LT_OK;
}

int lt_server_stop(lt_server **server)
{
    lt_server *s = *server;
    if (s == NULL)
        return 0;
    atomic_store(&s->stop, 1);
    (void)pthread_join(s->thread, NULL);
    const int dropped = s->dropped;
    if (!dropped)
        free(s);
    *server = NULL;
    return dropped;
}

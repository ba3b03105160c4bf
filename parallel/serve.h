/* serve.h - ranks that ask each other for bytes, and the thread that answers.
 *
 *     asks                                   answers
 *     the ask, of a fixed size  ---------->  thread: checks it, finds the bytes
 *     {status, words}           <----------
 *     the bytes                 <----------  unless status is a failure, or there are none
 *
 * The thread waits for nothing but the messages of one answer, so two ranks may ask each other at
 * once, and no rank need know when another asks: its main thread may compute, or wait in a
 * collective for the very rank that asks. It polls: often while it is asked, every 5 ms when it was
 * not asked for a while. A message that fails there leaves a rank waiting that cannot be told: the
 * thread then says so and ends the job. An ask of another size is answered with a failure.
 *
 * Tags 1 to 3 of the group are these messages'. Tested: tests/ranks/test_serve.c. */
#ifndef LT_SERVE_H
#define LT_SERVE_H

#include <stddef.h>
#include <stdint.h>

#include "parallel/transport/transport.h"

enum { LT_ASK_BYTES_MAX = 64, LT_ANSWER_TEXT_BYTES = 508 };

/* ---- who asks ---- */

/* What is received beside the bytes. */
typedef struct lt_answer {
    int32_t status;
    char text[LT_ANSWER_TEXT_BYTES];
} lt_answer;

/* Ask a rank of group for bytes, into to: exactly that many if it does not refuse. ask, answer and
 * to belong to this call until it returns, and to MPI for good if a message fails: they must
 * outlive the group. One thread at a time. Blocking. Errors: those that the other rank answers, in
 * its words; LT_EPEER, LT_EINTERNAL. */
lt_status lt_ask(lt_group *group, int peer, const void *ask, size_t ask_bytes, lt_answer *answer,
                 void *to, size_t bytes);

/* ---- who answers ---- */

typedef struct lt_service {
    lt_group *group;
    size_t ask_bytes; /* at most LT_ASK_BYTES_MAX */
    /* Called by the thread: the bytes for this ask, which stay until the next call, or none. A
     * failure's words (lt_error_text) go to the rank that asked, behind this rank's name. */
    lt_status (*find)(void *ctx, int peer, const void *ask, const void **bytes, size_t *count);
    void *ctx;
    const char *what, *who; /* of "WHAT: RANK, WHO: WORDS", the line that ends the job */
} lt_service;

typedef struct lt_server lt_server;

/* Begin to answer. *service is copied. Local. Errors: LT_ENOMEM, LT_EUNAVAIL (no thread). */
lt_status lt_server_start(const lt_service *service, lt_server **out);

/* End, when no rank asks any more: each one's last lt_ask lies before an agreement before this,
 * unless the job ends. An answer that no rank takes for 2 s is dropped: then 1 is returned, and
 * what `find` gave must stay, as MPI may still read it. NULL inside is allowed. Local, Blocking. */
int lt_server_stop(lt_server **server);

#endif

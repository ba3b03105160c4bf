/* answer.h - the one way to stdout: an answer is made whole, written at once, and checked.
 * A program may read an answer, so what could not be delivered is an error (LT_EIO, exit code 74),
 * also where the system says so only when the file is closed. A reader that has gone (`| head -1`)
 * took what it wanted: that is no error. What people read on stderr is never checked.
 *
 * All functions are Local and Blocking; the caller decides which rank prints. Errors: LT_EIO
 * (stdout is full, closed or broken), LT_ENOMEM. Tested: tests/faults/test_words.c. */
#ifndef LT_ANSWER_H
#define LT_ANSWER_H

#include <jansson.h>
#include <stdio.h>

#include "base/status.h"

/* Call first of all: a gone reader ends no work (SIGPIPE is ignored), and a descriptor 0, 1 or 2
 * that came closed is occupied, so that no file of ours gets its number and what is meant for
 * people. Writing to such a stdout fails. Never fails. */
void lt_answer_init(void);

/* From here on this process's answers go nowhere, and count as delivered: another rank prints
 * them. */
void lt_answer_mute(void);

/* Write these bytes. */
lt_status lt_answer_bytes(const char *text, size_t bytes);
lt_status lt_answer_line(const char *text); /* and a newline */

/* One line of JSON, safe for terminals (base/json.h, lt_json_text); takes value, which may be NULL
 * for want of memory. flags: jansson's. */
lt_status lt_answer_json(json_t *value, size_t flags);

/* For answers that are printed: to is memory until lt_answer_send, which writes it, frees it, and
 * returns made, the status of the printing, or what the writing came to. */
typedef struct lt_answer {
    FILE *to;
    char *text;
    size_t bytes;
} lt_answer;
lt_status lt_answer_open(lt_answer *answer);
lt_status lt_answer_send(lt_answer *answer, lt_status made);

#endif

/* film_tags.h - what a film's file says of how it was made.
 *
 *   title    the prompt as one line, cut at a word behind at most 80 characters
 *   comment  one JSON object: {"prompt", "seed", "model", "steps", "size", "frames", "software"}
 *
 * so that a title is what a player shows, and a comment what a program may read. model is the
 * folder's name, without the machine's path; nothing depends on time, host, ranks or threads, so
 * the same job gives the same bytes. A prompt above LT_TAG_PROMPT_BYTES is cut there, and
 * "prompt_bytes" is its length. Characters that a terminal would obey are escaped in the comment
 * and spaces in the title. Local. Tested: tests/film/test_record.c. */
#ifndef LT_FILM_TAGS_H
#define LT_FILM_TAGS_H

#include "run/plan.h"

enum { LT_TAG_PROMPT_BYTES = 4096 };

typedef struct lt_film_tags {
    char *title, *comment;
} lt_film_tags;

/* Errors: LT_ENOMEM (also for a prompt that is no UTF-8); *out may be freed then. */
lt_status lt_film_tags_make(const lt_plan *plan, lt_film_tags *out);
void lt_film_tags_free(lt_film_tags *tags);

#endif

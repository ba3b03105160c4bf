/* shells.h - what shells and man read, made from the verbs and the table of options.
 * Local, Blocking; they print to a stream and never fail. Tested: tests/film/test_shells.c, with
 * each shell that is there. */
#ifndef LT_SHELLS_H
#define LT_SHELLS_H

#include <stdio.h>

#include "cmd/verbs.h"

/* A completion for bash, zsh or fish: 1; another shell: 0 and nothing is printed. */
int lt_shell_completion(FILE *to, const char *shell, const lt_verb *const *verbs, size_t count);

/* longtake(1) for man: groff's man macros. */
void lt_shell_man(FILE *to, const lt_verb *const *verbs, size_t count);

#endif

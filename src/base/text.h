/* text.h - small questions about text that several modules ask.
 * Local, never fail. Tested: tests/unit/test_text.c, test_options.c. */
#ifndef LT_TEXT_H
#define LT_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* One code point of valid UTF-8 at text[0, bytes): its length 1..4 and *code, or 0 if the bytes
 * there are no UTF-8 (overlong forms, surrogates and values past U+10FFFF are none). bytes >= 1. */
size_t lt_utf8_next(const char *text, size_t bytes, uint32_t *code);

/* 1 if all of it is valid UTF-8. */
int lt_utf8_valid(const char *text, size_t bytes);

/* 1 if a terminal shows this character and obeys nothing: no control (C0, DEL, C1), no mark that
 * turns the direction of writing, no line or paragraph separator, no invisible tag. */
int lt_text_is_safe(uint32_t code);

/* Make text from outside fit for one line of a terminal, in place: each unsafe character, newlines
 * too, and each byte that is no UTF-8 becomes '?'; all else stays. Returns text. */
char *lt_text_printable(char *text);

/* text as one word for a shell, in single quotes; cut where out is full. bytes >= 3. Returns out.
 */
const char *lt_text_quoted(const char *text, char *out, size_t bytes);

/* 1 if there is nothing to see in valid UTF-8: blanks of any kind (Unicode's White_Space), and what
 * has no width. */
int lt_text_is_blank(const char *text);

/* Least number of single-character insertions, deletions, changes and swaps of neighbours from a to
 * b (optimal string alignment). Texts longer than 63 bytes are far from everything: LT_TEXT_FAR. */
enum { LT_TEXT_FAR = 1000 };
int lt_edit_distance(const char *a, const char *b);

/* x, finite, with the fewest digits that give the same double again, in a buffer of 32 bytes. */
const char *lt_real_text(double x, char buffer[32]);

/* value >= 0 as so many decimal digits at `at`, no NUL; returns what is behind them. Safe in a
 * signal handler. */
char *lt_text_digits(char *at, int64_t value, int digits);

#endif

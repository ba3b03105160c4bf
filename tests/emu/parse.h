/* parse.h - a text of PTX while it is read: its words, and what has been named so far.
 *
 * All functions are Local and Blocking. A text that is wrong ends in ptx_refuse, which goes back to
 * ptx_parse (parse.c). Tested: tests/emu/test_ptx.c. */
#ifndef LT_PTX_PARSE_H
#define LT_PTX_PARSE_H

#include <setjmp.h>

#include "tests/emu/ptx.h"

enum { NAMES_MAX = 96, LABELS_MAX = 8192, VARIABLES_MAX = 128 };

typedef struct ptx_text {
    const char *at;
    size_t length;
} ptx_text;

typedef enum class_of { CLASS_PREDICATE, CLASS_16, CLASS_32, CLASS_64 } class_of;

/* `.reg .f32 %f<12>` is one of count 12; `.reg .b32 x` one of count 0. */
typedef struct registers {
    ptx_text prefix;
    int count;
    class_of class;
    int32_t at;
} registers;

typedef struct variable {
    ptx_text name;
    int32_t bytes, align; /* bytes 0: extern */
    int32_t at;           /* in the function's shared memory; -1: not named yet */
} variable;

typedef struct label {
    ptx_text name;
    int at; /* for a jump: the instruction that wants it */
} label;

typedef struct ptx_parser {
    ptx_module *module;
    const char *at;
    ptx_text now; /* length 0: the end */
    ptx_function *f;
    registers names[NAMES_MAX];
    int name_count;
    variable variables[VARIABLES_MAX];
    int variable_count;
    ptx_text params[64];
    label *labels, *jumps;
    int label_count, jump_count, code_room, constant_room;
    int dynamic[64], dynamic_count; /* constants that are the dynamic part's address */
    char *why;
    jmp_buf out;
} ptx_parser;

/* ---- words.c ---- */

/* "PTX, line 12: want a number, found '...', in kernel". */
__attribute__((noreturn)) void ptx_refuse(ptx_parser *p, const char *what);
void ptx_next(ptx_parser *p);
int ptx_is(const ptx_parser *p, const char *text);
/* 1, and the word is behind us; 0: another one. */
int ptx_take(ptx_parser *p, const char *text);
void ptx_want(ptx_parser *p, const char *text);
int ptx_same(ptx_text a, ptx_text b);
/* 12, -3, 0x1f, 0f3F800000 and 0d..., the last two as bits. */
int64_t ptx_number(ptx_parser *p);

#endif

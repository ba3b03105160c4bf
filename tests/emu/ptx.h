/* ptx.h - a module of PTX as the interpreter has it: functions, instructions, what a row says.
 *
 * Design of the interpreter.
 * An instruction is a row of a table (ops_*.c): its spelling, a letter for each operand, and the
 * function that runs it for the lanes of a warp. parse.c turns text into functions whose
 * instructions point at rows; what no row spells is an error that names it, so that a new compiler
 * cannot be misread. block.c runs a launch.
 *
 * A register is 32 lanes side by side in the warp's file: words of 32 bits (classes of 16 and 32
 * bits) or of 64; a predicate is one word, a bit a lane. Operands are offsets into the file; a
 * constant is a register that nobody writes. Nothing here knows CUDA's runtime.
 *
 * All functions are Local and Blocking. Tested: tests/emu/test_ptx.c. */
#ifndef LT_PTX_H
#define LT_PTX_H

#include <stddef.h>
#include <stdint.h>

enum { PTX_LANES = 32, PTX_OPERANDS = 14, PTX_VECTOR = 4, PTX_WHY = 400 };

typedef struct ptx_warp ptx_warp;
typedef struct ptx_ins ptx_ins;

/* Run for the lanes of the mask. */
typedef void (*ptx_run)(ptx_warp *w, const ptx_ins *i, uint32_t lanes);

/* operands, in the text's order, braces and the bar of shfl left out:
 *   P p predicate, H h 16 bits, W w 32 bits, D d 64 bits (a capital is written)
 *   X x 16, 32 or 64 bits, as the register is (ld, st: at least as wide as the memory)
 *   @ an address in brackets, n a number (in ins->number), q a predicate or such a number,
 *   T a label, ? a predicate or nothing */
typedef struct ptx_row {
    const char *spelling, *operands;
    ptx_run run;
    uint8_t bytes, vector; /* ld, st: of an element; how many of them */
    uint8_t mode;          /* as the row's function takes it */
} ptx_row;

typedef enum ptx_space { PTX_GLOBAL, PTX_SHARED, PTX_PARAM } ptx_space;

struct ptx_ins {
    const ptx_row *row;
    ptx_run run;
    int32_t guard;           /* a predicate's offset; -1: none */
    uint8_t guard_not, wide; /* wide: bit k, operand k's register has 64 bits */
    int32_t operand[PTX_OPERANDS];
    int64_t add[2]; /* of the first and the second address */
    int64_t number; /* a constant operand; -1: none given */
    int32_t target; /* of a branch: an index into the code */
    uint32_t line;  /* in the module's text, from 1 */
    uint32_t text, text_bytes;
};

typedef enum ptx_special {
    PTX_TID_X,
    PTX_TID_Y,
    PTX_TID_Z,
    PTX_CTAID_X,
    PTX_CTAID_Y,
    PTX_CTAID_Z,
    PTX_NTID_X,
    PTX_NTID_Y,
    PTX_NTID_Z,
    PTX_NCTAID_X,
    PTX_NCTAID_Y,
    PTX_NCTAID_Z,
    PTX_LANEID,
    PTX_SPECIALS
} ptx_special;

typedef struct ptx_constant {
    int32_t at;
    uint8_t wide;
    int64_t value;
} ptx_constant;

typedef struct ptx_function {
    char *name;
    ptx_ins *code;
    int count;
    int32_t file_bytes;
    int32_t special[PTX_SPECIALS]; /* offsets; -1: not used */
    ptx_constant *constants;
    int constant_count;
    int32_t *param_at, *param_bytes; /* in the param space */
    int param_count;
    int32_t params_bytes;
    uint32_t shared_bytes; /* static; a multiple of 128 if there is a dynamic part behind it */
    uint32_t threads_max;  /* .maxntid; 0: not said */
} ptx_function;

typedef struct ptx_module {
    char *text;
    ptx_function *functions;
    int count;
} ptx_module;

/* text: NUL-terminated, copied. NULL: why says what is wrong, with a line. */
ptx_module *ptx_parse(const char *text, char why[PTX_WHY]);
void ptx_free(ptx_module **module);
const ptx_function *ptx_find(const ptx_module *module, const char *name);

/* The row of a spelling, or NULL. */
const ptx_row *ptx_row_of(const char *spelling, size_t length);

/* ops_*.c: rows, ended by one without a spelling. */
extern const ptx_row ptx_rows_int[], ptx_rows_float[], ptx_rows_convert[], ptx_rows_memory[],
    ptx_rows_warp[];

#endif

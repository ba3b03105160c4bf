/* fail_nth.h - a call of the program is made to fail, at a place and time that a test chooses.
 *
 * fail_calls.c stands between our objects and malloc, write, MPI_Isend and their like (ld --wrap:
 * CMakeLists.txt takes the names from its table): calls of our own code alone are counted, what a
 * library does inside never fails. A failing call is refused at its door: nothing is done, and the
 * caller gets the error's return value (closing calls close first, as the real ones do). jansson's
 * allocations are ours too (base/json.c hooks them), but for those of its parser.
 *
 * A place ("site") is a kind of call and its FRAMES innermost return addresses in our program. A
 * watched program maps the file that LT_FAULTY names (".RANK" is added under mpirun): it says what
 * to fail, and gets every site with its count, also from a child process that shares the map. */
#ifndef LT_TEST_FAIL_NTH_H
#define LT_TEST_FAIL_NTH_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

typedef enum fail_kind {
    FAIL_MEMORY,
    FAIL_READ,
    FAIL_WRITE,
    FAIL_EXCHANGE,
    FAIL_SAY, /* what is printed to stderr: progress, logs, the error itself */
    FAIL_KINDS
} fail_kind;

enum { FAIL_FRAMES = 5, FAIL_SITES_MAX = 8192 };

typedef struct fail_site {
    _Atomic uint64_t key; /* 0: free */
    atomic_int count;     /* calls so far */
    int kind;
    int order;    /* 1: the first place that was seen; later ones have more */
    int of_child; /* a process of ours that reads for us, under limits of its own */
    char call[40];
    uintptr_t frames[FAIL_FRAMES]; /* offsets in the program, innermost first; 0: no more */
} fail_site;

/* How often: once, or from then on every call of the kind (a disk that stays full). */
typedef enum fail_mode { FAIL_NEVER, FAIL_ONCE, FAIL_ONWARDS, FAIL_NTH } fail_mode;

typedef struct fail_map {
    /* What to fail: the occurrence (from 1 on) of a site; FAIL_NTH: of a kind. */
    int mode, kind, occurrence;
    uint64_t key;
    /* What was seen. */
    atomic_int hits, tripped, ended; /* ended: 1 by main's return, 2 by _exit */
    atomic_int calls[FAIL_KINDS], places;
    int open_files; /* descriptors at the end */
    fail_site site[FAIL_SITES_MAX];
} fail_map;

/* The map in use; a test that fails calls in itself sets it. NULL: nothing is counted. */
extern fail_map *fail_now;

/* Memory that our own calls got and have not given back; counted in tests that link fail_calls.c
 * and set fail_now. */
extern atomic_long fail_held;

/* The program leaves by _exit: nothing is closed. */
void fail_at_exit(void);

/* Is this call to fail? Counts it. */
int fail_here(fail_kind kind, const char *call);

#endif

/* test_cudnn.c - attention by cuDNN over a strict stand-in for it, and bugs put into it.
 * Goal: what cuDNN computes, by plans that were made and compared at open, is kernels/ref's within
 * kernels.h's tolerance and has a row's bits in any number of rows; a library that is not there,
 * too old, of another CUDA, or that has no fitting plan costs one line and our own kernel; one that
 * is wrong is refused at open; and each seeded bug is found by a case. Method: dnn_case, a process
 * a row, the library found as the system finds it; dnn_bugs, the same program with cudnn.c and
 * attention_cudnn.c once a bug (bugs.sh). Where the longtake_cuda.so that ships is built, most rows
 * run on it too (part_dnn_case). Ranks: 1. Needs: nothing. */
#include "tests/support/run.h"
#include "tests/support/table.h"
#include "tests/support/the_scratch.h"

enum { LIMIT_S = 240 };

typedef struct {
    const char *reason, *name;
    const char *mode, *version,
        *cuda;              /* of the stand-in; NULL: its own; version "": a broken file */
    const char *seed;       /* of streams */
    int code, here_only;    /* here_only: not on the part again, whose interpreter is slow */
    const char *says, *log; /* NULL: nothing; of the stand-in's counts at the end */
} dnn_case;

#define OURS "attention by our own kernel"
#define LEFT "left: descriptors 0, handles 0; engine 9, stream_k 0, refused 0"
#define NONE "plans 0, runs 0, left: descriptors 0, handles 0;"

static const dnn_case cases[] = {
    {"each shape", "results", NULL, NULL, NULL, "0", 0, 0, NULL, LEFT},
    {"each shape, streams late", "results", NULL, NULL, NULL, "2", 0, 0, NULL, LEFT},
    {"the least version", "results", NULL, "91301", NULL, "0", 0, 1, NULL, LEFT},
    {"rows' bits", "bits", NULL, NULL, NULL, "1", 0, 1, NULL, LEFT},
    {"what it does not take", "mixed", NULL, NULL, NULL, "3", 0, 0, NULL, "plans 1, runs 1, " LEFT},
    {"a hole in the list", "unlisted", NULL, NULL, NULL, "0", 0, 0, NULL,
     "plans 10, runs 10, " LEFT},
    {"a merge of bf16", "merge", NULL, NULL, NULL, "1", 0, 1, NULL, NULL},
    {"no list: --deterministic", "nothing", NULL, NULL, NULL, "0", 0, 1, NULL, NULL},
    {"absent", "results", NULL, "", NULL, "0", 0, 0, "no cuDNN (libcudnn.so.9): " OURS, NULL},
    {"too old", "results", NULL, "91300", NULL, "0", 0, 0,
     "cuDNN 9.13.0 is too old, want 9.13.1: " OURS, NONE},
    {"another CUDA", "results", NULL, NULL, "12080", "0", 0, 0,
     "cuDNN 9.19.0 is for CUDA 12, want CUDA 13: " OURS, NONE},
    {"no handle", "results", "create", NULL, NULL, "0", 0, 1,
     "cuDNN 9.19.0 cannot be used (CUDNN_STATUS_NOT_INITIALIZED): " OURS, NONE},
    {"no engine that is deterministic", "results", "no_engine", NULL, NULL, "0", 0, 1,
     "engine 7 is not deterministic (10 of 10 shapes): " OURS, NONE},
    {"a large workspace", "bits", "large", NULL, NULL, "0", 0, 1,
     "engine 8 wants a workspace of 2097152 bytes (2 of 2 shapes): " OURS, "plans 4, runs 0,"},
    {"a wrong lse", "results", "lse", NULL, NULL, "0", 3, 0,
     "refused: LT_EDEVICE: cuDNN 9.19.0: attention of 40 queries, 77 keys, 2 heads of 64, BF16: "
     "lse of "
     "query 0, head 0: want ",
     NULL},
    {"lse in units of log 2", "results", "log2", NULL, NULL, "2", 3, 1, "BF16: lse of query ",
     NULL},
    {"lse is not written", "results", "unwritten", NULL, NULL, "0", 3, 1, "found nan", NULL},
    {"NaN", "results", "nan", NULL, NULL, "0", 3, 0, "y of query 39, head 0: want ", NULL},
    {"a wrong tail", "unlisted", "tail", NULL, NULL, "0", 3, 1, "70 queries, 150 keys", NULL},
    {"a wrong head", "results", "head", NULL, NULL, "0", 3, 0, ", head 1: want ", NULL},
};
enum { CASES = sizeof cases / sizeof *cases };

static int lines_with(const char *text, const char *part)
{
    int n = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part))
        n++;
    return n;
}

static void set_or_not(const char *name, const char *value)
{
    (void)(value != NULL ? setenv(name, value, 1) : unsetenv(name));
}

/* A folder in which the library cannot be opened; behind it the system's own would be found. */
static const char *no_library(void)
{
    static char folder[512];
    if (folder[0] == '\0') {
        scratch_folder(&s, "none");
        FILE *broken = fopen(scratch_path(&s, "none/libcudnn.so.9"), "w");
        assert_true(broken != NULL && fputs("not a library\n", broken) > 0 && fclose(broken) == 0);
        (void)snprintf(folder, sizeof folder, "%s/none", s.folder);
    }
    return folder;
}

/* "": as it should be, else what is not. */
static void check_case(const dnn_case *c, const char *program, const char *library, const char *bug,
                       char *why, size_t bytes)
{
    const char *argv[] = {program, c->name, bug, NULL};
    const int absent = c->version != NULL && c->version[0] == '\0';
    (void)unlink(scratch_path(&s, "log"));
    set_or_not("LT_EMU_CUDNN_LOG", scratch_path(&s, "log"));
    set_or_not("LT_EMU_CUDNN", c->mode);
    set_or_not("LT_EMU_CUDNN_VERSION", absent ? NULL : c->version);
    set_or_not("LT_EMU_CUDNN_CUDA", c->cuda);
    set_or_not("LT_SHIM_SEED", c->seed);
    set_or_not("LT_EMU_SEED", c->seed);
    set_or_not("LD_LIBRARY_PATH", absent ? no_library() : library);
    run_result r = run_argv(&s, argv, LIMIT_S);
    set_or_not("LD_LIBRARY_PATH", NULL);
    char *log = run_text(scratch_path(&s, "log"));
    const char *said = r.out != NULL ? r.out : "", *err = r.err != NULL ? r.err : "";
    why[0] = '\0';
    if (r.code != c->code)
        (void)snprintf(why, bytes, "exit code %d, want %d: %.300s%.200s", r.code, c->code, said,
                       err);
    else if (c->says != NULL && strstr(said, c->says) == NULL && strstr(err, c->says) == NULL)
        (void)snprintf(why, bytes, "want '%s', found: %.300s%.200s", c->says, said, err);
    else if (lines_with(err, OURS) != (c->says != NULL && strstr(c->says, OURS) != NULL))
        (void)snprintf(why, bytes, "%d lines of '%s': %.300s", lines_with(err, OURS), OURS, err);
    else if (c->log != NULL && (log == NULL || strstr(log, c->log) == NULL))
        (void)snprintf(why, bytes, "want a log of '%s', found '%.200s'", c->log,
                       log != NULL ? log : "");
    free(log);
    run_free(&r);
}

static void each_case_of(const char *program, const char *library, int part)
{
    char why[700];
    for (size_t i = 0; i < CASES; i++) {
        if (part && cases[i].here_only)
            continue;
        check_case(&cases[i], program, library, NULL, why, sizeof why);
        if (why[0] != '\0')
            fail_msg("%s (%s): %s", cases[i].reason, cases[i].name, why);
    }
}

static void each_case(void **state)
{
    (void)state;
    each_case_of(LT_DNN_CASE, LT_DNN_LIBRARY, 0);
}

static const struct {
    const char *bug, *found_by, *says; /* found_by: the case's reason */
} bugs[] = {
    {"key_without_strides", "each shape", "the same, q and k rows as in one packed q, k, v: "},
    {"key_without_lse", "each shape", "Assertion"},
    {"lse_unset", "each shape", "graph has 5"},
    {"lse_left_out", "each shape", "refused: LT_EDEVICE: cuDNN: run: "},
    {"stream_k", "rows' bits", "lse depends on the number of queries"},
    {"knobs_lost", "each shape", "engine 8, stream_k -1, refused 10"},
    {"knob_twice", "each shape", "engine 8, stream_k -1, refused 10"},
    {"any_engine", "rows' bits", "bits: two runs differ"},
    {"any_workspace", "a large workspace", "found: bits: as it should be"},
    {"no_workspace", "each shape", "the workspace is at"},
    {"heads", "each shape", "elements lie on each other"},
    {"q_rows", "each shape", "elements lie on each other"},
    {"stream_unset", "each shape", "a handle that has no stream"},
    {"any_version", "too old", "too old"},
    {"any_cuda", "another CUDA", "want CUDA 13"},
    {"unchecked", "a wrong lse", "exit code 1"},
    {"unchecked", "a wrong tail", "exit code 0"},
    {"lse_unchecked", "a wrong lse", "exit code 1"},
    {"nan_passes", "NaN", "exit code 1"},
    {"nan_lse_passes", "lse is not written", "exit code 1"},
    {"first_rows_only", "a wrong tail", "exit code 0"},
    {"merge_of_floats", "a merge of bf16", "merge: y["},
    {"unlisted_passes", "a hole in the list", "exit code 1"},
};

static void each_bug(void **state)
{
    (void)state;
    char why[700];
    int missed = 0;
    for (size_t i = 0; i < sizeof bugs / sizeof *bugs; i++) {
        const dnn_case *c = cases;
        while (strcmp(c->reason, bugs[i].found_by) != 0)
            c++;
        check_case(c, LT_DNN_BUGS, LT_DNN_LIBRARY, bugs[i].bug, why, sizeof why);
        print_message("%s: %s: %.160s\n", bugs[i].bug, c->reason, why);
        table_row("bug\tcudnn: %s\tcase %s: %s", bugs[i].bug, c->reason,
                  why[0] != '\0' ? why : "NOTHING");
        if (why[0] == '\0' || strstr(why, bugs[i].says) == NULL) {
            print_message("    not so: want '%s', found '%s'\n", bugs[i].says, why);
            missed++;
        }
    }
    assert_int_equal(missed, 0);
}

#ifdef LT_DNN_PART_CASE
static void each_case_on_the_part(void **state)
{
    (void)state;
    each_case_of(LT_DNN_PART_CASE, LT_DNN_PART_LIBRARY, 1);
}
#endif

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_case)};
    const struct CMUnitTest mutations[] = {cmocka_unit_test(each_bug)};
    const char *what = argc > 1 ? argv[1] : "cases";
#ifdef LT_DNN_PART_CASE
    const struct CMUnitTest part[] = {cmocka_unit_test(each_case_on_the_part)};
    if (strcmp(what, "part") == 0)
        return cmocka_run_group_tests_name("cudnn_part", part, scratch_setup, scratch_teardown);
#endif
    return strcmp(what, "bugs") == 0
               ? cmocka_run_group_tests_name("cudnn_bugs", mutations, scratch_setup,
                                             scratch_teardown)
               : cmocka_run_group_tests_name("cudnn", tests, scratch_setup, scratch_teardown);
}

/* test_nccl.c - exchange_nccl.c over a strict stand-in for NCCL, and bugs put into it.
 * Goal: tensors that go from device to device have the bits of those that go through the host, in
 * every collective and in a network, with everything connected and taken at open; what cannot be is
 * found by all ranks at open, what goes wrong is said in words and lets nothing wait, a killed rank
 * is named within 10 s; and each seeded bug is found by a case. Method: nccl_rank under mpirun, a
 * case a run; nccl_bugs, the same program with exchange_nccl.c once a bug (bugs.sh). Ranks: 2 and
 * 4. Needs: mpirun. The backend is kernels/cuda on the host, streams late in a seed's order. */
#include "tests/support/run.h"
#include "tests/support/table.h"
#include "tests/support/the_scratch.h"

enum { LIMIT_S = 240 };

typedef struct {
    const char *reason, *name;
    int ranks;
    const char *devices, *seed;
    int code; /* 137: mpirun's, of a rank that was killed */
    const char *says[4];
} nccl_case;

static const nccl_case cases[] = {
    {"streams in order", "bits", 2, "2", "0", 0, {"bits: as it should be"}},
    {"streams as late as may be", "bits", 2, "2", "1", 0, {"bits: as it should be"}},
    {"every pair of four", "bits", 4, "4", "2", 0, {"bits: as it should be"}},
    {"two rings", "open", 2, "2", "3", 0, {"open: as it should be"}},
    {"ring and uly", "open", 4, "4", "2", 0, {"open: as it should be"}},
    {"ring, uly, tp", "dit", 2, "2", "1", 0, {"dit: as it should be"}},
    {"two axes at once", "dit", 4, "4", "2", 0, {"dit: as it should be"}},
    {"two ranks on a GPU",
     "share",
     2,
     "1",
     "1",
     0,
     {"share: as it should be",
      "NCCL: ranks 0 and 1 of tokens share a GPU: tensors go through host memory"}},
    {"an old library",
     "old",
     2,
     "2",
     "1",
     0,
     {"old: as it should be", "NCCL: want 2.18 or later, found 2.17.0 (rank 0 of tokens)"}},
    {"two versions",
     "versions",
     2,
     "2",
     "1",
     0,
     {"versions: as it should be",
      "want one version on all ranks, found 2.28.9 (rank 0 of tokens) and 2.27.3 (rank 1)"}},
    {"sizes", "sizes", 2, "2", "1", 0, {"sizes: as it should be", "refused: NCCL: "}},
    {"types", "types", 2, "2", "2", 0, {"types: as it should be", "refused: NCCL: "}},
    {"order", "order", 2, "2", "1", 0, {"order: as it should be", "refused: NCCL: "}},
    {"a failure of NCCL's", "fails", 2, "2", "1", 0, {"fails: as it should be"}},
    {"a peer that comes late", "late", 2, "2", "1", 0, {"late: as it should be"}},
    {"a rank that failed has an exchange under way",
     "cancel",
     2,
     "2",
     "1",
     0,
     {"cancel: as it should be"}},
    {"a killed peer",
     "killed",
     2,
     "2",
     "1",
     137,
     {"rank 1 on ", " is lost (its process is gone)", "rank 0 on ",
      " waits before the work in all_to_all_heads (uly, call "}},
};

/* "": as it should be, else what is not. */
static void check_case(const nccl_case *c, const char *bug, char *why, size_t bytes)
{
    const char *argv[RUN_WORDS_MAX];
    int n = run_launcher(c->ranks, argv);
    argv[n++] = bug != NULL ? LT_NCCL_BUGS : LT_NCCL_RANK;
    argv[n++] = c->name;
    argv[n++] = bug;
    argv[n] = NULL;
    (void)setenv("LT_SHIM_DEVICES", c->devices, 1);
    (void)setenv("LT_SHIM_SEED", c->seed, 1);
    (void)setenv("LT_NCCL_RANK_LIMIT_S", bug != NULL ? "20" : "200", 1);
    run_result r = run_argv(&s, argv, LIMIT_S);
    why[0] = '\0';
    if (r.code != c->code)
        (void)snprintf(why, bytes, "exit code %d, want %d: %.300s", r.code, c->code, r.err);
    for (int i = 0; i < 4 && c->says[i] != NULL && why[0] == '\0'; i++)
        if (strstr(r.err, c->says[i]) == NULL && strstr(r.out, c->says[i]) == NULL)
            (void)snprintf(why, bytes, "want '%s', found: %.300s", c->says[i], r.err);
    if (why[0] == '\0' && c->code == 137 && r.seconds > 10 + 10) /* and what the start takes */
        (void)snprintf(why, bytes, "it took %.1f s", r.seconds);
    run_free(&r);
}

static void each_case(void **state)
{
    (void)state;
    char why[600];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_case(&cases[i], NULL, why, sizeof why);
        if (why[0] != '\0')
            fail_msg("%s (%s, %d ranks): %s", cases[i].reason, cases[i].name, cases[i].ranks, why);
    }
}

static const struct {
    const char *bug, *found_by, *says; /* says: "" where how it ends depends on times */
} bugs[] = {
    {"unpolled", "bits", "NCCL: connect (tokens): rank "}, /* the first exchange compares */
    {"done_early", "bits", "NCCL: connect (tokens): rank "},
    {"unconnected", "open", "ends of pairs that have met"},
    {"unconnected", "bits", "pairs that met after the engine was open"},
    {"empty_received", "bits", "a receive of 0 elements"},
    {"other_order", "bits", "other bits than staged"},
    {"other_stream", "bits", "NCCL: connect (tokens): rank "},
    {"all_ctas", "open", "communicators of at most 8 CTAs"},
    {"blocking", "open", "invalid argument"},
    {"blind", "sizes", ""},
    {"shared_device", "share", "staged exchanges"},
    {"any_version", "old", "staged exchanges"},
    {"any_version", "versions", "staged exchanges"},
    {"blocked_sync", "killed", ""},
    {"not_given_up", "cancel", "seconds to close"},
};

static void each_bug(void **state)
{
    (void)state;
    char why[600];
    for (size_t i = 0; i < sizeof bugs / sizeof *bugs; i++) {
        const nccl_case *c = cases;
        while (strcmp(c->name, bugs[i].found_by) != 0 || (c->seed[0] == '0'))
            c++;
        check_case(c, bugs[i].bug, why, sizeof why);
        print_message("%s: %s: %.160s\n", bugs[i].bug, c->name, why);
        table_row("bug\texchange_nccl: %s\tcase %s: %s", bugs[i].bug, c->name,
                  why[0] != '\0' ? why : "NOTHING");
        if (why[0] == '\0')
            fail_msg("%s: %s did not find it", bugs[i].bug, c->name);
        if (strstr(why, bugs[i].says) == NULL)
            fail_msg("%s: %s: want '%s', found %s", bugs[i].bug, c->name, bugs[i].says, why);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_case)};
    const struct CMUnitTest mutations[] = {cmocka_unit_test(each_bug)};
    (void)argv;
    return argc > 1 ? cmocka_run_group_tests_name("nccl_bugs", mutations, scratch_setup,
                                                  scratch_teardown)
                    : cmocka_run_group_tests_name("nccl", tests, scratch_setup, scratch_teardown);
}

/* test_fault_open.c - opening a model while the n-th allocation or read fails, in this process.
 * Goal: an error of the right kind, or success, and in both cases all memory given back. Method:
 * fail_calls.c in the test itself: n = 1, 2, ... until nothing fails any more; what our calls hold
 * is counted before and after, and a sanitizer looks for what is lost. Ranks: 1. Needs:
 * tests/parity/nano. */
#include "model/family.h"
#include "tests/faults/fail_nth.h"
#include "tests/support/scratch.h"

#define NANO LT_SOURCE_DIR "/tests/parity/nano"

static fail_map map;

static lt_status open_nano(void)
{
    lt_model *model = NULL;
    const lt_status st = lt_model_open(NANO, &model);
    lt_model_close(&model);
    return st;
}

static lt_status use_nano(void)
{
    lt_model *model = NULL;
    int32_t *ids = NULL;
    int64_t count = 0;
    lt_status st = lt_model_open(NANO, &model);
    if (st == LT_OK)
        st = model->family->tokenize(model, "A red ball bounces on a wooden floor.", &ids, &count);
    free(ids);
    lt_model_close(&model);
    return st;
}

/* A sanitizer makes each of the thousands of runs slow: every seventh n is enough there. */
#ifdef __SANITIZE_ADDRESS__
enum { STRIDE = 7 };
#else
enum { STRIDE = 1 };
#endif

static const struct {
    const char *name;
    lt_status (*run)(void);
    fail_kind kind;
    lt_status want[2];
} rows[] = {
    {"open, reads", open_nano, FAIL_READ, {LT_EIO, LT_ENOINPUT}},
    {"open and tokenize, memory", use_nano, FAIL_MEMORY, {LT_ENOMEM, LT_ENOMEM}},
};

static void the_nth_call_fails(void **state)
{
    (void)state;
    int bad = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int n = 1, hit = 1, without = 0;
        for (; hit; n += STRIDE) {
            memset(&map, 0, sizeof map);
            map.mode = FAIL_NTH;
            map.kind = (int)rows[i].kind;
            map.occurrence = n;
            atomic_store(&fail_held, 0);
            fail_now = &map;
            const lt_status st = rows[i].run();
            fail_now = NULL;
            hit = atomic_load(&map.hits) > 0;
            const long held = atomic_load(&fail_held);
            without += hit && st == LT_OK;
            if (held != 0 || (st != LT_OK && st != rows[i].want[0] && st != rows[i].want[1]) ||
                (!hit && st != LT_OK)) {
                bad++;
                print_error("%s: call %d: %s, %ld pieces kept: %s\n", rows[i].name, n,
                            lt_status_name(st), held, st != LT_OK ? lt_error_text() : "");
            }
            lt_error_clear();
        }
        print_message("%s: %d calls, %d done without\n", rows[i].name, n / STRIDE - 1, without);
    }
    assert_int_equal(bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_nth_call_fails)};
    return cmocka_run_group_tests_name("fault_open", tests, NULL, NULL);
}

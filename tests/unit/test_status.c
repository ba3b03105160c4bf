/* test_status.c - texts, hints, traces and exit codes.
 * Goal: the last failure is told whole and alone. Method: fail in known ways, read back. Ranks: 1.
 * Needs: nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"

static lt_status deepest(int value) { LT_FAIL(LT_EDATA, "value = %d: want 1\nor 2", value); }

static lt_status middle(int value)
{
    LT_TRY(deepest(value));
    return LT_OK;
}

static lt_status top(int value, int *undone)
{
    lt_status st = LT_OK;
    LT_TRY_GOTO(middle(value), st, undo);
    return LT_OK;
undo:
    *undone = 1;
    return st;
}

static void exit_codes_are_sysexits(void **state)
{
    (void)state;
    static const struct {
        lt_status status;
        int code;
        const char *name;
    } cases[] = {
        {LT_OK, 0, "LT_OK"},
        {LT_EUSAGE, 64, "LT_EUSAGE"},
        {LT_EDATA, 65, "LT_EDATA"},
        {LT_ENOINPUT, 66, "LT_ENOINPUT"},
        {LT_EUNAVAIL, 69, "LT_EUNAVAIL"},
        {LT_ENOMEM, 69, "LT_ENOMEM"},
        {LT_EDEVICE, 69, "LT_EDEVICE"},
        {LT_ESHAPE, 70, "LT_ESHAPE"},
        {LT_EINTERNAL, 70, "LT_EINTERNAL"},
        {LT_ECREATE, 73, "LT_ECREATE"},
        {LT_EIO, 74, "LT_EIO"},
        {LT_ETEMP, 75, "LT_ETEMP"},
        {LT_EPEER, 75, "LT_EPEER"},
    };
    assert_int_equal(sizeof cases / sizeof *cases, LT_STATUS_COUNT);
    for (size_t i = 0; i < LT_STATUS_COUNT; i++) {
        assert_int_equal(lt_exit_code(cases[i].status), cases[i].code);
        assert_string_equal(lt_status_name(cases[i].status), cases[i].name);
    }
}

/* What lt_error_print writes, in memory of the caller. */
static char *printed(int verbose)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);
    assert_non_null(to);
    lt_error_print(to, verbose);
    assert_int_equal(fclose(to), 0);
    return text;
}

static void failure_keeps_text_and_trail(void **state)
{
    (void)state;
    int undone = 0;
    lt_error_clear();
    assert_int_equal(top(7, &undone), LT_EDATA);
    assert_int_equal(undone, 1);
    assert_string_equal(lt_error_text(), "value = 7: want 1?or 2");
    assert_int_equal(lt_error_status(), LT_EDATA);
    char *quiet = printed(0), *verbose = printed(1);
    assert_string_equal(quiet, "longtake: error: value = 7: want 1?or 2\n");
    assert_non_null(strstr(verbose, "in deepest(value) at"));
    assert_non_null(strstr(verbose, "in middle(value) at"));
    assert_true(strstr(verbose, "deepest(value)") < strstr(verbose, "middle(value)"));
    free(quiet);
    free(verbose);
    lt_error_clear();
    assert_string_equal(lt_error_text(), "");
    assert_int_equal(lt_error_status(), LT_OK);
}

static void hints_belong_to_one_failure(void **state)
{
    (void)state;
    lt_error_clear();
    lt_hint("before");
    (void)lt_fail(LT_EUSAGE, "f", 1, "one");
    assert_string_equal(lt_hint_text(), "before");
    lt_hint("later");
    assert_string_equal(lt_hint_text(), "before"); /* the first one stays */

    lt_error_clear();
    (void)lt_fail(LT_EUSAGE, "f", 1, "two");
    assert_string_equal(lt_hint_text(), "");
    lt_hint("after %d", 2);
    assert_string_equal(lt_hint_text(), "after 2");
    (void)lt_error_trace(LT_EUSAGE, "caller", "f", 2);
    assert_string_equal(lt_hint_text(), "after 2");
    (void)lt_fail(LT_EUSAGE, "f", 3, "three"); /* another failure: not its hint */
    assert_string_equal(lt_hint_text(), "");

    lt_hint("swallowed");
    (void)lt_error_trace(LT_EUSAGE, "caller", "f", 2);
    lt_hint("of four");
    (void)lt_fail(LT_EUSAGE, "f", 4, "four");
    assert_string_equal(lt_hint_text(), "of four");
    char *text = printed(0);
    assert_string_equal(text, "longtake: error: four\nlongtake: hint: of four\n");
    free(text);
}

static void long_text_is_cut_between_characters(void **state)
{
    (void)state;
    char wide[1200]; /* 'x' and then two-byte characters, so that byte 1023 falls inside one */
    wide[0] = wide[1] = 'x';
    for (size_t i = 2; i + 1 < sizeof wide; i += 2)
        memcpy(wide + i, "\xc3\xa4", 2);
    wide[sizeof wide - 1] = wide[sizeof wide - 2] = '\0';
    (void)lt_fail(LT_EDATA, "f", 1, "%s", wide);
    const size_t n = strlen(lt_error_text());
    assert_int_equal(n, 1022);
    assert_memory_equal(lt_error_text() + n - 2, "\xc3\xa4", 2);
    (void)lt_fail(LT_EDATA, "f", 1, "again: %s", lt_error_text()); /* the old text as an argument */
    assert_memory_equal(lt_error_text(), "again: xx\xc3\xa4", 11);
}

static void the_trace_keeps_the_deepest_32(void **state)
{
    (void)state;
    (void)lt_fail(LT_EDATA, "f", 1, "deep");
    for (int i = 0; i < 40; i++) {
        char what[32];
        (void)snprintf(what, sizeof what, "caller%d()", i);
        assert_int_equal(lt_error_trace(LT_EDATA, what, "f", i), LT_EDATA);
    }
    char *text = printed(1);
    assert_non_null(strstr(text, "caller0()"));
    assert_non_null(strstr(text, "caller31()"));
    assert_null(strstr(text, "caller32()"));
    assert_non_null(strstr(text, "and 8 more"));
    free(text);
}

static void *other_thread(void *out)
{
    *(lt_status *)out = lt_error_status();
    (void)lt_fail(LT_EIO, "f", 1, "the other thread's");
    return NULL;
}

static void the_trace_is_the_threads_own(void **state)
{
    (void)state;
    lt_status seen = LT_EINTERNAL;
    pthread_t thread;
    (void)lt_fail(LT_EDATA, "f", 1, "mine");
    assert_int_equal(pthread_create(&thread, NULL, other_thread, &seen), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(seen, LT_OK);
    assert_string_equal(lt_error_text(), "mine");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exit_codes_are_sysexits),
        cmocka_unit_test(failure_keeps_text_and_trail),
        cmocka_unit_test(hints_belong_to_one_failure),
        cmocka_unit_test(long_text_is_cut_between_characters),
        cmocka_unit_test(the_trace_keeps_the_deepest_32),
        cmocka_unit_test(the_trace_is_the_threads_own),
    };
    return cmocka_run_group_tests_name("status", tests, NULL, NULL);
}

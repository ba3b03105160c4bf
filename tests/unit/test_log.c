/* test_log.c - who says what at which level.
 * Goal: levels, rank 0 alone, warnings once, whole lines. Method: stderr is led into a file while
 * lines are said. Ranks: 1 (others are claimed). Needs: a folder in /tmp. */
#include "tests/support/scratch.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>

#include "base/file.h"
#include "base/log.h"

/* What say() writes to stderr. The caller frees. */
static char *heard(void (*say)(void))
{
    scratch s;
    char *text = NULL;
    size_t bytes = 0;
    scratch_new(&s);
    (void)fflush(stderr);
    const int kept = dup(2);
    const int fd = open(scratch_path(&s, "err"), O_RDWR | O_CREAT, 0600);
    assert_true(kept >= 0 && fd >= 0);
    assert_true(dup2(fd, 2) == 2);
    say();
    (void)fflush(stderr);
    assert_true(dup2(kept, 2) == 2);
    (void)close(fd);
    (void)close(kept);
    assert_int_equal(lt_file_read(scratch_path(&s, "err"), 1 << 20, &text, &bytes), LT_OK);
    scratch_free(&s);
    return text;
}

static void at_level_3(void)
{
    lt_log_open(2, 4, 3);
    lt_log(3, "denoise", "window %d", 7);
    lt_log(4, "denoise", "step");
    lt_log0(1, "run", "only rank 0");
    lt_warn("only rank 0 warns");
    lt_log_open(0, 4, 3);
    lt_log0(1, "run", "rank 0 speaks");
}

static void levels_and_ranks(void **state)
{
    (void)state;
    char *text = heard(at_level_3);
    assert_non_null(strstr(text, " 2/4 denoise: window 7\n"));
    assert_null(strstr(text, "step"));
    assert_null(strstr(text, "only rank 0"));
    assert_non_null(strstr(text, " 0/4 run: rank 0 speaks\n"));
    assert_int_equal(lt_log_level(), 3);
    free(text);
}

static void warn_twice(void)
{
    lt_log_open(0, 1, 1);
    for (int i = 0; i < 4; i++)
        lt_warn("idle ranks: %d", i / 2);
    lt_log_open(0, 1, 0); /* --quiet */
    lt_warn("not heard");
    lt_log(1, "x", "not heard");
}

static void warnings_come_once(void **state)
{
    (void)state;
    char *text = heard(warn_twice);
    assert_string_equal(text,
                        "longtake: warning: idle ranks: 0\nlongtake: warning: idle ranks: 1\n");
    free(text);
}

static void say_much(void)
{
    static char word[5000];
    memset(word, 'w', sizeof word - 1);
    lt_log_open(0, 1, 1);
    lt_log(1, "long", "%s", word);
    lt_log(1, "long", "%s", "after");
}

static void long_lines_are_cut_and_ended(void **state)
{
    (void)state;
    char *text = heard(say_much);
    assert_int_equal(count_of(text, "\n"), 2);
    assert_true(strcspn(text, "\n") < 2100);
    assert_non_null(strstr(text, "long: after\n"));
    free(text);
}

enum { THREADS = 4, LINES = 200 };

static void *talk(void *name)
{
    for (int i = 0; i < LINES; i++)
        lt_log(1, "talk", "%s and %s again", (const char *)name, (const char *)name);
    return NULL;
}

static void all_talk(void)
{
    static char names[THREADS][8] = {"aaaa", "bbbb", "cccc", "dddd"};
    pthread_t threads[THREADS];
    lt_log_open(0, 1, 1);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, talk, names[i]), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static void lines_of_threads_do_not_mix(void **state)
{
    (void)state;
    char *text = heard(all_talk);
    assert_int_equal(count_of(text, "\n"), THREADS * LINES);
    static const char *const whole[THREADS] = {
        "talk: aaaa and aaaa again\n", "talk: bbbb and bbbb again\n", "talk: cccc and cccc again\n",
        "talk: dddd and dddd again\n"};
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(count_of(text, whole[i]), LINES);
    free(text);
}

static void seconds_go_forward(void **state)
{
    (void)state;
    const double a = lt_seconds(), b = lt_seconds();
    assert_true(a >= 0 && b >= a && b < 1e6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_and_ranks),
        cmocka_unit_test(warnings_come_once),
        cmocka_unit_test(long_lines_are_cut_and_ended),
        cmocka_unit_test(lines_of_threads_do_not_mix),
        cmocka_unit_test(seconds_go_forward),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}

/* test_advice.c - warnings of lengths, sizes and words that a model does not know.
 * Goal: a warning says what was asked, what is rendered, what is known and what is nearest, and
 * nothing is said where all is well. Method: stderr is a file. Ranks: 1. Needs: /tmp. */
#include "tests/support/the_scratch.h"

#include "base/log.h"
#include "run/advice.h"

/* What the call said. */
static char *said(void (*call)(void))
{
    static char text[4096];
    (void)fflush(stderr);
    const int kept = dup(STDERR_FILENO);
    FILE *f = freopen(scratch_path(&s, "err"), "w+", stderr);
    assert_non_null(f);
    call();
    (void)fflush(stderr);
    FILE *in = fopen(scratch_path(&s, "err"), "r");
    assert_non_null(in);
    const size_t n = fread(text, 1, sizeof text - 1, in);
    text[n] = '\0';
    (void)fclose(in);
    assert_int_equal(dup2(kept, STDERR_FILENO), STDERR_FILENO);
    (void)close(kept);
    return text;
}

static lt_model_facts facts;
static int64_t a, b;
static void length(void) { lt_advise_length(&facts, a, b); }
static void size(void) { lt_advise_size(&facts, a, b); }
static void words(void) { lt_advise_words(&facts, "A red BALL, zorps."); }

static void lengths_are_told(void **state)
{
    (void)state;
    static const struct {
        const char *reason;
        int64_t asked, rendered;
        const char *want[5]; /* none: silence */
    } cases[] = {
        {"known", 90, 90, {NULL}},
        {"known as it is rendered", 85, 90, {NULL}},
        {"between",
         72,
         73,
         {"72 frames: rendered as 73", "22, 39, 56, 90 and 124", "nearest: --frames 56 or 90",
          "weaker film"}},
        {"below all", 5, 5, {"5 frames: the model does not know", "nearest: --frames 22\n"}},
        {"beyond all", 141, 141, {"141 frames", "nearest: --frames 124\n"}},
    };
    static const int64_t demo[] = {22, 39, 56, 90, 124};
    memcpy(facts.trained_frames, demo, sizeof demo);
    facts.trained_count = 5;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        a = cases[i].asked;
        b = cases[i].rendered;
        const char *text = said(length);
        if ((cases[i].want[0] == NULL) != (text[0] == '\0'))
            fail_msg("%s: found %s", cases[i].reason, text);
        for (int k = 0; cases[i].want[k] != NULL; k++)
            if (strstr(text, cases[i].want[k]) == NULL)
                fail_msg("%s: want %s, found %s", cases[i].reason, cases[i].want[k], text);
    }
    facts.trained_count = 0;
    assert_string_equal(said(length), ""); /* a model that does not say */
    facts.trained_count = 12;
    for (int i = 0; i < 12; i++)
        facts.trained_frames[i] = 124 + 17 * i;
    a = b = 500;
    assert_non_null(strstr(said(length), "it knows 12 lengths, 124 to 311; nearest: --frames 311"));
}

static void sizes_are_told_plainly(void **state)
{
    (void)state;
    facts.default_width = facts.default_height = 128;
    a = b = 64;
    assert_string_equal(said(size), ""); /* H3's own default is no statement of what it knows */
    facts.size_is_given = 1;
    const char *text = said(size);
    assert_non_null(strstr(text, "--size 64x64: the model knows 128x128 alone"));
    assert_non_null(strstr(text, "stripes"));
    a = b = 128;
    assert_string_equal(said(size), "");
}

static void unknown_words_are_named(void **state)
{
    (void)state;
    assert_string_equal(said(words), "");
    facts.words = json_pack("[s, s, s]", "a", "red", "ball");
    assert_non_null(strstr(said(words), "does not know: zorps (it knows 3 words"));
    json_decref(facts.words);
    facts.words = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lengths_are_told),
        cmocka_unit_test(sizes_are_told_plainly),
        cmocka_unit_test(unknown_words_are_named),
    };
    return cmocka_run_group_tests_name("advice", tests, scratch_setup, scratch_teardown);
}

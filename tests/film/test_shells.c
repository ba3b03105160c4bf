/* test_shells.c - completions and the page for man.
 * Goal: each shell that is there takes its completion, bash completes verbs, options, choices and
 * names of files with it, and the page has every option. Method: the shells themselves. Ranks: 1.
 * Needs: bash; zsh, fish, groff where they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "run/job.h"
#include "tests/support/run.h"
#include "tests/support/the_scratch.h"

static run_result sh(const char *script)
{
    const char *argv[] = {"bash", "-c", script, LT_PROGRAM, s.folder, NULL};
    run_tell_sanitizers(1);
    return run_argv(&s, argv, RUN_LIMIT_S);
}

static void shells_take_them(void **state)
{
    (void)state;
    run_result r =
        sh("set -e; cd \"$1\"; for w in bash zsh fish; do \"$0\" help --completion $w > c.$w; "
           "if command -v $w > /dev/null; then $w -n c.$w; fi; done; "
           "if \"$0\" help --completion tcsh; then false; else echo $?; fi");
    if (r.code != 0 || strcmp(r.out, "64\n") != 0)
        fail_msg("found %d %s %s", r.code, r.out, r.err);
    run_free(&r);
}

static void bash_completes(void **state)
{
    (void)state;
    static const struct {
        const char *words, *want; /* the last word is the one to complete */
    } cases[] = {
        {"longtake re", "render"},
        {"longtake in", "inspect"},
        {"longtake render --see", "--seed"},
        {"longtake render --no-such", ""},
        {"longtake render --codec he", "hevc"},
        {"longtake render --dtype ''", "auto bf16 f32"},
        {"longtake render --model d", "d r"},
        {"longtake probe vae-d", "vae-decode"},
        {"longtake bench at", "attention"},
        {"longtake bench --bud", "--budget"},
        {"longtake inspect --bud", ""}, /* another verb's */
        {"longtake met", "metrics"},
        {"longtake metrics --jo", "--joins"},
        {"longtake render -o ''", ""}, /* bash's own, of files */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char script[600];
        (void)snprintf(
            script, sizeof script,
            "cd \"$1\"; mkdir -p 'd r'; \"$0\" help --completion bash > c; . ./c; compopt() "
            "{ :; }; COMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _longtake; "
            "printf '%%s' \"${COMPREPLY[*]}\"",
            cases[i].words);
        run_result r = sh(script);
        if (r.code != 0 || strcmp(r.out, cases[i].want) != 0)
            fail_msg("%s: want \"%s\", found %d \"%s\" %s", cases[i].words, cases[i].want, r.code,
                     r.out, r.err);
        run_free(&r);
    }
}

static void man_has_every_option(void **state)
{
    (void)state;
    run_result r = sh("\"$0\" help --man");
    assert_int_equal(r.code, 0);
    for (int i = 0; i < lt_job_option_count; i++) {
        char name[80], *to = name;
        const int is_flag = lt_job_options[i].type != LT_OPT_LIST;
        to += snprintf(to, 16, "%s", is_flag ? "\\fB\\-\\-" : "\\fB");
        for (const char *c = lt_job_options[i].name; *c != '\0'; c++)
            to += snprintf(to, 4, *c == '-' ? "\\-" : "%c", *c);
        if (strstr(r.out, name) == NULL)
            fail_msg("want %s in the page", name);
    }
    run_free(&r);
    r = sh("command -v groff > /dev/null || exit 0; \"$0\" help --man | LC_ALL=C groff -man -ww "
           "-Tascii > "
           "/dev/null");
    if (r.code != 0 || r.err[0] != '\0')
        fail_msg("groff: %d %s", r.code, r.err);
    run_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shells_take_them),
        cmocka_unit_test(bash_completes),
        cmocka_unit_test(man_has_every_option),
    };
    return cmocka_run_group_tests_name("shells", tests, scratch_setup, scratch_teardown);
}

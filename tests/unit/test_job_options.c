/* test_job_options.c - the real table: who wins, seeds, other programs' names, what comes later.
 * Goal: a flag beats the job file also where the two name one thing differently; a seed is kept to
 * the last bit; a name from elsewhere is answered with ours. Method: flags and job files as a user
 * types them. Ranks: 1. Needs: nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "run/job.h"

/* Reads flags (words that one blank separates) and then a job file, as render does. */
static lt_status parse(const char *flags, const char *yaml, lt_job *job, lt_options **out)
{
    char copy[512], *words[32] = {(char *)(uintptr_t) "render"}, *rest = NULL;
    const char *positional[8];
    size_t count = 0;
    int n = 1;
    (void)snprintf(copy, sizeof copy, "%s", flags);
    for (char *w = strtok_r(copy, " ", &rest); w != NULL; w = strtok_r(NULL, " ", &rest))
        words[n++] = w;
    memset(job, 0, sizeof *job);
    lt_error_clear();
    assert_int_equal(
        lt_options_new(lt_job_options, (size_t)lt_job_option_count, LT_VERB_RENDER, job, out),
        LT_OK);
    lt_options_others(*out, lt_job_others, lt_job_other_count);
    lt_status st = lt_options_parse_args(*out, n, words, positional, 8, &count);
    if (st == LT_OK && yaml != NULL)
        st = lt_options_parse_yaml_text(*out, yaml, strlen(yaml), "job.yaml");
    return st;
}

static void one_length_wins(void **state)
{
    (void)state;
    static const struct {
        const char *reason, *flags, *yaml;
        int64_t frames;
        double seconds;
        const char *error; /* NULL: it is taken */
    } cases[] = {
        {"the flag's frames, not the file's seconds", "--frames 22", "seconds: 5\n", 22, 0, NULL},
        {"the flag's seconds, not the file's frames", "--seconds 5", "frames: 22\n", 0, 5, NULL},
        {"the same name", "--frames 22", "frames: 5\n", 22, 0, NULL},
        {"the file's alone", "", "seconds: 5\n", 0, 5, NULL},
        {"a line without a value says nothing", "--frames 22", "seconds:\n", 22, 0, NULL},
        {"the last of two flags of one name", "--frames 22 --frames 5", NULL, 5, 0, NULL},
        {"the file's value is checked all the same", "--frames 22", "seconds: 0\n", 0, 0,
         "job.yaml:1: seconds: want"},
        {"both flags", "--frames 22 --seconds 5", NULL, 0, 0,
         "--frames 22 and --seconds 5: want one of them"},
        {"both keys", "", "frames: 22\nseconds: 5\n", 0, 0,
         "job.yaml:1: frames and job.yaml:2: seconds: want one of them"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lt_job job;
        lt_options *o;
        const lt_status st = parse(cases[i].flags, cases[i].yaml, &job, &o);
        if (cases[i].error != NULL
                ? st != LT_EUSAGE || strstr(lt_error_text(), cases[i].error) == NULL
                : st != LT_OK || job.frames != cases[i].frames ||
                      !(job.seconds >= cases[i].seconds && job.seconds <= cases[i].seconds))
            fail_msg("%s: found %d %s, frames %lld, seconds %g", cases[i].reason, st,
                     lt_error_text(), (long long)job.frames, job.seconds);
        lt_options_free(&o);
    }
}

/* The loser does not come back from the job.yaml that a run keeps. */
static void the_loser_is_not_kept(void **state)
{
    (void)state;
    lt_job job;
    lt_options *o;
    char *yaml = NULL;
    assert_int_equal(parse("--frames 22 -p ball", "seconds: 5\n", &job, &o), LT_OK);
    assert_int_equal(lt_options_dump_yaml(o, &yaml), LT_OK);
    assert_non_null(strstr(yaml, "frames: 22\n"));
    assert_null(strstr(yaml, "seconds"));
    free(yaml);
    lt_options_free(&o);
}

static void seeds_are_kept_exactly(void **state)
{
    (void)state;
    static const struct {
        const char *reason, *flags, *yaml;
        uint64_t seed;
        int taken;
    } cases[] = {
        {"none", "", NULL, 0, 1},
        {"2^53 + 1, where doubles have gaps", "--seed 9007199254740993", NULL, 9007199254740993, 1},
        {"the same in a file", "", "seed: 9007199254740993\n", 9007199254740993, 1},
        {"2^63 - 1", "", "seed: 9223372036854775807\n", INT64_MAX, 1},
        {"2^64 - 1", "--seed 18446744073709551615", NULL, UINT64_MAX, 1},
        {"2^64 - 1 in a file: in quotes", "", "seed: \"18446744073709551615\"\n", UINT64_MAX, 1},
        {"quoted, small", "", "seed: \"42\"\n", 42, 1},
        {"2^64", "--seed 18446744073709551616", NULL, 0, 0},
        {"negative", "--seed -1", NULL, 0, 0},
        {"negative in a file", "", "seed: -1\n", 0, 0},
        {"a fraction", "--seed 1.5", NULL, 0, 0},
        {"nothing", "--seed=", NULL, 0, 0},
        {"a word", "--seed rnd", NULL, 0, 0},
        {"blanks", "", "seed: \" 42\"\n", 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lt_job job, again;
        lt_options *o, *o2;
        char *yaml = NULL;
        const lt_status st = parse(cases[i].flags, cases[i].yaml, &job, &o);
        if (st != (cases[i].taken ? LT_OK : LT_EUSAGE) || job.seed.number != cases[i].seed)
            fail_msg("%s: found %d %s, %llu", cases[i].reason, st, lt_error_text(),
                     (unsigned long long)job.seed.number);
        assert_int_equal(lt_options_dump_yaml(o, &yaml), LT_OK);
        assert_int_equal(parse("", yaml, &again, &o2), LT_OK);
        assert_true(again.seed.number == job.seed.number);
        free(yaml);
        lt_options_free(&o);
        lt_options_free(&o2);
    }
}

static void random_seeds_are_drawn_and_kept(void **state)
{
    (void)state;
    lt_job job[3];
    lt_options *o[3];
    char *yaml = NULL;
    assert_int_equal(parse("--seed random", NULL, &job[0], &o[0]), LT_OK);
    assert_int_equal(parse("", "seed: random\n", &job[1], &o[1]), LT_OK);
    assert_true(job[0].seed.drawn && job[1].seed.drawn);
    assert_true(job[0].seed.number != job[1].seed.number); /* equal once in 2^53 */
    assert_int_equal(lt_options_dump_yaml(o[0], &yaml), LT_OK);
    assert_int_equal(parse("", yaml, &job[2], &o[2]), LT_OK);
    assert_true(job[2].seed.number == job[0].seed.number && !job[2].seed.drawn);
    free(yaml);
    for (int i = 0; i < 3; i++)
        lt_options_free(&o[i]);
}

static void names_from_elsewhere_are_answered(void **state)
{
    (void)state;
    static const struct {
        const char *flags, *yaml;
        lt_status status;
        const char *hint;
    } cases[] = {
        {"-m dir", NULL, LT_EUSAGE, "--model"},
        {"-s 5", NULL, LT_EUSAGE, "--size"},
        {"--width 64", NULL, LT_EUSAGE, "--size WxH"},
        {"--height=64", NULL, LT_EUSAGE, "--size WxH"},
        {"--num-frames 5", NULL, LT_EUSAGE, "--frames N"},
        {"--num_frames 5", NULL, LT_EUSAGE, "--frames N"},
        {"--fps 24", NULL, LT_EUSAGE, "pictures a second are fixed"},
        {"--cfg-scale 5", NULL, LT_EUSAGE, "without guidance"},
        {"--guidance-scale 5", NULL, LT_EUSAGE, "without guidance"},
        {"--num_inference_steps 5", NULL, LT_EUSAGE, "--steps N"},
        {"--out a.mp4", NULL, LT_EUSAGE, "-o FILE"},
        {"--prompt_file a", NULL, LT_EUSAGE, "prompt: |"},
        {"--decode_tp 2", NULL, LT_EUSAGE, "--decode-tp"},
        {"--sed 2", NULL, LT_EUSAGE, "--seed"}, /* our own, misspelled */
        {"", "width: 64\n", LT_EUSAGE, "--size WxH"},
        {"", "num_frames: 5\n", LT_EUSAGE, "--frames N"},
        {"--negative-prompt x", NULL, LT_EUNAVAIL, "without guidance"},
        {"--reference a.png", NULL, LT_EUNAVAIL, "from text alone"},
        {"--keyframe a.png", NULL, LT_EUNAVAIL, "from text alone"},
        {"--image a.png", NULL, LT_EUNAVAIL, "from text alone"},
        {"--lora a", NULL, LT_EUNAVAIL, ""},
        {"", "negative_prompt: x\n", LT_EUNAVAIL, "without guidance"},
        {"--shots x", NULL, LT_EUSAGE, ""}, /* a job key, no flag */
        {"", "steps: \"42\"\n", LT_EUSAGE, "without the quotes"},
        {"", "prompt: 42\n", LT_EUSAGE, "needs quotes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lt_job job;
        lt_options *o;
        const lt_status st = parse(cases[i].flags, cases[i].yaml, &job, &o);
        if (st != cases[i].status || strstr(lt_hint_text(), cases[i].hint) == NULL)
            fail_msg("%s%s: want %s, found %d %s, hint %s", cases[i].flags,
                     cases[i].yaml != NULL ? cases[i].yaml : "", cases[i].hint, st, lt_error_text(),
                     lt_hint_text());
        if (st == LT_EUNAVAIL)
            assert_non_null(strstr(lt_error_text(), "comes later"));
        lt_options_free(&o);
    }
}

/* No name is both ours and another's for one verb that has it. */
static void other_names_are_not_ours(void **state)
{
    (void)state;
    for (size_t i = 0; i < lt_job_other_count; i++)
        for (int k = 0; k < lt_job_option_count; k++) {
            const lt_option *row = &lt_job_options[k];
            const char *other = lt_job_others[i].name;
            if ((row->verbs & LT_VERB_RENDER) == 0)
                continue;
            if (strcmp(row->name, other) == 0 ||
                (other[0] == '-' && row->short_key == (unsigned char)other[1]))
                fail_msg("%s is ours", other);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_length_wins),
        cmocka_unit_test(the_loser_is_not_kept),
        cmocka_unit_test(seeds_are_kept_exactly),
        cmocka_unit_test(random_seeds_are_drawn_and_kept),
        cmocka_unit_test(names_from_elsewhere_are_answered),
        cmocka_unit_test(other_names_are_not_ours),
    };
    return cmocka_run_group_tests_name("job_options", tests, NULL, NULL);
}

/* test_options.c - one table: flags, job keys, messages, --help, the dump.
 * Goal: every row reads the same from a flag and from a job file; what is wrong is refused with its
 * place; what is dumped reads back. Method: a table of the test's own. Ranks: 1. Needs: /tmp. */
#include "tests/support/scratch.h"

#include <jansson.h>

#include "base/env.h"
#include "base/options.h"
#include "base/text.h"

typedef struct knobs {
    int64_t steps, frames, size[2];
    double guidance;
    int quiet, verbose, help;
    const char *prompt, *mode, *out;
    json_t *shots;
} knobs;

enum { RENDER = 1, PLAN = 2, BOTH = 3 };

static const lt_option table[] = {
    {.name = "model", .type = LT_OPT_STRING, .value_name = "DIR", .verbs = PLAN, .offset = 0},
    {.name = "steps",
     .short_key = 'n',
     .type = LT_OPT_INT,
     .value_name = "N",
     .default_text = "50",
     .min = 2,
     .max = 1000,
     .offset = offsetof(knobs, steps),
     .help = "noise levels; a clip is evaluated once less often than that",
     .verbs = BOTH,
     .group = "What to make"},
    {.name = "frames",
     .type = LT_OPT_INT,
     .min = 1,
     .max = 100000,
     .offset = offsetof(knobs, frames),
     .help = "length",
     .verbs = BOTH,
     .group = "What to make"},
    {.name = "size",
     .type = LT_OPT_SIZE,
     .default_text = "640x384",
     .min = 16,
     .max = 8192,
     .offset = offsetof(knobs, size),
     .help = "picture",
     .verbs = BOTH,
     .group = "What to make"},
    {.name = "guidance",
     .type = LT_OPT_REAL,
     .default_text = "3.5",
     .min = 0,
     .max = 20,
     .offset = offsetof(knobs, guidance),
     .help = "strength",
     .verbs = BOTH,
     .group = "What to make"},
    {.name = "prompt",
     .short_key = 'p',
     .type = LT_OPT_STRING,
     .value_name = "TEXT",
     .max = 100,
     .offset = offsetof(knobs, prompt),
     .help = "what is seen and heard",
     .verbs = RENDER,
     .group = "What to make"},
    {.name = "shots",
     .type = LT_OPT_LIST,
     .offset = offsetof(knobs, shots),
     .help = "a storyboard.",
     .verbs = RENDER,
     .group = "What to make"},
    {.name = "mode",
     .type = LT_OPT_CHOICE,
     .default_text = "auto",
     .choices = "auto|single|windows",
     .offset = offsetof(knobs, mode),
     .help = "how",
     .verbs = RENDER,
     .group = "How"},
    {.name = "quiet",
     .short_key = 'q',
     .type = LT_OPT_FLAG,
     .offset = offsetof(knobs, quiet),
     .help = "no progress",
     .verbs = RENDER,
     .group = "How"},
    {.name = "verbose",
     .short_key = 'v',
     .type = LT_OPT_FLAG,
     .offset = offsetof(knobs, verbose),
     .help = "say more",
     .verbs = RENDER,
     .traits = LT_OPT_COUNTED | LT_OPT_NOT_IN_JOB,
     .group = "How"},
    {.name = "output",
     .short_key = 'o',
     .type = LT_OPT_STRING,
     .value_name = "FILE",
     .offset = offsetof(knobs, out),
     .help = "where to",
     .verbs = RENDER,
     .traits = LT_OPT_NOT_IN_JOB,
     .group = "How"},
    {.name = "help",
     .short_key = 'h',
     .type = LT_OPT_FLAG,
     .offset = offsetof(knobs, help),
     .help = "this page",
     .verbs = RENDER,
     .traits = LT_OPT_STOPS | LT_OPT_NOT_IN_JOB,
     .group = "How"},
};
enum { ROWS = sizeof table / sizeof *table };

static lt_options *fresh(knobs *k)
{
    lt_options *o = NULL;
    memset(k, 0xee, sizeof *k); /* what new does not set is seen */
    assert_int_equal(lt_options_new(table, ROWS, RENDER, k, &o), LT_OK);
    return o;
}

/* Words of a command line, separated by '|'. */
static lt_status parse(lt_options *o, const char *line, const char *words[2], size_t *count)
{
    static char text[512];
    char *argv[16], *save = NULL;
    int argc = 0;
    (void)snprintf(text, sizeof text, "render|%s", line);
    for (char *w = strtok_r(text, "|", &save); w != NULL; w = strtok_r(NULL, "|", &save))
        argv[argc++] = w;
    return lt_options_parse_args(o, argc, argv, words, 2, count);
}

static void defaults_stand(void **state)
{
    (void)state;
    knobs k;
    lt_options *o = fresh(&k);
    assert_int_equal(k.steps, 50);
    assert_int_equal(k.frames, 0);
    assert_int_equal(k.size[0], 640);
    assert_int_equal(k.size[1], 384);
    assert_true(k.guidance == 3.5);
    assert_null(k.prompt);
    assert_null(k.shots);
    assert_string_equal(k.mode, "auto");
    assert_int_equal(k.quiet + k.verbose + k.help, 0);
    assert_int_equal(lt_options_was_set(o, "steps"), LT_OPT_UNSET);
    assert_string_equal(lt_options_where(o, "steps"), "--steps");
    lt_options_free(&o);
    assert_null(o);
}

static void flags_in_all_spellings(void **state)
{
    (void)state;
    knobs k;
    const char *words[2];
    size_t count = 0;
    lt_options *o = fresh(&k);
    assert_int_equal(parse(o, "--steps|30|job.yaml|--size=16x8192|--guidance=1e1|-qvv|--prompt|-5",
                           words, &count),
                     LT_OK);
    assert_int_equal(k.steps, 30);
    assert_int_equal(k.size[0], 16);
    assert_int_equal(k.size[1], 8192);
    assert_true(k.guidance == 10);
    assert_int_equal(k.quiet, 1);
    assert_int_equal(k.verbose, 2);
    assert_string_equal(k.prompt, "-5"); /* a value may begin with a dash */
    assert_int_equal(count, 1);
    assert_string_equal(words[0], "job.yaml");
    assert_int_equal(lt_options_was_set(o, "steps"), LT_OPT_BY_FLAG);
    assert_int_equal(lt_options_was_set(o, "frames"), LT_OPT_UNSET);
    assert_int_equal(parse(o, "-n7|-oout.mp4|--no-quiet|--steps=8|-|--|--steps", words, &count),
                     LT_OK);
    assert_int_equal(k.steps, 8); /* the last one counts */
    assert_string_equal(k.out, "out.mp4");
    assert_int_equal(k.quiet, 0);
    assert_int_equal(count, 2);
    assert_string_equal(words[0], "-");
    assert_string_equal(words[1], "--steps"); /* after "--" all are words */
    assert_int_equal(parse(o, "--quiet=true|--mode=single|--prompt=--steps", words, &count), LT_OK);
    assert_int_equal(k.quiet, 1);
    assert_string_equal(k.mode, "single");
    assert_string_equal(k.prompt, "--steps");
    assert_int_equal(parse(o, "--help|--nonsense", words, &count), LT_OK); /* --help is enough */
    assert_int_equal(k.help, 1);
    lt_options_free(&o);
}

static void wrong_flags_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *line, *says, *hint;
    } cases[] = {
        {"below", "--steps=1", "--steps: want an integer from 2 to 1000, found \"1\"", ""},
        {"above", "--steps|1001", "--steps: want an integer from 2 to 1000, found \"1001\"", ""},
        {"a real", "--steps=3.5", "want an integer", ""},
        {"trailing text", "--steps=3x", "want an integer", ""},
        {"blank", "--steps= 3", "want an integer", ""},
        {"empty", "--steps=", "want an integer", ""},
        {"past 64 bits", "--steps=99999999999999999999", "want an integer", ""},
        {"nan", "--guidance=nan", "--guidance: want a number from 0 to 20, found \"nan\"", ""},
        {"inf", "--guidance=inf", "want a number", ""},
        {"hexadecimal", "--guidance=0x5", "want a number", ""},
        {"two numbers", "--guidance=1 2", "want a number", ""},
        {"half a size", "--size=640", "--size: want WIDTHxHEIGHT, each from 16 to 8192", ""},
        {"three sizes", "--size=64x64x64", "want WIDTHxHEIGHT", ""},
        {"small height", "--size=64x15", "want WIDTHxHEIGHT", ""},
        {"negative", "--size=-64x64", "want WIDTHxHEIGHT", ""},
        {"no choice", "--mode=auto|--mode=sing", "--mode: want one of auto|single|windows, found",
         ""},
        {"bad UTF-8", "--prompt=a\xff", "--prompt: want valid UTF-8", ""},
        {"surrogate", "--prompt=\xed\xa0\x80", "--prompt: want valid UTF-8", ""},
        {"flag with a word", "--quiet=yes", "--quiet: want true or false, found \"yes\"", ""},
        {"typo", "--step=3", "--step: unknown option", "did you mean --steps?"},
        {"swapped", "--seteps", "--seteps: unknown option", "did you mean --steps?"},
        {"beginning", "--guid|3", "--guid: unknown option", "did you mean --guidance?"},
        {"nothing near", "--zzzzzz", "--zzzzzz: unknown option", "--help lists what there is"},
        {"another verb's", "--model|x", "--model: not an option of this verb", ""},
        {"no-X of a non-flag", "--no-steps", "--no-steps: unknown option", "--help"},
        {"no value", "--steps", "--steps: want an integer from 2 to 1000, found nothing", ""},
        {"a flag in place of a value", "--prompt|--steps|3",
         "--prompt: want a string, found --steps", ""},
        {"short", "-x", "-x: unknown option", "--help"},
        {"short without value", "-n", "--steps: want an integer from 2 to 1000, found nothing", ""},
        {"list", "--shots=[]", "--shots: only a job file", ""},
        {"three words", "a|b|c", "\"c\": want at most 2 words beside the options", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        knobs k;
        const char *words[2];
        size_t count = 0;
        lt_options *o = fresh(&k);
        lt_error_clear();
        const lt_status st = parse(o, cases[i].line, words, &count);
        if (st != LT_EUSAGE || strstr(lt_error_text(), cases[i].says) == NULL ||
            strstr(lt_hint_text(), cases[i].hint) == NULL)
            fail_msg("%s: %s: %s (hint: %s)", cases[i].name, lt_status_name(st), lt_error_text(),
                     lt_hint_text());
        assert_true(k.steps == 50 || k.steps == 3); /* a refused value is not written */
        lt_options_free(&o);
    }
    knobs k;
    lt_options *o = fresh(&k);
    assert_int_equal(lt_options_set(o, "mode", "auto|single"), LT_EUSAGE); /* not two choices */
    assert_int_equal(lt_options_set(o, "mode", ""), LT_EUSAGE);
    char wide[102];
    memset(wide, 'p', 101);
    wide[101] = '\0';
    assert_int_equal(lt_options_set(o, "prompt", wide), LT_EUSAGE);
    assert_non_null(strstr(lt_error_text(), "want at most 100 bytes, found 101"));
    lt_options_free(&o);
}

static lt_status job(lt_options *o, const char *text)
{
    return lt_options_parse_yaml_text(o, text, strlen(text), "job.yaml");
}

static void job_keys_and_precedence(void **state)
{
    (void)state;
    knobs k;
    const char *words[2];
    size_t count = 0;
    lt_options *o = fresh(&k);
    assert_int_equal(parse(o, "--steps=30", words, &count), LT_OK);
    assert_int_equal(job(o, "# a job\nsteps: 20\nsize: 320x192\nguidance: 4\nquiet: true\n"
                            "prompt: \"12\"\nmode: windows\nframes:\nshots:\n  - {seconds: 2}\n"),
                     LT_OK);
    assert_int_equal(k.steps, 30); /* the flag wins, though the file came later */
    assert_int_equal(k.size[0], 320);
    assert_true(k.guidance == 4);
    assert_int_equal(k.quiet, 1);
    assert_string_equal(k.prompt, "12");
    assert_string_equal(k.mode, "windows");
    assert_int_equal(json_array_size(k.shots), 1);
    assert_int_equal(lt_options_was_set(o, "steps"), LT_OPT_BY_FLAG);
    assert_int_equal(lt_options_was_set(o, "size"), LT_OPT_BY_FILE);
    assert_int_equal(lt_options_was_set(o, "frames"), LT_OPT_UNSET); /* an empty key */
    assert_string_equal(lt_options_where(o, "size"), "job.yaml:3: size");
    assert_int_equal(parse(o, "--size=64x64", words, &count), LT_OK); /* and later flags win too */
    assert_int_equal(k.size[0], 64);
    assert_string_equal(lt_options_where(o, "size"), "--size");
    /* A file's value is checked although a flag hides it. */
    assert_int_equal(job(o, "steps: 1\n"), LT_EUSAGE);
    assert_int_equal(k.steps, 30);
    assert_int_equal(job(o, "prompt: 'x'\nshots: [1]\n"), LT_OK);
    assert_int_equal(job(o, "shots: [1, 2]\n"), LT_OK); /* replaced, the old one freed */
    assert_int_equal(json_array_size(k.shots), 2);
    lt_options_free(&o);
    scratch s;
    scratch_new(&s);
    o = fresh(&k);
    scratch_text(&s, "job.yaml", "steps: 9\n");
    assert_int_equal(lt_options_parse_yaml(o, scratch_path(&s, "job.yaml")), LT_OK);
    assert_int_equal(k.steps, 9);
    assert_int_equal(lt_options_parse_yaml(o, scratch_path(&s, "none.yaml")), LT_ENOINPUT);
    lt_options_free(&o);
    scratch_free(&s);
}

static void wrong_job_keys_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text, *says, *hint;
        lt_status st;
    } cases[] = {
        {"range", "size: 64x64\nsteps: 1\n",
         "job.yaml:2: steps: want an integer from 2 to 1000, found \"1\"", "", LT_EUSAGE},
        {"type", "steps: many\n", "job.yaml:1: steps: want an integer", "", LT_EUSAGE},
        {"real for integer", "steps: 3.0\n", "steps: want an integer", "", LT_EUSAGE},
        {"integer for text", "prompt: 12\n", "job.yaml:1: prompt: want a string", "needs quotes",
         LT_EUSAGE},
        {"truth for text", "prompt: true\n", "prompt: want a string", "needs quotes", LT_EUSAGE},
        {"text for truth", "quiet: yes\n", "quiet: want true or false", "", LT_EUSAGE},
        {"list for text", "prompt: [a]\n", "prompt: want a string", "", LT_EUSAGE},
        {"text for list", "shots: a\n", "shots: want a list", "", LT_EUSAGE},
        {"choice", "mode: fast\n", "mode: want one of auto|single|windows, found \"fast\"", "",
         LT_EUSAGE},
        {"unknown", "\n\ngiudance: 3\n", "job.yaml:3: giudance: unknown job key",
         "did you mean guidance?", LT_EUSAGE},
        {"another verb's", "model: x\n", "job.yaml:1: model: unknown job key", "", LT_EUSAGE},
        {"flags only", "output: x.mp4\n", "output: unknown job key", "it is a flag: --output",
         LT_EUSAGE},
        {"not a mapping", "- a\n", "job.yaml: want lines of \"key: value\"", "", LT_EUSAGE},
        {"not YAML", "a: [\n", "job.yaml:2:1: not YAML", "", LT_EDATA},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        knobs k;
        lt_options *o = fresh(&k);
        lt_error_clear();
        const lt_status st = job(o, cases[i].text);
        if (st != cases[i].st || strstr(lt_error_text(), cases[i].says) == NULL ||
            strstr(lt_hint_text(), cases[i].hint) == NULL)
            fail_msg("%s: %s: %s (hint: %s)", cases[i].name, lt_status_name(st), lt_error_text(),
                     lt_hint_text());
        lt_options_free(&o);
    }
}

static void dump_reads_back(void **state)
{
    (void)state;
    static const char *const prompts[] = {
        "a red ball",
        "plain",
        "true",
        "",
        "12",
        "two\nlines\ttab",
        "quote \" back \\ slash",
        "\xc3\xa4 \xe2\x80\xa8 \xf0\x9f\x98\x80 \xef\xbb\xbf \xc2\x85 \x7f \x01",
        "# no comment",
        "- dash: colon",
        " blanks ",
        "null",
        "\xe2\x80\xa9",
        "*x &y !z",
    };
    for (size_t i = 0; i < sizeof prompts / sizeof *prompts; i++) {
        knobs k, again;
        char *text = NULL, *same = NULL;
        lt_options *o = fresh(&k), *o2 = fresh(&again);
        assert_int_equal(lt_options_set(o, "prompt", prompts[i]), LT_OK);
        assert_int_equal(lt_options_set(o, "guidance", "0.1"), LT_OK);
        assert_int_equal(job(o, "shots: [{seconds: 2.0, n: 3, 'a: b': null, t: [true, {}]}, []]\n"),
                         LT_OK);
        assert_int_equal(lt_options_dump_yaml(o, &text), LT_OK);
        if (job(o2, text) != LT_OK)
            fail_msg("prompt %zu: %s\n%s", i, lt_error_text(), text);
        assert_string_equal(again.prompt, prompts[i]);
        assert_true(again.guidance == k.guidance && again.steps == k.steps);
        assert_true(json_equal(again.shots, k.shots));
        assert_int_equal(lt_options_dump_yaml(o2, &same), LT_OK);
        assert_string_equal(text, same);
        free(text);
        free(same);
        lt_options_free(&o);
        lt_options_free(&o2);
    }
}

static void dump_says_what_counts(void **state)
{
    (void)state;
    knobs k;
    char *text = NULL;
    lt_options *o = fresh(&k);
    assert_int_equal(lt_options_set(o, "output", "x.mp4"), LT_OK); /* a flag only: not in the job */
    assert_int_equal(lt_options_dump_yaml(o, &text), LT_OK);
    assert_string_equal(text, "steps: 50\nsize: 640x384\nguidance: 3.5\nmode: auto\n");
    free(text);
    k.frames = 39; /* worked out later by the caller */
    assert_int_equal(lt_options_set(o, "quiet", "false"), LT_OK); /* said, though it is zero */
    assert_int_equal(lt_options_dump_yaml(o, &text), LT_OK);
    assert_non_null(strstr(text, "frames: 39\n"));
    assert_non_null(strstr(text, "quiet: false\n"));
    free(text);
    lt_options_free(&o);
}

static void help_teaches(void **state)
{
    (void)state;
    knobs k;
    char *text = NULL;
    size_t bytes = 0;
    lt_options *o = fresh(&k);
    FILE *to = open_memstream(&text, &bytes);
    assert_non_null(to);
    lt_options_help(o, to, "longtake render [JOB.yaml]", "Intro.", "  longtake render -p x");
    assert_int_equal(fclose(to), 0);
    static const char *const parts[] = {
        "Usage: longtake render [JOB.yaml]\n",
        "\nIntro.\n",
        "\nWhat to make:\n",
        "  -n, --steps N             noise levels; a clip is evaluated once less often\n",
        "\n                            than that (an integer from 2 to 1000; default 50)\n",
        "      --size WxH            picture (WIDTHxHEIGHT, each from 16 to 8192; default\n",
        "  -p, --prompt TEXT         what is seen and heard\n",
        "      shots:",
        "Job file only.",
        "(one of auto|single|windows; default auto)",
        "\nHow:\n",
        "  -q, --quiet ",
        "Flags only:\n  --verbose --output --help\n",
        "\nExamples:\n  longtake render -p x\n",
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (strstr(text, parts[i]) == NULL)
            fail_msg("no \"%s\" in\n%s", parts[i], text);
    assert_null(strstr(text, "--model")); /* another verb's */
    for (const char *line = text; *line != '\0'; line += strcspn(line, "\n") + 1)
        assert_true(strcspn(line, "\n") <= 80);
    free(text);
    lt_options_free(&o);
}

static void wrong_tables_are_our_bug(void **state)
{
    (void)state;
    static const lt_option bad[] = {
        {.name = "n", .type = LT_OPT_INT, .default_text = "0", .min = 1, .max = 5, .verbs = 1}};
    int64_t n = 0;
    lt_options *o = NULL;
    assert_int_equal(lt_options_new(bad, 1, 1, &n, &o), LT_EINTERNAL);
    assert_null(o);
}

static void text_helpers(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        int distance;
    } words[] = {{"", "", 0},           {"", "abc", 3},           {"steps", "step", 1},
                 {"steps", "setps", 1}, {"kitten", "sitting", 3}, {"ca", "abc", 3},
                 {"same", "same", 0}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        assert_int_equal(lt_edit_distance(words[i].a, words[i].b), words[i].distance);
        assert_int_equal(lt_edit_distance(words[i].b, words[i].a), words[i].distance);
    }
    static const struct {
        const char *text;
        int valid;
    } texts[] = {{"ascii", 1},
                 {"\xc3\xa4", 1},
                 {"\xf4\x8f\xbf\xbf", 1},
                 {"\xc0\x80", 0},
                 {"\xe0\x80\x80", 0},
                 {"\xf0\x80\x80\x80", 0},
                 {"\xf4\x90\x80\x80", 0},
                 {"\xed\xbf\xbf", 0},
                 {"\xc3", 0},
                 {"\x80", 0},
                 {"\xe2\x82", 0},
                 {"\xee\x80\x80", 1}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (lt_utf8_valid(texts[i].text, strlen(texts[i].text)) != texts[i].valid)
            fail_msg("text %zu", i);
    char buffer[32];
    assert_string_equal(lt_real_text(0.1, buffer), "0.1");
    assert_string_equal(lt_real_text(1.0 / 3, buffer), "0.3333333333333333");
    assert_string_equal(lt_real_text(-1e300, buffer), "-1e+300");
    assert_int_equal(setenv("LT_TEST_ENV", "", 1), 0);
    assert_null(lt_env("LT_TEST_ENV")); /* empty is not set */
    assert_int_equal(setenv("LT_TEST_ENV", "x", 1), 0);
    assert_string_equal(lt_env("LT_TEST_ENV"), "x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_stand),
        cmocka_unit_test(flags_in_all_spellings),
        cmocka_unit_test(wrong_flags_are_refused),
        cmocka_unit_test(job_keys_and_precedence),
        cmocka_unit_test(wrong_job_keys_are_refused),
        cmocka_unit_test(dump_reads_back),
        cmocka_unit_test(dump_says_what_counts),
        cmocka_unit_test(help_teaches),
        cmocka_unit_test(wrong_tables_are_our_bug),
        cmocka_unit_test(text_helpers),
    };
    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
